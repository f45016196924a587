//! A later version of the configuration is taken over: see `shared::versions`.

use std::sync::Arc;

use super::turn::Shard;
use crate::config::ServerId;
use crate::io::kernel::Kernel;
use crate::proxy::{check, http, tcp};

/// What is still to be done for a version that was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Following {
    Done,
    /// So many messages were sent before: they may speak of what is gone now.
    Messages(usize),
}

impl<K: Kernel> Shard<K> {
    /// Takes the version in force over, if that is another. Between two messages: nobody holds anything of the old one.
    pub(super) fn follow_version(&mut self) {
        let Some(next) = self.local.shared.newer() else {
            return;
        };
        let waiting = self.local.cells().mailbox.len();
        self.local.take_version(next);
        let gone: Vec<ServerId> = self.local.shared.left().collect();
        check::follow(&mut self.local, &mut self.engine, &gone);
        http::close_idle(&mut self.local, &mut self.engine, &gone);
        self.following = Following::Messages(waiting);
        self.confirm_version();
    }

    /// A message was taken.
    pub(super) fn count_message(&mut self) {
        if let Following::Messages(left) = &mut self.following {
            *left = left.saturating_sub(1);
            self.confirm_version();
        }
    }

    /// Says that this version is followed, once nothing is to come of those before.
    fn confirm_version(&mut self) {
        if self.following != Following::Messages(0) {
            return;
        }
        self.following = Following::Done;
        let shared = Arc::clone(&self.local.shared);
        let gone: Vec<ServerId> = shared.left().collect();
        let mut held = Vec::new();
        if !gone.is_empty() {
            tcp::name_gone(&mut self.local, &gone, &mut held);
            http::name_gone(&mut self.local, &mut self.engine, &gone, &mut held);
        }
        self.local.cells().follow(shared.version(), held);
    }
}
