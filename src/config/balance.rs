//! How servers are chosen: `balance`, `hash-type` and what goes with them (configuration.txt 4.2).

use super::http::HashKey;
use super::keyword::{B, D, Keyword, L, ONE};
use super::language::Names;
use super::model::*;
use super::raw::ProxyRaw;
use super::words::{Args, Cx, Said, To};
use crate::lang::diag::{Form, did_you_mean, nearest};
use crate::lang::expr::Expr;
use crate::lang::fetch::Place;
use crate::lang::lexer::Word;
use crate::lang::value;

/// Keywords that tune the hashing algorithms.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    Keyword::new(
        "hash-balance-factor",
        D | L | B,
        ONE,
        "<factor>",
        "most load of a server in percent of the average, under consistent hashing",
        |p, a| {
            let span = a.rest().first().map_or(a.head, |w| w.span);
            let factor = a.number(i64::from(i32::MIN)..=i64::from(i32::MAX))?;
            if factor != 0 && factor <= 100 {
                let text = "'hash-balance-factor' must be 0 or greater than 100.";
                return Err(a.fail(span, text));
            }
            p.set.hash_balance_factor = u32::try_from(factor).expect("0 or above 100");
            Ok(())
        },
    ),
    Keyword::new(
        "hash-preserve-affinity",
        D | L | B,
        ONE,
        "{always|maxconn|maxqueue}",
        "whether keys of a full server go elsewhere",
        |p, a| {
            let word = a.expect("'always', 'maxconn' or 'maxqueue'")?;
            p.set.hash_affinity = match &*word.text() {
                "always" => Affinity::Always,
                "maxconn" => Affinity::Maxconn,
                "maxqueue" => Affinity::Maxqueue,
                other => {
                    let text = format!(
                        "'hash-preserve-affinity' only supports 'always', 'maxconn', 'maxqueue' (got '{other}').",
                    );
                    return Err(a.fail(word.span, text));
                }
            };
            Ok(())
        },
    ),
];

/// Names of algorithms with the haproxy form of those that take an argument.
const ALGORITHMS: [&str; 11] = [
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "random",
    "source",
    "uri",
    "url_param",
    "hdr",
    "rdp-cookie",
    "hash",
];

pub(super) fn balance(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let at = args
        .rest()
        .first()
        .map_or(args.head, |word| args.head.to(word.span));
    let Some(word) = args.next() else {
        // haproxy takes this as round robin.
        proxy.set.balance = Some((Balance::RoundRobin, at));
        return Ok(());
    };
    let text = word.text().into_owned();
    let (name, inside) = match text.split_once('(') {
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(inside) => (name, Some(inside)),
            None => {
                let what = format!("balance {name} : missing closing parenthesis.");
                return Err(args.fail(word.span, what));
            }
        },
        None => (&*text, None),
    };
    let mut key = None;
    let chosen = match name {
        "roundrobin" => Balance::RoundRobin,
        "static-rr" => Balance::StaticRr,
        "leastconn" => Balance::LeastConn,
        "first" => Balance::First,
        "source" => Balance::Source,
        "random" => Balance::Random(draws(args, word, inside)?),
        "uri" => {
            key = Some(uri(args)?);
            Balance::Key(KeyKind::Uri)
        }
        "url_param" => {
            key = Some(url_param(args)?);
            Balance::Key(KeyKind::UrlParam)
        }
        "hdr" => {
            key = Some(header(args, word, inside)?);
            Balance::Key(KeyKind::Header)
        }
        "rdp-cookie" => {
            let name = inside.unwrap_or("mstshash");
            if name.is_empty() {
                let text = "balance rdp-cookie : missing cookie name.";
                return Err(args.fail(word.span, text));
            }
            key = Some(HashKey::RdpCookie {
                name: name.as_bytes().into(),
            });
            Balance::Key(KeyKind::RdpCookie)
        }
        "hash" => {
            let Some(expression) = args.next() else {
                let end = args.end();
                return Err(args.fail(end, "balance hash requires a sample expression."));
            };
            if let Some(extra) = args.next() {
                let text = format!(
                    "balance hash takes no other argument (got '{}').",
                    extra.text()
                );
                return Err(args.fail(extra.span, text));
            }
            key = Some(sample(args, expression)?);
            Balance::Key(KeyKind::Expr)
        }
        "log-hash" | "sticky" => {
            return Err(args.cx.not_yet(word.span, &format!("balance {name}")));
        }
        _ => {
            let hint = did_you_mean(&nearest(name, ALGORITHMS));
            let help = format!("known are: {}", ALGORITHMS.join(" "));
            return Err(args.fail_help(
                word.span,
                format!("unknown 'balance' algorithm '{name}'{hint}"),
                help,
            ));
        }
    };
    args.done()?;
    proxy.set.balance = Some((chosen, at));
    proxy.set.http.hash_key = key;
    Ok(())
}

/// The expression of `balance hash`.
fn sample(args: &mut Args<'_, '_>, word: &Word) -> Result<HashKey, Said> {
    let prefix = format!(
        "failed to parse 'balance hash' expression '{}' in : ",
        word.text()
    );
    let expr = args
        .cx
        .language(Form::Parsing, &prefix, |cx| Expr::parse(word, cx))?;
    if let Some(what) = expr.lacks(Place::BackUseServer) {
        let text = format!(
            "error detected while parsing 'balance hash' expression '{}' which requires information from {what}, \
             which is not available here.",
            word.text()
        );
        return Err(args.fail(word.span, text));
    }
    Ok(HashKey::Expr(expr))
}

/// Settles the names in the expression of proxy `id`.
pub(super) fn resolve(section: &ProxyRaw, id: ProxyId, out: &mut Config, cx: &mut Cx<'_>) {
    let Some(HashKey::Expr(mut expr)) = out.proxies[id.index()]
        .http
        .hash_key
        .take_if(|key| matches!(key, HashKey::Expr(_)))
    else {
        return;
    };
    let names = Names {
        config: out,
        proxy: id,
        acls: None,
        groups: &[],
    };
    if let Err(text) = expr.settle(&names) {
        let span = section.set.balance.as_ref().map_or(section.span, |b| b.1);
        let _: Said = cx.alert_as(Form::Late, span, format!("'balance hash' : {text}"));
    }
    out.proxies[id.index()].http.hash_key = Some(HashKey::Expr(expr));
}

/// What follows `balance uri`.
fn uri(args: &mut Args<'_, '_>) -> Result<HashKey, Said> {
    let (mut len, mut depth, mut whole, mut path_only) = (None, None, false, false);
    while let Some(word) = args.next() {
        match &*word.text() {
            "len" => len = Some(positive(args, "len")?),
            "depth" => depth = Some(positive(args, "depth")?),
            "whole" => whole = true,
            "path-only" => path_only = true,
            other => {
                let hint = did_you_mean(&nearest(other, ["len", "depth", "path-only", "whole"]));
                let text = format!(
                    "balance uri only accepts parameters 'len', 'depth', 'path-only', and 'whole' (got '{other}'){hint}"
                );
                return Err(args.fail(word.span, text));
            }
        }
    }
    Ok(HashKey::Uri {
        len,
        depth,
        whole,
        path_only,
    })
}

fn positive(args: &mut Args<'_, '_>, what: &str) -> Result<u32, Said> {
    let word = args.next();
    let number = word.and_then(|w| value::uint(&w.bytes, 1..=i32::MAX as u32).ok());
    number.ok_or(()).map_err(|()| {
        let got = word.map_or_else(String::new, |w| w.text().into_owned());
        let span = word.map_or_else(|| args.end(), |w| w.span);
        let text = format!("balance uri : '{what}' expects a positive integer (got '{got}').");
        args.fail(span, text)
    })
}

/// What follows `balance url_param`. The number of bytes after `check_post` has no meaning any more,
/// in haproxy either.
fn url_param(args: &mut Args<'_, '_>) -> Result<HashKey, Said> {
    let Some(name) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, "balance url_param requires an URL parameter name."));
    };
    let mut post = None;
    if let Some(word) = args.next() {
        if word.bytes != b"check_post" {
            let text = format!(
                "balance url_param only accepts 'check_post' modifier (got '{}').",
                word.text()
            );
            return Err(args.fail(word.span, text));
        }
        post = Some(match args.rest() {
            [] => 0,
            _ => args.number(0..=i64::from(i32::MAX))? as u32,
        });
    }
    Ok(HashKey::UrlParam {
        name: (*name.bytes).into(),
        post,
    })
}

fn header(args: &mut Args<'_, '_>, word: &Word, inside: Option<&str>) -> Result<HashKey, Said> {
    let Some(name) = inside.filter(|name| !name.is_empty()) else {
        let text = "balance hdr requires an http header field name.";
        return Err(args.fail(word.span, text));
    };
    let mut domain_only = false;
    if let Some(modifier) = args.next() {
        if modifier.bytes != b"use_domain_only" {
            let text = format!(
                "balance {} only accepts 'use_domain_only' modifier (got '{}').",
                word.text(),
                modifier.text()
            );
            return Err(args.fail(modifier.span, text));
        }
        domain_only = true;
    }
    Ok(HashKey::Header {
        name: name.to_ascii_lowercase().into_bytes().into(),
        domain_only,
    })
}

fn draws(args: &mut Args<'_, '_>, word: &Word, inside: Option<&str>) -> Result<u32, Said> {
    let Some(inside) = inside.filter(|i| !i.is_empty()) else {
        return Ok(2);
    };
    value::uint(inside.as_bytes(), 1..=i32::MAX as u32).map_err(|_| {
        let text = format!("balance random : number of draws must be at least 1 (got '{inside}').");
        args.fail(word.span, text)
    })
}

pub(super) fn hash_type(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let mut out = HashType::default();
    let word = args.expect("'map-based' or 'consistent'")?;
    out.method = match &*word.text() {
        "map-based" => HashMethod::MapBased,
        "consistent" => HashMethod::Consistent,
        other => {
            let text =
                format!("'hash-type' only supports 'consistent' and 'map-based' (got '{other}').");
            return Err(args.fail(word.span, text));
        }
    };
    let mut default_avalanche = out.method == HashMethod::Consistent;
    if let Some(word) = args.next() {
        default_avalanche = false;
        out.function = match &*word.text() {
            "sdbm" => HashFunction::Sdbm,
            "djb2" => HashFunction::Djb2,
            "wt6" => HashFunction::Wt6,
            "crc32" => HashFunction::Crc32,
            "none" => HashFunction::None,
            "avalanche" => {
                let text = "'hash-type' takes 'avalanche' only after a hash function.";
                return Err(args.fail(word.span, text));
            }
            other => {
                let text = format!(
                    "'hash-type' only supports 'sdbm', 'djb2', 'crc32', 'wt6' and 'none' hash functions (got '{other}')."
                );
                return Err(args.fail(word.span, text));
            }
        };
    }
    if let Some(word) = args.next() {
        if word.bytes != b"avalanche" {
            let text = format!(
                "'hash-type' only supports 'avalanche' as a modifier for hash functions (got '{}').",
                word.text()
            );
            return Err(args.fail(word.span, text));
        }
        out.avalanche = true;
    }
    out.avalanche |= default_avalanche;
    proxy.set.hash_type = out;
    Ok(())
}
