//! What a request tells the server about the client: `option forwardfor`, `originalto`, `forwarded`,
//! `http-send-name-header` (configuration.txt 4.2), and which requests are `monitor-uri`'s.
//!
//! Frontend and backend may both ask for a header. In a `listen` section they are one: give `back` as `None`.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::config::http::{AddressHeader, Forwarded, ForwardedNode, Http, RestrictNames};
use crate::lang::sample::{Arena, Value};
use crate::lang::subject::Subject;
use crate::proto::http::Head;

/// Adds, in this order, the headers with the client's address and with the address it connected to, each at the
/// end of the head and beside those that came with the request. An address that is not known, as on a unix
/// socket, adds nothing.
pub fn add_addresses(
    head: &mut Head,
    front: &Http,
    back: Option<&Http>,
    src: Option<SocketAddr>,
    dst: Option<SocketAddr>,
) {
    let of_back = back.and_then(|b| b.forwardfor.as_ref());
    add_address(head, front.forwardfor.as_ref(), of_back, src);
    let of_back = back.and_then(|b| b.originalto.as_ref());
    add_address(head, front.originalto.as_ref(), of_back, dst);
}

/// The backend's name counts, even where it is the default one. One `except` that matches is enough to add
/// nothing; `if-none` counts only where nobody asks without it.
fn add_address(
    head: &mut Head,
    front: Option<&AddressHeader>,
    back: Option<&AddressHeader>,
    address: Option<SocketAddr>,
) {
    let (Some(named), Some(address)) = (back.or(front), address) else {
        return;
    };
    let ip = address.ip();
    let mut asked = front.into_iter().chain(back);
    if asked
        .clone()
        .any(|a| a.except.is_some_and(|net| net.contains(&ip)))
    {
        return;
    }
    if asked.all(|a| a.if_none) && head.first(&named.name).is_some() {
        return;
    }
    let mut text = [0; ADDRESS_MAX];
    head.push(&named.name, written(ip, &mut text));
}

/// Bytes of the longest IPv6 address as text, IPv4 in its end.
const ADDRESS_MAX: usize = 46;

fn written(ip: IpAddr, text: &mut [u8; ADDRESS_MAX]) -> &[u8] {
    let mut rest = &mut text[..];
    write!(rest, "{ip}").expect("an address fits");
    let left = rest.len();
    &text[..ADDRESS_MAX - left]
}

/// Appends the value of the Forwarded header (RFC 7239) that `option forwarded` of the backend asks for; nothing
/// where no part of it is known. `secure`: the client's connection is TLS.
pub fn forwarded(
    what: &Forwarded,
    secure: bool,
    subject: &dyn Subject,
    arena: &Arena,
    out: &mut Vec<u8>,
) {
    let begin = out.len();
    let part = |out: &mut Vec<u8>, name: &str| {
        if out.len() > begin {
            out.push(b';');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
    };
    if what.proto {
        part(out, "proto");
        out.extend_from_slice(if secure { b"https" } else { b"http" });
    }
    if let Some(node) = &what.host
        && let Some(host) = host(node, subject, arena)
    {
        part(out, "host");
        out.push(b'"');
        out.extend_from_slice(host);
        out.push(b'"');
    }
    let ends = [
        ("by", &what.by, &what.by_port, subject.dst()),
        ("for", &what.for_, &what.for_port, subject.src()),
    ];
    for (name, node, port, own) in ends {
        if let Some(node) = node {
            part(out, name);
            end(node, port.as_ref(), own, subject, arena, out);
        }
    }
}

/// The host asked for, if it may stand between quotes.
fn host<'a>(
    node: &'a ForwardedNode,
    subject: &'a dyn Subject,
    arena: &'a Arena,
) -> Option<&'a [u8]> {
    let host = match node {
        ForwardedNode::Own => subject.request()?.first(b"host")?,
        ForwardedNode::Expr(expr) => text(expr.eval(subject, arena)?)?,
    };
    let fits = |b: &u8| b.is_ascii_graphic() && !b"\"\\".contains(b);
    (!host.is_empty() && host.iter().all(fits)).then_some(host)
}

/// One end: `1.2.3.4`, `"1.2.3.4:5"`, `"[::1]"`, `"[::1]:5"`, `_hidden`, `"_hidden:5"` or `unknown`.
fn end(
    node: &ForwardedNode,
    port: Option<&ForwardedNode>,
    own: Option<SocketAddr>,
    subject: &dyn Subject,
    arena: &Arena,
    out: &mut Vec<u8>,
) {
    let begin = out.len();
    let value = match node {
        ForwardedNode::Own => own.map(|a| Value::Ip(a.ip())),
        ForwardedNode::Expr(expr) => expr.eval(subject, arena),
    };
    match value {
        Some(Value::Ip(ip)) => address(ip, out),
        Some(value) => match text(value) {
            Some(text) => match std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()) {
                Some(ip) => address(ip, out),
                None => hidden(text, out),
            },
            None => out.extend_from_slice(b"unknown"),
        },
        None => out.extend_from_slice(b"unknown"),
    }
    if let Some(port) = port {
        let value = match port {
            ForwardedNode::Own => own.map(|a| Value::Int(i64::from(a.port()))),
            ForwardedNode::Expr(expr) => expr.eval(subject, arena),
        };
        let mark = out.len();
        out.push(b':');
        match value {
            Some(Value::Int(number)) if (0..=65_535).contains(&number) => {
                let _ = write!(out, "{number}");
            }
            Some(value) => match text(value) {
                Some(digits) if is_port(digits) => out.extend_from_slice(digits),
                Some(name) => hidden(name, out),
                None => out.truncate(mark),
            },
            None => out.truncate(mark),
        }
    }
    if out[begin..].iter().any(|b| b":[".contains(b)) {
        out.insert(begin, b'"');
        out.push(b'"');
    }
}

fn address(ip: IpAddr, out: &mut Vec<u8>) {
    let _ = match ip {
        IpAddr::V4(ip) => write!(out, "{ip}"),
        IpAddr::V6(ip) => write!(out, "[{ip}]"),
    };
}

fn is_port(text: &[u8]) -> bool {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|t| t.parse::<u16>().ok());
    number.is_some() && text[0].is_ascii_digit()
}

/// A name that stands for an address or a port begins with `_` (RFC 7239 6.3); what cannot be one is `unknown`.
fn hidden(name: &[u8], out: &mut Vec<u8>) {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    if name.is_empty() || !name.iter().all(fits) {
        out.extend_from_slice(b"unknown");
        return;
    }
    if name[0] != b'_' {
        out.push(b'_');
    }
    out.extend_from_slice(name);
}

fn text(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Str(text) | Value::Bin(text) | Value::Method(text) => Some(text),
        Value::Bool(_) | Value::Int(_) | Value::Ip(_) => None,
    }
}

/// `option http-restrict-req-hdr-names` of one proxy, asked after its `http-request` rules: removes fields whose
/// names have other bytes than letters, digits and `-`. `false`: there are some, and the request is to be refused
/// (403).
#[must_use]
pub fn restrict_names(head: &mut Head, http: &Http) -> bool {
    let plain = |name: &[u8]| name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-');
    match http.restrict_names {
        RestrictNames::Preserve => {}
        RestrictNames::Delete => head.retain(|name, _| plain(name)),
        RestrictNames::Reject => return head.fields().all(|(name, _)| plain(name)),
    }
    true
}

/// `http-send-name-header`: takes the place of what came under that name. To be asked again for each server tried.
pub fn name_server(head: &mut Head, back: &Http, server: &str) {
    if let Some(name) = &back.send_name_header {
        head.set(name, server.as_bytes());
    }
}

/// Whether a request is the frontend's `monitor-uri`: one that begins with `/` is compared with path and query,
/// others with the whole target.
pub fn is_monitor(front: &Http, head: &Head) -> bool {
    let Some(uri) = &front.monitor_uri else {
        return false;
    };
    let target = head.target();
    let asked = if uri.starts_with(b"/") {
        path_and_query(target)
    } else {
        target
    };
    asked == &**uri
}

/// The part of a target behind scheme and authority.
fn path_and_query(target: &[u8]) -> &[u8] {
    if target.starts_with(b"/") {
        return target;
    }
    let Some(scheme) = target.windows(3).position(|w| w == b"://") else {
        return target;
    };
    let rest = &target[scheme + 3..];
    let path = rest
        .iter()
        .position(|b| b"/?".contains(b))
        .unwrap_or(rest.len());
    &rest[path..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "127.0.0.1:4000";

    fn asks(header: &str, except: Option<&str>, if_none: bool) -> Http {
        Http {
            forwardfor: Some(AddressHeader {
                name: header.as_bytes().into(),
                except: except.map(|net| net.parse().unwrap()),
                if_none,
            }),
            ..Http::default()
        }
    }

    /// The fields behind Host of a request that brought some, or none.
    fn sent(front: &Http, back: Option<&Http>, src: &str, brought: &[(&str, &str)]) -> String {
        let mut head = Head::default();
        for (name, value) in brought {
            head.push(name.as_bytes(), value.as_bytes());
        }
        let dst = Some("127.0.0.2:80".parse().unwrap());
        add_addresses(&mut head, front, back, src.parse().ok(), dst);
        let field = |(name, value)| format!("{}: {}", lossy(name), lossy(value));
        head.fields().map(field).collect::<Vec<_>>().join(" | ")
    }

    fn lossy(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Each line as haproxy 2.6 sent it to a server.
    #[test]
    fn the_header_of_the_client_is_added_as_haproxy_does() {
        const XFF: &str = "x-forwarded-for";
        let none = Http::default();
        let plain = asks(XFF, None, false);
        let (a, b) = (asks("a", None, false), asks("b", None, false));
        let local = asks(XFF, Some("127.0.0.1/32"), false);
        let ten = asks(XFF, Some("10.0.0.0/8"), false);
        let loopback = asks(XFF, Some("127.0.0.0/8"), false);
        let six = asks(XFF, Some("::/0"), false);
        let polite = asks(XFF, None, true);
        let polite_a = asks("a", None, true);
        let added = "x-forwarded-for: 127.0.0.1";
        let both = "x-forwarded-for: 9.9.9.9 | x-forwarded-for: 127.0.0.1";
        let old = "x-forwarded-for: 9.9.9.9";
        for (front, back, alone, beside) in [
            (&plain, &none, added, both),
            (&none, &plain, added, both),
            (&plain, &plain, added, both),
            (&a, &plain, added, both),
            (
                &plain,
                &b,
                "b: 127.0.0.1",
                "x-forwarded-for: 9.9.9.9 | b: 127.0.0.1",
            ),
            (&local, &none, "", old),
            (&local, &plain, "", old),
            (&plain, &local, "", old),
            (&ten, &loopback, "", old),
            (&six, &none, added, both),
            (&polite, &none, added, old),
            (&polite, &plain, added, both),
            (&plain, &polite, added, both),
            (&polite, &polite, added, old),
            (&polite_a, &polite, added, old),
            (
                &polite_a,
                &b,
                "b: 127.0.0.1",
                "x-forwarded-for: 9.9.9.9 | b: 127.0.0.1",
            ),
        ] {
            let case = format!("{:?} | {:?}", front.forwardfor, back.forwardfor);
            assert_eq!(sent(front, Some(back), CLIENT, &[]), alone, "{case}");
            let brought = [("X-Forwarded-For", "9.9.9.9")];
            assert_eq!(sent(front, Some(back), CLIENT, &brought), beside, "{case}");
        }
    }

    #[test]
    fn ipv6_is_written_as_it_is_and_is_not_taken_for_ipv4() {
        let front = asks("x-forwarded-for", Some("127.0.0.0/8"), false);
        let mapped = sent(&front, None, "[::ffff:127.0.0.1]:5", &[]);
        assert_eq!(mapped, "x-forwarded-for: ::ffff:127.0.0.1");
        assert_eq!(
            sent(&front, None, "[2001:db8::5]:5", &[]),
            "x-forwarded-for: 2001:db8::5"
        );
        assert_eq!(sent(&front, None, "none: a unix socket", &[]), "");
    }

    #[test]
    fn both_addresses_are_added_the_clients_first() {
        let front = Http {
            originalto: Some(AddressHeader {
                name: b"x-original-to"[..].into(),
                except: None,
                if_none: false,
            }),
            ..asks("x-forwarded-for", None, false)
        };
        assert_eq!(
            sent(&front, None, CLIENT, &[("A", "a")]),
            "a: a | x-forwarded-for: 127.0.0.1 | x-original-to: 127.0.0.2"
        );
    }

    #[test]
    fn the_servers_name_takes_the_place_of_what_came() {
        let back = Http {
            send_name_header: Some(b"x-server"[..].into()),
            ..Http::default()
        };
        let mut head = Head::default();
        head.push(b"X-Server", b"forged");
        head.push(b"a", b"b");
        name_server(&mut head, &back, "s1");
        name_server(&mut head, &back, "s2");
        let fields: Vec<_> = head.fields().collect();
        assert_eq!(fields, [(&b"a"[..], &b"b"[..]), (b"x-server", b"s2")]);
    }

    /// Each as haproxy 2.6 answered it.
    #[test]
    fn monitor_uri_is_the_path_and_query_or_the_whole_target() {
        let is = |uri: &str, target: &str| {
            let front = Http {
                monitor_uri: Some(uri.as_bytes().into()),
                ..Http::default()
            };
            let mut head = Head::default();
            head.set_target(target.as_bytes());
            is_monitor(&front, &head)
        };
        for (uri, target, hit) in [
            ("/mon", "/mon", true),
            ("/mon", "/mon?a", false),
            ("/mon", "/mon/", false),
            ("/mon", "/Mon", false),
            ("/mon", "http://x/mon", true),
            ("/mon", "*", false),
            ("http://x/mon", "/mon", false),
            ("http://x/mon", "http://x/mon", true),
            ("http://x/mon", "http://X/mon", false),
            ("/mon?a=b", "/mon", false),
            ("/mon?a=b", "http://x/mon?a=b", true),
            ("*", "*", true),
        ] {
            assert_eq!(is(uri, target), hit, "{uri} {target}");
        }
        assert!(!is_monitor(&Http::default(), &Head::default()));
    }

    /// As haproxy 2.6 did of them.
    #[test]
    fn odd_names_pass_go_or_end_the_request() {
        let left = |policy| {
            let http = Http {
                restrict_names: policy,
                ..Http::default()
            };
            let mut head = Head::default();
            for name in ["host", "a_b", "c!", "d-e2"] {
                head.push(name.as_bytes(), b"1");
            }
            restrict_names(&mut head, &http).then_some(head.len())
        };
        assert_eq!(left(RestrictNames::Preserve), Some(4));
        assert_eq!(left(RestrictNames::Delete), Some(2));
        assert_eq!(left(RestrictNames::Reject), None);
    }

    struct Ends(Option<SocketAddr>, Option<SocketAddr>, Head);
    impl Subject for Ends {
        fn src(&self) -> Option<SocketAddr> {
            self.0
        }
        fn dst(&self) -> Option<SocketAddr> {
            self.1
        }
        fn request(&self) -> Option<&Head> {
            Some(&self.2)
        }
    }

    /// RFC 7239 4 and 6: what holds a colon or a bracket is quoted.
    #[test]
    fn forwarded_quotes_ports_and_ipv6() {
        let own = || Some(ForwardedNode::Own);
        let value = |what: &Forwarded, src: &str, host: &str| {
            let mut head = Head::default();
            head.push(b"host", host.as_bytes());
            let ends = Ends(src.parse().ok(), "192.0.2.1:80".parse().ok(), head);
            let mut out = Vec::new();
            forwarded(what, false, &ends, &Arena::new(), &mut out);
            lossy(&out)
        };
        let short = Forwarded {
            proto: true,
            for_: own(),
            ..Forwarded::default()
        };
        assert_eq!(value(&short, CLIENT, "x"), "proto=http;for=127.0.0.1");
        assert_eq!(value(&short, "[::1]:7", "x"), "proto=http;for=\"[::1]\"");
        assert_eq!(value(&short, "unix", "x"), "proto=http;for=unknown");
        let all = Forwarded {
            proto: true,
            host: own(),
            by: own(),
            by_port: own(),
            for_: own(),
            for_port: own(),
        };
        assert_eq!(
            value(&all, "[::1]:7", "x.y:80"),
            "proto=http;host=\"x.y:80\";by=\"192.0.2.1:80\";for=\"[::1]:7\""
        );
        assert_eq!(
            value(&all, CLIENT, "a\"b"),
            "proto=http;by=\"192.0.2.1:80\";for=\"127.0.0.1:4000\""
        );
    }

    #[test]
    fn a_name_for_an_address_begins_with_an_underscore() {
        let of = |name: &str| {
            let mut out = Vec::new();
            hidden(name.as_bytes(), &mut out);
            lossy(&out)
        };
        assert_eq!(of("0F2E"), "_0F2E");
        assert_eq!(of("_node"), "_node");
        assert_eq!(of("a b"), "unknown");
    }
}
