//! What every scenario stands on: the balancer as a process of its own, servers and clients around
//! it, readers for its logs and its admin socket, and namespaces in which a configuration runs as
//! it was written.
//!
//! The balancer under test is `$RINGWAY_BIN`, by default the one cargo built beside these tests.
//! Pointing it at haproxy runs the same scenarios against haproxy, which is how they were checked
//! before there was anything else to check ([`on_haproxy`] then chooses the present spelling where
//! haproxy has dropped an old one). Everything waits with a bound, and every process is stopped by
//! its own id.

pub(crate) mod admin;
pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod component;
pub(crate) mod daemon;
pub(crate) mod http;
pub(crate) mod logs;
pub(crate) mod net;
pub(crate) mod pattern;
pub(crate) mod ports;
pub(crate) mod server;
pub(crate) mod world;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use admin::Admin;
pub(crate) use client::{ask, closed_within, connect, refused, talk};
pub(crate) use daemon::{Daemon, Launch};
pub(crate) use logs::{UdpLog, UnixLog};
pub(crate) use ports::{port, ports_in_a_row};
pub(crate) use server::Server;

/// Bound of every wait whose length is not itself what a test measures. Long, because the machine
/// may be busy; reached only by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How late an event may be seen on a busy machine before a timer counts as wrong.
pub(crate) const LATE: Duration = Duration::from_millis(900);

/// The balancer under test.
pub(crate) fn balancer() -> PathBuf {
    std::env::var_os("RINGWAY_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_ringway").into(), PathBuf::from)
}

/// The oracle: Debian's haproxy 2.6, or `$HAPROXY_BIN`.
pub(crate) fn oracle() -> PathBuf {
    std::env::var_os("HAPROXY_BIN").map_or_else(|| "/usr/sbin/haproxy".into(), PathBuf::from)
}

/// Whether the scenarios run against haproxy itself: old spellings are then replaced by present ones.
pub(crate) fn on_haproxy() -> bool {
    balancer().file_name().is_some_and(|name| name == "haproxy")
}

/// Whether the large sizes were asked for (`RINGWAY_FULL=1`); continuous integration runs small ones.
pub(crate) fn full() -> bool {
    std::env::var_os("RINGWAY_FULL").is_some_and(|value| value == "1")
}

/// What a proxy usually needs: mode, algorithm, timeouts.
pub(crate) const TIMEOUTS: &str = " mode tcp\n balance roundrobin\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n";

/// The usual `defaults`, and an admin socket named `admin` in the daemon's directory.
pub(crate) const USUAL: &str = "global\n stats socket @DIR@/admin mode 600 level admin\n\
    defaults\n mode tcp\n balance roundrobin\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n";

/// `full` size when asked for, `quick` otherwise.
pub(crate) fn sized<T>(quick: T, large: T) -> T {
    if full() { large } else { quick }
}

/// Waits until `holds` is true, at most `limit`; false when it never was.
pub(crate) fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits with [`PATIENCE`] until `holds`, and fails naming `what` otherwise.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) {
    assert!(
        within(PATIENCE, holds),
        "never happened within {PATIENCE:?}: {what}"
    );
}

/// Fails unless `took` is `expected_ms` give or take: never earlier than 40 ms before, never later
/// than [`LATE`] after.
#[track_caller]
pub(crate) fn about(expected_ms: u64, took: Duration) {
    let expected = Duration::from_millis(expected_ms);
    assert!(
        took + Duration::from_millis(40) >= expected && took <= expected + LATE,
        "expected about {expected:?}, took {took:?}"
    );
}

/// A directory of its own, removed with everything in it on drop.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-e2e-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// Path of `name` in here, as text for a configuration.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes `name` and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Makes the directory `name` (and its parents) and gives its path.
    pub(crate) fn subdir(&self, name: &str) -> String {
        let path = self.file(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
