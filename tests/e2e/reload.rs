//! A process follows another and takes its listening sockets over: `-x`, `expose-fd listeners`.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::client::connect_to;
use crate::support::http::Wire;
use crate::support::{
    Daemon, LATE, Launch, PATIENCE, Server, TempDir, balancer, on_haproxy, oracle, port, until,
    within,
};

/// A proxy that answers by itself on `front`, offers its sockets on the admin socket `admin`, and has more lines.
fn config(front: u16, admin: &str, threads: u32, more: &str) -> String {
    format!(
        "global\n nbthread {threads}\n maxconn 500\n stats socket {admin} mode 600 level admin expose-fd listeners\n\
         defaults\n mode http\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n\
         frontend f\n bind 127.0.0.1:{front}\n{more} http-request return status 200 content-type text/plain string well\n"
    )
}

/// The listening sockets of `port`, by the kernel's numbers.
fn inodes(port: u16) -> BTreeSet<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let place = format!(":{port:04X}");
    let lines = table
        .lines()
        .skip(1)
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let listening = lines.filter(|words| words[1].ends_with(&place) && words[3] == "0A");
    listening.map(|words| words[9].to_owned()).collect()
}

/// Starts `program` as the one that follows `old`, and waits until that has left.
#[track_caller]
fn follow(program: PathBuf, config: &str, admin: &str, mut old: Daemon) -> Daemon {
    let next = Launch::of(program, config)
        .arg("-x")
        .arg(admin)
        .arg("-sf")
        .arg(&old.pid.to_string())
        .start();
    let status = old.ended_within(PATIENCE).expect("the old process leaves");
    assert_eq!(status.code(), Some(0), "{}", old.output());
    next
}

/// Ends what waits for the flag, also where a check fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Starts these one after the other, each with so many threads, under clients that ask all the time.
#[track_caller]
fn none_is_lost(chain: &[(PathBuf, u32)]) {
    let (dir, front) = (TempDir::new(), port());
    let admin = dir.file("admin.sock");
    let (first, next) = chain.split_first().expect("somebody begins");
    let mut daemon = Launch::of(first.0.clone(), &config(front, &admin, first.1, "")).start();
    let (over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let failed: Vec<String> = std::thread::scope(|scope| {
        let ask = || {
            let mut failed = Vec::new();
            while !over.load(SeqCst) && failed.len() < 10 {
                let mut wire = match connect_to(([127, 0, 0, 1], front).into()) {
                    Ok(stream) => Wire::new(stream),
                    Err(error) => {
                        failed.push(error.to_string());
                        continue;
                    }
                };
                wire.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
                match wire.answer("GET") {
                    Some(answer) if answer.whole && answer.body == "well" => {
                        answered.fetch_add(1, SeqCst);
                    }
                    answer => failed.push(format!("{answer:?}")),
                }
            }
            failed
        };
        let end = Ends(&over);
        let asking = [(); 4].map(|()| scope.spawn(ask));
        for (program, threads) in next {
            let before = answered.load(SeqCst);
            let text = config(front, &admin, *threads, "");
            daemon = follow(program.clone(), &text, &admin, daemon);
            until("requests go on", || answered.load(SeqCst) > before + 100);
        }
        drop(end);
        asking
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    assert_eq!(
        failed,
        Vec::<String>::new(),
        "of {} requests",
        answered.load(SeqCst)
    );
}

// R03 R12
#[test]
fn no_request_is_lost_while_fewer_shards_follow_more_and_more_fewer() {
    let chain = [4, 2, 4, 1, 2, 2].map(|threads| (balancer(), threads));
    none_is_lost(&chain);
}

/// haproxy takes one socket for each bind line, so it gets no more; the others are emptied by the process that leaves.
#[test]
fn no_request_is_lost_while_processes_of_both_kinds_follow_each_other() {
    let chain = [balancer, oracle, balancer, oracle, balancer, oracle].map(|program| program());
    let threads = [1, 1, 4, 2, 2, 1];
    none_is_lost(&chain.into_iter().zip(threads).collect::<Vec<_>>());
}

#[test]
fn every_socket_is_adopted_by_fewer_shards_and_shared_by_more() {
    let (dir, front) = (TempDir::new(), port());
    let admin = dir.file("admin.sock");
    let of = |threads| config(front, &admin, threads, "");
    let first = Launch::new(&of(4)).start();
    let four = inodes(front);
    let second = follow(balancer(), &of(2), &admin, first);
    assert_eq!(inodes(front), four);
    for _ in 0..20 {
        assert_eq!(Wire::to(front).get("/", "").body, "well");
    }
    if on_haproxy() {
        return;
    }
    assert_eq!(four.len(), 4);
    let _third = follow(balancer(), &of(6), &admin, second);
    let six = inodes(front);
    assert!(six.is_superset(&four) && six.len() == 6, "{four:?} {six:?}");
    for _ in 0..20 {
        assert_eq!(Wire::to(front).get("/", "").body, "well");
    }
}

/// What a proxy on a unix socket answers.
fn asked(mut stream: UnixStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn unix_and_abstract_sockets_are_taken_over_as_well() {
    let (dir, front) = (TempDir::new(), port());
    let (admin, path) = (dir.file("admin.sock"), dir.file("front.sock"));
    let name = format!("ringway-reload-{}", std::process::id());
    let more = format!(" bind unix@{path}\n bind abns@{name}\n");
    let config = config(front, &admin, 2, &more);
    // Such names are filled up with zeros.
    let mut full = name.into_bytes();
    full.resize(107, 0);
    let hidden = UnixAddr::from_abstract_name(&full).unwrap();
    let mut daemon = Launch::new(&config).start();
    for program in [balancer(), oracle(), balancer()] {
        daemon = follow(program, &config, &admin, daemon);
        assert!(asked(UnixStream::connect(&path).unwrap()).ends_with("well"));
        assert!(asked(UnixStream::connect_addr(&hidden).unwrap()).ends_with("well"));
    }
}

// R03
#[test]
fn sockets_are_found_where_both_configurations_name_the_same_admin_socket() {
    let (dir, front) = (TempDir::new(), port());
    let config = config(front, &dir.file("admin.sock"), 2, "");
    let mut old = Launch::new(&config).start();
    let before = inodes(front);
    let _new = Launch::new(&config)
        .arg("-sf")
        .arg(&old.pid.to_string())
        .start();
    assert!(old.ended_within(PATIENCE).is_some());
    if !on_haproxy() {
        assert_eq!(inodes(front), before);
    }
    assert_eq!(Wire::to(front).get("/", "").body, "well");
}

#[test]
fn sessions_and_requests_under_way_end_in_the_old_process() {
    let (dir, [front, relay]) = (TempDir::new(), [port(), port()]);
    let admin = dir.file("admin.sock");
    let server = Server::named("A");
    let more = format!(
        " option http-keep-alive\nlisten r\n mode tcp\n bind 127.0.0.1:{relay}\n server s {}\nfrontend g\n",
        server.addr()
    );
    let config = config(
        front,
        &admin,
        2,
        &format!(
            " http-request return status 200 content-type text/plain string well\n{more} bind 127.0.0.1:{}\n",
            port()
        ),
    );
    // A start may take longer than the usual 5 s where the machine is busy.
    let config = config.replace(" 5s", " 30s");
    let mut old = Launch::new(&config).start();
    let mut begun = Wire::to(front);
    begun.send("POST / HTTP/1.1\r\nHost: h\r\n");
    let mut kept = Wire::to(front);
    assert_eq!(kept.get("/", "").body, "well");
    let mut held = connect_to(([127, 0, 0, 1], relay).into()).unwrap();
    until("the relay reaches its server", || server.seen.open() > 0);
    let _new = Launch::new(&config)
        .arg("-x")
        .arg(&admin)
        .arg("-sf")
        .arg(&old.pid.to_string())
        .start();
    begun.send("Content-Length: 0\r\n\r\n");
    let answer = begun.answer("POST").expect("the old process answers");
    assert_eq!(
        (answer.body.as_str(), answer.get("connection")),
        ("well", Some("close"))
    );
    // Idle ones are closed: their clients come to the new process.
    assert_eq!(kept.all(), "");
    std::thread::sleep(Duration::from_millis(200));
    assert!(old.alive(), "it has a session");
    held.write_all(b"x").unwrap();
    drop(held);
    assert!(old.ended_within(PATIENCE).is_some());
    assert_eq!(Wire::to(front).get("/", "").body, "well");
}

#[test]
fn a_new_process_that_does_not_start_takes_nothing_away() {
    let (dir, front) = (TempDir::new(), port());
    let admin = dir.file("admin.sock");
    let mut old = Launch::new(&config(front, &admin, 2, "")).start();
    // It has the sockets, and then finds a port that another program holds.
    let server = Server::named("A");
    let broken = config(front, &admin, 2, &format!(" bind {}\n", server.addr()));
    let pid = old.pid.to_string();
    let launch = Launch::new(&broken)
        .arg("-x")
        .arg(&admin)
        .arg("-sf")
        .arg(&pid)
        .arg("-db");
    assert_ne!(launch.run().code(), 0);
    for _ in 0..20 {
        assert_eq!(Wire::to(front).get("/", "").body, "well");
    }
    assert!(old.alive());
    // The next one, without the mistake.
    let _new = follow(balancer(), &config(front, &admin, 3, ""), &admin, old);
    assert_eq!(Wire::to(front).get("/", "").body, "well");
}

#[test]
fn sockets_that_cannot_be_shared_are_taken_over_by_more_shards() {
    let (dir, front) = (TempDir::new(), port());
    let admin = dir.file("admin.sock");
    let old = Launch::new(&config(front, &admin, 1, ""))
        .arg("-dR")
        .start();
    let one = inodes(front);
    let _new = follow(balancer(), &config(front, &admin, 3, ""), &admin, old);
    assert_eq!(inodes(front), one);
    for _ in 0..20 {
        assert_eq!(Wire::to(front).get("/", "").body, "well");
    }
}

#[test]
fn a_unix_socket_whose_path_is_gone_is_bound_anew() {
    let (dir, front) = (TempDir::new(), port());
    let (admin, path) = (dir.file("admin.sock"), dir.file("front.sock"));
    let config = config(front, &admin, 2, &format!(" bind unix@{path} mode 600\n"));
    let old = Launch::new(&config).start();
    std::fs::remove_file(&path).unwrap();
    let _new = follow(balancer(), &config, &admin, old);
    assert!(asked(UnixStream::connect(&path).unwrap()).ends_with("well"));
}

#[test]
fn where_there_is_nobody_to_take_over_from_the_start_fails() {
    let (dir, front) = (TempDir::new(), port());
    let config = config(front, &dir.file("admin.sock"), 1, "");
    let run = Launch::new(&config)
        .arg("-x")
        .arg(&dir.file("none.sock"))
        .arg("-db")
        .run();
    assert_eq!(run.code(), 1);
    assert_eq!(
        run.lines_with("Failed to connect to the old process socket")
            .len(),
        1,
        "{}",
        run.text
    );
    assert_eq!(
        run.lines_with("Failed to get the sockets from the old process!")
            .len(),
        1,
        "{}",
        run.text
    );
    // As haproxy's master says it where there is none before it.
    let _first = Launch::new(&config).arg("-x").arg("/dev/null").start();
    assert!(within(PATIENCE, || Wire::to(front).get("/", "").body == "well"));
}

/// As haproxy's own follower asks; gives how many sockets are announced.
fn announced(admin: &str) -> i32 {
    let mut stream = UnixStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"_getsocks\n").unwrap();
    let mut count = [0; 4];
    stream.read_exact(&mut count).unwrap();
    i32::from_ne_bytes(count)
}

#[test]
fn what_is_closed_is_not_given_away() {
    let (dir, [front, other]) = (TempDir::new(), [port(), port()]);
    let admin = dir.file("admin.sock");
    let more = " http-request return status 200 content-type text/plain string well\nfrontend g\n";
    let config = config(
        front,
        &admin,
        2,
        &format!("{more} bind 127.0.0.1:{other}\n"),
    );
    let daemon = Launch::new(&config).start();
    if on_haproxy() {
        return;
    }
    assert_eq!(announced(&admin), 2);
    let mut stream = UnixStream::connect(&admin).unwrap();
    stream.write_all(b"shutdown frontend g\n").unwrap();
    until("it listens no more", || inodes(other).is_empty());
    // Its numbers are those of connections now.
    let clients: Vec<_> = (0..8).map(|_| Wire::to(front)).collect();
    assert_eq!(announced(&admin), 1);
    drop(clients);
    let _next = follow(balancer(), &config, &admin, daemon);
    assert_eq!(Wire::to(other).get("/", "").body, "well");
}

#[test]
fn bind_lines_on_one_address_share_its_sockets() {
    let (dir, front) = (TempDir::new(), port());
    let admin = dir.file("admin.sock");
    let twice = format!(" bind 127.0.0.1:{front} thread 2\n");
    let config = config(front, &admin, 2, &twice).replace(
        &format!("127.0.0.1:{front}\n bind"),
        &format!("127.0.0.1:{front} thread 1\n bind"),
    );
    let mut daemon = Launch::new(&config).start();
    let (before, fds) = (inodes(front), daemon.fds());
    for _ in 0..3 {
        daemon = follow(balancer(), &config, &admin, daemon);
    }
    assert_eq!(inodes(front), before);
    // Copies would be among them.
    assert!(daemon.fds() <= fds + 2, "{} and {fds}", daemon.fds());
}

/// How long after SIGUSR1 each of 20 kept connections ended, with `line` in the global section; those that still
/// serve a request after `limit` are missing.
fn ends(line: &str, limit: Duration) -> Vec<Duration> {
    let front = port();
    let config = format!(
        "global\n nbthread 2\n maxconn 500\n{line}defaults\n mode http\n timeout connect 2s\n timeout client 30s\n timeout server 5s\n\
         frontend f\n bind 127.0.0.1:{front}\n http-request return status 200 content-type text/plain string well\n"
    );
    let daemon = Launch::new(&config).start();
    let mut kept: Vec<_> = (0..20).map(|_| Wire::to(front)).collect();
    for wire in &mut kept {
        assert_eq!(wire.get("/", "").body, "well");
    }
    let begun = Instant::now();
    daemon.signal(Signal::SIGUSR1);
    let ended = std::thread::scope(|scope| {
        let threads = kept.iter_mut().map(|wire| {
            scope.spawn(move || {
                let stream = &wire.stream;
                stream.set_read_timeout(Some(limit)).unwrap();
                matches!(stream.peek(&mut [0]), Ok(0)).then(|| begun.elapsed())
            })
        });
        let threads: Vec<_> = threads.collect();
        let ended = threads.into_iter().map(|one| one.join().unwrap());
        ended.collect::<Vec<_>>()
    });
    for (wire, _) in kept.iter_mut().zip(&ended).filter(|(_, e)| e.is_none()) {
        wire.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let answer = wire.get("/", "");
        assert_eq!((&*answer.body, answer.get("connection")), ("well", None));
    }
    ended.into_iter().flatten().collect()
}

#[test]
fn closes_of_kept_connections_are_spread_where_that_is_asked_for() {
    let at_once = ends("", PATIENCE);
    assert_eq!(at_once.len(), 20);
    // Those that just served have half a second.
    assert!(
        at_once.iter().all(|took| *took < LATE + LATE),
        "{at_once:?}"
    );
    let mut spread = ends(" close-spread-time 4s\n", PATIENCE);
    spread.sort();
    assert_eq!(spread.len(), 20);
    assert!(
        spread[19] - spread[0] > Duration::from_secs(1),
        "{spread:?}"
    );
    assert!(spread[19] < Duration::from_secs(4) + LATE, "{spread:?}");
    let never = ends(" close-spread-time infinite\n", Duration::from_secs(1));
    assert_eq!(never, []);
}
