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
    /// Small HTTP requests on 64 keep-alive connections: one ACL that is evaluated, `option forwardfor`
    #[value(name = "http-keep-alive")]
    HttpKeepAlive,
    /// A client connection for each HTTP request
    #[value(name = "http-connect")]
    HttpConnect,
    /// The same with `option http-server-close`
    #[value(name = "http-connect-close")]
    HttpConnectClose,
    /// The same with `http-reuse always`
    #[value(name = "http-connect-reuse")]
    HttpConnectReuse,
    /// Objects of 1 MiB on 8 keep-alive connections
    #[value(name = "http-1mb")]
    HttpMegabyte,
    /// Small requests that match the one `use_backend` rule on the path
    #[value(name = "http-rules-1")]
    HttpRules1,
    /// Small requests that match the last of 1,000 such rules
    #[value(name = "http-rules-1000")]
    HttpRules1000,
    /// Small requests at a fixed rate, a third of haproxy's capacity unless given: latency from the moment due
    #[value(name = "http-latency")]
    HttpLatency,
    /// Keep-alive connections that had one answer and then stay: memory for each
    #[value(name = "http-idle")]
    HttpIdle,
}

/// What the balancer is configured to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// A relay.
    Tcp,
    /// An HTTP proxy with `forwardfor` and one ACL; `line` is added to its defaults.
    Http { line: &'static str },
    /// An HTTP proxy with so many `use_backend` rules on the path.
    Rules(usize),
}

/// A kind of request and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) path: &'static str,
    /// Whether the client asks for its connection to be closed.
    pub(crate) closes: bool,
}

/// Which way bulk data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the server to the client.
    Down,
    /// From the client to the server.
    Up,
}

/// Rules of `http-rules-1000`.
pub(crate) const MANY_RULES: usize = 1_000;
/// The origin answers this path with `MEGABYTE` bytes, any other one with `MESSAGE_BYTES`.
pub(crate) const MEGABYTE_PATH: &str = "/1mb";
pub(crate) const MEGABYTE: usize = 1 << 20;
/// Connections of `http-1mb`.
pub(crate) const MEGABYTE_STREAMS: usize = 8;
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
            Self::HttpKeepAlive => "http-keep-alive",
            Self::HttpConnect => "http-connect",
            Self::HttpConnectClose => "http-connect-close",
            Self::HttpConnectReuse => "http-connect-reuse",
            Self::HttpMegabyte => "http-1mb",
            Self::HttpRules1 => "http-rules-1",
            Self::HttpRules1000 => "http-rules-1000",
            Self::HttpLatency => "http-latency",
            Self::HttpIdle => "http-idle",
        }
    }

    pub(crate) fn site(self) -> Site {
        match self {
            Self::HttpKeepAlive
            | Self::HttpConnect
            | Self::HttpMegabyte
            | Self::HttpLatency
            | Self::HttpIdle => Site::Http { line: "" },
            Self::HttpConnectClose => Site::Http {
                line: "option http-server-close",
            },
            Self::HttpConnectReuse => Site::Http {
                line: "http-reuse always",
            },
            Self::HttpRules1 => Site::Rules(1),
            Self::HttpRules1000 => Site::Rules(MANY_RULES),
            _ => Site::Tcp,
        }
    }

    /// What clients ask for, where the load is HTTP.
    pub(crate) fn page(self) -> Option<Page> {
        let path = match (self, self.site()) {
            (_, Site::Tcp) => return None,
            (Self::HttpMegabyte, _) => MEGABYTE_PATH,
            (Self::HttpRules1, _) => "/p1/page.html",
            (Self::HttpRules1000, _) => "/p1000/page.html",
            _ => "/page.html",
        };
        let closes = matches!(
            self,
            Self::HttpConnect | Self::HttpConnectClose | Self::HttpConnectReuse
        );
        Some(Page { path, closes })
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
    /// Messages per second in the open-loop scenarios. With a core to itself the generator carried
    /// 76,000 in a closed loop.
    pub(crate) rate: u32,
    /// Requests per second in `http-latency`.
    pub(crate) http_rate: u32,
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
        http_rate: 4_000,
        idle_sessions: 10_000,
    };
    pub(crate) const SMOKE: Self = Self {
        rounds: 1,
        warm_up: Duration::from_millis(30),
        window: Duration::from_millis(100),
        talkers: 8,
        openers: 4,
        rate: 500,
        http_rate: 500,
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
    fn pages_of_rules_match_the_last_one() {
        assert_eq!(
            Scenario::HttpRules1000.page().map(|page| page.path),
            Some(format!("/p{MANY_RULES}/page.html").as_str())
        );
        assert_eq!(Scenario::Idle.page(), None);
    }

    #[test]
    fn every_metric_is_found_by_its_key() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_key(metric.key()), Some(metric));
        }
        assert_eq!(Metric::from_key("bogus"), None);
    }
}
