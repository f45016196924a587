//! The loads, their sizes, and the quantities that are read from them.

use clap::ValueEnum;
use std::time::Duration;

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Scenario {
    /// The server sends as fast as it can over 1 connection
    #[value(name = "bulk-down-1")]
    BulkDown1,
    /// The same over 8 connections
    #[value(name = "bulk-down-8")]
    BulkDown8,
    /// The same over 64 connections
    #[value(name = "bulk-down-64")]
    BulkDown64,
    /// The client sends as fast as it can over 1 connection
    #[value(name = "bulk-up-1")]
    BulkUp1,
    /// The same over 8 connections
    #[value(name = "bulk-up-8")]
    BulkUp8,
    /// The same over 64 connections
    #[value(name = "bulk-up-64")]
    BulkUp64,
    /// 128 bytes there and back on 64 connections, each sends again as soon as it has its answer
    Pingpong,
    /// 128 bytes there and back on 64 connections at a fixed rate: latency from the moment a message was due
    Latency,
    /// The same while 8 other connections download as fast as they can
    LatencyBesideBulk,
    /// Connect, 128 bytes there and back, close
    Connect,
    /// Sessions that exchanged one message and then stay: memory for each
    Idle,
}

/// Which way bulk data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the server to the client.
    Down,
    /// From the client to the server.
    Up,
}

/// Bulk streams beside which latency is measured.
pub(crate) const BESIDE_STREAMS: usize = 8;
/// Bytes of one small message, as in design tables of relays (a chat stanza, a database command).
pub(crate) const MESSAGE_BYTES: usize = 128;

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BulkDown1 => "bulk-down-1",
            Self::BulkDown8 => "bulk-down-8",
            Self::BulkDown64 => "bulk-down-64",
            Self::BulkUp1 => "bulk-up-1",
            Self::BulkUp8 => "bulk-up-8",
            Self::BulkUp64 => "bulk-up-64",
            Self::Pingpong => "pingpong",
            Self::Latency => "latency",
            Self::LatencyBesideBulk => "latency-beside-bulk",
            Self::Connect => "connect",
            Self::Idle => "idle",
        }
    }

    /// Direction and number of connections, where the load is bulk.
    pub(crate) fn bulk(self) -> Option<(Direction, usize)> {
        match self {
            Self::BulkDown1 => Some((Direction::Down, 1)),
            Self::BulkDown8 => Some((Direction::Down, 8)),
            Self::BulkDown64 => Some((Direction::Down, 64)),
            Self::BulkUp1 => Some((Direction::Up, 1)),
            Self::BulkUp8 => Some((Direction::Up, 8)),
            Self::BulkUp64 => Some((Direction::Up, 64)),
            _ => None,
        }
    }
}

/// How much of each load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) rounds: u32,
    /// Before anything is counted.
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    /// Connections of the message scenarios.
    pub(crate) talkers: usize,
    /// Connections opened at once in `connect` and while `idle` fills.
    pub(crate) openers: usize,
    /// Messages per second in the open-loop scenarios. The generator on one core tops out at some 35,000.
    pub(crate) rate: u32,
    pub(crate) idle_sessions: usize,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        rounds: 12,
        warm_up: Duration::from_millis(300),
        window: Duration::from_millis(1_000),
        talkers: 64,
        openers: 16,
        rate: 8_000,
        idle_sessions: 10_000,
    };
    pub(crate) const SMOKE: Self = Self {
        rounds: 1,
        warm_up: Duration::from_millis(30),
        window: Duration::from_millis(100),
        talkers: 8,
        openers: 4,
        rate: 500,
        idle_sessions: 100,
    };
}

/// A quantity read from a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Metric {
    /// CPU seconds of the balancer per 10^9 bytes relayed.
    CpuPerGb,
    /// CPU seconds of the balancer per million round trips.
    CpuPerMillion,
    /// CPU seconds of the balancer per 10,000 connections.
    CpuPer10k,
    /// Resident memory of the balancer per session, KiB.
    RssPerSession,
    /// What the whole machine has less of per session, KiB, the rig's own growth taken off.
    MachinePerSession,
    /// Median latency in microseconds.
    P50,
    /// 99th percentile of latency in microseconds.
    P99,
    /// 10^9 bytes per second. Informative: the generator is often the limit.
    GbPerSecond,
    /// Round trips or connections per second. Informative likewise.
    PerSecond,
    /// 99th percentile of how late the generator itself was, microseconds: what a latency cannot resolve.
    GeneratorLag,
    /// Busy seconds of the balancer's cores per second, whoever was busy there: work moved out of the process
    /// shows here and not in its CPU time.
    CoreBusy,
}

impl Metric {
    const ALL: [Self; 11] = [
        Self::CpuPerGb,
        Self::CpuPerMillion,
        Self::CpuPer10k,
        Self::RssPerSession,
        Self::MachinePerSession,
        Self::P50,
        Self::P99,
        Self::GbPerSecond,
        Self::PerSecond,
        Self::GeneratorLag,
        Self::CoreBusy,
    ];

    /// Name in results files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::CpuPerGb => "cpu_s_per_gb",
            Self::CpuPerMillion => "cpu_s_per_1m",
            Self::CpuPer10k => "cpu_s_per_10k",
            Self::RssPerSession => "rss_kib_per_session",
            Self::MachinePerSession => "machine_kib_per_session",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::GbPerSecond => "gb_per_s",
            Self::PerSecond => "per_s",
            Self::GeneratorLag => "generator_lag_p99_us",
            Self::CoreBusy => "core_busy",
        }
    }

    pub(crate) fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.key() == key)
    }

    /// Whether less of it is better and the rig exists to compare it; the others explain.
    pub(crate) fn is_cost(self) -> bool {
        !matches!(
            self,
            Self::GbPerSecond | Self::PerSecond | Self::GeneratorLag | Self::CoreBusy
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_scenarios_are_those_of_the_command_line() {
        for scenario in Scenario::value_variants() {
            let shown = scenario.to_possible_value().expect("none is hidden");
            assert_eq!(shown.get_name(), scenario.name());
        }
    }

    #[test]
    fn every_metric_is_found_by_its_key() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_key(metric.key()), Some(metric));
        }
        assert_eq!(Metric::from_key("bogus"), None);
    }
}
