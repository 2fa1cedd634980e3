//! A connection to an old shop's database, which may break, and at which a test may step in.

use crate::old_shop::{Inner, OldShop};
use banyan_legacy::{BoxFuture, LegacyError};
use std::sync::{Arc, Mutex, MutexGuard};

/// A connection to the database of an [`OldShop`]: the [`OldDatabase`](banyan_legacy::OldDatabase) that everything here asks. A
/// clone is the same connection.
#[derive(Clone)]
pub struct Wire {
    pub(crate) shop: OldShop,
    faults: Arc<Mutex<Faults>>,
}

/// What is asked of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// What is to be mended. It is always answered.
    Check,
    /// To make what is ours.
    Create,
    /// For the bookkeeping row.
    Book,
    /// To hold the door.
    Hold,
    /// To hand the lead over.
    Switch,
    /// To write rows.
    Write,
    /// For its stream.
    Stream,
    /// For rows, or what they come to.
    Read,
    /// Where its log ends.
    Position,
    /// How the stream is doing.
    Health,
    /// Who uses its tables.
    References,
    /// To give the stream up.
    DropStream,
    /// To delete messages.
    ClearOutbox,
    /// To send rows again.
    Touch,
}

/// When a question breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The connection is gone before it is asked.
    Before,
    /// It took effect, and the answer is lost.
    After,
}

type Step = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

#[derive(Default)]
struct Faults {
    questions: u32,
    breaks: Option<(u32, Break)>,
    before: Vec<(Question, Step)>,
    after: Vec<(Question, Step)>,
}

impl Wire {
    pub(crate) fn to(shop: &OldShop) -> Self {
        Self { shop: shop.clone(), faults: Arc::default() }
    }

    /// How many questions were asked through it.
    #[must_use]
    pub fn questions(&self) -> u32 {
        self.faults().questions
    }

    /// Breaks off its `number`th question, counted from 1.
    pub fn breaks_off(&self, number: u32, how: Break) {
        self.faults().breaks = Some((number, how));
    }

    /// Does something just before the next such question takes effect, once. Said again, it is for the question after that.
    pub fn before<F: Future<Output = ()> + Send + 'static>(
        &self,
        question: Question,
        step: impl FnOnce() -> F + Send + 'static,
    ) {
        self.faults().before.push((question, Box::new(move || Box::pin(step()))));
    }

    /// As [`Self::before`], just after it took effect: the answer is on its way.
    pub fn after<F: Future<Output = ()> + Send + 'static>(
        &self,
        question: Question,
        step: impl FnOnce() -> F + Send + 'static,
    ) {
        self.faults().after.push((question, Box::new(move || Box::pin(step()))));
    }

    /// Asks a question whose whole effect on the shop is `effect`.
    pub(crate) async fn ask<T>(
        &self,
        question: Question,
        effect: impl FnOnce(&mut Inner) -> T,
    ) -> Result<T, LegacyError> {
        self.step_before(question).await;
        let breaks = {
            let mut faults = self.faults();
            faults.questions += 1;
            faults.breaks.filter(|(number, _)| *number == faults.questions).map(|(_, how)| how)
        };
        let broken = || LegacyError::Broken("cut".to_owned());
        if breaks == Some(Break::Before) {
            return Err(broken());
        }
        let answer = self.shop.change(effect);
        let step = next(&mut self.faults().after, question);
        if let Some(step) = step {
            step().await;
        }
        if breaks == Some(Break::After) { Err(broken()) } else { Ok(answer) }
    }

    /// What a test does before such a question.
    pub(crate) async fn step_before(&self, question: Question) {
        let step = next(&mut self.faults().before, question);
        if let Some(step) = step {
            step().await;
        }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("no test panics with it")
    }
}

/// Takes the first step for such a question.
fn next(steps: &mut Vec<(Question, Step)>, question: Question) -> Option<Step> {
    let at = steps.iter().position(|(of, _)| *of == question)?;
    Some(steps.remove(at).1)
}
