//! Request out, response in: heads rewritten, bodies passed on in both directions, each on its own.

use super::flow::{Framed, Wire};
use super::*;
use crate::backend::observe::Event;
use crate::backend::retry::{Failure, keeps_requests};
use crate::io::pipe::Pipe;
use crate::proto::h1::{self, Body, Parse, Peer};

/// Most bytes of a request kept for `retry-on`.
const REPLAY_MAX: usize = 16_384;
/// Most bytes of interim answers that wait for one on its way.
const INTERIM_MAX: usize = 4096;
/// Counters of a long body are brought up to date after this many bytes.
const FLUSH_BYTES: u64 = 1 << 20;

impl Session {
    // ------------------------------------------------------------ request

    /// The server is reached: the request's head goes out, with what of its body is at hand.
    pub(super) fn send_request(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        before: &[u8],
    ) {
        let sock = self.server_sock.expect("reached");
        if let Some(trace) = &local.trace {
            trace.push(crate::proxy::trace::Event::Sent);
        }
        self.enter(Stage::Exchange, local.now);
        let mut out = std::mem::take(&mut local.scratch);
        out.clear();
        out.extend_from_slice(before);
        self.write_request_head(t, local, &mut out);
        t.sent = Some(local.now);
        let (splice, _) = self.splice(local);
        t.up = Flow::new(t.framing.body, splice);
        t.up.drop_trailers = self.back(local).is_some_and(|b| b.drop_request_trailers);
        if t.framing.connect {
            t.up = Flow::new(Body::None, splice);
        }
        let first = self.first_body(t, local, io);
        if self.over || self.stage != Stage::Exchange {
            local.scratch = out;
            return;
        }
        if let Some(body) = &first {
            out.extend_from_slice(body.bytes());
        }
        if let Some(body) = first {
            io.give_buf(body);
        }
        self.keep_for_replay(t, local, &out[before.len()..]);
        let buf = to_buf(io, &out);
        local.scratch = out;
        t.up.state = Move::Writing;
        self.server_tx = local.now;
        self.link.uses += 1;
        io.push(Op::Send { sock, buf });
        self.read_server(io);
    }

    fn write_request_head(&self, t: &mut Txn, local: &Local, out: &mut Vec<u8>) {
        let back = self.back(local).expect("routed before");
        let front = self.front(local);
        if let (Some(name), Some(server)) = (&back.send_name_header, self.server) {
            let server = local.config.server(server).name.as_bytes();
            t.request.set(name, server);
        }
        if !t.framing.connect {
            h1::hold_framing(&mut t.request, t.framing.body);
        }
        let keep = server_keeps(front, back) || back.pretend_keep_alive;
        h1::set_connection(&mut t.request, Peer::Server, keep && !t.framing.insecure);
        h1::write_request(out, &t.request);
    }

    /// The part of the body that came already.
    fn first_body(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) -> Option<Buf> {
        if t.up.ended {
            return None;
        }
        // As it came, whether rules waited for it or not: what they saw of it was decoded apart.
        let held = self.carry.take()?;
        match t.up.pass(held) {
            Ok(buf) => {
                self.carry = t.up.excess.take();
                buf
            }
            Err(error) => {
                self.bad_body(t, local, io, error.kind.status());
                None
            }
        }
    }

    fn keep_for_replay(&self, t: &mut Txn, local: &Local, sent: &[u8]) {
        let back = self.back(local).expect("routed before");
        let wanted = keeps_requests(&back.retry_on) || self.link.reused;
        t.replay = (wanted && t.up.ended && sent.len() <= REPLAY_MAX).then(|| {
            let mut body = Vec::new();
            let head = memchr::memmem::find(sent, b"\r\n\r\n").map_or(0, |at| at + 4);
            body.extend_from_slice(&sent[head..]);
            body
        });
    }

    /// Whether the whole request can be sent once more.
    pub(super) fn replayable(&self, t: &Txn) -> bool {
        t.replay.is_some() && !t.overrides.no_replay
    }

    /// Puts the request back to where it was before it was sent.
    pub(super) fn rewind(&mut self, t: &mut Txn, io: &mut dyn Io) {
        let body = t.replay.take().unwrap_or_default();
        if !body.is_empty() {
            if let Some(carry) = self.carry.take() {
                let all = [&body, carry.bytes()].concat();
                io.give_buf(carry);
                self.carry = Some(Buf::of(&all));
            } else {
                self.carry = Some(Buf::of(&body));
            }
        }
        // Its body is unread again: should no server take it, no next request stands where the body does.
        let payload = t.up.payload;
        t.up = Flow::new(t.framing.body, Splice::Never);
        t.up.payload = payload;
        t.partial.clear();
        t.response.clear();
        t.held = None;
        t.connected = None;
        t.sent = None;
    }

    /// Bytes of the body from the client.
    pub(super) fn pass_up(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, buf: Buf) {
        let full = buf.len() == buf.capacity();
        t.up.pace.received(full);
        let Some(sock) = self.server_sock else {
            // The server is gone; its answer, or ours, is on the way to the client.
            io.give_buf(buf);
            t.up.state = Move::Done;
            return;
        };
        match t.up.pass(buf) {
            Ok(Some(buf)) => {
                if let Some(excess) = t.up.excess.take() {
                    self.carry = Some(excess);
                }
                t.up.state = Move::Writing;
                self.server_tx = local.now;
                io.push(Op::Send { sock, buf });
            }
            Ok(None) => self.next_up(t, local, io),
            Err(error) => self.bad_body(t, local, io, error.kind.status()),
        }
        self.flush_some(t, local);
    }

    /// What was written of the request is through: read on, or note its end.
    fn next_up(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        if t.up.ended {
            t.up.state = Move::Done;
            if t.up.is_tunnel() || self.eof {
                if t.up.is_tunnel()
                    && let Some(sock) = self.server_sock
                {
                    io.push(Op::ShutdownWrite { sock });
                }
            } else {
                // An abort is to be seen, and the next request may come.
                self.read_client(io);
            }
            self.maybe_complete(t, local, io);
            return;
        }
        if let Some(buf) = self.carry.take() {
            t.up.state = Move::Reading;
            self.pass_up(t, local, io, buf);
            return;
        }
        t.up.state = Move::Reading;
        if self.reading {
            return;
        }
        if self.eof {
            self.up_cut(t, local, io);
            return;
        }
        self.reading = true;
        match t.up.pipe() {
            Some(max) => io.push(Op::Fill {
                sock: self.client,
                pipe: None,
                max,
            }),
            None => io.push(Op::Recv { sock: self.client }),
        }
    }

    /// The client ended before its body did.
    fn up_cut(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        if t.up.is_tunnel() {
            self.up_ended(t, local, io);
        } else {
            self.client_aborted(t, local, io);
        }
    }

    /// A tunnel's client ended its side.
    pub(super) fn up_ended(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        t.up.ended = true;
        if t.up.state == Move::Reading {
            self.next_up(t, local, io);
        }
    }

    /// The body of the request is not what it said.
    fn bad_body(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, status: u16) {
        self.count_request_error(local);
        self.drop_server(io, true);
        if t.head_sent {
            self.end(t, local, Cause::Client, StageReached::Data);
            self.over = true;
            return;
        }
        t.keep = false;
        t.cause = Some((Cause::Client, StageReached::Data));
        self.answer_page(t, local, io, status);
    }

    /// The client gave up, in whole or by ending its side, before it had its answer.
    pub(super) fn client_aborted(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let reached = self.reached(t);
        self.count_client_abort(t, local);
        if t.head_sent {
            self.drop_server(io, true);
            self.end(t, local, Cause::Client, reached);
            self.over = true;
            return;
        }
        let queued = self.stage == Stage::Queue;
        if queued {
            t.dequeued = Some(local.moment);
        }
        if !t.up.ended {
            // The request itself is cut: nobody is there to be answered.
            self.drop_server(io, true);
            t.status = 0;
            let reached = if self.stage == Stage::Body {
                self.count_request_error(local);
                reached
            } else {
                StageReached::Last
            };
            self.end(t, local, Cause::Client, reached);
            self.over = true;
            return;
        }
        self.drop_server(io, true);
        t.keep = false;
        t.cause = Some((Cause::Client, reached));
        if queued {
            t.status = 503;
            self.end(t, local, Cause::Client, reached);
            self.over = true;
        } else {
            self.answer_page(t, local, io, 400);
        }
    }

    // ------------------------------------------------------------ response

    pub(super) fn on_server_bytes(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        buf: Buf,
    ) {
        if self.stage != Stage::Exchange {
            io.give_buf(buf);
            return;
        }
        if t.head_sent {
            self.pass_down(t, local, io, buf);
        } else if t.held.is_some() {
            self.on_held(t, local, io, buf);
        } else {
            self.take_response(t, local, io, buf);
        }
    }

    /// Bytes of a response's head.
    fn take_response(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, mut buf: Buf) {
        let back = self.back(local).expect("routed before");
        let limits = head::limits(local, back.unsafe_response);
        let parsed = if t.partial.is_empty() {
            h1::response_head(buf.bytes(), &limits, &mut t.response)
        } else {
            t.partial.extend_from_slice(buf.bytes());
            h1::response_head(&t.partial, &limits, &mut t.response)
        };
        let framed = parsed.and_then(|parse| {
            if let Parse::Done { .. } = parse {
                t.answer = h1::response_framing(&mut t.response, t.framing.answer(), &limits)?;
            }
            Ok(parse)
        });
        match framed {
            Ok(Parse::Partial) => {
                if t.partial.is_empty() {
                    t.partial.extend_from_slice(buf.bytes());
                }
                io.give_buf(buf);
                self.read_server(io);
            }
            Ok(Parse::Done { used }) => {
                if t.partial.is_empty() {
                    buf.consume(used);
                } else {
                    let before = t.partial.len() - buf.len();
                    buf.consume(used.saturating_sub(before));
                    t.partial.clear();
                }
                let to = t.client();
                h1::strip_connection(&mut t.response, to);
                t.heads_back += t.response.counted_len() as u64;
                if t.answer.interim {
                    self.pass_interim(t, local, io, buf);
                } else {
                    self.begin_response(t, local, io, buf);
                }
            }
            Err(error) => {
                let whole = if t.partial.is_empty() {
                    buf.bytes()
                } else {
                    &t.partial
                };
                let capture = self.captured(local, whole, &error, true);
                let proxy = local
                    .config
                    .backend(self.backend.expect("routed before"))
                    .proxy;
                local.shared.errors.note(proxy, capture);
                io.give_buf(buf);
                self.bad_response(t, local, io);
            }
        }
    }

    /// 1xx: goes to a client that may understand it; another head follows.
    fn pass_interim(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, buf: Buf) {
        // HTTP/1.0 knows none; and a client that takes none gets no more of them.
        let waiting = t.next.as_ref().map_or(0, |next| next.bytes().len());
        if !t.old && waiting <= INTERIM_MAX {
            let mut out = std::mem::take(&mut local.scratch);
            out.clear();
            h1::write_response(&mut out, &t.response);
            let interim = to_buf(io, &out);
            local.scratch = out;
            self.say(t, io, interim);
        }
        t.response.clear();
        if buf.is_empty() {
            io.give_buf(buf);
            self.read_server(io);
        } else {
            self.take_response(t, local, io, buf);
        }
    }

    /// A response that is none.
    pub(super) fn bad_response(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        self.observed(local, Event::Junk);
        if self.try_again(t, local, io, Failure::Junk) {
            return;
        }
        self.count_response_error(local);
        self.drop_server(io, true);
        t.response.clear();
        t.cause = Some((Cause::Proxy, StageReached::Headers));
        self.answer_page(t, local, io, 502);
    }

    /// In which form the body goes to the client.
    pub(super) fn frame_down(&self, t: &mut Txn) {
        let old = t.old;
        if t.answer.insecure {
            t.keep = false;
        }
        let bodiless = |status: u16| status < 200 || matches!(status, 204 | 304);
        if bodiless(t.response.status) && t.response.status != 101 {
            // A rule may have made it so: what follows is nothing the client reads.
            if t.answer.body != Body::None {
                t.response.delete(b"content-length");
                t.response.delete(b"transfer-encoding");
                t.keep = false;
            }
        } else if !t.framing.head {
            h1::hold_framing(&mut t.response, t.answer.body);
        }
        match t.answer.body {
            Body::Chunked if old => {
                t.response.delete(b"transfer-encoding");
                t.down.wire = Wire::Bare;
                t.keep = false;
            }
            // As haproxy: the end of the connection is the end of the body on both sides.
            Body::UntilClose => t.keep = false,
            _ => {}
        }
    }

    pub(super) fn write_response_head(&self, t: &mut Txn, local: &Local, out: &mut Vec<u8>) {
        t.keep = t.keep && self.client_keeps(t, local);
        let to = t.client();
        if t.answer.body == Body::Tunnel && t.status != 101 {
            h1::strip_connection(&mut t.response, to);
        } else {
            h1::set_connection(&mut t.response, to, t.keep);
        }
        h1::write_response(out, &t.response);
    }

    /// Whether the client's connection may serve more.
    pub(super) fn client_keeps(&self, t: &Txn, local: &Local) -> bool {
        use crate::config::http::Connection;
        let close = |h: &crate::config::http::Http| h.connection == Connection::Close;
        !close(self.front(local))
            && !self.back(local).is_some_and(close)
            && !self.must_leave(local)
            && !t.bad
    }

    /// Both directions become streams of bytes.
    pub(super) fn open_tunnel(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let (up, _) = self.splice(local);
        let busy = t.up.state == Move::Writing;
        let payload = t.up.payload;
        t.up = Flow::new(Body::Tunnel, up);
        t.up.payload = payload;
        t.up.ended = self.eof;
        if busy {
            t.up.state = Move::Writing;
            return;
        }
        t.up.state = Move::Reading;
        self.next_up(t, local, io);
    }

    /// Bytes of the response's body.
    fn pass_down(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, buf: Buf) {
        t.down.pace.received(buf.len() == buf.capacity());
        match t.down.pass(buf) {
            Ok(Some(buf)) => self.send_down(t, local, io, buf),
            Ok(None) => self.next_down(t, local, io),
            Err(_) => self.down_cut(t, local, io, Cause::Server),
        }
        self.flush_some(t, local);
    }

    fn send_down(&mut self, t: &mut Txn, local: &Local, io: &mut dyn Io, buf: Buf) {
        t.down.state = Move::Writing;
        self.client_tx = local.now;
        t.sending = true;
        io.push(Op::Send {
            sock: self.client,
            buf,
        });
    }

    /// What was written of the response is through: read on, or note its end.
    fn next_down(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        if t.down.ended {
            t.down.state = Move::Done;
            if t.down.is_tunnel() {
                io.push(Op::ShutdownWrite { sock: self.client });
            }
            self.maybe_complete(t, local, io);
            return;
        }
        t.down.state = Move::Reading;
        let Some(sock) = self.server_sock else {
            self.down_cut(t, local, io, Cause::Server);
            return;
        };
        if self.server_reading {
            return;
        }
        self.server_reading = true;
        match t.down.pipe() {
            Some(max) => io.push(Op::Fill {
                sock,
                pipe: None,
                max,
            }),
            None => io.push(Op::Recv { sock }),
        }
    }

    /// The server ended, or broke, its side.
    pub(super) fn on_server_eof(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        broke: bool,
    ) {
        if self.stage != Stage::Exchange {
            self.drop_server(io, false);
            return;
        }
        if t.held.is_some() {
            // What it cut short shows behind the rules.
            let sock = self.server_sock;
            self.on_held_eof(t, local, io, broke);
            if self.stage != Stage::Exchange || !t.head_sent {
                // Unless the request is on its way to another one.
                if self.server_sock == sock {
                    self.drop_server(io, false);
                }
                return;
            }
        }
        if !t.head_sent {
            self.no_response(t, local, io);
            return;
        }
        match (&t.down.framed, t.down.state) {
            (Framed::UntilClose | Framed::Tunnel, _) if !broke => {
                t.down.ended = true;
                if t.down.state != Move::Reading {
                    return;
                }
                self.next_down(t, local, io);
            }
            (_, Move::Reading) => self.down_cut(t, local, io, Cause::Server),
            // Everything of the response was read before; what is left of the request has no reader.
            _ => {
                self.drop_server(io, false);
                if t.up.state != Move::Done {
                    t.up.state = Move::Done;
                    t.keep = false;
                }
            }
        }
    }

    /// The connection ended without a response.
    fn no_response(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let nothing = t.partial.is_empty();
        // A kept connection may have been closed just before the request came: nobody's fault, and where the
        // request can be sent again without harm, nobody notices.
        let stale = nothing
            && self.link.reused
            && matches!(
                t.request.method(),
                b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"
            );
        if stale && self.replayable(t) {
            self.drop_server(io, false);
            self.rewind(t, io);
            self.reconnect(t, local, io);
            return;
        }
        self.observed(local, Event::Closed);
        // As haproxy: the beginning of a head is nothing.
        if self.try_again(t, local, io, Failure::Empty) {
            return;
        }
        self.count_response_error(local);
        let reused = self.link.reused && nothing && self.requests > 1;
        self.drop_server(io, true);
        t.cause = Some((Cause::Server, StageReached::Headers));
        if reused {
            // As haproxy: the client tries again on a new connection when its kept one just ends.
            t.status = 502;
            self.end(t, local, Cause::Server, StageReached::Headers);
            self.over = true;
            return;
        }
        self.answer_page(t, local, io, 502);
    }

    /// The response ends before its time; the client must not take it for whole.
    fn down_cut(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, cause: Cause) {
        let cells = local.cells();
        if let Some(backend) = self.backend {
            cells.backends[backend.index()].server_aborts.inc();
        }
        if let Some(server) = self.server {
            cells.servers[server.index()].server_aborts.inc();
        }
        self.drop_server(io, true);
        self.end(t, local, cause, StageReached::Data);
        self.over = true;
    }

    /// The server takes no more of the request; its answer may be on the way.
    pub(super) fn on_server_refuses(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        if self.stage != Stage::Exchange {
            return;
        }
        t.up.state = Move::Done;
        t.up.ended = true;
        t.keep = false;
        if t.down.state == Move::Done {
            self.maybe_complete(t, local, io);
        } else if !t.head_sent {
            // Once its head is on the way to the client, the response is read at the client's pace.
            self.read_server(io);
        }
    }

    // ------------------------------------------------------------ progress

    pub(super) fn on_sent(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        to_client: bool,
        bytes: u32,
        left: u32,
    ) {
        if bytes > 0 {
            self.wrote(t, local, to_client);
        }
        if left > 0 {
            let flow = if to_client { &mut t.down } else { &mut t.up };
            flow.pace.block();
            return;
        }
        if !to_client {
            t.up.pace.sent();
            if t.up.state == Move::Writing {
                if t.up.pace.unblock() {
                    self.client_rx = local.now;
                }
                self.next_up(t, local, io);
            }
            return;
        }
        t.sending = false;
        if let Some(buf) = t.next.take() {
            t.sending = true;
            io.push(Op::Send {
                sock: self.client,
                buf,
            });
            return;
        }
        match self.stage {
            Stage::Answer => self.answer_sent(t, local, io),
            Stage::Exchange if t.head_sent && t.down.state == Move::Writing => {
                t.down.pace.sent();
                if t.down.pace.unblock() {
                    self.server_rx = local.now;
                }
                self.next_down(t, local, io);
            }
            _ => {}
        }
    }

    fn wrote(&mut self, _t: &Txn, local: &Local, to_client: bool) {
        let now = local.now;
        if to_client {
            self.client_tx = now;
            if !local.config.frontend(self.frontend).independent_streams {
                self.client_rx = now;
            }
        } else {
            self.server_tx = now;
            let independent = self
                .backend
                .is_some_and(|b| local.config.backend(b).independent_streams);
            if !independent {
                self.server_rx = now;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one completion")]
    pub(super) fn on_filled(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        from_client: bool,
        pipe: Pipe,
        bytes: u32,
        eof: bool,
    ) {
        if from_client {
            self.reading = false;
            self.client_rx = local.now;
            t.any = true;
            if self.stage == Stage::Linger && !eof {
                // The rest of a body that nobody reads: the client is to see our last bytes.
                io.give_pipe(pipe);
                self.read_client(io);
                return;
            }
        } else {
            self.server_reading = false;
            self.server_rx = local.now;
        }
        let (flow, sink) = if from_client {
            (&mut t.up, self.server_sock)
        } else {
            (&mut t.down, Some(self.client))
        };
        flow.pace.filled(bytes);
        flow.piped(bytes);
        match sink {
            Some(sock) if pipe.held > 0 => {
                flow.state = Move::Writing;
                if from_client {
                    self.server_tx = local.now;
                } else {
                    t.sending = true;
                    self.client_tx = local.now;
                }
                t.eof_behind = eof;
                io.push(Op::Drain { sock, pipe });
                self.flush_some(t, local);
            }
            _ => {
                io.give_pipe(pipe);
                if from_client {
                    self.on_client_eof(t, local, io);
                } else {
                    self.on_server_eof(t, local, io, false);
                }
            }
        }
    }

    pub(super) fn on_no_pipe(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        from_client: bool,
    ) {
        if from_client {
            self.reading = false;
            t.up.pace.copy();
            self.next_up(t, local, io);
        } else {
            self.server_reading = false;
            t.down.pace.copy();
            self.next_down(t, local, io);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one completion")]
    pub(super) fn on_drained(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        to_client: bool,
        pipe: Option<Pipe>,
        bytes: u32,
        blocked: bool,
    ) {
        if bytes > 0 {
            self.wrote(t, local, to_client);
        }
        let flow = if to_client { &mut t.down } else { &mut t.up };
        if blocked {
            flow.pace.block();
        }
        let Some(pipe) = pipe else { return };
        if to_client {
            t.sending = false;
        }
        let flow = if to_client { &mut t.down } else { &mut t.up };
        flow.pace.drained(pipe.size);
        if flow.pace.unblock() {
            if to_client {
                self.server_rx = local.now;
            } else {
                self.client_rx = local.now;
            }
        }
        let flow = if to_client { &mut t.down } else { &mut t.up };
        let max = flow.pipe().filter(|_| !flow.ended && !t.eof_behind);
        let source = if to_client {
            self.server_sock
        } else {
            Some(self.client)
        };
        if let (Some(max), Some(sock)) = (max, source) {
            flow.state = Move::Reading;
            if to_client {
                self.server_reading = true;
            } else {
                self.reading = true;
            }
            io.push(Op::Fill {
                sock,
                pipe: Some(pipe),
                max,
            });
            return;
        }
        io.give_pipe(pipe);
        let behind = std::mem::take(&mut t.eof_behind);
        if behind && to_client {
            t.down.state = Move::Reading;
            self.on_server_eof(t, local, io, false);
        } else if behind {
            t.up.state = Move::Reading;
            self.on_client_eof(t, local, io);
        } else if to_client {
            self.next_down(t, local, io);
        } else {
            self.next_up(t, local, io);
        }
    }

    /// Brings the counters of a long transfer up to date.
    fn flush_some(&self, t: &mut Txn, local: &Local) {
        let moved = t.client_in() + t.client_out();
        if moved.saturating_sub(t.counted.iter().sum()) >= FLUSH_BYTES {
            self.flush_bytes(t, local);
        }
    }

    /// Ends the transaction once both directions are through.
    fn maybe_complete(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        if t.down.state != Move::Done {
            return;
        }
        if t.up.state == Move::Done {
            self.complete(t, local, io);
        } else if !t.down.is_tunnel() {
            // The answer came before the request was whole: the rest of it has no reader.
            t.keep = false;
            self.drop_server(io, false);
            self.complete(t, local, io);
        }
    }
}

/// Whether the configuration lets the server's connection serve more than one request.
pub(super) fn server_keeps(
    front: &crate::config::http::Http,
    back: &crate::config::http::Http,
) -> bool {
    use crate::config::http::Connection;
    front.connection == Connection::KeepAlive && back.connection == Connection::KeepAlive
}

/// `bytes` in a buffer of the pool, or in one of their own if they are too many for it.
pub(super) fn to_buf(io: &mut dyn Io, bytes: &[u8]) -> Buf {
    let mut buf = io.lend_buf();
    if buf.room() < bytes.len() {
        io.give_buf(buf);
        return Buf::of(bytes);
    }
    buf.append(bytes);
    buf
}
