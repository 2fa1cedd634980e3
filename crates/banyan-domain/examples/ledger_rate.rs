//! What the ledger costs: decide, apply and encode transfers between many accounts on one core.
//!
//! `cargo run --release -p banyan-domain --example ledger_rate -- [TRANSFERS] [ACCOUNTS]`
//!
//! Times are CPU times of this process where the system tells them (Linux), so that busy neighbours disturb them less; only
//! the slowest block is by the clock. A transfer is one change that has a number: a hold with its capture is two.

use banyan_domain::pay::{Command, Decision, Event, Ledger, NewTransfer, Outcome, Rule, Side, Transfers};
use banyan_domain::{AccountId, Actor, Currency, Millis, Reference, Timestamp, TransferNo};
use std::time::{Duration, Instant};

/// As in the server: a transfer's texts and lists are asked for and given back in bulk, which is a third of its time with
/// the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BLOCK_COMMANDS: u64 = 4_096;
const KEY: [u8; 16] = [7; 16];

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let transfers = args.next().unwrap_or(2_000_000);
    let accounts = args.next().unwrap_or(100_000).max(2);
    println!("accounts                     {accounts}");
    let mut run = Run::new(accounts);
    run.phase("posts", transfers, 1, |i| post(accounts, i, false));
    run.phase("refundable posts", transfers, 1, |i| post(accounts, i, true));
    run.phase("linked posts, 8 a command", transfers, 8, |i| linked(accounts, i, 8));
    run.holds_and_captures(accounts, transfers);
    run.replay();
    run.snapshot();
}

struct Run {
    ledger: Ledger,
    now: Timestamp,
    /// Stored events by block, with their time.
    log: Vec<(Timestamp, Vec<u8>)>,
    /// The body of a block, reused.
    body: Vec<u8>,
    /// The events of a block, reused.
    block_events: Vec<Event>,
    events: u64,
}

impl Run {
    /// Opens the accounts, each with its first transfer.
    fn new(accounts: u64) -> Self {
        let mut run = Self {
            ledger: Ledger::new(KEY),
            now: Timestamp::default(),
            log: Vec::new(),
            body: Vec::new(),
            block_events: Vec::new(),
            events: 0,
        };
        run.phase("posts that open an account", accounts, 1, |i| {
            let debit = Side { open_if_missing: Some((points(), Rule::Free)), ..side("shop:points".into()) };
            let how = Some((points(), Rule::DebitsWithinCredits));
            let credit = Side { open_if_missing: how, ..side(member(i)) };
            one(NewTransfer::Post { debit, credit, amount: 1_000_000_000, refundable: false })
        });
        run
    }

    /// Makes `transfers` transfers, `each` a command.
    fn phase(&mut self, name: &str, transfers: u64, each: u64, command: impl Fn(u64) -> Command) {
        let mut clock = Clock::default();
        let commands = transfers / each;
        for first in (0..commands).step_by(BLOCK_COMMANDS as usize) {
            // Built outside the clock: in the server the parser builds them.
            let last = commands.min(first + BLOCK_COMMANDS);
            self.block(&mut clock, (first..last).map(&command).collect());
        }
        clock.print(name, commands * each);
    }

    /// A block of holds, then a block of their captures. Every other member's hold is captured in full.
    fn holds_and_captures(&mut self, accounts: u64, transfers: u64) {
        let mut clock = Clock::default();
        // As many holds stand open as a busy hour has.
        let standing = transfers.min(accounts);
        let first_standing = TransferNo::new(self.ledger.transfers_ever() + 1);
        for begun in (0..standing).step_by(BLOCK_COMMANDS as usize) {
            let last = standing.min(begun + BLOCK_COMMANDS);
            self.block(&mut Clock::default(), (begun..last).map(|i| hold(accounts, i)).collect());
        }
        let pairs = transfers / 2;
        for begun in (0..pairs).step_by(BLOCK_COMMANDS as usize) {
            let count = BLOCK_COMMANDS.min(pairs - begun);
            let holds = (0..count).map(|i| hold(accounts, begun + i)).collect();
            let first = self.block(&mut clock, holds);
            let capture = |i: u64| {
                let pending = TransferNo::new(first.get() + i);
                one(NewTransfer::Capture { pending, amount: 5, last: i.is_multiple_of(2) })
            };
            self.block(&mut clock, (0..count).map(capture).collect());
        }
        assert!(self.ledger.hold(first_standing).is_some(), "standing holds stand");
        clock.print("holds and captures", pairs * 2);
    }

    /// Decides, applies and encodes one block of commands. The number of its first transfer.
    fn block(&mut self, clock: &mut Clock, mut commands: Vec<Command>) -> TransferNo {
        self.now = self.now.plus(Millis::new(1));
        let mut first = None;
        let mut events = std::mem::take(&mut self.block_events);
        events.clear();
        let (begun, wall) = (cpu_time(), Instant::now());
        for command in commands.drain(..) {
            let decided = self.ledger.decide(self.now, command).expect("everybody has enough");
            let Decision::One(event) = decided else { panic!("a transfer is always made anew") };
            self.ledger.apply(self.now, 0, &event).expect("a decided event applies");
            if let Outcome::Transferred { first: no, .. } = self.ledger.outcome(&event) {
                first.get_or_insert(no);
            }
            events.push(event);
        }
        clock.rules += cpu_time() - begun;
        self.body.clear();
        let encoding = cpu_time();
        for event in &events {
            minicbor::encode(event, &mut self.body).expect("a vector takes every write");
        }
        clock.encode += cpu_time() - encoding;
        clock.slowest = clock.slowest.max(wall.elapsed());
        clock.bytes += self.body.len();
        self.events += events.len() as u64;
        self.block_events = events;
        self.log.push((self.now, self.body.clone()));
        first.expect("a block has a transfer")
    }

    fn replay(&self) {
        let begun = cpu_time();
        let mut replayed = Ledger::new(KEY);
        for (at, body) in &self.log {
            let mut decoder = minicbor::Decoder::new(body);
            while decoder.position() < body.len() {
                let event: Event = decoder.decode().expect("it was written");
                replayed.apply(*at, 0, &event).expect("it was applied before");
            }
        }
        let time = cpu_time() - begun;
        assert_eq!(replayed.digest(), self.ledger.digest(), "a replay gives the same state");
        println!("replay                       {:6.2} M events/s", rate(self.events, time));
    }

    fn snapshot(&self) {
        let begun = cpu_time();
        let mut bytes = Vec::new();
        self.ledger.write_snapshot(&mut bytes);
        let written = cpu_time() - begun;
        let begun = cpu_time();
        let read = Ledger::read_snapshot(&mut &bytes[..], KEY).expect("it was written");
        assert_eq!(read.digest(), self.ledger.digest(), "a snapshot gives the same state");
        assert!(read.trial_balance().is_balanced());
        let (written, read) = (written.as_secs_f64(), (cpu_time() - begun).as_secs_f64());
        println!(
            "snapshot                     {} bytes, written {written:.2} s, read {read:.2} s",
            bytes.len()
        );
    }
}

#[derive(Default)]
struct Clock {
    rules: Duration,
    encode: Duration,
    slowest: Duration,
    bytes: usize,
}

impl Clock {
    fn print(&self, name: &str, transfers: u64) {
        let each = |time: Duration| time.as_nanos() as f64 / transfers as f64;
        println!(
            "{name:28} {:6.2} M transfers/s: rules {:.0} ns, encode {:.0} ns, {:.1} bytes; slowest block {} µs",
            rate(transfers, self.rules + self.encode),
            each(self.rules),
            each(self.encode),
            self.bytes as f64 / transfers as f64,
            self.slowest.as_micros(),
        );
    }
}

fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64() / 1e6
}

fn post(accounts: u64, i: u64, refundable: bool) -> Command {
    one(NewTransfer::Post { debit: payer(accounts, i), credit: payee(accounts, i), amount: 10, refundable })
}

fn linked(accounts: u64, i: u64, each: u64) -> Command {
    let new = |k| NewTransfer::Post {
        debit: payer(accounts, i * each + k),
        credit: payee(accounts, i * each + k),
        amount: 10,
        refundable: true,
    };
    command(Transfers::new((0..each).map(new).collect()).expect("a valid group"))
}

fn hold(accounts: u64, i: u64) -> Command {
    let hold_for = Millis::from_seconds(24 * 3_600);
    one(NewTransfer::Hold { debit: payer(accounts, i), credit: payee(accounts, i), amount: 10, hold_for })
}

fn one(transfer: NewTransfer) -> Command {
    command(Transfers::one(transfer))
}

fn command(transfers: Transfers) -> Command {
    let reference = Reference::new("o-1234567890").expect("a valid reference");
    Command::Transfer { transfers, reference, by: Actor::new("checkout").expect("a valid actor") }
}

/// Accounts come in no order, and never two alike in one transfer.
fn payer(accounts: u64, i: u64) -> Side {
    side(member(scattered(i) % accounts))
}

fn payee(accounts: u64, i: u64) -> Side {
    side(member((scattered(i) % accounts + 1 + scattered(i + 1) % (accounts - 1)) % accounts))
}

fn scattered(i: u64) -> u64 {
    i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

fn member(i: u64) -> String {
    format!("points:m-{i:08}")
}

fn side(id: String) -> Side {
    AccountId::new(id).expect("a valid id").into()
}

fn points() -> Currency {
    Currency::new("PTS").expect("a valid currency")
}

/// CPU time that this process has used, from Linux as the scheduler last counted it, a few milliseconds ago at most; the
/// time on the clock elsewhere.
fn cpu_time() -> Duration {
    static STARTED: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    match stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok()) {
        Some(nanos) => Duration::from_nanos(nanos),
        None => STARTED.get_or_init(Instant::now).elapsed(),
    }
}
