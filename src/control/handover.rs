//! Gives the listening sockets to the process that follows, in haproxy's way (`expose-fd listeners`, `-x`).
//!
//! The follower says `_getsocks` on the admin socket. It gets the number of sockets as a native 32-bit integer, then
//! messages of at most 252 of them, each with a description: the namespace's and the interface's name behind a byte for
//! its length, and a 32-bit integer that means nothing any more. Between two messages it says how many it had before
//! the last one. (Observed between two processes of haproxy 2.6.)

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use super::executor::Executor;
use crate::io::sys::rights::{self, RIGHTS_MAX};

/// What asks for the sockets.
pub(super) const ASK: &[u8] = b"_getsocks";
/// What this program asks with, for every socket of a bind line; haproxy passes the second word over.
pub(super) const ASK_ALL: &[u8] = b"_getsocks all";
/// What it says then: it holds the connection as long as it lives.
pub(super) const HELD: &[u8] = b"_held";
/// What the master says when a worker that asked failed.
pub(super) const RELEASED: &[u8] = b"_released";
/// A follower that takes longer between two messages gets no more.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listening socket of this process. It stays the shard's that accepts on it, which may close it.
#[derive(Debug, Clone)]
pub struct Offered {
    pub fd: RawFd,
    /// Which bind line it serves; those of one stand together.
    pub bind: usize,
    /// `interface` of its bind line.
    pub interface: Option<String>,
}

impl Offered {
    fn describe(&self, out: &mut Vec<u8>) {
        let interface = self.interface.as_deref().unwrap_or_default().as_bytes();
        // No namespace.
        out.push(0);
        out.push(u8::try_from(interface.len()).expect("names of interfaces have at most 15 bytes"));
        out.extend_from_slice(interface);
        out.extend_from_slice(&[0; 4]);
    }
}

/// Sends all of `offered`.
pub(super) async fn give<E: Executor>(
    executor: &E,
    stream: &mut E::Stream,
    offered: &[Offered],
) -> io::Result<()> {
    // Held from here on: a number whose listener was closed meanwhile may stand for a client's connection.
    let live: Vec<_> = offered
        .iter()
        .filter_map(|one| Some((rights::listener(one.fd)?, one)))
        .collect();
    let count = i32::try_from(live.len()).unwrap_or(i32::MAX);
    executor.send_with(stream, &count.to_ne_bytes(), &[])?;
    let mut batches = live.chunks(RIGHTS_MAX).peekable();
    while let Some(batch) = batches.next() {
        let mut text = Vec::new();
        batch.iter().for_each(|(_, one)| one.describe(&mut text));
        let fds: Vec<RawFd> = batch.iter().map(|(fd, _)| fd.as_raw_fd()).collect();
        executor.send_with(stream, &text, &fds)?;
        if batches.peek().is_some() {
            confirmed(executor, stream).await?;
        }
    }
    Ok(())
}

/// Waits for the four bytes that ask for the next message.
async fn confirmed<E: Executor>(executor: &E, stream: &mut E::Stream) -> io::Result<()> {
    let mut left = 4;
    while left > 0 {
        let mut space = [0; 4];
        let read = executor.read(stream, &mut space[..left]);
        match executor.within(Some(PATIENCE), read).await {
            Some(Ok(count)) if count > 0 => left -= count,
            Some(Err(error)) => return Err(error),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Ok(())
}
