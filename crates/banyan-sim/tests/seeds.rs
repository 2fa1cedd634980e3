//! Many seeds find nothing, every kind of thing happens in them, and the same seed is the same run.

use banyan_log::Storage;
use banyan_sim::{Disk, Lies, Loss, Prng, RunOptions, RunReport, check_twice, replay_command, run};
use std::collections::BTreeMap;

const SEEDS: u64 = 48;
const THREADS: u64 = 2;

/// Runs `seeds` on two threads, each run on one of them.
fn run_all(seeds: u64, run: fn(RunOptions) -> RunReport) -> BTreeMap<String, u64> {
    let part = |first: u64| {
        let mut total = BTreeMap::new();
        for seed in (first..seeds).step_by(THREADS as usize) {
            let report = run(RunOptions::of(seed));
            let again = replay_command(RunOptions::of(seed));
            assert_eq!(report.finding, None, "seed {seed}; to see it again: {again}");
            for (what, count) in report.counts {
                *total.entry(what).or_insert(0) += count;
            }
        }
        total
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || part(first))).collect();
        let mut total = BTreeMap::new();
        for thread in threads {
            let counts = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (what, count) in counts {
                *total.entry(what).or_insert(0) += count;
            }
        }
        total
    })
}

#[test]
fn many_seeds_find_nothing_and_leave_nothing_out() {
    let counts = run_all(SEEDS, run);
    let must_happen = [
        "answers: again",
        "answers: allow-list-unavailable",
        "answers: campaign-exists",
        "answers: campaign-not-found",
        "answers: coupon-expired",
        "answers: coupon-held",
        "answers: coupon-not-found",
        "answers: coupon-redeemed",
        "answers: coupon-revoked",
        "answers: done",
        "answers: end-in-past",
        "answers: ended",
        "answers: idempotency-key-reused",
        "answers: limit-reached",
        "answers: not-eligible",
        "answers: not-started",
        "answers: paused",
        "answers: quantity-below-issued",
        "answers: sold-out",
        "answers: storage full",
        "appends of unknown outcome",
        "archiving failed",
        "campaigns retired",
        "crashes: power, losing Everything",
        "crashes: power, losing Nothing",
        "crashes: power, losing Torn",
        "crashes: process",
        "crashes: view",
        "crashes: while starting",
        "events by time alone",
        "keys kept for answers that changed nothing",
        "outcomes unknown",
        "segments archived",
        "segments filled",
        "snapshots",
        "starts from a snapshot",
        "transactions of the view",
        "turned away: busy",
        "answers: account-exists",
        "answers: account-not-found",
        "answers: insufficient-funds",
        "answers: location-not-found",
        "answers: not-refundable",
        "answers: order-ended",
        "answers: order-not-found",
        "answers: order-not-paid",
        "answers: order-settling",
        "answers: out-of-stock",
        "answers: product-not-found",
        "answers: product-not-on-sale",
        "answers: refund-exceeds",
        "answers: reservation-committed",
        "answers: reservation-expired",
        "answers: reservation-not-found",
        "answers: reservation-released",
        "answers: return-too-much",
        "answers: saga-not-defined",
        "answers: saga-not-found",
        "answers: saga-not-parked",
        "answers: saga-too-late",
        "answers: sku-not-found",
        "answers: stock-below-held",
        "answers: transfer-not-found",
        "answers: transfer-not-pending",
        "executor: a webhook concerns nobody",
        "executor: an answer comes late",
        "executor: an answer is reported twice",
        "executor: an ask is not wanted any more",
        "executor: no answer in time",
        "outside: an answer arrives that was held up",
        "executor: what was open is looked into",
        "outside: a connection breaks before anybody acts",
        "outside: a connection breaks before the request arrives",
        "outside: a customer acts at the card page",
        "outside: a request arrives and comes again",
        "outside: a request goes on that was held up",
        "outside: a request is lost",
        "outside: a request is too old",
        "outside: a webhook arrives",
        "outside: a webhook is lost",
        "outside: done, and the answer is lost",
        "outside: done, and the connection breaks",
        "outside: down for a while",
        "outside: nobody is reached",
        "orders: Cancelled",
        "orders: Failed",
        "orders: Paid",
        "orders: refunds done",
        "sagas: compensated",
        "sagas: completed",
        "unconfirmed blocks found after a crash",
        "unconfirmed blocks gone after a crash",
    ];
    for what in must_happen {
        let count = counts.get(what).copied().unwrap_or(0);
        assert!(count >= 4, "{what:?} happened {count} times in {SEEDS} seeds: {counts:#?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    run_all(6, check_twice);
}

#[test]
fn another_seed_is_another_run() {
    let hashes: Vec<_> =
        (0..4).map(|seed| run(RunOptions { steps: 100, ..RunOptions::of(seed) }).hash).collect();
    for (i, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..i].contains(hash), "seeds {i} and an earlier one have the hash {hash}");
    }
}

/// Bug: opening a log after a failed sync believed bytes that a loss of power then took. These seeds found it, when the disk
/// began to forget as Linux does: whoever opens a log must write the end of it again before it builds on it.
#[test]
fn a_failed_sync_is_not_made_good_by_a_later_one() {
    let disk = Disk::new(Prng::new(1), Lies::default());
    let file = disk.create("file").expect("created");
    file.write_at(&[1; 1024], 0).expect("written");
    disk.fail_sync_after(0);
    file.sync_data().expect_err("the sync fails");
    disk.sync_dir().expect("synced");
    file.write_at(&[2; 512], 512).expect("written");
    file.sync_data().expect("a later sync succeeds");
    let mut bytes = [0; 1024];
    file.read_at(&mut bytes, 0).expect("read");
    assert_eq!((bytes[0], bytes[512]), (1, 2), "both are seen");
    disk.lose_power(Loss::Nothing);
    disk.open("file", false).expect("there").read_at(&mut bytes, 0).expect("read");
    assert_eq!((bytes[0], bytes[512]), (0, 2), "only what was written again was written");

    for seed in [0, 1, 3, 4, 5, 8, 9] {
        let options = RunOptions::of(seed);
        assert_eq!(run(options).finding, None, "seed {seed}; to see it again: {}", replay_command(options));
    }
}
