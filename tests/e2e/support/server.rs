//! Small TCP servers that stand behind the balancer: each accepts on a port of 127.0.0.1, counts
//! what it sees, and can be stopped and started again on the same port.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::port;
use super::ports::patiently;

type Talk = Arc<dyn Fn(TcpStream, &Seen) + Send + Sync>;

/// A running server. Stops, and cuts its connections, on drop.
pub(crate) struct Server {
    pub(crate) port: u16,
    addr: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    talk: Talk,
    running: Option<Running>,
}

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What a server has seen, over all its starts.
#[derive(Default)]
pub(crate) struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    live: Mutex<HashMap<usize, TcpStream>>,
}

impl Seen {
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Acquire)
    }

    /// Connections whose conversation still runs.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl Server {
    /// A server on a port of its own which runs `talk` in a thread for every connection.
    pub(crate) fn new(talk: impl Fn(TcpStream, &Seen) + Send + Sync + 'static) -> Self {
        Self::at(([127, 0, 0, 1], port()).into(), talk)
    }

    /// As [`Server::new`], at an address of one's choice (in the calling thread's network namespace).
    pub(crate) fn at(
        addr: SocketAddr,
        talk: impl Fn(TcpStream, &Seen) + Send + Sync + 'static,
    ) -> Self {
        let mut server = Self {
            port: addr.port(),
            addr,
            seen: Arc::default(),
            talk: Arc::new(talk),
            running: None,
        };
        server.start();
        server
    }

    /// Sends back what it gets, and ends when the client has ended.
    pub(crate) fn echo() -> Self {
        Self::new(|stream, _| echo(stream, ""))
    }

    /// Answers `name:` once, then sends back what it gets; so a client knows who took it.
    pub(crate) fn named(name: &str) -> Self {
        Self::named_at(([127, 0, 0, 1], port()).into(), name)
    }

    pub(crate) fn named_at(addr: SocketAddr, name: &str) -> Self {
        let prefix = format!("{name}:");
        Self::at(addr, move |stream, _| echo(stream, &prefix))
    }

    /// Reads, and never says a word; ends when the client has ended.
    pub(crate) fn silent() -> Self {
        Self::new(|mut stream, _| {
            let mut buf = [0; 16384];
            while stream.read(&mut buf).is_ok_and(|n| n > 0) {}
        })
    }

    /// Speaks first, as SMTP and MySQL do, then sends back what it gets.
    pub(crate) fn greeting(hello: &str) -> Self {
        let hello = hello.to_owned();
        Self::new(move |mut stream, _| {
            let _ = stream.write_all(hello.as_bytes());
            echo(stream, "");
        })
    }

    /// Waits for the first bytes, then ends the connection by RST.
    pub(crate) fn resetting() -> Self {
        Self::new(|mut stream, _| {
            let _ = stream.read(&mut [0; 4096]);
            super::client::reset(stream);
        })
    }

    /// Reads until the client ends its side, and only then answers with what it got, as a peer that
    /// depends on half-close does.
    pub(crate) fn answers_after_end() -> Self {
        Self::new(|mut stream, _| {
            let mut all = Vec::new();
            if stream.read_to_end(&mut all).is_ok() {
                let _ = stream.write_all(format!("got {}:", all.len()).as_bytes());
                let _ = stream.write_all(&all);
            }
        })
    }

    /// Takes one HTTP/1 request per connection and answers with status and body as `answer` chooses
    /// from method and target.
    pub(crate) fn http(
        answer: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self::http_at(([127, 0, 0, 1], port()).into(), answer)
    }

    pub(crate) fn http_at(
        addr: SocketAddr,
        answer: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self::at(addr, move |mut stream, _| {
            let Some(head) = read_head(&mut stream) else {
                return;
            };
            let mut words = head.split_ascii_whitespace();
            let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let (status, body) = answer(method, target);
            let length = body.len();
            let text = format!(
                "HTTP/1.0 {status} Status\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(text.as_bytes());
        })
    }

    /// `ip:port`, for a `server` line.
    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Stops listening and cuts every connection; the port answers with RST from now on.
    pub(crate) fn stop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.stop.store(true, Ordering::Release);
        let _ = running.thread.join();
        let live: Vec<_> = self.seen.live.lock().unwrap().drain().collect();
        for (_, stream) in live {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again, on the same port.
    pub(crate) fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let listener =
            listen(self.addr, 4096).unwrap_or_else(|e| panic!("listen on {}: {e}", self.addr));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, seen, talk) = (
            Arc::clone(&stop),
            Arc::clone(&self.seen),
            Arc::clone(&self.talk),
        );
        let thread = std::thread::spawn(move || accept_until(&listener, &stopped, &seen, &talk));
        self.running = Some(Running { stop, thread });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A listening socket that does not wait for TIME_WAIT.
pub(crate) fn listen(addr: SocketAddr, backlog: i32) -> std::io::Result<TcpListener> {
    patiently(|| {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(backlog)?;
        Ok(socket.into())
    })
}

fn accept_until(listener: &TcpListener, stop: &AtomicBool, seen: &Arc<Seen>, talk: &Talk) {
    while !stop.load(Ordering::Acquire) {
        if !readable(listener, 20) {
            continue;
        }
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        let id = seen.accepted.fetch_add(1, Ordering::AcqRel);
        seen.open.fetch_add(1, Ordering::AcqRel);
        let _ = stream.set_nodelay(true);
        // Bounds a conversation with a peer that vanished; far above what any test waits for.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(120)));
        if let Ok(twin) = stream.try_clone() {
            seen.live.lock().unwrap().insert(id, twin);
        }
        let (seen, talk) = (Arc::clone(seen), Arc::clone(talk));
        let spawned = std::thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn(move || {
                talk(stream, &seen);
                seen.live.lock().unwrap().remove(&id);
                seen.open.fetch_sub(1, Ordering::AcqRel);
            });
        spawned.expect("a thread for a connection");
    }
}

/// A port whose listener takes no more connections: the kernel drops every further SYN, as a host
/// that is switched off would.
pub(crate) struct BlackHole {
    pub(crate) port: u16,
    _listener: TcpListener,
    _fill: Vec<Socket>,
}

impl BlackHole {
    pub(crate) fn new() -> Self {
        let port = port();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = listen(addr, 0).expect("listen");
        let fill = |_| {
            let socket =
                Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
            socket.set_nonblocking(true).expect("non-blocking");
            let _ = socket.connect(&addr.into());
            socket
        };
        let fill = (0..4).map(fill).collect();
        std::thread::sleep(Duration::from_millis(20));
        Self {
            port,
            _listener: listener,
            _fill: fill,
        }
    }
}

/// Whether `socket` has something to read, or becomes so within `limit_ms`.
pub(crate) fn readable(socket: &impl AsFd, limit_ms: u16) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(limit_ms)).is_ok_and(|n| n > 0)
}

fn echo(mut stream: TcpStream, prefix: &str) {
    let mut buf = vec![0; 16384];
    let mut first = true;
    while let Ok(n @ 1..) = stream.read(&mut buf) {
        let mut out = Vec::with_capacity(n + prefix.len());
        if std::mem::take(&mut first) {
            out.extend_from_slice(prefix.as_bytes());
        }
        out.extend_from_slice(&buf[..n]);
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

/// Reads up to the empty line after an HTTP head.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while head.len() < 65_536 && !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
