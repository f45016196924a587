//! Sample expressions: a fetch with arguments and converters behind it (configuration.txt 7.1 to 7.3).
//! Read once when the configuration is loaded, evaluated without allocating.

use std::path::Path;

use super::lexer::Word;
use super::sample::{Arena, Kind, Value};
use super::source::Span;
use super::subject::{ProxyRef, Scope, ServerRef, Subject, VarId};

/// What is wrong with an expression, a format or a rule, where, and what to do about it.
#[derive(Clone, Debug)]
pub struct Fault {
    pub span: Span,
    /// As haproxy says it, without the prefix of the keyword it stands in.
    pub text: String,
    pub help: Option<String>,
    /// haproxy knows it and we do not yet: the name that is refused.
    pub not_yet: Option<String>,
}

impl Fault {
    pub fn wrong(span: Span, text: impl Into<String>) -> Self {
        Self {
            span,
            text: text.into(),
            help: None,
            not_yet: None,
        }
    }
    /// Something of a later version, by its name.
    pub fn later(span: Span, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            span,
            text: format!("'{name}' is not supported yet."),
            help: None,
            not_yet: Some(name),
        }
    }
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Names of variables of one configuration; a [`VarId`] counts in it.
#[derive(Clone, Debug, Default)]
pub struct VarNames {
    pub names: Vec<String>,
}

impl VarNames {
    /// The number of `name`, given out at its first mention.
    pub fn id(&mut self, scope: Scope, name: &str) -> VarId {
        let at = self.names.iter().position(|n| n == name);
        let at = at.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        VarId {
            scope,
            name: at as u32,
        }
    }
}

/// What reading an expression needs to know. Names of proxies, servers and user lists may be declared further
/// down: references are kept by name and settled by [`Expr::settle`].
pub struct Cx<'a> {
    pub vars: &'a mut VarNames,
    /// A file that the configuration names (`-f`), relative names taken from `-C`.
    pub read: &'a dyn Fn(&Path) -> Result<Vec<u8>, String>,
    /// A host name in an address pattern.
    pub resolve: &'a dyn Fn(&str) -> Option<std::net::IpAddr>,
    /// Warnings met on the way: place, text, remedy.
    pub warnings: Vec<(Span, String, Option<String>)>,
    /// Environment for `env()`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl std::fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx")
            .field("vars", &self.vars)
            .finish_non_exhaustive()
    }
}

/// Settles names once all sections are known.
pub trait Settle {
    fn proxy(&self, name: &str) -> ProxyRef;
    /// `backend/server`, or a server of the proxy at hand.
    fn server(&self, name: &str) -> ServerRef;
    fn userlist(&self, name: &str) -> Option<u32>;
}

/// What must be at hand before an expression can be evaluated for good: a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Needs(pub u16);

impl Needs {
    /// Bytes from the client (layer 6).
    pub const REQUEST_BYTES: Self = Self(1);
    pub const REQUEST_HEAD: Self = Self(2);
    pub const REQUEST_BODY: Self = Self(4);
    pub const RESPONSE_BYTES: Self = Self(8);
    pub const RESPONSE_HEAD: Self = Self(16);
    pub const RESPONSE_BODY: Self = Self(32);
    /// The address the client connected to.
    pub const LOCAL_ADDRESS: Self = Self(64);
    /// A password that may take long to verify.
    pub const PASSWORD: Self = Self(128);
    /// Known only when the stream ends.
    pub const END: Self = Self(256);

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One expression, ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Expr {
    text: String,
}

impl Expr {
    /// Reads a whole word such as `hdr(host),lower`.
    ///
    /// # Errors
    /// haproxy's message about the first mistake, placed on the part of the word it is about.
    pub fn parse(word: &Word, _cx: &mut Cx<'_>) -> Result<Self, Fault> {
        Err(Fault::later(word.span, word.text()))
    }
    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Type of the result.
    pub fn kind(&self) -> Kind {
        Kind::Any
    }
    pub fn needs(&self) -> Needs {
        Needs::default()
    }
    /// Settles references to names; an error is haproxy's message.
    ///
    /// # Errors
    /// A proxy, server or user list of that name does not exist.
    pub fn settle(&mut self, _names: &dyn Settle) -> Result<(), String> {
        Ok(())
    }
    /// The sample, the last one where there are several. `None`: there is none.
    pub fn eval<'a>(&'a self, _subject: &'a dyn Subject, _arena: &'a Arena) -> Option<Value<'a>> {
        None
    }
}
