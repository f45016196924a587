//! epoll as a poller, edge-triggered: for hosts and containers where io_uring is switched off.

use std::os::fd::RawFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::kernel::{AcceptMode, Event, Kernel, Wait, ready};
use super::sys::net;

/// Key of the bell; no slot key is 0, generations start at 1.
const BELL: u64 = 0;
const EVENTS: usize = 512;

/// One shard's epoll instance.
#[derive(Debug)]
pub struct EpollKernel {
    epoll: Epoll,
    ready: Vec<EpollEvent>,
    /// Calls of epoll_wait.
    pub waits: u64,
}

impl EpollKernel {
    /// `bell` is an eventfd that wakes the shard.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new(bell: RawFd) -> std::io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut kernel = Self {
            epoll,
            ready: vec![EpollEvent::empty(); EVENTS],
            waits: 0,
        };
        kernel.add(bell, EpollFlags::EPOLLIN, BELL);
        Ok(kernel)
    }

    fn add(&mut self, fd: RawFd, flags: EpollFlags, key: u64) {
        let event = EpollEvent::new(flags | EpollFlags::EPOLLET, key);
        // The only errors left are ours (EBADF, EEXIST) or ENOSPC/ENOMEM: the deadline of whoever waits ends it.
        let _ = self.epoll.add(net::borrow(fd), event);
    }
}

impl Kernel for EpollKernel {
    fn watch(&mut self, fd: RawFd, key: u64) {
        self.add(
            fd,
            EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP,
            key,
        );
    }
    fn unwatch(&mut self, fd: RawFd, _key: u64) {
        let _ = self.epoll.delete(net::borrow(fd));
    }
    fn watch_listener(&mut self, fd: RawFd, key: u64, _mode: AcceptMode) -> AcceptMode {
        self.add(fd, EpollFlags::EPOLLIN, key);
        AcceptMode::Poll
    }
    fn unwatch_listener(&mut self, fd: RawFd, key: u64, _mode: AcceptMode) {
        self.unwatch(fd, key);
    }

    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) {
        self.waits += 1;
        let timeout = match wait {
            Wait::No => EpollTimeout::ZERO,
            Wait::Forever => EpollTimeout::NONE,
            Wait::Until(tick) => {
                let ms = tick.since(net::tick()).min(60_000);
                EpollTimeout::from(u16::try_from(ms).expect("at most a minute"))
            }
        };
        // EINTR counts as nothing ready.
        let count = self.epoll.wait(&mut self.ready, timeout).unwrap_or(0);
        for event in &self.ready[..count] {
            if event.data() == BELL {
                events.push(Event::Bell);
                continue;
            }
            let flags = event.events();
            let mut bits = 0;
            for (flag, bit) in [
                (EpollFlags::EPOLLIN, ready::READ),
                (EpollFlags::EPOLLOUT, ready::WRITE),
                (EpollFlags::EPOLLRDHUP, ready::READ_HUP),
                (EpollFlags::EPOLLHUP, ready::HUP),
                (EpollFlags::EPOLLERR, ready::ERROR),
            ] {
                if flags.contains(flag) {
                    bits |= bit;
                }
            }
            events.push(Event::Ready {
                key: event.data(),
                bits,
                ended: false,
            });
        }
    }

    fn enters(&self) -> u64 {
        self.waits
    }

    fn has_multishot_accept(&self) -> bool {
        false
    }
}
