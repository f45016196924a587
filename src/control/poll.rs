//! The executor over poll(2), for where glommio cannot start. Slots of tasks, a list of what they
//! wait for, a list of timers: the control thread has tens of each.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::executor::Executor;
use crate::io::sys::rights;

/// Runs until the main task ends; other tasks end with it.
pub(super) fn run<F: Future<Output = ()>>(main: impl FnOnce(Handle) -> F) {
    let handle = Handle(Rc::new(Core::default()));
    let core = Rc::clone(&handle.0);
    let main_waker = Waker::from(Arc::new(TaskWaker {
        task: MAIN,
        woken: Arc::clone(&core.woken),
    }));
    let mut main = std::pin::pin!(main(handle));
    core.wake(MAIN);
    loop {
        for task in core.take_woken() {
            if task != MAIN {
                core.step(task);
            } else if main
                .as_mut()
                .poll(&mut Context::from_waker(&main_waker))
                .is_ready()
            {
                core.tasks.take();
                return;
            }
        }
        core.wait();
    }
}

/// Stands for the main task, which is in no slot.
const MAIN: usize = usize::MAX;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A handle to the executor of this thread.
#[derive(Clone)]
pub(super) struct Handle(Rc<Core>);

#[derive(Default)]
struct Core {
    /// Empty slots are used again.
    tasks: RefCell<Vec<Option<Task>>>,
    woken: Arc<Mutex<Vec<usize>>>,
    waits: RefCell<Vec<Wait>>,
    timers: RefCell<Vec<Timer>>,
    /// Last number given to a wait or timer.
    key: Cell<u64>,
}

/// A task waits for a socket.
struct Wait {
    key: u64,
    socket: Rc<Socket>,
    events: PollFlags,
    waker: Waker,
}

/// A task waits for a moment.
struct Timer {
    key: u64,
    at: Instant,
    waker: Waker,
}

struct TaskWaker {
    task: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.woken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.task);
    }
}

impl Core {
    fn wake(&self, task: usize) {
        self.woken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(task);
    }

    fn take_woken(&self) -> Vec<usize> {
        let mut woken =
            std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        woken.sort_unstable();
        woken.dedup();
        woken
    }

    fn next_key(&self) -> u64 {
        self.key.set(self.key.get() + 1);
        self.key.get()
    }

    fn add(&self, task: Task) {
        let mut tasks = self.tasks.borrow_mut();
        let slot = tasks.iter().position(Option::is_none).unwrap_or_else(|| {
            tasks.push(None);
            tasks.len() - 1
        });
        tasks[slot] = Some(task);
        self.wake(slot);
    }

    /// Runs one task as far as it goes. Its slot is kept while it runs: it may add tasks.
    fn step(&self, slot: usize) {
        let Some(mut task) = self.tasks.borrow_mut().get_mut(slot).and_then(Option::take) else {
            return;
        };
        let placeholder: Task = Box::pin(std::future::pending());
        self.tasks.borrow_mut()[slot] = Some(placeholder);
        let waker = Waker::from(Arc::new(TaskWaker {
            task: slot,
            woken: Arc::clone(&self.woken),
        }));
        let done = task
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        self.tasks.borrow_mut()[slot] = if done { None } else { Some(task) };
    }

    /// Sleeps until a socket is ready, a timer is due, or not at all if a task is awake already.
    fn wait(&self) {
        let mut fired = Vec::new();
        {
            let mut waits = self.waits.borrow_mut();
            let mut entries: Vec<PollFd<'_>> = waits
                .iter()
                .map(|wait| PollFd::new(wait.socket.as_fd(), wait.events))
                .collect();
            // An interrupted wait is a short one.
            let _ = poll(&mut entries, self.timeout());
            let ready: Vec<bool> = entries
                .iter()
                .map(|entry| entry.any().unwrap_or(true))
                .collect();
            drop(entries);
            let mut ready = ready.into_iter();
            waits.retain(|wait| {
                let ready = ready.next().unwrap_or(false);
                if ready {
                    fired.push(wait.waker.clone());
                }
                !ready
            });
        }
        let now = Instant::now();
        self.timers.borrow_mut().retain(|timer| {
            let due = timer.at <= now;
            if due {
                fired.push(timer.waker.clone());
            }
            !due
        });
        fired.into_iter().for_each(Waker::wake);
    }

    fn timeout(&self) -> PollTimeout {
        if !self
            .woken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
        {
            return PollTimeout::ZERO;
        }
        let Some(at) = self.timers.borrow().iter().map(|timer| timer.at).min() else {
            return PollTimeout::NONE;
        };
        // Up to the next whole millisecond: waking too early would only mean another round.
        let left = at.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    /// Waits until the socket is ready, or in error.
    async fn ready(&self, socket: &Rc<Socket>, events: PollFlags) {
        let mut entered = Entered {
            core: self,
            key: None,
        };
        poll_fn(|cx| {
            let mut waits = self.waits.borrow_mut();
            let Some(key) = entered.key else {
                let key = self.next_key();
                waits.push(Wait {
                    key,
                    socket: Rc::clone(socket),
                    events,
                    waker: cx.waker().clone(),
                });
                entered.key = Some(key);
                return Poll::Pending;
            };
            match waits.iter_mut().find(|wait| wait.key == key) {
                Some(wait) => {
                    wait.waker.clone_from(cx.waker());
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
        })
        .await;
    }

    async fn sleep(&self, time: Duration) {
        let at = Instant::now() + time;
        let mut entered = Entered {
            core: self,
            key: None,
        };
        poll_fn(|cx| {
            let mut timers = self.timers.borrow_mut();
            let Some(key) = entered.key else {
                let key = self.next_key();
                timers.push(Timer {
                    key,
                    at,
                    waker: cx.waker().clone(),
                });
                entered.key = Some(key);
                return Poll::Pending;
            };
            match timers.iter_mut().find(|timer| timer.key == key) {
                Some(timer) => {
                    timer.waker.clone_from(cx.waker());
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
        })
        .await;
    }
}

/// An entry in one of the lists, taken out when its future is dropped before it fired.
struct Entered<'a> {
    core: &'a Core,
    key: Option<u64>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        self.core.waits.borrow_mut().retain(|wait| wait.key != key);
        self.core
            .timers
            .borrow_mut()
            .retain(|timer| timer.key != key);
    }
}

impl Executor for Handle {
    type Listener = Rc<Socket>;
    type Stream = Rc<Socket>;

    fn listener(&self, fd: OwnedFd) -> io::Result<Rc<Socket>> {
        let socket = Socket::from(fd);
        socket.set_nonblocking(true)?;
        Ok(Rc::new(socket))
    }

    fn stream(&self, fd: OwnedFd) -> io::Result<Rc<Socket>> {
        self.listener(fd)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.add(Box::pin(task));
    }

    async fn accept(&self, listener: &Rc<Socket>) -> io::Result<Rc<Socket>> {
        let (socket, _) = again(&self.0, listener, PollFlags::POLLIN, |socket| {
            socket.accept()
        })
        .await?;
        socket.set_nonblocking(true)?;
        Ok(Rc::new(socket))
    }

    async fn read(&self, stream: &mut Rc<Socket>, space: &mut [u8]) -> io::Result<usize> {
        again(&self.0, stream, PollFlags::POLLIN, |mut socket| {
            socket.read(space)
        })
        .await
    }

    async fn write(&self, stream: &mut Rc<Socket>, bytes: &[u8]) -> io::Result<usize> {
        again(&self.0, stream, PollFlags::POLLOUT, |mut socket| {
            socket.write(bytes)
        })
        .await
    }

    fn send_with(&self, stream: &Rc<Socket>, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
        rights::send(stream.as_raw_fd(), bytes, fds)
    }

    async fn receive_with(
        &self,
        stream: &mut Rc<Socket>,
        space: &mut [u8],
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        again(&self.0, stream, PollFlags::POLLIN, |socket| {
            rights::receive(socket.as_raw_fd(), space)
        })
        .await
    }

    async fn close_write(&self, stream: &mut Rc<Socket>) {
        let _ = stream.shutdown(Shutdown::Write);
    }

    async fn sleep(&self, time: Duration) {
        self.0.sleep(time).await;
    }
}

/// Tries a non-blocking call until it no longer says that it would block.
async fn again<T>(
    core: &Core,
    socket: &Rc<Socket>,
    events: PollFlags,
    mut call: impl FnMut(&Socket) -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match call(socket) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => core.ready(socket, events).await,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
