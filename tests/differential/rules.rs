//! Rules that edit messages, redirect and decide: what a server saw and what the client got, byte for byte.
//!
//! One section holds the rules of all cases; each applies to requests that name its case in a header `case`.

use std::io::{Read, Write};
use std::time::Duration;

use super::{Side, same};
use crate::support::client::read_piece;
use crate::support::{Server, connect};

const HTTP: &str =
    " mode http\n timeout connect 300\n timeout http-request 3s\n timeout tarpit 100\n";

/// Rules of one case, and the requests it is about: start line and further fields.
type Case<'a> = (&'a [&'a str], &'a [&'a str]);

/// A server that answers with the head it got as the body. A field `x-give` of the request names fields of the answer.
fn echo() -> Server {
    Server::new(|mut stream, _| {
        let mut head = Vec::new();
        loop {
            let Ok(piece) = read_piece(&mut stream) else {
                return;
            };
            if piece.is_empty() {
                return;
            }
            head.extend_from_slice(piece.as_bytes());
            let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            let text = String::from_utf8_lossy(&head[..end + 4]).into_owned();
            let given = text.lines().find_map(|l| l.strip_prefix("x-give: "));
            let given = given.map_or_else(String::new, |g| g.replace('|', "\r\n") + "\r\n");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{given}\r\n{text}",
                text.len()
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            head.drain(..end + 4);
        }
    })
}

/// All that comes back until nothing more does for a while.
fn answer(port: u16, request: &str) -> String {
    let mut stream = connect(port);
    let wait = Some(Duration::from_millis(200));
    stream.set_read_timeout(wait).expect("a socket");
    stream.write_all(request.as_bytes()).expect("it reads");
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    let end = loop {
        match stream.read(&mut piece) {
            Ok(0) => break "closed",
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(_) => break "open",
        }
    };
    format!("{} ({end})", String::from_utf8_lossy(&all))
}

fn compare(cases: &[Case<'_>]) {
    let mut lines = String::from(" http-request set-var(txn.case) req.hdr(case)\n");
    for (number, (rules, _)) in cases.iter().enumerate() {
        for rule in *rules {
            let joined = if rule.contains(" if ") { "" } else { " if" };
            lines += &format!(" {rule}{joined} {{ var(txn.case) -m str {number} }}\n");
        }
    }
    same(|side: &Side| {
        let server = echo();
        let body = format!("{lines} server s 127.0.0.1:{}\n", server.port);
        let expose = format!("{HTTP}global\n expose-experimental-directives\n");
        let _daemon = side.start(&expose, &body);
        let asked = cases
            .iter()
            .enumerate()
            .flat_map(|(number, (rules, requests))| {
                requests.iter().map(move |request| {
                    let (start, fields) = request.split_once('|').unwrap_or((request, ""));
                    let host = if fields.contains("host:") || start.ends_with("1.0") {
                        ""
                    } else {
                        "host: h.x\r\n"
                    };
                    let fields: String = fields
                        .split('|')
                        .filter(|f| !f.is_empty())
                        .map(|f| format!("{f}\r\n"))
                        .collect();
                    let start = if start.contains("HTTP/") {
                        (*start).to_owned()
                    } else {
                        format!("{start} HTTP/1.1")
                    };
                    let wire = format!("{start}\r\n{host}case: {number}\r\n{fields}\r\n");
                    format!("{rules:?} {request}: {}", answer(side.front, &wire))
                })
            });
        asked.collect()
    });
}

/// Every kind of redirection, with its options.
#[test]
fn redirections_lead_to_the_same_place() {
    compare(&[
        (&["http-request redirect location /a"], &["GET /q?x=1"]),
        (
            &["http-request redirect location /a code 301"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a code 302"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a code 303"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a code 307"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a code 308"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a"],
            &["GET /q?x=1 HTTP/1.0", "GET /q?x=1|Connection: close"],
        ),
        (&["http-request redirect prefix /p"], &["GET /q?x=1"]),
        (&["http-request redirect prefix /"], &["GET /q?x=1"]),
        (
            &["http-request redirect prefix /p drop-query"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect prefix /p append-slash"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect prefix /p drop-query append-slash"],
            &["GET /q?x=1", "GET /q/?x=1", "GET /q"],
        ),
        (&["http-request redirect scheme https"], &["GET /q?x=1"]),
        (
            &["http-request redirect scheme https drop-query"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a set-cookie A=b"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a clear-cookie A="],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a set-cookie A"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a clear-cookie A"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location %[hdr(nope)] ignore-empty"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location %[hdr(nope)]"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect prefix %[hdr(nope)] ignore-empty"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect scheme %[hdr(nope)] ignore-empty"],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location \"/a b\""],
            &["GET /q?x=1"],
        ),
        (
            &["http-request redirect location /a%[hdr(y)]"],
            &["GET /q?x=1|y: a b%0d%0a"],
        ),
        (
            &["http-request redirect location /a%[hdr(y),url_dec]"],
            &["GET /q?x=1|y: a%0d%0ab"],
        ),
        (
            &["http-request redirect location /a if { path /q }"],
            &["OPTIONS *"],
        ),
        (&["http-request redirect prefix /p"], &["OPTIONS *"]),
        (&["http-request redirect scheme https"], &["OPTIONS *"]),
        (&["http-request redirect location /a"], &["HEAD /q"]),
        (
            &[
                "http-request redirect location /a",
                "http-after-response set-header x y",
            ],
            &["GET /q"],
        ),
        (
            &["http-response redirect location /a code 303"],
            &["GET /q"],
        ),
        (
            &["http-response redirect location /a"],
            &["GET /q HTTP/1.0"],
        ),
        (&["redirect prefix /p"], &["GET /q?x"]),
        (&["redirect prefix http://z.y"], &["GET /q?x"]),
        (
            &["http-request redirect scheme https code 301"],
            &["GET /q|Host2: x"],
        ),
        (&["http-request redirect location \"/Ã©\""], &["GET /q"]),
    ]);
}

/// Methods, targets and fields of requests.
#[test]
fn requests_are_edited_alike() {
    compare(&[
        (
            &["http-request set-uri /abc"],
            &["GET /q?x=1", "GET http://h.x/q"],
        ),
        (
            &["http-request set-uri http://z.y/abc"],
            &["GET /q?x=1", "GET http://h.x/q"],
        ),
        (&["http-request set-uri z.y:80"], &["GET /q?x=1"]),
        (&["http-request set-uri *"], &["GET /q?x=1"]),
        (&["http-request set-uri http://z.y"], &["GET /q?x=1"]),
        (
            &["http-request set-path /new"],
            &[
                "GET /q?x=1",
                "GET http://h.x/q?a",
                "OPTIONS *",
                "GET /q",
                "GET /q?",
                "GET /a;b?c?d",
            ],
        ),
        (&["http-request set-path new"], &["GET /q?x=1"]),
        (&["http-request set-path /new?y=2"], &["GET /q?x=1"]),
        (&["http-request set-path %[hdr(none)]"], &["GET /q?x=1"]),
        (
            &["http-request set-pathq /new?y=2"],
            &["GET /q?x=1", "GET http://h.x/q?a", "OPTIONS *"],
        ),
        (&["http-request set-pathq /new"], &["GET /q?x=1"]),
        (
            &["http-request set-query y=2"],
            &[
                "GET /q?x=1",
                "GET /q",
                "GET /q?",
                "GET http://h.x/q?a",
                "OPTIONS *",
            ],
        ),
        (&["http-request set-query ?y=2"], &["GET /q?x=1"]),
        (
            &["http-request set-query %[hdr(none)]"],
            &["GET /q?x=1", "GET /q"],
        ),
        (
            &["http-request replace-path /q(.*) /n\\1"],
            &[
                "GET /q?x=1",
                "GET /x/q/z?x=/q",
                "GET http://h.x/q?a",
                "GET /Q",
            ],
        ),
        (&["http-request replace-path q n"], &["GET /qaq"]),
        (
            &["http-request replace-pathq ([^?]*)(\\?(.*))? \\1/foo?\\3"],
            &["GET /abc?d", "GET /abc"],
        ),
        (
            &["http-request replace-uri ^http://(.*) https://\\1"],
            &["GET http://h.x/q?a", "GET /q?x=1"],
        ),
        (
            &["http-request replace-uri ^([^/:]*://[^/]*)?(.*) \\1/foo\\2"],
            &["GET http://h.x/q?a", "GET /q?x=1"],
        ),
        (
            &["http-request replace-header x-a a b"],
            &["GET /q?x=1|X-A: a,aa|X-A: ba"],
        ),
        (
            &["http-request replace-value x-a a b"],
            &["GET /q?x=1|X-A: a,aa , \"a,b\" ,ca|X-A: ba"],
        ),
        (
            &["http-request replace-value x-a ^a$ b"],
            &["GET /q?x=1|X-A: a,aa , a ,,|X-A:"],
        ),
        (
            &["http-request replace-header host .* n.y"],
            &["GET /q?x=1", "GET http://h.x/q"],
        ),
        (
            &["http-request set-header host n.y"],
            &["GET /q?x=1", "GET http://h.x/q"],
        ),
        (
            &["http-request add-header host n.y"],
            &["GET /q?x=1", "GET http://h.x/q"],
        ),
        (
            &["http-request del-header host"],
            &["GET /q?x=1", "GET http://h.x/q"],
        ),
        (
            &["http-request replace-value host h h2"],
            &["GET http://h.x/q"],
        ),
        (
            &["http-request set-header x-a \"  b  \""],
            &["GET /q?x=1|X-A: 1|X-B: 2|X-a: 3"],
        ),
        (
            &["http-request set-header x-a %[hdr(no)]"],
            &["GET /q?x=1|X-A: 1"],
        ),
        (
            &["http-request del-header X-A"],
            &["GET /q?x=1|X-A: 1|X-AB: 2"],
        ),
        (
            &["http-request del-header X-A -m beg"],
            &["GET /q?x=1|X-A: 1|X-AB: 2|Y-X-A: 1"],
        ),
        (
            &["http-request del-header x-a -m end"],
            &["GET /q?x=1|X-A: 1|X-AB: 2|Y-X-A: 1"],
        ),
        (
            &["http-request del-header x-a -m sub"],
            &["GET /q?x=1|X-A: 1|X-AB: 2|Y-X-A: 1|X: 1"],
        ),
        (
            &["http-request del-header X-A -m str"],
            &["GET /q?x=1|X-A: 1|X-AB: 2"],
        ),
        (
            &["http-request del-header ^X- -m reg"],
            &["GET /q?x=1|X-A: 1|X-AB: 2|Y-X-A: 1"],
        ),
        (
            &["http-request del-header ^x- -m reg"],
            &["GET /q?x=1|X-A: 1|X-AB: 2|Y-X-A: 1"],
        ),
        (&["http-request set-method post"], &["GET /q?x=1"]),
        (&["http-request set-header upgrade foo"], &["GET /q?x=1"]),
    ]);
}

/// Replies, variables, conditions, and what is done to responses.
#[test]
fn decisions_replies_and_responses_are_alike() {
    compare(&[
        (&["http-request return status 200"], &["GET /q?x=1"]),
        (&["http-request return"], &["GET /q?x=1"]),
        (
            &["http-request return status 418 content-type text/plain string hello"],
            &[
                "GET /q?x=1",
                "HEAD /q?x=1",
                "GET /q?x=1 HTTP/1.0",
                "GET /q?x=1|Connection: close",
            ],
        ),
        (&["http-request return status 204"], &["GET /q?x=1"]),
        (&["http-request deny deny_status 429"], &["GET /q?x=1"]),
        (&["http-request deny deny_status 404"], &["GET /q?x=1"]),
        (&["http-request deny status 401"], &["GET /q?x=1"]),
        (&["http-request deny status 418"], &["GET /q?x=1"]),
        (&["http-request deny status 503"], &["HEAD /q?x=1"]),
        (&["http-request tarpit deny_status 503"], &["GET /q?x=1"]),
        (
            &["http-request tarpit content-type a/b string x"],
            &["GET /q?x=1"],
        ),
        (
            &[
                "http-request set-var(txn.a) str(x)",
                "http-request set-var(txn.a,ifnotexists) str(y)",
                "http-request set-header a %[var(txn.a)]",
            ],
            &["GET /q?x=1"],
        ),
        (
            &[
                "http-request set-var(txn.a) int(5)",
                "http-request set-var(txn.a,ifgt) int(3)",
                "http-request set-header a %[var(txn.a)]",
            ],
            &["GET /q?x=1"],
        ),
        (
            &[
                "http-request set-var(txn.a) int(5)",
                "http-request set-var(txn.a,iflt) int(3)",
                "http-request set-header a %[var(txn.a)]",
            ],
            &["GET /q?x=1"],
        ),
        (
            &[
                "http-request set-var(txn.a) hdr(no)",
                "http-request set-header a \"<%[var(txn.a)]>\"",
            ],
            &["GET /q?x=1"],
        ),
        (
            &[
                "http-request set-var(txn.a,ifnotempty) str()",
                "http-request set-header a \"<%[var(txn.a)]>\"",
            ],
            &["GET /q?x=1"],
        ),
        (
            &[
                "http-request set-var-fmt(txn.a) \"%[path]-%[method]\"",
                "http-request set-header a %[var(txn.a)]",
            ],
            &["GET /q?x=1"],
        ),
        (
            &[
                "http-request set-var(sess.a) path",
                "http-request set-header a %[var(sess.a)]",
                "http-response set-header b %[var(sess.a)]",
            ],
            &["GET /q?x=1"],
        ),
        (
            &[
                "http-request set-var(txn.a) path",
                "http-response set-header b %[var(txn.a)]",
                "http-after-response set-header c %[var(txn.a)]",
            ],
            &["GET /q?x=1"],
        ),
        (
            &[
                "redirect location /second if { path /a }",
                "http-request set-path /a if { path /b }",
            ],
            &["GET /b", "GET /c"],
        ),
        (
            &[
                "http-request set-log-level silent",
                "http-request set-nice 5",
                "http-request set-tos 16",
            ],
            &["GET /q?x=1"],
        ),
        (&["http-response deny if { status 200 }"], &["GET /q?x=1"]),
        (&["http-response deny deny_status 404"], &["GET /q?x=1"]),
        (
            &["http-response return status 201 content-type a/b string x"],
            &["GET /q?x=1"],
        ),
        (
            &["http-response replace-header content-type (.*) x-\\1"],
            &["GET /q?x=1|x-give: Content-Type: a/b"],
        ),
        (
            &["http-response replace-value cache-control no-(.*) yes-\\1"],
            &["GET /q?x=1|x-give: Cache-Control: no-a, no-b, c"],
        ),
        (
            &[
                "http-response del-header x- -m beg",
                "http-response add-header x-n 1",
            ],
            &["GET /q?x=1|x-give: X-A: 1|X-B: 2|Y: 3"],
        ),
        (
            &[
                "http-response set-header s %[status]",
                "http-after-response set-status 299",
            ],
            &["GET /q?x=1"],
        ),
        (
            &[
                "http-request set-path /x%[path]",
                "http-request set-query a=%[query]",
                "http-request set-header p %[path]?%[query] ",
            ],
            &["GET /q?x=1"],
        ),
        (
            &["http-request set-header x %[req.hdr_cnt(a)]%[req.hdrs,length]"],
            &["GET /q?x=1|A: 1"],
        ),
    ]);
}
