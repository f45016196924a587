//! Listening sockets: all bound before anything forks, all listening only when all are bound.
//!
//! haproxy's rules: SO_REUSEADDR and SO_REUSEPORT, so that two instances of one user may share a
//! port and a new one may start beside the old; a listener without SO_REUSEPORT is an error.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::takeover::{Hand, Taken};
use crate::config::{Bind, BindAddress, BindId, Config, FrontendId, StatsSocket};
use crate::control::handover::Offered;
use crate::io::sys::process;
use crate::lang::source::{Sources, Span};

/// Sockets of one process, bound, by shard.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<Prepared>,
    /// Admin sockets, in order of `global.stats_sockets`; their bind and shard mean nothing.
    admin: Vec<Prepared>,
    inherited: Vec<i32>,
}

/// Who a listening socket is for.
enum Owner<'a> {
    Frontend(&'a Bind),
    Admin(&'a StatsSocket),
}

#[derive(Debug)]
struct Prepared {
    bind: BindId,
    shard: usize,
    socket: Socket,
    backlog: i32,
    /// Unix path: bound under the first, to be renamed to the second.
    place: Option<(PathBuf, PathBuf)>,
    /// Listens already (inherited).
    ready: bool,
}

/// A listening socket that cannot be had.
#[derive(Debug, Clone)]
pub struct BindError {
    /// As haproxy says it.
    pub text: String,
    pub help: Option<&'static str>,
    /// Another process holds the address: it may let go.
    pub busy: bool,
}

/// How to bind.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub shards: usize,
    /// Off under `-dR`: one socket per address.
    pub reuseport: bool,
}

/// Binds every address of every enabled frontend, or takes the sockets for it of which `taken` has some. Of the others
/// nothing listens yet.
///
/// # Errors
/// All addresses that cannot be bound; those that could are free again.
pub fn bind_all(
    config: &Config,
    sources: &Sources,
    manner: Manner,
    taken: &Taken,
) -> Result<Bound, Vec<BindError>> {
    let mut bound = Bound {
        sockets: Vec::new(),
        admin: Vec::new(),
        inherited: Vec::new(),
    };
    let mut errors = Vec::new();
    let mut hand = taken.hand();
    let serving = config.frontends.iter().filter(|f| !f.disabled);
    let lines: Vec<BindId> = serving.flat_map(|f| f.binds.iter().copied()).collect();
    for frontend in config.frontends.iter().filter(|f| !f.disabled) {
        for &id in &frontend.binds {
            let bind = config.bind(id);
            let shards = shards_of(id, bind, manner);
            let others = || {
                let later = lines.iter().skip_while(|line| **line != id).skip(1);
                later
                    .filter(|line| alike(config.bind(**line), bind))
                    .count()
            };
            let adopted = match adopt(bind, &mut hand, others) {
                Ok(adopted) => adopted,
                Err(failure) => {
                    errors.push(failure.told(config, sources, &Owner::Frontend(bind)));
                    continue;
                }
            };
            // All of them, also where there were more shards before: what waits in each is to be accepted.
            // Beside one without SO_REUSEPORT there can be no other.
            let shared = |p: &Prepared| p.socket.reuse_port().unwrap_or(false);
            let had = if adopted.iter().all(shared) {
                adopted.len()
            } else {
                shards.len()
            };
            for (n, mut prepared) in adopted.into_iter().enumerate() {
                (prepared.bind, prepared.shard) = (id, shards[n % shards.len()]);
                bound.sockets.push(prepared);
            }
            for shard in shards.into_iter().skip(had) {
                match prepare(bind, manner) {
                    Ok(mut prepared) => {
                        (prepared.bind, prepared.shard) = (id, shard);
                        bound.sockets.push(prepared);
                    }
                    Err(failure) => {
                        errors.push(failure.told(config, sources, &Owner::Frontend(bind)));
                        break;
                    }
                }
            }
            bound.note_inherited(&bind.address);
        }
    }
    for socket in &config.global.stats_sockets {
        match prepare(&admin_bind(socket), manner) {
            Ok(prepared) => bound.admin.push(prepared),
            Err(failure) => errors.push(failure.told(config, sources, &Owner::Admin(socket))),
        }
        bound.note_inherited(&socket.address);
    }
    if errors.is_empty() {
        Ok(bound)
    } else {
        Err(errors)
    }
}

/// A `stats socket` line as a bind line with the same options.
fn admin_bind(socket: &StatsSocket) -> Bind {
    Bind {
        frontend: FrontendId(u32::MAX),
        address: socket.address.clone(),
        name: None,
        luid: 0,
        backlog: socket.backlog.unwrap_or(0),
        maxconn: 0,
        accept_proxy: false,
        transparent: false,
        interface: None,
        mode: socket.mode,
        uid: socket.uid,
        gid: socket.gid,
        v4v6: false,
        v6only: false,
        defer_accept: false,
        tfo: false,
        mss: None,
        tcp_ut_ms: None,
        shards: None,
        threads: Vec::new(),
        nice: 0,
        span: socket.span,
    }
}

/// Shards that get a socket of their own: all that may serve the bind, up to `shards` of it. What cannot be
/// sharded has one accepting shard, chosen by bind number so that several such spread.
fn shards_of(id: BindId, bind: &Bind, manner: Manner) -> Vec<usize> {
    let mut eligible: Vec<usize> = bind
        .threads
        .iter()
        .map(|&t| t as usize)
        .filter(|&t| t < manner.shards)
        .collect();
    if eligible.is_empty() {
        eligible = (0..manner.shards).collect();
    }
    if !bind.address.shardable() || !manner.reuseport {
        return vec![eligible[id.index() % eligible.len()]];
    }
    let sockets = bind
        .shards
        .map_or(eligible.len(), |n| (n as usize).clamp(1, eligible.len()));
    // Fewer sockets than shards: evenly over them.
    (0..sockets)
        .map(|i| eligible[i * eligible.len() / sockets])
        .collect()
}

/// The step that failed, in haproxy's words.
struct Failure {
    step: &'static str,
    error: io::Error,
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure { step, error }
}

impl Failure {
    fn told(self, config: &Config, sources: &Sources, owner: &Owner<'_>) -> BindError {
        let reason = reason(&self.error);
        let (address, span) = match owner {
            Owner::Frontend(bind) => (&bind.address, bind.span),
            Owner::Admin(socket) => (&socket.address, socket.span),
        };
        let (protocol, place) = match address {
            BindAddress::Ip(SocketAddr::V4(a)) => {
                ("tcpv4", format!("for [{}:{}]", a.ip(), a.port()))
            }
            BindAddress::Ip(SocketAddr::V6(a)) => {
                ("tcpv6", format!("for [{}:{}]", a.ip(), a.port()))
            }
            BindAddress::Unix(path) => ("unix_stream", format!("[{}]", path.display())),
            BindAddress::Abns(name) => (
                "abns_stream",
                format!("[abns@{}]", String::from_utf8_lossy(name)),
            ),
            BindAddress::Abnsz(name) => (
                "abnsz_stream",
                format!("[abnsz@{}]", String::from_utf8_lossy(name)),
            ),
            BindAddress::Fd(fd) => ("tcpv4", format!("for [fd@{fd}]")),
        };
        let step = match address {
            _ if self.step != "cannot bind socket" => self.step,
            BindAddress::Unix(_) => "cannot bind UNIX socket",
            _ => self.step,
        };
        let whose = match owner {
            Owner::Frontend(bind) => {
                let frontend = config.frontend(bind.frontend);
                let both = config.proxy(frontend.proxy).backend.is_some();
                let kind = if both { "proxy" } else { "frontend" };
                format!("{kind} {}", frontend.name)
            }
            Owner::Admin(_) => "frontend GLOBAL".to_owned(),
        };
        let text = format!(
            "Binding [{}] for {whose}: protocol {protocol}: {step} ({reason}) {place}.",
            place_of(sources, span),
        );
        BindError {
            text,
            help: remedy(&self.error, address),
            busy: self.error.raw_os_error() == Some(libc::EADDRINUSE),
        }
    }
}

/// `file:line` of a span.
pub fn place_of(sources: &Sources, span: Span) -> String {
    sources.get(span.file).map_or_else(
        || "?".to_owned(),
        |file| format!("{}:{}", file.name, span.line),
    )
}

/// The C library's text of an error, without Rust's number behind it.
pub fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(
        || error.to_string(),
        |code| nix::errno::Errno::from_raw(code).desc().to_owned(),
    )
}

pub(super) fn remedy(error: &io::Error, address: &BindAddress) -> Option<&'static str> {
    Some(match (error.raw_os_error()?, address) {
        (libc::EADDRINUSE, BindAddress::Ip(_)) => {
            "another program listens there; 'ss -ltnp' names it; with -sf or -st and its pid it is asked to let go"
        }
        (libc::EADDRNOTAVAIL, _) => {
            "no interface has this address; for one that comes later (VRRP), add 'transparent' to the bind line or set the sysctl net.ipv4.ip_nonlocal_bind=1"
        }
        (libc::EACCES, BindAddress::Ip(_)) => {
            "ports below net.ipv4.ip_unprivileged_port_start need root or CAP_NET_BIND_SERVICE"
        }
        (libc::EPERM, BindAddress::Ip(_)) => "this needs root or CAP_NET_ADMIN",
        (libc::EAFNOSUPPORT, _) => "this kernel has no such addresses (IPv6 switched off?)",
        (libc::ENOENT, BindAddress::Unix(_)) => "the directory does not exist",
        (libc::EACCES, BindAddress::Unix(_)) => "the directory is not writable",
        (libc::ENODEV, _) => "there is no such interface",
        (libc::EMFILE, _) => "the limit of open files is too low: raise 'ulimit-n'",
        _ => return None,
    })
}

fn prepare(bind: &Bind, manner: Manner) -> Result<Prepared, Failure> {
    let (socket, place, ready) = match &bind.address {
        BindAddress::Ip(address) => (tcp(bind, *address, manner)?, None, false),
        BindAddress::Unix(path) => {
            let (socket, temporary) = unix(bind, path)?;
            (socket, Some((temporary, path.clone())), false)
        }
        BindAddress::Abns(name) => {
            // haproxy fills the name up with zeros to the length of the structure.
            let mut padded = name.clone();
            padded.resize(107, 0);
            (abstract_unix(&padded)?, None, false)
        }
        BindAddress::Abnsz(name) => (abstract_unix(name)?, None, false),
        BindAddress::Fd(fd) => {
            let (socket, listening) = inherited(*fd)?;
            (socket, None, listening)
        }
    };
    Ok(Prepared::of(bind, socket, place, ready))
}

/// The sockets of the process before this one that listen where `bind` wants to, with what it says of them.
fn adopt(
    bind: &Bind,
    hand: &mut Hand<'_>,
    others: impl FnOnce() -> usize,
) -> Result<Vec<Prepared>, Failure> {
    let sockets = hand
        .take(bind, others)
        .map_err(failed("cannot take over socket"))?;
    let each = sockets.into_iter().map(|socket| {
        socket
            .set_nonblocking(true)
            .map_err(failed("cannot make socket non-blocking"))?;
        match &bind.address {
            BindAddress::Ip(_) => {
                // A soft stop that had begun keeps new handshakes away. Mostly there is none: no error.
                let _ =
                    process::set_int(socket.as_fd(), libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0);
                undress_tcp(&socket);
                dress_tcp(&socket, bind)?;
            }
            BindAddress::Unix(path) => {
                dress(bind, path).map_err(failed("cannot change UNIX socket ownership"))?;
            }
            _ => {}
        }
        // Listening once more only sets the backlog.
        Ok(Prepared::of(bind, socket, None, false))
    });
    each.collect()
}

fn tcp(bind: &Bind, address: SocketAddr, manner: Manner) -> Result<Socket, Failure> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(
        domain,
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )
    .map_err(failed("cannot create listening socket"))?;
    socket
        .set_reuse_address(true)
        .map_err(failed("cannot bind socket"))?;
    if manner.reuseport {
        socket
            .set_reuse_port(true)
            .map_err(failed("cannot bind socket"))?;
    }
    if bind.transparent {
        transparent(&socket, address)
            .map_err(failed("cannot make listening socket transparent"))?;
    }
    if let Some(name) = &bind.interface {
        socket
            .bind_device(Some(name.as_bytes()))
            .map_err(failed("cannot bind listener to device"))?;
    }
    if address.is_ipv6() && (bind.v4v6 || bind.v6only) {
        socket
            .set_only_v6(bind.v6only)
            .map_err(failed("cannot bind socket"))?;
    }
    dress_tcp(&socket, bind)?;
    socket
        .bind(&SockAddr::from(address))
        .map_err(failed("cannot bind socket"))?;
    Ok(socket)
}

/// Options that a socket may get at any time.
fn dress_tcp(socket: &Socket, bind: &Bind) -> Result<(), Failure> {
    if let Some(mss) = bind.mss {
        set_mss(socket, mss).map_err(failed("cannot set MSS"))?;
    }
    if let Some(ms) = bind.tcp_ut_ms {
        let value = i32::try_from(ms).unwrap_or(i32::MAX);
        process::set_int(
            socket.as_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_USER_TIMEOUT,
            value,
        )
        .map_err(failed("cannot set TCP User Timeout"))?;
    }
    if bind.defer_accept {
        process::set_int(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1)
            .map_err(failed("cannot enable DEFER_ACCEPT"))?;
    }
    if bind.tfo {
        let queue = i32::try_from(bind.backlog.max(1)).unwrap_or(i32::MAX);
        process::set_int(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)
            .map_err(failed("cannot enable TCP_FASTOPEN"))?;
    }
    Ok(())
}

/// Takes back what another configuration wanted of an adopted socket. What cannot be taken back was not set.
fn undress_tcp(socket: &Socket) {
    for option in [
        libc::TCP_MAXSEG,
        libc::TCP_USER_TIMEOUT,
        libc::TCP_DEFER_ACCEPT,
        libc::TCP_FASTOPEN,
    ] {
        let _ = process::set_int(socket.as_fd(), libc::IPPROTO_TCP, option, 0);
    }
}

/// Two bind lines want the same sockets.
fn alike(one: &Bind, other: &Bind) -> bool {
    one.address == other.address && one.interface == other.interface
}

/// A negative value is taken off what the kernel would choose, as haproxy does.
fn set_mss(socket: &Socket, mss: i32) -> io::Result<()> {
    let value = if mss < 0 {
        socket.tcp_mss()? as i32 + mss
    } else {
        mss
    };
    process::set_int(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG, value)
}

/// Foreign addresses: IP_TRANSPARENT needs CAP_NET_ADMIN and also answers for redirected connections;
/// IP_FREEBIND needs nothing and only lets the bind pass.
fn transparent(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let (level, transparent, freebind) = if address.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_TRANSPARENT, libc::IP_FREEBIND)
    } else {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_TRANSPARENT,
            libc::IPV6_FREEBIND,
        )
    };
    process::set_int(socket.as_fd(), level, transparent, 1)
        .or_else(|_| process::set_int(socket.as_fd(), level, freebind, 1))
}

fn unix_stream() -> Result<Socket, Failure> {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
        .map_err(failed("cannot create listening socket"))
}

/// Binds beside `path`; [`Bound::listen`] puts the socket in its place in one step, so that there is never none.
fn unix(bind: &Bind, path: &Path) -> Result<(Socket, PathBuf), Failure> {
    let socket = unix_stream()?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let _ = std::fs::remove_file(&temporary);
    let address = SockAddr::unix(&temporary).map_err(failed("socket path too long"))?;
    socket
        .bind(&address)
        .map_err(failed("cannot bind socket"))?;
    if let Err(error) = dress(bind, &temporary) {
        let _ = std::fs::remove_file(&temporary);
        return Err(failed("cannot change UNIX socket ownership")(error));
    }
    Ok((socket, temporary))
}

fn dress(bind: &Bind, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if bind.uid.is_some() || bind.gid.is_some() {
        std::os::unix::fs::chown(path, bind.uid, bind.gid)?;
    }
    if let Some(mode) = bind.mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn abstract_unix(name: &[u8]) -> Result<Socket, Failure> {
    let socket = unix_stream()?;
    process::bind_abstract(socket.as_fd(), name).map_err(failed("cannot bind socket"))?;
    Ok(socket)
}

fn inherited(fd: i32) -> Result<(Socket, bool), Failure> {
    let step = "cannot use file descriptor";
    let owned = process::take_inherited(fd).map_err(failed(step))?;
    let kind = getsockopt(&owned, sockopt::SockType).map_err(|e| failed(step)(e.into()))?;
    if kind != nix::sys::socket::SockType::Stream {
        return Err(failed(step)(io::Error::from_raw_os_error(libc::EPROTOTYPE)));
    }
    let listening = getsockopt(&owned, sockopt::AcceptConn).map_err(|e| failed(step)(e.into()))?;
    let socket = Socket::from(owned);
    socket.set_nonblocking(true).map_err(failed(step))?;
    Ok((socket, listening))
}

impl Bound {
    /// Lets every socket listen and puts unix sockets in their places.
    ///
    /// # Errors
    /// The sockets that refused.
    pub fn listen(&mut self, config: &Config, sources: &Sources) -> Result<(), Vec<BindError>> {
        // Places are taken last: until then an older process still has its own.
        self.each(config, sources, Prepared::listen)?;
        self.each(config, sources, Prepared::take_place)
    }

    fn each(
        &mut self,
        config: &Config,
        sources: &Sources,
        step: fn(&mut Prepared) -> Result<(), Failure>,
    ) -> Result<(), Vec<BindError>> {
        let mut errors = Vec::new();
        for prepared in &mut self.sockets {
            if let Err(failure) = step(prepared) {
                let owner = Owner::Frontend(config.bind(prepared.bind));
                errors.push(failure.told(config, sources, &owner));
            }
        }
        for (prepared, socket) in self.admin.iter_mut().zip(&config.global.stats_sockets) {
            if let Err(failure) = step(prepared) {
                errors.push(failure.told(config, sources, &Owner::Admin(socket)));
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    fn note_inherited(&mut self, address: &BindAddress) {
        if let BindAddress::Fd(fd) = *address
            && !self.inherited.contains(&fd)
        {
            self.inherited.push(fd);
        }
    }

    /// The admin sockets, each with its index in `global.stats_sockets`. Once.
    pub fn take_admin(&mut self) -> Vec<(OwnedFd, usize)> {
        let all = std::mem::take(&mut self.admin).into_iter().enumerate();
        all.map(|(index, prepared)| (prepared.socket.into(), index))
            .collect()
    }

    /// The shards' sockets, for the process that follows.
    pub fn offered(&self, config: &Config) -> Vec<Offered> {
        let each = self.sockets.iter().map(|prepared| Offered {
            fd: prepared.socket.as_raw_fd(),
            bind: prepared.bind.index(),
            interface: config.bind(prepared.bind).interface.clone(),
        });
        each.collect()
    }

    /// The sockets of each of `shards` shards.
    pub fn by_shard(mut self, shards: usize) -> Vec<Vec<(BindId, OwnedFd)>> {
        let mut lists: Vec<Vec<(BindId, OwnedFd)>> = (0..shards).map(|_| Vec::new()).collect();
        for prepared in self.sockets.drain(..) {
            let Prepared {
                shard,
                bind,
                socket,
                ..
            } = prepared;
            lists[shard].push((bind, socket.into()));
        }
        for &fd in self.inherited.iter().filter(|fd| **fd > 2) {
            process::close_inherited(fd);
        }
        lists
    }

    /// Sockets in all.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

impl Prepared {
    fn of(bind: &Bind, socket: Socket, place: Option<(PathBuf, PathBuf)>, ready: bool) -> Self {
        let backlog = i32::try_from(bind.backlog).unwrap_or(i32::MAX);
        Self {
            bind: BindId(0),
            shard: 0,
            socket,
            backlog: if backlog == 0 { 1024 } else { backlog },
            place,
            ready,
        }
    }

    fn listen(&mut self) -> Result<(), Failure> {
        if !self.ready {
            self.socket
                .listen(self.backlog)
                .map_err(failed("cannot listen to socket"))?;
        }
        Ok(())
    }

    fn take_place(&mut self) -> Result<(), Failure> {
        if let Some((temporary, path)) = &self.place {
            std::fs::rename(temporary, path).map_err(failed(
                "error when trying to move the UNIX socket into place",
            ))?;
        }
        self.place = None;
        Ok(())
    }
}

impl Drop for Bound {
    /// A start that failed leaves no temporary path behind.
    fn drop(&mut self) {
        for (temporary, _) in self
            .sockets
            .iter()
            .chain(&self.admin)
            .filter_map(|p| p.place.as_ref())
        {
            if temporary.as_os_str().as_bytes().ends_with(b".tmp") {
                let _ = std::fs::remove_file(temporary);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, LoadInputs, load};

    /// Shards that get a socket for each bind of a section with these bind lines.
    fn spread(binds: &str, shards: usize) -> Vec<Vec<usize>> {
        let text = format!(
            "global\n nbthread {shards}\ndefaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
             listen l\n{binds}\n server s 127.0.0.1:1\n"
        );
        let inputs = LoadInputs {
            inputs: vec![Input::Text {
                name: "t".into(),
                bytes: text.into_bytes(),
            }],
            ..LoadInputs::default()
        };
        let config = load(&inputs).config.expect("valid");
        let manner = Manner {
            shards,
            reuseport: true,
        };
        let each = config.binds.iter().enumerate();
        each.map(|(i, bind)| shards_of(BindId(i as u32), bind, manner))
            .collect()
    }

    #[test]
    fn an_address_has_a_socket_for_each_shard_that_may_serve_it() {
        assert_eq!(spread(" bind 127.0.0.1:1", 4), [[0, 1, 2, 3]]);
        assert_eq!(spread(" bind 127.0.0.1:1 thread 2-3", 4), [[1, 2]]);
    }

    #[test]
    fn fewer_sockets_than_shards_are_spread_evenly() {
        assert_eq!(spread(" bind 127.0.0.1:1 shards 2", 4), [[0, 2]]);
        assert_eq!(spread(" bind 127.0.0.1:1 shards 9", 2), [[0, 1]]);
    }

    #[test]
    fn what_cannot_be_sharded_has_one_accepting_shard_by_bind_number() {
        assert_eq!(
            spread(" bind /run/a\n bind /run/b\n bind abns@c", 2),
            [[0], [1], [0]]
        );
    }
}
