//! What the old shop says on a real MariaDB, beside a real shard: taken in once, wherever Banyan is cut off.

mod maria;

use banyan_domain::legacy::{Capability, CapabilityState, Command, Phase};
use banyan_domain::{Actor, LocationId, Reason, SkuId, State};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::mysql::Mysql;
use banyan_legacy::{
    Book, BoxFuture, ChangeStream, Desk, Finding, Halt, Hold, Item, LegacyError, OldDatabase, Page, PageKey,
    Progress, SourceId, SqlReference, StreamHealth, TargetRow, Written, parts,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use banyan_testkit::MariaDbOptions;
use maria::{SOON, Shop};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const STOCK: Capability = Capability::Stock;

/// A MariaDB whose stream hands two transactions out together, and which is gone before what they told is deleted: both once.
struct Cut {
    server: Mysql,
    together: AtomicBool,
    cuts: AtomicBool,
}

/// Hands nothing out until two transactions with messages are there.
struct Together {
    stream: Box<dyn ChangeStream>,
    left: usize,
    ready: VecDeque<Item>,
}

impl ChangeStream for Together {
    fn next(&mut self) -> BoxFuture<'_, Result<Item, LegacyError>> {
        Box::pin(async {
            while self.left > 0 {
                match self.stream.next().await? {
                    // It only says how far the log was read, and keeps nothing from travelling together but by accident.
                    Item::Idle { .. } => {}
                    item => {
                        let says = matches!(&item, Item::Transaction(found) if !found.outbox.is_empty());
                        self.left -= usize::from(says);
                        self.ready.push_back(item);
                    }
                }
            }
            match self.ready.pop_front() {
                Some(item) => Ok(item),
                None => self.stream.next().await,
            }
        })
    }

    fn acknowledge(&mut self, position: u64) {
        self.stream.acknowledge(position);
    }
}

impl OldDatabase for Cut {
    fn stream<'a>(
        &'a self,
        from: Option<(SourceId, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        Box::pin(async move {
            let stream = self.server.stream(from).await?;
            Ok(match self.together.swap(false, Ordering::Relaxed) {
                true => Box::new(Together { stream, left: 2, ready: VecDeque::new() }),
                false => stream,
            })
        })
    }

    fn clear_outbox<'a>(&'a self, ids: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        match self.cuts.swap(false, Ordering::Relaxed) {
            true => Box::pin(async { Err(LegacyError::Broken("cut off before it was deleted".into())) }),
            false => self.server.clear_outbox(ids),
        }
    }

    fn sends_all_again(&self) -> bool {
        self.server.sends_all_again()
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        self.server.book()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        unreachable!("nothing is moved")
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        unreachable!("nothing is moved")
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        unreachable!("nothing is moved")
    }

    fn write<'a>(
        &'a self,
        _: &'a [TargetRow],
        _: u64,
        _: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        unreachable!("nothing is written")
    }

    fn read_page<'a>(
        &'a self,
        _: usize,
        _: Option<&'a PageKey>,
        _: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("nothing is compared")
    }

    fn read_items<'a>(
        &'a self,
        _: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("nothing is compared")
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        unreachable!("nobody watches")
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        unreachable!("nobody watches")
    }

    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        unreachable!("nobody gives the stream up")
    }
}

/// Banyan beside the small shop, with the stream in only.
struct Banyan<'a> {
    shop: &'a Shop,
    desk: Desk,
}

/// The stream in, running.
struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Halt>,
}

impl Running {
    async fn stop(self) {
        self.stop.send_replace(true);
        assert_eq!(self.task.await.expect("it ends"), Halt::Stopped);
    }
}

impl<'a> Banyan<'a> {
    fn beside(shop: &'a Shop) -> Self {
        let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
        let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
        let shard =
            Shard::spawn(started.expect("it starts"), Box::new(DirectReplies), ShardOptions::default());
        Self { shop, desk: Desk::new(shard.expect("threads start")) }
    }

    fn follow(&self, cut: bool) -> Running {
        let server = Mysql::at(self.shop.mapping.clone(), &self.shop.server.url()).expect("an address");
        let (together, cuts) = (AtomicBool::new(cut), AtomicBool::new(cut));
        let database: Arc<dyn OldDatabase> = Arc::new(Cut { server, together, cuts });
        let parts = parts(&self.desk, &database, &self.shop.mapping, &Arc::new(Progress::default()));
        let (stop, stopping) = watch::channel(false);
        Running { stop, task: tokio::spawn((parts.inward)(stopping)) }
    }

    async fn ask(&self, command: Command) {
        self.desk.ask(command).await.expect("done");
    }

    async fn begin(&self, to: Phase) {
        let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("a test").expect("a reason"));
        self.ask(Command::BeginMove { capability: STOCK, from: None, to, by, reason, without: vec![] }).await;
    }

    async fn state(&self) -> CapabilityState {
        self.desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs")
    }

    /// In stock and taken of A as the old books have them.
    async fn books(&self) -> Option<(i64, i64)> {
        let look = |state: &State| {
            let (sku, place) = (SkuId::new("A").expect("a SKU"), LocationId::new("main").expect("a place"));
            let level = state.mirror_level(state.stock().find(&sku, &place)?)?;
            Some((level.in_stock(), level.taken()))
        };
        self.desk.look(look).await.expect("it runs")
    }
}

async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let end = Instant::now() + SOON;
    while !so().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        // A condition is looked at again.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn ship_one(shop: &Shop) {
    let body = r#"{"sku": "A", "location": "main", "quantity": 1}"#;
    shop.sql(&format!(
        "insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', '{body}')"
    ));
}

/// (Two transactions travelled together. Cut off before what they told was deleted, the stream went on with the second, the message
/// of the first stayed in the outbox, and the next copy took it in once more.)
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_transactions_that_came_together_are_counted_once_though_banyan_was_cut_off_before_they_were_deleted()
 {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, place, num_in_stock, num_allocated) values ('A', 'main', 9, 9)");
    let banyan = Banyan::beside(&shop);
    banyan.begin(Phase::Mirror).await;
    let running = banyan.follow(false);
    let is_copied = async || banyan.state().await.source.is_some_and(|source| !source.copying);
    until("the copy", is_copied).await;
    banyan.ask(Command::FinishMove { capability: STOCK, number: 1 }).await;
    banyan.begin(Phase::Lead).await;
    shop.sql("update banyan_sync set phase = 'lead', epoch = 2, move = 2");
    until("the lead", async || banyan.state().await.phase == Phase::Lead).await;
    running.stop().await;

    for _ in 0..2 {
        ship_one(&shop);
    }
    let running = banyan.follow(true);
    until("both messages", async || banyan.books().await == Some((7, 7))).await;
    ship_one(&shop);
    until("the next one", async || banyan.books().await == Some((6, 6))).await;
    let left = |ids: &str| shop.sql(&format!("select count(*) from banyan_outbox where id {ids}"));
    until("it is deleted", async || left("= 3") == "0").await;
    assert_eq!(left("< 3"), "0", "and so are those before it");
    running.stop().await;

    // The log is gone, and what is left in the outbox would be taken in with the copy.
    let before = banyan.state().await.source.expect("a stream").id;
    shop.sql("reset master");
    let running = banyan.follow(false);
    until("another copy", async || {
        banyan.state().await.source.is_some_and(|source| source.id != before && !source.copying)
    })
    .await;
    assert_eq!(banyan.books().await, Some((6, 6)));
    assert_eq!(banyan.state().await.refused, 0);
    running.stop().await;
}
