//! The writing side of the record store.

use super::apply::{self, Care, Fault, Target};
use super::file::{self, StoreLock};
use super::members::MemberIndex;
use super::parked::ParkedLane;
use super::reader::{Gate, RecordReader};
use super::redemptions::Redemptions;
use super::rests::Rests;
use super::stock::Movements;
use crate::{Applied, Batch, Cure, View, ViewError};
use banyan_domain::Keys;
use banyan_domain::coupon::CodeKey;
use banyan_log::{BlockHash, Seq};
use core::hash::Hasher;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use siphasher::sip::SipHasher13;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How the store is opened.
#[derive(Clone, Debug, Default)]
pub struct RecordOptions {
    /// The store's keys, for the codes of coupons. Needed unless the view reads the log from its first event, which holds
    /// them; the file never does.
    pub keys: Option<Keys>,
}

/// The writer of `record.sqlite`: at most one at a time, in any process.
pub struct RecordView {
    path: PathBuf,
    /// None only while the file is being replaced, and if that failed half-way.
    pub(super) db: Option<Connection>,
    keys: Option<StoreKeys>,
    members: MemberIndex,
    redemptions: Redemptions,
    movements: Movements,
    parked: ParkedLane,
    checkpoint: Seq,
    /// Hash of the block that ends at the checkpoint.
    block: Option<BlockHash>,
    /// Whether `members`, `redemptions`, `movements`, `parked`, `checkpoint` and `block` say what the file says.
    fresh: bool,
    gate: Arc<Gate>,
    pub(super) rests: Rests,
    /// None for a new file while it is built: the store's own lock is held then.
    _lock: Option<StoreLock>,
}

/// What the view needs of the store's keys.
#[derive(Clone, Debug)]
pub(super) struct StoreKeys {
    pub codes: CodeKey,
    pub members: [u8; 16],
    /// Tells whether a file belongs to this store. Says nothing about the keys.
    pub fingerprint: i64,
}

impl StoreKeys {
    pub(super) fn new(keys: &Keys) -> Self {
        let mut hasher = SipHasher13::new_with_key(&keys.members);
        hasher.write(b"banyan record store fingerprint");
        Self { codes: CodeKey::new(keys), members: keys.members, fingerprint: hasher.finish() as i64 }
    }
}

impl RecordView {
    /// Opens the store in `folder` (which must exist), and creates it if it is not there.
    ///
    /// # Errors
    /// [`ViewError`]: another process writes it, it is damaged, of another version, or of another store.
    pub fn open(folder: &Path, options: &RecordOptions) -> Result<Self, ViewError> {
        let path = folder.join(super::RECORD_FILE);
        let lock = StoreLock::take(&path)?;
        let view = Self::open_locked(path, Some(lock), options.keys.as_ref().map(StoreKeys::new))?;
        // Who rebuilds holds the lock: what lies beside the store is of a rebuild that did not end, or of one that ended
        // in a crash after the new file had taken over.
        for leftover in [".new", ".old"] {
            file::remove(&file::beside(&view.path, leftover))?;
        }
        Ok(view)
    }

    pub(super) fn open_locked(
        path: PathBuf,
        lock: Option<StoreLock>,
        keys: Option<StoreKeys>,
    ) -> Result<Self, ViewError> {
        let rests = Rests::default();
        let db = open(&path, &rests)?;
        let gate = Arc::new(Gate::new(path.clone(), keys.as_ref().map(|keys| keys.members)));
        let mut view = Self {
            path,
            db: Some(db),
            keys,
            members: MemberIndex::default(),
            redemptions: Redemptions::default(),
            movements: Movements::default(),
            parked: ParkedLane::default(),
            checkpoint: Seq::ZERO,
            block: None,
            fresh: false,
            gate,
            rests,
            _lock: lock,
        };
        view.refresh()?;
        Ok(view)
    }

    /// A reader of this store, for other threads. It follows when the file is replaced.
    #[must_use]
    pub fn reader(&self) -> RecordReader {
        RecordReader::new(Arc::clone(&self.gate))
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs of the member index: each lookup of a member reads one page of each.
    #[must_use]
    pub fn member_runs(&self) -> usize {
        self.members.runs()
    }

    pub(super) fn keys(&self) -> Option<StoreKeys> {
        self.keys.clone()
    }

    pub(super) fn db(&self) -> Result<&Connection, ViewError> {
        self.db.as_ref().ok_or_else(|| {
            let what = format!(
                "the record store {} could not be opened after it was replaced; restart the server",
                self.path.display()
            );
            ViewError::new(Cure::Operator, what)
        })
    }

    /// Closes the file so that everything is in it, for whoever takes it over.
    pub(super) fn close_whole(&mut self) -> Result<(), ViewError> {
        match self.db.take() {
            Some(db) => file::close_whole(db, &self.path),
            None => Ok(()),
        }
    }

    /// Opens the file again, which may be another one now.
    pub(super) fn reopen(&mut self) -> Result<(), ViewError> {
        self.fresh = false;
        if self.db.is_none() {
            self.db = Some(open(&self.path, &self.rests)?);
        }
        self.refresh()
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Reads what is kept in memory.
    fn refresh(&mut self) -> Result<(), ViewError> {
        let doing = format!("reading the record store {}", self.path.display());
        let failed = |error| file::failed(doing.clone(), error);
        let db = self.db()?;
        let row = db
            .query_row("SELECT seq, store, block FROM checkpoint WHERE view = 'record'", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, [u8; 32]>(2)?))
            })
            .optional()
            .map_err(failed)?;
        let members = MemberIndex::load(db).map_err(failed)?;
        let redemptions = Redemptions::load(db).map_err(failed)?;
        let movements = Movements::load(db).map_err(failed)?;
        let parked = ParkedLane::load(db).map_err(failed)?;
        let block = row.filter(|row| row.0 > 0).map(|row| BlockHash(row.2));
        let (seq, fingerprint, _) = row.unwrap_or_default();
        if let (Some(stored), Some(keys)) = (fingerprint, &self.keys)
            && stored != keys.fingerprint
        {
            let what = format!("the record store {} belongs to another store's log", self.path.display());
            return Err(ViewError::new(Cure::Rebuild, what));
        }
        if seq > 0 && self.keys.is_none() {
            let what = format!(
                "the record store {} is filled up to seq {seq}, but was opened without the store's keys",
                self.path.display()
            );
            return Err(ViewError::new(Cure::Operator, what));
        }
        (self.members, self.redemptions, self.parked) = (members, redemptions, parked);
        self.movements = movements;
        (self.checkpoint, self.block, self.fresh) = (Seq(seq as u64), block, true);
        Ok(())
    }

    fn attempt(&mut self, batch: &Batch, care: Care) -> Result<Applied, Fault> {
        let Some(db) = &self.db else {
            return Err(Fault::Keys("the file is closed".into()));
        };
        let target = Target {
            db,
            keys: &mut self.keys,
            members: &mut self.members,
            redemptions: &mut self.redemptions,
            movements: &mut self.movements,
            parked: &mut self.parked,
            checkpoint: self.checkpoint,
        };
        apply::apply(target, batch, care)
    }

    fn fault(&self, fault: Fault) -> ViewError {
        let doing = format!("writing the record store {} after seq {}", self.path.display(), self.checkpoint);
        match fault {
            Fault::Store(error) => file::failed(doing, error),
            Fault::Poison { error, .. } => ViewError::new(Cure::Rebuild, format!("{doing}: {error}")),
            Fault::Keys(why) => ViewError::new(Cure::Operator, format!("{doing}: {why}")),
        }
    }
}

fn open(path: &Path, rests: &Rests) -> Result<Connection, ViewError> {
    let doing = || format!("opening the record store {}", path.display());
    rests.watch(file::open_writer(path)?).map_err(|error| file::failed(doing(), error))
}

impl View for RecordView {
    fn name(&self) -> &'static str {
        "record"
    }

    fn checkpoint(&self) -> Seq {
        self.checkpoint
    }

    fn checkpoint_block(&self) -> Option<BlockHash> {
        self.block
    }

    fn distrust(&mut self, why: &str) {
        self.gate.distrust(why);
    }

    fn apply(&mut self, batch: &Batch) -> Result<Applied, ViewError> {
        self.db()?;
        if !self.fresh {
            self.refresh()?;
        }
        self.fresh = false;
        self.rests.set(batch.gives_way());
        let mut result = self.attempt(batch, Care::Fast);
        if matches!(result, Err(Fault::Poison { .. })) {
            // Nothing was stored. Again, each event on its own, to find the one at fault.
            self.refresh()?;
            self.fresh = false;
            result = self.attempt(batch, Care::EachAlone);
        }
        let applied = result.map_err(|fault| self.fault(fault))?;
        if applied.checkpoint != self.checkpoint {
            self.block = batch.last_hash();
        }
        self.checkpoint = applied.checkpoint;
        self.fresh = true;
        if let Some(keys) = &self.keys {
            self.gate.set_key(keys.members);
        }
        Ok(applied)
    }

    fn tidy(&mut self) -> Result<bool, ViewError> {
        if !self.fresh || !self.members.is_untidy() {
            return Ok(false);
        }
        self.fresh = false;
        self.rests.set(true);
        let Some(db) = &self.db else { return Ok(false) };
        let mut work = || -> rusqlite::Result<bool> {
            let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            let more = self.members.tidy(db)?;
            transaction.commit()?;
            Ok(more)
        };
        let more = work().map_err(|error| self.fault(Fault::Store(error)))?;
        self.fresh = true;
        Ok(more)
    }

    fn parked(&self) -> u64 {
        self.parked.events()
    }
}
