//! The coupon capability: campaigns, and the life of each coupon they issue.
//!
//! A coupon is issued to a member, may be held for an order, and ends redeemed, revoked or expired. Read [`Command`] and
//! [`Event`] for what can be asked and what can happen, `decide` for the rules, `apply` for what each event changes.

mod apply;
mod campaign;
mod code;
mod command;
mod decide;
mod event;
mod invariants;
mod members;
mod refusal;
mod rows;
mod state;

pub use campaign::{
    Audience, Benefit, Campaign, CampaignDefinition, CampaignState, InvalidCampaign, Stacking, Totals,
};
pub use code::{CodeKey, CouponCode, InvalidCode};
pub use command::{CampaignChange, Command, CouponAnswer, Outcome};
pub use event::{EndCause, Event, ReleaseCause};
pub use members::MemberTable;
pub use refusal::Refusal;
pub use rows::{CouponRow, CouponState, Hold, Redemption};
pub use state::{Coupons, Retired};

pub(crate) use members::WrittenMembers;
