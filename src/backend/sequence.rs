//! A probe's dialogue, step by step (`http-check`, `tcp-check`): what to do next, and what came of it.
//!
//! Sans-IO. The driver asks [`Run::next`] and does what it says: connect, send, receive. It tells what happened by
//! [`Run::connected`], [`Run::sent`], [`Run::received`] and [`Run::ended`], and by [`Run::broken`] or
//! [`Run::timeout`] what ended it early. Results and their words were compared with haproxy 2.6.12.

use std::net::SocketAddr;

use crate::config::checks::*;
use crate::lang::changes::{Change, Changes};
use crate::lang::expr::Expr;
use crate::lang::fetch::unhex;
use crate::lang::logformat::LogFormat;
use crate::lang::sample::{Arena, Kind, Owned, Value};
use crate::lang::subject::{Bytes, Fact, LogCount, Subject, VarId};
use crate::proto::check::agent::agent_answer;
use crate::proto::check::services;
use crate::proto::check::{
    ANSWER_MAX, Answer, Status, http_body, http_head, os_text, shown, ssl_answer, ssl_hello,
};
use crate::proto::http::Head;

/// What a run needs of the world around it.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// Facts of the place; what the dialogue itself knows is added to it.
    pub outer: &'a dyn Subject,
    pub arena: &'a Arena,
    /// The server as `http-check send-state` tells it.
    pub state: &'a dyn Fn() -> String,
    /// For what has to differ from run to run.
    pub seed: u64,
    /// The server is not down: 404 may take it out of the load gently.
    pub up: bool,
}

impl std::fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene")
            .field("up", &self.up)
            .finish_non_exhaustive()
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Next {
    /// Close what is open and connect as the step says; with the port its expression gave, where it has one.
    Connect(Connect, Option<u16>),
    Send(Vec<u8>),
    Receive,
    Done(Answer),
}

/// One run through a sequence.
#[derive(Debug, Default)]
pub struct Run {
    /// The step in hand.
    at: usize,
    /// All that came since the last connection or question.
    input: Vec<u8>,
    /// Nothing more will come.
    ended: bool,
    /// The head of an HTTP answer, its body as far as it came, and whether that is all of it.
    head: Option<Head>,
    body: Vec<u8>,
    whole: bool,
    vars: Vec<(VarId, Owned)>,
    /// The last good answer in a protocol that is built in.
    said: Option<Answer>,
}

/// What a step that listens has heard.
enum Heard {
    Good,
    More,
    Bad(Answer),
}

/// What a proxy on the way did, by the numbers that the engine has for it, in haproxy's words.
const PROXY_ERRORS: [(i32, &str); 2] = [
    (-1, "SOCKS4 Proxy deny the request"),
    (-2, "SOCKS4 Proxy read error during handshake"),
];

impl Run {
    /// Goes through the steps until something is to be done outside.
    pub fn next(&mut self, sequence: &Sequence, scene: &Scene<'_>) -> Next {
        while let Some(step) = sequence.steps.get(self.at) {
            match &step.what {
                What::Comment => {}
                What::SetVar(id, when, expr) => {
                    if let Some(value) = self.value(expr, scene) {
                        let old = self.var(*id).map(Owned::borrow);
                        if when.holds(old, value.borrow()) {
                            self.set(*id, Some(value));
                        }
                    }
                }
                What::SetVarFmt(id, when, format) => {
                    let text = self.text(format, scene);
                    if when.holds(self.var(*id).map(Owned::borrow), Value::Str(&text)) {
                        self.set(*id, Some(Owned::Str(text.into())));
                    }
                }
                What::UnsetVar(id) => self.set(*id, None),
                What::Connect(connect) => {
                    let port = match &connect.port {
                        Some(Port::Fixed(port)) => Some(*port),
                        Some(Port::Of(expr)) => match self.port(expr, scene) {
                            Some(port) => Some(port),
                            None => {
                                let info = self.located(sequence, step, String::new());
                                return Next::Done(with_info(Status::SockErr, info));
                            }
                        },
                        None => None,
                    };
                    return Next::Connect(connect.clone(), port);
                }
                What::Send(payload) => {
                    self.forget_input();
                    return match self.bytes(payload, scene) {
                        Some(bytes) => Next::Send(bytes),
                        None => {
                            let at = located_at(step);
                            let info = format!("TCPCHK invalid hexadecimal string{at}");
                            Next::Done(with_info(Status::L7Rsp, info))
                        }
                    };
                }
                What::Request(request) => {
                    self.forget_input();
                    return Next::Send(self.request(request, sequence, scene));
                }
                What::Expect(expect) => match self.listen(sequence, step, expect, scene) {
                    Heard::More => return Next::Receive,
                    Heard::Bad(answer) => return Next::Done(answer),
                    Heard::Good => {}
                },
            }
            self.at += 1;
        }
        Next::Done(self.passed(sequence, scene))
    }

    pub fn connected(&mut self) {
        self.forget_input();
        self.ended = false;
        self.at += 1;
    }

    /// All bytes of the last [`Next::Send`] went out.
    pub fn sent(&mut self) {
        self.at += 1;
    }

    pub fn received(&mut self, bytes: &[u8]) {
        let room = ANSWER_MAX.saturating_sub(self.input.len());
        self.input
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The server sends no more.
    pub fn ended(&mut self) {
        self.ended = true;
    }

    /// The connection could not be made, or broke: what the system said. `None`: what came before is still to be judged.
    pub fn broken(&mut self, sequence: &Sequence, errno: i32) -> Option<Answer> {
        let step = sequence.steps.get(self.at)?;
        let connects = matches!(step.what, What::Connect(_));
        if !connects && (!self.input.is_empty() || errno == 0) {
            self.ended = true;
            return None;
        }
        let proxy = PROXY_ERRORS.iter().find(|(code, _)| *code == errno);
        if let Some((_, text)) = proxy {
            return Some(with_info(
                Status::SockErr,
                self.located(sequence, step, (*text).to_owned()),
            ));
        }
        let status = if connects {
            Status::L4Con
        } else {
            Status::SockErr
        };
        Some(with_info(
            status,
            self.located(sequence, step, os_text(errno)),
        ))
    }

    /// The time is over.
    pub fn timeout(&self, sequence: &Sequence) -> Answer {
        let Some(step) = sequence.steps.get(self.at) else {
            return Answer::plain(Status::L7Tout);
        };
        let status = match &step.what {
            What::Connect(_) => Status::L4Tout,
            What::Expect(expect) => expect.timeout,
            _ => Status::L7Tout,
        };
        with_info(status, self.located(sequence, step, String::new()))
    }

    fn forget_input(&mut self) {
        self.input.clear();
        self.body.clear();
        self.head = None;
        self.whole = false;
    }

    // ------------------------------------------------------------ words of results

    /// `text at step 2 of tcp-check (expect string 'x') comment: 'y'`, which HTTP checks do without.
    fn located(&self, sequence: &Sequence, step: &Step, mut text: String) -> String {
        if sequence.style != Style::Tcp {
            return text;
        }
        if step.number == 0 {
            text.push_str(" at initial connection step of tcp-check");
        } else {
            let number = step.number;
            text.push_str(&format!(
                " at step {number} of tcp-check ({})",
                describe(&step.what)
            ));
        }
        if let Some(comment) = self.comment(sequence) {
            text.push_str(&format!(" comment: '{comment}'"));
        }
        text
    }

    /// That of the step in hand, else of a `comment` line right before it.
    fn comment<'s>(&self, sequence: &'s Sequence) -> Option<&'s str> {
        let step = sequence.steps.get(self.at)?;
        if step.comment.is_some() {
            return step.comment.as_deref();
        }
        let before = sequence.steps.get(self.at.checked_sub(1)?)?;
        match before.what {
            What::Comment => before.comment.as_deref(),
            _ => None,
        }
    }

    /// All steps are done.
    fn passed(&mut self, sequence: &Sequence, scene: &Scene<'_>) -> Answer {
        if let Some(said) = self.said.take() {
            return said;
        }
        let spoken = sequence.steps.iter().rev().find(|s| {
            matches!(
                s.what,
                What::Connect(_) | What::Send(_) | What::Request(_) | What::Expect(_)
            )
        });
        let tcp = sequence.style == Style::Tcp;
        let written = tcp && sequence.steps.iter().any(|s| s.number > 0);
        let usual = if written { "(tcp-check)" } else { "" };
        match spoken.map(|s| &s.what) {
            Some(What::Expect(expect)) => {
                let info = match &expect.on_success {
                    Some(format) => shown(&self.text(format, scene)),
                    None => usual.to_owned(),
                };
                Answer {
                    status: expect.ok,
                    code: self.code(expect, scene),
                    info,
                }
            }
            Some(What::Send(_) | What::Request(_)) => with_info(Status::L7Ok, usual.to_owned()),
            _ => with_info(Status::L4Ok, usual.to_owned()),
        }
    }

    /// `status-code`, else what the server said.
    fn code(&mut self, expect: &Expect, scene: &Scene<'_>) -> i32 {
        let own = expect.code.as_ref().and_then(|code| self.int(code, scene));
        let own = own.and_then(|n| u16::try_from(n).ok());
        let code = own.unwrap_or_else(|| self.head.as_ref().map_or(0, |head| head.status));
        code.into()
    }

    /// A mismatch: `on-error` or `info`, and the comment.
    fn failed(
        &mut self,
        sequence: &Sequence,
        expect: &Expect,
        scene: &Scene<'_>,
        (status, info): (Status, String),
    ) -> Heard {
        let mut info = match &expect.on_error {
            Some(format) => shown(&self.text(format, scene)),
            None => info,
        };
        if let Some(comment) = self.comment(sequence) {
            info.push_str(&format!(" comment: {comment}"));
        }
        Heard::Bad(Answer {
            status: expect.error.unwrap_or(status),
            code: self.code(expect, scene),
            info,
        })
    }

    // ------------------------------------------------------------ listening

    fn listen(
        &mut self,
        sequence: &Sequence,
        step: &Step,
        expect: &Expect,
        scene: &Scene<'_>,
    ) -> Heard {
        match sequence.style {
            Style::Http => self.listen_http(sequence, expect, scene),
            Style::Tcp | Style::Plain => match &expect.what {
                Match::Spoken(spoken) => self.understand(step, expect, *spoken),
                _ => self.listen_tcp(sequence, step, expect, scene),
            },
        }
    }

    /// An answer in a protocol that is built in.
    fn understand(&mut self, step: &Step, expect: &Expect, spoken: Spoken) -> Heard {
        let last = self.ended || self.input.len() >= ANSWER_MAX;
        if self.input.is_empty() && last && step.number > 0 {
            let info = format!("TCPCHK got an empty response{}", located_at(step));
            let status = expect.error.unwrap_or(Status::L7Rsp);
            return Heard::Bad(with_info(status, info));
        }
        let judge = match spoken {
            Spoken::Tls => ssl_answer,
            Spoken::Smtp => services::smtp_answer,
            Spoken::Redis => services::redis_answer,
            Spoken::Ldap => services::ldap_answer,
            Spoken::Pgsql => services::pgsql_answer,
            Spoken::Mysql => services::mysql_answer,
            Spoken::Agent => agent_answer,
        };
        let answer = judge(&self.input, last);
        match answer {
            None if last => Heard::Bad(Answer::plain(Status::L7Rsp)),
            None => Heard::More,
            Some(answer) if answer.status.passed() => {
                self.said = Some(answer);
                Heard::Good
            }
            Some(answer) => Heard::Bad(answer),
        }
    }

    fn listen_tcp(
        &mut self,
        sequence: &Sequence,
        step: &Step,
        expect: &Expect,
        scene: &Scene<'_>,
    ) -> Heard {
        let full = self.input.len() >= ANSWER_MAX;
        let last = self.ended || full;
        if self.input.is_empty() && !full {
            if !self.ended {
                return Heard::More;
            }
            let mut info = format!("TCPCHK got an empty response{}", located_at(step));
            if let Some(comment) = self.comment(sequence) {
                info.push_str(&format!(" comment: '{comment}'"));
            }
            let status = expect.error.unwrap_or(Status::L7Rsp);
            return Heard::Bad(with_info(status, info));
        }
        let (needed, what) = match &expect.what {
            Match::String(text) => (text.len(), format!("content '{}'", words(text))),
            Match::Binary(text) => (text.len(), "content (binary)".to_owned()),
            other => (0, format!("content ({})", kind_of(other))),
        };
        let least = match expect.min_recv {
            Some(least) if needed > 0 => least.min(needed),
            Some(least) => least,
            None => needed,
        };
        if self.input.len() < least && !last {
            return Heard::More;
        }
        let input = std::mem::take(&mut self.input);
        let found = self.found(&input, &expect.what, scene);
        self.input = input;
        match found {
            Some(found) if found && !expect.negated => Heard::Good,
            Some(false) if !last && expect.min_recv.is_none() => Heard::More,
            Some(false) if expect.negated => Heard::Good,
            Some(found) => {
                let how = if found {
                    "matched unwanted"
                } else {
                    "did not match"
                };
                let info = format!("TCPCHK {how} {what}{}", located_at(step));
                self.failed(sequence, expect, scene, (Status::L7Rsp, info))
            }
            None => {
                let info = format!(
                    "TCPCHK error to build a pattern to match {what}{}",
                    located_at(step)
                );
                self.failed(sequence, expect, scene, (Status::L7Rsp, info))
            }
        }
    }

    fn listen_http(&mut self, sequence: &Sequence, expect: &Expect, scene: &Scene<'_>) -> Heard {
        let full = self.input.len() >= ANSWER_MAX;
        let last = self.ended || full;
        match http_head(&self.input, last) {
            None => return Heard::More,
            Some(Err(_)) => return Heard::Bad(Answer::plain(Status::L7Rsp)),
            Some(Ok((head, used))) => {
                let asked_head =
                    sequence.steps[..self.at]
                        .iter()
                        .rev()
                        .find_map(|s| match &s.what {
                            What::Request(request) => Some(&*request.method == b"HEAD"),
                            _ => None,
                        });
                self.whole = http_body(
                    &head,
                    asked_head == Some(true),
                    &self.input[used..],
                    &mut self.body,
                ) || last;
                self.head = Some(head);
            }
        }
        let head = self.head.take().expect("just read");
        let status = head.status;
        let reason = shown(head.reason());
        if sequence.disable_on_404 && status == 404 && scene.up {
            return Heard::Bad(Answer {
                status: Status::L7Okc,
                code: 404,
                info: String::new(),
            });
        }
        let of_head = match &expect.what {
            Match::Status(ranges) => Some(ranges.iter().any(|r| r.0 <= status && status <= r.1)),
            Match::StatusRegex(regex) => Some(regex.is_match(status.to_string().as_bytes())),
            Match::Field(field) => Some(self.field(&head, field, scene)),
            _ => None,
        };
        self.head = Some(head);
        if let Some(found) = of_head {
            if found != expect.negated {
                return Heard::Good;
            }
            return self.failed(sequence, expect, scene, (Status::L7Sts, reason));
        }
        if self.body.is_empty() {
            if !self.whole {
                return Heard::More;
            }
            let info = "HTTP content check could not find a response body".to_owned();
            return self.failed(sequence, expect, scene, (Status::L7Rsp, info));
        }
        if !self.whole && expect.min_recv.is_some_and(|least| self.body.len() < least) {
            return Heard::More;
        }
        let body = std::mem::take(&mut self.body);
        let found = self.found(&body, &expect.what, scene).unwrap_or(false);
        self.body = body;
        match found {
            true if !expect.negated => Heard::Good,
            false if !self.whole && expect.min_recv.is_none() => Heard::More,
            false if expect.negated => Heard::Good,
            found => {
                let info = if found {
                    "HTTP check matched unwanted content"
                } else {
                    "HTTP content check did not match"
                };
                self.failed(sequence, expect, scene, (Status::L7Rsp, info.to_owned()))
            }
        }
    }

    /// Whether the pattern is in `input`; `None`: there is no pattern, since its format gave no hexadecimal digits.
    fn found(&mut self, input: &[u8], what: &Match, scene: &Scene<'_>) -> Option<bool> {
        Some(match what {
            Match::String(text) | Match::Binary(text) => contains(input, text),
            Match::Regex(regex) => regex.is_match(input),
            Match::BinaryRegex(regex) => regex.is_match(hex(input).as_bytes()),
            Match::Format(format) => {
                let text = self.text(format, scene);
                contains(input, &text)
            }
            Match::BinaryFormat(format) => {
                let text = self.text(format, scene);
                contains(input, &unhex(&text).ok()?)
            }
            Match::Status(_) | Match::StatusRegex(_) | Match::Field(_) | Match::Spoken(_) => false,
        })
    }

    /// Whether a field of that name has such a value.
    fn field(&mut self, head: &Head, field: &FieldMatch, scene: &Scene<'_>) -> bool {
        let name = self.pattern(&field.name, scene);
        let value = field.value.as_ref().map(|value| self.pattern(value, scene));
        head.fields()
            .filter(|(n, _)| name.matches(n, true))
            .any(|(_, v)| match &value {
                None => true,
                Some(wanted) if field.full => wanted.matches(v, false),
                Some(wanted) => v
                    .split(|b| *b == b',')
                    .any(|part| wanted.matches(part.trim_ascii(), false)),
            })
    }

    fn pattern<'p>(&mut self, pattern: &'p Pattern, scene: &Scene<'_>) -> Wanted<'p> {
        match pattern {
            Pattern::Regex(regex) => Wanted::Regex(regex),
            Pattern::Text(how, payload) => {
                Wanted::Text(*how, self.bytes(payload, scene).unwrap_or_default())
            }
        }
    }

    // ------------------------------------------------------------ speaking

    /// The bytes of a payload; `None`: its format gave no hexadecimal digits.
    fn bytes(&mut self, payload: &Payload, scene: &Scene<'_>) -> Option<Vec<u8>> {
        match payload {
            Payload::Bytes(bytes) => Some(bytes.to_vec()),
            Payload::Text(format) => Some(self.text(format, scene)),
            Payload::Hex(format) => unhex(&self.text(format, scene)).ok(),
            Payload::TlsHello => Some(ssl_hello(scene.seed)),
        }
    }

    /// Names in lower case, the body's length, and how the connection goes on: as haproxy sends it.
    fn request(&mut self, request: &Request, sequence: &Sequence, scene: &Scene<'_>) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut host = None;
        let mut connection = None;
        for (name, value) in &request.fields {
            let value = self.bytes(value, scene).unwrap_or_default();
            if value.is_empty() {
                continue;
            }
            match &**name {
                b"connection" => connection = Some(value),
                name => {
                    if name == b"host" {
                        host = Some(value.clone());
                    }
                    fields.push((name.to_vec(), value));
                }
            }
        }
        let uri = self.bytes(&request.uri, scene).unwrap_or_default();
        let uri = with_authority(uri, host.as_deref());
        let body = request.body.as_ref().and_then(|b| self.bytes(b, scene));
        let mut out = Vec::new();
        out.extend_from_slice(&request.method);
        out.push(b' ');
        out.extend_from_slice(&uri);
        out.extend_from_slice(if request.v11 {
            b" HTTP/1.1\r\n"
        } else {
            b" HTTP/1.0\r\n"
        });
        if sequence.send_state {
            let state = (scene.state)().into_bytes();
            fields.push((b"x-haproxy-server-state".to_vec(), state));
        }
        if let Some(body) = &body {
            let length = body.len().to_string().into_bytes();
            fields.push((b"content-length".to_vec(), length));
        }
        let stays = connection.is_some_and(|c| !c.to_ascii_lowercase().ends_with(b"close"));
        match (request.v11, stays) {
            (true, false) => fields.push((b"connection".to_vec(), b"close".to_vec())),
            (false, true) => fields.push((b"connection".to_vec(), b"keep-alive".to_vec())),
            _ => {}
        }
        for (name, value) in fields {
            out.extend_from_slice(&name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(&value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend(body.unwrap_or_default());
        out
    }

    // ------------------------------------------------------------ evaluating

    fn var(&self, id: VarId) -> Option<&Owned> {
        let known = self.vars.iter().find(|(known, _)| *known == id);
        known.map(|(_, value)| value)
    }

    fn set(&mut self, id: VarId, value: Option<Owned>) {
        self.vars.retain(|(known, _)| *known != id);
        if let Some(value) = value {
            self.vars.push((id, value));
        }
    }

    /// Evaluates something that sees the dialogue, then carries out what it changed.
    fn seeing<T>(&mut self, scene: &Scene<'_>, ask: impl FnOnce(&dyn Subject) -> T) -> T {
        let mut changes = Changes::default();
        let out = ask(&View {
            run: self,
            outer: scene.outer,
            changes: &changes,
        });
        for change in changes.take() {
            if let Change::Var(id, value) = change {
                self.set(id, value);
            }
        }
        out
    }

    fn text(&mut self, format: &LogFormat, scene: &Scene<'_>) -> Vec<u8> {
        self.seeing(scene, |subject| {
            let mut out = Vec::new();
            format.render(subject, scene.arena, &mut out);
            out
        })
    }

    fn value(&mut self, expr: &Expr, scene: &Scene<'_>) -> Option<Owned> {
        self.seeing(scene, |subject| {
            expr.eval(subject, scene.arena).map(Value::to_owned)
        })
    }

    fn int(&mut self, expr: &Expr, scene: &Scene<'_>) -> Option<i64> {
        self.seeing(scene, |subject| {
            match expr
                .eval(subject, scene.arena)?
                .cast(Kind::Int, scene.arena)?
            {
                Value::Int(number) => Some(number),
                _ => None,
            }
        })
    }

    fn port(&mut self, expr: &Expr, scene: &Scene<'_>) -> Option<u16> {
        let port = u16::try_from(self.int(expr, scene)?).ok()?;
        (port > 0).then_some(port)
    }
}

/// A pattern of `hdr`, its text worked out.
enum Wanted<'p> {
    Text(How, Vec<u8>),
    Regex(&'p regex::bytes::Regex),
}

impl Wanted<'_> {
    fn matches(&self, text: &[u8], any_case: bool) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(text),
            Self::Text(how, wanted) => {
                let fold = |b: &[u8]| {
                    if any_case {
                        b.to_ascii_lowercase()
                    } else {
                        b.to_vec()
                    }
                };
                let (text, wanted) = (fold(text), fold(wanted));
                match how {
                    How::Str => text == wanted,
                    How::Beg => text.starts_with(&wanted),
                    How::End => text.ends_with(&wanted),
                    How::Sub => contains(&text, &wanted),
                }
            }
        }
    }
}

/// `http://a.b/x` with the host of the Host field, as haproxy keeps the two the same.
fn with_authority(uri: Vec<u8>, host: Option<&[u8]>) -> Vec<u8> {
    let Some(host) = host else { return uri };
    let Some(start) = memchr::memmem::find(&uri, b"://").filter(|at| !uri[..*at].contains(&b'/'))
    else {
        return uri;
    };
    let start = start + 3;
    let end = uri[start..]
        .iter()
        .position(|b| *b == b'/')
        .map_or(uri.len(), |at| start + at);
    [&uri[..start], host, &uri[end..]].concat()
}

fn with_info(status: Status, info: String) -> Answer {
    Answer {
        status,
        code: 0,
        info,
    }
}

fn located_at(step: &Step) -> String {
    format!(" at step {}", step.number)
}

/// What kind of pattern it is, in the words of results.
fn kind_of(what: &Match) -> &'static str {
    match what {
        Match::String(_) => "string",
        Match::Binary(_) => "binary",
        Match::Regex(_) => "regex",
        Match::BinaryRegex(_) => "binary regex",
        Match::Format(_) => "log-format string",
        Match::BinaryFormat(_) => "log-format binary",
        Match::Status(_) | Match::StatusRegex(_) => "status",
        Match::Field(_) => "header",
        Match::Spoken(_) => "answer",
    }
}

/// A step in the words of results.
fn describe(what: &What) -> String {
    match what {
        What::Connect(Connect {
            port: Some(Port::Fixed(port)),
            ..
        }) => format!("connect port {port}"),
        What::Connect(_) => "connect".to_owned(),
        What::Send(_) | What::Request(_) => "send".to_owned(),
        What::Expect(expect) => match &expect.what {
            Match::String(text) => format!("expect string '{}'", words(text)),
            other => format!("expect {}", kind_of(other)),
        },
        What::Comment => "comment".to_owned(),
        What::SetVar(..) | What::SetVarFmt(..) | What::UnsetVar(_) => "action".to_owned(),
    }
}

/// A pattern of the file in a line: what is not printable as `<XX>`.
fn words(text: &[u8]) -> String {
    text.iter().fold(String::new(), |mut out, &b| {
        match b {
            b' '..=b'~' => out.push(b.into()),
            other => out.push_str(&format!("<{other:02X}>")),
        }
        out
    })
}

fn contains(input: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(input, wanted).is_some()
}

fn hex(input: &[u8]) -> String {
    input.iter().map(|b| format!("{b:02X}")).collect()
}

/// What expressions of a check see: the dialogue, and the place around it.
struct View<'a> {
    run: &'a Run,
    outer: &'a dyn Subject,
    changes: &'a Changes,
}

impl Subject for View<'_> {
    fn response(&self) -> Option<&Head> {
        self.run.head.as_ref()
    }
    fn response_body(&self) -> Option<Bytes<'_>> {
        self.run.head.as_ref()?;
        Some(Bytes {
            bytes: &self.run.body,
            complete: self.run.whole,
            announced: None,
        })
    }
    fn response_bytes(&self) -> Option<Bytes<'_>> {
        Some(Bytes {
            bytes: &self.run.input,
            complete: self.run.ended,
            announced: None,
        })
    }
    fn src(&self) -> Option<SocketAddr> {
        self.outer.src()
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.outer.dst()
    }
    fn server_ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.outer.server_ends()
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        self.outer.fact(fact)
    }
    fn var(&self, id: VarId) -> Option<Value<'_>> {
        if let Some(changed) = self.changes.var(id) {
            return changed;
        }
        match self.run.var(id) {
            Some(value) => Some(value.borrow()),
            None => self.outer.var(id),
        }
    }
    fn set_var(&self, id: VarId, value: Option<Value<'_>>) {
        let value = value.map(Value::to_owned);
        self.changes.push(Change::Var(id, value));
    }
    fn backend_named(&self, name: &[u8]) -> Option<u32> {
        self.outer.backend_named(name)
    }
    fn frontend_named(&self, name: &[u8]) -> Option<u32> {
        self.outer.frontend_named(name)
    }
    fn server_named(&self, backend: Option<&[u8]>, name: &[u8]) -> Option<u32> {
        self.outer.server_named(backend, name)
    }
    fn log_count(&self, which: LogCount) -> u32 {
        self.outer.log_count(which)
    }
}

#[cfg(test)]
mod tests;
