//! The files of the shop, part of the program: style, script, pictures. Their addresses change with their content, so that
//! browsers may keep them for good.

use crate::Shop;
use crate::catalog::Catalog;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

const STYLE: &str = include_str!("../assets/shop.css");
const SCRIPT: &str = include_str!("../assets/shop.js");
/// Our mark, as the browser's icon.
pub(crate) const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke='%231f7a3d' stroke-width='2'%3E%3Cpath fill='%231f7a3d' d='M3 14.5C3 7.600 8.600 3 16 3s13 4.600 13 11.500c0 1-.8 1.500-1.800 1.500H4.800C3.800 16 3 15.500 3 14.500Z'/%3E%3Cpath d='M16 16v13M11.500 16c0 5-.6 9-2.600 13M20.500 16c0 5 .6 9 2.600 13'/%3E%3C/svg%3E";
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

static STYLE_SUM: LazyLock<String> = LazyLock::new(|| sum([STYLE].into_iter()));
static SCRIPT_SUM: LazyLock<String> = LazyLock::new(|| sum([SCRIPT].into_iter()));
static PICTURES_SUM: LazyLock<String> = LazyLock::new(|| {
    let catalog = Catalog::sample();
    let pictures: Vec<_> = catalog.goods().iter().map(|good| catalog.picture(&good.id)).collect();
    sum(pictures.iter().map(String::as_str))
});

fn sum<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    texts.for_each(|text| hash.update(text.as_bytes()));
    hash.finalize().iter().take(6).fold(String::new(), |mut text, byte| {
        let _written_to_memory = write!(text, "{byte:02x}");
        text
    })
}

/// The address of the style.
pub(crate) fn style() -> String {
    format!("/shop/assets/shop.css?{}", *STYLE_SUM)
}

/// The address of the script.
pub(crate) fn script() -> String {
    format!("/shop/assets/shop.js?{}", *SCRIPT_SUM)
}

/// The address of a product's picture.
pub(crate) fn picture_of(product: &str) -> String {
    format!("/shop/pictures/{}.svg?{}", crate::link::encode(product), *PICTURES_SUM)
}

/// Serves style and script.
pub(crate) async fn serve(Path(file): Path<String>) -> Response {
    let (kind, text) = match file.as_str() {
        "shop.css" => ("text/css; charset=utf-8", STYLE),
        "shop.js" => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, FOR_GOOD)], text).into_response()
}

/// Serves a product's picture; of one that the catalogue does not know, a parcel.
pub(crate) async fn picture(State(shop): State<Arc<Shop>>, Path(file): Path<String>) -> Response {
    let Some(product) = file.strip_suffix(".svg") else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, FOR_GOOD)];
    (headers, shop.catalog.picture(product)).into_response()
}
