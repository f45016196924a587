//! Chunked bodies (RFC 9112 7.1), without copying them.

use memchr::memchr;

use super::parse::{Fields, is_token, trailer_fields};
use super::{H1Error, H1ErrorKind as Kind, Limits};
use crate::proto::http::Head;

/// Most bytes of the line of a chunk's size with its extensions. A driver's buffer must hold more.
pub const SIZE_LINE_MAX: usize = 1024;

/// What the bytes given begin with. Each step takes the first `used` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The beginning of framing that is not whole: nothing is taken, ask again with more behind it.
    Partial,
    /// The line that starts a chunk of `len` bytes, never 0. `verbatim`: it is as [`write_chunk_header`] would
    /// write it but for the case of digits, so it may be sent on as it is.
    Chunk {
        used: usize,
        len: u64,
        verbatim: bool,
    },
    /// Bytes of the chunk.
    Data { used: usize },
    /// CRLF after a chunk.
    ChunkEnd { used: usize },
    /// The last chunk, of no bytes, with all trailers, which are in [`ChunkDecoder::trailers`].
    /// `verbatim`: there are none, and it is as [`write_last_chunk`] would write it.
    End { used: usize, verbatim: bool },
}

/// What [`ChunkDecoder::verbatim`] went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Run {
    pub used: usize,
    /// Bytes among these that are the body's own.
    pub payload: u64,
    pub ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Done,
}

/// Where in a chunked body we are. Framing is only ever taken whole, so there is no other state.
#[derive(Clone, Debug, Default)]
pub struct ChunkDecoder {
    state: State,
    limits: Limits,
    trailers: Head,
}

impl ChunkDecoder {
    /// At the start of a body; trailers are bounded as heads are.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            ..Self::default()
        }
    }

    /// Bytes left of the chunk we are in: a driver may move so many by other means, then [`advance`](Self::advance).
    pub fn left(&self) -> u64 {
        match self.state {
            State::Data(left) => left,
            _ => 0,
        }
    }

    /// `n` bytes of the chunk, at most [`left`](Self::left), went past.
    pub fn advance(&mut self, n: u64) {
        self.state = match self.state {
            State::Data(left) if left > n => State::Data(left - n),
            State::Data(_) => State::DataEnd,
            other => other,
        };
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Once ended: the trailers that may be sent on, in fields. Those that frame, route or authenticate are dropped
    /// (RFC 9110 6.5.1).
    pub fn trailers(&self) -> &Head {
        &self.trailers
    }

    /// What `bytes` begin with. An error's offset counts from their start; nothing changes by it.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Step, H1Error> {
        match self.state {
            State::Size => self.size(bytes),
            State::Data(_) if bytes.is_empty() => Ok(Step::Partial),
            State::Data(left) => {
                let used = usize::try_from(left).map_or(bytes.len(), |l| l.min(bytes.len()));
                self.advance(used as u64);
                Ok(Step::Data { used })
            }
            State::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = State::Size;
                    Ok(Step::ChunkEnd { used: 2 })
                }
                [] | [b'\r'] => Ok(Step::Partial),
                [b'\n', ..] => error(Kind::BareLf, 0),
                [b'\r', ..] => error(Kind::BareCr, 1),
                _ => error(Kind::ChunkEnd, 0),
            },
            State::Done => Ok(Step::End {
                used: 0,
                verbatim: true,
            }),
        }
    }

    /// Goes on through `bytes` as far as they may be sent on as they are. When that is nowhere, [`decode`](Self::decode)
    /// tells what is there: something incomplete, to be written anew, or refused.
    pub fn verbatim(&mut self, bytes: &[u8]) -> Run {
        let mut run = Run::default();
        while !run.ended {
            let before = self.state;
            match self.decode(&bytes[run.used..]) {
                Ok(Step::Data { used }) => {
                    run.used += used;
                    run.payload += used as u64;
                }
                Ok(Step::ChunkEnd { used }) => run.used += used,
                Ok(Step::Chunk {
                    used,
                    verbatim: true,
                    ..
                }) => run.used += used,
                Ok(Step::End {
                    used,
                    verbatim: true,
                }) => {
                    run.used += used;
                    run.ended = true;
                }
                Ok(_) | Err(_) => {
                    self.state = before;
                    self.trailers.clear();
                    break;
                }
            }
        }
        run
    }

    fn size(&mut self, bytes: &[u8]) -> Result<Step, H1Error> {
        let Some(SizeLine {
            len,
            digits,
            end: at,
        }) = size_line(&bytes[..bytes.len().min(SIZE_LINE_MAX)])?
        else {
            // Not even what fits holds the end of the line.
            if bytes.len() >= SIZE_LINE_MAX {
                return error(Kind::ChunkExtension, SIZE_LINE_MAX);
            }
            return Ok(Step::Partial);
        };
        let verbatim = at == digits + 2 && (bytes[0] != b'0' || digits == 1);
        if len > 0 {
            self.state = State::Data(len);
            return Ok(Step::Chunk {
                used: at,
                len,
                verbatim,
            });
        }
        let shift = |e: H1Error| H1Error { at: e.at + at, ..e };
        match trailer_fields(&bytes[at..], &self.limits, &mut self.trailers).map_err(shift)? {
            Fields::Partial => Ok(Step::Partial),
            Fields::Done { used } => {
                let coded = |(name, _)| name == b"transfer-encoding";
                if let Some(index) = self.trailers.fields().position(coded) {
                    return error(Kind::ForbiddenTrailer, at + self.trailers.value_at(index));
                }
                self.state = State::Done;
                let plain = used == 2;
                if !plain {
                    self.trailers.retain(|name, _| may_trail(name));
                }
                Ok(Step::End {
                    used: at + used,
                    verbatim: verbatim && plain,
                })
            }
        }
    }
}

fn error<T>(kind: Kind, at: usize) -> Result<T, H1Error> {
    Err(H1Error { kind, at })
}

/// The line that starts a chunk.
struct SizeLine {
    len: u64,
    /// How many digits there are.
    digits: usize,
    /// Where the line ends, CRLF included.
    end: usize,
}

/// Reads the line that starts a chunk, extensions checked and passed over (RFC 9112 7.1.1); `None`: it goes on.
fn size_line(bytes: &[u8]) -> Result<Option<SizeLine>, H1Error> {
    let mut len = 0u64;
    let mut at = 0;
    loop {
        let Some(byte) = bytes.get(at) else {
            return Ok(None);
        };
        let Some(digit) = (*byte as char).to_digit(16) else {
            break;
        };
        if len >> 48 != 0 {
            // haproxy takes 52 bits.
            return error(Kind::ChunkSizeOverflow, at);
        }
        len = len << 4 | u64::from(digit);
        at += 1;
    }
    let digits = at;
    if digits == 0 {
        return error(Kind::ChunkSize, 0);
    }
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    if matches!(bytes.get(at), Some(b';')) {
        let Some(end) = extensions(bytes, at)? else {
            return Ok(None);
        };
        at = end;
    }
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(Some(SizeLine {
            len,
            digits,
            end: at + 2,
        })),
        (None, _) | (Some(b'\r'), None) => Ok(None),
        (Some(b'\r'), _) => error(Kind::BareCr, at + 1),
        (Some(b'\n'), _) => error(Kind::BareLf, at),
        _ => error(Kind::ChunkSize, at),
    }
}

/// Passes over extensions from the semicolon at `at` on; where the line ends, if it does.
fn extensions(bytes: &[u8], mut at: usize) -> Result<Option<usize>, H1Error> {
    let mut quoted = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\r' if !quoted => return Ok(Some(at)),
            b'\n' => return error(Kind::BareLf, at),
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                at += 1;
                match bytes.get(at) {
                    None => return Ok(None),
                    Some(b'\t' | b' '..=0x7e | 0x80..) => {}
                    Some(_) => return error(Kind::ChunkExtension, at),
                }
            }
            b'\t' | b' '..=0x7e | 0x80.. => {}
            _ => return error(Kind::ChunkExtension, at),
        }
        at += 1;
    }
    Ok(None)
}

/// Whether a trailer is sent on: none that frames, routes, authenticates or belongs to this hop (RFC 9110 6.5.1).
fn may_trail(name: &[u8]) -> bool {
    debug_assert!(name.iter().all(|b| is_token(*b)));
    !matches!(
        name,
        b"authorization"
            | b"connection"
            | b"content-encoding"
            | b"content-length"
            | b"content-range"
            | b"content-type"
            | b"cookie"
            | b"expect"
            | b"host"
            | b"keep-alive"
            | b"proxy-authorization"
            | b"proxy-connection"
            | b"set-cookie"
            | b"te"
            | b"trailer"
            | b"transfer-encoding"
            | b"upgrade"
    )
}

/// Appends the line that starts a chunk of `len` bytes, not 0; they are to follow, and CRLF.
pub fn write_chunk_header(out: &mut Vec<u8>, len: u64) {
    let mut buffer = [0; 18];
    let mut at = 16;
    (buffer[16], buffer[17]) = (b'\r', b'\n');
    let mut rest = len;
    loop {
        at -= 1;
        buffer[at] = b"0123456789ABCDEF"[(rest & 15) as usize];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

/// Appends the last chunk, the fields of `trailers` and the empty line.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &Head) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.fields() {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The offset of a LF without CR before it.
pub(super) fn bare_lf(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(n) = memchr(b'\n', &bytes[from..]) {
        let at = from + n;
        if at == 0 || bytes[at - 1] != b'\r' {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Whether `bytes`, the beginning of a chunked body, break no rule so far. An error's offset counts from their start.
pub fn check_chunks(bytes: &[u8], limits: &Limits) -> Result<(), H1Error> {
    let mut decoder = ChunkDecoder::new(limits);
    let mut at = 0;
    loop {
        let step = decoder.decode(&bytes[at..]);
        match step.map_err(|e| H1Error { at: e.at + at, ..e })? {
            Step::Partial | Step::End { .. } => return Ok(()),
            Step::Chunk { used, .. } | Step::Data { used } | Step::ChunkEnd { used } => at += used,
        }
    }
}

/// A whole body decoded from pieces of `piece` bytes: payload, trailers, bytes used or the error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Collected {
    pub(super) payload: Vec<u8>,
    pub(super) trailers: Vec<u8>,
    pub(super) end: Option<Result<usize, H1Error>>,
}

/// Decodes `data` as if it came `piece` bytes at a time.
pub(super) fn collect(data: &[u8], piece: usize) -> Collected {
    collect_seen(data, (1..).map(|n| n * piece))
}

/// Decodes `data` as if it came in two pieces.
#[cfg(test)]
pub(super) fn collect_at(data: &[u8], cut: usize) -> Collected {
    collect_seen(data, [cut, data.len()].into_iter())
}

/// Decodes `data` as if so many bytes of it were there at each time.
fn collect_seen(data: &[u8], times: impl Iterator<Item = usize>) -> Collected {
    let mut decoder = ChunkDecoder::new(&Limits::default());
    let mut out = Collected {
        payload: Vec::new(),
        trailers: Vec::new(),
        end: None,
    };
    let mut taken = 0;
    for seen in times {
        let seen = seen.min(data.len());
        loop {
            match decoder.decode(&data[taken..seen]) {
                Ok(Step::Partial) => break,
                Ok(Step::Data { used }) => {
                    out.payload.extend_from_slice(&data[taken..taken + used]);
                    taken += used;
                }
                Ok(Step::Chunk { used, .. } | Step::ChunkEnd { used }) => taken += used,
                Ok(Step::End { used, .. }) => {
                    write_last_chunk(&mut out.trailers, decoder.trailers());
                    out.end = Some(Ok(taken + used));
                    return out;
                }
                Err(e) => {
                    let at = e.at + taken;
                    out.end = Some(Err(H1Error { at, ..e }));
                    return out;
                }
            }
        }
        if seen == data.len() {
            break;
        }
    }
    out
}
