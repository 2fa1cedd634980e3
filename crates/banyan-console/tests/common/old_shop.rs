//! An old shop beside a store, and the keeper between them.

use super::Store;
use banyan_legacy::{Desk, Keeper, KeeperOptions, OldDatabase};
use banyan_legacy_testkit::{OldShop, keeper_options};
use std::sync::Arc;
use std::time::Duration;

/// Gives `store` a keeper of an old shop with two products.
pub fn keep(store: &Store) -> (Arc<Keeper>, OldShop) {
    let shop = OldShop::with([("mug-white", 240, 3), ("tea-sejak", 12, 14)]);
    let desk = Desk::new(store.app.shard().clone());
    let database: Arc<dyn OldDatabase> = Arc::new(shop.wire());
    let options = keeper_options(&desk, &database, &OldShop::mapping(), &Arc::default());
    let keeper = Keeper::new(KeeperOptions { quiet_for: Duration::from_secs(7 * 86_400), ..options });
    tokio::spawn(keeper.clone().run(store.stop.subscribe()));
    store.app.set_keeper(keeper.clone());
    (keeper, shop)
}
