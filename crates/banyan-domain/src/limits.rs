//! Every limit of the rules in one place, with its unit in the name, related to each other by compile-time assertions.

/// Longest campaign id, in bytes.
pub const CAMPAIGN_ID_BYTES_MAX: usize = 48;
/// Longest member id, in bytes.
pub const MEMBER_ID_BYTES_MAX: usize = 64;
/// Longest order id, in bytes.
pub const ORDER_ID_BYTES_MAX: usize = 64;
/// Longest segment name, in bytes.
pub const SEGMENT_NAME_BYTES_MAX: usize = 48;
/// Longest name of an actor (the key or user that did something), in bytes.
pub const ACTOR_BYTES_MAX: usize = 64;
/// Longest display name of a campaign, in bytes.
pub const CAMPAIGN_NAME_BYTES_MAX: usize = 200;
/// Longest reason given for an operator action, in bytes.
pub const REASON_BYTES_MAX: usize = 400;
/// Most segments one request may vouch for.
pub const SEGMENTS_PER_REQUEST_MAX: usize = 32;

/// Bits of a coupon number that name the campaign.
pub const CAMPAIGN_NO_BITS: u32 = 20;
/// Bits of a coupon number that count within the campaign.
pub const COUPON_N_BITS: u32 = 40;
/// Most campaigns one shard can ever have had.
pub const CAMPAIGNS_MAX: u32 = (1 << CAMPAIGN_NO_BITS) - 1;
/// Most coupons one campaign can issue: rows are linked by 32-bit numbers.
pub const COUPONS_PER_CAMPAIGN_MAX: u64 = u32::MAX as u64 - 1;
/// Most members one campaign can know (allow-list and holders together).
pub const MEMBERS_PER_CAMPAIGN_MAX: u64 = u32::MAX as u64 - 1;
/// Largest per-member limit of a campaign.
pub const PER_MEMBER_MAX: u16 = 10_000;
/// Most members one allow-list command may add.
pub const ALLOW_LIST_CHUNK_MAX: usize = 8_192;
/// Most issue commands one batch may carry.
pub const BATCH_COMMANDS_MAX: usize = 8_192;

/// Longest hold of a coupon for an order, in milliseconds (seven days).
pub const HOLD_MILLIS_MAX: u64 = 7 * 24 * 3_600 * 1_000;
/// Longest life of a coupon after issue, in milliseconds (ten years).
pub const VALIDITY_MILLIS_MAX: u64 = 10 * 366 * 24 * 3_600 * 1_000;
/// How long an ended campaign stays in the hot state after its last coupon settled, in milliseconds: longer than
/// idempotency keys are remembered, so that every remembered answer can be given.
pub const RETIRE_AFTER_MILLIS: u64 = 28 * 3_600 * 1_000;
/// Coupons that one expiry event may cover, so that one event stays short work.
pub const EXPIRY_ROWS_PER_EVENT_MAX: u64 = 65_536;
/// Timer events that one block may carry ahead of its commands.
pub const TIMER_EVENTS_PER_BLOCK_MAX: usize = 1_024;

/// Rows, and messages, of an old shop that one command may carry: a larger source transaction comes in parts.
pub const SOURCE_ROWS_MAX: usize = 500;
/// Of writes by others that were noticed together, how many are told in words; of the others it is known which rows they were.
pub const BREACHES_NAMED_MAX: usize = 100;

/// How long an idempotency key is remembered, in milliseconds (26 hours: at least a day, with room for a late retry).
pub const IDEMPOTENCY_HORIZON_MILLIS: u64 = 26 * 3_600 * 1_000;
/// Most idempotency keys remembered at once. Beyond it, commands with a new key are refused, never an old key forgotten.
pub const IDEMPOTENCY_KEYS_MAX: usize = 16_000_000;

/// Longest name of a saga or of a step, in bytes.
pub const SAGA_NAME_BYTES_MAX: usize = 48;
/// Longest key of a saga, in bytes.
pub const SAGA_KEY_BYTES_MAX: usize = 96;
/// Most steps a saga may have.
pub const SAGA_STEPS_MAX: usize = 32;
/// Most fields of a saga's input, or of a step's output.
pub const SAGA_FIELDS_MAX: usize = 32;
/// Longest name of a field, in bytes.
pub const SAGA_FIELD_NAME_BYTES_MAX: usize = 48;
/// Longest value of a field, in bytes.
pub const SAGA_FIELD_BYTES_MAX: usize = 8_192;
/// Most of what a service says of a refusal, or of why nobody knows, that is kept, in bytes.
pub const SAGA_REASON_BYTES_MAX: usize = 1_000;
/// Longest span that a definition may name, in milliseconds (thirty days).
pub const SAGA_SPAN_MILLIS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// Most definitions of sagas, all versions together, that one shard can ever have had.
pub const SAGA_DEFINITIONS_MAX: u32 = 10_000;
/// How long a saga stays in the hot state after its end, in milliseconds: answers that come late find it there.
pub const SAGA_LATE_MILLIS: u64 = 2 * 3_600 * 1_000;
/// How long the key of an ended saga is remembered in any case, in milliseconds: longer than idempotency keys are.
pub const SAGA_KEY_MILLIS: u64 = 28 * 3_600 * 1_000;
/// How long it is remembered if not more than [`SAGA_OLD_KEYS_MAX`] sagas of its name ended since, in milliseconds (a year): a
/// repair or a payout is begun by hand, from a report that may be old, and must not be made a second time.
pub const SAGA_OLD_KEY_MILLIS: u64 = 366 * 24 * 3_600 * 1_000;
/// Most keys of one name that are remembered for longer than [`SAGA_KEY_MILLIS`].
pub const SAGA_OLD_KEYS_MAX: usize = 20_000;
/// Longest SKU id, in bytes.
pub const SKU_ID_BYTES_MAX: usize = 64;
/// Longest location id, in bytes.
pub const LOCATION_ID_BYTES_MAX: usize = 48;
/// Most locations one shard can ever have had.
pub const LOCATIONS_MAX: usize = 1_000;
/// Most items (one SKU at one location) one shard can ever have had, and so most SKUs.
pub const ITEMS_MAX: u32 = 16_000_000;
/// Most units on hand of one item.
pub const ITEM_UNITS_MAX: u32 = 4_000_000_000;
/// Most units of one item that may be promised and owed beyond the stock: bounds the work when goods arrive.
pub const PROMISED_UNITS_MAX: u32 = 1_000_000;
/// Most lines of one reservation or return: a refusal names them in a bit each.
pub const RESERVATION_LINES_MAX: usize = 100;
/// Most items one reservation may draw on, once lines without a location are split.
pub const RESERVATION_PARTS_MAX: usize = 256;
/// Longest life of a reservation, in milliseconds (seven days).
pub const RESERVATION_MILLIS_MAX: u64 = 7 * 24 * 3_600 * 1_000;
/// How long an ended reservation stays in memory, in milliseconds (28 hours): longer than idempotency keys are
/// remembered, so that every remembered answer can be given.
pub const RESERVATION_KEPT_MILLIS: u64 = 28 * 3_600 * 1_000;
/// Most reservations in memory at once, live and ended.
pub const RESERVATIONS_MAX: usize = 16_000_000;
/// Most rows one import of stock may carry.
pub const IMPORT_ROWS_MAX: usize = 8_192;
/// Imports whose refused rows are remembered by number; of older ones only how many.
pub const IMPORTS_KEPT_MAX: usize = 1_024;
/// Longest account id, in bytes.
pub const ACCOUNT_ID_BYTES_MAX: usize = 96;
/// Longest reference of transfers, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 64;
/// Most accounts one shard can ever have: about 100 bytes of memory each.
pub const ACCOUNTS_MAX: u32 = 50_000_000;
/// Most transfers that one command may link, all or none.
pub const TRANSFERS_PER_GROUP_MAX: usize = 64;
/// Highest number a transfer can have: numbers fit into signed 64-bit columns, and adding a group never overflows.
pub const TRANSFER_NO_MAX: u64 = 1 << 62;
/// Longest hold of money for a later capture, in milliseconds (thirty days).
pub const TRANSFER_HOLD_MILLIS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// How long a transfer can be refunded or reversed, in milliseconds (190 days: half a year, with room for a late return).
/// Never lower it: the log may hold a later refund, which a replay would refuse then.
pub const REFUND_HORIZON_MILLIS: u64 = 190 * 24 * 3_600 * 1_000;

/// Latest instant the rules accept, in milliseconds since 1970 (the year 9999).
pub const TIMESTAMP_MILLIS_MAX: u64 = 253_402_300_799_999;

const _: () = assert!(CAMPAIGN_NO_BITS + COUPON_N_BITS == 60);
const _: () = assert!(COUPONS_PER_CAMPAIGN_MAX < 1 << COUPON_N_BITS);
const _: () = assert!(IDEMPOTENCY_HORIZON_MILLIS >= 24 * 3_600 * 1_000);
const _: () = assert!(RETIRE_AFTER_MILLIS > IDEMPOTENCY_HORIZON_MILLIS);
const _: () = assert!(TIMESTAMP_MILLIS_MAX < 1 << 56);
const _: () = assert!(SAGA_OLD_KEY_MILLIS > SAGA_KEY_MILLIS);
const _: () = assert!(SAGA_KEY_MILLIS > IDEMPOTENCY_HORIZON_MILLIS && SAGA_KEY_MILLIS > SAGA_LATE_MILLIS);
const _: () = assert!(ITEM_UNITS_MAX as u64 + PROMISED_UNITS_MAX as u64 <= u32::MAX as u64);
const _: () = assert!(RESERVATION_LINES_MAX <= u128::BITS as usize);
const _: () = assert!(RESERVATION_LINES_MAX <= RESERVATION_PARTS_MAX);
const _: () = assert!(RESERVATION_KEPT_MILLIS > IDEMPOTENCY_HORIZON_MILLIS);
const _: () = assert!(LOCATIONS_MAX <= u16::MAX as usize);
const _: () = assert!(IMPORT_ROWS_MAX <= u16::MAX as usize);
const _: () = assert!(ACCOUNT_ID_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(TRANSFERS_PER_GROUP_MAX <= u8::MAX as usize);
const _: () = assert!((ACCOUNTS_MAX as u64) < MEMBERS_PER_CAMPAIGN_MAX);
const _: () = assert!(REFUND_HORIZON_MILLIS > IDEMPOTENCY_HORIZON_MILLIS);

/// Highest price of one product, in minor units.
pub const PRICE_MAX: i64 = 1_000_000_000_000;
/// Highest value of the goods of one order, in minor units.
pub const ORDER_VALUE_MAX: i64 = 1_000_000_000_000_000;
/// Most SKUs that one product is made of.
pub const PRODUCT_PARTS_MAX: usize = 20;
/// Most units of a SKU in one product.
pub const PART_UNITS_MAX: u32 = 1_000;
/// Most products that one command may set.
pub const PRODUCTS_PER_COMMAND_MAX: usize = 1_000;
/// Most products on the price list of one shard.
pub const PRODUCTS_MAX: usize = 1_000_000;
/// Most lines of an order.
pub const ORDER_LINES_MAX: usize = 100;
/// Most of a product in one line.
pub const LINE_QUANTITY_MAX: u32 = 100_000;
/// Most refunds of one order.
pub const ORDER_REFUNDS_MAX: usize = 1_000;
/// How long an order that failed or was cancelled stays in the hot state, in milliseconds.
pub const ORDER_ENDED_MILLIS: u64 = 28 * 3_600 * 1_000;
/// How long a paid order stays in the hot state, and can be returned, in milliseconds: a week less than what was booked for it
/// can be refunded, so that a refund that begins late can still be booked.
pub const ORDER_PAID_MILLIS: u64 = REFUND_HORIZON_MILLIS - 7 * 24 * 3_600 * 1_000;

const _: () = assert!(RESERVATION_LINES_MAX >= ORDER_LINES_MAX, "what can be ordered can be reserved");
const _: () = assert!(
    SAGA_FIELD_BYTES_MAX >= RESERVATION_LINES_MAX * (SKU_ID_BYTES_MAX + 12),
    "the lines of a reservation fit into a saga's field"
);
