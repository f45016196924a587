//! Addresses in all of haproxy's forms (configuration.txt 4.2 `bind`, 5.2, and "Address formats").
//!
//! An address is read for a context, since what is right for a `bind` (a port, maybe a range, maybe `fd@`) is wrong
//! for a `server` (no range, but an offset). Names are kept as names: resolving them is not this module's work.
//! Environment variables are expanded before, by the lexer.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Longest path or abstract name of a unix socket, in bytes (`sun_path` less its NUL).
pub const UNIX_PATH_MAX: usize = 107;

/// The host part of an internet address. `0.0.0.0` and `::` are the two `Any`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Nothing, `*` or `0.0.0.0`.
    Any4,
    /// `[::]`, or nothing or `*` after `ipv6@` and its kin.
    Any6,
    Ip(IpAddr),
    /// To be resolved, into the address's [`Family`].
    Name(String),
}

/// The port part of an internet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    None,
    Fixed(u16),
    /// Both ends included, the first not above the second.
    Range(u16, u16),
    /// `+n` or `-n` on a server: added to the port the client reached. At most 65535 either way.
    Offset(i32),
}

/// Which family a name may resolve to, and which `Any` an empty host means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Either,
    V4,
    V6,
}

/// How bytes travel: asked for by a prefix, else what the context has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Stream,
    Datagram,
}

/// An address as configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Inet {
        host: Host,
        port: Port,
        family: Family,
        transport: Transport,
        /// `mptcp@`: multipath TCP.
        mptcp: bool,
    },
    Unix {
        path: String,
        transport: Transport,
    },
    /// Abstract name, padded with NUL to the end of `sun_path` as haproxy's `abns@` always was.
    Abns(String),
    /// Abstract name of exactly its own length (3.1).
    Abnsz(String),
    /// An inherited descriptor.
    Fd(i32),
    /// An inherited descriptor of a connected unix pair, over which descriptors arrive.
    Sockpair(i32),
    /// `ring@name`, only for `log`.
    Ring(String),
    /// `backend@name`, only for `log`.
    Backend(String),
}

impl Address {
    /// The port, `None` for what has none.
    pub const fn port(&self) -> Port {
        match self {
            Self::Inet { port, .. } => *port,
            _ => Port::None,
        }
    }
}

/// Why a word is no address for its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddrError {
    /// In haproxy's words where it has some.
    pub message: String,
    /// The bytes of the word to blame.
    pub at: usize,
    pub len: usize,
    /// What to write instead, where that is known.
    pub help: Option<String>,
}

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AddrError {}

/// What a context allows.
#[derive(Clone, Copy, Debug)]
struct Rules {
    port: PortRule,
    /// Transport without a prefix.
    transport: Transport,
    other_transport: bool,
    fd: bool,
    unix: bool,
    sinks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortRule {
    Mandatory,
    Optional,
    OptionalOrOffset,
}

const LISTEN: Rules = Rules {
    port: PortRule::Mandatory,
    transport: Transport::Stream,
    other_transport: false,
    fd: true,
    unix: true,
    sinks: false,
};

const SERVER: Rules = Rules {
    port: PortRule::OptionalOrOffset,
    fd: false,
    ..LISTEN
};

const SOURCE: Rules = Rules {
    port: PortRule::Optional,
    fd: false,
    unix: false,
    ..LISTEN
};

const LOG: Rules = Rules {
    port: PortRule::Optional,
    transport: Transport::Datagram,
    other_transport: true,
    fd: true,
    unix: true,
    sinks: true,
};

/// The comma list of a `bind` line: `:3389,:1494,/run/x.sock`. Ports are mandatory, ranges allowed.
pub fn bind(list: &str) -> Result<Vec<Address>, AddrError> {
    let list_trimmed = list.strip_suffix(',').unwrap_or(list);
    let mut at = 0;
    let mut addresses = Vec::new();
    for one in list_trimmed.split(',') {
        addresses.push(read(one, LISTEN).map_err(|e| AddrError { at: e.at + at, ..e })?);
        at += one.len() + 1;
    }
    Ok(addresses)
}

/// The address of a `server`: a port is optional, and may be an offset to the client's.
pub fn server(word: &str) -> Result<Address, AddrError> {
    read(word, SERVER)
}

/// The address to connect from, of `source` and `usesrc`: a port is optional, and no path makes sense.
pub fn source(word: &str) -> Result<Address, AddrError> {
    read(word, SOURCE)
}

/// The target of a `log` line: a datagram unless a prefix says otherwise; `stdout` and `stderr` are 1 and 2.
pub fn log(word: &str) -> Result<Address, AddrError> {
    match word {
        "stdout" => Ok(Address::Fd(1)),
        "stderr" => Ok(Address::Fd(2)),
        _ => read(word, LOG),
    }
}

/// The addresses of a `stats socket`, which takes what `bind` takes.
pub fn stats_socket(list: &str) -> Result<Vec<Address>, AddrError> {
    bind(list)
}

/// An address with an optional prefix length or mask, as `monitor-net` and `except` take it.
///
/// IPv4 is read as `inet_aton` does, so `10/8` is `0.0.0.10/8`: haproxy 2.6 says the same through `get acl`.
/// Masks have to be contiguous.
pub fn network(word: &str) -> Result<IpNet, AddrError> {
    let invalid = || {
        whole(
            word,
            format!("'{word}' is not a valid IPv4 or IPv6 address"),
        )
    };
    let (host, mask) = match word.split_once('/') {
        Some((host, mask)) => (host, Some(mask)),
        None => (word, None),
    };
    let ip = ip_of(host).ok_or_else(invalid)?;
    let widest: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let Some(mask) = mask else {
        return Ok(IpNet::new(ip, widest).expect("the family's own width"));
    };
    let length = prefix_len(mask, ip.is_ipv4()).filter(|&l| l <= widest);
    let net = length.and_then(|l| IpNet::new(ip, l).ok());
    net.ok_or_else(|| AddrError {
        message: format!("'{word}' is not a valid IPv4 or IPv6 address"),
        at: host.len() + 1,
        len: mask.len(),
        help: Some(format!(
            "the prefix length is 0 to {widest}, or a contiguous mask"
        )),
    })
}

/// One prefix: its text, what it means.
enum Prefix {
    Inet(Family, Option<Transport>, bool),
    Unix(Option<Transport>),
    Abns,
    Abnsz,
    Fd,
    Sockpair,
    Ring,
    Backend,
    /// Known to haproxy, not to us: what it is.
    Unsupported(&'static str),
}

const PREFIXES: &[(&str, Prefix)] = {
    use Family::{Either, V4, V6};
    use Prefix::{Abns, Abnsz, Backend, Fd, Inet, Ring, Sockpair, Unix, Unsupported};
    use Transport::{Datagram, Stream};
    &[
        ("ipv4", Inet(V4, None, false)),
        ("ipv6", Inet(V6, None, false)),
        ("tcp", Inet(Either, Some(Stream), false)),
        ("tcp4", Inet(V4, Some(Stream), false)),
        ("tcp6", Inet(V6, Some(Stream), false)),
        ("udp", Inet(Either, Some(Datagram), false)),
        ("udp4", Inet(V4, Some(Datagram), false)),
        ("udp6", Inet(V6, Some(Datagram), false)),
        ("mptcp", Inet(Either, Some(Stream), true)),
        ("mptcp4", Inet(V4, Some(Stream), true)),
        ("mptcp6", Inet(V6, Some(Stream), true)),
        ("unix", Unix(None)),
        ("uxst", Unix(Some(Stream))),
        ("uxdg", Unix(Some(Datagram))),
        ("abns", Abns),
        ("abnsz", Abnsz),
        ("fd", Fd),
        ("sockpair", Sockpair),
        ("ring", Ring),
        ("backend", Backend),
        ("quic4", Unsupported("QUIC")),
        ("quic6", Unsupported("QUIC")),
        ("rhttp", Unsupported("reverse HTTP")),
    ]
};

/// One address under `rules`.
fn read(word: &str, rules: Rules) -> Result<Address, AddrError> {
    let (forced, rest) = match word {
        w if w.starts_with("stream+") => (Some(Transport::Stream), &w[7..]),
        w if w.starts_with("dgram+") => (Some(Transport::Datagram), &w[6..]),
        w => (None, w),
    };
    let prefix = rest
        .split_once('@')
        .and_then(|(name, _)| PREFIXES.iter().find(|(known, _)| *known == name));
    let (prefix, body) = match prefix {
        Some((name, prefix)) => (prefix, &rest[name.len() + 1..]),
        None if rest.starts_with('/') => (&Prefix::Unix(None), rest),
        None => (&Prefix::Inet(Family::Either, None, false), rest),
    };
    if word.is_empty() {
        return Err(whole(
            word,
            "'' resolves to an empty address (environment variable missing?)",
        ));
    }
    let reader = Reader { word, body, rules };
    let own = match prefix {
        Prefix::Inet(_, own, _) | Prefix::Unix(own) => *own,
        _ => None,
    };
    match prefix {
        Prefix::Inet(family, _, mptcp) => {
            let transport = reader.transport(forced, own)?;
            reader.inet(*family, transport, *mptcp)
        }
        Prefix::Unix(_) => {
            let transport = reader.transport(forced, own)?;
            let path = reader.path()?;
            Ok(Address::Unix { path, transport })
        }
        Prefix::Abns => Ok(Address::Abns(reader.path()?)),
        Prefix::Abnsz => Ok(Address::Abnsz(reader.path()?)),
        Prefix::Fd if !reader.fd_allowed() => {
            // A word that is no number is the greater mistake: haproxy checks it first.
            reader.descriptor()?;
            Err(whole(
                word,
                format!("a file descriptor is not acceptable here in '{word}'"),
            ))
        }
        Prefix::Fd => Ok(Address::Fd(reader.descriptor()?)),
        Prefix::Sockpair => Ok(Address::Sockpair(reader.descriptor()?)),
        Prefix::Ring if rules.sinks => Ok(Address::Ring(reader.sink()?)),
        Prefix::Backend if rules.sinks => Ok(Address::Backend(reader.sink()?)),
        Prefix::Ring | Prefix::Backend => Err(whole(
            word,
            format!("a log target is not acceptable here in '{word}'"),
        )),
        Prefix::Unsupported(what) => Err(whole(
            word,
            format!("{what} is not supported yet in '{word}'"),
        )),
    }
}

/// Reads what follows the prefix; `body` is the end of `word`.
struct Reader<'a> {
    word: &'a str,
    body: &'a str,
    rules: Rules,
}

impl Reader<'_> {
    const fn body_at(&self) -> usize {
        self.word.len() - self.body.len()
    }

    const fn fd_allowed(&self) -> bool {
        self.rules.fd
    }

    /// The transport: a prefix of the address itself wins over `stream+` and `dgram+`, as in haproxy.
    fn transport(
        &self,
        forced: Option<Transport>,
        own: Option<Transport>,
    ) -> Result<Transport, AddrError> {
        let asked = own.or(forced).unwrap_or(self.rules.transport);
        if asked == self.rules.transport || self.rules.other_transport {
            return Ok(asked);
        }
        let kind = match asked {
            Transport::Stream => "stream",
            Transport::Datagram => "dgram",
        };
        Err(whole(
            self.word,
            format!("{kind}-type address not acceptable in '{}'", self.word),
        ))
    }

    fn path(&self) -> Result<String, AddrError> {
        if !self.rules.unix {
            return Err(whole(
                self.word,
                format!(
                    "a unix socket address is not acceptable here in '{}'",
                    self.word
                ),
            ));
        }
        if self.body.is_empty() || self.body.contains('\0') {
            return Err(whole(
                self.word,
                format!("invalid socket path in '{}'", self.word),
            ));
        }
        if self.body.len() > UNIX_PATH_MAX {
            return Err(whole(
                self.word,
                format!("socket path '{}' too long (max {UNIX_PATH_MAX})", self.word),
            ));
        }
        Ok(self.body.to_owned())
    }

    fn descriptor(&self) -> Result<i32, AddrError> {
        let number = self.body.bytes().all(|b| b.is_ascii_digit());
        let fd = self.body.parse::<i32>().ok().filter(|_| number);
        fd.ok_or_else(|| AddrError {
            message: format!(
                "file descriptor '{}' is not a valid integer in '{}'",
                self.body, self.word
            ),
            at: self.body_at(),
            len: self.body.len(),
            help: None,
        })
    }

    fn sink(&self) -> Result<String, AddrError> {
        if self.body.is_empty() {
            return Err(whole(
                self.word,
                format!("missing name after '@' in '{}'", self.word),
            ));
        }
        Ok(self.body.to_owned())
    }

    fn inet(
        &self,
        family: Family,
        transport: Transport,
        mptcp: bool,
    ) -> Result<Address, AddrError> {
        let (host, port) = self.host_and_port(family)?;
        Ok(Address::Inet {
            host,
            port,
            family,
            transport,
            mptcp,
        })
    }

    /// The last colon separates the port, as in haproxy: `::1:80` is port 80 of `::1`. Where that leaves no host but
    /// the whole is an IPv6 address, it is one without a port.
    fn host_and_port(&self, family: Family) -> Result<(Host, Port), AddrError> {
        let colon = self.body.rfind(':').filter(|_| !self.body.ends_with(']'));
        let Some(colon) = colon else {
            self.needs_no_port()?;
            return Ok((self.host(self.body, family)?, Port::None));
        };
        let (host, port) = (&self.body[..colon], &self.body[colon + 1..]);
        match self.host(host, family) {
            Ok(host) => Ok((host, self.port(port, self.body_at() + colon + 1)?)),
            Err(wrong) => match self.body.parse::<Ipv6Addr>() {
                Ok(_) if ip_of(host).is_none() => {
                    self.needs_no_port()?;
                    Ok((self.host(self.body, family)?, Port::None))
                }
                _ => Err(wrong),
            },
        }
    }

    fn host(&self, host: &str, family: Family) -> Result<Host, AddrError> {
        let invalid = || AddrError {
            message: format!("invalid address: '{host}' in '{}'", self.word),
            at: self.body_at(),
            len: host.len(),
            help: None,
        };
        if host.is_empty() || host == "*" {
            return Ok(match family {
                Family::V6 => Host::Any6,
                Family::Either | Family::V4 => Host::Any4,
            });
        }
        let bare = match host.strip_prefix('[') {
            Some(open) => open.strip_suffix(']').ok_or_else(invalid)?,
            None => host,
        };
        match (ip_of(bare), family) {
            (Some(IpAddr::V4(_)), Family::V6) | (Some(IpAddr::V6(_)), Family::V4) => Err(invalid()),
            (Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), _) => Ok(Host::Any4),
            (Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), _) => Ok(Host::Any6),
            (Some(ip), _) => Ok(Host::Ip(ip)),
            (None, _) if is_name(host) => Ok(Host::Name(host.to_owned())),
            (None, _) => Err(invalid()),
        }
    }

    fn needs_no_port(&self) -> Result<(), AddrError> {
        if self.rules.port != PortRule::Mandatory {
            return Ok(());
        }
        let bare6 = self.body.parse::<Ipv6Addr>().is_ok();
        Err(AddrError {
            message: format!("missing port specification in '{}'", self.word),
            at: 0,
            len: self.word.len(),
            help: bare6.then(|| format!("write '[{}]:<port>'", self.body)),
        })
    }

    fn port(&self, port: &str, at: usize) -> Result<Port, AddrError> {
        let error = |message: String| AddrError {
            message,
            at,
            len: port.len(),
            help: None,
        };
        if port.is_empty() {
            return self.needs_no_port().map(|()| Port::None);
        }
        if let Some(magnitude) = port.strip_prefix(['+', '-']) {
            if self.rules.port != PortRule::OptionalOrOffset {
                return Err(error(format!(
                    "port offset not permitted here in '{}'",
                    self.word
                )));
            }
            let offset = i32::from(self.port_number(magnitude, at + 1)?);
            return Ok(Port::Offset(if port.starts_with('-') {
                -offset
            } else {
                offset
            }));
        }
        let Some((low, high)) = port.split_once('-') else {
            let number = self.port_number(port, at)?;
            if number == 0 && self.rules.port == PortRule::Mandatory {
                return Err(error(format!("invalid port '{port}'")));
            }
            return Ok(Port::Fixed(number));
        };
        if self.rules.port != PortRule::Mandatory {
            return Err(error(format!(
                "port range not permitted here in '{}'",
                self.word
            )));
        }
        let low_number = self.port_number(low, at)?;
        let high_number = self.port_number(high, at + low.len() + 1)?;
        if low_number == 0 || low_number > high_number {
            return Err(error(format!("invalid port range '{port}'")));
        }
        Ok(Port::Range(low_number, high_number))
    }

    fn port_number(&self, digits: &str, at: usize) -> Result<u16, AddrError> {
        if let Some((i, c)) = digits.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
            return Err(AddrError {
                message: format!(
                    "invalid character '{c}' in port number '{digits}' in '{}'",
                    self.word
                ),
                at: at + i,
                len: c.len_utf8(),
                help: None,
            });
        }
        digits.parse().map_err(|_| AddrError {
            message: format!("invalid port '{digits}'"),
            at,
            len: digits.len(),
            help: Some("ports go from 0 to 65535".to_owned()),
        })
    }
}

/// An IP address as `getaddrinfo` reads one: IPv6 text, or `inet_aton`'s one to four numbers.
fn ip_of(text: &str) -> Option<IpAddr> {
    match text.parse::<Ipv6Addr>() {
        Ok(v6) => Some(IpAddr::V6(v6)),
        Err(_) => inet_aton(text).map(IpAddr::V4),
    }
}

/// `inet_aton`: `a.b.c.d`, or fewer numbers of which the last fills the rest; decimal, `0` octal, `0x` hexadecimal.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 {
        return None;
    }
    let mut address = 0u32;
    for part in leading {
        address = address << 8 | u32::from(u8::try_from(c_number(part)?).ok()?);
    }
    let rest_bits = 8 * (4 - u32::try_from(leading.len()).expect("at most 3"));
    let last = c_number(last)?;
    if u64::from(last) >= 1u64 << rest_bits {
        return None;
    }
    let high = u64::from(address) << rest_bits;
    Some(Ipv4Addr::from(
        u32::try_from(high | u64::from(last)).expect("32 bits in all"),
    ))
}

fn c_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // `from_str_radix` takes a sign, addresses do not.
    let plain = digits.bytes().all(|b| b.is_ascii_alphanumeric());
    u32::from_str_radix(digits, radix).ok().filter(|_| plain)
}

/// Whether `host` may be asked of a resolver: letters, digits, `-`, `_` and dots, not all numeric, no empty label.
fn is_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let label_ok = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.len() <= 254
        && labels.split('.').all(label_ok)
        && !labels.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn prefix_len(mask: &str, v4: bool) -> Option<u8> {
    if !mask.is_empty() && mask.bytes().all(|b| b.is_ascii_digit()) {
        return mask.parse().ok();
    }
    match (mask.parse::<IpAddr>().ok()?, v4) {
        (mask @ IpAddr::V4(_), true) | (mask @ IpAddr::V6(_), false) => {
            ipnet::ip_mask_to_prefix(mask).ok()
        }
        _ => None,
    }
}

fn whole(word: &str, message: impl Into<String>) -> AddrError {
    AddrError {
        message: message.into(),
        at: 0,
        len: word.len(),
        help: None,
    }
}

impl fmt::Display for Host {
    /// As it is written in front of a port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any4 => f.write_str("0.0.0.0"),
            Self::Any6 => f.write_str("[::]"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Port {
    /// With its colon; nothing for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Fixed(port) => write!(f, ":{port}"),
            Self::Range(low, high) => write!(f, ":{low}-{high}"),
            Self::Offset(offset) => write!(f, ":{offset:+}"),
        }
    }
}

impl fmt::Display for Address {
    /// A form that reads back as the same address in the same context.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet {
                host,
                port,
                family,
                mptcp,
                ..
            } => {
                let prefix = match (mptcp, family, host) {
                    (true, Family::Either, _) => "mptcp@",
                    (true, Family::V4, _) => "mptcp4@",
                    (true, Family::V6, _) => "mptcp6@",
                    (false, Family::V4, Host::Name(_)) => "ipv4@",
                    (false, Family::V6, Host::Name(_)) => "ipv6@",
                    _ => "",
                };
                write!(f, "{prefix}{host}{port}")
            }
            Self::Unix { path, .. } if path.starts_with('/') => f.write_str(path),
            Self::Unix { path, .. } => write!(f, "unix@{path}"),
            Self::Abns(name) => write!(f, "abns@{name}"),
            Self::Abnsz(name) => write!(f, "abnsz@{name}"),
            Self::Fd(fd) => write!(f, "fd@{fd}"),
            Self::Sockpair(fd) => write!(f, "sockpair@{fd}"),
            Self::Ring(name) => write!(f, "ring@{name}"),
            Self::Backend(name) => write!(f, "backend@{name}"),
        }
    }
}

#[cfg(test)]
mod tests;
