//! Servers that fail and come back under load: what clients notice (nothing), how often they are checked, and how they
//! are tried with live connections (`on-down retry`).

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::client::{read_piece, who};
use crate::support::{Daemon, Server, USUAL, UdpLog, http, port, sized, until, within};

/// Clients that ask one question after another until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// `ask` gives what went wrong, if something did.
    fn new(clients: usize, ask: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let ask = Arc::new(ask);
        let client = |_| {
            let (stop, done, ask) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&ask));
            std::thread::spawn(move || {
                let mut wrong = Vec::new();
                while !stop.load(Ordering::Acquire) {
                    wrong.extend(ask());
                    done.fetch_add(1, Ordering::AcqRel);
                    // An open loop of some hundred requests a second is load enough.
                    std::thread::sleep(Duration::from_millis(5));
                }
                wrong
            })
        };
        let threads = (0..clients).map(client).collect();
        Self {
            stop,
            done,
            threads,
        }
    }

    /// What went wrong, of how many.
    fn end(self) -> (Vec<String>, usize) {
        self.stop.store(true, Ordering::Release);
        let wrong = self.threads.into_iter().flat_map(|t| t.join().unwrap());
        (wrong.collect(), self.done.load(Ordering::Acquire))
    }
}

// H16
#[test]
fn a_server_without_checks_is_tried_by_one_connection_an_interval_and_no_client_notices() {
    let (mut failed, live, front) = (Server::named("F"), Server::named("L"), port());
    let log = UdpLog::new();
    let daemon = Daemon::start(&format!(
        "global\n nbthread 4\n log 127.0.0.1:{} local0\n{USUAL} log global\n option redispatch\nlisten l\n \
         bind 127.0.0.1:{front}\n \
         server f {} observe layer4 error-limit 3 on-error mark-down on-down retry 1500 rise 2\n server s {}\n",
        log.port,
        failed.addr(),
        live.addr()
    ));
    let admin = daemon.admin();
    failed.stop();
    let load = Load::new(4, move || {
        Some(who(front)).filter(|name| name != "L" && name != "F")
    });
    admin.wait_status("l", "f", "DOWN");
    let line = log.wait("Server l/f is DOWN");
    assert!(line.contains("Detected 3 consecutive errors"), "{line}");
    // Those that were on their way when it went down.
    std::thread::sleep(Duration::from_millis(300));
    let (before, start) = (admin.count("l", "f", "wredis"), Instant::now());
    until("several trials", || {
        admin.count("l", "f", "wredis") >= before + 3
    });
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(2900), "three in {took:?}");
    failed.start();
    log.wait(
        "Server l/f is UP, reason: Health analyze, info: \"A connection of a client succeeded\"",
    );
    let (wrong, all) = load.end();
    assert!(wrong.is_empty(), "{} of {all}: {wrong:?}", wrong.len());
    assert!(failed.seen.accepted() >= 2, "rise 2");
}

// H16
#[test]
fn a_live_request_brings_a_server_back_long_before_its_next_check() {
    let mut failed = Server::http(|_, _| (200, "F".to_owned()));
    let (live, front) = (Server::http(|_, _| (200, "L".to_owned())), port());
    let daemon = Daemon::start(&format!(
        "{USUAL} mode http\n option httpchk\n option redispatch\nlisten l\n bind 127.0.0.1:{front}\n \
         server f {} check inter 200 fall 1 rise 2 downinter 1h on-down retry 1s\n server s {}\n",
        failed.addr(),
        live.addr()
    ));
    let admin = daemon.admin();
    until("it was checked", || {
        admin.cell("l", "f", "check_status") == "L7OK"
    });
    failed.stop();
    admin.wait_status("l", "f", "DOWN");
    let load = Load::new(2, move || {
        let answer = http::get(front, "/", "");
        Some(answer.brief()).filter(|_| answer.status() != 200)
    });
    until("a trial", || admin.count("l", "f", "wredis") >= 1);
    failed.start();
    admin.wait_status("l", "f", "UP");
    assert_eq!(
        admin.cell("l", "f", "last_chk"),
        "A connection of a client succeeded"
    );
    let (wrong, all) = load.end();
    assert!(wrong.is_empty(), "{} of {all}: {wrong:?}", wrong.len());
}

// H16
#[test]
fn when_all_servers_are_gone_the_first_connection_after_the_interval_finds_them_back() {
    let (mut only, front) = (Server::named("O"), port());
    let daemon = Daemon::start(&format!(
        "{USUAL} retries 0\nlisten l\n bind 127.0.0.1:{front}\n \
         server o {} observe layer4 error-limit 1 on-down retry 700 rise 1\n",
        only.addr()
    ));
    only.stop();
    assert_ne!(who(front), "O");
    daemon.admin().wait_status("l", "o", "DOWN");
    only.start();
    let start = Instant::now();
    assert!(within(Duration::from_secs(8), || who(front) == "O"));
    assert!(start.elapsed() >= Duration::from_millis(400));
    assert_eq!(daemon.admin().cell("l", "o", "status"), "no check");
}

/// An answer that keeps no connection, so that each request is a new one.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// When the server was asked by a check.
type Checks = Arc<Mutex<Vec<Instant>>>;

/// A server that answers with 200 while `up`, else with 503, as one behind which the application is gone; and when it was
/// checked.
fn flapping(up: &Arc<AtomicBool>) -> (Server, Checks) {
    let (up, checks) = (Arc::clone(up), Checks::default());
    let sink = Arc::clone(&checks);
    let server = Server::new(move |mut stream, _| {
        let Ok(head) = read_piece(&mut stream) else {
            return;
        };
        if head.starts_with("GET /check") {
            sink.lock().unwrap().push(Instant::now());
        }
        let _ = stream.write_all(if up.load(Ordering::Acquire) {
            ANSWER
        } else {
            b"HTTP/1.1 503 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        });
    });
    (server, checks)
}

// Issue, point 6.
#[test]
fn a_flapping_server_fails_no_request_and_is_checked_once_an_interval() {
    const PHASE: Duration = Duration::from_secs(3);
    const INTER_MS: u64 = 250;
    let phases = sized(4, 40);
    let up = Arc::new(AtomicBool::new(true));
    let ((server, checks), front) = (flapping(&up), port());
    let live = Server::http(|_, _| (200, "live".to_owned()));
    let daemon = Daemon::start(&format!(
        "global\n nbthread 4\n{USUAL} mode http\n option redispatch\n retries 3\n retry-on all-retryable-errors 503\n \
         option httpchk GET /check\nlisten l\n bind 127.0.0.1:{front}\n \
         server f {} check inter {INTER_MS} fall 2 rise 2\n server s {}\n",
        server.addr(),
        live.addr()
    ));
    let admin = daemon.admin();
    until("it was checked", || {
        admin.cell("l", "f", "check_status") == "L7OK"
    });
    let load = Load::new(4, move || {
        let answer = http::get(front, "/", "");
        Some(answer.brief()).filter(|_| answer.status() != 200)
    });
    let mut counts = Vec::new();
    for phase in 0..phases {
        up.store(phase % 2 == 1, Ordering::Release);
        let start = Instant::now();
        std::thread::sleep(PHASE);
        let took = start.elapsed();
        let seen = checks.lock().unwrap();
        let of_phase = seen
            .iter()
            .filter(|at| **at >= start && **at < start + took);
        counts.push((of_phase.count(), took.as_millis() as u64 / INTER_MS));
    }
    let (wrong, all) = load.end();
    println!("{all} requests, checks of each phase and expected: {counts:?}");
    assert!(wrong.is_empty(), "{} of {all}: {wrong:?}", wrong.len());
    let downs = admin.count("l", "f", "chkdown");
    assert_eq!(downs, phases as u64 / 2, "it was down once a period");
    for (n, &(seen, due)) in counts.iter().enumerate() {
        assert!(
            (due - 1..=due + 1).contains(&(seen as u64)),
            "phase {n}: {seen} checks, {due} intervals"
        );
    }
}
