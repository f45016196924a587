//! What a start would meet: ports, directories, limits, servers.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{AccessFlags, access, geteuid};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::holder;
use crate::config::{Bind, BindAddress, Config, LogAddress, Server, ServerAddress, ServerPort};
use crate::process::bind;
use crate::process::limits::{self, Needs};
use crate::process::start::allowed_cpus;

/// Longest wait for one server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Servers connected to at once.
const CONNECTS_MAX: usize = 64;
/// Longest time for all of them.
const CONNECTS_TIME: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grade {
    Ok,
    /// As it is, a start works; it may not be what is meant.
    Warning,
    /// A start fails.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    /// `port`, `user`, `server`, …
    pub(super) what: String,
    pub(super) object: String,
    pub(super) text: String,
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(
        grade: Grade,
        what: &str,
        object: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            grade,
            what: what.to_owned(),
            object: object.into(),
            text: text.into(),
            remedy: None,
        }
    }
    pub(super) fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(text.into());
        self
    }

    fn grade(&self) -> &'static str {
        match self.grade {
            Grade::Ok => "ok",
            Grade::Warning => "warning",
            Grade::Error => "error",
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "severity": self.grade(),
            "what": self.what,
            "object": self.object,
            "message": self.text,
            "remedy": self.remedy,
        })
    }

    pub(super) fn line(&self) -> String {
        let remedy = self.remedy.as_ref();
        let remedy = remedy.map_or_else(String::new, |text| format!("\n          = help: {text}"));
        let Self {
            what, object, text, ..
        } = self;
        format!("{:<8} {what} {object}: {text}{remedy}\n", self.grade())
    }
}

/// Everything but the names of users.
pub(super) fn all(config: &Config) -> Vec<Finding> {
    let mut out: Vec<Finding> = config
        .binds
        .iter()
        .filter(|b| !config.frontend(b.frontend).disabled)
        .map(address)
        .collect();
    let sockets = config.global.stats_sockets.iter();
    out.extend(sockets.map(|socket| place(&socket.address, "stats socket")));
    files(config, &mut out);
    out.push(descriptors(config));
    out.extend(servers(config));
    out
}

// ---------------------------------------------------------------- where it listens

fn address(bind: &Bind) -> Finding {
    let BindAddress::Ip(at) = &bind.address else {
        return place(&bind.address, "socket");
    };
    let object = at.to_string();
    match bound(*at, bind) {
        Ok(()) => Finding::new(Grade::Ok, "port", object, "is free"),
        Err(why) if why.raw_os_error() == Some(libc::EADDRINUSE) => held(*at, "port", object),
        Err(why) => {
            let found = Finding::new(Grade::Error, "port", object, bind::reason(&why));
            match bind::remedy(&why, &bind.address) {
                Some(text) => found.remedy(text),
                None => found,
            }
        }
    }
}

/// Binds and lets go; without listening nobody is answered meanwhile.
fn bound(at: SocketAddr, bind: &Bind) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(bind.v6only)?;
    }
    if bind.transparent {
        // Refused without privilege, as at the start.
        let _ = if at.is_ipv4() {
            socket.set_freebind_v4(true)
        } else {
            socket.set_freebind_v6(true)
        };
    }
    socket.bind(&at.into())
}

fn held(at: SocketAddr, what: &'static str, object: String) -> Finding {
    let holders = holder::of(at);
    if holders.is_empty() {
        return Finding::new(Grade::Error, what, object, "is held by another process")
            .remedy("run this as root, or 'ss -ltnp' as root, to learn which");
    }
    let names: Vec<String> = holders
        .iter()
        .map(|h| format!("{} (pid {})", h.name, h.pid))
        .collect();
    let text = format!("is held by {}", names.join(", "));
    if holders.iter().all(holder::Holder::is_balancer) {
        let pids: Vec<String> = holders.iter().map(|h| h.pid.to_string()).collect();
        return Finding::new(Grade::Warning, what, object, text).remedy(format!(
            "start with '-sf {}' to take over from it",
            pids.join(" ")
        ));
    }
    Finding::new(Grade::Error, what, object, text)
        .remedy("stop it, or let this one listen elsewhere")
}

/// Sockets that are files need a directory that may be written to.
fn place(address: &BindAddress, what: &'static str) -> Finding {
    match address {
        BindAddress::Unix(path) => directory(what, path),
        BindAddress::Ip(at) => {
            let tried = Socket::new(Domain::for_address(*at), Type::STREAM, None)
                .and_then(|s| s.set_reuse_address(true).map(|()| s))
                .and_then(|s| s.bind(&(*at).into()));
            match tried {
                Ok(()) => Finding::new(Grade::Ok, what, at.to_string(), "is free"),
                Err(why) if why.kind() == io::ErrorKind::AddrInUse => {
                    held(*at, what, at.to_string())
                }
                Err(why) => Finding::new(Grade::Error, what, at.to_string(), bind::reason(&why)),
            }
        }
        BindAddress::Abns(name) | BindAddress::Abnsz(name) => Finding::new(
            Grade::Ok,
            what,
            String::from_utf8_lossy(name),
            "is abstract: it needs no directory",
        ),
        BindAddress::Fd(n) => Finding::new(
            Grade::Ok,
            what,
            format!("fd@{n}"),
            "is inherited at the start: not looked at",
        ),
    }
}

fn directory(what: &str, path: &Path) -> Finding {
    let object = path.display().to_string();
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    if !dir.is_dir() {
        let text = format!("the directory {} does not exist", dir.display());
        return Finding::new(Grade::Error, what, object, text)
            .remedy(format!("'mkdir -p {}' makes it", dir.display()));
    }
    match access(dir, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Finding::new(Grade::Ok, what, object, "its directory may be written to"),
        Err(why) => {
            let text = format!("cannot write to {}: {}", dir.display(), why.desc());
            Finding::new(Grade::Error, what, object, text)
                .remedy("start as root, or give the directory to the user that starts it")
        }
    }
}

// ---------------------------------------------------------------- files

fn files(config: &Config, out: &mut Vec<Finding>) {
    let global = &config.global;
    if let Some(path) = &global.chroot {
        let object = path.display().to_string();
        out.push(if !path.is_dir() {
            Finding::new(Grade::Error, "chroot", object, "is no directory")
                .remedy(format!("'mkdir -p {}' makes it", path.display()))
        } else if !geteuid().is_root() {
            Finding::new(Grade::Warning, "chroot", object, "needs root")
                .remedy("start as root: privileges are dropped afterwards")
        } else {
            Finding::new(Grade::Ok, "chroot", object, "is a directory")
        });
    }
    if let Some(path) = &global.pidfile {
        out.push(directory("pidfile", path));
    }
    for file in &config.server_states {
        let object = file.path.display().to_string();
        out.push(
            match std::fs::metadata(&file.path).and_then(|_| std::fs::File::open(&file.path)) {
                Ok(_) => Finding::new(Grade::Ok, "server-state-file", object, "may be read"),
                Err(why) => Finding::new(
                    Grade::Warning,
                    "server-state-file",
                    object,
                    bind::reason(&why),
                )
                .remedy("servers then begin as configured"),
            },
        );
    }
    let lists = config
        .lists
        .all
        .iter()
        .filter_map(|list| list.file.as_ref());
    for name in lists {
        out.push(Finding::new(Grade::Ok, "file", name, "was read"));
    }
    let mut logs: Vec<&Path> = Vec::new();
    let frontends = config.frontends.iter().flat_map(|f| &f.log);
    let backends = config.backends.iter().flat_map(|b| &b.log);
    for target in global.log.iter().chain(frontends).chain(backends) {
        if let LogAddress::Unix(path) = &target.to
            && !logs.contains(&path.as_path())
        {
            logs.push(path);
        }
    }
    for path in logs {
        let object = path.display().to_string();
        out.push(if path.exists() {
            Finding::new(Grade::Ok, "log", object, "is there")
        } else {
            Finding::new(
                Grade::Warning,
                "log",
                object,
                "is not there: lines are lost until it is",
            )
            .remedy("start the syslog daemon first")
        });
    }
}

// ---------------------------------------------------------------- limits

/// Whether `ulimit -n` lets in as many connections as are asked for.
fn descriptors(config: &Config) -> Finding {
    let global = &config.global;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let usable = limits::usable_fds(hard, global.fd_hard_limit);
    let shards = global
        .nbthread
        .map_or_else(|| allowed_cpus().len().max(1), |n| n.max(1) as usize);
    let pipes = limits::pipes(config, false, usable);
    let needs = Needs::of(config, shards, pipes);
    let plan = limits::plan(&needs, global.maxconn, global.ulimit_n, usable);
    let object = match global.maxconn {
        Some(n) => format!("maxconn {n}"),
        None => "maxconn".to_owned(),
    };
    if plan.need <= usable || geteuid().is_root() {
        let text = format!(
            "{} connections need {} descriptors; limits are {soft} (soft) and {hard} (hard)",
            plan.maxconn, plan.need
        );
        return Finding::new(Grade::Ok, "ulimit", object, text);
    }
    let grade = if global.strict_limits == Some(true) {
        Grade::Error
    } else {
        Grade::Warning
    };
    let fits = needs.maxconn_within(usable);
    let text = format!(
        "{} connections need {} descriptors, but the hard limit is {hard}: {fits} fit",
        plan.maxconn, plan.need
    );
    Finding::new(grade, "ulimit", object, text).remedy(format!(
        "'ulimit -Hn {need}' as root, 'LimitNOFILE={need}' in the systemd unit, or a maxconn of at most {fits}",
        need = plan.need
    ))
}

// ---------------------------------------------------------------- servers

/// Where a server is to be met.
enum Door {
    Ip(SocketAddr),
    Unix(std::path::PathBuf),
}

fn servers(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut doors = Vec::new();
    for server in &config.servers {
        let backend = config.backend(server.backend);
        if backend.disabled {
            continue;
        }
        let name = format!("{}/{}", backend.name, server.name);
        match door(server) {
            Ok(door) => doors.push((name, door)),
            Err(text) => found.push(Finding::new(Grade::Ok, "server", name, text)),
        }
    }
    let next = Mutex::new(doors.into_iter());
    let results = Mutex::new(Vec::new());
    let begun = Instant::now();
    let work = || {
        loop {
            let one = next.lock().ok().and_then(|mut doors| doors.next());
            let Some((name, door)) = one else { return };
            let finding = if begun.elapsed() > CONNECTS_TIME {
                Finding::new(
                    Grade::Warning,
                    "server",
                    name,
                    "was not tried: the time was over",
                )
            } else {
                reached(name, &door)
            };
            if let Ok(mut results) = results.lock() {
                results.push(finding);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CONNECTS_MAX.min(config.servers.len()) {
            // Fewer threads only take longer.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
    });
    found.extend(results.into_inner().unwrap_or_default());
    found.sort_by(|a, b| a.object.cmp(&b.object));
    found
}

/// Where to connect, or why that is not tried.
fn door(server: &Server) -> Result<Door, &'static str> {
    if server.disabled {
        return Err("is disabled: not tried");
    }
    match &server.address {
        ServerAddress::Ip { ip, .. } if ip.is_unspecified() => {
            Err("goes to the client's destination: not tried")
        }
        ServerAddress::Ip {
            ip,
            port: ServerPort::Fixed(port),
        } => Ok(Door::Ip(SocketAddr::new(*ip, *port))),
        ServerAddress::Ip { .. } => Err("has the port of the client's connection: not tried"),
        ServerAddress::Unresolved { .. } => Err("has no address yet: not tried"),
        ServerAddress::Unix(path) => Ok(Door::Unix(path.clone())),
        ServerAddress::Abns(_) => Err("is an abstract socket: not tried"),
    }
}

/// A listener with a full backlog lets a connect wait as long as a send may.
fn connect_unix(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    socket.connect(&SockAddr::unix(path)?)
}

fn reached(name: String, door: &Door) -> Finding {
    let begun = Instant::now();
    let (at, result) = match door {
        Door::Ip(at) => (
            at.to_string(),
            TcpStream::connect_timeout(at, CONNECT_TIMEOUT).map(drop),
        ),
        Door::Unix(path) => (path.display().to_string(), connect_unix(path)),
    };
    let ms = begun.elapsed().as_millis();
    match result {
        Ok(()) => {
            let text = format!("{at} takes connections ({ms} ms)");
            Finding::new(Grade::Ok, "server", name, text)
        }
        Err(why) => {
            let reason = if why.kind() == io::ErrorKind::TimedOut {
                format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())
            } else {
                bind::reason(&why)
            };
            Finding::new(Grade::Warning, "server", name, format!("{at}: {reason}"))
                .remedy("it counts as up until its check fails, if it has one")
        }
    }
}
