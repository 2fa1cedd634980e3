//! The old shop: a private Postgres with a table of stock as shops have them, and those who write to it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_legacy::postgres::Postgres as OldPostgres;
use banyan_legacy::{Mapping, OldDatabase};
use banyan_testkit::Postgres;
use tokio::task::LocalSet;
use tokio_postgres::{Client, NoTls};

use crate::pace::Turns;
use crate::systems::postgres_options;
use crate::{Failure, failed};

/// Where all items are.
pub(super) const LOCATION: &str = "1";
/// The slot and publication of the mapping.
pub(super) const SLOT: &str = "banyan_stock";
/// The slot of who only reads.
pub(super) const RAW_SLOT: &str = "bench_raw";

/// As django-oscar has it, less what does not matter here: the key is a number, so that the whole old row is in the log.
const TABLE: &str = "create table stockrecord (id bigserial primary key, partner_sku varchar(128) not null, \
     partner_id integer not null default 1, num_in_stock integer, num_allocated integer, note text, \
     unique (partner_id, partner_sku))";

/// The server and a session on it.
pub(super) struct Shop {
    /// The server.
    pub(super) server: Postgres,
    /// Rows of the table.
    pub(super) rows: u64,
    client: Client,
}

/// One transaction of a writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// When it was sent.
    pub(super) at: Instant,
    /// When its commit was answered.
    pub(super) committed: Instant,
}

/// What writers do: each transaction sets the stock of some rows, one after the other, to numbers that never come twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writes {
    /// The number that the first row gets.
    pub(super) first: u64,
    /// Transactions a second.
    pub(super) rate: f64,
    /// For how long.
    pub(super) duration: Duration,
    /// Rows of one transaction.
    pub(super) rows_each: u64,
    /// Connections.
    pub(super) connections: usize,
}

/// The SKU of an item, from 1.
pub(super) fn sku(item: u64) -> String {
    format!("SKU-{item:06}")
}

impl Shop {
    /// Starts the server and fills the table, and a copy of it that nobody follows.
    pub(super) async fn open(dir: &Path, rows: u64) -> Result<Self, Failure> {
        let server = Postgres::start(&postgres_options(dir).set("wal_level", "logical"))?;
        let client = session(&server).await?;
        let shop = Self { server, rows, client };
        shop.run(TABLE).await?;
        shop.run(&format!(
            "insert into stockrecord (partner_sku, num_in_stock, num_allocated) \
             select 'SKU-' || lpad(n::text, 6, '0'), 1000, 0 from generate_series(1, {rows}) n"
        ))
        .await?;
        shop.run("create table rawrecord (like stockrecord including all)").await?;
        shop.run("insert into rawrecord select * from stockrecord").await?;
        shop.run("vacuum analyze").await?;
        Ok(shop)
    }

    /// The mapping of the table.
    pub(super) fn mapping() -> Result<Arc<Mapping>, Failure> {
        let text = format!(
            "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"NOT_USED\"\nslot = \"{SLOT}\"\n\
             [[table]]\nname = \"stockrecord\"\nkey = [\"id\"]\nsku = \"partner_sku\"\n\
             location = {{ column = \"partner_id\" }}\nin_stock = \"num_in_stock\"\nallocated = \"num_allocated\"\n\
             [watch]\nlag_millis_max = 60000\n"
        );
        Ok(Arc::new(Mapping::read(&text, Path::new(".")).map_err(|e| failed("reading the mapping", e))?))
    }

    /// The database as Banyan sees it.
    pub(super) fn database(&self, mapping: &Arc<Mapping>) -> Result<Arc<dyn OldDatabase>, Failure> {
        Ok(Arc::new(OldPostgres::at(mapping.clone(), &self.server.url())?))
    }

    /// Runs a statement.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Failure> {
        self.client.batch_execute(sql).await.map_err(|e| failed(sql, told(&e)))
    }

    /// Where the server's log ends: everything committed is before. A change that matters to nobody is made after it, so that a
    /// stream passes it at once and not only when the server next says that nothing happens.
    pub(super) async fn position(&self) -> Result<u64, Failure> {
        let sql = "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
        let row = self.client.query_one(sql, &[]).await.map_err(|e| failed(sql, told(&e)))?;
        self.run("set synchronous_commit = on").await?;
        self.run("update stockrecord set note = 'seen' where id = 1").await?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    /// Writes `count` rows as fast as the server can, a few in each transaction, without leaving the server. Not synced one by
    /// one: it is a backlog, and how long it took to make is nobody's business.
    pub(super) async fn pile_up(&self, first: u64, count: u64, rows_each: u64) -> Result<(), Failure> {
        let (rows, last) = (self.rows, count / rows_each - 1);
        self.run("set synchronous_commit = off").await?;
        self.run(&format!(
            "do $$ declare e bigint; begin for t in 0..{last} loop e := (t * {rows_each}) % {rows}; \
             update stockrecord set num_in_stock = {first} + t * {rows_each} + id - 1 - e \
             where id between e + 1 and e + {rows_each}; commit; end loop; end $$"
        ))
        .await
    }

    /// Writes at a fixed rate, and gives what became of each transaction, in order.
    pub(super) async fn write(&self, writes: Writes) -> Result<Vec<Sent>, Failure> {
        let turns = Rc::new(Turns::new());
        let sent: Rc<RefCell<Vec<(u64, Sent)>>> = Rc::default();
        let local = LocalSet::new();
        let mut tasks = Vec::new();
        for _ in 0..writes.connections {
            let client = session(&self.server).await?;
            let work = keep_writing(client, writes, self.rows, Rc::clone(&turns), Rc::clone(&sent));
            tasks.push(local.spawn_local(work));
        }
        let all = async {
            turns.hand_out(writes.rate, writes.duration, writes.connections).await?;
            for task in tasks {
                task.await.map_err(|e| failed("writing", e))??;
            }
            Ok::<_, Failure>(())
        };
        local.run_until(all).await?;
        let mut sent = sent.take();
        sent.sort_unstable_by_key(|(number, _)| *number);
        Ok(sent.into_iter().map(|(_, sent)| sent).collect())
    }
}

impl Writes {
    /// Transactions in all.
    pub(super) fn transactions(&self) -> u64 {
        (self.rate * self.duration.as_secs_f64()).ceil() as u64
    }
}

/// A session over the Unix socket, which costs the least.
pub(super) async fn session(server: &Postgres) -> Result<Client, Failure> {
    let doing = "connecting to Postgres";
    let (client, connection) =
        tokio_postgres::connect(&server.socket_url(), NoTls).await.map_err(|e| failed(doing, told(&e)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("a connection to Postgres ended: {error}");
        }
    });
    Ok(client)
}

/// What Postgres said, with its reason.
pub(super) fn told(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}

async fn keep_writing(
    client: Client,
    writes: Writes,
    rows: u64,
    turns: Rc<Turns>,
    sent: Rc<RefCell<Vec<(u64, Sent)>>>,
) -> Result<(), Failure> {
    let doing = "writing to the old table";
    // Rows of one transaction are beside each other, and so are their numbers.
    let sql = "update stockrecord set num_in_stock = ($2::bigint + id - $1::bigint)::integer where id between $1 and $3::bigint";
    let update = client.prepare(sql).await.map_err(|e| failed(doing, told(&e)))?;
    while let Some((number, _)) = turns.next().await {
        let event = number * writes.rows_each;
        let id = event % rows + 1;
        let [first, last] = [id, id + writes.rows_each - 1].map(|id| i64::try_from(id).unwrap_or(i64::MAX));
        let value = i64::try_from(writes.first + event)?;
        let at = Instant::now();
        let changed =
            client.execute(&update, &[&first, &value, &last]).await.map_err(|e| failed(doing, told(&e)))?;
        let committed = Instant::now();
        if changed != writes.rows_each {
            return Err(failed(doing, format!("{changed} rows changed of {}", writes.rows_each)));
        }
        sent.borrow_mut().push((number, Sent { at, committed }));
    }
    Ok(())
}
