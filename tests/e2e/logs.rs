//! Log lines: their form, their targets, and what is left out on request.

use std::io::Write;
use std::time::Duration;

use crate::support::client::{hold, who};
use crate::support::logs::{message, priority};
use crate::support::{Daemon, Launch, Server, USUAL, UdpLog, connect, port, refused, talk, until};

fn logged(global: &str, defaults: &str, server: &Server) -> (Daemon, u16, UdpLog) {
    let (front, log) = (port(), UdpLog::new());
    let global = global.replace("@LOG@", &format!("127.0.0.1:{}", log.port));
    let daemon = Daemon::start(&format!(
        "global\n{global}{USUAL} log global\n{defaults}listen l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    ));
    (daemon, front, log)
}

fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number"))
}

// L01
#[test]
fn a_tcplog_line_has_haproxys_fields() {
    let server = Server::named("A");
    let (daemon, front, log) = logged(" log @LOG@ local0\n", " option tcplog\n", &server);
    let mut client = connect(front);
    let source = client.local_addr().unwrap();
    assert_eq!(talk(&mut client, "12345"), "A:12345");
    drop(client);
    let line = log.wait(" l l/s ");
    let (pri, rest) = priority(&line);
    assert_eq!(pri, 134);
    let tag = format!("haproxy[{}]: ", daemon.pid);
    assert!(rest[16..].starts_with(&tag), "{line}");
    let fields: Vec<_> = message(&line).trim_end().split(' ').collect();
    assert_eq!(fields.len(), 9, "{line}");
    assert_eq!(fields[0], source.to_string());
    assert!(
        fields[1].starts_with('[') && fields[1].ends_with(']') && fields[1].len() == 26,
        "{line}"
    );
    assert_eq!(fields[2..4], ["l", "l/s"]);
    let times: Vec<_> = fields[4].split('/').map(number).collect();
    assert!(times.len() == 3, "Tw/Tc/Tt: {line}");
    assert_eq!(
        fields[5..7],
        ["7", "--"],
        "bytes to the client, state: {line}"
    );
    assert_eq!(fields[7], "1/1/0/0/0", "{line}");
    assert_eq!(fields[8], "0/0", "{line}");
}

// L03
#[test]
fn without_options_a_connection_is_one_connect_line() {
    let server = Server::named("A");
    let (_daemon, front, log) = logged(" log @LOG@ local0\n", "", &server);
    let (client, _) = hold(front);
    let line = log.wait("Connect from ");
    let expected = format!(
        "Connect from {} to 127.0.0.1:{front} (l/TCP)",
        client.local_addr().unwrap()
    );
    assert_eq!(message(&line).trim_end(), expected);
}

// L06
#[test]
fn sighup_leaves_it_running_and_dumps_the_servers() {
    let server = Server::named("A");
    let (mut daemon, front, log) = logged(" log @LOG@ local0\n", " option tcplog\n", &server);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    log.wait("SIGHUP received, dumping servers states");
    log.wait("Server l/s is UP");
    assert!(daemon.alive());
    assert_eq!(who(front), "A");
}

// issue: log formats
#[test]
fn a_line_can_have_each_of_the_framings() {
    let server = Server::named("A");
    for (format, matches) in [
        ("rfc3164", "<134>Mon"),
        ("rfc5424", "<134>1 "),
        ("short", "<6>"),
        ("priority", "<134>127.0.0.1:"),
        ("raw", "127.0.0.1:"),
        ("timed", "<6>20"),
        ("iso", "20"),
    ] {
        let (_daemon, front, log) = logged(
            &format!(" log @LOG@ format {format} local0\n"),
            " option tcplog\n",
            &server,
        );
        assert_eq!(who(front), "A");
        let line = log.wait(" l l/s ");
        if format == "rfc3164" {
            assert!(
                line.starts_with("<134>") && line.as_bytes()[8] == b' ',
                "{line}"
            );
        } else {
            assert!(line.starts_with(matches), "{format}: {line}");
        }
    }
}

// issue: log to stdout, stderr, fd
#[test]
fn lines_can_go_to_stdout_stderr_and_descriptors() {
    let server = Server::named("A");
    for target in ["stdout", "stderr", "fd@1"] {
        let (daemon, front, _log) = logged(
            &format!(" log {target} format raw local0\n"),
            " option tcplog\n",
            &server,
        );
        assert_eq!(who(front), "A");
        until("the line is there", || daemon.output().contains(" l l/s "));
    }
}

// issue: log-tag, log-send-hostname, len
#[test]
fn tag_host_name_and_length_are_as_configured() {
    let server = Server::named("A");
    let (daemon, front, log) = logged(
        " log @LOG@ len 80 local0\n log-tag balancer\n log-send-hostname here.example\n",
        " option tcplog\n",
        &server,
    );
    assert_eq!(who(front), "A");
    let line = log.wait("balancer[");
    assert_eq!(line.trim_end().len(), 80, "{line:?}");
    assert!(
        line.contains(&format!(" here.example balancer[{}]: ", daemon.pid)),
        "{line}"
    );
}

// issue: dontlog-normal
#[test]
fn ordinary_ends_are_left_out_and_others_are_not() {
    let server = Server::named("A");
    let (_daemon, front, log) = logged(
        " log @LOG@ local0\n",
        " option tcplog\n option dontlog-normal\n timeout client 300\n",
        &server,
    );
    assert_eq!(who(front), "A");
    let held = connect(front);
    log.wait(" cD ");
    assert_eq!(log.with(" l l/s ").len(), 1, "{:#?}", log.all());
    drop(held);
}

// issue: log-separate-errors
#[test]
fn errors_are_graver_when_so_wished() {
    let server = Server::named("A");
    let (_daemon, front, log) = logged(
        " log @LOG@ local0\n",
        " option tcplog\n option log-separate-errors\n timeout client 300\n",
        &server,
    );
    assert_eq!(who(front), "A");
    assert_eq!(priority(&log.wait(" -- ")).0, 134);
    let _held = connect(front);
    assert_eq!(priority(&log.wait(" cD ")).0, 131);
}

// issue: logasap
#[test]
fn logasap_tells_a_connection_while_it_runs() {
    let server = Server::named("A");
    let (_daemon, front, log) = logged(
        " log @LOG@ local0\n",
        " option tcplog\n option logasap\n",
        &server,
    );
    let _held = connect(front);
    let line = log.wait(" l l/s ");
    assert!(
        message(&line).split(' ').nth(4).unwrap().contains("/+"),
        "{line}"
    );
}

// issue: no log
#[test]
fn no_log_silences_a_proxy() {
    let server = Server::named("A");
    let (loud, quiet, log) = (port(), port(), UdpLog::new());
    let _daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{USUAL} log global\n option tcplog\nlisten quiet\n no log\n bind 127.0.0.1:{quiet}\n \
         server s {1}\nlisten loud\n bind 127.0.0.1:{loud}\n server s {1}\n",
        log.port,
        server.addr()
    ));
    assert_eq!((who(quiet), who(loud)), ("A".to_owned(), "A".to_owned()));
    log.wait(" loud loud/s ");
    assert!(log.with(" quiet ").is_empty());
}

// issue: a log pipe that nobody reads
#[test]
fn a_log_pipe_that_nobody_reads_stops_nobody() {
    let server = Server::named("A");
    let front = port();
    let launch = Launch::new(&format!(
        "global\n log fd@7 format raw local0\n{USUAL} log global\n option tcplog\nlisten l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    ));
    // Descriptor 7 is a pipe whose reader sleeps.
    let mut daemon = launch
        .under(&["bash", "-c", "exec 7> >(exec sleep 30); exec \"$@\"", "sh"])
        .start();
    let mut held = connect(front);
    for n in 0..2000 {
        assert_eq!(who(front), "A", "connection {n}");
    }
    assert_eq!(talk(&mut held, "x"), "A:x");
    assert_eq!(daemon.admin().info()["Pid"], daemon.pid.to_string());
    held.write_all(b"still").unwrap();
    assert!(daemon.alive() && !refused(front));
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.ended_within(Duration::from_secs(5)).is_some());
}
