//! HTTP/1 on the wire (RFC 9112), sans-IO: heads in and out, how long messages are, chunks.
//!
//! Strict where haproxy 3.4 is, lax where it is: lines may end in LF alone, several blank lines may come first, folded
//! values are unfolded, blanks between the words of a request line are many as they like. Nothing is kept between calls
//! but in a [`ChunkDecoder`]: a head that is not whole is parsed again from its start, and any way of cutting it
//! into pieces gives the same result. What goes out is written anew from the [`Head`], never copied from what came in.

mod chunk;
mod encode;
mod framing;
mod parse;
#[cfg(test)]
mod tests;

pub use chunk::{
    ChunkDecoder, Run, SIZE_LINE_MAX, Step, check_chunks, write_chunk_header, write_last_chunk,
};
pub use encode::{Peer, set_connection, strip_connection, write_request, write_response};
pub use framing::{
    Body, RequestFraming, ResponseFraming, ResponseTo, hold_framing, request_framing,
    response_framing,
};
pub use parse::{request_head, response_head};

use super::http::Head;

/// What bounds a message, and how strictly it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a head, its empty line and the blank lines before it included: buffer less `tune.maxrewrite`.
    pub head_max: usize,
    /// `tune.http.maxhdr`: a head has fewer fields than this.
    pub fields_max: usize,
    /// `option accept-unsafe-violations-in-http-request` or `-response`.
    pub unsafe_ok: bool,
    /// `h1-accept-payload-with-any-method`.
    pub payload_any_method: bool,
    /// `h1-do-not-close-on-insecure-transfer-encoding`.
    pub keep_insecure_te: bool,
}

impl Default for Limits {
    /// haproxy's: 16384 bytes less 1024, 101 fields.
    fn default() -> Self {
        Self {
            head_max: 16_384 - 1024,
            fields_max: 101,
            unsafe_ok: false,
            payload_any_method: false,
            keep_insecure_te: false,
        }
    }
}

/// What the bytes so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// The beginning of a head; nothing is consumed, the head given is empty.
    Partial,
    /// A whole head, and how many bytes it took.
    Done { used: usize },
}

/// A message that is refused, and the offset of the byte at which that was seen: from the start of the bytes given to
/// the parser, or for framing from the start of the head as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H1Error {
    pub kind: H1ErrorKind,
    pub at: usize,
}

/// Which rule a message breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum H1ErrorKind {
    /// A CR that no LF follows (RFC 9112 2.2).
    BareCr,
    /// A LF without CR in chunk framing, where haproxy wants both (RFC 9112 7.1).
    BareLf,
    /// NUL in a value (RFC 9110 5.5).
    Nul,
    /// A method that is no token (RFC 9110 9.1).
    Method,
    /// The preface of HTTP/2, or its method (RFC 9113 3.4).
    Http2Preface,
    /// A byte that no request target may contain: control, fragment, DEL, 8-bit (RFC 9112 3.2).
    TargetByte,
    /// A target in none of the four forms, or in one that the method does not take (RFC 9112 3.2).
    TargetForm,
    /// An absolute target without authority, or CONNECT to an empty host (RFC 9110 4.2.1).
    EmptyAuthority,
    /// CONNECT without a port, or with one that is no number (RFC 9112 3.2.3).
    ConnectPort,
    /// A request line without version; the unsafe option takes GET as HTTP/0.9 had it (RFC 9112 2.3).
    Http09,
    /// Neither `HTTP/` digit dot digit, nor what the unsafe option adds (RFC 9112 2.3).
    Version,
    /// A status that is not of digits (RFC 9112 4).
    Status,
    /// A status of more than three digits, of four with the unsafe option (RFC 9110 15).
    StatusDigits,
    /// A control character in the reason (RFC 9112 4).
    Reason,
    /// No name before the colon (RFC 9112 5).
    EmptyName,
    /// A character in a name that is no token's; blanks before the colon are that too (RFC 9112 5.1).
    NameByte,
    /// A line without colon (RFC 9112 5).
    NoColon,
    /// More fields than `tune.http.maxhdr` lets in (RFC 9110 5.4).
    TooManyFields,
    /// The head does not fit, and its request line did (RFC 6585 5).
    HeadTooLarge,
    /// The request line does not fit (RFC 9110 15.5.15).
    TargetTooLong,
    /// Several Host fields that differ (RFC 9112 3.2).
    HostsDiffer,
    /// Host and the authority of the target differ (RFC 9112 3.2.2, 3.2.3).
    HostNotTarget,
    /// A byte that no host may contain (RFC 9110 7.2).
    HostByte,
    /// Content-Length that is empty, signed, not of digits, or over 2^63 (RFC 9110 8.6).
    ContentLength,
    /// Several lengths that differ (RFC 9112 6.3).
    ContentLengthsDiffer,
    /// Transfer-Encoding that is empty, ends in a comma, has chunked twice or not last (RFC 9112 6.1).
    TransferEncoding,
    /// A transfer coding before chunked that nobody here undoes (RFC 9112 6.1).
    TransferCoding,
    /// A body with GET, HEAD or DELETE in HTTP/1.0 (RFC 9110 9.3.1).
    PayloadForbidden,
    /// An upgrade to WebSocket without Sec-WebSocket-Key, or an answer without Sec-WebSocket-Accept (RFC 6455 4.2.1).
    WebSocketKey,
    /// 101 that nobody asked for (RFC 9110 15.2.2).
    UnwantedUpgrade,
    /// A chunk size without a digit, with a sign, a blank, or anything but hex digits (RFC 9112 7.1).
    ChunkSize,
    /// A chunk of 2^52 bytes or more, which haproxy refuses (RFC 9112 7.1).
    ChunkSizeOverflow,
    /// A chunk extension with control characters, badly quoted, or longer than [`SIZE_LINE_MAX`] (RFC 9112 7.1.1).
    ChunkExtension,
    /// Something else than CRLF after the bytes of a chunk (RFC 9112 7.1).
    ChunkEnd,
    /// Transfer-Encoding among trailers (RFC 9110 6.5.1).
    ForbiddenTrailer,
    /// Trailers that do not fit (RFC 9112 7.1.2).
    TrailersTooLarge,
}

impl H1ErrorKind {
    /// Status for a request that breaks the rule; a response that does is a 502 whatever the rule.
    pub fn status(self) -> u16 {
        match self {
            Self::PayloadForbidden => 413,
            Self::TargetTooLong => 414,
            Self::TransferCoding => 422,
            Self::HeadTooLarge => 431,
            _ => 400,
        }
    }
}

/// The method, told apart only as far as framing goes.
fn is(head: &Head, method: &[u8]) -> bool {
    head.method() == method
}

/// For a fuzz target: every parser over `data`, none of which may panic.
pub fn fuzz_all(data: &[u8]) {
    let mut head = Head::default();
    let mut out = Vec::new();
    for unsafe_ok in [false, true] {
        let limits = Limits {
            unsafe_ok,
            ..Limits::default()
        };
        if let Ok(Parse::Done { used }) = request_head(data, &limits, &mut head)
            && let Ok(framing) = request_framing(&mut head, &limits)
        {
            set_connection(&mut head, Peer::Server, framing.keep_alive);
            write_request(&mut out, &head);
            if framing.body == Body::Chunked {
                fuzz_chunks(&data[used..]);
            }
        }
        let to = ResponseTo::default();
        if let Ok(Parse::Done { .. }) = response_head(data, &limits, &mut head)
            && response_framing(&mut head, to, &limits).is_ok()
        {
            write_response(&mut out, &head);
        }
    }
    fuzz_chunks(data);
}

/// For a fuzz target: `data` as a chunked body, whole and byte by byte, which must agree.
pub fn fuzz_chunks(data: &[u8]) {
    let whole = chunk::collect(data, data.len().max(1));
    let bytes = chunk::collect(data, 1);
    assert_eq!(whole, bytes, "a chunked body depends on how it is cut");
}
