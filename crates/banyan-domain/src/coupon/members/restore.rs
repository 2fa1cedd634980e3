//! Putting back millions of members at once, from the bytes of a snapshot.
//!
//! Adding them one by one would jump through the whole index for each, and wait for memory every time. So it goes in three
//! passes: find where the ids lie; take them over in order, and sort what goes into the index by part; fill part after
//! part, each small enough for a core's cache. The second and the third pass can be done in halves side by side.

use super::{Ids, MEMBERS_PER_CHUNK, MemberTable, PARTS, Slot, hash, part, row_digest, spread};
use crate::{Both, CampaignNo, Digest, limits};

/// Members as a snapshot holds them: the length of each id in a byte, and the id. Cut into the runs that share a chunk.
pub(crate) struct WrittenMembers<'a> {
    runs: Vec<&'a [u8]>,
    count: usize,
}

/// A run of members taken over: what goes into the index, by part, and the digest of its members.
struct Sorted {
    parts: Vec<Vec<Slot>>,
    digest: Digest,
}

/// The places that one half of the members have in the columns.
struct Half<'a> {
    first: usize,
    starts: &'a mut [u32],
    chunks: &'a mut [Vec<u8>],
}

impl<'a> WrittenMembers<'a> {
    /// Finds the `count` members that `bytes` begin with, and gives back what follows them. None if there are fewer.
    pub(crate) fn split(bytes: &'a [u8], count: u64) -> Option<(Self, &'a [u8])> {
        // A member takes a byte at least: a damaged count must not make us ask for memory that is not there.
        let count = usize::try_from(count).ok().filter(|count| *count <= bytes.len())?;
        if count as u64 > limits::MEMBERS_PER_CAMPAIGN_MAX {
            return None;
        }
        let mut runs = Vec::with_capacity(count.div_ceil(MEMBERS_PER_CHUNK));
        let mut rest = bytes;
        for first in (0..count).step_by(MEMBERS_PER_CHUNK) {
            let mut at = 0;
            for _ in first..count.min(first + MEMBERS_PER_CHUNK) {
                at += 1 + usize::from(*rest.get(at)?);
            }
            let (run, after) = rest.split_at_checked(at)?;
            runs.push(run);
            rest = after;
        }
        Some((Self { runs, count }, rest))
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> u32 {
        self.count as u32
    }

    /// The table of these members, none of whom has a coupon yet, and the sum of their digests.
    ///
    /// # Errors
    /// What is wrong with them: an id is not text, or a member stands twice.
    pub(crate) fn restore(
        &self,
        key: [u8; 16],
        campaign: CampaignNo,
        work: &impl Both,
    ) -> Result<(MemberTable, Digest), &'static str> {
        let mut ids = Ids { starts: vec![0; self.count], chunks: vec![Vec::new(); self.runs.len()] };
        let middle = self.runs.len() / 2;
        let (early, late) = self.runs.split_at(middle);
        let first = middle * MEMBERS_PER_CHUNK;
        let (early_starts, late_starts) = ids.starts.split_at_mut(first);
        let (early_chunks, late_chunks) = ids.chunks.split_at_mut(middle);
        let early_half = Half { first: 0, starts: early_starts, chunks: early_chunks };
        let late_half = Half { first, starts: late_starts, chunks: late_chunks };
        let (early, late) = work.both(
            || early_half.take_over(early, &key, campaign),
            || late_half.take_over(late, &key, campaign),
        );
        let (early, late) = (early?, late?);
        let mut digest = early.digest;
        digest.add(late.digest.get());

        let mut table = MemberTable { ids, ..MemberTable::new(key) };
        let (ids, half) = (&table.ids, PARTS / 2);
        let sorted: Vec<_> = early.parts.into_iter().zip(late.parts).collect();
        let (low_parts, high_parts) = table.parts.split_at_mut(half);
        let (low, high) = sorted.split_at(half);
        let (low, high) = work.both(|| fill(low_parts, low, ids), || fill(high_parts, high, ids));
        low.and(high)?;
        Ok((table, digest))
    }
}

impl Half<'_> {
    /// Takes over the ids of `runs`, one chunk each.
    fn take_over(self, runs: &[&[u8]], key: &[u8; 16], campaign: CampaignNo) -> Result<Sorted, &'static str> {
        // The parts are filled evenly, give or take a few percent.
        let each = self.starts.len() / PARTS;
        let mut parts: Vec<Vec<Slot>> = vec![Vec::new(); PARTS];
        parts.iter_mut().for_each(|part| part.reserve_exact(each + each / 16));
        let mut digest = Digest::default();
        let mut place = self.first as u32;
        for ((run, chunk), starts) in
            runs.iter().zip(self.chunks).zip(self.starts.chunks_mut(MEMBERS_PER_CHUNK))
        {
            chunk.reserve_exact(run.len() - starts.len());
            let mut rest = *run;
            for start in starts {
                let (len, after) = rest.split_first().expect("split found the ends of every member");
                let (id, after) = after.split_at(usize::from(*len));
                rest = after;
                core::str::from_utf8(id).map_err(|_| "a member")?;
                *start = chunk.len() as u32;
                chunk.extend_from_slice(id);
                // Of what now stands in memory, because the digest is to speak for that.
                let hash = hash(key, &chunk[*start as usize..]);
                digest.add(row_digest(campaign, place, hash));
                parts[part(hash)].push(Slot { place, hash: hash as u32 });
                place += 1;
            }
        }
        Ok(Sorted { parts, digest })
    }
}

/// Fills `parts` with what was sorted for each of them.
fn fill(
    parts: &mut [hashbrown::HashTable<Slot>],
    sorted: &[(Vec<Slot>, Vec<Slot>)],
    ids: &Ids,
) -> Result<(), &'static str> {
    for (part, (early, late)) in parts.iter_mut().zip(sorted) {
        part.reserve(early.len() + late.len(), |slot| spread(slot.hash));
        for new in early.iter().chain(late) {
            let same = |slot: &Slot| slot.hash == new.hash && ids.get(slot.place) == ids.get(new.place);
            match part.entry(spread(new.hash), same, |slot| spread(slot.hash)) {
                hashbrown::hash_table::Entry::Occupied(_) => return Err("a member stands twice"),
                hashbrown::hash_table::Entry::Vacant(vacant) => vacant.insert(*new),
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InTurn;

    const KEY: [u8; 16] = [7; 16];
    const NO: CampaignNo = CampaignNo::new(3);

    fn written<'a>(ids: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for id in ids {
            bytes.push(id.len() as u8);
            bytes.extend_from_slice(id);
        }
        bytes
    }

    fn restored(bytes: &[u8], count: u64) -> Result<(MemberTable, Digest), &'static str> {
        let (members, rest) = WrittenMembers::split(bytes, count).ok_or("too short")?;
        assert!(rest.is_empty(), "{} bytes are left over", rest.len());
        let (mut table, digest) = members.restore(KEY, NO, &InTurn)?;
        table.set_all_latest(vec![0; members.len() as usize]);
        Ok((table, digest))
    }

    /// Ids of several lengths, none of them equal.
    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("member-{i}-{}", "é".repeat(i % 3))).collect()
    }

    #[test]
    fn a_restored_table_is_the_one_that_grew_member_by_member() {
        for count in [0, 1, 2, MEMBERS_PER_CHUNK, MEMBERS_PER_CHUNK + 1, 3 * MEMBERS_PER_CHUNK + 10] {
            let ids = ids(count);
            let bytes = written(ids.iter().map(String::as_bytes));
            let (table, digest) = restored(&bytes, count as u64).expect("they are sound");
            let mut grown = MemberTable::new(KEY);
            let mut grown_digest = Digest::default();
            for (place, id) in (0..).zip(&ids) {
                assert_eq!(grown.find_or_add(id), (place, true));
                grown_digest.add(grown.digest(NO, place));
                assert_eq!((table.find(id), table.id(place), table.latest(place)), (Some(place), &**id, 0));
            }
            assert_eq!(digest, grown_digest, "{count} members");
            assert_eq!((table.ids.starts, &table.ids.chunks), (grown.ids.starts, &grown.ids.chunks));
        }
    }

    #[test]
    fn a_restored_table_grows_on() {
        let ids = ids(MEMBERS_PER_CHUNK + 5);
        let bytes = written(ids.iter().map(String::as_bytes));
        let (mut table, _) = restored(&bytes, ids.len() as u64).expect("they are sound");
        assert_eq!(table.find("somebody else"), None);
        for place in table.len()..3 * MEMBERS_PER_CHUNK as u32 {
            assert_eq!(table.find_or_add(&format!("new-{place}")), (place, true));
        }
        for (place, id) in (0..).zip(&ids) {
            assert_eq!(table.find_or_add(id), (place, false));
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_refused_wherever_it_stands() {
        let count = 3 * MEMBERS_PER_CHUNK + 10;
        let ids = ids(count);
        for (first, again) in
            [(0, 1), (5, count - 1), (MEMBERS_PER_CHUNK - 1, MEMBERS_PER_CHUNK), (count - 2, count - 1)]
        {
            let mut ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
            ids[again] = ids[first];
            let refused = restored(&written(ids), count as u64).err();
            assert_eq!(refused, Some("a member stands twice"), "{first} and {again}");
        }
    }

    #[test]
    fn ids_that_are_no_text_and_counts_that_are_not_there_are_refused() {
        assert_eq!(restored(&written([&b"a\xff"[..]]), 1).err(), Some("a member"));
        // Each half of a letter on its own is no text, even where the two lie side by side in memory.
        assert_eq!(restored(&written([&b"a\xc3"[..], &b"\xa9b"[..]]), 2).err(), Some("a member"));
        let bytes = written([&b"m1"[..], &b"m2"[..]]);
        for count in [3, 7, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(restored(&bytes, count).err(), Some("too short"), "{count}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(restored(&bytes[..cut], 2).err(), Some("too short"), "cut to {cut} bytes");
        }
    }
}
