//! Who waits until a saga comes to rest.

use banyan_domain::SagaNo;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;

/// Wakes those who wait until a saga rests: it ended, it was parked, or it waits for somebody outside, such as a shopper at a
/// card page. So whoever wants to know how an order ends need not ask again and again.
#[derive(Debug, Default)]
pub struct Rests {
    waiting: Mutex<BTreeMap<SagaNo, Vec<oneshot::Sender<()>>>>,
}

impl Rests {
    /// Waits for `saga`. To be called in a look at the state in which it does not rest ([`crate::Shard::read`]): then no rest is
    /// missed, because blocks that come later are announced later.
    #[must_use]
    pub fn watch(&self, saga: SagaNo) -> oneshot::Receiver<()> {
        let (wake, woken) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let of_saga = waiting.entry(saga).or_default();
        // Those who gave up make room for those who come.
        of_saga.retain(|wake| !wake.is_closed());
        of_saga.push(wake);
        woken
    }

    /// Wakes those who wait for any of `rested`, of which every event is durable.
    pub(crate) fn wake(&self, rested: &[SagaNo]) {
        if rested.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for wake in rested.iter().filter_map(|saga| waiting.remove(saga)).flatten() {
            let _gone = wake.send(());
        }
    }
}
