//! The PROXY protocol, versions 1 and 2: whom a connection is relayed for, told before its first byte.
//!
//! [`parse`] is asked with all bytes received so far and decides nothing before the header is whole; what to do with
//! the addresses, and how long to wait, is the caller's. Follows proxy-protocol.txt sections 2.1 and 2.2, and haproxy
//! where that is narrower: v1 knows `TCP4`, `TCP6` and a bare `UNKNOWN`, v2 knows TCP over IPv4 and IPv6 and `LOCAL`.
//! haproxy 2.6 refuses a header that comes in pieces; here it is waited for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// First bytes of a v2 header.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest v1 line, CRLF included.
pub const V1_MAX: usize = 107;
/// Longest v2 header taken: what fits haproxy's default buffer, which is its own bound.
pub const V2_MAX: usize = 16_384;

const V1_START: &[u8] = b"PROXY ";
/// Signature, version and command, family and protocol, length.
const V2_FIXED: usize = 16;
const CRC32C: u8 = 0x03;
const AUTHORITY: u8 = 0x02;
const UNIQUE_ID: u8 = 0x05;
const AUTHORITY_MAX: usize = 255;
const UNIQUE_ID_MAX: usize = 128;

/// What the bytes so far amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parse {
    /// The beginning of a header. At most [`V1_MAX`] or [`V2_MAX`] bytes are needed in all.
    Partial,
    /// A header, and how many bytes it took.
    Done(Header, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// A whole header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: Version,
    /// `None` for `UNKNOWN` and `LOCAL`: the connection's own addresses hold.
    pub addresses: Option<Addresses>,
    /// In order, the checksum left out. None with `LOCAL`, whose content is skipped unread.
    pub tlvs: Vec<Tlv>,
}

/// The ends of the connection that is relayed. Both are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// A typed value of a v2 header (proxy-protocol.txt 2.2.1 and on).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv {
    pub kind: u8,
    pub value: Vec<u8>,
}

impl Header {
    /// Value of the first TLV of this kind.
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        self.tlvs
            .iter()
            .find(|t| t.kind == kind)
            .map(|t| t.value.as_slice())
    }

    /// Host name the client asked for (`fc_pp_authority`).
    pub fn authority(&self) -> Option<&[u8]> {
        self.tlv(AUTHORITY)
    }

    /// Identifier the sender gave the connection (`fc_pp_unique_id`).
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.tlv(UNIQUE_ID)
    }
}

/// How bytes break the protocol. The connection is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// Begins as neither version. A version other than 2 after the signature counts here, as with haproxy.
    NotProxy,
    /// The sender closed within the header. The caller's to find: [`parse`] says [`Parse::Partial`].
    Truncated,
    /// v1: neither `TCP4`, `TCP6` nor an `UNKNOWN` alone.
    V1Protocol,
    /// v1: no CRLF in [`V1_MAX`] bytes.
    V1TooLong,
    /// v1: a CR or LF that is not part of a CRLF.
    V1LineEnd,
    /// v1: not four fields with one space between.
    V1Fields,
    /// v1: an address not of the announced family, or none at all.
    V1Address,
    /// v1: a port that is no decimal number.
    V1Port,
    /// v2: neither `LOCAL` nor `PROXY`.
    V2Command,
    /// v2: a family or transport other than TCP over IPv4 or IPv6.
    V2Family,
    /// v2: shorter than the addresses of its family.
    V2Addresses,
    /// v2: longer than [`V2_MAX`].
    V2TooLong,
    /// v2: a TLV that ends after the header.
    V2Tlv,
    /// v2: a checksum that is not 4 bytes, or a second one.
    V2ChecksumForm,
    /// v2: a checksum that is not the header's.
    V2Checksum,
    /// v2: an authority of more than 255 bytes.
    V2Authority,
    /// v2: a unique identifier of more than 128 bytes.
    V2UniqueId,
}

impl ProxyError {
    /// What haproxy's log line says after the frontend and bind.
    pub const fn log_text(self) -> &'static str {
        match self {
            Self::NotProxy => "Received something which does not look like a PROXY protocol header",
            Self::Truncated | Self::V2TooLong => "Truncated PROXY protocol header received",
            Self::V1Protocol => "Received an unhandled protocol in the PROXY protocol header",
            Self::V1TooLong
            | Self::V1LineEnd
            | Self::V1Fields
            | Self::V1Address
            | Self::V1Port
            | Self::V2Command
            | Self::V2Family
            | Self::V2Addresses
            | Self::V2Tlv
            | Self::V2ChecksumForm
            | Self::V2Checksum
            | Self::V2Authority
            | Self::V2UniqueId => "Received an invalid PROXY protocol header",
        }
    }
}

impl std::fmt::Display for ProxyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.log_text())
    }
}

impl std::error::Error for ProxyError {}

/// Reads the header at the start of `bytes`, whichever version it is.
pub fn parse(bytes: &[u8]) -> Result<Parse, ProxyError> {
    if begins(bytes, V1_START) {
        v1(bytes)
    } else if begins(bytes, &SIGNATURE) {
        v2(bytes)
    } else {
        Err(ProxyError::NotProxy)
    }
}

/// Whether `bytes` start with `start`, or are as much of it as came so far.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let len = bytes.len().min(start.len());
    bytes[..len] == start[..len]
}

fn v1(bytes: &[u8]) -> Result<Parse, ProxyError> {
    let seen = &bytes[..bytes.len().min(V1_MAX)];
    let line = match seen.iter().position(|b| matches!(b, b'\r' | b'\n')) {
        Some(end) => match &seen[end..] {
            [b'\r', b'\n', ..] => &seen[..end],
            [b'\r'] if seen.len() < V1_MAX => return Ok(Parse::Partial),
            _ => return Err(ProxyError::V1LineEnd),
        },
        None if seen.len() < V1_MAX => return Ok(Parse::Partial),
        None => return Err(ProxyError::V1TooLong),
    };
    let Some(rest) = line.strip_prefix(V1_START) else {
        return Err(ProxyError::NotProxy);
    };
    let rest = std::str::from_utf8(rest).map_err(|_| ProxyError::V1Fields)?;
    let addresses = match rest.split_once(' ') {
        Some(("TCP4", fields)) => Some(v1_addresses(fields, ipv4)?),
        Some(("TCP6", fields)) => Some(v1_addresses(fields, ipv6)?),
        None if rest == "UNKNOWN" => None,
        None if matches!(rest, "TCP4" | "TCP6") => return Err(ProxyError::V1Fields),
        _ => return Err(ProxyError::V1Protocol),
    };
    let header = Header {
        version: Version::V1,
        addresses,
        tlvs: Vec::new(),
    };
    Ok(Parse::Done(header, line.len() + 2))
}

fn v1_addresses(
    fields: &str,
    address: fn(&str) -> Option<IpAddr>,
) -> Result<Addresses, ProxyError> {
    let mut all = fields.split(' ');
    let mut next = || {
        all.next()
            .filter(|f| !f.is_empty())
            .ok_or(ProxyError::V1Fields)
    };
    let (source, destination, source_port, destination_port) = (next()?, next()?, next()?, next()?);
    if all.next().is_some() {
        return Err(ProxyError::V1Fields);
    }
    let end = |ip: &str, port: &str| {
        let ip = address(ip).ok_or(ProxyError::V1Address)?;
        Ok(SocketAddr::new(ip, v1_port(port)?))
    };
    Ok(Addresses {
        source: end(source, source_port)?,
        destination: end(destination, destination_port)?,
    })
}

/// Four decimal numbers. Leading zeros are no octal: haproxy reads `010.2.3.4` as 10.2.3.4.
///
/// It also takes `1.2.3` and `1.2.3.456`, for 1.2.3.0 and 1.2.4.200; these are refused here.
fn ipv4(text: &str) -> Option<IpAddr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        // `parse` would take a sign.
        *octet = part
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())??;
    }
    parts
        .next()
        .is_none()
        .then(|| Ipv4Addr::from(octets).into())
}

fn ipv6(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// A decimal number, of which haproxy keeps 16 bits: 65536 is 0. Leading zeros are no matter.
fn v1_port(text: &str) -> Result<u16, ProxyError> {
    text.bytes().try_fold(0u16, |port, b| {
        let digit = b
            .is_ascii_digit()
            .then(|| u16::from(b - b'0'))
            .ok_or(ProxyError::V1Port)?;
        Ok(port.wrapping_mul(10).wrapping_add(digit))
    })
}

fn v2(bytes: &[u8]) -> Result<Parse, ProxyError> {
    let Some(&version_command) = bytes.get(12) else {
        return Ok(Parse::Partial);
    };
    if version_command >> 4 != 2 {
        return Err(ProxyError::NotProxy);
    }
    let Some(fixed) = bytes.get(..V2_FIXED) else {
        return Ok(Parse::Partial);
    };
    let total = V2_FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if total > V2_MAX {
        return Err(ProxyError::V2TooLong);
    }
    let addresses_len = match (version_command & 0xf, fixed[13]) {
        (0, _) => None,
        (1, 0x11) => Some(12),
        (1, 0x21) => Some(36),
        (1, _) => return Err(ProxyError::V2Family),
        _ => return Err(ProxyError::V2Command),
    };
    if addresses_len.is_some_and(|len| total < V2_FIXED + len) {
        return Err(ProxyError::V2Addresses);
    }
    let Some(whole) = bytes.get(..total) else {
        return Ok(Parse::Partial);
    };
    let (addresses, tlvs) = match addresses_len {
        None => (None, Vec::new()),
        Some(len) => {
            let (addresses, _) = whole[V2_FIXED..].split_at(len);
            (
                Some(v2_addresses(addresses)),
                v2_tlvs(whole, V2_FIXED + len)?,
            )
        }
    };
    Ok(Parse::Done(
        Header {
            version: Version::V2,
            addresses,
            tlvs,
        },
        total,
    ))
}

/// The address block of a family: 12 bytes of IPv4 or 36 of IPv6.
fn v2_addresses(block: &[u8]) -> Addresses {
    let (ips, ports) = block.split_at(block.len() - 4);
    let (source, destination) = ips.split_at(ips.len() / 2);
    let ip = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => {
            IpAddr::from(<[u8; 16]>::try_from(bytes).expect("a block is of one of two lengths"))
        }
    };
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Addresses {
        source: SocketAddr::new(ip(source), port(0)),
        destination: SocketAddr::new(ip(destination), port(2)),
    }
}

/// The TLVs from `at` to the end of `whole`, checked.
fn v2_tlvs(whole: &[u8], mut at: usize) -> Result<Vec<Tlv>, ProxyError> {
    let mut tlvs = Vec::new();
    let mut checked = false;
    while at < whole.len() {
        let &[kind, high, low, ..] = &whole[at..] else {
            return Err(ProxyError::V2Tlv);
        };
        let start = at + 3;
        let end = start + usize::from(u16::from_be_bytes([high, low]));
        let value = whole.get(start..end).ok_or(ProxyError::V2Tlv)?;
        match kind {
            // One is enough; each more would cost a pass over the header.
            CRC32C if value.len() != 4 || std::mem::replace(&mut checked, true) => {
                return Err(ProxyError::V2ChecksumForm);
            }
            CRC32C if checksum_without(whole, start).to_be_bytes() != value => {
                return Err(ProxyError::V2Checksum);
            }
            CRC32C => {}
            AUTHORITY if value.len() > AUTHORITY_MAX => return Err(ProxyError::V2Authority),
            UNIQUE_ID if value.len() > UNIQUE_ID_MAX => return Err(ProxyError::V2UniqueId),
            _ => tlvs.push(Tlv {
                kind,
                value: value.to_vec(),
            }),
        }
        at = end;
    }
    Ok(tlvs)
}

/// Writes a v1 line. Without addresses, as of a unix socket, it is `PROXY UNKNOWN`.
///
/// Where one end is IPv4 and the other IPv6, both are written as IPv6, as haproxy does.
pub fn encode_v1(addresses: Option<Addresses>, out: &mut Vec<u8>) {
    let Some(addresses) = addresses else {
        out.extend_from_slice(b"PROXY UNKNOWN\r\n");
        return;
    };
    let Addresses {
        source,
        destination,
    } = addresses.of_one_family();
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let line = format!(
        "PROXY {family} {from} {to} {} {}\r\n",
        source.port(),
        destination.port()
    );
    debug_assert!(
        line.len() <= V1_MAX,
        "the longest addresses fit by the protocol's own count"
    );
    out.extend_from_slice(line.as_bytes());
}

/// Whether a v2 header carries its CRC32C (`proxy-v2-options crc32c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    Without,
    With,
}

/// Writes a v2 header. Without addresses, as of a health check or a unix socket, it is `LOCAL`.
///
/// Fails if `tlvs` exceed what the length field can tell; `out` is then as before.
pub fn encode_v2(
    addresses: Option<Addresses>,
    tlvs: &[Tlv],
    checksum: Checksum,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let start = out.len();
    let addresses = addresses.map(Addresses::of_one_family);
    let (command, family) = match addresses {
        None => (0x20, 0x00),
        Some(a) if a.source.is_ipv4() => (0x21, 0x11),
        Some(_) => (0x21, 0x21),
    };
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&[command, family, 0, 0]);
    if let Some(Addresses {
        source,
        destination,
    }) = addresses
    {
        for ip in [source.ip(), destination.ip()] {
            match ip {
                IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
            }
        }
        for port in [source.port(), destination.port()] {
            out.extend_from_slice(&port.to_be_bytes());
        }
    }
    let written = put_tlvs(tlvs, out);
    if checksum == Checksum::With {
        out.extend_from_slice(&[CRC32C, 0, 4, 0, 0, 0, 0]);
    }
    let len = u16::try_from(out.len() - start - V2_FIXED).ok();
    let Some(len) = written.and(len) else {
        out.truncate(start);
        return Err(TooLong);
    };
    out[start + 14..start + 16].copy_from_slice(&len.to_be_bytes());
    if checksum == Checksum::With {
        let at = out.len() - 4;
        let sum = checksum_without(&out[start..], at - start);
        out[at..].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(())
}

fn put_tlvs(tlvs: &[Tlv], out: &mut Vec<u8>) -> Option<()> {
    for tlv in tlvs {
        let len = u16::try_from(tlv.value.len()).ok()?;
        out.push(tlv.kind);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&tlv.value);
    }
    Some(())
}

/// More than 65,535 bytes after the fixed part of a v2 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PROXY v2 header longer than its length field can tell")
    }
}

impl std::error::Error for TooLong {}

impl Addresses {
    /// Both ends, if both are known; the rest goes out as `UNKNOWN` or `LOCAL`.
    pub fn of(source: Option<SocketAddr>, destination: Option<SocketAddr>) -> Option<Self> {
        let (source, destination) = source.zip(destination)?;
        Some(Self {
            source,
            destination,
        })
    }

    /// Both as IPv6 if one is.
    fn of_one_family(self) -> Self {
        if self.source.is_ipv4() == self.destination.is_ipv4() {
            return self;
        }
        let mapped = |end: SocketAddr| match end.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
            IpAddr::V6(_) => end,
        };
        Self {
            source: mapped(self.source),
            destination: mapped(self.destination),
        }
    }
}

/// CRC32C of `header` with the four bytes at `at` taken as 0 (proxy-protocol.txt 2.2.3, RFC 4960 appendix B).
fn checksum_without(header: &[u8], at: usize) -> u32 {
    let sum = crc32c(!0, &header[..at]);
    let sum = crc32c(sum, &[0; 4]);
    !crc32c(sum, &header[at + 4..])
}

/// Goes on with a CRC32C; starts from, and is to be inverted to, all ones.
fn crc32c(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |sum, &b| {
        let index = (sum ^ u32::from(b)) & 0xff;
        sum >> 8 ^ CRC_TABLE[index as usize]
    })
}

/// The reflected Castagnoli polynomial, a byte at a time.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0u32;
    while i < 256 {
        let mut sum = i;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ 0x82f6_3b78
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[i as usize] = sum;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests;
