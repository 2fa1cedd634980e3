//! Digests of ranges: as of the rows that are read, whatever is in them; and what they save.

use crate::shop::{Shop, mapping};
use banyan_domain::legacy::{Capability, Command, MirrorRow, MoveStep, Phase, SourceBatch, SourceId};
use banyan_domain::{Actor, LocationId, Reason, SkuId};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{
    Desk, KeyRange, Mapping, OldDatabase, PageKey, Progress, digest_of, reconcile::Reconciler,
};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
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
        let page = database.read_page(0, None, 200).await.expect("rows");
        let middle = page.next.clone().expect("there are more");
        let end = PageKey(vec!["e".into(), "499".into()]);
        let ranges = [
            KeyRange::default(),
            KeyRange { after: None, until: Some(middle.clone()) },
            KeyRange { after: Some(middle.clone()), until: Some(end.clone()) },
            KeyRange { after: Some(end), until: None },
        ];
        let digests = database.digest_ranges(0, &ranges, 1_000).await.expect("an answer").expect("digests");
        let mut rows = 0;
        for (range, digest) in ranges.iter().zip(&digests.of) {
            let read = database.read_range(0, range, 1_000).await.expect("rows").rows;
            assert_eq!((digest.rows, &digest.digest), (read.len() as u64, &digest_of(&read)), "{range:?}");
            rows += digest.rows;
        }
        assert_eq!((digests.of[0].rows, rows), (502, 2 * 502), "the ranges are the whole");
        assert_eq!(digests.of[1].digest, digest_of(&page.rows));
        let grown = database.digest_ranges(0, &ranges[..1], 501).await.expect("an answer").expect("digests");
        assert_ne!(grown.of[0], digests.of[0], "a range that has grown too large differs");
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
    const STOCK: Capability = Capability::Stock;
    let count: usize = std::env::var("BANYAN_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let shop = Shop::open(PostgresOptions::default()).await;
    shop.run(&format!(
        "insert into stockrecord (partner_sku, num_in_stock, num_allocated) \
         select 'SKU-' || n, n % 500, n % 7 from generate_series(1, {count}) n; analyze stockrecord"
    ))
    .await;
    let disk = DiskOptions { segment_bytes: 64 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
    let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
    let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
    let shard = Shard::spawn(started.expect("it starts"), Box::new(DirectReplies), ShardOptions::default());
    let desk = Desk::new(shard.expect("threads"));
    let ask = async |command: Command| desk.ask(command).await.expect("done");
    let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("a test").expect("a reason"));
    ask(Command::BeginMove {
        capability: STOCK,
        from: None,
        to: Phase::Mirror,
        by,
        reason: reason.clone(),
        without: vec![],
    })
    .await;
    for step in [MoveStep::Checked, MoveStep::Prepared] {
        ask(Command::NoteMove { capability: STOCK, number: 1, step, note: reason.clone() }).await;
    }
    let source = SourceId { system: "s".into(), stream: "banyan".into() };
    ask(Command::SetSource { capability: STOCK, source: source.clone(), position: 1 }).await;
    let row = |n: usize| MirrorRow {
        sku: SkuId::new(format!("SKU-{n}").as_str()).expect("a SKU"),
        location: LocationId::new("1").expect("a place"),
        in_stock: (n % 500) as i64,
        allocated: (n % 7) as i64,
    };
    let rows: Vec<MirrorRow> = (1..=count).map(row).collect();
    for (part, rows) in (1..).zip(rows.chunks(banyan_domain::limits::SOURCE_ROWS_MAX)) {
        let (source, rows) = (source.clone(), rows.to_vec());
        let batch = SourceBatch {
            capability: STOCK,
            source,
            position: 1,
            part,
            rows,
            outbox: vec![],
            switched: None,
        };
        ask(Command::ApplySource(Box::new(batch))).await;
    }
    ask(Command::EndCopy { capability: STOCK }).await;
    let mapping = mapping("");
    let progress = Arc::new(Progress::default());
    progress.applied(u64::MAX);
    let database: Arc<dyn OldDatabase> = Arc::new(shop.database(&mapping));
    let compares = Reconciler::new(desk.clone(), database, mapping, progress);
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
