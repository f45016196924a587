//! The highest rates, over all shards: once a second, just after it, the events of the second that
//! ended are summed and kept if they are more than ever before.
//!
//! haproxy looks at every event over a sliding second, so its maximum can be higher where a burst
//! straddles two seconds; it cannot be lower than what is seen here.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::base::tick::Tick;
use crate::io::sys::{net, process};
use crate::shared::state::ShardShared;
use crate::shared::{FreqCounter, Shared};

use super::executor::Executor;

/// How long after the second: its last events are counted by then.
const AFTER_MS: u64 = 10;

/// Raises maxima for ever.
pub(super) async fn watch<E: Executor>(executor: E, shared: std::sync::Arc<Shared>) {
    let mut sent = bytes_out(&shared);
    let mut given_back = false;
    loop {
        let into = net::tick().0 % 1000;
        executor
            .sleep(Duration::from_millis(1000 + AFTER_MS - into))
            .await;
        let shared = shared.latest();
        let now = net::tick();
        raise(&shared, now);
        follow_windows(&shared, now);
        sent = measure_bytes(&shared, sent);
        // What servers left behind that were taken away is given back when nobody speaks of it any more.
        if let Some(next) = shared.tidied() {
            next.publish();
            given_back = true;
        } else if std::mem::take(&mut given_back) {
            process::return_memory();
        }
    }
}

/// Bytes sent to clients so far, by all frontends.
fn bytes_out(shared: &Shared) -> u64 {
    let fronts = shared.shards.iter().flat_map(|s| s.frontends.iter());
    fronts.map(|f| f.bytes_out.get()).fold(0, u64::wrapping_add)
}

/// Notes what was sent since `before`, a second ago; what there is now.
fn measure_bytes(shared: &Shared, before: u64) -> u64 {
    let now = bytes_out(shared);
    let rate = now.saturating_sub(before);
    shared.process.bytes_out_rate.store(rate, Relaxed);
    now
}

/// Lets every window of recent times go on.
fn follow_windows(shared: &Shared, now: Tick) {
    let shards = shared.shards.iter();
    for (at, front) in shared.frontends.iter().enumerate() {
        let times = shards.clone().map(|s| &s.frontends[at].latency);
        front.window.follow(times, now);
    }
    for (at, back) in shared.backends.iter().enumerate() {
        let times = shards.clone().map(|s| &s.backends[at].latency);
        back.window.follow(times, now);
    }
    for (at, cell) in shared.servers.iter().enumerate() {
        let times = shards.clone().map(|s| &s.servers[at].latency);
        cell.window.follow(times, now);
    }
}

/// Raises all maxima to what the second before `now` had.
fn raise(shared: &Shared, now: Tick) {
    let sum = |of: &dyn Fn(&ShardShared) -> &FreqCounter| -> u64 {
        shared.shards.iter().map(|s| of(s).last_second(now)).sum()
    };
    let raise = |most: &AtomicU64, rate: u64| {
        if rate > most.load(Relaxed) {
            most.store(rate, Relaxed);
        }
    };
    let (mut connections, mut sessions) = (0, 0);
    for (at, front) in shared.frontends.iter().enumerate() {
        let (c, s) = (
            sum(&|s| &s.frontends[at].connection_rate),
            sum(&|s| &s.frontends[at].session_rate),
        );
        raise(&front.connection_rate_max, c);
        raise(&front.session_rate_max, s);
        raise(
            &front.request_rate_max,
            sum(&|s| &s.frontends[at].request_rate),
        );
        connections += c;
        sessions += s;
    }
    raise(&shared.process.connection_rate_max, connections);
    raise(&shared.process.session_rate_max, sessions);
    for (at, back) in shared.backends.iter().enumerate() {
        raise(
            &back.session_rate_max,
            sum(&|s| &s.backends[at].session_rate),
        );
    }
    for (at, cell) in shared.servers.iter().enumerate() {
        raise(
            &cell.session_rate_max,
            sum(&|s| &s.servers[at].session_rate),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::stats::fixture;

    #[test]
    fn the_rate_of_bytes_is_what_was_sent_since_the_last_look() {
        let world = fixture::world();
        let shared = &world.shared;
        shared.shards[0].frontends[0].bytes_out.add(1000);
        let before = measure_bytes(shared, 0);
        shared.shards[1].frontends[1].bytes_out.add(234);
        assert_eq!(measure_bytes(shared, before), 1234);
        assert_eq!(shared.process.bytes_out_rate.load(Relaxed), 234);
    }

    #[test]
    fn a_burst_over_two_shards_is_one_maximum() {
        let world = fixture::world();
        let shared = &world.shared;
        for _ in 0..3 {
            shared.shards[0].frontends[0].session_rate.hit(Tick(5_100));
            shared.shards[1].frontends[0].session_rate.hit(Tick(5_900));
            shared.shards[1].servers[2].session_rate.hit(Tick(5_900));
        }
        raise(shared, Tick(6_010));
        assert_eq!(shared.frontends[0].session_rate_max.load(Relaxed), 6);
        assert_eq!(shared.process.session_rate_max.load(Relaxed), 6);
        assert_eq!(shared.servers[2].session_rate_max.load(Relaxed), 3);
        shared.shards[0].frontends[0].session_rate.hit(Tick(6_500));
        raise(shared, Tick(7_010));
        raise(shared, Tick(9_010));
        assert_eq!(
            shared.frontends[0].session_rate_max.load(Relaxed),
            6,
            "it stays"
        );
    }

    #[test]
    fn the_second_under_way_does_not_count_yet() {
        let world = fixture::world();
        let counter = &world.shared.shards[0].frontends[0].session_rate;
        counter.hit(Tick(5_999));
        counter.hit(Tick(6_001));
        counter.hit(Tick(6_002));
        assert_eq!(counter.last_second(Tick(6_010)), 1);
        assert_eq!(counter.last_second(Tick(7_010)), 2);
        assert_eq!(counter.last_second(Tick(8_010)), 0);
    }
}
