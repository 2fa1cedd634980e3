//! The ledger in the engine, without HTTP: transfers between many accounts, on one core.
//!
//! A transfer is one change that has a number: a hold and its capture are two.

use std::collections::VecDeque;

use banyan_domain::pay::{self, NewTransfer, Rule, Side, Transfers};
use banyan_domain::{AccountId, Actor, Command, Currency, Millis, Reference, State, TransferNo};

use crate::batches::{self, Batch, Bench, Options, Phase, in_batches, scattered};
use crate::{Failure, failed};

/// Transfers that one command links, where it links several.
const LINKED: usize = 8;

const BENCH: Bench = Bench {
    name: "ledger",
    unit: "transfers",
    rows: "accounts",
    phases: &[
        Phase { name: "single posts", prepare: accounts, commands: posts, counted: transfers },
        Phase { name: "8 linked posts", prepare: accounts, commands: linked, counted: transfers },
        Phase { name: "refundable posts", prepare: accounts, commands: refundable, counted: transfers },
        Phase { name: "holds, captures", prepare: accounts, commands: holds, counted: transfers },
    ],
};

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    batches::run(&BENCH, options)
}

fn transfers(state: &State) -> u64 {
    state.ledger().transfers_ever()
}

/// Every account with its first points.
fn accounts(rows: usize) -> Result<VecDeque<Batch>, Failure> {
    in_batches((0..rows.max(2)).map(|n| {
        let points = Currency::new("PTS").map_err(|e| failed("currency", e))?;
        let debit = Side { open_if_missing: Some((points, Rule::Free)), ..side("shop:points".to_owned())? };
        let how = Some((points, Rule::DebitsWithinCredits));
        let credit = Side { open_if_missing: how, ..side(member(n))? };
        one(NewTransfer::Post { debit, credit, amount: 1_000_000_000, refundable: false })
    }))
}

fn posts(count: usize, rows: usize) -> Result<VecDeque<Batch>, Failure> {
    in_batches((0..count).map(|n| one(post(rows, n, false)?)))
}

fn refundable(count: usize, rows: usize) -> Result<VecDeque<Batch>, Failure> {
    in_batches((0..count).map(|n| one(post(rows, n, true)?)))
}

fn linked(count: usize, rows: usize) -> Result<VecDeque<Batch>, Failure> {
    in_batches((0..count).step_by(LINKED).map(|first| {
        let group = (first..count.min(first + LINKED)).map(|n| post(rows, n, false));
        command(Transfers::new(group.collect::<Result<_, _>>()?).map_err(|e| failed("transfers", e))?)
    }))
}

/// A batch of holds, then a batch of their captures. Transfers are numbered in order, so a hold's number is known.
fn holds(count: usize, rows: usize) -> Result<VecDeque<Batch>, Failure> {
    let (half, opened) = (batches::BATCH.min(count.div_ceil(2)), rows.max(2));
    in_batches((0..count).map(|n| {
        let (turn, place) = (n / (2 * half), n % (2 * half));
        // The last turn may be a short one: what has no hold is a hold that stays.
        let left = (count - turn * 2 * half).min(2 * half);
        if place < left.div_ceil(2) {
            let (debit, credit) = sides(rows, n)?;
            let hold_for = Millis::from_seconds(24 * 3_600);
            one(NewTransfer::Hold { debit, credit, amount: 10, hold_for })
        } else {
            let hold = opened + turn * 2 * half + place - left.div_ceil(2) + 1;
            let pending = TransferNo::new(hold as u64);
            one(NewTransfer::Capture { pending, amount: 10, last: true })
        }
    }))
}

fn post(rows: usize, n: usize, refundable: bool) -> Result<NewTransfer, Failure> {
    let (debit, credit) = sides(rows, n)?;
    Ok(NewTransfer::Post { debit, credit, amount: 10, refundable })
}

/// Accounts come in no order, and never two alike in one transfer.
fn sides(rows: usize, n: usize) -> Result<(Side, Side), Failure> {
    let rows = rows.max(2);
    let payer = scattered(n) % rows;
    let payee = (payer + 1 + scattered(n + 1) % (rows - 1)) % rows;
    Ok((side(member(payer))?, side(member(payee))?))
}

fn member(n: usize) -> String {
    format!("points:m-{n:08}")
}

fn side(id: String) -> Result<Side, Failure> {
    Ok(AccountId::new(id).map_err(|e| failed("account", e))?.into())
}

fn one(transfer: NewTransfer) -> Result<Command, Failure> {
    command(Transfers::one(transfer))
}

fn command(transfers: Transfers) -> Result<Command, Failure> {
    let reference = Reference::new("o-1234567890").map_err(|e| failed("reference", e))?;
    let by = Actor::new("bench").map_err(|e| failed("actor", e))?;
    Ok(Command::Pay(pay::Command::Transfer { transfers, reference, by }))
}
