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
