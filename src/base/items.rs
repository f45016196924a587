//! A list whose copies share what is in it: a new version of a long list costs a pointer an item, and an item
//! that is changed is changed in that version only.

use std::iter::Map;
use std::ops::{Index, IndexMut};
use std::slice;
use std::sync::Arc;

/// See the module. Reads as a slice of `T`.
#[derive(Debug)]
pub struct Items<T>(Vec<Arc<T>>);

/// Items in order, by reference.
pub type Iter<'a, T> = Map<slice::Iter<'a, Arc<T>>, fn(&'a Arc<T>) -> &'a T>;

/// Items in order, to be changed.
pub type IterMut<'a, T> = Map<slice::IterMut<'a, Arc<T>>, fn(&'a mut Arc<T>) -> &'a mut T>;

impl<T> Items<T> {
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn iter(&self) -> Iter<'_, T> {
        self.0.iter().map(|item| item)
    }
    pub fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at).map(|item| &**item)
    }
    pub fn last(&self) -> Option<&T> {
        self.0.last().map(|item| &**item)
    }
    pub fn push(&mut self, item: T) {
        self.0.push(Arc::new(item));
    }
    /// Puts another item in the place of one.
    ///
    /// # Panics
    /// There is no such place.
    pub fn replace(&mut self, at: usize, item: Arc<T>) {
        self.0[at] = item;
    }
    /// Whether both have the very same item there.
    pub fn same(&self, other: &Self, at: usize) -> bool {
        let pair = self.0.get(at).zip(other.0.get(at));
        pair.is_some_and(|(a, b)| Arc::ptr_eq(a, b))
    }
    /// Drops all items from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

/// Items that are changed are copied first where another version shares them.
impl<T: Clone> Items<T> {
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        self.0.iter_mut().map(Arc::make_mut)
    }
    pub fn last_mut(&mut self) -> Option<&mut T> {
        self.0.last_mut().map(Arc::make_mut)
    }
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop().map(Arc::unwrap_or_clone)
    }
    /// Takes an item out.
    ///
    /// # Panics
    /// There is no such place.
    pub fn remove(&mut self, at: usize) -> T {
        Arc::unwrap_or_clone(self.0.remove(at))
    }
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Clone for Items<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Index<usize> for Items<T> {
    type Output = T;
    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.0[at]
    }
}

impl<T: Clone> IndexMut<usize> for Items<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        Arc::make_mut(&mut self.0[at])
    }
}

impl<'a, T> IntoIterator for &'a Items<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T: Clone> IntoIterator for &'a mut Items<T> {
    type Item = &'a mut T;
    type IntoIter = IterMut<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T> FromIterator<T> for Items<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().map(Arc::new).collect())
    }
}

impl<T> From<Vec<T>> for Items<T> {
    fn from(items: Vec<T>) -> Self {
        items.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_in_one_version_leaves_the_others_as_they_were() {
        let first: Items<u32> = vec![1, 2, 3].into();
        let mut second = first.clone();
        second[1] = 20;
        second.push(4);
        assert_eq!(first.iter().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(second.iter().copied().collect::<Vec<_>>(), [1, 20, 3, 4]);
    }
}
