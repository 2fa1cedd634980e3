-- The way over from an old shop: what was moved when, by whom and why, and what was noticed on the way.

CREATE TABLE legacy_move (
  capability TEXT NOT NULL,
  no INTEGER NOT NULL,
  to_phase TEXT NOT NULL,         -- legacy, mirror, lead or retired
  state TEXT NOT NULL,            -- begun, done or aborted
  begun_at INTEGER NOT NULL,
  begun_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  ended_at INTEGER,
  why TEXT,                       -- why it was aborted
  seq INTEGER NOT NULL,
  PRIMARY KEY (capability, no)
) STRICT, WITHOUT ROWID;

CREATE TABLE legacy_step (
  capability TEXT NOT NULL,
  move_no INTEGER NOT NULL,
  seq INTEGER NOT NULL,           -- the event that noted it
  step TEXT NOT NULL,
  at INTEGER NOT NULL,
  note TEXT NOT NULL,
  PRIMARY KEY (capability, move_no, seq)
) STRICT, WITHOUT ROWID;

-- Breaches, messages that were refused, comparisons, and a lead that was taken back, by the event that said so.
CREATE TABLE legacy_notice (
  seq INTEGER PRIMARY KEY,
  capability TEXT NOT NULL,
  kind TEXT NOT NULL,             -- breach, refused, reconciled or taken-over
  at INTEGER NOT NULL,
  sku TEXT,
  location TEXT,
  position INTEGER,               -- of the old database's stream
  what TEXT NOT NULL
) STRICT;
CREATE INDEX legacy_notice_by_kind ON legacy_notice (kind, seq);

-- What the old books say of an item beyond stock.
CREATE TABLE mirrored_item (
  item INTEGER PRIMARY KEY,
  allocated INTEGER NOT NULL,     -- sold by orders of the old shop, not shipped yet
  short INTEGER NOT NULL,         -- sold beyond what there was
  seq INTEGER NOT NULL
) STRICT;
