//! What expressions, conditions and log formats see of a transaction.

use super::*;
use crate::base::tick::{Moment, Tick};
use crate::lang::changes::Change;
use crate::lang::sample::{Arena, Value};
use crate::lang::subject::{Bytes, Fact, LogCount, Login, Subject};
use crate::proxy::passwords::Job;
use crate::proxy::place::Place;

/// A transaction as it stands. `ended`: seen by its log line, when its backend and server are left already.
pub(super) struct View<'a> {
    pub(super) local: &'a Local,
    pub(super) s: &'a Session,
    pub(super) t: &'a Txn,
    pub(super) ended: bool,
}

/// Milliseconds from one moment to another, -1 where the second never came.
fn between(from: Moment, to: Option<Tick>) -> i64 {
    to.map_or(-1, |to| to.since(from.tick()) as i64)
}

impl View<'_> {
    /// Where the session is, whatever it speaks.
    fn place(&self) -> Place<'_> {
        Place {
            local: self.local,
            bind: self.s.bind,
            frontend: self.s.frontend,
            backend: self.s.backend,
            server: self.s.server.or(self.t.last_server),
        }
    }
    /// The same for the whole transaction. A format that names it sees nothing in its place.
    pub(super) fn unique_id(&self) -> Option<&[u8]> {
        let t = self.t;
        let format = self.s.front(self.local).unique_id_format.as_ref()?;
        if t.unique_id.get().is_none() && !t.id_begun.replace(true) {
            let mut out = Vec::new();
            format.render(self, &Arena::new(), &mut out);
            let _ = t.unique_id.set(out.into());
        }
        t.unique_id.get().map(|id| &**id)
    }
    fn timeout(&self, ms: Option<u32>) -> Option<Value<'_>> {
        Some(Value::Int(ms.map_or(0, i64::from)))
    }
    fn front(&self) -> &crate::config::Frontend {
        self.local.config.frontend(self.s.frontend)
    }
    fn back(&self) -> Option<&crate::config::Backend> {
        self.s.backend.map(|b| self.local.config.backend(b))
    }
    /// Milliseconds since the epoch's start in microseconds for a tick.
    fn wall(&self, tick: Tick) -> Value<'_> {
        Value::Int(self.local.shared.wall_us(tick) as i64)
    }
}

impl Subject for View<'_> {
    fn request(&self) -> Option<&Head> {
        (!self.t.bad).then_some(&self.t.request)
    }
    fn response(&self) -> Option<&Head> {
        (self.t.response.status > 0).then_some(&self.t.response)
    }
    fn request_body(&self) -> Option<Bytes<'_>> {
        let announced = match self.t.framing.body {
            crate::proto::h1::Body::Length(n) => Some(n),
            _ => None,
        };
        let at_hand = self.s.carry.as_ref().map_or(&[][..], Buf::bytes);
        let bytes = if self.t.body.is_empty() && announced.is_some() {
            let most = announced.unwrap_or(0).min(at_hand.len() as u64) as usize;
            &at_hand[..most]
        } else {
            &self.t.body
        };
        Some(Bytes {
            bytes,
            complete: self.t.body_whole || announced == Some(bytes.len() as u64) || self.t.up.ended,
            announced,
        })
    }
    fn response_body(&self) -> Option<Bytes<'_>> {
        let held = self.t.held.as_ref()?;
        Some(Bytes {
            bytes: &held.body,
            complete: held.whole,
            announced: match self.t.answer.body {
                crate::proto::h1::Body::Length(n) => Some(n),
                _ => None,
            },
        })
    }
    fn src(&self) -> Option<SocketAddr> {
        self.s.src
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.s.dst
    }
    fn client_ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.s.ends
    }
    fn server_ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.t.server_ends
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        let (local, s, t) = (self.local, self.s, self.t);
        let int = |n: i64| Some(Value::Int(n));
        match fact {
            Fact::NowUs => self.wall(local.now).into(),
            Fact::AcceptDateUs => self.wall(s.accepted).into(),
            Fact::RequestDateUs => self.wall(t.began.tick()).into(),
            Fact::LogAsap => Some(Value::Bool(local.config.frontend(s.frontend).logasap)),
            Fact::LogOrigin => Some(Value::Str(if t.bad { b"error" } else { b"txn_close" })),
            Fact::Applet => t.applet.map(|name| Value::Str(name.as_bytes())),
            Fact::HandshakeMs => int(0),
            Fact::FirstRequest => Some(Value::Bool(s.requests <= 1)),
            Fact::ReceivedProxy => Some(Value::Bool(s.received_proxy)),
            Fact::DstIsLocal | Fact::SrcIsLocal => {
                let end = if fact == Fact::DstIsLocal {
                    s.dst
                } else {
                    s.src
                };
                end.map(|a| Value::Bool(a.ip().is_loopback()))
            }
            Fact::ClientRttUs | Fact::ClientRttVarUs => None,
            Fact::ClientErr | Fact::ServerErr => int(0),
            Fact::IdleMs => int(t.idle_ms as i64),
            Fact::RequestHeadMs => int(between(t.began, t.head_at.map(Moment::tick))),
            // Without a time for the head, that of a tarpit is counted from the request's first byte.
            Fact::QueueMs => int(between(
                t.head_at.unwrap_or(t.began),
                t.dequeued.map(Moment::tick),
            )),
            Fact::ConnectMs => int(t
                .dequeued
                .map_or(-1, |d| between(d, t.connected.map(Moment::tick)))),
            Fact::ResponseHeadMs => int(t.connected.map_or(-1, |c| between(c, t.responded))),
            Fact::ResponseDataMs => int(t.responded.map_or(-1, |r| local.now.since(r) as i64)),
            Fact::ActiveMs => int(local.now.since(t.began.tick()) as i64),
            Fact::TotalMs => int(if s.requests <= 1 {
                local.now.since(s.accepted) as i64
            } else {
                (local.now.since(t.began.tick()) + t.idle_ms) as i64
            }),
            Fact::UserMs => int((local.now.since(t.began.tick()) + t.idle_ms) as i64),
            Fact::ClientIn => int(t.client_in() as i64),
            Fact::ClientOut => int(t.client_out() as i64),
            Fact::ServerIn => int(t.server_in() as i64),
            Fact::ServerOut => int(t.sent.map_or(0, |_| t.client_in()) as i64),
            Fact::Status if t.status == 0 && self.ended => int(-1),
            Fact::Status => (t.status > 0).then_some(Value::Int(i64::from(t.status))),
            Fact::ServerStatus => {
                (t.server_status > 0).then_some(Value::Int(i64::from(t.server_status)))
            }
            Fact::Retries => int(i64::from(t.retries)),
            Fact::Redispatched => Some(Value::Bool(t.redispatched)),
            // Known when the line is written.
            Fact::TermState if t.term == [0; 4] => Some(Value::Str(b"----")),
            Fact::TermState => Some(Value::Str(&t.term)),
            Fact::StreamId => int(t.number as i64),
            Fact::UniqueId => self.unique_id().map(Value::Str),
            Fact::ServerQueuePos => int(i64::from(t.queue_position.server)),
            Fact::BackendQueuePos => int(i64::from(t.queue_position.backend)),
            Fact::ServerReused => Some(Value::Bool(s.link.reused)),
            Fact::RequestCookie => t.cookies[0].as_deref().map(Value::Str),
            Fact::ResponseCookie => t.cookies[1].as_deref().map(Value::Str),
            Fact::CurClientTimeout => self.timeout(
                t.overrides
                    .client
                    .or_else(|| self.front().timeout_client_ms),
            ),
            Fact::CurServerTimeout => {
                let of_backend = self.back().and_then(|b| b.timeout_server_ms);
                self.timeout(t.overrides.server.or(of_backend))
            }
            Fact::CurTunnelTimeout => {
                let of_backend = self.back().and_then(|b| b.timeout_tunnel_ms);
                self.timeout(t.overrides.tunnel.or(of_backend))
            }
            Fact::CurConnectTimeout => {
                let of_backend = self.back().and_then(|b| b.timeout_connect_ms);
                self.timeout(t.overrides.connect.or(of_backend))
            }
            Fact::CurQueueTimeout => {
                let of_backend = self.back().and_then(|b| b.timeout_queue_ms);
                self.timeout(t.overrides.queue.or(of_backend))
            }
            Fact::CurTarpitTimeout => self.timeout(t.overrides.tarpit),
            Fact::LastRuleFile => None,
            Fact::LastRuleLine => t.last_rule.map(|span| Value::Int(i64::from(span.line))),
            other => self.place().fact(other),
        }
    }
    fn var(&self, id: VarId) -> Option<Value<'_>> {
        if let Some(changed) = self.t.changes.var(id) {
            return changed;
        }
        let list = match id.scope {
            crate::lang::subject::Scope::Sess => &self.s.vars,
            crate::lang::subject::Scope::Proc => &self.local.vars,
            _ => &self.t.vars,
        };
        let found = list.iter().find(|(known, _)| *known == id)?;
        Some(found.1.borrow())
    }
    fn set_var(&self, id: VarId, value: Option<Value<'_>>) {
        let value = value.map(Value::to_owned);
        self.t.changes.push(Change::Var(id, value));
    }
    fn set_request_capture(&self, index: usize, text: &[u8]) -> bool {
        let slots = &self.s.front(self.local).request_captures;
        let Some(slot) = slots.get(index) else {
            return false;
        };
        let text = text[..text.len().min(slot.len as usize)].into();
        self.t.changes.push(Change::RequestCapture(index, text));
        true
    }
    fn set_response_capture(&self, index: usize, text: &[u8]) -> bool {
        let slots = &self.s.front(self.local).response_captures;
        let Some(slot) = slots.get(index) else {
            return false;
        };
        let text = text[..text.len().min(slot.len as usize)].into();
        self.t.changes.push(Change::ResponseCapture(index, text));
        true
    }
    fn backend_named(&self, name: &[u8]) -> Option<u32> {
        self.place().backend_named(name)
    }
    fn frontend_named(&self, name: &[u8]) -> Option<u32> {
        self.place().frontend_named(name)
    }
    fn server_named(&self, backend: Option<&[u8]>, name: &[u8]) -> Option<u32> {
        self.place().server_named(backend, name)
    }
    fn user(&self, list: u32, name: &[u8]) -> Option<Login<'_>> {
        let user = self.local.config.userlists[list as usize].user(name)?;
        Some(user.login())
    }
    fn password(&self, list: u32, user: &[u8], password: &[u8]) -> Option<bool> {
        let id = self.local.passwords.id(list, user, password);
        let known = self.local.passwords.known(id);
        if known.is_none() {
            *self.t.asked.borrow_mut() = Some(Job {
                list,
                user: user.into(),
                password: password.into(),
                id,
                session: self.s.key,
                shard: self.local.shard,
            });
        }
        known
    }
    fn request_capture(&self, index: usize) -> Option<&[u8]> {
        let changed = self.t.changes.capture(false, index);
        changed.or_else(|| self.t.captures[0].get(index)?.as_deref())
    }
    fn response_capture(&self, index: usize) -> Option<&[u8]> {
        let changed = self.t.changes.capture(true, index);
        changed.or_else(|| self.t.captures[1].get(index)?.as_deref())
    }
    fn captures(&self) -> (usize, usize) {
        if self.t.bad {
            return (0, 0);
        }
        let http = self.s.front(self.local);
        (http.request_captures.len(), http.response_captures.len())
    }
    fn original_request(&self) -> Option<(&[u8], &[u8], &[u8])> {
        let (line, (method, target)) = (&self.t.line, self.t.line_ends);
        (target > 0).then(|| {
            (
                &line[..method],
                &line[method + 1..target],
                &line[target + 1..],
            )
        })
    }
    fn log_count(&self, which: LogCount) -> u32 {
        let place = Place {
            server: self.t.last_server,
            ..self.place()
        };
        place.log_count(which, self.ended, self.s.server.is_some())
    }
}
