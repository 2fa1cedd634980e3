//! The usual checkout: one Postgres transaction per order. It locks the goods' rows and the coupon's, takes the points, writes the
//! order, its lines and the ledger's rows, asks the payment company, and commits.
//!
//! What makes it as fast as it can be, and still right (no unit, coupon or point sold twice, one order per idempotency key):
//! - everything before the company is one call of a function in the database, so one round trip, sent together with `BEGIN`; so
//!   are the payment's number and `COMMIT`. Without a company the function is the whole transaction, in one round trip;
//! - goods are locked in the order of their names, so that two carts never wait for each other in a circle;
//! - the rows that are updated again and again stand on pages that are nearly empty, and no index has what changes;
//! - each session keeps a connection to the company of its own.
//!
//! While the company is asked, the rows stay locked and the session is taken: that is how it is done, and why it is slow.
//! `synchronous_commit` is on: an answer is durable when it is given.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use crate::answer::{self, scatter};
use crate::checkout::prepare::{DISCOUNT, PRICE, UNITS, connect};
use crate::serve::Rival;
use crate::{Failure, failed};

const SCHEMA: &str = "
    CREATE TABLE product (product text PRIMARY KEY, price bigint NOT NULL);
    CREATE TABLE stock (sku text PRIMARY KEY, on_hand bigint NOT NULL CHECK (on_hand >= 0)) WITH (fillfactor = 10);
    CREATE TABLE coupon (code text PRIMARY KEY, member text NOT NULL, discount bigint NOT NULL, used_by bigint) WITH (fillfactor = 70);
    CREATE TABLE points (member text PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)) WITH (fillfactor = 10);
    CREATE TABLE orders (id bigint PRIMARY KEY, key text NOT NULL UNIQUE, member text NOT NULL, goods bigint NOT NULL,
        discount bigint NOT NULL, points bigint NOT NULL, total bigint NOT NULL, coupon text, payment text,
        placed_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE order_line (order_id bigint NOT NULL, line int NOT NULL, product text NOT NULL, quantity bigint NOT NULL,
        price bigint NOT NULL, PRIMARY KEY (order_id, line));
    CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id bigint NOT NULL, debit text NOT NULL,
        credit text NOT NULL, amount bigint NOT NULL);
    CREATE SEQUENCE order_no CACHE 32;
    CREATE FUNCTION place(k text, m text, products text[], quantities bigint[], c text, p bigint) RETURNS TABLE (no bigint, due bigint)
    LANGUAGE plpgsql AS $$
    DECLARE sum bigint; off bigint := 0; n bigint;
    BEGIN
        n := nextval('order_no');
        PERFORM 1 FROM stock WHERE sku = ANY (products) ORDER BY sku FOR UPDATE;
        UPDATE stock s SET on_hand = on_hand - w.q
            FROM (SELECT u.sku, sum(u.q)::bigint AS q FROM unnest(products, quantities) AS u(sku, q) GROUP BY u.sku) w WHERE s.sku = w.sku;
        INSERT INTO order_line SELECT n, u.line, u.product, u.q, r.price
            FROM unnest(products, quantities) WITH ORDINALITY AS u(product, q, line) JOIN product r ON r.product = u.product;
        SELECT sum(l.quantity * l.price)::bigint INTO sum FROM order_line l WHERE l.order_id = n;
        IF c IS NOT NULL THEN
            UPDATE coupon SET used_by = n WHERE code = c AND member = m AND used_by IS NULL RETURNING discount INTO off;
            IF NOT FOUND THEN RAISE EXCEPTION 'coupon-redeemed' USING ERRCODE = 'BY001'; END IF;
        END IF;
        UPDATE points SET balance = balance - p WHERE member = m;
        INSERT INTO orders (id, key, member, goods, discount, points, total, coupon) VALUES (n, k, m, sum, off, p, sum - off - p, c);
        INSERT INTO ledger (order_id, debit, credit, amount)
            VALUES (n, 'points:' || m, 'shop:points', p), (n, 'company:receivable', 'shop:sales', sum - off - p);
        RETURN QUERY SELECT n, sum - off - p;
    END $$;";

const PLACE: &str = "SELECT no, due FROM place($1, $2, $3, $4, $5, $6)";
const PAID: &str = "UPDATE orders SET payment = $2 WHERE id = $1";

/// What a client sends.
#[derive(Deserialize)]
struct Cart {
    member: String,
    lines: Vec<Line>,
    coupon: Option<String>,
    points: i64,
    method: String,
}

#[derive(Deserialize)]
struct Line {
    product: String,
    quantity: i64,
}

/// One connection to the database, and one to the company.
struct Session {
    client: Client,
    place: Statement,
    paid: Statement,
    company: Option<SendRequest<Full<Bytes>>>,
}

struct Server {
    sessions: Mutex<Vec<Session>>,
    free: Semaphore,
    company: Option<SocketAddr>,
}

/// The code of the coupon numbered `number`.
pub(crate) fn code(number: u64) -> String {
    format!("{:016X}", scatter(number))
}

/// Makes the tables in a schema of their own, with goods, points, and a coupon for each buyer.
pub(crate) async fn prepare(
    url: &str,
    schema: &str,
    products: usize,
    members: usize,
    buyers: usize,
) -> Result<(), Failure> {
    let client = connect(url).await?;
    let doing = "making the tables";
    let make = format!(
        "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path TO {schema}; {SCHEMA}"
    );
    client.batch_execute(&make).await.map_err(|e| failed(doing, e))?;
    let codes: Vec<String> = (0..buyers as u64).map(code).collect();
    let numbers: Vec<i64> = (0..buyers as i64).collect();
    let (products, members) = (products as i64, members as i64);
    let fill = async {
        let sql = "INSERT INTO product SELECT 'p' || n, $2::bigint FROM generate_series(0, $1::bigint - 1) n";
        client.execute(sql, &[&products, &PRICE]).await?;
        let sql = "INSERT INTO stock SELECT 'p' || n, $2::bigint FROM generate_series(0, $1::bigint - 1) n";
        client.execute(sql, &[&products, &UNITS]).await?;
        let sql =
            "INSERT INTO points SELECT 'm' || n, 1000000000000 FROM generate_series(0, $1::bigint - 1) n";
        client.execute(sql, &[&members]).await?;
        let sql = "INSERT INTO coupon SELECT u.code, 'm' || u.n % $3::bigint, $4::bigint FROM unnest($1::text[], $2::bigint[]) AS u(code, n)";
        client.execute(sql, &[&codes, &numbers, &members, &DISCOUNT]).await?;
        client.batch_execute("VACUUM ANALYZE").await
    };
    fill.await.map_err(|e| failed("filling the tables", e))
}

/// Units, coupons, points and money of all orders.
pub(crate) async fn sold(url: &str, schema: &str) -> Result<[i64; 4], Failure> {
    let client = connect(url).await?;
    let sql = format!(
        "SELECT (SELECT sum({UNITS} - on_hand)::bigint FROM {schema}.stock), (SELECT count(*) FROM {schema}.coupon WHERE used_by IS NOT NULL),
            (SELECT coalesce(sum(amount), 0)::bigint FROM {schema}.ledger WHERE credit = 'shop:points'),
            (SELECT coalesce(sum(amount), 0)::bigint FROM {schema}.ledger WHERE credit = 'shop:sales')"
    );
    let row = client.query_one(&sql, &[]).await.map_err(|e| failed("counting", e))?;
    Ok([row.get(0), row.get(1), row.get(2), row.get(3)])
}

/// Connects, and gives the router.
pub(crate) async fn router(options: &Rival) -> Result<Router, Failure> {
    let mut sessions = Vec::new();
    for _ in 0..options.connections.max(1) {
        sessions.push(Session::open(options).await?);
    }
    let free = Semaphore::new(sessions.len());
    let server = Server { sessions: Mutex::new(sessions), free, company: options.company };
    Ok(Router::new().route("/v1/orders", post(place)).with_state(Arc::new(server)))
}

async fn place(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let (Some(key), Ok(cart)) = (key, serde_json::from_slice::<Cart>(&body)) else {
        return answer::problem(StatusCode::BAD_REQUEST, "invalid-request");
    };
    let Ok(_turn) = server.free.acquire().await else {
        return answer::problem(StatusCode::SERVICE_UNAVAILABLE, "busy");
    };
    let Some(mut session) = server.sessions.lock().await.pop() else {
        return answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal");
    };
    let placed = session.sell(key, &cart, server.company).await;
    server.sessions.lock().await.push(session);
    match placed {
        Ok((no, total)) => {
            let body =
                json!({"order": format!("o-{no}"), "member": cart.member, "state": "paid", "total": total});
            answer::json(StatusCode::CREATED, body.to_string().into_bytes())
        }
        Err(error) => {
            eprintln!("placing an order: {error}");
            answer::problem(StatusCode::CONFLICT, "not-placed")
        }
    }
}

impl Session {
    async fn open(options: &Rival) -> Result<Self, Failure> {
        let client = connect(&options.postgres).await?;
        let path = format!("SET search_path TO {}", options.campaign);
        client.batch_execute(&path).await.map_err(|e| failed("choosing the tables", e))?;
        let place = client.prepare(PLACE).await.map_err(|e| failed("preparing a statement", e))?;
        let paid = client.prepare(PAID).await.map_err(|e| failed("preparing a statement", e))?;
        let company = match options.company {
            None => None,
            Some(address) => {
                let doing = || format!("connecting to the company at {address}");
                let stream = TcpStream::connect(address).await.map_err(|e| failed(doing(), e))?;
                stream.set_nodelay(true).map_err(|e| failed(doing(), e))?;
                let (sender, connection) =
                    handshake(TokioIo::new(stream)).await.map_err(|e| failed(doing(), e))?;
                tokio::spawn(connection);
                Some(sender)
            }
        };
        Ok(Self { client, place, paid, company })
    }

    /// The order's number and what was paid.
    async fn sell(
        &mut self,
        key: &str,
        cart: &Cart,
        company: Option<SocketAddr>,
    ) -> Result<(i64, i64), Failure> {
        let Some(company) = company else {
            return self.place(key, cart).await.map_err(|e| failed("placing", e));
        };
        // Sent together: the database begins while the call is on its way.
        let (begun, placed) = tokio::join!(self.client.batch_execute("BEGIN"), self.place(key, cart));
        let sold = async {
            begun.map_err(|e| failed("beginning", e))?;
            let (no, total) = placed.map_err(|e| failed("placing", e))?;
            let sender = self.company.as_mut().ok_or("a session has its connection to the company")?;
            let amount = json!({"minor": total, "currency": "KRW"});
            let order = json!({"order": format!("o-{no}"), "amount": amount, "method": cart.method});
            let authorized = ask(sender, company, "/api/payments", &format!("a-{key}"), &order).await?;
            let payment =
                authorized["payment"].as_str().ok_or("no payment in the company's answer")?.to_owned();
            let path = format!("/api/payments/{payment}/capture");
            let captured =
                ask(sender, company, &path, &format!("c-{key}"), &json!({"amount": total, "last": true}))
                    .await?;
            if captured["status"] != "captured" {
                return Err(failed("capturing", captured));
            }
            let paid = [&no as &(dyn tokio_postgres::types::ToSql + Sync), &payment];
            let (updated, committed) =
                tokio::join!(self.client.execute(&self.paid, &paid), self.client.batch_execute("COMMIT"));
            updated.and_then(|_| committed.map(|()| (no, total))).map_err(|e| failed("committing", e))
        };
        let sold = sold.await;
        if sold.is_err() {
            self.client.batch_execute("ROLLBACK").await.map_err(|e| failed("rolling back", e))?;
        }
        sold
    }

    async fn place(&self, key: &str, cart: &Cart) -> Result<(i64, i64), tokio_postgres::Error> {
        let products: Vec<&str> = cart.lines.iter().map(|line| line.product.as_str()).collect();
        let quantities: Vec<i64> = cart.lines.iter().map(|line| line.quantity).collect();
        let row = self
            .client
            .query_one(&self.place, &[&key, &cart.member, &products, &quantities, &cart.coupon, &cart.points])
            .await;
        match row {
            // The same key again: the order that is there.
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                let row =
                    self.client.query_one("SELECT id, total FROM orders WHERE key = $1", &[&key]).await?;
                Ok((row.try_get(0)?, row.try_get(1)?))
            }
            row => {
                let row = row?;
                Ok((row.try_get(0)?, row.try_get(1)?))
            }
        }
    }
}

/// Asks the company for one thing; anything but success is a failure.
async fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    company: SocketAddr,
    path: &str,
    key: &str,
    body: &Value,
) -> Result<Value, Failure> {
    let doing = || format!("asking the company for {path}");
    let request = Request::post(path)
        .header(header::HOST, company.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {}", crate::checkout::prepare::COMPANY_KEY))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Full::new(Bytes::from(body.to_string())));
    let request = request.map_err(|e| failed(doing(), e))?;
    sender.ready().await.map_err(|e| failed(doing(), e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(doing(), e))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|e| failed(doing(), e))?.to_bytes();
    if !status.is_success() {
        return Err(failed(doing(), String::from_utf8_lossy(&body)));
    }
    serde_json::from_slice(&body).map_err(|e| failed(doing(), e))
}
