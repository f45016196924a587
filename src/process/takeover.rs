//! Listening sockets of the process before this one: `-x`, and `-sf` where the old process offers them on an admin
//! socket that this configuration names as well. See `control::handover` for what is said.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{Bind, BindAddress};
use crate::io::sys::rights;

/// Longest time the old process may take for a message.
const PATIENCE: Duration = Duration::from_secs(2);
/// More are not asked for: no process has so many listeners.
const SOCKETS_MAX: i32 = 1 << 20;
/// Longest description of the sockets in one message, far beyond what names of namespaces and interfaces take.
const TEXT_MAX: usize = 1 << 17;

/// What the old process gave.
#[derive(Debug, Default)]
pub struct Taken {
    sockets: Vec<Given>,
}

/// A listening socket and what it is called: asked once, since each bind line looks at all of them.
#[derive(Debug)]
struct Given {
    socket: Socket,
    name: SockAddr,
    device: Option<Vec<u8>>,
}

impl Given {
    /// `None`: it is no stream socket that listens, but something else that was left in the list.
    fn new(socket: Socket) -> Option<Self> {
        let stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
        if !stream || !socket.is_listener().unwrap_or(false) {
            return None;
        }
        Some(Self {
            name: socket.local_addr().ok()?,
            device: socket.device().unwrap_or_default(),
            socket,
        })
    }
}

impl Taken {
    /// Asks the process behind the admin socket at `path` for its listening sockets.
    ///
    /// # Errors
    /// Nobody listens there, or does not answer as haproxy does: the socket is not one with `expose-fd listeners`.
    pub fn from(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
        // Bounds the connect as well, where the queue of the other side is full (unix(7), SO_SNDTIMEO).
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(&SockAddr::unix(path)?)?;
        let mut stream = UnixStream::from(OwnedFd::from(socket));
        let taken = Self::over(stream.try_clone()?)?;
        // Held as long as this process lives: when it ends before the old one does, that has its sockets for itself.
        // haproxy has closed by now.
        if stream.write_all(b"_held\n").is_ok() {
            let _: i32 = stream.into_raw_fd();
        }
        Ok(taken)
    }

    /// As [`Taken::from`], over a connection.
    ///
    /// # Errors
    /// As there.
    pub fn over(mut stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(b"_getsocks all\n")?;
        let mut count = [0; 4];
        stream.read_exact(&mut count)?;
        let count = i32::from_ne_bytes(count);
        if !(0..=SOCKETS_MAX).contains(&count) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (mut fds, mut space) = (Vec::<OwnedFd>::new(), vec![0; TEXT_MAX]);
        while fds.len() < count as usize {
            let (bytes, came) = rights::receive(stream.as_raw_fd(), &mut space)?;
            if bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let before = i32::try_from(fds.len()).expect("at most `count`");
            fds.extend(came);
            if fds.len() < count as usize {
                stream.write_all(&before.to_ne_bytes())?;
            }
        }
        let sockets = fds.into_iter().map(Socket::from);
        Ok(Self {
            sockets: sockets.filter_map(Given::new).collect(),
        })
    }

    /// Nothing was given.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// For one attempt to bind everything.
    pub fn hand(&self) -> Hand<'_> {
        Hand {
            left: self.sockets.iter().collect(),
        }
    }
}

/// What is left of the sockets while all bind lines take theirs: each goes to one of them.
#[derive(Debug)]
pub struct Hand<'t> {
    left: Vec<&'t Given>,
}

impl Hand<'_> {
    /// Copies of the sockets that listen where `bind` wants to. They accept already. `others`: how many bind lines
    /// want the same and come later, which get their share.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn take(&mut self, bind: &Bind, others: impl FnOnce() -> usize) -> io::Result<Vec<Socket>> {
        let (mut own, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition::<Vec<_>, _>(|given| fits(given, bind));
        self.left = left;
        if own.len() > 1 {
            self.left
                .extend(own.split_off(own.len().div_ceil(others() + 1)));
        }
        own.iter().map(|given| given.socket.try_clone()).collect()
    }
}

fn fits(given: &Given, bind: &Bind) -> bool {
    let Given {
        socket,
        name: own,
        device,
    } = given;
    match &bind.address {
        BindAddress::Ip(address) => {
            own.as_socket() == Some(*address)
                && device.as_deref() == bind.interface.as_deref().map(str::as_bytes)
                && alike_v6(socket, address, bind)
                && alike_transparent(socket, address, bind)
        }
        BindAddress::Unix(path) => {
            // Nobody would find it where its path is gone.
            own.as_pathname().is_some_and(|own| is_place(own, path)) && is_socket(path)
        }
        BindAddress::Abns(name) => is_abstract(own, name),
        BindAddress::Abnsz(name) => own.as_abstract_namespace() == Some(name),
        // Handed over by who started us.
        BindAddress::Fd(_) => false,
    }
}

/// Whether it serves IPv4 clients as well, as `v4v6` and `v6only` say. It cannot be changed any more.
fn alike_v6(socket: &Socket, address: &SocketAddr, bind: &Bind) -> bool {
    let asked = address.is_ipv6() && address.ip().is_unspecified();
    !asked || socket.only_v6().is_ok_and(|only| only == bind.v6only)
}

/// Whether it answers for addresses of others, as `transparent` says: that is decided before binding.
fn alike_transparent(socket: &Socket, address: &SocketAddr, bind: &Bind) -> bool {
    // IPv6 has no way to ask that is the same on all kernels: such a socket is taken as it is.
    address.is_ipv6()
        || !bind.transparent
        || socket.ip_transparent_v4().unwrap_or(false)
        || socket.freebind_v4().unwrap_or(false)
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// The socket was bound beside its place and moved there: its name is still `<place>.<pid>.tmp`.
fn is_place(own: &Path, place: &Path) -> bool {
    let (own, place) = (own.as_os_str().as_bytes(), place.as_os_str().as_bytes());
    let behind = own.strip_prefix(place);
    let number = behind.and_then(|b| b.strip_prefix(b".")?.strip_suffix(b".tmp"));
    own == place || number.is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
}

/// haproxy fills such names up with zeros.
fn is_abstract(own: &SockAddr, name: &[u8]) -> bool {
    let behind = own
        .as_abstract_namespace()
        .and_then(|own| own.strip_prefix(name));
    behind.is_some_and(|rest| rest.iter().all(|&byte| byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn an_admin_socket_that_accepts_nobody_is_waited_for_only_so_long() {
        let path = std::env::temp_dir().join(format!("ringway-full-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let address = SockAddr::unix(&path).expect("short");
        let full = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        full.bind(&address).expect("a free path");
        full.listen(0).expect("listens");
        let waiting: Vec<_> = std::iter::repeat_with(|| {
            let one = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).expect("one");
            one.connect(&address).map(|()| one)
        })
        .take(8)
        .map_while(Result::ok)
        .collect();
        assert!(!waiting.is_empty());
        let begun = Instant::now();
        assert!(Taken::from(&path).is_err());
        assert!(begun.elapsed() < PATIENCE * 3);
        let _ = std::fs::remove_file(&path);
    }
}
