//! Answers beside those of haproxy 2.6, which were taken down byte by byte; only its Connection line is not ours
//! to write here.

use std::path::Path;

use super::*;
use crate::lang::expr::{Cx, VarNames};
use crate::lang::lexer::Word;
use crate::lang::logformat::LogFormat;
use crate::lang::source::{FileId, Span};

struct Client(Head);
impl Subject for Client {
    fn src(&self) -> Option<std::net::SocketAddr> {
        "127.0.0.1:4000".parse().ok()
    }
    fn request(&self) -> Option<&Head> {
        Some(&self.0)
    }
}

fn format(text: &str) -> LogFormat {
    let mut vars = VarNames::default();
    let mut cx = Cx {
        vars: &mut vars,
        read: &|_: &Path| Err("no files".to_owned()),
        resolve: &|_| None,
        warnings: Vec::new(),
        env: &|_| None,
    };
    let word = Word {
        bytes: text.as_bytes().to_vec(),
        span: Span {
            file: FileId(0),
            line: 1,
            col: 1,
            len: 1,
        },
    };
    LogFormat::parse(&word, &mut cx).unwrap()
}

fn name(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// As it would go over the wire.
fn shown(answer: Answer, head: &Head, body: &[u8]) -> String {
    let Answer::Message(status) = answer else {
        return String::new();
    };
    assert_eq!(status, head.status);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut out = format!(
        "{} {status} {}\r\n",
        head.version.text(),
        text(head.reason())
    );
    for (name, value) in head.fields() {
        out += &format!("{}: {}\r\n", text(name), text(value));
    }
    out + "\r\n" + &text(body)
}

fn made(make: impl FnOnce(&dyn Subject, &Arena, &mut Head, &mut Vec<u8>) -> Answer) -> String {
    let mut request = Head::default();
    request.set_method(b"GET");
    request.set_target(b"/500");
    let (mut head, mut body) = (Head::default(), b"of another".to_vec());
    let answer = make(&Client(request), &Arena::new(), &mut head, &mut body);
    shown(answer, &head, &body)
}

fn of_error(status: u16, chain: Chain<'_>) -> String {
    made(|subject, arena, head, body| error(status, chain, subject, arena, head, body))
}

fn of_reply(own: &Reply) -> String {
    made(|subject, arena, head, body| reply(own, Chain::default(), subject, arena, head, body))
}

fn pages(list: Vec<(u16, Page)>) -> Pages {
    Pages { by_status: list }
}

const SORRY: &[u8] = b"HTTP/1.0 503 Svc Unav\r\nCache-Control: no-cache\r\nConnection: close\r\n\
    Content-Type: text/html\r\nX-Foo: Bar\r\n\r\n<html>sorry</html>\n";
const SORRY_SENT: &str = "HTTP/1.0 503 Svc Unav\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n\
    x-foo: Bar\r\n\r\n<html>sorry</html>\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 83\r\ncache-control: no-cache\r\n\
    content-type: text/html\r\n\r\n<html><body><h1>404 Not Found</h1>\n\
    The resource could not be found.\n</body></html>\n";

#[test]
fn the_backends_page_counts_before_the_frontends_and_that_before_ours() {
    let front = pages(vec![
        (404, Page::Location(303, b"/there"[..].into())),
        (503, Page::Location(302, b"/there?a=b"[..].into())),
        (403, Page::Raw(SORRY.into())),
        (405, Page::Raw([][..].into())),
    ]);
    let back = pages(vec![(503, Page::Location(302, b"/backend"[..].into()))]);
    let both = Chain {
        back: Some(&back),
        front: Some(&front),
    };
    assert_eq!(
        of_error(404, both),
        "HTTP/1.1 303 See Other\r\ncache-control: no-cache\r\ncontent-length: 0\r\nlocation: /there\r\n\r\n"
    );
    assert_eq!(
        of_error(503, both),
        "HTTP/1.1 302 Found\r\ncache-control: no-cache\r\ncontent-length: 0\r\nlocation: /backend\r\n\r\n"
    );
    assert_eq!(of_error(403, both), SORRY_SENT);
    assert_eq!(of_error(405, both), "", "an empty file: nothing is said");
    assert_eq!(of_error(404, Chain::default()), NOT_FOUND);
}

#[test]
fn a_reply_has_its_headers_before_its_length_and_type() {
    let text = Reply {
        status: 200,
        body: ReplyBody::Text {
            content_type: b"text/plain"[..].into(),
            text: b"hello"[..].into(),
        },
        headers: vec![(name("X-A"), format("b"))],
    };
    assert_eq!(
        of_reply(&text),
        "HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello"
    );
    let headers = vec![
        (name("a"), format("b")),
        (name("a"), format("")),
        (name("a"), format("c")),
    ];
    let empty = |status| Reply {
        status,
        body: ReplyBody::Empty,
        headers: headers.clone(),
    };
    assert_eq!(
        of_reply(&empty(410)),
        "HTTP/1.1 410 Gone\r\na: b\r\na: c\r\ncontent-length: 0\r\n\r\n",
        "a header without a value is not sent"
    );
    assert_eq!(
        of_reply(&empty(204)),
        "HTTP/1.1 204 No Content\r\na: b\r\na: c\r\n\r\n"
    );
    let nothing = Reply {
        status: 200,
        body: ReplyBody::Format {
            content_type: b"text/plain"[..].into(),
            format: format(""),
        },
        headers: Vec::new(),
    };
    assert_eq!(
        of_reply(&nothing),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn a_reply_of_a_proxy_is_made_anew_for_each_request() {
    let own = Reply {
        status: 500,
        body: ReplyBody::Format {
            content_type: b"text/plain"[..].into(),
            format: format("a %ci"),
        },
        headers: vec![(name("x-a"), format("b%ci"))],
    };
    let front = pages(vec![(500, Page::Reply(Box::new(own)))]);
    let chain = Chain {
        back: None,
        front: Some(&front),
    };
    assert_eq!(
        of_error(500, chain),
        "HTTP/1.1 500 Internal Server Error\r\nx-a: b127.0.0.1\r\ncontent-length: 11\r\n\
         content-type: text/plain\r\n\r\na 127.0.0.1"
    );
}

#[test]
fn a_reply_that_wants_the_page_gets_the_one_in_force() {
    let deny = Reply {
        status: 403,
        body: ReplyBody::Page,
        headers: vec![(name("ignored"), format("b"))],
    };
    let front = pages(vec![(403, Page::Raw(SORRY.into()))]);
    let chain = Chain {
        back: None,
        front: Some(&front),
    };
    let sent = made(|subject, arena, head, body| reply(&deny, chain, subject, arena, head, body));
    assert_eq!(sent, SORRY_SENT);
    let circle = pages(vec![(
        404,
        Page::Reply(Box::new(Reply {
            status: 404,
            ..deny
        })),
    )]);
    let chain = Chain {
        back: None,
        front: Some(&circle),
    };
    assert_eq!(of_error(404, chain), NOT_FOUND);
}

#[test]
fn a_password_is_asked_for_on_top_of_the_page() {
    let asked = |of_proxy, front: &Pages| {
        let chain = Chain {
            back: None,
            front: Some(front),
        };
        made(|subject, arena, head, body| auth(b"a b", of_proxy, chain, subject, arena, head, body))
    };
    let ours = |status: u16, name: &str| {
        format!(
            "HTTP/1.1 {status} Unauthorized\r\ncontent-length: 112\r\ncache-control: no-cache\r\n\
             content-type: text/html\r\n{name}: Basic realm=\"a b\"\r\n\r\n\
             <html><body><h1>{status} Unauthorized</h1>\n\
             You need a valid user and password to access this content.\n</body></html>\n"
        )
    };
    let none = Pages::default();
    assert_eq!(asked(false, &none), ours(401, "www-authenticate"));
    assert_eq!(asked(true, &none), ours(407, "proxy-authenticate"));
    let login = pages(vec![(401, Page::Location(302, b"/login"[..].into()))]);
    assert_eq!(
        asked(false, &login),
        "HTTP/1.1 302 Found\r\ncache-control: no-cache\r\ncontent-length: 0\r\nlocation: /login\r\n\
         www-authenticate: Basic realm=\"a b\"\r\n\r\n"
    );
    assert_eq!(
        asked(false, &pages(vec![(401, Page::Raw([][..].into()))])),
        ""
    );
}

#[test]
fn a_request_to_a_proxy_is_told_by_its_target() {
    let asks = |target: &str| {
        let mut head = Head::default();
        head.set_target(target.as_bytes());
        asks_proxy(&head)
    };
    assert!(asks("http://x/a") && asks("x:80"));
    assert!(!asks("/a") && !asks("*"));
}

#[test]
fn what_was_no_request_gets_our_page_or_nothing() {
    let other = pages(vec![(400, Page::Raw(SORRY.into()))]);
    assert_eq!(wire(400, &other), page::page_or_500(400).wire);
    let nothing = pages(vec![(408, Page::Raw([][..].into()))]);
    assert!(wire(408, &nothing).is_empty());
    assert_eq!(wire(400, &nothing), page::page_or_500(400).wire);
}
