//! How fast the rules alone are: decide, apply and encode one issue for each of many members, then replay the log.
//!
//! `cargo run --release -p banyan-domain --example issue_rate -- [MEMBERS]` (default one million). Prints nanoseconds an
//! issue, memory a coupon, the slowest block (growing tables must not pause the writer), and replay speed. Times are
//! this process's own CPU time, so that other work on the machine spoils them less; only the slowest block is by the clock.

use banyan_domain::coupon::{self, Audience, Benefit, CampaignDefinition, Stacking};
use banyan_domain::{
    Actor, CampaignId, Command, Decision, Entry, MemberId, State, StoreSecret, Timestamp, codec,
};
use std::time::{Duration, Instant};

const BLOCK_EVENTS: u64 = 4_096;

fn main() {
    let members = std::env::args().nth(1).map_or(1_000_000, |arg| arg.parse().expect("a number of members"));
    let secret = StoreSecret::new([7; 32]);
    let mut state = State::new(secret.clone());
    let mut log: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut body = Vec::new();
    let created = ask(&mut state, create(), &mut body);
    assert!(created, "a new store has room for a campaign");
    log.push((1, std::mem::take(&mut body)));

    let memory_before = resident_bytes();
    let (mut parts, mut slowest, mut log_bytes) = ([Duration::ZERO; 2], Duration::ZERO, 0);
    let started = cpu_time();
    for first in (0..members).step_by(BLOCK_EVENTS as usize) {
        state.begin_block(Timestamp::from_millis(first));
        let last = members.min(first + BLOCK_EVENTS);
        // Built outside the clock: in the server the parser builds them.
        let commands: Vec<Command> = (first..last).map(issue).collect();
        let (begun, clock) = (cpu_time(), Instant::now());
        let decided: Vec<Entry> = commands.into_iter().map(|command| decide(&mut state, command)).collect();
        parts[0] += cpu_time() - begun;
        slowest = slowest.max(clock.elapsed());
        let begun = cpu_time();
        decided.iter().for_each(|entry| codec::encode(entry, &mut body));
        parts[1] += cpu_time() - begun;
        log_bytes += body.len();
        log.push(((last - first) as u32, std::mem::take(&mut body)));
    }
    let total = cpu_time() - started;
    let memory = resident_bytes() - memory_before - log_bytes as u64;
    let each = |time: Duration| time.as_nanos() as f64 / members as f64;
    println!("members                {members}");
    println!("decide + apply         {:6.0} ns an issue", each(parts[0]));
    println!(
        "encode                 {:6.0} ns an issue, {:.1} bytes",
        each(parts[1]),
        log_bytes as f64 / members as f64
    );
    println!("all, commands included {:6.0} ns an issue", each(total));
    println!("slowest block          {:6.0} µs for 4,096 issues", slowest.as_nanos() as f64 / 1_000.0);
    println!("memory                 {:6.1} bytes a coupon (resident)", memory as f64 / members as f64);

    let begun = cpu_time();
    let mut decoded = 0;
    for (count, body) in &log {
        decoded += codec::decode(body, *count).filter(Result::is_ok).count();
    }
    println!(
        "decode                 {:6.0} ns an event",
        (cpu_time() - begun).as_nanos() as f64 / decoded as f64
    );

    let begun = cpu_time();
    let mut replayed = State::new(secret);
    for (block, (count, body)) in log.iter().enumerate() {
        replayed.begin_block(Timestamp::from_millis((block as u64).saturating_sub(1) * BLOCK_EVENTS));
        for entry in codec::decode(body, *count) {
            replayed.apply(&entry.expect("it was written")).expect("it was applied before");
        }
    }
    let time = cpu_time() - begun;
    assert_eq!(replayed.digest(), state.digest(), "a replay gives the same state");
    println!("replay                 {:6.2} M events/s", members as f64 / time.as_secs_f64() / 1e6);

    let begun = cpu_time();
    let bytes = state.to_snapshot();
    println!(
        "snapshot written       {:6.2} s, {:.1} bytes a coupon",
        (cpu_time() - begun).as_secs_f64(),
        bytes.len() as f64 / members as f64
    );
    let begun = cpu_time();
    State::from_snapshot(&bytes).expect("it was written");
    println!("snapshot read          {:6.2} s", (cpu_time() - begun).as_secs_f64());
}

fn decide(state: &mut State, command: Command) -> Entry {
    let Ok(Decision::One(event)) = state.decide(command, None) else { panic!("every member gets a coupon") };
    let entry = Entry { event, stamp: None };
    state.apply(&entry).expect("a decided event applies");
    entry
}

fn ask(state: &mut State, command: Command, body: &mut Vec<u8>) -> bool {
    let Ok(Decision::One(event)) = state.decide(command, None) else { return false };
    let entry = Entry { event, stamp: None };
    codec::encode(&entry, body);
    state.apply(&entry).is_ok()
}

fn create() -> Command {
    Command::Coupon(coupon::Command::CreateCampaign {
        by: Actor::new("example").expect("a valid actor"),
        definition: Box::new(CampaignDefinition {
            id: CampaignId::new("noon").expect("a valid id"),
            name: "Noon".into(),
            quantity: None,
            per_member: 1,
            benefit: Benefit::FreeShipping,
            minimum_order: None,
            starts_at: None,
            ends_at: None,
            audience: Audience::Everyone,
            valid_for: None,
            stacking: Stacking::Exclusive,
        }),
    })
}

fn issue(number: u64) -> Command {
    // Twelve bytes in no order, as members come.
    let member = format!("m{:011}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 28);
    Command::Coupon(coupon::Command::IssueCoupon {
        campaign: CampaignId::new("noon").expect("a valid id"),
        member: MemberId::new(member).expect("a valid member"),
        segments: Box::new([]),
    })
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
