//! Answers of the balancer's own and the headers it adds for servers, byte for byte.

use std::io::{Read, Write};
use std::time::Duration;

use super::{Side, same};
use crate::support::client::read_piece;
use crate::support::{Server, TempDir, connect, port};

/// All that comes back within the time a page needs; then the sending side is closed.
fn answer(port: u16, request: &str) -> String {
    let mut stream = connect(port);
    stream
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    let end = loop {
        match stream.read(&mut piece) {
            Ok(0) => break "closed",
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(_) => break "open",
        }
    };
    format!("{} ({end})", String::from_utf8_lossy(&all))
}

const HTTP: &str = " mode http\n timeout connect 300\n retries 0\n timeout http-request 300\n";

/// Requests that end in pages, whole and not, in all versions.
const REQUESTS: [&str; 12] = [
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "POST http://x/up HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "GET /up HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / HTTP\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "GET / HT",
    "",
];

/// Answers to all of these requests by a section with these lines that leads nowhere.
fn answers(lines: &str, before: &str) {
    same(|side: &Side| {
        let body = format!(" monitor-uri /up\n{lines}{before}");
        let _daemon = side.start(HTTP, &body);
        REQUESTS
            .iter()
            .map(|request| format!("{request:?}: {}", answer(side.front, request)))
            .collect()
    });
}

#[test]
fn without_pages_of_its_own() {
    answers("", "");
}

#[test]
fn with_a_server_that_is_not_there() {
    answers(" server s 127.0.0.1:1\n", "");
}

#[test]
fn with_redirects_in_place_of_pages() {
    answers(
        " errorloc 503 /sorry?a=b\n errorloc303 200 http://www/up\n errorloc 400 /bad\n",
        "",
    );
}

#[test]
fn with_files_in_place_of_pages() {
    let folder = TempDir::new();
    let old = folder.write(
        "old.http",
        "HTTP/1.0 503 Svc Unav\r\nCache-Control: no-cache\r\nConnection: close\r\n\
         Content-Type: text/html\r\nX-Foo: Bar\r\n\r\n<html>sorry</html>\n",
    );
    let new = folder.write(
        "new.http",
        "HTTP/1.1 404 Yes\nA: b\nA: c\nContent-Length: 4\n\nbody",
    );
    answers(
        &format!(" errorfile 503 {old}\n errorfile 400 {old}\n errorfile 200 {new}\n"),
        "",
    );
    answers(
        &format!(" errorfile 503 {new}\n errorfile 408 {old}\n errorfile 200 {old}\n"),
        "",
    );
    let group = format!("http-errors group\n errorfile 503 {new}\n errorfile 200 {old}\n");
    answers(
        &format!(" errorfile 503 {old}\n errorfiles group 503\n"),
        &group,
    );
}

#[test]
fn with_empty_files_in_place_of_pages() {
    answers(
        " errorfile 503 /dev/null\n errorfile 400 /dev/null\n errorfile 408 /dev/null\n",
        "",
    );
    answers(" errorfile 200 /dev/null\n option http-ignore-probes\n", "");
}

#[test]
fn with_answers_made_for_each_request() {
    let made = " http-error status 503 content-type text/plain lf-string \"%[src] %[path] %[req.hdr(host)]\" \
                hdr X-A b%[src] hdr X-Empty %[req.hdr(nope)] hdr X-A %[method]\n";
    answers(made, "");
    let empty = " http-error status 503 hdr a b\n http-error status 200\n http-error status 400\n";
    answers(empty, "");
    let folder = TempDir::new();
    let file = folder.write("page.http", "HTTP/1.1 404 Yes\nContent-Length: 4\n\nbody");
    let text = folder.write("text", "HTTP/1.1 404 Yes\n");
    let group = format!("http-errors group\n errorfile 200 {file}\n");
    answers(
        " errorloc 503 /a\n http-error status 503 default-errorfiles\n \
             http-error status 200 errorfiles group\n",
        &group,
    );
    answers(
        &format!(
            " http-error status 200 content-type a/b file {text}\n http-error status 503 errorfile {file}\n"
        ),
        "",
    );
}

#[test]
fn a_page_of_the_backend_counts_first() {
    same(|side: &Side| {
        let body = " errorloc 503 /front\n errorloc 502 /front\n default_backend b\n\
                    backend b\n errorloc 503 /back\n server s 127.0.0.1:1\n";
        let _daemon = side.start(HTTP, body);
        let close = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        vec![answer(side.front, close)]
    });
}

/// The heads that a server gets through a frontend and a backend with these lines.
fn heads(front: &str, back: &str) {
    same(|side: &Side| {
        let server = Server::new(|mut stream, _| {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                match read_piece(&mut stream) {
                    Ok(piece) if !piece.is_empty() => head += &piece,
                    _ => return,
                }
            }
            let length = head.len();
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
            let _ = stream.write_all(text.as_bytes());
        });
        let body = format!(
            "{front} default_backend b\nbackend b\n{back} server one {}\n",
            server.addr()
        );
        let _daemon = side.start(HTTP, &body);
        [
            "",
            "X-Forwarded-For: 9.9.9.9\r\nA: 1\r\nX_odd: 2\r\nX-Original-To: 8.8.8.8\r\n",
        ]
        .iter()
        .map(|fields| {
            let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
            answer(side.front, &request)
        })
        .collect()
    });
}

#[test]
fn headers_that_name_addresses() {
    for (front, back) in [
        (" option forwardfor\n", ""),
        (" option forwardfor header A\n", " option forwardfor\n"),
        (
            " option forwardfor if-none\n",
            " option forwardfor if-none\n",
        ),
        (
            " option forwardfor except 127.0.0.1\n",
            " option forwardfor\n",
        ),
        (
            " option originalto\n option forwardfor\n",
            " option originalto header A\n",
        ),
        (
            " option originalto\n",
            " option originalto except 127.0.0.0/8\n",
        ),
        ("", " option forwardfor\n http-send-name-header A\n"),
    ] {
        heads(front, back);
    }
}

#[test]
fn connection_modes_of_both_sides() {
    const MODES: [&str; 4] = [
        "",
        " option http-keep-alive\n",
        " option http-server-close\n",
        " option httpclose\n",
    ];
    for front in MODES {
        for back in [
            MODES[0],
            MODES[2],
            MODES[3],
            " option httpclose\n option http-pretend-keepalive\n",
        ] {
            heads(front, back);
        }
    }
}

#[test]
fn names_of_headers_that_are_restricted() {
    for policy in ["preserve", "delete", "reject"] {
        heads(
            &format!(" option http-restrict-req-hdr-names {policy}\n"),
            "",
        );
        heads(
            "",
            &format!(" option http-restrict-req-hdr-names {policy}\n"),
        );
    }
}

/// Rules that answer, each in a frontend of its own, and what a client gets from it.
fn answers_of_rules(rules: &[&str], before: &str) {
    same(|side: &Side| {
        let ports: Vec<u16> = rules.iter().map(|_| port()).collect();
        let sections = rules
            .iter()
            .zip(&ports)
            .enumerate()
            .map(|(n, (rule, port))| {
                format!("frontend f{n}\n bind 127.0.0.1:{port}\n http-request {rule}\n")
            });
        let body = sections.collect::<String>() + before;
        let _daemon = side.start(HTTP, &body);
        let requests = [
            "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HEAD http://x/a?b HTTP/1.1\r\nHost: x\r\n\r\n",
        ];
        let asked = rules.iter().zip(&ports).flat_map(|(rule, port)| {
            requests.map(|request| format!("{rule}: {}", answer(*port, request)))
        });
        asked.collect()
    });
}

#[test]
fn denials_and_replies_of_rules() {
    answers_of_rules(
        &[
            "deny",
            "deny deny_status 429",
            "deny status 404",
            "deny status 599 hdr a b",
            "deny hdr a b",
            "deny content-type a/b string x",
            "deny default-errorfiles hdr a b",
            "return",
            "return status 204",
            "return status 304 hdr a b",
            "return status 299 hdr a b hdr a %[path] hdr c %[req.hdr(nope)] hdr Content-Length 7",
            "return content-type a/b lf-string \"%[method] %[path]\"",
            "return status 404 default-errorfiles",
            "return status 503 errorfiles group",
            "tarpit",
            "tarpit hdr a b",
            "auth",
            "auth realm \"a b %[path]\"",
        ],
        "http-errors group\n errorfile 503 /etc/haproxy/errors/503.http\n",
    );
}

/// The hashes are crypt(3)'s. A user without a password is left out: haproxy 2.6 dies of a request in its name.
#[test]
fn passwords_of_every_kind() {
    same(|side: &Side| {
        let body = " http-request auth realm R unless { http_auth(people) }\n \
                    http-request return status 200 hdr x-user %[http_auth_user] \
                    hdr x-admin %[http_auth_group(people)] if { http_auth_group(people) admins }\n \
                    http-request return status 200 hdr x-user %[http_auth_user]\n\
                    userlist people\n group admins users des,yes\n\
                    user plain insecure-password secret\n\
                    user des password abNANd1rDfiNc\n\
                    user md5 password $1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n\
                    user sha5 password $5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\n\
                    user yes password $y$j9T$LdJMENpBABJJ3hIHjB1Bi.$hLaZXcKh6m7JYeftf3YBX9tUkp4CF5Pqe06e1mb9bt8\n";
        let _daemon = side.start(HTTP, body);
        [
            "",
            "Authorization: Basic\r\n",
            "Authorization: Basic !!!\r\n",
            "Authorization: Bearer x\r\n",
            // plain:secret, plain:wrong, basic in lower case
            "Authorization: Basic cGxhaW46c2VjcmV0\r\n",
            "Authorization: Basic cGxhaW46d3Jvbmc=\r\n",
            "Authorization: basic cGxhaW46c2VjcmV0\r\n",
            // des:secret, des:wrong
            "Authorization: Basic ZGVzOnNlY3JldA==\r\n",
            "Authorization: Basic ZGVzOndyb25n\r\n",
            // md5:secret
            "Authorization: Basic bWQ1OnNlY3JldA==\r\n",
            // sha5:Hello world!
            "Authorization: Basic c2hhNTpIZWxsbyB3b3JsZCE=\r\n",
            // yes:secret
            "Authorization: Basic eWVzOnNlY3JldA==\r\n",
            // nobody:secret
            "Authorization: Basic bm9ib2R5OnNlY3JldA==\r\n",
        ]
        .iter()
        .map(|field| {
            let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{field}Connection: close\r\n\r\n");
            format!("{field:?}: {}", answer(side.front, &request))
        })
        .collect()
    });
}

/// Verifying these takes long, so whatever asks waits for it; each request brings words not seen before it.
#[test]
fn a_slow_password_decides_wherever_it_is_asked_for() {
    same(|side: &Side| {
        let body = " monitor-uri /mon\n monitor fail if { http_auth(people) }\n \
                    http-request set-var(txn.known) http_auth(people)\n \
                    http-request set-header x-known %[http_auth(people)] if { path /header }\n \
                    http-request add-header x-known %[http_auth(people)] if { path /header }\n \
                    http-request deny if { path /denied } { http_auth(people) }\n \
                    http-request return status 200 hdr x-var %[var(txn.known)] if { path /var }\n \
                    http-request return status 200 hdr x-known %[req.fhdr(x-known)] if { path /header }\n \
                    redirect location /other if { path /redirect } !{ http_auth(people) }\n \
                    redirect location /known if { path /redirect }\n \
                    use_backend one if { path /either } or { http_auth(people) }\n \
                    use_backend two if { path /two }\n\
                    backend one\n http-request return status 201\n\
                    backend two\n http-request return status 202\n\
                    userlist people\n \
                    user sha5 password $5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\n";
        let (right, wrong) = ("c2hhNTpIZWxsbyB3b3JsZCE=", "c2hhNTp3cm9uZw==");
        let paths = "/mon /var /header /denied /redirect /either /two /other";
        let mut said = Vec::new();
        for path in paths.split(' ') {
            for words in [right, wrong] {
                // What was verified once is remembered: a fresh one for each.
                let _daemon = side.start(HTTP, body);
                let request = format!(
                    "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {words}\r\nConnection: close\r\n\r\n"
                );
                said.push(format!("{path} {words}: {}", answer(side.front, &request)));
            }
        }
        said
    });
}

/// The bytes of an answer of its own are counted by 2.6 and not by 3.4.
fn without_bytes(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    let timers = words.iter().position(|word| word.split('/').count() == 5);
    if let Some(bytes) = timers.and_then(|at| words.get_mut(at + 2)) {
        *bytes = "BYTES";
    }
    if let Some(at) = timers {
        // Five timers; the usual masking knows three.
        let masked = words[at]
            .split('/')
            .map(|t| if t.starts_with('-') { "-1" } else { "T" });
        let masked = masked.collect::<Vec<_>>().join("/");
        words[at] = &masked;
        return words.join(" ");
    }
    words.join(" ")
}

#[test]
fn the_status_asked_for_is_logged_whatever_the_page_says() {
    let folder = TempDir::new();
    let page = folder.write("page.http", "HTTP/1.0 404 Yes\n\nbody");
    let lines = format!(
        " option httplog\n errorloc 503 /x\n errorloc 500 /x\n errorfile 403 {page}\n errorfile 429 /dev/null\n \
         errorloc 401 /login\n timeout tarpit 50\n http-request deny if {{ path /403 }}\n \
         http-request deny deny_status 429 if {{ path /429 }}\n http-request auth if {{ path /401 }}\n \
         http-request tarpit if {{ path /500 }}\n http-request return status 200 errorfile {page} if {{ path /200 }}\n \
         http-request deny if {{ path /418 }}\n http-after-response set-status 418 if {{ capture.req.uri /418 }}\n"
    );
    same(|side: &Side| {
        let daemon = side.start(HTTP, &lines);
        let paths = ["/503", "/403", "/429", "/401", "/500", "/200", "/418"];
        for (n, path) in paths.iter().enumerate() {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            answer(side.front, &request);
            side.settled(n + 1);
        }
        let lines = side.lines(&daemon, paths.len(), &[]);
        lines.iter().map(|line| without_bytes(line)).collect()
    });
}
