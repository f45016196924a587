//! Log formats: text with `%aliases` and `%[expressions]` (configuration.txt 8.2.4), used for log lines, headers,
//! paths, variables and replies.

use super::expr::{Cx, Fault, Needs, Settle};
use super::lexer::Word;
use super::sample::Arena;
use super::source::Span;
use super::subject::Subject;

/// One compiled format.
#[derive(Clone, Debug, Default)]
pub struct LogFormat {}

impl LogFormat {
    /// Reads the text of a format. `span` is where it is written.
    ///
    /// # Errors
    /// haproxy's message about the first mistake.
    pub fn parse(word: &Word, _cx: &mut Cx<'_>) -> Result<Self, Fault> {
        Self::parse_text(&word.bytes, word.span)
    }
    fn parse_text(text: &[u8], span: Span) -> Result<Self, Fault> {
        Err(Fault::later(span, String::from_utf8_lossy(text)))
    }
    pub fn needs(&self) -> Needs {
        Needs::default()
    }
    /// Settles references to names.
    ///
    /// # Errors
    /// haproxy's message about a name that does not exist.
    pub fn settle(&mut self, _names: &dyn Settle) -> Result<(), String> {
        Ok(())
    }
    /// Appends what the format gives for `subject`.
    pub fn render(&self, _subject: &dyn Subject, _arena: &Arena, _out: &mut Vec<u8>) {}
    /// The text itself if it needs no evaluation.
    pub fn literal(&self) -> Option<&[u8]> {
        None
    }
}
