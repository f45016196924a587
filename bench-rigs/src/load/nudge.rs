//! Gets a glommio executor going again that sleeps although it has work.
//!
//! glommio 0.9 arms its preemption timer, then runs what is ready; if the timer has fired before the first task
//! ran (the thread lost its core in between), `run_task_queues` reports that it ran nothing, and `run` takes that
//! for "nothing is ready" and parks. With all its tasks in that queue there is no timer and no socket left to wake
//! it, nor does waking a task help that is queued already: it sleeps for good. Seen here about once in a hundred
//! measurements of 64 uploads or of many short connections, on a machine with other work and a timer of 0.5 ms.
//! A signal interrupts the wait, and it then goes on where it was.
//!
//! So the timer is long, and a thread beside the executor wakes a task of it every few milliseconds, and sends a
//! signal where that has had no effect by the next time. Latency that fell into such a sleep is longer by as much;
//! `generator_lag_p99_us` shows it if it mattered. To be removed with a glommio that tells the two apart.

use crate::{Fallible, sys};
use futures_lite::future::poll_fn;
use glommio::{Task, spawn_local};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(2);

/// Watches over the executor it was started in until it is stopped.
#[derive(Debug)]
pub(super) struct Nudge {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    task: Task<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Empty from a wake-up until the executor has run again.
    waker: Mutex<Option<Waker>>,
    over: AtomicBool,
}

impl Shared {
    fn replace(&self, waker: Option<Waker>) -> Option<Waker> {
        let mut place = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, waker)
    }
}

impl Nudge {
    /// To be called inside the executor that runs on `core`.
    pub(super) fn start(core: usize) -> Fallible<Self> {
        sys::take_kicks().map_err(|error| format!("sigaction: {error}"))?;
        let shared = Arc::new(Shared::default());
        let woken = Arc::clone(&shared);
        let task = spawn_local(poll_fn(move |cx| {
            drop(woken.replace(Some(cx.waker().clone())));
            Poll::<()>::Pending
        }));
        let (watched, sleeper) = (Arc::clone(&shared), sys::thread_id());
        let thread = thread::Builder::new()
            .name("nudge".to_owned())
            .spawn(move || watch(&watched, sleeper, core))
            .map_err(|error| format!("thread: {error}"))?;
        Ok(Self {
            shared,
            thread,
            task,
        })
    }

    /// Ends the thread first: a task of glommio must not be dropped by another thread than its own.
    pub(super) async fn stop(self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // It cannot panic, and takes at most one sleep.
        let _ended = self.thread.join();
        drop(self.shared.replace(None));
        self.task.cancel().await;
    }
}

fn watch(shared: &Shared, sleeper: i32, core: usize) {
    // Beside the balancer it would disturb what is measured. Unpinned it still does its work.
    let _unpinned = sys::pin_thread(&[core]);
    while !shared.over.load(Ordering::Relaxed) {
        thread::sleep(EVERY);
        match shared.replace(None) {
            Some(waker) => waker.wake(),
            // Fails only when the thread has ended, and then there is nobody to wake.
            None => drop(sys::kick(sleeper)),
        }
    }
}
