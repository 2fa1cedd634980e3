//! What must be there before the first order: products with goods, a coupon for each buyer, points for each buyer.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use banyan_testkit::{Launch, Process, with_free_ports};
use http::Method;
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::rivals::transaction;
use crate::{Failure, control, failed};

/// The shop's key at the company.
pub(crate) const COMPANY_KEY: &str = "the-key-of-the-benchmark";
/// Points that each order is paid with.
pub(super) const POINTS: i64 = 500;
/// What one of any product costs, and what a coupon takes off.
pub(crate) const PRICE: i64 = 10_000;
pub(crate) const DISCOUNT: i64 = 5_000;
/// Members: they come again and again, each time with another coupon.
const MEMBERS: usize = 1_000;
/// Points that a member has.
const POINTS_EACH: i64 = 1_000_000_000;
/// Units of each SKU: more than anybody buys.
pub(crate) const UNITS: i64 = 100_000_000;
const READY: Duration = Duration::from_secs(30);

/// Somebody who is about to order.
pub(super) struct Buyer {
    /// Never twice in a turn: it names the idempotency key.
    pub(super) number: u64,
    pub(super) member: String,
    pub(super) coupon: String,
}

/// A shop that is open.
pub(super) struct Shop {
    pub(super) address: SocketAddr,
    pub(super) key: Option<String>,
    pub(super) products: usize,
    /// The rival's tables: where Postgres is, and in which schema.
    tables: Option<(String, String)>,
}

/// Starts Banyan with the company, and opens the shop.
pub(super) async fn banyan(
    program: &Path,
    folder: &Path,
    company: SocketAddr,
    products: usize,
) -> Result<(Process, Shop), Failure> {
    let services = folder.join("services.toml");
    let text = format!(
        "[service.company]\nkind = \"sandbox\"\nurl = \"http://{company}\"\nkey_file = \"company/company.key\"\n"
    );
    std::fs::write(&services, text).map_err(|e| failed("writing the services", e))?;
    let data = folder.join("data");
    let (process, address) = with_free_ports(|[port]| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut process = Launch::new("banyan", program, folder.join("banyan.log"))
            .args(["up", "--data"])
            .args([data.display().to_string(), "--listen".to_owned(), address.to_string()])
            .args(["--services".to_owned(), services.display().to_string()])
            .start()?;
        process.wait_ready(READY, |_| Ok(std::net::TcpStream::connect(address).is_ok()))?;
        Ok((process, address))
    })?;
    let key_file = data.join("operator.key");
    // It listens before it has made its key.
    if !banyan_testkit::wait_until(READY, || key_file.exists()) {
        return Err(failed(key_file.display(), "it was not made in time"));
    }
    let key = std::fs::read_to_string(&key_file).map_err(|e| failed(key_file.display(), e))?;
    let shop = Shop { address, key: Some(key.trim().to_owned()), products, tables: None };
    shop.call(Method::PUT, "/v1/terms", None, &json!({"currency": "KRW"})).await?;
    let price = json!({"minor": PRICE, "currency": "KRW"});
    let all: Vec<Value> =
        (0..products).map(|n| json!({"product": format!("p{n}"), "price": price})).collect();
    for n in 0..products {
        let count = json!({"on_hand": UNITS, "reason": "benchmark"});
        shop.call(Method::PUT, &format!("/v1/stock/p{n}"), None, &count).await?;
    }
    for some in all.chunks(1_000) {
        shop.call(Method::PUT, "/v1/products", None, &json!({ "products": some })).await?;
    }
    let benefit = json!({"amount": {"minor": DISCOUNT, "currency": "KRW"}});
    let campaign = json!({"id": "bench", "name": "Bench", "quantity": "unlimited", "per_member": 10_000, "benefit": benefit});
    shop.call(Method::POST, "/v1/campaigns", None, &campaign).await?;
    for first in (0..MEMBERS).step_by(50) {
        let give = |n: usize| {
            json!({"kind": "post", "debit": "shop:points", "amount": POINTS_EACH,
                "credit": {"id": format!("points:m{n}"), "currency": "PTS", "rule": "debits-within-credits"}})
        };
        let transfers: Vec<Value> = (first..MEMBERS.min(first + 50)).map(give).collect();
        let body = json!({"reference": "bench", "transfers": transfers});
        let key = format!("points-{first}");
        shop.call(Method::POST, "/v1/ledger/transfers", Some(&key), &body).await?;
    }
    Ok((process, shop))
}

impl Shop {
    /// Makes the rival's tables, and fills them.
    pub(super) async fn rival(
        postgres: &str,
        schema: &str,
        products: usize,
        buyers: usize,
    ) -> Result<Self, Failure> {
        transaction::prepare(postgres, schema, products, MEMBERS, buyers).await?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { address, key: None, products, tables: Some((postgres.to_owned(), schema.to_owned())) })
    }

    /// The same, once it is known where it listens.
    pub(super) fn at(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// So many buyers, each with a coupon of its own.
    pub(super) async fn buyers(&self, count: usize) -> Result<Vec<Buyer>, Failure> {
        if self.tables.is_some() {
            let buyer = |number: u64| Buyer {
                number,
                member: format!("m{}", number % MEMBERS as u64),
                coupon: transaction::code(number),
            };
            return Ok((0..count as u64).map(buyer).collect());
        }
        let mut buyers = Vec::with_capacity(count);
        for first in (0..count).step_by(1_000) {
            let members: Vec<String> =
                (first..count.min(first + 1_000)).map(|n| format!("m{}", n % MEMBERS)).collect();
            let body = json!({ "members": members });
            let key = format!("coupons-{first}");
            let issued =
                self.call(Method::POST, "/v1/campaigns/bench/coupons/batch", Some(&key), &body).await?;
            for answer in issued["answers"].as_array().into_iter().flatten() {
                let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
                let number = buyers.len() as u64;
                buyers.push(Buyer { number, member: text("member"), coupon: text("code") });
            }
        }
        if buyers.len() != count || buyers.iter().any(|buyer| buyer.coupon.is_empty()) {
            return Err(failed("issuing coupons", "not every buyer has one"));
        }
        Ok(buyers)
    }

    /// Whether the books have what buyers were told: goods, coupons, points and money of so many orders.
    pub(super) async fn check(&self, paid: u64) -> Result<(), Failure> {
        let orders = i64::try_from(paid)?;
        let expected = [orders * 2, orders, orders * POINTS, orders * (2 * PRICE - DISCOUNT - POINTS)];
        let found = match &self.tables {
            Some((postgres, schema)) => transaction::sold(postgres, schema).await?,
            None => self.sold().await?,
        };
        if found == expected {
            return Ok(());
        }
        Err(failed(
            "comparing the books",
            format!("{expected:?} units, coupons, points and money; found {found:?}"),
        ))
    }

    async fn sold(&self) -> Result<[i64; 4], Failure> {
        let mut units = 0;
        for n in 0..self.products {
            let level = self.read(&format!("/v1/stock/p{n}")).await?;
            units += UNITS - level["on_hand"].as_i64().unwrap_or(0);
        }
        let campaign = self.read("/v1/campaigns/bench").await?;
        let points = self.read("/v1/ledger/accounts/shop:points").await?;
        let sales = self.read("/v1/ledger/accounts/shop:sales").await?;
        let number = |value: &Value| value.as_i64().unwrap_or(-1);
        let spent = number(&points["balance"]) + MEMBERS as i64 * POINTS_EACH;
        Ok([units, number(&campaign["redeemed"]), spent, number(&sales["balance"])])
    }

    async fn read(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None, &Value::Null).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<Value, Failure> {
        let doing = format!("{method} {path}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = self.key.as_deref();
        let answer = control::call_keyed(self.address, method, path, bearer, key, body).await?;
        if !(200..300).contains(&answer.status) {
            return Err(failed(doing, format!("status {}: {}", answer.status, answer.body)));
        }
        serde_json::from_str(&answer.body).map_err(|e| failed(doing, e))
    }
}

/// Connects to Postgres.
pub(crate) async fn connect(url: &str) -> Result<tokio_postgres::Client, Failure> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.map_err(|e| failed("connecting to Postgres", e))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("the connection to Postgres ended: {error}");
        }
    });
    Ok(client)
}
