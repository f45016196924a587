//! The words of one line while its keyword reads them, and what is said about them.
//!
//! A value is checked where it is read, so that a message points at the very word. [`Said`] is the
//! proof that a message exists: whoever gets one stops, and no mistake is reported twice.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::load::World;
use crate::lang::diag::{Diag, Diags, Form};
use crate::lang::env::Env;
use crate::lang::expr::VarNames;
use crate::lang::lexer::{Line, Word};
use crate::lang::source::{Sources, Span};
use crate::lang::value::{self, Unit};

/// A message about this mistake is already among the diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) struct Said(());

/// What all lines of one run share.
pub(super) struct Cx<'a> {
    pub(super) diags: Diags,
    pub(super) sources: &'a Sources,
    pub(super) world: &'a dyn World,
    /// Obsolete spellings are errors.
    pub(super) strict: bool,
    /// A server's name without an address is no mistake.
    pub(super) tolerate_unresolved: bool,
    /// Deprecated ones stay silent (`expose-deprecated-directives`).
    pub(super) deprecated_silent: bool,
    /// Alerts so far, but those of the lexer.
    pub(super) mistakes: usize,
    /// The lexer found a mistake: what seems to be missing may stand on the line it dropped.
    pub(super) lines_lost: bool,
    /// The line is a command of an operator, not of the file.
    pub(super) at_run_time: bool,
    /// `-C`: where relative names of files begin.
    pub(super) dir: Option<PathBuf>,
    /// Variables that words of addresses may name.
    pub(super) env: Env,
    /// Names of variables, numbered as they are met.
    pub(super) vars: VarNames,
    /// Keywords already refused as not supported yet: one message a name.
    pub(super) refused: BTreeSet<String>,
}

impl<'a> Cx<'a> {
    /// For a command of an operator.
    pub(super) fn at_run_time(sources: &'a Sources, world: &'a dyn World) -> Self {
        Self {
            diags: Diags::default(),
            sources,
            world,
            strict: false,
            tolerate_unresolved: false,
            deprecated_silent: true,
            mistakes: 0,
            lines_lost: false,
            at_run_time: true,
            dir: None,
            env: Env::default(),
            vars: VarNames::default(),
            refused: BTreeSet::new(),
        }
    }
}

impl Cx<'_> {
    pub(super) fn alert(&mut self, span: Span, text: impl Into<String>) -> Said {
        self.mistakes += 1;
        self.diags.alert(span, text);
        Said(())
    }
    /// As [`Self::alert`] where haproxy begins its line in another way.
    pub(super) fn alert_as(&mut self, form: Form, span: Span, text: impl Into<String>) -> Said {
        self.mistakes += 1;
        self.diags.alert(span, text).form(form);
        Said(())
    }
    pub(super) fn alert_help(
        &mut self,
        span: Span,
        text: impl Into<String>,
        help: impl Into<String>,
    ) -> Said {
        self.mistakes += 1;
        self.diags.alert(span, text).help(help);
        Said(())
    }
    pub(super) fn warning(&mut self, span: Span, text: impl Into<String>) -> &mut Diag {
        self.diags.warning(span, text)
    }
    pub(super) fn notice(&mut self, span: Span, text: impl Into<String>) -> &mut Diag {
        self.diags.notice(span, text)
    }
    /// A file that the configuration names.
    pub(super) fn below(&self, name: &str) -> PathBuf {
        self.dir
            .as_ref()
            .map_or_else(|| PathBuf::from(name), |dir| dir.join(name))
    }
    /// `FILE:LINE`, for messages that point at a second place.
    pub(super) fn place(&self, span: Span) -> String {
        format!("{}:{}", self.sources.file(span.file).name, span.line)
    }
    /// A spelling that haproxy dropped and we run: one warning, an error under `--strict`.
    pub(super) fn obsolete(&mut self, span: Span, what: &str, now: &str) {
        let text = format!("{what} is obsolete");
        let help = format!("the present spelling is: {now}");
        if self.strict {
            let _: Said =
                self.alert_help(span, format!("{text} and refused in strict mode."), help);
        } else {
            self.warning(span, format!("{text}.")).help(help);
        }
    }
    /// Refuses a keyword that haproxy knows and we do not; once a name.
    pub(super) fn not_yet(&mut self, span: Span, name: &str) -> Said {
        self.mistakes += 1;
        if self.refused.insert(name.to_owned()) {
            self.diags
                .alert(span, format!("'{name}' is not supported yet."));
        }
        Said(())
    }
}

/// From the start of one span to the end of another on the same line.
pub(super) trait To {
    fn to(self, end: Span) -> Span;
}

impl To for Span {
    fn to(self, end: Span) -> Span {
        Self {
            len: (end.col + end.len).saturating_sub(self.col),
            ..self
        }
    }
}

/// How a line that may begin with `no` or `default` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sense {
    #[default]
    Plain,
    /// `no …`.
    No,
    /// `default …`.
    Default,
}

/// The arguments of one keyword, read from left to right.
pub(super) struct Args<'a, 'c> {
    pub(super) cx: &'a mut Cx<'c>,
    /// The whole line.
    pub(super) line: &'a Line,
    /// Name of the keyword as messages show it.
    pub(super) name: &'a str,
    /// Put before each message about a value: `server b/s : `. Mostly empty.
    pub(super) prefix: String,
    /// Where the keyword itself stands.
    pub(super) head: Span,
    pub(super) sense: Sense,
    /// Index of the next word in `line.words`.
    pub(super) at: usize,
    /// The section's name, for messages.
    pub(super) owner: Owner<'a>,
}

/// The section a line stands in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    /// `frontend`, `backend`, `listen`, `defaults`, `global`.
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
}

impl<'a> Args<'a, '_> {
    /// Words left.
    pub(super) fn rest(&self) -> &'a [Word] {
        &self.line.words[self.at.min(self.line.words.len())..]
    }
    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }
    /// The next word, consumed.
    pub(super) fn next(&mut self) -> Option<&'a Word> {
        let word = self.rest().first()?;
        self.at += 1;
        Some(word)
    }
    /// Consumes the next word if it is `wanted`.
    pub(super) fn eat(&mut self, wanted: &str) -> bool {
        let hit = self
            .rest()
            .first()
            .is_some_and(|w| w.bytes == wanted.as_bytes());
        self.at += usize::from(hit);
        hit
    }
    /// The next word; where none is left, says what is expected.
    pub(super) fn expect(&mut self, what: &str) -> Result<&'a Word, Said> {
        self.next()
            .ok_or(())
            .map_err(|()| self.fail(self.end(), format!("'{}' expects {what}.", self.name)))
    }
    pub(super) fn text(&mut self, what: &str) -> Result<Cow<'a, str>, Said> {
        self.expect(what).map(Word::text)
    }
    /// Says that the next word should not be there.
    pub(super) fn done(&mut self) -> Result<(), Said> {
        match self.rest().first() {
            None => Ok(()),
            Some(word) => {
                let text = format!(
                    "'{}' cannot handle unexpected argument '{}'.",
                    self.name,
                    word.text()
                );
                Err(self.fail(word.span, text))
            }
        }
    }
    /// Where a missing word would have stood: the end of the last one.
    pub(super) fn end(&self) -> Span {
        let last = self.line.words.last().map_or(self.head, |w| w.span);
        Span {
            col: last.col + last.len,
            len: 0,
            ..last
        }
    }
    pub(super) fn fail(&mut self, span: Span, text: impl AsRef<str>) -> Said {
        let text = format!("{}{}", self.prefix, text.as_ref());
        self.cx.alert(span, text)
    }
    pub(super) fn fail_help(
        &mut self,
        span: Span,
        text: impl AsRef<str>,
        help: impl Into<String>,
    ) -> Said {
        let text = format!("{}{}", self.prefix, text.as_ref());
        self.cx.alert_help(span, text, help)
    }
    /// `no` gives `false`.
    pub(super) fn on(&self) -> bool {
        self.sense == Sense::Plain
    }

    /// A whole number within `range`.
    pub(super) fn number(&mut self, range: RangeInclusive<i64>) -> Result<i64, Said> {
        let word = self.expect(&format!(
            "a number between {} and {}",
            range.start(),
            range.end()
        ))?;
        value::int(&word.bytes, range).map_err(|e| self.bad_value(word, &e))
    }
    /// A number that fits a `u32`, at least `least`.
    pub(super) fn count(&mut self, least: u32) -> Result<u32, Said> {
        let word = self.expect("an integer argument")?;
        value::uint(&word.bytes, least..=i32::MAX as u32).map_err(|e| self.bad_value(word, &e))
    }
    /// A time in milliseconds; a bare number counts in `unit`.
    pub(super) fn time_ms(&mut self, unit: Unit) -> Result<u32, Said> {
        let what = match unit {
            Unit::Ms => "an integer value (in milliseconds)",
            _ => "an integer value (in seconds)",
        };
        let word = self.expect(what)?;
        value::time_ms(&word.bytes, unit).map_err(|e| self.bad_value(word, &e))
    }
    /// A size in bytes that fits a `u32`.
    pub(super) fn size(&mut self, least: u32) -> Result<u32, Said> {
        let word = self.expect("a size in bytes")?;
        let bytes = value::size(&word.bytes).map_err(|e| self.bad_value(word, &e))?;
        u32::try_from(bytes)
            .ok()
            .filter(|&n| n >= least && n <= i32::MAX as u32)
            .ok_or(())
            .map_err(|()| {
                let text = format!(
                    "'{}' expects a size between {least} and {} (got '{}').",
                    self.name,
                    i32::MAX,
                    word.text()
                );
                self.fail(word.span, text)
            })
    }
    /// Says what is wrong with the value in `word`.
    pub(super) fn bad_value(&mut self, word: &Word, error: &value::ValueError) -> Said {
        let text = error.message(&word.text(), self.name) + ".";
        self.fail(
            word.part(error.at, word.bytes.len() - error.at.min(word.bytes.len())),
            text,
        )
    }
}
