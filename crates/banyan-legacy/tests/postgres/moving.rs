//! A real database, a real shard and the keeper between them: there and back, both sides deciding in turn.

use crate::shop::{PATIENCE, Shop, mapping, session};
use banyan_domain::legacy::{Capability, CapabilityState, Phase};
use banyan_domain::stock::{self, Line, Lines};
use banyan_domain::{Actor, LocationId, Millis, Outcome, Refusal, ReservationNo, SkuId, legacy};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{Desk, DeskError, Keeper, KeeperOptions, NoRoutes, OldDatabase, Progress, ProgressView};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const STOCK: Capability = Capability::Stock;
/// How often a test looks again.
const LOOK: Duration = Duration::from_millis(20);

/// Banyan beside an old shop.
pub(crate) struct Banyan {
    pub(crate) desk: Desk,
    pub(crate) keeper: Arc<Keeper>,
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Banyan {
    pub(crate) fn beside(shop: &Shop) -> Self {
        let disk =
            DiskOptions { segment_bytes: 16 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
        let core = CoreOptions { digest_events: 100, ..CoreOptions::default() };
        let started =
            start(Box::new(log), None, core, None, wall_clock(), &mut |_, _| {}).expect("it starts");
        let options = ShardOptions {
            pace: Duration::ZERO,
            on_fatal: Box::new(|why| {
                eprintln!("{why}");
                std::process::exit(70);
            }),
            ..ShardOptions::default()
        };
        let desk = Desk::new(Shard::spawn(started, Box::new(DirectReplies), options).expect("threads start"));
        let mapping = mapping("");
        Self::keep(&desk, Arc::new(shop.database(&mapping)), mapping)
    }

    pub(crate) fn keep(
        desk: &Desk,
        database: Arc<dyn OldDatabase>,
        mapping: Arc<banyan_legacy::Mapping>,
    ) -> Self {
        let progress = Arc::new(Progress::default());
        let parts = banyan_legacy::parts(desk, &database, &mapping, &progress);
        let keeper = Keeper::new(KeeperOptions {
            desk: desk.clone(),
            database,
            mapping,
            progress: progress.clone(),
            parts,
            routes: Arc::new(NoRoutes),
            quiet_for: Duration::ZERO,
            compare_every: Duration::from_secs(3_600),
        });
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(keeper.clone().run(stopping));
        Self { desk: desk.clone(), keeper, progress, stop, running }
    }

    pub(crate) async fn stop(self) -> Desk {
        self.stop.send_replace(true);
        self.running.await.expect("it ends");
        self.desk
    }

    pub(crate) async fn state(&self) -> CapabilityState {
        self.desk.look(|state| state.legacy().capability(STOCK)).await.expect("it runs")
    }

    /// Asks for a move until its gates hold, and waits until it is done.
    pub(crate) async fn to(&self, phase: Phase) {
        let by = || Actor::new("op").expect("a name");
        until(&format!("a move to {}", phase.as_str()), async || {
            match self.keeper.begin(phase, by(), "a test", &["references".into()]).await {
                Ok(_) => None::<()>.or(Some(())),
                Err(why) => {
                    eprintln!("not yet: {why}");
                    // The comparison is one of the gates.
                    let _again = self.keeper.compare(true).await;
                    None
                }
            }
        })
        .await;
        until(&format!("phase {}", phase.as_str()), async || {
            let state = self.state().await;
            (state.phase == phase && state.moving.is_none()).then_some(())
        })
        .await;
    }

    pub(crate) async fn reserve(&self, name: &str, quantity: u32) -> Result<ReservationNo, Refusal> {
        let lines = Lines::new(vec![Line { sku: sku(name), location: None, quantity }]).expect("lines");
        let hold_for = Millis::new(120_000);
        match self.desk.ask(stock::Command::Reserve { lines, member: None, order: None, hold_for }).await {
            Ok(Outcome::Stock(stock::Outcome::Reservation(answer))) => Ok(answer.reservation),
            Err(DeskError::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// In stock and taken as the old books have them.
    async fn books(&self, name: &str) -> Option<(i64, i64)> {
        let (sku, place) = (sku(name), LocationId::new("1").expect("a place"));
        let look = move |state: &banyan_domain::State| {
            let level = state.mirror_level(state.stock().find(&sku, &place)?)?;
            Some((level.in_stock(), level.taken()))
        };
        self.desk.look(look).await.expect("it runs")
    }

    pub(crate) async fn until_books(&self, name: &str, wanted: (i64, i64)) {
        until(&format!("{name} at {wanted:?} in Banyan"), async || {
            (self.books(name).await == Some(wanted)).then_some(())
        })
        .await;
    }

    fn view(&self) -> ProgressView {
        self.progress.view()
    }
}

fn sku(name: &str) -> SkuId {
    SkuId::new(name).expect("a SKU")
}

/// Waits until `look` gives something.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        // A condition is looked at again.
        tokio::time::sleep(LOOK).await;
    }
}

impl Shop {
    /// In stock and allocated of a row.
    async fn row(&self, sku: &str) -> Option<(i64, i64)> {
        let sql = format!(
            "select num_in_stock::bigint, coalesce(num_allocated, 0)::bigint from stockrecord where partner_sku = '{sku}'"
        );
        let row = self.client.query_opt(&sql, &[]).await.expect("readable")?;
        Some((row.get(0), row.get(1)))
    }

    async fn until_row(&self, sku: &str, wanted: (i64, i64)) {
        until(&format!("{sku} at {wanted:?} in the old table"), async || {
            (self.row(sku).await == Some(wanted)).then_some(())
        })
        .await;
    }

    pub(crate) async fn tell(&self, kind: &str, body: &str) {
        let sql = format!(
            "insert into banyan_outbox (capability, kind, body) values ('stock', '{kind}', '{body}')"
        );
        self.run(&sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_with_both_sides_deciding_in_turn() {
    let (shop, _consented) = Shop::ready().await;
    for (sku, in_stock, allocated) in [("A", 5, 1), ("B", 0, 0), ("C", 100, 10)] {
        shop.add(sku, in_stock, allocated).await;
    }
    shop.run("insert into stockrecord (partner_sku, num_in_stock, num_allocated) select 'S' || n, 4, 0 from generate_series(1, 300) n").await;
    let banyan = Banyan::beside(&shop);
    banyan.to(Phase::Mirror).await;
    banyan.until_books("A", (5, 1)).await;
    assert_eq!(banyan.reserve("A", 1).await, Err(Refusal::Legacy(legacy::Refusal::NotLeading)));
    // The old shop goes on, and Banyan follows.
    shop.run("update stockrecord set num_allocated = 2 where partner_sku = 'A'").await;
    shop.run("insert into stockrecord (partner_sku, num_in_stock) values ('D', 7)").await;
    shop.run("delete from stockrecord where partner_sku = 'B'").await;
    banyan.until_books("A", (5, 2)).await;
    banyan.until_books("D", (7, 0)).await;
    banyan.until_books("B", (0, 0)).await;

    banyan.to(Phase::Lead).await;
    let reservation = banyan.reserve("A", 3).await.expect("three are free");
    assert!(banyan.reserve("A", 1).await.is_err());
    shop.until_row("A", (5, 5)).await;
    shop.tell("allocate", &format!("{{\"reservation\": \"{reservation}\"}}")).await;
    shop.tell("ship", r#"{"sku": "A", "quantity": 2, "location": "1"}"#).await;
    shop.until_row("A", (3, 3)).await;
    shop.tell("deallocate", r#"{"sku": "A", "quantity": 1, "location": "1"}"#).await;
    shop.until_row("A", (3, 2)).await;
    shop.tell("count", r#"{"sku": "A", "on_hand": 10, "location": "1"}"#).await;
    shop.until_row("A", (10, 2)).await;
    assert_eq!(banyan.state().await.refused, 0);
    assert_eq!(banyan.state().await.breaches, 0, "nobody but us wrote: {:?}", banyan.view());

    // Somebody writes past everybody: noticed, and put right.
    shop.run("update stockrecord set num_in_stock = 77 where partner_sku = 'A'").await;
    until("the breach", async || (banyan.state().await.breaches == 1).then_some(())).await;
    shop.until_row("A", (10, 2)).await;
    // A change of another column is nobody's business.
    shop.run("update stockrecord set note = 'seen' where partner_sku = 'A'").await;
    let reservation = banyan.reserve("C", 1).await.expect("one");
    shop.until_row("C", (100, 11)).await;
    assert_eq!(banyan.state().await.breaches, 1);
    let compared = banyan.keeper.compare(false).await.expect("comparable");
    assert_eq!(compared, (303, 0));

    // One statement of the old shop over many rows is a transaction of many parts, none of which is ours to keep. (It stopped the
    // stream for good: the first part was passed over, and the second missed it.)
    shop.run("update stockrecord set note = 'repriced'").await;
    shop.run("update stockrecord set num_in_stock = num_in_stock + 1 where partner_sku like 'S%'").await;
    shop.tell("count", r#"{"sku": "D", "on_hand": 9, "location": "1"}"#).await;
    shop.until_row("D", (9, 0)).await;
    shop.until_row("S300", (4, 0)).await;

    // Retired and back: what happened meanwhile is in the old columns before they are relied upon again.
    banyan.to(Phase::Retired).await;
    let gone = banyan.reserve("A", 1).await.expect("Banyan goes on");
    assert_eq!(shop.row("A").await, Some((10, 2)), "the old columns are not kept");
    banyan.to(Phase::Lead).await;
    // (The writer reported its own side's move as trouble, and the next move was refused for it.)
    assert_eq!(banyan.view().trouble.outward, None);
    shop.until_row("A", (10, 3)).await;
    assert_eq!(banyan.view().trouble.outward, None);
    shop.tell("allocate", &format!("{{\"reservation\": \"{gone}\"}}")).await;
    shop.tell("count", r#"{"sku": "D", "on_hand": 8, "location": "1"}"#).await;
    shop.until_row("D", (8, 0)).await;
    let trouble = banyan.view().trouble;
    assert_eq!((trouble.inward, trouble.outward), (None, None), "the writer goes on with the new epoch");

    // Back: what is reserved is waited for, and the old shop's last word counts.
    shop.tell("allocate", &format!("{{\"reservation\": \"{reservation}\"}}")).await;
    shop.tell("ship", r#"{"sku": "C", "quantity": 5, "location": "1"}"#).await;
    banyan.to(Phase::Mirror).await;
    assert_eq!(shop.row("C").await, Some((95, 6)), "the old columns had everything before the old shop led");
    shop.run("update stockrecord set num_allocated = 7 where partner_sku = 'C'").await;
    banyan.until_books("C", (95, 7)).await;
    banyan.to(Phase::Legacy).await;
    assert_eq!(shop.number("select count(*) from pg_replication_slots").await, 0, "nothing is kept for us");
    let _desk = banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_in_flight_are_waited_for_and_none_is_decided_twice() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    let banyan = Banyan::beside(&shop);
    banyan.to(Phase::Mirror).await;
    // An order of the old shop: it has the lock, has read the phase, and has not written yet.
    let order = session(&shop.server.url()).await;
    order
        .batch_execute("begin; select pg_advisory_xact_lock_shared(hashtext('banyan:stock'))")
        .await
        .expect("the order begins");
    let _compared = banyan.keeper.compare(true).await.expect("comparable");
    let by = Actor::new("op").expect("a name");
    banyan.keeper.begin(Phase::Lead, by, "a test", &[]).await.expect("begun");
    until("the move to wait for the order", async || {
        let status = banyan.keeper.status().await.expect("it runs");
        status.stage.filter(|why| why.contains("order in flight"))
    })
    .await;
    assert_eq!(banyan.state().await.phase, Phase::Mirror);
    order
        .batch_execute("update stockrecord set num_allocated = 3 where partner_sku = 'A'; commit")
        .await
        .expect("the order ends");
    until("Banyan to lead", async || (banyan.state().await.phase == Phase::Lead).then_some(())).await;
    assert_eq!(banyan.books("A").await, Some((5, 3)), "the order counts");
    assert!(banyan.reserve("A", 3).await.is_err());
    banyan.reserve("A", 2).await.expect("two are left");
    let _desk = banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_gone_means_copying_by_difference() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.add("B", 6, 0).await;
    let banyan = Banyan::beside(&shop);
    banyan.to(Phase::Mirror).await;
    let desk = banyan.stop().await;
    until("the slot to be free", async || {
        let dropped = shop.client.execute("select pg_drop_replication_slot('banyan_stock')", &[]).await;
        dropped.is_ok().then_some(())
    })
    .await;
    // What happened meanwhile is in no stream.
    shop.run("update stockrecord set num_in_stock = 50 where partner_sku = 'A'").await;
    shop.run("delete from stockrecord where partner_sku = 'B'").await;
    let before = desk.look(banyan_domain::State::seq).await.expect("it runs");
    let mapping = mapping("");
    let banyan = Banyan::keep(&desk, Arc::new(shop.database(&mapping)), mapping);
    banyan.until_books("A", (50, 0)).await;
    banyan.until_books("B", (0, 0)).await;
    let events = desk.look(banyan_domain::State::seq).await.expect("it runs") - before;
    assert!(events < 20, "only what differed became events: {events}");
    let _desk = banyan.stop().await;
}
