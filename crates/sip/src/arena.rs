//! A slab whose keys remember which tenant of a slot they mean.
//!
//! Slots are reused as soon as they are free, so a bare index would let a late timer or a late
//! response act on a stranger. Every insertion gets a fresh generation, and a key of an earlier
//! generation finds nothing.

use slab::Slab;

/// A key into one [`Arena`]: slot plus generation.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl Key {
    /// A key that finds nothing: no slot is that far out.
    pub(crate) const NOWHERE: Self = Self {
        index: u32::MAX,
        generation: 0,
    };
}

/// Values addressed by generational keys.
pub(crate) struct Arena<T> {
    slots: Slab<(u32, T)>,
    generation: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            slots: Slab::new(),
            generation: 0,
        }
    }
}

impl<T> Arena<T> {
    /// The key that the next [`Arena::insert`] returns. Branches and tags carry the key of the value
    /// that they lead to, so it must be known before the value exists.
    pub(crate) fn next_key(&self) -> Key {
        Key {
            index: self.slots.vacant_key() as u32,
            generation: self.generation.wrapping_add(1),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.generation = self.generation.wrapping_add(1);
        let index = self.slots.insert((self.generation, value)) as u32;
        Key {
            index,
            generation: self.generation,
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index as usize) {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.slots.remove(key.index as usize).1)
    }

    /// Whatever lives in the slot `index` at the moment.
    pub(crate) fn at(&self, index: u32) -> Option<(Key, &T)> {
        self.slots.get(index as usize).map(|(generation, value)| {
            (
                Key {
                    index,
                    generation: *generation,
                },
                value,
            )
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().map(|(index, (generation, value))| {
            (
                Key {
                    index: index as u32,
                    generation: *generation,
                },
                value,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_earlier_tenant_finds_nothing() {
        let mut arena = Arena::default();
        let expected = arena.next_key();
        let first = arena.insert("first");
        assert_eq!(first, expected);
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
        assert_eq!(arena.len(), 1);
    }
}
