//! Starting: what the caller's clock is for, and logs that no shard wrote.

use banyan_domain::coupon::Event;
use banyan_domain::{CampaignNo, Entry, StoreSecret, Timestamp, codec};
use banyan_engine::{CoreOptions, StartError, start};
use banyan_log::{Block, BlockDraft, Log, MemoryLog, Seq};

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
