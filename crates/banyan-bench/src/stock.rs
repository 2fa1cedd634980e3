//! Stock in the engine, without HTTP: reservations of one and of four lines, over many SKUs and of one hot SKU, on one core.
//!
//! What is counted is lines reserved. Where reservations end as well, their end is work that is not counted.

use std::collections::VecDeque;

use banyan_domain::stock::{self, ImportRow, Line, Lines};
use banyan_domain::{
    Actor, Command, LocationId, MemberId, Millis, OrderId, ReservationNo, SkuId, State, limits,
};

use crate::batches::{self, Batch, Bench, Options, Phase, in_batches, scattered};
use crate::{Failure, failed};

const BENCH: Bench = Bench {
    name: "stock",
    unit: "lines",
    rows: "SKUs",
    phases: &[
        Phase {
            name: "1 line",
            prepare: items,
            commands: |count, rows| reserve(count, rows, 1),
            counted: lines,
        },
        Phase {
            name: "4 lines",
            prepare: items,
            commands: |count, rows| reserve(count, rows, 4),
            counted: lines,
        },
        Phase { name: "hot SKU", prepare: items, commands: |count, _| reserve(count, 1, 1), counted: lines },
        Phase {
            name: "1 line and its end",
            prepare: items,
            commands: |count, rows| reserve_and_end(count, rows, 1),
            counted: lines,
        },
        Phase {
            name: "4 lines and their end",
            prepare: items,
            commands: |count, rows| reserve_and_end(count, rows, 4),
            counted: lines,
        },
    ],
};

/// Runs the benchmark and prints its table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    batches::run(&BENCH, options)
}

/// Lines reserved, whatever became of them: each is one unit at one place.
fn lines(state: &State) -> u64 {
    state.stock().reservations().map(|reservation| reservation.parts.len() as u64).sum()
}

/// Every SKU with more units than will be asked for.
fn items(rows: usize) -> Result<VecDeque<Batch>, Failure> {
    let rows = rows.max(1);
    in_batches((0..rows).step_by(limits::IMPORT_ROWS_MAX).map(|first| {
        let row = |n| {
            let location = LocationId::new("seoul-1").map_err(|e| failed("location", e))?;
            Ok(ImportRow { sku: sku(n)?, location, on_hand: 1_000_000_000 })
        };
        let rows = (first..rows.min(first + limits::IMPORT_ROWS_MAX)).map(row);
        let by = Actor::new("bench").map_err(|e| failed("actor", e))?;
        Ok(Command::Stock(stock::Command::ImportStock { rows: rows.collect::<Result<_, Failure>>()?, by }))
    }))
}

/// Reservations of `each` lines, `count` lines in all.
fn reserve(count: usize, rows: usize, each: usize) -> Result<VecDeque<Batch>, Failure> {
    in_batches((0..count).step_by(each).map(|first| reservation(first, each.min(count - first), rows)))
}

/// A batch of reservations, then a batch of their ends: three quarters are committed, one is released. Reservations are
/// numbered in order, so their numbers are known.
fn reserve_and_end(count: usize, rows: usize, each: usize) -> Result<VecDeque<Batch>, Failure> {
    let mut reservations = reserve(count, rows, each)?;
    let (mut all, mut no) = (VecDeque::new(), 0_u64);
    while let Some(batch) = reservations.pop_front() {
        let numbers = no + 1..=no + batch.len() as u64;
        no += batch.len() as u64;
        all.push_back(batch);
        let end = |no: u64| {
            let reservation = ReservationNo::new(no);
            let command = if no.is_multiple_of(4) {
                stock::Command::ReleaseReservation { reservation }
            } else {
                stock::Command::CommitReservation { reservation }
            };
            (Command::Stock(command), None)
        };
        all.push_back(numbers.map(end).collect());
    }
    Ok(all)
}

fn reservation(first: usize, each: usize, rows: usize) -> Result<Command, Failure> {
    // Lines of one reservation name different SKUs: two of one SKU would be drawn as one part.
    let start = scattered(first) % rows;
    let stride = (rows / each.max(1)).max(1);
    let line = |n| Ok(Line { sku: sku((start + n * stride) % rows)?, location: None, quantity: 1 });
    let lines = (0..each).map(line).collect::<Result<_, Failure>>()?;
    let member = MemberId::new(format!("m{:011}", scattered(first) % 300_000));
    Ok(Command::Stock(stock::Command::Reserve {
        lines: Lines::new(lines).map_err(|e| failed("lines", e))?,
        member: Some(member.map_err(|e| failed("member", e))?),
        order: Some(OrderId::new(format!("o{first:011}")).map_err(|e| failed("order", e))?),
        holder: banyan_domain::Holder::Shop,
        hold_for: Millis::from_seconds(600),
    }))
}

fn sku(n: usize) -> Result<SkuId, Failure> {
    SkuId::new(format!("SKU-{n:06}")).map_err(|e| failed("SKU", e))
}
