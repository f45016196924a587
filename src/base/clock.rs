//! Local time, cached: the zone's rules are asked once a quarter of an hour, the text of a second is
//! written once.
//!
//! This module reads no clock: moments come in as microseconds since the epoch, and the zone's
//! offset as a function (`io::sys::localtime::offset_s` in the daemon).

use super::civil::{Civil, four, two};

/// A moment as headers write it.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Local date and time.
    pub civil: Civil,
    /// 0 to 999,999.
    pub micros: u32,
    /// Seconds that local time is ahead of UTC.
    pub offset_s: i32,
}

/// Seconds that local time is ahead of UTC at a moment given in seconds since the epoch.
pub type OffsetAt = fn(u64) -> i32;

/// Offsets change only at whole quarters of an hour (no zone in use has done otherwise since 1972).
const SLOT_S: u64 = 900;

/// Texts of moments in local time.
#[derive(Debug, Clone)]
pub struct LocalClock {
    offset_at: OffsetAt,
    /// Quarter hour the offset was asked for.
    slot: u64,
    offset_s: i32,
    /// Second `clf` shows.
    second: u64,
    clf: [u8; 20],
}

impl LocalClock {
    pub fn new(offset_at: OffsetAt) -> Self {
        Self {
            offset_at,
            slot: u64::MAX,
            offset_s: 0,
            second: u64::MAX,
            clf: [b'0'; 20],
        }
    }

    /// A clock of Greenwich, for tests.
    pub fn utc() -> Self {
        Self::new(|_| 0)
    }

    /// The moment as syslog headers need it.
    pub fn stamp(&mut self, wall_us: u64) -> Stamp {
        let second = wall_us / 1_000_000;
        let offset_s = self.offset_s(second);
        let micros = u32::try_from(wall_us % 1_000_000).expect("below a million");
        Stamp {
            civil: local(second, offset_s),
            micros,
            offset_s,
        }
    }

    /// `20/Nov/2026:22:55:31`, the date of tcplog and httplog without its milliseconds.
    pub fn clf(&mut self, second: u64) -> &[u8; 20] {
        if second != self.second {
            let offset_s = self.offset_s(second);
            self.clf = clf_text(&local(second, offset_s));
            self.second = second;
        }
        &self.clf
    }

    /// Seconds that local time is ahead of UTC at `second`.
    pub fn offset_s(&mut self, second: u64) -> i32 {
        let slot = second / SLOT_S;
        if slot != self.slot {
            self.offset_s = (self.offset_at)(second);
            self.slot = slot;
        }
        self.offset_s
    }
}

/// The date at `second` where the clock is `offset_s` ahead of UTC.
pub fn local(second: u64, offset_s: i32) -> Civil {
    Civil::from_seconds(second.saturating_add_signed(offset_s.into()))
}

/// `20/Nov/2026:22:55:31`.
pub fn clf_text(civil: &Civil) -> [u8; 20] {
    let mut text = *b"00/Mon/0000:00:00:00";
    text[0..2].copy_from_slice(&two(civil.day));
    text[3..6].copy_from_slice(civil.month_name());
    text[7..11].copy_from_slice(&four(civil.year));
    text[12..14].copy_from_slice(&two(civil.hour));
    text[15..17].copy_from_slice(&two(civil.minute));
    text[18..20].copy_from_slice(&two(civil.second));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_text_whatever_was_asked_between() {
        let mut clock = LocalClock::utc();
        assert_eq!(clock.clf(1_795_215_331), b"20/Nov/2026:22:55:31");
        assert_eq!(clock.clf(0), b"01/Jan/1970:00:00:00");
        assert_eq!(clock.clf(1_795_215_331), b"20/Nov/2026:22:55:31");
    }

    #[test]
    fn an_offset_that_changes_is_seen_at_the_next_quarter_hour() {
        // Summer time ends at 1,000,800 s: an hour ahead before, none after.
        let mut clock = LocalClock::new(|s| if s < 1_000_800 { 3600 } else { 0 });
        assert_eq!(clock.clf(1_000_799), b"12/Jan/1970:14:59:59");
        assert_eq!(clock.clf(1_000_800), b"12/Jan/1970:14:00:00");
        assert_eq!(clock.stamp(1_000_799_000_001).offset_s, 3600);
        assert_eq!(clock.stamp(1_000_799_000_001).micros, 1);
    }

    #[test]
    fn zones_west_of_greenwich_go_back_over_midnight() {
        let mut clock = LocalClock::new(|_| -3600);
        assert_eq!(clock.clf(86_400), b"01/Jan/1970:23:00:00");
    }
}
