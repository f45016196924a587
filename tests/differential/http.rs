//! Requests and responses, well-formed, odd and hostile, through Ringway and through haproxy 2.6: what the client
//! gets, whether its connection goes on, and what the server behind sees of it.
//!
//! The messages are those of `src/proto/h1/tests`, where each stands with Ringway's verdict and, where it is another,
//! haproxy's. Here both are asked again, over sockets. What the table has no other verdict for must be the same, line
//! for line; where it has one, Ringway may only refuse more.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::http::{Message, Origin, Reply, Wire, ok, text};
use crate::support::{Daemon, Launch, balancer, oracle, port, until};

/// Connections at a time, each to a proxy and a server of its own.
const LANES: usize = 12;

/// What Ringway forwards and haproxy 2.6 refuses: as 3.4, heads may fill the buffer up to its reserve, and lengths
/// go up to 2^64.
const FORWARDED_SINCE: [&str; 2] = ["{15300*b}", "Content-Length: 9223372036854775808"];

/// What differs end to end although the message is judged alike, with the reason.
const KNOWN: &[(&str, &str)] = &[
    (
        r"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
        TO_1_0,
    ),
    (
        r"GET / HTTP/1.0\r\n\r\n < HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        TO_1_0,
    ),
    (
        r"GET / HTTP/1.0\r\nHost: a\r\n\r\n < HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        CHUNKS_TO_1_0,
    ),
    (
        r"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n < HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        CHUNKS_TO_1_0,
    ),
    (
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX T: 1\r\n\r\n",
        "haproxy 2.6 forwards a space in a trailer's name if the trailer comes with the head",
    ),
];

/// RFC 9110 section 15.2; haproxy 2.6 sends them.
const TO_1_0: &str = "no interim answers to a client of HTTP/1.0";

/// RFC 9112 section 6.1; haproxy 2.6 sends the chunks.
const CHUNKS_TO_1_0: &str = "a client of HTTP/1.0 gets the bare body, ended by the connection";

/// A message of the table.
#[derive(Clone)]
struct Case {
    /// As it stands in the table.
    name: String,
    request: Vec<u8>,
    response: Option<Vec<u8>>,
    ours: String,
    theirs: Option<String>,
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
                out.extend(unescape(inner).repeat(count.parse().expect("a count")));
                rest = tail;
            }
            _ => out.extend_from_slice(kind.as_bytes()),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn table(file: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut fresh = false;
    for line in file.lines() {
        if let Some(request) = line.strip_prefix("> ") {
            cases.push(Case {
                name: request.to_owned(),
                request: unescape(request),
                response: None,
                ours: String::new(),
                theirs: None,
            });
            fresh = true;
            continue;
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        if let Some(response) = line.strip_prefix("< ") {
            case.response = Some(unescape(response));
            case.name = format!("{} < {response}", case.name);
        } else if let Some(theirs) = line.strip_prefix("2.6: ") {
            case.theirs = Some(theirs.to_owned());
        } else if std::mem::take(&mut fresh) {
            line.clone_into(&mut case.ours);
        }
    }
    cases
}

impl Case {
    fn method(&self) -> String {
        let word = self.request.split(|b| *b == b' ').next();
        text(word.unwrap_or_default()).trim_start().to_owned()
    }

    /// Whether some verdict passes on a request that does not come to its end: the client then ends its side, for
    /// nothing more would happen.
    fn cut(&self) -> bool {
        let cut = |verdict: &str| match verdict.split_once(' ') {
            Some(("keep" | "close", sent)) => !is_whole(sent),
            _ => false,
        };
        self.response.is_none() && (cut(&self.ours) || self.theirs.as_deref().is_some_and(cut))
    }
}

/// Whether the body of a message as it stands in a verdict is complete.
fn is_whole(sent: &str) -> bool {
    let wire = text(&unescape(sent));
    let Some((head, body)) = wire.split_once("\r\n\r\n") else {
        // A long one, told by its length.
        return true;
    };
    if head.starts_with("CONNECT") {
        return true;
    }
    if head.contains("\r\ntransfer-encoding: ") {
        return body.starts_with("0\r\n") || body.contains("\r\n0\r\n");
    }
    match head.split_once("\r\ncontent-length: ") {
        Some((_, length)) => {
            let length = length.lines().next().unwrap_or_default();
            length.parse() == Ok(body.chars().count())
        }
        None => true,
    }
}

/// One of the two balancers with a proxy and a server for each lane.
struct Bench {
    _daemon: Daemon,
    lanes: Vec<Lane>,
}

struct Lane {
    front: u16,
    origin: Origin,
    /// What to answer; a plain 200 where there is nothing.
    script: Arc<Mutex<Option<String>>>,
}

impl Bench {
    fn new(program: PathBuf, options: &str) -> Self {
        let mut config = format!(
            "global\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 4s\n timeout server 4s\n \
             no option abortonclose\n retries 0\n{options}"
        );
        let mut lanes = Vec::new();
        for n in 0..LANES {
            let script: Arc<Mutex<Option<String>>> = Arc::default();
            let scripted = Arc::clone(&script);
            let origin = Origin::new(move |request| {
                if request.target() == "/probe" {
                    return Reply::from(ok("", "probed"));
                }
                if let Some(reply) = scripted.lock().unwrap().clone() {
                    return Reply::last(reply);
                }
                let body = if request.method() == "HEAD" { "" } else { "ok" };
                let line = if request.method() == "CONNECT" {
                    "405 No\r\nConnection: close"
                } else {
                    "200 OK"
                };
                format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\n{body}").into()
            });
            let front = port();
            config.push_str(&format!(
                "listen l{n}\n bind 127.0.0.1:{front}\n server s {} pool-max-conn 0\n",
                origin.addr()
            ));
            lanes.push(Lane {
                front,
                origin,
                script,
            });
        }
        Self {
            _daemon: Launch::of(program, &config).start(),
            lanes,
        }
    }

    /// Runs `work` on every one of `0..n`, all lanes at once; what it gave, in order.
    fn each<T: Send>(&self, n: usize, work: impl Fn(&Lane, usize) -> T + Sync) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for lane in &self.lanes {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= n {
                            return;
                        }
                        let result = work(lane, i);
                        done.lock().unwrap().insert(i, result);
                    }
                });
            }
        });
        done.into_inner().unwrap().into_values().collect()
    }
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// Answers and the end, as the client saw them.
    client: Vec<String>,
    /// What the server got.
    server: Vec<String>,
    /// The first final status; 0 without an answer.
    status: u16,
}

impl Lane {
    /// Sends the request in the pieces that `cuts` makes, reads what comes, and sends a second request on the same
    /// connection if it goes on.
    fn run(&self, case: &Case, cut: Option<usize>) -> Outcome {
        *self.script.lock().unwrap() = case.response.as_deref().map(text);
        self.origin.drain();
        let mut client = Wire::to(self.front);
        match cut {
            None => client.send(&case.request),
            Some(at) => {
                client.send(&case.request[..at]);
                // Not a proof of anything: it only makes it likely that the pieces are read one by one.
                std::thread::sleep(Duration::from_micros(700));
                client.send(&case.request[at..]);
            }
        }
        if case.cut() {
            client.finish();
        }
        let mut seen = Vec::new();
        let mut status = 0;
        let mut probed = false;
        let method = case.method();
        let end = loop {
            let asked = if probed { "GET" } else { &method };
            let Some(answer) = client.answer(asked) else {
                break "closed";
            };
            // Until it ends, a connection is a tunnel or a body without a length.
            let last = !answer.whole;
            let probe = answer.body == "probed";
            if !probe {
                seen.push(page_or_brief(&answer));
            }
            let last_head = !matches!(answer.status(), 100..=199);
            if last_head && status == 0 {
                status = answer.status();
            }
            if probe {
                break "kept";
            }
            if last {
                break "closed";
            }
            if last_head && !std::mem::replace(&mut probed, true) {
                client.send("GET /probe HTTP/1.1\r\nHost: p\r\n\r\n");
            }
        };
        seen.push(end.to_owned());
        drop(client);
        until("the server is left alone", || {
            self.origin.server.seen.open() == 0
        });
        let got = self.origin.drain();
        // How much of a request that does not end went on before its end was seen is chance.
        let server = got
            .iter()
            .filter(|request| request.target() != "/probe" && request.whole)
            .map(Message::brief);
        Outcome {
            client: seen,
            server: server.collect(),
            status,
        }
    }
}

/// An answer in one line. haproxy has its pages twice: with the fields in the order of the file, and in another and
/// in small letters where the stream itself answers; what bytes came together decides which.
fn page_or_brief(answer: &Message) -> String {
    if !answer.body.starts_with("<html>") {
        return answer.brief();
    }
    let mut answer = answer.clone();
    for (name, _) in &mut answer.fields {
        name.make_ascii_lowercase();
    }
    answer.fields.sort();
    answer.brief()
}

/// Both sides of every case; Ringway first.
fn outcomes(cases: &[Case], options: &str) -> Vec<(Outcome, Outcome)> {
    let run = |program| {
        let bench = Bench::new(program, options);
        bench.each(cases.len(), |lane, i| lane.run(&cases[i], None))
    };
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| run(oracle()));
        let ours = run(balancer());
        let theirs = theirs.join();
        (
            ours,
            theirs.unwrap_or_else(|e| std::panic::resume_unwind(e)),
        )
    });
    ours.into_iter().zip(theirs).collect()
}

/// What is wrong with a pair of outcomes, if anything.
fn fault(case: &Case, ours: &Outcome, theirs: &Outcome) -> Option<String> {
    let refused = |outcome: &Outcome| outcome.server.is_empty() && outcome.status >= 400;
    let since = FORWARDED_SINCE.iter().any(|text| case.name.contains(text));
    let why = if case.response.is_none() && refused(theirs) && !refused(ours) && !since {
        "forwarded what haproxy refuses"
    } else if case.theirs.is_some() || KNOWN.iter().any(|(name, _)| *name == case.name) {
        return None;
    } else if ours != theirs {
        "other than haproxy"
    } else {
        return None;
    };
    let name = &case.name;
    Some(format!(
        "{why}: {name}\n  ours:    {ours:?}\n  haproxy: {theirs:?}\n"
    ))
}

#[track_caller]
fn compare(cases: &[Case], options: &str) {
    let pairs = outcomes(cases, options);
    let both = cases.iter().zip(&pairs);
    let faults: Vec<_> = both
        .filter_map(|(case, (ours, theirs))| fault(case, ours, theirs))
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {} cases:\n{}",
        faults.len(),
        cases.len(),
        faults.join("")
    );
    // And what was judged without sockets is what comes over them.
    for (case, (ours, _)) in cases.iter().zip(&pairs) {
        if let Some(status) = case.ours.get(..3).and_then(|s| s.parse::<u16>().ok()) {
            assert_eq!(ours.status, status, "{}", case.name);
        }
    }
}

#[test]
fn requests_are_forwarded_or_refused_as_by_haproxy() {
    let cases = table(include_str!("../../src/proto/h1/tests/requests.txt"));
    assert!(cases.len() >= 300, "{}", cases.len());
    compare(&cases, "");
}

#[test]
fn responses_are_forwarded_or_refused_as_by_haproxy() {
    let cases = table(include_str!("../../src/proto/h1/tests/responses.txt"));
    assert!(cases.len() >= 100, "{}", cases.len());
    // Each is the last of its connection, whether it says so or not.
    compare(&cases, " option http-server-close\n");
}

#[test]
fn a_request_cut_anywhere_is_what_it_is_in_one_piece() {
    let cases = table(include_str!("../../src/proto/h1/tests/requests.txt"));
    let short = cases
        .iter()
        .filter(|case| case.request.len() < 120 && !case.cut());
    // Some of each kind: the table is ordered by them.
    let chosen: Vec<_> = short.step_by(23).collect();
    let all: Vec<_> = chosen
        .iter()
        .flat_map(|case| (1..case.request.len()).map(move |cut| (*case, cut)))
        .collect();
    let bench = Bench::new(balancer(), "");
    let whole = bench.each(chosen.len(), |lane, i| lane.run(chosen[i], None));
    let whole: BTreeMap<_, _> = chosen.iter().map(|case| &case.name).zip(whole).collect();
    let pieces = bench.each(all.len(), |lane, i| lane.run(all[i].0, Some(all[i].1)));
    for ((case, cut), outcome) in all.iter().zip(pieces) {
        let expected = &whole[&case.name];
        assert_eq!(&outcome, expected, "{} cut at {cut}", case.name);
    }
}
