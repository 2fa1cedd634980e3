//! A real MariaDB, a real shard and the keeper between them: what others write to what Banyan owns.

mod maria;

use banyan_domain::legacy::{Capability, CapabilityState, Phase};
use banyan_domain::{Actor, LocationId, SkuId, State};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::mysql::Mysql;
use banyan_legacy::{Desk, Keeper, KeeperOptions, NoRoutes, OldDatabase, Progress};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use banyan_testkit::MariaDbOptions;
use maria::{SOON, Shop};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const STOCK: Capability = Capability::Stock;
const LOOK: Duration = Duration::from_millis(20);

/// Banyan beside the small shop.
struct Banyan {
    desk: Desk,
    keeper: Arc<Keeper>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Banyan {
    fn beside(shop: &Shop) -> Self {
        let disk =
            DiskOptions { segment_bytes: 16 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
        let core = CoreOptions::default();
        let started =
            start(Box::new(log), None, core, None, wall_clock(), &mut |_, _| {}).expect("it starts");
        let shard =
            Shard::spawn(started, Box::new(DirectReplies), ShardOptions::default()).expect("threads start");
        let desk = Desk::new(shard);
        let database: Arc<dyn OldDatabase> =
            Arc::new(Mysql::at(shop.mapping.clone(), &shop.server.url()).expect("an address"));
        let (mapping, progress) = (shop.mapping.clone(), Arc::new(Progress::default()));
        let parts = banyan_legacy::parts(&desk, &database, &mapping, &progress);
        let keeper = Keeper::new(KeeperOptions {
            desk: desk.clone(),
            database,
            mapping,
            progress,
            parts,
            routes: Arc::new(NoRoutes),
            quiet_for: Duration::ZERO,
            compare_every: Duration::from_secs(3_600),
        });
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(keeper.clone().run(stopping));
        Self { desk, keeper, stop, running }
    }

    async fn state(&self) -> CapabilityState {
        self.desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs")
    }

    /// Asks for a move until its gates hold, and waits until it is done.
    async fn to(&self, phase: Phase) {
        until(&format!("a move to {}", phase.as_str()), async || {
            let by = Actor::new("op").expect("a name");
            match self.keeper.begin(phase, by, "a test", &[]).await {
                Ok(_) => true,
                Err(_) => {
                    // The comparison is one of the gates.
                    let _again = self.keeper.compare(true).await;
                    false
                }
            }
        })
        .await;
        until(&format!("phase {}", phase.as_str()), async || {
            let state = self.state().await;
            state.phase == phase && state.moving.is_none()
        })
        .await;
    }

    /// In stock and taken as the old books have them.
    async fn books(&self, sku: &str, place: &str) -> Option<(i64, i64)> {
        let names = (SkuId::new(sku).expect("a SKU"), LocationId::new(place).expect("a place"));
        let look = move |state: &State| {
            let level = state.mirror_level(state.stock().find(&names.0, &names.1)?)?;
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
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_to_owned_columns_is_noticed_and_put_right() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "insert into stock (sku, place, num_in_stock, num_allocated) values ('A', 'main', 5, 1), ('B', 'main', 7, null); \
         insert into display values ('A', 2), ('B', 2)",
    );
    let banyan = Banyan::beside(&shop);
    banyan.to(Phase::Mirror).await;
    // While the old shop leads, nobody's write is foreign.
    shop.sql("update stock set num_in_stock = 6 where sku = 'A'");
    until("the old shop's own write", async || banyan.books("A", "main").await == Some((6, 1))).await;
    banyan.to(Phase::Lead).await;
    assert_eq!(banyan.state().await.breaches, 0);

    let row = |sku: &str| {
        shop.sql(&format!("select num_in_stock, ifnull(num_allocated, 0) from stock where sku = '{sku}'"))
    };
    shop.sql("update stock set num_in_stock = 77 where sku = 'A'");
    until("the first foreign write", async || banyan.state().await.breaches == 1).await;
    until("the row to be put right", async || row("A") == "6\t1").await;
    // Two rows in one statement, of which one is in the other table; and a column that nobody owns.
    shop.sql(
        "update stock, display set num_allocated = 3, units = 9 where stock.sku = 'B' and display.sku = 'B'",
    );
    shop.sql("update stock set note = 'seen'");
    until("both of the next", async || banyan.state().await.breaches == 3).await;
    until("these to be put right", async || row("B") == "7\t0").await;
    until("the display too", async || shop.sql("select units from display where sku = 'B'") == "2").await;
    assert_eq!(banyan.books("A", "main").await, Some((6, 1)), "Banyan's own numbers are not moved by it");

    // Put right with our own writes, which come back and are not taken for somebody else's.
    shop.sql("insert into banyan_outbox (capability, kind, body) values ('stock', 'count', '{\"sku\": \"B\", \"location\": \"main\", \"on_hand\": 4}')");
    until("a count after all of it", async || row("B") == "4\t0").await;
    assert_eq!(banyan.keeper.compare(false).await, Ok((4, 0)));
    assert_eq!(banyan.state().await.breaches, 3);
    banyan.stop.send_replace(true);
    banyan.running.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_log_does_not_tell_of_is_put_right_in_the_mirror() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "insert into stock (sku, place, num_in_stock, num_allocated) \
         values ('A', 'main', 5, 1), ('B', 'main', 7, null), ('C', 'main', 3, 0)",
    );
    let banyan = Banyan::beside(&shop);
    banyan.to(Phase::Mirror).await;
    assert_eq!(banyan.books("C", "main").await, Some((3, 0)));
    // As what a cascade does, or a trigger within Banyan's own write: the row was different until somebody wrote it again.
    shop.sql(
        "set sql_log_bin = 0; update stock set num_in_stock = 60 where sku = 'A'; delete from stock where sku = 'C'",
    );
    assert_eq!(banyan.keeper.compare(true).await, Ok((2, 0)), "put right, so nothing differs any more");
    assert_eq!(banyan.books("A", "main").await, Some((60, 1)));
    assert_eq!(banyan.books("B", "main").await, Some((7, 0)));
    assert_eq!(banyan.books("C", "main").await, Some((0, 0)));
    until("the outbox to be cleared", async || shop.sql("select count(*) from banyan_outbox") == "0").await;
    // What the shop writes afterwards is not undone by it.
    shop.sql("update stock set num_in_stock = 59 where sku = 'A'");
    until("the next write", async || banyan.books("A", "main").await == Some((59, 1))).await;
    banyan.stop.send_replace(true);
    banyan.running.await.expect("it ends");
}
