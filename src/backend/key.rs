//! What the algorithms that hash a part of the request go by (configuration.txt 4.2, `balance`): the bytes
//! they look at, as haproxy 2.6 takes them (`key/keys.txt`), and what RDP cookies say of their server.

use std::net::{IpAddr, Ipv4Addr};

use crate::base::hash;
use crate::config::http::HashKey;
use crate::config::{
    BackendId, Config, HashFunction, HashType, ServerAddress, ServerId, ServerPort,
};
use crate::lang::fetch::rdp_cookie;
use crate::lang::sample::{Arena, Value};
use crate::lang::subject::Subject;

/// What [`Ask::key`](super::Ask::key) is to be for this request; `None`: servers take turns.
pub fn hash_key(
    config: &Config,
    id: BackendId,
    subject: &dyn Subject,
    arena: &Arena,
) -> Option<u32> {
    let backend = config.backend(id);
    let key = config.proxy(backend.proxy).http.hash_key.as_ref()?;
    of_request(key, backend.hash_type, subject, arena)
}

/// The same without a configuration.
pub fn of_request(
    key: &HashKey,
    how: HashType,
    subject: &dyn Subject,
    arena: &Arena,
) -> Option<u32> {
    let head = || subject.request();
    let text = match key {
        HashKey::Uri {
            len,
            depth,
            whole,
            path_only,
        } => uri(head()?.target(), *len, *depth, *whole, *path_only),
        HashKey::UrlParam { name, .. } => {
            let head = head()?;
            let query = head.target().splitn(2, |&b| b == b'?').nth(1);
            let in_query = query.and_then(|q| parameter(q, name));
            // With and without `check_post`, as in haproxy 2.6.
            let in_body = || {
                let body = subject
                    .request_body()
                    .filter(|_| head.method() == b"POST")?;
                parameter(body.bytes, name)
            };
            in_query.or_else(in_body)?
        }
        HashKey::Header { name, domain_only } => {
            let value = first_value(head()?.first(name)?);
            if value.is_empty() {
                return None;
            }
            if *domain_only { domain(value) } else { value }
        }
        HashKey::RdpCookie { name } => rdp_cookie(subject.request_bytes()?.bytes, name)?,
        HashKey::Expr(expr) => return sample(expr.eval(subject, arena)?, how),
    };
    Some(hashed(text, how))
}

/// The hash of a text, as `hash-type` says.
pub fn hashed(text: &[u8], how: HashType) -> u32 {
    let plain = match how.function {
        HashFunction::Sdbm => hash::sdbm(text),
        HashFunction::Djb2 => hash::djb2(text),
        HashFunction::Wt6 => hash::wt6(text),
        HashFunction::Crc32 => hash::crc32(text),
        HashFunction::None => hash::none(text),
    };
    mixed(plain, how)
}

fn mixed(plain: u32, how: HashType) -> u32 {
    if how.avalanche {
        hash::avalanche(plain)
    } else {
        plain
    }
}

/// `balance hash`: the sample as bytes; numbers are eight in network order, addresses as they are sent.
fn sample(value: Value<'_>, how: HashType) -> Option<u32> {
    Some(match value {
        // The number is the hash already.
        Value::Int(n) if how.function == HashFunction::None => mixed(n as u32, how),
        Value::Int(n) => hashed(&n.to_be_bytes(), how),
        Value::Bool(b) => hashed(&i64::from(b).to_be_bytes(), how),
        Value::Ip(IpAddr::V4(ip)) => hashed(&ip.octets(), how),
        Value::Ip(IpAddr::V6(ip)) => hashed(&ip.octets(), how),
        Value::Str(text) | Value::Bin(text) | Value::Method(text) => hashed(text, how),
    })
}

/// The part of a target that `balance uri` looks at.
fn uri(target: &[u8], len: Option<u32>, depth: Option<u32>, whole: bool, path_only: bool) -> &[u8] {
    let mut text = if path_only { path(target) } else { target };
    if let Some(len) = len {
        text = &text[..text.len().min(len as usize)];
    }
    let mut slashes = 0;
    let ends = |&b: &u8| match b {
        b'/' => {
            slashes += 1;
            depth.is_some_and(|depth| slashes > depth)
        }
        b'?' => !whole,
        _ => false,
    };
    let end = text.iter().position(ends);
    &text[..end.unwrap_or(text.len())]
}

/// A target from the first `/` of its path on; empty where it has none (`*`).
fn path(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(scheme) = memchr::memmem::find(target, b"://") else {
        return &[];
    };
    let authority = &target[scheme + 3..];
    let slash = authority.iter().position(|&b| b == b'/');
    slash.map_or(&[], |at| &authority[at..])
}

/// Value of the first parameter of that name with an `=`.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query
        .split(|&b| b == b'&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

/// Up to the first comma outside of quotes, without blanks around it.
fn first_value(field: &[u8]) -> &[u8] {
    let mut quoted = false;
    let mut escaped = false;
    let ends = |&b: &u8| {
        let comma = b == b',' && !quoted;
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        comma
    };
    let end = field.iter().position(ends).unwrap_or(field.len());
    field[..end].trim_ascii()
}

/// `use_domain_only`: the label before the last dot, where there is one. (Where the last label has one letter,
/// haproxy 2.6 reads beyond the value and its choice is not determined.)
fn domain(host: &[u8]) -> &[u8] {
    let Some(last) = host.iter().rposition(|&b| b == b'.').filter(|&at| at > 0) else {
        return host;
    };
    // At least one byte, be it another dot.
    let before = host[..last - 1].iter().rposition(|&b| b == b'.');
    &host[before.map_or(0, |at| at + 1)..last]
}

/// `persist rdp-cookie`: the server whose address a terminal server put into the cookie (`routing token`:
/// address and port as decimal numbers of their bytes in reverse, then `0000`).
pub fn rdp_server(config: &Config, id: BackendId, bytes: &[u8], name: &[u8]) -> Option<ServerId> {
    let text = std::str::from_utf8(rdp_cookie(bytes, name)?).ok()?;
    let mut parts = text.split('.');
    let address: u32 = parts.next()?.parse().ok()?;
    let port: u16 = parts.next()?.parse().ok()?;
    parts.next()?;
    let (ip, port) = (Ipv4Addr::from(address.swap_bytes()), port.swap_bytes());
    let servers = &config.backend(id).servers;
    servers.iter().copied().find(|&server| {
        config.server(server).address
            == ServerAddress::Ip {
                ip: IpAddr::V4(ip),
                port: ServerPort::Fixed(port),
            }
    })
}

#[cfg(test)]
mod tests;
