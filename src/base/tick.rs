//! Monotonic time in milliseconds, as the data plane sees it: a value, never read from a clock here.

use std::ops::{Add, Sub};

/// Milliseconds since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// `ms` later; `None` never.
    #[must_use]
    pub fn after(self, ms: Option<u32>) -> Self {
        ms.map_or(Self::NEVER, |ms| self + u64::from(ms))
    }

    /// Milliseconds from `earlier` to here, 0 if it lies ahead.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A [`Tick`] to the microsecond: for times that are measured, not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The millisecond it lies in.
    #[inline]
    pub fn tick(self) -> Tick {
        Tick(self.0 / 1000)
    }

    /// Microseconds from `earlier` to here, 0 if it lies ahead.
    #[inline]
    pub fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<Tick> for Moment {
    /// The millisecond's begin.
    fn from(tick: Tick) -> Self {
        Self(tick.0.saturating_mul(1000))
    }
}

impl Add<u64> for Tick {
    type Output = Self;
    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Sub for Tick {
    type Output = u64;
    fn sub(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}
