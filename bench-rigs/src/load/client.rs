//! What the clients of all scenarios share: connecting, exchanging a message, reading bulk, reporting failure.

use crate::Fallible;
use crate::scenario::MESSAGE_BYTES;
use futures_lite::AsyncRead as _;
use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use glommio::net::TcpStream;
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

    /// One read. The buffer is borrowed only inside the poll, never while it waits.
    pub(super) async fn fill_from(&self, stream: &mut TcpStream) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut self.0.borrow_mut())).await
    }
}

pub(super) async fn connect(to: SocketAddr) -> Fallible<TcpStream> {
    let stream = TcpStream::connect_timeout(to, CONNECT_LIMIT)
        .await
        .map_err(|error| format!("connect {to}: {error}"))?;
    stream
        .set_nodelay(true)
        .map_err(|error| format!("TCP_NODELAY: {error}"))?;
    Ok(stream)
}

/// One message there and back.
pub(super) async fn exchange(stream: &mut TcpStream) -> Fallible<()> {
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
