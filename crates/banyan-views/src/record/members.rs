//! The index from members to their coupons: sorted runs, merged little by little.
//!
//! A b-tree on the member would be written at a random place for every coupon, which costs ten times the coupon row
//! itself. So each transaction writes its own entries as one small sorted *run*, and runs of about the same size are
//! merged into larger ones, as in a log-structured merge tree: every entry is written a few times, always in large
//! sequential pieces.
//!
//! A run of `entries` entries is a table hashed by member: 2^`bits` pages, the page number being the upper bits of the
//! member's hash, each page a sorted array. So a lookup reads one page of each run, and a merge goes page by page. A
//! merge moves pages: in one transaction it writes pages of the new run and deletes the same members' pages of the old
//! ones. Every entry is in exactly one run at any time, so a reader just looks into all of them, and a crash or a
//! rolled-back transaction leaves the merge where it was.

use banyan_domain::MemberId;
use core::hash::Hasher;
use rusqlite::{Connection, OptionalExtension};
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;

/// Runs of one size class that start a merge while coupons come in, and while nothing else is to do.
const RUNS_BUSY: usize = 16;
const RUNS_IDLE: usize = 4;
/// A size class is this much larger than the one before (as a power of two).
const CLASS_BITS: u32 = 3;
/// Entries of a page, on average: between half of this and this.
const PAGE_ENTRIES: u64 = 192;
/// Bits of a page id that number the page within its run.
const PAGE_BITS: u32 = 24;
/// Merge work for each new entry, so that merges keep pace: each entry is merged three or four times in its life.
const MERGE_PER_ENTRY: u64 = 5;
/// Entries merged by one pair of statements, on average.
const MERGE_STEP: u64 = 8_192;
/// Entries merged in one go while nothing else is to do, about ten milliseconds.
const MERGE_IDLE: u64 = 100_000;

/// Stored size of an [`Entry`]: hash 4 bytes, seq 6, coupon 8, big-endian, so that bytes order as entries do.
const ENTRY_BYTES: usize = 18;

/// One coupon of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Upper 32 bits of the member's keyed hash. Two members may share it: the coupon's row tells them apart.
    pub hash: u32,
    /// The event that issued the coupon.
    pub seq: u64,
    /// The coupon's number.
    pub coupon: u64,
}

/// The hash of a member under the store's key.
pub(crate) fn hash(key: &[u8; 16], member: &MemberId) -> u32 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(member.as_str().as_bytes());
    (hasher.finish() >> 32) as u32
}

/// The runs there are. Kept in memory and in `member_run`; pages only in `member_page`.
#[derive(Debug, Default)]
pub(crate) struct MemberIndex {
    runs: BTreeMap<i64, Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    bits: u32,
    entries: u64,
    /// The run it is being merged into.
    merged_into: Option<i64>,
    /// While runs are being merged into this one: how many of the coarsest run's pages are done.
    merged_pages: u64,
}

impl Run {
    fn class(&self) -> u32 {
        self.entries.max(1).ilog2() / CLASS_BITS
    }
}

impl MemberIndex {
    /// Reads which runs there are.
    pub(crate) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut read = db.prepare("SELECT run, bits, entries, merged_into, merged_pages FROM member_run")?;
        let runs = read.query_map([], |row| {
            let run = Run {
                bits: row.get(1)?,
                entries: row.get::<_, i64>(2)? as u64,
                merged_into: row.get(3)?,
                merged_pages: row.get::<_, i64>(4)? as u64,
            };
            Ok((row.get(0)?, run))
        })?;
        Ok(Self { runs: runs.collect::<rusqlite::Result<_>>()? })
    }

    /// Stores `entries` as a new run, and does a share of the merging. Part of the caller's transaction.
    pub(crate) fn add(&mut self, db: &Connection, entries: &mut [Entry]) -> rusqlite::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        entries.sort_unstable();
        let (id, bits) = self.create(db, entries.len() as u64)?;
        let mut pages = PageWriter::new(db, id, bits)?;
        for entry in entries.iter() {
            pages.push(*entry)?;
        }
        pages.finish()?;
        self.merge(db, RUNS_BUSY, entries.len() as u64 * MERGE_PER_ENTRY)?;
        Ok(())
    }

    /// Merges a little while nothing else is to do. True if there is more. Part of the caller's transaction.
    pub(crate) fn tidy(&mut self, db: &Connection) -> rusqlite::Result<bool> {
        self.merge(db, RUNS_IDLE, MERGE_IDLE)
    }

    /// Whether [`Self::tidy`] would find something to do.
    pub(crate) fn is_untidy(&self) -> bool {
        self.unfinished().is_some() || self.crowded(RUNS_IDLE).is_some()
    }

    /// Does at least `budget` entries' worth of merging, if there is that much. True if there is more.
    fn merge(&mut self, db: &Connection, runs_max: usize, budget: u64) -> rusqlite::Result<bool> {
        let mut left = budget;
        while left > 0 {
            // Small merges first: they keep the number of runs down for the least work.
            if let Some(class) = self.crowded(runs_max) {
                self.begin_merge(db, class)?;
            }
            let Some(target) = self.unfinished() else { return Ok(false) };
            left = self.merge_into(db, target, left)?;
        }
        Ok(self.unfinished().is_some() || self.crowded(runs_max).is_some())
    }

    /// The smallest merge under way.
    fn unfinished(&self) -> Option<i64> {
        let targets = self.runs.values().filter_map(|run| run.merged_into);
        targets.min_by_key(|target| self.runs.get(target).map(|run| run.entries))
    }

    /// The smallest size class with `runs_max` runs at rest.
    fn crowded(&self, runs_max: usize) -> Option<u32> {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, run) in self.runs.iter().filter(|(id, _)| self.is_at_rest(**id)) {
            *counts.entry(run.class()).or_default() += 1;
        }
        counts.into_iter().find(|(_, count)| *count >= runs_max).map(|(class, _)| class)
    }

    fn is_at_rest(&self, id: i64) -> bool {
        let is_source = self.runs.get(&id).is_some_and(|run| run.merged_into.is_some());
        !is_source && !self.runs.values().any(|run| run.merged_into == Some(id))
    }

    fn begin_merge(&mut self, db: &Connection, class: u32) -> rusqlite::Result<()> {
        let chosen = |index: &Self| -> Vec<i64> {
            let all = index.runs.iter().filter(|(id, run)| run.class() == class && index.is_at_rest(**id));
            all.map(|(id, _)| *id).collect()
        };
        let sources = chosen(self);
        let entries = sources.iter().filter_map(|id| self.runs.get(id)).map(|run| run.entries).sum();
        let (target, _) = self.create(db, entries)?;
        let mut mark = db.prepare_cached("UPDATE member_run SET merged_into = ?2 WHERE run = ?1")?;
        for source in sources {
            mark.execute([source, target])?;
            self.runs.entry(source).and_modify(|run| run.merged_into = Some(target));
        }
        Ok(())
    }

    /// Merges pages into `target` until `budget` is used up or the merge is done; the rest of the budget.
    fn merge_into(&mut self, db: &Connection, target: i64, mut budget: u64) -> rusqlite::Result<u64> {
        let sources: Vec<(i64, u32)> = self
            .runs
            .iter()
            .filter(|(_, run)| run.merged_into == Some(target))
            .map(|(id, run)| (*id, run.bits))
            .collect();
        let run = self.runs[&target];
        let coarsest = sources.iter().map(|(_, bits)| *bits).min().unwrap_or(0);
        let (mut page, pages) = (run.merged_pages, 1 << coarsest);
        let mut bytes = Vec::new();
        let mut read = db.prepare_cached("SELECT entries FROM member_page WHERE id BETWEEN ?1 AND ?2")?;
        let mut delete = db.prepare_cached("DELETE FROM member_page WHERE id BETWEEN ?1 AND ?2")?;
        let mut writer = PageWriter::new(db, target, run.bits)?;
        let mut entries: Vec<Entry> = Vec::new();
        // Several pages at once, so that the statements cost little beside the entries they move.
        let at_once = (MERGE_STEP * pages / run.entries.max(1)).max(1);
        while page < pages && budget > 0 {
            let end = (page + at_once).min(pages);
            entries.clear();
            for &(source, bits) in &sources {
                let first = page_id(source, page << (bits - coarsest));
                let last = page_id(source, (end << (bits - coarsest)) - 1);
                bytes.clear();
                let mut rows = read.query([first, last])?;
                while let Some(row) = rows.next()? {
                    bytes.extend_from_slice(row.get_ref(0)?.as_blob()?);
                }
                drop(rows);
                entries.extend(decode(&bytes));
                delete.execute([first, last])?;
            }
            // Sorted pieces one after another: what the standard stable sort finds and merges.
            entries.sort();
            for entry in &entries {
                writer.push(*entry)?;
            }
            // The target is at least as fine as the coarsest source, so this ends one of its pages too.
            writer.finish()?;
            budget = budget.saturating_sub(entries.len().max(16) as u64);
            page = end;
        }
        if page == pages {
            for (source, _) in sources {
                db.prepare_cached("DELETE FROM member_run WHERE run = ?1")?.execute([source])?;
                self.runs.remove(&source);
            }
            page = 0;
        }
        let mut note = db.prepare_cached("UPDATE member_run SET merged_pages = ?2 WHERE run = ?1")?;
        note.execute([target, page as i64])?;
        self.runs.entry(target).and_modify(|run| run.merged_pages = page);
        Ok(budget)
    }

    /// A new run for `entries` entries: its id and bits.
    fn create(&mut self, db: &Connection, entries: u64) -> rusqlite::Result<(i64, u32)> {
        let id = self.runs.last_key_value().map_or(1, |(id, _)| id + 1);
        let bits = entries.div_ceil(PAGE_ENTRIES).next_power_of_two().ilog2().min(PAGE_BITS);
        db.prepare_cached("INSERT INTO member_run (run, bits, entries) VALUES (?1, ?2, ?3)")?.execute([
            id,
            i64::from(bits),
            entries as i64,
        ])?;
        self.runs.insert(id, Run { bits, entries, merged_into: None, merged_pages: 0 });
        Ok((id, bits))
    }

    /// How many runs there are: what a lookup costs.
    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }
}

/// Every coupon number that may belong to the member with `hash`, with the seq of its issue, beyond seq `after`, in order
/// of seq. Reads through `db`'s current transaction, with no need of anything in memory.
pub(crate) fn find(db: &Connection, hash: u32, after: u64) -> rusqlite::Result<Vec<Entry>> {
    let mut read = db.prepare_cached(
        "SELECT p.entries FROM member_run r JOIN member_page p ON p.id = (r.run << 24) | (?1 >> (32 - r.bits))",
    )?;
    let mut rows = read.query([i64::from(hash)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let page = row.get_ref(0)?.as_blob()?;
        let (chunks, _) = page.as_chunks::<ENTRY_BYTES>();
        let first = chunks
            .partition_point(|bytes| Entry::from_bytes(bytes) < Entry { hash, seq: after + 1, coupon: 0 });
        let entries = chunks[first..].iter().map(Entry::from_bytes);
        found.extend(entries.take_while(|entry| entry.hash == hash));
    }
    found.sort_unstable();
    Ok(found)
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.hash.to_be_bytes());
        bytes[4..10].copy_from_slice(&self.seq.to_be_bytes()[2..]);
        bytes[10..].copy_from_slice(&self.coupon.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let [h0, h1, h2, h3, s0, s1, s2, s3, s4, s5, coupon @ ..] = *bytes;
        Self {
            hash: u32::from_be_bytes([h0, h1, h2, h3]),
            seq: u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]),
            coupon: u64::from_be_bytes(coupon),
        }
    }
}

fn decode(page: &[u8]) -> impl Iterator<Item = Entry> {
    page.as_chunks::<ENTRY_BYTES>().0.iter().map(Entry::from_bytes)
}

fn page_id(run: i64, page: u64) -> i64 {
    run << PAGE_BITS | page as i64
}

/// Writes sorted entries as the pages of a run.
struct PageWriter<'db> {
    insert: rusqlite::CachedStatement<'db>,
    run: i64,
    bits: u32,
    page: Option<u64>,
    bytes: Vec<u8>,
}

impl<'db> PageWriter<'db> {
    fn new(db: &'db Connection, run: i64, bits: u32) -> rusqlite::Result<Self> {
        let insert = db.prepare_cached("INSERT INTO member_page (id, entries) VALUES (?1, ?2)")?;
        Ok(Self { insert, run, bits, page: None, bytes: Vec::new() })
    }

    fn push(&mut self, entry: Entry) -> rusqlite::Result<()> {
        let page = u64::from(entry.hash) >> (32 - self.bits);
        if self.page != Some(page) {
            self.finish()?;
            self.page = Some(page);
        }
        self.bytes.extend_from_slice(&entry.to_bytes());
        Ok(())
    }

    /// Stores the page at hand.
    fn finish(&mut self) -> rusqlite::Result<()> {
        if let Some(page) = self.page.take() {
            self.insert.execute(rusqlite::params![page_id(self.run, page), self.bytes])?;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// Entries of every page there is: for checks.
pub(crate) fn count(db: &Connection) -> rusqlite::Result<u64> {
    let mut read = db.prepare("SELECT coalesce(sum(length(entries)), 0) FROM member_page")?;
    let bytes: Option<i64> = read.query_row([], |row| row.get(0)).optional()?;
    Ok(bytes.unwrap_or(0) as u64 / ENTRY_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn memory() -> Connection {
        let db = Connection::open_in_memory().expect("memory");
        db.execute_batch(include_str!("schema.sql")).expect("the schema is valid");
        db
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Every size of run, merges under way, and memory read back from the file at any point.
        #[test]
        fn lookups_equal_a_naive_model(
            sizes in prop::collection::vec(prop_oneof![3 => 1..40_usize, 1 => 200..900_usize], 1..60),
            members in 1..400_u64,
            tidy_every in 1..9_usize,
        ) {
            let db = memory();
            let mut index = MemberIndex::default();
            let mut model: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
            let mut seq = 0;
            for (round, size) in sizes.into_iter().enumerate() {
                let mut entries: Vec<Entry> = (0..size as u64)
                    .map(|i| {
                        seq += 1;
                        let hash = ((seq * 7 + i * 31) % members).wrapping_mul(0x9e37_79b9) as u32;
                        Entry { hash, seq, coupon: 1 << 40 | seq }
                    })
                    .collect();
                entries.iter().for_each(|entry| model.entry(entry.hash).or_default().push(*entry));
                index.add(&db, &mut entries).expect("adds");
                if round % tidy_every == 0 {
                    index.merge(&db, RUNS_IDLE, 300).expect("merges");
                    index = MemberIndex::load(&db).expect("loads");
                }
                if round % 7 == 0 {
                    prop_assert_eq!(count(&db).expect("counts"), seq);
                }
            }
            let look = |after| model.iter().all(|(hash, entries)| {
                let expected: Vec<Entry> = entries.iter().copied().filter(|entry| entry.seq > after).collect();
                find(&db, *hash, after).expect("finds") == expected
            });
            prop_assert!(look(0) && look(seq / 2) && look(seq));
            while index.tidy(&db).expect("tidies") {}
            prop_assert!(look(0));
            prop_assert!(!index.is_untidy());
            prop_assert_eq!(find(&db, 12_345, 0).expect("finds").len(), model.get(&12_345).map_or(0, Vec::len));
        }
    }

    #[test]
    fn many_small_runs_are_merged_into_few() {
        let db = memory();
        let mut index = MemberIndex::default();
        for seq in 1..=5_000_u64 {
            let hash = (seq as u32).wrapping_mul(0x9e37_79b9);
            index.add(&db, &mut [Entry { hash, seq, coupon: seq }]).expect("adds");
        }
        assert!(index.runs() < 90, "{} runs", index.runs());
        while index.tidy(&db).expect("tidies") {}
        assert!(index.runs() < 25, "{} runs", index.runs());
        assert_eq!(count(&db).expect("counts"), 5_000);
    }
}
