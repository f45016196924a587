//! `http-check` and `tcp-check` lines (configuration.txt 4.2).

use std::net::IpAddr;

use super::check_options::is_11;
use super::checks::*;
use super::keyword::{Arity, B, D, Keyword, L, MANY, Sections};
use super::raw::ProxyRaw;
use super::words::{Args, Said, To};
use crate::lang::diag::{Form, did_you_mean, nearest};
use crate::lang::expr::{self, Expr, Fault};
use crate::lang::fetch::unhex;
use crate::lang::lexer::Word;
use crate::lang::logformat::LogFormat;
use crate::lang::pattern::pcre;
use crate::lang::rules::parse::variable_in;
use crate::lang::subject::Scope;
use crate::lang::value;
use crate::proto::check::Status;

const BACK: Sections = D | L | B;

const fn kw(
    name: &'static str,
    args: Arity,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<ProxyRaw>,
) -> Keyword<ProxyRaw> {
    Keyword::new(name, BACK, args, usage, doc, parse)
}

/// Every keyword of this file.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    kw(
        "http-check",
        (0, MANY),
        "{connect|send|expect|set-var…|comment|disable-on-404|send-state} …",
        "what HTTP probes say and expect",
        |p, a| line(p, a, Style::Http),
    ),
    kw(
        "tcp-check",
        (0, MANY),
        "{connect|send|send-lf|send-binary…|expect|set-var…|comment} …",
        "what probes of any protocol say and expect",
        |p, a| line(p, a, Style::Tcp),
    ),
];

/// Fields that follow from the body.
pub(super) fn is_framing(field: &[u8]) -> bool {
    field == b"content-length" || field == b"transfer-encoding"
}

// ---------------------------------------------------------------- lines of steps

/// Words behind `http-check`, or `tcp-check`.
const HTTP_WORDS: &[&str] = &[
    "disable-on-404",
    "send-state",
    "comment",
    "connect",
    "send",
    "expect",
    "set-var-fmt(*)",
    "set-var(*)",
    "unset-var(*)",
];
const TCP_WORDS: &[&str] = &[
    "comment",
    "connect",
    "send",
    "send-lf",
    "send-binary",
    "send-binary-lf",
    "expect",
    "set-var-fmt(*)",
    "set-var(*)",
    "unset-var(*)",
];

fn line(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>, style: Style) -> Result<(), Said> {
    let keyword = args.name.to_owned();
    let word = args.next();
    let text = word.map(|w| w.text().into_owned()).unwrap_or_default();
    let span = word.map_or_else(|| args.end(), |w| w.span);
    args.prefix = format!("'{keyword} {text}' : ");
    // What probes ask is prepared for by their driver alone: the way of the traffic is not to pay for it.
    let asked = args.cx.vars.asked;
    let http = style == Style::Http;
    let read = match (text.as_str(), word) {
        ("disable-on-404", _) if http => {
            args.prefix.clear();
            args.done()?;
            proxy.set.checks.disable_on_404 = Some(args.head.to(span));
            return Ok(());
        }
        ("send-state", _) if http => {
            args.prefix.clear();
            args.done()?;
            proxy.set.checks.send_state = Some(args.head.to(span));
            return Ok(());
        }
        ("comment", _) => comment_line(args),
        ("connect", _) => connect(args),
        ("send", _) if http => request(args),
        ("send" | "send-lf" | "send-binary" | "send-binary-lf", _) if !http => send(args, &text),
        ("expect", _) => expect(args, style),
        (name, Some(word))
            if ["set-var", "set-var-fmt", "unset-var"]
                .iter()
                .any(|k| name.split('(').next() == Some(k)) =>
        {
            variable(args, word)
        }
        (other, _) => {
            let known = if http { HTTP_WORDS } else { TCP_WORDS };
            let list: Vec<String> = known.iter().map(|k| format!("'{k}'")).collect();
            let near = did_you_mean(&nearest(other, known.iter().copied()));
            args.prefix.clear();
            let text = format!(
                "'{keyword}' only supports {}. but got '{other}'{near}",
                list.join(", ")
            );
            return Err(args.fail(span, text));
        }
    };
    args.cx.vars.asked = asked;
    let (what, comment) = read?;
    let steps = proxy.set.checks.own_steps(style);
    let number = u16::try_from(steps.len() + 1).unwrap_or(u16::MAX);
    if let Err(why) = in_order(steps, &what, number, &keyword) {
        return Err(args.fail(span, why));
    }
    steps.push(Step {
        what,
        comment,
        number,
        span: Some(args.head.to(span)),
    });
    Ok(())
}

/// A connection comes first, and in HTTP a request before what is expected of its answer.
fn in_order(steps: &[Step], what: &What, number: u16, keyword: &str) -> Result<(), String> {
    let before = steps.iter().rev().find(|s| !s.what.is_passive());
    let before = before.map(|s| &s.what);
    let missing = |rule: &str, which: &str| {
        Err(format!(
            "unable to add {keyword} {rule} rule at step {number} (missing {which} rule)."
        ))
    };
    let connects = |s: &Step| matches!(s.what, What::Connect(_));
    match (what, before) {
        (What::Connect(_), Some(_)) if !steps.iter().any(connects) => Err(
            "first step MUST also be a 'connect', optionally preceded by a 'set-var', an 'unset-var' or a 'comment', \
             when there is a 'connect' step in the tcp-check ruleset."
                .to_owned(),
        ),
        (What::Request(_), Some(What::Request(_) | What::Expect(_))) => missing("send", "connect"),
        (What::Expect(_), Some(What::Connect(_))) if keyword == "http-check" => {
            missing("expect", "send")
        }
        _ => Ok(()),
    }
}

/// What a line gives: the step and its own comment.
type Read = Result<(What, Option<Box<str>>), Said>;

fn comment_line(args: &mut Args<'_, '_>) -> Read {
    let Some(word) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, "expects a string as argument."));
    };
    args.name = "comment";
    args.done()?;
    Ok((What::Comment, Some(word.text().into())))
}

/// The word behind an option such as `comment`.
fn of_option<'a>(args: &mut Args<'a, '_>, option: &str, what: &str) -> Result<&'a Word, Said> {
    match args.next() {
        Some(word) if !word.bytes.is_empty() => Ok(word),
        _ => {
            let end = args.end();
            Err(args.fail(end, format!("'{option}' expects {what} as argument.")))
        }
    }
}

fn string<'a>(args: &mut Args<'a, '_>, option: &str) -> Result<&'a Word, Said> {
    of_option(args, option, "a string")
}

fn language<T>(
    args: &mut Args<'_, '_>,
    read: impl FnOnce(&mut expr::Cx<'_>) -> Result<T, Fault>,
) -> Result<T, Said> {
    let prefix = args.prefix.clone();
    args.cx.language(Form::Parsing, &prefix, read)
}

/// A format in a request: nothing in its result may end a line.
fn in_request(args: &mut Args<'_, '_>, word: &Word) -> Result<LogFormat, Said> {
    language(args, |cx| {
        LogFormat::parse(word, cx).map_err(|fault| in_format(fault, word))
    })
}

/// A format whose result is taken as it is.
fn format(args: &mut Args<'_, '_>, word: &Word) -> Result<LogFormat, Said> {
    language(args, |cx| {
        LogFormat::parse_value(word, cx).map_err(|fault| in_format(fault, word))
    })
}

fn in_format(mut fault: Fault, word: &Word) -> Fault {
    let why = fault.text.trim_end_matches('.');
    fault.text = format!("'{}' invalid log-format string ({why}).", word.text());
    fault
}

fn expression(args: &mut Args<'_, '_>, word: &Word, of: &str) -> Result<Expr, Said> {
    language(args, |cx| {
        Expr::parse(word, cx).map_err(|mut fault| {
            fault.text = format!(
                "error detected while parsing {of} expression : {}",
                fault.text
            );
            fault
        })
    })
}

fn variable(args: &mut Args<'_, '_>, word: &Word) -> Read {
    let name = word.text();
    let kind = name.split('(').next().unwrap_or_default().to_owned();
    args.prefix = format!("{}'{kind}' : ", args.prefix);
    let (id, when) = language(args, |cx| variable_in(word, cx))?;
    if id.scope == Scope::Proc {
        let name = format!("{} {kind}(proc.*)", args.name);
        return Err(args.cx.not_yet(word.span, &name));
    }
    let what = if kind == "unset-var" {
        What::UnsetVar(id)
    } else {
        let Some(value) = args.next() else {
            let end = args.end();
            let missing = if kind == "set-var" {
                "missing fetch method."
            } else {
                "expects a format string."
            };
            return Err(args.fail(end, missing));
        };
        if kind == "set-var" {
            What::SetVar(id, when, language(args, |cx| Expr::parse(value, cx))?)
        } else {
            What::SetVarFmt(id, when, format(args, value)?)
        }
    };
    args.name = "set-var";
    args.done()?;
    Ok((what, None))
}

fn connect(args: &mut Args<'_, '_>) -> Read {
    let mut out = Connect::default();
    let mut comment = None;
    let keyword = args.name;
    while let Some(word) = args.next() {
        let text = word.text();
        match &*text {
            "comment" => comment = Some(string(args, "comment")?.text().into()),
            "default" => out.as_server = true,
            "linger" => out.linger = true,
            "send-proxy" => out.send_proxy = true,
            "via-socks4" => out.via_socks4 = true,
            "port" => out.port = Some(port(args)?),
            "addr" => out.addr = Some(addr(args)?),
            "proto" => {
                let proto = string(args, "proto")?;
                match &*proto.bytes {
                    b"h1" | b"none" => {}
                    b"h2" | b"fcgi" => {
                        let name = format!("{keyword} connect proto {}", proto.text());
                        return Err(args.cx.not_yet(proto.span, &name));
                    }
                    _ => {
                        let text = format!("'proto' : unknown MUX protocol '{}'.", proto.text());
                        return Err(args.fail(proto.span, text));
                    }
                }
            }
            "ssl" | "sni" | "alpn" => {
                let name = format!("{keyword} connect {text}");
                return Err(args.cx.not_yet(word.span, &name));
            }
            other => {
                let known = [
                    "comment",
                    "port",
                    "addr",
                    "send-proxy",
                    "ssl",
                    "sni",
                    "alpn",
                    "via-socks4",
                    "linger",
                    "default",
                    "proto",
                ];
                let near = did_you_mean(&nearest(other, known));
                let text = format!(
                    "expects 'comment', 'port', 'addr', 'send-proxy', 'ssl', 'sni', 'alpn' or 'via-socks4', 'linger', \
                     'default' but got '{other}' as argument.{near}"
                );
                return Err(args.fail(word.span, text));
            }
        }
    }
    Ok((What::Connect(out), comment))
}

fn port(args: &mut Args<'_, '_>) -> Result<Port, Said> {
    let word = of_option(args, "port", "a port number or a sample expression")?;
    if !word.bytes.iter().all(u8::is_ascii_digit) {
        return expression(args, word, "port").map(Port::Of);
    }
    match word.text().parse::<u16>() {
        Ok(port) if port > 0 => Ok(Port::Fixed(port)),
        _ => {
            let text = format!(
                "expects a valid TCP port (from range 1 to 65535) or a sample expression, got {}.",
                word.text()
            );
            Err(args.fail(word.span, text))
        }
    }
}

fn addr(args: &mut Args<'_, '_>) -> Result<IpAddr, Said> {
    let word = of_option(args, "addr", "<ipv4|ipv6>")?;
    let text = word.text();
    match text.trim_matches(['[', ']']).parse() {
        Ok(ip) => Ok(ip),
        Err(_) => {
            let text = format!("'addr' : invalid address: '{text}' in '{text}'");
            Err(args.fail_help(word.span, text, "'port' names the port"))
        }
    }
}

fn send(args: &mut Args<'_, '_>, kind: &str) -> Read {
    let Some(word) = args.next().filter(|w| !w.bytes.is_empty()) else {
        let end = args.end();
        return Err(args.fail(end, format!("'{kind}' expects a string as argument.")));
    };
    let payload = match kind {
        "send" => Payload::Bytes(word.bytes.clone().into()),
        "send-lf" => Payload::Text(format(args, word)?),
        "send-binary" => Payload::Bytes(match unhex(&word.bytes) {
            Ok(bytes) => bytes.into(),
            Err(why) => {
                let text = format!("'{}' invalid binary string ({why}).", word.text());
                return Err(args.fail(word.span, text));
            }
        }),
        _ => Payload::Hex(format(args, word)?),
    };
    let mut comment = None;
    if let Some(word) = args.next() {
        if word.bytes != b"comment" {
            let text = format!("expects 'comment' but got '{}' as argument.", word.text());
            return Err(args.fail(word.span, text));
        }
        comment = Some(string(args, "comment")?.text().into());
    }
    if let Some(extra) = args.next() {
        let text = format!("expects 'comment' but got '{}' as argument.", extra.text());
        return Err(args.fail(extra.span, text));
    }
    Ok((What::Send(payload), comment))
}

fn request(args: &mut Args<'_, '_>) -> Read {
    let mut out = Request::unset();
    let mut comment = None;
    while let Some(word) = args.next() {
        let text = word.text();
        let option = &*text;
        match option {
            "comment" => comment = Some(string(args, option)?.text().into()),
            "meth" => out.method = string(args, option)?.bytes.clone().into(),
            "uri" => out.uri = Payload::Bytes(string(args, option)?.bytes.clone().into()),
            "uri-lf" => {
                let word = string(args, option)?;
                out.uri = Payload::Text(in_request(args, word)?);
            }
            "ver" => out.version = Some(is_11(&string(args, option)?.text())),
            "body" => out.body = Some(Payload::Bytes(string(args, option)?.bytes.clone().into())),
            "body-lf" => {
                let word = string(args, option)?;
                out.body = Some(Payload::Text(format(args, word)?));
            }
            "hdr" => {
                let (Some(name), Some(value)) = (args.next(), args.next()) else {
                    let end = args.end();
                    let text = "'hdr' expects <name> and <value> as arguments.";
                    return Err(args.fail(end, text));
                };
                let value = in_request(args, value)?;
                let field = name.bytes.to_ascii_lowercase();
                if !is_framing(&field) {
                    out.fields.push((field.into(), Payload::Text(value)));
                }
            }
            other => {
                let known = [
                    "comment", "meth", "uri", "uri-lf", "ver", "hdr", "body", "body-lf",
                ];
                let near = did_you_mean(&nearest(other, known));
                let text = format!(
                    "expects 'comment', 'meth', 'uri', 'uri-lf', 'ver', 'hdr', 'body' or 'body-lf' but got '{other}' \
                     as argument.{near}"
                );
                return Err(args.fail(word.span, text));
            }
        }
    }
    Ok((What::Request(out), comment))
}

// ---------------------------------------------------------------- expect

fn expect(args: &mut Args<'_, '_>, style: Style) -> Read {
    let mut comment = None;
    let mut found: Option<Match> = None;
    let mut negated = false;
    let mut out = Expect::new(Match::String(Box::default()));
    if args.is_empty() {
        let end = args.end();
        return Err(args.fail(end, "expects at least a matching pattern as arguments."));
    }
    while let Some(word) = args.next() {
        let text = word.text();
        let bare = text.trim_start_matches('!');
        if found.is_none() && bare.len() < text.len() {
            negated ^= (text.len() - bare.len()) % 2 == 1;
            if bare.is_empty() {
                continue;
            }
        }
        match bare {
            "comment" => comment = Some(string(args, bare)?.text().into()),
            "min-recv" => out.min_recv = min_recv(args)?,
            "ok-status" => {
                let known = [Status::L4Ok, Status::L6Ok, Status::L7Ok, Status::L7Okc];
                out.ok = status(args, bare, &known)?;
            }
            "error-status" => {
                let known = [
                    Status::L4Con,
                    Status::L6Rsp,
                    Status::L7Rsp,
                    Status::L7Sts,
                    Status::L7Okc,
                ];
                out.error = Some(status(args, bare, &known)?);
            }
            "tout-status" => {
                let known = [Status::L4Tout, Status::L6Tout, Status::L7Tout];
                out.timeout = status(args, bare, &known)?;
            }
            "on-success" => {
                let word = string(args, bare)?;
                out.on_success = Some(format(args, word)?);
            }
            "on-error" => {
                let word = string(args, bare)?;
                out.on_error = Some(format(args, word)?);
            }
            "status-code" => {
                let word = of_option(args, bare, "an expression")?;
                out.code = Some(expression(args, word, "status-code")?);
            }
            _ if found.is_some() => return Err(unexpected(args, word, style)),
            _ => match pattern(args, bare, style)? {
                Some(what) => found = Some(what),
                None => return Err(unexpected(args, word, style)),
            },
        }
    }
    let Some(what) = found else {
        let end = args.end();
        return Err(args.fail(end, "expects at least a matching pattern as arguments."));
    };
    (out.what, out.negated) = (what, negated);
    Ok((What::Expect(Box::new(out)), comment))
}

fn unexpected(args: &mut Args<'_, '_>, word: &Word, style: Style) -> Said {
    let (list, known): (_, &[&str]) = match style {
        Style::Http => (
            "'only supports min-recv, [!]string', '[!]rstring', '[!]string-lf', '[!]status', '[!]rstatus', [!]hdr, \
             [!]fhdr or comment",
            &[
                "string",
                "rstring",
                "string-lf",
                "status",
                "rstatus",
                "hdr",
                "fhdr",
            ],
        ),
        Style::Tcp | Style::Plain => (
            "'only supports min-recv, '[!]binary', '[!]string', '[!]rstring', '[!]string-lf''[!]rbinary', \
             '[!]binary-lf' or comment",
            &[
                "string",
                "rstring",
                "string-lf",
                "binary",
                "rbinary",
                "binary-lf",
            ],
        ),
    };
    let text = word.text();
    let bare = text.trim_start_matches('!');
    let options = [
        "min-recv",
        "comment",
        "ok-status",
        "error-status",
        "tout-status",
        "on-success",
        "on-error",
        "status-code",
    ];
    let near = did_you_mean(&nearest(bare, known.iter().copied().chain(options)));
    args.fail(
        word.span,
        format!("{list} but got '{bare}' as argument.{near}"),
    )
}

fn min_recv(args: &mut Args<'_, '_>) -> Result<Option<usize>, Said> {
    let word = of_option(args, "min-recv", "an integer")?;
    match value::int(&word.bytes, -1..=i64::from(i32::MAX)) {
        Ok(number) => Ok(usize::try_from(number).ok()),
        Err(_) => {
            let text = format!(
                "'min-recv' expects -1 or a positive integer (got '{}').",
                word.text()
            );
            Err(args.fail(word.span, text))
        }
    }
}

fn status(args: &mut Args<'_, '_>, option: &str, known: &[Status]) -> Result<Status, Said> {
    let word = string(args, option)?;
    let text = word.text();
    if let Some(status) = known.iter().find(|s| s.name() == text) {
        return Ok(*status);
    }
    let names: Vec<String> = known.iter().map(|s| format!("'{}'", s.name())).collect();
    let (last, names) = names.split_last().expect("there are several");
    let text = format!(
        "'{option}' only supports {} or {last} status (got '{text}').",
        names.join(", ")
    );
    Err(args.fail(word.span, text))
}

/// The match called `name` with its pattern; `None`: there is none of that name.
fn pattern(args: &mut Args<'_, '_>, name: &str, style: Style) -> Result<Option<Match>, Said> {
    let http = style == Style::Http;
    let known = match name {
        "string" | "rstring" | "string-lf" => true,
        "status" | "rstatus" | "hdr" | "fhdr" => http,
        "binary" | "rbinary" | "binary-lf" => !http,
        _ => false,
    };
    if !known {
        return Ok(None);
    }
    if let "hdr" | "fhdr" = name {
        return field(args, name).map(Match::Field).map(Some);
    }
    let word = of_option(args, name, "a <pattern>")?;
    let bytes = || word.bytes.clone().into_boxed_slice();
    Ok(Some(match name {
        "string" => Match::String(bytes()),
        "rstring" => Match::Regex(regex(args, word)?),
        "string-lf" => Match::Format(format(args, word)?),
        "binary" => match unhex(&word.bytes) {
            Ok(bytes) => Match::Binary(bytes.into()),
            Err(why) => {
                let text = format!("invalid binary string ({why}).");
                return Err(args.fail(word.span, text));
            }
        },
        "rbinary" => Match::BinaryRegex(regex(args, word)?),
        "binary-lf" => Match::BinaryFormat(format(args, word)?),
        "status" => Match::Status(codes(args, word)?),
        _ => Match::StatusRegex(regex(args, word)?),
    }))
}

fn regex(args: &mut Args<'_, '_>, word: &Word) -> Result<regex::bytes::Regex, Said> {
    pcre::compile(&word.bytes, false).map_err(|why| args.fail(word.span, why + "."))
}

/// `200,201,300-310`.
fn codes(args: &mut Args<'_, '_>, word: &Word) -> Result<Vec<(u16, u16)>, Said> {
    let text = word.text();
    if let Some((at, bad)) = text
        .char_indices()
        .find(|(_, c)| !(c.is_ascii_digit() || *c == ',' || *c == '-'))
    {
        let text = format!("invalid character '{bad}' in the list of status codes.");
        return Err(args.fail(word.part(at, bad.len_utf8()), text));
    }
    let mut out = Vec::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        match (low.parse(), high.parse()) {
            (Ok(low), Ok(high)) if low <= high => out.push((low, high)),
            _ => {
                let text = format!("invalid range of status codes '{part}'.");
                return Err(args.fail(word.span, text));
            }
        }
    }
    Ok(out)
}

/// `hdr { name | name-lf } [ -m <meth> ] <name> [ { value | value-lf } [ -m <meth> ] <value> ]`
fn field(args: &mut Args<'_, '_>, kind: &str) -> Result<FieldMatch, Said> {
    let first = args.next().map(|w| w.text());
    let format = match first.as_deref() {
        Some("name") => false,
        Some("name-lf") => true,
        _ => return Err(no_name(args, kind)),
    };
    if args.is_empty() {
        return Err(no_name(args, kind));
    }
    let name = field_pattern(args, kind, format)?;
    let value = match args.rest().first().map(|w| &*w.bytes) {
        Some(b"value") => Some(false),
        Some(b"value-lf") => Some(true),
        _ => None,
    };
    let value = match value {
        Some(format) => {
            args.next();
            if args.is_empty() {
                let end = args.end();
                let text = format!("'{kind}' expect a pattern with the value keyword.");
                return Err(args.fail(end, text));
            }
            Some(field_pattern(args, kind, format)?)
        }
        None => None,
    };
    Ok(FieldMatch {
        full: kind == "fhdr",
        name,
        value,
    })
}

fn no_name(args: &mut Args<'_, '_>, kind: &str) -> Said {
    let span = args.rest().first().map_or_else(|| args.end(), |w| w.span);
    let text =
        format!("'{kind}' expects at the name keyword as first argument followed by a pattern.");
    args.fail(span, text)
}

fn field_pattern(args: &mut Args<'_, '_>, kind: &str, lf: bool) -> Result<Pattern, Said> {
    let mut how = Some(How::Str);
    if args.eat("-m") {
        let word = args.next();
        let text = word.map(|w| w.text().into_owned()).unwrap_or_default();
        how = match text.as_str() {
            "str" => Some(How::Str),
            "beg" => Some(How::Beg),
            "end" => Some(How::End),
            "sub" => Some(How::Sub),
            "reg" => None,
            other => {
                let span = word.map_or_else(|| args.end(), |w| w.span);
                let text = format!(
                    "'{kind}' : '-m' only supports 'str', 'beg', 'end', 'sub' or 'reg' (got '{other}')."
                );
                return Err(args.fail(span, text));
            }
        };
    }
    let word = of_option(args, kind, "a <pattern>")?;
    match how {
        None if lf => {
            let text = format!(
                "'{kind}': log-format string is not supported with a regex matching method."
            );
            Err(args.fail(word.span, text))
        }
        None => regex(args, word).map(Pattern::Regex),
        Some(how) if lf => Ok(Pattern::Text(how, Payload::Text(format(args, word)?))),
        Some(how) => Ok(Pattern::Text(
            how,
            Payload::Bytes(word.bytes.clone().into()),
        )),
    }
}
