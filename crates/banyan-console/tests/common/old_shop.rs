//! An old shop beside a store, and the keeper between them.

use super::Store;
use banyan_legacy::{Desk, Keeper, KeeperOptions, OldDatabase, Progress, TargetRow};
use banyan_legacy_testkit::{OldShop, keeper_options};
use std::sync::Arc;
use std::time::Duration;

/// Gives `store` a keeper of an old shop with two products.
pub fn keep(store: &Store) -> (Arc<Keeper>, OldShop) {
    keep_reporting(store, &Arc::default())
}

/// As [`keep`], with a progress that a test may write to.
pub fn keep_reporting(store: &Store, progress: &Arc<Progress>) -> (Arc<Keeper>, OldShop) {
    let shop = OldShop::with([("mug-white", 240, 3), ("tea-sejak", 12, 14)]);
    let desk = Desk::new(store.app.shard().clone());
    let database: Arc<dyn OldDatabase> = Arc::new(shop.wire());
    let options = keeper_options(&desk, &database, &OldShop::mapping(), progress);
    let keeper = Keeper::new(KeeperOptions { quiet_for: Duration::from_secs(7 * 86_400), ..options });
    tokio::spawn(keeper.clone().run(store.stop.subscribe()));
    store.app.set_keeper(keeper.clone());
    (keeper, shop)
}

/// The old table refuses an item's row as it should be, in these words; or takes it again.
pub fn refuses(progress: &Progress, sku: &str, why: Option<&str>) {
    let (sku, location) = (sku.to_owned(), "main".to_owned());
    let row = TargetRow { table: 0, sku, location, in_stock: -2, allocated: 0 };
    match why {
        Some(why) => progress.set_aside(&row, why),
        None => progress.took_back(&row),
    };
}
