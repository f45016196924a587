//! One server: may it be chosen, with what weight, how many connections may it hold, and its state in
//! the words of the statistics.
//!
//! Functions of the shared cell and of the configuration; nothing is kept here.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::Ordering::*;

use super::agent;
use super::change::full_name;
use crate::base::tick::Tick;
use crate::config::{Agent, BackendId, Check, Config, ServerAddress, ServerId, ServerPort};
use crate::shared::server_cell::{OpState, admin};
use crate::shared::{ServerCell, Shared};

/// Steps of a weight unit for algorithms whose weights may move (haproxy's scale).
pub const WEIGHT_SCALE: u32 = 16;

/// May new connections be sent to it by an algorithm?
pub fn is_usable(cell: &ServerCell) -> bool {
    matches!(cell.op(), OpState::Running | OpState::Starting)
        && cell.admin() & (admin::MAINT | admin::DRAIN) == 0
        && cell.weight() > 0
}

/// May streams go on waiting for it alone? Draining servers and those of weight 0 still serve what is
/// meant for them.
pub fn serves_queue(cell: &ServerCell) -> bool {
    cell.op() != OpState::Stopped && cell.admin() & admin::MAINT == 0
}

/// Weight it counts with at `now`, in sixteenths of its configured weight.
///
/// Climbs in sixteen whole steps over `slowstart`, starting at one step rather than at 0, so that a
/// server coming back meets real traffic at once. haproxy takes the time in whole seconds, so a
/// ramp here is as fine or finer. See configuration.txt 5.2, `slowstart`.
pub fn scaled_weight(shared: &Shared, id: ServerId, now: Tick) -> u32 {
    let cell = shared.server(id);
    let weight = cell.weight();
    match warming(shared, id, now) {
        Some((elapsed, ramp)) => {
            let step = (u64::from(WEIGHT_SCALE) * elapsed + ramp) / ramp;
            weight
                * u32::try_from(step)
                    .unwrap_or(WEIGHT_SCALE)
                    .min(WEIGHT_SCALE)
        }
        None => weight * WEIGHT_SCALE,
    }
}

/// The same in whole units, rounded up: the column `weight` of the statistics.
pub fn shown_weight(shared: &Shared, id: ServerId, now: Tick) -> u32 {
    scaled_weight(shared, id, now).div_ceil(WEIGHT_SCALE)
}

/// The server whose checks decide: itself, or the end of the chain it tracks.
pub fn checked_by(config: &Config, id: ServerId) -> ServerId {
    let mut at = id;
    // A chain longer than there are servers would be a circle, which the configuration refuses.
    for _ in 0..config.servers.len() {
        match config.server(at).track {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

/// The server's own check, if it has one that runs.
pub fn check(shared: &Shared, id: ServerId) -> Option<&Check> {
    let check = shared.config.server(id).check.as_ref();
    check.filter(|_| !shared.server(id).checks_off.load(Relaxed))
}

/// Where the file or an operator finds its agent: an address unless it is the server's own, and the port.
pub fn agent_place(shared: &Shared, id: ServerId, agent: &Agent) -> (Option<IpAddr>, u16) {
    let cell = shared.server(id);
    let addr = cell.agent_place.get().map(|(ip, _)| ip).or(agent.addr);
    match cell.agent_port.load(Relaxed) {
        0 => (addr, agent.port),
        port => (addr, port),
    }
}

/// Where the file or an operator sends its checks: an address unless it is the server's own, and the port.
pub fn probed(shared: &Shared, id: ServerId, check: &Check) -> (Option<IpAddr>, u16) {
    let cell = shared.server(id);
    let addr = cell.check_place.get().map(|(ip, _)| ip).or(check.addr);
    let port = match cell.check_port.load(Relaxed) {
        // Checks of the server's own port follow it.
        0 => match (&shared.config.server(id).address, cell.place.get()) {
            (
                ServerAddress::Ip {
                    port: ServerPort::Fixed(own),
                    ..
                },
                Some((_, ServerPort::Fixed(moved))),
            ) if *own == check.port => moved,
            _ => check.port,
        },
        port => port,
    };
    (addr, port)
}

/// What colours a server on the statistics page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Up,
    /// Up, but some checks failed.
    GoingDown,
    /// Down, but some checks passed.
    GoingUp,
    Down,
    Nolb,
    /// Also one whose weight is 0.
    Draining,
    NoCheck,
    Maintain,
}

pub fn look(shared: &Shared, id: ServerId) -> Look {
    let cell = shared.server(id);
    let deciding = checked_by(&shared.config, id);
    let health = shared.server(deciding).health.load(Relaxed);
    let check = check(shared, deciding);
    let top = check.map_or(0, |c| {
        i32::try_from((c.rise + c.fall).saturating_sub(1)).unwrap_or(i32::MAX)
    });
    if cell.admin() & admin::MAINT != 0 {
        return Look::Maintain;
    }
    match cell.op() {
        OpState::Stopped if check.is_some() && health > 0 => Look::GoingUp,
        OpState::Stopped => Look::Down,
        _ if cell.admin() & admin::DRAIN != 0 || cell.weight() == 0 => Look::Draining,
        OpState::Stopping => Look::Nolb,
        OpState::Starting | OpState::Running if check.is_none() => Look::NoCheck,
        OpState::Starting | OpState::Running if health < top => Look::GoingDown,
        OpState::Starting | OpState::Running => Look::Up,
    }
}

/// The state in the words of `show stat`: `UP`, `UP 1/3`, `DOWN 1/2`, `MAINT (via b/s)`, `DRAIN`, `no check`…
pub fn state_text(shared: &Shared, id: ServerId) -> Cow<'static, str> {
    let cell = shared.server(id);
    let config = &shared.config;
    let bits = cell.admin();
    if bits & admin::MAINT != 0 {
        let tracked = config
            .server(id)
            .track
            .filter(|_| bits & admin::IMAINT != 0);
        return match tracked {
            Some(t) => format!("MAINT (via {})", full_name(config, t)).into(),
            None if bits & admin::RMAINT != 0 => "MAINT (resolution)".into(),
            None => "MAINT".into(),
        };
    }
    let deciding = checked_by(config, id);
    let health = shared.server(deciding).health.load(Relaxed);
    let check = check(shared, deciding);
    let signed = |n: u32| i32::try_from(n).unwrap_or(i32::MAX / 4);
    let (rise, fall) = check.map_or((1, 1), |c| (signed(c.rise), signed(c.fall)));
    let word = match cell.op() {
        OpState::Stopped if check.is_some() && health > 0 && agent::lets_up(shared, deciding) => {
            return format!("DOWN {health}/{rise}").into();
        }
        OpState::Stopped if !agent::lets_up(shared, deciding) => return "DOWN (agent)".into(),
        OpState::Stopped => return "DOWN".into(),
        _ if bits & admin::DRAIN != 0 && agent::agent(shared, id).is_some() => "DRAIN (agent)",
        _ if bits & admin::DRAIN != 0 => "DRAIN",
        OpState::Stopping => "NOLB",
        OpState::Starting | OpState::Running if check.is_none() => return "no check".into(),
        OpState::Starting | OpState::Running => "UP",
    };
    if check.is_some() && health < rise + fall - 1 {
        return format!("{word} {}/{fall}", health - rise + 1).into();
    }
    word.into()
}

/// The server as `http-check send-state` tells it: `UP 2/3; address=…; port=…; name=b/s; node=…; weight=1/2;
/// scur=13/22; qcur=0`. `node`: the host's name where `node` is not given.
pub fn told_state(shared: &Shared, id: ServerId, now: Tick, hostname: &str) -> String {
    let config = &shared.config;
    let server = config.server(id);
    let own = shared.server(id).place.or(&server.address);
    let (address, port) = match &*own {
        ServerAddress::Ip { ip, port } => {
            let port = match port {
                ServerPort::Fixed(port) => port.to_string(),
                ServerPort::Mapped(_) => "0".to_owned(),
            };
            (ip.to_string(), port)
        }
        ServerAddress::Unresolved { .. } => (String::new(), "0".to_owned()),
        ServerAddress::Unix(_) | ServerAddress::Abns(_) => ("unix".to_owned(), "unix".to_owned()),
    };
    let servers = &config.backend(server.backend).servers;
    let usable = servers.iter().filter(|&&s| is_usable(shared.server(s)));
    let total: u32 = usable.map(|&s| shown_weight(shared, s, now)).sum();
    let all: u32 = servers.iter().map(|&s| shared.server_connections(s)).sum();
    format!(
        "{}; address={address}; port={port}; name={}; node={}; weight={}/{total}; scur={}/{all}; qcur={}",
        state_text(shared, id),
        full_name(config, id),
        config.global.node.as_deref().unwrap_or(hostname),
        shown_weight(shared, id, now),
        shared.server_connections(id),
        shared.server(id).queued.load(Relaxed),
    )
}

/// Milliseconds it was down, up to `now` (`downtime`).
pub fn down_ms(shared: &Shared, id: ServerId, now: Tick) -> u64 {
    let cell = shared.server(id);
    let present = now.since(Tick(cell.changed_ms.load(Acquire)));
    cell.down_ms.load(Relaxed)
        + if cell.op() == OpState::Stopped {
            present
        } else {
            0
        }
}

/// Milliseconds since it came back and milliseconds its ramp takes, while the ramp lasts.
pub fn warming(shared: &Shared, id: ServerId, now: Tick) -> Option<(u64, u64)> {
    let ramp = u64::from(shared.config.server(id).slowstart_ms);
    let cell = shared.server(id);
    if ramp == 0 || cell.op() != OpState::Starting {
        return None;
    }
    let elapsed = now.since(Tick(cell.changed_ms.load(Acquire)));
    (elapsed < ramp).then_some((elapsed, ramp))
}

/// Are its places counted? Where the file gives a limit, always; else from the first limit that an operator sets.
pub fn is_limited(shared: &Shared, id: ServerId) -> bool {
    let server = shared.config.server(id);
    server.maxconn > 0 || server.minconn > 0 || shared.server(id).limited.load(Acquire)
}

/// Connections it may hold at `now`; `None`: as many as come. `in_backend` is the number of sessions
/// now in its backend, waiting ones included.
///
/// With `minconn` the limit follows the load of the backend up to `maxconn` at `fullconn`; during
/// `slowstart` only the part of the time that has passed counts, at least 1.
pub fn limit(shared: &Shared, id: ServerId, in_backend: u64, now: Tick) -> Option<u32> {
    if !is_limited(shared, id) {
        return None;
    }
    let server = shared.config.server(id);
    let most = match shared.server(id).maxconn.load(Relaxed) {
        // Limited once, but no longer.
        0 if server.maxconn > 0 || server.minconn == 0 => return Some(u32::MAX),
        most => most.max(server.minconn),
    };
    let full = u64::from(shared.config.backend(server.backend).fullconn);
    let mut limit = most;
    if server.minconn > 0 && server.minconn < most && in_backend < full {
        let part = u64::from(most) * in_backend / full;
        limit = u32::try_from(part).unwrap_or(most).max(server.minconn);
    }
    if let Some((elapsed, ramp)) = warming(shared, id, now) {
        let part = u64::from(limit) * (100 * elapsed / ramp) / 100;
        limit = u32::try_from(part).unwrap_or(limit).max(1);
    }
    Some(limit)
}

/// Sessions now in the backend, over all shards.
pub fn sessions_in(shared: &Shared, backend: BackendId) -> u64 {
    shared.sum(|s| &s.backends[backend.index()].current)
}

/// Counts one more connection in the shard's own row; `shard` must be the caller's.
pub(crate) fn count_up(shared: &Shared, shard: usize, id: ServerId) {
    let row = &shared.shards[shard].server_row[id.index()];
    row.store(row.load(Relaxed) + 1, Release);
    let open = shared.server_connections(id);
    let most = &shared.server(id).current_max;
    if open > most.load(Relaxed) {
        most.fetch_max(open, Relaxed);
    }
}

/// Counts one connection less; published before anything else a release does, so that no shard
/// learns of its own closings earlier than the others do.
pub(crate) fn count_down(shared: &Shared, shard: usize, id: ServerId) {
    let row = &shared.shards[shard].server_row[id.index()];
    let open = row.load(Relaxed);
    assert!(open > 0, "a connection to a server was counted down twice");
    row.store(open - 1, Release);
}
