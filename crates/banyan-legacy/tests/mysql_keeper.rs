//! A real MariaDB, a real shard and the keeper between them: what others write to what Banyan owns.

mod maria;

use banyan_domain::legacy::{Capability, CapabilityState, Phase};
use banyan_domain::{Actor, LocationId, SkuId, State};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::mysql::Mysql;
use banyan_legacy::{Desk, Keeper, KeeperOptions, NoRoutes, OldDatabase, Progress};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use banyan_testkit::{MariaDb, MariaDbOptions};
use maria::{SCHEMA, SOON, Shop};
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
async fn a_mirror_without_tables_of_ours_comes_and_goes_and_never_leads() {
    let server = MariaDb::start(&MariaDbOptions::default()).expect("mariadb");
    server.sql(SCHEMA).expect("the small shop");
    server
        .sql("insert into stock (sku, place, num_in_stock, num_allocated) values ('A', 'main', 5, 1)")
        .expect("a row");
    let mapping =
        maria::mapping(&maria::MAPPING.replace("server_id = 4711", "server_id = 4711\nbookkeeping = false"));
    let database = Mysql::at(mapping.clone(), &server.url()).expect("an address");
    let shop = Shop { server, mapping, database };
    let banyan = Banyan::beside(&shop);

    banyan.to(Phase::Mirror).await;
    until("the copy", async || banyan.books("A", "main").await == Some((5, 1))).await;
    shop.sql("update stock set num_allocated = 2 where sku = 'A'");
    until("a change", async || banyan.books("A", "main").await == Some((5, 2))).await;
    assert_eq!(banyan.keeper.compare(true).await, Ok((1, 0)));
    assert_eq!(shop.sql("show tables like 'banyan%'"), "");

    let gates = banyan.keeper.plan(Phase::Lead).await.expect("it runs").gates;
    let preflight = gates.iter().find(|gate| gate.name == "preflight").expect("every move has it");
    assert!(!preflight.holds && preflight.found.contains("bookkeeping = false"), "{preflight:?}");

    banyan.to(Phase::Legacy).await;
    banyan.stop.send_replace(true);
    banyan.running.await.expect("it ends");
}
