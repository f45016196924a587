//! Small messages there and back: what a message costs, and how long it takes.

use super::client::{Dialogue, FirstFailure, connect};
use super::net::TcpStream;
use super::reactor::{Timer, spawn};
use super::{Figures, STALL_LIMIT, START_LIMIT, all_move, cancel_all, within};
use crate::Fallible;
use crate::proc::{Meter, Reading};
use crate::scenario::{Metric, Scale};
use async_executor::Task;
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(60);
/// After the window, for the answers to what was due in it.
const ANSWERS_LIMIT: Duration = Duration::from_secs(10);

/// Each connection sends again as soon as it has its answer. Says what a message costs, nothing about latency:
/// a slow balancer gets fewer messages.
pub(super) async fn closed_loop(
    front: SocketAddr,
    dialogue: &Dialogue,
    scale: Scale,
    meter: &Meter,
) -> Fallible<Figures> {
    let failure = FirstFailure::default();
    let done: Rc<Vec<Cell<u64>>> = Rc::new((0..scale.talkers).map(|_| Cell::new(0)).collect());
    let mut tasks = Vec::with_capacity(scale.talkers);
    for (place, mut stream) in within(
        START_LIMIT,
        "opening the connections",
        talkers(front, scale),
    )
    .await?
    .into_iter()
    .enumerate()
    {
        let (failure, done, dialogue) = (failure.clone(), Rc::clone(&done), dialogue.clone());
        tasks.push(spawn(async move {
            while failure.note(dialogue.exchange(&mut stream).await).is_some() {
                done[place].set(done[place].get() + 1);
            }
        }));
    }
    Timer::new(scale.warm_up).await;
    let counts = || done.iter().map(Cell::get).collect::<Vec<u64>>();
    let (before, first) = (meter.read()?, counts());
    Timer::new(scale.window).await;
    all_move(&first, STALL_LIMIT, "connections", &failure, counts).await?;
    let (after, last) = (meter.read()?, counts());
    cancel_all(tasks).await;
    let trips: u64 = last.iter().sum::<u64>() - first.iter().sum::<u64>();
    Ok(costs(before, after, trips))
}

/// Messages are due at fixed moments, whatever became of the ones before, and latency counts from the moment a
/// message was due: a balancer that stops for 100 ms is charged for all that was due meanwhile (coordinated
/// omission corrected by construction).
pub(super) async fn open_loop(
    front: SocketAddr,
    dialogue: &Dialogue,
    rate: u32,
    scale: Scale,
    meter: &Meter,
) -> Fallible<Figures> {
    let streams = within(
        START_LIMIT,
        "opening the connections",
        talkers(front, scale),
    )
    .await?;
    let start = Instant::now() + Duration::from_millis(1);
    let plan = Plan {
        start,
        counted_from: start + scale.warm_up,
        end: start + scale.warm_up + scale.window,
        period: Duration::from_secs_f64(scale.talkers as f64 / f64::from(rate)),
    };
    let (failure, times) = (
        FirstFailure::default(),
        Rc::new(RefCell::new(Times::new()?)),
    );
    let mut tasks: Vec<Task<()>> = Vec::with_capacity(scale.talkers);
    for (place, mut stream) in streams.into_iter().enumerate() {
        let (failure, times, dialogue) = (failure.clone(), Rc::clone(&times), dialogue.clone());
        // Spread over the period, so that the messages of all connections come evenly.
        let offset = plan.period.mul_f64(place as f64 / scale.talkers as f64);
        tasks.push(spawn(async move {
            let talked = talk(&mut stream, &dialogue, plan, offset, &times).await;
            failure.note(talked);
        }));
    }
    until(plan.counted_from).await;
    let before = meter.read()?;
    until(plan.end).await;
    let after = meter.read()?;
    within(
        ANSWERS_LIMIT,
        "answers to what was due in the window",
        async {
            for task in tasks {
                task.await;
            }
            Ok(())
        },
    )
    .await?;
    failure.check()?;
    let times = times.borrow();
    if times.latency.is_empty() {
        return Err("no message was due in the window".to_owned());
    }
    let mut figures = vec![
        (Metric::P50, micros(times.latency.value_at_quantile(0.50))),
        (Metric::P99, micros(times.latency.value_at_quantile(0.99))),
    ];
    if !times.lag.is_empty() {
        figures.push((
            Metric::GeneratorLag,
            micros(times.lag.value_at_quantile(0.99)),
        ));
    }
    figures.extend(costs(before, after, times.latency.len()));
    Ok(figures)
}

/// The moments of an open loop.
#[derive(Debug, Clone, Copy)]
struct Plan {
    start: Instant,
    counted_from: Instant,
    end: Instant,
    /// Between two messages of one connection.
    period: Duration,
}

/// Nanoseconds.
struct Times {
    /// From due to answered.
    latency: Histogram<u64>,
    /// From due to sent, where the connection was free in time: lateness of the generator alone.
    lag: Histogram<u64>,
}

impl Times {
    fn new() -> Fallible<Self> {
        let empty = || {
            Histogram::new_with_max(nanos(LATENCY_MAX), 3)
                .map_err(|error| format!("histogram: {error:?}"))
        };
        Ok(Self {
            latency: empty()?,
            lag: empty()?,
        })
    }
}

async fn talk(
    stream: &mut TcpStream,
    dialogue: &Dialogue,
    plan: Plan,
    offset: Duration,
    times: &RefCell<Times>,
) -> Fallible<()> {
    let mut due = plan.start + offset;
    while due < plan.end {
        let was_free = Instant::now() < due;
        until(due).await;
        let sent = Instant::now();
        dialogue.exchange(stream).await?;
        if due >= plan.counted_from {
            let mut times = times.borrow_mut();
            times.latency.saturating_record(nanos(due.elapsed()));
            if was_free {
                times.lag.saturating_record(nanos(sent - due));
            }
        }
        due += plan.period;
    }
    Ok(())
}

async fn talkers(front: SocketAddr, scale: Scale) -> Fallible<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(scale.talkers);
    for _ in 0..scale.talkers {
        streams.push(connect(front).await?);
    }
    Ok(streams)
}

async fn until(moment: Instant) {
    Timer::at(moment).await;
}

fn costs(before: Reading, after: Reading, trips: u64) -> Figures {
    let millions = trips as f64 / 1e6;
    vec![
        (
            Metric::CpuPerMillion,
            (after.cpu - before.cpu).as_secs_f64() / millions,
        ),
        (
            Metric::PerSecond,
            trips as f64 / (after.at - before.at).as_secs_f64(),
        ),
        super::core_busy(before, after),
    ]
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}
