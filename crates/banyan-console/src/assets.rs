//! The files a page needs, in the binary. Their names carry the hash of their bytes, so browsers keep them for ever.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use std::sync::OnceLock;

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

const ASSETS: [Asset; 6] = [
    Asset { name: "look.css", kind: CSS, bytes: include_bytes!("../assets/look.css") },
    Asset { name: "console.js", kind: JAVASCRIPT, bytes: include_bytes!("../assets/console.js") },
    Asset { name: "plots.js", kind: JAVASCRIPT, bytes: include_bytes!("../assets/plots.js") },
    Asset { name: "htmx.min.js", kind: JAVASCRIPT, bytes: include_bytes!("../assets/vendor/htmx.min.js") },
    Asset { name: "uPlot.min.js", kind: JAVASCRIPT, bytes: include_bytes!("../assets/vendor/uPlot.min.js") },
    Asset { name: "uPlot.min.css", kind: CSS, bytes: include_bytes!("../assets/vendor/uPlot.min.css") },
];

/// The mark, as a picture for the browser's tab.
pub(crate) const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke='%231f7a3d' stroke-width='1.8' stroke-linecap='round'%3E%3Cpath d='M3 10.5C3 6 7 3 12 3s9 3 9 7.500H3ZM12 10.500V21M8 10.500c0 4-.5 8-2 10.500M16 10.500c0 4 .5 8 2 10.500'/%3E%3C/svg%3E";

/// The address of the file named `name`.
pub(crate) fn href(name: &str) -> String {
    let index = ASSETS.iter().position(|asset| asset.name == name);
    let hash = index.map(|index| hashes()[index].as_str()).unwrap_or_default();
    format!("/console/assets/{hash}.{name}")
}

/// Serves a file. Needs no session: the sign-in page looks like the rest.
pub(crate) async fn serve(Path(file): Path<String>) -> Response {
    let (hash, name) = file.split_once('.').unwrap_or_default();
    let index = ASSETS.iter().position(|asset| asset.name == name);
    match index.filter(|index| hashes()[*index] == hash) {
        Some(index) => {
            let Asset { kind, bytes, .. } = ASSETS[index];
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn hashes() -> &'static [String; ASSETS.len()] {
    static HASHES: OnceLock<[String; ASSETS.len()]> = OnceLock::new();
    HASHES.get_or_init(|| ASSETS.map(|asset| blake3::hash(asset.bytes).to_hex().as_str()[..16].to_owned()))
}
