//! The page as HTML: a head with the process, a table a proxy, a row a frontend, bind, server and backend.
//!
//! Cells stand in haproxy's order and every row has all of them, so that the style can label them where a phone shows
//! a row as a card. Names of proxies, servers and so on pass through [`Esc`].

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use super::table::{Table, class_of};
use super::{Link, Outcome, StatsRequest};
use crate::backend::server::{self, Look};
use crate::config::ProxyId;
use crate::config::http::Stats;
use crate::observe::stats::View;
use crate::observe::stats::latency::Whose;
use crate::observe::stats::rows::{self, Row};
use crate::observe::stats::stat::{Scope, is_hidden};
use crate::shared::Counter;
use crate::shared::counters::ActivityCounters;

const STYLE: &str = include_str!("style.css");
/// Servers in trouble that the head names.
const NAMED_MAX: usize = 12;

/// Text that may hold anything, as HTML.
pub(super) struct Esc<'a>(pub(super) &'a str);

impl fmt::Display for Esc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// A number whose digits the style sets in groups of three; its text stays plain digits.
pub(super) struct Grouped(pub(super) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let first = (digits.len() - 1) % 3 + 1;
        f.write_str(&digits[..first])?;
        for at in (first..digits.len()).step_by(3) {
            write!(f, "<i>{}</i>", &digits[at..at + 3])?;
        }
        Ok(())
    }
}

/// Seconds in the two largest units that say something: `37s`, `1m37s`, `2d3h`.
pub(super) struct Age(pub(super) u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0;
        let (days, hours, minutes) = (s / 86_400, s / 3600 % 24, s / 60 % 60);
        if days > 0 {
            write!(f, "{days}d{hours}h")
        } else if hours > 0 {
            write!(f, "{hours}h{minutes}m")
        } else if minutes > 0 {
            write!(f, "{minutes}m{}s", s % 60)
        } else {
            write!(f, "{s}s")
        }
    }
}

/// Microseconds as milliseconds, with the digits that say something.
pub(super) struct Millis(pub(super) u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0 {
            0 | 100_000.. => 0,
            10_000.. => 1,
            _ => 2,
        };
        write!(f, "{:.digits$}", self.0 as f64 / 1000.0)
    }
}

/// Where the page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Open,
    Frontend,
    Listener(usize),
    Server(usize),
    Backend,
    Close,
}

/// An HTML page under way.
#[derive(Debug)]
pub(super) struct Page {
    /// Whose page it is.
    owner: ProxyId,
    request: StatsRequest,
    scope: Scope,
    admin: bool,
    proxy: usize,
    part: Part,
}

impl Page {
    pub(super) fn new(owner: ProxyId, request: StatsRequest, scope: Scope, admin: bool) -> Self {
        Self {
            owner,
            request,
            scope,
            admin,
            proxy: 0,
            part: Part::Head,
        }
    }

    /// Appends the next row or so; `false` if that was the last.
    pub(super) fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        let config = &view.shared.config;
        let Some(stats) = config.proxy(self.owner).http.stats.as_ref() else {
            return false; // a writer is made for a proxy that has a page
        };
        if self.part == Part::Head {
            self.head(view, stats, out);
            self.part = Part::Open;
            return true;
        }
        let Some(proxy) = config.proxies.get(self.proxy) else {
            put!(out, "<footer>{}</footer></body></html>\n", NOTE);
            return false;
        };
        if !self.scope.shows(config, proxy) {
            self.proxy += 1;
            return true;
        }
        let table = Table {
            view,
            stats,
            proxy,
            // Where there is nothing to act upon, nothing is offered.
            admin: self.admin
                && proxy
                    .backend
                    .is_some_and(|b| !config.backend(b).servers.is_empty()),
        };
        self.part = match self.part {
            Part::Head | Part::Open => {
                table.open(out);
                Part::Frontend
            }
            Part::Frontend => {
                if let Some(id) = proxy.frontend {
                    table.frontend(
                        &timed(view, Whose::Frontend(id), rows::frontend(view, id)),
                        out,
                    );
                }
                Part::Listener(0)
            }
            Part::Listener(at) => {
                let front = proxy.frontend.map(|id| config.frontend(id));
                match front
                    .filter(|f| f.socket_stats)
                    .and_then(|f| f.binds.get(at))
                {
                    Some(&bind) => {
                        table.listener(&rows::listener(view, bind), out);
                        Part::Listener(at + 1)
                    }
                    None => Part::Server(0),
                }
            }
            Part::Server(at) => {
                let servers = proxy.backend.map(|id| &config.backend(id).servers);
                match servers.and_then(|servers| servers.get(at)) {
                    Some(&id) => {
                        if !is_hidden(view, id, self.request.up, self.request.no_maint) {
                            let row = timed(view, Whose::Server(id), rows::server(view, id));
                            table.server(id, &row, out);
                        }
                        Part::Server(at + 1)
                    }
                    None => Part::Backend,
                }
            }
            Part::Backend => {
                if let Some(id) = proxy.backend {
                    let hiding = self.request.up || self.request.no_maint;
                    let row = timed(view, Whose::Backend(id), rows::backend(view, id, hiding));
                    table.backend(&row, out);
                }
                Part::Close
            }
            Part::Close => {
                table.close(out);
                self.proxy += 1;
                Part::Open
            }
        };
        true
    }

    fn head(&self, view: &View<'_>, stats: &Stats, out: &mut Vec<u8>) {
        let node = stats.show_node.as_deref().map(|name| match name {
            "" => view.facts.node.as_str(),
            own => own,
        });
        let node = node.filter(|name| !name.is_empty());
        let on = node.map_or_else(String::new, |name| format!(" on {}", Esc(name)));
        put!(
            out,
            "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width,initial-scale=1\">\
             <title>Statistics Report for {}{on}</title><link rel=icon href=\"data:,\">\
             <style>{STYLE}</style></head>\n<body><header><h1>Ringway",
            Esc(&view.facts.name)
        );
        if stats.show_version {
            put!(
                out,
                " version {}, released {}",
                Esc(&view.facts.version),
                Esc(&view.facts.release_date)
            );
        }
        let pid = view.shared.process.pid.load(Relaxed);
        put!(out, "</h1><h2>Statistics Report for pid {pid}{on}");
        if let Some(text) = &stats.show_desc {
            put!(out, ": {}", Esc(text));
        }
        put!(out, "</h2>\n");
        if let Some(outcome) = self.request.outcome {
            self.message(stats, outcome, out);
        }
        let tally = Tally::of(view, &self.scope);
        tiles(view, &tally, out);
        process(view, out);
        self.options(stats, out);
        tally.troubles(out);
        put!(out, "{LEGEND}</header>\n");
    }

    fn link<'a>(&'a self, stats: &'a Stats) -> Link<'a> {
        Link {
            stats,
            content: "",
            outcome: None,
            up: self.request.up,
            norefresh: self.request.norefresh,
            search: &self.request.search,
        }
    }

    fn options(&self, stats: &Stats, out: &mut Vec<u8>) {
        let here = self.link(stats);
        put!(out, "<nav class=opt>");
        let toggle = if here.up {
            "Show all servers"
        } else {
            "Hide 'DOWN' servers"
        };
        anchor(
            Link {
                up: !here.up,
                ..here
            },
            toggle,
            out,
        );
        if stats.refresh_s.is_some() {
            let toggle = if here.norefresh {
                "Enable refresh"
            } else {
                "Disable refresh"
            };
            let norefresh = !here.norefresh;
            anchor(Link { norefresh, ..here }, toggle, out);
        }
        anchor(here, "Refresh now", out);
        let live = Link {
            content: ";live",
            up: false,
            norefresh: false,
            ..here
        };
        anchor(live, "Live", out);
        let export = Link {
            up: false,
            // What is fetched once is not to be fetched again and again.
            norefresh: stats.refresh_s.is_some(),
            ..here
        };
        anchor(
            Link {
                content: ";csv",
                ..export
            },
            "CSV export",
            out,
        );
        anchor(
            Link {
                content: ";json",
                ..export
            },
            "JSON export",
            out,
        );
        let schema = Link {
            content: ";json-schema",
            norefresh: false,
            search: "",
            ..export
        };
        anchor(schema, "schema", out);
        // A form replaces the query: where the prefix has one, a field brings it back.
        let uri = String::from_utf8_lossy(&stats.uri);
        let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
        put!(out, "<form method=get action=\"{}\">", Esc(path));
        if !query.is_empty() {
            let (name, value) = query.split_once('=').unwrap_or((query, ""));
            put!(
                out,
                "<input type=hidden name=\"{}\" value=\"{}\">",
                Esc(name),
                Esc(value)
            );
        }
        put!(
            out,
            "<input type=search name=scope maxlength=20 placeholder=Scope aria-label=Scope value=\"{}\"></form></nav>\n",
            Esc(&self.request.search)
        );
    }

    /// What became of the action before.
    fn message(&self, stats: &Stats, outcome: Outcome, out: &mut Vec<u8>) {
        let (class, text) = match outcome {
            Outcome::Done => ("active_up", "Action processed successfully."),
            Outcome::None => ("active_going_down", "Nothing has changed."),
            Outcome::Part => (
                "active_going_down",
                "Action partially processed.<br>Some server names are probably unknown or ambiguous (duplicated \
                 names in the backend).",
            ),
            Outcome::Errp => (
                "active_down",
                "Action not processed because of invalid parameters.<ul><li>The action is maybe unknown.</li>\
                 <li>Invalid key parameter (empty or too long).</li><li>The backend name is probably unknown or \
                 ambiguous (duplicated names).</li><li>Some server names are probably unknown or ambiguous \
                 (duplicated names in the backend).</li></ul>",
            ),
            Outcome::Excd => (
                "active_down",
                "Action not processed : the buffer couldn't store all the data.<br>You should retry with less \
                 servers at a time.",
            ),
            Outcome::Deny => ("active_down", "Action denied."),
            Outcome::Unkn => ("active_no_check", "Unexpected result."),
        };
        put!(out, "<div class=\"msg {class}\"><a class=lfsb href=\"");
        href(self.link(stats), out);
        put!(
            out,
            "\" title=\"Remove this message\">[X]</a> {text}</div>\n"
        );
    }
}

/// A row with its percentiles.
fn timed<'a>(view: &View<'a>, whose: Whose, mut row: Row<'a>) -> Row<'a> {
    whose.put(view, &mut row);
    row
}

const NOTE: &str = "Note: \"NOLB\"/\"DRAIN\" = UP with load-balancing disabled.";
const LEGEND: &str = "<ul class=lgd><li class=active_up>active UP<li class=backup_up>backup UP\
    <li class=active_going_down>UP, going down<li class=active_going_up>DOWN, going up\
    <li class=active_down>active or backup DOWN<li class=active_no_check>not checked\
    <li class=maintain>DOWN for maintenance (MAINT)<li class=active_draining>SOFT STOPPED for maintenance (DRAIN, NOLB)</ul>";

fn href(link: Link<'_>, out: &mut Vec<u8>) {
    let mut raw = Vec::new();
    link.push(&mut raw);
    put!(out, "{}", Esc(&String::from_utf8_lossy(&raw)));
}

fn anchor(link: Link<'_>, text: &str, out: &mut Vec<u8>) {
    put!(out, "<a href=\"");
    href(link, out);
    put!(out, "\">{}</a>", Esc(text));
}

// ---------------------------------------------------------------- head

/// Servers that the page shows, by state.
#[derive(Debug, Default)]
struct Tally {
    servers: usize,
    /// Up or not checked.
    serving: usize,
    /// The first ones that are down or on their way: anchor and class.
    troubled: Vec<(String, String)>,
    down: usize,
}

impl Tally {
    fn of(view: &View<'_>, scope: &Scope) -> Self {
        let config = &view.shared.config;
        let mut tally = Self::default();
        let shown = config.proxies.iter().filter(|p| scope.shows(config, p));
        for &id in shown
            .filter_map(|p| p.backend)
            .flat_map(|b| &config.backend(b).servers)
        {
            let look = server::look(view.shared, id);
            tally.servers += 1;
            match look {
                Look::Up | Look::NoCheck => tally.serving += 1,
                Look::Down | Look::GoingUp => tally.down += 1,
                Look::GoingDown => tally.serving += 1,
                Look::Maintain | Look::Draining | Look::Nolb => {}
            }
            let trouble = matches!(look, Look::Down | Look::GoingUp | Look::GoingDown);
            if trouble && tally.troubled.len() < NAMED_MAX {
                let class = class_of(look, config.server(id).backup);
                tally.troubled.push((rows::full_name(view, id), class));
            }
        }
        tally
    }

    fn troubles(&self, out: &mut Vec<u8>) {
        if self.troubled.is_empty() {
            return;
        }
        put!(out, "<div class=trouble>");
        for (name, class) in &self.troubled {
            put!(out, "<a class=\"{class}\" href=\"#{0}\">{0}</a>", Esc(name));
        }
        put!(out, "</div>\n");
    }
}

/// The numbers that a wall wants to see.
fn tiles(view: &View<'_>, tally: &Tally, out: &mut Vec<u8>) {
    let (shared, process) = (view.shared, &view.shared.process);
    put!(out, "<div class=tiles>");
    let mut tile = |class: &str, name: &str, value: &dyn fmt::Display, of: &dyn fmt::Display| {
        put!(
            out,
            "<div class=\"tile {class}\"><span>{name}</span><b>{value}</b> <small>{of}</small></div>"
        );
    };
    let fronts = || shared.shards.iter().flat_map(|s| s.frontends.iter());
    let connections: u64 = fronts().map(|f| f.connection_rate.rate(view.now)).sum();
    let sessions: u64 = fronts().map(|f| f.session_rate.rate(view.now)).sum();
    let requests: u64 = fronts().map(|f| f.request_rate.rate(view.now)).sum();
    let bits = Bits::of(view);
    let class = match (tally.down, tally.servers) {
        (_, 0) => "",
        (0, _) => "ok",
        _ => "bad",
    };
    tile(
        class,
        "servers up",
        &tally.serving,
        &match tally.down {
            0 => format!("of {}", tally.servers),
            down => format!("of {}, {down} down", tally.servers),
        },
    );
    tile(
        "",
        "connections",
        &process.connections.load(Relaxed),
        &format!("of {}", process.maxconn.load(Relaxed)),
    );
    tile("", "conn rate", &connections, &"/s");
    tile("", "session rate", &sessions, &"/s");
    tile("", "request rate", &requests, &"/s");
    tile(
        "",
        "bit rate",
        &format_args!("{:.1}", bits.number),
        &bits.unit,
    );
    tile("", "idle", &idle(view), &"%");
    tile("", "uptime", &Age(view.since(0) / 1000), &"");
    put!(out, "</div>\n");
}

/// Bits sent to clients in the last second, in a unit that leaves few digits.
#[derive(Debug)]
struct Bits {
    number: f64,
    unit: &'static str,
}

impl Bits {
    fn of(view: &View<'_>) -> Self {
        const UNITS: [&str; 4] = ["bps", "kbps", "Mbps", "Gbps"];
        let bytes = view.shared.process.bytes_out_rate.load(Relaxed);
        let (mut number, mut at) = (bytes as f64 * 8.0, 0);
        while number >= 1000.0 && at + 1 < UNITS.len() {
            number /= 1000.0;
            at += 1;
        }
        let unit = UNITS[at];
        Self { number, unit }
    }
}

/// Idle time of the shards over the last second, in per cent.
fn idle(view: &View<'_>) -> u32 {
    let shards = &view.shared.shards;
    let load: u32 = shards
        .iter()
        .map(|s| s.load_permille.load(Relaxed).min(1000))
        .sum();
    100 - load / u32::try_from(shards.len().max(1)).unwrap_or(u32::MAX) / 10
}

/// What haproxy's page tells about the process.
fn process(view: &View<'_>, out: &mut Vec<u8>) {
    let (shared, process) = (view.shared, &view.shared.process);
    let uptime = view.since(0) / 1000;
    let sum = |of: fn(&ActivityCounters) -> &Counter| shared.sum(|s| of(&s.activity));
    let memory = match view.facts.memory_max {
        0 => "unlimited".to_owned(),
        bytes => format!("{} MB", bytes >> 20),
    };
    let pipes = sum(|a| &a.pipes_used);
    let fronts = || shared.shards.iter().flat_map(|s| s.frontends.iter());
    let rate: u64 = fronts().map(|f| f.connection_rate.rate(view.now)).sum();
    let bits = Bits::of(view);
    put!(
        out,
        "<div class=info><p><b>pid = </b> {} (process #1, nbproc = 1, nbthread = {})</p>\
         <p><b>uptime = </b> {}d {}h{:02}m{:02}s</p>\
         <p><b>system limits:</b> memmax = {memory}; ulimit-n = {}</p>\
         <p><b>maxsock = </b> {}; <b>maxconn = </b> {}; <b>reached = </b> {}; <b>maxpipes = </b> {}</p>\
         <p>current conns = {}; current pipes = {pipes}/{}; conn rate = {rate}/sec; bit rate = {:.3} {}</p>\
         <p>Running tasks: 0/{}; idle = {} %</p>",
        process.pid.load(Relaxed),
        shared.shards.len(),
        uptime / 86_400,
        uptime / 3600 % 24,
        uptime / 60 % 60,
        uptime % 60,
        process.ulimit_n.load(Relaxed),
        process.maxsock.load(Relaxed),
        process.maxconn.load(Relaxed),
        process.maxconn_reached.load(Relaxed),
        process.maxpipes.load(Relaxed),
        process.connections.load(Relaxed),
        pipes + sum(|a| &a.pipes_free),
        bits.number,
        bits.unit,
        sum(|a| &a.slots_used),
        idle(view),
    );
    put!(out, "<p><b>load of threads:</b>");
    for shard in &shared.shards {
        put!(out, " {}%", shard.load_permille.load(Relaxed).div_ceil(10));
    }
    put!(
        out,
        "; <b>copied = </b> {} B; <b>spliced = </b> {} B</p></div>\n",
        sum(|a| &a.bytes_copied),
        sum(|a| &a.bytes_spliced)
    );
}
