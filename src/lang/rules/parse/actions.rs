//! Every action, the rule sets it may stand in and how its arguments are read (configuration.txt 4.2, 4.3).

use super::{Reader, compile};
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::expr::Fault;
use crate::lang::logformat::LogFormat;
use crate::lang::rules::redirect::Redirect;
use crate::lang::rules::reply::ReplyFor;
use crate::lang::rules::{
    ANY_LEN, Action, NEW_SLOT, NameMatch, Normalizer, Number, RuleSet, Service, Timeout,
};
use crate::lang::value::{self, Unit};

pub(super) type Read = fn(&mut Reader<'_, '_, '_>) -> Result<Action, Fault>;

/// One action: its name, the sets it may stand in, how its arguments are read.
pub(super) struct Entry {
    pub(super) name: &'static str,
    sets: u8,
    /// `NAME(…)`: the argument is part of the word.
    inside: bool,
    /// `None`: haproxy knows it, we do not yet.
    pub(super) read: Option<Read>,
}

const CN: u8 = 1;
const SE: u8 = 2;
const RQ: u8 = 4;
const RS: u8 = 8;
const HQ: u8 = 16;
const HS: u8 = 32;
const HA: u8 = 64;
const TCP: u8 = CN | SE | RQ | RS;
const HTTP: u8 = HQ | HS | HA;
const ALL: u8 = TCP | HTTP;

fn bit(set: RuleSet) -> u8 {
    match set {
        RuleSet::TcpConnection => CN,
        RuleSet::TcpSession => SE,
        RuleSet::TcpRequest => RQ,
        RuleSet::TcpResponse => RS,
        RuleSet::HttpRequest => HQ,
        RuleSet::HttpResponse => HS,
        RuleSet::HttpAfterResponse => HA,
    }
}

const fn ours(name: &'static str, sets: u8, read: Read) -> Entry {
    Entry {
        name,
        sets,
        inside: false,
        read: Some(read),
    }
}
const fn inside(name: &'static str, sets: u8, read: Read) -> Entry {
    Entry {
        name,
        sets,
        inside: true,
        read: Some(read),
    }
}
const fn later(name: &'static str, sets: u8) -> Entry {
    Entry {
        name,
        sets,
        inside: false,
        read: None,
    }
}
const fn later_inside(name: &'static str, sets: u8) -> Entry {
    Entry {
        name,
        sets,
        inside: true,
        read: None,
    }
}

/// Every action of haproxy 3.4.
static ACTIONS: &[Entry] = &[
    ours("accept", TCP, |_| Ok(Action::Allow)),
    later_inside("add-acl", HQ | HS),
    ours("add-header", HTTP, |r| {
        let (name, format) = r.header("expects exactly 2 arguments")?;
        Ok(Action::AddHeader(name, format))
    }),
    later("add-headers-bin", HTTP),
    ours("allow", HTTP, |_| Ok(Action::Allow)),
    later("attach-srv", SE),
    ours("auth", HQ, auth),
    later("cache-store", HS),
    later("cache-use", HQ),
    ours("capture", RQ | HQ | HS | HA, capture),
    ours("close", RS, |_| Ok(Action::Close)),
    later_inside("del-acl", HTTP),
    ours("del-header", HTTP, del_header),
    later("del-headers-bin", HTTP),
    later_inside("del-map", HTTP),
    ours("deny", HQ | HS, deny),
    ours("disable-l7-retry", HQ, |_| Ok(Action::DisableRetry)),
    later("do-log", ALL),
    later_inside("do-resolve", RQ | HQ),
    ours("early-hint", HQ, |r| {
        let (name, format) = r.header("expects exactly 2 arguments")?;
        Ok(Action::EarlyHint(name, format))
    }),
    later("expect-netscaler-cip", CN),
    ours("expect-proxy", CN, expect_proxy),
    ours("normalize-uri", HQ, normalize),
    ours("pause", HQ | HS, |r| {
        let number = r.time("expects exactly 1 argument (time or expression)", "pause")?;
        Ok(Action::Pause(number))
    }),
    ours("redirect", HQ | HS, redirect),
    ours("reject", TCP | HQ, |_| Ok(Action::Reject)),
    ours("replace-header", HTTP, |r| {
        let (name, regex, format) = r.header_regex()?;
        Ok(Action::ReplaceHeader(name, regex, format))
    }),
    ours("replace-path", HQ, |r| {
        let (regex, format) = r.regex_format()?;
        Ok(Action::ReplacePath(regex, format))
    }),
    ours("replace-pathq", HQ, |r| {
        let (regex, format) = r.regex_format()?;
        Ok(Action::ReplacePathq(regex, format))
    }),
    ours("replace-uri", HQ, |r| {
        let (regex, format) = r.regex_format()?;
        Ok(Action::ReplaceUri(regex, format))
    }),
    ours("replace-value", HTTP, |r| {
        let (name, regex, format) = r.header_regex()?;
        Ok(Action::ReplaceValue(name, regex, format))
    }),
    ours("return", HQ | HS, |r| {
        r.reply(ReplyFor::Return).map(Action::Return)
    }),
    later_inside("sc-add-gpc", ALL),
    later_inside("sc-inc-gpc", ALL),
    later_inside("sc-inc-gpc0", ALL),
    later_inside("sc-inc-gpc1", ALL),
    later_inside("sc-set-gpt", ALL),
    later_inside("sc-set-gpt0", ALL),
    later("send-spoe-group", RQ | RS | HQ | HS),
    later("set-bandwidth-limit", RQ | RS | HQ | HS),
    ours("set-bc-mark", RQ | HQ, |r| {
        r.mark().map(Action::SetServerMark)
    }),
    ours("set-bc-tos", RQ | HQ, |r| {
        r.mark().map(Action::SetServerTos)
    }),
    ours("set-dst", CN | SE | RQ | HQ, |r| {
        r.expr().map(Action::SetDst)
    }),
    ours("set-dst-port", CN | SE | RQ | HQ, |r| {
        r.expr().map(Action::SetDstPort)
    }),
    ours("set-fc-mark", TCP | HQ | HS, |r| {
        r.mark().map(Action::SetClientMark)
    }),
    ours("set-fc-tos", TCP | HQ | HS, |r| {
        r.mark().map(Action::SetClientTos)
    }),
    ours("set-header", HTTP, |r| {
        let (name, format) = r.header("expects exactly 2 arguments")?;
        Ok(Action::SetHeader(name, format))
    }),
    later("set-headers-bin", HTTP),
    ours("set-log-level", RQ | RS | HTTP, log_level),
    later_inside("set-map", HTTP),
    ours("set-mark", TCP | HQ | HS, |r| {
        r.plain_mark().map(Action::SetClientMark)
    }),
    ours("set-method", HQ, |r| r.format().map(Action::SetMethod)),
    ours("set-nice", RQ | RS | HQ | HS, nice),
    ours("set-path", HQ, |r| r.format().map(Action::SetPath)),
    ours("set-pathq", HQ, |r| r.format().map(Action::SetPathq)),
    later("set-priority-class", RQ | HQ),
    later("set-priority-offset", RQ | HQ),
    ours("set-query", HQ, |r| r.format().map(Action::SetQuery)),
    ours("set-retries", RQ | HQ, retries),
    ours("set-src", CN | SE | RQ | HQ, |r| {
        r.expr().map(Action::SetSrc)
    }),
    ours("set-src-port", CN | SE | RQ | HQ, |r| {
        r.expr().map(Action::SetSrcPort)
    }),
    ours("set-status", HS | HA, set_status),
    ours("set-timeout", HQ | HS, set_timeout),
    ours("set-tos", TCP | HQ | HS, |r| {
        r.plain_mark().map(Action::SetClientTos)
    }),
    ours("set-uri", HQ, |r| r.format().map(Action::SetUri)),
    inside("set-var", ALL, |r| {
        let (id, when) = r.variable()?;
        Ok(Action::SetVar(id, when, r.expr()?))
    }),
    inside("set-var-fmt", ALL, |r| {
        let (id, when) = r.variable()?;
        let word = r.argument("expects a format string")?;
        let format = LogFormat::parse_value(word, r.cx)?;
        Ok(Action::SetVarFmt(id, when, r.reachable(format)?))
    }),
    ours("silent-drop", ALL & !HA, silent_drop),
    ours("strict-mode", HTTP, strict_mode),
    ours("switch-mode", RQ, switch_mode),
    ours("tarpit", HQ, |r| {
        r.reply(ReplyFor::Tarpit).map(Action::Tarpit)
    }),
    later("track-sc*", CN | SE | RQ | HQ | HS),
    inside("unset-var", ALL, |r| {
        r.variable().map(|(id, _)| Action::UnsetVar(id))
    }),
    ours("use-service", RQ | HQ, use_service),
    ours("wait-for-body", HQ | HS, wait_for_body),
    later("wait-for-handshake", HQ),
];

impl Entry {
    /// The name as the list of a message shows it.
    pub(super) fn shown(&self) -> String {
        if self.inside {
            format!("{}(*)", self.name)
        } else {
            self.name.to_owned()
        }
    }
    pub(super) fn is(&self, word: &str) -> bool {
        if self.name == "track-sc*" {
            return word.starts_with("track-sc");
        }
        match word.strip_prefix(self.name) {
            Some("") => true,
            Some(rest) => self.inside && rest.starts_with('('),
            None => false,
        }
    }
}

fn auth(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    if !r.eat("realm") {
        return Ok(Action::Auth(None));
    }
    let realm = r.argument("missing realm value")?;
    Ok(Action::Auth(Some(realm.bytes.clone().into())))
}

fn deny(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    let what = if r.set == RuleSet::HttpResponse {
        ReplyFor::DenyResponse
    } else {
        ReplyFor::DenyRequest
    };
    r.reply(what).map(Action::Deny)
}

fn redirect(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    let rest = r.words.get(r.at..).unwrap_or_default();
    let of_response = r.set == RuleSet::HttpResponse;
    let (redirect, taken) = Redirect::parse(rest, of_response, r.action.span, r.cx)?;
    r.at += taken;
    r.check(redirect.to.format())?;
    Ok(Action::Redirect(redirect))
}

fn capture(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    if matches!(r.set, RuleSet::HttpResponse | RuleSet::HttpAfterResponse) {
        const EXPECTS: &str = "expects <expression> id <idx>";
        if r.words.len() < 3 {
            return Err(r.wrong(EXPECTS));
        }
        let expr = r.expr()?;
        let word = r.argument(EXPECTS)?;
        if word.bytes != b"id" {
            let text = format!("expects 'id', found '{}'", word.text());
            return Err(Fault::wrong(word.span, text));
        }
        let slot = slot(r)?;
        return Ok(Action::CaptureResponse(expr, slot, ANY_LEN));
    }
    let tcp = r.set == RuleSet::TcpRequest;
    let expects = if tcp {
        "'tcp-request content capture' : a positive 'len' argument is mandatory"
    } else {
        "expects <expression> [ 'len' <length> | id <idx> ]"
    };
    let kind = r.peek_second().map(|w| &*w.bytes);
    let known = matches!((kind, tcp), (Some(b"len"), _) | (Some(b"id"), false));
    if !known || r.words.len() < r.at + 3 {
        return Err(r.wrong(expects));
    }
    let expr = r.expr()?;
    if r.eat("id") {
        return Ok(Action::CaptureRequest(expr, slot(r)?, ANY_LEN));
    }
    r.at += 1;
    let word = r.argument(expects)?;
    if !r.section.front {
        let text = format!("proxy '{}' has no frontend capability", r.section.name);
        return Err(Fault::wrong(r.action.span, text));
    }
    match value::uint(&word.bytes, 1..=i32::MAX as u32) {
        Ok(len) => Ok(Action::CaptureRequest(expr, NEW_SLOT, len)),
        Err(_) if tcp => Err(Fault::wrong(word.span, expects)),
        Err(_) => Err(Fault::wrong(word.span, "length must be > 0")),
    }
}

/// The number behind `id`.
fn slot(r: &mut Reader<'_, '_, '_>) -> Result<u32, Fault> {
    let word = r.argument("expects <expression> id <idx>")?;
    value::uint(&word.bytes, 0..=i32::MAX as u32)
        .map_err(|_| Fault::wrong(word.span, format!("cannot parse id '{}'", word.text())))
}

fn del_header(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    let name = r.argument("expects at least 1 argument")?;
    let bytes = || name.bytes.clone().into();
    if !r.eat("-m") {
        return Ok(Action::DelHeader(NameMatch::Exact(bytes())));
    }
    let method = r.argument("-m flag expects exactly 1 argument")?;
    Ok(Action::DelHeader(match &*method.bytes {
        b"str" => NameMatch::Exact(bytes()),
        b"beg" => NameMatch::Begin(bytes()),
        b"end" => NameMatch::End(bytes()),
        b"sub" => NameMatch::Sub(bytes()),
        b"reg" => NameMatch::Reg(compile(name)?),
        _ => {
            let text = format!("-m with unsupported matching method '{}'", method.text());
            return Err(Fault::wrong(method.span, text).help("known are: str beg end sub reg"));
        }
    }))
}

fn expect_proxy(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    if r.eat("layer4") {
        return Ok(Action::ExpectProxy);
    }
    let got = r.peek().map(|w| w.text().into_owned()).unwrap_or_default();
    let text = format!(
        "'tcp-request connection expect-proxy' only supports 'layer4' in {} '{}' (got '{got}')",
        r.section.called(),
        r.section.name
    );
    Err(r.wrong(text))
}

const NORMALIZERS: [&str; 8] = [
    "fragment-encode",
    "fragment-strip",
    "path-merge-slashes",
    "path-strip-dot",
    "path-strip-dotdot",
    "percent-decode-unreserved",
    "percent-to-uppercase",
    "query-sort-by-name",
];

fn normalize(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    let word = r.argument("missing argument <normalizer>")?;
    let name = word.text();
    let mut flag = |flag: &str| {
        if r.ends() {
            return Ok(false);
        }
        if r.eat(flag) {
            return Ok(true);
        }
        let got = r.peek().map(|w| w.text().into_owned()).unwrap_or_default();
        Err(r.wrong(format!("invalid argument '{got}' for '{name}' normalizer")))
    };
    Ok(Action::Normalize(match &*name {
        "fragment-encode" => Normalizer::FragmentEncode,
        "fragment-strip" => Normalizer::FragmentStrip,
        "path-merge-slashes" => Normalizer::PathMergeSlashes,
        "path-strip-dot" => Normalizer::PathStripDot,
        "path-strip-dotdot" => Normalizer::PathStripDotdot {
            full: flag("full")?,
        },
        "percent-decode-unreserved" => Normalizer::PercentDecodeUnreserved {
            strict: flag("strict")?,
        },
        "percent-to-uppercase" => Normalizer::PercentToUppercase {
            strict: flag("strict")?,
        },
        "query-sort-by-name" => Normalizer::QuerySortByName,
        other => {
            let near = did_you_mean(&nearest(other, NORMALIZERS));
            let text = format!("unknown normalizer '{other}'{near}");
            let fault = Fault::wrong(word.span, text);
            return Err(fault.help(format!("known are: {}", NORMALIZERS.join(" "))));
        }
    }))
}

fn log_level(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    const LEVELS: [&str; 8] = [
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
    ];
    const EXPECTS: &str = "expects exactly 1 argument (log level name or 'silent')";
    let word = r.argument(EXPECTS)?;
    let name = word.text();
    if name == "silent" {
        return Ok(Action::SetLogLevel(None));
    }
    let level = LEVELS.iter().position(|level| *level == name);
    let level = level.and_then(|level| u8::try_from(level).ok());
    level
        .map(|level| Action::SetLogLevel(Some(level)))
        .ok_or_else(|| {
            let near = nearest(&name, LEVELS);
            let fault = Fault::wrong(word.span, EXPECTS);
            match near.first() {
                Some(near) => fault.help(format!("'{near}' is near")),
                None => fault.help(format!("levels are: {}", LEVELS.join(" "))),
            }
        })
}

fn nice(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    const EXPECTS: &str = "expects exactly 1 argument (integer value)";
    let word = r.argument(EXPECTS)?;
    let number = value::int(&word.bytes, i64::from(i32::MIN)..=i64::from(i32::MAX));
    let number = number.map_err(|_| Fault::wrong(word.span, EXPECTS))?;
    Ok(Action::SetNice(number.clamp(-1024, 1024) as i32))
}

fn retries(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    if !r.section.back {
        let text = format!("proxy '{}' has no backend capability", r.section.name);
        return Err(Fault::wrong(r.action.span, text));
    }
    let word =
        r.argument("expects exactly 1 argument (integer between 0 and 100 or expression)")?;
    if let Ok(number) = value::int(&word.bytes, 0..=100) {
        return Ok(Action::SetRetries(Number::Fixed(number)));
    }
    if word.bytes.iter().all(u8::is_ascii_digit) {
        let text = format!("expects a number between 0 and 100 (got '{}')", word.text());
        return Err(Fault::wrong(word.span, text));
    }
    r.expr_of(word)
        .map(|expr| Action::SetRetries(Number::Of(expr)))
}

fn set_status(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    let word = r.argument("expects 1 argument: <status>; or 3 arguments: <status> reason <fmt>")?;
    let number = value::uint(&word.bytes, 100..=999).ok();
    let Some(status) = number.and_then(|n| u16::try_from(n).ok()) else {
        let text = "expects an integer status code between 100 and 999";
        return Err(Fault::wrong(word.span, text));
    };
    let is_reason = r.peek().is_some_and(|w| w.bytes == b"reason");
    let mut reason = None;
    if is_reason && let Some(word) = r.peek_second().filter(|w| !w.bytes.is_empty()) {
        r.at += 2;
        reason = Some(word.bytes.clone().into());
    }
    Ok(Action::SetStatus(status, reason))
}

fn set_timeout(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    const EXPECTS: &str = "expects exactly 2 arguments";
    const NAMES: &str = "'client', 'connect', 'queue', 'server', 'tarpit' or 'tunnel'";
    let word = r.argument(EXPECTS)?;
    if r.ends() {
        return Err(r.wrong(EXPECTS));
    }
    let name = word.text();
    let (which, back) = match &*name {
        "client" => (Timeout::Client, false),
        "connect" => (Timeout::Connect, true),
        "queue" => (Timeout::Queue, true),
        "server" => (Timeout::Server, true),
        "tarpit" => (Timeout::Tarpit, false),
        "tunnel" => (Timeout::Tunnel, true),
        other => {
            let text = format!("'set-timeout' rule supports {NAMES} (got '{other}')");
            return Err(Fault::wrong(word.span, text));
        }
    };
    let lacks = match (back, which) {
        (true, _) if !r.section.back => Some("backend"),
        (false, Timeout::Client) if !r.section.front => Some("frontend"),
        _ => None,
    };
    if let Some(lacks) = lacks {
        let text = format!("proxy '{}' has no {lacks} capability", r.section.name);
        return Err(Fault::wrong(r.action.span, text));
    }
    let rule = format!("set-timeout {name}");
    let at = r.at;
    let number = r.time(EXPECTS, &rule)?;
    if matches!(number, Number::Fixed(0)) {
        r.at = at;
        return Err(r.wrong(format!("null value is not valid for a '{rule}' rule")));
    }
    Ok(Action::SetTimeout(which, number))
}

fn silent_drop(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    if let Some(word) = r.peek().filter(|w| w.bytes == b"rst-ttl") {
        let name = format!("{} silent-drop rst-ttl", r.set.name());
        return Err(Fault::later(word.span, name));
    }
    Ok(Action::SilentDrop)
}

fn strict_mode(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    let word = r.argument("expects exactly 1 arguments")?;
    match &*word.bytes {
        b"on" => Ok(Action::StrictMode(true)),
        b"off" => Ok(Action::StrictMode(false)),
        _ => {
            let text = format!(
                "Unexpected value '{}'. Only 'on' and 'off' are supported",
                word.text()
            );
            Err(Fault::wrong(word.span, text))
        }
    }
}

fn switch_mode(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    let word = r.argument("'tcp-request switch-mode' expects a mode as argument.")?;
    if word.bytes != b"http" {
        let text = format!(
            "'tcp-request switch-mode' expects a valid mode (got '{}').",
            word.text()
        );
        return Err(Fault::wrong(word.span, text));
    }
    if r.eat("proto") {
        let proto = r.argument("'tcp-request switch-mode': proto expects an argument.")?;
        if proto.bytes != b"h1" {
            let name = format!("switch-mode http proto {}", proto.text());
            return Err(Fault::later(proto.span, name));
        }
    }
    Ok(Action::SwitchHttp)
}

/// The exporter is the one service of haproxy without Lua; others come from `lua.…`.
fn use_service(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    let word = r.argument("'use-service' expects a service name.")?;
    let name = word.text();
    match &*name {
        "prometheus-exporter" if r.set == RuleSet::TcpRequest => Err(Fault::wrong(
            word.span,
            "Prometheus exporter service only available on 'http-request' rulesets",
        )),
        "prometheus-exporter" => Ok(Action::UseService(Service::PrometheusExporter)),
        other if other.starts_with("lua.") => {
            let name = format!("{} use-service {other}", r.set.name());
            Err(Fault::later(word.span, name))
        }
        other => {
            let text = format!("'{other}' unknown service name.");
            let fault = Fault::wrong(word.span, text);
            Err(match nearest(other, ["prometheus-exporter"]).first() {
                Some(near) => fault.help(format!("'{near}' is near")),
                None => fault.help("known is: prometheus-exporter"),
            })
        }
    }
}

fn wait_for_body(r: &mut Reader<'_, '_, '_>) -> Result<Action, Fault> {
    const EXPECTS: &str = "expects time <time> [ at-least <bytes> ]";
    let (mut time, mut at_least) = (None, 0);
    loop {
        if r.eat("time") {
            let word = r.argument("missing argument for 'time'")?;
            let ms = value::time_ms(&word.bytes, Unit::Ms)
                .map_err(|error| Fault::wrong(word.span, error.message(&word.text(), "time")))?;
            time = Some(ms);
        } else if r.eat("at-least") {
            let word = r.argument("missing argument for 'at-least'")?;
            at_least = value::size(&word.bytes).map_err(|error| {
                Fault::wrong(word.span, error.message(&word.text(), "at-least"))
            })?;
        } else {
            break;
        }
    }
    time.map(|ms| Action::WaitForBody(ms, at_least))
        .ok_or(())
        .map_err(|()| r.wrong(EXPECTS))
}

/// The actions of one set.
pub(super) fn of(set: RuleSet) -> impl Iterator<Item = &'static Entry> {
    ACTIONS
        .iter()
        .filter(move |entry| entry.sets & bit(set) != 0)
}
