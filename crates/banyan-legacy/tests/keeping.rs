//! What a keeper keeps while a move is driven: parts that end are started again, and what fails is seen.

use banyan_domain::legacy::Phase;
use banyan_legacy::{BoxFuture, Comparer, Halt, Keeper, KeeperOptions, Parts};
use banyan_legacy_testkit::{PATIENCE, World, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// A keeper that runs, and what it was told to stop by.
struct Running {
    keeper: Arc<Keeper>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(options: KeeperOptions) -> Self {
        let keeper = Keeper::new(options);
        let (stop, stopping) = watch::channel(false);
        Self { task: tokio::spawn(keeper.clone().run(stopping)), keeper, stop }
    }

    async fn stage(&self) -> String {
        self.keeper.status().await.expect("it runs").stage.unwrap_or_default()
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").expect("it does not panic");
    }
}

/// In the middle of a comparison for ever.
#[derive(Default)]
struct Endless(AtomicU64);

impl Comparer for Endless {
    fn compare(&self, _: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }
}

/// Panics at first, and compares then.
struct Fragile(Arc<dyn Comparer>, AtomicU64);

impl Comparer for Fragile {
    fn compare(&self, repair: bool) -> BoxFuture<'_, Result<(u64, u64), String>> {
        assert!(self.1.fetch_add(1, Ordering::Relaxed) > 0, "a bug that is wanted here");
        self.0.compare(repair)
    }
}

/// Found by reading: the keeper itself waited for the step, and a stream that broke for good meanwhile was not followed again before
/// its end, for which the step perhaps waited.
#[tokio::test]
async fn a_part_that_ends_while_a_step_of_a_move_takes_long_is_started_again() {
    let world = World::mirroring([("A", 5, 0)]).await;
    let options = world.banyan.keeper_options();
    let (starts, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let comparer = Arc::new(Endless::default());
    let inward = {
        let (starts, ends) = (starts.clone(), ends.clone());
        move |mut stop: watch::Receiver<bool>| -> BoxFuture<'static, Halt> {
            let (starts, ends) = (starts.clone(), ends.clone());
            Box::pin(async move {
                starts.fetch_add(1, Ordering::Relaxed);
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => Halt::Stopped,
                    () = ends.notified() => Halt::Trouble("a column is gone".to_owned()),
                }
            })
        }
    };
    let parts = Parts { inward: Box::new(inward), comparer: comparer.clone(), ..options.parts };
    let running = Running::start(KeeperOptions { parts, ..options });
    world.banyan.begins(Phase::Lead).await;
    until("it compares", async || comparer.0.load(Ordering::Relaxed) > 0).await;
    assert_eq!(starts.load(Ordering::Relaxed), 1);
    ends.notify_one();
    until("it is started again", async || starts.load(Ordering::Relaxed) == 2).await;
    assert_eq!(comparer.0.load(Ordering::Relaxed), 1, "one step at a time");
    // The step is given up with the keeper, and not waited for.
    running.stop().await;
}

#[tokio::test]
async fn a_step_that_fails_by_a_bug_is_told_and_tried_again() {
    let world = World::mirroring([("A", 5, 0)]).await;
    let options = world.banyan.keeper_options();
    let comparer = Arc::new(Fragile(options.parts.comparer.clone(), AtomicU64::new(0)));
    let parts = Parts { comparer, ..options.parts };
    let running = Running::start(KeeperOptions { parts, ..options });
    world.banyan.begins(Phase::Lead).await;
    until("it is told", async || running.stage().await.contains("a bug that is wanted here")).await;
    until("the move is done", async || world.banyan.state().await.phase == Phase::Lead).await;
    running.stop().await;
}

fn fails() -> Halt {
    panic!("a bug that is wanted here")
}

#[tokio::test]
async fn a_part_that_fails_by_a_bug_is_told_and_started_again() {
    let world = World::mirroring([("A", 5, 0)]).await;
    let options = world.banyan.keeper_options();
    let follows = options.parts.inward;
    let starts = AtomicU64::new(0);
    let inward = move |stop: watch::Receiver<bool>| -> BoxFuture<'static, Halt> {
        match starts.fetch_add(1, Ordering::Relaxed) {
            0 => Box::pin(async { fails() }),
            _ => follows(stop),
        }
    };
    let parts = Parts { inward: Box::new(inward), ..options.parts };
    let running = Running::start(KeeperOptions { parts, ..options });
    until("it is told", async || {
        let view = running.keeper.progress();
        let told = view.trouble.inward.unwrap_or_default();
        told.contains("a bug that is wanted here") && !view.inward
    })
    .await;
    until("it is followed", async || {
        let view = running.keeper.progress();
        view.inward && view.trouble.inward.is_none()
    })
    .await;
    running.stop().await;
}
