//! What the load runs on: tasks, sockets' readiness and timers of one thread, over an epoll of its own.
//!
//! Made so that the load does not weigh on the balancer. With rings (io_uring as glommio sets it up) the packet that a
//! balancer sends queues work for the generator's thread and interrupts its core, at the cost of the balancer's CPU:
//! 44 % of what either balancer was charged for a small request. An epoll that is busy costs the sender a list entry.
//! Each executor has its own, instead of one for the process (async-io): an executor that yields its core would hold
//! back the other one whenever it had the turn to look for events. Sockets are registered once, edge-triggered: a wait
//! takes no call of its own. Timers are as exact as timerfd, not whole milliseconds (tokio): open loops live on them.

use async_executor::{LocalExecutor, Task};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::{Duration, Instant};

/// Polls of tasks between two looks at events and timers. Ready tasks may be many and never end (bulk streams).
const TASKS_A_TURN: usize = 32;
/// Events taken at once.
const EVENTS_MAX: usize = 256;
/// Key of the timer's descriptor; those of sockets count from 0.
const TIMER_KEY: u64 = u64::MAX;

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

#[derive(Debug, Clone)]
struct Here {
    tasks: Rc<LocalExecutor<'static>>,
    reactor: Rc<Reactor>,
}

fn here() -> Here {
    HERE.with_borrow(Clone::clone)
        .expect("only called by what `run` polls")
}

/// Starts a task on this thread's executor. Dropped, it is cancelled at some later turn; `cancel` says when it is gone.
pub(super) fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    here().tasks.spawn(future)
}

/// Runs `main` and what it spawns on this thread until `main` is done; tasks that are left are dropped with all they
/// hold.
pub(super) fn run<T>(main: impl Future<Output = T>) -> io::Result<T> {
    let reactor = Rc::new(Reactor::new()?);
    let tasks = Rc::new(LocalExecutor::new());
    let before = HERE.replace(Some(Here {
        tasks: Rc::clone(&tasks),
        reactor: Rc::clone(&reactor),
    }));
    debug_assert!(before.is_none(), "one executor a thread");
    let done = turns(&tasks, &reactor, main);
    HERE.set(None);
    drop(tasks);
    done
}

fn turns<T>(
    tasks: &LocalExecutor<'_>,
    reactor: &Reactor,
    main: impl Future<Output = T>,
) -> io::Result<T> {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut main = pin!(main);
    loop {
        let mut busy = (0..TASKS_A_TURN).all(|_| tasks.try_tick());
        if woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Ok(output);
            }
            busy = true; // It may have spawned or woken something.
        }
        reactor.look(!busy)?;
    }
}

/// Whether the main future wants to be polled.
#[derive(Debug)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Events of one thread's sockets and timers.
#[derive(Debug)]
struct Reactor {
    epoll: Epoll,
    sources: RefCell<Sources>,
    timers: RefCell<Timers>,
    events: RefCell<Vec<EpollEvent>>,
}

#[derive(Debug, Default)]
struct Sources {
    /// By key.
    places: Vec<Option<Rc<Source>>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Timers {
    clock: TimerFd,
    /// What the clock was last set to, until it has gone off.
    set_to: Option<Instant>,
    /// With a number, since two may be due at the same moment.
    due: BTreeMap<(Instant, u64), Waker>,
    next_number: u64,
}

impl Reactor {
    fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let clock = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )?;
        // Edge-triggered, so it need not be read: setting it again clears it.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&clock, EpollEvent::new(flags, TIMER_KEY))?;
        Ok(Self {
            epoll,
            sources: RefCell::default(),
            timers: RefCell::new(Timers {
                clock,
                set_to: None,
                due: BTreeMap::new(),
                next_number: 0,
            }),
            events: RefCell::new(vec![EpollEvent::empty(); EVENTS_MAX]),
        })
    }

    /// Wakes whoever waits for what has happened; waits for something to happen if there is nothing else to do.
    fn look(&self, may_wait: bool) -> io::Result<()> {
        let timeout = if may_wait && self.timers.borrow_mut().set_clock()? {
            EpollTimeout::NONE
        } else {
            EpollTimeout::ZERO
        };
        let mut events = self.events.borrow_mut();
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            if event.data() == TIMER_KEY {
                self.timers.borrow_mut().set_to = None;
            } else {
                self.happened(event);
            }
        }
        self.timers.borrow_mut().wake_due();
        Ok(())
    }

    fn happened(&self, event: &EpollEvent) {
        let place = usize::try_from(event.data()).unwrap_or(usize::MAX);
        let source = match self.sources.borrow().places.get(place) {
            Some(Some(source)) => Rc::clone(source),
            // Closed meanwhile.
            _ => return,
        };
        source.happened(event.events());
    }
}

impl Timers {
    /// Has the clock go off for the earliest timer. False if that is due already.
    fn set_clock(&mut self) -> io::Result<bool> {
        let Some(&(earliest, _)) = self.due.keys().next() else {
            return Ok(true);
        };
        // Set to an earlier moment it goes off for nothing, once.
        if self.set_to.is_some_and(|set_to| set_to <= earliest) {
            return Ok(true);
        }
        let left = earliest.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        self.clock.set(once, TimerSetTimeFlags::empty())?;
        self.set_to = Some(earliest);
        Ok(true)
    }

    fn wake_due(&mut self) {
        if self.due.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(earliest) = self.due.first_entry()
            && earliest.key().0 <= now
        {
            earliest.remove().wake();
        }
    }
}

/// A socket as its epoll knows it. Gone from there when the descriptor is closed.
#[derive(Debug, Default)]
struct Source {
    readable: Way,
    writable: Way,
    /// No more will come, so that a short read is not the last one that gives something: there is the end to read.
    ended: Cell<bool>,
}

/// Of a socket, in or out.
#[derive(Debug, Default)]
struct Way {
    /// Until a call has shown that it is not. Events come only for changes.
    open: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Source {
    fn happened(&self, events: EpollFlags) {
        let broken = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
        if events.intersects(broken | EpollFlags::EPOLLRDHUP) {
            self.ended.set(true);
        }
        if events.intersects(broken | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLIN) {
            self.readable.happened();
        }
        if events.intersects(broken | EpollFlags::EPOLLOUT) {
            self.writable.happened();
        }
    }
}

impl Way {
    fn happened(&self) {
        self.open.set(true);
        let waiting = self.waiting.take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open.get() {
            return Poll::Ready(());
        }
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A non-blocking socket whose readiness this thread's reactor follows. Closed when dropped.
#[derive(Debug)]
pub(super) struct Watched<S: AsFd> {
    socket: S,
    source: Rc<Source>,
    place: usize,
    reactor: Rc<Reactor>,
}

impl<S: AsFd> Watched<S> {
    /// Nothing is taken to be possible before an event says so, which is at once where it is.
    pub(super) fn new(socket: S) -> io::Result<Self> {
        let reactor = here().reactor;
        let source = Rc::new(Source::default());
        let place = {
            let mut sources = reactor.sources.borrow_mut();
            let place = sources.free.pop().unwrap_or(sources.places.len());
            if place == sources.places.len() {
                sources.places.push(None);
            }
            sources.places[place] = Some(Rc::clone(&source));
            place
        };
        let watched = Self {
            socket,
            source,
            place,
            reactor,
        };
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        let event = EpollEvent::new(flags, place as u64);
        watched.reactor.epoll.add(&watched.socket, event)?;
        Ok(watched)
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    /// Returns once something could be written, or the socket has failed.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.source.writable.poll_open(cx)
    }

    /// The result of `read` once that would not block. `wanted` is how many bytes there is room for: with fewer, the
    /// socket is known to be empty (epoll(7)), and the next read waits without asking.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        read: impl FnMut(&S) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let emptied = |got: &usize| *got < wanted && !self.source.ended.get();
        self.poll_io(&self.source.readable, cx, read, emptied)
    }

    /// The same for writing `wanted` bytes.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        write: impl FnMut(&S) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_io(&self.source.writable, cx, write, |sent| *sent < wanted)
    }

    /// The result of `accept` once that would not block.
    pub(super) fn poll_accept<T>(
        &self,
        cx: &mut Context<'_>,
        accept: impl FnMut(&S) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.poll_io(&self.source.readable, cx, accept, |_| false)
    }

    /// Tries `call` whenever the way may be open. `used_up` says of a result that the next call would block.
    fn poll_io<T>(
        &self,
        way: &Way,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&S) -> io::Result<T>,
        used_up: impl Fn(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(way.poll_open(cx));
            match call(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => way.open.set(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    if result.as_ref().is_ok_and(&used_up) {
                        way.open.set(false);
                    }
                    return Poll::Ready(result);
                }
            }
        }
    }
}

impl<S: AsFd> Drop for Watched<S> {
    fn drop(&mut self) {
        let mut sources = self.reactor.sources.borrow_mut();
        sources.places[self.place] = None;
        sources.free.push(self.place);
    }
}

/// Done at a moment, or as soon after it as the tasks that are ready then let it.
#[derive(Debug)]
pub(super) struct Timer {
    due: Instant,
    /// Under which the reactor knows it.
    number: Option<u64>,
    reactor: Rc<Reactor>,
}

impl Timer {
    pub(super) fn new(left: Duration) -> Self {
        Self::at(Instant::now() + left)
    }

    pub(super) fn at(due: Instant) -> Self {
        Self {
            due,
            number: None,
            reactor: here().reactor,
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.due <= Instant::now() {
            return Poll::Ready(());
        }
        let reactor = Rc::clone(&self.reactor);
        let mut timers = reactor.timers.borrow_mut();
        let number = *self.number.get_or_insert_with(|| {
            timers.next_number += 1;
            timers.next_number
        });
        timers.due.insert((self.due, number), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut timers = self.reactor.timers.borrow_mut();
            drop(timers.due.remove(&(self.due, number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::yield_now;

    #[test]
    fn timers_come_in_their_order_and_not_a_millisecond_late() {
        let order = Rc::new(RefCell::new(Vec::new()));
        run(async {
            let tasks: Vec<_> = [900_u64, 300, 600, 300]
                .into_iter()
                .map(|micros| {
                    let order = Rc::clone(&order);
                    spawn(async move {
                        Timer::new(Duration::from_micros(micros)).await;
                        order.borrow_mut().push(micros);
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
        })
        .expect("an epoll");
        assert_eq!(*order.borrow(), [300, 300, 600, 900]);
    }

    #[test]
    fn a_timer_is_more_exact_than_a_millisecond() {
        // The best of many: the machine may be busy with other things.
        let best = run(async {
            let mut best = Duration::MAX;
            for _ in 0..50 {
                let due = Instant::now() + Duration::from_micros(200);
                Timer::at(due).await;
                best = best.min(due.elapsed());
            }
            best
        });
        assert!(best.expect("an epoll") < Duration::from_micros(500));
    }

    #[test]
    fn tasks_that_are_always_ready_keep_no_timer_from_going_off() {
        run(async {
            let hot: Vec<_> = (0..100)
                .map(|_| {
                    spawn(async {
                        loop {
                            yield_now().await;
                        }
                    })
                })
                .collect::<Vec<Task<()>>>();
            Timer::new(Duration::from_millis(2)).await;
            for task in hot {
                assert!(task.cancel().await.is_none());
            }
        })
        .expect("an epoll");
    }

    #[test]
    fn a_dropped_timer_is_forgotten() {
        run(async {
            let never = async {
                Timer::new(Duration::from_secs(3_600)).await;
                false
            };
            let soon = async {
                Timer::new(Duration::from_micros(100)).await;
                true
            };
            assert!(futures_lite::future::or(never, soon).await);
            assert!(here().reactor.timers.borrow().due.is_empty());
        })
        .expect("an epoll");
    }

    #[test]
    fn what_is_left_at_the_end_is_dropped() {
        let held = Rc::new(());
        let kept = Rc::clone(&held);
        run(async {
            spawn(async move {
                Timer::new(Duration::from_secs(3_600)).await;
                drop(kept);
            })
            .detach();
            yield_now().await;
        })
        .expect("an epoll");
        assert_eq!(Rc::strong_count(&held), 1);
    }
}
