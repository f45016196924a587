//! `add server`, `del server`, `wait … srv-removable`: servers that come and go while the process runs.
//!
//! A command prepares a version of the configuration, puts it in force and answers when the last shard has taken it
//! over (`shared::versions`): what it says is then true for every connection.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::admin::{backend_of, server_of};
use super::{Answer, World};
use crate::backend::change;
use crate::base::tick::Tick;
use crate::config::{ServerId, added};
use crate::observe::stats::{Dump, View};
use crate::shared::Shared;
use crate::shared::server_cell::admin;

/// How long a shard may take before the answer says that it has not followed yet.
const PATIENCE_MS: u64 = 5000;
/// Time between two looks at a server that is to become removable, ms.
const LOOK_MS: u64 = 10;

/// The end of a change: everybody follows.
#[derive(Debug)]
struct Followed {
    version: Arc<Shared>,
    since: Tick,
    text: &'static str,
}

impl Followed {
    fn answer(version: Arc<Shared>, since: Tick, text: &'static str) -> Answer {
        Answer::Long(Box::new(Self {
            version,
            since,
            text,
        }))
    }
}

impl Dump for Followed {
    fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        let followed = self.version.is_followed();
        if !followed && view.now.since(self.since) < PATIENCE_MS {
            return true;
        }
        out.extend_from_slice(self.text.as_bytes());
        if !followed {
            out.extend_from_slice(b" (Some shards are busy and will follow later.)");
        }
        out.push(b'\n');
        false
    }

    fn waits(&self) -> Option<u32> {
        Some(u32::from(!self.version.is_followed()))
    }
}

/// `add server <backend>/<server> <address> [options]`, or `help`.
pub(super) fn add(words: &[String], world: &World<'_>) -> Answer {
    let shared = world.view.shared;
    let full = words.first().map_or("", String::as_str);
    if full == "help" {
        let names: String = added::options()
            .iter()
            .map(|name| format!("  {name}\n"))
            .collect();
        return Answer::Text(format!("Options of a server that is added:\n{names}"));
    }
    let Some((backend, name)) = full.split_once('/').filter(|(_, name)| !name.is_empty()) else {
        return Answer::error("Require 'backend/server'.");
    };
    let Some(id) = backend_of(&shared.config, backend) else {
        return Answer::error("No such backend.");
    };
    if !added::takes_servers(shared.config.backend(id)) {
        return Answer::error(
            "Backend must use a dynamic load balancing to support dynamic servers.",
        );
    }
    let rest = words[1..].iter().map(String::as_str);
    let words: Vec<&str> = std::iter::once(name).chain(rest).collect();
    let server = match added::server(&shared.config, id, &words) {
        Ok(server) => server,
        Err(text) => return Answer::error(text),
    };
    let now = world.view.now;
    let (next, server) = shared.with_server(server, now);
    let next = next.publish();
    change::came_or_went(&next, id, Some(server), now);
    Followed::answer(next, now, "New server registered.")
}

/// `del server <backend>/<server>`.
pub(super) fn del(words: &[String], world: &World<'_>) -> Answer {
    let shared = world.view.shared;
    let id = match server_of(&shared.config, words.first().map_or("", String::as_str)) {
        Ok(id) => id,
        Err(why) => return Answer::error(why),
    };
    if let Err(why) = removable(shared, id) {
        return Answer::error(why);
    }
    let now = world.view.now;
    let backend = shared.config.server(id).backend;
    let next = shared.without_server(id).publish();
    change::came_or_went(&next, backend, None, now);
    Followed::answer(next, now, "Server deleted.")
}

const REFERENCED: &str =
    "This server cannot be removed at runtime due to other configuration elements pointing to it.";

/// Why a server may not be taken away now.
fn removable(shared: &Shared, id: ServerId) -> Result<(), &'static str> {
    let config = &shared.config;
    let tracked = || config.servers.iter().any(|server| server.track == Some(id));
    if config.server(id).pinned.is_set() || tracked() {
        return Err(REFERENCED);
    }
    let cell = shared.server(id);
    if cell.admin() & admin::MAINT == 0 {
        return Err("Only servers in maintenance mode can be deleted.");
    }
    if shared.server_connections(id) > 0 || cell.queued.load(SeqCst) > 0 {
        return Err("Server still has connections attached to it, cannot remove it.");
    }
    Ok(())
}

/// A wait for a server to become removable.
#[derive(Debug)]
struct Removable {
    name: String,
    until: Tick,
}

/// `wait <delay> srv-removable <backend>/<server>`: `Done.` as soon as it is so.
pub(super) fn wait_removable(ms: u32, word: Option<&String>, world: &World<'_>) -> Answer {
    let name = word.map_or("", String::as_str).to_owned();
    if let Err(why) = server_of(&world.view.shared.config, &name) {
        return Answer::error(why);
    }
    Answer::Long(Box::new(Removable {
        name,
        until: world.view.now + u64::from(ms),
    }))
}

impl Dump for Removable {
    fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        let shared = view.shared;
        let state = server_of(&shared.config, &self.name).and_then(|id| removable(shared, id));
        let text = match state {
            Ok(()) => "Done.\n".to_owned(),
            Err(why) if why != REFERENCED && view.now < self.until => return true,
            Err(why) => format!("Failed. {why}\n"),
        };
        out.extend_from_slice(text.as_bytes());
        false
    }

    fn waits(&self) -> Option<u32> {
        Some(LOOK_MS as u32)
    }
}
