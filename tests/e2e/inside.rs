//! What an operator sees through the admin socket: statistics, process figures, activity.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::support::client::{hold, who};
use crate::support::{Admin, Daemon, Launch, Server, USUAL, on_haproxy, port, until};

fn serving(threads: u32, server: &Server) -> (Daemon, u16) {
    let front = port();
    let config = format!(
        "global\n nbthread {threads}\n{USUAL}listen l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    );
    (Daemon::start(&config), front)
}

// L16
#[test]
fn counters_are_exact_over_all_threads() {
    let server = Server::named("A");
    let (daemon, front) = serving(4, &server);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(who(front), "A")));
        }
    });
    let admin = daemon.admin();
    until("all are over", || admin.count("l", "FRONTEND", "scur") == 0);
    for row in ["FRONTEND", "s", "BACKEND"] {
        assert_eq!(admin.count("l", row, "stot"), 400, "{row}");
        assert_eq!(admin.count("l", row, "bin"), 400, "{row}");
        assert_eq!(admin.count("l", row, "bout"), 1200, "{row}");
    }
    assert_eq!(server.seen.accepted(), 400);
}

// L13
#[test]
fn statistics_come_as_json_with_the_values_of_the_csv() {
    let server = Server::named("A");
    let (daemon, front) = serving(2, &server);
    let _held = hold(front);
    let admin = daemon.admin();
    let parsed: Value = serde_json::from_str(&admin.run("show stat json")).expect("valid JSON");
    let rows = parsed.as_array().expect("a list of rows");
    assert_eq!(rows.len(), admin.stat().len());
    let cells = rows[0].as_array().expect("a row is a list of cells");
    let by_name: HashMap<_, _> = cells
        .iter()
        .filter_map(|cell| Some((cell["field"]["name"].as_str()?, &cell["value"]["value"])))
        .collect();
    assert_eq!(by_name["pxname"], "l");
    assert_eq!(by_name["svname"], "FRONTEND");
    assert_eq!(by_name["scur"], 1);
    let info: Value = serde_json::from_str(&admin.run("show info json")).expect("valid JSON");
    assert!(info.as_array().is_some_and(|fields| !fields.is_empty()));
}

// L14
#[test]
fn a_command_may_wait_for_the_next_one_on_its_line() {
    let server = Server::named("A");
    let (daemon, _) = serving(1, &server);
    let admin = daemon.admin();
    let began = std::time::Instant::now();
    let answer = admin.run("wait 250;echo later");
    assert_eq!(answer, "Done.\n\nlater\n\n");
    crate::support::about(250, began.elapsed());
    assert_eq!(admin.run("wait 0"), "Done.\n\n");
    let failed = admin.run("wait 1 srv-removable l/s");
    assert!(failed.starts_with("Failed. Only servers in"), "{failed}");
    assert!(admin.run("wait soon").starts_with("Invalid duration"));
}

// L13
#[test]
fn typed_statistics_name_each_cell() {
    let server = Server::named("A");
    let (daemon, front) = serving(2, &server);
    let _held = hold(front);
    let text = daemon.admin().run("show stat typed");
    let line = text
        .lines()
        .find(|line| line.contains(".scur.1:"))
        .expect("a line for scur");
    assert!(line.starts_with("F.") && line.ends_with(":u32:1"), "{line}");
    let info = daemon.admin().run("show info typed");
    let pid = format!(":u32:{}", daemon.pid);
    assert!(
        info.lines()
            .any(|line| line.contains(".Pid.") && line.ends_with(&pid)),
        "{info}"
    );
}

// L14
#[test]
fn a_user_may_look_and_only_that() {
    let server = Server::named("A");
    let (front, command) = (port(), port());
    let _daemon = Launch::new(&format!(
        "global\n stats socket ipv4@127.0.0.1:{command} level user\ndefaults\n mode tcp\n balance roundrobin\n timeout connect 1s\n \
         timeout client 1s\n timeout server 1s\nlisten l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    ))
    .ports(&[front, command])
    .start();
    let admin = Admin::Tcp(command);
    assert_eq!(who(front), "A");
    assert_eq!(admin.count("l", "FRONTEND", "stot"), 1);
    assert!(admin.run("show errors").contains("Permission denied"));
}

// L14
#[test]
fn a_prompt_keeps_the_connection_for_more_commands() {
    let server = Server::named("A");
    let (daemon, _) = serving(1, &server);
    let mut stream = UnixStream::connect(daemon.file("admin")).unwrap();
    stream
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    stream
        .write_all(b"prompt\nshow info\nshow stat\nquit\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(
        text.contains("> ") && text.contains("Uptime_sec") && text.contains("# pxname"),
        "{text}"
    );
}

// L17
#[test]
fn activity_has_a_figure_for_each_thread() {
    let server = Server::named("A");
    let (daemon, front) = serving(4, &server);
    let _held: Vec<_> = (0..20).map(|_| hold(front)).collect();
    let text = daemon.admin().run("show activity");
    let line = text
        .lines()
        .find(|line| line.starts_with("loops:"))
        .expect("a line for loops");
    let list = line
        .split_once('[')
        .expect("figures by thread")
        .1
        .trim_end_matches(']');
    assert_eq!(list.split_ascii_whitespace().count(), 4, "{line}");
}

// L17
#[test]
fn activity_tells_where_threads_run_and_how_often_they_enter_the_kernel() {
    if on_haproxy() {
        return;
    }
    let server = Server::named("A");
    let (daemon, front) = serving(2, &server);
    let figures = |name: &str| -> Vec<i64> {
        let text = daemon.admin().run("show activity");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let list = line.and_then(|line| Some(line.split_once('[')?.1));
        let list = list.expect("such a line").trim_end_matches(']');
        list.split_ascii_whitespace()
            .map(|n| n.parse().expect("a number"))
            .collect()
    };
    until("both run", || figures("cpu:").iter().all(|&cpu| cpu >= 0));
    let before = figures("enters:").iter().sum::<i64>();
    assert_eq!(who(front), "A");
    until("it entered for this", || {
        figures("enters:").iter().sum::<i64>() > before
    });
    // The thread that reads signals tells the others.
    daemon.signal(nix::sys::signal::Signal::SIGTTOU);
    until("the threads were woken", || {
        figures("wakeups:").iter().sum::<i64>() > 0
    });
}

// design 3: placement by load
#[test]
fn connections_are_placed_on_the_lighter_of_the_threads() {
    if on_haproxy() {
        return;
    }
    let server = Server::named("A");
    let (daemon, front) = serving(4, &server);
    let _held: Vec<_> = (0..200).map(|_| hold(front)).collect();
    let text = daemon.admin().run("show activity");
    let line = text
        .lines()
        .find(|line| line.starts_with("connections:"))
        .expect("a line for connections");
    let list = line.split_once('[').unwrap().1.trim_end_matches(']');
    let by_shard: Vec<u64> = list
        .split_ascii_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    assert_eq!(by_shard.len(), 4, "{line}");
    assert!(
        by_shard.iter().max().unwrap() - by_shard.iter().min().unwrap() <= 20,
        "{line}"
    );
}

/// The lines of `show sess`, with its own connection left out where haproxy shows it.
fn sessions(daemon: &Daemon, filter: &str) -> Vec<String> {
    let text = daemon.admin().run(&format!("show sess {filter}"));
    let lines = text
        .lines()
        .filter(|l| !l.is_empty() && !l.contains("fe=GLOBAL"));
    lines.map(str::to_owned).collect()
}

// L14
#[test]
fn sessions_are_listed_over_all_threads_and_ended_one_by_one() {
    let (server, other) = (Server::named("A"), Server::named("B"));
    let (front, second) = (port(), port());
    let config = format!(
        "global\n nbthread 4\n{USUAL}listen l\n bind 127.0.0.1:{front}\n server s {}\n\
         listen m\n bind 127.0.0.1:{second}\n server t {}\n",
        server.addr(),
        other.addr()
    );
    let daemon = Daemon::start(&config);
    let held: Vec<_> = (0..300).map(|_| hold(front)).collect();
    let _apart = hold(second);
    until("all are listed", || sessions(&daemon, "").len() == 301);
    assert_eq!(sessions(&daemon, "server m/t").len(), 1);
    assert_eq!(sessions(&daemon, "frontend l").len(), 300);
    assert_eq!(sessions(&daemon, "backend m").len(), 1);
    assert_eq!(sessions(&daemon, "older 1m").len(), 0);
    let all = sessions(&daemon, "frontend l");
    let mut ids: Vec<_> = all.iter().filter_map(|l| l.split(':').next()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 300);
    let mine = held[7].0.local_addr().unwrap();
    let line = all
        .iter()
        .find(|line| line.contains(&format!(" src={mine} ")))
        .expect("the session of a client is found by its address");
    let id = line.split(':').next().unwrap();
    let whole = daemon.admin().run(&format!("show sess {id}"));
    assert!(whole.contains(&format!("source={mine}")), "{whole}");
    assert!(
        whole.contains(&format!("server=s (id=1) addr={}", server.addr())),
        "{whole}"
    );
    let admin = daemon.admin();
    assert_eq!(admin.run(&format!("shutdown session {id}")), "\n");
    until("it is gone", || sessions(&daemon, "").len() == 300);
    assert_eq!(
        admin.run(&format!("shutdown session {id}")),
        "No such session (use 'show sess').\n\n"
    );
    assert_eq!(
        admin.run(&format!("show sess {id}")),
        "Session not found.\n\n"
    );
    assert_eq!(admin.run("shutdown sessions server l/s"), "\n");
    until("the server's are gone", || sessions(&daemon, "").len() == 1);
}
