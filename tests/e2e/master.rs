//! A master and its workers: `-W`, `-Ws`, `master-worker`; reloads by SIGUSR2 and SIGHUP.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::connect_to;
use crate::support::http::Wire;
use crate::support::{Daemon, Launch, PATIENCE, Server, TempDir, on_haproxy, port, until, within};

/// A proxy on `front` that answers `word` by itself.
fn config(front: u16, word: &str, more: &str) -> String {
    format!(
        "global\n nbthread 2\n maxconn 500\n{more}defaults\n mode http\n timeout connect 2s\n timeout client 9s\n timeout server 9s\n\
         frontend f\n bind 127.0.0.1:{front}\n http-request return status 200 content-type text/plain string {word}\n"
    )
}

/// A master in the foreground, once its first worker serves.
#[track_caller]
fn start(front: u16, more: &str) -> Daemon {
    let launch = Launch::new(&config(front, "one", more))
        .ports(&[])
        .arg("-W");
    serving(launch, front, "one")
}

#[track_caller]
fn serving(launch: Launch, front: u16, word: &str) -> Daemon {
    let daemon = launch.spawn(&["-db"]);
    until("the worker serves", || {
        answer(front).as_deref() == Some(word)
    });
    until("the master knows", || {
        daemon.output().contains("Loading success.")
    });
    daemon
}

fn answer(front: u16) -> Option<String> {
    let mut wire = Wire::new(connect_to(([127, 0, 0, 1], front).into()).ok()?);
    wire.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answer = wire.answer("GET")?;
    answer.whole.then_some(answer.body)
}

/// The children of the master.
fn workers(master: &Daemon) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", master.pid);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let pids = text
        .split_ascii_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().unwrap()));
    pids.collect()
}

/// Writes another configuration in the place of the one that runs, and reloads.
fn reload(master: &Daemon, config: &str, signal: Signal) {
    master.dir.write("cfg", config);
    master.signal(signal);
}

fn count(master: &Daemon, text: &str) -> usize {
    master.output().matches(text).count()
}

// R12
#[test]
fn no_request_is_lost_while_workers_follow_each_other_and_a_broken_one_changes_nothing() {
    let front = port();
    let master = start(front, "");
    let (over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let failed: u32 = std::thread::scope(|scope| {
        let ask = || {
            let mut failed = 0;
            while !over.load(SeqCst) && failed < 10 {
                match answer(front) {
                    Some(_) => answered.fetch_add(1, SeqCst),
                    None => {
                        failed += 1;
                        0
                    }
                };
            }
            failed
        };
        let end = Ends(&over);
        let asking = [(); 3].map(|()| scope.spawn(ask));
        for n in 0..8 {
            let word = format!("word-{n}");
            let signal = [Signal::SIGUSR2, Signal::SIGHUP][n % 2];
            reload(&master, &config(front, &word, ""), signal);
            until("the new worker answers", || {
                answer(front).as_deref() == Some(&word)
            });
            until("it is the only one", || workers(&master).len() == 1);
            let before = workers(&master);
            reload(&master, "frontend f\n garbage\n", signal);
            until("the broken one is told", || {
                count(&master, "Failed to load worker") == n + 1
                    || on_haproxy() && count(&master, "Loading failure!") == n + 1
            });
            assert_eq!(answer(front).as_deref(), Some(&*word));
            assert_eq!(workers(&master), before);
        }
        drop(end);
        asking.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(
        failed,
        0,
        "of {}: {}",
        answered.load(SeqCst),
        master.output()
    );
}

/// Ends what waits for the flag, also where a check fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn an_old_worker_stays_for_its_sessions_until_it_saw_too_many_reloads() {
    let front = port();
    let mut master = start(front, " mworker-max-reloads 1\n");
    let mut held = Wire::to(front);
    held.send("GET / HTTP/1.1\r\nHost: h\r\n");
    let first = workers(&master)[0];
    reload(
        &master,
        &config(front, "two", " mworker-max-reloads 1\n"),
        Signal::SIGUSR2,
    );
    until("the next one answers", || {
        answer(front).as_deref() == Some("two")
    });
    assert!(workers(&master).contains(&first));
    held.send("\r\n");
    assert_eq!(held.answer("GET").unwrap().body, "one");
    until("the old one leaves", || !workers(&master).contains(&first));
    assert_eq!(count(&master, "exited with code 0 (Exit)"), 1);
    // One that is held through two reloads is ended.
    let mut held = Wire::to(front);
    held.send("GET / HTTP/1.1\r\nHost: h\r\n");
    let second = workers(&master)[0];
    for word in ["three", "four"] {
        reload(&master, &config(front, word, ""), Signal::SIGUSR2);
        until("the next one answers", || {
            answer(front).as_deref() == Some(word)
        });
        until("the master knows", || workers(&master).len() <= 2);
    }
    until("the old one is ended", || {
        count(&master, "exited with code 143 (Terminated)") == 1
    });
    assert!(!workers(&master).contains(&second));
    assert!(master.alive());
}

#[test]
fn a_worker_that_is_killed_ends_the_master_with_its_code() {
    let front = port();
    let mut master = start(front, "");
    kill(workers(&master)[0], Signal::SIGKILL).unwrap();
    let status = master.ended_within(PATIENCE).expect("the master ends");
    assert_eq!(status.code(), Some(137));
    let said = master.output();
    assert!(said.contains("exited with code 137 (Killed)"), "{said}");
    assert!(
        said.contains("exit-on-failure: killing every processes with SIGTERM"),
        "{said}"
    );
}

#[test]
fn the_master_passes_the_end_on_and_waits_for_its_workers() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        let front = port();
        let mut master = start(front, "");
        let worker = workers(&master)[0];
        let mut held = Wire::to(front);
        held.send("GET / HTTP/1.1\r\nHost: h\r\n");
        std::thread::sleep(Duration::from_millis(100));
        master.signal(signal);
        if signal == Signal::SIGUSR1 {
            std::thread::sleep(Duration::from_millis(300));
            assert!(master.alive(), "a request is under way");
            held.send("\r\n");
            assert_eq!(held.answer("GET").unwrap().body, "one");
        }
        let status = master.ended_within(PATIENCE).expect("the master ends");
        assert_eq!(status.code(), Some(0), "{signal}: {}", master.output());
        assert!(kill(worker, None).is_err(), "{signal}: no worker is left");
    }
}

// G02
#[test]
fn a_first_worker_that_does_not_come_up_ends_the_start() {
    let (front, server) = (port(), Server::named("A"));
    let busy = config(front, "one", "").replace(&format!("127.0.0.1:{front}"), &server.addr());
    let dir = TempDir::new();
    let pidfile = dir.file("pid");
    for (text, mode) in [("garbage\n", "-db"), (&busy, "-db"), (&busy, "-D")] {
        let run = Launch::new(text)
            .arg("-W")
            .arg(mode)
            .arg("-p")
            .arg(&pidfile)
            .run();
        assert_eq!(run.code(), 1, "{}", run.text);
        let pid = std::fs::read_to_string(&pidfile).unwrap_or_default();
        assert_eq!(pid, "", "{mode}");
    }
}

// G01 G02
#[test]
fn in_the_background_the_pid_file_names_the_master() {
    let front = port();
    let launch = Launch::new(&config(
        front,
        "one",
        " daemon\n pidfile @DIR@/pid\n master-worker\n",
    ))
    .ports(&[]);
    let pidfile = launch.dir().file("pid");
    let mut master = launch.start_daemon(&pidfile);
    assert_eq!(answer(front).as_deref(), Some("one"));
    assert_eq!(workers(&master).len(), 1);
    reload(
        &master,
        &config(front, "two", " daemon\n pidfile @DIR@/pid\n"),
        Signal::SIGUSR2,
    );
    until("the next one answers", || {
        answer(front).as_deref() == Some("two")
    });
    assert_eq!(
        std::fs::read_to_string(&pidfile).unwrap().trim(),
        master.pid.to_string()
    );
    master.signal(Signal::SIGTERM);
    assert!(master.ended_within(PATIENCE).is_some());
    assert!(within(PATIENCE, || answer(front).is_none()));
}

/// What the service manager was told, a message an element.
fn told(socket: &UnixDatagram) -> Vec<String> {
    let mut all = Vec::new();
    let mut space = [0; 4096];
    while let Ok(count) = socket.recv(&mut space) {
        all.push(String::from_utf8_lossy(&space[..count]).into_owned());
    }
    all
}

// R11
#[test]
fn systemd_is_told_what_the_master_does() {
    if on_haproxy() {
        // 2.6 says it in other words.
        return;
    }
    let (dir, front) = (TempDir::new(), port());
    let path = dir.file("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let launch = Launch::new(&config(front, "one", ""))
        .ports(&[])
        .arg("-Ws")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let mut master = serving(launch, front, "one");
    let ready = format!("READY=1\nMAINPID={}\nSTATUS=Ready.\n", master.pid);
    let mut all = Vec::new();
    let hear = |all: &mut Vec<String>, what: &str, times: usize| {
        within(PATIENCE, || {
            all.extend(told(&socket));
            all.iter().filter(|one| one.contains(what)).count() >= times
        })
    };
    assert!(hear(&mut all, &ready, 1), "{all:?}");
    reload(&master, &config(front, "two", ""), Signal::SIGUSR2);
    assert!(hear(&mut all, &ready, 2), "{all:?}");
    reload(&master, "garbage\n", Signal::SIGUSR2);
    assert!(
        hear(&mut all, "READY=1\nSTATUS=Reload failed!\n", 1),
        "{all:?}"
    );
    assert!(hear(&mut all, "WATCHDOG=1\n", 3), "{all:?}");
    master.signal(Signal::SIGTERM);
    assert!(hear(&mut all, "STOPPING=1\n", 1), "{all:?}");
    assert!(master.ended_within(PATIENCE).is_some());
    let others: Vec<_> = all
        .iter()
        .filter(|one| *one != "WATCHDOG=1\n")
        .map(|one| one.lines().take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let main = format!("READY=1 MAINPID={}", master.pid);
    assert_eq!(
        others,
        [
            &*main,
            "RELOADING=1 STATUS=Reloading Configuration.",
            &main,
            "RELOADING=1 STATUS=Reloading Configuration.",
            "READY=1 STATUS=Reload failed!",
            "STOPPING=1"
        ]
    );
}
