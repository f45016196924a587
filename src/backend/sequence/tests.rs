use super::*;
use crate::config::{CheckKind, Input, LoadInputs, load};
use std::sync::Arc;

struct Nothing;
impl Subject for Nothing {}

/// The sequence of a backend with these lines.
fn sequence(lines: &str) -> Arc<Sequence> {
    let text = format!("listen l\n mode http\n bind :1\n{lines}\n server s 127.0.0.1:2 check\n");
    let inputs = LoadInputs {
        inputs: vec![Input::Text {
            name: "test".to_owned(),
            bytes: text.into_bytes(),
        }],
        ..LoadInputs::default()
    };
    let loaded = load(&inputs);
    let config = loaded
        .config
        .unwrap_or_else(|| panic!("{lines}: {:?}", loaded.diags));
    match &config.backends[0].check {
        CheckKind::Sequence(sequence) => Arc::clone(sequence),
        other => other.sequence(),
    }
}

/// What a dialogue comes to: what was sent, and the result. `answers`: what comes after each thing sent, in pieces;
/// `open`: the server then keeps the connection, so that the time runs out.
fn talk(lines: &str, answers: &[&[u8]], open: bool, up: bool) -> (Vec<Vec<u8>>, Answer) {
    let (sequence, arena) = (sequence(lines), Arena::new());
    let scene = Scene {
        outer: &Nothing,
        arena: &arena,
        state: &|| "UP; name=b/s".to_owned(),
        seed: 1,
        up,
    };
    let mut run = Run::default();
    let (mut sent, mut answers) = (Vec::new(), answers.iter());
    for _ in 0..1000 {
        match run.next(&sequence, &scene) {
            Next::Connect(..) => run.connected(),
            Next::Send(bytes) => {
                sent.push(bytes);
                run.sent();
            }
            Next::Receive => match answers.next() {
                Some(bytes) => run.received(bytes),
                None if open => return (sent, run.timeout(&sequence)),
                None => run.ended(),
            },
            Next::Done(answer) => return (sent, answer),
        }
    }
    panic!("it never ends: {lines}");
}

fn result(lines: &str, answers: &[&[u8]], open: bool) -> String {
    let (_, answer) = talk(lines, answers, open, true);
    let code = if answer.status.has_code() {
        answer.code.to_string()
    } else {
        String::new()
    };
    format!("{}|{code}|{}", answer.status.name(), answer.info)
}

fn http(text: &[u8], open: bool) -> String {
    result("option httpchk", &[text], open)
}

/// Each line was put before haproxy 2.6.12.
#[test]
fn http_answers_mean_what_they_mean_to_haproxy() {
    let ended = |text: &[u8]| http(text, false);
    for good in [
        &b"HTTP/1.0 200 OK\r\n\r\n"[..],
        b"HTTP/1.0 200 OK\n\n",
        b"HTTP/1.0  200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"\r\nHTTP/1.0 200 OK\r\n\r\n",
    ] {
        assert_eq!(ended(good), "L7OK|200|", "{}", good.escape_ascii());
    }
    for (text, want) in [
        (&b"HTTP/1.1 399 x\r\n\r\n"[..], "L7OK|399|"),
        (b"HTTP/1.1 500 Oh no\r\nX: y\r\n\r\nbody", "L7STS|500|Oh no"),
        (b"HTTP/1.1 404\r\n\r\n", "L7STS|404|"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "L7STS|2000|OK"),
        (b"HTTP/1.1 099 x\r\n\r\n", "L7STS|99|x"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "L7STS|100|Continue",
        ),
        (
            b"HTTP/1.0 500 a\tb\x01\"c\r\n\r\n",
            "L7STS|500|a<09>b<01><22>c",
        ),
        (b"HTTP/1.0 500 caf\xc3\xa9\r\n\r\n", "L7STS|500|caf<C3><A9>"),
        (b"HTTP/1.0 200 OK\r\nX: a\r\n b\r\n\r\n", "L7OK|200|"),
    ] {
        assert_eq!(ended(text), want, "{}", text.escape_ascii());
    }
    let invalid: [&[u8]; 8] = [
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.0 200 OK",
        b"http/1.1 200 ok\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.0 20x OK\r\n\r\n",
        b"HTTP/1.1 20",
        b"",
    ];
    for text in invalid {
        assert_eq!(ended(text), "L7RSP||", "{}", text.escape_ascii());
    }
}

#[test]
fn an_http_answer_is_awaited_until_its_empty_line_unless_it_is_none() {
    for text in [
        &b""[..],
        b"HTT",
        b"HTTP/1.0 500 Err\r\n",
        b"HTTP/1.0 200 OK\r\nServer: x\r\n",
    ] {
        assert_eq!(http(text, true), "L7TOUT||", "{}", text.escape_ascii());
    }
    assert_eq!(http(b"SSH-2.0\r\n", true), "L7RSP||");
    let endless = [b"HTTP/1.0 200 OK\r\n".as_slice(), &b"a: b\r\n".repeat(4000)].concat();
    assert_eq!(http(&endless, true), "L7RSP||");
    let long = [b"HTTP/1.0 503 ".as_slice(), &b"x".repeat(300), b"\r\n\r\n"].concat();
    let words = http(&long, false);
    assert!(words.len() < 150, "a server's words fit a line: {words}");
}

fn sent(lines: &str) -> String {
    let (sent, _) = talk(lines, &[b"HTTP/1.0 200 OK\r\n\r\n"], false, true);
    sent.iter().map(|s| String::from_utf8_lossy(s)).collect()
}

/// Each request was sent by haproxy 2.6.12 but for the host behind the version, which is of 3.4.
#[test]
fn requests_are_haproxys() {
    let own = "option httpchk\n";
    for (lines, want) in [
        ("option httpchk", "OPTIONS / HTTP/1.0\r\n\r\n"),
        (
            "option httpchk GET /foo HTTP/1.1",
            "GET /foo HTTP/1.1\r\nconnection: close\r\n\r\n",
        ),
        (
            "option httpchk GET / HTTP/1.1 a.b",
            "GET / HTTP/1.1\r\nhost: a.b\r\nconnection: close\r\n\r\n",
        ),
        (
            "option httpchk GET /x HTTP/1.1\\r\\nHost:\\ www.x\\r\\nX-B:\\ y",
            "GET /x HTTP/1.1\r\nhost: www.x\r\nx-b: y\r\nconnection: close\r\n\r\n",
        ),
        (
            "http-check send hdr Host foo\noption httpchk GET /x HTTP/1.1",
            "GET /x HTTP/1.1\r\nhost: foo\r\nconnection: close\r\n\r\n",
        ),
        (
            "option httpchk GET /x HTTP/1.1\nhttp-check send meth HEAD uri /y hdr Host foo",
            "HEAD /y HTTP/1.1\r\nhost: foo\r\nconnection: close\r\n\r\n",
        ),
        (
            "http-check send meth POST uri-lf /a%[str(x)] ver HTTP/1.1 hdr Host www.x hdr X-Foo 'a %[int(3)]' \
             hdr Content-Length 7 hdr Transfer-Encoding chunked body 'the body'",
            "POST /ax HTTP/1.1\r\nhost: www.x\r\nx-foo: a 3\r\ncontent-length: 8\r\nconnection: close\r\n\r\nthe body",
        ),
        (
            "http-check send meth GET uri /a ver HTTP/1.1 hdr Connection keep-alive",
            "GET /a HTTP/1.1\r\n\r\n",
        ),
        (
            "http-check send meth GET uri /a ver HTTP/1.0 hdr Connection keep-alive",
            "GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        ),
        (
            "http-check send meth GET uri http://a.b/x ver HTTP/2.0 hdr Host c.d",
            "GET http://c.d/x HTTP/1.1\r\nhost: c.d\r\nconnection: close\r\n\r\n",
        ),
        (
            "http-check send-state",
            "OPTIONS / HTTP/1.0\r\nx-haproxy-server-state: UP; name=b/s\r\n\r\n",
        ),
        ("http-check expect status 200", "OPTIONS / HTTP/1.0\r\n\r\n"),
    ] {
        let lines = if lines.contains("option httpchk") {
            lines.to_owned()
        } else {
            format!("{own}{lines}")
        };
        assert_eq!(sent(&lines), want, "{lines}");
    }
}

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nX-A: one, two\r\nContent-Length: 5\r\n\r\nhello";

/// What haproxy 2.6.12 says about the same answers, field by field.
#[test]
fn what_an_http_check_expects() {
    let chunks: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
    let gone: &[u8] = b"HTTP/1.1 404 Gone\r\n\r\n";
    for (line, answer, want) in [
        ("expect status 200", PAGE, "L7OK|200|"),
        ("expect status 201", PAGE, "L7STS|200|OK"),
        ("expect ! status 200", PAGE, "L7STS|200|OK"),
        (
            "expect status 201 comment foo",
            PAGE,
            "L7STS|200|OK comment: foo",
        ),
        ("expect status 201,300-310,404", gone, "L7OK|404|"),
        ("expect rstatus ^3", PAGE, "L7STS|200|OK"),
        ("expect string hello", PAGE, "L7OK|200|"),
        (
            "expect string hallo",
            PAGE,
            "L7RSP||HTTP content check did not match",
        ),
        (
            "expect ! string hello",
            PAGE,
            "L7RSP||HTTP check matched unwanted content",
        ),
        ("expect rstring ^h.*o$", PAGE, "L7OK|200|"),
        ("expect string helloworld", chunks, "L7OK|200|"),
        (
            "expect string x",
            gone,
            "L7RSP||HTTP content check could not find a response body",
        ),
        ("expect hdr name x-a value two", PAGE, "L7OK|200|"),
        ("expect hdr name x-a value tw", PAGE, "L7STS|200|OK"),
        (
            "expect hdr name -m beg x- value -m reg ^t",
            PAGE,
            "L7OK|200|",
        ),
        ("expect fhdr name x-a value two", PAGE, "L7STS|200|OK"),
        ("expect fhdr name x-a value 'one, two'", PAGE, "L7OK|200|"),
        (
            "expect hdr name-lf 'x-%[str(a)]' value-lf '%[str(two)]'",
            PAGE,
            "L7OK|200|",
        ),
        (
            "expect on-error 'bad %[status] %[res.hdr(x-a)]' error-status L7RSP status 201",
            PAGE,
            "L7RSP||bad 200 two",
        ),
        (
            "expect on-success 'ok %[status] %[res.body]' ok-status L7OKC string hel",
            PAGE,
            "L7OKC|200|ok 200 hello",
        ),
        (
            "expect status-code int(299) status 201",
            PAGE,
            "L7STS|299|OK",
        ),
        ("disable-on-404", gone, "L7OKC|404|"),
    ] {
        let lines = format!("option httpchk\nhttp-check {line}");
        assert_eq!(result(&lines, &[answer], false), want, "{line}");
    }
    let several = "option httpchk\nhttp-check comment a\nhttp-check expect status 200\nhttp-check comment b\nhttp-check expect string hallo";
    assert_eq!(
        result(several, &[PAGE], false),
        "L7RSP||HTTP content check did not match comment: b"
    );
    let pieces: [&[u8]; 3] = [&PAGE[..20], &PAGE[20..56], &PAGE[56..]];
    let lines = "option httpchk\nhttp-check expect string hello";
    assert_eq!(result(lines, &pieces, true), "L7OK|200|");
}

#[test]
fn a_404_takes_out_only_what_is_up() {
    let lines = "option httpchk\nhttp-check disable-on-404";
    let answer = |up| talk(lines, &[b"HTTP/1.1 404 x\r\n\r\n"], false, up).1;
    assert_eq!(answer(true).status, Status::L7Okc);
    assert_eq!(answer(false).status, Status::L7Sts);
}

/// What haproxy 2.6.12 says about the same answers.
#[test]
fn what_a_tcp_check_expects() {
    let ping = "tcp-check send PING\\r\\n\n";
    for (lines, answer, open, want) in [
        ("", &b""[..], false, "L4OK||"),
        ("tcp-check connect", b"", false, "L4OK||(tcp-check)"),
        (
            "tcp-check connect\ntcp-check send x",
            b"",
            false,
            "L7OK|0|(tcp-check)",
        ),
        (
            "PING tcp-check expect string +PONG",
            b"+PONG\r\n",
            true,
            "L7OK|0|(tcp-check)",
        ),
        (
            "PING tcp-check expect string +PONG",
            b"nope\r\n",
            false,
            "L7RSP||TCPCHK did not match content '+PONG' at step 2",
        ),
        (
            "PING tcp-check expect string +PONG",
            b"nope and more",
            true,
            "L7TOUT|| at step 2 of tcp-check (expect string '+PONG')",
        ),
        (
            "PING tcp-check expect string +PONG comment foo",
            b"",
            false,
            "L7RSP||TCPCHK got an empty response at step 2 comment: 'foo'",
        ),
        (
            "PING tcp-check expect string +PONG comment 'my pong'",
            b"nope",
            false,
            "L7RSP||TCPCHK did not match content '+PONG' at step 2 comment: my pong",
        ),
        (
            "PING tcp-check expect string +PONG comment 'no pong' tout-status L4TOUT",
            b"",
            true,
            "L4TOUT|| at step 2 of tcp-check (expect string '+PONG') comment: 'no pong'",
        ),
        (
            "PING tcp-check expect ! string ERR",
            b"-ERR x",
            false,
            "L7RSP||TCPCHK matched unwanted content 'ERR' at step 2",
        ),
        (
            "PING tcp-check expect ! string ERR",
            b"fine",
            true,
            "L7TOUT|| at step 2 of tcp-check (expect string 'ERR')",
        ),
        (
            "PING tcp-check expect min-recv 0 ! string ERR",
            b"fine",
            true,
            "L7OK|0|(tcp-check)",
        ),
        (
            "PING tcp-check expect min-recv 3 rstring ERR",
            b"fine",
            true,
            "L7RSP||TCPCHK did not match content (regex) at step 2",
        ),
        (
            "tcp-check send-binary 50494e47\ntcp-check expect binary 2b504f4e48",
            b"+PONG",
            false,
            "L7RSP||TCPCHK did not match content (binary) at step 2",
        ),
        (
            "PING tcp-check expect rbinary ^2B504F4E47",
            b"+PONG",
            true,
            "L7OK|0|(tcp-check)",
        ),
        (
            "tcp-check set-var(check.x) str(PO)\ntcp-check connect\ntcp-check expect string-lf '+%[var(check.x)]NH'",
            b"+PONG",
            false,
            "L7RSP||TCPCHK did not match content (log-format string) at step 3",
        ),
        (
            "tcp-check set-var(check.x) str(PO),hex\ntcp-check connect\ntcp-check expect binary-lf '%[var(check.x)]'",
            b"+PONG",
            true,
            "L7OK|0|(tcp-check)",
        ),
        (
            "PING tcp-check expect on-error 'bad: %[res.payload(0,3)]' error-status L7STS status-code int(444) string +PONG",
            b"nope",
            false,
            "L7STS|444|bad: nop",
        ),
        (
            "PING tcp-check expect on-success 'good: %[res.payload(0,3)]' ok-status L6OK string +PONG",
            b"+PONG",
            true,
            "L6OK||good: +PO",
        ),
        (
            "PING tcp-check expect ok-status L7OKC string +PONG",
            b"+PONG",
            true,
            "L7OKC|0|(tcp-check)",
        ),
    ] {
        let lines = lines.replace("PING ", ping);
        let lines = format!("option tcp-check\n{lines}");
        assert_eq!(result(&lines, &[answer], open), want, "{lines}");
    }
}

#[test]
fn a_question_forgets_what_came_before_and_two_expectations_share_it() {
    let twice =
        "option tcp-check\ntcp-check send A\ntcp-check expect string a\ntcp-check expect string b";
    assert_eq!(result(twice, &[b"a b"], true), "L7OK|0|(tcp-check)");
    let stale = "option tcp-check\ntcp-check send A\ntcp-check expect string a\ntcp-check send B\ntcp-check expect string a";
    assert_eq!(
        result(stale, &[b"a", b"b"], false),
        "L7RSP||TCPCHK did not match content 'a' at step 4"
    );
}

#[test]
fn a_connection_that_fails_is_told_with_its_step() {
    let refused = |lines: &str| {
        let (sequence, arena) = (sequence(lines), Arena::new());
        let scene = Scene {
            outer: &Nothing,
            arena: &arena,
            state: &String::new,
            seed: 1,
            up: true,
        };
        let mut run = Run::default();
        assert!(matches!(run.next(&sequence, &scene), Next::Connect(..)));
        let answer = run.broken(&sequence, libc::ECONNREFUSED).unwrap();
        assert_eq!(answer.status, Status::L4Con);
        answer.info.split(')').skip(1).collect::<Vec<_>>().join(")")
    };
    assert_eq!(refused("option httpchk"), "");
    assert_eq!(
        refused("option tcp-check"),
        " at initial connection step of tcp-check"
    );
    assert_eq!(
        refused("option tcp-check\ntcp-check connect port 90 comment mycon"),
        " at step 1 of tcp-check (connect port 90) comment: 'mycon'"
    );
}

#[test]
fn defaults_are_inherited_whole_or_not_at_all() {
    let text = "defaults\n mode http\n option httpchk GET /d\n http-check send hdr Host foo\n\
        listen a\n bind :1\n server s 127.0.0.1:2 check\n\
        listen b\n bind :2\n option httpchk\n server s 127.0.0.1:2 check\n\
        listen c\n bind :3\n http-check expect status 404\n server s 127.0.0.1:2 check\n";
    let inputs = LoadInputs {
        inputs: vec![Input::Text {
            name: "test".to_owned(),
            bytes: text.into(),
        }],
        ..LoadInputs::default()
    };
    let config = load(&inputs).config.expect("a correct configuration");
    let asked: Vec<String> = config
        .backends
        .iter()
        .map(|backend| {
            let (sequence, arena) = (backend.check.sequence(), Arena::new());
            let scene = Scene {
                outer: &Nothing,
                arena: &arena,
                state: &String::new,
                seed: 1,
                up: true,
            };
            let mut run = Run::default();
            run.next(&sequence, &scene);
            run.connected();
            match run.next(&sequence, &scene) {
                Next::Send(bytes) => String::from_utf8(bytes).unwrap(),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(
        asked,
        [
            "GET /d HTTP/1.0\r\nhost: foo\r\n\r\n",
            "OPTIONS / HTTP/1.0\r\n\r\n",
            "GET /d HTTP/1.0\r\n\r\n"
        ]
    );
}
