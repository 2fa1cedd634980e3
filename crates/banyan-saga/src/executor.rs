//! Asks services for what sagas have scheduled, and reports what came of it.
//!
//! It remembers nothing: what is to be asked is in the log before it is asked, and whatever the executor, or the whole
//! process, loses is noticed by the sagas' own deadlines. Asks that were open when the process started are reported as
//! unknown, because nobody can know whether they were sent.

use crate::service::Service;
use banyan_domain::saga::{Command, OpenAsk, Request, Settlement};
use banyan_engine::{Shard, SubmitError, wall_clock};
use http::HeaderMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

/// Most requests under way at once; what is beyond waits here, and its patience runs.
const ASKS_MAX: usize = 512;
/// How long to wait before reporting again when the shard's queue is full.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How long to wait before reporting again when storage is full: as often as the shard looks for room.
const STORAGE_PAUSE: Duration = Duration::from_millis(250);

/// Why something that a service told is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeError {
    /// No service of this name is configured.
    NoService,
    /// It is not the service's, or cannot be read.
    NotTaken(String),
    /// The shard is stopping.
    Stopping,
}

/// The executor of a shard's sagas.
pub struct Executor {
    shard: Arc<Shard>,
    services: BTreeMap<Box<str>, Arc<dyn Service>>,
    slots: Arc<Semaphore>,
}

impl Executor {
    /// An executor that knows `services` by name.
    #[must_use]
    pub fn new(shard: Arc<Shard>, services: BTreeMap<Box<str>, Arc<dyn Service>>) -> Arc<Self> {
        Arc::new(Self { shard, services, slots: Arc::new(Semaphore::new(ASKS_MAX)) })
    }

    /// Runs until the shard ends: `scheduled` are the requests that the intents of durable blocks stand for, as the shard publishes them.
    pub async fn run(self: Arc<Self>, mut scheduled: UnboundedReceiver<Vec<Request>>) {
        self.report_open().await;
        while let Some(asks) = scheduled.recv().await {
            for request in asks {
                let executor = self.clone();
                match self.slots.clone().try_acquire_owned() {
                    Ok(slot) => tokio::spawn(async move {
                        executor.ask(&request).await;
                        drop(slot);
                    }),
                    Err(_) => tokio::spawn(async move { executor.ask_later(request.open).await }),
                };
            }
        }
    }

    /// Takes something that a service told by itself: the steps that it concerns, and that wait for somebody, are asked about
    /// now. Told twice, late or out of order it does no harm: only the answer to the question counts. Returns how many.
    ///
    /// # Errors
    /// [`NoticeError`] if the service is not known, or the notice not its own.
    pub async fn notice(
        &self,
        service: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<usize, NoticeError> {
        let teller = self.services.get(service).ok_or(NoticeError::NoService)?;
        let (field, value) = teller.notice(headers, body, wall_clock()).map_err(NoticeError::NotTaken)?;
        let concerned = self
            .look(move |state| state.sagas().waiting_for(field, &value).collect::<Vec<_>>())
            .await
            .ok_or(NoticeError::Stopping)?;
        for (saga, step) in &concerned {
            // Not worth waiting for: if the queue is full, the step is asked about when its time is over.
            let _asked = self.shard.submit(Command::Nudge { saga: *saga, step: *step }.into(), None);
        }
        Ok(concerned.len())
    }

    /// What was open when the process started may have been sent or not.
    async fn report_open(self: &Arc<Self>) {
        let Some(open) = self.look(|state| state.sagas().open_asks()).await else { return };
        if !open.is_empty() {
            tracing::info!(
                asks = open.len(),
                "sagas have open asks from before the start; they are asked about"
            );
        }
        // Each waits for its block: one after another, thousands would keep new asks waiting.
        for open in open {
            let executor = self.clone();
            let unknown = Settlement::Unknown("the process was started again".into());
            tokio::spawn(async move { executor.settle(open, unknown).await });
        }
    }

    /// Asks when there is room. Looked up then, and not before: it may have been given up meanwhile.
    async fn ask_later(&self, open: OpenAsk) {
        let Ok(_slot) = self.slots.acquire().await else { return };
        let request = self.look(move |state| state.sagas().request(state.keys(), open)).await;
        if let Some(Some(request)) = request {
            self.ask(&request).await;
        }
    }

    async fn ask(&self, request: &Request) {
        let result = self.result_of(request).await;
        self.settle(request.open, result).await;
    }

    async fn result_of(&self, request: &Request) -> Settlement {
        let Some(service) = self.services.get(&request.service) else {
            return Settlement::NotSent(format!("no service {} is configured", request.service).into());
        };
        let wait = Duration::from_millis(request.timeout.get());
        let asked = tokio::time::timeout(wait, service.ask(request, wall_clock())).await;
        asked.unwrap_or_else(|_| Settlement::Unknown(format!("no answer within {wait:?}").into()))
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl Fn(&banyan_domain::State) -> T + Clone + Send + 'static,
    ) -> Option<T> {
        loop {
            match self.shard.read(look.clone()) {
                Ok(seen) => return seen.await.ok(),
                Err(SubmitError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(SubmitError::Closed) => return None,
            }
        }
    }

    /// Reports until it is taken: an answer that is lost here would have to be asked for again.
    async fn settle(&self, open: OpenAsk, result: Settlement) {
        let OpenAsk { saga, step, ask, attempt } = open;
        loop {
            let command = Command::Settle { saga, step, ask, attempt, result: result.clone() };
            match self.shard.submit(command.into(), None) {
                Ok(answer) => {
                    if let Ok(banyan_engine::Answer::StorageFull) = answer.await {
                        tokio::time::sleep(STORAGE_PAUSE).await;
                        continue;
                    }
                    return;
                }
                Err(SubmitError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(SubmitError::Closed) => return,
            }
        }
    }
}
