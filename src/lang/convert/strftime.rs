//! The formats of strftime(3) in the C locale, with the flags and widths of the GNU library, and `%N` of date(1).

use bumpalo::collections::Vec as Bytes;

use crate::base::civil::{Civil, MONTHS};

pub(super) const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const MONTH_NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// One moment in one zone.
pub(super) struct Moment {
    seconds: i64,
    offset_s: i32,
    nanos: u64,
    local: bool,
    civil: Civil,
    /// 0 is Sunday.
    weekday: usize,
    /// From 0.
    year_day: u32,
}

/// 0 is Sunday.
pub(super) fn weekday(seconds: u64) -> usize {
    // 1970 began on a Thursday.
    ((seconds / 86_400 + 4) % 7) as usize
}

impl Moment {
    pub(super) fn new(seconds: i64, offset_s: i32, nanos: u64, local: bool) -> Self {
        let there = seconds.saturating_add(offset_s.into());
        let (civil, weekday) = date(there);
        Self {
            seconds,
            offset_s,
            nanos,
            local,
            civil,
            weekday,
            year_day: year_day(&civil),
        }
    }

    /// Weeks of the year that begin on the weekday `first`, before which lies week 0.
    fn week(&self, first: u32) -> u32 {
        let since_first = (self.weekday as u32 + 7 - first) % 7;
        (self.year_day + 7 - since_first) / 7
    }

    /// Year and week of ISO 8601: weeks begin on Monday, the first one has the year's first Thursday.
    fn iso_week(&self) -> (u32, u32) {
        let since_monday = (self.weekday as i64 + 6) % 7;
        let thursday = i64::from(self.year_day) - since_monday + 3;
        let year = self.civil.year;
        let (year, day) = if thursday < 0 {
            (
                year.saturating_sub(1),
                thursday + days_in(year.saturating_sub(1)),
            )
        } else if thursday >= days_in(year) {
            (year + 1, thursday - days_in(year))
        } else {
            (year, thursday)
        };
        (year, u32::try_from(day / 7 + 1).unwrap_or(1))
    }
}

/// The date and its weekday, also before 1970, as far back as year 0.
fn date(seconds: i64) -> (Civil, usize) {
    // The calendar is the same after 400 years.
    const CYCLE_S: i64 = 146_097 * 86_400;
    if let Ok(seconds) = u64::try_from(seconds) {
        return (Civil::from_seconds(seconds), weekday(seconds));
    }
    let later = u64::try_from(seconds.saturating_add(4 * CYCLE_S)).unwrap_or(0);
    let mut civil = Civil::from_seconds(later);
    civil.year -= 1_600;
    (civil, weekday(later))
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u32) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn year_day(c: &Civil) -> u32 {
    const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = u32::from(c.month > 2 && is_leap(c.year));
    BEFORE[c.month as usize - 1] + leap + c.day - 1
}

/// Flags and width of one conversion.
#[derive(Clone, Copy, Default)]
struct Shape {
    /// `-`, `_`, `0` or nothing.
    pad: Option<u8>,
    upper: bool,
    swap: bool,
    width: usize,
}

/// Most columns that one conversion is widened to.
const WIDTH_MAX: usize = 256;

/// Appends the moment in this format.
pub(super) fn write(out: &mut Bytes<'_, u8>, format: &[u8], moment: &Moment) {
    let mut rest = format;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let (shape, len) = shape(&rest[at + 1..]);
        let end = at + 1 + len;
        let Some(&c) = rest.get(end) else {
            // Nothing to convert: as written.
            out.extend_from_slice(&rest[at..]);
            return;
        };
        if !convert(out, c, shape, moment) {
            out.extend_from_slice(&rest[at..=end]);
        }
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
}

/// Reads flags, width and the modifiers `E` and `O`, which mean nothing in this locale; and their length.
fn shape(text: &[u8]) -> (Shape, usize) {
    let mut shape = Shape::default();
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        match c {
            b'-' | b'_' | b'0' => shape.pad = Some(c),
            b'^' => shape.upper = true,
            b'#' => shape.swap = true,
            _ => break,
        }
        at += 1;
    }
    while let Some(c) = text.get(at).filter(|c| c.is_ascii_digit()) {
        shape.width = (shape.width * 10 + usize::from(c - b'0')).min(WIDTH_MAX);
        at += 1;
    }
    if matches!(text.get(at), Some(b'E' | b'O')) {
        at += 1;
    }
    (shape, at)
}

/// Appends one conversion. `false`: there is none of this letter.
fn convert(out: &mut Bytes<'_, u8>, c: u8, shape: Shape, m: &Moment) -> bool {
    let civil = &m.civil;
    let hour12 = (civil.hour + 11) % 12 + 1;
    let weekday = m.weekday as u32;
    let noon = if civil.hour < 12 { "AM" } else { "PM" };
    let mut number = |n: u32, digits: usize| push_number(out, n.into(), digits, b'0', shape);
    match c {
        b'd' => number(civil.day, 2),
        b'H' => number(civil.hour, 2),
        b'I' => number(hour12, 2),
        b'j' => number(m.year_day + 1, 3),
        b'm' => number(civil.month, 2),
        b'M' => number(civil.minute, 2),
        b'S' => number(civil.second, 2),
        b'y' => number(civil.year % 100, 2),
        b'Y' => number(civil.year, 4),
        b'C' => number(civil.year / 100, 2),
        b'u' => number((weekday + 6) % 7 + 1, 1),
        b'w' => number(weekday, 1),
        b'U' => number(m.week(0), 2),
        b'W' => number(m.week(1), 2),
        b'V' => number(m.iso_week().1, 2),
        b'G' => number(m.iso_week().0, 4),
        b'g' => number(m.iso_week().0 % 100, 2),
        b'e' => push_number(out, civil.day.into(), 2, b' ', shape),
        b'k' => push_number(out, civil.hour.into(), 2, b' ', shape),
        b'l' => push_number(out, hour12.into(), 2, b' ', shape),
        b's' => {
            if m.seconds < 0 {
                out.push(b'-');
            }
            push_number(out, m.seconds.unsigned_abs(), 1, b'0', shape);
        }
        b'N' => push_fraction(out, m.nanos, shape.width),
        b'a' => push_text(out, &WEEKDAYS[m.weekday][..3], shape),
        b'A' => push_text(out, WEEKDAYS[m.weekday], shape),
        b'b' | b'h' => {
            let month = MONTHS[civil.month as usize - 1];
            push_text(out, &String::from_utf8_lossy(month), shape);
        }
        b'B' => push_text(out, MONTH_NAMES[civil.month as usize - 1], shape),
        b'p' if shape.swap => push_text(
            out,
            if civil.hour < 12 { "am" } else { "pm" },
            Shape {
                swap: false,
                ..shape
            },
        ),
        b'p' => push_text(out, noon, shape),
        b'P' => push_text(out, if civil.hour < 12 { "am" } else { "pm" }, shape),
        b'Z' if shape.swap => push_text(
            out,
            if m.local { "utc" } else { "gmt" },
            Shape {
                swap: false,
                ..shape
            },
        ),
        b'Z' => push_text(out, if m.local { "UTC" } else { "GMT" }, shape),
        b'z' => push_zone(out, m.offset_s),
        b'n' => out.push(b'\n'),
        b't' => out.push(b'\t'),
        b'%' => out.push(b'%'),
        b'c' => write(out, b"%a %b %e %H:%M:%S %Y", m),
        b'D' | b'x' => write(out, b"%m/%d/%y", m),
        b'F' => write(out, b"%Y-%m-%d", m),
        b'r' => write(out, b"%I:%M:%S %p", m),
        b'R' => write(out, b"%H:%M", m),
        b'T' | b'X' => write(out, b"%H:%M:%S", m),
        _ => return false,
    }
    true
}

fn push_number(out: &mut Bytes<'_, u8>, n: u64, digits: usize, pad: u8, shape: Shape) {
    let pad = match shape.pad {
        Some(b'-') => None,
        Some(b'_') => Some(b' '),
        Some(_) => Some(b'0'),
        None => Some(pad),
    };
    let mut text = [0_u8; 20];
    let mut at = text.len();
    let mut rest = n;
    loop {
        at -= 1;
        text[at] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let text = &text[at..];
    if let Some(pad) = pad {
        let wide = digits.max(shape.width);
        out.extend(std::iter::repeat_n(pad, wide.saturating_sub(text.len())));
    }
    out.extend_from_slice(text);
}

/// As many digits of the second's fraction as the width says, nine without one.
fn push_fraction(out: &mut Bytes<'_, u8>, nanos: u64, width: usize) {
    let digits = if width == 0 { 9 } else { width };
    let mut unit = 100_000_000;
    for _ in 0..digits {
        let digit = nanos.checked_div(unit).map_or(0, |n| n % 10);
        out.push(b'0' + digit as u8);
        unit /= 10;
    }
}

fn push_text(out: &mut Bytes<'_, u8>, text: &str, shape: Shape) {
    let pad = if shape.pad == Some(b'0') { b'0' } else { b' ' };
    out.extend(std::iter::repeat_n(
        pad,
        shape.width.saturating_sub(text.len()),
    ));
    if shape.upper || shape.swap {
        out.extend(text.bytes().map(|c| c.to_ascii_uppercase()));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

fn push_zone(out: &mut Bytes<'_, u8>, offset_s: i32) {
    out.push(if offset_s < 0 { b'-' } else { b'+' });
    let minutes = offset_s.unsigned_abs() / 60;
    let plain = Shape::default();
    push_number(out, (minutes / 60).into(), 2, b'0', plain);
    push_number(out, (minutes % 60).into(), 2, b'0', plain);
}
