//! What came of it, as text and as JSON.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::words;
use super::world::{Course, Visit, generous};
use crate::backend::Choice;
use crate::config::{BindAddress, BindId, Config, ServerId};
use crate::lang::acl::{Told, Verdict};
use crate::lang::source::{Sources, Span};
use crate::proto::h1;
use crate::proto::http::Head;
use crate::proto::proxy_header::{self, Header};
use crate::proxy::trace::{Effect, Event, RuleTold, ServerTold, Why};

pub(super) struct Report<'a> {
    pub(super) config: &'a Config,
    pub(super) sources: &'a Sources,
    pub(super) frontend: String,
    pub(super) bind: BindId,
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    /// What the client sent.
    pub(super) asked: Vec<u8>,
    /// Not HTTP.
    pub(super) raw: bool,
    /// Status of the server's answer.
    pub(super) status: u16,
    pub(super) down: &'a [String],
    pub(super) with_state: bool,
    pub(super) course: Course,
}

/// An answer the client got: head and how many bytes follow it.
struct Got {
    head: Head,
    body: usize,
}

/// Colours of a terminal.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
    fn title(self, text: &str) -> String {
        self.with("1", text)
    }
    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }
}

fn version_of(header: &Header) -> &'static str {
    match header.version {
        proxy_header::Version::V1 => "v1",
        proxy_header::Version::V2 => "v2",
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Report<'_> {
    // ------------------------------------------------------------ what is known

    /// Events, repetitions left out: a rule that waits is evaluated again and again.
    fn events(&self) -> Vec<&Event> {
        let mut out: Vec<&Event> = Vec::new();
        let mut proxy = None;
        for event in &self.course.events {
            match (event, out.last()) {
                (Event::Proxy(id), _) if proxy == Some(*id) => continue,
                (Event::Proxy(id), _) => proxy = Some(*id),
                (Event::Backend { id: Some(id), .. }, _) => {
                    proxy = Some(self.config.backend(*id).proxy);
                }
                (Event::Rule(rule), Some(Event::Rule(before)))
                    if rule.span == before.span && before.verdict == Verdict::Later =>
                {
                    out.pop();
                }
                _ => {}
            }
            out.push(event);
        }
        out
    }

    fn place(&self, span: Span) -> (String, u32) {
        let file = self.sources.get(span.file);
        (file.map_or_else(String::new, |f| f.name.clone()), span.line)
    }

    fn place_text(&self, span: Span) -> String {
        let (file, line) = self.place(span);
        format!("{file}:{line}")
    }

    /// The line of the file, blanks around it and its comment left out as they are.
    fn line(&self, span: Span) -> String {
        let line = self
            .sources
            .get(span.file)
            .and_then(|file| file.lines.get((span.line as usize).checked_sub(1)?));
        line.map_or_else(String::new, |bytes| lossy(bytes).trim().to_owned())
    }

    fn backend(&self) -> Option<(&str, String)> {
        self.course
            .events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Backend { id: Some(id), why } => {
                    Some((self.config.backend(*id).name.as_str(), self.why(why)))
                }
                _ => None,
            })
    }

    fn choice(&self) -> Option<&ServerTold> {
        self.course
            .events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Server(told) => Some(told),
                _ => None,
            })
    }

    fn server(&self) -> Option<ServerId> {
        match self.choice()?.choice {
            Choice::Server(id) => Some(id),
            _ => None,
        }
    }

    fn why(&self, why: &Why) -> String {
        match why {
            Why::Rule(span) => format!("{} {}", self.place_text(*span), self.line(*span)),
            Why::Named(span, name) => format!(
                "{} {}: the name is '{name}'",
                self.place_text(*span),
                self.line(*span)
            ),
            Why::NoSuchName(span, name) => format!(
                "{} {}: no backend is called '{name}', so the default one",
                self.place_text(*span),
                self.line(*span)
            ),
            Why::Default => "default_backend, as no use_backend line holds".to_owned(),
            Why::Before => "chosen while the session was a TCP one".to_owned(),
            Why::Nothing => "no use_backend line holds and there is no default_backend".to_owned(),
        }
    }

    /// The default backend of a `listen` section or of a frontend without rules needs fewer words.
    fn why_backend(&self, id: crate::config::BackendId, why: &Why) -> String {
        let config = self.config;
        let frontend = config.frontend(config.bind(self.bind).frontend);
        let own = config.backend(id).proxy == frontend.proxy;
        match why {
            Why::Default if own => "the section's own".to_owned(),
            Why::Default if config.proxy(frontend.proxy).http.switching.is_empty() => {
                "default_backend".to_owned()
            }
            other => self.why(other),
        }
    }

    fn end(&self) -> Option<(&str, u16)> {
        self.course.events.iter().find_map(|event| match event {
            Event::End { state, status } => Some((state.as_str(), *status)),
            _ => None,
        })
    }

    /// What became of it, in a word.
    fn result(&self) -> &'static str {
        let stopped = self
            .course
            .events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Rule(RuleTold {
                    outcome:
                        Some(
                            word @ ("deny" | "tarpit" | "answer" | "auth" | "reject"
                            | "silent-drop" | "statistics" | "metrics"),
                        ),
                    ..
                }) => Some(*word),
                Event::Answered(word) => Some(*word),
                _ => None,
            });
        let state = self.end().map_or("", |(state, _)| state);
        match stopped {
            Some(word) => word,
            None if !self.course.visits.is_empty() => "server",
            None if state.starts_with('L') => "answer",
            None if self.course.stuck => "waits",
            None => "error",
        }
    }

    fn answers(&self) -> (Vec<Got>, usize) {
        let mut rest = &self.course.received[..];
        let mut out = Vec::new();
        loop {
            let mut head = Head::default();
            match h1::response_head(rest, &generous(), &mut head) {
                Ok(h1::Parse::Done { used }) => {
                    rest = &rest[used..];
                    let interim = (100..200).contains(&head.status);
                    let body = if interim { 0 } else { rest.len() };
                    out.push(Got { head, body });
                    if !interim {
                        return (out, 0);
                    }
                }
                _ => return (out, rest.len()),
            }
        }
    }

    fn assumptions(&self) -> Vec<String> {
        let mut out = vec![match (self.down.is_empty(), self.with_state) {
            (true, false) => "all servers are up".to_owned(),
            (false, false) => format!("all servers are up but {}", self.down.join(", ")),
            (_, true) => "servers are as the state file says".to_owned(),
        }];
        if !self.raw {
            out.push(format!("the server answers {}", self.status));
        }
        out.push("no other connection is open".to_owned());
        out.extend(self.course.complaints.iter().cloned());
        out
    }

    // ------------------------------------------------------------ text

    pub(super) fn text(&self, colours: bool) -> String {
        let paint = Paint(colours);
        let mut out = String::new();
        self.opening(paint, &mut out);
        let mut visits = self.course.visits.iter();
        for event in self.events() {
            match event {
                Event::Sent => {
                    visits
                        .next()
                        .inspect(|visit| self.sent(visit, paint, &mut out));
                }
                event => self.event(event, paint, &mut out),
            }
        }
        for visit in visits {
            self.sent(visit, paint, &mut out);
        }
        self.got(paint, &mut out);
        if self.course.stuck {
            out.push_str("It came to no end: something waits that does not come.\n");
        }
        let assumed = format!("Assumed: {}.", self.assumptions().join("; "));
        let _ = writeln!(out, "\n{}", paint.dim(&assumed));
        out
    }

    fn opening(&self, paint: Paint, out: &mut String) {
        let first = lossy(self.asked.split(|b| *b == b'\r').next().unwrap_or_default());
        let what = if self.raw {
            match self.asked.len() {
                0 => "A connection that says nothing".to_owned(),
                n => format!("A connection that says {n} bytes"),
            }
        } else {
            first
        };
        let frontend = self.config.frontend(self.config.bind(self.bind).frontend);
        let _ = writeln!(out, "{}", paint.title(&what));
        let _ = writeln!(
            out,
            "  from {} to {}, frontend '{}' ({}), bind {}",
            self.src,
            self.dst,
            self.frontend,
            self.place_text(frontend.span),
            self.place_text(self.config.bind(self.bind).span),
        );
    }

    fn event(&self, event: &Event, paint: Paint, out: &mut String) {
        match event {
            Event::Proxy(id) => {
                let proxy = self.config.proxy(*id);
                let kind = match (proxy.frontend, proxy.backend) {
                    (Some(_), Some(_)) => "listen",
                    (Some(_), None) => "frontend",
                    _ => "backend",
                };
                let title = format!("Rules of {kind} '{}'", proxy.name);
                let _ = writeln!(out, "{}", paint.title(&title));
            }
            Event::Rule(rule) => self.rule(rule, paint, out),
            Event::Changed { by, effects } => {
                let _ = writeln!(out, "  + by {by}:");
                effects_text(effects, out);
            }
            Event::Note(text) => {
                let _ = writeln!(out, "  + {text}");
            }
            Event::Backend { id: Some(id), why } => {
                let name = &self.config.backend(*id).name;
                let title = format!("Backend '{name}'");
                let _ = writeln!(
                    out,
                    "{}: {}",
                    paint.title(&title),
                    self.why_backend(*id, why)
                );
            }
            Event::Backend { id: None, why } => {
                let _ = writeln!(out, "{}: {}", paint.title("No backend"), self.why(why));
            }
            Event::Cookie {
                name,
                found,
                server,
            } => {
                let whom = server.map_or_else(String::new, |id| {
                    format!(" ('{}')", self.config.server(id).name)
                });
                let text = words::cookie(*found);
                let _ = writeln!(out, "  + cookie {name} {text}{whom}");
            }
            Event::Server(told) => {
                let why = words::server(self.config, told);
                let title = match told.choice {
                    Choice::Server(id) => {
                        let server = self.config.server(id);
                        let address = words::server_address(&server.address);
                        let backup = if server.backup { ", backup" } else { "" };
                        format!("Server '{}' ({address}{backup})", server.name)
                    }
                    _ => "No server".to_owned(),
                };
                let _ = writeln!(out, "{}: {why}", paint.title(&title));
            }
            Event::Answered(word) => {
                let _ = writeln!(out, "  => {}", words::outcome(word));
            }
            Event::End { .. } | Event::Sent => {}
        }
    }

    fn rule(&self, rule: &RuleTold, paint: Paint, out: &mut String) {
        let (mark, code) = match rule.verdict {
            Verdict::Holds => ("+", "32"),
            Verdict::Fails => ("-", "2"),
            Verdict::Later => ("?", "33"),
        };
        let (place, line) = match rule.span {
            Some(span) => (self.place_text(span), self.line(span)),
            None => (String::new(), String::new()),
        };
        let text = paint.with(code, &format!("{mark} {place}  {line}"));
        let _ = writeln!(out, "  {text}");
        if let Some(told) = &rule.condition {
            for term in deciding(told) {
                let _ = writeln!(out, "      {}", paint.dim(&words::term(term)));
            }
        }
        effects_text(&rule.effects, out);
        if let Some(word) = rule.outcome {
            let _ = writeln!(out, "      => {}", words::outcome(word));
        }
    }

    fn sent(&self, visit: &Visit, paint: Paint, out: &mut String) {
        let to = words::target(&visit.to);
        let _ = writeln!(out, "{}", paint.title(&format!("Sent to {to}")));
        let (header, rest) = visit.parts();
        if let Some(header) = header {
            let ends = header.addresses.map_or_else(
                || "no addresses".to_owned(),
                |ends| format!("{} -> {}", ends.source, ends.destination),
            );
            let _ = writeln!(out, "  PROXY header {}: {ends}", version_of(&header));
        }
        match visit.head().filter(|_| !self.raw) {
            Some((_, used)) => {
                lines(&rest[..used], out);
                if rest.len() > used {
                    let _ = writeln!(out, "  ({} bytes of body)", rest.len() - used);
                }
            }
            None => {
                let _ = writeln!(out, "  {} bytes, as the client sends them", rest.len());
            }
        }
    }

    fn got(&self, paint: Paint, out: &mut String) {
        let (answers, rest) = self.answers();
        let ending = self.end().and_then(|(state, _)| words::ending(state));
        let why = ending.map_or_else(String::new, |text| format!(": {text}"));
        if answers.is_empty() && rest == 0 {
            if !self.raw || self.course.closed {
                let closed = if self.course.closed {
                    "The client's connection is closed"
                } else {
                    "The client gets no answer"
                };
                let _ = writeln!(out, "{}{why}", paint.title(closed));
            }
            return;
        }
        let _ = writeln!(out, "{}{why}", paint.title("The client receives"));
        for got in &answers {
            let mut wire = Vec::new();
            h1::write_response(&mut wire, &got.head);
            lines(&wire, out);
            if got.body > 0 {
                let _ = writeln!(out, "  ({} bytes of body)", got.body);
            }
        }
        if rest > 0 {
            let _ = writeln!(out, "  {rest} bytes");
        }
        let state = self.end().map_or("", |(state, _)| state);
        if self.course.waited_ms > 0 {
            let seconds = self.course.waited_ms as f64 / 1000.0;
            let _ = writeln!(out, "  after {seconds} s; in the log: {state}");
        } else {
            let _ = writeln!(out, "  in the log: {state}");
        }
    }

    // ------------------------------------------------------------ JSON

    pub(super) fn json(&self) -> Value {
        let config = self.config;
        let bind = config.bind(self.bind);
        let listens = match &bind.address {
            BindAddress::Ip(at) => at.to_string(),
            other => format!("{other:?}"),
        };
        let backend = self.backend();
        let choice = self.choice();
        let server = self.server().map(|id| {
            let server = config.server(id);
            json!({
                "name": server.name,
                "address": words::server_address(&server.address),
                "weight": server.weight,
                "backup": server.backup,
            })
        });
        let (answers, _) = self.answers();
        let steps: Vec<Value> = self.events().iter().map(|e| self.step(e)).collect();
        json!({
            "request": lossy(self.asked.split(|b| *b == b'\r').next().unwrap_or_default()),
            "frontend": self.frontend,
            "bind": { "address": listens, "file": self.place(bind.span).0, "line": bind.span.line },
            "source": self.src.to_string(),
            "destination": self.dst.to_string(),
            "result": self.result(),
            "backend": backend.as_ref().map(|(name, _)| *name),
            "backend_reason": backend.as_ref().map(|(_, why)| why),
            "server": server,
            "server_reason": choice.map(|told| words::server(config, told)),
            "status": answers.last().map(|got| got.head.status),
            "state": self.end().map(|(state, _)| state),
            "waited_ms": self.course.waited_ms,
            "steps": steps,
            "sent": self.course.visits.iter().map(|v| self.visit(v)).collect::<Vec<_>>(),
            "received": answers.iter().map(got_json).collect::<Vec<_>>(),
            "closed": self.course.closed,
            "assumptions": self.assumptions(),
        })
    }

    fn visit(&self, visit: &Visit) -> Value {
        let (header, rest) = visit.parts();
        let header = header.map(|header| {
            json!({
                "version": version_of(&header),
                "source": header.addresses.map(|a| a.source.to_string()),
                "destination": header.addresses.map(|a| a.destination.to_string()),
            })
        });
        let head = visit.head().filter(|_| !self.raw);
        let request = head.as_ref().map(|(head, used)| {
            json!({
                "method": lossy(head.method()),
                "uri": lossy(head.target()),
                "version": head.version.text(),
                "headers": fields(head),
                "body_bytes": rest.len() - used,
            })
        });
        json!({
            "to": words::target(&visit.to),
            "proxy_header": header,
            "request": request,
            "bytes": rest.len(),
        })
    }

    fn step(&self, event: &Event) -> Value {
        match event {
            Event::Proxy(id) => json!({ "kind": "proxy", "name": self.config.proxy(*id).name }),
            Event::Rule(rule) => {
                let place = rule.span.map(|span| self.place(span));
                json!({
                    "kind": "rule",
                    "file": place.as_ref().map(|(file, _)| file),
                    "line": place.as_ref().map(|(_, line)| line),
                    "text": rule.span.map(|span| self.line(span)),
                    "result": result(rule.verdict),
                    "condition": rule.condition.as_ref().map(condition),
                    "effects": effects_json(&rule.effects),
                    "outcome": rule.outcome,
                })
            }
            Event::Changed { by, effects } => {
                json!({ "kind": "option", "by": by, "effects": effects_json(effects) })
            }
            Event::Note(text) => json!({ "kind": "note", "text": text }),
            Event::Backend { id, why } => json!({
                "kind": "backend",
                "name": id.map(|id| &self.config.backend(id).name),
                "reason": self.why(why),
            }),
            Event::Cookie {
                name,
                found,
                server,
            } => json!({
                "kind": "cookie",
                "name": name,
                "found": words::cookie(*found),
                "server": server.map(|id| &self.config.server(id).name),
            }),
            Event::Server(told) => {
                let name = |id: ServerId| &self.config.server(id).name;
                let usable = told.usable.iter();
                let usable =
                    usable.map(|(id, weight)| json!({ "name": name(*id), "weight": weight }));
                json!({
                    "kind": "server",
                    "name": match told.choice {
                        Choice::Server(id) => Some(name(id)),
                        _ => None,
                    },
                    "balance": words::balance(self.config.backend(told.backend)),
                    "hash": told.ask.key,
                    "usable": usable.collect::<Vec<_>>(),
                    "reason": words::server(self.config, told),
                })
            }
            Event::Answered(word) => json!({ "kind": "answered", "by": word }),
            Event::Sent => json!({ "kind": "sent" }),
            Event::End { state, status } => {
                json!({ "kind": "end", "state": state, "status": status })
            }
        }
    }
}

/// The terms that decided: of a group that fails the one that does, of one that holds all.
fn deciding(told: &Told) -> impl Iterator<Item = &crate::lang::acl::told::TermTold> {
    let positive = told.verdict.negated(told.unless);
    let groups = told.groups.iter().filter(move |group| {
        positive != Verdict::Holds || group.iter().all(|t| t.verdict == Verdict::Holds)
    });
    groups.flat_map(move |group| {
        let whole = group.iter().all(|t| t.verdict == Verdict::Holds);
        group
            .iter()
            .filter(move |t| whole || t.verdict != Verdict::Holds)
    })
}

fn effects_text(effects: &[Effect], out: &mut String) {
    for effect in effects {
        let _ = writeln!(out, "      {}", words::effect(effect));
    }
}

/// The lines of a head, indented, the empty one at its end left out.
fn lines(wire: &[u8], out: &mut String) {
    for line in lossy(wire).lines().filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "  {line}");
    }
}

fn result(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "fails",
        Verdict::Later => "undecided",
    }
}

fn condition(told: &Told) -> Value {
    let groups: Vec<Vec<Value>> = told
        .groups
        .iter()
        .map(|group| group.iter().map(term).collect())
        .collect();
    json!({ "unless": told.unless, "any_of": groups })
}

fn term(term: &crate::lang::acl::told::TermTold) -> Value {
    let tests = term.tests.iter().map(|test| {
        let values = test.values.iter().map(
            |value| json!({ "value": value.text, "matches": value.hit, "pattern": value.pattern }),
        );
        json!({
            "criterion": test.criterion,
            "method": test.method,
            "result": result(test.verdict),
            "values": values.collect::<Vec<_>>(),
        })
    });
    json!({
        "acl": term.name,
        "negated": term.negated,
        "result": result(term.verdict),
        "tests": tests.collect::<Vec<_>>(),
    })
}

fn effects_json(effects: &[Effect]) -> Vec<Value> {
    let effects = effects.iter();
    effects
        .map(|e| json!({ "what": e.what, "name": e.name, "from": e.from, "to": e.to }))
        .collect()
}

fn fields(head: &Head) -> Vec<[String; 2]> {
    head.fields()
        .map(|(name, value)| [lossy(name), lossy(value)])
        .collect()
}

fn got_json(got: &Got) -> Value {
    json!({
        "status": got.head.status,
        "reason": lossy(got.head.reason()),
        "headers": fields(&got.head),
        "body_bytes": got.body,
    })
}
