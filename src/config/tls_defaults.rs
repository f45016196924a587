//! Keywords of `global` that set what `bind` and `server` lines with `ssl` begin with (configuration.txt 3.1, 3.2).
//!
//! TLS is not here yet: a line with `ssl` is refused by that name. Where there is none, nothing begins with these
//! settings in haproxy either, so a file that carries them (distributions ship one that does) means the same with us.
//! Their values are checked as far as that goes without a TLS library, and one notice says that they have no effect.

use super::keyword::{Arity, G, Keyword, MANY, ONE};
use super::raw::GlobalRaw;
use super::words::{Args, Cx, Said};
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::lexer::Word;
use crate::lang::value::Unit;

/// Least size of a Diffie-Hellman group, in bits, as in haproxy.
const DH_PARAM_MIN: u32 = 1024;

const fn kw(
    name: &'static str,
    args: Arity,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<GlobalRaw>,
) -> Keyword<GlobalRaw> {
    Keyword::new(name, G, args, usage, doc, parse).tls_default()
}

/// A list of names that only a TLS library can tell from nonsense.
const fn list(name: &'static str, what: &'static str) -> Keyword<GlobalRaw> {
    kw(name, (0, 1), "<list>", what, |g, a| {
        let what = match a.name {
            name if name.ends_with("ciphers") || name.ends_with("ciphersuites") => {
                "a cipher suite as an argument"
            }
            name if name.ends_with("curves") => "a curves suite as an argument",
            _ => "a list of signature algorithms as an argument",
        };
        one(g, a, what)
    })
}

/// Every such keyword.
pub(super) static TABLE: &[Keyword<GlobalRaw>] = &[
    kw("ca-base", (0, 1), "<dir>", "where CA files are", directory).once("'ca-base'"),
    kw(
        "crt-base",
        (0, 1),
        "<dir>",
        "where certificates are",
        directory,
    )
    .once("'crt-base'"),
    kw("key-base", (0, 1), "<dir>", "where keys are", directory).once("'key-base'"),
    list("ssl-default-bind-ciphers", "ciphers up to TLS 1.2"),
    list("ssl-default-bind-ciphersuites", "ciphers of TLS 1.3"),
    list(
        "ssl-default-bind-client-sigalgs",
        "signatures of client certificates",
    ),
    list("ssl-default-bind-curves", "curves"),
    kw(
        "ssl-default-bind-options",
        (0, MANY),
        "<option>…",
        "versions and tickets",
        |g, a| options(g, a, BIND_ONLY),
    ),
    list("ssl-default-bind-sigalgs", "signatures"),
    list(
        "ssl-default-server-ciphers",
        "ciphers up to TLS 1.2 with servers",
    ),
    list(
        "ssl-default-server-ciphersuites",
        "ciphers of TLS 1.3 with servers",
    ),
    list(
        "ssl-default-server-client-sigalgs",
        "signatures of own certificates",
    ),
    list("ssl-default-server-curves", "curves with servers"),
    kw(
        "ssl-default-server-options",
        (0, MANY),
        "<option>…",
        "versions and tickets with servers",
        |g, a| options(g, a, &[]),
    ),
    list("ssl-default-server-sigalgs", "signatures of servers"),
    kw(
        "ssl-server-verify",
        (0, 1),
        "{none|required}",
        "whether certificates of servers are looked at",
        |g, a| {
            let word = a.next();
            match word.map(|w| &*w.bytes) {
                Some(b"none" | b"required") => note(g, a),
                _ => {
                    let span = word.map_or_else(|| a.end(), |w| w.span);
                    let text = "'ssl-server-verify' expects 'none' or 'required' as argument.";
                    return Err(a.fail(span, text));
                }
            }
            Ok(())
        },
    ),
    kw(
        "tune.ssl.cachesize",
        ONE,
        "<number>",
        "sessions kept for resumption",
        |g, a| {
            a.count(0)?;
            note(g, a);
            Ok(())
        },
    ),
    kw(
        "tune.ssl.default-dh-param",
        ONE,
        "<bits>",
        "size of Diffie-Hellman groups",
        |g, a| {
            a.count(DH_PARAM_MIN)?;
            note(g, a);
            Ok(())
        },
    ),
    kw(
        "tune.ssl.lifetime",
        ONE,
        "<time>",
        "how long sessions can be resumed",
        |g, a| {
            a.time_ms(Unit::S)?;
            note(g, a);
            Ok(())
        },
    ),
    kw(
        "tune.ssl.maxrecord",
        ONE,
        "<size>",
        "bytes of a record",
        |g, a| {
            a.size(0)?;
            note(g, a);
            Ok(())
        },
    ),
];

/// Versions as `ssl-min-ver` and `ssl-max-ver` name them.
const VERSIONS: [&str; 5] = ["SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// Options of both sides, each alone.
const OPTIONS: [&str; 12] = [
    "force-sslv3",
    "force-tlsv10",
    "force-tlsv11",
    "force-tlsv12",
    "force-tlsv13",
    "no-sslv3",
    "no-tlsv10",
    "no-tlsv11",
    "no-tlsv12",
    "no-tlsv13",
    "no-tls-tickets",
    "tls-tickets",
];

/// Those with a version behind them.
const BOUNDS: [&str; 2] = ["ssl-min-ver", "ssl-max-ver"];

/// Those of listeners alone.
const BIND_ONLY: &[&str] = &["prefer-client-ciphers", "strict-sni", "no-strict-sni"];

/// Reads the options of one side, which takes `more` beyond those of both.
fn options(
    global: &mut GlobalRaw,
    args: &mut Args<'_, '_>,
    more: &[&'static str],
) -> Result<(), Said> {
    let name = args.name.to_owned();
    if args.is_empty() {
        let text = format!("global statement '{name}' expects an option as an argument.");
        return Err(args.fail(args.end(), text));
    }
    while let Some(word) = args.next() {
        let option = word.text();
        if BOUNDS.contains(&&*option) {
            version(args, &name, &option)?;
        } else if !OPTIONS.contains(&&*option) && !more.contains(&&*option) {
            let known = OPTIONS.iter().chain(&BOUNDS).chain(more).copied();
            let near = did_you_mean(&nearest(&option, known));
            let dot = if near.is_empty() { "." } else { "" };
            let text = format!("unknown option '{option}' on global statement '{name}'{dot}{near}");
            return Err(args.fail(word.span, text));
        }
    }
    note(global, args);
    Ok(())
}

/// The version behind `ssl-min-ver` or `ssl-max-ver`.
fn version(args: &mut Args<'_, '_>, name: &str, option: &str) -> Result<(), Said> {
    let Some(word) = args.next() else {
        let text =
            format!("'{option}' : missing the ssl/tls version on global statement '{name}'.");
        return Err(args.fail(args.end(), text));
    };
    let version = word.text();
    if VERSIONS.contains(&&*version) {
        return Ok(());
    }
    let text = format!("'{version}' : unknown ssl/tls version on global statement '{name}'.");
    Err(args.fail_help(word.span, text, format!("one of {}", VERSIONS.join(", "))))
}

fn directory(global: &mut GlobalRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    one(global, args, "a directory path as an argument")
}

/// One word that is not empty.
fn one(global: &mut GlobalRaw, args: &mut Args<'_, '_>, what: &str) -> Result<(), Said> {
    let word = args.next();
    if word.is_none_or(|w: &Word| w.bytes.is_empty()) {
        let span = word.map_or_else(|| args.end(), |w| w.span);
        let text = format!("global statement '{}' expects {what}.", args.name);
        return Err(args.fail(span, text));
    }
    note(global, args);
    Ok(())
}

/// Keeps that it was there, for the notice.
fn note(global: &mut GlobalRaw, args: &Args<'_, '_>) {
    let at = global.tls_defaults.get_or_insert((args.head, 0));
    at.1 += 1;
}

/// Says once that these lines have no effect, unless a line that they are for is refused anyway.
pub(super) fn tell(global: &GlobalRaw, cx: &mut Cx<'_>) {
    let Some((at, lines)) = global.tls_defaults else {
        return;
    };
    if cx.refused.contains("ssl") {
        return;
    }
    let others = match lines {
        1 => String::new(),
        n => format!(" (nor {} more like it)", n - 1),
    };
    let text = format!("no line uses TLS, so this default of it has no effect{others}.");
    cx.notice(at, text);
}
