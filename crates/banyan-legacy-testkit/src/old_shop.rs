//! The old shop: what its database has, what it does, and how it misbehaves.

use crate::wire::Wire;
use banyan_domain::ReservationNo;
use banyan_domain::legacy::Phase;
use banyan_legacy::{
    Book, Change, Finding, Mapping, OutboxRow, Row, SqlReference, StreamHealth, TargetRow, Transaction,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// In stock and allocated.
pub type Numbers = (i64, i64);

/// Where everything of an old shop is.
pub const PLACE: &str = "main";

const MAPPING: &str = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"LEGACY_URL\"\n\
    slot = \"banyan_stock\"\n[[table]]\nname = \"public.partner_stockrecord\"\nkey = [\"partner_sku\"]\nsku = \"partner_sku\"\n\
    location = \"main\"\nin_stock = \"num_in_stock\"\nallocated = \"num_allocated\"\n";
/// Where its log ends at first: that of a server that has been running for years.
const POSITION: u64 = 0x16_B374_D848;
/// How much of the log a transaction takes.
const STEP: u64 = 10;

/// An old shop with one table of stock. A clone is the same shop.
#[derive(Clone)]
pub struct OldShop(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    /// Grows with everything that happens.
    changed: watch::Sender<u64>,
}

/// What the old database has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// The table of stock, by SKU.
    pub rows: BTreeMap<String, Numbers>,
    /// The bookkeeping row.
    pub book: Option<Book>,
    /// The outbox.
    pub outbox: Vec<OutboxRow>,
}

/// How often it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Where its log ends.
    pub positions: u64,
    /// To write, also what it refused.
    pub writes: u64,
    /// For rows, beside copies: how many it gave.
    pub rows_read: u64,
    /// For a copy.
    pub copies: u64,
}

/// What a row shall be, and why not.
type Rule = Box<dyn Fn(&TargetRow) -> Option<&'static str> + Send>;

pub(crate) struct Inner {
    pub(crate) tables: Tables,
    /// Where its log ends.
    pub(crate) position: u64,
    /// Its log.
    pub(crate) committed: BTreeMap<u64, Transaction>,
    /// Its stream, by the number of the copy that it began with: 0 before the first. Nothing if it keeps none.
    pub(crate) stream: Option<u64>,
    /// What was acknowledged in the stream.
    pub(crate) acknowledged: u64,
    pub(crate) stands_still: bool,
    pub(crate) forgets_streams: bool,
    /// The next copy breaks off after so many items.
    pub(crate) breaks_off_after: Option<usize>,
    /// Rows in an item of a copy.
    pub(crate) rows_an_item: usize,
    pub(crate) rule: Rule,
    pub(crate) findings: Vec<Finding>,
    pub(crate) references: Vec<SqlReference>,
    pub(crate) asked: Asked,
    last_message: i64,
}

/// What the shop does.
impl OldShop {
    /// With these rows: SKU, in stock, allocated. Nobody has asked anything of it yet.
    pub fn with<S: Into<String>>(rows: impl IntoIterator<Item = (S, i64, i64)>) -> Self {
        let inner = Inner {
            tables: Tables { rows: named(rows), ..Tables::default() },
            position: POSITION,
            committed: BTreeMap::new(),
            stream: None,
            acknowledged: 0,
            stands_still: false,
            forgets_streams: false,
            breaks_off_after: None,
            rows_an_item: 1_000,
            rule: Box::new(|_| None),
            findings: vec![Finding::ok("settings", "as they should be")],
            references: Vec::new(),
            asked: Asked::default(),
            last_message: 0,
        };
        Self(Arc::new(Shared { inner: Mutex::new(inner), changed: watch::Sender::new(0) }))
    }

    /// Makes these rows what is said, in one transaction.
    pub fn puts<S: Into<String>>(&self, rows: impl IntoIterator<Item = (S, i64, i64)>) {
        self.change(|inner| {
            let mut changes = Vec::new();
            for (sku, numbers) in named(rows) {
                let after = row(&sku, numbers);
                changes.push(match inner.tables.rows.insert(sku.clone(), numbers) {
                    Some(before) => Change::Update { before: Some(row(&sku, before)), after },
                    None => Change::Insert(after),
                });
            }
            inner.commit(Transaction { changes, ..Transaction::default() });
        });
    }

    /// Commits something that has nothing to do with stock.
    pub fn does_something_else(&self) {
        self.change(|inner| inner.commit(Transaction::default()));
    }

    /// Tells Banyan something, in a transaction of its own.
    pub fn tells(&self, kind: &str, body: &str) {
        self.change(|inner| {
            inner.last_message += 1;
            let row = OutboxRow { id: inner.last_message, kind: kind.to_owned(), body: body.to_owned() };
            inner.tables.outbox.push(row.clone());
            inner.commit(Transaction { outbox: vec![row], ..Transaction::default() });
        });
    }

    /// Sells what was reserved at Banyan.
    pub fn orders(&self, reservation: ReservationNo) {
        self.tells("allocate", &format!("{{\"reservation\": \"{reservation}\"}}"));
    }

    /// Says who leads, by a switch of its own: that of a move of ours of which nobody here knows, or of somebody's hand.
    pub fn says(&self, phase: Phase, move_no: u64) {
        self.change(|inner| {
            let before = inner.tables.book.expect("the bookkeeping was made");
            inner.switch(Book { phase, epoch: before.epoch + 1, move_no, ..before });
        });
    }
}

/// How it misbehaves.
impl OldShop {
    /// Changes what is there without a word in the stream: a stream that was lost could have told it, or a row has rotted.
    pub fn silently<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        self.change(|inner| change(&mut inner.tables))
    }

    /// Makes all rows these, as [`Self::silently`].
    pub fn has_silently<S: Into<String>>(&self, rows: impl IntoIterator<Item = (S, i64, i64)>) {
        self.silently(|tables| tables.rows = named(rows));
    }

    /// The stream tells nothing more, or goes on.
    pub fn stands_still(&self, still: bool) {
        self.change(|inner| inner.stands_still = still);
    }

    /// From now on no stream outlives its connection: who connects again must copy.
    pub fn forgets_streams(&self) {
        self.change(|inner| inner.forgets_streams = true);
    }

    /// From now on every item of a copy has one row, so that it may break off after each.
    pub fn copies_row_by_row(&self) {
        self.change(|inner| inner.rows_an_item = 1);
    }

    /// The next copy breaks off after so many items: where it begins, what is in the outbox, rows, where it ends.
    pub fn breaks_off_copy_after(&self, items: usize) {
        self.change(|inner| inner.breaks_off_after = Some(items));
    }

    /// Refuses rows for which `rule` says why. The last rule counts.
    pub fn refuses(&self, rule: impl Fn(&TargetRow) -> Option<&'static str> + Send + 'static) {
        self.change(|inner| inner.rule = Box::new(rule));
    }

    /// Takes every row again.
    pub fn refuses_nothing(&self) {
        self.refuses(|_| None);
    }

    /// What the preflight finds from now on.
    pub fn finds(&self, findings: Vec<Finding>) {
        self.change(|inner| inner.findings = findings);
    }

    /// Somebody uses a statement.
    pub fn is_used_by(&self, caller: &str, statement: &str, calls: u64) {
        let (caller, statement) = (caller.to_owned(), statement.to_owned());
        self.change(|inner| inner.references.push(SqlReference { caller, statement, calls, rows: calls }));
    }
}

/// What is to be seen of it.
impl OldShop {
    /// The mapping of its table.
    #[must_use]
    pub fn mapping() -> Arc<Mapping> {
        Arc::new(Mapping::read(MAPPING, Path::new(".")).expect("a good mapping"))
    }

    /// A connection to its database.
    #[must_use]
    pub fn wire(&self) -> Wire {
        Wire::to(self)
    }

    /// All that its database has.
    #[must_use]
    pub fn tables(&self) -> Tables {
        self.inner().tables.clone()
    }

    /// All rows, by SKU.
    #[must_use]
    pub fn rows(&self) -> BTreeMap<String, Numbers> {
        self.inner().tables.rows.clone()
    }

    /// A row.
    #[must_use]
    pub fn row(&self, sku: &str) -> Option<Numbers> {
        self.inner().tables.rows.get(sku).copied()
    }

    /// The bookkeeping row.
    ///
    /// # Panics
    /// If it was not made.
    #[must_use]
    pub fn book(&self) -> Book {
        self.inner().tables.book.expect("the bookkeeping was made")
    }

    /// Where its log ends.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.inner().position
    }

    /// Whether it keeps anything for a stream of ours.
    #[must_use]
    pub fn keeps_stream(&self) -> bool {
        self.inner().stream.is_some()
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> Asked {
        self.inner().asked
    }
}

impl OldShop {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().expect("no test panics with it")
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut self.inner());
        self.0.changed.send_modify(|version| *version += 1);
        changed
    }

    /// Told of everything that happens from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }
}

impl Inner {
    pub(crate) fn commit(&mut self, transaction: Transaction) {
        self.position += STEP;
        let position = self.position;
        self.committed.insert(position, Transaction { position, part: 1, last: true, ..transaction });
    }

    /// Commits a switch of leadership.
    pub(crate) fn switch(&mut self, book: Book) {
        self.tables.book = Some(book);
        self.commit(Transaction { switched: Some(book), ..Transaction::default() });
    }

    pub(crate) fn health(&self) -> StreamHealth {
        let status = if self.stream.is_some() { "reserved" } else { "absent" };
        StreamHealth {
            retained_bytes: 18_874_368,
            safe_bytes: Some(4 << 30),
            status: status.to_owned(),
            active: self.stream.is_some(),
            faults: Vec::new(),
        }
    }
}

/// A row as the old database gives it.
pub(crate) fn row(sku: &str, (in_stock, allocated): Numbers) -> Row {
    let (in_stock, allocated) = (Some(in_stock), Some(allocated));
    Row { table: 0, sku: sku.to_owned(), location: PLACE.to_owned(), in_stock, allocated }
}

fn named<S: Into<String>>(rows: impl IntoIterator<Item = (S, i64, i64)>) -> BTreeMap<String, Numbers> {
    rows.into_iter().map(|(sku, in_stock, allocated)| (sku.into(), (in_stock, allocated))).collect()
}
