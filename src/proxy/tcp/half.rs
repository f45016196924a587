//! Relaying: what each completion of a direction leads to, and how directions end.
//!
//! A direction is reading or writing, never both. Copying, splicing and the change from one to the
//! other are decided here; so are half-closes and broken connections.

use super::*;

/// Waits for more to read.
pub(super) fn start_reading(half: &mut Half, io: &mut dyn Io, sock: SockKey) {
    half.flow = Flow::Reading;
    if half.holds {
        return;
    }
    match half.pace.pipe() {
        Some(max) => io.push(Op::Fill {
            sock,
            pipe: None,
            max,
        }),
        None => io.push(Op::Recv { sock }),
    }
}

pub(super) fn on_received(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir, buf: Buf) {
    let now = local.now;
    let full = buf.len() == buf.capacity();
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    relay.read_at(dir, now);
    if relay.stage == Stage::Header {
        on_header_bytes(local, io, key, buf);
        return;
    }
    let half = relay.half(dir);
    half.holds = false;
    half.bytes += buf.len() as u64;
    half.pace.received(full);
    let flush = half.bytes - half.counted >= FLUSH_BYTES;
    if relay.stage == Stage::Inspect && dir == Dir::Up {
        inspect::on_bytes(local, io, key, buf);
        return;
    }
    if relay.holds_back(dir) || relay.half(dir).flow == Flow::Writing {
        // Not connected yet, or still sending what came before: held, and nothing more is read until then.
        let early = match relay.up.early.take() {
            Some(before) => {
                let both = [before.bytes(), buf.bytes()].concat();
                io.give_buf(before);
                io.give_buf(buf);
                Buf::of(&both)
            }
            None => buf,
        };
        relay.up.early = Some(early);
        if relay.up.flow != Flow::Writing {
            relay.up.flow = Flow::Idle;
        }
        return;
    }
    if dir == Dir::Down && inspect::holds_down(local, key) {
        if inspect::on_answer(local, io, key, Some(buf)) {
            pass_answer(local, io, key);
        }
        return;
    }
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    let sink = relay.sink(dir).expect("connected");
    relay.half(dir).flow = Flow::Writing;
    relay.write_begins(dir, now);
    io.push(Op::Send { sock: sink, buf });
    if flush {
        flush_bytes(local, key);
    }
}

/// The server's first bytes passed their rules.
pub(super) fn pass_answer(local: &mut Local, io: &mut dyn Io, key: Key) {
    let now = local.now;
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let held = relay.held.get_or_insert_default();
    let bytes = std::mem::take(&mut held.bytes);
    if bytes.is_empty() {
        if let (false, Some(sock)) = (relay.down.eof, relay.server_sock) {
            start_reading(&mut relay.down, io, sock);
        }
        return;
    }
    relay.down.flow = Flow::Writing;
    relay.write_begins(Dir::Down, now);
    io.push(Op::Send {
        sock: relay.client,
        buf: Buf::of(&bytes),
    });
}

pub(super) fn on_sent(
    local: &mut Local,
    io: &mut dyn Io,
    key: Key,
    dir: Dir,
    bytes: u32,
    left: u32,
) {
    let now = local.now;
    let independent = independent(local, key, dir);
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    if bytes > 0 {
        relay.wrote_at(dir, now, independent);
    }
    if left > 0 {
        // It blocks: from here on the receiver's clock runs.
        relay.half(dir).pace.block();
        rearm(local, key);
        return;
    }
    if relay.sending_header && dir == Dir::Up {
        relay.sending_header = false;
        let sock = relay.server_sock.expect("the header was sent to it");
        let reading = relay.up.flow == Flow::Reading;
        pass_early(relay, io, sock);
        if !reading && relay.up.flow == Flow::Idle {
            start_reading(&mut relay.up, io, relay.client);
        }
        maybe_over(local, io, key);
        return;
    }
    let (source, sink) = (relay.source(dir), relay.sink(dir));
    let half = relay.half(dir);
    if let (Some(buf), Some(sock)) = (half.early.take(), sink) {
        io.push(Op::Send { sock, buf });
        return;
    }
    if half.eof {
        half.flow = Flow::Done;
        if let Some(sink) = sink {
            io.push(Op::ShutdownWrite { sock: sink });
        }
        maybe_over(local, io, key);
        return;
    }
    half.pace.sent();
    let was_blocked = half.pace.unblock();
    start_reading(
        half,
        io,
        source.expect("both sides are there while relaying"),
    );
    if was_blocked {
        read_again(local, key, dir);
    }
}

/// A receiver that held its sender up took everything: the sender's clock runs again, from now on.
pub(super) fn read_again(local: &mut Local, key: Key, dir: Dir) {
    let now = local.now;
    let relay = local.relays.get_mut(key).expect("looked up by the caller");
    relay.read_at(dir, now);
    rearm(local, key);
}

pub(super) fn independent(local: &Local, key: Key, dir: Dir) -> bool {
    let relay = local.relays.get(key).expect("looked up by on_done");
    match dir {
        Dir::Up => relay
            .backend
            .is_some_and(|b| local.config.backend(b).independent_streams),
        Dir::Down => local.config.frontend(relay.frontend).independent_streams,
    }
}

pub(super) fn on_filled(
    local: &mut Local,
    io: &mut dyn Io,
    key: Key,
    dir: Dir,
    pipe: Pipe,
    bytes: u32,
    eof: bool,
) {
    let now = local.now;
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    relay.read_at(dir, now);
    let sink = relay.sink(dir).expect("splicing starts after connecting");
    let half = relay.half(dir);
    half.bytes += u64::from(bytes);
    half.eof |= eof;
    half.pace.filled(bytes);
    let flush = half.bytes - half.counted >= FLUSH_BYTES;
    if pipe.held > 0 {
        half.flow = Flow::Writing;
        relay.write_begins(dir, now);
        io.push(Op::Drain { sock: sink, pipe });
    } else {
        io.give_pipe(pipe);
        on_eof(local, io, key, dir);
        return;
    }
    if flush {
        flush_bytes(local, key);
    }
}

pub(super) fn on_no_pipe(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    let source = relay.source(dir).expect("it was read from");
    let half = relay.half(dir);
    // Not at once again: the next full reads earn the next try.
    half.pace.copy();
    start_reading(half, io, source);
}

pub(super) fn on_drained(
    local: &mut Local,
    io: &mut dyn Io,
    key: Key,
    dir: Dir,
    pipe: Option<Pipe>,
    bytes: u32,
    blocked: bool,
) {
    let now = local.now;
    let independent = independent(local, key, dir);
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    if bytes > 0 {
        relay.wrote_at(dir, now, independent);
    }
    let (source, sink) = (relay.source(dir), relay.sink(dir));
    let half = relay.half(dir);
    if blocked {
        half.pace.block();
    }
    let Some(pipe) = pipe else {
        rearm(local, key);
        return;
    };
    half.pace.drained(pipe.size);
    let was_blocked = half.pace.unblock();
    if half.eof {
        io.give_pipe(pipe);
        half.flow = Flow::Done;
        if let Some(sink) = sink {
            io.push(Op::ShutdownWrite { sock: sink });
        }
        maybe_over(local, io, key);
        return;
    }
    let source = source.expect("it was read from");
    if let Some(max) = half.pace.pipe() {
        half.flow = Flow::Reading;
        io.push(Op::Fill {
            sock: source,
            pipe: Some(pipe),
            max,
        });
    } else {
        io.give_pipe(pipe);
        start_reading(half, io, source);
    }
    if was_blocked {
        read_again(local, key, dir);
    }
}

pub(super) fn on_eof(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    let stage = relay.stage;
    relay.half(dir).eof = true;
    relay.half(dir).holds = false;
    if stage == Stage::Inspect && dir == Dir::Up {
        relay.up.flow = Flow::Idle;
        inspect::on_complete(local, io, key);
        return;
    }
    if relay.half(dir).flow == Flow::Writing {
        // Passed on once what is being sent is delivered.
        return;
    }
    if dir == Dir::Down && inspect::holds_down(local, key) {
        if !inspect::on_answer(local, io, key, None) {
            return;
        }
        pass_answer(local, io, key);
        let relay = local.relays.get(key).expect("driven while alive");
        if relay.down.flow == Flow::Writing {
            return;
        }
    }
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    if !relay.holds_back(dir) {
        relay.half(dir).flow = Flow::Done;
        if let Some(sink) = relay.sink(dir) {
            io.push(Op::ShutdownWrite { sock: sink });
        }
        maybe_over(local, io, key);
        return;
    }
    relay.half(dir).flow = Flow::Idle;
    match stage {
        Stage::Header => {
            let text = if relay.header.is_empty() {
                "Connection closed while waiting for PROXY protocol header"
            } else {
                ProxyError::Truncated.log_text()
            };
            header_failed(local, io, key, text);
        }
        Stage::Queue | Stage::Connect | Stage::Pause => {
            let backend = relay.backend.map(|b| local.config.backend(b));
            if backend.is_some_and(|b| b.abortonclose) {
                let reached = if stage == Stage::Queue {
                    StageReached::Queue
                } else {
                    StageReached::Connect
                };
                finish(local, io, key, Cause::Client, reached);
            }
        }
        Stage::Inspect | Stage::Relay => {}
    }
}

pub(super) fn on_recv_failed(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    if relay.stage == Stage::Header {
        header_failed(
            local,
            io,
            key,
            "Connection error while waiting for PROXY protocol header",
        );
        return;
    }
    relay.broke = dir == Dir::Up;
    let side = if dir == Dir::Up {
        Cause::Client
    } else {
        Cause::Server
    };
    let cause = relay.cause.unwrap_or(side);
    // Seen on haproxy: a reset counts as one in the data stage, wherever the session stands.
    finish(local, io, key, cause, StageReached::Data);
}

/// The receiver of `dir` takes no more.
pub(super) fn on_send_failed(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    if dir == Dir::Down {
        relay.broke = true;
        finish(local, io, key, Cause::Client, StageReached::Data);
        return;
    }
    // The server hung up on us; what it said before may still wait to be read.
    relay.sending_header = false;
    relay.cause = Some(Cause::Server);
    relay.up.flow = Flow::Done;
    maybe_over(local, io, key);
}

/// Ends the session once both directions are through.
pub(super) fn maybe_over(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get(key).expect("looked up by the caller");
    if relay.up.flow == Flow::Done && relay.down.flow == Flow::Done {
        let (cause, reached) = match relay.cause {
            Some(cause) => (cause, StageReached::Data),
            None => (Cause::Normal, StageReached::End),
        };
        finish(local, io, key, cause, reached);
    } else {
        rearm(local, key);
    }
}
