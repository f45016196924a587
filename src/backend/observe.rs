//! Traffic that is watched for errors (`observe`): too many in a row change a server's health without waiting for its
//! checks. The count is of the process: the cell of the server, written by all shards.
//!
//! What counts and what follows was compared with haproxy 2.6.12. `error-clients` is ours: errors that come from fewer
//! addresses say more about these than about the server.

use std::net::IpAddr;
use std::sync::atomic::Ordering::*;

use super::change::{self, Change};
use super::health::{self, CheckResult};
use crate::base::tick::Tick;
use crate::config::{Observe, Observed, OnError, ServerId};
use crate::proto::check::{Answer, Status};
use crate::shared::server_cell::{OpState, admin};
use crate::shared::{ServerCell, Shared};

/// What a session saw of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Connected,
    ConnectFailed,
    /// A whole head of an HTTP answer with this status.
    Status(u16),
    /// An answer that is none.
    Junk,
    /// The connection ended before the answer.
    Closed,
    /// `timeout server` ran out before the answer.
    TimedOut,
}

/// Addresses kept at most, whatever `error-clients` asks for.
const CLIENTS_MAX: usize = 256;

impl Event {
    /// Whether it is good for a server watched at that layer, or bad; `None`: it says nothing.
    pub(super) fn is_good(self, layer: Observed) -> Option<bool> {
        match (self, layer) {
            (Self::Connected, Observed::L4) => Some(true),
            // A connection alone is no answer.
            (Self::Connected, Observed::L7) => None,
            (Self::ConnectFailed, _) => Some(false),
            (_, Observed::L4) => None,
            (Self::Status(100..=499 | 501 | 505), Observed::L7) => Some(true),
            (_, Observed::L7) => Some(false),
        }
    }

    /// haproxy's words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Connected => "L4 successful connection",
            Self::ConnectFailed => "L4 unsuccessful connection",
            Self::Status(_) => "Wrong http response",
            Self::Junk => "Invalid http response (headers)",
            Self::Closed => "Close from server (http)",
            Self::TimedOut => "Read timeout (http)",
        }
    }
}

/// Takes an event in. `Some`: errors were too many, the server's next check is to come soon, and this is to be logged
/// (it may be nothing).
pub fn on_event(
    shared: &Shared,
    id: ServerId,
    event: Event,
    client: Option<IpAddr>,
    now: Tick,
) -> Option<Change> {
    let observe = shared.config.server(id).watch.observe?;
    let cell = shared.server(id);
    if event.is_good(observe.layer)? {
        // Mostly a load alone: every good session comes by here.
        if cell.errors.load(Relaxed) > 0 {
            forget(cell);
        }
        return None;
    }
    let errors = cell.errors.fetch_add(1, AcqRel) + 1;
    let clients = note(cell, &observe, client);
    if errors < observe.limit || !clients {
        return None;
    }
    // Of several that come by at once one acts.
    if cell.errors.swap(0, AcqRel) == 0 {
        return None;
    }
    forget(cell);
    // Without checks it is tried by connections of clients: the configuration sees to that.
    let unchecked = shared.config.server(id).check.is_none() && cell.admin() & admin::MAINT == 0;
    let counts = unchecked || health::wants_check(shared, id);
    if !counts || cell.op() == OpState::Stopped {
        return None;
    }
    cell.observed_failures.fetch_add(1, Relaxed);
    let info = format!(
        "Detected {errors} consecutive errors, last one was: {}",
        event.text()
    );
    Some(act(shared, id, observe.on_error, info, now))
}

fn forget(cell: &ServerCell) {
    cell.errors.store(0, Release);
    let mut clients = cell
        .error_clients
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    clients.clear();
}

/// Notes who met the error; whether that makes enough of them.
fn note(cell: &ServerCell, observe: &Observe, client: Option<IpAddr>) -> bool {
    if observe.clients <= 1 {
        return true;
    }
    let mut clients = cell
        .error_clients
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(client) = client
        && clients.len() < CLIENTS_MAX
        && !clients.contains(&client)
    {
        clients.push(client);
    }
    clients.len() >= (observe.clients as usize).min(CLIENTS_MAX)
}

fn act(shared: &Shared, id: ServerId, on_error: OnError, info: String, now: Tick) -> Change {
    let cell = shared.server(id);
    let result = CheckResult::new(
        Answer {
            info,
            ..Answer::plain(Status::Hana)
        },
        0,
    );
    let Some(check) = &shared.config.server(id).check else {
        result.replace(&cell.last_check);
        return change::check_down(shared, id, &result, now);
    };
    let rise = i32::try_from(check.rise).unwrap_or(i32::MAX / 4);
    let health = cell.health.load(Relaxed);
    match on_error {
        OnError::FastInter => return Change::default(),
        OnError::FailCheck => {}
        // One failure from here leaves one more.
        OnError::SuddenDeath if health > rise => cell.health.store(rise + 1, Release),
        OnError::SuddenDeath => {}
        OnError::MarkDown => cell.health.store(rise, Release),
    }
    health::on_result(shared, id, &result, now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Watch;
    use crate::shared::Shared;

    fn watched(layer: Observed, on_error: OnError, clients: u32) -> Shared {
        super::super::fixture::checked(Watch {
            observe: Some(Observe {
                layer,
                limit: 3,
                clients,
                on_error,
            }),
            ..Watch::default()
        })
    }

    const ID: ServerId = ServerId(0);

    fn see(shared: &Shared, event: Event, client: u8) -> Option<Change> {
        let client = IpAddr::from([127, 0, 0, client]);
        on_event(shared, ID, event, Some(client), Tick(1000))
    }

    fn health(shared: &Shared) -> i32 {
        shared.server(ID).health.load(Relaxed)
    }

    #[test]
    fn errors_in_a_row_do_what_on_error_says() {
        for (on_error, left) in [
            (OnError::FastInter, 4),
            (OnError::FailCheck, 3),
            (OnError::SuddenDeath, 2),
            (OnError::MarkDown, 0),
        ] {
            let shared = watched(Observed::L4, on_error, 1);
            shared.server(ID).health.store(4, Relaxed);
            for event in [
                Event::ConnectFailed,
                Event::ConnectFailed,
                Event::Connected,
                Event::ConnectFailed,
                Event::ConnectFailed,
            ] {
                assert_eq!(see(&shared, event, 1), None, "{event:?}");
            }
            let change = see(&shared, Event::ConnectFailed, 1).expect("the third in a row");
            assert_eq!(health(&shared), left, "{on_error:?}");
            assert_eq!(shared.server(ID).observed_failures.load(Relaxed), 1);
            let down = change.lines.iter().any(|l| {
                l.text.contains(
                    "is DOWN, reason: Health analyze, info: \"Detected 3 consecutive errors, \
                     last one was: L4 unsuccessful connection\". 0 active",
                )
            });
            assert_eq!(down, on_error == OnError::MarkDown, "{change:?}");
        }
    }

    #[test]
    fn layer_7_looks_at_answers() {
        let shared = watched(Observed::L7, OnError::MarkDown, 1);
        for event in [
            Event::Status(500),
            Event::Status(404),
            Event::Status(503),
            Event::Connected,
            Event::Status(501),
            Event::Status(500),
            Event::Junk,
        ] {
            assert_eq!(see(&shared, event, 1), None, "{event:?}");
        }
        assert!(see(&shared, Event::Closed, 1).is_some());
        let shared = watched(Observed::L4, OnError::MarkDown, 1);
        for _ in 0..9 {
            assert_eq!(see(&shared, Event::Status(500), 1), None);
        }
    }

    #[test]
    fn errors_have_to_come_from_so_many_clients() {
        let shared = watched(Observed::L4, OnError::MarkDown, 3);
        for _ in 0..100 {
            assert_eq!(see(&shared, Event::ConnectFailed, 1), None);
        }
        assert_eq!(see(&shared, Event::ConnectFailed, 2), None);
        assert!(see(&shared, Event::ConnectFailed, 3).is_some());
        assert_eq!(health(&shared), 0);
    }
}
