//! The shards' threads: started, watched, never joined blindly.

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Acquire;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::shard::{self, ShardSetup};

/// Longest time a shard may take to set up its ring before the start is given up.
const UP_WITHIN: Duration = Duration::from_secs(10);

/// A shard's thread that is over.
#[derive(Debug)]
pub struct Ended {
    pub shard: usize,
    /// Why, if that was not by the phase.
    pub result: Result<(), String>,
}

/// Threads of one process.
#[derive(Debug)]
pub struct Workers {
    /// Readable when a thread ended.
    pub wake: PipeReader,
    ended: Receiver<Ended>,
    running: usize,
}

/// Starts one thread for each setup.
///
/// # Errors
/// A thread or the pipe cannot be made.
pub fn spawn(setups: Vec<ShardSetup>) -> io::Result<Workers> {
    spawn_work(setups, shard::run)
}

fn spawn_work<S: Send + 'static>(
    setups: Vec<S>,
    work: impl Fn(S) -> io::Result<()> + Send + Clone + 'static,
) -> io::Result<Workers> {
    let (wake, bell) = io::pipe()?;
    let (sender, ended) = channel();
    let running = setups.len();
    for (shard, setup) in setups.into_iter().enumerate() {
        let (sender, mut bell, work) = (sender.clone(), bell.try_clone()?, work.clone());
        std::thread::Builder::new()
            .name(format!("rw-shard-{shard}"))
            .spawn(move || {
                let result = outcome(|| work(setup));
                // The main thread lives as long as the process: both arrive.
                let _ = sender.send(Ended { shard, result });
                let _ = bell.write_all(&[1]);
            })?;
    }
    Ok(Workers {
        wake,
        ended,
        running,
    })
}

/// What became of a thread's work; a panic gives its text.
fn outcome(work: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("internal error: {}", panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text")
}

impl Workers {
    pub fn next_ended(&mut self) -> Option<Ended> {
        let ended = self.ended.try_recv().ok()?;
        self.running -= 1;
        Some(ended)
    }

    pub fn running(&self) -> usize {
        self.running
    }

    /// Waits until every shard accepts.
    ///
    /// # Errors
    /// The reason of the first that cannot.
    pub fn all_up(&mut self, shared: &crate::shared::Shared) -> Result<(), String> {
        let until = Instant::now() + UP_WITHIN;
        while (shared.process.shards_alive.load(Acquire) as usize) < self.running {
            if let Some(ended) = self.next_ended() {
                let reason = ended
                    .result
                    .err()
                    .unwrap_or_else(|| "it ended at once".to_owned());
                return Err(format!("shard {} cannot start: {reason}", ended.shard));
            }
            if Instant::now() >= until {
                return Err(format!(
                    "the shards did not start within {} s",
                    UP_WITHIN.as_secs()
                ));
            }
            self.wait_ended(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Gives the threads `limit` to be over.
    pub fn gone_within(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.running > 0 && Instant::now() < until {
            self.wait_ended(until.saturating_duration_since(Instant::now()));
            while self.next_ended().is_some() {}
        }
    }

    fn wait_ended(&mut self, limit: Duration) {
        let ms = PollTimeout::try_from(limit.as_millis().max(1)).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, ms).is_ok_and(|n| n > 0) {
            let _ = self.wake.read(&mut [0; 64]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_is_told_with_its_reason() {
        let mut workers = spawn_work(vec![0, 1, 2], |n| match n {
            0 => Ok(()),
            1 => Err(io::Error::other("no ring")),
            _ => panic!("slot {n} is free"),
        })
        .expect("threads");
        let mut ended = Vec::new();
        while workers.running() > 0 {
            workers.wait_ended(Duration::from_secs(5));
            ended.extend(std::iter::from_fn(|| workers.next_ended()));
        }
        ended.sort_by_key(|e| e.shard);
        assert_eq!(ended[0].result, Ok(()));
        assert_eq!(ended[1].result, Err("no ring".to_owned()));
        assert_eq!(
            ended[2].result,
            Err("internal error: slot 2 is free".to_owned())
        );
    }
}
