-- The ledger: accounts, and every transfer. Amounts are minor units of the account's currency.

CREATE TABLE account (
  no INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  currency TEXT NOT NULL,
  rule TEXT NOT NULL,             -- free, debits-within-credits or credits-within-debits
  debits_posted INTEGER NOT NULL DEFAULT 0,
  credits_posted INTEGER NOT NULL DEFAULT 0,
  debits_pending INTEGER NOT NULL DEFAULT 0,
  credits_pending INTEGER NOT NULL DEFAULT 0,
  opened_at INTEGER NOT NULL,
  opened_by TEXT NOT NULL,
  seq INTEGER NOT NULL            -- last event that changed it
) STRICT;

CREATE TABLE transfer (
  no INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,             -- post, hold, capture, void, refund or reverse
  debit INTEGER NOT NULL,         -- the account it takes from
  credit INTEGER NOT NULL,        -- the account it gives to
  amount INTEGER NOT NULL,        -- of a void: what was left of the hold
  of INTEGER,                     -- the hold that was captured or voided, the transfer that was given back
  refundable INTEGER NOT NULL,    -- whether it may be given back
  refunded INTEGER NOT NULL DEFAULT 0, -- how much of it was given back
  hold_state TEXT,                -- of a hold: pending, captured, voided or expired
  hold_left INTEGER,              -- of a hold: neither captured nor voided
  hold_until INTEGER,             -- of a hold: its deadline
  hold_ended_at INTEGER,
  reference TEXT NOT NULL,        -- what it was made for, such as an order
  actor TEXT NOT NULL,
  at INTEGER NOT NULL,
  seq INTEGER NOT NULL            -- the event that made it
) STRICT;

CREATE INDEX transfer_by_debit ON transfer (debit);
CREATE INDEX transfer_by_credit ON transfer (credit);
CREATE INDEX transfer_by_reference ON transfer (reference);
CREATE INDEX transfer_of ON transfer (of) WHERE of IS NOT NULL;
CREATE INDEX transfer_pending ON transfer (hold_until) WHERE hold_state = 'pending';

CREATE VIEW accounts AS SELECT
  id,
  currency,
  credits_posted - debits_posted AS balance,
  CASE rule
    WHEN 'debits-within-credits' THEN credits_posted - debits_posted - debits_pending
    WHEN 'credits-within-debits' THEN debits_posted - credits_posted - credits_pending
  END AS available,
  debits_posted,
  credits_posted,
  debits_pending,
  credits_pending,
  rule,
  strftime('%Y-%m-%dT%H:%M:%fZ', opened_at / 1000.0, 'unixepoch') AS opened_at,
  opened_by,
  no,
  seq
FROM account;

CREATE VIEW transfers AS SELECT
  't-' || t.no AS transfer,
  t.kind,
  d.id AS debit,
  c.id AS credit,
  t.amount,
  d.currency,
  't-' || t.of AS of,
  t.refunded,
  t.hold_state,
  t.hold_left,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.hold_until / 1000.0, 'unixepoch') AS hold_until,
  t.reference,
  t.actor,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.at / 1000.0, 'unixepoch') AS at,
  t.no,
  t.seq
FROM transfer t JOIN account d ON d.no = t.debit JOIN account c ON c.no = t.credit;

-- The sums over all accounts. Debits equal credits, or the books are broken.
CREATE VIEW trial_balance AS SELECT
  currency,
  sum(debits_posted) AS debits_posted,
  sum(credits_posted) AS credits_posted,
  sum(debits_pending) AS debits_pending,
  sum(credits_pending) AS credits_pending
FROM account GROUP BY currency;
