//! Times, sizes and numbers as haproxy writes them (configuration.txt 2.5 for times).
//!
//! Every parser takes the whole word: what follows the last digit or unit is an error at its byte, where
//! haproxy's own `atol` often stops in silence. Errors carry that byte's offset in the word; [`ValueError::message`]
//! puts them into haproxy's words once the keyword is known.

use std::ops::RangeInclusive;

/// Longest time haproxy keeps in a timer: 2^31 - 1 ms, about 24.8 days.
pub const TIME_MAX_MS: u32 = i32::MAX as u32;

/// Units of time a number may be followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Us,
    Ms,
    S,
    M,
    H,
    D,
}

impl Unit {
    const fn us(self) -> u64 {
        match self {
            Self::Us => 1,
            Self::Ms => 1_000,
            Self::S => 1_000_000,
            Self::M => 60_000_000,
            Self::H => 3_600_000_000,
            Self::D => 86_400_000_000,
        }
    }

    /// The unit at the start of `rest`, and its length. None at all means `default`.
    fn at_start(rest: &[u8], default: Self) -> Option<(Self, usize)> {
        Some(match rest {
            [] => (default, 0),
            [b'u', b's', ..] => (Self::Us, 2),
            [b'm', b's', ..] => (Self::Ms, 2),
            [b's', ..] => (Self::S, 1),
            [b'm', ..] => (Self::M, 1),
            [b'h', ..] => (Self::H, 1),
            [b'd', ..] => (Self::D, 1),
            _ => return None,
        })
    }
}

/// What is wrong with a value, and at which byte of its word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    pub kind: ValueErrorKind,
    /// Offset in the word, 0 where the whole is to blame.
    pub at: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueErrorKind {
    /// Nothing where a number has to be.
    Empty,
    /// A byte that belongs to no number or unit.
    Unexpected(char),
    /// A character after a complete time, such as the `x` of `1sx`.
    AfterUnit(char),
    /// More than [`TIME_MAX_MS`].
    TimeOverflow,
    /// Does not fit a size of 64 bits.
    SizeOverflow,
    /// Outside the range the keyword allows.
    OutOfRange { min: i64, max: i64 },
    /// Neither `on` nor `off`.
    NotOnOff,
    /// Not an octal number up to 7777.
    NotMode,
}

impl ValueError {
    const fn new(kind: ValueErrorKind, at: usize) -> Self {
        Self { kind, at }
    }

    /// What haproxy would say about `word` as an argument of `keyword`, without quotes of its own around the whole.
    pub fn message(&self, word: &str, keyword: &str) -> String {
        match &self.kind {
            ValueErrorKind::Empty => format!("'{keyword}' expects a value, got an empty argument"),
            ValueErrorKind::Unexpected(c) => format!("unexpected character '{c}' in '{keyword}'"),
            ValueErrorKind::AfterUnit(c) => format!(
                "unexpected character '{c}' after the timer value '{word}' of '{keyword}', only \
                 (us=microseconds,ms=milliseconds,s=seconds,m=minutes,h=hours,d=days) are supported"
            ),
            ValueErrorKind::TimeOverflow => format!(
                "timer overflow in argument '{word}' to '{keyword}' (maximum value is {TIME_MAX_MS} ms or ~24.8 days)"
            ),
            ValueErrorKind::SizeOverflow => {
                format!("size overflow in argument '{word}' to '{keyword}'")
            }
            ValueErrorKind::OutOfRange { min, max } => {
                format!("'{keyword}' expects a value between {min} and {max}, got '{word}'")
            }
            ValueErrorKind::NotOnOff => {
                format!("'{keyword}' expects either 'on' or 'off' but got '{word}'")
            }
            ValueErrorKind::NotMode => {
                format!("'{keyword}' expects an octal mode such as 660, got '{word}'")
            }
        }
    }
}

/// A time in milliseconds, rounded up; a bare number counts in `default`. At most [`TIME_MAX_MS`].
///
/// Rounding up keeps `1us` from meaning "never", which 0 does in haproxy's timeouts.
pub fn time_ms(word: &[u8], default: Unit) -> Result<u32, ValueError> {
    let us = time_us(word, default)?;
    u32::try_from(us.div_ceil(1_000))
        .ok()
        .filter(|&ms| ms <= TIME_MAX_MS)
        .ok_or(ValueError::new(ValueErrorKind::TimeOverflow, 0))
}

/// A time in whole seconds, rounded up, bounded as [`time_ms`]. `stats refresh` counts bare numbers in seconds.
pub fn time_s(word: &[u8], default: Unit) -> Result<u32, ValueError> {
    time_ms(word, default).map(|ms| ms.div_ceil(1_000))
}

/// A time in microseconds; a bare number counts in `default`. Overflow only beyond 64 bits.
pub fn time_us(word: &[u8], default: Unit) -> Result<u64, ValueError> {
    let overflow = ValueError::new(ValueErrorKind::TimeOverflow, 0);
    let (number, used) = digits(word)?;
    let rest = &word[used..];
    let Some((unit, unit_len)) = Unit::at_start(rest, default) else {
        return Err(unexpected(word, used));
    };
    if rest.len() > unit_len {
        let at = used + unit_len;
        return Err(ValueError::new(
            ValueErrorKind::AfterUnit(char_at(word, at)),
            at,
        ));
    }
    let number = number.ok_or_else(|| overflow.clone())?;
    number.checked_mul(unit.us()).ok_or(overflow)
}

/// Whether haproxy 3.1 and later warns of this timeout as "suspiciously small": 1 to 99 without a unit.
pub fn is_suspiciously_small(word: &[u8]) -> bool {
    matches!(digits(word), Ok((Some(1..=99), used)) if used == word.len())
}

/// A size in bytes: digits, then nothing or one of `k m g` in either case, powers of 1024.
pub fn size(word: &[u8]) -> Result<u64, ValueError> {
    let (number, used) = digits(word)?;
    let shift = match word[used..] {
        [] => 0,
        [b'k' | b'K'] => 10,
        [b'm' | b'M'] => 20,
        [b'g' | b'G'] => 30,
        [b'k' | b'K' | b'm' | b'M' | b'g' | b'G', ..] => return Err(unexpected(word, used + 1)),
        _ => return Err(unexpected(word, used)),
    };
    number
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or(ValueError::new(ValueErrorKind::SizeOverflow, 0))
}

/// A whole number without sign or unit, within `range`.
pub fn uint(word: &[u8], range: RangeInclusive<u32>) -> Result<u32, ValueError> {
    let out = out_of_range(i64::from(*range.start()), i64::from(*range.end()));
    let (number, used) = match digits(word) {
        // "-5" is a number, only not one that any range here has.
        Err(_) if is_negative(word) => return Err(out),
        read => read?,
    };
    if used < word.len() {
        return Err(unexpected(word, used));
    }
    number
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| range.contains(n))
        .ok_or(out)
}

/// A whole number with an optional sign, within `range`.
pub fn int(word: &[u8], range: RangeInclusive<i64>) -> Result<i64, ValueError> {
    let out = out_of_range(*range.start(), *range.end());
    let sign_len = usize::from(matches!(word, [b'+' | b'-', ..]));
    let (number, used) = digits(&word[sign_len..]).map_err(|e| ValueError {
        at: e.at + sign_len,
        ..e
    })?;
    if sign_len + used < word.len() {
        return Err(unexpected(word, sign_len + used));
    }
    let magnitude = i128::from(number.ok_or_else(|| out.clone())?);
    let value = if word[0] == b'-' {
        -magnitude
    } else {
        magnitude
    };
    i64::try_from(value)
        .ok()
        .filter(|n| range.contains(n))
        .ok_or(out)
}

/// A percentage, with or without its `%`, from 0 to `max`.
pub fn percent(word: &[u8], max: u32) -> Result<u32, ValueError> {
    uint(word.strip_suffix(b"%").unwrap_or(word), 0..=max)
}

/// `on` or `off`, in lower case as haproxy has it.
pub fn on_off(word: &[u8]) -> Result<bool, ValueError> {
    match word {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(ValueError::new(ValueErrorKind::NotOnOff, 0)),
    }
}

/// Permission bits as `chmod` takes them: octal, at most 7777.
pub fn mode(word: &[u8]) -> Result<u32, ValueError> {
    if let Some(at) = word.iter().position(|b| !(b'0'..=b'7').contains(b)) {
        return Err(ValueError::new(ValueErrorKind::NotMode, at));
    }
    std::str::from_utf8(word)
        .ok()
        .and_then(|w| u32::from_str_radix(w, 8).ok())
        .filter(|&m| m <= 0o7777)
        .ok_or(ValueError::new(ValueErrorKind::NotMode, 0))
}

/// The number at the start of `word`, `None` if beyond 64 bits, and how many digits it has. At least one is needed.
fn digits(word: &[u8]) -> Result<(Option<u64>, usize), ValueError> {
    let used = word.iter().take_while(|b| b.is_ascii_digit()).count();
    if word.is_empty() {
        return Err(ValueError::new(ValueErrorKind::Empty, 0));
    }
    if used == 0 {
        return Err(unexpected(word, 0));
    }
    let number = word[..used].iter().try_fold(0u64, |n, b| {
        n.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    });
    Ok((number, used))
}

fn is_negative(word: &[u8]) -> bool {
    matches!(word, [b'-', rest @ ..] if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
}

fn unexpected(word: &[u8], at: usize) -> ValueError {
    ValueError::new(ValueErrorKind::Unexpected(char_at(word, at)), at)
}

const fn out_of_range(min: i64, max: i64) -> ValueError {
    ValueError::new(ValueErrorKind::OutOfRange { min, max }, 0)
}

/// The character that starts at `at`, for messages.
fn char_at(word: &[u8], at: usize) -> char {
    let end = word.len().min(at + 4);
    String::from_utf8_lossy(&word[at..end])
        .chars()
        .next()
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests;
