//! Idempotency keys: the same key and request is answered as the first time, for at least a day.

use crate::coupon::CouponState;
use crate::digest::{self, Digest};
use crate::limits;
use crate::{CampaignNo, CouponId, Keys, Millis, Timestamp, order, pay, saga, stock};
use core::hash::Hasher;
use hashbrown::HashTable;
use minicbor::{Decode, Encode};
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher128};
use std::collections::VecDeque;

/// A caller's idempotency key as it is kept: a keyed 128-bit hash of caller and key, and a hash of the request, so that
/// the same key with another request is noticed. Two different keys collide once in 2^128 pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeyStamp {
    /// Upper half of the hash of caller and key.
    #[n(0)]
    pub high: u64,
    /// Lower half of the hash of caller and key.
    #[n(1)]
    pub low: u64,
    /// Hash of the request.
    #[n(2)]
    pub request: u64,
}

/// What the answer under a key was about, from which it is put together again. Stored for ever in [`crate::Event::KeyKept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Remembered {
    /// A coupon was issued.
    #[n(0)]
    Issued(#[n(0)] CouponId),
    /// A coupon was held, redeemed, released or revoked, or needed no such change.
    #[n(1)]
    Changed {
        /// Which coupon.
        #[n(0)]
        coupon: CouponId,
        /// The state it got, or was in already.
        #[n(1)]
        state: CouponState,
        /// When its hold was to lapse, if it was held; 1970 otherwise.
        #[n(2)]
        held_until: Timestamp,
    },
    /// A campaign was created or changed, or needed no change.
    #[n(2)]
    Campaign(#[n(0)] CampaignNo),
    /// An allow-list was extended.
    #[n(3)]
    AllowList {
        /// Of which campaign.
        #[n(0)]
        no: CampaignNo,
        /// By how many members.
        #[n(1)]
        added: u32,
        /// To how many members.
        #[n(2)]
        total: u32,
    },
    /// By the stock capability.
    #[n(4)]
    Stock(#[n(0)] stock::Remembered),
    /// By the ledger.
    #[n(5)]
    Pay(#[n(0)] pay::Remembered),
    /// By the sagas.
    #[n(6)]
    Saga(#[n(0)] saga::Outcome),
    /// By the orders.
    #[n(7)]
    Order(#[n(0)] order::Outcome),
}

/// Keys of the last [`limits::IDEMPOTENCY_HORIZON_MILLIS`], in the order in which they came. About 70 bytes each; at most
/// [`limits::IDEMPOTENCY_KEYS_MAX`] unless set lower.
#[derive(Clone, Debug)]
pub struct IdempotencyTable {
    /// Kept keys; the first is number `forgotten`.
    kept: VecDeque<Kept>,
    forgotten: u64,
    index: HashTable<u64>,
    pub(crate) digest: Digest,
}

/// One kept key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub stamp: KeyStamp,
    pub at: Timestamp,
    pub seq: u64,
    pub remembered: Remembered,
}

impl KeyStamp {
    /// The stamp of `key`, used by `caller` for the request `request` (its canonical bytes).
    #[must_use]
    pub fn new(keys: &Keys, caller: &str, key: &str, request: &[u8]) -> Self {
        let mut hasher = SipHasher128::new_with_key(&keys.idempotency);
        hasher.write_u64(caller.len() as u64);
        hasher.write(caller.as_bytes());
        hasher.write(key.as_bytes());
        let hash = hasher.finish128();
        let mut hasher = SipHasher128::new_with_key(&keys.idempotency);
        hasher.write(request);
        Self { high: hash.h1, low: hash.h2, request: hasher.finish128().h1 }
    }

    /// The stamp of the `index`-th part of a request that has one key for many parts, for the part `request`.
    #[must_use]
    pub fn part(keys: &Keys, whole: Self, index: u32, request: &[u8]) -> Self {
        let mut hasher = SipHasher128::new_with_key(&keys.idempotency);
        hasher.write_u64(whole.high);
        hasher.write_u64(whole.low);
        hasher.write_u32(index);
        let hash = hasher.finish128();
        let mut hasher = SipHasher128::new_with_key(&keys.idempotency);
        hasher.write(request);
        Self { high: hash.h1, low: hash.h2, request: hasher.finish128().h1 }
    }
}

impl IdempotencyTable {
    pub(crate) fn new() -> Self {
        Self { kept: VecDeque::new(), forgotten: 0, index: HashTable::new(), digest: Digest::default() }
    }

    /// An empty table with room for `keys`, so that reading a snapshot does not grow it step by step.
    pub(crate) fn with_capacity(keys: usize) -> Self {
        Self { kept: VecDeque::with_capacity(keys), index: HashTable::with_capacity(keys), ..Self::new() }
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The key `stamp`, if it was used less than the horizon ago at `now`.
    pub(crate) fn find(&self, now: Timestamp, stamp: &KeyStamp) -> Option<&Kept> {
        let wanted = |&number: &u64| {
            let kept = self.get(number);
            same(&kept.stamp, stamp) && !kept.is_over(now)
        };
        Some(self.get(*self.index.find(stamp.low, wanted)?))
    }

    /// Whether a new key can be remembered at `now`.
    pub(crate) fn has_room(&self, now: Timestamp) -> bool {
        self.kept.len() < limits::IDEMPOTENCY_KEYS_MAX
            || self.kept.front().is_some_and(|oldest| oldest.is_over(now))
    }

    pub(crate) fn remember(&mut self, kept: Kept) {
        let number = self.forgotten + self.kept.len() as u64;
        self.digest.add(kept.digest());
        self.kept.push_back(kept);
        let (all, forgotten) = (&self.kept, self.forgotten);
        self.index.insert_unique(kept.stamp.low, number, |&n| all[(n - forgotten) as usize].stamp.low);
    }

    /// Forgets the two oldest keys if the horizon has passed them at `now`. Called once an event, which remembers at most
    /// one key, so that forgetting keeps pace and is never long work.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        for _ in 0..2 {
            let Some(oldest) = self.kept.front().copied().filter(|oldest| oldest.is_over(now)) else {
                return;
            };
            let number = self.forgotten;
            if let Ok(found) = self.index.find_entry(oldest.stamp.low, |&n| n == number) {
                found.remove();
            }
            self.digest.sub(oldest.digest());
            self.kept.pop_front();
            self.forgotten += 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter()
    }

    /// The digest computed from nothing, to compare with the one kept current, or none if a key is not found again.
    pub(crate) fn recompute_digest(&self, now: Timestamp) -> Option<Digest> {
        let mut digest = Digest::default();
        for kept in &self.kept {
            if !kept.is_over(now) && self.find(now, &kept.stamp) != Some(kept) {
                return None;
            }
            digest.add(kept.digest());
        }
        (self.index.len() == self.kept.len()).then_some(digest)
    }

    fn get(&self, number: u64) -> &Kept {
        &self.kept[(number - self.forgotten) as usize]
    }
}

fn same(a: &KeyStamp, b: &KeyStamp) -> bool {
    a.high == b.high && a.low == b.low
}

impl Kept {
    fn is_over(&self, now: Timestamp) -> bool {
        self.at.plus(Millis::new(limits::IDEMPOTENCY_HORIZON_MILLIS)) <= now
    }

    fn digest(&self) -> u128 {
        let [capability, kind, id, count] = self.remembered.to_words();
        let KeyStamp { high, low, request } = self.stamp;
        // The capability goes into the kind of the row, whose upper half is free.
        digest::row(&[
            capability << 32 | 7,
            high,
            low,
            request,
            self.at.as_millis(),
            self.seq,
            kind,
            id,
            count,
        ])
    }
}

impl Remembered {
    /// The campaign it concerns, if it concerns one.
    #[must_use]
    pub const fn campaign(self) -> Option<CampaignNo> {
        match self {
            Self::Issued(coupon) | Self::Changed { coupon, .. } => Some(coupon.campaign()),
            Self::Campaign(no) | Self::AllowList { no, .. } => Some(no),
            Self::Stock(_) | Self::Pay(_) | Self::Saga(_) | Self::Order(_) => None,
        }
    }

    /// The coupon it concerns, if it concerns one.
    #[must_use]
    pub const fn coupon(self) -> Option<CouponId> {
        match self {
            Self::Issued(coupon) | Self::Changed { coupon, .. } => Some(coupon),
            _ => None,
        }
    }

    /// As four words, for columns: the capability and its own three.
    pub(crate) const fn to_words(self) -> [u64; 4] {
        let (kind, id, count) = match self {
            Self::Issued(coupon) => (0, coupon.get(), 0),
            Self::Changed { coupon, state, held_until } => {
                (1, coupon.get(), (state as u64) << 56 | held_until.as_millis())
            }
            Self::Campaign(no) => (2, no.get() as u64, 0),
            Self::AllowList { no, added, total } => (3, no.get() as u64, (total as u64) << 32 | added as u64),
            Self::Stock(remembered) => return of_capability(1, remembered.to_words()),
            Self::Pay(remembered) => return of_capability(2, remembered.to_words()),
            Self::Saga(remembered) => return of_capability(3, remembered.to_words()),
            Self::Order(remembered) => return of_capability(4, remembered.to_words()),
        };
        [0, kind, id, count]
    }

    pub(crate) fn from_words([capability, kind, id, count]: [u64; 4]) -> Option<Self> {
        match capability {
            0 => {}
            1 => return stock::Remembered::from_words([kind, id, count]).map(Self::Stock),
            2 => return pay::Remembered::from_words([kind, id, count]).map(Self::Pay),
            3 => return saga::Outcome::from_words([kind, id, count]).map(Self::Saga),
            4 => return order::Outcome::from_words([kind, id, count]).map(Self::Order),
            _ => return None,
        }
        Some(match kind {
            0 => Self::Issued(CouponId::from_u64(id)?),
            1 => Self::Changed {
                coupon: CouponId::from_u64(id)?,
                state: CouponState::from_u8((count >> 56) as u8)?,
                held_until: Timestamp::from_millis(count << 8 >> 8),
            },
            2 => Self::Campaign(CampaignNo::new(u32::try_from(id).ok()?)),
            3 => Self::AllowList {
                no: CampaignNo::new(u32::try_from(id).ok()?),
                added: count as u32,
                total: (count >> 32) as u32,
            },
            _ => return None,
        })
    }
}

const fn of_capability(capability: u64, [first, second, third]: [u64; 3]) -> [u64; 4] {
    [capability, first, second, third]
}
