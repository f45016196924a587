//! What the clients of all scenarios share: connecting, exchanging a message, reading bulk, reporting failure.

use super::net::TcpStream;
use super::{http, within};
use crate::Fallible;
use crate::scenario::{MESSAGE_BYTES, Scenario};
use futures_lite::AsyncRead as _;
use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// Bytes moved by one call in bulk.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The first failure of any connection; later ones are its consequences.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstFailure(Rc<RefCell<Option<String>>>);

impl FirstFailure {
    pub(super) fn note<T>(&self, result: Fallible<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(why) => {
                self.0.borrow_mut().get_or_insert(why);
                None
            }
        }
    }

    pub(super) fn check(&self) -> Fallible<()> {
        self.0.borrow().clone().map_or(Ok(()), Err)
    }
}

/// One buffer that all bulk readers of an executor read into: it stays in the cache, as a real reader's would.
#[derive(Debug, Clone)]
pub(super) struct Scratch(Rc<RefCell<Vec<u8>>>);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(Rc::new(RefCell::new(vec![0; CHUNK_BYTES])))
    }

    /// What the last read brought, as long as nobody waits in between.
    pub(super) fn with<T>(&self, len: usize, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.0.borrow()[..len])
    }

    /// One read. The buffer is borrowed only inside the poll, never while it waits.
    pub(super) async fn fill_from(&self, stream: &mut TcpStream) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut self.0.borrow_mut())).await
    }
}

pub(super) async fn connect(to: SocketAddr) -> Fallible<TcpStream> {
    let stream = within(CONNECT_LIMIT, "connecting", async {
        let connected = TcpStream::connect(to).await;
        connected.map_err(|error| format!("connect {to}: {error}"))
    })
    .await?;
    stream
        .set_nodelay(true)
        .map_err(|error| format!("TCP_NODELAY: {error}"))?;
    Ok(stream)
}

/// What a client says, and what it takes for the answer.
#[derive(Debug, Clone)]
pub(super) enum Dialogue {
    /// A message that comes back as it is.
    Echo,
    /// A request and its response.
    Http(http::Request),
}

impl Dialogue {
    /// To be called in the executor that talks.
    pub(super) fn of(scenario: Scenario) -> Self {
        scenario.page().map_or(Self::Echo, |page| {
            Self::Http(http::Request::new(page, Scratch::new()))
        })
    }

    /// There and back once. Gives the bytes that came as a body or echo.
    pub(super) async fn exchange(&self, stream: &mut TcpStream) -> Fallible<u64> {
        match self {
            Self::Echo => echoed(stream).await.map(|()| MESSAGE_BYTES as u64),
            Self::Http(request) => request.exchange(stream).await,
        }
    }
}

/// One message there and back.
async fn echoed(stream: &mut TcpStream) -> Fallible<()> {
    let mut message = [0xa5; MESSAGE_BYTES];
    stream
        .write_all(&message)
        .await
        .map_err(|error| format!("send a message: {error}"))?;
    stream
        .read_exact(&mut message)
        .await
        .map_err(|error| format!("receive a message: {error}"))
}
