//! The ways a request ends, and the line each leaves, field by field.
//!
//! One difference of 3.4 to 2.6 is everywhere: what the balancer answers itself counts no bytes from a server, so that
//! `%B` is 0 where 2.6 tells the length of its answer. `option abortonclose`, on by default since 3.3, is always said.

use std::io::Write;
use std::time::Duration;

use super::{Side, same};
use crate::support::client::{closed_within, connect, reset};
use crate::support::http::{Message, Origin, Reply, Wire, ok};
use crate::support::server::BlackHole;
use crate::support::{Daemon, Server, port, within};

const USUAL: &str =
    " mode http\n option httplog\n timeout http-request 2s\n retries 0\n option abortonclose\n";

/// A server that does by its path what a scenario needs.
fn origin() -> Origin {
    Origin::new(|asked: &Message| -> Reply {
        let path = asked.target().split('?').next().unwrap_or_default();
        match path {
            "/404" => "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".into(),
            "/500" => "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".into(),
            "/503" => "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n".into(),
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".into(),
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".into(),
            "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".into(),
            "/until" => "HTTP/1.1 200 OK\r\n\r\nuntil the end".into(),
            "/cut" => Reply::last("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_owned()),
            "/stall" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".into(),
            "/nothing" => Reply::last(String::new()),
            "/hang" => Reply::none(),
            "/junk" => "JUNK JUNK JUNK\r\n\r\n".into(),
            "/chunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".into(),
            "/later" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".into(),
            "/switch" => Reply::last("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nhello".to_owned()),
            "/fields" => ok("Connection: keep-alive, other\r\nX-A: one\r\nX-B: two words\r\nX-A: three\r\nServer: nobody\r\n", "ok").into(),
            "/app" => ok("Set-Cookie: APP=fresh; path=/\r\n", "ok").into(),
            "/srv" => ok("Set-Cookie: SRV=mine; path=/\r\n", "ok").into(),
            "/big" => ok("", &"x".repeat(3_000_000)).into(),
            _ => ok("", "ok").into(),
        }
    })
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h.test\r\nConnection: close\r\n\r\n")
}

/// Sends each request on a connection of its own, waits for the end of it and for its line.
fn walk(side: &Side, requests: &[String]) {
    for (n, request) in requests.iter().enumerate() {
        let mut client = Wire::to(side.front);
        client.send(request);
        client.all();
        drop(client);
        side.settled(n + 1);
        // Its counters are gone a moment after its line.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The lines, with what is known to differ made alike.
fn lines(side: &Side, daemon: &Daemon, n: usize) -> Vec<String> {
    let lines = side.lines(daemon, n, &[]);
    lines.iter().map(|line| without_own_bytes(line)).collect()
}

/// The bytes of an answer that no server gave.
pub(super) fn without_own_bytes(line: &str) -> String {
    let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
    let timers = words
        .iter()
        .position(|w| w.split('/').count() == 5 && (w.contains('T') || w.contains("-1")));
    if let Some(at) = timers {
        let own = words[at].split('/').nth(3) == Some("-1") || words[at - 1].ends_with("<STATS>");
        if own && let Some(bytes) = words.get_mut(at + 2) {
            *bytes = "OWN".to_owned();
        }
    }
    words.join(" ")
}

/// `requests` through a proxy with these lines before a working server, and the lines they leave.
#[track_caller]
fn logged(defaults: &str, body: &str, requests: &[String]) {
    same(|side| {
        let origin = origin();
        let body = format!("{body} server s {}\n", origin.addr());
        let daemon = side.start(&format!("{USUAL}{defaults}"), &body);
        walk(side, requests);
        lines(side, &daemon, requests.len())
    });
}

#[test]
fn answers_of_a_server() {
    let mut requests: Vec<_> = [
        "/", "/404", "/500", "/204", "/304", "/chunked", "/until", "/fields",
    ]
    .iter()
    .map(|target| get(target))
    .collect();
    requests.push("HEAD /head HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned());
    requests.push(
        "POST /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
            .to_owned(),
    );
    requests.push("POST /continue HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody".to_owned());
    requests.push("GET /old HTTP/1.0\r\n\r\n".to_owned());
    requests.push(
        "GET http://h.test/abs?x=1 HTTP/1.1\r\nHost: h.test\r\nConnection: close\r\n\r\n"
            .to_owned(),
    );
    requests.push("OPTIONS * HTTP/1.1\r\nHost: h.test\r\nConnection: close\r\n\r\n".to_owned());
    requests.push(get("/quote\"and\\\\"));
    logged("", "", &requests);
}

#[test]
fn several_requests_on_one_connection() {
    same(|side| {
        let origin = origin();
        let daemon = side.start(USUAL, &format!(" server s {}\n", origin.addr()));
        let mut client = Wire::to(side.front);
        for (n, target) in ["/1", "/2", "/404", "/3"].into_iter().enumerate() {
            client.get(target, "");
            side.settled(n + 1);
        }
        client.send(
            "GET /4 HTTP/1.1\r\nHost: h\r\n\r\nGET /5 HTTP/1.1\r\nHost: h\r\n\r\nBAD\r\n\r\n",
        );
        client.all();
        lines(side, &daemon, 7)
    });
}

#[test]
fn rules_that_answer() {
    let rules = " timeout tarpit 200\n acl deny path /deny\n http-request deny if deny\n http-request deny deny_status 429 if { path /429 }\n \
        http-request tarpit if { path /tarpit }\n http-request tarpit deny_status 404 if { path /tarpit2 }\n \
        http-request return status 200 content-type text/plain string hello if { path /return }\n http-request return status 503 if { path /return2 }\n \
        http-request redirect location /x if { path /loc }\n redirect prefix http://p if { path /pre }\n redirect scheme https code 301 if { path /scheme }\n \
        http-request auth realm r if { path /auth }\n http-request reject if { path /reject }\n http-response deny if { status 404 }\n \
        http-response return status 202 if { status 500 }\n";
    let targets = [
        "/deny", "/429", "/tarpit", "/tarpit2", "/return", "/return2", "/loc", "/pre", "/scheme",
        "/auth", "/reject", "/404", "/500", "/",
    ];
    logged("", rules, &targets.map(get));
}

#[test]
fn pages_of_its_own() {
    let lines = " stats uri /stats\n stats auth a:b\n monitor-uri /up\n monitor fail if { hdr(x-down) 1 }\n";
    let mut requests = ["/stats", "/up", "/"].map(get).to_vec();
    requests
        .push("GET /up HTTP/1.1\r\nHost: h\r\nX-Down: 1\r\nConnection: close\r\n\r\n".to_owned());
    requests.push("GET /stats;csv HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\nConnection: close\r\n\r\n".to_owned());
    // The probes of a monitor leave no line.
    same(|side| {
        let origin = origin();
        let body = format!("{lines} server s {}\n", origin.addr());
        let daemon = side.start(USUAL, &body);
        for (n, request) in requests.iter().enumerate() {
            let mut client = Wire::to(side.front);
            client.send(request);
            client.all();
            drop(client);
            within(Duration::from_millis(300), || side.log.all().len() > n);
        }
        // Asking for a password is told as a bad request by 2.6.
        let lines = super::http_logs::lines(side, &daemon, 3);
        let mask = |line: String| match line.contains("GET /stats HTTP") {
            true => line.replace(" 400 OWN", " 401 OWN"),
            false => line,
        };
        lines.into_iter().map(mask).collect()
    });
}

#[test]
fn requests_that_are_none() {
    let requests = [
        "NONSENSE\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nA B: c\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
    ];
    logged("", "", &requests.map(str::to_owned));
}

#[test]
fn requests_that_do_not_come() {
    same(|side| {
        let origin = origin();
        let options = format!("{USUAL} timeout http-request 300\n timeout client 400\n");
        let daemon = side.start(&options, &format!(" server s {}\n", origin.addr()));
        for (n, part) in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: h\r\n"]
            .into_iter()
            .enumerate()
        {
            let mut client = Wire::to(side.front);
            client.send(part);
            client.all();
            drop(client);
            side.settled(n + 1);
        }
        lines(side, &daemon, 3)
    });
}

#[test]
fn clients_that_leave_before_their_request_is_whole() {
    same(|side| {
        let origin = origin();
        let daemon = side.start(USUAL, &format!(" server s {}\n", origin.addr()));
        for (n, part) in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: h\r\n"]
            .into_iter()
            .enumerate()
        {
            let mut client = Wire::to(side.front);
            client.send(part);
            client.finish();
            client.all();
            drop(client);
            side.settled(n + 1);
        }
        for (n, part) in ["", "GET / HT"].into_iter().enumerate() {
            let mut client = connect(side.front);
            client.write_all(part.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(30));
            reset(client);
            side.settled(n + 4);
        }
        lines(side, &daemon, 5)
    });
}

#[test]
fn a_client_that_leaves_in_its_body() {
    same(|side| {
        let origin = origin();
        let daemon = side.start(USUAL, &format!(" server s {}\n", origin.addr()));
        let mut client = connect(side.front);
        client
            .write_all(b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
            .unwrap();
        within(Duration::from_secs(5), || {
            origin.server.seen.accepted() == 1
        });
        std::thread::sleep(Duration::from_millis(50));
        reset(client);
        lines(side, &daemon, 1)
    });
}

#[test]
fn nobody_to_serve() {
    same(|side| {
        let daemon = side.start(USUAL, " server s 127.0.0.1:1 disabled\n");
        walk(side, &[get("/")]);
        lines(side, &daemon, 1)
    });
}

#[test]
fn a_server_that_refuses_or_does_not_answer_the_connection() {
    let hole = BlackHole::new();
    for address in [
        format!("127.0.0.1:{}", port()),
        format!("127.0.0.1:{}", hole.port),
    ] {
        same(|side| {
            let options = format!("{USUAL} timeout connect 200\n retries 1\n");
            let daemon = side.start(&options, &format!(" server s {address}\n"));
            walk(side, &[get("/")]);
            lines(side, &daemon, 1)
        });
    }
}

#[test]
fn retries_and_redispatch() {
    same(|side| {
        let origin = origin();
        let options = format!("{USUAL} retries 2\n timeout connect 200\n option redispatch\n");
        let body = format!(
            " balance roundrobin\n server dead 127.0.0.1:{} weight 200\n server s {} weight 1\n",
            port(),
            origin.addr()
        );
        let daemon = side.start(&options, &body);
        walk(side, &[get("/1"), get("/2")]);
        lines(side, &daemon, 2)
    });
}

#[test]
fn a_request_that_waits_too_long_in_the_queue() {
    same(|side| {
        let origin = origin();
        let options = format!("{USUAL} timeout queue 200\n timeout server 3s\n");
        let daemon = side.start(
            &options,
            &format!(" server s {} maxconn 1\n", origin.addr()),
        );
        let mut held = Wire::to(side.front);
        held.send(get("/hang"));
        within(Duration::from_secs(5), || origin.asked().len() == 1);
        walk(side, &[get("/queued")]);
        // And one that leaves the queue.
        let mut waiting = connect(side.front);
        waiting.write_all(get("/left").as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        reset(waiting);
        side.settled(2);
        reset(held.stream);
        lines(side, &daemon, 3)
    });
}

#[test]
fn servers_that_do_not_answer_well() {
    let options = " timeout server 300\n";
    logged(
        options,
        "",
        &["/hang", "/nothing", "/junk", "/cut", "/stall", "/later"].map(get),
    );
}

#[test]
fn a_bad_chunk_behind_a_good_head() {
    same(|side| {
        // The head goes through before the chunk comes.
        let server = Server::new(|stream, _| {
            let mut wire = Wire::new(stream);
            wire.request();
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
            std::thread::sleep(Duration::from_millis(100));
            wire.send("xyz\r\n");
            wire.all();
        });
        let daemon = side.start(USUAL, &format!(" server s {}\n", server.addr()));
        walk(side, &[get("/")]);
        lines(side, &daemon, 1)
    });
}

#[test]
fn clients_that_leave_before_their_answer() {
    for options in [" option abortonclose\n", " no option abortonclose\n"] {
        same(|side| {
            let origin = origin();
            let options = format!("{USUAL} timeout server 500\n{options}");
            let daemon = side.start(&options, &format!(" server s {}\n", origin.addr()));
            let mut client = Wire::to(side.front);
            client.send(get("/hang"));
            within(Duration::from_secs(5), || origin.asked().len() == 1);
            client.finish();
            client.all();
            side.settled(1);
            let mut client = Wire::to(side.front);
            client.send(get("/hang"));
            within(Duration::from_secs(5), || origin.asked().len() == 2);
            reset(client.stream);
            lines(side, &daemon, 2)
        });
    }
}

#[test]
fn clients_that_leave_or_stop_in_their_answer() {
    same(|side| {
        let origin = origin();
        let options = format!("{USUAL} timeout client 400\n");
        let daemon = side.start(&options, &format!(" server s {}\n", origin.addr()));
        let mut client = Wire::to(side.front);
        client.send(get("/stall"));
        client.take(40);
        reset(client.stream);
        side.settled(1);
        // It reads nothing of a long one: the bytes that fit on the way are chance.
        let mut client = Wire::to(side.front);
        client.send(get("/big"));
        side.settled(2);
        drop(client);
        let mask = |line: String| {
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            if line.contains("/big ") {
                let at = words
                    .iter()
                    .position(|w| w.contains("T/T/T/T/"))
                    .unwrap_or(0);
                words[at + 2] = "MANY".to_owned();
            }
            words.join(" ")
        };
        lines(side, &daemon, 2).into_iter().map(mask).collect()
    });
}

#[test]
fn captured_headers_and_cookies() {
    let lines = " capture request header Host len 20\n capture request header X-Long len 5\n capture request header Nothing len 9\n \
        capture response header X-A len 20\n capture response header Server len 3\n capture response header X-B len 30\n \
        capture request header Connection len 30\n capture response header Connection len 30\n capture cookie APP len 12\n";
    let requests = [
        "GET /fields HTTP/1.1\r\nHost: h.test\r\nX-Long: 0123456789\r\nConnection: close\r\n\r\n",
        "GET /app HTTP/1.1\r\nHost: h.test\r\nCookie: a=b; APP=stale; APPLE=1\r\nConnection: close\r\n\r\n",
        "GET /404 HTTP/1.1\r\nHost: x\r\nX-Long: |{}\"d\r\nCookie: APP=0123456789abc\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: one\r\nX-Long: a\r\nX-Long: b\r\nConnection: close\r\n\r\n",
    ];
    logged("", lines, &requests.map(str::to_owned));
}

#[test]
fn captures_of_rules() {
    let lines = " declare capture request len 10\n declare capture response len 6\n http-request capture path len 12\n \
        http-request capture req.hdr(host) id 0\n http-response capture res.hdr(x-b) id 0\n";
    logged("", lines, &["/fields", "/long/path/of/it", "/"].map(get));
}

/// Requests with these cookies to servers `a`, `b` and, where it says so, one that is down.
fn with_cookies(cookie: &str, servers: &str, targets: &[(&str, &str)]) {
    same(|side| {
        let (a, b) = (origin(), origin());
        let body = format!(
            " balance roundrobin\n {cookie}\n option redispatch\n server a {} cookie A\n server b {} cookie B\n{servers}",
            a.addr(),
            b.addr()
        );
        let daemon = side.start(USUAL, &body);
        let requests = targets.iter().map(|(target, cookies)| {
            let cookies = match cookies.is_empty() {
                true => String::new(),
                false => format!("Cookie: {cookies}\r\n"),
            };
            format!("GET {target} HTTP/1.1\r\nHost: h\r\n{cookies}Connection: close\r\n\r\n")
        });
        walk(side, &requests.collect::<Vec<_>>());
        lines(side, &daemon, targets.len())
    });
}

#[test]
fn states_of_inserted_cookies() {
    let down = " server c 127.0.0.1:1 cookie C disabled\n";
    let targets = [
        ("/none", ""),
        ("/valid", "SRV=A"),
        ("/valid", "x=y; SRV=B; z=1"),
        ("/unknown", "SRV=ZZ"),
        ("/down", "SRV=C"),
        ("/srv", "SRV=A"),
        ("/srv", ""),
    ];
    for options in [
        "insert indirect nocache",
        "insert",
        "insert indirect preserve",
        "insert postonly",
        "rewrite",
    ] {
        with_cookies(&format!("cookie SRV {options}"), down, &targets);
    }
}

#[test]
fn states_of_prefixed_and_dated_cookies() {
    let down = " server c 127.0.0.1:1 cookie C disabled\n";
    let targets = [
        ("/app", ""),
        ("/app", "APP=A~x"),
        ("/", "APP=B~y"),
        ("/", "APP=C~z"),
        ("/", "APP=plain"),
        ("/", ""),
    ];
    with_cookies("cookie APP prefix", down, &targets);
    let targets = [
        ("/", ""),
        ("/", "SRV=A|AAAAA|AAAAA"),
        ("/", "SRV=B"),
        ("/", "SRV=A||"),
        ("/", "SRV=Z|zzzzz"),
    ];
    with_cookies(
        "cookie SRV insert indirect maxidle 1h maxlife 1d",
        down,
        &targets,
    );
    with_cookies(
        "cookie SRV",
        "",
        &[("/", "SRV=A"), ("/", ""), ("/srv", "SRV=Q")],
    );
}

#[test]
fn a_line_of_ones_own() {
    let format = " log-format \"%ci %fi %bi %si %sp %b %s %ST %B %U %CC %CS %tsc %ac %fc %bc %sc %rc %sq %bq %hr %hs %r|%HM|%HP|%HPO|%HQ|%HU|%HV|%{+Q}hrl|%{+Q,+E}hsl|%ID|%rt|%lc|%f|%ft|%[fc_http_major] %{+X}B %%\"\n \
        capture request header Host len 20\n capture response header X-B len 20\n";
    same(|side| {
        let origin = origin();
        let body = format!(
            "{} server s {}\n",
            format
                .replace("%cp?", "")
                .replace("%sp?", "")
                .replace("%pid?", ""),
            origin.addr()
        );
        let daemon = side.start(USUAL, &body);
        walk(side, &["/fields", "/404?a=b&c", "/cut"].map(get));
        let server = format!(" {} ", origin.server.port);
        let lines = side.lines(&daemon, 3, &[]);
        let named = lines.iter().map(|line| line.replace(&server, " PORT "));
        named.collect()
    });
}

#[test]
fn timers_are_there_or_not_together() {
    // Signs alone: -1 for what was not reached.
    let format = " log-format \"%TR/%Tw/%Tc/%Tr/%Ta %ST timers\"\n";
    let rules = " http-request deny if { path /deny }\n http-request redirect location /x if { path /loc }\n";
    logged(
        "",
        &format!("{format}{rules}"),
        &["/", "/deny", "/loc", "/nothing", "/404"].map(get),
    );
}

#[test]
fn the_common_log_format() {
    let defaults = " option httplog clf\n";
    same(|side| {
        let origin = origin();
        let defaults = USUAL.replace(" option httplog\n", defaults);
        let daemon = side.start(&defaults, &format!(" server s {}\n", origin.addr()));
        walk(side, &["/", "/404", "/cut"].map(get));
        let lines = side.lines(&daemon, 3, &[]);
        let mask = |line: &String| {
            // 127.0.0.1 - - [21/Nov/2026:02:00:00 +0000] "GET / HTTP/1.1" 200 50 "" "" PORT MS ...
            let words: Vec<_> = line.split(' ').collect();
            let at = words.iter().position(|w| w.starts_with('['))?;
            let tail = words.get(at + 2..)?.join(" ");
            let mut parts: Vec<_> = tail.split(' ').map(str::to_owned).collect();
            // Client port, milliseconds, and the timers from the fields behind the names.
            for i in [7, 8, 12, 13, 14, 15, 16] {
                if let Some(part) = parts.get_mut(i) {
                    *part = if part.starts_with('-') {
                        "-1".to_owned()
                    } else {
                        "N".to_owned()
                    };
                }
            }
            Some(parts.join(" "))
        };
        lines
            .iter()
            .map(|line| mask(line).unwrap_or_else(|| line.clone()))
            .collect()
    });
}

#[test]
fn connections_without_a_byte() {
    for options in [" option dontlognull\n", " option http-ignore-probes\n", ""] {
        same(|side| {
            let origin = origin();
            let options = format!("{USUAL} timeout http-request 300\n{options}");
            let daemon = side.start(&options, &format!(" server s {}\n", origin.addr()));
            drop(connect(side.front));
            std::thread::sleep(Duration::from_millis(100));
            let mut silent = connect(side.front);
            closed_within(Duration::from_secs(5), &mut silent);
            drop(silent);
            within(Duration::from_millis(300), || side.log.all().len() >= 2);
            let before = side.log.all().len();
            let mut client = Wire::to(side.front);
            client.send(get("/"));
            client.all();
            lines(side, &daemon, before + 1)
        });
    }
}

#[test]
fn normal_requests_left_out() {
    same(|side| {
        let origin = origin();
        let options = format!("{USUAL} option dontlog-normal\n");
        let daemon = side.start(&options, &format!(" server s {}\n", origin.addr()));
        for target in ["/", "/404", "/500", "/nothing", "/"] {
            let mut client = Wire::to(side.front);
            client.send(get(target));
            client.all();
        }
        lines(side, &daemon, 2)
    });
}

#[test]
fn errors_on_a_level_of_their_own() {
    let rules = " http-request deny if { path /deny }\n http-request set-log-level notice if { path /notice }\n http-request set-log-level silent if { path /silent }\n";
    let targets = ["/", "/404", "/500", "/nothing", "/deny", "/cut", "/notice"];
    logged(" option log-separate-errors\n", rules, &targets.map(get));
}

#[test]
fn lines_before_the_end() {
    logged(
        " option logasap\n",
        "",
        &["/", "/404", "/chunked", "/nothing"].map(get),
    );
}

#[test]
fn switched_protocols() {
    let request = "GET /switch HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
    logged("", "", &[request.to_owned()]);
}

#[test]
fn errors_in_a_format_of_their_own() {
    let body =
        " error-log-format \"bad: %ci %ST %ts %[fc_err]\"\n http-request deny if { path /deny }\n";
    let requests = [get("/"), get("/deny"), "NONSENSE\r\n\r\n".to_owned()];
    logged("", body, &requests);
}

#[test]
fn unique_ids_and_tags() {
    let body = " unique-id-format id-%[path]-%rt\n unique-id-header X-Unique\n log-format \"%ID %HM %HP %ST %tsc\"\n log-tag mine\n";
    logged("", body, &["/a", "/404"].map(get));
}

#[test]
fn sessions_of_a_tcp_frontend_that_become_http() {
    for format in ["httplog", "tcplog", "httplog clf"] {
        same(|side| {
            let origin = origin();
            let body = format!(
                " mode tcp\n option {format}\n option abortonclose\n tcp-request inspect-delay 1s\n tcp-request content accept if HTTP\n \
                 use_backend web\nbackend web\n mode http\n server s {}\n",
                origin.addr()
            );
            let daemon = side.start("", &body);
            walk(
                side,
                &[
                    get("/"),
                    get("/404"),
                    get("/cut"),
                    "JUNK\r\n\r\n".to_owned(),
                ],
            );
            lines(side, &daemon, 4)
        });
    }
}
