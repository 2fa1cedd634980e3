//! Where everything here meets Banyan: commands that are asked until they are answered, and looks at the state.

use banyan_domain::{Command, Outcome, Refusal, State};
use banyan_engine::{Answer, Shard, SubmitError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before asking again when the shard's queue is full.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How long to wait before asking again when storage is full: as often as the shard looks for room.
const STORAGE_PAUSE: Duration = Duration::from_millis(250);

/// Asks a shard. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    shard: Arc<Shard>,
}

/// Why something asked was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeskError {
    /// The rules refuse it.
    Refused(Refusal),
    /// The shard is stopping. What was asked last may have been done or not: the log will say.
    Stopping,
}

impl Desk {
    /// A desk of `shard`.
    #[must_use]
    pub const fn new(shard: Arc<Shard>) -> Self {
        Self { shard }
    }

    /// The shard.
    #[must_use]
    pub const fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }

    /// Asks until it is answered. Everything that is asked here is safe to ask twice. What is answered is durable.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn ask(&self, command: impl Into<Command>) -> Result<Outcome, DeskError> {
        let command = command.into();
        // The pauses are between two tries: neither queue nor storage tells when there is room again.
        loop {
            match self.shard.submit(command.clone(), None) {
                Ok(answer) => match answer.await {
                    Ok(Answer::Done { outcome, .. }) => return Ok(outcome),
                    Ok(Answer::Refused(refusal)) => return Err(DeskError::Refused(refusal)),
                    Ok(Answer::StorageFull) => tokio::time::sleep(STORAGE_PAUSE).await,
                    Err(_) => return Err(DeskError::Stopping),
                },
                Err(SubmitError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(SubmitError::Closed) => return Err(DeskError::Stopping),
            }
        }
    }

    /// Looks at the state between two commands; what is seen is durable when it comes. Short work only: the writer waits.
    ///
    /// # Errors
    /// [`DeskError::Stopping`].
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl Fn(&State) -> T + Clone + Send + 'static,
    ) -> Result<T, DeskError> {
        loop {
            match self.shard.read(look.clone()) {
                Ok(seen) => return seen.await.map_err(|_| DeskError::Stopping),
                Err(SubmitError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(SubmitError::Closed) => return Err(DeskError::Stopping),
            }
        }
    }
}

impl fmt::Display for DeskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused ({refusal}): {}", refusal.sentence()),
            Self::Stopping => f.write_str("the server is stopping"),
        }
    }
}

impl std::error::Error for DeskError {}
