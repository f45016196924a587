//! io_uring as a poller: multishot poll and accept, one enter per turn.
//!
//! Flags are probed from the newest kernel downwards (DEFER_TASKRUN 6.1, SINGLE_ISSUER 6.0,
//! COOP_TASKRUN 5.19, SUBMIT_ALL 5.18, none). Multishot poll needs 5.13; below it a poll fires once
//! and is set again by the engine. Multishot accept needs 5.19; below it listeners are polled. Removals of
//! polls complete in silence from 5.17 on.
#![allow(unsafe_code)] // the one place, with `sys`, where the kernel is spoken to

use std::os::fd::RawFd;

use io_uring::{IoUring, Probe, cqueue, opcode, squeue, types};

use super::kernel::{AcceptMode, Errno, Event, Kernel, Wait, ready};
use super::sys::net;

const TAG_POLL: u64 = 0;
const TAG_ACCEPT: u64 = 1;
const TAG_BELL: u64 = 2;
const TAG_IGNORE: u64 = 3;
const TAG_REMOVE: u64 = 4;
const TAG_SHIFT: u32 = 56;

/// One shard's ring.
pub struct UringKernel {
    ring: IoUring,
    bell: RawFd,
    multishot_poll: bool,
    multishot_accept: bool,
    /// Completions nobody asks about can be left out (5.17); below it the flag alone fails the operation.
    skip_success: bool,
    flags: &'static str,
    /// Calls of io_uring_enter.
    pub enters: u64,
}

impl std::fmt::Debug for UringKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UringKernel")
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

fn build(entries: u32) -> std::io::Result<(IoUring, &'static str)> {
    let mut last = None;
    for level in (0..5).rev() {
        let mut builder = IoUring::builder();
        builder.setup_clamp().setup_cqsize(entries * 8);
        if level >= 1 {
            builder.setup_submit_all();
        }
        if level >= 2 {
            builder.setup_coop_taskrun();
        }
        if level >= 3 {
            builder.setup_single_issuer();
        }
        if level >= 4 {
            builder.setup_defer_taskrun();
        }
        match builder.build(entries) {
            Ok(ring) => {
                let names = [
                    "plain",
                    "SUBMIT_ALL",
                    "COOP_TASKRUN",
                    "SINGLE_ISSUER",
                    "DEFER_TASKRUN",
                ];
                return Ok((ring, names[level]));
            }
            // EINVAL: a flag is unknown to this kernel; anything else will not get better.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::from_raw_os_error(libc::EINVAL)))
}

impl UringKernel {
    /// A ring for the calling thread, which alone may use it; `bell` is an eventfd.
    ///
    /// # Errors
    /// io_uring is missing or forbidden (ENOSYS, EPERM), or lacks extended wait arguments (before 5.11).
    pub fn new(entries: u32, bell: RawFd) -> std::io::Result<Self> {
        let (ring, flags) = build(entries)?;
        if !ring.params().is_feature_ext_arg() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::Unsupported,
                "io_uring before Linux 5.11",
            ));
        }
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        // Saves a file look-up per enter; absent before 5.18, which is no reason to stop.
        let _ = ring.submitter().register_ring_fd();
        // MSG_RING came with 5.18, SOCKET with 5.19, multishot poll with 5.13: probed by their neighbours.
        let multishot_accept = probe.is_supported(opcode::Socket::CODE);
        let multishot_poll = ring.params().is_feature_native_workers()
            && ring.params().is_feature_resource_tagging();
        let skip_success = ring.params().is_feature_skip_cqe_on_success();
        let mut kernel = Self {
            ring,
            bell,
            multishot_poll,
            multishot_accept,
            skip_success,
            flags,
            enters: 0,
        };
        kernel.watch_bell();
        Ok(kernel)
    }

    /// Newest ring flag in use.
    pub fn flags(&self) -> &'static str {
        self.flags
    }

    fn watch_bell(&mut self) {
        let poll = opcode::PollAdd::new(types::Fd(self.bell), libc::POLLIN as u32)
            .multi(self.multishot_poll)
            .build();
        self.push(poll.user_data(TAG_BELL << TAG_SHIFT));
    }

    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: no entry of ours points at memory: polls, accepts without address, cancels.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            // The queue is full: hand it over now. Completions stay in the ring for the next wait.
            self.enters += 1;
            let _ = self.ring.submit();
        }
    }

    fn enter(&mut self, wait: Wait) {
        self.enters += 1;
        let timeout = match wait {
            Wait::No => {
                let queued = self.ring.submission().len() as u32;
                const GETEVENTS: u32 = 1;
                // SAFETY: no argument structure is passed; the ring is ours.
                let _ = unsafe {
                    self.ring
                        .submitter()
                        .enter::<libc::sigset_t>(queued, 0, GETEVENTS, None)
                };
                return;
            }
            Wait::Forever => {
                let _ = self.ring.submit_and_wait(1);
                return;
            }
            Wait::Until(tick) => tick.since(net::tick()),
        };
        let spec = types::Timespec::new()
            .sec(timeout / 1000)
            .nsec((timeout % 1000) as u32 * 1_000_000);
        let args = types::SubmitArgs::new().timespec(&spec);
        // ETIME and EINTR are not errors: the caller looks at the clock and the queue.
        let _ = self.ring.submitter().submit_with_args(1, &args);
    }
}

fn poll_bits(result: i32) -> u8 {
    let has = |bit: i16| result & i32::from(bit) != 0;
    let mut bits = 0;
    for (bit, flag) in [
        (libc::POLLIN, ready::READ),
        (libc::POLLOUT, ready::WRITE),
        (libc::POLLRDHUP, ready::READ_HUP),
        (libc::POLLHUP, ready::HUP),
        (libc::POLLERR, ready::ERROR),
    ] {
        if has(bit) {
            bits |= flag;
        }
    }
    bits
}

impl Kernel for UringKernel {
    fn watch(&mut self, fd: RawFd, key: u64) {
        let mask = (libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP) as u32;
        let poll = opcode::PollAdd::new(types::Fd(fd), mask)
            .multi(self.multishot_poll)
            .build();
        self.push(poll.user_data(TAG_POLL << TAG_SHIFT | key));
    }

    fn unwatch(&mut self, _fd: RawFd, key: u64) {
        let remove = opcode::PollRemove::new(TAG_POLL << TAG_SHIFT | key).build();
        let word = TAG_REMOVE << TAG_SHIFT | key;
        let remove = remove.user_data(word);
        self.push(if self.skip_success {
            remove.flags(squeue::Flags::SKIP_SUCCESS)
        } else {
            remove
        });
    }

    fn watch_listener(&mut self, fd: RawFd, key: u64, mode: AcceptMode) -> AcceptMode {
        if mode == AcceptMode::Multishot && self.multishot_accept {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            let accept = opcode::AcceptMulti::new(types::Fd(fd)).flags(flags).build();
            self.push(accept.user_data(TAG_ACCEPT << TAG_SHIFT | key));
            return AcceptMode::Multishot;
        }
        let poll = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32)
            .multi(self.multishot_poll)
            .build();
        self.push(poll.user_data(TAG_POLL << TAG_SHIFT | key));
        AcceptMode::Poll
    }

    fn unwatch_listener(&mut self, fd: RawFd, key: u64, mode: AcceptMode) {
        match mode {
            AcceptMode::Poll => self.unwatch(fd, key),
            AcceptMode::Multishot => {
                let cancel = opcode::AsyncCancel::new(TAG_ACCEPT << TAG_SHIFT | key).build();
                self.push(cancel.user_data(TAG_IGNORE << TAG_SHIFT));
            }
        }
    }

    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) {
        self.enter(wait);
        let mut bell_ended = false;
        let mut remove_again = Vec::new();
        for entry in self.ring.completion() {
            let word = entry.user_data();
            let key = word & ((1 << TAG_SHIFT) - 1);
            let ended = !cqueue::more(entry.flags());
            let result = entry.result();
            match word >> TAG_SHIFT {
                // A removed poll ends with ECANCELED: nobody asks any more.
                TAG_POLL if result == -libc::ECANCELED => {}
                TAG_POLL if result < 0 => events.push(Event::Ready {
                    key,
                    bits: ready::ERROR,
                    ended: true,
                }),
                TAG_POLL => events.push(Event::Ready {
                    key,
                    bits: poll_bits(result),
                    ended,
                }),
                TAG_ACCEPT if result >= 0 => events.push(Event::Accepted {
                    key,
                    fd: result,
                    ended,
                }),
                // The end of an accept that we cancelled; a later one of the same listener may be armed.
                TAG_ACCEPT if result == -libc::ECANCELED => {}
                TAG_ACCEPT => events.push(Event::AcceptEnded {
                    key,
                    errno: Errno(-result),
                }),
                // An event was just on its way, so the kernel left the poll armed (seen on 6.18 under load): it
                // would keep the closed socket, and its peer waiting, for ever. Empty but for that race.
                TAG_REMOVE if result == -libc::EALREADY => remove_again.push(key),
                TAG_BELL => {
                    events.push(Event::Bell);
                    bell_ended |= ended;
                }
                _ => {}
            }
        }
        for key in remove_again {
            self.unwatch(-1, key);
        }
        if bell_ended {
            net::silence(self.bell);
            self.watch_bell();
        }
    }

    fn enters(&self) -> u64 {
        self.enters
    }

    fn has_multishot_accept(&self) -> bool {
        self.multishot_accept
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_watched_socket_closes_at_once_also_where_removals_cannot_be_silent() {
        for silent in [true, false] {
            let bell = net::eventfd().expect("an eventfd");
            let mut kernel = UringKernel::new(8, bell).expect("io_uring");
            kernel.skip_success &= silent;
            let (ours, mut peer) = UnixStream::pair().expect("a pair");
            peer.set_read_timeout(Some(std::time::Duration::from_secs(5)))
                .expect("a timeout");
            let (fd, mut events) = (ours.into_raw_fd(), Vec::new());
            kernel.watch(fd, 1);
            kernel.wait(Wait::No, &mut events);
            kernel.unwatch(fd, 1);
            net::close(fd);
            kernel.wait(Wait::No, &mut events);
            let end = peer.read(&mut [0; 8]).expect("the end comes");
            assert_eq!(end, 0, "silent: {silent}");
            net::close(bell);
        }
    }
}
