//! Section headers, and the line loop that gives each line to its keyword.

use super::address;
use super::balance;
use super::bind;
use super::check_lines;
use super::check_options;
use super::global;
use super::http_options;
use super::keyword::{self, Keyword, Kind};
use super::known;
use super::logging;
use super::obsolete_rules;
use super::options;
use super::pages;
use super::persistence;
use super::proxy;
use super::raw::*;
use super::reuse;
use super::rule_lines;
use super::stats_page;
use super::tls_defaults;
use super::userlists::{self, UserlistRaw};
use super::words::{Args, Cx, Owner, Said, Sense, To};
use crate::lang::diag::{Form, did_you_mean, nearest};
use crate::lang::lexer::{Line, Word};
use crate::lang::source::Span;

/// Tables of proxy sections.
#[rustfmt::skip]
pub(super) static PROXY_TABLES: &[&[Keyword<ProxyRaw>]] = &[
    proxy::TABLE,
    options::TABLE,
    http_options::TABLE,
    pages::TABLE,
    rule_lines::TABLE,
    obsolete_rules::TABLE,
    stats_page::TABLE,
    balance::TABLE,
    persistence::TABLE,
    reuse::TABLE,
    check_options::TABLE,
    check_lines::TABLE,
    logging::TABLE,
];

/// Which section lines go to at the moment.
enum Open {
    /// Nothing was opened yet.
    None,
    /// A section we cannot read: one message was enough, its lines are passed over.
    Skipped,
    Global,
    /// The last of [`Raw::sections`].
    Proxy,
    /// The last of [`Raw::userlists`].
    Userlist,
    /// The last of [`Raw::http_errors`].
    HttpErrors,
}

/// Reads the lines of one file into `raw`. Each file begins outside of sections, as in haproxy.
pub(super) fn read(raw: &mut Raw, lines: &[Line], cx: &mut Cx<'_>) {
    let mut open = Open::None;
    for line in lines {
        let Some(first) = line.words.first() else {
            continue;
        };
        match header(raw, line, &first.text(), cx) {
            Some(section) => open = section,
            None => match open {
                Open::Skipped => {}
                Open::None => {
                    let near = nearest(&first.text(), section_names());
                    let text = format!(
                        "unknown keyword '{}' out of section{}",
                        first.text(),
                        did_you_mean(&near)
                    );
                    let _: Said = cx.alert(first.span, text);
                    open = Open::Skipped;
                }
                Open::Global => global_line(&mut raw.global, line, cx),
                Open::Userlist => {
                    let list = raw.userlists.last_mut().expect("opened by its header");
                    let name = list.name.clone();
                    small_line(
                        list,
                        ("userlist", "users", &name),
                        userlists::TABLE,
                        line,
                        cx,
                    );
                }
                Open::HttpErrors => {
                    let group = raw.http_errors.last_mut().expect("opened by its header");
                    let name = group.name.clone();
                    let kind = "http-errors";
                    small_line(group, (kind, kind, &name), pages::GROUP_TABLE, line, cx);
                }
                Open::Proxy => {
                    let proxy = raw.sections.last_mut().expect("opened by its header");
                    let before = cx.mistakes;
                    proxy_line(proxy, line, cx);
                    proxy.set.mistaken |= cx.mistakes > before;
                }
            },
        }
    }
}

fn section_names() -> impl Iterator<Item = &'static str> {
    [
        "global",
        "defaults",
        "frontend",
        "listen",
        "backend",
        "http-errors",
        "userlist",
    ]
    .into_iter()
    .chain(known::SECTIONS.iter().copied())
}

/// Opens the section whose header `line` is, `None` if it is none.
fn header(raw: &mut Raw, line: &Line, first: &str, cx: &mut Cx<'_>) -> Option<Open> {
    let kind = match first {
        "global" => {
            if let Some(extra) = line.words.get(1) {
                let text = format!(
                    "'global' cannot handle unexpected argument '{}'.",
                    extra.text()
                );
                let _: Said = cx.alert(extra.span, text);
            }
            return Some(Open::Global);
        }
        "userlist" => return Some(userlist_header(raw, line, cx).unwrap_or(Open::Skipped)),
        "http-errors" => return Some(http_errors_header(raw, line, cx).unwrap_or(Open::Skipped)),
        "defaults" => SectionKind::Defaults,
        "frontend" => SectionKind::Frontend,
        "listen" => SectionKind::Listen,
        "backend" => SectionKind::Backend,
        other if known::SECTIONS.contains(&other) => {
            let _: Said = cx.not_yet(line.words[0].span, &format!("section {other}"));
            return Some(Open::Skipped);
        }
        _ => return None,
    };
    Some(match proxy_header(raw, kind, line, cx) {
        Ok(proxy) => {
            raw.sections.push(proxy);
            Open::Proxy
        }
        Err(Said { .. }) => {
            raw.skipped
                .extend(line.words.get(1).map(|w| w.text().into_owned()));
            Open::Skipped
        }
    })
}

/// `userlist NAME`. Of two of one name the first counts.
fn userlist_header(raw: &mut Raw, line: &Line, cx: &mut Cx<'_>) -> Result<Open, Said> {
    let head = line.words[0].span;
    let Some(word) = line.words.get(1) else {
        return Err(cx.alert_as(
            Form::ParsingTight,
            head,
            "'userlist' expects <name> as arguments.",
        ));
    };
    if let Some(extra) = line.words.get(2) {
        let text = format!(
            "'userlist' cannot handle unexpected argument '{}'.",
            extra.text()
        );
        return Err(cx.alert(extra.span, text));
    }
    let name = word.text().into_owned();
    if raw.userlists.iter().any(|list| list.name == name) {
        let text = format!("ignoring duplicated userlist '{name}'.");
        cx.warning(word.span, text).tight();
        return Ok(Open::Skipped);
    }
    raw.userlists.push(UserlistRaw::new(name));
    Ok(Open::Userlist)
}

/// `http-errors NAME`; haproxy passes over what follows.
fn http_errors_header(raw: &mut Raw, line: &Line, cx: &mut Cx<'_>) -> Result<Open, Said> {
    let head = line.words[0].span;
    let Some(word) = line.words.get(1) else {
        return Err(cx.alert(head, "missing name for http-errors section."));
    };
    let name = word.text().into_owned();
    if let Some(first) = raw.http_errors.iter().find(|group| group.name == name) {
        let place = cx.place(first.span);
        let text = format!("http-errors section '{name}' already exists (declared at {place}).");
        return Err(cx.alert_as(Form::ParsingTight, word.span, text));
    }
    raw.http_errors.push(pages::Group::new(name, word.span));
    Ok(Open::HttpErrors)
}

/// A line of a section that has only a few keywords. `shown` is what haproxy calls the section in messages.
fn small_line<T>(
    target: &mut T,
    (kind, shown, name): (&'static str, &str, &str),
    table: &'static [Keyword<T>],
    line: &Line,
    cx: &mut Cx<'_>,
) {
    let text = line.words[0].text();
    if let Some((keyword, count)) = keyword::find(&[table], &[&*text]) {
        let owner = Owner { kind, name };
        let _: Result<(), Said> = run(keyword, target, line, (Sense::Plain, 0, count), owner, cx);
    } else {
        let names = table.iter().map(|k| k.name);
        unknown(&text, line.words[0].span, shown, names, cx);
    }
}

/// `KIND [NAME] [ADDRESS] [from DEFAULTS]`; the address is of older versions.
fn proxy_header(
    raw: &Raw,
    kind: SectionKind,
    line: &Line,
    cx: &mut Cx<'_>,
) -> Result<ProxyRaw, Said> {
    let head = &line.words[0];
    let mut words = &line.words[1..];
    let mut from = None;
    if let [before @ .., word, name] = words
        && word.bytes == b"from"
        && (kind == SectionKind::Defaults || !before.is_empty())
    {
        (from, words) = (Some(name), before);
    } else if let [.., word] = words
        && word.bytes == b"from"
        && words.len() > 1
    {
        return Err(cx.alert(word.span, "'from' expects the name of a defaults section."));
    }
    let from = match from {
        Some(name) => Some((named_defaults(raw, name, kind, words.first(), cx)?, true)),
        None if kind == SectionKind::Defaults => None,
        None => raw
            .sections
            .iter()
            .rposition(|s| s.kind == SectionKind::Defaults)
            .map(|at| (at, false)),
    };
    let set = from.map_or_else(Settings::default, |(at, _)| {
        let mut set = raw.sections[at].set.clone();
        set.http.bind(&raw.sections[at].acls);
        set.checks.inherit();
        set
    });
    let span = line
        .words
        .get(1)
        .map_or(head.span, |name| head.span.to(name.span));
    let mut proxy = ProxyRaw {
        from,
        ..ProxyRaw::new(kind, set, span)
    };
    let mut words = words.iter();
    let Some(name) = words.next() else {
        if kind == SectionKind::Defaults {
            return Ok(proxy);
        }
        let at = Span {
            col: head.span.col + head.span.len,
            len: 0,
            ..head.span
        };
        return Err(cx.alert(at, format!("'{}' expects an <id> argument", kind.word())));
    };
    proxy.name = name.text().into_owned();
    let mut address = words.next();
    if kind == SectionKind::Listen && address.is_none() && is_address(&proxy.name) {
        address = Some(name);
    }
    if address != Some(name)
        && let Some(bad) = proxy
            .name
            .chars()
            .find(|&c| !(c.is_ascii_alphanumeric() || "._-:".contains(c)))
    {
        let text = format!(
            "character '{bad}' is not permitted in '{}' name '{}'.",
            kind.word(),
            proxy.name
        );
        // The section's own lines are still worth checking.
        let _: Said = cx.alert(name.span, text);
        proxy.set.mistaken = true;
    }
    if let Some(address) = address {
        header_address(&mut proxy, line, address, address == name, cx)?;
    }
    if let Some(extra) = words.next() {
        let text = format!(
            "'{}' cannot handle unexpected argument '{}'.",
            kind.word(),
            extra.text()
        );
        return Err(cx.alert(extra.span, text));
    }
    Ok(proxy)
}

/// The defaults section called `name`.
fn named_defaults(
    raw: &Raw,
    name: &Word,
    kind: SectionKind,
    own: Option<&Word>,
    cx: &mut Cx<'_>,
) -> Result<usize, Said> {
    let wanted = name.text();
    let defaults = || {
        let all = raw.sections.iter().enumerate();
        all.filter(|(_, s)| s.kind == SectionKind::Defaults && !s.name.is_empty())
    };
    let mut named = defaults().filter(|(_, s)| s.name == wanted);
    let (found, twice) = (named.next(), named.next());
    let own = own.map_or_else(String::new, |w| w.text().into_owned());
    let kind = kind.word();
    match (found, twice) {
        (Some((at, _)), None) => Ok(at),
        (Some((_, first)), Some((_, second))) => {
            let (first, second) = (cx.place(first.span), cx.place(second.span));
            let text = format!(
                "{kind} '{own}' : ambiguous defaults section name '{wanted}', declared at {first} and at {second}."
            );
            Err(cx.alert(name.span, text))
        }
        (None, _) => {
            let near = did_you_mean(&nearest(&wanted, defaults().map(|(_, s)| &*s.name)));
            let text = format!("defaults section '{wanted}' not found for {kind} '{own}'{near}");
            Err(cx.alert(name.span, text))
        }
    }
}

/// Whether a word that stands for a name is an address with a port, as in `listen 192.168.1.1:80`.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    let host_is = host.is_empty() || host == "*" || host.parse::<std::net::IpAddr>().is_ok();
    host_is && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

/// The address on a header line of `frontend` or `listen`: works as the `bind` line it has become.
fn header_address(
    proxy: &mut ProxyRaw,
    line: &Line,
    word: &Word,
    nameless: bool,
    cx: &mut Cx<'_>,
) -> Result<(), Said> {
    if !proxy.kind.has_front() {
        let text = format!(
            "'{}' cannot handle unexpected argument '{}'.",
            proxy.kind.word(),
            word.text()
        );
        return Err(cx.alert(word.span, text));
    }
    let owner = Owner {
        kind: proxy.kind.word(),
        name: "",
    };
    let mut args = Args {
        cx,
        line,
        name: "bind",
        prefix: String::new(),
        head: word.span,
        sense: Sense::Plain,
        at: 0,
        owner,
    };
    let addresses = address::bind(&mut args, word)?;
    bind::add(proxy, addresses, &BindOptions::default(), word.span);
    let kind = proxy.kind.word();
    let what = if nameless {
        format!("an address in place of the name of a '{kind}' section")
    } else {
        format!("an address on the line of a '{kind}' section")
    };
    let name = if nameless { "<name>" } else { &proxy.name };
    let now = format!("'{kind} {name}' and below it 'bind {}'", word.text());
    cx.obsolete(word.span, &what, &now);
    Ok(())
}

/// `no` and `default` before a keyword.
fn sense(words: &[Word]) -> (Sense, usize) {
    match words.first().map(|w| &*w.bytes) {
        Some(b"no") if words.len() > 1 => (Sense::No, 1),
        Some(b"default") if words.len() > 1 => (Sense::Default, 1),
        _ => (Sense::Plain, 0),
    }
}

fn global_line(global: &mut GlobalRaw, line: &Line, cx: &mut Cx<'_>) {
    let (sense, from) = sense(&line.words);
    let texts: Vec<_> = line.words[from..].iter().take(3).map(Word::text).collect();
    let texts: Vec<&str> = texts.iter().map(|t| &**t).collect();
    let head = line.words[from].span;
    if let Some((keyword, count)) = keyword::find(&[global::TABLE, tls_defaults::TABLE], &texts) {
        let owner = Owner {
            kind: "global",
            name: "",
        };
        if let Some(shown) = keyword.once {
            if global.seen.contains(&shown) {
                let text = format!("{shown} already specified, the first one counts.");
                cx.warning(head, text);
                return;
            }
            global.seen.push(shown);
        }
        let _: Result<(), Said> = run(keyword, global, line, (sense, from, count), owner, cx);
    } else if known::global(texts[0]) {
        let _: Said = cx.not_yet(head, texts[0]);
    } else if texts[0] == "stats" {
        let span = line.words.get(from + 1).map_or(head, |w| w.span);
        let got = texts.get(1).copied().unwrap_or("");
        let near = did_you_mean(&nearest(got, ["socket", "maxconn", "timeout"]));
        let text = format!(
            "'stats' only supports 'socket', 'maxconn', 'bind-process' and 'timeout' (got '{got}'){near}"
        );
        let _: Said = cx.alert(span, text);
    } else {
        let names = global::TABLE
            .iter()
            .chain(tls_defaults::TABLE)
            .map(|k| k.name)
            .chain(known::GLOBAL.iter().copied());
        unknown(texts[0], head, "global", names, cx);
    }
}

fn unknown(
    name: &str,
    span: Span,
    section: &str,
    names: impl Iterator<Item = &'static str>,
    cx: &mut Cx<'_>,
) {
    let near = did_you_mean(&nearest(name, names));
    let _: Said = cx.alert(
        span,
        format!("unknown keyword '{name}' in '{section}' section{near}"),
    );
}

fn proxy_line(proxy: &mut ProxyRaw, line: &Line, cx: &mut Cx<'_>) {
    let (sense, from) = sense(&line.words);
    let texts: Vec<_> = line.words[from..].iter().take(3).map(Word::text).collect();
    let texts: Vec<&str> = texts.iter().map(|t| &**t).collect();
    let head = line.words[from].span;
    if let Some((keyword, count)) = keyword::find(PROXY_TABLES, &texts) {
        if misplaced(keyword, proxy, head, cx) {
            return;
        }
        let before = times(&proxy.set);
        let name = proxy.name.clone();
        let owner = Owner {
            kind: proxy.kind.word(),
            name: &name,
        };
        let read = run(keyword, proxy, line, (sense, from, count), owner, cx);
        if keyword.http_only && read.is_ok() {
            proxy.set.http_only.retain(|(k, _)| k.name != keyword.name);
            if sense == Sense::Plain {
                let name = head.to(line.words[from + count - 1].span);
                proxy.set.http_only.push((keyword, name));
            }
        }
        overwritten(keyword.name, &before, proxy, head, cx);
    } else if let Some(known) = known::proxy(&texts) {
        let name = known.name.to_owned();
        let last = line.words[from + name.matches(' ').count()].span;
        if sense == Sense::Plain {
            proxy.set.not_yet.push(NotYetRaw {
                name,
                span: head.to(last),
                layer: known.layer,
            });
        } else {
            // What is not there can be switched off; what was inherited is undone.
            proxy.set.not_yet.retain(|other| other.name != name);
        }
    } else {
        unknown_in_proxy(proxy, line, &texts, from, cx);
    }
}

/// The present spelling with the line's own argument where it shows one `<placeholder>`.
fn spelled(now: &str, args: &[Word]) -> String {
    match (now.split_once('<'), args) {
        (Some((before, after)), [only]) if !after.contains('<') => {
            let rest = after.split_once('>').map_or("", |(_, rest)| rest);
            format!("{before}{}{rest}", only.text())
        }
        _ => now.to_owned(),
    }
}

fn unknown_in_proxy(proxy: &ProxyRaw, line: &Line, texts: &[&str], from: usize, cx: &mut Cx<'_>) {
    let head = line.words[from].span;
    let got = texts.get(1).copied().unwrap_or("");
    let span = line.words.get(from + 1).map_or(head, |w| w.span);
    let tail = |prefix: &'static str| {
        let tables = PROXY_TABLES.iter().flat_map(|t| t.iter()).map(|k| k.name);
        let others = known::PROXY.iter().chain(known::OPTIONS).map(|k| k.name);
        tables
            .chain(others)
            .filter_map(move |n| n.strip_prefix(prefix))
    };
    let text = match texts[0] {
        "option" if got.is_empty() => "'option' expects an option name.".to_owned(),
        "option" => format!(
            "unknown option '{got}'{}",
            did_you_mean(&nearest(got, tail("option ")))
        ),
        "timeout" => {
            let names: Vec<String> = tail("timeout ").map(|n| format!("'{n}'")).collect();
            let near = did_you_mean(&nearest(got, tail("timeout ")));
            format!(
                "'timeout' supports {} (got '{got}'){near}",
                names.join(", ")
            )
        }
        "stats" => {
            let mut names: Vec<String> = tail("stats ").map(|n| format!("'{n}'")).collect();
            names.sort_unstable();
            let near = did_you_mean(&nearest(got, tail("stats ")));
            match got {
                "" => format!("missing keyword in 'stats', expects {}.", names.join(", ")),
                _ => format!(
                    "unknown stats parameter '{got}', expects {}{near}",
                    names.join(", ")
                ),
            }
        }
        "rate-limit" => format!("'rate-limit' only supports 'sessions' (got '{got}')"),
        other => {
            let names = PROXY_TABLES.iter().flat_map(|t| t.iter()).map(|k| k.name);
            let names = names.chain(known::PROXY.iter().map(|k| k.name));
            return unknown(other, head, proxy.kind.word(), names, cx);
        }
    };
    let _: Said = cx.alert(span, text);
}

/// What [`overwritten`] compares.
type Times = (Timeouts, [Option<u32>; 3], u32);

fn times(set: &Settings) -> Times {
    let http = [
        set.http.timeout_http_request_ms,
        set.http.timeout_keep_alive_ms,
        set.http.timeout_tarpit_ms,
    ];
    (set.timeout.clone(), http, set.rate_limit_sessions)
}

/// Says so if a line has changed a time or a rate that its section had set before.
fn overwritten(
    name: &'static str,
    before: &Times,
    proxy: &mut ProxyRaw,
    head: Span,
    cx: &mut Cx<'_>,
) {
    if !name.starts_with("timeout ") && !name.starts_with("rate-limit ") {
        return;
    }
    let changed = *before != times(&proxy.set);
    if !proxy.seen.contains(&name) {
        proxy.seen.push(name);
    } else if changed {
        let text = format!("overwriting '{name}' which was already specified");
        cx.warning(head, text);
    }
}

/// Says so if `keyword` stands in a section that cannot use it. On the wrong side it is passed over with
/// haproxy's warning; where it would change what the file means it is an error.
fn misplaced(keyword: &Keyword<ProxyRaw>, proxy: &ProxyRaw, head: Span, cx: &mut Cx<'_>) -> bool {
    if keyword.sections & proxy::section_bit(proxy.kind) != 0 {
        return false;
    }
    let shown = keyword.name.strip_prefix("option ").unwrap_or(keyword.name);
    if proxy.kind == SectionKind::Defaults {
        let _: Said = cx.alert(
            head,
            format!("'{shown}' not allowed in 'defaults' section."),
        );
        return true;
    }
    let (kind, name) = (proxy.kind.word(), &proxy.name);
    let lacks = if proxy.kind == SectionKind::Frontend {
        "backend"
    } else {
        "frontend"
    };
    let timer = ["timeout ", "rate-limit ", "clitcpka-", "srvtcpka-"]
        .iter()
        .any(|p| shown.starts_with(p));
    let of_lines = [
        "log-format",
        "log-format-sd",
        "error-log-format",
        "httplog",
        "tcplog",
    ];
    if of_lines.contains(&shown) {
        let full = keyword.name;
        let text = format!("{kind} '{name}' : '{full}' directive is ignored in {kind}s.");
        cx.warning(head, text);
    } else if keyword.strict_place {
        let text =
            format!("'{shown}' not allowed because {kind} '{name}' has no {lacks} capability.");
        let _: Said = cx.alert(head, text);
    } else {
        let hint = match shown {
            "maxconn" => " Maybe you want 'fullconn' instead ?",
            "fullconn" => " Maybe you want 'maxconn' instead ?",
            _ => "",
        };
        let ignored = if timer { "will be ignored" } else { "ignored" };
        let text =
            format!("'{shown}' {ignored} because {kind} '{name}' has no {lacks} capability.{hint}");
        cx.warning(head, text);
    }
    true
}

/// Checks sense and arity, then lets the keyword read its arguments.
fn run<T>(
    keyword: &Keyword<T>,
    target: &mut T,
    line: &Line,
    (sense, from, count): (Sense, usize, usize),
    owner: Owner<'_>,
    cx: &mut Cx<'_>,
) -> Result<(), Said> {
    let first = &line.words[from];
    let last = &line.words[from + count - 1];
    let head = first.span.to(last.span);
    if sense != Sense::Plain && !keyword.invertible {
        let text = match keyword.name.strip_prefix("option ") {
            Some(option) => format!("negation/default is not supported for option '{option}'."),
            None => "negation/default currently supported only for options, log, busy-polling, strict-limits, \
                     insecure-fork-wanted and numa-cpu-mapping."
                .to_owned(),
        };
        return Err(cx.alert(line.words[0].span, text));
    }
    let at = from + count;
    let mut args = Args {
        cx,
        line,
        name: keyword.name,
        prefix: String::new(),
        head,
        sense,
        at,
        owner,
    };
    let (least, most) = keyword.args;
    let given = args.rest().len();
    if given < least {
        let text = format!("'{}' expects {} as arguments.", keyword.name, keyword.usage);
        let end = args.end();
        return Err(args.fail(end, text));
    }
    if given > most {
        let extra = &args.rest()[most];
        let text = format!(
            "'{}' cannot handle unexpected argument '{}'.",
            keyword.name,
            extra.text()
        );
        return Err(args.fail(extra.span, text));
    }
    let given = args.rest();
    (keyword.parse)(target, &mut args)?;
    match keyword.kind {
        Kind::Supported | Kind::TlsDefault | Kind::NotYet => {}
        Kind::NoMeaning => {
            let text = format!(
                "'{}' has no meaning here: it tunes {}.",
                keyword.name, keyword.doc
            );
            args.cx.notice(head, text);
        }
        Kind::Obsolete(now) => {
            let now = spelled(now, given);
            args.cx.obsolete(head, &format!("'{}'", keyword.name), &now);
        }
    }
    Ok(())
}
