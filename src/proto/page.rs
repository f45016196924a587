//! haproxy's own pages to the byte, and the reasons it gives with a status (configuration.txt, `errorfile`).
//!
//! A page leaves in one of two forms. Where a request was read, it is a message like any other ([`Page::head`]
//! and [`Page::body`]): `http-after-response` rules see it, and whether the connection closes is said behind its
//! own headers. Where there was no request to answer (one that cannot be read, or did not come in time) it is
//! the fixed text [`Page::wire`], whatever pages the proxy has.

use super::http::{Head, Version};

/// One built-in page.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub status: u16,
    pub reason: &'static str,
    /// Length of `body` in digits.
    length: &'static str,
    pub body: &'static str,
    /// The whole answer to what was no request, after which the connection closes.
    pub wire: &'static [u8],
}

macro_rules! page {
    ($status:literal, $reason:literal, $length:literal, $close:literal, $text:literal) => {
        Page {
            status: $status,
            reason: $reason,
            length: $length,
            body: concat!(
                "<html><body><h1>",
                $status,
                " ",
                $reason,
                "</h1>\n",
                $text,
                "\n</body></html>\n"
            ),
            wire: concat!(
                "HTTP/1.1 ",
                $status,
                " ",
                $reason,
                "\r\nContent-length: ",
                $length,
                "\r\nCache-Control: no-cache\r\n",
                $close,
                "Content-Type: text/html\r\n\r\n",
                "<html><body><h1>",
                $status,
                " ",
                $reason,
                "</h1>\n",
                $text,
                "\n</body></html>\n"
            )
            .as_bytes(),
        }
    };
}

/// In order of status. The youngest ones of haproxy do not say `Connection: close` on the wire.
#[rustfmt::skip]
static PAGES: [Page; 21] = [
    page!(200, "OK", "58", "", "Service ready."),
    page!(400, "Bad request", "90", "Connection: close\r\n", "Your browser sent an invalid request."),
    page!(401, "Unauthorized", "112", "Connection: close\r\n", "You need a valid user and password to access this content."),
    page!(403, "Forbidden", "93", "Connection: close\r\n", "Request forbidden by administrative rules."),
    page!(404, "Not Found", "83", "Connection: close\r\n", "The resource could not be found."),
    page!(405, "Method Not Allowed", "147", "Connection: close\r\n", "A request was made of a resource using a request method not supported by that resource."),
    page!(407, "Unauthorized", "112", "Connection: close\r\n", "You need a valid user and password to access this content."),
    page!(408, "Request Time-out", "110", "Connection: close\r\n", "Your browser didn't send a complete request in time."),
    page!(410, "Gone", "114", "Connection: close\r\n", "The resource is no longer available and will not be available again."),
    page!(413, "Payload Too Large", "106", "", "The request entity exceeds the maximum allowed."),
    page!(414, "URI Too Long", "95", "", "The requested URI is longer than allowed."),
    page!(421, "Misdirected Request", "106", "", "The request is not meant for this connection."),
    page!(422, "Unprocessable Content", "116", "", "The server cannot process the contained instructions."),
    page!(425, "Too Early", "80", "Connection: close\r\n", "Your browser sent early data."),
    page!(429, "Too Many Requests", "117", "Connection: close\r\n", "You have sent too many requests in a given amount of time."),
    page!(431, "Request Header Fields Too Large", "127", "", "The headers of the request exceed the maximum allowed."),
    page!(500, "Internal Server Error", "97", "Connection: close\r\n", "An internal server error occurred."),
    page!(501, "Not Implemented", "135", "Connection: close\r\n", "The server does not support the functionality required to fulfill the request."),
    page!(502, "Bad Gateway", "107", "Connection: close\r\n", "The server returned an invalid or incomplete response."),
    page!(503, "Service Unavailable", "107", "Connection: close\r\n", "No server is available to handle this request."),
    page!(504, "Gateway Time-out", "92", "Connection: close\r\n", "The server didn't respond in time."),
];

impl Page {
    /// Makes `head` that of this page, [`Page::body`] its body.
    pub fn head(&self, head: &mut Head) {
        start(head, self.status, self.reason);
        head.push(b"content-length", self.length.as_bytes());
        head.push(b"cache-control", b"no-cache");
        head.push(b"content-type", b"text/html");
    }
}

/// Empties `head` and makes it a response of HTTP/1.1 without fields.
pub fn start(head: &mut Head, status: u16, reason: &str) {
    head.clear();
    head.version = Version::Http11;
    head.set_status(status, reason.as_bytes());
}

/// Statuses that have a page and can be given another one (`errorfile`).
pub fn statuses() -> impl Iterator<Item = u16> {
    PAGES.iter().map(|page| page.status)
}

/// The built-in page of `status`, if it has one.
pub fn page(status: u16) -> Option<&'static Page> {
    let at = PAGES.binary_search_by_key(&status, |page| page.status);
    at.ok().map(|at| &PAGES[at])
}

/// The page of a status that certainly has one; 500 stands in where a caller is mistaken.
pub fn page_or_500(status: u16) -> &'static Page {
    page(status).unwrap_or(&PAGES[16])
}

/// haproxy's text for a status, for an answer that brings none (`return status …`, `set-status …`); that of its class
/// for one without its own.
#[rustfmt::skip]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        210 => "Content Different",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        310 => "Too many Redirects",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Requested range unsatisfiable",
        417 => "Expectation failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Method failure",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        449 => "Retry With",
        450 => "Blocked by Windows Parental Controls",
        451 => "Unavailable For Legal Reasons",
        456 => "Unrecoverable Error",
        499 => "client has closed connection",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway or Proxy Error",
        503 => "Service Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version not supported",
        506 => "Variant also negotiate",
        507 => "Insufficient storage",
        508 => "Loop detected",
        509 => "Bandwidth Limit Exceeded",
        510 => "Not extended",
        511 => "Network authentication required",
        520 => "Web server is returning an unknown error",
        _ => match status / 100 {
            1 => "Informational",
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            5 => "Server Error",
            _ => "Other",
        },
    }
}

/// Reads the raw answer of an `errorfile` into `head` and gives its body: status and version as written, names in
/// lower case, no Connection header, which is for the one who sends it to write. Lines may end in LF alone.
///
/// An empty file is no answer at all: the caller looks for that first.
///
/// # Errors
/// What haproxy says of such a file, without its name.
pub fn read_file<'f>(bytes: &'f [u8], head: &mut Head) -> Result<&'f [u8], String> {
    head.clear();
    let mut rest = bytes;
    while let [b'\n', after @ ..] | [b'\r', b'\n', after @ ..] = rest {
        rest = after;
    }
    let offset = |rest: &[u8]| bytes.len() - rest.len();
    let unreadable =
        |at: &dyn std::fmt::Display| format!("unable to parse headers (error offset: {at})");
    let (line, mut rest) = line(rest).ok_or_else(|| unreadable(&-2))?;
    let (version, status, reason) = status_line(line).ok_or_else(|| unreadable(&0))?;
    head.version = version;
    head.set_status(status, reason);
    let mut announced = None;
    let body = loop {
        let (field, after) = self::line(rest).ok_or_else(|| unreadable(&-2))?;
        if field.is_empty() {
            break after;
        }
        let (name, value) = split_field(field).ok_or_else(|| unreadable(&offset(rest)))?;
        rest = after;
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = std::str::from_utf8(value)
                .ok()
                .and_then(|v| v.parse::<usize>().ok());
            announced = Some(number.ok_or_else(|| unreadable(&offset(rest)))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err("chunk-encoded payload not supported".to_owned());
        } else if name.eq_ignore_ascii_case(b"connection") {
            continue;
        }
        head.push(name, value);
    };
    if !body.is_empty() && matches!(status, 100..=199 | 204 | 304) {
        return Err("message payload not expected".to_owned());
    }
    match announced.filter(|&n| n != body.len()) {
        Some(n) => Err(format!(
            "payload size does not match the announced content-length ({} != {n})",
            body.len()
        )),
        None => Ok(body),
    }
}

/// The next line without its end, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

fn status_line(line: &[u8]) -> Option<(Version, u16, &[u8])> {
    let rest = line.strip_prefix(b"HTTP/")?;
    let (version, rest) = rest.split_first_chunk::<3>()?;
    let version = match version {
        [b'1', b'.', b'0'] => Version::Http10,
        [b'0'..=b'9', b'.', b'0'..=b'9'] => Version::Http11,
        _ => return None,
    };
    let rest = rest.strip_prefix(b" ")?.trim_ascii_start();
    let (code, reason) = rest.split_at_checked(3)?;
    let status = std::str::from_utf8(code).ok()?.parse().ok()?;
    let clean = |b: &u8| *b == b'\t' || !b.is_ascii_control();
    let fits = (100..=999).contains(&status) && reason.iter().all(clean);
    let parted = reason.is_empty() || reason.starts_with(b" ");
    (fits && parted).then_some((version, status, reason.trim_ascii()))
}

fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let clean = |b: &u8| *b == b'\t' || !b.is_ascii_control();
    let fits = !name.is_empty() && name.iter().all(token) && value.iter().all(clean);
    fits.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_bodies_and_statuses_are_sorted() {
        assert!(PAGES.is_sorted_by_key(|page| page.status));
        for page in &PAGES {
            assert_eq!(page.length, page.body.len().to_string(), "{}", page.status);
        }
        assert_eq!(page_or_500(999).status, 500);
    }

    /// As haproxy 2.6 sends it to `GET / HTTP`, and to `Transfer-Encoding: gzip, chunked`.
    #[test]
    fn what_was_no_request_is_answered_by_fixed_bytes() {
        assert_eq!(
            page(400).unwrap().wire,
            b"HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nCache-Control: no-cache\r\n\
              Connection: close\r\nContent-Type: text/html\r\n\r\n\
              <html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.\n</body></html>\n"
        );
        assert_eq!(
            page(422).unwrap().wire,
            b"HTTP/1.1 422 Unprocessable Content\r\nContent-length: 116\r\nCache-Control: no-cache\r\n\
              Content-Type: text/html\r\n\r\n\
              <html><body><h1>422 Unprocessable Content</h1>\n\
              The server cannot process the contained instructions.\n</body></html>\n"
        );
    }

    /// As haproxy 2.6 answers `deny_status 503`, without its Connection line.
    #[test]
    fn an_answer_to_a_request_is_a_message_like_any_other() {
        let mut head = Head::default();
        page(503).unwrap().head(&mut head);
        let fields: Vec<_> = head.fields().collect();
        assert_eq!(
            fields,
            [
                (&b"content-length"[..], &b"107"[..]),
                (b"cache-control", b"no-cache"),
                (b"content-type", b"text/html"),
            ]
        );
        assert_eq!(
            (head.status, head.reason()),
            (503, &b"Service Unavailable"[..])
        );
    }

    /// Each verdict is haproxy 2.6's, but for the statuses it cannot send: it takes 99.
    #[test]
    fn a_file_is_read_or_refused_as_haproxy_does() {
        let read = |text: &str| {
            let mut head = Head::default();
            let body = read_file(text.as_bytes(), &mut head)?.to_vec();
            let fields = head
                .fields()
                .map(|(n, v)| [n, b"=", v].concat())
                .collect::<Vec<_>>()
                .concat();
            let text = format!(
                "{} {} {} {} {}",
                head.version.text(),
                head.status,
                String::from_utf8_lossy(head.reason()),
                String::from_utf8_lossy(&fields),
                String::from_utf8_lossy(&body)
            );
            Ok::<_, String>(text)
        };
        for (text, seen) in [
            ("HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 200 OK  "),
            ("HTTP/1.0 503 OK\nA: b\n\nbody", "HTTP/1.0 503 OK a=b body"),
            ("HTTP/1.1 503\nA: b\n\nbody", "HTTP/1.1 503  a=b body"),
            ("HTTP/2.0 503 x\n\nbody", "HTTP/1.1 503 x  body"),
            ("\r\nHTTP/1.1 503 x\r\n\r\nbody", "HTTP/1.1 503 x  body"),
            (
                "HTTP/1.1 503 x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
                "HTTP/1.1 503 x content-length=4 body",
            ),
        ] {
            assert_eq!(read(text).as_deref(), Ok(seen), "{text:?}");
        }
        for (text, why) in [
            ("foo\n", "unable to parse headers (error offset: 0)"),
            (
                " HTTP/1.1 503 x\r\n\r\n",
                "unable to parse headers (error offset: 0)",
            ),
            (
                "HTTP/1.1 503 x\r\nA: b\r\n",
                "unable to parse headers (error offset: -2)",
            ),
            (
                "HTTP/1.1 503 x\r\nA b\r\n\r\n",
                "unable to parse headers (error offset: 16)",
            ),
            (
                "HTTP/1.1 503 x\r\nContent-Length: 10\r\n\r\nbody",
                "payload size does not match the announced content-length (4 != 10)",
            ),
            (
                "HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "chunk-encoded payload not supported",
            ),
            ("HTTP/1.1 204 x\r\n\r\nbody", "message payload not expected"),
        ] {
            assert_eq!(read(text), Err(why.to_owned()), "{text:?}");
        }
    }
}
