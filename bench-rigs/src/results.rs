//! Raw results: one line per figure, tab-separated, under a head that says where and with what they were made.
//!
//! Lines are appended as they are measured, so that a run that fails late keeps what it has.

use crate::Fallible;
use crate::scenario::Metric;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// One figure of one contestant in one round.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) round: u32,
    pub(crate) scenario: String,
    pub(crate) contestant: String,
    pub(crate) metric: Metric,
    pub(crate) value: f64,
}

/// A results file in memory.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Results {
    /// `name`, `value`: date, machine, versions, parameters.
    pub(crate) head: Vec<(String, String)>,
    pub(crate) samples: Vec<Sample>,
}

const COLUMNS: &str = "round\tscenario\tcontestant\tmetric\tvalue";

impl Results {
    pub(crate) fn parse(text: &str) -> Fallible<Self> {
        let mut results = Self::default();
        for (place, line) in text.lines().enumerate() {
            if let Some(head) = line.strip_prefix("# ") {
                let (name, value) = head.split_once(": ").unwrap_or((head, ""));
                results.head.push((name.to_owned(), value.to_owned()));
            } else if line != COLUMNS && !line.is_empty() {
                let sample = parse_sample(line)
                    .ok_or_else(|| format!("line {}: not a sample: {line}", place + 1))?;
                results.samples.push(sample);
            }
        }
        Ok(results)
    }

    pub(crate) fn read(path: &Path) -> Fallible<Self> {
        let told = |why| format!("{}: {why}", path.display());
        let text = fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        Self::parse(&text).map_err(told)
    }

    /// Scenarios with their metrics, in order of appearance.
    pub(crate) fn rows(&self) -> Vec<(&str, Metric)> {
        let mut rows = Vec::new();
        for sample in &self.samples {
            let row = (sample.scenario.as_str(), sample.metric);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        // Scenarios stay together although later rounds might have added a metric.
        let first = |name: &str| {
            self.samples
                .iter()
                .position(|sample| sample.scenario == name)
        };
        rows.sort_by_key(|(name, _)| first(name));
        rows
    }

    /// Values of one row and contestant with their rounds.
    pub(crate) fn values(&self, row: (&str, Metric), contestant: &str) -> Vec<(u32, f64)> {
        self.samples
            .iter()
            .filter(|one| {
                (one.scenario.as_str(), one.metric) == row && one.contestant == contestant
            })
            .map(|one| (one.round, one.value))
            .collect()
    }

    /// Which of `names` have any sample, in that order.
    pub(crate) fn present<'n>(&self, names: &[&'n str]) -> Vec<&'n str> {
        names
            .iter()
            .filter(|name| self.samples.iter().any(|one| one.contestant == **name))
            .copied()
            .collect()
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let mut fields = line.split('\t');
    let sample = Sample {
        round: fields.next()?.parse().ok()?,
        scenario: fields.next()?.to_owned(),
        contestant: fields.next()?.to_owned(),
        metric: Metric::from_key(fields.next()?)?,
        value: fields
            .next()?
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())?,
    };
    fields.next().is_none().then_some(sample)
}

fn sample_line(sample: &Sample) -> String {
    let Sample {
        round,
        scenario,
        contestant,
        metric,
        value,
    } = sample;
    format!(
        "{round}\t{scenario}\t{contestant}\t{}\t{value:.6}\n",
        metric.key()
    )
}

/// A results file that grows.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: File,
}

impl Writer {
    /// Creates the directory and the file, which must be new, and writes the head.
    pub(crate) fn create(path: PathBuf, head: &[(String, String)]) -> Fallible<Self> {
        let told = |error| format!("{}: {error}", path.display());
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(told)?;
        }
        let mut text: String = head
            .iter()
            .map(|(name, value)| format!("# {name}: {value}\n"))
            .collect();
        text.push_str(COLUMNS);
        text.push('\n');
        let mut file = File::create_new(&path).map_err(told)?;
        file.write_all(text.as_bytes()).map_err(told)?;
        Ok(Self { path, file })
    }

    pub(crate) fn push(&mut self, sample: &Sample) -> Fallible<()> {
        let line = sample_line(sample);
        self.file
            .write_all(line.as_bytes())
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// Now, in UTC, as `2026-11-20T22-50-07Z`: sorts by time and is a file name everywhere.
pub(crate) fn timestamp() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    utc_text(now.as_secs())
}

/// Civil date of a Unix time (days since 1970-03-01 shifted into 400-year eras; proleptic Gregorian).
fn utc_text(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(round: u32, scenario: &str, contestant: &str, metric: Metric, value: f64) -> Sample {
        Sample {
            round,
            scenario: scenario.to_owned(),
            contestant: contestant.to_owned(),
            metric,
            value,
        }
    }

    #[test]
    fn dates_are_right_around_leap_days_and_centuries() {
        assert_eq!(utc_text(0), "1970-01-01T00-00-00Z");
        assert_eq!(utc_text(951_782_399), "2000-02-28T23-59-59Z");
        assert_eq!(utc_text(951_782_400), "2000-02-29T00-00-00Z");
        assert_eq!(utc_text(1_709_251_200), "2024-03-01T00-00-00Z");
        assert_eq!(utc_text(1_798_761_599), "2026-12-31T23-59-59Z");
        assert_eq!(utc_text(4_107_542_400), "2100-03-01T00-00-00Z");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let wanted = Results {
            head: vec![("kernel".to_owned(), "6.18: x".to_owned())],
            samples: vec![
                sample(0, "connect", "haproxy", Metric::CpuPer10k, 0.625),
                sample(1, "idle", "ringway", Metric::RssPerSession, 1.5),
            ],
        };
        let dir = std::env::temp_dir().join(format!("bench-rigs-results-{}", std::process::id()));
        let path = dir.join("deep/one.tsv");
        let mut writer =
            Writer::create(path.clone(), &wanted.head).expect("a writable temporary directory");
        for one in &wanted.samples {
            writer.push(one).expect("the file is open");
        }
        let again = Writer::create(path.clone(), &wanted.head);
        let read = Results::read(&path);
        fs::remove_dir_all(&dir).expect("it is ours");
        assert_eq!(read, Ok(wanted));
        assert!(again.is_err(), "results are never overwritten");
    }

    #[test]
    fn a_line_that_is_no_sample_is_named() {
        for line in [
            "0\tidle\tringway\tbogus\t1",
            "0\tidle",
            "x\tidle\ta\tp50_us\t1",
            "0\ti\ta\tp50_us\tNaN",
            "0\ti\ta\tp50_us\t1\t2",
        ] {
            let told = Results::parse(&format!("# a: b\n{line}\n")).expect_err("must be refused");
            assert!(told.starts_with("line 2: "), "{told}");
        }
    }

    #[test]
    fn rows_keep_a_scenario_together_in_order_of_appearance() {
        let results = Results {
            head: Vec::new(),
            samples: vec![
                sample(0, "latency", "haproxy", Metric::P99, 1.0),
                sample(0, "idle", "haproxy", Metric::RssPerSession, 1.0),
                sample(1, "latency", "haproxy", Metric::P50, 1.0),
                sample(1, "latency", "ringway", Metric::P99, 2.0),
            ],
        };
        assert_eq!(
            results.rows(),
            [
                ("latency", Metric::P99),
                ("latency", Metric::P50),
                ("idle", Metric::RssPerSession)
            ]
        );
        assert_eq!(
            results.values(("latency", Metric::P99), "ringway"),
            [(1, 2.0)]
        );
        assert_eq!(
            results.present(&["ringway", "nobody", "haproxy"]),
            ["ringway", "haproxy"]
        );
    }
}
