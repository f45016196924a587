//! Sockets handed to glommio, which takes them by number only.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use glommio::net::{TcpListener, TcpStream};

/// A listening socket of any family: glommio accepts on the number and never asks for an address.
/// Call inside an executor, to which the listener then belongs.
pub fn listener(fd: OwnedFd) -> TcpListener {
    // SAFETY: the number comes from an `OwnedFd` that gave it up, so nobody else closes it.
    unsafe { TcpListener::from_raw_fd(fd.into_raw_fd()) }
}

/// A connected stream socket of any family. Call inside an executor.
pub fn stream(fd: OwnedFd) -> TcpStream {
    // SAFETY: as above; the stream becomes the only owner.
    unsafe { TcpStream::from_raw_fd(fd.into_raw_fd()) }
}
