//! The PROXY header of `accept-proxy`, before the session begins.

use super::*;
use crate::proxy::early::{self, Failed};

pub(super) fn on_header_bytes(local: &mut Local, io: &mut dyn Io, key: Key, mut buf: Buf) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    let before = relay.header.len();
    relay.header.extend_from_slice(buf.bytes());
    match proxy_header::parse(&relay.header) {
        Ok(proxy_header::Parse::Partial) if relay.header.len() < HEADER_MAX => {
            io.give_buf(buf);
            io.push(Op::Recv { sock: relay.client });
        }
        Ok(proxy_header::Parse::Done(header, used)) => {
            if let Some(ends) = header.addresses {
                (relay.peer, relay.local) = (Some(ends.source), Some(ends.destination));
            }
            relay.header = Vec::new();
            buf.consume(used - before);
            relay.stage = Stage::Connect;
            relay.up.bytes += buf.len() as u64;
            if buf.is_empty() {
                io.give_buf(buf);
                io.push(Op::Recv { sock: relay.client });
            } else {
                relay.up.early = Some(buf);
                relay.up.flow = Flow::Idle;
            }
            inspect::begin(local, io, key);
        }
        Ok(proxy_header::Parse::Partial) => {
            io.give_buf(buf);
            header_failed(local, io, key, ProxyError::Truncated.log_text());
        }
        Err(error) => {
            io.give_buf(buf);
            header_failed(local, io, key, error.log_text());
        }
    }
}

/// The session never began: one line says why, in the place of the session's own.
pub(super) fn header_failed(local: &mut Local, io: &mut dyn Io, key: Key, text: &str) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.logged = true;
    // haproxy says it in place of the session's line, so only where there is one.
    let failed = Failed {
        bind: relay.bind,
        src: relay.peer,
        dst: relay.local.or_else(|| io.local_address(relay.client)),
        accepted: relay.accepted.tick(),
        nothing: relay.header.is_empty(),
        text,
    };
    early::log(local, &failed);
    finish(local, io, key, Cause::Proxy, StageReached::Request);
}
