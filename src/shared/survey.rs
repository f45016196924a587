//! A question about sessions that one shard answers, a page at a time: `show sess`, `shutdown session`.
//!
//! The asker leaves it in the shard's mailbox and looks now and then whether the answer is there; nobody
//! waits. What one answer costs is bounded: so many places looked at, so many rows.

use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::base::slots::Key;
use crate::base::tick::Tick;
use crate::config::{BackendId, BindId, FrontendId, ServerId};

/// Places of sessions that one answer looks at, at most, and rows that it has.
pub const PLACES: usize = 2048;
pub const ROWS: usize = 64;

/// One session of one shard. Its text is a hexadecimal number, as haproxy's pointers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId {
    pub shard: usize,
    pub http: bool,
    pub key: Key,
}

/// Bits of a number: place, generation, kind; the shard is above.
const INDEX_BITS: u32 = 26;
const GENERATION_BITS: u32 = 24;

impl SessionId {
    pub fn pack(self) -> u64 {
        let above = (self.shard as u64) << 1 | u64::from(self.http);
        let middle = u64::from(self.key.generation) & ((1 << GENERATION_BITS) - 1);
        let low = u64::from(self.key.index) & ((1 << INDEX_BITS) - 1);
        (above << GENERATION_BITS | middle) << INDEX_BITS | low
    }

    pub fn unpack(word: u64) -> Self {
        let above = word >> (INDEX_BITS + GENERATION_BITS);
        Self {
            shard: (above >> 1) as usize,
            http: above & 1 == 1,
            key: Key {
                index: (word & ((1 << INDEX_BITS) - 1)) as u32,
                generation: (word >> INDEX_BITS & ((1 << GENERATION_BITS) - 1)) as u32,
            },
        }
    }
}

/// Which sessions are meant; what is `None` does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    pub id: Option<SessionId>,
    pub frontend: Option<FrontendId>,
    pub backend: Option<BackendId>,
    pub server: Option<ServerId>,
    pub older_ms: Option<u64>,
}

impl Filter {
    pub fn takes(&self, row: &Row) -> bool {
        self.frontend.is_none_or(|f| f == row.frontend)
            && self.backend.is_none_or(|b| Some(b) == row.backend)
            && self.server.is_none_or(|s| Some(s) == row.server)
            && self.older_ms.is_none_or(|ms| row.age_ms >= ms)
    }
}

/// Where a page begins: the TCP sessions come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub http: bool,
    pub place: u32,
}

/// The question, and room for its answer.
#[derive(Debug)]
pub struct Survey {
    pub from: Cursor,
    pub filter: Filter,
    /// What is found ends.
    pub kill: bool,
    pub answer: OnceLock<Page>,
}

#[derive(Debug, Default)]
pub struct Page {
    pub rows: Vec<Row>,
    /// Where the next one begins; `None`: that was all.
    pub next: Option<Cursor>,
}

/// How far the connection to a server is, with haproxy's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    None = 0,
    Queued = 2,
    Pause = 3,
    Connecting = 5,
    Established = 8,
    Closed = 10,
}

/// What a shard tells of a session.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: u64,
    pub number: u64,
    pub stage: &'static str,
    pub bind: BindId,
    pub frontend: FrontendId,
    pub backend: Option<BackendId>,
    pub server: Option<ServerId>,
    pub client: Option<SocketAddr>,
    /// Where the client connected to, and both ends of the server's connection, as far as known.
    pub local: Option<SocketAddr>,
    pub server_ends: (Option<SocketAddr>, Option<SocketAddr>),
    pub began: Tick,
    pub age_ms: u64,
    /// Until it is given up.
    pub left_ms: Option<u64>,
    pub side: Side,
    /// Descriptors, -1 none.
    pub client_fd: i32,
    pub server_fd: i32,
    pub retries: u32,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_its_number() {
        for (shard, http, index, generation) in [
            (0, false, 0, 1),
            (3, true, 77, 9),
            (4095, true, (1 << 26) - 1, 0xff_ffff),
        ] {
            let id = SessionId {
                shard,
                http,
                key: Key { index, generation },
            };
            assert_eq!(SessionId::unpack(id.pack()), id);
        }
    }
}
