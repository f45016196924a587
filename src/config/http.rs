//! What a proxy knows beyond TCP: rules, HTTP options, pages, persistence, formats of its log lines.
//!
//! One [`Http`] per proxy; a stream looks at that of its frontend and at that of its backend, which are the
//! same one in a `listen` section (its rules then run once).

use std::sync::Arc;

use ipnet::IpNet;

use super::model::BackendId;
use crate::lang::acl::Condition;
use crate::lang::expr::{Expr, Needs};
use crate::lang::logformat::LogFormat;
use crate::lang::rules::{Redirect, Reply, Rule};
use crate::lang::source::Span;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Http {
    // timeouts; 0 in the file is `None` here
    /// For a whole head of a request, counted from the moment it is waited for; `None`: the client's.
    pub timeout_http_request_ms: Option<u32>,
    /// For the first byte of the next request; `None`: as `timeout http-request`.
    pub timeout_keep_alive_ms: Option<u32>,
    /// `None`: the connect timeout.
    pub timeout_tarpit_ms: Option<u32>,
    // rules, in order of the file, those of `defaults` first
    pub tcp_connection: Vec<Rule>,
    pub tcp_session: Vec<Rule>,
    pub tcp_request: Vec<Rule>,
    pub tcp_request_delay_ms: Option<u32>,
    pub tcp_response: Vec<Rule>,
    pub tcp_response_delay_ms: Option<u32>,
    pub request: Vec<Rule>,
    pub response: Vec<Rule>,
    pub after_response: Vec<Rule>,
    /// `redirect …` lines, evaluated after `http-request`.
    pub redirects: Vec<(Redirect, Option<Condition>, Span)>,
    /// `use_backend` lines.
    pub switching: Vec<Switch>,
    /// `use-server`: the server by index of `Config::servers`, or by name at run time.
    pub use_server: Vec<UseServer>,
    pub force_persist: Vec<Condition>,
    pub ignore_persist: Vec<Condition>,
    pub monitor_uri: Option<Box<[u8]>>,
    pub monitor_fail: Vec<Condition>,
    // connections
    pub connection: Connection,
    pub reuse: Reuse,
    /// `option http-no-delay`, `http-buffer-request`, `http-ignore-probes`, `prefer-last-server`, `http-use-proxy-header`,
    /// `http-pretend-keepalive`.
    pub no_delay: bool,
    pub buffer_request: bool,
    pub ignore_probes: bool,
    pub prefer_last_server: bool,
    pub use_proxy_header: bool,
    pub pretend_keep_alive: bool,
    /// `option accept-unsafe-violations-in-http-request`, `-response`.
    pub unsafe_request: bool,
    pub unsafe_response: bool,
    pub restrict_names: RestrictNames,
    pub drop_request_trailers: bool,
    pub drop_response_trailers: bool,
    /// `no option abortonclose`: false; on by default in HTTP (3.3).
    pub abort_on_close: bool,
    pub retry_on: RetryOn,
    // headers
    pub forwardfor: Option<AddressHeader>,
    pub originalto: Option<AddressHeader>,
    pub forwarded: Option<Forwarded>,
    pub send_name_header: Option<Box<[u8]>>,
    pub unique_id_format: Option<LogFormat>,
    pub unique_id_header: Option<Box<[u8]>>,
    // pages
    pub pages: Pages,
    // persistence
    pub cookie: Option<Cookie>,
    pub persist: bool,
    pub rdp_persist: Option<Box<[u8]>>,
    /// What `balance` hashes in HTTP.
    pub hash_key: Option<HashKey>,
    // captures
    pub request_captures: Vec<CaptureHeader>,
    pub response_captures: Vec<CaptureHeader>,
    /// `capture cookie`: name (a prefix matches) and bytes kept.
    pub cookie_capture: Option<(Box<[u8]>, u32)>,
    // logs
    /// The format of log lines, compiled; `None`: the default line at connection time.
    pub log_format: Option<Arc<LogFormat>>,
    pub error_log_format: Option<Arc<LogFormat>>,
    pub log_format_sd: Option<Arc<LogFormat>>,
    // statistics
    pub stats: Option<Stats>,
}

impl Http {
    /// Whether a header that it adds, a rule or a format names the address the client connected to.
    pub fn names_local(&self) -> bool {
        self.originalto.is_some()
            || self.forwarded.as_ref().is_some_and(Forwarded::names_local)
            || self.needs().has(Needs::LOCAL_ADDRESS)
    }

    /// What its rules, conditions and formats need, all together.
    pub fn needs(&self) -> Needs {
        let of_rules = [
            &self.tcp_connection,
            &self.tcp_session,
            &self.tcp_request,
            &self.tcp_response,
            &self.request,
            &self.response,
            &self.after_response,
        ];
        let rules = of_rules.into_iter().flatten().map(Rule::needs);
        let conditions = self
            .redirects
            .iter()
            .filter_map(|(_, when, _)| when.as_ref())
            .chain(self.switching.iter().filter_map(|s| s.when.as_ref()))
            .chain(self.use_server.iter().filter_map(|s| s.when.as_ref()))
            .chain(&self.force_persist)
            .chain(&self.ignore_persist)
            .chain(&self.monitor_fail)
            .map(Condition::needs);
        let redirects = self.redirects.iter().map(|(r, ..)| r.to.format());
        let switches = self.switching.iter().filter_map(|s| match &s.to {
            SwitchTo::Format(format) => Some(format),
            SwitchTo::Backend(_) => None,
        });
        let lines = [
            &self.log_format,
            &self.error_log_format,
            &self.log_format_sd,
        ];
        let lines = lines.into_iter().flatten().map(|format| &**format);
        let formats = redirects
            .chain(switches)
            .chain(&self.unique_id_format)
            .chain(lines)
            .map(LogFormat::needs);
        let all = rules.chain(conditions).chain(formats);
        all.fold(Needs::default(), Needs::with)
    }
}

/// One `use_backend` line.
#[derive(Debug, Clone)]
pub struct Switch {
    pub to: SwitchTo,
    pub when: Option<Condition>,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub enum SwitchTo {
    Backend(BackendId),
    /// A name worked out for each request; one that does not exist falls to the default backend.
    Format(LogFormat),
}

#[derive(Debug, Clone)]
pub struct UseServer {
    pub to: ServerName,
    pub when: Option<Condition>,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub enum ServerName {
    Server(super::model::ServerId),
    Format(LogFormat),
}

/// What becomes of the connections after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connection {
    #[default]
    KeepAlive,
    /// `option http-server-close`.
    ServerClose,
    /// `option httpclose`.
    Close,
}

/// `option http-restrict-req-hdr-names`: header names with other bytes than letters, digits and `-`. Each proxy
/// on the way applies its own after its `http-request` rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestrictNames {
    #[default]
    Preserve,
    Delete,
    /// 403.
    Reject,
}

/// `http-reuse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    Never,
    #[default]
    Safe,
    Aggressive,
    Always,
}

/// `retry-on`: a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    pub conn_failure: bool,
    pub empty_response: bool,
    pub junk_response: bool,
    pub response_timeout: bool,
    pub zero_rtt_rejected: bool,
    /// Statuses that are tried again.
    pub statuses: Vec<u16>,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self {
            conn_failure: true,
            empty_response: false,
            junk_response: false,
            response_timeout: false,
            zero_rtt_rejected: false,
            statuses: Vec::new(),
        }
    }
}

/// `option forwardfor`, `option originalto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressHeader {
    /// Lower case.
    pub name: Box<[u8]>,
    pub except: Option<IpNet>,
    pub if_none: bool,
}

/// `option forwarded` (RFC 7239).
#[derive(Debug, Clone, Default)]
pub struct Forwarded {
    pub proto: bool,
    pub host: Option<ForwardedNode>,
    pub by: Option<ForwardedNode>,
    pub by_port: Option<ForwardedNode>,
    pub for_: Option<ForwardedNode>,
    pub for_port: Option<ForwardedNode>,
}

impl Forwarded {
    fn nodes(&self) -> impl Iterator<Item = &ForwardedNode> {
        let all = [
            &self.host,
            &self.by,
            &self.by_port,
            &self.for_,
            &self.for_port,
        ];
        all.into_iter().flatten()
    }
    pub(super) fn exprs_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let all = [
            &mut self.host,
            &mut self.by,
            &mut self.by_port,
            &mut self.for_,
            &mut self.for_port,
        ];
        all.into_iter().flatten().filter_map(|node| match node {
            ForwardedNode::Own => None,
            ForwardedNode::Expr(expr) => Some(expr),
        })
    }
    fn names_local(&self) -> bool {
        let own = |node: &Option<ForwardedNode>| matches!(node, Some(ForwardedNode::Own));
        let asks = |node: &ForwardedNode| match node {
            ForwardedNode::Own => false,
            ForwardedNode::Expr(expr) => expr.needs().has(Needs::LOCAL_ADDRESS),
        };
        own(&self.by) || own(&self.by_port) || self.nodes().any(asks)
    }
}

#[derive(Debug, Clone)]
pub enum ForwardedNode {
    /// What the connection and the request say themselves.
    Own,
    Expr(Expr),
}

/// Pages of one proxy by status, where they are not the built-in ones.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    pub by_status: Vec<(u16, Page)>,
}

#[derive(Debug, Clone)]
pub enum Page {
    /// A whole raw answer of a file.
    Raw(Arc<[u8]>),
    /// `errorloc`, `errorloc302`, `errorloc303`: code and Location.
    Location(u16, Box<[u8]>),
    /// `http-error`.
    Reply(Box<Reply>),
}

/// `cookie` of a backend; the values are the servers' own ([`super::Server::cookie`]).
#[derive(Debug, Clone)]
pub struct Cookie {
    pub name: Box<[u8]>,
    pub mode: CookieMode,
    pub indirect: bool,
    pub nocache: bool,
    pub postonly: bool,
    pub preserve: bool,
    pub httponly: bool,
    pub secure: bool,
    pub domains: Vec<Box<[u8]>>,
    /// Seconds.
    pub maxidle: Option<u32>,
    pub maxlife: Option<u32>,
    pub dynamic_key: Option<Box<[u8]>>,
    /// `attr`, each added to the cookie after `; `.
    pub attributes: Vec<Box<[u8]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieMode {
    Insert,
    Rewrite,
    Prefix,
    /// Neither word: the application sets it, values are only recognised.
    Passive,
}

/// What the HTTP algorithms of `balance` hash.
#[derive(Debug, Clone)]
pub enum HashKey {
    Uri {
        len: Option<u32>,
        depth: Option<u32>,
        whole: bool,
        path_only: bool,
    },
    UrlParam {
        name: Box<[u8]>,
        /// `check_post`, with the bytes of the body to look at.
        post: Option<u32>,
    },
    Header {
        name: Box<[u8]>,
        domain_only: bool,
    },
    RdpCookie {
        name: Box<[u8]>,
    },
    Expr(Expr),
}

/// `capture request header`, `capture response header`, `declare capture`.
#[derive(Debug, Clone)]
pub struct CaptureHeader {
    /// `None`: only a slot for rules to fill.
    pub name: Option<Box<[u8]>>,
    /// Bytes kept at most.
    pub len: u32,
}

/// The statistics page of a proxy.
#[derive(Debug, Clone)]
pub struct Stats {
    pub uri: Box<[u8]>,
    pub realm: Option<Box<[u8]>>,
    /// `user:password`; one without a colon got it.
    pub auth: Vec<Box<[u8]>>,
    /// Seconds.
    pub refresh_s: Option<u32>,
    pub show_version: bool,
    pub show_legends: bool,
    pub show_modules: bool,
    /// Empty: the process' own.
    pub show_node: Option<String>,
    pub show_desc: Option<String>,
    /// Proxies shown (`scope`), by name, `.` replaced by its own; empty: all.
    pub scope: Vec<String>,
    /// `stats admin if …`: actions are allowed when one holds.
    pub admin: Vec<Condition>,
    /// `stats http-request`.
    pub rules: Vec<Rule>,
    /// The line that made it.
    pub span: Span,
}
