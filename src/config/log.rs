//! `log` lines (configuration.txt 4.2 "log", 8.).

use super::address;
use super::model::*;
use super::raw::LogLine;
use super::words::{Args, Said};
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::lexer::Word;
use crate::lang::value;

/// Facility names by number (RFC 5424 6.2.1).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2",
    "ftp", "ntp", "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
/// Level names by number (RFC 5424 6.2.1).
const LEVELS: [(&str, Level); 8] = [
    ("emerg", Level::Emerg),
    ("alert", Level::Alert),
    ("crit", Level::Crit),
    ("err", Level::Err),
    ("warning", Level::Warning),
    ("notice", Level::Notice),
    ("info", Level::Info),
    ("debug", Level::Debug),
];
const FORMATS: [(&str, LogWire); 8] = [
    ("rfc3164", LogWire::Rfc3164),
    ("rfc5424", LogWire::Rfc5424),
    ("priority", LogWire::Priority),
    ("short", LogWire::Short),
    ("timed", LogWire::Timed),
    ("iso", LogWire::Iso),
    ("raw", LogWire::Raw),
    ("local", LogWire::Local),
];
/// Longest line where `len` does not say, and the range it may say.
const LEN_DEFAULT: u16 = 1024;
const LEN_RANGE: std::ops::RangeInclusive<u32> = 80..=65_535;

/// Reads what follows `log`, adding to or (with `no`) clearing `lines`.
///
/// `log global` is allowed where `has_global`; it is kept as such, the targets are filled in at the end.
pub(super) fn parse(
    lines: &mut Vec<LogLine>,
    args: &mut Args<'_, '_>,
    has_global: bool,
) -> Result<(), Said> {
    if !args.on() {
        if let Some(word) = args.rest().first() {
            return Err(args.fail(word.span, "'no log' does not expect arguments."));
        }
        lines.clear();
        return Ok(());
    }
    if args.rest().len() == 1 && args.eat("global") {
        if !has_global {
            return Err(args.fail(
                args.head,
                "'log global' is not allowed in the 'global' section itself.",
            ));
        }
        // Inherited and repeated: each target still gets each line once.
        lines.retain(|l| *l != LogLine::Global);
        lines.push(LogLine::Global);
        return Ok(());
    }
    let target = target(args)?;
    lines.push(LogLine::To(target));
    Ok(())
}

fn target(args: &mut Args<'_, '_>) -> Result<LogTarget, Said> {
    let Some(place) = args.next() else {
        return Err(args.fail(
            args.end(),
            "'log' expects <address> and <facility> as arguments.",
        ));
    };
    let to = address::log(args, place)?;
    let mut target = LogTarget {
        to,
        facility: Facility(0),
        max_level: Level::Debug,
        min_level: Level::Emerg,
        len: LEN_DEFAULT,
        format: LogWire::Default,
        sample: None,
    };
    options(&mut target, args)?;
    let Some(word) = args.next() else {
        return Err(args.fail(
            args.end(),
            "'log' expects <address> and <facility> as arguments.",
        ));
    };
    target.facility = facility(args, word)?;
    if let Some(word) = args.next() {
        target.max_level = level(args, word)?;
    }
    if let Some(word) = args.next() {
        target.min_level = level(args, word)?;
    }
    args.done()?;
    Ok(target)
}

/// `len`, `format`, `sample`, in haproxy's order or any other.
fn options(target: &mut LogTarget, args: &mut Args<'_, '_>) -> Result<(), Said> {
    while let Some(word) = args.rest().first() {
        match &*word.text() {
            "len" => {
                args.at += 1;
                let word = args.expect("a length after 'len'")?;
                let len =
                    value::uint(&word.bytes, LEN_RANGE).map_err(|e| args.bad_value(word, &e))?;
                target.len = u16::try_from(len).expect("the range ends at 65535");
            }
            "format" => {
                args.at += 1;
                let word = args.expect("a format after 'format'")?;
                target.format = named(args, word, "log format", FORMATS)?;
            }
            "sample" => {
                args.at += 1;
                let word = args.expect("<ranges>:<size> after 'sample'")?;
                target.sample = Some(sample(args, word)?);
            }
            "profile" => return Err(args.cx.not_yet(word.span, "log … profile")),
            _ => break,
        }
    }
    Ok(())
}

/// A facility by name.
pub(super) fn facility(args: &mut Args<'_, '_>, word: &Word) -> Result<Facility, Said> {
    let numbered: Vec<(&str, u8)> = FACILITIES.iter().copied().zip(0..).collect();
    named(args, word, "log facility", numbered).map(Facility)
}

/// A level by name.
pub(super) fn level(args: &mut Args<'_, '_>, word: &Word) -> Result<Level, Said> {
    named(args, word, "optional log level", LEVELS)
}

fn named<T>(
    args: &mut Args<'_, '_>,
    word: &Word,
    what: &str,
    table: impl IntoIterator<Item = (&'static str, T)>,
) -> Result<T, Said> {
    let text = word.text();
    let mut names = Vec::new();
    for (name, value) in table {
        if name == text {
            return Ok(value);
        }
        names.push(name);
    }
    let hint = did_you_mean(&nearest(&text, names.iter().copied()));
    let help = format!("known are: {}", names.join(" "));
    Err(args.fail_help(
        word.span,
        format!("log : unknown {what} '{text}'{hint}"),
        help,
    ))
}

/// `<ranges>:<size>`: comma-separated numbers or `low-high`, 1-based, apart, within `size`.
fn sample(args: &mut Args<'_, '_>, word: &Word) -> Result<LogSample, Said> {
    let text = word.text().into_owned();
    read_sample(&text).ok_or(()).map_err(|()| {
        let what = format!(
            "log : '{text}' is no sampling such as '1,3-5:10' (ranges apart and within the size)."
        );
        args.fail(word.span, what)
    })
}

fn read_sample(text: &str) -> Option<LogSample> {
    let (ranges, size) = text.split_once(':')?;
    let size = value::uint(size.as_bytes(), 1..=1_000_000).ok()?;
    let mut out: Vec<(u32, u32)> = Vec::new();
    for range in ranges.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let low = value::uint(low.as_bytes(), 1..=size).ok()?;
        let high = value::uint(high.as_bytes(), low..=size).ok()?;
        out.push((low, high));
    }
    out.sort_unstable();
    let apart = out.windows(2).all(|pair| pair[0].1 < pair[1].0);
    apart.then_some(LogSample { ranges: out, size })
}
