//! Files that are read again while the gateway runs: when they have changed, and then stayed as they are from one look to the
//! next. Whoever renews a file may be half way through with it, or with the one that belongs to it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What changes whenever somebody writes a file or puts another in its place: inode, length, time of the last change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Stamp(Vec<Option<(u64, u64, i64, i64)>>);

impl Stamp {
    /// Of the files as they are now. Waits for the disk.
    pub(crate) fn of(files: &[&Path]) -> Self {
        let one = |path: &&Path| {
            let data = std::fs::metadata(path).ok()?;
            Some((data.ino(), data.len(), data.ctime(), data.ctime_nsec()))
        };
        Self(files.iter().map(one).collect())
    }
}

/// What was last seen of some files.
pub(crate) struct Seen {
    /// When they were last read, well or not.
    read: Stamp,
    /// At the last look, if they had changed.
    changed: Option<Stamp>,
}

impl Seen {
    /// They were read as `stamp` has them, which was taken before the reading: what is written meanwhile is a change.
    pub(crate) const fn read(stamp: Stamp) -> Self {
        Self { read: stamp, changed: None }
    }

    /// Whether they are to be read, which now are as `now` has them. What was no good (`failed`) is read again at each look.
    pub(crate) fn is_due(&mut self, now: Stamp, failed: bool) -> bool {
        let is_as_read = now == self.read;
        if is_as_read && !failed {
            self.changed = None;
            return false;
        }
        let is_due = is_as_read || self.changed.as_ref() == Some(&now);
        if !is_due {
            self.changed = Some(now);
        }
        is_due
    }
}

/// Calls `look`, which may wait for files that are far away, every `pause` until the gateway has ended.
pub(crate) async fn watch(
    pause: Duration,
    mut ending: watch::Receiver<bool>,
    look: impl Fn() + Send + Sync + 'static,
) {
    let look = Arc::new(look);
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = ending.wait_for(|end| *end) => return,
        }
        let look = look.clone();
        if tokio::task::spawn_blocking(move || look()).await.is_err() {
            tracing::error!("looking at the files of certificates panicked");
        }
    }
}
