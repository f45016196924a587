//! The options that choose how servers are probed (configuration.txt 4.2).

use super::check_lines::is_framing;
use super::check_raw::{Chosen, HttpLine, Service};
use super::keyword::{Arity, B, D, Keyword, L, MANY, NONE, Sections};
use super::raw::ProxyRaw;
use super::words::{Args, Said};
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::lexer::Word;
use crate::proto::check::services::MysqlClient;

const BACK: Sections = D | L | B;

const fn opt(
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
    opt(
        "option httpchk",
        (0, 4),
        "[<method>] [<uri>] [<version>] [<host>]",
        "probes servers by HTTP",
        httpchk,
    ),
    opt(
        "option ssl-hello-chk",
        NONE,
        "",
        "probes servers by a TLS hello",
        |p, _| {
            p.set.checks.choose(Chosen::SslHello);
            Ok(())
        },
    ),
    opt(
        "option external-check",
        NONE,
        "",
        "probes servers by a command",
        |p, _| {
            p.set.checks.choose(Chosen::External);
            Ok(())
        },
    ),
    opt(
        "external-check",
        (0, MANY),
        "{command|path} <text>",
        "the command that probes servers, and its PATH",
        external,
    ),
    opt(
        "option tcp-check",
        NONE,
        "",
        "probes servers by the steps of 'tcp-check'",
        |p, _| {
            p.set.checks.choose(Chosen::Tcp);
            Ok(())
        },
    ),
    opt(
        "option ldap-check",
        NONE,
        "",
        "probes servers by an anonymous bind of LDAP",
        |p, _| {
            p.set.checks.choose(Chosen::Service(Service::Ldap));
            Ok(())
        },
    ),
    opt(
        "option mysql-check",
        (0, 3),
        "[user <username> [post-41|pre-41|post-80]]",
        "probes servers by the greeting of MySQL, or by a login",
        mysql,
    ),
    opt(
        "option pgsql-check",
        (0, 2),
        "user <username>",
        "probes servers by the start of a PostgreSQL session",
        pgsql,
    ),
    opt(
        "option redis-check",
        NONE,
        "",
        "probes servers by a PING of Redis",
        |p, _| {
            p.set.checks.choose(Chosen::Service(Service::Redis));
            Ok(())
        },
    ),
    opt(
        "option smtpchk",
        (0, 2),
        "[{HELO|EHLO} <domain>]",
        "probes servers by a greeting of SMTP",
        smtp,
    ),
];

fn external(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(word) = args.next() else {
        return Err(args.fail(args.end(), "missing argument after 'external-check'."));
    };
    let kind = word.text();
    if !["command", "path"].contains(&&*kind) {
        let near = did_you_mean(&nearest(&kind, ["command", "path"]));
        let text =
            format!("'external-check' only supports 'command' and 'path'. but got '{kind}'.{near}");
        return Err(args.fail(word.span, text));
    }
    let Some(value) = args.next() else {
        return Err(args.fail(args.end(), format!("missing argument after '{kind}'.")));
    };
    args.done()?;
    let value = Some(value.text().into_owned());
    if kind == "command" {
        proxy.set.checks.command = value;
    } else {
        proxy.set.checks.path = value;
    }
    Ok(())
}

// ---------------------------------------------------------------- option httpchk

/// Forms: nothing; `<uri>`; `<method> <uri>`; `<method> <uri> <version>`; and 3.1's host after these.
fn httpchk(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let words = args.rest();
    let mut line = HttpLine::default();
    match words {
        [] => {}
        [uri] => line.uri = uri.bytes.clone().into(),
        [method, uri, ..] => {
            line.method = method.bytes.clone().into();
            line.uri = uri.bytes.clone().into();
        }
    }
    if let Some(word) = words.get(2) {
        version(&mut line, word, args)?;
    }
    if let Some(host) = words.get(3) {
        line.fields
            .push(((*b"host").into(), host.bytes.clone().into()));
    }
    proxy.set.checks.request = line;
    proxy.set.checks.choose(Chosen::Http);
    Ok(())
}

/// The version, and what people hid behind it before there was `http-check send`: fields, and a body.
fn version(line: &mut HttpLine, word: &Word, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let text = word.text().into_owned();
    let (version, rest) = match text.find(['\r', '\n']) {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
    };
    if version.is_empty() || version.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let text = format!(
            "'option httpchk' : '{}' is more than an HTTP version such as HTTP/1.1.",
            text.escape_default()
        );
        let help = "'http-check send' adds fields and a body";
        return Err(args.fail_help(word.span, text, help));
    }
    line.v11 = is_11(version);
    if rest.is_empty() {
        return Ok(());
    }
    let rest = rest.replace("\r\n", "\n");
    let (head, body) = rest.split_once("\n\n").unwrap_or((&rest, ""));
    let mut now = String::from("http-check send");
    for field in head.split('\n').filter(|l| !l.is_empty()) {
        let Some((name, value)) = field.split_once(':') else {
            let text = format!(
                "'option httpchk' : '{}' behind the version is no header field.",
                field.escape_default()
            );
            return Err(args.fail_help(
                word.span,
                text,
                "'http-check send' adds fields and a body",
            ));
        };
        let (name, value) = (name.trim(), value.trim());
        now.push_str(&format!(" hdr {name} '{value}'"));
        let field = name.to_ascii_lowercase();
        if !is_framing(field.as_bytes()) {
            line.fields
                .push((field.into_bytes().into(), value.as_bytes().into()));
        }
    }
    if !body.is_empty() {
        now.push_str(" body …");
        line.body = Some(body.as_bytes().into());
    }
    args.cx.obsolete(
        word.span,
        "'option httpchk' with fields behind its version",
        &now,
    );
    Ok(())
}

/// haproxy speaks 1.1 for any later version, too.
pub(super) fn is_11(version: &str) -> bool {
    version
        .strip_prefix("HTTP/")
        .is_some_and(|v| v.starts_with("1.1") || v.starts_with(|c: char| ('2'..='9').contains(&c)))
}

// ---------------------------------------------------------------- services

/// haproxy falls back to its own greeting wherever the two words are not as they should be.
fn smtp(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let hello = match args.rest() {
        [word, domain] if matches!(&*word.bytes, b"HELO" | b"EHLO") => {
            [&word.bytes[..], b" ", &domain.bytes].concat()
        }
        [] => b"HELO localhost".to_vec(),
        [word, ..] => {
            let text =
                "'option smtpchk' takes HELO or EHLO and a domain; 'HELO localhost' is sent.";
            args.cx.warning(word.span, text);
            b"HELO localhost".to_vec()
        }
    };
    let hello = Service::Smtp(hello.into());
    proxy.set.checks.choose(Chosen::Service(hello));
    Ok(())
}

fn pgsql(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let user = match args.rest() {
        [word, user] if word.bytes == b"user" => user,
        [word, _] => {
            let text = "'option pgsql-check' only supports optional values: 'user'.";
            return Err(args.fail(word.span, text));
        }
        _ => {
            let end = args.end();
            let text = "'option pgsql-check' expects 'user <username>' as argument.";
            return Err(args.fail(end, text));
        }
    };
    let service = Service::Pgsql(user.bytes.clone().into());
    proxy.set.checks.choose(Chosen::Service(service));
    Ok(())
}

fn mysql(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let words = args.rest();
    let login = match words {
        [] => None,
        [word, ..] if word.bytes != b"user" => {
            let text = format!(
                "'option mysql-check' only supports optional values: 'user' (got '{}').",
                word.text()
            );
            return Err(args.fail(word.span, text));
        }
        [_] => {
            let end = args.end();
            let text = "'option mysql-check user' expects <username> as argument.";
            return Err(args.fail(end, text));
        }
        [_, user] => Some((user, MysqlClient::Post41)),
        [_, user, kind, ..] => {
            let client = match &*kind.bytes {
                b"pre-41" => MysqlClient::Pre41,
                b"post-41" => MysqlClient::Post41,
                b"post-80" => MysqlClient::Post80,
                _ => {
                    let got = kind.text();
                    let near = did_you_mean(&nearest(&got, ["post-41", "pre-41", "post-80"]));
                    let text = format!(
                        "keyword 'user' only supports 'post-41', 'pre-41' and 'post-80' (got '{got}').{near}"
                    );
                    return Err(args.fail(kind.span, text));
                }
            };
            Some((user, client))
        }
    };
    let service = Service::Mysql(login.map(|(user, client)| (user.bytes.clone().into(), client)));
    proxy.set.checks.choose(Chosen::Service(service));
    Ok(())
}
