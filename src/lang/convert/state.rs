//! Converters that read or change what lives beside the sample: variables, captures, proxies and servers by name.

use super::Eval;
use super::args::Args;
use crate::lang::expr::Fault;
use crate::lang::sample::Value;
use crate::lang::subject::{Fact, Scope, VarId};

#[derive(Clone, Debug)]
pub(super) enum Op {
    SetVar(VarId, Box<[Condition]>),
    UnsetVar(VarId),
    /// Index of the slot; `None` is one that never is.
    CaptureReq(Option<usize>),
    CaptureRes(Option<usize>),
    Nbsrv,
    SrvQueue,
    SrvIsUp,
    FeExists,
    When(When, bool),
}

/// Under which `set-var` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Exists,
    NotExists,
    Empty,
    NotEmpty,
    Set,
    NotSet,
    /// The variable is greater than the input.
    Greater,
    Less,
}

/// When `when` passes its input on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Error,
    /// The request reached a server.
    Forwarded,
}

impl Op {
    pub(super) fn apply<'a>(&self, value: Value<'a>, eval: Eval<'a>) -> Option<Value<'a>> {
        let Eval { subject, arena } = eval;
        match self {
            Self::SetVar(id, conditions) => {
                let before = subject.var(*id);
                let holds = |condition: &Condition| condition.holds(*id, before, value);
                if !conditions.iter().all(holds) {
                    return None;
                }
                subject.set_var(*id, Some(value));
                Some(value)
            }
            Self::UnsetVar(id) => {
                subject.set_var(*id, None);
                Some(value)
            }
            Self::CaptureReq(slot) => {
                let kept = subject.set_request_capture((*slot)?, value.text(arena));
                kept.then_some(value)
            }
            Self::CaptureRes(slot) => {
                let kept = subject.set_response_capture((*slot)?, value.text(arena));
                kept.then_some(value)
            }
            Self::Nbsrv => {
                let backend = subject.backend_named(value.text(arena))?;
                subject.fact(Fact::BackServers(Some(backend)))
            }
            Self::SrvQueue => subject.fact(Fact::ServerQueue(Some(server(value, eval)?))),
            Self::SrvIsUp => subject.fact(Fact::ServerIsUp(Some(server(value, eval)?))),
            Self::FeExists => {
                let frontend = subject.frontend_named(value.text(arena));
                Some(Value::Bool(frontend.is_some()))
            }
            Self::When(when, wanted) => (when.is(eval) == *wanted).then_some(value),
        }
    }
}

/// `backend/server`, or a server of the stream's backend.
fn server(value: Value<'_>, eval: Eval<'_>) -> Option<u32> {
    let name = value.text(eval.arena);
    match memchr::memchr(b'/', name) {
        Some(slash) => eval
            .subject
            .server_named(Some(&name[..slash]), &name[slash + 1..]),
        None => eval.subject.server_named(None, name),
    }
}

impl Condition {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"ifexists" => Self::Exists,
            b"ifnotexists" => Self::NotExists,
            b"ifempty" => Self::Empty,
            b"ifnotempty" => Self::NotEmpty,
            b"ifset" => Self::Set,
            b"ifnotset" => Self::NotSet,
            b"ifgt" => Self::Greater,
            b"iflt" => Self::Less,
            _ => return None,
        })
    }

    fn holds(self, id: VarId, before: Option<Value<'_>>, input: Value<'_>) -> bool {
        // A variable of the process exists as soon as the configuration names it.
        let exists = before.is_some() || id.scope == Scope::Proc;
        let empty = match input {
            Value::Str(v) | Value::Bin(v) | Value::Method(v) => v.is_empty(),
            _ => false,
        };
        match (self, before, input) {
            (Self::Exists, ..) => exists,
            (Self::NotExists, ..) => !exists,
            (Self::Empty, ..) => empty,
            (Self::NotEmpty, ..) => !empty,
            (Self::Set, before, _) => before.is_some(),
            (Self::NotSet, before, _) => before.is_none(),
            (Self::Greater, Some(Value::Int(var)), Value::Int(input)) => var > input,
            (Self::Less, Some(Value::Int(var)), Value::Int(input)) => var < input,
            (Self::Greater | Self::Less, ..) => true,
        }
    }
}

impl When {
    fn is(self, eval: Eval<'_>) -> bool {
        match self {
            Self::Error => {
                let state = eval.subject.fact(Fact::TermState);
                let state = state.map(|state| state.text(eval.arena));
                state.is_some_and(|state| state.first().is_some_and(|&c| c != b'-'))
            }
            Self::Forwarded => {
                let spent = eval.subject.fact(Fact::ConnectMs);
                matches!(spent, Some(Value::Int(ms)) if ms >= 0)
            }
        }
    }
}

fn op(op: Op) -> Result<super::Op, Fault> {
    Ok(super::Op::State(op))
}

pub(super) fn set_var(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let id = args.var_to_set(0)?;
    let mut conditions = Vec::new();
    for i in (1..args.entry.args.len()).take_while(|&i| args.has(i)) {
        let Some(condition) = Condition::named(args.text(i)) else {
            let name = args.lossy(i);
            return Err(args.wrong(i, format!("unknown condition \"{name}\"")));
        };
        conditions.push(condition);
    }
    op(Op::SetVar(id, conditions.into()))
}

pub(super) fn unset_var(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::UnsetVar(args.var_to_set(0)?))
}

pub(super) fn capture_req(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::CaptureReq(usize::try_from(args.int(0)).ok()))
}

pub(super) fn capture_res(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::CaptureRes(usize::try_from(args.int(0)).ok()))
}

pub(super) fn nbsrv(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::Nbsrv)
}

pub(super) fn srv_queue(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::SrvQueue)
}

pub(super) fn srv_is_up(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::SrvIsUp)
}

pub(super) fn fe_exists(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    op(Op::FeExists)
}

pub(super) fn when(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let name = args.lossy(0);
    let (bare, wanted) = match name.strip_prefix('!') {
        Some(bare) => (bare, false),
        None => (&*name, true),
    };
    let (when, wanted) = match bare {
        "error" => (When::Error, wanted),
        "normal" => (When::Error, !wanted),
        "forwarded" => (When::Forwarded, wanted),
        "acl" | "processed" | "stopping" | "toapplet" => {
            return Err(args.later(format!("when({bare})")));
        }
        _ => {
            let known = "error, forwarded, normal";
            return Err(args
                .wrong(0, format!("unknown condition '{bare}'"))
                .help(format!("one of: {known}; with ! for the opposite")));
        }
    };
    op(Op::When(when, wanted))
}
