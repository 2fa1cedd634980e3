//! What a saga does in this store, compared with what the log says became of it.

use super::ledger::Kind;
use super::orders::Way;
use super::sagas::Local;
use super::{Model, Objection};
use banyan_domain::coupon::{CouponCode, CouponState};
use banyan_domain::saga::Event;
use banyan_domain::stock::ReservationState;
use banyan_domain::{OrderNo, ReservationNo, TransferNo};

impl Model {
    /// A local step says that it is done: then it is, in the name of its saga.
    pub(super) fn local_step(&self, seq: u64, event: &Event) -> Result<(), Objection> {
        let Some(local) = self.sagas.local(event) else { return Ok(()) };
        let Local { action, saga, place, output } = local;
        let key = saga.key.as_str();
        let wanted = |field: &str| saga.input.get(field).and_then(|text| text.parse::<i64>().ok());
        match action {
            "stock.reserve" => {
                let no = output.get("reservation").and_then(|no| ReservationNo::parse(no).ok());
                let made = no.and_then(|no| self.stock.reservation(no)).ok_or("it reserved nothing")?;
                let own = made.order.as_ref().is_some_and(|order| order.as_str() == key);
                object_unless!(own && made.seq + 1 == seq, "its reservation is not its own: {made:?}");
                let member = made.member.as_ref().map(banyan_domain::MemberId::as_str);
                object_unless!(member == saga.input.get("member"), "it reserved for somebody else");
                let asked: u32 = saga.input.get("lines").map_or(0, units);
                let units: u32 = made.parts.iter().map(|part| part.units).sum();
                object_unless!(units == asked, "it reserved {units} units of {asked}");
            }
            "stock.commit" | "stock.release" => {
                let made = self.reservation_of(key).ok_or("there is nothing reserved for it")?;
                let fits = match made.state {
                    ReservationState::Committed => action == "stock.commit",
                    ReservationState::Released | ReservationState::Expired => action == "stock.release",
                    ReservationState::Held => false,
                };
                object_unless!(fits, "after {action}, the reservation is {:?}", made.state);
            }
            "coupon.hold" | "coupon.redeem" => {
                let state = if action == "coupon.hold" { CouponState::Held } else { CouponState::Redeemed };
                let found = self.coupons_of(key).any(|found| found == state);
                object_unless!(found, "after {action}, no coupon is {state:?} for {key}");
                let code = saga.input.get("coupon").map(CouponCode::parse);
                object_unless!(matches!(code, Some(Ok(_))), "it took a coupon that it does not have");
            }
            "coupon.release" => {
                object_unless!(self.coupons_of(key).next().is_none(), "its coupon is not released");
            }
            "pay.post" | "pay.hold" | "pay.capture" => {
                let no = output.get("transfer").and_then(|no| TransferNo::parse(no).ok());
                let made = no.and_then(|no| self.ledger.transfer(no)).ok_or("it moved nothing")?;
                object_unless!(made.seq + 1 == seq, "its transfer is not its own: {made:?}");
                object_unless!(made.reference == key, "its transfer is for {}", made.reference);
                // An order's refund posts points alone.
                let refund = saga.input.get("refund").is_some();
                let amount =
                    if action == "pay.post" && !refund { wanted("amount") } else { wanted("points") };
                object_unless!(Some(made.amount) == amount, "it moved {} of {amount:?}", made.amount);
            }
            "pay.refund" => {
                let no = output.get("transfer").and_then(|no| TransferNo::parse(no).ok());
                let made = no.and_then(|no| self.ledger.transfer(no)).ok_or("it moved nothing")?;
                let own = made.seq + 1 == seq && made.reference == key && made.kind == Kind::Back;
                object_unless!(own, "its transfer is not its own: {made:?}");
                object_unless!(Some(made.amount) == wanted("amount"), "it moved {}", made.amount);
            }
            "order.begin"
            | "order.begin-refund"
            | "order.fail"
            | "order.paid"
            | "order.refunded"
            | "order.refund-refused" => self.order_step(action, saga)?,
            "coupon.restore" => {
                let order = saga.input.get("order").unwrap_or_default();
                let redeemed = self.coupons_of(order).any(|found| found == CouponState::Redeemed);
                object_unless!(!redeemed, "its coupon is not free again");
            }
            // What came back is compared with the order in the end: it may be long after the sale is forgotten.
            "stock.return" => {}
            "pay.void" => {
                object_unless!(self.points_held(key) == 0, "its points are still held");
            }
            _ => return Err(format!("step {place} does {action}, which nobody knows")),
        }
        Ok(())
    }

    /// What a saga told its order is so.
    fn order_step(&self, action: &str, saga: &super::sagas::Saga) -> Result<(), Objection> {
        let order = saga.input.get("order").and_then(|no| OrderNo::parse(no).ok());
        let order = order.and_then(|no| self.orders.order(no)).ok_or("it is about no order")?;
        let refund = saga.input.get("refund").and_then(|no| no.parse::<usize>().ok());
        let refund = refund.and_then(|no| order.refunds.get(no.checked_sub(1)?)).map(|refund| refund.done);
        let fits = match action {
            "order.begin" => order.way == Way::Placed,
            "order.begin-refund" => refund == Some(None),
            "order.fail" => matches!(order.way, Way::Failed | Way::Cancelled),
            "order.paid" => order.way == Way::Paid,
            "order.refunded" => refund == Some(Some(true)),
            _ => refund == Some(Some(false)),
        };
        object_unless!(fits, "after {action}, the order is {order:?}");
        Ok(())
    }

    /// What was reserved for an order last.
    pub(crate) fn reservation_of(&self, order: &str) -> Option<&super::stock::Reservation> {
        let own = |made: &&super::stock::Reservation| {
            made.order.as_ref().is_some_and(|order_of| order_of.as_str() == order)
        };
        self.stock.reservations.iter().rev().find(own)
    }

    /// The states of the coupons that are held or redeemed by an order.
    pub(crate) fn coupons_of<'a>(&'a self, order: &'a str) -> impl Iterator<Item = CouponState> + 'a {
        let coupons = self.campaigns.iter().flat_map(|campaign| &campaign.coupons);
        let own = coupons.filter(move |coupon| coupon.order.as_ref().is_some_and(|of| of.as_str() == order));
        own.map(|coupon| coupon.state)
    }

    /// What is on hold for an order.
    pub(crate) fn points_held(&self, order: &str) -> i64 {
        let left = self
            .ledger
            .transfers
            .iter()
            .filter(|made| made.reference == order)
            .map(|made| if let Kind::Held { left, .. } = made.kind { left } else { 0 });
        left.sum()
    }
}

/// The units of `SKU*UNITS SKU*UNITS`.
pub(crate) fn units(lines: &str) -> u32 {
    lines.split(' ').filter_map(|line| line.rsplit_once('*')?.1.parse::<u32>().ok()).sum()
}
