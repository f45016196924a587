//! One row of `show stat`: a frontend, a listener, a server or a backend, its values taken from the
//! shared counters at one moment. Which columns a kind of row fills follows haproxy's.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

use super::View;
use super::columns::{COLUMNS, Col, FIRST_MODULE, FIRST_OWN, SSL_MODULE};
use super::value::{Tags, Value};
use crate::backend::{agent, server};
use crate::config::{
    BackendId, Balance, BindAddress, BindId, FrontendId, KeyKind, Mode, ProxyId, Server,
    ServerAddress, ServerId, ServerPort,
};
use crate::proto::check::Status;
use crate::shared::counters::Counter;
use crate::shared::server_cell::{LastCheck, OpState, ServerCell, admin};
use crate::shared::state::ShardShared;
use crate::shared::{
    BackendCounters, Door, FreqCounter, FrontendCounters, ListenerCounters, Phase, ServerCounters,
};

/// What a row is about; the number is its `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Frontend = 0,
    Backend = 1,
    Server = 2,
    Listener = 3,
}

impl Kind {
    /// Letter of the typed form.
    pub fn letter(self) -> char {
        match self {
            Self::Frontend => 'F',
            Self::Backend => 'B',
            Self::Server => 'S',
            Self::Listener => 'L',
        }
    }

    /// `objType` of the JSON form.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frontend => "Frontend",
            Self::Backend => "Backend",
            Self::Server => "Server",
            Self::Listener => "Listener",
        }
    }

    /// Its bit in the type argument of `show stat <proxy> <type> <sid>`.
    pub fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Values of one row, by [`Col`].
#[derive(Clone, Debug)]
pub struct Row<'a> {
    pub kind: Kind,
    pub iid: u32,
    /// 0 but for listeners and servers.
    pub sid: u32,
    pub values: Vec<Value<'a>>,
}

impl<'a> Row<'a> {
    fn new(
        kind: Kind,
        view: &View<'a>,
        proxy: ProxyId,
        sid: u32,
        name: impl Into<Cow<'a, str>>,
    ) -> Self {
        let proxy = view.shared.config.proxy(proxy);
        let mut row = Self {
            kind,
            iid: proxy.iid,
            sid,
            values: vec![Value::Empty; COLUMNS.len()],
        };
        row.set(Col::PxName, Value::text(proxy.name.as_str()));
        row.set(Col::SvName, Value::text(name));
        row.set(Col::Pid, Value::U32(1));
        row.set(Col::Iid, Value::U32(proxy.iid));
        row.set(Col::Sid, Value::U32(sid));
        row.set(Col::Type, Value::U32(kind as u32));
        row.set(Col::Mode, Value::text(mode_name(proxy.mode)));
        row.set(Col::EInt, Value::U64(0));
        row.set(Col::WRew, Value::U64(0));
        for module in SSL_MODULE {
            row.values[module] = Value::U64(0);
        }
        if matches!(kind, Kind::Frontend | Kind::Backend) {
            for module in SSL_MODULE.end..FIRST_OWN {
                row.values[module] = Value::U64(0);
            }
        }
        row
    }

    pub fn set(&mut self, column: Col, value: Value<'a>) {
        self.values[column as usize] = value;
    }

    fn set_all<const N: usize>(&mut self, counts: [(Col, u64); N]) {
        for (column, count) in counts {
            self.set(column, Value::U64(count));
        }
    }

    /// Tags of a column in this kind of row: four differ from the column's own.
    pub fn tags(&self, column: usize) -> Tags {
        let own = COLUMNS[column].tags;
        let differs = [Col::Act, Col::Bck, Col::Rate, Col::RateMax]
            .iter()
            .any(|&c| c as usize == column);
        if self.kind == Kind::Backend && differs {
            Tags(*b"MGP")
        } else {
            own
        }
    }

    /// Position in the typed and JSON forms, and name.
    pub fn fields(&self) -> impl Iterator<Item = (usize, &'static str, Tags, &Value<'a>)> {
        let filled = self
            .values
            .iter()
            .enumerate()
            .filter(|(_, value)| !value.is_empty());
        filled.map(|(at, value)| (at, COLUMNS[at].name, self.tags(at), value))
    }

    /// The CSV line without its line feed; `-` before the modules, a comma at the end.
    pub fn push_csv(&self, out: &mut Vec<u8>) {
        for (at, value) in self.values.iter().enumerate() {
            if at == FIRST_MODULE {
                out.extend_from_slice(b"-,");
            }
            value.push_csv(out);
            out.push(b',');
        }
    }

    /// Answers by class (0: none of haproxy's five); their number.
    fn set_responses(&mut self, of: impl Fn(usize) -> u64) -> u64 {
        let columns = [
            Col::HrspOther,
            Col::Hrsp1xx,
            Col::Hrsp2xx,
            Col::Hrsp3xx,
            Col::Hrsp4xx,
            Col::Hrsp5xx,
        ];
        let mut all = 0;
        for (class, column) in columns.into_iter().enumerate() {
            let count = of(class);
            self.set(column, Value::U64(count));
            all += count;
        }
        all
    }

    fn set_bytes(&mut self, bytes_in: u64, bytes_out: u64) {
        // A relay sends on what it receives, so each direction has one count for both of its ends.
        self.set_all([
            (Col::BIn, bytes_in),
            (Col::BOut, bytes_out),
            (Col::ReqBIn, bytes_in),
            (Col::ReqBOut, bytes_in),
            (Col::ResBIn, bytes_out),
            (Col::ResBOut, bytes_out),
        ]);
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Tcp => "tcp",
        Mode::Http => "http",
    }
}

/// The row of a frontend.
pub fn frontend<'a>(view: &View<'a>, id: FrontendId) -> Row<'a> {
    let shared = view.shared;
    let (config, state) = (shared.config.frontend(id), shared.frontend(id));
    let sum = |of: fn(&FrontendCounters) -> &Counter| shared.sum(|s| of(&s.frontends[id.index()]));
    let rate =
        |of: fn(&FrontendCounters) -> &FreqCounter| rate(view, |s| of(&s.frontends[id.index()]));
    let (sessions, requests) = (sum(|c| &c.sessions), sum(|c| &c.requests));
    let http = config.mode == Mode::Http;
    let mut row = Row::new(Kind::Frontend, view, config.proxy, 0, "FRONTEND");
    row.set(Col::SCur, Value::U32(state.connections.load(Relaxed)));
    row.set(Col::SMax, Value::U32(state.connections_max.load(Relaxed)));
    let own = state.maxconn.load(Relaxed);
    row.set(
        Col::SLim,
        Value::U32(if own > 0 {
            own
        } else {
            shared.process.maxconn.load(Relaxed)
        }),
    );
    row.set_all([
        (Col::STot, sessions),
        (Col::DReq, sum(|c| &c.denied_requests)),
        (Col::DResp, sum(|c| &c.denied_responses)),
        (Col::EReq, sum(|c| &c.request_errors)),
        (Col::ReqTot, requests),
        (Col::CompIn, 0),
        (Col::CompOut, 0),
        (Col::CompByp, 0),
        (Col::CompRsp, 0),
        (Col::ConnTot, sum(|c| &c.connections)),
        (Col::DCon, sum(|c| &c.denied_connections)),
        (Col::DSes, sum(|c| &c.denied_sessions)),
        (Col::SessOther, if http { 0 } else { sessions }),
        (Col::H1Sess, if http { sessions } else { 0 }),
        (Col::H2Sess, 0),
        (Col::H3Sess, 0),
        (Col::ReqOther, 0),
        (Col::H1Req, requests),
        (Col::H2Req, 0),
        (Col::H3Req, 0),
    ]);
    row.set_bytes(sum(|c| &c.bytes_in), sum(|c| &c.bytes_out));
    row.set(
        Col::Status,
        Value::text(frontend_status(shared.phase(), state.door())),
    );
    let session_rate = rate(|c| &c.session_rate);
    let connection_rate = rate(|c| &c.connection_rate);
    row.set(Col::Rate, Value::small(session_rate));
    row.set(Col::RateLim, Value::U32(config.rate_limit_sessions));
    row.set(
        Col::RateMax,
        Value::small(state.session_rate_max.load(Relaxed)),
    );
    row.set(Col::ConnRate, Value::small(connection_rate));
    row.set(
        Col::ConnRateMax,
        Value::small(state.connection_rate_max.load(Relaxed)),
    );
    row.set(Col::ReqRate, Value::small(rate(|c| &c.request_rate)));
    row.set(
        Col::ReqRateMax,
        Value::small(state.request_rate_max.load(Relaxed)),
    );
    if http {
        row.set_responses(|class| shared.sum(|s| &s.frontends[id.index()].responses[class]));
        row.set_all([
            (Col::Intercepted, sum(|c| &c.intercepted)),
            (Col::CacheLookups, 0),
            (Col::CacheHits, 0),
            (
                Col::H1OpenConnections,
                state.connections.load(Relaxed).into(),
            ),
            (Col::H1TotalConnections, sum(|c| &c.connections)),
            (Col::H1TotalStreams, requests),
            (Col::H1BytesIn, sum(|c| &c.bytes_in)),
            (Col::H1BytesOut, sum(|c| &c.bytes_out)),
        ]);
    }
    row
}

fn frontend_status(phase: Phase, door: Door) -> &'static str {
    match (phase, door) {
        (Phase::SoftStop | Phase::Stop, _) | (_, Door::Shut) => "STOP",
        (Phase::Paused, _) | (_, Door::Paused) => "PAUSED",
        (Phase::Running, Door::Open) => "OPEN",
    }
}

/// The row of one bind, under `option socket-stats`.
pub fn listener<'a>(view: &View<'a>, id: BindId) -> Row<'a> {
    let shared = view.shared;
    let bind = shared.config.bind(id);
    let sum = |of: fn(&ListenerCounters) -> &Counter| shared.sum(|s| of(&s.listeners[id.index()]));
    let name: Cow<'a, str> = match &bind.name {
        Some(name) => name.as_str().into(),
        None => format!("sock-{}", bind.luid).into(),
    };
    let mut row = Row::new(
        Kind::Listener,
        view,
        shared.config.frontend(bind.frontend).proxy,
        bind.luid,
        name,
    );
    row.set(Col::SCur, Value::small(sum(|c| &c.current)));
    row.set(Col::SMax, Value::small(sum(|c| &c.current_max)));
    row.set(Col::SLim, Value::U32(bind.maxconn));
    row.set_all([
        (Col::STot, sum(|c| &c.sessions)),
        (Col::DReq, sum(|c| &c.denied_requests)),
        (Col::DResp, sum(|c| &c.denied_responses)),
        (Col::EReq, sum(|c| &c.request_errors)),
        (Col::DCon, sum(|c| &c.denied_connections)),
        (Col::DSes, sum(|c| &c.denied_sessions)),
    ]);
    row.set_bytes(sum(|c| &c.bytes_in), sum(|c| &c.bytes_out));
    row.set(
        Col::Status,
        Value::text(frontend_status(shared.phase(), Door::Open)),
    );
    let (address, protocol): (Cow<'a, str>, _) = match &bind.address {
        BindAddress::Ip(address) => (address.to_string().into(), "tcp"),
        BindAddress::Fd(fd) => (format!("fd@{fd}").into(), "tcp"),
        BindAddress::Unix(_) | BindAddress::Abns(_) | BindAddress::Abnsz(_) => {
            ("unix".into(), "unix")
        }
    };
    row.set(Col::Addr, Value::text(address));
    row.set(Col::Proto, Value::text(protocol));
    row
}

/// The row of a server.
pub fn server<'a>(view: &View<'a>, id: ServerId) -> Row<'a> {
    let shared = view.shared;
    let (config, cell) = (shared.config.server(id), shared.server(id));
    let backend = shared.config.backend(config.backend);
    let sum = |of: fn(&ServerCounters) -> &Counter| shared.sum(|s| of(&s.servers[id.index()]));
    let mut row = Row::new(
        Kind::Server,
        view,
        backend.proxy,
        config.puid,
        config.name.as_str(),
    );
    let current = shared.server_connections(id);
    row.set(Col::QCur, Value::U32(cell.queued.load(Relaxed)));
    row.set(Col::QMax, Value::U32(cell.queued_max.load(Relaxed)));
    row.set(Col::SCur, Value::U32(current));
    row.set(Col::SMax, Value::U32(cell.current_max.load(Relaxed)));
    let limit = cell.maxconn.load(Relaxed);
    if limit > 0 {
        row.set(Col::SLim, Value::U32(limit));
    }
    if config.maxqueue > 0 {
        row.set(Col::QLimit, Value::U32(config.maxqueue));
    }
    row.set_all([
        (Col::STot, sum(|c| &c.sessions)),
        (Col::DResp, sum(|c| &c.denied_responses)),
        (Col::ECon, sum(|c| &c.connect_errors)),
        (Col::EResp, sum(|c| &c.response_errors)),
        (Col::WRetr, sum(|c| &c.retries)),
        (Col::WRedis, sum(|c| &c.redispatches)),
        (Col::LbTot, sum(|c| &c.chosen)),
        (Col::CliAbrt, sum(|c| &c.client_aborts)),
        (Col::SrvAbrt, sum(|c| &c.server_aborts)),
        (Col::Connect, sum(|c| &c.connects)),
        (Col::Reuse, sum(|c| &c.reuses)),
    ]);
    row.set_bytes(sum(|c| &c.bytes_in), sum(|c| &c.bytes_out));
    row.set(Col::Status, Value::text(server_status(view, id)));
    row.set(
        Col::Weight,
        Value::U32(server::shown_weight(shared, id, view.now)),
    );
    row.set(Col::UWeight, Value::U32(cell.weight()));
    row.set(Col::Act, Value::U32(u32::from(!config.backup)));
    row.set(Col::Bck, Value::U32(u32::from(config.backup)));
    row.set(
        Col::LastChg,
        seconds_since(view, cell.changed_ms.load(Relaxed)),
    );
    if let Some((elapsed, ramp)) = server::warming(shared, id, view.now) {
        row.set(Col::Throttle, Value::small((elapsed * 100 / ramp).max(1)));
    }
    if let Some(tracked) = config.track {
        row.set(Col::Tracked, Value::text(full_name(view, tracked)));
    }
    let each = |s: &'a ShardShared| &s.servers[id.index()];
    row.set(
        Col::Rate,
        Value::small(rate(view, |s| &each(s).session_rate)),
    );
    row.set(
        Col::RateMax,
        Value::small(cell.session_rate_max.load(Relaxed)),
    );
    row.set(
        Col::LastSess,
        last_session(view, |s| &each(s).last_session_s),
    );
    set_times(&mut row, view, |s| {
        let c = each(s);
        Times {
            sessions: &c.sessions,
            sums: [
                &c.queue_time,
                &c.connect_time,
                &c.response_time,
                &c.total_time,
            ],
            most: [
                &c.queue_time_max,
                &c.connect_time_max,
                &c.response_time_max,
                &c.total_time_max,
            ],
        }
    });
    set_check(&mut row, view, config, cell);
    set_agent(&mut row, view, id, cell);
    row.set(Col::Addr, server_address(&cell.place.or(&config.address)));
    if let Some(cookie) = &config.cookie {
        row.set(Col::Cookie, Value::text(String::from_utf8_lossy(cookie)));
    }
    // One list of idle connections, which are all as safe as their last use made them.
    let idle = Value::small(sum(|c| &c.idle));
    row.set(Col::SrvICur, idle.clone());
    row.set(Col::IdleConnCur, idle);
    for column in [Col::SafeConnCur, Col::PrivIdleCur] {
        row.set(column, Value::U32(0));
    }
    if let Some(most) = config.pool_max {
        row.set(Col::SrvILim, Value::U32(most));
    }
    if backend.mode == Mode::Http {
        let answers =
            row.set_responses(|class| shared.sum(|s| &s.servers[id.index()].responses[class]));
        row.set(Col::ReqTot, Value::U64(answers));
    }
    row.set(Col::UsedConnCur, Value::U32(current));
    row.set(Col::NeedConnEst, Value::U32(cell.current_max.load(Relaxed)));
    row
}

/// What a server's agent told last.
fn set_agent(row: &mut Row<'_>, view: &View<'_>, id: ServerId, cell: &ServerCell) {
    if agent::agent(view.shared, id).is_none() {
        return;
    }
    row.set(Col::AgentRise, Value::U32(1));
    row.set(Col::AgentFall, Value::U32(1));
    let up = cell.agent_up.load(Relaxed);
    row.set(Col::AgentHealth, Value::U32(up.into()));
    let Ok(last) = cell.last_agent.lock() else {
        return;
    };
    let Some(status) = Status::named(last.status) else {
        return;
    };
    row.set(Col::AgentStatus, Value::text(last.status));
    if status.has_code() {
        row.set(Col::AgentCode, Value::U32(last.code.cast_unsigned()));
    }
    row.set(Col::AgentDuration, Value::U64(last.duration_ms));
    row.set(Col::AgentDesc, Value::text(status.text()));
    row.set(Col::LastAgt, Value::text(last.description.clone()));
}

/// What a server's check told last.
fn set_check<'a>(row: &mut Row<'a>, view: &View<'a>, config: &Server, cell: &ServerCell) {
    let Some(check) = config
        .check
        .as_ref()
        .filter(|_| !cell.checks_off.load(Relaxed))
    else {
        return;
    };
    row.set_all([
        (Col::ChkFail, cell.checks_failed.load(Relaxed)),
        (Col::ChkDown, cell.downs.load(Relaxed)),
    ]);
    if config.watch.observe.is_some() {
        let seen = cell.observed_failures.load(Relaxed);
        row.set(Col::HAnaFail, Value::U64(seen));
    }
    row.set(Col::Downtime, downtime(view, cell));
    if cell.admin() & admin::MAINT != 0 {
        return;
    }
    row.set(Col::CheckRise, Value::U32(check.rise));
    row.set(Col::CheckFall, Value::U32(check.fall));
    row.set(
        Col::CheckHealth,
        Value::small(cell.health.load(Relaxed).max(0)),
    );
    let Ok(last) = cell.last_check.lock() else {
        return;
    };
    let LastCheck {
        status,
        code,
        duration_ms,
        description,
    } = &*last;
    if status.is_empty() {
        return;
    }
    row.set(Col::CheckStatus, Value::text(*status));
    if Status::named(status).is_some_and(Status::has_code) {
        row.set(Col::CheckCode, Value::U32(code.cast_unsigned()));
    }
    row.set(Col::CheckDuration, Value::U64(*duration_ms));
    row.set(Col::CheckDesc, Value::text(check_meaning(status)));
    row.set(Col::LastChk, Value::text(description.clone()));
}

/// haproxy's words for a check status (management.txt 9.1, `check_desc`).
pub fn check_meaning(status: &str) -> &'static str {
    match status {
        "UNK" => "Unknown",
        "INI" => "Initializing",
        "HANA" => "Health analyze",
        "SOCKERR" => "Socket error",
        "L4OK" => "Layer4 check passed",
        "L4TOUT" => "Layer4 timeout",
        "L4CON" => "Layer4 connection problem",
        "L6OK" => "Layer6 check passed",
        "L6TOUT" => "Layer6 timeout",
        "L6RSP" => "Layer6 invalid response",
        "L7OK" => "Layer7 check passed",
        "L7OKC" => "Layer7 check conditionally passed",
        "L7TOUT" => "Layer7 timeout",
        "L7RSP" => "Layer7 invalid response",
        "L7STS" => "Layer7 wrong status",
        "PROCERR" => "External check error",
        "PROCTOUT" => "External check timeout",
        "PROCOK" => "External check passed",
        _ => "",
    }
}

/// `UP`, `DOWN 1/2`, `MAINT (via be/s1)`, `no check` and so on.
pub fn server_status(view: &View<'_>, id: ServerId) -> Cow<'static, str> {
    server::state_text(view.shared, id)
}

/// `backend/server`.
pub fn full_name(view: &View<'_>, id: ServerId) -> String {
    let server = view.shared.config.server(id);
    format!(
        "{}/{}",
        view.shared.config.backend(server.backend).name,
        server.name
    )
}

/// `127.0.0.1:80`, `[::1]:80`, `unix`; nothing if the name is not resolved.
fn server_address(address: &ServerAddress) -> Value<'static> {
    let (ip, port) = match address {
        ServerAddress::Ip { ip, port } => (ip, port),
        ServerAddress::Unresolved { .. } => return Value::Empty,
        ServerAddress::Unix(_) | ServerAddress::Abns(_) => return Value::text("unix"),
    };
    let port = match port {
        ServerPort::Fixed(port) => i32::from(*port),
        ServerPort::Mapped(offset) => *offset,
    };
    Value::text(if ip.is_ipv6() {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    })
}

/// The row of a backend. `hiding`: servers are hidden by `up` or `no-maint`, so the status counts them.
pub fn backend<'a>(view: &View<'a>, id: BackendId, hiding: bool) -> Row<'a> {
    let shared = view.shared;
    let (config, state) = (shared.config.backend(id), shared.backend(id));
    let sum = |of: fn(&BackendCounters) -> &Counter| shared.sum(|s| of(&s.backends[id.index()]));
    let mut row = Row::new(Kind::Backend, view, config.proxy, 0, "BACKEND");
    row.set(Col::QCur, Value::U32(state.queued.load(Relaxed)));
    row.set(Col::QMax, Value::U32(state.queued_max.load(Relaxed)));
    row.set(Col::SCur, Value::small(sum(|c| &c.current)));
    row.set(Col::SMax, Value::U32(state.current_max.load(Relaxed)));
    row.set(Col::SLim, Value::U32(config.fullconn));
    row.set_all([
        (Col::STot, sum(|c| &c.sessions)),
        (Col::DReq, sum(|c| &c.denied_requests)),
        (Col::DResp, sum(|c| &c.denied_responses)),
        (Col::ECon, sum(|c| &c.connect_errors)),
        (Col::EResp, sum(|c| &c.response_errors)),
        (Col::WRetr, sum(|c| &c.retries)),
        (Col::WRedis, sum(|c| &c.redispatches)),
        (Col::LbTot, sum(|c| &c.chosen)),
        (Col::CliAbrt, sum(|c| &c.client_aborts)),
        (Col::SrvAbrt, sum(|c| &c.server_aborts)),
        (Col::CompIn, 0),
        (Col::CompOut, 0),
        (Col::CompByp, 0),
        (Col::CompRsp, 0),
        (Col::Connect, sum(|c| &c.connects)),
        (Col::Reuse, sum(|c| &c.reuses)),
        (Col::ChkDown, state.downs.load(Relaxed)),
    ]);
    row.set_bytes(sum(|c| &c.bytes_in), sum(|c| &c.bytes_out));
    set_servers(&mut row, view, id, hiding);
    let each = |s: &'a ShardShared| &s.backends[id.index()];
    row.set(
        Col::Rate,
        Value::small(rate(view, |s| &each(s).session_rate)),
    );
    row.set(
        Col::RateMax,
        Value::small(state.session_rate_max.load(Relaxed)),
    );
    row.set(
        Col::LastChg,
        seconds_since(view, state.changed_ms.load(Relaxed)),
    );
    row.set(
        Col::LastSess,
        last_session(view, |s| &each(s).last_session_s),
    );
    set_times(&mut row, view, |s| {
        let c = each(s);
        Times {
            sessions: &c.sessions,
            sums: [
                &c.queue_time,
                &c.connect_time,
                &c.response_time,
                &c.total_time,
            ],
            most: [
                &c.queue_time_max,
                &c.connect_time_max,
                &c.response_time_max,
                &c.total_time_max,
            ],
        }
    });
    row.set(Col::Algo, Value::text(algorithm(&config.balance)));
    if let Some(cookie) = &shared.config.proxy(config.proxy).http.cookie {
        row.set(
            Col::Cookie,
            Value::text(String::from_utf8_lossy(&cookie.name)),
        );
    }
    if config.mode == Mode::Http {
        row.set_responses(|class| shared.sum(|s| &s.backends[id.index()].responses[class]));
        row.set_all([
            (Col::ReqTot, sum(|c| &c.requests)),
            (Col::CacheLookups, 0),
            (Col::CacheHits, 0),
        ]);
    }
    for column in [
        Col::AggServerStatus,
        Col::AggServerCheckStatus,
        Col::AggCheckStatus,
    ] {
        row.set(column, Value::U32(0));
    }
    row
}

/// Columns of a backend that follow from its servers: status, weights, how many may be used.
fn set_servers<'a>(row: &mut Row<'a>, view: &View<'a>, id: BackendId, hiding: bool) {
    let shared = view.shared;
    let (config, state) = (shared.config.backend(id), shared.backend(id));
    let usable = |s: &&ServerId| server::is_usable(shared.server(**s));
    let is_backup = |s: &ServerId| shared.config.server(*s).backup;
    let active = config
        .servers
        .iter()
        .filter(usable)
        .filter(|s| !is_backup(s))
        .count();
    let backup = config
        .servers
        .iter()
        .filter(usable)
        .filter(|s| is_backup(s))
        .count();
    // Backups carry weight only while no active server does, and then one alone unless all are used.
    let serving = config
        .servers
        .iter()
        .filter(usable)
        .filter(|s| is_backup(s) == (active == 0));
    let serving: Vec<ServerId> = serving
        .copied()
        .take(if active == 0 && !config.allbackups {
            1
        } else {
            usize::MAX
        })
        .collect();
    let weight = serving
        .iter()
        .map(|s| server::shown_weight(shared, *s, view.now))
        .sum();
    let user_weight = serving.iter().map(|s| shared.server(*s).weight()).sum();
    row.set(Col::Act, Value::small(active));
    row.set(Col::Bck, Value::small(backup));
    row.set(Col::Weight, Value::U32(weight));
    row.set(Col::UWeight, Value::U32(user_weight));
    let up = config.servers.is_empty() || active + backup > 0;
    let name = if up { "UP" } else { "DOWN" };
    row.set(
        Col::Status,
        if hiding {
            Value::text(format!(
                "{name} ({}/{})",
                active + backup,
                config.servers.len()
            ))
        } else {
            Value::text(name)
        },
    );
    if !config.servers.is_empty() {
        let before = state.down_ms.load(Relaxed);
        let since = state.down_since_ms.load(Relaxed);
        let now = if since > 0 {
            view.now.0.saturating_sub(since)
        } else {
            0
        };
        row.set(Col::Downtime, Value::small((before + now) / 1000));
    }
}

/// Name of the algorithm as `show stat` has it; haproxy knows none for `random`.
fn algorithm(balance: &Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "roundrobin",
        Balance::StaticRr => "static-rr",
        Balance::LeastConn => "leastconn",
        Balance::First => "first",
        Balance::Random(_) => "unknown",
        Balance::Source => "source",
        Balance::Key(KeyKind::Uri) => "uri",
        Balance::Key(KeyKind::UrlParam) => "url_param",
        Balance::Key(KeyKind::Header) => "hdr",
        Balance::Key(KeyKind::RdpCookie) => "rdp-cookie",
        Balance::Key(KeyKind::Expr) => "hash",
    }
}

// ---------------------------------------------------------------- parts

/// Events of the last second over all shards.
fn rate<'a>(view: &View<'a>, of: impl Fn(&'a ShardShared) -> &'a FreqCounter) -> u64 {
    view.shared
        .shards
        .iter()
        .map(|s| of(s).rate(view.now))
        .sum()
}

/// Counters behind the time columns of one shard: queue, connect, response, total.
struct Times<'a> {
    sessions: &'a Counter,
    sums: [&'a Counter; 4],
    most: [&'a Counter; 4],
}

/// Sessions an average goes over at most.
const AVERAGED_SESSIONS: u64 = 1024;

/// Averages over the last sessions (each shard has its own window) and maxima, in ms.
fn set_times<'a>(row: &mut Row<'a>, view: &View<'a>, of: impl Fn(&'a ShardShared) -> Times<'a>) {
    let shards: Vec<Times<'a>> = view.shared.shards.iter().map(of).collect();
    let counted: u64 = shards
        .iter()
        .map(|t| t.sessions.get().min(AVERAGED_SESSIONS))
        .sum();
    let averages = [Col::QTime, Col::CTime, Col::RTime, Col::TTime];
    let maxima = [Col::QTimeMax, Col::CTimeMax, Col::RTimeMax, Col::TTimeMax];
    for at in 0..4 {
        let sum: u64 = shards.iter().map(|t| t.sums[at].get()).sum();
        row.set(
            averages[at],
            Value::small(if counted > 0 {
                sum.div_ceil(counted)
            } else {
                0
            }),
        );
        row.set(
            maxima[at],
            Value::small(shards.iter().map(|t| t.most[at].get()).max().unwrap_or(0)),
        );
    }
}

/// Seconds since a tick in ms.
pub fn seconds_since(view: &View<'_>, then_ms: u64) -> Value<'static> {
    Value::small(view.since(then_ms) / 1000)
}

/// Seconds since the last session of any shard, -1 for never.
fn last_session<'a>(
    view: &View<'a>,
    of: impl Fn(&'a ShardShared) -> &'a Counter,
) -> Value<'static> {
    match view
        .shared
        .shards
        .iter()
        .map(|s| of(s).get())
        .max()
        .unwrap_or(0)
    {
        0 => Value::S32(-1),
        last => {
            Value::S32(i32::try_from((view.now.0 / 1000).saturating_sub(last)).unwrap_or(i32::MAX))
        }
    }
}

fn downtime(view: &View<'_>, cell: &ServerCell) -> Value<'static> {
    let before = cell.down_ms.load(Relaxed);
    let now = match cell.op() {
        OpState::Stopped => view.now.0.saturating_sub(cell.changed_ms.load(Relaxed)),
        _ => 0,
    };
    Value::small((before + now) / 1000)
}
