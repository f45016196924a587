//! Answers of our own: pages, replies of rules, redirects, the statistics page. They pass the rules of
//! `http-after-response` as a server's response does.

use std::sync::Arc;

use super::exchange::to_buf;
use super::flow::at_hand;
use super::rules::{Stop, list};
use super::subject::View;
use super::*;
use crate::config::reply::{self, Answer, Chain};
use crate::lang::acl::Verdict;
use crate::lang::rules::{Redirect, Reply};
use crate::lang::sample::Arena;
use crate::observe::stats::drain;
use crate::observe::stats::page::{self as stats_page, PageWriter, post};
use crate::observe::stats::prometheus::{self, Asked, Exposition};
use crate::proto::h1::{self, Body};
use crate::proto::page;

/// Bytes of the statistics page written in one turn.
const PAGE_TURN: usize = 15_000;

/// An answer ready to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The status that was asked for. It is logged and counted even where a page has another one.
    status: u16,
    head: Head,
    body: Vec<u8>,
    /// An error file that is empty: the connection closes without a word.
    silent: bool,
}

/// The statistics page under way.
#[derive(Debug)]
pub(super) struct PageTurn {
    writer: PageWriter,
    chunked: bool,
}

impl Prepared {
    fn of(made: Answer, status: u16, head: Head, body: Vec<u8>) -> Self {
        Self {
            status,
            head,
            body,
            silent: made == Answer::Silence,
        }
    }
}

impl Session {
    fn view<'a>(&'a self, t: &'a Txn, local: &'a Local) -> View<'a> {
        View {
            local,
            s: self,
            t,
            ended: false,
        }
    }

    fn chain<'l>(&self, local: &'l Local) -> Chain<'l> {
        Chain {
            back: self.back(local).map(|b| &b.pages),
            front: Some(&self.front(local).pages),
        }
    }

    /// The page of `status` in force.
    pub(super) fn page(&self, t: &Txn, local: &Local, status: u16) -> Prepared {
        let arena = Arena::new();
        let view = self.view(t, local);
        let (mut head, mut body) = (Head::default(), Vec::new());
        let chain = self.chain(local);
        let made = reply::error(status, chain, &view, &arena, &mut head, &mut body);
        Prepared::of(made, status, head, body)
    }

    /// The reply of a rule.
    pub(super) fn prepare(
        &self,
        t: &Txn,
        local: &Local,
        arena: &Arena,
        wanted: &Reply,
    ) -> Prepared {
        let view = self.view(t, local);
        let (mut head, mut body) = (Head::default(), Vec::new());
        let chain = self.chain(local);
        let made = reply::reply(wanted, chain, &view, arena, &mut head, &mut body);
        Prepared::of(made, wanted.status, head, body)
    }

    /// A redirect; `None` if it does not apply (`ignore-empty`).
    pub(super) fn prepare_redirect(
        &self,
        t: &Txn,
        local: &Local,
        arena: &Arena,
        redirect: &Redirect,
    ) -> Option<Prepared> {
        let view = self.view(t, local);
        let mut head = Head::default();
        let location = redirect.location(&view, arena)?;
        redirect.answer(location, &mut head);
        Some(Prepared {
            status: head.status,
            head,
            body: Vec::new(),
            silent: false,
        })
    }

    pub(super) fn prepare_location(&self, code: u16, location: &[u8]) -> Prepared {
        let mut head = Head::default();
        page::start(&mut head, code, page::reason(code));
        head.push(b"content-length", b"0");
        head.push(b"cache-control", b"no-cache");
        head.push(b"location", location);
        Prepared {
            status: code,
            head,
            body: Vec::new(),
            silent: false,
        }
    }

    /// 401, or 407 to a client that takes us for its proxy.
    pub(super) fn challenge(
        &self,
        t: &Txn,
        local: &Local,
        arena: &Arena,
        realm: &[u8],
    ) -> Prepared {
        let of_proxy = self.front(local).use_proxy_header && reply::asks_proxy(&t.request);
        let view = self.view(t, local);
        let (mut head, mut body) = (Head::default(), Vec::new());
        let chain = self.chain(local);
        let made = reply::auth(realm, of_proxy, chain, &view, arena, &mut head, &mut body);
        let status = if of_proxy { 407 } else { 401 };
        Prepared::of(made, status, head, body)
    }

    // ------------------------------------------------------------ sending

    /// Sends the page of `status`.
    pub(super) fn answer_page(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        status: u16,
    ) {
        t.status = status;
        if t.bad {
            // No request was read: the fixed text, then the end.
            let text = reply::wire(status, &self.front(local).pages);
            t.keep = false;
            self.send_own(t, local, io, Buf::of(text));
            return;
        }
        let answer = self.page(t, local, status);
        self.answer(t, local, io, answer);
    }

    /// Sends an answer, after its own rules.
    pub(super) fn answer(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        answer: Prepared,
    ) {
        let Prepared {
            status,
            head,
            mut body,
            silent,
        } = answer;
        t.status = status;
        t.held = None;
        if silent {
            let (cause, reached) = t.cause.unwrap_or((Cause::Local, StageReached::Request));
            self.end(t, local, cause, reached);
            self.over = true;
            return;
        }
        t.response = head;
        let mut made = t.response.status;
        let arena = std::mem::take(&mut local.arena);
        let stop = self.after_rules(t, local, &arena);
        local.give_arena(arena);
        if let Some(Stop::Deny(other) | Stop::Answer(other)) = stop {
            (t.status, made) = (other.status, other.head.status);
            (t.response, body) = (other.head, other.body);
        }
        if t.response.status != made {
            // A rule has set another.
            t.status = t.response.status;
        }
        // What of the request was not read cannot be told from a next one.
        t.keep = t.keep && t.up.ended && self.client_keeps(t, local);
        if t.response.first(b"content-length").is_none() && t.response.status != 204 {
            t.keep = false;
        } else if !matches!(t.response.status, 204 | 304) {
            let length = body.len() as u64;
            let body = (length > 0).then_some(Body::Length(length));
            h1::hold_framing(&mut t.response, body.unwrap_or(Body::None));
        }
        let mut out = std::mem::take(&mut local.scratch);
        out.clear();
        let to = t.client();
        h1::set_connection(&mut t.response, to, t.keep);
        h1::write_response(&mut out, &t.response);
        if !t.framing.head {
            out.extend_from_slice(&body);
        }
        let buf = to_buf(io, &out);
        local.scratch = out;
        t.own_out = t.response.counted_len() as u64 + body.len() as u64;
        self.send_own(t, local, io, buf);
    }

    fn send_own(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, buf: Buf) {
        t.own = true;
        t.head_sent = true;
        self.drop_server(io, false);
        self.leave_queue(t, local);
        self.enter(Stage::Answer, local.now);
        self.client_tx = local.now;
        self.say(t, io, buf);
    }

    /// Sends to the client, behind what is on its way to it.
    pub(super) fn say(&self, t: &mut Txn, io: &mut dyn Io, buf: Buf) {
        if !t.sending {
            t.sending = true;
            io.push(Op::Send {
                sock: self.client,
                buf,
            });
            return;
        }
        t.next = Some(match t.next.take() {
            None => buf,
            Some(first) => {
                let both = Buf::of(&[first.bytes(), buf.bytes()].concat());
                io.give_buf(first);
                io.give_buf(buf);
                both
            }
        });
    }

    /// An answer of ours is through, or a turn of it.
    pub(super) fn answer_sent(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        if t.page.is_some() {
            self.next_page(t, local, io);
            return;
        }
        self.complete(t, local, io);
    }

    /// Answers a request for the statistics page.
    pub(super) fn answer_stats(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        in_back: bool,
    ) {
        let config = Arc::clone(&local.config);
        let proxy = if in_back {
            config.backend(self.backend.expect("routed before")).proxy
        } else {
            config.frontend(self.frontend).proxy
        };
        let stats = config.proxy(proxy).http.stats.as_ref();
        let stats = stats.expect("its rules were evaluated");
        t.applet = Some("<STATS>");
        t.cause = Some((Cause::Local, StageReached::Request));
        // The page is a server of its own to the line.
        (t.dequeued, t.connected) = (Some(local.moment), Some(local.moment));
        if !stats.admits(t.request.first(b"authorization")) {
            self.count_intercepted(local);
            let realm = stats.realm.as_deref().unwrap_or(b"HAProxy Statistics");
            let answer = self.challenge(t, local, &Arena::new(), realm);
            self.answer(t, local, io, answer);
            return;
        }
        let arena = std::mem::take(&mut local.arena);
        let admin = stats
            .admin
            .iter()
            .any(|c| self.holds(t, local, &arena, Some(c)) == Verdict::Holds);
        local.give_arena(arena);
        if t.asks_password() {
            t.cursor.rule = 0;
            self.wait_password(t, local);
            return;
        }
        let request = stats.matches(t.request.target());
        let request = request.expect("matched before");
        let post = t.request.method() == b"POST";
        let denied = post && (!admin || post::is_foreign(&t.request));
        if post && !denied && !t.body_whole && !t.up.ended {
            // The fields of the form are its body.
            t.cursor.rule = 0;
            let ms = self.front(local).timeout_http_request_ms;
            self.wait_body(t, local, io, ms.unwrap_or(10_000), 0);
            if self.stage == Stage::Rules {
                self.answer_stats(t, local, io, in_back);
            }
            return;
        }
        self.count_intercepted(local);
        if post {
            let outcome = if denied {
                stats_page::Outcome::Deny
            } else {
                self.act_on_form(t, local)
            };
            let mut head = Head::default();
            request.redirect(stats, outcome, &mut head);
            self.drop_body(t, io);
            let answer = Prepared {
                status: head.status,
                head,
                body: Vec::new(),
                silent: false,
            };
            self.answer(t, local, io, answer);
            return;
        }
        // The shards have told by the time the page is written, or have not: it does not wait.
        drain::ask(&local.shared, local.now);
        request.head(stats, &mut t.response);
        let writer = PageWriter::new(stats, proxy, &request, admin);
        self.begin_page(t, local, io, writer);
    }

    /// Answers for `use-service prometheus-exporter`: every method alike, as haproxy does.
    pub(super) fn answer_metrics(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        t.applet = Some("<PROMEX>");
        t.cause = Some((Cause::Local, StageReached::Request));
        (t.dequeued, t.connected) = (Some(local.moment), Some(local.moment));
        let Some(asked) = Asked::parse(t.request.target()) else {
            t.keep = false;
            t.responded = Some(local.now);
            self.answer_page(t, local, io, 400);
            return;
        };
        self.drop_body(t, io);
        prometheus::head(&mut t.response);
        self.begin_page(t, local, io, PageWriter::metrics(Exposition::new(asked)));
    }

    /// Sends the head in `t.response`; what `writer` writes follows a turn at a time.
    fn begin_page(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, writer: PageWriter) {
        t.status = 200;
        t.responded = Some(local.now);
        let arena = std::mem::take(&mut local.arena);
        let _ = self.after_rules(t, local, &arena);
        local.give_arena(arena);
        let chunked = !t.old;
        t.keep = t.keep && chunked && t.up.ended && self.client_keeps(t, local);
        if chunked {
            h1::hold_framing(&mut t.response, Body::Chunked);
        }
        let to = t.client();
        h1::set_connection(&mut t.response, to, t.keep);
        let mut out = Vec::new();
        h1::write_response(&mut out, &t.response);
        if !t.framing.head {
            t.page = Some(Box::new(PageTurn { writer, chunked }));
        }
        self.send_own(t, local, io, Buf::of(&out));
    }

    /// What came of the body is done with: behind it stands the next request.
    fn drop_body(&mut self, t: &mut Txn, io: &mut dyn Io) {
        let Some(carry) = self.carry.take() else {
            return;
        };
        match t.up.pass(carry) {
            Ok(body) => {
                if let Some(body) = body {
                    io.give_buf(body);
                }
                self.carry = t.up.excess.take();
            }
            Err(_) => t.keep = false,
        }
    }

    /// Does what the form of the page asks for, if it may.
    fn act_on_form(&mut self, t: &Txn, local: &mut Local) -> stats_page::Outcome {
        let body = self.body_at_hand(t);
        if body.len() > post::body_max(&local.config) {
            return stats_page::Outcome::Excd;
        }
        let (outcome, change) = post::act(&local.shared, body, local.now);
        crate::proxy::check::tell(local, &change);
        outcome
    }

    /// The next piece of the page.
    fn next_page(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let mut page = t.page.take().expect("looked at by the caller");
        let mut body = Vec::with_capacity(PAGE_TURN);
        let facts = Arc::clone(&local.facts);
        let view = crate::observe::stats::View {
            shared: &local.shared,
            now: local.now,
            wall_us: local.shared.wall_us(local.now),
            facts: &facts,
            offset_at: crate::io::sys::localtime::offset_s,
        };
        let done = page.writer.next(&view, &mut body, PAGE_TURN);
        let mut out = Vec::with_capacity(body.len() + 32);
        if page.chunked && !body.is_empty() {
            t.own_out += body.len() as u64;
            h1::write_chunk_header(&mut out, body.len() as u64);
            out.extend_from_slice(&body);
            out.extend_from_slice(b"\r\n");
        } else if !page.chunked {
            out = body;
        }
        if done && page.chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        if !done {
            t.page = Some(page);
        }
        if out.is_empty() {
            self.answer_sent(t, local, io);
            return;
        }
        self.client_tx = local.now;
        t.sending = true;
        io.push(Op::Send {
            sock: self.client,
            buf: Buf::of(&out),
        });
    }

    // ------------------------------------------------------------ monitor

    /// `monitor-uri`: 200, or 503 where a `monitor fail` condition holds. `false`: it is not asked for.
    pub(super) fn answer_monitor(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
    ) -> bool {
        if !crate::backend::forward::is_monitor(self.front(local), &t.request) {
            return false;
        }
        let arena = std::mem::take(&mut local.arena);
        let fails = self
            .front(local)
            .monitor_fail
            .iter()
            .any(|c| self.asked(t, local, &arena, c) == Verdict::Holds);
        local.give_arena(arena);
        if let Some(trace) = &local.trace {
            trace.note("'monitor-uri' answers");
        }
        if t.asks_password() {
            t.cursor.list = list::MONITOR;
            self.wait_password(t, local);
            return true;
        }
        // Told to nobody: haproxy neither logs nor counts it as a session's request.
        t.logged = true;
        t.cause = Some((Cause::Local, StageReached::Request));
        self.answer_page(t, local, io, if fails { 503 } else { 200 });
        true
    }

    // ------------------------------------------------------------ bodies

    /// What is at hand of the request's body.
    pub(super) fn body_at_hand<'a>(&'a self, t: &'a Txn) -> &'a [u8] {
        if t.body.is_empty() && matches!(t.framing.body, Body::Length(_)) {
            self.carry.as_ref().map_or(&[], Buf::bytes)
        } else {
            &t.body
        }
    }

    /// Waits until so many bytes of the body (0: all, or as many as a buffer holds) came, or the time is over.
    pub(super) fn wait_body(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        ms: u32,
        at_least: u64,
    ) {
        if t.up.ended || t.body_whole {
            return;
        }
        t.body_wanted = at_least;
        if self.enough_body(t, local) {
            t.body_whole = true;
            return;
        }
        if t.framing.expect_continue && !t.sending && self.carry.is_none() {
            t.sending = true;
            t.continued = true;
            io.push(Op::Send {
                sock: self.client,
                buf: Buf::of(b"HTTP/1.1 100 Continue\r\n\r\n"),
            });
        }
        t.wait_until = local.now + u64::from(ms);
        self.enter(Stage::Body, local.now);
        if let Some(carry) = self.carry.take() {
            t.raw.extend_from_slice(carry.bytes());
            io.give_buf(carry);
            self.look_at_body(t, local);
        }
        if t.body_whole {
            self.body_ready(t, io, local.now);
        } else {
            self.read_client(io);
        }
    }

    fn enough_body(&self, t: &Txn, local: &Local) -> bool {
        let Body::Length(announced) = t.framing.body else {
            return false;
        };
        let most = local.config.global.tune.head_max() as u64;
        let wanted = if t.body_wanted == 0 {
            announced
        } else {
            t.body_wanted.min(announced)
        };
        let have = self.carry.as_ref().map_or(0, Buf::len) as u64;
        have >= wanted.min(most)
    }

    fn look_at_body(&self, t: &mut Txn, local: &Local) {
        let most = local.config.global.tune.head_max();
        let (body, over) = at_hand(t.framing.body, &t.raw, most);
        t.body = body;
        let enough = t.body_wanted > 0 && t.body.len() as u64 >= t.body_wanted;
        t.body_whole = over || enough;
    }

    pub(super) fn on_body_bytes(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        buf: Buf,
    ) {
        t.raw.extend_from_slice(buf.bytes());
        io.give_buf(buf);
        self.look_at_body(t, local);
        if t.body_whole {
            self.body_ready(t, io, local.now);
            self.resume(t, local, io);
        } else {
            self.read_client(io);
        }
    }

    /// The wait is over: what came stands before whatever comes next.
    pub(super) fn body_ready(&mut self, t: &mut Txn, io: &mut dyn Io, now: Tick) {
        t.body_whole = true;
        let mut raw = std::mem::take(&mut t.raw);
        if let Some(carry) = self.carry.take() {
            raw.extend_from_slice(carry.bytes());
            io.give_buf(carry);
        }
        if !raw.is_empty() {
            self.carry = Some(Buf::of(&raw));
        }
        self.enter(Stage::Rules, now);
    }

    /// Goes on with what waited.
    pub(super) fn resume(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        self.enter(Stage::Rules, local.now);
        match t.cursor.list {
            u16::MAX => self.dispatch(t, local, io),
            list::MONITOR => {
                self.answer_monitor(t, local, io);
            }
            _ => self.evaluate(t, local, io),
        }
    }
}
