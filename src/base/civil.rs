//! Calendar dates from seconds since the epoch, and their digits, without allocation.
//!
//! The zone is the caller's business: add its offset to the seconds first. Dates are the proleptic
//! Gregorian calendar of the years 1970 to 9999.

/// Three-letter English month names, as every log format here writes them.
pub const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// One second of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

impl Civil {
    /// The date of `seconds` since 1970-01-01 00:00:00 in the zone that they were shifted to.
    pub fn from_seconds(seconds: u64) -> Self {
        let of_day = u32::try_from(seconds % 86_400).expect("less than a day");
        // Days counted from 0000-03-01, so that the leap day ends its year (Hinnant's civil_from_days).
        let days = seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            year: small(year),
            month: small(month),
            day: small(day),
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// The month's name.
    pub fn month_name(&self) -> &'static [u8; 3] {
        MONTHS[self.month as usize - 1]
    }
}

/// Two digits of `n` (its last two).
pub fn two(n: u32) -> [u8; 2] {
    [digit(n / 10), digit(n)]
}

/// Four digits of `n` (its last four).
pub fn four(n: u32) -> [u8; 4] {
    [digit(n / 1000), digit(n / 100), digit(n / 10), digit(n)]
}

fn digit(n: u32) -> u8 {
    b"0123456789"[(n % 10) as usize]
}

/// Appends `n` in decimal.
pub fn push_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(n % 10) as usize];
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let of = |s| {
            let c = Civil::from_seconds(s);
            (c.year, c.month, c.day, c.hour, c.minute, c.second)
        };
        assert_eq!(of(0), (1970, 1, 1, 0, 0, 0));
        assert_eq!(of(951_782_399), (2000, 2, 28, 23, 59, 59));
        assert_eq!(of(951_782_400), (2000, 2, 29, 0, 0, 0));
        assert_eq!(of(951_868_800), (2000, 3, 1, 0, 0, 0));
        assert_eq!(of(1_795_215_331), (2026, 11, 20, 22, 55, 31));
        assert_eq!(of(4_107_542_400), (2100, 3, 1, 0, 0, 0));
        assert_eq!(of(4_107_542_399), (2100, 2, 28, 23, 59, 59));
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        let mut out = Vec::new();
        for n in [0, 7, 10, 12_345, u64::MAX] {
            push_number(&mut out, n);
            out.push(b' ');
        }
        assert_eq!(out, b"0 7 10 12345 18446744073709551615 ");
    }
}
