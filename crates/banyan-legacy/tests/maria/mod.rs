//! What the tests with a real MariaDB share: the small shop, and a follower of its stream.
#![allow(dead_code, reason = "each test file uses a part of it")]

use banyan_legacy::mysql::Mysql;
use banyan_legacy::{
    Change, ChangeStream, Item, LegacyError, Mapping, OldDatabase, OutboxRow, Row, SourceId, Transaction,
};
use banyan_testkit::{MariaDb, MariaDbOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Long enough for a machine that does many other things.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) const SCHEMA: &str = include_str!("../../../../examples/mariadb-shop/schema.sql");
pub(crate) const MAPPING: &str = include_str!("../../../../examples/mariadb-shop/mapping.toml");

/// A server with the small shop in it.
pub(crate) struct Shop {
    pub(crate) server: MariaDb,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) database: Mysql,
}

impl Shop {
    pub(crate) async fn open(options: &MariaDbOptions) -> Self {
        let server = MariaDb::start(options).expect("mariadb");
        // The command-line client knows `delimiter`.
        server.sql(SCHEMA).expect("the small shop");
        let mapping = mapping(MAPPING);
        let database = Mysql::at(mapping.clone(), &server.url()).expect("an address");
        database.create().await.expect("bookkeeping");
        Self { server, mapping, database }
    }

    pub(crate) fn sql(&self, statements: &str) -> String {
        self.server.sql(statements).expect("SQL")
    }

    /// A database with the same mapping, reached elsewhere.
    pub(crate) fn through(&self, port: u16) -> Mysql {
        Mysql::at(self.mapping.clone(), &format!("mysql://root@127.0.0.1:{port}/shop")).expect("an address")
    }

    /// The mapped tables as they are.
    pub(crate) fn tables(&self) -> Rows {
        let text = self.sql(
            "select 0, sku, place, num_in_stock, ifnull(num_allocated, 'NULL') from stock \
             union all select 1, sku, 'display', units, 'NULL' from display",
        );
        let row = |line: &str| {
            let fields: Vec<&str> = line.split('\t').collect();
            let number = |at: usize| fields[at].parse().ok();
            let key = (fields[0].parse().expect("a table"), fields[1].to_owned(), fields[2].to_owned());
            (key, (number(3), number(4)))
        };
        text.lines().map(row).collect()
    }
}

pub(crate) fn mapping(text: &str) -> Arc<Mapping> {
    Arc::new(Mapping::read(text, Path::new(".")).expect("a mapping"))
}

/// Table, SKU and location, and what it has.
pub(crate) type Rows = BTreeMap<Key, Values>;
type Key = (usize, String, String);
type Values = (Option<i64>, Option<i64>);

/// Applies a stream as Banyan does: a place in it with what it changed, so that what comes twice is applied once.
#[derive(Default)]
pub(crate) struct Follower {
    pub(crate) rows: Rows,
    pub(crate) outbox: Vec<OutboxRow>,
    pub(crate) source: Option<SourceId>,
    pub(crate) position: u64,
    pub(crate) part: Option<u32>,
    pub(crate) settled: u64,
    pub(crate) snapshots: usize,
    pub(crate) applied: Vec<Transaction>,
    pub(crate) again: usize,
    copied: Option<Rows>,
}

impl Follower {
    pub(crate) fn from(&self) -> Option<(SourceId, u64)> {
        self.source.clone().map(|source| (source, self.position))
    }

    pub(crate) fn take(&mut self, item: Item) {
        match item {
            Item::SnapshotBegin { source, position, .. } => {
                (self.source, self.position, self.part) = (Some(source), position, None);
                self.copied = Some(Rows::new());
            }
            Item::Rows(rows) => {
                let copied = self.copied.as_mut().expect("within a snapshot");
                for row in rows {
                    let (key, values) = entry(row);
                    assert_eq!(copied.insert(key, values), None, "each row of a snapshot comes once");
                }
            }
            Item::SnapshotEnd => {
                self.rows = self.copied.take().expect("within a snapshot");
                self.snapshots += 1;
            }
            Item::Transaction(transaction) => self.transaction(transaction),
            Item::Outbox(rows) => self.outbox.extend(rows),
            Item::Idle { position } => {
                assert!(position >= self.settled.max(self.position), "places grow");
                self.settled = position;
            }
            Item::SchemaChanged { what } => panic!("the schema changed: {what}"),
        }
    }

    fn transaction(&mut self, transaction: Transaction) {
        let known = (self.position, self.part);
        if (transaction.position, Some(transaction.part)) <= known {
            self.again += 1;
            return;
        }
        let follows = transaction.position == known.0 && known.1.is_some();
        let next = if follows { known.1.map_or(1, |part| part + 1) } else { 1 };
        assert_eq!(transaction.part, next, "no part is left out");
        (self.position, self.part) = (transaction.position, Some(transaction.part));
        for change in transaction.changes.clone() {
            self.change(change);
        }
        self.outbox.extend(transaction.outbox.clone());
        self.applied.push(transaction);
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Insert(row) => {
                let (key, values) = entry(row);
                self.rows.insert(key, values);
            }
            Change::Update { before, after } => {
                let before = before.expect("the log has whole rows");
                self.rows.remove(&entry(before).0);
                let (key, values) = entry(after);
                self.rows.insert(key, values);
            }
            Change::Delete(row) => {
                self.rows.remove(&entry(row).0);
            }
            Change::Truncate { table } => self.rows.retain(|(of, ..), _| *of != table),
        }
    }
}

fn entry(row: Row) -> (Key, Values) {
    ((row.table, row.sku, row.location), (row.in_stock, row.allocated))
}

/// The next item, within a time that only a fault exceeds.
pub(crate) async fn next(stream: &mut dyn ChangeStream) -> Result<Item, LegacyError> {
    tokio::time::timeout(SOON, stream.next()).await.expect("an item in time")
}

/// Follows until `done`.
pub(crate) async fn follow(
    stream: &mut dyn ChangeStream,
    follower: &mut Follower,
    done: impl Fn(&Follower) -> bool,
) {
    try_follow(stream, follower, done).await.expect("an item");
}

/// Follows until `done`, or until the stream breaks off.
pub(crate) async fn try_follow(
    stream: &mut dyn ChangeStream,
    follower: &mut Follower,
    done: impl Fn(&Follower) -> bool,
) -> Result<(), LegacyError> {
    let limit = tokio::time::Instant::now() + SOON;
    while !done(follower) {
        assert!(tokio::time::Instant::now() < limit, "not there in time: {:?}", follower.rows);
        follower.take(next(stream).await?);
    }
    Ok(())
}
