//! What the engine needs of an operating system: a poller and non-blocking calls. Served by
//! io_uring, by epoll, and by the simulation.

use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::op::Connect;
use super::pipe::Pipe;
use super::sys::net;
use crate::base::tick::{Moment, Tick};

/// An error number of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub const AGAIN: Self = Self(libc::EAGAIN);
    /// Not the system's: a proxy on the way denied the connection, or ended before it said anything of use.
    pub const PROXY_DENIED: Self = Self(-1);
    pub const PROXY_ENDED: Self = Self(-2);
    /// The call would have to wait.
    pub fn would_block(self) -> bool {
        self.0 == libc::EAGAIN
    }
    /// Out of descriptors or memory: wait and try again, do not spin.
    pub fn exhausted(self) -> bool {
        matches!(
            self.0,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM
        )
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

/// Readiness bits of an [`Event`].
pub mod ready {
    pub const READ: u8 = 1;
    pub const WRITE: u8 = 2;
    /// The peer ended its direction; what it sent before may still wait.
    pub const READ_HUP: u8 = 4;
    pub const HUP: u8 = 8;
    pub const ERROR: u8 = 16;
}

/// What the poller saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Edge-triggered readiness of a watched descriptor; `ended`: the watch is gone and must be set again.
    Ready {
        key: u64,
        bits: u8,
        ended: bool,
    },
    /// A connection from a multishot accept; `ended` as above.
    Accepted {
        key: u64,
        fd: RawFd,
        ended: bool,
    },
    AcceptEnded {
        key: u64,
        errno: Errno,
    },
    /// Someone rang the bell of this shard.
    Bell,
}

/// How a listener is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptMode {
    /// The kernel accepts by itself and delivers descriptors.
    Multishot,
    /// Readiness only; each accept is a call of ours.
    Poll,
}

/// How long to wait for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Collect what is there.
    No,
    Until(Tick),
    Forever,
}

/// One shard's view of the operating system.
pub trait Kernel {
    /// Watches both directions, edge-triggered; the first event tells today's readiness.
    fn watch(&mut self, fd: RawFd, key: u64);
    /// Ends a watch; must come before the descriptor is closed.
    fn unwatch(&mut self, fd: RawFd, key: u64);
    /// Watches a listener. Multishot falls back to polling where the kernel lacks it: returns what was set.
    fn watch_listener(&mut self, fd: RawFd, key: u64, mode: AcceptMode) -> AcceptMode;
    fn unwatch_listener(&mut self, fd: RawFd, key: u64, mode: AcceptMode);
    /// Submits what was asked and collects events, waiting as told.
    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>);
    /// Can the kernel accept by itself?
    fn has_multishot_accept(&self) -> bool;

    // The calls: the system's own unless the kernel is simulated.

    fn now(&mut self) -> Moment {
        net::moment()
    }
    /// System calls so far that hand over what was asked and collect events.
    fn enters(&self) -> u64;
    /// The CPU this thread runs on, -1 unknown.
    fn cpu(&mut self) -> i32 {
        net::current_cpu()
    }
    /// Microseconds of CPU this thread used so far.
    fn cpu_us(&mut self) -> u64 {
        net::thread_cpu_us()
    }
    fn recv(&mut self, fd: RawFd, space: &mut [u8]) -> Result<usize, Errno> {
        net::recv(fd, space)
    }
    /// Whether a receive would find nothing.
    fn is_quiet(&mut self, fd: RawFd) -> bool {
        net::is_quiet(fd)
    }
    fn send(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
        net::send(fd, bytes)
    }
    /// Socket to pipe. 0 is the end of the stream.
    fn splice_in(&mut self, fd: RawFd, pipe: &Pipe, max: u32) -> Result<usize, Errno> {
        net::splice(fd, pipe.write, max as usize)
    }
    /// Pipe to socket.
    fn splice_out(&mut self, pipe: &Pipe, fd: RawFd, max: u32) -> Result<usize, Errno> {
        net::splice(pipe.read, fd, max as usize)
    }
    fn accept(&mut self, fd: RawFd) -> Result<(RawFd, Option<SocketAddr>), Errno> {
        net::accept(fd)
    }
    /// A new socket, connecting. `true`: connected at once.
    fn connect(&mut self, spec: &Connect) -> Result<(RawFd, bool), Errno> {
        net::connect(spec)
    }
    /// The pending error of a socket, 0 none.
    fn so_error(&mut self, fd: RawFd) -> i32 {
        net::so_error(fd)
    }
    fn peer_address(&mut self, fd: RawFd) -> Option<SocketAddr> {
        net::peer_address(fd)
    }
    fn local_address(&mut self, fd: RawFd) -> Option<SocketAddr> {
        net::local_address(fd)
    }
    fn set_mark(&mut self, fd: RawFd, mark: u32) {
        net::set_mark(fd, mark);
    }
    fn silence(&mut self, fd: RawFd) {
        net::drop_silently(fd);
    }
    fn set_tos(&mut self, fd: RawFd, tos: u8) {
        net::set_tos(fd, tos);
    }
    fn shutdown_write(&mut self, fd: RawFd) {
        net::shutdown_write(fd);
    }
    fn close(&mut self, fd: RawFd) {
        net::close(fd);
    }
    /// Closes with RST.
    fn close_reset(&mut self, fd: RawFd) {
        net::close_reset(fd);
    }
    fn pipe(&mut self, size: u32) -> Result<Pipe, Errno> {
        net::pipe(size)
    }
    /// Stops a listening socket from taking new connections; stays bound (SIGTTOU).
    fn pause_listener(&mut self, fd: RawFd) {
        net::shutdown_read(fd);
    }
    /// Takes new connections again.
    fn resume_listener(&mut self, fd: RawFd, backlog: u32) -> Result<(), Errno> {
        net::listen(fd, backlog)
    }
    /// Keeps new handshakes away from a listener about to be left; those under way still finish.
    fn refuse_handshakes(&mut self, fd: RawFd) {
        net::refuse_handshakes(fd);
    }
}
