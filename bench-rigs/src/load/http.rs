//! Requests and responses of HTTP/1.1, as much of it as a load needs: the head ends with an empty line, the body is
//! as long as Content-Length says. What is not of that form fails the measurement.

use super::client::{Dialogue, FirstFailure, Scratch, connect};
use super::net::TcpStream;
use super::reactor::{Timer, spawn};
use super::{Figures, STALL_LIMIT, START_LIMIT, all_move, cancel_all, within};
use crate::Fallible;
use crate::proc::Meter;
use crate::scenario::{MEGABYTE_STREAMS, Metric, Page, Scale};
use futures_lite::io::AsyncWriteExt as _;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

/// Longest head that is taken.
const HEAD_MAX: usize = 16 << 10;

/// A request that is sent again and again.
#[derive(Debug, Clone)]
pub(super) struct Request {
    bytes: Rc<[u8]>,
    closes: bool,
    scratch: Scratch,
}

impl Request {
    pub(super) fn new(page: Page, scratch: Scratch) -> Self {
        let Page { path, closes } = page;
        let close = if closes { "Connection: close\r\n" } else { "" };
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: rig.example\r\nUser-Agent: bench-rigs\r\nAccept: */*\r\n{close}\r\n"
        );
        Self {
            bytes: text.into_bytes().into(),
            closes,
            scratch,
        }
    }

    /// Sends it and reads the whole response; up to the end of the connection where it asked for that. Gives the
    /// length of the body.
    pub(super) async fn exchange(&self, stream: &mut TcpStream) -> Fallible<u64> {
        stream
            .write_all(&self.bytes)
            .await
            .map_err(|error| format!("send a request: {error}"))?;
        let mut kept = Vec::new();
        let (length, mut got) = loop {
            let some = self.read(stream).await?;
            if some == 0 {
                return Err("the connection ended before a response".to_owned());
            }
            let seen = if kept.is_empty() {
                self.scratch.with(some, response)?
            } else {
                None
            };
            if let Some(found) = seen {
                break found;
            }
            self.scratch
                .with(some, |bytes| kept.extend_from_slice(bytes));
            if let Some(found) = response(&kept)? {
                break found;
            }
        };
        while got < length {
            match self.read(stream).await? {
                0 => return Err(format!("the response ended at {got} of {length} bytes")),
                some => got += some as u64,
            }
        }
        if got > length {
            return Err("more came than the response".to_owned());
        }
        if self.closes && self.read(stream).await? != 0 {
            return Err("more came after the last response".to_owned());
        }
        Ok(length)
    }

    async fn read(&self, stream: &mut TcpStream) -> Fallible<usize> {
        let read = self.scratch.fill_from(stream).await;
        read.map_err(|error| format!("read a response: {error}"))
    }
}

/// Of the start of a response with status 200: length of its body, and how much of that is there already. None while
/// the head is not complete.
fn response(bytes: &[u8]) -> Fallible<Option<(u64, u64)>> {
    let Some(end) = head_end(bytes) else {
        return if bytes.len() > HEAD_MAX {
            Err("a head without an end".to_owned())
        } else {
            Ok(None)
        };
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    if !head.starts_with("HTTP/1.1 200 ") {
        let status = head.lines().next().unwrap_or_default();
        return Err(format!("the response is '{status}'"));
    }
    let length = field(&head, "content-length")
        .and_then(|value| value.parse().ok())
        .ok_or("a response without Content-Length")?;
    Ok(Some((length, (bytes.len() - end) as u64)))
}

/// Place after the empty line.
pub(super) fn head_end(bytes: &[u8]) -> Option<usize> {
    let place = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(place + 4)
}

/// Value of a header whose name is given in small letters.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// Large objects, one after the other on each connection. A measured byte is one of a body that came in full, so the
/// window is long against one object.
pub(super) async fn objects(
    front: SocketAddr,
    dialogue: &Dialogue,
    scale: Scale,
    meter: &Meter,
) -> Fallible<Figures> {
    let (failure, moved) = (FirstFailure::default(), Rc::new(Cell::new(0_u64)));
    let mut tasks = Vec::with_capacity(MEGABYTE_STREAMS);
    for _ in 0..MEGABYTE_STREAMS {
        let mut stream = within(START_LIMIT, "opening the streams", connect(front)).await?;
        let (failure, moved, dialogue) = (failure.clone(), Rc::clone(&moved), dialogue.clone());
        tasks.push(spawn(async move {
            while let Some(bytes) = failure.note(dialogue.exchange(&mut stream).await) {
                moved.set(moved.get() + bytes);
            }
        }));
    }
    Timer::new(scale.warm_up).await;
    let (before, first) = (meter.read()?, moved.get());
    Timer::new(scale.window).await;
    let counts = || vec![moved.get()];
    all_move(&[first], STALL_LIMIT, "counts of objects", &failure, counts).await?;
    let (after, bytes) = (meter.read()?, moved.get() - first);
    cancel_all(tasks).await;
    let gigabytes = bytes as f64 / 1e9;
    Ok(vec![
        (
            Metric::CpuPerGb,
            (after.cpu - before.cpu).as_secs_f64() / gigabytes,
        ),
        (
            Metric::GbPerSecond,
            gigabytes / (after.at - before.at).as_secs_f64(),
        ),
        super::core_busy(before, after),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_by_its_length() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nabc";
        assert_eq!(response(whole), Ok(Some((5, 3))));
        assert_eq!(response(&whole[..30]), Ok(None));
        assert_eq!(
            response(b"HTTP/1.1 503 No\r\n\r\n"),
            Err("the response is 'HTTP/1.1 503 No'".to_owned())
        );
        assert!(response(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
