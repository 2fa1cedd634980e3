//! Waiting for what must come, and that nobody tells of.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a test waits for something that must come. A loaded machine is slow.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is not looked after a look: at first, since most things come at once, and at most, since a look may cost much.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(30));

/// Waits until `holds`.
///
/// # Panics
/// If it does not within [`PATIENCE`], with `what` was waited for.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    seen(what, async || holds().await.then_some(()).ok_or(())).await;
}

/// Waits until `look` finds something, and gives it.
///
/// # Panics
/// As [`until`].
pub async fn found<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    seen(what, async || look().await.ok_or(())).await
}

/// As [`found`], for who sees something else meanwhile.
///
/// # Panics
/// As [`until`], and with what was seen last.
pub async fn seen<T, E: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    // The machine's clock: that of the tests may stand still.
    let end = Instant::now() + PATIENCE;
    let mut pause = PAUSE.0;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) if Instant::now() >= end => panic!("waited in vain for this: {what}: {instead:?}"),
            Err(_) => {}
        }
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}
