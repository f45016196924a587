//! The statistics page of a proxy (`stats enable`, `stats uri`, …): which requests are for it, who may see it, and the
//! answer as HTML, CSV, typed text or JSON, or the live view, written a piece at a time so that thousands of servers
//! do not hold up a shard.
//!
//! What a driver does with a request of method GET, HEAD or POST that no rule has answered, once for the frontend's
//! page and then for the backend's:
//!
//! 1. [`Stats::matches`] on path and query; `None`: the request goes on.
//! 2. `stats http-request` rules, then [`Stats::admits`]; `false` is a 401 with [`Stats::challenge`].
//! 3. GET, HEAD: [`StatsRequest::head`], then [`PageWriter::next`] until it is done.
//! 4. POST: at most [`post::body_max`] bytes of body, [`post::act`], then [`StatsRequest::redirect`].
//!
//! Options, fields, anchors and outcomes are haproxy's (management.txt 9.1; compared with 2.6.12); the looks are ours.

/// Writes formatted text into a vector.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {
        write!($out, $($format)*).expect("a vector takes every byte")
    };
}

pub mod auth;
mod html;
mod live;
pub mod post;
mod table;

use super::View;
use super::prometheus::Exposition;
use super::stat::{Filter, Scope, StatDump};
use super::value::Form;
use crate::config::ProxyId;
use crate::config::http::Stats;
use crate::proto::http::Head;

/// Bytes of a search (`scope=`) that count.
const SEARCH_MAX: usize = 20;
/// What `;json-schema` gives.
const SCHEMA: &str = include_str!("page/schema.json");

/// In which form the answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Html,
    Csv,
    Typed,
    Json,
    Schema,
    /// `;live` and what it loads: see [`live`].
    Live,
    LiveScript,
    LiveStyle,
    LiveData,
}

/// What became of a POST, as the page tells it afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Nothing was asked for, or nothing had to change.
    None,
    /// A name or the action is unknown.
    Errp,
    /// Some names are unknown; the others were done.
    Part,
    Deny,
    /// Too large a body.
    Excd,
    /// A word in the address that is none of these.
    Unkn,
}

impl Outcome {
    /// The four letters behind `;st=`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "DONE",
            Self::None => "NONE",
            Self::Errp => "ERRP",
            Self::Part => "PART",
            Self::Deny => "DENY",
            Self::Excd => "EXCD",
            Self::Unkn => "UNKN",
        }
    }

    fn of(code: &[u8]) -> Self {
        let all = [
            Self::Done,
            Self::None,
            Self::Errp,
            Self::Part,
            Self::Deny,
            Self::Excd,
        ];
        let named = |o: &Self| code.starts_with(o.code().as_bytes());
        all.into_iter().find(named).unwrap_or(Self::Unkn)
    }
}

/// A request for a statistics page: the options behind the page's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsRequest {
    pub content: Content,
    /// `;up`: without servers that are down.
    pub up: bool,
    /// `;no-maint`: without servers in maintenance.
    pub no_maint: bool,
    /// `;norefresh`: the browser is not told to come again.
    pub norefresh: bool,
    /// `scope=`: only proxies with this in their names, in any case.
    pub search: String,
    /// `;st=`: what became of the action before.
    pub outcome: Option<Outcome>,
}

impl Content {
    fn is_live(self) -> bool {
        matches!(
            self,
            Self::Live | Self::LiveScript | Self::LiveStyle | Self::LiveData
        )
    }
}

impl Stats {
    /// The request for this page, if `path_and_query` begins with the page's prefix.
    ///
    /// Of an absolute target the scheme and authority are passed over. Options are found wherever they stand behind
    /// the prefix, as haproxy finds them: `;csvx` is `;csv`, and of several forms schema, JSON, typed win over CSV in
    /// this order.
    pub fn matches(&self, path_and_query: &[u8]) -> Option<StatsRequest> {
        let rest = origin_form(path_and_query).strip_prefix(&*self.uri)?;
        let has = |option: &[u8]| find(rest, option).is_some();
        let content = if has(b";json-schema") {
            Content::Schema
        } else if has(b";json") {
            Content::Json
        } else if has(b";typed") {
            Content::Typed
        } else if has(b";csv") {
            Content::Csv
        } else if has(b";live-data") {
            Content::LiveData
        } else if has(b";live.js") {
            Content::LiveScript
        } else if has(b";live.css") {
            Content::LiveStyle
        } else if has(b";live") {
            Content::Live
        } else {
            Content::Html
        };
        let outcome = find(rest, b";st=").map(|at| &rest[at + 4..]);
        Some(StatsRequest {
            content,
            up: has(b";up"),
            no_maint: has(b";no-maint"),
            norefresh: has(b";norefresh"),
            search: search(rest),
            outcome: outcome.filter(|code| code.len() >= 4).map(Outcome::of),
        })
    }
}

/// `/path?query` of a target that may name a scheme and an authority before it.
fn origin_form(target: &[u8]) -> &[u8] {
    let Some(at) = find(target, b"://").filter(|_| !target.starts_with(b"/")) else {
        return target;
    };
    let behind = &target[at + 3..];
    let end = behind.iter().position(|b| b"/?".contains(b));
    end.filter(|&at| behind[at] == b'/')
        .map_or(b"/", |at| &behind[at..])
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

/// The value of the first `scope=`: one with a character that no name has is no search.
fn search(rest: &[u8]) -> String {
    let Some(at) = find(rest, b"scope=") else {
        return String::new();
    };
    let value = rest[at + 6..].split(|b| b"&;?# ".contains(b)).next();
    let value = value.unwrap_or_default();
    let value = &value[..value.len().min(SEARCH_MAX)];
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._-:".contains(b);
    if value.iter().all(allowed) {
        String::from_utf8_lossy(value).into_owned()
    } else {
        String::new()
    }
}

impl StatsRequest {
    /// Status line and fields of the answer to GET and HEAD, without those that frame the body.
    pub fn head(&self, stats: &Stats, head: &mut Head) {
        head.clear();
        head.set_status(200, b"OK");
        head.push(b"cache-control", b"no-cache");
        head.push(
            b"content-type",
            match self.content {
                Content::Html | Content::Live => b"text/html",
                Content::Csv | Content::Typed | Content::LiveData => b"text/plain",
                Content::Json | Content::Schema => b"application/json",
                Content::LiveScript => b"text/javascript",
                Content::LiveStyle => b"text/css",
            },
        );
        if self.content.is_live() {
            // It comes again by itself.
            live::fields(head);
        } else if let Some(seconds) = stats.refresh_s.filter(|_| !self.norefresh) {
            head.push(b"refresh", seconds.to_string().as_bytes());
        }
    }

    /// The whole answer to a POST: back to the page, which tells the outcome.
    pub fn redirect(&self, stats: &Stats, outcome: Outcome, head: &mut Head) {
        let page = Link {
            stats,
            content: "",
            outcome: Some(outcome),
            up: self.up,
            norefresh: self.norefresh,
            search: &self.search,
        };
        let mut location = Vec::new();
        page.push(&mut location);
        head.clear();
        head.set_status(303, b"See Other");
        head.push(b"cache-control", b"no-cache");
        head.push(b"content-type", b"text/plain");
        head.push(b"content-length", b"0");
        head.push(b"location", &location);
    }
}

/// An address of the page, in haproxy's order of options.
#[derive(Clone, Copy, Debug)]
struct Link<'a> {
    stats: &'a Stats,
    /// `;csv` and so on, or nothing.
    content: &'static str,
    outcome: Option<Outcome>,
    up: bool,
    norefresh: bool,
    search: &'a str,
}

impl Link<'_> {
    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stats.uri);
        if let Some(outcome) = self.outcome {
            out.extend_from_slice(b";st=");
            out.extend_from_slice(outcome.code().as_bytes());
        }
        out.extend_from_slice(self.content.as_bytes());
        if self.up {
            out.extend_from_slice(b";up");
        }
        if self.norefresh {
            out.extend_from_slice(b";norefresh");
        }
        if !self.search.is_empty() {
            out.extend_from_slice(b"?scope=");
            out.extend_from_slice(self.search.as_bytes());
        }
    }
}

/// A body under way.
#[derive(Debug)]
pub struct PageWriter {
    body: Body,
    /// What was written beyond the last `max`, and how much of it has gone since.
    rest: Vec<u8>,
    gone: usize,
    more: bool,
}

#[derive(Debug)]
enum Body {
    Html(Box<html::Page>),
    Rows {
        dump: StatDump,
        /// The line about the process is to come before.
        process: bool,
    },
    Metrics(Exposition),
    /// The frame of the live view, of the proxy whose page it is.
    Live(ProxyId, Box<StatsRequest>),
    Fixed(&'static str),
}

impl PageWriter {
    /// `proxy` is the one whose page it is; `admin`: a `stats admin` condition holds, so that actions are offered.
    pub fn new(stats: &Stats, proxy: ProxyId, request: &StatsRequest, admin: bool) -> Self {
        let scope = Scope {
            of: Some(proxy),
            search: request.search.clone(),
        };
        let form = match request.content {
            Content::Typed => Form::Typed,
            Content::Json => Form::Json,
            _ => Form::Plain,
        };
        let filter = Filter {
            form,
            up: request.up,
            no_maint: request.no_maint,
            no_legends: !stats.show_legends,
            ..Filter::default()
        };
        let body = match request.content {
            Content::Html => Body::Html(Box::new(html::Page::new(
                proxy,
                request.clone(),
                scope,
                admin,
            ))),
            Content::Schema => Body::Fixed(SCHEMA),
            Content::Live => Body::Live(proxy, Box::new(request.clone())),
            Content::LiveScript => Body::Fixed(&live::SCRIPT),
            Content::LiveStyle => Body::Fixed(live::STYLE),
            Content::Csv | Content::Typed | Content::Json | Content::LiveData => Body::Rows {
                dump: StatDump::scoped(filter, scope),
                process: request.content == Content::LiveData,
            },
        };
        Self::of(body)
    }

    /// What the Prometheus exporter answers, by the same turns.
    pub fn metrics(exposition: Exposition) -> Self {
        Self::of(Body::Metrics(exposition))
    }

    fn of(body: Body) -> Self {
        Self {
            body,
            rest: Vec::new(),
            gone: 0,
            more: true,
        }
    }

    /// Appends at most `max` bytes; `true` once that was the last of the body. Call it once a turn.
    pub fn next(&mut self, view: &View<'_>, out: &mut Vec<u8>, max: usize) -> bool {
        let limit = out.len() + max;
        let left = &self.rest[self.gone..];
        let now = left.len().min(max);
        out.extend_from_slice(&left[..now]);
        self.gone += now;
        if self.gone < self.rest.len() {
            return false;
        }
        self.rest.clear();
        self.gone = 0;
        while self.more && out.len() < limit {
            self.more = match &mut self.body {
                Body::Html(page) => page.more(view, out),
                Body::Rows { dump, process } => {
                    if std::mem::take(process) {
                        live::process(view, dump.scope(), out);
                    }
                    dump.more_until(view, out, limit)
                }
                Body::Metrics(text) => text.more_until(view, out, limit),
                Body::Live(proxy, request) => {
                    let stats = view.shared.config.proxy(*proxy).http.stats.as_ref();
                    if let Some(stats) = stats {
                        live::frame(view, stats, request, out);
                    }
                    false
                }
                Body::Fixed(text) => {
                    out.extend_from_slice(text.as_bytes());
                    false
                }
            };
        }
        if out.len() > limit {
            self.rest.extend_from_slice(&out[limit..]);
            out.truncate(limit);
        }
        !self.more && self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests;
