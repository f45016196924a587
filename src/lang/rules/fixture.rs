//! What the tests of rules share: words of a line, a request to ask.

use std::path::Path;

use super::{Rule, RuleSet, Section};
use crate::lang::acl::Acls;
use crate::lang::cond::Predicates;
use crate::lang::diag::Diags;
use crate::lang::env::Env;
use crate::lang::expr::{Cx, Fault, VarNames};
use crate::lang::lexer::{Word, read_lines};
use crate::lang::source::{Sources, Span};
use crate::lang::subject::Subject;
use crate::proto::http::Head;

pub(super) fn words(line: &str) -> Vec<Word> {
    let mut sources = Sources::default();
    let id = sources.add("test.cfg", format!("{line}\n").as_bytes());
    let (mut env, mut diags) = (Env::default(), Diags::default());
    let lines = read_lines(&sources, id, &mut env, &Predicates::default(), &mut diags);
    assert!(!diags.has_errors(), "{line}");
    lines.into_iter().next().map_or_else(Vec::new, |l| l.words)
}

pub(super) const FRONT: Section<'_> = Section {
    kind: "frontend",
    name: "x",
    front: true,
    back: false,
};
pub(super) const BACK: Section<'_> = Section {
    kind: "backend",
    name: "x",
    front: false,
    back: true,
};

/// Parses with a context of its own, also giving the warnings.
pub(super) fn with_cx<T>(read: impl FnOnce(&mut Cx<'_>) -> T) -> (T, Vec<String>) {
    let mut vars = VarNames::default();
    let file = |path: &Path| match path.to_str() {
        Some("page") => Ok(b"hello\n".to_vec()),
        Some("empty") => Ok(Vec::new()),
        _ => Err("No such file or directory".to_owned()),
    };
    let mut cx = Cx {
        vars: &mut vars,
        read: &file,
        resolve: &|_| None,
        warnings: Vec::new(),
        env: &|_| None,
    };
    let out = read(&mut cx);
    (out, cx.warnings.into_iter().map(|w| w.1).collect())
}

/// The rule behind the words that open a line of `set`.
pub(super) fn rule(set: RuleSet, section: &Section<'_>, line: &str) -> Result<Rule, Fault> {
    let words = words(line);
    let acls = Acls::default();
    let at = Span {
        file: crate::lang::source::FileId(0),
        line: 1,
        col: 0,
        len: 0,
    };
    with_cx(|cx| Rule::parse(set, &words, at, section, &acls, cx)).0
}

/// A stream that knows its request only.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) request: Head,
}

impl Subject for Asked {
    fn request(&self) -> Option<&Head> {
        Some(&self.request)
    }
}

/// `GET / | host: x` as a head.
pub(super) fn head(text: &str) -> Head {
    let mut out = Head::default();
    for (at, part) in text.split(" | ").enumerate() {
        if at == 0 {
            let (method, target) = part.split_once(' ').expect("a method and a target");
            out.set_method(method.as_bytes());
            out.set_target(target.as_bytes());
        } else {
            let (name, value) = part.split_once(':').expect("a colon");
            out.push(name.as_bytes(), value.trim().as_bytes());
        }
    }
    out
}

/// The reverse of [`head`].
pub(super) fn shown(head: &Head) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut out = format!("{} {}", text(head.method()), text(head.target()));
    for (name, value) in head.fields() {
        out += &format!(" | {}: {}", text(name), text(value));
    }
    out
}
