//! HTTP mode: where requests go, what is added to them and taken from them, cookies, limits, rules.
//!
//! Bytes and log lines beside haproxy's are in `tests/differential/`; here stands what an operator relies on.

use std::time::{Duration, Instant};

use crate::support::client::closed_within;
use crate::support::http::{Message, Origin, Reply, Wire, get, ok};
use crate::support::{
    Daemon, LATE, Server, TempDir, UdpLog, about, connect, on_haproxy, port, until,
};

const HTTP: &str = "global\n stats socket @DIR@/admin mode 600 level admin\ndefaults\n mode http\n balance roundrobin\n \
    timeout connect 2s\n timeout client 20s\n timeout server 20s\n";

/// `listen l` with these lines, and its port. One thread: turns are taken by each of its own.
fn listen(lines: &str) -> (Daemon, u16) {
    let port = port();
    let config = format!("{HTTP}global\n nbthread 1\nlisten l\n bind 127.0.0.1:{port}\n{lines}");
    (Daemon::start(&config), port)
}

/// A frontend with these lines, backends `a`, `b` and `c` with a server each whose answer is its name.
fn three(front: &str) -> (Daemon, Vec<Origin>, u16) {
    let port = port();
    let origins: Vec<_> = ["a", "b", "c"].map(Origin::named).into();
    let mut config = format!("{HTTP}frontend f\n bind 127.0.0.1:{port}\n{front}");
    for (name, origin) in ["a", "b", "c"].iter().zip(&origins) {
        config.push_str(&format!("backend {name}\n server s {}\n", origin.addr()));
    }
    (Daemon::start(&config), origins, port)
}

fn who(port: u16, target: &str, fields: &str) -> String {
    get(port, target, fields).body
}

fn cookie(port: u16, cookie: &str) -> Message {
    let field = match cookie {
        "" => String::new(),
        cookie => format!("Cookie: {cookie}\r\n"),
    };
    get(port, "/", &field)
}

// ---------------------------------------------------------------- routing

// F05, F16
#[test]
fn a_path_chooses_the_backend_in_any_case() {
    let (_daemon, _origins, port) = three(
        " acl url_ms1 path_beg -i /ms1/\n acl url_ms2 path_beg /ms2/\n use_backend a if url_ms1\n use_backend b if url_ms2\n default_backend c\n",
    );
    for (target, name) in [
        ("/ms1/x", "a"),
        ("/MS1/x", "a"),
        ("/ms2/", "b"),
        ("/MS2/", "c"),
        ("/xms1/", "c"),
        ("/ms1", "c"),
    ] {
        assert_eq!(who(port, target, ""), name, "{target}");
    }
}

// F06
#[test]
fn criteria_take_flags_files_and_lines_of_one_name() {
    let dir = TempDir::new();
    let list = dir.write("paths", "/in/file\n# a comment\n/also here\n/also\n");
    let (_daemon, _origins, port) = three(&format!(
        " acl listed path -f {list} -- -dash\n acl either path_end .png\n acl either path_end -i .gif\n acl long path,length gt 20\n \
         acl sub req.hdr(x-a) -m sub one\n use_backend a if listed\n use_backend b if either or long\n use_backend b if sub !{{ path /not }}\n default_backend c\n"
    ));
    for (target, fields, name) in [
        ("/in/file", "", "a"),
        ("/also", "", "a"),
        ("/in/file/not", "", "c"),
        ("/x.png", "", "b"),
        ("/x.GIF", "", "b"),
        ("/x.PNG", "", "c"),
        ("/a/rather/long/path/here", "", "b"),
        ("/", "X-A: noone\r\n", "b"),
        ("/not", "X-A: noone\r\n", "c"),
    ] {
        assert_eq!(who(port, target, fields), name, "{target} {fields}");
    }
}

// F07
#[test]
fn the_first_use_backend_that_holds_is_taken() {
    let (_daemon, _origins, port) = three(
        " use_backend a if { path /both } { method GET }\n use_backend b unless { path /c }\n use_backend a\n default_backend c\n",
    );
    assert_eq!(who(port, "/both", ""), "a");
    assert_eq!(who(port, "/else", ""), "b");
    assert_eq!(who(port, "/c", ""), "a", "one without a condition holds");
}

// F17
#[test]
fn host_language_and_browser_choose_the_backend() {
    let (_daemon, _origins, port) = three(
        " use_backend a if { req.hdr(host) -i www.test www.example }\n use_backend b if { hdr_sub(accept-language) de } !{ hdr_reg(user-agent) ^curl/ }\n \
         use_backend %[req.hdr(x-to)] if { req.hdr(x-to) -m found }\n default_backend c\n",
    );
    for (fields, name) in [
        ("X-Host: www.test\r\n", "c"),
        ("Accept-Language: en,de;q=0.5\r\nUser-Agent: x\r\n", "b"),
        ("Accept-Language: de\r\nUser-Agent: curl/7\r\n", "c"),
        ("X-To: b\r\n", "b"),
        ("X-To: nowhere\r\n", "c"),
    ] {
        assert_eq!(who(port, "/", fields), name, "{fields}");
    }
    let mut client = Wire::to(port);
    client.send("GET / HTTP/1.1\r\nHost: WWW.Example\r\n\r\n");
    assert_eq!(client.last_answer("GET").body, "a");
}

// F11
#[test]
fn a_slow_request_is_refused_at_its_time_however_it_trickles() {
    let origin = Origin::named("x");
    let (_daemon, port) = listen(&format!(
        " timeout http-request 600\n server s {}\n",
        origin.addr()
    ));
    let began = Instant::now();
    let mut client = Wire::to(port);
    let trickle = client.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let mut trickle = Wire::new(trickle);
        for byte in b"GET / HTTP/1.1\r\nHost: a-rather-long-name" {
            trickle.send([*byte]);
            std::thread::sleep(Duration::from_millis(40));
        }
    });
    let answer = client.answer("GET").expect("an answer");
    about(600, began.elapsed());
    assert_eq!(answer.status(), 408);
    assert!(client.ended());
    writer.join().unwrap();
    assert!(origin.asked().is_empty());
}

// F12
#[test]
fn probes_of_the_monitor_net_and_of_its_uri_are_answered_here() {
    let origin = Origin::named("x");
    let log = UdpLog::new();
    let (daemon, port) = listen(&format!(
        " log 127.0.0.1:{} local0\n option httplog\n monitor-uri /up\n monitor fail if {{ nbsrv(l) lt 1 }}\n server s {}\n",
        log.port,
        origin.addr()
    ));
    assert_eq!(get(port, "/up", "").status(), 200);
    assert!(origin.asked().is_empty());
    daemon.admin().run("disable server l/s");
    until("it fails with its servers", || {
        get(port, "/up", "").status() == 503
    });
    daemon.admin().run("enable server l/s");
    until("it is back", || get(port, "/up", "").status() == 200);
    assert_eq!(get(port, "/", "").status(), 200);
    log.wait("GET / HTTP");
    assert!(log.with("/up").is_empty(), "probes are not logged");
}

// F12
#[test]
fn requests_from_the_monitor_net_are_answered_without_a_server() {
    if on_haproxy() {
        return;
    }
    let origin = Origin::named("x");
    let (_daemon, port) = listen(&format!(
        " monitor-net 127.9.0.0/16\n server s {}\n",
        origin.addr()
    ));
    let stream = crate::support::client::connect_from("127.9.1.1", port).unwrap();
    assert_eq!(Wire::new(stream).get("/", "").status(), 200);
    assert!(origin.asked().is_empty());
    assert_eq!(who(port, "/", ""), "x");
}

// ---------------------------------------------------------------- balance

// A11
#[test]
fn a_server_of_weight_0_keeps_the_clients_of_its_cookie() {
    let (a, b) = (Origin::named("A"), Origin::named("B"));
    let (_daemon, port) = listen(&format!(
        " cookie S insert indirect\n server a {} cookie A weight 0\n server b {} cookie B\n",
        a.addr(),
        b.addr()
    ));
    for _ in 0..4 {
        assert_eq!(cookie(port, "").body, "B");
        assert_eq!(cookie(port, "S=A").body, "A");
    }
}

/// Names of the servers that `targets` reach, asked one after the other.
fn sequence(balance: &str, requests: impl Iterator<Item = (String, String)>) -> String {
    let servers = ["1", "2", "3"].map(Origin::named);
    let lines = servers.iter().enumerate();
    let lines: String = lines
        .map(|(i, s)| format!(" server s{} {}\n", i + 1, s.addr()))
        .collect();
    let (_daemon, port) = listen(&format!(" balance {balance}\n{lines}"));
    requests
        .map(|(target, fields)| who(port, &target, &fields))
        .collect()
}

// A06, A07, A08, A10: the choices that haproxy was seen to make
#[test]
fn keys_choose_the_servers_they_always_chose() {
    let paths = || (0..10).map(|n| (format!("/u{n}"), String::new()));
    assert_eq!(sequence("uri", paths()), "1231231231");
    assert_eq!(
        sequence("uri\n hash-type consistent", paths()),
        "1212312133"
    );
    let ids = (0..7).map(|n| (format!("/?id={n}"), String::new()));
    assert_eq!(sequence("url_param id", ids), "1231231");
    let names = (0..5).map(|n| ("/".to_owned(), format!("X-Name: h{n}\r\n")));
    assert_eq!(sequence("hdr(x-name)", names), "31231");
    let none = (0..6).map(|n| (format!("/{n}"), String::new()));
    let mut turns: Vec<_> = sequence("hdr(x-name)", none).chars().collect();
    turns.sort_unstable();
    assert_eq!(
        turns.into_iter().collect::<String>(),
        "112233",
        "without a key they take turns"
    );
}

// ---------------------------------------------------------------- servers

// B04: counted by request, in order of arrival
#[test]
fn a_server_of_maxconn_1_works_on_one_request_at_a_time() {
    let busy = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let most = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (now, peak) = (busy.clone(), most.clone());
    let origin = Origin::new(move |_| {
        use std::sync::atomic::Ordering::SeqCst;
        let at_once = now.fetch_add(1, SeqCst) + 1;
        peak.fetch_max(at_once, SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        now.fetch_sub(1, SeqCst);
        ok("", "done")
    });
    let (_daemon, port) = listen(&format!(
        " timeout queue 15s\n server s {} maxconn 1\n",
        origin.addr()
    ));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..12)
            .map(|n| scope.spawn(move || get(port, &format!("/{n}"), "").body))
            .collect();
        assert!(clients.into_iter().all(|c| c.join().unwrap() == "done"));
    });
    assert_eq!(most.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(origin.asked().len(), 12);
}

// B05, B06
#[test]
fn a_request_in_the_queue_for_too_long_gets_503() {
    let origin = Origin::new(|_| Reply::none());
    let (_daemon, port) = listen(&format!(
        " timeout queue 500\n server s {} maxconn 1\n",
        origin.addr()
    ));
    let mut held = Wire::to(port);
    held.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("the server works", || origin.asked().len() == 1);
    let began = Instant::now();
    assert_eq!(get(port, "/", "").status(), 503);
    about(500, began.elapsed());
}

// B08
#[test]
fn a_cookie_finds_the_backup_of_its_server() {
    let names = ["A", "B", "backup of A"].map(Origin::named);
    let lines = format!(
        " cookie SRV insert indirect\n server a {} cookie A\n server b {} cookie B\n server bkp {} cookie A backup\n",
        names[0].addr(),
        names[1].addr(),
        names[2].addr()
    );
    let (daemon, port) = listen(&lines);
    assert_eq!(cookie(port, "SRV=A").body, "A");
    daemon.admin().run("disable server l/a");
    until("the backup takes its clients", || {
        cookie(port, "SRV=A").body == "backup of A"
    });
    for _ in 0..4 {
        assert_eq!(cookie(port, "").body, "B", "new clients go to the others");
    }
}

// B09, B10, P10
#[test]
fn a_cookie_of_a_dead_server_is_given_up_at_the_last_retry() {
    let alive = Origin::named("alive");
    let dead = port();
    let lines = format!(
        " cookie SRV insert indirect\n retries 2\n timeout connect 200\n server dead 127.0.0.1:{dead} cookie D\n server alive {} cookie L\n",
        alive.addr()
    );
    let (_daemon, port) = listen(&lines);
    assert_eq!(cookie(port, "SRV=D").status(), 503, "without redispatch");
    let (_daemon, port) = listen(&format!(" option redispatch\n{lines}"));
    let answer = cookie(port, "SRV=D");
    assert_eq!(answer.body, "alive");
    assert_eq!(answer.get("set-cookie"), Some("SRV=L; path=/"));
}

// B11
#[test]
fn a_server_that_is_down_keeps_its_clients_with_option_persist() {
    for (option, name) in [("", "B"), (" option persist\n", "A")] {
        let (a, b) = (Origin::named("A"), Origin::named("B"));
        let check = port();
        let (daemon, port) = listen(&format!(
            "{option} cookie SRV insert indirect\n server a {} cookie A check port {check} inter 50 fall 1\n server b {} cookie B\n",
            a.addr(),
            b.addr()
        ));
        daemon.admin().wait_status("l", "a", "DOWN");
        assert_eq!(cookie(port, "SRV=A").body, name, "{option}");
        assert_eq!(cookie(port, "").body, "B", "{option}");
    }
}

// B12, B13
#[test]
fn servers_that_do_not_answer_in_time_are_503_and_504() {
    let hole = crate::support::server::BlackHole::new();
    let (_daemon, port) = listen(&format!(
        " timeout connect 300\n retries 0\n server s 127.0.0.1:{}\n",
        hole.port
    ));
    let began = Instant::now();
    assert_eq!(get(port, "/", "").status(), 503);
    about(300, began.elapsed());
    let silent = Server::silent();
    let (_daemon, port) = listen(&format!(
        " timeout server 400\n server s {}\n",
        silent.addr()
    ));
    let began = Instant::now();
    assert_eq!(get(port, "/", "").status(), 504);
    about(400, began.elapsed());
}

// B15
#[test]
fn requests_are_dispatched_to_an_address_alone() {
    let (origin, port) = (Origin::named("there"), port());
    let _daemon = Daemon::start(&format!(
        "defaults\n mode http\n timeout connect 2s\n timeout client 5s\n timeout server 5s\nlisten l\n \
         bind 127.0.0.1:{port}\n dispatch {}\n",
        origin.addr()
    ));
    assert_eq!(who(port, "/", ""), "there");
}

// ---------------------------------------------------------------- connections and headers

// P01
#[test]
fn requests_of_one_connection_are_routed_each_on_its_own() {
    let (_daemon, origins, port) =
        three(" use_backend a if { path /a }\n use_backend b if { path /b }\n default_backend c\n");
    let mut client = Wire::to(port);
    for (target, name) in [
        ("/a", "a"),
        ("/b", "b"),
        ("/", "c"),
        ("/a", "a"),
        ("/a", "a"),
    ] {
        assert_eq!(client.get(target, "").body, name);
    }
    assert_eq!(
        origins[0].server.seen.accepted(),
        1,
        "its connection is used again"
    );
    // Several at once, in one piece, are answered in their order.
    client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    let names: Vec<_> = (0..3).map(|_| client.last_answer("GET").body).collect();
    assert_eq!(names, ["b", "a", "c"]);
    assert!(client.ended());
}

// P02
#[test]
fn with_httpclose_both_sides_close_after_one_response() {
    let origin = Origin::named("x");
    let (_daemon, port) = listen(&format!(" option httpclose\n server s {}\n", origin.addr()));
    let mut client = Wire::to(port);
    let answer = client.get("/", "");
    assert_eq!(answer.get("connection"), Some("close"));
    assert!(client.ended());
    assert_eq!(origin.last().get("connection"), Some("close"));
}

// P03, P04, P05
#[test]
fn servers_are_told_whom_the_request_is_from_and_where_it_went() {
    let origin = Origin::named("x");
    let (_daemon, port) = listen(&format!(
        " option forwardfor except 127.9.0.0/16\n option originalto\n server s {}\n",
        origin.addr()
    ));
    get(port, "/", "X-Forwarded-For: 10.1.2.3\r\n");
    let seen = origin.last();
    assert_eq!(seen.all("x-forwarded-for"), ["10.1.2.3", "127.0.0.1"]);
    assert_eq!(seen.all("x-original-to"), ["127.0.0.1"]);
    let stream = crate::support::client::connect_from("127.9.1.1", port).unwrap();
    Wire::new(stream).get("/", "");
    assert!(origin.last().all("x-forwarded-for").is_empty());
}

// ---------------------------------------------------------------- cookies

/// `A`, `B`, `C` with cookies of their names behind a proxy with this `cookie` line.
fn with_cookies(cookie: &str, answer: fn(&Message, &str) -> String) -> (Daemon, Vec<Origin>, u16) {
    let origins: Vec<_> = ["A", "B", "C"]
        .map(|name| Origin::new(move |asked| answer(asked, name)))
        .into();
    let lines: String = ["A", "B", "C"]
        .iter()
        .zip(&origins)
        .map(|(name, origin)| format!(" server {name} {} cookie {name}\n", origin.addr()))
        .collect();
    let (daemon, port) = listen(&format!(" {cookie}\n option redispatch\n{lines}"));
    (daemon, origins, port)
}

fn plain(_: &Message, name: &str) -> String {
    ok("", name)
}

// P06, P07, P09, P13
#[test]
fn an_inserted_cookie_brings_its_client_back_and_is_kept_from_the_server() {
    let (_daemon, origins, port) = with_cookies("cookie SERVERID insert indirect", plain);
    for name in ["A", "B", "C"] {
        let first = cookie(port, "");
        assert_eq!(first.body, name);
        let expected = format!("SERVERID={name}; path=/");
        assert_eq!(first.all("set-cookie"), [expected.as_str()]);
    }
    origins[2].drain();
    for _ in 0..3 {
        let again = cookie(port, "foo=bar; SERVERID=C; x=y");
        assert_eq!(again.body, "C");
        assert!(again.all("set-cookie").is_empty());
        assert_eq!(origins[2].last().all("cookie"), ["foo=bar; x=y"]);
    }
    cookie(port, "SERVERID=C");
    assert!(origins[2].last().all("cookie").is_empty());
    // A value of nobody's: balanced, and a new one.
    let unknown = cookie(port, "SERVERID=ZZ");
    assert_eq!(unknown.all("set-cookie").len(), 1);
}

// P08
#[test]
fn an_inserted_cookie_makes_a_cacheable_answer_private() {
    let (_daemon, _origins, port) = with_cookies(
        "cookie S insert indirect nocache",
        |asked, name| match asked.target() {
            "/fresh" => ok("Cache-Control: max-age=60\r\n", name),
            _ => ok("", name),
        },
    );
    let fresh = get(port, "/fresh", "");
    assert_eq!(fresh.all("cache-control"), ["max-age=60", "private"]);
    let fresh = get(port, "/fresh", "Cookie: S=A\r\n");
    assert_eq!(
        fresh.all("cache-control"),
        ["max-age=60"],
        "nothing inserted, nothing said"
    );
    assert!(get(port, "/", "").all("cache-control").is_empty());
}

// P11
#[test]
fn a_prefixed_cookie_is_the_applications_with_a_name_before_it() {
    let (_daemon, origins, port) = with_cookies("cookie JSESSIONID prefix", |asked, name| {
        match asked.target() {
            "/set" => ok("Set-Cookie: JSESSIONID=123; Path=/app; HttpOnly\r\n", name),
            _ => ok("", name),
        }
    });
    let set = get(port, "/set", "");
    let expected = format!("JSESSIONID={}~123; Path=/app; HttpOnly", set.body);
    assert_eq!(set.all("set-cookie"), [expected.as_str()]);
    let back = get(port, "/", "Cookie: JSESSIONID=B~123; other=B~1\r\n");
    assert_eq!(back.body, "B");
    assert_eq!(
        origins[1].last().all("cookie"),
        ["JSESSIONID=123; other=B~1"]
    );
}

// P12
#[test]
fn a_rewritten_cookie_has_the_servers_name_for_its_value() {
    let (_daemon, _origins, port) =
        with_cookies("cookie SRV rewrite", |asked, name| match asked.target() {
            "/set" => ok("Set-Cookie: SRV=x; Path=/\r\nSet-Cookie: OTHER=x\r\n", name),
            _ => ok("", name),
        });
    let set = get(port, "/set", "");
    let expected = format!("SRV={}; Path=/", set.body);
    assert_eq!(set.all("set-cookie"), [expected.as_str(), "OTHER=x"]);
    assert!(
        get(port, "/", "").all("set-cookie").is_empty(),
        "none where the server sets none"
    );
    assert_eq!(get(port, "/", "Cookie: SRV=C\r\n").body, "C");
}

// P13, P14
#[test]
fn a_cookie_counts_more_than_the_algorithm_and_others_pass_untouched() {
    let (_daemon, origins, port) =
        with_cookies("balance source\n cookie S insert indirect", |_, name| {
            ok("Set-Cookie: app=1;  Path=/ ;weird\r\n", name)
        });
    let own = cookie(port, "").body;
    assert_eq!(cookie(port, "").body, own, "one source, one server");
    for name in ["A", "B", "C"] {
        let answer = cookie(port, &format!("S={name}"));
        assert_eq!(answer.body, name);
        assert_eq!(answer.all("set-cookie"), ["app=1;  Path=/ ;weird"]);
    }
    cookie(port, "a=1;  b=2 ;c");
    let seen: Vec<_> = origins.iter().flat_map(|o| o.asked()).collect();
    assert!(seen.iter().any(|r| r.all("cookie") == ["a=1;  b=2 ;c"]));
}

// P10
#[test]
fn clients_of_a_server_that_goes_down_get_another_and_its_cookie() {
    let (daemon, _origins, port) = with_cookies("cookie S insert indirect", plain);
    assert_eq!(cookie(port, "S=B").body, "B");
    daemon.admin().run("disable server l/B");
    until("B is out", || cookie(port, "S=B").body != "B");
    let moved = cookie(port, "S=B");
    let expected = format!("S={}; path=/", moved.body);
    assert_eq!(moved.all("set-cookie"), [expected.as_str()]);
}

// ---------------------------------------------------------------- rules

// P15
#[test]
fn requests_are_allowed_denied_asked_for_a_password_and_edited() {
    let origin = Origin::named("x");
    let (_daemon, port) = listen(&format!(
        " http-request allow if {{ path /first }}\n http-request deny if {{ path_beg /deny /first }}\n http-request auth realm Mine if {{ path /auth }}\n \
         http-request add-header X-Added one\n http-request set-header X-Set %[src]\n http-request del-header X-Gone\n \
         http-request replace-header User-Agent (.*)/(.*) \\2-\\1\n http-request replace-value X-List ^b c\n server s {}\n",
        origin.addr()
    ));
    assert_eq!(get(port, "/deny", "").status(), 403);
    assert_eq!(get(port, "/first", "").status(), 200);
    let asked = get(port, "/auth", "");
    assert_eq!(asked.status(), 401);
    assert_eq!(asked.get("www-authenticate"), Some("Basic realm=\"Mine\""));
    get(
        port,
        "/",
        "X-Added: zero\r\nX-Set: a\r\nX-Set: b\r\nX-Gone: 1\r\nUser-Agent: curl/7\r\nX-List: a, b, bb\r\n",
    );
    let seen = origin.last();
    assert_eq!(seen.all("x-added"), ["zero", "one"]);
    assert_eq!(seen.all("x-set"), ["127.0.0.1"]);
    assert!(seen.all("x-gone").is_empty());
    assert_eq!(seen.all("user-agent"), ["7-curl"]);
    assert_eq!(seen.all("x-list"), ["a,c,c"]);
}

// P16
#[test]
fn responses_are_edited_on_their_way() {
    let origin = Origin::new(|_| ok("Server: secret\r\nX-Old: 1\r\n", "x"));
    let (_daemon, port) = listen(&format!(
        " http-response del-header Server\n http-response set-header X-Via %[srv_name]\n http-response add-header X-Old 2\n \
         http-response set-status 418 if {{ res.hdr(x-old) 1 }}\n http-after-response set-header X-After all\n \
         http-request return status 200 if {{ path /own }}\n server s {}\n",
        origin.addr()
    ));
    let answer = get(port, "/", "");
    assert_eq!(answer.status(), 418);
    assert!(answer.all("server").is_empty());
    assert_eq!(answer.all("x-via"), ["s"]);
    assert_eq!(answer.all("x-old"), ["1", "2"]);
    assert_eq!(answer.all("x-after"), ["all"]);
    assert_eq!(
        get(port, "/own", "").all("x-after"),
        ["all"],
        "answers of ours too"
    );
}

// P17
#[test]
fn paths_are_rewritten_and_clients_sent_elsewhere() {
    let origin = Origin::named("x");
    let (_daemon, port) = listen(&format!(
        " http-request set-path /new%[path] if {{ path_beg /old }}\n http-request replace-path ^/v1/(.*) /v2/\\1\n http-request set-query a=%[path,length] if {{ path /q }}\n \
         redirect location /there code 303 if {{ path /loc }}\n redirect prefix http://other.test if {{ path_beg /pre }}\n redirect scheme https if {{ path /sec }}\n server s {}\n",
        origin.addr()
    ));
    for (target, seen) in [
        ("/old/x?y=1", "/new/old/x?y=1"),
        ("/v1/a?b", "/v2/a?b"),
        ("/q?z", "/q?a=2"),
    ] {
        get(port, target, "");
        assert_eq!(origin.last().target(), seen);
    }
    for (target, status, to) in [
        ("/loc", 303, "/there"),
        ("/pre/x?y", 302, "http://other.test/pre/x?y"),
        ("/sec?z", 302, "https://h/sec?z"),
    ] {
        let answer = get(port, target, "");
        assert_eq!(
            (answer.status(), answer.get("location")),
            (status, Some(to)),
            "{target}"
        );
    }
}

// P20
#[test]
fn a_site_that_fails_hands_its_clients_over_and_they_stay() {
    let sites = ["one", "two"].map(Origin::named);
    let checks = [Server::echo(), Server::echo()];
    let mut checks = checks;
    let (daemon, port) = listen(&format!(
        " option redispatch\n cookie SITE insert indirect\n server s1 {} cookie SITE1 check port {} inter 50 fall 1 rise 1\n \
         server s2 {} cookie SITE2 check port {} inter 50 fall 1 rise 1 backup\n",
        sites[0].addr(),
        checks[0].port,
        sites[1].addr(),
        checks[1].port
    ));
    let admin = daemon.admin();
    until("the checks run", || {
        admin.cell("l", "s1", "check_status").starts_with("L4OK")
    });
    let first = cookie(port, "");
    assert_eq!(first.get("set-cookie"), Some("SITE=SITE1; path=/"));
    checks[0].stop();
    admin.wait_status("l", "s1", "DOWN");
    let moved = cookie(port, "SITE=SITE1");
    assert_eq!(moved.get("set-cookie"), Some("SITE=SITE2; path=/"));
    checks[0].start();
    admin.wait_status("l", "s1", "UP");
    let stays = cookie(port, "SITE=SITE2");
    assert_eq!(
        stays.body, "two",
        "its cookie holds although the first site is back"
    );
    assert_eq!(cookie(port, "").body, "one");
}

// ---------------------------------------------------------------- bodies

/// A body that a client does not go on with is given up at the client's time.
#[test]
fn a_body_that_stays_away_is_408() {
    if on_haproxy() {
        // 2.6 waits for the server's timeout.
        return;
    }
    let origin = Origin::named("x");
    let (_daemon, port) = listen(&format!(
        " timeout client 400\n server s {}\n",
        origin.addr()
    ));
    let began = Instant::now();
    let mut client = Wire::to(port);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(client.last_answer("POST").status(), 408);
    about(400, began.elapsed());
    assert!(client.ended());
}

#[test]
fn bodies_come_whole_both_ways_in_every_framing() {
    let origin = Origin::new(|asked| {
        let body = &asked.body;
        let chunk = match body.len() {
            0 => String::new(),
            n => format!("{n:x}\r\n{body}\r\n"),
        };
        match asked.target() {
            "/chunked" => Reply::from(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\nX-T: 1\r\n\r\n"
            )),
            "/close" => Reply::from(format!("HTTP/1.1 200 OK\r\n\r\n{body}")),
            _ => Reply::from(ok("", body)),
        }
    });
    let (_daemon, port) = listen(&format!(" server s {}\n", origin.addr()));
    for size in [0, 1, 1000, 16_384, 70_000, 1_500_000] {
        let body: String = (0..size)
            .map(|n| char::from(b'a' + (n * 7 % 26) as u8))
            .collect();
        for target in ["/length", "/chunked", "/close"] {
            let mut client = Wire::to(port);
            client.send(format!(
                "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n{body}"
            ));
            let answer = client.last_answer("POST");
            assert!(
                answer.body.trim_end_matches("\nx-t: 1") == body,
                "{target} {size}"
            );
            if target == "/close" {
                continue;
            }
            let chunks: Vec<_> = body.as_bytes().chunks(7_000).collect();
            client.send(format!(
                "POST {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            ));
            for chunk in chunks {
                client.send(format!("{:x};ext=1\r\n", chunk.len()));
                client.send(chunk);
                client.send("\r\n");
            }
            client.send("0\r\n\r\n");
            let answer = client.last_answer("POST");
            assert!(
                answer.body.trim_end_matches("\nx-t: 1") == body,
                "{target} {size} in chunks"
            );
        }
    }
}

/// The connection of a client that says nothing between two requests ends at its time.
#[test]
fn an_idle_connection_ends_at_its_keep_alive_time() {
    let origin = Origin::named("x");
    let (_daemon, port) = listen(&format!(
        " timeout http-keep-alive 300\n server s {}\n",
        origin.addr()
    ));
    let mut client = Wire::to(port);
    client.get("/", "");
    let (_, took) = closed_within(LATE * 3, &mut client.stream);
    assert!(
        took >= Duration::from_millis(250) && took < LATE + Duration::from_millis(300),
        "{took:?}"
    );
    drop(connect(port));
}
