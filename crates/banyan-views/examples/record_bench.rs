//! What the record store costs: `cargo run --release -p banyan-views --example record_bench -- [coupons] [campaigns] [batch] [lookups]`.
//!
//! Feeds encoded blocks of 256 events through decoding and the record view, and prints the CPU time of each issued
//! coupon (decoding, code, rows, index, SQLite's checkpoints), the size of the file, and the time to find a member.

use banyan_domain::coupon::{Audience, Benefit, CampaignDefinition, Event, Stacking};
use banyan_domain::{Actor, CampaignId, CampaignNo, CouponId, Entry, MemberId, OrderId, StoreSecret, codec};
use banyan_log::{Block, Seq};
use banyan_views::record::{RecordOptions, RecordView};
use banyan_views::{Batch, View};
use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::time::{Duration, Instant};

const EVENTS_PER_BLOCK: u64 = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (coupons, campaigns, batch_events) = (number(1_000_000)?, number(1)?, number(5_000)?);
    let lookups = number(20_000)?;
    let folder = std::env::temp_dir().join(format!("record-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = run(&folder, coupons, campaigns, batch_events, lookups);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn run(
    folder: &std::path::Path,
    coupons: u64,
    campaigns: u64,
    batch_events: u64,
    searches: u64,
) -> Result<(), Box<dyn Error>> {
    let mut view = RecordView::open(folder, &RecordOptions::default())?;
    let mut feed = Feed { seq: 1, time_ms: 1_800_000_000_000, body: Vec::new() };
    let mut batch = Batch::default();
    batch.push(&feed.block(&start(campaigns)?))?;
    view.apply(&batch)?;
    batch.clear();

    let (mut spent, mut longest) = (Duration::ZERO, Duration::ZERO);
    let started = Instant::now();
    let mut issued = 0;
    while issued < coupons {
        let mut blocks = Vec::new();
        let mut events = 0;
        while events < batch_events && issued < coupons {
            let count = EVENTS_PER_BLOCK.min(coupons - issued);
            let entries: Result<Vec<Entry>, _> =
                (issued..issued + count).map(|i| issue(i, campaigns)).collect();
            blocks.push(feed.block(&entries?));
            issued += count;
            events += count;
        }
        let (cpu, wall) = (thread_cpu(), Instant::now());
        for block in &blocks {
            batch.push(block)?;
        }
        view.apply(&batch)?;
        batch.clear();
        spent += thread_cpu() - cpu;
        longest = longest.max(wall.elapsed());
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!(
        "coupons                 {coupons} in {campaigns} campaign(s), {batch_events} events a transaction"
    );
    println!("CPU per coupon          {:.3} µs", micros(spent) / coupons as f64);
    println!("coupons per CPU second  {:.0}", coupons as f64 / spent.as_secs_f64());
    println!(
        "wall, feed included     {:.1} s; longest transaction {:.1} ms",
        started.elapsed().as_secs_f64(),
        micros(longest) / 1e3
    );
    println!("file                    {:.1} bytes per coupon", size(folder)? as f64 / coupons as f64);
    lookups("busy", &view, coupons, searches)?;

    let (cpu, mut steps, mut longest) = (thread_cpu(), 0, Duration::ZERO);
    loop {
        let wall = Instant::now();
        let more = view.tidy()?;
        longest = longest.max(wall.elapsed());
        steps += 1;
        if !more {
            break;
        }
    }
    let idle = thread_cpu() - cpu;
    println!(
        "tidying when idle       {:.3} µs per coupon in {steps} steps, longest {:.1} ms",
        micros(idle) / coupons as f64,
        micros(longest) / 1e3
    );
    lookups("tidy", &view, coupons, searches)?;
    println!("file                    {:.1} bytes per coupon", size(folder)? as f64 / coupons as f64);
    let before = size(folder)?;
    redemptions(&mut view, &mut feed, coupons, campaigns)?;
    println!(
        "file                    {:.1} bytes per redemption",
        (size(folder)? - before) as f64 / (coupons / 10) as f64
    );
    assert_eq!(view.parked(), 0, "no event contradicts the rows");
    Ok(())
}

/// Uses a tenth of the coupons, all over the table: what a change of a coupon costs.
fn redemptions(
    view: &mut RecordView,
    feed: &mut Feed,
    coupons: u64,
    campaigns: u64,
) -> Result<(), Box<dyn Error>> {
    let wanted = coupons / 10;
    let (mut spent, mut longest) = (Duration::ZERO, Duration::ZERO);
    let mut done = 0;
    while done < wanted {
        let count = 2_000.min(wanted - done);
        let entries = (done..done + count).map(|i| {
            // A prime larger than any number of coupons here: every coupon at most once.
            let i = i * 2_147_483_647 % coupons;
            let coupon = CouponId::new(CampaignNo::new((i % campaigns + 1) as u32), i / campaigns + 1);
            let order = OrderId::new(format!("order-{i}"))?;
            Ok(Entry { event: Event::CouponRedeemed { coupon, order }.into(), stamp: None })
        });
        let block = feed.block(&entries.collect::<Result<Vec<Entry>, Box<dyn Error>>>()?);
        let (cpu, wall) = (thread_cpu(), Instant::now());
        let mut batch = Batch::default();
        batch.push(&block)?;
        view.apply(&batch)?;
        spent += thread_cpu() - cpu;
        longest = longest.max(wall.elapsed());
        done += count;
    }
    println!(
        "CPU per redemption      {:.3} µs; longest transaction {:.1} ms",
        spent.as_secs_f64() * 1e6 / wanted as f64,
        longest.as_secs_f64() * 1e3
    );
    Ok(())
}

/// Times finding random members.
fn lookups(when: &str, view: &RecordView, coupons: u64, searches: u64) -> Result<(), Box<dyn Error>> {
    let reader = view.reader();
    let mut times = Vec::new();
    for i in 0..searches {
        let member = member(scatter(i) % coupons)?;
        let started = Instant::now();
        let page = reader.member_coupons(&member, None, 20)?;
        times.push(started.elapsed());
        assert!(!page.coupons.is_empty(), "every issued coupon is found");
    }
    times.sort_unstable();
    if times.is_empty() {
        return Ok(());
    }
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!(
        "member lookup, {when}     p50 {:.0} µs, p99 {:.0} µs, {} runs",
        at(0.5),
        at(0.99),
        view.member_runs()
    );
    Ok(())
}

struct Feed {
    seq: u64,
    time_ms: u64,
    body: Vec<u8>,
}

impl Feed {
    fn block(&mut self, entries: &[Entry]) -> Block {
        self.body.clear();
        for entry in entries {
            codec::encode(entry, &mut self.body);
        }
        let block = Block {
            first_seq: Seq(self.seq),
            count: entries.len() as u32,
            time_ms: self.time_ms,
            body: self.body.clone(),
            ..Block::default()
        };
        self.seq += entries.len() as u64;
        self.time_ms += 5;
        block
    }
}

fn start(campaigns: u64) -> Result<Vec<Entry>, Box<dyn Error>> {
    let mut events = vec![banyan_domain::Event::StoreCreated { secret: StoreSecret::new([7; 32]) }];
    for no in 1..=campaigns {
        let definition = CampaignDefinition {
            id: CampaignId::new(format!("campaign-{no}"))?,
            name: "Benchmark".into(),
            quantity: None,
            per_member: 1,
            benefit: Benefit::FreeShipping,
            minimum_order: None,
            starts_at: None,
            ends_at: None,
            audience: Audience::Everyone,
            valid_for: None,
            stacking: Stacking::Exclusive,
        };
        let (no, by) = (CampaignNo::new(no as u32), Actor::new("bench")?);
        events.push(Event::CampaignCreated { no, definition: Box::new(definition), by }.into());
    }
    Ok(events.into_iter().map(|event| Entry { event, stamp: None }).collect())
}

fn issue(i: u64, campaigns: u64) -> Result<Entry, Box<dyn Error>> {
    let coupon = CouponId::new(CampaignNo::new((i % campaigns + 1) as u32), i / campaigns + 1);
    Ok(Entry { event: Event::CouponIssued { coupon, member: member(i)? }.into(), stamp: None })
}

fn member(i: u64) -> Result<MemberId, Box<dyn Error>> {
    Ok(MemberId::new(format!("m{:010}", scatter(i) % 10_000_000_000))?)
}

/// A number that looks random.
fn scatter(i: u64) -> u64 {
    let x = (i ^ i >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 7
}

fn size(folder: &std::path::Path) -> std::io::Result<u64> {
    Ok(std::fs::metadata(folder.join(banyan_views::record::RECORD_FILE))?.len())
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
