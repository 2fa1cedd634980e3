//! The switch: one transaction that waits for the orders in flight and hands leadership over.

use super::address::fault;
use super::bookkeeping::{SYNC, ours};
use super::sessions::Sessions;
use super::write::read_book;
use crate::database::{Book, LegacyError, Switch, Switched};
use crate::mapping::Mapping;
use tokio_postgres::error::SqlState;

/// Hands leadership over. An error leaves the outcome open: the book tells.
pub(super) async fn switch(sessions: &Sessions, mapping: &Mapping, switch: Switch) -> Result<Switched, LegacyError> {
    if !mapping.database.bookkeeping {
        return Ok(Switched::Refused("the mapping has bookkeeping = false: Banyan may mirror, and not lead".to_owned()));
    }
    sessions
        .with(|mut lease| async {
            let client = &mut lease.session.client;
            let switching = |error: tokio_postgres::Error| fault("switching", &error);
            let transaction = client.transaction().await.map_err(switching)?;
            // 1 ms at least: 0 would mean to wait for ever. The server's own limit on a statement must not come first.
            let wait = switch.wait_max.as_millis().clamp(1, 50_000);
            let settings = format!("set local lock_timeout = {wait}; set local statement_timeout = {}", wait + 5_000);
            transaction.batch_execute(&settings).await.map_err(switching)?;
            // Who decides about stock in the old shop holds this lock shared until the order is committed.
            let key = format!("banyan:{}", mapping.capability);
            let locked = transaction.execute("select pg_advisory_xact_lock(hashtext($1))", &[&key]).await;
            match locked {
                Ok(_) => {}
                Err(error) if is_busy(&error) => {
                    transaction.rollback().await.map_err(switching)?;
                    return Ok((lease, Switched::LockBusy));
                }
                Err(error) => return Err(switching(error)),
            }
            let book = read_book(transaction.client(), mapping, "for update").await?;
            let next = match decide(book, switch) {
                Ok(next) => next,
                Err(answer) => {
                    transaction.rollback().await.map_err(switching)?;
                    return Ok((lease, answer));
                }
            };
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            let sql = format!(
                "update /* banyan */ {} set phase = $1, epoch = $2, move = $3, changed_at = now() where capability = $4",
                ours(mapping, SYNC)
            );
            let (epoch, move_no) = (number(next.epoch), number(next.move_no));
            transaction
                .execute(&sql, &[&next.phase.word(), &epoch, &move_no, &mapping.capability])
                .await
                .map_err(switching)?;
            transaction.commit().await.map_err(|error| LegacyError::Broken(format!("committing the switch: {error}")))?;
            Ok((lease, Switched::Done(next)))
        })
        .await
}

/// An order in flight kept the lock for longer than we may wait.
fn is_busy(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// What the book becomes, or what to answer without changing it.
fn decide(book: Option<Book>, switch: Switch) -> Result<Book, Switched> {
    let refused = |why: String| Err(Switched::Refused(why));
    let Some(book) = book else {
        return refused(format!("{SYNC} has no row; `banyan legacy check --create` makes it"));
    };
    if book.move_no == switch.move_no && book.phase == switch.to {
        return Err(Switched::Done(book));
    }
    if book.move_no >= switch.move_no {
        return refused(format!("move {} was made already, and led to {}", book.move_no, book.phase.word()));
    }
    if book.epoch != switch.epoch {
        return refused(format!("the epoch is {}, not {}: somebody else switched", book.epoch, switch.epoch));
    }
    if book.seq < switch.seq_at_least {
        return refused(format!("the old tables have position {}, and {} is needed", book.seq, switch.seq_at_least));
    }
    Ok(Book { phase: switch.to, epoch: book.epoch + 1, seq: book.seq, move_no: switch.move_no })
}
