//! Both sides held to each other, and to what the run itself wrote down, once everybody has stopped.

use crate::banyan;
use crate::http::Http;
use crate::old::{Phase, Rows, Session};
use crate::place::{Class, Place};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Longest wait until everything has arrived and every hold has ended.
const QUIET_MAX: Duration = Duration::from_secs(240);
/// For how long nothing may happen then.
const STILL: Duration = Duration::from_secs(8);
/// Events in that time, at most: the stream says how far it is, about once a second, and both sides are compared now and then.
const STILL_EVENTS_MAX: u64 = 30;
const LOOK: Duration = Duration::from_millis(100);
/// Events that come while nobody does anything.
const IDLE: [&str; 3] = ["source-applied", "reconciled", "state-digested"];
/// How much of the old database's log a transaction may have written between the moment in which it noted its position and
/// its commit: what is nearer to a loss of the stream than this may have been noticed or not.
const MARGIN_BYTES: u64 = 128 << 10;

/// In stock and allocated.
type Numbers = (i64, i64);
/// By SKU and place.
type Table = BTreeMap<(String, String), Numbers>;

/// What was counted on the way.
#[derive(Default)]
pub(crate) struct Judged {
    pub(crate) rows: usize,
    pub(crate) events: BTreeMap<String, u64>,
    pub(crate) quiet_after: Duration,
    pub(crate) foreign_made: u64,
    pub(crate) foreign_noticed: u64,
    /// Of those made, how many fell into a time in which the stream was lost.
    pub(crate) foreign_in_the_dark: u64,
    pub(crate) comparisons: u64,
    pub(crate) differing: u64,
    pub(crate) rows_out: u64,
    pub(crate) still_events: u64,
    pub(crate) verified_events: u64,
}

/// Judges. Findings go to the tally.
pub(crate) async fn judge(place: &Place) -> Result<Judged, String> {
    let mut judged = Judged::default();
    let mut http = place.http();
    let mut session = place.session().await.map_err(|fault| fault.why)?;
    judged.quiet_after = settle(place, &mut http, &mut session).await?;
    compare_again(place, &mut http).await;
    let (theirs, ours) = (old_table(&mut session).await?, our_table(&mut http).await?);
    judged.rows = theirs.len();
    equal(place, &theirs, &ours);
    let events = banyan::events(&mut http, 1).await?;
    for event in &events {
        *judged.events.entry(event["type"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    truth(place, &mut session, &theirs).await?;
    orders(place, &mut session, &events).await?;
    foreign(place, &mut session, &events, &mut judged).await?;
    compared(place, &events, &mut judged);
    still(place, &mut http, &mut session, &events, &mut judged).await?;
    Ok(judged)
}

async fn rows(session: &mut Session, sql: &str) -> Result<Rows, String> {
    session.rows(sql).await.map_err(|fault| fault.why)
}

async fn number(session: &mut Session, sql: &str) -> Result<u64, String> {
    let value = session.value(sql).await.map_err(|fault| fault.why)?;
    value.and_then(|text| text.parse().ok()).ok_or_else(|| format!("{sql}: no number"))
}

/// Waits until every message was taken, every hold has ended, what was decided is in the old tables, and both sides follow
/// without trouble.
async fn settle(place: &Place, http: &mut Http, session: &mut Session) -> Result<Duration, String> {
    let began = Instant::now();
    let mut decided = Decided { read_to: 0, last: 0 };
    loop {
        let left = number(session, "select count(*) from banyan_outbox").await?;
        let held = match banyan::stock(http).await {
            Ok(all) => all.iter().map(|sku| sku["held"].as_u64().unwrap_or(0)).sum(),
            Err(_) => u64::MAX,
        };
        let read = banyan::events(http, decided.read_to + 1).await.map(|events| decided.reads(&events));
        let status = banyan::status(http).await.unwrap_or_default();
        if read.is_ok() && left == 0 && held == 0 && decided.has_settled(&status) {
            return Ok(began.elapsed());
        }
        if began.elapsed() > QUIET_MAX {
            place.tally.finding(format!(
                "not quiet within {QUIET_MAX:?}: {left} messages left, {held} units held, event {} is the last that counts \
                 ({read:?}), status {status}",
                decided.last
            ));
            return Ok(began.elapsed());
        }
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(LOOK).await;
    }
}

/// The last event that somebody's deed made: the sync itself says now and then how far it is, for ever.
struct Decided {
    read_to: u64,
    last: u64,
}

impl Decided {
    fn reads(&mut self, events: &[Value]) {
        for event in events {
            let seq = event["seq"].as_u64().unwrap_or(0);
            self.read_to = self.read_to.max(seq);
            if !IDLE.contains(&event["type"].as_str().unwrap_or_default()) {
                self.last = self.last.max(seq);
            }
        }
    }

    /// Whether both sides follow, and the old tables have everything that was decided: after a move to lead the first round of the
    /// sync out, which writes every row once, may still be under way when the phase is reached.
    fn has_settled(&self, status: &Value) -> bool {
        let sync = &status["sync"];
        let follows = sync["inward_trouble"].is_null() && sync["outward_trouble"].is_null();
        let written = sync["seq_written"].as_u64().is_some_and(|written| written >= self.last);
        let runs = sync["inward"] == true && sync["outward"] == true;
        status["moving"].is_null() && follows && runs && written
    }
}

/// Both sides are equal, as they say themselves and as they are read.
pub(crate) async fn equal_again(place: &Place) -> Result<(), String> {
    let mut http = place.http();
    let mut session = place.session().await.map_err(|fault| fault.why)?;
    compare_again(place, &mut http).await;
    let (theirs, ours) = (old_table(&mut session).await?, our_table(&mut http).await?);
    equal(place, &theirs, &ours);
    Ok(())
}

/// What follows is put right by comparing, at most once: what still differs then is lost.
async fn compare_again(place: &Place, http: &mut Http) {
    let began = Instant::now();
    loop {
        match banyan::reconcile(http).await {
            Ok((_, 0)) => return,
            other if began.elapsed() > QUIET_MAX => {
                place
                    .tally
                    .finding(format!("both sides differ, and comparing does not put it right: {other:?}"));
                return;
            }
            // A condition is looked at again; nobody tells it.
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

async fn old_table(session: &mut Session) -> Result<Table, String> {
    let sql = "select sku, place, num_in_stock, coalesce(num_allocated, 0) from stock \
               union all select sku, 'display', units, 0 from display";
    let rows = rows(session, sql).await?;
    let entry = |row: &Vec<Option<String>>| {
        let text = |at: usize| row.get(at).cloned().flatten();
        let number = |at: usize| text(at)?.parse::<i64>().ok();
        Some(((text(0)?, text(1)?), (number(2)?, number(3)?)))
    };
    Ok(rows.iter().filter_map(entry).collect())
}

async fn our_table(http: &mut Http) -> Result<Table, String> {
    let mut table = Table::new();
    for sku in banyan::stock(http).await? {
        for place in sku["locations"].as_array().into_iter().flatten() {
            let of = |name: &str| place[name].as_i64().unwrap_or(0);
            let (on_hand, held, allocated, short) = (of("on_hand"), of("held"), of("allocated"), of("short"));
            let location = place["location"].as_str().unwrap_or_default().to_owned();
            let one_number = location == "display";
            let numbers = match one_number {
                true => (on_hand - held - short, 0),
                false => (on_hand + allocated - short, held + allocated),
            };
            table.insert((sku["sku"].as_str().unwrap_or_default().to_owned(), location), numbers);
        }
    }
    Ok(table)
}

fn equal(place: &Place, theirs: &Table, ours: &Table) {
    for item in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (theirs.get(item), ours.get(item));
        if old != new {
            place.tally.finding(format!("{item:?} is {old:?} in the old table and {new:?} in Banyan"));
        }
    }
}

/// Every order, every shipment and every count, once: what the numbers must be, from what was committed beside them.
async fn truth(place: &Place, session: &mut Session, theirs: &Table) -> Result<(), String> {
    let mut in_stock: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows(session, "select sku, kind, value from soak_move order by id").await? {
        let [Some(sku), Some(kind), Some(value)] = row.as_slice() else { continue };
        let value: i64 = value.parse().map_err(|_| format!("soak_move: {value}"))?;
        let units = in_stock.entry(sku.clone()).or_insert(0);
        *units = if kind == "count" { value } else { *units - value };
    }
    let mut sold: BTreeMap<String, i64> = BTreeMap::new();
    for (_, sku, quantity) in place.own().iter() {
        *in_stock.entry(sku.clone()).or_insert(0) -= i64::from(*quantity);
        *sold.entry(sku.clone()).or_insert(0) += i64::from(*quantity);
    }
    let mut allocated: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows(session, "select sku, state, sum(quantity) from soak_order group by sku, state").await? {
        let [Some(sku), Some(state), Some(quantity)] = row.as_slice() else { continue };
        let quantity: i64 = quantity.parse().map_err(|_| format!("soak_order: {quantity}"))?;
        if state == "placed" {
            allocated.insert(sku.clone(), quantity);
        }
        if state != "cancelled" {
            *sold.entry(sku.clone()).or_insert(0) += quantity;
        }
    }
    for (sku, units) in &in_stock {
        let wanted = (*units, allocated.get(sku).copied().unwrap_or(0));
        let found = theirs.get(&(sku.clone(), "main".to_owned())).copied();
        if found != Some(wanted) {
            place.tally.finding(format!(
                "{sku} is {found:?}; by what was ordered, shipped and counted it is {wanted:?}"
            ));
        }
    }
    let goods = place.goods.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    for goods in goods.iter().filter(|goods| goods.class == Class::Scarce) {
        let sold = sold.get(&goods.sku).copied().unwrap_or(0);
        if sold > i64::from(goods.first) {
            place.tally.finding(format!("{}: {sold} sold, and there were {}", goods.sku, goods.first));
        }
    }
    Ok(())
}

/// Every order that was placed while Banyan led is one reservation that was sold, once; nothing else was.
async fn orders(place: &Place, session: &mut Session, events: &[Value]) -> Result<(), String> {
    let mut committed: BTreeMap<&str, u32> = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "reservation-committed") {
        *committed.entry(event["reservation"].as_str().unwrap_or_default()).or_insert(0) += 1;
    }
    let mut wanted: BTreeSet<String> =
        place.own().iter().map(|(reservation, ..)| reservation.clone()).collect();
    for row in rows(session, "select reservation from soak_order where led = 'lead'").await? {
        if let Some(Some(reservation)) = row.first()
            && !wanted.insert(reservation.clone())
        {
            place.tally.finding(format!("{reservation} is that of two orders"));
        }
    }
    for reservation in &wanted {
        match committed.get(reservation.as_str()) {
            Some(1) => {}
            other => place.tally.finding(format!(
                "{reservation} of a committed order was sold {} times",
                other.unwrap_or(&0)
            )),
        }
    }
    for reservation in committed.keys().filter(|reservation| !wanted.contains(**reservation)) {
        place.tally.finding(format!("{reservation} was sold, and no order is there for it"));
    }
    let told = number(session, "select count(*) from soak_told").await?;
    let new = number(session, "select count(*) from soak_told where kind = 'new'").await?;
    let applied =
        |event: &Value| (event["type"] == "source-applied").then(|| event["outbox"].as_u64()).flatten();
    let taken: u64 = events.iter().filter_map(applied).sum();
    // A new row that came while the stream was lost is taken in otherwise.
    let lost = events.iter().filter(|event| event["type"] == "source-set").count() > 1;
    if !(told - if lost { new } else { 0 }..=told).contains(&taken) {
        place.tally.finding(format!(
            "the old shop told {told} messages ({new} by new rows), and {taken} were taken"
        ));
    }
    for event in events.iter().filter(|event| event["type"] == "outbox-refused") {
        place.tally.finding(format!("a message of the old shop was refused: {}", event["why"]));
    }
    Ok(())
}

/// Every foreign write was noticed, by SKU. Where the stream was lost, the comparison must find what it did: then fewer may be.
async fn foreign(
    place: &Place,
    session: &mut Session,
    events: &[Value],
    judged: &mut Judged,
) -> Result<(), String> {
    let position =
        |event: &Value| event["position"].as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (mut dark, mut applied) = (Vec::new(), None);
    let mut noticed: BTreeMap<(String, String), u64> = BTreeMap::new();
    for event in events {
        match event["type"].as_str() {
            Some("source-applied") => applied = Some(position(event)),
            Some("source-set") => {
                dark.extend(applied.map(|applied| applied.saturating_sub(MARGIN_BYTES)..=position(event)));
            }
            // One by one in older logs, together with their transaction since.
            Some("breach-noted" | "breaches-noted") => {
                let one = std::slice::from_ref(event);
                for breach in event["breaches"].as_array().map_or(one, Vec::as_slice) {
                    let text = |name: &str| breach[name].as_str().unwrap_or_default().to_owned();
                    *noticed.entry((text("sku"), text("location"))).or_insert(0) += 1;
                }
            }
            _ => {}
        }
    }
    let mut made: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for row in rows(session, "select sku, place, position from soak_foreign").await? {
        let [Some(sku), Some(at), Some(position)] = row.as_slice() else { continue };
        let position: u64 = position.parse().map_err(|_| format!("soak_foreign: {position}"))?;
        let (all, hidden) = made.entry((sku.clone(), at.clone())).or_insert((0, 0));
        *all += 1;
        *hidden += u64::from(dark.iter().any(|dark| dark.contains(&position)));
    }
    for item in made.keys().chain(noticed.keys()).collect::<BTreeSet<_>>() {
        let (all, hidden) = made.get(item).copied().unwrap_or((0, 0));
        let seen = noticed.get(item).copied().unwrap_or(0);
        (judged.foreign_made, judged.foreign_in_the_dark) =
            (judged.foreign_made + all, judged.foreign_in_the_dark + hidden);
        judged.foreign_noticed += seen;
        if !(all - hidden..=all).contains(&seen) {
            place.tally.finding(format!(
                "{item:?}: {all} foreign writes, {hidden} of them while the stream was lost, and {seen} were noticed"
            ));
        }
    }
    Ok(())
}

/// What comparisons found on the way. On Postgres nothing may differ but where the stream was lost.
fn compared(place: &Place, events: &[Value], judged: &mut Judged) {
    let lost = events.iter().filter(|event| event["type"] == "source-set").count() > 1;
    for event in events.iter().filter(|event| event["type"] == "reconciled") {
        judged.comparisons += 1;
        judged.differing += event["differing"].as_u64().unwrap_or(0);
    }
    if judged.differing > 0 && !lost && place.is_postgres() {
        place
            .tally
            .finding(format!("{} rows differed in comparisons, and no stream was lost", judged.differing));
    }
}

/// No loop: when nobody writes, nothing is written, and what was written has its reason in the log.
async fn still(
    place: &Place,
    http: &mut Http,
    session: &mut Session,
    events: &[Value],
    judged: &mut Judged,
) -> Result<(), String> {
    let by_banyan = match place.is_postgres() {
        true => "select count(*) from stock_history where changed_by = 'banyan'",
        false => "select count(*) from soak_audit where changed_by like 'banyan@%'",
    };
    let last = events.last().and_then(|event| event["seq"].as_u64()).unwrap_or(0);
    let before = number(session, by_banyan).await?;
    // Only time can show that nothing happens.
    tokio::time::sleep(STILL).await;
    let after = banyan::events(http, last + 1).await?;
    judged.still_events = after.len() as u64;
    judged.rows_out = number(session, by_banyan).await?;
    for event in after.iter().filter(|event| !IDLE.contains(&event["type"].as_str().unwrap_or_default())) {
        place.tally.finding(format!("nobody writes, and there is a new event: {event}"));
    }
    if judged.still_events > STILL_EVENTS_MAX {
        place
            .tally
            .finding(format!("nobody writes, and there are {} events in {STILL:?}", judged.still_events));
    }
    if judged.rows_out != before {
        place.tally.finding(format!(
            "nobody writes, and Banyan wrote {} rows in {STILL:?}",
            judged.rows_out - before
        ));
    }
    // Every row that Banyan wrote is of an event that touched an item; a whole writing anew is none.
    let count = |name: &str| judged.events.get(name).copied().unwrap_or(0);
    let names =
        ["stock-set", "item-mirrored", "reservation-made", "reservation-committed", "reservation-released"];
    let reasons: u64 = names.iter().map(|name| count(name)).sum();
    let reasons = reasons + count("reservation-expired") + count("breach-noted") + judged.differing;
    let restarts = {
        let seen = place.tally.seen();
        (seen.faults.len() + 2 * seen.moves.len()) as u64
    };
    // What was written and not known to be is written again: at most what one write holds.
    if judged.rows_out > reasons + restarts * 1_000 {
        place
            .tally
            .finding(format!("Banyan wrote {} rows, and {reasons} events touched one", judged.rows_out));
    }
    match session.enter().await {
        Ok(Phase::Lead) | Err(_) => {}
        Ok(Phase::Old) => place.tally.finding("at the end the old shop leads, and Banyan was to".to_owned()),
    }
    session.run("rollback").await.map_err(|fault| fault.why)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Decided;
    use serde_json::json;

    #[test]
    fn it_is_not_still_before_everything_that_was_decided_is_in_the_old_tables() {
        let mut decided = Decided { read_to: 0, last: 0 };
        let event = |seq: u64, kind: &str| json!({"seq": seq, "type": kind});
        decided.reads(&[event(7, "move-noted"), event(8, "source-applied"), event(9, "reconciled")]);
        assert_eq!((decided.read_to, decided.last), (9, 7));
        let status = |written: u64, outward: bool| {
            json!({"phase": "lead", "moving": null, "sync": {"inward": true,
            "outward": outward, "inward_trouble": null, "outward_trouble": null, "seq_written": written}})
        };
        assert!(!decided.has_settled(&status(0, true)), "the first round after the move is under way");
        assert!(!decided.has_settled(&status(7, false)), "nobody writes");
        assert!(decided.has_settled(&status(7, true)));
        assert!(!decided.has_settled(&json!(null)), "no answer");
    }
}
