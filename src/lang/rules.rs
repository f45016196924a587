//! Rules: an action and the condition under which it is taken. Lists of them are evaluated by a [`Cursor`]
//! that a stream holds, so that it can stop and go on (configuration.txt 4.2, `http-request` and its kin).

pub mod act;
pub mod parse;
pub mod redirect;
pub mod reply;
pub mod uri;

#[cfg(test)]
mod fixture;

use regex::bytes::Regex;

use super::acl::{Acls, Condition};
use super::expr::{Expr, Needs, Settle};
use super::fetch::Place;
use super::logformat::LogFormat;
use super::source::Span;
use super::subject::VarId;

pub use act::{Effect, RuleError};
pub use redirect::{Redirect, RedirectTo};
pub use reply::{Reply, ReplyBody};

/// Which list a rule stands in; decides what it may do and what is at hand when it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSet {
    TcpConnection,
    TcpSession,
    TcpRequest,
    TcpResponse,
    HttpRequest,
    HttpResponse,
    HttpAfterResponse,
}

impl RuleSet {
    /// The words that open its lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::TcpConnection => "tcp-request connection",
            Self::TcpSession => "tcp-request session",
            Self::TcpRequest => "tcp-request content",
            Self::TcpResponse => "tcp-response content",
            Self::HttpRequest => "http-request",
            Self::HttpResponse => "http-response",
            Self::HttpAfterResponse => "http-after-response",
        }
    }
    pub fn is_http(self) -> bool {
        matches!(
            self,
            Self::HttpRequest | Self::HttpResponse | Self::HttpAfterResponse
        )
    }
    /// Where its expressions stand: in frontends, in backends.
    pub fn places(self) -> [Place; 2] {
        match self {
            Self::TcpConnection => [Place::FrontTcpConnection; 2],
            Self::TcpSession => [Place::FrontTcpSession; 2],
            Self::TcpRequest => [Place::FrontTcpContent, Place::BackTcpContent],
            Self::TcpResponse => [Place::FrontTcpResponse, Place::BackTcpResponse],
            Self::HttpRequest => [Place::FrontRequestHeader, Place::BackRequestHeader],
            Self::HttpResponse | Self::HttpAfterResponse => {
                [Place::FrontResponseHeader, Place::BackResponseHeader]
            }
        }
    }
}

/// The section a rule stands in.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// `frontend`, `backend`, `listen`, `defaults`.
    pub kind: &'a str,
    pub name: &'a str,
    /// Has a frontend, a backend; `defaults` may have either.
    pub front: bool,
    pub back: bool,
}

impl Section<'_> {
    /// How haproxy's messages call it.
    pub fn called(&self) -> &str {
        match self.kind {
            "listen" => "proxy",
            other => other,
        }
    }
    /// Of the places in frontends and backends those that it has.
    pub fn places(&self, [front, back]: [Place; 2]) -> impl Iterator<Item = Place> + Clone {
        let front = self.front.then_some(front);
        front.into_iter().chain(self.back.then_some(back))
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub action: Action,
    pub when: Option<Condition>,
    pub span: Span,
}

impl Rule {
    /// Settles the names its condition, expressions and formats mention.
    ///
    /// # Errors
    /// haproxy's message about a name that does not exist.
    pub fn settle(&mut self, acls: &Acls, names: &dyn Settle) -> Result<(), String> {
        if let Some(when) = &mut self.when {
            when.settle(acls, names)?;
        }
        self.action.settle(names)
    }
    /// What must be at hand for its condition and its action.
    pub fn needs(&self) -> Needs {
        let when = self
            .when
            .as_ref()
            .map_or_else(Needs::default, Condition::needs);
        when.with(self.action.needs())
    }
    /// Ends its list whatever is asked: the rules behind it are never reached.
    pub fn is_final(&self) -> bool {
        self.when.is_none() && self.action.is_final()
    }
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

/// What `use-service` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    PrometheusExporter,
}

/// A fixed number or an expression that gives one.
#[derive(Clone, Debug)]
pub enum Number {
    Fixed(i64),
    Of(Expr),
}

/// The slot of a `capture … len` before its section numbers it.
pub const NEW_SLOT: u32 = u32::MAX;
/// As many bytes as the slot has.
pub const ANY_LEN: u32 = u32::MAX;

/// When `set-var` sets: all conditions of the list must hold (configuration.txt 7.3.1, `set-var`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SetIf(pub u8);

impl SetIf {
    /// The variable was made before.
    pub const EXISTS: u8 = 1;
    pub const NOT_EXISTS: u8 = 2;
    /// What would be set is text without a byte.
    pub const EMPTY: u8 = 4;
    pub const NOT_EMPTY: u8 = 8;
    /// The variable has a value.
    pub const SET: u8 = 16;
    pub const NOT_SET: u8 = 32;
    /// The variable is a number above, below the one that would be set; other types do not count.
    pub const GREATER: u8 = 64;
    pub const LESS: u8 = 128;
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
    /// An answer of the balancer about itself.
    UseService(Service),
    /// 401, or 407 to a proxy's client; the realm, settled to the proxy's name where none is written.
    Auth(Option<Box<[u8]>>),
    /// Close without an answer; `silent-drop` without even a FIN.
    Reject,
    SilentDrop,
    /// `tcp-response content close`.
    Close,
    // messages
    /// Names are fixed, values are formats.
    AddHeader(Box<[u8]>, LogFormat),
    SetHeader(Box<[u8]>, LogFormat),
    DelHeader(NameMatch),
    ReplaceHeader(Box<[u8]>, Regex, LogFormat),
    ReplaceValue(Box<[u8]>, Regex, LogFormat),
    /// A field of a 103 answer that is sent at once; those of rules in a row go into one.
    EarlyHint(Box<[u8]>, LogFormat),
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
    SetVar(VarId, SetIf, Expr),
    SetVarFmt(VarId, SetIf, LogFormat),
    UnsetVar(VarId),
    /// `capture <expr> len <n>` or `id <slot>`: the slot and its bytes at most. A slot of its own (`len`) is
    /// [`NEW_SLOT`] until the section gives it one; in a backend `id` keeps [`ANY_LEN`]: the frontend's slot decides.
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
    /// `disable-l7-retry`: a request that was sent once is not sent again.
    DisableRetry,
    /// `tcp-request content switch-mode http`.
    SwitchHttp,
    /// `tcp-request connection expect-proxy layer4`.
    ExpectProxy,
}

/// Expressions and formats of an action, wherever they stand in it.
enum Part<'a> {
    Expr(&'a mut Expr),
    Format(&'a mut LogFormat),
}

impl Action {
    /// Ends the evaluation of its list.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Allow
                | Self::Deny(_)
                | Self::Tarpit(_)
                | Self::Return(_)
                | Self::Redirect(_)
                | Self::UseService(_)
                | Self::Auth(_)
                | Self::Reject
                | Self::SilentDrop
                | Self::Close
        )
    }

    fn settle(&mut self, names: &dyn Settle) -> Result<(), String> {
        if let Self::Deny(reply) | Self::Tarpit(reply) | Self::Return(reply) = self {
            return reply.settle(names);
        }
        if let Self::Auth(realm @ None) = self {
            *realm = Some(names.here().as_bytes().into());
        }
        match self.part_mut() {
            Some(Part::Expr(expr)) => expr.settle(names),
            Some(Part::Format(format)) => format.settle(names),
            None => Ok(()),
        }
    }

    /// What its expression or format needs.
    pub fn needs(&self) -> Needs {
        match self {
            Self::Deny(reply) | Self::Tarpit(reply) | Self::Return(reply) => reply.needs(),
            Self::Redirect(redirect) => redirect.to.format().needs(),
            Self::AddHeader(_, f)
            | Self::SetHeader(_, f)
            | Self::ReplaceHeader(_, _, f)
            | Self::ReplaceValue(_, _, f)
            | Self::EarlyHint(_, f)
            | Self::SetMethod(f)
            | Self::SetPath(f)
            | Self::SetPathq(f)
            | Self::SetQuery(f)
            | Self::SetUri(f)
            | Self::ReplacePath(_, f)
            | Self::ReplacePathq(_, f)
            | Self::ReplaceUri(_, f)
            | Self::SetVarFmt(_, _, f) => f.needs(),
            Self::SetClientMark(Number::Of(e))
            | Self::SetClientTos(Number::Of(e))
            | Self::SetServerMark(Number::Of(e))
            | Self::SetServerTos(Number::Of(e))
            | Self::SetTimeout(_, Number::Of(e))
            | Self::SetRetries(Number::Of(e))
            | Self::Pause(Number::Of(e))
            | Self::SetVar(_, _, e)
            | Self::CaptureRequest(e, _, _)
            | Self::CaptureResponse(e, _, _)
            | Self::SetSrc(e)
            | Self::SetSrcPort(e)
            | Self::SetDst(e)
            | Self::SetDstPort(e) => e.needs(),
            _ => Needs::default(),
        }
    }

    fn part_mut(&mut self) -> Option<Part<'_>> {
        Some(match self {
            Self::Redirect(redirect) => Part::Format(redirect.to.format_mut()),
            Self::AddHeader(_, f)
            | Self::SetHeader(_, f)
            | Self::ReplaceHeader(_, _, f)
            | Self::ReplaceValue(_, _, f)
            | Self::EarlyHint(_, f)
            | Self::SetMethod(f)
            | Self::SetPath(f)
            | Self::SetPathq(f)
            | Self::SetQuery(f)
            | Self::SetUri(f)
            | Self::ReplacePath(_, f)
            | Self::ReplacePathq(_, f)
            | Self::ReplaceUri(_, f)
            | Self::SetVarFmt(_, _, f) => Part::Format(f),
            Self::SetClientMark(Number::Of(e))
            | Self::SetClientTos(Number::Of(e))
            | Self::SetServerMark(Number::Of(e))
            | Self::SetServerTos(Number::Of(e))
            | Self::SetTimeout(_, Number::Of(e))
            | Self::SetRetries(Number::Of(e))
            | Self::Pause(Number::Of(e))
            | Self::SetVar(_, _, e)
            | Self::CaptureRequest(e, _, _)
            | Self::CaptureResponse(e, _, _)
            | Self::SetSrc(e)
            | Self::SetSrcPort(e)
            | Self::SetDst(e)
            | Self::SetDstPort(e) => Part::Expr(e),
            _ => return None,
        })
    }
}
