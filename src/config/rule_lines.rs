//! Lines that decide: `acl`, `use_backend`, `http-request` and its kin, `tcp-request`, `redirect`, `use-server`,
//! persistence under conditions and `monitor fail` (configuration.txt 4.2, 4.3, 7).

use super::http::CaptureHeader;
use super::keyword::{B, D, F, Keyword, L, MANY, Sections};
use super::raw::{ProxyRaw, SectionKind, ServerRuleRaw, SwitchRaw};
use super::words::{Args, Said};
use crate::lang::acl::{Condition, Test};
use crate::lang::diag::{Form, did_you_mean, nearest};
use crate::lang::expr::Fault;
use crate::lang::fetch::Place;
use crate::lang::lexer::Word;
use crate::lang::logformat::LogFormat;
use crate::lang::rules::{Action, NEW_SLOT, Redirect, Rule, RuleSet, Section};
use crate::lang::source::Span;
use crate::lang::value::{self, Unit};

const DFLB: Sections = D | F | L | B;

const fn kw(
    name: &'static str,
    sections: Sections,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<ProxyRaw>,
) -> Keyword<ProxyRaw> {
    Keyword::new(name, sections, (0, MANY), usage, doc, parse)
}

/// Every keyword of this file.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    kw(
        "acl",
        DFLB,
        "<name> <criterion> [<flags>] <value>…",
        "a named test",
        acl,
    ),
    kw(
        "block",
        F | L | B,
        "{if|unless} <condition>",
        "refuses requests with 403",
        block,
    )
    .http_only()
    .obsolete("http-request deny {if|unless} <condition>"),
    kw(
        "force-persist",
        L | B,
        "{if|unless} <condition>",
        "a server that is down serves those whose cookie names it",
        |p, a| {
            let when = persistence(p, a)?;
            p.set.http.force_persist.push(when);
            Ok(())
        },
    ),
    kw(
        "http-after-response",
        DFLB,
        "<action> [{if|unless} <condition>]",
        "what is done to every response, our own included",
        |p, a| rule(p, a, RuleSet::HttpAfterResponse),
    )
    .http_only(),
    kw(
        "http-request",
        DFLB,
        "<action> [{if|unless} <condition>]",
        "what is done to requests",
        |p, a| rule(p, a, RuleSet::HttpRequest),
    )
    .http_only(),
    kw(
        "http-response",
        DFLB,
        "<action> [{if|unless} <condition>]",
        "what is done to responses of servers",
        |p, a| rule(p, a, RuleSet::HttpResponse),
    )
    .http_only(),
    kw(
        "ignore-persist",
        L | B,
        "{if|unless} <condition>",
        "cookies are not looked at",
        |p, a| {
            let when = persistence(p, a)?;
            p.set.http.ignore_persist.push(when);
            Ok(())
        },
    ),
    kw(
        "monitor",
        F | L,
        "fail {if|unless} <condition>",
        "the monitor URI answers 503 where the condition holds",
        monitor,
    ),
    kw(
        "redirect",
        F | L | B,
        "{location|prefix|scheme} <format> [code <code>] [<options>] [{if|unless} <condition>]",
        "sends clients elsewhere, after http-request rules",
        redirect,
    )
    .http_only(),
    kw(
        "tcp-request",
        DFLB,
        "{connection|session|content} <action> [{if|unless} <condition>] | inspect-delay <time>",
        "what is done to connections and to their first bytes",
        tcp_request,
    ),
    kw(
        "tcp-response",
        DFLB,
        "content <action> [{if|unless} <condition>] | inspect-delay <time>",
        "what is done to the first bytes of servers",
        tcp_response,
    ),
    kw(
        "use-server",
        L | B,
        "<server> {if|unless} <condition>",
        "the server for which the condition holds",
        use_server,
    ),
    kw(
        "use_backend",
        F | L,
        "<backend> [{if|unless} <condition>]",
        "where connections go for which the condition holds",
        use_backend,
    ),
];

// ---------------------------------------------------------------- what all share

fn section_of(proxy: &ProxyRaw) -> Section<'_> {
    let defaults = proxy.kind == SectionKind::Defaults;
    Section {
        kind: proxy.kind.word(),
        name: &proxy.name,
        front: defaults || proxy.kind.has_front(),
        back: defaults || proxy.kind.has_back(),
    }
}

/// All words that are left.
pub(super) fn take<'a>(args: &mut Args<'a, '_>) -> &'a [Word] {
    let words = args.rest();
    args.at = args.line.words.len();
    words
}

/// Only a `defaults` section that others name may hold rules: what they refer to is its own.
fn not_anonymous(proxy: &ProxyRaw, args: &mut Args<'_, '_>, name: &str) -> Result<(), Said> {
    if proxy.kind != SectionKind::Defaults || !proxy.name.is_empty() {
        return Ok(());
    }
    let text = if name.starts_with("tcp-") {
        format!("{name} is not allowed in anonymous 'defaults' sections")
    } else {
        format!("'{name}' not allowed in anonymous 'defaults' section.")
    };
    let help =
        "give the section a name: 'defaults <name>'; proxies below it inherit from it as before";
    Err(args.fail_help(args.head, text, help))
}

/// Lists in the order in which they are evaluated, whatever order they are written in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Connection,
    Session,
    Content,
    Monitor,
    HttpRequest,
    Redirect,
    UseBackend,
    UseServer,
}

impl Rank {
    const ALL: [Self; 8] = [
        Self::Connection,
        Self::Session,
        Self::Content,
        Self::Monitor,
        Self::HttpRequest,
        Self::Redirect,
        Self::UseBackend,
        Self::UseServer,
    ];
    /// With its article, as a message names a rule of it that stands before.
    fn before(self) -> &'static str {
        match self {
            Self::Connection => "a 'tcp-request connection'",
            Self::Session => "a 'tcp-request session'",
            Self::Content => "a 'tcp-request content'",
            Self::Monitor => "a 'monitor fail'",
            Self::HttpRequest => "an 'http-request'",
            Self::Redirect => "a 'redirect'",
            Self::UseBackend => "a 'use_backend'",
            Self::UseServer => "a 'use-server'",
        }
    }
    fn own(self) -> &'static str {
        match self {
            Self::Connection | Self::Session | Self::Content => "a 'tcp-request'",
            Self::HttpRequest => "a 'http-request'",
            other => other.before(),
        }
    }
}

/// Says that a line is evaluated before others above it, and notes that there is one of its kind.
fn in_order(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>, rank: Rank) {
    let later = Rank::ALL.iter().filter(|&&other| other > rank);
    let mut above = later.filter(|&&other| proxy.ranks & 1 << other as u8 != 0);
    if let Some(other) = above.next() {
        let text = format!(
            "{} rule placed after {} rule will still be processed before.",
            rank.own(),
            other.before()
        );
        args.cx.warning(args.head, text);
    }
    proxy.ranks |= 1 << rank as u8;
}

/// Reads `if|unless …` for a line that is not a rule with an action.
fn condition(
    proxy: &ProxyRaw,
    args: &mut Args<'_, '_>,
    words: &[Word],
    prefix: &str,
    places: [Place; 2],
) -> Result<Condition, Said> {
    let acls = &proxy.acls;
    let read = args.cx.language(Form::Parsing, prefix, |cx| {
        Condition::parse(words, acls, cx)
    });
    let mut condition = read?;
    if let Some(text) = condition.never_in(section_of(proxy).places(places)) {
        args.cx.warning(words[0].span, text);
    }
    Ok(condition)
}

/// Whether words begin a condition.
fn is_condition(words: &[Word]) -> bool {
    matches!(words.first().map(|w| &*w.bytes), Some(b"if" | b"unless"))
}

/// A condition that has to be there.
pub(super) fn needed(
    proxy: &ProxyRaw,
    args: &mut Args<'_, '_>,
    called: &str,
    of: &str,
    places: [Place; 2],
) -> Result<Condition, Said> {
    let words = take(args);
    if !is_condition(words) {
        let span = words.first().map_or_else(|| args.end(), |w| w.span);
        let text = format!("'{called}' requires either 'if' or 'unless' followed by a condition.");
        return Err(args.fail(span, text));
    }
    let prefix = format!("error detected while parsing a '{called}' {of} : ");
    condition(proxy, args, words, &prefix, places)
}

// ---------------------------------------------------------------- keywords

/// `acl <name> <criterion> [flags] [operator] <value>…`
fn acl(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    not_anonymous(proxy, args, "acl")?;
    let Some(name) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, "'acl' expects a name and a criterion."));
    };
    let text = name.text().into_owned();
    if let Some(bad) = text
        .chars()
        .find(|&c| !(c.is_ascii_alphanumeric() || "._-:".contains(c)))
    {
        let what = format!("character '{bad}' is not permitted in acl name '{text}'.");
        return Err(args.fail(name.span, what));
    }
    if text.eq_ignore_ascii_case("or") {
        let what = "acl name 'or' will never match. 'or' is used to express a logical disjunction within a condition.";
        return Err(args.fail(name.span, what));
    }
    let prefix = format!("error detected while parsing ACL '{text}' : ");
    let words = take(args);
    let end = args.end();
    let test = args.cx.language(Form::Parsing, &prefix, |cx| {
        if words.is_empty() {
            return Err(Test::missing(end));
        }
        Test::parse(words, cx)
    });
    // A line that cannot be read still declares its name: rules that use it are no further mistakes.
    let (test, outcome) = match test {
        Ok(test) => (test, Ok(())),
        Err(said) => (Test::never(), Err(said)),
    };
    proxy.acls.lines.push((text, test.into()));
    outcome
}

/// One line of a set of rules with actions.
fn rule(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>, set: RuleSet) -> Result<(), Said> {
    not_anonymous(proxy, args, set.name())?;
    let words = take(args);
    let rule = parsed(proxy, args, set, words)?;
    let rank = match set {
        RuleSet::HttpRequest => Some(Rank::HttpRequest),
        RuleSet::TcpConnection => Some(Rank::Connection),
        RuleSet::TcpSession => Some(Rank::Session),
        RuleSet::TcpRequest => Some(Rank::Content),
        _ => None,
    };
    if let Some(rank) = rank {
        in_order(proxy, args, rank);
    }
    push(proxy, args, set, rule);
    Ok(())
}

/// Reads a rule of a set.
pub(super) fn parsed(
    proxy: &ProxyRaw,
    args: &mut Args<'_, '_>,
    set: RuleSet,
    words: &[Word],
) -> Result<Rule, Said> {
    let (section, at, acls) = (section_of(proxy), args.head, &proxy.acls);
    let read = args.cx.language(Form::Parsing, "", |cx| {
        Rule::parse(set, words, at, &section, acls, cx)
    });
    if read.is_err()
        && let Some(last) = args.cx.diags.list.last_mut()
        && last.text.starts_with(&format!("'{}", set.name()))
        && set.is_http()
        && last.text.contains(" expects ")
    {
        last.tight();
    }
    read
}

/// Gives the rule that captures into a slot of its own that slot.
pub(super) fn give_slot(proxy: &mut ProxyRaw, rule: &mut Rule) {
    if let Action::CaptureRequest(_, slot, len) = &mut rule.action
        && *slot == NEW_SLOT
    {
        let captures = &mut proxy.set.http.request_captures;
        *slot = super::resolve::index(captures.len());
        captures.push(CaptureHeader {
            name: None,
            len: *len,
        });
    }
}

/// Puts a rule at the end of its list.
pub(super) fn push(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>, set: RuleSet, mut rule: Rule) {
    give_slot(proxy, &mut rule);
    let http = &mut proxy.set.http;
    let list = match set {
        RuleSet::TcpConnection => &mut http.tcp_connection,
        RuleSet::TcpSession => &mut http.tcp_session,
        RuleSet::TcpRequest => &mut http.tcp_request,
        RuleSet::TcpResponse => &mut http.tcp_response,
        RuleSet::HttpRequest => &mut http.request,
        RuleSet::HttpResponse => &mut http.response,
        RuleSet::HttpAfterResponse => &mut http.after_response,
    };
    if matches!(rule.action, Action::SetNice(_)) {
        let text = "'set-nice' has no effect here: streams of a core are served in turn, none before others.";
        args.cx.notice(args.head, text);
    }
    if set.is_http() && list.last().is_some_and(Rule::is_final) {
        let text = format!(
            "previous '{}' action is final and has no condition attached, further entries are NOOP.",
            set.name()
        );
        args.cx.warning(args.head, text).tight();
    }
    list.push(rule);
}

/// `block if …`: as `http-request deny`.
fn block(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let words = take(args);
    if !is_condition(words) {
        let span = words.first().map_or_else(|| args.end(), |w| w.span);
        let text = "'block' requires either 'if' or 'unless' followed by a condition.";
        return Err(args.fail(span, text));
    }
    let mut all = vec![Word {
        bytes: b"deny".to_vec(),
        span: args.head,
    }];
    all.extend_from_slice(words);
    let rule = parsed(proxy, args, RuleSet::HttpRequest, &all)?;
    push(proxy, args, RuleSet::HttpRequest, rule);
    Ok(())
}

fn persistence(proxy: &ProxyRaw, args: &mut Args<'_, '_>) -> Result<Condition, Said> {
    let name = args.name;
    let places = [Place::FrontTcpContent, Place::BackTcpContent];
    needed(proxy, args, name, "rule", places)
}

/// `monitor fail {if|unless} <condition>`
fn monitor(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    if !args.eat("fail") {
        let span = args.rest().first().map_or_else(|| args.end(), |w| w.span);
        return Err(args.fail(span, "'monitor' only supports 'fail'."));
    }
    let places = [Place::FrontRequestHeader, Place::BackRequestHeader];
    let when = needed(proxy, args, "monitor fail", "condition", places)?;
    in_order(proxy, args, Rank::Monitor);
    proxy.set.http.monitor_fail.push(when);
    Ok(())
}

/// `redirect … [{if|unless} <condition>]`
fn redirect(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let words = take(args);
    let head = args.head;
    let prefix = {
        let section = section_of(proxy);
        format!(
            "error detected in {} '{}' while parsing redirect rule : ",
            section.called(),
            section.name
        )
    };
    let places = RuleSet::HttpRequest.places();
    let (redirect, taken) = {
        let section = section_of(proxy);
        args.cx.language(Form::Parsing, &prefix, |cx| {
            let read = Redirect::parse(words, false, head, cx);
            let read = read.and_then(|(redirect, taken)| {
                match redirect.to.format().out_of_place(section.places(places)) {
                    Some(out) => Err(Fault::wrong(out.span, out.text)),
                    None => Ok((redirect, taken)),
                }
            });
            read.map_err(ended)
        })?
    };
    let when = match &words[taken..] {
        [] => None,
        words => {
            let prefix = format!("{prefix}error in condition: ");
            Some(condition(proxy, args, words, &prefix, places)?)
        }
    };
    in_order(proxy, args, Rank::Redirect);
    proxy.set.http.redirects.push((redirect, when, head));
    Ok(())
}

/// With the full stop that ends haproxy's messages of sections.
fn ended(fault: Fault) -> Fault {
    let text = format!("{}.", fault.text.trim_end_matches('.'));
    Fault { text, ..fault }
}

/// `use_backend <backend> [{if|unless} <condition>]`
fn use_backend(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let backend = args.expect("a backend name")?;
    let words = take(args);
    let when = match words.first() {
        None => None,
        Some(_) if is_condition(words) => {
            let prefix = "error detected while parsing switching rule : ";
            let places = [Place::FrontUseBackend; 2];
            Some(condition(proxy, args, words, prefix, places)?)
        }
        Some(word) => {
            let text = format!(
                "unexpected keyword '{}' after switching rule, only 'if' and 'unless' are allowed.",
                word.text()
            );
            return Err(args.fail(word.span, text));
        }
    };
    let format = named(args, backend, "use_backend", [Place::FrontUseBackend; 2])?;
    in_order(proxy, args, Rank::UseBackend);
    proxy.switches.push(SwitchRaw {
        backend: backend.clone(),
        format,
        when,
    });
    Ok(())
}

/// A name that a format gives; `None` for one that stands for itself.
fn named(
    args: &mut Args<'_, '_>,
    word: &Word,
    rule: &str,
    places: [Place; 2],
) -> Result<Option<LogFormat>, Said> {
    if !word.bytes.contains(&b'%') {
        return Ok(None);
    }
    let prefix = format!("failed to parse {rule} rule '{}' : ", word.text());
    args.cx.language(Form::Late, &prefix, |cx| {
        let format = LogFormat::parse(word, cx)?;
        match format.out_of_place(places.into_iter()) {
            Some(out) => Err(Fault::wrong(out.span, out.text)),
            None => Ok(Some(format).filter(|f| f.literal().is_none())),
        }
    })
}

/// `use-server <server> {if|unless} <condition>`
fn use_server(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let server = args.expect("a server name")?;
    let places = [Place::FrontUseBackend, Place::BackUseServer];
    let words = take(args);
    if !is_condition(words) {
        let span = words.first().map_or_else(|| args.end(), |w| w.span);
        let text = "'use-server' requires either 'if' or 'unless' followed by a condition.";
        return Err(args.fail(span, text));
    }
    let prefix = "error detected while parsing switching rule : ";
    let when = {
        let acls = &proxy.acls;
        let read = args.cx.language(Form::Parsing, prefix, |cx| {
            Condition::parse(words, acls, cx)
        });
        let mut condition = read?;
        if let Some(text) = condition.never_in([places[1]]) {
            args.cx.warning(words[0].span, text);
        }
        condition
    };
    let format = named(args, server, "use-server", [places[1]; 2])?;
    in_order(proxy, args, Rank::UseServer);
    proxy.server_rules.push(ServerRuleRaw {
        server: server.clone(),
        format,
        when,
    });
    Ok(())
}

// ---------------------------------------------------------------- tcp-request, tcp-response

fn tcp_request(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(word) = args.next() else {
        return Err(missing(proxy, args));
    };
    let text = word.text();
    args.head = to(args.head, word.span);
    let set = match &*text {
        "connection" => RuleSet::TcpConnection,
        "session" => RuleSet::TcpSession,
        "content" => RuleSet::TcpRequest,
        "inspect-delay" => {
            not_anonymous(proxy, args, "tcp-request inspect-delay")?;
            proxy.set.http.tcp_request_delay_ms = Some(delay(proxy, args)?);
            return Ok(());
        }
        other => {
            let known = ["connection", "content", "inspect-delay", "session"];
            let near = did_you_mean(&nearest(other, known));
            let (kind, name) = (proxy.kind.called(), &proxy.name);
            let text = format!(
                "'tcp-request' expects 'inspect-delay', 'connection', or 'content' in {kind} '{name}' (got '{other}'){near}"
            );
            return Err(args.fail(word.span, text));
        }
    };
    let front_only = matches!(set, RuleSet::TcpConnection | RuleSet::TcpSession);
    if front_only && proxy.kind == SectionKind::Backend {
        let text = format!(
            "{} is not allowed because {} {} is not a frontend",
            set.name(),
            proxy.kind.called(),
            proxy.name
        );
        return Err(args.fail(args.head, text));
    }
    rule(proxy, args, set)
}

fn tcp_response(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(word) = args.next() else {
        return Err(missing(proxy, args));
    };
    let text = word.text();
    args.head = to(args.head, word.span);
    let known = ["content", "inspect-delay"];
    if !known.contains(&&*text) {
        let near = did_you_mean(&nearest(&text, known));
        let (kind, name) = (proxy.kind.called(), &proxy.name);
        let what = format!(
            "'tcp-response' expects 'inspect-delay' or 'content' in {kind} '{name}' (got '{text}'){near}"
        );
        return Err(args.fail(word.span, what));
    }
    if proxy.kind == SectionKind::Frontend {
        let what = format!(
            "tcp-response {text} is only allowed in 'backend' sections or 'defaults' section with a name"
        );
        return Err(args.fail(args.head, what));
    }
    if text == "content" {
        return rule(proxy, args, RuleSet::TcpResponse);
    }
    not_anonymous(proxy, args, "tcp-response inspect-delay")?;
    proxy.set.http.tcp_response_delay_ms = Some(delay(proxy, args)?);
    Ok(())
}

fn to(from: Span, end: Span) -> Span {
    Span {
        len: (end.col + end.len).saturating_sub(from.col),
        ..from
    }
}

fn missing(proxy: &ProxyRaw, args: &mut Args<'_, '_>) -> Said {
    let (kind, name) = (proxy.kind.called(), &proxy.name);
    let text = format!("missing argument for '{}' in {kind} '{name}'", args.name);
    args.fail(args.end(), text)
}

/// The time behind `inspect-delay`, in milliseconds; words after it are passed over, as by haproxy, with a warning.
fn delay(proxy: &ProxyRaw, args: &mut Args<'_, '_>) -> Result<u32, Said> {
    let (kind, name) = (proxy.kind.called(), &proxy.name);
    let expects = format!(
        "'{} inspect-delay' expects a positive delay in milliseconds, in {kind} '{name}'",
        args.name
    );
    let Some(word) = args.next() else {
        return Err(args.fail(args.end(), expects));
    };
    let ms = value::time_ms(&word.bytes, Unit::Ms).map_err(|error| {
        let bad = word
            .text()
            .get(error.at..)
            .and_then(|rest| rest.chars().next());
        let tail = bad.map_or_else(String::new, |bad| {
            format!(" (unexpected character '{bad}')")
        });
        args.fail(word.part(error.at, 1), expects + &tail)
    })?;
    args.done()?;
    Ok(ms)
}
