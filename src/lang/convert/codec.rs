//! Encodings: hexadecimal, base64, numbers in binary, URLs and JSON strings.

use bumpalo::collections::Vec as Bytes;

use super::args::Args;
use super::{Eval, OUTPUT_MAX};
use crate::lang::expr::Fault;
use crate::lang::sample::{Arena, Value};

#[derive(Clone, Debug)]
pub(super) enum Op {
    Hex,
    Hex2i,
    Base64,
    B64dec,
    Ub64enc,
    Ub64dec,
    Chunks(Chunks),
    Base2,
    Htonl,
    UrlEnc,
    /// Whether `+` is a space from the start.
    UrlDec(bool),
    Json(Decoder),
}

/// Binary in pieces: how each is written, how many bytes it has and what stands between.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    form: Form,
    separator: Box<[u8]>,
    size: usize,
    /// Leave out a last piece that is short.
    truncate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    BigEndian,
    LittleEndian,
    Hex,
}

/// How `json` reads its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    Ascii,
    Utf8 {
        /// Drop what is wrong instead of failing.
        silent: bool,
        /// Take characters written with more bytes than needed.
        permissive: bool,
    },
}

impl Op {
    pub(super) fn apply<'a>(&self, value: Value<'a>, eval: Eval<'a>) -> Option<Value<'a>> {
        let arena = eval.arena;
        if let (Self::Htonl, Value::Int(n)) = (self, value) {
            return Some(Value::Bin(
                arena.alloc_slice_copy(&(n as u32).to_be_bytes()),
            ));
        }
        let input = value.binary(arena);
        if input.len() > OUTPUT_MAX / 8 {
            return None;
        }
        Some(match self {
            Self::Hex => Value::Str(hex(input, arena)),
            Self::Hex2i => Value::Int(hex_number(input)?),
            Self::Base64 => Value::Str(to_base64(input, BASE64, true, arena)),
            Self::Ub64enc => Value::Str(to_base64(input, BASE64URL, false, arena)),
            Self::B64dec => Value::Bin(from_base64(input, arena)?),
            Self::Ub64dec => Value::Bin(from_base64url(input, arena)?),
            Self::Chunks(chunks) => Value::Str(chunks.write(input, arena)),
            Self::Base2 => {
                let mut out = Bytes::with_capacity_in(input.len() * 8, arena);
                for byte in input {
                    out.extend((0..8).rev().map(|bit| b'0' + (byte >> bit & 1)));
                }
                Value::Str(out.into_bump_slice())
            }
            Self::UrlEnc => Value::Str(url_encoded(input, arena)),
            Self::UrlDec(in_form) => Value::Str(url_decoded(input, *in_form, arena)?),
            Self::Json(decoder) => Value::Str(json_escaped(input, *decoder, arena)?),
            Self::Htonl => return None,
        })
    }
}

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

fn push_hex(out: &mut Bytes<'_, u8>, byte: u8) {
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

fn hex<'a>(input: &[u8], arena: &'a Arena) -> &'a [u8] {
    let mut out = Bytes::with_capacity_in(input.len() * 2, arena);
    for &byte in input {
        push_hex(&mut out, byte);
    }
    out.into_bump_slice()
}

fn hex_digit(c: u8) -> Option<u8> {
    char::from(c)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// Digits beyond sixteen push the first ones out. `None`: not hexadecimal to the end.
fn hex_number(text: &[u8]) -> Option<i64> {
    let number = text.iter().try_fold(0_u64, |n, &c| {
        hex_digit(c).map(|digit| n << 4 | u64::from(digit))
    })?;
    Some(number as i64)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn to_base64<'a>(input: &[u8], digits: &[u8; 64], pad: bool, arena: &'a Arena) -> &'a [u8] {
    let mut out = Bytes::with_capacity_in(input.len().div_ceil(3) * 4, arena);
    for three in input.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            if i <= three.len() {
                out.push(digits[(bits >> (18 - 6 * i) & 63) as usize]);
            } else if pad {
                out.push(b'=');
            }
        }
    }
    out.into_bump_slice()
}

/// In the plain alphabet, padded.
pub(super) fn to_base64_padded<'a>(input: &[u8], arena: &'a Arena) -> &'a [u8] {
    to_base64(input, BASE64, true, arena)
}

fn base64_digit(c: u8, digits: [u8; 2]) -> Option<u32> {
    Some(u32::from(match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        _ if c == digits[0] => 62,
        _ if c == digits[1] => 63,
        _ => return None,
    }))
}

/// Fours of digits, the last of each padded; bits left over are not looked at. As haproxy, takes padded texts written
/// one behind the other.
pub(super) fn from_base64<'a>(text: &[u8], arena: &'a Arena) -> Option<&'a [u8]> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Bytes::with_capacity_in(text.len() / 4 * 3, arena);
    for four in text.chunks(4) {
        let len = four.iter().position(|&c| c == b'=').unwrap_or(4);
        if len == 0 || four[len..].iter().any(|&c| c != b'=') {
            return None;
        }
        push_four(&four[..len], *b"+/", &mut out)?;
    }
    Some(out.into_bump_slice())
}

/// Without padding, or with it.
pub(super) fn from_base64url<'a>(text: &[u8], arena: &'a Arena) -> Option<&'a [u8]> {
    let padding = text.iter().rev().take_while(|&&c| c == b'=').count();
    let digits = &text[..text.len() - padding];
    if digits.len() % 4 == 1 || padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut out = Bytes::with_capacity_in(digits.len() / 4 * 3 + 2, arena);
    for four in digits.chunks(4) {
        push_four(four, *b"-_", &mut out)?;
    }
    Some(out.into_bump_slice())
}

/// The bytes of up to four digits: none of one digit.
fn push_four(four: &[u8], digits: [u8; 2], out: &mut Bytes<'_, u8>) -> Option<()> {
    let mut bits = 0;
    for i in 0..4 {
        let digit = match four.get(i) {
            Some(&c) => base64_digit(c, digits)?,
            None => 0,
        };
        bits = bits << 6 | digit;
    }
    let [_, bytes @ ..] = u32::to_be_bytes(bits);
    out.extend_from_slice(&bytes[..four.len() - 1]);
    Some(())
}

impl Chunks {
    fn write<'a>(&self, input: &[u8], arena: &'a Arena) -> &'a [u8] {
        let mut out = Bytes::with_capacity_in(input.len() * 3, arena);
        for (i, chunk) in input.chunks(self.size).enumerate() {
            if self.truncate && chunk.len() < self.size {
                break;
            }
            if i > 0 {
                out.extend_from_slice(&self.separator);
            }
            let add = |n: u64, byte: &u8| n << 8 | u64::from(*byte);
            match self.form {
                Form::Hex => chunk.iter().for_each(|&byte| push_hex(&mut out, byte)),
                Form::BigEndian => push_decimal(&mut out, chunk.iter().fold(0, add)),
                Form::LittleEndian => push_decimal(&mut out, chunk.iter().rev().fold(0, add)),
            }
            if out.len() > OUTPUT_MAX {
                break;
            }
        }
        out.into_bump_slice()
    }
}

fn push_decimal(out: &mut Bytes<'_, u8>, n: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = n;
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn url_encoded<'a>(input: &[u8], arena: &'a Arena) -> &'a [u8] {
    let mut out = Bytes::with_capacity_in(input.len() * 2, arena);
    for &c in input {
        if c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'~') {
            out.push(c);
        } else {
            out.push(b'%');
            push_hex(&mut out, c);
        }
    }
    out.into_bump_slice()
}

/// `+` is a space in a form, and behind the first `?` written as such. `None`: a `%` without two digits.
fn url_decoded<'a>(input: &[u8], in_form: bool, arena: &'a Arena) -> Option<&'a [u8]> {
    let mut out = Bytes::with_capacity_in(input.len(), arena);
    let mut in_form = in_form;
    let mut rest = input;
    while let Some((&c, after)) = rest.split_first() {
        rest = after;
        match c {
            b'%' => {
                let [high, low, after @ ..] = rest else {
                    return None;
                };
                out.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest = after;
            }
            b'+' if in_form => out.push(b' '),
            _ => {
                in_form |= c == b'?';
                out.push(c);
            }
        }
    }
    Some(out.into_bump_slice())
}

fn json_escaped<'a>(input: &[u8], decoder: Decoder, arena: &'a Arena) -> Option<&'a [u8]> {
    let mut out = Bytes::with_capacity_in(input.len() + input.len() / 4, arena);
    let mut rest = input;
    while !rest.is_empty() {
        let (code, len) = match decoder {
            Decoder::Ascii => (Some(u32::from(rest[0])), 1),
            Decoder::Utf8 { permissive, .. } => character(rest, permissive),
        };
        rest = &rest[len..];
        match code {
            Some(code) => push_json(&mut out, code),
            None if matches!(decoder, Decoder::Utf8 { silent: true, .. }) => {}
            None => return None,
        }
    }
    Some(out.into_bump_slice())
}

/// The next character of UTF-8 and its bytes; `None` for a sequence that is broken, too long or out of what four
/// hexadecimal digits can say.
fn character(rest: &[u8], permissive: bool) -> (Option<u32>, usize) {
    // More bytes that follow the first, the bits it has, and the least code that needs so many.
    let (more, bits, least) = match rest[0] {
        c @ ..0x80 => return (Some(c.into()), 1),
        0x80..0xc0 => return (None, 1),
        c @ 0xc0..0xe0 => (1, c & 0x1f, 0x80),
        c @ 0xe0..0xf0 => (2, c & 0x0f, 0x800),
        c @ 0xf0..0xf8 => (3, c & 0x07, 0x1_0000),
        c @ 0xf8..0xfc => (4, c & 0x03, 0x20_0000),
        c @ 0xfc..0xfe => (5, c & 0x01, 0x400_0000),
        _ => return (None, 1),
    };
    let mut code = u32::from(bits);
    for i in 1..=more {
        match rest.get(i) {
            Some(&c) if c & 0xc0 == 0x80 => code = code << 6 | u32::from(c & 0x3f),
            _ => return (None, i),
        }
    }
    let prohibited = matches!(code, 0xd800..=0xdfff | 0xfffe..);
    let overlong = code < least && !permissive;
    ((!prohibited && !overlong).then_some(code), more + 1)
}

fn push_json(out: &mut Bytes<'_, u8>, code: u32) {
    let short = match code {
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        0x22 => b'"',
        0x2f => b'/',
        0x5c => b'\\',
        0x20..0x7f => return out.push(code as u8),
        _ => {
            out.extend_from_slice(b"\\u");
            for shift in [12, 8, 4, 0] {
                out.push(b"0123456789abcdef"[(code >> shift & 15) as usize]);
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn decimal(args: &Args<'_, '_>, form: Form) -> Result<super::Op, Fault> {
    let size = args.int(1);
    if !(1..=8).contains(&size) {
        return Err(args.wrong(1, format!("chunk_size out of [1..8] range ({size})")));
    }
    chunks(args, form, size)
}

pub(super) fn be2dec(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    decimal(args, Form::BigEndian)
}

pub(super) fn le2dec(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    decimal(args, Form::LittleEndian)
}

pub(super) fn be2hex(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let size = args.int(1);
    if size < 1 && !args.text(0).is_empty() {
        return Err(args.wrong(1, format!("chunk_size needs to be positive ({size})")));
    }
    chunks(args, Form::Hex, size.max(1))
}

fn chunks(args: &Args<'_, '_>, form: Form, size: i64) -> Result<super::Op, Fault> {
    let truncate = args.int(2);
    if !(0..=1).contains(&truncate) {
        return Err(args.wrong(2, format!("Unsupported truncate value ({truncate})")));
    }
    Ok(super::Op::Codec(Op::Chunks(Chunks {
        form,
        separator: args.bytes(0),
        size: usize::try_from(size).unwrap_or(usize::MAX),
        truncate: truncate == 1,
    })))
}

pub(super) fn url_enc(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    match args.text(0) {
        b"" | b"query" => Ok(super::Op::Codec(Op::UrlEnc)),
        _ => Err(args.wrong(0, "Unexpected encode type. Allowed value is 'query'")),
    }
}

pub(super) fn url_dec(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Codec(Op::UrlDec(args.int(0) != 0)))
}

pub(super) fn json(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let (silent, permissive) = match args.text(0) {
        b"" | b"ascii" => return Ok(super::Op::Codec(Op::Json(Decoder::Ascii))),
        b"utf8" => (false, false),
        b"utf8s" => (true, false),
        b"utf8p" => (false, true),
        b"utf8ps" => (true, true),
        _ => {
            return Err(args.wrong(
                0,
                "Unexpected input code type. Allowed value are 'ascii', 'utf8', 'utf8s', 'utf8p' and 'utf8ps'",
            ));
        }
    };
    let decoder = Decoder::Utf8 { silent, permissive };
    Ok(super::Op::Codec(Op::Json(decoder)))
}

macro_rules! plain {
    ($($make:ident $op:ident),*) => {$(
        pub(super) fn $make(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
            Ok(super::Op::Codec(Op::$op))
        }
    )*};
}
plain!(
    make_hex Hex, hex2i Hex2i, base64 Base64, b64dec B64dec, ub64enc Ub64enc, ub64dec Ub64dec, base2 Base2, htonl Htonl
);
