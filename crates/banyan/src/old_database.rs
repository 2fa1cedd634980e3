//! The kinds of old database that this build speaks.

use crate::exit::Failure;
use banyan_legacy::{DatabaseKind, Mapping, OldDatabase, mysql, postgres};
use std::sync::Arc;

/// The old database of a mapping. Connects when something is asked.
pub(crate) fn open(mapping: Mapping) -> Result<Arc<dyn OldDatabase>, Failure> {
    let (kind, mapping) = (mapping.database.kind, Arc::new(mapping));
    Ok(match kind {
        DatabaseKind::Postgres => Arc::new(postgres::Postgres::new(mapping).map_err(Failure::usage)?),
        DatabaseKind::Mysql => Arc::new(mysql::Mysql::new(mapping).map_err(Failure::usage)?),
    })
}
