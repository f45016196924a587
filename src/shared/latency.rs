//! How long things took: a histogram for each of queue, connect, response and total time of every frontend, backend
//! and server, in each shard.
//!
//! Counting a time is two additions of the shard's own (a bucket's count and the sum of all), no atomic
//! read-modify-write. Memory comes with what is counted: nothing before the first time, then four octaves at once.
//! A server that is used has some 5 kB in each shard that uses it (two or three pieces of 512 bytes for each of the
//! four, and 600 bytes of heads), 1,000 servers on 4 shards 19 MB; never more than 19 kB, were times of all lengths seen.
//!
//! What is shown is recent: [`Window`] remembers what the counts were some time ago.

use std::array::from_fn;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::counters::{Count, Counter};
use crate::base::histogram::{BUCKETS, Counts, bucket};
use crate::base::tick::Tick;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lap {
    /// From the whole head of the request, or the session's begin, to a server that may take it.
    Queue = 0,
    /// To the connection; 0 where one was there already.
    Connect = 1,
    /// To the head of the response. None in TCP.
    Response = 2,
    /// From the first byte of the request, or the session's begin, to the end.
    Total = 3,
}

/// Their number.
pub const LAPS: usize = 4;
/// All of them, in the order of their columns.
pub const ALL_LAPS: [Lap; LAPS] = [Lap::Queue, Lap::Connect, Lap::Response, Lap::Total];

/// Buckets that get their memory together: four octaves, eight cache lines.
const PIECE: usize = 64;
type Piece = Box<[Counter; PIECE]>;

/// Times of one kind that one shard measured.
#[derive(Debug, Default)]
struct Histogram {
    pieces: [OnceLock<Piece>; BUCKETS / PIECE],
    sum_us: Counter,
}

impl Histogram {
    #[inline]
    fn record(&self, us: u64) {
        let at = bucket(us);
        let piece = self.pieces[at / PIECE].get_or_init(new_piece);
        piece[at % PIECE].inc();
        self.sum_us.add(us);
    }

    fn add_to(&self, counts: &mut Counts) {
        for (n, piece) in self.pieces.iter().enumerate() {
            for (at, count) in piece.get().into_iter().flat_map(|p| p.iter()).enumerate() {
                counts.add(n * PIECE + at, count.get());
            }
        }
        counts.sum_us = counts.sum_us.wrapping_add(self.sum_us.get());
    }
}

#[cold]
fn new_piece() -> Piece {
    Box::new(from_fn(|_| Counter::default()))
}

/// All times of one frontend, backend or server in one shard.
#[derive(Debug, Default)]
pub struct Latency(OnceLock<Box<[Histogram; LAPS]>>);

impl Latency {
    /// Counts one time. Owning shard only.
    #[inline]
    pub fn record(&self, lap: Lap, us: u64) {
        self.0.get_or_init(Box::default)[lap as usize].record(us);
    }
}

impl Count for Latency {
    fn clear(&self) {
        for histogram in self.0.get().into_iter().flat_map(|laps| laps.iter()) {
            let pieces = histogram.pieces.iter().filter_map(OnceLock::get);
            pieces.flat_map(|p| p.iter()).for_each(Counter::clear);
            histogram.sum_us.clear();
        }
    }
}

/// What some shards counted of one kind, since the start or the last `clear counters all`.
pub fn counted<'a>(shards: impl Iterator<Item = &'a Latency>, lap: Lap) -> Counts {
    let mut counts = Counts::default();
    for laps in shards.filter_map(|latency| latency.0.get()) {
        laps[lap as usize].add_to(&mut counts);
    }
    counts
}

/// The counts of a moment, those of 0 left out.
type Mark = [Box<[(u16, u64)]>; LAPS];

/// A window opens anew after this time at the earliest,
const WINDOW_MS: u64 = 10_000;
/// once it has so many times, which the last percentile needs to be one of many,
const WINDOW_TIMES: u64 = 1000;
/// or after this time at the latest.
const WINDOW_MOST_MS: u64 = 60_000;

/// Which part of the counts is recent: that since the last mark but one. So it goes over 10 seconds at least, over 20
/// where there are 100 times a second, and over two minutes at most.
#[derive(Debug, Default)]
pub struct Window(Mutex<Marks>);

#[derive(Debug, Default)]
struct Marks {
    older: Mark,
    newer: Mark,
    /// When `newer` was made.
    at: Tick,
}

impl Window {
    /// Recent counts of one kind.
    pub fn recent<'a>(&self, shards: impl Iterator<Item = &'a Latency>, lap: Lap) -> Counts {
        let mut counts = counted(shards, lap);
        counts.since(&self.marks().older[lap as usize]);
        counts
    }

    /// Goes on to the next window if it is time. To be called every second or so, by one thread.
    pub fn follow<'a>(&self, shards: impl Iterator<Item = &'a Latency> + Clone, now: Tick) {
        let mut marks = self.marks();
        let age = now.since(marks.at);
        if age < WINDOW_MS {
            return;
        }
        let all = ALL_LAPS.map(|lap| counted(shards.clone(), lap));
        let mut total = all[Lap::Total as usize].clone();
        total.since(&marks.newer[Lap::Total as usize]);
        if age >= WINDOW_MOST_MS || total.total() >= WINDOW_TIMES {
            marks.older = std::mem::replace(&mut marks.newer, all.each_ref().map(mark));
            marks.at = now;
        }
    }

    /// `clear counters`: what was until now is not recent any more.
    pub fn restart<'a>(&self, shards: impl Iterator<Item = &'a Latency> + Clone) {
        let mark = ALL_LAPS.map(|lap| mark(&counted(shards.clone(), lap)));
        let mut marks = self.marks();
        (marks.older, marks.newer) = (mark.clone(), mark);
    }

    /// `clear counters all`: the shards set their counts to 0.
    pub fn forget(&self) {
        let mut marks = self.marks();
        (marks.older, marks.newer) = Default::default();
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mark(counts: &Counts) -> Box<[(u16, u64)]> {
    let number = |at: usize| u16::try_from(at).expect("there are some hundred buckets");
    counts.filled().map(|(at, n)| (number(at), n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p50(window: &Window, shards: &[Latency]) -> Option<u64> {
        window.recent(shards.iter(), Lap::Total).percentiles([500])[0]
    }

    fn record(latency: &Latency, us: u64, times: u64) {
        (0..times).for_each(|_| latency.record(Lap::Total, us));
    }

    #[test]
    fn shards_are_counted_together_and_nothing_is_there_before_the_first_time() {
        let shards = [Latency::default(), Latency::default()];
        assert!(shards[0].0.get().is_none());
        shards[0].record(Lap::Queue, 5);
        shards[1].record(Lap::Queue, 7_000_000);
        shards[1].record(Lap::Connect, 9);
        let queue = counted(shards.iter(), Lap::Queue);
        assert_eq!((queue.total(), queue.sum_us), (2, 7_000_005));
        assert_eq!(counted(shards.iter(), Lap::Response).total(), 0);
        let pieces = &shards[0].0.get().unwrap()[Lap::Queue as usize].pieces;
        assert_eq!(pieces.iter().filter(|p| p.get().is_some()).count(), 1);
    }

    #[test]
    fn what_is_shown_is_of_the_last_two_windows() {
        let (window, shards) = (Window::default(), [Latency::default()]);
        record(&shards[0], 10, 2_000);
        window.follow(shards.iter(), Tick(11_000));
        record(&shards[0], 20, 3_000);
        assert_eq!(p50(&window, &shards), Some(20), "all since the start");
        window.follow(shards.iter(), Tick(21_000));
        assert_eq!(p50(&window, &shards), Some(20));
        record(&shards[0], 30, 1_000);
        window.follow(shards.iter(), Tick(22_000));
        assert_eq!(
            p50(&window, &shards),
            Some(20),
            "a window is not over in 1 s"
        );
        window.follow(shards.iter(), Tick(31_000));
        assert_eq!(p50(&window, &shards), Some(30));
    }

    #[test]
    fn few_times_are_kept_for_a_minute_or_two() {
        let (window, shards) = (Window::default(), [Latency::default()]);
        record(&shards[0], 10, 5);
        for second in 1..60 {
            window.follow(shards.iter(), Tick(second * 1000));
        }
        record(&shards[0], 20, 5);
        window.follow(shards.iter(), Tick(60_000));
        window.follow(shards.iter(), Tick(70_000));
        assert_eq!(p50(&window, &shards), Some(10));
        window.follow(shards.iter(), Tick(120_000));
        assert_eq!(
            p50(&window, &shards),
            None,
            "nothing for a minute, and marks on both sides of it"
        );
    }

    #[test]
    fn clearing_maxima_begins_a_window_and_clearing_all_begins_all() {
        let (window, shards) = (Window::default(), [Latency::default()]);
        record(&shards[0], 10, 5);
        window.restart(shards.iter());
        assert_eq!(p50(&window, &shards), None);
        record(&shards[0], 20, 1);
        assert_eq!(p50(&window, &shards), Some(20));
        assert_eq!(counted(shards.iter(), Lap::Total).total(), 6);
        window.forget();
        shards[0].clear();
        assert_eq!(counted(shards.iter(), Lap::Total), Counts::default());
        record(&shards[0], 30, 1);
        assert_eq!(p50(&window, &shards), Some(30));
    }
}
