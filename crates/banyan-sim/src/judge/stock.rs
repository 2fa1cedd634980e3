//! What may be answered to a command about stock.

use crate::model::stock::{Item, Stock};
use banyan_domain::stock::{Command, Event, Line, Outcome, Refusal as No, ReservationState};
use banyan_domain::{ItemNo, LocationId, SkuId, limits};

/// The answer to a command that has nothing left to do.
pub(super) fn natural(stock: &Stock, command: &Command) -> Option<Outcome> {
    let item = |sku, location| stock.find(sku, location);
    let ended = |no, states: &[ReservationState]| {
        let found = stock.reservation(no)?;
        states.contains(&found.state).then(|| stock.reservation_answer(no))
    };
    match command {
        Command::SetStock { sku, location, on_hand, .. } => {
            let (no, found) = item(sku, location)?;
            (found.on_hand == *on_hand).then(|| stock.item_answer(no))
        }
        Command::Receive { sku, location, quantity: 0, .. }
        | Command::Adjust { sku, location, by_quantity: 0, .. } => {
            Some(stock.item_answer(item(sku, location)?.0))
        }
        Command::Configure { sku, location, change, .. } => {
            let (no, found) = item(sku, location)?;
            change.safety.is_none_or(|safety| safety == found.safety).then(|| stock.item_answer(no))
        }
        Command::CommitReservation { reservation } => ended(*reservation, &[ReservationState::Committed]),
        Command::ReleaseReservation { reservation } => {
            ended(*reservation, &[ReservationState::Released, ReservationState::Expired])
        }
        Command::Receive { .. }
        | Command::Adjust { .. }
        | Command::Reserve { .. }
        | Command::Return { .. }
        | Command::ImportStock { .. } => None,
    }
}

/// Whether `no` is true of `command` at `now`.
pub(super) fn justified(stock: &Stock, now: u64, command: &Command, no: No) -> bool {
    let unknown = |sku: &SkuId, location: Option<&LocationId>| {
        let mut of_sku = stock.items.iter().filter(|item| item.sku == *sku);
        match no {
            No::SkuNotFound => of_sku.next().is_none(),
            No::LocationNotFound => of_sku.all(|item| location.is_some_and(|at| item.location != *at)),
            _ => false,
        }
    };
    match command {
        Command::SetStock { sku, location, on_hand, .. } => {
            let found = stock.find(sku, location);
            no == No::StockBelowHeld && found.is_some_and(|(_, item)| *on_hand < item.held)
        }
        Command::Receive { sku, location, .. } | Command::Configure { sku, location, .. } => {
            unknown(sku, Some(location))
        }
        Command::Adjust { sku, location, by_quantity, .. } => {
            let found = stock.find(sku, location);
            let below =
                found.is_some_and(|(_, item)| i64::from(item.on_hand) + by_quantity < item.held.into());
            unknown(sku, Some(location)) || (no == No::StockBelowHeld && below)
        }
        Command::Reserve { lines, .. } => match no {
            // The simulated clients never name a SKU twice, so that each line stands for itself.
            No::OutOfStock { lines: short } => {
                let is_short = |line: &Line| available(stock, line) < u64::from(line.quantity);
                let lines = lines.as_slice().iter().enumerate();
                short == lines.fold(0, |bits, (at, line)| bits | u128::from(is_short(line)) << at)
            }
            _ => lines.as_slice().iter().any(|line| unknown(&line.sku, line.location.as_ref())),
        },
        Command::CommitReservation { reservation }
        | Command::ReleaseReservation { reservation }
        | Command::Return { reservation, .. } => {
            if let Command::Return { lines, .. } = command
                && matches!(no, No::SkuNotFound | No::LocationNotFound)
            {
                return lines.as_slice().iter().any(|line| unknown(&line.sku, line.location.as_ref()));
            }
            let Some(found) = stock.reservation(*reservation) else { return no == No::ReservationNotFound };
            let lapsed = found.state == ReservationState::Held && found.at <= now;
            let ended = found.state != ReservationState::Held;
            match no {
                No::ReservationNotFound => ended && found.at + limits::RESERVATION_KEPT_MILLIS <= now,
                No::ReservationReleased => found.state == ReservationState::Released,
                No::ReservationCommitted => found.state == ReservationState::Committed,
                No::ReservationExpired => lapsed || found.state == ReservationState::Expired,
                No::ReturnTooMuch => {
                    let Command::Return { lines, .. } = command else { return false };
                    let left = |line: &Line| -> u64 {
                        let of = found
                            .parts
                            .iter()
                            .filter(|part| stock.item(part.item).is_some_and(|item| is_meant(item, line)));
                        of.map(|part| u64::from(part.units - part.returned)).sum()
                    };
                    let much = |line: &Line| u64::from(line.quantity) > left(line);
                    !ended || lines.as_slice().iter().any(much)
                }
                _ => false,
            }
        }
        Command::ImportStock { .. } => false,
    }
}

/// Whether `event` is something that `command` may come to.
pub(super) fn fits(stock: &Stock, command: &Command, event: &Event, now: u64) -> bool {
    let named = |no: &ItemNo, sku: &SkuId, location: &LocationId| {
        stock.find(sku, location).is_some_and(|(found, _)| found == *no)
    };
    match (command, event) {
        (Command::SetStock { sku, location, .. }, Event::ItemCreated { sku: new, location: at, .. }) => {
            sku == new && location == at
        }
        (Command::SetStock { sku, location, on_hand, .. }, Event::StockSet { item, on_hand: set, .. }) => {
            on_hand == set && named(item, sku, location)
        }
        (
            Command::Receive { sku, location, quantity, .. },
            Event::GoodsReceived { item, quantity: came, .. },
        ) => quantity == came && named(item, sku, location),
        (
            Command::Adjust { sku, location, by_quantity, .. },
            Event::StockAdjusted { item, by_quantity: by, .. },
        ) => by_quantity == by && named(item, sku, location),
        (Command::Configure { sku, location, change, .. }, Event::ItemConfigured { item, safety, .. }) => {
            change.safety.is_none_or(|wanted| wanted == *safety) && named(item, sku, location)
        }
        (
            Command::Reserve { lines, member, order, holder, hold_for },
            Event::ReservationMade { parts, until, member: whose, order: of, holder: by, .. },
        ) => {
            let span = hold_for.get().clamp(1, limits::RESERVATION_MILLIS_MAX);
            let whole = lines.as_slice().iter().all(|line| {
                let of = parts
                    .iter()
                    .filter(|part| stock.item(part.item).is_some_and(|item| is_meant(item, line)));
                of.map(|part| part.held).sum::<u32>() == line.quantity
            });
            whole && until.as_millis() == now + span && member == whose && order == of && holder == by
        }
        (Command::CommitReservation { reservation }, Event::ReservationCommitted { reservation: sold }) => {
            reservation == sold
        }
        (
            Command::ReleaseReservation { reservation },
            Event::ReservationReleased { reservation: freed }
            | Event::ReservationExpired { reservation: freed },
        ) => reservation == freed,
        (Command::Return { reservation, lines, .. }, Event::GoodsReturned { reservation: of, parts, .. }) => {
            let asked: u32 = lines.as_slice().iter().map(|line| line.quantity).sum();
            reservation == of && parts.iter().map(|part| part.quantity).sum::<u32>() == asked
        }
        _ => false,
    }
}

fn is_meant(item: &Item, line: &Line) -> bool {
    item.sku == line.sku && line.location.as_ref().is_none_or(|at| *at == item.location)
}

fn available(stock: &Stock, line: &Line) -> u64 {
    let items = stock.items.iter().filter(|item| is_meant(item, line));
    items.map(|item| u64::from(item.available())).sum()
}
