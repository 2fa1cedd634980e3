//! All items and reservations of a shard, and the instants at which time alone changes something.

use super::names::Names;
use super::purchase::PurchaseLimit;
use super::reservations::Reservations;
use super::rows::{Item, ItemView, Level, ReservationView, Row};
use crate::digest::{self, Digest};
use crate::{ItemNo, LocationId, MemberId, ReservationNo, SkuId, Timestamp, limits};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Parts of the index of SKUs: at ten million SKUs a part holds about 40,000.
const SKU_PARTS: usize = 256;

/// The state of the stock capability.
#[derive(Clone, Debug)]
pub struct Stock {
    pub(super) key: [u8; 16],
    pub(super) skus: Names<Sku>,
    /// Purchase limits, by the SKU's place.
    pub(super) limits: BTreeMap<u32, PurchaseLimit>,
    pub(super) locations: Vec<LocationId>,
    pub(super) locations_by_id: BTreeMap<LocationId, u16>,
    /// Items; the first is number 1.
    pub(super) items: Vec<Item>,
    pub(super) reservations: Reservations,
    /// Live reservations by deadline, but for those that are parked.
    pub(super) deadlines: BTreeSet<(Timestamp, ReservationNo)>,
    /// Live reservations that wait beyond their deadline, by deadline: see `parked.rs`.
    pub(super) parked: BTreeSet<(Timestamp, ReservationNo)>,
    /// Live reservations with promised units, by item.
    pub(super) promises: BTreeSet<(ItemNo, ReservationNo)>,
    /// Ended reservations in the order in which they ended: the first are forgotten first.
    pub(super) ended: VecDeque<ReservationNo>,
    /// Imports that had refused rows, in order.
    pub(super) imports: VecDeque<ImportKept>,
    pub(super) imports_made: u64,
    pub(super) digest: Digest,
}

/// One SKU.
#[derive(Clone, Debug, Default)]
pub(super) struct Sku {
    /// Its first item in order of locations. There is one: a SKU comes with its first item.
    pub(super) first: u32,
    /// Whether it has a purchase limit.
    pub(super) limited: bool,
}

/// The refused rows of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportKept {
    pub(super) import: u64,
    pub(super) at: Timestamp,
    pub(super) refused: Box<[u16]>,
}

impl Stock {
    /// No stock. `key` is the secret key of the tables of names: nobody must be able to choose names that collide.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self {
            key,
            skus: Names::new(key, SKU_PARTS),
            limits: BTreeMap::new(),
            locations: Vec::new(),
            locations_by_id: BTreeMap::new(),
            items: Vec::new(),
            reservations: Reservations::default(),
            deadlines: BTreeSet::new(),
            parked: BTreeSet::new(),
            promises: BTreeSet::new(),
            ended: VecDeque::new(),
            imports: VecDeque::new(),
            imports_made: 0,
            digest: Digest::default(),
        }
    }

    /// The item of `sku` at `location`, if there is one.
    #[must_use]
    pub fn find(&self, sku: &SkuId, location: &LocationId) -> Option<ItemNo> {
        self.item_at(self.skus.find(sku.as_str())?, *self.locations_by_id.get(location)?)
    }

    /// The item numbered `item`.
    #[must_use]
    pub fn item(&self, item: ItemNo) -> Option<ItemView<'_>> {
        let row = self.items.get((item.get() as usize).checked_sub(1)?)?;
        Some(ItemView {
            item,
            sku: self.skus.name(row.sku),
            location: &self.locations[usize::from(row.location)],
            level: &row.level,
        })
    }

    /// Every item, in order of creation.
    pub fn items(&self) -> impl Iterator<Item = ItemView<'_>> {
        (1..=self.items.len() as u32).filter_map(|no| self.item(ItemNo::new(no)))
    }

    /// How many items there are.
    #[must_use]
    pub fn items_count(&self) -> usize {
        self.items.len()
    }

    /// The items of `sku`, in order of creation of their locations.
    pub fn items_of(&self, sku: &SkuId) -> impl Iterator<Item = ItemView<'_>> {
        let places = self.skus.find(sku.as_str());
        places.into_iter().flat_map(|sku| self.chain(sku)).filter_map(|no| self.item(no))
    }

    /// Every location, in order of creation.
    #[must_use]
    pub fn locations(&self) -> &[LocationId] {
        &self.locations
    }

    /// Units of `sku` that one member may reserve and buy, if that is limited.
    #[must_use]
    pub fn per_member(&self, sku: &SkuId) -> Option<u32> {
        Some(self.limit(self.skus.find(sku.as_str())?)?.per_member)
    }

    /// Units of `sku` that `member` has reserved and bought since the purchase limit was set; 0 if there is none.
    #[must_use]
    pub fn bought(&self, sku: &SkuId, member: &MemberId) -> u32 {
        let limit = self.skus.find(sku.as_str()).and_then(|sku| self.limit(sku));
        limit.map_or(0, |limit| limit.count(member.as_str()))
    }

    /// The reservation numbered `no`, while it is in memory.
    #[must_use]
    pub fn reservation(&self, no: ReservationNo) -> Option<ReservationView<'_>> {
        Some(view(no, self.reservations.get(no)?))
    }

    /// Every reservation in memory, in order of their numbers.
    pub fn reservations(&self) -> impl Iterator<Item = ReservationView<'_>> {
        self.reservations.iter().map(|(no, row)| view(no, row))
    }

    /// Every live reservation, in no order that means anything.
    pub fn live_reservations(&self) -> impl Iterator<Item = ReservationView<'_>> {
        let live = self.deadlines.iter().chain(&self.parked);
        live.filter_map(|(_, no)| Some(view(*no, self.reservations.get(*no)?)))
    }

    /// How many reservations there have ever been: the number of the last.
    #[must_use]
    pub const fn reservations_ever(&self) -> u64 {
        self.reservations.made()
    }

    /// How many reservations are in memory, live and ended: at most [`limits::RESERVATIONS_MAX`].
    #[must_use]
    pub const fn reservations_kept(&self) -> usize {
        self.reservations.kept()
    }

    /// How many reservations are live.
    #[must_use]
    pub fn reservations_live(&self) -> usize {
        self.deadlines.len() + self.parked.len()
    }

    /// The next instant at which time alone changes something, but for what is parked.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The digest kept current by `apply`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digest = self.digest;
        digest.add(self.counts_digest());
        digest
    }

    /// Nothing before the first: a store that never had stock has no digest of it, as its log did not before there was stock.
    fn counts_digest(&self) -> u128 {
        let (made, imports) = (self.reservations.made(), self.imports_made);
        if made == 0 && imports == 0 { 0 } else { digest::row(&[25, made, imports]) }
    }

    /// The digest computed from nothing, to compare with [`Self::digest`].
    #[must_use]
    pub fn recompute_digest(&self) -> Digest {
        let mut digest = Digest::default();
        (0..self.skus.len()).for_each(|place| digest.add(self.sku_digest(place)));
        self.limits.iter().for_each(|(place, limit)| digest.add(limit.recompute_digest(*place)));
        for (place, location) in (0..).zip(&self.locations) {
            digest.add(location_digest(place, location));
        }
        for (no, item) in (1..).map(ItemNo::new).zip(&self.items) {
            digest.add(item.digest(no));
            digest.add(item.settings_digest(no));
        }
        for (no, row) in self.reservations.iter() {
            digest.add(self.row_digest(no, row));
        }
        self.imports.iter().for_each(|import| digest.add(import.digest()));
        digest.add(self.counts_digest());
        digest
    }

    /// The numbers of the items of the SKU at `place`, in order of creation of their locations.
    pub(super) fn chain(&self, place: u32) -> impl Iterator<Item = ItemNo> {
        let mut next = self.skus.value(place).first;
        core::iter::from_fn(move || {
            let no = next;
            next = self.items.get((no as usize).checked_sub(1)?)?.next;
            Some(ItemNo::new(no))
        })
    }

    pub(super) fn item_at(&self, sku: u32, location: u16) -> Option<ItemNo> {
        // In order of locations, so the search can end early.
        let location_of = |no: &ItemNo| self.items[no.get() as usize - 1].location;
        let found = self.chain(sku).find(|no| location_of(no) >= location)?;
        (location_of(&found) == location).then_some(found)
    }

    /// The level of an item that exists.
    pub(super) fn level(&self, item: ItemNo) -> &Level {
        &self.items[item.get() as usize - 1].level
    }

    /// The reservation numbered `no`, unless it ended so long ago that it is as good as forgotten at `now`.
    pub(super) fn row(&self, now: Timestamp, no: ReservationNo) -> Option<&Row> {
        self.reservations.get(no).filter(|row| !row.is_over(now))
    }

    /// The purchase limit of the SKU at `place`, if it has one.
    pub(super) fn limit(&self, place: u32) -> Option<&PurchaseLimit> {
        // Most SKUs have none, and are told from the others without a look-up.
        if self.skus.value(place).limited { self.limits.get(&place) } else { None }
    }

    pub(super) fn sku_digest(&self, place: u32) -> u128 {
        digest::row(&[16, u64::from(place), self.skus.hash(self.skus.bytes(place))])
    }

    pub(super) fn row_digest(&self, no: ReservationNo, row: &Row) -> u128 {
        let parts = row.parts.as_slice().iter().map(|part| part.digest(no));
        let names = self.skus.hash(row.names.as_str().as_bytes());
        let whole = Row::identity_digest(no, names).wrapping_add(row.state_digest(no));
        parts.fold(whole, u128::wrapping_add)
    }

    /// Whether one more reservation can be made.
    pub(super) fn has_room(&self) -> bool {
        self.reservations.kept() < limits::RESERVATIONS_MAX
    }
}

fn view(reservation: ReservationNo, row: &Row) -> ReservationView<'_> {
    ReservationView {
        reservation,
        state: row.state,
        at: row.at,
        member: row.names.member(),
        order: row.names.order(),
        holder: row.names.holder(),
        parts: row.parts.as_slice(),
    }
}

pub(super) fn location_digest(place: u64, location: &LocationId) -> u128 {
    let bytes = [&place.to_le_bytes(), location.as_str().as_bytes()].concat();
    digest::row_bytes(18, &bytes)
}

impl ImportKept {
    pub(super) fn digest(&self) -> u128 {
        let mut bytes = Vec::with_capacity(16 + 2 * self.refused.len());
        bytes.extend_from_slice(&self.import.to_le_bytes());
        bytes.extend_from_slice(&self.at.as_millis().to_le_bytes());
        self.refused.iter().for_each(|index| bytes.extend_from_slice(&index.to_le_bytes()));
        digest::row_bytes(27, &bytes)
    }
}
