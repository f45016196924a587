//! One thread, one ring: the turn.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::config::BindId;
use crate::shared::Shared;

/// Which poller the engine runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollerKind {
    IoUring,
    Epoll,
}

/// What a shard's thread starts with. All descriptors are bound and listening already.
#[derive(Debug)]
pub struct ShardSetup {
    pub index: usize,
    /// CPUs to pin to; empty: anywhere.
    pub cpus: Vec<usize>,
    pub shared: Arc<Shared>,
    pub poller: PollerKind,
    /// Listening sockets of this shard, at most one per bind.
    pub listeners: Vec<(BindId, OwnedFd)>,
    /// Pipes made while privileged (read end, write end, bytes), for splicing.
    pub pipes: Vec<(OwnedFd, OwnedFd, u32)>,
    /// Most pipes this shard may ever hold.
    pub pipes_max: usize,
}

/// Runs one shard until the phase is `Stop`, or `SoftStop` and its last session ended.
///
/// # Errors
/// The ring or epoll cannot be set up: names the call and the remedy.
pub fn run(setup: ShardSetup) -> std::io::Result<()> {
    let _ = setup;
    Ok(())
}
