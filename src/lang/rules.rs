//! Rules: an action and the condition under which it is taken. Lists of them are evaluated by a [`Cursor`]
//! that a stream holds, so that it can stop and go on (configuration.txt 4.2, `http-request` and its kin).

use std::sync::Arc;

use regex::bytes::Regex;

use super::acl::Condition;
use super::expr::Expr;
use super::logformat::LogFormat;
use super::source::Span;
use super::subject::VarId;

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub action: Action,
    pub when: Option<Condition>,
    pub span: Span,
}

/// A place in a list of rules where evaluation stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Which list of those that apply one after the other, and the next rule in it.
    pub list: u16,
    pub rule: u32,
}

/// How names of headers are matched by `del-header`.
#[derive(Clone, Debug)]
pub enum NameMatch {
    Exact(Box<[u8]>),
    Begin(Box<[u8]>),
    End(Box<[u8]>),
    Sub(Box<[u8]>),
    Reg(Regex),
}

/// An answer of our own.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: ReplyBody,
    pub headers: Vec<(LogFormat, LogFormat)>,
}

#[derive(Clone, Debug)]
pub enum ReplyBody {
    /// The page of that status in force for the proxy: `errorfile`, `http-error`, else the default one.
    Page,
    /// A whole raw answer from an `errorfile`, head and body, sent as it is.
    Raw(Arc<[u8]>),
    /// No body at all.
    Empty,
    Text {
        content_type: Box<[u8]>,
        text: Arc<[u8]>,
    },
    Format {
        content_type: Box<[u8]>,
        format: LogFormat,
    },
}

#[derive(Clone, Debug)]
pub enum RedirectTo {
    Location(LogFormat),
    Prefix(LogFormat),
    Scheme(LogFormat),
}

#[derive(Clone, Debug)]
pub struct Redirect {
    pub to: RedirectTo,
    /// 301, 302, 303, 307 or 308.
    pub code: u16,
    pub drop_query: bool,
    pub append_slash: bool,
    pub ignore_empty: bool,
    pub keep_query: bool,
    /// Value of the Set-Cookie header to add.
    pub cookie: Option<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalizer {
    FragmentEncode,
    FragmentStrip,
    PathMergeSlashes,
    PathStripDot,
    PathStripDotdot { full: bool },
    PercentDecodeUnreserved { strict: bool },
    PercentToUppercase { strict: bool },
    QuerySortByName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    Client,
    Server,
    Connect,
    Queue,
    Tarpit,
    Tunnel,
}

/// A fixed number or an expression that gives one.
#[derive(Clone, Debug)]
pub enum Number {
    Fixed(i64),
    Of(Expr),
}

/// What a rule does. Final ones end the evaluation of their rule set.
#[derive(Clone, Debug)]
pub enum Action {
    // final
    Allow,
    /// `deny`: an answer instead of a forwarded message.
    Deny(Reply),
    /// The answer of `deny`, `timeout tarpit` later.
    Tarpit(Reply),
    Return(Reply),
    Redirect(Redirect),
    /// 401, or 407 to a proxy's client; the realm.
    Auth(LogFormat),
    /// Close without an answer; `silent-drop` without even a FIN.
    Reject,
    SilentDrop,
    /// `tcp-response content close`.
    Close,
    // messages
    AddHeader(LogFormat, LogFormat),
    SetHeader(LogFormat, LogFormat),
    DelHeader(NameMatch),
    ReplaceHeader(Box<[u8]>, Regex, LogFormat),
    ReplaceValue(Box<[u8]>, Regex, LogFormat),
    EarlyHint(LogFormat, LogFormat),
    SetMethod(LogFormat),
    SetPath(LogFormat),
    SetPathq(LogFormat),
    SetQuery(LogFormat),
    SetUri(LogFormat),
    ReplacePath(Regex, LogFormat),
    ReplacePathq(Regex, LogFormat),
    ReplaceUri(Regex, LogFormat),
    Normalize(Normalizer),
    SetStatus(u16, Option<Box<[u8]>>),
    // the stream
    /// `None`: silent.
    SetLogLevel(Option<u8>),
    SetNice(i32),
    SetClientMark(Number),
    SetClientTos(Number),
    SetServerMark(Number),
    SetServerTos(Number),
    SetTimeout(Timeout, Number),
    SetRetries(Number),
    SetVar(VarId, Expr),
    SetVarFmt(VarId, LogFormat),
    UnsetVar(VarId),
    /// `capture <expr> len <n>` or `id <slot>`: the slot and its bytes at most.
    CaptureRequest(Expr, u32, u32),
    CaptureResponse(Expr, u32, u32),
    SetSrc(Expr),
    SetSrcPort(Expr),
    SetDst(Expr),
    SetDstPort(Expr),
    StrictMode(bool),
    /// Most milliseconds to wait, fewest bytes to have (0: all).
    WaitForBody(u32, u64),
    Pause(Number),
    /// `tcp-request content switch-mode http`.
    SwitchHttp,
    /// `tcp-request connection expect-proxy layer4`.
    ExpectProxy,
}
