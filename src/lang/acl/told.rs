//! What a condition looked at, for whoever asks why: which tests it came to, with which samples, which patterns
//! matched, how each part was decided. Evaluated by the very functions that decide in service: they tell a
//! [`Watch`] on the way, which there is [`Unwatched`] and costs nothing.

use super::{Condition, Lists, Test, Verdict};
use crate::lang::pattern::Method;
use crate::lang::sample::{Arena, Value};
use crate::lang::source::Span;
use crate::lang::subject::Subject;

/// Who is told what an evaluation does, in order: a group begins, a term of it, its tests, the samples of each.
pub(super) trait Watch {
    fn group(&mut self) {}
    fn term(&mut self, _name: Option<&str>, _negated: bool) {}
    fn test(&mut self, _test: &Test) {}
    fn value(&mut self, _test: &Test, _value: Value<'_>, _hit: bool, _arena: &Arena) {}
    fn test_done(&mut self, _verdict: Verdict) {}
    /// Its negation is in `verdict` already.
    fn term_done(&mut self, _verdict: Verdict) {}
}

/// Nobody.
pub(super) struct Unwatched;

impl Watch for Unwatched {}

/// A condition as it was evaluated. What did not need to be looked at is not in it.
#[derive(Clone, Debug)]
pub struct Told {
    pub verdict: Verdict,
    /// `unless`: the verdict is the contrary of what the terms say.
    pub unless: bool,
    /// Where it stands: the word `if` or `unless`.
    pub span: Option<Span>,
    /// Alternatives, each of terms that must all hold.
    pub groups: Vec<Vec<TermTold>>,
}

/// An ACL by its name, or an anonymous one.
#[derive(Clone, Debug)]
pub struct TermTold {
    pub name: Option<String>,
    pub negated: bool,
    /// With its negation.
    pub verdict: Verdict,
    pub tests: Vec<TestTold>,
}

/// One line of an ACL.
#[derive(Clone, Debug)]
pub struct TestTold {
    /// The sample expression as written.
    pub criterion: String,
    /// `str`, `beg`, …
    pub method: String,
    pub verdict: Verdict,
    pub values: Vec<ValueTold>,
}

/// One sample: some expressions give several.
#[derive(Clone, Debug)]
pub struct ValueTold {
    pub text: String,
    pub hit: bool,
    /// The first pattern that it matches, where patterns are compared at all.
    pub pattern: Option<String>,
}

impl Condition {
    /// [`Condition::holds`], and what it looked at on the way. `lists` are those of its configuration.
    pub fn told(&self, subject: &dyn Subject, arena: &Arena, lists: &Lists) -> Told {
        let mut recorder = Recorder {
            lists,
            groups: Vec::new(),
        };
        let verdict = self.decide(subject, arena, &mut recorder);
        Told {
            verdict,
            unless: self.negated,
            span: self.span,
            groups: recorder.groups,
        }
    }
}

struct Recorder<'a> {
    lists: &'a Lists,
    groups: Vec<Vec<TermTold>>,
}

impl Recorder<'_> {
    fn last(&mut self) -> Option<&mut TermTold> {
        self.groups.last_mut()?.last_mut()
    }
}

impl Watch for Recorder<'_> {
    fn group(&mut self) {
        self.groups.push(Vec::new());
    }
    fn term(&mut self, name: Option<&str>, negated: bool) {
        let term = TermTold {
            name: name.map(str::to_owned),
            negated,
            verdict: Verdict::Fails,
            tests: Vec::new(),
        };
        if let Some(group) = self.groups.last_mut() {
            group.push(term);
        }
    }
    fn test(&mut self, test: &Test) {
        let told = TestTold {
            criterion: test.expr.text().to_owned(),
            method: method_name(test.live.method),
            verdict: Verdict::Fails,
            values: Vec::new(),
        };
        if let Some(term) = self.last() {
            term.tests.push(told);
        }
    }
    fn value(&mut self, test: &Test, value: Value<'_>, hit: bool, arena: &Arena) {
        let compares = !matches!(
            test.live.method,
            Method::Found | Method::Bool | Method::Group
        );
        let pattern = (hit && compares)
            .then(|| test.live.first_hit(self.lists, value, arena))
            .flatten();
        let told = ValueTold {
            text: shown(value, arena),
            hit,
            pattern: pattern.map(|text| String::from_utf8_lossy(&text).into_owned()),
        };
        if let Some(test) = self.last().and_then(|term| term.tests.last_mut()) {
            test.values.push(told);
        }
    }
    fn test_done(&mut self, verdict: Verdict) {
        if let Some(test) = self.last().and_then(|term| term.tests.last_mut()) {
            test.verdict = verdict;
        }
    }
    fn term_done(&mut self, verdict: Verdict) {
        if let Some(term) = self.last() {
            term.verdict = verdict;
        }
    }
}

fn method_name(method: Method) -> String {
    let known = Method::NAMES.iter().find(|(_, of)| *of == method);
    known.map_or_else(
        || match method {
            Method::Verb => "method".to_owned(),
            other => format!("{other:?}").to_ascii_lowercase(),
        },
        |(name, _)| (*name).to_owned(),
    )
}

/// A sample as people read it: text as it is, binary in hexadecimal.
pub fn shown<'a>(value: Value<'a>, arena: &'a Arena) -> String {
    match value {
        Value::Bool(yes) => if yes { "true" } else { "false" }.to_owned(),
        Value::Bin(bytes) if std::str::from_utf8(bytes).is_err() => {
            let digits = bytes.iter().take(64).map(|b| format!("{b:02x}"));
            format!("0x{}", digits.collect::<String>())
        }
        other => String::from_utf8_lossy(other.text(arena)).into_owned(),
    }
}

impl Condition {
    /// What it asks, whatever its ACLs are called and in whichever order their lines and patterns stand: equal for
    /// conditions that always agree because they are made of the same tests.
    pub fn meaning(&self, lists: &Lists) -> String {
        let groups = self.any.iter().map(|group| {
            let terms = group.iter().map(|term| {
                let mut tests: Vec<String> = term.tests.iter().map(|t| t.meaning(lists)).collect();
                tests.sort();
                tests.dedup();
                let not = if term.negated { "!" } else { "" };
                format!("{not}{{ {} }}", tests.join(" | "))
            });
            terms.collect::<Vec<_>>().join(" ")
        });
        let word = if self.negated { "unless" } else { "if" };
        format!("{word} {}", groups.collect::<Vec<_>>().join(" or "))
    }
}

impl Test {
    fn meaning(&self, lists: &Lists) -> String {
        let case = if self.live.ignore_case { " -i" } else { "" };
        let method = method_name(self.live.method);
        let mut patterns = self.live.texts(lists);
        patterns.sort();
        patterns.dedup();
        format!(
            "{} -m {method}{case} {}",
            self.expr.text(),
            patterns.join(" ")
        )
    }
}
