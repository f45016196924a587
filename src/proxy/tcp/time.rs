//! Deadlines: one armed timer a session, moved lazily. A later deadline costs nothing until the armed
//! tick passes.

use super::*;

/// When the session's next deadline is, and which one.
pub(super) fn deadline(local: &Local, key: Key) -> (Tick, Cause, StageReached) {
    let relay = local.relays.get(key).expect("looked up by the caller");
    let frontend = local.config.frontend(relay.frontend);
    let backend = relay.backend.map(|b| local.config.backend(b));
    let client_ms = frontend.timeout_client_ms;
    match relay.stage {
        Stage::Header => (
            relay.accepted.tick().after(client_ms),
            Cause::ClientTimeout,
            StageReached::Request,
        ),
        Stage::Inspect => {
            let held = relay.held.as_ref();
            let until = held.and_then(|h| h.until).unwrap_or(Tick::NEVER);
            let silence = relay.client_rx.after(client_ms);
            if until <= silence {
                (until, Cause::Normal, StageReached::Request)
            } else {
                (silence, Cause::ClientTimeout, StageReached::Request)
            }
        }
        Stage::Queue => {
            let ms = backend.and_then(|b| b.timeout_queue_ms);
            (
                relay.stage_since.after(ms),
                Cause::ServerTimeout,
                StageReached::Queue,
            )
        }
        Stage::Connect => {
            let ms = backend.and_then(|b| b.timeout_connect_ms);
            let ms = if relay.trial {
                Some(ms.unwrap_or(u32::MAX).min(trial::CONNECT_MS))
            } else {
                ms
            };
            (
                relay.stage_since.after(ms),
                Cause::ServerTimeout,
                StageReached::Connect,
            )
        }
        Stage::Pause => {
            let connect = backend
                .and_then(|b| b.timeout_connect_ms)
                .unwrap_or(RETRY_PAUSE_MS);
            let ms = connect.min(RETRY_PAUSE_MS);
            (
                relay.stage_since + u64::from(ms),
                Cause::Server,
                StageReached::Connect,
            )
        }
        Stage::Relay => {
            let tunnel = backend.and_then(|b| b.timeout_tunnel_ms);
            let plain = tunnel.or(client_ms);
            // After we sent FIN to a side its own fin timeout counts.
            let client = if relay.down.flow == Flow::Done {
                frontend.timeout_client_fin_ms.or(plain)
            } else {
                plain
            };
            let plain = tunnel.or_else(|| backend.and_then(|b| b.timeout_server_ms));
            let server = if relay.up.flow == Flow::Done {
                backend.and_then(|b| b.timeout_server_fin_ms).or(plain)
            } else {
                plain
            };
            let mut best = (Tick::NEVER, Cause::ClientTimeout, StageReached::Data);
            let mut consider = |active: bool, since: Tick, ms: Option<u32>, cause: Cause| {
                let at = since.after(ms);
                if active && at < best.0 {
                    best = (at, cause, StageReached::Data);
                }
            };
            consider(
                relay.up.flow == Flow::Reading,
                relay.client_rx,
                client,
                Cause::ClientTimeout,
            );
            consider(
                relay.down.flow == Flow::Writing,
                relay.client_tx,
                client,
                Cause::ClientTimeout,
            );
            consider(
                relay.down.flow == Flow::Reading,
                relay.server_rx,
                server,
                Cause::ServerTimeout,
            );
            consider(
                relay.up.flow == Flow::Writing,
                relay.server_tx,
                server,
                Cause::ServerTimeout,
            );
            let waits = relay.held.as_ref().and_then(|h| h.until);
            if let (Some(until), Some(_), false) =
                (waits, relay.answer_since, relay.response_passed)
                && until < best.0
            {
                best = (until, Cause::Normal, StageReached::Data);
            }
            if relay.down.eof && best.1 == Cause::ClientTimeout && relay.down.flow == Flow::Writing
            {
                best.2 = StageReached::Last;
            }
            best
        }
    }
}

/// Moves the timer forward if the deadline came nearer. A later deadline costs nothing until the
/// armed tick passes.
pub(super) fn rearm(local: &mut Local, key: Key) {
    let (at, ..) = deadline(local, key);
    let relay = local.relays.get_mut(key).expect("looked up by the caller");
    match relay.timer {
        Some((_, armed)) if armed <= at => {}
        Some((id, _)) => {
            local.timers.cancel(id);
            relay.timer = Some((local.timers.arm(at, Timer::Relay(key)), at));
        }
        None if at == Tick::NEVER => {}
        None => relay.timer = Some((local.timers.arm(at, Timer::Relay(key)), at)),
    }
}

/// The armed tick passed.
pub fn on_timer(local: &mut Local, io: &mut dyn Io, key: Key) {
    let Some(relay) = local.relays.get_mut(key) else {
        return;
    };
    relay.timer = None;
    let (at, cause, reached) = deadline(local, key);
    if at > local.now {
        rearm(local, key);
        return;
    }
    let relay = local.relays.get(key).expect("looked up above");
    match relay.stage {
        Stage::Inspect if cause == Cause::Normal => inspect::on_complete(local, io, key),
        Stage::Relay if cause == Cause::Normal => answer_waited(local, io, key),
        Stage::Inspect => finish(local, io, key, cause, reached),
        Stage::Pause => retry(local, io, key),
        Stage::Connect => connect_failed(local, io, key, Cause::ServerTimeout, true),
        Stage::Header => header_failed(
            local,
            io,
            key,
            "Timeout while waiting for PROXY protocol header",
        ),
        Stage::Queue | Stage::Relay => finish(local, io, key, cause, reached),
    }
}

/// `tcp-response inspect-delay` is over: what came decides.
fn answer_waited(local: &mut Local, io: &mut dyn Io, key: Key) {
    if inspect::on_answer(local, io, key, None) {
        pass_answer(local, io, key);
    }
}
