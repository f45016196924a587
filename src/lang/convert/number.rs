//! Arithmetic and bits on signed 64-bit numbers. Nothing wraps: results saturate, and a division by zero gives the
//! largest number.

use super::Eval;
use super::args::{Args, Number};
use crate::lang::expr::Fault;
use crate::lang::sample::Value;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Two(Two, Number),
    Cpl,
    Neg,
    Odd,
    Even,
    Not,
    Bool,
}

/// Operations on the sample and an argument.
#[derive(Clone, Copy, Debug)]
pub(super) enum Two {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
}

impl Op {
    pub(super) fn apply<'a>(&self, value: Value<'a>, eval: Eval<'a>) -> Option<Value<'a>> {
        let Value::Int(n) = value else {
            return None;
        };
        Some(match self {
            Self::Two(op, other) => Value::Int(op.of(n, other.get(eval)?)),
            Self::Cpl => Value::Int(!n),
            Self::Neg => Value::Int(n.saturating_neg()),
            Self::Odd => Value::Bool(n & 1 == 1),
            Self::Even => Value::Bool(n & 1 == 0),
            Self::Not => Value::Bool(n == 0),
            Self::Bool => Value::Bool(n != 0),
        })
    }
}

impl Two {
    fn of(self, a: i64, b: i64) -> i64 {
        match self {
            Self::Add => a.saturating_add(b),
            Self::Sub => a.saturating_sub(b),
            Self::Mul => a.saturating_mul(b),
            Self::Div if b == 0 => i64::MAX,
            Self::Div => a.saturating_div(b),
            Self::Mod if b == 0 => 0,
            Self::Mod => a.wrapping_rem(b),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

macro_rules! two {
    ($($make:ident $op:ident),*) => {$(
        pub(super) fn $make(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
            Ok(super::Op::Number(Op::Two(Two::$op, args.number(0)?)))
        }
    )*};
}
two!(add Add, sub Sub, mul Mul, div Div, modulo Mod, and And, or Or, xor Xor);

macro_rules! one {
    ($($make:ident $op:ident),*) => {$(
        pub(super) fn $make(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
            Ok(super::Op::Number(Op::$op))
        }
    )*};
}
one!(cpl Cpl, neg Neg, odd Odd, even Even, not Not, boolean Bool);
