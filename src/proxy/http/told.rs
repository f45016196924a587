//! What a transaction tells a trace: the state before a rule and what is different behind it.

use super::rules::{Done, Stop, Wait};
use super::*;
use crate::lang::acl::{Condition, Verdict};
use crate::lang::sample::Arena;
use crate::proxy::trace::{self, Effect, Event, NamedBy};

/// What rules may change, as it was.
pub(super) struct Before {
    response: bool,
    head: Head,
    src: Option<SocketAddr>,
    dst: Option<SocketAddr>,
    vars: Vec<(VarId, Owned)>,
    captures: [Vec<Option<Box<[u8]>>>; 2],
    overrides: Overrides,
    socket: Packets,
    log_level: LogLevel,
    hints: usize,
}

impl Session {
    /// The state before a rule, where somebody asks what it does.
    pub(super) fn before(&self, t: &Txn, local: &Local, response: bool) -> Option<Before> {
        local.trace.as_ref()?;
        Some(Before {
            response,
            head: if response { &t.response } else { &t.request }.clone(),
            src: self.src,
            dst: self.dst,
            vars: self.all_vars(t),
            captures: t.captures.clone(),
            overrides: t.overrides,
            socket: t.socket,
            log_level: t.log_level,
            hints: t.hints.len(),
        })
    }

    /// Rules of another proxy come next.
    pub(super) fn tell_proxy(&self, t: &Txn, local: &Local, front: bool) {
        let Some(trace) = local.trace.as_ref().filter(|_| t.cursor.rule == 0) else {
            return;
        };
        let config = &local.config;
        let back = || self.backend.map(|id| config.backend(id).proxy);
        let own = config.frontend(self.frontend).proxy;
        let proxy = if front { Some(own) } else { back() };
        proxy
            .into_iter()
            .for_each(|id| trace.push(Event::Proxy(id)));
    }

    fn all_vars(&self, t: &Txn) -> Vec<(VarId, Owned)> {
        self.vars.iter().chain(&t.vars).cloned().collect()
    }

    /// Tells what is different now.
    pub(super) fn tell(
        &self,
        t: &Txn,
        local: &Local,
        before: Option<Before>,
        outcome: Option<&'static str>,
    ) {
        if let (Some(trace), Some(before)) = (&local.trace, before) {
            trace.did(self.effects(t, local, &before), outcome);
        }
    }

    /// The same of what an option did.
    pub(super) fn tell_option(
        &self,
        t: &Txn,
        local: &Local,
        before: Option<Before>,
        by: &'static str,
    ) {
        if let (Some(trace), Some(before)) = (&local.trace, before) {
            let effects = self.effects(t, local, &before);
            if !effects.is_empty() {
                trace.push(Event::Changed { by, effects });
            }
        }
    }

    fn effects(&self, t: &Txn, local: &Local, before: &Before) -> Vec<Effect> {
        let head = if before.response {
            &t.response
        } else {
            &t.request
        };
        let mut out = trace::changed(&before.head, head);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let end = |end: &SocketAddr| end.to_string();
        out.extend(Effect::of("source", "", before.src, self.src, end));
        out.extend(Effect::of("destination", "", before.dst, self.dst, end));
        out.extend(trace::variables(
            &local.config,
            &before.vars,
            &self.all_vars(t),
        ));
        for (side, name) in ["request", "response"].into_iter().enumerate() {
            let (old, new) = (&before.captures[side], &t.captures[side]);
            for slot in 0..new.len() {
                let of = |list: &Vec<Option<Box<[u8]>>>| list.get(slot).cloned().flatten();
                let name = format!("{name} {slot}");
                out.extend(Effect::of("capture", name, of(old), of(new), |v| text(v)));
            }
        }
        let number = |n: &u32| n.to_string();
        let (old, new) = (&before.overrides, &t.overrides);
        let timeouts = [
            ("client", old.client, new.client),
            ("server", old.server, new.server),
            ("connect", old.connect, new.connect),
            ("queue", old.queue, new.queue),
            ("tarpit", old.tarpit, new.tarpit),
            ("tunnel", old.tunnel, new.tunnel),
        ];
        for (name, old, new) in timeouts {
            out.extend(Effect::of("timeout", name, old, new, |ms| {
                format!("{ms}ms")
            }));
        }
        out.extend(Effect::of("retries", "", old.retries, new.retries, number));
        let (old, new) = (&before.socket, &t.socket);
        let packets = [
            ("mark", "client", old.client_mark, new.client_mark),
            ("mark", "server", old.server_mark, new.server_mark),
            ("tos", "client", old.client_tos, new.client_tos),
            ("tos", "server", old.server_tos, new.server_tos),
        ];
        for (what, side, old, new) in packets {
            out.extend(Effect::of(what, side, old, new, number));
        }
        let level = (Some(before.log_level), Some(t.log_level));
        out.extend(Effect::of(
            "log-level",
            "",
            level.0,
            level.1,
            |level| match level {
                LogLevel::Usual => "usual".to_owned(),
                LogLevel::Silent => "silent".to_owned(),
                LogLevel::Level(n) => n.to_string(),
            },
        ));
        for (name, value) in t.hints.iter().skip(before.hints) {
            let name = text(name);
            out.extend(Effect::of("early-hint", name, None, Some(value), |v| {
                text(v)
            }));
        }
        out
    }

    /// Whose word a server is taken by, before the algorithm is asked.
    pub(super) fn named_by(&self, t: &Txn, last: bool) -> NamedBy {
        use crate::backend::persist::Found::{Down, Valid};
        match t.found.asked.found {
            _ if last => NamedBy::Last,
            Valid | Down => NamedBy::Cookie,
            _ => NamedBy::UseServer,
        }
    }

    /// A condition outside lists of rules: [`Session::holds`], told by its own place.
    pub(super) fn asked(&self, t: &Txn, local: &Local, arena: &Arena, when: &Condition) -> Verdict {
        let verdict = self.holds(t, local, arena, Some(when));
        if let Some(trace) = &local.trace {
            trace.rule(None, verdict);
        }
        verdict
    }
}

impl Done {
    /// What a rule's action means for those behind it.
    pub(super) fn told(&self) -> Option<&'static str> {
        Some(match self {
            Self::On => return None,
            Self::Pass => "allow",
            Self::Wait(wait) => wait.told(),
            Self::Stop(stop) => stop.told(),
        })
    }
}

impl Wait {
    fn told(&self) -> &'static str {
        match self {
            Self::Body { .. } => "wait-for-body",
            Self::Pause(_) => "pause",
            Self::Password => "verify-password",
        }
    }
}

impl Stop {
    pub(super) fn told(&self) -> &'static str {
        match self {
            Self::Deny(_) => "deny",
            Self::Tarpit(_) => "tarpit",
            Self::Answer(_) => "answer",
            Self::Auth(_) => "auth",
            Self::Reject => "reject",
            Self::Silent => "silent-drop",
            Self::Stats => "statistics",
            Self::Metrics => "metrics",
        }
    }
}
