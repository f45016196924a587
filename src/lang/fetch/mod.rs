//! Sample fetches: what an expression begins with (configuration.txt 7.3.2 to 7.3.6).
//!
//! A file per layer: `internal` (constants, the process, proxies, servers, timers), `l4` and `l5` (connections), `l6`
//! (bytes not parsed yet), `l7` (HTTP). `table` names them all, with arguments, type and the places where each works.

mod args;
#[cfg(test)]
pub(super) mod fixture;
mod hello;
pub(super) mod internal;
mod l4;
mod l6;
mod l7;
mod names;
mod table;

pub(super) use args::split;
pub use internal::unhex;
pub use l6::rdp_cookie_of as rdp_cookie;
pub use l7::target;
pub use names::FETCHES;
pub use table::{Place, Source};

use super::expr::{Needs, Settle, VarNames};
use super::sample::{Arena, Kind, Value};
use super::subject::{Fact, Subject, VarId};
use args::Given;
pub(super) use table::{Entry, Extra};

/// One fetch with its arguments.
#[derive(Clone, Debug)]
pub(super) enum Fetch {
    /// A fact as the subject gives it.
    Fact(Fact),
    /// The same in whole milliseconds, or in microseconds where asked, of one counted in microseconds.
    FactUs(Fact, Scale),
    Var(VarId),
    /// `var` with what it is where it was never set.
    VarOr(VarId, Box<[u8]>),
    /// `acl(…)`: tests once settled; each group one name, negated or not.
    Acl(Vec<Named>),
    Internal(internal::Fetch),
    L4(l4::Fetch),
    L6(l6::Fetch),
    L7(l7::Fetch),
    /// What only TLS could give: never there.
    Absent,
}

/// What microseconds are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Second,
    Millisecond,
    Microsecond,
}

/// One name in `acl(…)`.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) negated: bool,
    pub(super) tests: Vec<std::sync::Arc<super::acl::Test>>,
}

/// A fetch that was read: itself, its type, the bytes of the word it took and how a message names it.
pub(super) struct Parsed {
    pub(super) fetch: Fetch,
    pub(super) entry: &'static Entry,
    pub(super) end: usize,
    /// Names of proxies, servers and lists in its arguments, to be settled.
    pub(super) refs: Vec<Reference>,
}

/// An argument that names something of the configuration.
#[derive(Clone, Debug)]
pub(super) enum Reference {
    Frontend(String),
    Backend(String),
    Server(String),
    Userlist(String),
    /// No name: the proxy at hand, which has to have that side.
    Here(Side),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Front,
    Back,
}

/// Why a fetch could not be read.
pub(super) enum Wrong {
    /// No such name: its bytes.
    Unknown(String),
    /// Known, of a later version.
    Later(String),
    /// Its arguments do not fit: message, offset and length in the word.
    Args(&'static Entry, String, usize, usize),
    /// Its arguments fit and mean nothing.
    Invalid(&'static Entry, String, usize, usize),
}

/// What a fetch is made from.
pub(super) struct Making<'a> {
    args: Vec<Given>,
    /// There are parentheses, be there nothing in them.
    parentheses: bool,
    vars: &'a mut VarNames,
    env: &'a dyn Fn(&str) -> Option<String>,
    refs: Vec<Reference>,
}

impl Making<'_> {
    fn text(&self, index: usize) -> &[u8] {
        match self.args.get(index) {
            Some(Given::Str(text)) => text,
            _ => b"",
        }
    }
    fn string(&self, index: usize) -> String {
        String::from_utf8_lossy(self.text(index)).into_owned()
    }
    fn int(&self, index: usize) -> Option<i64> {
        match self.args.get(index) {
            Some(Given::Int(number)) => Some(*number),
            _ => None,
        }
    }
}

/// Reads the fetch at the start of `text`. `acl`: names of ACL keywords (`path_beg`) count as well, and `hdr` means the
/// request's.
pub(super) fn parse(
    text: &[u8],
    acl: bool,
    vars: &mut VarNames,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Parsed, Wrong> {
    let name_end = text
        .iter()
        .position(|b| matches!(b, b'(' | b',' | b' '))
        .unwrap_or(text.len());
    let name = String::from_utf8_lossy(&text[..name_end]).into_owned();
    let Some(entry) = table::find(&name, acl) else {
        return Err(if is_known(&name) && table::find(&name, true).is_none() {
            Wrong::Later(name)
        } else {
            Wrong::Unknown(name)
        });
    };
    let (raw, end) = if text.get(name_end) == Some(&b'(') {
        let open = name_end + 1;
        let unclosed = || Wrong::Args(entry, "expected ')'".to_owned(), open, text.len() - open);
        split(text, open).ok_or_else(unclosed)?
    } else {
        (Vec::new(), name_end)
    };
    let whole = (0, end);
    let args = args::check(text, &raw, entry.args, entry.least).map_err(|(message, at, len)| {
        let (at, len) = if len == 0 { whole } else { (at, len) };
        Wrong::Args(entry, message, at, len)
    })?;
    let mut making = Making {
        args,
        parentheses: end > name_end,
        vars,
        env,
        refs: Vec::new(),
    };
    let fetch = (entry.make)(&mut making).map_err(|message| {
        let (at, len) = raw
            .first()
            .map_or(whole, |first| (first.at, end.saturating_sub(first.at + 1)));
        Wrong::Invalid(entry, message, at, len)
    })?;
    let refs = making.refs;
    Ok(Parsed {
        fetch,
        entry,
        end,
        refs,
    })
}

/// Whether haproxy knows a fetch or ACL keyword of that name.
pub fn is_known(name: &str) -> bool {
    FETCHES.binary_search(&name).is_ok() || name.starts_with("lua.")
}

impl Fetch {
    /// Gives every value to `each` until that says false.
    pub(super) fn each<'a>(
        &'a self,
        subject: &'a dyn Subject,
        arena: &'a Arena,
        each: &mut dyn FnMut(Value<'a>) -> bool,
    ) {
        match self {
            Self::L7(fetch) => fetch.each(subject, arena, each),
            other => {
                if let Some(value) = other.one(subject, arena) {
                    each(value);
                }
            }
        }
    }

    /// The value outside of ACLs: one of several, which one is the fetch's to say.
    pub(super) fn one<'a>(
        &'a self,
        subject: &'a dyn Subject,
        arena: &'a Arena,
    ) -> Option<Value<'a>> {
        match self {
            Self::L7(fetch) => fetch.one(subject, arena),
            Self::L4(fetch) => fetch.one(subject),
            Self::Var(id) => subject.var(*id),
            Self::VarOr(id, default) => subject.var(*id).or(Some(Value::Str(default))),
            Self::Fact(fact) => subject.fact(*fact),
            Self::FactUs(fact, scale) => match subject.fact(*fact)? {
                Value::Int(us) => Some(Value::Int(match scale {
                    Scale::Second => us.div_euclid(1_000_000),
                    Scale::Millisecond => us.div_euclid(1000),
                    Scale::Microsecond => us,
                })),
                other => Some(other),
            },
            Self::L6(fetch) => fetch.one(subject),
            Self::Internal(fetch) => fetch.one(subject, arena),
            Self::Acl(named) => Some(Value::Bool(named.iter().all(|named| {
                let holds = |test: &std::sync::Arc<super::acl::Test>| {
                    test.holds(subject, arena) == super::acl::Verdict::Holds
                };
                named.tests.iter().any(holds) != named.negated
            }))),
            Self::Absent => None,
        }
    }

    /// Whether an answer may still come, or change, for what it asks: more bytes are awaited, a password is being
    /// verified. Asked only when what there is did not match.
    pub(super) fn waits(&self, needs: Needs, subject: &dyn Subject) -> bool {
        match self {
            Self::L6(fetch) => fetch.waits(subject),
            Self::L7(fetch) if fetch.waits(subject) => true,
            _ => needs.has(subject.pending()),
        }
    }

    /// Puts what the names in its arguments mean into place.
    ///
    /// # Errors
    /// An ACL of that name does not exist.
    pub(super) fn settle(&mut self, refs: &[Reference], names: &dyn Settle) -> Result<(), String> {
        for reference in refs {
            match (reference, &mut *self) {
                (Reference::Frontend(name), Self::Fact(fact)) => {
                    internal::name_proxy(fact, names.frontend(name));
                }
                (Reference::Backend(name), Self::Fact(fact)) => {
                    internal::name_proxy(fact, names.backend(name));
                }
                (Reference::Backend(name), Self::Internal(fetch)) => {
                    fetch.name_proxy(names.backend(name));
                }
                (Reference::Server(name), Self::Fact(fact)) => {
                    internal::name_server(fact, names.server(name));
                }
                (Reference::Userlist(name), Self::L7(fetch)) => {
                    fetch.name_userlist(names.userlist(name));
                }
                _ => {}
            }
        }
        if let Self::Acl(named) = self {
            for named in named {
                let missing = || format!("ACL '{}' not found", named.name);
                named.tests = names.acl(&named.name).ok_or_else(missing)?;
            }
        }
        Ok(())
    }

    pub(super) fn never() -> Self {
        Self::Internal(internal::Fetch::Const(super::sample::Owned::Bool(false)))
    }

    /// `http_auth_group`: its patterns are names of groups, not of users.
    pub(super) fn auth_group(&self) -> Option<u32> {
        match self {
            Self::L7(fetch) => fetch.auth_group(),
            _ => None,
        }
    }
}

impl Entry {
    pub(super) fn needs(&self) -> Needs {
        self.source.needs()
    }
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }
}

#[cfg(test)]
mod tests;
