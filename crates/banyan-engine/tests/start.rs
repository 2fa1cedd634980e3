//! Starting: what the caller's clock is for, and logs that no shard wrote.

use banyan_domain::coupon::{self, Audience, Benefit, CampaignDefinition, Event, Stacking};
use banyan_domain::{Actor, CampaignId, CampaignNo, Command, Entry, StoreSecret, Timestamp, codec};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, SnapshotStore, StartError, start};
use banyan_log::{Block, BlockDraft, Log, MemoryLog, Seq};
use std::time::{Duration, Instant};

const CREATED: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn started(log: &MemoryLog) -> Result<banyan_engine::Started, StartError> {
    let secret = Some(StoreSecret::new([7; 32]));
    start(Box::new(log.attach()), None, CoreOptions::default(), secret, CREATED, &mut |_, _| {})
}

#[test]
fn a_new_store_is_created_at_the_time_of_the_caller() {
    let log = MemoryLog::new();
    let created = started(&log).expect("it starts");
    assert!(created.report().created);
    let mut block = Block::default();
    let mut reader = log.reader(Seq(1)).expect("a reader");
    while block.count == 0 && reader.next(&mut block).expect("it can be read") {}
    assert_eq!((block.first_seq, block.time_ms), (Seq(1), CREATED.as_millis()));
    let (_, _, core, _) = created.into_parts();
    assert_eq!(core.state().time(), CREATED);
}

/// Bug: time that goes back in a log stopped the process with a panic that named neither event nor cure.
#[test]
fn a_log_whose_time_goes_back_is_refused() {
    let log = MemoryLog::new();
    drop(started(&log).expect("it starts"));
    let mut writer = log.attach();
    let acquired = writer.acquire().expect("acquired");
    let (high, low) = (0, 0);
    let mut body = Vec::new();
    codec::encode(
        &Entry { event: banyan_domain::Event::StateDigested { high, low }, stamp: None },
        &mut body,
    );
    let time_ms = CREATED.as_millis() - 1;
    writer.append(acquired.epoch, Seq(2), BlockDraft { time_ms, count: 1, body: &body }).expect("appended");
    drop(writer);
    let refused = started(&log).err().expect("refused");
    assert!(
        matches!(refused, StartError::TimeWentBack { seq: 2, time_ms: at, before } if at == time_ms && before == CREATED),
        "{refused:?}"
    );
    let text = refused.to_string();
    assert!(text.contains("event 2") && text.contains("restore a backup"), "{text}");
}

#[test]
fn an_event_that_breaks_an_invariant_is_refused() {
    let log = MemoryLog::new();
    drop(started(&log).expect("it starts"));
    let mut writer = log.attach();
    let acquired = writer.acquire().expect("acquired");
    let mut body = Vec::new();
    let event = Event::CampaignRetired { no: CampaignNo::new(1) }.into();
    codec::encode(&Entry { event, stamp: None }, &mut body);
    let block = BlockDraft { time_ms: CREATED.as_millis(), count: 1, body: &body };
    writer.append(acquired.epoch, Seq(2), block).expect("appended");
    drop(writer);
    assert!(matches!(started(&log).err(), Some(StartError::Violation { seq: 2, .. })));
}

/// Bug: each start that was refused began an epoch first, and so added a block to a log that it said it had not changed.
#[test]
fn a_start_that_is_refused_adds_nothing_to_the_log() {
    let log = MemoryLog::new();
    drop(started(&log).expect("it starts"));
    let mut writer = log.attach();
    let acquired = writer.acquire().expect("acquired");
    let block = BlockDraft { time_ms: CREATED.as_millis(), count: 1, body: b"of a newer version" };
    writer.append(acquired.epoch, Seq(2), block).expect("appended");
    drop(writer);
    let refused = started(&log).err().expect("refused");
    assert!(matches!(refused, StartError::Decode { seq: 2, .. }), "{refused:?}");
    assert_eq!(log.health().epoch, acquired.epoch);
}

/// A snapshot of the last block, and nothing behind it in the log: so it is after a crash.
#[test]
fn a_snapshot_at_the_very_end_of_the_log_is_used() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SnapshotStore::open(dir.path()).expect("a folder");
    let log = MemoryLog::new();
    let started = || {
        start(Box::new(log.attach()), Some(&store), CoreOptions::default(), None, CREATED, &mut |_, _| {})
            .expect("it starts")
    };
    let options =
        ShardOptions { snapshots: Some(store.clone()), snapshot_events: 1, ..ShardOptions::default() };
    let shard = Shard::spawn(started(), Box::new(DirectReplies), options).expect("threads start");
    let definition = CampaignDefinition {
        id: CampaignId::new("noon").expect("valid"),
        name: "Sale".into(),
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
    let by = Actor::new("test").expect("valid");
    let create = coupon::Command::CreateCampaign { definition: Box::new(definition), by };
    shard.submit(Command::Coupon(create), None).expect("room").blocking_recv().expect("answered");
    let head = shard.confirmed().get().as_u64();
    let deadline = Instant::now() + Duration::from_secs(60);
    while shard.metrics().snapshot_seq < head {
        assert!(Instant::now() < deadline, "no snapshot of event {head} was made");
        std::thread::yield_now();
    }
    shard.shutdown();
    for _ in 0..2 {
        let report = started().report().clone();
        assert_eq!((report.snapshot_seq, report.replayed, report.head), (head, 0, head), "{report:?}");
        assert_eq!(report.snapshots_passed, Vec::<String>::new());
    }
}
