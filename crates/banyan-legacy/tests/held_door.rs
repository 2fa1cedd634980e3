//! The bookkeeping row taken by hand within the seconds in which a move holds the door of an old database in memory.

mod driving;

use banyan_domain::legacy::Phase;
use banyan_legacy::{Book, DriveError, Switch, Switched};
use banyan_legacy_testkit::World;
use driving::{ITEMS, about_to};

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

/// (The epoch alone was compared, and the docs' statement is often typed without it: the old shop led for the blink of an eye, and
/// then whoever the move was for.)
#[tokio::test]
async fn a_lead_taken_back_by_hand_while_the_door_is_held_is_not_overridden_by_the_switch() {
    let world = World::leading(ITEMS).await;
    let driver = about_to(&world, Phase::Mirror).await;
    // Nothing is to be written out.
    world.banyan.progress.wrote(u64::MAX, 0, 0);
    let running = world.banyan.follows_in();
    // An order is on its way, which keeps the door held until it has come.
    world.shop.stands_still(true);
    world.shop.does_something_else();
    let writes = world.shop.asked().writes;
    let step = tokio::spawn(async move { driver.step().await });
    world.until("the door is held, and asked whether it may", |_| world.shop.asked().writes > writes).await;
    let by_hand = Book { phase: Phase::Legacy, ..world.shop.book() };
    world.shop.silently(|tables| tables.book = Some(by_hand));
    world.shop.stands_still(false);
    let error = step.await.expect("no panic").expect_err("it is told to a person");
    assert!(matches!(&error, DriveError::Person(why) if why.contains("the phase is legacy")), "{error}");
    assert_eq!(world.shop.book(), by_hand, "the row is left as it is");
    let state = world.banyan.state().await;
    assert_eq!((state.phase, state.moving), (Phase::Mirror, None), "and Banyan decides nothing any more");
    assert!(state.taken_over.is_some_and(|takeover| takeover.phase == Phase::Legacy));
    running.stop().await;
}
