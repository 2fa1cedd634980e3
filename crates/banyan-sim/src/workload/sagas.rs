//! What clients ask of sagas: checkouts, deliveries and lockers, and what operators do about those that are parked.

use super::stock::{SKUS, sku};
use super::{KNOWN_MAX, Workload, actor, member};
use crate::plants::Plant;
use crate::prng::Prng;
use banyan_domain::coupon::CodeKey;
use banyan_domain::order::Outcome as OrderOutcome;
use banyan_domain::saga::{Command, Definition, Fields, Outcome as SagaOutcome, Resume, Sagas};
use banyan_domain::stock::Outcome as StockOutcome;
use banyan_domain::{Command as AnyCommand, Keys, Outcome, Reason, SagaKey, SagaName, SagaNo, pay};
use banyan_saga::read_definition;

/// The definitions that are run: the examples, and one whose service promises to remember what was undone first.
const DEFINITIONS: [&str; 4] = [
    include_str!("../../../../examples/sagas/checkout.toml"),
    include_str!("../../../../examples/sagas/delivery.toml"),
    include_str!("../../../../examples/sagas/order-refund.toml"),
    include_str!("locker.toml"),
];

impl Workload {
    /// The next of the first requests, without which nothing else comes to anything.
    pub(super) fn opening(&mut self) -> Option<AnyCommand> {
        let at = self.shop.opened;
        self.shop.opened += 1;
        if at < DEFINITIONS.len() {
            return Some(self.defined(at).into());
        }
        let at = at - DEFINITIONS.len();
        if let Some(command) = self.first_account(at) {
            return Some(command.into());
        }
        let at = at - 2;
        if let Some(command) = self.first_prices(at) {
            return Some(command.into());
        }
        let item = at as u64 - 2;
        (item < Self::items()).then(|| self.first_count(item).into())
    }

    /// Something that somebody asks of sagas.
    pub(super) fn of_sagas(&mut self, rng: &mut Prng, keys: &Keys) -> Command {
        match rng.below(100) {
            0..46 => self.checkout(rng, keys),
            46..58 => self.delivery(rng),
            58..84 => self.locker(rng),
            84..87 => self.defined(rng.below(DEFINITIONS.len() as u64) as usize),
            87..95 => Command::Cancel { saga: self.saga(rng), by: actor(), reason: reason() },
            _ => {
                let how = if rng.chance(85) { Resume::Retry } else { Resume::Undo };
                self.resumed(self.saga(rng), how)
            }
        }
    }

    /// An operator lets a parked saga go on.
    pub(crate) fn retried(&mut self, saga: SagaNo) -> usize {
        let command = self.resumed(saga, Resume::Retry);
        self.add(command.into(), None)
    }

    /// What clients remember of an answer.
    pub(super) fn learned(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Stock(StockOutcome::Reservation(answer))
                if self.shop.reservations.len() < KNOWN_MAX
                    && !self.shop.reservations.contains(&answer.reservation) =>
            {
                self.shop.reservations.push(answer.reservation);
            }
            Outcome::Pay(pay::Outcome::Transferred { first, .. })
                if self.shop.transfers.len() < KNOWN_MAX =>
            {
                self.shop.transfers.push(*first);
            }
            Outcome::Order(OrderOutcome::Order { order }) if !self.shop.orders.contains(order) => {
                self.shop.orders.push(*order);
            }
            Outcome::Saga(SagaOutcome::Saga { saga }) if !self.shop.sagas.contains(saga) => {
                self.shop.sagas.push(*saga);
            }
            _ => {}
        }
    }

    /// What operators see of the parked sagas: the mark of each.
    pub(crate) fn sees(&mut self, sagas: &Sagas) {
        let parked = sagas.sagas().filter(|saga| saga.parked.is_some());
        self.shop.marks = parked.map(|saga| (saga.no, saga.mark())).collect();
    }

    fn resumed(&self, saga: SagaNo, how: Resume) -> Command {
        let mark = self.shop.marks.get(&saga).copied().unwrap_or_default();
        Command::Resume { saga, mark, how, by: actor(), reason: reason() }
    }

    fn defined(&self, at: usize) -> Command {
        let mut definition = read_definition(DEFINITIONS[at]).expect("the examples can be read");
        if self.plant == Some(Plant::UndoMissing) {
            forget_undo(&mut definition);
        }
        Command::Define { definition: Box::new(definition), by: actor() }
    }

    fn checkout(&mut self, rng: &mut Prng, keys: &Keys) -> Command {
        let mut input = Fields::new();
        let first = rng.below(SKUS);
        let line =
            |at: u64, rng: &mut Prng| format!("{}*{}", sku((first + at) % SKUS).as_str(), rng.between(1, 4));
        let lines: Vec<_> = (0..rng.between(1, 2)).map(|at| line(at, rng)).collect();
        input.insert("lines", lines.join(" "));
        let mut whose = member(rng);
        if rng.chance(45) {
            // Their own, mostly; now and then somebody else's, which is refused.
            let recent = &self.owned[self.owned.len().saturating_sub(25)..];
            if let Some((coupon, owner)) = rng.pick(recent) {
                input.insert("coupon", String::from_utf8_lossy(&CodeKey::new(keys).code(*coupon).written()));
                if rng.chance(92) {
                    whose = owner.clone();
                }
            }
        }
        if rng.chance(35) {
            input.insert("points", rng.between(1, 120).to_string());
        }
        if rng.chance(92) {
            input.insert("amount", rng.between(1_000, 90_000).to_string());
        }
        input.insert("currency", "KRW");
        input.insert(
            "method",
            *rng.pick(&["tok_ok", "tok_ok", "tok_ok", "tok_declined", "page", "page"]).expect("some"),
        );
        input.insert("member", whose.as_str());
        self.start("checkout", input)
    }

    fn delivery(&mut self, rng: &mut Prng) -> Command {
        let (whose, day) = (member(rng), format!("day-{}", rng.below(7)));
        let fields = [("day", day.as_str()), ("address", "Somewhere 1"), ("member", whose.as_str())];
        self.start("delivery", fields.into_iter().collect())
    }

    fn locker(&mut self, rng: &mut Prng) -> Command {
        let size = if rng.chance(80) { "small" } else { "huge" };
        self.start("locker", [("size", size)].into_iter().collect())
    }

    fn start(&mut self, name: &str, input: Fields) -> Command {
        self.shop.sagas_begun += 1;
        let key = SagaKey::new(format!("{name}-{}", self.shop.sagas_begun)).expect("visible");
        Command::Start { name: SagaName::new(name).expect("a name"), key, input }
    }

    fn saga(&self, rng: &mut Prng) -> SagaNo {
        let known = &self.shop.sagas;
        let recent = &known[known.len().saturating_sub(6)..];
        let from = if rng.chance(80) { recent } else { known };
        let found = rng.pick(from).copied();
        found.unwrap_or_else(|| SagaNo::new(rng.below(30)))
    }
}

/// A planted bug: the stock is said to need no undo.
fn forget_undo(definition: &mut Definition) {
    for step in definition.steps.iter_mut().filter(|step| step.name.as_str() == "reserve-stock") {
        step.undo = None;
        step.promises.harmless = true;
    }
}

fn reason() -> Reason {
    Reason::new("simulated").expect("a reason")
}
