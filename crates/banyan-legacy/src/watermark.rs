//! The watermark: up to when everything that the old database committed is applied here. A hold of the old shop that is over by
//! the clock lapses only when this has passed its end, since the order for it may still be on its way.
//!
//! It is found out only while a hold waits for it, and without comparing clocks: an instant of Banyan's own clock is looked up,
//! *then* the old database is asked where its log ends. Whatever it had committed by that instant lies before that place, so
//! once the stream has come there, all of it is applied. If the stream stands still, so does the watermark.

use crate::database::{LegacyError, OldDatabase};
use crate::desk::{Desk, DeskError};
use crate::progress::Progress;
use crate::values::STOCK;
use banyan_domain::legacy::{Command, SourceId};
use banyan_domain::{State, Timestamp};
use banyan_engine::wall_clock;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often it is looked whether a hold waits. The state of the shard tells nobody; a look costs a microsecond.
const LOOK: Duration = Duration::from_millis(200);
/// How often the old database is asked at most, and how often at least while a hold waits: answers of a server that was
/// restored meanwhile mean nothing any more.
const ASK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Questions whose answers the stream has not come to yet.
const ASKED_MAX: usize = 64;
/// How often it is told that holds wait.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Moves the watermark while holds wait for it, until told to stop.
pub(crate) async fn keep(
    desk: &Desk,
    database: &dyn OldDatabase,
    progress: &Progress,
    mut stop: watch::Receiver<bool>,
) {
    let mut asked = Asked::default();
    let mut last: Option<Instant> = None;
    let mut told = Told::default();
    while !*stop.borrow() {
        let Ok(seen) = desk.look(Seen::of).await else { return };
        match (seen.waits_until, seen.source) {
            (Some(end), Some(source)) => {
                let since = last.map_or(Duration::MAX, |last| last.elapsed());
                let covered = asked.last_of(&source).is_some_and(|until| until >= end);
                if since >= if covered { ASK_EVERY.1 } else { ASK_EVERY.0 } {
                    last = Some(Instant::now());
                    // Before the question: what is committed while it is asked may be missing from the answer.
                    let until = wall_clock().max(seen.time);
                    let applied = progress.view().position_applied;
                    let position = tokio::select! {
                        position = end_of_log(database) => position,
                        _ = stop.wait_for(|stop| *stop) => return,
                    };
                    match position {
                        // Its log ends before what has come of it: it is another history, as the stream will find out. Or a stream is
                        // being begun anew, and nobody knows yet of which server.
                        Ok(position) if position < applied || applied == 0 => {}
                        Ok(position) => asked.add(Question { source: source.clone(), until, position }),
                        Err(error) => tracing::debug!(
                            "holds wait, and the old database does not say where it is: {error}"
                        ),
                    }
                }
                told.waiting(seen.holds, || {
                    let view = progress.view();
                    format!(
                        "its stream is at {} here, {}",
                        view.position_applied,
                        trouble(view.trouble.inward)
                    )
                });
                if let Some(Question { source, until, position }) =
                    asked.arrived(&source, progress.view().position_applied)
                {
                    let note = Command::NoteKnown { capability: STOCK, source, position, until };
                    match desk.ask(note).await {
                        // Another stream is followed meanwhile: it is asked again.
                        Ok(_) | Err(DeskError::Refused(_)) => continue,
                        Err(DeskError::Stopping) => return,
                    }
                }
            }
            _ => {
                (asked, last) = (Asked::default(), None);
                told = Told::default();
            }
        }
        let _stopped = tokio::time::timeout(LOOK, stop.changed()).await;
    }
}

/// Where the old database's log ends, and sees to it that the stream tells soon when it has come there.
async fn end_of_log(database: &dyn OldDatabase) -> Result<u64, LegacyError> {
    let position = database.position().await?;
    // An idle stream would tell by itself, only later.
    let _told_later = database.nudge().await;
    Ok(position)
}

/// Runs where nobody keeps the old shop's database in step. If the old shop is said to be gone, its stream has nothing to tell
/// any more, and holds end by the clock. Otherwise they wait, and that is told.
pub async fn unattended(desk: Desk, gone: bool, mut stop: watch::Receiver<bool>) {
    let mut told = Told::default();
    // Where nothing is an old shop's, nothing will be: that comes of following one.
    if !matches!(desk.look(|state| state.legacy().mirrored_count()).await, Ok(1..)) {
        return;
    }
    while !*stop.borrow() {
        let Ok(seen) = desk.look(Seen::of).await else { return };
        match (seen.waits_until, seen.source) {
            (Some(_), Some(source)) if gone => {
                let (until, position) = (wall_clock().max(seen.time), seen.position);
                let note = Command::NoteKnown { capability: STOCK, source, position, until };
                if let Err(DeskError::Stopping) = desk.ask(note).await {
                    return;
                }
            }
            // The copy that somebody began ends here: nobody will go on with it.
            (Some(_), None) if gone && seen.copying => {
                if let Err(DeskError::Stopping) = desk.ask(Command::EndCopy { capability: STOCK }).await {
                    return;
                }
            }
            (Some(_), _) => told.waiting(seen.holds, || {
                "nobody follows its database: start with --legacy FILE, or with --old-shop-gone if it sells nothing any more"
                    .to_owned()
            }),
            (None, _) => told = Told::default(),
        }
        let _stopped = tokio::time::timeout(LOOK, stop.changed()).await;
    }
}

/// What the state says.
struct Seen {
    /// The latest end of a hold that waits.
    waits_until: Option<Timestamp>,
    holds: usize,
    time: Timestamp,
    /// The stream, unless its rows are being copied.
    source: Option<SourceId>,
    copying: bool,
    position: u64,
}

impl Seen {
    fn of(state: &State) -> Self {
        let waits_until = state.awaits_known();
        let followed = waits_until.and_then(|_| state.legacy().capability(STOCK).source);
        let position = followed.as_ref().map_or(0, |followed| followed.position);
        let copying = followed.as_ref().is_some_and(|followed| followed.copying);
        let source = followed.filter(|followed| !followed.copying).map(|followed| followed.id);
        Self { waits_until, holds: state.holds_waiting(), time: state.time(), source, copying, position }
    }
}

/// Where the old database's log ended after an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    source: SourceId,
    until: Timestamp,
    position: u64,
}

/// Questions that the stream has not come to, in their order.
#[derive(Default)]
struct Asked(VecDeque<Question>);

impl Asked {
    fn add(&mut self, question: Question) {
        // The first ones are come to first, so they are kept; the last knows most.
        if self.0.len() == ASKED_MAX {
            self.0.pop_back();
        }
        self.0.push_back(question);
    }

    /// The latest instant that was asked for.
    fn last_of(&self, source: &SourceId) -> Option<Timestamp> {
        self.0.back().filter(|last| last.source == *source).map(|last| last.until)
    }

    /// Takes the latest question that the stream has come to, and forgets those before it.
    fn arrived(&mut self, source: &SourceId, applied: u64) -> Option<Question> {
        self.0.retain(|question| question.source == *source);
        let last = self.0.iter().rposition(|question| question.position <= applied)?;
        self.0.drain(..=last).next_back()
    }
}

/// Tells now and then that holds wait.
struct Told(Instant);

impl Default for Told {
    /// A hold that has just ended waits for a moment, which is as it should be.
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Told {
    fn waiting(&mut self, holds: usize, why: impl FnOnce() -> String) {
        if self.0.elapsed() >= TELL_EVERY {
            self.0 = Instant::now();
            let why = why();
            tracing::warn!(
                holds,
                "holds of the old shop are over, and wait to hear whether they were sold: {why}"
            );
        }
    }
}

fn trouble(inward: Option<String>) -> String {
    inward.unwrap_or_else(|| "and nothing is known to be in its way".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(system: &str, until: u64, position: u64) -> Question {
        let source = SourceId { system: system.into(), stream: "s".into() };
        Question { source, until: Timestamp::from_millis(until), position }
    }

    #[test]
    fn the_latest_question_that_the_stream_has_come_to_counts() {
        let mut asked = Asked::default();
        let source = question("a", 0, 0).source;
        for n in 1..=3 {
            asked.add(question("a", n * 10, n * 100));
        }
        assert_eq!(asked.arrived(&source, 99), None);
        assert_eq!(asked.arrived(&source, 250), Some(question("a", 20, 200)));
        assert_eq!(asked.arrived(&source, 250), None, "once");
        assert_eq!(asked.last_of(&source), Some(Timestamp::from_millis(30)));
    }

    #[test]
    fn a_server_that_was_restored_does_not_keep_holds_waiting_for_ever() {
        let mut asked = Asked::default();
        let source = question("a", 0, 0).source;
        asked.add(question("a", 10, 9_000));
        asked.add(question("a", 20, 100));
        assert_eq!(asked.arrived(&source, 150), Some(question("a", 20, 100)));
    }

    #[test]
    fn answers_of_another_stream_mean_nothing() {
        let mut asked = Asked::default();
        asked.add(question("a", 10, 100));
        let other = question("b", 0, 0).source;
        assert_eq!(asked.last_of(&other), None);
        assert_eq!(asked.arrived(&other, 500), None);
        assert_eq!(asked.arrived(&question("a", 0, 0).source, 500), None, "forgotten");
    }

    #[test]
    fn a_stream_that_stands_still_costs_no_memory() {
        let mut asked = Asked::default();
        (0..1_000).for_each(|n| asked.add(question("a", n, n)));
        assert_eq!(asked.0.len(), ASKED_MAX);
        let source = question("a", 0, 0).source;
        assert_eq!(asked.last_of(&source), Some(Timestamp::from_millis(999)));
        assert_eq!(asked.arrived(&source, 5), Some(question("a", 5, 5)), "the first are come to first");
    }
}
