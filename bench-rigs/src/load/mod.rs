//! One measurement: generator and origin on a thread of their own, beside a running balancer.
//!
//! An executor lives for one measurement, so that nothing of the last one (timers, buffers, half-closed
//! sockets) weighs on the next. A failure of any client connection fails the measurement: figures of a load
//! that was not carried are worth nothing.

mod bulk;
mod client;
mod connect;
mod http;
mod idle;
mod net;
mod origin;
mod pingpong;
mod reactor;

use crate::proc::{Meter, Reading};
use crate::scenario::{Metric, Scale, Scenario};
use crate::{Fallible, sys};
use async_executor::Task;
use client::Dialogue;
use origin::Service;
use reactor::Timer;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What was read, in the order of the table.
pub(crate) type Figures = Vec<(Metric, f64)>;

/// All that a measurement needs to know.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) scenario: Scenario,
    pub(crate) scale: Scale,
    /// Core of generator and origin.
    pub(crate) core: usize,
    pub(crate) meter: Meter,
    pub(crate) main: Path,
    /// A second path through the same balancer, for what runs beside.
    pub(crate) beside: Path,
}

/// One way through the balancer.
#[derive(Debug)]
pub(crate) struct Path {
    /// Where clients connect.
    pub(crate) front: SocketAddr,
    /// The origin's socket, listening since before the balancer started.
    pub(crate) origin: TcpListener,
}

/// Beyond warm-up and window: opening connections, ending them, a busy machine.
const GRACE: Duration = Duration::from_secs(30);
/// Beside bulk, messages come at this fraction of the rate: more than a balancer can carry there says nothing
/// about its latency, only how long the window was.
const BESIDE_SHARE: u32 = 4;
/// For connections to be opened.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Longest that a connection which wants to move may stand still.
const STALL_LIMIT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Runs the load of `job` and returns what it cost. Takes at most its window and some 30 s.
pub(crate) fn run(job: Job) -> Fallible<Figures> {
    let Job {
        scenario,
        scale,
        core,
        meter,
        main,
        beside,
    } = job;
    let limit = scale.warm_up + scale.window + GRACE;
    let front = main.front;
    if let Some((direction, streams)) = scenario.bulk() {
        let service = Service::of_bulk(direction);
        return executor(core, Rank::Normal, limit, move || async move {
            let origin = origin::serve(main.origin, service)?;
            let figures = bulk::measure(front, &origin, direction, streams, scale, &meter).await;
            origin.stop().await;
            figures
        })?
        .wait();
    }
    if scenario == Scenario::LatencyBesideBulk {
        return beside_bulk(main, beside, core, scale, meter, limit);
    }
    on_answers(scenario, main, core, limit, move || async move {
        let dialogue = &Dialogue::of(scenario);
        match scenario {
            Scenario::Pingpong
            | Scenario::HttpKeepAlive
            | Scenario::HttpRules1
            | Scenario::HttpRules1000 => {
                pingpong::closed_loop(front, dialogue, scale, &meter).await
            }
            Scenario::Latency => {
                pingpong::open_loop(front, dialogue, scale.rate, scale, &meter).await
            }
            Scenario::HttpLatency => {
                pingpong::open_loop(front, dialogue, scale.http_rate, scale, &meter).await
            }
            Scenario::Connect
            | Scenario::HttpConnect
            | Scenario::HttpConnectClose
            | Scenario::HttpConnectReuse => connect::measure(front, dialogue, scale, &meter).await,
            Scenario::HttpMegabyte => http::objects(front, dialogue, scale, &meter).await,
            Scenario::Idle | Scenario::HttpIdle => {
                idle::measure(front, dialogue, scale, &meter).await
            }
            _ => Err(format!("{}: no load is defined", scenario.name())),
        }
    })
}

/// The measurement `make` against an origin that gives an answer to each message of `scenario`.
fn on_answers<F, Fut>(
    scenario: Scenario,
    main: Path,
    core: usize,
    limit: Duration,
    make: F,
) -> Fallible<Figures>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Fallible<Figures>>,
{
    executor(core, Rank::Normal, limit, move || async move {
        let origin = origin::serve(main.origin, Service::of(scenario))?;
        let figures = make().await;
        origin.stop().await;
        figures
    })?
    .wait()
}

/// Latency on one executor, bulk on another that yields the core to it.
///
/// On one executor the messages would queue behind the generator's own bulk work, and the generator would be
/// what is measured.
fn beside_bulk(
    main: Path,
    beside: Path,
    core: usize,
    scale: Scale,
    meter: Meter,
    limit: Duration,
) -> Fallible<Figures> {
    let bulk_meter = meter.clone();
    let bulk = executor(core, Rank::Yielding, limit, move || async move {
        let origin = origin::serve(beside.origin, Service::Source)?;
        let figures = bulk::beside(beside.front, &origin, scale, &bulk_meter).await;
        origin.stop().await;
        figures
    })?;
    let front = main.front;
    let quieter = Scale {
        rate: (scale.rate / BESIDE_SHARE).max(1),
        ..scale
    };
    let latency = on_answers(Scenario::Latency, main, core, limit, move || async move {
        let rate = quieter.rate;
        let mut figures =
            pingpong::open_loop(front, &Dialogue::Echo, rate, quieter, &meter).await?;
        // The CPU went mostly into the bulk streams: no cost of a message can be read from it.
        figures.retain(|(metric, _)| *metric != Metric::CpuPerMillion);
        Ok(figures)
    });
    let (mut figures, bulk) = (latency?, bulk.wait()?);
    figures.extend(bulk);
    Ok(figures)
}

/// How an executor's thread stands to others on its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    Normal,
    Yielding,
}

/// A measurement that is under way on a thread of its own.
#[derive(Debug)]
struct Running {
    result: mpsc::Receiver<Fallible<Figures>>,
    deadline: Instant,
}

impl Running {
    fn wait(self) -> Fallible<Figures> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.result.recv_timeout(left) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err("the load did not end in time: connections hang".to_owned())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err("the load generator panicked".to_owned())
            }
        }
    }
}

/// Starts `make` on a new executor, pinned to `core`.
fn executor<F, Fut>(core: usize, rank: Rank, limit: Duration, make: F) -> Fallible<Running>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Fallible<Figures>>,
{
    let (tell, result) = mpsc::channel();
    let body = move || {
        if rank == Rank::Yielding {
            sys::yield_to_all().map_err(|error| format!("sched_setscheduler: {error}"))?;
        }
        sys::pin_thread(&[core]).map_err(|error| format!("sched_setaffinity: {error}"))?;
        reactor::run(async { make().await }).map_err(|error| format!("epoll: {error}"))?
    };
    thread::Builder::new()
        .name("load".to_owned())
        // The receiver gives up only when the whole run does; then nobody misses the result.
        .spawn(move || drop(tell.send(body())))
        .map_err(|error| format!("thread: {error}"))?;
    Ok(Running {
        result,
        deadline: Instant::now() + limit,
    })
}

/// `work`, or a failure that says what was not done in time.
async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Fallible<T>>,
) -> Fallible<T> {
    let late = async {
        Timer::new(limit).await;
        Err(format!("{what}: not done within {} s", limit.as_secs_f32()))
    };
    futures_lite::future::or(work, late).await
}

/// Ends tasks, and returns when what they hold is gone: their sockets are closed.
async fn cancel_all(tasks: impl IntoIterator<Item = Task<()>>) {
    for task in tasks {
        task.cancel().await;
    }
}

/// Returns once every count is above what it was in `before`; a failure says how many `what` stand still.
async fn all_move(
    before: &[u64],
    limit: Duration,
    what: &str,
    failure: &client::FirstFailure,
    counts: impl Fn() -> Vec<u64>,
) -> Fallible<()> {
    let deadline = Instant::now() + limit;
    loop {
        failure.check()?;
        let still = counts()
            .iter()
            .zip(before)
            .filter(|(now, before)| now == before)
            .count();
        if still == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{still} of {} {what} stand still for {} s",
                before.len(),
                limit.as_secs()
            ));
        }
        Timer::new(LOOK_AGAIN).await;
    }
}

/// Share of the window in which the balancer's cores were busy, with whatever.
fn core_busy(before: Reading, after: Reading) -> (Metric, f64) {
    let busy = (after.core_ticks - before.core_ticks) as f64 / sys::ticks_per_second() as f64;
    (
        Metric::CoreBusy,
        busy / (after.at - before.at).as_secs_f64(),
    )
}
