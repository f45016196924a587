//! The rig end to end on tiny loads, haproxy in both places: it must come up, measure, write and end.
//! Needs haproxy, as the differential tests do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

const HAPROXY: &str = "/usr/sbin/haproxy";

/// A directory of this test, removed when it is over.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("bench-rigs-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a writable temporary directory");
        Self(path)
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("it was just made");
        let paths = entries.map(|entry| entry.expect("readable").path());
        paths
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _left_over = fs::remove_dir_all(&self.0);
    }
}

fn rig(words: &[&str], out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench-rigs"))
        .args(words)
        .arg("--out")
        .arg(out)
        .output()
        .expect("the rig was built")
}

#[test]
fn every_kind_of_load_is_carried_and_written_down() {
    assert!(
        Path::new(HAPROXY).exists(),
        "{HAPROXY} is missing: apt-get install haproxy"
    );
    let dir = Dir::new("smoke");
    let ran = rig(&["run", "--smoke", "--ringway", HAPROXY], &dir.0);
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(ran.status.success(), "{out}\n{err}");
    for row in [
        "bulk-down-8          cpu_s_per_gb",
        "bulk-up-8            cpu_s_per_gb",
        "pingpong             cpu_s_per_1m",
        "latency              p99_us",
        "latency-beside-bulk  p99_us",
        "connect              cpu_s_per_10k",
        "idle                 rss_kib_per_session",
        "http-keep-alive      cpu_s_per_1m",
        "http-connect         cpu_s_per_10k",
        "http-connect-close   cpu_s_per_10k",
        "http-connect-reuse   cpu_s_per_10k",
        "http-1mb             cpu_s_per_gb",
        "http-rules-1         cpu_s_per_1m",
        "http-rules-1000      cpu_s_per_1m",
        "http-latency         p99_us",
        "http-idle            rss_kib_per_session",
        "http-rules-1000 as a ratio to http-rules-1",
    ] {
        assert!(out.contains(row), "no {row} in:\n{out}");
    }
    let tsv = dir.files("tsv");
    assert_eq!(
        (tsv.len(), dir.files("txt").len(), dir.files("svg").len()),
        (1, 1, 1)
    );

    let svg = dir.0.join("again.svg");
    let results = tsv[0].to_str().expect("an ASCII name");
    let plotted = rig(&["plot", results], &svg);
    assert!(
        plotted.status.success(),
        "{}",
        String::from_utf8_lossy(&plotted.stderr)
    );
    assert!(
        fs::read_to_string(&svg)
            .expect("it was written")
            .contains("<svg ")
    );
}

#[test]
fn a_soak_counts_every_request_on_all_sides() {
    // haproxy 2.6 does not log a request whose kept connection ends without an answer; so its counts differ, and the
    // soak says which.
    let ran = Command::new(env!("CARGO_BIN_EXE_bench-rigs"))
        .args(["soak", "--requests", "2000", "--connections", "50"])
        .args(["--ringway", HAPROXY])
        .output()
        .expect("the rig was built");
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    for line in [
        "log lines lost on the way: 0 = 0",
        "sound requests without their whole answer: 0 ",
        "sound requests with a status that the origin did not send: 0 ",
        "answers that belong to no or another request, and hangs: 0 ",
    ] {
        assert!(out.contains(line), "no '{line}' in:\n{out}\n{err}");
    }
    let differing = out.matches("DIFFERS FROM").count();
    assert_eq!(ran.status.success(), err.is_empty(), "{out}\n{err}");
    assert!(
        differing == 0 || err.contains("counts are not as they should be"),
        "{out}\n{err}"
    );
}

#[test]
fn a_balancer_that_does_not_start_ends_the_run_with_its_words() {
    let dir = Dir::new("refusal");
    let words = [
        "run",
        "--smoke",
        "--haproxy",
        "/bin/ls",
        "--ringway",
        "/bin/ls",
        "--scenarios",
        "connect",
    ];
    let ran = rig(&words, &dir.0);
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success());
    assert!(
        err.contains("connect, round 1: ") && err.contains("ended before it was up"),
        "{err}"
    );
    assert!(err.contains("it said:"), "{err}");
}

#[test]
fn a_missing_binary_is_named_before_anything_is_measured() {
    let dir = Dir::new("missing");
    let ran = rig(&["run", "--smoke", "--ringway", "/nowhere/ringway"], &dir.0);
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success());
    assert!(err.contains("/nowhere/ringway -v: No such file"), "{err}");
    assert!(dir.files("tsv").is_empty());
}
