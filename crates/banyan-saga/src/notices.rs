//! What services told lately, so that the same notice is taken once, and a step is not asked about for each of very many.
//!
//! Nothing depends on it: after a restart, or beyond its bounds, a notice is only taken once more.

use banyan_domain::SagaNo;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most notices remembered; beyond it the oldest is forgotten.
const NOTICES_MAX: usize = 10_000;
/// Most steps of which is remembered when they were asked about; beyond it there is no limit of the rate.
const STEPS_MAX: usize = 10_000;
/// Between two questions about one step for which notices are the reason. What is told in between is not lost: it is the reason
/// for the next one.
const QUESTIONS_GAP: Duration = Duration::from_secs(2);

/// A notice: the service, its id there, and what it is about. All of it, so that a forged id stands in nobody's way.
pub(crate) type NoticeId = (Box<str>, String, String);

/// When a step is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// At once.
    Now,
    /// After this long; whoever was told so asks then, and says so with [`Notices::asked`].
    After(Duration),
    /// Soon: somebody was told so before.
    Soon,
}

/// The memory.
#[derive(Default)]
pub(crate) struct Notices(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    known: BTreeSet<NoticeId>,
    /// The same, in order.
    order: VecDeque<NoticeId>,
    steps: BTreeMap<(SagaNo, u8), Asked>,
}

struct Asked {
    at: Instant,
    /// Whether somebody will ask when its turn comes.
    soon: bool,
}

impl Notices {
    /// Whether this notice was taken before.
    pub(crate) fn knows(&self, id: &NoticeId) -> bool {
        self.memory().known.contains(id)
    }

    /// Remembers that this notice was taken.
    pub(crate) fn taken(&self, id: NoticeId) {
        let mut memory = self.memory();
        if memory.known.insert(id.clone()) {
            memory.order.push_back(id);
        }
        while memory.order.len() > NOTICES_MAX {
            let oldest = memory.order.pop_front();
            oldest.map(|oldest| memory.known.remove(&oldest));
        }
    }

    /// When `step` is asked about, of which something was told `now`.
    pub(crate) fn turn(&self, step: (SagaNo, u8), now: Instant) -> Turn {
        let mut memory = self.memory();
        if let Some(asked) = memory.steps.get_mut(&step) {
            let rest = QUESTIONS_GAP.saturating_sub(now.saturating_duration_since(asked.at));
            if asked.soon {
                return Turn::Soon;
            }
            if !rest.is_zero() {
                asked.soon = true;
                return Turn::After(rest);
            }
        }
        if memory.steps.len() >= STEPS_MAX {
            let fresh = |asked: &Asked| asked.soon || now.saturating_duration_since(asked.at) < QUESTIONS_GAP;
            memory.steps.retain(|_, asked| fresh(asked));
        }
        if memory.steps.len() < STEPS_MAX {
            memory.steps.insert(step, Asked { at: now, soon: false });
        }
        Turn::Now
    }

    /// `step` is asked about `now`, as [`Turn::After`] said.
    pub(crate) fn asked(&self, step: (SagaNo, u8), now: Instant) {
        self.memory().steps.insert(step, Asked { at: now, soon: false });
    }

    /// What is remembered is right after every line that changes it, so a panic elsewhere leaves nothing half done.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> NoticeId {
        ("company".into(), format!("evt_{n}"), "pay_1".into())
    }

    #[test]
    fn the_same_notice_is_taken_once_and_only_so_many_are_remembered() {
        let notices = Notices::default();
        assert!(!notices.knows(&id(0)));
        for n in 0..=NOTICES_MAX {
            notices.taken(id(n));
            notices.taken(id(n));
            assert!(notices.knows(&id(n)));
        }
        assert!(!notices.knows(&id(0)) && notices.knows(&id(1)), "the oldest is forgotten");
        let forged = ("company".into(), "evt_1".into(), "pay_2".into());
        assert!(!notices.knows(&forged), "an id says nothing about another payment");
    }

    #[test]
    fn many_notices_of_a_step_are_the_reason_for_one_question_at_a_time_and_the_last_is_not_lost() {
        let (notices, begin, step) = (Notices::default(), Instant::now(), (SagaNo::new(1), 2));
        let at = |millis: u64| begin + Duration::from_millis(millis);
        assert_eq!(notices.turn(step, at(0)), Turn::Now);
        assert_eq!(notices.turn(step, at(500)), Turn::After(Duration::from_millis(1_500)));
        assert_eq!(notices.turn(step, at(600)), Turn::Soon);
        assert_eq!(notices.turn((SagaNo::new(1), 3), at(600)), Turn::Now, "another step");
        notices.asked(step, at(2_000));
        assert_eq!(notices.turn(step, at(2_100)), Turn::After(Duration::from_millis(1_900)));
        notices.asked(step, at(4_000));
        assert_eq!(notices.turn(step, at(6_000)), Turn::Now);
    }

    #[test]
    fn only_so_many_steps_are_remembered() {
        let (notices, begin) = (Notices::default(), Instant::now());
        for n in 0..STEPS_MAX as u64 + 10 {
            assert_eq!(notices.turn((SagaNo::new(n), 0), begin), Turn::Now);
        }
        assert_eq!(notices.memory().steps.len(), STEPS_MAX);
        assert_eq!(notices.turn((SagaNo::new(77_777), 0), begin + QUESTIONS_GAP), Turn::Now);
        assert_eq!(notices.memory().steps.len(), 1, "what is over is forgotten");
    }
}
