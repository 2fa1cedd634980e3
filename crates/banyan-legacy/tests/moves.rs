//! Every move, broken off at every question that is asked of the old database, before and after it takes effect, and gone on
//! with by a driver that knows nothing of the first; and every move given up at every step.

mod driving;

use banyan_domain::legacy::{Capability, Command, MoveStep, Phase};
use banyan_domain::{Reason, stock};
use banyan_legacy::{Book, BoxFuture, Comparer, DriveError, Driver, LegacyError, Stage, steps};
use banyan_legacy_testkit::{Banyan, Break, NOT_LEADING, OldShop, PLACE, Wire, World, until};
use driving::rests;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Banyan beside an old shop, and the connection through which moves are made. Both sides are brought up to date by hand.
struct Moves {
    world: World,
    shop: OldShop,
    banyan: Banyan,
    wire: Wire,
}

impl Moves {
    fn new() -> Self {
        let world = World::with([("A", 5, 0), ("B", 5, 0)]);
        let (shop, banyan) = (world.shop.clone(), world.banyan.clone());
        Self { wire: shop.wire(), shop, banyan, world }
    }

    /// After these moves.
    async fn after(way: &[Phase]) -> Self {
        let moves = Self::new();
        for to in way {
            moves.makes(*to).await;
        }
        moves
    }

    /// A driver that knows nothing of those before it.
    fn driver(&self) -> Driver {
        Driver { database: Arc::new(self.wire.clone()), ..self.banyan.driver() }
    }

    /// What the stream in and the sync out would have done by now.
    async fn sync(&self) {
        self.world.hear().await;
        self.banyan.progress.wrote(self.banyan.seq().await, 0, 0);
    }

    async fn is_under_way(&self) -> bool {
        self.banyan.state().await.moving.is_some()
    }

    async fn makes(&self, to: Phase) {
        self.banyan.begins(to).await;
        self.finish().await;
    }

    /// Goes on with the move under way until it is over. Each break takes the driver with it.
    async fn finish(&self) {
        let mut driver = self.driver();
        for _ in 0..100 {
            if !self.is_under_way().await {
                return;
            }
            match driver.step().await {
                Ok(_) => {}
                Err(DriveError::Old(LegacyError::Broken(_))) => driver = self.driver(),
                Err(other) => panic!("{other}"),
            }
            self.sync().await;
        }
        panic!("the move does not end: {:?}", self.banyan.state().await);
    }

    /// Begins a move and makes so many steps of it.
    async fn begins(&self, to: Phase, taken: usize) -> (u64, Driver) {
        let number = self.banyan.begins(to).await;
        let driver = self.driver();
        for _ in 0..taken {
            driver.step().await.expect("on the way");
        }
        (number, driver)
    }

    /// That both sides say the same, and that Banyan decides exactly where it leads.
    async fn check(&self, phase: Phase) {
        let state = self.banyan.state().await;
        assert_eq!(state.phase, phase);
        let book = self.shop.book();
        assert_eq!(book.phase, phase, "the old database says the same");
        assert!(book.move_no == state.epoch || state.moves > state.epoch, "{book:?} {state:?}");
        match self.banyan.reserve("A", 1).await {
            Ok(reservation) => {
                assert!(phase.leads(), "it decided in {phase:?}");
                self.banyan.ask(stock::Command::ReleaseReservation { reservation }).await;
            }
            Err(refusal) => {
                assert!(!phase.leads(), "it refused in {phase:?}: {refusal:?}");
                assert_eq!(refusal, NOT_LEADING);
            }
        }
    }
}

fn stops(error: &DriveError, says: &str) {
    assert!(matches!(error, DriveError::Person(why) if why.contains(says)), "{error}");
}

/// There and back by every move there is.
const WAY: [Phase; 8] = [
    Phase::Mirror,
    Phase::Lead,
    Phase::Retired,
    Phase::Lead,
    Phase::Mirror,
    Phase::Legacy,
    Phase::Mirror,
    Phase::Lead,
];

#[tokio::test]
async fn every_move_is_done_however_it_is_broken_off() {
    let whole = Moves::new();
    for to in WAY {
        whole.makes(to).await;
        whole.check(to).await;
    }
    let questions = whole.wire.questions();
    assert!(questions > 20, "the way asks the old database: {questions}");
    // Breaking off adds questions, so some breaks late on hit nothing; none is left out.
    for at in 1..=questions {
        for how in [Break::Before, Break::After] {
            let moves = Moves::new();
            moves.wire.breaks_off(at, how);
            for to in WAY {
                moves.makes(to).await;
                moves.check(to).await;
            }
        }
    }
}

#[tokio::test]
async fn every_move_can_be_given_up_at_every_step_or_is_done() {
    for (place, to) in WAY.into_iter().enumerate() {
        let from = if place == 0 { Phase::Legacy } else { WAY[place - 1] };
        // Beyond the last step: twice the switch, once noted and once sent.
        for given_up_after in 0..=steps(from, to).len() + 1 {
            let moves = Moves::after(&WAY[..place]).await;
            let (_, driver) = moves.begins(to, 0).await;
            for _ in 0..given_up_after {
                let stage = driver.step().await.expect("nothing breaks here");
                if !matches!(stage, Stage::Stepped(MoveStep::Switched)) && moves.is_under_way().await {
                    moves.sync().await;
                }
            }
            let under_way = moves.is_under_way().await;
            match moves.driver().abort(Reason::new("changed our minds").expect("a reason")).await {
                Ok(()) => {
                    moves.sync().await;
                    assert!(!moves.is_under_way().await);
                    if moves.shop.tables().book.is_some() {
                        moves.check(from).await;
                    }
                    assert!(
                        from != Phase::Legacy || !moves.shop.keeps_stream(),
                        "the old database keeps nothing for a move that was given up"
                    );
                    // It can be begun again, and then it is done.
                    moves.banyan.begins(to).await;
                }
                Err(DriveError::Person(_)) => {
                    let told = moves.banyan.state().await.has_noted(MoveStep::Switched);
                    assert!(!under_way || told);
                }
                Err(other) => panic!("{other}"),
            }
            moves.finish().await;
            moves.check(to).await;
        }
    }
}

#[tokio::test]
async fn going_back_waits_for_what_is_reserved() {
    let moves = Moves::after(&[Phase::Mirror, Phase::Lead]).await;
    let reservation = moves.banyan.reserve("A", 1).await.expect("it leads");
    let (_, driver) = moves.begins(Phase::Mirror, 1).await;
    let Stage::Waiting(why) = driver.step().await.expect("it waits") else { panic!("it does not wait") };
    assert!(why.starts_with("1 reservations are open"), "{why}");
    moves.banyan.ask(stock::Command::CommitReservation { reservation }).await;
    moves.finish().await;
    moves.check(Phase::Mirror).await;
}

/// Found in long runs: for the two minutes that an abandoned reservation was held, neither side sold anything.
#[tokio::test]
async fn going_back_sells_while_it_waits_for_what_was_reserved_before() {
    let moves = Moves::after(&[Phase::Mirror, Phase::Lead]).await;
    let abandoned = moves.banyan.reserve("A", 1).await.expect("it leads");
    let (_, driver) = moves.begins(Phase::Mirror, 0).await;
    for _ in 0..3 {
        let Ok(Stage::Waiting(why)) = driver.step().await else { panic!("it does not wait") };
        assert!(why.contains("from before the move") && why.contains("everything is sold"), "{why}");
    }
    let later = moves.banyan.reserve("A", 1).await.expect("it still decides");
    moves.banyan.ask(stock::Command::ReleaseReservation { reservation: abandoned }).await;
    assert_eq!(driver.step().await, Ok(Stage::Stepped(MoveStep::Checked)));
    assert_eq!(moves.banyan.reserve("A", 1).await, Err(NOT_LEADING), "from here on nothing is reserved");
    let Ok(Stage::Waiting(why)) = driver.step().await else { panic!("it does not wait") };
    assert!(why.starts_with("1 reservations are open") && why.contains("nothing more"), "{why}");
    moves.banyan.ask(stock::Command::CommitReservation { reservation: later }).await;
    moves.finish().await;
    moves.check(Phase::Mirror).await;
}

/// Finds differences that stay, and notes them.
struct Differing(Banyan, AtomicU64);

impl Comparer for Differing {
    fn compare(&self, _: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        Box::pin(async {
            let position = self.1.fetch_add(1, Ordering::Relaxed);
            let state = self.0.state().await;
            let (phase, epoch) = (state.phase, state.epoch);
            let (capability, rows, differing, repaired) = (Capability::Stock, 2, 1, 0);
            let note =
                Command::NoteReconciled { capability, phase, epoch, position, rows, differing, repaired };
            self.0.ask(note).await;
            Ok((2, 1))
        })
    }
}

/// Found by reading: all rows were read again ten times a second, as long as one of them differed.
#[tokio::test]
async fn a_difference_that_stays_is_not_looked_for_all_the_time() {
    let moves = Moves::after(&[Phase::Mirror]).await;
    let comparer = Arc::new(Differing(moves.banyan.clone(), AtomicU64::new(0)));
    let compared = || comparer.1.load(Ordering::Relaxed);
    moves.banyan.begins(Phase::Lead).await;
    let driver = Driver { comparer: comparer.clone(), ..moves.driver() };
    assert_eq!(driver.step().await, Ok(Stage::Stepped(MoveStep::Checked)));
    for _ in 0..20 {
        let Ok(Stage::Waiting(why)) = driver.step().await else { panic!("it does not wait") };
        assert!(why.contains("differ"), "{why}");
    }
    assert_eq!(compared(), 1);
    // Whoever compares by himself has perhaps put something right.
    comparer.compare(true).await.expect("compared");
    assert!(matches!(driver.step().await, Ok(Stage::Waiting(_))));
    assert_eq!(compared(), 3);
    assert!(matches!(driver.step().await, Ok(Stage::Waiting(_))));
    assert_eq!(compared(), 3, "it rests again");
}

#[tokio::test]
async fn the_door_is_let_go_if_the_sides_do_not_catch_up() {
    let moves = Moves::after(&[Phase::Mirror, Phase::Lead]).await;
    // Checked, drained, noted. The sync out stands still from here on.
    let (_, driver) = moves.begins(Phase::Mirror, 3).await;
    rests(&moves.shop, &driver).await;
    assert_eq!(moves.shop.book().phase, Phase::Lead, "nothing was handed back");
    moves.finish().await;
    moves.check(Phase::Mirror).await;
}

/// What must be written out is known once the last message is here, and not before.
#[tokio::test]
async fn the_old_shop_is_handed_the_lead_only_when_what_its_last_message_came_to_is_in_its_columns() {
    let moves = Moves::after(&[Phase::Mirror, Phase::Lead]).await;
    let (_, driver) = moves.begins(Phase::Mirror, 3).await;
    // Everything is written out, but a message is on its way here.
    moves.banyan.progress.wrote(moves.banyan.seq().await, 0, 0);
    moves.shop.tells("count", r#"{"sku": "A", "on_hand": 9}"#);
    let (writes, position) = (moves.shop.asked().writes, moves.shop.position());
    let step = tokio::spawn(async move { driver.step().await });
    until("the door is held", async || moves.shop.asked().writes > writes).await;
    // It comes here while the door is held. The sync out stands still.
    let follows = moves.banyan.follows_in();
    until("it is here", async || moves.banyan.progress.view().position_applied >= position).await;
    assert_eq!(moves.banyan.books("A", PLACE).await, Some((9, 0)));
    tokio::time::pause();
    let stage = step.await.expect("it does not panic").expect("it rests");
    tokio::time::resume();
    assert!(
        matches!(&stage, Stage::Resting(why) if why.contains("the old columns are at event")),
        "{stage:?}"
    );
    assert_eq!(moves.shop.book().phase, Phase::Lead, "the old shop would not know of it");
    follows.stop().await;
    moves.finish().await;
    moves.check(Phase::Mirror).await;
}

#[tokio::test]
async fn banyan_is_handed_the_lead_only_when_everything_before_the_door_is_here() {
    let moves = Moves::after(&[Phase::Mirror]).await;
    let (number, driver) = moves.begins(Phase::Lead, 3).await;
    // The last order of the old shop is committed, and still on its way here.
    moves.shop.does_something_else();
    rests(&moves.shop, &driver).await;
    assert_eq!(moves.shop.book().phase, Phase::Mirror, "nothing was handed over");
    let step = tokio::spawn(async move { driver.step().await });
    moves.world.hear().await;
    step.await.expect("it does not panic").expect("it is here");
    let book = moves.shop.book();
    assert_eq!((book.phase, book.move_no), (Phase::Lead, number));
    moves.finish().await;
    moves.check(Phase::Lead).await;
}

#[tokio::test]
async fn a_move_does_not_take_the_lead_from_somebody_who_took_it_back_by_hand() {
    for to in [Phase::Retired, Phase::Mirror] {
        let moves = Moves::after(&[Phase::Mirror, Phase::Lead]).await;
        let (_, driver) = moves.begins(to, 0).await;
        while !matches!(driver.step().await, Ok(Stage::Stepped(MoveStep::Switched))) {
            moves.sync().await;
        }
        let row = Book { phase: Phase::Legacy, epoch: 9, seq: 0, move_no: 2 };
        moves.shop.silently(|tables| tables.book = Some(row));
        stops(&driver.step().await.expect_err("it stops"), "by hand");
        assert_eq!(moves.shop.book(), row, "the row is left as it is");
        let state = moves.banyan.state().await;
        assert_eq!((state.phase, state.moving), (Phase::Mirror, None));
        assert_eq!(moves.banyan.reserve("A", 1).await, Err(NOT_LEADING));
        assert_eq!(driver.step().await.expect("nothing to do"), Stage::Idle);
    }
}

#[tokio::test]
async fn a_bookkeeping_row_that_somebody_else_wrote_stops_the_move() {
    let moves = Moves::after(&[Phase::Mirror]).await;
    let (number, driver) = moves.begins(Phase::Lead, 3).await;
    let theirs = Book { phase: Phase::Retired, epoch: 9, seq: 0, move_no: number };
    moves.shop.silently(|tables| tables.book = Some(theirs));
    stops(&driver.step().await.expect_err("it stops"), "put it right");
}
