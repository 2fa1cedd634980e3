-- The record store, for people with a sqlite3 shell as much as for the API. Here: campaigns and coupons, the checkpoint and
-- the parked lane; stock, the ledger, sagas and orders have a schema.sql in their own folder.
-- Times are milliseconds since 1970 in the tables, ISO 8601 in the views. Coupon ids are campaign number * 2^40 + n.

-- How far the store has come. It changes in the same transaction as the rows, so the two can never disagree.
CREATE TABLE checkpoint (
  view TEXT PRIMARY KEY,
  seq INTEGER NOT NULL,           -- last event of the log whose effect is here
  time INTEGER NOT NULL,          -- time of its block
  block BLOB NOT NULL,            -- hash of its block: tells the log it was filled from from one that parted from it
  store INTEGER                   -- fingerprint of the store's secret: tells one store's file from another's
) STRICT, WITHOUT ROWID;

CREATE TABLE campaign (
  no INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  quantity INTEGER,               -- NULL: unlimited
  per_member INTEGER NOT NULL,
  benefit TEXT NOT NULL,          -- amount, percent or free_shipping
  amount_minor INTEGER,
  basis_points INTEGER,
  cap_minor INTEGER,
  currency TEXT,
  minimum_order_minor INTEGER,
  minimum_order_currency TEXT,
  starts_at INTEGER,              -- NULL: at once
  ends_at INTEGER,                -- NULL: never
  audience TEXT NOT NULL,         -- everyone, allow_list or segment
  segment TEXT,
  valid_for_ms INTEGER,           -- NULL: coupons never expire
  stacking TEXT NOT NULL,         -- exclusive or stackable
  paused INTEGER NOT NULL DEFAULT 0,
  ended_at INTEGER,
  retired_at INTEGER,
  issued INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0,
  redeemed INTEGER NOT NULL DEFAULT 0,
  revoked INTEGER NOT NULL DEFAULT 0,
  expired INTEGER NOT NULL DEFAULT 0,
  allowed INTEGER NOT NULL DEFAULT 0, -- members on the allow-list
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  seq INTEGER NOT NULL            -- last event that changed the definition or the state
) STRICT;

-- Append-only but for `state`, and that changes only when a coupon is revoked or expires: a coupon in `hold` is held, one
-- in `redemption` is redeemed, and its row here stays as it was issued. So a sale's redemptions touch no page of this
-- table. The campaign is id >> 40, the number id & 1099511627775, the expiry follows from the campaign; the view coupons
-- spells everything out. (Generated columns would be computed at every insert.)
CREATE TABLE coupon (
  id INTEGER PRIMARY KEY,
  member TEXT NOT NULL,
  code TEXT NOT NULL,
  state INTEGER NOT NULL,         -- 0, or 3 revoked, 4 expired; see the view coupons for the others
  issued_at INTEGER NOT NULL,
  seq INTEGER NOT NULL            -- the event that issued it
) STRICT;

CREATE TABLE hold (
  coupon INTEGER PRIMARY KEY,
  order_id TEXT NOT NULL,
  until INTEGER NOT NULL,
  held_at INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;

-- Redemptions as they came, until there are many; then they are filed in order of their coupon, side by side (see
-- redemptions.rs). Each is in exactly one of the two tables. The view redemption shows both.
CREATE TABLE redemption_recent (
  seq INTEGER PRIMARY KEY,
  coupon INTEGER NOT NULL UNIQUE,
  order_id TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;

CREATE TABLE redemption_filed (
  coupon INTEGER PRIMARY KEY,
  order_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;

CREATE VIEW redemption AS
  SELECT coupon, order_id, at, seq FROM redemption_filed
  UNION ALL SELECT coupon, order_id, at, seq FROM redemption_recent;

CREATE TABLE operator_action (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  campaign INTEGER NOT NULL,
  coupon INTEGER,
  reason TEXT NOT NULL
) STRICT;

-- Members allowed to take part, as they were added: one row an event, the members as a JSON array. Ten million members
-- are 1,250 rows this way instead of ten million; the view allow_list_members takes them apart.
CREATE TABLE allow_list (
  seq INTEGER PRIMARY KEY,
  campaign INTEGER NOT NULL,
  at INTEGER NOT NULL,
  added INTEGER NOT NULL,
  members TEXT NOT NULL
) STRICT;

-- Events that contradicted the rows, and every later event of the same key. Nothing of theirs is in the other tables.
CREATE TABLE parked (
  seq INTEGER PRIMARY KEY,
  key TEXT NOT NULL,              -- such as "campaign 3", "coupon 3-17", "stock", "ledger", "saga 5" or "order 7"
  error TEXT NOT NULL,
  at INTEGER NOT NULL,
  campaign INTEGER,
  coupon INTEGER
) STRICT;

-- The index from members to coupons (see members.rs): runs of pages, each page a sorted array. Not for people.
CREATE TABLE member_run (
  run INTEGER PRIMARY KEY,
  bits INTEGER NOT NULL,
  entries INTEGER NOT NULL,
  merged_into INTEGER,
  merged_pages INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE member_page (
  id INTEGER PRIMARY KEY,
  entries BLOB NOT NULL
) STRICT;

CREATE VIEW campaigns AS SELECT
  id,
  name,
  CASE
    WHEN ended_at IS NOT NULL OR ends_at <= unixepoch('subsec') * 1000 THEN 'ended'
    WHEN paused THEN 'paused'
    WHEN starts_at > unixepoch('subsec') * 1000 THEN 'scheduled'
    ELSE 'open'
  END AS state,
  quantity,
  quantity - issued AS "left",
  issued, held, redeemed, revoked, expired, allowed, per_member, benefit, amount_minor, basis_points, cap_minor, currency,
  audience, segment, stacking,
  strftime('%Y-%m-%dT%H:%M:%fZ', starts_at / 1000.0, 'unixepoch') AS starts_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', ends_at / 1000.0, 'unixepoch') AS ends_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000.0, 'unixepoch') AS created_at,
  created_by,
  no
FROM campaign;

CREATE VIEW coupons AS SELECT
  c.id || '-' || (k.id & 1099511627775) AS coupon,
  k.code,
  k.member,
  CASE
    WHEN k.state = 3 THEN 'revoked'
    WHEN k.state = 4 THEN 'expired'
    WHEN h.coupon IS NOT NULL THEN 'held'
    WHEN coalesce(f.coupon, n.coupon) IS NOT NULL THEN 'redeemed'
    ELSE 'issued'
  END AS state,
  strftime('%Y-%m-%dT%H:%M:%fZ', k.issued_at / 1000.0, 'unixepoch') AS issued_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', (k.issued_at + c.valid_for_ms) / 1000.0, 'unixepoch') AS expires_at,
  coalesce(h.order_id, f.order_id, n.order_id) AS order_id,
  strftime('%Y-%m-%dT%H:%M:%fZ', h.until / 1000.0, 'unixepoch') AS held_until,
  strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(f.at, n.at) / 1000.0, 'unixepoch') AS redeemed_at,
  c.id AS campaign,
  k.id,
  k.seq
FROM coupon k
JOIN campaign c ON c.no = k.id >> 40
LEFT JOIN hold h ON h.coupon = k.id
LEFT JOIN redemption_filed f ON f.coupon = k.id
LEFT JOIN redemption_recent n ON n.coupon = k.id;

CREATE VIEW operator_actions AS SELECT
  a.seq,
  strftime('%Y-%m-%dT%H:%M:%fZ', a.at / 1000.0, 'unixepoch') AS at,
  a.actor,
  a.action,
  c.id AS campaign,
  c.id || '-' || (a.coupon & 1099511627775) AS coupon,
  a.reason
FROM operator_action a
LEFT JOIN campaign c ON c.no = a.campaign;

CREATE VIEW allow_list_members AS SELECT c.id AS campaign, m.value AS member, l.seq
FROM allow_list l
JOIN campaign c ON c.no = l.campaign, json_each(l.members) m;
