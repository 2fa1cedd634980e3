//! The members that one campaign knows: those on its allow-list and those who hold its coupons.

mod restore;

use crate::digest;
use crate::{CampaignNo, limits};
use core::hash::Hasher;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

pub(crate) use restore::WrittenMembers;

/// Index parts. Each grows on its own, so that growing stays short work for the writer: at ten million members a part
/// holds about 40,000.
const PARTS: usize = 256;
/// Members whose ids share one run of bytes.
const MEMBERS_PER_CHUNK: usize = 1 << 16;

/// Members in order of first sight, found by id through a keyed hash. The index is never iterated, so its layout cannot
/// show: what there is to see is the order of arrival.
///
/// A member costs 8 bytes, its id, and about 14 bytes of index.
#[derive(Clone, Debug)]
pub struct MemberTable {
    key: [u8; 16],
    parts: Vec<HashTable<Slot>>,
    ids: Ids,
    latest: Vec<u32>,
}

/// One member in the index. Half of the hash is kept beside the place, so that a part that grows need not read the ids
/// again: they lie all over memory, and all parts grow at about the same time.
#[derive(Clone, Copy, Debug)]
struct Slot {
    place: u32,
    hash: u32,
}

/// The ids, end to end.
#[derive(Clone, Debug, Default)]
struct Ids {
    starts: Vec<u32>,
    chunks: Vec<Vec<u8>>,
}

impl MemberTable {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key, parts: vec![HashTable::new(); PARTS], ids: Ids::default(), latest: Vec::new() }
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.latest.len() as u32
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }

    /// The place of the member `id`, if known.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<u32> {
        let hash = hash(&self.key, id.as_bytes());
        let wanted = |slot: &Slot| slot.hash == hash as u32 && self.ids.get(slot.place) == id.as_bytes();
        Some(self.parts[part(hash)].find(spread(hash as u32), wanted)?.place)
    }

    /// The id of the member at `place`.
    #[must_use]
    pub fn id(&self, place: u32) -> &str {
        core::str::from_utf8(self.ids.get(place)).expect("only whole ids are stored")
    }

    /// The number of the latest coupon of the member at `place`; 0 if it has none.
    #[must_use]
    pub fn latest(&self, place: u32) -> u32 {
        self.latest[place as usize]
    }

    /// The place of the member `id`, which is added if unknown, and whether it was added.
    pub(crate) fn find_or_add(&mut self, id: &str) -> (u32, bool) {
        let hash = self::hash(&self.key, id.as_bytes());
        let ids = &self.ids;
        let wanted = |slot: &Slot| slot.hash == hash as u32 && ids.get(slot.place) == id.as_bytes();
        let entry = self.parts[part(hash)].entry(spread(hash as u32), wanted, |slot| spread(slot.hash));
        match entry {
            hashbrown::hash_table::Entry::Occupied(found) => (found.get().place, false),
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                let place = self.latest.len() as u32;
                assert!(
                    u64::from(place) < limits::MEMBERS_PER_CAMPAIGN_MAX,
                    "decide refuses members beyond the limit"
                );
                vacant.insert(Slot { place, hash: hash as u32 });
                self.ids.push(id.as_bytes());
                self.latest.push(0);
                (place, true)
            }
        }
    }

    pub(crate) fn set_latest(&mut self, place: u32, n: u32) {
        self.latest[place as usize] = n;
    }

    /// Replaces the numbers of the members' latest coupons, one for each.
    pub(crate) fn set_all_latest(&mut self, latest: Vec<u32>) {
        assert_eq!(latest.len(), self.ids.starts.len(), "every member has a latest coupon, or 0");
        self.latest = latest;
    }

    pub(crate) fn digest(&self, campaign: CampaignNo, place: u32) -> u128 {
        row_digest(campaign, place, hash(&self.key, self.ids.get(place)))
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let index: usize = self.parts.iter().map(|part| part.capacity() * 8 / 7 * 9).sum();
        index + self.ids.chunks.iter().map(Vec::len).sum::<usize>() + self.latest.len() * 8
    }
}

impl Ids {
    fn get(&self, place: u32) -> &[u8] {
        let place = place as usize;
        let chunk = &self.chunks[place / MEMBERS_PER_CHUNK];
        let start = self.starts[place] as usize;
        let next_starts_chunk = (place + 1).is_multiple_of(MEMBERS_PER_CHUNK);
        let end = match self.starts.get(place + 1) {
            Some(&next) if !next_starts_chunk => next as usize,
            _ => chunk.len(),
        };
        &chunk[start..end]
    }

    fn push(&mut self, id: &[u8]) {
        if self.starts.len().is_multiple_of(MEMBERS_PER_CHUNK) {
            if let Some(full) = self.chunks.last_mut() {
                full.shrink_to_fit();
            }
            self.chunks.push(Vec::new());
        }
        let chunk = self.chunks.last_mut().expect("pushed above when there was none");
        self.starts.push(chunk.len() as u32);
        chunk.extend_from_slice(id);
    }
}

fn hash(key: &[u8; 16], id: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(id);
    hasher.finish()
}

/// The digest of the member at `place`, from the hash of its id.
fn row_digest(campaign: CampaignNo, place: u32, id: u64) -> u128 {
    digest::row(&[5, u64::from(campaign.get()), u64::from(place), id])
}

fn part(hash: u64) -> usize {
    // Of the upper half: the table of the part uses the lower.
    (hash >> 40) as usize % PARTS
}

/// The hash that a part's table works with: it uses the lowest bits and the top 7.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_found_again_across_chunks() {
        let mut table = MemberTable::new([7; 16]);
        let count = MEMBERS_PER_CHUNK as u32 * 2 + 10;
        for i in 0..count {
            assert_eq!(table.find_or_add(&format!("m{i}")), (i, true));
        }
        for i in 0..count {
            let id = format!("m{i}");
            assert_eq!(table.find(&id), Some(i));
            assert_eq!(table.id(i), id);
            assert_eq!(table.find_or_add(&id), (i, false));
        }
        assert_eq!(table.find("nobody"), None);
    }
}
