//! Sockets, pipes and the clock: one call each, errors as [`Errno`], EINTR retried where it can happen.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;

use crate::base::tick::{Moment, Tick};
use crate::io::kernel::Errno;
use crate::io::op::{Connect, KeepAlive, Target};
use crate::io::pipe::Pipe;

fn last() -> Errno {
    Errno(
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO),
    )
}

fn count(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| last())
}

fn check(result: i32) -> Result<i32, Errno> {
    if result < 0 { Err(last()) } else { Ok(result) }
}

/// Milliseconds of CLOCK_MONOTONIC.
pub fn monotonic_ms() -> u64 {
    let us = monotonic_us();
    us / 1000
}

/// Microseconds of CLOCK_MONOTONIC.
pub fn monotonic_us() -> u64 {
    clock_us(libc::CLOCK_MONOTONIC)
}

/// Microseconds of CPU the calling thread used.
pub fn thread_cpu_us() -> u64 {
    clock_us(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The CPU the calling thread runs on, -1 unknown.
pub fn current_cpu() -> i32 {
    let cpu = nix::sched::sched_getcpu().ok();
    cpu.and_then(|cpu| i32::try_from(cpu).ok()).unwrap_or(-1)
}

fn clock_us(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the kernel to fill, alive during the call.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// Ticks count from here on: the first call of the process fixes 0.
pub fn tick() -> Tick {
    moment().tick()
}

/// [`tick`] to the microsecond.
pub fn moment() -> Moment {
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    // One second ahead, so that tick 0 means "never happened" in counters.
    let start = *START.get_or_init(|| monotonic_ms().saturating_sub(1000));
    Moment(monotonic_us() - start * 1000)
}

/// Non-blocking receive. 0 is the end of the stream.
pub fn recv(fd: RawFd, space: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: `space` is exclusively borrowed for the call and its length is passed along.
        let n = unsafe {
            libc::recv(
                fd,
                space.as_mut_ptr().cast(),
                space.len(),
                libc::MSG_DONTWAIT,
            )
        };
        match count(n) {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}

/// Whether a receive would block: no bytes, no end, no error.
pub fn is_quiet(fd: RawFd) -> bool {
    let mut byte = 0u8;
    let flags = libc::MSG_DONTWAIT | libc::MSG_PEEK;
    // SAFETY: `byte` is one exclusively borrowed byte, alive during the call.
    let n = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, flags) };
    count(n).is_err_and(Errno::would_block)
}

/// Non-blocking send without SIGPIPE.
pub fn send(fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: `bytes` is borrowed for the call and its length is passed along.
        let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
        match count(n) {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}

/// Moves up to `max` bytes between a pipe and a socket without copying; non-blocking.
pub fn splice(from: RawFd, to: RawFd, max: usize) -> Result<usize, Errno> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    loop {
        // SAFETY: no memory of ours is handed over: both offsets are null, descriptors are plain numbers.
        let n = unsafe {
            libc::splice(
                from,
                std::ptr::null_mut(),
                to,
                std::ptr::null_mut(),
                max,
                flags,
            )
        };
        match count(n) {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}

/// Non-blocking, close-on-exec accept with the peer's address (`None` for unix sockets).
pub fn accept(fd: RawFd) -> Result<(RawFd, Option<SocketAddr>), Errno> {
    // SAFETY: an all-zero sockaddr_storage is a valid value of that plain structure.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = size_of_val(&storage) as libc::socklen_t;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    loop {
        // SAFETY: `storage` and `len` describe one valid buffer, alive during the call.
        let new = unsafe { libc::accept4(fd, (&raw mut storage).cast(), &mut len, flags) };
        match check(new) {
            Ok(new) => return Ok((new, from_storage(&storage))),
            Err(Errno(libc::EINTR | libc::ECONNABORTED)) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn from_storage(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in, which fits in the storage.
            let addr: libc::sockaddr_in = unsafe { *(&raw const *storage).cast() };
            let ip = Ipv4Addr::from(u32::from_be(addr.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(
                ip,
                u16::from_be(addr.sin_port),
            )))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in6, which fits in the storage.
            let addr: libc::sockaddr_in6 = unsafe { *(&raw const *storage).cast() };
            let ip = Ipv6Addr::from(addr.sin6_addr.s6_addr);
            let port = u16::from_be(addr.sin6_port);
            // A v4 client of a v6 socket is shown as what it is.
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, addr.sin6_scope_id)),
            })
        }
        _ => None,
    }
}

type NameCall = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

fn name_of(fd: RawFd, call: NameCall) -> Option<SocketAddr> {
    // SAFETY: an all-zero sockaddr_storage is a valid value of that plain structure.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = size_of_val(&storage) as libc::socklen_t;
    // SAFETY: `storage` and `len` describe one valid buffer, alive during the call.
    let result = unsafe { call(fd, (&raw mut storage).cast(), &mut len) };
    if result == 0 {
        from_storage(&storage)
    } else {
        None
    }
}

pub fn peer_address(fd: RawFd) -> Option<SocketAddr> {
    name_of(fd, libc::getpeername)
}
pub fn local_address(fd: RawFd) -> Option<SocketAddr> {
    name_of(fd, libc::getsockname)
}

fn set<T>(fd: RawFd, level: i32, name: i32, value: &T) -> Result<(), Errno> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is a plain structure borrowed for the call, its size is passed along.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), len) }).map(drop)
}

/// Pending error of a socket; reading it clears it.
pub fn so_error(fd: RawFd) -> i32 {
    let mut error = 0i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `error` and `len` describe one valid int, alive during the call.
    unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &mut len,
        )
    };
    error
}

pub fn shutdown_write(fd: RawFd) {
    // SAFETY: no memory is handed over. ENOTCONN after a reset is of no interest.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Stops a listening socket without unbinding it; `listen` starts it again.
pub fn shutdown_read(fd: RawFd) {
    // SAFETY: no memory is handed over.
    unsafe { libc::shutdown(fd, libc::SHUT_RD) };
}

pub fn listen(fd: RawFd, backlog: u32) -> Result<(), Errno> {
    // SAFETY: no memory is handed over.
    check(unsafe { libc::listen(fd, i32::try_from(backlog).unwrap_or(i32::MAX)) }).map(drop)
}

pub fn close(fd: RawFd) {
    // SAFETY: the caller owns `fd` and forgets it with this call.
    unsafe { libc::close(fd) };
}

/// Closes so that the peer sees RST.
pub fn close_reset(fd: RawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
    close(fd);
}

/// Turns keep-alive on with the parameters given.
pub fn keepalive(fd: RawFd, wanted: &KeepAlive) {
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1i32);
    for (name, value) in [
        (libc::TCP_KEEPIDLE, wanted.idle_s),
        (libc::TCP_KEEPINTVL, wanted.intvl_s),
        (libc::TCP_KEEPCNT, wanted.count),
    ] {
        if let Some(value) = value {
            let _ = set(fd, libc::IPPROTO_TCP, name, &(value as i32));
        }
    }
}

/// Options that accepted sockets inherit are set once, on the listener.
pub fn prepare_listener(fd: RawFd, wanted: Option<&KeepAlive>, rcvbuf: u32, sndbuf: u32) {
    let _ = set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32);
    if let Some(wanted) = wanted {
        keepalive(fd, wanted);
    }
    buffers(fd, rcvbuf, sndbuf);
}

fn buffers(fd: RawFd, rcvbuf: u32, sndbuf: u32) {
    if rcvbuf > 0 {
        let _ = set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &(rcvbuf as i32));
    }
    if sndbuf > 0 {
        let _ = set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &(sndbuf as i32));
    }
}

/// A listener's descriptor as the engine needs it.
pub fn set_nonblocking(fd: RawFd) {
    // SAFETY: no memory is handed over.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags >= 0 && flags & libc::O_NONBLOCK == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) };
    }
}

/// Marks the packets of a socket; refused without CAP_NET_ADMIN.
pub fn set_mark(fd: RawFd, mark: u32) {
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_MARK, &mark);
}

/// Packets of a socket die at the first router, and a close sends a reset that nobody hears.
pub fn drop_silently(fd: RawFd) {
    let _ = set(fd, libc::IPPROTO_IP, libc::IP_TTL, &1i32);
    let _ = set(fd, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, &1i32);
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// Type of service, or traffic class in IPv6; each family takes its own option and refuses the other.
pub fn set_tos(fd: RawFd, tos: u8) {
    let tos = i32::from(tos);
    let _ = set(fd, libc::IPPROTO_IP, libc::IP_TOS, &tos);
    let _ = set(fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &tos);
}

/// A non-blocking socket on its way to `spec.to`. `true`: connected at once (unix sockets).
pub fn connect(spec: &Connect) -> Result<(RawFd, bool), Errno> {
    let to = spec.next_hop();
    let domain = match &to {
        Target::Ip(SocketAddr::V4(_)) => libc::AF_INET,
        Target::Ip(SocketAddr::V6(_)) => libc::AF_INET6,
        Target::Unix(_) | Target::Abstract(_) => libc::AF_UNIX,
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is handed over.
    let fd = check(unsafe { libc::socket(domain, kind, 0) })?;
    match connect_socket(fd, domain, &to, spec) {
        Ok(connected) => Ok((fd, connected)),
        Err(errno) => {
            close(fd);
            Err(errno)
        }
    }
}

fn connect_socket(fd: RawFd, domain: i32, to: &Target, spec: &Connect) -> Result<bool, Errno> {
    if domain != libc::AF_UNIX {
        let _ = set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32);
        if let Some(wanted) = &spec.keepalive {
            keepalive(fd, wanted);
        }
        if let Some(ms) = spec.user_timeout_ms {
            let _ = set(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, &ms);
        }
        if let Some(mark) = spec.mark {
            set_mark(fd, mark);
        }
        if let Some(tos) = spec.tos {
            set_tos(fd, tos);
        }
        if spec.fastopen {
            let _ = set(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, &1i32);
        }
        if let Some(name) = &spec.interface {
            bind_to_device(fd, name)?;
        }
        if let Some(from) = &spec.from {
            bind_source(fd, domain, *from, spec.transparent)?;
        }
    }
    buffers(fd, spec.rcvbuf, spec.sndbuf);
    let (storage, len) = to_storage(to)?;
    // SAFETY: `storage` holds an address of `len` bytes and lives during the call.
    match check(unsafe { libc::connect(fd, (&raw const storage).cast(), len) }) {
        Ok(_) => Ok(true),
        Err(Errno(libc::EINPROGRESS | libc::EINTR)) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn bind_to_device(fd: RawFd, name: &str) -> Result<(), Errno> {
    let len = name.len() as libc::socklen_t;
    // SAFETY: `name` is borrowed for the call, its length is passed along.
    check(unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_ptr().cast(),
            len,
        )
    })
    .map(drop)
}

fn bind_source(
    fd: RawFd,
    domain: i32,
    from: (IpAddr, u16, u16),
    transparent: bool,
) -> Result<(), Errno> {
    let (ip, low, high) = from;
    if transparent {
        let (level, name) = if domain == libc::AF_INET {
            (libc::SOL_IP, libc::IP_TRANSPARENT)
        } else {
            (libc::SOL_IPV6, libc::IPV6_TRANSPARENT)
        };
        set(fd, level, name, &1i32)?;
    }
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1i32);
    if low == 0 {
        // The kernel picks the port at connect time: a source address must not use up whole ports.
        let _ = set(fd, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32);
        return bind(fd, SocketAddr::new(ip, 0));
    }
    // A range: start anywhere in it, so that shards do not fight for the same port.
    let width = u32::from(high.max(low) - low) + 1;
    let first = (fd as u32).wrapping_mul(2_654_435_761) % width;
    let mut result = Err(Errno(libc::EADDRINUSE));
    for step in 0..width.min(64) {
        let port = low + u16::try_from((first + step) % width).expect("within a range of ports");
        result = bind(fd, SocketAddr::new(ip, port));
        if !matches!(result, Err(Errno(libc::EADDRINUSE))) {
            break;
        }
    }
    result
}

fn bind(fd: RawFd, to: SocketAddr) -> Result<(), Errno> {
    let (storage, len) = to_storage(&Target::Ip(to))?;
    // SAFETY: `storage` holds an address of `len` bytes and lives during the call.
    check(unsafe { libc::bind(fd, (&raw const storage).cast(), len) }).map(drop)
}

fn to_storage(target: &Target) -> Result<(libc::sockaddr_storage, libc::socklen_t), Errno> {
    // SAFETY: an all-zero sockaddr_storage is a valid value of that plain structure.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let len = match target {
        Target::Ip(SocketAddr::V4(v4)) => {
            let addr = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*v4.ip()).to_be(),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is larger than and aligned for every address family's structure.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(addr) };
            size_of::<libc::sockaddr_in>()
        }
        Target::Ip(SocketAddr::V6(v6)) => {
            let addr = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(addr) };
            size_of::<libc::sockaddr_in6>()
        }
        Target::Unix(path) => {
            return unix_storage(
                std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()),
                false,
            );
        }
        Target::Abstract(name) => return unix_storage(name, true),
    };
    Ok((storage, len as libc::socklen_t))
}

fn unix_storage(
    name: &[u8],
    is_abstract: bool,
) -> Result<(libc::sockaddr_storage, libc::socklen_t), Errno> {
    // SAFETY: an all-zero sockaddr_un is a valid value of that plain structure.
    let mut addr: libc::sockaddr_un = unsafe { mem::zeroed() };
    addr.sun_family = libc::AF_UNIX as u16;
    let skip = usize::from(is_abstract);
    if name.len() + 1 > addr.sun_path.len() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    for (to, from) in addr.sun_path[skip..].iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    let len = mem::offset_of!(libc::sockaddr_un, sun_path) + name.len() + 1;
    // SAFETY: an all-zero sockaddr_storage is a valid value of that plain structure.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    // SAFETY: sockaddr_storage is larger than and aligned for every address family's structure.
    unsafe { (&raw mut storage).cast::<libc::sockaddr_un>().write(addr) };
    Ok((storage, len as libc::socklen_t))
}

/// A non-blocking pipe, its size raised as far as the kernel allows towards `size`.
pub fn pipe(size: u32) -> Result<Pipe, Errno> {
    let mut fds = [0i32; 2];
    // SAFETY: `fds` is a valid array of two ints, alive during the call.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    let mut wanted = size as i32;
    let size = loop {
        // SAFETY: no memory is handed over.
        let got = unsafe { libc::fcntl(fds[1], libc::F_SETPIPE_SZ, wanted) };
        if got > 0 || wanted <= 65_536 {
            break got;
        }
        wanted /= 2;
    };
    let size = if size > 0 {
        size
    } else {
        // SAFETY: no memory is handed over.
        unsafe { libc::fcntl(fds[1], libc::F_GETPIPE_SZ) }
    };
    Ok(Pipe {
        read: fds[0],
        write: fds[1],
        size: size.max(0) as u32,
        held: 0,
    })
}

/// An eventfd for a bell.
pub fn eventfd() -> Result<RawFd, Errno> {
    // SAFETY: no memory is handed over.
    check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })
}

/// Rings a bell made by [`eventfd`].
pub fn ring(fd: RawFd) {
    let one = 1u64;
    // SAFETY: eight bytes of a valid u64 are read by the kernel during the call.
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
}

/// Silences a bell; what it counted does not matter.
pub fn silence(fd: RawFd) {
    let mut counted = 0u64;
    // SAFETY: eight bytes of a valid u64 are written by the kernel during the call.
    unsafe { libc::read(fd, (&raw mut counted).cast(), 8) };
}

/// Lets a listener drop new SYNs in silence while handshakes under way finish: a classic BPF filter
/// on the flags byte of the TCP header (SYN set, ACK clear), which the kernel runs before the
/// listener sees the segment.
pub fn refuse_handshakes(fd: RawFd) {
    const fn code(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        }
    }
    let program = [
        code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
        code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x12),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 0x02),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, 0xffff_ffff),
    ];
    let fprog = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &fprog);
}

/// A descriptor for calls that want a borrowed one.
pub fn borrow(fd: RawFd) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: callers hand in descriptors of sockets they own and keep open during the one call this is made for.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}
