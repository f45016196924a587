//! Descriptors sent over a unix socket (unix(7), SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sendmsg, sockopt,
};

/// Most descriptors in one message: the kernel's limit is 253, haproxy sends one less.
pub const RIGHTS_MAX: usize = 252;

/// Sends `bytes`, all or nothing, with copies of `fds`, at most [`RIGHTS_MAX`]. Never waits.
///
/// # Errors
/// The kernel's, `WouldBlock` among them; a number that is not open is `EBADF`.
pub fn send(socket: RawFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
    let rights = [ControlMessage::ScmRights(fds)];
    let rights = if fds.is_empty() { &[][..] } else { &rights };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(socket, &[IoSlice::new(bytes)], rights, flags, None)?;
    if sent < bytes.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// A copy of the listening socket `fd`; `None` if it is none, or not any more.
pub fn listener(fd: RawFd) -> Option<OwnedFd> {
    let copy = super::process::take_inherited(fd).ok()?;
    let listens = getsockopt(&copy, sockopt::AcceptConn).unwrap_or(false);
    listens.then_some(copy)
}

/// Receives a message: how many bytes of `space` it filled, 0 at the end, and the descriptors with it.
///
/// # Errors
/// The kernel's; `EMFILE` if it had to leave descriptors out. Those that it did not are lost then: whoever asked is to
/// end.
pub fn receive(socket: RawFd, space: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = cmsg_space!([RawFd; RIGHTS_MAX + 1]);
    let mut parts = [IoSliceMut::new(space)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket, &mut parts, Some(&mut control), flags)?;
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            // SAFETY: the kernel just made these numbers for this process, and nobody else knows them.
            fds.extend(
                numbers
                    .iter()
                    .map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    Ok((message.bytes, fds))
}
