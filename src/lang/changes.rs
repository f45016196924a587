//! What an expression changes while it is evaluated: the converters `set-var`, `unset-var` and `capture-req`, `-res`.
//!
//! Values lent out before must stay, so changes are kept in a list that only grows, behind a shared reference, and are
//! carried out when the evaluation is over. A [`Subject`](super::subject::Subject) looks here first.

use std::cell::OnceCell;

use super::sample::{Owned, Value};
use super::subject::VarId;

/// Changes in the order they were made.
#[derive(Debug, Default)]
pub struct Changes {
    first: OnceCell<Box<Entry>>,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A variable set, or unset.
    Var(VarId, Option<Owned>),
    /// Text for a slot of the request's captures, or of the response's, uncut.
    RequestCapture(usize, Box<[u8]>),
    ResponseCapture(usize, Box<[u8]>),
}

#[derive(Debug)]
struct Entry {
    change: Change,
    next: OnceCell<Box<Self>>,
}

impl Changes {
    /// Adds one behind the others.
    pub fn push(&self, change: Change) {
        let mut end = &self.first;
        while let Some(entry) = end.get() {
            end = &entry.next;
        }
        let next = OnceCell::new();
        let set = end.set(Box::new(Entry { change, next }));
        debug_assert!(set.is_ok(), "nothing stands behind the last entry");
    }

    /// What a variable became: `None` if it was not touched, `Some(None)` if it was unset.
    pub fn var(&self, id: VarId) -> Option<Option<Value<'_>>> {
        let mut found = None;
        let mut at = &self.first;
        while let Some(entry) = at.get() {
            match &entry.change {
                Change::Var(changed, value) if *changed == id => {
                    found = Some(value.as_ref().map(Owned::borrow));
                }
                _ => {}
            }
            at = &entry.next;
        }
        found
    }

    /// What a slot of the request's captures became, or of the response's, if it was touched.
    pub fn capture(&self, response: bool, slot: usize) -> Option<&[u8]> {
        let mut found = None;
        let mut at = &self.first;
        while let Some(entry) = at.get() {
            match &entry.change {
                Change::RequestCapture(index, text) if !response && *index == slot => {
                    found = Some(&**text);
                }
                Change::ResponseCapture(index, text) if response && *index == slot => {
                    found = Some(&**text);
                }
                _ => {}
            }
            at = &entry.next;
        }
        found
    }

    pub fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    /// Takes them all, first to last.
    pub fn take(&mut self) -> impl Iterator<Item = Change> + use<> {
        let mut at = std::mem::take(&mut self.first);
        std::iter::from_fn(move || {
            let entry = at.take()?;
            at = entry.next;
            Some(entry.change)
        })
    }
}

// Entries are dropped one by one, not by recursion down the list.
impl Drop for Changes {
    fn drop(&mut self) {
        self.take().for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::subject::Scope;

    fn id(name: u32) -> VarId {
        let scope = Scope::Txn;
        VarId { scope, name }
    }

    #[test]
    fn values_lent_out_stay_while_others_take_their_place() {
        let mut changes = Changes::default();
        assert!(changes.is_empty() && changes.var(id(1)).is_none());
        changes.push(Change::Var(id(1), Some(Owned::Int(1))));
        let before = changes.var(id(1));
        changes.push(Change::Var(id(1), Some(Owned::Str((*b"x").into()))));
        changes.push(Change::Var(id(2), None));
        assert_eq!(before, Some(Some(Value::Int(1))));
        assert_eq!(changes.var(id(1)), Some(Some(Value::Str(b"x"))));
        assert_eq!(changes.var(id(2)), Some(None));
        changes.push(Change::RequestCapture(1, (*b"c").into()));
        assert_eq!(changes.capture(false, 1), Some(&b"c"[..]));
        assert_eq!(changes.capture(true, 1), None);
        assert_eq!(changes.take().count(), 4);
        assert!(changes.is_empty());
    }

    #[test]
    fn a_long_list_is_dropped_without_deep_recursion() {
        let mut end = Changes::default();
        for _ in 0..100_000 {
            // At the front, for the sake of the test's time.
            let next = std::mem::take(&mut end.first);
            let change = Change::Var(id(0), None);
            end.first = OnceCell::from(Box::new(Entry { change, next }));
        }
        drop(end);
    }
}
