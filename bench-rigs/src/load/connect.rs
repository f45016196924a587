//! Connect, one message or request there and back, close: what a connection costs.

use super::client::{Dialogue, FirstFailure, connect};
use super::reactor::{Timer, spawn};
use super::{Figures, STALL_LIMIT, all_move, cancel_all};
use crate::Fallible;
use crate::proc::Meter;
use crate::scenario::{Metric, Scale};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

/// In TCP the client closes first, so that TIME_WAIT stays with it and the balancer's server side, as in the field. On
/// loopback the kernel reuses such ports after a second (tcp_tw_reuse 2).
pub(super) async fn measure(
    front: SocketAddr,
    dialogue: &Dialogue,
    scale: Scale,
    meter: &Meter,
) -> Fallible<Figures> {
    let (failure, done) = (FirstFailure::default(), Rc::new(Cell::new(0_u64)));
    let mut tasks = Vec::with_capacity(scale.openers);
    for _ in 0..scale.openers {
        let (failure, done, dialogue) = (failure.clone(), Rc::clone(&done), dialogue.clone());
        tasks.push(spawn(async move {
            while failure.note(visit(front, &dialogue).await).is_some() {
                done.set(done.get() + 1);
            }
        }));
    }
    Timer::new(scale.warm_up).await;
    let (before, first) = (meter.read()?, done.get());
    Timer::new(scale.window).await;
    let counts = || vec![done.get()];
    all_move(
        &[first],
        STALL_LIMIT,
        "counts of served connections",
        &failure,
        counts,
    )
    .await?;
    let (after, count) = (meter.read()?, done.get() - first);
    cancel_all(tasks).await;
    Ok(vec![
        (
            Metric::CpuPer10k,
            (after.cpu - before.cpu).as_secs_f64() / (count as f64 / 1e4),
        ),
        (
            Metric::PerSecond,
            count as f64 / (after.at - before.at).as_secs_f64(),
        ),
        super::core_busy(before, after),
    ])
}

async fn visit(front: SocketAddr, dialogue: &Dialogue) -> Fallible<()> {
    let mut stream = connect(front).await?;
    dialogue.exchange(&mut stream).await.map(drop)
}
