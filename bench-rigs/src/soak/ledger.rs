//! What each side saw of each request, by its number.

use super::plan::{Act, Plan, acts};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Of an entry of client or log: the status is in the bits below.
const STATUS: u16 = 0x03ff;
/// Client: the whole answer came.
const WHOLE: u16 = 0x0400;
/// Origin: may come twice; the count is in the bits below.
const REPEATABLE: u8 = 0x80;
/// Log: one line.
const LINE: u16 = 0x0400;
/// Failures that are told in words.
const TOLD: usize = 10;

#[derive(Debug)]
pub(super) struct Ledger {
    plans: Vec<AtomicU8>,
    clients: Vec<AtomicU16>,
    origins: Vec<AtomicU8>,
    logs: Vec<AtomicU16>,
    next: AtomicUsize,
    /// Answers that belong to another request, connections that stand still: wrong whatever was planned.
    faults: Mutex<Vec<String>>,
    fault_count: AtomicUsize,
    lines: Mutex<Lines>,
}

/// Log lines, counted.
#[derive(Debug, Default, Clone)]
pub(super) struct Lines {
    pub(super) total: usize,
    /// By termination state and status.
    pub(super) by_end: BTreeMap<(String, u16), usize>,
    /// Those of no request, likewise.
    pub(super) bad: BTreeMap<(String, u16), usize>,
    /// Those that were not understood.
    pub(super) odd: usize,
}

impl Lines {
    /// Lines with a status of this hundred.
    pub(super) fn of_class(&self, class: u16) -> usize {
        self.count(|_, status| status / 100 == class)
    }

    pub(super) fn count(&self, wanted: impl Fn(&str, u16) -> bool) -> usize {
        counted(&self.by_end, wanted)
    }

    /// Lines of requests that ended so.
    pub(super) fn ended(&self, wanted: impl Fn(&str) -> bool) -> usize {
        counted(&self.by_end, |end, _| wanted(end)) - counted(&self.bad, |end, _| wanted(end))
    }
}

fn counted(lines: &BTreeMap<(String, u16), usize>, wanted: impl Fn(&str, u16) -> bool) -> usize {
    lines
        .iter()
        .filter(|((end, status), _)| wanted(end, *status))
        .map(|(_, count)| count)
        .sum()
}

impl Ledger {
    pub(super) fn new(requests: usize) -> Self {
        Self {
            plans: (0..requests).map(|_| AtomicU8::new(0)).collect(),
            clients: (0..requests).map(|_| AtomicU16::new(0)).collect(),
            origins: (0..requests).map(|_| AtomicU8::new(0)).collect(),
            logs: (0..requests).map(|_| AtomicU16::new(0)).collect(),
            next: AtomicUsize::new(0),
            faults: Mutex::default(),
            fault_count: AtomicUsize::new(0),
            lines: Mutex::default(),
        }
    }

    /// The number of the next request; none when all were handed out.
    pub(super) fn take(&self) -> Option<usize> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        (id < self.plans.len()).then_some(id)
    }

    pub(super) fn taken(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(self.plans.len())
    }

    pub(super) fn planned(&self, id: usize, plan: Plan) {
        self.plans[id].store(plan.code(), Ordering::Relaxed);
    }

    pub(super) fn answered(&self, id: usize, status: u16, whole: bool) {
        let entry = (status & STATUS) | if whole { WHOLE } else { 0 };
        self.clients[id].store(entry, Ordering::Relaxed);
    }

    /// A request came to the origin. `repeatable` is one without a body that gets no answer at all: over a kept
    /// connection that looks as if it had been closed before, and the request may be sent again (RFC 9112, 9.3.1).
    pub(super) fn at_origin(&self, id: usize, repeatable: bool) {
        if let Some(entry) = self.origins.get(id) {
            entry.fetch_add(1, Ordering::Relaxed);
            if repeatable {
                entry.fetch_or(REPEATABLE, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn fault(&self, what: String) {
        self.fault_count.fetch_add(1, Ordering::Relaxed);
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.len() < TOLD {
            faults.push(what);
        }
    }

    pub(super) fn lines(&self) -> Lines {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A line of the log: `STATUS END PATH` after the first `]: `.
    pub(super) fn logged(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let said = line.split_once("]: ").map_or("", |(_, said)| said);
        let mut words = said.split_ascii_whitespace();
        let (Some(status), Some(end), Some(path)) = (words.next(), words.next(), words.next())
        else {
            lines.odd += 1;
            return;
        };
        // haproxy writes -1 where no answer was sent.
        let status = status.parse::<u16>().unwrap_or(0) & STATUS;
        lines.total += 1;
        *lines.by_end.entry((end.to_owned(), status)).or_default() += 1;
        match id_of(path).and_then(|id| self.logs.get(id)) {
            Some(entry) => {
                let was = entry.load(Ordering::Relaxed);
                let lines_of_it = (was / LINE + 1).min(60);
                entry.store((lines_of_it * LINE) | status, Ordering::Relaxed);
            }
            None if path == "<BADREQ>" => {
                *lines.bad.entry((end.to_owned(), status)).or_default() += 1;
            }
            None => lines.odd += 1,
        }
    }

    /// All requests, each with what is known of it.
    fn entries(&self) -> impl Iterator<Item = Entry> {
        let read = |id: usize| {
            let load = |entry: &AtomicU16| entry.load(Ordering::Relaxed);
            let (client, log) = (load(&self.clients[id]), load(&self.logs[id]));
            let origin = self.origins[id].load(Ordering::Relaxed);
            Entry {
                id,
                plan: Plan::of_code(self.plans[id].load(Ordering::Relaxed)),
                answer: client & STATUS,
                whole: client & WHOLE != 0,
                at_origin: origin & !REPEATABLE,
                repeatable: origin & REPEATABLE != 0,
                lines: log / LINE,
                logged: log & STATUS,
            }
        };
        (0..self.taken()).map(read)
    }

    /// How often the request and its parts were seen, by what the client did.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
            "client", "sent", "whole", "cut", "nothing", "logged", "origin"
        );
        let empty = || [0_usize; 6];
        let mut rows: Vec<(Act, [usize; 6])> = acts().map(|act| (act, empty())).collect();
        for entry in self.entries() {
            let Some(row) = rows
                .iter_mut()
                .find(|(act, _)| entry.plan.is_some_and(|(planned, _)| planned == *act))
            else {
                continue;
            };
            for (cell, counts) in row.1.iter_mut().zip([
                true,
                entry.whole,
                entry.answer != 0 && !entry.whole,
                entry.answer == 0,
                entry.lines > 0,
                entry.at_origin > 0,
            ]) {
                *cell += usize::from(counts);
            }
        }
        let mut sum = empty();
        for (_, row) in &rows {
            sum.iter_mut().zip(row).for_each(|(sum, cell)| *sum += cell);
        }
        let named = rows.iter().map(|(act, row)| (format!("{act:?}"), row));
        for (name, row) in named.chain([("all".to_owned(), &sum)]) {
            let _infallible = write!(text, "{name:<16}");
            for cell in row {
                let _infallible = write!(text, "{cell:>10}");
            }
            text.push('\n');
        }
        text
    }

    /// Counts of what must not be, with the number and plan of the first of each.
    pub(super) fn contradictions(&self) -> Vec<(&'static str, usize, String)> {
        type Rule = (&'static str, fn(&Entry) -> bool);
        const RULES: [Rule; 9] = [
            ("requests answered but not logged", |it| {
                it.answer != 0 && it.lines == 0
            }),
            ("requests logged more than once", |it| it.lines > 1),
            ("answers with another status than the log's", |it| {
                it.answer != 0 && it.lines == 1 && it.answer != it.logged
            }),
            ("requests at the origin again without need", |it| {
                it.at_origin > 1 + u8::from(it.repeatable)
            }),
            ("requests at the origin but not logged", |it| {
                it.at_origin > 0 && it.lines == 0
            }),
            (
                "requests logged with 200 or 404 but not at the origin",
                |it| matches!(it.logged, 200 | 404) && it.at_origin == 0,
            ),
            ("sound requests without their whole answer", |it| {
                it.is_sound() && !it.whole
            }),
            (
                "sound requests with a status that the origin did not send",
                |it| it.is_sound() && it.whole && it.wrong_status(),
            ),
            ("whole answers where the origin cut its own", |it| {
                it.cut_by_origin() && it.whole && it.answer == 200
            }),
        ];
        let found = RULES.iter().map(|(what, wrong)| {
            let mut first = String::new();
            let mut count = 0;
            for entry in self.entries().filter(wrong) {
                if count < 3 {
                    let _infallible = write!(first, "{entry:?} ");
                }
                count += 1;
            }
            (*what, count, first)
        });
        let mut all: Vec<_> = found.collect();
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((
            "answers that belong to no or another request, and hangs",
            self.fault_count.load(Ordering::Relaxed),
            faults.join("; "),
        ));
        all
    }

    pub(super) fn answers(&self) -> usize {
        self.entries().filter(|it| it.answer != 0).count()
    }

    /// Lines that name a request.
    pub(super) fn named_lines(&self) -> usize {
        self.entries().map(|it| usize::from(it.lines)).sum()
    }

    pub(super) fn origin_requests(&self) -> usize {
        self.entries().filter(|it| it.at_origin > 0).count()
    }

    /// Those that came to the origin once more.
    pub(super) fn repeats(&self) -> usize {
        self.entries()
            .map(|it| usize::from(it.at_origin.saturating_sub(1)))
            .sum()
    }

    /// Requests whose client did one of these.
    pub(super) fn did(&self, wanted: &[Act]) -> usize {
        let did = |it: &Entry| it.plan.is_some_and(|(act, _)| wanted.contains(&act));
        self.entries().filter(did).count()
    }
}

/// Of a path `/ID/…`.
pub(super) fn id_of(path: &str) -> Option<usize> {
    path.strip_prefix('/')?.split('/').next()?.parse().ok()
}

/// One request, as all saw it.
#[derive(Debug)]
#[allow(dead_code)] // all of it is shown by Debug
struct Entry {
    id: usize,
    plan: Option<(Act, super::plan::Part)>,
    answer: u16,
    whole: bool,
    at_origin: u8,
    repeatable: bool,
    lines: u16,
    logged: u16,
}

impl Entry {
    fn is_sound(&self) -> bool {
        let sound = |(act, part)| {
            Plan {
                act,
                part,
                bytes: 0,
                upload: 0,
            }
            .is_sound()
        };
        self.plan.is_some_and(sound)
    }

    fn wrong_status(&self) -> bool {
        use super::plan::Part;
        let wanted = match self.plan {
            Some((_, Part::NotFound)) => 404,
            Some((_, Part::Unavailable)) => 503,
            _ => 200,
        };
        self.answer != wanted
    }

    fn cut_by_origin(&self) -> bool {
        use super::plan::Part;
        self.plan
            .is_some_and(|(_, part)| matches!(part, Part::ShortBody | Part::ResetBody))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::plan::Part;

    #[test]
    fn a_request_that_all_saw_alike_contradicts_nothing() {
        let ledger = Ledger::new(2);
        let plan = Plan {
            act: Act::Plain,
            part: Part::Plain,
            bytes: 1,
            upload: 0,
        };
        for id in 0..2 {
            assert_eq!(ledger.take(), Some(id));
            ledger.planned(id, plan);
            ledger.at_origin(id, false);
            ledger.answered(id, 200, true);
        }
        ledger.logged("<134>Nov 21 03:00:00 haproxy[7]: 200 -- /0/a/1");
        let wrong = |ledger: &Ledger| {
            let all = ledger.contradictions().into_iter();
            all.filter(|(_, count, _)| *count > 0)
                .map(|(what, count, _)| (what, count))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            wrong(&ledger),
            [
                ("requests answered but not logged", 1),
                ("requests at the origin but not logged", 1)
            ]
        );
        ledger.logged("<134>Nov 21 03:00:00 haproxy[7]: 200 -- /1/a/1");
        assert_eq!(wrong(&ledger), []);
        assert_eq!(ledger.lines().of_class(2), 2);
        assert_eq!(ledger.take(), None);
    }

    #[test]
    fn lines_of_bad_requests_are_counted_apart() {
        let ledger = Ledger::new(1);
        ledger.logged("<134>x haproxy[7]: 400 PR <BADREQ>");
        ledger.logged("Proxy f started.");
        let lines = ledger.lines();
        assert_eq!(
            (lines.total, lines.bad[&("PR".to_owned(), 400)], lines.odd),
            (1, 1, 1)
        );
    }
}
