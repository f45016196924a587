//! `show sess`, `shutdown session`, `shutdown sessions server` (management.txt 9.3; the layout is haproxy 3.4's).
//!
//! Sessions belong to their shards, which are asked for a page at a time. Fields that stand for haproxy's own
//! machinery (flags of channels, analysers, calls of tasks) are 0 here; what a session is doing is at the end of
//! its line.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use super::admin::{backend_of, server_of};
use super::{Answer, World};
use crate::base::clock::LocalClock;
use crate::base::tick::Tick;
use crate::lang::value::{Unit, time_ms};
use crate::observe::log::line::push_date;
use crate::observe::stats::{Dump, View};
use crate::shared::survey::{Cursor, Filter, Page, Row, SessionId, Side, Survey};
use crate::shared::{KillFor, Message};

/// How long a shard may take for one page before it is passed over.
const PATIENCE_MS: u64 = 5000;

/// How much is told of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Line,
    Whole,
    /// Nothing: the session was ended.
    Silent,
}

/// A walk over the sessions of all shards.
#[derive(Debug)]
struct SessDump {
    filter: Filter,
    form: Form,
    /// What is said where nothing was found.
    none: &'static str,
    shard: usize,
    from: Cursor,
    asked: Option<(Arc<Survey>, Tick)>,
    waits: bool,
    found: bool,
}

impl SessDump {
    fn new(filter: Filter, form: Form, none: &'static str) -> Self {
        Self {
            filter,
            form,
            none,
            shard: filter.id.map_or(0, |id| id.shard),
            from: Cursor::default(),
            asked: None,
            waits: false,
            found: false,
        }
    }

    /// The answer of the shard whose turn it is, once it is there; an empty one of a shard that is gone or silent.
    fn page(&mut self, view: &View<'_>) -> Option<Page> {
        let cells = &view.shared.shards[self.shard];
        let Some((survey, since)) = &mut self.asked else {
            let survey = Arc::new(Survey {
                from: self.from,
                filter: self.filter,
                kill: self.form == Form::Silent,
                answer: std::sync::OnceLock::new(),
            });
            if !cells.alive.load(Acquire) {
                return Some(Page::default());
            }
            let message = Message::Survey(Arc::clone(&survey));
            if view.shared.send(self.shard, message).is_ok() {
                self.asked = Some((survey, view.now));
            }
            return None;
        };
        if survey.answer.get().is_some() {
            let (survey, _) = self.asked.take()?;
            // The shard lets its copy go right after; until then its rows are copied.
            return Some(match Arc::try_unwrap(survey) {
                Ok(survey) => survey.answer.into_inner().unwrap_or_default(),
                Err(survey) => {
                    let page = survey.answer.get()?;
                    Page {
                        rows: page.rows.clone(),
                        next: page.next,
                    }
                }
            });
        }
        let silent = view.now.since(*since) > PATIENCE_MS || !cells.alive.load(Acquire);
        silent.then(|| {
            self.asked = None;
            Page::default()
        })
    }
}

impl Dump for SessDump {
    fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        self.waits = false;
        if self.shard < view.shared.shards.len() {
            let Some(page) = self.page(view) else {
                self.waits = true;
                return true;
            };
            self.found |= !page.rows.is_empty();
            for row in &page.rows {
                match self.form {
                    Form::Line => push_line(row, view, out),
                    Form::Whole => push_whole(row, view, out),
                    Form::Silent => {}
                }
            }
            match (page.next, self.filter.id) {
                (Some(next), _) => self.from = next,
                (None, Some(_)) => self.shard = usize::MAX,
                (None, None) => {
                    self.shard += 1;
                    self.from = Cursor::default();
                }
            }
            if self.shard < view.shared.shards.len() {
                return true;
            }
        }
        if !self.found {
            out.extend_from_slice(self.none.as_bytes());
        }
        false
    }

    fn waits(&self) -> Option<u32> {
        self.waits.then_some(1)
    }
}

/// A number as `show sess` shows it.
fn id(word: &str) -> Option<SessionId> {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let number = u64::from_str_radix(digits, 16).ok()?;
    (number != 0).then(|| SessionId::unpack(number))
}

const USAGE: &str =
    "Usage: show sess [<id>|all|help] [frontend <f>] [backend <b>] [server <b/s>] [older <age>]
  <id>          one session, at length
  all           all sessions, at length
  frontend <f>  those that came in there
  backend <b>   those that are there
  server <b/s>  those that have a connection to it
  older <age>   those that began so long ago or longer (seconds, or with a unit)
";

/// `show sess [<id>|all|help] [frontend <f>] [backend <b>] [server <b/s>] [older <age>]`.
pub(super) fn show(words: &[String], world: &World<'_>) -> Answer {
    let config = &world.view.shared.config;
    let mut filter = Filter::default();
    let mut form = Form::Line;
    let mut rest = words.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match word {
            "all" => form = Form::Whole,
            "help" => return Answer::Text(USAGE.into()),
            "frontend" => {
                let name = rest.next().unwrap_or("");
                let named = config
                    .proxies
                    .iter()
                    .find(|p| p.frontend.is_some() && p.name == name);
                match named.and_then(|proxy| proxy.frontend) {
                    Some(front) => filter.frontend = Some(front),
                    None => return Answer::error("No such frontend."),
                }
            }
            "backend" => match backend_of(config, rest.next().unwrap_or("")) {
                Some(backend) => filter.backend = Some(backend),
                None => return Answer::error("No such backend."),
            },
            "server" => match server_of(config, rest.next().unwrap_or("")) {
                Ok(server) => filter.server = Some(server),
                Err(why) => return Answer::error(why),
            },
            "older" => match rest.next().map(|age| time_ms(age.as_bytes(), Unit::S)) {
                Some(Ok(ms)) => filter.older_ms = Some(ms.into()),
                _ => return Answer::error("Expects an age behind 'older'."),
            },
            word => match id(word) {
                Some(id) => (filter.id, form) = (Some(id), Form::Whole),
                None => return Answer::error(format!("Unsupported option '{word}'.\n{USAGE}")),
            },
        }
    }
    let none = if filter.id.is_some() {
        "Session not found.\n"
    } else {
        ""
    };
    Answer::Long(Box::new(SessDump::new(filter, form, none)))
}

/// `shutdown session <id>`.
pub(super) fn shutdown(words: &[String], _: &World<'_>) -> Answer {
    let Some(id) = words.first().and_then(|word| id(word)) else {
        return Answer::error("Session pointer expected (use 'show sess').");
    };
    let filter = Filter {
        id: Some(id),
        ..Filter::default()
    };
    let none = "No such session (use 'show sess').\n";
    Answer::Long(Box::new(SessDump::new(filter, Form::Silent, none)))
}

/// `shutdown sessions server <b/s>`.
pub(super) fn shutdown_server(words: &[String], world: &World<'_>) -> Answer {
    let shared = world.view.shared;
    match server_of(&shared.config, words.first().map_or("", String::as_str)) {
        Ok(server) => {
            shared.hint_all(|| Message::KillServer(server, KillFor::Operator));
            Answer::done()
        }
        Err(why) => Answer::error(why),
    }
}

/// `tcpv4`, `tcpv6`, `unix_stream`, and the client: `127.0.0.1:80`, `unix:1`.
fn client(row: &Row, view: &View<'_>) -> (&'static str, String) {
    match row.client {
        Some(SocketAddr::V4(from)) => ("tcpv4", from.to_string()),
        Some(SocketAddr::V6(from)) => ("tcpv6", format!("{}:{}", from.ip(), from.port())),
        None => {
            let bind = view.shared.config.bind(row.bind);
            ("unix_stream", format!("unix:{}", bind.luid))
        }
    }
}

/// `5s`, `2m5s`, `1h2m`, `3d4h`, as haproxy shows ages.
fn human(ms: u64) -> String {
    let s = ms / 1000;
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m{s}s"),
        (0, h, m, _) => format!("{h}h{m}m"),
        (d, h, _, _) => format!("{d}d{h}h"),
    }
}

fn names<'a>(row: &Row, view: &View<'a>) -> (&'a str, &'a str, &'a str) {
    let config = &view.shared.config;
    let front = &config.proxy(config.frontend(row.frontend).proxy).name;
    let back = row.backend.map_or("<NONE>", |id| &*config.backend(id).name);
    let server = row
        .server
        .and_then(|id| config.servers.get(id.index()))
        .map_or("<none>", |server| &*server.name);
    (front, back, server)
}

fn push_line(row: &Row, view: &View<'_>, out: &mut Vec<u8>) {
    let (proto, source) = client(row, view);
    let (front, back, server) = names(row, view);
    let left = row.left_ms.map_or_else(String::new, human);
    let text = format!(
        "{:#x}: proto={proto} src={source} fe={front} be={back} srv={server} ts={:02x} epoch=0 age={} calls=0 rate=0 \
         cpu=0 lat=0 rq[f=0h,i=0,an=00h,ax=] rp[f=0h,i=0,an=00h,ax=] scf=[8,0h,fd={},rex=,wex=] \
         scb=[{},0h,fd={},rex=,wex=] exp={left} rc={} c_exp= stage={} in={} out={}\n",
        row.id,
        SessionId::unpack(row.id).shard,
        human(row.age_ms),
        row.client_fd,
        row.side as u8,
        row.server_fd,
        row.retries,
        row.stage,
        row.bytes_in,
        row.bytes_out,
    );
    out.extend_from_slice(text.as_bytes());
}

/// What haproxy tells at length, as far as there is such a thing here.
fn push_whole(row: &Row, view: &View<'_>, out: &mut Vec<u8>) {
    let config = &view.shared.config;
    let (proto, source) = client(row, view);
    let (front, back, server) = names(row, view);
    let mut clock = LocalClock::new(view.offset_at);
    let wall_us = view.shared.wall_us(row.began);
    out.extend_from_slice(format!("{:#x}: [", row.id).as_bytes());
    push_date(out, wall_us, &mut clock);
    let end = |address: Option<SocketAddr>| {
        address.map_or_else(String::new, |a| format!(" addr={}:{}", a.ip(), a.port()))
    };
    let mode = |mode| match mode {
        crate::config::Mode::Tcp => "tcp",
        crate::config::Mode::Http => "http",
    };
    let state = |side: Side| match side {
        Side::None => "INI",
        Side::Queued => "QUE",
        Side::Pause => "TAR",
        Side::Connecting => "CON",
        Side::Established => "EST",
        Side::Closed => "CLO",
    };
    let exp = row.left_ms.map_or_else(|| "<NEVER>".into(), human);
    let frontend = config.frontend(row.frontend);
    let bind = config.bind(row.bind);
    let mut text = String::new();
    let written = (|| {
        writeln!(
            text,
            "{:03}] id={} proto={proto} source={source}",
            wall_us % 1000,
            row.number
        )?;
        writeln!(
            text,
            "  stage={} conn_retries={} exp={exp} age={} shard={}",
            row.stage,
            row.retries,
            human(row.age_ms),
            SessionId::unpack(row.id).shard
        )?;
        writeln!(
            text,
            "  frontend={front} (id={} mode={}), listener={} (id={}){}",
            config.proxy(frontend.proxy).iid,
            mode(frontend.mode),
            bind.name.as_deref().unwrap_or("?"),
            bind.luid,
            end(row.local)
        )?;
        match row.backend {
            Some(id) => writeln!(
                text,
                "  backend={back} (id={} mode={}){}",
                config.proxy(config.backend(id).proxy).iid,
                mode(config.proxy(config.backend(id).proxy).mode),
                end(row.server_ends.0)
            )?,
            None => writeln!(text, "  backend=<NONE> (id=-1 mode=-)")?,
        }
        match row.server.and_then(|id| config.servers.get(id.index())) {
            Some(own) => writeln!(
                text,
                "  server={server} (id={}){}",
                own.puid,
                end(row.server_ends.1)
            )?,
            None => writeln!(text, "  server=<NONE> (id=-1)")?,
        }
        writeln!(text, "  scf: state=EST fd={}", row.client_fd)?;
        writeln!(
            text,
            "  scb: state={} fd={}",
            state(row.side),
            row.server_fd
        )?;
        writeln!(text, "  req: total={}", row.bytes_in)?;
        writeln!(text, "  res: total={}", row.bytes_out)
    })();
    written.expect("a text takes every character");
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let ages = [0, 59_999, 60_000, 3_600_000, 3_725_000, 90_000_000].map(human);
        assert_eq!(ages, ["0s", "59s", "1m0s", "1h0m", "1h2m", "1d1h"]);
    }

    #[test]
    fn a_number_is_hexadecimal_and_not_zero() {
        assert_eq!(id("0"), None);
        assert_eq!(id("x"), None);
        assert!(id("0x4000001").is_some());
        assert_eq!(id("0x4000001"), id("4000001"));
    }
}
