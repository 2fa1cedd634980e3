//! What every handler shares.

use crate::auth::{Keyring, Principal};
use crate::card;
use crate::dry_run;
use crate::problem::Problem;
use crate::quota::{Cost, Quota};
use crate::record_wait::RecordWait;
use banyan_domain::coupon::CodeKey;
use banyan_domain::{Command, Foretold, KeyStamp, Outcome, State};
use banyan_engine::{Answer, Histogram, Shard};
use banyan_legacy::Keeper;
use banyan_views::ViewProgress;
use banyan_views::record::{Rebuilder, RecordReader};
use http::{HeaderMap, StatusCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Semaphore, watch};

/// Longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// What an [`App`] is made of.
pub struct AppOptions {
    /// The shard that decides.
    pub shard: Arc<Shard>,
    /// Who may do what.
    pub keyring: Arc<Keyring>,
    /// Reads the record store.
    pub record: RecordReader,
    /// Keeps the record store in step with the log, and builds it anew on request.
    pub rebuilder: Arc<Rebuilder>,
    /// Most event streams at once.
    pub streams_max: usize,
    /// Turns true when the server is shutting down: streams end then.
    pub stopping: watch::Receiver<bool>,
    /// Who is let in, and how much of it.
    pub doors: DoorOptions,
}

/// Who is let in, and how much of it.
#[derive(Clone, Debug)]
pub struct DoorOptions {
    /// Hosts, beside this machine, to which a payment company may send shoppers back.
    pub return_hosts: Vec<String>,
    /// Writes of one member's token in a second; five times as many at once. 0 for no limit.
    pub member_writes_per_second: u32,
}

impl Default for DoorOptions {
    fn default() -> Self {
        Self { return_hosts: Vec::new(), member_writes_per_second: 20 }
    }
}

/// What every handler shares.
pub struct App {
    pub(crate) shard: Arc<Shard>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) codes: CodeKey,
    pub(crate) record: RecordReader,
    pub(crate) record_progress: Arc<ViewProgress>,
    pub(crate) rebuilder: Arc<Rebuilder>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) http: HttpMetrics,
    pub(crate) return_hosts: Vec<String>,
    pub(crate) record_wait: RecordWait,
    quota: Option<Quota>,
    keeper: OnceLock<Arc<Keeper>>,
}

/// What the HTTP side counts.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    /// Microseconds from a parsed request to its answer, for every write that the shard answered.
    pub write_micros: Histogram,
    /// Answers by class of status: 2xx, 4xx, 5xx.
    answers: [AtomicU64; 3],
}

impl App {
    /// Puts an app together.
    #[must_use]
    pub fn new(options: AppOptions) -> Arc<Self> {
        let AppOptions { shard, keyring, record, rebuilder, streams_max, stopping, doors } = options;
        let record_progress = rebuilder.progress().clone();
        let record_wait = RecordWait::new(record_progress.clone());
        let quota = Quota::new(doors.member_writes_per_second);
        let codes = CodeKey::new(shard.keys());
        let (streams, http) = (Arc::new(Semaphore::new(streams_max)), HttpMetrics::default());
        let keeper = OnceLock::new();
        Arc::new(Self {
            shard,
            keyring,
            codes,
            record,
            record_progress,
            rebuilder,
            streams,
            stopping,
            http,
            return_hosts: doors.return_hosts,
            record_wait,
            quota,
            keeper,
        })
    }

    /// Takes the keeper of what is moved over from an old shop. The first one stays.
    pub fn set_keeper(&self, keeper: Arc<Keeper>) {
        self.keeper.get_or_init(|| keeper);
    }

    /// The keeper of what is moved over from an old shop, if there is one.
    #[must_use]
    pub fn keeper(&self) -> Option<&Arc<Keeper>> {
        self.keeper.get()
    }

    /// The shard that decides.
    #[must_use]
    pub const fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }

    /// Who may do what.
    #[must_use]
    pub const fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The permutation of the store's codes.
    #[must_use]
    pub const fn codes(&self) -> &CodeKey {
        &self.codes
    }

    /// Reads the record store.
    #[must_use]
    pub const fn record(&self) -> &RecordReader {
        &self.record
    }

    /// How far the record store has come.
    #[must_use]
    pub const fn record_progress(&self) -> &Arc<ViewProgress> {
        &self.record_progress
    }

    /// What the HTTP side counts.
    #[must_use]
    pub const fn http(&self) -> &HttpMetrics {
        &self.http
    }

    /// Turns true when the server is shutting down.
    #[must_use]
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    /// Who sent `headers`.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Problem> {
        self.keyring.identify(headers)
    }

    /// Refuses a write of a member's token that writes too much. The shop's own keys are let through.
    pub(crate) fn admit(&self, principal: &Principal, headers: &HeaderMap) -> Result<(), Problem> {
        self.admit_as(principal, Cost::Write { keyed: headers.contains_key("idempotency-key") })
    }

    /// The same, of a request that costs something else.
    pub(crate) fn admit_as(&self, principal: &Principal, cost: Cost) -> Result<(), Problem> {
        self.quota.as_ref().map_or(Ok(()), |quota| quota.admit(principal, cost))
    }

    /// The stamp of the request's `Idempotency-Key`, if it sent one. `canonical` is what the request asks, written one way.
    pub(crate) fn stamp(
        &self,
        headers: &HeaderMap,
        principal: &Principal,
        canonical: impl FnOnce() -> String,
    ) -> Result<Option<KeyStamp>, Problem> {
        self.stamp_part(headers, principal, "", canonical)
    }

    /// The stamp of one `part` of a request that takes several commands: each has its own under the one key.
    pub(crate) fn stamp_part(
        &self,
        headers: &HeaderMap,
        principal: &Principal,
        part: &str,
        canonical: impl FnOnce() -> String,
    ) -> Result<Option<KeyStamp>, Problem> {
        let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
        let bytes = value.as_bytes();
        let fits =
            (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        let key = std::str::from_utf8(bytes).ok().filter(|_| fits).ok_or_else(|| {
            Problem::invalid("Idempotency-Key must be 1 to 255 visible ASCII characters without spaces.")
        })?;
        // Scopes of whole requests end in a name without spaces, so that a part's is never one of them.
        let scope = match part {
            "" => principal.key_scope(),
            part => format!("{} {part}", principal.key_scope()),
        };
        Ok(Some(KeyStamp::new(self.shard.keys(), &scope, key, canonical().as_bytes())))
    }

    /// Asks the shard and waits until the answer is durable.
    ///
    /// # Errors
    /// A [`Problem`] if the shard refused, could not take the command, or stopped before it could answer.
    pub async fn ask(
        &self,
        command: Command,
        stamp: Option<KeyStamp>,
    ) -> Result<(Outcome, u64, bool), Problem> {
        card::refuse(&command)?;
        let began = std::time::Instant::now();
        let answer = self.shard.submit(command, stamp)?.await.map_err(|_| Problem::unknown_outcome())?;
        self.http.write_micros.record(began.elapsed().as_micros() as u64);
        match answer {
            Answer::Done { outcome, seq, replayed } => Ok((outcome, seq, replayed)),
            Answer::Refused(refusal) => Err(refusal.into()),
            Answer::StorageFull => Err(Problem::storage_full()),
        }
    }

    /// The stamp of the request's `Idempotency-Key`, which it must have sent.
    pub(crate) fn required_stamp(
        &self,
        headers: &HeaderMap,
        principal: &Principal,
        canonical: impl FnOnce() -> String,
    ) -> Result<Option<KeyStamp>, Problem> {
        match self.stamp(headers, principal, canonical)? {
            None => Err(Problem::key_required()),
            stamp => Ok(stamp),
        }
    }

    /// Looks at the state between two commands. What comes back rests on nothing that is not durable. The writer waits for
    /// `look`: it must be short work.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let gone = |_| Problem::unavailable("The server is stopping; ask again when it is back.");
        self.shard.read(look)?.await.map_err(gone)
    }

    /// Asks the shard, and looks at the state right after it decided. The writer waits for `look`: it must be short work.
    ///
    /// # Errors
    /// A [`Problem`] if the shard could not take the command, or stopped before it could answer.
    pub(crate) async fn ask_and_look<T: Send + 'static>(
        &self,
        command: Command,
        stamp: Option<KeyStamp>,
        look: impl FnOnce(Answer, &State) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        card::refuse(&command)?;
        let began = std::time::Instant::now();
        let seen = self.shard.submit_then(command, stamp, look)?;
        let seen = seen.await.map_err(|_| Problem::unknown_outcome())?;
        self.http.write_micros.record(began.elapsed().as_micros() as u64);
        Ok(seen)
    }

    /// What the shard would answer now, and what `look` sees beside it. Nothing is decided, stored or remembered. Storage that is
    /// full is not noticed: nothing is stored.
    ///
    /// # Errors
    /// A [`Problem`] if the shard could not be asked, or if the answer of this kind of command is not known ahead.
    pub(crate) async fn foretell<T: Send + 'static>(
        &self,
        command: Command,
        stamp: Option<KeyStamp>,
        look: impl FnOnce(Answer, &State) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        card::refuse(&command)?;
        let seen = self.look(move |state| {
            let answer = match state.foretell(command, stamp.as_ref()) {
                Err(refusal) => Answer::Refused(refusal),
                Ok(Some(Foretold { outcome, seq, replayed })) => Answer::Done { outcome, seq, replayed },
                Ok(None) => return None,
            };
            Some(look(answer, state))
        });
        seen.await?.ok_or_else(dry_run::unsupported)
    }
}

impl HttpMetrics {
    /// Counts one answer.
    pub fn count(&self, status: StatusCode) {
        let class = match status.as_u16() {
            0..400 => 0,
            400..500 => 1,
            _ => 2,
        };
        self.answers[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Answers so far: below 400, 4xx, 5xx.
    #[must_use]
    pub fn answers(&self) -> [u64; 3] {
        std::array::from_fn(|i| self.answers[i].load(Ordering::Relaxed))
    }
}
