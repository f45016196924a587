//! `first`: the lowest `id` that has a place, so that the last servers may be switched off at night.

use super::Entry;
use crate::config::ServerId;

#[derive(Debug, Default)]
pub struct First {
    by_puid: Vec<ServerId>,
}

impl First {
    pub fn update(&mut self, entries: &[Entry]) {
        let mut sorted: Vec<Entry> = entries.to_vec();
        sorted.sort_by_key(|e| e.puid);
        self.by_puid = sorted.into_iter().map(|e| e.id).collect();
    }

    pub fn choose(&self, take: &mut dyn FnMut(ServerId) -> bool) -> Option<ServerId> {
        self.by_puid.iter().copied().find(|&id| take(id))
    }
}
