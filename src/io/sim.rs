//! A kernel in memory: sockets, listeners, pipes and a clock, driven by a seed.
//!
//! Several shards share one [`Net`], each through its own [`SimKernel`]. Bytes travel in segments:
//! what one end sends lies on the wire until [`Net::deliver`] moves some of it, so data, FIN and RST
//! arrive in pieces and late. It does what the real kernel does where drivers could stumble: edges
//! only, pipes full by slots before they are full by bytes, EAGAIN with an edge promised, events of a
//! watch that was removed meanwhile, multishot accepts past a limit, refused and silent connects,
//! no descriptors left.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::kernel::{AcceptMode, Errno, Event, Kernel, Wait, ready};
use super::op::{Connect, Target};
use super::pipe::Pipe;
use crate::base::tick::{Moment, Tick};

/// A small generator; the same seed gives the same world.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }
    pub fn draw(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 {
            0
        } else {
            ((self.draw() >> 33) as usize) % n
        }
    }
    /// True in `percent` of the cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// How a port answers connection attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accept,
    Refuse,
    /// SYNs vanish.
    Silent,
}

#[derive(Debug)]
enum Wire {
    Segment(VecDeque<u8>),
    Fin,
}

#[derive(Debug, Clone, Copy)]
struct Watch {
    shard: usize,
    key: u64,
}

#[derive(Debug)]
struct Sock {
    peer: Option<RawFd>,
    /// On its way to this socket.
    wire: VecDeque<Wire>,
    received: VecDeque<VecDeque<u8>>,
    received_bytes: usize,
    wire_bytes: usize,
    capacity: usize,
    eof: bool,
    error: i32,
    reset: bool,
    sent_fin: bool,
    connecting: bool,
    /// A send said EAGAIN: an edge is owed once there is space.
    wants_space: bool,
    watch: Option<Watch>,
    address: SocketAddr,
    peer_address: SocketAddr,
    /// Belongs to a shard (and not to the world outside).
    inside: bool,
}

#[derive(Debug)]
struct Listener {
    port: u16,
    queue: VecDeque<RawFd>,
    watch: Option<(Watch, AcceptMode)>,
    open: bool,
}

/// The world all shards share.
#[derive(Debug)]
pub struct Net {
    pub random: Random,
    pub now: u64,
    socks: BTreeMap<RawFd, Sock>,
    listeners: BTreeMap<RawFd, Listener>,
    /// Bytes in pipes, in segments: one slot each.
    pipes: BTreeMap<RawFd, VecDeque<VecDeque<u8>>>,
    answers: BTreeMap<u16, Answer>,
    /// How everything answers that has no answer of its own.
    pub otherwise: Answer,
    /// Connections that servers outside have not yet taken, by port.
    arrived: BTreeMap<u16, VecDeque<RawFd>>,
    /// Those that went to where no answer was given for.
    reached: VecDeque<(RawFd, Target)>,
    events: Vec<VecDeque<Event>>,
    bells: Vec<Arc<AtomicBool>>,
    next_fd: RawFd,
    next_port: u16,
    /// Descriptors shards may hold; beyond it EMFILE.
    pub fd_limit: usize,
    pub slots_per_pipe: usize,
}

impl Net {
    pub fn new(seed: u64, shards: usize) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            random: Random::new(seed),
            now: 1000,
            socks: BTreeMap::new(),
            listeners: BTreeMap::new(),
            pipes: BTreeMap::new(),
            answers: BTreeMap::new(),
            otherwise: Answer::Refuse,
            reached: VecDeque::new(),
            arrived: BTreeMap::new(),
            events: (0..shards).map(|_| VecDeque::new()).collect(),
            bells: (0..shards).map(|_| Arc::default()).collect(),
            next_fd: 100,
            next_port: 20_000,
            fd_limit: usize::MAX,
            slots_per_pipe: 16,
        }))
    }

    fn fd(&mut self) -> RawFd {
        self.next_fd += 1;
        self.next_fd
    }

    /// The bell of a shard, to be rung by whoever leaves a message.
    pub fn bell(&self, shard: usize) -> Arc<AtomicBool> {
        Arc::clone(&self.bells[shard])
    }
    /// Has the shard something to do?
    pub fn runnable(&self, shard: usize) -> bool {
        !self.events[shard].is_empty() || self.bells[shard].load(SeqCst)
    }

    /// Descriptors that shards hold now: sockets, listeners, pipe ends.
    pub fn held_by_shards(&self) -> usize {
        self.socks.values().filter(|s| s.inside).count() + self.pipes.len() * 2
    }
    pub fn listeners_open(&self) -> usize {
        self.listeners.len()
    }

    /// A listening socket of the balancer on `port`; several share a port.
    pub fn listen(&mut self, port: u16) -> RawFd {
        let fd = self.fd();
        self.listeners.insert(
            fd,
            Listener {
                port,
                queue: VecDeque::new(),
                watch: None,
                open: true,
            },
        );
        fd
    }

    /// How a port outside answers.
    pub fn answer(&mut self, port: u16, answer: Answer) {
        self.answers.insert(port, answer);
    }

    fn new_sock(&mut self, inside: bool, address: SocketAddr, peer_address: SocketAddr) -> RawFd {
        let fd = self.fd();
        let capacity = 1 + self.random.below(40_000);
        self.socks.insert(
            fd,
            Sock {
                peer: None,
                wire: VecDeque::new(),
                received: VecDeque::new(),
                received_bytes: 0,
                wire_bytes: 0,
                capacity,
                eof: false,
                error: 0,
                reset: false,
                sent_fin: false,
                connecting: false,
                wants_space: false,
                watch: None,
                address,
                peer_address,
                inside,
            },
        );
        fd
    }

    fn pair(&mut self, a: RawFd, b: RawFd) {
        self.socks.get_mut(&a).expect("made before").peer = Some(b);
        self.socks.get_mut(&b).expect("made before").peer = Some(a);
    }

    /// A client outside connects to a listening port of the balancer; `None`: refused.
    pub fn client(&mut self, port: u16) -> Option<RawFd> {
        self.next_port = self.next_port.wrapping_add(1).max(1024);
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.next_port);
        let there = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        self.client_from(port, here, there)
    }

    /// As [`Net::client`]; the balancer sees that it comes from `here`, to `there`.
    pub fn client_from(&mut self, port: u16, here: SocketAddr, there: SocketAddr) -> Option<RawFd> {
        let group: Vec<RawFd> = self
            .listeners
            .iter()
            .filter(|(_, l)| l.port == port && l.open)
            .map(|(fd, _)| *fd)
            .collect();
        if group.is_empty() {
            return None;
        }
        let listener = group[self.random.below(group.len())];
        let outside = self.new_sock(false, here, there);
        let inside = self.new_sock(true, there, here);
        self.pair(outside, inside);
        let entry = self.listeners.get_mut(&listener).expect("listed above");
        entry.queue.push_back(inside);
        if let Some((watch, AcceptMode::Poll)) = entry.watch {
            self.events[watch.shard].push_back(Event::Ready {
                key: watch.key,
                bits: ready::READ,
                ended: false,
            });
        }
        Some(outside)
    }

    /// A server outside takes a connection that came to its port.
    pub fn take_arrived(&mut self, port: u16) -> Option<RawFd> {
        self.arrived.get_mut(&port)?.pop_front()
    }

    /// The next connection that came to where no answer was given for, and where that is.
    pub fn take_reached(&mut self) -> Option<(RawFd, Target)> {
        self.reached.pop_front()
    }

    /// One end outside writes; returns the bytes taken.
    pub fn outside_send(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
        self.send(fd, bytes)
    }
    /// One end outside reads up to `max` bytes. Empty: the end, when `Ok`.
    pub fn outside_recv(&mut self, fd: RawFd, max: usize) -> Result<Vec<u8>, Errno> {
        let mut space = vec![0; max];
        let n = self.recv(fd, &mut space)?;
        space.truncate(n);
        Ok(space)
    }
    pub fn outside_fin(&mut self, fd: RawFd) {
        self.fin(fd);
    }
    pub fn outside_close(&mut self, fd: RawFd, reset: bool) {
        self.close(fd, reset);
    }

    /// Sockets with something on the wire.
    pub fn busy_wires(&self) -> Vec<RawFd> {
        self.socks
            .iter()
            .filter(|(_, s)| !s.wire.is_empty())
            .map(|(fd, _)| *fd)
            .collect()
    }

    /// Lets some of what is on the way to `fd` arrive.
    pub fn deliver(&mut self, fd: RawFd) {
        let some = 1 + self.random.below(3);
        for _ in 0..some {
            let Some(sock) = self.socks.get_mut(&fd) else {
                return;
            };
            match sock.wire.pop_front() {
                None => return,
                Some(Wire::Segment(bytes)) => {
                    sock.wire_bytes -= bytes.len();
                    sock.received_bytes += bytes.len();
                    sock.received.push_back(bytes);
                    self.edge(fd, ready::READ);
                }
                Some(Wire::Fin) => {
                    sock.eof = true;
                    self.edge(fd, ready::READ | ready::READ_HUP);
                }
            }
        }
    }

    /// Posts an edge with the levels that hold now, as the kernel does.
    fn edge(&mut self, fd: RawFd, cause: u8) {
        let Some(sock) = self.socks.get(&fd) else {
            return;
        };
        let Some(watch) = sock.watch else { return };
        let bits = cause | self.level(fd);
        // A spurious copy now and then: an edge may be reported twice.
        let copies = 1 + usize::from(self.random.chance(5));
        for _ in 0..copies {
            self.events[watch.shard].push_back(Event::Ready {
                key: watch.key,
                bits,
                ended: false,
            });
        }
    }

    fn level(&self, fd: RawFd) -> u8 {
        let Some(sock) = self.socks.get(&fd) else {
            return 0;
        };
        let mut bits = 0;
        if sock.reset || sock.error != 0 {
            return ready::READ | ready::WRITE | ready::READ_HUP | ready::HUP | ready::ERROR;
        }
        if sock.received_bytes > 0 || sock.eof {
            bits |= ready::READ;
        }
        if sock.eof {
            bits |= ready::READ_HUP;
        }
        if !sock.connecting && self.space(fd) > 0 {
            bits |= ready::WRITE;
        }
        bits
    }

    fn space(&self, fd: RawFd) -> usize {
        let Some(peer) = self
            .socks
            .get(&fd)
            .and_then(|s| s.peer)
            .and_then(|p| self.socks.get(&p))
        else {
            return usize::MAX;
        };
        peer.capacity
            .saturating_sub(peer.received_bytes + peer.wire_bytes)
    }

    fn recv(&mut self, fd: RawFd, space: &mut [u8]) -> Result<usize, Errno> {
        let sock = self.socks.get_mut(&fd).ok_or(Errno(libc::EBADF))?;
        let mut n = 0;
        while n < space.len() {
            let Some(segment) = sock.received.front_mut() else {
                break;
            };
            while n < space.len() {
                let Some(byte) = segment.pop_front() else {
                    break;
                };
                space[n] = byte;
                n += 1;
            }
            if segment.is_empty() {
                sock.received.pop_front();
            }
        }
        sock.received_bytes -= n;
        self.after_read(fd, n)
    }

    fn after_read(&mut self, fd: RawFd, n: usize) -> Result<usize, Errno> {
        let sock = self.socks.get(&fd).ok_or(Errno(libc::EBADF))?;
        if n > 0 {
            if let Some(peer) = sock.peer
                && self.socks.get(&peer).is_some_and(|p| p.wants_space)
            {
                self.socks.get_mut(&peer).expect("just seen").wants_space = false;
                self.edge(peer, ready::WRITE);
            }
            return Ok(n);
        }
        match sock {
            Sock { reset: true, .. } => Err(Errno(libc::ECONNRESET)),
            Sock { eof: true, .. } => Ok(0),
            _ => Err(Errno::AGAIN),
        }
    }

    fn is_quiet(&self, fd: RawFd) -> bool {
        let sock = self.socks.get(&fd);
        sock.is_some_and(|s| s.received.is_empty() && !s.eof && !s.reset)
    }

    /// How much of `wanted` fits now; may be short at will.
    fn room(&mut self, fd: RawFd, wanted: usize) -> Result<usize, Errno> {
        let sock = self.socks.get(&fd).ok_or(Errno(libc::EBADF))?;
        if sock.reset || sock.sent_fin {
            return Err(Errno(if sock.reset {
                libc::ECONNRESET
            } else {
                libc::EPIPE
            }));
        }
        let Some(peer) = sock.peer else {
            return Err(Errno(libc::EPIPE));
        };
        if !self.socks.contains_key(&peer) {
            return Err(Errno(libc::EPIPE));
        }
        let fits = self.space(fd).min(wanted);
        if fits < wanted {
            self.socks.get_mut(&fd).expect("just seen").wants_space = true;
        }
        if fits == 0 {
            return Err(Errno::AGAIN);
        }
        Ok(fits)
    }

    fn put(&mut self, fd: RawFd, bytes: VecDeque<u8>) {
        let peer = self.socks[&fd].peer.expect("checked by room");
        let sock = self.socks.get_mut(&peer).expect("checked by room");
        sock.wire_bytes += bytes.len();
        sock.wire.push_back(Wire::Segment(bytes));
    }

    fn send(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
        let n = self.room(fd, bytes.len())?;
        let mut at = 0;
        while at < n {
            let piece = (1 + self.random.below(1448)).min(n - at);
            self.put(fd, bytes[at..at + piece].iter().copied().collect());
            at += piece;
        }
        Ok(n)
    }

    fn fin(&mut self, fd: RawFd) {
        let Some(sock) = self.socks.get_mut(&fd) else {
            return;
        };
        if std::mem::replace(&mut sock.sent_fin, true) || sock.reset {
            return;
        }
        if let Some(peer) = sock.peer.and_then(|p| self.socks.get_mut(&p)) {
            peer.wire.push_back(Wire::Fin);
        }
    }

    fn close(&mut self, fd: RawFd, reset: bool) {
        if let Some(pipe) = self.pipes.remove(&fd) {
            drop(pipe);
            return;
        }
        if let Some(listener) = self.listeners.remove(&fd) {
            for waiting in listener.queue {
                self.close(waiting, true);
            }
            return;
        }
        let Some(sock) = self.socks.get(&fd) else {
            return;
        };
        // Unread data makes the kernel answer with RST.
        let reset = reset || sock.received_bytes > 0 || (sock.wire_bytes > 0);
        if !reset {
            self.fin(fd);
        }
        let Some(sock) = self.socks.remove(&fd) else {
            return;
        };
        if let Some(peer) = sock.peer
            && let Some(other) = self.socks.get_mut(&peer)
        {
            if reset {
                other.reset = true;
                other.wire.clear();
                other.wire_bytes = 0;
                self.edge(peer, ready::HUP | ready::ERROR);
            } else if other.wants_space {
                other.wants_space = false;
                self.edge(peer, ready::WRITE);
            }
        }
    }
}

/// One shard's view of a [`Net`].
#[derive(Debug)]
pub struct SimKernel {
    net: Rc<RefCell<Net>>,
    shard: usize,
    /// Time it was woken for; the world moves the clock.
    pub sleeps_until: Option<Wait>,
    pub multishot: bool,
}

impl SimKernel {
    pub fn new(net: &Rc<RefCell<Net>>, shard: usize, multishot: bool) -> Self {
        Self {
            net: Rc::clone(net),
            shard,
            sleeps_until: None,
            multishot,
        }
    }

    fn own_limit(&self) -> Result<(), Errno> {
        let net = self.net.borrow();
        if net.held_by_shards() >= net.fd_limit {
            Err(Errno(libc::EMFILE))
        } else {
            Ok(())
        }
    }
}

impl Kernel for SimKernel {
    fn watch(&mut self, fd: RawFd, key: u64) {
        let mut net = self.net.borrow_mut();
        if let Some(sock) = net.socks.get_mut(&fd) {
            sock.watch = Some(Watch {
                shard: self.shard,
                key,
            });
        }
        if net.level(fd) != 0 {
            net.edge(fd, 0);
        }
    }

    fn unwatch(&mut self, fd: RawFd, _key: u64) {
        let mut net = self.net.borrow_mut();
        if let Some(sock) = net.socks.get_mut(&fd) {
            sock.watch = None;
        }
        // Events posted already stay: they come late.
    }

    fn watch_listener(&mut self, fd: RawFd, key: u64, mode: AcceptMode) -> AcceptMode {
        let mode = if self.multishot {
            mode
        } else {
            AcceptMode::Poll
        };
        let mut net = self.net.borrow_mut();
        let watch = Watch {
            shard: self.shard,
            key,
        };
        let Some(listener) = net.listeners.get_mut(&fd) else {
            return mode;
        };
        listener.watch = Some((watch, mode));
        if mode == AcceptMode::Poll && !listener.queue.is_empty() {
            net.events[watch.shard].push_back(Event::Ready {
                key,
                bits: ready::READ,
                ended: false,
            });
        }
        mode
    }

    fn unwatch_listener(&mut self, fd: RawFd, _key: u64, _mode: AcceptMode) {
        if let Some(listener) = self.net.borrow_mut().listeners.get_mut(&fd) {
            listener.watch = None;
        }
    }

    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) {
        self.sleeps_until = Some(wait);
        let mut net = self.net.borrow_mut();
        let shard = self.shard;
        if net.bells[shard].swap(false, SeqCst) {
            events.push(Event::Bell);
        }
        // The kernel accepts by itself, past any limit.
        let multishot: Vec<(RawFd, u64)> = net
            .listeners
            .iter()
            .filter_map(|(fd, l)| match l.watch {
                Some((w, AcceptMode::Multishot)) if w.shard == shard => Some((*fd, w.key)),
                _ => None,
            })
            .collect();
        for (fd, key) in multishot {
            while let Some(new) = net.listeners.get_mut(&fd).and_then(|l| l.queue.pop_front()) {
                events.push(Event::Accepted {
                    key,
                    fd: new,
                    ended: false,
                });
            }
        }
        // Some events come now, some late, in any order.
        let waiting = net.events[shard].len();
        let take = if net.random.chance(70) {
            waiting
        } else {
            net.random.below(waiting + 1)
        };
        for _ in 0..take {
            let count = net.events[shard].len();
            let pick = if net.random.chance(80) {
                0
            } else {
                net.random.below(count)
            };
            if let Some(event) = net.events[shard].remove(pick) {
                events.push(event);
            }
        }
    }

    fn has_multishot_accept(&self) -> bool {
        self.multishot
    }
    fn now(&mut self) -> Moment {
        Tick(self.net.borrow().now).into()
    }
    fn enters(&self) -> u64 {
        0
    }
    fn cpu(&mut self) -> i32 {
        -1
    }
    fn cpu_us(&mut self) -> u64 {
        0
    }
    fn recv(&mut self, fd: RawFd, space: &mut [u8]) -> Result<usize, Errno> {
        self.net.borrow_mut().recv(fd, space)
    }
    fn is_quiet(&mut self, fd: RawFd) -> bool {
        self.net.borrow().is_quiet(fd)
    }
    fn send(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
        self.net.borrow_mut().send(fd, bytes)
    }

    fn splice_in(&mut self, fd: RawFd, pipe: &Pipe, max: u32) -> Result<usize, Errno> {
        let mut net = self.net.borrow_mut();
        let slots = net.slots_per_pipe;
        let mut moved = 0;
        loop {
            let used = net.pipes.get(&pipe.write).ok_or(Errno(libc::EBADF))?.len();
            let room = (max as usize).saturating_sub(moved);
            if used >= slots || room == 0 {
                break;
            }
            let Some(sock) = net.socks.get_mut(&fd) else {
                return Err(Errno(libc::EBADF));
            };
            let Some(mut segment) = sock.received.pop_front() else {
                break;
            };
            if segment.len() > room {
                let rest = segment.split_off(room);
                sock.received.push_front(rest);
            }
            sock.received_bytes -= segment.len();
            moved += segment.len();
            net.pipes
                .get_mut(&pipe.write)
                .expect("just seen")
                .push_back(segment);
        }
        if moved == 0 && net.pipes[&pipe.write].len() >= slots {
            return Err(Errno::AGAIN);
        }
        net.after_read(fd, moved)
    }

    fn splice_out(&mut self, pipe: &Pipe, fd: RawFd, max: u32) -> Result<usize, Errno> {
        let mut net = self.net.borrow_mut();
        let mut moved = 0usize;
        while moved < max as usize {
            let Some(length) = net
                .pipes
                .get(&pipe.write)
                .and_then(|p| p.front())
                .map(VecDeque::len)
            else {
                break;
            };
            let fits = match net.room(fd, length.min(max as usize - moved)) {
                Ok(fits) => fits,
                Err(errno) if moved == 0 => return Err(errno),
                Err(_) => break,
            };
            let queue = net.pipes.get_mut(&pipe.write).expect("just seen");
            let mut segment = queue.pop_front().expect("just seen");
            if fits < segment.len() {
                let rest = segment.split_off(fits);
                queue.push_front(rest);
            }
            moved += segment.len();
            net.put(fd, segment);
            if fits < length {
                break;
            }
        }
        Ok(moved)
    }

    fn accept(&mut self, fd: RawFd) -> Result<(RawFd, Option<SocketAddr>), Errno> {
        let mut net = self.net.borrow_mut();
        if net.held_by_shards() > net.fd_limit {
            return Err(Errno(libc::EMFILE));
        }
        let listener = net.listeners.get_mut(&fd).ok_or(Errno(libc::EBADF))?;
        let new = listener.queue.pop_front().ok_or(Errno::AGAIN)?;
        let peer = net.socks.get(&new).map(|s| s.peer_address);
        Ok((new, peer))
    }

    fn connect(&mut self, spec: &Connect) -> Result<(RawFd, bool), Errno> {
        self.own_limit()?;
        let mut net = self.net.borrow_mut();
        let (to, known) = match spec.next_hop() {
            Target::Ip(to) => (to, net.answers.get(&to.port()).copied()),
            _ if net.otherwise == Answer::Accept => {
                (SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), None)
            }
            _ => return Err(Errno(libc::EAFNOSUPPORT)),
        };
        let answer = known.unwrap_or(net.otherwise);
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
        let fd = net.new_sock(true, here, to);
        net.socks.get_mut(&fd).expect("just made").connecting = true;
        match answer {
            Answer::Silent => {}
            Answer::Refuse => {
                let sock = net.socks.get_mut(&fd).expect("just made");
                (sock.error, sock.connecting) = (libc::ECONNREFUSED, false);
            }
            Answer::Accept => {
                let outside = net.new_sock(false, to, here);
                net.pair(fd, outside);
                net.socks.get_mut(&fd).expect("just made").connecting = false;
                if known.is_some() {
                    net.arrived.entry(to.port()).or_default().push_back(outside);
                } else {
                    net.reached.push_back((outside, spec.to.clone()));
                }
            }
        }
        Ok((fd, false))
    }

    fn so_error(&mut self, fd: RawFd) -> i32 {
        let mut net = self.net.borrow_mut();
        let Some(sock) = net.socks.get_mut(&fd) else {
            return libc::EBADF;
        };
        match std::mem::take(&mut sock.error) {
            0 if sock.reset => libc::ECONNRESET,
            error => error,
        }
    }
    fn peer_address(&mut self, fd: RawFd) -> Option<SocketAddr> {
        self.net.borrow().socks.get(&fd).map(|s| s.peer_address)
    }
    fn set_mark(&mut self, _fd: RawFd, _mark: u32) {}
    fn set_tos(&mut self, _fd: RawFd, _tos: u8) {}
    fn silence(&mut self, _fd: RawFd) {}
    fn local_address(&mut self, fd: RawFd) -> Option<SocketAddr> {
        self.net.borrow().socks.get(&fd).map(|s| s.address)
    }
    fn shutdown_write(&mut self, fd: RawFd) {
        self.net.borrow_mut().fin(fd);
    }
    fn close(&mut self, fd: RawFd) {
        self.net.borrow_mut().close(fd, false);
    }
    fn close_reset(&mut self, fd: RawFd) {
        self.net.borrow_mut().close(fd, true);
    }
    fn pipe(&mut self, size: u32) -> Result<Pipe, Errno> {
        self.own_limit()?;
        let mut net = self.net.borrow_mut();
        let read = net.fd();
        let write = net.fd();
        net.pipes.insert(write, VecDeque::new());
        Ok(Pipe {
            read,
            write,
            size,
            held: 0,
        })
    }
    fn pause_listener(&mut self, fd: RawFd) {
        if let Some(listener) = self.net.borrow_mut().listeners.get_mut(&fd) {
            listener.open = false;
        }
    }
    fn resume_listener(&mut self, fd: RawFd, _backlog: u32) -> Result<(), Errno> {
        if let Some(listener) = self.net.borrow_mut().listeners.get_mut(&fd) {
            listener.open = true;
        }
        Ok(())
    }
    fn refuse_handshakes(&mut self, fd: RawFd) {
        if let Some(listener) = self.net.borrow_mut().listeners.get_mut(&fd) {
            listener.open = false;
        }
    }
}
