//! What the control thread asks of its runtime: tasks, timers, and stream sockets of any family.
//! One thread, so nothing has to be `Send`.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use futures_lite::future;

/// A runtime of one thread. Clones are handles to the same one.
pub trait Executor: Clone + 'static {
    type Listener: 'static;
    type Stream: 'static;

    /// Takes over a listening socket.
    fn listener(&self, fd: OwnedFd) -> io::Result<Self::Listener>;
    /// Takes over a connected socket.
    fn stream(&self, fd: OwnedFd) -> io::Result<Self::Stream>;
    /// Runs a task until it ends, or until the runtime does.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
    fn accept(&self, listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Stream>>;
    /// Some bytes; 0 at the end.
    fn read(
        &self,
        stream: &mut Self::Stream,
        space: &mut [u8],
    ) -> impl Future<Output = io::Result<usize>>;
    /// Writes some of the bytes, once the peer takes any.
    fn write(
        &self,
        stream: &mut Self::Stream,
        bytes: &[u8],
    ) -> impl Future<Output = io::Result<usize>>;
    /// Writes all of the bytes at once, and sends descriptors with them; fails where that would have to wait.
    fn send_with(&self, stream: &Self::Stream, bytes: &[u8], fds: &[RawFd]) -> io::Result<()>;
    /// Some bytes as [`Executor::read`], and the descriptors that came with them.
    fn receive_with(
        &self,
        stream: &mut Self::Stream,
        space: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, Vec<OwnedFd>)>>;
    /// Tells the peer that nothing more comes.
    fn close_write(&self, stream: &mut Self::Stream) -> impl Future<Output = ()>;
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;

    /// The result, unless it takes longer than `limit`.
    fn within<T>(
        &self,
        limit: Option<Duration>,
        work: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        async move {
            let Some(limit) = limit else {
                return Some(work.await);
            };
            let late = async {
                self.sleep(limit).await;
                None
            };
            future::or(async { Some(work.await) }, late).await
        }
    }
}
