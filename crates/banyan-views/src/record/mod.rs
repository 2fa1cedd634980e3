//! The record store: a SQLite file with every campaign and coupon, item and reservation, account and transfer, and saga.
//!
//! [`RecordView`] writes it, [`RecordReader`] reads it, [`rebuild`] makes it anew. The tables are in `schema.sql`, and meant
//! to be read by people too: `sqlite3 -readonly record.sqlite 'SELECT * FROM coupons LIMIT 10'`.
//!
//! The file is a copy of what the log says, never the truth. That is why it may be written with `synchronous=NORMAL`: in
//! WAL mode SQLite then never loses consistency, only the last transactions when the machine loses power, and their
//! checkpoint goes with them; the runner applies those events again.

mod apply;
mod coupons;
mod file;
mod holds;
mod json;
mod ledger;
mod legacy;
mod members;
mod orders;
mod parked;
mod reader;
mod rebuild;
mod rebuilder;
mod redemptions;
mod rests;
mod rows;
mod sagas;
mod stock;
#[cfg(test)]
mod tests;
mod view;

pub use ledger::{
    AccountRecord, HoldState, StatementCursor, StatementLine, StatementPage, TransferKind, TransferPage,
    TransferRecord,
};
pub use legacy::{MoveRecord, NoticeKind, NoticeRecord, StepRecord};
pub use orders::{OrderLineRecord, OrderPage, OrderRecord, OrderRefundRecord};
pub use reader::{CampaignRecord, CouponRecord, MemberPage, ParkedEvent, RecordReader};
pub use rebuild::{OfflineReader, RebuildReport, RecordLock, rebuild, rebuild_online};
pub use rebuilder::{RebuildStatus, Rebuilder, StartRefused};
pub use sagas::{ParkedOrder, SagaPage, SagaRecord, SagaShown, SagaStepRecord, SagaTotals};
pub use stock::{
    LineRecord, MovementPage, MovementRecord, ReservationPage, ReservationRecord, StockItemRecord,
};
pub use view::{RecordOptions, RecordView};

/// Name of the store's file in its folder.
pub const RECORD_FILE: &str = "record.sqlite";
/// Most coupons one page of a member's list may hold.
pub const MEMBER_PAGE_MAX: usize = 1_000;
/// Most rows one page of any other list may hold.
pub const PAGE_MAX: usize = 1_000;
