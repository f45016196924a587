//! Text: letters, parts, joining and substitution.

use bumpalo::collections::Vec as Bytes;
use regex::bytes::Regex;

use super::args::{Args, Number};
use super::{Eval, OUTPUT_MAX};
use crate::lang::expr::Fault;
use crate::lang::pattern::pcre;
use crate::lang::sample::{Kind, Value};
use crate::lang::subject::VarId;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Lower,
    Upper,
    Length,
    CutCrlf,
    /// Offset, and length where one is given.
    Bytes(Number, Option<Number>),
    Field(Part),
    Word(Part),
    Ltrim(Box<[u8]>),
    Rtrim(Box<[u8]>),
    Regsub {
        regex: Regex,
        template: Box<[Piece]>,
        all: bool,
    },
    Concat {
        start: Box<[u8]>,
        var: Option<VarId>,
        end: Box<[u8]>,
    },
    AddItem {
        delimiter: Box<[u8]>,
        var: Option<VarId>,
        suffix: Box<[u8]>,
    },
    Strcmp(VarId),
    Iif(Box<[u8]>, Box<[u8]>),
    Language {
        known: Box<[Box<[u8]>]>,
        default: Option<Box<[u8]>>,
    },
    /// Name of a parameter, and what stands between parameters.
    Param(Box<[u8]>, u8),
    ReverseDom,
}

/// Which of the parts between delimiters.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// From 1, or from -1 at the end.
    index: i64,
    delimiters: Box<[u8]>,
    /// How many parts; 0 or less for all that remain.
    count: i64,
}

/// A piece of what is put in place of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<[u8]>),
    Group(usize),
}

impl Op {
    /// `text` is the sample, cast to what the table says; `iif` gets a number's eight bytes.
    pub(super) fn apply<'a>(&'a self, text: &'a [u8], eval: Eval<'a>) -> Option<Value<'a>> {
        let arena = eval.arena;
        Some(Value::Str(match self {
            Self::Lower => {
                let copy = arena.alloc_slice_copy(text);
                copy.make_ascii_lowercase();
                copy
            }
            Self::Upper => {
                let copy = arena.alloc_slice_copy(text);
                copy.make_ascii_uppercase();
                copy
            }
            Self::Length => return Some(Value::Int(i64::try_from(text.len()).ok()?)),
            Self::CutCrlf => {
                let end = memchr::memchr2(b'\r', b'\n', text);
                end.map_or(text, |end| &text[..end])
            }
            Self::Bytes(offset, length) => {
                let length = match length {
                    Some(length) => Some(length.get(eval)?),
                    None => None,
                };
                return Some(Value::Bin(bytes(text, offset.get(eval)?, length)));
            }
            Self::Field(part) => part.field(text)?,
            Self::Word(part) => part.word(text),
            Self::Ltrim(chars) => {
                let start = text.iter().position(|c| !chars.contains(c));
                start.map_or(&[], |start| &text[start..])
            }
            Self::Rtrim(chars) => {
                let last = text.iter().rposition(|c| !chars.contains(c));
                last.map_or(&[], |last| &text[..=last])
            }
            Self::Regsub {
                regex,
                template,
                all,
            } => substituted(regex, template, *all, text, eval)?,
            Self::Concat { start, var, end } => {
                joined(&[text, start, var_text(*var, eval), end], eval)?
            }
            Self::AddItem {
                delimiter,
                var,
                suffix,
            } => {
                let item = var_text(*var, eval);
                let wanted = !text.is_empty() && (!item.is_empty() || !suffix.is_empty());
                let delimiter: &[u8] = if wanted { delimiter } else { &[] };
                joined(&[text, delimiter, item, suffix], eval)?
            }
            Self::Strcmp(var) => {
                let other = eval.subject.var(*var)?.text(arena);
                return Some(Value::Int(compared(text, other)));
            }
            Self::Iif(yes, no) => {
                if text.iter().any(|&b| b != 0) {
                    yes
                } else {
                    no
                }
            }
            Self::Language { known, default } => {
                best_language(text, known).or(default.as_deref())?
            }
            Self::Param(name, delimiter) => param(text, name, *delimiter)?,
            Self::ReverseDom => {
                let mut out = Bytes::with_capacity_in(text.len(), arena);
                for (i, label) in text.rsplit(|&c| c == b'.').enumerate() {
                    if i > 0 {
                        out.push(b'.');
                    }
                    out.extend_from_slice(label);
                }
                out.into_bump_slice()
            }
        }))
    }
}

/// Nothing from an offset outside; as much as there is of a length; all of it without one or with a negative one.
fn bytes(text: &[u8], offset: i64, length: Option<i64>) -> &[u8] {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = text.get(offset..).unwrap_or_default();
    match length.map(usize::try_from) {
        Some(Ok(length)) => &rest[..length.min(rest.len())],
        _ => rest,
    }
}

impl Part {
    fn parts_wanted(&self) -> usize {
        usize::try_from(self.count)
            .ok()
            .filter(|&n| n > 0)
            .unwrap_or(usize::MAX)
    }

    fn splits(&self, c: u8) -> bool {
        self.delimiters.contains(&c)
    }

    /// Parts may be empty: each delimiter ends one. `None` beyond the last.
    fn field<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let nth = usize::try_from(self.index.unsigned_abs()).ok()?;
        let wanted = self.parts_wanted();
        if self.index > 0 {
            let start = self.after(text, nth - 1)?;
            let rest = &text[start..];
            return Some(self.until(rest, wanted));
        }
        let end = self.before(text, nth - 1)?;
        let rest = &text[..end];
        Some(self.since(rest, wanted))
    }

    /// Where the part begins that has `n` delimiters before it.
    fn after(&self, text: &[u8], n: usize) -> Option<usize> {
        if n == 0 {
            return Some(0);
        }
        let mut ends = (0..text.len()).filter(|&i| self.splits(text[i]));
        ends.nth(n - 1).map(|at| at + 1)
    }

    /// Where the part ends that has `n` delimiters behind it.
    fn before(&self, text: &[u8], n: usize) -> Option<usize> {
        if n == 0 {
            return Some(text.len());
        }
        let mut ends = (0..text.len()).rev().filter(|&i| self.splits(text[i]));
        ends.nth(n - 1)
    }

    fn until<'t>(&self, rest: &'t [u8], wanted: usize) -> &'t [u8] {
        let mut ends = (0..rest.len()).filter(|&i| self.splits(rest[i]));
        ends.nth(wanted - 1).map_or(rest, |end| &rest[..end])
    }

    fn since<'t>(&self, rest: &'t [u8], wanted: usize) -> &'t [u8] {
        let mut starts = (0..rest.len()).rev().filter(|&i| self.splits(rest[i]));
        starts
            .nth(wanted - 1)
            .map_or(rest, |start| &rest[start + 1..])
    }

    /// Runs of delimiters count as one, and those at the end it counts from do not count at all. Empty beyond the last.
    fn word<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        if self.index > 0 {
            let start = self.word_at(text.len(), |i| text[i]);
            return start.map_or(&[], |(start, end)| &text[start..end]);
        }
        let len = text.len();
        let from_end = self.word_at(len, |i| text[len - 1 - i]);
        from_end.map_or(&[], |(start, end)| &text[len - end..len - start])
    }

    /// Start and end of the words wanted in `len` bytes read by `at`, in the direction counted.
    fn word_at(&self, len: usize, at: impl Fn(usize) -> u8) -> Option<(usize, usize)> {
        let mut nth = self.index.unsigned_abs();
        let mut i = 0;
        loop {
            while i < len && self.splits(at(i)) {
                i += 1;
            }
            if i == len {
                return None;
            }
            nth -= 1;
            if nth == 0 {
                break;
            }
            while i < len && !self.splits(at(i)) {
                i += 1;
            }
        }
        let start = i;
        let mut end = i;
        for _ in 0..self.parts_wanted() {
            while i < len && self.splits(at(i)) {
                i += 1;
            }
            if i == len {
                // With all words wanted, the delimiters at the other end belong to them.
                return Some((start, if self.count == 1 { end } else { len }));
            }
            while i < len && !self.splits(at(i)) {
                i += 1;
            }
            end = i;
        }
        Some((start, end))
    }
}

fn joined<'a>(parts: &[&[u8]], eval: Eval<'a>) -> Option<&'a [u8]> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    if len > OUTPUT_MAX {
        return None;
    }
    let mut out = Bytes::with_capacity_in(len, eval.arena);
    for part in parts {
        out.extend_from_slice(part);
    }
    Some(out.into_bump_slice())
}

/// The text of a variable; nothing if there is none.
fn var_text<'a>(var: Option<VarId>, eval: Eval<'a>) -> &'a [u8] {
    let value = var.and_then(|id| eval.subject.var(id));
    match value.and_then(|value| value.cast(Kind::Str, eval.arena)) {
        Some(Value::Str(text)) => text,
        _ => &[],
    }
}

/// As strcmp: the difference of the first bytes that differ, else of the lengths by its sign.
fn compared(a: &[u8], b: &[u8]) -> i64 {
    let differing = a.iter().zip(b).find(|(a, b)| a != b);
    match differing {
        Some((&a, &b)) => i64::from(a) - i64::from(b),
        None => a.len().cmp(&b.len()) as i64,
    }
}

/// Replaces the first match, or all. After an empty match one byte is passed on as it is; a text that is not empty is
/// looked at once more behind its last match, as haproxy does.
fn substituted<'a>(
    regex: &Regex,
    template: &[Piece],
    all: bool,
    text: &'a [u8],
    eval: Eval<'a>,
) -> Option<&'a [u8]> {
    let mut out = Bytes::new_in(eval.arena);
    let mut at = 0;
    // The positions of groups are the one thing that the regex crate keeps on the heap; few templates need them.
    let grouped = |piece: &Piece| matches!(piece, Piece::Group(n) if *n > 0);
    let mut groups = template
        .iter()
        .any(grouped)
        .then(|| regex.capture_locations());
    loop {
        let found = match &mut groups {
            Some(groups) => regex.captures_read_at(groups, text, at),
            None => regex.find_at(text, at),
        };
        let Some(found) = found else {
            break;
        };
        let begun = at;
        out.extend_from_slice(&text[at..found.start()]);
        for piece in template {
            match piece {
                Piece::Text(piece) => out.extend_from_slice(piece),
                Piece::Group(0) => out.extend_from_slice(found.as_bytes()),
                Piece::Group(n) => {
                    let place = groups.as_ref().and_then(|groups| groups.get(*n));
                    let (start, end) = place.unwrap_or((0, 0));
                    out.extend_from_slice(&text[start..end]);
                }
            }
        }
        at = found.end();
        if out.len() > OUTPUT_MAX {
            return None;
        }
        if !all {
            break;
        }
        if found.is_empty() && at < text.len() {
            out.push(text[at]);
            at += 1;
        }
        if begun == text.len() {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
    Some(out.into_bump_slice())
}

/// Reads the text that takes a match's place: `\0` to `\9` for groups, `\xHH` for a byte, `\` before any other
/// character for the character.
pub(super) fn template(text: &[u8]) -> Box<[Piece]> {
    let mut pieces = Vec::new();
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((&c, after)) = rest.split_first() {
        rest = after;
        if c != b'\\' {
            plain.push(c);
            continue;
        }
        match *rest {
            [digit @ b'0'..=b'9', ..] => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                }
                pieces.push(Piece::Group(usize::from(digit - b'0')));
                rest = &rest[1..];
            }
            [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |c: u8| char::from(c).to_digit(16).unwrap_or(0) as u8;
                plain.push(digit(high) << 4 | digit(low));
                rest = &rest[3..];
            }
            [other, ..] => {
                plain.push(other);
                rest = &rest[1..];
            }
            [] => plain.push(b'\\'),
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain.into()));
    }
    pieces.into()
}

/// The name in `known` that the header prefers: most quality first, then first in the header.
fn best_language<'k>(header: &[u8], known: &'k [Box<[u8]>]) -> Option<&'k [u8]> {
    let mut best: Option<(u32, &'k [u8])> = None;
    for item in header.split(|&c| c == b',') {
        let item = item.trim_ascii_start();
        let end = item
            .iter()
            .position(|c| matches!(c, b';' | b' ' | b'\t'))
            .unwrap_or(item.len());
        let (name, rest) = item.split_at(end);
        let Some(quality) = quality(rest) else {
            continue;
        };
        let base = name.split(|&c| c == b'-').next().unwrap_or_default();
        let is = |wanted: &[u8]| known.iter().find(|k| ***k == *wanted);
        let found = is(name).or_else(|| is(base)).filter(|k| !k.is_empty());
        let better = best.is_none_or(|(most, _)| quality > most);
        if let Some(found) = found.filter(|_| better) {
            best = Some((quality, found));
        }
    }
    best.map(|(_, name)| name)
}

/// Thousandths behind a language, 1000 where none are given; `None` for 0, which excludes it, and for what is no list.
fn quality(rest: &[u8]) -> Option<u32> {
    let rest = rest.trim_ascii_start();
    let Some(rest) = rest.strip_prefix(b";") else {
        return rest.is_empty().then_some(1000);
    };
    let Some(value) = rest.trim_ascii_start().strip_prefix(b"q=") else {
        return Some(1000);
    };
    let thousandths = match value {
        [b'0', b'.', digits @ ..] => {
            let digit = |i: usize| {
                let all = digits.iter().take(i + 1).all(u8::is_ascii_digit);
                digits
                    .get(i)
                    .filter(|_| all)
                    .map_or(0, |c| u32::from(c - b'0'))
            };
            digit(0) * 100 + digit(1) * 10 + digit(2)
        }
        [b'0', ..] => 0,
        _ => 1000,
    };
    (thousandths > 0).then_some(thousandths)
}

/// The value of a parameter in a text such as a query: as it is written, empty without `=`.
fn param<'t>(text: &'t [u8], name: &[u8], delimiter: u8) -> Option<&'t [u8]> {
    text.split(|&c| c == delimiter).find_map(|pair| {
        let rest = pair.strip_prefix(name)?;
        match rest {
            [] => Some(rest),
            [b'=', value @ ..] => Some(value),
            _ => None,
        }
    })
}

fn part(args: &Args<'_, '_>) -> Result<Part, Fault> {
    let index = args.int(0);
    if index == 0 {
        return Err(args.wrong(0, "Unexpected value 0 for index"));
    }
    if args.text(1).is_empty() {
        return Err(args.wrong(1, "Empty separators list"));
    }
    Ok(Part {
        index,
        delimiters: args.bytes(1),
        count: if args.has(2) { args.int(2) } else { 1 },
    })
}

pub(super) fn make_bytes(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let offset = args.number(0)?;
    let length = args.has(1).then(|| args.number(1)).transpose()?;
    Ok(super::Op::Text(Op::Bytes(offset, length)))
}

pub(super) fn field(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Text(Op::Field(part(args)?)))
}

pub(super) fn word(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Text(Op::Word(part(args)?)))
}

pub(super) fn ltrim(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Text(Op::Ltrim(args.bytes(0))))
}

pub(super) fn rtrim(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Text(Op::Rtrim(args.bytes(0))))
}

pub(super) fn regsub(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let (mut all, mut ignore_case) = (false, false);
    for &flag in args.text(2) {
        match flag {
            b'g' => all = true,
            b'i' => ignore_case = true,
            _ => {
                let flag = char::from(flag);
                return Err(args.wrong(
                    2,
                    format!("invalid regex flag '{flag}', only 'i' and 'g' are supported"),
                ));
            }
        }
    }
    if args.text(0).is_empty() {
        let fault = "missing regex in arg 1 of conversion keyword 'regsub'.";
        return Err(Fault::wrong(args.span_of(0), fault));
    }
    let regex = pcre::compile(args.text(0), ignore_case).map_err(|why| {
        let keyword = args.entry.name;
        let pattern = args.lossy(0);
        Fault::wrong(
            args.span_of(0),
            format!(
                "error in regex '{pattern}' in arg 1 of conversion keyword '{keyword}' : {why}."
            ),
        )
    })?;
    Ok(super::Op::Text(Op::Regsub {
        regex,
        template: template(args.text(1)),
        all,
    }))
}

pub(super) fn concat(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Text(Op::Concat {
        start: args.bytes(0),
        var: args.maybe_var(1)?,
        end: args.bytes(2),
    }))
}

pub(super) fn add_item(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let var = args.maybe_var(1)?;
    if var.is_none() && args.text(2).is_empty() {
        return Err(args.wrong(1, "one of the optional arguments has to be nonempty"));
    }
    Ok(super::Op::Text(Op::AddItem {
        delimiter: args.bytes(0),
        var,
        suffix: args.bytes(2),
    }))
}

pub(super) fn strcmp(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Text(Op::Strcmp(args.var_to_read(0)?)))
}

pub(super) fn iif(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Text(Op::Iif(args.bytes(0), args.bytes(1))))
}

pub(super) fn language(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let known = args.text(0).split(|&c| c == b';');
    Ok(super::Op::Text(Op::Language {
        known: known.map(Into::into).collect(),
        default: (!args.text(1).is_empty()).then(|| args.bytes(1)),
    }))
}

pub(super) fn make_param(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let delimiter = match args.text(1) {
        [] => b'&',
        &[one] => one,
        _ => return Err(args.wrong(1, "Delimiter must be exactly 1 character")),
    };
    Ok(super::Op::Text(Op::Param(args.bytes(0), delimiter)))
}

macro_rules! plain {
    ($($make:ident $op:ident),*) => {$(
        pub(super) fn $make(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
            Ok(super::Op::Text(Op::$op))
        }
    )*};
}
plain!(lower Lower, upper Upper, length Length, cut_crlf CutCrlf, reverse_dom ReverseDom);
