//! Log formats: text with `%aliases` and `%[expressions]` (configuration.txt 8.2.6), used for log lines, headers,
//! paths, variables and replies.
//!
//! haproxy writes the same format differently by what it is for. A format knows its [`Purpose`] from the time it is
//! read, so there is one [`LogFormat::render`]:
//!
//! | purpose | read by | runs of spaces | nothing there | `%[…]` | `+Q` on `%[…]` |
//! |---|---|---|---|---|---|
//! | headers, paths, replies, `use_backend` | [`LogFormat::parse`] | kept | nothing | controls as `%0A` | ignored |
//! | `set-var-fmt` | [`LogFormat::parse_value`] | kept | nothing | raw | quoted |
//! | log lines | [`LogFormat::parse_log`] | one | `-` | raw | quoted |
//! | `unique-id-format` | [`LogFormat::parse_id`] | one | nothing | controls as `%0A` | ignored |
//!
//! Values of aliases that come from outside (request line, captured headers) have controls, bytes above 126, `"` and
//! `#` written as `#22` in every purpose; those of expressions end at a NUL. Compared with haproxy 2.6.12.
//!
//! [`alias`] has the table of aliases, [`render`] writes values, [`encode`] JSON and CBOR.

use super::expr::{Cx, Expr, Fault, Needs, Settle};
use super::fetch::Place;
use super::lexer::Word;
use super::sample::Arena;
use super::source::Span;
use super::subject::Subject;
use crate::base::clock::LocalClock;

mod alias;
mod encode;
mod render;
#[cfg(test)]
mod tests;

pub use alias::Alias;

/// What a format is for: see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Purpose {
    #[default]
    Message,
    Value,
    Log,
    Id,
}

impl Purpose {
    fn merges_spaces(self) -> bool {
        matches!(self, Self::Log | Self::Id)
    }
}

/// `Q`, `X`, `E` and the encodings: a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Flags(u8);

impl Flags {
    const QUOTE: Self = Self(1);
    const HEX: Self = Self(2);
    const ESCAPE: Self = Self(4);
    const JSON: Self = Self(8);
    const CBOR: Self = Self(16);
    const BIN: Self = Self(32);

    fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
    fn set(&mut self, flag: Self, on: bool) {
        self.0 = if on {
            self.0 | flag.0
        } else {
            self.0 & !flag.0
        };
    }
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"Q" => Self::QUOTE,
            b"X" => Self::HEX,
            b"E" => Self::ESCAPE,
            b"json" => Self::JSON,
            b"cbor" => Self::CBOR,
            b"bin" => Self::BIN,
            _ => return None,
        })
    }
}

/// The type that `%(name:type)` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cast {
    Str,
    Sint,
    Bool,
}

/// One part of a format.
#[derive(Clone, Debug)]
enum Item {
    Text(Box<[u8]>),
    /// A run of spaces where they are merged: nothing at the start or behind another space.
    Space,
    Part(Part),
}

/// An alias or an expression with what stands between it and its `%`.
#[derive(Clone, Debug)]
struct Part {
    source: Source,
    flags: Flags,
    /// `%(name)`, shown by JSON and CBOR.
    name: Option<Box<str>>,
    cast: Option<Cast>,
    span: Span,
}

#[derive(Clone, Debug)]
enum Source {
    Alias(Alias),
    Expr(Box<Expr>),
}

/// One compiled format.
#[derive(Clone, Debug, Default)]
pub struct LogFormat {
    items: Vec<Item>,
    purpose: Purpose,
    /// Encodings asked for by the last `%o`: they wrap the whole line.
    whole: Flags,
    /// The whole result where nothing is to be evaluated.
    literal: Option<Box<[u8]>>,
    needs: Needs,
}

/// An expression that cannot be had where a format is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfReach {
    pub span: Span,
    /// haproxy's message.
    pub text: String,
}

impl LogFormat {
    /// Reads a format for headers, paths, locations, replies and names of backends.
    ///
    /// # Errors
    /// haproxy's message about the first mistake.
    pub fn parse(word: &Word, cx: &mut Cx<'_>) -> Result<Self, Fault> {
        Self::read(word, Purpose::Message, cx)
    }
    /// Reads a format whose result is a value: `set-var-fmt`.
    ///
    /// # Errors
    /// As [`LogFormat::parse`].
    pub fn parse_value(word: &Word, cx: &mut Cx<'_>) -> Result<Self, Fault> {
        Self::read(word, Purpose::Value, cx)
    }
    /// Reads the format of log lines.
    ///
    /// # Errors
    /// As [`LogFormat::parse`].
    pub fn parse_log(word: &Word, cx: &mut Cx<'_>) -> Result<Self, Fault> {
        Self::read(word, Purpose::Log, cx)
    }
    /// Reads `unique-id-format`.
    ///
    /// # Errors
    /// As [`LogFormat::parse`].
    pub fn parse_id(word: &Word, cx: &mut Cx<'_>) -> Result<Self, Fault> {
        Self::read(word, Purpose::Id, cx)
    }
    /// What must be at hand before it can be rendered for good.
    pub fn needs(&self) -> Needs {
        self.needs
    }
    /// Settles references to names.
    ///
    /// # Errors
    /// haproxy's message about a name that does not exist.
    pub fn settle(&mut self, names: &dyn Settle) -> Result<(), String> {
        for item in &mut self.items {
            if let Item::Part(Part {
                source: Source::Expr(expr),
                ..
            }) = item
            {
                expr.settle(names)?;
            }
        }
        Ok(())
    }
    /// The text itself if it needs no evaluation.
    pub fn literal(&self) -> Option<&[u8]> {
        self.literal.as_deref()
    }
    /// The first alias that only HTTP has, with its place: haproxy refuses it in TCP mode.
    pub fn http_only(&self) -> Option<(&'static str, Span)> {
        self.values().find_map(|value| match value.source {
            Source::Alias(alias) if alias.http_only() => Some((alias.name(), value.span)),
            _ => None,
        })
    }
    /// Where its first alias or expression is written.
    pub fn span(&self) -> Option<Span> {
        self.values().next().map(|value| value.span)
    }
    /// The first expression whose answer is not to be had in `place`, with haproxy's message.
    pub fn misplaced(&self, place: Place) -> Option<OutOfReach> {
        self.refused(|expr| expr.lacks(place))
    }
    /// The first expression that needs more than `at_hand`, with haproxy's message.
    pub fn out_of_reach(&self, at_hand: Needs) -> Option<OutOfReach> {
        self.refused(|expr| lacking(Needs(expr.needs().0 & !at_hand.0)))
    }
    fn refused(&self, why: impl Fn(&Expr) -> Option<&'static str>) -> Option<OutOfReach> {
        self.values().find_map(|value| {
            let Source::Expr(expr) = &value.source else {
                return None;
            };
            let what = why(expr)?;
            let text = format!(
                "sample fetch <{}> may not be reliably used here because it needs '{what}' which is not available here.",
                expr.text()
            );
            Some(OutOfReach {
                span: value.span,
                text,
            })
        })
    }
    /// The first expression that works in none of `places`, with haproxy's message.
    pub fn out_of_place(&self, places: impl Iterator<Item = Place> + Clone) -> Option<OutOfReach> {
        self.values().find_map(|value| {
            let Source::Expr(expr) = &value.source else {
                return None;
            };
            let lacks: Option<Vec<&str>> = places.clone().map(|place| expr.lacks(place)).collect();
            let what = lacks?.first().copied()?;
            let text = format!(
                "sample fetch <{}> may not be reliably used here because it needs '{what}' which is not available here.",
                expr.text()
            );
            Some(OutOfReach {
                span: value.span,
                text,
            })
        })
    }
    /// Appends what the format gives for `subject`. Dates are in local time by [`Fact::LocalOffsetS`].
    ///
    /// [`Fact::LocalOffsetS`]: super::subject::Fact::LocalOffsetS
    pub fn render(&self, subject: &dyn Subject, arena: &Arena, out: &mut Vec<u8>) {
        if let Some(literal) = &self.literal {
            out.extend_from_slice(literal);
            return;
        }
        render::format(self, subject, arena, None, out);
    }
    /// As [`LogFormat::render`], with a clock that remembers the second it wrote last.
    pub fn render_at(
        &self,
        subject: &dyn Subject,
        arena: &Arena,
        clock: &mut LocalClock,
        out: &mut Vec<u8>,
    ) {
        render::format(self, subject, arena, Some(clock), out);
    }

    fn values(&self) -> impl Iterator<Item = &Part> {
        self.items.iter().filter_map(|item| match item {
            Item::Part(value) => Some(value),
            Item::Text(_) | Item::Space => None,
        })
    }

    fn read(word: &Word, purpose: Purpose, cx: &mut Cx<'_>) -> Result<Self, Fault> {
        let mut reader = Reader {
            word,
            at: 0,
            text: Vec::new(),
            flags: Flags::default(),
            out: Self {
                purpose,
                ..Self::default()
            },
        };
        reader.all(cx)?;
        let format = reader.finish();
        cx.vars.asked = cx.vars.asked.with(format.needs);
        Ok(format)
    }
}

/// haproxy's name for the first of the things that are missing.
fn lacking(missing: Needs) -> Option<&'static str> {
    [
        (Needs::REQUEST_BODY, "HTTP request buffer"),
        (Needs::REQUEST_HEAD, "HTTP request headers"),
        (Needs::REQUEST_BYTES, "full request buffer"),
        (Needs::RESPONSE_BODY, "HTTP response buffer"),
        (Needs::RESPONSE_HEAD, "HTTP response headers"),
        (Needs::RESPONSE_BYTES, "full response buffer"),
    ]
    .into_iter()
    .find_map(|(need, name)| missing.has(need).then_some(name))
}

/// Reads one format from left to right.
struct Reader<'w> {
    word: &'w Word,
    at: usize,
    /// Text not yet made an item.
    text: Vec<u8>,
    /// In force since the last `%o`.
    flags: Flags,
    out: LogFormat,
}

impl Reader<'_> {
    fn all(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let bytes = &self.word.bytes;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'%' => self.percent(cx)?,
                b' ' if self.out.purpose.merges_spaces() => {
                    self.flush();
                    if !matches!(self.out.items.last(), Some(Item::Space)) {
                        self.out.items.push(Item::Space);
                    }
                    self.at += 1;
                }
                _ => {
                    self.text.push(byte);
                    self.at += 1;
                }
            }
        }
        self.flush();
        Ok(())
    }

    fn finish(self) -> LogFormat {
        let mut out = self.out;
        let plain = out.values().next().is_none() && out.whole == Flags::default();
        if plain {
            let mut literal = Vec::new();
            for item in &out.items {
                match item {
                    Item::Text(text) => literal.extend_from_slice(text),
                    Item::Space if literal.last().is_none_or(|&b| b == b' ') => {}
                    Item::Space => literal.push(b' '),
                    Item::Part(_) => {}
                }
            }
            out.literal = Some(literal.into());
        }
        out
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.out.items.push(Item::Text(text.into()));
        }
    }

    fn fault(&self, at: usize, len: usize, text: impl Into<String>) -> Fault {
        Fault::wrong(self.word.part(at, len), text)
    }

    /// What begins at a `%`: `%%`, `%(name){flags}alias`, `%(name){flags}[expression]`, or a sign that stands for nothing.
    fn percent(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let bytes = &self.word.bytes;
        let start = self.at;
        self.at += 1;
        match bytes.get(self.at) {
            Some(b'%') => {
                self.text.push(b'%');
                self.at += 1;
                return Ok(());
            }
            Some(b'(' | b'{' | b'[') => {}
            Some(byte) if byte.is_ascii_alphabetic() => {}
            None => {
                let text = "truncated line after '%'.";
                return Err(self
                    .fault(start, 1, text)
                    .help("write '%%' for a percent sign"));
            }
            Some(byte) if byte.is_ascii_digit() || byte.is_ascii_whitespace() => {
                let text = format!(
                    "unexpected variable name near '{}' at position {} line : '{}'. Maybe you want to write a single '%', use the syntax '%%'.",
                    char::from(*byte),
                    self.at,
                    self.word.text()
                );
                return Err(self.fault(start, 2, text));
            }
            // The sign is lost, whatever comes behind it.
            Some(_) => return Ok(()),
        }
        let (name, cast) = self.name()?;
        let before = self.flags;
        let flags = self.braces()?;
        match bytes.get(self.at) {
            Some(b'[') => {
                let expr = self.expression(cx)?;
                self.out.needs = self.out.needs.with(expr.needs());
                let source = Source::Expr(Box::new(expr));
                self.value(start, source, flags, name, cast);
            }
            Some(byte) if byte.is_ascii_alphabetic() => self.alias(start, flags, name, cast)?,
            _ => {
                let text = format!(
                    "parse argument modifier without variable name near '{}'.",
                    String::from_utf8_lossy(&bytes[start..self.at])
                );
                self.flags = before;
                return Err(self.fault(start, self.at - start, text));
            }
        }
        Ok(())
    }

    /// `(name:type)`, haproxy 3.0.
    fn name(&mut self) -> Result<(Option<Box<str>>, Option<Cast>), Fault> {
        let bytes = &self.word.bytes;
        if bytes.get(self.at) != Some(&b'(') {
            return Ok((None, None));
        }
        let from = self.at + 1;
        let Some(len) = bytes[from..].iter().position(|&b| b == b')') else {
            let inside = String::from_utf8_lossy(&bytes[from..]).into_owned();
            let text = format!("truncated line after '{inside}'.");
            return Err(self.fault(self.at, bytes.len() - self.at, text));
        };
        self.at = from + len + 1;
        let inside = String::from_utf8_lossy(&bytes[from..from + len]).into_owned();
        let (name, cast) = match inside.split_once(':') {
            Some((name, "str")) => (name, Some(Cast::Str)),
            Some((name, "sint")) => (name, Some(Cast::Sint)),
            Some((name, "bool")) => (name, Some(Cast::Bool)),
            Some((_, other)) => {
                let text = format!(
                    "unexpected output type '{other}' at position {from} line : '{}'. Supported types are: str, sint, bool",
                    self.word.text()
                );
                return Err(self.fault(from, len, text));
            }
            None => (&*inside, None),
        };
        let name = Some(name).filter(|name| !name.is_empty());
        Ok((name.map(Into::into), cast))
    }

    /// `{+Q,-X}`: the flags in force with these changes. What haproxy does not know in them it passes over.
    fn braces(&mut self) -> Result<Flags, Fault> {
        let bytes = &self.word.bytes;
        let mut flags = self.flags;
        if bytes.get(self.at) != Some(&b'{') {
            return Ok(flags);
        }
        let from = self.at + 1;
        let Some(len) = bytes[from..].iter().position(|&b| b == b'}') else {
            let inside = String::from_utf8_lossy(&bytes[from..]).into_owned();
            let text = format!("truncated line after '{inside}'.");
            return Err(self.fault(self.at, bytes.len() - self.at, text));
        };
        self.at = from + len + 1;
        for word in bytes[from..from + len].split(|&b| b == b',') {
            // Only what follows the last sign of a word counts, and a word without one does nothing.
            if let Some(sign) = word.iter().rposition(|b| b"+-".contains(b))
                && let Some(flag) = Flags::of(&word[sign + 1..])
            {
                flags.set(flag, word[sign] == b'+');
            }
        }
        Ok(flags)
    }

    fn alias(
        &mut self,
        start: usize,
        flags: Flags,
        name: Option<Box<str>>,
        cast: Option<Cast>,
    ) -> Result<(), Fault> {
        let bytes = &self.word.bytes;
        let from = self.at;
        let len = bytes[from..]
            .iter()
            .position(|b| !b.is_ascii_alphanumeric())
            .unwrap_or(bytes.len() - from);
        self.at = from + len;
        let written = &bytes[from..from + len];
        if written == b"o" {
            self.flags = flags;
            self.out.whole = Flags(flags.0 & (Flags::JSON.0 | Flags::CBOR.0 | Flags::BIN.0));
            self.flush();
            return Ok(());
        }
        let Some(alias) = Alias::of(written) else {
            let written = String::from_utf8_lossy(written);
            let near = super::diag::nearest(&written, Alias::names());
            let text = format!(
                "no such format variable '{written}'. If you wanted to emit the '%' character verbatim, you need to use '%%'."
            );
            let fault = self.fault(from, len, text);
            return Err(match near.first() {
                Some(near) => fault.help(format!("'%{near}' exists")),
                None => fault,
            });
        };
        self.out.needs = self.out.needs.with(alias.needs());
        self.value(start, Source::Alias(alias), flags, name, cast);
        Ok(())
    }

    fn value(
        &mut self,
        start: usize,
        source: Source,
        flags: Flags,
        name: Option<Box<str>>,
        cast: Option<Cast>,
    ) {
        self.flush();
        self.out.items.push(Item::Part(Part {
            source,
            flags,
            name,
            cast,
            span: self.word.part(start, self.at - start),
        }));
    }

    /// `[expression]`. Its end is found as its arguments are read: a bracket in parentheses or quotes is part of it.
    fn expression(&mut self, cx: &mut Cx<'_>) -> Result<Expr, Fault> {
        let bytes = &self.word.bytes;
        let from = self.at + 1;
        let shown = |len: usize| String::from_utf8_lossy(&bytes[from..from + len]).into_owned();
        let len = match expression_end(&bytes[from..]) {
            End::Bracket(len) => len,
            End::Other(at) => {
                let found = char::from(bytes[from + at]);
                let text = format!("expected ']' after '{}', but found '{found}'.", shown(at));
                return Err(self.fault(from + at, 1, text));
            }
            End::Never => {
                let text = format!("missing ']' after '{}'.", shown(bytes.len() - from));
                return Err(self.fault(self.at, bytes.len() - self.at, text));
            }
        };
        self.at = from + len + 1;
        let word = Word {
            bytes: bytes[from..from + len].to_vec(),
            span: self.word.part(from, len),
        };
        Expr::parse(&word, cx).map_err(|mut fault| {
            fault.text = format!(
                "failed to parse sample expression <{}> : {}",
                word.text(),
                fault.text
            );
            fault
        })
    }
}

/// Where an expression ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// At a bracket, so many bytes on.
    Bracket(usize),
    /// Behind the parenthesis before this byte, which is no bracket.
    Other(usize),
    Never,
}

/// The `]` that ends an expression. In parentheses a backslash escapes only within double quotes.
fn expression_end(bytes: &[u8]) -> End {
    let mut inside = false;
    let mut quote = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, quote) {
            (b'\\', Some(b'"')) => at += 1,
            (byte, Some(open)) if byte == open => quote = None,
            (_, Some(_)) => {}
            (b'"' | b'\'', None) if inside => quote = Some(byte),
            (b'(', None) => inside = true,
            (b')', None) => {
                inside = false;
                if bytes.get(at + 1).is_some_and(|b| !b",]".contains(b)) {
                    return End::Other(at + 1);
                }
            }
            (b']', None) if !inside => return End::Bracket(at),
            _ => {}
        }
        at += 1;
    }
    End::Never
}
