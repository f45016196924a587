//! Rules one by one, every split, and tables of odd messages.
//!
//! `tests/requests.txt` and `tests/responses.txt` hold messages with our verdict. In them `>` begins a request, `<` a
//! response to it; the line after is our verdict: the status and the rule that is broken with the offset, or
//! whether the client's connection is kept and what is sent on. A line that starts with `2.6:` is what haproxy 2.6.12 did
//! when that is something else (recorded from a live one: only the status, when it refused), `unsafe:` our verdict with
//! `accept-unsafe-violations`, when that is another. Bytes are escaped as in C, `\{n*text}` stands for `text` n times.
//! `RINGWAY_UPDATE_CASES=1` writes our verdicts anew.

use proptest::prelude::*;

use super::*;
use crate::proto::http::Version;
use crate::proto::page;

fn limits() -> Limits {
    Limits::default()
}

fn lax() -> Limits {
    Limits {
        unsafe_ok: true,
        ..limits()
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(*byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (kind, tail) = rest[at + 1..].split_at(1);
        rest = tail;
        match kind {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            "t" => out.push(b'\t'),
            "x" => {
                out.push(u8::from_str_radix(&rest[..2], 16).expect("two hex digits"));
                rest = &rest[2..];
            }
            "{" => {
                let (inner, tail) = rest.split_once('}').expect("a repetition ends");
                let (count, inner) = inner.split_once('*').expect("a count and a text");
                let count = count.parse().expect("a count");
                out.extend(unescape(inner).repeat(count));
                rest = tail;
            }
            _ => out.extend_from_slice(kind.as_bytes()),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Long verdicts by their length alone.
fn brief(text: String) -> String {
    match text.len() {
        0..1000 => text,
        len => format!("{}... {len}", &text[..60]),
    }
}

fn refused(e: H1Error) -> String {
    format!("{} {:?} @{}", e.kind.status(), e.kind, e.at)
}

/// The body behind a head, written anew.
fn body(kind: Body, limits: &Limits, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), H1Error> {
    match kind {
        Body::None => {}
        Body::Length(length) => {
            let length = (length as usize).min(bytes.len());
            out.extend_from_slice(&bytes[..length]);
        }
        Body::UntilClose | Body::Tunnel => out.extend_from_slice(bytes),
        Body::Chunked => {
            let mut decoder = ChunkDecoder::new(limits);
            let mut at = 0;
            loop {
                let step = decoder
                    .decode(&bytes[at..])
                    .map_err(|e| H1Error { at: e.at + at, ..e })?;
                at += match step {
                    Step::Partial => break,
                    Step::Chunk { used, len, .. } => {
                        write_chunk_header(out, len);
                        used
                    }
                    Step::Data { used } => {
                        out.extend_from_slice(&bytes[at..at + used]);
                        used
                    }
                    Step::ChunkEnd { used } => {
                        out.extend_from_slice(b"\r\n");
                        used
                    }
                    Step::End { .. } => {
                        write_last_chunk(out, decoder.trailers());
                        break;
                    }
                };
            }
        }
    }
    Ok(())
}

fn kept(keep: bool) -> &'static str {
    match keep {
        true => "keep",
        false => "close",
    }
}

/// What becomes of `wire`, and its framing if it is a request.
fn judge_request(
    wire: &[u8],
    limits: &Limits,
) -> Result<(RequestFraming, Version, String), String> {
    let mut head = Head::default();
    let used = match request_head(wire, limits, &mut head).map_err(refused)? {
        Parse::Partial => return Err("partial".to_owned()),
        Parse::Done { used } => used,
    };
    let framing = request_framing(&mut head, limits).map_err(refused)?;
    set_connection(&mut head, Peer::Server, !framing.insecure);
    let mut out = Vec::new();
    write_request(&mut out, &head);
    let in_body = |e: H1Error| H1Error {
        at: e.at + used,
        ..e
    };
    body(framing.body, limits, &wire[used..], &mut out).map_err(|e| refused(in_body(e)))?;
    let text = format!("{} {}", kept(framing.keep_alive), escape(&out));
    Ok((framing, head.version, brief(text)))
}

fn request_verdict(wire: &[u8], limits: &Limits) -> String {
    judge_request(wire, limits).map_or_else(|e| e, |(_, _, text)| text)
}

fn response_verdict(request: &[u8], wire: &[u8], limits: &Limits) -> String {
    judge_response(request, wire, limits).unwrap_or_else(|e| match e.kind.status() {
        0 => unreachable!(),
        _ => format!("502 {:?} @{}", e.kind, e.at),
    })
}

fn judge_response(request: &[u8], wire: &[u8], limits: &Limits) -> Result<String, H1Error> {
    let (asked, version, _) = judge_request(request, limits).expect("the request is well");
    let mut head = Head::default();
    let mut out = Vec::new();
    let mut at = 0;
    let mut interim = true;
    let mut keep = true;
    while interim {
        let later = |e: H1Error| H1Error { at: e.at + at, ..e };
        let used = match response_head(&wire[at..], limits, &mut head).map_err(later)? {
            Parse::Partial => return Ok("partial".to_owned()),
            Parse::Done { used } => used,
        };
        let framing = response_framing(&mut head, asked.answer(), limits).map_err(later)?;
        at += used;
        interim = framing.interim;
        keep = asked.keep_alive && !framing.insecure && framing.body != Body::UntilClose;
        if interim || framing.body == Body::Tunnel {
            strip_connection(&mut head, Peer::Client(version));
        } else {
            set_connection(&mut head, Peer::Client(version), keep);
        }
        write_response(&mut out, &head);
        body(framing.body, limits, &wire[at..], &mut out)
            .map_err(|e| H1Error { at: e.at + at, ..e })?;
    }
    Ok(brief(format!("{} {}", kept(keep), escape(&out))))
}

/// Reads a table, checks or rewrites the verdicts; its requests, or requests and responses.
fn table(file: &str, text: &str) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut cases = Vec::new();
    let mut written = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        written.push_str(line);
        written.push('\n');
        let Some(request) = line.strip_prefix("> ") else {
            continue;
        };
        let request = unescape(request);
        let response = lines.next_if(|l| l.starts_with("< ")).map(|line| {
            written.push_str(line);
            written.push('\n');
            unescape(&line[2..])
        });
        let verdict = |limits: &Limits| match &response {
            None => request_verdict(&request, limits),
            Some(response) => response_verdict(&request, response, limits),
        };
        let (ours, ours_lax) = (verdict(&limits()), verdict(&lax()));
        written.push_str(&format!("{ours}\n"));
        lines.next();
        if let Some(theirs) = lines.next_if(|l| l.starts_with("2.6: ")) {
            written.push_str(theirs);
            written.push('\n');
        }
        lines.next_if(|l| l.starts_with("unsafe: "));
        if ours_lax != ours {
            written.push_str(&format!("unsafe: {ours_lax}\n"));
        }
        cases.push((request, response));
    }
    if std::env::var_os("RINGWAY_UPDATE_CASES").is_some() {
        let path = format!("{}/src/proto/h1/tests/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, written).expect("the table can be written");
    } else {
        for (n, (want, got)) in text.lines().zip(written.lines()).enumerate() {
            assert_eq!(want, got, "{file} line {}", n + 1);
        }
        assert_eq!(text.lines().count(), written.lines().count());
    }
    cases
}

fn requests() -> Vec<Vec<u8>> {
    let cases = table("requests.txt", include_str!("tests/requests.txt"));
    cases.into_iter().map(|(request, _)| request).collect()
}

fn responses() -> Vec<(Vec<u8>, Vec<u8>)> {
    let cases = table("responses.txt", include_str!("tests/responses.txt"));
    let both = |(request, response): (_, Option<_>)| (request, response.expect("a response"));
    cases.into_iter().map(both).collect()
}

#[test]
fn every_request_of_the_table_is_judged_as_written_there() {
    assert!(requests().len() >= 200);
}

#[test]
fn every_response_of_the_table_is_judged_as_written_there() {
    assert!(responses().len() >= 100);
}

/// `parser` over each beginning of `wire` is partial or what it is over the whole.
fn splits(
    wire: &[u8],
    limits: &Limits,
    parser: fn(&[u8], &Limits, &mut Head) -> Result<Parse, H1Error>,
) {
    let mut head = Head::default();
    let whole = parser(wire, limits, &mut head);
    let fields: Vec<_> = own(&head);
    // Long ones at some positions only.
    for cut in (0..wire.len()).filter(|cut| wire.len() < 2000 || cut % 997 == 0) {
        match parser(&wire[..cut], limits, &mut head) {
            Ok(Parse::Partial) => {
                assert!(head.is_empty() && head.arena_len() == 0);
                if let Ok(Parse::Done { used }) = whole {
                    assert!(cut < used, "{} is whole at {cut}", escape(wire));
                }
            }
            other => {
                assert_eq!(other, whole, "{} cut at {cut}", escape(wire));
                assert_eq!(own(&head), fields);
            }
        }
    }
}

fn own(head: &Head) -> Vec<(Vec<u8>, Vec<u8>)> {
    head.fields()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

#[test]
fn a_head_cut_anywhere_is_partial_or_the_same() {
    for limits in [limits(), lax()] {
        for request in requests() {
            splits(&request, &limits, request_head);
        }
        for (_, response) in responses() {
            splits(&response, &limits, response_head);
        }
    }
}

#[test]
fn a_chunked_body_cut_anywhere_is_the_same() {
    let mut bodies = 0;
    for wire in requests() {
        let mut head = Head::default();
        let Ok(Parse::Done { used }) = request_head(&wire, &limits(), &mut head) else {
            continue;
        };
        let framing = request_framing(&mut head, &limits());
        if !framing.is_ok_and(|f| f.body == Body::Chunked) {
            continue;
        }
        bodies += 1;
        let data = &wire[used..];
        let whole = chunk::collect(data, data.len().max(1));
        for piece in 1..data.len().min(300) {
            assert_eq!(chunk::collect(data, piece), whole, "{}", escape(data));
        }
        for cut in 0..data.len().min(300) {
            assert_eq!(chunk::collect_at(data, cut), whole, "{}", escape(data));
        }
    }
    assert!(bodies > 50);
}

#[test]
fn a_plain_request_is_parsed_framed_and_written_again() {
    let wire =
        b"\r\nPOST  /a?b HTTP/1.1\r\nHost: x\r\nX-A: 1 \r\n 2\r\nContent-Length: 003\r\n\r\nabc";
    let mut head = Head::default();
    let parsed = request_head(wire, &limits(), &mut head);
    let used = wire.len() - 3;
    assert_eq!(parsed, Ok(Parse::Done { used }));
    let framing = request_framing(&mut head, &limits()).unwrap();
    assert_eq!(framing.body, Body::Length(3));
    assert!(framing.keep_alive && !framing.insecure);
    let mut out = Vec::new();
    write_request(&mut out, &head);
    assert_eq!(
        escape(&out),
        r"POST /a?b HTTP/1.1\r\nhost: x\r\nx-a: 1    2\r\ncontent-length: 3\r\n\r\n"
    );
    assert_eq!(out.len(), head.wire_len());
}

#[test]
fn a_head_as_long_as_the_limit_is_taken_and_one_byte_more_is_431_or_414() {
    let limits = Limits {
        head_max: 64,
        ..limits()
    };
    let mut head = Head::default();
    let fill = |n| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(n)).into_bytes();
    let exact = fill(64 - fill(0).len());
    assert_eq!(
        request_head(&exact, &limits, &mut head),
        Ok(Parse::Done { used: 64 })
    );
    let over = fill(65 - fill(0).len());
    let error = request_head(&over, &limits, &mut head).unwrap_err();
    assert_eq!((error.kind.status(), error.at), (431, 64));
    // With as many bytes as may be and no end there is none to wait for.
    let error = request_head(&over[..64], &limits, &mut head).unwrap_err();
    assert_eq!(error.kind, H1ErrorKind::HeadTooLarge);
    let line = format!("\r\nGET /{} HTTP/1.1\r\n\r\n", "b".repeat(60)).into_bytes();
    let error = request_head(&line, &limits, &mut head).unwrap_err();
    assert_eq!((error.kind.status(), error.at), (414, 64));
    // What is wrong before the limit is told first.
    let error = request_head(&[b"G(", &line[..]].concat(), &limits, &mut head).unwrap_err();
    assert_eq!(error.kind, H1ErrorKind::Method);
}

#[test]
fn options_of_the_configuration_change_framing() {
    let judge = |wire: &[u8], limits: Limits| {
        let mut head = Head::default();
        assert!(request_head(wire, &limits, &mut head).is_ok());
        request_framing(&mut head, &limits)
    };
    let old_get = b"GET / HTTP/1.0\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(judge(old_get, limits()).unwrap_err().kind.status(), 413);
    let any = Limits {
        payload_any_method: true,
        ..limits()
    };
    assert_eq!(judge(old_get, any).unwrap().body, Body::Length(2));
    let both = b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(!judge(both, limits()).unwrap().keep_alive);
    let keep = Limits {
        keep_insecure_te: true,
        ..limits()
    };
    assert!(judge(both, keep).unwrap().keep_alive);
    let socket = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(
        judge(socket, limits()).unwrap_err().kind,
        H1ErrorKind::WebSocketKey
    );
    let framing = judge(socket, lax()).unwrap();
    assert!(framing.upgrade && framing.websocket_key_missing);
}

#[test]
fn a_request_that_waits_for_100_says_so_only_with_a_body_in_1_1() {
    for (version, length, waits) in [("1.1", "2", true), ("1.1", "0", false), ("1.0", "2", false)] {
        let wire = format!(
            "POST / HTTP/{version}\r\nExpect: 100-Continue\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut head = Head::default();
        request_head(wire.as_bytes(), &limits(), &mut head).unwrap();
        let framing = request_framing(&mut head, &limits()).unwrap();
        assert_eq!(framing.expect_continue, waits, "{wire}");
    }
}

#[test]
fn a_chunk_is_told_with_what_is_left_of_it_and_may_go_by_another_way() {
    let wire = b"1000\r\nabcd";
    let mut decoder = ChunkDecoder::new(&limits());
    assert_eq!(
        decoder.decode(wire),
        Ok(Step::Chunk {
            used: 6,
            len: 4096,
            verbatim: true
        })
    );
    assert_eq!(decoder.decode(&wire[6..]), Ok(Step::Data { used: 4 }));
    assert_eq!(decoder.left(), 4092);
    decoder.advance(4092);
    assert_eq!((decoder.left(), decoder.is_done()), (0, false));
    assert_eq!(decoder.decode(b"\r"), Ok(Step::Partial));
    assert_eq!(decoder.decode(b"\r\n0"), Ok(Step::ChunkEnd { used: 2 }));
    assert_eq!(decoder.decode(b"0\r\n\r"), Ok(Step::Partial));
    assert_eq!(
        decoder.decode(b"0\r\n\r\nGET"),
        Ok(Step::End {
            used: 5,
            verbatim: true
        })
    );
    assert!(decoder.is_done());
}

#[test]
fn framing_that_we_would_write_so_goes_on_as_it_is_and_other_does_not() {
    let mut decoder = ChunkDecoder::new(&limits());
    let wire = b"3\r\nabc\r\na\r\n0123456789\r\n0004\r\nabcd\r\n0\r\nx: y\r\n\r\n";
    let run = decoder.verbatim(wire);
    assert_eq!(
        escape(&wire[..run.used]),
        r"3\r\nabc\r\na\r\n0123456789\r\n"
    );
    assert_eq!((run.payload, run.ended), (13, false));
    assert_eq!(decoder.verbatim(&wire[run.used..]), Run::default());
    let mut at = run.used;
    let chunk = decoder.decode(&wire[at..]).unwrap();
    assert_eq!(
        chunk,
        Step::Chunk {
            used: 6,
            len: 4,
            verbatim: false
        }
    );
    at += 6;
    let run = decoder.verbatim(&wire[at..]);
    assert_eq!((run.used, run.payload), (6, 4));
    at += run.used;
    assert_eq!(decoder.verbatim(&wire[at..]), Run::default());
    assert_eq!(
        decoder.decode(&wire[at..]),
        Ok(Step::End {
            used: wire.len() - at,
            verbatim: false
        })
    );
    assert_eq!(own(decoder.trailers()), [(b"x".to_vec(), b"y".to_vec())]);
    let mut decoder = ChunkDecoder::new(&limits());
    let run = decoder.verbatim(b"1\r\na\r\n0\r\n\r\nGET");
    assert_eq!((run.used, run.payload, run.ended), (11, 1, true));
}

#[test]
fn a_size_line_longer_than_its_limit_is_refused_however_it_comes() {
    for line in [
        "0".repeat(2000) + "1\r\n",
        format!("1;{}\r\n", "a".repeat(2000)),
    ] {
        let wire = line.into_bytes();
        for len in [SIZE_LINE_MAX, SIZE_LINE_MAX + 1, wire.len()] {
            let mut decoder = ChunkDecoder::new(&limits());
            let error = decoder.decode(&wire[..len]).unwrap_err();
            assert_eq!(
                (error.kind, error.at),
                (H1ErrorKind::ChunkExtension, SIZE_LINE_MAX)
            );
        }
        let mut decoder = ChunkDecoder::new(&limits());
        let short = decoder.decode(&wire[..SIZE_LINE_MAX - 1]);
        assert_eq!(short, Ok(Step::Partial));
    }
}

#[test]
fn trailers_that_frame_route_or_authenticate_are_dropped() {
    let wire =
        b"0\r\nHost: a\r\nX-Sum: 1\r\nContent-Length: 3\r\nCookie: c\r\nAuthorization: d\r\n\r\n";
    let mut decoder = ChunkDecoder::new(&limits());
    assert!(matches!(decoder.decode(wire), Ok(Step::End { .. })));
    let mut out = Vec::new();
    write_last_chunk(&mut out, decoder.trailers());
    assert_eq!(escape(&out), r"0\r\nx-sum: 1\r\n\r\n");
}

#[test]
fn chunk_headers_are_hex_without_leading_zeros() {
    for (len, text) in [
        (1, "1\r\n"),
        (16, "10\r\n"),
        (0xabcdef, "ABCDEF\r\n"),
        (u64::MAX, "FFFFFFFFFFFFFFFF\r\n"),
    ] {
        let mut out = Vec::new();
        write_chunk_header(&mut out, len);
        assert_eq!(std::str::from_utf8(&out), Ok(text));
    }
}

/// Connection fields of what is sent in the combinations that haproxy 2.6 was asked about.
#[test]
fn connection_options_are_those_haproxy_sends_in_each_version_and_mode() {
    let said = |version, status, to, keep| {
        let mut head = Head::default();
        (head.version, head.status) = (version, status);
        head.push(b"Connection", b"Keep-Alive, X-Foo");
        head.push(b"connection", b"close");
        set_connection(&mut head, to, keep);
        let all: Vec<_> = head.values(b"connection").collect();
        String::from_utf8(all.join(&b" | "[..])).unwrap()
    };
    let (old, new) = (Version::Http10, Version::Http11);
    // To the server: http-keep-alive, then http-server-close.
    assert_eq!(said(old, 0, Peer::Server, true), "X-Foo | keep-alive");
    assert_eq!(said(new, 0, Peer::Server, true), "X-Foo");
    assert_eq!(said(old, 0, Peer::Server, false), "X-Foo");
    assert_eq!(said(new, 0, Peer::Server, false), "X-Foo | close");
    // To the client, by the server's version.
    let (to_old, to_new) = (Peer::Client(old), Peer::Client(new));
    assert_eq!(said(old, 200, to_old, true), "X-Foo | keep-alive");
    assert_eq!(said(old, 200, to_old, false), "X-Foo");
    assert_eq!(said(new, 200, to_old, true), "X-Foo | keep-alive");
    assert_eq!(said(new, 200, to_old, false), "X-Foo | close");
    assert_eq!(said(old, 200, to_new, true), "X-Foo | keep-alive");
    assert_eq!(said(old, 200, to_new, false), "X-Foo");
    assert_eq!(said(new, 200, to_new, true), "X-Foo");
    assert_eq!(said(new, 200, to_new, false), "X-Foo | close");
}

#[test]
fn a_status_has_haproxys_reason_or_that_of_its_class() {
    assert_eq!(page::reason(102), "Processing");
    assert_eq!(page::reason(103), "Informational");
    assert_eq!(page::reason(302), "Moved Temporarily");
    assert_eq!(page::reason(299), "Success");
    assert_eq!(page::reason(599), "Server Error");
    assert_eq!(page::reason(700), "Other");
}

/// Bytes that are likely to mean something.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        &b"GET "[..],
        b"POST / HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 ",
        b"/",
        b"http://a:80",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: upgrade, close\r\n",
        b"Upgrade: h2c, websocket\r\n",
        b"A: ",
        b"b\r\n ",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"\x80",
        b":",
        b"3\r\nabc\r\n",
        b"0\r\n",
        b"5;x=\"y\"\r\n",
        b",",
        b" ",
        b"101 ",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|p| p.concat())
}

proptest! {
    #[test]
    fn random_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_all(&data);
    }

    #[test]
    fn likely_bytes_never_panic_and_mean_the_same_in_pieces(data in likely()) {
        fuzz_all(&data);
        for limits in [limits(), lax()] {
            splits(&data, &limits, request_head);
            splits(&data, &limits, response_head);
        }
    }

    /// What we send on, we would take in again, and as the same message.
    #[test]
    fn what_is_written_is_read_again_as_the_same(data in likely()) {
        for limits in [limits(), lax()] {
            let mut head = Head::default();
            let Ok(Parse::Done { .. }) = request_head(&data, &limits, &mut head) else { continue };
            let Ok(framing) = request_framing(&mut head, &limits) else { continue };
            let mut out = Vec::new();
            write_request(&mut out, &head);
            let mut again = Head::default();
            let parsed = request_head(&out, &limits, &mut again);
            prop_assert_eq!(parsed, Ok(Parse::Done { used: out.len() }));
            let second = request_framing(&mut again, &limits);
            prop_assert_eq!(second.map(|f| f.body), Ok(framing.body));
            prop_assert_eq!(own(&again), own(&head));
            prop_assert_eq!(again.target(), head.target());
        }
    }
}

/// What a rule wrote about a body is not what frames it.
#[test]
fn framing_fields_say_what_the_body_is_whatever_rules_wrote() {
    let cases: [(u16, &str, Body, &str); 10] = [
        (0, "content-length: 5", Body::Length(3), "content-length: 3"),
        (0, "", Body::Length(3), "content-length: 3"),
        (0, "content-length: 5", Body::None, "content-length: 0"),
        (0, "transfer-encoding: chunked", Body::None, ""),
        (0, "", Body::Chunked, "transfer-encoding: chunked"),
        (
            0,
            "transfer-encoding: chunked|content-length: 1",
            Body::Chunked,
            "transfer-encoding: chunked",
        ),
        (200, "", Body::None, "content-length: 0"),
        (200, "content-length: 3", Body::UntilClose, ""),
        (
            200,
            "content-length: 3|content-length: 4",
            Body::Length(3),
            "content-length: 3",
        ),
        (101, "content-length: 3", Body::Tunnel, "content-length: 3"),
    ];
    for (status, given, body, wanted) in cases {
        let mut head = Head::default();
        head.status = status;
        for field in given.split('|').filter(|f| !f.is_empty()) {
            let (name, value) = field.split_once(": ").expect("a field");
            head.push(name.as_bytes(), value.as_bytes());
        }
        hold_framing(&mut head, body);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields: Vec<_> = head
            .fields()
            .map(|(n, v)| format!("{}: {}", text(n), text(v)))
            .collect();
        assert_eq!(fields.join("|"), wanted, "{status} {given} {body:?}");
    }
}
