//! The switch: hold the door until no order is in flight, and hand leadership over in the same transaction.

use super::address::{Session, fault};
use super::bookkeeping::{SYNC, ours};
use super::pages::{mark, position};
use super::sessions::Sessions;
use super::write::read_book;
use crate::database::{BoxFuture, Door, Hold, LegacyError, Switch, Switched};
use crate::mapping::Mapping;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Longest the door is held without a word from us: then the old database ends our session, and orders go on.
const HELD_MAX: &str = "60s";
/// Longest a wait for the lock that is asked for in one go.
const WAIT_MAX: Duration = Duration::from_secs(50);

/// A transaction that holds the lock.
struct HeldDoor {
    session: Session,
    mapping: Arc<Mapping>,
    position: u64,
}

/// Takes the lock that orders of the old shop hold shared, each until it is committed.
pub(super) async fn hold(
    sessions: &Sessions,
    mapping: &Arc<Mapping>,
    wait_max: Duration,
) -> Result<Hold, LegacyError> {
    if !mapping.database.bookkeeping {
        return Err(LegacyError::Refused(
            "the mapping has bookkeeping = false: Banyan may mirror, and not lead".to_owned(),
        ));
    }
    // A session of its own: dropped, it is closed, and the transaction with it.
    let session = sessions.address().connect().await?;
    let holding = |error: tokio_postgres::Error| fault("holding the door", &error);
    // 1 ms at least: 0 would mean to wait for ever. The server's limit on a statement must not come first.
    let wait = wait_max.clamp(Duration::from_millis(1), WAIT_MAX).as_millis();
    let begin = format!(
        "begin; set local synchronous_commit = on; set local lock_timeout = {wait}; \
         set local statement_timeout = {}; set local idle_in_transaction_session_timeout = '{HELD_MAX}'",
        wait + 5_000
    );
    session.client.batch_execute(&begin).await.map_err(holding)?;
    let key = format!("banyan:{}", mapping.capability);
    match session.client.execute("select pg_advisory_xact_lock(hashtext($1))", &[&key]).await {
        Ok(_) => {}
        Err(error) if is_busy(&error) => return Ok(Hold::LockBusy),
        Err(error) => return Err(holding(error)),
    }
    let position = position(&session.client).await?;
    mark(&session.client).await?;
    Ok(Hold::Held(Box::new(HeldDoor { session, mapping: mapping.clone(), position })))
}

impl Door for HeldDoor {
    fn position(&self) -> u64 {
        self.position
    }

    fn switch(self: Box<Self>, switch: Switch) -> BoxFuture<'static, Result<Switched, LegacyError>> {
        Box::pin(async move {
            let work = commit(&self.session, &self.mapping, switch);
            let done = tokio::time::timeout(WAIT_MAX, work).await;
            done.unwrap_or_else(|_| {
                Err(LegacyError::Broken(format!("no answer within {} s", WAIT_MAX.as_secs())))
            })
        })
    }
}

async fn commit(session: &Session, mapping: &Mapping, switch: Switch) -> Result<Switched, LegacyError> {
    let switching = |error: tokio_postgres::Error| fault("switching", &error);
    let client = &session.client;
    let next = match switch.decide(read_book(client, mapping, "for update").await?) {
        Ok(next) => next,
        Err(answer) => {
            client.batch_execute("rollback").await.map_err(switching)?;
            return Ok(answer);
        }
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let sql = format!(
        "update /* banyan */ {} set phase = $1, epoch = $2, move = $3, changed_at = now() where capability = $4",
        ours(mapping, SYNC)
    );
    let (epoch, move_no) = (number(next.epoch), number(next.move_no));
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&next.phase.as_str(), &epoch, &move_no, &mapping.capability];
    client.execute(&sql, &values).await.map_err(switching)?;
    let committed = client.batch_execute("commit").await;
    committed.map_err(|error| LegacyError::Broken(format!("committing the switch: {error}")))?;
    Ok(Switched::Done(next))
}

/// An order in flight kept the lock for longer than we may wait.
fn is_busy(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}
