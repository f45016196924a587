//! Hashed passwords are verified on a thread of their own: one takes milliseconds, in which a shard serves hundreds
//! of requests. A stream whose rule needs the answer stops at its cursor and goes on when the message comes.
//!
//! What was found is remembered by a keyed hash of list, user and password, so that a browser that sends the
//! same words with each request is not worked out each time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base::slots::Key;
use crate::config::userlist;
use crate::shared::{Message, Shared};

/// Verifications that may wait at a time, over all shards; who brings more waits for room.
const WAITING_MAX: usize = 1024;
/// Answers one shard remembers.
const KNOWN_MAX: usize = 4096;

/// Which words of whom: list, user and password in one number that cannot be turned back.
pub type PasswordId = u128;

/// What one shard knows of passwords.
#[derive(Debug, Default)]
pub struct Passwords {
    known: HashMap<PasswordId, bool>,
    keys: [RandomState; 2],
}

impl Passwords {
    pub fn id(&self, list: u32, user: &[u8], password: &[u8]) -> PasswordId {
        let half = |key: &RandomState| u128::from(key.hash_one((list, user, password)));
        half(&self.keys[0]) << 64 | half(&self.keys[1])
    }
    pub fn known(&self, id: PasswordId) -> Option<bool> {
        self.known.get(&id).copied()
    }
    pub fn learn(&mut self, id: PasswordId, right: bool) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(id, right);
    }
}

/// One password to verify, and who asks.
#[derive(Debug)]
pub struct Job {
    pub list: u32,
    pub user: Box<[u8]>,
    pub password: Box<[u8]>,
    pub id: PasswordId,
    pub session: Key,
    pub shard: usize,
}

/// Hands `job` to the thread. `false`: too many wait already, ask again later.
pub fn verify(shared: &Arc<Shared>, job: Job) -> bool {
    static QUEUE: OnceLock<SyncSender<(Arc<Shared>, Job)>> = OnceLock::new();
    let queue = QUEUE.get_or_init(|| {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        // Without a thread every send fails from now on, and with it every such login.
        let _ = std::thread::Builder::new()
            .name("passwords".into())
            .spawn(move || serve(&receiver));
        sender
    });
    queue.try_send((Arc::clone(shared), job)).is_ok()
}

fn serve(jobs: &Receiver<(Arc<Shared>, Job)>) {
    while let Ok((shared, job)) = jobs.recv() {
        let list = &shared.config.userlists[job.list as usize];
        let user = list.user(&job.user);
        let right = user.is_some_and(|user| userlist::verify(user, &job.password));
        let cells = &shared.shards[job.shard];
        let mut message = Message::Verified {
            session: job.session,
            id: job.id,
            right,
        };
        // The session waits for it: a full mailbox is waited for, unless the shard is gone.
        while let Err(back) = cells.mailbox.send(message) {
            if shared.phase() == crate::shared::Phase::Stop {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        cells.bell.ring();
    }
}
