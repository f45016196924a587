//! Every fetch by name: its arguments, its type, where its answer comes from and what reads its arguments.

use super::args::Arg;
use super::l4::{self, End};
use super::l6::{self, What};
use super::l7::{self, CookieAs, Credential, HeaderAs, Of};
use super::{Fetch, Making, internal};
use crate::lang::expr::Needs;
use crate::lang::pattern::Method;
use crate::lang::sample::Kind;
use crate::lang::subject::Fact;

/// Rules and lines in which expressions stand, as haproxy names them in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Place {
    FrontTcpConnection,
    FrontTcpSession,
    FrontTcpContent,
    FrontRequestHeader,
    FrontRequestBody,
    FrontUseBackend,
    BackTcpContent,
    BackRequestHeader,
    BackRequestBody,
    BackUseServer,
    ServerSource,
    BackTcpResponse,
    BackResponseHeader,
    BackResponseBody,
    BackStickStore,
    FrontTcpResponse,
    FrontResponseHeader,
    FrontResponseBody,
    Logs,
    BackTcpCheck,
    ConfigParser,
    CliParser,
}

impl Place {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::FrontTcpConnection => "frontend tcp-request connection rule",
            Self::FrontTcpSession => "frontend tcp-request session rule",
            Self::FrontTcpContent => "frontend tcp-request content rule",
            Self::FrontRequestHeader => "frontend http-request header rule",
            Self::FrontRequestBody => "frontend http-request body rule",
            Self::FrontUseBackend => "frontend use-backend rule",
            Self::BackTcpContent => "backend tcp-request content rule",
            Self::BackRequestHeader => "backend http-request header rule",
            Self::BackRequestBody => "backend http-request body rule",
            Self::BackUseServer => "backend use-server, balance or stick-match rule",
            Self::ServerSource => "server source selection",
            Self::BackTcpResponse => "backend tcp-response content rule",
            Self::BackResponseHeader => "backend http-response header rule",
            Self::BackResponseBody => "backend http-response body rule",
            Self::BackStickStore => "backend stick-store rule",
            Self::FrontTcpResponse => "frontend tcp-response content rule",
            Self::FrontResponseHeader => "frontend http-response header rule",
            Self::FrontResponseBody => "frontend http-response body rule",
            Self::Logs => "logs",
            Self::BackTcpCheck => "backend tcp-check rule",
            Self::ConfigParser => "configuration parser",
            Self::CliParser => "CLI parser",
        }
    }
}

/// Where a fetch takes its answer from, which says where it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Constant,
    Internal,
    Listener,
    Frontend,
    Backend,
    Server,
    ClientAddress,
    ServerAddress,
    ClientConnection,
    ServerConnection,
    RequestBuffer,
    ResponseBuffer,
    /// Either buffer, by direction.
    Buffers,
    RequestHeaders,
    ResponseHeaders,
    /// Either message's, by direction.
    Headers,
    RequestBody,
    ResponseBody,
    /// What is kept of the request until the end; of the response.
    Request,
    Response,
}

impl Source {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Internal => "internal state",
            Self::Listener => "listener",
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Server => "server",
            Self::ClientAddress => "client address",
            Self::ServerAddress => "server address",
            Self::ClientConnection => "client-side connection",
            Self::ServerConnection => "server-side connection",
            Self::RequestBuffer | Self::Buffers => "request buffer",
            Self::ResponseBuffer => "response buffer",
            Self::RequestHeaders | Self::Headers | Self::RequestBody => "HTTP request headers",
            Self::ResponseHeaders | Self::ResponseBody => "HTTP response headers",
            Self::Request => "HTTP request",
            Self::Response => "HTTP response",
        }
    }

    /// The places where it works: bit n for the n-th [`Place`].
    fn places(self) -> u32 {
        match self {
            Self::Constant => mask("YYYYYYYYYYYYYYYYYYYYYY"),
            Self::Internal => mask("YYYYYYYYYYYYYYYYYYYY.Y"),
            Self::ClientAddress => mask("YYYYYYYYYYYYYYYYYYYY.."),
            Self::Listener | Self::Frontend => mask("YYYYYYYYYYYYYYYYYYY..."),
            Self::ClientConnection => mask(".YYYYYYYYYYYYYYYYYY..."),
            Self::Request => mask("..YYYYYYYYYYYYYYYYY..."),
            Self::Headers | Self::Buffers => mask("..YYYYYYYYYYYYYYYY.Y.."),
            Self::RequestHeaders | Self::RequestBuffer | Self::RequestBody => {
                mask("..YYYYYYYYY...........")
            }
            Self::Backend => mask("......YYYYYYYYYYYYYY.."),
            Self::Server => mask("..........YYYYYYYYYY.."),
            Self::ServerAddress | Self::ServerConnection | Self::Response => {
                mask("...........YYYYYYYYY..")
            }
            Self::ResponseHeaders | Self::ResponseBuffer | Self::ResponseBody => {
                mask("...........YYYYYYY.Y..")
            }
        }
    }

    pub fn works_in(self, place: Place) -> bool {
        self.places() >> place as u32 & 1 == 1
    }

    pub(super) fn needs(self) -> Needs {
        match self {
            Self::RequestBuffer => Needs::REQUEST_BYTES,
            Self::ResponseBuffer => Needs::RESPONSE_BYTES,
            Self::RequestHeaders | Self::Request => Needs::REQUEST_HEAD,
            Self::ResponseHeaders => Needs::RESPONSE_HEAD,
            Self::RequestBody => Needs::REQUEST_BODY.with(Needs::REQUEST_HEAD),
            Self::ResponseBody => Needs::RESPONSE_BODY.with(Needs::RESPONSE_HEAD),
            _ => Needs::default(),
        }
    }
}

/// One bit a letter, set for `Y`; the rows of `haproxy -dKsmp`.
const fn mask(row: &str) -> u32 {
    let row = row.as_bytes();
    let mut out = 0;
    let mut at = 0;
    while at < row.len() {
        if row[at] == b'Y' {
            out |= 1 << at;
        }
        at += 1;
    }
    out
}

type Make = fn(&mut Making<'_>) -> Result<Fetch, String>;

/// One fetch.
pub(in crate::lang) struct Entry {
    pub(in crate::lang) name: &'static str,
    pub(super) kind: Kind,
    pub(in crate::lang) source: Source,
    pub(super) args: &'static [Arg],
    pub(super) least: usize,
    pub(super) make: Make,
    /// Only as a criterion of an ACL, not in other expressions.
    acl_only: bool,
    /// How an ACL matches it, if not as its type is.
    pub(in crate::lang) method: Option<Method>,
    pub(in crate::lang) extra: Extra,
}

/// What more there is to say about a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lang) enum Extra {
    None,
    /// haproxy has an ACL keyword of that name, and names it so in messages.
    AclKeyword,
    LocalAddress,
    ClientAddress,
    Password,
}

const fn e(name: &'static str, kind: Kind, source: Source, make: Make) -> Entry {
    Entry {
        name,
        kind,
        source,
        args: &[],
        least: 0,
        make,
        acl_only: false,
        method: None,
        extra: Extra::None,
    }
}

impl Entry {
    const fn args(mut self, args: &'static [Arg], least: usize) -> Self {
        self.args = args;
        self.least = least;
        self
    }
    /// An ACL keyword that matches as `method`.
    const fn acl(mut self, method: Method) -> Self {
        self.acl_only = true;
        self.method = Some(method);
        self.extra = Extra::AclKeyword;
        self
    }
    /// A fetch that is an ACL keyword as well.
    const fn both(mut self, method: Method) -> Self {
        self.method = Some(method);
        self.extra = Extra::AclKeyword;
        self
    }
    const fn extra(mut self, extra: Extra) -> Self {
        self.extra = extra;
        self
    }
}

/// Names of all fetches that work.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.name)
}

/// The entry of that name; among ACL keywords first if `acl`.
pub(super) fn find(name: &str, acl: bool) -> Option<&'static Entry> {
    let is = |entry: &&'static Entry| entry.name == name;
    if acl && let Some(entry) = ACL.iter().find(is) {
        return Some(entry);
    }
    TABLE
        .iter()
        .find(|entry| is(entry) && (acl || !entry.acl_only))
}

use Arg::{Backend, Frontend, Int, Ip4, Ip6, Server, Str, Userlist};
use Kind::{Addr, Any, Bin, Bool, Int as Sint, Method as Meth, Str as Text};
use Source as S;

const HEADER: &[Arg] = &[Str, Int];
const NAMES: &[Arg] = &[Str; 12];

macro_rules! fact {
    ($name:literal, $kind:expr, $source:expr, $fact:expr) => {
        e($name, $kind, $source, |_| Ok(Fetch::Fact($fact)))
    };
}
macro_rules! of {
    (back $name:literal, $fact:expr) => {
        e($name, Sint, S::Internal, |m| internal::of_backend(m, $fact)).args(&[Backend], 1)
    };
    (front $name:literal, $fact:expr) => {
        e($name, Sint, S::Internal, |m| {
            internal::of_frontend(m, $fact)
        })
        .args(&[Frontend], 1)
    };
    (server $name:literal, $kind:expr, $fact:expr) => {
        e($name, $kind, S::Internal, |m| internal::of_server(m, $fact)).args(&[Server], 1)
    };
}
macro_rules! end {
    ($name:literal, $end:expr, $port:literal, $source:expr) => {
        e($name, if $port { Sint } else { Addr }, $source, |_| {
            Ok(Fetch::L4(l4::Fetch {
                end: $end,
                port: $port,
            }))
        })
    };
}
macro_rules! l7 {
    ($name:literal, $kind:expr, $source:expr, $fetch:expr) => {
        e($name, $kind, $source, |_| l7::made($fetch))
    };
}
macro_rules! l6 {
    ($name:literal, $kind:expr, $what:expr) => {
        e($name, $kind, S::RequestBuffer, |_| l6::plain($what))
    };
}
macro_rules! header {
    ($name:literal, $of:expr, $kind:expr, $as:expr, $full:literal, $source:expr) => {
        e($name, $kind, $source, |m| l7::header($of, $as, $full, m)).args(HEADER, 0)
    };
}
macro_rules! header_count {
    ($name:literal, $of:expr, $full:literal, $source:expr) => {
        e($name, Sint, $source, |m| l7::header_count($of, $full, m)).args(&[Str], 0)
    };
}
macro_rules! cookie {
    ($name:literal, $of:expr, $kind:expr, $as:expr, $source:expr) => {
        e($name, $kind, $source, |m| l7::cookie($of, $as, m)).args(&[Str], 0)
    };
}
macro_rules! cookie_count {
    ($name:literal, $of:expr, $source:expr) => {
        e($name, Sint, $source, |m| l7::cookie_count($of, m)).args(&[Str], 0)
    };
}
macro_rules! absent {
    ($name:literal, $kind:expr, $source:expr) => {
        e($name, $kind, $source, |_| Ok(Fetch::Absent))
    };
}
macro_rules! never {
    ($name:literal, $source:expr) => {
        e($name, Bool, $source, internal::always_false)
    };
}
/// A family of ACL keywords: the plain one, then one for each way of matching.
macro_rules! family {
    ($make:expr, $source:expr, $args:expr, [$plain:literal, $beg:literal, $dir:literal, $dom:literal, $end:literal, $len:literal, $reg:literal, $sub:literal]) => {
        [
            e($plain, Text, $source, $make)
                .args($args, 0)
                .acl(Method::Str),
            e($beg, Text, $source, $make)
                .args($args, 0)
                .acl(Method::Beg),
            e($dir, Text, $source, $make)
                .args($args, 0)
                .acl(Method::Dir),
            e($dom, Text, $source, $make)
                .args($args, 0)
                .acl(Method::Dom),
            e($end, Text, $source, $make)
                .args($args, 0)
                .acl(Method::End),
            e($len, Text, $source, $make)
                .args($args, 0)
                .acl(Method::Len),
            e($reg, Text, $source, $make)
                .args($args, 0)
                .acl(Method::Reg),
            e($sub, Text, $source, $make)
                .args($args, 0)
                .acl(Method::Sub),
        ]
    };
}

/// Keywords of ACLs, where they are not fetches of the same meaning.
static ACL: std::sync::LazyLock<Vec<Entry>> = std::sync::LazyLock::new(|| {
    [
        family!(
            |_| l7::made(l7::Fetch::Base { query: false }),
            S::RequestHeaders,
            &[],
            [
                "base", "base_beg", "base_dir", "base_dom", "base_end", "base_len", "base_reg",
                "base_sub"
            ]
        ),
        family!(
            |_| l7::made(l7::Fetch::Path),
            S::RequestHeaders,
            &[],
            [
                "path", "path_beg", "path_dir", "path_dom", "path_end", "path_len", "path_reg",
                "path_sub"
            ]
        ),
        family!(
            |_| l7::made(l7::Fetch::Url),
            S::RequestHeaders,
            &[],
            [
                "url", "url_beg", "url_dir", "url_dom", "url_end", "url_len", "url_reg", "url_sub"
            ]
        ),
        family!(
            |m| l7::cookie(Of::Request, CookieAs::Text, m),
            S::RequestHeaders,
            &[Str],
            [
                "cook", "cook_beg", "cook_dir", "cook_dom", "cook_end", "cook_len", "cook_reg",
                "cook_sub"
            ]
        ),
        family!(
            |m| l7::cookie(Of::Response, CookieAs::Text, m),
            S::ResponseHeaders,
            &[Str],
            [
                "scook",
                "scook_beg",
                "scook_dir",
                "scook_dom",
                "scook_end",
                "scook_len",
                "scook_reg",
                "scook_sub"
            ]
        ),
        family!(
            |m| l7::header(Of::Request, HeaderAs::Text, false, m),
            S::RequestHeaders,
            HEADER,
            [
                "hdr", "hdr_beg", "hdr_dir", "hdr_dom", "hdr_end", "hdr_len", "hdr_reg", "hdr_sub"
            ]
        ),
        family!(
            |m| l7::header(Of::Response, HeaderAs::Text, false, m),
            S::ResponseHeaders,
            HEADER,
            [
                "shdr", "shdr_beg", "shdr_dir", "shdr_dom", "shdr_end", "shdr_len", "shdr_reg",
                "shdr_sub"
            ]
        ),
        family!(
            |m| l7::url_param(false, m),
            S::RequestHeaders,
            &[Str, Str, Str],
            [
                "urlp", "urlp_beg", "urlp_dir", "urlp_dom", "urlp_end", "urlp_len", "urlp_reg",
                "urlp_sub"
            ]
        ),
    ]
    .into_iter()
    .flatten()
    .chain([
        e("payload", Bin, S::RequestBuffer, |m| {
            l6::payload(l6::Side::Request, m)
        })
        .args(&[Int, Int], 2)
        .acl(Method::Bin),
        e("payload_lv", Bin, S::RequestBuffer, |m| {
            l6::payload_lv(l6::Side::Request, m)
        })
        .args(&[Int, Int, Str], 2)
        .acl(Method::Bin),
        absent!("ssl_fc_sni_end", Text, S::ClientConnection).acl(Method::End),
        absent!("ssl_fc_sni_reg", Text, S::ClientConnection).acl(Method::Reg),
    ])
    .collect()
});

#[rustfmt::skip]
static TABLE: &[Entry] = &[
    // ------------------------------------------------------------ constants and the process
    e("always_true", Bool, S::Constant, internal::always_true),
    e("always_false", Bool, S::Constant, internal::always_false),
    e("bool", Bool, S::Constant, internal::bool).args(&[Str], 1),
    e("int", Sint, S::Constant, internal::int_const).args(&[Int], 1),
    e("str", Text, S::Constant, internal::str_const).args(&[Str], 1),
    e("bin", Bin, S::Constant, internal::bin_const).args(&[Str], 1),
    e("meth", Meth, S::Constant, internal::meth_const).args(&[Str], 1),
    e("ipv4", Addr, S::Constant, internal::ip_const).args(&[Ip4], 1),
    e("ipv6", Addr, S::Constant, internal::ip_const).args(&[Ip6], 1),
    e("env", Text, S::Constant, internal::env).args(&[Str], 0),
    e("date", Sint, S::Constant, internal::date).args(&[Int, Str], 0),
    e("date_us", Sint, S::Constant, internal::date_us),
    e("rand", Sint, S::Constant, internal::rand).args(&[Int], 0),
    e("uuid", Text, S::Constant, internal::uuid_version).args(&[Int], 0),
    e("var", Any, S::Constant, internal::var).args(&[Str, Str], 0),
    e("acl", Bool, S::Constant, internal::acl).args(NAMES, 1),
    e("proc", Sint, S::Constant, internal::one),
    e("nbproc", Sint, S::Constant, internal::one),
    fact!("thread", Sint, S::Constant, Fact::Thread),
    fact!("pid", Sint, S::Constant, Fact::Pid),
    fact!("hostname", Text, S::Constant, Fact::Hostname),
    fact!("uptime", Sint, S::Constant, Fact::UptimeS),
    fact!("act_conn", Sint, S::Internal, Fact::ActConn),
    fact!("unique-id", Text, S::Constant, Fact::UniqueId),
    // ------------------------------------------------------------ proxies
    of!(back "avg_queue", Fact::BackAvgQueue(None)),
    of!(back "be_conn", Fact::BackConn(None)),
    of!(back "be_conn_free", Fact::BackConnFree(None)),
    of!(back "be_sess_rate", Fact::BackSessRate(None)),
    of!(back "nbsrv", Fact::BackServers(None)),
    of!(back "queue", Fact::BackQueue(None)),
    e("connslots", Sint, S::Internal, internal::connslots).args(&[Backend], 1),
    of!(front "fe_conn", Fact::FrontConn(None)),
    of!(front "fe_req_rate", Fact::FrontReqRate(None)),
    of!(front "fe_sess_rate", Fact::FrontSessRate(None)),
    fact!("fe_id", Sint, S::Frontend, Fact::FrontId),
    fact!("fe_name", Text, S::Frontend, Fact::FrontName),
    fact!("fe_defbe", Text, S::Frontend, Fact::FrontDefaultBackend),
    fact!("fe_client_timeout", Sint, S::Frontend, Fact::FrontClientTimeout),
    fact!("fe_tarpit_timeout", Sint, S::Frontend, Fact::FrontTarpitTimeout),
    fact!("be_id", Sint, S::Backend, Fact::BackId),
    fact!("be_name", Text, S::Backend, Fact::BackName),
    fact!("be_server_timeout", Sint, S::Backend, Fact::BackServerTimeout),
    fact!("be_tunnel_timeout", Sint, S::Backend, Fact::BackTunnelTimeout),
    fact!("be_connect_timeout", Sint, S::Backend, Fact::BackConnectTimeout),
    fact!("be_queue_timeout", Sint, S::Backend, Fact::BackQueueTimeout),
    fact!("be_tarpit_timeout", Sint, S::Backend, Fact::BackTarpitTimeout),
    fact!("cur_client_timeout", Sint, S::Frontend, Fact::CurClientTimeout),
    fact!("cur_server_timeout", Sint, S::Backend, Fact::CurServerTimeout),
    fact!("cur_tunnel_timeout", Sint, S::Backend, Fact::CurTunnelTimeout),
    fact!("cur_connect_timeout", Sint, S::Backend, Fact::CurConnectTimeout),
    fact!("cur_queue_timeout", Sint, S::Backend, Fact::CurQueueTimeout),
    fact!("cur_tarpit_timeout", Sint, S::Backend, Fact::CurTarpitTimeout),
    fact!("last_rule_file", Text, S::Internal, Fact::LastRuleFile),
    fact!("last_rule_line", Sint, S::Internal, Fact::LastRuleLine),
    // ------------------------------------------------------------ servers
    fact!("srv_id", Sint, S::Server, Fact::ServerId),
    fact!("srv_name", Text, S::Server, Fact::ServerName),
    of!(server "srv_conn", Sint, Fact::ServerConn(None)),
    of!(server "srv_conn_free", Sint, Fact::ServerConnFree(None)),
    of!(server "srv_is_up", Bool, Fact::ServerIsUp(None)),
    of!(server "srv_queue", Sint, Fact::ServerQueue(None)),
    of!(server "srv_sess_rate", Sint, Fact::ServerSessRate(None)),
    of!(server "srv_weight", Sint, Fact::ServerWeight(None)),
    of!(server "srv_iweight", Sint, Fact::ServerInitialWeight(None)),
    of!(server "srv_uweight", Sint, Fact::ServerUserWeight(None)),
    // ------------------------------------------------------------ the client's connection
    end!("src", End::Src, false, S::ClientAddress).extra(Extra::ClientAddress),
    end!("src_port", End::Src, true, S::ClientAddress).extra(Extra::ClientAddress),
    end!("dst", End::Dst, false, S::ClientAddress).extra(Extra::LocalAddress),
    end!("dst_port", End::Dst, true, S::ClientAddress).extra(Extra::LocalAddress),
    end!("fc_src", End::ClientSrc, false, S::ClientAddress).extra(Extra::ClientAddress),
    end!("fc_src_port", End::ClientSrc, true, S::ClientAddress).extra(Extra::ClientAddress),
    end!("fc_dst", End::ClientDst, false, S::ClientAddress).extra(Extra::LocalAddress),
    end!("fc_dst_port", End::ClientDst, true, S::ClientAddress).extra(Extra::LocalAddress),
    fact!("src_is_local", Bool, S::ClientAddress, Fact::SrcIsLocal).extra(Extra::ClientAddress),
    fact!("fc_src_is_local", Bool, S::ClientAddress, Fact::SrcIsLocal).extra(Extra::ClientAddress),
    fact!("dst_is_local", Bool, S::ClientAddress, Fact::DstIsLocal).extra(Extra::LocalAddress),
    fact!("fc_dst_is_local", Bool, S::ClientAddress, Fact::DstIsLocal).extra(Extra::LocalAddress),
    fact!("dst_conn", Sint, S::Listener, Fact::BindConn),
    fact!("so_id", Sint, S::Listener, Fact::BindId),
    fact!("so_name", Text, S::Listener, Fact::BindName),
    fact!("fc_rcvd_proxy", Bool, S::ClientAddress, Fact::ReceivedProxy),
    fact!("fc_err", Sint, S::ClientAddress, Fact::ClientErr),
    e("fc_err_str", Text, S::ClientAddress, |_| internal::err_text(Fact::ClientErr)),
    e("fc_http_major", Sint, S::ClientAddress, internal::one),
    e("fc_rtt", Sint, S::ClientAddress, |m| internal::rtt(m, Fact::ClientRttUs)).args(&[Str], 0),
    e("fc_rttvar", Sint, S::ClientAddress, |m| internal::rtt(m, Fact::ClientRttVarUs)).args(&[Str], 0),
    e("accept_date", Sint, S::ClientAddress, internal::accept_date).args(&[Str], 0),
    // ------------------------------------------------------------ the server's connection
    end!("bc_src", End::ServerSrc, false, S::ServerAddress),
    end!("bc_src_port", End::ServerSrc, true, S::ServerAddress),
    end!("bc_dst", End::ServerDst, false, S::ServerAddress),
    end!("bc_dst_port", End::ServerDst, true, S::ServerAddress),
    fact!("bc_err", Sint, S::ServerAddress, Fact::ServerErr),
    e("bc_err_str", Text, S::ServerAddress, |_| internal::err_text(Fact::ServerErr)),
    e("bc_http_major", Sint, S::ServerAddress, internal::one),
    fact!("bc_reused", Bool, S::ServerAddress, Fact::ServerReused),
    fact!("bc_be_queue", Sint, S::ServerAddress, Fact::BackendQueuePos),
    fact!("bc_srv_queue", Sint, S::ServerAddress, Fact::ServerQueuePos),
    // ------------------------------------------------------------ times and counts of the stream
    fact!("fc.timer.handshake", Sint, S::ClientAddress, Fact::HandshakeMs),
    fact!("fc.timer.total", Sint, S::ClientAddress, Fact::TotalMs),
    fact!("bc.timer.connect", Sint, S::ServerAddress, Fact::ConnectMs),
    fact!("req.timer.idle", Sint, S::Request, Fact::IdleMs),
    fact!("req.timer.hdr", Sint, S::Request, Fact::RequestHeadMs),
    fact!("req.timer.queue", Sint, S::Request, Fact::QueueMs),
    e("req.timer.tq", Sint, S::Request, internal::request_total),
    fact!("res.timer.hdr", Sint, S::Response, Fact::ResponseHeadMs),
    fact!("res.timer.data", Sint, S::Response, Fact::ResponseDataMs),
    fact!("txn.timer.total", Sint, S::Request, Fact::ActiveMs),
    fact!("txn.timer.user", Sint, S::Request, Fact::UserMs),
    fact!("txn.status", Sint, S::Request, Fact::Status),
    fact!("txn.conn_retries", Sint, S::Request, Fact::Retries),
    fact!("txn.redispatched", Bool, S::Request, Fact::Redispatched),
    fact!("txn.sess_term_state", Text, S::Request, Fact::TermState),
    fact!("txn.id32", Sint, S::Request, Fact::StreamId),
    fact!("server_status", Sint, S::Response, Fact::ServerStatus),
    fact!("bytes_in", Sint, S::Request, Fact::ClientIn),
    fact!("bytes_out", Sint, S::Request, Fact::ClientOut),
    fact!("req.bytes_in", Sint, S::Request, Fact::ClientIn),
    fact!("req.bytes_out", Sint, S::Request, Fact::ServerOut),
    fact!("res.bytes_in", Sint, S::Request, Fact::ServerIn),
    fact!("res.bytes_out", Sint, S::Request, Fact::ClientOut),
    e("request_date", Sint, S::Request, internal::request_date).args(&[Str], 0),
    // ------------------------------------------------------------ TLS, which no connection has
    never!("ssl_fc", S::ClientConnection),
    never!("ssl_fc_has_crt", S::ClientConnection),
    never!("ssl_fc_has_early", S::ClientConnection),
    never!("ssl_fc_has_sni", S::ClientConnection),
    never!("ssl_fc_is_resumed", S::ClientConnection),
    absent!("ssl_c_used", Bool, S::ClientConnection),
    never!("ssl_bc", S::ServerConnection),
    never!("ssl_bc_is_resumed", S::ServerConnection),
    absent!("ssl_fc_alg_keysize", Sint, S::ClientConnection),
    absent!("ssl_fc_alpn", Text, S::ClientConnection),
    absent!("ssl_fc_cipher", Text, S::ClientConnection),
    absent!("ssl_fc_curve", Text, S::ClientConnection),
    absent!("ssl_fc_err", Sint, S::ClientConnection),
    absent!("ssl_fc_err_str", Text, S::ClientConnection),
    absent!("ssl_fc_npn", Text, S::ClientConnection),
    absent!("ssl_fc_protocol", Text, S::ClientConnection),
    absent!("ssl_fc_session_id", Bin, S::ClientConnection),
    absent!("ssl_fc_session_key", Bin, S::ClientConnection),
    absent!("ssl_fc_sni", Text, S::ClientConnection),
    absent!("ssl_fc_unique_id", Bin, S::ClientConnection),
    absent!("ssl_fc_use_keysize", Sint, S::ClientConnection),
    absent!("ssl_bc_alg_keysize", Sint, S::ServerConnection),
    absent!("ssl_bc_alpn", Text, S::ServerConnection),
    absent!("ssl_bc_cipher", Text, S::ServerConnection),
    absent!("ssl_bc_curve", Text, S::ServerConnection),
    absent!("ssl_bc_err", Sint, S::ServerConnection),
    absent!("ssl_bc_err_str", Text, S::ServerConnection),
    absent!("ssl_bc_npn", Text, S::ServerConnection),
    absent!("ssl_bc_protocol", Text, S::ServerConnection),
    absent!("ssl_bc_session_id", Bin, S::ServerConnection),
    absent!("ssl_bc_sni", Text, S::ServerConnection),
    absent!("ssl_bc_unique_id", Bin, S::ServerConnection),
    absent!("ssl_bc_use_keysize", Sint, S::ServerConnection),
    // ------------------------------------------------------------ bytes
    l6!("req.len", Sint, What::Len),
    l6!("req_len", Sint, What::Len),
    e("res.len", Sint, S::ResponseBuffer, |_| l6::made(l6::Side::Response, What::Len)),
    e("req.payload", Bin, S::RequestBuffer, |m| l6::payload(l6::Side::Request, m)).args(&[Int, Int], 2),
    e("res.payload", Bin, S::ResponseBuffer, |m| l6::payload(l6::Side::Response, m)).args(&[Int, Int], 2),
    e("payload", Bin, S::Buffers, |m| l6::payload(l6::Side::AtHand, m)).args(&[Int, Int], 2),
    e("req.payload_lv", Bin, S::RequestBuffer, |m| l6::payload_lv(l6::Side::Request, m)).args(&[Int, Int, Str], 2),
    e("res.payload_lv", Bin, S::ResponseBuffer, |m| l6::payload_lv(l6::Side::Response, m)).args(&[Int, Int, Str], 2),
    e("payload_lv", Bin, S::Buffers, |m| l6::payload_lv(l6::Side::AtHand, m)).args(&[Int, Int, Str], 2),
    e("req.rdp_cookie", Text, S::RequestBuffer, |m| l6::rdp(m)).args(&[Str], 0),
    e("rdp_cookie", Text, S::RequestBuffer, |m| l6::rdp(m)).args(&[Str], 0),
    e("req_rdp_cookie", Text, S::RequestBuffer, |m| l6::rdp(m)).args(&[Str], 0).acl(Method::Str),
    e("req.rdp_cookie_cnt", Sint, S::RequestBuffer, |m| l6::rdp_count(m)).args(&[Str], 0),
    e("rdp_cookie_cnt", Sint, S::RequestBuffer, |m| l6::rdp_count(m)).args(&[Str], 0),
    e("req_rdp_cookie_cnt", Sint, S::RequestBuffer, |m| l6::rdp_count(m)).args(&[Str], 0).acl(Method::Int),
    e("req.proto_http", Bool, S::Request, |_| l6::plain(What::ProtoHttp)),
    e("req_proto_http", Bool, S::Request, |_| l6::plain(What::ProtoHttp)),
    e("wait_end", Bool, S::Internal, |_| l6::plain(What::WaitEnd)),
    l6!("req.ssl_hello_type", Sint, What::HelloType),
    l6!("req_ssl_hello_type", Sint, What::HelloType),
    e("res.ssl_hello_type", Sint, S::ResponseBuffer, |_| l6::made(l6::Side::Response, What::HelloType)),
    e("rep_ssl_hello_type", Sint, S::ResponseBuffer, |_| l6::made(l6::Side::Response, What::HelloType)),
    l6!("req.ssl_ver", Sint, What::HelloVersion).both(Method::Version),
    l6!("req_ssl_ver", Sint, What::HelloVersion).both(Method::Version),
    l6!("req.ssl_sni", Text, What::ServerName),
    l6!("req_ssl_sni", Text, What::ServerName).both(Method::Str),
    l6!("req.ssl_alpn", Text, What::Alpn),
    l6!("req.ssl_ec_ext", Bool, What::Curves),
    l6!("req.ssl_st_ext", Sint, What::Ticket),
    l6!("req.ssl_cipherlist", Bin, What::Ciphers),
    l6!("req.ssl_supported_groups", Bin, What::List(10)),
    l6!("req.ssl_sigalgs", Bin, What::List(13)),
    l6!("req.ssl_keyshare_groups", Bin, What::List(51)),
    // ------------------------------------------------------------ the request
    l7!("method", Meth, S::Request, l7::Fetch::Method).both(Method::Verb),
    l7!("path", Text, S::RequestHeaders, l7::Fetch::Path),
    l7!("pathq", Text, S::RequestHeaders, l7::Fetch::PathQuery),
    l7!("url", Text, S::RequestHeaders, l7::Fetch::Url),
    l7!("url_ip", Addr, S::RequestHeaders, l7::Fetch::UrlIp),
    l7!("url_port", Sint, S::RequestHeaders, l7::Fetch::UrlPort),
    l7!("base", Text, S::RequestHeaders, l7::Fetch::Base { query: false }),
    l7!("baseq", Text, S::RequestHeaders, l7::Fetch::Base { query: true }),
    l7!("base32", Sint, S::RequestHeaders, l7::Fetch::Base32 { with_src: false }),
    l7!("base32+src", Bin, S::RequestHeaders, l7::Fetch::Base32 { with_src: true }).extra(Extra::ClientAddress),
    l7!("url32", Sint, S::RequestHeaders, l7::Fetch::Url32 { with_src: false }),
    l7!("url32+src", Bin, S::RequestHeaders, l7::Fetch::Url32 { with_src: true }).extra(Extra::ClientAddress),
    e("query", Text, S::RequestHeaders, |m| l7::query(m)).args(&[Str], 0),
    e("urlp", Text, S::RequestHeaders, |m| l7::url_param(false, m)).args(&[Str, Str, Str], 0),
    e("url_param", Text, S::RequestHeaders, |m| l7::url_param(false, m)).args(&[Str, Str, Str], 0),
    e("urlp_val", Sint, S::RequestHeaders, |m| l7::url_param(true, m)).args(&[Str, Str, Str], 0),
    l7!("req.ver", Text, S::Request, l7::Fetch::Version(Of::Request)),
    l7!("req_ver", Text, S::Request, l7::Fetch::Version(Of::Request)).both(Method::Str),
    fact!("http_first_req", Bool, S::Request, Fact::FirstRequest),
    header!("hdr", Of::AtHand, Text, HeaderAs::Text, false, S::Headers),
    header!("req.hdr", Of::Request, Text, HeaderAs::Text, false, S::RequestHeaders),
    header!("req.fhdr", Of::Request, Text, HeaderAs::Text, true, S::RequestHeaders),
    header!("req.hdr_ip", Of::Request, Addr, HeaderAs::Address, false, S::RequestHeaders),
    header!("hdr_ip", Of::Request, Addr, HeaderAs::Address, false, S::RequestHeaders),
    header!("req.hdr_val", Of::Request, Sint, HeaderAs::Number, false, S::RequestHeaders),
    header!("hdr_val", Of::Request, Sint, HeaderAs::Number, false, S::RequestHeaders),
    header_count!("req.hdr_cnt", Of::Request, false, S::RequestHeaders),
    header_count!("hdr_cnt", Of::Request, false, S::RequestHeaders),
    header_count!("req.fhdr_cnt", Of::Request, true, S::RequestHeaders),
    e("req.hdr_names", Text, S::RequestHeaders, |m| l7::header_names(Of::Request, m)).args(&[Str], 0),
    l7!("req.hdrs", Bin, S::RequestHeaders, l7::Fetch::Headers(Of::Request)),
    l7!("req.hdrs_bin", Bin, S::RequestHeaders, l7::Fetch::HeadersBinary(Of::Request)),
    cookie!("req.cook", Of::Request, Text, CookieAs::Text, S::RequestHeaders),
    cookie!("cook", Of::Request, Text, CookieAs::Text, S::RequestHeaders),
    cookie!("cookie", Of::AtHand, Text, CookieAs::Text, S::Headers),
    cookie!("req.cook_val", Of::Request, Sint, CookieAs::Number, S::RequestHeaders),
    cookie!("cook_val", Of::Request, Sint, CookieAs::Number, S::RequestHeaders),
    cookie_count!("req.cook_cnt", Of::Request, S::RequestHeaders),
    cookie_count!("cook_cnt", Of::Request, S::RequestHeaders),
    e("req.cook_names", Text, S::RequestHeaders, |m| l7::cookie_names(Of::Request, m)).args(&[Str], 0),
    l7!("req.body", Bin, S::RequestBody, l7::Fetch::Body(Of::Request)),
    l7!("req.body_len", Sint, S::RequestBody, l7::Fetch::BodyLen(Of::Request)),
    l7!("req.body_size", Sint, S::RequestBody, l7::Fetch::BodySize(Of::Request)),
    e("req.body_param", Bin, S::RequestBody, |m| l7::body_param(m)).args(&[Str, Str], 0),
    e("capture.req.hdr", Text, S::Request, |m| l7::capture(Of::Request, m)).args(&[Int], 1),
    l7!("capture.req.method", Text, S::Request, l7::Fetch::Captured(0)),
    l7!("capture.req.uri", Text, S::Request, l7::Fetch::Captured(1)),
    l7!("capture.req.ver", Text, S::Request, l7::Fetch::Captured(2)),
    e("http_auth", Bool, S::RequestHeaders, |m| l7::auth_list(false, m)).args(&[Userlist], 1).extra(Extra::Password),
    e("http_auth_group", Text, S::RequestHeaders, |m| l7::auth_list(true, m)).args(&[Userlist], 1).both(Method::Group).extra(Extra::Password),
    l7!("http_auth_user", Text, S::RequestHeaders, l7::Fetch::Auth(Credential::User)),
    l7!("http_auth_pass", Text, S::RequestHeaders, l7::Fetch::Auth(Credential::Pass)),
    l7!("http_auth_type", Text, S::RequestHeaders, l7::Fetch::Auth(Credential::Type)),
    e("http_auth_bearer", Text, S::RequestHeaders, |m| l7::bearer(m)).args(&[Str], 0),
    // ------------------------------------------------------------ the response
    l7!("status", Sint, S::Response, l7::Fetch::Status),
    l7!("res.ver", Text, S::Response, l7::Fetch::Version(Of::Response)),
    l7!("resp_ver", Text, S::Response, l7::Fetch::Version(Of::Response)).both(Method::Str),
    header!("res.hdr", Of::Response, Text, HeaderAs::Text, false, S::ResponseHeaders),
    header!("shdr", Of::Response, Text, HeaderAs::Text, false, S::ResponseHeaders),
    header!("res.fhdr", Of::Response, Text, HeaderAs::Text, true, S::ResponseHeaders),
    header!("res.hdr_ip", Of::Response, Addr, HeaderAs::Address, false, S::ResponseHeaders),
    header!("shdr_ip", Of::Response, Addr, HeaderAs::Address, false, S::ResponseHeaders),
    header!("res.hdr_val", Of::Response, Sint, HeaderAs::Number, false, S::ResponseHeaders),
    header!("shdr_val", Of::Response, Sint, HeaderAs::Number, false, S::ResponseHeaders),
    header_count!("res.hdr_cnt", Of::Response, false, S::ResponseHeaders),
    header_count!("shdr_cnt", Of::Response, false, S::ResponseHeaders),
    header_count!("res.fhdr_cnt", Of::Response, true, S::ResponseHeaders),
    e("res.hdr_names", Text, S::ResponseHeaders, |m| l7::header_names(Of::Response, m)).args(&[Str], 0),
    l7!("res.hdrs", Bin, S::ResponseHeaders, l7::Fetch::Headers(Of::Response)),
    l7!("res.hdrs_bin", Bin, S::ResponseHeaders, l7::Fetch::HeadersBinary(Of::Response)),
    cookie!("res.cook", Of::Response, Text, CookieAs::Text, S::ResponseHeaders),
    cookie!("scook", Of::Response, Text, CookieAs::Text, S::ResponseHeaders),
    cookie!("res.cook_val", Of::Response, Sint, CookieAs::Number, S::ResponseHeaders),
    cookie!("scook_val", Of::Response, Sint, CookieAs::Number, S::ResponseHeaders),
    cookie_count!("res.cook_cnt", Of::Response, S::ResponseHeaders),
    cookie_count!("scook_cnt", Of::Response, S::ResponseHeaders),
    e("res.cook_names", Text, S::ResponseHeaders, |m| l7::cookie_names(Of::Response, m)).args(&[Str], 0),
    l7!("res.body", Bin, S::ResponseBody, l7::Fetch::Body(Of::Response)),
    l7!("res.body_len", Sint, S::ResponseBody, l7::Fetch::BodyLen(Of::Response)),
    l7!("res.body_size", Sint, S::ResponseBody, l7::Fetch::BodySize(Of::Response)),
    e("capture.res.hdr", Text, S::Response, |m| l7::capture(Of::Response, m)).args(&[Int], 1),
    l7!("capture.res.ver", Text, S::Request, l7::Fetch::ResponseVersion),
];
