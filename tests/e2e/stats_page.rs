//! The statistics page: where it is, who may see it, and what it tells.

use std::io::{Read, Write};

use crate::support::{Daemon, Server, USUAL, connect, on_haproxy, port};

/// Sends a request that ends its connection, and reads all that comes. The sending side stays open: a client that
/// closes it may be taken for gone.
fn ask(port: u16, request: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A `listen` section in HTTP mode with these lines and a checked server, and its port.
fn page(lines: &str) -> (Daemon, Server, u16) {
    let server = Server::http(|_, _| (200, "hello".to_owned()));
    let port = port();
    let daemon = Daemon::start(&format!(
        "{USUAL} mode http\n timeout http-request 5s\nlisten web\n bind 127.0.0.1:{port}\n{lines} server s {}\n",
        server.addr()
    ));
    (daemon, server, port)
}

fn get_with(port: u16, target: &str, fields: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    ask(port, &request)
}

fn get(port: u16, target: &str) -> String {
    get_with(port, target, "")
}

fn has_field(answer: &str, field: &str) -> bool {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().any(|line| line.eq_ignore_ascii_case(field))
}

// L08
#[test]
fn the_page_is_where_its_uri_says_and_other_paths_go_to_the_server() {
    for (lines, uri) in [
        (" stats enable\n", "/haproxy?stats"),
        (" stats uri /stats\n", "/stats"),
        (" stats enable\n stats uri /a?b\n", "/a?b"),
    ] {
        let (_daemon, _server, port) = page(lines);
        for target in [uri.to_owned(), format!("{uri};norefresh")] {
            let answer = get(port, &target);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(has_field(&answer, "content-type: text/html"), "{answer}");
            assert!(answer.contains("Statistics Report for pid "), "{target}");
        }
        for target in ["/", "/Stats", "/haproxy"] {
            assert!(get(port, target).ends_with("hello"), "{target}");
        }
        let other = format!("OPTIONS {uri} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(ask(port, &other).ends_with("hello"), "{uri}");
    }
}

// L08
#[test]
fn a_frontend_and_its_backend_may_have_a_page_each() {
    let port = port();
    let _daemon = Daemon::start(&format!(
        "{USUAL} mode http\nfrontend f\n bind 127.0.0.1:{port}\n stats uri /front\n stats scope f\n \
         default_backend b\nbackend b\n stats uri /back\n stats scope .\n"
    ));
    let shown = |target: &str, name: &str| get(port, target).contains(&format!("\n{name},"));
    assert!(shown("/front;csv", "f") && !shown("/front;csv", "b"));
    assert!(shown("/back;csv", "b") && !shown("/back;csv", "f"));
}

// L09
#[test]
fn each_of_two_users_gets_in_and_others_are_asked_for_a_password() {
    let (_daemon, _server, port) = page(
        " stats uri /\n stats realm Strictly\\ Private\n stats auth A_Username:YourPassword\n \
         stats auth Another_User:passwd\n",
    );
    let status = |basic: &str| {
        let answer = get_with(port, "/", &format!("Authorization: Basic {basic}\r\n"));
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("QV9Vc2VybmFtZTpZb3VyUGFzc3dvcmQ="), "200");
    assert_eq!(status("QW5vdGhlcl9Vc2VyOnBhc3N3ZA=="), "200");
    // Another_User:bad
    assert_eq!(status("QW5vdGhlcl9Vc2VyOmJhZA=="), "401");
    let asked = get(port, "/");
    assert!(
        asked.starts_with("HTTP/1.1 401 Unauthorized\r\n"),
        "{asked}"
    );
    assert!(
        has_field(&asked, "www-authenticate: Basic realm=\"Strictly Private\""),
        "{asked}"
    );
}

// L10
#[test]
fn a_browser_is_told_to_come_again_unless_it_asks_not_to_be() {
    let (_daemon, _server, port) = page(" stats uri /stats\n stats refresh 30s\n");
    for (target, refreshed) in [
        ("/stats", true),
        ("/stats;csv", true),
        ("/stats;norefresh", false),
        ("/stats;json;norefresh", false),
    ] {
        assert_eq!(
            has_field(&get(port, target), "refresh: 30"),
            refreshed,
            "{target}"
        );
    }
    let page = get(port, "/stats");
    for link in [
        "/stats;norefresh",
        "/stats;csv;norefresh",
        "/stats;json;norefresh",
    ] {
        assert!(page.contains(&format!("<a href=\"{link}\">")), "{link}");
    }
}

// L11
#[test]
fn the_version_is_told_only_where_it_is_asked_for() {
    let told = |lines: &str| {
        let (_daemon, _server, port) = page(lines);
        get(port, "/haproxy?stats").contains("version ")
    };
    assert!(!told(" stats enable\n stats hide-version\n"));
    if !on_haproxy() {
        // Since 3.4 it is hidden unless it is asked for.
        assert!(!told(" stats enable\n"));
        assert!(told(" stats show-version\n"));
    }
}

// L12
#[test]
fn the_forms_of_the_page_tell_what_the_admin_socket_tells() {
    let (daemon, _server, port) =
        page(" stats uri /stats\n stats show-legends\n option socket-stats\n");
    for target in ["/", "/missing"] {
        get(port, target);
    }
    let body = |target: &str| {
        let answer = get(port, target);
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let old = ask(port, "GET /stats;csv HTTP/1.0\r\n\r\n");
    let csv = old.split_once("\r\n\r\n").unwrap().1;
    let header = csv.lines().find(|line| line.starts_with("# ")).unwrap();
    assert!(header.starts_with("# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,"));
    let column = header[2..]
        .split(',')
        .position(|name| name == "stot")
        .unwrap();
    let of = |row: &str| {
        let line = csv.lines().find(|line| line.starts_with(row)).unwrap();
        line.split(',').nth(column).unwrap().to_owned()
    };
    assert_eq!(of("web,s,"), daemon.admin().cell("web", "s", "stot"));
    assert!(body("/stats;json").contains("\"objType\":\"Server\""));
    assert!(body("/stats;typed").contains(".pxname.1:KNS"));
    let page = body("/stats");
    for anchor in [
        "#web",
        "#web/Frontend",
        "#web/+sock-1",
        "#web/s",
        "#web/Backend",
    ] {
        assert!(page.contains(&format!("href=\"{anchor}\"")), "{anchor}");
    }
}

/// A page of far more than one buffer comes whole, to a client of HTTP/1.0 too.
#[test]
fn a_long_page_comes_whole() {
    let servers: String = (0..2000)
        .map(|n| format!(" server s{n} 127.0.0.1:1\n"))
        .collect();
    let port = port();
    let _daemon = Daemon::start(&format!(
        "{USUAL} mode http\nlisten web\n bind 127.0.0.1:{port}\n stats uri /stats\n{servers}"
    ));
    let old = ask(port, "GET /stats HTTP/1.0\r\n\r\n");
    assert!(old.contains("</html>"));
    assert_eq!(old.matches("href=\"#web/s").count(), 2000);
    assert!(get(port, "/stats;json").contains("\"s1999\""));
    assert!(get(port, "/stats;csv").contains("\nweb,s1999,"));
}

fn post(port: u16, target: &str, form: &str) -> String {
    let length = form.len();
    ask(
        port,
        &format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{form}"
        ),
    )
}

#[test]
fn an_administrator_acts_on_servers_and_is_led_back_to_the_page() {
    let (daemon, _server, port) = page(" stats uri /stats\n stats admin if { src 127.0.0.1 }\n");
    let form = get(port, "/stats");
    assert!(
        form.contains("name=\"s\"") || form.contains("name=s"),
        "{form}"
    );
    for (action, status) in [
        ("maint", "MAINT"),
        ("ready", "no check"),
        ("drain", "DRAIN"),
    ] {
        let answer = post(port, "/stats;up", &format!("s=s&action={action}&b=web"));
        assert!(answer.starts_with("HTTP/1.1 303 See Other\r\n"), "{answer}");
        assert!(
            has_field(&answer, "location: /stats;st=DONE;up"),
            "{answer}"
        );
        assert_eq!(daemon.admin().cell("web", "s", "status"), status);
    }
    let told = get(port, "/stats;st=DONE;up");
    assert!(told.contains("Action processed successfully."), "{told}");
    for (form, outcome) in [
        ("s=s&s=nosuch&action=ready&b=web", "PART"),
        ("s=nosuch&action=ready&b=web", "ERRP"),
        ("s=s&action=nosuch&b=web", "ERRP"),
        ("s=s&b=web", "NONE"),
    ] {
        let answer = post(port, "/stats", form);
        assert!(
            has_field(&answer, &format!("location: /stats;st={outcome}")),
            "{form}: {answer}"
        );
    }
    let long = format!("s=s&action=maint&b=web&x={}", "y".repeat(16_000));
    assert!(has_field(
        &post(port, "/stats", &long),
        "location: /stats;st=EXCD"
    ));
    assert_eq!(daemon.admin().cell("web", "s", "status"), "no check");
}

#[test]
fn others_are_denied_and_nothing_changes() {
    for lines in [
        " stats uri /stats\n",
        " stats uri /stats\n stats admin unless { src 127.0.0.1 }\n",
    ] {
        let (daemon, _server, port) = page(lines);
        let answer = post(port, "/stats", "s=s&action=maint&b=web");
        assert!(has_field(&answer, "location: /stats;st=DENY"), "{answer}");
        assert_eq!(daemon.admin().cell("web", "s", "status"), "no check");
        assert!(!get(port, "/stats").contains("method=\"post\""));
    }
}

#[test]
fn rules_of_the_page_decide_who_sees_it() {
    let (_daemon, _server, port) = page(
        " stats uri /stats\n acl inside src 127.0.0.1\n acl key req.hdr(x-key) open\n \
         stats http-request deny unless inside\n stats http-request auth realm Page unless key\n",
    );
    let asked = get(port, "/stats");
    assert!(
        has_field(&asked, "www-authenticate: Basic realm=\"Page\""),
        "{asked}"
    );
    let seen = get_with(port, "/stats", "X-Key: open\r\n");
    assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
    let (_daemon, _server, port) = page(" stats uri /stats\n stats http-request deny\n");
    assert!(get(port, "/stats").starts_with("HTTP/1.1 403 "));
    assert!(get(port, "/").ends_with("hello"));
}
