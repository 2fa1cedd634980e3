//! How fast the stock rules are: `cargo run --release -p banyan-domain --example stock_rate [RESERVATIONS]`. Measures
//! decide + apply + encode of reservations of 1 and of 4 lines on 100,000 SKUs, where half are committed, a quarter is
//! released and a quarter expires. Rates are per line reserved, with its end included. Times are this process's own CPU
//! time, so that other work on the machine spoils them less; only the slowest block is by the clock.

use banyan_domain::stock::{Command, Decision, Event, Line, Lines, Stock};
use banyan_domain::{
    Actor, ItemNo, LocationId, MemberId, Millis, OrderId, Reason, ReservationNo, SkuId, Timestamp,
};
use std::time::{Duration, Instant};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SKUS: u64 = 100_000;
const BLOCK: u64 = 4_096;
/// Blocks after which a reservation is committed or released.
const BLOCKS_TO_END: u64 = 8;
/// Blocks after which it expires.
const BLOCKS_HELD: u64 = 16;
const BLOCK_MILLIS: u64 = 5;

fn main() {
    let reservations = std::env::args().nth(1).map_or(1_000_000, |arg| arg.parse().expect("a number"));
    for lines in [1, 4] {
        run(reservations / lines, lines);
    }
}

struct Shop {
    stock: Stock,
    now: Timestamp,
    seq: u64,
    body: Vec<u8>,
    bytes: usize,
}

fn run(reservations: u64, lines: u64) {
    let mut shop =
        Shop { stock: Stock::new([7; 16]), now: Timestamp::default(), seq: 0, body: Vec::new(), bytes: 0 };
    (0..SKUS).for_each(|n| shop.ask(set(n)));
    shop.end_block();
    shop.bytes = 0;
    let (mut total, mut slowest) = (Duration::ZERO, Duration::ZERO);
    let memory = resident_bytes();
    let blocks = reservations.div_ceil(BLOCK);
    for block in 0..blocks + BLOCKS_HELD + 1 {
        // Built outside the clock: in the server the parser builds them.
        let mut commands = Vec::new();
        if block < blocks {
            commands.extend((block * BLOCK..(block + 1) * BLOCK).map(|n| reserve(n, lines)));
        }
        if (BLOCKS_TO_END..blocks + BLOCKS_TO_END).contains(&block) {
            let first = (block - BLOCKS_TO_END) * BLOCK + 1;
            commands.extend((first..first + BLOCK).filter_map(|n| end(ReservationNo::new(n))));
        }
        shop.now = Timestamp::from_millis((block + 1) * BLOCK_MILLIS);
        let (begun, clock) = (cpu_time(), Instant::now());
        loop {
            let due = shop.stock.due(shop.now, 1_024);
            if due.is_empty() {
                break;
            }
            due.iter().for_each(|event| shop.apply(event));
        }
        commands.into_iter().for_each(|command| shop.ask(command));
        shop.end_block();
        total += cpu_time() - begun;
        slowest = slowest.max(clock.elapsed());
    }
    let memory = resident_bytes().saturating_sub(memory);
    let made = blocks * BLOCK;
    assert_eq!((shop.stock.reservations_ever(), shop.stock.reservations_live()), (made, 0));
    let of = |item| shop.stock.item(ItemNo::new(item)).expect("an item").level;
    assert!((1..=SKUS as u32).all(|item| of(item).held == 0));
    shop.stock.check_invariants().expect("the stock is whole");
    println!("{made} reservations of {lines} lines on {SKUS} SKUs");
    println!("  lines               {:8.0} thousand/s", (made * lines) as f64 / total.as_secs_f64() / 1e3);
    println!("  a reservation       {:8.0} ns, with its end", total.as_nanos() as f64 / made as f64);
    println!(
        "  log                 {:8.1} bytes a reservation, with its end",
        shop.bytes as f64 / made as f64
    );
    println!("  slowest block       {:8.0} µs", slowest.as_nanos() as f64 / 1e3);
    // The second run lives in what the first one gave back.
    if lines == 1 {
        println!("  memory              {:8.1} bytes a reservation in memory", memory as f64 / made as f64);
    }

    let (begun, mut bytes) = (cpu_time(), Vec::new());
    shop.stock.write_snapshot(&mut bytes);
    let written = cpu_time() - begun;
    let begun = cpu_time();
    let read = Stock::read_snapshot(&mut &bytes[..], [7; 16]).expect("it was written");
    assert_eq!(read.digest(), shop.stock.digest());
    println!(
        "  snapshot            {:8.1} MB, written in {written:.0?}, read and checked in {:.0?}",
        bytes.len() as f64 / 1e6,
        cpu_time() - begun
    );
}

impl Shop {
    fn ask(&mut self, command: Command) {
        match self.stock.decide(self.now, command).expect("there is enough") {
            Decision::One(event) => self.apply(&event),
            Decision::Many(events) => events.iter().for_each(|event| self.apply(event)),
            other => panic!("{other:?} is nothing new"),
        }
    }

    fn apply(&mut self, event: &Event) {
        self.seq += 1;
        self.stock.apply(self.now, self.seq, event).expect("it was decided");
        minicbor::encode(event, &mut self.body).expect("a vector takes every write");
    }

    fn end_block(&mut self) {
        self.bytes += self.body.len();
        self.body.clear();
    }
}

fn number(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (z ^ z >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20
}

fn sku(n: u64) -> SkuId {
    SkuId::new(format!("SKU-{n:06}")).expect("a valid SKU")
}

fn set(n: u64) -> Command {
    Command::SetStock {
        sku: sku(n),
        location: LocationId::new("seoul-1").expect("a valid location"),
        on_hand: 1_000_000,
        by: Actor::new("example").expect("a valid actor"),
        reason: Reason::new("").expect("a valid reason"),
    }
}

fn reserve(n: u64, lines: u64) -> Command {
    let line = |i| Line { sku: sku(number(n * lines + i) % SKUS), location: None, quantity: 1 };
    Command::Reserve {
        lines: Lines::new((0..lines).map(line).collect()).expect("valid lines"),
        member: Some(MemberId::new(format!("m{:011}", number(n) % 300_000)).expect("a valid member")),
        order: Some(OrderId::new(format!("o{n:011}")).expect("a valid order")),
        holder: banyan_domain::Holder::Shop,
        hold_for: Millis::new(BLOCKS_HELD * BLOCK_MILLIS),
    }
}

fn end(reservation: ReservationNo) -> Option<Command> {
    match number(reservation.get()) % 4 {
        0 | 1 => Some(Command::CommitReservation { reservation }),
        2 => Some(Command::ReleaseReservation { reservation }),
        _ => None,
    }
}

/// Resident memory of this process, from Linux; 0 elsewhere.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1_024)
}

/// CPU time that this process has used, from Linux in steps of 10 ms; the time on the clock elsewhere.
fn cpu_time() -> Duration {
    static STARTED: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: Option<u64> = stat.rsplit(')').next().map(|stat| {
        stat.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    });
    match ticks {
        Some(ticks) if !stat.is_empty() => Duration::from_millis(ticks * 10),
        _ => STARTED.get_or_init(Instant::now).elapsed(),
    }
}
