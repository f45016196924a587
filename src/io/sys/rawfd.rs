//! Descriptors that belong to somebody else: inherited ones that a configuration names by number.
//! They are neither owned, closed, duplicated nor changed here.

use std::io;

/// Writes to a descriptor by number, as write(2). `EBADF` if nothing is open there.
pub fn write(fd: i32, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are of one live slice, which write(2) only reads. A number
    // that is not open is refused by the kernel.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// Waits until a descriptor takes bytes again, `timeout_ms` at most. `true`: it is ready or in error.
pub fn wait_writable(fd: i32, timeout_ms: i32) -> io::Result<bool> {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one live entry, and the count says so.
    let ready = unsafe { libc::poll(&raw mut entry, 1, timeout_ms) };
    if ready < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ready > 0)
}
