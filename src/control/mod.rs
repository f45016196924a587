//! The control thread: the admin sockets, beside the shards and never in their way.
//!
//! It is written against a small [`executor::Executor`]: glommio first, a plain poll(2) loop where
//! glommio cannot start (io_uring forbidden, too little lockable memory). Connections are bounded by
//! `stats maxconn` and each socket's own `maxconn`; each holds one piece of its answer at a time, so
//! a client that does not read stops nobody else, and is closed after `stats timeout`.
//!
//! The thread reads `shared` and acts through `backend`; it never touches a shard's slots.

pub mod executor;
mod glommio;
pub mod handover;
mod poll;
mod rates;
mod sockets;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use crate::base::tick::Tick;
use crate::io::sys::net;
use crate::observe::cli::show;
use crate::observe::stats::Facts;
use crate::proxy::logs::LogOutputs;
use crate::shared::Shared;

/// What the control thread starts with.
#[derive(Debug)]
pub struct ControlSetup {
    pub shared: Arc<Shared>,
    /// Listening sockets, each with its index in `global.stats_sockets`.
    pub sockets: Vec<(OwnedFd, usize)>,
    /// The master's connection, on which it or the next worker asks for them.
    pub channel: Option<OwnedFd>,
    /// On which the master passes connections to its own admin socket on.
    pub door: Option<OwnedFd>,
    /// The shards' listening sockets, for the process that follows.
    pub offered: Vec<handover::Offered>,
    pub logs: LogOutputs,
    /// What `show info` and its like tell; `control_poller` is put in place here, and `started`,
    /// `hard_maxconn`, `node` and `env` where they are not set.
    pub facts: Facts,
    pub poller: Wanted,
}

/// Which executor to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Wanted {
    /// glommio, or poll(2) where it cannot start.
    #[default]
    Best,
    Glommio,
    Poll,
}

/// The running control thread.
#[derive(Debug)]
pub struct ControlHandle {
    poller: String,
    /// Closing it tells the thread to end.
    stop: UnixStream,
    thread: JoinHandle<()>,
}

impl ControlHandle {
    /// `glommio`, or `poll` and why.
    pub fn poller_name(&self) -> &str {
        &self.poller
    }

    /// Closes the admin sockets and waits for the thread, which never blocks.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// Starts the control thread. Call before `chroot`: it keeps `/proc/self/statm` open.
///
/// # Errors
/// No thread or socket pair can be made, or the executor that was asked for cannot start.
pub fn spawn(mut setup: ControlSetup) -> io::Result<ControlHandle> {
    complete(&mut setup);
    let (stop, stopped) = UnixStream::pair()?;
    let (tell, told) = channel();
    let thread = thread::Builder::new()
        .name("control".into())
        .spawn(move || run(setup, stopped, &tell))?;
    let poller = told
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the control thread ended at its start")))?;
    Ok(ControlHandle {
        poller,
        stop,
        thread,
    })
}

/// Fills in what follows from the process itself.
fn complete(setup: &mut ControlSetup) {
    let (facts, global) = (&mut setup.facts, &setup.shared.config.global);
    if facts.started == Tick::default() {
        facts.started = net::tick();
    }
    if facts.hard_maxconn == 0 {
        facts.hard_maxconn = setup.shared.process.maxconn.load(Relaxed);
    }
    if facts.node.is_empty() {
        let own = || nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        facts.node = global
            .node
            .clone()
            .or_else(|| own().ok())
            .unwrap_or_default();
    }
    if facts.env.is_empty() {
        let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
        facts.env = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
    }
    const CLI: &str = "HAPROXY_CLI";
    if !global.stats_sockets.is_empty() && !facts.env.iter().any(|(name, _)| name == CLI) {
        let sockets = global.stats_sockets.iter();
        let names: Vec<String> = sockets
            .map(|socket| show::address(&socket.address))
            .collect();
        facts.env.push((CLI.into(), names.join(";")));
    }
    if facts.name.is_empty() {
        facts.name = "HAProxy".into();
    }
}

/// The thread: tries one executor after the other, tells which one serves, and serves.
fn run(mut setup: ControlSetup, stopped: UnixStream, tell: &Sender<io::Result<String>>) {
    let statm = File::open("/proc/self/statm").ok();
    let stopped = OwnedFd::from(stopped);
    let why_not = match setup.poller {
        Wanted::Poll => None,
        Wanted::Best | Wanted::Glommio => match glommio::Runtime::new() {
            Ok(runtime) => {
                "glommio".clone_into(&mut setup.facts.control_poller);
                let _ = tell.send(Ok(setup.facts.control_poller.clone()));
                runtime.run(|executor| sockets::serve(executor, setup, statm, stopped));
                return;
            }
            Err(why) if setup.poller == Wanted::Glommio => {
                let _ = tell.send(Err(why));
                return;
            }
            Err(why) => Some(why),
        },
    };
    setup.facts.control_poller =
        why_not.map_or_else(|| "poll".into(), |why| format!("poll (no glommio: {why})"));
    let _ = tell.send(Ok(setup.facts.control_poller.clone()));
    poll::run(|executor| sockets::serve(executor, setup, statm, stopped));
}

#[cfg(test)]
mod tests;
