//! Digests of ranges: as of the rows that are read, whatever is in them; and what they save.

use crate::moving::beside;
use crate::shop::Shop;
use banyan_domain::legacy::Phase;
use banyan_legacy::{Mapping, OldDatabase, PageKey, reconcile::Reconciler};
use banyan_legacy_testkit::conformance::digests_are_of_the_rows;
use banyan_testkit::PostgresOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_that_of_the_rows_as_they_are_read() {
    let shop = Shop::open(PostgresOptions::default()).await;
    shop.run(
        "create table odd (a text not null, b smallint not null, code char(12), place uuid, units numeric(12, 0), sold smallint, \
         primary key (a, b)); \
         insert into odd select chr(97 + n % 5), n, case when n % 7 > 0 then 'K' || n end, \
         case when n % 6 > 0 then md5(n::text)::uuid end, nullif(n * 1000003 % 99991 - 5, 7), nullif(n % 4, 3) \
         from generate_series(1, 500) n; \
         insert into odd values ('é\t', 1, 'Käse', null, -3, null), ('''\"\\', 2, E'x\\ty', null, null, null)",
    )
    .await;
    let text = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"X\"\n[[table]]\nname = \"odd\"\nkey = [\"a\", \"b\"]\n\
         sku = \"code\"\nlocation = { column = \"place\" }\nin_stock = \"units\"\nallocated = \"sold\"\n";
    let two = Arc::new(Mapping::read(text, Path::new(".")).expect("well-formed"));
    let text = text.replace("allocated = \"sold\"\n", "").replace("{ column = \"place\" }", "\"main\"");
    let one = Arc::new(Mapping::read(&text, Path::new(".")).expect("well-formed"));
    for mapping in [two, one] {
        let database = shop.database(&mapping);
        let end = PageKey(vec!["e".into(), "499".into()]);
        let (ranges, digests) = digests_are_of_the_rows(&database, 502, end).await;
        shop.run("update odd set units = coalesce(units, 0) + 1 where a = 'c' and b = 402").await;
        let after = database.digest_ranges(0, &ranges, 1_000).await.expect("an answer").expect("digests");
        let changed: Vec<bool> = (0..4).map(|at| after.of[at].digest != digests.of[at].digest).collect();
        assert_eq!(
            changed.iter().filter(|changed| **changed).count(),
            2,
            "the whole and one part: {changed:?}"
        );
    }
}

/// Says how long it took as well: `BANYAN_ROWS=100000 cargo test -p banyan-legacy --features postgres --test postgres comparing --
/// --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_read_once_and_digested_from_then_on() {
    let count: usize = std::env::var("BANYAN_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let (shop, _consented) = Shop::ready().await;
    shop.run(&format!(
        "insert into stockrecord (partner_sku, num_in_stock, num_allocated) \
         select 'SKU-' || n, n % 500, n % 7 from generate_series(1, {count}) n; analyze stockrecord"
    ))
    .await;
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    // Nobody follows any more: what differs stays so.
    banyan.stop().await;
    banyan.progress.applied(u64::MAX);
    let (database, mapping) = (banyan.database.clone(), banyan.mapping.clone());
    let compares = Reconciler::new(banyan.desk.clone(), database, mapping, banyan.progress.clone());
    for what in ["read", "digested", "digested", "digested"] {
        let begun = Instant::now();
        let report = compares.pass(false).await.expect("compared");
        let took = begun.elapsed();
        let by_digest = if what == "read" { 0 } else { count as u64 };
        assert_eq!((report.rows, report.differing, report.by_digest), (count as u64, 0, by_digest));
        println!("{what}: {count} rows in {took:.2?}, {:.0} rows/s", count as f64 / took.as_secs_f64());
    }
    shop.run("update stockrecord set num_allocated = 8 where partner_sku = 'SKU-1234'").await;
    let report = compares.pass(false).await.expect("compared");
    assert_eq!((report.differing, report.by_digest), (1, count as u64 - 1_000), "one range is read");
}
