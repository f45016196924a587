//! What the Prometheus exporter tells after the same requests: the same metrics, types, labels and
//! order, and the same values where they do not depend on time or machine.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Side, both, same};
use crate::support::{Daemon, Launch, connect};

fn start(side: &Side) -> Daemon {
    let config = format!(
        "global\n nbthread 1\n maxconn 100\n log 127.0.0.1:{} local0\ndefaults\n mode http\n log global\n option httplog\n \
         balance roundrobin\n retries 0\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
         frontend f\n option socket-stats\n bind 127.0.0.1:{} name one\n\
         \x20http-request return status 200 if {{ path /ok }}\n http-request deny if {{ path /no }}\n \
         http-request use-service prometheus-exporter if {{ path /metrics }}\n default_backend b\n\
         frontend quiet\n bind 127.0.0.1:{} maxconn 7\n\
         backend b\n http-request use-service prometheus-exporter if {{ path /of-the-backend }}\n \
         server dead 127.0.0.1:1 weight 3 maxconn 4 maxqueue 5\n server off 127.0.0.1:1 disabled check\n\
         backend empty\nbackend out\n disabled\n server x 127.0.0.1:1\n\
         listen l\n mode tcp\n bind 127.0.0.1:{}\n server s 127.0.0.1:1 backup\n",
        side.log.port,
        side.front,
        crate::support::port(),
        crate::support::port()
    );
    Launch::of(side.program.clone(), &config).start()
}

/// All that a request brings, up to the end of the connection.
fn answer(side: &Side, request: &str) -> String {
    let mut stream = connect(side.front);
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all
}

fn get(side: &Side, target: &str) -> String {
    answer(
        side,
        &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
}

/// The body of a chunked answer.
fn body(answer: &str) -> String {
    let (_, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    let mut body = String::new();
    while let Some((size, behind)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&behind[..size]);
        rest = &behind[size..];
        rest = rest.strip_prefix("\r\n").unwrap();
    }
    body
}

/// Whether haproxy has no such metric: histograms, and what shards do.
fn is_ours(line: &str) -> bool {
    let histogram = |rest: &str| {
        let times = ["queue", "connect", "response", "total"];
        let (_, name) = rest.split_once('_').unwrap_or_default();
        times
            .iter()
            .any(|time| name.starts_with(&format!("{time}_time_seconds")))
    };
    let name = line.trim_start_matches("# TYPE ").strip_prefix("haproxy_");
    name.is_some_and(|name| name.starts_with("process_shard_") || histogram(name))
}

/// Without help texts, which are our own, and without values that time, machine or version decide.
fn lines(text: &str) -> Vec<String> {
    let mask = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let timed = ["_seconds", "_rate", "_bytes_", "_lookups", "build_info"];
        let masked =
            name.starts_with("haproxy_process_") || timed.iter().any(|part| name.contains(part));
        match line.starts_with('#') || !masked {
            true => line.to_owned(),
            false if value == "NaN" => line.to_owned(),
            false => format!("{} V", name.split('{').next().unwrap()),
        }
    };
    // Listeners do not count what rules deny; their frontends do.
    let uncounted = "haproxy_listener_requests_denied_total{";
    let told = text
        .lines()
        .filter(|line| !line.starts_with("# HELP") && !line.starts_with(uncounted))
        .filter(|line| !is_ours(line));
    told.map(mask).collect()
}

#[test]
fn the_exporter_tells_haproxys_metrics_of_the_same_requests() {
    same(|side| {
        let _daemon = start(side);
        for target in ["/ok", "/ok", "/no", "/elsewhere", "/metrics?scope="] {
            get(side, target);
        }
        side.settled(5);
        lines(&body(&get(side, "/metrics")))
    });
}

#[test]
fn the_exporter_reads_its_parameters_as_haproxys_does() {
    same(|side| {
        let _daemon = start(side);
        let targets = [
            "/metrics?scope=global",
            "/metrics?scope=listener&scope=frontend",
            "/metrics?scope=server&no-maint",
            "/metrics?scope=",
            "/metrics?scope=*&x=y",
            "/metrics?scope=&scope=%62ackend",
            "/metrics?scope=bogus",
            "/metrics?scope",
            "/of-the-backend?scope=sticktable",
        ];
        let mut all = Vec::new();
        for target in targets {
            let got = get(side, target);
            let (head, _) = got.split_once("\r\n\r\n").unwrap();
            all.push(format!("{target}: {head}"));
            if head.contains("chunked") {
                let names = lines(&body(&got)).into_iter();
                all.extend(names.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()));
            }
        }
        for method in ["HEAD", "POST", "DELETE"] {
            let request = format!(
                "{method} /metrics?scope= HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            );
            all.push(answer(side, &request));
        }
        all
    });
}

#[test]
fn the_exporter_has_haproxys_name_in_the_log() {
    same(|side| {
        let daemon = start(side);
        get(side, "/metrics?scope=");
        get(side, "/metrics?scope=bogus");
        get(side, "/of-the-backend?scope=");
        let lines = side.lines(&daemon, 3, &[]).into_iter();
        let lines = lines.filter(|line| line.contains("PROMEX"));
        // haproxy 3.4 counts no bytes of answers of its own; 2.6 does.
        let bytes = |line: String| {
            let words = line.split(' ').map(|word| match word.parse::<u32>() {
                Ok(n) if !matches!(n, 200 | 400) => "N",
                _ => word,
            });
            words.collect::<Vec<_>>().join(" ")
        };
        lines.map(bytes).collect()
    });
}

/// What Prometheus' own parser and its lint find in `metrics`, each finding once: exit status first.
fn findings(promtool: &std::path::Path, metrics: &str) -> Vec<String> {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    let mut all: Vec<_> = said.lines().map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all.insert(0, format!("status {:?}", out.status.code()));
    all
}

/// `promtool` of Debian's package prometheus: installed, or unpacked by `scripts/test`.
fn promtool() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/promtool");
    if own.exists() { own } else { "promtool".into() }
}

#[test]
fn prometheus_finds_no_more_to_say_of_our_metrics_than_of_haproxys() {
    let promtool = promtool();
    let [ours, theirs] = both(|side| {
        let _daemon = start(side);
        for target in ["/ok", "/no", "/metrics?scope="] {
            get(side, target);
        }
        side.settled(3);
        let text = body(&get(side, "/metrics"));
        assert!(text.lines().count() > 300);
        findings(&promtool, &text)
    });
    let more: Vec<_> = ours.iter().filter(|one| !theirs.contains(one)).collect();
    assert!(more.is_empty(), "{more:#?}; of haproxy's: {theirs:#?}");
    // It would have found a mistake.
    let broken = findings(&promtool, "# TYPE a counter\na{b=\"c} 1\n");
    assert_eq!(broken[0], "status Some(1)", "{broken:?}");
}
