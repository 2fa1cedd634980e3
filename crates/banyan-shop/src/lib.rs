//! The storefront at `/shop`: goods, cart, coupons, points, checkout and orders, as pages made on the server.
//!
//! It is a client of the public HTTP API like any other: it has an address and a key, and nothing else of ours. So another
//! shop can be put in its place without a change behind the API. Pages work without JavaScript; a small script moves the
//! numbers of a sale and looks whether an order has gone on.
//!
//! What it deliberately is not: it has no rule, no price and no storage. What a visitor has (the cart, who is signed in) is
//! in a signed cookie of theirs. Signing in is a demonstration: a real shop has its own.
//!
//! Start reading at [`router`]; then `gate.rs` (who asks, and which forms are taken), `api.rs` (the client), `shelf.rs` and `cell.rs`
//! (what is shared by all visitors), `session.rs` (the cookie), and one file for each page in `pages/`. Names, descriptions and
//! pictures of the sample goods are in `assets/catalog.toml` and `picture/`. Every sentence is in `text/`.

mod api;
mod assets;
mod catalog;
mod cell;
mod format;
mod gate;
mod layout;
mod link;
mod pages;
mod parts;
mod picture;
mod sample;
mod session;
mod shelf;
mod text;
mod wire;

pub use api::{Api, ApiError, InvalidApi, Refused};
pub use sample::{Loaded, load_sample, load_sample_once};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use std::sync::Arc;

/// Largest form the shop takes, in bytes.
const FORM_BYTES_MAX: usize = 16 << 10;

/// How the shop works.
#[derive(Clone, Debug)]
pub struct ShopOptions {
    /// The API: `http://HOST[:PORT]`.
    pub api: String,
    /// A service key of the API. Cookies are signed with a key that follows from it.
    pub key: String,
    /// How browsers reach the shop (`https://shop.example`), if not by the host that they name. Behind TLS it begins with
    /// `https://`, and cookies are then `Secure`.
    pub public_url: Option<String>,
}

/// What every page shares.
pub(crate) struct Shop {
    api: Api,
    signer: session::Signer,
    ended: session::Ended,
    shared: shelf::Shared,
    catalog: &'static catalog::Catalog,
    public_url: Option<String>,
}

impl Shop {
    /// Whether browsers come over HTTPS.
    fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// The shop's pages, all under `/shop`, to be merged into a server's router. It has no fallback of its own.
///
/// # Errors
/// [`InvalidApi`] if the address or the key of the API cannot be used.
pub fn router(options: ShopOptions) -> Result<Router, InvalidApi> {
    let shop = Arc::new(Shop {
        api: Api::new(&options.api, &options.key)?,
        signer: session::Signer::new(&options.key),
        ended: session::Ended::default(),
        shared: shelf::Shared::default(),
        catalog: catalog::Catalog::sample(),
        public_url: options.public_url.map(|url| url.trim_end_matches('/').to_owned()),
    });
    let router = Router::new()
        .route("/shop", get(pages::goods::show))
        .route("/shop/", get(|| async { Redirect::permanent("/shop") }))
        .route("/shop/goods/{product}", get(pages::product::show))
        .route("/shop/cart", get(pages::cart::show).post(pages::cart::change))
        .route("/shop/cart/add", post(pages::cart::add))
        .route("/shop/cart/coupon", post(pages::cart::set_coupon))
        .route("/shop/cart/points", post(pages::cart::set_points))
        .route("/shop/checkout", get(pages::checkout::show).post(pages::checkout::place))
        .route("/shop/return", get(pages::orders::come_back))
        .route("/shop/orders", get(pages::orders::list))
        .route("/shop/orders/{order}", get(pages::order::show))
        .route("/shop/orders/{order}/pay", get(pages::order::pay))
        .route("/shop/orders/{order}/state", get(pages::order::state))
        .route("/shop/orders/{order}/cancel", post(pages::order_change::cancel))
        .route("/shop/orders/{order}/return", post(pages::order_change::give_back))
        .route("/shop/orders/{order}/again", post(pages::order_change::again))
        .route("/shop/coupons", get(pages::coupons::show))
        .route("/shop/sale", get(pages::sale::show))
        .route("/shop/sale/{campaign}/left", get(pages::sale::left))
        .route("/shop/sale/{campaign}/claim", post(pages::sale::claim))
        .route("/shop/points", get(pages::points::show).post(pages::points::welcome))
        .route("/shop/sign-in", get(pages::sign_in::show).post(pages::sign_in::sign_in))
        .route("/shop/sign-out", post(pages::sign_in::sign_out))
        .route("/shop/language/{lang}", get(gate::choose_language))
        .route("/shop/pictures/{file}", get(assets::picture))
        .route("/shop/assets/{file}", get(assets::serve))
        .route("/shop/{*rest}", get(pages::not_found))
        .method_not_allowed_fallback(gate::not_a_page)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(shop.clone(), gate::guard))
        .with_state(shop);
    Ok(router)
}
