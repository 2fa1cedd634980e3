//! A request on its way: who, what, since when.

use std::fmt;
use std::rc::Rc;

use super::visit::{Step, Visit};

/// One request, from its intended arrival to its outcome.
#[derive(Debug)]
pub(crate) struct Job {
    /// The intended arrival, nanoseconds after the start. Latency counts from here, whatever happens after.
    pub(crate) due_ns: u64,
    /// Place in the schedule, or line in the trace: names the key and the order.
    pub(crate) number: u64,
    /// Index into the run's campaigns.
    pub(crate) campaign: usize,
    pub(crate) member: Member,
    pub(crate) work: Work,
    /// Times it was sent before.
    pub(crate) attempts: u32,
}

#[derive(Debug)]
pub(crate) enum Work {
    Issue {
        wrong_key: bool,
    },
    Redeem {
        code: Box<str>,
    },
    /// A step of a visit to the shop.
    Visit(Box<Visit>),
    /// A trace's redeem before it is known which coupon it takes.
    RedeemOldest,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Member {
    Person(u64),
    Bot(u64),
    Named(Rc<str>),
}

impl Member {
    /// Writes the member's id.
    pub(crate) fn write(&self, prefix: &str, to: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Person(number) => write!(to, "{prefix}{number}"),
            Self::Bot(number) => write!(to, "{prefix}bot-{number}"),
            Self::Named(name) => to.write_str(name),
        }
    }

    /// The member's id.
    pub(crate) fn id(&self, prefix: &str) -> String {
        let mut id = String::with_capacity(prefix.len() + 12);
        self.write(prefix, &mut id).expect("writing to a string cannot fail");
        id
    }
}

/// What a rehearsal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Issue,
    Redeem,
    Browse,
    Quote,
    Place,
    Look,
    Cancel,
    Return,
}

impl Action {
    pub(crate) const ALL: [Self; 8] = [
        Self::Issue,
        Self::Redeem,
        Self::Browse,
        Self::Quote,
        Self::Place,
        Self::Look,
        Self::Cancel,
        Self::Return,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Redeem => "redeem",
            Self::Browse => "browse",
            Self::Quote => "quote",
            Self::Place => "place",
            Self::Look => "look",
            Self::Cancel => "cancel",
            Self::Return => "return",
        }
    }
}

impl Job {
    pub(crate) fn action(&self) -> Action {
        match &self.work {
            Work::Visit(visit) => match visit.step {
                Step::Browse => Action::Browse,
                Step::Claim => Action::Issue,
                Step::Quote => Action::Quote,
                Step::Place => Action::Place,
                Step::Look => Action::Look,
                Step::Cancel => Action::Cancel,
                Step::Return => Action::Return,
            },
            Work::Issue { .. } => Action::Issue,
            Work::Redeem { .. } | Work::RedeemOldest => Action::Redeem,
        }
    }
}
