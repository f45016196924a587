//! The statistics file: `dump stats-file` writes the counters of everything that has a `guid`, and a process that
//! starts with `stats-file` begins with them (configuration.txt 3.1 `stats-file`; management.txt 9.3 and "stats-file").
//!
//! Two tables, a header line each: `#fe guid,stot,…,` with frontends, an empty line, `#be guid,stot,…,` with backends
//! and servers. Columns are found by name, so files of other versions and of haproxy serve as well; what is not known
//! is passed over.

use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::{Dump, PIECE_BYTES, View};
use crate::config::guid::{Guid, Named};
use crate::config::{BackendId, FrontendId, Mode, ServerId};
use crate::shared::state::ShardShared;
use crate::shared::{Counter, Shared};

/// Where a column's number is; `None`: its owner has none such.
enum Place<'a> {
    /// A counter in each shard.
    Shards(fn(&ShardShared, usize) -> &Counter),
    /// One for all.
    Whole(&'a AtomicU64),
}

type OfFrontend = fn(&ShardShared, usize) -> &Counter;

const FRONTEND: &[(&str, OfFrontend)] = &[
    ("stot", |s, i| &s.frontends[i].sessions),
    ("bin", |s, i| &s.frontends[i].bytes_in),
    ("bout", |s, i| &s.frontends[i].bytes_out),
    ("dreq", |s, i| &s.frontends[i].denied_requests),
    ("dresp", |s, i| &s.frontends[i].denied_responses),
    ("ereq", |s, i| &s.frontends[i].request_errors),
    ("hrsp_1xx", |s, i| &s.frontends[i].responses[1]),
    ("hrsp_2xx", |s, i| &s.frontends[i].responses[2]),
    ("hrsp_3xx", |s, i| &s.frontends[i].responses[3]),
    ("hrsp_4xx", |s, i| &s.frontends[i].responses[4]),
    ("hrsp_5xx", |s, i| &s.frontends[i].responses[5]),
    ("hrsp_other", |s, i| &s.frontends[i].responses[0]),
    ("req_tot", |s, i| &s.frontends[i].requests),
    ("dcon", |s, i| &s.frontends[i].denied_connections),
    ("dses", |s, i| &s.frontends[i].denied_sessions),
    ("conn_tot", |s, i| &s.frontends[i].connections),
    ("intercepted", |s, i| &s.frontends[i].intercepted),
];

/// Columns of backends and servers.
const BACKEND: &[&str] = &[
    "stot",
    "bin",
    "bout",
    "dreq",
    "dresp",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "chkfail",
    "chkdown",
    "lbtot",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "cli_abrt",
    "srv_abrt",
    "connect",
    "reuse",
];

fn of_frontend(name: &str) -> Option<Place<'static>> {
    let found = FRONTEND.iter().find(|(known, _)| *known == name);
    found.map(|(_, of)| Place::Shards(*of))
}

fn of_backend<'a>(shared: &'a Shared, id: BackendId, name: &str) -> Option<Place<'a>> {
    Some(Place::Shards(match name {
        "stot" => |s, i| &s.backends[i].sessions,
        "bin" => |s, i| &s.backends[i].bytes_in,
        "bout" => |s, i| &s.backends[i].bytes_out,
        "dreq" => |s, i| &s.backends[i].denied_requests,
        "dresp" => |s, i| &s.backends[i].denied_responses,
        "econ" => |s, i| &s.backends[i].connect_errors,
        "eresp" => |s, i| &s.backends[i].response_errors,
        "wretr" => |s, i| &s.backends[i].retries,
        "wredis" => |s, i| &s.backends[i].redispatches,
        "chkdown" => return Some(Place::Whole(&shared.backend(id).downs)),
        "lbtot" => |s, i| &s.backends[i].chosen,
        "hrsp_1xx" => |s, i| &s.backends[i].responses[1],
        "hrsp_2xx" => |s, i| &s.backends[i].responses[2],
        "hrsp_3xx" => |s, i| &s.backends[i].responses[3],
        "hrsp_4xx" => |s, i| &s.backends[i].responses[4],
        "hrsp_5xx" => |s, i| &s.backends[i].responses[5],
        "hrsp_other" => |s, i| &s.backends[i].responses[0],
        "cli_abrt" => |s, i| &s.backends[i].client_aborts,
        "srv_abrt" => |s, i| &s.backends[i].server_aborts,
        "connect" => |s, i| &s.backends[i].connects,
        "reuse" => |s, i| &s.backends[i].reuses,
        _ => return None,
    }))
}

fn of_server<'a>(shared: &'a Shared, id: ServerId, name: &str) -> Option<Place<'a>> {
    Some(Place::Shards(match name {
        "stot" => |s, i| &s.servers[i].sessions,
        "bin" => |s, i| &s.servers[i].bytes_in,
        "bout" => |s, i| &s.servers[i].bytes_out,
        "dresp" => |s, i| &s.servers[i].denied_responses,
        "econ" => |s, i| &s.servers[i].connect_errors,
        "eresp" => |s, i| &s.servers[i].response_errors,
        "wretr" => |s, i| &s.servers[i].retries,
        "wredis" => |s, i| &s.servers[i].redispatches,
        "chkfail" => return Some(Place::Whole(&shared.server(id).checks_failed)),
        "chkdown" => return Some(Place::Whole(&shared.server(id).downs)),
        "lbtot" => |s, i| &s.servers[i].chosen,
        "hrsp_1xx" => |s, i| &s.servers[i].responses[1],
        "hrsp_2xx" => |s, i| &s.servers[i].responses[2],
        "hrsp_3xx" => |s, i| &s.servers[i].responses[3],
        "hrsp_4xx" => |s, i| &s.servers[i].responses[4],
        "hrsp_5xx" => |s, i| &s.servers[i].responses[5],
        "hrsp_other" => |s, i| &s.servers[i].responses[0],
        "cli_abrt" => |s, i| &s.servers[i].client_aborts,
        "srv_abrt" => |s, i| &s.servers[i].server_aborts,
        "connect" => |s, i| &s.servers[i].connects,
        "reuse" => |s, i| &s.servers[i].reuses,
        _ => return None,
    }))
}

fn place<'a>(shared: &'a Shared, of: Named, name: &str) -> Option<(Place<'a>, usize)> {
    Some(match of {
        Named::Frontend(id) => (of_frontend(name)?, id.index()),
        Named::Backend(id) => (of_backend(shared, id, name)?, id.index()),
        Named::Server(id) => (of_server(shared, id, name)?, id.index()),
    })
}

impl Place<'_> {
    fn read(&self, shared: &Shared, index: usize) -> u64 {
        match self {
            Place::Shards(of) => shared.sum(|shard| of(shard, index)),
            Place::Whole(cell) => cell.load(Relaxed),
        }
    }

    /// Before the shards run.
    fn begin_with(&self, shared: &Shared, index: usize, number: u64) {
        match self {
            Place::Shards(of) => {
                if let Some(shard) = shared.shards.first() {
                    of(shard, index).set(number);
                }
            }
            Place::Whole(cell) => cell.store(number, Relaxed),
        }
    }
}

/// A `dump stats-file` under way.
#[derive(Debug, Default)]
pub struct StatsFileDump {
    table: usize,
    next: usize,
}

const TABLES: [&str; 2] = ["fe", "be"];

fn columns(table: usize) -> Vec<&'static str> {
    match table {
        0 => FRONTEND.iter().map(|(name, _)| *name).collect(),
        _ => BACKEND.to_vec(),
    }
}

fn is_in(table: usize, guid: &Guid) -> bool {
    matches!(guid.of, Named::Frontend(_)) == (table == 0)
}

impl Dump for StatsFileDump {
    fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        let until = out.len() + PIECE_BYTES;
        let shared = view.shared;
        while self.table < TABLES.len() {
            let names = columns(self.table);
            if self.next == 0 {
                let head = (TABLES[self.table], names.join(","));
                writeln!(out, "#{} guid,{},", head.0, head.1).expect("a vector takes every byte");
            }
            while let Some(guid) = shared.config.guids.get(self.next) {
                if out.len() >= until {
                    return true;
                }
                self.next += 1;
                if is_in(self.table, guid) {
                    push_row(shared, guid, &names, out);
                }
            }
            (self.table, self.next) = (self.table + 1, 0);
            if self.table < TABLES.len() {
                out.push(b'\n');
            }
        }
        false
    }
}

fn push_row(shared: &Shared, guid: &Guid, names: &[&str], out: &mut Vec<u8>) {
    out.extend_from_slice(guid.text.as_bytes());
    out.push(b',');
    for name in names {
        if let Some((place, index)) = place(shared, guid.of, name) {
            write!(out, "{}", place.read(shared, index)).expect("a vector takes every byte");
        }
        out.push(b',');
    }
    out.push(b'\n');
}

/// Lets counters begin with what the file says, before the shards start; what is wrong with it, by line.
pub fn preload(shared: &Shared, text: &str) -> Vec<String> {
    let mut said = Vec::new();
    let mut head: Option<(usize, Vec<&str>)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end();
        if let Some(words) = line.strip_prefix('#') {
            head = header(words);
            if head.is_none() {
                said.push(format!(
                    "line {number}: unknown section '{line}' is passed over"
                ));
            }
            continue;
        }
        let Some((table, names)) = head.as_ref().filter(|_| !line.is_empty()) else {
            continue;
        };
        let mut cells = line.split(',');
        let name = cells.next().unwrap_or_default();
        let of_name = |guid: &&Guid| *guid.text == *name && is_in(*table, guid);
        for guid in shared.config.guids.iter().filter(of_name) {
            for (column, cell) in names.iter().zip(cells.clone()) {
                let Some((place, index)) = place(shared, guid.of, column) else {
                    continue;
                };
                match cell.parse() {
                    Ok(count) => place.begin_with(shared, index, count),
                    Err(_) if cell.is_empty() => {}
                    Err(_) => said.push(format!(
                        "line {number}: '{cell}' is no number for column '{column}'"
                    )),
                }
            }
        }
    }
    without_totals(shared);
    said
}

/// The names behind `fe guid,` or `be guid,`.
fn header(words: &str) -> Option<(usize, Vec<&str>)> {
    let (section, names) = words.split_once(' ')?;
    let table = TABLES.iter().position(|known| *known == section)?;
    let mut names = names.split(',').map(str::trim);
    (names.next()? == "guid").then(|| (table, names.collect()))
}

/// The process' own totals begin with nothing: what was preloaded counts against what was cleared.
fn without_totals(shared: &Shared) {
    let Some(shard) = shared.shards.first() else {
        return;
    };
    for (at, front) in shared.config.frontends.iter().enumerate() {
        let counters = &shard.frontends[FrontendId(at as u32).index()];
        let requests = match front.mode {
            Mode::Tcp => &counters.sessions,
            Mode::Http => &counters.requests,
        };
        shard.cleared.sessions.sub(counters.sessions.get());
        shard.cleared.requests.sub(requests.get());
        shard.cleared.bytes_out.sub(counters.bytes_out.get());
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    const CONFIG: &str = "
defaults
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend web
    guid web:1
    bind 127.0.0.1:1
    default_backend app
backend app
    guid app
    server a 127.0.0.1:2 guid srv-a
    server b 127.0.0.1:3
listen both
    bind 127.0.0.1:4
    guid both
";

    fn dumped(world: &fixture::World) -> String {
        let (mut dump, mut out) = (StatsFileDump::default(), Vec::new());
        while dump.more(&world.view(), &mut out) {}
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_has_a_name_is_written_and_read_again() {
        let before = fixture::world_of(CONFIG);
        before.shared.shards[0].frontends[0].sessions.add(3);
        before.shared.shards[1].frontends[0].sessions.add(4);
        before.shared.shards[1].servers[0].responses[2].add(5);
        before.shared.servers[0].downs.store(6, Relaxed);
        let text = dumped(&before);
        assert!(text.starts_with("#fe guid,stot,bin,bout,"), "{text}");
        assert!(text.contains("\nweb:1,7,0,0,"), "{text}");
        assert!(text.contains("\n\n#be guid,stot,bin,bout,dreq,"), "{text}");
        assert!(
            text.contains("\nsrv-a,0,0,0,,0,0,0,0,0,0,6,0,0,5,"),
            "{text}"
        );
        assert_eq!(text.matches("\nboth,").count(), 2);
        let after = fixture::world_of(CONFIG);
        assert_eq!(preload(&after.shared, &text), Vec::<String>::new());
        assert_eq!(dumped(&after), text);
        let totals = after.shared.sum(|s| &s.frontends[0].sessions);
        assert_eq!(totals, 7);
        let cleared = after.shared.sum(|s| &s.cleared.sessions);
        assert_eq!(
            totals.wrapping_add(cleared),
            0,
            "the process did nothing yet"
        );
    }

    #[test]
    fn columns_are_found_by_name_and_the_unknown_is_passed_over() {
        let world = fixture::world_of(CONFIG);
        let text =
            "#fe guid,new,stot,\nweb:1,9,8,\nnobody,1,2,\nweb:1,,x,\n\n#li guid,stot,\nweb:1,5,\n";
        let said = preload(&world.shared, text);
        assert_eq!(
            said,
            [
                "line 4: 'x' is no number for column 'stot'",
                "line 6: unknown section '#li guid,stot,' is passed over"
            ]
        );
        assert_eq!(world.shared.sum(|s| &s.frontends[0].sessions), 8);
    }
}
