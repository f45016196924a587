//! What was written, word by word checked, before references and defaults are applied.
//!
//! [`Settings`] are what a proxy inherits from its `defaults` section: inheriting is cloning.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::check_raw::ChecksRaw;
use super::keyword::Keyword;
use super::model::*;
use super::pages::{Group, PageLine};
use super::userlists::UserlistRaw;
use crate::lang::acl::{Acls, Condition};
use crate::lang::lexer::Word;
use crate::lang::source::Span;

/// Everything read from all files.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) global: GlobalRaw,
    /// `defaults`, `frontend`, `listen` and `backend` sections in order.
    pub(super) sections: Vec<ProxyRaw>,
    pub(super) userlists: Vec<UserlistRaw>,
    pub(super) http_errors: Vec<Group>,
    /// Names of sections whose header could not be read: a reference to one is no further mistake.
    pub(super) skipped: Vec<String>,
}

/// The `global` sections merged, with what waits for the end of the files.
#[derive(Debug, Default)]
pub(super) struct GlobalRaw {
    pub(super) out: Global,
    pub(super) log: Vec<LogLine>,
    /// Keywords already read of which the first counts.
    pub(super) seen: Vec<&'static str>,
    pub(super) zero_warning: bool,
    pub(super) expose_deprecated: bool,
    pub(super) unix_bind: UnixOwner,
    /// `cpu-map` lines: threads (0-based, `None`: each), the CPUs, whether CPUs are dealt one by one (`auto:`).
    pub(super) cpu_map: Vec<CpuMap>,
    pub(super) thread_hard_limit: Option<u32>,
    pub(super) state_file: Option<String>,
    pub(super) state_base: Option<String>,
    pub(super) stats_file: Option<String>,
    pub(super) default_shards: Option<ShardsWord>,
    /// The first line that says what TLS begins with, and how many there are.
    pub(super) tls_defaults: Option<(Span, u32)>,
}

#[derive(Debug, Clone)]
pub(super) struct CpuMap {
    pub(super) threads: ThreadSet,
    pub(super) cpus: Vec<usize>,
    pub(super) one_each: bool,
}

/// Threads (0-based here) as `cpu-map` names them, where odd and even count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadSet {
    All,
    Odd,
    Even,
    /// Both ends included.
    Range(u32, u32),
}

impl ThreadSet {
    pub(super) fn contains(self, thread: u32) -> bool {
        match self {
            Self::All => true,
            Self::Odd => thread.is_multiple_of(2),
            Self::Even => !thread.is_multiple_of(2),
            Self::Range(low, high) => (low..=high).contains(&thread),
        }
    }
}

/// Mode and owner of a unix socket.
#[derive(Debug, Clone, Default)]
pub(super) struct UnixOwner {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) prefix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    Defaults,
    Frontend,
    Listen,
    Backend,
}

impl SectionKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Frontend => "frontend",
            Self::Listen => "listen",
            Self::Backend => "backend",
        }
    }
    pub(super) fn has_front(self) -> bool {
        matches!(self, Self::Frontend | Self::Listen)
    }
    pub(super) fn has_back(self) -> bool {
        matches!(self, Self::Backend | Self::Listen)
    }
    /// How haproxy's messages call such a section.
    pub(super) fn called(self) -> &'static str {
        match self {
            Self::Listen => "proxy",
            other => other.word(),
        }
    }
}

/// One section as written; `set` began as a clone of its `defaults`.
#[derive(Debug)]
pub(super) struct ProxyRaw {
    pub(super) kind: SectionKind,
    pub(super) name: String,
    /// Names of its lines so far, for those that a later one overwrites.
    pub(super) seen: Vec<&'static str>,
    /// The defaults section it inherits from, by index into [`Raw::sections`], and whether `from` names it.
    pub(super) from: Option<(usize, bool)>,
    /// The section's header line.
    pub(super) span: Span,
    pub(super) set: Settings,
    pub(super) id: Option<(u32, Span)>,
    pub(super) guid: Option<super::guid::Written>,
    pub(super) description: Option<String>,
    pub(super) dispatch: Option<(std::net::SocketAddr, Span)>,
    pub(super) acls: Acls,
    pub(super) switches: Vec<SwitchRaw>,
    pub(super) server_rules: Vec<ServerRuleRaw>,
    /// Kinds of rules that its lines held so far, a bit each, for those out of order.
    pub(super) ranks: u8,
    pub(super) binds: Vec<BindRaw>,
    pub(super) servers: Vec<ServerRaw>,
}

impl ProxyRaw {
    /// A section without a name and without lines.
    pub(super) fn new(kind: SectionKind, set: Settings, span: Span) -> Self {
        Self {
            kind,
            name: String::new(),
            seen: Vec::new(),
            from: None,
            span,
            set,
            id: None,
            guid: None,
            description: None,
            dispatch: None,
            acls: Acls::default(),
            switches: Vec::new(),
            server_rules: Vec::new(),
            ranks: 0,
            binds: Vec::new(),
            servers: Vec::new(),
        }
    }
}

/// One `use_backend` line.
#[derive(Debug)]
pub(super) struct SwitchRaw {
    pub(super) backend: Word,
    /// Where the name is worked out for each request.
    pub(super) format: Option<crate::lang::logformat::LogFormat>,
    pub(super) when: Option<Condition>,
}

/// One `use-server` line.
#[derive(Debug)]
pub(super) struct ServerRuleRaw {
    pub(super) server: Word,
    pub(super) format: Option<crate::lang::logformat::LogFormat>,
    pub(super) when: Condition,
}

/// Which file tells how the servers of a backend were before a reload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum LoadStates {
    #[default]
    None,
    Global,
    Local,
}

/// What `defaults` hands on.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) mode: Mode,
    /// Where `mode http` was asked for.
    pub(super) mode_at: Option<Span>,
    pub(super) disabled: bool,
    pub(super) timeout: Timeouts,
    pub(super) maxconn: Option<u32>,
    pub(super) backlog: Option<u32>,
    pub(super) fullconn: Option<u32>,
    /// `load-server-state-from-file`, `server-state-file-name`.
    pub(super) load_states: LoadStates,
    pub(super) state_file: Option<String>,
    pub(super) rate_limit_sessions: u32,
    pub(super) retries: Option<u32>,
    pub(super) redispatch: Redispatch,
    pub(super) balance: Option<(Balance, Span)>,
    pub(super) hash_type: HashType,
    pub(super) hash_balance_factor: u32,
    pub(super) hash_affinity: Affinity,
    /// The `cookie` line, whether it says `dynamic`, and `dynamic-cookie-key`.
    pub(super) cookie_at: Option<Span>,
    pub(super) cookie_dynamic: bool,
    pub(super) dynamic_key: Option<Box<[u8]>>,
    pub(super) default_backend: Option<Word>,
    pub(super) monitor_net: Option<ipnet::IpNet>,
    pub(super) grace_ms: Option<u32>,
    pub(super) checks: ChecksRaw,
    pub(super) source: Option<Source>,
    pub(super) log: Vec<LogLine>,
    pub(super) log_tag: Option<String>,
    /// What the lines look like; `None`: the default line of a connection.
    pub(super) log_format: Option<LogFormatRaw>,
    /// The line that chose the log format.
    pub(super) log_format_at: Option<Span>,
    /// `option httplog`, for the warning in TCP mode.
    pub(super) httplog_at: Option<Span>,
    pub(super) options: Options,
    /// `errorfile` and its kin in order.
    pub(super) pages: Vec<PageLine>,
    /// Lines in force that have no effect in TCP mode, which haproxy says.
    pub(super) http_only: Vec<(&'static Keyword<ProxyRaw>, Span)>,
    /// Rules and all that is HTTP's, references not settled yet.
    pub(super) http: super::http::Http,
    pub(super) client_ka: KeepAlive,
    pub(super) server_ka: KeepAlive,
    /// `default-server`.
    pub(super) server: ServerOptions,
    /// A mistake was found in the section or its defaults: what seems to be missing is no further mistake.
    pub(super) mistaken: bool,
    /// Keywords known to haproxy only, judged once the mode is certain.
    pub(super) not_yet: Vec<NotYetRaw>,
}

/// The format of log lines and the line that chose it.
#[derive(Debug, Clone)]
pub(super) struct LogFormatRaw {
    pub(super) word: LogWord,
    pub(super) format: Arc<crate::lang::logformat::LogFormat>,
}

/// Which line that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogWord {
    Tcp,
    TcpClf,
    Http,
    HttpClf,
    /// `log-format`.
    Own,
}

impl LogWord {
    /// As messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "option tcplog",
            Self::TcpClf => "option tcplog clf",
            Self::Http => "option httplog",
            Self::HttpClf => "option httplog clf",
            Self::Own => "log-format",
        }
    }
    /// Falls back to `option tcplog` in TCP mode.
    pub(super) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::HttpClf)
    }
}

/// Milliseconds; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub(super) client: Option<u32>,
    pub(super) client_fin: Option<u32>,
    pub(super) connect: Option<u32>,
    pub(super) server: Option<u32>,
    pub(super) server_fin: Option<u32>,
    pub(super) tunnel: Option<u32>,
    pub(super) queue: Option<u32>,
    pub(super) check: Option<u32>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) independent_streams: bool,
    pub(super) dontlognull: bool,
    pub(super) dontlog_normal: bool,
    pub(super) logasap: bool,
    pub(super) log_separate_errors: bool,
    pub(super) socket_stats: bool,
    pub(super) smart_accept: Option<bool>,
    pub(super) smart_connect: bool,
    pub(super) log_health_checks: bool,
    pub(super) allbackups: bool,
    /// Without a line off in TCP mode, on in HTTP mode (haproxy 3.3).
    pub(super) abortonclose: Option<bool>,
    pub(super) transparent: bool,
    /// `option splice-auto`, `-request`, `-response`: `Some(false)` where negated.
    pub(super) splice_auto: Option<bool>,
    pub(super) splice_request: Option<bool>,
    pub(super) splice_response: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogLine {
    /// `log global`.
    Global,
    To(LogTarget),
}

/// A keyword that is haproxy's and not ours yet.
#[derive(Debug, Clone)]
pub(super) struct NotYetRaw {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) layer: Layer,
}

/// What a keyword of a later issue needs to have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// No effect in TCP mode, in haproxy either, which says nothing about it.
    HttpQuiet,
    /// No effect in TCP mode, which haproxy says in a warning.
    Http,
    /// Rules: work in both modes, and follow from the mode where that is HTTP.
    Rules,
    /// Works in both modes.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShardsWord {
    Number(u32),
    /// One per shard.
    ByThread,
}

/// A `bind` line: one address, options shared.
#[derive(Debug, Clone)]
pub(super) struct BindRaw {
    pub(super) address: BindAddress,
    pub(super) options: BindOptions,
    pub(super) span: Span,
}

/// What may follow the addresses of `bind` or `stats socket`.
#[derive(Debug, Clone, Default)]
pub(super) struct BindOptions {
    pub(super) name: Option<String>,
    pub(super) id: Option<(u32, Span)>,
    pub(super) backlog: Option<u32>,
    pub(super) maxconn: Option<u32>,
    pub(super) accept_proxy: bool,
    pub(super) transparent: bool,
    pub(super) interface: Option<String>,
    pub(super) owner: UnixOwner,
    pub(super) v4v6: bool,
    pub(super) v6only: bool,
    pub(super) defer_accept: bool,
    pub(super) tfo: bool,
    pub(super) mss: Option<i32>,
    pub(super) tcp_ut_ms: Option<u32>,
    pub(super) shards: Option<ShardsWord>,
    pub(super) threads: Vec<u32>,
    pub(super) nice: i32,
    pub(super) level: Option<CliLevel>,
    pub(super) expose_fd: bool,
    pub(super) not_yet: Vec<NotYetRaw>,
}

/// A `server` line.
#[derive(Debug, Clone)]
pub(super) struct ServerRaw {
    pub(super) name: String,
    pub(super) name_span: Span,
    pub(super) address: HostAddress,
    pub(super) host_text: String,
    pub(super) options: ServerOptions,
    pub(super) span: Span,
}

/// A server's address before its name is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostAddress {
    Ip(IpAddr, ServerPort),
    Name(String, ServerPort),
    Unix(PathBuf),
    Abns(Vec<u8>),
}

/// What may follow a server's address, and what `default-server` hands on.
#[derive(Debug, Clone)]
pub(super) struct ServerOptions {
    pub(super) guid: Option<super::guid::Written>,
    pub(super) id: Option<(u32, Span)>,
    pub(super) weight: u32,
    pub(super) backup: bool,
    pub(super) disabled: bool,
    pub(super) check: Option<Span>,
    pub(super) inter_ms: u32,
    pub(super) fastinter_ms: Option<u32>,
    pub(super) downinter_ms: Option<u32>,
    pub(super) rise: u32,
    pub(super) fall: u32,
    pub(super) check_addr: Option<IpAddr>,
    pub(super) check_port: Option<u16>,
    pub(super) check_send_proxy: bool,
    pub(super) check_via_socks4: bool,
    pub(super) socks4: Option<std::net::SocketAddr>,
    pub(super) maxconn: u32,
    pub(super) minconn: u32,
    pub(super) maxqueue: u32,
    pub(super) slowstart_ms: u32,
    pub(super) send_proxy: Option<ProxyProtocol>,
    pub(super) source: Option<Source>,
    pub(super) track: Option<Word>,
    pub(super) tcp_ut_ms: Option<u32>,
    pub(super) tfo: bool,
    pub(super) init_addr: Vec<InitAddr>,
    pub(super) cookie: Option<(Box<[u8]>, Span)>,
    pub(super) redir: Option<(Box<[u8]>, Span)>,
    pub(super) pool_max: Option<u32>,
    pub(super) pool_low: u32,
    pub(super) pool_purge_ms: u32,
    pub(super) max_reuse: Option<u32>,
    /// `observe` and where it stands; what belongs to it is kept apart, whatever comes first.
    pub(super) observe: Option<(Observed, Span)>,
    /// Milliseconds of `on-down retry`, and where it stands.
    pub(super) on_down_ms: Option<(u32, Span)>,
    pub(super) on_error: OnError,
    pub(super) error_limit: u32,
    pub(super) error_clients: u32,
    pub(super) shutdown_on_down: bool,
    pub(super) shutdown_backups_on_up: bool,
    pub(super) init_state: Option<(InitState, Span)>,
    pub(super) agent: Option<Span>,
    pub(super) agent_inter_ms: u32,
    pub(super) agent_addr: Option<IpAddr>,
    pub(super) agent_port: Option<u16>,
    pub(super) agent_send: Box<[u8]>,
    pub(super) not_yet: Vec<NotYetRaw>,
}

impl Default for ServerOptions {
    /// haproxy's defaults (configuration.txt 5.2).
    fn default() -> Self {
        Self {
            guid: None,
            id: None,
            weight: 1,
            backup: false,
            disabled: false,
            check: None,
            inter_ms: 2000,
            fastinter_ms: None,
            downinter_ms: None,
            rise: 2,
            fall: 3,
            check_addr: None,
            check_port: None,
            check_send_proxy: false,
            check_via_socks4: false,
            socks4: None,
            maxconn: 0,
            minconn: 0,
            maxqueue: 0,
            slowstart_ms: 0,
            send_proxy: None,
            source: None,
            track: None,
            tcp_ut_ms: None,
            tfo: false,
            init_addr: vec![InitAddr::Last, InitAddr::Libc],
            cookie: None,
            redir: None,
            pool_max: None,
            pool_low: 0,
            pool_purge_ms: 5000,
            max_reuse: None,
            observe: None,
            on_down_ms: None,
            on_error: OnError::default(),
            error_limit: 10,
            error_clients: 1,
            shutdown_on_down: false,
            shutdown_backups_on_up: false,
            init_state: None,
            agent: None,
            agent_inter_ms: 2000,
            agent_addr: None,
            agent_port: None,
            agent_send: Box::default(),
            not_yet: Vec::new(),
        }
    }
}

/// One step of `init-addr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InitAddr {
    /// From the state file: there is none, so this step never gives an address.
    Last,
    Libc,
    None,
    Ip(IpAddr),
}
