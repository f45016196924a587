//! The last message of each proxy that was none: what `show errors` shows (management.txt 9.3).
//!
//! Written only when a message is refused, and read by the admin socket: the one place where a shard may meet a
//! lock. It tries once and goes on without, so nobody ever waits.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::config::{BackendId, FrontendId, ProxyId, ServerId};
use crate::proto::h1::H1ErrorKind;

/// Bytes of a message kept.
const KEPT_MAX: usize = 16_384;

/// One refused message.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Events of this process before it.
    pub number: u32,
    /// Microseconds since the epoch.
    pub at_us: u64,
    pub response: bool,
    pub frontend: FrontendId,
    pub backend: Option<BackendId>,
    pub server: Option<ServerId>,
    pub client: Option<SocketAddr>,
    /// What had come, and the offset of the byte at which it was refused.
    pub bytes: Box<[u8]>,
    pub offset: usize,
    /// The rule it breaks.
    pub kind: H1ErrorKind,
}

/// By proxy: the last bad request and the last bad response.
#[derive(Debug)]
pub struct Errors {
    events: AtomicU32,
    last: Box<[[Mutex<Option<Capture>>; 2]]>,
}

impl Errors {
    pub fn new(proxies: usize) -> Self {
        Self {
            events: AtomicU32::new(0),
            last: (0..proxies).map(|_| Default::default()).collect(),
        }
    }

    /// Keeps `capture` (its number is given here, its bytes are cut) as the last of `proxy`.
    pub fn note(&self, proxy: ProxyId, mut capture: Capture) {
        capture.number = self.events.fetch_add(1, Relaxed);
        if capture.bytes.len() > KEPT_MAX {
            capture.bytes = capture.bytes[..KEPT_MAX].into();
        }
        let slot = &self.last[proxy.index()][usize::from(capture.response)];
        if let Ok(mut slot) = slot.try_lock() {
            *slot = Some(capture);
        }
    }

    /// Events since the start.
    pub fn total(&self) -> u32 {
        self.events.load(Relaxed)
    }

    /// What is kept of `proxy`: a request, a response.
    pub fn of(&self, proxy: ProxyId) -> impl Iterator<Item = Capture> + '_ {
        let slots = self.last[proxy.index()].iter();
        slots.filter_map(|slot| slot.lock().ok()?.clone())
    }
}
