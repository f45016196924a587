//! What is said about a configuration: alerts, warnings, notices, each with its place and remedy.

use super::source::Span;

/// Severity, in haproxy's words as printed in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `-dD` diagnostics only.
    Diag,
    Notice,
    Warning,
    /// An error: the configuration is refused.
    Alert,
}

/// One message. `text` is what follows `parsing [file:line] : ` on haproxy's first line.
#[derive(Clone, Debug)]
pub struct Diag {
    pub severity: Severity,
    /// `None` where no line is to blame.
    pub span: Option<Span>,
    pub text: String,
    /// What to do about it, printed below the excerpt.
    pub help: Option<String>,
}

/// Collects every message of one run, in order.
#[derive(Debug, Default, Clone)]
pub struct Diags {
    pub list: Vec<Diag>,
}

impl Diags {
    pub fn push(
        &mut self,
        severity: Severity,
        span: Option<Span>,
        text: impl Into<String>,
    ) -> &mut Diag {
        self.list.push(Diag {
            severity,
            span,
            text: text.into(),
            help: None,
        });
        self.list.last_mut().expect("just pushed")
    }
    pub fn alert(&mut self, span: Span, text: impl Into<String>) -> &mut Diag {
        self.push(Severity::Alert, Some(span), text)
    }
    pub fn warning(&mut self, span: Span, text: impl Into<String>) -> &mut Diag {
        self.push(Severity::Warning, Some(span), text)
    }
    pub fn notice(&mut self, span: Span, text: impl Into<String>) -> &mut Diag {
        self.push(Severity::Notice, Some(span), text)
    }
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Alert)
    }
}

impl Diag {
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }
}
