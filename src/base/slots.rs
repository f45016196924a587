//! Slot map with generations: a place keeps its address while used, a late reference is recognised.
//!
//! Grows in chunks, so nothing moves; what was freed is used again, last freed first (its memory is warm).

/// A place and the generation it was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub index: u32,
    pub generation: u32,
}

impl Key {
    /// Both halves in one word, for a completion's user data.
    pub fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
    pub fn unpack(word: u64) -> Self {
        Self {
            index: (word & 0xffff_ffff) as u32,
            generation: (word >> 32) as u32,
        }
    }
}

const CHUNK: usize = 1024;

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Up to `limit` values, each found by its [`Key`] in constant time.
#[derive(Debug)]
pub struct Slots<T> {
    chunks: Vec<Box<[Entry<T>]>>,
    free: Vec<u32>,
    used: usize,
    limit: usize,
}

impl<T> Slots<T> {
    /// An empty map that never holds more than `limit` values.
    pub fn new(limit: usize) -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            used: 0,
            limit,
        }
    }

    /// Takes a place for `value`; gives it back when all `limit` places are taken.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.used >= self.limit {
            return Err(value);
        }
        if self.free.is_empty() {
            self.grow();
        }
        let index = self.free.pop().expect("just grown");
        let entry = self.entry_mut(index);
        entry.value = Some(value);
        let key = Key {
            index,
            generation: entry.generation,
        };
        self.used += 1;
        Ok(key)
    }

    fn grow(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        self.chunks.push(
            (0..CHUNK)
                .map(|_| Entry {
                    generation: 1,
                    value: None,
                })
                .collect(),
        );
        self.free.extend((first..first + CHUNK as u32).rev());
    }

    fn entry_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    /// The value, unless its place was freed since.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self
            .chunks
            .get(key.index as usize / CHUNK)?
            .get(key.index as usize % CHUNK)?;
        if entry.generation == key.generation {
            entry.value.as_ref()
        } else {
            None
        }
    }

    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self
            .chunks
            .get_mut(key.index as usize / CHUNK)?
            .get_mut(key.index as usize % CHUNK)?;
        if entry.generation == key.generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    /// Frees the place; its generation moves on, so that `key` finds nothing any more.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self
            .chunks
            .get_mut(key.index as usize / CHUNK)?
            .get_mut(key.index as usize % CHUNK)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        // Generation 0 is never used, so that packed keys are never 0; the top byte stays free for tags.
        entry.generation = (entry.generation + 1) & 0x00ff_ffff;
        if entry.generation == 0 {
            entry.generation = 1;
        }
        self.free.push(key.index);
        self.used -= 1;
        Some(value)
    }

    pub fn len(&self) -> usize {
        self.used
    }
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Keys of the values in `count` places from one on, and the place behind them; `None`: there are no more.
    pub fn some_keys(&self, from: u32, count: usize) -> (Vec<Key>, Option<u32>) {
        let places = (self.chunks.len() * CHUNK) as u32;
        let end = from.saturating_add(count as u32).min(places);
        let entry = |at: u32| &self.chunks[at as usize / CHUNK][at as usize % CHUNK];
        let held = (from..end).filter(|&at| entry(at).value.is_some());
        let keys = held.map(|index| Key {
            index,
            generation: entry(index).generation,
        });
        (keys.collect(), (end < places).then_some(end))
    }

    /// Keys of all values held now.
    pub fn keys(&self) -> Vec<Key> {
        let all = self.chunks.iter().flat_map(|c| c.iter()).enumerate();
        all.filter(|(_, e)| e.value.is_some())
            .map(|(i, e)| Key {
                index: i as u32,
                generation: e.generation,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_place_is_not_found_by_its_old_key() {
        let mut slots = Slots::new(10);
        let a = slots.insert("a").unwrap();
        assert_eq!(slots.remove(a), Some("a"));
        let b = slots.insert("b").unwrap();
        assert_eq!(b.index, a.index);
        assert_eq!(slots.get(a), None);
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.get(b), Some(&"b"));
    }

    #[test]
    fn the_limit_gives_the_value_back() {
        let mut slots = Slots::new(1);
        slots.insert(1).unwrap();
        assert_eq!(slots.insert(2), Err(2));
    }

    #[test]
    fn a_key_survives_packing() {
        let key = Key {
            index: 77,
            generation: 0xab_cdef,
        };
        assert_eq!(Key::unpack(key.pack()), key);
    }
}
