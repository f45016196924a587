//! Values inside JSON, and inside the parts of a JSON Web Token.
//!
//! As haproxy's parser, this one reads no further than the value asked for, and does not mind what follows it.

use bumpalo::collections::Vec as Bytes;

use super::Eval;
use super::args::Args;
use super::codec::from_base64url;
use crate::lang::expr::Fault;
use crate::lang::sample::{Arena, Value, leading_int, shown};

#[derive(Clone, Debug)]
pub(super) enum Op {
    Query(Query),
    /// The part of the token, from 0; without a query the whole of it.
    Jwt(usize, Option<Query>),
}

/// A path and the type wanted.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// `None`: no path that could lead anywhere.
    path: Option<Box<[Step]>>,
    as_int: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(Box<[u8]>),
    Index(usize),
}

/// Most levels of arrays and objects.
const DEPTH_MAX: usize = 32;
/// Greatest number that a double holds exactly with all below it.
const INT_MAX: i64 = (1 << 53) - 1;

impl Op {
    pub(super) fn apply<'a>(&self, input: &'a [u8], eval: Eval<'a>) -> Option<Value<'a>> {
        let arena = eval.arena;
        match self {
            Self::Query(query) => query.run(input, arena),
            Self::Jwt(part, query) => {
                let part = input.split(|&c| c == b'.').nth(*part)?;
                let text = from_base64url(part, arena)?;
                match query {
                    Some(query) => query.run(text, arena),
                    None => Some(Value::Bin(text)),
                }
            }
        }
    }
}

impl Query {
    fn run<'a>(&self, text: &'a [u8], arena: &'a Arena) -> Option<Value<'a>> {
        let mut scan = Scan { text, at: 0 };
        for step in self.path.as_deref()? {
            scan.enter(step)?;
        }
        scan.space();
        let rest = &text[scan.at..];
        match rest.first()? {
            b'"' => unescaped(scan.string()?, arena).map(Value::Str),
            b'[' => {
                let start = scan.at;
                scan.skip()?;
                Some(Value::Str(&text[start..scan.at]))
            }
            b't' if rest.starts_with(b"true") => Some(Value::Bool(true)),
            b'f' if rest.starts_with(b"false") => Some(Value::Bool(false)),
            b'-' | b'0'..=b'9' if self.as_int => {
                let n = leading_int(rest);
                (-INT_MAX..=INT_MAX).contains(&n).then_some(Value::Int(n))
            }
            b'-' | b'0'..=b'9' => Some(number(rest, arena)),
            _ => None,
        }
    }
}

/// Reads a path: `$`, then `.key` with dots escaped by backslashes, and `[index]`.
fn path(text: &[u8]) -> Option<Box<[Step]>> {
    let mut rest = text.strip_prefix(b"$")?;
    let mut steps = Vec::new();
    while let Some((&c, after)) = rest.split_first() {
        rest = after;
        match c {
            b'.' => {
                let mut key = Vec::new();
                while let Some((&c, after)) = rest.split_first() {
                    match (c, after) {
                        (b'.' | b'[', _) => break,
                        (b'\\', [escaped, after @ ..]) => {
                            key.push(*escaped);
                            rest = after;
                        }
                        _ => {
                            key.push(c);
                            rest = after;
                        }
                    }
                }
                if key.is_empty() {
                    return None;
                }
                steps.push(Step::Key(key.into()));
            }
            b'[' => {
                let close = memchr::memchr(b']', rest)?;
                let index = match &rest[..close] {
                    // Any element: the first one is found first.
                    b"*" => 0,
                    digits => std::str::from_utf8(digits).ok()?.parse().ok()?,
                };
                steps.push(Step::Index(index));
                rest = &rest[close + 1..];
            }
            _ => return None,
        }
    }
    Some(steps.into())
}

/// A place in a text.
struct Scan<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Scan<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, c: u8) -> Option<()> {
        self.space();
        (self.peek()? == c).then(|| self.at += 1)
    }

    /// Goes to the value that the step leads to from the one at hand.
    fn enter(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::Key(wanted) => {
                self.take(b'{')?;
                loop {
                    self.space();
                    let key = self.string()?;
                    self.take(b':')?;
                    if *key == **wanted {
                        return Some(());
                    }
                    self.skip()?;
                    self.take(b',')?;
                }
            }
            Step::Index(wanted) => {
                self.take(b'[')?;
                for _ in 0..*wanted {
                    self.skip()?;
                    self.take(b',')?;
                }
                self.space();
                (self.peek()? != b']').then_some(())
            }
        }
    }

    /// What is between the quotes of the text at hand, escapes and all.
    fn string(&mut self) -> Option<&'t [u8]> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(&self.text[start..self.at - 1]);
                }
                b'\\' => {
                    let digits = match self.text.get(self.at + 1)? {
                        b'u' => self.text.get(self.at + 2..self.at + 6)?,
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => &[],
                        _ => return None,
                    };
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    self.at += 2 + digits.len();
                }
                _ => self.at += 1,
            }
        }
    }

    /// Passes over the value at hand.
    fn skip(&mut self) -> Option<()> {
        let mut open = [0_u8; DEPTH_MAX];
        let mut depth = 0;
        loop {
            self.space();
            let c = self.peek()?;
            match c {
                b'[' | b'{' => {
                    *open.get_mut(depth)? = c;
                    depth += 1;
                    self.at += 1;
                    if c == b'{' && !self.closes(b'}') {
                        self.key()?;
                        continue;
                    }
                    if c == b'[' && !self.closes(b']') {
                        continue;
                    }
                }
                b'"' => {
                    self.string()?;
                }
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                b'-' | b'0'..=b'9' => self.number(),
                _ => return None,
            }
            // A value ended: so may what it stands in.
            loop {
                if depth == 0 {
                    return Some(());
                }
                self.space();
                let object = open[depth - 1] == b'{';
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => depth -= 1,
                    b']' if !object => depth -= 1,
                    _ => return None,
                }
                self.at += 1;
            }
        }
    }

    /// Whether the bracket at hand closes what was just opened; it stays at hand.
    fn closes(&mut self, bracket: u8) -> bool {
        self.space();
        self.peek() == Some(bracket)
    }

    fn key(&mut self) -> Option<()> {
        self.space();
        self.string()?;
        self.take(b':')
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let is = self.text[self.at..].starts_with(word);
        is.then(|| self.at += word.len())
    }

    fn number(&mut self) {
        self.at += number_len(&self.text[self.at..]);
    }
}

/// Bytes of a number: a sign, digits, a fraction, an exponent.
fn number_len(text: &[u8]) -> usize {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|c| c.is_ascii_digit()).count()
    };
    let mut end = digits(usize::from(text.first() == Some(&b'-')));
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}

/// As text with six digits, as printf's `%g`: haproxy gives numbers so unless asked for an integer.
fn number<'a>(text: &[u8], arena: &'a Arena) -> Value<'a> {
    let text = &text[..number_len(text)];
    let text = std::str::from_utf8(text).unwrap_or_default();
    Value::Str(general(text.parse().unwrap_or(0.0), arena))
}

fn general(number: f64, arena: &Arena) -> &[u8] {
    if number.is_infinite() {
        return if number < 0.0 { b"-inf" } else { b"inf" };
    }
    let scientific = shown(arena, format_args!("{number:.5e}"));
    let split = memchr::memrchr(b'e', scientific).unwrap_or(scientific.len());
    let (mantissa, exponent) = scientific.split_at(split);
    let exponent = leading_int(exponent.get(1..).unwrap_or_default());
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or(0);
        return trimmed(shown(arena, format_args!("{number:.decimals$}")));
    }
    let mantissa = String::from_utf8_lossy(trimmed(mantissa));
    let sign = if exponent < 0 { '-' } else { '+' };
    let exponent = exponent.unsigned_abs();
    shown(arena, format_args!("{mantissa}e{sign}{exponent:02}"))
}

/// Without zeros at the end of a fraction, nor its point alone.
fn trimmed(text: &[u8]) -> &[u8] {
    if !text.contains(&b'.') {
        return text;
    }
    let end = text.iter().rposition(|&c| c != b'0').unwrap_or(0);
    &text[..end + usize::from(text[end] != b'.')]
}

/// A text with its escapes resolved, characters beyond ASCII in UTF-8. `None`: half a pair of surrogates.
fn unescaped<'a>(text: &'a [u8], arena: &'a Arena) -> Option<&'a [u8]> {
    if !text.contains(&b'\\') {
        return Some(text);
    }
    let mut out = Bytes::with_capacity_in(text.len(), arena);
    let mut rest = text;
    while let Some((&c, after)) = rest.split_first() {
        rest = after;
        if c != b'\\' {
            out.push(c);
            continue;
        }
        let (&c, after) = rest.split_first()?;
        rest = after;
        out.push(match c {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (c, after) = escaped_char(rest)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
            other => other,
        });
    }
    Some(out.into_bump_slice())
}

/// The character whose number follows `\u`, be it a pair, and what is behind it.
fn escaped_char(rest: &[u8]) -> Option<(char, &[u8])> {
    let (unit, rest) = code_unit(rest)?;
    if let Some(c) = char::from_u32(unit) {
        return Some((c, rest));
    }
    let (second, rest) = code_unit(rest.strip_prefix(b"\\u")?)?;
    if !(0xd800..0xdc00).contains(&unit) || !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    let code = 0x1_0000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
    Some((char::from_u32(code)?, rest))
}

fn code_unit(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = rest.split_at_checked(4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

fn query(args: &Args<'_, '_>) -> Result<Query, Fault> {
    let as_int = match args.text(1) {
        b"" => false,
        b"int" => true,
        _ => return Err(args.wrong(1, "output_type only supports \"int\" as argument")),
    };
    Ok(Query {
        path: path(args.text(0)),
        as_int,
    })
}

pub(super) fn json_query(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    if args.text(0).is_empty() {
        return Err(args.wrong(0, "json_path must not be empty"));
    }
    Ok(super::Op::Json(Op::Query(query(args)?)))
}

fn jwt(args: &Args<'_, '_>, part: usize) -> Result<super::Op, Fault> {
    let query = query(args)?;
    let query = (!args.text(0).is_empty()).then_some(query);
    Ok(super::Op::Json(Op::Jwt(part, query)))
}

pub(super) fn jwt_header_query(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    jwt(args, 0)
}

pub(super) fn jwt_payload_query(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    jwt(args, 1)
}
