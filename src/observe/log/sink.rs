//! Who gets a log line: targets, levels, sampling, header, and the cut to `len`
//! (configuration.txt 3.1 `log`). Where the bytes go is [`LogOut`]'s.

use super::line::TcpRecord;
use crate::base::clock::LocalClock;
use crate::config::{Level, LogAddress, LogTarget, LogWire};
use crate::proto::syslog::{Format, Header, push_header};

/// Takes finished lines. The daemon's is `proxy::logs::ShardLogs`.
pub trait LogOut {
    /// Sends one line, its line feed included. Never waits; `false`: it was dropped.
    fn send(&mut self, to: &LogAddress, bytes: &[u8]) -> bool;
    /// How many lines came to this sampled target before this one, over the whole process.
    fn sample(&mut self, target: &LogTarget) -> u32;
}

/// Who speaks, in headers.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// `log-send-hostname`, the host's own name already put in place.
    pub host: Option<String>,
    pub pid: u32,
}

/// How many targets took a line, and how many could not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    pub sent: u32,
    pub dropped: u32,
}

/// One line before it is dressed for its targets.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub level: Level,
    pub tag: &'a str,
    /// Now, microseconds since the epoch.
    pub wall_us: u64,
    /// `log-format-sd`, for targets in RFC 5424; empty: none.
    pub structured: &'a [u8],
    /// Without line feed.
    pub message: &'a [u8],
}

/// Renders lines for targets. One per shard: it keeps the buffer and the date.
#[derive(Debug)]
pub struct Sink {
    pub speaker: Speaker,
    pub clock: LocalClock,
    line: Vec<u8>,
}

impl Sink {
    pub fn new(speaker: Speaker, clock: LocalClock) -> Self {
        Self {
            speaker,
            clock,
            line: Vec::with_capacity(2048),
        }
    }

    /// Sends the line to every target that wants its level.
    pub fn push(
        &mut self,
        targets: &[LogTarget],
        line: &Line<'_>,
        out: &mut impl LogOut,
    ) -> Pushed {
        let mut pushed = Pushed::default();
        for target in targets {
            if line.level > target.max_level || !sampled(target, out) {
                continue;
            }
            self.render(target, line);
            if out.send(&target.to, &self.line) {
                pushed.sent += 1;
            } else {
                pushed.dropped += 1;
            }
        }
        pushed
    }

    /// Header and message, cut to `len` bytes, and the line feed that is not counted in them.
    fn render(&mut self, target: &LogTarget, line: &Line<'_>) {
        self.line.clear();
        let header = Header {
            format: format(target.format, &self.speaker),
            facility: target.facility.0,
            severity: line.level.max(target.min_level) as u8,
            stamp: self.clock.stamp(line.wall_us),
            host: self.speaker.host.as_deref(),
            tag: line.tag,
            pid: self.speaker.pid,
            structured: line.structured,
        };
        push_header(&mut self.line, &header);
        self.line.extend_from_slice(line.message);
        self.line.truncate(target.len.into());
        self.line.push(b'\n');
    }
}

/// A session's level: `info`, or `err` under `option log-separate-errors` if it was not [`normal`].
pub fn session_level(record: &TcpRecord<'_>, separate_errors: bool) -> Level {
    if separate_errors && !normal(record) {
        Level::Err
    } else {
        Level::Info
    }
}

/// Without error, timeout, retry or redispatch: what `option dontlog-normal` leaves out.
pub fn normal(record: &TcpRecord<'_>) -> bool {
    record.termination[0] == b'-' && record.retries == 0 && !record.redispatched
}

/// How an HTTP stream ended, and what its frontend and its rules say of its line.
#[derive(Clone, Copy, Debug)]
pub struct StreamEnd {
    /// First letter of the termination state.
    pub cause: u8,
    /// 0 or less: no answer was sent.
    pub status: i64,
    pub retries: u32,
    pub redispatched: bool,
    /// Nothing came from the client.
    pub nothing_received: bool,
    pub set_level: SetLevel,
    /// `option dontlognull`, `dontlog-normal`, `log-separate-errors`.
    pub dontlog_null: bool,
    pub dontlog_normal: bool,
    pub separate_errors: bool,
}

/// `set-log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SetLevel {
    #[default]
    Unset,
    Silent,
    To(Level),
}

impl StreamEnd {
    /// An error, a timeout, a retry, a redispatch or a status of 500 and above. An answer of our own to a valid
    /// request (`L`) is none.
    pub fn failed(&self) -> bool {
        !matches!(self.cause, b'-' | b'L')
            || self.retries > 0
            || self.redispatched
            || self.status >= 500
    }
    /// The level of its line; `None`: there is none (configuration.txt 8.3).
    pub fn level(&self) -> Option<Level> {
        let failed = self.failed();
        if self.dontlog_null && self.nothing_received || self.dontlog_normal && !failed {
            return None;
        }
        match self.set_level {
            SetLevel::Silent => None,
            SetLevel::To(level) => Some(level),
            SetLevel::Unset if failed && self.separate_errors => Some(Level::Err),
            SetLevel::Unset => Some(Level::Info),
        }
    }
}

/// Without a format, haproxy names the host only if told to.
fn format(wire: LogWire, speaker: &Speaker) -> Format {
    match wire {
        LogWire::Default if speaker.host.is_some() => Format::Rfc3164,
        LogWire::Default | LogWire::Local => Format::Local,
        LogWire::Rfc3164 => Format::Rfc3164,
        LogWire::Rfc5424 => Format::Rfc5424,
        LogWire::Priority => Format::Priority,
        LogWire::Short => Format::Short,
        LogWire::Timed => Format::Timed,
        LogWire::Iso => Format::Iso,
        LogWire::Raw => Format::Raw,
    }
}

fn sampled(target: &LogTarget, out: &mut impl LogOut) -> bool {
    let Some(sample) = &target.sample else {
        return true;
    };
    let position = out.sample(target) % sample.size.max(1) + 1;
    sample
        .ranges
        .iter()
        .any(|&(first, last)| (first..=last).contains(&position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Facility, LogSample};

    #[derive(Default)]
    struct Kept {
        lines: Vec<(LogAddress, String)>,
        seen: u32,
        full: bool,
    }

    impl LogOut for Kept {
        fn send(&mut self, to: &LogAddress, bytes: &[u8]) -> bool {
            if self.full {
                return false;
            }
            self.lines
                .push((to.clone(), String::from_utf8(bytes.to_vec()).unwrap()));
            true
        }
        fn sample(&mut self, _: &LogTarget) -> u32 {
            self.seen += 1;
            self.seen - 1
        }
    }

    fn target(format: LogWire) -> LogTarget {
        LogTarget {
            to: LogAddress::Fd(1),
            facility: Facility(19),
            max_level: Level::Debug,
            min_level: Level::Emerg,
            len: 1024,
            format,
            sample: None,
        }
    }

    fn sink(host: Option<&str>) -> Sink {
        Sink::new(
            Speaker {
                host: host.map(Into::into),
                pid: 20337,
            },
            LocalClock::utc(),
        )
    }

    /// Microseconds of the moment haproxy's own lines below were received at.
    const NOW: u64 = 1_795_215_390_640_318;
    const MESSAGE: &[u8] =
        b"127.0.0.1:56512 [20/Nov/2026:22:56:30.639] fe be/s1 1/0/0 1 -- 1/1/0/0/0 0/0";

    fn line(level: Level, message: &[u8]) -> Line<'_> {
        Line {
            level,
            tag: "haproxy",
            wall_us: NOW,
            structured: b"",
            message,
        }
    }

    fn lines(sink: &mut Sink, targets: &[LogTarget], level: Level) -> Vec<String> {
        let mut kept = Kept::default();
        sink.push(targets, &line(level, MESSAGE), &mut kept);
        kept.lines.into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn without_a_format_the_host_is_named_only_if_told_to() {
        let plain = lines(&mut sink(None), &[target(LogWire::Default)], Level::Info);
        assert_eq!(
            plain[0].find("haproxy[20337]: 127"),
            Some("<158>Nov 20 22:56:30 ".len())
        );
        let named = lines(
            &mut sink(Some("vm")),
            &[target(LogWire::Default)],
            Level::Info,
        );
        assert!(named[0].starts_with("<158>Nov 20 22:56:30 vm haproxy[20337]: 127"));
        let local = lines(
            &mut sink(Some("vm")),
            &[target(LogWire::Local)],
            Level::Info,
        );
        assert!(local[0].starts_with("<158>Nov 20 22:56:30 haproxy[20337]: 127"));
    }

    /// haproxy 2.6.12 with `len 80`: 80 bytes of header and message, then the line feed.
    #[test]
    fn len_counts_the_header_but_not_the_line_feed() {
        let cut = |format| {
            lines(
                &mut sink(None),
                &[LogTarget {
                    len: 80,
                    ..target(format)
                }],
                Level::Info,
            )
            .remove(0)
        };
        assert_eq!(
            cut(LogWire::Default),
            "<158>Nov 20 22:56:30 haproxy[20337]: 127.0.0.1:56512 [20/Nov/2026:22:56:30.639] \n"
        );
        assert_eq!(
            cut(LogWire::Rfc3164),
            "<158>Nov 20 22:56:30 localhost haproxy[20337]: 127.0.0.1:56512 [20/Nov/2026:22:5\n"
        );
        assert_eq!(
            cut(LogWire::Timed),
            "<6>2026-11-20T22:56:30.640318+00:00 127.0.0.1:56512 [20/Nov/2026:22:56:30.639] f\n"
        );
        assert_eq!(
            cut(LogWire::Priority),
            "<158>127.0.0.1:56512 [20/Nov/2026:22:56:30.639] fe be/s1 1/0/0 1 -- 1/1/0/0/0 0/\n"
        );
        assert_eq!(
            cut(LogWire::Raw),
            "127.0.0.1:56512 [20/Nov/2026:22:56:30.639] fe be/s1 1/0/0 1 -- 1/1/0/0/0 0/0\n"
        );
    }

    #[test]
    fn each_target_filters_by_its_own_level() {
        let info = LogTarget {
            max_level: Level::Info,
            ..target(LogWire::Short)
        };
        let warning = LogTarget {
            max_level: Level::Warning,
            ..target(LogWire::Priority)
        };
        let both = [info, warning];
        assert_eq!(lines(&mut sink(None), &both, Level::Info).len(), 1);
        assert_eq!(lines(&mut sink(None), &both, Level::Debug).len(), 0);
        assert_eq!(lines(&mut sink(None), &both, Level::Warning).len(), 2);
        let alert = lines(&mut sink(None), &both, Level::Alert);
        assert!(alert[0].starts_with("<1>") && alert[1].starts_with("<153>"));
    }

    #[test]
    fn the_minimum_level_softens_what_is_more_severe() {
        let target = LogTarget {
            min_level: Level::Err,
            ..target(LogWire::Short)
        };
        assert!(
            lines(&mut sink(None), std::slice::from_ref(&target), Level::Emerg)[0]
                .starts_with("<3>")
        );
        assert!(lines(&mut sink(None), &[target], Level::Info)[0].starts_with("<6>"));
    }

    /// haproxy 2.6.12 with `sample 1,3:4`: of nine lines after two others, those at places 1 and 3 of each four.
    #[test]
    fn sampling_takes_the_named_places_of_each_round() {
        let sample = LogSample {
            ranges: vec![(1, 1), (3, 3)],
            size: 4,
        };
        let targets = [LogTarget {
            sample: Some(sample),
            ..target(LogWire::Raw)
        }];
        let mut sink = sink(None);
        let mut kept = Kept {
            seen: 2,
            ..Kept::default()
        };
        for n in 1..=9_u8 {
            sink.push(&targets, &line(Level::Info, &[b'0' + n]), &mut kept);
        }
        let got: String = kept.lines.iter().map(|(_, line)| line.trim_end()).collect();
        assert_eq!(got, "13579");
    }

    /// haproxy 2.6.12 with each option: 403 by a rule, 503 of a dead server, 500, 404 and 200 by rules, and nothing at all.
    #[test]
    fn streams_are_logged_by_how_they_ended() {
        let end = |cause, status| StreamEnd {
            cause,
            status,
            retries: 0,
            redispatched: false,
            nothing_received: false,
            set_level: SetLevel::Unset,
            dontlog_null: false,
            dontlog_normal: false,
            separate_errors: true,
        };
        let levels = [
            (end(b'P', 403), Some(Level::Err)),
            (end(b'S', 503), Some(Level::Err)),
            (end(b'L', 500), Some(Level::Err)),
            (end(b'-', 200), Some(Level::Info)),
            (end(b'L', 404), Some(Level::Info)),
            (
                StreamEnd {
                    retries: 1,
                    ..end(b'-', 200)
                },
                Some(Level::Err),
            ),
            (
                StreamEnd {
                    set_level: SetLevel::To(Level::Crit),
                    ..end(b'S', 503)
                },
                Some(Level::Crit),
            ),
            (
                StreamEnd {
                    set_level: SetLevel::Silent,
                    ..end(b'S', 503)
                },
                None,
            ),
            (
                StreamEnd {
                    dontlog_normal: true,
                    ..end(b'L', 404)
                },
                None,
            ),
            (
                StreamEnd {
                    dontlog_normal: true,
                    ..end(b'P', 403)
                },
                Some(Level::Err),
            ),
            (
                StreamEnd {
                    dontlog_null: true,
                    nothing_received: true,
                    ..end(b'c', 408)
                },
                None,
            ),
            (
                StreamEnd {
                    dontlog_null: true,
                    ..end(b'c', 408)
                },
                Some(Level::Err),
            ),
        ];
        for (end, level) in levels {
            assert_eq!(end.level(), level, "{end:?}");
        }
    }

    #[test]
    fn what_a_target_did_not_take_is_counted() {
        let mut kept = Kept {
            full: true,
            ..Kept::default()
        };
        let targets = [target(LogWire::Raw), target(LogWire::Raw)];
        let pushed = sink(None).push(&targets, &line(Level::Info, MESSAGE), &mut kept);
        assert_eq!(
            pushed,
            Pushed {
                sent: 0,
                dropped: 2
            }
        );
    }
}
