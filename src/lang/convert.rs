//! Converters: what stands behind a fetch and changes its sample (configuration.txt 7.3.1).
//!
//! A table says for each its types and arguments; the files below say what each does, a file a kind. Nothing here
//! allocates while evaluating but in the [`Arena`] (`regsub` with groups apart).
//!
//! Compared with haproxy 2.6 over `convert/cases.txt`. On purpose not as there:
//! - `add` and `sub` of two negative numbers give their sum; 2.6 gives the largest number.
//! - `language` does not lose the language behind one with `q=0`.
//! - `ub64dec` takes padding; 2.6 makes bytes of it.
//! - `jwt_header_query` and `jwt_payload_query` without a path give the whole part, as the manual says.
//! - `json_query` resolves escapes beyond ASCII, and gives arrays as text (as 2.9 and later).
//! - `ungrpc` gives nothing of a compressed message.
//! - `aes_gcm_dec` takes nonces of 8, 12 and 16 bytes only.

mod address;
mod args;
mod cipher;
mod codec;
mod fix;
mod forwarded;
mod hash;
mod json;
mod mqtt;
mod number;
mod protobuf;
mod state;
mod strftime;
mod table;
mod text;
mod time;

use super::diag::nearest;
use super::expr::{Cx, Fault, Settle};
use super::sample::{Arena, Kind, Value};
use super::source::Span;
use super::subject::Subject;

use args::Args;

/// One converter with its arguments.
#[derive(Clone, Debug)]
pub struct Converter {
    entry: &'static table::Entry,
    op: Op,
}

/// An argument as the expression's parser split and unquoted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    pub text: Vec<u8>,
    /// Offset in the word that the expression stands in.
    pub at: usize,
}

/// What a converter does, by the file that does it.
#[derive(Clone, Debug)]
enum Op {
    Address(address::Op),
    Cipher(cipher::Op),
    Codec(codec::Op),
    Fix(fix::Op),
    Forwarded(forwarded::Op),
    Hash(hash::Op),
    Json(json::Op),
    Mqtt(mqtt::Op),
    Number(number::Op),
    Protobuf(protobuf::Op),
    State(state::Op),
    Text(text::Op),
    Time(time::Op),
}

/// What converters may ask while they work.
#[derive(Clone, Copy)]
struct Eval<'a> {
    subject: &'a dyn Subject,
    arena: &'a Arena,
}

/// Most bytes that a converter makes of a sample; there is none where it would be more. haproxy's bound is
/// `tune.bufsize`; this one only keeps a chain of substitutions from growing without end.
const OUTPUT_MAX: usize = 1 << 20;

impl Converter {
    /// Reads the converter `name` with its arguments, at `span`.
    ///
    /// # Errors
    /// haproxy's message: no such converter, or what is wrong with which argument.
    pub fn parse(name: &str, args: &[Arg], span: Span, cx: &mut Cx<'_>) -> Result<Self, Fault> {
        let Some(entry) = table::entry(name) else {
            return Err(unknown(name, span));
        };
        let mut args = Args::new(entry, args, span, cx)?;
        let op = (entry.make)(&mut args)?;
        Ok(Self { entry, op })
    }

    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// The type it takes; samples are cast to it.
    pub fn input(&self) -> Kind {
        self.entry.input
    }

    /// The type it gives. [`Kind::Any`]: the input's, or one that only the sample decides. haproxy too lets any converter
    /// follow then.
    pub fn output(&self) -> Kind {
        match &self.op {
            Op::Protobuf(op) => op.output(),
            _ => self.entry.output,
        }
    }

    /// The converted sample. `None`: there is none.
    pub fn apply<'a>(
        &'a self,
        value: Value<'a>,
        subject: &'a dyn Subject,
        arena: &'a Arena,
    ) -> Option<Value<'a>> {
        let value = value.cast(self.entry.input, arena)?;
        let eval = Eval { subject, arena };
        match &self.op {
            Op::Address(op) => op.apply(value, eval),
            Op::Cipher(op) => op.apply(value.binary(arena), eval),
            Op::Codec(op) => op.apply(value, eval),
            Op::Forwarded(op) => op.apply(value.binary(arena)),
            Op::Fix(op) => op.apply(value.binary(arena)),
            Op::Hash(op) => op.apply(value.binary(arena), eval),
            Op::Json(op) => op.apply(value.binary(arena), eval),
            Op::Mqtt(op) => op.apply(value.binary(arena), eval),
            Op::Number(op) => op.apply(value, eval),
            Op::Protobuf(op) => op.apply(value.binary(arena)),
            Op::State(op) => op.apply(value, eval),
            Op::Text(op) => op.apply(value.binary(arena), eval),
            Op::Time(op) => op.apply(value, eval),
        }
    }

    /// Settles references to names. Converters look names up when they are evaluated, since these come with the sample.
    ///
    /// # Errors
    /// None yet.
    pub fn settle(&mut self, _names: &dyn Settle) -> Result<(), String> {
        Ok(())
    }
}

/// Whether haproxy has a converter of this name, ours or not.
pub fn known(name: &str) -> bool {
    table::entry(name).is_some() || table::is_later(name)
}

/// Names of the converters that work, for suggestions and lists.
pub fn names() -> impl Iterator<Item = &'static str> {
    table::TABLE.iter().map(|entry| entry.name)
}

/// Most arguments a converter takes, for the parser to know where an argument is one too many.
pub fn args_max(name: &str) -> Option<usize> {
    table::entry(name).map(|entry| entry.args.len())
}

fn unknown(name: &str, span: Span) -> Fault {
    if table::is_later(name) {
        return Fault::later(span, name);
    }
    let fault = Fault::wrong(span, format!("unknown converter '{name}'."));
    match nearest(name, names()).first() {
        Some(near) => fault.help(format!("did you mean '{near}' maybe ?")),
        None => fault,
    }
}

#[cfg(test)]
mod tests;
