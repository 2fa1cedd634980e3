//! The simulated payment company: payments, the answers it keeps by key, and its books. Written from what such companies
//! promise, sharing nothing with our side but the words of the connectors' trait.

use crate::plants::Plant;
use crate::prng::Prng;
use banyan_domain::Money;
use banyan_pay::{Effect, PaymentId, PaymentState, Refused, Status, codes};
use std::collections::BTreeMap;

/// How long a customer has at the card page, and how long money stays set aside.
const PAGE_MILLIS: u64 = 15 * 60 * 1_000;
const AUTHORIZED_MILLIS: u64 = 7 * 24 * 3_600 * 1_000;

/// What is asked of the company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Authorize {
        key: String,
        order: String,
        amount: Money,
        method: String,
    },
    Capture {
        key: String,
        payment: String,
        amount: Money,
    },
    Void {
        key: String,
        payment: String,
    },
    Refund {
        key: String,
        payment: String,
        amount: Money,
    },
    /// What became of the key, or how the payment is.
    Query {
        key: Option<String>,
        payment: Option<String>,
    },
}

/// One payment in the company's books.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) order: String,
    pub(crate) amount: Money,
    pub(crate) status: Status,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
    /// When it expires, if it does.
    deadline: Option<u64>,
}

/// The company.
#[derive(Debug)]
pub(crate) struct Company {
    dice: Prng,
    plant: Option<Plant>,
    pub(crate) payments: Vec<Payment>,
    /// What was answered under each key: the request, and the payment or the refusal.
    kept: BTreeMap<String, (Call, Result<usize, Refused>)>,
    /// Payments about which a webhook is to be sent.
    news: Vec<usize>,
    now: u64,
    healthy: bool,
}

impl Payment {
    /// Whether money is set aside, or a customer may still do so.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.status, Status::RequiresCustomer | Status::Authorized | Status::PartlyCaptured)
    }
}

impl Company {
    pub(super) fn new(dice: Prng, plant: Option<Plant>) -> Self {
        let (payments, kept, news) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { dice, plant, payments, kept, news, now: 0, healthy: false }
    }

    /// From now on it refuses nothing by chance.
    pub(super) const fn heal(&mut self) {
        self.healthy = true;
    }

    pub(super) const fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        let waits = self.payments.iter().filter(|payment| payment.status == Status::RequiresCustomer);
        waits.filter_map(|payment| payment.deadline).min()
    }

    /// Time passes: what nobody came for expires.
    pub(super) fn tick(&mut self, now: u64) {
        self.now = now;
        for (at, payment) in self.payments.iter_mut().enumerate() {
            if matches!(payment.status, Status::RequiresCustomer | Status::Authorized)
                && payment.deadline.is_some_and(|deadline| deadline <= now)
            {
                payment.status = Status::Expired;
                self.news.push(at);
            }
        }
    }

    /// Sends some webhook: none if it is lost. Told again, now and then, and in no order.
    pub(super) fn tell(&mut self) -> Option<String> {
        let at = self.dice.below(self.news.len() as u64) as usize;
        let payment = if self.dice.chance(15) { self.news[at] } else { self.news.swap_remove(at) };
        self.dice.chance(85).then(|| name(payment))
    }

    /// Some customer who is at the card page pays, or leaves. False if nobody is there.
    pub(super) fn customer_acts(&mut self) -> bool {
        let waits = |payment: &Payment| payment.status == Status::RequiresCustomer;
        let there: Vec<_> = (0..self.payments.len()).filter(|at| waits(&self.payments[*at])).collect();
        let Some(at) = self.dice.pick(&there).copied() else { return false };
        match self.dice.below(100) {
            0..60 => {
                self.payments[at].status = Status::Authorized;
                self.payments[at].deadline = Some(self.now + AUTHORIZED_MILLIS);
            }
            60..75 => self.payments[at].status = Status::Declined,
            _ => return true,
        }
        self.news.push(at);
        true
    }

    /// Carries out a request, or answers it again.
    pub(super) fn answer(&mut self, call: &Call) -> Effect {
        let key = match call {
            Call::Authorize { key, .. }
            | Call::Capture { key, .. }
            | Call::Void { key, .. }
            | Call::Refund { key, .. } => key,
            Call::Query { key, payment } => return self.asked(key.as_deref(), payment.as_deref()),
        };
        if let Some((first, answer)) = self.kept.get(key) {
            if first != call {
                return no("key-reused", "The key was used for another request. Nothing was done.");
            }
            return self.effect(answer.clone());
        }
        let answer = self.act(call);
        if self.plant != Some(Plant::CompanyForgetsKeys) {
            self.kept.insert(key.clone(), (call.clone(), answer.clone()));
        }
        self.effect(answer)
    }

    fn asked(&self, key: Option<&str>, payment: Option<&str>) -> Effect {
        let by_key = key.and_then(|key| self.kept.get(key)).map(|(_, answer)| answer.clone());
        let by_payment = || payment.and_then(|id| self.find(id)).map(Ok);
        match by_key.or_else(|| if key.is_none() { by_payment() } else { None }) {
            Some(answer) => self.effect(answer),
            None => no(codes::NOT_FOUND, "Nothing is known of it."),
        }
    }

    fn act(&mut self, call: &Call) -> Result<usize, Refused> {
        let found =
            |id: &str| self.find(id).ok_or_else(|| refused(codes::NOT_FOUND, "There is no such payment."));
        let at = match call {
            Call::Authorize { order, amount, method, .. } => {
                let declined = method == "tok_declined" || (!self.healthy && self.dice.chance(4));
                if declined {
                    return Err(refused("card-declined", "The card was declined."));
                }
                let waits = method == "page";
                let status = if waits { Status::RequiresCustomer } else { Status::Authorized };
                let deadline = Some(self.now + if waits { PAGE_MILLIS } else { AUTHORIZED_MILLIS });
                let (order, amount) = (order.clone(), *amount);
                self.payments.push(Payment { order, amount, status, captured: 0, refunded: 0, deadline });
                self.payments.len() - 1
            }
            Call::Capture { payment, amount, .. } => {
                let at = found(payment)?;
                let payment = &mut self.payments[at];
                if payment.status != Status::Authorized || *amount != payment.amount {
                    return Err(refused("not-capturable", "The payment is not authorized."));
                }
                payment.captured = amount.minor;
                payment.status = Status::Captured;
                at
            }
            Call::Void { payment, .. } => {
                let at = found(payment)?;
                let payment = &mut self.payments[at];
                match payment.status {
                    Status::RequiresCustomer | Status::Authorized => payment.status = Status::Voided,
                    _ => return Err(refused("not-voidable", "Nothing is left to give up.")),
                }
                at
            }
            Call::Refund { payment, amount, .. } => {
                let at = found(payment)?;
                let payment = &mut self.payments[at];
                if amount.minor > payment.captured - payment.refunded {
                    return Err(refused("refund-exceeds", "That is more than was captured."));
                }
                payment.refunded += amount.minor;
                let whole = payment.refunded == payment.captured;
                payment.status = if whole { Status::Refunded } else { Status::PartlyRefunded };
                at
            }
            Call::Query { .. } => return Err(refused("not-supported", "A question does nothing.")),
        };
        self.news.push(at);
        Ok(at)
    }

    fn find(&self, id: &str) -> Option<usize> {
        let at = id.strip_prefix("pay_")?.parse::<usize>().ok()?;
        (at < self.payments.len()).then_some(at)
    }

    /// The payment as it is now, or the refusal.
    fn effect(&self, answer: Result<usize, Refused>) -> Effect {
        match answer {
            Err(no) => Effect::Refused(no),
            Ok(at) => {
                let payment = &self.payments[at];
                let waits = payment.status == Status::RequiresCustomer;
                Effect::Done(PaymentState {
                    payment: PaymentId::new(name(at)).expect("an id"),
                    order: Some(payment.order.clone()),
                    status: payment.status,
                    amount: payment.amount,
                    captured: payment.captured,
                    refunded: payment.refunded,
                    card: None,
                    redirect: waits.then(|| format!("http://company/page/{at}")),
                })
            }
        }
    }
}

fn name(at: usize) -> String {
    format!("pay_{at}")
}

fn refused(code: &str, sentence: &str) -> Refused {
    Refused { code: code.into(), sentence: sentence.into() }
}

fn no(code: &str, sentence: &str) -> Effect {
    Effect::Refused(refused(code, sentence))
}
