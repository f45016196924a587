//! Readers of log lines: a UDP port and a unix datagram socket, as syslogd has them.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ports::patiently;
use super::{PATIENCE, port, within};

/// Datagrams received so far, oldest first, each as text.
pub(crate) struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lines {
    fn collect(
        mut receive: impl FnMut(&mut [u8]) -> std::io::Result<usize> + Send + 'static,
    ) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (sink, stopped) = (Arc::clone(&lines), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buf = vec![0; 65_536];
            while !stopped.load(Ordering::Acquire) {
                if let Ok(n) = receive(&mut buf) {
                    sink.lock()
                        .unwrap()
                        .push(String::from_utf8_lossy(&buf[..n]).into_owned());
                }
            }
        });
        Self {
            lines,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Lines that contain `text`.
    pub(crate) fn with(&self, text: &str) -> Vec<String> {
        self.all()
            .into_iter()
            .filter(|line| line.contains(text))
            .collect()
    }

    /// The first line that contains `text`; waits for it.
    #[track_caller]
    pub(crate) fn wait(&self, text: &str) -> String {
        self.wait_n(text, 1).remove(0)
    }

    /// The first `n` lines or more that contain `text`; waits for them.
    #[track_caller]
    pub(crate) fn wait_n(&self, text: &str, n: usize) -> Vec<String> {
        let enough = within(PATIENCE, || self.with(text).len() >= n);
        assert!(
            enough,
            "not {n} log lines with {text:?}; there were: {:#?}",
            self.all()
        );
        self.with(text)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A syslog server on a UDP port of 127.0.0.1.
pub(crate) struct UdpLog {
    pub(crate) port: u16,
    lines: Lines,
}

impl UdpLog {
    pub(crate) fn new() -> Self {
        Self::on(port())
    }

    pub(crate) fn on(port: u16) -> Self {
        let socket = patiently(|| UdpSocket::bind(("127.0.0.1", port))).expect("bind the log port");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        Self {
            port,
            lines: Lines::collect(move |buf| socket.recv(buf)),
        }
    }
}

impl std::ops::Deref for UdpLog {
    type Target = Lines;

    fn deref(&self) -> &Lines {
        &self.lines
    }
}

/// A syslog server on a unix datagram socket.
pub(crate) struct UnixLog(Lines);

impl UnixLog {
    pub(crate) fn at(path: impl AsRef<Path>) -> Self {
        let _ = std::fs::remove_file(path.as_ref());
        let socket = UnixDatagram::bind(path.as_ref()).expect("bind the log socket");
        let all: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(path, all).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        Self(Lines::collect(move |buf| socket.recv(buf)))
    }
}

impl std::ops::Deref for UnixLog {
    type Target = Lines;

    fn deref(&self) -> &Lines {
        &self.0
    }
}

/// Splits `<PRI>` off a line.
#[track_caller]
pub(crate) fn priority(line: &str) -> (u32, &str) {
    let (number, rest) = line
        .strip_prefix('<')
        .and_then(|l| l.split_once('>'))
        .expect("a line with its priority");
    (number.parse().expect("a priority is a number"), rest)
}

/// The part after the tag `haproxy[pid]: ` (or whatever the tag is).
#[track_caller]
pub(crate) fn message(line: &str) -> &str {
    line.split_once("]: ")
        .unwrap_or_else(|| panic!("no tag in {line:?}"))
        .1
}
