//! Who listens on a port: `/proc/net/tcp` names the socket, `/proc/PID/fd` its process.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
}

impl Holder {
    /// A balancer that hands its sockets over, or lets go of them, when another one starts.
    pub(super) fn is_balancer(&self) -> bool {
        matches!(self.name.as_str(), "haproxy" | "ringway")
    }
}

/// The state LISTEN.
const LISTEN: &str = "0A";

/// Processes that listen where `address` could not be bound. Empty where that cannot be known: other users'
/// descriptors are not shown to everybody.
pub(super) fn of(address: SocketAddr) -> Vec<Holder> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        inodes.extend(
            text.lines()
                .skip(1)
                .filter_map(|line| listening(line, address)),
        );
    }
    if inodes.is_empty() {
        return Vec::new();
    }
    let wanted: Vec<String> = inodes.iter().map(|n| format!("socket:[{n}]")).collect();
    let mut out: Vec<Holder> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let fds = fs::read_dir(entry.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let mut links = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
        if links.any(|link| wanted.iter().any(|w| link.as_os_str() == w.as_str())) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let name = name.trim().to_owned();
            out.push(Holder { pid, name });
        }
    }
    out.sort_by_key(|holder| holder.pid);
    out
}

/// The inode of a line of the table, if it listens in the way of `address`.
fn listening(line: &str, address: SocketAddr) -> Option<u64> {
    let cells: Vec<&str> = line.split_ascii_whitespace().collect();
    let (ip, port) = cells.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = ip_of(ip)?;
    let meets = ip.is_unspecified() || address.ip().is_unspecified() || ip == address.ip();
    if *cells.get(3)? != LISTEN || port != address.port() || !meets {
        return None;
    }
    cells.get(9)?.parse().ok()
}

/// An address as the table writes it: words of four bytes in the machine's order.
fn ip_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let mut bytes = [0; 16];
    for (at, chunk) in bytes.chunks_mut(4).enumerate() {
        chunk.copy_from_slice(&word(at)?);
    }
    let ip = Ipv6Addr::from(bytes);
    Some(ip.to_ipv4_mapped().map_or_else(|| ip.into(), IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_table_tell_who_is_in_the_way() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0";
        let at = |text: &str| listening(line, text.parse().expect("an address"));
        if cfg!(target_endian = "little") {
            assert_eq!(at("127.0.0.1:8080"), Some(4711));
            assert_eq!(at("0.0.0.0:8080"), Some(4711));
            assert_eq!(at("127.0.0.2:8080"), None);
        }
        assert_eq!(at("127.0.0.1:8081"), None);
        assert_eq!(
            listening("nonsense", "127.0.0.1:1".parse().expect("one")),
            None
        );
    }
}
