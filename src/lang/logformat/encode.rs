//! JSON (RFC 8259) and CBOR (RFC 8949) values of log formats (haproxy 3.0, configuration.txt 8.2.6).
//!
//! Numbers stay numbers and yes and no stay such, unless `%(name:type)` asks otherwise; all else is text. A sample
//! that there is not is null. `Q`, `E` and `X` have no effect here, and no plus sign marks what may grow.

use super::Cast;
use super::render::{Encode, Shown, as_int, capture, capture_count, push_encoded};
use crate::lang::sample::{Arena, Value};
use crate::lang::subject::Subject;

/// Begins a map of unknown length; [`CBOR_BREAK`] ends it.
pub(super) const CBOR_MAP: u8 = 0xbf;
pub(super) const CBOR_BREAK: u8 = 0xff;

/// A value in the terms both encodings share.
enum Plain<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// Captured headers, one by one.
    List {
        request: bool,
    },
}

fn plain<'a>(
    subject: &dyn Subject,
    arena: &'a Arena,
    shown: Shown<'a>,
    cast: Option<Cast>,
) -> Plain<'a> {
    if cast == Some(Cast::Bool) {
        return match shown {
            Shown::Missing | Shown::NoSample => Plain::Null,
            Shown::Sample(Value::Bool(yes)) => Plain::Bool(yes),
            other => Plain::Bool(as_int(other, Some(Cast::Sint)).is_some_and(|number| number != 0)),
        };
    }
    if let Some(number) = as_int(shown, cast) {
        return Plain::Int(number);
    }
    match shown {
        Shown::Missing | Shown::NoSample => Plain::Null,
        Shown::Text { bytes, encode, .. } => Plain::Text(encoded(arena, bytes, encode)),
        Shown::Date(bytes) => Plain::Text(bytes),
        Shown::Number { number, .. } => Plain::Text(Value::Int(number).text(arena)),
        Shown::Ip(ip) => Plain::Text(Value::Ip(ip).text(arena)),
        Shown::Sample(Value::Bool(yes)) if cast.is_none() => Plain::Bool(yes),
        Shown::Sample(Value::Bin(bytes)) if cast.is_none() => Plain::Bytes(bytes),
        Shown::Sample(value) => Plain::Text(value.text(arena)),
        Shown::Captures { request, .. } if capture_count(subject, request) == 0 => Plain::Null,
        Shown::Captures {
            request,
            list: true,
        } => Plain::List { request },
        Shown::Captures { request, .. } => Plain::Text(joined(subject, arena, request)),
    }
}

fn encoded<'a>(arena: &'a Arena, bytes: &'a [u8], encode: Encode) -> &'a [u8] {
    if !bytes.iter().any(|&byte| encode.hits(byte)) {
        return bytes;
    }
    let mut text = bumpalo::collections::Vec::with_capacity_in(bytes.len() + 16, arena);
    push_encoded(&mut text, bytes, encode);
    text.into_bump_slice()
}

/// `{a|b}`.
fn joined<'a>(subject: &dyn Subject, arena: &'a Arena, request: bool) -> &'a [u8] {
    let mut text = bumpalo::collections::Vec::new_in(arena);
    text.push(b'{');
    for index in 0..capture_count(subject, request) {
        if index > 0 {
            text.push(b'|');
        }
        push_encoded(&mut text, capture(subject, request, index), Encode::Header);
    }
    text.push(b'}');
    text.into_bump_slice()
}

/// Appends a value as JSON.
pub(super) fn json(
    out: &mut Vec<u8>,
    subject: &dyn Subject,
    arena: &Arena,
    shown: Shown<'_>,
    cast: Option<Cast>,
) {
    match plain(subject, arena, shown, cast) {
        Plain::Null => out.extend_from_slice(b"null"),
        Plain::Bool(true) => out.extend_from_slice(b"true"),
        Plain::Bool(false) => out.extend_from_slice(b"false"),
        Plain::Int(number) => out.extend_from_slice(Value::Int(number).text(arena)),
        Plain::Text(text) => json_string(out, text),
        // JSON has no bytes: the text of a binary sample ends at a NUL, as everywhere.
        Plain::Bytes(bytes) => json_string(out, Value::Bin(bytes).text(arena)),
        Plain::List { request } => {
            out.push(b'[');
            for index in 0..capture_count(subject, request) {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                let value = capture(subject, request, index);
                json_string(out, encoded(arena, value, Encode::Header));
            }
            out.push(b']');
        }
    }
}

/// Appends a JSON string; what is not UTF-8 becomes U+FFFD, so that any parser reads the line.
pub(super) fn json_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..32 | 127 => {
                    let digits = b"0123456789abcdef";
                    out.extend_from_slice(b"\\u00");
                    out.push(digits[usize::from(byte >> 4)]);
                    out.push(digits[usize::from(byte & 15)]);
                }
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Appends a value as CBOR; `binary`: binary samples stay bytes, else they are text up to a NUL.
pub(super) fn cbor(
    out: &mut Vec<u8>,
    subject: &dyn Subject,
    arena: &Arena,
    shown: Shown<'_>,
    cast: Option<Cast>,
    binary: bool,
) {
    match plain(subject, arena, shown, cast) {
        Plain::Null => out.push(0xf6),
        Plain::Bool(yes) => out.push(0xf4 | u8::from(yes)),
        Plain::Int(number) if number < 0 => cbor_head(out, 1, !number as u64),
        Plain::Int(number) => cbor_head(out, 0, number.unsigned_abs()),
        Plain::Text(text) => cbor_text(out, text),
        Plain::Bytes(bytes) if binary => {
            cbor_head(out, 2, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        Plain::Bytes(bytes) => cbor_text(out, Value::Bin(bytes).text(arena)),
        Plain::List { request } => {
            let count = capture_count(subject, request);
            cbor_head(out, 4, count as u64);
            for index in 0..count {
                let value = capture(subject, request, index);
                cbor_text(out, encoded(arena, value, Encode::Header));
            }
        }
    }
}

pub(super) fn cbor_text(out: &mut Vec<u8>, bytes: &[u8]) {
    cbor_head(out, 3, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Major type and argument in the shortest form (RFC 8949 4.2.1).
fn cbor_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..24 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}
