//! What happens in one step of a search, and how it is told.

use super::Search;
use super::world::Answer;
use crate::saga::event::{Ask, End, Event};

/// Something that happens. Its words are made only for the way that is printed.
#[derive(Clone, Debug)]
pub(super) enum Move {
    /// The machine goes on.
    Event(Event),
    /// Time passes until the machine goes on.
    Time(Event),
    /// Time passes, and nobody waits for it.
    TimeAlone,
    /// This store does or undoes a step itself.
    Local(u8, Ask, Answer),
    /// A request never arrives, and nobody knows.
    Lost(u8, Ask, u32),
    /// A request cannot be sent, and the sender knows.
    NotSent(u8, Ask, u32),
    /// A request arrives.
    Arrives(Arrival),
    /// An answer arrives.
    Answered(u8, Ask, u32, Answer, bool),
    /// The answer is that nobody knows: a 5xx, or a connection that broke.
    NobodyKnows(u8, Ask, u32),
    /// The process ends and starts again.
    Crash,
    /// It crashes after sending what is not durable, and then somebody cancels.
    CrashAfterSending(u8),
    /// Somebody cancels.
    Cancelled,
    /// The deadline is over.
    Overdue,
    /// The one for whom the participant waited comes.
    Comes(u8, Answer),
    /// A webhook.
    Notice(u8),
    /// An operator decides.
    Operator(u8, Decision),
    /// What a step holds lapses by itself.
    Lapses(u8),
}

/// A request that arrives, and what its participant makes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) place: u8,
    pub(super) ask: Ask,
    pub(super) attempt: u32,
    pub(super) what: &'static str,
    /// Its answer never arrives.
    pub(super) unanswered: bool,
    /// The network keeps a copy, which will arrive again.
    pub(super) repeated: bool,
}

/// What an operator decides about a parked saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Retry,
    Skip,
    Undo,
}

impl Search {
    pub(super) fn name(&self, place: u8) -> &str {
        self.definition.steps[usize::from(place)].name.as_str()
    }

    pub(super) fn words(&self, one: &Move) -> String {
        match *one {
            Move::Event(ref event) => self.event_words(event),
            Move::Time(ref event) => format!("time passes: {}", self.event_words(event)),
            Move::TimeAlone => "time passes".into(),
            Move::Local(place, Ask::Undo, answer) => {
                format!("undo {}: {}", self.name(place), answer.words())
            }
            Move::Local(place, _, answer) => format!("{}: {}", self.name(place), answer.words()),
            Move::Lost(place, ask, n) => format!("{} {} #{n} is lost", ask_words(ask), self.name(place)),
            Move::NotSent(place, ask, n) => {
                format!("{} {} #{n} cannot be sent", ask_words(ask), self.name(place))
            }
            Move::Arrives(Arrival { place, ask, attempt, what, unanswered, repeated }) => {
                let lost = if unanswered { ", and the answer is lost" } else { "" };
                let again = if repeated { "; the network will repeat it" } else { "" };
                format!("{} {} #{attempt} arrives: {what}{lost}{again}", ask_words(ask), self.name(place))
            }
            Move::Answered(place, ask, n, answer, repeated) => {
                let again = if repeated { "; the network will repeat it" } else { "" };
                format!("answer to {} {} #{n}: {}{again}", ask_words(ask), self.name(place), answer.words())
            }
            Move::NobodyKnows(place, ask, n) => {
                format!("answer to {} {} #{n}: nobody knows", ask_words(ask), self.name(place))
            }
            Move::Crash => "the process crashes, and starts again".into(),
            Move::CrashAfterSending(place) => {
                format!("crash after sending {}, then cancelled", self.name(place))
            }
            Move::Cancelled => "somebody cancels".into(),
            Move::Overdue => "the deadline is over".into(),
            Move::Comes(place, Answer::Refused) => {
                format!("the one for whom {} waits says no", self.name(place))
            }
            Move::Comes(place, _) => format!("the one for whom {} waits comes", self.name(place)),
            Move::Notice(place) => format!("a webhook about {}", self.name(place)),
            Move::Operator(place, Decision::Retry) => {
                format!("an operator lets {} be tried again", self.name(place))
            }
            Move::Operator(place, Decision::Skip) => {
                format!("an operator sees to {} by hand, and skips it", self.name(place))
            }
            Move::Operator(_, Decision::Undo) => "an operator turns the saga back".into(),
            Move::Lapses(place) => format!("what {} holds lapses", self.name(place)),
        }
    }

    fn event_words(&self, event: &Event) -> String {
        match event {
            Event::Scheduled { step, ask, attempt, .. } => {
                format!("{} {} #{attempt} is scheduled", ask_words(*ask), self.name(*step))
            }
            Event::Settled { step, ask, .. } => {
                format!("no answer to {} {}", ask_words(*ask), self.name(*step))
            }
            Event::Skipped { step, .. } => format!("{} is skipped", self.name(*step)),
            Event::TurnedBack { .. } => "the saga turns back".into(),
            Event::Parked { step, why, .. } => format!("parked at {}: {why}", self.name(*step)),
            Event::Ended { end: End::Completed, .. } => "completed".into(),
            Event::Ended { end: End::Compensated, .. } => "compensated".into(),
            Event::Defined { .. } | Event::Started { .. } | Event::Resumed { .. } => "begins".into(),
        }
    }
}

impl Answer {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::NotSent => "not sent",
            Self::Absent => "nothing known of it",
            Self::Waiting => "it waits for somebody",
            Self::Over => "it waits for somebody, whose time is over",
        }
    }
}

const fn ask_words(ask: Ask) -> &'static str {
    match ask {
        Ask::Do => "do",
        Ask::Undo => "undo",
        Ask::Query => "query",
    }
}
