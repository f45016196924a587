//! Commands that change something: servers, weights, limits.
//!
//! Words are checked here; `backend::change` does the rest, and [`Tell`] says it to the world.

use std::sync::atomic::Ordering::{Relaxed, Release};

use super::{Answer, World, moves};
use crate::backend::agent;
use crate::backend::change::{self, Change, Forced, Means};
use crate::config::{BackendId, Config, FrontendId, Proxy, ServerId};
use crate::shared::{Counter, Door, Message, Shared};

/// Says what a change has to say, in the logs and on the console.
pub trait Tell: std::fmt::Debug {
    fn tell(&self, change: &Change);
    /// A warning about a proxy, for its logs and the console.
    fn warn(&self, proxy: &Proxy, text: &str);
}

/// Administrative state that an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Out of maintenance and drain.
    Ready,
    /// No new sessions but those that must go there.
    Drain,
    Maint,
}

pub(super) fn set_server(words: &[String], world: &World<'_>) -> Answer {
    with_server(words, world, |server, rest| {
        set_server_to(server, rest, world)
    })
}

fn set_server_to(server: ServerId, words: &[String], world: &World<'_>) -> Answer {
    let value = words.get(1).map(String::as_str);
    match words.first().map(String::as_str) {
        Some("weight") => change_weight(server, value, world),
        Some("state") => {
            let state = match value {
                Some("ready") => State::Ready,
                Some("drain") => State::Drain,
                Some("maint") => State::Maint,
                _ => {
                    return Answer::error(
                        "'set server <srv> state' expects 'ready', 'drain' and 'maint'.",
                    );
                }
            };
            go_to(server, state, world)
        }
        Some("health") => set_health(server, value, world),
        Some("addr") => moves::addr(server, &words[1..], world),
        Some("check-addr") => moves::check_addr(server, &words[1..], world),
        Some("check-port") => moves::check_port(server, &words[1..], world),
        Some("fqdn") => moves::fqdn(&words[1..]),
        Some(what @ ("agent" | "agent-addr" | "agent-port" | "agent-send")) => {
            let has_agent = agent::agent(world.view.shared, server).is_some();
            match what {
                _ if !has_agent => moves::without_agent(what, &words[1..]),
                "agent" => set_agent(server, value, world),
                "agent-addr" => moves::agent_addr(server, &words[1..], world),
                "agent-port" => moves::agent_port(server, value, world),
                _ => {
                    let text = value.unwrap_or("").as_bytes();
                    change::set_agent_send(world.view.shared, server, text);
                    Answer::done()
                }
            }
        }
        Some("ssl") => Answer::error(
            "'set server <srv> ssl' cannot be set.  default-server should define ssl settings",
        ),
        _ => Answer::error(
            "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send \
             | check-addr | check-port | fqdn | health | ssl | state | weight",
        ),
    }
}

/// Without checks of its own a server takes the new state, too, and keeps it.
fn set_health(server: ServerId, value: Option<&str>, world: &World<'_>) -> Answer {
    let (shared, now) = (world.view.shared, world.view.now);
    if shared.config.server(server).track.is_some() {
        return Answer::error("cannot change health on a tracking server.");
    }
    let state = match value {
        Some("up") => Forced::Up,
        Some("stopping") => Forced::Nolb,
        Some("down") => Forced::Down,
        _ => {
            return Answer::error("'set server <srv> health' expects 'up', 'stopping', or 'down'.");
        }
    };
    if let Some(change) = change::force(shared, server, state, Means::Cli, now) {
        world.tell.tell(&change);
    }
    Answer::done()
}

pub(super) fn enable_health(words: &[String], world: &World<'_>) -> Answer {
    with_server(words, world, |server, _| {
        match change::set_checks(world.view.shared, server, true) {
            Some(_) => Answer::done(),
            None => Answer::error("Health check was not configured on this server, cannot enable."),
        }
    })
}

pub(super) fn disable_health(words: &[String], world: &World<'_>) -> Answer {
    with_server(words, world, |server, _| {
        change::set_checks(world.view.shared, server, false);
        Answer::done()
    })
}

pub(super) fn enable_agent(words: &[String], world: &World<'_>) -> Answer {
    let shared = world.view.shared;
    with_server(words, world, |id, _| {
        if shared.config.server(id).agent.is_none() {
            return Answer::error("Agent was not configured on this server, cannot enable.");
        }
        shared.server(id).agent_off.store(false, Release);
        Answer::done()
    })
}

pub(super) fn disable_agent(words: &[String], world: &World<'_>) -> Answer {
    let shared = world.view.shared;
    with_server(words, world, |id, _| {
        let has_agent = shared.config.server(id).agent.is_some();
        shared.server(id).agent_off.store(has_agent, Release);
        Answer::done()
    })
}

/// `set server … agent up|down`: as if the agent had said so.
fn set_agent(id: ServerId, value: Option<&str>, world: &World<'_>) -> Answer {
    let (shared, now) = (world.view.shared, world.view.now);
    let up = match value {
        Some("up") => true,
        Some("down") => false,
        _ => return Answer::error("'set server <srv> agent' expects 'up' or 'down'."),
    };
    world
        .tell
        .tell(&change::set_agent(shared, id, up, Means::Cli, now));
    Answer::done()
}

pub(super) fn enable_server(words: &[String], world: &World<'_>) -> Answer {
    set_state(words, world, State::Ready)
}

pub(super) fn disable_server(words: &[String], world: &World<'_>) -> Answer {
    set_state(words, world, State::Maint)
}

fn set_state(words: &[String], world: &World<'_>, state: State) -> Answer {
    with_server(words, world, |server, _| go_to(server, state, world))
}

fn go_to(server: ServerId, state: State, world: &World<'_>) -> Answer {
    let (shared, now) = (world.view.shared, world.view.now);
    let change = match state {
        State::Ready => change::set_ready(shared, server, now),
        State::Drain => change::set_drain(shared, server, now),
        State::Maint => change::set_maint(shared, server, now),
    };
    world.tell.tell(&change);
    Answer::done()
}

pub(super) fn get_weight(words: &[String], world: &World<'_>) -> Answer {
    with_server(words, world, |server, _| {
        let (cell, written) = (
            world.view.shared.server(server),
            world.view.shared.config.server(server),
        );
        Answer::Text(format!("{} (initial {})\n", cell.weight(), written.weight))
    })
}

pub(super) fn set_weight(words: &[String], world: &World<'_>) -> Answer {
    with_server(words, world, |server, rest| {
        change_weight(server, rest.first().map(String::as_str), world)
    })
}

fn change_weight(server: ServerId, wanted: Option<&str>, world: &World<'_>) -> Answer {
    match change::set_weight(
        world.view.shared,
        server,
        wanted.unwrap_or(""),
        world.view.now,
    ) {
        Ok(change) => {
            world.tell.tell(&change);
            Answer::done()
        }
        Err(why) => Answer::error(why),
    }
}

/// The frontend that the first word names.
fn frontend_of<'a>(words: &[String], world: &World<'a>) -> Result<(FrontendId, &'a Proxy), Answer> {
    let config = &world.view.shared.config;
    let Some(name) = words.first() else {
        return Err(Answer::error("A frontend name is expected."));
    };
    let number = name.strip_prefix('#').and_then(|n| n.parse::<u32>().ok());
    let fronts = config.proxies.iter().filter(|p| p.frontend.is_some());
    let named = fronts.clone().find(|p| p.name == *name);
    named
        .or_else(|| fronts.clone().find(|p| Some(p.iid) == number))
        .and_then(|proxy| Some((proxy.frontend?, proxy)))
        .ok_or_else(|| Answer::error("No such frontend."))
}

/// What haproxy calls a section with a frontend in its messages.
fn kind(proxy: &Proxy) -> &'static str {
    if proxy.backend.is_some() {
        "proxy"
    } else {
        "frontend"
    }
}

pub(super) fn disable_frontend(words: &[String], world: &World<'_>) -> Answer {
    open_or_close(words, world, Door::Paused)
}

pub(super) fn enable_frontend(words: &[String], world: &World<'_>) -> Answer {
    open_or_close(words, world, Door::Open)
}

fn open_or_close(words: &[String], world: &World<'_>, wanted: Door) -> Answer {
    let (front, proxy) = match frontend_of(words, world) {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let shared = world.view.shared;
    let (verb, state, done) = match wanted {
        Door::Open => ("enable", "enabled", "Resumed"),
        Door::Paused | Door::Shut => ("disable", "disabled", "Paused"),
    };
    match shared.frontend(front).door() {
        Door::Shut => {
            return Answer::error(format!("Frontend was previously shut down, cannot {verb}."));
        }
        now if now == wanted => {
            return Answer::error(format!("All sockets are already {state}."));
        }
        Door::Open | Door::Paused => {}
    }
    set_door(front, wanted, world);
    let text = format!("{done} {} {}.", kind(proxy), proxy.name);
    world.tell.warn(proxy, &text);
    Answer::done()
}

/// Its listening sockets close for good; connections that are open live on.
pub(super) fn shutdown_frontend(words: &[String], world: &World<'_>) -> Answer {
    let (front, proxy) = match frontend_of(words, world) {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let shared = world.view.shared;
    if shared.frontend(front).door() == Door::Shut {
        return Answer::error("Frontend was already shut down.");
    }
    set_door(front, Door::Shut, world);
    let text = format!(
        "Proxy {} stopped (cumulated conns: FE: {}, BE: {}).",
        proxy.name,
        shared.sum(|s| &s.frontends[front.index()].connections),
        proxy
            .backend
            .map_or(0, |b| shared.sum(|s| &s.backends[b.index()].sessions)),
    );
    world.tell.warn(proxy, &text);
    Answer::done()
}

fn set_door(front: FrontendId, door: Door, world: &World<'_>) {
    world.view.shared.frontend(front).set_door(door);
    world.view.shared.hint_all(|| Message::Doors);
}

pub(super) fn set_maxconn_frontend(words: &[String], world: &World<'_>) -> Answer {
    let shared = world.view.shared;
    let front = match frontend_of(words, world) {
        Ok((front, _)) => front,
        Err(answer) => return answer,
    };
    match limit(words.get(1), u32::MAX) {
        Ok(limit) => {
            shared.frontend(front).maxconn.store(limit, Relaxed);
            shared.hint_all(|| Message::Room);
            Answer::done()
        }
        Err(why) => Answer::error(why),
    }
}

/// The process' limit can be lowered, and raised again up to what it started with.
pub(super) fn set_maxconn_global(words: &[String], world: &World<'_>) -> Answer {
    let (shared, most) = (world.view.shared, world.view.facts.hard_maxconn);
    if words.is_empty() {
        return Answer::error("Expects an integer value.");
    }
    match limit(words.first(), most) {
        Ok(limit) => {
            shared
                .process
                .maxconn
                .store(if limit == 0 { most } else { limit }, Relaxed);
            shared.hint_all(|| Message::Room);
            Answer::done()
        }
        Err(why) => Answer::error(why),
    }
}

const RATE_LIMITS: &str = "'set rate-limit' only supports :
   - 'connections global' to set the per-process maximum connection rate
   - 'sessions global' to set the per-process maximum session rate
   - 'ssl-sessions global' to set the per-process maximum SSL session rate
   - 'http-compression global' to set the per-process maximum compression speed in kB/s
";

/// `set rate-limit connections|sessions global <n>`; 0: no limit.
pub(super) fn set_rate_limit(words: &[String], world: &World<'_>) -> Answer {
    let process = &world.view.shared.process;
    let (what, value) = match words {
        [what, scope, rest @ ..] if scope == "global" => (what.as_str(), rest.first()),
        _ => return Answer::error(RATE_LIMITS),
    };
    let cell = match what {
        "connections" => &process.connection_rate_limit,
        "sessions" => &process.session_rate_limit,
        "ssl-sessions" | "http-compression" => {
            return Answer::error(format!("'set rate-limit {what}' is not supported yet."));
        }
        _ => return Answer::error(RATE_LIMITS),
    };
    let Some(Ok(limit)) = value.map(|word| word.parse::<i64>()) else {
        return Answer::error("Expects an integer value.");
    };
    let Ok(limit) = u32::try_from(limit) else {
        return Answer::error("Value out of range.");
    };
    cell.store(limit, Relaxed);
    world.view.shared.hint_all(|| Message::Room);
    Answer::done()
}

/// Lets the next `n` completions panic in the drivers that get them, to show what such a mistake costs: one
/// session each.
pub(super) fn inject_panics(words: &[String], world: &World<'_>) -> Answer {
    let wanted = words.first().map_or(Ok(1), |word| word.parse::<u32>());
    let Ok(wanted) = wanted else {
        return Answer::error("A number of panics is expected.");
    };
    let shared = world.view.shared;
    shared.process.panics_wanted.fetch_add(wanted, Relaxed);
    Answer::done()
}

/// Another limit than the file's; 0: none.
pub(super) fn set_maxconn_server(words: &[String], world: &World<'_>) -> Answer {
    with_server(words, world, |id, rest| {
        let shared = world.view.shared;
        let Some(word) = rest.first() else {
            return Answer::error("Require <maxconn>.");
        };
        let Ok(limit) = word.parse::<u32>() else {
            return Answer::error("maxconn string empty or preceded by garbage");
        };
        change::set_maxconn(shared, id, limit);
        Answer::done()
    })
}

fn limit(word: Option<&String>, most: u32) -> Result<u32, &'static str> {
    let Some(Ok(limit)) = word.map(|word| word.parse::<i64>()) else {
        return Err("Integer value expected.");
    };
    match u32::try_from(limit) {
        Ok(limit) if limit <= most => Ok(limit),
        _ => Err("Value out of range."),
    }
}

/// `clear counters`: the maxima start again.
pub(super) fn clear_counters(_: &[String], world: &World<'_>) -> Answer {
    clear_maxima(world);
    Answer::done()
}

/// `clear counters all`: so do the counts, which each shard clears by itself.
pub(super) fn clear_all_counters(_: &[String], world: &World<'_>) -> Answer {
    clear_maxima(world);
    let shared = world.view.shared;
    for back in &shared.backends {
        back.downs.store(0, Relaxed);
    }
    for server in &shared.servers {
        server.checks_failed.store(0, Relaxed);
        server.downs.store(0, Relaxed);
        server.window.forget();
    }
    shared.frontends.iter().for_each(|f| f.window.forget());
    shared.backends.iter().for_each(|b| b.window.forget());
    // One that is lost would leave counts of before among those of after.
    for shard in 0..shared.shards.len() {
        if shared.send(shard, Message::ClearCounters).is_err() {
            return Answer::error("A shard is too busy to clear its counters: try again.");
        }
    }
    Answer::done()
}

fn clear_maxima(world: &World<'_>) {
    let shared = world.view.shared;
    shared.process.connections_max.store(0, Relaxed);
    shared.process.connection_rate_max.store(0, Relaxed);
    shared.process.session_rate_max.store(0, Relaxed);
    for front in shared.frontends.iter() {
        front.connections_max.store(0, Relaxed);
        front.session_rate_max.store(0, Relaxed);
        front.connection_rate_max.store(0, Relaxed);
        front.request_rate_max.store(0, Relaxed);
    }
    for back in &shared.backends {
        back.queued_max.store(0, Relaxed);
        back.current_max.store(0, Relaxed);
        back.session_rate_max.store(0, Relaxed);
    }
    for server in &shared.servers {
        server.session_rate_max.store(0, Relaxed);
        server.queued_max.store(0, Relaxed);
        server.current_max.store(0, Relaxed);
    }
    restart_windows(shared);
    // A shard that raises a maximum at this moment wins or loses as a whole; both are right.
    let clear = |counters: &[&Counter]| counters.iter().for_each(|counter| counter.set(0));
    for shard in &shared.shards {
        shard
            .listeners
            .iter()
            .for_each(|c| clear(&[&c.current_max]));
        for c in &shard.backends {
            clear(&[
                &c.queue_time_max,
                &c.connect_time_max,
                &c.response_time_max,
                &c.total_time_max,
            ]);
        }
        for c in &shard.servers {
            clear(&[
                &c.queue_time_max,
                &c.connect_time_max,
                &c.response_time_max,
                &c.total_time_max,
            ]);
        }
    }
}

/// Percentiles are of what comes from now on, as maxima are.
fn restart_windows(shared: &Shared) {
    let shards = shared.shards.iter();
    for (at, front) in shared.frontends.iter().enumerate() {
        let times = shards.clone().map(|s| &s.frontends[at].latency);
        front.window.restart(times);
    }
    for (at, back) in shared.backends.iter().enumerate() {
        let times = shards.clone().map(|s| &s.backends[at].latency);
        back.window.restart(times);
    }
    for (at, cell) in shared.servers.iter().enumerate() {
        let times = shards.clone().map(|s| &s.servers[at].latency);
        cell.window.restart(times);
    }
}

/// Does something with the server that the first word names, and the words behind it.
fn with_server(
    words: &[String],
    world: &World<'_>,
    act: impl FnOnce(ServerId, &[String]) -> Answer,
) -> Answer {
    match server_of(
        &world.view.shared.config,
        words.first().map_or("", String::as_str),
    ) {
        Ok(server) => act(server, &words[1..]),
        Err(why) => Answer::error(why),
    }
}

/// The server of `backend/server`; `#number` may stand for either name.
pub(super) fn server_of(config: &Config, word: &str) -> Result<ServerId, &'static str> {
    let (backend, server) = word.split_once('/').ok_or("Require 'backend/server'.")?;
    let backend = backend_of(config, backend).ok_or("No such backend.")?;
    let number = server.strip_prefix('#').and_then(|n| n.parse::<u32>().ok());
    let servers = &config.backend(backend).servers;
    let named = servers.iter().find(|id| config.server(**id).name == server);
    let found = named.or_else(|| {
        servers
            .iter()
            .find(|id| Some(config.server(**id).puid) == number)
    });
    found.copied().ok_or("No such server.")
}

/// The backend of this name or `#number`.
pub(super) fn backend_of(config: &Config, word: &str) -> Option<BackendId> {
    let number = word.strip_prefix('#').and_then(|n| n.parse::<u32>().ok());
    let mut with_back = config.proxies.iter().filter(|p| p.backend.is_some());
    let named = with_back.clone().find(|p| p.name == word);
    named
        .or_else(|| with_back.find(|p| Some(p.iid) == number))
        .and_then(|proxy| proxy.backend)
}
