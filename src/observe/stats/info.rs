//! `show info`: what the process is and does, in haproxy 3.4's order and then ours
//! (management.txt 9.3).

use std::sync::atomic::Ordering::Relaxed;

use super::value::{Form, Tags, Value, push_json_field, push_typed_end};
use super::{Extra, View};
use crate::config::Mode;
use crate::shared::counters::ActivityCounters;
use crate::shared::{Counter, Phase};

/// One line of `show info`.
#[derive(Debug)]
pub struct Field<'a> {
    /// Its number in the typed form; numbers of fields that are not there stay free.
    pub position: usize,
    pub name: &'static str,
    pub tags: Tags,
    pub value: Value<'a>,
    pub meaning: &'static str,
}

#[derive(Debug, Default)]
struct Fields<'a> {
    list: Vec<Field<'a>>,
    next: usize,
}

impl<'a> Fields<'a> {
    fn add(&mut self, name: &'static str, tags: [u8; 3], value: Value<'a>, meaning: &'static str) {
        self.list.push(Field {
            position: self.next,
            name,
            tags: Tags(tags),
            value,
            meaning,
        });
        self.next += 1;
    }

    /// Leaves numbers free for fields that this build or configuration does not have.
    fn skip(&mut self, count: usize) {
        self.next += count;
    }
}

/// Writes the answer, without the empty line behind it.
pub fn push(view: &View<'_>, extra: &Extra, form: Form, with_meaning: bool, out: &mut Vec<u8>) {
    let fields = fields(view, extra);
    if form == Form::Json {
        out.push(b'[');
    }
    for (n, field) in fields.iter().enumerate() {
        match form {
            Form::Plain => {
                out.extend_from_slice(field.name.as_bytes());
                out.extend_from_slice(b": ");
                field.value.push_plain(out);
            }
            Form::Typed => {
                out.extend_from_slice(format!("{}.{}", field.position, field.name).as_bytes());
                push_typed_end(out, field.tags, &field.value);
            }
            Form::Json => {
                out.extend_from_slice(if n > 0 { b",{" } else { b"{" });
                push_json_field(out, field.position, field.name, field.tags, &field.value);
                out.push(b'}');
                continue;
            }
        }
        if with_meaning {
            out.extend_from_slice(format!(":\"{}\"", field.meaning).as_bytes());
        }
        out.push(b'\n');
    }
    if form == Form::Json {
        out.extend_from_slice(b"]\n");
    }
}

/// All fields. Those about parts that do not exist here (TLS, compression, cache, peers) are 0.
pub fn fields<'a>(view: &View<'a>, extra: &Extra) -> Vec<Field<'a>> {
    let mut list = Fields::default();
    add_product(&mut list, view);
    add_memory(&mut list, view, extra);
    add_connections(&mut list, view);
    add_rates(&mut list, view);
    add_state(&mut list, view, extra);
    add_since_2_6(&mut list, view);
    add_ours(&mut list, view, extra);
    list.list
}

fn activity(view: &View<'_>, of: impl Fn(&ActivityCounters) -> &Counter) -> u64 {
    view.shared.sum(|s| of(&s.activity))
}

fn add_product<'a>(list: &mut Fields<'a>, view: &View<'a>) {
    let facts = view.facts;
    let uptime = view.since(0) / 1000;
    let spelled = format!(
        "{}d {}h{:02}m{:02}s",
        uptime / 86_400,
        uptime / 3600 % 24,
        uptime / 60 % 60,
        uptime % 60
    );
    list.add("Name", *b"POS", Value::text(facts.name.as_str()), "Product");
    list.add(
        "Version",
        *b"POS",
        Value::text(facts.version.as_str()),
        "Version: the haproxy it stands in for, then its own",
    );
    list.add(
        "Release_date",
        *b"POS",
        Value::text(facts.release_date.as_str()),
        "Date of this version",
    );
    list.add(
        "Nbthread",
        *b"CGS",
        Value::small(view.shared.shards.len()),
        "Shards, one thread each",
    );
    list.add(
        "Nbproc",
        *b"CGS",
        Value::U32(1),
        "Worker processes, always 1",
    );
    list.add(
        "Process_num",
        *b"KGP",
        Value::U32(1),
        "Number of this worker process, always 1",
    );
    list.add(
        "Pid",
        *b"SGP",
        Value::U32(view.shared.process.pid.load(Relaxed)),
        "Process id",
    );
    list.add("Uptime", *b"MDP", Value::text(spelled), "Time since start");
    list.add(
        "Uptime_sec",
        *b"MDP",
        Value::small(uptime),
        "Seconds since start",
    );
}

fn add_memory<'a>(list: &mut Fields<'a>, view: &View<'a>, extra: &Extra) {
    let buffers = activity(view, |a| &a.buffer_bytes);
    list.add(
        "Memmax_MB",
        *b"CLP",
        Value::small(view.facts.memory_max >> 20),
        "Limit of memory in MB (-m), 0 for none",
    );
    list.add(
        "PoolAlloc_MB",
        *b"MGP",
        Value::small(extra.resident >> 20),
        "Resident memory in MB",
    );
    list.add(
        "PoolUsed_MB",
        *b"MGP",
        Value::small(buffers >> 20),
        "MB in relay buffers",
    );
    list.add(
        "PoolFailed",
        *b"MCP",
        Value::U32(0),
        "Allocations that failed (one that fails ends the process)",
    );
}

fn add_connections<'a>(list: &mut Fields<'a>, view: &View<'a>) {
    let (shared, process) = (view.shared, &view.shared.process);
    let accepted: u64 = shared.sum(|s| &s.activity.accepted);
    let requests: u64 = (0..shared.frontends.len())
        .map(|at| match shared.config.frontends[at].mode {
            Mode::Tcp => shared.sum(|s| &s.frontends[at].sessions),
            Mode::Http => shared.sum(|s| &s.frontends[at].requests),
        })
        .sum();
    let requests = requests.wrapping_add(shared.sum(|s| &s.cleared.requests));
    let maxconn = process.maxconn.load(Relaxed);
    list.add(
        "Ulimit-n",
        *b"CLP",
        Value::small(process.ulimit_n.load(Relaxed)),
        "Limit of open files",
    );
    list.add(
        "Maxsock",
        *b"CLP",
        Value::small(process.maxsock.load(Relaxed)),
        "Descriptors needed at full load",
    );
    list.add(
        "Maxconn",
        *b"CLP",
        Value::U32(maxconn),
        "Limit of connections now in force",
    );
    list.add(
        "Hard_maxconn",
        *b"CLP",
        Value::U32(view.facts.hard_maxconn),
        "Limit of connections it started with",
    );
    list.add(
        "CurrConns",
        *b"MGP",
        Value::U32(process.connections.load(Relaxed)),
        "Connections open",
    );
    list.add(
        "CumConns",
        *b"MCP",
        Value::small(accepted),
        "Connections accepted",
    );
    list.add(
        "CumReq",
        *b"MCP",
        Value::small(requests),
        "Requests, or sessions in TCP",
    );
    list.add(
        "MaxSslConns",
        *b"MMP",
        Value::U32(0),
        "Limit of TLS connections, 0 for none",
    );
    list.add(
        "CurrSslConns",
        *b"MGP",
        Value::U32(0),
        "TLS connections open",
    );
    list.add(
        "CumSslConns",
        *b"MCP",
        Value::U32(0),
        "TLS connections made",
    );
    list.add(
        "Maxpipes",
        *b"CLP",
        Value::small(process.maxpipes.load(Relaxed)),
        "Limit of pipes for splicing",
    );
    list.add(
        "PipesUsed",
        *b"MGP",
        Value::small(activity(view, |a| &a.pipes_used)),
        "Pipes in use",
    );
    list.add(
        "PipesFree",
        *b"MGP",
        Value::small(activity(view, |a| &a.pipes_free)),
        "Pipes ready for use",
    );
}

fn add_rates<'a>(list: &mut Fields<'a>, view: &View<'a>) {
    let shared = view.shared;
    let mut connections = 0;
    let mut sessions = 0;
    for front in shared.shards.iter().flat_map(|s| s.frontends.iter()) {
        connections += front.connection_rate.rate(view.now);
        sessions += front.session_rate.rate(view.now);
    }
    let process = &shared.process;
    list.add(
        "ConnRate",
        *b"MRP",
        Value::small(connections),
        "Connections of the last second",
    );
    list.add(
        "ConnRateLimit",
        *b"CLP",
        Value::U32(process.connection_rate_limit.load(Relaxed)),
        "Limit of ConnRate, 0 for none",
    );
    list.add(
        "MaxConnRate",
        *b"MMP",
        Value::small(process.connection_rate_max.load(Relaxed)),
        "Highest ConnRate",
    );
    list.add(
        "SessRate",
        *b"MRP",
        Value::small(sessions),
        "Sessions of the last second",
    );
    list.add(
        "SessRateLimit",
        *b"CLP",
        Value::U32(process.session_rate_limit.load(Relaxed)),
        "Limit of SessRate, 0 for none",
    );
    list.add(
        "MaxSessRate",
        *b"MRP",
        Value::small(process.session_rate_max.load(Relaxed)),
        "Highest SessRate",
    );
    for (name, tags) in [
        ("SslRate", b"MRP"),
        ("SslRateLimit", b"CLP"),
        ("MaxSslRate", b"MMP"),
        ("SslFrontendKeyRate", b"MGP"),
        ("SslFrontendMaxKeyRate", b"MMP"),
        ("SslFrontendSessionReuse_pct", b"MGP"),
        ("SslBackendKeyRate", b"MRP"),
        ("SslBackendMaxKeyRate", b"MMP"),
        ("SslCacheLookups", b"MCP"),
        ("SslCacheMisses", b"MCP"),
        ("CompressBpsIn", b"MRP"),
        ("CompressBpsOut", b"MRP"),
        ("CompressBpsRateLim", b"CLP"),
    ] {
        list.add(name, *tags, Value::U32(0), "No TLS and no compression yet");
    }
    // ZlibMemUsage and MaxZlibMemUsage, of builds with zlib.
    list.skip(2);
}

fn add_state<'a>(list: &mut Fields<'a>, view: &View<'a>, extra: &Extra) {
    let (shared, config) = (view.shared, &view.shared.config);
    let shards = u32::try_from(shared.shards.len())
        .unwrap_or(u32::MAX)
        .max(1);
    let load: u32 = shared
        .shards
        .iter()
        .map(|s| s.load_permille.load(Relaxed).min(1000))
        .sum();
    let listeners = config.binds.len() + config.global.stats_sockets.len();
    let connections = shared.process.connections.load(Relaxed);
    let stopping = matches!(shared.phase(), Phase::SoftStop | Phase::Stop);
    let dropped = shared.process.logs_dropped.load(Relaxed)
        + extra.logs_dropped
        + activity(view, |a| &a.logs_dropped);
    let bytes_out: u64 = (0..shared.frontends.len())
        .map(|at| shared.sum(|s| &s.frontends[at].bytes_out))
        .sum();
    let bytes_out = bytes_out.wrapping_add(shared.sum(|s| &s.cleared.bytes_out));
    list.add(
        "Tasks",
        *b"MGP",
        Value::small(activity(view, |a| &a.slots_used)),
        "Slots in use: sessions and checks",
    );
    list.add(
        "Run_queue",
        *b"MGP",
        Value::U32(0),
        "Tasks waiting to run: a turn leaves none",
    );
    list.add(
        "Idle_pct",
        *b"MaP",
        Value::U32(100 - load / shards / 10),
        "Idle time of the last second in per cent",
    );
    list.add(
        "node",
        *b"COS",
        Value::text(view.facts.node.as_str()),
        "Name of this node",
    );
    match &config.global.description {
        Some(text) => list.add(
            "description",
            *b"COS",
            Value::text(text.as_str()),
            "Description of this node",
        ),
        None => list.skip(1),
    }
    list.add(
        "Stopping",
        *b"MGP",
        Value::U32(stopping.into()),
        "1 while the process ends",
    );
    list.add(
        "Jobs",
        *b"MGP",
        Value::small(u64::from(connections) + listeners as u64),
        "Connections and listeners",
    );
    list.add(
        "Unstoppable Jobs",
        *b"MGP",
        Value::U32(0),
        "Jobs that do not end by themselves",
    );
    list.add(
        "Listeners",
        *b"MGP",
        Value::small(listeners),
        "Listening addresses",
    );
    list.add("ActivePeers", *b"MGP", Value::U32(0), "No peers yet");
    list.add("ConnectedPeers", *b"MGP", Value::U32(0), "No peers yet");
    list.add(
        "DroppedLogs",
        *b"MGP",
        Value::small(dropped),
        "Log lines that could not be sent",
    );
    list.add(
        "BusyPolling",
        *b"MGP",
        Value::U32(0),
        "Never polls without waiting",
    );
    list.add(
        "FailedResolutions",
        *b"MGP",
        Value::U32(0),
        "No run-time resolution yet",
    );
    list.add(
        "TotalBytesOut",
        *b"MGP",
        Value::U64(bytes_out),
        "Bytes sent to clients",
    );
    list.add(
        "TotalSplicedBytesOut",
        *b"MGP",
        Value::U64(activity(view, |a| &a.bytes_spliced)),
        "Bytes sent by splicing",
    );
    list.add(
        "BytesOutRate",
        *b"MRP",
        Value::U64(shared.process.bytes_out_rate.load(Relaxed)),
        "Bytes sent to clients in the last second",
    );
    list.add(
        "DebugCommandsIssued",
        *b"MGP",
        Value::U32(0),
        "There are no debug commands",
    );
    list.add(
        "CumRecvLogs",
        *b"MCP",
        Value::U32(0),
        "Log lines received: none are",
    );
    list.add(
        "Build info",
        *b"POS",
        Value::text(view.facts.version.as_str()),
        "Version",
    );
    list.add(
        "Memmax_bytes",
        *b"CLP",
        Value::U64(view.facts.memory_max),
        "Limit of memory in bytes",
    );
    list.add(
        "PoolAlloc_bytes",
        *b"MGP",
        Value::U64(extra.resident),
        "Resident memory in bytes",
    );
    list.add(
        "PoolUsed_bytes",
        *b"MGP",
        Value::U64(activity(view, |a| &a.buffer_bytes)),
        "Bytes in relay buffers",
    );
    let started = view.shared.wall_us(view.facts.started) / 1_000_000;
    list.add(
        "Start_time_sec",
        *b"MDP",
        Value::small(started),
        "Second since the epoch when it started",
    );
    list.add("Tainted", *b"SGP", Value::text("0"), "Nothing taints it");
}

/// What haproxy added after 2.6.
fn add_since_2_6<'a>(list: &mut Fields<'a>, view: &View<'a>) {
    let process = &view.shared.process;
    let sessions: u64 = (0..view.shared.frontends.len())
        .map(|at| view.shared.sum(|s| &s.frontends[at].sessions))
        .sum();
    let sessions = sessions.wrapping_add(view.shared.sum(|s| &s.cleared.sessions));
    list.add(
        "TotalWarnings",
        *b"MCP",
        Value::small(process.warnings.load(Relaxed)),
        "Warnings since start",
    );
    list.add(
        "MaxconnReached",
        *b"MCP",
        Value::small(process.maxconn_reached.load(Relaxed)),
        "Times Maxconn was reached",
    );
    list.add(
        "BootTime_ms",
        *b"MDP",
        Value::small(view.facts.boot_ms),
        "Milliseconds it took to start",
    );
    list.add(
        "Niced_tasks",
        *b"MGP",
        Value::U32(0),
        "Tasks with another priority",
    );
    list.add(
        "CurrStreams",
        *b"MGP",
        Value::U32(process.connections.load(Relaxed)),
        "Streams open",
    );
    list.add(
        "CumStreams",
        *b"MCP",
        Value::U64(sessions),
        "Streams since start",
    );
    list.add(
        "BlockedTrafficWarnings",
        *b"MCP",
        Value::U32(0),
        "Turns reported as blocking",
    );
    list.add(
        "PatternsAdded",
        *b"MCP",
        Value::U64(0),
        "No maps and ACL files yet",
    );
    list.add(
        "PatternsFreed",
        *b"MCP",
        Value::U64(0),
        "No maps and ACL files yet",
    );
    list.add(
        "NbThreadGroups",
        *b"CGS",
        Value::U32(1),
        "Thread groups, always 1",
    );
}

/// What the shards wait with; where some had to do without a ring, how many.
fn poller<'a>(view: &View<'a>) -> std::borrow::Cow<'a, str> {
    let shards = &view.shared.shards;
    let epoll = shards.iter().filter(|s| s.epoll.load(Relaxed)).count();
    match &view.facts.poller {
        own if epoll == 0 || own == "epoll" => own.as_str().into(),
        _ if epoll == shards.len() => "epoll".into(),
        own => format!("{own}, epoll for {epoll} of {} shards", shards.len()).into(),
    }
}

/// What only this program has.
fn add_ours<'a>(list: &mut Fields<'a>, view: &View<'a>, extra: &Extra) {
    let shared = view.shared;
    let count = |of: fn(&ActivityCounters) -> &Counter| Value::U64(activity(view, of));
    list.add(
        "Poller",
        *b"SGP",
        Value::text(poller(view)),
        "What the shards wait with",
    );
    list.add(
        "ControlPoller",
        *b"SGP",
        Value::text(view.facts.control_poller.as_str()),
        "What the control thread waits with",
    );
    list.add(
        "ShardsAlive",
        *b"MGP",
        Value::U32(shared.process.shards_alive.load(Relaxed)),
        "Shards that run",
    );
    let splicing = if shared.config.global.nosplice {
        "off"
    } else {
        "on"
    };
    list.add("Splicing", *b"CGP", Value::text(splicing), "off: nosplice");
    list.add(
        "TotalBytesCopied",
        *b"MCP",
        count(|a| &a.bytes_copied),
        "Bytes relayed through buffers",
    );
    list.add(
        "TotalBytesSpliced",
        *b"MCP",
        count(|a| &a.bytes_spliced),
        "Bytes relayed through pipes",
    );
    list.add(
        "PipeBytes",
        *b"MGP",
        count(|a| &a.pipe_bytes),
        "Bytes that pipes may hold",
    );
    list.add(
        "PipesRefused",
        *b"MCP",
        count(|a| &a.pipe_refused),
        "Times a stream copied for want of a pipe",
    );
    list.add(
        "BufferBytes",
        *b"MGP",
        count(|a| &a.buffer_bytes),
        "Bytes in relay buffers",
    );
    list.add(
        "RelayMemory",
        *b"CLP",
        Value::U64(shared.config.global.tune.relay_memory),
        "Limit of pipes and buffers together",
    );
    list.add(
        "AcceptPaused",
        *b"MCP",
        count(|a| &a.accept_paused),
        "Times accepting paused for want of descriptors",
    );
    list.add(
        "StaleCompletions",
        *b"MCP",
        count(|a| &a.stale_completions),
        "Completions that came after their slot was freed",
    );
    list.add(
        "HintsLost",
        *b"MCP",
        Value::U64(shared.process.hints_lost.load(Relaxed)),
        "Hints that found a full mailbox",
    );
    list.add(
        "Panics",
        *b"MCP",
        count(|a| &a.panics),
        "Connections ended by a fault of ours",
    );
    list.add(
        "LogsSent",
        *b"MCP",
        count(|a| &a.logs_sent),
        "Log lines sent",
    );
    list.add(
        "ResidentBytes",
        *b"MGP",
        Value::U64(extra.resident),
        "Resident memory",
    );
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    /// Names in the order of `show info` of haproxy 2.6.12, then the ten that since-2.6 names.
    const NAMES: &str = "Name Version Release_date Nbthread Nbproc Process_num Pid Uptime Uptime_sec Memmax_MB \
        PoolAlloc_MB PoolUsed_MB PoolFailed Ulimit-n Maxsock Maxconn Hard_maxconn CurrConns CumConns CumReq \
        MaxSslConns CurrSslConns CumSslConns Maxpipes PipesUsed PipesFree ConnRate ConnRateLimit MaxConnRate \
        SessRate SessRateLimit MaxSessRate SslRate SslRateLimit MaxSslRate SslFrontendKeyRate \
        SslFrontendMaxKeyRate SslFrontendSessionReuse_pct SslBackendKeyRate SslBackendMaxKeyRate SslCacheLookups \
        SslCacheMisses CompressBpsIn CompressBpsOut CompressBpsRateLim Tasks Run_queue Idle_pct node Stopping \
        Jobs Unstoppable_Jobs Listeners ActivePeers ConnectedPeers DroppedLogs BusyPolling FailedResolutions \
        TotalBytesOut TotalSplicedBytesOut BytesOutRate DebugCommandsIssued CumRecvLogs Build_info Memmax_bytes \
        PoolAlloc_bytes PoolUsed_bytes Start_time_sec Tainted TotalWarnings MaxconnReached BootTime_ms \
        Niced_tasks CurrStreams CumStreams BlockedTrafficWarnings PatternsAdded PatternsFreed NbThreadGroups";

    #[test]
    fn the_fields_stand_in_haproxys_order_before_ours() {
        let world = fixture::world();
        let names: Vec<String> = fields(&world.view(), &Extra::default())
            .iter()
            .map(|f| f.name.replace(' ', "_"))
            .collect();
        let wanted: Vec<&str> = NAMES.split_whitespace().collect();
        assert_eq!(names[..wanted.len()].join(" "), wanted.join(" "));
        assert_eq!(names[wanted.len()], "Poller");
    }

    #[test]
    fn typed_numbers_leave_room_for_what_is_not_built_in() {
        let world = fixture::world();
        let mut out = Vec::new();
        push(
            &world.view(),
            &Extra::default(),
            Form::Typed,
            false,
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        let has = |line: &str| assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        has("0.Name.1:POSV:str:HAProxy");
        has("3.Nbthread.1:CGSV:u32:2");
        has("8.Uptime_sec.1:MDPV:u32:93784");
        has("7.Uptime.1:MDPV:str:1d 2h03m04s");
        has("47.Tasks.1:MGPV:u32:0");
        has("52.Stopping.1:MGPV:u32:0");
        has("71.Tainted.1:SGPV:str:0");
        has("72.TotalWarnings.1:MCPP:u32:0");
    }

    #[test]
    fn plain_and_described_lines() {
        let world = fixture::world();
        let mut out = Vec::new();
        push(
            &world.view(),
            &Extra::default(),
            Form::Plain,
            true,
            &mut out,
        );
        assert!(out.starts_with(b"Name: HAProxy:\"Product\"\nVersion: 3.4.0-ringway-test:\""));
    }

    #[test]
    fn json_can_be_read_back() {
        let world = fixture::world();
        let mut out = Vec::new();
        push(
            &world.view(),
            &Extra::default(),
            Form::Json,
            false,
            &mut out,
        );
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read[6]["field"]["name"], "Pid");
        assert_eq!(read[6]["value"]["value"], 4242);
    }
}
