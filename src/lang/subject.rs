//! What expressions ask: the one seam between the configuration language and a live stream.
//!
//! The drivers implement [`Subject`]; everything that can be worked out from its answers (headers,
//! cookies, parameters, paths) is the language's. `None` always means "there is none (yet)".

use std::net::SocketAddr;

use super::expr::Needs;
use super::sample::Value;
use crate::proto::http::Head;

/// A part of a message at hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes<'a> {
    pub bytes: &'a [u8],
    /// Nothing more will come.
    pub complete: bool,
    /// Length announced by Content-Length, for bodies.
    pub announced: Option<u64>,
}

/// A proxy named by an expression, by index of `Config::proxies`; `None` means the one at hand.
pub type ProxyRef = Option<u32>;
/// A server named by an expression, by index of `Config::servers`; `None` means the one at hand.
pub type ServerRef = Option<u32>;

/// A variable: where it lives and its number in the table of names of that configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VarId {
    pub scope: Scope,
    pub name: u32,
}

/// Lifetime of a variable (configuration.txt, `set-var`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    Proc,
    Sess,
    /// Request and response.
    Txn,
    Req,
    Res,
    Check,
}

/// Single facts about the stream, its proxies and the process. Times are milliseconds unless the name
/// says otherwise; -1 where a stage was not reached, as in the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    // the process
    /// Microseconds since the epoch, now.
    NowUs,
    /// A random 32-bit number.
    Random,
    Pid,
    NbThread,
    Thread,
    Hostname,
    Node,
    ActConn,
    UptimeS,
    /// Seconds that local time is ahead of UTC at a moment given in seconds since the epoch.
    LocalOffsetS(u64),
    // the client's connection
    /// Microseconds since the epoch when the connection was accepted, and when the request began.
    AcceptDateUs,
    RequestDateUs,
    HandshakeMs,
    /// The client's first request on this connection.
    FirstRequest,
    /// `luid` and name of the bind.
    BindId,
    BindName,
    BindConn,
    ReceivedProxy,
    DstIsLocal,
    SrcIsLocal,
    /// Round trip to the client in microseconds, and its variance.
    ClientRttUs,
    ClientRttVarUs,
    /// Errno of the connection, 0 none.
    ClientErr,
    ServerErr,
    // the stream
    IdleMs,
    RequestHeadMs,
    QueueMs,
    ConnectMs,
    ResponseHeadMs,
    ResponseDataMs,
    /// `%Ta`, `%Tt`, `%Tu`.
    ActiveMs,
    TotalMs,
    UserMs,
    /// Bytes received from and sent to the client; received from and sent to the server.
    ClientIn,
    ClientOut,
    ServerIn,
    ServerOut,
    /// Status sent to the client, none (`%ST`: -1) until there is one, 0 in TCP; status the server gave.
    Status,
    ServerStatus,
    Retries,
    Redispatched,
    /// Two letters, or four in HTTP with the cookie's.
    TermState,
    /// `%rt`: the number of this stream or TCP session in the process.
    StreamId,
    UniqueId,
    /// `%lc`: lines that the frontend logged before this one.
    LogCounter,
    /// The line is written before the end (`option logasap`): what may grow gets a plus sign. Yes or no.
    LogAsap,
    /// `%OG`: the step that the line is made at, such as `txn_close`.
    LogOrigin,
    /// `%s` where something of ours answered in place of a server: `<STATS>`, `<PROMEX>`.
    Applet,
    /// Requests before it in the server's and the backend's queue.
    ServerQueuePos,
    BackendQueuePos,
    ServerReused,
    /// `%CC`, `%CS`: captured cookies of request and response.
    RequestCookie,
    ResponseCookie,
    /// Milliseconds in force: `cur_*_timeout`.
    CurClientTimeout,
    CurServerTimeout,
    CurTunnelTimeout,
    CurConnectTimeout,
    CurQueueTimeout,
    CurTarpitTimeout,
    /// File and line of the last final rule, `last_rule_file`, `last_rule_line`.
    LastRuleFile,
    LastRuleLine,
    // proxies
    FrontId,
    FrontName,
    FrontDefaultBackend,
    FrontConn(ProxyRef),
    FrontReqRate(ProxyRef),
    FrontSessRate(ProxyRef),
    FrontClientTimeout,
    FrontTarpitTimeout,
    BackId,
    BackName,
    BackConn(ProxyRef),
    BackConnFree(ProxyRef),
    BackSessRate(ProxyRef),
    BackServerTimeout,
    BackTunnelTimeout,
    BackConnectTimeout,
    BackQueueTimeout,
    BackTarpitTimeout,
    /// Streams queued in the backend and its servers; the same by server; usable servers; free places.
    BackQueue(ProxyRef),
    BackAvgQueue(ProxyRef),
    BackServers(ProxyRef),
    BackSlots(ProxyRef),
    // servers
    ServerId,
    ServerName,
    ServerConn(ServerRef),
    ServerConnFree(ServerRef),
    ServerIsUp(ServerRef),
    ServerQueue(ServerRef),
    ServerSessRate(ServerRef),
    ServerWeight(ServerRef),
    ServerInitialWeight(ServerRef),
    ServerUserWeight(ServerRef),
}

/// Counts of connections when asked, for `%ac %fc %bc %sc`: at the end of a stream less itself where haproxy does so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogCount {
    Process,
    Frontend,
    Backend,
    Server,
}

/// What a user list knows of one user.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    pub secret: Secret<'a>,
    pub groups: &'a [String],
}

/// A user's password.
#[derive(Clone, Copy, Debug)]
pub enum Secret<'a> {
    Plain(&'a [u8]),
    /// Only [`Subject::password`] can tell.
    Hashed,
    /// None is right.
    Nobody,
}

/// See the module.
pub trait Subject {
    /// The request's head as it stands now (edited by rules so far). It stays at hand while the response is handled.
    fn request(&self) -> Option<&Head> {
        None
    }
    /// The response's head as it stands now.
    fn response(&self) -> Option<&Head> {
        None
    }
    /// What is buffered of the request's body (`wait-for-body`).
    fn request_body(&self) -> Option<Bytes<'_>> {
        None
    }
    fn response_body(&self) -> Option<Bytes<'_>> {
        None
    }
    /// What the client, or the server, sent so far, before anything is parsed (layer 6, TCP mode).
    fn request_bytes(&self) -> Option<Bytes<'_>> {
        None
    }
    fn response_bytes(&self) -> Option<Bytes<'_>> {
        None
    }
    /// `src`, `dst`: as PROXY headers and `set-src`, `set-dst` left them.
    fn src(&self) -> Option<SocketAddr> {
        None
    }
    fn dst(&self) -> Option<SocketAddr> {
        None
    }
    /// `fc_src`, `fc_dst`: of the client's connection; `bc_src`, `bc_dst`: of the server's.
    fn client_ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.src(), self.dst())
    }
    fn server_ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (None, None)
    }
    /// Numbers come as `Int`, names as `Str`, yes and no as `Bool`.
    fn fact(&self, _fact: Fact) -> Option<Value<'_>> {
        None
    }
    fn var(&self, _id: VarId) -> Option<Value<'_>> {
        None
    }
    /// Sets a variable, or unsets it: the converters `set-var` and `unset-var`, met while an expression is evaluated.
    /// Values that [`Subject::var`] gave out before stay at hand: see [`Changes`](super::changes::Changes), which keeps
    /// what is set until the evaluation ends.
    fn set_var(&self, _id: VarId, _value: Option<Value<'_>>) {}
    /// The converters `capture-req` and `capture-res`: keeps the text in the slot, cut to the slot's length. `false`:
    /// there is no such slot.
    fn set_request_capture(&self, _index: usize, _text: &[u8]) -> bool {
        false
    }
    fn set_response_capture(&self, _index: usize, _text: &[u8]) -> bool {
        false
    }
    /// What a name known only now means: a proxy with the capability of a backend, or of a frontend.
    fn backend_named(&self, _name: &[u8]) -> Option<u32> {
        None
    }
    fn frontend_named(&self, _name: &[u8]) -> Option<u32> {
        None
    }
    /// A server by name, of the backend named or else of the stream's.
    fn server_named(&self, _backend: Option<&[u8]>, _name: &[u8]) -> Option<u32> {
        None
    }
    /// Captured value of slot `index`: request or response header captures in order of declaration.
    fn request_capture(&self, _index: usize) -> Option<&[u8]> {
        None
    }
    fn response_capture(&self, _index: usize) -> Option<&[u8]> {
        None
    }
    /// `capture.req.method`, `.uri`, `.ver`: the request line as it came, before any rule. (`%r`, `%HM`, `%HU`.)
    fn original_request(&self) -> Option<(&[u8], &[u8], &[u8])> {
        None
    }
    /// Number of captures the frontend declared, for request and response.
    fn captures(&self) -> (usize, usize) {
        (0, 0)
    }
    /// A count for a log line.
    fn log_count(&self, _which: LogCount) -> u32 {
        0
    }
    /// What is not at hand and may still come: a test that fails for lack of it is not decided yet. Nothing at the end
    /// of `inspect-delay`.
    fn pending(&self) -> Needs {
        Needs::default()
    }
    /// A user of a list, by index of `Config::userlists`.
    fn user(&self, _userlist: u32, _name: &[u8]) -> Option<Login<'_>> {
        None
    }
    /// What a slow password hash of this user said, if it was worked out already: `http_auth` asks for it first.
    fn password(&self, _userlist: u32, _user: &[u8], _password: &[u8]) -> Option<bool> {
        None
    }
}
