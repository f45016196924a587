//! The rig: it drives one load through ringway and through haproxy, in turns, and compares what each paid.
//!
//! Everything runs on loopback of one machine: the balancer under test on its core(s), the load generator and
//! the origin (a thread with an epoll) on another. Absolute figures say as much about the machine as about the
//! balancer; what counts is the ratio to haproxy within one round, and the control (the same binary measured
//! against itself) says how much of a ratio is noise. It shares no code with ringway: what measures must not
//! share the mistakes of what is measured.
//!
//! Reading order: `cli` (what can be asked), `run` (the interleaved rounds), `balancer` (a child with its
//! configuration), `load` (generator and origin), `soak` (a long load with faults, whose counts must agree), then the
//! leaves: `scenario`, `proc`, `stats`, `results`,
//! `table`, `svg`, `sys`.

mod balancer;
mod cli;
mod load;
mod proc;
mod results;
mod run;
mod scenario;
mod soak;
mod stats;
mod svg;
mod sys;
mod table;

use clap::Parser as _;
use std::process::ExitCode;

/// What fails in a rig is told once, in words, and ends the run.
type Fallible<T> = Result<T, String>;

fn main() -> ExitCode {
    let done = match cli::Args::parse().command {
        cli::Command::Run(wanted) => run::run(&wanted),
        cli::Command::Soak(wanted) => soak::run(&wanted),
        cli::Command::Table { results } => table::print_file(&results),
        cli::Command::Plot { results, out } => svg::plot_file(&results, out.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench-rigs: {why}");
            ExitCode::FAILURE
        }
    }
}
