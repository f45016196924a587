//! What results of checks mean for a server: the counter between `fall` and `rise`, when to check
//! next, and what the log says.
//!
//! The counter runs from 0 to rise + fall - 1; at `rise` and above the server is up. A server starts up
//! at `rise`, its lowest good health, so the first failed check marks it down whatever `fall` is; the
//! check that reaches `rise` from below, like the first good one, lifts it to the top. See
//! configuration.txt 5.2 (`rise`, `fall`, `inter`, `fastinter`, `downinter`) and design.md section 5.

use std::sync::atomic::Ordering::*;
use std::sync::{Mutex, PoisonError};

use super::agent;
use super::change::{self, Change, Line, full_name};
use super::server;
use crate::base::tick::Tick;
use crate::config::{Check, Config, Level, Server, ServerId};
use crate::proto::check::{Answer, Status};
use crate::shared::Shared;
use crate::shared::server_cell::{LastCheck, OpState, admin};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// Known connections live on, no new ones come.
    Conditionally,
    Failed,
}

/// Longest text of a result, in bytes, as in haproxy.
const DESCRIPTION_MAX: usize = 127;

/// One finished check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    pub verdict: Verdict,
    /// haproxy's short name, [`Status::name`].
    pub status: &'static str,
    /// HTTP status, what a command ended with (-1: a signal), or 0.
    pub code: i32,
    pub duration_ms: u64,
    /// What the system or the server said; empty: nothing.
    pub description: String,
}

impl CheckResult {
    pub fn new(mut answer: Answer, duration_ms: u64) -> Self {
        let mut end = answer.info.len().min(DESCRIPTION_MAX);
        while !answer.info.is_char_boundary(end) {
            end -= 1;
        }
        answer.info.truncate(end);
        Self {
            verdict: match answer.status {
                Status::L7Okc => Verdict::Conditionally,
                status if status.passed() => Verdict::Passed,
                _ => Verdict::Failed,
            },
            status: answer.status.name(),
            code: answer.code,
            duration_ms,
            description: answer.info,
        }
    }

    /// `reason: Layer4 connection problem, info: "…", check duration: 0ms`.
    pub(super) fn reason(&self) -> String {
        let status = Status::named(self.status);
        let text = status.map_or(self.status, Status::text);
        let code = if status.is_some_and(Status::has_code) {
            format!(", code: {}", self.code)
        } else {
            String::new()
        };
        let info = match self.description.as_str() {
            "" => String::new(),
            said => format!(", info: \"{}\"", said.replace('"', "<22>")),
        };
        let duration = match status {
            Some(Status::Hana) => String::new(),
            _ => format!(", check duration: {}ms", self.duration_ms),
        };
        format!("reason: {text}{code}{info}{duration}")
    }
}

/// Takes a result in: counter, state, statistics. Returns what is to be logged.
///
/// Of a server that went into maintenance while the check ran, nothing is changed or said.
pub fn on_result(
    shared: &Shared,
    server: ServerId,
    result: &CheckResult,
    now: Tick,
) -> Option<Change> {
    let cell = shared.server(server);
    let check = shared.config.server(server).check.as_ref()?;
    if !wants_check(shared, server) {
        return None;
    }
    let (rise, fall) = (signed(check.rise), signed(check.fall));
    let before = cell.health.load(Relaxed);
    let health = next_health(before, result.verdict, rise, fall);
    if result.verdict == Verdict::Failed && before > 0 {
        cell.checks_failed.fetch_add(1, Relaxed);
    }
    cell.health.store(health, Release);
    let mut change = change::finish_ramp(shared, server, now).unwrap_or_default();
    let last = result.replace(&shared.server(server).last_check);
    let backend = shared.config.server(server).backend;
    let news = health != before || last != result.status;
    if news && shared.config.backend(backend).log_health_checks {
        change
            .lines
            .push(check_line(shared, server, result, health));
    }
    let conditional = result.verdict == Verdict::Conditionally;
    let moved = match (health >= rise, cell.op()) {
        (true, OpState::Stopped) if !agent::lets_up(shared, server) => Change::default(),
        (true, _) if conditional => change::check_stopping(shared, server, result, now),
        (true, OpState::Stopped | OpState::Stopping) if agent::lets_up(shared, server) => {
            change::check_up(shared, server, result, now)
        }
        (false, OpState::Starting | OpState::Running | OpState::Stopping) => {
            change::check_down(shared, server, result, now)
        }
        _ => Change::default(),
    };
    change.lines.extend(moved.lines);
    change.told()
}

fn next_health(before: i32, verdict: Verdict, rise: i32, fall: i32) -> i32 {
    let top = rise + fall - 1;
    match verdict {
        Verdict::Passed | Verdict::Conditionally if before + 1 >= rise => top,
        Verdict::Passed | Verdict::Conditionally => before + 1,
        Verdict::Failed if before - 1 < rise => 0,
        Verdict::Failed => before - 1,
    }
}

/// `Health check for server b/s failed, reason: …, status: 2/3 UP.` (`option log-health-checks`).
fn check_line(shared: &Shared, id: ServerId, result: &CheckResult, health: i32) -> Line {
    let limits = shared.config.server(id).check.as_ref();
    let limits = limits.map_or((1, 1), |c| (signed(c.rise), signed(c.fall)));
    line(shared, id, ("Health", limits), result, health)
}

/// The same of a connection of a client that tried it.
pub(super) fn trial_line(
    shared: &Shared,
    id: ServerId,
    result: &CheckResult,
    (health, rise): (i32, i32),
) -> Line {
    line(shared, id, ("Health", (rise, 1)), result, health)
}

/// The same of an agent.
pub(super) fn agent_line(shared: &Shared, id: ServerId, result: &CheckResult, up: bool) -> Line {
    line(shared, id, ("Agent", (1, 1)), result, i32::from(up))
}

fn line(
    shared: &Shared,
    id: ServerId,
    (kind, (rise, fall)): (&str, (i32, i32)),
    result: &CheckResult,
    health: i32,
) -> Line {
    let server = shared.config.server(id);
    let outcome = match result.verdict {
        Verdict::Passed => "succeeded",
        Verdict::Conditionally => "conditionally succeeded",
        Verdict::Failed => "failed",
    };
    let status = if health >= rise {
        format!("{}/{fall} UP", health - rise + 1)
    } else {
        format!("{health}/{rise} DOWN")
    };
    let text = format!(
        "{kind} check for {}server {} {outcome}, {}, status: {status}.",
        if server.backup { "backup " } else { "" },
        full_name(&shared.config, id),
        result.reason(),
    );
    Line {
        backend: server.backend,
        level: Level::Notice,
        text,
    }
}

/// Whether the server's own checks, if there are any, let it be up.
pub(super) fn checks_let_up(shared: &Shared, id: ServerId) -> bool {
    let check = server::check(shared, id);
    check.is_none_or(|check| check.is_up(shared.server(id).health.load(Relaxed)))
}

impl CheckResult {
    /// Keeps it for the statistics, in place of the one before, whose status it gives.
    pub(super) fn replace(&self, last: &Mutex<LastCheck>) -> &'static str {
        let own = LastCheck {
            status: self.status,
            code: self.code,
            duration_ms: self.duration_ms,
            description: self.description.clone(),
        };
        let mut cell = last.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *cell, own).status
    }
}

/// Is it to be checked now? Not in maintenance, and not where an operator switched it off.
pub fn wants_check(shared: &Shared, id: ServerId) -> bool {
    server::check(shared, id).is_some() && shared.server(id).admin() & admin::MAINT == 0
}

/// Milliseconds until the next check: `downinter` while it is down, `fastinter` between up and down,
/// else `inter`; moved by up to `spread-checks` percent either way. `entropy` is any number.
pub fn next_inter(shared: &Shared, id: ServerId, entropy: u32) -> u64 {
    let Some(check) = &shared.config.server(id).check else {
        return u64::from(u32::MAX);
    };
    let cell = shared.server(id);
    let health = cell.health.load(Relaxed);
    let inter = if health == top(check) {
        check.inter_ms
    } else if health == 0 && cell.op() == OpState::Stopped {
        check.downinter_ms.unwrap_or(check.inter_ms)
    } else {
        check.fastinter_ms.unwrap_or(check.inter_ms)
    };
    spread(&shared.config, inter, entropy)
}

/// An interval moved by up to `spread-checks` percent either way.
pub fn spread(config: &Config, inter_ms: u32, entropy: u32) -> u64 {
    let inter = u64::from(inter_ms);
    let spread = inter * u64::from(config.global.spread_checks) / 100;
    (inter - spread.min(inter) + 2 * spread * u64::from(entropy) / u64::from(u32::MAX)).max(1)
}

/// Intervals below this, in milliseconds, do not narrow the time over which first checks are spread.
const SHORT_INTER_MS: u64 = 1000;

/// Milliseconds from start to each server's first check, by server: the checked servers, in order of
/// the file, each at its share of its interval. Those checked more often than once a second are spread
/// over the shortest of the longer intervals, if there is any (measured on haproxy 2.6). `max-spread-checks` is the most
/// they are spread over.
pub fn first_checks(config: &Config) -> Vec<u64> {
    let inter = |s: &Server| s.check.as_ref().map(|c| u64::from(first_inter(c)));
    let intervals = || config.servers.iter().filter_map(inter);
    let all = intervals().count().max(1) as u64;
    let most = config
        .global
        .max_spread_checks_ms
        .map_or(u64::MAX, u64::from);
    let least = intervals().filter(|&i| i >= SHORT_INTER_MS).min();
    let mut ahead = 0;
    let mut delay = |inter: u64| {
        ahead += 1;
        (inter.max(least.unwrap_or(0)).min(most) * (ahead - 1) / all).max(1)
    };
    let delays = config
        .servers
        .iter()
        .map(|s| inter(s).map_or(1, &mut delay));
    delays.collect()
}

/// The interval of a server that was not checked yet: between up and down, unless `rise` and `fall`
/// leave nothing between them.
fn first_inter(check: &Check) -> u32 {
    match check.fastinter_ms {
        Some(fast) if signed(check.rise) != top(check) => fast,
        _ => check.inter_ms,
    }
}

/// Health of a server all of whose last checks were good.
fn top(check: &Check) -> i32 {
    signed(check.rise) + signed(check.fall) - 1
}

/// How long a check may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckTimes {
    /// Until connected.
    pub connect_ms: u32,
    /// From then to the answer; `None`: what is left of `connect_ms`.
    pub answer_ms: Option<u32>,
}

/// Without `timeout check` the whole check has `inter`. With it the connection has the shorter of
/// `timeout connect` and `inter`, the answer has `timeout check`.
pub fn times(config: &Config, id: ServerId, inter_ms: u32) -> CheckTimes {
    let backend = config.backend(config.server(id).backend);
    match backend.timeout_check_ms {
        None => CheckTimes {
            connect_ms: inter_ms,
            answer_ms: None,
        },
        Some(answer) => CheckTimes {
            connect_ms: backend
                .timeout_connect_ms
                .map_or(inter_ms, |connect| connect.min(inter_ms)),
            answer_ms: Some(answer),
        },
    }
}

fn signed(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX / 4)
}
