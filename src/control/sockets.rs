//! The admin sockets: who may connect, how long a conversation may take.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_lite::future::{or, yield_now};

use super::ControlSetup;
use super::executor::Executor;
use super::handover;
use super::rates;
use crate::backend::change::Change;
use crate::config::{CliLevel, Level, Proxy};
use crate::io::sys::{localtime, net};
use crate::observe::cli::admin::Tell;
use crate::observe::cli::{Cli, Next, Rights, World};

use crate::observe::stats::{Extra, PIECE_BYTES, View};
use crate::proxy::logs::ShardLogs;
use crate::shared::{Phase, Shared};

/// Pause after an accept that failed (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a closed connection is read on, and how much, so that its last answer is not cut off
/// by a reset for what the client sent in vain.
const LINGER: Duration = Duration::from_millis(200);
const LINGER_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 4096;
/// How long a process that took the sockets may take to say that it holds them.
const HOLD_WITHIN: Duration = Duration::from_secs(5);

/// Serves until `stopped` is closed by the other side.
pub(super) async fn serve<E: Executor>(
    executor: E,
    mut setup: ControlSetup,
    statm: Option<File>,
    stopped: OwnedFd,
) {
    let (sockets, channel) = (std::mem::take(&mut setup.sockets), setup.channel.take());
    let door = setup.door.take();
    let all = Places::new(setup.shared.config.global.stats_maxconn);
    let teller = Teller {
        logs: RefCell::new(setup.logs.process(Some(&setup.shared))),
        shared: Arc::clone(&setup.shared),
    };
    let desk = Rc::new(Desk {
        setup,
        statm,
        all,
        teller,
        tasks: Rc::default(),
        holders: Cell::new(0),
    });
    for (fd, index) in sockets {
        let configured = desk.setup.shared.config.global.stats_sockets.get(index);
        let door = Door {
            rights: Rights {
                level: configured.map_or(CliLevel::User, |socket| socket.level),
                expert: false,
                experimental: false,
            },
            offers: configured.is_some_and(|socket| socket.expose_fd),
        };
        let own = Places::new(
            configured
                .and_then(|socket| socket.maxconn)
                .unwrap_or(u32::MAX),
        );
        if let Ok(listener) = executor.listener(fd) {
            let task = listen(executor.clone(), Rc::clone(&desk), listener, door, own);
            desk.tasks.spawn(&executor, task);
        }
    }
    if let Some(stream) = channel.and_then(|fd| executor.stream(fd).ok()) {
        let task = serve_master(executor.clone(), Rc::clone(&desk), stream);
        desk.tasks.spawn(&executor, task);
    }
    if let Some(stream) = door.and_then(|fd| executor.stream(fd).ok()) {
        let task = let_in(executor.clone(), Rc::clone(&desk), stream);
        desk.tasks.spawn(&executor, task);
    }
    let rates = rates::watch(executor.clone(), Arc::clone(&desk.setup.shared));
    desk.tasks.spawn(&executor, rates);
    if let Ok(mut stopped) = executor.stream(stopped) {
        let _ = executor.read(&mut stopped, &mut [0]).await;
    }
    desk.tasks.end().await;
}

/// What connections of an admin socket may do.
#[derive(Debug, Clone, Copy)]
struct Door {
    rights: Rights,
    /// `expose-fd listeners`.
    offers: bool,
}

/// What all connections look at.
struct Desk {
    setup: ControlSetup,
    statm: Option<File>,
    all: Rc<Places>,
    teller: Teller,
    tasks: Rc<Tasks>,
    /// Processes that may have the listening sockets as well.
    holders: Cell<u32>,
}

/// Says changes in the logs of their backends and on the console.
#[derive(Debug)]
struct Teller {
    logs: RefCell<ShardLogs>,
    shared: Arc<Shared>,
}

impl Tell for Teller {
    fn tell(&self, change: &Change) {
        let mut logs = self.logs.borrow_mut();
        let shared = self.shared.latest();
        for line in &change.lines {
            let backend = shared.config.backend(line.backend);
            let tag = backend.log_tag.as_deref();
            logs.push(
                &backend.log,
                line.level,
                tag,
                localtime::wall_us(),
                line.text.as_bytes(),
            );
            let (label, text) = line.on_stderr(&shared.config);
            logs.console(label, &text);
        }
    }

    fn warn(&self, proxy: &Proxy, text: &str) {
        let shared = self.shared.latest();
        let config = &shared.config;
        let (targets, tag) = match (proxy.frontend, proxy.backend) {
            (Some(f), _) => (&config.frontend(f).log, &config.frontend(f).log_tag),
            (None, Some(b)) => (&config.backend(b).log, &config.backend(b).log_tag),
            (None, None) => return,
        };
        let (tag, now) = (tag.as_deref(), localtime::wall_us());
        let mut logs = self.logs.borrow_mut();
        logs.push(targets, Level::Warning, tag, now, text.as_bytes());
        logs.console("WARNING", text);
    }
}

impl Desk {
    /// Does steps of a conversation until there is something to write, or to wait for.
    fn advance(&self, cli: &mut Cli, out: &mut Vec<u8>) -> Next {
        let extra = Extra {
            logs_dropped: self.setup.logs.dropped(),
            resident: self.resident(),
        };
        loop {
            // A command may have put a later version of the configuration in force.
            let shared = self.setup.shared.latest();
            let view = View {
                shared: &shared,
                now: net::tick(),
                wall_us: localtime::wall_us(),
                facts: &self.setup.facts,
                offset_at: localtime::offset_s,
            };
            let world = World {
                view,
                extra,
                tell: &self.teller,
                payload: "",
            };
            let next = cli.advance(&world, out);
            if next != Next::More || out.len() >= PIECE_BYTES {
                return next;
            }
        }
    }

    /// Gives the listening sockets to the process that follows, and keeps in mind that it may fail.
    async fn hand_over<E: Executor>(
        &self,
        executor: &E,
        stream: &mut E::Stream,
        asked: &[u8],
    ) -> io::Result<()> {
        let all = asked.starts_with(handover::ASK_ALL);
        if self.lend(executor, stream, all).await? && all {
            self.wait_for_holder(executor, stream).await;
        }
        Ok(())
    }

    /// Gives the listening sockets, unless this process is leaving them already. `all`: to this program; haproxy takes
    /// one for each bind line and closes the others with what waits in them, so it gets no more. Those are left as if
    /// nobody followed: nothing new comes to them, and then they are emptied.
    async fn lend<E: Executor>(
        &self,
        executor: &E,
        stream: &mut E::Stream,
        all: bool,
    ) -> io::Result<bool> {
        let shared = &self.setup.shared;
        if !matches!(shared.phase(), Phase::Running | Phase::Paused) {
            return Ok(false);
        }
        let mut offered = self.setup.offered.clone();
        if !all {
            offered.dedup_by_key(|one| one.bind);
        }
        // Before they are out of our hands: from then on a filter or a pause would be the other's as well.
        if let Ok(mut handed) = shared.process.handed_over.lock() {
            handed.extend(offered.iter().map(|one| one.fd));
        }
        self.holders.set(self.holders.get() + 1);
        let given = handover::give(executor, stream, &offered).await;
        if given.is_err() {
            // It is gone, or takes no more.
            self.released();
        }
        given.map(|()| true)
    }

    /// A process of this program that took the sockets holds the connection as long as it lives. When the last one is
    /// gone, and this one did not begin to leave, they are its own again. Of haproxy, which closes at once, that is
    /// never known.
    async fn wait_for_holder<E: Executor>(&self, executor: &E, stream: &mut E::Stream) {
        let mut space = [0; 64];
        let first = executor
            .within(Some(HOLD_WITHIN), executor.read(stream, &mut space))
            .await;
        let held = matches!(first, Some(Ok(count)) if space[..count].starts_with(handover::HELD));
        if !held {
            return;
        }
        while matches!(executor.read(stream, &mut space).await, Ok(count) if count > 0) {}
        self.released();
    }

    fn released(&self) {
        self.holders.set(self.holders.get().saturating_sub(1));
        let process = &self.setup.shared.process;
        if self.holders.get() == 0
            && let Ok(mut handed) = process.handed_over.lock()
        {
            handed.clear();
        }
    }

    /// Bytes of resident memory, from `/proc/self/statm`; 0 where that cannot be read.
    fn resident(&self) -> u64 {
        let mut text = [0; 128];
        let Some(Ok(length)) = self.statm.as_ref().map(|file| file.read_at(&mut text, 0)) else {
            return 0;
        };
        let text = std::str::from_utf8(&text[..length]).unwrap_or("");
        let pages = text
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        pages.unwrap_or(0) * PAGE_BYTES
    }
}

/// Pages of the machines this runs on.
const PAGE_BYTES: u64 = 4096;

/// Accepts on one socket for ever. A connection beyond a limit waits, and with it the backlog.
async fn listen<E: Executor>(
    executor: E,
    desk: Rc<Desk>,
    listener: E::Listener,
    door: Door,
    own: Rc<Places>,
) {
    loop {
        let Ok(mut stream) = executor.accept(&listener).await else {
            executor.sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let places = (Places::take(&own).await, Places::take(&desk.all).await);
        let (executor, desk) = (executor.clone(), Rc::clone(&desk));
        let tasks = Rc::clone(&desk.tasks);
        tasks.spawn(&executor.clone(), async move {
            let _ = converse(&executor, &desk, &mut stream, door).await;
            finish(&executor, &mut stream).await;
            drop(places);
        });
    }
}

/// Gives the listening sockets to whom the master lets ask, as often as that is. A master that is gone asks no more.
async fn serve_master<E: Executor>(executor: E, desk: Rc<Desk>, mut stream: E::Stream) {
    let mut space = [0; READ_BYTES];
    // To a worker of which the master will say if it failed.
    let mut lent = false;
    while let Ok(count) = executor.read(&mut stream, &mut space).await
        && count > 0
    {
        let asked = &space[..count];
        if asked.starts_with(handover::RELEASED) && lent {
            lent = false;
            desk.released();
        } else if asked.starts_with(handover::ASK) {
            match desk.lend(&executor, &mut stream, true).await {
                Ok(given) => lent |= given,
                Err(_) => return,
            }
        }
    }
}

/// Serves the connections that the master passes on, each with a byte for its rights. They count for no limit: an
/// operator who comes through the master is let in.
async fn let_in<E: Executor>(executor: E, desk: Rc<Desk>, mut stream: E::Stream) {
    let mut space = [0];
    loop {
        let fds = match executor.receive_with(&mut stream, &mut space).await {
            Ok((1, fds)) => fds,
            // No descriptor is left for this one: its client is lost, the way to the master is not.
            Err(why) if why.raw_os_error() == Some(libc::EMFILE) => {
                executor.sleep(ACCEPT_PAUSE).await;
                continue;
            }
            _ => return,
        };
        let door = Door {
            rights: Rights::unpack(space[0]),
            offers: false,
        };
        for mut stream in fds.into_iter().filter_map(|fd| executor.stream(fd).ok()) {
            let (own, desk) = (executor.clone(), Rc::clone(&desk));
            let tasks = Rc::clone(&desk.tasks);
            tasks.spawn(&executor, async move {
                let _ = converse(&own, &desk, &mut stream, door).await;
                finish(&own, &mut stream).await;
            });
        }
    }
}

/// One connection, until it is done, fails, or makes us wait for longer than it may.
async fn converse<E: Executor>(
    executor: &E,
    desk: &Desk,
    stream: &mut E::Stream,
    door: Door,
) -> io::Result<()> {
    let mut cli = Cli::with(
        door.rights,
        desk.setup.shared.config.global.stats_timeout_ms,
    );
    let mut out = Vec::new();
    let mut space = [0; READ_BYTES];
    loop {
        let next = guarded(desk, &mut cli, &mut out);
        let limit = cli.timeout_ms().map(|ms| Duration::from_millis(ms.into()));
        write_all(executor, stream, &out, limit).await?;
        out.clear();
        match next {
            // Others have their turn between two pieces.
            Next::More => yield_now().await,
            Next::Pause(ms) => executor.sleep(Duration::from_millis(ms.into())).await,
            Next::Close => return Ok(()),
            Next::Read => match executor
                .within(limit, executor.read(stream, &mut space))
                .await
            {
                Some(Ok(count)) if door.offers && space[..count].starts_with(handover::ASK) => {
                    return desk.hand_over(executor, stream, &space[..count]).await;
                }
                Some(Ok(count)) if count > 0 => cli.feed(&space[..count]),
                _ => return Ok(()),
            },
        }
    }
}

/// [`Desk::advance`]; a mistake of ours in a command ends its connection and not the thread.
fn guarded(desk: &Desk, cli: &mut Cli, out: &mut Vec<u8>) -> Next {
    let step = AssertUnwindSafe(|| desk.advance(cli, out));
    catch_unwind(step).unwrap_or(Next::Close)
}

/// Writes everything; each part within `limit`.
async fn write_all<E: Executor>(
    executor: &E,
    stream: &mut E::Stream,
    mut bytes: &[u8],
    limit: Option<Duration>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match executor.within(limit, executor.write(stream, bytes)).await {
            Some(Ok(count)) if count > 0 => bytes = &bytes[count..],
            Some(Err(error)) => return Err(error),
            _ => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    Ok(())
}

/// Closes towards the client, then takes in what it still sends.
async fn finish<E: Executor>(executor: &E, stream: &mut E::Stream) {
    executor.close_write(stream).await;
    let drain = async {
        let mut space = [0; READ_BYTES];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match executor.read(stream, &mut space).await {
                Ok(count) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    };
    let _ = executor.within(Some(LINGER), drain).await;
}

/// Tasks that end when told to: a runtime may forget its tasks, and with them leave sockets open.
#[derive(Default)]
struct Tasks {
    over: Cell<bool>,
    running: Cell<usize>,
    /// Of all tasks while they run, then of the one that waits for their end.
    wakers: RefCell<Vec<(u64, Waker)>>,
    /// Last number given to a waiting task.
    key: Cell<u64>,
}

impl Tasks {
    fn spawn<E: Executor>(self: &Rc<Self>, executor: &E, work: impl Future<Output = ()> + 'static) {
        self.running.set(self.running.get() + 1);
        let this = Rc::clone(self);
        executor.spawn(async move {
            or(work, this.until(|| this.over.get())).await;
            this.running.set(this.running.get() - 1);
            this.wake();
        });
    }

    /// Ends all tasks and waits for that.
    async fn end(&self) {
        self.over.set(true);
        self.wake();
        self.until(|| self.running.get() == 0).await;
    }

    async fn until(&self, reached: impl Fn() -> bool) {
        self.key.set(self.key.get() + 1);
        let key = self.key.get();
        poll_fn(|cx| {
            if reached() {
                return Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            match wakers.iter_mut().find(|(known, _)| *known == key) {
                Some((_, waker)) => waker.clone_from(cx.waker()),
                None => wakers.push((key, cx.waker().clone())),
            }
            Poll::Pending
        })
        .await;
    }

    fn wake(&self) {
        let wakers: Vec<_> = self.wakers.borrow_mut().drain(..).collect();
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// A number of connections that may be served at once.
struct Places {
    left: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
}

impl Places {
    fn new(count: u32) -> Rc<Self> {
        Rc::new(Self {
            left: Cell::new(count.max(1)),
            waiting: RefCell::default(),
        })
    }

    /// Waits for a place and holds it.
    async fn take(this: &Rc<Self>) -> Place {
        poll_fn(|cx| {
            if this.left.get() == 0 {
                this.waiting.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            this.left.set(this.left.get() - 1);
            Poll::Ready(())
        })
        .await;
        Place(Rc::clone(this))
    }
}

/// One place, given back when dropped.
struct Place(Rc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.left.set(self.0.left.get() + 1);
        self.0.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}
