//! The operator's console at `/console`: how the sale is doing, and the few things an operator may change.
//!
//! Pages are made on the server and work without JavaScript; a small script adds what moves. One sampler measures the
//! shard once a second for every viewer, one thread keeps the operators' actions of the log in memory.
//!
//! What it deliberately is not: it has no rule of the shop and no storage of its own. What it changes goes through
//! the shard like any API request, under the name of the key that signed in; what it shows comes from the shard's
//! summary, the log and the record store. It fetches nothing from anywhere else.
//!
//! Start reading at [`router`]; then `gate.rs` (who gets in), `sampler.rs` (what moves), `layout.rs` (what every page
//! has), and one file for each page in `pages/`. Every sentence that a person reads is in `text.rs`.

mod assets;
mod format;
mod forms;
mod gate;
mod journal;
mod kept;
mod layout;
mod link;
mod live;
mod log_pages;
mod pages;
mod parts;
mod sampler;
mod session;
#[cfg(feature = "gateway")]
mod sides;
mod steps;
mod text;
#[cfg(feature = "gateway")]
mod traffic;
mod verdict;

#[cfg(feature = "gateway")]
pub use traffic::GatewayHandle;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use banyan_api::App;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Largest form the console takes, in bytes.
const FORM_BYTES_MAX: usize = 16 << 10;

/// How the console works.
#[derive(Clone, Debug)]
pub struct ConsoleOptions {
    /// Whether browsers reach the console over HTTPS: its cookies are then `Secure`.
    pub https: bool,
    /// The limit that the latency plot draws, and above which the top line says so.
    pub p99_limit: Duration,
    /// How long a session lasts without a request.
    pub idle_max: Duration,
    /// Most sessions at once; the one that was idle longest makes room.
    pub sessions_max: usize,
    /// Most live streams at once.
    pub streams_max: usize,
    /// The gateway of this process, if there is one. It may be filled later: its routes may lead to the console.
    #[cfg(feature = "gateway")]
    pub gateway: GatewayHandle,
}

impl Default for ConsoleOptions {
    fn default() -> Self {
        Self {
            https: false,
            p99_limit: Duration::from_millis(100),
            idle_max: Duration::from_secs(8 * 3_600),
            sessions_max: 1_000,
            streams_max: 256,
            #[cfg(feature = "gateway")]
            gateway: GatewayHandle::default(),
        }
    }
}

/// What every page shares.
pub(crate) struct Console {
    app: Arc<App>,
    options: ConsoleOptions,
    sessions: session::Sessions,
    failures: gate::Failures,
    sampler: Arc<sampler::Sampler>,
    journal: Arc<journal::Journal>,
    #[cfg(feature = "gateway")]
    traffic: Arc<traffic::Traffic>,
    streams: Arc<Semaphore>,
    started: Once,
}

impl Console {
    /// Starts what works in the background, once, as soon as there is a runtime to do it on.
    fn start(self: &Arc<Self>) {
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.started.call_once(|| {
            tokio::spawn(sampler::run(self.clone()));
            #[cfg(feature = "gateway")]
            tokio::spawn(traffic::run(self.clone()));
            journal::start(self.journal.clone(), self.app.clone());
        });
    }
}

/// The console's pages, all under `/console`, to be merged into the server's router. It has no fallback of its own.
pub fn router(app: Arc<App>, options: ConsoleOptions) -> Router {
    let console = Arc::new(Console {
        sessions: session::Sessions::new(options.sessions_max, options.idle_max),
        failures: gate::Failures::default(),
        sampler: Arc::default(),
        journal: Arc::default(),
        #[cfg(feature = "gateway")]
        traffic: Arc::default(),
        streams: Arc::new(Semaphore::new(options.streams_max)),
        started: Once::new(),
        app,
        options,
    });
    console.start();
    Router::new()
        .route("/console", get(pages::sale::show))
        .route("/console/", get(|| async { Redirect::permanent("/console") }))
        .route("/console/login", get(pages::login::show).post(gate::sign_in))
        .route("/console/logout", post(gate::sign_out))
        .route("/console/language/{lang}", get(gate::choose_language))
        .route("/console/campaigns", get(pages::campaigns::show).post(pages::campaign_new::create))
        .route("/console/campaigns/new", get(pages::campaign_new::show))
        .route("/console/campaigns/{id}", get(pages::campaign::show))
        .route("/console/campaigns/{id}/change", post(pages::campaign_change::change))
        .route("/console/orders", get(pages::orders::show))
        .route("/console/orders/{order}", get(pages::order::show))
        .route("/console/orders/{order}/change", post(pages::order::change))
        .route("/console/products", get(pages::products::show))
        .route("/console/stock", get(pages::stock::show).post(pages::sku_change::create))
        .route("/console/stock/{sku}", get(pages::sku::show))
        .route("/console/stock/{sku}/change", post(pages::sku_change::change))
        .route("/console/items/{no}", get(pages::sku::item))
        .route("/console/ledger", get(pages::ledger::show))
        .route("/console/ledger/{id}", get(pages::account::show))
        .route("/console/accounts/{no}", get(pages::account::number))
        .route("/console/sagas", get(pages::sagas::show))
        .route("/console/sagas/definitions", get(pages::definitions::show))
        .route("/console/sagas/definitions/{name}", get(pages::definitions::versions))
        .route("/console/sagas/{no}", get(pages::saga::show))
        .route("/console/sagas/{no}/change", post(pages::saga_change::change))
        .route("/console/events", get(pages::events::show))
        .route("/console/events/follow", get(live::follow))
        .route("/console/events/{seq}", get(pages::event::show))
        .route("/console/members", get(pages::members::find))
        .route("/console/members/{member}", get(pages::members::show))
        .route("/console/coupons", get(pages::coupon::find))
        .route("/console/coupons/{coupon}", get(pages::coupon::show))
        .route("/console/coupons/{coupon}/revoke", post(pages::coupon::revoke))
        .route("/console/over", get(pages::over::show))
        .route("/console/over/plan", get(pages::over_plan::show))
        .route("/console/over/change", post(pages::over_plan::change))
        .route("/console/store", get(pages::store::show))
        .route("/console/live", get(live::live))
        .route("/console/assets/{file}", get(assets::serve))
        .route("/console/{*rest}", get(pages::not_found))
        .merge(of_gateway())
        .method_not_allowed_fallback(gate::not_a_page)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(console.clone(), gate::guard))
        .with_state(console)
}

#[cfg(feature = "gateway")]
fn of_gateway() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/gateway", get(pages::gateway::show))
        .route("/console/gateway/undo", post(pages::gateway::undo))
        .route("/console/gateway/routes/{route}", get(pages::route::show))
        .route("/console/gateway/routes/{route}/change", post(pages::route_change::change))
        .route("/console/gateway/routes/{route}/groups/{group}", get(pages::mismatch::show))
        .route("/console/gateway/routes/{route}/groups/{group}/change", post(pages::mismatch::judge))
}

#[cfg(not(feature = "gateway"))]
fn of_gateway() -> Router<Arc<Console>> {
    Router::new()
}
