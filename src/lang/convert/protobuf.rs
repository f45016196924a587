//! Fields of Protocol Buffers messages by their path of numbers, also inside a gRPC frame.

use super::args::Args;
use crate::lang::expr::Fault;
use crate::lang::sample::{Kind, Value};

#[derive(Clone, Debug)]
pub(super) struct Op {
    path: Box<[u32]>,
    /// How to read the field; `None` gives its bytes.
    form: Option<Form>,
    /// Five bytes of gRPC stand before the message.
    grpc: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Varint,
    /// Signs in the lowest bit.
    Zigzag,
    Fixed64,
    Double,
    Fixed32,
    Sfixed32,
    Float,
}

/// A field's content, by its wire type.
#[derive(Clone, Copy)]
enum Wire<'t> {
    /// The number, and the bytes it is written with.
    Varint(u64, &'t [u8]),
    Fixed64(&'t [u8]),
    Bytes(&'t [u8]),
    Fixed32(&'t [u8]),
}

impl Op {
    pub(super) fn output(&self) -> Kind {
        match self.form {
            None => Kind::Bin,
            Some(_) => Kind::Int,
        }
    }

    pub(super) fn apply<'a>(&self, input: &'a [u8]) -> Option<Value<'a>> {
        let mut message = input;
        if self.grpc {
            // One byte says whether it is compressed, four how long it is.
            let (&[compressed, a, b, c, d], rest) = input.split_first_chunk()?;
            let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
            if compressed != 0 {
                return None;
            }
            message = rest.get(..len)?;
        }
        let (&last, parents) = self.path.split_last()?;
        for &parent in parents {
            message = match find(message, parent)? {
                Wire::Bytes(inner) => inner,
                _ => return None,
            };
        }
        read(find(message, last)?, self.form)
    }
}

fn find(message: &[u8], wanted: u32) -> Option<Wire<'_>> {
    let mut rest = message;
    while !rest.is_empty() {
        let (key, after) = varint(rest)?;
        let (wire, after) = match key & 7 {
            0 => {
                let (n, behind) = varint(after)?;
                let len = after.len() - behind.len();
                (Wire::Varint(n, &after[..len]), behind)
            }
            1 => {
                let (bytes, after) = after.split_at_checked(8)?;
                (Wire::Fixed64(bytes), after)
            }
            2 => {
                let (len, after) = varint(after)?;
                let (bytes, after) = after.split_at_checked(usize::try_from(len).ok()?)?;
                (Wire::Bytes(bytes), after)
            }
            5 => {
                let (bytes, after) = after.split_at_checked(4)?;
                (Wire::Fixed32(bytes), after)
            }
            _ => return None,
        };
        if key >> 3 == u64::from(wanted) {
            return Some(wire);
        }
        rest = after;
    }
    None
}

/// Seven bits a byte, the lowest first, the last byte without the highest bit.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut n = 0;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        n |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((n, &bytes[i + 1..]));
        }
    }
    None
}

fn read(wire: Wire<'_>, form: Option<Form>) -> Option<Value<'_>> {
    let word = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    let half = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes);
    Some(match (form, wire) {
        (
            None,
            Wire::Varint(_, bytes)
            | Wire::Fixed64(bytes)
            | Wire::Bytes(bytes)
            | Wire::Fixed32(bytes),
        ) => Value::Bin(bytes),
        (Some(Form::Varint), Wire::Varint(n, _)) => Value::Int(n as i64),
        (Some(Form::Zigzag), Wire::Varint(n, _)) => Value::Int(unzigzag(n)),
        (Some(Form::Fixed64), Wire::Fixed64(bytes)) => Value::Int(word(bytes)? as i64),
        (Some(Form::Double), Wire::Fixed64(bytes)) => {
            Value::Int(f64::from_bits(word(bytes)?) as i64)
        }
        (Some(Form::Fixed32), Wire::Fixed32(bytes)) => Value::Int(half(bytes)?.into()),
        (Some(Form::Sfixed32), Wire::Fixed32(bytes)) => Value::Int((half(bytes)? as i32).into()),
        (Some(Form::Float), Wire::Fixed32(bytes)) => {
            Value::Int(f32::from_bits(half(bytes)?) as i64)
        }
        _ => return None,
    })
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

fn make(args: &Args<'_, '_>, grpc: bool) -> Result<super::Op, Fault> {
    let form = match args.text(1) {
        b"" => None,
        b"int32" | b"int64" | b"uint32" | b"uint64" | b"bool" | b"enum" => Some(Form::Varint),
        b"sint32" | b"sint64" => Some(Form::Zigzag),
        b"fixed64" | b"sfixed64" => Some(Form::Fixed64),
        b"double" => Some(Form::Double),
        b"fixed32" => Some(Form::Fixed32),
        b"sfixed32" => Some(Form::Sfixed32),
        b"float" => Some(Form::Float),
        _ => {
            let name = args.lossy(1);
            return Err(args.wrong(1, format!("Wrong protocol buffer type '{name}'")));
        }
    };
    Ok(super::Op::Protobuf(Op {
        path: args.field(0).into(),
        form,
        grpc,
    }))
}

pub(super) fn protobuf(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    make(args, false)
}

pub(super) fn ungrpc(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    make(args, true)
}
