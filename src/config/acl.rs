//! `acl` and `use_backend` for what a connection shows by itself: its two addresses (configuration.txt 7).
//!
//! Criteria that belong to later issues are noted, not refused at once: in a section in HTTP mode that
//! mode is the one thing that is missing.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::raw::{AclRaw, AclTests, ConditionRaw, Layer, NotYetRaw, ProxyRaw, SwitchRaw, TermRaw};
use super::rules::{Addresses, Numbers, Test};
use super::words::{Args, Said};
use crate::lang::addr;
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::fetch::FETCHES;
use crate::lang::lexer::Word;
use crate::lang::value;

/// Criteria that work here.
const OURS: [&str; 6] = [
    "src",
    "dst",
    "src_port",
    "dst_port",
    "always_true",
    "always_false",
];

/// ACLs that need no declaration and work here.
const PREDEFINED: [&str; 3] = ["TRUE", "FALSE", "LOCALHOST"];
/// Those that do not yet.
const PREDEFINED_LATER: [&str; 17] = [
    "HTTP",
    "HTTP_1.0",
    "HTTP_1.1",
    "HTTP_2.0",
    "HTTP_3.0",
    "HTTP_CONTENT",
    "HTTP_URL_ABS",
    "HTTP_URL_SLASH",
    "HTTP_URL_STAR",
    "METH_CONNECT",
    "METH_DELETE",
    "METH_GET",
    "METH_HEAD",
    "METH_OPTIONS",
    "METH_POST",
    "METH_PUT",
    "METH_TRACE",
];
const PREDEFINED_LATER_TCP: [&str; 3] = ["RDP_COOKIE", "REQ_CONTENT", "WAIT_END"];

/// `acl <name> <criterion> [flags] [operator] <value>…`
pub(super) fn acl(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let name = args.expect("a name and a criterion")?;
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
    args.prefix = format!("error detected while parsing ACL '{text}' : ");
    let words = args.rest();
    args.at = args.line.words.len();
    let test = criterion(proxy, args, words)?;
    proxy.acls.push(AclRaw { name: text, test });
    Ok(())
}

/// `use_backend <backend> [{if | unless} <condition>]`
pub(super) fn use_backend(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let backend = args.expect("a backend name")?;
    if backend.text().contains("%[") {
        note(proxy, "use_backend with a log-format", backend);
        return Ok(());
    }
    let when = match args.next() {
        None => ConditionRaw::default(),
        Some(word) => {
            let negated = match &*word.text() {
                "if" => false,
                "unless" => true,
                other => {
                    let text = format!(
                        "unexpected keyword '{other}' after switching rule, only 'if' and 'unless' are allowed."
                    );
                    return Err(args.fail(word.span, text));
                }
            };
            args.prefix = "error detected while parsing switching rule : ".to_owned();
            condition(proxy, args, negated)?
        }
    };
    proxy.switches.push(SwitchRaw {
        backend: backend.clone(),
        when,
    });
    Ok(())
}

/// The rest of the line as a condition: terms, `or`, `||`, `!` and `{ … }`.
fn condition(
    proxy: &mut ProxyRaw,
    args: &mut Args<'_, '_>,
    negated: bool,
) -> Result<ConditionRaw, Said> {
    let mut any: Vec<Vec<TermRaw>> = vec![Vec::new()];
    let mut not = false;
    let mut outcome = Ok(());
    while let Some(word) = args.next() {
        let text = word.text().into_owned();
        let mut name = &*text;
        if name == "||" || name.eq_ignore_ascii_case("or") {
            any.push(Vec::new());
            continue;
        }
        while let Some(rest) = name.strip_prefix('!') {
            (not, name) = (!not, rest);
        }
        if name.is_empty() {
            continue;
        }
        let term = if name == "{" {
            braces(proxy, args, word)
        } else {
            named(proxy, args, word, name)
        };
        match term {
            Ok(Some(tests)) => any.last_mut().expect("never empty").push(TermRaw {
                negated: not,
                tests,
            }),
            // Noted as not supported yet: the whole condition will not be built.
            Ok(None) => {}
            Err(said) => outcome = Err(said),
        }
        not = false;
    }
    any.retain(|group| !group.is_empty());
    outcome.map(|()| ConditionRaw { negated, any })
}

/// A declared or predefined ACL: its lines.
fn named(
    proxy: &mut ProxyRaw,
    args: &mut Args<'_, '_>,
    word: &Word,
    name: &str,
) -> Result<Option<AclTests>, Said> {
    if proxy.acls.iter().any(|acl| acl.name == name) {
        return Ok(Some(AclTests::Named(name.to_owned())));
    }
    let test = match name {
        "TRUE" => Test::Always(true),
        "FALSE" => Test::Always(false),
        "LOCALHOST" => {
            let mut list = Addresses::default();
            for net in ["127.0.0.0/8", "::1/128"] {
                list.insert(net.parse().expect("a network"));
            }
            Test::Client(list)
        }
        _ if PREDEFINED_LATER.contains(&name) || PREDEFINED_LATER_TCP.contains(&name) => {
            note(proxy, &format!("acl {name}"), word);
            return Ok(None);
        }
        _ => {
            let declared = proxy.acls.iter().map(|acl| &*acl.name).chain(PREDEFINED);
            let near = did_you_mean(&nearest(name, declared));
            return Err(args.fail(word.span, format!("no such ACL : '{name}'{near}")));
        }
    };
    Ok(Some(AclTests::Own(Arc::new(test))))
}

/// `{ <criterion> … }`.
fn braces(
    proxy: &mut ProxyRaw,
    args: &mut Args<'_, '_>,
    open: &Word,
) -> Result<Option<AclTests>, Said> {
    let rest = args.rest();
    let Some(end) = rest.iter().position(|word| word.bytes == b"}") else {
        args.at = args.line.words.len();
        return Err(args.fail(open.span, "missing closing '}' in condition."));
    };
    args.at += end + 1;
    criterion(proxy, args, &rest[..end]).map(|test| test.map(AclTests::Own))
}

/// A criterion with flags and patterns; `None` if it belongs to a later issue.
fn criterion(
    proxy: &mut ProxyRaw,
    args: &mut Args<'_, '_>,
    words: &[Word],
) -> Result<Option<Arc<Test>>, Said> {
    let Some((first, rest)) = words.split_first() else {
        let end = args.end();
        return Err(args.fail(end, "missing fetch method in ACL expression ''."));
    };
    let text = first.text().into_owned();
    let fetch = text.split(['(', ',']).next().unwrap_or("");
    if !OURS.contains(&&*text) {
        if OURS.contains(&fetch) || FETCHES.binary_search(&fetch).is_ok() {
            note(proxy, &format!("acl {fetch}"), first);
            return Ok(None);
        }
        let near = did_you_mean(&nearest(fetch, FETCHES.iter().copied()));
        let what = format!("unknown fetch method '{fetch}' in ACL expression '{text}'{near}");
        return Err(args.fail(first.span, what));
    }
    let mut given = Given::default();
    let patterns = flags(proxy, args, rest, &mut given)?;
    let Some(patterns) = patterns else {
        return Ok(None);
    };
    let test = match &*text {
        "always_true" => Test::Always(true),
        "always_false" => Test::Always(false),
        "src" => Test::Client(addresses(args, &patterns, &given)?),
        "dst" => Test::Local(addresses(args, &patterns, &given)?),
        "src_port" => Test::ClientPort(numbers(args, &patterns, &given)?),
        _ => Test::LocalPort(numbers(args, &patterns, &given)?),
    };
    let never =
        patterns.is_empty() && !given.found && !given.end && !matches!(test, Test::Always(_));
    if never {
        let text = format!(
            "parsing acl keyword '{text}' : no pattern to match against were provided, so this ACL will never match."
        );
        let help = "'--' says that this is intended, '-m found' matches whatever there is";
        args.cx.warning(first.span, text).help(help);
    }
    Ok(Some(Arc::new(test)))
}

/// What the flags before the patterns say.
#[derive(Debug, Default)]
struct Given {
    /// `-m found`.
    found: bool,
    /// `--`.
    end: bool,
    /// `-n`: no name is looked up.
    no_names: bool,
}

/// Takes the flags off; the patterns that remain, those of `-f` files before them. `None`: a flag of a later issue.
fn flags(
    proxy: &mut ProxyRaw,
    args: &mut Args<'_, '_>,
    words: &[Word],
    given: &mut Given,
) -> Result<Option<Vec<Word>>, Said> {
    let mut patterns = Vec::new();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        match (&*word.bytes, after) {
            (b"--", _) => {
                given.end = true;
                rest = after;
                break;
            }
            (b"-i", _) => rest = after,
            (b"-n", _) => (given.no_names, rest) = (true, after),
            (b"-f", [file, after @ ..]) => {
                patterns.extend(file_patterns(args, file)?);
                given.end = true;
                rest = after;
            }
            (b"-m", [method, after @ ..]) => {
                match &*method.bytes {
                    b"found" => given.found = true,
                    b"ip" | b"int" => {}
                    _ => {
                        note(proxy, &format!("acl … -m {}", method.text()), word);
                        return Ok(None);
                    }
                }
                rest = after;
            }
            (b"-M" | b"-u", _) => {
                note(proxy, &format!("acl … {}", word.text()), word);
                return Ok(None);
            }
            (b"-f" | b"-m", []) => {
                let text = format!("'{}' expects an argument.", word.text());
                return Err(args.fail(word.span, text));
            }
            ([b'-', b'a'..=b'z' | b'A'..=b'Z', ..], _) => {
                let text = format!(
                    "'{}' is not a valid ACL option. Please use '--' before any pattern beginning with a '-'.",
                    word.text()
                );
                return Err(args.fail(word.span, text));
            }
            _ => break,
        }
    }
    patterns.extend_from_slice(rest);
    Ok(Some(patterns))
}

/// Patterns of a file, one a line; empty lines and those that begin with `#` are none.
fn file_patterns(args: &mut Args<'_, '_>, file: &Word) -> Result<Vec<Word>, Said> {
    let name = file.text();
    let bytes = match args.cx.world.read(&args.cx.below(&name)) {
        Ok(bytes) => bytes,
        Err(why) => {
            let text = format!("failed to open pattern file <{name}> ({why}).");
            return Err(args.fail(file.span, text));
        }
    };
    let lines = bytes.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
    let kept = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    Ok(kept
        .map(|line| Word {
            bytes: line.to_vec(),
            span: file.span,
        })
        .collect())
}

fn addresses(args: &mut Args<'_, '_>, patterns: &[Word], given: &Given) -> Result<Addresses, Said> {
    let mut out = Addresses::default();
    out.any = given.found;
    for word in patterns {
        let text = word.text();
        match addr::network(&text) {
            Ok(net) => out.insert(net.trunc()),
            Err(_) if !given.no_names && is_name(&text) => {
                let found = args.cx.world.resolve(&text).unwrap_or_default();
                let Some(ip) = found.first() else {
                    let text = format!("'{text}' is not a valid IPv4 or IPv6 address.");
                    return Err(args.fail(word.span, text));
                };
                out.insert(single(*ip));
            }
            Err(error) => {
                let text = format!("{}.", error.message);
                return Err(args.fail(word.span, text));
            }
        }
    }
    Ok(out)
}

fn is_name(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains([':', '/'])
}

fn single(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

/// Numbers and ranges `low:high`, `low:`, `:high`; `eq ge gt le lt` apply to what follows them.
fn numbers(args: &mut Args<'_, '_>, patterns: &[Word], given: &Given) -> Result<Numbers, Said> {
    const ALL: (i64, i64) = (i64::MIN, i64::MAX);
    let mut out = Numbers {
        ranges: if given.found { vec![ALL] } else { Vec::new() },
    };
    let mut operator = "eq";
    for word in patterns {
        let text = word.text().into_owned();
        if let Some(known) = ["eq", "ge", "gt", "le", "lt"]
            .into_iter()
            .find(|o| *o == text)
        {
            operator = known;
            continue;
        }
        let (low, high) = text.split_once(':').unwrap_or((&text, &text));
        let read = |part: &str, open: i64| match part {
            "" => Some(open),
            part => value::int(part.as_bytes(), ALL.0..=ALL.1).ok(),
        };
        let range = (read(low, ALL.0), read(high, ALL.1));
        let (Some(low), Some(high)) = range else {
            let what = format!("'{text}' is not a number.");
            return Err(args.fail(word.span, what));
        };
        if low > high {
            let what = format!("'{text}' is not a valid number range.");
            return Err(args.fail(word.span, what));
        }
        out.ranges.push(match operator {
            "ge" => (low, ALL.1),
            "gt" => (high.saturating_add(1), ALL.1),
            "le" => (ALL.0, high),
            "lt" => (ALL.0, low.saturating_sub(1)),
            _ => (low, high),
        });
    }
    Ok(out)
}

/// Notes what a later issue brings; it is refused once the mode of the section is certain.
fn note(proxy: &mut ProxyRaw, name: &str, word: &Word) {
    proxy.set.not_yet.push(NotYetRaw {
        name: name.to_owned(),
        span: word.span,
        layer: Layer::Rules,
    });
}
