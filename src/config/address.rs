//! From addresses as written ([`crate::lang::addr`]) to what each context can use: names looked up,
//! port ranges spread out, forms that belong to a later issue refused by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::model::*;
use super::raw::HostAddress;
use super::words::{Args, Said};
use crate::lang::addr::{self, AddrError, Address, Family, Host, Port, Transport};
use crate::lang::lexer::Word;
use crate::lang::source::Span;
use crate::lang::value;

/// Most addresses one `bind` line may spread out to: every port of one address.
const BIND_MAX: usize = 65_535;

/// The syslog port.
const LOG_PORT: u16 = 514;

/// Every address of a `bind` or `stats socket` word.
pub(super) fn bind(args: &mut Args<'_, '_>, word: &Word) -> Result<Vec<BindAddress>, Said> {
    let list = addr::bind(&expanded(args, word)).map_err(|e| bad(args, word, &e))?;
    let mut out = Vec::new();
    for address in list {
        match address {
            Address::Inet { mptcp: true, .. } => return Err(args.cx.not_yet(word.span, "mptcp@")),
            Address::Inet {
                host, port, family, ..
            } => {
                let ip = host_ip(args, word.span, &host, family)?;
                let (first, last) = match port {
                    Port::Fixed(port) => (port, port),
                    Port::Range(first, last) => (first, last),
                    Port::None | Port::Offset(_) => {
                        let text = format!(
                            "'{}' : missing port specification in '{}'",
                            args.name,
                            word.text()
                        );
                        return Err(args.fail(word.span, text));
                    }
                };
                out.extend((first..=last).map(|port| BindAddress::Ip(SocketAddr::new(ip, port))));
            }
            Address::Unix { path, .. } => out.push(BindAddress::Unix(PathBuf::from(path))),
            Address::Abns(name) => out.push(BindAddress::Abns(name.into_bytes())),
            Address::Abnsz(name) => out.push(BindAddress::Abnsz(name.into_bytes())),
            Address::Fd(fd) => out.push(BindAddress::Fd(fd)),
            Address::Sockpair(_) => return Err(args.cx.not_yet(word.span, "sockpair@")),
            Address::Ring(_) | Address::Backend(_) => {
                let text = format!(
                    "'{}' : a log target is not acceptable here in '{}'",
                    args.name,
                    word.text()
                );
                return Err(args.fail(word.span, text));
            }
        }
        if out.len() > BIND_MAX {
            let text = format!(
                "'{}' : more than {BIND_MAX} addresses on one line.",
                args.name
            );
            return Err(args.fail(word.span, text));
        }
    }
    Ok(out)
}

/// A server's address, its name not yet looked up, and the host as written.
pub(super) fn server(args: &mut Args<'_, '_>, word: &Word) -> Result<(HostAddress, String), Said> {
    let address = addr::server(&expanded(args, word)).map_err(|e| bad(args, word, &e))?;
    let port = match address.port() {
        Port::Fixed(port) => ServerPort::Fixed(port),
        Port::Offset(by) => ServerPort::Mapped(by),
        Port::None => ServerPort::Mapped(0),
        Port::Range(..) => {
            let text = format!("port range not permitted here in '{}'", word.text());
            return Err(args.fail(word.span, text));
        }
    };
    Ok(match address {
        Address::Inet { mptcp: true, .. } => return Err(args.cx.not_yet(word.span, "mptcp@")),
        Address::Inet {
            host: Host::Name(name),
            ..
        } => (HostAddress::Name(name.clone(), port), name),
        Address::Inet { host, .. } => {
            let ip = literal(&host).expect("names were taken above");
            (HostAddress::Ip(ip, port), ip.to_string())
        }
        Address::Unix { path, .. } => (HostAddress::Unix(PathBuf::from(&path)), path),
        Address::Abns(name) | Address::Abnsz(name) => {
            (HostAddress::Abns(name.clone().into_bytes()), name)
        }
        Address::Sockpair(_) => return Err(args.cx.not_yet(word.span, "sockpair@")),
        Address::Fd(_) | Address::Ring(_) | Address::Backend(_) => {
            let text = format!("'{}' is no address of a server.", word.text());
            return Err(args.fail(word.span, text));
        }
    })
}

/// The target of a `log` line; port 514 where none is written.
pub(super) fn log(args: &mut Args<'_, '_>, word: &Word) -> Result<LogAddress, Said> {
    let address = addr::log(&expanded(args, word)).map_err(|e| bad(args, word, &e))?;
    Ok(match address {
        Address::Inet {
            transport: Transport::Stream,
            ..
        }
        | Address::Unix {
            transport: Transport::Stream,
            ..
        } => {
            return Err(args.cx.not_yet(word.span, "log over a stream"));
        }
        Address::Inet {
            host, port, family, ..
        } => {
            let ip = host_ip(args, word.span, &host, family)?;
            let port = match port {
                Port::Fixed(port) => port,
                Port::None => LOG_PORT,
                Port::Range(..) | Port::Offset(_) => {
                    let text = format!(
                        "'log' : port range and offset are not permitted in '{}'.",
                        word.text()
                    );
                    return Err(args.fail(word.span, text));
                }
            };
            LogAddress::Udp(SocketAddr::new(ip, port))
        }
        Address::Unix { path, .. } => LogAddress::Unix(PathBuf::from(path)),
        Address::Abns(name) | Address::Abnsz(name) => LogAddress::Abns(name.into_bytes()),
        Address::Fd(fd) => LogAddress::Fd(fd),
        Address::Ring(_) => return Err(args.cx.not_yet(word.span, "log ring@")),
        Address::Backend(_) => return Err(args.cx.not_yet(word.span, "log backend@")),
        Address::Sockpair(_) => {
            let text = format!("'log' : '{}' is no target of a log.", word.text());
            return Err(args.fail(word.span, text));
        }
    })
}

/// What follows `source` (a server's may have a range of ports): the address, then `usesrc` and `interface` in any order.
pub(super) fn source(args: &mut Args<'_, '_>, ranges: bool) -> Result<Source, Said> {
    let word =
        args.expect("<addr>[:<port>], and optionally 'usesrc' <addr>, and 'interface' <name>")?;
    let text = expanded(args, word);
    let (text, last) = match text
        .rsplit_once('-')
        .map(|(first, last)| (first, value::uint(last.as_bytes(), 1..=65_535)))
    {
        Some((first, Ok(last))) if ranges && first.contains(':') => (first.to_owned(), Some(last)),
        _ => (text, None),
    };
    let address = addr::source(&text).map_err(|e| bad(args, word, &e))?;
    let Address::Inet {
        host, port, family, ..
    } = address
    else {
        let text = format!("'source' : '{}' is no internet address.", word.text());
        return Err(args.fail(word.span, text));
    };
    let ip = host_ip(args, word.span, &host, family)?;
    let ports = match (port, last) {
        (Port::None, None) => (0, 0),
        (Port::Fixed(port), None) => (port, port),
        (Port::Fixed(first), Some(last)) if u32::from(first) <= last => {
            (first, u16::try_from(last).expect("a port"))
        }
        _ => {
            let text = format!("'source' : invalid port range in '{}'", word.text());
            return Err(args.fail(word.span, text));
        }
    };
    let mut source = Source {
        ip,
        ports,
        usesrc: None,
        interface: None,
    };
    loop {
        if args.eat("usesrc") {
            source.usesrc = Some(usesrc(args)?);
        } else if args.eat("interface") {
            source.interface = Some(super::bind::interface(args)?);
        } else {
            return Ok(source);
        }
    }
}

fn usesrc(args: &mut Args<'_, '_>) -> Result<UseSrc, Said> {
    let word = args.expect("an address, 'client' or 'clientip' after 'usesrc'")?;
    match &*word.text() {
        "client" => return Ok(UseSrc::Client),
        "clientip" => return Ok(UseSrc::ClientIp),
        text if text.starts_with("hdr_ip(") => {
            return Err(args.cx.not_yet(word.span, "usesrc hdr_ip"));
        }
        _ => {}
    }
    socket(args, word).map(UseSrc::Address)
}

/// A plain address with at most one port (0: none written), as `dispatch` and `usesrc` take it.
pub(super) fn socket(args: &mut Args<'_, '_>, word: &Word) -> Result<SocketAddr, Said> {
    match addr::source(&expanded(args, word)).map_err(|e| bad(args, word, &e))? {
        Address::Inet {
            host,
            port: port @ (Port::None | Port::Fixed(_)),
            family,
            ..
        } => {
            let ip = host_ip(args, word.span, &host, family)?;
            let port = if let Port::Fixed(port) = port {
                port
            } else {
                0
            };
            Ok(SocketAddr::new(ip, port))
        }
        _ => {
            let text = format!(
                "'{}' expects <addr>[:<port>] (got '{}').",
                args.name,
                word.text()
            );
            Err(args.fail(word.span, text))
        }
    }
}

/// A network, for `monitor-net`.
pub(super) fn network(args: &mut Args<'_, '_>, word: &Word) -> Result<ipnet::IpNet, Said> {
    addr::network(&word.text()).map_err(|e| bad(args, word, &e))
}

/// The word with `$NAME` and `${NAME}` replaced: in addresses haproxy does so outside of double quotes too.
/// What is not set is empty.
fn expanded(args: &Args<'_, '_>, word: &Word) -> String {
    let text = word.text();
    let mut out = String::new();
    let mut rest = &*text;
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        let (braced, body) = after
            .strip_prefix('{')
            .map_or((false, after), |b| (true, b));
        let end = body
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(body.len());
        out += args.cx.env.value(&body[..end]).unwrap_or("");
        rest = &body[end..];
        if braced {
            rest = rest.strip_prefix('}').unwrap_or(rest);
        }
    }
    out + rest
}

fn bad(args: &mut Args<'_, '_>, word: &Word, error: &AddrError) -> Said {
    let text = if args.prefix.is_empty() {
        format!("'{}' : {}", args.name, error.message)
    } else {
        error.message.clone()
    };
    // Offsets are of the expanded text.
    let span = if word.bytes.contains(&b'$') {
        word.span
    } else {
        word.part(error.at, error.len)
    };
    match &error.help {
        Some(help) => args.fail_help(span, text, help.clone()),
        None => args.fail(span, text),
    }
}

fn literal(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Any4 => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Host::Any6 => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        Host::Ip(ip) => Some(*ip),
        Host::Name(_) => None,
    }
}

/// The address of a host that must be known now; a name is looked up.
fn host_ip(
    args: &mut Args<'_, '_>,
    span: Span,
    host: &Host,
    family: Family,
) -> Result<IpAddr, Said> {
    let name = match (literal(host), host) {
        (Some(ip), _) => return Ok(ip),
        (None, Host::Name(name)) => name,
        (None, _) => unreachable!("only names have no literal address"),
    };
    let found = args.cx.world.resolve(name);
    match found.map(|list| pick(&list, family)) {
        Ok(Some(ip)) => Ok(ip),
        Ok(None) => Err(args.fail(
            span,
            format!("'{}' : '{name}' has no address of this family.", args.name),
        )),
        Err(why) => {
            let text = format!("'{}' : could not resolve '{name}' ({why}).", args.name);
            Err(args.fail_help(
                span,
                text,
                "write the address itself, or give the name to the resolver",
            ))
        }
    }
}

/// The first address of a family, in the resolver's order.
pub(super) fn pick(list: &[IpAddr], family: Family) -> Option<IpAddr> {
    list.iter().copied().find(|ip| match family {
        Family::Either => true,
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
    })
}
