//! Messages between shards: a bounded lock-free queue each, never waited on.

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::census::Walk;
use super::survey::Survey;
use crate::base::slots::Key;
use crate::config::{BackendId, BindId, ServerId};

/// Messages one mailbox holds at most.
pub const MAILBOX_SLOTS: usize = 4096;

/// What one shard tells another. Hints may be lost; an owner of a descriptor never is.
#[derive(Debug)]
pub enum Message {
    /// An accepted connection now belongs to the receiver. Never dropped: a sender that finds the
    /// mailbox full keeps the connection.
    Placed {
        fd: i32,
        bind: BindId,
        peer: Option<SocketAddr>,
    },
    /// A place became free in this backend and you hold the oldest ticket.
    Place(BackendId),
    /// A server changed: compare versions.
    State,
    /// Connections of the process or of a frontend may be accepted again.
    Room,
    /// An operator opened or closed a frontend.
    Doors,
    /// The phase of the process changed (pause, resume, soft stop, stop).
    Phase,
    /// End all sessions of the shard (`-st`, hard stop).
    Kill,
    /// Patterns of an ACL changed: what was indexed by them is to be indexed anew.
    Patterns,
    /// Your counters start again.
    ClearCounters,
    /// Tell of your sessions. A hint: the asker asks again.
    Survey(Arc<Survey>),
    /// Count your sessions. A hint: the asker asks again.
    Census(Box<Walk>),
    /// End all sessions of the shard that have a connection to this server.
    KillServer(ServerId, KillFor),
    /// The traffic of this server, which you check, was full of errors: check it soon. A hint.
    Hasten(ServerId),
    /// A session of shard `to` would use an idle connection of yours to this server. A hint: unanswered, it connects.
    Borrow {
        server: ServerId,
        identity: u64,
        first: bool,
        to: usize,
        session: Key,
    },
    /// The answer: a connection that now belongs to the receiver, -1 where there was none.
    Lent {
        session: Key,
        server: ServerId,
        fd: i32,
        identity: u64,
        uses: u32,
    },
    /// A password was verified for this session of the receiver. Never dropped: the sender waits.
    Verified { session: Key, id: u128, right: bool },
    /// The command that checks this server, which you check, came to this end. Never dropped: the probe waits.
    Checked {
        server: ServerId,
        attempt: u32,
        end: CommandEnd,
    },
}

/// How a command that checks a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// With this status; -1: by a signal.
    Exited(i32),
    TimedOut,
    /// It could not be run: the system's error number.
    NotStarted(i32),
}

/// Why sessions with a server are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillFor {
    /// An operator wants it.
    Operator,
    /// `on-marked-down shutdown-sessions`.
    Down,
    /// `on-marked-up shutdown-backup-sessions` of another server.
    Up,
}

/// A shard's incoming messages.
#[derive(Debug)]
pub struct Mailbox {
    queue: ArrayQueue<Message>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            queue: ArrayQueue::new(MAILBOX_SLOTS),
        }
    }
}

impl Mailbox {
    /// Leaves a message, or gives it back if the mailbox is full.
    pub fn send(&self, message: Message) -> Result<(), Message> {
        self.queue.push(message)
    }
    pub fn take(&self) -> Option<Message> {
        self.queue.pop()
    }
    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
