//! What expressions learn of a session's place whatever it speaks: the process, its bind, proxies and server.

use std::sync::atomic::Ordering::Relaxed;

use super::local::Local;
use crate::backend::server::is_usable;
use crate::config::{Backend, BackendId, BindId, Frontend, FrontendId, ProxyId, ServerId};
use crate::io::sys::localtime;
use crate::lang::sample::Value;
use crate::lang::subject::{Fact, LogCount, ProxyRef, ServerRef};

/// Where a session is. `server`: the one in hand, else the last one tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) local: &'a Local,
    pub(super) bind: BindId,
    pub(super) frontend: FrontendId,
    pub(super) backend: Option<BackendId>,
    pub(super) server: Option<ServerId>,
}

/// Milliseconds, 0 where there is no limit.
fn timeout<'a>(ms: Option<u32>) -> Option<Value<'a>> {
    Some(Value::Int(ms.map_or(0, i64::from)))
}

impl<'a> Place<'a> {
    /// A proxy that a sample names, if it is a backend.
    pub(super) fn backend_named(&self, name: &[u8]) -> ProxyRef {
        let mut proxies = self.local.config.proxies.iter();
        let at = proxies.position(|p| p.backend.is_some() && p.name.as_bytes() == name)?;
        u32::try_from(at).ok()
    }

    /// A proxy that a sample names, if it is a frontend.
    pub(super) fn frontend_named(&self, name: &[u8]) -> ProxyRef {
        let mut proxies = self.local.config.proxies.iter();
        let at = proxies.position(|p| p.frontend.is_some() && p.name.as_bytes() == name)?;
        u32::try_from(at).ok()
    }

    /// A server that a sample names: of the backend named, else of the one the session is in.
    pub(super) fn server_named(&self, backend: Option<&[u8]>, name: &[u8]) -> ServerRef {
        let config = &self.local.config;
        let backend = match backend {
            Some(name) => config.backends.iter().find(|b| b.name.as_bytes() == name)?,
            None => config.backend(self.backend?),
        };
        let mut ids = backend.servers.iter();
        let id = ids.find(|&&id| config.server(id).name.as_bytes() == name)?;
        Some(id.0)
    }

    /// The fact, if it is one of a place.
    pub(super) fn fact(&self, fact: Fact) -> Option<Value<'a>> {
        let local = self.local;
        let config = &local.config;
        let int = |n: i64| Some(Value::Int(n));
        match fact {
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
            Fact::LocalOffsetS(at) => int(i64::from(localtime::offset_s(at))),
            Fact::LogCounter => int(local
                .shared
                .sum(|shard| &shard.frontends[self.frontend.index()].lines)
                as i64),
            Fact::BindId => int(i64::from(config.bind(self.bind).luid)),
            Fact::BindName => config
                .bind(self.bind)
                .name
                .as_ref()
                .map(|n| Value::Str(n.as_bytes())),
            Fact::BindConn => int(local
                .shared
                .sum(|shard| &shard.listeners[self.bind.index()].current)
                as i64),
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
            Fact::FrontClientTimeout => timeout(self.front().timeout_client_ms),
            Fact::FrontTarpitTimeout => {
                timeout(config.proxy(self.front().proxy).http.timeout_tarpit_ms)
            }
            Fact::BackId => int(i64::from(match self.back() {
                Some(back) => config.proxy(back.proxy).iid,
                None => config.proxy(self.front().proxy).iid,
            })),
            Fact::BackName => Some(Value::Str(
                self.back()
                    .map_or_else(|| &self.front().name, |b| &b.name)
                    .as_bytes(),
            )),
            Fact::BackServerTimeout => timeout(self.back()?.timeout_server_ms),
            Fact::BackTunnelTimeout => timeout(self.back()?.timeout_tunnel_ms),
            Fact::BackConnectTimeout => timeout(self.back()?.timeout_connect_ms),
            Fact::BackQueueTimeout => timeout(self.back()?.timeout_queue_ms),
            Fact::BackTarpitTimeout => {
                timeout(config.proxy(self.back()?.proxy).http.timeout_tarpit_ms)
            }
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
            Fact::ServerName => {
                let id = self.server_of(None)?;
                Some(Value::Str(config.server(id).name.as_bytes()))
            }
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
            _ => None,
        }
    }

    /// A count for a log line. `left`: the session gave its places in backend and server back before its line.
    pub(super) fn log_count(&self, which: LogCount, left: bool, has_server: bool) -> u32 {
        let shared = &self.local.shared;
        let own = u32::from(left);
        match which {
            LogCount::Process => shared.process.connections.load(Relaxed),
            LogCount::Frontend => shared.frontend(self.frontend).connections.load(Relaxed),
            LogCount::Backend => self.backend.map_or(0, |b| {
                (self.backend_connections(b) as u32).saturating_sub(own)
            }),
            LogCount::Server => self.server.map_or(0, |id| {
                let taken = own * u32::from(has_server);
                shared.server_connections(id).saturating_sub(taken)
            }),
        }
    }

    fn front(&self) -> &'a Frontend {
        self.local.config.frontend(self.frontend)
    }
    fn back(&self) -> Option<&'a Backend> {
        self.backend.map(|b| self.local.config.backend(b))
    }
    fn front_of(&self, proxy: ProxyRef) -> Option<FrontendId> {
        match proxy {
            None => Some(self.frontend),
            Some(index) => self.local.config.proxy(ProxyId(index)).frontend,
        }
    }
    fn back_of(&self, proxy: ProxyRef) -> Option<BackendId> {
        match proxy {
            None => self.backend,
            Some(index) => self.local.config.proxy(ProxyId(index)).backend,
        }
    }
    fn server_of(&self, server: ServerRef) -> Option<ServerId> {
        match server {
            None => self.server,
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
        is_usable(self.local.shared.server(id))
    }
    /// Connections the server may still take; `None`: no limit.
    fn free(&self, id: ServerId) -> Option<i64> {
        let most = self.local.config.server(id).maxconn;
        let now = self.local.shared.server_connections(id);
        (most > 0).then(|| i64::from(most.saturating_sub(now)))
    }
    /// Connections and places in the queue left; `None`: one of them has no limit.
    fn slots(&self, id: ServerId) -> Option<i64> {
        let queue = i64::from(self.local.config.server(id).maxqueue);
        let waiting = i64::from(self.local.shared.server(id).queued.load(Relaxed));
        let free = self.free(id)?;
        (queue > 0).then(|| free + (queue - waiting).max(0))
    }
    fn back_fact(&self, fact: Fact, id: BackendId) -> i64 {
        let local = self.local;
        let servers = &local.config.backend(id).servers;
        match fact {
            Fact::BackConn(_) => self.backend_connections(id),
            Fact::BackConnFree(_) => {
                let up = servers.iter().filter(|s| self.is_up(**s));
                up.map(|s| self.free(*s)).sum::<Option<i64>>().unwrap_or(-1)
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
                up.map(|s| self.slots(*s))
                    .sum::<Option<i64>>()
                    .unwrap_or(-1)
            }
        }
    }
    fn server_fact(&self, fact: Fact, id: ServerId) -> Value<'a> {
        let shared = &self.local.shared;
        let cell = shared.server(id);
        Value::Int(match fact {
            Fact::ServerConn(_) => i64::from(shared.server_connections(id)),
            Fact::ServerConnFree(_) => self.free(id).unwrap_or(-1),
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
}
