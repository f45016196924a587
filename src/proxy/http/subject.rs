//! What expressions, conditions and log formats see of a transaction.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::base::tick::Tick;
use crate::config::ProxyId;
use crate::lang::sample::Value;
use crate::lang::subject::{Bytes, Fact, LogCount, ProxyRef, ServerRef, Subject};
use crate::observe::log::line::NO_SERVER;

/// A transaction as it stands. `ended`: seen by its log line, when its backend and server are left already.
pub(super) struct View<'a> {
    pub(super) local: &'a Local,
    pub(super) s: &'a Session,
    pub(super) t: &'a Txn,
    pub(super) ended: bool,
}

/// Milliseconds from one moment to another, -1 where the second never came.
fn between(from: Tick, to: Option<Tick>) -> i64 {
    to.map_or(-1, |to| to.since(from) as i64)
}

impl View<'_> {
    fn timeout(&self, ms: Option<u32>) -> Option<Value<'_>> {
        Some(Value::Int(ms.map_or(0, i64::from)))
    }
    fn front(&self) -> &crate::config::Frontend {
        self.local.config.frontend(self.s.frontend)
    }
    fn back(&self) -> Option<&crate::config::Backend> {
        self.s.backend.map(|b| self.local.config.backend(b))
    }
    fn front_of(&self, proxy: ProxyRef) -> Option<FrontendId> {
        match proxy {
            None => Some(self.s.frontend),
            Some(index) => self.local.config.proxy(ProxyId(index)).frontend,
        }
    }
    fn back_of(&self, proxy: ProxyRef) -> Option<BackendId> {
        match proxy {
            None => self.s.backend,
            Some(index) => self.local.config.proxy(ProxyId(index)).backend,
        }
    }
    fn server_of(&self, server: ServerRef) -> Option<ServerId> {
        match server {
            None => self.s.server.or(self.t.last_server),
            Some(index) => Some(ServerId(index)),
        }
    }
    fn backend_connections(&self, id: BackendId) -> i64 {
        self.local
            .shared
            .sum(|shard| &shard.backends[id.index()].current) as i64
    }
    /// Streams that wait in the backend's queue and in those of its servers.
    fn queued(&self, id: BackendId) -> i64 {
        let shared = &self.local.shared;
        let servers = &self.local.config.backend(id).servers;
        let of_servers: u32 = servers
            .iter()
            .map(|s| shared.server(*s).queued.load(Relaxed))
            .sum();
        i64::from(shared.backend(id).queued.load(Relaxed) + of_servers)
    }
    fn usable(&self, id: BackendId) -> i64 {
        let servers = &self.local.config.backend(id).servers;
        servers.iter().filter(|s| self.is_up(**s)).count() as i64
    }
    fn is_up(&self, id: ServerId) -> bool {
        crate::backend::server::is_usable(self.local.shared.server(id))
    }
    fn free(&self, id: ServerId) -> i64 {
        let most = self.local.config.server(id).maxconn;
        if most == 0 {
            return i64::from(u32::MAX);
        }
        i64::from(most.saturating_sub(self.local.shared.server_connections(id)))
    }
    fn back_fact(&self, fact: Fact, id: BackendId) -> i64 {
        let local = self.local;
        let servers = &local.config.backend(id).servers;
        match fact {
            Fact::BackConn(_) => self.backend_connections(id),
            Fact::BackConnFree(_) => {
                let up = servers.iter().filter(|s| self.is_up(**s));
                up.map(|s| self.free(*s)).sum()
            }
            Fact::BackSessRate(_) => local
                .shared
                .shards
                .iter()
                .map(|s| s.backends[id.index()].session_rate.rate(local.now) as i64)
                .sum(),
            Fact::BackQueue(_) => self.queued(id),
            Fact::BackAvgQueue(_) => {
                let up = self.usable(id);
                let queued = self.queued(id);
                if up > 0 {
                    (queued + up - 1) / up
                } else {
                    queued
                }
            }
            Fact::BackServers(_) => self.usable(id),
            _ => {
                let up = servers.iter().filter(|s| self.is_up(**s));
                let slots = up.map(|s| {
                    let queue = i64::from(local.config.server(*s).maxqueue);
                    let waiting = i64::from(local.shared.server(*s).queued.load(Relaxed));
                    self.free(*s) + (queue - waiting).max(0)
                });
                slots.sum()
            }
        }
    }
    fn server_fact(&self, fact: Fact, id: ServerId) -> Value<'_> {
        let shared = &self.local.shared;
        let cell = shared.server(id);
        Value::Int(match fact {
            Fact::ServerConn(_) => i64::from(shared.server_connections(id)),
            Fact::ServerConnFree(_) => self.free(id),
            Fact::ServerIsUp(_) => return Value::Bool(self.is_up(id)),
            Fact::ServerQueue(_) => i64::from(cell.queued.load(Relaxed)),
            Fact::ServerSessRate(_) => shared
                .shards
                .iter()
                .map(|s| s.servers[id.index()].session_rate.rate(self.local.now) as i64)
                .sum(),
            Fact::ServerInitialWeight(_) => i64::from(self.local.config.server(id).weight),
            _ => i64::from(cell.weight()),
        })
    }
    fn front_rate(&self, id: FrontendId, requests: bool) -> i64 {
        let shards = &self.local.shared.shards;
        let rates = shards.iter().map(|s| {
            let front = &s.frontends[id.index()];
            let counter = if requests {
                &front.request_rate
            } else {
                &front.session_rate
            };
            counter.rate(self.local.now) as i64
        });
        rates.sum()
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
    fn src(&self) -> Option<SocketAddr> {
        self.s.src
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.s.dst
    }
    fn client_ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.s.ends
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        let (local, s, t) = (self.local, self.s, self.t);
        let config = &local.config;
        let int = |n: i64| Some(Value::Int(n));
        match fact {
            Fact::NowUs => self.wall(local.now).into(),
            Fact::Random => int(i64::from(local.random())),
            Fact::Pid => int(i64::from(std::process::id())),
            Fact::NbThread => int(local.shared.shards.len() as i64),
            Fact::Thread => int(local.shard as i64),
            Fact::Hostname => Some(Value::Str(local.hostname.as_bytes())),
            Fact::Node => Some(Value::Str(
                config
                    .global
                    .node
                    .as_deref()
                    .unwrap_or(&local.hostname)
                    .as_bytes(),
            )),
            Fact::ActConn => int(i64::from(local.shared.process.connections.load(Relaxed))),
            Fact::UptimeS => int((local.now.0 / 1000) as i64),
            Fact::AcceptDateUs => self.wall(s.accepted).into(),
            Fact::RequestDateUs => self.wall(t.began).into(),
            Fact::LocalOffsetS(at) => int(i64::from(crate::io::sys::localtime::offset_s(at))),
            Fact::LogCounter => int(local
                .shared
                .sum(|shard| &shard.frontends[s.frontend.index()].lines)
                as i64),
            Fact::LogAsap => Some(Value::Bool(t.asap)),
            Fact::LogOrigin => Some(Value::Str(if t.bad { b"error" } else { b"txn_close" })),
            Fact::Applet => t.stats.then_some(Value::Str(b"<STATS>")),
            Fact::HandshakeMs => int(0),
            Fact::FirstRequest => Some(Value::Bool(s.requests <= 1)),
            Fact::BindId => int(i64::from(config.bind(s.bind).luid)),
            Fact::BindName => config
                .bind(s.bind)
                .name
                .as_ref()
                .map(|n| Value::Str(n.as_bytes())),
            Fact::BindConn => int(local
                .shared
                .sum(|shard| &shard.listeners[s.bind.index()].current)
                as i64),
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
            Fact::RequestHeadMs => int(between(t.began, t.head_at)),
            Fact::QueueMs => int(t.head_at.map_or(-1, |h| between(h, t.dequeued))),
            Fact::ConnectMs => int(t.dequeued.map_or(-1, |d| between(d, t.connected))),
            Fact::ResponseHeadMs => int(t.connected.map_or(-1, |c| between(c, t.responded))),
            Fact::ResponseDataMs => int(t.responded.map_or(-1, |r| local.now.since(r) as i64)),
            Fact::ActiveMs => int(local.now.since(t.began) as i64),
            Fact::TotalMs => int(if s.requests <= 1 {
                local.now.since(s.accepted) as i64
            } else {
                (local.now.since(t.began) + t.idle_ms) as i64
            }),
            Fact::UserMs => int((local.now.since(t.began) + t.idle_ms) as i64),
            Fact::ClientIn => int(t.client_in as i64),
            Fact::ClientOut => int(t.client_out as i64),
            Fact::ServerIn => int(t.server_in as i64),
            Fact::ServerOut => int(t.server_out as i64),
            Fact::Status if t.status == 0 && self.ended => int(-1),
            Fact::Status => (t.status > 0).then_some(Value::Int(i64::from(t.status))),
            Fact::ServerStatus => {
                (t.server_status > 0).then_some(Value::Int(i64::from(t.server_status)))
            }
            Fact::Retries => int(i64::from(t.retries)),
            Fact::Redispatched => Some(Value::Bool(t.redispatched)),
            Fact::TermState => Some(Value::Str(&t.term)),
            Fact::StreamId => int(i64::from(s.requests)),
            Fact::UniqueId => t.unique_id.as_deref().map(Value::Str),
            Fact::ServerQueuePos => int(i64::from(t.queue_position.server)),
            Fact::BackendQueuePos => int(i64::from(t.queue_position.backend)),
            Fact::ServerReused => Some(Value::Bool(s.link.reused)),
            Fact::RequestCookie => t.cookies[0].as_deref().map(Value::Str),
            Fact::ResponseCookie => t.cookies[1].as_deref().map(Value::Str),
            Fact::CurClientTimeout => {
                self.timeout(t.overrides.client.or(self.front().timeout_client_ms))
            }
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
            Fact::FrontId => int(i64::from(config.proxy(self.front().proxy).iid)),
            Fact::FrontName => Some(Value::Str(self.front().name.as_bytes())),
            Fact::FrontDefaultBackend => self
                .front()
                .default_backend
                .map(|b| Value::Str(config.backend(b).name.as_bytes())),
            Fact::FrontConn(proxy) => {
                let id = self.front_of(proxy)?;
                int(i64::from(
                    local.shared.frontend(id).connections.load(Relaxed),
                ))
            }
            Fact::FrontReqRate(proxy) => int(self.front_rate(self.front_of(proxy)?, true)),
            Fact::FrontSessRate(proxy) => int(self.front_rate(self.front_of(proxy)?, false)),
            Fact::FrontClientTimeout => self.timeout(self.front().timeout_client_ms),
            Fact::FrontTarpitTimeout => self.timeout(s.front(local).timeout_tarpit_ms),
            Fact::BackId => int(i64::from(match self.back() {
                Some(back) => config.proxy(back.proxy).iid,
                None => config.proxy(self.front().proxy).iid,
            })),
            Fact::BackName => Some(Value::Str(
                self.back()
                    .map_or(&self.front().name, |b| &b.name)
                    .as_bytes(),
            )),
            Fact::BackServerTimeout => self.timeout(self.back()?.timeout_server_ms),
            Fact::BackTunnelTimeout => self.timeout(self.back()?.timeout_tunnel_ms),
            Fact::BackConnectTimeout => self.timeout(self.back()?.timeout_connect_ms),
            Fact::BackQueueTimeout => self.timeout(self.back()?.timeout_queue_ms),
            Fact::BackTarpitTimeout => self.timeout(s.back(local)?.timeout_tarpit_ms),
            Fact::BackConn(proxy)
            | Fact::BackConnFree(proxy)
            | Fact::BackSessRate(proxy)
            | Fact::BackQueue(proxy)
            | Fact::BackAvgQueue(proxy)
            | Fact::BackServers(proxy)
            | Fact::BackSlots(proxy) => int(self.back_fact(fact, self.back_of(proxy)?)),
            Fact::ServerId => {
                let id = self.server_of(None)?;
                int(i64::from(config.server(id).puid))
            }
            Fact::ServerName => Some(Value::Str(match self.server_of(None) {
                Some(id) => config.server(id).name.as_bytes(),
                None => NO_SERVER.as_bytes(),
            })),
            Fact::ServerConn(server)
            | Fact::ServerConnFree(server)
            | Fact::ServerIsUp(server)
            | Fact::ServerQueue(server)
            | Fact::ServerSessRate(server)
            | Fact::ServerWeight(server)
            | Fact::ServerInitialWeight(server)
            | Fact::ServerUserWeight(server) => {
                Some(self.server_fact(fact, self.server_of(server)?))
            }
        }
    }
    fn var(&self, id: VarId) -> Option<Value<'_>> {
        let list = match id.scope {
            crate::lang::subject::Scope::Sess => &self.s.vars,
            crate::lang::subject::Scope::Proc => &self.local.vars,
            _ => &self.t.vars,
        };
        let found = list.iter().find(|(known, _)| *known == id)?;
        Some(found.1.borrow())
    }
    fn request_capture(&self, index: usize) -> Option<&[u8]> {
        self.t.captures[0].get(index)?.as_deref()
    }
    fn response_capture(&self, index: usize) -> Option<&[u8]> {
        self.t.captures[1].get(index)?.as_deref()
    }
    fn captures(&self) -> (usize, usize) {
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
        let (local, s) = (self.local, self.s);
        let own = u32::from(self.ended);
        match which {
            LogCount::Process => local.shared.process.connections.load(Relaxed),
            LogCount::Frontend => local.shared.frontend(s.frontend).connections.load(Relaxed),
            LogCount::Backend => s.backend.map_or(0, |b| {
                (self.backend_connections(b) as u32).saturating_sub(own)
            }),
            LogCount::Server => self.t.last_server.map_or(0, |id| {
                let taken = own * u32::from(s.server.is_some());
                local.shared.server_connections(id).saturating_sub(taken)
            }),
        }
    }
}
