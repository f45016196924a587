//! Counters: one writer each, many readers. Exact sums over shards, no read-modify-write.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::latency::Latency;
use crate::base::tick::Tick;

/// A number that only its owning shard changes; anyone may read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Call from the owning shard only: two writers would lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }
    /// Takes `n` away again (gauges).
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
    /// Raises to `n` if lower (maxima).
    #[inline]
    pub fn raise(&self, n: u64) {
        if n > self.0.load(Relaxed) {
            self.0.store(n, Relaxed);
        }
    }
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Events per second over a window that slides from the last whole second into the present one.
#[derive(Debug, Default)]
pub struct FreqCounter {
    second: AtomicU64,
    current: AtomicU64,
    previous: AtomicU64,
}

impl FreqCounter {
    /// Counts one event at `now`. Owning shard only.
    #[inline]
    pub fn hit(&self, now: Tick) {
        let second = now.0 / 1000;
        let at = self.second.load(Relaxed);
        if second != at {
            let last = if second == at + 1 {
                self.current.load(Relaxed)
            } else {
                0
            };
            self.previous.store(last, Relaxed);
            self.current.store(0, Relaxed);
            self.second.store(second, Relaxed);
        }
        self.current.store(self.current.load(Relaxed) + 1, Relaxed);
    }

    /// Events in the last whole second before `now`.
    pub fn last_second(&self, now: Tick) -> u64 {
        match (now.0 / 1000).saturating_sub(self.second.load(Relaxed)) {
            0 => self.previous.load(Relaxed),
            1 => self.current.load(Relaxed),
            _ => 0,
        }
    }

    /// Events in the last second as seen at `now`.
    pub fn rate(&self, now: Tick) -> u64 {
        let second = now.0 / 1000;
        let at = self.second.load(Relaxed);
        let (current, previous) = match second.saturating_sub(at) {
            0 => (self.current.load(Relaxed), self.previous.load(Relaxed)),
            1 => (0, self.current.load(Relaxed)),
            _ => return 0,
        };
        current + previous * (1000 - now.0 % 1000) / 1000
    }
}

/// What `clear counters all` sets to 0.
pub(super) trait Count {
    fn clear(&self);
}

impl Count for Counter {
    fn clear(&self) {
        self.set(0);
    }
}

impl<const N: usize> Count for [Counter; N] {
    fn clear(&self) {
        self.iter().for_each(Count::clear);
    }
}

/// Clears fields, and names those that stay: a field that is in neither list does not compile.
macro_rules! clear {
    ($self:ident; keeps $($kept:ident),*; clears $($count:ident),*) => {
        let Self { $($kept: _,)* $($count,)* } = $self;
        $($count.clear();)*
    };
}

/// What frontends of one shard had counted when their counters were cleared: the process' totals go on.
#[derive(Debug, Default)]
pub struct ClearedCounters {
    pub sessions: Counter,
    /// Requests of HTTP frontends, sessions of the others.
    pub requests: Counter,
    pub bytes_out: Counter,
}

/// Counters of one frontend in one shard. Names follow the columns of `show stat`.
#[derive(Debug, Default)]
pub struct FrontendCounters {
    /// Connections accepted (`conn_tot`).
    pub connections: Counter,
    /// Sessions, i.e. connections past the connection rules (`stot`).
    pub sessions: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Refused by `tcp-request connection` rules (`dcon`) and session rules (`dses`).
    pub denied_connections: Counter,
    pub denied_sessions: Counter,
    pub denied_requests: Counter,
    pub denied_responses: Counter,
    pub request_errors: Counter,
    pub session_rate: FreqCounter,
    pub connection_rate: FreqCounter,
    /// HTTP requests (`req_tot`, `req_rate`), answers by class (index 0: other), and those answered here (`intercepted`).
    pub requests: Counter,
    pub request_rate: FreqCounter,
    pub responses: [Counter; 6],
    pub intercepted: Counter,
    /// Log lines of its streams (`%lc`).
    pub lines: Counter,
    pub latency: Latency,
}

impl FrontendCounters {
    /// `clear counters all`: counts start again, gauges and rates go on. Owning shard only.
    pub fn clear(&self) {
        clear! { self;
            keeps session_rate, connection_rate, request_rate;
            clears connections, sessions, bytes_in, bytes_out, denied_connections, denied_sessions, denied_requests,
                denied_responses, request_errors, requests, responses, intercepted, lines, latency
        }
    }
}

/// Counters of one bind in one shard.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    /// Sessions now open through this bind on this shard.
    pub current: Counter,
    pub current_max: Counter,
    pub sessions: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub denied_connections: Counter,
    pub denied_sessions: Counter,
    pub denied_requests: Counter,
    pub denied_responses: Counter,
    pub request_errors: Counter,
}

impl ListenerCounters {
    /// `clear counters all`: counts start again, gauges and rates go on. Owning shard only.
    pub fn clear(&self) {
        clear! { self;
            keeps current;
            clears current_max, sessions, bytes_in, bytes_out, denied_connections, denied_sessions, denied_requests,
                denied_responses, request_errors
        }
    }
}

/// Counters of one backend in one shard.
#[derive(Debug, Default)]
pub struct BackendCounters {
    /// Sessions of this shard now in the backend (`scur` is the sum).
    pub current: Counter,
    pub sessions: Counter,
    /// Times a server was chosen by the algorithm (`lbtot`).
    pub chosen: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub connect_errors: Counter,
    pub response_errors: Counter,
    pub retries: Counter,
    pub redispatches: Counter,
    pub client_aborts: Counter,
    pub server_aborts: Counter,
    pub denied_requests: Counter,
    pub denied_responses: Counter,
    pub connects: Counter,
    /// Requests over connections that were there already (`reuse`).
    pub reuses: Counter,
    pub requests: Counter,
    pub responses: [Counter; 6],
    pub response_time: Counter,
    pub response_time_max: Counter,
    pub session_rate: FreqCounter,
    /// Sums in ms for the averages `qtime ctime rtime ttime` over the last 1,024 sessions (sliding as haproxy's).
    pub queue_time: Counter,
    pub connect_time: Counter,
    pub total_time: Counter,
    pub queue_time_max: Counter,
    pub connect_time_max: Counter,
    pub total_time_max: Counter,
    /// Tick of the last session, in seconds; 0 none.
    pub last_session_s: Counter,
    pub latency: Latency,
}

impl BackendCounters {
    /// `clear counters all`: counts start again, gauges and rates go on. Owning shard only.
    pub fn clear(&self) {
        clear! { self;
            keeps current, session_rate;
            clears sessions, chosen, bytes_in, bytes_out, connect_errors, response_errors, retries, redispatches,
                client_aborts, server_aborts, denied_requests, denied_responses, connects, reuses, requests,
                responses, response_time, response_time_max, queue_time, connect_time, total_time, queue_time_max,
                connect_time_max, total_time_max, last_session_s, latency
        }
    }
}

/// Counters of one server in one shard; its open connections are in the shard's row.
#[derive(Debug, Default)]
pub struct ServerCounters {
    pub sessions: Counter,
    pub chosen: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub connect_errors: Counter,
    pub response_errors: Counter,
    pub retries: Counter,
    pub redispatches: Counter,
    pub client_aborts: Counter,
    pub server_aborts: Counter,
    pub connects: Counter,
    pub reuses: Counter,
    /// Connections of this shard's pool that wait for a request (`srv_icur`).
    pub idle: Counter,
    pub responses: [Counter; 6],
    pub response_time: Counter,
    pub response_time_max: Counter,
    pub denied_responses: Counter,
    pub session_rate: FreqCounter,
    pub queue_time: Counter,
    pub connect_time: Counter,
    pub total_time: Counter,
    pub queue_time_max: Counter,
    pub connect_time_max: Counter,
    pub total_time_max: Counter,
    pub last_session_s: Counter,
    pub latency: Latency,
}

impl ServerCounters {
    /// `clear counters all`: counts start again, gauges and rates go on. Owning shard only.
    pub fn clear(&self) {
        clear! { self;
            keeps idle, session_rate;
            clears sessions, chosen, bytes_in, bytes_out, connect_errors, response_errors, retries, redispatches,
                client_aborts, server_aborts, connects, reuses, responses, response_time, response_time_max,
                denied_responses, queue_time, connect_time, total_time, queue_time_max, connect_time_max,
                total_time_max, last_session_s, latency
        }
    }
}

/// What one shard did, for `show activity` and `show info`.
#[derive(Debug, Default)]
pub struct ActivityCounters {
    pub turns: Counter,
    /// Times another thread rang the bell.
    pub wakeups: Counter,
    pub completions: Counter,
    pub operations: Counter,
    /// System calls of the poller.
    pub enters: Counter,
    pub accepted: Counter,
    /// Connections handed to another shard, and taken from one.
    pub placed_out: Counter,
    pub placed_in: Counter,
    pub messages: Counter,
    pub mailbox_full: Counter,
    pub stale_completions: Counter,
    /// Microseconds spent waiting and working.
    pub idle_us: Counter,
    pub busy_us: Counter,
    pub timers_fired: Counter,
    pub bytes_copied: Counter,
    pub bytes_spliced: Counter,
    pub pipes_used: Counter,
    pub pipes_free: Counter,
    pub pipe_bytes: Counter,
    pub pipe_refused: Counter,
    pub buffer_bytes: Counter,
    pub accept_paused: Counter,
    pub panics: Counter,
    pub logs_dropped: Counter,
    pub logs_sent: Counter,
    pub checks: Counter,
    pub slots_used: Counter,
}
