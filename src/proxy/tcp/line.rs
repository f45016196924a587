//! What log formats and expressions see of a session, and the lines of formats other than `option tcplog`.

use std::sync::Arc;

use super::*;
use crate::config::Level;
use crate::io::op::Target;
use crate::lang::logformat::LogFormat as Format;
use crate::lang::sample::Value;
use crate::lang::subject::{Fact, LogCount, Subject, VarId};
use crate::observe::log::line;
use crate::proxy::place::Place;
use crate::shared::Shared;

/// A session when its line is written.
struct View<'a> {
    place: Place<'a>,
    relay: &'a Relay,
    record: &'a TcpRecord<'a>,
    /// See [`ends`].
    ends: [Option<SocketAddr>; 3],
    id: &'a [u8],
}

impl Subject for View<'_> {
    fn src(&self) -> Option<SocketAddr> {
        self.relay.peer
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.ends[0]
    }
    fn server_ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.ends[1], self.ends[2])
    }
    fn backend_named(&self, name: &[u8]) -> Option<u32> {
        self.place.backend_named(name)
    }
    fn frontend_named(&self, name: &[u8]) -> Option<u32> {
        self.place.frontend_named(name)
    }
    fn server_named(&self, backend: Option<&[u8]>, name: &[u8]) -> Option<u32> {
        self.place.server_named(backend, name)
    }
    fn var(&self, id: VarId) -> Option<Value<'_>> {
        let mut vars = self.relay.held.as_ref()?.vars.iter();
        vars.find(|(known, _)| *known == id)
            .map(|(_, v)| v.borrow())
    }
    fn request_capture(&self, index: usize) -> Option<&[u8]> {
        self.relay.held.as_ref()?.captures[0].get(index)?.as_deref()
    }
    fn response_capture(&self, index: usize) -> Option<&[u8]> {
        self.relay.held.as_ref()?.captures[1].get(index)?.as_deref()
    }
    fn captures(&self) -> (usize, usize) {
        let config = &self.place.local.config;
        let frontend = config.frontend(self.place.frontend);
        let http = &config.proxy(frontend.proxy).http;
        (http.request_captures.len(), http.response_captures.len())
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        let (relay, record) = (self.relay, self.record);
        let now = self.place.local.now;
        let int = |n: i64| Some(Value::Int(n));
        match fact {
            Fact::AcceptDateUs | Fact::RequestDateUs => int(record.accepted_us as i64),
            Fact::NowUs => int(self.place.local.shared.wall_us(now) as i64),
            Fact::HandshakeMs | Fact::IdleMs => int(0),
            Fact::QueueMs => int(record.queue_ms),
            Fact::ConnectMs => int(record.connect_ms),
            Fact::ResponseDataMs => {
                int(relay.connected.map_or(-1, |at| now.since(at.tick()) as i64))
            }
            Fact::ActiveMs | Fact::TotalMs | Fact::UserMs => int(record.total_ms),
            Fact::ClientIn | Fact::ServerOut => int(relay.up.bytes as i64),
            Fact::ClientOut | Fact::ServerIn => int(record.bytes as i64),
            Fact::Status => int(0),
            Fact::Retries => int(record.retries.into()),
            Fact::Redispatched => Some(Value::Bool(record.redispatched)),
            Fact::StreamId => int(relay.number as i64),
            Fact::TermState => Some(Value::Str(&record.termination)),
            Fact::ServerQueuePos => int(record.server_queue.into()),
            Fact::BackendQueuePos => int(record.backend_queue.into()),
            Fact::UniqueId => (!self.id.is_empty()).then_some(Value::Str(self.id)),
            // Its places are given back before its line is written.
            Fact::BackConn(None) => int(record.backend_connections.into()),
            Fact::ServerConn(None) => int(record.server_connections.into()),
            Fact::LogAsap => Some(Value::Bool(record.asap)),
            Fact::LogOrigin => Some(Value::Str(if record.asap {
                b"txn_connect"
            } else {
                b"txn_close"
            })),
            other => self.place.fact(other),
        }
    }
    fn log_count(&self, which: LogCount) -> u32 {
        match which {
            LogCount::Process => self.record.process_connections,
            LogCount::Frontend => self.record.frontend_connections,
            LogCount::Backend => self.record.backend_connections,
            LogCount::Server => self.record.server_connections,
        }
    }
}

/// Writes the line that `format` gives for a session that ended so, or goes on (`asap`).
pub(super) fn write(
    local: &mut Local,
    io: &mut dyn Io,
    key: Key,
    format: &Format,
    level: Level,
    (termination, asap): ([u8; 2], bool),
) {
    let config = Arc::clone(&local.config);
    let relay = local.relays.get(key).expect("driven while alive");
    let frontend = config.frontend(relay.frontend);
    let http = &config.proxy(frontend.proxy).http;
    let ends = ends(&local.shared, relay, io);
    let arena = std::mem::take(&mut local.arena);
    let mut clock = local.clock.take();
    let mut message = std::mem::take(&mut local.scratch);
    message.clear();
    let relay = local.relays.get(key).expect("driven while alive");
    let shared = &local.shared;
    let record = record(shared, &config, relay, local.now, termination, asap);
    let mut view = View {
        place: Place {
            local,
            bind: relay.bind,
            frontend: relay.frontend,
            backend: relay.backend,
            server: relay.last_server,
        },
        relay,
        record: &record,
        ends,
        id: b"",
    };
    let mut id = Vec::new();
    if let Some(format) = &http.unique_id_format {
        format.render(&view, &arena, &mut id);
        view.id = &id;
    }
    let structured = http.log_format_sd.as_deref();
    let from = clock.as_mut().map_or(0, |clock| {
        line::stream(&mut message, format, structured, &view, &arena, clock)
    });
    let wall = local.shared.wall_us(local.now);
    let lines = &local.cells().frontends[relay.frontend.index()].lines;
    lines.inc();
    local.clock = clock;
    let (structured, text) = message.split_at(from);
    let tag = frontend.log_tag.as_deref();
    let logs = &mut local.logs;
    logs.push_structured(&frontend.log, level, tag, wall, structured, text);
    local.scratch = message;
    local.give_arena(arena);
}

/// Where the client connected to, where the connection to the server comes from, and where it goes.
fn ends(shared: &Shared, relay: &Relay, io: &mut dyn Io) -> [Option<SocketAddr>; 3] {
    let local = relay.local.or_else(|| io.local_address(relay.client));
    let from = relay.server_sock.and_then(|sock| io.local_address(sock));
    let to = relay.last_server.and_then(|server| {
        let ends = Ends {
            local,
            ..relay.ends()
        };
        match connect::to_server(shared, server, ends)?.to {
            Target::Ip(to) => Some(to),
            _ => None,
        }
    });
    [local, from, to]
}
