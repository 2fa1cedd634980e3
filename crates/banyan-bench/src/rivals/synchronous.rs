//! The synchronous way: each request is one Postgres transaction, and the answer waits for its commit.
//!
//! What makes it as fast as it can be, and still right (never above the quantity, one coupon per member, the same
//! member gets the same coupon again):
//! - one statement, prepared, is the whole transaction: one round trip, and the hot row is locked only from the
//!   `UPDATE` to the end of the commit's disk write;
//! - requests are pipelined on few connections: more sessions would only queue for the row's lock;
//! - the counter's page is nearly empty, so each update is heap-only and touches no index;
//! - `slots` can spread the counter over several rows, which lets commits share a disk write. Teams do this late,
//!   since "how many are left" then needs a sum; both ways are measured.
//!
//! `synchronous_commit` is on: an answer is durable when it is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, Statement};

use crate::serve::Rival;
use crate::{Failure, answer, failed};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS campaign_slot (
        campaign text NOT NULL, slot bigint NOT NULL, quantity bigint NOT NULL, issued bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (campaign, slot)) WITH (fillfactor = 10);
    CREATE TABLE IF NOT EXISTS coupon (
        campaign text NOT NULL, member text NOT NULL, number bigint NOT NULL,
        issued_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (campaign, member));";

/// The number of a coupon is unique: slot, plus the slot's count times the number of slots. A member racing against
/// itself breaks the primary key, which undoes the whole transaction; asked again it finds its coupon.
const ISSUE: &str = "
    WITH mine AS (SELECT number FROM coupon WHERE campaign = $1 AND member = $2),
    taken AS (UPDATE campaign_slot SET issued = issued + 1
        WHERE campaign = $1 AND slot = $3 AND issued < quantity AND NOT EXISTS (SELECT 1 FROM mine)
        RETURNING (issued - 1) * $4 + slot AS number),
    fresh AS (INSERT INTO coupon (campaign, member, number) SELECT $1, $2, number FROM taken RETURNING number)
    SELECT number, false AS is_new FROM mine UNION ALL SELECT number, true FROM fresh";

struct Session {
    client: Client,
    issue: Statement,
}

struct Server {
    sessions: Vec<Session>,
    next: AtomicUsize,
    slots: usize,
    campaign: String,
}

/// Connects, makes the tables and the campaign, and gives the router.
pub(crate) async fn router(options: &Rival) -> Result<Router, Failure> {
    let mut sessions = Vec::with_capacity(options.connections);
    for _ in 0..options.connections.max(1) {
        sessions.push(connect(&options.postgres).await?);
    }
    let slots = options.slots.max(1);
    make_campaign(&sessions[0].client, options, slots).await.map_err(|e| failed("making the campaign", e))?;
    let server = Server { sessions, next: AtomicUsize::new(0), slots, campaign: options.campaign.clone() };
    Ok(Router::new().route("/v1/campaigns/{campaign}/coupons", post(issue)).with_state(Arc::new(server)))
}

async fn connect(url: &str) -> Result<Session, Failure> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.map_err(|e| failed("connecting to Postgres", e))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("the connection to Postgres ended: {error}");
        }
    });
    // Two sessions that make the same table at once would meet an error.
    let doing = "making the tables";
    client.batch_execute("SELECT pg_advisory_lock(1)").await.map_err(|e| failed(doing, e))?;
    client.batch_execute(SCHEMA).await.map_err(|e| failed(doing, e))?;
    client.batch_execute("SELECT pg_advisory_unlock(1)").await.map_err(|e| failed(doing, e))?;
    let issue = client.prepare(ISSUE).await.map_err(|e| failed("preparing the statement", e))?;
    Ok(Session { client, issue })
}

async fn make_campaign(client: &Client, options: &Rival, slots: usize) -> Result<(), Failure> {
    let total = i64::try_from(options.quantity)?;
    let count = i64::try_from(slots)?;
    for slot in 0..count {
        let share = total / count + i64::from(slot < total % count);
        let sql =
            "INSERT INTO campaign_slot (campaign, slot, quantity) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        client.execute(sql, &[&options.campaign, &slot, &share]).await?;
    }
    Ok(())
}

async fn issue(State(server): State<Arc<Server>>, Path(campaign): Path<String>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<answer::Request>(&body) else {
        return answer::problem(StatusCode::BAD_REQUEST, "invalid-request");
    };
    if !answer::is_member(&request.member) {
        return answer::problem(StatusCode::BAD_REQUEST, "invalid-request");
    }
    if campaign != server.campaign {
        return answer::problem(StatusCode::NOT_FOUND, "campaign-not-found");
    }
    match server.issue(&request.member).await {
        Ok(Some((number, is_new))) => answer::coupon(&campaign, &request.member, number, is_new),
        Ok(None) => answer::problem(StatusCode::CONFLICT, "sold-out"),
        Err(error) => {
            eprintln!("issuing a coupon: {error}");
            answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    }
}

impl Server {
    /// The coupon's number and whether it is new; `None` when every slot is empty.
    async fn issue(&self, member: &str) -> Result<Option<(u64, bool)>, Failure> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let session = &self.sessions[turn % self.sessions.len()];
        for attempt in 0..self.slots {
            // A session stays with its slot, so that sessions meet at a row only when a slot is empty.
            let slot = (turn % self.sessions.len() + attempt) % self.slots;
            let found = match session.issue(&self.campaign, member, slot, self.slots).await {
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                    session.issue(&self.campaign, member, slot, self.slots).await?
                }
                result => result?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Session {
    async fn issue(
        &self,
        campaign: &str,
        member: &str,
        slot: usize,
        slots: usize,
    ) -> Result<Option<(u64, bool)>, tokio_postgres::Error> {
        let slot = i64::try_from(slot).expect("slots are few");
        let slots = i64::try_from(slots).expect("slots are few");
        let row = self.client.query_opt(&self.issue, &[&campaign, &member, &slot, &slots]).await?;
        row.map(|row| {
            Ok((u64::try_from(row.try_get::<_, i64>(0)?).expect("counted up from 0"), row.try_get(1)?))
        })
        .transpose()
    }
}
