//! Commands that check servers (`option external-check`) run apart from the shards: one thread starts them, waits for
//! them, kills those whose time is over, and reaps each by its own number. Results come back as messages.
//!
//! The thread is started before the shards are, so that neither it nor the commands are bound to a shard's CPU. They run
//! as the process does by then: in its `chroot`, as its user. Arguments and environment are haproxy's (configuration.txt
//! 4.2, `external-check command`), compared with 2.6.12.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, read, write};

use super::local::Local;
use crate::config::checks::External;
use crate::config::{BindAddress, CheckKind, Config, Mode, ServerAddress, ServerId, ServerPort};
use crate::io::sys::process;
use crate::shared::{CommandEnd, Message, Phase, Shared};

/// Commands that run at a time. More wait, and their time passes.
const RUNNING_MAX: usize = 64;
/// Commands that wait at most.
const WAITING_MAX: usize = 4096;
/// How often ended commands are looked for where the kernel has no handles of processes (before 5.3).
const LOOK_MS: u64 = 20;
/// What stands where there is no address or port.
const NOT_USED: &str = "NOT_USED";

/// One command to run, and who asks.
#[derive(Debug)]
pub struct Job {
    command: Arc<External>,
    args: [String; 4],
    variables: Vec<(&'static str, String)>,
    until: Instant,
    server: ServerId,
    attempt: u32,
    shard: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Queue {
    jobs: SyncSender<Job>,
    bell: OwnedFd,
    thread: Mutex<Option<JoinHandle<()>>>,
}

static QUEUE: OnceLock<Queue> = OnceLock::new();
/// The process ends, and with it what it started.
static OVER: AtomicBool = AtomicBool::new(false);

/// Starts the thread, if any backend checks by a command.
///
/// # Errors
/// The system's: no thread, no descriptor.
pub fn start(config: &Config) -> io::Result<()> {
    let wanted = |kind: &CheckKind| matches!(kind, CheckKind::External(_));
    if QUEUE.get().is_some() || !config.backends.iter().any(|b| wanted(&b.check)) {
        return Ok(());
    }
    let bell = process::eventfd()?;
    let heard = bell.try_clone()?;
    let (jobs, receiver) = sync_channel(WAITING_MAX);
    let thread = std::thread::Builder::new()
        .name("commands".into())
        .spawn(move || serve(&receiver, &heard))?;
    // Only one thread starts a process.
    let _ = QUEUE.set(Queue {
        jobs,
        bell,
        thread: Mutex::new(Some(thread)),
    });
    Ok(())
}

/// The process ends: commands that still run are killed.
pub fn stop() {
    let Some(queue) = QUEUE.get() else { return };
    OVER.store(true, Release);
    let _ = write(&queue.bell, &1u64.to_ne_bytes());
    let thread = queue.thread.lock().ok().and_then(|mut t| t.take());
    if let Some(thread) = thread {
        // It ends at once: what it killed is left to the next parent.
        let _ = thread.join();
    }
}

/// Has the check of `server` run. `false`: it cannot be.
pub fn run(
    local: &Local,
    server: ServerId,
    command: &Arc<External>,
    attempt: u32,
    limit_ms: u32,
) -> bool {
    let Some(queue) = QUEUE.get() else {
        return false;
    };
    let (args, variables) = words(local, server, command);
    let job = Job {
        command: Arc::clone(command),
        args,
        variables,
        until: Instant::now() + Duration::from_millis(limit_ms.into()),
        server,
        attempt,
        shard: local.shard,
        shared: Arc::clone(&local.shared),
    };
    let taken = queue.jobs.try_send(job).is_ok();
    // A full counter of the bell rings as well.
    let _ = write(&queue.bell, &1u64.to_ne_bytes());
    taken
}

/// Arguments and variables: the listener, the server, and how it is.
fn words(
    local: &Local,
    id: ServerId,
    command: &External,
) -> ([String; 4], Vec<(&'static str, String)>) {
    let config = &local.config;
    let server = config.server(id);
    let backend = config.backend(server.backend);
    let proxy = config.proxy(backend.proxy);
    let listener = proxy
        .frontend
        .and_then(|front| config.binds.iter().find(|bind| bind.frontend == front));
    let (proxy_addr, proxy_port) = match listener.map(|bind| &bind.address) {
        Some(BindAddress::Ip(at)) => (Some(at.ip().to_string()), Some(at.port().to_string())),
        Some(BindAddress::Unix(path)) => (Some(path.display().to_string()), None),
        _ => (None, None),
    };
    let place = local.shared.server(id).place.or(&server.address);
    let (addr, port) = match &*place {
        ServerAddress::Ip { ip, port } => {
            let port = match port {
                ServerPort::Fixed(port) => *port,
                ServerPort::Mapped(_) => server.check.as_ref().map_or(0, |check| check.port),
            };
            (ip.to_string(), Some(port.to_string()))
        }
        ServerAddress::Unresolved { .. } => (String::new(), Some("0".to_owned())),
        ServerAddress::Unix(path) => (path.display().to_string(), None),
        ServerAddress::Abns(name) => (String::from_utf8_lossy(name).into_owned(), None),
    };
    let or_unused = |text: &Option<String>| text.clone().unwrap_or_else(|| NOT_USED.to_owned());
    let args = [
        or_unused(&proxy_addr),
        or_unused(&proxy_port),
        addr.clone(),
        or_unused(&port),
    ];
    let speaks = if backend.mode == Mode::Http {
        "h1"
    } else {
        "tcp"
    };
    let limit = local.shared.server(id).maxconn.load(Relaxed);
    let variables = vec![
        ("HAPROXY_PROXY_NAME", proxy.name.clone()),
        ("HAPROXY_PROXY_ID", proxy.iid.to_string()),
        ("HAPROXY_PROXY_ADDR", proxy_addr.unwrap_or_default()),
        ("HAPROXY_PROXY_PORT", proxy_port.unwrap_or_default()),
        ("HAPROXY_SERVER_NAME", server.name.clone()),
        ("HAPROXY_SERVER_ID", server.puid.to_string()),
        ("HAPROXY_SERVER_ADDR", addr),
        ("HAPROXY_SERVER_PORT", port.unwrap_or_default()),
        ("HAPROXY_SERVER_MAXCONN", limit.to_string()),
        (
            "HAPROXY_SERVER_CURCONN",
            local.shared.server_connections(id).to_string(),
        ),
        ("HAPROXY_SERVER_SSL", "0".to_owned()),
        ("HAPROXY_SERVER_PROTO", speaks.to_owned()),
        ("PATH", command.path.clone()),
    ];
    (args, variables)
}

/// One that runs.
#[derive(Debug)]
struct Running {
    job: Job,
    child: Child,
    /// Readable once it ended; `None` where the kernel has no such handles.
    handle: Option<OwnedFd>,
    /// Its time was over: it is killed, and waits to be reaped.
    killed: bool,
}

fn serve(jobs: &Receiver<Job>, bell: &OwnedFd) {
    let mut running: Vec<Running> = Vec::new();
    let mut waiting: VecDeque<Job> = VecDeque::new();
    loop {
        waiting.extend(jobs.try_iter());
        begin(&mut waiting, &mut running);
        wait(&waiting, &running, bell);
        if OVER.load(Acquire) {
            running.iter().for_each(Running::kill);
            return;
        }
        running.retain_mut(|one| !is_over(one));
    }
}

/// Starts what there is room for; whose time passed while it waited is told so.
fn begin(waiting: &mut VecDeque<Job>, running: &mut Vec<Running>) {
    let now = Instant::now();
    waiting.retain(|job| {
        let late = job.until <= now;
        if late {
            job.answer(CommandEnd::TimedOut);
        }
        !late
    });
    while running.len() < RUNNING_MAX
        && let Some(job) = waiting.pop_front()
    {
        match job.spawn() {
            Ok(child) => running.push(Running {
                handle: i32::try_from(child.id())
                    .ok()
                    .and_then(|pid| process::pidfd_open(pid).ok()),
                child,
                job,
                killed: false,
            }),
            Err(error) => job.answer(CommandEnd::NotStarted(error.raw_os_error().unwrap_or(0))),
        }
    }
}

/// Sleeps until something ended, someone's time is over, or there is more to run.
fn wait(waiting: &VecDeque<Job>, running: &[Running], bell: &OwnedFd) {
    let mut fds = vec![PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    let handles = running.iter().filter_map(|one| one.handle.as_ref());
    fds.extend(handles.map(|handle| PollFd::new(handle.as_fd(), PollFlags::POLLIN)));
    let timed = running.iter().filter(|one| !one.killed).map(|one| &one.job);
    let next = timed.chain(waiting).map(|job| job.until).min();
    let mut ms = next.map(|at| at.saturating_duration_since(Instant::now()).as_millis() + 1);
    if running.iter().any(|one| one.handle.is_none()) {
        ms = Some(ms.unwrap_or(u128::MAX).min(LOOK_MS.into()));
    }
    let timeout = match ms {
        Some(ms) => PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    };
    if poll(&mut fds, timeout).is_ok_and(|n| n > 0)
        && fds[0]
            .revents()
            .is_some_and(|r| r.contains(PollFlags::POLLIN))
    {
        let _ = read(bell, &mut [0; 8]);
    }
}

/// Whether it ended and is reaped. One whose time is over is killed with all that it started.
fn is_over(one: &mut Running) -> bool {
    match one.child.try_wait() {
        Ok(None) => {}
        Ok(Some(status)) => {
            if !one.killed {
                // A signal ended it where there is no code: haproxy's -1.
                one.job
                    .answer(CommandEnd::Exited(status.code().unwrap_or(-1)));
                debug_assert!(status.code().is_some() || status.signal().is_some());
            }
            return true;
        }
        Err(_) => {
            if !one.killed {
                one.job.answer(CommandEnd::Exited(-1));
            }
            return true;
        }
    }
    if !one.killed && one.job.until <= Instant::now() {
        one.killed = true;
        one.kill();
        one.job.answer(CommandEnd::TimedOut);
    }
    false
}

impl Running {
    /// With all that it started. It is not reaped yet, so its number is still its own.
    fn kill(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Job {
    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.command.command);
        if !self.command.preserve_env {
            command.env_clear();
        }
        command
            .args(&self.args)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // A group of its own, so that what it starts ends with it.
            .process_group(0)
            .spawn()
    }

    fn answer(&self, end: CommandEnd) {
        let cells = &self.shared.shards[self.shard];
        let mut message = Message::Checked {
            server: self.server,
            attempt: self.attempt,
            end,
        };
        // The probe waits for it: a full mailbox is waited for, unless the shard is gone.
        while let Err(back) = cells.mailbox.send(message) {
            if OVER.load(Acquire) || self.shared.phase() == Phase::Stop {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        cells.bell.ring();
    }
}
