//! One direction of a message body: what of a received buffer belongs to it, and in which form it goes on.
//!
//! A body passes as it came wherever its framing is the same on both sides and was written in the plain
//! form; then nothing is copied, and long stretches go through a pipe. Else it is framed anew.

use crate::config::Splice;
use crate::io::buf::Buf;
use crate::proto::h1::{Body, ChunkDecoder, H1Error, Step, write_chunk_header, write_last_chunk};
use crate::proto::http::Head;
use crate::proxy::pace::Pace;

/// Where a direction stands. It is reading or writing, never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Move {
    /// Not begun.
    #[default]
    Idle,
    Reading,
    Writing,
    /// The last byte was delivered, or given up.
    Done,
}

/// How the body is framed where it comes from.
#[derive(Debug, Default)]
pub(super) enum Framed {
    #[default]
    None,
    /// Bytes left.
    Length(u64),
    Chunked(Box<ChunkDecoder>),
    UntilClose,
    /// Not HTTP any more.
    Tunnel,
}

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Wire {
    #[default]
    Same,
    /// In chunks of our own.
    Chunks,
    /// The payload alone, ended by the end of the connection.
    Bare,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) state: Move,
    pub(super) framed: Framed,
    pub(super) wire: Wire,
    pub(super) pace: Pace,
    /// What is being written is the last of it.
    pub(super) ended: bool,
    /// `option http-drop-request-trailers`, `-response-trailers`.
    pub(super) drop_trailers: bool,
    /// Framing that is not whole.
    tail: Vec<u8>,
    /// Bytes of the body so far, framing not counted but for 1 at the end of a chunked one (as haproxy counts).
    pub(super) payload: u64,
    /// Bytes beyond the body.
    pub(super) excess: Option<Buf>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            state: Move::Idle,
            framed: Framed::None,
            wire: Wire::Same,
            pace: Pace::new(Splice::Never),
            ended: false,
            drop_trailers: false,
            tail: Vec::new(),
            payload: 0,
            excess: None,
        }
    }
}

/// A splice is worth its call from here on.
const SPLICE_MIN: u64 = 32_768;

impl Flow {
    pub(super) fn new(body: Body, splice: Splice) -> Self {
        Self {
            framed: match body {
                Body::None => Framed::None,
                Body::Length(n) => Framed::Length(n),
                Body::Chunked => Framed::Chunked(Box::default()),
                Body::UntilClose => Framed::UntilClose,
                Body::Tunnel => Framed::Tunnel,
            },
            pace: Pace::new(splice),
            ended: body == Body::None,
            ..Self::default()
        }
    }

    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self.framed, Framed::Tunnel)
    }

    /// How many bytes may go through a pipe now: they are all payload. `None`: read into a buffer.
    pub(super) fn pipe(&self) -> Option<u32> {
        let limit = self.pace.pipe()?;
        let left = match &self.framed {
            Framed::Length(left) => *left,
            Framed::Chunked(decoder) if self.wire == Wire::Same => decoder.left(),
            Framed::UntilClose if self.wire == Wire::Same => u64::MAX,
            Framed::Tunnel => u64::MAX,
            _ => 0,
        };
        (left >= SPLICE_MIN).then(|| u64::from(limit).min(left) as u32)
    }

    /// `n` bytes of the body went into a pipe.
    pub(super) fn piped(&mut self, n: u32) {
        self.payload += u64::from(n);
        match &mut self.framed {
            Framed::Length(left) => {
                *left -= u64::from(n);
                self.ended = *left == 0;
            }
            Framed::Chunked(decoder) => decoder.advance(u64::from(n)),
            _ => {}
        }
    }

    /// Takes what belongs to the body out of `buf` and gives what is to be sent; `None` if that is nothing yet.
    /// What lies beyond the body goes to `excess`.
    pub(super) fn pass(&mut self, mut buf: Buf) -> Result<Option<Buf>, H1Error> {
        match &mut self.framed {
            Framed::None => {
                self.excess = Some(buf);
                return Ok(None);
            }
            Framed::Length(left) => {
                let n = (buf.len() as u64).min(*left);
                *left -= n;
                self.ended = *left == 0;
                if (n as usize) < buf.len() {
                    self.excess = Some(Buf::of(&buf.bytes()[n as usize..]));
                    buf.truncate(n as usize);
                }
            }
            Framed::Chunked(_) => return self.pass_chunks(buf),
            Framed::UntilClose | Framed::Tunnel => {}
        }
        self.payload += buf.len() as u64;
        Ok(Some(buf).filter(|b| !b.is_empty()))
    }

    /// A piece of a chunked body. Framing that is not whole waits in `tail` for the rest of it.
    fn pass_chunks(&mut self, mut buf: Buf) -> Result<Option<Buf>, H1Error> {
        let Framed::Chunked(decoder) = &mut self.framed else {
            unreachable!("looked at by the caller")
        };
        if !self.tail.is_empty() {
            self.tail.extend_from_slice(buf.bytes());
            buf = Buf::of(&self.tail);
            self.tail.clear();
        }
        let mut at = 0;
        if self.wire == Wire::Same {
            let run = decoder.verbatim(buf.bytes());
            (at, self.ended) = (run.used, run.ended);
            self.payload += run.payload + u64::from(run.ended);
        }
        let mut anew = Vec::new();
        while !self.ended {
            match decoder.decode(&buf.bytes()[at..])? {
                Step::Partial => break,
                Step::Chunk { used, .. } | Step::ChunkEnd { used } => {
                    // At the start of a chunk that cannot pass as it is: from here on they are written anew.
                    if self.wire == Wire::Same {
                        anew.extend_from_slice(&buf.bytes()[..at]);
                        self.wire = Wire::Chunks;
                    }
                    at += used;
                }
                Step::Data { used } => {
                    put(&mut anew, self.wire, &buf.bytes()[at..at + used]);
                    self.payload += used as u64;
                    at += used;
                }
                Step::End { used, .. } => {
                    if self.wire == Wire::Same {
                        anew.extend_from_slice(&buf.bytes()[..at]);
                        self.wire = Wire::Chunks;
                    }
                    if self.wire == Wire::Chunks {
                        let none = Head::default();
                        let kept = if self.drop_trailers {
                            &none
                        } else {
                            decoder.trailers()
                        };
                        write_last_chunk(&mut anew, kept);
                    }
                    at += used;
                    self.payload += 1;
                    self.ended = true;
                }
            }
        }
        if at < buf.len() {
            let rest = &buf.bytes()[at..];
            if self.ended {
                self.excess = Some(Buf::of(rest));
            } else {
                self.tail.extend_from_slice(rest);
            }
            buf.truncate(at);
        }
        if self.wire != Wire::Same {
            buf = Buf::of(&anew);
        }
        Ok(Some(buf).filter(|b| !b.is_empty()))
    }
}

/// The payload in `raw`, all that came of a body so far, decoded apart: what is sent on later starts from the beginning
/// again. And whether nothing more is to be waited for, since the body is whole or none, wrong (which shows when it is
/// sent on), or `most` bytes are there.
pub(super) fn at_hand(body: Body, raw: &[u8], most: usize) -> (Vec<u8>, bool) {
    let mut look = Flow::new(body, Splice::Never);
    look.wire = Wire::Bare;
    let decoded = look.pass(Buf::of(raw));
    let over = look.ended || decoded.is_err() || look.is_tunnel() || raw.len() >= most;
    let payload = decoded.ok().flatten();
    (
        payload.map_or_else(Vec::new, |buf| buf.bytes().to_vec()),
        over,
    )
}

fn put(out: &mut Vec<u8>, wire: Wire, payload: &[u8]) {
    if payload.is_empty() {
        return;
    }
    if wire == Wire::Chunks {
        write_chunk_header(out, payload.len() as u64);
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    } else {
        out.extend_from_slice(payload);
    }
}
