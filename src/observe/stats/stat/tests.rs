use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use super::super::columns::FIRST_OWN;
use super::super::fixture::{self, World};
use super::*;
use crate::base::tick::Tick;
use crate::shared::Lap;
use crate::shared::server_cell::LastCheck;

fn dump(world: &World, filter: Filter) -> String {
    let mut out = Vec::new();
    let mut dump = StatDump::new(filter);
    while dump.more(&world.view(), &mut out) {}
    String::from_utf8(out).unwrap()
}

/// Rows by `proxy/name`, each a map from column to field.
fn rows(world: &World, filter: Filter) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = dump(world, filter);
    let mut lines = text.lines();
    let names: Vec<&str> = lines
        .next()
        .unwrap()
        .trim_start_matches("# ")
        .split(',')
        .collect();
    let row = |line: &str| {
        let fields: Vec<String> = line.split(',').map(Into::into).collect();
        assert_eq!(fields.len(), names.len(), "{line}");
        let map = names
            .iter()
            .map(|n| (*n).to_string())
            .zip(fields.clone())
            .collect();
        (format!("{}/{}", fields[0], fields[1]), map)
    };
    lines.map(row).collect()
}

/// haproxy's line with the columns that 3.4 put in: `new` before the `-`, two zeros of TLS after it; ours are empty.
fn as_3_4(line: &str, new: &str) -> String {
    let mut fields: Vec<&str> = line.split(',').collect();
    assert_eq!(fields[103], "-");
    fields.splice(107..107, ["0", "0"]);
    fields.splice(103..103, new.split(','));
    fields.join(",") + &",".repeat(COLUMNS.len() - FIRST_OWN)
}

fn line_of(world: &World, name: &str) -> String {
    let start = name.replace('/', ",") + ",";
    let text = dump(world, Filter::default());
    text.lines().find(|l| l.starts_with(&start)).unwrap().into()
}

#[test]
fn the_header_is_that_of_3_4() {
    let mut out = Vec::new();
    push_header(&mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("# pxname,svname,qcur,"));
    assert!(text.contains(",agg_check_status,srid,sess_other,"));
    assert!(text.contains(",resbout,-,ssl_sess,"));
    assert!(text.ends_with(",ttime_p999_us,\n"));
    assert_eq!(text.split(',').count(), 146 + 16);
}

/// The line haproxy 2.6.12 gave for this frontend after two connections, fields of 3.4 added.
#[test]
fn a_frontend_row() {
    let world = fixture::world();
    let counters = &world.shared.shards[0].frontends[0];
    for (counter, n) in [
        (&counters.sessions, 3),
        (&counters.connections, 3),
        (&counters.bytes_in, 12),
    ] {
        counter.add(n);
    }
    world.shared.shards[1].frontends[0].bytes_out.add(12);
    let state = &world.shared.frontends[0];
    state.connections_max.store(2, Relaxed);
    state.session_rate_max.store(3, Relaxed);
    state.connection_rate_max.store(3, Relaxed);
    let old = "fe,FRONTEND,,,0,2,9981,3,12,12,0,0,0,,,,,OPEN,,,,,,,,,1,2,0,,,,0,0,0,3,,,,,,,,,,,0,0,0,,,0,0,0,0,,,,,,,,,,,,,,,,,,,,,tcp,,0,3,3,,0,0,0,,,,,,,,,,,0,,,,,,,,,-,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,";
    assert_eq!(
        line_of(&world, "fe/FRONTEND"),
        as_3_4(old, ",3,0,0,0,0,0,0,0,,,12,12,12,12")
    );
}

#[test]
fn listeners_have_rows_under_socket_stats_only() {
    let world = fixture::world();
    let counters = &world.shared.shards[1].listeners[0];
    counters.current_max.set(2);
    counters.sessions.add(2);
    counters.bytes_in.add(10);
    counters.bytes_out.add(10);
    let old = "fe,b1,,,0,2,0,2,10,10,0,0,0,,,,,OPEN,,,,,,,,,1,2,1,,,,3,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,127.0.0.1:27001,,tcp,,,,,,0,0,0,,,,,,,,,,,0,,,,,,,,,-,0,0,0,,,,,,,,,,,,,,,,,,,,,,";
    assert_eq!(
        line_of(&world, "fe/b1"),
        as_3_4(old, ",,,,,,,,,tcp,,10,10,10,10")
    );
    let rows = rows(&world, Filter::default());
    assert_eq!(rows["fe/sock-2"]["addr"], "unix");
    assert!(!rows.keys().any(|name| name.starts_with("conn/sock")));
}

#[test]
fn an_unchecked_server_row() {
    let mut world = fixture::world();
    world.now = Tick(53_000);
    let counters = &world.shared.shards[0].servers[0];
    for (counter, n) in [
        (&counters.sessions, 2),
        (&counters.chosen, 2),
        (&counters.bytes_in, 5),
        (&counters.connect_errors, 1),
        (&counters.redispatches, 1),
        (&counters.connects, 2),
        (&counters.last_session_s, 3),
    ] {
        counter.add(n);
    }
    world.shared.servers[0].current_max.store(1, Relaxed);
    world.shared.servers[0].session_rate_max.store(2, Relaxed);
    let old = "refused,r1,0,0,0,1,,2,5,0,,0,,1,0,0,1,no check,1,1,0,,,53,,,1,4,1,,2,,2,0,,2,,,,,,,,,,,,,,0,0,,,,,50,,,0,0,0,0,,,,,,,,,,,,127.0.0.1:27990,,tcp,,,,,,,,0,2,0,,,0,,0,0,0,0,0,0,0,0,1,1,,,,-,0,0,0,,,,,,,,,,,,,,,,,,,,,,";
    assert_eq!(
        line_of(&world, "refused/r1"),
        as_3_4(old, ",,,,,,,,,,0,5,5,0,0")
    );
}

#[test]
fn a_checked_server_that_is_down() {
    let mut world = fixture::world();
    world.now = Tick(53_000);
    let at = world
        .shared
        .config
        .servers
        .iter()
        .position(|s| s.name == "s3")
        .unwrap();
    let cell = &world.shared.servers[at];
    cell.set_op(OpState::Stopped);
    cell.health.store(0, Relaxed);
    cell.changed_ms.store(1_000, Relaxed);
    cell.checks_failed.store(1, Relaxed);
    cell.downs.store(1, Relaxed);
    *cell.last_check.lock().unwrap() = LastCheck {
        status: "L4CON",
        code: 0,
        duration_ms: 0,
        description: "Connection refused".into(),
    };
    let old = "be,s3,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN,1,1,0,1,1,52,52,,1,7,3,,0,,2,0,,0,L4CON,,0,,,,,,,,,,,0,0,,,,,-1,Connection refused,,0,0,0,0,,,,Layer4 connection problem,,2,3,0,,,,127.0.0.1:27992,,tcp,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,0,1,,,,-,0,0,0,,,,,,,,,,,,,,,,,,,,,,";
    assert_eq!(line_of(&world, "be/s3"), as_3_4(old, ",,,,,,,,,,0,0,0,0,0"));
}

#[test]
fn a_backend_row() {
    let mut world = fixture::world();
    world.now = Tick(53_000);
    let shared = &world.shared;
    // haproxy had two active servers and a backup here; take the tracking one away and s3 down.
    for name in ["s3", "s4"] {
        let at = shared
            .config
            .servers
            .iter()
            .position(|s| s.name == name)
            .unwrap();
        shared.servers[at].set_op(OpState::Stopped);
    }
    let at = shared
        .config
        .backends
        .iter()
        .position(|b| b.name == "be")
        .unwrap();
    let counters = &shared.shards[1].backends[at];
    for (counter, n) in [
        (&counters.sessions, 6),
        (&counters.chosen, 6),
        (&counters.bytes_in, 24),
        (&counters.bytes_out, 24),
        (&counters.client_aborts, 1),
        (&counters.connects, 6),
        (&counters.last_session_s, 4),
        (&counters.total_time, 3006),
        (&counters.total_time_max, 3002),
    ] {
        counter.add(n);
    }
    shared.backends[at].current_max.store(2, Relaxed);
    shared.backends[at].session_rate_max.store(6, Relaxed);
    let old = "be,BACKEND,0,0,0,2,2995,6,24,24,0,0,,0,0,0,0,UP,10,1,1,,0,53,0,,1,7,0,,6,,1,0,,6,,,,,,,,,,,,,,1,0,0,0,0,0,49,,,0,0,0,501,,,,,,,,,,,,,,tcp,roundrobin,,,,,,,0,6,0,,,,,0,0,0,3002,0,,,,,10,0,0,0,-,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,";
    assert_eq!(
        line_of(&world, "be/BACKEND"),
        as_3_4(old, ",,,,,,,,,,,24,24,24,24")
    );
}

#[test]
fn statuses_are_haproxys_words() {
    let world = fixture::world();
    let at = |name| {
        world
            .shared
            .config
            .servers
            .iter()
            .position(|s| s.name == name)
            .unwrap()
    };
    let status =
        |name: &str| rows(&world, Filter::default())[&format!("be/{name}")]["status"].clone();
    assert_eq!(status("s2"), "no check");
    assert_eq!(status("s5"), "MAINT");
    let s1 = &world.shared.servers[at("s1")];
    s1.health.store(4, Relaxed);
    assert_eq!((status("s1"), status("s4")), ("UP".into(), "UP".into()));
    s1.health.store(2, Relaxed);
    assert_eq!(status("s1"), "UP 1/3");
    s1.health.store(1, Relaxed);
    s1.set_op(OpState::Stopped);
    assert_eq!(status("s1"), "DOWN 1/2");
    s1.health.store(4, Relaxed);
    s1.set_op(OpState::Running);
    s1.set_admin(admin::FDRAIN);
    assert_eq!(status("s1"), "DRAIN");
    s1.set_admin(admin::FMAINT);
    assert_eq!(status("s1"), "MAINT");
    world.shared.servers[at("s4")].set_admin(admin::IMAINT);
    assert_eq!(status("s4"), "MAINT (via be/s1)");
    world.shared.servers[at("s2")].set_admin(admin::RMAINT);
    assert_eq!(status("s2"), "MAINT (resolution)");
}

#[test]
fn a_backend_without_usable_server_is_down_and_one_without_servers_is_up() {
    let world = fixture::world();
    for cell in &world.shared.servers {
        cell.set_admin(admin::FMAINT);
    }
    let rows = rows(&world, Filter::default());
    assert_eq!(rows["be/BACKEND"]["status"], "DOWN");
    assert_eq!(rows["nosrv/BACKEND"]["status"], "UP");
    assert_eq!(rows["nosrv/BACKEND"]["downtime"], "");
}

#[test]
fn sums_go_over_all_shards() {
    let world = fixture::world();
    for shard in &world.shared.shards {
        shard.servers[0].bytes_out.add(1_000_000);
        shard.server_row[0].store(3, Relaxed);
        shard.backends[0].current.add(4);
    }
    let rows = rows(&world, Filter::default());
    assert_eq!(rows["refused/r1"]["bout"], "2000000");
    assert_eq!(rows["refused/r1"]["scur"], "6");
    assert_eq!(rows["refused/BACKEND"]["scur"], "8");
}

/// As haproxy answered `show stat be 4 1`, `be -1 1`, `be -1 0`, `fe 8 -1` and `fe 1 -1`.
#[test]
fn filters_choose_proxy_kind_and_number() {
    let world = fixture::world();
    let names = |kinds: Option<u32>, sid, proxy: &str| {
        let iid =
            find_proxy(&world.shared.config, proxy).map(|id| world.shared.config.proxy(id).iid);
        let filter = Filter {
            iid,
            kinds,
            sid,
            ..Filter::default()
        };
        rows(&world, filter)
            .into_keys()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(Some(4), Some(1), "be"), "be/s1");
    assert_eq!(names(None, Some(1), "be"), "be/BACKEND be/s1");
    assert_eq!(names(None, Some(0), "be"), "be/BACKEND");
    assert_eq!(names(Some(8), None, "fe"), "fe/b1 fe/sock-2");
    assert_eq!(names(Some(1), None, "fe"), "fe/FRONTEND");
    assert_eq!(names(Some(2), None, "#7"), "be/BACKEND");
    assert_eq!(names(Some(2), None, "7"), "be/BACKEND");
    assert!(find_proxy(&world.shared.config, "nope").is_none());
}

#[test]
fn up_and_no_maint_hide_servers_and_count_them_in_the_status() {
    let world = fixture::world();
    let at = world
        .shared
        .config
        .servers
        .iter()
        .position(|s| s.name == "s3")
        .unwrap();
    world.shared.servers[at].set_op(OpState::Stopped);
    let no_maint = rows(
        &world,
        Filter {
            no_maint: true,
            ..Filter::default()
        },
    );
    assert!(!no_maint.contains_key("be/s5") && no_maint.contains_key("be/s3"));
    assert_eq!(no_maint["be/BACKEND"]["status"], "UP (3/5)");
    let up = rows(
        &world,
        Filter {
            up: true,
            ..Filter::default()
        },
    );
    assert!(!up.contains_key("be/s5") && !up.contains_key("be/s3") && up.contains_key("be/s1"));
}

#[test]
fn typed_rows_are_haproxys_with_a_fourth_letter() {
    let world = fixture::world();
    let text = dump(
        &world,
        Filter {
            form: Form::Typed,
            ..Filter::default()
        },
    );
    let has = |line: &str| assert!(text.lines().any(|l| l == line), "no {line}");
    has("F.2.0.0.pxname.1:KNSV:str:fe");
    has("F.2.0.6.slim.1:CLPV:u32:9981");
    has("L.2.1.73.addr.1:CGSV:str:127.0.0.1:27001");
    has("S.4.1.19.act.1:SGPV:u32:1");
    has("B.4.0.19.act.1:MGPV:u32:2");
    has("B.4.0.35.rate_max.1:MGPV:u32:0");
    has("S.4.1.55.lastsess.1:MAPV:s32:-1");
    has("F.2.0.118.ssl_sess.1:MCPP:u64:0");
    assert!(
        !text.contains("\nS.4.1.21."),
        "an unchecked server has no chkfail"
    );
}

#[test]
fn json_is_an_array_of_arrays() {
    let world = fixture::world();
    let text = dump(
        &world,
        Filter {
            form: Form::Json,
            ..Filter::default()
        },
    );
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read[0][0]["objType"], "Frontend");
    assert_eq!(read[0][0]["proxyId"], 2);
    assert_eq!(read[0][1]["value"]["value"], "FRONTEND");
    assert!(text.starts_with(r#"[[{"objType":"Frontend","proxyId":2,"id":0,"field":{"pos":0,"name":"pxname"},"processNum":1,"tags":{"origin":"Key","nature":"Name","scope":"Service"},"value":{"type":"str","value":"fe"}},{"#));
}

#[test]
fn a_long_answer_comes_in_pieces() {
    let servers: String = (0..200)
        .map(|n| format!("    server s{n} 127.0.0.1:80\n"))
        .collect();
    let world = fixture::world_of(&format!(
        "defaults\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\nbackend b\n{servers}"
    ));
    let mut dump = StatDump::new(Filter::default());
    let (mut pieces, mut lines) = (1, 0);
    loop {
        let mut out = Vec::new();
        let more = dump.more(&world.view(), &mut out);
        assert!(out.len() < PIECE_BYTES + 2048);
        lines += out.iter().filter(|&&b| b == b'\n').count();
        if !more {
            break;
        }
        pieces += 1;
    }
    assert!(pieces > 2);
    assert_eq!(lines, 202);
}

#[test]
fn percentiles_of_all_shards_stand_behind_haproxys_columns() {
    let world = fixture::world();
    for (shard, us) in [(0, 20_000), (1, 100)] {
        let server = &world.shared.shards[shard].servers[0];
        (0..50).for_each(|_| server.latency.record(Lap::Response, us));
    }
    let rows = rows(&world, Filter::default());
    let row = &rows["refused/r1"];
    assert_eq!(row["rtime_p50_us"], "102", "in the bucket of 100 to 103 µs");
    assert_eq!(
        row["rtime_p999_us"], "19968",
        "in that of 19,456 to 20,479 µs"
    );
    assert_eq!(row["ttime_p50_us"], "", "none was counted");
    assert_eq!(rows["refused/r2"]["rtime_p50_us"], "");
    let typed = dump(
        &world,
        Filter {
            form: Form::Typed,
            ..Filter::default()
        },
    );
    assert!(
        typed.contains("\nS.4.1.152.rtime_p50_us.1:MGPV:u64:102\n"),
        "{typed}"
    );
}
