//! The old shop on MariaDB.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use banyan_legacy::mysql::Mysql;
use banyan_legacy::{Mapping, OldDatabase};
use banyan_testkit::{Launch, MariaDb, MariaDbOptions};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, TxOpts};

use super::shop::{OldShop, SetRows, sku};
use crate::{Failure, failed};

/// The columns of the other kind's table, and the index that the preflight asks for.
const TABLE: &str = "create table stockrecord (id bigint not null auto_increment primary key, partner_sku varchar(128) not null, \
     partner_id int not null default 1, num_in_stock int, num_allocated int, note text, \
     unique key item (partner_id, partner_sku), key banyan_sku (partner_sku)) engine = InnoDB default character set utf8mb4";

/// Writes a backlog: see [`OldShop::pile_up`].
const PILE_UP: &str = "delimiter //
create procedure pile_up(first bigint, transactions bigint, rows_each bigint, all_rows bigint)
begin
    declare t bigint default 0;
    declare e bigint;
    while t < transactions do
        set e = (t * rows_each) mod all_rows;
        update stockrecord set num_in_stock = first + t * rows_each + id - 1 - e where id between e + 1 and e + rows_each;
        set t = t + 1;
    end while;
end//
delimiter ;";

/// The server, and where reading raw begins.
pub(super) struct MariadbShop {
    server: MariaDb,
    rows: u64,
    raw_from: Place,
}

/// A place in the binary log.
#[derive(Clone, Debug, Default)]
struct Place {
    file: String,
    offset: u64,
}

impl OldShop for MariadbShop {
    const NAME: &'static str = "MariaDB";
    const DURABLE_BY: &'static str = "sync_binlog=1, innodb_flush_log_at_trx_commit=1";
    const RAW_READER: &'static str = "mariadb-binlog --raw, the same place of the binary log";
    const MAPPING: &'static str = "kind = \"mysql\"\nserver_id = 4711";
    type Session = Conn;

    async fn open(dir: &Path, rows: u64) -> Result<Self, Failure> {
        let server = MariaDb::start(&options(dir))?;
        server.sql(TABLE)?;
        server.sql(&format!(
            "insert into stockrecord (id, partner_sku, num_in_stock, num_allocated) \
             select seq, concat('SKU-', lpad(seq, 6, '0')), 1000, 0 from seq_1_to_{rows}; \
             create table rawrecord like stockrecord; \
             insert into rawrecord select * from stockrecord; \
             analyze table stockrecord, rawrecord"
        ))?;
        server.sql(PILE_UP)?;
        Ok(Self { server, rows, raw_from: Place::default() })
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn database(&self, mapping: Arc<Mapping>) -> Result<Arc<dyn OldDatabase>, Failure> {
        Ok(Arc::new(Mysql::at(mapping, &self.server.url())?))
    }

    async fn session(&self) -> Result<Conn, Failure> {
        let socket = self.server.socket().display().to_string();
        let address = OptsBuilder::default().socket(Some(socket)).user(Some("root")).db_name(Some("shop"));
        Conn::new(address).await.map_err(|e| failed("connecting to MariaDB", e))
    }

    async fn set(session: &mut Conn, rows: SetRows) -> Result<u64, Failure> {
        // Rows of one transaction are beside each other, and so are their numbers. The client prepares it once in a session.
        let sql = "update stockrecord set num_in_stock = ? + id - ? where id between ? and ?";
        let values = (rows.value, rows.first, rows.first, rows.first + rows.count - 1);
        session.exec_drop(sql, values).await.map_err(|e| failed("writing to the old table", e))?;
        Ok(session.affected_rows())
    }

    async fn position(&self) -> Result<u64, Failure> {
        let end = self.end()?;
        // The server writes no change down that is none.
        self.server.sql("update stockrecord set note = uuid() where id = 1")?;
        let number = end.file.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
        let number = number.ok_or_else(|| failed("asking for the log's end", format!("{end:?}")))?;
        Ok(number << 32 | end.offset)
    }

    async fn pile_up(&self, first: u64, count: u64, rows_each: u64) -> Result<(), Failure> {
        let (transactions, rows) = (count / rows_each, self.rows);
        self.server.sql(&format!(
            "set global sync_binlog = 0; set global innodb_flush_log_at_trx_commit = 0; \
             call pile_up({first}, {transactions}, {rows_each}, {rows}); \
             set global sync_binlog = 1; set global innodb_flush_log_at_trx_commit = 1"
        ))?;
        Ok(())
    }

    async fn raw_from_here(&mut self) -> Result<(), Failure> {
        self.raw_from = self.end()?;
        Ok(())
    }

    /// To the log's end, whatever is behind `until`. It writes files that are called as the server's, so these are links to nowhere.
    fn raw_reader(&self, _until: u64) -> Result<Launch, Failure> {
        let folder = self.server.log().with_file_name("raw");
        let making = |e: std::io::Error| failed(format!("making {}", folder.display()), e);
        fs::create_dir_all(&folder).map_err(making)?;
        for line in self.server.sql("show binary logs")?.lines() {
            let link = folder.join(line.split('\t').next().unwrap_or_default());
            if !link.is_symlink() {
                symlink("/dev/null", link).map_err(making)?;
            }
        }
        // What a stream is told only if it asks is left out for ours, too: the statements' texts.
        let args = [
            "--no-defaults".to_owned(),
            "--read-from-remote-server".to_owned(),
            "--raw".to_owned(),
            "--to-last-log".to_owned(),
            "--skip-annotate-row-events".to_owned(),
            "--protocol=tcp".to_owned(),
            "--host=127.0.0.1".to_owned(),
            format!("--port={}", self.server.port()),
            "--user=root".to_owned(),
            format!("--start-position={}", self.raw_from.offset),
            format!("--result-file={}/", folder.display()),
            self.raw_from.file.clone(),
        ];
        let log = self.server.log().with_file_name("binlog-reader.log");
        Ok(Launch::new("mariadb-binlog", "mariadb-binlog", log).args(args))
    }

    /// The server keeps nothing for its readers.
    async fn raw_done(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn raw_update(
        session: &mut Conn,
        items: &[u64],
        (in_stock, allocated): (i32, i32),
    ) -> Result<(), Failure> {
        let rows: Vec<String> =
            items.iter().map(|item| format!("[\"{}\",1,{in_stock},{allocated}]", sku(*item))).collect();
        let rows = format!("[{}]", rows.join(","));
        let sql = "update json_table(?, '$[*]' columns (sku varchar(128) path '$[0]', place int path '$[1]', \
             in_stock int path '$[2]', allocated int path '$[3]')) as u \
             straight_join rawrecord t on t.partner_id = u.place and t.partner_sku = u.sku \
             set t.num_in_stock = u.in_stock, t.num_allocated = u.allocated";
        let updating = |e: mysql_async::Error| failed("updating the copy", e);
        let mut transaction = session.start_transaction(TxOpts::default()).await.map_err(updating)?;
        transaction.exec_drop(sql, (rows,)).await.map_err(updating)?;
        let changed = transaction.affected_rows();
        transaction.commit().await.map_err(updating)?;
        if changed != items.len() as u64 {
            return Err(failed("updating the copy", format!("{changed} rows changed of {}", items.len())));
        }
        Ok(())
    }
}

impl MariadbShop {
    fn end(&self) -> Result<Place, Failure> {
        let text = self.server.sql("show master status")?;
        let mut columns = text.split('\t');
        let file = columns.next().filter(|file| !file.is_empty()).map(str::to_owned);
        let offset = columns.next().and_then(|offset| offset.parse().ok());
        let place = file.zip(offset).map(|(file, offset)| Place { file, offset });
        place.ok_or_else(|| failed("asking for the log's end", text))
    }
}

/// Memory and logs as a careful operator sets them; nothing that weakens durability.
fn options(dir: &Path) -> MariaDbOptions {
    MariaDbOptions { parent: Some(dir.to_owned()), ..MariaDbOptions::default() }
        .set("innodb_buffer_pool_size", "512M")
        .set("innodb_log_file_size", "512M")
        .set("innodb_flush_log_at_trx_commit", "1")
        .set("max_binlog_size", "1G")
}
