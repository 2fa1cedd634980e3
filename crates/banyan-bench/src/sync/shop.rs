//! The old shop: what a run needs of its database, whatever kind that is, and those who write to it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_legacy::{Mapping, OldDatabase};
use banyan_testkit::Launch;
use tokio::task::LocalSet;

use crate::pace::Turns;
use crate::{Failure, failed};

/// Where all items are.
pub(super) const LOCATION: &str = "1";

/// What differs between the kinds of database that an old shop may have: a private server with the table `stockrecord`, and with
/// `rawrecord`, a copy of it that nobody follows. Items are numbered from 1, and so are the rows' keys. Ended on drop.
pub(super) trait OldShop: Sized + 'static {
    /// How the kind of database is called.
    const NAME: &'static str;
    /// What makes its commits durable.
    const DURABLE_BY: &'static str;
    /// What reads its changes to nowhere.
    const RAW_READER: &'static str;
    /// What the mapping says in `[database]`.
    const MAPPING: &'static str;
    /// One of the old shop's sessions.
    type Session: 'static;

    /// Starts the server and fills both tables with so many rows.
    async fn open(dir: &Path, rows: u64) -> Result<Self, Failure>;

    /// Rows of the table.
    fn rows(&self) -> u64;

    /// The server's process, whose children are its own.
    fn pid(&self) -> u32;

    /// The database as Banyan sees it.
    fn database(&self, mapping: Arc<Mapping>) -> Result<Arc<dyn OldDatabase>, Failure>;

    /// A session by the way that costs the least.
    async fn session(&self) -> Result<Self::Session, Failure>;

    /// Sets the stock of some rows in a transaction, and gives how many there were.
    async fn set(session: &mut Self::Session, rows: SetRows) -> Result<u64, Failure>;

    /// Where the server's log ends, as Banyan counts: everything committed is before. A change that matters to nobody is made after
    /// it, so that a stream passes it at once and not only when the server next says that nothing happens.
    async fn position(&self) -> Result<u64, Failure>;

    /// Sets `count` rows, one after the other, to numbers from `first` on, as fast as the server can, `rows_each` in a
    /// transaction, without leaving the server. Not synced one by one: it is a backlog, and how long it took to make is nobody's
    /// business.
    async fn pile_up(&self, first: u64, count: u64, rows_each: u64) -> Result<(), Failure>;

    /// What is written from now on can be read with [`Self::raw_reader`].
    async fn raw_from_here(&mut self) -> Result<(), Failure>;

    /// The server's own reader of changes, to nowhere: from [`Self::raw_from_here`] until this position at least. It ends there.
    fn raw_reader(&self, until: u64) -> Result<Launch, Failure>;

    /// Nothing is read raw any more.
    async fn raw_done(&self) -> Result<(), Failure>;

    /// Writes both numbers of some items in the copy, in one transaction, as a client does that knows no better way: one
    /// statement that finds its rows as the sync does.
    async fn raw_update(
        session: &mut Self::Session,
        items: &[u64],
        values: (i32, i32),
    ) -> Result<(), Failure>;
}

/// Rows beside each other, and the number that the first one's stock gets; the others' follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetRows {
    /// Key of the first.
    pub(super) first: u64,
    /// How many.
    pub(super) count: u64,
    /// Stock of the first.
    pub(super) value: u64,
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

impl Writes {
    /// Transactions in all.
    pub(super) fn transactions(&self) -> u64 {
        (self.rate * self.duration.as_secs_f64()).ceil() as u64
    }
}

/// The SKU of an item, from 1.
pub(super) fn sku(item: u64) -> String {
    format!("SKU-{item:06}")
}

/// The mapping of the table.
pub(super) fn mapping<S: OldShop>() -> Result<Arc<Mapping>, Failure> {
    let text = format!(
        "capability = \"stock\"\n[database]\nurl_env = \"NOT_USED\"\n{}\n\
         [[table]]\nname = \"stockrecord\"\nkey = [\"id\"]\nsku = \"partner_sku\"\n\
         location = {{ column = \"partner_id\" }}\nin_stock = \"num_in_stock\"\nallocated = \"num_allocated\"\n\
         [watch]\nlag_millis_max = 60000\n",
        S::MAPPING
    );
    Ok(Arc::new(Mapping::read(&text, Path::new(".")).map_err(|e| failed("reading the mapping", e))?))
}

/// Writes at a fixed rate, and gives what became of each transaction, in order.
pub(super) async fn write<S: OldShop>(shop: &S, writes: Writes) -> Result<Vec<Sent>, Failure> {
    let turns = Rc::new(Turns::new());
    let sent: Rc<RefCell<Vec<(u64, Sent)>>> = Rc::default();
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for _ in 0..writes.connections {
        let session = shop.session().await?;
        let work = keep_writing::<S>(session, writes, shop.rows(), Rc::clone(&turns), Rc::clone(&sent));
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

async fn keep_writing<S: OldShop>(
    mut session: S::Session,
    writes: Writes,
    rows: u64,
    turns: Rc<Turns>,
    sent: Rc<RefCell<Vec<(u64, Sent)>>>,
) -> Result<(), Failure> {
    while let Some((number, _)) = turns.next().await {
        let event = number * writes.rows_each;
        let set = SetRows { first: event % rows + 1, count: writes.rows_each, value: writes.first + event };
        let at = Instant::now();
        let changed = S::set(&mut session, set).await?;
        let committed = Instant::now();
        if changed != writes.rows_each {
            let text = format!("{changed} rows changed of {}", writes.rows_each);
            return Err(failed("writing to the old table", text));
        }
        sent.borrow_mut().push((number, Sent { at, committed }));
    }
    Ok(())
}
