//! Lends the rules a second thread for large pieces of pure work.

use banyan_domain::Both;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

/// Does the second piece on a thread of its own. Where none can be started, one piece is done after the other: that takes
/// longer, and nothing else changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SideBySide;

impl Both for SideBySide {
    fn both<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        // Whoever comes first takes it: the other thread, or this one if there is no other.
        let b = Mutex::new(Some(b));
        let take_b = || b.lock().unwrap_or_else(PoisonError::into_inner).take();
        let do_b = || take_b().map(|b| b());
        scope(|scope| {
            let other = Builder::new().name("banyan-second".into()).spawn_scoped(scope, do_b);
            let a = a();
            let b = match other {
                Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_no_thread) => do_b(),
            };
            (a, b.expect("it is taken once, by the one who does it"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn both_pieces_are_done_at_the_same_time() {
        // Neither gets past the barrier before the other has come to it.
        let barrier = Barrier::new(2);
        let meet = |answer: u32| {
            barrier.wait();
            answer
        };
        assert_eq!(SideBySide.both(|| meet(1), || meet(2)), (1, 2));
    }

    #[test]
    #[should_panic(expected = "the second piece")]
    fn a_panic_of_the_second_piece_is_passed_on() {
        SideBySide.both(|| (), || panic!("the second piece"));
    }
}
