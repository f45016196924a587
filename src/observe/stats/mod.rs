//! Statistics: `show stat`, `show info`, `show activity`, `show servers …`.
//!
//! Everything is read from `shared` while it is written; nothing is copied first. Long answers are
//! [`Dump`]s that write a piece at a time, so that neither the buffer nor the turn grows with the
//! number of servers.

pub mod activity;
pub mod columns;
pub mod drain;
pub mod file;
pub mod info;
pub mod latency;
pub mod page;
pub mod prometheus;
pub mod rows;
pub mod servers;
pub mod stat;
pub mod value;

use crate::base::clock::OffsetAt;
use crate::base::tick::Tick;
use crate::shared::Shared;

/// What a statistic is computed from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub shared: &'a Shared,
    pub now: Tick,
    /// Microseconds since the epoch.
    pub wall_us: u64,
    pub facts: &'a Facts,
    /// The local time zone.
    pub offset_at: OffsetAt,
}

impl View<'_> {
    /// Milliseconds since `then`, or since the start if nothing was ever written there.
    pub fn since(&self, then_ms: u64) -> u64 {
        self.now.since(Tick(then_ms).max(self.facts.started))
    }
}

/// What does not change while the process runs and is not in the configuration.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Name that `show info` reports.
    pub name: String,
    /// haproxy's version that we are compatible with, then ours: `3.4.0-ringway-0.1.0`.
    pub version: String,
    pub release_date: String,
    pub node: String,
    /// Poller of the shards and of the control thread, in words.
    pub poller: String,
    pub control_poller: String,
    /// What was said while starting, for `show startup-logs`.
    pub startup_log: String,
    pub env: Vec<(String, String)>,
    /// Bytes of address space the process may use (`-m`), 0 for no limit.
    pub memory_max: u64,
    /// The process' `maxconn` at start: the most that `set maxconn global` may ask for.
    pub hard_maxconn: u32,
    /// Tick when the process started; ticks count from a moment before.
    pub started: Tick,
    /// Milliseconds from exec to ready.
    pub boot_ms: u64,
}

/// Numbers that only the control thread knows, read when asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// Lines dropped by log writers outside the shards.
    pub logs_dropped: u64,
    /// Resident memory of the process in bytes, 0 if unknown.
    pub resident: u64,
}

/// An answer that is written piece by piece.
pub trait Dump: std::fmt::Debug {
    /// Appends a piece (some kilobytes); `true` if there is more.
    fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool;
    /// There is more, but not before somebody else did something or time went by: when to look again, in ms.
    fn waits(&self) -> Option<u32> {
        None
    }
}

/// Size after which a [`Dump`] stops its piece.
pub const PIECE_BYTES: usize = 16 << 10;

#[cfg(test)]
pub(crate) mod fixture;
