//! Arguments of converters: counted and typed as haproxy does, with its messages.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::table::Entry;
use super::{Arg, Eval};
use crate::lang::expr::{Cx, Fault};
use crate::lang::fetch::internal::var_id;
use crate::lang::sample::{Kind, Value};
use crate::lang::source::Span;
use crate::lang::subject::VarId;

/// Types of arguments, as messages name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgKind {
    Str,
    Int,
    /// A number, or the name of a variable.
    IntOrVar,
    Mask4,
    Mask6,
    Regex,
    Field,
}

impl ArgKind {
    fn name(self) -> &'static str {
        match self {
            Self::Str => "string",
            Self::Int | Self::IntOrVar => "integer",
            Self::Mask4 => "IPv4 mask",
            Self::Mask6 => "IPv6 mask",
            Self::Regex => "regex",
            Self::Field => "Protocol buffers field number",
        }
    }

    fn accepts(self, text: &[u8]) -> bool {
        match self {
            Self::Str | Self::Regex => true,
            Self::Int => int(text).is_some(),
            // Names of variables have a dot; what is wrong with one is told later.
            Self::IntOrVar => int(text).is_some() || text.contains(&b'.'),
            Self::Mask4 => mask4(text).is_some(),
            Self::Mask6 => mask6(text).is_some(),
            Self::Field => field(text).is_some(),
        }
    }
}

/// A number, or the variable that holds it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Fixed(i64),
    Var(VarId),
}

impl Number {
    pub(super) fn get(self, eval: Eval<'_>) -> Option<i64> {
        match self {
            Self::Fixed(n) => Some(n),
            Self::Var(id) => match eval.subject.var(id)?.cast(Kind::Int, eval.arena)? {
                Value::Int(n) => Some(n),
                _ => None,
            },
        }
    }
}

/// Bytes, or the variable that holds them.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Fixed(Box<[u8]>),
    Var(VarId),
}

impl Data {
    /// A variable's content is used as the text that it is.
    pub(super) fn text<'a>(&'a self, eval: Eval<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Fixed(data) => Some(data),
            Self::Var(id) => Some(eval.subject.var(*id)?.text(eval.arena)),
        }
    }

    /// A variable holds base64, as the argument did that [`Args::base64`] decoded.
    pub(super) fn decoded<'a>(&'a self, eval: Eval<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Fixed(data) => Some(data),
            Self::Var(_) => super::codec::from_base64(self.text(eval)?, eval.arena),
        }
    }
}

/// The arguments of one converter, checked in number and type.
pub(super) struct Args<'a, 'c> {
    pub(super) entry: &'static Entry,
    args: &'a [Arg],
    span: Span,
    cx: &'a mut Cx<'c>,
}

impl<'a, 'c> Args<'a, 'c> {
    pub(super) fn new(
        entry: &'static Entry,
        args: &'a [Arg],
        span: Span,
        cx: &'a mut Cx<'c>,
    ) -> Result<Self, Fault> {
        let args = Self {
            entry,
            args,
            span,
            cx,
        };
        args.check()?;
        Ok(args)
    }

    fn check(&self) -> Result<(), Fault> {
        let name = self.entry.name;
        for (i, kind) in self.entry.args.iter().enumerate() {
            // No argument at all is one empty argument.
            if i > 0 && i >= self.args.len() {
                break;
            }
            let text = self.text(i);
            let n = i + 1;
            let kind_name = kind.name();
            if text.is_empty() {
                if matches!(kind, ArgKind::Str | ArgKind::Regex) {
                    continue;
                }
                if i < self.entry.min {
                    return Err(self.at(i, format!(
                        "invalid arg {n} in converter '{name}' : expected type '{kind_name}' at position {n}, but got nothing."
                    )));
                }
                // What is left out here ends the list.
                if n < self.args.len() {
                    return Err(self.surplus(n, n, ","));
                }
            } else if !kind.accepts(text) {
                let text = String::from_utf8_lossy(text);
                return Err(self.at(i, format!(
                    "invalid arg {n} in converter '{name}' : failed to parse '{text}' as type '{kind_name}' at position {n}."
                )));
            }
        }
        self.check_count()
    }

    fn check_count(&self) -> Result<(), Fault> {
        let name = self.entry.name;
        let (min, max) = (self.entry.min, self.entry.args.len());
        let got = self.args.len().max(1);
        if got < min {
            let n = got + 1;
            let kind = self.entry.args[got].name();
            return Err(Fault::wrong(
                self.span,
                format!(
                    "invalid arg {n} in converter '{name}' : missing arguments (got {got}/{min}), type '{kind}' expected."
                ),
            ));
        }
        let surplus = self.args.get(max..).unwrap_or_default();
        if surplus.is_empty() || (max == 0 && self.args.len() == 1 && self.text(0).is_empty()) {
            return Ok(());
        }
        let (n, comma) = match max {
            0 => (1, ""),
            1 => (2, ","),
            _ => (max, ","),
        };
        Err(self.surplus(n, max, comma))
    }

    /// Arguments from index `from` on that cannot stand there, told as argument `n`.
    fn surplus(&self, n: usize, from: usize, comma: &str) -> Fault {
        let name = self.entry.name;
        let rest = self.args.get(from..).unwrap_or_default();
        let rest: Vec<_> = rest
            .iter()
            .map(|arg| String::from_utf8_lossy(&arg.text))
            .collect();
        let rest = rest.join(",");
        self.at(
            from,
            format!(
                "invalid arg {n} in converter '{name}' : expected ')' before '{comma}{rest})'."
            ),
        )
    }

    /// The argument's text; empty if it is not there.
    pub(super) fn text(&self, i: usize) -> &'a [u8] {
        self.args.get(i).map_or(&[], |arg| &arg.text)
    }

    pub(super) fn lossy(&self, i: usize) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.text(i))
    }

    pub(super) fn bytes(&self, i: usize) -> Box<[u8]> {
        self.text(i).into()
    }

    /// Whether it is there, be it empty.
    pub(super) fn has(&self, i: usize) -> bool {
        i < self.args.len()
    }

    /// A number, checked before; 0 if it is not there.
    pub(super) fn int(&self, i: usize) -> i64 {
        int(self.text(i)).unwrap_or(0)
    }

    pub(super) fn mask4(&self, i: usize) -> Option<u32> {
        mask4(self.text(i))
    }

    pub(super) fn mask6(&self, i: usize) -> Option<u128> {
        mask6(self.text(i))
    }

    pub(super) fn field(&self, i: usize) -> Vec<u32> {
        field(self.text(i)).unwrap_or_default()
    }

    /// haproxy's message about what a converter makes of its arguments, placed on argument `i`.
    pub(super) fn wrong(&self, i: usize, text: impl std::fmt::Display) -> Fault {
        let name = self.entry.name;
        self.at(i, format!("invalid args in converter '{name}' : {text}."))
    }

    fn at(&self, i: usize, text: String) -> Fault {
        Fault::wrong(self.span_of(i), text)
    }

    /// The argument's own place where the word is written as it is read, else the whole.
    pub(super) fn span_of(&self, i: usize) -> Span {
        let Some(arg) = self.args.get(i) else {
            return self.span;
        };
        let (Ok(at), Ok(len)) = (u32::try_from(arg.at), u32::try_from(arg.text.len())) else {
            return self.span;
        };
        let inside = at.checked_add(len).is_some_and(|end| end <= self.span.len);
        if len == 0 || !inside {
            return self.span;
        }
        Span {
            col: self.span.col + at,
            len,
            ..self.span
        }
    }

    /// Not ours yet, by name.
    pub(super) fn later(&self, what: impl Into<String>) -> Fault {
        Fault::later(self.span, what)
    }

    /// A variable by its whole name, if the name is one.
    pub(super) fn var(&mut self, i: usize) -> Option<VarId> {
        var_id(&self.lossy(i), self.cx.vars).ok()
    }

    /// A variable that must be named, with the messages of `set-var`.
    pub(super) fn var_to_set(&mut self, i: usize) -> Result<VarId, Fault> {
        let id = var_id(&self.lossy(i), self.cx.vars);
        id.map_err(|text| self.wrong(i, text))
    }

    /// A variable that must be named, with the messages of `strcmp`.
    pub(super) fn var_to_read(&mut self, i: usize) -> Result<VarId, Fault> {
        if self.text(i).is_empty() {
            return Err(self.wrong(i, "missing variable name"));
        }
        let unregistered = self.unregistered(i);
        self.var(i).ok_or(unregistered)
    }

    /// A variable that may be left out.
    pub(super) fn maybe_var(&mut self, i: usize) -> Result<Option<VarId>, Fault> {
        if self.text(i).is_empty() {
            return Ok(None);
        }
        self.var_to_read(i).map(Some)
    }

    fn unregistered(&self, i: usize) -> Fault {
        let name = self.lossy(i);
        self.wrong(i, format!("failed to register variable name '{name}'"))
    }

    /// A number or a variable.
    pub(super) fn number(&mut self, i: usize) -> Result<Number, Fault> {
        if let Some(id) = self.var(i) {
            return Ok(Number::Var(id));
        }
        let text = self.text(i);
        if text.is_empty() {
            return Ok(Number::Fixed(0));
        }
        int(text)
            .map(Number::Fixed)
            .ok_or_else(|| self.wrong(i, "expects an integer or a variable name"))
    }

    /// Bytes in base64, or a variable; `what` names it in the message.
    pub(super) fn base64(&mut self, i: usize, what: &str) -> Result<Data, Fault> {
        if let Some(id) = self.var(i) {
            return Ok(Data::Var(id));
        }
        let arena = bumpalo::Bump::new();
        match super::codec::from_base64(self.text(i), &arena) {
            Some(data) => Ok(Data::Fixed(data.into())),
            None => Err(self.wrong(
                i,
                format!(
                    "failed to parse {what} : argument needs to be base64 encoded, and can either be a string or a variable"
                ),
            )),
        }
    }

    /// A plain text, or a variable.
    pub(super) fn data(&mut self, i: usize) -> Data {
        match self.var(i) {
            Some(id) => Data::Var(id),
            None => Data::Fixed(self.bytes(i)),
        }
    }
}

/// A whole word in decimal, saturating.
fn int(text: &[u8]) -> Option<i64> {
    let digits = match text {
        [b'-' | b'+', rest @ ..] => rest,
        _ => text,
    };
    let whole = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    whole.then(|| crate::lang::sample::leading_int(text))
}

fn mask4(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(bits) = text.parse::<u32>() {
        return (bits <= 32).then(|| u32::MAX.checked_shl(32 - bits).unwrap_or(0));
    }
    text.parse::<Ipv4Addr>().ok().map(u32::from)
}

fn mask6(text: &[u8]) -> Option<u128> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(bits) = text.parse::<u32>() {
        return (bits <= 128).then(|| u128::MAX.checked_shl(128 - bits).unwrap_or(0));
    }
    text.parse::<Ipv6Addr>().ok().map(u128::from)
}

/// A path of field numbers: `1.4.3`.
fn field(text: &[u8]) -> Option<Vec<u32>> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    let part = |part: &str| digits(part).then(|| part.parse().ok()).flatten();
    text.split('.').map(part).collect()
}
