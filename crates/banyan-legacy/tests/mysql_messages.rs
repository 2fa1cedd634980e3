//! What the old shop says on a real MariaDB, beside a real shard: taken in once, wherever Banyan is cut off.

mod maria;

use banyan_domain::legacy::{Capability, Command, Phase};
use banyan_legacy::mysql::Mysql;
use banyan_legacy::{
    Book, BoxFuture, ChangeStream, Finding, Hold, Item, LegacyError, OldDatabase, Page, PageKey, SourceId,
    SqlReference, StreamHealth, TargetRow, Written,
};
use banyan_legacy_testkit::{Banyan, Running, until};
use banyan_testkit::MariaDbOptions;
use maria::Shop;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

impl Cut {
    fn of(shop: &Shop, cuts: bool) -> Arc<Self> {
        let server = Mysql::at(shop.mapping.clone(), &shop.server.url()).expect("an address");
        Arc::new(Self { server, together: AtomicBool::new(cuts), cuts: AtomicBool::new(cuts) })
    }
}

/// Runs the stream in as a process does that knows nothing of those before it.
fn follow(banyan: &Banyan, database: Arc<Cut>) -> Running {
    let mut banyan = banyan.remembering_nothing();
    banyan.database = database;
    banyan.follows_in()
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
    let banyan = Banyan::beside(Cut::of(&shop, false), shop.mapping.clone());
    let books = async || banyan.books("A", "main").await;
    banyan.begins(Phase::Mirror).await;
    let running = follow(&banyan, Cut::of(&shop, false));
    let is_copied = async || banyan.state().await.source.is_some_and(|source| !source.copying);
    until("the copy", is_copied).await;
    banyan.ask(Command::FinishMove { capability: Capability::Stock, number: 1 }).await;
    banyan.begins(Phase::Lead).await;
    shop.sql("update banyan_sync set phase = 'lead', epoch = 2, move = 2");
    until("the lead", async || banyan.state().await.phase == Phase::Lead).await;
    running.stop().await;

    for _ in 0..2 {
        ship_one(&shop);
    }
    let running = follow(&banyan, Cut::of(&shop, true));
    until("both messages", async || books().await == Some((7, 7))).await;
    ship_one(&shop);
    until("the next one", async || books().await == Some((6, 6))).await;
    let left = |ids: &str| shop.sql(&format!("select count(*) from banyan_outbox where id {ids}"));
    until("it is deleted", async || left("= 3") == "0").await;
    assert_eq!(left("< 3"), "0", "and so are those before it");
    running.stop().await;

    // The log is gone, and what is left in the outbox would be taken in with the copy.
    let before = banyan.state().await.source.expect("a stream").id;
    shop.sql("reset master");
    let running = follow(&banyan, Cut::of(&shop, false));
    until("another copy", async || {
        banyan.state().await.source.is_some_and(|source| source.id != before && !source.copying)
    })
    .await;
    assert_eq!(books().await, Some((6, 6)));
    assert_eq!(banyan.state().await.refused, 0);
    running.stop().await;
}
