//! Keeping an old shop's database in step beside a server.

use crate::commands::legacy::read_mapping;
use crate::exit::Failure;
use crate::old_database;
use banyan_engine::Shard;
use banyan_legacy::{Desk, Keeper, KeeperOptions, Mapping, OldDatabase, Progress, Routes, parts};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What is known of an old shop before anything is started: what is in its mapping file, and who speaks to its database.
pub(crate) struct OldShop {
    mapping: Arc<Mapping>,
    database: Arc<dyn OldDatabase>,
}

impl OldShop {
    /// Reads the mapping in `file`. Nothing is asked of the database yet.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let mapping = read_mapping(file)?;
        let database = old_database::open(mapping.clone())?;
        Ok(Self { mapping: Arc::new(mapping), database })
    }

    /// The keeper of what the mapping is about. `every` is for how long nobody may have touched what is retired, and the time
    /// between two comparisons. `routes` is what the gateway knows, if there is one.
    pub(crate) fn keeper(
        self,
        shard: &Arc<Shard>,
        every: [Duration; 2],
        routes: Arc<dyn Routes>,
    ) -> Arc<Keeper> {
        let Self { mapping, database } = self;
        let (desk, progress) = (Desk::new(shard.clone()), Arc::new(Progress::default()));
        let running = parts(&desk, &database, &mapping, &progress);
        let [quiet_for, compare_every] = every;
        Keeper::new(KeeperOptions {
            desk,
            database,
            mapping,
            progress,
            parts: running,
            routes,
            quiet_for,
            compare_every,
        })
    }
}
