//! The system's time zone.

use std::mem::MaybeUninit;
use std::ptr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds that local time is ahead of UTC at `second` since the epoch, by the zone of `TZ` or
/// `/etc/localtime`. The C library reads the zone's file at the first call and keeps it: call once
/// before `chroot`.
pub fn offset_s(second: u64) -> i32 {
    let Ok(second) = libc::time_t::try_from(second) else {
        return 0;
    };
    let mut broken_down = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to live locals of the right types; localtime_r keeps neither.
    let done = unsafe { libc::localtime_r(ptr::from_ref(&second), broken_down.as_mut_ptr()) };
    if done.is_null() {
        return 0;
    }
    // SAFETY: zeroed is a valid `tm` (integers and a null pointer), and localtime_r filled it.
    let broken_down = unsafe { broken_down.assume_init() };
    i32::try_from(broken_down.tm_gmtoff).unwrap_or(0)
}

/// Wall-clock microseconds since the epoch.
pub fn wall_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_less_than_a_day() {
        assert!(offset_s(wall_us() / 1_000_000).abs() < 86_400);
    }
}
