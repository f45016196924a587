//! Commands of the admin socket: the same ones to both programs, their answers byte for byte, and
//! what is logged about them.

use super::{Side, same};
use crate::support::client::who;
use crate::support::{Daemon, Launch, Server, within};

/// What a connection to `front` meets: an answer, or that nobody listens.
fn met(front: u16) -> String {
    format!("client: {}", who(front))
}

/// Starts with an admin socket and `body`, in which `FRONT` stands for the port.
#[track_caller]
fn start(side: &Side, body: &str) -> Daemon {
    let config = format!(
        "global\n nbthread 1\n stats socket @DIR@/admin level admin\n log 127.0.0.1:{} local0\n\
         defaults\n mode tcp\n log global\n balance roundrobin\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n{}",
        side.log.port,
        body.replace("FRONT", &side.front.to_string())
    );
    Launch::of(side.program.clone(), &config).start()
}

/// The answers to `commands`, each behind its command.
fn answers(daemon: &Daemon, commands: &[&str]) -> Vec<String> {
    let admin = daemon.admin();
    commands
        .iter()
        .map(|command| format!("{command}: {:?}", admin.run(command)))
        .collect()
}

/// A column of `show stat` in every row.
fn column(daemon: &Daemon, name: &str) -> Vec<String> {
    let rows = daemon.admin().stat();
    let shown = rows
        .iter()
        .map(|row| format!("{}/{} {name} {}", row["pxname"], row["svname"], row[name]));
    shown.collect()
}

/// Log lines about proxies and servers.
fn logged(side: &Side, n: usize) -> Vec<String> {
    let about = |line: &&String| {
        ["rontend", "roxy ", "Server "]
            .iter()
            .any(|w| line.contains(w))
    };
    let mut found = Vec::new();
    within(std::time::Duration::from_secs(5), || {
        found = side.log.all().iter().filter(about).cloned().collect();
        found.len() >= n
    });
    let found = found.iter().filter(|line| line.contains("]: "));
    found
        .map(|line| super::mask(line.trim_end(), &[]))
        .collect()
}

// L14
#[test]
fn a_frontend_is_closed_opened_and_given_up() {
    let server = Server::named("A");
    same(|side| {
        let body = format!(
            "frontend f\n bind 127.0.0.1:FRONT\n default_backend b\nlisten l\n bind 127.0.0.1:{}\n server s {}\n\
             backend b\n server s {}\n",
            crate::support::port(),
            server.addr(),
            server.addr()
        );
        let daemon = start(side, &body);
        let mut seen = vec![met(side.front)];
        for script in [
            &[
                "disable frontend",
                "disable frontend nope",
                "disable frontend b",
            ][..],
            &["disable frontend f", "disable frontend f"],
            &[
                "enable frontend f",
                "enable frontend f",
                "enable frontend nope",
            ],
            &[
                "disable frontend l",
                "enable frontend l",
                "shutdown frontend l",
            ],
            &[
                "shutdown frontend",
                "shutdown frontend b",
                "shutdown frontend f",
            ],
            &[
                "shutdown frontend f",
                "enable frontend f",
                "disable frontend f",
            ],
        ] {
            seen.extend(answers(&daemon, script));
            std::thread::sleep(std::time::Duration::from_millis(150));
            seen.push(met(side.front));
            seen.extend(column(&daemon, "status"));
        }
        seen.extend(logged(side, 6));
        seen
    });
}

// H17
#[test]
fn an_operator_says_how_a_server_is() {
    let server = Server::named("A");
    same(|side| {
        let addr = server.addr();
        let body = format!(
            "listen l\n bind 127.0.0.1:FRONT\n server checked {addr} check inter 60s\n server plain {addr}\n server tracks {addr} track l/checked\n"
        );
        let daemon = start(side, &body);
        let mut seen = Vec::new();
        for script in [
            &[
                "set server l/checked health",
                "set server l/checked health well",
            ][..],
            &[
                "set server l/tracks health up",
                "set server l/tracks health",
            ],
            &[
                "set server l/checked health down",
                "set server l/plain health stopping",
            ],
            &[
                "set server l/checked health stopping",
                "set server l/plain health down",
            ],
            &[
                "set server l/checked health up",
                "set server l/plain health up",
            ],
            &[
                "disable health",
                "disable health l",
                "disable health l/nope",
                "disable health x/y",
            ],
            &[
                "disable health l/plain",
                "enable health l/plain",
                "enable health l/tracks",
            ],
            &["disable health l/checked"],
            &["enable health l/checked"],
        ] {
            seen.extend(answers(&daemon, script));
            seen.extend(column(&daemon, "status"));
        }
        seen.extend(logged(side, 8));
        seen
    });
}

/// Answers about addresses; an empty line ends each of ours, which haproxy leaves out behind some errors.
fn trimmed(lines: Vec<String>) -> Vec<String> {
    lines
        .into_iter()
        .map(|line| line.replace("\\n", ""))
        .collect()
}

/// The columns of `show servers state` that both versions fill alike.
fn states(daemon: &Daemon) -> Vec<String> {
    let text = daemon.admin().run("show servers state");
    let lines = text.lines().skip(2).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let cells: Vec<_> = line.split(' ').collect();
            // Name, address, states, weights; check state; port, check port, check address.
            [3, 4, 5, 6, 7, 8, 13, 18, 21, 22]
                .map(|at| cells[at])
                .join(" ")
        })
        .collect()
}

// H17
#[test]
fn a_server_is_sent_elsewhere() {
    let (a, b) = (Server::named("A"), Server::named("B"));
    same(|side| {
        let (here, there) = (a.port, b.port);
        let body = format!(
            "listen l\n bind 127.0.0.1:FRONT\n server s 127.0.0.1:{here} check inter 60s\n server plain 127.0.0.1:{here} disabled\n \
             server path /tmp/nobody disabled\n server mapped 127.0.0.1:+1 disabled\n server own 127.0.0.1:{here} check port {here} addr 127.0.0.3 inter 60s disabled\n"
        );
        let daemon = start(side, &body);
        let mut seen = vec![met(side.front)];
        let wanted = format!("set server l/s addr 127.0.0.1 port {there}");
        seen.extend(answers(&daemon, &[&wanted]).into_iter().map(|line| {
            line.replace(&here.to_string(), "HERE")
                .replace(&there.to_string(), "THERE")
        }));
        seen.push(met(side.front));
        seen.extend(trimmed(answers(
            &daemon,
            &[
                "set server l/s addr",
                "set server l/s addr localhost",
                "set server l/s addr 127.0.0.1:80",
                "set server l/s addr 127.0.0.1",
                "set server l/plain addr 127.0.0.2 port x",
                "set server l/plain addr 127.0.0.2 port",
                "set server l/plain addr 127.0.0.2 port 81",
                "set server l/plain addr 127.0.0.2 port 81",
                "set server l/plain addr 127.0.0.2 port +1",
                "set server l/plain addr 127.0.0.4 foo",
                "set server l/plain addr [::1] port 7",
                "set server l/path addr 127.0.0.1",
                "set server l/path addr foo",
                "set server l/mapped addr 127.0.0.1 port 80",
                "set server l/mapped addr 127.0.0.2 port +2",
                "set server l/s check-addr",
                "set server l/s check-addr foo",
                "set server l/s check-addr 127.0.0.6 port x",
                "set server l/s check-addr 127.0.0.6 port 70000",
                "set server l/s check-addr 127.0.0.6 port 99",
                "set server l/plain check-addr 127.0.0.6",
                "set server l/s check-port",
                "set server l/s check-port x",
                "set server l/s check-port 70000",
                "set server l/own check-port 98",
                "set server l/own check-addr 127.0.0.7",
                "set server l/plain check-port 5",
                "set server l/s fqdn",
                "set server l/s fqdn a.example",
                "set server l/s agent",
                "set server l/s agent up",
                "set server l/s agent-addr",
                "set server l/s agent-addr 127.0.0.1",
                "set server l/s agent-port",
                "set server l/s agent-port 1",
                "set server l/s agent-send",
                "set server l/s agent-send x",
                "set server l/s ssl",
                "set server l/s ssl on",
                "disable agent l/s",
                "enable agent l/s",
                "set server l/s nothing",
            ],
        )));
        let masked = states(&daemon).into_iter().map(|line| {
            line.replace(&here.to_string(), "HERE")
                .replace(&there.to_string(), "THERE")
        });
        seen.extend(masked);
        seen
    });
}

// L14
#[test]
fn a_session_is_told_in_haproxys_fields() {
    let server = Server::named("A");
    same(|side| {
        let body = format!(
            "listen l\n bind 127.0.0.1:FRONT\n server s {}\n",
            server.addr()
        );
        let daemon = start(side, &body);
        let held = crate::support::client::hold(side.front);
        let admin = daemon.admin();
        let line = |text: String| {
            let mine = text.lines().find(|line| line.contains("fe=l "));
            mine.unwrap_or_default().to_owned()
        };
        crate::support::until("it is there", || {
            line(admin.run("show sess")).contains("srv=s ")
        });
        let text = line(admin.run("show sess"));
        let mine = held.0.local_addr().unwrap().to_string();
        let (id, fields) = text.split_once(": ").expect("a number, then fields");
        assert!(id.starts_with("0x"), "{text}");
        let fields = fields.replace(&mine, "CLIENT");
        // 3.4 took the timers of the channels away and gave the connectors some.
        let fields = fields
            .replace(",rx=4s,wx=,", ",")
            .replace(",rex=,wex=]", "]");
        let mut seen: Vec<_> = fields
            .split(' ')
            .filter(|word| {
                !["stage=", "in=", "out="]
                    .iter()
                    .any(|own| word.starts_with(own))
            })
            .map(|word| {
                let told = [
                    "proto", "src", "fe", "be", "srv", "ts", "epoch", "age", "rc",
                ];
                let (name, value) = word.split_once('=').unwrap_or((word, ""));
                match value.split_once('[') {
                    None if told.contains(&name) => word.to_owned(),
                    None => format!("{name}="),
                    Some((_, list)) => {
                        let list = list.trim_end_matches(']').split(',');
                        let names: Vec<_> = list
                            .map(|part| part.split('=').next().unwrap_or(part))
                            .filter(|name| !["rx", "wx", "0h", "1h"].contains(name))
                            .collect();
                        format!("{name}{names:?}")
                    }
                }
            })
            .collect();
        seen.extend(answers(
            &daemon,
            &[
                "shutdown session",
                "shutdown session 0x12",
                "shutdown session x",
                "shutdown sessions server",
                "shutdown sessions server l",
                "shutdown sessions server l/x",
                "shutdown sessions server x/s",
                "show sess 0x12",
            ],
        ));
        let id = id.to_owned();
        seen.push(admin.run(&format!("shutdown session {id}")));
        crate::support::until("it is gone", || line(admin.run("show sess")).is_empty());
        let _second = crate::support::client::hold(side.front);
        crate::support::until("it is there", || {
            line(admin.run("show sess")).contains("srv=s ")
        });
        seen.push(admin.run("shutdown sessions server l/s"));
        crate::support::until("it is gone", || line(admin.run("show sess")).is_empty());
        seen
    });
}

// L14
#[test]
fn all_counters_start_again() {
    let server = Server::named("A");
    same(|side| {
        let body = format!(
            "frontend f\n bind 127.0.0.1:FRONT\n option socket-stats\n default_backend b\nbackend b\n server s {}\n",
            server.addr()
        );
        let daemon = start(side, &body);
        let admin = daemon.admin();
        for _ in 0..3 {
            who(side.front);
        }
        let _held = crate::support::client::hold(side.front);
        crate::support::until("one is left", || admin.count("b", "s", "scur") == 1);
        let told = |when: &str| {
            let mut cells = Vec::new();
            for row in admin.stat() {
                for name in [
                    "scur",
                    "smax",
                    "stot",
                    "bin",
                    "bout",
                    "econ",
                    "lbtot",
                    "connect",
                    "rate_max",
                    "conn_tot",
                    "lastsess",
                    "ttime",
                    "ttime_max",
                    "status",
                ] {
                    // The first are counted to a millisecond, and how many in one second is a matter of time.
                    let loose = ["ttime", "ttime_max", "rate_max", "lastsess"].contains(&name);
                    if !loose || when == "after" {
                        cells.push(format!(
                            "{when} {}/{} {name} {}",
                            row["pxname"], row["svname"], row[name]
                        ));
                    }
                }
            }
            cells
        };
        let mut seen = told("before");
        let before = admin.info_number("CumReq");
        seen.extend(answers(&daemon, &["clear counters"]));
        seen.extend(told("between"));
        seen.extend(answers(&daemon, &["clear counters all"]));
        crate::support::until("they are cleared", || {
            admin.count("f", "FRONTEND", "stot") == 0
        });
        seen.extend(told("after"));
        assert!(
            admin.info_number("CumReq") >= before,
            "the process' own total goes on"
        );
        seen.extend(answers(
            &daemon,
            &[
                "operator;clear counters all",
                "operator;clear counters",
                "user;clear counters",
            ],
        ));
        seen
    });
}

// L14
#[test]
fn limits_and_the_connection_itself_are_set() {
    same(|side| {
        let daemon = start(
            side,
            "listen l\n bind 127.0.0.1:FRONT\n server s 127.0.0.1:1\n",
        );
        let mut seen = answers(
            &daemon,
            &[
                "set rate-limit",
                "set rate-limit connections",
                "set rate-limit connections here",
                "set rate-limit connections global",
                "set rate-limit connections global -1",
                "set rate-limit connections global 5",
                "set rate-limit sessions global 7",
                "set rate-limit foo global 7",
                "set timeout",
                "set timeout cli",
                "set timeout cli x",
                "set timeout cli 0",
                "set timeout cli 10",
                "set timeout foo 10",
                "set maxconn global",
                "set severity-output",
                "set severity-output loud",
                "show cli level",
                "set severity-output number;show cli level",
                "set severity-output string;show cli level",
                "set severity-output number;get weight l/s",
                "set severity-output string;get weight l/x",
                "set severity-output number;set server l/s addr 127.0.0.1",
                "set severity-output string;set server l/s",
                "set severity-output number;user;disable server l/s",
                "set severity-output number;set severity-output none;get weight l/x",
            ],
        );
        let info = daemon.admin().info();
        seen.extend(
            ["ConnRateLimit", "SessRateLimit"].map(|name| format!("{name} {}", info[name])),
        );
        seen
    });
}

// L14
#[test]
fn what_there_is_none_of_is_told_alike() {
    same(|side| {
        let daemon = start(
            side,
            "listen l\n bind 127.0.0.1:FRONT\n server s 127.0.0.1:1\n",
        );
        let seen = answers(
            &daemon,
            &[
                "show table",
                "show table x",
                "show table l",
                "clear table",
                "clear table x",
                "set table x key 1 data.x 1",
                "show map",
                "show map x",
                "get map x y",
                "add map x a b",
                "del map x a",
                "clear map x",
                "set map x a b",
                "prepare map x",
                "commit map x",
                "commit map @1 x",
                "show resolvers x",
                "show peers",
                "show peers x",
                "show peers dict",
                "show peers -",
                "show peers - x",
                "show cache",
                "show ssl cert",
                "show ssl cert x",
                "show ssl crl-file",
                "show ssl crt-list",
                "show ssl crt-list x",
                "show ssl crt-list -n x",
                "show ssl ocsp-response",
                "show ssl ocsp-response x",
                "show tls-keys",
                "show tls-keys x",
                "trace x",
                "trace 0",
                "show events x",
                "set profiling memory on",
                "set profiling x",
                "set profiling tasks off",
                "show tasks",
                "show env NOPE",
                "show stat domain",
                "show stat domain x",
                "expert-mode",
                "expert-mode on",
                "expert-mode on;expert-mode",
                "expert-mode on;expert-mode x;expert-mode off;expert-mode",
                "experimental-mode",
                "experimental-mode on;experimental-mode",
                // What each needs.
                "operator;expert-mode on",
                "operator;experimental-mode",
                "operator;set profiling memory on",
                "operator;trace 0",
                "user;show cache",
                "user;show profiling",
                "user;trace 0",
                "user;show table",
                "user;show map",
                "user;show peers",
                "user;show tls-keys",
                "user;show tasks",
            ],
        );
        // haproxy leaves the empty line out behind some of these.
        let mut seen = trimmed(seen);
        // The first words of each list; what follows is the program's own.
        for (command, words) in [
            ("show pools", 3),
            ("show events", 7),
            ("trace", 10),
            ("show trace", 9),
        ] {
            let text = daemon.admin().run(command);
            let first: Vec<_> = text.split_whitespace().take(words).collect();
            seen.push(format!("{command}: {}", first.join(" ")));
        }
        seen.push(daemon.admin().run("show schema json").replace(' ', ""));
        seen
    });
}

/// Answers everybody who says something with `up`; what was said comes out.
fn agent() -> (u16, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (say, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = [0; 64];
            let count = stream.read(&mut bytes).unwrap_or(0);
            let _ = stream.write_all(b"up\n");
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if say.send(text).is_err() {
                return;
            }
        }
    });
    (port, said)
}

// L14
#[test]
fn an_agent_is_asked_elsewhere_and_sent_something_else() {
    let server = Server::named("A");
    same(|side| {
        let ((here, first), (there, second)) = (agent(), agent());
        let body = format!(
            "listen l\n bind 127.0.0.1:FRONT\n server s {0} agent-check agent-inter 200ms agent-port {here} agent-send one\n \
             server quiet {0} agent-check agent-inter 60s agent-port 7 agent-addr 127.0.0.8\n server none {0}\n",
            server.addr()
        );
        let daemon = start(side, &body);
        let patience = std::time::Duration::from_secs(8);
        let mut seen = vec![first.recv_timeout(patience).unwrap_or_default()];
        let moved = format!("set server l/s agent-port {there}");
        daemon.admin().run(&moved);
        seen.push(second.recv_timeout(patience).unwrap_or_default());
        seen.extend(answers(&daemon, &["set server l/s agent-send two"]));
        let two = || {
            second
                .recv_timeout(patience)
                .is_ok_and(|text| text == "two")
        };
        crate::support::until("it is told something else", two);
        seen.extend(trimmed(answers(
            &daemon,
            &[
                "set server l/quiet agent-addr",
                "set server l/quiet agent-addr foo",
                "set server l/quiet agent-addr 127.0.0.9",
                "set server l/quiet agent-addr 127.0.0.3 port 70000",
                "set server l/quiet agent-addr 127.0.0.3 port x",
                "set server l/quiet agent-addr 127.0.0.4 port 99",
                "set server l/quiet agent-addr 127.0.0.5 foo",
                "set server l/quiet agent-port",
                "set server l/quiet agent-port x",
                "set server l/quiet agent-port 70000",
                "set server l/quiet agent-port 24004",
                "set server l/quiet agent-send",
                "set server l/none agent-port 1",
                "disable agent l/quiet",
                "set server l/quiet agent-port 1",
            ],
        )));
        let states = daemon.admin().run("show servers state");
        let states = states.lines().skip(2).filter(|line| !line.is_empty());
        seen.extend(states.map(|line| {
            let cells: Vec<_> = line.split(' ').collect();
            [3, 5, 6, 14, 23, 24]
                .map(|at| cells[at])
                .join(" ")
                .replace(&there.to_string(), "THERE")
        }));
        seen
    });
}

// L14
#[test]
fn a_server_without_a_limit_is_given_one() {
    same(|side| {
        let server = Server::named("A");
        let body = format!(
            "listen l\n bind 127.0.0.1:FRONT\n server s {}\n",
            server.addr()
        );
        let daemon = start(side, &body);
        let admin = daemon.admin();
        let (first, second) = (
            crate::support::client::hold(side.front),
            crate::support::client::hold(side.front),
        );
        crate::support::until("both are there", || admin.count("l", "s", "scur") == 2);
        let limit = || {
            admin
                .stat()
                .iter()
                .find(|row| row["svname"] == "s")
                .map(|row| row["slim"].clone())
        };
        let mut seen = trimmed(answers(
            &daemon,
            &[
                "set maxconn server l/s",
                "set maxconn server l/s x",
                "set maxconn server l/s 1",
            ],
        ));
        seen.extend(limit());
        let port = side.front;
        let third = std::thread::spawn(move || who(port));
        crate::support::until("it waits", || {
            admin.count("l", "s", "qcur") + admin.count("l", "BACKEND", "qcur") > 0
        });
        drop(first);
        crate::support::until("one is left", || admin.count("l", "s", "scur") == 1);
        seen.push(format!("waits on: {}", !third.is_finished()));
        drop(second);
        seen.push(third.join().unwrap());
        seen.extend(answers(&daemon, &["set maxconn server l/s 0"]));
        seen.extend(limit());
        seen.push(who(port));
        seen
    });
}

/// The status that a request for `path` gets.
fn status(front: u16, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = crate::support::client::ask(front, &request).unwrap_or_default();
    let line = answer.lines().next().unwrap_or_default();
    format!("{path}: {line}")
}

// L14
#[test]
fn patterns_of_acls_change_while_requests_come() {
    same(|side| {
        let dir = crate::support::TempDir::new();
        let file = dir.file("paths");
        std::fs::write(&file, "/one\n# none\n/two\n").unwrap();
        let config = format!(
            "global\n nbthread 1\n stats socket @DIR@/admin level admin\n\
             defaults\n mode http\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n\
             frontend f\n bind 127.0.0.1:{}\n acl files path -f {file} /three\n acl again path_beg -f {file}\n acl begins path_beg /x /y\n \
             acl net src 10.0.0.0/8\n acl insensitive path -i /Q\n acl number int(5) 3:7 9\n acl regular path_reg ^/a.*b$\n acl numbered path -u 77 /u\n \
             http-request return status 200 if files\n http-request return status 201 if again or net or insensitive\n http-request return status 202 if regular\n \
             http-request return status 203 if numbered or {{ path /anonymous }}\n \
             use_backend b1 if begins\n use_backend b2 if {{ path_beg /2 }}\n use_backend b3 if {{ path_beg /3 }}\n use_backend b4 if {{ path_beg /4 }}\n use_backend b5 if {{ path_beg /5 }}\n \
             backend b1\n http-request return status 404\nbackend b2\n http-request return status 429\nbackend b3\n http-request return status 403\n\
             backend b4\n http-request return status 410\nbackend b5\n http-request return status 500\n",
            side.front
        );
        let daemon = Launch::of(side.program.clone(), &config).start();
        let admin = daemon.admin();
        let mut seen = Vec::new();
        let ask = |seen: &mut Vec<String>, command: &str| {
            let command = command.replace("FILE", &file);
            let answer = admin.run(&command);
            // haproxy's numbers are addresses, and a file that several use counts its patterns as often.
            let lines = answer.lines().map(|line| {
                let line = line.split(". curr_ver").next().unwrap_or(line);
                match line.split_once(' ') {
                    Some((number, rest)) if number.starts_with("0x") => format!("# {rest}"),
                    _ => line.to_owned(),
                }
            });
            let lines = lines.filter(|line| !line.contains("httpclient"));
            let told: Vec<_> = lines.map(|line| line.replace(&file, "FILE")).collect();
            let told: Vec<_> = told.iter().map(|l| within_config(l)).collect();
            seen.push(format!("{}: {told:?}", command.replace(&file, "FILE")));
        };
        let try_all = |seen: &mut Vec<String>| {
            std::thread::sleep(std::time::Duration::from_millis(60));
            for path in [
                "/one",
                "/three",
                "/new",
                "/two/x",
                "/q",
                "/aab",
                "/u",
                "/anonymous",
                "/x1",
                "/z1",
                "/21",
                "/31",
                "/51",
            ] {
                seen.push(status(side.front, path));
            }
        };
        try_all(&mut seen);
        for command in [
            "show acl",
            "show acl FILE",
            "show acl #0",
            "show acl #77",
            "show acl #99",
            "show acl nothing",
            "get acl",
            "get acl FILE",
            "get acl FILE /one",
            "get acl FILE /two/x",
            "get acl nothing x",
            "get acl #4 10.1.1.1",
            "get acl #4 11.1.1.1",
            "get acl #4 word",
            "add acl",
            "add acl FILE",
            "add acl #99 x",
            "add acl #4 1.2.3.4x",
            "add acl FILE /new",
            "add acl #4 127.0.0.1",
            "show acl #4",
            "show acl FILE",
        ] {
            ask(&mut seen, command);
        }
        try_all(&mut seen);
        for command in [
            "del acl",
            "del acl FILE",
            "del acl FILE /nothing",
            "del acl FILE /one",
            "del acl #4 127.0.0.1",
            "del acl #4 #0xdead",
            "show acl FILE",
            "clear acl",
            "clear acl #99",
            "clear acl #77",
            "show acl #77",
            "add acl #3 /z",
        ] {
            ask(&mut seen, command);
        }
        try_all(&mut seen);
        for command in [
            "prepare acl",
            "prepare acl #99",
            "prepare acl FILE",
            "add acl @1 FILE /new",
            "add acl @9 FILE /x",
            "show acl @1 FILE",
            "show acl FILE",
            "commit acl",
            "commit acl @1",
            "commit acl @1 #99",
            "commit acl @9 FILE",
        ] {
            ask(&mut seen, command);
        }
        try_all(&mut seen);
        for command in ["commit acl @1 FILE", "show acl FILE", "commit acl @1 FILE"] {
            ask(&mut seen, command);
        }
        try_all(&mut seen);
        seen
    });
}

/// A description without the name of the configuration's file.
fn within_config(line: &str) -> String {
    let mut words: Vec<_> = line.split(' ').collect();
    for at in 1..words.len() {
        if words[at - 1] == "file" && words[at].ends_with("/cfg'") {
            words[at] = "'CONFIG'";
        }
    }
    words.join(" ")
}

/// What a state file says of checks, agents and names, and what is wrong in it.
// L14
#[test]
fn checks_and_agents_begin_as_a_state_file_says() {
    let files = [
        // Checks and agents switched off, results, places; the rest of each line is usual.
        "b plain 127.0.0.1 2 0 10 10 1000 6 3 4 6 0 0 0 - 1 - 0 0 - - 0
         b chk 127.0.0.1 0 0 10 10 1000 8 2 0 2 0 0 0 - 1 - 0 99 127.0.0.8 - 0
         b agt 127.0.0.1 2 0 10 10 1000 6 3 4 6 18 0 0 - 1 - 0 0 - 127.0.0.9 98
         b both 127.0.0.1 2 5 10 10 1000 15 3 4 2 18 0 0 - 1 - 0 0 - - 0
         b fq 127.0.0.7 2 0 10 10 1000 20 3 4 2 0 0 0 other 1 - 0 0 - - 0",
        // Fields that are wrong.
        "b plain 127.0.0.1 2 127 10 10 1000 6 3 4 6 0 0 0 - 1 - 0 0 - - 0
         b chk 127.0.0.1 2 0 10 10 1000 27 5 4 2 0 0 0 - 1 - 0 0 - - 0
         b agt 127.0.0.1 2 0 257 x 1000 6 3 4 2 99 0 0 - 1 - 0 0 - - 0
         b both 127.0.0.1 2 0 10 10 1000 6 3 4 32 0 0 0 - 1 - 0 0 - - 0
         b fq 127.0.0.1 2 0 10 10 1000 6 3 xx 2 0 0 0 - 1 - 0 0 - - 0",
        // Places that cannot be.
        "b plain 127.0.0.1 2 0 10 10 1000 6 3 4 6 0 0 0 - 1 - 0 99 127.0.0.8 127.0.0.9 98
         b chk 127.0.0.1 2 0 10 10 1000 6 3 4 6 0 0 0 - 1 - 0 0 zz - 0
         b agt 127.0.0.1 2 0 10 10 1000 6 3 4 2 22 0 0 - 1 - 0 0 - - 99999
         b both 127.0.0.1 2 0 10 10 1000 6 3 4 6 22 0 0 - 1 - 0 99 127.0.0.8 127.0.0.9 98
         b fq 127.0.0.1 2 0 10 10 1000 6 3 4 6 0 0 0 - 1 - 0 99999 - 127.0.0.9 0",
        // A line that is too short: nothing counts.
        "b plain 127.0.0.1 0 1 10 10 1000 6 3 4 6 0 0 0 - 1 - 0 0 - - 0
         b chk 127.0.0.1",
    ];
    same(|side| {
        let mut seen = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let dir = crate::support::TempDir::new();
            let lines = file.lines().map(|line| {
                let (backend, rest) = line.trim().split_once(' ').unwrap_or_default();
                format!("2 {backend} 1 {rest}\n")
            });
            let text = format!("1\n# be_id …\n{}", lines.collect::<String>());
            let states = dir.write("states", &text);
            let config = format!(
                "global\n nbthread 1\n stats socket @DIR@/admin level admin\n server-state-file {states}\n\
                 defaults\n mode tcp\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n\
                 load-server-state-from-file global\nlisten f\n bind 127.0.0.1:{}\nbackend b\n balance roundrobin\n\
                 default-server inter 60s weight 10\n server plain 127.0.0.1:1\n server chk 127.0.0.1:1 check\n\
                 server agt 127.0.0.1:1 agent-check agent-port 5 agent-inter 60s\n\
                 server both 127.0.0.1:1 check agent-check agent-port 5 agent-inter 60s port 3 addr 127.0.0.3\n\
                 server fq localhost:1 check init-addr last,libc\n",
                crate::support::port()
            );
            let daemon = Launch::of(side.program.clone(), &config).start();
            let text = daemon.admin().run("show servers state");
            let rows = text.lines().filter(|line| line.starts_with("3 b "));
            seen.extend(rows.map(|line| {
                let cells: Vec<_> = line.split(' ').collect();
                // Results of checks that run go on; what they were shows where they are off.
                let off = ["0", "2"].contains(&cells[13]) && number == 0;
                let result = if off { &cells[10..12] } else { &[][..] };
                // States of those whose first check may have come already.
                let op = if off { cells[5] } else { "" };
                format!(
                    "{number} {} {op} {result:?}",
                    [3, 4, 6, 13, 14, 17, 18, 21, 22, 23, 24]
                        .map(|at| cells[at])
                        .join(" ")
                )
            }));
            let said = daemon.output();
            let warnings = said.lines().filter(|line| {
                line.contains("server-state app")
                    || line.contains("server-state part")
                    || line.contains("server state file")
            });
            seen.extend(warnings.map(|line| {
                let text = line.split_once(" : ").map_or(line, |(_, text)| text);
                text.replace(dir.path().to_str().unwrap_or("?"), "DIR")
            }));
        }
        seen
    });
}

// L14
#[test]
fn servers_begin_as_a_state_file_says() {
    same(|side| {
        let dir = crate::support::TempDir::new();
        let (file, local) = (dir.file("states"), dir.file("own"));
        let head = "1\n# be_id be_name srv_id srv_name srv_addr …\n";
        let line = |backend: &str, name: &str, op: &str, admin: &str, weights: &str, port: u16| {
            format!(
                "3 {backend} 1 {name} 127.0.0.9 {op} {admin} {weights} 1000 1 0 2 0 0 0 0 - {port} - 0 0 - - 0\n"
            )
        };
        let states = [
            line("b", "down", "0", "0", "10 10", 1),
            line("b", "light", "2", "0", "5 10", 1),
            line("b", "other", "2", "0", "5 11", 1),
            line("b", "stopping", "3", "0", "10 10", 1),
            line("b", "maint", "0", "1", "10 10", 1),
            line("b", "drain", "2", "8", "10 10", 1),
            line("b", "off", "2", "0", "10 10", 1),
            line("b", "enabled", "2", "4", "10 10", 1),
            line("b", "moved", "2", "0", "10 10", 7),
            line("b", "odd", "9", "0", "10 10", 1),
            line("b", "odder", "2", "9", "10 10", 1),
            line("nobody", "x", "0", "1", "10 10", 1),
            line("none", "x", "0", "1", "1 1", 1),
        ];
        std::fs::write(&file, head.to_owned() + &states.concat()).unwrap();
        std::fs::write(
            &local,
            head.to_owned() + &line("own", "x", "0", "1", "1 1", 1).replace("3 own", "4 own"),
        )
        .unwrap();
        let servers: String = [
            "down",
            "light",
            "other",
            "stopping",
            "maint",
            "drain",
            "off disabled",
            "enabled disabled",
            "moved",
            "odd",
            "odder",
            "absent",
        ]
        .iter()
        .map(|words| {
            let (name, rest) = words.split_once(' ').unwrap_or((words, ""));
            format!(" server {name} 127.0.0.1:1 weight 10 {rest}\n")
        })
        .collect();
        let config = format!(
            "global\n nbthread 1\n stats socket @DIR@/admin level admin\n server-state-file {file}\n server-state-base {}\n\
             defaults\n mode tcp\n balance roundrobin\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n load-server-state-from-file global\n\
             frontend f\n bind 127.0.0.1:{}\n default_backend b\nbackend b\n{servers}\
             backend own\n load-server-state-from-file local\n server x 127.0.0.1:1\n\
             backend renamed\n load-server-state-from-file local\n server-state-file-name absent\n server x 127.0.0.1:1\n\
             backend none\n load-server-state-from-file none\n server x 127.0.0.1:1\n",
            std::path::Path::new(&file).parent().unwrap().display(),
            side.front
        );
        let daemon = Launch::of(side.program.clone(), &config).start();
        let text = daemon.admin().run("show servers state");
        let mut seen: Vec<String> = text
            .lines()
            .skip(2)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let cells: Vec<_> = line.split(' ').collect();
                // Names, address, states, weights, how long (a second may have gone by), port.
                let long = cells[9].parse::<u64>().unwrap_or(0) >= 1000;
                format!(
                    "{} {long}",
                    [1, 3, 4, 5, 6, 7, 8, 18].map(|at| cells[at]).join(" ")
                )
            })
            .collect();
        let said = daemon.output();
        let warnings = said.lines().filter(|line| {
            line.starts_with("[WARNING]")
                && (line.contains("server-state")
                    || line.contains("server state")
                    || line.contains("Server "))
        });
        seen.extend(warnings.map(|line| {
            let text = line.split_once(" : ").map_or(line, |(_, text)| text);
            text.replace(dir.path().to_str().unwrap_or("?"), "DIR")
        }));
        seen
    });
}

// H17
#[test]
fn an_operator_speaks_for_an_agent() {
    same(|side| {
        let agent = crate::support::port();
        let body = format!(
            "listen l\n bind 127.0.0.1:FRONT\n server s 127.0.0.1:1 agent-check agent-port {agent} agent-inter 60s\n server none 127.0.0.1:1\n"
        );
        let daemon = start(side, &body);
        let mut seen = Vec::new();
        for script in [
            &[
                "set server l/s agent",
                "set server l/s agent well",
                "set server l/none agent up",
            ][..],
            &["set server l/s agent down"],
            &["set server l/s agent up"],
            &[
                "disable agent l/s",
                "disable agent l/none",
                "set server l/s agent down",
            ],
            &[
                "enable agent l/none",
                "enable agent l/s",
                "set server l/s agent down",
            ],
        ] {
            seen.extend(answers(&daemon, script));
            let states = daemon.admin().run("show servers state");
            let states = states.lines().skip(2).filter(|line| !line.is_empty());
            seen.extend(states.map(|line| {
                let cells: Vec<_> = line.split(' ').collect();
                [3, 5, 6].map(|at| cells[at]).join(" ")
            }));
        }
        seen
    });
}
