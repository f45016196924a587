//! Who is being left, and how far that is: servers in drain and maintenance, and a process that stops. `show drain`,
//! and what the statistics page and its live view tell of it.

use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::stat::Scope;
use super::value::push_json_string;
use super::{Dump, PIECE_BYTES, View};
use crate::backend::server::{self, Look};
use crate::base::tick::Tick;
use crate::config::ServerId;
use crate::shared::{Phase, Shared};

/// How long the shards may take before `show drain` answers without the ages.
const PATIENCE_MS: u64 = 2000;
/// Servers that one answer of the live view names, at most.
const NAMED_MAX: usize = 256;

/// No new connections are sent to the server, those it has go on.
pub fn is_leaving(shared: &Shared, id: ServerId) -> bool {
    let look = server::look(shared, id);
    matches!(look, Look::Maintain | Look::Draining | Look::Nolb)
}

fn is_stopping(shared: &Shared) -> bool {
    matches!(shared.phase(), Phase::SoftStop | Phase::Stop)
}

/// Starts to count where there is something to tell: call it before an answer is written.
pub fn ask(shared: &Shared, now: Tick) {
    let ids = || shared.config.server_ids();
    let left = |id: &ServerId| shared.server_connections(*id) > 0 && is_leaving(shared, *id);
    if is_stopping(shared) || ids().any(|id| left(&id)) {
        shared.count_connections(now);
    }
}

/// How far a server or the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Connections that are left.
    pub left: u32,
    /// Age of the oldest, once the shards have told.
    pub oldest_ms: Option<u64>,
}

/// Of a server that is being left; `None`: it is not.
pub fn of_server(view: &View<'_>, id: ServerId) -> Option<Progress> {
    if !is_leaving(view.shared, id) {
        return None;
    }
    let left = view.shared.server_connections(id);
    let found = view.shared.process.census.last(view.now);
    let count = found.as_ref().and_then(|found| found.servers.get(&id));
    let oldest = count.and_then(|count| count.oldest);
    Some(Progress {
        left,
        oldest_ms: oldest
            .filter(|_| left > 0)
            .map(|began| view.now.since(began)),
    })
}

/// Of the process, whether it stops or not.
fn of_process(view: &View<'_>) -> Progress {
    let left = view.shared.process.connections.load(Relaxed);
    let found = view.shared.process.census.last(view.now);
    let oldest = found.and_then(|found| found.clients.oldest);
    Progress {
        left,
        oldest_ms: oldest
            .filter(|_| left > 0)
            .map(|began| view.now.since(began)),
    }
}

/// `"stopping":…,"oldest":…,"leaving":[…]` for the live view, of the servers in `scope`.
pub(super) fn push_json(view: &View<'_>, scope: &Scope, out: &mut Vec<u8>) {
    let config = &view.shared.config;
    let ms = |progress: Progress| {
        progress
            .oldest_ms
            .map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX))
    };
    let written = write!(
        out,
        "\"stopping\":{},\"oldest\":{},\"leaving\":[",
        is_stopping(view.shared),
        ms(of_process(view))
    );
    written.expect("a vector takes every byte");
    let told = config
        .server_ids()
        .filter(|id| {
            let backend = config.backend(config.server(*id).backend);
            scope.shows(config, config.proxy(backend.proxy))
        })
        .filter_map(|id| Some((id, of_server(view, id)?)))
        .filter(|(_, progress)| progress.left > 0)
        .take(NAMED_MAX);
    for (at, (id, progress)) in told.enumerate() {
        let server = config.server(id);
        out.extend_from_slice(if at > 0 { b",{\"px\":" } else { b"{\"px\":" });
        push_json_string(out, &config.backend(server.backend).name);
        out.extend_from_slice(b",\"sv\":");
        push_json_string(out, &server.name);
        let written = write!(
            out,
            ",\"left\":{},\"oldest\":{}}}",
            progress.left,
            ms(progress)
        );
        written.expect("a vector takes every byte");
    }
    out.push(b']');
}

/// `show drain` under way.
#[derive(Debug, Default)]
pub struct DrainDump {
    /// When it was asked.
    began: Option<Tick>,
    waits: bool,
    started: bool,
    next: usize,
}

impl DrainDump {
    /// Whether the shards have told, or are not waited for any more.
    fn told(&mut self, view: &View<'_>) -> bool {
        let began = *self.began.get_or_insert(view.now);
        if view.now.since(began) > PATIENCE_MS {
            return true;
        }
        let last = view.shared.process.census.last(view.now);
        if last.is_some_and(|found| found.at >= began) {
            return true;
        }
        view.shared.count_connections(view.now);
        false
    }
}

impl Dump for DrainDump {
    fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        if !self.started {
            self.waits = !self.told(view);
            if self.waits {
                return true;
            }
            self.started = true;
            out.extend_from_slice(b"# name state left oldest_s\n");
            let state = match view.shared.phase() {
                Phase::Running => "RUNNING",
                Phase::Paused => "PAUSED",
                Phase::SoftStop | Phase::Stop => "STOPPING",
            };
            push_line(out, "process", state, of_process(view));
        }
        let config = &view.shared.config;
        let until = out.len() + PIECE_BYTES;
        for id in config.server_ids().skip(self.next) {
            self.next += 1;
            if let Some(progress) = of_server(view, id) {
                let state = server::state_text(view.shared, id);
                // `MAINT (via b/s)` in one word: columns are told apart by spaces.
                let state = state.split(' ').next().unwrap_or_default();
                let name = super::rows::full_name(view, id);
                push_line(out, &name, state, progress);
            }
            if out.len() >= until {
                return true;
            }
        }
        false
    }

    fn waits(&self) -> Option<u32> {
        self.waits.then_some(5)
    }
}

fn push_line(out: &mut Vec<u8>, name: &str, state: &str, progress: Progress) {
    let oldest = progress
        .oldest_ms
        .map_or_else(|| "-".to_owned(), |ms| (ms / 1000).to_string());
    let written = writeln!(out, "{name} {state} {} {oldest}", progress.left);
    written.expect("a vector takes every byte");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::stats::fixture;
    use crate::shared::Message;
    use crate::shared::server_cell::admin;
    use std::sync::atomic::Ordering::SeqCst;

    #[test]
    fn who_is_left_is_told_with_the_age_of_the_oldest() {
        let world = fixture::world();
        let shared = &world.shared;
        for shard in &shared.shards {
            shard.alive.store(true, SeqCst);
        }
        let at = shared
            .config
            .servers
            .iter()
            .position(|s| s.name == "s1")
            .unwrap();
        let id = ServerId(at as u32);
        ask(shared, world.now);
        assert!(shared.shards[0].mailbox.is_empty(), "nothing is left");
        shared.shards[1].server_row[at].store(3, Relaxed);
        shared.process.connections.store(7, Relaxed);
        shared.server(id).set_admin(admin::FDRAIN);
        let (mut dump, mut out) = (DrainDump::default(), Vec::new());
        assert!(dump.more(&world.view(), &mut out) && dump.waits().is_some());
        for (n, shard) in shared.shards.iter().enumerate() {
            let Some(Message::Census(mut walk)) = shard.mailbox.take() else {
                panic!("shard {n} was not asked");
            };
            let began = Tick(world.now.0 - 5000 - 60_000 * n as u64);
            walk.found.clients.add(began);
            walk.found.servers.entry(id).or_default().add(began);
            shared.counted(*walk);
        }
        while dump.more(&world.view(), &mut out) {}
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "# name state left oldest_s\nprocess RUNNING 7 65\nbe/s1 DRAIN 3 65\nbe/s5 MAINT 0 -\n"
        );
        let mut json = b"{".to_vec();
        push_json(&world.view(), &Scope::default(), &mut json);
        json.push(b'}');
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["leaving"][0]["oldest"], 65_000);
        assert_eq!(json["leaving"].as_array().unwrap().len(), 1);
    }
}
