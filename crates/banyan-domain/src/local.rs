//! What sagas ask of this shard's own capabilities: steps carried out in the block in which they are reached.
//!
//! An action is a name, such as `stock.reserve`, and parameters, which are texts; here they become a command, and the
//! answer becomes the step's output. A parameter that is missing or cannot be read is a refusal of the step, so that the
//! saga turns back: definitions are checked for form, but what flows through them comes from outside.

use crate::saga::{
    Action, Ask, Definition, Event as SagaEvent, Fields, Next, Saga, Settlement, StepState, Target,
};
use crate::stock::{Line, Lines};
use crate::{
    AccountId, Actor, Command, CouponId, Currency, Decided, Event, Holder, LocationId, MemberId, Millis,
    OrderId, Outcome, Reason, Reference, Refusal, ReservationNo, SagaNo, SkuId, State, TransferNo, coupon,
    pay, stock,
};

/// Every action there is, in order of name: what a definition may name after `local`.
pub const LOCAL_ACTIONS: [&str; 19] = [
    "coupon.hold",
    "coupon.redeem",
    "coupon.release",
    "coupon.restore",
    "order.begin",
    "order.begin-refund",
    "order.fail",
    "order.paid",
    "order.refund-refused",
    "order.refunded",
    "pay.capture",
    "pay.hold",
    "pay.post",
    "pay.refund",
    "pay.void",
    "stock.commit",
    "stock.release",
    "stock.reserve",
    "stock.return",
];

/// Who is named in the log for what sagas do.
const SAGA_ACTOR: &str = "saga";
/// How long a step holds what it holds if its definition does not say, in seconds.
const HOLD_SECONDS: u64 = 3_600;

/// What a saga, or the way over from an old shop, does next by itself: the events to apply now, in order, and what to do with the answer to the last of them.
#[derive(Debug)]
pub struct Advance {
    /// The events.
    pub events: Vec<Event>,
    /// The answer, if it is known without them.
    outcome: Option<Outcome>,
    step: Option<(SagaNo, u8, Ask)>,
}

impl Advance {
    /// What follows once the events are applied, `outcome` being the answer to the last of them: the event that settles
    /// the step, if this was one.
    #[must_use]
    pub fn settled(self, outcome: Option<Outcome>) -> Option<Event> {
        let (saga, step, ask) = self.step?;
        let outcome = outcome.or(self.outcome);
        let result = Settlement::Done(outcome.as_ref().map(output).unwrap_or_default());
        Some(Event::Saga(SagaEvent::Settled { saga, step, ask, attempt: 1, result }))
    }
}

impl State {
    /// What follows by itself: of a saga that has something to do, of goods that came free and are short elsewhere, or of an old
    /// shop that Banyan has come to lead. To be
    /// called, and its events applied, until there is nothing left, after every command and after what was due.
    #[must_use]
    pub fn advance(&self) -> Option<Advance> {
        let first_known = || self.legacy.first_known().map(|event| vec![Event::Legacy(event)]);
        if let Some(events) = self.cover_short().or_else(first_known) {
            return Some(Advance { events, outcome: None, step: None });
        }
        let (no, next) = self.sagas.next()?;
        let event = |event| Advance { events: vec![Event::Saga(event)], outcome: None, step: None };
        match next {
            Next::Wait => None,
            Next::Event(next) => Some(event(next)),
            Next::Local { step: place, ask } => {
                let saga = self.sagas.saga(no).expect("the sagas named it");
                let definition =
                    self.sagas.definition(saga.definition).expect("a definition is kept for ever");
                let step = place as u8;
                let decided = self.carry_out(saga, definition, place, ask);
                Some(match decided {
                    Ok((events, outcome)) => Advance { events, outcome, step: Some((no, step, ask)) },
                    Err(why) if ask == Ask::Undo => {
                        event(SagaEvent::Parked { saga: no, step, why: why.into() })
                    }
                    Err(why) => {
                        let result = Settlement::Refused(why.into());
                        event(SagaEvent::Settled { saga: no, step, ask, attempt: 1, result })
                    }
                })
            }
        }
    }

    /// Decides what a step asks for: the events, and the answer if it is known without them. Or says in a word why not.
    fn carry_out(
        &self,
        saga: &Saga,
        definition: &Definition,
        place: usize,
        ask: Ask,
    ) -> Result<(Vec<Event>, Option<Outcome>), String> {
        let step = &definition.steps[place];
        let action = if ask == Ask::Undo { step.undo.as_ref() } else { Some(&step.action) };
        let action = action.ok_or_else(|| String::from("it has no undo"))?;
        let given = Given { saga, definition, action };
        let Target::Local(name) = &action.target else { return Err("it is not for this store".into()) };
        let decided = match &**name {
            "stock.return" => {
                let by = Actor::new(SAGA_ACTOR).expect("a valid actor");
                let reason = Reason::new(given.text("reason")).map_err(|error| error.to_string())?;
                let events = self.take_back(given.reservation()?, &given.lines()?, &by, &reason)?;
                return Ok((events, None));
            }
            // Held or used by another order: this one has nothing to give up.
            "coupon.release" if !self.coupons.is_with(self.coupon(&given)?, &given.order()?) => {
                return Ok((Vec::new(), None));
            }
            "coupon.restore" => {
                return Ok((self.restore_coupon(self.coupon(&given)?, &given.order()?), None));
            }
            order if order.starts_with("order.") => self.tell_order(order, saga, |name| given.text(name))?,
            other => {
                let command = self.command(other, &given)?;
                match self.decide_unkeyed(command) {
                    Ok(decided) => decided,
                    Err(refusal)
                        if ask == Ask::Undo && self.has_run_out(saga, definition, place, refusal) =>
                    {
                        return Ok((Vec::new(), None));
                    }
                    Err(refusal) => return Err(refusal.slug().to_owned()),
                }
            }
        };
        Ok(match decided {
            Decided::One(one) => (vec![one], None),
            Decided::Many(many) => (many, None),
            Decided::Before(outcome, _) | Decided::AsItIs(outcome, _) => (Vec::new(), Some(outcome)),
        })
    }

    /// Whether `refusal` only says that what the step held has run out by itself: then it is free, and there is nothing left
    /// to give back. Not if its time cannot be over yet, nor if a later step of this saga took what was held.
    fn has_run_out(&self, saga: &Saga, definition: &Definition, place: usize, refusal: Refusal) -> bool {
        let taken_by = match refusal {
            Refusal::Pay(pay::Refusal::TransferNotPending) => "pay.capture",
            Refusal::Stock(stock::Refusal::ReservationNotFound) => "stock.commit",
            _ => return false,
        };
        let action = &definition.steps[place].action;
        let holds =
            matches!(&action.target, Target::Local(name) if matches!(&**name, "pay.hold" | "stock.reserve"));
        let is_over = |hold_for: Millis| saga.started_at.plus(hold_for) <= self.time();
        let taken = saga.steps.iter().zip(&definition.steps).any(|(state, step)| {
            matches!(&step.action.target, Target::Local(name) if **name == *taken_by)
                && matches!(state, StepState::Done(_))
        });
        holds && !taken && Given { saga, definition, action }.hold().is_ok_and(is_over)
    }

    fn command(&self, name: &str, given: &Given<'_>) -> Result<Command, String> {
        Ok(match name {
            "coupon.hold" => coupon::Command::HoldCoupon {
                coupon: self.members_coupon(given)?,
                // The saga holds as the shop.
                owner: None,
                order: given.order()?,
                hold_for: given.hold()?,
            }
            .into(),
            "coupon.redeem" => {
                let (coupon, order) = (self.members_coupon(given)?, given.order()?);
                coupon::Command::RedeemCoupon { coupon, owner: None, order }.into()
            }
            "coupon.release" => {
                let (coupon, order) = (self.members_coupon(given)?, given.order()?);
                coupon::Command::ReleaseCoupon { coupon, owner: None, order }.into()
            }
            "stock.reserve" => stock::Command::Reserve {
                lines: given.lines()?,
                member: given.member()?,
                order: Some(given.order()?),
                holder: Holder::Shop,
                hold_for: given.hold()?,
            }
            .into(),
            "stock.commit" => stock::Command::CommitReservation { reservation: given.reservation()? }.into(),
            "stock.release" => {
                stock::Command::ReleaseReservation { reservation: given.reservation()? }.into()
            }
            "pay.post" => given.transfer(pay::NewTransfer::Post {
                debit: given.side("debit")?,
                credit: given.side("credit")?,
                amount: given.amount("amount")?,
                refundable: given.text("refundable") == "yes",
            })?,
            "pay.hold" => given.transfer(pay::NewTransfer::Hold {
                debit: given.side("debit")?,
                credit: given.side("credit")?,
                amount: given.amount("amount")?,
                hold_for: given.hold()?,
            })?,
            "pay.capture" => {
                let pending = given.transfer_no("transfer")?;
                let amount = if given.text("amount").is_empty() {
                    self.ledger.hold(pending).map(|hold| hold.left).ok_or("transfer-not-pending")?
                } else {
                    given.amount("amount")?
                };
                given.transfer(pay::NewTransfer::Capture {
                    pending,
                    amount,
                    last: given.text("last") != "no",
                })?
            }
            "pay.void" => {
                given.transfer(pay::NewTransfer::Void { pending: given.transfer_no("transfer")? })?
            }
            "pay.refund" => given.transfer(pay::NewTransfer::Refund {
                of: given.transfer_no("transfer")?,
                amount: given.amount("amount")?,
            })?,
            other => return Err(format!("{other} is not an action of this store")),
        })
    }

    /// A coupon by its code.
    fn coupon(&self, given: &Given<'_>) -> Result<CouponId, String> {
        let code =
            coupon::CouponCode::parse(&given.text("coupon")).map_err(|_| String::from("coupon-not-found"))?;
        Ok(coupon::CodeKey::new(&self.keys).coupon(code))
    }

    /// The same; the saga's member's, if it has one.
    fn members_coupon(&self, given: &Given<'_>) -> Result<CouponId, String> {
        let coupon = self.coupon(given)?;
        match given.member()? {
            Some(member) if !self.coupons.is_of(coupon, &member) => Err("coupon-not-found".into()),
            _ => Ok(coupon),
        }
    }
}

/// The parameters of an action.
struct Given<'a> {
    saga: &'a Saga,
    definition: &'a Definition,
    action: &'a Action,
}

impl Given<'_> {
    /// A parameter with its holes filled; empty if it is not there.
    fn text(&self, name: &str) -> String {
        let template = self.action.params.get(name);
        template.map(|template| template.fill(self.saga, self.definition)).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.text(name).parse().map_err(|_| format!("{name} is not a whole number"))
    }

    fn amount(&self, name: &str) -> Result<i64, String> {
        let amount = i64::try_from(self.number(name)?).map_err(|_| format!("{name} is too large"))?;
        if amount > 0 { Ok(amount) } else { Err(format!("{name} must be above zero")) }
    }

    fn hold(&self) -> Result<Millis, String> {
        let text = self.text("hold");
        Ok(Millis::from_seconds(if text.is_empty() { HOLD_SECONDS } else { self.number("hold")? }))
    }

    fn order(&self) -> Result<OrderId, String> {
        OrderId::new(self.text("order")).map_err(|error| error.to_string())
    }

    fn member(&self) -> Result<Option<MemberId>, String> {
        match self.text("member") {
            text if text.is_empty() => Ok(None),
            text => MemberId::new(text).map(Some).map_err(|error| error.to_string()),
        }
    }

    fn reservation(&self) -> Result<ReservationNo, String> {
        ReservationNo::parse(&self.text("reservation")).map_err(|error| error.to_string())
    }

    fn transfer_no(&self, name: &str) -> Result<TransferNo, String> {
        TransferNo::parse(&self.text(name)).map_err(|error| error.to_string())
    }

    /// `SKU*QUANTITY` or `SKU*QUANTITY@LOCATION`, a space between two.
    fn lines(&self) -> Result<Lines, String> {
        let text = self.text("lines");
        let lines = text.split_ascii_whitespace().map(|line| {
            let (sku, rest) = line.rsplit_once('*').ok_or_else(|| format!("{line:?} is not SKU*QUANTITY"))?;
            let (quantity, location) = rest.split_once('@').map_or((rest, None), |(q, at)| (q, Some(at)));
            Ok(Line {
                sku: SkuId::new(sku).map_err(|error| error.to_string())?,
                location: location.map(LocationId::new).transpose().map_err(|error| error.to_string())?,
                quantity: quantity.parse().map_err(|_| format!("{line:?} is not SKU*QUANTITY"))?,
            })
        });
        Lines::new(lines.collect::<Result<_, String>>()?).map_err(|error| error.to_string())
    }

    /// An account. The side that receives is opened if it is missing and a currency is given, with the `rule` of the step or
    /// without a limit.
    fn side(&self, name: &str) -> Result<pay::Side, String> {
        let account = AccountId::new(self.text(name)).map_err(|error| format!("{name}: {error}"))?;
        let currency = self.text("currency");
        // What is held or spent must be there: only the side that receives is opened on the way.
        if currency.is_empty() || name == "debit" {
            return Ok(account.into());
        }
        let currency = Currency::new(&currency).map_err(|error| error.to_string())?;
        let rule = match self.text("rule") {
            text if text.is_empty() => pay::Rule::Free,
            text => pay::Rule::from_name(&text).ok_or_else(|| format!("{text} is no rule of an account"))?,
        };
        Ok(pay::Side { account, open_if_missing: Some((currency, rule)) })
    }

    fn transfer(&self, transfer: pay::NewTransfer) -> Result<Command, String> {
        let reference = match self.text("reference") {
            text if text.is_empty() => self.saga.key.as_str().to_owned(),
            text => text,
        };
        Ok(pay::Command::Transfer {
            transfers: pay::Transfers::one(transfer),
            reference: Reference::new(reference).map_err(|error| error.to_string())?,
            by: Actor::new(SAGA_ACTOR).expect("a valid actor"),
        }
        .into())
    }
}

/// What a step says to those after it.
fn output(outcome: &Outcome) -> Fields {
    match outcome {
        Outcome::Stock(stock::Outcome::Reservation(answer)) => {
            [("reservation", answer.reservation.to_string())].into_iter().collect()
        }
        Outcome::Pay(pay::Outcome::Transferred { first, .. }) => {
            [("transfer", first.to_string())].into_iter().collect()
        }
        Outcome::Coupon(coupon::Outcome::Coupon(answer)) => {
            [("state", answer.state.as_str())].into_iter().collect()
        }
        _ => Fields::new(),
    }
}
