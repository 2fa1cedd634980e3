//! A real gateway on a free port, in front of two shops that answer a little differently.

use super::Store;
use axum::Router;
use axum::extract::Path;
use axum::http::Uri;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use banyan_console::{ConsoleOptions, GatewayHandle};
use banyan_gateway::{Config, Gateway, Serving};
use http::StatusCode;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Long enough for a machine that does ten other things.
const SOON: Duration = Duration::from_secs(60);

/// The gateway, and everything behind it.
pub struct Front {
    pub gateway: Gateway,
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: Option<Serving>,
    _folder: TempDir,
}

/// The names of its routes.
pub const ROUTES: [&str; 4] = ["catalog", "prices", "basket", "everything else"];

impl Front {
    /// Opens it: one route in each mode.
    pub async fn open() -> Self {
        let (old, new) = (shop(false).await, shop(true).await);
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            r#"
listen = "127.0.0.1:0"
state = "state"
workers = 2

[[route]]
name = "catalog"
path = "/api/catalog"
methods = ["GET", "HEAD"]
mode = "shadow"
upstream = "http://{old}"
banyan = "http://{new}"
shadow = {{ percent = 100, noise_percent = 0 }}
evidence = {{ requests = 5000, mismatch_max = 0.001, error_max = 0.001, p99_ratio_max = 1.5 }}

[[route]]
name = "prices"
path = "/api/prices"
mode = "canary"
upstream = "http://{old}"
banyan = "http://{new}"
touches = ["stock"]
[route.canary]
percent = 12.5
by = "header:x-member"
ramp = [{{ at = "2040-01-01T00:00:00Z", percent = 50 }}]

[[route]]
name = "basket"
path = "/basket"
mode = "banyan"
upstream = "http://{old}"
banyan = "http://{new}"

[[route]]
name = "everything else"
path = "/"
mode = "legacy"
upstream = "http://{old}"
touches = ["stock"]
"#
        );
        let config = Config::parse(&text, folder.path()).expect("a good configuration");
        let gateway = Gateway::new(config, None).expect("it opens");
        let (stop, stopping) = watch::channel(false);
        let serving = gateway.serve(stopping).expect("it listens");
        let address = serving.listening[0];
        Self { gateway, address, stop, serving: Some(serving), _folder: folder }
    }

    /// Asks as a member; the status.
    pub async fn ask(&self, path: &str, member: &str) -> u16 {
        let (address, path, member) = (self.address, path.to_owned(), member.to_owned());
        let asked = tokio::task::spawn_blocking(move || ask(address, &path, &member));
        asked.await.expect("it does not panic")
    }

    /// Waits until `holds`.
    pub async fn until(&self, what: &str, holds: impl Fn(&Gateway) -> bool) {
        let began = Instant::now();
        while !holds(&self.gateway) {
            assert!(began.elapsed() < SOON, "never: {what}; {:?}", self.gateway.shadow());
            // Between two looks; what is waited for is the condition.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends the requests of a few members, and waits until the copies are compared.
    pub async fn visit(&self) {
        for n in 0..20_u32 {
            let member = format!("m{n}");
            for path in ["/api/catalog/mug", "/api/catalog/tea", "/api/prices/mug", "/basket", "/"] {
                self.ask(path, &member).await;
            }
        }
        self.until("all compared", |gateway| {
            gateway.shadow().iter().any(|of| of.route == "catalog" && of.compared == 40)
        })
        .await;
    }

    /// The console with it.
    pub fn console(&self, store: &Store) -> Router {
        let gateway = GatewayHandle::default();
        gateway.set(self.gateway.clone());
        banyan_console::router(store.app.clone(), ConsoleOptions { gateway, ..ConsoleOptions::default() })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(serving) = self.serving.take() {
            serving.join();
        }
    }
}

fn ask(address: SocketAddr, path: &str, member: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("an option");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: shop.example\r\nx-member: {member}\r\nbanyan-caller: app\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it takes it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// A shop: the old one, or Banyan's side of it, which has another price of tea and no note on mugs.
async fn shop(new: bool) -> SocketAddr {
    let product = move |Path(name): Path<String>| async move { product(&name, new) };
    let page = move |uri: Uri| async move {
        Html(format!("<h1>{}</h1><p>{}</p>", uri.path(), if new { "new" } else { "old" }))
    };
    let router = Router::new()
        .route("/api/catalog/{name}", get(product))
        .route("/api/prices/{name}", get(product))
        .fallback(page);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn product(name: &str, new: bool) -> Response {
    let sizes: Vec<_> = (0..8).map(|n| json!({ "sku": format!("{name}-{n}"), "left": 10 + n })).collect();
    let mut body = json!({
        "name": name, "currency": "KRW", "price": if new && name == "tea" { 18_500 } else { 18_000 },
        "sizes": sizes, "note": "wash <b>by hand</b>",
    });
    if new && name == "mug" {
        body.as_object_mut().expect("an object").remove("note");
    }
    (StatusCode::OK, axum::Json(body)).into_response()
}
