//! When a direction may splice: it starts by copying, earns a pipe by two full reads in a row, and gives it up
//! after three small splices (design: splicing pays from about 32 KB on). What it may hold in a pipe doubles
//! while the receiver keeps up and halves when it blocks.

use crate::config::Splice;

/// Full reads in a row that earn a pipe, and small splices in a row that lose it.
const EARN: u8 = 2;
const LOSE: u8 = 3;
/// A splice below this is small.
const SMALL_SPLICE: u32 = 8192;
/// What a direction may hold in a pipe at first.
const PIPE_START: u32 = 65_536;

/// One direction's.
#[derive(Debug, Clone)]
pub struct Pace {
    mode: Splice,
    splicing: bool,
    /// Full reads (copying) or small splices (splicing) in a row.
    streak: u8,
    /// The receiver blocked since the last fill.
    blocked: bool,
    limit: u32,
}

impl Pace {
    pub fn new(mode: Splice) -> Self {
        Self {
            mode,
            splicing: mode == Splice::Always,
            streak: 0,
            blocked: false,
            limit: PIPE_START,
        }
    }
    /// Whether the next read goes into a pipe, and how many bytes at most.
    pub fn pipe(&self) -> Option<u32> {
        self.splicing.then_some(self.limit)
    }
    /// A read came into a buffer, which it filled or did not.
    pub fn received(&mut self, full: bool) {
        self.streak = if full {
            self.streak.saturating_add(1)
        } else {
            0
        };
    }
    /// What was copied is delivered: the next read may earn a pipe.
    pub fn sent(&mut self) {
        if self.mode == Splice::Earned && !self.splicing && self.streak >= EARN {
            (self.splicing, self.streak) = (true, 0);
        }
    }
    /// The receiver does not keep up.
    pub fn block(&mut self) {
        self.blocked = true;
    }
    /// Whether the receiver blocked since it was last asked.
    pub fn unblock(&mut self) -> bool {
        std::mem::take(&mut self.blocked)
    }
    /// `bytes` were spliced in.
    pub fn filled(&mut self, bytes: u32) {
        self.streak = if bytes < SMALL_SPLICE {
            self.streak.saturating_add(1)
        } else {
            0
        };
        self.blocked = false;
    }
    /// The pipe of `size` bytes is empty again; afterwards [`pipe`](Self::pipe) says whether the direction keeps it.
    pub fn drained(&mut self, size: u32) {
        self.limit = if self.blocked {
            (self.limit / 2).max(PIPE_START)
        } else {
            (self.limit * 2).min(size.max(PIPE_START))
        };
        if self.mode == Splice::Earned && self.streak >= LOSE {
            self.copy();
        }
    }
    /// Back to copying: no pipe was to be had, or it does not pay.
    pub fn copy(&mut self) {
        self.splicing = false;
        self.streak = 0;
        self.limit = PIPE_START;
    }
}
