//! A response whose head is there: its rules, which may wait for its body; cookies; and off to the client.
//!
//! What came of the body is kept as it came ([`Held`]) only where somebody looks at it or waits; it goes on behind the
//! head, through the same decoder as without.

use super::exchange::to_buf;
use super::flow::at_hand;
use super::rules::{Step, Stop, Wait};
use super::*;
use crate::backend::observe::Event;
use crate::backend::persist::{self, Answering};
use crate::backend::retry::Failure;
use crate::lang::expr::Needs;
use crate::lang::subject::Scope;
use crate::proto::h1::Body;

/// A response's body while rules look at it.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Everything behind the head, as it came.
    raw: Vec<u8>,
    /// What of the payload is at hand.
    pub(super) body: Vec<u8>,
    /// Nothing more will be waited for.
    pub(super) whole: bool,
    /// The server ended its side, in order.
    ended: bool,
    /// A rule waits: until when, and for how many bytes (0: all, or as many as a buffer holds). `None`: for the time
    /// alone.
    waits: Option<(Tick, Option<u64>)>,
}

impl Held {
    fn look(&mut self, body: Body, local: &Local) {
        let most = local.config.global.tune.head_max();
        let (body, over) = at_hand(body, &self.raw, most);
        self.body = body;
        self.whole |= over;
    }

    fn has(&self, wanted: u64) -> bool {
        self.whole || (wanted > 0 && self.body.len() as u64 >= wanted)
    }

    /// Until when a rule waits, and whether that is for bytes.
    pub(super) fn deadline(&self) -> Option<(Tick, bool)> {
        self.waits.map(|(until, wanted)| (until, wanted.is_some()))
    }
}

impl Session {
    /// The final head is there, and what of the body came with it.
    pub(super) fn begin_response(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        buf: Buf,
    ) {
        t.responded = Some(local.now);
        (t.status, t.server_status) = (t.response.status, t.response.status);
        self.observed(local, Event::Status(t.status));
        if self.try_again(t, local, io, Failure::Status(t.status)) {
            io.give_buf(buf);
            return;
        }
        self.count_server_status(t, local);
        self.capture_response(t, local);
        // The request is through, and its variables with it.
        t.vars.retain(|(id, _)| id.scope != Scope::Req);
        t.cursor = Cursor::default();
        if local.config.asked.has(Needs::RESPONSE_BODY) {
            self.hold(t, local, buf.bytes());
        }
        self.answer_rules(t, local, io, buf);
    }

    /// From now on what comes of the body is looked at before it goes on.
    fn hold(&self, t: &mut Txn, local: &Local, came: &[u8]) {
        let mut held = Box::new(Held {
            raw: came.to_vec(),
            ..Held::default()
        });
        held.look(t.answer.body, local);
        t.held = Some(held);
    }

    /// Goes on with the response's rules where the cursor stands. `buf`: what came behind the head, if nothing is held.
    fn answer_rules(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, buf: Buf) {
        let stop = loop {
            let arena = std::mem::take(&mut local.arena);
            let step = self.response_rules(t, local, &arena);
            local.give_arena(arena);
            match step {
                Step::Next => break None,
                Step::Stop(stop) => break Some(stop),
                Step::Wait(wait) => {
                    if t.held.is_none() {
                        self.hold(t, local, buf.bytes());
                    }
                    let held = t.held.as_mut().expect("held just now");
                    let (ms, wanted) = match wait {
                        Wait::Body { ms, at_least } => (ms, Some(at_least)),
                        Wait::Pause(ms) => (ms, None),
                        Wait::Password => unreachable!("asked for by requests alone"),
                    };
                    if wanted.is_some_and(|wanted| held.has(wanted)) {
                        continue;
                    }
                    held.waits = Some((local.now + u64::from(ms), wanted));
                    if wanted.is_some() {
                        self.read_server(io);
                    }
                    io.give_buf(buf);
                    return;
                }
            }
        };
        let stop = stop.or_else(|| {
            self.treat_cookie(t, local);
            let arena = std::mem::take(&mut local.arena);
            let stop = self.after_rules(t, local, &arena);
            local.give_arena(arena);
            stop
        });
        let (buf, ended) = match t.held.take() {
            Some(held) => {
                io.give_buf(buf);
                (Buf::of(&held.raw), held.ended)
            }
            None => (buf, false),
        };
        match stop {
            Some(stop) => {
                io.give_buf(buf);
                self.stop_response(t, local, io, stop);
            }
            None => self.pass_response(t, local, io, buf, ended),
        }
    }

    /// More of a body that a rule waits for.
    pub(super) fn on_held(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, buf: Buf) {
        let held = t.held.as_mut().expect("looked at by the caller");
        held.raw.extend_from_slice(buf.bytes());
        io.give_buf(buf);
        held.look(t.answer.body, local);
        match held.waits {
            Some((_, Some(wanted))) if held.has(wanted) => self.go_on_answering(t, local, io),
            Some((_, Some(_))) => self.read_server(io),
            // Nothing that comes shortens a pause.
            _ => {}
        }
    }

    /// No more of it comes: rules see what there is.
    pub(super) fn on_held_eof(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        broke: bool,
    ) {
        let held = t.held.as_mut().expect("looked at by the caller");
        (held.whole, held.ended) = (true, !broke);
        if matches!(held.waits, Some((_, Some(_)))) {
            self.go_on_answering(t, local, io);
        }
    }

    /// What a rule of the response waited for is there.
    fn go_on_answering(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        if let Some(held) = &mut t.held {
            held.waits = None;
        }
        // Nobody was listened to during a pause.
        (self.client_rx, self.server_rx) = (local.now, local.now);
        self.answer_rules(t, local, io, Buf::of(&[]));
    }

    /// A deadline passed while a rule of the response waits. `false`: it is none of the server's, nor of the rule's.
    pub(super) fn held_too_long(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        cause: Cause,
    ) -> bool {
        let Some((until, bytes)) = t.held.as_ref().and_then(|held| held.deadline()) else {
            return false;
        };
        let over = until <= local.now;
        if over && !bytes {
            self.go_on_answering(t, local, io);
            return true;
        }
        if !over && cause != Cause::ServerTimeout {
            return false;
        }
        // Its head came: the request is not sent once more.
        t.responded = None;
        self.count_response_error(local);
        self.drop_server(io, true);
        t.cause = Some((Cause::ServerTimeout, StageReached::Request));
        self.answer_page(t, local, io, 504);
        true
    }

    /// The head goes to the client, with what of the body is at hand. `ended`: the server ended its side behind it.
    fn pass_response(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        buf: Buf,
        ended: bool,
    ) {
        if t.status == 101 || t.answer.body == Body::Tunnel {
            t.keep = false;
        }
        self.count_response_time(t, local);
        let (_, splice) = self.splice(local);
        t.down = Flow::new(t.answer.body, splice);
        t.down.ended |= ended && t.answer.body == Body::UntilClose;
        t.down.drop_trailers = self.front(local).drop_response_trailers;
        self.frame_down(t);
        let mut out = std::mem::take(&mut local.scratch);
        out.clear();
        self.write_response_head(t, local, &mut out);
        if t.answer.body == Body::Tunnel {
            self.open_tunnel(t, local, io);
        }
        if !buf.is_empty() {
            let full = buf.len() == buf.capacity();
            t.down.pace.received(full);
            match t.down.pass(buf) {
                Ok(Some(body)) => {
                    out.extend_from_slice(body.bytes());
                    io.give_buf(body);
                }
                Ok(None) => {}
                Err(_) => {
                    local.scratch = out;
                    t.responded = None;
                    t.status = 502;
                    self.bad_response(t, local, io);
                    return;
                }
            }
        } else {
            io.give_buf(buf);
        }
        let buf = to_buf(io, &out);
        local.scratch = out;
        t.head_sent = true;
        self.log_asap(t, local);
        t.down.state = Move::Writing;
        self.client_tx = local.now;
        // An interim answer may still be on its way: the response waits for it.
        self.say(t, io, buf);
    }

    fn capture_response(&self, t: &mut Txn, local: &Local) {
        let http = self.front(local);
        for (index, capture) in http.response_captures.iter().enumerate() {
            let Some(name) = &capture.name else { continue };
            if let Some(value) = t.response.values(name).next_back() {
                let value = value[..value.len().min(capture.len as usize)].into();
                t.captures[1][index] = Some(value);
            }
        }
        if let Some((name, len)) = &http.cookie_capture {
            let cookie = head::cookie_starting(&t.response, b"set-cookie", name);
            t.cookies[1] = cookie.map(|c| c[..c.len().min(*len as usize)].into());
        }
    }

    /// The backend's cookie: inserted, rewritten, prefixed, or left alone.
    fn treat_cookie(&self, t: &mut Txn, local: &Local) {
        let Some(cookie) = &self.back(local).expect("routed before").cookie else {
            return;
        };
        let Some(server) = self.server else { return };
        let answering = Answering {
            cookie,
            asked: &t.found.asked,
            server: local.config.server(server).cookie.as_deref(),
            method: t.request.method(),
            now_s: (local.shared.wall_us(local.now) / 1_000_000) as u32,
        };
        let mut scratch = Vec::new();
        let letter = persist::treat_response(&mut t.response, &answering, &mut scratch);
        if persist::is_tracked(cookie) {
            t.letters[1] = letter as u8;
        }
    }

    /// A rule stopped the response.
    fn stop_response(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, stop: Stop) {
        self.drop_server(io, true);
        t.responded = None;
        match stop {
            Stop::Deny(answer) | Stop::Tarpit(answer) | Stop::Auth(answer) => {
                self.count_denied_response(local);
                t.cause = Some((Cause::Proxy, StageReached::Headers));
                self.answer(t, local, io, answer);
            }
            Stop::Answer(answer) => {
                t.cause = Some((Cause::Local, StageReached::Headers));
                self.answer(t, local, io, answer);
            }
            Stop::Reject | Stop::Silent | Stop::Stats | Stop::Metrics => {
                self.count_denied_response(local);
                self.end(t, local, Cause::Proxy, StageReached::Headers);
                self.over = true;
            }
        }
    }
}
