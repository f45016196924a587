//! The vocabulary: what a driver asks for, and how it ended.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use super::buf::Buf;
use super::kernel::Errno;
use super::pipe::Pipe;
use crate::base::slots::Key;

/// A socket (or listener) known to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SockKey(pub Key);

/// One thing to do. At most one receiving and one sending operation per socket at a time.
#[derive(Debug)]
pub enum Op {
    /// Receive what there is into a buffer of the engine's choosing: `Received`, `Eof` or `RecvFailed`.
    Recv { sock: SockKey },
    /// Send the whole buffer: `Sent` at each progress, with `left` 0 at the end, or `SendFailed`.
    Send { sock: SockKey, buf: Buf },
    /// Move up to `max` bytes from the socket into the pipe: `Filled`, `NoPipe` or `RecvFailed`. Without
    /// a pipe the engine lends one when there is something to read: who waits for a peer holds none.
    Fill {
        sock: SockKey,
        pipe: Option<Pipe>,
        max: u32,
    },
    /// Move all bytes of the pipe to the socket: `Drained` at each progress, or `SendFailed`.
    Drain { sock: SockKey, pipe: Pipe },
    /// End the sending direction (FIN after what was sent).
    ShutdownWrite { sock: SockKey },
    /// Close; `reset` sends RST instead of FIN. Operations pending on it end without a `Done`.
    Close { sock: SockKey, reset: bool },
}

/// How an operation, or a watched listener, came out. `owner` is what the driver registered.
#[derive(Debug)]
pub struct Done {
    pub owner: u64,
    pub sock: SockKey,
    pub what: What,
}

/// The end of an operation, or a step of it.
#[derive(Debug)]
pub enum What {
    /// A connection from a multishot accept.
    Accepted {
        fd: RawFd,
    },
    /// A polled listener has connections; accept them with [`super::Engine::accept_now`].
    Acceptable,
    /// A multishot accept ended by itself.
    AcceptEnded {
        errno: Errno,
    },
    Received {
        buf: Buf,
    },
    Eof,
    RecvFailed {
        errno: Errno,
    },
    Sent {
        bytes: u32,
        left: u32,
    },
    SendFailed {
        errno: Errno,
    },
    /// `bytes` 0 with `eof` false: nothing to read yet is never reported, so the pipe is full.
    Filled {
        pipe: Pipe,
        bytes: u32,
        eof: bool,
    },
    /// All pipes are lent or the memory budget is half used: copy instead.
    NoPipe,
    /// The pipe comes back once it is empty.
    Drained {
        pipe: Option<Pipe>,
        bytes: u32,
        left: u32,
        blocked: bool,
    },
    Connected,
    ConnectFailed {
        errno: Errno,
    },
}

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct Connect {
    pub to: Target,
    /// Source address; port 0 any.
    pub from: Option<(IpAddr, u16, u16)>,
    /// Bind to an address that is not ours (`usesrc`, needs CAP_NET_ADMIN).
    pub transparent: bool,
    pub interface: Option<String>,
    pub keepalive: Option<KeepAlive>,
    /// Socket buffers, 0: the kernel's.
    pub rcvbuf: u32,
    pub sndbuf: u32,
    pub user_timeout_ms: Option<u32>,
    /// Packet mark and type of service, if any.
    pub mark: Option<u32>,
    pub tos: Option<u8>,
    /// TCP fast open: the SYN waits for the first bytes and carries them.
    pub fastopen: bool,
    /// By way of a proxy that is to be asked; `to` is what it is asked for.
    pub through: Option<Through>,
}

/// Bytes of the answer of a proxy on the way.
pub const GRANT_BYTES: usize = 8;

/// A proxy on the way: `Connected` comes once it granted the connection.
#[derive(Debug, Clone)]
pub struct Through {
    pub proxy: SocketAddr,
    /// What it is told first.
    pub hello: Box<[u8]>,
    /// Whether this answer grants the connection.
    pub grants: fn(&[u8; GRANT_BYTES]) -> bool,
}

impl Connect {
    /// A plain connection to `to`.
    pub fn plain(to: Target) -> Self {
        Self {
            to,
            from: None,
            transparent: false,
            interface: None,
            keepalive: None,
            rcvbuf: 0,
            sndbuf: 0,
            user_timeout_ms: None,
            mark: None,
            tos: None,
            fastopen: false,
            through: None,
        }
    }
    /// Where the packets go.
    pub fn next_hop(&self) -> Target {
        match &self.through {
            Some(through) => Target::Ip(through.proxy),
            None => self.to.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Ip(SocketAddr),
    Unix(std::path::PathBuf),
    /// Abstract name, without the leading NUL.
    Abstract(Vec<u8>),
}

/// TCP keep-alive; `None` leaves the kernel's value. Seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeepAlive {
    pub idle_s: Option<u32>,
    pub intvl_s: Option<u32>,
    pub count: Option<u32>,
}
