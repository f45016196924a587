//! Buffers lent to receiving operations, within a budget.
//!
//! A direction that keeps up never holds one beyond a turn, so a shard's working set is a few warm
//! buffers. A stalled direction holds what it could not send; as the budget fills, buffers get
//! smaller, so that many stalled directions cannot lock everybody else out. A buffer that is dropped, by
//! whomever and wherever (a message that broke off, a panic), gives its share of the budget back.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes received and not yet sent: `data[start..end]`.
#[derive(Debug, Default)]
pub struct Buf {
    data: Box<[u8]>,
    start: u32,
    end: u32,
    /// Bytes its pool holds: its capacity is part of them.
    counted: Option<Rc<Cell<usize>>>,
}

impl Buf {
    /// A buffer of its own holding a copy of `bytes` (headers we write ourselves); outside every budget.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            data: bytes.into(),
            start: 0,
            end: bytes.len() as u32,
            counted: None,
        }
    }
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.start as usize..self.end as usize]
    }
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
    /// Bytes of memory it occupies.
    pub fn capacity(&self) -> usize {
        self.data.len()
    }
    /// Forgets the first `n` bytes (sent, or understood).
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len(), "more consumed than held");
        self.start += n as u32;
    }
    /// Keeps the first `n` bytes held.
    pub fn truncate(&mut self, n: usize) {
        assert!(n <= self.len(), "cut to more than held");
        self.end = self.start + n as u32;
    }
    /// Appends as much of `bytes` as fits behind what it holds; how many that were.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let end = self.end as usize;
        let n = bytes.len().min(self.data.len() - end);
        self.data[end..end + n].copy_from_slice(&bytes[..n]);
        self.end += n as u32;
        n
    }
    /// Room behind what it holds.
    pub fn room(&self) -> usize {
        self.data.len() - self.end as usize
    }
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.data
    }
    pub(super) fn set_filled(&mut self, n: usize) {
        assert!(n <= self.data.len(), "more received than the buffer holds");
        (self.start, self.end) = (0, n as u32);
    }
}

impl Buf {
    fn uncount(&mut self) {
        if let Some(held) = self.counted.take() {
            held.set(held.get() - self.data.len());
        }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        self.uncount();
    }
}

/// Buffers of one shard.
#[derive(Debug)]
pub struct BufPool {
    size: usize,
    free: Vec<Buf>,
    /// Bytes in buffers now held by operations or drivers.
    held: Rc<Cell<usize>>,
    budget: usize,
}

/// Idle buffers kept warm.
const FREE_MAX: usize = 64;
/// Smallest buffer lent under pressure.
const SMALL: usize = 1024;

impl BufPool {
    /// Buffers of `size` bytes, at most about `budget` bytes held at once.
    pub fn new(size: usize, budget: usize) -> Self {
        Self {
            size,
            free: Vec::new(),
            held: Rc::default(),
            budget,
        }
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// A buffer for one receive while `others` bytes of the budget are held elsewhere (pipes).
    /// `None`: the budget is used up, ask again when something was given back.
    pub fn take(&mut self, others: usize) -> Option<Buf> {
        let used = self.held() + others;
        let size = match self.budget.saturating_sub(used) {
            left if left >= self.budget / 2 && left >= self.size => self.size,
            left if left >= self.budget / 4 && left >= self.size / 4 => {
                (self.size / 4).max(SMALL).min(self.size)
            }
            left if left >= SMALL => SMALL.min(self.size),
            _ => return None,
        };
        let buf = if size == self.size {
            self.free.pop()
        } else {
            None
        };
        let buf = buf.unwrap_or_else(|| Buf {
            data: vec![0; size].into_boxed_slice(),
            start: 0,
            end: 0,
            counted: None,
        });
        Some(self.count(buf))
    }

    /// Smallest buffers that [`BufPool::take`] would lend now.
    pub fn room_for(&self, others: usize) -> usize {
        self.budget.saturating_sub(self.held() + others) / SMALL
    }

    fn count(&mut self, mut buf: Buf) -> Buf {
        self.held.set(self.held() + buf.capacity());
        buf.counted = Some(Rc::clone(&self.held));
        buf
    }

    /// Takes a buffer back.
    pub fn give(&mut self, mut buf: Buf) {
        buf.uncount();
        if buf.capacity() == self.size && self.free.len() < FREE_MAX {
            self.free.push(buf);
        }
    }

    /// A stalled buffer shrinks to what it still holds, if that saves at least half.
    pub fn shrink(&mut self, buf: Buf) -> Buf {
        if buf.len() * 2 > buf.capacity() {
            return buf;
        }
        let small = self.count(Buf::of(buf.bytes()));
        self.give(buf);
        small
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_thousand_stalled_directions_stay_within_sixty_four_megabytes_and_leave_room() {
        let mut pool = BufPool::new(16_384, 64 << 20);
        let held: Vec<_> = (0..5_000)
            .map(|_| pool.take(0).expect("room for everybody"))
            .collect();
        assert!(pool.held() <= 64 << 20);
        let one_more = pool.take(0).expect("room for one more");
        pool.give(one_more);
        held.into_iter().for_each(|b| pool.give(b));
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn a_buffer_made_outside_gives_nothing_back_to_the_budget() {
        let mut pool = BufPool::new(16_384, 64 << 20);
        let lent = pool.take(0).unwrap();
        pool.give(Buf::of(&[0; 1000]));
        assert_eq!(pool.held(), 16_384);
        let header = pool.shrink(Buf::of(&[0; 1000]));
        pool.give(header);
        pool.give(lent);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn a_buffer_that_is_dropped_gives_its_share_of_the_budget_back() {
        let mut pool = BufPool::new(16_384, 2 << 20);
        let lent = pool.take(0).unwrap();
        let replaced = pool.take(0).unwrap();
        drop(replaced);
        assert_eq!(pool.held(), 16_384);
        drop(lent);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn a_used_up_budget_lends_nothing() {
        let mut pool = BufPool::new(16_384, 2048);
        let a = pool.take(0).unwrap();
        let _b = pool.take(0).unwrap();
        assert!(pool.take(0).is_none());
        pool.give(a);
        assert!(pool.take(0).is_some());
    }
}
