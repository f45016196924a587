use super::super::fixture;
use super::super::page::PageWriter;
use super::*;

/// Every metric of haproxy 2.6.12 with its type, in its order.
const NAMES_2_6: &str = include_str!("names-2.6.txt");

fn text(config: &str, query: &str) -> String {
    let world = fixture::world_of(config);
    let asked = Asked::parse(query.as_bytes()).unwrap();
    let mut writer = PageWriter::metrics(Exposition::new(asked));
    let (mut out, mut turns) = (Vec::new(), 0);
    loop {
        let before = out.len();
        let done = writer.next(&world.view(), &mut out, 1000);
        assert!(out.len() - before <= 1000);
        turns += 1;
        if done {
            break;
        }
    }
    assert!(turns >= out.len() / 1000);
    String::from_utf8(out).unwrap()
}

const HTTP: &str = "
defaults
    mode http
    timeout connect 500ms
    timeout client 3s
    timeout server 3s
frontend f
    option socket-stats
    bind 127.0.0.1:27001 name one maxconn 5
    default_backend b
listen l
    mode tcp
    bind 127.0.0.1:27002
    server s 127.0.0.1:1
backend b
    server s 127.0.0.1:1 check
    server t 127.0.0.1:1 disabled
backend empty
backend off
    disabled
    server x 127.0.0.1:1
";

#[test]
fn names_types_and_their_order_are_those_of_2_6() {
    let all = text(HTTP, "/metrics");
    let types: Vec<&str> = all
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE "))
        .collect();
    // Told of checks that were done: none was yet.
    let wanted = NAMES_2_6
        .lines()
        .filter(|name| !name.contains("_check_duration_"));
    let own = |t: &&&str| t.ends_with(" histogram") || t.contains("_shard_");
    let haproxys = types.iter().filter(|t| !own(t)).copied();
    assert!(haproxys.eq(wanted));
    // Ours: four of shards, and four times of three groups.
    assert_eq!(types.iter().filter(own).count(), 4 + 4 * 3);
    for group in Group::ALL {
        let start = format!("haproxy_{}_", group.name());
        let of_it = types.iter().filter(|t| t.starts_with(&start));
        let mut behind = of_it.skip_while(|t| !own(t));
        assert!(behind.all(|t| own(&t)), "{group:?}");
    }
}

#[test]
fn every_line_follows_the_help_and_type_of_its_metric() {
    let all = text(HTTP, "/metrics");
    let mut named = ("", "");
    for line in all.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..2] {
            ["#", "HELP"] => named.0 = words[2],
            ["#", "TYPE"] => named.1 = words[2],
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                let parts = ["_bucket", "_sum", "_count"];
                let whole = parts.iter().find_map(|part| name.strip_suffix(part));
                let name = whole.filter(|whole| *whole == named.0).unwrap_or(name);
                assert_eq!((name, name), named, "{line}");
                let value = words[words.len() - 1];
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}

#[test]
fn labels_name_proxy_server_state_and_code() {
    let all = text(HTTP, "/metrics");
    for line in [
        "haproxy_process_build_info{version=\"3.4.0-ringway-test\"} 1",
        "haproxy_process_current_zlib_memory NaN",
        "haproxy_frontend_status{proxy=\"f\",state=\"UP\"} 1",
        "haproxy_frontend_http_responses_total{proxy=\"f\",code=\"other\"} 0",
        "haproxy_listener_status{proxy=\"f\",listener=\"one\",state=\"OPEN\"} 1",
        "haproxy_backend_agg_server_status{proxy=\"b\",state=\"MAINT\"} 1",
        "haproxy_backend_queue_time_average_seconds{proxy=\"l\"} 0.000000",
        "haproxy_server_status{proxy=\"b\",server=\"t\",state=\"MAINT\"} 1",
        "haproxy_server_status{proxy=\"b\",server=\"s\",state=\"UP\"} 1",
        "haproxy_server_check_failures_total{proxy=\"b\",server=\"t\"} NaN",
        "haproxy_server_check_code{proxy=\"b\",server=\"s\"} 0",
        "haproxy_server_last_session_seconds{proxy=\"l\",server=\"s\"} -1",
    ] {
        assert!(all.lines().any(|l| l == line), "{line}");
    }
    for part in [
        "haproxy_frontend_http_requests_total{proxy=\"l\"}",
        "haproxy_server_check_status{proxy=\"b\",server=\"t\"",
        "haproxy_backend_agg_server_status{proxy=\"empty\"",
        "proxy=\"off\"",
    ] {
        assert!(!all.contains(part), "{part}");
    }
}

#[test]
fn scopes_choose_and_unknown_ones_are_refused() {
    let groups = |query: &str| Asked::parse(query.as_bytes()).map(|a| a.groups.map(u8::from));
    for (query, wanted) in [
        ("/metrics", Some([1, 1, 1, 1, 1])),
        ("/metrics?other=1&", Some([1, 1, 1, 1, 1])),
        ("/metrics?scope=global", Some([1, 0, 0, 0, 0])),
        ("/m?scope=frontend&scope=backend", Some([0, 1, 0, 1, 0])),
        ("/m?sco%70e=list%65ner", Some([0, 0, 1, 0, 0])),
        ("/m?scope=*", Some([1, 1, 1, 1, 1])),
        ("/m?scope=", Some([0, 0, 0, 0, 0])),
        ("/m?scope=global&scope=", Some([0, 0, 0, 0, 0])),
        ("/m?scope=&scope=server", Some([0, 0, 0, 0, 1])),
        ("/m?scope=sticktable", Some([0, 0, 0, 0, 0])),
        ("/m?scope=Global", None),
        ("/m?scope=global%26", None),
        ("/m?scope=%zz", None),
        ("/m?scope", None),
    ] {
        assert_eq!(groups(query), wanted, "{query}");
    }
}

#[test]
fn servers_in_maintenance_and_metrics_not_named_are_left_out() {
    let servers = text(HTTP, "/metrics?scope=server&no-maint");
    assert!(servers.contains("server=\"s\"") && !servers.contains("server=\"t\""));
    let named = text(
        HTTP,
        "/m?metrics=haproxy_process_nbthread,haproxy_server_weight",
    );
    let count = |name: &str| named.lines().filter(|l| l.starts_with(name)).count();
    assert_eq!((count("# TYPE"), count("haproxy_server_weight{")), (2, 3));
    let rest = text(HTTP, "/m?metrics=-haproxy_process_nbthread");
    assert!(!rest.contains("haproxy_process_nbthread "));
    assert!(rest.contains("haproxy_process_nbproc 1"));
}

#[test]
fn labels_are_escaped() {
    let mut out = Vec::new();
    let mut line = Line {
        out: &mut out,
        labelled: false,
    };
    line.label("a", "x\"y\\z\n");
    line.end_seconds(&Value::U32(12_034));
    assert_eq!(out, b"{a=\"x\\\"y\\\\z\\n\"} 12.034000\n");
}

#[test]
fn times_are_histograms_of_all_shards() {
    let world = fixture::world_of(HTTP);
    for (shard, us, times) in [(0, 400, 3), (1, 40_000, 2), (1, 70_000_000, 1)] {
        let latency = &world.shared.shards[shard].servers[0].latency;
        (0..times).for_each(|_| latency.record(Lap::Total, us));
    }
    let asked = Asked::parse(b"/m?metrics=haproxy_server_total_time_seconds").unwrap();
    let mut out = Vec::new();
    assert!(!Exposition::new(asked).more_until(&world.view(), &mut out, usize::MAX));
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("# TYPE haproxy_server_total_time_seconds histogram\n"));
    let of_l = "{proxy=\"l\",server=\"s\"";
    for (what, count) in [
        ("_bucket{proxy=\"l\",server=\"s\",le=\"0.0005\"}", "3"),
        ("_bucket{proxy=\"l\",server=\"s\",le=\"0.025\"}", "3"),
        ("_bucket{proxy=\"l\",server=\"s\",le=\"0.05\"}", "5"),
        ("_bucket{proxy=\"l\",server=\"s\",le=\"10\"}", "5"),
        ("_bucket{proxy=\"l\",server=\"s\",le=\"+Inf\"}", "6"),
        ("_sum{proxy=\"l\",server=\"s\"}", "70.081200"),
        ("_count{proxy=\"l\",server=\"s\"}", "6"),
    ] {
        let line = format!("haproxy_server_total_time_seconds{what} {count}");
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert_eq!(text.matches(of_l).count(), 14 + 3);
    assert_eq!(text.lines().filter(|l| l.starts_with('#')).count(), 2);
}

#[test]
fn each_shard_has_its_load_and_bytes() {
    let world = fixture::world_of(HTTP);
    world.shared.shards[1].load_permille.store(125, Relaxed);
    world.shared.shards[0].activity.bytes_spliced.set(9);
    let asked = Asked::parse(b"/m?scope=global").unwrap();
    let mut out = Vec::new();
    Exposition::new(asked).more_until(&world.view(), &mut out, usize::MAX);
    let text = String::from_utf8(out).unwrap();
    for line in [
        "haproxy_process_shard_load_ratio{shard=\"2\"} 0.125000",
        "haproxy_process_shard_bytes_spliced_total{shard=\"1\"} 9",
        "haproxy_process_shard_bytes_copied_total{shard=\"2\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}");
    }
}
