//! The readiness engine: watches sockets, makes the calls, tells how they ended.
//!
//! One state machine for every kernel. A socket's readiness is a belief: it starts optimistic, is
//! withdrawn by EAGAIN or a short read, and comes back by an edge of the poller. A short read may
//! stand for "drained" only while no end of stream was announced; a short *splice* never does
//! (a full pipe is short too), so filling goes on until EAGAIN over an empty pipe.
//!
//! Bounds: an operation that moved [`Limits::copy_per_turn`] bytes in this turn waits in the list
//! of streams; streams are served after everything small, [`Limits::stream_per_turn`] bytes a turn.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::buf::{Buf, BufPool};
use super::kernel::{AcceptMode, Errno, Event, Kernel, Wait, ready};
use super::op::{Connect, Done, Op, SockKey, Through, What};
use super::pipe::{Pipe, PipePool};
use crate::base::slots::{Key, Slots};
use crate::base::tick::Moment;
use through::Greeting;

mod through;

/// Bounds of one shard's engine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sockets and listeners at most.
    pub socks: usize,
    /// Size of a receive buffer (`tune.bufsize`).
    pub buffer: usize,
    /// Bytes all buffers and pipes may hold together.
    pub memory: usize,
    pub pipe_size: u32,
    pub pipes: usize,
    /// Bytes a copying direction moves in a turn before others come first.
    pub copy_per_turn: u32,
    /// Bytes streams move in a turn before completions are looked at again.
    pub stream_per_turn: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            socks: 1 << 21,
            buffer: 16_384,
            memory: 256 << 20,
            pipe_size: 1 << 20,
            pipes: 64,
            copy_per_turn: 65_536,
            stream_per_turn: 1 << 20,
        }
    }
}

/// What drivers may ask of the engine, whatever kernel it runs on.
pub trait Io {
    /// Queues an operation; it runs in this turn.
    fn push(&mut self, op: Op);
    /// Opens a connection; `Connected` or `ConnectFailed` follows unless it fails here.
    fn connect(&mut self, spec: &Connect, owner: u64) -> Result<SockKey, Errno>;
    /// Takes over an accepted descriptor. Gives it back if the table of sockets is full.
    fn adopt(&mut self, fd: RawFd, owner: u64) -> Result<SockKey, RawFd>;
    /// Gives a descriptor out of the engine (hand-over to another shard), unless something is under way on it other
    /// than a receive that waits for its peer.
    fn detach(&mut self, sock: SockKey) -> Option<RawFd>;
    /// Closes a descriptor that was never adopted.
    fn drop_fd(&mut self, fd: RawFd);
    /// Who owns the socket from now on.
    fn set_owner(&mut self, sock: SockKey, owner: u64);
    /// Its peer has said nothing, neither bytes nor the end, that its owner does not know yet. An idle connection to
    /// a server that is not quiet must not be given a request: what it said would be taken for the answer.
    /// `ask`: the kernel is asked too, as what came since the last look at all connections is not known here.
    fn is_quiet(&mut self, sock: SockKey, ask: bool) -> bool;
    /// Its number in the process, to be shown; -1: gone.
    fn descriptor(&self, sock: SockKey) -> RawFd;
    fn peer_address(&mut self, sock: SockKey) -> Option<SocketAddr>;
    fn peer_of_fd(&mut self, fd: RawFd) -> Option<SocketAddr>;
    fn local_address(&mut self, sock: SockKey) -> Option<SocketAddr>;
    /// As [`Io::local_address`] and [`Io::set_mark`], of a descriptor that was never adopted.
    fn local_of_fd(&mut self, fd: RawFd) -> Option<SocketAddr>;
    fn mark_fd(&mut self, fd: RawFd, mark: u32);
    /// What follows, a close included, goes no further than the first router: the peer hears nothing of it.
    fn silence(&mut self, sock: SockKey);
    fn silence_fd(&mut self, fd: RawFd);
    /// Marks the packets of a socket (`set-mark`, needs CAP_NET_ADMIN), sets their type of service. What the kernel
    /// refuses is left as it was, as haproxy leaves it.
    fn set_mark(&mut self, sock: SockKey, mark: u32);
    fn set_tos(&mut self, sock: SockKey, tos: u8);
    fn give_pipe(&mut self, pipe: Pipe);
    fn give_buf(&mut self, buf: Buf);
    /// An empty buffer to write into, of the usual size, or a smaller one while memory is scarce.
    fn lend_buf(&mut self) -> Buf;
    /// Accepts one connection from a polled listener.
    fn accept_now(&mut self, listener: SockKey) -> Result<(RawFd, Option<SocketAddr>), Errno>;
    /// Watches a listener: `None` stops.
    fn listen(&mut self, listener: SockKey, mode: Option<AcceptMode>);
    /// Closes sockets to new connections, see [`Kernel`].
    fn pause_listener(&mut self, listener: SockKey);
    fn resume_listener(&mut self, listener: SockKey, backlog: u32) -> Result<(), Errno>;
    fn refuse_handshakes(&mut self, listener: SockKey);
    fn has_multishot_accept(&self) -> bool;
}

#[derive(Debug)]
enum Rx {
    Idle,
    Recv,
    Fill(Option<Pipe>, u32),
}

#[derive(Debug)]
enum Tx {
    Idle,
    Connecting(Option<Box<Through>>),
    /// Connected to a proxy on the way, whose answer is read.
    Greeting(Box<Greeting>),
    Send(Buf),
    Drain(Pipe),
}

#[derive(Debug)]
struct Sock {
    fd: RawFd,
    owner: u64,
    ready: u8,
    watched: bool,
    listening: Option<AcceptMode>,
    /// Has an entry in the list of streams, in that of starved receives.
    queued: bool,
    starved: bool,
    rx: Rx,
    tx: Tx,
    turn: u32,
    turn_bytes: u32,
}

/// Counts for `show activity`.
#[derive(Debug, Default, Clone, Copy)]
pub struct EngineCounts {
    pub events: u64,
    pub stale: u64,
    pub ops: u64,
    pub waits: u64,
    pub copied: u64,
    pub spliced: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Engine<K: Kernel> {
    pub kernel: K,
    socks: Slots<Sock>,
    ops: VecDeque<Op>,
    dones: VecDeque<Done>,
    streams: VecDeque<SockKey>,
    /// Receives that found the memory budget used up.
    starved: VecDeque<SockKey>,
    bufs: BufPool,
    pipes: PipePool,
    /// Bytes in lent pipes.
    pipe_bytes: usize,
    limits: Limits,
    turn: u32,
    events: Vec<Event>,
    pub counts: EngineCounts,
    /// The bell rang since last asked.
    rung: bool,
}

impl<K: Kernel> Engine<K> {
    pub fn new(kernel: K, limits: Limits, pipes: Vec<Pipe>) -> Self {
        Self {
            kernel,
            socks: Slots::new(limits.socks),
            ops: VecDeque::new(),
            dones: VecDeque::new(),
            streams: VecDeque::new(),
            starved: VecDeque::new(),
            bufs: BufPool::new(limits.buffer, limits.memory),
            pipes: PipePool::new(pipes, limits.pipe_size, limits.pipes),
            pipe_bytes: 0,
            limits,
            turn: 0,
            events: Vec::with_capacity(1024),
            counts: EngineCounts::default(),
            rung: false,
        }
    }

    /// Starts a turn: waits as told (not at all while streams are ready), runs what became ready.
    pub fn begin_turn(&mut self, wait: Wait) {
        self.turn = self.turn.wrapping_add(1);
        self.feed_starved();
        let wait = if self.streams.is_empty() && self.dones.is_empty() && self.ops.is_empty() {
            wait
        } else {
            Wait::No
        };
        self.counts.waits += 1;
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        self.kernel.wait(wait, &mut events);
        self.counts.events += events.len() as u64;
        for event in events.drain(..) {
            self.on_event(event);
        }
        self.events = events;
    }

    /// The next completion, running queued operations as needed; `None`: nothing small is left to do.
    #[inline]
    pub fn next_done(&mut self) -> Option<Done> {
        loop {
            if let Some(done) = self.dones.pop_front() {
                return Some(done);
            }
            let op = self.ops.pop_front()?;
            self.counts.ops += 1;
            self.run(op);
        }
    }

    /// Serves one waiting stream; returns the bytes it moved, `None` if no stream waits.
    pub fn next_stream(&mut self) -> Option<u32> {
        let sock = self.streams.pop_front()?;
        let Some(entry) = self.socks.get_mut(sock.0) else {
            return Some(0);
        };
        entry.queued = false;
        entry.turn_bytes = 0;
        entry.turn = self.turn;
        match entry.rx {
            Rx::Idle => Some(0),
            Rx::Recv => Some(self.do_recv(sock)),
            Rx::Fill(..) => Some(self.do_fill(sock)),
        }
    }

    /// Did somebody ring since the last call?
    pub fn take_bell(&mut self) -> bool {
        std::mem::take(&mut self.rung)
    }

    pub fn stream_per_turn(&self) -> u32 {
        self.limits.stream_per_turn
    }
    /// Bytes held in buffers, and in pipes.
    pub fn held(&self) -> (usize, usize) {
        (self.bufs.held(), self.pipe_bytes)
    }
    /// Pipes lent, idle, and refusals so far.
    pub fn pipes(&self) -> (usize, usize, u64) {
        (self.pipes.lent(), self.pipes.idle(), self.pipes.refused)
    }
    /// Sockets and listeners known.
    pub fn socks(&self) -> usize {
        self.socks.len()
    }

    /// Closes idle pipes (at the end; asserts in the simulation that nothing is lent).
    pub fn close_pipes(&mut self) {
        self.pipes.close_all(&mut self.kernel);
    }

    fn take_pipe(&mut self) -> Option<Pipe> {
        // Beyond half of the budget directions copy: small buffers bound what they hold.
        if self.bufs.held() + self.pipe_bytes > self.limits.memory / 2 {
            self.pipes.refused += 1;
            return None;
        }
        self.pipes.take(&mut self.kernel)
    }

    // -------------------------------------------------------------- events

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Bell => self.rung = true,
            Event::Ready { key, bits, ended } => {
                self.on_ready(SockKey(Key::unpack(key)), bits, ended)
            }
            Event::Accepted { key, fd, ended } => {
                let sock = SockKey(Key::unpack(key));
                if let Some(entry) = self.socks.get_mut(sock.0) {
                    let owner = entry.owner;
                    if ended && entry.listening == Some(AcceptMode::Multishot) {
                        let listener = entry.fd;
                        self.kernel
                            .watch_listener(listener, key, AcceptMode::Multishot);
                    }
                    self.dones.push_back(Done {
                        owner,
                        sock,
                        what: What::Accepted { fd },
                    });
                } else {
                    // The listener was left in between: this connection was promised to nobody.
                    self.counts.stale += 1;
                    self.kernel.close(fd);
                }
            }
            Event::AcceptEnded { key, errno } => {
                let sock = SockKey(Key::unpack(key));
                match self.socks.get_mut(sock.0) {
                    Some(entry) if entry.listening == Some(AcceptMode::Multishot) => {
                        entry.listening = None;
                        let owner = entry.owner;
                        self.dones.push_back(Done {
                            owner,
                            sock,
                            what: What::AcceptEnded { errno },
                        });
                    }
                    _ => self.counts.stale += 1,
                }
            }
        }
    }

    fn on_ready(&mut self, sock: SockKey, bits: u8, ended: bool) {
        let Some(entry) = self.socks.get_mut(sock.0) else {
            self.counts.stale += 1;
            return;
        };
        if entry.listening.is_some() {
            let owner = entry.owner;
            if ended {
                let fd = entry.fd;
                self.kernel
                    .watch_listener(fd, sock.0.pack(), AcceptMode::Poll);
            }
            self.dones.push_back(Done {
                owner,
                sock,
                what: What::Acceptable,
            });
            return;
        }
        if bits & (ready::HUP | ready::ERROR) != 0 {
            // Let the calls find out what it was.
            entry.ready |= ready::READ | ready::WRITE | ready::READ_HUP;
        }
        if bits & ready::READ_HUP != 0 {
            entry.ready |= ready::READ;
        }
        entry.ready |= bits & (ready::READ | ready::WRITE | ready::READ_HUP);
        if ended {
            entry.watched = false;
        }
        if matches!(entry.tx, Tx::Greeting(_)) {
            self.read_greeting(sock);
        } else if matches!(entry.tx, Tx::Connecting(_)) {
            if bits & (ready::WRITE | ready::HUP | ready::ERROR) != 0 {
                self.finish_connect(sock, bits);
            }
        } else if entry.ready & ready::WRITE != 0 && !matches!(entry.tx, Tx::Idle) {
            self.do_tx(sock);
        }
        if let Some(entry) = self.socks.get(sock.0)
            && entry.ready & ready::READ != 0
        {
            match entry.rx {
                Rx::Idle => {}
                Rx::Recv => {
                    self.do_recv(sock);
                }
                Rx::Fill(..) => self.queue_stream(sock),
            }
        }
        if ended
            && let Some(entry) = self.socks.get(sock.0)
            && !(matches!(entry.rx, Rx::Idle) && matches!(entry.tx, Tx::Idle))
        {
            self.ensure_watched(sock);
        }
    }

    fn finish_connect(&mut self, sock: SockKey, bits: u8) {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        let errno = if bits & (ready::HUP | ready::ERROR) != 0 {
            self.kernel.so_error(entry.fd)
        } else {
            0
        };
        let through = match std::mem::replace(&mut entry.tx, Tx::Idle) {
            Tx::Connecting(through) => through,
            _ => None,
        };
        match through {
            Some(through) if errno == 0 => self.greet(sock, &through),
            _ => self.connected(sock, Errno(errno)),
        }
    }

    /// The connection is made, or `errno` says why not.
    fn connected(&mut self, sock: SockKey, errno: Errno) {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        entry.tx = Tx::Idle;
        let what = match errno {
            Errno(0) => What::Connected,
            errno => What::ConnectFailed { errno },
        };
        self.dones.push_back(Done {
            owner: entry.owner,
            sock,
            what,
        });
    }

    fn ensure_watched(&mut self, sock: SockKey) {
        if let Some(entry) = self.socks.get_mut(sock.0)
            && !entry.watched
        {
            entry.watched = true;
            self.kernel.watch(entry.fd, sock.0.pack());
        }
    }

    fn queue_stream(&mut self, sock: SockKey) {
        if let Some(entry) = self.socks.get_mut(sock.0)
            && !entry.queued
        {
            entry.queued = true;
            self.streams.push_back(sock);
        }
    }

    // -------------------------------------------------------------- operations

    fn run(&mut self, op: Op) {
        match op {
            Op::Recv { sock } => {
                let turn = self.turn;
                let copy_per_turn = self.limits.copy_per_turn;
                let Some(entry) = self.socks.get_mut(sock.0) else {
                    return;
                };
                debug_assert!(
                    matches!(entry.rx, Rx::Idle),
                    "one receiving operation at a time"
                );
                entry.rx = Rx::Recv;
                if entry.turn != turn {
                    (entry.turn, entry.turn_bytes) = (turn, 0);
                }
                if entry.ready & ready::READ == 0 {
                    self.ensure_watched(sock);
                } else if entry.turn_bytes >= copy_per_turn {
                    self.queue_stream(sock);
                } else {
                    self.do_recv(sock);
                }
            }
            Op::Fill { sock, pipe, max } => {
                let Some(entry) = self.socks.get_mut(sock.0) else {
                    if let Some(pipe) = pipe {
                        self.give_pipe(pipe);
                    }
                    return;
                };
                debug_assert!(
                    matches!(entry.rx, Rx::Idle),
                    "one receiving operation at a time"
                );
                entry.rx = Rx::Fill(pipe, max);
                if entry.ready & ready::READ == 0 {
                    self.park_fill(sock);
                } else {
                    self.queue_stream(sock);
                }
            }
            Op::Send { sock, buf } => {
                let Some(entry) = self.socks.get_mut(sock.0) else {
                    self.bufs.give(buf);
                    return;
                };
                debug_assert!(
                    matches!(entry.tx, Tx::Idle),
                    "one sending operation at a time"
                );
                entry.tx = Tx::Send(buf);
                self.do_tx(sock);
            }
            Op::Drain { sock, pipe } => {
                let Some(entry) = self.socks.get_mut(sock.0) else {
                    self.give_pipe(pipe);
                    return;
                };
                debug_assert!(
                    matches!(entry.tx, Tx::Idle),
                    "one sending operation at a time"
                );
                entry.tx = Tx::Drain(pipe);
                self.do_tx(sock);
            }
            Op::ShutdownWrite { sock } => {
                if let Some(entry) = self.socks.get(sock.0) {
                    self.kernel.shutdown_write(entry.fd);
                }
            }
            Op::Close { sock, reset } => self.do_close(sock, reset),
        }
    }

    fn do_recv(&mut self, sock: SockKey) -> u32 {
        let others = self.pipe_bytes;
        let Some(mut buf) = self.bufs.take(others) else {
            self.starve(sock);
            return 0;
        };
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        let room = buf.capacity();
        let result = self.kernel.recv(entry.fd, buf.space());
        let what = match result {
            Ok(0) => {
                self.bufs.give(buf);
                What::Eof
            }
            Ok(n) => {
                buf.set_filled(n);
                if n < room && entry.ready & ready::READ_HUP == 0 {
                    entry.ready &= !ready::READ;
                }
                entry.turn_bytes = entry.turn_bytes.saturating_add(n as u32);
                self.counts.copied += n as u64;
                entry.rx = Rx::Idle;
                self.dones.push_back(Done {
                    owner: entry.owner,
                    sock,
                    what: What::Received { buf },
                });
                return n as u32;
            }
            Err(errno) if errno.would_block() => {
                entry.ready &= !ready::READ;
                self.bufs.give(buf);
                self.ensure_watched(sock);
                return 0;
            }
            Err(errno) => {
                self.bufs.give(buf);
                What::RecvFailed { errno }
            }
        };
        entry.rx = Rx::Idle;
        self.dones.push_back(Done {
            owner: entry.owner,
            sock,
            what,
        });
        0
    }

    /// Waits for the peer; an empty pipe goes back to the pool meanwhile.
    fn park_fill(&mut self, sock: SockKey) {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        if let Rx::Fill(pipe, _) = &mut entry.rx
            && pipe.as_ref().is_some_and(|p| p.held == 0)
            && let Some(pipe) = pipe.take()
        {
            self.pipes.give(&mut self.kernel, pipe);
        }
        self.ensure_watched(sock);
    }

    fn do_fill(&mut self, sock: SockKey) -> u32 {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        let (fd, owner) = (entry.fd, entry.owner);
        let Rx::Fill(lent, max) = std::mem::replace(&mut entry.rx, Rx::Idle) else {
            unreachable!("only fills wait here")
        };
        let Some(mut pipe) = lent.or_else(|| self.take_pipe()) else {
            self.dones.push_back(Done {
                owner,
                sock,
                what: What::NoPipe,
            });
            return 0;
        };
        let (bytes, eof) = match self.kernel.splice_in(fd, &pipe, max) {
            Ok(0) => (0, true),
            Ok(n) => (n as u32, false),
            Err(errno) if errno.would_block() && pipe.held == 0 => {
                // Empty pipe: it is the socket that has nothing.
                let entry = self.socks.get_mut(sock.0).expect("looked up above");
                entry.ready &= !ready::READ;
                entry.rx = Rx::Fill(Some(pipe), max);
                self.park_fill(sock);
                return 0;
            }
            Err(errno) if errno.would_block() => (0, false),
            Err(errno) => {
                self.give_pipe(pipe);
                self.dones.push_back(Done {
                    owner,
                    sock,
                    what: What::RecvFailed { errno },
                });
                return 0;
            }
        };
        pipe.held += bytes;
        self.pipe_bytes += bytes as usize;
        self.counts.spliced += u64::from(bytes);
        self.dones.push_back(Done {
            owner,
            sock,
            what: What::Filled { pipe, bytes, eof },
        });
        bytes
    }

    fn do_tx(&mut self, sock: SockKey) {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        match std::mem::replace(&mut entry.tx, Tx::Idle) {
            Tx::Idle => {}
            before @ (Tx::Connecting(_) | Tx::Greeting(_)) => entry.tx = before,
            Tx::Send(buf) => self.do_send(sock, buf),
            Tx::Drain(pipe) => self.do_drain(sock, pipe),
        }
    }

    fn do_send(&mut self, sock: SockKey, mut buf: Buf) {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        let what = match self.kernel.send(entry.fd, buf.bytes()) {
            Ok(n) => {
                buf.consume(n);
                let left = buf.len() as u32;
                if left == 0 {
                    self.bufs.give(buf);
                } else {
                    entry.ready &= !ready::WRITE;
                    entry.tx = Tx::Send(self.bufs.shrink(buf));
                }
                What::Sent {
                    bytes: n as u32,
                    left,
                }
            }
            Err(errno) if errno.would_block() => {
                entry.ready &= !ready::WRITE;
                let left = buf.len() as u32;
                entry.tx = Tx::Send(self.bufs.shrink(buf));
                What::Sent { bytes: 0, left }
            }
            Err(errno) => {
                self.bufs.give(buf);
                What::SendFailed { errno }
            }
        };
        let pending = !matches!(entry.tx, Tx::Idle);
        self.dones.push_back(Done {
            owner: entry.owner,
            sock,
            what,
        });
        if pending {
            self.ensure_watched(sock);
        }
    }

    fn do_drain(&mut self, sock: SockKey, mut pipe: Pipe) {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        let (mut moved, mut failed) = (0, None);
        // A short count is tried once more: only EAGAIN promises an edge.
        while pipe.held > 0 {
            match self.kernel.splice_out(&pipe, entry.fd, pipe.held) {
                Ok(n) => {
                    pipe.held -= n as u32;
                    moved += n as u32;
                }
                Err(errno) if errno.would_block() => break,
                Err(errno) => {
                    failed = Some(errno);
                    break;
                }
            }
        }
        self.pipe_bytes -= moved as usize;
        let owner = entry.owner;
        if let Some(errno) = failed {
            self.give_pipe(pipe);
            self.dones.push_back(Done {
                owner,
                sock,
                what: What::SendFailed { errno },
            });
            return;
        }
        let left = pipe.held;
        if left == 0 {
            let what = What::Drained {
                pipe: Some(pipe),
                bytes: moved,
                left,
                blocked: false,
            };
            self.dones.push_back(Done { owner, sock, what });
        } else {
            entry.ready &= !ready::WRITE;
            entry.tx = Tx::Drain(pipe);
            let what = What::Drained {
                pipe: None,
                bytes: moved,
                left,
                blocked: true,
            };
            self.dones.push_back(Done { owner, sock, what });
            self.ensure_watched(sock);
        }
    }

    /// No memory for this receive: it waits for the turn that has some.
    fn starve(&mut self, sock: SockKey) {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        if !std::mem::replace(&mut entry.starved, true) {
            self.starved.push_back(sock);
        }
        // Those that were closed while they starved are forgotten: the list stays as long as the table.
        if self.starved.len() > 2 * self.socks.len() {
            let socks = &self.socks;
            self.starved.retain(|sock| socks.get(sock.0).is_some());
        }
    }

    /// As many receives as the budget has room for try again in this turn. Asked once a turn, whatever gave
    /// memory back: a buffer sent, a pipe drained, a close, a receive that found nothing.
    fn feed_starved(&mut self) {
        let mut room = self.bufs.room_for(self.pipe_bytes);
        while room > 0
            && let Some(sock) = self.starved.pop_front()
        {
            let Some(entry) = self.socks.get_mut(sock.0) else {
                continue;
            };
            entry.starved = false;
            if matches!(entry.rx, Rx::Recv) {
                room -= 1;
                self.queue_stream(sock);
            }
        }
    }

    fn do_close(&mut self, sock: SockKey, reset: bool) {
        let Some(entry) = self.socks.remove(sock.0) else {
            return;
        };
        match entry.rx {
            Rx::Fill(Some(pipe), _) => self.give_pipe(pipe),
            Rx::Fill(None, _) | Rx::Recv | Rx::Idle => {}
        }
        match entry.tx {
            Tx::Send(buf) => self.bufs.give(buf),
            Tx::Drain(pipe) => self.give_pipe(pipe),
            Tx::Idle | Tx::Connecting(_) | Tx::Greeting(_) => {}
        }
        match entry.listening {
            Some(mode) => self.kernel.unwatch_listener(entry.fd, sock.0.pack(), mode),
            // A watch holds the file: without this the FIN would wait for the peer.
            None if entry.watched => self.kernel.unwatch(entry.fd, sock.0.pack()),
            None => {}
        }
        if reset {
            self.kernel.close_reset(entry.fd);
        } else {
            self.kernel.close(entry.fd);
        }
    }
}

impl<K: Kernel> Io for Engine<K> {
    #[inline]
    fn push(&mut self, op: Op) {
        self.ops.push_back(op);
    }

    fn connect(&mut self, spec: &Connect, owner: u64) -> Result<SockKey, Errno> {
        let (fd, connected) = self.kernel.connect(spec)?;
        let sock = match self.adopt(fd, owner) {
            Ok(sock) => sock,
            Err(fd) => {
                self.kernel.close(fd);
                return Err(Errno(libc::ENFILE));
            }
        };
        if let (true, Some(through)) = (connected, &spec.through) {
            self.greet(sock, through);
        } else if connected {
            self.connected(sock, Errno(0));
        } else {
            let entry = self.socks.get_mut(sock.0).expect("just adopted");
            entry.tx = Tx::Connecting(spec.through.clone().map(Box::new));
            entry.ready = 0;
            self.ensure_watched(sock);
        }
        Ok(sock)
    }

    fn adopt(&mut self, fd: RawFd, owner: u64) -> Result<SockKey, RawFd> {
        let sock = Sock {
            fd,
            owner,
            ready: ready::READ | ready::WRITE,
            watched: false,
            listening: None,
            queued: false,
            starved: false,
            rx: Rx::Idle,
            tx: Tx::Idle,
            turn: 0,
            turn_bytes: 0,
        };
        self.socks.insert(sock).map(SockKey).map_err(|sock| sock.fd)
    }

    fn detach(&mut self, sock: SockKey) -> Option<RawFd> {
        let entry = self.socks.get(sock.0)?;
        let waits = matches!((&entry.rx, &entry.tx), (Rx::Recv, Tx::Idle));
        // Readable, or its completion not yet seen: whoever owns it now has to look at that first.
        if !waits || entry.queued || entry.starved || !self.kernel.is_quiet(entry.fd) {
            return None;
        }
        let entry = self.socks.remove(sock.0)?;
        if entry.watched {
            self.kernel.unwatch(entry.fd, sock.0.pack());
        }
        Some(entry.fd)
    }

    fn drop_fd(&mut self, fd: RawFd) {
        self.kernel.close(fd);
    }

    fn is_quiet(&mut self, sock: SockKey, ask: bool) -> bool {
        let Some(entry) = self.socks.get(sock.0) else {
            return false;
        };
        let readable = entry.ready & ready::READ != 0;
        let told = match entry.rx {
            Rx::Recv => readable,
            // Either its completion waits to be seen, or its next receive waits to be run.
            Rx::Idle => self.dones.iter().any(|done| {
                done.sock == sock
                    && matches!(
                        done.what,
                        What::Received { .. } | What::Eof | What::RecvFailed { .. }
                    )
            }),
            Rx::Fill(..) => true,
        };
        !told && (!(ask || readable) || self.kernel.is_quiet(entry.fd))
    }
    fn descriptor(&self, sock: SockKey) -> RawFd {
        self.socks.get(sock.0).map_or(-1, |entry| entry.fd)
    }

    fn set_owner(&mut self, sock: SockKey, owner: u64) {
        if let Some(entry) = self.socks.get_mut(sock.0) {
            entry.owner = owner;
        }
    }

    fn peer_address(&mut self, sock: SockKey) -> Option<SocketAddr> {
        let fd = self.socks.get(sock.0)?.fd;
        self.kernel.peer_address(fd)
    }
    fn peer_of_fd(&mut self, fd: RawFd) -> Option<SocketAddr> {
        self.kernel.peer_address(fd)
    }
    fn local_address(&mut self, sock: SockKey) -> Option<SocketAddr> {
        let fd = self.socks.get(sock.0)?.fd;
        self.kernel.local_address(fd)
    }

    fn local_of_fd(&mut self, fd: RawFd) -> Option<SocketAddr> {
        self.kernel.local_address(fd)
    }
    fn mark_fd(&mut self, fd: RawFd, mark: u32) {
        self.kernel.set_mark(fd, mark);
    }
    fn silence(&mut self, sock: SockKey) {
        if let Some(entry) = self.socks.get(sock.0) {
            self.kernel.silence(entry.fd);
        }
    }
    fn silence_fd(&mut self, fd: RawFd) {
        self.kernel.silence(fd);
    }
    fn set_mark(&mut self, sock: SockKey, mark: u32) {
        if let Some(entry) = self.socks.get(sock.0) {
            self.kernel.set_mark(entry.fd, mark);
        }
    }
    fn set_tos(&mut self, sock: SockKey, tos: u8) {
        if let Some(entry) = self.socks.get(sock.0) {
            self.kernel.set_tos(entry.fd, tos);
        }
    }

    fn give_pipe(&mut self, pipe: Pipe) {
        self.pipe_bytes -= pipe.held as usize;
        self.pipes.give(&mut self.kernel, pipe);
    }

    fn give_buf(&mut self, buf: Buf) {
        self.bufs.give(buf);
    }
    fn lend_buf(&mut self) -> Buf {
        let mut buf = self.bufs.take(self.pipe_bytes).unwrap_or_default();
        buf.set_filled(0);
        buf
    }

    fn accept_now(&mut self, listener: SockKey) -> Result<(RawFd, Option<SocketAddr>), Errno> {
        let Some(entry) = self.socks.get(listener.0) else {
            return Err(Errno(libc::EBADF));
        };
        self.kernel.accept(entry.fd)
    }

    fn listen(&mut self, listener: SockKey, mode: Option<AcceptMode>) {
        let Some(entry) = self.socks.get_mut(listener.0) else {
            return;
        };
        if entry.listening == mode {
            return;
        }
        let (fd, key) = (entry.fd, listener.0.pack());
        if let Some(old) = entry.listening.take() {
            self.kernel.unwatch_listener(fd, key, old);
        }
        if let Some(mode) = mode {
            let set = self.kernel.watch_listener(fd, key, mode);
            if let Some(entry) = self.socks.get_mut(listener.0) {
                entry.listening = Some(set);
            }
        }
    }

    fn pause_listener(&mut self, listener: SockKey) {
        self.listen(listener, None);
        if let Some(entry) = self.socks.get(listener.0) {
            self.kernel.pause_listener(entry.fd);
        }
    }
    fn resume_listener(&mut self, listener: SockKey, backlog: u32) -> Result<(), Errno> {
        let Some(entry) = self.socks.get(listener.0) else {
            return Err(Errno(libc::EBADF));
        };
        self.kernel.resume_listener(entry.fd, backlog)
    }
    fn refuse_handshakes(&mut self, listener: SockKey) {
        if let Some(entry) = self.socks.get(listener.0) {
            self.kernel.refuse_handshakes(entry.fd);
        }
    }
    fn has_multishot_accept(&self) -> bool {
        self.kernel.has_multishot_accept()
    }
}

impl<K: Kernel> Engine<K> {
    /// The kernel's clock, read once.
    pub fn now(&mut self) -> Moment {
        self.kernel.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sim::{Net, SimKernel};

    #[test]
    fn a_starved_receive_is_fed_although_those_before_it_find_nothing() {
        const PORT: u16 = 7;
        let net = Net::new(1, 1);
        let listener = net.borrow_mut().listen(PORT);
        let limits = Limits {
            buffer: 1024,
            memory: 1024,
            ..Limits::default()
        };
        let mut engine = Engine::new(SimKernel::new(&net, 0, false), limits, Vec::new());
        let (mut clients, mut socks) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            clients.push(net.borrow_mut().client(PORT).expect("listening"));
            let (fd, _) = engine.kernel.accept(listener).expect("a client waits");
            socks.push(engine.adopt(fd, 0).expect("room"));
        }
        let say = |client: usize| {
            let sent = net.borrow_mut().outside_send(clients[client], b"hello");
            assert!(sent.is_ok());
            let wires = net.borrow().busy_wires();
            (0..10).for_each(|_| wires.iter().for_each(|fd| net.borrow_mut().deliver(*fd)));
        };
        let turn = |engine: &mut Engine<SimKernel>| {
            let mut received = Vec::new();
            for _ in 0..10 {
                engine.begin_turn(Wait::No);
                loop {
                    while let Some(done) = engine.next_done() {
                        if let What::Received { buf } = done.what {
                            received.push((done.sock, buf));
                        }
                    }
                    if engine.next_stream().is_none() {
                        break;
                    }
                }
            }
            received
        };
        say(0);
        engine.push(Op::Recv { sock: socks[0] });
        let (_, held) = turn(&mut engine).pop().expect("the only buffer");
        // Five that have nothing to read come before the one that has.
        say(6);
        for sock in &socks[1..] {
            engine.push(Op::Recv { sock: *sock });
        }
        assert!(turn(&mut engine).is_empty());
        engine.give_buf(held);
        let (sock, buf) = turn(&mut engine).pop().expect("fed");
        assert_eq!((sock, buf.bytes()), (socks[6], &b"hello"[..]));
    }
}
