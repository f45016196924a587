//! The typed configuration a worker runs on. Nothing in it changes after start: what changes at
//! run time lives in `shared` and `backend`. Every reference is resolved, every default applied.
//!
//! Ids are dense indices into the vectors of [`Config`], in order of the file. Times are
//! milliseconds; `None` means that no limit applies (haproxy: timeout not set or 0).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ipnet::IpNet;

use super::checks::CheckKind;
use super::http::{Switch, SwitchTo};
use crate::base::items::Items;
use crate::lang::source::Span;

/// Index into [`Config::proxies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyId(pub u32);
/// Index into [`Config::frontends`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendId(pub u32);
/// Index into [`Config::backends`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u32);
/// Index into [`Config::servers`], dense over all backends; servers of a backend are contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u32);
/// Index into [`Config::binds`], dense over all frontends; one per listening address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindId(pub u32);

macro_rules! index {
    ($($id:ident),*) => { $(impl $id {
        /// As an index of the vector it belongs to.
        pub fn index(self) -> usize { self.0 as usize }
    })* };
}
index!(ProxyId, FrontendId, BackendId, ServerId, BindId);

/// Everything one worker needs to know.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub global: Global,
    /// All proxies in order of the file (the order of `show stat`).
    pub proxies: Items<Proxy>,
    pub frontends: Items<Frontend>,
    pub backends: Items<Backend>,
    pub servers: Items<Server>,
    pub binds: Items<Bind>,
    /// Names of variables, by number.
    pub vars: Vec<String>,
    /// What all expressions and formats need together.
    pub asked: crate::lang::expr::Needs,
    /// Names of the files read, by the number in a [`Span`].
    pub files: Items<String>,
    pub userlists: Items<super::userlist::Userlist>,
    pub server_states: Vec<StateFile>,
    /// Names that outlive a reload.
    pub guids: Vec<super::guid::Guid>,
    /// Counters of before a reload.
    pub stats_file: Option<PathBuf>,
    /// Patterns of all ACLs. They alone may change at run time.
    pub lists: std::sync::Arc<crate::lang::acl::Lists>,
}

/// A file with states of servers, and the backends that begin with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile {
    pub path: PathBuf,
    /// `local`: the file of this one backend.
    pub own: bool,
    pub backends: Vec<BackendId>,
}

/// One section: `frontend` has a front, `backend` a back, `listen` both under one name.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub name: String,
    /// `iid` of the statistics: `id` if given, else counted from 2 in order of the file as haproxy does.
    pub iid: u32,
    pub frontend: Option<FrontendId>,
    pub backend: Option<BackendId>,
    pub mode: Mode,
    pub disabled: bool,
    pub description: Option<String>,
    /// Rules, HTTP options, persistence.
    pub http: super::http::Http,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Tcp,
    Http,
}

// ---------------------------------------------------------------- global

/// When a soft stop ends client connections that could serve more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CloseSpread {
    #[default]
    AtOnce,
    /// Spread over so many ms.
    Over(u32),
    /// When their clients or their timeouts end them.
    Never,
}

#[derive(Debug, Clone)]
pub struct Global {
    pub daemon: bool,
    /// `master-worker`; its `no-exit-on-failure`.
    pub master_worker: bool,
    pub no_exit_on_failure: bool,
    /// `mworker-max-reloads`: a worker that saw more reloads is ended.
    pub mworker_max_reloads: Option<u32>,
    pub quiet: bool,
    pub pidfile: Option<PathBuf>,
    pub chroot: Option<PathBuf>,
    /// `uid`/`user`, resolved.
    pub uid: Option<u32>,
    /// `gid`/`group`, resolved.
    pub gid: Option<u32>,
    pub ulimit_n: Option<u64>,
    pub fd_hard_limit: Option<u64>,
    /// As written; `None`: computed from the fd limit at start.
    pub maxconn: Option<u32>,
    pub maxpipes: Option<u32>,
    pub maxconnrate: u32,
    pub maxsessrate: u32,
    /// `strict-limits` as written; without it too few descriptors lower `maxconn` with a warning.
    pub strict_limits: Option<bool>,
    pub nbthread: Option<u32>,
    /// `cpu-map` resolved to a CPU list per thread (index = shard); empty: none given.
    pub cpu_map: Vec<Vec<usize>>,
    pub nosplice: bool,
    pub node: Option<String>,
    pub description: Option<String>,
    pub log: Vec<LogTarget>,
    pub log_tag: Option<String>,
    /// `log-send-hostname`: `Some("")` means the host's own name.
    pub log_send_hostname: Option<String>,
    pub hard_stop_after_ms: Option<u32>,
    /// `close-spread-time`: when a soft stop ends client connections between two requests.
    pub close_spread: CloseSpread,
    pub grace_ms: Option<u32>,
    pub stats_sockets: Vec<StatsSocket>,
    pub stats_timeout_ms: u32,
    pub stats_maxconn: u32,
    pub spread_checks: u8,
    /// `max-spread-checks`: upper end of the time over which first checks are spread.
    pub max_spread_checks_ms: Option<u32>,
    /// `debug`: as `-d` on the command line.
    pub debug: bool,
    pub tune: Tune,
    pub insecure_fork_wanted: bool,
    /// `external-check`; with `preserve-env`.
    pub external_check: bool,
    pub external_check_env: bool,
    /// Environment variables to put in place before start (`setenv` and kin): value, or `None` to unset.
    pub env: Vec<(String, Option<String>)>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            daemon: false,
            master_worker: false,
            no_exit_on_failure: false,
            mworker_max_reloads: None,
            quiet: false,
            pidfile: None,
            chroot: None,
            uid: None,
            gid: None,
            ulimit_n: None,
            fd_hard_limit: None,
            maxconn: None,
            maxpipes: None,
            maxconnrate: 0,
            maxsessrate: 0,
            strict_limits: None,
            nbthread: None,
            cpu_map: Vec::new(),
            nosplice: false,
            node: None,
            description: None,
            log: Vec::new(),
            log_tag: None,
            log_send_hostname: None,
            hard_stop_after_ms: None,
            close_spread: CloseSpread::default(),
            grace_ms: None,
            stats_sockets: Vec::new(),
            stats_timeout_ms: 10_000,
            stats_maxconn: 10,
            spread_checks: 0,
            max_spread_checks_ms: None,
            debug: false,
            tune: Tune::default(),
            insecure_fork_wanted: false,
            external_check: false,
            external_check_env: false,
            env: Vec::new(),
        }
    }
}

/// `tune.*` with an effect here. Sizes in bytes; 0 for socket buffers means the kernel's choice.
#[derive(Debug, Clone)]
pub struct Tune {
    pub bufsize: u32,
    /// As written; see [`Tune::head_max`].
    pub maxrewrite: u32,
    /// `tune.http.maxhdr`: a head has fewer fields than this.
    pub http_maxhdr: u16,
    pub pipesize: u32,
    pub maxaccept: u32,
    pub rcvbuf_client: u32,
    pub rcvbuf_server: u32,
    pub sndbuf_client: u32,
    pub sndbuf_server: u32,
    /// Bytes all relay buffers and pipes together may hold (ours: `tune.relay-memory`).
    pub relay_memory: u64,
}

impl Tune {
    /// Most bytes of an HTTP head: the buffer less what rules may add, which is half of it at most.
    pub fn head_max(&self) -> usize {
        (self.bufsize - self.maxrewrite.min(self.bufsize / 2)) as usize
    }
}

impl Default for Tune {
    fn default() -> Self {
        Self {
            bufsize: 16_384,
            maxrewrite: 1024,
            http_maxhdr: 101,
            pipesize: 1 << 20,
            maxaccept: 64,
            rcvbuf_client: 0,
            rcvbuf_server: 0,
            sndbuf_client: 0,
            sndbuf_server: 0,
            relay_memory: 256 << 20,
        }
    }
}

#[derive(Debug, Clone)]
pub struct StatsSocket {
    pub address: BindAddress,
    pub level: CliLevel,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub backlog: Option<u32>,
    pub maxconn: Option<u32>,
    /// `expose-fd listeners`.
    pub expose_fd: bool,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CliLevel {
    User,
    #[default]
    Operator,
    Admin,
}

// ---------------------------------------------------------------- logs

/// One `log` line, `log global` already replaced by the global targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    pub to: LogAddress,
    pub facility: Facility,
    /// Least severe level still sent.
    pub max_level: Level,
    /// Messages more severe than this are sent at this level.
    pub min_level: Level,
    /// Longest line in bytes, default 1,024.
    pub len: u16,
    pub format: LogWire,
    /// `sample <ranges>:<size>`: which of each `size` messages are sent (1-based, sorted).
    pub sample: Option<LogSample>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSample {
    pub ranges: Vec<(u32, u32)>,
    pub size: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogAddress {
    Udp(SocketAddr),
    Unix(PathBuf),
    Abns(Vec<u8>),
    /// `stdout` is 1, `stderr` is 2.
    Fd(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogWire {
    Rfc3164,
    Rfc5424,
    Priority,
    Short,
    Timed,
    Iso,
    Raw,
    /// rfc3164 without the host's name.
    Local,
    /// Not given: as [`Self::Local`], or as [`Self::Rfc3164`] under `log-send-hostname`.
    #[default]
    Default,
}

/// Syslog severity, 0 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Syslog facility by number, 0 (kern) to 23 (local7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(pub u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `Connect from …`.
    #[default]
    Connect,
    /// `option tcplog` in TCP mode.
    Tcp,
    /// [`super::http::Http::log_format`] of its proxy.
    Custom,
}

// ---------------------------------------------------------------- frontend

#[derive(Debug, Clone)]
pub struct Frontend {
    pub name: String,
    pub proxy: ProxyId,
    pub mode: Mode,
    pub disabled: bool,
    pub binds: Vec<BindId>,
    /// 0: only the process' limit.
    pub maxconn: u32,
    /// Sessions per second, 0 unlimited.
    pub rate_limit_sessions: u32,
    pub timeout_client_ms: Option<u32>,
    pub timeout_client_fin_ms: Option<u32>,
    pub default_backend: Option<BackendId>,
    pub monitor_net: Option<IpNet>,
    pub tcpka: KeepAlive,
    pub independent_streams: bool,
    pub dontlognull: bool,
    pub dontlog_normal: bool,
    pub logasap: bool,
    pub log_separate_errors: bool,
    pub socket_stats: bool,
    pub tcp_smart_accept: bool,
    pub log_format: LogFormat,
    pub log: Vec<LogTarget>,
    pub log_tag: Option<String>,
    /// Splicing as asked (`option splice-*`); the default is [`Splice::Earned`].
    pub splice_request: Splice,
    pub splice_response: Splice,
    /// `grace` (obsolete): how long its listeners serve after the soft stop began.
    pub grace_ms: Option<u32>,
    pub span: Span,
}

/// When a direction may use a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Splice {
    /// A stream earns its pipe (design: default here, also `splice-auto`).
    #[default]
    Earned,
    /// `option splice-request`/`splice-response`: from the first byte.
    Always,
    /// `no option splice-*`, `nosplice`.
    Never,
}

/// TCP keep-alive of one side; `None` fields leave the kernel's values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepAlive {
    pub enabled: bool,
    pub idle_s: Option<u32>,
    pub intvl_s: Option<u32>,
    pub count: Option<u32>,
}

/// One listening address (port ranges and comma lists are already spread out).
#[derive(Debug, Clone)]
pub struct Bind {
    pub frontend: FrontendId,
    pub address: BindAddress,
    /// `name`, else haproxy's `sock-N` in statistics (N is `luid`).
    pub name: Option<String>,
    /// `id`, else counted from 1 within the frontend.
    pub luid: u32,
    pub backlog: u32,
    /// 0: only the frontend's limit.
    pub maxconn: u32,
    pub accept_proxy: bool,
    pub transparent: bool,
    pub interface: Option<String>,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub v4v6: bool,
    pub v6only: bool,
    pub defer_accept: bool,
    pub tfo: bool,
    pub mss: Option<i32>,
    pub tcp_ut_ms: Option<u32>,
    /// Number of listening sockets; `None`: one per shard.
    pub shards: Option<u32>,
    /// Shards (0-based) that may serve it; empty: all.
    pub threads: Vec<u32>,
    pub nice: i32,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BindAddress {
    Ip(SocketAddr),
    Unix(PathBuf),
    Abns(Vec<u8>),
    /// Abstract name ended by NUL on the wire (`abnsz@`).
    Abnsz(Vec<u8>),
    /// An inherited socket, possibly listening already.
    Fd(i32),
}

impl BindAddress {
    /// One listening socket per shard is possible only for IP.
    pub fn shardable(&self) -> bool {
        matches!(self, Self::Ip(_))
    }
}

// ---------------------------------------------------------------- backend

#[derive(Debug, Clone)]
pub struct Backend {
    pub name: String,
    pub proxy: ProxyId,
    pub mode: Mode,
    pub disabled: bool,
    /// Servers in order of the file.
    pub servers: Vec<ServerId>,
    pub balance: Balance,
    pub hash_type: HashType,
    /// `hash-balance-factor` in percent of the average load; 0: no bound.
    pub hash_balance_factor: u32,
    pub hash_affinity: Affinity,
    pub retries: u32,
    pub redispatch: Redispatch,
    /// `dispatch` address: used when no server is configured or chosen.
    pub dispatch: Option<SocketAddr>,
    /// `option transparent`: connect to the address the client asked for.
    pub transparent: bool,
    /// Resolved: as written, else 10 % of the sum of maxconn of the frontends that may use it, at least 1.
    pub fullconn: u32,
    pub timeout_connect_ms: Option<u32>,
    pub timeout_server_ms: Option<u32>,
    pub timeout_server_fin_ms: Option<u32>,
    pub timeout_tunnel_ms: Option<u32>,
    /// Already `timeout connect` where `timeout queue` is not given.
    pub timeout_queue_ms: Option<u32>,
    pub timeout_check_ms: Option<u32>,
    pub check: CheckKind,
    pub source: Option<Source>,
    pub tcpka: KeepAlive,
    pub independent_streams: bool,
    pub allbackups: bool,
    pub abortonclose: bool,
    pub tcp_smart_connect: bool,
    pub log_health_checks: bool,
    pub splice_request: Splice,
    pub splice_response: Splice,
    /// Targets of state changes.
    pub log: Vec<LogTarget>,
    pub log_tag: Option<String>,
    /// What servers begin with that are added at run time.
    pub template: std::sync::Arc<super::added::Template>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    StaticRr,
    LeastConn,
    First,
    /// `random(n)`; no `balance` line is `Random(2)` as in haproxy 3.3 and later.
    Random(u32),
    Source,
    /// A part of the request, hashed ([`Http::hash_key`](super::http::Http::hash_key) says which).
    Key(KeyKind),
}

impl Balance {
    /// Does a key determine the server?
    pub fn is_keyed(&self) -> bool {
        matches!(self, Self::Source | Self::Key(_))
    }
}

/// What [`Balance::Key`] hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Uri,
    UrlParam,
    Header,
    RdpCookie,
    /// `balance hash`.
    Expr,
}

impl KeyKind {
    /// Works on HTTP requests only.
    pub fn needs_http(self) -> bool {
        matches!(self, Self::Uri | Self::UrlParam | Self::Header)
    }
}

/// `hash-preserve-affinity`: when a stream leaves the server that its key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Affinity {
    /// Never: it waits there.
    #[default]
    Always,
    /// When the server has no place.
    Maxconn,
    /// When the server's queue has none either.
    Maxqueue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HashType {
    pub method: HashMethod,
    pub function: HashFunction,
    pub avalanche: bool,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HashMethod {
    #[default]
    MapBased,
    Consistent,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HashFunction {
    #[default]
    Sdbm,
    Djb2,
    Wt6,
    Crc32,
    None,
}

/// `option redispatch [interval]`: 0 off; -1 the last retry (plain form); N every N-th; -N the N-th from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Redispatch(pub i32);

/// `source` of a backend or server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// 0.0.0.0 or :: where only the port or `usesrc` matters.
    pub ip: IpAddr,
    /// First and last port, 0-0: any.
    pub ports: (u16, u16),
    pub usesrc: Option<UseSrc>,
    pub interface: Option<String>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UseSrc {
    Client,
    ClientIp,
    Address(SocketAddr),
}

#[derive(Debug, Clone)]
pub struct Server {
    pub name: String,
    pub backend: BackendId,
    /// `id` (`sid` of the statistics), unique in the backend.
    pub puid: u32,
    pub address: ServerAddress,
    /// As written in the file, for `show servers state` and messages.
    pub host_text: String,
    /// `init-addr last` comes first for its name: the address of a state file counts before all others.
    pub address_remembered: bool,
    /// 0 to 256.
    pub weight: u32,
    pub backup: bool,
    /// `disabled`: starts in maintenance.
    pub disabled: bool,
    pub check: Option<Check>,
    /// 0: no limit.
    pub maxconn: u32,
    pub minconn: u32,
    /// 0: no limit.
    pub maxqueue: u32,
    pub slowstart_ms: u32,
    pub send_proxy: Option<ProxyProtocol>,
    /// The SOCKS4 proxy that connections go by.
    pub socks4: Option<SocketAddr>,
    pub source: Option<Source>,
    /// `track`: state follows that server's checks.
    pub track: Option<ServerId>,
    /// 0 .. for `tcp-ut`.
    pub tcp_ut_ms: Option<u32>,
    pub tfo: bool,
    /// `cookie`: the value that names it.
    pub cookie: Option<Box<[u8]>>,
    /// `redir`: requests go elsewhere, to this prefix.
    pub redir: Option<Box<[u8]>>,
    /// `pool-max-conn` (`None` no limit), `pool-low-conn`, `pool-purge-delay`, `max-reuse`.
    pub pool_max: Option<u32>,
    pub pool_low: u32,
    pub pool_purge_ms: u32,
    pub max_reuse: Option<u32>,
    pub watch: Watch,
    pub agent: Option<Agent>,
    /// Rules name it: it has to stay.
    pub pinned: Pinned,
    /// `puid` was written.
    pub id_written: bool,
    /// An operator added it while the process ran; its place is in no file.
    pub added: bool,
    pub span: Span,
}

/// A mark that is set while names in rules are looked up.
#[derive(Debug, Default)]
pub struct Pinned(AtomicBool);

impl Pinned {
    pub fn set(&self) {
        self.0.store(true, Relaxed);
    }
    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Clone for Pinned {
    fn clone(&self) -> Self {
        Self(AtomicBool::new(self.is_set()))
    }
}

/// `agent-check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub inter_ms: u32,
    /// `agent-addr`: where it differs from the server's.
    pub addr: Option<IpAddr>,
    pub port: u16,
    /// `agent-send`.
    pub send: Box<[u8]>,
}

/// What follows from a server's changes, and what but its checks may cause one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Watch {
    /// `observe` with `error-limit`, `on-error` and `error-clients`.
    pub observe: Option<Observe>,
    /// `on-marked-down shutdown-sessions`.
    pub shutdown_on_down: bool,
    /// `on-marked-up shutdown-backup-sessions`.
    pub shutdown_backups_on_up: bool,
    pub init_state: InitState,
    /// `on-down retry` (ours).
    pub on_down: Option<OnDown>,
}

/// A server that failed is tried by connections of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnDown {
    /// Milliseconds from its failure, or from that of the last such connection.
    pub retry_ms: u32,
    /// How many have to succeed in a row.
    pub rise: u32,
}

/// Traffic that is watched for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    pub layer: Observed,
    /// Errors in a row that are too many.
    pub limit: u32,
    /// `error-clients`: addresses that they have to come from (ours).
    pub clients: u32,
    pub on_error: OnError,
}

/// What `observe` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Connections.
    L4,
    /// Answers of HTTP, too.
    L7,
}

/// What too many errors lead to; checks come faster in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnError {
    FastInter,
    /// As one failed check.
    #[default]
    FailCheck,
    /// One failed check more is enough.
    SuddenDeath,
    MarkDown,
}

/// State and health after start and after maintenance, where there are checks (3.x).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum InitState {
    /// Down only after `fall` failures.
    FullyUp,
    /// Down at the next failure: also where nothing is said.
    #[default]
    Up,
    /// Up at the next success.
    Down,
    /// Up after `rise` successes.
    FullyDown,
}

impl Check {
    /// Whether the server is up at this health.
    pub fn is_up(&self, health: i32) -> bool {
        health >= i32::try_from(self.rise).unwrap_or(i32::MAX / 4)
    }
    /// The health counter to begin with: at `rise` and above the server is up.
    pub fn first_health(&self, state: InitState) -> i32 {
        let signed = |n: u32| i32::try_from(n).unwrap_or(i32::MAX / 4);
        match state {
            InitState::FullyUp => signed(self.rise) + signed(self.fall) - 1,
            InitState::Up => signed(self.rise),
            InitState::Down => signed(self.rise) - 1,
            InitState::FullyDown => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    V1,
    V2,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    Ip {
        ip: IpAddr,
        port: ServerPort,
    },
    /// Not resolved at start and allowed so by `init-addr none`: the server starts in maintenance.
    Unresolved {
        name: String,
        port: ServerPort,
    },
    Unix(PathBuf),
    Abns(Vec<u8>),
}

/// Port used towards a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerPort {
    Fixed(u16),
    /// The port the client connected to plus this (0 where no port is written).
    Mapped(i32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub inter_ms: u32,
    pub fastinter_ms: Option<u32>,
    pub downinter_ms: Option<u32>,
    pub rise: u32,
    pub fall: u32,
    /// `addr`: where it differs from the server's.
    pub addr: Option<IpAddr>,
    /// Port probed; the resolver made sure there is one (unless the server is a unix socket).
    pub port: u16,
    /// `check-send-proxy`, or `send-proxy` without `port`/`addr`: a LOCAL header goes first.
    pub send_proxy: Option<ProxyProtocol>,
    /// `check-via-socks4`: it goes by the server's SOCKS4 proxy, too.
    pub via_socks4: bool,
}

impl Backend {
    /// Where a backend without servers sends a stream that came for `dst`: there, or where `dispatch` says.
    pub fn without_servers(&self, dst: Option<SocketAddr>) -> Option<SocketAddr> {
        if self.transparent { dst } else { self.dispatch }
    }
    /// Does a redispatched stream avoid the server it failed on? A map of keys names the same one again, the
    /// ring gives the next one (seen on haproxy 2.6).
    pub fn redispatch_avoids(&self) -> bool {
        !self.balance.is_keyed() || self.hash_type.method == HashMethod::Consistent
    }
}

impl Config {
    /// The `use_backend` rules of a frontend, in order.
    pub fn switching(&self, id: FrontendId) -> &[Switch] {
        &self.proxy(self.frontend(id).proxy).http.switching
    }
    /// Every backend that connections of a frontend may reach: all of them where a rule works out a name.
    pub fn backends_of(&self, id: FrontendId) -> impl Iterator<Item = BackendId> + '_ {
        let rules = self.switching(id);
        let any = rules
            .iter()
            .any(|rule| matches!(rule.to, SwitchTo::Format(_)));
        let all = if any { self.backends.len() } else { 0 };
        let all = (0..all).map(|at| BackendId(at as u32));
        let switched = rules.iter().filter_map(|rule| match rule.to {
            SwitchTo::Backend(id) => Some(id),
            SwitchTo::Format(_) => None,
        });
        all.chain(switched).chain(self.frontend(id).default_backend)
    }
    /// All servers in order of their backends. Places in [`Config::servers`] whose server was taken away are in none.
    pub fn server_ids(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.backends.iter().flat_map(|b| b.servers.iter().copied())
    }
    /// Whether anything is listened on; without it `-c` and the start end with status 2.
    pub fn has_listeners(&self) -> bool {
        self.frontends
            .iter()
            .any(|f| !f.disabled && !f.binds.is_empty())
    }
    pub fn frontend(&self, id: FrontendId) -> &Frontend {
        &self.frontends[id.index()]
    }
    pub fn backend(&self, id: BackendId) -> &Backend {
        &self.backends[id.index()]
    }
    pub fn server(&self, id: ServerId) -> &Server {
        &self.servers[id.index()]
    }
    pub fn bind(&self, id: BindId) -> &Bind {
        &self.binds[id.index()]
    }
    pub fn proxy(&self, id: ProxyId) -> &Proxy {
        &self.proxies[id.index()]
    }
}
