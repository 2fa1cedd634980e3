//! Everything that the tests of the old shop need, started privately: Postgres, the shop, and a Banyan beside it.

use crate::support::{Server, run_well, text, until};
use banyan_testkit::oscar::{ADMINISTRATOR, DATABASE, Plugin, Visitor};
use banyan_testkit::{Oscar, OscarOptions, Postgres};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The old shop on its Postgres.
pub(crate) struct Stand {
    pub(crate) oscar: Oscar, // before Postgres: its connections are gone first
    pub(crate) postgres: Postgres,
}

/// A Banyan with a key for the shop.
pub(crate) struct Banyan {
    pub(crate) server: Server,
    key: PathBuf,
    _folder: TempDir,
}

/// The bookkeeping tables as `banyan legacy check --create` makes them, for tests that do without it.
const BOOKKEEPING: &str = "
    create table banyan_sync (capability text primary key, phase text not null, epoch bigint not null, seq bigint not null,
        move bigint not null, changed_at timestamptz not null default now());
    create table banyan_outbox (id bigserial primary key, capability text not null, kind text not null, body jsonb not null,
        made_at timestamptz not null default now());";

/// The shop's project in the repository.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/oscar")
        .canonicalize()
        .expect("the example is there")
}

/// The shop with its plugin in.
pub(crate) fn plugin_options(url: &str, key_file: &Path, reads: &[&str]) -> OscarOptions {
    let reads = reads.iter().map(|name| (*name).to_owned()).collect();
    let plugin = Plugin { url: url.to_owned(), key_file: key_file.to_owned(), reads };
    OscarOptions { plugin: Some(plugin), ..OscarOptions::default() }
}

impl Stand {
    /// A seeded shop without the plugin.
    pub(crate) fn start() -> Self {
        let postgres = Postgres::start(&Oscar::postgres_options()).expect("Postgres");
        let oscar = Oscar::start(&project(), &postgres, &OscarOptions::default());
        Self { oscar: oscar.unwrap_or_else(|error| panic!("{error}")), postgres }
    }

    /// A Banyan beside the shop.
    pub(crate) fn banyan(&self) -> Banyan {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let binary = Path::new(env!("CARGO_BIN_EXE_banyan"));
        let server = Server::start(binary, &folder.path().join("data"), &[]);
        let made = run_well(binary, &["key", "create", "--role", "service", "--data", text(&server.data)]);
        let key = folder.path().join("service.key");
        std::fs::write(&key, made.trim()).expect("written");
        let mut http = server.http(made.trim());
        until("the server takes the key", || {
            (http.get("/v1/stock").expect("an answer").status == 200).then_some(())
        });
        Banyan { server, key, _folder: folder }
    }

    /// Makes the bookkeeping tables and says who leads, by hand.
    pub(crate) fn by_hand(&self, phase: &str) {
        self.sql(BOOKKEEPING);
        self.sql(&format!("insert into banyan_sync values ('stock', '{phase}', 1, 0, 1)"));
    }

    /// Rows of a statement in the shop's database, as text.
    #[track_caller]
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.postgres.query(DATABASE, statement).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The number of the product with that SKU.
    #[track_caller]
    pub(crate) fn product(&self, sku: &str) -> u64 {
        let id = self.sql(&format!("select product_id from partner_stockrecord where partner_sku = '{sku}'"));
        id.parse().unwrap_or_else(|_| panic!("no product {sku}: {id:?}"))
    }

    /// `num_in_stock` and `num_allocated`.
    #[track_caller]
    pub(crate) fn row(&self, sku: &str) -> (Option<i64>, Option<i64>) {
        let row = self.sql(&format!(
            "select num_in_stock, num_allocated from partner_stockrecord where partner_sku = '{sku}'"
        ));
        let (there, allocated) = row.split_once('|').unwrap_or_else(|| panic!("no row of {sku}: {row:?}"));
        (there.parse().ok(), allocated.parse().ok())
    }

    /// Units of the SKU in orders.
    #[track_caller]
    pub(crate) fn ordered(&self, sku: &str) -> i64 {
        let units = self
            .sql(&format!("select coalesce(sum(quantity), 0) from order_line where partner_sku = '{sku}'"));
        units.parse().unwrap_or_else(|_| panic!("no sum: {units:?}"))
    }

    /// The administrator, signed in to the dashboard.
    pub(crate) fn administrator(&self) -> Visitor {
        let mut visitor = Visitor::at(&self.oscar.url()).expect("an address");
        visitor.get("/dashboard/login/").expect("a page");
        let password = self.oscar.password().expect("a password");
        let fields = [("username", ADMINISTRATOR), ("password", &password), ("next", "/dashboard/")];
        let page = visitor.post("/dashboard/login/", &fields).expect("a page");
        assert_eq!((page.status, page.path.as_str()), (200, "/dashboard/"), "{:?}", page.alerts());
        visitor
    }
}

impl Banyan {
    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The file with the shop's key.
    pub(crate) fn service_key(&self) -> &Path {
        &self.key
    }

    /// Ends it.
    pub(crate) fn stop(self) {
        self.server.stop();
    }
}
