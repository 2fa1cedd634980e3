//! One payment and what may be done with it. Pure: the ledger stores what comes out of here.

use serde::{Deserialize, Serialize};

/// What a payment is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Created; the customer has not given a card that works.
    RequiresCard,
    /// The money is set aside; nothing is captured.
    Authorized,
    /// Some is captured, and more may be.
    PartlyCaptured,
    /// As much as will be is captured.
    Captured,
    /// Some of what was captured went back.
    PartlyRefunded,
    /// All that was captured went back.
    Refunded,
    /// Given up before anything was captured.
    Voided,
    /// No card worked.
    Declined,
    /// Nobody captured, or no card came, in time.
    Expired,
}

impl Status {
    /// Every status, in the order of its stored number.
    pub(crate) const ALL: [Self; 9] = [
        Self::RequiresCard,
        Self::Authorized,
        Self::PartlyCaptured,
        Self::Captured,
        Self::PartlyRefunded,
        Self::Refunded,
        Self::Voided,
        Self::Declined,
        Self::Expired,
    ];

    /// Its name in answers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RequiresCard => "requires_card",
            Self::Authorized => "authorized",
            Self::PartlyCaptured => "partly_captured",
            Self::Captured => "captured",
            Self::PartlyRefunded => "partly_refunded",
            Self::Refunded => "refunded",
            Self::Voided => "voided",
            Self::Declined => "declined",
            Self::Expired => "expired",
        }
    }

    /// The status named `name`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The status stored as `number`.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|at| Self::ALL.get(at)).copied()
    }
}

/// In whose words a payment is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The sandbox's own API.
    Own,
    /// The shapes of Toss Payments.
    Toss,
}

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payment {
    /// Its number, from 1.
    pub(crate) no: i64,
    /// Its public id, which cannot be guessed from its number.
    pub(crate) id: String,
    pub(crate) shape: Shape,
    pub(crate) order: String,
    /// Minor units; `captured` and `refunded` too. `refunded <= captured <= amount`.
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) status: Status,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
    /// Whether more may be captured.
    pub(crate) open: bool,
    pub(crate) card: Option<Card>,
    /// Cards and codes that did not work.
    pub(crate) failures: i64,
    /// Whether the customer's bank waits for a code.
    pub(crate) challenged: bool,
    /// What the customer is told they pay for.
    pub(crate) title: String,
    pub(crate) return_url: String,
    /// Where a customer goes who did not pay; empty: the same place.
    pub(crate) fail_url: String,
    /// Milliseconds since 1970, like `deadline`.
    pub(crate) created_at: i64,
    /// When it expires by itself, while it can.
    pub(crate) deadline: Option<i64>,
    /// Toss: every cancel, in order.
    pub(crate) cancels: Vec<Cancel>,
}

/// One cancel of a payment in the Toss shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cancel {
    /// What the shop gave as its reason.
    pub(crate) reason: String,
    /// Minor units, above zero.
    pub(crate) amount: i64,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
}

/// All that is ever stored of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) brand: String,
    pub(crate) last4: String,
}

/// What the shop asks of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Take `amount`, or all that is left; `last` gives the rest up.
    Capture { amount: Option<i64>, last: bool },
    /// Give up what is not captured.
    Void,
    /// Send `amount` back, or all that is left of what was captured.
    Refund { amount: Option<i64> },
}

/// What the customer, or their bank, does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CardStep {
    /// The card works.
    Accepted(Card),
    /// The card does not.
    Declined(Card),
    /// The bank asks for a code first.
    Challenged(Card),
    /// The code was right or wrong.
    Code { right: bool },
    /// The customer goes back to the shop without paying.
    Leave,
}

/// What an action did: its name in events, and the money it moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// The event's name; none where nothing is to be told.
    pub(crate) event: Option<&'static str>,
    /// Captured (above zero) or refunded (below).
    pub(crate) moved: i64,
}

/// Why an action is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum No {
    AmountNotPositive,
    NotCapturable,
    CaptureExceeds,
    NotVoidable,
    NotRefundable,
    RefundExceeds,
    NotWaitingForCard,
}

impl No {
    /// Its stable name.
    pub(crate) const fn slug(self) -> &'static str {
        match self {
            Self::AmountNotPositive => "amount-not-positive",
            Self::NotCapturable => "not-capturable",
            Self::CaptureExceeds => "capture-exceeds",
            Self::NotVoidable => "not-voidable",
            Self::NotRefundable => "not-refundable",
            Self::RefundExceeds => "refund-exceeds",
            Self::NotWaitingForCard => "not-waiting-for-card",
        }
    }

    /// A sentence for a person.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::AmountNotPositive => "The amount must be above zero. Nothing was done.",
            Self::NotCapturable => {
                "The payment is not authorized, or its rest was given up. Nothing was done."
            }
            Self::CaptureExceeds => {
                "The amount is above what is authorized and not captured. Nothing was done."
            }
            Self::NotVoidable => "Nothing is left to give up: refund what was captured. Nothing was done.",
            Self::NotRefundable => "Nothing of the payment was captured. Nothing was done.",
            Self::RefundExceeds => {
                "The amount is above what was captured and not refunded. Nothing was done."
            }
            Self::NotWaitingForCard => "The payment does not wait for a card any more.",
        }
    }
}

/// Failures after which a payment is declined for good.
pub(crate) const FAILURES_MAX: i64 = 3;

impl Payment {
    /// What may still be captured.
    pub(crate) const fn capturable(&self) -> i64 {
        if self.open { self.amount - self.captured } else { 0 }
    }

    /// What may still be refunded.
    pub(crate) const fn refundable(&self) -> i64 {
        self.captured - self.refunded
    }

    /// Carries `action` out, or refuses and changes nothing.
    pub(crate) fn act(&mut self, action: Action) -> Result<Done, No> {
        match action {
            Action::Capture { amount, last } => self.capture(amount, last),
            Action::Void => self.void(),
            Action::Refund { amount } => self.refund(amount),
        }
    }

    fn capture(&mut self, amount: Option<i64>, last: bool) -> Result<Done, No> {
        let left = self.capturable();
        let amount = amount.unwrap_or(left);
        if !self.open {
            return Err(No::NotCapturable);
        }
        if amount <= 0 {
            return Err(No::AmountNotPositive);
        }
        if amount > left {
            return Err(No::CaptureExceeds);
        }
        self.captured += amount;
        self.open = !last && self.captured < self.amount;
        self.settle();
        Ok(Done { event: Some("payment.captured"), moved: amount })
    }

    fn void(&mut self) -> Result<Done, No> {
        if self.status == Status::RequiresCard {
            self.close(Status::Voided);
            return Ok(Done { event: Some("payment.voided"), moved: 0 });
        }
        if !self.open {
            return Err(No::NotVoidable);
        }
        self.open = false;
        self.settle();
        Ok(Done { event: Some("payment.voided"), moved: 0 })
    }

    fn refund(&mut self, amount: Option<i64>) -> Result<Done, No> {
        let left = self.refundable();
        let amount = amount.unwrap_or(left);
        if self.captured == 0 {
            return Err(No::NotRefundable);
        }
        if amount > left {
            return Err(No::RefundExceeds);
        }
        if amount <= 0 {
            return Err(if left == 0 { No::RefundExceeds } else { No::AmountNotPositive });
        }
        self.refunded += amount;
        self.settle();
        Ok(Done { event: Some("payment.refunded"), moved: -amount })
    }

    /// Takes what the customer did; `authorized_until` is the deadline of an authorization made now.
    pub(crate) fn card(&mut self, step: CardStep, authorized_until: i64) -> Result<Done, No> {
        if self.status != Status::RequiresCard {
            return Err(No::NotWaitingForCard);
        }
        let quiet = Done { event: None, moved: 0 };
        match step {
            CardStep::Accepted(card) => {
                self.card = Some(card);
                Ok(self.authorize(authorized_until))
            }
            CardStep::Declined(card) => {
                self.card = Some(card);
                Ok(self.fail())
            }
            CardStep::Challenged(card) => {
                self.card = Some(card);
                self.challenged = true;
                Ok(quiet)
            }
            CardStep::Code { .. } if !self.challenged => Err(No::NotWaitingForCard),
            CardStep::Code { right: true } => Ok(self.authorize(authorized_until)),
            CardStep::Code { right: false } => Ok(self.fail()),
            CardStep::Leave => {
                let failed = self.failures > 0;
                self.close(if failed { Status::Declined } else { Status::Voided });
                Ok(Done { event: Some(if failed { "payment.declined" } else { "payment.voided" }), moved: 0 })
            }
        }
    }

    /// Ends by itself, because its deadline has passed.
    pub(crate) fn expire(&mut self) -> Done {
        if self.captured > 0 {
            // What was captured stays; only the rest is given up.
            self.open = false;
            self.settle();
        } else {
            self.close(Status::Expired);
        }
        Done { event: Some("payment.expired"), moved: 0 }
    }

    fn authorize(&mut self, until: i64) -> Done {
        (self.open, self.challenged, self.deadline) = (true, false, Some(until));
        self.settle();
        Done { event: Some("payment.authorized"), moved: 0 }
    }

    fn fail(&mut self) -> Done {
        self.failures += 1;
        if self.failures < FAILURES_MAX {
            return Done { event: None, moved: 0 };
        }
        self.close(Status::Declined);
        Done { event: Some("payment.declined"), moved: 0 }
    }

    fn close(&mut self, status: Status) {
        (self.status, self.open, self.challenged, self.deadline) = (status, false, false, None);
    }

    /// The status that follows from the amounts of a payment that was authorized.
    fn settle(&mut self) {
        self.status = match (self.captured, self.refunded) {
            (0, _) if self.open => Status::Authorized,
            (0, _) => Status::Voided,
            (captured, refunded) if refunded == captured && !self.open => Status::Refunded,
            (_, refunded) if refunded > 0 => Status::PartlyRefunded,
            _ if self.open => Status::PartlyCaptured,
            _ => Status::Captured,
        };
        if !self.open {
            self.deadline = None;
        }
    }
}

#[cfg(test)]
#[path = "payment_tests.rs"]
mod tests;
