//! One file for each page.

pub(crate) mod account;
pub(crate) mod campaign;
pub(crate) mod campaign_change;
pub(crate) mod campaign_new;
pub(crate) mod campaigns;
pub(crate) mod coupon;
pub(crate) mod definitions;
pub(crate) mod event;
pub(crate) mod events;
#[cfg(feature = "gateway")]
pub(crate) mod gateway;
pub(crate) mod ledger;
pub(crate) mod login;
pub(crate) mod members;
#[cfg(feature = "gateway")]
pub(crate) mod mismatch;
pub(crate) mod order;
pub(crate) mod orders;
pub(crate) mod over;
pub(crate) mod over_parts;
pub(crate) mod over_plan;
pub(crate) mod products;
#[cfg(feature = "gateway")]
pub(crate) mod route;
#[cfg(feature = "gateway")]
pub(crate) mod route_change;
#[cfg(feature = "gateway")]
pub(crate) mod route_parts;
pub(crate) mod saga;
pub(crate) mod saga_change;
pub(crate) mod saga_timeline;
pub(crate) mod sagas;
pub(crate) mod sale;
pub(crate) mod sku;
pub(crate) mod sku_change;
pub(crate) mod stock;
pub(crate) mod store;

use crate::gate::Viewer;
use crate::parts;
use crate::text;
use axum::response::Response;
use banyan_api::Problem;
use banyan_domain::State;
use banyan_views::ViewError;
use banyan_views::record::RecordReader;
use http::StatusCode;

/// Whatever is not there.
pub(crate) async fn not_found(viewer: Viewer) -> Response {
    let lang = viewer.lang();
    viewer.problem(StatusCode::NOT_FOUND, lang.t(text::NOT_FOUND), lang.t(text::NOT_FOUND_HINT))
}

/// Reads the record store on a thread that may wait.
pub(crate) async fn read_record<T: Send + 'static>(
    viewer: &Viewer,
    read: impl FnOnce(&RecordReader) -> Result<T, ViewError> + Send + 'static,
) -> Result<T, String> {
    let record = viewer.console.app.record().clone();
    match tokio::task::spawn_blocking(move || read(&record)).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Rows of the state that one look visits at most: the writer waits for each look, so a page takes several short ones.
pub(crate) const ROWS_PER_LOOK: usize = 500;
/// Rows that one page visits at most, over all its looks. What lies beyond is a page further.
pub(crate) const ROWS_PER_PAGE: usize = 20_000;

/// Looks at the state between two commands. What comes back rests on nothing that is not durable. The writer waits for
/// `look`, so it visits at most [`ROWS_PER_LOOK`] rows; the answer to give instead comes back if the queue is full.
pub(crate) async fn look<T: Send + 'static>(
    viewer: &Viewer,
    look: impl FnOnce(&State) -> T + Send + 'static,
) -> Result<T, Response> {
    let problem = match viewer.console.app.shard().read(look) {
        Ok(seen) => match seen.await {
            Ok(seen) => return Ok(seen),
            Err(_) => Problem::unavailable("The server is stopping; ask again when it is back."),
        },
        Err(error) => Problem::from(error),
    };
    let lang = viewer.lang();
    Err(viewer.problem(problem.status, lang.t(text::STATE_UNREADABLE), &parts::problem_words(lang, &problem)))
}
