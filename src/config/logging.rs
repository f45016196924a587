//! What log lines show: their formats, unique identifiers and captures (configuration.txt 4.2, 8.2).
//!
//! A format is compiled where it is written. Whether it fits the mode of a proxy that inherits it, and what the
//! names in it stand for, is found by [`resolve`] when every section is known.

use std::sync::Arc;

use super::http::CaptureHeader;
use super::keyword::{Arity, D, F, Keyword, L, MANY, Sections};
use super::language::Names;
use super::load::predefined;
use super::model::{Config, LogFormat, Mode, ProxyId};
use super::raw::{LogFormatRaw, LogWord, ProxyRaw, SectionKind};
use super::words::{Args, Cx, Said};
use crate::lang::diag::Form;
use crate::lang::expr::Fault;
use crate::lang::fetch::Place;
use crate::lang::lexer::Word;
use crate::lang::logformat;
use crate::lang::source::Span;
use crate::lang::value;

/// Of the frontend, and of defaults.
const FRONT: Sections = D | F | L;
/// Bytes of a captured cookie, name included (haproxy's `tune.http.cookielen` less the end of its string).
const COOKIE_MAX: u32 = 63;

const fn kw(
    name: &'static str,
    sections: Sections,
    args: Arity,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<ProxyRaw>,
) -> Keyword<ProxyRaw> {
    Keyword::new(name, sections, args, usage, doc, parse)
}

/// Every keyword of log lines.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    kw(
        "capture",
        F | L,
        (0, MANY),
        "{cookie | request header | response header} <name> len <length>",
        "keeps a cookie or a header for the log lines",
        capture,
    ),
    kw(
        "declare",
        F | L,
        (0, MANY),
        "capture {request | response} len <length>",
        "a place that rules capture into",
        declare,
    ),
    kw(
        "error-log-format",
        FRONT,
        (0, MANY),
        "<format>",
        "the line of a connection that failed before it became a session",
        error_log_format,
    ),
    kw(
        "log-format",
        FRONT,
        (0, MANY),
        "<format>",
        "the format of log lines",
        log_format,
    ),
    kw(
        "log-format-sd",
        FRONT,
        (0, MANY),
        "<format>",
        "structured data of lines in format rfc5424",
        log_format_sd,
    ),
    kw(
        "option httplog",
        FRONT,
        (0, MANY),
        "[clf]",
        "logs requests with timers, state, counters and captures; in TCP mode as 'option tcplog', with a warning",
        httplog,
    ),
    kw(
        "option tcplog",
        FRONT,
        (0, MANY),
        "[clf]",
        "logs TCP sessions with timers, state and counters",
        tcplog,
    ),
    kw(
        "unique-id-format",
        FRONT,
        (0, MANY),
        "<format>",
        "what identifies a request",
        unique_id_format,
    ),
    kw(
        "unique-id-header",
        FRONT,
        (0, MANY),
        "<name>",
        "the header that takes the identifier to the server",
        unique_id_header,
    ),
];

// ---------------------------------------------------------------- formats

/// How one kind of format is read.
struct FormatOf {
    /// As haproxy's messages call it.
    called: &'static str,
    /// Where a name that stands for nothing was met, in such messages.
    place_called: &'static str,
    read: fn(&Word, &mut crate::lang::expr::Cx<'_>) -> Result<logformat::LogFormat, Fault>,
    place: Place,
}

const LOG: FormatOf = FormatOf {
    called: "log-format",
    place_called: "log-format string",
    read: logformat::LogFormat::parse_log,
    place: Place::Logs,
};
const SD: FormatOf = FormatOf {
    called: "log-format-sd",
    ..LOG
};
const ERROR: FormatOf = FormatOf {
    called: "error-log-format",
    ..LOG
};
/// An identifier is made when the request's head is there.
const ID: FormatOf = FormatOf {
    called: "unique-id",
    place_called: "unique-id-format string",
    read: logformat::LogFormat::parse_id,
    place: Place::FrontRequestHeader,
};

impl FormatOf {
    fn parse(&self, word: &Word, cx: &mut Cx<'_>) -> Result<logformat::LogFormat, Said> {
        let prefix = format!("failed to parse {} : ", self.called);
        let format = cx.language(Form::Late, &prefix, |cx| (self.read)(word, cx))?;
        match format.misplaced(self.place) {
            None => Ok(format),
            Some(out) => Err(cx.fault(Form::Late, &prefix, Fault::wrong(out.span, out.text))),
        }
    }
}

/// The one argument of a format's keyword.
fn format_of(kind: &FormatOf, args: &mut Args<'_, '_>) -> Result<logformat::LogFormat, Said> {
    let Some(word) = args.next().filter(|w| !w.bytes.is_empty()) else {
        let text = format!("{} expects an argument.", args.name);
        return Err(args.fail(args.end(), text));
    };
    if let Some(extra) = args.rest().first() {
        let text = format!(
            "{} expects only one argument, don't forget to escape spaces!",
            args.name
        );
        let help = "put the format in double quotes";
        return Err(args.fail_help(extra.span, text, help));
    }
    kind.parse(word, args.cx)
}

/// Makes `format` the one of the lines; in defaults a warning tells which one it replaces.
fn choose(
    proxy: &mut ProxyRaw,
    args: &mut Args<'_, '_>,
    word: LogWord,
    format: logformat::LogFormat,
) {
    if let Some(before) = &proxy.set.log_format
        && proxy.kind == SectionKind::Defaults
    {
        overrides(args, word.name(), before.word.name());
    }
    proxy.set.log_format = Some(LogFormatRaw {
        word,
        format: Arc::new(format),
    });
    proxy.set.log_format_at = Some(args.head);
    proxy.set.httplog_at = word.is_http().then_some(args.head);
}

fn overrides(args: &mut Args<'_, '_>, now: &str, before: &str) {
    let text = format!("'{now}' overrides previous '{before}' in 'defaults' section.");
    args.cx.warning(args.head, text).tight();
}

fn log_format(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let format = format_of(&LOG, args)?;
    choose(proxy, args, LogWord::Own, format);
    Ok(())
}

fn log_format_sd(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    proxy.set.http.log_format_sd = Some(Arc::new(format_of(&SD, args)?));
    Ok(())
}

fn error_log_format(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let format = format_of(&ERROR, args)?;
    if proxy.set.http.error_log_format.is_some() && proxy.kind == SectionKind::Defaults {
        overrides(args, "error-log-format", "error-log-format");
    }
    proxy.set.http.error_log_format = Some(Arc::new(format));
    Ok(())
}

fn httplog(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    option(proxy, args, [LogWord::Http, LogWord::HttpClf])
}

fn tcplog(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    option(proxy, args, [LogWord::Tcp, LogWord::TcpClf])
}

/// A format of haproxy's own, plain or `clf`.
fn option(
    proxy: &mut ProxyRaw,
    args: &mut Args<'_, '_>,
    [plain, clf]: [LogWord; 2],
) -> Result<(), Said> {
    let word = if args.eat("clf") { clf } else { plain };
    if let Some(extra) = args.rest().first() {
        let name = args.name.trim_start_matches("option ");
        let text = format!("keyword '{name}' only supports option 'clf'.");
        return Err(args.fail(extra.span, text));
    }
    let format = LOG.parse(&own(word, args.head), args.cx)?;
    choose(proxy, args, word, format);
    Ok(())
}

/// The text of a format of haproxy's own, as if it stood at `span`.
fn own(word: LogWord, span: Span) -> Word {
    Word {
        bytes: predefined(word).into(),
        span,
    }
}

fn unique_id_format(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    proxy.set.http.unique_id_format = Some(format_of(&ID, args)?);
    Ok(())
}

fn unique_id_header(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(word) = args.next().filter(|w| !w.bytes.is_empty()) else {
        let text = format!("{} expects an argument.", args.name);
        return Err(args.fail(args.end(), text));
    };
    proxy.set.http.unique_id_header = Some(word.bytes.as_slice().into());
    args.done()
}

// ---------------------------------------------------------------- captures

fn capture(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let words: Vec<_> = args.rest().iter().take(2).map(Word::text).collect();
    let words: Vec<&str> = words.iter().map(|w| &**w).collect();
    match words.as_slice() {
        ["cookie", ..] => {
            args.at += 1;
            let (name, len) = named_len(
                args,
                "'capture' expects 'cookie' <cookie_name> 'len' <len>.",
            )?;
            proxy.set.http.cookie_capture = Some((name, len));
        }
        [side @ ("request" | "response"), "header"] => {
            args.at += 2;
            let usage = format!("'capture {side}' expects 'header' <header_name> 'len' <len>.");
            let (name, len) = named_len(args, &usage)?;
            let list = match *side {
                "request" => &mut proxy.set.http.request_captures,
                _ => &mut proxy.set.http.response_captures,
            };
            list.push(CaptureHeader {
                name: Some(name),
                len,
            });
        }
        _ => {
            let text = "'capture' expects 'cookie' or 'request header' or 'response header'.";
            let span = args.rest().first().map_or_else(|| args.end(), |w| w.span);
            return Err(args.fail(span, text));
        }
    }
    if let Some(extra) = args.rest().first() {
        let text = format!(
            "'capture {}' cannot handle unexpected argument '{}'.",
            words[0],
            extra.text()
        );
        return Err(args.fail(extra.span, text));
    }
    Ok(())
}

/// `<name> len <length>`.
fn named_len(args: &mut Args<'_, '_>, usage: &str) -> Result<(Box<[u8]>, u32), Said> {
    let [name, len, number, ..] = args.rest() else {
        return Err(args.fail(args.end(), usage));
    };
    if name.bytes.is_empty() || len.bytes != b"len" {
        let at = if name.bytes.is_empty() { name } else { len };
        return Err(args.fail(at.span, usage));
    }
    args.at += 3;
    let len = value::uint(&number.bytes, 0..=i32::MAX as u32);
    let len = len.map_err(|e| args.bad_value(number, &e))?;
    Ok((name.bytes.as_slice().into(), len))
}

/// `declare capture {request | response} len <length>`
fn declare(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let word =
        |args: &Args<'_, '_>, nth: usize| args.rest().get(nth).map(|w| w.text().into_owned());
    let fail = |args: &mut Args<'_, '_>, nth: usize, text: &str| {
        let span = args.rest().get(nth).map_or_else(|| args.end(), |w| w.span);
        Err(args.fail(span, text))
    };
    match word(args, 0).as_deref() {
        Some("capture") => {}
        None => {
            let text =
                "'declare' needs a second keyword that specify the type of declaration ('capture')";
            return fail(args, 0, text);
        }
        Some(other) => {
            let text = format!("unknown declaration type '{other}' (supports 'capture')");
            return fail(args, 0, &text);
        }
    }
    let list = match word(args, 1).as_deref() {
        Some("request") => &mut proxy.set.http.request_captures,
        Some("response") => &mut proxy.set.http.response_captures,
        _ => {
            let text = "'declare capture' requires a direction ('request' or 'response')";
            return fail(args, 1, text);
        }
    };
    if word(args, 2).as_deref() != Some("len") {
        return fail(
            args,
            2,
            "'declare capture' requires a capture length ('len')",
        );
    }
    args.at += 3;
    if args.is_empty() {
        let text =
            "'declare capture': 'len' requires a numeric value that represents the capture length";
        return fail(args, 0, text);
    }
    if args.rest()[0].bytes == b"0" {
        return fail(args, 0, "length must be > 0");
    }
    let len = args.count(1)?;
    list.push(CaptureHeader { name: None, len });
    args.done()
}

// ---------------------------------------------------------------- when all is known

/// What a frontend's lines look like: fits the formats of proxy `id` to its mode, settles the names in them and says
/// what does not fit.
pub(super) fn resolve(section: &ProxyRaw, id: ProxyId, out: &mut Config, cx: &mut Cx<'_>) {
    let Some(frontend) = out.proxies[id.index()].frontend else {
        return;
    };
    let set = &section.set;
    let tcp = set.mode == Mode::Tcp;
    let mut http = std::mem::take(&mut out.proxies[id.index()].http);
    let chosen = set.log_format.as_ref();
    let simple = |word: LogWord| tcp && (word == LogWord::Tcp || word.is_http());
    // Lines of TCP sessions have a quick way of their own; one that becomes an HTTP session is written by its format.
    http.log_format = match chosen {
        Some(raw) if tcp && raw.word.is_http() => {
            let word = own(LogWord::Tcp, section.span);
            LOG.parse(&word, cx).ok().map(Arc::new)
        }
        chosen => chosen.map(|raw| Arc::clone(&raw.format)),
    };
    out.frontends[frontend.index()].log_format = match chosen {
        None => LogFormat::Connect,
        Some(raw) if simple(raw.word) => LogFormat::Tcp,
        Some(_) => LogFormat::Custom,
    };
    let names = Names {
        config: out,
        proxy: id,
        acls: Some(&section.acls),
        groups: &[],
    };
    let shared = [
        (&mut http.log_format, &LOG),
        (&mut http.error_log_format, &ERROR),
        (&mut http.log_format_sd, &SD),
    ];
    for (format, kind) in shared {
        if let Some(format) = format {
            fit(section, Arc::make_mut(format), kind, &names, cx);
        }
    }
    if let Some(format) = &mut http.unique_id_format {
        fit(section, format, &ID, &names, cx);
    }
    if let Some((_, len)) = &mut http.cookie_capture {
        let name = &section.name;
        if tcp {
            let text =
                format!("'capture' statement ignored for proxy '{name}' as it requires HTTP mode.");
            cx.warning(section.span, text).form(Form::Bare);
        }
        if *len > COOKIE_MAX {
            *len = COOKIE_MAX;
            let text =
                format!("truncating capture length to {COOKIE_MAX} bytes for proxy '{name}'.");
            cx.warning(section.span, text).form(Form::Bare);
        }
    }
    out.proxies[id.index()].http = http;
}

fn fit(
    section: &ProxyRaw,
    format: &mut logformat::LogFormat,
    kind: &FormatOf,
    names: &Names<'_>,
    cx: &mut Cx<'_>,
) {
    if section.set.disabled {
        return;
    }
    let prefix = format!("failed to parse {} : ", kind.called);
    if section.set.mode == Mode::Tcp
        && let Some((alias, span)) = format.http_only()
    {
        let text = format!("format variable '{alias}' is reserved for HTTP mode.");
        let _: Said = cx.fault(Form::Late, &prefix, Fault::wrong(span, text));
    }
    if let Err(text) = format.settle(names) {
        let span = format.span().unwrap_or(section.span);
        let here = format!(" in {} in proxy", kind.place_called);
        let text = text.replacen(" in proxy", &here, 1);
        let _: Said = cx.fault(Form::ParsingTight, "", Fault::wrong(span, text));
    }
}
