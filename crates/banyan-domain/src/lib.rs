//! The pure rules of the shop: what may happen, and what it changes.
//!
//! Everything here is a function of its arguments. There is no I/O, no clock, no randomness, no async and no map whose
//! order varies: the same events in the same order give the same [`State`], byte for byte. Time, ids and secrets are
//! inputs. This crate does not know that a log, a network or a database exists.
//!
//! Start reading at [`State`]: `decide` turns a [`Command`] into events or a [`Refusal`], `apply` moves the state.
//! Then read [`coupon`], the first capability, [`pay`], the double-entry ledger, and [`order`], which ties all of them together
//! by [`saga`]s.

mod both;
mod card;
pub mod codec;
pub mod coupon;
mod decision;
mod digest;
mod event;
mod foretelling;
#[cfg(test)]
mod golden;
mod holder;
mod idempotency;
mod ids;
mod lapsing;
pub mod legacy;
pub mod limits;
mod local;
mod mirroring;
mod money;
pub mod order;
mod ordering;
pub mod pay;
mod refusal;
pub mod saga;
mod secret;
mod snapshot;
mod state;
pub mod stock;
mod time;

pub use both::{Both, InTurn};
pub use card::holds_card_number;
pub use decision::Decided;
pub use digest::Digest;
pub use event::{Command, Entry, Event, Outcome};
pub use foretelling::Foretold;
pub use holder::Holder;
pub use idempotency::{IdempotencyTable, KeyStamp, Remembered};
pub use ids::{
    AccountId, AccountNo, Actor, CampaignId, CampaignNo, CouponId, InvalidId, ItemNo, LocationId, MemberId,
    OrderId, OrderNo, ProductId, Reason, Reference, ReservationNo, SagaKey, SagaName, SagaNo, SegmentName,
    SkuId, StepName, TransferNo,
};
pub use local::{Advance, LOCAL_ACTIONS};
pub use mirroring::MirrorLevel;
pub use money::{Currency, InvalidMoney, Money};
pub use ordering::points_account;
pub use refusal::Refusal;
pub use secret::{Keys, StoreSecret};
pub use snapshot::SnapshotError;
pub use state::{Applied, Decision, State, Violation};
pub use time::{Millis, Timestamp};
