//! `banyan ledger`: the books, added up anew from the log.

use super::ledger_statement::{self, StatementArgs};
use crate::exit::{CHECK, Failure};
use crate::offline::{self, StoreArgs, event_progress};
use banyan_api::wire_ledger::{AccountJson, TotalsJson};
use banyan_domain::{Event, State, Timestamp};
use banyan_log::{Block, Verdict};
use clap::Subcommand;
use serde::Serialize;
use std::process::ExitCode;

/// What to do with the ledger.
#[derive(Subcommand)]
pub(crate) enum LedgerCommand {
    /// Print every account and the sums of each currency, as of any log position
    ///
    /// Replays the log from its first event through the rules and adds the accounts up: nothing that a server keeps in memory is
    /// believed. Works beside a running server, then up to the last whole block.
    #[command(
        after_help = "Exit codes: 0 debits equal credits; 2 no such store or position; 3 they differ, or the log is damaged; \
                      4 it could not be read.\nExample: banyan ledger trial-balance --data banyan-data --at 120000"
    )]
    TrialBalance(TrialBalanceArgs),
    /// Print every movement of one account, with its balance after each, between any two log positions
    ///
    /// From the log alone, beside a running server or not. What is set aside and given up is listed, too, and moves no balance.
    #[command(
        after_help = "Exit codes: 0 opening balance and movements come to the closing balance; 2 no such store, account or position; \
                      3 the log is damaged; 4 it could not be read.\n\
                      Example: banyan ledger statement --account company:receivable --from 1200 --csv > receivable.csv"
    )]
    Statement(StatementArgs),
}

#[derive(clap::Args)]
pub(crate) struct TrialBalanceArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Log position as of which to add up; the end of the log if left out
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    at: Option<u64>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What the books say.
#[derive(Serialize)]
struct Report {
    balanced: bool,
    seq: u64,
    currencies: Vec<TotalsJson>,
    accounts: Vec<AccountJson>,
}

/// Runs what was asked for.
pub(crate) fn run(command: &LedgerCommand) -> Result<ExitCode, Failure> {
    let args = match command {
        LedgerCommand::TrialBalance(args) => args,
        LedgerCommand::Statement(args) => return ledger_statement::run(args),
    };
    let state = replay(&args.store, args.at)?;
    let report = report(&state);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(Failure::environment)?);
    } else {
        print(&report);
    }
    // Ending the process gives the memory back faster than taking the tables apart.
    std::mem::forget(state);
    Ok(if report.balanced { ExitCode::SUCCESS } else { ExitCode::from(CHECK) })
}

/// The state after event `at`, or after the last one.
fn replay(store: &StoreArgs, at: Option<u64>) -> Result<Box<State>, Failure> {
    let mut log = store.open()?;
    store.expect_whole(log.summary().first_seq.as_u64())?;
    let progress = event_progress("adding up");
    let mut state: Option<Box<State>> = None;
    let mut block = Block::default();
    let reached = |state: &Option<Box<State>>| {
        at.is_some_and(|at| state.as_ref().is_some_and(|state| state.seq() >= at))
    };
    while !reached(&state) && log.next(&mut block).map_err(Failure::environment)? {
        progress.inc(u64::from(block.count));
        let mut begun = false;
        offline::each_event(&block, &mut |seq, time, entry| {
            if at.is_some_and(|at| seq > at) {
                return Ok(());
            }
            if let (None, Event::StoreCreated { secret }) = (&state, &entry.event) {
                let mut new = Box::new(State::new(secret.clone()));
                new.begin_block(time);
                (state, begun) = (Some(new), true);
                return Ok(());
            }
            let state = state
                .as_deref_mut()
                .ok_or_else(|| Failure::check("the log does not begin with the creation of a store"))?;
            if !begun {
                begin(state, seq, time)?;
                begun = true;
            }
            let applied = state.apply(entry).map(drop);
            applied.map_err(|violation| Failure::check(format!("event {seq} breaks the rules: {violation}")))
        })?;
    }
    progress.finish_and_clear();
    if let Some(Verdict::Corrupt(damage)) = log.verdict() {
        return Err(Failure::check(format!("the log is damaged: {damage}\n{}", offline::ABOUT_DAMAGE)));
    }
    let state = state.ok_or_else(|| Failure::usage("the log holds no event to add up"))?;
    match at {
        Some(at) if state.seq() != at => Err(Failure::usage(format!(
            "--at {at}: the log has events 1 to {}; name one of them, or leave --at out",
            state.seq()
        ))),
        _ => Ok(state),
    }
}

fn begin(state: &mut State, seq: u64, time: Timestamp) -> Result<(), Failure> {
    if time < state.time() {
        return Err(Failure::check(format!("event {seq} is earlier than the one before it")));
    }
    state.begin_block(time);
    Ok(())
}

fn report(state: &State) -> Report {
    let balance = state.ledger().trial_balance();
    Report {
        balanced: balance.is_balanced(),
        seq: state.seq(),
        currencies: balance
            .currencies
            .iter()
            .map(|(currency, sums)| TotalsJson::new(*currency, sums))
            .collect(),
        accounts: balance.accounts.into_iter().map(AccountJson::from).collect(),
    }
}

fn print(report: &Report) {
    let head = |what: &str| {
        println!(
            "{what:<40} {:<8} {:>18} {:>18} {:>18} {:>18} {:>18}",
            "currency", "debits", "credits", "debits on hold", "credits on hold", "balance"
        );
    };
    head("account");
    for account in &report.accounts {
        println!(
            "{:<40} {:<8} {:>18} {:>18} {:>18} {:>18} {:>18}",
            account.id,
            account.currency,
            account.debits_posted,
            account.credits_posted,
            account.debits_pending,
            account.credits_pending,
            account.balance
        );
    }
    println!();
    for sums in &report.currencies {
        let word = if sums.balanced { "balanced" } else { "NOT BALANCED" };
        println!(
            "{:<40} {:<8} {:>18} {:>18} {:>18} {:>18} {word:>18}",
            "all accounts",
            sums.currency,
            sums.debits_posted,
            sums.credits_posted,
            sums.debits_pending,
            sums.credits_pending
        );
    }
    let word = if report.balanced { "Debits equal credits" } else { "Debits do NOT equal credits" };
    println!("{word} in every currency, as of event {}; {} accounts.", report.seq, report.accounts.len());
}
