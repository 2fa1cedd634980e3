//! Who keeps an exchange waiting: its client or its server. What a slow client does is no failure of the server's, and a server
//! is not excused because a client happens to be there.

use super::body::{Fault, Progress};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A server that breaks an answer off may have tired of a client that took nothing for so long.
const TIRING: Duration = Duration::from_secs(1);

/// What takes less is no waiting: a piece has to be written, too.
const NOTICED: Duration = Duration::from_millis(1);

/// The time of one exchange.
pub(crate) struct Waits {
    began: Instant,
    /// The client's body.
    pub sending: Option<Arc<Progress>>,
    /// When the client was given the piece of the answer that it has not taken yet.
    given: Option<Instant>,
    /// How long it had for those before.
    taking: Duration,
}

impl Waits {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, sending: None, given: None, taking: Duration::ZERO }
    }

    /// A piece of the answer was given to be written.
    pub(crate) fn given(&mut self) {
        self.given = Some(Instant::now());
    }

    /// The next one is asked for: there is room again.
    pub(crate) fn taken(&mut self) {
        let took = self.given.take().map_or(Duration::ZERO, |given| given.elapsed());
        if took >= NOTICED {
            self.taking += took;
        }
    }

    /// Whether it is the client who is waited for: it broke a rule in its body, or has not sent what the server would take.
    pub(crate) fn for_client(&self) -> bool {
        self.sending.as_ref().is_some_and(|body| body.fault() != Fault::None || body.is_wanting())
    }

    /// Whether the time ran out because of the client: it is waited for, or was for most of the time.
    pub(crate) fn is_late_by_client(&self) -> bool {
        self.for_client() || self.of_client() * 2 >= self.began.elapsed()
    }

    /// Whether the client may be why the server broke the answer off.
    pub(crate) fn is_tiring(&self) -> bool {
        let taken = self.of_client();
        self.for_client() || (taken >= TIRING && taken * 2 >= self.began.elapsed())
    }

    /// How long the client was waited for: to send its body, and to take the answer.
    fn of_client(&self) -> Duration {
        let sending = self.sending.as_ref().map_or(Duration::ZERO, |body| body.waited());
        sending + self.taking + self.given.map_or(Duration::ZERO, |given| given.elapsed())
    }
}
