//! Many sessions that said something once and then stay: memory for each.

use super::client::{Dialogue, FirstFailure, connect};
use super::net::TcpStream;
use super::reactor::{Timer, spawn};
use super::{Figures, within};
use crate::Fallible;
use crate::proc::{Meter, available_kib, own_rss_kib};
use crate::scenario::{Metric, Scale};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const OPEN_LIMIT: Duration = Duration::from_secs(25);
/// For frees and pool work of the balancer to come to rest.
const SETTLE: Duration = Duration::from_millis(200);

/// Memory before and after, per session.
///
/// The first sessions are opened and closed again before anything is read: what a balancer sets up once is not
/// what a session costs. `MemAvailable` also holds the rig's own sockets; they are the same for all contestants.
pub(super) async fn measure(
    front: SocketAddr,
    dialogue: &Dialogue,
    scale: Scale,
    meter: &Meter,
) -> Fallible<Figures> {
    drop(open(front, dialogue, scale.openers, scale.openers).await?);
    Timer::new(SETTLE).await;
    let (rss, own, available) = (meter.rss_kib()?, own_rss_kib()?, available_kib()?);
    let held = open(front, dialogue, scale.idle_sessions, scale.openers).await?;
    Timer::new(SETTLE).await;
    let grown = difference(rss, meter.rss_kib()?);
    let machine = difference(available_kib()?, available) - difference(own, own_rss_kib()?);
    let sessions = held.len() as f64;
    Ok(vec![
        (Metric::RssPerSession, grown / sessions),
        (Metric::MachinePerSession, machine / sessions),
    ])
}

/// `sessions` connections, each of which has exchanged one message, opened `at_once` at a time.
async fn open(
    front: SocketAddr,
    dialogue: &Dialogue,
    sessions: usize,
    at_once: usize,
) -> Fallible<Vec<TcpStream>> {
    let (failure, left) = (FirstFailure::default(), Rc::new(Cell::new(sessions)));
    let held = Rc::new(RefCell::new(Vec::with_capacity(sessions)));
    let mut tasks = Vec::with_capacity(at_once);
    for _ in 0..at_once {
        let (failure, left, held) = (failure.clone(), Rc::clone(&left), Rc::clone(&held));
        let dialogue = dialogue.clone();
        tasks.push(spawn(async move {
            while let Some(fewer) = left.get().checked_sub(1) {
                left.set(fewer);
                let Some(stream) = failure.note(session(front, &dialogue).await) else {
                    return;
                };
                held.borrow_mut().push(stream);
            }
        }));
    }
    let opened = within(
        OPEN_LIMIT,
        "sessions that exchange their first message",
        async {
            for task in tasks {
                task.await;
            }
            failure.check()
        },
    );
    opened.await.map_err(|why| {
        format!(
            "{why} ({} of {sessions} sessions were open)",
            held.borrow().len()
        )
    })?;
    Ok(held.take())
}

async fn session(front: SocketAddr, dialogue: &Dialogue) -> Fallible<TcpStream> {
    let mut stream = connect(front).await?;
    dialogue.exchange(&mut stream).await?;
    Ok(stream)
}

fn difference(before: u64, after: u64) -> f64 {
    after as f64 - before as f64
}
