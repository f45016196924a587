//! How servers are probed: the typed sequences of `http-check`, `tcp-check` and the `option …` that choose them.
//!
//! A [`Sequence`] is what is said and expected, step by step, whatever wrote it: lines of the file, or an option such
//! as `option httpchk` whose steps are built in. `backend::sequence` carries it out.

use std::net::IpAddr;
use std::sync::Arc;

use regex::bytes::Regex;

use crate::lang::expr::Expr;
use crate::lang::logformat::LogFormat;
use crate::lang::rules::SetIf;
use crate::lang::source::Span;
use crate::lang::subject::VarId;
use crate::proto::check::Status;

/// How servers of a backend with `check` are probed.
#[derive(Clone, Debug, Default)]
pub enum CheckKind {
    #[default]
    TcpConnect,
    /// `option ssl-hello-chk`.
    SslHello,
    Sequence(Arc<Sequence>),
    /// `option external-check`.
    External(Arc<External>),
}

/// A command that checks servers.
#[derive(Clone, Debug)]
pub struct External {
    pub command: String,
    /// `PATH` of the command, and where it is looked for.
    pub path: String,
    /// `external-check preserve-env`: it sees the environment of the process, too.
    pub preserve_env: bool,
    /// `insecure-fork-wanted`: without it every check fails.
    pub allowed: bool,
}

/// Who speaks in a sequence, which decides the words of its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `option tcp-check`: results name the step.
    Tcp,
    /// `option httpchk`.
    Http,
    /// What is built in.
    Plain,
}

/// Steps in order; see the module.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub style: Style,
    pub steps: Vec<Step>,
    /// `http-check disable-on-404`: 404 takes a server that is up out of the load without marking it down.
    pub disable_on_404: bool,
    /// `http-check send-state`.
    pub send_state: bool,
}

/// One step, and what is said about it if it fails.
#[derive(Clone, Debug)]
pub struct Step {
    pub what: What,
    pub comment: Option<Box<str>>,
    /// Its number in messages; 0: not written in the file.
    pub number: u16,
    /// `None`: not written.
    pub span: Option<Span>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum What {
    /// Only the comment, which is that of the next step.
    Comment,
    Connect(Connect),
    Send(Payload),
    Request(Request),
    Expect(Box<Expect>),
    SetVar(VarId, SetIf, Expr),
    SetVarFmt(VarId, SetIf, LogFormat),
    UnsetVar(VarId),
}

/// A new connection, in place of the one before.
#[derive(Clone, Debug, Default)]
pub struct Connect {
    /// `None`: where the probe of the server goes.
    pub port: Option<Port>,
    pub addr: Option<IpAddr>,
    /// `default`, or not written: as the server line says (its PROXY header).
    pub as_server: bool,
    pub send_proxy: bool,
    /// By the server's SOCKS4 proxy.
    pub via_socks4: bool,
    /// Ended by FIN in place of RST.
    pub linger: bool,
}

#[derive(Clone, Debug)]
pub enum Port {
    Fixed(u16),
    Of(Expr),
}

/// Bytes to be sent or looked for.
#[derive(Clone, Debug)]
pub enum Payload {
    Bytes(Box<[u8]>),
    Text(LogFormat),
    /// Gives hexadecimal digits.
    Hex(LogFormat),
    /// A TLS ClientHello, another one each time.
    TlsHello,
}

/// `http-check send` with what `option httpchk` adds.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Box<[u8]>,
    pub uri: Payload,
    /// As `ver` said: whether it is 1.1.
    pub version: Option<bool>,
    /// HTTP/1.1; else 1.0.
    pub v11: bool,
    pub fields: Vec<(Box<[u8]>, Payload)>,
    pub body: Option<Payload>,
}

/// What has to come, and what is said about it.
#[derive(Clone, Debug)]
pub struct Expect {
    pub what: Match,
    pub negated: bool,
    /// Bytes before it is evaluated; with it a mismatch is conclusive. `None`: more is waited for.
    pub min_recv: Option<usize>,
    pub ok: Status,
    /// `None`: what the match says.
    pub error: Option<Status>,
    pub timeout: Status,
    pub on_success: Option<LogFormat>,
    pub on_error: Option<LogFormat>,
    pub code: Option<Expr>,
}

impl Expect {
    pub fn new(what: Match) -> Self {
        Self {
            what,
            negated: false,
            min_recv: None,
            ok: Status::L7Ok,
            error: None,
            timeout: Status::L7Tout,
            on_success: None,
            on_error: None,
            code: None,
        }
    }
}

/// What is looked for: in the bytes that came in TCP, in the body of an HTTP answer, or in its head.
#[derive(Clone, Debug)]
pub enum Match {
    String(Box<[u8]>),
    Binary(Box<[u8]>),
    Regex(Regex),
    /// On the bytes as hexadecimal digits in capitals.
    BinaryRegex(Regex),
    Format(LogFormat),
    BinaryFormat(LogFormat),
    /// Ranges of status codes, both ends included.
    Status(Vec<(u16, u16)>),
    StatusRegex(Regex),
    Field(FieldMatch),
    /// An answer in a protocol that is built in.
    Spoken(Spoken),
}

/// Protocols whose answers are understood without being told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// A record of TLS.
    Tls,
    Smtp,
    Redis,
    Ldap,
    Pgsql,
    Mysql,
    /// The line of an agent.
    Agent,
}

/// `hdr`, `fhdr`.
#[derive(Clone, Debug)]
pub struct FieldMatch {
    /// `fhdr`: commas do not part values.
    pub full: bool,
    pub name: Pattern,
    pub value: Option<Pattern>,
}

/// A pattern with its way to match (`-m`).
#[derive(Clone, Debug)]
pub enum Pattern {
    Text(How, Payload),
    Regex(Regex),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Str,
    Beg,
    End,
    Sub,
}

impl CheckKind {
    /// The steps of it.
    pub fn sequence(&self) -> Arc<Sequence> {
        let connect = What::Connect(Connect {
            as_server: true,
            ..Connect::default()
        });
        match self {
            Self::Sequence(sequence) => Arc::clone(sequence),
            Self::External(_) => Sequence::plain(Vec::new()).into(),
            Self::TcpConnect => Sequence::plain(vec![connect]).into(),
            Self::SslHello => {
                let expect = Expect {
                    timeout: Status::L6Tout,
                    error: Some(Status::L6Rsp),
                    ..Expect::new(Match::Spoken(Spoken::Tls))
                };
                let steps = vec![
                    connect,
                    What::Send(Payload::TlsHello),
                    What::Expect(Box::new(expect)),
                ];
                let mut sequence = Sequence::plain(steps);
                sequence.steps[2].number = 2;
                sequence.into()
            }
        }
    }
}

impl super::model::Agent {
    /// How it is talked to: it is sent `send`, if that is anything.
    pub fn sequence(send: &[u8]) -> Sequence {
        let mut steps = vec![What::Connect(Connect::default())];
        if !send.is_empty() {
            steps.push(What::Send(Payload::Bytes(send.into())));
        }
        steps.push(What::Expect(Box::new(Expect::new(Match::Spoken(
            Spoken::Agent,
        )))));
        let mut sequence = Sequence::plain(steps);
        if let Some(last) = sequence.steps.last_mut() {
            // As haproxy counts.
            last.number = 2;
        }
        sequence
    }
}

impl Sequence {
    /// Steps that are built in.
    pub(super) fn plain(steps: Vec<What>) -> Self {
        let steps = steps.into_iter().map(|what| Step {
            what,
            comment: None,
            number: 0,
            span: None,
        });
        Self {
            style: Style::Plain,
            steps: steps.collect(),
            disable_on_404: false,
            send_state: false,
        }
    }
    /// Statuses 2xx and 3xx, as every HTTP check ends that expects nothing else.
    pub(super) fn usual_status() -> Match {
        Match::Status(vec![(200, 399)])
    }
}
