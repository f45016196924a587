//! Servers that an operator adds and takes away while the process runs.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::client::{hold, who};
use crate::support::http::{Wire, ok};
use crate::support::{
    Admin, Daemon, Launch, Server, USUAL, balancer, oracle, port, sized, until, within,
};

const REGISTERED: &str = "New server registered.";
const DELETED: &str = "Server deleted.";

fn serving(global: &str, lines: &str) -> (Daemon, u16) {
    let front = port();
    let config = format!("global\n{global}{USUAL}listen l\n bind 127.0.0.1:{front}\n{lines}");
    (Daemon::start(&config), front)
}

/// The answers to commands on one line, without what ends them.
fn answers(admin: &Admin, commands: &[String]) -> Vec<String> {
    let text = admin.run(&commands.join(";"));
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

#[test]
fn a_server_that_is_added_serves_once_it_is_enabled_and_is_gone_once_it_is_deleted() {
    let (one, two) = (Server::named("A"), Server::named("B"));
    let (daemon, front) = serving(" nbthread 3\n", &format!(" server a {}\n", one.addr()));
    let admin = daemon.admin();
    let add = format!("add server l/b {}", two.addr());
    assert_eq!(admin.run(&add).trim(), REGISTERED);
    assert_eq!(admin.cell("l", "b", "status"), "MAINT");
    (0..4).for_each(|_| assert_eq!(who(front), "A"));
    admin.run("enable server l/b");
    until("both serve", || who(front) == "B");
    assert!((0..6).any(|_| who(front) == "A"));
    admin.run("disable server l/b");
    until("only the first serves", || {
        (0..6).all(|_| who(front) == "A")
    });
    let both = "wait 5s srv-removable l/b;del server l/b";
    assert_eq!(answers(&admin, &[both.to_owned()]), ["Done.", DELETED]);
    assert!(admin.stat().iter().all(|row| row["svname"] != "b"));
    assert_eq!(admin.run("enable server l/b").trim(), "No such server.");
    // The name and the place are free again.
    assert_eq!(admin.run(&add).trim(), REGISTERED);
    assert_eq!(admin.cell("l", "b", "stot"), "0");
}

#[test]
fn a_server_with_connections_stays_until_the_last_one_ends() {
    let (one, two) = (Server::named("A"), Server::named("B"));
    let (daemon, front) = serving(" nbthread 2\n", &format!(" server a {}\n", one.addr()));
    let admin = daemon.admin();
    admin.run(&format!(
        "add server l/b {};enable server l/b;disable server l/a",
        two.addr()
    ));
    until("the second serves", || who(front) == "B");
    until("nothing is open", || two.seen.open() == 0);
    let (held, name) = hold(front);
    assert_eq!(name, "B");
    let busy = "Server still has connections attached to it, cannot remove it.";
    assert_eq!(
        admin.run("del server l/b").trim(),
        "Only servers in maintenance mode can be deleted."
    );
    admin.run("disable server l/b");
    assert_eq!(admin.run("del server l/b").trim(), busy);
    let failed = admin.run("wait 20 srv-removable l/b");
    assert_eq!(failed.trim(), format!("Failed. {busy}"));
    drop(held);
    assert_eq!(admin.run("wait 5s srv-removable l/b").trim(), "Done.");
    assert_eq!(admin.run("del server l/b").trim(), DELETED);
}

#[test]
fn checks_of_a_server_that_is_added_begin_when_they_are_enabled() {
    let one = Server::named("A");
    let (daemon, front) = serving(" nbthread 2\n", " default-server inter 50ms weight 7\n");
    let admin = daemon.admin();
    // 2.6 leaves `default-server` out; 3.4 does not.
    admin.run(&format!(
        "add server l/a {} check;enable server l/a",
        one.addr()
    ));
    assert_eq!(admin.cell("l", "a", "weight"), "7");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(one.seen.accepted(), 0, "not checked yet");
    admin.run("enable health l/a");
    until("it is checked", || one.seen.accepted() > 2);
    admin.wait_status("l", "a", "UP");
    assert_eq!(who(front), "A");
    admin.run("disable server l/a;wait 5s srv-removable l/a;del server l/a");
    // The server may be slow to take what had come before.
    let quiet = || {
        let seen = one.seen.accepted();
        std::thread::sleep(Duration::from_millis(300));
        one.seen.accepted() == seen
    };
    until("it is no longer checked", quiet);
    assert_ne!(who(front), "A", "nobody is left");
}

/// What one balancer says to the commands, and what is to be seen afterwards.
fn told(program: std::path::PathBuf, commands: &[&str]) -> Vec<(String, String)> {
    let (a, b) = (port(), port());
    let config = format!(
        "global\n stats socket @DIR@/admin mode 600 level admin\n\
         defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
         listen l\n bind 127.0.0.1:{a}\n balance roundrobin\n server s1 127.0.0.1:1\n \
         server s2 127.0.0.1:1 id 7\n server t1 127.0.0.1:1 track l/s3\n server s3 127.0.0.1:1 check inter 60s\n\
         backend rr\n balance static-rr\nbackend src\n balance source\n\
         backend srcc\n balance source\n hash-type consistent\nbackend uri\n balance uri\n\
         backend rnd\n balance random\nbackend tcpb\n mode tcp\n balance first\n\
         backend us\n balance leastconn\n use-server a if TRUE\n server a 127.0.0.1:1\n server b 127.0.0.1:1\n\
         frontend fe\n bind 127.0.0.1:{b}\n use_backend us if {{ srv_is_up(us/b) }}\n default_backend us\n"
    );
    let daemon = Launch::of(program, &config).start();
    let admin = daemon.admin();
    admin.wait_status("l", "s3", "DOWN");
    let plain = |text: String| {
        let lines = text.lines().filter(|line| !line.is_empty());
        let lines: Vec<&str> = lines.map(|line| line.trim_end_matches('.')).collect();
        // The file has another name on each side.
        let text = lines.join("\n");
        match text.split_once(" at /") {
            Some((before, behind)) => {
                let line = behind.split_once(':').map_or("", |(_, line)| line);
                format!("{before} at {line}")
            }
            None => text,
        }
    };
    let answer = |c: &&str| ((*c).to_owned(), plain(admin.run(c)));
    let mut out: Vec<_> = commands.iter().map(answer).collect();
    for row in admin.stat() {
        let columns = ["status", "weight", "act", "bck", "sid", "qlimit"];
        let shown: Vec<_> = columns.iter().map(|c| row[*c].clone()).collect();
        let name = format!("{}/{}", row["pxname"], row["svname"]);
        out.push((name, shown.join(" ")));
    }
    for line in admin.run("show servers state").lines().skip(2) {
        let mut words: Vec<&str> = line.split(' ').collect();
        // Ids of backends count frontends, too; the age; health of what is not checked (3.4: 0); whether
        // checks of servers that have none are paused.
        for at in [9, 12, 13] {
            if let Some(word) = words.get_mut(at) {
                *word = "-";
            }
        }
        out.push(("state".to_owned(), words.join(" ")));
    }
    out
}

#[test]
fn commands_about_servers_are_answered_as_by_haproxy_with_the_same_state_behind() {
    let commands = [
        "add server",
        "add server l",
        "add server l/",
        "add server l/n1",
        "add server nope/n1 127.0.0.1:80",
        "add server l/s1 127.0.0.1:80",
        "add server l/n1 127.0.0.1:80",
        "add server l/n1 127.0.0.1:80",
        "add server rr/x 127.0.0.1:1",
        "add server src/x 127.0.0.1:1",
        "add server uri/x 127.0.0.1:1",
        "add server fe/x 127.0.0.1:1",
        "add server srcc/x 127.0.0.1:1",
        "add server rnd/x 127.0.0.1:1 weight 3",
        "add server tcpb/x 127.0.0.1:1 maxconn 5 maxqueue 2",
        "add server l/n2 127.0.0.1:80 bogus",
        "add server l/n2 127.0.0.1:80 id 7",
        "add server l/n2 127.0.0.1:80 id 30",
        "add server l/n3 127.0.0.1:80 cookie z",
        "add server l/n3 127.0.0.1:80 init-addr none",
        "add server l/n3 127.0.0.1:80 redir http://x",
        "add server l/n3 127.0.0.1:80 tcp-ut 1s",
        "add server l/n3 127.0.0.1:80 max-reuse 1",
        "add server l/n3 127.0.0.1:80 no-check",
        "add server l/n3 127.0.0.1:80 resolvers x",
        "add server l/n3 127.0.0.1:80 observe bogus",
        "add server l/n3 127.0.0.1:80 track l/s3",
        "add server l/n4 127.0.0.1:80 track l/nope",
        "add server l/n4 127.0.0.1:80 track l/n1",
        "add server l/n4 127.0.0.1:80 track us/a",
        "add server l/n4 127.0.0.1:80 check track l/s3",
        "add server l/n4 127.0.0.1:80 slowstart 10s backup",
        "add server l/n5 127.0.0.1:80 agent-check",
        "add server l/n5 127.0.0.1:80 agent-check agent-port 1",
        "add server l/n6 127.0.0.1:80 check on-error mark-down observe layer7",
        "add server l/n7 unix@/tmp/x",
        "add server l/n8 :80",
        "add server l/n@9 127.0.0.1:80",
        "del server",
        "del server l/zz",
        "del server zz/zz",
        "del server l/s1",
        "set server l/s1 state maint",
        "del server l/s1",
        "del server l/s3",
        "disable server us/b",
        "del server us/b",
        "disable server us/a",
        "del server us/a",
        "del server l/n3",
        "enable server l/n1",
        "del server l/n1",
        "set server l/n1 state drain",
        "del server l/n1",
        "disable server l/n1",
        "del server l/n1",
        "del server rnd/x",
        "add server l/q1 127.0.0.1:80",
        "add server rnd/x 127.0.0.1:80 id 5",
        "enable health l/q1",
        "enable agent l/q1",
        "set server l/q1 weight 7",
        "set server l/q1 addr 127.0.0.5 port 81",
        "set server l/q1 state ready",
        "get weight l/q1",
    ];
    let (ours, theirs) = (told(balancer(), &commands), told(oracle(), &commands));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}

/// Resident memory in kB.
fn resident(daemon: &Daemon) -> i64 {
    let text = daemon.proc_status("VmRSS");
    text.trim_end_matches(" kB").parse().expect("kB")
}

/// Asks until told to stop; every answer has to come and be whole. On one connection for a while, then on the next.
fn load(front: u16, over: &AtomicBool, done: &AtomicUsize) {
    while !over.load(Ordering::Relaxed) {
        let mut wire = Wire::to(front);
        for _ in 0..20 {
            let answer = wire.get("/", "");
            assert_eq!((answer.status(), &*answer.body), (200, "hello"));
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn origin() -> Server {
    let answer = ok("", "hello");
    Server::new(move |stream, _| {
        let mut wire = Wire::new(stream);
        while wire.request().is_some_and(|request| request.whole) {
            if wire.stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

// issue point 5
#[test]
fn servers_come_and_go_by_the_hundred_under_load_and_their_memory_comes_back() {
    let count = sized(100, 1000);
    let cycles = sized(3, 6);
    let origin = origin();
    let addr = origin.addr();
    let (daemon, front) = serving(
        " nbthread 2\n",
        &format!(" mode http\n balance roundrobin\n retries 3\n server s {addr}\n"),
    );
    let admin = daemon.admin();
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| load(front, &over, &done));
        }
        // Whatever fails in here: the others end.
        let end = End(&over);
        until("requests are served", || done.load(Ordering::Relaxed) > 500);
        let rows = admin.stat().len();
        memory.push(resident(&daemon));
        for _ in 0..cycles {
            for part in (0..count).collect::<Vec<_>>().chunks(20) {
                let lines: Vec<String> = part
                    .iter()
                    .map(|n| format!("add server l/d{n} {addr} weight 10;enable server l/d{n}"))
                    .collect();
                let said = answers(&admin, &lines);
                assert_eq!(said, vec![REGISTERED; part.len()]);
            }
            let last = format!("d{}", count - 1);
            until("the last one serves", || {
                admin.count("l", &last, "stot") > 0
            });
            assert_eq!(admin.stat().len(), rows + count);
            for part in (0..count).collect::<Vec<_>>().chunks(20) {
                let lines: Vec<String> = part
                    .iter()
                    .map(|n| {
                        format!(
                            "disable server l/d{n};wait 9s srv-removable l/d{n};del server l/d{n}"
                        )
                    })
                    .collect();
                let said = answers(&admin, &lines);
                assert_eq!(said, ["Done.", DELETED].repeat(part.len()));
            }
            assert_eq!(admin.stat().len(), rows);
            // What is left behind is given back within some seconds.
            within(Duration::from_secs(4), || false);
            memory.push(resident(&daemon));
        }
        drop(end);
    });
    println!(
        "{} requests, resident after each cycle: {memory:?} kB",
        done.load(Ordering::Relaxed)
    );
    // A server that served on two shards has 16 kB, most of it histograms; what stays is the buffers of the load.
    let (first, last) = (memory[1], memory[memory.len() - 1]);
    let most = 5000;
    assert!(first - memory[0] < most, "{memory:?}");
    assert!(
        last - first < 1500,
        "memory grows with each cycle: {memory:?}"
    );
    assert_eq!(admin.count("l", "BACKEND", "econ"), 0);
    assert_eq!(admin.count("l", "BACKEND", "eresp"), 0);
    assert_eq!(admin.count("l", "BACKEND", "wretr"), 0);
}

/// Ends the load when it goes out of scope.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
