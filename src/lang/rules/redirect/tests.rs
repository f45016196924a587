use super::super::fixture::{Asked, head, with_cx, words};
use super::*;
use crate::lang::source::{FileId, Span};

fn parsed(line: &str) -> Redirect {
    let words = words(line);
    let at = Span {
        file: FileId(0),
        line: 1,
        col: 0,
        len: 0,
    };
    let (redirect, taken) = with_cx(|cx| Redirect::parse(&words, false, at, cx))
        .0
        .unwrap();
    assert_eq!(taken, words.len(), "{line}");
    redirect
}

fn answer(line: &str, request: &str) -> String {
    let asked = Asked {
        request: head(request),
    };
    let redirect = parsed(line);
    let (arena, mut out) = (Arena::new(), Head::default());
    let Some(location) = redirect.location(&asked, &arena) else {
        return String::new();
    };
    redirect.answer(location, &mut out);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut wire = format!("{} {}\r\n", out.status, text(out.reason()));
    for (name, value) in out.fields() {
        wire += &format!("{}: {}\r\n", text(name), text(value));
    }
    wire
}

/// As haproxy 2.6.12 answers, `connection` aside.
#[test]
fn a_redirection_is_the_answer_haproxy_gives() {
    let tail = |code: u16| match code {
        301 => ("301 Moved Permanently", ""),
        302 => ("302 Found", "cache-control: no-cache\r\n"),
        303 => ("303 See Other", "cache-control: no-cache\r\n"),
        307 => ("307 Temporary Redirect", "cache-control: no-cache\r\n"),
        _ => ("308 Permanent Redirect", ""),
    };
    for code in [301, 302, 303, 307, 308] {
        let (status, end) = tail(code);
        assert_eq!(
            answer(
                &format!("location /a code {code}"),
                "GET /q?x=1 | host: h.x"
            ),
            format!("{status}\r\ncontent-length: 0\r\nlocation: /a\r\n{end}")
        );
    }
    for (line, cookie) in [
        ("set-cookie A=b", "A=b; path=/;"),
        ("set-cookie A", "A; path=/;"),
        ("clear-cookie A=", "A=; path=/; Max-Age=0;"),
    ] {
        assert_eq!(
            answer(&format!("location /a {line}"), "GET /q | host: h.x"),
            format!(
                "302 Found\r\ncontent-length: 0\r\nlocation: /a\r\ncache-control: no-cache\r\nset-cookie: {cookie}\r\n"
            )
        );
    }
}

#[test]
fn a_location_is_made_of_the_request_as_haproxy_makes_it() {
    for (line, request, wanted) in [
        ("prefix /p", "GET /q?x=1", "/p/q?x=1"),
        ("prefix /", "GET /q?x=1", "/q?x=1"),
        ("prefix /p drop-query", "GET /q?x=1", "/p/q"),
        ("prefix /p append-slash", "GET /q?x=1", "/p/q?x=1/"),
        ("prefix /p drop-query append-slash", "GET /q?x=1", "/p/q/"),
        ("prefix /p drop-query append-slash", "GET /q/?x=1", "/p/q/"),
        ("prefix /p", "OPTIONS *", "/p/"),
        ("prefix /p", "GET http://o.y/q?x=1 | host: o.y", "/p/q?x=1"),
        ("prefix http://z.y", "GET /q?x", "http://z.y/q?x"),
        (
            "scheme https",
            "GET /q?x=1 | host: h.x",
            "https://h.x/q?x=1",
        ),
        ("scheme https", "GET /q?x=1", "https:///q?x=1"),
        (
            "scheme https drop-query",
            "GET /q?x=1 | host: h:80",
            "https://h:80/q",
        ),
        ("scheme https", "OPTIONS * | host: h.x", "https://h.x/"),
        ("location \"/a b\"", "GET /q", "/a b"),
        ("location /a keep-query", "GET /q?x=1", "/a?x=1"),
        ("location /a?b keep-query", "GET /q?x=1", "/a?b&x=1"),
        ("location /a keep-query", "GET /q", "/a"),
    ] {
        let asked = Asked {
            request: head(request),
        };
        let (redirect, arena) = (parsed(line), Arena::new());
        let location = redirect.location(&asked, &arena);
        assert_eq!(location, Some(wanted.as_bytes()), "{line} of {request}");
    }
}
