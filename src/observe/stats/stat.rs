//! `show stat`: which rows, in which form (management.txt 9.3).

use super::columns::{COLUMNS, Col, FIRST_MODULE};
use super::latency::Whose;
use super::rows::{self, Kind, Row};
use super::value::{Form, Value, push_json_field, push_typed_end};
use super::{Dump, PIECE_BYTES, View};
use crate::config::{Config, Proxy, ProxyId, ServerId};
use crate::shared::server_cell::{OpState, admin};
use std::io::Write;

/// What `show stat` was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub form: Form,
    /// `iid` of the only proxy wanted.
    pub iid: Option<u32>,
    /// Bits of [`Kind`]; `None`: all.
    pub kinds: Option<u32>,
    /// Number of the only server or listener wanted; frontends and backends do not mind it.
    pub sid: Option<u32>,
    /// `no-maint`: without servers in maintenance.
    pub no_maint: bool,
    /// `up`: only servers that are up.
    pub up: bool,
    /// Another domain than `proxy`: no rows.
    pub nothing: bool,
    /// Without addresses, cookies and algorithms: a page without `stats show-legends`.
    pub no_legends: bool,
}

/// Which proxies a statistics page shows; the default shows all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The proxy whose `stats scope` lines hold.
    pub of: Option<ProxyId>,
    /// Part of the names wanted, in any case; empty: all.
    pub search: String,
}

impl Scope {
    pub fn shows(&self, config: &Config, proxy: &Proxy) -> bool {
        let page = self.of.and_then(|id| config.proxy(id).http.stats.as_ref());
        let listed = page.is_none_or(|p| p.scope.is_empty() || p.scope.contains(&proxy.name));
        let wanted = self.search.as_bytes();
        let found = || {
            let mut parts = proxy.name.as_bytes().windows(wanted.len());
            parts.any(|part| part.eq_ignore_ascii_case(wanted))
        };
        !proxy.disabled && listed && (wanted.is_empty() || found())
    }
}

impl Filter {
    fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_none_or(|bits| bits & kind.bit() != 0)
    }

    fn wants_sid(&self, sid: u32) -> bool {
        self.sid.is_none_or(|wanted| wanted == sid)
    }
}

/// Where a dump stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Frontend,
    Listener(usize),
    Server(usize),
    Backend,
}

/// A `show stat` under way.
#[derive(Debug)]
pub struct StatDump {
    filter: Filter,
    scope: Scope,
    proxy: usize,
    part: Part,
    started: bool,
    /// Rows written, for the commas of JSON.
    rows: u64,
}

impl StatDump {
    pub fn new(filter: Filter) -> Self {
        Self::scoped(filter, Scope::default())
    }

    pub fn scoped(filter: Filter, scope: Scope) -> Self {
        Self {
            filter,
            scope,
            proxy: 0,
            part: Part::Frontend,
            started: false,
            rows: 0,
        }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    fn push_row(&mut self, mut row: Row<'_>, out: &mut Vec<u8>) {
        if self.filter.no_legends {
            for column in [Col::Addr, Col::Cookie, Col::Algo] {
                row.set(column, Value::Empty);
            }
        }
        match self.filter.form {
            Form::Plain => {
                row.push_csv(out);
                out.push(b'\n');
            }
            Form::Typed => push_typed_row(&row, out),
            Form::Json => {
                if self.rows > 0 {
                    out.push(b',');
                }
                push_json_row(&row, out);
            }
        }
        self.rows += 1;
    }

    /// Writes the row at `part`, if it is wanted, and goes on to the next.
    fn step(&mut self, view: &View<'_>, out: &mut Vec<u8>) {
        let config = &view.shared.config;
        let proxy = &config.proxies[self.proxy];
        if self.filter.nothing
            || !self.scope.shows(config, proxy)
            || self.filter.iid.is_some_and(|iid| iid != proxy.iid)
        {
            self.proxy += 1;
            return;
        }
        match self.part {
            Part::Frontend => {
                if let Some(id) = proxy.frontend.filter(|_| self.filter.wants(Kind::Frontend)) {
                    let mut row = rows::frontend(view, id);
                    Whose::Frontend(id).put(view, &mut row);
                    self.push_row(row, out);
                }
                self.part = Part::Listener(0);
            }
            Part::Listener(at) => {
                let front = proxy
                    .frontend
                    .map(|id| config.frontend(id))
                    .filter(|f| f.socket_stats);
                match front.and_then(|f| f.binds.get(at)) {
                    Some(&bind) => {
                        if self.filter.wants(Kind::Listener)
                            && self.filter.wants_sid(config.bind(bind).luid)
                        {
                            self.push_row(rows::listener(view, bind), out);
                        }
                        self.part = Part::Listener(at + 1);
                    }
                    None => self.part = Part::Server(0),
                }
            }
            Part::Server(at) => {
                let servers = proxy.backend.map(|id| &config.backend(id).servers);
                match servers.and_then(|servers| servers.get(at)) {
                    Some(&server) => {
                        if self.wants_server(view, server) {
                            let mut row = rows::server(view, server);
                            Whose::Server(server).put(view, &mut row);
                            self.push_row(row, out);
                        }
                        self.part = Part::Server(at + 1);
                    }
                    None => self.part = Part::Backend,
                }
            }
            Part::Backend => {
                if let Some(id) = proxy.backend.filter(|_| self.filter.wants(Kind::Backend)) {
                    let hiding = self.filter.up || self.filter.no_maint;
                    let mut row = rows::backend(view, id, hiding);
                    Whose::Backend(id).put(view, &mut row);
                    self.push_row(row, out);
                }
                self.proxy += 1;
                self.part = Part::Frontend;
            }
        }
    }

    fn wants_server(&self, view: &View<'_>, id: ServerId) -> bool {
        let filter = &self.filter;
        filter.wants(Kind::Server)
            && filter.wants_sid(view.shared.config.server(id).puid)
            && !is_hidden(view, id, filter.up, filter.no_maint)
    }
}

/// Whether `up` or `no-maint` hides this server at the moment.
pub(super) fn is_hidden(view: &View<'_>, id: ServerId, up: bool, no_maint: bool) -> bool {
    let cell = view.shared.server(id);
    let in_maintenance = cell.admin() & admin::MAINT != 0;
    (in_maintenance && (no_maint || up)) || (cell.op() == OpState::Stopped && up)
}

impl StatDump {
    /// As [`Dump::more`], but stops with the row that reaches a length of `until`.
    pub(super) fn more_until(&mut self, view: &View<'_>, out: &mut Vec<u8>, until: usize) -> bool {
        if !self.started {
            self.started = true;
            match self.filter.form {
                Form::Plain => push_header(out),
                Form::Typed => {}
                Form::Json => out.push(b'['),
            }
        }
        while self.proxy < view.shared.config.proxies.len() {
            if out.len() >= until {
                return true;
            }
            self.step(view, out);
        }
        if self.filter.form == Form::Json {
            out.extend_from_slice(b"]\n");
        }
        false
    }
}

impl Dump for StatDump {
    fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        let until = out.len() + PIECE_BYTES;
        self.more_until(view, out, until)
    }
}

/// `# pxname,svname,…,-,…,` and a line feed.
pub fn push_header(out: &mut Vec<u8>) {
    out.extend_from_slice(b"# ");
    for (at, column) in COLUMNS.iter().enumerate() {
        if at == FIRST_MODULE {
            out.extend_from_slice(b"-,");
        }
        out.extend_from_slice(column.name.as_bytes());
        out.push(b',');
    }
    out.push(b'\n');
}

/// `S.5.1.3.qmax.1:MMPV:u32:0`, a line each.
fn push_typed_row(row: &Row<'_>, out: &mut Vec<u8>) {
    for (at, name, tags, value) in row.fields() {
        write!(
            out,
            "{}.{}.{}.{at}.{name}",
            row.kind.letter(),
            row.iid,
            row.sid
        )
        .expect("a vector takes every byte");
        push_typed_end(out, tags, value);
        out.push(b'\n');
    }
}

fn push_json_row(row: &Row<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (n, (at, name, tags, value)) in row.fields().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        let (kind, iid, sid) = (row.kind.name(), row.iid, row.sid);
        write!(
            out,
            "{{\"objType\":\"{kind}\",\"proxyId\":{iid},\"id\":{sid},"
        )
        .expect("a vector takes every byte");
        push_json_field(out, at, name, tags, value);
        out.push(b'}');
    }
    out.push(b']');
}

/// The proxy that `show stat`'s first argument names: by name, by `#id` or by number.
pub fn find_proxy(config: &Config, word: &str) -> Option<ProxyId> {
    let by_name = config.proxies.iter().position(|p| p.name == word);
    let number = word.strip_prefix('#').unwrap_or(word).parse::<u32>().ok();
    let at = by_name.or_else(|| config.proxies.iter().position(|p| Some(p.iid) == number))?;
    u32::try_from(at).ok().map(ProxyId)
}

#[cfg(test)]
mod tests;
