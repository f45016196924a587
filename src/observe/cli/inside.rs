//! Commands that look inside the process: memory, threads, tasks, profiling, and the schema of what is told in JSON.
//!
//! haproxy's are about its own machinery (pools, a scheduler, callbacks). Here the same layouts tell of shards, of
//! their slots, buffers and pipes; a number that nobody counts is left out rather than invented.

use std::fmt::Write;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::{Answer, World};
use crate::shared::Counter;
use crate::shared::counters::ActivityCounters;

/// `show pools [by…] [match <prefix>] [<n>]`: what memory is kept for, one line each. Slots and pipes are counted,
/// buffers are bytes; a shard allocates them in chunks of different sizes, so there is no size in parentheses.
pub(super) fn pools(words: &[String], world: &World<'_>) -> Answer {
    let mut filter = Pools::default();
    let mut rest = words.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match word {
            "byname" | "bysize" | "byusage" | "detailed" => {}
            "match" => match rest.next() {
                Some(prefix) => filter.prefix = prefix,
                None => return Answer::error("Missing prefix after 'match'."),
            },
            number => match number.parse() {
                Ok(most) if most > 0 => filter.most = most,
                _ => {
                    return Answer::error(
                        "Expects one of 'byname', 'bysize', 'byusage', 'match <prefix>', or a number of lines.",
                    );
                }
            },
        }
    }
    let sum =
        |of: fn(&ActivityCounters) -> &Counter| world.view.shared.sum(|shard| of(&shard.activity));
    let pipes = (sum(|a| &a.pipes_used), sum(|a| &a.pipes_free));
    let (buffers, in_pipes) = (sum(|a| &a.buffer_bytes), sum(|a| &a.pipe_bytes));
    let lines = [
        format!("  - Pool buffers : {buffers} bytes used"),
        format!(
            "  - Pool pipes : {} allocated ({in_pipes} bytes), {} used",
            pipes.0 + pipes.1,
            pipes.0
        ),
        format!("  - Pool slots : {} used", sum(|a| &a.slots_used)),
    ];
    let fits = |line: &&String| line["  - Pool ".len()..].starts_with(filter.prefix);
    let mut text = String::from("Dumping pools usage.\n");
    let shown = lines.iter().filter(fits).take(filter.most);
    for line in shown {
        text += line;
        text.push('\n');
    }
    writeln!(
        text,
        "Total: {} pools, {} bytes allocated, {buffers} used (~0 by thread caches).",
        lines.len(),
        buffers + in_pipes
    )
    .expect("a string takes every character");
    Answer::Text(text)
}

struct Pools<'a> {
    prefix: &'a str,
    most: usize,
}

impl Default for Pools<'_> {
    fn default() -> Self {
        Self {
            prefix: "",
            most: usize::MAX,
        }
    }
}

/// `show threads`: the shards.
pub(super) fn threads(_: &[String], world: &World<'_>) -> Answer {
    let mut text = String::new();
    for (n, shard) in world.view.shared.shards.iter().enumerate() {
        let a = &shard.activity;
        writeln!(
            text,
            "  Thread {:<2}: act={} alive={} poller={} cpu={} load_permille={}\n      conns={} slots={} loops={} \
             wakeups={} mailbox_full={} panics={}\n      idle_us={} busy_us={}",
            n + 1,
            u8::from(!shard.asleep.load(Relaxed)),
            u8::from(shard.alive.load(Acquire)),
            if shard.epoll.load(Relaxed) { "epoll" } else { "io_uring" },
            shard.cpu.load(Relaxed),
            shard.load_permille.load(Relaxed),
            shard.connections.load(Relaxed),
            a.slots_used.get(),
            a.turns.get(),
            a.wakeups.get(),
            a.mailbox_full.get(),
            a.panics.get(),
            a.idle_us.get(),
            a.busy_us.get(),
        )
        .expect("a string takes every character");
    }
    Answer::Text(text)
}

/// `show tasks`: a shard works through what its ring reports, in order; nothing waits to be run.
pub(super) fn tasks(_: &[String], world: &World<'_>) -> Answer {
    Answer::Text(format!(
        "Running tasks: 0 ({} threads)\n  function                     places     %    lat_tot   lat_avg\n",
        world.view.shared.shards.len()
    ))
}

const PROFILING: &str = "Per-task CPU profiling              : off           # set profiling tasks {on|auto|off}\n\
    Memory usage profiling              : off           # set profiling memory {on|off}\n";

pub(super) fn profiling(_: &[String], _: &World<'_>) -> Answer {
    Answer::Text(PROFILING.to_owned())
}

/// `set profiling`: neither is there, so neither can be switched on.
pub(super) fn set_profiling(words: &[String], _: &World<'_>) -> Answer {
    let value = words.get(1).map_or("", String::as_str);
    match (words.first().map(String::as_str), value) {
        (Some("memory"), "on") => Answer::error("Memory profiling not compiled in."),
        (Some("tasks"), "on" | "auto") => Answer::error(
            "Task profiling is not there: 'show activity' tells how long each shard was busy.",
        ),
        (Some("memory" | "tasks"), "off") => Answer::done(),
        (Some("memory"), _) => Answer::error("Expects either 'on' or 'off'."),
        (Some("tasks"), _) => Answer::error("Expects 'on', 'auto', or 'off'."),
        _ => Answer::error("Expects either 'tasks' or 'memory'."),
    }
}

/// `show schema json`: what `show info json` and `show stat json` look like, in the terms of json-schema.org.
pub(super) fn schema(_: &[String], _: &World<'_>) -> Answer {
    Answer::Text(schema_text() + "\n")
}

fn schema_text() -> String {
    let words = |list: &[&str]| {
        let quoted: Vec<String> = list.iter().map(|word| format!("\"{word}\"")).collect();
        format!("\"enum\":[{}]", quoted.join(","))
    };
    let common = "\"field\":{\"$ref\":\"#/definitions/field\"},\"processNum\":{\"$ref\":\"#/definitions/processNum\"},\
        \"tags\":{\"$ref\":\"#/definitions/tags\"},";
    let item = |title: &str, before: &str, value: &str, required: &str| {
        format!(
            "{{\"title\":\"{title}\",\"type\":\"array\",\"items\":{{\"title\":\"InfoItem\",\"type\":\"object\",\
             \"properties\":{{{before}{common}\"{value}\":{{\"$ref\":\"#/definitions/typedValue\"}}}},\
             \"required\":[{required}\"field\",\"processNum\",\"tags\",\"value\"]}}}}"
        )
    };
    let natural = "{\"type\":\"integer\",\"minimum\":0}";
    let kinds = words(&["Frontend", "Backend", "Listener", "Server", "Unknown"]);
    let info = item("Info", "", "value", "");
    let stat = item(
        "Stat",
        &format!("\"objType\":{{{kinds}}},\"proxyId\":{natural},\"id\":{natural},"),
        "typedValue",
        "\"objType\",\"proxyId\",\"id\",",
    );
    let origins = words(&["Metric", "Status", "Key", "Config", "Product", "Unknown"]);
    let natures = words(&[
        "Gauge", "Limit", "Min", "Max", "Rate", "Counter", "Duration", "Age", "Time", "Name",
        "Output", "Avg", "Unknown",
    ]);
    let scopes = words(&["Cluster", "Process", "Service", "System", "Unknown"]);
    let number = |name: &str, kind: &str, least: i64, most: i64| {
        format!(
            "\"{name}\":{{\"properties\":{{\"type\":{{\"type\":\"string\",\"enum\":[\"{kind}\"]}},\"value\":\
             {{\"type\":\"integer\",\"minimum\":{least},\"maximum\":{most}}}}},\"required\":[\"type\",\"value\"]}}"
        )
    };
    // The largest integer that every reader of JSON keeps exactly (RFC 8259 section 6).
    const EXACT: i64 = (1 << 53) - 1;
    let of: Vec<String> = ["s32", "s64", "u32", "u64", "str"]
        .iter()
        .map(|kind| format!("{{\"$ref\":\"#/definitions/typedValue/definitions/{kind}Value\"}}"))
        .collect();
    let text = |name: &str, kind: &str, of: &str| {
        format!(
            "\"{name}\":{{\"properties\":{{\"type\":{{{kind}}},\"value\":{{\"type\":\"string\"{of}}}}},\
             \"required\":[\"type\",\"value\"]}}"
        )
    };
    format!(
        "{{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"oneOf\":[{info},{stat},{{\"title\":\"Error\",\
         \"type\":\"object\",\"properties\":{{\"errorStr\":{{\"type\":\"string\"}}}},\"required\":[\"errorStr\"]}}],\
         \"definitions\":{{\"field\":{{\"type\":\"object\",\"pos\":{natural},\"name\":{{\"type\":\"string\"}},\
         \"required\":[\"pos\",\"name\"]}},\"processNum\":{{\"type\":\"integer\",\"minimum\":1}},\"tags\":{{\
         \"type\":\"object\",\"origin\":{{\"type\":\"string\",{origins}}},\"nature\":{{\"type\":\"string\",{natures}}},\
         \"scope\":{{\"type\":\"string\",{scopes}}},\"required\":[\"origin\",\"nature\",\"scope\"]}},\"typedValue\":{{\
         \"type\":\"object\",\"oneOf\":[{}],\"definitions\":{{{},{},{},{},{},{}}}}}}}}}",
        of.join(","),
        number("s32Value", "s32", i32::MIN.into(), i32::MAX.into()),
        number("s64Value", "s64", -EXACT, EXACT),
        number("u32Value", "u32", 0, u32::MAX.into()),
        number("u64Value", "u64", 0, EXACT),
        text("strValue", "\"type\":\"string\",\"enum\":[\"str\"]", ""),
        text(
            "unknownValue",
            "\"type\":\"integer\",\"minimum\":0",
            ",\"enum\":[\"unknown\"]"
        ),
    )
}
