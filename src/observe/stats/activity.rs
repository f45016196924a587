//! `show activity`: what each shard did, the total and then one number a shard. Names that haproxy
//! has too mean the same; the others are ours.

use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::View;
use crate::shared::Counter;
use crate::shared::counters::ActivityCounters;
use crate::shared::state::ShardShared;

type Of = fn(&ActivityCounters) -> &Counter;

/// One line each: the name and the counter.
const LINES: &[(&str, Of)] = &[
    ("loops", |a| &a.turns),
    ("wakeups", |a| &a.wakeups),
    ("completions", |a| &a.completions),
    ("operations", |a| &a.operations),
    ("enters", |a| &a.enters),
    ("timers_fired", |a| &a.timers_fired),
    ("messages", |a| &a.messages),
    ("mailbox_full", |a| &a.mailbox_full),
    ("stale_completions", |a| &a.stale_completions),
    ("idle_us", |a| &a.idle_us),
    ("busy_us", |a| &a.busy_us),
    ("accepted", |a| &a.accepted),
    ("placed_out", |a| &a.placed_out),
    ("placed_in", |a| &a.placed_in),
    ("accept_paused", |a| &a.accept_paused),
    ("slots_used", |a| &a.slots_used),
    ("checks", |a| &a.checks),
    ("bytes_copied", |a| &a.bytes_copied),
    ("bytes_spliced", |a| &a.bytes_spliced),
    ("buffer_bytes", |a| &a.buffer_bytes),
    ("pipes_used", |a| &a.pipes_used),
    ("pipes_free", |a| &a.pipes_free),
    ("pipe_bytes", |a| &a.pipe_bytes),
    ("pipe_refused", |a| &a.pipe_refused),
    ("panics", |a| &a.panics),
    ("logs_sent", |a| &a.logs_sent),
    ("logs_dropped", |a| &a.logs_dropped),
];

/// Writes the answer, without the empty line behind it.
pub fn push(view: &View<'_>, out: &mut Vec<u8>) {
    let shards = &view.shared.shards;
    let (s, us) = (view.wall_us / 1_000_000, view.wall_us % 1_000_000);
    put(out, format_args!("thread_id: 1 (1..{})\n", shards.len()));
    put(out, format_args!("date_now: {s}.{us:06}\n"));
    push_line(view, out, "connections", |s| {
        s.connections.load(Relaxed).into()
    });
    push_line(view, out, "load_permille", |s| {
        s.load_permille.load(Relaxed).into()
    });
    for (name, of) in LINES {
        push_line(view, out, name, |s| of(&s.activity).get());
    }
    push_list(out, "cpu", shards.iter().map(|s| s.cpu.load(Relaxed)));
    push_list(
        out,
        "epoll",
        shards.iter().map(|s| i32::from(s.epoll.load(Relaxed))),
    );
    push_list(
        out,
        "alive",
        shards.iter().map(|s| i32::from(s.alive.load(Relaxed))),
    );
}

/// `accepted: 15 [ 4 11 ]`.
fn push_line(view: &View<'_>, out: &mut Vec<u8>, name: &str, of: impl Fn(&ShardShared) -> u64) {
    let values = view.shared.shards.iter().map(&of);
    let total: u64 = values.clone().fold(0, u64::wrapping_add);
    put(out, format_args!("{name}: {total} ["));
    values.for_each(|value| put(out, format_args!(" {value}")));
    out.extend_from_slice(b" ]\n");
}

/// Values that have no total.
fn push_list(out: &mut Vec<u8>, name: &str, values: impl Iterator<Item = i32>) {
    put(out, format_args!("{name}: ["));
    values.for_each(|value| put(out, format_args!(" {value}")));
    out.extend_from_slice(b" ]\n");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes every byte");
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn each_shard_has_a_column_and_the_total_stands_first() {
        let world = fixture::world();
        world.shared.shards[0].activity.accepted.add(4);
        world.shared.shards[1].activity.accepted.add(11);
        let mut out = Vec::new();
        push(&world.view(), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("thread_id: 1 (1..2)\ndate_now: "));
        assert!(text.contains("\naccepted: 15 [ 4 11 ]\n"));
        assert!(text.ends_with("alive: [ 0 0 ]\n"));
    }
}
