//! Keeping an old shop's database in step beside a server.

use crate::commands::legacy::read_mapping;
use crate::exit::Failure;
use crate::old_database;
use banyan_engine::Shard;
use banyan_legacy::{Desk, Keeper, KeeperOptions, Progress, Routes, parts};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The keeper of what the mapping in `file` is about. `every` is for how long nobody may have touched what is retired, and the
/// time between two comparisons. `routes` is what the gateway knows, if there is one.
pub(crate) fn keeper(
    file: &Path,
    shard: &Arc<Shard>,
    every: [Duration; 2],
    routes: Arc<dyn Routes>,
) -> Result<Arc<Keeper>, Failure> {
    let mapping = read_mapping(file)?;
    let database = old_database::open(mapping.clone())?;
    let (desk, mapping, progress) =
        (Desk::new(shard.clone()), Arc::new(mapping), Arc::new(Progress::default()));
    let running = parts(&desk, &database, &mapping, &progress);
    let [quiet_for, compare_every] = every;
    Ok(Keeper::new(KeeperOptions {
        desk,
        database,
        mapping,
        progress,
        parts: running,
        routes,
        quiet_for,
        compare_every,
    }))
}
