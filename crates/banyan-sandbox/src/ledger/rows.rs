//! Payments as rows.

use crate::payment::{Card, Payment, Shape, Status};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The columns, in the order in which [`read`] takes them.
pub(super) const COLUMNS: &str = "no, id, shape, order_id, amount, currency, status, captured, refunded, open, \
     brand, last4, failures, challenged, title, return_url, fail_url, created_at, deadline, cancels";

/// A payment from its row.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Payment> {
    let card = match (row.get::<_, Option<String>>(10)?, row.get::<_, Option<String>>(11)?) {
        (Some(brand), Some(last4)) => Some(Card { brand, last4 }),
        _ => None,
    };
    let status = Status::from_number(row.get(6)?).ok_or_else(|| {
        rusqlite::Error::InvalidColumnType(6, "status".into(), rusqlite::types::Type::Integer)
    })?;
    Ok(Payment {
        no: row.get(0)?,
        id: row.get(1)?,
        shape: if row.get::<_, i64>(2)? == 1 { Shape::Toss } else { Shape::Own },
        order: row.get(3)?,
        amount: row.get(4)?,
        currency: row.get(5)?,
        status,
        captured: row.get(7)?,
        refunded: row.get(8)?,
        open: row.get(9)?,
        card,
        failures: row.get(12)?,
        challenged: row.get(13)?,
        title: row.get(14)?,
        return_url: row.get(15)?,
        fail_url: row.get(16)?,
        created_at: row.get(17)?,
        deadline: row.get(18)?,
        cancels: serde_json::from_str(&row.get::<_, String>(19)?).unwrap_or_default(),
    })
}

/// The number within a public id, if it has the form of one.
pub(super) fn number(id: &str) -> Option<i64> {
    id.strip_prefix("pay_")?.split_once('_')?.0.parse().ok()
}

/// The public id of payment `no`.
pub(super) fn public_id(secret: &[u8; 32], no: i64) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let hash = blake3::keyed_hash(secret, &no.to_le_bytes());
    let tag: String =
        hash.as_bytes()[..16].iter().map(|b| char::from(LETTERS[usize::from(b % 32)])).collect();
    format!("pay_{no}_{tag}")
}

/// The payment with the public id `id`.
pub(super) fn find(db: &Connection, id: &str) -> rusqlite::Result<Option<Payment>> {
    let Some(no) = number(id) else { return Ok(None) };
    Ok(load(db, no)?.filter(|payment| payment.id == id))
}

/// Payment number `no`.
pub(super) fn load(db: &Connection, no: i64) -> rusqlite::Result<Option<Payment>> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM payment WHERE no = ?1"))?;
    statement.query_row([no], read).optional()
}

/// Writes a new payment.
pub(super) fn insert(db: &Connection, p: &Payment) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(&format!(
        "INSERT INTO payment ({COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)"
    ))?;
    let (brand, last4) = card(p);
    statement.execute(params![
        p.no,
        p.id,
        i64::from(p.shape == Shape::Toss),
        p.order,
        p.amount,
        p.currency,
        p.status as i64,
        p.captured,
        p.refunded,
        p.open,
        brand,
        last4,
        p.failures,
        p.challenged,
        p.title,
        p.return_url,
        p.fail_url,
        p.created_at,
        p.deadline,
        cancels(p)
    ])?;
    Ok(())
}

/// Writes what can change of a payment.
pub(super) fn update(db: &Connection, p: &Payment) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "UPDATE payment SET status = ?2, captured = ?3, refunded = ?4, open = ?5, brand = ?6, last4 = ?7, \
         failures = ?8, challenged = ?9, deadline = ?10, cancels = ?11 WHERE no = ?1",
    )?;
    let (brand, last4) = card(p);
    statement.execute(params![
        p.no,
        p.status as i64,
        p.captured,
        p.refunded,
        p.open,
        brand,
        last4,
        p.failures,
        p.challenged,
        p.deadline,
        cancels(p)
    ])?;
    Ok(())
}

fn cancels(p: &Payment) -> String {
    // Only texts and numbers: writing them cannot fail.
    serde_json::to_string(&p.cancels).unwrap_or_default()
}

fn card(p: &Payment) -> (Option<&str>, Option<&str>) {
    let card = p.card.as_ref();
    (card.map(|card| card.brand.as_str()), card.map(|card| card.last4.as_str()))
}
