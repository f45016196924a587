//! Many conditions answered by one look-up: the first of a list that holds, as `use_backend` lines ask for it.

use std::collections::HashMap;

use super::{Condition, Test, Verdict};
use crate::lang::pattern::{Method, Prefixes};
use crate::lang::sample::{Arena, Value};
use crate::lang::subject::Subject;

/// Runs shorter than this are evaluated one by one.
const WORTH_IT: usize = 4;

/// What evaluating the conditions one after the other would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The first that holds, by its place in the list.
    Holds(usize),
    /// None does.
    None,
    /// This one is not decided yet, and none before it holds.
    Later(usize),
}

/// A list of conditions. Runs of tests for whole texts or beginnings of the same sample are indexed, the others are
/// evaluated as they are.
#[derive(Clone, Debug, Default)]
pub struct SwitchIndex {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    /// `None`: no condition, which always holds.
    One(usize, Option<Condition>),
    /// Samples, each with its patterns, of conditions side by side.
    Indexed(Vec<Group>),
}

/// All patterns for one sample in a run; each gives the first condition it stands in.
#[derive(Clone, Debug)]
struct Group {
    test: Test,
    ignore_case: bool,
    /// Conditions of the group in order: places and whether one is met is told by the table.
    places: Vec<usize>,
    table: Table,
}

#[derive(Clone, Debug)]
enum Table {
    Exact(HashMap<Box<[u8]>, usize>),
    Begin(Prefixes<usize>),
}

/// The tests of one condition, where all of them look at the same sample in the same way.
struct Candidate<'c> {
    tests: Vec<&'c Test>,
}

impl SwitchIndex {
    pub fn new<'c>(conditions: impl IntoIterator<Item = Option<&'c Condition>>) -> Self {
        let mut steps = Vec::new();
        let mut run: Vec<(usize, &Condition, Candidate<'c>)> = Vec::new();
        for (place, condition) in conditions.into_iter().enumerate() {
            match condition.and_then(|c| Some((c, Candidate::of(c)?))) {
                Some((condition, candidate)) => run.push((place, condition, candidate)),
                None => {
                    flush(&mut run, &mut steps);
                    steps.push(Step::One(place, condition.cloned()));
                }
            }
        }
        flush(&mut run, &mut steps);
        Self { steps }
    }

    pub fn first(&self, subject: &dyn Subject, arena: &Arena) -> First {
        for step in &self.steps {
            let found = match step {
                Step::One(place, None) => First::Holds(*place),
                Step::One(place, Some(condition)) => match condition.holds(subject, arena) {
                    Verdict::Holds => First::Holds(*place),
                    Verdict::Later => First::Later(*place),
                    Verdict::Fails => First::None,
                },
                Step::Indexed(groups) => groups
                    .iter()
                    .map(|group| group.first(subject, arena))
                    .fold(First::None, First::earlier),
            };
            if found != First::None {
                return found;
            }
        }
        First::None
    }
}

impl First {
    fn earlier(self, other: Self) -> Self {
        let place = |first: Self| match first {
            Self::Holds(place) | Self::Later(place) => place,
            Self::None => usize::MAX,
        };
        if place(other) < place(self) {
            other
        } else {
            self
        }
    }
}

fn flush<'c>(run: &mut Vec<(usize, &'c Condition, Candidate<'c>)>, steps: &mut Vec<Step>) {
    if run.len() < WORTH_IT {
        let one = |(place, condition, _): (usize, &Condition, _)| {
            Step::One(place, Some(condition.clone()))
        };
        steps.extend(run.drain(..).map(one));
        return;
    }
    type Patterns = Vec<(Box<[u8]>, usize)>;
    let mut groups: Vec<(&Test, Vec<usize>, Patterns)> = Vec::new();
    for (place, _, candidate) in run.drain(..) {
        let first = candidate.tests[0];
        let at = groups.iter().position(|(test, ..)| alike(test, first));
        let at = at.unwrap_or_else(|| {
            groups.push((first, Vec::new(), Vec::new()));
            groups.len() - 1
        });
        let (_, places, patterns) = &mut groups[at];
        places.push(place);
        for test in candidate.tests {
            let held = test.patterns();
            let texts = held.texts().into_iter().flatten();
            patterns.extend(texts.map(|text| (Box::from(text), place)));
        }
    }
    let groups = groups.into_iter().map(|(test, places, patterns)| Group {
        test: test.clone(),
        ignore_case: test.live.ignore_case,
        places,
        table: if test.live.method == Method::Beg {
            Table::Begin(patterns.into_iter().collect())
        } else {
            let mut table = HashMap::new();
            for (text, place) in patterns {
                table.entry(text).or_insert(place);
            }
            Table::Exact(table)
        },
    });
    steps.push(Step::Indexed(groups.collect()));
}

/// Whether two tests look at the same sample in the same way.
fn alike(a: &Test, b: &Test) -> bool {
    a.expr.text() == b.expr.text()
        && a.live.method == b.live.method
        && a.live.ignore_case == b.live.ignore_case
}

impl<'c> Candidate<'c> {
    /// An alternative of plain tests on one sample, evaluating which changes nothing.
    fn of(condition: &'c Condition) -> Option<Self> {
        if condition.negated || condition.any.is_empty() {
            return None;
        }
        let mut tests: Vec<&Test> = Vec::new();
        for group in &condition.any {
            let [term] = &**group else { return None };
            if term.negated {
                return None;
            }
            tests.extend(term.tests.iter().map(|test| &**test));
        }
        let first = *tests.first()?;
        let usable = |test: &&Test| {
            alike(first, test) && test.patterns().texts().is_some() && !test.expr.has_effects()
        };
        tests.iter().all(usable).then_some(Self { tests })
    }
}

impl Group {
    fn first(&self, subject: &dyn Subject, arena: &Arena) -> First {
        let mut hit: Option<usize> = None;
        self.test.expr.eval_each(subject, arena, &mut |value| {
            if let Some(place) = self.look_up(value, arena) {
                hit = Some(hit.map_or(place, |before| before.min(place)));
            }
            true
        });
        let later = self
            .test
            .expr
            .waits(subject)
            .then(|| self.undecided(hit))
            .flatten();
        match (hit, later) {
            (hit, Some(later)) if hit.is_none_or(|hit| later < hit) => First::Later(later),
            (Some(hit), _) => First::Holds(hit),
            (None, _) => First::None,
        }
    }

    fn look_up(&self, value: Value<'_>, arena: &Arena) -> Option<usize> {
        let text = value.text(arena);
        let folded;
        let text = if self.ignore_case {
            let copy = arena.alloc_slice_copy(text);
            copy.make_ascii_lowercase();
            folded = &*copy;
            folded
        } else {
            text
        };
        match &self.table {
            Table::Exact(table) => table.get(text).copied(),
            Table::Begin(prefixes) => prefixes.find(text),
        }
    }

    /// The first condition that fails only for now: any before the one that holds.
    fn undecided(&self, hit: Option<usize>) -> Option<usize> {
        let first = *self.places.first()?;
        (hit != Some(first)).then_some(first)
    }
}
