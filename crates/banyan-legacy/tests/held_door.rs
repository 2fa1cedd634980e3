//! The bookkeeping row taken by hand within the seconds in which a move holds the door of an old database in memory.

mod table;

use banyan_domain::legacy::Phase;
use banyan_domain::{Refusal, legacy};
use banyan_legacy::{
    Book, BoxFuture, Comparer, Desk, DeskError, DriveError, Driver, Stage, Switch, Switched,
};
use std::sync::{Arc, Mutex};
use table::{Database, World, name};

#[test]
fn a_switch_overrides_nobody_who_wrote_another_phase_or_epoch_since_it_was_asked_for() {
    let book = Book { phase: Phase::Lead, epoch: 4, seq: 70, move_no: 3 };
    let ask =
        Switch { move_no: 5, from: Phase::Lead, to: Phase::Mirror, epoch: book.epoch, seq_at_least: 70 };
    let done = Book { phase: Phase::Mirror, epoch: 5, seq: 70, move_no: 5 };
    assert_eq!(ask.decide(Some(book)), Ok(done));
    assert_eq!(ask.decide(Some(done)), Err(Switched::Done(done)), "again is the same");
    let refused = [
        (None, "no bookkeeping row"),
        // Taken by hand without a new epoch: with the phase alone.
        (Some(Book { phase: Phase::Legacy, ..book }), "the phase is legacy, not lead"),
        (Some(Book { phase: Phase::Mirror, ..book }), "the phase is mirror, not lead"),
        (Some(Book { phase: Phase::Legacy, epoch: 5, ..book }), "the epoch is 5, not 4"),
        (Some(Book { seq: 69, ..book }), "position 69"),
        (Some(Book { phase: Phase::Legacy, move_no: 5, ..book }), "made already"),
    ];
    for (book, says) in refused {
        match ask.decide(book) {
            Err(Switched::Refused(why)) => assert!(why.contains(says), "{why}"),
            other => panic!("{book:?}: {other:?}"),
        }
    }
}

struct Equal;

impl Comparer for Equal {
    fn compare(&self, _: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async { Ok((3, 0)) })
    }
}

/// (The epoch alone was compared, and the docs' statement is often typed without it: the old shop led for the blink of an eye, and
/// then whoever the move was for.)
#[tokio::test]
async fn a_lead_taken_back_by_hand_while_the_door_is_held_is_not_overridden_by_the_switch() {
    let world = World::leading(3).await;
    // Whatever has happened is in the table.
    world.progress.wrote(u64::MAX, 0, 0);
    world.begin(Phase::Mirror).await;
    let driver = Driver {
        desk: world.desk.clone(),
        database: Arc::new(Database::new(&world.shop)),
        progress: world.progress.clone(),
        comparer: Arc::new(Equal),
        flush_goal: Mutex::default(),
    };
    while !matches!(
        driver.step().await.expect("nothing is in the way"),
        Stage::Stepped(legacy::MoveStep::Switched)
    ) {}
    // An order is on its way, which keeps the door held until it has come.
    world.shop.inner().position += 7;
    let position = world.shop.inner().position;
    let writes = world.shop.inner().writes;
    let step = tokio::spawn(async move { driver.step().await });
    world.until("the door is held, and asked whether it may", || world.shop.inner().writes > writes).await;
    let book = world.shop.inner().book.expect("a row");
    let by_hand = Book { phase: Phase::Legacy, ..book };
    world.shop.inner().book = Some(by_hand);
    world.progress.applied(position);
    let error = step.await.expect("no panic").expect_err("it is told to a person");
    assert!(matches!(&error, DriveError::Person(why) if why.contains("the phase is legacy")), "{error}");
    assert_eq!(world.shop.inner().book, Some(by_hand), "the row is left as it is");
    let state = world.state().await;
    assert_eq!((state.phase, state.moving), (Phase::Mirror, None));
    assert!(state.taken_over.is_some_and(|takeover| takeover.phase == Phase::Legacy));
    assert_eq!(reserve(&world.desk).await, Err(Refusal::Legacy(legacy::Refusal::NotLeading)));
}

async fn reserve(desk: &Desk) -> Result<(), Refusal> {
    use banyan_domain::stock::{Command, Line, Lines};
    let sku = banyan_domain::SkuId::new(name(1)).expect("a SKU");
    let lines = Lines::new(vec![Line { sku, location: None, quantity: 1 }]).expect("lines");
    let hold_for = banyan_domain::Millis::new(60_000);
    match desk.ask(Command::Reserve { lines, member: None, order: None, hold_for }).await {
        Ok(_) => Ok(()),
        Err(DeskError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}
