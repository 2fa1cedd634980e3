-- Sagas: every definition, every saga, and every try of every step.

CREATE TABLE saga_definition (
  definition INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  deadline_ms INTEGER,            -- how long it may take up to its point of no return
  at_risk TEXT,                   -- the input field with the money at risk
  defined_at INTEGER NOT NULL,
  defined_by TEXT NOT NULL,
  seq INTEGER NOT NULL
) STRICT;

CREATE TABLE saga_definition_step (
  definition INTEGER NOT NULL,
  step INTEGER NOT NULL,          -- its place, from 0
  name TEXT NOT NULL,
  kind TEXT NOT NULL,             -- compensatable, pivot or retriable
  target TEXT NOT NULL,           -- who does it: an action of this store, or service/operation
  undo TEXT,
  query TEXT,
  PRIMARY KEY (definition, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE saga (
  saga INTEGER PRIMARY KEY,
  definition INTEGER NOT NULL,
  key TEXT NOT NULL,              -- what it is about, such as an order
  state TEXT NOT NULL,            -- parked, running, compensating, completed or compensated
  phase TEXT NOT NULL,            -- the same without parked: which way it goes, or how it ended
  cause TEXT,                     -- why it turned back: step, cancelled, timed-out or forced
  cause_step INTEGER,
  cause_why TEXT,
  cause_actor TEXT,
  parked_step INTEGER,
  parked_why TEXT,
  parked_at INTEGER,
  at_risk INTEGER,                -- money at risk, minor units
  input TEXT NOT NULL,            -- a JSON object of texts
  started_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  ended_at INTEGER,
  seq INTEGER NOT NULL            -- last event that changed it
) STRICT;

CREATE INDEX saga_by_state ON saga (state);

-- A saga's course: every try of a step, its undo or a question about it, with what came of it; and what happened to the
-- saga as a whole. A row stays as it is once its answer is there: an answer that comes later still is a row of its own.
CREATE TABLE saga_step (
  saga INTEGER NOT NULL,
  seq INTEGER NOT NULL,           -- the event that began it
  at INTEGER NOT NULL,
  step INTEGER,                   -- its place, from 0; NULL for what concerns the whole saga
  what TEXT NOT NULL,             -- do, undo, query; skipped, turned-back, parked, resumed, ended
  attempt INTEGER,
  result TEXT,                    -- of a try: done, refused, unknown, not-sent, awaiting, absent; of resumed: retry, skip, undo
  answered_at INTEGER,
  detail TEXT,                    -- what the participant said, as a JSON object, or why
  actor TEXT,
  PRIMARY KEY (saga, seq)
) STRICT, WITHOUT ROWID;

CREATE VIEW sagas AS SELECT
  s.saga,
  d.name,
  d.version,
  s.key,
  s.state,
  s.phase,
  s.cause,
  c.name AS cause_step,
  s.cause_why,
  p.name AS parked_step,
  s.parked_why,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.parked_at / 1000.0, 'unixepoch') AS parked_at,
  s.at_risk,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.started_at / 1000.0, 'unixepoch') AS started_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.changed_at / 1000.0, 'unixepoch') AS changed_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.ended_at / 1000.0, 'unixepoch') AS ended_at,
  s.input,
  s.seq
FROM saga s
JOIN saga_definition d ON d.definition = s.definition
LEFT JOIN saga_definition_step c ON c.definition = s.definition AND c.step = s.cause_step
LEFT JOIN saga_definition_step p ON p.definition = s.definition AND p.step = s.parked_step;

CREATE VIEW saga_steps AS SELECT
  t.saga,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.at / 1000.0, 'unixepoch') AS at,
  n.name AS step,
  t.what,
  t.attempt,
  t.result,
  t.answered_at - t.at AS took_ms,
  t.detail,
  t.actor,
  t.seq
FROM saga_step t
JOIN saga s ON s.saga = t.saga
LEFT JOIN saga_definition_step n ON n.definition = s.definition AND n.step = t.step;
