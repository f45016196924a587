//! The processes before this one: `-sf`, `-st`.

use std::os::fd::{AsFd, OwnedFd};

use crate::io::sys::process;

/// Old processes, held by handles where the kernel has them, so that a number used again in the
/// meantime is never hit.
#[derive(Debug)]
pub struct Old {
    processes: Vec<(i32, Option<OwnedFd>)>,
    signal: i32,
    /// They let go of their ports, and take them again where this start fails.
    paused: bool,
}

impl Old {
    /// Takes hold of those that exist.
    pub fn new(pids: &[i32], signal: i32) -> Self {
        let handle = |&pid: &i32| match process::pidfd_open(pid) {
            Ok(fd) => Some((pid, Some(fd))),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => None,
            Err(_) => Some((pid, None)),
        };
        Self {
            processes: pids.iter().filter_map(handle).collect(),
            signal,
            paused: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Asks them to leave.
    pub fn dismiss(&mut self) {
        self.paused = false;
        self.send(self.signal);
    }

    /// Asks them to let go of their ports for now, once. Taken back on drop, unless they were dismissed.
    pub fn pause(&mut self) {
        if !std::mem::replace(&mut self.paused, true) {
            self.send(libc::SIGTTOU);
        }
    }

    fn send(&self, signal: i32) {
        for (pid, handle) in &self.processes {
            // Gone is what was wanted; not ours to signal is what haproxy passes over, too.
            match handle {
                Some(fd) => drop(process::pidfd_signal(fd.as_fd(), signal)),
                None => {
                    let signal = nix::sys::signal::Signal::try_from(signal).ok();
                    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), signal);
                }
            }
        }
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        if self.paused {
            self.send(libc::SIGTTIN);
        }
    }
}
