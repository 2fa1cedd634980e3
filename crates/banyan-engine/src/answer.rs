//! What goes into the writer, and what comes out of it once it is durable.

use banyan_domain::saga::Request;
use banyan_domain::{Command, KeyStamp, Outcome, Refusal, SagaNo, State};
use std::fmt;
use tokio::sync::oneshot;

/// The answer to one command. Nobody gets one before every event it rests on is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The command was carried out.
    Done {
        /// What it came to.
        outcome: Outcome,
        /// The log position to wait for in a view before this answer shows there.
        seq: u64,
        /// Whether nothing was done now: it had been carried out before, or things were that way.
        replayed: bool,
    },
    /// A business no.
    Refused(Refusal),
    /// There is no room to store anything: nothing was decided. Try again when there is.
    StorageFull,
}

/// What waits in the queue: one command or a batch of them, and who asked.
#[derive(Debug)]
pub enum Work {
    /// One command.
    One {
        /// What is asked.
        command: Command,
        /// Under which idempotency key, if any.
        stamp: Option<KeyStamp>,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// Several commands, decided in order, each on its own, and answered together in the same order.
    Many {
        /// What is asked.
        commands: Vec<(Command, Option<KeyStamp>)>,
        /// Where the answers go.
        reply: oneshot::Sender<Vec<Answer>>,
    },
    /// One command, and a look at the state right after it.
    Then {
        /// What is asked.
        command: Command,
        /// Under which idempotency key, if any.
        stamp: Option<KeyStamp>,
        /// What to look at.
        then: Then,
    },
    /// A look at the state between two commands.
    Read {
        /// What to look at.
        read: Read,
    },
}

/// A look at the state. What it gives is called once everything that it may have seen is durable.
pub struct Read(Box<dyn FnOnce(&State) -> Seen + Send>);

/// A look at the state right after a command, with its answer in hand.
pub struct Then(Box<LookThen>);

type LookThen = dyn FnOnce(Answer, &State) -> Seen + Send;

/// What a [`Read`] has seen, on its way to whoever looks.
pub struct Seen(Box<dyn FnOnce() + Send>);

/// The answers of one block.
#[derive(Debug, Default)]
pub struct Replies {
    /// To single commands.
    pub ones: Vec<(oneshot::Sender<Answer>, Answer)>,
    /// To batches.
    pub many: Vec<(oneshot::Sender<Vec<Answer>>, Vec<Answer>)>,
    /// To those who look.
    pub reads: Vec<Seen>,
    /// What sagas ask of services outside from now on: the requests that the intents of the block stand for.
    pub asks: Vec<Request>,
    /// Sagas that came to rest in the block: ended, parked, or waiting for somebody.
    pub rested: Vec<SagaNo>,
}

/// Takes the answers of a block once it is durable. Called by the log thread, which must not wait: an asynchronous server
/// hands them to its own threads here, so that one wake-up serves a whole block.
pub trait ReplySink: Send {
    /// Delivers the answers.
    fn release(&mut self, replies: Replies);
}

/// Delivers every answer at once, on the log thread.
#[derive(Debug, Default)]
pub struct DirectReplies;

impl Work {
    /// How many commands it holds.
    #[must_use]
    pub fn commands(&self) -> usize {
        match self {
            Self::One { .. } | Self::Then { .. } => 1,
            Self::Many { commands, .. } => commands.len(),
            Self::Read { .. } => 1,
        }
    }
}

impl Replies {
    /// Sends every answer to whoever still waits. Whoever stopped waiting is not told: the command stands all the same.
    pub fn send(self) {
        for (reply, answer) in self.ones {
            let _gone = reply.send(answer);
        }
        for (reply, answers) in self.many {
            let _gone = reply.send(answers);
        }
        for seen in self.reads {
            seen.say();
        }
    }

    /// Whether nobody waits for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ones.is_empty() && self.many.is_empty() && self.reads.is_empty() && self.asks.is_empty()
    }
}

impl Read {
    /// Looks with `look`, and sends what it gives to `reply`.
    pub fn new<T: Send + 'static>(
        look: impl FnOnce(&State) -> T + Send + 'static,
        reply: oneshot::Sender<T>,
    ) -> Self {
        Self(Box::new(move |state| Seen::new(look(state), reply)))
    }

    pub(crate) fn look(self, state: &State) -> Seen {
        (self.0)(state)
    }
}

impl Then {
    /// Looks with `look`, and sends what it gives to `reply`.
    pub fn new<T: Send + 'static>(
        look: impl FnOnce(Answer, &State) -> T + Send + 'static,
        reply: oneshot::Sender<T>,
    ) -> Self {
        Self(Box::new(move |answer, state| Seen::new(look(answer, state), reply)))
    }

    pub(crate) fn look(self, answer: Answer, state: &State) -> Seen {
        (self.0)(answer, state)
    }
}

impl Seen {
    pub(crate) fn new<T: Send + 'static>(seen: T, reply: oneshot::Sender<T>) -> Self {
        Self(Box::new(move || {
            let _gone = reply.send(seen);
        }))
    }

    /// Tells whoever looked, if they still wait.
    pub(crate) fn say(self) {
        (self.0)();
    }
}

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Then")
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen")
    }
}

impl ReplySink for DirectReplies {
    fn release(&mut self, replies: Replies) {
        replies.send();
    }
}
