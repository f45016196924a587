//! Percentiles of `show stat` and histograms of the exporter against what clients measured themselves.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::support::http::{Origin, Wire, get, ok};
use crate::support::{Admin, Daemon, Server, USUAL, connect, port, talk, until, within};

/// Threads of the client, and requests of each.
const CLIENTS: usize = 4;
const REQUESTS: usize = 100;
/// The middle of a bucket is off by this part of a time at most, as `base::histogram` says.
const RESOLUTION: f64 = 1.0 / 32.0;
/// A client's own way, and ours between two turns, may take this long, on a machine that others use too.
const OWN_MS: f64 = 2.0;

/// Milliseconds after which the origin answers request `n` of a hundred: 60 after 5, 25 after 20, 12 after 60, 3
/// after 150, mixed.
fn delay_ms(n: usize) -> u64 {
    match n * 37 % 100 {
        0..60 => 5,
        60..85 => 20,
        85..97 => 60,
        _ => 150,
    }
}

/// An HTTP proxy before an origin that answers late, and the exporter.
fn serving(origin: &Origin) -> (Daemon, u16) {
    let front = port();
    let config = format!(
        "global\n nbthread 2\n{USUAL} mode http\nfrontend f\n bind 127.0.0.1:{front}\n \
         http-request use-service prometheus-exporter if {{ path /metrics }}\n default_backend b\n\
         backend b\n server s {}\n",
        origin.addr()
    );
    (Daemon::start(&config), front)
}

/// What the clients measured, sorted, in ms.
fn measure(front: u16) -> Vec<f64> {
    let one = move |_| -> Vec<f64> {
        let mut wire = Wire::to(front);
        let timed = (0..REQUESTS).map(|n| {
            let began = Instant::now();
            let answer = wire.get(&format!("/{}", delay_ms(n)), "");
            assert_eq!(answer.status(), 200);
            began.elapsed().as_secs_f64() * 1000.0
        });
        timed.collect()
    };
    let mut all: Vec<f64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || one(n))).collect();
        let measured = clients.into_iter().map(|client| client.join());
        measured.flat_map(|m| m.expect("measured")).collect()
    });
    all.sort_by(f64::total_cmp);
    all
}

/// `permille` of the times are not longer (nearest rank).
fn percentile(sorted: &[f64], permille: usize) -> f64 {
    sorted[(sorted.len() * permille).div_ceil(1000).max(1) - 1]
}

fn shown_ms(admin: &Admin, proxy: &str, row: &str, column: &str) -> f64 {
    let text = admin.cell(proxy, row, column);
    text.parse::<f64>().unwrap_or(f64::NAN) / 1000.0
}

/// What differs between the client's percentiles and those of the row's total and response times.
fn differences(admin: &Admin, (proxy, row): (&str, &str), client: &[f64]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, permille, wanted) in [("p50", 500, 5.0), ("p90", 900, 60.0), ("p99", 990, 150.0)] {
        let own = percentile(client, permille);
        let total = shown_ms(admin, proxy, row, &format!("ttime_{name}_us"));
        let response = shown_ms(admin, proxy, row, &format!("rtime_{name}_us"));
        // Never longer than the client saw, nor shorter than the origin took, but for the resolution.
        let most = own * (1.0 + RESOLUTION);
        let least = (own - OWN_MS) * (1.0 - RESOLUTION);
        let of_origin = wanted * (1.0 - RESOLUTION);
        if !(total <= most && total >= least && total >= of_origin) {
            wrong.push(format!("{row} ttime {name}: {total}, the client's {own}"));
        }
        if !(response <= most && response >= of_origin) {
            wrong.push(format!(
                "{row} rtime {name}: {response}, the client's {own}"
            ));
        }
    }
    wrong
}

#[test]
fn percentiles_agree_with_those_that_clients_measured() {
    let origin = Origin::new(|request| {
        let ms = request.target()[1..].parse().unwrap_or(0);
        std::thread::sleep(Duration::from_millis(ms));
        ok("", "x")
    });
    let (daemon, front) = serving(&origin);
    let admin = daemon.admin();
    let mut wrong = Vec::new();
    // Where the machine held up a client for longer than its own time may be, once more.
    let agreed = (0..5).any(|_| {
        admin.run("clear counters all");
        until("the counters are 0", || admin.count("b", "s", "stot") == 0);
        let client = measure(front);
        until("all are counted", || {
            admin.count("f", "FRONTEND", "hrsp_2xx") == (CLIENTS * REQUESTS) as u64
        });
        let rows = [("f", "FRONTEND"), ("b", "BACKEND"), ("b", "s")];
        wrong = rows
            .into_iter()
            .flat_map(|row| differences(&admin, row, &client))
            .collect();
        wrong.is_empty()
    });
    assert!(agreed, "{wrong:#?}");
    // Nobody waited for a place, and most went over kept connections.
    assert!(shown_ms(&admin, "b", "s", "qtime_p50_us") < 5.0);
    assert!(shown_ms(&admin, "b", "s", "ctime_p50_us") < 5.0);
    let metrics = get(front, "/metrics?scope=server", "Connection: close\r\n").body;
    let count = |what: &str| -> f64 {
        let start = format!("haproxy_server_response_time_seconds{what} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
    };
    let all = (CLIENTS * REQUESTS) as f64;
    assert_eq!(count("_count{proxy=\"b\",server=\"s\"}"), all);
    assert_eq!(count("_bucket{proxy=\"b\",server=\"s\",le=\"+Inf\"}"), all);
    // None was answered in half a millisecond less than its delay: 60, 25, 12 and 3 of 100.
    let below = |le: &str| count(&format!("_bucket{{proxy=\"b\",server=\"s\",le=\"{le}\"}}"));
    assert_eq!(below("0.0025"), 0.0);
    assert!(below("0.01") <= all * 0.60 && below("0.05") <= all * 0.85);
    let sum = count("_sum{proxy=\"b\",server=\"s\"}");
    let delays: u64 = (0..REQUESTS).map(delay_ms).sum();
    assert!(sum >= CLIENTS as f64 * delays as f64 / 1000.0, "{sum}");
}

#[test]
fn maxima_and_percentiles_begin_anew_when_counters_are_cleared() {
    let origin = Origin::named("x");
    let (daemon, front) = serving(&origin);
    let admin = daemon.admin();
    let filled = |row: &HashMap<String, String>| {
        let own = row.iter().filter(|(name, _)| name.ends_with("_us"));
        own.filter(|(_, value)| !value.is_empty()).count()
    };
    assert_eq!(filled(&admin.row("b", "s")), 0);
    assert_eq!(get(front, "/", "Connection: close\r\n").body, "x");
    until("four of each of four times", || {
        filled(&admin.row("b", "s")) == 16 && filled(&admin.row("f", "FRONTEND")) == 16
    });
    admin.run("clear counters");
    assert_eq!(filled(&admin.row("b", "s")), 0);
    assert_eq!(admin.count("b", "s", "stot"), 1, "the counts stay");
    get(front, "/", "Connection: close\r\n");
    until("they come again", || filled(&admin.row("b", "s")) == 16);
}

#[test]
fn tcp_sessions_have_times_but_no_response() {
    let server = Server::named("A");
    let front = port();
    let daemon = Daemon::start(&format!(
        "{USUAL}listen l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    ));
    let admin = daemon.admin();
    for _ in 0..3 {
        let mut client = connect(front);
        assert_eq!(talk(&mut client, "x"), "A:x");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        within(Duration::from_secs(5), || {
            shown_ms(&admin, "l", "s", "ttime_p50_us") >= 50.0 * (1.0 - RESOLUTION)
        }),
        "{:?}",
        admin.row("l", "s")
    );
    for row in ["FRONTEND", "BACKEND", "s"] {
        assert_eq!(admin.cell("l", row, "rtime_p99_us"), "", "{row}");
        for name in ["qtime_p50_us", "ctime_p99_us", "ttime_p999_us"] {
            assert!(!admin.cell("l", row, name).is_empty(), "{row} {name}");
        }
    }
}
