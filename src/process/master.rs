//! The master of workers: `-W`, `-Ws`, `master-worker`. It reads nothing and serves nothing: it starts this program
//! anew as a worker, which reads the configuration, and on SIGUSR2 or SIGHUP another one beside it, which takes the
//! listening sockets over and sends the first one home. A worker that does not come up changes nothing.
//!
//! A worker is told its descriptors in the environment ([`FromMaster`]): one to say what it says and at last that it
//! serves, one on which it gives its listening sockets to the next worker, one on which it gets connections to its
//! commands ([`cli`]), and, but for the first worker, the second of the one before it.

pub mod cli;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use self::cli::{Desk, Door, Question, Target};
use super::bind::reason;
use super::pidfile::PidFile;
use super::say;
use super::version;
use crate::io::sys::{process, rights};
use crate::observe::cli::Rights;

/// Tells a worker what it is.
pub const WORKER_ENV: &str = "RINGWAY_MASTER";

/// What a worker sends once it serves; nothing that it says contains it.
const SERVES: u8 = 1;

const READ: [Signal; 8] = [
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGHUP,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGTTOU,
    Signal::SIGTTIN,
    Signal::SIGCHLD,
];

/// What a worker has from its master.
#[derive(Debug)]
pub struct FromMaster {
    /// What it says while it starts; a byte 1 says that it serves.
    pub ready: io::PipeWriter,
    /// Who asks here gets the listening sockets.
    pub channel: OwnedFd,
    /// Connections for its commands come here.
    pub door: OwnedFd,
    /// The same of the worker before, its other end.
    pub before: Option<UnixStream>,
    /// Workers that are to leave once this one serves.
    pub old: Vec<i32>,
    /// There was none before it: what the command line says of older processes is meant for it.
    pub first: bool,
}

impl FromMaster {
    /// What the environment says; `None`: this is no worker.
    ///
    /// # Errors
    /// It names descriptors that are not open.
    pub fn take() -> io::Result<Option<Self>> {
        let Ok(text) = std::env::var(WORKER_ENV) else {
            return Ok(None);
        };
        let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
        let mut numbers = text.split(',').map(str::parse::<i32>);
        let mut fd = || {
            let number = numbers.next().ok_or_else(wrong)?.map_err(|_| wrong())?;
            if number < 0 {
                return Ok(None);
            }
            let own = process::take_inherited(number)?;
            process::close_inherited(number);
            Ok::<_, io::Error>(Some(own))
        };
        let (ready, channel, door, before) = (fd()?, fd()?, fd()?, fd()?);
        let old: Vec<i32> = numbers.flatten().collect();
        Ok(Some(Self {
            ready: ready.ok_or_else(wrong)?.into(),
            channel: channel.ok_or_else(wrong)?,
            door: door.ok_or_else(wrong)?,
            first: before.is_none() && old.is_empty(),
            before: before.map(UnixStream::from),
            old,
        }))
    }
}

/// How the master is to behave.
#[derive(Debug)]
pub struct Manner {
    /// The program and its arguments, as the worker gets them.
    pub program: PathBuf,
    pub name: String,
    pub words: Vec<OsString>,
    /// Where it was started: `-C` is the worker's as well.
    pub dir: PathBuf,
    /// `-Ws`: systemd is told.
    pub notify: bool,
    /// `mworker-max-reloads`: workers that saw more are ended.
    pub max_reloads: u32,
    /// Whether a worker that fails takes the others with it (`no-exit-on-failure`: not).
    pub exit_on_failure: bool,
    /// `-S`.
    pub doors: Vec<Door>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    /// Our end of its channel.
    channel: UnixStream,
    /// Our end of the way to its commands.
    door: UnixStream,
    reloads: u32,
    begun: Instant,
}

impl Worker {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("pids fit"))
    }

    fn signal(&self, signal: Signal) {
        // One that is gone needs none.
        let _ = kill(self.pid(), signal);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Master {
    manner: Manner,
    signals: SignalFd,
    current: Option<Worker>,
    former: Vec<Worker>,
    /// A worker on its way up.
    loading: Option<(Worker, PipeReader)>,
    /// Asked to reload while one was on its way up.
    again: bool,
    /// What to end with, once all workers are gone.
    leaving: Option<u8>,
    /// What the last current worker ended with.
    last: Option<u8>,
    desk: Desk,
    begun: Instant,
    reloads: u32,
    failures: u32,
    /// What was said since the last start of a worker began.
    said: String,
    /// Those who wait for the reload under way, and for the one after it.
    waiting: Vec<Sender<(bool, String)>>,
    waiting_again: Vec<Sender<(bool, String)>>,
    /// Workers before the one on its way up are to end at once.
    hard: bool,
    hard_again: bool,
}

impl Master {
    /// # Errors
    /// Signals cannot be read, or no thread can be made.
    pub fn new(mut manner: Manner) -> io::Result<Self> {
        let set: SigSet = READ.into_iter().collect();
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        // Its threads leave the signals to this one.
        let desk = Desk::open(std::mem::take(&mut manner.doors))?;
        Ok(Self {
            manner,
            signals,
            current: None,
            former: Vec::new(),
            loading: None,
            again: false,
            leaving: None,
            last: None,
            desk,
            begun: Instant::now(),
            reloads: 0,
            failures: 0,
            said: String::new(),
            waiting: Vec::new(),
            waiting_again: Vec::new(),
            hard: false,
            hard_again: false,
        })
    }

    /// Runs until the last worker is gone. `up` is called once, when the first serves.
    pub fn run(mut self, pidfile: Option<PidFile>, up: impl FnOnce()) -> ExitCode {
        if let Err(error) = self.load() {
            say::alert(&format!("Cannot start a worker: {}", reason(&error)));
            return ExitCode::FAILURE;
        }
        let mut first = Some((pidfile, up));
        loop {
            self.wait();
            while let Ok(Some(info)) = self.signals.read_signal() {
                if let Ok(signal) = Signal::try_from(info.ssi_signo as i32) {
                    self.on_signal(signal);
                }
            }
            while let Some(question) = self.desk.question() {
                self.answer(question);
            }
            if let Some(loaded) = self.loaded() {
                self.tell_waiting(loaded);
                match (loaded, first.take()) {
                    (true, Some((pidfile, up))) => {
                        if let Some(Err(error)) = pidfile.map(PidFile::write) {
                            say::alert(&format!("Cannot write the pidfile: {}", reason(&error)));
                        }
                        up();
                    }
                    (false, Some(_)) => return ExitCode::FAILURE,
                    (_, None) => {}
                }
                if std::mem::take(&mut self.again) {
                    let hard = std::mem::take(&mut self.hard_again);
                    self.waiting = std::mem::take(&mut self.waiting_again);
                    self.reload(hard);
                }
            }
            if let Some(code) = self.reap() {
                return ExitCode::from(code);
            }
        }
    }

    fn wait(&mut self) {
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.desk.wake.as_fd(), PollFlags::POLLIN),
        ];
        if let Some((_, ready)) = &self.loading {
            fds.push(PollFd::new(ready.as_fd(), PollFlags::POLLIN));
        }
        let limit = self
            .watchdog()
            .and_then(|time| PollTimeout::try_from(time).ok());
        // EINTR and the like: looked at again in the next round.
        let _ = poll(&mut fds, limit.unwrap_or(PollTimeout::NONE));
        if fds[1].any().unwrap_or(false) {
            self.desk.heard();
        }
        if limit.is_some() {
            self.tell("WATCHDOG=1\n");
        }
    }

    fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::SIGUSR2 | Signal::SIGHUP => self.reload(false),
            Signal::SIGTERM | Signal::SIGINT | Signal::SIGUSR1 => {
                if self.leaving.is_none() {
                    say::warning("Exiting Master process...");
                }
                self.leaving.get_or_insert(0);
                self.tell("STOPPING=1\n");
                self.each(|worker| worker.signal(signal));
            }
            Signal::SIGTTOU | Signal::SIGTTIN => self.each(|worker| worker.signal(signal)),
            // Somebody ended: looked at in every round.
            _ => {}
        }
    }

    fn each(&self, act: impl Fn(&Worker)) {
        let loading = self.loading.iter().map(|(worker, _)| worker);
        self.current
            .iter()
            .chain(&self.former)
            .chain(loading)
            .for_each(act);
    }

    // ------------------------------------------------------------ workers

    fn reload(&mut self, hard: bool) {
        if self.leaving.is_some() {
            self.tell_waiting(false);
            return;
        }
        if self.loading.is_some() {
            (self.again, self.hard_again) = (true, self.hard_again || hard);
            return;
        }
        say::notice("Reloading HAProxy");
        self.hard = hard;
        self.reloads += 1;
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
        let now = now.map_or(0, |now| now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000);
        self.tell(&format!(
            "RELOADING=1\nSTATUS=Reloading Configuration.\nMONOTONIC_USEC={now}\n"
        ));
        if let Err(error) = self.load() {
            self.say(
                say::alert,
                "ALERT",
                &format!("Cannot start a worker: {}", reason(&error)),
            );
            self.failed();
            self.tell_waiting(false);
        }
    }

    /// The worker that was to follow does not serve.
    fn failed(&mut self) {
        self.failures += 1;
        self.desk.failed.store(true, SeqCst);
        self.tell("READY=1\nSTATUS=Reload failed!\n");
    }

    fn tell_waiting(&mut self, loaded: bool) {
        for over in std::mem::take(&mut self.waiting) {
            // One that is gone is not told.
            let _ = over.send((loaded, self.said.clone()));
        }
    }

    /// Says it, and keeps it for who asks how the start of a worker went.
    fn say(&mut self, say: fn(&str), severity: &str, text: &str) {
        say(text);
        let _ = writeln!(self.said, "{}{text}", say::head(severity));
    }

    // ------------------------------------------------------------ admin socket

    fn answer(&mut self, question: Question) {
        // Whoever asked may be gone.
        match question {
            Question::Find(target, to) => {
                let _ = to.send(self.find(target));
            }
            Question::Connect(pid, rights, to) => {
                let _ = to.send(self.connect(pid, rights).ok());
            }
            Question::Processes(to) => {
                let _ = to.send(self.processes());
            }
            Question::Log(to) => {
                let _ = to.send(self.said.clone());
            }
            Question::Reload { hard, over } => {
                if self.loading.is_some() {
                    self.waiting_again.push(over);
                } else {
                    self.waiting.push(over);
                }
                self.reload(hard);
            }
        }
    }

    fn find(&self, target: Target) -> Option<i32> {
        match target {
            Target::Relative(1) => Some(self.current.as_ref()?.pid().as_raw()),
            Target::Pid(pid) => Some(self.worker(pid)?.pid().as_raw()),
            _ => None,
        }
    }

    fn worker(&self, pid: i32) -> Option<&Worker> {
        let mut all = self.current.iter().chain(&self.former);
        all.find(|worker| worker.pid().as_raw() == pid)
    }

    /// A connection to the commands of a worker.
    fn connect(&self, pid: i32, rights: Rights) -> io::Result<UnixStream> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let worker = self.worker(pid).ok_or_else(gone)?;
        let (own, theirs) = UnixStream::pair()?;
        let fds = [theirs.as_raw_fd()];
        rights::send(worker.door.as_raw_fd(), &[rights.pack()], &fds)?;
        Ok(own)
    }

    /// `show proc`, in haproxy's columns.
    fn processes(&self) -> String {
        let row = |pid: &str, kind: &str, reloads: &str, uptime: &str, version: &str| {
            format!("{pid:<15} {kind:<15} {reloads:<15} {uptime:<15} {version:<15}\n")
        };
        let worker = |worker: &Worker| {
            row(
                &worker.pid().to_string(),
                "worker",
                &worker.reloads.to_string(),
                &uptime(worker.begun),
                &version::full(),
            )
        };
        let mut out = row("#<PID>", "<type>", "<reloads>", "<uptime>", "<version>");
        out += &row(
            &std::process::id().to_string(),
            "master",
            &format!("{} [failed: {}]", self.reloads, self.failures),
            &uptime(self.begun),
            &version::full(),
        );
        out += "# workers\n";
        self.current.iter().for_each(|one| out += &worker(one));
        if !self.former.is_empty() {
            out += "# old workers\n";
            self.former.iter().for_each(|one| out += &worker(one));
        }
        out
    }

    // ------------------------------------------------------------ starts

    /// Starts a worker.
    fn load(&mut self) -> io::Result<()> {
        let (ready, teller) = io::pipe()?;
        let (channel, end) = UnixStream::pair()?;
        let (door, passage) = UnixStream::pair()?;
        self.said.clear();
        let before = self
            .current
            .as_ref()
            .map(|worker| worker.channel.try_clone())
            .transpose()?;
        let before_fd = before.as_ref().map_or(-1, |fd| fd.as_raw_fd());
        let old = self
            .current
            .iter()
            .chain(&self.former)
            .map(|worker| worker.pid().to_string());
        let mut told = vec![
            teller.as_raw_fd().to_string(),
            end.as_raw_fd().to_string(),
            passage.as_raw_fd().to_string(),
            before_fd.to_string(),
        ];
        told.extend(old);
        let handed = [teller.as_fd(), end.as_fd(), passage.as_fd()];
        for fd in handed.into_iter().chain(before.as_ref().map(AsFd::as_fd)) {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        let child = Command::new(&self.manner.program)
            .arg0(&self.manner.name)
            .args(&self.manner.words)
            .current_dir(&self.manner.dir)
            .env(WORKER_ENV, told.join(","))
            .spawn()?;
        let text = format!("Initializing new worker ({})", child.id());
        self.say(say::notice, "NOTICE", &text);
        let worker = Worker {
            child,
            channel,
            door,
            reloads: 0,
            begun: Instant::now(),
        };
        self.loading = Some((worker, ready));
        Ok(())
    }

    /// Whether the worker on its way up serves; `None`: it is still on its way, or there is none.
    fn loaded(&mut self) -> Option<bool> {
        let (_, ready) = self.loading.as_mut()?;
        let mut fds = [PollFd::new(ready.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO).ok()? == 0 {
            return None;
        }
        let mut space = [0; 4096];
        let count = ready.read(&mut space).unwrap_or(0);
        let serves = space[..count].iter().position(|&byte| byte == SERVES);
        let text = &space[..serves.unwrap_or(count)];
        self.said.push_str(&String::from_utf8_lossy(text));
        if count > 0 && serves.is_none() {
            return None;
        }
        let (mut worker, _) = self.loading.take()?;
        if serves.is_some() {
            self.say(say::notice, "NOTICE", "Loading success.");
            self.desk.failed.store(false, SeqCst);
            say::start_is_over();
            self.take_turns(worker);
            self.tell(&format!(
                "READY=1\nMAINPID={}\nSTATUS=Ready.\n",
                std::process::id()
            ));
            return Some(true);
        }
        let status = worker.child.wait();
        let ended = status.map_or_else(|error| reason(&error), ended);
        let text = format!(
            "Failed to load worker ({}) exited with {ended}",
            worker.pid()
        );
        self.say(say::alert, "ALERT", &text);
        self.forget_what_it_asked();
        self.failed();
        Some(false)
    }

    /// `worker` serves; the one before it was sent home by it.
    fn take_turns(&mut self, worker: Worker) {
        self.former.extend(self.current.replace(worker));
        for old in &mut self.former {
            old.reloads += 1;
            if self.hard || old.reloads > self.manner.max_reloads {
                old.signal(Signal::SIGTERM);
            }
        }
        if self.leaving.is_some() {
            self.each(|worker| worker.signal(Signal::SIGTERM));
        }
    }

    /// A worker that failed may have left answers of the one before it unread.
    fn forget_what_it_asked(&self) {
        let Some(worker) = &self.current else { return };
        let channel = &worker.channel;
        if channel.set_nonblocking(true).is_err() {
            return;
        }
        let mut space = [0; 4096];
        while matches!(rights::receive(channel.as_raw_fd(), &mut space), Ok((bytes, _)) if bytes > 0)
        {
        }
        let _ = channel.set_nonblocking(false);
        // Its sockets are its own again.
        let _ = rights::send(channel.as_raw_fd(), b"_released\n", &[]);
    }

    /// Looks who ended. What to end with, once nobody is left.
    fn reap(&mut self) -> Option<u8> {
        let over = self
            .former
            .extract_if(.., |worker| !matches!(worker.child.try_wait(), Ok(None)));
        for mut worker in over.collect::<Vec<_>>() {
            let pid = worker.pid();
            if let Ok(Some(status)) = worker.child.try_wait() {
                say::warning(&format!(
                    "Former worker ({pid}) exited with {}",
                    ended(status)
                ));
            }
        }
        if let Some(worker) = &mut self.current
            && let Ok(Some(status)) = worker.child.try_wait()
        {
            let text = format!(
                "Current worker ({}) exited with {}",
                worker.pid(),
                ended(status)
            );
            self.current = None;
            let code = code_of(status);
            self.last = Some(code);
            if code == 0 {
                say::warning(&text);
                self.leaving.get_or_insert(0);
            } else {
                say::alert(&text);
                if self.leaving.is_none() && self.manner.exit_on_failure {
                    say::alert("exit-on-failure: killing every processes with SIGTERM");
                    self.leaving = Some(code);
                    self.each(|worker| worker.signal(Signal::SIGTERM));
                }
            }
        }
        let nobody = self.current.is_none() && self.former.is_empty() && self.loading.is_none();
        if nobody {
            // As haproxy: with nobody left there is nothing to go on for, also under 'no-exit-on-failure'.
            self.leaving = self.leaving.or(self.last);
        }
        let code = self.leaving.filter(|_| nobody)?;
        say::warning(&format!("All workers exited. Exiting... ({code})"));
        Some(code)
    }

    // ------------------------------------------------------------ systemd

    /// Tells the service manager, if there is one (sd_notify(3)).
    fn tell(&self, text: &str) {
        if !self.manner.notify {
            return;
        }
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
            return;
        };
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&path),
        };
        // Nobody there to be told is no reason to stop serving.
        if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
            let _ = socket.send_to_addr(text.as_bytes(), &address);
        }
    }

    /// How often systemd wants to hear from us, halved.
    fn watchdog(&self) -> Option<Duration> {
        if !self.manner.notify {
            return None;
        }
        let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
        Some(Duration::from_micros(micros / 2)).filter(|time| !time.is_zero())
    }
}

/// As haproxy shows it: `0d00h02m07s`.
fn uptime(begun: Instant) -> String {
    let s = begun.elapsed().as_secs();
    let (days, hours, minutes) = (s / 86_400, s / 3600 % 24, s / 60 % 60);
    format!("{days}d{hours:02}h{minutes:02}m{:02}s", s % 60)
}

/// As haproxy says it: `code 143 (Terminated)`.
fn ended(status: ExitStatus) -> String {
    let why = match status.signal().map(Signal::try_from) {
        None => "Exit",
        Some(Ok(Signal::SIGKILL)) => "Killed",
        Some(Ok(Signal::SIGTERM)) => "Terminated",
        Some(Ok(Signal::SIGINT)) => "Interrupt",
        Some(Ok(Signal::SIGSEGV)) => "Segmentation fault",
        Some(Ok(Signal::SIGABRT)) => "Aborted",
        Some(Ok(Signal::SIGBUS)) => "Bus error",
        Some(_) => "Signal",
    };
    format!("code {} ({why})", code_of(status))
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The byte that a worker sends once it serves.
pub fn tell_ready(ready: &mut io::PipeWriter) {
    // The master may have been killed; serving goes on.
    let _ = ready.write_all(&[SERVES]);
}
