//! The comparison. Payment by payment: which movement of the statement is which booking and which step of a saga, and what is
//! left over on a side.
//!
//! Our clock and the company's are not one. What a saga asked for happened between the moment it was asked and the moment its
//! outcome was known: if all of that time lies within the statement, it must stand in it; if it crosses an edge, it may stand in
//! the next one, and is late. The company's own times are used for its movements alone.

use crate::books::{Books, Effect, EffectState, Posting, What};
use crate::case::{Asked, Case, Here, Place, There};
use crate::finding::{Finding, Kind, Repair, SagaRef};
use crate::instant::rfc3339;
use crate::propose;
use crate::report::Report;
use crate::statement::Movement;
use banyan_domain::{Millis, Timestamp};
use std::collections::BTreeMap;

/// What the statement covers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Period {
    /// Its first instant; none for since ever.
    pub from: Option<Timestamp>,
    /// The instant after its last; none for until now. If the file was made before, when it was made.
    pub to: Option<Timestamp>,
    /// How far the two clocks may be apart.
    pub skew: Millis,
}

impl Period {
    /// Where something lies that happened between two instants of our clock.
    fn place(&self, first: Timestamp, last: Timestamp) -> Place {
        let first = Timestamp::from_millis(first.as_millis().saturating_sub(self.skew.get()));
        let last = last.plus(self.skew);
        let (before, after) =
            (|at| self.from.is_some_and(|from| at < from), |at| self.to.is_some_and(|to| at >= to));
        match () {
            () if before(last) => Place::Before,
            () if after(first) => Place::After,
            () if before(first) || after(last) => Place::Edge,
            () => Place::Inside,
        }
    }
}

/// Compares the books with the `movements` of the file `statement`, which covers `period`.
#[must_use]
pub fn compare(books: &Books, statement: &str, movements: &[Movement], period: Period) -> Report {
    let mut all = Matching { books, period, movements, matched: 0, findings: Vec::new(), booked: Vec::new() };
    for case in all.cases() {
        all.look(case);
    }
    let Matching { matched, findings, booked, .. } = all;
    Report::new(books, statement, movements, period, matched, findings, &booked)
}

struct Matching<'a> {
    books: &'a Books,
    period: Period,
    movements: &'a [Movement],
    matched: usize,
    findings: Vec<(Timestamp, Finding)>,
    /// What of the books belongs into the statement.
    booked: Vec<(What, i64, String)>,
}

impl<'a> Matching<'a> {
    /// Everything, by payment.
    fn cases(&mut self) -> Vec<Case<'a>> {
        let (books, movements) = (self.books, self.movements);
        let mut cases: BTreeMap<&str, Case<'a>> = BTreeMap::new();
        let mut known: BTreeMap<&str, &Movement> = BTreeMap::new();
        for movement in movements {
            if let Some(first) = known.get(movement.id.as_str()) {
                self.listed_twice(first, movement);
                continue;
            }
            known.insert(&movement.id, movement);
            let there = There { movement, left: movement.amount, effect: None };
            cases.entry(&movement.payment).or_default().there.push(there);
        }
        for effect in &books.effects {
            let payment = match effect.payment.as_str() {
                "" => books
                    .sources
                    .get(&effect.saga)
                    .and_then(|source| source.payment.as_deref())
                    .unwrap_or_default(),
                payment => payment,
            };
            cases.entry(payment).or_default().effects.push(Asked { effect, seen: false });
        }
        for posting in books.postings.values() {
            if posting.payment.is_none() && !self.is_unexplained(posting) {
                continue;
            }
            let case = cases.entry(posting.payment.as_deref().unwrap_or_default()).or_default();
            let effect = posting.saga.and_then(|saga| {
                let own = |asked: &&Asked<'a>| asked.effect.saga == saga && asked.effect.what == posting.what;
                case.effects.iter().find(own).map(|asked| asked.effect)
            });
            let place = self.place_of(posting, effect);
            case.here.push(Here { posting, left: posting.amount, place, effect, netted: false });
        }
        cases.into_values().collect()
    }

    /// Whether a booking without a payment needs one: a debit of the company's account that gives nothing back. What is credited
    /// to it without a payment is what the company pays out.
    fn is_unexplained(&self, posting: &Posting) -> bool {
        posting.what == What::Capture && posting.of.is_none()
    }

    fn place_of(&self, posting: &Posting, effect: Option<&Effect>) -> Place {
        if let Some(effect) = effect {
            return self.period.place(effect.asked_at, effect.settled_at.unwrap_or(posting.at));
        }
        let source = posting.saga.and_then(|saga| self.books.sources.get(&saga));
        match source.and_then(|source| source.moved_at) {
            // The company's own time, from a statement of it: exact.
            Some(at) => Period { skew: Millis::new(0), ..self.period }.place(at, at),
            None => self.period.place(posting.at, posting.at),
        }
    }

    fn look(&mut self, mut case: Case<'a>) {
        for here in case.here.iter().filter(|here| here.place == Place::Inside) {
            self.booked.push((here.posting.what, here.posting.amount, here.posting.currency.clone()));
        }
        case.know_effects();
        case.pair();
        case.net(self.books);
        case.pair();
        case.even_out();
        case.cancel_out();
        self.matched += case.there.iter().filter(|there| there.left == 0).count();
        self.differing(&mut case);
        self.left_there(&case);
        self.left_here(&case);
        self.left_asked(&case);
    }

    /// What one side has and the other has too, with another amount.
    fn differing(&mut self, case: &mut Case<'a>) {
        for at in 0..case.there.len() {
            let (movement, left) = (case.there[at].movement, case.there[at].left);
            let same = |here: &&mut Here<'_>| {
                here.left > 0
                    && here.posting.what == movement.what
                    && matches!(here.place, Place::Inside | Place::Edge)
            };
            if left == 0 {
                continue;
            }
            let Some(here) = case.here.iter_mut().find(same) else { continue };
            // As many units as both sides have are no finding; if the currencies differ, none are.
            let booked = std::mem::take(&mut here.left);
            case.there[at].left = 0;
            let (posting, effect) = (here.posting, here.effect.or(case.there[at].effect));
            let (there, ours) = (movement.amount, movement.amount - left + booked);
            let sides = format!(
                "The company says {}, and the books say {}.",
                money(there, &movement.currency),
                money(ours, &posting.currency)
            );
            let repair = if movement.currency != posting.currency {
                propose::wait(
                    "Nothing here can change a currency: ask the company, and correct the order by hand.",
                )
            } else if movement.what == What::Refund && left > booked {
                propose::book(
                    self.books,
                    movement,
                    left - booked,
                    "Books the rest of the refund. Ask the company first if the file may be wrong.",
                )
            } else if left > booked {
                propose::refund(
                    self.books,
                    movement,
                    left - booked,
                    "Sends what was taken too much back to the customer. Ask the company first if the file may be wrong.",
                )
            } else {
                let advice = "Takes what the books have too much out of them. Ask the company first if the file may be wrong.";
                propose::unbook(self.books, posting, booked - left, rfc3339(movement.at), advice)
            };
            let amount = if movement.currency == posting.currency { (left - booked).abs() } else { there };
            self.found(
                &Seen { charge: None, movement: Some(movement), posting: Some(posting), effect },
                Kind::AmountDiffers,
                amount,
                sides,
                repair,
            );
        }
    }

    /// What the company has and the books do not.
    fn left_there(&mut self, case: &Case<'a>) {
        for there in case.there.iter().filter(|there| there.left > 0) {
            let movement = there.movement;
            let seen = Seen {
                charge: if movement.what == What::Refund { case.charge(movement) } else { None },
                movement: Some(movement),
                posting: None,
                effect: there.effect,
            };
            let done = money(movement.amount, &movement.currency);
            let verb = if movement.what == What::Capture { "took" } else { "sent back" };
            let (kind, sentence, repair) = match there.effect {
                Some(effect) => self.not_booked(effect, there, case),
                None if self.is_repeated(there, case) => {
                    let sentence =
                        format!("The company {verb} {done} although it had done so before for this order.");
                    let repair = match movement.what {
                        What::Capture => propose::refund(
                            self.books,
                            movement,
                            there.left,
                            "Sends the second charge back to the customer.",
                        ),
                        What::Refund => propose::book_refund(
                            self.books,
                            movement,
                            case.charge(movement),
                            "Books the second refund: the money is gone unless the customer gives it back.",
                        ),
                    };
                    (Kind::DuplicateThere, sentence, repair)
                }
                None if movement.what == What::Capture => {
                    let sentence =
                        format!("The company took {done}, and neither a saga nor the books know of it.");
                    let advice = "Sends back what nobody ordered. If there is an order for it after all, book it instead with the saga repair-book.";
                    (Kind::MissingHere, sentence, propose::refund(self.books, movement, there.left, advice))
                }
                None => {
                    let sentence =
                        format!("The company sent {done} back, and neither a saga nor the books know of it.");
                    let advice = "Books the refund. The order itself does not learn of it: look at it, too.";
                    (
                        Kind::RefundedThereOnly,
                        sentence,
                        propose::book_refund(self.books, movement, case.charge(movement), advice),
                    )
                }
            };
            self.found(&seen, kind, there.left, sentence, repair);
        }
    }

    /// A saga knows of the movement, and it is not booked.
    fn not_booked(&self, effect: &Effect, there: &There<'a>, case: &Case<'a>) -> (Kind, String, Repair) {
        let (movement, saga) = (there.movement, effect.saga);
        let state = self.books.sources.get(&saga).map_or("gone", |source| source.state);
        let over = matches!(state, "completed" | "compensated");
        let named = movement.what.word();
        match effect.state {
            EffectState::Not if over && movement.what == What::Capture => {
                let sentence =
                    format!("The company took the money, and saga {saga} was given up because it had not.");
                (
                    Kind::GivenUpHere,
                    sentence,
                    propose::refund(
                        self.books,
                        movement,
                        there.left,
                        "Sends the money back to the customer.",
                    ),
                )
            }
            _ if state == "parked" && effect.state == EffectState::Done => {
                let sentence =
                    format!("The {named} was made, and saga {saga} is parked before it is booked.");
                let advice = "Remove what stands in the way first; `banyan saga show` says what. Begin no other saga: this one would book it again.";
                (Kind::NotBooked, sentence, propose::retry(saga, "the booking can be made now", advice))
            }
            _ if state == "parked" => {
                let sentence =
                    format!("The company made the {named}; saga {saga} does not know, and is parked.");
                let advice = "It asks the company again, and finds it. If it is parked again, count the step as done with `banyan saga skip`.";
                (Kind::Stuck, sentence, propose::retry(saga, "the statement has it", advice))
            }
            _ if !over => {
                let sentence = format!("The company made the {named}; saga {saga} is still under way.");
                (
                    Kind::Late,
                    sentence,
                    propose::wait("Nothing: the saga books it, or asks the company about it, by itself."),
                )
            }
            _ => {
                let sentence = format!(
                    "The {named} was made for saga {saga}, which is over, and the books do not have it."
                );
                let repair = match movement.what {
                    What::Capture => propose::book(self.books, movement, there.left, "Books the charge."),
                    What::Refund => {
                        propose::book_refund(self.books, movement, case.charge(movement), "Books the refund.")
                    }
                };
                (Kind::NotBooked, sentence, repair)
            }
        }
    }

    /// Whether the company has done this before, under this payment or for this order.
    fn is_repeated(&self, there: &There<'a>, case: &Case<'a>) -> bool {
        let one = there.movement;
        let again = case.there.iter().any(|other| {
            other.movement.id != one.id
                && other.left == 0
                && other.movement.what == one.what
                && other.movement.amount == one.amount
        });
        let paid_elsewhere = || {
            let payments = self.books.paid.get(&one.order);
            payments.is_some_and(|payments| payments.iter().any(|payment| *payment != one.payment))
        };
        again || (one.what == What::Capture && !one.order.is_empty() && paid_elsewhere())
    }

    /// What the books have and the company does not.
    fn left_here(&mut self, case: &Case<'a>) {
        for here in case.here.iter().filter(|here| here.left > 0) {
            let (posting, what) = (here.posting, here.posting.what.word());
            let seen = Seen { charge: None, movement: None, posting: Some(posting), effect: here.effect };
            let amount = money(here.left, &posting.currency);
            match here.place {
                Place::Before | Place::After => {}
                Place::Edge => {
                    let sentence = format!(
                        "The {what} of {amount} was made so near the edge of the statement that it may stand in another."
                    );
                    self.found(
                        &seen,
                        Kind::Late,
                        here.left,
                        sentence,
                        propose::wait("Nothing, if the next match has it."),
                    );
                }
                Place::Inside => {
                    let twin = |other: &Here<'_>| {
                        other.posting.transfer != posting.transfer
                            && other.left == 0
                            && !other.netted
                            && other.posting.what == posting.what
                            && other.posting.amount == posting.amount
                    };
                    let moved_at =
                        rfc3339(here.effect.and_then(|effect| effect.settled_at).unwrap_or(posting.at));
                    if posting.payment.is_some() && here.effect.is_none() && case.here.iter().any(twin) {
                        let sentence =
                            format!("The books have the {what} of {amount} twice, and the company once.");
                        let repair = propose::unbook(
                            self.books,
                            posting,
                            here.left,
                            moved_at,
                            "Takes the second booking back.",
                        );
                        self.found(&seen, Kind::BookedTwice, here.left, sentence, repair);
                        continue;
                    }
                    let sentence = match &posting.payment {
                        Some(_) => {
                            format!("The books have a {what} of {amount}, and the statement does not.")
                        }
                        None => {
                            format!("The books have a {what} of {amount} for which nobody names a payment.")
                        }
                    };
                    let advice = "Ask the company for the line first. Only if it says that it never happened: this takes the booking back.";
                    let repair = propose::unbook(self.books, posting, here.left, moved_at, advice);
                    self.found(&seen, Kind::MissingThere, here.left, sentence, repair);
                }
            }
        }
    }

    /// What only a saga knows of.
    fn left_asked(&mut self, case: &Case<'a>) {
        for asked in case.effects.iter().filter(|asked| !asked.seen) {
            let effect = asked.effect;
            let booked =
                case.here.iter().any(|here| here.effect.is_some_and(|own| std::ptr::eq(own, effect)));
            if booked || effect.state == EffectState::Not || effect.only_authorized {
                continue;
            }
            let state = self.books.sources.get(&effect.saga).map_or("gone", |source| source.state);
            let place = self.period.place(effect.asked_at, effect.settled_at.unwrap_or(self.books.at()));
            let (saga, what) = (effect.saga, effect.what.word());
            let seen = Seen { charge: None, movement: None, posting: None, effect: Some(effect) };
            let amount = effect.amount.unwrap_or(0);
            if matches!(place, Place::Before | Place::After) {
                continue;
            }
            if effect.state == EffectState::Open && state == "parked" {
                let sentence = format!(
                    "Saga {saga} asked for a {what} and is parked without knowing; the statement does not have it."
                );
                let advice = "It asks the company again. Retry before you skip or undo.";
                self.found(
                    &seen,
                    Kind::Stuck,
                    amount,
                    sentence,
                    propose::retry(saga, "ask the company again", advice),
                );
            } else if effect.state == EffectState::Open
                || place == Place::Edge
                || matches!(state, "running" | "compensating")
            {
                let sentence = format!("Saga {saga} asked for a {what}, and at the cut nobody knows more.");
                self.found(
                    &seen,
                    Kind::Late,
                    amount,
                    sentence,
                    propose::wait("Nothing, if the next match has it."),
                );
            } else {
                let sentence = format!(
                    "Saga {saga} says that the {what} was made; neither the statement nor the books have it."
                );
                let advice = "Ask the company. The books are right if it says that it never happened; the order is not.";
                self.found(&seen, Kind::MissingThere, amount, sentence, propose::wait(advice));
            }
        }
    }

    fn listed_twice(&mut self, first: &Movement, again: &Movement) {
        let sentence =
            format!("Movement {} stands on line {} and again on line {}.", again.id, first.line, again.line);
        let advice = "Ask the company for a right file. It was counted once.";
        let seen = Seen { charge: None, movement: Some(again), posting: None, effect: None };
        self.found(&seen, Kind::ListedTwice, again.amount, sentence, propose::wait(advice));
    }

    fn found(&mut self, seen: &Seen<'_>, kind: Kind, amount: i64, sentence: String, repair: Repair) {
        let Seen { charge, movement, posting, effect } = *seen;
        let what =
            movement.map(|one| one.what).or(posting.map(|one| one.what)).or(effect.map(|one| one.what));
        let saga = effect.map(|effect| effect.saga).or(posting.or(charge).and_then(|posting| posting.saga));
        let source = saga.and_then(|saga| Some((saga, self.books.sources.get(&saga)?)));
        let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let order = movement.and_then(|one| filled(&one.order));
        let order = order.or_else(|| source.map(|(_, source)| source.order.clone()));
        let payment =
            movement.map(|one| one.payment.clone()).or_else(|| posting.and_then(|one| one.payment.clone()));
        let since =
            movement.map(|one| one.at).or(effect.map(|one| one.asked_at)).or(posting.map(|one| one.at));
        let since = since.unwrap_or_default();
        let age = self.books.at().as_millis().saturating_sub(since.as_millis()) / 1_000;
        let currency = movement.map(|one| one.currency.as_str()).or(posting.map(|one| one.currency.as_str()));
        let finding = Finding {
            kind,
            level: kind.level(),
            what: what.unwrap_or(What::Capture),
            order: order.or_else(|| posting.map(|one| one.reference.clone())),
            payment: payment.or_else(|| effect.and_then(|one| filled(&one.payment))),
            saga: source.map(|(saga, source)| SagaRef {
                saga,
                name: source.name.clone(),
                key: source.key.clone(),
                state: source.state,
                step: source
                    .parked
                    .as_ref()
                    .map(|(step, _)| step.clone())
                    .or_else(|| effect.map(|one| one.step.clone())),
            }),
            transfer: posting.or(charge).map(|one| format!("t-{}", one.transfer)),
            movement: movement.map(|one| one.id.clone()),
            line: movement.map(|one| one.line),
            there: movement.map(|one| one.amount),
            here: posting.map(|one| one.amount).or_else(|| effect.and_then(|one| one.amount)),
            amount,
            currency: currency.or(effect.map(|one| one.currency.as_str())).unwrap_or_default().to_owned(),
            since: rfc3339(since),
            age_seconds: age,
            sentence,
            repair,
        };
        self.findings.push((since, finding));
    }
}

/// What a finding is about.
struct Seen<'a> {
    /// The booked charge that it gives back, if it is a refund of one.
    charge: Option<&'a Posting>,
    movement: Option<&'a Movement>,
    posting: Option<&'a Posting>,
    effect: Option<&'a Effect>,
}

/// An amount as a person reads it.
pub(crate) fn money(minor: i64, currency: &str) -> String {
    let digits = minor.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{}{text} {currency}", if minor < 0 { "-" } else { "" }).trim_end().to_owned()
}
