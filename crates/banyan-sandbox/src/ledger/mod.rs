//! The company's ledger: durable, and every effect with its remembered answer in one transaction.
//!
//! One thread writes. It takes all requests that wait, carries them out in one transaction, and answers them after
//! the transaction is on disk; so many callers share one sync. Reading goes through connections of its own.
//!
//! Start reading at [`Effect`], then `writer.rs`.

mod file;
mod read;
mod rows;
mod writer;

pub(crate) use read::{DueEvent, Filter, MovementRow};

use crate::answers::Answer;
use crate::payment::{Action, CardStep, No, Payment, Shape};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};
use tokio::sync::{Notify, oneshot};

/// Requests that may wait for the writer; more are turned away.
const WAITING_MAX: usize = 8_192;

/// What the shop asks for under an idempotency key.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Create(NewPayment),
    Act {
        payment: String,
        action: Action,
    },
    /// Toss: take the whole of a payment whose customer has given a card.
    Confirm {
        payment: String,
        order: String,
        amount: i64,
    },
    /// Toss: refund `amount` or all that is left.
    Cancel {
        payment: String,
        reason: String,
        amount: Option<i64>,
    },
}

/// A payment to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewPayment {
    pub(crate) shape: Shape,
    pub(crate) order: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    /// What the card named in the request does; none: the customer is sent to the card page.
    pub(crate) card: Option<CardStep>,
    pub(crate) title: String,
    pub(crate) return_url: String,
    pub(crate) fail_url: String,
}

/// An effect with everything that decides about it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) shape: Shape,
    pub(crate) key: String,
    /// Hash of what was asked: the same key with another is refused.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) effect: Effect,
    /// A fault: refuse as a bank would.
    pub(crate) decline: bool,
    pub(crate) telling: Telling,
}

/// How the shop is told, with the faults that were drawn for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Telling {
    /// Told twice.
    pub(crate) twice: bool,
    /// Told this much later.
    pub(crate) late: Duration,
    /// Told only after the payment's next event.
    pub(crate) after_next: bool,
}

/// What the writer needs to know.
#[derive(Clone, Debug)]
pub(crate) struct LedgerOptions {
    pub(crate) seed: Option<u64>,
    /// Where the card pages are, such as `http://127.0.0.1:9000`.
    pub(crate) public_url: String,
    /// How long a customer has to give a card.
    pub(crate) card_time: Duration,
    /// How long an authorization waits to be captured.
    pub(crate) authorization_time: Duration,
    /// Whether anybody is told of events.
    pub(crate) has_webhook: bool,
}

/// Why the ledger did not do it.
#[derive(Clone, Debug)]
pub(crate) enum LedgerError {
    /// Too many wait: nothing was done.
    Busy,
    /// The writer has ended, or the store failed.
    Failed(Arc<Failure>),
}

/// What the store was doing, and what it met.
#[derive(Debug)]
pub(crate) struct Failure {
    doing: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

/// A request to the writer.
enum Job {
    Effect(Box<Asked>, Reply<Answer>),
    Card(String, CardStep, Telling, Reply<Option<Result<Payment, No>>>),
    /// What came of telling events.
    Settle(Vec<Settled>, Reply<()>),
}

/// What came of telling one event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Settled {
    /// The shop took it.
    Told(i64),
    /// The shop did not: try again at this time.
    Postponed(i64, i64),
}

/// The way to the ledger; cheap to share.
pub(crate) struct Ledger {
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
    path: PathBuf,
    /// Rung when an event has been written.
    pub(crate) events: Arc<Notify>,
    _lock: file::Lock,
}

impl Ledger {
    /// Opens the ledger in `folder`, and creates both if they are not there.
    pub(crate) fn open(folder: &Path, options: LedgerOptions) -> Result<Self, LedgerError> {
        std::fs::create_dir_all(folder)
            .map_err(|error| LedgerError::io(format!("making the folder {}", folder.display()), error))?;
        let lock = file::Lock::take(folder)?;
        let path = folder.join("sandbox.db");
        let db = file::open_writer(&path)?;
        let secret = file::id_secret(&db, options.seed)?;
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let events = Arc::new(Notify::new());
        let mut writer = writer::Writer::new(db, secret, options, events.clone())
            .map_err(|error| LedgerError::store("reading the ledger", error))?;
        let writer = std::thread::Builder::new()
            .name("sandbox-ledger".into())
            .spawn(move || writer.run(&waiting))
            .map_err(|error| LedgerError::io("starting the ledger's thread".into(), error))?;
        Ok(Self {
            jobs: Some(jobs),
            writer: Some(writer),
            readers: Mutex::default(),
            path,
            events,
            _lock: lock,
        })
    }

    /// Carries out what is asked, once per key, and gives the answer: the first one again if the key was used before.
    pub(crate) async fn effect(&self, asked: Asked) -> Result<Answer, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Effect(Box::new(asked), reply))?;
        answer.await.map_err(|_| LedgerError::ended())?
    }

    /// Takes what a customer did on the card page. `None` if there is no such payment.
    pub(crate) async fn card(
        &self,
        payment: &str,
        step: CardStep,
        telling: Telling,
    ) -> Result<Option<Result<Payment, No>>, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Card(payment.to_owned(), step, telling, reply))?;
        answer.await.map_err(|_| LedgerError::ended())?
    }

    /// Notes what came of telling events.
    pub(crate) async fn settle(&self, settled: Vec<Settled>) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Settle(settled, reply))?;
        answer.await.map_err(|_| LedgerError::ended())?
    }

    fn send(&self, job: Job) -> Result<(), LedgerError> {
        let jobs = self.jobs.as_ref().ok_or_else(LedgerError::ended)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => LedgerError::Busy,
            TrySendError::Disconnected(_) => LedgerError::ended(),
        })
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // It has told its callers already if it panicked.
            let _ = writer.join();
        }
    }
}

impl LedgerError {
    fn io(doing: String, source: io::Error) -> Self {
        Self::Failed(Arc::new(Failure { doing, source: Some(Box::new(source)) }))
    }

    fn store(doing: impl Into<String>, source: rusqlite::Error) -> Self {
        Self::Failed(Arc::new(Failure { doing: doing.into(), source: Some(Box::new(source)) }))
    }

    fn other(what: impl Into<String>) -> Self {
        Self::Failed(Arc::new(Failure { doing: what.into(), source: None }))
    }

    fn ended() -> Self {
        Self::other("the ledger's writer has ended; see the log, and start the sandbox again")
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many requests wait for the ledger; nothing was done"),
            Self::Failed(failure) => match &failure.source {
                Some(source) => write!(f, "{}: {source}", failure.doing),
                None => f.write_str(&failure.doing),
            },
        }
    }
}

impl std::error::Error for LedgerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(failure) => failure.source.as_deref().map(|source| source as _),
            Self::Busy => None,
        }
    }
}
