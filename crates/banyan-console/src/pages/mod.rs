//! One file for each page.

pub(crate) mod campaign;
pub(crate) mod campaign_change;
pub(crate) mod campaign_new;
pub(crate) mod campaigns;
pub(crate) mod coupon;
pub(crate) mod event;
pub(crate) mod events;
pub(crate) mod login;
pub(crate) mod members;
pub(crate) mod sale;
pub(crate) mod store;

use crate::gate::Viewer;
use crate::text;
use axum::response::Response;
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
