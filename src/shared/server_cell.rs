//! What all shards know of one server: state, weight, places.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::*,
};

use crossbeam::utils::CachePadded;

use super::latency::Window;
use super::place::Place;
use crate::base::tick::Tick;
use crate::config::Server;

/// Operational state, haproxy's numbers in `show servers state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpState {
    Stopped = 0,
    /// Up, weight climbing over `slowstart`.
    Starting = 1,
    Running = 2,
    /// Soft stop: known connections live on, no new ones (`404` disable, later).
    Stopping = 3,
}

/// Administrative state, a set of bits with haproxy's values.
pub mod admin {
    /// Put into maintenance by the operator.
    pub const FMAINT: u8 = 0x01;
    /// In maintenance because the tracked server is.
    pub const IMAINT: u8 = 0x02;
    /// Started in maintenance because the file says `disabled`. A mark of the origin only: it goes with
    /// `FMAINT` at start and stays when the operator clears that (verified on haproxy 2.6).
    pub const CMAINT: u8 = 0x04;
    /// Draining, by the operator.
    pub const FDRAIN: u8 = 0x08;
    /// Draining because the tracked server is.
    pub const IDRAIN: u8 = 0x10;
    /// In maintenance since its name does not resolve.
    pub const RMAINT: u8 = 0x20;
    pub const MAINT: u8 = FMAINT | IMAINT | RMAINT;
    pub const DRAIN: u8 = FDRAIN | IDRAIN;
}

/// The last check's result for the statistics. Written once a check, read by the control thread.
#[derive(Debug, Default, Clone)]
pub struct LastCheck {
    /// haproxy's short name: `L4OK`, `L4CON`, `L4TOUT`, `L7OK`, `L7STS`, `L6RSP`, …; empty: none yet.
    pub status: &'static str,
    /// HTTP status, what a command ended with (-1: a signal), or 0.
    pub code: i32,
    pub duration_ms: u64,
    /// Text behind it (`Connection refused`, …).
    pub description: String,
}

/// One server as all shards see it. Writers stamp a change with the backend's version.
#[derive(Debug)]
pub struct ServerCell {
    op: AtomicU8,
    admin: AtomicU8,
    /// Weight as set by the operator or the file, 0 to 256 (`uweight`).
    weight: AtomicU32,
    /// Health counter, 0 to rise + fall - 1; at `rise` and above it is up.
    pub health: AtomicI32,
    /// Tick (ms) of the last change of state; slowstart counts from here.
    pub changed_ms: AtomicU64,
    /// How long it was in its state when the process began (a state file says so); 0 from the first change on.
    pub before_ms: AtomicU64,
    /// Ms spent down before `changed_ms`.
    pub down_ms: AtomicU64,
    /// Errors in a row that `observe` saw, over all shards, and the addresses they came from, where these count.
    pub errors: AtomicU32,
    pub error_clients: Mutex<Vec<IpAddr>>,
    /// Tick (ms) from which on a connection of a client may try it while it is down; [`Tick::NEVER`]: none may, one
    /// does, or it is not to be tried so.
    pub trial_ms: AtomicU64,
    /// Times that these were too many (`hanafail`).
    pub observed_failures: AtomicU64,
    /// Failed checks while up (`chkfail`), and transitions from up to down (`chkdown`).
    pub checks_failed: AtomicU64,
    pub downs: AtomicU64,
    pub last_check: Mutex<LastCheck>,
    /// What its agent said last of up and down, the last conversation with it, and that it is not to be asked.
    pub agent_up: AtomicBool,
    pub last_agent: Mutex<LastCheck>,
    pub agent_off: AtomicBool,
    /// Address, and address of the checks (whose port is in `check_port`), where an operator changed them.
    pub place: Place,
    pub check_place: Place,
    /// Port of the checks as an operator wants it; 0: as without one.
    pub check_port: AtomicU16,
    /// Address and port of its agent, and what it is sent, where an operator changed them; port 0: the file's.
    pub agent_place: Place,
    pub agent_port: AtomicU16,
    pub agent_send: Mutex<Option<Box<[u8]>>>,
    /// How often `agent_send` was set.
    pub agent_sends: AtomicU32,
    /// It was added and has not left its first maintenance yet.
    pub fresh: AtomicBool,
    /// An operator switched its checks off.
    pub checks_off: AtomicBool,
    /// `maxconn` as set by the operator or the file; 0: no limit. Counts only for servers whose places are counted.
    pub maxconn: AtomicU32,
    /// The file gave no limit but an operator or its agent did: places are counted from then on, for good.
    pub limited: AtomicBool,
    /// Places taken; compare-and-swap against the limit. Own cache line: every session of a limited server writes it.
    pub places: CachePadded<AtomicU32>,
    /// Most sessions in a second, over all shards.
    pub session_rate_max: AtomicU64,
    /// Streams waiting in this server's own queue, and the most there ever were.
    pub queued: AtomicU32,
    pub queued_max: AtomicU32,
    /// Streams admitted from this server's own queue.
    pub admitted: AtomicU64,
    /// Most connections ever open at once (`smax`).
    pub current_max: AtomicU32,
    /// Which of its times are recent.
    pub window: Window,
}

impl ServerCell {
    pub fn new(server: &Server) -> Self {
        let admin = if server.disabled {
            admin::FMAINT | admin::CMAINT
        } else if matches!(
            server.address,
            crate::config::ServerAddress::Unresolved { .. }
        ) {
            admin::RMAINT
        } else {
            0
        };
        let check = server.check.as_ref();
        let health = check.map(|c| c.first_health(server.watch.init_state));
        let up = check.zip(health).is_none_or(|(c, h)| c.is_up(h));
        let op = if admin & admin::MAINT != 0 || !up {
            OpState::Stopped
        } else {
            OpState::Running
        };
        Self {
            op: AtomicU8::new(op as u8),
            admin: AtomicU8::new(admin),
            weight: AtomicU32::new(server.weight),
            health: AtomicI32::new(health.unwrap_or(0)),
            errors: AtomicU32::new(0),
            error_clients: Mutex::default(),
            trial_ms: AtomicU64::new(match server.watch.on_down {
                Some(on_down) if op == OpState::Stopped => u64::from(on_down.retry_ms),
                _ => Tick::NEVER.0,
            }),
            observed_failures: AtomicU64::new(0),
            changed_ms: AtomicU64::new(0),
            before_ms: AtomicU64::new(0),
            down_ms: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
            downs: AtomicU64::new(0),
            last_check: Mutex::default(),
            agent_up: AtomicBool::new(true),
            last_agent: Mutex::default(),
            agent_off: AtomicBool::new(false),
            place: Place::default(),
            check_place: Place::default(),
            check_port: AtomicU16::new(0),
            agent_place: Place::default(),
            agent_port: AtomicU16::new(0),
            agent_send: Mutex::default(),
            agent_sends: AtomicU32::new(0),
            fresh: AtomicBool::new(false),
            checks_off: AtomicBool::new(false),
            maxconn: AtomicU32::new(server.maxconn),
            limited: AtomicBool::new(false),
            places: CachePadded::new(AtomicU32::new(0)),
            session_rate_max: AtomicU64::new(0),
            queued: AtomicU32::new(0),
            queued_max: AtomicU32::new(0),
            admitted: AtomicU64::new(0),
            current_max: AtomicU32::new(0),
            window: Window::default(),
        }
    }

    /// Of a server that an operator adds: in maintenance, neither checks nor an agent before they are asked for.
    pub fn added(server: &Server, now: Tick) -> Self {
        let cell = Self::new(server);
        cell.admin.fetch_or(admin::FMAINT, AcqRel);
        cell.set_op(OpState::Stopped);
        cell.health.store(0, Relaxed);
        cell.changed_ms.store(now.0, Relaxed);
        cell.checks_off.store(server.check.is_some(), Relaxed);
        cell.agent_off.store(server.agent.is_some(), Relaxed);
        cell.fresh.store(true, Relaxed);
        cell
    }

    pub fn op(&self) -> OpState {
        match self.op.load(Acquire) {
            0 => OpState::Stopped,
            1 => OpState::Starting,
            2 => OpState::Running,
            _ => OpState::Stopping,
        }
    }
    pub fn set_op(&self, state: OpState) {
        self.op.store(state as u8, Release);
    }
    /// From `Starting` to `Running`; false if it was not starting (someone else was quicker, or it
    /// went down).
    pub fn end_ramp(&self) -> bool {
        let (from, to) = (OpState::Starting as u8, OpState::Running as u8);
        self.op.compare_exchange(from, to, AcqRel, Relaxed).is_ok()
    }
    pub fn admin(&self) -> u8 {
        self.admin.load(Acquire)
    }
    pub fn set_admin(&self, bits: u8) {
        self.admin.fetch_or(bits, AcqRel);
    }
    pub fn clear_admin(&self, bits: u8) {
        self.admin.fetch_and(!bits, AcqRel);
    }
    pub fn weight(&self) -> u32 {
        self.weight.load(Acquire)
    }
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Release);
    }

    /// Takes a place if fewer than `limit` are taken.
    pub fn take_place(&self, limit: u32) -> bool {
        self.places
            .fetch_update(SeqCst, SeqCst, |taken| (taken < limit).then_some(taken + 1))
            .is_ok()
    }
    /// Gives a place back.
    pub fn give_place(&self) {
        // Sequentially consistent: who frees a place and then looks for tickets, and who publishes a
        // ticket and then looks for places, must not miss each other.
        let less = |taken: u32| Some(taken.saturating_sub(1));
        let before = self.places.fetch_update(SeqCst, SeqCst, less);
        let uncounted = self.limited.load(Relaxed);
        assert!(before != Ok(0) || uncounted, "a place was given back twice");
    }
}
