//! Doing a move: one step at a time, each noted in the log before the next is gone for.
//!
//! The driver remembers nothing. What it does next follows from the log and, for the switch, from the old database's
//! bookkeeping row: so it may be stopped, or killed, between any two lines here.

use super::look::{Gatekeeper, Look, Preflight};
use super::plan::steps;
use super::recall::Recall;
use crate::database::{Book, BoxFuture, Hold, LegacyError, OldDatabase, Switch, Switched, Written};
use crate::desk::{Desk, DeskError};
use crate::progress::{Progress, ProgressView};
use crate::takeover;
use crate::words::as_reason;
use banyan_domain::legacy::{Capability, CapabilityState, Command, Move, MoveStep, Phase};
use banyan_domain::stock::ReservationView;
use banyan_domain::{Reason, Refusal, State, legacy};
use banyan_engine::wall_clock;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for the orders in flight in the old shop. New ones wait as long, so it is short, and tried again.
const HOLD_WAIT_MAX: Duration = Duration::from_secs(5);
/// Longest time for which the door is held while both sides catch up. New orders wait as long.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);
/// The same before Banyan leads, where only the stream has to.
const ARRIVE_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether both sides have caught up: orders wait meanwhile.
const CATCH_UP_LOOK: Duration = Duration::from_millis(5);
/// How long a move back to the old shop waits at most, while everything is still sold, for reservations from before it was begun. Its
/// orders are held for two minutes; whoever holds for longer is waited for when nothing more is reserved.
const OPEN_MAX: Duration = Duration::from_secs(150);

/// Compares both sides.
pub trait Comparer: Send + Sync {
    /// Compares every mapped row, and puts right what differs if `repair`. Gives the rows compared and those that still
    /// differ, or what stands in the way.
    fn compare(&self, repair: bool) -> BoxFuture<'_, Result<(u64, u64), String>>;
}

/// Where a move is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// None is under way.
    Idle,
    /// It has come one step further.
    Stepped(MoveStep),
    /// It waits for something, in words.
    Waiting(String),
    /// A gate is closed that was open when the move was begun; or the door was held, or tried, in vain, and orders of the old shop
    /// waited for it: it rests before it tries again.
    Resting(String),
    /// It is done.
    Done(Phase),
}

/// Why a move does not get on. It is tried again; somebody may have to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveError {
    /// The old database.
    Old(LegacyError),
    /// Banyan's own side.
    Desk(DeskError),
    /// Something that only a person can put right.
    Person(String),
}

/// Drives the moves of one capability.
pub struct Driver {
    /// Banyan's side.
    pub desk: Desk,
    /// The old database.
    pub database: Arc<dyn OldDatabase>,
    /// How the sync is doing.
    pub progress: Arc<Progress>,
    /// Compares both sides.
    pub comparer: Arc<dyn Comparer>,
    /// What it remembers between two steps. Lost in a crash, it is found out again.
    pub recall: Recall,
}

const STOCK: Capability = Capability::Stock;

impl Driver {
    /// Where the capability stands.
    ///
    /// # Errors
    /// [`DriveError::Desk`].
    pub async fn state(&self) -> Result<CapabilityState, DriveError> {
        Ok(self.desk.look(|state| state.legacy().capability(STOCK)).await?)
    }

    /// Goes one step further with the move under way, for who sees the old database only: of the gates it looks at the preflight.
    ///
    /// # Errors
    /// [`DriveError`]: nothing is lost; call again.
    pub async fn step(&self) -> Result<Stage, DriveError> {
        self.step_past(&Preflight(&*self.database)).await
    }

    /// Goes one step further with the move under way, if `gates` let it.
    ///
    /// # Errors
    /// [`DriveError`]: nothing is lost; call again.
    pub async fn step_past(&self, gates: &dyn Gatekeeper) -> Result<Stage, DriveError> {
        let state = self.state().await?;
        let Some(moving) = state.moving.clone() else { return Ok(Stage::Idle) };
        let next = steps(state.phase, moving.to).iter().find(|planned| !moving.has_noted(planned.step));
        // The switch is noted before it is sent, so whatever comes after it needs it done first.
        if moving.has_noted(MoveStep::Switched)
            && let Some(waits) = self.switch(&state, &moving).await?
        {
            return Ok(Stage::Resting(waits));
        }
        match next {
            Some(planned) => self.take(&state, &moving, planned.step, gates).await,
            None if state.phase.switches(moving.to) => {
                Ok(Stage::Waiting("the old database was told; its stream will say from when".into()))
            }
            None => {
                self.desk.ask(Command::FinishMove { capability: STOCK, number: moving.number }).await?;
                Ok(Stage::Done(moving.to))
            }
        }
    }

    /// Gives the move under way up, if that is still possible.
    ///
    /// # Errors
    /// [`DriveError::Person`] if the old database was told already: the move will end by itself.
    pub async fn abort(&self, why: Reason) -> Result<(), DriveError> {
        let state = self.state().await?;
        let Some(moving) = state.moving.clone() else {
            return Err(DriveError::Person("no move is under way".into()));
        };
        let fenced = moving.has_noted(MoveStep::Switched);
        if fenced {
            // The switch may be on its way. Writing the present phase under the same number uses the number up.
            let told = "the old database was told already; the move will be done in a moment";
            match self.tell(&state, &moving, state.phase).await? {
                Told::Done if moving.to != state.phase => {}
                Told::Done | Told::Otherwise => return Err(DriveError::Person(told.into())),
                Told::Busy(why) => return Err(DriveError::Person(why)),
            }
        }
        self.desk.ask(Command::AbortMove { capability: STOCK, number: moving.number, why, fenced }).await?;
        // In phase legacy nobody reads the stream, and what it makes the old database keep would only grow.
        if state.phase == Phase::Legacy && moving.has_noted(MoveStep::Prepared) {
            self.database.drop_stream().await?;
        }
        Ok(())
    }

    async fn take(
        &self,
        state: &CapabilityState,
        moving: &Move,
        step: MoveStep,
        gates: &dyn Gatekeeper,
    ) -> Result<Stage, DriveError> {
        if step == MoveStep::Checked
            && state.phase.leads()
            && !moving.to.leads()
            && let Some(why) = self.open_from_before(moving).await?
        {
            return Ok(Stage::Waiting(why));
        }
        let seen = match step {
            // The second only notes it: the old database is told at the next step, and from then on until it is known to be done.
            MoveStep::Checked | MoveStep::Switched => match gates.look(moving).await? {
                Look::Open(found) => found,
                Look::Closed(why) => return Ok(Stage::Resting(why)),
            },
            MoveStep::Prepared => self.database.create().await?.join("; "),
            MoveStep::Copied => match &state.source {
                Some(source) if !source.copying => format!("as of position {}", source.position),
                _ => {
                    return Ok(Stage::Waiting(format!(
                        "copying: {} rows so far",
                        self.progress.view().rows_in
                    )));
                }
            },
            MoveStep::Compared => match self.compare(state, moving).await? {
                Ok(rows) => format!("{rows} rows are equal"),
                Err(why) => return Ok(why),
            },
            MoveStep::Drained => match self.desk.look(open_reservations).await? {
                (0, _) => "no reservation is open".into(),
                (open, until) => {
                    return Ok(Stage::Waiting(format!(
                        "{open} reservations are open, the last until {}; nothing more is reserved meanwhile",
                        instant(until)
                    )));
                }
            },
            MoveStep::Flushed => {
                let seq = match self.recall.goal(moving.number, step) {
                    Some(seq) => seq,
                    None => self.desk.look(State::seq).await?,
                };
                self.recall.set_goal(moving.number, step, seq);
                let written = self.progress.view().seq_written;
                if written < seq {
                    let text = format!("the old columns are at event {written} of {seq}");
                    return Ok(Stage::Waiting(text));
                }
                format!("the old columns are at event {written}")
            }
            MoveStep::Cleared => {
                self.database.drop_stream().await?;
                "the stream is given up".into()
            }
        };
        let (number, note) = (moving.number, as_reason(&seen));
        self.desk.ask(Command::NoteMove { capability: STOCK, number, step, note }).await?;
        Ok(Stage::Stepped(step))
    }

    /// Compares both sides: how many rows are equal, or what the move does instead of going on.
    async fn compare(
        &self,
        state: &CapabilityState,
        moving: &Move,
    ) -> Result<Result<u64, Stage>, DriveError> {
        if self.recall.leaves_alone(moving.number, state.reconciled).is_some() {
            let open = state.reconciled.map_or(0, |last| last.differing.saturating_sub(last.repaired));
            return Ok(Err(Stage::Waiting(format!(
                "{open} rows differ; they are compared again after a pause"
            ))));
        }
        match self.comparer.compare(true).await {
            Ok((rows, 0)) => {
                self.recall.is_equal();
                Ok(Ok(rows))
            }
            Ok((rows, differing)) => {
                self.recall.differed(moving.number, self.state().await?.reconciled);
                Ok(Err(Stage::Waiting(format!("{differing} of {rows} rows differ; comparing again"))))
            }
            // One side does not catch up, or cannot be reached.
            Err(why) => Ok(Err(Stage::Resting(why))),
        }
    }

    /// What a move back waits for before it closes: reservations that were open when it was begun. An order of the old shop is there
    /// within seconds of its reservation, or never: who waits for those that never come while everything is sold need not wait when
    /// nothing is.
    async fn open_from_before(&self, moving: &Move) -> Result<Option<String>, DriveError> {
        let last = match self.recall.goal(moving.number, MoveStep::Checked) {
            Some(last) => last,
            None => self.desk.look(|state| state.stock().reservations_ever()).await?,
        };
        self.recall.set_goal(moving.number, MoveStep::Checked, last);
        let since = wall_clock().as_millis().saturating_sub(moving.begun_at.as_millis());
        if u128::from(since) >= OPEN_MAX.as_millis() {
            return Ok(None);
        }
        let before = move |state: &State| open_where(state, |row| row.reservation.get() <= last);
        Ok(match self.desk.look(before).await? {
            (0, _) => None,
            (open, until) => Some(format!(
                "{open} reservations are open from before the move, the last until {}; everything is sold meanwhile",
                instant(until)
            )),
        })
    }

    /// Sees to it that the old database is told. What it waits for, if it is not known to be done.
    async fn switch(&self, state: &CapabilityState, moving: &Move) -> Result<Option<String>, DriveError> {
        debug_assert!(state.moving.as_ref() == Some(moving), "the move is the one under way");
        match self.tell(state, moving, moving.to).await? {
            Told::Done => Ok(None),
            Told::Busy(why) => Ok(Some(why)),
            Told::Otherwise => Err(DriveError::Person(format!(
                "the bookkeeping row in the old database was changed by somebody else during move {}. Compare it with \
                 banyan legacy status and put it right",
                moving.number
            ))),
        }
    }

    /// Writes `phase` under the number of the move into the bookkeeping row.
    async fn tell(&self, state: &CapabilityState, moving: &Move, phase: Phase) -> Result<Told, DriveError> {
        // A mirror comes and goes without the old shop's knowing: the lead does not change hands.
        if !self.database.keeps_book() && !state.phase.leads() && !moving.to.leads() {
            return Ok(Told::Done);
        }
        let book = self.database.book().await?.ok_or_else(|| {
            DriveError::Person(
                "there is no bookkeeping row in the old database; banyan legacy check --create makes it"
                    .into(),
            )
        })?;
        if book.move_no >= moving.number {
            let same = book.move_no == moving.number && book.phase == phase;
            return Ok(if same { Told::Done } else { Told::Otherwise });
        }
        // Whoever took the lead in the old database by hand does not lose it again to a move that knew nothing of it.
        if let Some(book) = takeover::seems(state, Some(book)) {
            let now = takeover::note(&self.desk, state, book).await?;
            let why = now.taken_over.as_ref().map(takeover::sentence);
            return Err(DriveError::Person(why.unwrap_or_else(|| "the move has ended meanwhile".into())));
        }
        let opened = self.progress.view().opened;
        let door = match self.database.hold(HOLD_WAIT_MAX).await? {
            Hold::Held(door) => door,
            Hold::LockBusy => {
                let why = "an order in flight in the old shop keeps its lock; trying again";
                return Ok(Told::Busy(why.into()));
            }
        };
        // Whoever is to lead must have everything that the other has said before.
        let awaited = Awaited { position: door.position(), opened, told: None };
        let lacks = match (book.phase.leads(), phase.leads()) {
            (true, false) => self.catch_up(awaited, book).await?,
            (false, true) => self.arrived(awaited).await?,
            _ => None,
        };
        let elsewhere = match book.phase.switches(phase) {
            true => self.door_elsewhere(door.system()).await?,
            false => None,
        };
        if let Some(why) = lacks.or(elsewhere) {
            return Ok(Told::Busy(why));
        }
        let ask = Switch {
            move_no: moving.number,
            from: book.phase,
            to: phase,
            epoch: book.epoch,
            seq_at_least: book.seq,
        };
        match door.switch(ask).await? {
            Switched::Done(_) => Ok(Told::Done),
            Switched::Refused(why) => {
                // Perhaps the lead was taken back by hand while the door was held: then nothing more is decided from now on.
                takeover::look(&self.desk, &*self.database).await?;
                Err(DriveError::Person(why))
            }
        }
    }

    /// Whether the door that is held is another server's than the one whose stream is followed, in words: then what has come
    /// through the stream says nothing of what was committed before the door.
    async fn door_elsewhere(&self, door: Option<&str>) -> Result<Option<String>, DriveError> {
        let followed = self.state().await?.source.map(|source| source.id.system);
        let (Some(door), Some(followed)) = (door, followed) else { return Ok(None) };
        let why = || let_go(&format!("the door is that of {door}, and the stream that of {followed}"));
        Ok((door != &*followed).then(why))
    }

    /// Makes the stream tell something, and gives how much it had told before, if it will.
    async fn nudge(&self, until: Instant) -> Result<Option<u64>, DriveError> {
        // Before it: what is told from now on counts.
        let told = self.progress.view().told;
        match tokio::time::timeout_at(until, self.database.nudge()).await {
            Ok(will_tell) => Ok(will_tell?.then_some(told)),
            Err(_) => Ok(Some(told)),
        }
    }

    /// Waits until everything before the door is here. From the switch on the old shop's orders ask Banyan, which can answer none
    /// before the switch has come through the stream: behind everything that is still on its way. What it waits for in vain, if
    /// it does.
    async fn arrived(&self, mut awaited: Awaited) -> Result<Option<String>, DriveError> {
        let until = Instant::now() + ARRIVE_MAX;
        // An idle stream tells its position now and then only.
        awaited.told = self.nudge(until).await?;
        loop {
            let view = self.progress.view();
            let Some(why) = awaited.lacks(&view) else { return Ok(None) };
            if Instant::now() >= until || awaited.is_void(&view) {
                return Ok(Some(let_go(&why)));
            }
            // Another task brings it about and says so in numbers only.
            tokio::time::sleep(CATCH_UP_LOOK).await;
        }
    }

    /// Waits until everything before the door is here, and what that came to is in the old columns. What it waits for in vain, if
    /// it does.
    async fn catch_up(&self, mut awaited: Awaited, book: Book) -> Result<Option<String>, DriveError> {
        let until = Instant::now() + CATCH_UP_MAX;
        if let Written::Fenced { book: now } = self.database.write(&[], book.seq, book.epoch).await?
            && is_led_otherwise(book, now)
        {
            return Err(DriveError::Person(format!("somebody else leads: {now:?}")));
        }
        // An idle stream tells its position now and then only.
        awaited.told = self.nudge(until).await?;
        let mut seq = None;
        loop {
            let view = self.progress.view();
            let lacks = awaited.lacks(&view);
            if lacks.is_none() {
                let goal = match seq {
                    Some(seq) => seq,
                    None => *seq.insert(self.desk.look(State::seq).await?),
                };
                if view.seq_written >= goal {
                    // The gate was passed before it was refused: the old shop would lead with another number.
                    return Ok(view.aside_first.map(|first| {
                        format!("the old table refuses {} rows as they should be, first {first}", view.aside)
                    }));
                }
            }
            if Instant::now() >= until || awaited.is_void(&view) {
                let written = || match seq {
                    None => "the old columns are behind".to_owned(),
                    Some(seq) => format!("the old columns are at event {} of {seq}", view.seq_written),
                };
                let why = lacks.unwrap_or_else(written);
                return Ok(Some(let_go(&why)));
            }
            // Two other tasks bring it about and say so in numbers only.
            tokio::time::sleep(CATCH_UP_LOOK).await;
        }
    }
}

/// Whether the bookkeeping row says that somebody else leads than when it `was` read. A checkpoint further on says nothing of that:
/// our own sync out writes meanwhile.
fn is_led_otherwise(was: Book, now: Option<Book>) -> bool {
    now.is_none_or(|now| (now.epoch, now.phase) != (was.epoch, was.phase))
}

/// What must have come through the stream before the lead may change hands.
struct Awaited {
    /// Everything up to here: where the old database's log ended when the door was held.
    position: u64,
    /// How often a stream had been begun anew before the door was held.
    opened: u64,
    /// How much the stream had told before it was nudged, where it will tell something for that.
    told: Option<u64>,
}

impl Awaited {
    /// Whether nothing can be awaited any more: positions of another stream, perhaps of another server, say nothing of this one.
    const fn is_void(&self, view: &ProgressView) -> bool {
        view.opened != self.opened
    }

    /// What is still missing, in words.
    fn lacks(&self, view: &ProgressView) -> Option<String> {
        if self.is_void(view) {
            return Some("the stream was begun anew".into());
        }
        if view.position_applied < self.position {
            return Some(format!("the stream is at {} of {}", view.position_applied, self.position));
        }
        // A stream that is dead, and was further than the server that took over is, tells nothing any more.
        self.told
            .filter(|told| view.told <= *told)
            .map(|_| "the stream has told nothing since the door was held".into())
    }
}

/// What an operator is told when the door was held in vain.
fn let_go(why: &str) -> String {
    format!("{why}; the door was let go, trying again")
}

/// What came of telling the old database.
enum Told {
    /// It knows.
    Done,
    /// It knows something else under this number or a later one.
    Otherwise,
    /// Not yet.
    Busy(String),
}

/// How many live reservations draw on items of the old shop, and when the last one ends.
#[must_use]
pub(crate) fn open_reservations(state: &State) -> (usize, u64) {
    open_where(state, |_| true)
}

fn open_where(state: &State, counts: impl Fn(&ReservationView<'_>) -> bool) -> (usize, u64) {
    let is_theirs =
        |row: &ReservationView<'_>| row.parts.iter().any(|part| state.legacy().mirrored(part.item).is_some());
    let open = state.stock().live_reservations().filter(|row| counts(row) && is_theirs(row));
    open.fold((0, 0), |(open, until), row| (open + 1, row.at.as_millis().max(until)))
}

/// An instant in words, from milliseconds since 1970.
pub(crate) fn instant(millis: u64) -> jiff::Timestamp {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .unwrap_or_default()
}

impl From<LegacyError> for DriveError {
    fn from(error: LegacyError) -> Self {
        Self::Old(error)
    }
}

impl From<DeskError> for DriveError {
    fn from(error: DeskError) -> Self {
        match error {
            // Only if it ended between the look and the question.
            DeskError::Refused(Refusal::Legacy(legacy::Refusal::NoSuchMove)) => {
                Self::Person("the move has ended meanwhile".into())
            }
            other => Self::Desk(other),
        }
    }
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old(error) => error.fmt(f),
            Self::Desk(error) => error.fmt(f),
            Self::Person(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DriveError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_has_moved_on_is_nobody_elses_lead() {
        let was = Book { phase: Phase::Lead, epoch: 3, seq: 70, move_no: 2 };
        assert!(!is_led_otherwise(was, Some(Book { seq: 71, ..was })));
        assert!(is_led_otherwise(was, Some(Book { epoch: 4, ..was })));
        assert!(is_led_otherwise(was, Some(Book { phase: Phase::Mirror, ..was })));
        assert!(is_led_otherwise(was, None));
    }
}
