//! All accounts, in order of opening, found by number or by id.

use super::account::Account;
use crate::{AccountId, AccountNo};
use core::hash::Hasher;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// Index parts. Each grows on its own, so that growing stays short work for the writer.
const PARTS: usize = 256;
/// Accounts that lie side by side. Full runs never move, so that opening an account is always short work.
const ROWS_PER_RUN: usize = 1 << 12;
/// Bytes of an id that find room beside the balances.
const ID_BYTES_INLINE: usize = 23;
/// Instead of a length: the id is too long, and its place among the long ones stands in its room.
const LONG: u8 = u8::MAX;

/// The accounts. The index is never iterated, so its layout cannot show: what there is to see is the order of opening.
///
/// An account takes 64 bytes and about 14 bytes of index; if its id is longer than 23 bytes, that and 32 bytes more.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    key: [u8; 16],
    parts: Vec<HashTable<Slot>>,
    runs: Vec<Vec<Row>>,
    long: Vec<Box<str>>,
    count: u32,
}

/// One account in the index. Half of the hash is kept beside the place, so that a part that grows need not read the rows
/// again: they lie all over memory.
#[derive(Clone, Copy, Debug)]
struct Slot {
    place: u32,
    hash: u32,
}

/// One account. Balances and id share a line of the processor's cache: a transfer reads two accounts by their ids, and would
/// otherwise spend most of its time waiting for memory.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Row {
    account: Account,
    id_length: u8,
    id: [u8; ID_BYTES_INLINE],
}

const _: () = assert!(size_of::<Row>() == 64);
const _: () = assert!(crate::limits::ACCOUNT_ID_BYTES_MAX < LONG as usize);

impl Accounts {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self { key, parts: vec![HashTable::new(); PARTS], runs: Vec::new(), long: Vec::new(), count: 0 }
    }

    /// Makes room in the index for `count` accounts at once, so that reading a snapshot does not grow it step by step.
    pub(super) fn reserve(&mut self, count: usize) {
        // The parts are filled evenly, give or take a few percent.
        let each = count / PARTS + count / PARTS / 16;
        for part in &mut self.parts {
            part.reserve(each, |slot| spread(slot.hash));
        }
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// The number of the account `id`.
    pub(super) fn find(&self, id: &str) -> Option<AccountNo> {
        self.find_hashed(self.hash(id), id)
    }

    /// The hash that [`Self::find_hashed`] needs.
    pub(super) fn hash(&self, id: &str) -> u64 {
        hash(&self.key, id)
    }

    /// The number of the account `id`, which has this hash. Whoever looks for two accounts hashes both ids first: then the
    /// processor waits for memory once, not twice.
    pub(super) fn find_hashed(&self, hash: u64, id: &str) -> Option<AccountNo> {
        let wanted =
            |slot: &Slot| slot.hash == hash as u32 && self.id_bytes(self.row(slot.place)) == id.as_bytes();
        let slot = self.parts[part(hash)].find(spread(hash as u32), wanted)?;
        Some(AccountNo::new(slot.place + 1))
    }

    pub(super) fn get(&self, no: AccountNo) -> Option<&Account> {
        Some(&self.row(self.place(no)?).account)
    }

    pub(super) fn get_mut(&mut self, no: AccountNo) -> Option<&mut Account> {
        let place = self.place(no)? as usize;
        Some(&mut self.runs[place / ROWS_PER_RUN][place % ROWS_PER_RUN].account)
    }

    pub(super) fn id(&self, no: AccountNo) -> Option<&str> {
        let bytes = self.id_bytes(self.row(self.place(no)?));
        Some(core::str::from_utf8(bytes).expect("only whole ids are stored"))
    }

    /// Every account in order of opening, with its number and id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (AccountNo, &str, &Account)> {
        (1..).zip(self.runs.iter().flatten()).map(|(no, row)| {
            let id = core::str::from_utf8(self.id_bytes(row)).expect("only whole ids are stored");
            (AccountNo::new(no), id, &row.account)
        })
    }

    /// Adds an account under an id that is not there yet.
    pub(super) fn push(&mut self, id: &AccountId, account: Account) -> AccountNo {
        let (place, id) = (self.count, id.as_str());
        let mut row = Row { account, id_length: id.len() as u8, id: [0; ID_BYTES_INLINE] };
        if let Some(room) = row.id.get_mut(..id.len()) {
            room.copy_from_slice(id.as_bytes());
        } else {
            row.id_length = LONG;
            row.id[..4].copy_from_slice(&(self.long.len() as u32).to_le_bytes());
            self.long.push(id.into());
        }
        if (place as usize).is_multiple_of(ROWS_PER_RUN) {
            self.runs.push(Vec::with_capacity(ROWS_PER_RUN));
        }
        self.runs.last_mut().expect("pushed above when there was none").push(row);
        let hash = hash(&self.key, id);
        let slot = Slot { place, hash: hash as u32 };
        self.parts[part(hash)].insert_unique(spread(slot.hash), slot, |slot| spread(slot.hash));
        self.count += 1;
        AccountNo::new(self.count)
    }

    fn place(&self, no: AccountNo) -> Option<u32> {
        no.get().checked_sub(1).filter(|place| *place < self.count)
    }

    fn row(&self, place: u32) -> &Row {
        &self.runs[place as usize / ROWS_PER_RUN][place as usize % ROWS_PER_RUN]
    }

    fn id_bytes<'a>(&'a self, row: &'a Row) -> &'a [u8] {
        if row.id_length == LONG {
            let place = u32::from_le_bytes(core::array::from_fn(|i| row.id[i]));
            self.long[place as usize].as_bytes()
        } else {
            &row.id[..usize::from(row.id_length)]
        }
    }
}

fn hash(key: &[u8; 16], id: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(id.as_bytes());
    hasher.finish()
}

fn part(hash: u64) -> usize {
    // Of the upper half: the table of the part uses the lower.
    (hash >> 40) as usize % PARTS
}

/// The hash that a part's table works with: it uses the lowest bits and the top 7.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
