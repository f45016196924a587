//! What probes say, and what they make of the same answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Side, same};
use crate::support::client::{closed_within, hold};
use crate::support::{Launch, Server, connect, within};

/// One backend: its lines, options of its server, what its server says first, and what it answers to each thing
/// it is asked.
struct Case {
    lines: &'static str,
    options: &'static str,
    first: &'static [u8],
    answers: &'static [&'static [u8]],
    /// The server keeps the connection when it has nothing more to say.
    open: bool,
}

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nX-A: one, two\r\nContent-Length: 5\r\n\r\nhello";

fn case(lines: &'static str, answers: &'static [&'static [u8]]) -> Case {
    Case {
        lines,
        options: "",
        first: b"",
        answers,
        open: false,
    }
}

impl Case {
    fn with(mut self, options: &'static str) -> Self {
        self.options = options;
        self
    }
    fn first(mut self, first: &'static [u8]) -> Self {
        self.first = first;
        self
    }
    fn open(mut self) -> Self {
        self.open = true;
        self
    }
}

type Asked = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server that plays its part, and what its first client asked.
fn server(case: &Case) -> (Server, Asked) {
    let asked = Asked::default();
    let sink = Arc::clone(&asked);
    let (first, answers, open) = (case.first, case.answers, case.open);
    let talk = move |mut stream: TcpStream| {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let mut mine = Vec::new();
        let mut piece = [0; 8192];
        let _ = stream.write_all(first);
        for answer in answers {
            // All of a question in one piece.
            std::thread::sleep(Duration::from_millis(30));
            match stream.read(&mut piece) {
                Ok(n) if n > 0 => mine.push(piece[..n].to_vec()),
                _ => break,
            }
            let _ = stream.write_all(answer);
        }
        if !open {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        {
            let mut sink = sink.lock().unwrap();
            if sink.is_empty() {
                *sink = mine;
            }
        }
        let _ = stream.read(&mut piece);
    };
    (Server::new(move |stream, _| talk(stream)), asked)
}

/// State, status, code and words of each case's server, and what was asked of it.
fn outcomes(side: &Side, cases: &[Case]) -> Vec<String> {
    let servers: Vec<_> = cases.iter().map(server).collect();
    let mut config = format!(
        "global\n stats socket @DIR@/admin mode 600 level admin\n node mynode\ndefaults\n mode http\n \
         timeout connect 2s\n timeout client 2s\n timeout server 2s\nlisten l\n bind 127.0.0.1:{}\n",
        side.front
    );
    for (i, (case, (server, _))) in cases.iter().zip(&servers).enumerate() {
        let lines = case.lines.replace("@PORT@", &server.port.to_string());
        let (addr, options) = (server.addr(), case.options);
        config.push_str(&format!(
            "backend b{i}\n{lines}\n server s {addr} check inter 1s fall 1 rise 1 {options}\n"
        ));
    }
    let daemon = Launch::of(side.program.clone(), &config)
        .ports(&[side.front])
        .start();
    let admin = daemon.admin();
    // An interval for the first, one for those whose time runs out.
    std::thread::sleep(Duration::from_millis(2500));
    let rows: Vec<_> = (0..cases.len())
        .map(|i| {
            let name = format!("b{i}");
            // Not while the next one runs.
            let mut row = admin.row(&name, "s");
            within(Duration::from_secs(2), || {
                row = admin.row(&name, "s");
                !row["check_status"].starts_with('*')
            });
            let cell = |column: &str| row[column].clone();
            let said = cell("last_chk")
                .replace(
                    "ECONNREFUSED returned by OS (Connection refused)",
                    "Connection refused",
                )
                .replace(&servers[i].0.port.to_string(), "PORT");
            [
                cell("status"),
                cell("check_status"),
                cell("check_code"),
                said,
            ]
            .join("|")
        })
        .collect();
    drop(daemon);
    rows.iter()
        .enumerate()
        .map(|(i, row)| {
            let asked = servers[i].1.lock().unwrap().concat();
            let asked =
                String::from_utf8_lossy(&asked).replace(&servers[i].0.port.to_string(), "PORT");
            format!("{}: {row}: {asked:?}", cases[i].lines)
        })
        .collect()
}

#[test]
fn http_checks_say_and_expect_the_same() {
    let cases = [
        case(" option httpchk", &[PAGE]),
        case(" option httpchk", &[b"HTTP/1.1 500 Oh No\r\n\r\n"]),
        case(" option httpchk", &[b""]),
        case(" option httpchk\n http-check expect status 200", &[b""]).open(),
        case(
            " option httpchk\n http-check send meth POST uri-lf /a%[str(x)] ver HTTP/1.1 hdr Host www.x hdr X-Foo \"a %s\" \
             hdr Content-Length 7 body \"the body\"",
            &[PAGE],
        ),
        case(
            " option httpchk GET /x HTTP/1.1\n http-check send meth HEAD uri /y hdr Host foo",
            &[b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"],
        ),
        case(" option httpchk\n http-check send-state", &[PAGE]).with("weight 7"),
        case(
            " option httpchk\n http-check expect status 201-404,500",
            &[b"HTTP/1.1 304 Not\r\n\r\n"],
        ),
        case(
            " option httpchk\n http-check comment first\n http-check expect status 201",
            &[PAGE],
        ),
        case(
            " option httpchk\n http-check expect string hallo comment foo",
            &[PAGE],
        ),
        case(" option httpchk\n http-check expect ! string hello", &[PAGE]),
        case(" option httpchk\n http-check expect rstring ^h.*o$", &[PAGE]),
        case(
            " option httpchk\n http-check expect string helloworld",
            &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"],
        ),
        case(
            " option httpchk\n http-check expect hdr name -m beg x- value -m reg ^t",
            &[PAGE],
        ),
        case(
            " option httpchk\n http-check expect fhdr name x-a value two",
            &[PAGE],
        ),
        case(
            " option httpchk\n http-check connect\n http-check send meth GET uri /a\n http-check expect status 200\n \
             http-check connect port @PORT@\n http-check send meth GET uri /b\n http-check expect status 404",
            &[PAGE],
        ),
        case(
            " option httpchk\n http-check connect port 1 comment zap\n http-check send meth GET uri /a",
            &[PAGE],
        ),
        case(
            " option httpchk\n http-check disable-on-404\n http-check expect status 200",
            &[b"HTTP/1.1 404 Gone\r\n\r\n"],
        ),
        case(
            " option httpchk\n http-check expect on-error \"bad %[status] %[res.hdr(x-a)]\" error-status L7STS \
             status-code status,add(1) status 201",
            &[PAGE],
        ),
        case(
            " option httpchk\n http-check expect on-success \"ok %[res.body]\" ok-status L7OKC string hel",
            &[PAGE],
        ),
    ];
    same(|side| outcomes(side, &cases));
}

const PONG: &[&[u8]] = &[b"+PONG\r\n"];

#[test]
fn tcp_checks_say_and_expect_the_same() {
    let cases = [
        case(" option tcp-check\n tcp-check connect", &[]),
        case(
            " option tcp-check\n tcp-check connect port 1 comment mycon",
            &[],
        ),
        case(
            " option tcp-check\n tcp-check send PING\\r\\n\n tcp-check expect string +PONG",
            PONG,
        )
        .open(),
        case(
            " option tcp-check\n tcp-check send PING\\r\\n\n tcp-check comment \"a note\"\n tcp-check expect string +PING",
            PONG,
        ),
        case(
            " option tcp-check\n tcp-check send PING\\r\\n\n tcp-check expect string +PING comment foo tout-status L6TOUT",
            PONG,
        )
        .open(),
        case(
            " option tcp-check\n tcp-check send PING\\r\\n\n tcp-check expect string +PONG comment foo",
            &[b""],
        ),
        case(
            " option tcp-check\n tcp-check expect rstring ^2[0-9]+",
            &[],
        )
        .first(b"220 hello\r\n"),
        case(
            " option tcp-check\n tcp-check send-binary 50494e47\n tcp-check expect rbinary ^2B504F4E48",
            PONG,
        ),
        case(
            " option tcp-check\n tcp-check set-var(check.x) str(PO)\n tcp-check set-var-fmt(check.y) \"%[var(check.x)]N\"\n \
             tcp-check connect\n tcp-check send-lf \"%[var(check.y)] %b %s\"\n tcp-check expect string-lf \"+%[var(check.y)]G\"",
            PONG,
        ),
        case(
            " option tcp-check\n tcp-check send PING\n tcp-check expect on-error \"bad: %[res.payload(0,3)]\" \
             error-status L7STS status-code int(444) string +PING",
            PONG,
        ),
        case(
            " option tcp-check\n tcp-check send PING\n tcp-check expect min-recv 3 rstring PING",
            PONG,
        )
        .open(),
        case(
            " option tcp-check\n tcp-check send A\n tcp-check expect string a\n tcp-check send B\n tcp-check expect string a",
            &[b"a", b"b"],
        ),
        case(
            " option tcp-check\n tcp-check connect default\n tcp-check send hello\n tcp-check expect string a",
            &[b"a"],
        )
        .with("send-proxy-v2"),
        case(
            " option tcp-check\n tcp-check connect\n tcp-check send hello\n tcp-check expect ok-status L7OKC string a",
            &[b"a"],
        )
        .with("send-proxy"),
        case(
            " option tcp-check\n tcp-check set-var(check.port) int(1)\n tcp-check connect port var(check.port)",
            &[b"a"],
        ),
    ];
    same(|side| outcomes(side, &cases));
}

/// A greeting of MySQL 8.0.36, protocol 10.
const MYSQL: &[u8] = b"\x4e\0\0\0\x0a8.0.36-foo\0\x08\0\0\0abcdefgh\0\xff\xf7\x08\x02\0\x0f\x80\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0mysql_native_password\0";

// H06
#[test]
fn services_are_asked_and_understood_the_same() {
    let bind: &[&[u8]] = &[b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"];
    let cases = [
        case(" option smtpchk", &[b"250 ok\r\n", b"221 bye\r\n"]).first(b"220 mail\r\n"),
        case(
            " option smtpchk EHLO foo.bar",
            &[b"250 ok\r\n", b"221 bye\r\n"],
        )
        .first(b"220 mail\r\n"),
        case(" option smtpchk", &[]).first(b"554 no\r\n"),
        case(" option smtpchk", &[]).first(b"hello\r\n"),
        case(" option smtpchk", &[]).open(),
        case(" option smtpchk", &[]),
        case(" option smtpchk", &[b""]).first(b"220 mail\r\n"),
        case(" option redis-check", PONG).open(),
        case(" option redis-check", &[b"-NOAUTH x\r\n"]),
        case(" option redis-check", &[b""]),
        case(" option ldap-check", bind).open(),
        case(
            " option ldap-check",
            &[b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00"],
        ),
        case(" option ldap-check", &[b"hello world aaaaa"]),
        case(" option pgsql-check user foo", &[b"R\0\0\0\x08\0\0\0\0"]).open(),
        case(
            " option pgsql-check user foo",
            &[b"E\0\0\0\x20SFATAL\0Cxx\0Mno such user\0\0"],
        ),
        case(" option pgsql-check user foo", &[b"hello you there"]),
        case(" option pgsql-check user foo", &[b""]),
        case(" option mysql-check", &[]).first(MYSQL),
        case(" option mysql-check", &[]).first(b"\x14\0\0\0\xff\x69\x04Host x is blocked"),
        case(" option mysql-check", &[]).first(b"hello this is not mysql at all"),
        case(
            " option mysql-check user foo",
            &[b"\x07\0\0\x02\0\0\0\x02\0\0\0"],
        )
        .first(MYSQL)
        .open(),
        case(
            " option mysql-check user foo pre-41",
            &[b"\x07\0\0\x02\0\0\0\x02\0\0\0"],
        )
        .first(MYSQL),
        case(
            " option mysql-check user foo",
            &[b"\x1f\0\0\x02\xff\x15\x04#28000Access denied for user"],
        )
        .first(MYSQL),
    ];
    same(|side| outcomes(side, &cases));
}

/// A health page that says 200 until it is told otherwise.
fn page(good: &Arc<AtomicBool>) -> Server {
    let good = Arc::clone(good);
    Server::http(move |_, _| {
        let code = if good.load(Ordering::Acquire) {
            200
        } else {
            500
        };
        (code, String::new())
    })
}

#[test]
fn sessions_end_with_their_server_and_with_the_backups() {
    same(|side: &Side| {
        let good = Arc::new(AtomicBool::new(true));
        let health = page(&good);
        let (active, backup) = (Server::named("A"), Server::named("B"));
        let daemon = side.start(
            "",
            &format!(
                " option tcplog\n option httpchk\n timeout check 5s\n default-server inter 200 fall 1 rise 1\n \
                 server a {} check port {} on-marked-down shutdown-sessions on-marked-up shutdown-backup-sessions\n \
                 server b {} backup\n",
                active.addr(),
                health.port,
                backup.addr()
            ),
        );
        let names = [
            (active.port, "A"),
            (backup.port, "B"),
            (health.port, "HEALTH"),
        ];
        let (mut first, who) = hold(side.front);
        assert!(who.starts_with('A'), "{who}");
        std::thread::sleep(Duration::from_millis(300));
        good.store(false, Ordering::Release);
        let limit = Duration::from_secs(3);
        closed_within(limit, &mut first);
        let (mut second, who) = hold(side.front);
        assert!(who.starts_with('B'), "{who}");
        good.store(true, Ordering::Release);
        closed_within(limit, &mut second);
        let mut lines = side.lines(&daemon, 4, &names);
        lines.sort();
        // 3.4 and we tell of the first session when the server is gone, 2.6 some sessions later: who comes first says
        // nothing.
        lines
            .into_iter()
            .filter(|line| line.starts_with("udp"))
            .map(|line| line.replace("1 sessions active", "N sessions active"))
            .collect()
    });
}

#[test]
fn errors_of_the_traffic_are_told_in_the_same_words() {
    for (line, answer) in [
        ("observe layer4", None),
        (
            "observe layer7",
            Some(&b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"[..]),
        ),
        ("observe layer7", Some(b"junk\r\n\r\n")),
        ("observe layer7", Some(b"")),
        ("observe layer7", None),
    ] {
        same(|side: &Side| {
            let good = Arc::new(AtomicBool::new(true));
            let health = page(&good);
            let mut server = Server::new(move |mut stream, _| {
                let mut piece = [0; 999];
                let _ = stream.read(&mut piece);
                let _ = stream.write_all(answer.unwrap_or_default());
            });
            if answer.is_none() {
                server.stop();
            }
            let daemon = side.start(
                " mode http\n retries 0\n",
                &format!(
                    " option httpchk\n server s {} check port {} inter 30s {line} error-limit 2 on-error mark-down\n",
                    server.addr(),
                    health.port
                ),
            );
            within(Duration::from_secs(5), || health.seen.accepted() > 0);
            std::thread::sleep(Duration::from_millis(100));
            for _ in 0..2 {
                let mut stream = connect(side.front);
                let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
                let _ = stream.read_to_end(&mut Vec::new());
            }
            let mut lines = side.lines(&daemon, 3, &[]);
            lines.retain(|line| line.starts_with("udp") && line.contains("Health analyze"));
            lines
                .into_iter()
                .map(|line| {
                    line.replace("1 sessions active", "N sessions active")
                        .replace("0 sessions active", "N sessions active")
                })
                .chain([line.to_owned()])
                .collect()
        });
    }
}

/// An agent that says what it was given, to everybody who asks.
fn agent(line: &'static str) -> Server {
    Server::new(move |mut stream, _| {
        let mut piece = [0; 99];
        if stream
            .read(&mut piece)
            .is_ok_and(|n| &piece[..n] == b"hi\n")
        {
            let _ = stream.write_all(line.as_bytes());
        }
    })
}

#[test]
fn agents_do_the_same_to_their_servers() {
    let lines = [
        "up\n",
        "75%\n",
        "drain\n",
        "maint\n",
        "down\n",
        "down#because it is so\n",
        "stopped # x\n",
        "up ready 50%\n",
        "50%,drain\n",
        "maxconn:30\n",
        "garbage\n",
        "",
        "up",
        "0%\n",
        "up 10% maxconn:5 ready#foo bar\n",
        "maint drain ready\n",
        "fail 20%\r\nup\n",
    ];
    same(|side: &Side| {
        let service = Server::silent();
        let agents: Vec<_> = lines.iter().map(|line| agent(line)).collect();
        let mut config = format!(
            "global\n stats socket @DIR@/admin mode 600 level admin\ndefaults\n balance roundrobin\n timeout connect 1s\n \
             timeout client 1s\n timeout server 1s\nlisten l\n bind 127.0.0.1:{}\n",
            side.front
        );
        for (i, agent) in agents.iter().enumerate() {
            config.push_str(&format!(
                "backend b{i}\n server s {} check inter 500 weight 20 maxconn 100 agent-check agent-port {} agent-inter 500 \
                 agent-send \"hi\\n\"\n",
                service.addr(),
                agent.port
            ));
        }
        let daemon = Launch::of(side.program.clone(), &config)
            .ports(&[side.front])
            .start();
        let admin = daemon.admin();
        std::thread::sleep(Duration::from_millis(1800));
        let columns = [
            "status",
            "weight",
            "slim",
            "agent_status",
            "agent_code",
            "last_agt",
            "agent_desc",
            "agent_rise",
            "agent_fall",
            "agent_health",
        ];
        (0..lines.len())
            .map(|i| {
                let name = format!("b{i}");
                let mut row = admin.row(&name, "s");
                within(Duration::from_secs(2), || {
                    row = admin.row(&name, "s");
                    !row["agent_status"].starts_with('*')
                });
                let cells: Vec<_> = columns.iter().map(|c| row[*c].clone()).collect();
                format!("{:?}: {}", lines[i], cells.join("|"))
            })
            .collect()
    });
}
