//! The old shop on Postgres.

use std::path::Path;
use std::sync::Arc;

use banyan_legacy::postgres::Postgres as OldPostgres;
use banyan_legacy::{Mapping, OldDatabase};
use banyan_testkit::{Launch, Postgres};
use tokio_postgres::{Client, Error, NoTls, Statement};

use super::shop::{OldShop, SetRows, sku};
use crate::systems::postgres_options;
use crate::{Failure, failed};

/// The slot of who only reads.
const RAW_SLOT: &str = "bench_raw";

/// As django-oscar has it, less what does not matter here: the key is a number, so that the whole old row is in the log.
const TABLE: &str = "create table stockrecord (id bigserial primary key, partner_sku varchar(128) not null, \
     partner_id integer not null default 1, num_in_stock integer, num_allocated integer, note text, \
     unique (partner_id, partner_sku))";

/// The server and a session on it.
pub(super) struct PostgresShop {
    server: Postgres,
    rows: u64,
    client: Client,
}

/// A session with what it says again and again.
pub(super) struct Session {
    client: Client,
    set: Statement,
}

impl OldShop for PostgresShop {
    const NAME: &'static str = "Postgres";
    const DURABLE_BY: &'static str = "fsync=on, synchronous_commit=on";
    const RAW_READER: &'static str = "pg_recvlogical, the same publication";
    const MAPPING: &'static str = "kind = \"postgres\"\nslot = \"banyan_stock\"";
    type Session = Session;

    async fn open(dir: &Path, rows: u64) -> Result<Self, Failure> {
        let server = Postgres::start(&postgres_options(dir).set("wal_level", "logical"))?;
        let client = connect(&server).await?;
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

    fn rows(&self) -> u64 {
        self.rows
    }

    fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn database(&self, mapping: Arc<Mapping>) -> Result<Arc<dyn OldDatabase>, Failure> {
        Ok(Arc::new(OldPostgres::at(mapping, &self.server.url())?))
    }

    async fn session(&self) -> Result<Session, Failure> {
        let client = connect(&self.server).await?;
        // Rows of one transaction are beside each other, and so are their numbers.
        let sql = "update stockrecord set num_in_stock = ($2::bigint + id - $1::bigint)::integer where id between $1 and $3::bigint";
        let set = client.prepare(sql).await.map_err(|e| failed(sql, told(&e)))?;
        Ok(Session { client, set })
    }

    async fn set(session: &mut Session, rows: SetRows) -> Result<u64, Failure> {
        let [first, last, value] = [rows.first, rows.first + rows.count - 1, rows.value]
            .map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let changed = session.client.execute(&session.set, &[&first, &value, &last]).await;
        changed.map_err(|e| failed("writing to the old table", told(&e)))
    }

    async fn position(&self) -> Result<u64, Failure> {
        let sql = "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
        let row = self.client.query_one(sql, &[]).await.map_err(|e| failed(sql, told(&e)))?;
        self.run("set synchronous_commit = on").await?;
        self.run("update stockrecord set note = 'seen' where id = 1").await?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    async fn pile_up(&self, first: u64, count: u64, rows_each: u64) -> Result<(), Failure> {
        let (rows, last) = (self.rows, count / rows_each - 1);
        self.run("set synchronous_commit = off").await?;
        self.run(&format!(
            "do $$ declare e bigint; begin for t in 0..{last} loop e := (t * {rows_each}) % {rows}; \
             update stockrecord set num_in_stock = {first} + t * {rows_each} + id - 1 - e \
             where id between e + 1 and e + {rows_each}; commit; end loop; end $$"
        ))
        .await
    }

    /// A slot of its own: made when it is first needed, and moved on afterwards.
    async fn raw_from_here(&mut self) -> Result<(), Failure> {
        self.run(&format!(
            "do $$ begin if exists (select from pg_replication_slots where slot_name = '{RAW_SLOT}') \
             then perform pg_replication_slot_advance('{RAW_SLOT}', pg_current_wal_flush_lsn()); \
             else perform pg_create_logical_replication_slot('{RAW_SLOT}', 'pgoutput'); end if; end $$"
        ))
        .await
    }

    fn raw_reader(&self, until: u64) -> Result<Launch, Failure> {
        let log = self.server.log().with_file_name("recvlogical.log");
        let args = [
            "--dbname".to_owned(),
            self.server.url(),
            format!("--slot={RAW_SLOT}"),
            "--start".to_owned(),
            format!("--endpos={:X}/{:X}", until >> 32, until & 0xFFFF_FFFF),
            "--file=/dev/null".to_owned(),
            "--no-loop".to_owned(),
            "--option=proto_version=1".to_owned(),
            "--option=publication_names=banyan_stock".to_owned(),
            "--option=messages=true".to_owned(),
        ];
        Ok(Launch::new("pg_recvlogical", "pg_recvlogical", log).args(args))
    }

    async fn raw_done(&self) -> Result<(), Failure> {
        // A slot that nobody reads keeps the server's log for ever.
        self.run(&format!("select pg_drop_replication_slot('{RAW_SLOT}')")).await
    }

    async fn raw_update(
        session: &mut Session,
        items: &[u64],
        (in_stock, allocated): (i32, i32),
    ) -> Result<(), Failure> {
        let updated = update(&mut session.client, items, in_stock, allocated).await;
        updated.map_err(|e| failed("updating the copy", told(&e)))
    }
}

impl PostgresShop {
    async fn run(&self, sql: &str) -> Result<(), Failure> {
        self.client.batch_execute(sql).await.map_err(|e| failed(sql, told(&e)))
    }
}

async fn update(client: &mut Client, items: &[u64], in_stock: i32, allocated: i32) -> Result<(), Error> {
    let skus: Vec<String> = items.iter().map(|item| sku(*item)).collect();
    let (places, in_stock) = (vec![1_i32; items.len()], vec![in_stock; items.len()]);
    let allocated = vec![allocated; items.len()];
    let transaction = client.transaction().await?;
    let sql = "update rawrecord t set num_in_stock = u.in_stock, num_allocated = u.allocated \
         from unnest($1::text[], $2::integer[], $3::integer[], $4::integer[]) as u(sku, place, in_stock, allocated) \
         where t.partner_sku = u.sku and t.partner_id = u.place";
    transaction.execute(sql, &[&skus, &places, &in_stock, &allocated]).await?;
    transaction.commit().await
}

/// By the Unix socket, which costs the least.
async fn connect(server: &Postgres) -> Result<Client, Failure> {
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
fn told(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}
