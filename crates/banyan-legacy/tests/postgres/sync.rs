//! Both sides kept in step through every phase, with a bad network and a server that dies.

use crate::shop::{Shop, mapping, session};
use banyan_domain::Actor;
use banyan_domain::legacy::Phase;
use banyan_legacy::OldDatabase;
use banyan_legacy::postgres::Postgres as OldPostgres;
use banyan_legacy_testkit::{Banyan, Kept, Numbers, seen, until};
use banyan_testkit::{PostgresOptions, TcpProxy, Way};
use std::collections::BTreeMap;
use std::sync::Arc;

mod lapsing;

const SKUS: i64 = 40;

/// Banyan beside the shop, which it reaches through a proxy.
struct World {
    shop: Shop,
    proxy: TcpProxy,
    banyan: Kept,
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
        let mapping = mapping("[watch]\nlag_millis_max = 60000\n");
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
        let database = OldPostgres::at(mapping.clone(), &url).expect("an address");
        let banyan = Banyan::beside(Arc::new(database), mapping).kept();
        Self { shop, proxy, banyan }
    }

    /// The old shop's server dies, and is started again.
    async fn crash_old_shop(&mut self) {
        self.shop.server.crash().expect("killed");
        self.shop.server.restart().expect("started");
        self.shop.client = session(&self.shop.server.url()).await;
    }

    async fn crash_banyan(&mut self) {
        self.banyan.kill().await;
        self.banyan.start_again();
    }

    /// Waits until both sides are equal without being put right, and gives the old table.
    async fn equal(&self) -> BTreeMap<String, Numbers> {
        seen("both sides are equal", async || {
            let compared = self.banyan.keeper().compare(false).await;
            let rows = self.rows().await;
            // Looked at once more by a way of its own: the comparison is not its own witness.
            let mut ours = self.banyan.all_books().await;
            ours.retain(|_, numbers| *numbers != (0, 0));
            let is_equal = compared.as_ref().is_ok_and(|(_, differing)| *differing == 0) && ours == rows;
            if is_equal { Ok(rows) } else { Err((compared, ours, rows, self.banyan.status().await)) }
        })
        .await
    }

    async fn rows(&self) -> BTreeMap<String, Numbers> {
        let sql = "select partner_sku, coalesce(num_in_stock, 0)::bigint, coalesce(num_allocated, 0)::bigint from stockrecord";
        let rows = self.shop.client.query(sql, &[]).await.expect("rows");
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
    }

    /// An order of the old shop while Banyan leads: reserved there, and told in the shop's own transaction.
    async fn order(&self, sku: &str) {
        let reservation = self.banyan.reserve(sku, 1).await.expect("it is there");
        self.shop.order(reservation).await;
    }

    /// A count of the old shop, which needs nobody to answer.
    async fn count(&self, sku: &str) {
        let body = format!("{{\"sku\": \"{sku}\", \"location\": \"1\", \"on_hand\": 99}}");
        self.shop.tell("count", &body).await;
    }

    async fn ship(&self, sku: &str) {
        let body = format!("{{\"sku\": \"{sku}\", \"location\": \"1\", \"quantity\": 1}}");
        self.shop.tell("ship", &body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_through_every_phase_with_kills_and_cuts_in_between() {
    let mut world = World::open().await;
    world.banyan.goes(Phase::Mirror).await;
    // The old shop leads: its writes arrive.
    for n in 0..200 {
        let sku = n % SKUS + 1;
        world.shop.run(&format!("update stockrecord set num_in_stock = num_in_stock + 1, num_allocated = num_allocated + 1 where partner_sku = 'S{sku}'")).await;
        match n {
            40 => world.proxy.cut(),
            80 => world.proxy.cut_after(Way::ToClient, 700),
            120 => world.crash_banyan().await,
            160 => world.crash_old_shop().await,
            _ => {}
        }
    }
    let rows = world.equal().await;
    assert!(rows.values().all(|numbers| *numbers == (105, 5)), "{rows:?}");

    world.banyan.goes(Phase::Lead).await;
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
            90 => world.crash_banyan().await,
            120 => world.crash_old_shop().await,
            _ => {}
        }
    }
    world.shop.run("insert into stockrecord (partner_sku, num_in_stock) values ('NEW', 9)").await;
    world.banyan.until("every foreign write is noticed", |now| now.state.breaches >= foreign).await;
    let rows = world.equal().await;
    assert_eq!(rows.get("NEW"), Some(&(9, 0)), "a new item of the old shop");
    // Four orders an item; of the items with an even place, all were shipped, of the others none.
    for n in 0..SKUS {
        let shipped = if n % 2 == 0 { 4 } else { 0 };
        assert_eq!(rows[&format!("S{}", n + 1)], (105 - shipped, 9 - shipped), "S{}", n + 1);
    }
    let state = world.banyan.state().await;
    assert_eq!((state.breaches, state.refused), (foreign, 0), "every write of others, and none of ours");
    assert_eq!(world.shop.number("select count(*) from banyan_outbox").await, 0);

    // A slot that is lost while nobody looks: by difference again, and the outbox that it would have told.
    world.banyan.kill().await;
    let drop_slot = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active";
    until("the slot is gone", async || {
        world.shop.run(drop_slot).await;
        world.shop.number("select count(*) from pg_replication_slots").await == 0
    })
    .await;
    world.ship("S2").await;
    world.banyan.start_again();
    until("what was left in the outbox is taken in", async || world.equal().await["S2"] == (104, 8)).await;

    world.banyan.goes(Phase::Mirror).await;
    world.shop.run("update stockrecord set num_in_stock = 50 where partner_sku = 'S1'").await;
    world.shop.run("delete from stockrecord where partner_sku = 'NEW'").await;
    until("the old shop leads again", async || {
        world.equal().await.get("S1").map(|numbers| numbers.0) == Some(50)
    })
    .await;
    world.banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retired_lives_on_without_the_columns_and_goes_back_only_with_them() {
    let mut world = World::open().await;
    for to in [Phase::Mirror, Phase::Lead, Phase::Retired] {
        world.banyan.goes(to).await;
    }
    world.shop.run("alter table stockrecord drop column num_in_stock, drop column num_allocated").await;
    world.shop.run("update stockrecord set note = 'no stock here any more'").await;
    world.order("S1").await;
    // Also after a start.
    world.banyan.kill().await;
    world.count("S2").await;
    world.banyan.start_again();
    world.order("S3").await;
    world.ship("S3").await;
    seen("all that was told is here", async || {
        let ours = world.banyan.all_books().await;
        let told = (ours["S1"], ours["S2"], ours["S3"]);
        if told == ((100, 1), (99, 0), (99, 0)) { Ok(()) } else { Err(told) }
    })
    .await;
    let actor = Actor::new("test").expect("a name");
    let refused =
        world.banyan.keeper().begin(Phase::Lead, actor, "too early", &[]).await.expect_err("no columns");
    assert!(refused.to_string().contains("there is no such column"), "{refused}");
    world
        .shop
        .run("alter table stockrecord add column num_in_stock integer, add column num_allocated integer")
        .await;
    world.banyan.goes(Phase::Lead).await;
    let rows = world.equal().await;
    assert_eq!((rows["S1"], rows["S2"], rows["S4"]), ((100, 1), (99, 0), (100, 0)));
    // And what others write to the columns that came back is noticed.
    let breaches = world.banyan.state().await.breaches;
    world.shop.run("update stockrecord set num_in_stock = 1 where partner_sku = 'S4'").await;
    world.banyan.until("it is noticed", |now| now.state.breaches > breaches).await;
    assert_eq!(world.equal().await["S4"], (100, 0));
}
