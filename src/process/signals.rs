//! The main thread once shards run: it waits for signals and for threads that end, nothing else.
//!
//! SIGUSR1 soft stop, SIGTERM and SIGINT stop, SIGTTOU pause, SIGTTIN resume, SIGHUP dump of the
//! servers' states; SIGUSR2 and SIGQUIT do nothing without a master. Signals are blocked in every
//! thread and read here from a signalfd. What is said is haproxy's, on stderr and in the logs.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::say;
use super::worker::{Ended, Workers};
use crate::config::{FrontendId, Level, LogTarget, Proxy};
use crate::control::ControlHandle;
use crate::io::sys::net;
use crate::io::sys::process::die_by;
use crate::proxy::external;
use crate::proxy::logs::{LogOutputs, ShardLogs};
use crate::shared::server_cell::OpState;
use crate::shared::{Message, Phase, Shared};

/// Signals that are read rather than suffered.
const READ: [Signal; 8] = [
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTTOU,
    Signal::SIGTTIN,
    Signal::SIGHUP,
];
/// How long SIGTERM waits for the shards to see the phase before it ends the process all the same.
const STOP_WITHIN: Duration = Duration::from_millis(80);
/// Time for log lines on descriptors to leave at the end.
const DRAIN: Duration = Duration::from_millis(50);

/// Blocks the signals for this thread and all that it starts; call before any thread exists.
///
/// # Errors
/// The kernel's.
pub fn block() -> nix::Result<SignalFd> {
    let set: SigSet = READ.into_iter().collect();
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// The main thread's state.
pub struct Watch {
    pub shared: Arc<Shared>,
    pub signals: SignalFd,
    pub workers: Workers,
    pub logs: LogOutputs,
    log: ShardLogs,
    /// Taken when the process ends.
    control: Option<ControlHandle>,
    /// SIGUSR1 was seen, the stop begins then (`grace` of the process).
    soft_stop_at: Option<Instant>,
    hard_stop_at: Option<Instant>,
    /// The stop has begun for all proxies but these, by their number; they stop then (their own `grace`).
    graced: Vec<(Instant, usize)>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

impl Watch {
    pub fn new(
        shared: Arc<Shared>,
        signals: SignalFd,
        workers: Workers,
        logs: LogOutputs,
        control: ControlHandle,
    ) -> Self {
        let log = logs.process(Some(&shared));
        Self {
            shared,
            signals,
            workers,
            logs,
            log,
            control: Some(control),
            soft_stop_at: None,
            hard_stop_at: None,
            graced: Vec::new(),
        }
    }

    /// Serves until the process is over.
    pub fn run(mut self) -> ExitCode {
        loop {
            self.wait();
            while let Ok(Some(info)) = self.signals.read_signal() {
                if let Ok(signal) = Signal::try_from(info.ssi_signo as i32) {
                    self.on_signal(signal);
                }
            }
            self.on_time(Instant::now());
            if let Some(code) = self.on_ended() {
                self.leave();
                return code;
            }
        }
    }

    fn wait(&mut self) {
        let graced = self.graced.iter().map(|(at, _)| *at).min();
        let until = [self.soft_stop_at, self.hard_stop_at, graced]
            .into_iter()
            .flatten()
            .min();
        let timeout = until.map_or(PollTimeout::NONE, |at| {
            let ms = at.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.workers.wake.as_fd(), PollFlags::POLLIN),
        ];
        // EINTR and the like: looked at again in the next round.
        let _ = poll(&mut fds, timeout);
        if fds[1].any().unwrap_or(false) {
            let _ = self.workers.wake.read(&mut [0; 64]);
        }
    }

    fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::SIGUSR1 => self.ask_soft_stop(),
            Signal::SIGTERM | Signal::SIGINT => self.stop_by(signal),
            Signal::SIGTTOU => self.pause(),
            Signal::SIGTTIN => self.resume(),
            Signal::SIGHUP => self.dump(),
            _ => {}
        }
    }

    // ------------------------------------------------------------ ends

    /// Now: the listeners and sessions end with the process, and its parent sees the signal.
    fn stop_by(&mut self, signal: Signal) {
        self.enter(Phase::Stop);
        self.workers.gone_within(STOP_WITHIN);
        self.leave();
        die_by(signal as i32);
    }

    /// Last things: the admin sockets close, lines under way leave.
    fn leave(&mut self) {
        external::stop();
        if let Some(control) = self.control.take() {
            control.stop();
        }
        self.logs.drain(DRAIN);
    }

    fn ask_soft_stop(&mut self) {
        if self.soft_stop_at.is_none()
            && matches!(self.shared.phase(), Phase::Running | Phase::Paused)
        {
            let grace = self.shared.config.global.grace_ms.unwrap_or(0);
            self.soft_stop_at = Some(Instant::now() + Duration::from_millis(grace.into()));
        }
    }

    fn on_time(&mut self, now: Instant) {
        if self.soft_stop_at.is_some_and(|at| now >= at) {
            self.soft_stop_at = None;
            self.soft_stop(now);
        }
        let over = self.graced.extract_if(.., |(at, _)| now >= *at);
        for (_, index) in over.collect::<Vec<_>>() {
            let shared = Arc::clone(&self.shared);
            self.tell_stopped(&shared.config.proxies[index]);
        }
        if self.hard_stop_at.is_some_and(|at| now >= at) {
            self.hard_stop_at = None;
            self.hard_stop();
        }
    }

    fn soft_stop(&mut self, now: Instant) {
        if let Some(ms) = self.shared.config.global.hard_stop_after_ms {
            self.hard_stop_at = Some(now + Duration::from_millis(ms.into()));
        }
        self.enter(Phase::SoftStop);
        // Those with listeners stop first, as in haproxy.
        let shared = Arc::clone(&self.shared);
        let proxies = shared.config.proxies.iter().enumerate();
        let (first, then): (Vec<_>, Vec<_>) = proxies
            .filter(|(_, p)| !p.disabled)
            .partition(|(_, p)| self.listens(p));
        for (index, proxy) in first.into_iter().chain(then) {
            match self.grace_ms(proxy) {
                0 => self.tell_stopped(proxy),
                ms => {
                    let at = now + Duration::from_millis(ms.into());
                    self.graced.push((at, index));
                    self.warn(proxy, &format!("Proxy {} stops in {ms} ms.", proxy.name));
                }
            }
        }
    }

    fn tell_stopped(&mut self, proxy: &Proxy) {
        let counts = self.totals(proxy);
        let text = format!(
            "Proxy {} stopped (cumulated conns: FE: {}, BE: {}).",
            proxy.name, counts.0, counts.1
        );
        self.warn(proxy, &text);
    }

    fn hard_stop(&mut self) {
        if self.shared.phase() != Phase::SoftStop {
            return;
        }
        let text = "soft-stop running for too long, performing a hard-stop.";
        say::warning(text);
        let shared = Arc::clone(&self.shared);
        self.log(&shared.config.global.log, None, Level::Warning, text);
        for proxy in shared.config.proxies.iter().filter(|p| !p.disabled) {
            let open = proxy
                .frontend
                .map_or(0, |f| shared.frontend(f).connections.load(Relaxed));
            if open > 0 {
                let text = format!(
                    "Proxy {} hard-stopped ({open} remaining conns will be closed).",
                    proxy.name
                );
                self.warn(proxy, &text);
            }
        }
        shared.hint_all(|| Message::Kill);
        self.enter(Phase::Stop);
    }

    /// Threads that ended: after a stop the last one ends the process, before it any one does.
    fn on_ended(&mut self) -> Option<ExitCode> {
        while let Some(ended) = self.workers.next_ended() {
            if let Some(reason) = self.unexpected(&ended) {
                let text = format!("shard {} ended: {reason}", ended.shard);
                say::alert(&text);
                let shared = Arc::clone(&self.shared);
                self.log(&shared.config.global.log, None, Level::Emerg, &text);
                return Some(ExitCode::FAILURE);
            }
        }
        (self.workers.running() == 0).then_some(ExitCode::SUCCESS)
    }

    fn unexpected(&self, ended: &Ended) -> Option<String> {
        match (&ended.result, self.shared.phase()) {
            (Err(reason), _) => Some(reason.clone()),
            (Ok(()), Phase::Running | Phase::Paused) => {
                Some("it stopped serving by itself".to_owned())
            }
            (Ok(()), _) => None,
        }
    }

    // ------------------------------------------------------------ pause, resume

    fn pause(&mut self) {
        if self.shared.phase() != Phase::Running {
            return;
        }
        self.enter(Phase::Paused);
        self.tell_listening("Paused");
    }

    fn resume(&mut self) {
        if self.shared.phase() != Phase::Paused {
            return;
        }
        self.enter(Phase::Running);
        self.tell_listening("Resumed");
    }

    fn tell_listening(&mut self, what: &str) {
        let shared = Arc::clone(&self.shared);
        for proxy in &shared.config.proxies {
            if !self.listens(proxy) {
                continue;
            }
            let kind = if proxy.backend.is_some() {
                "proxy"
            } else {
                "frontend"
            };
            self.warn(proxy, &format!("{what} {kind} {}.", proxy.name));
        }
    }

    // ------------------------------------------------------------ dump

    /// SIGHUP: every proxy and server, to stderr as warnings and to the logs as notices.
    fn dump(&mut self) {
        say::warning("SIGHUP received, dumping servers states.");
        let shared = self.shared.latest();
        for proxy in &shared.config.proxies {
            self.note(
                proxy,
                &format!(
                    "SIGHUP received, dumping servers states for proxy {}.",
                    proxy.name
                ),
            );
            let mut alive = (0, 0);
            let servers = proxy
                .backend
                .map_or(&[][..], |b| &shared.config.backend(b).servers);
            for &id in servers {
                let (server, cell) = (shared.config.server(id), shared.server(id));
                let up = cell.op() != OpState::Stopped;
                if up {
                    *(if server.backup {
                        &mut alive.1
                    } else {
                        &mut alive.0
                    }) += 1;
                }
                let text = format!(
                    "SIGHUP: Server {}/{} is {}. Conn: {} act, {} pend, {} tot.",
                    proxy.name,
                    server.name,
                    if up { "UP" } else { "DOWN" },
                    shared.server_connections(id),
                    cell.queued.load(Relaxed),
                    shared.sum(|s| &s.servers[id.index()].sessions),
                );
                self.say_and_note(proxy, &text);
            }
            let text = self.proxy_state(proxy, servers.is_empty(), alive);
            self.say_and_note(proxy, &text);
        }
    }

    fn proxy_state(&self, proxy: &Proxy, no_servers: bool, alive: (u32, u32)) -> String {
        let shared = &self.shared;
        let state = match alive {
            _ if no_servers => "has no servers.".to_owned(),
            (0, 0) => "has no server available !".to_owned(),
            (active, backup) => {
                format!("has {active} active servers and {backup} backup servers available.")
            }
        };
        let front = proxy
            .frontend
            .map_or(0, |f| shared.frontend(f).connections.load(Relaxed));
        let back = proxy.backend.map_or(0, |b| {
            shared
                .config
                .backend(b)
                .servers
                .iter()
                .map(|&s| shared.server_connections(s))
                .sum()
        });
        let (pending, unassigned) = proxy.backend.map_or((0, 0), |b| {
            let cell = shared.backend(b);
            (cell.queued_total.load(Relaxed), cell.queued.load(Relaxed))
        });
        let totals = self.totals(proxy);
        format!(
            "SIGHUP: Proxy {} {state} Conn: act(FE+BE): {front}+{back}, {pending} pend ({unassigned} unass), tot(FE+BE): {}+{}.",
            proxy.name, totals.0, totals.1
        )
    }

    // ------------------------------------------------------------ leaves

    fn enter(&self, phase: Phase) {
        self.shared.process.set_phase(phase);
        self.shared.hint_all(|| Message::Phase);
    }

    fn listens(&self, proxy: &Proxy) -> bool {
        let front = proxy
            .frontend
            .map(|f: FrontendId| self.shared.config.frontend(f));
        front.is_some_and(|f| !f.disabled && !f.binds.is_empty())
    }

    /// How long the listeners of this proxy serve after the soft stop began.
    fn grace_ms(&self, proxy: &Proxy) -> u32 {
        let frontend = proxy.frontend.filter(|_| self.listens(proxy));
        let grace = frontend.and_then(|f| self.shared.config.frontend(f).grace_ms);
        grace.unwrap_or(0)
    }

    /// Connections so far: frontend, backend.
    fn totals(&self, proxy: &Proxy) -> (u64, u64) {
        let shared = &self.shared;
        (
            proxy
                .frontend
                .map_or(0, |f| shared.sum(|s| &s.frontends[f.index()].connections)),
            proxy
                .backend
                .map_or(0, |b| shared.sum(|s| &s.backends[b.index()].sessions)),
        )
    }

    fn warn(&mut self, proxy: &Proxy, text: &str) {
        say::warning(text);
        self.log_for(proxy, Level::Warning, text);
    }

    fn note(&mut self, proxy: &Proxy, text: &str) {
        self.log_for(proxy, Level::Notice, text);
    }

    fn say_and_note(&mut self, proxy: &Proxy, text: &str) {
        say::warning(text);
        self.note(proxy, text);
    }

    fn log_for(&mut self, proxy: &Proxy, level: Level, text: &str) {
        let shared = Arc::clone(&self.shared);
        let front = proxy.frontend.map(|f| shared.config.frontend(f));
        let back = proxy.backend.map(|b| shared.config.backend(b));
        let (targets, tag) = match (front, back) {
            (Some(f), _) => (&f.log, f.log_tag.as_deref()),
            (None, Some(b)) => (&b.log, b.log_tag.as_deref()),
            (None, None) => return,
        };
        self.log(targets, tag, level, text);
    }

    fn log(&mut self, targets: &[LogTarget], tag: Option<&str>, level: Level, text: &str) {
        let wall_us = self.shared.wall_us(net::tick());
        self.log.push(targets, level, tag, wall_us, text.as_bytes());
    }
}
