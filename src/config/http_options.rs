//! What becomes of HTTP connections, how strictly messages are read, and the headers that name addresses
//! (configuration.txt 4, "connection modes", and `option …` in 4.2).

use super::http::{AddressHeader, Connection, Forwarded, ForwardedNode, RestrictNames};
use super::keyword::{Arity, B, D, F, Keyword, L, NONE, ONE, Sections};
use super::language::Names;
use super::model::{Config, ProxyId};
use super::raw::ProxyRaw;
use super::words::{Args, Cx, Said};
use crate::lang::addr;
use crate::lang::diag::Form;
use crate::lang::expr::{self, Expr, Fault};
use crate::lang::fetch::Place;
use crate::lang::lexer::Word;

/// Of both sides.
const DFLB: Sections = D | F | L | B;
/// Of the frontend.
const FRONT: Sections = D | F | L;
/// Of the backend.
const BACK: Sections = D | L | B;

const fn opt(
    name: &'static str,
    sections: Sections,
    args: Arity,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<ProxyRaw>,
) -> Keyword<ProxyRaw> {
    Keyword::new(name, sections, args, usage, doc, parse)
}

/// One flag of [`super::http::Http`].
macro_rules! flag {
    ($name:expr, $sections:expr, $field:ident, $doc:expr) => {
        opt($name, $sections, NONE, "", $doc, |p, a| {
            p.set.http.$field = a.on();
            Ok(())
        })
        .invertible()
        .http_only()
    };
}
/// A connection mode; `no` undoes only the very mode it names.
macro_rules! connection {
    ($name:expr, $mode:expr, $doc:expr) => {
        opt($name, DFLB, NONE, "", $doc, |p, a| {
            if a.on() {
                p.set.http.connection = $mode;
            } else if p.set.http.connection == $mode {
                p.set.http.connection = Connection::KeepAlive;
            }
            Ok(())
        })
        .invertible()
    };
}
/// A timeout in milliseconds, where 0 is none.
macro_rules! timeout {
    ($name:expr, $field:ident, $doc:expr) => {
        opt($name, DFLB, ONE, "<delay>", $doc, |p, a| {
            p.set.http.$field = super::proxy::timeout(a)?;
            Ok(())
        })
    };
}

/// What [`super::section`] tries besides the tables of `proxy` and `options`.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    flag!(
        "option accept-invalid-http-request",
        FRONT,
        unsafe_request,
        "as 'option accept-unsafe-violations-in-http-request'"
    )
    .obsolete("option accept-unsafe-violations-in-http-request"),
    flag!(
        "option accept-invalid-http-response",
        BACK,
        unsafe_response,
        "as 'option accept-unsafe-violations-in-http-response'"
    )
    .obsolete("option accept-unsafe-violations-in-http-response"),
    flag!(
        "option accept-unsafe-violations-in-http-request",
        FRONT,
        unsafe_request,
        "lets requests pass that break the standard in ways known to be dangerous"
    ),
    flag!(
        "option accept-unsafe-violations-in-http-response",
        BACK,
        unsafe_response,
        "lets responses pass that break the standard in ways known to be dangerous"
    ),
    opt(
        "option forwarded",
        BACK,
        (0, usize::MAX),
        "[proto] [host|host-expr <expr>] [by…] [by_port…] [for…] [for_port…]",
        "adds Forwarded (RFC 7239); without words proto and for",
        |p, a| {
            let what = forwarded(a)?;
            p.set.http.forwarded = a.on().then_some(what);
            Ok(())
        },
    )
    .invertible()
    .http_only(),
    opt(
        "option forwardfor",
        DFLB,
        (0, usize::MAX),
        "[except <network>] [header <name>] [if-none]",
        "adds X-Forwarded-For with the client's address",
        |p, a| {
            p.set.http.forwardfor = Some(address_header(a, b"x-forwarded-for", true)?);
            Ok(())
        },
    )
    .http_only(),
    flag!(
        "option http-buffer-request",
        DFLB,
        buffer_request,
        "waits for the whole body, or a full buffer, before going on"
    ),
    flag!(
        "option http-drop-request-trailers",
        D | L | B,
        drop_request_trailers,
        "trailers of requests are not forwarded"
    ),
    flag!(
        "option http-drop-response-trailers",
        FRONT,
        drop_response_trailers,
        "trailers of responses are not forwarded"
    ),
    flag!(
        "option http-ignore-probes",
        FRONT,
        ignore_probes,
        "connections that end without a byte get no answer and no log line"
    ),
    connection!(
        "option http-keep-alive",
        Connection::KeepAlive,
        "connections stay open on both sides (the default)"
    ),
    flag!(
        "option http-no-delay",
        DFLB,
        no_delay,
        "small parts of bodies are sent without waiting for more (always so here)"
    ),
    flag!(
        "option http-pretend-keepalive",
        BACK,
        pretend_keep_alive,
        "servers are not told that their connection will close"
    ),
    opt(
        "option http-restrict-req-hdr-names",
        DFLB,
        (0, 1),
        "{preserve|delete|reject}",
        "what becomes of header names with other characters than letters, digits and '-'",
        restrict_names,
    ),
    connection!(
        "option http-server-close",
        Connection::ServerClose,
        "the server's connection closes after each response"
    ),
    connection!(
        "option http-tunnel",
        Connection::KeepAlive,
        "as 'option http-keep-alive': each request is handled"
    )
    .obsolete("option http-keep-alive"),
    opt(
        "option http-use-htx",
        DFLB,
        NONE,
        "",
        "a choice of engine that haproxy had for a while",
        |_, _| Ok(()),
    )
    .invertible()
    .obsolete("no such line"),
    flag!(
        "option http-use-proxy-header",
        FRONT,
        use_proxy_header,
        "Proxy-Connection stands for Connection in requests to proxies"
    ),
    connection!(
        "option httpclose",
        Connection::Close,
        "both connections close after each response"
    ),
    connection!(
        "option forceclose",
        Connection::Close,
        "as 'option httpclose'"
    )
    .obsolete("option httpclose"),
    opt(
        "option originalto",
        DFLB,
        (0, usize::MAX),
        "[except <network>] [header <name>]",
        "adds X-Original-To with the address the client connected to",
        |p, a| {
            p.set.http.originalto = Some(address_header(a, b"x-original-to", false)?);
            Ok(())
        },
    )
    .http_only(),
    flag!(
        "option prefer-last-server",
        BACK,
        prefer_last_server,
        "requests of one connection go to one server where that is allowed"
    ),
    timeout!(
        "timeout http-keep-alive",
        timeout_keep_alive_ms,
        "time to wait for the next request (without it as for the first)"
    ),
    timeout!(
        "timeout http-request",
        timeout_http_request_ms,
        "time for a whole head of a request"
    ),
    timeout!(
        "timeout tarpit",
        timeout_tarpit_ms,
        "time before a tarpit answers (without it 'timeout connect')"
    ),
    opt(
        "http-send-name-header",
        BACK,
        (0, MANY_IGNORED),
        "[<header>]",
        "requests carry the server's name in this header",
        send_name_header,
    ),
    opt(
        "monitor-uri",
        FRONT,
        (0, 1),
        "<uri>",
        "requests for it are answered at once with how we are, unlogged",
        monitor_uri,
    )
    .http_only(),
];

/// haproxy passes over what follows the header's name.
const MANY_IGNORED: usize = usize::MAX;

/// `option forwardfor` and `option originalto`: each line begins from nothing.
fn address_header(
    args: &mut Args<'_, '_>,
    name: &[u8],
    takes_if_none: bool,
) -> Result<AddressHeader, Said> {
    let mut out = AddressHeader {
        name: name.into(),
        except: None,
        if_none: false,
    };
    while let Some(word) = args.next() {
        match &*word.bytes {
            b"except" => {
                let text = format!(
                    "'{} except' expects <address>[/mask] as argument.",
                    args.name
                );
                let Some(net) = args.next() else {
                    let end = args.end();
                    return Err(args.fail(end, text));
                };
                out.except =
                    Some(addr::network(&net.text()).map_err(|_| args.fail(net.span, text))?);
            }
            b"header" => {
                let Some(name) = args.next() else {
                    let text = format!("'{} header' expects <header_name> as argument.", args.name);
                    let end = args.end();
                    return Err(args.fail(end, text));
                };
                out.name = header_name(args, name)?;
            }
            b"if-none" if takes_if_none => out.if_none = true,
            _ => {
                let values = if takes_if_none {
                    "'except', 'header' and 'if-none'"
                } else {
                    "'except' and 'header'"
                };
                let text = format!("'{}' only supports optional values: {values}.", args.name);
                return Err(args.fail(word.span, text));
            }
        }
    }
    Ok(out)
}

/// `option forwarded`: each line begins from nothing.
fn forwarded(args: &mut Args<'_, '_>) -> Result<Forwarded, Said> {
    let mut out = Forwarded::default();
    let own = || Some(ForwardedNode::Own);
    if args.is_empty() {
        (out.proto, out.for_) = (true, own());
    }
    let mut ports = [None, None];
    while let Some(word) = args.next() {
        match &*word.bytes {
            b"proto" => out.proto = true,
            b"host" => out.host = own(),
            b"by" => out.by = own(),
            b"for" => out.for_ = own(),
            b"by_port" => (out.by_port, ports[0]) = (own(), Some(word)),
            b"for_port" => (out.for_port, ports[1]) = (own(), Some(word)),
            b"host-expr" => out.host = Some(node(args, word)?),
            b"by-expr" => out.by = Some(node(args, word)?),
            b"for-expr" => out.for_ = Some(node(args, word)?),
            b"by_port-expr" => (out.by_port, ports[0]) = (Some(node(args, word)?), Some(word)),
            b"for_port-expr" => (out.for_port, ports[1]) = (Some(node(args, word)?), Some(word)),
            _ => {
                let text = format!(
                    "'{}' only supports optional values: 'proto', and 'host', 'by', 'by_port', 'for', 'for_port' as they are or with '-expr'.",
                    args.name
                );
                return Err(args.fail(word.span, text));
            }
        }
    }
    let alone = [(ports[0], &out.by), (ports[1], &out.for_)];
    if let Some((Some(word), _)) = alone
        .into_iter()
        .find(|(port, of)| port.is_some() && of.is_none())
    {
        let text = format!(
            "'{}' : '{}' goes with the address of that side.",
            args.name,
            word.text()
        );
        return Err(args.fail(word.span, text));
    }
    Ok(out)
}

/// The expression behind `for-expr` and its kin.
fn node(args: &mut Args<'_, '_>, option: &Word) -> Result<ForwardedNode, Said> {
    let prefix = format!("'{} {}' : ", args.name, option.text());
    let Some(word) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, format!("{prefix}expects an expression.")));
    };
    let read = |cx: &mut expr::Cx<'_>| {
        let expr = Expr::parse(word, cx)?;
        let Some(what) = expr.lacks(Place::BackRequestHeader) else {
            return Ok(expr);
        };
        let text = format!(
            "sample fetch <{}> may not be reliably used here because it needs '{what}' which is not available here.",
            expr.text()
        );
        Err(Fault::wrong(word.span, text))
    };
    args.cx
        .language(Form::Parsing, &prefix, read)
        .map(ForwardedNode::Expr)
}

/// Settles the names in expressions of proxy `id`.
pub(super) fn resolve(section: &ProxyRaw, id: ProxyId, out: &mut Config, cx: &mut Cx<'_>) {
    let Some(mut forwarded) = out.proxies[id.index()].http.forwarded.take() else {
        return;
    };
    let names = Names {
        config: out,
        proxy: id,
        acls: None,
        groups: &[],
    };
    for expr in forwarded.exprs_mut() {
        if let Err(text) = expr.settle(&names) {
            let text = format!("'option forwarded' : {text}");
            let _: Said = cx.alert_as(Form::Late, section.span, text);
        }
    }
    out.proxies[id.index()].http.forwarded = Some(forwarded);
}

/// The name of a header to add, in lower case. haproxy takes any word; one that is no token would make each
/// request invalid.
pub(super) fn header_name(args: &mut Args<'_, '_>, word: &Word) -> Result<Box<[u8]>, Said> {
    if word.bytes.is_empty() || !word.bytes.iter().all(|&b| is_token(b)) {
        let text = format!(
            "'{}' : '{}' is no name of a header.",
            args.name,
            word.text()
        );
        return Err(args.fail(word.span, text));
    }
    Ok(word.bytes.to_ascii_lowercase().into())
}

/// RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn restrict_names(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let what =
        "option 'http-restrict-req-hdr-names' expects 'preserve', 'reject' or 'delete' option.";
    let Some(word) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, format!("missing parameter. {what}")));
    };
    proxy.set.http.restrict_names = match &*word.bytes {
        b"preserve" => RestrictNames::Preserve,
        b"delete" => RestrictNames::Delete,
        b"reject" => RestrictNames::Reject,
        _ => {
            let text = format!("invalid parameter '{}'. {what}", word.text());
            return Err(args.fail(word.span, text));
        }
    };
    Ok(())
}

/// Headers that say how a message is framed or where it goes; haproxy 3.3 refuses them here.
const NOT_THE_SERVERS_NAME: [&str; 4] =
    ["connection", "content-length", "host", "transfer-encoding"];

fn send_name_header(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(word) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, "'http-send-name-header' requires a header string."));
    };
    let name = header_name(args, word)?;
    if NOT_THE_SERVERS_NAME.iter().any(|n| n.as_bytes() == &*name) {
        let text = format!(
            "'{}' : header '{}' cannot carry the server's name.",
            args.name,
            word.text()
        );
        return Err(args.fail(word.span, text));
    }
    args.at = args.line.words.len();
    proxy.set.http.send_name_header = Some(name);
    Ok(())
}

fn monitor_uri(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(word) = args.next() else {
        let end = args.end();
        return Err(args.fail(end, "'monitor-uri' expects an URI."));
    };
    proxy.set.http.monitor_uri = Some(word.bytes.clone().into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::http::Http;
    use super::super::tests::{config, listen};
    use super::*;

    fn http(lines: &str) -> Http {
        listen(lines).proxies.remove(0).http
    }

    /// As haproxy 2.6 does: seen by whether it says `connection: close`.
    #[test]
    fn the_last_mode_counts_and_no_undoes_only_its_own() {
        let mode = |lines: &str| {
            let text = format!(
                "defaults\noption httpclose\nlisten l\nbind :1\n{lines}\nserver s 192.0.2.1:80\n"
            );
            config(&text).proxies.remove(0).http.connection
        };
        assert_eq!(mode(""), Connection::Close);
        assert_eq!(mode("no option http-server-close"), Connection::Close);
        assert_eq!(mode("no option httpclose"), Connection::KeepAlive);
        assert_eq!(mode("option http-keep-alive"), Connection::KeepAlive);
        assert_eq!(
            mode("option http-server-close\nno option httpclose"),
            Connection::ServerClose
        );
        assert_eq!(mode("option forceclose"), Connection::Close);
        assert_eq!(mode("option http-tunnel"), Connection::KeepAlive);
    }

    #[test]
    fn each_line_of_forwardfor_begins_from_nothing() {
        let http =
            http("option forwardfor except 127.0.0.1 header A if-none\noption forwardfor header B");
        let one = http.forwardfor.unwrap();
        assert_eq!(
            (&*one.name, one.except, one.if_none),
            (&b"b"[..], None, false)
        );
        let http =
            self::http("option forwardfor except 10.0.0.0/8 if-none\noption originalto except ::1");
        let one = http.forwardfor.unwrap();
        assert_eq!(&*one.name, b"x-forwarded-for");
        assert_eq!(one.except, Some("10.0.0.0/8".parse().unwrap()));
        assert!(one.if_none);
        let two = http.originalto.unwrap();
        assert_eq!(&*two.name, b"x-original-to");
        assert_eq!(two.except, Some("::1/128".parse().unwrap()));
    }

    #[test]
    fn times_and_names_reach_the_proxy() {
        let http = http(
            "timeout http-request 5s\ntimeout http-keep-alive 400\ntimeout tarpit 0\n\
             monitor-uri /up\nhttp-send-name-header X-Server ignored\n\
             option http-restrict-req-hdr-names reject",
        );
        assert_eq!(http.timeout_http_request_ms, Some(5000));
        assert_eq!(http.timeout_keep_alive_ms, Some(400));
        assert_eq!(http.timeout_tarpit_ms, None);
        assert_eq!(http.monitor_uri.as_deref(), Some(&b"/up"[..]));
        assert_eq!(http.send_name_header.as_deref(), Some(&b"x-server"[..]));
        assert_eq!(http.restrict_names, RestrictNames::Reject);
    }

    #[test]
    fn a_client_that_went_away_ends_its_request_unless_switched_off() {
        assert!(http("").abort_on_close);
        assert!(!http("no option abortonclose").abort_on_close);
        let tcp = |lines: &str| listen(lines).backends[0].abortonclose;
        assert!(!tcp("") && tcp("option abortonclose"));
    }

    #[test]
    fn a_head_may_fill_the_buffer_but_for_what_rules_may_add() {
        let tune = |lines: &str| {
            let text = format!("global\n{lines}\nlisten l\nbind :1\nserver s 192.0.2.1:80\n");
            config(&text).global.tune
        };
        assert_eq!(tune("").head_max(), 16_384 - 1024);
        assert_eq!(tune("tune.maxrewrite 4k").head_max(), 12 << 10);
        assert_eq!(tune("tune.maxrewrite 20000").head_max(), 8192);
        assert_eq!(tune("tune.bufsize 1024").head_max(), 512);
        assert_eq!(tune("tune.http.maxhdr 300").http_maxhdr, 300);
    }

    #[test]
    fn forwarded_names_protocol_and_client_unless_told_otherwise() {
        let of = |lines: &str| http(lines).forwarded;
        let short = of("option forwarded").unwrap();
        assert!(
            short.proto && short.for_.is_some() && short.by.is_none() && short.for_port.is_none()
        );
        let long = of("option forwarded by by_port host").unwrap();
        assert!(
            !long.proto && long.for_.is_none() && long.host.is_some() && long.by_port.is_some()
        );
        assert!(of("option forwarded\nno option forwarded").is_none());
        let made = of("option forwarded host-expr str(a) for-expr src for_port").unwrap();
        assert!(matches!(made.host, Some(ForwardedNode::Expr(_))));
        assert!(matches!(made.for_, Some(ForwardedNode::Expr(_))));
        assert!(matches!(made.for_port, Some(ForwardedNode::Own)));
        let local = |lines: &str| http(lines).names_local();
        assert!(local("option originalto") && local("option forwarded by"));
        assert!(local("option forwarded for-expr dst") && !local("option forwarded for"));
    }
}
