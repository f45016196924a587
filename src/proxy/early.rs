//! The line of a connection that failed before it became a session: `error-log-format`, else haproxy's own
//! (configuration.txt 8.2.5).

use std::net::SocketAddr;
use std::sync::Arc;

use super::local::Local;
use super::place::Place;
use crate::base::tick::Tick;
use crate::config::{BindId, Level, LogFormat};
use crate::lang::sample::Value;
use crate::lang::subject::{Fact, LogCount, Subject};
use crate::observe::log::line::{self, Peer};

/// Such a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed<'a> {
    pub(super) bind: BindId,
    pub(super) src: Option<SocketAddr>,
    pub(super) dst: Option<SocketAddr>,
    pub(super) accepted: Tick,
    /// Nothing came from the client.
    pub(super) nothing: bool,
    /// What went wrong.
    pub(super) text: &'a str,
}

struct View<'a> {
    place: Place<'a>,
    failed: &'a Failed<'a>,
}

impl Subject for View<'_> {
    fn src(&self) -> Option<SocketAddr> {
        self.failed.src
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.failed.dst
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        let local = self.place.local;
        let wall = |at| Some(Value::Int(local.shared.wall_us(at) as i64));
        match fact {
            Fact::NowUs => wall(local.now),
            Fact::AcceptDateUs | Fact::RequestDateUs => wall(self.failed.accepted),
            Fact::ActiveMs | Fact::TotalMs | Fact::UserMs => {
                Some(Value::Int((local.now - self.failed.accepted) as i64))
            }
            Fact::TermState => Some(Value::Str(b"PR--")),
            Fact::LogOrigin => Some(Value::Str(b"sess_error")),
            other => self.place.fact(other),
        }
    }
    fn log_count(&self, which: LogCount) -> u32 {
        self.place.log_count(which, false, false)
    }
}

/// Writes the line of `failed` if its frontend wants one: with any log format, and with `option dontlognull` only if
/// the client said something.
pub(super) fn log(local: &mut Local, failed: &Failed<'_>) {
    let config = Arc::clone(&local.config);
    let bind = config.bind(failed.bind);
    let frontend = config.frontend(bind.frontend);
    let format = &config.proxy(frontend.proxy).http.error_log_format;
    let wanted = format.is_some() || frontend.log_format != LogFormat::Connect;
    if !wanted || frontend.log.is_empty() || frontend.dontlognull && failed.nothing {
        return;
    }
    let wall = local.shared.wall_us(local.now);
    let Some(format) = format else {
        let from = failed.src.map_or(Peer::Unix { bind: bind.luid }, Peer::Ip);
        let number = bind.luid.to_string();
        let to = bind.name.as_deref().unwrap_or(&number);
        let logs = &mut local.logs;
        logs.connection_error(frontend, from, to, wall, failed.text);
        return;
    };
    let level = match frontend.log_separate_errors {
        true => Level::Err,
        false => Level::Info,
    };
    let arena = std::mem::take(&mut local.arena);
    let mut clock = local.clock.take();
    let mut message = std::mem::take(&mut local.scratch);
    message.clear();
    let view = View {
        place: Place {
            local,
            bind: failed.bind,
            frontend: bind.frontend,
            backend: None,
            server: None,
        },
        failed,
    };
    if let Some(clock) = &mut clock {
        line::stream(&mut message, format, None, &view, &arena, clock);
    }
    local.clock = clock;
    let lines = &local.cells().frontends[bind.frontend.index()].lines;
    lines.inc();
    let tag = frontend.log_tag.as_deref();
    let logs = &mut local.logs;
    logs.push(&frontend.log, level, tag, wall, &message);
    local.scratch = message;
    local.give_arena(arena);
}
