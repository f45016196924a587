//! ACLs and conditions (configuration.txt 7.1, 7.2).

use std::sync::Arc;

use super::expr::{Cx, Fault, Needs, Settle};
use super::lexer::Word;
use super::sample::Arena;
use super::subject::Subject;

/// What a test found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Fails,
    /// Not known before more data came (`inspect-delay`), a body is at hand or a password was verified.
    Later,
}

/// One line of an ACL: a criterion, flags and patterns.
#[derive(Clone, Debug)]
pub struct Test {}

impl Test {
    /// Reads `<criterion> [flags] [operator] <pattern>…`.
    ///
    /// # Errors
    /// haproxy's message about the first mistake.
    pub fn parse(words: &[Word], _cx: &mut Cx<'_>) -> Result<Self, Fault> {
        Err(Fault::later(words[0].span, words[0].text()))
    }
}

/// The ACLs of one proxy, in order of the file: several lines of one name are joined by "or".
#[derive(Clone, Debug, Default)]
pub struct Acls {
    pub lines: Vec<(String, Arc<Test>)>,
}

/// What follows `if` or `unless`. Names of ACLs stay names until [`Condition::settle`]: lines further down may add
/// to them.
#[derive(Clone, Debug)]
pub struct Condition {}

impl Condition {
    /// Reads `if|unless <terms>…`; `acls` are those declared so far, for messages about unknown names.
    ///
    /// # Errors
    /// haproxy's message about the first mistake.
    pub fn parse(words: &[Word], _acls: &Acls, _cx: &mut Cx<'_>) -> Result<Self, Fault> {
        Err(Fault::later(words[0].span, words[0].text()))
    }
    /// Puts the tests of all lines of each named ACL into place, and settles their references.
    ///
    /// # Errors
    /// haproxy's message about a name that does not exist.
    pub fn settle(&mut self, _acls: &Acls, _names: &dyn Settle) -> Result<(), String> {
        Ok(())
    }
    pub fn needs(&self) -> Needs {
        Needs::default()
    }
    pub fn holds(&self, _subject: &dyn Subject, _arena: &Arena) -> Verdict {
        Verdict::Fails
    }
}
