//! Metrics that haproxy does not have. They follow its own in each group.

use std::sync::atomic::Ordering::Relaxed;

use super::{Metric, Origin, gauge, http, total};
use crate::shared::Lap;

/// What each shard did, with the label `shard`.
pub(in crate::observe::stats::prometheus) const PROCESS: &[Metric] = &[
    gauge(
        "shard_load_ratio",
        Origin::ShardLoad,
        "Share of the last second that the shard worked.",
    ),
    gauge(
        "shard_connections",
        Origin::Shard(|s| u64::from(s.connections.load(Relaxed))),
        "Connections of clients that are open on the shard.",
    ),
    total(
        "shard_bytes_copied_total",
        Origin::Shard(|s| s.activity.bytes_copied.get()),
        "Bytes relayed through memory of the shard.",
    ),
    total(
        "shard_bytes_spliced_total",
        Origin::Shard(|s| s.activity.bytes_spliced.get()),
        "Bytes relayed within the kernel.",
    ),
];

const fn times(name: &'static str, lap: Lap, help: &'static str) -> Metric {
    gauge(name, Origin::Times(lap), help)
}

/// Histograms of frontends, backends and servers.
pub(in crate::observe::stats::prometheus) const TIMES: &[Metric] = &[
    times(
        "queue_time_seconds",
        Lap::Queue,
        "Time that requests or sessions waited for a server.",
    ),
    times(
        "connect_time_seconds",
        Lap::Connect,
        "Time to a connection to a server.",
    ),
    http(times(
        "response_time_seconds",
        Lap::Response,
        "Time that servers took to answer.",
    )),
    times(
        "total_time_seconds",
        Lap::Total,
        "Time from the first byte of a request, or the begin of a session, to its end.",
    ),
];

/// Upper bounds of the buckets in µs and as labels tell them. The first and last are what a balancer on a fast network
/// and a request that somebody still waits for take.
pub(in crate::observe::stats::prometheus) const LIMITS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];
