//! A double of an old database as far as a keeper asks it, and parts of the sync that bring every move to its end.

use super::Store;
use banyan_domain::legacy::{Capability, Command, MirrorRow, MoveStep, Phase, SourceBatch, SourceId};
use banyan_domain::{LocationId, Reason, SkuId};
use banyan_legacy::{
    Book, BoxFuture, ChangeStream, Comparer, Desk, Door, Finding, Halt, Hold, Keeper, KeeperOptions,
    LegacyError, Mapping, NoRoutes, OldDatabase, Page, PageKey, Parts, Progress, SourceId as StreamSource,
    SqlReference, StreamHealth, Switch, Switched, TargetRow, Written,
};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

const STOCK: Capability = Capability::Stock;
const LOOK: Duration = Duration::from_millis(5);

/// What the old database has, and what a test says it finds.
pub struct OldShop(Mutex<Inner>);

struct Inner {
    book: Option<Book>,
    position: u64,
    untold: Vec<(u64, Book)>,
    findings: Vec<Finding>,
    /// Differing rows that the next comparison finds.
    differing: u64,
    references: Vec<SqlReference>,
}

impl OldShop {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics with it")
    }

    /// What the preflight finds from now on.
    pub fn finds(&self, findings: Vec<Finding>) {
        self.inner().findings = findings;
    }

    /// Rows that the next comparison finds to differ.
    pub fn differ(&self, rows: u64) {
        self.inner().differing = rows;
    }

    /// Somebody uses a statement.
    pub fn used(&self, caller: &str, statement: &str, calls: u64) {
        let (caller, statement) = (caller.to_owned(), statement.to_owned());
        self.inner().references.push(SqlReference { caller, statement, calls, rows: calls });
    }
}

/// Gives `store` a keeper of an old shop with two products.
pub fn keep(store: &Store) -> (Arc<Keeper>, Arc<OldShop>) {
    let shop = Arc::new(OldShop(Mutex::new(Inner {
        book: None,
        position: 0x16_B374_D848,
        untold: Vec::new(),
        findings: vec![Finding::ok("settings", "as they should be")],
        differing: 0,
        references: Vec::new(),
    })));
    let mapping = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"LEGACY_URL\"\nslot = \"banyan_stock\"\n\
        [[table]]\nname = \"public.partner_stockrecord\"\nkey = [\"id\"]\nsku = \"partner_sku\"\nlocation = \"main\"\n\
        in_stock = \"num_in_stock\"\nallocated = \"num_allocated\"\n";
    let mapping = Mapping::read(mapping, Path::new("/")).expect("a good mapping");
    let desk = Desk::new(store.app.shard().clone());
    let progress: Arc<Progress> = Arc::default();
    let with = || (desk.clone(), shop.clone(), progress.clone());
    let (inward, outward, comparer) = (with(), with(), with());
    let parts = Parts {
        inward: Box::new(move |stop| {
            let (desk, shop, progress) = inward.clone();
            Box::pin(follow(desk, shop, progress, stop))
        }),
        outward: Box::new(move |stop| {
            let (desk, _, progress) = outward.clone();
            Box::pin(write_out(desk, progress, stop))
        }),
        comparer: Arc::new(Compares(comparer.0, comparer.1)),
    };
    let keeper = Keeper::new(KeeperOptions {
        desk,
        database: Arc::new(Database(shop.clone())),
        mapping: Arc::new(mapping),
        progress,
        parts,
        routes: Arc::new(NoRoutes),
        quiet_for: Duration::from_secs(7 * 86_400),
        compare_every: Duration::from_secs(3_600),
    });
    tokio::spawn(keeper.clone().run(store.stop.subscribe()));
    store.app.set_keeper(keeper.clone());
    (keeper, shop)
}

/// The stream in: copies, then tells what the bookkeeping row became.
async fn follow(
    desk: Desk,
    shop: Arc<OldShop>,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) -> Halt {
    let source = SourceId { system: "7312001".into(), stream: "banyan_stock".into() };
    progress.inward(true, None);
    while !*stop.borrow() {
        let Ok(state) = desk.look(|state| state.legacy().capability(STOCK)).await else { break };
        if state.source.is_none() && state.has_noted(MoveStep::Prepared) {
            let position = shop.inner().position;
            let set = Command::SetSource { capability: STOCK, source: source.clone(), position };
            let rows = vec![row("mug-white", 240, 3), row("tea-sejak", 12, 14)];
            ask(&desk, set).await;
            ask(&desk, batch(&source, position, rows, None)).await;
            ask(&desk, Command::EndCopy { capability: STOCK }).await;
            progress.took(2, Some(38));
        }
        let untold = std::mem::take(&mut shop.inner().untold);
        for (position, book) in untold {
            ask(&desk, batch(&source, position, Vec::new(), Some((book.move_no, book.phase)))).await;
        }
        let position = shop.inner().position;
        progress.heard(position, banyan_engine::wall_clock().as_millis());
        progress.applied(position);
        let _stopped = tokio::time::timeout(LOOK, stop.changed()).await;
    }
    progress.inward(false, None);
    Halt::Stopped
}

async fn write_out(desk: Desk, progress: Arc<Progress>, mut stop: watch::Receiver<bool>) -> Halt {
    progress.outward(true, None);
    while !*stop.borrow() {
        let Ok(seq) = desk.look(banyan_domain::State::seq).await else { break };
        progress.wrote(seq, 1, 12);
        let _stopped = tokio::time::timeout(LOOK, stop.changed()).await;
    }
    progress.outward(false, None);
    Halt::Stopped
}

async fn ask(desk: &Desk, command: Command) {
    desk.ask(command).await.expect("the rules take it");
}

fn row(name: &str, in_stock: i64, allocated: i64) -> MirrorRow {
    let (sku, location) = (SkuId::new(name).expect("a SKU"), LocationId::new("main").expect("a location"));
    MirrorRow { sku, location, in_stock, allocated }
}

fn batch(source: &SourceId, position: u64, rows: Vec<MirrorRow>, switched: Option<(u64, Phase)>) -> Command {
    let (capability, source, outbox) = (STOCK, source.clone(), Vec::new());
    Command::ApplySource(Box::new(SourceBatch {
        capability,
        source,
        position,
        part: 1,
        rows,
        outbox,
        switched,
    }))
}

/// Notes a write by somebody else to what Banyan owns.
pub async fn breach(keeper_of: &Store, sku: &str, what: &str) {
    let desk = Desk::new(keeper_of.app.shard().clone());
    let command = Command::NoteBreach {
        capability: STOCK,
        sku: SkuId::new(sku).expect("a SKU"),
        location: LocationId::new("main").expect("a location"),
        what: Reason::new(what).expect("words"),
        position: 0x17_0000_0000,
        index: 0,
    };
    ask(&desk, command).await;
}

struct Compares(Desk, Arc<OldShop>);

impl Comparer for Compares {
    fn compare(&self, repair: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async move {
            let (differing, position) = {
                let mut inner = self.1.inner();
                (std::mem::take(&mut inner.differing), inner.position)
            };
            let repaired = if repair { differing } else { 0 };
            let note = Command::NoteReconciled { capability: STOCK, position, rows: 2, differing, repaired };
            ask(&self.0, note).await;
            Ok((2, differing - repaired))
        })
    }
}

struct HeldDoor {
    shop: Arc<OldShop>,
    position: u64,
}

impl Door for HeldDoor {
    fn position(&self) -> u64 {
        self.position
    }

    fn switch(self: Box<Self>, ask: Switch) -> BoxFuture<'static, Result<Switched, LegacyError>> {
        Box::pin(async move {
            let mut inner = self.shop.inner();
            let book = inner.book.expect("made by create");
            inner.position += 10;
            let new = Book { phase: ask.to, epoch: book.epoch + 1, move_no: ask.move_no, seq: book.seq };
            inner.book = Some(new);
            let position = inner.position;
            inner.untold.push((position, new));
            Ok(Switched::Done(new))
        })
    }
}

struct Database(Arc<OldShop>);

impl OldDatabase for Database {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { self.0.inner().findings.clone() })
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        let made = Book { phase: Phase::Legacy, epoch: 0, seq: 0, move_no: 0 };
        Box::pin(async move {
            self.0.inner().book.get_or_insert(made);
            Ok(vec!["publication banyan_stock".to_owned(), "slot banyan_stock".to_owned()])
        })
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(async { Ok(self.0.inner().book) })
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        Box::pin(async {
            let position = self.0.inner().position;
            Ok(Hold::Held(Box::new(HeldDoor { shop: self.0.clone(), position })))
        })
    }

    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        Box::pin(async { Ok(()) })
    }

    fn write<'a>(
        &'a self,
        _: &'a [TargetRow],
        _: u64,
        _: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        Box::pin(async { Ok(Written::Done { absent: Vec::new() }) })
    }

    fn stream<'a>(
        &'a self,
        _: Option<(StreamSource, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        unreachable!("the parts of this shop read no stream")
    }

    fn read_page<'a>(
        &'a self,
        _: usize,
        _: Option<&'a PageKey>,
        _: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("the parts of this shop read no rows")
    }

    fn read_items<'a>(
        &'a self,
        _: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        unreachable!("the parts of this shop read no rows")
    }

    fn position(&self) -> BoxFuture<'_, Result<u64, LegacyError>> {
        Box::pin(async { Ok(self.0.inner().position) })
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        Box::pin(async {
            let status = "reserved".to_owned();
            Ok(StreamHealth {
                retained_bytes: 18_874_368,
                safe_bytes: Some(4 << 30),
                status,
                active: true,
                faults: Vec::new(),
            })
        })
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        Box::pin(async { Ok(Some(self.0.inner().references.clone())) })
    }

    fn clear_outbox<'a>(&'a self, _: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        unreachable!("the parts of this shop clear nothing")
    }
}
