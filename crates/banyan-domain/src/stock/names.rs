//! Names in order of first sight, found by text, each with a value: SKUs, and the members that a purchase limit counts.

use core::hash::Hasher;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// Longest name that is kept with its value, in one place: a look-up is then two visits to memory.
const SHORT: usize = 23;

/// Names of at most 64 bytes, numbered from 0, found through a keyed hash. The index is never iterated, so its layout
/// cannot show: what there is to see is the order of arrival.
///
/// A short name costs 24 bytes, its value, and about 14 bytes of index.
#[derive(Clone, Debug)]
pub(super) struct Names<T> {
    key: [u8; 16],
    /// The index in parts, each of which grows on its own, so that growing stays short work for the writer.
    parts: Vec<HashTable<Slot>>,
    entries: Vec<Entry<T>>,
    long: Vec<Box<[u8]>>,
}

/// One name in the index. Half of the hash is kept beside the place, so that a part that grows need not read the names
/// again.
#[derive(Clone, Copy, Debug)]
struct Slot {
    place: u32,
    hash: u32,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    len: u8,
    /// The name, or its place among the long ones.
    short: [u8; SHORT],
    value: T,
}

impl<T> Names<T> {
    /// No names. `parts` is a power of two.
    pub(super) fn new(key: [u8; 16], parts: usize) -> Self {
        Self { key, parts: vec![HashTable::new(); parts], entries: Vec::new(), long: Vec::new() }
    }

    /// How many names there are.
    pub(super) fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// The place of `name`, if known.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hash(name.as_bytes());
        let wanted = |slot: &Slot| slot.hash == hash as u32 && self.bytes(slot.place) == name.as_bytes();
        Some(self.parts[self.part(hash)].find(spread(hash as u32), wanted)?.place)
    }

    /// The name at `place`.
    pub(super) fn name(&self, place: u32) -> &str {
        core::str::from_utf8(self.bytes(place)).expect("only whole names are stored")
    }

    pub(super) fn bytes(&self, place: u32) -> &[u8] {
        let Entry { len, short, .. } = &self.entries[place as usize];
        match short.get(..usize::from(*len)) {
            Some(name) => name,
            None => {
                let place = u32::from_le_bytes(core::array::from_fn(|i| short[i]));
                &self.long[place as usize]
            }
        }
    }

    /// The value of the name at `place`.
    pub(super) fn value(&self, place: u32) -> &T {
        &self.entries[place as usize].value
    }

    /// The value of the name at `place`.
    pub(super) fn value_mut(&mut self, place: u32) -> &mut T {
        &mut self.entries[place as usize].value
    }

    /// Adds a name that is not known. Its place.
    pub(super) fn add(&mut self, name: &str, value: T) -> u32 {
        let bytes = name.as_bytes();
        let hash = self.hash(bytes);
        let place = self.len();
        assert!(place < u32::MAX && bytes.len() <= 255, "limits are checked before names are added");
        let slot = Slot { place, hash: hash as u32 };
        let part = self.part(hash);
        self.parts[part].insert_unique(spread(slot.hash), slot, |slot| spread(slot.hash));
        let mut short = [0; SHORT];
        match short.get_mut(..bytes.len()) {
            Some(short) => short.copy_from_slice(bytes),
            None => {
                short[..4].copy_from_slice(&(self.long.len() as u32).to_le_bytes());
                self.long.push(bytes.into());
            }
        }
        self.entries.push(Entry { len: bytes.len() as u8, short, value });
        place
    }

    /// A keyed hash of any text, for digests.
    pub(super) fn hash(&self, text: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(text);
        hasher.finish()
    }

    fn part(&self, hash: u64) -> usize {
        // Of the upper half: the table of the part uses the lower.
        (hash >> 40) as usize & (self.parts.len() - 1)
    }
}

/// The hash that a part's table works with: it uses the lowest bits and the top 7.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again_long_or_short() {
        let mut names = Names::new([7; 16], 4);
        let name = |i: u32| format!("n{i}{}", "x".repeat(i as usize % 60));
        for i in 0..10_000 {
            assert_eq!((names.find(&name(i)), names.add(&name(i), i)), (None, i));
        }
        for i in 0..10_000 {
            assert_eq!((names.find(&name(i)), names.name(i), *names.value(i)), (Some(i), &*name(i), i));
        }
        assert_eq!(names.find("nobody"), None);
    }
}
