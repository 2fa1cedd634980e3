//! All campaigns of a shard, and the instants at which time alone changes something.

use super::campaign::{Campaign, CampaignDefinition, Totals};
use crate::digest::{self, Digest};
use crate::{CampaignId, CampaignNo, CouponId, Keys, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The state of the coupon capability.
#[derive(Clone, Debug)]
pub struct Coupons {
    pub(crate) keys: Keys,
    pub(crate) slots: Vec<Slot>,
    pub(crate) by_id: BTreeMap<CampaignId, CampaignNo>,
    pub(crate) deadlines: BTreeSet<(Timestamp, Deadline)>,
    pub(crate) digest: Digest,
}

/// The place of one campaign, by number.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Hot(Box<Campaign>),
    Retired(Retired),
}

/// What is left in memory of a campaign that retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its last definition. Its id is never given again.
    pub definition: Box<CampaignDefinition>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its last totals.
    pub totals: Totals,
}

/// Something that time alone brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    WindowCloses(CampaignNo),
    HoldLapses(CouponId),
    CouponsExpire(CampaignNo),
    Retires(CampaignNo),
}

impl Coupons {
    pub(crate) fn new(keys: Keys) -> Self {
        Self {
            keys,
            slots: Vec::new(),
            by_id: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            digest: Digest::default(),
        }
    }

    /// Puts back a campaign read from a snapshot, with its deadlines armed. `columns` is the digest of its rows and members,
    /// computed from what was read.
    pub(crate) fn restore(&mut self, campaign: Campaign, columns: Digest) {
        self.digest.add(columns.get());
        self.digest.add(campaign.digest_beside_columns().get());
        self.deadlines.extend(armed(&campaign));
        self.by_id.insert(campaign.definition.id.clone(), campaign.no);
        self.slots.push(Slot::Hot(Box::new(campaign)));
    }

    /// Puts back a retired campaign read from a snapshot.
    pub(crate) fn restore_retired(&mut self, retired: Retired) {
        let no = CampaignNo::new(self.campaigns_ever() + 1);
        self.digest.add(retired.digest(no));
        self.by_id.insert(retired.definition.id.clone(), no);
        self.slots.push(Slot::Retired(retired));
    }

    /// The campaign named `id`, if it is in the hot state.
    #[must_use]
    pub fn campaign(&self, id: &CampaignId) -> Option<&Campaign> {
        self.campaign_no(*self.by_id.get(id)?)
    }

    /// The campaign numbered `no`, if it is in the hot state.
    #[must_use]
    pub fn campaign_no(&self, no: CampaignNo) -> Option<&Campaign> {
        match self.slots.get(index(no)?)? {
            Slot::Hot(campaign) => Some(campaign),
            Slot::Retired(_) => None,
        }
    }

    pub(crate) fn campaign_mut(&mut self, no: CampaignNo) -> Option<&mut Campaign> {
        match self.slots.get_mut(index(no)?)? {
            Slot::Hot(campaign) => Some(campaign),
            Slot::Retired(_) => None,
        }
    }

    /// Every campaign in the hot state, in order of creation.
    pub fn campaigns(&self) -> impl Iterator<Item = &Campaign> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Hot(campaign) => Some(&**campaign),
            Slot::Retired(_) => None,
        })
    }

    /// Every campaign that retired, with its number.
    pub fn retired(&self) -> impl Iterator<Item = (CampaignNo, &Retired)> {
        (1..).zip(&self.slots).filter_map(|(no, slot)| match slot {
            Slot::Hot(_) => None,
            Slot::Retired(retired) => Some((CampaignNo::new(no), retired)),
        })
    }

    /// The campaign numbered `no`, if it retired.
    #[must_use]
    pub fn retired_no(&self, no: CampaignNo) -> Option<&Retired> {
        match self.slots.get(index(no)?)? {
            Slot::Hot(_) => None,
            Slot::Retired(retired) => Some(retired),
        }
    }

    /// How many campaigns there have ever been.
    #[must_use]
    pub fn campaigns_ever(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The next instant at which time alone changes something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The digest kept current by `apply`.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest computed from nothing, to compare with [`Self::digest`].
    #[must_use]
    pub fn recompute_digest(&self) -> Digest {
        let mut digest = Digest::default();
        for campaign in self.campaigns() {
            digest.add(campaign.digest().get());
        }
        for (no, retired) in self.retired() {
            digest.add(retired.digest(no));
        }
        digest
    }
}

impl Retired {
    pub(crate) fn digest(&self, no: CampaignNo) -> u128 {
        let Totals { issued, held, redeemed, revoked, expired } = self.totals;
        let definition = minicbor::to_vec(&self.definition).expect("a vector takes every write");
        let counts = digest::row(&[
            6,
            u64::from(no.get()),
            self.ended_at.as_millis(),
            issued,
            held,
            redeemed,
            revoked,
            expired,
        ]);
        counts.wrapping_add(digest::row_bytes(6, &definition))
    }
}

/// The deadlines that `campaign` must have armed, from nothing.
pub(super) fn armed(campaign: &Campaign) -> impl Iterator<Item = (Timestamp, Deadline)> {
    let no = campaign.no;
    let closes = campaign.definition.ends_at.filter(|_| campaign.ended_at.is_none());
    let next = campaign.row(campaign.expiry_next).and_then(|row| campaign.expires_at(row));
    let expires = next.filter(|_| campaign.retires_at.is_none());
    let holds =
        campaign.holds.iter().map(move |(n, hold)| (hold.until, Deadline::HoldLapses(CouponId::new(no, *n))));
    (closes.into_iter().map(move |at| (at, Deadline::WindowCloses(no))))
        .chain(expires.into_iter().map(move |at| (at, Deadline::CouponsExpire(no))))
        .chain(campaign.retires_at.into_iter().map(move |at| (at, Deadline::Retires(no))))
        .chain(holds)
}

fn index(no: CampaignNo) -> Option<usize> {
    (no.get() as usize).checked_sub(1)
}
