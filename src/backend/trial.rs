//! `on-down retry` (ours): a server that failed is tried with one connection of a client after an interval.
//!
//! Who comes next after the interval is sent there, one at a time over all shards. A success counts as one passed check:
//! `rise` of them in a row, one right after the other, bring the server up, at its lowest good health, so that one failed
//! check takes it out again. A failure begins another interval, and its client goes elsewhere at once, with all its
//! retries left. Without checks this is the only way back; where there are some, either is.
//!
//! What counts is what `observe` looks at: answers with `observe layer7`, else that the connection was made.
//! Not tried are servers in maintenance, drained, of weight 0 or held down by their agent, and backup servers while an
//! active one serves.

use std::sync::atomic::Ordering::*;

use super::change::{self, Change};
use super::health::{self, CheckResult};
use super::observe::Event;
use super::{agent, server};
use crate::base::tick::Tick;
use crate::config::{Observed, OnDown, ServerId};
use crate::proto::check::{Answer, Status};
use crate::shared::server_cell::{OpState, admin};
use crate::shared::{ServerCell, Shared};

/// Longest time, in milliseconds, in which such a connection has to be made, where `timeout connect` is longer: the time
/// until a first SYN is repeated. A client must not wait for long for a server that is known to have failed.
pub const CONNECT_MS: u32 = 1000;

/// How the server is tried while it is down, if it is.
fn on_down(shared: &Shared, id: ServerId) -> Option<OnDown> {
    shared.config.server(id).watch.on_down
}

/// It went down, or begins so: the interval begins. To be called with every change to down.
pub(super) fn begin(shared: &Shared, id: ServerId, now: Tick) {
    if let Some(on_down) = on_down(shared, id) {
        let cell = shared.server(id);
        cell.trial_ms
            .store((now + u64::from(on_down.retry_ms)).0, Release);
    }
}

/// Whether the next connection is to go there; if so the trial is the caller's, who has to [`decide`] it or
/// [`give_back`].
pub(super) fn claim(shared: &Shared, id: ServerId, now: Tick) -> bool {
    let cell = shared.server(id);
    let due = cell.trial_ms.load(Acquire);
    due <= now.0
        && may_try(shared, id, cell)
        && cell
            .trial_ms
            .compare_exchange(due, Tick::NEVER.0, AcqRel, Relaxed)
            .is_ok()
}

fn may_try(shared: &Shared, id: ServerId, cell: &ServerCell) -> bool {
    cell.op() == OpState::Stopped
        && cell.admin() & (admin::MAINT | admin::DRAIN) == 0
        && cell.weight() > 0
        && agent::lets_up(shared, id)
}

/// The connection ended before it told anything: the next one is the trial.
pub fn give_back(shared: &Shared, id: ServerId, now: Tick) {
    let cell = shared.server(id);
    if cell.op() == OpState::Stopped {
        cell.trial_ms.store(now.0, Release);
    }
}

/// Takes in what the trial met. `None`: that decides nothing yet; else it is over, and this is to be logged.
pub fn decide(shared: &Shared, id: ServerId, event: Event, now: Tick) -> Option<Change> {
    let on_down = on_down(shared, id)?;
    let watched = shared.config.server(id).watch.observe;
    let layer = watched.map_or(Observed::L4, |observe| observe.layer);
    let good = event.is_good(layer)?;
    let cell = shared.server(id);
    if cell.op() != OpState::Stopped {
        // Its checks were quicker, or an operator.
        return Some(Change::default());
    }
    if cell.admin() & admin::MAINT != 0 || !agent::lets_up(shared, id) {
        // An operator or its agent was quicker: when it may come back, it is tried anew.
        begin(shared, id, now);
        return Some(Change::default());
    }
    let rise = i32::try_from(on_down.rise).unwrap_or(i32::MAX / 4);
    let health = if good {
        (cell.health.load(Acquire) + 1).min(rise)
    } else {
        0
    };
    cell.health.store(health, Release);
    let result = result(event, good);
    result.replace(&cell.last_check);
    let mut change = Change::default();
    let backend = shared.config.server(id).backend;
    if shared.config.backend(backend).log_health_checks {
        change
            .lines
            .push(health::trial_line(shared, id, &result, (health, rise)));
    }
    if health < rise {
        if good {
            cell.trial_ms.store(now.0, Release);
        } else {
            begin(shared, id, now);
        }
        return Some(change);
    }
    if server::check(shared, id).is_none() {
        // Nothing else counts it.
        cell.health.store(0, Release);
    }
    change
        .lines
        .extend(change::check_up(shared, id, &result, now).lines);
    Some(change)
}

fn result(event: Event, good: bool) -> CheckResult {
    let info = if good {
        "A connection of a client succeeded".to_owned()
    } else {
        format!("A connection of a client failed: {}", event.text())
    };
    let mut result = CheckResult::new(
        Answer {
            info,
            ..Answer::plain(Status::Hana)
        },
        0,
    );
    if good {
        result.verdict = health::Verdict::Passed;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::fixture;
    use crate::backend::{Ask, BackendView, Choice};
    use crate::config::added::Added;
    use crate::config::{Balance, Check, Observe, OnError, Server, Watch};

    const A: ServerId = ServerId(0);
    const B: ServerId = ServerId(1);
    const MS: u64 = 30_000;

    fn retried(name: &str, puid: u32) -> Server {
        Server {
            watch: Watch {
                observe: Some(Observe {
                    layer: Observed::L4,
                    limit: 2,
                    clients: 1,
                    on_error: OnError::MarkDown,
                }),
                on_down: Some(OnDown {
                    retry_ms: 30_000,
                    rise: 2,
                }),
                ..Watch::default()
            },
            ..fixture::server(name, puid)
        }
    }

    fn farm(servers: Vec<Server>) -> Shared {
        fixture::shared(
            vec![(fixture::backend("b", Balance::RoundRobin), servers)],
            2,
        )
    }

    fn two() -> Shared {
        farm(vec![retried("a", 1), fixture::server("b", 2)])
    }

    fn fail(shared: &Shared, now: u64) {
        for _ in 0..2 {
            super::super::observe::on_event(shared, A, Event::ConnectFailed, None, Tick(now));
        }
        assert_eq!(shared.server(A).op(), OpState::Stopped);
    }

    fn view(shared: &Shared, shard: usize) -> BackendView {
        BackendView::new(shared, crate::config::BackendId(0), shard, 1)
    }

    #[test]
    fn one_connection_over_all_shards_tries_a_server_after_the_interval() {
        let shared = two();
        fail(&shared, 1000);
        let (mut one, mut two) = (view(&shared, 0), view(&shared, 1));
        assert_eq!(one.take_trial(&shared, Tick(1000 + MS - 1)), None);
        assert_eq!(one.take_trial(&shared, Tick(1000 + MS)), Some(A));
        for at in [0, 1, MS, 10 * MS] {
            assert_eq!(one.take_trial(&shared, Tick(1000 + MS + at)), None);
            assert_eq!(two.take_trial(&shared, Tick(1000 + MS + at)), None);
        }
    }

    #[test]
    fn a_failure_begins_another_interval() {
        let shared = two();
        fail(&shared, 0);
        let mut view = view(&shared, 0);
        assert_eq!(view.take_trial(&shared, Tick(MS)), Some(A));
        let told = decide(&shared, A, Event::ConnectFailed, Tick(MS + 5));
        assert_eq!(told, Some(Change::default()), "nothing to say");
        assert_eq!(view.take_trial(&shared, Tick(2 * MS)), None);
        assert_eq!(view.take_trial(&shared, Tick(2 * MS + 5)), Some(A));
    }

    #[test]
    fn as_many_successes_as_rise_says_bring_it_up() {
        let shared = two();
        fail(&shared, 0);
        let mut view = view(&shared, 0);
        assert_eq!(view.take_trial(&shared, Tick(MS)), Some(A));
        assert_eq!(decide(&shared, A, Event::Status(200), Tick(MS)), None);
        let told = decide(&shared, A, Event::Connected, Tick(MS));
        assert_eq!(told, Some(Change::default()));
        assert_eq!(shared.server(A).op(), OpState::Stopped);
        assert_eq!(view.take_trial(&shared, Tick(MS)), Some(A), "at once");
        let told = decide(&shared, A, Event::Connected, Tick(MS)).expect("the second");
        assert_eq!(
            told.lines[0].text,
            "Server b/a is UP, reason: Health analyze, info: \"A connection of a client succeeded\". \
             2 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."
        );
        view.refresh(&shared, Tick(MS));
        assert_eq!(view.take_trial(&shared, Tick(9 * MS)), None, "it is up");
    }

    #[test]
    fn a_trial_without_an_outcome_is_the_next_ones() {
        let shared = two();
        fail(&shared, 0);
        let mut view = view(&shared, 0);
        assert_eq!(view.take_trial(&shared, Tick(MS)), Some(A));
        give_back(&shared, A, Tick(MS + 7));
        assert_eq!(view.take_trial(&shared, Tick(MS + 7)), Some(A));
    }

    #[test]
    fn nobody_tries_what_an_operator_or_an_agent_holds_back_and_backups_wait_for_their_turn() {
        let backup = Server {
            backup: true,
            ..retried("a", 1)
        };
        let shared = farm(vec![backup, fixture::server("b", 2)]);
        fail(&shared, 0);
        let mut v = view(&shared, 0);
        assert_eq!(
            v.take_trial(&shared, Tick(MS)),
            None,
            "an active one serves"
        );
        change::set_maint(&shared, B, Tick(MS));
        v.refresh(&shared, Tick(MS));
        shared.server(A).set_weight(0);
        assert_eq!(v.take_trial(&shared, Tick(MS)), None, "weight 0");
        shared.server(A).set_weight(1);
        shared.server(A).set_admin(admin::FDRAIN);
        assert_eq!(v.take_trial(&shared, Tick(MS)), None, "drained");
        shared.server(A).clear_admin(admin::FDRAIN);
        assert_eq!(v.take_trial(&shared, Tick(MS)), Some(A));
    }

    #[test]
    fn a_server_added_at_run_time_is_tried_like_those_of_the_file() {
        let shared = farm(vec![fixture::server("b", 2)]);
        let mut v = view(&shared, 0);
        let added = Added {
            server: retried("a", 1),
            guid: None,
        };
        let (next, id) = shared.with_server(added, Tick(0));
        v.follow(&next, Tick(0));
        change::set_ready(&next, id, Tick(0));
        for _ in 0..2 {
            super::super::observe::on_event(&next, id, Event::ConnectFailed, None, Tick(0));
        }
        assert_eq!(v.take_trial(&next, Tick(MS)), Some(id));
    }

    #[test]
    fn a_success_does_not_bring_up_what_an_operator_took_out_meanwhile() {
        let shared = two();
        fail(&shared, 0);
        let mut v = view(&shared, 0);
        assert_eq!(v.take_trial(&shared, Tick(MS)), Some(A));
        assert!(decide(&shared, A, Event::Connected, Tick(MS)).is_some());
        assert_eq!(v.take_trial(&shared, Tick(MS)), Some(A), "the second");
        change::set_maint(&shared, A, Tick(MS));
        let told = decide(&shared, A, Event::Connected, Tick(MS));
        assert_eq!(told, Some(Change::default()));
        assert_eq!(shared.server(A).op(), OpState::Stopped);
    }

    #[test]
    fn a_server_that_is_gone_is_no_alternative() {
        let shared = farm(vec![fixture::server("b", 2)]);
        let mut v = view(&shared, 0);
        let added = Added {
            server: fixture::server("a", 1),
            guid: None,
        };
        let (with, id) = shared.with_server(added, Tick(0));
        v.follow(&with, Tick(0));
        change::set_ready(&with, id, Tick(0));
        v.refresh(&with, Tick(0));
        assert!(v.has_alternatives(&with));
        let without = with.without_server(id);
        v.follow(&without, Tick(1));
        let tidied = without.tidied().expect("nobody speaks of it");
        assert!(!v.has_alternatives(&tidied));
    }

    #[test]
    fn an_outage_of_all_servers_ends_with_a_trial() {
        let shared = farm(vec![retried("a", 1)]);
        fail(&shared, 0);
        let mut v = view(&shared, 0);
        v.refresh(&shared, Tick(0));
        let ask = Ask::default();
        assert_eq!(v.pick(&shared, &ask, Tick(MS)), Choice::Nobody);
        assert_eq!(v.take_trial(&shared, Tick(MS)), Some(A));
    }

    #[test]
    fn a_checked_server_comes_back_at_its_lowest_health() {
        let check = Check {
            inter_ms: 1000,
            fastinter_ms: None,
            downinter_ms: None,
            rise: 2,
            fall: 3,
            addr: None,
            port: 80,
            send_proxy: None,
            via_socks4: false,
        };
        let checked = Server {
            check: Some(check),
            ..retried("a", 1)
        };
        let shared = farm(vec![checked]);
        shared.server(A).health.store(4, Relaxed);
        fail(&shared, 0);
        let mut v = view(&shared, 0);
        for _ in 0..2 {
            assert_eq!(v.take_trial(&shared, Tick(MS)), Some(A));
            assert!(decide(&shared, A, Event::Connected, Tick(MS)).is_some());
        }
        assert_eq!(shared.server(A).op(), OpState::Running);
        assert_eq!(shared.server(A).health.load(Relaxed), 2);
        let failed = CheckResult::new(Answer::plain(Status::L4Con), 0);
        assert!(health::on_result(&shared, A, &failed, Tick(MS)).is_some());
        assert_eq!(shared.server(A).op(), OpState::Stopped);
        assert!(!claim(&shared, A, Tick(MS)), "another interval");
        assert!(claim(&shared, A, Tick(2 * MS)));
    }
}
