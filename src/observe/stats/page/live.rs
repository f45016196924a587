//! The live view: a page that draws the last minutes by asking for the numbers every second.
//!
//! `;live` is a frame without numbers, `;live.js` and `;live.css` are what it loads, and nothing else; `;live-data`
//! is one line of JSON about the process and then the CSV of `show stat`, in one answer, so that a reader never sees
//! counters of one process with the number of another. haproxy's page knows none of these words.

use std::io::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;

use super::StatsRequest;
use super::html::Esc;
use crate::config::http::Stats;
use crate::observe::stats::stat::Scope;
use crate::observe::stats::{View, drain};
use crate::proto::http::Head;
use crate::shared::Counter;
use crate::shared::counters::ActivityCounters;

pub(super) static SCRIPT: LazyLock<String> = LazyLock::new(|| packed(include_str!("live.js")));
pub(super) const STYLE: &str = include_str!("live.css");

/// What the frame may load: its own script and style, numbers from where it came from, and nothing of anybody else.
const POLICY: &[u8] =
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The script without what only its readers need: indentation, and lines of comment. It has no text of several lines.
fn packed(source: &str) -> String {
    let lines = source.lines().map(str::trim);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    code.flat_map(|line| [line, "\n"]).collect()
}

/// Fields of the answer beside those of every page.
pub(super) fn fields(head: &mut Head) {
    head.push(b"content-security-policy", POLICY);
    head.push(b"x-content-type-options", b"nosniff");
    head.push(b"referrer-policy", b"no-referrer");
}

/// The frame: everything in it that is not fixed is escaped, and read by the script from attributes.
pub(super) fn frame(view: &View<'_>, stats: &Stats, request: &StatsRequest, out: &mut Vec<u8>) {
    let uri = String::from_utf8_lossy(&stats.uri);
    let uri = Esc(&uri);
    let node = match stats.show_node.as_deref() {
        Some("") => view.facts.node.as_str(),
        Some(own) => own,
        None => "",
    };
    let on = if node.is_empty() { "" } else { " on " };
    let search = Esc(&request.search);
    put!(
        out,
        "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>Live{on}{}</title>\
         <link rel=icon href=\"data:,\"><link rel=stylesheet href=\"{uri};live.css\">\
         <script src=\"{uri};live.js\" defer></script></head>\n\
         <body data-uri=\"{uri}\" data-scope=\"{search}\"><header><h1>Ringway live<small>{on}{}</small></h1>\
         <p id=state role=status>asking for the first numbers …</p>\
         <nav><label>show <select id=pick></select></label>\
         <label>last <select id=span><option value=120>2 min<option value=300 selected>5 min<option value=600>10 min\
         </select></label><button id=theme type=button>auto</button><a href=\"{uri}",
        Esc(node),
        Esc(node),
    );
    if !request.search.is_empty() {
        put!(out, "?scope={search}");
    }
    put!(
        out,
        "\">statistics</a></nav></header>\n<main><div id=tiles></div><div id=news></div>\
         <section id=focus></section><section id=wall></section></main>\n\
         <noscript>This page draws with a script; the <a href=\"{uri}\">statistics page</a> does without.</noscript>\
         </body></html>\n"
    );
}

/// The line about the process.
pub(super) fn process(view: &View<'_>, scope: &Scope, out: &mut Vec<u8>) {
    let (shared, process) = (view.shared, &view.shared.process);
    let sum = |of: fn(&ActivityCounters) -> &Counter| shared.sum(|s| of(&s.activity));
    put!(
        out,
        "{{\"pid\":{},\"up\":{},\"now\":{},\"conns\":{},\"maxconn\":{},\"out\":{},\
         \"copied\":{},\"spliced\":{},\"shards\":[",
        process.pid.load(Relaxed),
        view.since(0) / 1000,
        view.wall_us / 1000,
        process.connections.load(Relaxed),
        process.maxconn.load(Relaxed),
        process.bytes_out_rate.load(Relaxed),
        sum(|a| &a.bytes_copied),
        sum(|a| &a.bytes_spliced),
    );
    for (at, shard) in shared.shards.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let (load, held) = (&shard.load_permille, &shard.connections);
        put!(
            out,
            "{comma}[{},{}]",
            load.load(Relaxed).min(1000),
            held.load(Relaxed)
        );
    }
    put!(out, "],");
    drain::push_json(view, scope, out);
    put!(out, "}}\n");
}
