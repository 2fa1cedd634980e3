//! The gates of moves, with a keeper beside an old database in memory: what they saw when a move was asked for may not be so any more
//! when it comes to it.

mod driving;

use banyan_domain::legacy::{Capability, Command, MoveStep, Phase};
use banyan_domain::{Actor, Reason};
use banyan_legacy::BeginError;
use banyan_legacy_testkit::{Kept, OldShop, Question, World, found, until};
use driving::ITEMS;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

const STOCK: Capability = Capability::Stock;
/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3_600);
/// Over at once.
const MOMENT: Duration = Duration::from_millis(1);

/// A process that knows nothing of those before it.
fn start(world: &World, quiet_for: Duration) -> Kept {
    let mut banyan = world.banyan.remembering_nothing();
    banyan.quiet_for = quiet_for;
    banyan.kept()
}

/// Somebody uses a column that is to go.
fn uses(shop: &OldShop) {
    shop.is_used_by("oscar", "select num_in_stock from partner_stockrecord", 1);
}

async fn begin(kept: &Kept, to: Phase, without: &[&str]) -> Result<u64, BeginError> {
    let without: Vec<String> = without.iter().map(|name| (*name).to_owned()).collect();
    kept.keeper().begin(to, Actor::new("op").expect("a name"), "a test", &without).await
}

/// The gates that do not hold.
async fn closed(kept: &Kept, to: Phase) -> Vec<&'static str> {
    let gates = kept.keeper().plan(to).await.expect("it runs").gates;
    gates.into_iter().filter(|gate| !gate.holds).map(|gate| gate.name).collect()
}

/// Waits until every gate holds, after one comparison.
async fn opened(kept: &Kept, to: Phase) {
    until("both sides can be compared", async || kept.keeper().compare(true).await == Ok((2, 0))).await;
    until("its gates hold", async || closed(kept, to).await.is_empty()).await;
}

async fn arrives(world: &World, phase: Phase) {
    let what = format!("phase {}", phase.as_str());
    world.until(&what, |state| state.phase == phase && state.moving.is_none()).await;
}

/// What was noted at a step of the move under way.
async fn note(world: &World, step: MoveStep) -> Option<String> {
    let moving = world.banyan.state().await.moving?;
    moving.noted.into_iter().find(|(noted, ..)| *noted == step).map(|(_, _, note)| note.to_string())
}

/// Waits until the move says that it waits for somebody who uses the columns.
async fn waits_for_references(kept: &Kept) {
    until("the move waits", async || {
        let now = kept.status().await;
        assert_eq!(now.state.phase, Phase::Lead, "it was retired although somebody uses it");
        now.stage.is_some_and(|stage| stage.contains("references: 1 left"))
    })
    .await;
}

/// That a comparison found so many of two rows to differ.
async fn reconciled(world: &World, differing: u64) {
    let state = world.banyan.state().await;
    let (capability, phase, epoch, rows, repaired) = (STOCK, state.phase, state.epoch, 2, 0);
    let position = world.shop.position();
    let note = Command::NoteReconciled { capability, phase, epoch, position, rows, differing, repaired };
    world.banyan.ask(note).await;
}

/// Found by reading: the plan of the second move was taken in the phase before the first, where nobody asks for its gates, and the move
/// began when the first was done.
#[tokio::test(flavor = "multi_thread")]
async fn two_moves_asked_for_in_a_row_do_not_skip_the_gates_of_the_second() {
    let world = World::mirroring(ITEMS).await;
    uses(&world.shop);
    let mut kept = start(&world, HOUR);
    opened(&kept, Phase::Lead).await;
    // The second is asked for while the first is under way; its preflight takes until that is done.
    let ((looks, mut is_looked_at), (goes_on, may_go_on)) = (oneshot::channel(), oneshot::channel());
    world.wire.before(Question::Check, move || async move {
        looks.send(()).expect("somebody waits for it");
        may_go_on.await.expect("it is told");
    });
    let second = begin(&kept, Phase::Retired, &[]);
    let first = async {
        found("the second is looked at", async || is_looked_at.try_recv().ok()).await;
        begin(&kept, Phase::Lead, &[]).await.expect("its gates hold");
        arrives(&world, Phase::Lead).await;
        goes_on.send(()).expect("the second waits for it");
    };
    let (second, ()) = tokio::join!(second, first);
    assert!(second.is_err(), "somebody used the columns a moment ago: {second:?}");
    assert_eq!(world.banyan.state().await.moving, None);
    kept.stop().await;
}

/// Found by reading: a move that was begun went on without anybody looking, however long Banyan was down in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_interrupted_looks_at_its_gates_again() {
    let world = World::leading(ITEMS).await;
    let mut kept = start(&world, MOMENT);
    until("nobody uses the columns", async || closed(&kept, Phase::Retired).await.is_empty()).await;
    kept.stop().await;
    // Begun, and the process ends before the first step. While it is down, somebody uses the columns.
    world.banyan.begins(Phase::Retired).await;
    uses(&world.shop);
    let mut kept = start(&world, HOUR);
    waits_for_references(&kept).await;
    assert_eq!(note(&world, MoveStep::Checked).await, None);
    kept.keeper().abort("somebody uses it").await.expect("given up");
    kept.stop().await;
}

/// As above, for the time between its first step and the moment when the old database is told.
#[tokio::test(flavor = "multi_thread")]
async fn the_gates_are_looked_at_before_the_old_database_is_told() {
    let world = World::leading(ITEMS).await;
    let (number, step) = (world.banyan.begins(Phase::Retired).await, MoveStep::Checked);
    let note = Reason::new("nobody uses them").expect("words");
    world.banyan.ask(Command::NoteMove { capability: STOCK, number, step, note }).await;
    uses(&world.shop);
    let mut kept = start(&world, HOUR);
    waits_for_references(&kept).await;
    assert_eq!(world.shop.book().phase, Phase::Lead, "nobody was told");
    kept.stop().await;
}

/// Nothing is known then, which is not the same as nothing.
#[tokio::test(flavor = "multi_thread")]
async fn columns_are_not_retired_while_nobody_counts_who_uses_them() {
    let world = World::leading(ITEMS).await;
    let mut kept = start(&world, MOMENT);
    until("nobody uses the columns", async || closed(&kept, Phase::Retired).await.is_empty()).await;
    world.shop.counts_no_uses();
    world.banyan.begins(Phase::Retired).await;
    kept.until("the move waits", |now| {
        assert!(!now.state.has_noted(MoveStep::Checked), "it went on: {now:?}");
        now.stage.as_ref().is_some_and(|why| why.contains("references: 0 left; not watched yet"))
    })
    .await;
    kept.keeper().abort("nobody counts").await.expect("given up");
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_goes_without_what_it_was_told_to_go_without_to_its_end() {
    let world = World::leading(ITEMS).await;
    uses(&world.shop);
    let mut kept = start(&world, HOUR);
    assert!(matches!(begin(&kept, Phase::Retired, &[]).await, Err(BeginError::Gates(_))));
    begin(&kept, Phase::Retired, &["references"]).await.expect("in writing");
    arrives(&world, Phase::Retired).await;
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gates_saw_is_noted_with_the_steps() {
    let world = World::mirroring(ITEMS).await;
    let mut kept = start(&world, MOMENT);
    opened(&kept, Phase::Lead).await;
    // It is told, and nobody hears of it: so the notes can be looked at.
    world.shop.stands_still(true);
    begin(&kept, Phase::Lead, &[]).await.expect("its gates hold");
    until("the switch is noted", async || note(&world, MoveStep::Switched).await.is_some()).await;
    for step in [MoveStep::Checked, MoveStep::Switched] {
        let note = note(&world, step).await.expect("noted");
        for gate in ["preflight: 1 checks passed", "stream: followed", "lag: ", "equal: 2 rows compared"] {
            assert!(note.contains(gate), "{gate} at {step:?}: {note}");
        }
    }
    world.shop.stands_still(false);
    arrives(&world, Phase::Lead).await;
    kept.stop().await;
}

/// A move compares for itself, and nobody else does meanwhile: a comparison that has grown old since must not stop it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_interrupted_compares_for_itself() {
    let world = World::mirroring(ITEMS).await;
    world.banyan.begins(Phase::Lead).await;
    // As if it had been long ago: the last comparison found something.
    reconciled(&world, 1).await;
    let mut kept = start(&world, MOMENT);
    arrives(&world, Phase::Lead).await;
    kept.stop().await;
}

/// After a pause the first transaction was as long on its way as that, and an idle shop sends no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_lag_of_long_ago_does_not_stop_the_move_of_an_idle_shop() {
    let world = World::mirroring(ITEMS).await;
    world.banyan.begins(Phase::Lead).await;
    world.shop.committed_long_ago(48 * HOUR);
    world.shop.puts([("A", 4, 0)]);
    world.hear().await;
    assert!(world.banyan.progress.view().lag_millis >= 172_800_000, "the last transaction's");
    let mut kept = world.banyan.kept();
    arrives(&world, Phase::Lead).await;
    kept.stop().await;
}

/// Once the old database may have been told, only that it was ends the move: gates that close while the door is tried are of the move's
/// own making.
#[tokio::test(flavor = "multi_thread")]
async fn what_closes_while_the_door_is_tried_does_not_stop_a_move() {
    let world = World::mirroring(ITEMS).await;
    let mut kept = start(&world, MOMENT);
    opened(&kept, Phase::Lead).await;
    world.shop.keeps_lock(true);
    begin(&kept, Phase::Lead, &[]).await.expect("its gates hold");
    until("the door is tried", async || note(&world, MoveStep::Switched).await.is_some()).await;
    world.shop.silently(|tables| tables.rows.insert("A".to_owned(), (77, 0)));
    assert_eq!(kept.keeper().compare(false).await, Ok((2, 1)));
    assert!(closed(&kept, Phase::Lead).await.contains(&"equal"));
    world.shop.keeps_lock(false);
    arrives(&world, Phase::Lead).await;
    kept.stop().await;
}

/// Found by reading: on the way back every row was looked at again while nobody sold anything, and what was found changed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_looks_at_rows_while_nothing_is_sold() {
    let world = World::leading(ITEMS).await;
    let mut kept = start(&world, MOMENT);
    until("its gates hold", async || closed(&kept, Phase::Mirror).await.is_empty()).await;
    let before = world.shop.preflights().len();
    begin(&kept, Phase::Mirror, &[]).await.expect("its gates hold");
    arrives(&world, Phase::Mirror).await;
    let looked = world.shop.preflights().split_off(before);
    let thorough = looked.iter().filter(|rows| **rows).count();
    assert!(thorough >= 2, "when it was asked for, and before it closed: {looked:?}");
    assert!(
        looked.contains(&false) && looked.is_sorted_by(|a, b| a >= b),
        "and no more after it: {looked:?}"
    );
    kept.stop().await;
}

/// Found by reading: nobody looked at what the old database keeps before the mirror was there, and a first copy may take days.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_databases_disk_is_guarded_from_the_first_copy_on() {
    let mut world = World::with(ITEMS);
    let mut mapping = (*OldShop::mapping()).clone();
    (mapping.watch.wal_bytes_max, mapping.watch.wal_bytes_drop) = (1_000, 2_000);
    world.banyan.mapping = Arc::new(mapping);
    world.shop.keeps_copies_open(true);
    world.shop.retains(1_500);
    let mut kept = start(&world, MOMENT);
    begin(&kept, Phase::Mirror, &[]).await.expect("its gates hold");
    world.until("it copies", |state| state.has_noted(MoveStep::Prepared)).await;
    kept.until("it is looked at", |now| now.health.is_some()).await;
    assert_eq!(world.shop.asked().drops, 0, "more than it should, and not yet too much");
    let told = kept.keeper().status().await.expect("it runs");
    assert!(
        told.trouble.iter().any(|why| why.contains("1500 bytes") && why.contains("2000")),
        "{:?}",
        told.trouble
    );
    assert_eq!(told.kept_bytes_max, 1_000);
    world.shop.retains(3_000);
    until("the stream is given up", async || world.shop.asked().drops > 0).await;
    assert!(world.banyan.state().await.moving.is_some(), "the move goes on with a new copy");
    kept.stop().await;
}

/// Found by reading: only the console wanted a reason.
#[tokio::test(flavor = "multi_thread")]
async fn who_goes_without_a_gate_says_why() {
    let world = World::leading(ITEMS).await;
    uses(&world.shop);
    let mut kept = start(&world, HOUR);
    for reason in ["", " \t"] {
        let by = Actor::new("op").expect("a name");
        let begun = kept.keeper().begin(Phase::Retired, by, reason, &["references".into()]).await;
        assert!(begun.is_err_and(|error| error.to_string().contains("needs a reason")), "{reason:?}");
    }
    assert_eq!(world.banyan.state().await.moving, None);
    kept.stop().await;
}
