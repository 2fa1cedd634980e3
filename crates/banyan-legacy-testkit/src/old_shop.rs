//! The old shop: what its database has, and what it does.

use crate::server::Server;
use crate::wire::Wire;
use banyan_domain::ReservationNo;
use banyan_domain::legacy::Phase;
use banyan_engine::wall_clock;
use banyan_legacy::{
    Book, Change, Finding, Mapping, OutboxRow, Row, SqlReference, StreamHealth, TargetRow, Transaction,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// In stock and allocated.
pub type Numbers = (i64, i64);

/// Where everything of an old shop is.
pub const PLACE: &str = "main";

const MAPPING: &str = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"LEGACY_URL\"\n\
    slot = \"banyan_stock\"\n[[table]]\nname = \"public.partner_stockrecord\"\nkey = [\"partner_sku\"]\nsku = \"partner_sku\"\n\
    location = \"main\"\nin_stock = \"num_in_stock\"\nallocated = \"num_allocated\"\n";
/// Its first server, and where its log ends at first: it has been running for years.
const SERVER: (&str, u64) = ("7312001", 0x16_B374_D848);

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
    /// To give the stream up.
    pub drops: u64,
}

/// What a row shall be, and why not.
type Rule = Box<dyn Fn(&TargetRow) -> Option<&'static str> + Send>;

pub(crate) struct Inner {
    pub(crate) tables: Tables,
    /// The server that whoever connects now reaches.
    pub(crate) server: Server,
    /// The one before it, if it lives on.
    pub(crate) before: Option<Server>,
    pub(crate) stands_still: bool,
    /// How often streams were nudged; nothing if they do not mind.
    pub(crate) nudges: Option<u64>,
    pub(crate) forgets_streams: bool,
    /// Whether copies come to all but their end.
    pub(crate) keeps_copies_open: bool,
    /// The next copy breaks off after so many items.
    pub(crate) breaks_off_after: Option<usize>,
    /// Rows in an item of a copy.
    pub(crate) rows_an_item: usize,
    pub(crate) rule: Rule,
    pub(crate) findings: Vec<Finding>,
    /// Who uses its tables; nothing if it does not count that.
    pub(crate) references: Option<Vec<SqlReference>>,
    /// Whether an order in flight keeps its lock.
    pub(crate) keeps_lock: bool,
    /// How much of its log it keeps for the stream.
    pub(crate) retained_bytes: u64,
    /// How long ago it says that it committed something; nothing if it does not say when.
    pub(crate) committed_ago: Option<Duration>,
    pub(crate) asked: Asked,
    /// Preflights, in their order: whether they looked at rows.
    pub(crate) preflights: Vec<bool>,
    last_message: i64,
}

/// What the shop does.
impl OldShop {
    /// With these rows: SKU, in stock, allocated. Nobody has asked anything of it yet.
    pub fn with<S: Into<String>>(rows: impl IntoIterator<Item = (S, i64, i64)>) -> Self {
        let inner = Inner {
            tables: Tables { rows: named(rows), ..Tables::default() },
            server: Server::at(SERVER.0, SERVER.1),
            before: None,
            stands_still: false,
            nudges: None,
            forgets_streams: false,
            keeps_copies_open: false,
            breaks_off_after: None,
            rows_an_item: 1_000,
            rule: Box::new(|_| None),
            findings: vec![Finding::ok("settings", "as they should be")],
            references: Some(Vec::new()),
            keeps_lock: false,
            retained_bytes: 18_874_368,
            committed_ago: None,
            asked: Asked::default(),
            preflights: Vec::new(),
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
            inner.commit_changes(changes);
        });
    }

    /// Makes the row of an item that of another.
    pub fn renames(&self, from: &str, to: &str) {
        self.change(|inner| {
            let numbers = inner.tables.rows.remove(from).expect("it has such a row");
            inner.tables.rows.insert(to.to_owned(), numbers);
            let (before, after) = (Some(row(from, numbers)), row(to, numbers));
            inner.commit_changes(vec![Change::Update { before, after }]);
        });
    }

    /// Deletes a row.
    pub fn removes(&self, sku: &str) {
        self.change(|inner| {
            let numbers = inner.tables.rows.remove(sku).expect("it has such a row");
            inner.commit_changes(vec![Change::Delete(row(sku, numbers))]);
        });
    }

    /// Empties the table.
    pub fn removes_all(&self) {
        self.change(|inner| {
            inner.tables.rows.clear();
            inner.commit_changes(vec![Change::Truncate { table: 0 }]);
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
        self.inner().server.position
    }

    /// Whether it keeps anything for a stream of ours.
    #[must_use]
    pub fn keeps_stream(&self) -> bool {
        self.inner().server.stream.is_some()
    }

    /// How far its stream was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.inner().server.acknowledged
    }

    /// The preflights so far, in their order: whether they looked at rows.
    #[must_use]
    pub fn preflights(&self) -> Vec<bool> {
        self.inner().preflights.clone()
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
    /// The server of that name, if it lives.
    pub(crate) fn server(&self, name: &str) -> Option<&Server> {
        [Some(&self.server), self.before.as_ref()].into_iter().flatten().find(|server| server.name == name)
    }

    pub(crate) fn commit(&mut self, transaction: Transaction) {
        let ago = self.committed_ago.map(|ago| u64::try_from(ago.as_millis()).expect("not that long ago"));
        let committed_millis = ago.map_or(0, |ago| wall_clock().as_millis() - ago);
        self.server.commit(Transaction { committed_millis, ..transaction });
    }

    pub(crate) fn commit_changes(&mut self, changes: Vec<Change>) {
        self.commit(Transaction { changes, ..Transaction::default() });
    }

    /// Commits a switch of leadership.
    pub(crate) fn switch(&mut self, book: Book) {
        self.tables.book = Some(book);
        self.commit(Transaction { switched: Some(book), ..Transaction::default() });
    }

    pub(crate) fn health(&self) -> StreamHealth {
        let active = self.server.stream.is_some();
        let status = if active { "reserved" } else { "absent" };
        StreamHealth {
            retained_bytes: self.retained_bytes,
            safe_bytes: Some(4 << 30),
            status: status.to_owned(),
            active,
            faults: Vec::new(),
        }
    }
}

/// A row as the old database gives it.
pub(crate) fn row(sku: &str, (in_stock, allocated): Numbers) -> Row {
    let (in_stock, allocated) = (Some(in_stock), Some(allocated));
    Row { table: 0, sku: sku.to_owned(), location: PLACE.to_owned(), in_stock, allocated }
}

pub(crate) fn named<S: Into<String>>(
    rows: impl IntoIterator<Item = (S, i64, i64)>,
) -> BTreeMap<String, Numbers> {
    rows.into_iter().map(|(sku, in_stock, allocated)| (sku.into(), (in_stock, allocated))).collect()
}
