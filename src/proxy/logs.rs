//! Where log lines go: datagram sockets of each shard, and one writer thread per descriptor that a
//! target names (`stdout`, `stderr`, `fd@`).
//!
//! Nothing here ever waits for a reader. A datagram that the kernel does not take is dropped and
//! counted. A descriptor's lines go through a bounded queue to a thread of their own, which alone
//! may block on a pipe that nobody reads; the flags of the descriptor are left as found, and it is
//! neither duplicated nor closed. The thread is never joined: a stuck pipe cannot hold up the end
//! of the process ([`LogOutputs::drain`] gives it a moment).
//!
//! Unix sockets and `chroot`: [`LogOutputs::open`] connects while the whole tree is visible. A
//! shard looks the path up again when it starts, as haproxy does at each line, so a socket inside
//! the jail wins; failing that it goes on with the connection made before. When syslogd goes
//! away, the path is tried again at most once a second.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;

use crate::base::clock::LocalClock;
use crate::config::{Config, Frontend, Level, LogAddress, LogTarget, Mode};
use crate::io::sys::{localtime, rawfd};
use crate::observe::log::line::{self, Peer, TcpRecord};
use crate::observe::log::sink::{self, LogOut, Sink, Speaker};
use crate::shared::Shared;

/// Lines waiting for one descriptor at most; at the default `len` this is 4 MB.
const QUEUE_LINES: usize = 4096;
/// Lines are joined into writes of up to this many bytes: what a pipe takes in one piece (PIPE_BUF),
/// so that lines of several writers do not mix.
const WRITE_BYTES: usize = 4096;
/// Time between two attempts to reach a unix socket that is gone.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Where changes of servers are told besides the logs.
const CONSOLE: i32 = 2;
/// haproxy's program name in syslog headers.
const DEFAULT_TAG: &str = "haproxy";
/// Bytes of an abstract socket's name, which haproxy fills up with zeros (`sun_path` less its first byte).
const ABSTRACT_NAME_BYTES: usize = 107;

/// All outputs of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct LogOutputs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: Option<String>,
    tag: String,
    quiet: bool,
    /// Unix sockets, and the connection made before chroot.
    unix: Vec<(LogAddress, Option<UnixDatagram>)>,
    writers: Vec<FdWriter>,
    /// Targets with `sample`, and how many lines came to each.
    samples: Vec<(LogTarget, AtomicU32)>,
}

impl LogOutputs {
    /// Prepares every target that `config` names. Call before `chroot`: sockets are connected and
    /// the time zone is read here. Starts no thread, so a fork may follow.
    pub fn open(config: &Config) -> Self {
        localtime::offset_s(localtime::wall_us() / 1_000_000);
        let global = &config.global;
        let mut inner = Inner {
            host: global
                .log_send_hostname
                .as_ref()
                .map(|name| sent_host(name)),
            tag: global.log_tag.clone().unwrap_or_else(|| DEFAULT_TAG.into()),
            quiet: global.quiet,
            unix: Vec::new(),
            writers: Vec::new(),
            samples: Vec::new(),
        };
        let frontends = config.frontends.iter().flat_map(|f| &f.log);
        let backends = config.backends.iter().flat_map(|b| &b.log);
        for target in global.log.iter().chain(frontends).chain(backends) {
            inner.add(target);
        }
        inner.add_fd(CONSOLE);
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The outputs of shard `index`, counting in its activity. Call on its thread, after chroot.
    pub fn shard(&self, shared: &Arc<Shared>, index: usize) -> ShardLogs {
        self.logs(Some((Arc::clone(shared), Some(index))))
    }

    /// Outputs for the main and control threads, counting in the process' cells if there are any.
    pub fn process(&self, shared: Option<&Arc<Shared>>) -> ShardLogs {
        self.logs(shared.map(|s| (Arc::clone(s), None)))
    }

    fn logs(&self, counts: Option<(Arc<Shared>, Option<usize>)>) -> ShardLogs {
        let speaker = Speaker {
            host: self.inner.host.clone(),
            pid: std::process::id(),
        };
        ShardLogs {
            sink: Sink::new(speaker, LocalClock::new(localtime::offset_s)),
            message: Vec::with_capacity(1024),
            links: Links::new(Arc::clone(&self.inner)),
            counts,
        }
    }

    /// Lines that descriptors refused (closed pipe) after they were taken; `DroppedLogs` adds them.
    pub fn dropped(&self) -> u64 {
        self.inner
            .writers
            .iter()
            .map(|w| w.shared.dropped.load(Relaxed))
            .sum()
    }

    /// Waits until the writers have written what is queued, `limit` at most. At the end of the process.
    pub fn drain(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.inner.writers.iter().any(|w| !w.shared.idle()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Inner {
    fn add(&mut self, target: &LogTarget) {
        if target.sample.is_some() && !self.samples.iter().any(|(known, _)| known == target) {
            self.samples.push((target.clone(), AtomicU32::new(0)));
        }
        match &target.to {
            LogAddress::Udp(_) => {}
            LogAddress::Unix(_) | LogAddress::Abns(_) => {
                if !self.unix.iter().any(|(known, _)| *known == target.to) {
                    self.unix
                        .push((target.to.clone(), connect_unix(&target.to).ok()));
                }
            }
            LogAddress::Fd(fd) => self.add_fd(*fd),
        }
    }

    fn add_fd(&mut self, fd: i32) {
        if !self.writers.iter().any(|w| w.shared.fd == fd) {
            self.writers.push(FdWriter::new(fd));
        }
    }
}

/// The name to send: the one given, else the host's own.
fn sent_host(name: &str) -> String {
    if !name.is_empty() {
        return name.into();
    }
    nix::unistd::gethostname().map_or_else(
        |_| "localhost".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

// ---------------------------------------------------------------- one shard's

/// Log outputs of one thread.
#[derive(Debug)]
pub struct ShardLogs {
    sink: Sink,
    /// The message being rendered.
    message: Vec<u8>,
    links: Links,
    counts: Option<(Arc<Shared>, Option<usize>)>,
}

impl ShardLogs {
    /// Sends `message`, without line feed, to each target that wants its level. `tag`: `log-tag` of
    /// the proxy, else the process'. `wall_us`: now, microseconds since the epoch.
    pub fn push(
        &mut self,
        targets: &[LogTarget],
        level: Level,
        tag: Option<&str>,
        wall_us: u64,
        message: &[u8],
    ) {
        self.push_structured(targets, level, tag, wall_us, b"", message);
    }

    /// As [`ShardLogs::push`], with structured data for targets in RFC 5424: both parts of what
    /// [`line::stream`] rendered. An empty message is not sent.
    pub fn push_structured(
        &mut self,
        targets: &[LogTarget],
        level: Level,
        tag: Option<&str>,
        wall_us: u64,
        structured: &[u8],
        message: &[u8],
    ) {
        if targets.is_empty() || message.is_empty() {
            return;
        }
        let inner = Arc::clone(&self.links.inner);
        let line = sink::Line {
            level,
            tag: tag.unwrap_or(&inner.tag),
            wall_us,
            structured,
            message,
        };
        let pushed = self.sink.push(targets, &line, &mut self.links);
        self.count(pushed);
    }

    /// Renders and sends a session's line, at `err` if `separate_errors` and it did not end normally.
    pub fn tcplog(
        &mut self,
        targets: &[LogTarget],
        tag: Option<&str>,
        separate_errors: bool,
        wall_us: u64,
        record: &TcpRecord<'_>,
    ) {
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        line::tcplog(&mut message, record, &mut self.sink.clock);
        self.push(
            targets,
            sink::session_level(record, separate_errors),
            tag,
            wall_us,
            &message,
        );
        self.message = message;
    }

    /// A connection that never became a session: `client [date] frontend/bind: text`.
    pub fn connection_error(
        &mut self,
        frontend: &Frontend,
        from: Peer,
        to: &str,
        wall_us: u64,
        text: &str,
    ) {
        let level = if frontend.log_separate_errors {
            Level::Err
        } else {
            Level::Info
        };
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        line::connection_error(
            &mut message,
            from,
            wall_us,
            &frontend.name,
            to,
            text,
            &mut self.sink.clock,
        );
        self.push(
            &frontend.log,
            level,
            frontend.log_tag.as_deref(),
            wall_us,
            &message,
        );
        self.message = message;
    }

    /// Says `[LABEL]    (pid) : text` on stderr, through its writer: a console that nobody reads
    /// stops no shard. Nothing is said under `quiet`; a daemon's stderr is the null device.
    pub fn console(&mut self, label: &str, text: &str) {
        if self.links.inner.quiet {
            return;
        }
        let line = format!(
            "{:<10} ({}) : {text}\n",
            format!("[{label}]"),
            std::process::id()
        );
        self.links.send_fd(CONSOLE, line.as_bytes());
    }

    /// Renders and sends the line of a proxy without log options.
    pub fn connect(
        &mut self,
        targets: &[LogTarget],
        tag: Option<&str>,
        wall_us: u64,
        ends: (Peer, Peer),
        frontend: &str,
        mode: Mode,
    ) {
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        line::connect(&mut message, ends.0, ends.1, frontend, mode);
        self.push(targets, Level::Info, tag, wall_us, &message);
        self.message = message;
    }

    fn count(&self, pushed: sink::Pushed) {
        match &self.counts {
            Some((shared, Some(shard))) => {
                let activity = &shared.shards[*shard].activity;
                activity.logs_sent.add(pushed.sent.into());
                activity.logs_dropped.add(pushed.dropped.into());
            }
            Some((shared, None)) if pushed.dropped > 0 => {
                shared
                    .process
                    .logs_dropped
                    .fetch_add(pushed.dropped.into(), Relaxed);
            }
            _ => {}
        }
    }
}

/// Sockets of one thread.
#[derive(Debug)]
struct Links {
    inner: Arc<Inner>,
    udp4: Option<UdpSocket>,
    udp6: Option<UdpSocket>,
    /// One for each of `inner.unix`.
    unix: Vec<UnixLink>,
}

impl Links {
    fn new(inner: Arc<Inner>) -> Self {
        let unix = inner
            .unix
            .iter()
            .map(|(to, before)| UnixLink::new(to, before.as_ref()))
            .collect();
        Self {
            inner,
            udp4: None,
            udp6: None,
            unix,
        }
    }

    fn send_udp(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        let (slot, any) = match to {
            SocketAddr::V4(_) => (&mut self.udp4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (&mut self.udp6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        if slot.is_none() {
            *slot = udp_socket(any).ok();
        }
        slot.as_ref()
            .is_some_and(|socket| socket.send_to(bytes, to).is_ok())
    }

    fn send_unix(&mut self, to: &LogAddress, bytes: &[u8]) -> bool {
        let at = self.inner.unix.iter().position(|(known, _)| known == to);
        at.is_some_and(|at| self.unix[at].send(to, bytes))
    }

    fn send_fd(&self, fd: i32, bytes: &[u8]) -> bool {
        let writer = self.inner.writers.iter().find(|w| w.shared.fd == fd);
        writer.is_some_and(|writer| writer.push(bytes))
    }
}

impl LogOut for Links {
    fn send(&mut self, to: &LogAddress, bytes: &[u8]) -> bool {
        match to {
            LogAddress::Udp(to) => self.send_udp(*to, bytes),
            LogAddress::Unix(_) | LogAddress::Abns(_) => self.send_unix(to, bytes),
            LogAddress::Fd(fd) => self.send_fd(*fd, bytes),
        }
    }

    fn sample(&mut self, target: &LogTarget) -> u32 {
        let counter = self.inner.samples.iter().find(|(known, _)| known == target);
        counter.map_or(0, |(_, seen)| seen.fetch_add(1, Relaxed))
    }
}

/// Not connected: an error that a restarting syslogd sends back would otherwise meet the next line.
fn udp_socket(any: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn connect_unix(to: &LogAddress) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match to {
        LogAddress::Unix(path) => socket.connect(path)?,
        LogAddress::Abns(name) => {
            let mut padded = [0; ABSTRACT_NAME_BYTES];
            let used = name.len().min(padded.len());
            padded[..used].copy_from_slice(&name[..used]);
            socket.connect_addr(&UnixAddr::from_abstract_name(padded)?)?;
        }
        LogAddress::Udp(_) | LogAddress::Fd(_) => return Err(ErrorKind::InvalidInput.into()),
    }
    Ok(socket)
}

/// A connection to one unix datagram socket, renewed when its receiver comes back.
#[derive(Debug)]
struct UnixLink {
    socket: Option<UnixDatagram>,
    retry_at: Option<Instant>,
}

impl UnixLink {
    fn new(to: &LogAddress, before: Option<&UnixDatagram>) -> Self {
        let socket = connect_unix(to)
            .ok()
            .or_else(|| before.and_then(|socket| socket.try_clone().ok()));
        Self {
            socket,
            retry_at: None,
        }
    }

    fn send(&mut self, to: &LogAddress, bytes: &[u8]) -> bool {
        if let Some(socket) = &self.socket {
            match socket.send(bytes) {
                Ok(_) => return true,
                // Its queue is full: somebody is there.
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return false;
                }
                Err(_) => {}
            }
        }
        self.reconnect(to)
            && self
                .socket
                .as_ref()
                .is_some_and(|socket| socket.send(bytes).is_ok())
    }

    /// The old socket stays if there is no new one: it may be the only way out of a chroot.
    fn reconnect(&mut self, to: &LogAddress) -> bool {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        self.retry_at = Some(now + RECONNECT_PAUSE);
        let Ok(socket) = connect_unix(to) else {
            return false;
        };
        self.socket = Some(socket);
        true
    }
}

// ---------------------------------------------------------------- descriptors

/// The queue of one descriptor and the thread that empties it.
#[derive(Debug)]
struct FdWriter {
    shared: Arc<WriterShared>,
    /// Started by the first line, so that no thread exists when the process forks.
    thread: OnceLock<Option<Thread>>,
}

#[derive(Debug)]
struct WriterShared {
    fd: i32,
    queue: ArrayQueue<Box<[u8]>>,
    /// The thread is parked, or about to be after one more look at the queue.
    asleep: AtomicBool,
    /// Lines taken from the queue and not yet written.
    in_hand: AtomicU32,
    dropped: AtomicU64,
}

impl FdWriter {
    fn new(fd: i32) -> Self {
        let shared = WriterShared {
            fd,
            queue: ArrayQueue::new(QUEUE_LINES),
            asleep: AtomicBool::new(false),
            in_hand: AtomicU32::new(0),
            dropped: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
            thread: OnceLock::new(),
        }
    }

    /// Queues a line; `false` if the queue is full or no thread could be started.
    fn push(&self, bytes: &[u8]) -> bool {
        let Some(thread) = self.thread.get_or_init(|| self.start()) else {
            return false;
        };
        if self.shared.queue.push(bytes.into()).is_err() {
            return false;
        }
        if self.shared.asleep.swap(false, SeqCst) {
            thread.unpark();
        }
        true
    }

    fn start(&self) -> Option<Thread> {
        let shared = Arc::clone(&self.shared);
        let name = format!("log-fd{}", shared.fd);
        let handle = thread::Builder::new()
            .name(name)
            .stack_size(64 << 10)
            .spawn(move || shared.run())
            .ok()?;
        Some(handle.thread().clone())
    }
}

impl WriterShared {
    fn idle(&self) -> bool {
        self.queue.is_empty() && self.in_hand.load(SeqCst) == 0
    }

    /// The writer thread: ends with the process.
    fn run(&self) {
        let mut batch = Vec::with_capacity(WRITE_BYTES);
        let mut next = None;
        loop {
            let lines = self.fill(&mut batch, &mut next);
            if lines == 0 {
                self.sleep();
                continue;
            }
            if self.write_all(&batch).is_err() {
                self.dropped.fetch_add(lines.into(), Relaxed);
            }
            self.in_hand.fetch_sub(lines, SeqCst);
        }
    }

    /// Joins queued lines up to [`WRITE_BYTES`]; the one that did not fit waits in `next`.
    fn fill(&self, batch: &mut Vec<u8>, next: &mut Option<Box<[u8]>>) -> u32 {
        batch.clear();
        let mut lines = 0;
        while let Some(line) = next.take().or_else(|| self.take()) {
            if !batch.is_empty() && batch.len() + line.len() > WRITE_BYTES {
                *next = Some(line);
                break;
            }
            batch.extend_from_slice(&line);
            lines += 1;
        }
        lines
    }

    fn take(&self) -> Option<Box<[u8]>> {
        // Counted before it leaves the queue: `idle` never sees a gap between the two.
        self.in_hand.fetch_add(1, SeqCst);
        let line = self.queue.pop();
        if line.is_none() {
            self.in_hand.fetch_sub(1, SeqCst);
        }
        line
    }

    fn sleep(&self) {
        self.asleep.store(true, SeqCst);
        if self.queue.is_empty() {
            thread::park_timeout(Duration::from_secs(60));
        }
        self.asleep.store(false, SeqCst);
    }

    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rawfd::write(self.fd, bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Somebody made it non-blocking, and it stays so: wait here instead.
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let _ = rawfd::wait_writable(self.fd, 1000);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
