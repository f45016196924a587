//! The server behind the balancer: echoes, sends without end, or swallows.
//!
//! An error on one of its connections ends that connection and nothing else: clients see what matters, and the
//! probe that waits for the balancer to come up leaves connections that break at once.

use super::cancel_all;
use super::client::{CHUNK_BYTES, Scratch};
use super::http::head_end;
use super::net::{TcpListener, TcpStream};
use super::reactor::spawn;
use crate::Fallible;
use crate::scenario::{Direction, MEGABYTE, MEGABYTE_PATH, MESSAGE_BYTES, Scenario};
use async_executor::Task;
use futures_lite::future::yield_now;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What the origin does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Sends back what it gets, until the client closes.
    Echo,
    /// Sends as fast as it can.
    Source,
    /// Reads as fast as it can.
    Sink,
    /// Answers requests of HTTP/1.1 without bodies.
    Http,
}

impl Service {
    /// For the loads that are not bulk.
    pub(super) fn of(scenario: Scenario) -> Self {
        scenario.page().map_or(Self::Echo, |_| Self::Http)
    }

    pub(super) fn of_bulk(direction: Direction) -> Self {
        match direction {
            Direction::Down => Self::Source,
            Direction::Up => Self::Sink,
        }
    }
}

/// Serves until it is stopped.
#[derive(Debug)]
pub(super) struct Origin {
    /// Bytes that all sinks have read.
    pub(super) swallowed: Rc<Cell<u64>>,
    accepting: Task<()>,
    /// Of all connections so far; those that ended hold next to nothing.
    serving: Rc<RefCell<Vec<Task<()>>>>,
}

impl Origin {
    /// Closes the listening socket and all connections.
    pub(super) async fn stop(self) {
        self.accepting.cancel().await;
        cancel_all(self.serving.take()).await;
    }
}

/// Accepts on `listener` from now on.
pub(super) fn serve(listener: std::net::TcpListener, service: Service) -> Fallible<Origin> {
    let listener = TcpListener::adopt(listener).map_err(|error| format!("origin: {error}"))?;
    let swallowed = Rc::new(Cell::new(0));
    let scratch = Scratch::new();
    let serving = Rc::new(RefCell::new(Vec::new()));
    let (count, served) = (Rc::clone(&swallowed), Rc::clone(&serving));
    let accepting = spawn(async move {
        while let Ok(stream) = listener.accept().await {
            let (scratch, count) = (scratch.clone(), Rc::clone(&count));
            let task = spawn(async move {
                let _ended_by_the_client = match service {
                    Service::Echo => echo(stream).await,
                    Service::Http => answer(stream).await,
                    Service::Source => pour(stream).await,
                    Service::Sink => swallow(stream, &scratch, &count).await,
                };
            });
            served.borrow_mut().push(task);
        }
    });
    Ok(Origin {
        swallowed,
        accepting,
        serving,
    })
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    // More than one message, so that a read is short and the next one waits without asking.
    let mut message = [0; 4 * MESSAGE_BYTES];
    loop {
        let got = stream.read(&mut message).await?;
        if got == 0 {
            return Ok(());
        }
        stream.write_all(&message[..got]).await?;
    }
}

/// Answers until the balancer closes or says `Connection: close`.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let head = |length| {
        format!(
            "HTTP/1.1 200 OK\r\nServer: rig\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes()
    };
    let mut small = head(MESSAGE_BYTES);
    small.resize(small.len() + MESSAGE_BYTES, b'.');
    let mut got = Vec::with_capacity(1 << 10);
    let mut buffer = [0; 2 << 10];
    loop {
        let end = loop {
            if let Some(end) = head_end(&got) {
                break end;
            }
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                some => got.extend_from_slice(&buffer[..some]),
            }
        };
        let request = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
        if request.split(' ').nth(1) == Some(MEGABYTE_PATH) {
            stream.write_all(&head(MEGABYTE)).await?;
            let chunk = vec![b'.'; CHUNK_BYTES];
            for _ in 0..MEGABYTE / CHUNK_BYTES {
                stream.write_all(&chunk).await?;
                yield_now().await;
            }
        } else {
            stream.write_all(&small).await?;
        }
        if request.contains("\r\nconnection: close\r\n") {
            return Ok(());
        }
        got.drain(..end);
    }
}

async fn pour(mut stream: TcpStream) -> std::io::Result<()> {
    let chunk = vec![0x5a; CHUNK_BYTES];
    loop {
        stream.write_all(&chunk).await?;
        yield_now().await;
    }
}

async fn swallow(
    mut stream: TcpStream,
    scratch: &Scratch,
    count: &Cell<u64>,
) -> std::io::Result<()> {
    loop {
        let got = scratch.fill_from(&mut stream).await?;
        if got == 0 {
            return Ok(());
        }
        count.set(count.get() + got as u64);
        yield_now().await;
    }
}
