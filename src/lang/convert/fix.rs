//! Financial Information eXchange messages: `tag=value` fields, each ended by a byte 1.

use super::args::Args;
use crate::lang::expr::Fault;
use crate::lang::sample::Value;

#[derive(Clone, Debug)]
pub(super) enum Op {
    IsValid,
    TagValue(u32),
}

const SOH: u8 = 1;
const VERSIONS: [&[u8]; 6] = [
    b"FIX.4.0",
    b"FIX.4.1",
    b"FIX.4.2",
    b"FIX.4.3",
    b"FIX.4.4",
    b"FIXT.1.1",
];
const BEGIN_STRING: u32 = 8;
const BODY_LENGTH: u32 = 9;
const CHECK_SUM: u32 = 10;
const MSG_TYPE: u32 = 35;
/// Bytes of the shortest message there is.
const LEN_MIN: usize = 26;

impl Op {
    pub(super) fn apply<'a>(&self, input: &'a [u8]) -> Option<Value<'a>> {
        match self {
            Self::IsValid => match message(input) {
                Message::Valid => Some(Value::Bool(true)),
                Message::Wrong => Some(Value::Bool(false)),
                Message::Partial => None,
            },
            Self::TagValue(wanted) => loop_fields(input, *wanted).map(Value::Bin),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Valid,
    Wrong,
    /// More must come before this can be said.
    Partial,
}

/// The tag, the value and what follows; `Err(true)` where it is only unfinished.
fn field(rest: &[u8]) -> Result<(u32, &[u8], &[u8]), bool> {
    let end = memchr::memchr(SOH, rest).ok_or(true)?;
    let (text, after) = (&rest[..end], &rest[end + 1..]);
    let equals = memchr::memchr(b'=', text).ok_or(true)?;
    let tag = std::str::from_utf8(&text[..equals]).ok();
    let digits = tag.filter(|tag| tag.bytes().all(|c| c.is_ascii_digit()));
    let tag = digits.and_then(|tag| tag.parse().ok()).ok_or(false)?;
    Ok((tag, &text[equals + 1..], after))
}

fn loop_fields(input: &[u8], wanted: u32) -> Option<&[u8]> {
    let mut rest = input;
    loop {
        let (tag, value, after) = field(rest).ok()?;
        if tag == wanted {
            return (!value.is_empty()).then_some(value);
        }
        rest = after;
    }
}

fn message(input: &[u8]) -> Message {
    if input.len() < LEN_MIN {
        return Message::Partial;
    }
    match checked(input) {
        Ok(()) => Message::Valid,
        Err(true) => Message::Partial,
        Err(false) => Message::Wrong,
    }
}

/// `Err(true)`: not all there yet.
fn checked(input: &[u8]) -> Result<(), bool> {
    let (tag, version, rest) = field(input)?;
    if tag != BEGIN_STRING || !VERSIONS.contains(&version) {
        return Err(false);
    }
    let (tag, length, body) = field(rest)?;
    let (BODY_LENGTH, Some(length)) = (tag, number(length)) else {
        return Err(false);
    };
    let (tag, _, mut rest) = field(body)?;
    if tag != MSG_TYPE {
        return Err(false);
    }
    loop {
        let (tag, value, after) = field(rest)?;
        if tag == CHECK_SUM {
            let before = &input[..input.len() - rest.len()];
            let sum = before.iter().fold(0_u8, |sum, b| sum.wrapping_add(*b));
            let right = body.len() - rest.len() == length && number(value) == Some(sum.into());
            return if right { Ok(()) } else { Err(false) };
        }
        rest = after;
    }
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) fn fix_is_valid(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Fix(Op::IsValid))
}

pub(super) fn fix_tag_value(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let name = args.lossy(0);
    let number = || name.parse::<u32>().ok().filter(|&tag| tag > 0);
    let tag = match &*name {
        "BeginString" => Some(BEGIN_STRING),
        "BodyLength" => Some(BODY_LENGTH),
        "CheckSum" => Some(CHECK_SUM),
        "MsgType" => Some(MSG_TYPE),
        "SenderCompID" => Some(49),
        "TargetCompID" => Some(56),
        _ => number(),
    };
    match tag {
        Some(tag) => Ok(super::Op::Fix(Op::TagValue(tag))),
        None => Err(args.wrong(0, format!("Unknown FIX tag name '{name}'"))),
    }
}
