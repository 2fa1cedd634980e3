//! A small old shop: a private server, a table with traps, and what tests do with them.

use banyan_domain::ReservationNo;
use banyan_legacy::postgres::Postgres as OldPostgres;
use banyan_legacy::{ChangeStream, Item, LegacyError, Mapping, OldDatabase, Row, SourceId, Transaction};
use banyan_testkit::{Postgres, PostgresOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// How long a test waits for something that must come. A loaded machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const TABLE: &str = "create table stockrecord (id bigserial primary key, partner_sku varchar(128) not null, \
     partner_id integer not null default 1, num_in_stock integer, num_allocated integer, note text, \
     unique (partner_id, partner_sku))";

/// The server and a session of the old shop.
pub(crate) struct Shop {
    pub(crate) server: Postgres,
    pub(crate) client: Client,
}

impl Shop {
    pub(crate) async fn open(options: PostgresOptions) -> Self {
        let server = Postgres::start(&options).expect("a server");
        let client = session(&server.url()).await;
        let shop = Self { server, client };
        shop.run(TABLE).await;
        shop
    }

    /// With bookkeeping and publication.
    pub(crate) async fn ready() -> (Self, OldPostgres) {
        let shop = Self::open(PostgresOptions::default()).await;
        let database = shop.database(&mapping(""));
        database.create().await.expect("made");
        (shop, database)
    }

    pub(crate) fn database(&self, mapping: &Arc<Mapping>) -> OldPostgres {
        OldPostgres::at(mapping.clone(), &self.server.url()).expect("an address")
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    pub(crate) async fn add(&self, sku: &str, in_stock: i64, allocated: i64) {
        let sql = format!(
            "insert into stockrecord (partner_sku, num_in_stock, num_allocated) values ('{sku}', {in_stock}, {allocated})"
        );
        self.run(&sql).await;
    }

    /// Tells Banyan something, in a transaction of its own.
    pub(crate) async fn tell(&self, kind: &str, body: &str) {
        let sql = format!(
            "insert into banyan_outbox (capability, kind, body) values ('stock', '{kind}', '{body}')"
        );
        self.run(&sql).await;
    }

    /// Sells what was reserved at Banyan.
    pub(crate) async fn order(&self, reservation: ReservationNo) {
        self.tell("allocate", &format!("{{\"reservation\": \"{reservation}\"}}")).await;
    }

    /// Leads in the bookkeeping row, as if a move had been made.
    pub(crate) async fn lead(&self) {
        self.run("update banyan_sync set phase = 'lead', epoch = 1, move = 2").await;
    }
}

pub(crate) async fn session(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// The mapping of [`TABLE`]; `more` is put at its end.
pub(crate) fn mapping(more: &str) -> Arc<Mapping> {
    let text = format!(
        "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"NOT_USED\"\nslot = \"banyan_stock\"\n\
         [[table]]\nname = \"stockrecord\"\nkey = [\"id\"]\nsku = \"partner_sku\"\n\
         location = {{ column = \"partner_id\" }}\nin_stock = \"num_in_stock\"\nallocated = \"num_allocated\"\n{more}"
    );
    Arc::new(Mapping::read(&text, Path::new(".")).expect("a mapping"))
}

pub(crate) fn row(sku: &str, in_stock: Option<i64>, allocated: Option<i64>) -> Row {
    Row { table: 0, sku: sku.into(), location: "1".into(), in_stock, allocated }
}

pub(crate) async fn next(stream: &mut Box<dyn ChangeStream>) -> Result<Item, LegacyError> {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("nothing came")
}

/// The next transaction; idle positions are passed over.
pub(crate) async fn transaction(stream: &mut Box<dyn ChangeStream>) -> Transaction {
    loop {
        match next(stream).await.expect("an item") {
            Item::Transaction(transaction) => return transaction,
            Item::Idle { .. } => {}
            other => panic!("not a transaction: {other:?}"),
        }
    }
}

/// Opens a new stream and reads its snapshot.
pub(crate) async fn snapshot(database: &OldPostgres) -> (Box<dyn ChangeStream>, SourceId, u64, Vec<Row>) {
    let mut stream = database.stream(None).await.expect("a stream");
    let Item::SnapshotBegin { source, position, .. } = next(&mut stream).await.expect("an item") else {
        panic!("no snapshot")
    };
    let mut rows = Vec::new();
    loop {
        match next(&mut stream).await.expect("an item") {
            Item::Rows(page) => rows.extend(page),
            Item::SnapshotEnd => return (stream, source, position, rows),
            other => panic!("within the snapshot: {other:?}"),
        }
    }
}
