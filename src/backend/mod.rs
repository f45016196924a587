//! Which server, and may it take more: algorithms, queue, state of servers, health.
//!
//! Pure: no descriptor, no clock, no entropy. Time is a [`crate::base::tick::Tick`], a seed is an
//! argument. What shards must agree on lies in [`crate::shared`]; what each may keep for itself (its
//! schedule, its waiting streams) lies here.
//!
//! The life of a choice: [`BackendView::pick`] takes a place, or says what to wait for;
//! [`WaitRoom::join`] and [`WaitRoom::serve`] wait; [`release`] gives the place back.

pub mod agent;
pub mod balance;
pub mod change;
#[cfg(test)]
mod fixture;
pub mod forward;
pub mod health;
pub mod key;
pub mod observe;
pub mod persist;
pub mod pick;
pub mod pool;
pub mod queue;
pub mod retry;
pub mod sequence;
pub mod server;
pub mod state_file;
pub mod trial;

pub use change::{Change, Line};
pub use health::{CheckResult, Verdict};
pub use pick::{Ask, BackendView, Choice, Taken};
pub use queue::{Position, Queue, Ticket, WaitRoom, release};
