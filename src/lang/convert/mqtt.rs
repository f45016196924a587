//! The first packets of MQTT 3.1, 3.1.1 and 5.0: CONNECT and CONNACK.

use super::Eval;
use super::args::Args;
use crate::lang::expr::Fault;
use crate::lang::sample::Value;

#[derive(Clone, Debug)]
pub(super) enum Op {
    IsValid,
    /// Type of packet and what of it.
    FieldValue(u8, Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Flags,
    ProtocolName,
    ProtocolVersion,
    ClientIdentifier,
    WillTopic,
    WillPayload,
    Username,
    Password,
    KeepAlive,
    ReasonCode,
    /// By its identifier (MQTT 5.0, 2.2.2.2).
    Property(u8),
}

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const USER_PROPERTY: u8 = 38;

/// Types of packets, from 1.
const TYPES: [&str; 15] = [
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
];

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bad {
    /// Not all there yet.
    Partial,
    Wrong,
}

impl Op {
    pub(super) fn apply<'a>(&self, input: &'a [u8], eval: Eval<'a>) -> Option<Value<'a>> {
        match self {
            Self::IsValid => match packet(input) {
                Ok(_) => Some(Value::Bool(true)),
                Err(Bad::Wrong) => Some(Value::Bool(false)),
                Err(Bad::Partial) => None,
            },
            Self::FieldValue(wanted, field) => {
                let packet = packet(input).ok()?;
                if packet.kind != *wanted {
                    return None;
                }
                match packet.get(*field)? {
                    Content::Bytes(b"") => None,
                    Content::Bytes(bytes) => Some(Value::Str(bytes)),
                    Content::Number(n) => Some(Value::Str(Value::Int(n.into()).text(eval.arena))),
                }
            }
        }
    }
}

/// Content of a field.
#[derive(Clone, Copy, Debug)]
enum Content<'t> {
    Bytes(&'t [u8]),
    Number(u32),
}

/// A packet whose fields were all found.
#[derive(Debug, Default)]
struct Packet<'t> {
    kind: u8,
    name: &'t [u8],
    version: Option<u8>,
    flags: u8,
    keep_alive: u16,
    reason: u8,
    client: &'t [u8],
    will: Option<(&'t [u8], &'t [u8])>,
    user: Option<&'t [u8]>,
    password: Option<&'t [u8]>,
    properties: &'t [u8],
    will_properties: &'t [u8],
}

impl<'t> Packet<'t> {
    fn get(&self, field: Field) -> Option<Content<'t>> {
        let number = |n: u8| Some(Content::Number(n.into()));
        let bytes = |b: &'t [u8]| Some(Content::Bytes(b));
        match field {
            Field::Flags => number(self.flags),
            Field::ProtocolName => bytes(self.name),
            Field::ProtocolVersion => self.version.and_then(number),
            Field::ClientIdentifier => bytes(self.client),
            Field::WillTopic => bytes(self.will?.0),
            Field::WillPayload => bytes(self.will?.1),
            Field::Username => bytes(self.user?),
            Field::Password => bytes(self.password?),
            Field::KeepAlive => Some(Content::Number(self.keep_alive.into())),
            Field::ReasonCode => number(self.reason),
            Field::Property(USER_PROPERTY) => None,
            Field::Property(id) => {
                let of_will = matches!(id, 1..=9 | 24);
                let list = if of_will {
                    self.will_properties
                } else {
                    self.properties
                };
                // Numbers that a packet of 5.0 leaves out are 0, as in haproxy.
                let zero = (self.version == Some(5) && is_number(id)).then_some(Content::Number(0));
                find(list, id).or(zero)
            }
        }
    }
}

/// What is left of a packet.
struct Rest<'t>(&'t [u8]);

impl<'t> Rest<'t> {
    fn take(&mut self, len: usize) -> Result<&'t [u8], Bad> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Bad::Wrong)?;
        self.0 = rest;
        Ok(bytes)
    }
    /// A number of up to four bytes, the first one highest.
    fn number(&mut self, len: usize) -> Result<u32, Bad> {
        let bytes = self.take(len)?;
        Ok(bytes.iter().fold(0, |n, &b| n << 8 | u32::from(b)))
    }
    fn byte(&mut self) -> Result<u8, Bad> {
        Ok(self.take(1)?[0])
    }
    /// Bytes behind their length.
    fn string(&mut self) -> Result<&'t [u8], Bad> {
        let len = self.number(2)?;
        self.take(len as usize)
    }
    /// A length in up to four bytes of seven bits, the lowest first.
    fn length(&mut self) -> Result<usize, Bad> {
        let mut n = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            n |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Bad::Wrong)
    }
    /// A list of properties that packets of this type, or a will (0), may have.
    fn properties(&mut self, kind: u8) -> Result<&'t [u8], Bad> {
        let len = self.length()?;
        let list = self.take(len)?;
        let mut rest = Rest(list);
        let mut seen = 0_u64;
        while !rest.0.is_empty() {
            let (id, _) = rest.property()?;
            let again = seen & 1 << id != 0 && id != USER_PROPERTY;
            if again || !may_have(kind, id) {
                return Err(Bad::Wrong);
            }
            seen |= 1 << id;
        }
        Ok(list)
    }
    /// One property; identifiers are below 64.
    fn property(&mut self) -> Result<(u8, Content<'t>), Bad> {
        let id = self.byte()?;
        let content = match id {
            1 | 23 | 25 | 36 | 37 | 40..=42 => Content::Number(self.number(1)?),
            19 | 33 | 34 => Content::Number(self.number(2)?),
            2 | 17 | 24 | 39 => Content::Number(self.number(4)?),
            3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 | 31 => Content::Bytes(self.string()?),
            USER_PROPERTY => {
                self.string()?;
                Content::Bytes(self.string()?)
            }
            _ => return Err(Bad::Wrong),
        };
        Ok((id, content))
    }
}

fn is_number(id: u8) -> bool {
    matches!(id, 1 | 2 | 17 | 19 | 23..=25 | 33 | 34 | 36 | 37 | 39..=42)
}

fn find(list: &[u8], wanted: u8) -> Option<Content<'_>> {
    let mut rest = Rest(list);
    loop {
        let (id, content) = rest.property().ok()?;
        if id == wanted {
            return Some(content);
        }
    }
}

/// MQTT 5.0, 2.2.2.2, as far as CONNECT, CONNACK, wills (0) and the others' arguments need it.
fn may_have(kind: u8, id: u8) -> bool {
    match id {
        USER_PROPERTY => true,
        1 | 2 | 3 | 8 | 9 => matches!(kind, 0 | 3),
        24 => kind == 0,
        17 => matches!(kind, CONNECT | CONNACK | 14),
        33 | 34 | 39 => matches!(kind, CONNECT | CONNACK),
        21 | 22 => matches!(kind, CONNECT | CONNACK | 15),
        23 | 25 => kind == CONNECT,
        18 | 19 | 26 | 36 | 37 | 40..=42 => kind == CONNACK,
        28 => matches!(kind, CONNACK | 14),
        31 => matches!(kind, CONNACK | 4..=7 | 9 | 11 | 14 | 15),
        11 => matches!(kind, 3 | 8),
        35 => kind == 3,
        _ => false,
    }
}

fn packet(input: &[u8]) -> Result<Packet<'_>, Bad> {
    let mut rest = Rest(input);
    let first = rest.byte().map_err(|_| Bad::Partial)?;
    if rest.0.is_empty() {
        return Err(Bad::Partial);
    }
    let kind = first >> 4;
    let flags = match kind {
        // No type, and PUBLISH, which cannot come first.
        0 | 3 => return Err(Bad::Wrong),
        6 | 8 | 10 => 2,
        _ => 0,
    };
    if first & 15 != flags {
        return Err(Bad::Wrong);
    }
    let open = rest.0.iter().take(4).all(|&b| b >= 0x80);
    if open && rest.0.len() < 4 {
        return Err(Bad::Partial);
    }
    let len = rest.length()?;
    let mut body = Rest(rest.0.get(..len).ok_or(Bad::Partial)?);
    if !matches!(kind, CONNECT | CONNACK) {
        return Err(Bad::Wrong);
    }
    let packet = if kind == CONNECT {
        connect(&mut body)?
    } else {
        connack(&mut body)?
    };
    if body.0.is_empty() {
        Ok(packet)
    } else {
        Err(Bad::Wrong)
    }
}

fn connect<'t>(body: &mut Rest<'t>) -> Result<Packet<'t>, Bad> {
    let mut packet = Packet {
        kind: CONNECT,
        name: body.string()?,
        version: Some(body.byte()?),
        flags: body.byte()?,
        keep_alive: body.number(2)? as u16,
        ..Packet::default()
    };
    let with_properties = match packet.version {
        Some(3 | 4) => false,
        Some(5) => true,
        _ => return Err(Bad::Wrong),
    };
    let flag = |bit: u8| packet.flags & bit != 0;
    let (reserved, will, password, user) = (flag(0x01), flag(0x04), flag(0x40), flag(0x80));
    if reserved {
        return Err(Bad::Wrong);
    }
    if with_properties {
        packet.properties = body.properties(CONNECT)?;
    }
    packet.client = body.string()?;
    if will {
        if with_properties {
            packet.will_properties = body.properties(0)?;
        }
        packet.will = Some((body.string()?, body.string()?));
    }
    if user {
        packet.user = Some(body.string()?);
    }
    if password {
        packet.password = Some(body.string()?);
    }
    Ok(packet)
}

fn connack<'t>(body: &mut Rest<'t>) -> Result<Packet<'t>, Bad> {
    let mut packet = Packet {
        kind: CONNACK,
        flags: body.byte()?,
        reason: body.byte()?,
        ..Packet::default()
    };
    if packet.flags > 1 {
        return Err(Bad::Wrong);
    }
    packet.version = Some(4);
    if !body.0.is_empty() {
        packet.version = Some(5);
        packet.properties = body.properties(CONNACK)?;
    }
    Ok(packet)
}

pub(super) fn is_valid(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Mqtt(Op::IsValid))
}

pub(super) fn field_value(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let (kind_name, name) = (args.lossy(0), args.lossy(1));
    let by_name = TYPES
        .iter()
        .position(|kind| kind.eq_ignore_ascii_case(&kind_name));
    let by_number = || kind_name.parse().ok().filter(|n| (1..=15).contains(n));
    let kind = by_name.map(|at| at as u8 + 1).or_else(by_number);
    let Some(kind) = kind else {
        return Err(args.wrong(0, format!("Unknown MQTT type '{kind_name}'")));
    };
    match field(kind, &name) {
        Some(field) => Ok(super::Op::Mqtt(Op::FieldValue(kind, field))),
        None => Err(args.wrong(
            1,
            format!("Unknown MQTT field name '{name}' for packet type '{kind_name}'"),
        )),
    }
}

fn field(kind: u8, name: &str) -> Option<Field> {
    if let Ok(id) = name.parse() {
        // Properties of a will are asked of the packet it comes with.
        let known = may_have(kind, id) || (kind == CONNECT && may_have(0, id));
        return known.then_some(Field::Property(id));
    }
    Some(match (kind, name.to_ascii_lowercase().as_str()) {
        (CONNECT | CONNACK, "flags") => Field::Flags,
        (CONNECT | CONNACK, "protocol_version") => Field::ProtocolVersion,
        (CONNECT, "protocol_name") => Field::ProtocolName,
        (CONNECT, "client_identifier") => Field::ClientIdentifier,
        (CONNECT, "will_topic") => Field::WillTopic,
        (CONNECT, "will_payload") => Field::WillPayload,
        (CONNECT, "username") => Field::Username,
        (CONNECT, "password") => Field::Password,
        (CONNECT, "keepalive") => Field::KeepAlive,
        (CONNACK, "reason_code") => Field::ReasonCode,
        _ => return None,
    })
}
