//! The ledger's state: accounts, holds, and what may be refunded.

use super::account::{Account, id_digest};
use super::accounts::Accounts;
use super::refundables::Refundables;
use super::rows::{Hold, Refundable};
use crate::digest::{self, Digest};
use crate::limits;
use crate::{AccountId, AccountNo, Currency, Timestamp, TransferNo};
use std::collections::{BTreeMap, BTreeSet};

/// The state of the pay capability. About 100 bytes an account with its id, 150 a hold, 40 a refundable transfer.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) accounts: Accounts,
    pub(super) holds: BTreeMap<TransferNo, Hold>,
    pub(super) refundables: Refundables,
    /// The number of the next transfer.
    pub(super) next: TransferNo,
    pub(super) totals: BTreeMap<Currency, Totals>,
    pub(super) deadlines: BTreeSet<(Timestamp, TransferNo)>,
    /// Of accounts, holds and refundable transfers.
    pub(super) digest: Digest,
    /// Lowered by tests alone.
    pub(super) accounts_max: u32,
}

/// The sums over all accounts of one currency. Debits equal credits, or the ledger is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Posted debits.
    pub debits_posted: i128,
    /// Posted credits.
    pub credits_posted: i128,
    /// Debits on hold.
    pub debits_pending: i128,
    /// Credits on hold.
    pub credits_pending: i128,
}

impl Ledger {
    /// A ledger without accounts. `key` is the secret key of the hash that finds an account by its id.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self {
            accounts: Accounts::new(key),
            holds: BTreeMap::new(),
            refundables: Refundables::default(),
            next: TransferNo::new(1),
            totals: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            digest: Digest::default(),
            accounts_max: limits::ACCOUNTS_MAX,
        }
    }

    /// The account `id`, with its number.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<(AccountNo, &Account)> {
        let no = self.accounts.find(id.as_str())?;
        Some((no, self.account_no(no)?))
    }

    /// The account numbered `no`.
    #[must_use]
    pub fn account_no(&self, no: AccountNo) -> Option<&Account> {
        self.accounts.get(no)
    }

    /// The id of the account numbered `no`.
    #[must_use]
    pub fn account_id(&self, no: AccountNo) -> Option<&str> {
        self.accounts.id(no)
    }

    /// How many accounts there are.
    #[must_use]
    pub fn accounts_count(&self) -> u32 {
        self.accounts.count()
    }

    /// The hold numbered `no`, if something is left of it.
    #[must_use]
    pub fn hold(&self, no: TransferNo) -> Option<&Hold> {
        self.holds.get(&no)
    }

    /// The posted transfer numbered `no`, if it may be refunded at `now`, or was already.
    #[must_use]
    pub fn refundable(&self, now: Timestamp, no: TransferNo) -> Option<&Refundable> {
        self.refundables.find(no).filter(|row| !row.is_over(now))
    }

    /// How many transfers there have ever been.
    #[must_use]
    pub fn transfers_ever(&self) -> u64 {
        self.next.get() - 1
    }

    /// The sums of a currency, kept current; none if no account has it.
    #[must_use]
    pub fn totals(&self, currency: Currency) -> Option<&Totals> {
        self.totals.get(&currency)
    }

    /// The sums of every currency, kept current, in order of the currencies.
    pub fn all_totals(&self) -> impl Iterator<Item = (Currency, &Totals)> {
        self.totals.iter().map(|(currency, totals)| (*currency, totals))
    }

    /// The next instant at which time alone changes something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The digest kept current by `apply`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.with_next(self.digest)
    }

    /// The digest computed from nothing, to compare with [`Self::digest`].
    #[must_use]
    pub fn recompute_digest(&self) -> Digest {
        self.with_next(self.recompute_rows())
    }

    pub(super) fn recompute_rows(&self) -> Digest {
        let mut digest = Digest::default();
        for (no, id, account) in self.accounts.iter() {
            digest.add(id_digest(no, id));
            digest.add(account.digest(no));
        }
        self.holds.iter().for_each(|(no, hold)| digest.add(hold.digest(*no)));
        self.refundables.iter().for_each(|row| digest.add(row.digest()));
        digest
    }

    fn with_next(&self, mut digest: Digest) -> Digest {
        // Nothing before the first transfer: a store without a ledger has no digest of it, as its log did not before.
        if self.next.get() > 1 {
            digest.add(digest::row(&[36, self.next.get()]));
        }
        digest
    }
}

impl Totals {
    /// Whether debits equal credits, posted and on hold.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.debits_posted == self.credits_posted && self.debits_pending == self.credits_pending
    }

    /// Counts an account in.
    pub(super) fn add(&mut self, account: &Account) {
        self.debits_posted += i128::from(account.debits_posted);
        self.credits_posted += i128::from(account.credits_posted);
        self.debits_pending += i128::from(account.debits_pending);
        self.credits_pending += i128::from(account.credits_pending);
    }

    /// Counts an account out.
    pub(super) fn sub(&mut self, account: &Account) {
        self.debits_posted -= i128::from(account.debits_posted);
        self.credits_posted -= i128::from(account.credits_posted);
        self.debits_pending -= i128::from(account.debits_pending);
        self.credits_pending -= i128::from(account.credits_pending);
    }
}
