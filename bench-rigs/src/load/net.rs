//! TCP on the load's reactor.

use super::reactor::Watched;
use futures_lite::future::poll_fn;
use futures_lite::{AsyncRead, AsyncWrite};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A connection, closed when dropped.
#[derive(Debug)]
pub(super) struct TcpStream(Watched<std::net::TcpStream>);

impl TcpStream {
    /// Without a limit in time but the kernel's.
    pub(super) async fn connect(to: SocketAddr) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
                return Err(error);
            }
            _ => {}
        }
        let watched = Watched::new(std::net::TcpStream::from(socket))?;
        poll_fn(|cx| watched.poll_writable(cx)).await;
        match watched.socket().take_error()? {
            Some(error) => Err(error),
            None => Ok(Self(watched)),
        }
    }

    pub(super) fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.0.socket().set_nodelay(on)
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let wanted = into.len();
        self.0.poll_read(cx, wanted, |mut socket| socket.read(into))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0
            .poll_write(cx, from.len(), |mut socket| socket.write(from))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.socket().shutdown(Shutdown::Write))
    }
}

/// A listening socket, closed when dropped.
#[derive(Debug)]
pub(super) struct TcpListener(Watched<std::net::TcpListener>);

impl TcpListener {
    /// Of a socket that listens already.
    pub(super) fn adopt(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Watched::new(listener).map(Self)
    }

    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        let accepted = poll_fn(|cx| self.0.poll_accept(cx, std::net::TcpListener::accept)).await;
        let (stream, _from) = accepted?;
        stream.set_nonblocking(true)?;
        Watched::new(stream).map(TcpStream)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reactor::{Timer, run, spawn};
    use super::*;
    use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use std::time::Duration;

    fn listener() -> (std::net::TcpListener, SocketAddr) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (listener, address)
    }

    /// For what was sent to arrive before anybody looks.
    async fn pause() {
        Timer::new(Duration::from_millis(5)).await;
    }

    #[test]
    fn the_end_that_comes_with_the_last_bytes_is_read() {
        let (listener, address) = listener();
        run(async {
            let mut client = TcpStream::connect(address).await.expect("it listens");
            let (mut server, _from) = listener.accept().expect("it connected");
            server.write_all(b"last").expect("there is room");
            drop(server);
            pause().await;
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.expect("an orderly end");
            assert_eq!(all, b"last");
        })
        .expect("an epoll");
    }

    #[test]
    fn the_end_that_comes_after_a_short_read_is_read() {
        let (listener, address) = listener();
        run(async {
            let mut client = TcpStream::connect(address).await.expect("it listens");
            let (mut server, _from) = listener.accept().expect("it connected");
            server.write_all(b"some").expect("there is room");
            let mut some = [0; 8];
            assert_eq!(client.read(&mut some).await.expect("it came"), 4);
            drop(server);
            assert_eq!(client.read(&mut some).await.expect("an orderly end"), 0);
        })
        .expect("an epoll");
    }

    #[test]
    fn more_than_the_buffers_hold_arrives_whole() {
        const BYTES: usize = 32 << 20;
        let (listener, address) = listener();
        run(async {
            let listener = TcpListener::adopt(listener).expect("an epoll");
            let writing = spawn(async move {
                let mut stream = listener.accept().await.expect("somebody connects");
                stream.write_all(&vec![7; BYTES]).await.expect("it is read");
            });
            let mut client = TcpStream::connect(address).await.expect("it listens");
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.expect("an orderly end");
            assert_eq!(all.len(), BYTES);
            writing.await;
        })
        .expect("an epoll");
    }

    #[test]
    fn a_cancelled_task_closes_its_connection() {
        let (listener, address) = listener();
        run(async {
            let client = TcpStream::connect(address).await.expect("it listens");
            let waiting = spawn(async move {
                let mut client = client;
                client.read(&mut [0; 8]).await.map(drop)
            });
            let (mut server, _from) = listener.accept().expect("it connected");
            pause().await;
            assert!(waiting.cancel().await.is_none());
            assert_eq!(server.read(&mut [0; 8]).expect("an orderly end"), 0);
        })
        .expect("an epoll");
    }

    #[test]
    fn a_refused_connection_is_an_error() {
        let (listener, address) = listener();
        drop(listener);
        let refused = run(TcpStream::connect(address)).expect("an epoll");
        assert_eq!(
            refused.expect_err("nobody listens").kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}
