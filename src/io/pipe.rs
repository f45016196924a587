//! Pipes for splicing: few, counted, lent to directions that stream.

use std::os::fd::RawFd;

use super::kernel::Kernel;

/// A pipe and the bytes in it. Whoever holds it owns both descriptors.
#[derive(Debug, PartialEq, Eq)]
pub struct Pipe {
    pub read: RawFd,
    pub write: RawFd,
    /// Capacity in bytes as the kernel gave it (slots of one page each).
    pub size: u32,
    /// Bytes in it now, by our own count.
    pub held: u32,
}

/// Pipes of one shard.
#[derive(Debug)]
pub struct PipePool {
    free: Vec<Pipe>,
    size: u32,
    /// Pipes alive, lent or free, and the most there may be.
    alive: usize,
    limit: usize,
    /// Times a direction asked and had to go on copying.
    pub refused: u64,
    /// The kernel refused the size once: no more new pipes (only 8 KB ones would come).
    exhausted: bool,
}

/// Smallest pipe worth splicing through.
const SIZE_MIN: u32 = 65_536;

impl PipePool {
    /// `made` were opened while privileged; up to `limit` in all, `size` bytes each.
    pub fn new(made: Vec<Pipe>, size: u32, limit: usize) -> Self {
        let alive = made.len();
        Self {
            free: made,
            size,
            alive,
            limit: limit.max(alive),
            refused: 0,
            exhausted: false,
        }
    }

    pub fn lent(&self) -> usize {
        self.alive - self.free.len()
    }
    pub fn idle(&self) -> usize {
        self.free.len()
    }

    /// An empty pipe, or `None`: copy instead.
    pub fn take<K: Kernel>(&mut self, kernel: &mut K) -> Option<Pipe> {
        if let Some(pipe) = self.free.pop() {
            return Some(pipe);
        }
        if self.alive < self.limit && !self.exhausted {
            match kernel.pipe(self.size) {
                Ok(pipe) if pipe.size >= SIZE_MIN => {
                    self.alive += 1;
                    return Some(pipe);
                }
                Ok(pipe) => {
                    // Measured: past pipe-user-pages-soft an unprivileged user gets pipes of 8 KB.
                    kernel.close(pipe.read);
                    kernel.close(pipe.write);
                    self.exhausted = true;
                }
                Err(_) => self.exhausted = true,
            }
        }
        self.refused += 1;
        None
    }

    /// Takes an empty pipe back; one with bytes left in it (an aborted relay) is closed instead.
    pub fn give<K: Kernel>(&mut self, kernel: &mut K, pipe: Pipe) {
        if pipe.held == 0 {
            self.free.push(pipe);
        } else {
            kernel.close(pipe.read);
            kernel.close(pipe.write);
            self.alive -= 1;
            self.exhausted = false;
        }
    }

    /// Closes all idle pipes.
    pub fn close_all<K: Kernel>(&mut self, kernel: &mut K) {
        for pipe in self.free.drain(..) {
            kernel.close(pipe.read);
            kernel.close(pipe.write);
            self.alive -= 1;
        }
    }
}
