//! What may be answered to one command, given what the log says: the auditor's reading of the rules.

mod coupons;
mod ledger;
mod orders;
mod sagas;
mod stock;

use crate::model::Model;
use banyan_domain::{Command, Event, Outcome, Refusal};

impl Model {
    /// The answer to a command that has nothing left to do, and its log position.
    pub(crate) fn natural(&self, command: &Command) -> Option<(Outcome, u64)> {
        let as_it_is = |outcome| (outcome, self.seq);
        match command {
            Command::Coupon(command) => self.natural_coupon(command),
            Command::Stock(command) => stock::natural(&self.stock, command).map(Outcome::Stock).map(as_it_is),
            Command::Pay(command) => ledger::natural(&self.ledger, command).map(Outcome::Pay).map(as_it_is),
            Command::Saga(command) => sagas::natural(&self.sagas, command).map(Outcome::Saga).map(as_it_is),
            Command::Order(command) => orders::natural(self, command).map(Outcome::Order).map(as_it_is),
            // Nobody here has an old shop.
            Command::Legacy(_) => None,
        }
    }

    /// Whether `no` is true of `command` at `now`.
    pub(crate) fn justified(&self, now: u64, command: &Command, no: Refusal) -> bool {
        match (command, no) {
            (Command::Coupon(command), Refusal::Coupon(no)) => self.justified_coupon(now, command, no),
            (Command::Stock(command), Refusal::Stock(no)) => stock::justified(&self.stock, now, command, no),
            (Command::Pay(command), Refusal::Pay(no)) => ledger::justified(&self.ledger, now, command, no),
            (Command::Saga(command), Refusal::Saga(no)) => sagas::justified(&self.sagas, now, command, no),
            (Command::Order(command), no) => orders::justified(self, now, command, no),
            _ => false,
        }
    }

    /// What the log says about whatever `command` concerns, for messages.
    pub(crate) fn about(&self, command: &Command) -> String {
        match command {
            Command::Coupon(command) => self.about_coupon(command),
            Command::Stock(_) => format!("{:?}", self.stock.items),
            Command::Pay(_) => format!("{:?}", self.ledger.accounts),
            Command::Saga(command) => sagas::about(&self.sagas, command),
            Command::Order(_) => format!("{:?}", self.orders),
            Command::Legacy(_) => String::new(),
        }
    }
}

/// Whether `event` is something that `command` may come to.
pub(crate) fn fits(command: &Command, event: &Event, now: u64, model: &Model) -> bool {
    match (command, event) {
        (Command::Coupon(command), event) => coupons::fits(command, event, now, model),
        (Command::Stock(command), Event::Stock(event)) => stock::fits(&model.stock, command, event, now),
        (Command::Pay(command), Event::Pay(event)) => ledger::fits(&model.ledger, command, event, now),
        (Command::Order(command), event) => orders::fits(model, command, event),
        (Command::Saga(command), Event::Saga(event)) => sagas::fits(&model.sagas, command, event),
        _ => false,
    }
}
