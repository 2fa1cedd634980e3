//! `banyan verify`: replays the whole log through the rules and through an auditor of its own.

use crate::audit::acks::Acks;
use crate::audit::book::Book;
use crate::audit::ledger::LedgerSummary;
use crate::audit::legacy::LegacySummary;
use crate::audit::orders::OrderSummary;
use crate::audit::sagas::{SagaSummary, Way};
use crate::audit::stock::StockSummary;
use crate::audit::{Finding, Kind};
use crate::exit::{CHECK, Failure};
use crate::offline::{self, StoreArgs, event_progress};
use banyan_domain::coupon::Totals;
use banyan_domain::saga::Phase;
use banyan_domain::{Entry, Event, State, Timestamp};
use banyan_log::{Block, Verdict};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Check that the log kept every promise.
///
/// Reads the log from its first event, without changing anything, also beside a running server (then up to the last whole
/// block). Every event goes through the rules with all their assertions, and through an independent auditor: issued never above
/// the quantity, no member above the limit, nothing issued outside the window, while paused or off the allow-list, every hold
/// ended in time, codes unique, time never back, digests equal; goods: on hand what came less what left, nothing reserved twice,
/// every reservation ended in time; money: debits equal credits, no balance against its rule, nothing captured or given back
/// twice; sagas: nothing done without an intent, nothing done after its undo, nothing left of what was undone;
/// orders: what is paid has its goods, money, points and coupon, what failed holds nothing, nothing given back twice. With --acks,
/// every answer that was given must be in the log.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 everything holds; 3 something does not (the findings say what and where); \
                        2 a file or directory is not what was named; 4 it could not be read.\n\
                        Example: banyan verify --data banyan-data --acks acks.jsonl"
)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Acknowledged answers to look for, JSON lines as `banyan rehearse --acks` writes them; may be given several times
    #[arg(long, value_name = "FILE", num_args = 1..)]
    acks: Vec<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What was checked and found.
#[derive(Serialize)]
struct Report {
    holds: bool,
    events: u64,
    blocks: u64,
    segments: u64,
    campaigns: usize,
    issued: u64,
    head: u64,
    torn_tail_bytes: u64,
    acknowledged: usize,
    acks_cut_short: u64,
    missing: u64,
    over_quantity: u64,
    over_limit: u64,
    stock: StockSummary,
    ledger: LedgerSummary,
    sagas: SagaSummary,
    orders: OrderSummary,
    legacy: LegacySummary,
    findings_total: u64,
    findings: Vec<Finding>,
    damage: Option<String>,
    seconds: f64,
}

/// Checks and reports.
pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    // The answers first: whatever was acknowledged before the log is read must be in it.
    let mut acks = Acks::read(&args.acks)?;
    let mut log = args.store.open()?;
    args.store.expect_whole(log.summary().first_seq.as_u64())?;
    let mut check = Checker { book: Book::default(), rules: Rules::Waiting };
    let progress = event_progress("verifying");
    let verdict = offline::walk(&mut log, &progress, &mut |block| {
        if block.count == 0 {
            return Ok(());
        }
        let in_order = check.begin_block(block);
        offline::each_event(block, &mut |seq, time, entry| {
            check.event(seq, time, entry, in_order);
            acks.check(seq, entry, &mut check.book);
            Ok(())
        })
    })?;
    let summary = log.summary();
    acks.close(summary.head.as_u64(), &mut check.book);
    let Checker { mut book, rules } = check;
    book.close();
    if let Rules::Following(state) = &rules {
        compare(state, &mut book);
    }
    let (torn_tail_bytes, damage) = match &verdict {
        Verdict::Clean => (0, None),
        Verdict::TornTail { bytes, .. } => (*bytes, None),
        Verdict::Corrupt(damage) => (0, Some(damage.to_string())),
    };
    let issued = book.campaigns().map(|(no, _)| book.totals(no).unwrap_or_default().issued).sum();
    let report = Report {
        holds: damage.is_none() && book.findings.total() == 0,
        events: summary.events,
        blocks: summary.blocks,
        segments: summary.live_segments + summary.archived_segments,
        campaigns: book.campaigns().count(),
        issued,
        head: summary.head.as_u64(),
        torn_tail_bytes,
        acknowledged: acks.len(),
        acks_cut_short: acks.cut_short,
        missing: book.findings.count(Kind::Missing),
        over_quantity: book.findings.count(Kind::OverQuantity),
        over_limit: book.findings.count(Kind::OverLimit),
        stock: book.stock.summary(),
        ledger: book.ledger.summary(),
        sagas: book.sagas.summary(),
        orders: book.orders.summary(),
        legacy: book.legacy.summary(),
        findings_total: book.findings.total(),
        findings: book.findings.first().to_vec(),
        damage,
        seconds: began.elapsed().as_secs_f64(),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(Failure::environment)?);
    } else {
        print(&report);
    }
    // Ending the process gives the memory back faster than taking the tables apart.
    std::mem::forget((book, rules, acks));
    Ok(if report.holds { ExitCode::SUCCESS } else { ExitCode::from(CHECK) })
}

/// The rules and the book, side by side.
struct Checker {
    book: Book,
    rules: Rules,
}

enum Rules {
    /// For the store's creation.
    Waiting,
    Following(Box<State>),
    /// They refused an event; the book goes on alone.
    Stopped,
}

impl Checker {
    fn begin_block(&mut self, block: &Block) -> bool {
        let in_order = self.book.begin_block(block.first_seq.as_u64(), block.time_ms);
        match &mut self.rules {
            Rules::Following(state) if in_order => state.begin_block(Timestamp::from_millis(block.time_ms)),
            Rules::Following(_) => self.rules = Rules::Stopped,
            Rules::Waiting | Rules::Stopped => {}
        }
        in_order
    }

    fn event(&mut self, seq: u64, time: Timestamp, entry: &Entry, in_order: bool) {
        self.book.event(seq, entry);
        match (&mut self.rules, &entry.event) {
            (Rules::Waiting, Event::StoreCreated { secret }) if seq == 1 => {
                let mut state = Box::new(State::new(secret.clone()));
                if in_order {
                    state.begin_block(time);
                }
                self.rules = Rules::Following(state);
            }
            (Rules::Waiting, _) => {
                self.book.findings.add(
                    seq,
                    Kind::Rules,
                    "the log does not begin with the creation of a store",
                );
                self.rules = Rules::Stopped;
            }
            (Rules::Following(state), _) => {
                if let Err(violation) = state.apply(entry) {
                    self.book.findings.add(seq, Kind::Rules, violation.to_string());
                    self.rules = Rules::Stopped;
                }
            }
            (Rules::Stopped, _) => {}
        }
    }
}

/// Compares what the rules count with what the auditor counts, and both with the quantity.
fn compare(state: &State, book: &mut Book) {
    let coupons = state.coupons();
    let hot = coupons.campaigns().map(|c| (c.no().get(), c.totals()));
    let retired = coupons.retired().map(|(no, retired)| (no.get(), retired.totals));
    let all: Vec<(u32, Totals)> = hot.chain(retired).collect();
    let head = state.seq();
    for (no, totals) in &all {
        let counted = book.totals(*no);
        if counted != Some(*totals) {
            let what = format!("campaign {no}: the rules count {totals:?}, the auditor {counted:?}");
            book.findings.add(head, Kind::Totals, what);
        }
    }
    for campaign in coupons.campaigns() {
        let (issued, no) = (campaign.totals().issued, campaign.no().get());
        let Some((quantity, left)) = campaign.definition().quantity.zip(campaign.left()) else { continue };
        if issued + left != quantity {
            let what = format!("campaign {no}: {issued} issued + {left} left is not {quantity}");
            book.findings.add(head, Kind::OverQuantity, what);
        }
    }
    let known = book.campaigns().count();
    if known != all.len() {
        book.findings.add(
            head,
            Kind::Totals,
            format!("the rules know {} campaigns, the auditor {known}", all.len()),
        );
    }
    compare_capabilities(state, book);
    if let Err(violation) = state.check_invariants() {
        book.findings.add(head, Kind::Rules, violation.to_string());
    }
}

/// The same for every item, account and saga.
fn compare_capabilities(state: &State, book: &mut Book) {
    let head = state.seq();
    let mut differ = |what: String| book.findings.add(head, Kind::Totals, what);
    for view in state.stock().items() {
        let (level, own) = (view.level, book.stock.level(view.item.get()));
        let rules = [level.on_hand, level.held, level.promised, level.owed].map(i64::from);
        let own = own.map(|own| [own.on_hand, own.held, own.promised, own.owed]);
        if own != Some(rules) {
            differ(format!(
                "{} at {}: the rules count {rules:?}, the auditor {own:?}",
                view.sku, view.location
            ));
        }
    }
    for row in state.ledger().statements() {
        let rules =
            [row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending].map(i128::from);
        let own = book.ledger.account(row.no.get());
        let own =
            own.map(|own| [own.debits_posted, own.credits_posted, own.debits_pending, own.credits_pending]);
        if own != Some(rules) {
            differ(format!("account {}: the rules count {rules:?}, the auditor {own:?}", row.id));
        }
    }
    for saga in state.sagas().sagas() {
        let way = match saga.phase {
            Phase::Running => Way::Forward,
            Phase::Compensating => Way::Back,
            Phase::Ended(end) => Way::Ended(end),
        };
        let rules = (way, saga.parked.is_some());
        let own = book.sagas.saga(saga.no.get()).map(|own| (own.way, own.parked.is_some()));
        if own != Some(rules) {
            differ(format!("saga {}: the rules have {rules:?}, the auditor {own:?}", saga.no.get()));
        }
    }
    for order in state.orders().orders() {
        let rules = (order.state, order.refunded(), order.refunded_points());
        let own = book.orders.get(order.no.get());
        let own = own.map(|own| (own.state, own.refunded, own.refunded_points));
        if own != Some(rules) {
            differ(format!("{}: the rules have {rules:?}, the auditor {own:?}", order.no));
        }
    }
}

fn print(report: &Report) {
    let rate = report.events as f64 / report.seconds.max(1e-9);
    println!(
        "{} events in {} blocks and {} segments, {} campaigns, {} coupons issued",
        report.events, report.blocks, report.segments, report.campaigns, report.issued
    );
    println!("checked in {:.1} s ({rate:.0} events/s), up to event {}", report.seconds, report.head);
    if report.torn_tail_bytes > 0 {
        println!("a block in flight of {} bytes was left out", report.torn_tail_bytes);
    }
    if report.acknowledged > 0 || report.acks_cut_short > 0 {
        println!("acknowledged {}, of these missing {}", report.acknowledged, report.missing);
    }
    println!("over quantity {}, over the member limit {}", report.over_quantity, report.over_limit);
    print_capabilities(report);
    for finding in &report.findings {
        println!("  event {}: {:?}: {}", finding.seq, finding.kind, finding.what);
    }
    if report.findings_total > report.findings.len() as u64 {
        println!("  and {} more", report.findings_total - report.findings.len() as u64);
    }
    if let Some(damage) = &report.damage {
        println!("DAMAGED: {damage}\n{}", offline::ABOUT_DAMAGE);
    }
    println!("{}", if report.holds { "Everything holds." } else { "NOT everything holds." });
}

/// A line for each capability that the store has used.
fn print_capabilities(report: &Report) {
    let Report { stock, ledger, sagas, orders, legacy, .. } = report;
    if stock.items > 0 {
        let StockSummary { items, on_hand, held, reservations, live, committed, released, expired } = stock;
        println!(
            "stock: {items} items, {on_hand} on hand of which {held} held; {reservations} reservations: {live} live, \
             {committed} committed, {released} released, {expired} expired"
        );
    }
    if ledger.accounts > 0 {
        let LedgerSummary { accounts, transfers, holds, currencies } = ledger;
        let sums: Vec<String> = currencies
            .iter()
            .map(|sum| {
                format!("{} debits {} credits {}", sum.currency, sum.debits_posted, sum.credits_posted)
            })
            .collect();
        println!("ledger: {accounts} accounts, {transfers} transfers, {holds} on hold; {}", sums.join("; "));
    }
    if sagas.begun > 0 {
        let SagaSummary { begun, completed, compensated, parked, under_way } = sagas;
        println!(
            "sagas: {begun} begun: {completed} completed, {compensated} compensated, {parked} parked, {under_way} under way"
        );
    }
    if legacy.moves > 0 {
        let LegacySummary { moves, source_transactions, mirrored_items, breaches, outbox_refused } = legacy;
        println!(
            "way over: {moves} moves, {source_transactions} source transactions, {mirrored_items} items of the old shop, {breaches} breaches, {outbox_refused} messages refused"
        );
    }
    if orders.placed > 0 {
        let OrderSummary { placed, under_way, paid, cancelled, failed, refunds } = orders;
        println!(
            "orders: {placed} placed: {under_way} under way, {paid} paid, {cancelled} cancelled, {failed} failed; {refunds} refunds"
        );
    }
}
