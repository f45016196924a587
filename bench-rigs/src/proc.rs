//! What the kernel tells about a process and the machine, read from /proc (proc(5)).

use crate::{Fallible, sys};
use std::fs;
use std::time::{Duration, Instant};

/// What a balancer has consumed until a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    /// CPU time of all its threads, also those that have ended.
    pub(crate) cpu: Duration,
    /// Busy time of its cores, whoever was busy, in clock ticks.
    pub(crate) core_ticks: u64,
}

/// Reads one balancer.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) pid: i32,
    pub(crate) cores: Vec<usize>,
}

impl Meter {
    pub(crate) fn read(&self) -> Fallible<Reading> {
        let stat = read("/proc/stat")?;
        let core_ticks = self
            .cores
            .iter()
            .filter_map(|&core| busy_ticks(&stat, core))
            .sum();
        Ok(Reading {
            at: Instant::now(),
            cpu: self.cpu()?,
            core_ticks,
        })
    }

    /// CPU time from the process clock, in nanoseconds; from /proc/PID/stat, in ticks of 10 ms, where that fails.
    fn cpu(&self) -> Fallible<Duration> {
        if let Ok(cpu) = sys::process_cpu(self.pid) {
            return Ok(cpu);
        }
        let path = format!("/proc/{}/stat", self.pid);
        let ticks = cpu_ticks(&read(&path)?).ok_or_else(|| format!("{path}: not understood"))?;
        Ok(Duration::from_millis(
            ticks * 1_000 / sys::ticks_per_second(),
        ))
    }

    /// Resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> Fallible<u64> {
        rss_kib_of(&self.pid.to_string())
    }
}

/// Resident memory of this process in KiB.
pub(crate) fn own_rss_kib() -> Fallible<u64> {
    rss_kib_of("self")
}

fn rss_kib_of(pid: &str) -> Fallible<u64> {
    let path = format!("/proc/{pid}/status");
    field_kib(&read(&path)?, "VmRSS").ok_or_else(|| format!("{path}: no VmRSS"))
}

/// Memory the machine could still give out, in KiB. Sees kernel memory (sockets, pipes), which RSS does not.
pub(crate) fn available_kib() -> Fallible<u64> {
    field_kib(&read("/proc/meminfo")?, "MemAvailable")
        .ok_or_else(|| "/proc/meminfo: no MemAvailable".to_owned())
}

/// Kernel release and CPU, as results carry them.
pub(crate) fn machine() -> (String, String) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    (kernel.trim().to_owned(), cpu_model(&cpuinfo))
}

fn read(path: &str) -> Fallible<String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// utime + stime of /proc/PID/stat in clock ticks.
///
/// The second field is the command in parentheses and may itself hold spaces and parentheses: fields are counted
/// from the last one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// Ticks that `core` spent neither idle nor waiting for a disk, from /proc/stat.
fn busy_ticks(stat: &str, core: usize) -> Option<u64> {
    let name = format!("cpu{core}");
    let line = stat
        .lines()
        .find(|line| line.split_ascii_whitespace().next() == Some(&name))?;
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .map_while(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user already.
    Some(
        [0, 1, 2, 5, 6]
            .into_iter()
            .filter_map(|place| ticks.get(place))
            .sum(),
    )
}

/// Value of a `Name:   123 kB` line.
fn field_kib(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// `2 x AMD EPYC`, from /proc/cpuinfo.
fn cpu_model(cpuinfo: &str) -> String {
    let mut models = cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let Some((_, model)) = models.next() else {
        return "unknown CPU".to_owned();
    };
    format!("{} x {}", models.count() + 1, model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_found_behind_a_command_with_spaces_and_parentheses() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 75 3 4 20 0 1 0 100 200 300";
        assert_eq!(cpu_ticks(stat), Some(325));
        assert_eq!(cpu_ticks("42 (cut) S 1 2"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn a_core_is_busy_while_neither_idle_nor_waiting() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 4 800 1600 8 16 32 64 0\ncpu10 5 5 5 5 5 5 5 5 0 0\nintr 1\n";
        assert_eq!(busy_ticks(stat, 1), Some(31));
        assert_eq!(busy_ticks(stat, 10), Some(25));
        assert_eq!(busy_ticks(stat, 2), None);
    }

    #[test]
    fn a_field_is_read_by_its_whole_name() {
        let status = "VmRSSX:\t 1 kB\nVmHWM:\t    9 kB\nVmRSS:\t  5120 kB\n";
        assert_eq!(field_kib(status, "VmRSS"), Some(5120));
        assert_eq!(field_kib(status, "VmSwap"), None);
    }

    #[test]
    fn the_cpu_is_named_once_with_its_count() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: Some CPU\n\nprocessor\t: 1\nmodel name\t: Some CPU\n";
        assert_eq!(cpu_model(cpuinfo), "2 x Some CPU");
        assert_eq!(cpu_model(""), "unknown CPU");
    }

    #[test]
    fn a_process_can_read_itself() {
        let meter = Meter {
            pid: std::process::id().cast_signed(),
            cores: vec![0],
        };
        let before = meter.read().expect("procfs is there");
        let mut sum = 0_u64;
        while before.at.elapsed() < Duration::from_millis(20) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        let after = meter.read().expect("procfs is there");
        assert!(after.cpu > before.cpu);
        assert!(meter.rss_kib().expect("procfs is there") > 0);
    }
}
