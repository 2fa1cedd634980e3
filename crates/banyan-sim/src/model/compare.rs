//! The engine's state, held against what the log says: stock, ledger, sagas and orders.

use super::orders::Way;
use super::{Model, Objection};
use banyan_domain::order::OrderState;
use banyan_domain::saga::{End, Phase};
use banyan_domain::stock::ReservationState;
use banyan_domain::{OrderNo, ReservationNo, SagaNo, State};

impl Model {
    /// Compares every row of `state`.
    pub(crate) fn compare_shop(&self, state: &State) -> Result<(), Objection> {
        self.compare_stock(state)?;
        self.compare_ledger(state)?;
        self.compare_sagas(state)?;
        self.compare_orders(state)
    }

    fn compare_orders(&self, state: &State) -> Result<(), Objection> {
        let (seen, known) = (state.orders().placed(), self.orders.orders.len() as u64);
        object_unless!(seen == known, "the state has had {seen} orders, the log {known}");
        for (no, order) in (1..).map(OrderNo::new).zip(&self.orders.orders) {
            let Some(seen) = state.orders().order(no) else {
                object_unless!(order.ended_at.is_some(), "the state has lost {no}, {order:?}");
                continue;
            };
            let way = match seen.state {
                OrderState::Placed => Way::Placed,
                OrderState::Paid => Way::Paid,
                OrderState::Cancelled => Way::Cancelled,
                OrderState::Failed => Way::Failed,
            };
            let refunds = (seen.refunds.len(), seen.refunded(), seen.refunded_points());
            let (money, points) = order.given_back();
            let same = way == order.way
                && (seen.total(), seen.points()) == (order.total(), order.points())
                && refunds == (order.refunds.len(), money, points)
                && seen.lines == order.lines
                && seen.member == order.member;
            object_unless!(same, "{no} is {seen:?} in the state and {order:?} in the log");
        }
        Ok(())
    }

    fn compare_stock(&self, state: &State) -> Result<(), Objection> {
        let items: Vec<_> = state.stock().items().collect();
        object_unless!(items.len() == self.stock.items.len(), "the state has {} items", items.len());
        for (seen, item) in items.iter().zip(&self.stock.items) {
            let level = seen.level;
            let same = seen.sku == item.sku.as_str()
                && *seen.location == item.location
                && (level.on_hand, level.held, level.safety) == (item.on_hand, item.held, item.safety)
                && (level.promised, level.owed) == (0, 0)
                && level.available() == item.available();
            object_unless!(same, "the item {item:?} is {seen:?} in the state");
        }
        for (no, made) in (1..).map(ReservationNo::new).zip(&self.stock.reservations) {
            let Some(seen) = state.stock().reservation(no) else {
                object_unless!(made.state != ReservationState::Held, "the state has lost {no}, {made:?}");
                continue;
            };
            let same = seen.state == made.state
                && seen.at.as_millis() == made.at
                && seen.member == made.member.as_ref().map(banyan_domain::MemberId::as_str)
                && seen.order == made.order.as_ref().map(banyan_domain::OrderId::as_str)
                && seen.parts.len() == made.parts.len();
            object_unless!(same, "the reservation {no} is {seen:?} in the state and {made:?} in the log");
        }
        Ok(())
    }

    fn compare_ledger(&self, state: &State) -> Result<(), Objection> {
        let count = state.ledger().statements().count();
        object_unless!(count == self.ledger.accounts.len(), "the state has {count} accounts");
        for (seen, account) in state.ledger().statements().zip(&self.ledger.accounts) {
            let sums = [seen.debits_posted, seen.credits_posted, seen.debits_pending, seen.credits_pending];
            let same = seen.id == account.id.as_str() && sums == account.sums && seen.rule == account.rule;
            object_unless!(same, "the account {account:?} is {seen:?} in the state");
        }
        let transfers = self.ledger.transfers.len() as u64;
        let seen = state.ledger().transfers_ever();
        object_unless!(seen == transfers, "the state has {seen} transfers, the log {transfers}");
        object_unless!(state.ledger().trial_balance().is_balanced(), "the state's books are not balanced");
        Ok(())
    }

    fn compare_sagas(&self, state: &State) -> Result<(), Objection> {
        let (seen, known) = (state.sagas().started(), self.sagas.sagas.len() as u64);
        object_unless!(seen == known, "the state has begun {seen} sagas, the log {known}");
        for (no, saga) in (1..).map(SagaNo::new).zip(&self.sagas.sagas) {
            let Some(seen) = state.sagas().saga(no) else {
                object_unless!(saga.ended.is_some(), "the state has lost saga {}, {saga:?}", no.get());
                continue;
            };
            let way = match (saga.ended, &saga.turned) {
                (Some(end), _) => Phase::Ended(end),
                (None, Some(_)) => Phase::Compensating,
                (None, None) => Phase::Running,
            };
            let same = seen.phase == way
                && seen.key == saga.key
                && seen.parked.as_ref().map(|park| usize::from(park.step)) == saga.parked
                && (saga.ended != Some(End::Completed) || seen.open_ask().is_none());
            object_unless!(same, "saga {} is {seen:?} in the state and {saga:?} in the log", no.get());
        }
        Ok(())
    }
}
