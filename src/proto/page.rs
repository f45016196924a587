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

/// What haproxy writes behind a status that a rule chose (`return status …`, `set-status …`).
#[rustfmt::skip]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
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
        100..=199 => "Informational",
        200..=299 => "Success",
        300..=399 => "Redirection",
        400..=499 => "Client Error",
        500..=599 => "Server Error",
        _ => "Other",
    }
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
}
