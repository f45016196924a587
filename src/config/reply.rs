//! Answers of our own: what a [`Reply`], an error or a missing password becomes on the way to the client.
//!
//! The answer is a head and a body, as a server's would be: `http-after-response` rules still pass over it. The
//! sender adds what it says about the connection, drops the body of an answer to HEAD, and closes behind an answer
//! that has no content-length (an `errorfile` without one), whatever else is in force.
//!
//! It lies beside the pages it chooses from, above the language that evaluates them and below all who send.

use super::http::{Page, Pages};
use crate::lang::rules::{Reply, ReplyBody};
use crate::lang::sample::Arena;
use crate::lang::subject::Subject;
use crate::proto::http::Head;
use crate::proto::page;

/// Where pages are looked for, one after the other: the backend's if one was chosen, the frontend's, the built-in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain<'p> {
    pub back: Option<&'p Pages>,
    pub front: Option<&'p Pages>,
}

impl<'p> Chain<'p> {
    fn page(self, status: u16) -> Option<&'p Page> {
        let own = |pages: &'p Pages| pages.by_status.iter().find(|(s, _)| *s == status);
        let found = self.back.and_then(own).or_else(|| self.front.and_then(own));
        found.map(|(_, page)| page)
    }
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// Head and body are ready; the status, which a page may have changed.
    Message(u16),
    /// The page is an empty file: the connection closes without a word.
    Silence,
}

/// Makes the answer of `deny`, `tarpit`, `return` or `http-error`. `body` is replaced.
pub fn reply(
    reply: &Reply,
    pages: Chain<'_>,
    subject: &dyn Subject,
    arena: &Arena,
    head: &mut Head,
    body: &mut Vec<u8>,
) -> Answer {
    body.clear();
    let content_type: &[u8] = match &reply.body {
        ReplyBody::Page | ReplyBody::Section(_) => {
            return error(reply.status, pages, subject, arena, head, body);
        }
        ReplyBody::Raw(file) => return raw(file, head, body),
        ReplyBody::Empty => b"",
        ReplyBody::Text { content_type, text } => {
            body.extend_from_slice(text);
            content_type
        }
        ReplyBody::Format {
            content_type,
            format,
        } => {
            format.render(subject, arena, body);
            content_type
        }
    };
    page::start(head, reply.status, page::reason(reply.status));
    // Values are rendered behind the body, which is cut back to its own length each time.
    let own = body.len();
    for (name, value) in &reply.headers {
        value.render(subject, arena, body);
        if body.len() > own {
            head.push(name, &body[own..]);
        }
        body.truncate(own);
    }
    if reply.status != NO_CONTENT {
        push_length(head, own);
    }
    if own > 0 {
        head.push(b"content-type", content_type);
    }
    Answer::Message(reply.status)
}

/// 204, which has no body whose length there would be.
const NO_CONTENT: u16 = 204;

fn push_length(head: &mut Head, length: usize) {
    use std::io::Write as _;
    let mut text = [0; 20];
    let mut rest = &mut text[..];
    write!(rest, "{length}").expect("a u64 has 20 digits at most");
    let left = rest.len();
    head.push(b"content-length", &text[..20 - left]);
}

/// Makes the error page of `status`, one of those that have a page.
pub fn error(
    status: u16,
    pages: Chain<'_>,
    subject: &dyn Subject,
    arena: &Arena,
    head: &mut Head,
    body: &mut Vec<u8>,
) -> Answer {
    body.clear();
    match pages.page(status) {
        Some(Page::Raw(file)) => raw(file, head, body),
        Some(Page::Location(code, url)) => {
            page::start(
                head,
                *code,
                if *code == 303 { "See Other" } else { "Found" },
            );
            head.push(b"cache-control", b"no-cache");
            head.push(b"content-length", b"0");
            head.push(b"location", url);
            Answer::Message(*code)
        }
        // A reply that wants "the page" has none of its own: asking again would not end.
        Some(Page::Reply(own)) if !matches!(own.body, ReplyBody::Page) => {
            reply(own, Chain::default(), subject, arena, head, body)
        }
        Some(Page::Reply(_)) | None => {
            let page = page::page_or_500(status);
            page.head(head);
            body.extend_from_slice(page.body.as_bytes());
            Answer::Message(page.status)
        }
    }
}

fn raw(file: &[u8], head: &mut Head, body: &mut Vec<u8>) -> Answer {
    body.clear();
    if file.is_empty() {
        return Answer::Silence;
    }
    match page::read_file(file, head) {
        Ok(own) => {
            body.extend_from_slice(own);
            Answer::Message(head.status)
        }
        // It was read when the configuration was: only a caller's own bytes can be no message.
        Err(_) => Answer::Silence,
    }
}

/// Asks for a name and a password: 401, or 407 where the client takes us for its proxy (see [`asks_proxy`]).
pub fn auth(
    realm: &[u8],
    of_proxy: bool,
    pages: Chain<'_>,
    subject: &dyn Subject,
    arena: &Arena,
    head: &mut Head,
    body: &mut Vec<u8>,
) -> Answer {
    let (status, name) = if of_proxy {
        (407, &b"proxy-authenticate"[..])
    } else {
        (401, &b"www-authenticate"[..])
    };
    let answer = error(status, pages, subject, arena, head, body);
    if answer != Answer::Silence {
        let value = [b"Basic realm=\"", realm, b"\""].concat();
        head.push(name, &value);
    }
    answer
}

/// Whether a request is one to a proxy, which `option http-use-proxy-header` tells apart: its target is neither a
/// path nor `*`.
pub fn asks_proxy(request: &Head) -> bool {
    !matches!(request.target(), [b'/' | b'*', ..])
}

/// What is said to a peer whose request was none: haproxy's own page of that status whatever pages the proxy has,
/// or nothing if the frontend's is an empty file.
pub fn wire(status: u16, front: &Pages) -> &'static [u8] {
    let own = front.by_status.iter().find(|(s, _)| *s == status);
    match own {
        Some((_, Page::Raw(file))) if file.is_empty() => b"",
        _ => page::page_or_500(status).wire,
    }
}

#[cfg(test)]
mod tests;
