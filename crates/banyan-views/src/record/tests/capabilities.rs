//! Stock, ledger and sagas: after any story the rows say what the state says; stopped anywhere, built anew, they say the
//! same.

use super::shop::{self, Shop};
use super::story::{self, account, deeds, sku};
use crate::View;
use crate::record::file::{self, beside};
use crate::record::{HoldState, RECORD_FILE, RecordOptions, RecordReader, SagaShown, TransferKind, rebuild};
use banyan_domain::saga::{Cause, End, Phase, Saga};
use banyan_domain::stock::ReservationState;
use banyan_domain::{
    Actor, Entry, Event, Reason, Reference, ReservationNo, SagaNo, TransferNo, pay, saga, stock,
};
use banyan_log::{Block, LogError, LogReader, Seq};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn rows_say_what_the_state_says(deeds in deeds(220), at_once in 1..9_usize, reopen in 1..30_usize) {
        let shop = story::play(&deeds);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for blocks in shop.blocks.chunks(reopen) {
            shop::fill(&mut shop::open(folder.path()), blocks, at_once);
        }
        let view = shop::open(folder.path());
        prop_assert_eq!((view.parked(), view.checkpoint()), (0, Seq(shop.state.seq())));
        compare_stock(&shop, &view.reader());
        compare_ledger(&shop, &view.reader());
        compare_sagas(&shop, &view.reader());
        // All of it at once says the same as piece by piece.
        let other = tempfile::tempdir().expect("a temporary folder");
        shop::fill(&mut shop::open(other.path()), &shop.blocks, shop.blocks.len());
        prop_assert_eq!(
            shop::dump(&folder.path().join(RECORD_FILE)),
            shop::dump(&other.path().join(RECORD_FILE))
        );
    }
}

fn compare_stock(shop: &Shop, reader: &RecordReader) {
    let stock = shop.state.stock();
    let rows = reader.stock_items("", None, 1_000).expect("readable");
    assert_eq!(rows.len(), stock.items().count());
    for row in &rows {
        let item = stock.item(row.item).expect("it is there");
        let level = item.level;
        assert_eq!((&*row.sku, &*row.location), (item.sku, item.location.as_str()));
        assert_eq!((row.on_hand, row.held, row.available), (level.on_hand, level.held, level.available()));
        assert_eq!((row.promised, row.owed, row.safety), (level.promised, level.owed, level.safety));
        assert_eq!((row.backorder_max, row.preorder_max), (level.backorder_max, level.preorder_max));
        let id = banyan_domain::SkuId::new(&*row.sku).expect("valid");
        assert_eq!((row.released_at, row.per_member), (level.released_at, stock.per_member(&id)));
    }
    let places: Vec<_> = rows.iter().map(|row| (&*row.sku, &*row.location)).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    let paged = reader.stock_items("sku-1", Some(("sku-1", "busan")), 1).expect("readable");
    let next = rows.iter().find(|row| (&*row.sku, &*row.location) > ("sku-1", "busan"));
    assert_eq!(paged.first(), next.filter(|row| row.sku.starts_with("sku-1")));

    for view in stock.reservations() {
        let row = reader.reservation(view.reservation).expect("readable").expect("it was made");
        let held = view.state == ReservationState::Held;
        assert_eq!(
            (row.state, row.member.as_deref(), row.order.as_deref()),
            (view.state, view.member, view.order)
        );
        assert_eq!(if held { Some(row.until) } else { row.ended_at }, Some(view.at));
        assert_eq!(row.lines.len(), view.parts.len());
        for (line, part) in row.lines.iter().zip(view.parts) {
            let numbers = (line.item, line.held, line.promised, line.promised_first, line.returned);
            assert_eq!(numbers, (part.item, part.held, part.promised, part.promised_first, part.returned));
        }
    }
    compare_reservation_lists(shop, reader);
    compare_movements(shop, reader);
}

fn compare_reservation_lists(shop: &Shop, reader: &RecordReader) {
    let stock = shop.state.stock();
    let all = [0, 1, 2, 3].map(|state| ReservationState::from_u8(state).expect("a state"));
    for state in [None].into_iter().chain(all.map(Some)) {
        let mut expected: Vec<_> = stock
            .reservations()
            .filter(|view| state.is_none_or(|state| state == view.state))
            .map(|view| view.reservation)
            .collect();
        expected.reverse();
        let (mut found, mut before) = (Vec::<ReservationNo>::new(), None);
        loop {
            let page = reader.reservations(state, before, 3).expect("readable");
            found.extend(page.reservations.iter().map(|row| row.reservation));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{state:?}");
    }
}

/// The movements of an item add up to what is on hand.
fn compare_movements(shop: &Shop, reader: &RecordReader) {
    for s in 0..9 {
        let (mut before, mut sums, mut seen) = (None, BTreeMap::<Box<str>, i64>::new(), Vec::new());
        let mut newest = BTreeMap::<Box<str>, u32>::new();
        loop {
            let page = reader.movements(&sku(s), before, 2).expect("readable");
            for row in page.movements {
                *sums.entry(row.location.clone()).or_default() += row.change - i64::from(row.filled);
                newest.entry(row.location).or_insert(row.on_hand);
                seen.push(row.seq);
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert!(seen.is_sorted_by(|a, b| a >= b), "newest first: {seen:?}");
        for item in shop.state.stock().items_of(&sku(s)) {
            let (on_hand, location) = (item.level.on_hand, item.location.as_str());
            assert_eq!(
                sums.get(location).copied().unwrap_or(0),
                i64::from(on_hand),
                "{} {location}",
                item.sku
            );
            assert_eq!(newest.get(location).copied().unwrap_or(0), on_hand);
        }
    }
}

fn compare_ledger(shop: &Shop, reader: &RecordReader) {
    let ledger = shop.state.ledger();
    let rows = reader.accounts("", "", 1_000).expect("readable");
    assert_eq!(rows.len() as u32, ledger.accounts_count());
    for row in rows {
        let (no, account) = ledger.account(&row.id.parse_id()).expect("it is open");
        let now = pay::Account {
            debits_posted: row.debits_posted,
            credits_posted: row.credits_posted,
            debits_pending: row.debits_pending,
            credits_pending: row.credits_pending,
            currency: row.currency,
            rule: row.rule,
        };
        assert_eq!((row.no, &now), (no, account));
    }
    for no in 1..=ledger.transfers_ever() {
        let no = TransferNo::new(no);
        let row = reader.transfer(no).expect("readable").expect("it was made");
        let left = row.hold.filter(|hold| hold.0 == HoldState::Pending).map(|hold| (hold.1, hold.2));
        assert_eq!(left, ledger.hold(no).map(|hold| (hold.left, hold.until)), "{no}");
        if let Some(refundable) = ledger.refundable(shop.state.time(), no) {
            assert_eq!((row.amount, row.refunded), (refundable.amount, refundable.refunded), "{no}");
        }
        let after = reader.transfers_of(no).expect("readable");
        let back = after.iter().filter(|of| matches!(of.kind, TransferKind::Refund | TransferKind::Reverse));
        assert_eq!(back.map(|of| of.amount).sum::<i64>(), row.refunded, "{no}");
    }
    for a in 0..5 {
        compare_statement(shop, reader, a);
    }
    let mut by_reference = 0;
    for reference in 0..3 {
        let (mut after, reference) = (None, Reference::new(format!("ref-{reference}")).expect("valid"));
        loop {
            let page = reader.transfers_for(&reference, after, 2).expect("readable");
            assert!(page.transfers.iter().all(|row| *row.reference == *reference.as_str()));
            by_reference += page.transfers.len() as u64;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    assert!(by_reference <= ledger.transfers_ever());
}

/// A statement read page by page ends at nothing, and begins at what the account has.
fn compare_statement(shop: &Shop, reader: &RecordReader, a: u8) {
    let Some((_, now)) = shop.state.ledger().account(&account(a)) else {
        assert_eq!(reader.statement(&account(a), None, 3).expect("readable"), None);
        return;
    };
    let (mut cursor, mut expected, mut numbers) = (None, now.balance(), Vec::new());
    loop {
        let page = reader.statement(&account(a), cursor, 3).expect("readable").expect("it is open");
        for line in &page.lines {
            assert_eq!(line.balance, expected, "after {}", line.transfer.no);
            expected -= line.posted;
            numbers.push(line.transfer.no);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(expected, 0, "before the first transfer");
    assert!(numbers.is_sorted_by(|a, b| a > b), "newest first: {numbers:?}");
}

fn compare_sagas(shop: &Shop, reader: &RecordReader) {
    let sagas = shop.state.sagas();
    let mut states = BTreeMap::<SagaShown, Vec<SagaNo>>::new();
    for saga in sagas.sagas() {
        let row = reader.saga(saga.no).expect("readable").expect("it began");
        let definition = sagas.definition(saga.definition).expect("it is defined");
        assert_eq!((&*row.name, row.version), (definition.name.as_str(), definition.version));
        assert_eq!(
            (&*row.key, row.started_at, row.changed_at),
            (saga.key.as_str(), saga.started_at, saga.changed_at)
        );
        assert_eq!(row.at_risk, saga.input.get("amount").and_then(|amount| amount.parse().ok()));
        assert_eq!(row.phase, phase(saga));
        let name = |place: u8| definition.steps[usize::from(place)].name.as_str();
        let parked = saga.parked.as_ref().map(|park| (name(park.step), &*park.why, park.since));
        let found = row.parked_at.map(|since| {
            (row.parked_step.as_deref().unwrap_or(""), row.parked_why.as_deref().unwrap_or(""), since)
        });
        assert_eq!(found, parked);
        assert_eq!(row.state, if parked.is_some() { SagaShown::Parked } else { row.phase });
        let cause = saga.cause.as_ref().map(|cause| match cause {
            Cause::Step(step, why) => ("step", Some(name(*step)), Some(&**why), None),
            Cause::Cancelled(by, reason) => ("cancelled", None, Some(reason.as_str()), Some(by.as_str())),
            Cause::TimedOut => ("timed-out", None, None, None),
            Cause::Forced => ("forced", None, None, None),
        });
        let found = row.cause.as_deref().map(|word| {
            (word, row.cause_step.as_deref(), row.cause_why.as_deref(), row.cause_actor.as_deref())
        });
        assert_eq!(found, cause);
        assert_eq!(row.ended_at.is_some(), matches!(saga.phase, Phase::Ended(_)));
        states.entry(row.state).or_default().push(saga.no);
        compare_course(shop, reader, saga);
    }
    for (state, mut expected) in states.clone() {
        expected.reverse();
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = reader.sagas(Some(state), before, 2).expect("readable");
            found.extend(page.sagas.iter().map(|row| row.saga));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        // Those that ended long ago are forgotten by the state, and not by the store.
        found.retain(|no| sagas.saga(*no).is_some());
        assert_eq!(found, expected, "{state:?}");
    }
    let parked = reader.parked_sagas(crate::record::ParkedOrder::Age, 100).expect("readable");
    assert_eq!(parked.len(), states.get(&SagaShown::Parked).map_or(0, Vec::len));
    assert!(parked.is_sorted_by_key(|row| row.parked_at));
    let parked = reader.parked_sagas(crate::record::ParkedOrder::AtRisk, 100).expect("readable");
    assert!(parked.is_sorted_by(|a, b| a.at_risk >= b.at_risk));
    let totals = reader.saga_totals().expect("readable");
    let count = |state| states.get(&state).map_or(0, |found: &Vec<_>| found.len() as u64);
    assert_eq!((totals.parked, totals.running), (count(SagaShown::Parked), count(SagaShown::Running)));
    assert_eq!(totals.parked_at_risk, parked.iter().filter_map(|row| row.at_risk).sum());
}

fn phase(saga: &Saga) -> SagaShown {
    match saga.phase {
        Phase::Running => SagaShown::Running,
        Phase::Compensating => SagaShown::Compensating,
        Phase::Ended(End::Completed) => SagaShown::Completed,
        Phase::Ended(End::Compensated) => SagaShown::Compensated,
    }
}

/// Each event of a saga is in its course, and what is open in the state has no answer there.
fn compare_course(shop: &Shop, reader: &RecordReader, saga: &Saga) {
    let course = reader.saga_steps(saga.no, Seq::ZERO, 1_000).expect("readable");
    assert!(course.is_sorted_by(|a, b| a.seq < b.seq));
    let (mut asked, mut settled, mut others) = (0, 0, 0);
    for (_, event) in events(&shop.blocks) {
        let Event::Saga(event) = event else { continue };
        if event.saga() != Some(saga.no) {
            continue;
        }
        match event {
            saga::Event::Scheduled { .. } => asked += 1,
            saga::Event::Settled { .. } => settled += 1,
            saga::Event::Started { .. } => {}
            _ => others += 1,
        }
    }
    let is_try = |what: &str| matches!(what, "do" | "undo" | "query");
    let tries = || course.iter().filter(|row| is_try(&row.what));
    assert_eq!(course.len() - tries().count(), others, "{course:?}");
    assert_eq!(tries().filter(|row| row.answered_at.is_some()).count(), settled, "{course:?}");
    assert!(tries().count() >= asked);
    if let Some(open) = saga.open_ask() {
        let row = tries().rfind(|row| row.answered_at.is_none()).expect("what is open has no answer");
        assert_eq!((row.place, row.attempt), (Some(open.step), Some(open.attempt)));
    }
}

pub(super) fn events(blocks: &[Block]) -> Vec<(Seq, Event)> {
    let mut all = Vec::new();
    for block in blocks {
        let entries = banyan_domain::codec::decode(&block.body, block.count);
        let numbered = (block.first_seq.0..).map(Seq).zip(entries);
        all.extend(numbered.map(|(seq, entry)| (seq, entry.expect("it decodes").event)));
    }
    all
}

/// An id as the ledger wants it.
trait ParseId {
    fn parse_id(&self) -> banyan_domain::AccountId;
}

impl ParseId for Box<str> {
    fn parse_id(&self) -> banyan_domain::AccountId {
        banyan_domain::AccountId::new(self.clone()).expect("valid")
    }
}

#[test]
fn a_busy_story_has_everything_in_it() {
    let shop = story::busy(1_500);
    let folder = tempfile::tempdir().expect("a temporary folder");
    shop::fill(&mut shop::open(folder.path()), &shop.blocks, 5);
    let db = file::open_reader(&folder.path().join(RECORD_FILE)).expect("opens");
    let words = |sql: &str| -> String { db.query_row(sql, [], |row| row.get(0)).expect("reads") };
    let kinds = |column: &str, table: &str| {
        words(&format!(
            "SELECT group_concat(k, ' ') FROM (SELECT DISTINCT {column} AS k FROM {table} ORDER BY 1)"
        ))
    };
    assert_eq!(kinds("kind", "transfer"), "capture hold post refund reverse void");
    let ended = "transfer WHERE hold_state <> 'pending'";
    assert_eq!(kinds("hold_state", ended), "captured expired voided");
    assert_eq!(kinds("state", "reservation"), "committed expired held released");
    for kind in ["count", "import", "receive", "adjust", "commit", "return"] {
        assert!(kinds("kind", "stock_movement").contains(kind), "no {kind}");
    }
    assert!(words("SELECT sum(filled) || '' FROM stock_movement") != "0", "nobody was owed anything");
    assert!(words("SELECT count(*) || '' FROM reservation_line WHERE promised < promised_first") != "0");
    assert_eq!(kinds("what", "saga_step"), "do ended parked query resumed skipped turned-back undo");
    assert_eq!(
        kinds("result", "saga_step WHERE what IN ('do', 'query')"),
        "absent awaiting done not-sent refused unknown"
    );
}

/// Blocks from memory, and then the end.
struct Blocks<'a>(std::slice::Iter<'a, Block>);

impl LogReader for Blocks<'_> {
    fn next(&mut self, into: &mut Block) -> Result<bool, LogError> {
        let next = self.0.next();
        next.inspect(|block| into.clone_from(block));
        Ok(next.is_some())
    }
}

#[test]
fn a_rebuilt_store_says_the_same() {
    let shop = story::busy(300);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 3);
    let grown = shop::dump(&path);
    // The old one lies.
    view.db()
        .expect("open")
        .execute_batch("DELETE FROM stock_movement_filed; UPDATE account SET credits_posted = 7; UPDATE saga SET state = 'parked'")
        .expect("lies");
    drop(view);
    let mut log = Blocks(shop.blocks.iter());
    rebuild(&mut log, folder.path(), &RecordOptions::default(), &mut |_| ()).expect("rebuilds");
    assert_eq!(shop::dump(&path), grown);
}

#[test]
fn a_transaction_stopped_anywhere_leaves_no_trace() {
    let shop = story::busy(160);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let (before, rest) = shop.blocks.split_at(shop.blocks.len() / 2);
    shop::fill(&mut shop::open(folder.path()), before, 2);
    let whole = shop::dump(&path);
    let mut stops = 0;
    loop {
        let mut view = shop::open(folder.path());
        // Stops the transaction after so many times 25 of SQLite's own instructions.
        let left = Arc::new(AtomicU32::new(stops));
        let stop = move || {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
        };
        view.db.as_mut().expect("open").progress_handler(25, Some(stop)).expect("the handler is set");
        if view.apply(&shop::batch(rest)).is_ok() {
            break;
        }
        drop(view);
        assert_eq!(shop::dump(&path), whole, "after stop {stops}");
        stops += 1;
    }
    assert!(stops > 20, "the transaction was stopped {stops} times only");
    let other = tempfile::tempdir().expect("a temporary folder");
    shop::fill(&mut shop::open(other.path()), &shop.blocks, 1);
    assert_eq!(shop::dump(&path), shop::dump(&other.path().join(RECORD_FILE)));
}

#[test]
fn a_view_goes_on_after_a_stopped_transaction_and_blocks_again_change_nothing() {
    let shop = story::busy(300);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    for blocks in shop.blocks.chunks(3) {
        let calls = AtomicU32::new(0);
        let stop = move || calls.fetch_add(1, Ordering::SeqCst) == 3;
        view.db.as_mut().expect("open").progress_handler(60, Some(stop)).expect("the handler is set");
        while view.apply(&shop::batch(blocks)).is_err() {}
    }
    view.db.as_mut().expect("open").progress_handler(0, None::<fn() -> bool>).expect("it is removed");
    let once = shop::dump(&folder.path().join(RECORD_FILE));
    shop::fill(&mut view, &shop.blocks, 4);
    assert_eq!(shop::dump(&folder.path().join(RECORD_FILE)), once);
    compare_stock(&shop, &view.reader());
    compare_ledger(&shop, &view.reader());
    compare_sagas(&shop, &view.reader());
}

#[test]
fn a_write_ahead_log_cut_anywhere_holds_whole_transactions() {
    let shop = story::busy(160);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let mut view = shop::open(folder.path());
    let mut dumps = BTreeMap::from([(view.checkpoint(), shop::dump(&path))]);
    for block in &shop.blocks {
        view.apply(&shop::batch(std::slice::from_ref(block))).expect("applies");
        dumps.insert(view.checkpoint(), shop::dump(&path));
    }
    let (main, wal) =
        (std::fs::read(&path).expect("read"), std::fs::read(beside(&path, "-wal")).expect("read"));
    for cut in (0..=wal.len()).step_by(wal.len() / 25) {
        let crashed = tempfile::tempdir().expect("a temporary folder");
        let copy = crashed.path().join(RECORD_FILE);
        std::fs::write(&copy, &main).expect("write");
        std::fs::write(beside(&copy, "-wal"), &wal[..cut]).expect("write");
        let mut view = shop::open(crashed.path());
        assert_eq!(Some(&shop::dump(&copy)), dumps.get(&view.checkpoint()), "cut at {cut}");
        shop::fill(&mut view, &shop.blocks, 4);
        assert_eq!(shop::dump(&copy), dumps[&Seq(shop.state.seq())], "completed after a cut at {cut}");
    }
}

/// Applies `events` after a shop's blocks, and gives the parked lane as seqs from the first of them, and keys.
fn parked(events: Vec<Event>) -> Vec<(u64, String)> {
    let shop = story::play(&[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 9);
    let first = shop.blocks.last().map_or(Seq(1), Block::next_seq);
    let entries: Vec<Entry> = events.into_iter().map(|event| Entry { event, stamp: None }).collect();
    let time = shop.state.time().as_millis();
    // In two batches, with the file opened anew between them: what is parked stays parked.
    let (some, rest) = entries.split_at(entries.len() / 2);
    view.apply(&shop::batch(&[shop::block(first, time, some)])).expect("applies");
    drop(view);
    let mut view = shop::open(folder.path());
    let next = Seq(first.0 + some.len() as u64);
    view.apply(&shop::batch(&[shop::block(next, time, rest)])).expect("applies");
    let lane = view.reader().parked(Seq::ZERO, 99).expect("readable");
    lane.into_iter().map(|event| (event.seq.0 - first.0, event.key)).collect()
}

fn lane(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    expected.iter().map(|(seq, key)| (*seq, (*key).to_owned())).collect()
}

fn by() -> (Actor, Reason) {
    (Actor::new("olga").expect("valid"), Reason::new("").expect("valid"))
}

#[test]
fn what_contradicts_the_stock_is_parked_and_the_rest_goes_on() {
    let (by, reason) = by();
    let item = banyan_domain::ItemNo::new;
    let set = |no, on_hand| {
        let (by, reason) = (by.clone(), reason.clone());
        Event::Stock(stock::Event::StockSet { item: item(no), on_hand, by, reason })
    };
    let ended = |no| Event::Stock(stock::Event::ReservationReleased { reservation: ReservationNo::new(no) });
    let opened = Event::Pay(pay::Event::AccountOpened {
        account: pay::OpenedAccount {
            no: banyan_domain::AccountNo::new(99),
            id: account(4),
            currency: banyan_domain::Currency::new("KRW").expect("valid"),
            rule: pay::Rule::Free,
        },
        by: by.clone(),
    });
    let found = parked(vec![set(1, 5), set(77, 1), set(1, 6), opened.clone(), ended(9), set(2, 3)]);
    assert_eq!(found, lane(&[(1, "stock"), (2, "stock"), (4, "stock"), (5, "stock")]));
    assert_eq!(parked(vec![set(1, 5), ended(9), opened]), lane(&[(1, "stock")]));
}

#[test]
fn what_contradicts_the_ledger_is_parked_and_the_rest_goes_on() {
    let (by, reason) = by();
    let transferred = |first, leg| {
        Event::Pay(pay::Event::Transferred {
            first: TransferNo::new(first),
            legs: vec![leg],
            reference: Reference::new("r").expect("valid"),
            by: by.clone(),
            opened: Vec::new(),
        })
    };
    let no = banyan_domain::AccountNo::new;
    let post = |debit, credit| pay::Leg::Posted {
        debit: no(debit),
        credit: no(credit),
        amount: 5,
        refundable: true,
    };
    let refund =
        |of, amount| pay::Leg::Refunded { of: TransferNo::new(of), debit: no(2), credit: no(1), amount };
    let goods = Event::Stock(stock::Event::StockSet {
        item: banyan_domain::ItemNo::new(1),
        on_hand: 3,
        by: by.clone(),
        reason,
    });
    // Four transfers have given points to members.
    for wrong in [
        transferred(6, post(1, 99)),
        transferred(5, post(1, 2)),
        transferred(6, refund(5, 6)),
        transferred(6, refund(99, 1)),
        transferred(6, pay::Leg::Voided { pending: TransferNo::new(5) }),
        Event::Pay(pay::Event::HoldExpired { pending: TransferNo::new(5) }),
    ] {
        let found =
            parked(vec![transferred(5, post(1, 2)), wrong, goods.clone(), transferred(7, post(1, 2))]);
        assert_eq!(found, lane(&[(1, "ledger"), (3, "ledger")]));
    }
}

#[test]
fn what_contradicts_a_saga_is_parked_and_other_sagas_go_on() {
    let started = |no, definition| {
        Event::Saga(saga::Event::Started {
            saga: SagaNo::new(no),
            definition,
            key: banyan_domain::SagaKey::new(format!("k-{no}")).expect("valid"),
            input: saga::Fields::new(),
        })
    };
    let skipped = |no| Event::Saga(saga::Event::Skipped { saga: SagaNo::new(no), step: 5 });
    let found = parked(vec![started(1, 1), started(2, 9), skipped(1), skipped(2), skipped(7), started(1, 1)]);
    assert_eq!(found, lane(&[(1, "saga 2"), (3, "saga 2"), (4, "saga 7"), (5, "saga 1")]));
}

#[test]
fn the_views_are_for_people() {
    let deeds = [
        story::Deed::Reserve(vec![(0, 2), (1, 1)], 3, 60),
        story::Deed::Post(1, 0, 500, true),
        story::Deed::Start(2, 1, 9_700),
        story::Deed::Answer { which: 0, keep: false, how: 4 },
    ];
    let shop = story::play(&deeds);
    let folder = tempfile::tempdir().expect("a temporary folder");
    shop::fill(&mut shop::open(folder.path()), &shop.blocks, 9);
    let db = file::open_reader(&folder.path().join(RECORD_FILE)).expect("opens");
    let text = |sql: &str| -> String { db.query_row(sql, [], |row| row.get(0)).expect("reads") };
    assert_eq!(
        text("SELECT concat_ws(' ', sku, location, on_hand, held, available) FROM stock_items LIMIT 1"),
        "sku-0 main 12 2 10"
    );
    assert_eq!(
        text(
            "SELECT concat_ws(' ', reservation, state, member, order_id, made_at, until) FROM reservations LIMIT 1"
        ),
        "r-1 held m\"3\\ o-3 2027-01-15T08:00:00.000Z 2027-01-15T08:01:00.000Z"
    );
    assert_eq!(
        text(
            "SELECT group_concat(reservation || ' ' || sku || '*' || quantity, ', ') FROM reservation_lines WHERE state = 'held'"
        ),
        "r-1 sku-0*2, r-1 sku-1*1"
    );
    assert_eq!(
        text(
            "SELECT concat_ws(' ', at, sku, kind, change, on_hand, actor, reason) FROM stock_movements LIMIT 1"
        ),
        "2027-01-15T08:00:00.000Z sku-0 count 12 12 olga first"
    );
    assert_eq!(
        text("SELECT concat_ws(' ', id, currency, balance) FROM accounts LIMIT 1"),
        "shop:sales KRW 500"
    );
    assert_eq!(
        text(
            "SELECT concat_ws(' ', transfer, kind, debit, credit, amount, currency, actor) FROM transfers WHERE currency = 'KRW'"
        ),
        "t-5 post bank shop:sales 500 KRW olga"
    );
    assert_eq!(
        text(
            "SELECT concat_ws(' ', debits_posted, credits_posted) FROM trial_balance WHERE currency = 'KRW'"
        ),
        "500 500"
    );
    assert_eq!(
        text("SELECT concat_ws(' ', name, key, state, cause, cause_step, cause_why, at_risk) FROM sagas"),
        "checkout order-2 compensated step authorize declined 9700"
    );
    let course = "SELECT group_concat(concat_ws(' ', step, what, result), ', ') FROM saga_steps";
    assert_eq!(
        text(course),
        "begin-order skipped, reserve do done, hold-coupon skipped, hold-points skipped, authorize do refused, \
         authorize turned-back step, reserve undo done, ended compensated"
    );
    assert_eq!(text("SELECT input ->> '$.lines' FROM sagas"), "sku-1*2");
}
