//! The turn, and what it does once a second.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

use super::versions::Following;
use crate::backend::change;
use crate::base::tick::Tick;
use crate::config::ServerId;
use crate::io::engine::{Engine, Io};
use crate::io::kernel::{Kernel, Wait};
use crate::io::op::{Done, Op, What};
use crate::proxy::outcome::Cause;
use crate::proxy::{Local, Owner, Timer, check, http, listener, tcp};
use crate::shared::{KillFor, Message, Phase};

/// Messages taken in one turn at most.
const MESSAGES_PER_TURN: usize = 64;
/// While stopping, the shard looks at the process' gauges at least this often.
const STOPPING_LOOK_MS: u64 = 100;

/// Where a shard stands with its listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doors {
    Open,
    /// Soft stop: each listener leaves in its time.
    Closing,
    Closed,
}

/// One shard: its engine and what its drivers share.
#[derive(Debug)]
pub struct Shard<K: Kernel> {
    pub engine: Engine<K>,
    pub local: Local,
    phase: Phase,
    doors: Doors,
    due: Vec<Timer>,
    admitted: Vec<(Owner, ServerId)>,
    second: Second,
    pub(super) following: Following,
}

/// Time between two turns from which on the first ones may begin before all that waited was told.
const LULL_MS: u64 = 2;

/// State of the once-a-second work.
#[derive(Debug, Default)]
struct Second {
    cpu_us: u64,
    at: Tick,
}

impl<K: Kernel> Shard<K> {
    pub(super) fn assemble(engine: Engine<K>, local: Local) -> Self {
        Self {
            engine,
            local,
            phase: Phase::Running,
            doors: Doors::Open,
            due: Vec::new(),
            admitted: Vec::new(),
            second: Second::default(),
            following: Following::Done,
        }
    }

    /// One round of the loop. `false`: the shard's work is over.
    pub fn turn(&mut self) -> bool {
        let wait = self.wait();
        self.engine.begin_turn(wait);
        self.local.cells().asleep.store(false, Relaxed);
        let before = self.local.now;
        self.local.set_clock(self.engine.now());
        if self.local.now - before >= LULL_MS {
            self.local.lull_over = self.local.now + LULL_MS;
        }
        self.local.panics_wanted = self.claim_panics();
        self.drive();
        self.drive_streams();
        self.take_messages();
        self.serve_waiting();
        self.fire_timers();
        self.drive();
        self.local.announce_room();
        self.publish();
        self.follow_phase()
    }

    /// Until when to wait; announces the sleep first, so that no bell is missed.
    fn wait(&mut self) -> Wait {
        let cells = self.local.cells();
        cells.asleep.store(true, SeqCst);
        if !cells.mailbox.is_empty() || self.local.shared.phase() != self.phase {
            return Wait::No;
        }
        let mut until = self.local.timers.next();
        if self.phase == Phase::SoftStop {
            let look = self.local.now + STOPPING_LOOK_MS;
            until = Some(until.map_or(look, |t| t.min(look)));
        }
        until.map_or(Wait::Forever, Wait::Until)
    }

    /// Drives completions until nothing small is left to do.
    pub(super) fn drive(&mut self) {
        while let Some(done) = self.engine.next_done() {
            self.dispatch(done);
        }
    }

    /// Streams come after everything small, a megabyte a turn.
    fn drive_streams(&mut self) {
        let mut left = i64::from(self.engine.stream_per_turn());
        while left > 0 {
            let Some(moved) = self.engine.next_stream() else {
                return;
            };
            left -= i64::from(moved.max(1));
            self.drive();
        }
    }

    fn dispatch(&mut self, done: Done) {
        let (local, io) = (&mut self.local, &mut self.engine);
        match Owner::unpack(done.owner) {
            Owner::Relay(key) => {
                if catch_unwind(AssertUnwindSafe(|| tcp::on_done(local, io, key, done))).is_err() {
                    self.after_panic(Owner::Relay(key));
                }
            }
            Owner::Http(key) => {
                if catch_unwind(AssertUnwindSafe(|| http::on_done(local, io, key, done))).is_err() {
                    self.after_panic(Owner::Http(key));
                }
            }
            Owner::Idle(key) => http::on_idle_done(local, io, key, done),
            Owner::Listener(index) => match done.what {
                What::Accepted { fd } => listener::on_accepted(local, io, index, fd),
                What::Acceptable => listener::on_acceptable(local, io, index),
                What::AcceptEnded { errno } => listener::on_accept_ended(local, io, index, errno),
                other => unreachable!("not for a listener: {other:?}"),
            },
            Owner::Probe(index, attempt) => check::on_done(local, io, index, attempt, done),
        }
    }

    /// A driver panicked: that session ends, and nothing else.
    fn after_panic(&mut self, who: Owner) {
        let (Owner::Relay(key) | Owner::Http(key) | Owner::Idle(key)) = who else {
            unreachable!("only sessions are guarded")
        };
        let http = matches!(who, Owner::Http(_));
        let stage = if http {
            http::stage_name(&self.local, key)
        } else {
            tcp::stage_name(&self.local, key)
        };
        self.local.cells().activity.panics.inc();
        let text = format!(
            "session {}.{} of shard {} ended by an internal error at stage {stage}",
            key.index, key.generation, self.local.shard
        );
        let wall = self.local.shared.wall_us(self.local.now);
        let config = std::sync::Arc::clone(&self.local.config);
        self.local.logs.push(
            &config.global.log,
            crate::config::Level::Crit,
            None,
            wall,
            text.as_bytes(),
        );
        let (local, io) = (&mut self.local, &mut self.engine);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            if http {
                http::kill(local, io, key, Cause::Internal);
            } else {
                tcp::kill(local, io, key, Cause::Internal);
            }
        }));
        assert!(ended.is_ok(), "{text}, and could not be cleared away");
    }

    pub(super) fn guard(&mut self, who: Owner, act: impl FnOnce(&mut Local, &mut Engine<K>)) {
        let (local, io) = (&mut self.local, &mut self.engine);
        if catch_unwind(AssertUnwindSafe(|| act(local, io))).is_err() {
            self.after_panic(who);
        }
    }

    fn claim_panics(&self) -> u32 {
        let wanted = &self.local.shared.process.panics_wanted;
        if self.local.panics_wanted > 0 || wanted.load(Relaxed) == 0 {
            return self.local.panics_wanted;
        }
        // One at a time, so that the rest of the load goes on between them.
        u32::from(
            wanted
                .fetch_update(AcqRel, Acquire, |n| n.checked_sub(1))
                .is_ok(),
        )
    }

    // ------------------------------------------------------------ messages

    fn take_messages(&mut self) {
        let mut walk = None;
        self.follow_version();
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.local.cells().mailbox.take() else {
                break;
            };
            self.local.cells().activity.messages.inc();
            // Who sent it may know of servers that we do not know yet.
            self.follow_version();
            match message {
                Message::Placed { fd, bind, peer } => {
                    listener::on_placed(&mut self.local, &mut self.engine, bind, fd, peer);
                }
                Message::Room => self.retry_listeners(),
                Message::Doors => self.each_listener(listener::follow_door),
                // What these speak of is looked at once a turn anyway.
                Message::Place(_) | Message::State | Message::Phase => {}
                Message::Kill => self.kill_all(),
                Message::Patterns => self.local.follow_patterns(),
                Message::ClearCounters => self.local.cells().clear(&self.local.config),
                Message::Survey(survey) => self.answer_survey(&survey),
                Message::Census(part) => walk = Some(part),
                Message::KillServer(server, why) => self.kill_server(server, why),
                Message::Hasten(server) => check::hasten(&mut self.local, server),
                Message::Borrow {
                    server,
                    identity,
                    first,
                    to,
                    session,
                } => {
                    let wanted = (server, identity, first);
                    http::on_borrow(&mut self.local, &mut self.engine, wanted, to, session);
                }
                Message::Lent {
                    session,
                    server,
                    fd,
                    identity,
                    uses,
                } => self.guard(Owner::Http(session), |local, io| {
                    http::on_lent(local, io, session, server, fd, (identity, uses));
                }),
                Message::Checked {
                    server,
                    attempt,
                    end,
                } => check::on_command(&mut self.local, &mut self.engine, (server, attempt), end),
                Message::Verified { session, id, right } => {
                    self.guard(Owner::Http(session), |local, io| {
                        http::on_verified(local, io, session, id, right);
                    });
                }
            }
            self.drive();
            self.count_message();
        }
        if let Some(walk) = walk {
            self.walk(walk);
        }
        if self.engine.take_bell() {
            self.local.cells().activity.wakeups.inc();
        }
    }

    fn retry_listeners(&mut self) {
        for index in 0..self.local.listeners.len() {
            listener::retry(&mut self.local, &mut self.engine, index as u32);
        }
    }

    fn kill_all(&mut self) {
        for key in self.local.relays.keys() {
            self.guard(Owner::Relay(key), |local, io| {
                tcp::kill(local, io, key, Cause::Killed);
            });
        }
        for key in self.local.sessions.keys() {
            self.guard(Owner::Http(key), |local, io| {
                http::kill(local, io, key, Cause::Killed);
            });
        }
    }

    /// Ends the sessions connected to one server.
    fn kill_server(&mut self, server: ServerId, why: KillFor) {
        let cause = match why {
            KillFor::Operator => Cause::Killed,
            KillFor::Down => Cause::Down,
            KillFor::Up => Cause::Up,
        };
        for key in self.local.relays.keys() {
            if tcp::server_of(&self.local, key) == Some(server) {
                self.guard(Owner::Relay(key), |local, io| {
                    tcp::kill(local, io, key, cause);
                });
            }
        }
        for key in self.local.sessions.keys() {
            if http::server_of(&self.local, key) == Some(server) {
                self.guard(Owner::Http(key), |local, io| {
                    http::kill(local, io, key, cause);
                });
            }
        }
    }

    /// Admits waiting streams whose turn has come, over all shards.
    fn serve_waiting(&mut self) {
        if self.local.waits.is_empty() {
            return;
        }
        let mut admitted = std::mem::take(&mut self.admitted);
        let local = &mut self.local;
        let (relays, sessions) = (&mut local.relays, &local.sessions);
        let shared = &local.shared;
        local
            .waits
            .serve(shared, &mut local.views, local.now, |who, server| {
                match who {
                    Owner::Relay(key) => {
                        if let Some(relay) = relays.get_mut(key) {
                            tcp::note_position(relay, shared);
                        }
                    }
                    Owner::Http(key) => {
                        if let Some(place) = sessions.get(key) {
                            http::note_position(place, shared);
                        }
                    }
                    _ => unreachable!("only sessions wait"),
                }
                admitted.push((who, server));
            });
        for (who, server) in admitted.drain(..) {
            self.guard(who, |local, io| match who {
                Owner::Http(key) => http::on_admitted(local, io, key, server),
                Owner::Relay(key) => tcp::on_admitted(local, io, key, server),
                _ => unreachable!("only sessions wait"),
            });
        }
        self.admitted = admitted;
        self.drive();
    }

    fn fire_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.local.timers.advance(self.local.now, &mut due);
        for timer in due.drain(..) {
            self.local.cells().activity.timers_fired.inc();
            match timer {
                Timer::Relay(key) => {
                    self.guard(Owner::Relay(key), |local, io| {
                        tcp::on_timer(local, io, key);
                    });
                }
                Timer::Http(key) => {
                    self.guard(Owner::Http(key), |local, io| {
                        http::on_timer(local, io, key);
                    });
                }
                Timer::Listener(index) => {
                    listener::on_timer(&mut self.local, &mut self.engine, index)
                }
                Timer::Probe(index) => check::on_timer(&mut self.local, &mut self.engine, index),
                Timer::Second => self.every_second(),
            }
        }
        self.due = due;
    }

    // ------------------------------------------------------------ once a second

    fn every_second(&mut self) {
        let now = self.local.now;
        self.publish_cpu();
        let cpu_us = self.engine.kernel.cpu_us();
        let wall_ms = (now - self.second.at).max(1);
        let busy_us = cpu_us.saturating_sub(self.second.cpu_us);
        let cells = self.local.cells();
        cells
            .load_permille
            .store((busy_us / wall_ms).min(1000) as u32, Relaxed);
        cells.activity.busy_us.add(busy_us);
        cells
            .activity
            .idle_us
            .add((wall_ms * 1000).saturating_sub(busy_us));
        self.second = Second { cpu_us, at: now };
        if self.local.shard == 0
            && let Some(change) = change::finish_ramps(&self.local.shared, now)
        {
            check::tell(&mut self.local, &change);
        }
        http::purge(&mut self.local, &mut self.engine);
        // A hint about room, or about a frontend, may have met a full mailbox.
        self.retry_listeners();
        self.each_listener(listener::follow_door);
        self.local.follow_patterns();
        self.local.timers.arm(now + 1000, Timer::Second);
    }

    /// Where the thread runs.
    pub(super) fn publish_cpu(&mut self) {
        let cpu = self.engine.kernel.cpu();
        self.local.cells().cpu.store(cpu, Relaxed);
    }

    /// What the engine counted, for everybody to read.
    pub(super) fn publish(&self) {
        let activity = &self.local.cells().activity;
        let counts = &self.engine.counts;
        activity.turns.set(counts.waits);
        activity.completions.set(counts.events);
        activity.operations.set(counts.ops);
        activity.enters.set(self.engine.kernel.enters());
        activity.bytes_copied.set(counts.copied);
        activity.bytes_spliced.set(counts.spliced);
        let (buffers, pipe_bytes) = self.engine.held();
        activity.buffer_bytes.set(buffers as u64);
        activity.pipe_bytes.set(pipe_bytes as u64);
        let (lent, idle, refused) = self.engine.pipes();
        activity.pipes_used.set(lent as u64);
        activity.pipes_free.set(idle as u64);
        activity.pipe_refused.set(refused);
        activity
            .slots_used
            .set((self.local.relays.len() + self.local.sessions.len()) as u64);
    }

    // ------------------------------------------------------------ phases

    /// Follows the phase of the process. `false`: over.
    fn follow_phase(&mut self) -> bool {
        let phase = self.local.shared.phase();
        if phase != self.phase {
            match (self.phase, phase) {
                (_, Phase::Paused) => self.each_listener(listener::pause),
                (Phase::Paused, Phase::Running) => self.each_listener(listener::resume),
                (_, Phase::SoftStop) => {
                    self.local.stopping_since = Some(self.local.now);
                    self.each_listener(listener::stop);
                    self.doors = Doors::Closing;
                    for key in self.local.sessions.keys() {
                        self.guard(Owner::Http(key), |local, io| {
                            http::stop_if_idle(local, io, key);
                        });
                    }
                }
                _ => {}
            }
            self.phase = phase;
            self.drive();
        }
        match self.phase {
            Phase::Running | Phase::Paused => true,
            Phase::SoftStop => !self.stopped(),
            Phase::Stop => false,
        }
    }

    fn each_listener(&mut self, act: fn(&mut Local, &mut dyn Io, u32)) {
        for index in 0..self.local.listeners.len() {
            act(&mut self.local, &mut self.engine, index as u32);
        }
    }

    /// Stop: gives the ports back before the thread is over. The ring would hold them some 20 ms longer than the
    /// process lives (measured), so polls are removed and the removal submitted first.
    pub(super) fn close_doors(&mut self) {
        if self.doors == Doors::Closed {
            return;
        }
        let open = self.local.listeners.iter().filter(|l| !l.has_left());
        for listener in open {
            let sock = listener.sock;
            self.engine.push(Op::Close { sock, reset: false });
        }
        self.doors = Doors::Closed;
        self.drive();
        self.engine.begin_turn(Wait::No);
    }

    /// Soft stop: leaves the listeners in their time; over when no connection is left or can come, on any shard.
    fn stopped(&mut self) -> bool {
        if self.doors == Doors::Closing {
            self.each_listener(listener::leave_in_time);
            self.drive();
            if self
                .local
                .listeners
                .iter()
                .all(listener::Listener::has_left)
            {
                self.doors = Doors::Closed;
                self.local.shared.process.listening.fetch_sub(1, AcqRel);
            }
        }
        let process = &self.local.shared.process;
        let over = self.doors == Doors::Closed
            && process.listening.load(Acquire) == 0
            && process.connections.load(SeqCst) == 0
            && self.local.cells().mailbox.is_empty();
        if over {
            self.local.shared.hint_all(|| Message::Phase);
        }
        over
    }
}
