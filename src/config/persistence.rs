//! Who goes back to the same server, and by which cookie (configuration.txt 4.2).

use super::http::{Cookie, CookieMode};
use super::keyword::{B, D, F, Keyword, L, MANY, NONE};
use super::model::ServerAddress;
use super::raw::ProxyRaw;
use super::words::{Args, Said};
use crate::base::hash;
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::value::{self, Unit};

pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    Keyword::new(
        "appsession",
        D | F | L | B,
        (0, MANY),
        "",
        "gone from haproxy 1.6: refused",
        |_, a| {
            let help = "'stick-table type string' with 'stick store-response res.cook(<name>)' did the same";
            let text = "'appsession' is not supported anymore since HAProxy 1.6.";
            Err(a.fail_help(a.head, text, help))
        },
    ),
    Keyword::new(
        "cookie",
        D | L | B,
        (0, MANY),
        "<name> [rewrite|insert|prefix] [indirect] [nocache] [postonly] [preserve] [httponly] [secure] \
         [domain <domain>]… [maxidle <time>] [maxlife <time>] [dynamic] [attr <value>]…",
        "the cookie that names a server",
        cookie,
    ),
    Keyword::new(
        "dynamic-cookie-key",
        D | L | B,
        (0, MANY),
        "<key>",
        "secret of the cookies made from addresses",
        |p, a| {
            let Some(key) = a.next() else {
                let end = a.end();
                return Err(a.fail(
                    end,
                    "'dynamic-cookie-key' expects <secret_key> as argument.",
                ));
            };
            p.set.dynamic_key = Some((*key.bytes).into());
            Ok(())
        },
    ),
    Keyword::new(
        "option persist",
        D | L | B,
        NONE,
        "",
        "a cookie leads to its server even while that is down",
        |p: &mut ProxyRaw, a| {
            p.set.http.persist = a.on();
            Ok(())
        },
    )
    .invertible(),
    Keyword::new(
        "persist",
        D | L | B,
        (0, 2),
        "rdp-cookie[(<name>)]",
        "the server that an RDP cookie names",
        rdp_persist,
    ),
];

/// Options of a cookie, as haproxy lists them.
const OPTIONS: [&str; 14] = [
    "rewrite", "insert", "prefix", "indirect", "nocache", "postonly", "preserve", "httponly",
    "secure", "domain", "maxidle", "maxlife", "dynamic", "attr",
];

fn cookie(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(name) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, "'cookie' expects <cookie_name> as argument."));
    };
    let mut out = Cookie {
        name: (*name.bytes).into(),
        mode: CookieMode::Passive,
        indirect: false,
        nocache: false,
        postonly: false,
        preserve: false,
        httponly: false,
        secure: false,
        domains: Vec::new(),
        maxidle: None,
        maxlife: None,
        dynamic_key: None,
        attributes: Vec::new(),
    };
    let mut dynamic = false;
    while let Some(word) = args.next() {
        let text = word.text();
        match &*text {
            "rewrite" | "insert" | "prefix" => {
                let mode = match &*text {
                    "rewrite" => CookieMode::Rewrite,
                    "insert" => CookieMode::Insert,
                    _ => CookieMode::Prefix,
                };
                if out.mode != CookieMode::Passive && out.mode != mode {
                    let text = "cookie 'rewrite', 'insert' and 'prefix' modes are incompatible.";
                    return Err(args.fail(word.span, text));
                }
                out.mode = mode;
            }
            "indirect" => out.indirect = true,
            "nocache" => out.nocache = true,
            "postonly" => out.postonly = true,
            "preserve" => out.preserve = true,
            "httponly" => out.httponly = true,
            "secure" => out.secure = true,
            "domain" => out.domains.push(domain(args)?),
            "maxidle" => out.maxidle = age(args, "maxidle", "idletime")?,
            "maxlife" => out.maxlife = age(args, "maxlife", "lifetime")?,
            "dynamic" => dynamic = true,
            "attr" => out.attributes.push(attribute(args)?),
            other => {
                let text = format!(
                    "'cookie' supports 'rewrite', 'insert', 'prefix', 'indirect', 'nocache', 'postonly', 'domain', \
                     'maxidle', 'dynamic', 'maxlife' and 'attr' options{}",
                    match nearest(other, OPTIONS) {
                        near if near.is_empty() => format!(" (got '{other}')."),
                        near => did_you_mean(&near),
                    }
                );
                return Err(args.fail(word.span, text));
            }
        }
    }
    if out.mode == CookieMode::Rewrite && out.indirect {
        let text = "cookie 'rewrite' and 'indirect' modes are incompatible.";
        return Err(args.fail(args.head, text));
    }
    if out.preserve && out.mode != CookieMode::Insert && !out.indirect {
        let text = "cookie 'preserve' requires at least 'insert' or 'indirect'.";
        return Err(args.fail(args.head, text));
    }
    proxy.set.cookie_at = Some(args.head);
    proxy.set.cookie_dynamic = dynamic;
    proxy.set.http.cookie = Some(out);
    Ok(())
}

fn domain(args: &mut Args<'_, '_>) -> Result<Box<[u8]>, Said> {
    let Some(word) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, "'domain' expects <domain> as argument."));
    };
    let text = word.text();
    if let Some(bad) = text
        .chars()
        .find(|&c| !(c.is_ascii_alphanumeric() || "._-:".contains(c)))
    {
        let text = format!("character '{bad}' is not permitted in domain name '{text}'.");
        return Err(args.fail(word.span, text));
    }
    let embedded = text.get(1..).is_some_and(|rest| rest.contains('.'));
    if !embedded {
        let text = format!(
            "domain '{text}' contains no embedded dot, this configuration may not work properly (see RFC6265#5.2.3)."
        );
        args.cx.warning(word.span, text);
    }
    Ok((*word.bytes).into())
}

/// Seconds of `maxidle` and `maxlife`; 0 is none.
fn age(args: &mut Args<'_, '_>, name: &str, what: &str) -> Result<Option<u32>, Said> {
    let Some(word) = args.next() else {
        let end = args.end();
        let text = format!("'{name}' expects <{what}> in seconds as argument.");
        return Err(args.fail(end, text));
    };
    let us = match value::time_us(&word.bytes, Unit::S) {
        Ok(us) => us,
        Err(error) => {
            let text = match word.bytes.get(error.at) {
                Some(&byte) if error.at < word.bytes.len() => format!(
                    "unexpected character '{}' in argument to <{name}>.",
                    char::from(byte)
                ),
                _ => format!("unexpected character in argument to <{name}>."),
            };
            return Err(args.fail(word.span, text));
        }
    };
    let seconds = us.div_ceil(1_000_000);
    match u32::try_from(seconds) {
        Ok(s) if s <= i32::MAX as u32 => Ok(Some(s).filter(|&s| s > 0)),
        _ => {
            let text = format!(
                "timer overflow in argument <{}> to <{name}>, maximum value is 2147483647 s (~68 years).",
                word.text()
            );
            Err(args.fail(word.span, text))
        }
    }
}

fn attribute(args: &mut Args<'_, '_>) -> Result<Box<[u8]>, Said> {
    let Some(word) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, "'attr' expects <value> as argument."));
    };
    let bad = |b: &&u8| **b < b' ' || **b == 0x7f || **b == b';';
    if let Some(&byte) = word.bytes.iter().find(bad) {
        let text = format!("character '%x{byte:02X}' is not permitted in attribute value.");
        return Err(args.fail(word.span, text));
    }
    Ok((*word.bytes).into())
}

fn rdp_persist(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(word) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, "missing persist method."));
    };
    let text = word.text();
    let name = match text.strip_prefix("rdp-cookie") {
        Some("") => "msts",
        Some(rest) => {
            let inside = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')'));
            match inside {
                Some(name) if !name.is_empty() => name,
                _ => {
                    let text = "persist 'rdp-cookie(name)' requires an rdp cookie name.";
                    return Err(args.fail(word.span, text));
                }
            }
        }
        None => {
            let hint = did_you_mean(&nearest(&text, ["rdp-cookie"]));
            return Err(args.fail(word.span, format!("unknown persist method{hint}")));
        }
    };
    args.done()?;
    proxy.set.http.rdp_persist = Some(name.as_bytes().into());
    Ok(())
}

/// The value that `dynamic` makes for a server without a cookie of its own, in haproxy's way (seen on
/// 2.6): sixteen hexadecimal digits of the XXH64 of key, address and port. `None`: it has no address.
pub(super) fn dynamic_value(key: &[u8], address: &ServerAddress) -> Option<Box<[u8]>> {
    let ServerAddress::Ip { ip, port } = address else {
        return None;
    };
    // A mapped port counts with what is added to the client's.
    let port = match *port {
        super::model::ServerPort::Fixed(port) => i32::from(port),
        super::model::ServerPort::Mapped(by) => by,
    };
    let mut bytes = key.to_vec();
    match ip {
        std::net::IpAddr::V4(ip) => bytes.extend(ip.octets()),
        std::net::IpAddr::V6(ip) => bytes.extend(ip.octets()),
    }
    bytes.extend(port.to_be_bytes());
    Some(
        format!("{:016x}", hash::xxh64(&bytes, 0))
            .into_bytes()
            .into(),
    )
}
