//! One thread, one ring: the turn.
//!
//! A turn waits for events (not at all while streams are ready), drives what became ready until
//! nothing small is left, gives the streams their megabyte, then looks at messages, versions,
//! waiting streams and timers. Every driver call runs under a catch: a panic ends that session,
//! with a log line and everything given back, and no other.

mod survey;
pub mod turn;
mod versions;

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::Ordering::{AcqRel, Release};

use crate::base::tick::Tick;
use crate::config::BindId;
use crate::io::engine::{Engine, Io, Limits};
use crate::io::epoll::EpollKernel;
use crate::io::kernel::Kernel;
use crate::io::pipe::Pipe;
use crate::io::sys::net;
use crate::io::uring::UringKernel;
use crate::observe::stats::Facts;
use crate::proxy::listener::{self, Listener};
use crate::proxy::logs::LogOutputs;
use crate::proxy::{Local, Timer, check, connect, http};
use crate::shared::Shared;
pub use turn::Shard;

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
    pub logs: LogOutputs,
    /// For the statistics page.
    pub facts: Facts,
}

/// Entries of a shard's ring; completions get eight times as many.
const RING_ENTRIES: u32 = 1024;

/// Runs one shard until the phase is `Stop`, or `SoftStop` and the last session of the process ended.
///
/// # Errors
/// Neither a ring nor epoll can be set up.
pub fn run(setup: ShardSetup) -> std::io::Result<()> {
    pin(&setup.cpus);
    let bell = net::eventfd().map_err(|e| std::io::Error::from_raw_os_error(e.0))?;
    setup.shared.shards[setup.index]
        .bell
        .install(move || net::ring(bell));
    if setup.poller == PollerKind::IoUring {
        match UringKernel::new(RING_ENTRIES, bell) {
            Ok(kernel) => {
                serve(setup, kernel);
                return Ok(());
            }
            // The probe's small ring fitted into the lockable memory that is left, this one does not.
            Err(error) => tell_epoll(&setup, &error),
        }
    }
    let kernel = EpollKernel::new(bell)?;
    setup.shared.shards[setup.index].epoll.store(true, Relaxed);
    serve(setup, kernel);
    Ok(())
}

/// Says that this shard serves with epoll although the process could have rings.
fn tell_epoll(setup: &ShardSetup, error: &std::io::Error) {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOMEM) => "'ulimit -l unlimited' would change that",
        _ => "check the sysctl kernel.io_uring_disabled and seccomp filters",
    };
    let text = format!(
        "shard {} has no io_uring ({error}; {remedy}): epoll serves it.",
        setup.index
    );
    setup
        .logs
        .process(Some(&setup.shared))
        .console("WARNING", &text);
}

fn pin(cpus: &[usize]) {
    let mut set = nix::sched::CpuSet::new();
    let wanted = cpus.iter().filter(|cpu| set.set(**cpu).is_ok()).count();
    if wanted > 0 {
        // A CPU that went away since start is no reason to stop: the shard then runs anywhere.
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set);
    }
}

fn serve<K: Kernel>(setup: ShardSetup, kernel: K) {
    let shards = setup.shared.shards.len();
    let config = Arc::clone(&setup.shared.config);
    let pipes = setup.pipes.into_iter().map(|(read, write, size)| Pipe {
        read: read.into_raw_fd(),
        write: write.into_raw_fd(),
        size,
        held: 0,
    });
    let limits = Limits {
        buffer: config.global.tune.bufsize as usize,
        memory: usize::try_from(config.global.tune.relay_memory).unwrap_or(usize::MAX) / shards,
        pipe_size: config.global.tune.pipesize,
        pipes: setup.pipes_max,
        ..Limits::default()
    };
    let engine = Engine::new(kernel, limits, pipes.collect());
    let logs = setup.logs.shard(&setup.shared, setup.index);
    let now = net::tick();
    let seed = net::monotonic_us() ^ (setup.index as u64) << 48;
    let mut shard = Shard::new(
        Arc::clone(&setup.shared),
        setup.index,
        engine,
        logs,
        now,
        seed,
    );
    shard.local.facts = Arc::new(setup.facts);
    for (bind, fd) in setup.listeners {
        shard.add_listener(bind, fd);
    }
    shard.start();
    while shard.turn() {}
    shard.end();
}

impl<K: Kernel> Shard<K> {
    /// A shard without listeners.
    pub fn new(
        shared: Arc<Shared>,
        index: usize,
        engine: Engine<K>,
        logs: crate::proxy::logs::ShardLogs,
        now: Tick,
        seed: u64,
    ) -> Self {
        let relays = 1 << 20;
        let local = Local::new(shared, index, logs, now, seed, relays);
        Self::assemble(engine, local)
    }

    /// Takes a listening socket; [`Shard::start`] opens it. Options that accepted sockets inherit are set here.
    pub fn add_listener(&mut self, bind: BindId, fd: OwnedFd) {
        let config = &self.local.config;
        let frontend = config.frontend(config.bind(bind).frontend);
        let tune = &config.global.tune;
        if config.bind(bind).address.shardable() {
            let keepalive = connect::keepalive(&frontend.tcpka);
            net::prepare_listener(
                fd.as_raw_fd(),
                keepalive.as_ref(),
                tune.rcvbuf_client,
                tune.sndbuf_client,
            );
        }
        net::set_nonblocking(fd.as_raw_fd());
        self.add_listener_fd(bind, fd.into_raw_fd());
    }

    /// [`Shard::add_listener`] for a descriptor that is ready as it is.
    pub fn add_listener_fd(&mut self, bind: BindId, fd: i32) {
        let index = self.local.listeners.len() as u32;
        let sock = self
            .engine
            .adopt(fd, listener::owner(index))
            .expect("the table of sockets is empty at start");
        let shared_out = !self.local.config.bind(bind).address.shardable();
        let listener = Listener::new(&self.local, bind, sock, shared_out);
        self.local.listeners.push(listener);
    }

    /// Opens the listeners and starts the probes.
    pub fn start(&mut self) {
        self.local.set_clock(self.engine.now());
        let process = &self.local.shared.process;
        process.shards_alive.fetch_add(1, AcqRel);
        process.listening.fetch_add(1, AcqRel);
        self.local.cells().alive.store(true, Release);
        for index in 0..self.local.listeners.len() {
            listener::start(&mut self.local, &mut self.engine, index as u32);
        }
        check::start(&mut self.local);
        let second = self.local.now + 1000;
        self.local.timers.arm(second, Timer::Second);
        // Its figures are right from the beginning, not from its first turn.
        self.publish_cpu();
        self.publish();
    }

    /// Says goodbye: probes and idle server connections are dropped; sessions still open (a hard stop) are closed by the end of the process.
    pub fn end(&mut self) {
        check::stop(&mut self.local, &mut self.engine);
        http::close_all(&mut self.local, &mut self.engine);
        self.drive();
        self.close_doors();
        self.publish();
        self.local.cells().alive.store(false, Release);
        self.local.shared.process.shards_alive.fetch_sub(1, AcqRel);
        self.engine.close_pipes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, LoadInputs, load};
    use crate::io::sim::{Net, SimKernel};

    #[test]
    fn the_pipes_of_a_shard_are_told_before_its_first_turn() {
        let input = Input::Text {
            name: "test".to_owned(),
            bytes: b"listen l\nbind :1\nserver s 192.0.2.1:1\n".to_vec(),
        };
        let inputs = LoadInputs {
            inputs: vec![input],
            ..LoadInputs::default()
        };
        let config = load(&inputs).config.expect("a correct configuration");
        let logs = LogOutputs::open(&config);
        let shared = Arc::new(Shared::new(Arc::new(config), 1));
        let mut kernel = SimKernel::new(&Net::new(1, 1), 0, true);
        let pipes = (0..3).map(|_| kernel.pipe(1 << 20).expect("no limit is set"));
        let pipes = pipes.collect();
        let engine = Engine::new(kernel, Limits::default(), pipes);
        let logs = logs.shard(&shared, 0);
        let mut shard = Shard::new(Arc::clone(&shared), 0, engine, logs, Tick(1000), 1);
        shard.start();
        assert_eq!(shared.shards[0].activity.pipes_free.get(), 3);
    }
}
