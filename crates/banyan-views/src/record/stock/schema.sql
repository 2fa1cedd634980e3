-- Stock: items, reservations, and every movement of goods. The views below spell numbers and times out.

-- A SKU at one location. What can be reserved is max(0, on_hand - held - safety).
CREATE TABLE stock_item (
  item INTEGER PRIMARY KEY,
  sku TEXT NOT NULL,
  location TEXT NOT NULL,
  on_hand INTEGER NOT NULL,       -- goods that are there
  held INTEGER NOT NULL,          -- of these, set aside for reservations
  promised INTEGER NOT NULL,      -- reserved beyond the stock
  owed INTEGER NOT NULL,          -- sold beyond the stock
  safety INTEGER NOT NULL DEFAULT 0, -- goods that are there and are not sold
  backorder_max INTEGER NOT NULL DEFAULT 0,
  preorder_max INTEGER NOT NULL DEFAULT 0,
  released_at INTEGER,            -- NULL: the item is out
  seq INTEGER NOT NULL,           -- last event that changed it
  UNIQUE (sku, location)
) STRICT;

CREATE TABLE purchase_limit (
  sku TEXT PRIMARY KEY,
  per_member INTEGER NOT NULL,    -- units one member may reserve and buy
  set_at INTEGER NOT NULL,        -- it counts reservations from here on
  set_by TEXT NOT NULL,
  seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reservation (
  reservation INTEGER PRIMARY KEY,
  state TEXT NOT NULL,            -- held, committed, released or expired
  member TEXT,
  order_id TEXT,
  until INTEGER NOT NULL,         -- its deadline
  made_at INTEGER NOT NULL,
  ended_at INTEGER,
  seq INTEGER NOT NULL            -- last event that changed it
) STRICT;

CREATE INDEX reservation_by_state ON reservation (state);

-- What a reservation draws on at one item. Once it has ended, held and promised stay as they were then.
CREATE TABLE reservation_line (
  reservation INTEGER NOT NULL,
  item INTEGER NOT NULL,
  held INTEGER NOT NULL,
  promised INTEGER NOT NULL,
  promised_first INTEGER NOT NULL, -- promised when it was made
  returned INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (reservation, item)
) STRICT, WITHOUT ROWID;

-- Live reservations that wait for goods, in the order in which they get them.
CREATE TABLE promise (
  item INTEGER NOT NULL,
  reservation INTEGER NOT NULL,
  PRIMARY KEY (item, reservation)
) STRICT, WITHOUT ROWID;

-- Every change of the units on hand, with why. New ones are in order of time; now and then they are filed in order of item.
CREATE TABLE stock_movement_recent (
  item INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,             -- count, import, receive, adjust, commit, return; release, expiry, configure: see `filled`
  change INTEGER NOT NULL,        -- units that came (positive) or left
  filled INTEGER NOT NULL,        -- units that left at once for what was owed, because goods came or became free
  on_hand INTEGER NOT NULL,       -- units there after both
  reservation INTEGER,
  actor TEXT,
  reason TEXT,
  PRIMARY KEY (seq, item)
) STRICT, WITHOUT ROWID;

CREATE TABLE stock_movement_filed (
  item INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  change INTEGER NOT NULL,
  filled INTEGER NOT NULL,
  on_hand INTEGER NOT NULL,
  reservation INTEGER,
  actor TEXT,
  reason TEXT,
  PRIMARY KEY (item, seq)
) STRICT, WITHOUT ROWID;

CREATE VIEW stock_movement AS
  SELECT item, seq, at, kind, change, filled, on_hand, reservation, actor, reason FROM stock_movement_filed
  UNION ALL
  SELECT item, seq, at, kind, change, filled, on_hand, reservation, actor, reason FROM stock_movement_recent;

CREATE VIEW stock_items AS SELECT
  i.sku,
  i.location,
  i.on_hand,
  i.held,
  max(0, i.on_hand - i.held - i.safety) AS available,
  i.promised,
  i.owed,
  i.safety,
  i.backorder_max,
  i.preorder_max,
  strftime('%Y-%m-%dT%H:%M:%fZ', i.released_at / 1000.0, 'unixepoch') AS released_at,
  l.per_member,
  i.item,
  i.seq
FROM stock_item i LEFT JOIN purchase_limit l ON l.sku = i.sku;

CREATE VIEW reservations AS SELECT
  'r-' || reservation AS reservation,
  state,
  member,
  order_id,
  strftime('%Y-%m-%dT%H:%M:%fZ', made_at / 1000.0, 'unixepoch') AS made_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', until / 1000.0, 'unixepoch') AS until,
  strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1000.0, 'unixepoch') AS ended_at,
  seq
FROM reservation;

CREATE VIEW reservation_lines AS SELECT
  'r-' || l.reservation AS reservation,
  r.state,
  i.sku,
  i.location,
  l.held + l.promised AS quantity,
  l.held,
  l.promised,
  l.returned
FROM reservation_line l
JOIN reservation r ON r.reservation = l.reservation
JOIN stock_item i ON i.item = l.item;

CREATE VIEW stock_movements AS SELECT
  strftime('%Y-%m-%dT%H:%M:%fZ', m.at / 1000.0, 'unixepoch') AS at,
  i.sku,
  i.location,
  m.kind,
  m.change,
  m.filled,
  m.on_hand,
  'r-' || m.reservation AS reservation,
  m.actor,
  m.reason,
  m.seq
FROM stock_movement m JOIN stock_item i ON i.item = m.item;
