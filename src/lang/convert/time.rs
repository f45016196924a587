//! Dates as text.

use bumpalo::collections::Vec as Bytes;

use super::Eval;
use super::args::Args;
use super::strftime::{self, Moment};
use crate::base::civil::{Civil, four, two};
use crate::lang::expr::Fault;
use crate::lang::sample::{Arena, Value};
use crate::lang::subject::Fact;

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// `utime`, `ltime` and their kin: a format of strftime.
    Date {
        local: bool,
        unit: Unit,
        format: Box<[u8]>,
        /// Added first, in the same unit.
        offset: i64,
    },
    HttpDate {
        unit: Unit,
        offset: i64,
    },
}

/// What the number counts since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    S,
    Ms,
    Us,
}

impl Unit {
    const fn in_second(self) -> i64 {
        match self {
            Self::S => 1,
            Self::Ms => 1_000,
            Self::Us => 1_000_000,
        }
    }

    /// Seconds since the epoch, of which haproxy keeps 55 bits, and what is left in this unit.
    fn split(self, n: i64) -> (u64, i64) {
        let seconds = (n / self.in_second()) as u64 & 0x007f_ffff_ffff_ffff;
        (seconds, n % self.in_second())
    }
}

impl Op {
    pub(super) fn apply<'a>(&self, value: Value<'a>, eval: Eval<'a>) -> Option<Value<'a>> {
        let Value::Int(n) = value else {
            return None;
        };
        Some(Value::Str(match self {
            Self::Date {
                local,
                unit,
                format,
                offset,
            } => {
                let (seconds, rest) = unit.split(n);
                let units = i128::from(seconds) * i128::from(unit.in_second())
                    + i128::from(rest)
                    + i128::from(*offset);
                let in_second = i128::from(unit.in_second());
                let seconds = i64::try_from(units.div_euclid(in_second)).ok()?;
                let rest = units.rem_euclid(in_second) as u64;
                let offset_s = if *local {
                    local_offset_s(seconds, eval)
                } else {
                    0
                };
                let nanos = rest * (1_000_000_000 / unit.in_second() as u64);
                let moment = Moment::new(seconds, offset_s, nanos, *local);
                let mut out = Bytes::with_capacity_in(format.len() * 2, eval.arena);
                strftime::write(&mut out, format, &moment);
                out.into_bump_slice()
            }
            Self::HttpDate { unit, offset } => {
                let (seconds, rest) = unit.split(n.wrapping_add(*offset));
                let rest = (*unit != Unit::S).then_some(rest);
                http_date(seconds, rest, eval.arena)
            }
        }))
    }
}

fn local_offset_s(seconds: i64, eval: Eval<'_>) -> i32 {
    let at = u64::try_from(seconds).unwrap_or(0);
    match eval.subject.fact(Fact::LocalOffsetS(at)) {
        Some(Value::Int(offset)) => i32::try_from(offset).unwrap_or(0),
        _ => 0,
    }
}

/// RFC 9110 5.6.7; with the rest of a second behind the seconds, as haproxy writes it: without zeros in front.
fn http_date(seconds: u64, rest: Option<i64>, arena: &Arena) -> &[u8] {
    let c = Civil::from_seconds(seconds);
    let mut out = Bytes::with_capacity_in(40, arena);
    let day = strftime::WEEKDAYS[strftime::weekday(seconds)].as_bytes();
    out.extend_from_slice(&day[..3]);
    out.extend_from_slice(b", ");
    out.extend_from_slice(&two(c.day));
    out.push(b' ');
    out.extend_from_slice(c.month_name());
    out.push(b' ');
    if c.year < 10_000 {
        out.extend_from_slice(&four(c.year));
    } else {
        out.extend_from_slice(Value::Int(c.year.into()).text(arena));
    }
    for (before, n) in [(b' ', c.hour), (b':', c.minute), (b':', c.second)] {
        out.push(before);
        out.extend_from_slice(&two(n));
    }
    if let Some(rest) = rest {
        out.push(b'.');
        out.extend_from_slice(Value::Int(rest).text(arena));
    }
    out.extend_from_slice(b" GMT");
    out.into_bump_slice()
}

fn date(args: &Args<'_, '_>, local: bool, unit: Unit) -> Result<super::Op, Fault> {
    Ok(super::Op::Time(Op::Date {
        local,
        unit,
        format: args.bytes(0),
        offset: args.int(1),
    }))
}

macro_rules! date {
    ($($make:ident $local:literal $unit:ident),*) => {$(
        pub(super) fn $make(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
            date(args, $local, Unit::$unit)
        }
    )*};
}
date!(
    utime false S, ltime true S, ms_utime false Ms, ms_ltime true Ms, us_utime false Us, us_ltime true Us
);

pub(super) fn make_http_date(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let unit = match args.text(1) {
        b"" if !args.has(1) => Unit::S,
        b"s" => Unit::S,
        b"ms" => Unit::Ms,
        b"us" => Unit::Us,
        _ => {
            let text = format!("expects 's', 'ms' or 'us', got '{}'", args.lossy(1));
            return Err(args.wrong(1, text));
        }
    };
    let offset = args.int(0);
    Ok(super::Op::Time(Op::HttpDate { unit, offset }))
}
