//! The record view in the simulation: a real SQLite file, fed now and then, that loses its process or the end of its
//! write-ahead log at any moment, and is compared row by row with the auditor's model at its own checkpoint.

use crate::model::{Model, Objection};
use crate::prng::Prng;
use banyan_domain::coupon::{CodeKey, CouponState};
use banyan_domain::{CampaignNo, CouponId, Keys};
use banyan_log::{Block, BlockHash, Log, Seq};
use banyan_views::record::{RECORD_FILE, RecordOptions, RecordView};
use banyan_views::{Batch, View};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Blocks that one transaction takes at most.
const BLOCKS_MAX: u64 = 40;

/// The view, and the folder it is in.
pub(crate) struct SimView {
    folder: TempDir,
    view: Option<RecordView>,
    /// Whether the checkpoint is written apart from the rows: a planted bug.
    apart: bool,
    before: (Seq, BlockHash),
}

/// One coupon as a person with a `sqlite3` shell would see it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    member: String,
    code: String,
    state: u8,
    issued_at: u64,
    seq: u64,
    order: Option<String>,
    held_until: Option<u64>,
}

impl SimView {
    pub(crate) fn new(apart: bool) -> Result<Self, Objection> {
        let folder = folder().map_err(|error| format!("making a folder for the view: {error}"))?;
        Ok(Self { folder, view: None, apart, before: (Seq::ZERO, BlockHash::ZERO) })
    }

    /// How far it has come.
    pub(crate) fn checkpoint(&self) -> Seq {
        self.view.as_ref().map_or(Seq::ZERO, View::checkpoint)
    }

    /// Takes some of what is confirmed, in one transaction. True if there was anything.
    pub(crate) fn step(&mut self, log: &dyn Log, keys: &Keys, rng: &mut Prng) -> Result<bool, Objection> {
        let folder = self.folder.path();
        let view = match &mut self.view {
            Some(view) => view,
            none => {
                let options = RecordOptions { keys: Some(keys.clone()) };
                let view = RecordView::open(folder, &options)
                    .map_err(|error| format!("opening the view: {error}"))?;
                belongs(&view, log)?;
                none.insert(view)
            }
        };
        let checkpoint = view.checkpoint();
        // Now and then from further back than need be: what is applied already is passed over.
        let from =
            if rng.chance(20) { checkpoint.0.saturating_sub(rng.below(30)).max(1) } else { checkpoint.0 + 1 };
        let mut reader =
            log.reader(Seq(from)).map_err(|error| format!("the view cannot read from {from}: {error}"))?;
        let (mut batch, mut block) = (Batch::default(), Block::default());
        for _ in 0..rng.between(1, BLOCKS_MAX) {
            if !reader.next(&mut block).map_err(|error| format!("the view cannot read: {error}"))? {
                break;
            }
            batch.push(&block).map_err(|error| format!("the view cannot decode: {error}"))?;
        }
        if batch.last_seq().is_none_or(|last| last <= checkpoint) {
            return Ok(false);
        }
        self.before = (checkpoint, view.checkpoint_block().unwrap_or_default());
        let applied = view.apply(&batch).map_err(|error| format!("the view cannot apply: {error}"))?;
        if applied.parked > 0 {
            return Err(format!("the view parked {} events of a log that is sound", applied.parked));
        }
        Ok(true)
    }

    /// Its process dies, or, with `power`, the machine: then the file's write-ahead log ends wherever it happens to.
    pub(crate) fn crash(&mut self, power: bool, rng: &mut Prng) -> Result<(), Objection> {
        let Some(view) = self.view.take() else { return Ok(()) };
        let failed = |error: std::io::Error| format!("copying the view's file: {error}");
        let left = folder().map_err(failed)?;
        let wal = format!("{RECORD_FILE}-wal");
        // What the file system holds while the view is still open is what a crash leaves. Nothing of the write-ahead log
        // has been copied into the file yet: the view does that only after more pages than a run writes.
        for name in [RECORD_FILE, &wal] {
            let mut bytes = fs::read(self.folder.path().join(name)).map_err(failed)?;
            if power && name == wal {
                bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            }
            fs::write(left.path().join(name), bytes).map_err(failed)?;
        }
        drop(view);
        self.folder = left;
        if self.apart {
            let failed = |error: rusqlite::Error| format!("planting the bug: {error}");
            let db = Connection::open(self.folder.path().join(RECORD_FILE)).map_err(failed)?;
            // In a file that lost its end the checkpoint may be further back already, or not be there yet.
            let sql = "UPDATE checkpoint SET seq = ?1, block = ?2 WHERE seq > ?1";
            let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'checkpoint'";
            let there: i64 = db.query_row(tables, [], |row| row.get(0)).map_err(failed)?;
            if there > 0 {
                let (seq, block) = self.before;
                db.execute(sql, (seq.0 as i64, block.0)).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Compares every row with `model`, which must be the log's at the view's checkpoint.
    pub(crate) fn compare(&self, model: &Model, keys: &Keys) -> Result<(), Objection> {
        if self.view.is_none() {
            return Ok(());
        }
        let failed = |error: rusqlite::Error| format!("reading the view: {error}");
        let db = open(self.folder.path()).map_err(failed)?;
        let stored: i64 = db
            .query_row("SELECT coalesce(max(seq), 0) FROM checkpoint", [], |row| row.get(0))
            .map_err(failed)?;
        if stored as u64 != model.seq {
            return Err(format!("the view says {} and its file {stored}", model.seq));
        }
        let parked: i64 =
            db.query_row("SELECT count(*) FROM parked", [], |row| row.get(0)).map_err(failed)?;
        if parked > 0 {
            return Err(format!("the view holds {parked} parked events of a log that is sound"));
        }
        let (found, expected) = (rows(&db).map_err(failed)?, expected(model, keys));
        if found != expected {
            let differs = expected.iter().find(|(id, row)| found.get(id) != Some(row));
            return Err(format!(
                "the view has {} coupons, the log {}; the first that differs: {differs:?}, in the view {:?}",
                found.len(),
                expected.len(),
                differs.and_then(|(id, _)| found.get(id))
            ));
        }
        let (found, expected) = (campaigns(&db).map_err(failed)?, expected_campaigns(model));
        if found != expected {
            return Err(format!("the view has campaigns {found:?}, the log {expected:?}"));
        }
        Ok(())
    }
}

/// Checks that the log has the block that the view says it ends at.
fn belongs(view: &RecordView, log: &dyn Log) -> Result<(), Objection> {
    let (checkpoint, Some(hash)) = (view.checkpoint(), view.checkpoint_block()) else { return Ok(()) };
    let unreadable = |error| format!("the view cannot read its checkpoint {checkpoint}: {error}");
    let mut reader = log.reader(checkpoint).map_err(unreadable)?;
    let mut block = Block::default();
    while reader.next(&mut block).map_err(unreadable)? {
        if block.count > 0 {
            let same = block.head() == checkpoint && block.hash == hash;
            return if same { Ok(()) } else { Err(format!("at {checkpoint} the view names another block")) };
        }
    }
    Err(format!("the log has no block at the view's checkpoint {checkpoint}"))
}

/// A folder of its own, in memory where that can be had: what is lost and what is kept is decided here, not by a disk.
fn folder() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

fn open(folder: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(folder.join(RECORD_FILE), OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn rows(db: &Connection) -> rusqlite::Result<BTreeMap<u64, Row>> {
    let sql = "SELECT k.id, k.member, k.code, \
                 CASE WHEN k.state <> 0 THEN k.state WHEN h.coupon IS NOT NULL THEN 1 \
                   WHEN r.coupon IS NOT NULL THEN 2 ELSE 0 END, \
                 k.issued_at, k.seq, coalesce(h.order_id, r.order_id), h.until \
               FROM coupon k LEFT JOIN hold h ON h.coupon = k.id LEFT JOIN redemption r ON r.coupon = k.id";
    let mut query = db.prepare(sql)?;
    let read = query.query_map([], |row| {
        let coupon = Row {
            member: row.get(1)?,
            code: row.get(2)?,
            state: row.get(3)?,
            issued_at: row.get::<_, i64>(4)? as u64,
            seq: row.get::<_, i64>(5)? as u64,
            order: row.get(6)?,
            held_until: row.get::<_, Option<i64>>(7)?.map(|until| until as u64),
        };
        Ok((row.get::<_, i64>(0)? as u64, coupon))
    })?;
    read.collect()
}

fn expected(model: &Model, keys: &Keys) -> BTreeMap<u64, Row> {
    let codes = CodeKey::new(keys);
    let mut rows = BTreeMap::new();
    for (no, campaign) in (1..).map(CampaignNo::new).zip(&model.campaigns) {
        for (n, coupon) in (1..).zip(&campaign.coupons) {
            let id = CouponId::new(no, n);
            let row = Row {
                member: coupon.member.as_str().to_owned(),
                code: String::from_utf8_lossy(&codes.code(id).written()).into_owned(),
                state: state_number(coupon.state),
                issued_at: coupon.issued_at,
                seq: coupon.seq,
                order: coupon.order.as_ref().map(|order| order.as_str().to_owned()),
                held_until: coupon.held_until,
            };
            rows.insert(id.get(), row);
        }
    }
    rows
}

/// Id, paused, ended, retired; then issued, held, redeemed, revoked, expired, allowed.
type CampaignRow = (String, bool, bool, bool, [i64; 6]);

fn campaigns(db: &Connection) -> rusqlite::Result<Vec<CampaignRow>> {
    let sql = "SELECT id, paused, ended_at IS NOT NULL, retired_at IS NOT NULL, issued, held, redeemed, revoked, expired, \
               allowed FROM campaign ORDER BY no";
    let mut query = db.prepare(sql)?;
    let read = query.query_map([], |row| {
        let counts = [row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?];
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, counts))
    })?;
    read.collect()
}

fn expected_campaigns(model: &Model) -> Vec<CampaignRow> {
    let row = |campaign: &crate::model::Campaign| {
        let totals = campaign.totals();
        let counts = [totals.issued, totals.held, totals.redeemed, totals.revoked, totals.expired];
        let [issued, held, redeemed, revoked, expired] = counts.map(|count| count as i64);
        let counts = [issued, held, redeemed, revoked, expired, campaign.listed.len() as i64];
        let id = campaign.definition.id.as_str().to_owned();
        (id, campaign.paused, campaign.ended_at.is_some(), campaign.retired, counts)
    };
    model.campaigns.iter().map(row).collect()
}

const fn state_number(state: CouponState) -> u8 {
    match state {
        CouponState::Issued => 0,
        CouponState::Held => 1,
        CouponState::Redeemed => 2,
        CouponState::Revoked => 3,
        CouponState::Expired => 4,
    }
}
