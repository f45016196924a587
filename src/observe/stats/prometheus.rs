//! The Prometheus exporter (`http-request use-service prometheus-exporter`): what is told as text in
//! version 0.0.4 of Prometheus' format. Names, types, labels and their order are those of haproxy
//! 2.6.12, compared with it; a part that does not exist here (TLS, compression, cache) is 0 as it is
//! there where unused. Behind them stand metrics of our own: histograms of times, and what each shard does.
//!
//! Metric by metric, and of each one line per proxy or server: nothing is copied first, so that an
//! answer about ten thousand servers holds no more than the piece being written.

mod metrics;

use std::sync::atomic::Ordering::Relaxed;

use metrics::{Metric, Origin};

use super::columns::Col;
use super::latency::Whose;
use super::rows::{self, Kind, Row};
use super::stat::is_hidden;
use super::value::Value;
use super::{Extra, View, info};
use crate::config::{BackendId, Mode, ProxyId, ServerId};
use crate::proto::http::Head;
use crate::shared::server_cell::{OpState, admin};
use crate::shared::{Lap, ServerCell};

/// Labels of states, in haproxy's order.
const UP_DOWN: [&str; 2] = ["DOWN", "UP"];
const SERVER_STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];
const LISTENER_STATES: [&str; 3] = ["WAITING", "OPEN", "FULL"];
const CHECKS: [&str; 16] = [
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP",
    "L7OK", "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

/// What a scope asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Process,
    Frontend,
    Listener,
    Backend,
    Server,
}

impl Group {
    const ALL: [Self; 5] = [
        Self::Process,
        Self::Frontend,
        Self::Listener,
        Self::Backend,
        Self::Server,
    ];

    /// Behind `haproxy_` in its names.
    fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Frontend => "frontend",
            Self::Listener => "listener",
            Self::Backend => "backend",
            Self::Server => "server",
        }
    }

    /// haproxy's metrics.
    fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Process => metrics::PROCESS,
            Self::Frontend => metrics::FRONTEND,
            Self::Listener => metrics::LISTENER,
            Self::Backend => metrics::BACKEND,
            Self::Server => metrics::SERVER,
        }
    }

    /// Those behind them.
    fn own(self) -> &'static [Metric] {
        match self {
            Self::Process => metrics::own::PROCESS,
            Self::Frontend | Self::Backend | Self::Server => metrics::own::TIMES,
            Self::Listener => &[],
        }
    }

    fn metric(self, at: usize) -> Option<&'static Metric> {
        self.metrics().iter().chain(self.own()).nth(at)
    }
}

/// The parameters of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which of [`Group::ALL`].
    groups: [bool; 5],
    no_maint: bool,
    /// Names of the only metrics wanted, if any; names of those not wanted.
    only: Vec<Vec<u8>>,
    without: Vec<Vec<u8>>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            groups: [true; 5],
            no_maint: false,
            only: Vec::new(),
            without: Vec::new(),
        }
    }
}

impl Asked {
    /// Of the query of a target: `scope=` (the first empties the choice, `*` fills it, an empty one empties it again),
    /// `no-maint`, and of 3.x `metrics=a,-b`. Others do not matter. `None`: a scope that does not exist, which is a 400.
    pub fn parse(target: &[u8]) -> Option<Self> {
        let mut asked = Self::default();
        let mut scoped = false;
        let target = target.split(|b| *b == b'#').next().unwrap_or_default();
        let Some(at) = target.iter().position(|b| *b == b'?') else {
            return Some(asked);
        };
        for pair in target[at + 1..].split(|b| *b == b'&') {
            let (name, value) = match pair.iter().position(|b| *b == b'=') {
                Some(at) => (&pair[..at], Some(&pair[at + 1..])),
                None => (pair, None),
            };
            match &*decoded(name) {
                b"scope" => {
                    let value = decoded(value?);
                    if !std::mem::replace(&mut scoped, true) || value.is_empty() {
                        asked.groups = [false; 5];
                    }
                    asked.add_scope(&value)?;
                }
                b"no-maint" => asked.no_maint = true,
                b"metrics" => asked.add_names(&decoded(value.unwrap_or_default())),
                _ => {}
            }
        }
        Some(asked)
    }

    fn add_scope(&mut self, scope: &[u8]) -> Option<()> {
        let at = match scope {
            // There are no stick tables to tell of.
            b"" | b"sticktable" => return Some(()),
            b"*" => {
                self.groups = [true; 5];
                return Some(());
            }
            b"global" => Group::Process,
            b"frontend" => Group::Frontend,
            b"listener" => Group::Listener,
            b"backend" => Group::Backend,
            b"server" => Group::Server,
            _ => return None,
        };
        self.groups[at as usize] = true;
        Some(())
    }

    fn add_names(&mut self, list: &[u8]) {
        for name in list.split(|b| *b == b',').filter(|n| !n.is_empty()) {
            match name.strip_prefix(b"-") {
                Some(name) => self.without.push(name.into()),
                None => self.only.push(name.into()),
            }
        }
    }

    fn wants(&self, group: Group, metric: &Metric) -> bool {
        if self.only.is_empty() && self.without.is_empty() {
            return true;
        }
        let name = format!("haproxy_{}_{}", group.name(), metric.name);
        let named = |list: &[Vec<u8>]| list.iter().any(|n| *n == name.as_bytes());
        (self.only.is_empty() || named(&self.only)) && !named(&self.without)
    }
}

/// Percent signs resolved; what is none stays as it is.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    out
}

/// Status line and fields of the answer, without those that frame the body.
pub fn head(head: &mut Head) {
    head.clear();
    head.set_status(200, b"OK");
    head.push(b"cache-control", b"no-cache");
    head.push(b"content-type", b"text/plain; version=0.0.4");
}

/// An answer under way.
#[derive(Debug)]
pub struct Exposition {
    asked: Asked,
    /// The group, the metric in it, and the proxy, listener or server that is next.
    group: usize,
    metric: usize,
    proxy: usize,
    item: usize,
    /// The metric whose help and type were written last.
    headed: Option<(Group, &'static str)>,
}

impl Exposition {
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            group: 0,
            metric: 0,
            proxy: 0,
            item: 0,
            headed: None,
        }
    }

    /// Appends lines until the text is `until` bytes long; `true` if there are more.
    pub(super) fn more_until(&mut self, view: &View<'_>, out: &mut Vec<u8>, until: usize) -> bool {
        while let Some(&group) = Group::ALL.get(self.group) {
            if out.len() >= until {
                return true;
            }
            if !self.asked.groups[self.group] {
                self.group += 1;
            } else if group == Group::Process {
                self.push_process(view, out);
                self.group += 1;
            } else {
                self.step(view, group, out);
            }
        }
        false
    }

    /// The lines about the process, all at once: they are few.
    fn push_process(&mut self, view: &View<'_>, out: &mut Vec<u8>) {
        let buffers: u64 = view.shared.sum(|s| &s.activity.buffer_bytes);
        let extra = Extra {
            resident: buffers,
            ..Extra::default()
        };
        let fields = info::fields(view, &extra);
        for metric in metrics::PROCESS {
            if !self.asked.wants(Group::Process, metric) {
                continue;
            }
            let mut line = self.line(Group::Process, metric, out);
            match metric.from {
                Origin::Version => {
                    line.label("version", &view.facts.version);
                    line.end(&Value::U32(1));
                }
                Origin::Info(name) => {
                    let field = fields.iter().find(|f| f.name == name);
                    line.end(field.map_or(&Value::Empty, |f| &f.value));
                }
                _ => unreachable!("the process has no rows"),
            }
        }
        for metric in metrics::own::PROCESS {
            if self.asked.wants(Group::Process, metric) {
                self.push_shards(view, metric, out);
            }
        }
    }

    /// A line a shard, counted from 1 as `show activity` and logs do.
    fn push_shards(&mut self, view: &View<'_>, metric: &Metric, out: &mut Vec<u8>) {
        for (at, shard) in view.shared.shards.iter().enumerate() {
            let mut line = self.line(Group::Process, metric, out);
            line.label("shard", &(at + 1).to_string());
            match metric.from {
                Origin::ShardLoad => {
                    line.end_seconds(&Value::U32(shard.load_permille.load(Relaxed)));
                }
                Origin::Shard(of) => line.end(&Value::U64(of(shard))),
                _ => unreachable!("one line for the process"),
            }
        }
    }

    /// The histogram of a frontend, backend or server: buckets that each hold those before it, sum, count.
    fn push_times(
        &mut self,
        view: &View<'_>,
        (group, metric, lap): (Group, &Metric, Lap),
        of: ProxyId,
        whose: Whose,
        out: &mut Vec<u8>,
    ) {
        self.headline(group, metric, out);
        let config = &view.shared.config;
        let server = match whose {
            Whose::Server(id) => Some(config.server(id).name.as_str()),
            _ => None,
        };
        let place = (group, config.proxy(of).name.as_str(), server);
        let counts = whose.counted(view, lap);
        let total = counts.total();
        let limits = metrics::own::LIMITS;
        let below = counts.below(limits.map(|(us, _)| us));
        let named = limits.iter().map(|(_, name)| *name).chain(["+Inf"]);
        for (name, count) in named.zip(below.into_iter().chain([total])) {
            let mut line = part_of(place, metric, "_bucket", out);
            line.label("le", name);
            line.end(&Value::U64(count));
        }
        part_of(place, metric, "_sum", out).end_micros(counts.sum_us);
        part_of(place, metric, "_count", out).end(&Value::U64(total));
    }

    /// Writes the lines of one metric about one proxy, listener or server, and goes on to the next.
    fn step(&mut self, view: &View<'_>, group: Group, out: &mut Vec<u8>) {
        let config = &view.shared.config;
        let Some(metric) = group.metric(self.metric) else {
            self.group += 1;
            self.metric = 0;
            return;
        };
        let begins = self.proxy == 0 && self.item == 0;
        let wanted = !begins || self.asked.wants(group, metric);
        let Some(proxy) = config.proxies.get(self.proxy).filter(|_| wanted) else {
            self.metric += 1;
            self.proxy = 0;
            return;
        };
        let of = ProxyId(u32::try_from(self.proxy).expect("ids are 32 bits"));
        let item = self.item;
        self.item += 1;
        let told = !proxy.disabled && (!metric.http || proxy.mode == Mode::Http);
        let lap = match metric.from {
            Origin::Times(lap) => Some((group, metric, lap)),
            _ => None,
        };
        let done = match group {
            _ if !told => None,
            Group::Process => None,
            Group::Frontend => proxy.frontend.filter(|_| item == 0).map(|id| {
                if let Some(times) = lap {
                    return self.push_times(view, times, of, Whose::Frontend(id), out);
                }
                let row = rows::frontend(view, id);
                self.push(view, group, metric, of, &row, out);
            }),
            Group::Backend => proxy.backend.filter(|_| item == 0).map(|id| {
                if let Some(times) = lap {
                    return self.push_times(view, times, of, Whose::Backend(id), out);
                }
                let row = rows::backend(view, id, false);
                self.push_backend(view, metric, of, id, &row, out);
            }),
            Group::Listener => proxy.frontend.and_then(|id| {
                let front = config.frontend(id);
                let bind = front.binds.get(item).filter(|_| front.socket_stats)?;
                let row = rows::listener(view, *bind);
                self.push(view, group, metric, of, &row, out);
                Some(())
            }),
            Group::Server => proxy.backend.and_then(|id| {
                let server = *config.backend(id).servers.get(item)?;
                if !(self.asked.no_maint && is_hidden(view, server, false, true)) {
                    match lap {
                        Some(times) => {
                            self.push_times(view, times, of, Whose::Server(server), out);
                        }
                        None => self.push_server(view, metric, of, server, out),
                    }
                }
                Some(())
            }),
        };
        if done.is_none() {
            self.proxy += 1;
            self.item = 0;
        }
    }

    /// Writes the help and the type of a metric before its first line.
    fn headline(&mut self, group: Group, metric: &Metric, out: &mut Vec<u8>) {
        let kind = group.name();
        if self.headed != Some((group, metric.name)) {
            self.headed = Some((group, metric.name));
            let shape = match (metric.from, metric.counter) {
                (Origin::Times(_), _) => "histogram",
                (_, true) => "counter",
                (_, false) => "gauge",
            };
            let head = [
                ["# HELP haproxy_", kind, "_", metric.name, " ", metric.help],
                ["\n# TYPE haproxy_", kind, "_", metric.name, " ", shape],
            ];
            for part in head.iter().flatten() {
                out.extend_from_slice(part.as_bytes());
            }
            out.push(b'\n');
        }
    }

    /// Begins a line, behind the help and the type if it is the metric's first.
    fn line<'o>(&mut self, group: Group, metric: &Metric, out: &'o mut Vec<u8>) -> Line<'o> {
        self.headline(group, metric, out);
        for part in ["haproxy_", group.name(), "_", metric.name] {
            out.extend_from_slice(part.as_bytes());
        }
        Line::new(out)
    }

    /// Begins a line about a row.
    fn line_of<'o>(
        &mut self,
        view: &View<'_>,
        group: Group,
        metric: &Metric,
        of: ProxyId,
        row: &Row<'_>,
        out: &'o mut Vec<u8>,
    ) -> Line<'o> {
        let mut line = self.line(group, metric, out);
        line.label("proxy", &view.shared.config.proxy(of).name);
        if matches!(group, Group::Server | Group::Listener)
            && let Value::Str(name) = &row.values[Col::SvName as usize]
        {
            line.label(group.name(), name);
        }
        line
    }

    /// The lines of a metric that a row knows.
    fn push(
        &mut self,
        view: &View<'_>,
        group: Group,
        metric: &Metric,
        of: ProxyId,
        row: &Row<'_>,
        out: &mut Vec<u8>,
    ) {
        match metric.from {
            Origin::Col(column) => {
                let line = self.line_of(view, group, metric, of, row, out);
                line.end(&row.values[column as usize]);
            }
            Origin::Ms(column) => {
                let line = self.line_of(view, group, metric, of, row, out);
                line.end_seconds(&row.values[column as usize]);
            }
            Origin::Code(column, class) => {
                let mut line = self.line_of(view, group, metric, of, row, out);
                line.label("code", class);
                line.end(&row.values[column as usize]);
            }
            Origin::State => {
                let (states, now) = state(row);
                for state in states {
                    let mut line = self.line_of(view, group, metric, of, row, out);
                    line.label("state", state);
                    line.end(&Value::U32((*state == now).into()));
                }
            }
            Origin::Info(_)
            | Origin::Version
            | Origin::Servers
            | Origin::Checks
            | Origin::Check
            | Origin::CheckCode
            | Origin::CheckMs
            | Origin::ShardLoad
            | Origin::Shard(_)
            | Origin::Times(_) => unreachable!("of the process, of a backend or of a server"),
        }
    }

    fn push_backend(
        &mut self,
        view: &View<'_>,
        metric: &Metric,
        of: ProxyId,
        id: BackendId,
        row: &Row<'_>,
        out: &mut Vec<u8>,
    ) {
        let servers = &view.shared.config.backend(id).servers;
        let states: &[&str] = match metric.from {
            Origin::Servers => &SERVER_STATES,
            Origin::Checks => &CHECKS,
            _ => return self.push(view, Group::Backend, metric, of, row, out),
        };
        if servers.is_empty() {
            return;
        }
        let mut counts = [0_u32; CHECKS.len()];
        for server in servers {
            let now = match metric.from {
                Origin::Servers => Some(server_state(view.shared.server(*server))),
                _ => last_check(view, *server).map(|(status, _)| status),
            };
            let at = now.and_then(|now| states.iter().position(|s| *s == now));
            if let Some(at) = at {
                counts[at] += 1;
            }
        }
        for (state, count) in states.iter().zip(counts) {
            let mut line = self.line_of(view, Group::Backend, metric, of, row, out);
            line.label("state", state);
            line.end(&Value::U32(count));
        }
    }

    fn push_server(
        &mut self,
        view: &View<'_>,
        metric: &Metric,
        of: ProxyId,
        id: ServerId,
        out: &mut Vec<u8>,
    ) {
        let group = Group::Server;
        let row = rows::server(view, id);
        let value = |column: Col| &row.values[column as usize];
        // Where nothing is checked now, these two are left out.
        let checked = !value(Col::CheckRise).is_empty();
        match metric.from {
            Origin::State => {
                let now = server_state(view.shared.server(id));
                for state in SERVER_STATES {
                    let mut line = self.line_of(view, group, metric, of, &row, out);
                    line.label("state", state);
                    line.end(&Value::U32((state == now).into()));
                }
            }
            Origin::Check if checked => {
                let now = value(Col::CheckStatus);
                for state in CHECKS {
                    let mut line = self.line_of(view, group, metric, of, &row, out);
                    line.label("state", state);
                    let is = matches!(now, Value::Str(now) if now == state);
                    line.end(&Value::U32(is.into()));
                }
            }
            Origin::CheckCode if checked => {
                let line = self.line_of(view, group, metric, of, &row, out);
                match value(Col::CheckCode) {
                    Value::Empty => line.end(&Value::U32(0)),
                    code => line.end(code),
                }
            }
            Origin::CheckMs => {
                // Told of the last check even after checks were stopped.
                if let Some((_, ms)) = last_check(view, id) {
                    let line = self.line_of(view, group, metric, of, &row, out);
                    line.end_seconds(&Value::U64(ms));
                }
            }
            Origin::Check | Origin::CheckCode => {}
            _ => self.push(view, group, metric, of, &row, out),
        }
    }
}

/// Begins a line of a histogram of a proxy, or of a server in it.
fn part_of<'o>(
    (group, proxy, server): (Group, &str, Option<&str>),
    metric: &Metric,
    part: &str,
    out: &'o mut Vec<u8>,
) -> Line<'o> {
    for text in ["haproxy_", group.name(), "_", metric.name, part] {
        out.extend_from_slice(text.as_bytes());
    }
    let mut line = Line::new(out);
    line.label("proxy", proxy);
    if let Some(server) = server {
        line.label("server", server);
    }
    line
}

/// The states of a frontend, listener or backend, and the one of this row.
fn state(row: &Row<'_>) -> (&'static [&'static str], &'static str) {
    let text = match &row.values[Col::Status as usize] {
        Value::Str(text) => &**text,
        _ => "",
    };
    let number = |column: Col| match row.values[column as usize] {
        Value::U32(n) => n,
        _ => 0,
    };
    match row.kind {
        Kind::Frontend => (&UP_DOWN, if text == "STOP" { "DOWN" } else { "UP" }),
        Kind::Listener if text != "OPEN" => (&LISTENER_STATES, "WAITING"),
        Kind::Listener => {
            let limit = number(Col::SLim);
            let full = limit > 0 && number(Col::SCur) >= limit;
            (&LISTENER_STATES, if full { "FULL" } else { "OPEN" })
        }
        Kind::Backend | Kind::Server => {
            let up = text.starts_with("UP");
            (&UP_DOWN, if up { "UP" } else { "DOWN" })
        }
    }
}

/// One of [`SERVER_STATES`], as `show stat` tells it.
fn server_state(cell: &ServerCell) -> &'static str {
    let bits = cell.admin();
    if bits & admin::MAINT != 0 {
        return "MAINT";
    }
    match cell.op() {
        OpState::Stopped => "DOWN",
        _ if bits & admin::DRAIN != 0 => "DRAIN",
        OpState::Stopping => "NOLB",
        OpState::Starting | OpState::Running => "UP",
    }
}

/// Outcome and milliseconds of a server's last check.
fn last_check(view: &View<'_>, id: ServerId) -> Option<(&'static str, u64)> {
    view.shared.config.server(id).check.as_ref()?;
    let last = view.shared.server(id).last_check.lock().ok()?;
    (!last.status.is_empty()).then_some((last.status, last.duration_ms))
}

/// A line being written.
struct Line<'o> {
    out: &'o mut Vec<u8>,
    labelled: bool,
}

impl<'o> Line<'o> {
    fn new(out: &'o mut Vec<u8>) -> Self {
        Self {
            out,
            labelled: false,
        }
    }
    /// ` name="value"`, with quotes, backslashes and line feeds escaped as the format asks.
    fn label(&mut self, name: &str, value: &str) {
        self.out.push(if self.labelled { b',' } else { b'{' });
        self.labelled = true;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"=\"");
        for byte in value.bytes() {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                other => self.out.push(other),
            }
        }
        self.out.push(b'"');
    }

    fn close(self) -> Self {
        if self.labelled {
            self.out.push(b'}');
        }
        self.out.push(b' ');
        self
    }

    /// The value; none, or one that is text, is no number.
    fn end(self, value: &Value<'_>) {
        let line = self.close();
        match value {
            Value::Empty | Value::Str(_) => line.out.extend_from_slice(b"NaN"),
            number => number.push_plain(line.out),
        }
        line.out.push(b'\n');
    }

    /// Milliseconds as seconds with six digits behind the point.
    fn end_seconds(self, ms: &Value<'_>) {
        let line = self.close();
        let ms = match ms {
            Value::U32(ms) => u64::from(*ms),
            Value::U64(ms) => *ms,
            _ => 0,
        };
        let text = format!("{}.{:03}000\n", ms / 1000, ms % 1000);
        line.out.extend_from_slice(text.as_bytes());
    }

    /// Microseconds as seconds.
    fn end_micros(self, us: u64) {
        let line = self.close();
        let text = format!("{}.{:06}\n", us / 1_000_000, us % 1_000_000);
        line.out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests;
