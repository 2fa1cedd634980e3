//! What may be said about an effect after asking for it.

use crate::PaymentId;
use banyan_domain::{Money, OrderId};

/// What came of asking. The four cases call for four different next steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was done (now, or before under the same key): the payment as it is at the company.
    Done(PaymentState),
    /// The company said no; nothing was done, and the same request will get the same answer.
    Refused(Refused),
    /// It certainly was not done, and nobody decided anything: the connection was refused, the company was too busy, or
    /// does not take our key. Asking again, with the same key, is safe; the text says what was in the way.
    NotSent(String),
    /// Nobody knows whether it was done: a time-out, a broken connection, a 5xx, an answer that makes no sense. Query, or ask
    /// again with the same key; never with another key, and never take it for a failure. The text says what happened.
    Unknown(String),
}

/// A no, in the company's own code and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The company's code, such as `card-declined`, or one of [`codes`].
    pub code: String,
    /// A sentence for a person.
    pub sentence: String,
}

/// Codes that connectors give of their own accord.
pub mod codes {
    /// The company knows no such payment or key *now*. After an [`Effect::Unknown`](crate::Effect::Unknown) the lost request may
    /// still be on its way: ask again with the same key rather than giving up.
    pub const NOT_FOUND: &str = "not-found";
    /// The company cannot take this currency; nothing was sent.
    pub const CURRENCY_NOT_SUPPORTED: &str = "currency-not-supported";
    /// The company cannot do this at all; nothing was sent.
    pub const NOT_SUPPORTED: &str = "not-supported";
}

/// A payment as its company sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentState {
    /// Its name at the company.
    pub payment: PaymentId,
    /// The order it is for, where the company remembers it.
    pub order: Option<String>,
    /// What it is at.
    pub status: Status,
    /// What was to be paid.
    pub amount: Money,
    /// Minor units captured so far.
    pub captured: i64,
    /// Minor units sent back so far; never above `captured`.
    pub refunded: i64,
    /// What paid, as far as it may be shown.
    pub card: Option<CardShown>,
    /// Where the customer must go before anything is set aside.
    pub redirect: Option<String>,
}

/// What a payment is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The customer must do something first; nothing is set aside.
    RequiresCustomer,
    /// The money is set aside, nothing is captured.
    Authorized,
    /// Some is captured, and more may be.
    PartlyCaptured,
    /// As much as will be is captured.
    Captured,
    /// Some of what was captured went back.
    PartlyRefunded,
    /// All of it went back.
    Refunded,
    /// Given up before anything was captured.
    Voided,
    /// No card worked.
    Declined,
    /// Its time ran out.
    Expired,
}

/// All that may be shown of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardShown {
    /// Such as `visa`; empty where the company does not say.
    pub brand: String,
    /// The last four digits.
    pub last4: String,
}

/// What an answer must be about, or it is not the answer to our request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About<'a> {
    Payment(&'a PaymentId),
    Order(&'a OrderId),
}

impl About<'_> {
    /// Done, if there is a payment and it is the one.
    pub(crate) fn judge(self, state: Option<PaymentState>) -> Effect {
        let Some(state) = state else { return Effect::garbage("it has no payment") };
        let is_it = match self {
            About::Payment(payment) => *payment == state.payment,
            About::Order(order) => state.order.as_deref() == Some(order.as_str()),
        };
        if is_it { Effect::Done(state) } else { Effect::garbage("it is about another payment") }
    }
}

impl Effect {
    /// The same as the answer to a question: a question that is refused, for want of a right or a parameter, says nothing of
    /// the effect that it was about. Only "there is no such thing" does.
    pub(crate) fn of_question(self) -> Self {
        match self {
            Self::Refused(no) if no.code != codes::NOT_FOUND => {
                Self::Unknown(format!("the question was refused: {}: {}", no.code, no.sentence))
            }
            other => other,
        }
    }

    /// The payment, if it was done.
    #[must_use]
    pub fn done(&self) -> Option<&PaymentState> {
        match self {
            Self::Done(state) => Some(state),
            _ => None,
        }
    }

    /// The code of the refusal, if it is one.
    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => Some(&refused.code),
            _ => None,
        }
    }

    /// Whether nobody knows.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    pub(crate) fn no(code: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self::Refused(Refused { code: code.into(), sentence: sentence.into() })
    }

    pub(crate) fn garbage(what: &str) -> Self {
        Self::Unknown(format!("the company's answer cannot be understood: {what}"))
    }
}

impl PaymentState {
    /// The status that follows from the amounts of a payment that was captured from.
    pub(crate) fn settled(captured: i64, refunded: i64, open: bool) -> Status {
        match () {
            () if refunded >= captured && !open => Status::Refunded,
            () if refunded > 0 => Status::PartlyRefunded,
            () if open => Status::PartlyCaptured,
            () => Status::Captured,
        }
    }
}
