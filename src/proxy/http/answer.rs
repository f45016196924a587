//! Answers of our own: pages, replies of rules, redirects, the statistics page. They pass the rules of
//! `http-after-response` as a server's response does.

use std::sync::Arc;

use super::rules::Stop;
use super::subject::View;
use super::*;
use crate::config::http::Page;
use crate::lang::acl::Verdict;
use crate::lang::logformat::LogFormat;
use crate::lang::rules::{Redirect, Reply};
use crate::lang::sample::Arena;
use crate::proto::h1::{self, Body};
use crate::proto::page;

/// Bytes of the statistics page written in one turn.
const PAGE_TURN: usize = 15_000;

/// The bytes behind a head of ours.
#[derive(Debug, Clone)]
pub(super) enum Text {
    Fixed(&'static [u8]),
    Shared(Arc<[u8]>, usize),
    Own(Vec<u8>),
}

impl Text {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Fixed(text) => text,
            Self::Shared(text, from) => &text[*from..],
            Self::Own(text) => text,
        }
    }
}

/// An answer ready to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    head: Head,
    body: Text,
}

/// The statistics page under way.
#[derive(Debug)]
pub(super) struct PageTurn {
    chunked: bool,
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

    /// The page of `status` in force: of the backend's proxy, else the frontend's, else the built-in one.
    pub(super) fn page(&self, t: &Txn, local: &Local, status: u16) -> Prepared {
        let proxies = [self.back(local), Some(self.front(local))];
        let of = |http: &crate::config::http::Http| {
            let mut pages = http.pages.by_status.iter().rev();
            pages
                .find(|(s, _)| *s == status)
                .map(|(_, page)| page.clone())
        };
        match proxies.into_iter().flatten().find_map(of) {
            Some(Page::Raw(text)) => parsed(text, status),
            Some(Page::Location(code, to)) => self.prepare_location(code, &to),
            Some(Page::Reply(reply)) => {
                let arena = Arena::new();
                self.prepare(t, local, &arena, &reply)
            }
            None => {
                let page = page::page_or_500(status);
                let mut head = Head::default();
                page.head(&mut head);
                Prepared {
                    head,
                    body: Text::Fixed(page.body.as_bytes()),
                }
            }
        }
    }

    /// The reply of a rule.
    pub(super) fn prepare(&self, t: &Txn, local: &Local, arena: &Arena, reply: &Reply) -> Prepared {
        let view = self.view(t, local);
        let mut head = Head::default();
        match super::pending::render(reply, &view, arena, &mut head) {
            Some(body) => Prepared {
                head,
                body: match body {
                    super::pending::ReplyText::Shared(text, from) => Text::Shared(text, from),
                    super::pending::ReplyText::Own(text) => Text::Own(text),
                },
            },
            None => {
                let mut page = self.page(t, local, reply.status);
                super::pending::headers(reply, &view, arena, &mut page.head);
                page
            }
        }
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
        super::pending::redirect(redirect, &view, arena, &mut head).then_some(Prepared {
            head,
            body: Text::Fixed(b""),
        })
    }

    pub(super) fn prepare_location(&self, code: u16, location: &[u8]) -> Prepared {
        let mut head = Head::default();
        page::start(&mut head, code, page::reason(code));
        head.push(b"content-length", b"0");
        head.push(b"cache-control", b"no-cache");
        head.push(b"location", location);
        Prepared {
            head,
            body: Text::Fixed(b""),
        }
    }

    /// 401, or 407 to a client that takes us for its proxy.
    pub(super) fn prepare_auth(
        &self,
        t: &Txn,
        local: &Local,
        arena: &Arena,
        realm: &LogFormat,
    ) -> Prepared {
        let mut value = b"Basic realm=\"".to_vec();
        realm.render(&self.view(t, local), arena, &mut value);
        value.push(b'"');
        self.challenge(t, local, &value)
    }

    fn challenge(&self, t: &Txn, local: &Local, value: &[u8]) -> Prepared {
        // A target with a scheme is what a client sends to a proxy.
        let proxied = t.request.first(b"proxy-connection").is_some();
        let (status, name): (u16, &[u8]) = if proxied {
            (407, b"proxy-authenticate")
        } else {
            (401, b"www-authenticate")
        };
        let mut answer = self.page(t, local, status);
        answer.head.push(name, value);
        answer
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
            let text = page::page_or_500(status).wire;
            t.keep = false;
            self.count_status(t, local);
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
        let Prepared { head, mut body } = answer;
        t.response = head;
        t.status = t.response.status;
        let arena = std::mem::take(&mut local.arena);
        let stop = self.response_rules(t, local, &arena, true);
        local.give_arena(arena);
        if let Some(Stop::Deny(other) | Stop::Answer(other)) = stop {
            (t.response, body) = (other.head, other.body);
        }
        t.status = t.response.status;
        self.count_status(t, local);
        // What of the request was not read cannot be told from a next one.
        t.keep = t.keep && t.up.ended && self.client_keeps(t, local);
        let mut out = std::mem::take(&mut local.scratch);
        out.clear();
        let to = t.client();
        h1::set_connection(&mut t.response, to, t.keep);
        h1::write_response(&mut out, &t.response);
        if !t.framing.head {
            out.extend_from_slice(body.bytes());
        }
        let buf = super::exchange::to_buf(io, &out);
        local.scratch = out;
        self.send_own(t, local, io, buf);
    }

    fn send_own(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, buf: Buf) {
        t.own = true;
        t.head_sent = true;
        t.client_out += buf.len() as u64;
        self.drop_server(io, false);
        self.leave_queue(t, local);
        self.enter(Stage::Answer, local.now);
        self.client_tx = local.now;
        if t.sending {
            t.next = Some(buf);
        } else {
            t.sending = true;
            io.push(Op::Send {
                sock: self.client,
                buf,
            });
        }
    }

    /// An answer of ours is through, or a turn of it.
    pub(super) fn answer_sent(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        if t.page.is_some() {
            self.next_page(t, local, io);
            return;
        }
        self.complete(t, local, io);
    }

    pub(super) fn answer_stats(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        _in_back: bool,
    ) {
        self.answer_page(t, local, io, 503);
    }
    fn next_page(&mut self, _t: &mut Txn, _local: &mut Local, _io: &mut dyn Io) {}

    // ------------------------------------------------------------ monitor

    /// `monitor-uri`: 200, or 503 where a `monitor fail` condition holds.
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
            .any(|c| self.holds(t, local, &arena, Some(c)) == Verdict::Holds);
        local.give_arena(arena);
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
        let most = u64::from(local.config.global.tune.bufsize);
        let wanted = if t.body_wanted == 0 {
            announced
        } else {
            t.body_wanted.min(announced)
        };
        let have = self.carry.as_ref().map_or(0, Buf::len) as u64;
        have >= wanted.min(most)
    }

    /// Decodes what came, on a decoder of its own: what is sent on later starts from the beginning again.
    fn look_at_body(&self, t: &mut Txn, local: &Local) {
        let most = local.config.global.tune.bufsize as usize;
        let mut look = Flow::new(t.framing.body, Splice::Never);
        look.wire = super::flow::Wire::Bare;
        let decoded = look.pass(Buf::of(&t.raw));
        let (body, bad) = match decoded {
            Ok(Some(buf)) => (buf.bytes().to_vec(), false),
            Ok(None) => (Vec::new(), false),
            // The body's fault shows when it is passed on.
            Err(_) => (Vec::new(), true),
        };
        t.body = body;
        let enough = t.body_wanted > 0 && t.body.len() as u64 >= t.body_wanted;
        t.body_whole = look.ended || bad || enough || t.raw.len() >= most;
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
        if t.cursor.list == u16::MAX {
            self.dispatch(t, local, io);
        } else {
            self.evaluate(t, local, io);
        }
    }
}

/// The text of an `errorfile` as head and body.
fn parsed(text: Arc<[u8]>, status: u16) -> Prepared {
    let mut head = Head::default();
    let limits = h1::Limits {
        head_max: text.len() + 1,
        ..h1::Limits::default()
    };
    match h1::response_head(&text, &limits, &mut head) {
        Ok(h1::Parse::Done { used }) => {
            head.delete(b"connection");
            let length = (text.len() - used).to_string();
            head.set(b"content-length", length.as_bytes());
            Prepared {
                head,
                body: Text::Shared(text, used),
            }
        }
        // Checked when it was read: only a built-in page can stand in.
        _ => {
            let page = page::page_or_500(status);
            page.head(&mut head);
            Prepared {
                head,
                body: Text::Fixed(page.body.as_bytes()),
            }
        }
    }
}
