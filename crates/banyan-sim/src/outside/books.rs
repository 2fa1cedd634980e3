//! The last word: what the company and the partners have in their books, held against how every saga ended.

use super::company::{Company, Payment};
use super::network::Network;
use super::partners::Partners;
use crate::model::ledger::Kind;
use crate::model::orders::Way;
use crate::model::sagas::Saga;
use crate::model::{Model, Objection};
use banyan_domain::OrderNo;
use banyan_domain::coupon::CouponState;
use banyan_domain::saga::End;
use banyan_domain::stock::ReservationState;

/// What ended how: completed, compensated, parked.
pub(crate) type Ends = [u64; 3];

/// Objects to any saga whose end is not what the books say. Every saga is over or parked by now.
pub(crate) fn audit(model: &Model, network: &Network) -> Result<Ends, Objection> {
    network.books(|company, partners| audit_books(model, company, partners))
}

fn audit_books(model: &Model, company: &Company, partners: &Partners) -> Result<Ends, Objection> {
    let mut ends = [0; 3];
    let (mut sold, mut taken) = (0, 0);
    let (mut returned, mut given, mut refunds_open) = (0, 0, false);
    for saga in &model.sagas.sagas {
        let name = model.sagas.definition(saga).name.as_str();
        let key = saga.key.as_str();
        let wrong = |why: String| {
            format!("{key}, which ended as {:?} (parked at {:?}): {why}", saga.ended, saga.parked)
        };
        let way = match (saga.ended, saga.parked) {
            (_, Some(_)) => 2,
            (Some(End::Completed), None) => 0,
            (Some(End::Compensated), None) => 1,
            (None, None) => return Err(format!("{key} is neither over nor parked: {saga:?}")),
        };
        ends[way] += 1;
        match name {
            "order-refund" => {
                let (back, sent) = refund(model, saga).map_err(wrong)?;
                returned += back;
                refunds_open |= way == 2;
                given += sent;
            }
            "checkout" => {
                let (booked, captured) = checkout(model, company, saga).map_err(wrong)?;
                // Money that was captured and is not booked: only where an operator sees it.
                object_unless!(
                    way == 2 || booked == captured,
                    "{key}: {captured} was taken, {booked} booked"
                );
                sold += booked;
                taken += captured;
            }
            _ => delivery(partners, saga).map_err(wrong)?,
        }
    }
    let captured: i64 = company.payments.iter().map(|payment| payment.captured).sum();
    object_unless!(captured == taken, "the company took {captured}, the orders {taken}");
    // A parked refund may have been sent and not be booked: an operator sees it.
    let refunded: i64 = company.payments.iter().map(|payment| payment.refunded).sum();
    object_unless!(refunds_open || refunded == given, "the company gave {refunded} back, the orders {given}");
    let receivable = model.ledger.accounts.iter().find(|account| account.id.as_str() == "company:receivable");
    let receivable = receivable.map_or(0, |account| account.sums[0] - account.sums[1]);
    object_unless!(
        receivable == sold - returned,
        "{receivable} is booked, {sold} was sold, {returned} given back"
    );
    Ok(ends)
}

/// What was booked and what was captured for a checkout.
fn checkout(model: &Model, company: &Company, saga: &Saga) -> Result<(i64, i64), Objection> {
    let key = saga.key.as_str();
    let input = |field: &str| saga.input.get(field).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    let payments = || company.payments.iter().filter(|payment| payment.order == key);
    let charged = payments().filter(|payment| payment.captured > 0).count();
    object_unless!(charged <= 1, "it was charged {charged} times");
    let captured: i64 = payments().map(|payment| payment.captured).sum();
    let posted = model.ledger.transfers.iter().filter(|made| made.reference == key);
    let posted: Vec<_> = posted
        .filter(|made| matches!(made.kind, Kind::Posted { .. }))
        .map(|made| (account(model, made.credit), made.amount))
        .collect();
    let sum =
        |to: &str| posted.iter().filter(|(credit, _)| *credit == to).map(|(_, amount)| amount).sum::<i64>();
    let (sales, points) = (sum("shop:sales"), sum("shop:points"));
    object_unless!(posted.len() <= 2, "it was booked {} times", posted.len());
    let mut given_back = false;
    if let Some(order) = saga.input.get("order").and_then(|no| OrderNo::parse(no).ok()) {
        let order = model.orders.order(order).ok_or("its order is not there")?;
        let fits = match (saga.ended, saga.parked) {
            (_, Some(_)) | (None, _) => true,
            (Some(End::Completed), None) => {
                order.way == Way::Paid || order.refunds.iter().any(|back| back.cancel)
            }
            (Some(End::Compensated), None) => matches!(order.way, Way::Failed | Way::Cancelled),
        };
        object_unless!(fits && order.cancel_is_told(), "its order is {order:?}");
        given_back = order.refunds.iter().any(|back| back.cancel && back.done == Some(true));
    }
    let open = payments().filter(|payment| Payment::is_open(payment)).count();
    let stock = model.reservation_of(key).map(|made| made.state);
    let coupons: Vec<_> = model.coupons_of(key).collect();
    match (saga.ended, saga.parked) {
        (_, Some(_)) | (None, _) => {}
        (Some(End::Completed), None) => {
            let (amount, wanted) = (input("amount"), input("points"));
            object_unless!(open == 0, "{open} holds are left at the company");
            object_unless!(
                captured == amount && sales == amount,
                "{captured} was taken, {sales} booked of {amount}"
            );
            object_unless!(points == wanted, "{points} points were spent of {wanted}");
            object_unless!(stock == Some(ReservationState::Committed), "its stock is {stock:?}");
            // Who cancels has the coupon back, unless its campaign is over for good.
            let redeemed = coupons == [CouponState::Redeemed];
            let has_coupon = saga.input.get("coupon").is_some();
            let fits = redeemed == has_coupon || (given_back && !redeemed);
            object_unless!(fits && coupons.len() <= 1, "its coupons are {coupons:?}");
        }
        (Some(End::Compensated), None) => {
            object_unless!(open == 0, "{open} holds are left at the company");
            object_unless!(captured == 0 && charged == 0, "{captured} was taken");
            object_unless!(posted.is_empty(), "{posted:?} is booked");
            let held = model.points_held(key);
            object_unless!(held == 0, "{held} points are held");
            let back = matches!(stock, None | Some(ReservationState::Released | ReservationState::Expired));
            object_unless!(back, "its stock is {stock:?}");
            object_unless!(coupons.is_empty(), "its coupons are {coupons:?}");
        }
    }
    Ok((sales, captured))
}

/// What was booked back, and what the order says was given back, by a refund.
fn refund(model: &Model, saga: &Saga) -> Result<(i64, i64), Objection> {
    let key = saga.key.as_str();
    let (order, no) = key.rsplit_once('.').ok_or("its key is none of a refund")?;
    let order =
        OrderNo::parse(order).ok().and_then(|no| model.orders.order(no)).ok_or("it is of no order")?;
    let refund = no.parse::<usize>().ok().and_then(|no| order.refunds.get(no.checked_sub(1)?));
    let refund = refund.ok_or("it is of no refund")?;
    let made = || model.ledger.transfers.iter().filter(|made| made.reference == key);
    let back: i64 = made().filter(|made| made.kind == Kind::Back).map(|made| made.amount).sum();
    let points: i64 =
        made().filter(|made| matches!(made.kind, Kind::Posted { .. })).map(|made| made.amount).sum();
    let wanted = match (saga.ended, saga.parked) {
        (_, Some(_)) | (None, _) => return Ok((back, back)),
        (Some(End::Completed), None) => (Some(true), refund.amount, refund.points),
        (Some(End::Compensated), None) => (Some(false), 0, 0),
    };
    let is = (refund.done, back, points);
    object_unless!(is == wanted, "it is {is:?} and should be {wanted:?}");
    Ok((back, back))
}

fn delivery(partners: &Partners, saga: &Saga) -> Result<(), Objection> {
    let key = saga.key.as_str();
    let slots = partners.taken.values().filter(|order| *order == key).count();
    let booked = partners.booked.iter().filter(|order| *order == key).count();
    let sent = partners.sent.iter().filter(|text| text.split(' ').any(|word| word == key)).count();
    object_unless!(
        slots <= 1 && booked <= 1 && sent <= 1,
        "{slots} slots, {booked} couriers, {sent} messages"
    );
    let tells = saga.steps.len() > 2;
    match (saga.ended, saga.parked) {
        (_, Some(_)) | (None, _) => {}
        (Some(End::Completed), None) => {
            let whole = slots == 1 && booked == 1 && (!tells || sent == 1);
            object_unless!(whole, "{slots} slots, {booked} couriers, {sent} messages");
        }
        (Some(End::Compensated), None) => {
            object_unless!(slots + booked + sent == 0, "{slots} slots, {booked} couriers, {sent} messages");
        }
    }
    Ok(())
}

fn account(model: &Model, no: banyan_domain::AccountNo) -> &str {
    model.ledger.account_no(no).map_or("", |account| account.id.as_str())
}
