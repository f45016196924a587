//! What an agent's words mean for its server (`agent-check`): weight, limit, administrative state, up and down.
//!
//! An agent has a health of its own, 0 or 1, that only its words change: a server is up where its checks and its agent
//! say so. Compared with haproxy 2.6.12.

use std::sync::atomic::Ordering::*;

use super::change::{self, Change};
use super::health::{self, CheckResult};
use crate::base::tick::Tick;
use crate::config::{Agent, ServerId};
use crate::proto::check::agent::{Report, Weight, Wish, report};
use crate::proto::check::{Answer, Status};
use crate::shared::Shared;
use crate::shared::server_cell::admin;

/// The agent of a server, if it has one that is asked.
pub fn agent(shared: &Shared, id: ServerId) -> Option<&Agent> {
    let agent = shared.config.server(id).agent.as_ref();
    agent.filter(|_| !shared.server(id).agent_off.load(Relaxed))
}

/// Whether the agent, if there is one, lets the server be up.
pub fn lets_up(shared: &Shared, id: ServerId) -> bool {
    agent(shared, id).is_none() || shared.server(id).agent_up.load(Acquire)
}

/// Takes in how a conversation with the agent ended: its line, or why there was none. Without a line nothing changes:
/// whether the server can be reached is for its checks to say.
pub fn on_answer(
    shared: &Shared,
    id: ServerId,
    answer: Answer,
    duration_ms: u64,
    now: Tick,
) -> Option<Change> {
    agent(shared, id)?;
    if answer.status != Status::L7Ok {
        CheckResult::new(answer, duration_ms).replace(&shared.server(id).last_agent);
        return None;
    }
    let report = report(&answer.info);
    let mut change = Change::default();
    follow(shared, id, &report, now, &mut change);
    let status = match report.up {
        Some(true) => Status::L7Ok,
        Some(false) => Status::L7Sts,
        None => Status::Checked,
    };
    let answer = Answer {
        status,
        code: 0,
        info: report.info,
    };
    let result = CheckResult::new(answer, duration_ms);
    let news = result.replace(&shared.server(id).last_agent) != result.status;
    if let Some(up) = report.up {
        let was = shared.server(id).agent_up.swap(up, AcqRel);
        let backend = shared.config.server(id).backend;
        if shared.config.backend(backend).log_health_checks && (news || was != up) {
            change
                .lines
                .push(health::agent_line(shared, id, &result, up));
        }
        let maintained = shared.server(id).admin() & admin::MAINT != 0;
        if !maintained {
            let moved = if !up {
                change::check_down(shared, id, &result, now)
            } else if health::checks_let_up(shared, id) {
                change::check_up(shared, id, &result, now)
            } else {
                Change::default()
            };
            change.lines.extend(moved.lines);
        }
    }
    change.told()
}

/// Weight, limit and administrative state.
fn follow(shared: &Shared, id: ServerId, report: &Report, now: Tick, change: &mut Change) {
    let cell = shared.server(id);
    if let Some(weight) = report.weight {
        let text = match weight {
            Weight::Percent(part) => format!("{part}%"),
            Weight::Absolute(weight) => weight.to_string(),
        };
        // A weight that a static algorithm does not take is passed over, as in haproxy.
        if let Ok(moved) = change::set_weight(shared, id, &text, now) {
            change.lines.extend(moved.lines);
        }
    }
    if let Some(limit) = report.maxconn
        && cell.maxconn.load(Acquire) != limit
    {
        change::set_maxconn(shared, id, limit);
    }
    if let Some(wish) = report.wish {
        let bits = cell.admin();
        let moved = match wish {
            Wish::Ready if bits & (admin::FMAINT | admin::FDRAIN) != 0 => {
                change::set_ready(shared, id, now)
            }
            Wish::Drain if bits & admin::FDRAIN == 0 || bits & admin::FMAINT != 0 => {
                change::set_drain(shared, id, now)
            }
            Wish::Maint if bits & admin::FMAINT == 0 => change::set_maint(shared, id, now),
            _ => Change::default(),
        };
        change.lines.extend(moved.lines);
    }
}
