//! Calls that start a process: fork, inherited descriptors, options without a safe wrapper.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Which side of [`fork`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    Parent { child: i32 },
    Child,
}

/// fork(2). Refused while more than one thread runs: the child would get their locks and not them.
///
/// # Errors
/// The kernel's, or `Unsupported` with threads around.
pub fn fork() -> io::Result<Fork> {
    if threads()? != 1 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "more than one thread runs",
        ));
    }
    // SAFETY: this is the only thread, so the child's copy of memory is whole and no lock is held
    // by a thread that does not exist there.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent { child }),
    }
}

fn threads() -> io::Result<usize> {
    match std::fs::read_dir("/proc/self/task") {
        Ok(tasks) => Ok(tasks.count()),
        // Without /proc there is nobody to ask; the caller forks before it starts any thread.
        Err(_) => Ok(1),
    }
}

/// Gives what the allocator keeps of freed memory back to the kernel, where the allocator is glibc's. Other threads
/// may wait for it a while (milliseconds for some tens of megabytes): for rare moments.
pub fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no memory in use is touched; takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Takes a descriptor that the parent process left open, as our own from here on.
///
/// # Errors
/// Nothing is open under that number.
pub fn take_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is handed over; a number that is not open is refused.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // A duplicate, so that two binds may name one number and our own closing is ours alone.
    // SAFETY: no memory is handed over.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `copy` was just made and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Closes a descriptor that the parent process left open and of which duplicates are held.
pub fn close_inherited(fd: RawFd) {
    // SAFETY: the number came from the configuration as one handed over to us; nothing of ours
    // owns it (ours are duplicates), and a number that is not open is refused.
    unsafe { libc::close(fd) };
}

/// Sets an integer socket option that the wrappers do not know.
///
/// # Errors
/// The kernel's.
pub fn set_int(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: a pointer to one live int with its size.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Binds to an abstract unix name of exactly these bytes (after the leading zero).
///
/// # Errors
/// `InvalidInput` if longer than 107 bytes, or the kernel's.
pub fn bind_abstract(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid sockaddr_un.
    let mut addr: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    if name.len() >= addr.sun_path.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (slot, byte) in addr.sun_path[1..].iter_mut().zip(name) {
        *slot = *byte as libc::c_char;
    }
    let len = std::mem::offset_of!(libc::sockaddr_un, sun_path) + 1 + name.len();
    // SAFETY: `addr` is live for the call and `len` lies within it.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const addr).cast(),
            len as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Puts `file` in the place of descriptors 0, 1 and 2.
///
/// # Errors
/// The kernel's.
pub fn replace_stdio(file: &OwnedFd) -> io::Result<()> {
    for fd in 0..3 {
        // SAFETY: dup2 onto the standard descriptors, which no owner in this process closes.
        if unsafe { libc::dup2(file.as_raw_fd(), fd) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Capabilities in force for this thread, as a bit set; `None` if the kernel does not say.
pub fn effective_capabilities() -> Option<u64> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of 32.
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: header and two data records are what version 3 reads and writes.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    let all = |of: fn(&Data) -> u32| u64::from(of(&data[0])) | u64::from(of(&data[1])) << 32;
    (result == 0).then(|| all(|d| d.effective) | all(|d| d.permitted))
}

/// A handle to a process that stays its own when the number is used again.
///
/// # Errors
/// The kernel's: `ESRCH` if there is none, `ENOSYS` before Linux 5.3.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is handed over.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal through a handle of [`pidfd_open`].
///
/// # Errors
/// The kernel's: `ESRCH` if the process is gone, `EPERM`.
pub fn pidfd_signal(handle: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the only pointer is null, which the call allows.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            handle.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Ends this process by `signal` as if nobody had handled it, so that its parent sees so.
/// Comes back only if the signal does not end processes.
pub fn die_by(signal: i32) {
    // SAFETY: sets the default action, no handler of ours is involved.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: all-zero bytes are a valid set for sigemptyset to fill.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is live and exclusively borrowed.
    unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: `set` was made by sigemptyset and is live.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    // SAFETY: raises at this thread, where it waits until it is unblocked below.
    unsafe { libc::raise(signal) };
    // SAFETY: `set` is live; the old mask is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
}

/// A pipe for splicing, owned: read end, write end, bytes as the kernel gave them.
///
/// # Errors
/// The kernel's.
pub fn pipe(size: u32) -> io::Result<(OwnedFd, OwnedFd, u32)> {
    let pipe = super::net::pipe(size).map_err(|e| io::Error::from_raw_os_error(e.0))?;
    // SAFETY: the pipe was just made and its ends are named nowhere else.
    let read = unsafe { OwnedFd::from_raw_fd(pipe.read) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(pipe.write) };
    Ok((read, write, pipe.size))
}

/// An eventfd, owned.
///
/// # Errors
/// The kernel's.
pub fn eventfd() -> io::Result<OwnedFd> {
    let fd = super::net::eventfd().map_err(|e| io::Error::from_raw_os_error(e.0))?;
    // SAFETY: the descriptor was just made and is named nowhere else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
