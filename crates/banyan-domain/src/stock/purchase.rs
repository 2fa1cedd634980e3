//! The purchase limit of one SKU: how many units each member has reserved or bought since it was set.

use super::names::Names;
use crate::ReservationNo;
use crate::digest::{self, Digest};

/// Parts of the index of members. There may be many limited SKUs with few members each, and one with millions.
const PARTS: usize = 16;

/// A SKU's limit and its counts. A member who was counted stays known until the limit is set anew.
#[derive(Clone, Debug)]
pub(super) struct PurchaseLimit {
    /// Units one member may have.
    pub(super) per_member: u32,
    /// The first reservation that counts: those before it were made before the limit was set.
    pub(super) from: ReservationNo,
    members: Names<u32>,
    digest: Digest,
}

impl PurchaseLimit {
    pub(super) fn new(key: [u8; 16], per_member: u32, from: ReservationNo) -> Self {
        Self { per_member, from, members: Names::new(key, PARTS), digest: Digest::default() }
    }

    /// Units that `member` has.
    pub(super) fn count(&self, member: &str) -> u32 {
        self.members.find(member).map_or(0, |place| *self.members.value(place))
    }

    /// Units that one more reservation may have, of `member`, or of nobody in particular.
    pub(super) fn room(&self, member: Option<&str>) -> u64 {
        u64::from(self.per_member.saturating_sub(member.map_or(0, |member| self.count(member))))
    }

    /// Changes how many units `member` has.
    pub(super) fn change(&mut self, sku: u32, member: &str, change: impl FnOnce(u32) -> u32) {
        let place = match self.members.find(member) {
            Some(place) => {
                self.digest.sub(self.row(sku, place));
                place
            }
            None => self.members.add(member, 0),
        };
        let count = self.members.value_mut(place);
        *count = change(*count);
        self.digest.add(self.row(sku, place));
    }

    /// Members who were counted, in order of first sight, with the units they have.
    pub(super) fn counts(&self) -> impl ExactSizeIterator<Item = (&str, u32)> {
        (0..self.members.len()).map(|place| (self.members.name(place), *self.members.value(place)))
    }

    /// The digest kept current.
    pub(super) fn digest(&self, sku: u32) -> u128 {
        self.digest.get().wrapping_add(self.header_digest(sku))
    }

    /// The digest computed from nothing.
    pub(super) fn recompute_digest(&self, sku: u32) -> u128 {
        let rows = (0..self.members.len()).map(|place| self.row(sku, place));
        rows.fold(self.header_digest(sku), u128::wrapping_add)
    }

    fn header_digest(&self, sku: u32) -> u128 {
        digest::row(&[22, u64::from(sku), u64::from(self.per_member), self.from.get()])
    }

    fn row(&self, sku: u32, place: u32) -> u128 {
        let member = self.members.hash(self.members.bytes(place));
        digest::row(&[23, u64::from(sku), u64::from(place), member, u64::from(*self.members.value(place))])
    }
}
