//! The parts of a request target (RFC 9112 3.2).

use std::net::IpAddr;

/// Path and query: all of an origin form, what follows the authority in an absolute form. `None` in the asterisk and
/// authority forms.
pub fn path_and_query(target: &[u8]) -> Option<&[u8]> {
    match target.first()? {
        b'/' => Some(target),
        _ => {
            let after = behind_scheme(target)?;
            let at = memchr::memchr(b'/', after)?;
            Some(&after[at..])
        }
    }
}

/// The path without the query.
pub fn path(target: &[u8]) -> Option<&[u8]> {
    let path = path_and_query(target)?;
    Some(match memchr::memchr2(b'?', b'#', path) {
        Some(end) => &path[..end],
        None => path,
    })
}

fn behind_scheme(target: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(target, b"://")?;
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    target[..at].iter().all(plain).then(|| &target[at + 3..])
}

/// The host of an absolute form if it is an address, and its port, 80 where none is written.
pub(super) fn host_and_port(target: &[u8]) -> Option<(IpAddr, u16)> {
    let after = behind_scheme(target)?;
    let end = memchr::memchr2(b'/', b'?', after).unwrap_or(after.len());
    let authority = str::from_utf8(&after[..end]).ok()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, 80),
    };
    Some((host.parse().ok().map(IpAddr::V4)?, port))
}
