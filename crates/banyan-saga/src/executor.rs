//! Asks services for what sagas have scheduled, and reports what came of it.
//!
//! It remembers nothing: what is to be asked is in the log before it is asked, and whatever the executor, or the whole
//! process, loses is noticed by the sagas' own deadlines. Asks that were open when the process started are reported as
//! unknown, because nobody can know whether they were sent.

use crate::notices::{Notices, Turn};
use crate::service::Service;
use banyan_domain::SagaNo;
use banyan_domain::saga::{Command, OpenAsk, Request, Settlement};
use banyan_engine::{Shard, SubmitError, wall_clock};
use http::HeaderMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    notices: Notices,
}

impl Executor {
    /// An executor that knows `services` by name.
    #[must_use]
    pub fn new(shard: Arc<Shard>, services: BTreeMap<Box<str>, Arc<dyn Service>>) -> Arc<Self> {
        let (slots, notices) = (Arc::new(Semaphore::new(ASKS_MAX)), Notices::default());
        Arc::new(Self { shard, services, slots, notices })
    }

    /// Runs until the shard ends: `scheduled` are the requests that the intents of durable blocks stand for, as the shard publishes
    /// them; `open` is what was open before the shard was started ([`Sagas::open_asks`](banyan_domain::saga::Sagas::open_asks)).
    /// Later it would be too late to look: the shard's first block makes asks of its own, which are about to be sent.
    pub async fn run(self: Arc<Self>, open: Vec<OpenAsk>, mut scheduled: UnboundedReceiver<Vec<Request>>) {
        self.report_open(open);
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
    /// now, or soon if that was just done. Told twice, late or out of order it does no harm: only the answer to the question
    /// counts, and such questions use up no patience. Returns how many.
    ///
    /// # Errors
    /// [`NoticeError`] if the service is not known, or the notice not its own.
    pub async fn notice(
        self: &Arc<Self>,
        service: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<usize, NoticeError> {
        let teller = self.services.get(service).ok_or(NoticeError::NoService)?;
        let told = teller.notice(headers, body, wall_clock()).map_err(NoticeError::NotTaken)?;
        let id = (service.into(), told.id, told.value.clone());
        if self.notices.knows(&id) {
            return Ok(0);
        }
        let (field, value) = (told.field, told.value);
        let concerned = self
            .look(move |state| state.sagas().waiting_for(field, &value).collect::<Vec<_>>())
            .await
            .ok_or(NoticeError::Stopping)?;
        let mut taken = !concerned.is_empty() && !id.1.is_empty();
        for &step in &concerned {
            match self.notices.turn(step, Instant::now()) {
                Turn::Now => taken &= self.nudge(step),
                Turn::After(rest) => {
                    let executor = self.clone();
                    tokio::spawn(async move {
                        // So that many notices do not become as many questions; what was told meanwhile is in the answer.
                        tokio::time::sleep(rest).await;
                        executor.notices.asked(step, Instant::now());
                        executor.nudge(step);
                    });
                }
                Turn::Soon => {}
            }
        }
        if taken {
            self.notices.taken(id);
        }
        Ok(concerned.len())
    }

    /// Asks about a step now. Not worth waiting for: if the queue is full, it is asked about when its time is over.
    fn nudge(&self, (saga, step): (SagaNo, u8)) -> bool {
        self.shard.submit(Command::Nudge { saga, step }.into(), None).is_ok()
    }

    /// What was open when the process started may have been sent or not.
    fn report_open(self: &Arc<Self>, open: Vec<OpenAsk>) {
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
