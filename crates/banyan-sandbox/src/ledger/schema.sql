-- All amounts are minor units, all times milliseconds since 1970. Of a card only brand and last4 are ever stored.
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE payment (
  no INTEGER PRIMARY KEY, id TEXT NOT NULL, shape INTEGER NOT NULL, order_id TEXT NOT NULL,
  amount INTEGER NOT NULL, currency TEXT NOT NULL, status INTEGER NOT NULL,
  captured INTEGER NOT NULL, refunded INTEGER NOT NULL, open INTEGER NOT NULL,
  brand TEXT, last4 TEXT, failures INTEGER NOT NULL, challenged INTEGER NOT NULL,
  title TEXT NOT NULL, return_url TEXT NOT NULL, fail_url TEXT NOT NULL,
  created_at INTEGER NOT NULL, deadline INTEGER, cancels TEXT NOT NULL DEFAULT '[]',
  CHECK (0 <= refunded AND refunded <= captured AND captured <= amount)
) STRICT;
CREATE INDEX payment_order ON payment (order_id);
CREATE INDEX payment_deadline ON payment (deadline) WHERE deadline IS NOT NULL;
-- Money that moved: captures above zero, refunds below. The statement of a day is made of these.
CREATE TABLE movement (
  no INTEGER PRIMARY KEY, payment INTEGER NOT NULL, amount INTEGER NOT NULL, at INTEGER NOT NULL, key TEXT NOT NULL
) STRICT;
CREATE INDEX movement_at ON movement (at);
-- The first answer to each idempotency key, written with the effect itself.
CREATE TABLE answer (
  no INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, fingerprint BLOB NOT NULL, action TEXT NOT NULL,
  payment INTEGER, status INTEGER NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL
) STRICT;
-- What the shop is to be told, until it has been. Numbers are never used again: they are the events' public ids.
CREATE TABLE event (
  no INTEGER PRIMARY KEY AUTOINCREMENT, payment INTEGER NOT NULL, body TEXT NOT NULL, due_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL, copies INTEGER NOT NULL, after_next INTEGER NOT NULL
) STRICT;
CREATE INDEX event_due ON event (due_at);
CREATE INDEX event_after_next ON event (payment) WHERE after_next = 1;
