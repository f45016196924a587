//! The executor over glommio: one small ring, 0.6 MB instead of the 11 of its defaults.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, spawn_local, timer};

use super::executor::Executor;
use crate::io::sys::{adopt, rights};

/// Bytes glommio registers for files, which nobody reads here; its smallest useful value.
const IO_MEMORY: usize = 64 << 10;
/// Entries of its rings.
const RING_DEPTH: usize = 32;
/// glommio 0.9 parks with work at hand if its preemption timer fires before the first task of a
/// round has run. Tasks here give way by themselves, so the timer may be far away.
const PREEMPT: Duration = Duration::from_secs(3600);

/// An executor that was set up and has not run yet.
pub(super) struct Runtime(LocalExecutor);

impl Runtime {
    /// # Errors
    /// io_uring is forbidden or glommio finds too little lockable memory; the reason is in the text.
    pub(super) fn new() -> io::Result<Self> {
        // Asked first with a plain ring: glommio's own attempt may panic where the system call is forbidden.
        drop(io_uring::IoUring::new(2)?);
        let builder = LocalExecutorBuilder::new(Placement::Unbound)
            .name("control")
            .io_memory(IO_MEMORY)
            .ring_depth(RING_DEPTH)
            .preempt_timer(PREEMPT);
        match catch_unwind(AssertUnwindSafe(|| builder.make())) {
            Ok(Ok(executor)) => Ok(Self(executor)),
            Ok(Err(why)) => Err(io::Error::other(why.to_string())),
            Err(_) => Err(io::Error::other("glommio panicked while starting")),
        }
    }

    /// Runs until the main task ends.
    pub(super) fn run<F: Future<Output = ()>>(self, main: impl FnOnce(Handle) -> F) {
        self.0.run(async { main(Handle).await });
    }
}

/// glommio knows its executor by thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle;

impl Executor for Handle {
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn listener(&self, fd: OwnedFd) -> io::Result<TcpListener> {
        Ok(adopt::listener(fd))
    }

    fn stream(&self, fd: OwnedFd) -> io::Result<TcpStream> {
        Ok(adopt::stream(fd))
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn_local(task).detach();
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<TcpStream> {
        // Not `accept`, which sets options of TCP.
        Ok(listener.shared_accept().await?.bind_to_executor())
    }

    async fn read(&self, stream: &mut TcpStream, space: &mut [u8]) -> io::Result<usize> {
        stream.read(space).await
    }

    async fn write(&self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        stream.write(bytes).await
    }

    fn send_with(&self, stream: &TcpStream, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
        rights::send(stream.as_raw_fd(), bytes, fds)
    }

    async fn receive_with(
        &self,
        stream: &mut TcpStream,
        space: &mut [u8],
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        // A look leaves bytes and descriptors where they are; what it saw is then there at once.
        stream.peek(&mut [0]).await?;
        rights::receive(stream.as_raw_fd(), space)
    }

    async fn close_write(&self, stream: &mut TcpStream) {
        let _ = stream.shutdown(Shutdown::Write).await;
    }

    async fn sleep(&self, time: Duration) {
        timer::sleep(time).await;
    }
}
