//! The rounds: every contestant in every round and scenario, in an order drawn anew each time.
//!
//! A fresh balancer serves each measurement, so that none inherits grown pools or queues from the last. Turns are
//! interleaved because a shared machine changes by the minute: neighbours then slow all contestants alike.

use crate::balancer::{BASELINE, Contestant, Ports, contestants, sessions_max};
use crate::cli::{Kind, Run};
use crate::load::{self, Figures, Job, Path as Way};
use crate::results::{Results, Sample, Writer, timestamp};
use crate::scenario::{Metric, Scale, Scenario, Site};
use crate::stats::shuffled;
use crate::{Fallible, proc, svg, sys, table};
use clap::ValueEnum as _;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connections that may wait for the origin; all of a scenario's at once.
const BACKLOG: i32 = 4_096;
/// Of `maxconn`, not held in `idle`: the sessions that found out whether the balancer is up may linger.
const SPARE_SESSIONS: usize = 100;
/// Port slots tried before giving up on a machine that uses them all.
const SLOTS_TRIED: u32 = 20;

/// Runs what `wanted` says, prints the table, and leaves samples, table and plot behind.
pub(crate) fn run(wanted: &Run) -> Fallible<()> {
    let mut bench = Bench::prepare(wanted)?;
    let scratch = Scratch::create()?;
    bench.set_http_rate(wanted, &scratch.0)?;
    let head = bench.head(wanted)?;
    let stem = wanted.out.join(format!(
        "{}{}",
        timestamp(),
        if wanted.smoke { "-smoke" } else { "" }
    ));
    let tsv = stem.with_extension("tsv");
    let mut writer = Writer::create(tsv.clone(), &head)?;
    let mut turn = std::process::id();
    for round in 0..bench.scale.rounds {
        eprintln!("round {} of {}", round + 1, bench.scale.rounds);
        for &scenario in &bench.scenarios {
            for place in shuffled(
                bench.contestants.len(),
                order_seed(wanted.seed, round, scenario),
            ) {
                let contestant = &bench.contestants[place];
                turn = turn.wrapping_add(1);
                let figures = bench
                    .measure(scenario, contestant, turn, &scratch.0)
                    .map_err(|why| format!("{}, round {}: {why}", scenario.name(), round + 1))?;
                note(&mut writer, round, scenario, contestant, &figures)?;
            }
        }
    }
    drop(scratch);
    let text = table::render(&Results::read(&tsv)?);
    print!("{text}");
    let txt = stem.with_extension("txt");
    fs::write(&txt, text).map_err(|error| format!("{}: {error}", txt.display()))?;
    svg::plot_file(&tsv, None)?;
    println!("wrote {} and {}", tsv.display(), txt.display());
    Ok(())
}

/// What all measurements of a run share.
struct Bench {
    contestants: Vec<Contestant>,
    scenarios: Vec<Scenario>,
    scale: Scale,
    balancer_cores: Vec<usize>,
    load_core: usize,
    sessions_max: usize,
}

impl Bench {
    fn prepare(wanted: &Run) -> Fallible<Self> {
        let cores = sys::allowed_cores().map_err(|error| format!("sched_getaffinity: {error}"))?;
        let (balancer_cores, load_core) = placement(&cores, wanted.threads)?;
        if balancer_cores.contains(&load_core) {
            eprintln!(
                "note: core {load_core} is shared by balancer and load generator: latencies mean little"
            );
        }
        let open_files =
            sys::raise_open_files().map_err(|error| format!("limit of open files: {error}"))?;
        let sessions_max = sessions_max(open_files);
        let mut scale = scale(wanted);
        let idle_max = sessions_max.saturating_sub(SPARE_SESSIONS);
        if scale.idle_sessions > idle_max {
            eprintln!(
                "note: {open_files} open files allow {idle_max} idle sessions, not {}",
                scale.idle_sessions
            );
            scale.idle_sessions = idle_max;
        }
        if idle_max < scale.talkers * 2 {
            return Err(format!("{open_files} open files are too few"));
        }
        Ok(Self {
            contestants: chosen(wanted)?,
            scenarios: scenarios(wanted),
            scale,
            balancer_cores,
            load_core,
            sessions_max,
        })
    }

    /// A third of what a core of haproxy carries, and at most half of what the generator does. Found with one
    /// measurement of `http-keep-alive`, unless a rate was asked for.
    fn set_http_rate(&mut self, wanted: &Run, dir: &Path) -> Fallible<()> {
        if !self.scenarios.contains(&Scenario::HttpLatency) || wanted.smoke || wanted.rate.is_some()
        {
            return Ok(());
        }
        let turn = std::process::id();
        let figures = self
            .measure(Scenario::HttpKeepAlive, &self.contestants[0], turn, dir)
            .map_err(|why| format!("finding a rate: {why}"))?;
        let found = |wanted| {
            let place = figures.iter().find(|(metric, _)| *metric == wanted);
            place.map_or(0.0, |(_, value)| *value)
        };
        let capacity = 1e6 / found(Metric::CpuPerMillion);
        let rate = (capacity / 3.0).min(found(Metric::PerSecond) / 2.0);
        self.scale.http_rate = (rate as u32).clamp(100, 1_000_000);
        Ok(())
    }

    /// Where, with what and how this was measured. No paths: they say nothing on another machine.
    fn head(&self, wanted: &Run) -> Fallible<Vec<(String, String)>> {
        let (kernel, cpu) = proc::machine();
        let Scale {
            rounds,
            warm_up,
            window,
            talkers,
            openers,
            rate,
            http_rate,
            idle_sessions,
        } = self.scale;
        let mut head = vec![
            ("date".to_owned(), timestamp()),
            ("kernel".to_owned(), kernel),
            ("cpu".to_owned(), cpu),
            (
                "cores".to_owned(),
                format!(
                    "balancer {:?}, load {}",
                    self.balancer_cores, self.load_core
                ),
            ),
            (
                "parameters".to_owned(),
                format!(
                    "rounds {rounds}, seed {}, warm-up {warm_up:?}, window {window:?}, talkers {talkers}, openers \
                     {openers}, rate {rate}/s, http-rate {http_rate}/s, idle {idle_sessions}, threads {}",
                    wanted.seed, wanted.threads
                ),
            ),
        ];
        for contestant in &self.contestants {
            head.push((contestant.name.to_owned(), contestant.version()?));
        }
        Ok(head)
    }

    /// One turn: origin, balancer, load, and all of it gone again.
    fn measure(
        &self,
        scenario: Scenario,
        contestant: &Contestant,
        turn: u32,
        dir: &Path,
    ) -> Fallible<Figures> {
        let (ports, origin, beside_origin) = free_ports(turn)?;
        let balancer = contestant.start(
            scenario.site(),
            ports,
            &self.balancer_cores,
            self.sessions_max,
            dir,
        )?;
        let figures = load::run(Job {
            scenario,
            scale: self.scale,
            core: self.load_core,
            meter: balancer.meter(),
            main: Way {
                front: ports.front(),
                origin,
            },
            beside: Way {
                front: ports.beside(),
                origin: beside_origin,
            },
        })
        .map_err(|why| balancer.with_words(&why))?;
        balancer.stop()?;
        Ok(figures)
    }
}

fn note(
    writer: &mut Writer,
    round: u32,
    scenario: Scenario,
    contestant: &Contestant,
    figures: &Figures,
) -> Fallible<()> {
    for &(metric, value) in figures {
        writer.push(&Sample {
            round,
            scenario: scenario.name().to_owned(),
            contestant: contestant.name.to_owned(),
            metric,
            value,
        })?;
    }
    Ok(())
}

fn scale(wanted: &Run) -> Scale {
    let base = if wanted.smoke {
        Scale::SMOKE
    } else {
        Scale::FULL
    };
    Scale {
        rounds: wanted.rounds.unwrap_or(base.rounds).max(1),
        window: wanted.window_ms.map_or(base.window, |window| {
            Duration::from_millis(window.clamp(10, 60_000))
        }),
        rate: wanted.rate.unwrap_or(base.rate).max(1),
        http_rate: wanted.rate.unwrap_or(base.http_rate).max(1),
        idle_sessions: wanted.idle_sessions.unwrap_or(base.idle_sessions).max(1),
        ..base
    }
}

fn scenarios(wanted: &Run) -> Vec<Scenario> {
    if !wanted.scenarios.is_empty() {
        return wanted.scenarios.clone();
    }
    let of_kind = |scenario: &Scenario| {
        let tcp = scenario.site() == Site::Tcp;
        wanted.only.is_none_or(|only| (only == Kind::Tcp) == tcp)
    };
    // One of each kind is enough to see that they work.
    let redundant = [
        Scenario::BulkDown1,
        Scenario::BulkDown64,
        Scenario::BulkUp1,
        Scenario::BulkUp64,
    ];
    let all = Scenario::value_variants().iter().copied();
    all.filter(|scenario| of_kind(scenario) && !(wanted.smoke && redundant.contains(scenario)))
        .collect()
}

fn chosen(wanted: &Run) -> Fallible<Vec<Contestant>> {
    let all = contestants(&wanted.ringway, &wanted.haproxy);
    if let Some(unknown) = wanted
        .contestants
        .iter()
        .find(|name| all.iter().all(|one| one.name != name.as_str()))
    {
        let names: Vec<&str> = all.iter().map(|one| one.name).collect();
        return Err(format!(
            "unknown contestant '{unknown}'; there are {}",
            names.join(", ")
        ));
    }
    // The smoke run wants to see both work, and to be over.
    let default = |name: &str| !wanted.smoke || name == "ringway";
    let takes_part = |name: &str| {
        let named = wanted.contestants.iter().any(|other| other == name);
        name == BASELINE || named || (wanted.contestants.is_empty() && default(name))
    };
    Ok(all.into_iter().filter(|one| takes_part(one.name)).collect())
}

/// The first cores for the balancer, the last one for the load; shared only if there is no other way.
pub(crate) fn placement(cores: &[usize], threads: usize) -> Fallible<(Vec<usize>, usize)> {
    let &load = cores.last().ok_or("no core is allowed")?;
    if threads == 0 || threads > cores.len() {
        return Err(format!(
            "--threads {threads}: there are {} cores",
            cores.len()
        ));
    }
    Ok((cores[..threads].to_vec(), load))
}

fn order_seed(seed: u64, round: u32, scenario: Scenario) -> u64 {
    seed.wrapping_mul(0x1_0000_0001)
        .wrapping_add(u64::from(round) << 8)
        .wrapping_add(scenario as u64)
}

/// Four ports that nobody uses, and the two origins listening on theirs.
pub(crate) fn free_ports(turn: u32) -> Fallible<(Ports, TcpListener, TcpListener)> {
    let mut last = String::new();
    for step in 0..SLOTS_TRIED {
        let ports = Ports::nth(turn.wrapping_add(step));
        // The balancer's own ports are tried and left again at once.
        let bound = listen(ports.front())
            .and_then(|_| listen(ports.beside()))
            .and_then(|_| Ok((listen(ports.origin())?, listen(ports.beside_origin())?)));
        match bound {
            Ok((origin, beside)) => return Ok((ports, origin, beside)),
            Err(why) => last = why,
        }
    }
    Err(format!("no free ports: {last}"))
}

fn listen(address: SocketAddr) -> Fallible<TcpListener> {
    let bound = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bound().map_err(|error: std::io::Error| format!("listen on {address}: {error}"))
}

/// A directory for configurations and messages, gone with the run.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn create() -> Fallible<Self> {
        let path = std::env::temp_dir().join(format!("bench-rigs-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs in the temporary directory harm nobody.
        let _left_over = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Args, Command};
    use clap::Parser as _;

    fn wanted(more: &[&str]) -> Run {
        let words = ["bench-rigs", "run", "--ringway", "/r"].iter().chain(more);
        match Args::parse_from(words).command {
            Command::Run(run) => run,
            _ => unreachable!("the words say run"),
        }
    }

    fn names(wanted: &Run) -> Vec<&'static str> {
        chosen(wanted)
            .expect("known")
            .iter()
            .map(|one| one.name)
            .collect()
    }

    #[test]
    fn haproxy_always_takes_part() {
        assert_eq!(names(&wanted(&[])), table::CONTESTANTS);
        assert_eq!(
            names(&wanted(&["--contestants", "ringway-control"])),
            ["haproxy", "ringway-control"]
        );
        assert_eq!(names(&wanted(&["--smoke"])), ["haproxy", "ringway"]);
        assert!(
            chosen(&wanted(&["--contestants", "nginx"]))
                .expect_err("unknown")
                .contains("'nginx'")
        );
    }

    #[test]
    fn a_small_window_or_no_round_is_corrected() {
        let scale = scale(&wanted(&["--rounds", "0", "--window-ms", "1"]));
        assert_eq!((scale.rounds, scale.window), (1, Duration::from_millis(10)));
    }

    #[test]
    fn balancer_and_load_share_a_core_only_without_another_way() {
        assert_eq!(placement(&[2, 3], 1), Ok((vec![2], 3)));
        assert_eq!(placement(&[2, 3], 2), Ok((vec![2, 3], 3)));
        assert_eq!(placement(&[5], 1), Ok((vec![5], 5)));
        assert!(placement(&[0, 1], 3).is_err() && placement(&[], 1).is_err());
    }

    #[test]
    fn scenarios_are_chosen_by_name_and_in_the_order_given() {
        assert_eq!(
            scenarios(&wanted(&["--scenarios", "idle,bulk-up-64"])),
            [Scenario::Idle, Scenario::BulkUp64]
        );
        assert_eq!(
            scenarios(&wanted(&[])).len(),
            Scenario::value_variants().len()
        );
    }

    #[test]
    fn one_kind_of_scenarios_can_be_asked_for() {
        let http = scenarios(&wanted(&["--only", "http"]));
        assert!(http.contains(&Scenario::HttpIdle) && !http.contains(&Scenario::Idle));
        let tcp = scenarios(&wanted(&["--only", "tcp", "--smoke"]));
        assert!(tcp.contains(&Scenario::BulkUp8) && !tcp.contains(&Scenario::BulkUp1));
    }

    #[test]
    fn the_order_of_turns_differs_between_rounds() {
        let orders: Vec<_> = (0..12)
            .map(|round| shuffled(4, order_seed(1, round, Scenario::Idle)))
            .collect();
        assert!(orders.iter().any(|order| *order != orders[0]));
    }
}
