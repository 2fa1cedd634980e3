//! Everything that the tests of the old shop need, started privately: Postgres, the shop, and a Banyan beside it.

#![cfg_attr(
    not(feature = "legacy"),
    allow(dead_code, reason = "the whole way needs the clients of old databases")
)]

use crate::support::{Http, PATIENCE, Reply, Server, run_well, text, until};
use banyan_testkit::oscar::{ADMINISTRATOR, DATABASE, Visitor};
use banyan_testkit::{Oscar, OscarOptions, Postgres, free_port};
use serde_json::Value;
use std::net::SocketAddr;
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
    let settings = [
        ("BANYAN_PLUGIN", "1"),
        ("BANYAN_URL", url),
        ("BANYAN_KEY_FILE", text(key_file)),
        ("BANYAN_READS", &reads.join(",")),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    OscarOptions { settings: settings.into(), ..OscarOptions::default() }
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

/// The whole way: a Banyan with the gateway in front of the shop, and the mapping of its stock.
pub(crate) struct Way {
    server: Server,
    gateway: SocketAddr,
    key: PathBuf,
    mapping: PathBuf,
    _folder: TempDir,
}

/// What a member of the shop's staff does, in the shop's own words. Its functions find orders by SKU.
const STAFF: &str = "
from oscar.core.loading import get_class, get_model
from django.db import transaction
handler = get_class('order.processing', 'EventHandler')()
def order(sku, index):
    return get_model('order', 'Line').objects.filter(partner_sku=sku).order_by('id')[index].order
def ship(sku, index):
    placed = order(sku, index)
    lines = list(placed.lines.all())
    shipped = get_model('order', 'ShippingEventType').objects.get(name='Shipped')
    handler.handle_shipping_event(placed, shipped, lines, [line.quantity for line in lines])
def cancel(sku, index):
    handler.handle_order_status_change(order(sku, index), 'Cancelled')
def count(sku, units):
    record = get_model('partner', 'StockRecord').objects.get(partner_sku=sku)
    record.num_in_stock = units
    record.save()
";

impl Stand {
    /// Puts the plugin in, with these references reading from Banyan.
    pub(crate) fn put_plugin_in(&mut self, way: &Way, reads: &[&str]) {
        let options = plugin_options(&format!("http://{}", way.server.address), &way.key, reads);
        self.oscar.restart(&options).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Does something of [`STAFF`] with the plugin in.
    pub(crate) fn in_the_shop(&self, way: &Way, what: &str) {
        let options = plugin_options(&format!("http://{}", way.server.address), &way.key, &[]);
        let script = format!("{STAFF}\n{what}\n");
        let done = self.oscar.manage(&options, &[], &["shell", "-v0", "-c", &script], PATIENCE);
        done.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

impl Way {
    /// Starts it in front of the shop: every page is the shop's, and `/v1/campaigns` is Banyan's.
    pub(crate) fn start(stand: &Stand) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let binary = Path::new(env!("CARGO_BIN_EXE_banyan"));
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let url = format!("postgres://postgres@127.0.0.1:{}/{DATABASE}", stand.postgres.port());
        write("legacy.url", &url);
        let mapping = std::fs::read_to_string(project().join("stock.toml")).expect("the example's mapping");
        assert!(mapping.contains("url_env = \"LEGACY_URL\""), "the address comes from a file here");
        let mapping =
            write("stock.toml", &mapping.replace("url_env = \"LEGACY_URL\"", "url_file = \"legacy.url\""));
        let port = free_port().expect("a free port");
        let routes = std::fs::read_to_string(project().join("gateway.toml")).expect("the example's routes");
        let routes = routes.replace("127.0.0.1:8088", &format!("127.0.0.1:{port}"));
        assert!(routes.contains("http://127.0.0.1:8000"), "the shop's address comes from here");
        let routes = routes.replace("http://127.0.0.1:8000", &stand.oscar.url());
        let routes = write("gateway.toml", &routes);
        let more = ["--gateway", text(&routes), "--legacy", text(&mapping), "--legacy-quiet", "15"];
        let server = Server::start(binary, &folder.path().join("data"), &more);
        let made = run_well(binary, &["key", "create", "--role", "service", "--data", text(&server.data)]);
        let key = write("service.key", made.trim());
        let gateway = SocketAddr::from(([127, 0, 0, 1], port));
        until("the gateway is there", || std::net::TcpStream::connect(gateway).ok());
        Self { server, gateway, key, mapping, _folder: folder }
    }

    /// Where shoppers go.
    pub(crate) fn shop(&self) -> String {
        format!("http://{}", self.gateway)
    }

    /// The operator, coming through the gateway.
    pub(crate) fn through_the_gateway(&self) -> Http {
        Http::with_key(self.gateway, &self.server.operator_key())
    }

    /// The warehouse looks at the shop's pages, through the gateway.
    pub(crate) fn the_warehouse_looks(&self) {
        let page =
            self.through_the_gateway().send("GET", "/catalogue/", &[("banyan-caller", "warehouse")], b"");
        assert_eq!(page.expect("an answer").status, 200);
    }

    /// A marketplace asks the shop's feed, through the gateway, how much of a SKU can be sold.
    #[track_caller]
    pub(crate) fn the_marketplace_asks(&self, sku: &str) -> Value {
        let path = format!("/feeds/stock/{sku}");
        // It has no key of anybody: the shop asks for none.
        let asked = Http::to(self.gateway).send("GET", &path, &[("banyan-caller", "marketplace")], b"");
        asked.expect("an answer").expect(200)
    }

    /// Who still touches the old columns.
    pub(crate) fn references(&self) -> Value {
        self.server.operator().get("/v1/legacy/stock/references").expect("an answer").expect(200)
    }

    /// A gate of a move.
    pub(crate) fn gate(&self, to: &str, name: &str) -> Value {
        let plan = self.server.operator().get(&format!("/v1/legacy/stock/plan?to={to}"));
        let plan: Value = plan.expect("an answer").expect(200);
        let gates = plan["gates"].as_array().cloned().unwrap_or_default();
        gates.into_iter().find(|gate| gate["gate"] == name).unwrap_or_else(|| panic!("no {name}: {plan}"))
    }

    /// Makes the tables of ours in the shop's database.
    pub(crate) fn create_bookkeeping(&self) {
        self.command(&["legacy", "check", text(&self.mapping), "--create"]);
    }

    /// Moves stock one phase on or back, and waits until it is done.
    #[track_caller]
    pub(crate) fn moves_to(&self, phase: &str) {
        let url = format!("http://{}", self.server.address);
        let data = text(&self.server.data);
        self.command(&["legacy", "move", phase, "--reason", "the story", "--url", &url, "--data", data]);
        assert_eq!(self.status()["phase"], phase);
    }

    /// Where stock stands.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.server.operator().get("/v1/legacy/stock").expect("an answer").expect(200)
    }

    /// Asks Banyan itself to reserve.
    pub(crate) fn reserve(&self, key: &str, wanted: &Value) -> Reply {
        let body = wanted.to_string();
        let asked = self.server.operator().send(
            "POST",
            "/v1/stock/reservations",
            &[("idempotency-key", key)],
            body.as_bytes(),
        );
        asked.expect("an answer")
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, so: impl Fn() -> bool) {
        until(what, || so().then_some(()));
    }

    /// Waits until Banyan has an item of the shop so.
    #[track_caller]
    pub(crate) fn until_item(&self, sku: &str, on_hand: i64, held: i64, allocated: i64) {
        let mut http = self.server.operator();
        until(&format!("{sku}: {on_hand} on hand, {held} held, {allocated} allocated"), || {
            let item = http.get(&format!("/v1/stock/{sku}")).expect("an answer");
            let item = (item.status == 200).then(|| item.json())?;
            let place = &item["locations"][0];
            let of = |name: &str| place[name].as_i64().unwrap_or(0);
            ((of("on_hand"), of("held"), of("allocated")) == (on_hand, held, allocated)).then_some(())
        });
    }

    /// Waits until a comparison finds both sides equal.
    #[track_caller]
    pub(crate) fn until_equal(&self, stand: &Stand) {
        let rows = stand.sql("select count(*) from partner_stockrecord").parse::<u64>().expect("a count");
        let mut http = self.server.operator();
        until("both sides are equal", || {
            let compared = http.post("/v1/legacy/stock/reconcile", &Value::Null).expect("an answer");
            let compared = (compared.status == 200).then(|| compared.json())?;
            (compared["differing"] == 0 && compared["rows"].as_u64() == Some(rows)).then_some(())
        });
    }

    /// Goes on using the shop until nobody has touched the old columns for the quiet time.
    #[track_caller]
    pub(crate) fn until_nobody_is_left(&self, use_it: impl Fn()) {
        until("nobody touches the old columns", || {
            use_it();
            (self.status()["references_left"] == 0).then_some(())
        });
    }

    /// Stops cleanly, and the books are right.
    pub(crate) fn ends_well(self) {
        let data = self.server.data.clone();
        let told = self.server.stop();
        assert!(!told.contains("panicked") && !told.contains("ERROR"), "{told}");
        run_well(Path::new(env!("CARGO_BIN_EXE_banyan")), &["verify", "--data", text(&data)]);
    }

    #[track_caller]
    fn command(&self, args: &[&str]) {
        run_well(Path::new(env!("CARGO_BIN_EXE_banyan")), args);
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
