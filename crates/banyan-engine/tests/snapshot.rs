//! Starting from a snapshot so large that it is read on two threads.

use banyan_domain::coupon::{self, Audience, Benefit, CampaignDefinition, Stacking};
use banyan_domain::{Actor, CampaignId, Command, MemberId};
use banyan_engine::{
    Answer, CoreOptions, DirectReplies, Shard, ShardOptions, SnapshotStore, start, wall_clock,
};
use banyan_log::{DiskLog, DiskOptions, RealStorage};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MEMBERS: usize = 80_000;

fn open(dir: &Path) -> Arc<Shard> {
    let storage = Arc::new(RealStorage::create(dir.join("log")).expect("the folder is ours"));
    let disk = DiskOptions { segment_bytes: 16 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
    let log = DiskLog::open(storage, disk).expect("the log opens");
    let snapshots = Some(SnapshotStore::open(dir.join("snapshots")).expect("a folder"));
    let options = ShardOptions {
        pace: Duration::ZERO,
        snapshots,
        snapshot_events: MEMBERS as u64,
        ..ShardOptions::default()
    };
    let core = CoreOptions::default();
    let started = start(Box::new(log), options.snapshots.as_ref(), core, None, wall_clock(), &mut |_, _| {})
        .expect("it starts");
    Shard::spawn(started, Box::new(DirectReplies), options).expect("threads start")
}

fn create() -> Command {
    let definition = CampaignDefinition {
        id: CampaignId::new("noon").expect("a valid id"),
        name: "Noon sale".into(),
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
    let by = Actor::new("test").expect("a valid actor");
    Command::Coupon(coupon::Command::CreateCampaign { definition: Box::new(definition), by })
}

/// Asks for a coupon for each of the members; the answers' coupons and whether they were given again.
fn issue(shard: &Shard, members: impl Iterator<Item = usize>) -> Vec<(coupon::Outcome, bool)> {
    let command = |member: usize| {
        Command::Coupon(coupon::Command::IssueCoupon {
            campaign: CampaignId::new("noon").expect("a valid id"),
            member: MemberId::new(format!("m{member}")).expect("a valid member"),
            segments: Box::default(),
        })
    };
    let commands: Vec<_> = members.map(|member| (command(member), None)).collect();
    let mut answers = Vec::new();
    for batch in commands.chunks(4_096) {
        let batch = shard.submit_many(batch.to_vec()).expect("there is room");
        answers.extend(batch.blocking_recv().expect("answered"));
    }
    let coupon = |answer| match answer {
        Answer::Done { outcome: banyan_domain::Outcome::Coupon(coupon), replayed, .. } => (coupon, replayed),
        other => panic!("{other:?}"),
    };
    answers.into_iter().map(coupon).collect()
}

#[test]
fn a_large_snapshot_answers_as_the_log_does_and_any_flipped_bit_is_noticed() {
    let dir = tempfile::tempdir().expect("a folder");
    let shard = open(dir.path());
    shard.submit(create(), None).expect("there is room").blocking_recv().expect("answered");
    let first = issue(&shard, 0..MEMBERS);
    assert!(first.iter().all(|(_, replayed)| !replayed));
    let deadline = Instant::now() + Duration::from_secs(60);
    while shard.metrics().snapshot_seq == 0 {
        assert!(Instant::now() < deadline, "no snapshot was made");
        std::thread::yield_now();
    }
    assert!(!shard.metrics().alarm);
    shard.shutdown();

    let shard = open(dir.path());
    let report = shard.report().clone();
    assert!(report.snapshot_seq > MEMBERS as u64 && report.snapshots_passed.is_empty(), "{report:?}");
    assert_eq!(report.replayed, report.head - report.snapshot_seq);
    for ((coupon, _), (again, replayed)) in first.iter().zip(issue(&shard, 0..MEMBERS)) {
        assert_eq!((coupon, true), (&again, replayed));
    }
    let next = issue(&shard, MEMBERS..MEMBERS + 1);
    assert!(!next[0].1 && first.iter().all(|(coupon, _)| *coupon != next[0].0), "{next:?}");
    shard.shutdown();

    let files = std::fs::read_dir(dir.path().join("snapshots")).expect("the folder is there");
    let files: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let sound = std::fs::read(&files[0]).expect("a snapshot");
    for at in [0, 20, 60, 90, sound.len() / 4, sound.len() / 2, sound.len() - 1] {
        let mut changed = sound.clone();
        changed[at] ^= 4;
        std::fs::write(&files[0], changed).expect("writable");
        let shard = open(dir.path());
        let report = shard.report().clone();
        shard.shutdown();
        assert!(report.snapshot_seq == 0 && report.replayed == report.head, "byte {at}: {report:?}");
        assert_eq!(report.snapshots_passed.len(), 1, "byte {at}: {report:?}");
        std::fs::remove_file(&files[0]).expect("ours");
        std::fs::read_dir(dir.path().join("snapshots"))
            .expect("the folder is there")
            .for_each(|file| std::fs::remove_file(file.expect("an entry").path()).expect("ours"));
    }
}
