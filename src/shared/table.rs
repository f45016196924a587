//! Cells by index, of which a later version of the table may have more.
//!
//! Those that were there at the start lie in one piece: an access is an index into a slice, as ever. Each one
//! that came later is a piece of its own, so that it can go again, and with it its memory. Versions share their
//! cells: what one of them counts, all of them see.

use std::ops::Index;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

/// See the module.
#[derive(Debug)]
pub struct Table<T> {
    fixed: Arc<[T]>,
    more: Vec<Arc<CachePadded<T>>>,
}

impl<T> Table<T> {
    pub fn new(fixed: impl IntoIterator<Item = T>) -> Self {
        Self {
            fixed: fixed.into_iter().collect(),
            more: Vec::new(),
        }
    }

    /// Cells, those of the start and the others.
    pub fn len(&self) -> usize {
        self.fixed.len() + self.more.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.fixed
            .iter()
            .chain(self.more.iter().map(|cell| &***cell))
    }
    /// Cells that were there at the start: they stay.
    pub fn fixed(&self) -> usize {
        self.fixed.len()
    }

    /// Puts a fresh cell at `at`: behind the last one, or in place of one that came later than the start and that
    /// nobody uses any more.
    ///
    /// # Panics
    /// There is a cell of the start there, or `at` is behind the end.
    pub fn put(&mut self, at: usize, cell: T) {
        let at = at
            .checked_sub(self.fixed.len())
            .expect("cells of the start stay");
        let cell = Arc::new(CachePadded::new(cell));
        if at == self.more.len() {
            self.more.push(cell);
        } else {
            self.more[at] = cell;
        }
    }

    /// Makes sure of `len` cells, where those that nobody uses are as good as fresh ones.
    pub fn grow(&mut self, len: usize, mut cell: impl FnMut() -> T) {
        while self.len() < len {
            self.more.push(Arc::new(CachePadded::new(cell())));
        }
    }

    /// Drops the cells from `len` on, but none of the start.
    pub fn truncate(&mut self, len: usize) {
        self.more.truncate(len.saturating_sub(self.fixed.len()));
        self.more.shrink_to(2 * self.more.len());
    }
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self {
            fixed: Arc::clone(&self.fixed),
            more: self.more.clone(),
        }
    }
}

impl<T> Index<usize> for Table<T> {
    type Output = T;
    #[inline]
    fn index(&self, at: usize) -> &T {
        match self.fixed.get(at) {
            Some(cell) => cell,
            None => &self.more[at - self.fixed.len()],
        }
    }
}

impl<'a, T> IntoIterator for &'a Table<T> {
    type Item = &'a T;
    type IntoIter = Box<dyn DoubleEndedIterator<Item = &'a T> + 'a>;
    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn versions_share_their_cells_until_one_is_put_anew() {
        let first = Table::new([Cell::new(1), Cell::new(2)]);
        let mut second = first.clone();
        second.put(2, Cell::new(3));
        let mut third = second.clone();
        second[2].set(4);
        second[0].set(5);
        assert_eq!((first[0].get(), third[2].get(), third.len()), (5, 4, 3));
        third.put(2, Cell::new(6));
        assert_eq!((second[2].get(), third[2].get()), (4, 6));
        third.grow(4, || Cell::new(7));
        assert_eq!((third.len(), third[3].get()), (4, 7));
        third.truncate(0);
        assert_eq!(third.iter().map(Cell::get).collect::<Vec<_>>(), [5, 2]);
    }
}
