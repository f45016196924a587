//! Patterns that change while they are matched (`add acl`, `commit acl`; management.txt 9.3).
//!
//! What haproxy calls a pattern reference is a [`List`]: a file with patterns, whoever names it, or the patterns
//! written in one test. A test matches against a set made of the present versions of its lists. Whoever changes a
//! list makes the sets anew and swaps them in; who matches takes the set that is there and waits for nobody.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::lang::pattern::{Builder, Method, Patterns};
use crate::lang::sample::{Arena, Value};
use crate::lang::source::{Sources, Span};

/// The patterns of one test.
#[derive(Debug)]
pub struct Live {
    pub method: Method,
    pub ignore_case: bool,
    /// Its lists, by place in [`Lists`]: files first.
    lists: Vec<usize>,
    patterns: ArcSwap<Patterns>,
}

impl Live {
    pub(super) fn new(patterns: Patterns, lists: Vec<usize>) -> Arc<Self> {
        Arc::new(Self {
            method: patterns.method(),
            ignore_case: patterns.ignore_case(),
            lists,
            patterns: ArcSwap::from_pointee(patterns),
        })
    }

    /// The first pattern in force that a sample matches.
    pub(super) fn first_hit(
        &self,
        lists: &Lists,
        value: Value<'_>,
        arena: &Arena,
    ) -> Option<Box<[u8]>> {
        let lists = self.lists.iter().filter_map(|&at| lists.all.get(at));
        lists.into_iter().find_map(|list| {
            let state = list.state();
            let hit = state.of(state.current).find(|entry| {
                let mut builder = Builder::new(self.method, self.ignore_case);
                entry.add_to(&mut builder).is_ok() && builder.build().matches(value, arena)
            });
            hit.map(|entry| {
                let operator = entry.operator.as_bytes();
                let space: &[u8] = if operator.is_empty() { b"" } else { b" " };
                [operator, space, &entry.text].concat().into()
            })
        })
    }

    /// The patterns in force as they were written, each with its comparison word.
    pub(super) fn texts(&self, lists: &Lists) -> Vec<String> {
        let lists = self.lists.iter().filter_map(|&at| lists.all.get(at));
        let mut out = Vec::new();
        for list in lists {
            let state = list.state();
            let entries = state.of(state.current);
            out.extend(entries.map(|entry| {
                let text = String::from_utf8_lossy(&entry.text);
                format!("{} {text}", entry.operator).trim_start().to_owned()
            }));
        }
        out
    }

    /// The set in force.
    pub fn patterns(&self) -> arc_swap::Guard<Arc<Patterns>> {
        self.patterns.load()
    }
}

/// One pattern as it was written.
#[derive(Clone, Debug)]
pub struct Entry {
    pub version: u32,
    /// Tells it from all others of its list, over all times.
    pub number: u64,
    pub text: Box<[u8]>,
    /// Comparison word before it.
    pub operator: String,
    /// What its name stood for when the file was read.
    pub resolved: Option<IpAddr>,
}

impl Entry {
    pub(super) fn new(text: &[u8], operator: &str, resolved: Option<IpAddr>) -> Self {
        Self {
            version: 0,
            number: 0,
            text: text.into(),
            operator: operator.to_owned(),
            resolved,
        }
    }

    fn add_to(&self, builder: &mut Builder) -> Result<(), String> {
        builder.add(&self.text, &self.operator, &|_| self.resolved)
    }
}

/// A file's patterns, or those of one test.
#[derive(Debug)]
pub struct List {
    /// By which commands name it.
    pub id: u32,
    forced: bool,
    pub file: Option<String>,
    /// Criterion of the test, for lists that are in no file.
    pub keyword: String,
    spans: Vec<Span>,
    /// File and line of each use.
    pub uses: Vec<(String, u32)>,
    /// The tests that match against it.
    pub tests: Vec<Arc<Live>>,
    state: Mutex<State>,
}

/// The versions of a list.
#[derive(Debug, Default)]
pub struct State {
    /// The one in force, and the last one prepared.
    pub current: u32,
    pub next: u32,
    pub entries: Vec<Entry>,
    last: u64,
}

impl State {
    pub fn of(&self, version: u32) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |e| e.version == version)
    }

    pub fn push(&mut self, version: u32, text: &[u8]) {
        self.last += 1;
        self.entries.push(Entry {
            version,
            number: self.last,
            ..Entry::new(text, "", None)
        });
    }
}

/// All lists of a configuration.
#[derive(Debug, Default)]
pub struct Lists {
    pub all: Vec<List>,
    /// Raised when a set was swapped.
    version: AtomicU64,
}

impl Lists {
    /// The list of a file, read once; another test uses it from now on.
    pub(super) fn file(&mut self, name: &str, entries: Vec<Entry>, span: Span) -> usize {
        match self
            .all
            .iter()
            .position(|l| l.file.as_deref() == Some(name))
        {
            Some(at) => {
                self.all[at].spans.push(span);
                at
            }
            None => self.add(None, Some(name.to_owned()), String::new(), entries, span),
        }
    }

    /// The list of what one test says itself.
    pub(super) fn written(
        &mut self,
        id: Option<u32>,
        keyword: &str,
        entries: Vec<Entry>,
        span: Span,
    ) -> usize {
        self.add(id, None, keyword.to_owned(), entries, span)
    }

    fn add(
        &mut self,
        id: Option<u32>,
        file: Option<String>,
        keyword: String,
        mut entries: Vec<Entry>,
        span: Span,
    ) -> usize {
        let mut last = 0;
        for entry in &mut entries {
            last += 1;
            entry.number = last;
        }
        self.all.push(List {
            id: id.unwrap_or(0),
            forced: id.is_some(),
            file,
            keyword,
            spans: vec![span],
            uses: Vec::new(),
            tests: Vec::new(),
            state: Mutex::new(State {
                entries,
                last,
                ..State::default()
            }),
        });
        self.all.len() - 1
    }

    pub(super) fn note(&mut self, live: &Arc<Live>) {
        for &at in &live.lists {
            self.all[at].tests.push(Arc::clone(live));
        }
    }

    /// Once all is read: numbers for the lists, in order of the file, and names for their places.
    pub fn finish(&mut self, sources: &Sources) {
        let forced: Vec<u32> = self.all.iter().filter(|l| l.forced).map(|l| l.id).collect();
        let mut free = (0..).filter(|id| !forced.contains(id));
        for list in &mut self.all {
            if !list.forced {
                list.id = free.next().expect("there are more numbers than lists");
            }
            let name = |span: &Span| {
                let file = sources.get(span.file);
                (file.map_or_else(String::new, |f| f.name.clone()), span.line)
            };
            list.uses = list.spans.iter().map(name).collect();
        }
        self.all.shrink_to_fit();
    }

    /// How often a set was swapped.
    pub fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// Makes the sets of a list's tests anew and puts them in force. Its lock must not be held.
    pub fn publish(&self, list: &List) {
        for live in &list.tests {
            let mut builder = Builder::new(live.method, live.ignore_case);
            for &at in &live.lists {
                let state = self.all[at].state();
                for entry in state.of(state.current) {
                    // It was read once before it came into the list.
                    let _ = entry.add_to(&mut builder);
                }
            }
            live.patterns.store(Arc::new(builder.build()));
        }
        self.version.fetch_add(1, AcqRel);
    }
}

impl List {
    /// For the control thread alone; nobody who matches asks for it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all its tests can read a pattern.
    ///
    /// # Errors
    /// haproxy's message.
    pub fn check(&self, text: &[u8]) -> Result<(), String> {
        for live in &self.tests {
            let mut builder = Builder::new(live.method, live.ignore_case);
            Entry::new(text, "", None).add_to(&mut builder)?;
        }
        Ok(())
    }

    /// The first pattern in force that a text matches, as one of its tests does it.
    pub fn find(&self, live: &Live, text: &[u8]) -> Option<Box<[u8]>> {
        let arena = Arena::new();
        let state = self.state();
        let hit = state.of(state.current).find(|entry| {
            let mut builder = Builder::new(live.method, live.ignore_case);
            entry.add_to(&mut builder).is_ok() && builder.build().matches(Value::Str(text), &arena)
        });
        hit.map(|entry| entry.text.clone())
    }
}
