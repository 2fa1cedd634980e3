//! A browser without a window, and a double of the API that answers as the real one and notes what it was asked.
#![allow(dead_code, reason = "each test uses its own part")]

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use banyan_shop::ShopOptions;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tower::ServiceExt;

/// The shop's key at the double. No page may hold it.
pub(crate) const KEY: &str = "banyan_service_secretsecretsecretsecret";

/// One request that reached the double.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    pub(crate) body: Value,
}

/// The double: what it has, and what it was asked.
#[derive(Default)]
pub(crate) struct Double {
    pub(crate) asked: Mutex<Vec<Asked>>,
    pub(crate) orders: Mutex<BTreeMap<String, Value>>,
    /// Orders that ended so long ago that only the list has them.
    pub(crate) forgotten: Mutex<Vec<String>>,
    by_key: Mutex<BTreeMap<String, String>>,
    /// Whether orders are made and their answers lost.
    lost: AtomicBool,
    /// Answered to what is at a path, instead of the usual.
    pub(crate) instead: Mutex<BTreeMap<String, (u16, Value)>>,
}

impl Double {
    pub(crate) async fn start() -> (Arc<Self>, String) {
        let double = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(answer).with_state(double.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (double, address)
    }

    /// How often `path` was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.asked.lock().expect("no panic while held").iter().filter(|asked| asked.path == path).count()
    }

    /// The writes that reached it, without quotes, which change nothing.
    pub(crate) fn writes(&self) -> Vec<Asked> {
        let asked = self.asked.lock().expect("no panic while held");
        let writes =
            asked.iter().filter(|asked| asked.method != Method::GET && asked.path != "/v1/orders/quote");
        writes.cloned().collect()
    }

    pub(crate) fn refuse(&self, path: &str, status: u16, slug: &str) {
        let problem = json!({"type": format!("/errors/{slug}"), "status": status, "detail": "No."});
        self.instead.lock().expect("no panic while held").insert(path.into(), (status, problem));
    }

    pub(crate) fn lose_answers(&self, lost: bool) {
        self.lost.store(lost, Ordering::SeqCst);
    }

    pub(crate) fn add_order(&self, order: &str, member: &str, more: &Value) {
        let mut value = json!({
            "order": order, "member": member, "state": "paid", "why": null, "waits_for": null,
            "lines": [{"product": "mug-moss", "quantity": 2, "unit_price": 14_000, "gross": 28_000, "discount": 0, "points": 0, "paid": 28_000, "vat": 2_545, "returned": 0}],
            "goods": 28_000, "discount": 0, "shipping": 3_000, "points": 0, "total": 31_000, "vat": 2_818, "currency": "KRW",
            "payment": "pay_1", "placed_at": "2026-11-22T10:00:00Z", "paid_at": "2026-11-22T10:00:05Z", "cancel_requested": false,
            "refunds": [], "refunded": 0, "refunded_points": 0, "saga": 1, "seq": 40,
        });
        for (name, field) in more.as_object().cloned().unwrap_or_default() {
            value[name] = field;
        }
        self.orders.lock().expect("no panic while held").insert(order.into(), value);
    }

    fn place(&self, key: &str, body: &Value) -> Response {
        let mut by_key = self.by_key.lock().expect("no panic while held");
        let number = by_key.len() + 1;
        let order = by_key.entry(key.to_owned()).or_insert_with(|| format!("o-{number}")).clone();
        self.add_order(&order, body["member"].as_str().unwrap_or_default(), &json!({}));
        if self.lost.load(Ordering::SeqCst) {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        (StatusCode::CREATED, Json(self.orders.lock().expect("no panic while held")[&order].clone()))
            .into_response()
    }
}

async fn answer(State(double): State<Arc<Double>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.expect("a body");
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let key = parts.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let path = parts.uri.path().to_owned();
    let authorized =
        parts.headers.get(header::AUTHORIZATION).is_some_and(|sent| sent == &format!("Bearer {KEY}"));
    assert!(authorized, "the shop shows its key with {path}");
    let asked =
        Asked { method: parts.method.clone(), path: path.clone(), key: key.clone(), body: body.clone() };
    double.asked.lock().expect("no panic while held").push(asked);
    let instead = double.instead.lock().expect("no panic while held").get(&path).cloned();
    if let Some((status, value)) = instead {
        return (StatusCode::from_u16(status).expect("a status"), Json(value)).into_response();
    }
    let parts_of: Vec<_> = path.split('/').skip(2).collect();
    let price = |minor: i64| json!({"minor": minor, "currency": "KRW"});
    let product = |id: &str, minor: i64| json!({"product": id, "price": price(minor), "vat_basis_points": 1_000, "parts": [{"sku": id, "quantity": 1}], "on_sale": true});
    let value = match (parts.method.as_str(), parts_of.as_slice()) {
        ("GET", ["products"]) => {
            json!({"products": [product("mug-moss", 14_000), product("socks-plum", 12_000), product("<b>own</b>", 1_000)], "next": null, "seq": 9})
        }
        ("GET", ["stock"]) => {
            json!({"skus": [{"sku": "mug-moss", "available": 5}, {"sku": "socks-plum", "available": 0}, {"sku": "<b>own</b>", "available": 9}], "seq": 9})
        }
        ("GET", ["terms"]) => {
            json!({"currency": "KRW", "shipping_fee": 3_000, "free_shipping_from": 50_000, "seq": 9})
        }
        ("GET", ["campaigns"]) => json!({"campaigns": [{
            "id": "noon", "name": "Noon <script>alert(1)</script>", "benefit": {"amount": price(5_000)}, "audience": "everyone",
            "per_member": 1, "state": "open", "issued": 1, "left": 99}], "seq": 9}),
        ("POST", ["campaigns", "noon", "coupons"]) => json!({"coupon": "noon-1", "seq": 12}),
        ("GET", ["members", _, "coupons"]) => {
            json!({"coupons": [{"coupon": "noon-1", "code": "AAAA-BBBB-CCCCC", "campaign": "noon", "state": "issued"}], "next": null, "seq": 12})
        }
        ("GET", ["members", member, "orders"]) => {
            let orders = double.orders.lock().expect("no panic while held");
            let own: Vec<_> = orders.values().filter(|order| order["member"] == *member).cloned().collect();
            json!({"orders": own, "next": null, "seq": 41})
        }
        ("GET", ["ledger", ..]) => json!({"balance": 2_000, "available": 2_000, "seq": 3}),
        ("POST", ["orders", "quote"]) => json!({
            "lines": [{"product": "mug-moss", "quantity": 2, "unit_price": 14_000, "gross": 28_000, "discount": 0, "points": 0, "paid": 28_000, "vat": 2_545, "available": 5}],
            "goods": 28_000, "discount": 0, "shipping": 3_000, "points": 0, "total": 31_000, "vat": 2_818, "currency": "KRW", "points_balance": 2_000, "seq": 9}),
        ("POST", ["orders"]) => return double.place(&key.expect("an order has a key"), &body),
        ("GET", ["orders", order]) => match double.orders.lock().expect("no panic while held").get(*order) {
            Some(value)
                if !double.forgotten.lock().expect("no panic while held").contains(&(*order).to_owned()) =>
            {
                value.clone()
            }
            _ => {
                let problem =
                    json!({"type": "/errors/order-not-found", "detail": "No order has this number."});
                return (StatusCode::NOT_FOUND, Json(problem)).into_response();
            }
        },
        ("POST", ["orders", order, "cancel" | "returns"]) => {
            double.orders.lock().expect("no panic while held")[*order].clone()
        }
        _ => panic!("the shop asked for {} {path}, which the API does not have", parts.method),
    };
    Json(value).into_response()
}

/// A browser: it keeps cookies, follows nothing by itself, and remembers the page it is on.
pub(crate) struct Browser {
    shop: Router,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) language: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) page: String,
}

impl Browser {
    pub(crate) fn new(api: &str) -> Self {
        let shop = banyan_shop::router(ShopOptions { api: api.into(), key: KEY.into(), public_url: None });
        let (status, headers) = (StatusCode::OK, http::HeaderMap::new());
        Self {
            shop: shop.expect("an address"),
            cookies: BTreeMap::new(),
            language: "en",
            status,
            headers,
            page: String::new(),
        }
    }

    /// Another browser at the same shop.
    pub(crate) fn another(&self) -> Self {
        let (status, headers) = (StatusCode::OK, http::HeaderMap::new());
        Self {
            shop: self.shop.clone(),
            cookies: BTreeMap::new(),
            language: "en",
            status,
            headers,
            page: String::new(),
        }
    }

    async fn send(&mut self, request: http::request::Builder, body: String) -> String {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request
            .header(header::HOST, "shop.example")
            .header(header::ACCEPT_LANGUAGE, self.language)
            .header(header::COOKIE, cookies.join("; "))
            .body(Body::from(body))
            .expect("a request");
        let response = self.shop.clone().oneshot(request).await.expect("an answer");
        (self.status, self.headers) = (response.status(), response.headers().clone());
        for cookie in self.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().expect("text");
            assert!(
                text.contains("HttpOnly") && text.contains("SameSite=Lax") && text.contains("Path=/shop"),
                "{text}"
            );
            let (name, value) =
                text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            self.cookies.insert(name.into(), value.into());
        }
        let bytes = to_bytes(response.into_body(), 4 << 20).await.expect("a body");
        self.page = String::from_utf8(bytes.to_vec()).expect("text");
        assert!(!self.page.contains(KEY), "no page holds the shop's key");
        self.page.clone()
    }

    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.send(Request::get(path), String::new()).await
    }

    /// Sends a form of the page that it is on, with the token that stands there.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let token = self.field("csrf");
        self.post_as(path, &token, fields).await
    }

    pub(crate) async fn post_as(&mut self, path: &str, token: &str, fields: &[(&str, &str)]) -> String {
        let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let fields = fields.iter().copied().chain([("csrf", token)]);
        let body: Vec<_> =
            fields.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, body.join("&")).await
    }

    /// The value of the first field `name` of the page.
    pub(crate) fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let at =
            self.page.find(&mark).unwrap_or_else(|| panic!("no field {name} in {}", self.page)) + mark.len();
        self.page[at..].split('"').next().unwrap_or_default().to_owned()
    }

    /// Where the answer leads.
    pub(crate) fn leads_to(&self) -> &str {
        self.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default()
    }

    pub(crate) async fn sign_in(&mut self, member: &str) {
        self.get("/shop/sign-in").await;
        self.post("/shop/sign-in", &[("member", member), ("next", "/shop")]).await;
        assert_eq!((self.status, self.leads_to()), (StatusCode::SEE_OTHER, "/shop"));
    }

    pub(crate) async fn fill_cart(&mut self) {
        self.get("/shop/goods/mug-moss").await;
        self.post("/shop/cart/add", &[("product", "mug-moss"), ("quantity", "2")]).await;
        assert_eq!(self.leads_to(), "/shop/goods/mug-moss?note=added");
    }
}
