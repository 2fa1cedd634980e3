//! What the old database keeps of its log for us: told when it is too much, and given up as the last resort.

use super::Keeper;
use crate::database::StreamHealth;
use crate::mapping::Watch;

/// What an operator must know when the old database keeps more for us than it should.
pub(super) fn trouble(health: Option<&Result<StreamHealth, String>>, watch: &Watch) -> Option<String> {
    let kept = health?.as_ref().ok()?.retained_bytes;
    (kept > watch.wal_bytes_max).then(|| {
        let then = match watch.wal_bytes_drop {
            0 => "nothing ends that before its disk is full: see why the stream is not read as fast as it is written".to_owned(),
            drop => format!("at {drop} bytes the stream is given up, while this server runs: see why it is not read as fast as it is written"),
        };
        format!(
            "the old database keeps {kept} bytes of its log for us, and watch.wal_bytes_max is {}; {then}",
            watch.wal_bytes_max
        )
    })
}

impl Keeper {
    /// Alarms when the old database keeps too much for us; as the last resort, and if the mapping says so, gives the stream
    /// up rather than fill its disk.
    pub(super) async fn guard(&self, health: &StreamHealth) {
        let watch = &self.mapping.watch;
        let kept = health.retained_bytes;
        if kept > watch.wal_bytes_max {
            tracing::warn!(
                bytes = kept,
                most = watch.wal_bytes_max,
                "the old database keeps more of its log for us than it should"
            );
        }
        if watch.wal_bytes_drop > 0 && kept > watch.wal_bytes_drop {
            tracing::error!(
                bytes = kept,
                "giving the stream up so that the old database's disk does not fill"
            );
            if let Err(error) = self.driver.database.drop_stream().await {
                tracing::error!("the stream could not be given up: {error}");
            }
        }
    }
}
