//! The parts of the sync, put together for a keeper.

use crate::database::OldDatabase;
use crate::desk::Desk;
use crate::inward::Inward;
use crate::keeper::Parts;
use crate::mapping::Mapping;
use crate::outward::Outward;
use crate::owned::Owned;
use crate::progress::Progress;
use crate::reconcile::Reconciler;
use std::sync::Arc;

impl Parts {
    /// The parts of the sync with `database`.
    #[must_use]
    pub fn of(
        desk: &Desk,
        database: &Arc<dyn OldDatabase>,
        mapping: &Arc<Mapping>,
        progress: &Arc<Progress>,
    ) -> Self {
        let owned = Arc::new(Owned::default());
        let inward = Arc::new(Inward {
            desk: desk.clone(),
            database: database.clone(),
            mapping: mapping.clone(),
            progress: progress.clone(),
            owned: owned.clone(),
        });
        let outward = Arc::new(Outward {
            desk: desk.clone(),
            database: database.clone(),
            mapping: mapping.clone(),
            progress: progress.clone(),
            owned: owned.clone(),
        });
        let comparer = Arc::new(Reconciler {
            desk: desk.clone(),
            database: database.clone(),
            mapping: mapping.clone(),
            progress: progress.clone(),
            owned,
        });
        Self {
            inward: Box::new(move |stop| {
                let inward = inward.clone();
                Box::pin(async move { inward.follow(stop).await })
            }),
            outward: Box::new(move |stop| {
                let outward = outward.clone();
                Box::pin(async move { outward.follow(stop).await })
            }),
            comparer,
        }
    }
}
