-- Orders and the price list. Amounts are minor units of the order's currency, tax included; points are the same units.

CREATE TABLE product (
  id TEXT PRIMARY KEY,
  price INTEGER NOT NULL,
  currency TEXT NOT NULL,
  vat_basis_points INTEGER NOT NULL, -- 1,000 is 10 %
  parts TEXT NOT NULL,            -- what one is made of, such as "mug*1 box*2"
  on_sale INTEGER NOT NULL,
  set_at INTEGER NOT NULL,
  set_by TEXT NOT NULL,
  seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The terms, and those before them: the last row stands.
CREATE TABLE terms (
  seq INTEGER PRIMARY KEY,
  currency TEXT NOT NULL,
  shipping_fee INTEGER NOT NULL,
  free_shipping_from INTEGER,     -- NULL: never
  vat_basis_points INTEGER NOT NULL,
  set_at INTEGER NOT NULL,
  set_by TEXT NOT NULL
) STRICT;

CREATE TABLE customer_order (
  no INTEGER PRIMARY KEY,
  member TEXT NOT NULL,
  state TEXT NOT NULL,            -- placed, paid, cancelled or failed
  why TEXT,                       -- why it failed, in a word
  currency TEXT NOT NULL,
  goods INTEGER NOT NULL,         -- goods - discount + shipping - points = total
  discount INTEGER NOT NULL,
  shipping INTEGER NOT NULL,
  points INTEGER NOT NULL,
  total INTEGER NOT NULL,         -- what is paid with money
  vat INTEGER NOT NULL,           -- the tax in it
  coupon INTEGER,                 -- campaign number * 2^40 + n
  saga INTEGER NOT NULL,          -- its checkout
  payment TEXT,                   -- the payment company's id
  transfer INTEGER,               -- the booked sale
  points_transfer INTEGER,        -- the transfer that held the points
  reservation INTEGER,
  refunded INTEGER NOT NULL DEFAULT 0, -- given back, or on its way
  refunded_points INTEGER NOT NULL DEFAULT 0,
  placed_at INTEGER NOT NULL,
  paid_at INTEGER,
  ended_at INTEGER,
  cancel_asked_at INTEGER,        -- when somebody wanted it cancelled before it was paid, and who and why
  cancel_actor TEXT,
  cancel_reason TEXT,
  seq INTEGER NOT NULL            -- last event that changed it
) STRICT;

CREATE INDEX customer_order_by_member ON customer_order (member);
CREATE INDEX customer_order_by_state ON customer_order (state);

CREATE TABLE order_line (
  order_no INTEGER NOT NULL,
  line INTEGER NOT NULL,          -- its place, from 0
  product TEXT NOT NULL,
  quantity INTEGER NOT NULL,
  unit_price INTEGER NOT NULL,
  discount INTEGER NOT NULL,
  points INTEGER NOT NULL,
  vat INTEGER NOT NULL,
  parts TEXT NOT NULL,            -- what one was made of when it was ordered
  returned INTEGER NOT NULL DEFAULT 0, -- units that came back, or are on their way
  PRIMARY KEY (order_no, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE order_refund (
  order_no INTEGER NOT NULL,
  refund INTEGER NOT NULL,        -- from 1
  kind TEXT NOT NULL,             -- cancel or return
  state TEXT NOT NULL,            -- begun, done or refused
  why TEXT,                       -- why it was refused, in a word
  amount INTEGER NOT NULL,
  points INTEGER NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  saga INTEGER NOT NULL,
  begun_at INTEGER NOT NULL,
  ended_at INTEGER,
  seq INTEGER NOT NULL,
  PRIMARY KEY (order_no, refund)
) STRICT, WITHOUT ROWID;

CREATE TABLE order_refund_line (
  order_no INTEGER NOT NULL,
  refund INTEGER NOT NULL,
  line INTEGER NOT NULL,
  quantity INTEGER NOT NULL,
  PRIMARY KEY (order_no, refund, line)
) STRICT, WITHOUT ROWID;

CREATE VIEW orders AS SELECT
  'o-' || o.no AS "order",
  o.member,
  o.state,
  o.why,
  o.goods,
  o.discount,
  o.shipping,
  o.points,
  o.total,
  o.vat,
  o.currency,
  o.refunded,
  o.refunded_points,
  c.id || '-' || (o.coupon & 1099511627775) AS coupon,
  o.payment,
  't-' || o.transfer AS transfer,
  'r-' || o.reservation AS reservation,
  o.saga,
  strftime('%Y-%m-%dT%H:%M:%fZ', o.placed_at / 1000.0, 'unixepoch') AS placed_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', o.paid_at / 1000.0, 'unixepoch') AS paid_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', o.ended_at / 1000.0, 'unixepoch') AS ended_at,
  o.no,
  o.seq
FROM customer_order o LEFT JOIN campaign c ON c.no = o.coupon >> 40;

CREATE VIEW order_lines AS SELECT
  'o-' || order_no AS "order",
  product,
  quantity,
  unit_price,
  unit_price * quantity AS gross,
  discount,
  points,
  unit_price * quantity - discount - points AS paid,
  vat,
  returned,
  parts
FROM order_line;

CREATE VIEW order_refunds AS SELECT
  'o-' || order_no || '.' || refund AS refund,
  'o-' || order_no AS "order",
  kind,
  state,
  why,
  amount,
  points,
  actor,
  reason,
  saga,
  strftime('%Y-%m-%dT%H:%M:%fZ', begun_at / 1000.0, 'unixepoch') AS begun_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1000.0, 'unixepoch') AS ended_at,
  seq
FROM order_refund;
