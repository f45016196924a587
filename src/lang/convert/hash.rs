//! Hashes of binary samples to numbers: those of `hash-type`, CRCs and xxHash.

use super::Eval;
use super::args::Args;
use crate::base::hash;
use crate::lang::expr::Fault;
use crate::lang::sample::Value;

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A 32-bit hash, spread by an avalanche where the argument says so.
    Short(fn(&[u8]) -> u32, bool),
    Xxh32(u32),
    Xxh64(u64),
    Xxh3(u64),
}

impl Op {
    pub(super) fn apply<'a>(&self, key: &[u8], _: Eval<'a>) -> Option<Value<'a>> {
        Some(Value::Int(match *self {
            Self::Short(hash, false) => hash(key).into(),
            Self::Short(hash, true) => hash::avalanche(hash(key)).into(),
            Self::Xxh32(seed) => xxhash_rust::xxh32::xxh32(key, seed).into(),
            // The bits of 64, as a signed number.
            Self::Xxh64(seed) => hash::xxh64(key, seed) as i64,
            Self::Xxh3(seed) => xxhash_rust::xxh3::xxh3_64_with_seed(key, seed) as i64,
        }))
    }
}

fn short(args: &Args<'_, '_>, hash: fn(&[u8]) -> u32) -> Result<super::Op, Fault> {
    Ok(super::Op::Hash(Op::Short(hash, args.int(0) != 0)))
}

macro_rules! short {
    ($($name:ident),*) => {$(
        pub(super) fn $name(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
            short(args, hash::$name)
        }
    )*};
}
short!(sdbm, djb2, wt6, crc32, crc32c);

pub(super) fn xxh32(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    // Seeds are cut to the width of the hash.
    Ok(super::Op::Hash(Op::Xxh32(args.int(0) as u32)))
}

pub(super) fn xxh64(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Hash(Op::Xxh64(args.int(0) as u64)))
}

pub(super) fn xxh3(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Hash(Op::Xxh3(args.int(0) as u64)))
}
