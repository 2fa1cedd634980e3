//! Both sides kept in step through every phase, with a bad network and a server that dies.

use crate::shop::{PATIENCE, Shop, mapping, session};
use banyan_domain::legacy::{Capability, CapabilityState, Phase};
use banyan_domain::stock::{self, Line, Lines};
use banyan_domain::{Actor, LocationId, Millis, Outcome, SkuId};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::postgres::Postgres as OldPostgres;
use banyan_legacy::{Desk, Keeper, KeeperOptions, NoRoutes, OldDatabase, Progress, parts};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use banyan_testkit::{PostgresOptions, TcpProxy, Way};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod lapsing;

const SKUS: i64 = 40;

/// Banyan beside the shop, which it reaches through a proxy.
struct World {
    shop: Shop,
    proxy: TcpProxy,
    storage: Arc<MemoryStorage>,
    banyan: Option<Banyan>,
}

struct Banyan {
    desk: Desk,
    keeper: Arc<Keeper>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl World {
    async fn open() -> Self {
        let shop = Shop::open(PostgresOptions::default()).await;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], shop.server.port()));
        let proxy = TcpProxy::start(address).expect("a proxy");
        shop.run(&format!(
            "insert into stockrecord (partner_sku, num_in_stock, num_allocated) select 'S' || n, 100, 0 from generate_series(1, {SKUS}) n"
        ))
        .await;
        shop.database(&mapping("")).create().await.expect("made");
        let mut world = Self { shop, proxy, storage: Arc::new(MemoryStorage::new()), banyan: None };
        world.start_banyan();
        world
    }

    fn start_banyan(&mut self) {
        let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(self.storage.clone(), disk).expect("a log");
        let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
        let shard =
            Shard::spawn(started.expect("it starts"), Box::new(DirectReplies), ShardOptions::default());
        let desk = Desk::new(shard.expect("threads"));
        let mapping = mapping("[watch]\nlag_millis_max = 60000\n");
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.proxy.port());
        let database: Arc<dyn OldDatabase> =
            Arc::new(OldPostgres::at(mapping.clone(), &url).expect("an address"));
        let progress = Arc::new(Progress::default());
        let parts = parts(&desk, &database, &mapping, &progress);
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
        self.banyan = Some(Banyan { desk, keeper, stop, running });
    }

    /// Everything of the sync is dropped in the middle of whatever it does; only the log is left.
    async fn kill_banyan(&mut self) {
        let Banyan { desk, running, .. } = self.banyan.take().expect("it runs");
        running.abort();
        let _aborted = running.await;
        desk.shard().shutdown();
    }

    fn banyan(&self) -> &Banyan {
        self.banyan.as_ref().expect("it runs")
    }

    async fn state(&self) -> CapabilityState {
        let look = |state: &banyan_domain::State| state.legacy().capability(Capability::Stock);
        self.banyan().desk.look(look).await.expect("it runs")
    }

    async fn go(&self, to: Phase) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let actor = Actor::new("test").expect("a name");
        loop {
            let compared = if to == Phase::Lead { self.compare(true).await } else { Some(0) };
            match self.banyan().keeper.begin(to, actor.clone(), "a test", &[]).await {
                Ok(_) => break,
                Err(error) => {
                    assert!(tokio::time::Instant::now() < deadline, "{error} ({compared:?} differ)");
                }
            }
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.wait(|state| state.phase == to && state.moving.is_none()).await;
    }

    async fn wait(&self, holds: impl Fn(&CapabilityState) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let state = self.state().await;
            if holds(&state) {
                return;
            }
            let status = self.banyan().keeper.status().await.expect("it runs");
            assert!(
                tokio::time::Instant::now() < deadline,
                "{state:?} {:?} {:?}",
                status.stage,
                status.progress
            );
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many rows still differ; nothing if that cannot be said now.
    async fn compare(&self, repair: bool) -> Option<u64> {
        self.banyan().keeper.compare(repair).await.ok().map(|(_, differing)| differing)
    }

    /// Waits until both sides are equal without being put right, and gives the old table.
    async fn equal(&self) -> BTreeMap<String, (i32, i32)> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let compared = self.compare(false).await;
            let rows = self.rows().await;
            // Looked at once more by a way of its own: the comparison is not its own witness.
            let ours = self.ours().await;
            if compared == Some(0) && ours == rows {
                return rows;
            }
            let status = self.banyan().keeper.status().await;
            assert!(tokio::time::Instant::now() < deadline, "{compared:?} {ours:?} {rows:?} {status:?}");
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn rows(&self) -> BTreeMap<String, (i32, i32)> {
        let sql =
            "select partner_sku, coalesce(num_in_stock, 0), coalesce(num_allocated, 0) from stockrecord";
        let rows = self.shop.client.query(sql, &[]).await.expect("rows");
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
    }

    async fn ours(&self) -> BTreeMap<String, (i32, i32)> {
        let ours = |state: &banyan_domain::State| {
            let all = state.legacy().mirrored_items().filter_map(|(item, _)| {
                let level = state.mirror_level(item)?;
                Some((
                    state.stock().item(item)?.sku.to_owned(),
                    (level.in_stock() as i32, level.taken() as i32),
                ))
            });
            all.filter(|(_, numbers)| *numbers != (0, 0)).collect::<BTreeMap<_, _>>()
        };
        self.banyan().desk.look(ours).await.expect("it runs")
    }

    /// An order of the old shop while Banyan leads: reserved there, and told in the shop's own transaction.
    async fn order(&self, sku: &str) {
        let lines = Lines::new(vec![Line {
            sku: SkuId::new(sku).expect("a SKU"),
            location: Some(LocationId::new("1").expect("a place")),
            quantity: 1,
        }]);
        let reserve = stock::Command::Reserve {
            lines: lines.expect("lines"),
            member: None,
            order: None,
            hold_for: Millis::new(3_600_000),
        };
        let Ok(Outcome::Stock(stock::Outcome::Reservation(answer))) = self.banyan().desk.ask(reserve).await
        else {
            panic!("not reserved")
        };
        let sql = format!(
            "insert into banyan_outbox (capability, kind, body) values ('stock', 'allocate', '{{\"reservation\": \"{}\"}}')",
            answer.reservation
        );
        self.shop.run(&sql).await;
    }

    /// A count of the old shop, which needs nobody to answer.
    async fn count(&self, sku: &str) {
        let body = format!("{{\"sku\": \"{sku}\", \"location\": \"1\", \"on_hand\": 99}}");
        self.shop
            .run(&format!(
                "insert into banyan_outbox (capability, kind, body) values ('stock', 'count', '{body}')"
            ))
            .await;
    }

    async fn ship(&self, sku: &str) {
        let body = format!("{{\"sku\": \"{sku}\", \"location\": \"1\", \"quantity\": 1}}");
        self.shop
            .run(&format!(
                "insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', '{body}')"
            ))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_through_every_phase_with_kills_and_cuts_in_between() {
    let mut world = World::open().await;
    world.go(Phase::Mirror).await;
    // The old shop leads: its writes arrive.
    for n in 0..200 {
        let sku = n % SKUS + 1;
        world.shop.run(&format!("update stockrecord set num_in_stock = num_in_stock + 1, num_allocated = num_allocated + 1 where partner_sku = 'S{sku}'")).await;
        match n {
            40 => world.proxy.cut(),
            80 => world.proxy.cut_after(Way::ToClient, 700),
            120 => {
                world.kill_banyan().await;
                world.start_banyan();
            }
            160 => {
                world.shop.server.crash().expect("killed");
                world.shop.server.restart().expect("started");
                world.shop.client = session(&world.shop.server.url()).await;
            }
            _ => {}
        }
    }
    let rows = world.equal().await;
    assert!(rows.values().all(|numbers| *numbers == (105, 5)), "{rows:?}");

    world.go(Phase::Lead).await;
    let mut foreign = 0;
    for n in 0..160 {
        let sku = format!("S{}", n % SKUS + 1);
        world.order(&sku).await;
        if n % 2 == 0 {
            world.ship(&sku).await;
        }
        if n % 8 == 3 {
            world
                .shop
                .run(&format!(
                    "update stockrecord set num_in_stock = num_in_stock + 7 where partner_sku = '{sku}'"
                ))
                .await;
            foreign += 1;
        }
        match n {
            30 => world.proxy.cut(),
            // In the middle of what we send: perhaps in a commit.
            50 | 60 | 70 => world.proxy.cut_after(Way::ToServer, 300 + n.unsigned_abs() * 17),
            90 => {
                world.kill_banyan().await;
                world.start_banyan();
            }
            120 => {
                world.shop.server.crash().expect("killed");
                world.shop.server.restart().expect("started");
                world.shop.client = session(&world.shop.server.url()).await;
            }
            _ => {}
        }
    }
    world.shop.run("insert into stockrecord (partner_sku, num_in_stock) values ('NEW', 9)").await;
    world.wait(|state| state.breaches >= foreign).await;
    let rows = world.equal().await;
    assert_eq!(rows.get("NEW"), Some(&(9, 0)), "a new item of the old shop");
    // Four orders an item; of the items with an even place, all were shipped, of the others none.
    for n in 0..SKUS {
        let shipped = if n % 2 == 0 { 4 } else { 0 };
        assert_eq!(rows[&format!("S{}", n + 1)], (105 - shipped, 9 - shipped), "S{}", n + 1);
    }
    let state = world.state().await;
    assert_eq!((state.breaches, state.refused), (foreign, 0), "every write of others, and none of ours");
    assert_eq!(world.shop.number("select count(*) from banyan_outbox").await, 0);

    // A slot that is lost while nobody looks: by difference again, and the outbox that it would have told.
    world.kill_banyan().await;
    let drop_slot = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while world.shop.number("select count(*) from pg_replication_slots").await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "the slot stays");
        world.shop.run(drop_slot).await;
    }
    world.ship("S2").await;
    world.start_banyan();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while world.equal().await["S2"] != (104, 8) {
        assert!(tokio::time::Instant::now() < deadline, "what was left in the outbox is not taken in");
    }

    world.go(Phase::Mirror).await;
    world.shop.run("update stockrecord set num_in_stock = 50 where partner_sku = 'S1'").await;
    world.shop.run("delete from stockrecord where partner_sku = 'NEW'").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while world.equal().await.get("S1").map(|numbers| numbers.0) != Some(50) {
        assert!(tokio::time::Instant::now() < deadline, "the old shop leads again");
    }
    let Banyan { stop, running, .. } = world.banyan.take().expect("it runs");
    stop.send(true).expect("it listens");
    running.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn retired_lives_on_without_the_columns_and_goes_back_only_with_them() {
    let mut world = World::open().await;
    for to in [Phase::Mirror, Phase::Lead, Phase::Retired] {
        world.go(to).await;
    }
    world.shop.run("alter table stockrecord drop column num_in_stock, drop column num_allocated").await;
    world.shop.run("update stockrecord set note = 'no stock here any more'").await;
    world.order("S1").await;
    // Also after a start.
    world.kill_banyan().await;
    world.count("S2").await;
    world.start_banyan();
    world.order("S3").await;
    world.ship("S3").await;
    let told = |ours: &BTreeMap<String, (i32, i32)>| (ours["S1"], ours["S2"], ours["S3"]);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let ours = world.ours().await;
        if told(&ours) == ((100, 1), (99, 0), (99, 0)) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{:?}", told(&ours));
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let actor = Actor::new("test").expect("a name");
    let refused =
        world.banyan().keeper.begin(Phase::Lead, actor, "too early", &[]).await.expect_err("no columns");
    assert!(refused.to_string().contains("there is no such column"), "{refused}");
    world
        .shop
        .run("alter table stockrecord add column num_in_stock integer, add column num_allocated integer")
        .await;
    world.go(Phase::Lead).await;
    let rows = world.equal().await;
    assert_eq!((rows["S1"], rows["S2"], rows["S4"]), ((100, 1), (99, 0), (100, 0)));
    // And what others write to the columns that came back is noticed.
    let breaches = world.state().await.breaches;
    world.shop.run("update stockrecord set num_in_stock = 1 where partner_sku = 'S4'").await;
    world.wait(|state| state.breaches > breaches).await;
    assert_eq!(world.equal().await["S4"], (100, 0));
}
