//! The master's admin socket (`-S`): its workers, reloads that tell how they went, and their commands through it.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::http::Wire;
use crate::support::{Daemon, Launch, PATIENCE, balancer, on_haproxy, oracle, port, until};

fn config(front: u16, word: &str, more: &str) -> String {
    format!(
        "global\n nbthread 2\n maxconn 500\n{more}defaults\n mode http\n timeout connect 2s\n timeout client 20s\n timeout server 9s\n\
         frontend f\n bind 127.0.0.1:{front}\n http-request return status 200 content-type text/plain string {word}\n"
    )
}

/// A master with its socket at `m.sock` in its directory.
#[track_caller]
fn start(front: u16, options: &str) -> Daemon {
    let launch = Launch::new(&config(front, "one", "")).ports(&[]).arg("-W");
    let path = launch.dir().file("m.sock");
    let daemon = launch
        .arg("-S")
        .arg(&format!("{path}{options}"))
        .spawn(&["-db"]);
    until("the worker serves", || {
        daemon.output().contains("Loading success.")
    });
    daemon
}

/// What comes for `text` until the master closes.
#[track_caller]
fn ask(master: &Daemon, text: &str) -> String {
    let mut stream = UnixStream::connect(master.file("m.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn worker(master: &Daemon) -> Pid {
    let path = format!("/proc/{0}/task/{0}/children", master.pid);
    let text = std::fs::read_to_string(path).unwrap();
    Pid::from_raw(
        text.split_ascii_whitespace()
            .next_back()
            .unwrap()
            .parse()
            .unwrap(),
    )
}

/// The lines of `show proc`, each with its columns.
fn processes(master: &Daemon) -> Vec<Vec<String>> {
    let text = ask(master, "show proc\n");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && *line != "# programs");
    let columns = |line: &str| -> Vec<String> {
        if line.starts_with("# ") {
            return vec![line.to_owned()];
        }
        // Columns of fifteen, which the last one and a long version may exceed.
        let starts = [0, 16, 32, 48, 64];
        let ends = [15, 31, 47, 63, line.len()];
        let cells = starts
            .iter()
            .zip(ends)
            .map(|(&from, to)| line[from..to].trim_end());
        cells.map(str::to_owned).collect()
    };
    lines.map(columns).collect()
}

#[test]
fn processes_are_shown_in_haproxys_columns_and_reloads_are_counted() {
    let front = port();
    let master = start(front, ",mode,600,level,admin");
    let mode = std::fs::metadata(master.file("m.sock")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let all = processes(&master);
    assert_eq!(
        all[0],
        ["#<PID>", "<type>", "<reloads>", "<uptime>", "<version>"]
    );
    assert_eq!(
        all[1][..3],
        [&*master.pid.to_string(), "master", "0 [failed: 0]"]
    );
    assert_eq!(all[2], ["# workers"]);
    assert_eq!(all[3][..3], [&*worker(&master).to_string(), "worker", "0"]);
    assert!(all[3][3].starts_with("0d00h0"), "{all:?}");
    assert_eq!(all.len(), 4);
    // One that has a request to end.
    let first = worker(&master);
    let mut held = Wire::to(front);
    held.send("GET / HTTP/1.1\r\nHost: h\r\n");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let success = ask(&master, "reload\n");
    if !on_haproxy() {
        assert!(success.starts_with("Success=1\n--\n"), "{success}");
        assert!(
            success.contains(" : Initializing new worker ("),
            "{success}"
        );
        assert!(success.ends_with(" : Loading success.\n"), "{success}");
    }
    until("the next one is there", || {
        processes(&master)
            .iter()
            .any(|line| line[0] == "# old workers")
    });
    let all = processes(&master);
    assert_eq!(all[1][2], "1 [failed: 0]");
    assert_eq!(all[5][..3], [&*first.to_string(), "worker", "1"], "{all:?}");
    // It is reached by its number.
    let pid = format!("\nPid: {first}\n");
    assert!(ask(&master, &format!("@!{first} show info\n")).contains(&pid));
    held.send("\r\n");
    assert_eq!(held.answer("GET").unwrap().body, "one");
}

#[test]
fn a_reload_that_fails_says_why_and_changes_nothing() {
    if on_haproxy() {
        return; // 2.6 says nothing.
    }
    let front = port();
    let master = start(front, "");
    master
        .dir
        .write("cfg", &format!("{} garbage\n", config(front, "two", "")));
    let text = ask(&master, "reload\n");
    assert!(text.starts_with("Success=0\n--\n"), "{text}");
    assert!(text.contains("unknown keyword 'garbage'"), "{text}");
    assert!(text.ends_with("exited with code 1 (Exit)\n"), "{text}");
    assert!(ask(&master, "prompt\n").starts_with("master[ReloadFailed]> "));
    assert_eq!(processes(&master)[1][2], "1 [failed: 1]");
    assert!(ask(&master, "show startup-logs\n").contains("unknown keyword 'garbage'"));
    assert_eq!(Wire::to(front).get("/", "").body, "one");
    master.dir.write("cfg", &config(front, "three", ""));
    let mut held = Wire::to(front);
    held.send("GET / HTTP/1.1\r\nHost: h\r\n");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(ask(&master, "hard-reload\n").starts_with("Success=1\n"));
    // The one before ends at once.
    assert_eq!(held.all(), "");
    assert_eq!(Wire::to(front).get("/", "").body, "three");
    assert!(ask(&master, "prompt\n").starts_with("master> "));
}

#[test]
fn commands_go_to_the_process_that_a_prefix_names() {
    let front = port();
    let master = start(front, "");
    let pid = worker(&master);
    let text = ask(&master, "@1 show info;@1 show stat\n");
    assert!(text.contains(&format!("\nPid: {pid}\n")), "{text}");
    assert!(text.contains("\n# pxname,"), "{text}");
    // As a command, a prefix is for all that follows.
    let text = ask(&master, &format!("@!{pid};show info;@;show proc\n"));
    assert!(text.contains(&format!("\nPid: {pid}\n")), "{text}");
    assert!(text.contains("\n# workers\n"), "{text}");
    assert_eq!(
        ask(&master, "@2 show info\nshow proc\n"),
        "Can't find the target PID matching the prefix '@2'\n"
    );
    let rest = ask(
        &master,
        "prompt\n@1\nshow cli level\n@master\nuser\n@1 show cli level\nreload\n",
    );
    assert_eq!(
        rest,
        format!(
            "master> {pid}> admin\n\n{pid}> master> master> user\n\nmaster> Permission denied\n\nmaster> "
        )
    );
    if on_haproxy() {
        return;
    }
    // A payload belongs to its command.
    assert!(ask(&master, "@1 add acl #9 <<\na\nb\n\nshow version\n").ends_with("\n\n"));
    let text = ask(&master, "show version <<\nreload\n\nshow cli level\n");
    assert!(
        text.ends_with("admin\n\n") && !text.contains("Success"),
        "{text}"
    );
    // The worker talks by itself.
    let text = ask(&master, "@@1\nshow version\nshow info\nquit\n");
    assert!(text.contains(&format!("\nPid: {pid}\n")), "{text}");
    let text = ask(&master, "@@1 show version;show info\n");
    assert!(text.contains(&format!("\nPid: {pid}\n")), "{text}");
    for (asked, part) in [
        ("show version\n", "3.4.0-ringway"),
        ("show cli sockets\n", "m.sock admin all\n"),
        ("show env PATH\n", "PATH="),
        ("echo a b\n", "a b\n\n"),
        ("help\n", "\n  reload "),
        ("bogus\n", "Unknown command: 'bogus'"),
        ("mcli-debug-mode on\n", "is not supported"),
        (
            "prompt\nexpert-mode on\n@1\nexpert-mode\n",
            "(e)> expert-mode is ON\n",
        ),
    ] {
        let text = ask(&master, asked);
        assert!(text.contains(part), "{asked}: {text}");
    }
    // What nobody understands, and what has no end, harms nobody.
    let _ = ask(&master, &"x".repeat(40_000));
    let _ = ask(&master, "@1 show");
    assert_eq!(processes(&master).len(), 4);
}

/// What becomes of a master whose current worker, or the one before, is killed: its status, where it ends.
fn after_kill(program: std::path::PathBuf, more: &str, former: bool) -> Option<i32> {
    let front = port();
    let text = config(front, "one", more);
    let mut master = Launch::of(program, &text)
        .ports(&[])
        .arg("-W")
        .spawn(&["-db"]);
    let loaded = |master: &Daemon, n| master.output().matches("Loading success.").count() == n;
    until("the worker serves", || loaded(&master, 1));
    let victim = worker(&master);
    let mut held = Wire::to(front);
    held.send("GET / HTTP/1.1\r\nHost: h\r\n");
    std::thread::sleep(std::time::Duration::from_millis(200));
    if former {
        master.signal(Signal::SIGUSR2);
        until("the next one serves", || loaded(&master, 2));
    }
    kill(victim, Signal::SIGKILL).unwrap();
    until("it is told", || {
        let said = master.output();
        said.contains(&format!("({victim}) exited with code 137 (Killed)"))
    });
    if former {
        assert_eq!(Wire::to(front).get("/", "").body, "one");
    }
    let limit = std::time::Duration::from_secs(1);
    master
        .ended_within(limit)
        .map(|status| status.code().unwrap())
}

// issue 4 point 3
#[test]
fn a_killed_worker_is_told_and_ends_the_master_where_haproxys_would_end() {
    for (more, former, status) in [
        ("", false, Some(137)),
        ("", true, None),
        (" master-worker no-exit-on-failure\n", false, Some(137)),
    ] {
        let own = after_kill(balancer(), more, former);
        assert_eq!(own, after_kill(oracle(), more, former), "{more:?} {former}");
        assert_eq!(own, status, "{more:?} {former}");
    }
}
