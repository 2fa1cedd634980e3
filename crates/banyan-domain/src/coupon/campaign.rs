//! A campaign: what the operator defined, what has become of it, and its coupons.

use super::members::MemberTable;
use super::rows::{CouponRow, CouponState, Hold, Redemption};
use crate::digest::{self, Digest};
use crate::limits;
use crate::{CampaignId, CampaignNo, Currency, Millis, Money, SegmentName, Timestamp};
use core::fmt;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// What a coupon is worth.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Benefit {
    /// A fixed amount off.
    #[n(0)]
    Amount(#[n(0)] Money),
    /// A share off, in hundredths of a percent (1 to 10,000), at most `cap` if there is one.
    #[n(1)]
    Percent {
        /// The share in hundredths of a percent: 1,500 is 15 %.
        #[n(0)]
        basis_points: u16,
        /// The most it takes off.
        #[n(1)]
        cap: Option<Money>,
    },
    /// No charge for shipping.
    #[n(2)]
    FreeShipping,
}

/// Who may have a coupon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Audience {
    /// Every member.
    #[n(0)]
    Everyone,
    /// Members for whom the caller vouches that they are in this segment.
    #[n(1)]
    Segment(#[n(0)] SegmentName),
    /// Members on the campaign's uploaded allow-list.
    #[n(2)]
    AllowList,
}

/// Whether a coupon may be used together with others on one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Stacking {
    /// Alone only.
    #[n(0)]
    Exclusive,
    /// Together with other stackable coupons.
    #[n(1)]
    Stackable,
}

/// A campaign as the operator describes it. Checked by [`CampaignDefinition::check`] before it is decided.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CampaignDefinition {
    /// Its public id.
    #[n(0)]
    pub id: CampaignId,
    /// Its display name.
    #[n(1)]
    pub name: Box<str>,
    /// How many coupons there are; none means unlimited.
    #[n(2)]
    pub quantity: Option<u64>,
    /// How many coupons one member may be issued, from 1.
    #[n(3)]
    pub per_member: u16,
    /// What each coupon is worth.
    #[n(4)]
    pub benefit: Benefit,
    /// The order total from which a coupon may be used.
    #[n(5)]
    pub minimum_order: Option<Money>,
    /// When issuing opens; none means at once.
    #[n(6)]
    pub starts_at: Option<Timestamp>,
    /// When issuing closes; none means never.
    #[n(7)]
    pub ends_at: Option<Timestamp>,
    /// Who may have one.
    #[n(8)]
    pub audience: Audience,
    /// How long a coupon lives after issue; none means for ever.
    #[n(9)]
    pub valid_for: Option<Millis>,
    /// Whether it may be used together with others.
    #[n(10)]
    pub stacking: Stacking,
}

/// Why a campaign definition makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCampaign {
    /// The field at fault.
    pub field: &'static str,
    /// What the field must be.
    pub rule: String,
}

/// What a campaign looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignState {
    /// Not open yet.
    Scheduled,
    /// Issuing.
    Open,
    /// Stopped by an operator, to be resumed.
    Paused,
    /// Over for good: by an operator, or by its window.
    Ended,
}

/// How many coupons of a campaign are in which state. `issued` counts every coupon ever issued, whatever became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Ever issued.
    pub issued: u64,
    /// Held for an order now.
    pub held: u64,
    /// Redeemed.
    pub redeemed: u64,
    /// Revoked.
    pub revoked: u64,
    /// Expired.
    pub expired: u64,
}

/// A campaign in the hot state.
#[derive(Clone, Debug)]
pub struct Campaign {
    pub(crate) no: CampaignNo,
    /// The definition as it was created, to tell a repeated creation from another.
    pub(crate) created_as: Box<CampaignDefinition>,
    /// The definition as changed since.
    pub(crate) definition: CampaignDefinition,
    pub(crate) paused: bool,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) totals: Totals,
    pub(crate) allowed: u64,
    pub(crate) members: MemberTable,
    pub(crate) rows: Vec<CouponRow>,
    pub(crate) holds: BTreeMap<u64, Hold>,
    pub(crate) redemptions: BTreeMap<u64, Redemption>,
    /// The first coupon number that expiry has not yet passed.
    pub(crate) expiry_next: u64,
    /// When it leaves the hot state, once it is settled.
    pub(crate) retires_at: Option<Timestamp>,
}

impl CampaignDefinition {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// [`InvalidCampaign`] naming the first field at fault and its rule.
    pub fn check(&self) -> Result<(), InvalidCampaign> {
        let fault = |field, rule: &str| Err(InvalidCampaign { field, rule: rule.into() });
        let name_fits = !self.name.trim().is_empty()
            && self.name.len() <= limits::CAMPAIGN_NAME_BYTES_MAX
            && !self.name.chars().any(char::is_control);
        if !name_fits {
            return fault("name", "must be 1 to 200 bytes of text without control characters");
        }
        if self.quantity.is_some_and(|q| q == 0 || q > limits::COUPONS_PER_CAMPAIGN_MAX) {
            return fault("quantity", "must be 1 to 4,294,967,294, or \"unlimited\"");
        }
        if self.per_member == 0 || self.per_member > limits::PER_MEMBER_MAX {
            return fault("per_member", "must be 1 to 10,000");
        }
        if let (Some(starts_at), Some(ends_at)) = (self.starts_at, self.ends_at)
            && starts_at >= ends_at
        {
            return fault("ends_at", "must be later than starts_at");
        }
        if self.valid_for.is_some_and(|v| v.get() == 0 || v.get() > limits::VALIDITY_MILLIS_MAX) {
            return fault("valid_for_seconds", "must be at least one second and at most ten years");
        }
        self.check_money()
    }

    /// The state at `now` of a campaign defined like this that is or is not `paused` and may have ended.
    #[must_use]
    pub fn state_at(&self, paused: bool, ended_at: Option<Timestamp>, now: Timestamp) -> CampaignState {
        if ended_at.is_some() || self.ends_at.is_some_and(|end| end <= now) {
            CampaignState::Ended
        } else if paused {
            CampaignState::Paused
        } else if self.starts_at.is_some_and(|start| now < start) {
            CampaignState::Scheduled
        } else {
            CampaignState::Open
        }
    }

    fn check_money(&self) -> Result<(), InvalidCampaign> {
        let fault = |field, rule: &str| Err(InvalidCampaign { field, rule: rule.into() });
        let mut currency: Option<Currency> = None;
        let mut mixed = false;
        let mut see = |money: &Money| {
            mixed |= currency.is_some_and(|seen| seen != money.currency);
            currency = Some(money.currency);
        };
        match &self.benefit {
            Benefit::Amount(amount) if amount.minor <= 0 => {
                return fault("benefit.amount.minor", "must be more than 0");
            }
            Benefit::Amount(amount) => see(amount),
            Benefit::Percent { basis_points, .. } if *basis_points == 0 || *basis_points > 10_000 => {
                return fault("benefit.percent.basis_points", "must be 1 to 10,000 (10,000 is 100 %)");
            }
            Benefit::Percent { cap: Some(cap), .. } if cap.minor <= 0 => {
                return fault("benefit.percent.cap.minor", "must be more than 0");
            }
            Benefit::Percent { cap, .. } => cap.iter().for_each(&mut see),
            Benefit::FreeShipping => {}
        }
        match &self.minimum_order {
            Some(minimum) if minimum.minor < 0 => return fault("minimum_order.minor", "must be 0 or more"),
            minimum => minimum.iter().for_each(&mut see),
        }
        if mixed { fault("minimum_order.currency", "must be the currency of the benefit") } else { Ok(()) }
    }
}

impl Totals {
    /// Counts a coupon that was put back in `state`. How many were issued is known from the start.
    pub(crate) fn count_restored(&mut self, state: CouponState) {
        self.count(CouponState::Issued, state);
    }
}

impl Campaign {
    pub(crate) fn new(no: CampaignNo, definition: CampaignDefinition, member_key: [u8; 16]) -> Self {
        Self {
            no,
            created_as: Box::new(definition.clone()),
            definition,
            paused: false,
            ended_at: None,
            totals: Totals::default(),
            allowed: 0,
            members: MemberTable::new(member_key),
            rows: Vec::new(),
            holds: BTreeMap::new(),
            redemptions: BTreeMap::new(),
            expiry_next: 1,
            retires_at: None,
        }
    }

    /// Its number in the shard.
    #[must_use]
    pub const fn no(&self) -> CampaignNo {
        self.no
    }

    /// Its definition, with the quantity and end as changed since.
    #[must_use]
    pub const fn definition(&self) -> &CampaignDefinition {
        &self.definition
    }

    /// Its totals.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Members on its allow-list.
    #[must_use]
    pub const fn allowed(&self) -> u64 {
        self.allowed
    }

    /// When it ended, if it has.
    #[must_use]
    pub const fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// Whether an operator paused it.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Coupons that can still be issued; none means without limit.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.definition.quantity.map(|quantity| quantity - self.totals.issued)
    }

    /// Its state at `now`.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> CampaignState {
        self.definition.state_at(self.paused, self.ended_at, now)
    }

    /// Bytes of memory that its coupons and members take, without the allocator's own overhead.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.rows.len() * size_of::<CouponRow>() + self.members.memory_bytes()
    }

    /// The `n`-th coupon, from 1.
    #[must_use]
    pub fn row(&self, n: u64) -> Option<&CouponRow> {
        self.rows.get(usize::try_from(n.checked_sub(1)?).ok()?)
    }

    pub(crate) fn row_mut(&mut self, n: u64) -> Option<&mut CouponRow> {
        self.rows.get_mut(usize::try_from(n.checked_sub(1)?).ok()?)
    }

    /// Every coupon with its number, in order of issue.
    pub fn rows(&self) -> impl Iterator<Item = (u64, &CouponRow)> {
        (1..).zip(self.rows.iter())
    }

    /// The members it knows.
    #[must_use]
    pub const fn members(&self) -> &MemberTable {
        &self.members
    }

    /// The order that holds the `n`-th coupon, if one does.
    #[must_use]
    pub fn hold(&self, n: u64) -> Option<&Hold> {
        self.holds.get(&n)
    }

    /// The order that redeemed the `n`-th coupon, if one did.
    #[must_use]
    pub fn redemption(&self, n: u64) -> Option<&Redemption> {
        self.redemptions.get(&n)
    }

    /// When the coupon in `row` expires, if ever.
    #[must_use]
    pub fn expires_at(&self, row: &CouponRow) -> Option<Timestamp> {
        self.definition.valid_for.map(|span| row.issued_at.plus(span))
    }

    /// Whether it has ended and none of its coupons can change any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let final_states = self.totals.redeemed + self.totals.revoked + self.totals.expired;
        self.ended_at.is_some() && final_states == self.totals.issued
    }

    /// The digest of everything but its rows, members, holds and redemptions.
    pub(crate) fn header_digest(&self) -> u128 {
        let mut bytes = Vec::with_capacity(256);
        let instant = |at: Option<Timestamp>| at.map_or(0, |t| t.as_millis() + 1);
        minicbor::encode((&self.created_as, &self.definition), &mut bytes)
            .expect("a vector takes every write");
        for word in [
            u64::from(self.no.get()),
            u64::from(self.paused),
            instant(self.ended_at),
            instant(self.retires_at),
            self.allowed,
            self.expiry_next,
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        digest::row_bytes(1, &bytes)
    }

    /// The digest of the whole campaign, from nothing.
    pub(crate) fn digest(&self) -> Digest {
        let mut digest = self.digest_beside_columns();
        for (n, row) in self.rows() {
            digest.add(row.digest(self.no, n));
        }
        for member in 0..self.members.len() {
            digest.add(self.members.digest(self.no, member));
        }
        digest
    }

    /// The digest of everything but its rows and members: the little there is beside the columns of millions.
    pub(crate) fn digest_beside_columns(&self) -> Digest {
        let mut digest = Digest::default();
        digest.add(self.header_digest());
        for (n, hold) in &self.holds {
            digest.add(hold.digest(self.no, *n));
        }
        for (n, redemption) in &self.redemptions {
            digest.add(redemption.digest(self.no, *n));
        }
        digest
    }
}

impl fmt::Display for InvalidCampaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.rule)
    }
}

impl std::error::Error for InvalidCampaign {}
