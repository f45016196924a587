//! The tables of the page: one a proxy, a row a frontend, bind, server and backend.
//!
//! Every row has the cells of haproxy's table, in its order; those that a kind of row does not have are empty.

use std::io::Write as _;

use super::html::{Age, Esc, Grouped, Millis};
use crate::backend::server::{self, Look};
use crate::config::http::Stats;
use crate::config::{Mode, Proxy, ServerId};
use crate::observe::stats::View;
use crate::observe::stats::columns::{COLUMNS, Col, FIRST_OWN, PERMILLE, SSL_MODULE};
use crate::observe::stats::drain::{self, Progress};
use crate::observe::stats::rows::{Kind, Row};
use crate::observe::stats::value::Value;

/// Groups of columns and the columns in them.
const GROUPS: [(&str, &[&str]); 8] = [
    ("Queue", &["Cur", "Max", "Limit"]),
    ("Session rate", &["Cur", "Max", "Limit"]),
    (
        "Sessions",
        &["Cur", "Max", "Limit", "Total", "LbTot", "Last"],
    ),
    ("Bytes", &["In", "Out"]),
    ("Denied", &["Req", "Resp"]),
    ("Errors", &["Req", "Conn", "Resp"]),
    ("Warnings", &["Retr", "Redis"]),
    (
        "Server",
        &[
            "Status", "LastChk", "Wght", "Act", "Bck", "Chk", "Dwn", "Dwntme", "Thrtle",
        ],
    ),
];
/// Columns of the modules that `stats show-modules` adds: name, and where its statistics begin and end.
const MODULES: [(&str, usize, usize); 3] = [
    ("ssl", SSL_MODULE.start, SSL_MODULE.end),
    ("h2", SSL_MODULE.end, Col::H1OpenConnections as usize),
    ("h1", Col::H1OpenConnections as usize, FIRST_OWN),
];

/// What the list of actions offers: value and text, as haproxy's but for agent checks, which no server has.
const ACTIONS: [(&str, &str); 10] = [
    ("", ""),
    ("ready", "Set state to READY"),
    ("drain", "Set state to DRAIN"),
    ("maint", "Set state to MAINT"),
    ("dhlth", "Health: disable checks"),
    ("ehlth", "Health: enable checks"),
    ("hrunn", "Health: force UP"),
    ("hnolb", "Health: force NOLB"),
    ("hdown", "Health: force DOWN"),
    ("shutdown", "Kill Sessions"),
];

/// A line of a detail: its name, and its value if the row has one.
type Detail = (&'static str, Col);

const FRONT_RATE: [Detail; 3] = [
    ("Current connection rate:", Col::ConnRate),
    ("Current session rate:", Col::Rate),
    ("Current request rate:", Col::ReqRate),
];
const FRONT_RATE_MAX: [Detail; 3] = [
    ("Max connection rate:", Col::ConnRateMax),
    ("Max session rate:", Col::RateMax),
    ("Max request rate:", Col::ReqRateMax),
];
const RESPONSES: [Detail; 6] = [
    ("- HTTP 1xx responses:", Col::Hrsp1xx),
    ("- HTTP 2xx responses:", Col::Hrsp2xx),
    ("- HTTP 3xx responses:", Col::Hrsp3xx),
    ("- HTTP 4xx responses:", Col::Hrsp4xx),
    ("- HTTP 5xx responses:", Col::Hrsp5xx),
    ("- other responses:", Col::HrspOther),
];
const FRONT_ENDS: [Detail; 6] = [
    ("Compressed 2xx:", Col::CompRsp),
    ("Intercepted requests:", Col::Intercepted),
    ("Cache lookups:", Col::CacheLookups),
    ("Cache hits:", Col::CacheHits),
    ("Failed hdr rewrites:", Col::WRew),
    ("Internal errors:", Col::EInt),
];
const BACK_STARTS: [Detail; 3] = [
    ("Cum. sessions:", Col::STot),
    ("New connections:", Col::Connect),
    ("Reused connections:", Col::Reuse),
];
const BACK_ENDS: [Detail; 5] = [
    ("Compressed 2xx:", Col::CompRsp),
    ("Cache lookups:", Col::CacheLookups),
    ("Cache hits:", Col::CacheHits),
    ("Failed hdr rewrites:", Col::WRew),
    ("Internal errors:", Col::EInt),
];
const CONNECTIONS: [Detail; 5] = [
    ("Current active connections:", Col::SCur),
    ("Current used connections:", Col::UsedConnCur),
    ("Current idle connections:", Col::SrvICur),
    ("- unsafe:", Col::IdleConnCur),
    ("- safe:", Col::SafeConnCur),
];
const LIMITS: [Detail; 3] = [
    ("Estimated need of connections:", Col::NeedConnEst),
    ("Active connections limit:", Col::SLim),
    ("Idle connections limit:", Col::SrvILim),
];
const COMPRESSION: [Detail; 4] = [
    ("Response bytes in:", Col::ResBIn),
    ("Compression in:", Col::CompIn),
    ("Compression out:", Col::CompOut),
    ("Compression bypass:", Col::CompByp),
];
const TIMES: [(&str, Col, Col); 4] = [
    ("- Queue time:", Col::QTimeMax, Col::QTime),
    ("- Connect time:", Col::CTimeMax, Col::CTime),
    ("- Responses time:", Col::RTimeMax, Col::RTime),
    ("- Total time:", Col::TTimeMax, Col::TTime),
];

/// haproxy's class of a server's row.
pub(super) fn class_of(look: Look, backup: bool) -> String {
    let look = match look {
        Look::Maintain => return "maintain".to_owned(),
        Look::Up => "up",
        Look::GoingDown => "going_down",
        Look::GoingUp => "going_up",
        Look::Down => "down",
        Look::Nolb => "nolb",
        Look::Draining => "draining",
        Look::NoCheck => "no_check",
    };
    format!("{}_{look}", if backup { "backup" } else { "active" })
}

/// Writes the table of one proxy.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) stats: &'a Stats,
    pub(super) proxy: &'a Proxy,
    /// Actions are offered.
    pub(super) admin: bool,
}

/// A place in a row's cells.
struct Cells<'r, 'o> {
    row: &'r Row<'r>,
    out: &'o mut Vec<u8>,
}

impl Table<'_> {
    fn http(&self) -> bool {
        self.proxy.mode == Mode::Http
    }

    pub(super) fn open(&self, out: &mut Vec<u8>) {
        let name = Esc(&self.proxy.name);
        put!(out, "<section>");
        if self.admin {
            put!(out, "<form method=post>");
        }
        put!(out, "<h3 id=\"{name}\">");
        let link = |out: &mut Vec<u8>| put!(out, "<a class=px href=\"#{name}\">{name}</a>");
        if self.stats.show_legends {
            let side = match (self.proxy.frontend, self.proxy.backend) {
                (Some(_), Some(_)) => "proxy",
                (Some(_), None) => "frontend",
                _ => "backend",
            };
            let mode = if self.http() { "http" } else { "tcp" };
            let iid = self.proxy.iid;
            put!(out, "<span class=t tabindex=0>");
            link(out);
            put!(
                out,
                "<span class=tips>cap: {side}, mode: {mode}, id: {iid}</span></span>"
            );
        } else {
            link(out);
        }
        if let Some(text) = &self.proxy.description {
            put!(out, "<small>{}</small>", Esc(text));
        }
        put!(
            out,
            "</h3>\n<table class=tbl><thead><tr class=titre><th class=n rowspan=2>"
        );
        if self.admin {
            put!(
                out,
                "<input type=checkbox aria-label=\"all servers\" \
                 onclick=\"for(const c of this.form.elements)if(c.name=='s')c.checked=this.checked\">"
            );
        }
        put!(out, "</th>");
        for (group, columns) in GROUPS {
            put!(
                out,
                "<th scope=colgroup colspan={}>{group}</th>",
                columns.len()
            );
        }
        if self.stats.show_modules {
            put!(
                out,
                "<th scope=colgroup colspan={}>Extra modules</th>",
                MODULES.len()
            );
        }
        put!(out, "</tr><tr class=titre>");
        for column in GROUPS.iter().flat_map(|(_, columns)| *columns) {
            put!(out, "<th>{column}</th>");
        }
        if self.stats.show_modules {
            for (module, _, _) in MODULES {
                put!(out, "<th>{module}</th>");
            }
        }
        put!(out, "</tr></thead><tbody>\n");
    }

    pub(super) fn close(&self, out: &mut Vec<u8>) {
        put!(out, "</tbody></table>");
        if self.admin {
            put!(
                out,
                "<div class=act>Choose the action to perform on the checked servers : <select name=action>"
            );
            for (value, text) in ACTIONS {
                put!(out, "<option value=\"{value}\">{text}</option>");
            }
            put!(
                out,
                "</select><input type=hidden name=b value=\"#{}\"><input type=submit value=Apply></div></form>",
                self.proxy.iid
            );
        }
        put!(out, "</section>\n");
    }

    /// Opens a row: class, anchor, and the cell of the name with what the legend says about it. Servers can be checked
    /// for an action.
    fn begin(&self, kind: Kind, class: &str, name: &str, legend: &str, out: &mut Vec<u8>) {
        let proxy = Esc(&self.proxy.name);
        let plus = if kind == Kind::Listener { "+" } else { "" };
        let (anchor, shown) = (format!("{proxy}/{plus}{}", Esc(name)), Esc(name));
        put!(out, "<tr class=\"{class}\" id=\"{anchor}\"><td class=n>");
        if self.admin && kind == Kind::Server {
            put!(
                out,
                "<input type=checkbox name=s value=\"{shown}\" aria-label=\"{shown}\">"
            );
        }
        let has_legend = self.stats.show_legends && !legend.is_empty();
        if has_legend {
            put!(out, "<span class=t tabindex=0>");
        }
        put!(out, "<a class=lfsb href=\"#{anchor}\">{shown}</a>");
        if has_legend {
            put!(out, "<span class=tips>{}</span></span>", Esc(legend));
        }
        put!(out, "</td>");
    }

    fn end(&self, cells: Cells<'_, '_>) {
        let Cells { row, out } = cells;
        if self.stats.show_modules {
            for (module, from, to) in MODULES {
                put!(out, "<td class=ac>");
                if row.values[from..to].iter().any(|value| !value.is_empty()) {
                    put!(out, "<span class=t tabindex=0>{module}<span class=tips>");
                    for (column, value) in COLUMNS[from..to].iter().zip(&row.values[from..to]) {
                        put!(out, "<span>{}</span><b>", column.name);
                        value.push_plain(out);
                        put!(out, "</b>");
                    }
                    put!(out, "</span></span>");
                }
                put!(out, "</td>");
            }
        }
        put!(out, "</tr>\n");
    }

    pub(super) fn frontend(&self, row: &Row<'_>, out: &mut Vec<u8>) {
        self.begin(Kind::Frontend, "frontend", "Frontend", "", out);
        let mut cells = Cells { row, out };
        cells.empty(3);
        let rates = if self.http() { 3 } else { 2 };
        cells.rate(Col::Rate, &FRONT_RATE[..rates], "g");
        cells.rate(Col::RateMax, &FRONT_RATE_MAX[..rates], "");
        cells.limit_above_0(Col::RateLim);
        cells.number(Col::SCur, "g");
        cells.number(Col::SMax, "");
        cells.number(Col::SLim, "");
        cells.with_tip(Col::STot, "", |c| {
            c.detail("Cum. connections:", Col::ConnTot);
            c.detail("Cum. sessions:", Col::STot);
            if self.http() {
                c.detail("Cum. HTTP requests:", Col::ReqTot);
                c.details(&RESPONSES);
                c.details(&FRONT_ENDS);
            }
            c.percentiles();
        });
        cells.empty(2);
        cells.number(Col::BIn, "g b");
        cells.with_tip(Col::BOut, "b", |c| c.details(&COMPRESSION));
        cells.with_tip(Col::DReq, "g", |c| {
            c.detail("Denied requests:", Col::DReq);
            c.detail("Denied connections:", Col::DCon);
            c.detail("Denied sessions:", Col::DSes);
        });
        cells.number(Col::DResp, "");
        cells.error(Col::EReq, "g");
        cells.empty(4);
        cells.status("");
        cells.empty(8);
        self.end(cells);
    }

    pub(super) fn listener(&self, row: &Row<'_>, out: &mut Vec<u8>) {
        let name = text(row, Col::SvName);
        let address = text(row, Col::Addr);
        let legend = match address.as_str() {
            "unix" => format!("unix, id: {}", row.sid),
            _ => format!("{}, id: {}", family(&address), row.sid),
        };
        self.begin(Kind::Listener, "socket", &name, &legend, out);
        let mut cells = Cells { row, out };
        cells.empty(6);
        cells.number(Col::SCur, "g");
        cells.number(Col::SMax, "");
        cells.number(Col::SLim, "");
        cells.number(Col::STot, "");
        cells.empty(2);
        cells.number(Col::BIn, "g b");
        cells.number(Col::BOut, "b");
        cells.number(Col::DReq, "g");
        cells.number(Col::DResp, "");
        cells.error(Col::EReq, "g");
        cells.empty(4);
        cells.status("");
        cells.empty(8);
        self.end(cells);
    }

    pub(super) fn server(&self, id: ServerId, row: &Row<'_>, out: &mut Vec<u8>) {
        let shared = self.view.shared;
        let config = shared.config.server(id);
        let look = server::look(shared, id);
        let address = text(row, Col::Addr);
        let mut legend = match address.as_str() {
            "" => format!("{}, id: {}", config.host_text, row.sid),
            "unix" => format!("unix, id: {}", row.sid),
            _ => format!("{}, id: {}", family(&address), row.sid),
        };
        let cookie = text(row, Col::Cookie);
        if !cookie.is_empty() {
            legend += &format!(", cookie: '{cookie}'");
        }
        let class = class_of(look, config.backup);
        self.begin(Kind::Server, &class, &config.name, &legend, out);
        let mut cells = Cells { row, out };
        cells.queue();
        cells.limit(Col::QLimit);
        cells.number(Col::Rate, "g");
        cells.number(Col::RateMax, "");
        cells.empty(1);
        cells.with_tip(Col::SCur, "g", |c| {
            c.details(&CONNECTIONS);
            c.details(&LIMITS);
        });
        cells.number(Col::SMax, "");
        cells.limit(Col::SLim);
        cells.with_tip(Col::STot, "", |c| {
            c.details(&BACK_STARTS);
            if self.http() {
                c.detail("Cum. HTTP requests:", Col::ReqTot);
                c.details(&RESPONSES);
                c.detail("Failed hdr rewrites:", Col::WRew);
                c.detail("Internal error:", Col::EInt);
            }
            c.times(self.http());
            c.percentiles();
        });
        cells.number(Col::LbTot, "");
        cells.last();
        cells.number(Col::BIn, "g b");
        cells.number(Col::BOut, "b");
        cells.plain("g", "");
        cells.number(Col::DResp, "");
        cells.plain("g", "");
        cells.error(Col::ECon, "");
        cells.resets();
        cells.number(Col::WRetr, "g");
        cells.number(Col::WRedis, "");
        cells.server_status(look, drain::of_server(self.view, id));
        cells.last_check();
        cells.weight();
        let (active, backup) = match config.backup {
            false => (("ac", "Y"), ("ac z", "-")),
            true => (("ac z", "-"), ("ac", "Y")),
        };
        cells.plain(active.0, active.1);
        cells.plain(backup.0, backup.1);
        match config.track {
            Some(tracked) => {
                let name = crate::observe::stats::rows::full_name(self.view, tracked);
                put!(
                    cells.out,
                    "<td class=v><a class=lfsb href=\"#{0}\">via {0}</a></td>",
                    Esc(&name)
                );
                cells.empty(2);
            }
            None => {
                cells.with_tip(Col::ChkFail, "", |c| {
                    c.detail("Failed Health Checks:", Col::ChkFail);
                });
                cells.number(Col::ChkDown, "");
                cells.age(Col::Downtime);
            }
        }
        match &row.values[Col::Throttle as usize] {
            Value::U32(percent) => put!(cells.out, "<td class=ac>{percent} %</td>"),
            _ => cells.plain("ac z", "-"),
        }
        self.end(cells);
    }

    pub(super) fn backend(&self, row: &Row<'_>, out: &mut Vec<u8>) {
        let mut legend = format!("balancing: {}", text(row, Col::Algo));
        let cookie = text(row, Col::Cookie);
        if !cookie.is_empty() {
            legend += &format!(", cookie: '{cookie}'");
        }
        let down = text(row, Col::Status).starts_with("DOWN");
        let class = if down { "backend down" } else { "backend" };
        self.begin(Kind::Backend, class, "Backend", &legend, out);
        let mut cells = Cells { row, out };
        cells.queue();
        cells.empty(1);
        cells.number(Col::Rate, "g");
        cells.number(Col::RateMax, "");
        cells.empty(1);
        cells.number(Col::SCur, "g");
        cells.number(Col::SMax, "");
        cells.number(Col::SLim, "");
        cells.with_tip(Col::STot, "", |c| {
            c.details(&BACK_STARTS);
            if self.http() {
                c.detail("Cum. HTTP requests:", Col::ReqTot);
                c.details(&RESPONSES);
                c.details(&BACK_ENDS);
            }
            c.times(self.http());
            c.percentiles();
        });
        cells.number(Col::LbTot, "");
        cells.last();
        cells.number(Col::BIn, "g b");
        cells.with_tip(Col::BOut, "b", |c| c.details(&COMPRESSION));
        cells.number(Col::DReq, "g");
        cells.number(Col::DResp, "");
        cells.plain("g", "");
        cells.error(Col::ECon, "");
        cells.resets();
        cells.number(Col::WRetr, "g");
        cells.number(Col::WRedis, "");
        cells.status("since");
        cells.empty(1);
        cells.weight();
        cells.number(Col::Act, "ac");
        cells.number(Col::Bck, "ac");
        cells.empty(1);
        cells.number(Col::ChkDown, "");
        cells.age(Col::Downtime);
        cells.empty(1);
        self.end(cells);
    }
}

impl Cells<'_, '_> {
    fn value(&self, column: Col) -> &Value<'_> {
        &self.row.values[column as usize]
    }

    fn count(&self, column: Col) -> Option<u64> {
        match *self.value(column) {
            Value::U32(n) => Some(n.into()),
            Value::U64(n) => Some(n),
            _ => None,
        }
    }

    fn empty(&mut self, count: usize) {
        for _ in 0..count {
            put!(self.out, "<td></td>");
        }
    }

    fn plain(&mut self, class: &str, text: &str) {
        put!(self.out, "<td class=\"{class}\">{}</td>", Esc(text));
    }

    /// A count; zeros are faint, and absent where a phone shows the row.
    fn number(&mut self, column: Col, class: &str) {
        match self.count(column) {
            None => self.plain(class, ""),
            Some(0) => put!(self.out, "<td class=\"z {class}\">0</td>"),
            Some(n) => put!(self.out, "<td class=\"{class}\">{}</td>", Grouped(n)),
        }
    }

    /// A count of what went wrong.
    fn error(&mut self, column: Col, class: &str) {
        match self.count(column) {
            Some(n) if n > 0 => put!(self.out, "<td class=\"e {class}\">{}</td>", Grouped(n)),
            _ => self.number(column, class),
        }
    }

    /// A limit that need not be there.
    fn limit(&mut self, column: Col) {
        match self.count(column) {
            None => self.plain("z", "-"),
            Some(_) => self.number(column, ""),
        }
    }

    /// A limit that is not there where it is 0.
    fn limit_above_0(&mut self, column: Col) {
        match self.count(column) {
            None | Some(0) => self.plain("z", "-"),
            Some(_) => self.number(column, ""),
        }
    }

    fn queue(&mut self) {
        self.number(Col::QCur, "g");
        self.number(Col::QMax, "");
    }

    /// A count with details that show where a pointer or the focus is on it.
    fn with_tip(&mut self, column: Col, class: &str, details: impl FnOnce(&mut Self)) {
        let Some(n) = self.count(column) else {
            self.plain(class, "");
            return;
        };
        let faint = if n == 0 { "z " } else { "" };
        put!(
            self.out,
            "<td class=\"{faint}{class}\"><span class=t tabindex=0>{}<span class=tips>",
            Grouped(n)
        );
        details(self);
        put!(self.out, "</span></span></td>");
    }

    fn details(&mut self, details: &[Detail]) {
        for &(name, column) in details {
            self.detail(name, column);
        }
    }

    /// A line of details; a limit that is not there is a dash, other values that are not there are left out.
    fn detail(&mut self, name: &str, column: Col) {
        match self.count(column) {
            Some(n) => put!(
                self.out,
                "<span>{name}</span><b>{n}{}</b>",
                self.part(column, n)
            ),
            None if matches!(column, Col::SLim | Col::SrvILim) => {
                put!(self.out, "<span>{name}</span><b>-</b>");
            }
            None => {}
        }
    }

    /// ` (50%)` where the count is a part of another.
    fn part(&self, column: Col, n: u64) -> String {
        let whole = match column {
            Col::Reuse => self.count(Col::Connect).unwrap_or(0) + n,
            Col::CacheHits => self.count(Col::CacheLookups).unwrap_or(0),
            Col::CompRsp => self.count(Col::Hrsp2xx).unwrap_or(0),
            Col::CompOut => self.count(Col::CompIn).unwrap_or(0),
            Col::Hrsp1xx
            | Col::Hrsp2xx
            | Col::Hrsp3xx
            | Col::Hrsp4xx
            | Col::Hrsp5xx
            | Col::HrspOther
                if self.row.kind == Kind::Server =>
            {
                self.count(Col::ReqTot).unwrap_or(0)
            }
            _ => return String::new(),
        };
        format!(" ({}%)", (n * 100).checked_div(whole).unwrap_or(0))
    }

    fn rate(&mut self, column: Col, details: &[Detail], class: &str) {
        self.with_tip(column, class, |c| {
            for &(name, column) in details {
                if let Some(n) = c.count(column) {
                    put!(c.out, "<span>{name}</span><b>{n}/s</b>");
                }
            }
        });
    }

    fn times(&mut self, http: bool) {
        put!(self.out, "<em>Max / Avg over last 1024 success. conn.</em>");
        for (name, most, average) in TIMES {
            if http || most as usize != Col::RTimeMax as usize {
                let (most, average) = (self.count(most), self.count(average));
                let (most, average) = (most.unwrap_or(0), average.unwrap_or(0));
                put!(self.out, "<span>{name}</span><b>{most} / {average} ms</b>");
            }
        }
    }

    /// The percentiles of recent times, of the kinds that have any.
    fn percentiles(&mut self) {
        let kinds = TIMES.iter().zip(0..);
        let own = |kind: usize| {
            let first = FIRST_OWN + kind * PERMILLE.len();
            first..first + PERMILLE.len()
        };
        let values = &self.row.values;
        if values[FIRST_OWN..].iter().all(Value::is_empty) {
            return;
        }
        put!(self.out, "<em>p50 / p90 / p99 / p99.9 of late</em>");
        for ((name, _, _), kind) in kinds {
            let values = &values[own(kind)];
            if values.iter().any(Value::is_empty) {
                continue;
            }
            put!(self.out, "<span>{name}</span><b>");
            for (at, value) in values.iter().enumerate() {
                let us = if let Value::U64(us) = value { *us } else { 0 };
                put!(
                    self.out,
                    "{}{}",
                    if at > 0 { " / " } else { "" },
                    Millis(us)
                );
            }
            put!(self.out, " ms</b>");
        }
    }

    /// Time since the last session.
    fn last(&mut self) {
        match *self.value(Col::LastSess) {
            Value::S32(s) if s >= 0 => {
                put!(self.out, "<td>{}</td>", Age(s.unsigned_abs().into()));
            }
            _ => self.plain("z", "?"),
        }
    }

    fn age(&mut self, column: Col) {
        match self.count(column) {
            None => self.plain("", ""),
            Some(0) => self.plain("z", "0s"),
            Some(s) => put!(self.out, "<td>{}</td>", Age(s)),
        }
    }

    fn resets(&mut self) {
        let (client, server) = (self.count(Col::CliAbrt), self.count(Col::SrvAbrt));
        let (client, server) = (client.unwrap_or(0), server.unwrap_or(0));
        let class = match self.count(Col::EResp) {
            Some(n) if n > 0 => "e",
            _ => "",
        };
        self.with_tip(Col::EResp, class, |c| {
            put!(
                c.out,
                "Connection resets during transfers: {client} client, {server} server"
            );
        });
    }

    /// The state of a frontend, bind or backend; of a backend, since when.
    fn status(&mut self, since: &str) {
        let status = text(self.row, Col::Status);
        put!(self.out, "<td class=\"g s\">");
        if !since.is_empty() {
            self.since();
        }
        put!(self.out, "{}</td>", Esc(&status));
    }

    fn since(&mut self) {
        if let Some(seconds) = self.count(Col::LastChg) {
            put!(self.out, "<small>{}</small> ", Age(seconds));
        }
    }

    /// The state of a server; an arrow says where it is going.
    fn server_status(&mut self, look: Look, left: Option<Progress>) {
        let status = text(self.row, Col::Status);
        put!(self.out, "<td class=\"g s\">");
        if look != Look::NoCheck {
            self.since();
        }
        let arrow = match look {
            Look::GoingUp => " &uarr;",
            _ if status.contains('/') && !status.starts_with("MAINT") => " &darr;",
            _ => "",
        };
        put!(self.out, "{}{arrow}", Esc(&status));
        if let Some(Progress { left, oldest_ms }) = left.filter(|p| p.left > 0) {
            put!(self.out, " <small>{left} left");
            if let Some(ms) = oldest_ms {
                put!(self.out, ", oldest {}", Age(ms / 1000));
            }
            put!(self.out, "</small>");
        }
        put!(self.out, "</td>");
    }

    /// `L7OK/200 in 1ms`, and what that means.
    fn last_check(&mut self) {
        let status = text(self.row, Col::CheckStatus);
        if status.is_empty() {
            self.plain("k", "");
            return;
        }
        put!(
            self.out,
            "<td class=k><span class=t tabindex=0>{}",
            Esc(&status)
        );
        if let Some(code) = self.count(Col::CheckCode) {
            put!(self.out, "/{code}");
        }
        if let Some(ms) = self.count(Col::CheckDuration) {
            put!(self.out, " in {ms}ms");
        }
        let (meaning, said) = (text(self.row, Col::CheckDesc), text(self.row, Col::LastChk));
        let colon = if said.is_empty() { "" } else { ": " };
        put!(
            self.out,
            "<span class=tips>{}{colon}{}</span></span></td>",
            Esc(&meaning),
            Esc(&said)
        );
    }

    /// Weight in force and as the operator set it.
    fn weight(&mut self) {
        let (weight, own) = (self.count(Col::Weight), self.count(Col::UWeight));
        let (weight, own) = (weight.unwrap_or(0), own.unwrap_or(0));
        put!(self.out, "<td class=ac>{weight}/{own}</td>");
    }
}

/// A text of the row, empty where there is none.
fn text(row: &Row<'_>, column: Col) -> String {
    match &row.values[column as usize] {
        Value::Str(text) => text.clone().into_owned(),
        _ => String::new(),
    }
}

/// `IPv4: 127.0.0.1:80`.
fn family(address: &str) -> String {
    let family = if address.starts_with('[') {
        "IPv6"
    } else {
        "IPv4"
    };
    format!("{family}: {address}")
}
