//! One item and one reservation in memory.

use super::event::ReservedPart;
use crate::digest;
use crate::{Holder, ItemNo, LocationId, MemberId, Millis, OrderId, ReservationNo, Timestamp, limits};
use minicbor::{Decode, Encode};

/// The numbers of one item: one SKU at one location. All units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Goods that are there.
    pub on_hand: u32,
    /// Of these, set aside for reservations.
    pub held: u32,
    /// Reserved beyond the stock.
    pub promised: u32,
    /// Promised, and the reservation was committed: the next to arrive leave at once.
    pub owed: u32,
    /// Goods that are there and are not sold.
    pub safety: u32,
    /// How many may be promised and owed once released.
    pub backorder_max: u32,
    /// How many may be promised and owed before release.
    pub preorder_max: u32,
    /// The release; without it, the item is out.
    pub released_at: Option<Timestamp>,
}

/// An item with its names.
#[derive(Clone, Copy, Debug)]
pub struct ItemView<'a> {
    /// Which item.
    pub item: ItemNo,
    /// Its SKU.
    pub sku: &'a str,
    /// Its location.
    pub location: &'a LocationId,
    /// Its numbers.
    pub level: &'a Level,
}

/// A reservation with its names.
#[derive(Clone, Copy, Debug)]
pub struct ReservationView<'a> {
    /// Which reservation.
    pub reservation: ReservationNo,
    /// Its state.
    pub state: ReservationState,
    /// When it expires, while held; when it ended, after that.
    pub at: Timestamp,
    /// Its member.
    pub member: Option<&'a str>,
    /// Its order.
    pub order: Option<&'a str>,
    /// Who made it.
    pub holder: Holder,
    /// What it draws on, in order of the items' numbers.
    pub parts: &'a [Part],
}

/// The state of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum ReservationState {
    /// Made, and not ended.
    #[n(0)]
    Held = 0,
    /// Sold. Final.
    #[n(1)]
    Committed = 1,
    /// Given up. Final.
    #[n(2)]
    Released = 2,
    /// Past its deadline. Final.
    #[n(3)]
    Expired = 3,
}

/// What a reservation draws on at one item. Once the reservation has ended, `held` and `promised` stay as they were then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which item.
    pub item: ItemNo,
    /// Units on hand set aside.
    pub held: u32,
    /// Units beyond the stock.
    pub promised: u32,
    /// Units beyond the stock when the reservation was made.
    pub promised_first: u32,
    /// Units that came back.
    pub returned: u32,
}

/// One item in memory. Its number is its place in the list of items, from 1. One line of the CPU's cache: a reservation
/// touches items all over memory.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Item {
    pub(super) sku: u32,
    pub(super) location: u16,
    /// The next item of the same SKU, in order of locations; 0 if this is the last.
    pub(super) next: u32,
    pub(super) level: Level,
}

/// One reservation in memory.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) state: ReservationState,
    pub(super) at: Timestamp,
    pub(super) names: RowNames,
    pub(super) parts: Parts,
}

/// A reservation's member and order in one allocation: `member order`, either of which may be empty, with a tab between them if
/// the member holds it. Neither has spaces or tabs.
#[derive(Clone, Debug)]
pub(super) struct RowNames(Box<str>);

/// One part without an allocation, the usual case, or many.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    One(Part),
    Many(Box<[Part]>),
}

const _: () = assert!(size_of::<Item>() == 64, "one visit to memory an item");
const _: () =
    assert!(size_of::<Option<Row>>() <= 56, "the memory budget of 100 bytes a reservation rests on this");

impl ReservationState {
    /// The state stored as `byte`.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Held,
            1 => Self::Committed,
            2 => Self::Released,
            3 => Self::Expired,
            _ => return None,
        })
    }

    /// The state in one lower-case word, as the API and the record store write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Committed => "committed",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

impl Level {
    /// Units that can be reserved from the stock.
    #[must_use]
    pub const fn available(&self) -> u32 {
        (self.on_hand - self.held).saturating_sub(self.safety)
    }

    /// Units that can be promised beyond the stock at `now`.
    #[must_use]
    pub fn promisable(&self, now: Timestamp) -> u32 {
        let before_release = self.released_at.is_some_and(|release| now < release);
        let most = if before_release { self.preorder_max } else { self.backorder_max };
        most.saturating_sub(self.waiting())
    }

    /// Units that somebody waits for.
    #[must_use]
    pub const fn waiting(&self) -> u32 {
        self.promised + self.owed
    }
}

impl Item {
    /// Of the numbers that change all the time.
    pub(super) fn digest(&self, item: ItemNo) -> u128 {
        let Level { on_hand, held, promised, owed, .. } = self.level;
        digest::row(&[17, u64::from(item.get()), two(on_hand, held), two(promised, owed)])
    }

    /// Of what hardly ever changes.
    pub(super) fn settings_digest(&self, item: ItemNo) -> u128 {
        let Level { safety, backorder_max, preorder_max, released_at, .. } = self.level;
        let released_at = released_at.map_or(u64::MAX, Timestamp::as_millis);
        let place = u64::from(self.sku) << 16 | u64::from(self.location);
        let most = two(backorder_max, preorder_max);
        digest::row(&[26, u64::from(item.get()), place, u64::from(safety), most, released_at])
    }
}

impl Part {
    pub(super) const fn new(part: &ReservedPart) -> Self {
        let ReservedPart { item, held, promised } = *part;
        Self { item, held, promised, promised_first: promised, returned: 0 }
    }

    /// Units reserved in all.
    #[must_use]
    pub const fn quantity(&self) -> u32 {
        self.held + self.promised
    }

    /// As it was when the reservation was made.
    #[must_use]
    pub const fn first(&self) -> ReservedPart {
        let promised = self.promised_first;
        ReservedPart { item: self.item, held: self.quantity() - promised, promised }
    }

    /// As it is.
    #[must_use]
    pub const fn current(&self) -> ReservedPart {
        ReservedPart { item: self.item, held: self.held, promised: self.promised }
    }

    pub(super) fn digest(&self, no: ReservationNo) -> u128 {
        let Self { item, held, promised, promised_first, returned } = *self;
        digest::row(&[
            21,
            no.get(),
            two(item.get(), held),
            two(promised, promised_first),
            u64::from(returned),
        ])
    }
}

impl Parts {
    pub(super) fn new(parts: impl ExactSizeIterator<Item = Part>) -> Self {
        let mut parts = parts;
        match parts.len() {
            1 => Self::One(parts.next().expect("there is one")),
            _ => Self::Many(parts.collect()),
        }
    }

    pub(super) fn as_slice(&self) -> &[Part] {
        match self {
            Self::One(part) => core::slice::from_ref(part),
            Self::Many(parts) => parts,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Part] {
        match self {
            Self::One(part) => core::slice::from_mut(part),
            Self::Many(parts) => parts,
        }
    }
}

impl Row {
    pub(super) fn part_mut(&mut self, item: ItemNo) -> Option<&mut Part> {
        let parts = self.parts.as_mut_slice();
        let place = parts.binary_search_by_key(&item, |part| part.item).ok()?;
        Some(&mut parts[place])
    }

    /// Whether it ended so long ago that it is as good as forgotten at `now`.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let kept = Millis::new(limits::RESERVATION_KEPT_MILLIS);
        // What ended just now is never over, not even at the end of time.
        self.state != ReservationState::Held && self.at < now && self.at.plus(kept) <= now
    }

    /// Of what never changes but the parts; `names` is the keyed hash of the names.
    pub(super) fn identity_digest(no: ReservationNo, names: u64) -> u128 {
        digest::row(&[19, no.get(), names])
    }

    pub(super) fn state_digest(&self, no: ReservationNo) -> u128 {
        digest::row(&[20, no.get(), self.state as u64, self.at.as_millis()])
    }
}

impl RowNames {
    pub(super) fn new(member: Option<&MemberId>, order: Option<&OrderId>, holder: Holder) -> Self {
        if member.is_none() && order.is_none() && holder == Holder::Shop {
            return Self("".into());
        }
        let (member, order) = (member.map_or("", MemberId::as_str), order.map_or("", OrderId::as_str));
        let mut names = String::with_capacity(member.len() + 1 + order.len());
        names.push_str(member);
        names.push(if holder == Holder::Shop { ' ' } else { '\t' });
        names.push_str(order);
        Self(names.into_boxed_str())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn member(&self) -> Option<&str> {
        self.both().map(|(member, _)| member).filter(|member| !member.is_empty())
    }

    pub(super) fn order(&self) -> Option<&str> {
        self.both().map(|(_, order)| order).filter(|order| !order.is_empty())
    }

    pub(super) fn holder(&self) -> Holder {
        if self.0.contains('\t') { Holder::Member } else { Holder::Shop }
    }

    fn both(&self) -> Option<(&str, &str)> {
        self.0.split_once([' ', '\t'])
    }
}

fn two(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
