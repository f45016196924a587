//! Sample expressions: a fetch with arguments and converters behind it (configuration.txt 7.1 to 7.3).
//! Read once when the configuration is loaded, evaluated without allocating.

use std::path::Path;
use std::sync::Arc;

use super::acl::Test;
use super::convert::{self, Arg, Converter};
use super::diag::{did_you_mean, nearest};
use super::fetch::{self, Fetch, Place, Reference, Side, Source, Wrong};
use super::lexer::Word;
use super::pattern::Method;
use super::sample::{Arena, Kind, Value};
use super::source::Span;
use super::subject::{ProxyRef, Scope, ServerRef, Subject, VarId};

/// What is wrong with an expression, a format or a rule, where, and what to do about it.
#[derive(Clone, Debug)]
pub struct Fault {
    pub span: Span,
    /// As haproxy says it, without the prefix of the keyword it stands in.
    pub text: String,
    pub help: Option<String>,
    /// haproxy knows it and we do not yet: the name that is refused.
    pub not_yet: Option<String>,
}

impl Fault {
    pub fn wrong(span: Span, text: impl Into<String>) -> Self {
        Self {
            span,
            text: text.into(),
            help: None,
            not_yet: None,
        }
    }
    /// Something of a later version, by its name.
    pub fn later(span: Span, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            span,
            text: format!("'{name}' is not supported yet."),
            help: None,
            not_yet: Some(name),
        }
    }
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Names of variables of one configuration; a [`VarId`] counts in it.
///
/// Kept beside them, since whoever reads has them at hand: the lists of patterns met so far.
#[derive(Debug, Default)]
pub struct VarNames {
    pub names: Vec<String>,
    /// What expressions and formats read so far need together: what drivers prepare for.
    pub asked: Needs,
    pub lists: super::acl::Lists,
}

impl VarNames {
    /// The number of `name`, given out at its first mention.
    pub fn id(&mut self, scope: Scope, name: &str) -> VarId {
        let at = self.names.iter().position(|n| n == name);
        let at = at.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        VarId {
            scope,
            name: at as u32,
        }
    }
}

/// What reading an expression needs to know. Names of proxies, servers and user lists may be declared further
/// down: references are kept by name and settled by [`Expr::settle`].
pub struct Cx<'a> {
    pub vars: &'a mut VarNames,
    /// A file that the configuration names (`-f`), relative names taken from `-C`.
    pub read: &'a dyn Fn(&Path) -> Result<Vec<u8>, String>,
    /// A host name in an address pattern.
    pub resolve: &'a dyn Fn(&str) -> Option<std::net::IpAddr>,
    /// Warnings met on the way: place, text, remedy.
    pub warnings: Vec<(Span, String, Option<String>)>,
    /// Environment for `env()`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl std::fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx")
            .field("vars", &self.vars)
            .finish_non_exhaustive()
    }
}

/// Settles names once all sections are known.
pub trait Settle {
    fn proxy(&self, name: &str) -> ProxyRef;
    /// The same where only a proxy with that side will do.
    fn frontend(&self, name: &str) -> ProxyRef {
        self.proxy(name)
    }
    fn backend(&self, name: &str) -> ProxyRef {
        self.proxy(name)
    }
    /// Whether the proxy at hand has that side.
    fn is_frontend(&self) -> bool {
        true
    }
    fn is_backend(&self) -> bool {
        true
    }
    /// `backend/server`, or a server of the proxy at hand.
    fn server(&self, name: &str) -> ServerRef;
    fn userlist(&self, name: &str) -> Option<u32>;
    /// The lines of an ACL of the proxy at hand, for `acl()`.
    fn acl(&self, _name: &str) -> Option<Vec<Arc<Test>>> {
        None
    }
    /// Name of the proxy at hand, for messages.
    fn here(&self) -> &str {
        ""
    }
    /// The page that an `http-errors` section has for `status`; the outer `None`: there is no such section.
    fn error_page(&self, _section: &str, _status: u16) -> Option<Option<Arc<[u8]>>> {
        None
    }
}

/// What must be at hand before an expression can be evaluated for good: a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Needs(pub u16);

impl Needs {
    /// Bytes from the client (layer 6).
    pub const REQUEST_BYTES: Self = Self(1);
    pub const REQUEST_HEAD: Self = Self(2);
    pub const REQUEST_BODY: Self = Self(4);
    pub const RESPONSE_BYTES: Self = Self(8);
    pub const RESPONSE_HEAD: Self = Self(16);
    pub const RESPONSE_BODY: Self = Self(32);
    /// The address the client connected to.
    pub const LOCAL_ADDRESS: Self = Self(64);
    /// A password that may take long to verify.
    pub const PASSWORD: Self = Self(128);
    /// Known only when the stream ends.
    pub const END: Self = Self(256);
    /// The client's address.
    pub const CLIENT_ADDRESS: Self = Self(512);
    /// Both addresses of the connection to the server.
    pub const SERVER_ENDS: Self = Self(1024);

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One expression, ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Expr {
    text: Box<str>,
    /// Name of the fetch.
    keyword: &'static str,
    pub(super) fetch: Fetch,
    converters: Vec<Converter>,
    refs: Vec<Reference>,
    source: Source,
    kind: Kind,
    needs: Needs,
}

impl Expr {
    /// Reads a whole word such as `hdr(host),lower`.
    ///
    /// # Errors
    /// haproxy's message about the first mistake, placed on the part of the word it is about.
    pub fn parse(word: &Word, cx: &mut Cx<'_>) -> Result<Self, Fault> {
        Self::read(word, false, cx)
            .map(|read| read.expr)
            .map_err(|bad| bad.fault(word))
    }

    /// As [`Self::parse`], with names of ACL keywords too if `acl`.
    pub(super) fn read(word: &Word, acl: bool, cx: &mut Cx<'_>) -> Result<Read, Bad> {
        let text = &word.bytes;
        let parsed = fetch::parse(text, acl, cx.vars, cx.env).map_err(|wrong| Bad {
            keyword: None,
            wrong: BadPart::Fetch(wrong),
        })?;
        let entry = parsed.entry;
        let mut chain = Chain {
            word,
            kind: entry.kind(),
            converters: Vec::new(),
        };
        chain.read(parsed.end, cx).map_err(|wrong| Bad {
            keyword: Some(entry),
            wrong,
        })?;
        let mut needs = entry.needs();
        match entry.extra {
            fetch::Extra::LocalAddress => needs = needs.with(Needs::LOCAL_ADDRESS),
            fetch::Extra::ClientAddress => needs = needs.with(Needs::CLIENT_ADDRESS),
            fetch::Extra::Password => needs = needs.with(Needs::PASSWORD),
            _ => {}
        }
        if matches!(parsed.fetch, Fetch::L4(fetch) if fetch.of_server()) {
            needs = needs.with(Needs::SERVER_ENDS);
        }
        cx.vars.asked = cx.vars.asked.with(needs);
        let kind = chain.kind;
        let converters = chain.converters;
        let converted = !converters.is_empty();
        let expr = Self {
            text: word.text().into(),
            keyword: entry.name,
            fetch: parsed.fetch,
            converters,
            refs: parsed.refs,
            source: entry.source,
            kind,
            needs,
        };
        Ok(Read {
            expr,
            method: if converted { None } else { entry.method },
        })
    }

    /// `always_false`.
    pub(super) fn never() -> Self {
        Self {
            text: "always_false".into(),
            keyword: "always_false",
            fetch: Fetch::never(),
            converters: Vec::new(),
            refs: Vec::new(),
            source: Source::Constant,
            kind: Kind::Bool,
            needs: Needs::default(),
        }
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Name of the fetch it begins with.
    pub fn keyword(&self) -> &'static str {
        self.keyword
    }
    /// Type of the result.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    pub fn needs(&self) -> Needs {
        self.needs
    }
    /// Where its answer comes from, as a message names it, if that is not to be had in `place`.
    pub fn lacks(&self, place: Place) -> Option<&'static str> {
        (!self.source.works_in(place)).then(|| self.source.name())
    }
    /// Whether [`Self::settle`] has anything to do.
    pub(super) fn has_references(&self) -> bool {
        !self.refs.is_empty() || self.needs.has(Needs::PASSWORD) || self.asks_acls()
    }
    pub(super) fn asks_acls(&self) -> bool {
        matches!(self.fetch, Fetch::Acl(_))
    }
    /// Whether evaluating it changes something: a variable, a capture.
    pub(super) fn has_effects(&self) -> bool {
        self.text.contains("set-var") || self.text.contains("capture-")
    }
    /// Whether it asks for bytes that HTTP proxies do not keep.
    pub fn is_layer_6(&self) -> bool {
        matches!(self.fetch, Fetch::L6(_))
    }

    /// Settles references to names; an error is haproxy's message.
    ///
    /// # Errors
    /// A proxy, server or user list of that name does not exist.
    pub fn settle(&mut self, names: &dyn Settle) -> Result<(), String> {
        self.settle_as("sample fetch keyword", names)
    }

    pub(super) fn settle_as(&mut self, what: &str, names: &dyn Settle) -> Result<(), String> {
        let keyword = self.keyword;
        let here = match names.here() {
            "" => String::new(),
            name => format!(" in proxy '{name}'"),
        };
        for reference in &self.refs {
            let (found, kind, name) = match reference {
                Reference::Here(side) => {
                    let (has, side) = match side {
                        Side::Front => (names.is_frontend(), "frontend"),
                        Side::Back => (names.is_backend(), "backend"),
                    };
                    if has {
                        continue;
                    }
                    let proxy = names.here();
                    return Err(format!(
                        "proxy '{proxy}', referenced in arg 1 of {what} '{keyword}'{here}, has not {side} capability."
                    ));
                }
                Reference::Frontend(name) => (names.frontend(name), "frontend", name),
                Reference::Backend(name) => (names.backend(name), "backend", name),
                Reference::Server(name) => (names.server(name), "server", name),
                Reference::Userlist(name) => (names.userlist(name), "userlist", name),
            };
            if found.is_none() {
                return Err(format!(
                    "unable to find {kind} '{name}' referenced in arg 1 of {what} '{keyword}'{here}."
                ));
            }
        }
        if self.needs.has(Needs::PASSWORD) && self.refs.is_empty() {
            return Err(format!(
                "missing userlist name in arg 1 of {what} '{keyword}'{here}."
            ));
        }
        for converter in &mut self.converters {
            converter.settle(names)?;
        }
        self.fetch.settle(&self.refs, names)
    }

    /// The sample, the last one where there are several. `None`: there is none.
    pub fn eval<'a>(&'a self, subject: &'a dyn Subject, arena: &'a Arena) -> Option<Value<'a>> {
        let value = self.fetch.one(subject, arena)?;
        self.convert(value, subject, arena)
    }

    fn convert<'a>(
        &'a self,
        value: Value<'a>,
        subject: &'a dyn Subject,
        arena: &'a Arena,
    ) -> Option<Value<'a>> {
        let mut chain = self.converters.iter();
        chain.try_fold(value, |value, converter| {
            converter.apply(value, subject, arena)
        })
    }

    /// Gives every sample to `each`, as ACLs look at them, until that says false: each header of a name, each cookie,
    /// each parameter.
    pub fn eval_each<'a>(
        &'a self,
        subject: &'a dyn Subject,
        arena: &'a Arena,
        each: &mut dyn FnMut(Value<'a>) -> bool,
    ) {
        if self.converters.is_empty() {
            return self.fetch.each(subject, arena, each);
        }
        self.fetch.each(
            subject,
            arena,
            &mut |value| match self.convert(value, subject, arena) {
                Some(value) => each(value),
                None => true,
            },
        );
    }

    /// Whether it has no answer yet that it may get later: bytes are awaited, or a password is being verified. Worth
    /// asking only where a test of it failed.
    pub fn waits(&self, subject: &dyn Subject) -> bool {
        self.fetch.waits(self.needs, subject)
    }
}

/// An expression and what an ACL wants to know of it.
pub(super) struct Read {
    pub(super) expr: Expr,
    /// How the keyword is matched by itself.
    pub(super) method: Option<Method>,
}

/// What is wrong with an expression, before it is known how the message begins.
pub(super) struct Bad {
    /// The fetch, where it could be read.
    keyword: Option<&'static fetch::Entry>,
    wrong: BadPart,
}

pub(super) enum BadPart {
    Fetch(Wrong),
    /// No comma behind the fetch, or behind the converter named: offset.
    Comma(Option<String>, usize),
    Converter(Fault),
}

impl Bad {
    pub(super) fn fault(self, word: &Word) -> Fault {
        self.in_acl(word, None)
    }

    /// The message; in ACLs, `criterion` being the whole word, it is said otherwise.
    pub(super) fn in_acl(self, word: &Word, criterion: Option<&str>) -> Fault {
        let tail = criterion.map_or(String::new(), |c| format!(" in ACL expression '{c}'"));
        let keyword = |entry: &fetch::Entry| match (criterion, entry.extra) {
            (Some(_), fetch::Extra::AclKeyword) => Some(entry.name),
            _ => None,
        };
        match self.wrong {
            BadPart::Fetch(Wrong::Unknown(name)) if name.is_empty() => {
                Fault::wrong(word.span, format!("missing fetch method{tail}."))
            }
            BadPart::Fetch(Wrong::Unknown(name)) => {
                let near = did_you_mean(&nearest(&name, fetch::FETCHES.iter().copied()));
                let text = format!("unknown fetch method '{name}'{tail}{near}");
                let text = if near.is_empty() { text + "." } else { text };
                Fault::wrong(word.part(0, name.len()), text)
            }
            BadPart::Fetch(Wrong::Later(name)) => Fault::later(word.part(0, name.len()), name),
            BadPart::Fetch(Wrong::Args(entry, message, at, len)) => {
                let text = match keyword(entry) {
                    Some(name) => format!("ACL keyword '{name}' : {message}."),
                    None => format!("fetch method '{}' : {message}{tail}.", entry.name),
                };
                Fault::wrong(word.part(at, len), text)
            }
            BadPart::Fetch(Wrong::Invalid(entry, message, at, len)) => {
                let text = match keyword(entry) {
                    Some(name) => format!("ACL keyword '{name}' : {message}."),
                    None => format!(
                        "invalid args in fetch method '{}' : {message}{tail}.",
                        entry.name
                    ),
                };
                Fault::wrong(word.part(at, len), text)
            }
            BadPart::Comma(converter, at) => {
                let span = word.part(at, word.bytes.len() - at);
                let name = self.keyword.map_or("", |entry| entry.name);
                let text = match (converter, self.keyword.and_then(keyword)) {
                    (None, Some(name)) => {
                        format!("ACL keyword '{name}' : missing comma after fetch keyword.")
                    }
                    (None, None) => format!("missing comma after fetch keyword '{name}'{tail}."),
                    (Some(converter), Some(name)) => {
                        format!(
                            "ACL keyword '{name}' : missing comma after converter '{converter}'."
                        )
                    }
                    (Some(converter), None) => {
                        format!("missing comma after converter '{converter}'{tail}.")
                    }
                };
                Fault::wrong(span, text)
            }
            BadPart::Converter(mut fault) => {
                if fault.not_yet.is_none() && criterion.is_some() {
                    let message = fault.text.trim_end_matches('.');
                    fault.text = match self.keyword.and_then(keyword) {
                        Some(name) => format!("ACL keyword '{name}' : {message}."),
                        None => format!("{message}{tail}."),
                    };
                }
                fault
            }
        }
    }
}

/// The converters behind a fetch, as they are read.
struct Chain<'a> {
    word: &'a Word,
    /// Type of what comes out so far.
    kind: Kind,
    converters: Vec<Converter>,
}

impl Chain<'_> {
    /// Reads from offset `at` to the end of the word.
    fn read(&mut self, mut at: usize, cx: &mut Cx<'_>) -> Result<(), BadPart> {
        let text = &self.word.bytes;
        let mut before = None;
        while at < text.len() {
            if text[at] != b',' {
                return Err(BadPart::Comma(before, at));
            }
            at += 1;
            let len = text[at..].iter().position(|b| matches!(b, b',' | b'('));
            let end = len.map_or(text.len(), |len| at + len);
            if end == at && text.get(end) != Some(&b'(') {
                // Two commas in a row, or one at the end.
                continue;
            }
            let name = String::from_utf8_lossy(&text[at..end]).into_owned();
            at = self.converter(&name, at, end, cx)?;
            before = Some(name);
        }
        Ok(())
    }

    /// One converter whose name stands from `at` to `end`; the offset behind it.
    fn converter(
        &mut self,
        name: &str,
        at: usize,
        end: usize,
        cx: &mut Cx<'_>,
    ) -> Result<usize, BadPart> {
        let text = &self.word.bytes;
        let span = self.word.part(at, end - at);
        let (args, end) = match text.get(end) {
            Some(b'(') if !convert::known(name) => (Vec::new(), end),
            Some(b'(') => fetch::split(text, end + 1).ok_or_else(|| {
                let message = format!("invalid arg 1 in converter '{name}' : expected ')'.");
                let span = self.word.part(end, text.len() - end);
                BadPart::Converter(Fault::wrong(span, message))
            })?,
            _ => (Vec::new(), end),
        };
        let args: Vec<Arg> = args
            .into_iter()
            .map(|arg| Arg {
                text: arg.bytes,
                at: arg.at,
            })
            .collect();
        // Offsets of arguments count from the start of the word.
        let whole = self.word.span;
        let converter = Converter::parse(name, &args, whole, cx).map_err(|mut fault| {
            // Its places hold for a word without quotes and escapes.
            if fault.span == whole || text.len() != whole.len as usize {
                fault.span = span;
            }
            BadPart::Converter(fault)
        })?;
        if !self.kind.casts_to(converter.input()) {
            let text = format!("converter '{name}' cannot be applied.");
            return Err(BadPart::Converter(Fault::wrong(span, text)));
        }
        self.kind = converter.output();
        self.converters.push(converter);
        Ok(end)
    }
}

/// Whether `c` may stand in the name of a variable.
pub fn is_var_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_')
}
