//! The ledger's section of a snapshot: columns of little-endian numbers, each length before its bytes.
//!
//! Layout: version, the next transfer's number, the counts of accounts, holds and refundable transfers (8 bytes each);
//! then the rows. Sums, deadlines, the index and the digest are made anew.

use super::account::{Account, Rule};
use super::event::OpenedAccount;
use super::rows::{Hold, Refundable};
use super::state::Ledger;
use crate::limits;
use crate::{AccountId, AccountNo, Currency, SnapshotError, Timestamp, TransferNo};

const VERSION: u64 = 1;
/// An account's row after its id: four balances, currency, rule.
const ACCOUNT_BYTES: usize = 4 * 8 + 3 + 1;
/// The row of a hold, or of a refundable transfer.
const TRANSFER_BYTES: usize = 5 * 8;
/// The least that an account takes: a row, the length of its id, and one byte of that.
const ACCOUNT_BYTES_MIN: usize = ACCOUNT_BYTES + 2;

impl Ledger {
    /// Appends the state to a snapshot.
    pub fn write_snapshot(&self, out: &mut Vec<u8>) {
        let counts = [self.accounts.count() as usize, self.holds.len(), self.refundables.len()];
        out.reserve(64 + counts[0] * (ACCOUNT_BYTES + 24) + (counts[1] + counts[2]) * TRANSFER_BYTES);
        put(out, VERSION);
        put(out, self.next.get());
        counts.into_iter().for_each(|count| put(out, count as u64));
        for (_, id, account) in self.accounts.iter() {
            // Fits: a longer id is none.
            out.push(id.len() as u8);
            out.extend_from_slice(id.as_bytes());
            let Account { debits_posted, credits_posted, debits_pending, credits_pending, .. } = *account;
            for amount in [debits_posted, credits_posted, debits_pending, credits_pending] {
                put(out, amount as u64);
            }
            out.extend_from_slice(account.currency.as_str().as_bytes());
            out.push(account.rule as u8);
        }
        for (no, hold) in &self.holds {
            let accounts = pair(hold.debit, hold.credit);
            let words = [no.get(), accounts, hold.amount as u64, hold.left as u64, hold.until.as_millis()];
            words.into_iter().for_each(|word| put(out, word));
        }
        for row in self.refundables.iter() {
            let accounts = pair(row.debit, row.credit);
            let words = [row.no.get(), accounts, row.amount as u64, row.refunded as u64, row.at.as_millis()];
            words.into_iter().for_each(|word| put(out, word));
        }
    }

    /// Reads a state back from the beginning of `bytes`, and leaves what follows it. `key` is as in [`Self::new`].
    ///
    /// # Errors
    /// [`SnapshotError`] if they are not what [`Self::write_snapshot`] wrote, or hold a state that breaks an invariant.
    pub fn read_snapshot(bytes: &mut &[u8], key: [u8; 16]) -> Result<Self, SnapshotError> {
        let mut input = Input { bytes };
        let version = input.word("the ledger's version")?;
        if version != VERSION {
            return Err(SnapshotError::Version(u32::try_from(version).unwrap_or(u32::MAX)));
        }
        let mut ledger = Self::new(key);
        let next = input.word("the next transfer")?;
        if next == 0 || next > limits::TRANSFER_NO_MAX {
            return Err(SnapshotError::Malformed("the next transfer"));
        }
        ledger.next = TransferNo::new(next);
        let [accounts, holds, refundables] = [input.word(COUNTS)?, input.word(COUNTS)?, input.word(COUNTS)?];
        // A damaged count must not make us ask for memory that is not there.
        let room = usize::try_from(accounts).unwrap_or(usize::MAX).min(input.bytes.len() / ACCOUNT_BYTES_MIN);
        ledger.accounts.reserve(room);
        for _ in 0..accounts {
            input.account(&mut ledger)?;
        }
        for _ in 0..holds {
            let (no, hold) = input.hold()?;
            if ledger.holds.last_key_value().is_some_and(|(last, _)| *last >= no) {
                return Err(SnapshotError::Malformed("holds are out of order"));
            }
            ledger.deadlines.insert((hold.until, no));
            ledger.holds.insert(no, hold);
        }
        for _ in 0..refundables {
            ledger.refundables.push_back(input.refundable()?);
        }
        ledger.totals = ledger.recount();
        ledger.digest = ledger.recompute_rows();
        let whole = ledger.check_invariants();
        whole.map_err(|_| SnapshotError::Malformed("the ledger breaks an invariant"))?;
        Ok(ledger)
    }
}

const COUNTS: &str = "the ledger's counts";

struct Input<'a, 'b> {
    bytes: &'a mut &'b [u8],
}

impl<'b> Input<'_, 'b> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'b [u8], SnapshotError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(SnapshotError::Malformed(what))?;
        *self.bytes = rest;
        Ok(taken)
    }

    fn word(&mut self, what: &'static str) -> Result<u64, SnapshotError> {
        let bytes = self.take(8, what)?;
        Ok(u64::from_le_bytes(core::array::from_fn(|i| bytes[i])))
    }

    fn amount(&mut self, what: &'static str) -> Result<i64, SnapshotError> {
        Ok(self.word(what)? as i64)
    }

    fn instant(&mut self, what: &'static str) -> Result<Timestamp, SnapshotError> {
        match self.word(what)? {
            millis @ 0..=limits::TIMESTAMP_MILLIS_MAX => Ok(Timestamp::from_millis(millis)),
            _ => Err(SnapshotError::Malformed(what)),
        }
    }

    fn pair(&mut self, what: &'static str) -> Result<(AccountNo, AccountNo), SnapshotError> {
        let word = self.word(what)?;
        Ok((AccountNo::new((word >> 32) as u32), AccountNo::new(word as u32)))
    }

    fn account(&mut self, ledger: &mut Ledger) -> Result<(), SnapshotError> {
        const WHAT: &str = "an account";
        const MALFORMED: SnapshotError = SnapshotError::Malformed(WHAT);
        let len = usize::from(self.take(1, WHAT)?[0]);
        let id = core::str::from_utf8(self.take(len, WHAT)?).map_err(|_| MALFORMED)?;
        let id = AccountId::new(id).map_err(|_| MALFORMED)?;
        let [debits_posted, credits_posted] = [self.amount(WHAT)?, self.amount(WHAT)?];
        let [debits_pending, credits_pending] = [self.amount(WHAT)?, self.amount(WHAT)?];
        let code = core::str::from_utf8(self.take(3, WHAT)?).map_err(|_| MALFORMED)?;
        let currency = Currency::new(code).map_err(|_| MALFORMED)?;
        let rule = Rule::from_u8(self.take(1, WHAT)?[0]).ok_or(MALFORMED)?;
        if ledger.accounts.find(id.as_str()).is_some() || ledger.accounts_count() >= ledger.accounts_max {
            return Err(SnapshotError::Malformed("an account stands twice, or there are too many"));
        }
        let no = AccountNo::new(ledger.accounts_count() + 1);
        ledger.put_new_account(&OpenedAccount { no, id, currency, rule });
        let account = ledger.accounts.get_mut(no).expect("it was put there");
        *account = Account { debits_posted, credits_posted, debits_pending, credits_pending, currency, rule };
        Ok(())
    }

    fn hold(&mut self) -> Result<(TransferNo, Hold), SnapshotError> {
        const WHAT: &str = "a hold";
        let no = TransferNo::new(self.word(WHAT)?);
        let (debit, credit) = self.pair(WHAT)?;
        let (amount, left) = (self.amount(WHAT)?, self.amount(WHAT)?);
        Ok((no, Hold { debit, credit, amount, left, until: self.instant(WHAT)? }))
    }

    fn refundable(&mut self) -> Result<Refundable, SnapshotError> {
        const WHAT: &str = "a refundable transfer";
        let no = TransferNo::new(self.word(WHAT)?);
        let (debit, credit) = self.pair(WHAT)?;
        let (amount, refunded) = (self.amount(WHAT)?, self.amount(WHAT)?);
        Ok(Refundable { no, debit, credit, amount, refunded, at: self.instant(WHAT)? })
    }
}

fn pair(debit: AccountNo, credit: AccountNo) -> u64 {
    u64::from(debit.get()) << 32 | u64::from(credit.get())
}

fn put(out: &mut Vec<u8>, word: u64) {
    out.extend_from_slice(&word.to_le_bytes());
}
