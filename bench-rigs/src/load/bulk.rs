//! Streams that send as fast as the balancer takes.
//!
//! Bytes are counted where they arrive. The generator is often the limit, so throughput only informs; CPU time
//! per byte is what is measured.

use super::client::{CHUNK_BYTES, FirstFailure, Scratch, connect};
use super::origin::Origin;
use super::reactor::{Timer, spawn};
use super::{Figures, STALL_LIMIT, START_LIMIT, all_move, cancel_all, within};
use crate::Fallible;
use crate::proc::{Meter, Reading};
use crate::scenario::{BESIDE_STREAMS, Direction, Metric, Scale};
use async_executor::Task;
use futures_lite::future::yield_now;
use futures_lite::io::AsyncWriteExt as _;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub(super) async fn measure(
    front: SocketAddr,
    origin: &Origin,
    direction: Direction,
    streams: usize,
    scale: Scale,
    meter: &Meter,
) -> Fallible<Figures> {
    let clients = within(
        START_LIMIT,
        "opening the streams",
        Clients::start(front, direction, streams),
    )
    .await?;
    let arrived = || match direction {
        Direction::Down => clients.total(),
        Direction::Up => origin.swallowed.get(),
    };
    Timer::new(scale.warm_up).await;
    let (before, bytes_before, progress) = (meter.read()?, arrived(), clients.progress());
    Timer::new(scale.window).await;
    clients.all_move_since(&progress).await?;
    let (after, bytes) = (meter.read()?, arrived() - bytes_before);
    cancel_all(clients.tasks).await;
    figures(before, after, bytes)
}

/// How much longer than the measurement beside it: both start about together, and it must not end in quiet.
const BESIDE_LONGER: Duration = Duration::from_millis(300);

/// Downloads during somebody else's measurement. Gives the throughput, so that one can see what load it was.
pub(super) async fn beside(
    front: SocketAddr,
    origin: &Origin,
    scale: Scale,
    meter: &Meter,
) -> Fallible<Figures> {
    let scale = Scale {
        window: scale.window + BESIDE_LONGER,
        ..scale
    };
    let mut figures = measure(front, origin, Direction::Down, BESIDE_STREAMS, scale, meter).await?;
    figures.retain(|(metric, _)| *metric == Metric::GbPerSecond);
    Ok(figures)
}

struct Clients {
    moved: Rc<Vec<Cell<u64>>>,
    failure: FirstFailure,
    tasks: Vec<Task<()>>,
}

impl Clients {
    async fn start(front: SocketAddr, direction: Direction, streams: usize) -> Fallible<Self> {
        let moved: Rc<Vec<Cell<u64>>> = Rc::new((0..streams).map(|_| Cell::new(0)).collect());
        let (failure, scratch) = (FirstFailure::default(), Scratch::new());
        let mut tasks = Vec::with_capacity(streams);
        for place in 0..streams {
            let mut stream = connect(front).await?;
            let (moved, failure, scratch) = (Rc::clone(&moved), failure.clone(), scratch.clone());
            tasks.push(spawn(async move {
                let chunk = vec![
                    0x5a;
                    if direction == Direction::Up {
                        CHUNK_BYTES
                    } else {
                        0
                    }
                ];
                loop {
                    let result = match direction {
                        Direction::Down => scratch.fill_from(&mut stream).await,
                        Direction::Up => stream.write(&chunk).await,
                    };
                    let some = result
                        .map_err(|error| format!("bulk stream: {error}"))
                        .and_then(|bytes| match bytes {
                            0 => Err("bulk stream: closed before its end".to_owned()),
                            bytes => Ok(bytes as u64),
                        });
                    let Some(bytes) = failure.note(some) else {
                        return;
                    };
                    moved[place].set(moved[place].get() + bytes);
                    yield_now().await;
                }
            }));
        }
        Ok(Self {
            moved,
            failure,
            tasks,
        })
    }

    fn progress(&self) -> Vec<u64> {
        self.moved.iter().map(Cell::get).collect()
    }

    fn total(&self) -> u64 {
        self.moved.iter().map(Cell::get).sum()
    }

    /// Every stream moves again, sooner or later. Over 64 streams and megabytes of socket buffers a window may be
    /// shorter than a stream's turn; seconds are not: that is a hang of the balancer.
    async fn all_move_since(&self, before: &[u64]) -> Fallible<()> {
        all_move(before, STALL_LIMIT, "bulk streams", &self.failure, || {
            self.progress()
        })
        .await
    }
}

fn figures(before: Reading, after: Reading, bytes: u64) -> Fallible<Figures> {
    if bytes == 0 {
        return Err("no byte arrived during the window".to_owned());
    }
    let gigabytes = bytes as f64 / 1e9;
    let seconds = (after.at - before.at).as_secs_f64();
    Ok(vec![
        (
            Metric::CpuPerGb,
            (after.cpu - before.cpu).as_secs_f64() / gigabytes,
        ),
        (Metric::GbPerSecond, gigabytes / seconds),
        super::core_busy(before, after),
    ])
}
