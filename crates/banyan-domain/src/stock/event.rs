//! What can happen in the stock capability. Events are stored for ever: fields get new numbers, never new meanings.
//!
//! Whom goods that become free go to is not in the events: it follows from them, see `serve`.

use crate::{Actor, Holder, ItemNo, LocationId, MemberId, OrderId, Reason, ReservationNo, SkuId, Timestamp};
use minicbor::{Decode, Encode};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// A SKU was first seen at a location. The SKU and the location may be new themselves.
    #[n(0)]
    ItemCreated {
        /// The number it got.
        #[n(0)]
        item: ItemNo,
        /// Which SKU.
        #[n(1)]
        sku: SkuId,
        /// Where.
        #[n(2)]
        location: LocationId,
        /// By whom.
        #[n(3)]
        by: Actor,
    },
    /// An item was counted.
    #[n(1)]
    StockSet {
        /// Which item.
        #[n(0)]
        item: ItemNo,
        /// Units there.
        #[n(1)]
        on_hand: u32,
        /// By whom.
        #[n(2)]
        by: Actor,
        /// Why.
        #[n(3)]
        reason: Reason,
    },
    /// Goods arrived.
    #[n(2)]
    GoodsReceived {
        /// Which item.
        #[n(0)]
        item: ItemNo,
        /// Units.
        #[n(1)]
        quantity: u32,
        /// By whom.
        #[n(2)]
        by: Actor,
        /// Why.
        #[n(3)]
        reason: Reason,
    },
    /// Units were found or missed.
    #[n(3)]
    StockAdjusted {
        /// Which item.
        #[n(0)]
        item: ItemNo,
        /// Units found (positive) or missing (negative).
        #[n(1)]
        by_quantity: i64,
        /// By whom.
        #[n(2)]
        by: Actor,
        /// Why.
        #[n(3)]
        reason: Reason,
    },
    /// How an item may be sold was changed: all of it as it is now.
    #[n(4)]
    ItemConfigured {
        /// Which item.
        #[n(0)]
        item: ItemNo,
        /// Units on hand that are not sold.
        #[n(1)]
        safety: u32,
        /// Units that may be promised and owed beyond the stock, once released.
        #[n(2)]
        backorder_max: u32,
        /// The same before release.
        #[n(3)]
        preorder_max: u32,
        /// The release; without it, the item is out.
        #[n(4)]
        released_at: Option<Timestamp>,
        /// By whom.
        #[n(5)]
        by: Actor,
    },
    /// The purchase limit of an item's SKU was set or lifted; the count starts again.
    #[n(5)]
    PurchaseLimitSet {
        /// An item of the SKU.
        #[n(0)]
        item: ItemNo,
        /// Units one member may reserve and buy from now on.
        #[n(1)]
        per_member: Option<u32>,
        /// By whom.
        #[n(2)]
        by: Actor,
    },
    /// Many items were counted.
    #[n(6)]
    StockImported {
        /// The number of the import, from 1.
        #[n(0)]
        import: u64,
        /// New items, which get the next numbers in this order.
        #[n(1)]
        new: Vec<NewItem>,
        /// Known items that changed, in order of their numbers.
        #[n(2)]
        set: Vec<ItemCount>,
        /// Rows that said what was known.
        #[n(3)]
        unchanged: u32,
        /// Indices of the rows refused, in order.
        #[n(4)]
        refused: Vec<u16>,
        /// By whom.
        #[n(5)]
        by: Actor,
    },
    /// A reservation was made.
    #[n(7)]
    ReservationMade {
        /// The number it got.
        #[n(0)]
        reservation: ReservationNo,
        /// What it draws on, in order of the items' numbers.
        #[n(1)]
        parts: Vec<ReservedPart>,
        /// When it expires.
        #[n(2)]
        until: Timestamp,
        /// For whom.
        #[n(3)]
        member: Option<MemberId>,
        /// For which order.
        #[n(4)]
        order: Option<OrderId>,
        /// By whom.
        #[n(5)]
        holder: Holder,
    },
    /// What was reserved was sold: held units left, promised ones are owed.
    #[n(8)]
    ReservationCommitted {
        /// Which reservation.
        #[n(0)]
        reservation: ReservationNo,
    },
    /// A reservation was given up.
    #[n(9)]
    ReservationReleased {
        /// Which reservation.
        #[n(0)]
        reservation: ReservationNo,
    },
    /// A reservation's deadline passed.
    #[n(10)]
    ReservationExpired {
        /// Which reservation.
        #[n(0)]
        reservation: ReservationNo,
    },
    /// Committed goods came back.
    #[n(11)]
    GoodsReturned {
        /// Of which reservation.
        #[n(0)]
        reservation: ReservationNo,
        /// What, in order of the items' numbers.
        #[n(1)]
        parts: Vec<ReturnedPart>,
        /// By whom.
        #[n(2)]
        by: Actor,
        /// Why.
        #[n(3)]
        reason: Reason,
    },
}

/// An item that an import made.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewItem {
    /// Which SKU.
    #[n(0)]
    pub sku: SkuId,
    /// Where.
    #[n(1)]
    pub location: LocationId,
    /// Units there.
    #[n(2)]
    pub on_hand: u32,
}

/// An item that an import changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ItemCount {
    /// Which item.
    #[n(0)]
    pub item: ItemNo,
    /// Units there.
    #[n(1)]
    pub on_hand: u32,
}

/// What a reservation draws on at one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReservedPart {
    /// Which item.
    #[n(0)]
    pub item: ItemNo,
    /// Units on hand set aside.
    #[n(1)]
    pub held: u32,
    /// Units beyond the stock.
    #[n(2)]
    pub promised: u32,
}

/// What came back at one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReturnedPart {
    /// Which item.
    #[n(0)]
    pub item: ItemNo,
    /// Units.
    #[n(1)]
    pub quantity: u32,
}

impl Event {
    /// Whether events stored under `tag` are about items and not about reservations: the few that operators cause.
    #[must_use]
    pub const fn is_about_item(tag: u32) -> bool {
        tag <= 6
    }

    /// The reservation it concerns, if it concerns one.
    #[must_use]
    pub const fn reservation(&self) -> Option<ReservationNo> {
        match self {
            Self::ReservationMade { reservation, .. }
            | Self::ReservationCommitted { reservation }
            | Self::ReservationReleased { reservation }
            | Self::ReservationExpired { reservation }
            | Self::GoodsReturned { reservation, .. } => Some(*reservation),
            Self::ItemCreated { .. }
            | Self::StockSet { .. }
            | Self::GoodsReceived { .. }
            | Self::StockAdjusted { .. }
            | Self::ItemConfigured { .. }
            | Self::PurchaseLimitSet { .. }
            | Self::StockImported { .. } => None,
        }
    }
}
