//! Changes of servers between up, down, maintenance and drain, and what the log says about them.
//!
//! Whoever decides a change (the shard that owns a server's checks, the admin socket) calls a function
//! here. It writes the cells, tells all shards, carries the change on to servers that track this one,
//! and returns haproxy's lines, to be logged to the targets of each line's backend and printed to
//! stderr. Wording, severities and order were compared with haproxy 2.6.12.
//!
//! Changes are rare and made one at a time under a lock of the process; nobody waits for it on the way
//! of traffic.

use std::net::IpAddr;
use std::sync::atomic::Ordering::*;
use std::sync::{MutexGuard, PoisonError};

use super::health::CheckResult;
use super::server;
use super::trial;
use crate::base::tick::Tick;
use crate::config::{Backend, BackendId, Balance, Config, HashMethod, Level, ServerId, ServerPort};
use crate::shared::server_cell::{OpState, admin};
use crate::shared::{KillFor, Message, ServerCell, Shared};

/// What is to be told about a change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Change {
    pub lines: Vec<Line>,
}

/// One message, for the `log` targets of `backend` and for stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub backend: BackendId,
    pub level: Level,
    pub text: String,
}

/// What haproxy calls the section in this message: a `listen` is a proxy.
fn kind(config: &Config, backend: &Backend) -> &'static str {
    if config.proxy(backend.proxy).frontend.is_some() {
        "proxy"
    } else {
        "backend"
    }
}

impl Line {
    /// The same on stderr: label and text after `[LABEL]    (pid) : `.
    pub fn on_stderr(&self, config: &Config) -> (&'static str, String) {
        if self.level == Level::Emerg {
            let backend = config.backend(self.backend);
            return (
                "ALERT",
                format!(
                    "{} '{}' has no server available!",
                    kind(config, backend),
                    backend.name
                ),
            );
        }
        ("WARNING", self.text.clone())
    }
}

impl Change {
    /// `None` if there is nothing to tell.
    pub fn told(self) -> Option<Self> {
        (!self.lines.is_empty()).then_some(self)
    }
}

/// Sets what follows from the file alone: servers that track one in maintenance, backends without a
/// usable server. Once, before the shards start; haproxy logs none of it.
pub fn at_start(shared: &Shared) {
    let mut all = Changing::begin(shared, Tick(0));
    for (i, server) in shared.config.servers.iter().enumerate() {
        let id = ServerId(u32::try_from(i).expect("servers are counted in 32 bits"));
        if server.track.is_none() && shared.server(id).admin() & admin::MAINT != 0 {
            all.each_tracker(id, |all, t| all.enter_maint(t, admin::IMAINT));
        }
    }
    for i in 0..shared.backends.len() {
        all.check_backend(BackendId(
            u32::try_from(i).expect("backends are counted in 32 bits"),
        ));
    }
    for cell in &shared.servers {
        cell.downs.store(0, Relaxed);
    }
}

/// A server was added to a backend, or taken away from it.
pub fn came_or_went(shared: &Shared, backend: BackendId, server: Option<ServerId>, now: Tick) {
    let mut c = Changing::begin(shared, now);
    if let Some(id) = server
        && let Some(tracked) = shared.config.server(id).track
    {
        let bits = shared.server(tracked).admin();
        if bits & admin::MAINT != 0 {
            shared.server(id).set_admin(admin::IMAINT);
        }
        if bits & admin::DRAIN != 0 {
            shared.server(id).set_admin(admin::IDRAIN);
        }
    }
    c.check_backend(backend);
    shared.bump(backend);
}

/// `set server state maint`, `disable server`.
pub fn set_maint(shared: &Shared, id: ServerId, now: Tick) -> Change {
    let mut c = Changing::begin(shared, now);
    c.enter_maint(id, admin::FMAINT);
    c.leave_drain(id, admin::FDRAIN);
    c.change
}

/// `set server state drain`.
pub fn set_drain(shared: &Shared, id: ServerId, now: Tick) -> Change {
    let mut c = Changing::begin(shared, now);
    c.enter_drain(id, admin::FDRAIN);
    c.leave_maint(id, admin::FMAINT);
    c.change
}

/// `set server state ready`, `enable server`.
pub fn set_ready(shared: &Shared, id: ServerId, now: Tick) -> Change {
    let mut c = Changing::begin(shared, now);
    c.leave_drain(id, admin::FDRAIN);
    c.leave_maint(id, admin::FMAINT);
    c.change
}

/// A state that an operator gives a server in place of what its checks say; the next check may change it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    Up,
    /// Up, but takes no new load.
    Nolb,
    Down,
}

/// Through what an operator asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Page,
    Cli,
}

/// `set server health`, `Health: force …` of the statistics page. `None`: it tracks another, whose state it follows.
pub fn force(shared: &Shared, id: ServerId, state: Forced, by: Means, now: Tick) -> Option<Change> {
    let server = shared.config.server(id);
    if server.track.is_some() {
        return None;
    }
    let mut c = Changing::begin(shared, now);
    let cell = shared.server(id);
    let (rise, fall) = server.check.as_ref().map_or((1, 1), |k| (k.rise, k.fall));
    let top = i32::try_from((rise + fall).saturating_sub(1)).unwrap_or(i32::MAX);
    let health = if state == Forced::Down { 0 } else { top };
    cell.health.store(health, Release);
    if cell.admin() & admin::MAINT == 0 {
        match state {
            Forced::Up => c.come_up(id, Why::Operator(by)),
            Forced::Nolb => c.stop(id, Why::Operator(by)),
            Forced::Down => c.go_down(id, Why::Operator(by)),
        }
    }
    Some(c.change)
}

/// As if the server's agent had said so: `set server agent`, or the page.
pub fn set_agent(shared: &Shared, id: ServerId, up: bool, by: Means, now: Tick) -> Change {
    let mut c = Changing::begin(shared, now);
    let cell = shared.server(id);
    cell.agent_up.store(up, Release);
    let good = server::check(shared, id)
        .is_none_or(|check| i64::from(cell.health.load(Acquire)) >= i64::from(check.rise));
    if cell.admin() & admin::MAINT == 0 {
        if !up {
            c.go_down(id, Why::Operator(by));
        } else if good {
            c.come_up(id, Why::Operator(by));
        }
    }
    c.change
}

/// A state file says that a server was in maintenance, or drained. That it is so is said once, with its state.
pub fn restore_admin(shared: &Shared, id: ServerId, bits: u8, now: Tick) -> Change {
    let mut c = Changing::begin(shared, now);
    if bits & admin::FMAINT != 0 {
        c.enter_maint(id, admin::FMAINT);
        c.change.lines.clear();
    } else if bits & admin::FDRAIN != 0 {
        c.enter_drain(id, admin::FDRAIN);
        c.change.lines.clear();
        c.tell_drain_that_remains(id);
    }
    c.change
}

/// A state file says how a server was before a reload.
pub fn restore(shared: &Shared, id: ServerId, state: OpState, now: Tick) -> Change {
    let mut c = Changing::begin(shared, now);
    let cell = shared.server(id);
    if cell.admin() & admin::MAINT != 0 {
        return c.change;
    }
    let (rise, fall) = shared
        .config
        .server(id)
        .check
        .as_ref()
        .map_or((1, 1), |k| (k.rise, k.fall));
    let signed = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let health = match state {
        OpState::Stopped => 0,
        OpState::Starting | OpState::Stopping => signed(rise),
        OpState::Running => signed((rise + fall).saturating_sub(1)),
    };
    cell.health.store(health, Release);
    match state {
        OpState::Stopped => c.go_down(id, Why::Reload),
        OpState::Stopping => c.stop(id, Why::Reload),
        OpState::Starting if shared.config.server(id).slowstart_ms > 0 => {
            c.stamp(id);
            cell.set_op(OpState::Starting);
            c.settle(id);
        }
        OpState::Starting | OpState::Running => {}
    }
    c.change
}

/// `Health: enable checks`, `Health: disable checks`: whether the server's own checks run. `None`: it has none.
pub fn set_checks(shared: &Shared, id: ServerId, on: bool) -> Option<Change> {
    let server = shared.config.server(id);
    server.check.as_ref()?;
    shared.server(id).checks_off.store(!on, Release);
    Some(Change::default())
}

/// `set server addr`: connections from now on go there. A server whose name was not resolved leaves that
/// maintenance.
pub fn set_address(
    shared: &Shared,
    id: ServerId,
    ip: IpAddr,
    port: ServerPort,
    now: Tick,
) -> Change {
    let mut c = Changing::begin(shared, now);
    shared.server(id).place.set(ip, port);
    c.leave_maint(id, admin::RMAINT);
    shared.bump(shared.config.server(id).backend);
    c.change
}

/// `set server check-addr`, `check-port`: where the next checks go.
pub fn set_check_place(shared: &Shared, id: ServerId, ip: Option<IpAddr>, port: Option<u16>) {
    let _one_at_a_time = Changing::begin(shared, Tick(0));
    let cell = shared.server(id);
    if let Some(ip) = ip {
        cell.check_place.set(ip, ServerPort::Fixed(0));
    }
    if let Some(port) = port {
        cell.check_port.store(port, Relaxed);
    }
}

/// `set server agent-addr`, `agent-port`: where the agent is asked from now on.
pub fn set_agent_place(shared: &Shared, id: ServerId, ip: Option<IpAddr>, port: Option<u16>) {
    let _one_at_a_time = Changing::begin(shared, Tick(0));
    let cell = shared.server(id);
    if let Some(ip) = ip {
        cell.agent_place.set(ip, ServerPort::Fixed(0));
    }
    if let Some(port) = port {
        cell.agent_port.store(port, Relaxed);
    }
}

/// `set server agent-send`: what the agent is sent from now on; nothing if empty.
pub fn set_agent_send(shared: &Shared, id: ServerId, text: &[u8]) {
    let cell = shared.server(id);
    let mut send = cell
        .agent_send
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *send = Some(text.into());
    cell.agent_sends.fetch_add(1, Release);
}

/// `set maxconn server` and an agent's `maxconn:`. Where there was no limit before, those who are there now count at
/// once; who comes or goes at this very moment may be counted as gone, never as there for ever.
pub fn set_maxconn(shared: &Shared, id: ServerId, limit: u32) {
    let _one_at_a_time = Changing::begin(shared, Tick(0));
    let cell = shared.server(id);
    if !server::is_limited(shared, id) {
        cell.limited.store(true, SeqCst);
        cell.places.store(shared.server_connections(id), SeqCst);
    }
    cell.maxconn.store(limit, Relaxed);
    shared.bump(shared.config.server(id).backend);
}

/// The older actions of the statistics page, one administrative flag at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    Disable,
    Enable,
    /// Into drain.
    Stop,
    /// Out of it.
    Start,
}

/// Sets or clears a flag; `None` if it was so already.
pub fn set_flag(shared: &Shared, id: ServerId, flag: Flag, now: Tick) -> Option<Change> {
    let mut c = Changing::begin(shared, now);
    let has = |bit| shared.server(id).admin() & bit != 0;
    match flag {
        Flag::Disable if !has(admin::FMAINT) => {
            c.cause = " ('disable' on stats page)";
            c.enter_maint(id, admin::FMAINT);
        }
        Flag::Enable if has(admin::FMAINT) => c.leave_maint(id, admin::FMAINT),
        Flag::Stop if !has(admin::FDRAIN) => {
            c.cause = " ('stop' on stats page)";
            c.enter_drain(id, admin::FDRAIN);
        }
        Flag::Start if has(admin::FDRAIN) => c.leave_drain(id, admin::FDRAIN),
        _ => return None,
    }
    Some(c.change)
}

/// `set server weight`, `set weight`: an absolute weight, or a part of the one in the file with `%`.
///
/// # Errors
/// What haproxy answers; the weight is unchanged.
pub fn set_weight(
    shared: &Shared,
    id: ServerId,
    text: &str,
    now: Tick,
) -> Result<Change, &'static str> {
    let weight = weight_of(text, shared.config.server(id).weight)?;
    let backend = shared.config.server(id).backend;
    let fixed = [0, shared.config.server(id).weight];
    if is_static(shared.config.backend(backend)) && !fixed.contains(&weight) {
        return Err(
            "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.",
        );
    }
    let mut c = Changing::begin(shared, now);
    shared.server(id).set_weight(weight);
    c.check_backend(backend);
    shared.bump(backend);
    Ok(c.change)
}

fn weight_of(text: &str, initial: u32) -> Result<u32, &'static str> {
    const GARBAGE: &str = "Trailing garbage in weight string";
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err("Require <weight> or <weight%>.");
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(unsigned.len());
    if digits == 0 {
        return Err("Empty weight string empty or preceded by garbage");
    }
    let number: u64 = unsigned[..digits].parse().unwrap_or(1 << 32);
    let negative = text.starts_with('-') && number > 0;
    match &unsigned[digits..] {
        "" if negative || number > 256 => {
            Err("Absolute weight can only be between 0 and 256 inclusive.")
        }
        "" => Ok(u32::try_from(number).expect("at most 256")),
        "%" if negative => Err("Relative weight must be positive."),
        "%" => {
            let part = u64::from(initial).saturating_mul(number) / 100;
            Ok(u32::try_from(part.min(256)).expect("at most 256"))
        }
        _ => Err(GARBAGE),
    }
}

/// Do weights that move at run time mean nothing to it?
fn is_static(backend: &Backend) -> bool {
    match backend.balance {
        Balance::StaticRr => true,
        Balance::Source | Balance::Key(_) => backend.hash_type.method == HashMethod::MapBased,
        Balance::RoundRobin | Balance::LeastConn | Balance::First | Balance::Random(_) => false,
    }
}

/// Ends the ramp of `slowstart` once it is over, which haproxy logs as one more `is UP`. To be called
/// now and then while a server starts; one caller gets the line.
pub fn finish_ramp(shared: &Shared, id: ServerId, now: Tick) -> Option<Change> {
    let cell = shared.server(id);
    if cell.op() != OpState::Starting || server::warming(shared, id, now).is_some() {
        return None;
    }
    let mut c = Changing::begin(shared, now);
    if !cell.end_ramp() {
        return None;
    }
    c.stamp(id);
    shared.bump(shared.config.server(id).backend);
    c.tell_up(id, Why::Tracked);
    c.change.told()
}

/// [`finish_ramp`] of all servers: for one shard, once a second.
pub fn finish_ramps(shared: &Shared, now: Tick) -> Option<Change> {
    let mut all = Change::default();
    for (i, server) in shared.config.servers.iter().enumerate() {
        if server.slowstart_ms > 0 {
            let id = ServerId(u32::try_from(i).expect("servers are counted in 32 bits"));
            all.lines
                .extend(finish_ramp(shared, id, now).unwrap_or_default().lines);
        }
    }
    all.told()
}

/// The check says that it is down.
pub(super) fn check_down(shared: &Shared, id: ServerId, result: &CheckResult, now: Tick) -> Change {
    let mut c = Changing::begin(shared, now);
    c.go_down(id, Why::Check(result));
    c.change
}

/// The check says that it is up.
pub(super) fn check_up(shared: &Shared, id: ServerId, result: &CheckResult, now: Tick) -> Change {
    let mut c = Changing::begin(shared, now);
    c.come_up(id, Why::Check(result));
    c.change
}

/// The check says that it is to take no new load.
pub(super) fn check_stopping(
    shared: &Shared,
    id: ServerId,
    result: &CheckResult,
    now: Tick,
) -> Change {
    let mut c = Changing::begin(shared, now);
    c.stop(id, Why::Check(result));
    c.change
}

/// Why a server goes up or down.
#[derive(Clone, Copy, Debug)]
enum Why<'a> {
    /// The server that it tracks did.
    Tracked,
    Check(&'a CheckResult),
    /// An operator said so.
    Operator(Means),
    /// It was so before a reload.
    Reload,
}

/// A change under way: the lock, the time, and the lines so far.
struct Changing<'a> {
    shared: &'a Shared,
    now: Tick,
    change: Change,
    /// What is said behind maintenance and drain about where they come from.
    cause: &'static str,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl<'a> Changing<'a> {
    fn begin(shared: &'a Shared, now: Tick) -> Self {
        // A panic under the lock leaves cells that are valid one by one.
        let guard = shared
            .process
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Self {
            shared,
            now,
            change: Change::default(),
            cause: "",
            _one_at_a_time: guard,
        }
    }

    fn cell(&self, id: ServerId) -> &'a ServerCell {
        self.shared.server(id)
    }

    fn go_down(&mut self, id: ServerId, why: Why<'_>) {
        let cell = self.cell(id);
        if cell.op() == OpState::Stopped {
            return;
        }
        let level = self.level_of_loss(id);
        self.stamp(id);
        cell.set_op(OpState::Stopped);
        cell.downs.fetch_add(1, Relaxed);
        let text = format!(
            "{} is DOWN{}. {}",
            self.name(id),
            self.cause(id, why),
            self.loss(id)
        );
        self.tell(id, level, text);
        self.end_sessions(id);
        trial::begin(self.shared, id, self.now);
        self.tell_drain_that_remains(id);
        self.settle(id);
        self.each_tracker(id, |c, t| {
            if c.cell(t).admin() & admin::MAINT == 0 {
                c.go_down(t, Why::Tracked);
            }
        });
    }

    fn come_up(&mut self, id: ServerId, why: Why<'_>) {
        if !matches!(self.cell(id).op(), OpState::Stopped | OpState::Stopping) {
            return;
        }
        self.start(id);
        self.tell_up(id, why);
        self.end_backup_sessions(id);
        self.tell_drain_that_remains(id);
        self.settle(id);
        self.each_tracker(id, |c, t| {
            if c.cell(t).admin() & admin::MAINT == 0 {
                c.come_up(t, Why::Tracked);
            }
        });
    }

    /// Takes no new load, though it is not down (`NOLB`).
    fn stop(&mut self, id: ServerId, why: Why<'_>) {
        let cell = self.cell(id);
        if cell.op() == OpState::Stopping {
            return;
        }
        self.stamp(id);
        cell.set_op(OpState::Stopping);
        let text = format!(
            "{} is stopping{}. {}",
            self.name(id),
            self.cause(id, why),
            self.gain(id)
        );
        self.tell(id, Level::Notice, text);
        self.settle(id);
        self.each_tracker(id, |c, t| {
            if c.cell(t).admin() & admin::MAINT == 0 {
                c.stop(t, Why::Tracked);
            }
        });
    }

    fn enter_maint(&mut self, id: ServerId, flag: u8) {
        let cell = self.cell(id);
        let before = cell.admin();
        if before & flag != 0 {
            return;
        }
        let level = self.level_of_loss(id);
        cell.set_admin(flag);
        if before & admin::MAINT != 0 {
            return;
        }
        let via = if flag == admin::IMAINT {
            self.via(id)
        } else {
            String::new()
        };
        if cell.op() == OpState::Stopped {
            let text = format!(
                "{} was DOWN and now enters maintenance{}{via}.",
                self.name(id),
                self.cause
            );
            self.tell(id, Level::Notice, text);
        } else {
            self.stamp(id);
            cell.set_op(OpState::Stopped);
            self.end_sessions(id);
            cell.downs.fetch_add(1, Relaxed);
            let text = format!(
                "{} is going DOWN for maintenance{}{via}. {}",
                self.name(id),
                self.cause,
                self.loss(id)
            );
            self.tell(id, level, text);
        }
        self.settle(id);
        self.each_tracker(id, |c, t| c.enter_maint(t, admin::IMAINT));
    }

    fn leave_maint(&mut self, id: ServerId, flag: u8) {
        let cell = self.cell(id);
        if cell.admin() & flag == 0 {
            return;
        }
        cell.clear_admin(flag);
        let left = cell.admin();
        if left & admin::MAINT != 0 {
            let text = if left & admin::FMAINT != 0 {
                format!("{} remains in forced maintenance.", self.name(id))
            } else {
                let via = self.via(id);
                format!(
                    "{} is leaving forced maintenance but remains in maintenance{via}.",
                    self.name(id)
                )
            };
            self.tell(id, Level::Notice, text);
            return;
        }
        cell.fresh.store(false, Relaxed);
        // It starts with the health of a first check ahead; one that tracks follows the tracked.
        let server = self.shared.config.server(id);
        let mut up = server
            .track
            .is_none_or(|t| self.cell(t).op() != OpState::Stopped);
        if let Some(check) = &server.check {
            let health = check.first_health(server.watch.init_state);
            cell.health.store(health, Relaxed);
            up &= check.is_up(health);
        }
        up &= super::agent::lets_up(self.shared, id);
        if up {
            self.start(id);
            self.end_backup_sessions(id);
        } else {
            trial::begin(self.shared, id, self.now);
        }
        let drained = left & admin::DRAIN != 0;
        let text = format!(
            "{} is {}/{} (leaving {}maintenance).",
            self.name(id),
            if up { "UP" } else { "DOWN" },
            if drained { "DRAIN" } else { "READY" },
            if flag == admin::FMAINT { "forced " } else { "" },
        );
        self.tell(id, Level::Notice, text);
        self.tell_drain_that_remains(id);
        self.settle(id);
        self.each_tracker(id, |c, t| c.leave_maint(t, admin::IMAINT));
    }

    fn enter_drain(&mut self, id: ServerId, flag: u8) {
        let cell = self.cell(id);
        let before = cell.admin();
        if before & flag != 0 {
            return;
        }
        cell.set_admin(flag);
        if before & admin::MAINT == 0 {
            if before & admin::DRAIN == 0 {
                self.stamp(id);
                let via = if flag == admin::IDRAIN {
                    self.via(id)
                } else {
                    String::new()
                };
                let rest = if cell.op() == OpState::Stopped {
                    self.loss(id)
                } else {
                    self.gain(id)
                };
                self.tell(
                    id,
                    Level::Notice,
                    format!(
                        "{} enters drain state{}{via}. {rest}",
                        self.name(id),
                        self.cause
                    ),
                );
            } else {
                self.tell_drain_that_remains(id);
            }
        }
        self.settle(id);
        self.each_tracker(id, |c, t| c.enter_drain(t, admin::IDRAIN));
    }

    fn leave_drain(&mut self, id: ServerId, flag: u8) {
        let cell = self.cell(id);
        if cell.admin() & flag == 0 {
            return;
        }
        cell.clear_admin(flag);
        let left = cell.admin();
        if left & (admin::MAINT | admin::DRAIN) == 0 {
            self.stamp(id);
            let state = if cell.op() == OpState::Stopped {
                "DOWN"
            } else {
                "UP"
            };
            self.tell(
                id,
                Level::Notice,
                format!("{} is {state} (leaving forced drain).", self.name(id)),
            );
        } else if left & admin::MAINT == 0 {
            self.tell_drain_that_remains(id);
        }
        self.settle(id);
        if left & admin::DRAIN == 0 {
            self.each_tracker(id, |c, t| c.leave_drain(t, admin::IDRAIN));
        }
    }

    /// `on-marked-down shutdown-sessions`.
    fn end_sessions(&self, id: ServerId) {
        if self.shared.config.server(id).watch.shutdown_on_down {
            self.shared
                .hint_all(|| Message::KillServer(id, KillFor::Down));
        }
    }

    /// `on-marked-up shutdown-backup-sessions`, of an active server that takes load.
    fn end_backup_sessions(&self, id: ServerId) {
        let config = &self.shared.config;
        let server = config.server(id);
        let takes = !server.backup && self.cell(id).weight() > 0;
        if !server.watch.shutdown_backups_on_up || !takes {
            return;
        }
        let servers = &config.backend(server.backend).servers;
        for &backup in servers.iter().filter(|&&s| config.server(s).backup) {
            self.shared
                .hint_all(|| Message::KillServer(backup, KillFor::Up));
        }
    }

    /// Up, with a ramp where `slowstart` says so.
    fn start(&mut self, id: ServerId) {
        self.stamp(id);
        let ramp = self.shared.config.server(id).slowstart_ms > 0;
        self.cell(id).set_op(if ramp {
            OpState::Starting
        } else {
            OpState::Running
        });
    }

    /// Counts the time of the state that ends now, before the state is changed.
    fn stamp(&self, id: ServerId) {
        let cell = self.cell(id);
        let since = cell.changed_ms.swap(self.now.0, AcqRel);
        cell.before_ms.store(0, Relaxed);
        if cell.op() == OpState::Stopped {
            cell.down_ms
                .fetch_add(self.now.0.saturating_sub(since), Relaxed);
        }
    }

    /// After a change: has the backend still a server, or again; and all shards look.
    fn settle(&mut self, id: ServerId) {
        let backend = self.shared.config.server(id).backend;
        self.check_backend(backend);
        self.shared.bump(backend);
    }

    fn check_backend(&mut self, id: BackendId) {
        let cell = self.shared.backend(id);
        let servers = &self.shared.config.backend(id).servers;
        let usable = servers.is_empty() || usable(self.shared, id) != (0, 0);
        let was_down = cell.down_since_ms.load(Relaxed) != 0;
        if usable != was_down {
            return;
        }
        let since = cell.changed_ms.swap(self.now.0, Relaxed);
        if usable {
            cell.down_ms
                .fetch_add(self.now.0.saturating_sub(since), Relaxed);
            cell.down_since_ms.store(0, Release);
            return;
        }
        // 0 means that it has one: tick 0 counts as 1.
        cell.down_since_ms.store(self.now.0.max(1), Release);
        cell.downs.fetch_add(1, Relaxed);
        let config = &self.shared.config;
        let backend = config.backend(id);
        let text = format!(
            "{} {} has no server available!",
            kind(config, backend),
            backend.name
        );
        self.change.lines.push(Line {
            backend: id,
            level: Level::Emerg,
            text,
        });
    }

    fn each_tracker(&mut self, id: ServerId, mut how: impl FnMut(&mut Self, ServerId)) {
        let config = &self.shared.config;
        // haproxy goes through them from the last of the file to the first.
        for (i, server) in config.servers.iter().enumerate().rev() {
            if server.track == Some(id) {
                how(
                    self,
                    ServerId(u32::try_from(i).expect("servers are counted in 32 bits")),
                );
            }
        }
    }

    fn tell(&mut self, id: ServerId, level: Level, text: String) {
        let backend = self.shared.config.server(id).backend;
        self.change.lines.push(Line {
            backend,
            level,
            text,
        });
    }

    fn tell_up(&mut self, id: ServerId, why: Why<'_>) {
        let text = format!(
            "{} is UP{}. {}",
            self.name(id),
            self.cause(id, why),
            self.gain(id)
        );
        self.tell(id, Level::Notice, text);
    }

    /// haproxy says so whenever a drain outlives another change.
    fn tell_drain_that_remains(&mut self, id: ServerId) {
        let admin = self.cell(id).admin();
        let text = if admin & admin::FDRAIN != 0 {
            format!("{} remains in forced drain mode.", self.name(id))
        } else if admin & admin::IDRAIN != 0 {
            let via = self.via(id);
            format!(
                "{} is leaving forced drain but remains in drain mode{via}.",
                self.name(id)
            )
        } else {
            return;
        };
        self.tell(id, Level::Notice, text);
    }

    /// A server that took no new load is no great loss.
    fn level_of_loss(&self, id: ServerId) -> Level {
        let cell = self.cell(id);
        let stopping = cell.op() == OpState::Stopping || cell.admin() & admin::DRAIN != 0;
        if stopping {
            Level::Notice
        } else {
            Level::Alert
        }
    }

    fn name(&self, id: ServerId) -> String {
        let backup = if self.shared.config.server(id).backup {
            "Backup "
        } else {
            ""
        };
        format!("{backup}Server {}", full_name(&self.shared.config, id))
    }

    fn via(&self, id: ServerId) -> String {
        let tracked = self.shared.config.server(id).track;
        tracked.map_or_else(String::new, |t| {
            format!(" via {}", full_name(&self.shared.config, t))
        })
    }

    /// Why it went up or down. With `log-health-checks` the line before has said it already.
    fn cause(&self, id: ServerId, why: Why<'_>) -> String {
        let server = self.shared.config.server(id);
        match why {
            Why::Check(result) if !self.shared.config.backend(server.backend).log_health_checks => {
                format!(", {}", result.reason())
            }
            Why::Check(_) => String::new(),
            Why::Operator(Means::Page) => ", changed from Web interface".to_owned(),
            Why::Reload => ", changed from server-state after a reload".to_owned(),
            Why::Operator(Means::Cli) => ", changed from CLI".to_owned(),
            Why::Tracked => self.via(id),
        }
    }

    /// The end of a line about a server that leaves.
    fn loss(&self, id: ServerId) -> String {
        let requeued = self.cell(id).queued.load(Relaxed);
        let active = self.shared.server_connections(id);
        format!(
            "{} left.{} {active} sessions active, {requeued} requeued, 0 remaining in queue.",
            self.counts(id),
            self.on_backup(id)
        )
    }

    /// The end of a line about a server that comes, or stays though it drains.
    fn gain(&self, id: ServerId) -> String {
        let cell = self.cell(id);
        let requeued = if server::is_usable(cell) {
            self.will_take(id)
        } else {
            0
        };
        let queued = cell.queued.load(Relaxed);
        format!(
            "{} online.{} {requeued} sessions requeued, {queued} total in queue.",
            self.counts(id),
            self.on_backup(id)
        )
    }

    /// Streams of the backend's queue that it has places for.
    fn will_take(&self, id: ServerId) -> u32 {
        let backend = self.shared.config.server(id).backend;
        let waiting = self.shared.backend(backend).queued.load(Relaxed);
        let limit = server::limit(
            self.shared,
            id,
            server::sessions_in(self.shared, backend),
            self.now,
        );
        limit.map_or(waiting, |limit| waiting.min(limit))
    }

    fn counts(&self, id: ServerId) -> String {
        let (active, backup) = usable(self.shared, self.shared.config.server(id).backend);
        format!("{active} active and {backup} backup servers")
    }

    fn on_backup(&self, id: ServerId) -> &'static str {
        let (active, backup) = usable(self.shared, self.shared.config.server(id).backend);
        if active == 0 && backup > 0 {
            " Running on backup."
        } else {
            ""
        }
    }
}

/// `backend/server`.
pub(super) fn full_name(config: &Config, id: ServerId) -> String {
    let server = config.server(id);
    format!("{}/{}", config.backend(server.backend).name, server.name)
}

/// Usable servers of a backend: active ones and backup ones.
pub fn usable(shared: &Shared, id: BackendId) -> (u32, u32) {
    let servers = &shared.config.backend(id).servers;
    servers
        .iter()
        .filter(|&&id| server::is_usable(shared.server(id)))
        .fold((0, 0), |(active, backup), &id| {
            if shared.config.server(id).backup {
                (active, backup + 1)
            } else {
                (active + 1, backup)
            }
        })
}

#[cfg(test)]
mod tests;
