//! The parts of the sync, put together for a keeper.

use crate::database::OldDatabase;
use crate::desk::Desk;
use crate::keeper::Parts;
use crate::mapping::Mapping;
use crate::progress::Progress;
use crate::reconcile::Reconciler;
use crate::{inward, outward};
use std::sync::Arc;

/// The stream in, the sync out and the comparison of one mapping.
#[must_use]
pub fn parts(
    desk: &Desk,
    database: &Arc<dyn OldDatabase>,
    mapping: &Arc<Mapping>,
    progress: &Arc<Progress>,
) -> Parts {
    let inward = (desk.clone(), database.clone(), mapping.clone(), progress.clone());
    let outward = inward.clone();
    let (desk, database, mapping, progress) = inward.clone();
    Parts {
        inward: Box::new(move |stop| {
            let (desk, database, mapping, progress) = inward.clone();
            Box::pin(async move { inward::follow(&desk, &*database, &mapping, &progress, stop).await })
        }),
        outward: Box::new(move |stop| {
            let (desk, database, mapping, progress) = outward.clone();
            Box::pin(async move { outward::follow(&desk, &*database, &mapping, &progress, stop).await })
        }),
        comparer: Arc::new(Reconciler::new(desk, database, mapping, progress)),
    }
}
