//! Who waits until a saga comes to rest.

use crate::answer::Seen;
use banyan_domain::{SagaNo, State};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Looks at the state for those who wait until a saga rests: it ended, it was parked, or it waits for somebody outside, such as a
/// shopper at a card page. So whoever wants to know how an order ends need not ask again and again, nor once more at the end.
#[derive(Default)]
pub struct Rests {
    waiting: Mutex<BTreeMap<SagaNo, Vec<Box<dyn Waiting>>>>,
}

/// Somebody who waits.
trait Waiting: Send {
    fn is_gone(&self) -> bool;
    fn look(self: Box<Self>, state: &State) -> Seen;
}

struct Watch<T, F> {
    look: F,
    reply: oneshot::Sender<T>,
}

impl Rests {
    /// Looks with `look` at the end of the next block in which `saga` comes to rest. To be called in a look at the state in which
    /// it does not rest ([`crate::Shard::read`]): then no rest is missed, because what the writer decides later is looked at
    /// later. What `look` gives comes once that block is durable. The writer waits for `look`: it must be short work.
    #[must_use]
    pub fn watch<T: Send + 'static>(
        &self,
        saga: SagaNo,
        look: impl FnOnce(&State) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (reply, seen) = oneshot::channel();
        let mut waiting = self.lock();
        let of_saga = waiting.entry(saga).or_default();
        // Those who gave up make room for those who come.
        of_saga.retain(|watch| !watch.is_gone());
        of_saga.push(Box::new(Watch { look, reply }));
        seen
    }

    /// Looks for those who wait for any of `rested`, at the end of the block in which they came to rest.
    pub(crate) fn look(&self, rested: &[SagaNo], state: &State, seen: &mut Vec<Seen>) {
        if rested.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        let woken: Vec<_> = rested.iter().filter_map(|saga| waiting.remove(saga)).flatten().collect();
        // A look may watch again.
        drop(waiting);
        seen.extend(woken.into_iter().filter(|watch| !watch.is_gone()).map(|watch| watch.look(state)));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SagaNo, Vec<Box<dyn Waiting>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static, F: FnOnce(&State) -> T + Send> Waiting for Watch<T, F> {
    fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }

    fn look(self: Box<Self>, state: &State) -> Seen {
        let Self { look, reply } = *self;
        Seen::new(look(state), reply)
    }
}

impl fmt::Debug for Rests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rests").field("sagas", &self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Rests, Seen};
    use banyan_domain::{SagaNo, State, StoreSecret};
    use std::sync::Arc;

    #[test]
    fn those_who_still_wait_see_the_state_of_the_rest_and_may_watch_again() {
        let rests = Arc::new(Rests::default());
        let state = State::new(StoreSecret::new([7; 32]));
        let (one, other) = (SagaNo::new(1), SagaNo::new(2));
        let gone = rests.watch(one, |_| unreachable!("nobody waits for it"));
        drop::<tokio::sync::oneshot::Receiver<()>>(gone);
        let again = rests.clone();
        let mut first = rests.watch(one, move |state| (state.seq(), again.watch(one, State::seq)));
        let mut not_yet = rests.watch(other, State::seq);
        let mut seen = Vec::new();
        rests.look(&[one], &state, &mut seen);
        assert!(first.try_recv().is_err(), "nothing is said before the block is durable");
        seen.drain(..).for_each(Seen::say);
        let (seq, mut second) = first.try_recv().expect("it was looked for");
        assert_eq!(seq, state.seq());
        assert!(second.try_recv().is_err() && not_yet.try_recv().is_err());
        rests.look(&[other, one], &state, &mut seen);
        assert_eq!(seen.len(), 2);
        seen.drain(..).for_each(Seen::say);
        assert_eq!((second.try_recv(), not_yet.try_recv()), (Ok(seq), Ok(seq)));
        rests.look(&[one, other], &state, &mut seen);
        assert!(seen.is_empty(), "nobody is told twice");
    }
}
