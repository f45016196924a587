//! The end of a transaction: log line, counters, the server's connection, and what becomes of the client's.

use super::exchange::server_keeps;
use super::subject::View;
use super::*;
use crate::backend::persist;
use crate::config::{Level, LogFormat};
use crate::observe::log::line::{self, Peer};
use crate::observe::log::sink::{SetLevel, StreamEnd};
use crate::proto::h1::Body;
use crate::proxy::outcome::letters;
use crate::proxy::tcp::slide;
use crate::proxy::trace::Event;
use crate::shared::Lap;

impl Session {
    /// How far the exchange has come, for the log.
    pub(super) fn reached(&self, t: &Txn) -> StageReached {
        match self.stage {
            Stage::Header | Stage::Idle | Stage::Request | Stage::Rules | Stage::Body => {
                StageReached::Request
            }
            Stage::Pause | Stage::Password => StageReached::Request,
            Stage::Tarpit => StageReached::Tarpit,
            Stage::Queue => StageReached::Queue,
            Stage::Borrow | Stage::Connect | Stage::Retry => StageReached::Connect,
            Stage::Exchange if t.head_sent => StageReached::Data,
            Stage::Exchange if t.up.state != Move::Done => StageReached::Data,
            Stage::Exchange => StageReached::Headers,
            Stage::Answer | Stage::Linger => StageReached::Last,
        }
    }

    /// Both directions are through, or an answer of ours is.
    pub(super) fn complete(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let (cause, reached) = t.cause.unwrap_or((Cause::Normal, StageReached::End));
        let keep = t.keep && !self.eof && t.up.ended;
        self.settle_server(t, local, io);
        self.end(t, local, cause, reached);
        if keep {
            self.again(t, local, io);
            return;
        }
        let unread = !t.up.ended || self.carry.is_some();
        if self.eof || !unread {
            self.over = true;
            return;
        }
        // Closing with unread bytes would reset the connection under our last words.
        if let Some(buf) = self.carry.take() {
            io.give_buf(buf);
        }
        io.push(Op::ShutdownWrite { sock: self.client });
        self.enter(Stage::Linger, local.now);
        self.read_client(io);
    }

    /// The next request on the same connection.
    fn again(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        self.enter(Stage::Idle, local.now);
        t.renew();
        (self.src, self.dst) = self.ends;
        match self.carry.take() {
            Some(buf) => {
                t.any = true;
                self.take_request(t, local, io, buf);
            }
            None => self.read_client(io),
        }
    }

    /// Whether the server's connection may serve another request, and where it waits for it.
    fn settle_server(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let Some(sock) = self.server_sock else { return };
        let whole = t.answer.keep_alive
            && t.head_sent
            && t.down.ended
            && t.up.state == Move::Done
            && t.down.excess.is_none()
            && !t.framing.insecure
            && t.answer.body != Body::Tunnel;
        let front = self.front(local);
        let wanted = self
            .back(local)
            .is_some_and(|back| server_keeps(front, back));
        if whole && wanted && self.park(local, io, sock) {
            self.server_sock = None;
            self.server_reading = false;
            self.link = Link::default();
        } else {
            self.drop_server(io, false);
        }
    }

    /// Logs and counts the transaction and leaves its backend. Called once each.
    pub(super) fn end(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        cause: Cause,
        reached: StageReached,
    ) {
        t.cause = Some((cause, reached));
        self.flush_bytes(t, local);
        if let Some(ticket) = self.ticket {
            self.add_position(t, &local.shared, ticket);
        }
        self.count_end(t, local);
        self.log(t, local);
        if let Some(trace) = &local.trace {
            let state = [letters(cause, reached), t.letters].concat();
            trace.push(Event::End {
                state: String::from_utf8_lossy(&state).into_owned(),
                status: t.status,
            });
        }
        self.last_server = t.last_server.or(self.last_server);
        self.leave_backend(t, local);
    }

    pub(super) fn leave_queue(&mut self, t: &mut Txn, local: &mut Local) {
        if let Some(ticket) = self.ticket.take() {
            self.add_position(t, &local.shared, ticket);
            local.waits.leave(&local.shared, ticket);
        }
    }

    pub(super) fn kill(&mut self, t: &mut Txn, local: &mut Local, cause: Cause) {
        let reached = match cause {
            // As haproxy: these say nothing of where.
            Cause::Down | Cause::Up => StageReached::End,
            _ => self.reached(t),
        };
        if !matches!(self.stage, Stage::Idle | Stage::Header | Stage::Linger) {
            self.end(t, local, cause, reached);
        }
        self.over = true;
    }

    // ------------------------------------------------------------ counters

    /// What the server said, whatever becomes of it.
    pub(super) fn count_server_status(&self, t: &Txn, local: &Local) {
        if let Some(server) = self.server {
            let class = class_of(t.server_status);
            local.cells().servers[server.index()].responses[class].inc();
        }
    }

    pub(super) fn count_response_error(&self, local: &Local) {
        let cells = local.cells();
        if let Some(backend) = self.backend {
            cells.backends[backend.index()].response_errors.inc();
        }
        if let Some(server) = self.server {
            cells.servers[server.index()].response_errors.inc();
        }
    }

    pub(super) fn count_denied_response(&self, local: &Local) {
        let cells = local.cells();
        cells.frontends[self.frontend.index()]
            .denied_responses
            .inc();
        cells.listeners[self.bind.index()].denied_responses.inc();
        if let Some(backend) = self.backend {
            cells.backends[backend.index()].denied_responses.inc();
        }
        if let Some(server) = self.server {
            cells.servers[server.index()].denied_responses.inc();
        }
    }

    pub(super) fn count_client_abort(&self, _t: &Txn, local: &Local) {
        let cells = local.cells();
        if let Some(backend) = self.backend {
            cells.backends[backend.index()].client_aborts.inc();
        }
        if let Some(server) = self.server {
            cells.servers[server.index()].client_aborts.inc();
        }
    }

    pub(super) fn count_server_abort(&self, local: &Local) {
        let cells = local.cells();
        if let Some(backend) = self.backend {
            cells.backends[backend.index()].server_aborts.inc();
        }
        if let Some(server) = self.server {
            cells.servers[server.index()].server_aborts.inc();
        }
    }

    pub(super) fn count_response_time(&self, t: &Txn, local: &Local) {
        let from = t.connected.unwrap_or(local.moment);
        let ms = local.now.since(from.tick());
        let us = local.moment.since_us(from);
        let cells = local.cells();
        let front = &cells.frontends[self.frontend.index()];
        front.latency.record(Lap::Response, us);
        if let Some(backend) = self.backend {
            let cell = &cells.backends[backend.index()];
            slide(&cell.response_time, ms);
            cell.response_time_max.raise(ms);
            cell.latency.record(Lap::Response, us);
        }
        if let Some(server) = self.server {
            let cell = &cells.servers[server.index()];
            slide(&cell.response_time, ms);
            cell.response_time_max.raise(ms);
            cell.latency.record(Lap::Response, us);
        }
    }

    /// Status and times. The status is the one that is logged; so the counts of both agree, also where no answer
    /// was sent or could be.
    fn count_end(&self, t: &Txn, local: &Local) {
        let ms = local.now.since(t.began.tick());
        let us = local.moment.since_us(t.began);
        let class = class_of(t.status);
        let cells = local.cells();
        let front = &cells.frontends[self.frontend.index()];
        front.responses[class].inc();
        front.latency.record(Lap::Total, us);
        if let Some(backend) = self.backend {
            let cell = &cells.backends[backend.index()];
            cell.responses[class].inc();
            cell.requests.inc();
            slide(&cell.total_time, ms);
            cell.total_time_max.raise(ms);
            cell.latency.record(Lap::Total, us);
        }
        if let Some(server) = self.server {
            let cell = &cells.servers[server.index()];
            slide(&cell.total_time, ms);
            cell.total_time_max.raise(ms);
            cell.latency.record(Lap::Total, us);
        }
    }

    /// Brings the byte counters up to date.
    pub(super) fn flush_bytes(&self, t: &mut Txn, local: &Local) {
        let now = [t.client_in(), t.client_out()];
        let [client_in, client_out]: [u64; 2] =
            std::array::from_fn(|i| now[i].saturating_sub(t.counted[i]));
        t.counted = now;
        let cells = local.cells();
        let front = &cells.frontends[self.frontend.index()];
        front.bytes_in.add(client_in);
        front.bytes_out.add(client_out);
        let bind = &cells.listeners[self.bind.index()];
        bind.bytes_in.add(client_in);
        bind.bytes_out.add(client_out);
        if let Some(backend) = self.backend {
            let cell = &cells.backends[backend.index()];
            cell.bytes_in.add(client_in);
            cell.bytes_out.add(client_out);
        }
        if let Some(server) = self.server.or(t.last_server) {
            let cell = &cells.servers[server.index()];
            cell.bytes_in.add(client_in);
            cell.bytes_out.add(client_out);
        }
    }

    // ------------------------------------------------------------ logs

    /// The line of a proxy without log options, written when the connection comes in.
    pub(super) fn log_connect(&self, local: &mut Local, io: &mut dyn Io) {
        let config = std::sync::Arc::clone(&local.config);
        let frontend = config.frontend(self.frontend);
        let default =
            self.front(local).log_format.is_none() && frontend.log_format == LogFormat::Connect;
        if frontend.log.is_empty() || !default {
            return;
        }
        let unix = Peer::Unix {
            bind: config.bind(self.bind).luid,
        };
        let to = self.dst.or_else(|| io.local_address(self.client));
        let from = self.src.map_or(unix, Peer::Ip);
        let to = to.map_or(unix, Peer::Ip);
        let wall = local.shared.wall_us(local.now);
        let name = &config.proxy(frontend.proxy).name;
        local.logs.connect(
            &frontend.log,
            frontend.log_tag.as_deref(),
            wall,
            (from, to),
            name,
            frontend.mode,
        );
    }

    /// `option logasap`: the line is written with the response's head.
    pub(super) fn log_asap(&mut self, t: &mut Txn, local: &mut Local) {
        if local.config.frontend(self.frontend).logasap {
            t.asap = true;
            self.log(t, local);
        }
    }

    /// The transaction's line, once.
    pub(super) fn log(&mut self, t: &mut Txn, local: &mut Local) {
        if std::mem::replace(&mut t.logged, true) {
            return;
        }
        let (cause, reached) = t.cause.unwrap_or((Cause::Normal, StageReached::End));
        let two = letters(cause, reached);
        // Where a cookie could have been, there was none.
        let cookie = self
            .back(local)
            .unwrap_or_else(|| self.front(local))
            .cookie
            .as_ref();
        if t.letters == *b"--" && !t.bad && cookie.is_some_and(persist::is_tracked) {
            t.letters = *b"NN";
        }
        t.term = [two[0], two[1], t.letters[0], t.letters[1]];
        let config = std::sync::Arc::clone(&local.config);
        let frontend = config.frontend(self.frontend);
        let http = &config.proxy(frontend.proxy).http;
        // A request that was never whole is an error of the connection.
        let format = match (&http.error_log_format, &http.log_format) {
            (Some(errors), _) if t.bad => errors,
            (_, Some(format)) => format,
            (_, None) => return,
        };
        if frontend.log.is_empty() {
            return;
        }
        let end = StreamEnd {
            cause: t.term[0],
            status: t.status.into(),
            retries: t.retries,
            redispatched: t.redispatched,
            nothing_received: t.bad && !t.any,
            set_level: match t.log_level {
                LogLevel::Silent => SetLevel::Silent,
                LogLevel::Level(n) => SetLevel::To(level_of(n)),
                _ => SetLevel::Unset,
            },
            dontlog_null: frontend.dontlognull,
            dontlog_normal: frontend.dontlog_normal,
            separate_errors: frontend.log_separate_errors,
        };
        let Some(level) = end.level() else {
            return;
        };
        let wall = local.shared.wall_us(local.now);
        let arena = std::mem::take(&mut local.arena);
        let mut clock = local.clock.take();
        let mut message = std::mem::take(&mut local.scratch);
        message.clear();
        let view = View {
            local,
            s: self,
            t,
            ended: !t.asap,
        };
        let structured = http.log_format_sd.as_deref();
        let from = clock.as_mut().map_or(0, |clock| {
            line::stream(&mut message, format, structured, &view, &arena, clock)
        });
        local.clock = clock;
        let tag = frontend.log_tag.as_deref();
        local.cells().frontends[self.frontend.index()].lines.inc();
        let (structured, text) = message.split_at(from);
        let logs = &mut local.logs;
        logs.push_structured(&frontend.log, level, tag, wall, structured, text);
        local.scratch = message;
        local.give_arena(arena);
    }
}

/// Index of a status among `responses`: its hundred, or 0 for none of the five and for no status at all.
fn class_of(status: u16) -> usize {
    match status / 100 {
        class @ 1..=5 => usize::from(class),
        _ => 0,
    }
}

/// Syslog's level by its number, 0 (emerg) to 7 (debug).
fn level_of(number: u8) -> Level {
    const LEVELS: [Level; 8] = [
        Level::Emerg,
        Level::Alert,
        Level::Crit,
        Level::Err,
        Level::Warning,
        Level::Notice,
        Level::Info,
        Level::Debug,
    ];
    LEVELS[usize::from(number.min(7))]
}
