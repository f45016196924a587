//! What drivers did with one session and why, for `ringway explain`.
//!
//! A shard that serves has no trace ([`Local::trace`](super::Local::trace) is `None`): each place that tells one
//! something looks at that first. Everything here is said by the very code that decides, so that what is explained
//! is what runs.

use std::cell::RefCell;

use crate::backend::persist::Found;
use crate::backend::{Ask, Choice};
use crate::config::{BackendId, Config, ProxyId, ServerId};
use crate::lang::acl::told::shown;
use crate::lang::acl::{Condition, First, Told, Verdict};
use crate::lang::sample::{Arena, Owned};
use crate::lang::source::Span;
use crate::lang::subject::{Scope, Subject, VarId};
use crate::proto::http::Head;

/// What happened, in order.
#[derive(Debug, Default)]
pub struct Trace {
    events: RefCell<Vec<Event>>,
    /// The condition evaluated last, until the rule is told that it belongs to.
    pending: RefCell<Option<Told>>,
}

#[derive(Clone, Debug)]
pub enum Event {
    /// Rules of this proxy come next.
    Proxy(ProxyId),
    Rule(RuleTold),
    /// Something changed by an option, not by a rule.
    Changed {
        by: &'static str,
        effects: Vec<Effect>,
    },
    Note(String),
    /// Something of ours answers without a rule: `statistics`.
    Answered(&'static str),
    Backend {
        id: Option<BackendId>,
        why: Why,
    },
    /// What the request's cookie came to.
    Cookie {
        name: String,
        found: Found,
        server: Option<ServerId>,
    },
    Server(ServerTold),
    /// The request goes to the server.
    Sent,
    /// Cause, stage and, in HTTP, the cookie's two letters; the status that is logged.
    End {
        state: String,
        status: u16,
    },
}

/// One rule, or a line that asks a condition.
#[derive(Clone, Debug)]
pub struct RuleTold {
    pub span: Option<Span>,
    pub verdict: Verdict,
    /// `None`: it has none.
    pub condition: Option<Told>,
    pub effects: Vec<Effect>,
    /// What became of the evaluation after it.
    pub outcome: Option<&'static str>,
}

/// Something that is not as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// `header`, `variable`, `path`, …
    pub what: &'static str,
    /// Of what there are several: the header's name, the variable's.
    pub name: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// Why a backend was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// By this `use_backend` line.
    Rule(Span),
    /// By the name that this line worked out.
    Named(Span, String),
    /// The line worked out a name that no backend has.
    NoSuchName(Span, String),
    Default,
    /// Chosen while the session was a TCP one.
    Before,
    /// No line holds, and there is no default.
    Nothing,
}

/// The choice of a server.
#[derive(Clone, Debug)]
pub struct ServerTold {
    pub backend: BackendId,
    /// The server it was to go to whatever the algorithm says, and by whose word.
    pub named: Option<(ServerId, NamedBy)>,
    pub ask: Ask,
    /// Who could be chosen, with the weight.
    pub usable: Vec<(ServerId, u32)>,
    pub choice: Choice,
    /// The algorithm chose although a server was named.
    pub elsewhere: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    UseServer,
    Cookie,
    /// `option prefer-last-server`.
    Last,
}

impl Trace {
    /// All that was told so far.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.borrow_mut())
    }
    pub fn ended(&self) -> bool {
        let events = self.events.borrow();
        events.iter().any(|e| matches!(e, Event::End { .. }))
    }

    pub fn push(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }
    pub fn note(&self, text: impl Into<String>) {
        self.push(Event::Note(text.into()));
    }

    /// Evaluates a condition; [`Trace::rule`] says next whose it is.
    pub fn holds(
        &self,
        when: &Condition,
        subject: &dyn Subject,
        arena: &Arena,
        config: &Config,
    ) -> Verdict {
        let told = when.told(subject, arena, &config.lists);
        let verdict = told.verdict;
        *self.pending.borrow_mut() = Some(told);
        verdict
    }

    /// The rule at `span`, or else the one whose condition was just evaluated.
    pub fn rule(&self, span: Option<Span>, verdict: Verdict) {
        let condition = self.pending.borrow_mut().take();
        let span = span.or_else(|| condition.as_ref().and_then(|told| told.span));
        self.push(Event::Rule(RuleTold {
            span,
            verdict,
            condition,
            effects: Vec::new(),
            outcome: None,
        }));
    }

    /// What the rule told last did.
    pub fn did(&self, effects: Vec<Effect>, outcome: Option<&'static str>) {
        if let Some(Event::Rule(rule)) = self.events.borrow_mut().last_mut() {
            rule.effects.extend(effects);
            rule.outcome = rule.outcome.or(outcome);
        }
    }

    /// What an index over conditions would find, by evaluating them one after the other.
    pub fn first<'c>(
        &self,
        rules: impl IntoIterator<Item = (Option<&'c Condition>, Span)>,
        subject: &dyn Subject,
        arena: &Arena,
        config: &Config,
    ) -> First {
        for (at, (when, span)) in rules.into_iter().enumerate() {
            let verdict = when.map_or(Verdict::Holds, |when| {
                self.holds(when, subject, arena, config)
            });
            self.rule(Some(span), verdict);
            match verdict {
                Verdict::Holds => return First::Holds(at),
                Verdict::Later => return First::Later(at),
                Verdict::Fails => {}
            }
        }
        First::None
    }
}

impl Effect {
    fn new(
        what: &'static str,
        name: impl Into<String>,
        from: Option<String>,
        to: Option<String>,
    ) -> Self {
        Self {
            what,
            name: name.into(),
            from,
            to,
        }
    }

    /// `None` where nothing changed.
    pub fn of<T: PartialEq>(
        what: &'static str,
        name: impl Into<String>,
        from: Option<T>,
        to: Option<T>,
        shown: impl Fn(&T) -> String,
    ) -> Option<Self> {
        (from != to).then(|| {
            Self::new(
                what,
                name,
                from.as_ref().map(&shown),
                to.as_ref().map(&shown),
            )
        })
    }
}

/// What is different between two states of a message.
pub fn changed(from: &Head, to: &Head) -> Vec<Effect> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let own = |bytes: &[u8]| Some(text(bytes));
    let same = |s: &String| s.clone();
    let mut out = Vec::new();
    out.extend(Effect::of(
        "method",
        "",
        own(from.method()),
        own(to.method()),
        same,
    ));
    out.extend(Effect::of(
        "uri",
        "",
        own(from.target()),
        own(to.target()),
        same,
    ));
    let status = |head: &Head| Some(format!("{} {}", head.status, text(head.reason())));
    out.extend(Effect::of("status", "", status(from), status(to), same));
    let mut names: Vec<&[u8]> = Vec::new();
    for (name, _) in from.fields().chain(to.fields()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        let values = |head: &Head| {
            let all: Vec<String> = head.values(name).map(text).collect();
            (!all.is_empty()).then_some(all)
        };
        let (old, new) = (values(from), values(to));
        out.extend(Effect::of("header", text(name), old, new, |v| v.join(", ")));
    }
    out
}

/// `txn.name`, as rules write it.
pub fn variable(config: &Config, id: VarId) -> String {
    let scope = match id.scope {
        Scope::Proc => "proc",
        Scope::Sess => "sess",
        Scope::Txn => "txn",
        Scope::Req => "req",
        Scope::Res => "res",
        Scope::Check => "check",
    };
    let name = config.vars.get(id.name as usize);
    format!("{scope}.{}", name.map_or("?", String::as_str))
}

/// Variables that are not as they were.
pub fn variables(config: &Config, from: &[(VarId, Owned)], to: &[(VarId, Owned)]) -> Vec<Effect> {
    let arena = Arena::new();
    let value = |list: &[(VarId, Owned)], id: VarId| {
        let found = list.iter().find(|(known, _)| *known == id);
        found.map(|(_, value)| shown(value.borrow(), &arena))
    };
    let mut ids: Vec<VarId> = Vec::new();
    for (id, _) in from.iter().chain(to) {
        if !ids.contains(id) {
            ids.push(*id);
        }
    }
    let ids = ids.into_iter();
    let changes = ids.filter_map(|id| {
        let name = variable(config, id);
        Effect::of(
            "variable",
            name,
            value(from, id),
            value(to, id),
            Clone::clone,
        )
    });
    changes.collect()
}
