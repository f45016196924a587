//! What the admin socket bears: garbage, lines and payloads without end, half commands, clients that never read.
//! Through all of it clients are served, other operators are answered, and memory stays bounded.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::support::client::who;
use crate::support::pattern::Dice;
use crate::support::{Admin, Daemon, Launch, Server, TempDir, USUAL, port, sized, until};

/// A balancer with so many servers that their statistics fill every socket buffer.
fn serving(server: &Server, servers: usize) -> (Daemon, u16, String) {
    let front = port();
    let many: String = (0..servers)
        .map(|n| format!(" server s{n} {}\n", server.addr()))
        .collect();
    let config = format!(
        "global\n nbthread 2\n stats maxconn 200\n stats timeout 5s\n{USUAL}\
         listen l\n bind 127.0.0.1:{front}\n{many}"
    );
    let daemon = Launch::new(&config).start();
    let Admin::Unix(path) = daemon.admin() else {
        panic!("the admin socket is a path")
    };
    (daemon, front, path)
}

fn connect(path: &str) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the admin socket takes connections");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream.set_write_timeout(patience).unwrap();
    stream
}

/// Sends it all, if the other side lets us, and what comes back.
fn send(path: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(path);
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[track_caller]
fn still_serves(daemon: &Daemon, front: u16) {
    assert_eq!(who(front), "A");
    assert_eq!(daemon.admin().info()["Name"], "HAProxy");
    assert_eq!(daemon.admin().info_number("Panics"), 0);
}

/// Resident memory in KiB.
fn resident(daemon: &Daemon) -> u64 {
    let text = daemon.proc_status("VmRSS");
    let number = text.split_whitespace().next().unwrap_or_default();
    number.parse().expect("a number of KiB")
}

// L14
#[test]
fn garbage_is_answered_and_forgotten() {
    let server = Server::named("A");
    let (daemon, front, path) = serving(&server, 3);
    send(&path, b"show stat\n");
    let before = resident(&daemon);
    let mut random = Dice(7);
    for round in 0..sized(150, 3000) {
        let length = random.between(1, 6000) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        match round % 4 {
            // Some of it in lines, some behind words that mean something.
            0 => bytes.iter_mut().step_by(37).for_each(|byte| *byte = b'\n'),
            1 => {
                let words = [
                    "show ",
                    "set server l/s0 ",
                    "add acl ",
                    "set ssl cert x <<\n",
                    "@1 ",
                    ";",
                ];
                let word = words[round / 4 % words.len()];
                bytes.splice(0..0, word.bytes());
            }
            2 => bytes.push(b'\n'),
            _ => bytes.fill(0),
        }
        send(&path, &bytes);
    }
    for hostile in [
        &b"\0\0\0\n"[..],
        b"show\0stat\n",
        b"show stat\0\n",
        b"\\\n",
        b"show env \xff\xfe\n",
        b";;;;;;\n",
        b"set server\n",
        b"set server /\n",
        b"set server #/#\n",
        b"set server l/#99999999999999999999 state maint\n",
        b"set weight l/s0 -99999999999999999999%\n",
        b"set weight l/s0 %\n",
        b"set maxconn global 99999999999999999999\n",
        b"show sess 0xffffffffffffffffffff\n",
        b"show stat 99999999999 99999999999 99999999999\n",
        b"wait -1\n",
        b"wait 99999999999999999999d\n",
        b"set timeout cli 99999999999999999999d\n",
        b"add acl #99999999999999999999 x\n",
        b"show acl @99999999999999999999 #0\n",
        b"help \\ \\;\\\\\n",
        b"show pools 0\n",
        b"show pools match\n",
    ] {
        let answer = send(&path, hostile);
        assert!(
            answer.ends_with(b"\n"),
            "{:?}",
            String::from_utf8_lossy(hostile)
        );
    }
    still_serves(&daemon, front);
    let grown = resident(&daemon).saturating_sub(before);
    assert!(grown < 16 << 10, "memory grew by {grown} KiB");
}

// L14
#[test]
fn what_is_too_long_is_refused_and_nothing_of_it_kept() {
    let server = Server::named("A");
    let (daemon, front, path) = serving(&server, 3);
    let before = resident(&daemon);
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..8 {
        let answer = send(&path, &megabyte);
        assert!(answer.is_empty() || answer.starts_with(b"Command line is too long."));
        send(
            &path,
            &[&b"add acl #0 <<\n"[..], &megabyte, b"\n\n"].concat(),
        );
        let lines: Vec<u8> = b"pattern\n".repeat(1 << 17);
        send(&path, &[&b"add acl #0 <<\n"[..], &lines, b"\n"].concat());
        send(&path, &[&b"add acl #0 <<END\n"[..], &lines].concat());
    }
    still_serves(&daemon, front);
    let grown = resident(&daemon).saturating_sub(before);
    assert!(grown < 16 << 10, "memory grew by {grown} KiB");
}

// L14
#[test]
fn ten_thousand_commands_at_once_are_all_answered() {
    let server = Server::named("A");
    let (daemon, front, path) = serving(&server, 3);
    let line = "get weight l/s0;".repeat(1000);
    let mut stream = connect(&path);
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let all = format!("prompt i\n{}quit\n", format!("{line}\n").repeat(10));
        writer.write_all(all.as_bytes()).unwrap();
    });
    still_serves(&daemon, front);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    sender.join().unwrap();
    assert_eq!(answer.matches("1 (initial 1)\n\n").count(), 10_000);
    still_serves(&daemon, front);
}

// L14
#[test]
fn clients_that_say_half_or_never_read_hold_up_nobody() {
    let server = Server::named("A");
    let (daemon, front, path) = serving(&server, 1000);
    let whole = send(&path, b"show stat\n").len();
    assert!(whole > 200 << 10, "{whole} bytes of statistics");
    let before = resident(&daemon);
    let idle: Vec<_> = (0..60)
        .map(|n| {
            let mut stream = connect(&path);
            let text: &[u8] = match n % 3 {
                0 => b"show st",
                1 => b"add acl #0 <<\nhalf a payload\n",
                _ => b"",
            };
            stream.write_all(text).unwrap();
            stream
        })
        .collect();
    let deaf: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = connect(&path);
            stream
                .write_all(
                    "show stat;show stat json;show servers state\n"
                        .repeat(20)
                        .as_bytes(),
                )
                .unwrap();
            stream
        })
        .collect();
    for _ in 0..5 {
        still_serves(&daemon, front);
        assert_eq!(send(&path, b"show stat\n").len() / 1000, whole / 1000);
    }
    let grown = resident(&daemon).saturating_sub(before);
    assert!(
        grown < 32 << 10,
        "memory grew by {grown} KiB for 120 idle clients"
    );
    // stats timeout: they are sent away.
    let mut idle = idle;
    let mut end = [0];
    assert!(
        idle.iter_mut()
            .all(|stream| stream.read(&mut end).is_ok_and(|n| n == 0))
    );
    drop(deaf);
    let fds = daemon.fds();
    until("their descriptors are free", || daemon.fds() <= fds);
    still_serves(&daemon, front);
}

// L16
#[test]
fn counters_go_on_after_a_restart_where_they_have_names() {
    let server = Server::named("A");
    let dir = TempDir::new();
    let file = dir.file("counters");
    let start = |front: u16| {
        let config = format!(
            "global\n stats-file {file}\n{USUAL}listen l\n guid both\n bind 127.0.0.1:{front}\n server s {0} guid the-server\n \
             server unnamed {0} backup\n",
            server.addr()
        );
        Launch::new(&config).start()
    };
    let first = port();
    let daemon = start(first);
    assert!(
        daemon.output().contains("Can't open stats-file"),
        "{}",
        daemon.output()
    );
    (0..3).for_each(|_| assert_eq!(who(first), "A"));
    let admin = daemon.admin();
    until("all are over", || admin.count("l", "s", "scur") == 0);
    let text = admin.run("dump stats-file");
    dir.write("counters", &format!("{text}broken,line\n"));
    drop(daemon);

    let second = port();
    let daemon = start(second);
    let admin = daemon.admin();
    assert_eq!(admin.info_number("CumReq"), 0);
    for row in ["FRONTEND", "s", "BACKEND"] {
        assert_eq!(admin.count("l", row, "stot"), 3, "{row}");
        assert_eq!(
            admin.count("l", row, "bout"),
            3 * admin.count("l", row, "bin"),
            "{row}"
        );
    }
    assert_eq!(admin.count("l", "unnamed", "stot"), 0);
    assert_eq!(who(second), "A");
    until("it counts on", || admin.count("l", "s", "stot") == 4);
    assert_eq!(admin.count("l", "FRONTEND", "stot"), 4);
}
