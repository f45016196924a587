//! Deadlines: one armed timer a session, moved lazily. A later deadline costs nothing until the armed
//! tick passes.

use super::route::RETRY_PAUSE_MS;
use super::*;
use crate::backend::observe::Event;
use crate::backend::retry::Failure;
use crate::config::CloseSpread;
use crate::proxy::local::Timer;
use crate::shared::Phase;

/// Longest wait for a connection of another shard; a busy one answers within a turn.
const BORROW_MS: u64 = 3;
/// Longest time for a client to take our last words after which nothing is read from it any more.
const LINGER_MS: u64 = 1000;

/// A soft stop closes a connection that has waited so long for its next request. One that did not may be about to
/// send it: it is answered once more, and told that this was the last.
const BUSY_MS: u64 = 500;

/// Longest time in which a password is verified, all others before it included.
const PASSWORD_MS: u64 = 60_000;

impl Session {
    /// When the next deadline is, and whose it is in an exchange.
    fn deadline(&self, t: Option<&Txn>, local: &Local) -> (Tick, Cause) {
        let config = &local.config;
        let frontend = config.frontend(self.frontend);
        let http = self.front(local);
        let client_ms = frontend.timeout_client_ms;
        let none = Overrides::default();
        let over = t.map_or(&none, |t| &t.overrides);
        let backend = self.backend.map(|b| config.backend(b));
        let client_waits = |ms: Option<u32>| (self.since.after(ms), Cause::ClientTimeout);
        match self.stage {
            Stage::Header => (self.accepted.after(client_ms), Cause::ClientTimeout),
            Stage::Idle if self.requests == 0 => {
                let ms = http.timeout_http_request_ms.or(client_ms);
                (self.accepted.after(ms), Cause::ClientTimeout)
            }
            Stage::Idle => {
                let ms = http.timeout_keep_alive_ms.or(http.timeout_http_request_ms);
                let (at, cause) = client_waits(ms.or(client_ms));
                (at.min(self.stop_at(local)), cause)
            }
            Stage::Request => {
                let ms = http.timeout_http_request_ms.or(client_ms);
                let from = if self.requests == 0 {
                    self.accepted
                } else {
                    self.since
                };
                (from.after(ms), Cause::ClientTimeout)
            }
            Stage::Rules => (Tick::NEVER, Cause::Internal),
            Stage::Password => (self.since + PASSWORD_MS, Cause::Internal),
            Stage::Body => {
                let at = t.map_or(Tick::NEVER, |t| t.wait_until);
                let silent = self.client_rx.after(over.client.or(client_ms));
                (at.min(silent), Cause::ClientTimeout)
            }
            Stage::Tarpit | Stage::Pause => {
                let at = t.map_or(Tick::NEVER, |t| t.wait_until);
                (at, Cause::Proxy)
            }
            Stage::Queue => {
                let ms = over
                    .queue
                    .or_else(|| backend.and_then(|b| b.timeout_queue_ms));
                (self.since.after(ms), Cause::ServerTimeout)
            }
            Stage::Connect => {
                let ms = over
                    .connect
                    .or_else(|| backend.and_then(|b| b.timeout_connect_ms));
                let ms = if self.trial {
                    Some(ms.unwrap_or(u32::MAX).min(trial::CONNECT_MS))
                } else {
                    ms
                };
                (self.since.after(ms), Cause::ServerTimeout)
            }
            Stage::Borrow => (self.since + BORROW_MS, Cause::Normal),
            Stage::Retry => {
                let connect = over
                    .connect
                    .or_else(|| backend.and_then(|b| b.timeout_connect_ms));
                let ms = connect.unwrap_or(RETRY_PAUSE_MS).min(RETRY_PAUSE_MS);
                (self.since + u64::from(ms), Cause::Server)
            }
            Stage::Linger => (self.since + LINGER_MS, Cause::Normal),
            Stage::Answer => (
                self.client_tx.after(over.client.or(client_ms)),
                Cause::ClientTimeout,
            ),
            Stage::Exchange => self.exchange_deadline(t, local),
        }
    }

    fn exchange_deadline(&self, t: Option<&Txn>, local: &Local) -> (Tick, Cause) {
        let Some(t) = t else {
            return (Tick::NEVER, Cause::Internal);
        };
        let frontend = local.config.frontend(self.frontend);
        let backend = self.backend.map(|b| local.config.backend(b));
        let tunnel = t.down.is_tunnel();
        let tunnel_ms = t
            .overrides
            .tunnel
            .or_else(|| backend.and_then(|b| b.timeout_tunnel_ms))
            .filter(|_| tunnel);
        let plain = tunnel_ms
            .or(t.overrides.client)
            .or(frontend.timeout_client_ms);
        let client = if tunnel && t.down.state == Move::Done {
            frontend.timeout_client_fin_ms.or(plain)
        } else {
            plain
        };
        let server_ms = t
            .overrides
            .server
            .or_else(|| backend.and_then(|b| b.timeout_server_ms));
        let plain = tunnel_ms.or(server_ms);
        let server = if tunnel && t.up.state == Move::Done {
            backend.and_then(|b| b.timeout_server_fin_ms).or(plain)
        } else {
            plain
        };
        let mut best = (Tick::NEVER, Cause::ClientTimeout);
        let mut consider = |active: bool, since: Tick, ms: Option<u32>, cause: Cause| {
            let at = since.after(ms);
            if active && at < best.0 {
                best = (at, cause);
            }
        };
        let up_reads = t.up.state == Move::Reading;
        consider(up_reads, self.client_rx, client, Cause::ClientTimeout);
        let down_writes = t.down.state == Move::Writing;
        consider(down_writes, self.client_tx, client, Cause::ClientTimeout);
        // While the request is not whole the server owes nothing yet.
        let held = t.held.as_ref().and_then(|held| held.deadline());
        let paused = held.is_some_and(|(_, bytes)| !bytes);
        let waits = !t.head_sent && t.up.state == Move::Done && !paused;
        let reads = waits || t.down.state == Move::Reading;
        consider(reads, self.server_rx, server, Cause::ServerTimeout);
        let up_writes = t.up.state == Move::Writing;
        consider(up_writes, self.server_tx, server, Cause::ServerTimeout);
        match held {
            Some((until, _)) if until < best.0 => (until, Cause::ServerTimeout),
            _ => best,
        }
    }

    /// Moves the timer forward if the deadline came nearer. A later deadline costs nothing until the
    /// armed tick passes.
    pub(super) fn rearm(&mut self, local: &mut Local) {
        let (at, _) = self.deadline(self.txn.as_deref(), local);
        match self.timer {
            Some((_, armed)) if armed <= at => {}
            Some((id, _)) => {
                local.timers.cancel(id);
                self.timer = Some((local.timers.arm(at, Timer::Http(self.key)), at));
            }
            None if at == Tick::NEVER => {}
            None => self.timer = Some((local.timers.arm(at, Timer::Http(self.key)), at)),
        }
    }

    /// When a soft stop ends the connection if it waits for its next request until then.
    fn stop_at(&self, local: &Local) -> Tick {
        match self.leaves_at(local) {
            // Whoever asks all the time has sent the next request before it could see a close.
            Tick::NEVER => Tick::NEVER,
            at => at.max(self.since + BUSY_MS),
        }
    }

    /// When a soft stop wants the connection to end; [`Tick::NEVER`]: it does not, or has not begun here.
    fn leaves_at(&self, local: &Local) -> Tick {
        let Some(began) = local.stopping_since else {
            return Tick::NEVER;
        };
        match local.config.global.close_spread {
            CloseSpread::AtOnce => began,
            CloseSpread::Over(ms) => {
                // Multiples of the golden ratio lie evenly, however many there are.
                let part = u64::from(self.key.index.wrapping_mul(0x9e37_79b1));
                began + ((part * u64::from(ms)) >> 32)
            }
            CloseSpread::Never => Tick::NEVER,
        }
    }

    /// Whether a soft stop ends the connection after the answer under way.
    pub(super) fn must_leave(&self, local: &Local) -> bool {
        local.shared.phase() == Phase::SoftStop
            && (local.config.global.close_spread == CloseSpread::AtOnce
                || self.leaves_at(local) <= local.now)
    }

    pub(super) fn on_deadline(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let (at, cause) = self.deadline(Some(t), local);
        if at > local.now {
            return;
        }
        match self.stage {
            Stage::Header | Stage::Linger => self.over = true,
            // A request that came in time is answered.
            Stage::Idle if self.requests > 0 => self.over = io.is_quiet(self.client, true),
            Stage::Idle | Stage::Request => {
                if self.stage == Stage::Idle && self.front(local).ignore_probes {
                    self.over = true;
                    return;
                }
                if t.began == Moment(0) {
                    t.began = local.moment;
                }
                self.refuse_request(t, local, io, 408, Cause::ClientTimeout);
            }
            Stage::Body => {
                // As in haproxy: whoever keeps a rule waiting for its body too long is not answered otherwise.
                (t.head_at, t.keep) = (None, false);
                self.count_request_error(local);
                t.cause = Some((Cause::ClientTimeout, StageReached::Request));
                self.answer_page(t, local, io, 408);
            }
            // The rule asks once more for a password whose answer stays away.
            Stage::Pause | Stage::Password => self.resume(t, local, io),
            Stage::Tarpit => {
                let answer = t.held_reply.take().expect("a tarpit holds its answer");
                // As haproxy logs it: its time stands for that in a queue, and the head has none.
                (t.head_at, t.dequeued) = (None, Some(local.moment));
                self.answer(t, local, io, answer);
            }
            Stage::Queue => {
                if let Some(backend) = self.backend {
                    local.cells().backends[backend.index()].connect_errors.inc();
                }
                t.dequeued = Some(local.moment);
                t.cause = Some((Cause::ServerTimeout, StageReached::Queue));
                self.answer_page(t, local, io, 503);
            }
            Stage::Connect => self.connect_failed(t, local, io, Cause::ServerTimeout, true),
            Stage::Borrow => self.reconnect(t, local, io),
            Stage::Retry => self.retry(t, local, io),
            Stage::Answer => {
                self.end(t, local, Cause::ClientTimeout, StageReached::Data);
                self.over = true;
            }
            Stage::Exchange => self.exchange_timeout(t, local, io, cause),
            Stage::Rules => {}
        }
    }

    fn exchange_timeout(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, cause: Cause) {
        if self.held_too_long(t, local, io, cause) {
            return;
        }
        if t.head_sent {
            match cause {
                Cause::ClientTimeout => self.count_client_abort(t, local),
                // Both, as in haproxy.
                _ => {
                    self.count_server_abort(local);
                    self.count_response_error(local);
                }
            }
            self.drop_server(io, true);
            self.end(t, local, cause, StageReached::Data);
            self.over = true;
            return;
        }
        if cause == Cause::ServerTimeout {
            self.observed(local, Event::TimedOut);
            if self.try_again(t, local, io, Failure::Timeout) {
                return;
            }
            self.count_response_error(local);
            self.drop_server(io, true);
            t.cause = Some((cause, StageReached::Headers));
            self.answer_page(t, local, io, 504);
        } else {
            // The client does not send the rest of its body.
            self.count_client_abort(t, local);
            self.drop_server(io, true);
            t.keep = false;
            t.cause = Some((cause, StageReached::Data));
            self.answer_page(t, local, io, 408);
        }
    }
}

/// The armed tick passed.
pub fn on_timer(local: &mut Local, io: &mut dyn Io, key: Key) {
    let Some(place) = local.sessions.get(key).map(Rc::clone) else {
        return;
    };
    let mut s = place.borrow_mut();
    s.timer = None;
    s.run(local, io, |s, t, local, io| s.on_deadline(t, local, io));
}
