//! What can be asked of the rig.

use crate::scenario::Scenario;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(
    version,
    about = "Measures ringway beside haproxy: CPU, memory and latency per unit of work"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure, in interleaved rounds; writes the raw samples, a table and a plot
    Run(Run),
    /// Many HTTP requests with aborts on both sides; counts of client, log, statistics and origin must agree
    Soak(Soak),
    /// Print the table of a results file again
    Table {
        /// A `.tsv` that `run` wrote
        results: PathBuf,
    },
    /// Draw the ratios to haproxy of a results file as SVG
    Plot {
        /// A `.tsv` that `run` wrote
        results: PathBuf,
        /// Where to write; the results file with `.svg` if not given
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Soak {
    /// The binary under test
    #[arg(long)]
    pub(crate) ringway: PathBuf,

    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) requests: usize,

    /// Clients, each with one connection at a time
    #[arg(long, default_value_t = 200)]
    pub(crate) connections: usize,

    /// Of what clients and origin do
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// `nbthread` of the balancer, and how many cores it is pinned to
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,

    /// By how much its memory may grow after the first quarter of the run
    #[arg(long, default_value_t = 2_048)]
    pub(crate) memory_slack_kib: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Tcp,
    Http,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// The binary under test; it is measured twice, the second time as its own control
    #[arg(long)]
    pub(crate) ringway: PathBuf,

    /// The binary everything is compared with
    #[arg(long, default_value = "/usr/sbin/haproxy")]
    pub(crate) haproxy: PathBuf,

    /// Scenarios to run, in this order; all of them if not given
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) scenarios: Vec<Scenario>,

    /// Contestants to run (haproxy always is): haproxy-tuned, ringway, ringway-control; all if not given
    #[arg(long, value_delimiter = ',')]
    pub(crate) contestants: Vec<String>,

    /// Interleaved rounds; differences under 7 % need at least 12
    #[arg(long)]
    pub(crate) rounds: Option<u32>,

    /// Where the results go
    #[arg(long, default_value = "bench-rigs/results")]
    pub(crate) out: PathBuf,

    /// `nbthread` of each balancer, and how many cores it is pinned to
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,

    /// Length of a measured window
    #[arg(long)]
    pub(crate) window_ms: Option<u64>,

    /// Only scenarios of this kind, where none are named
    #[arg(long, value_enum)]
    pub(crate) only: Option<Kind>,

    /// Messages per second, all connections together, in the open-loop scenarios; a quarter of it beside bulk; for
    /// `http-latency` a third of what a core of haproxy can carry, if not given
    #[arg(long)]
    pub(crate) rate: Option<u32>,

    /// Sessions held in `idle`; fewer if the limit of open files says so
    #[arg(long)]
    pub(crate) idle_sessions: Option<usize>,

    /// Seed of the order in which contestants take their turns
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// A few seconds of tiny loads, to see that the rig and the balancers work; no figure of it means anything
    #[arg(long)]
    pub(crate) smoke: bool,
}
