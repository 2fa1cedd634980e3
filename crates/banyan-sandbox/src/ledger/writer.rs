//! The one thread that writes.

use super::rows;
use super::{Asked, Effect, Job, LedgerError, LedgerOptions, NewPayment, Reply, Settled, Telling};
use crate::answers::{self, Answer, Refused};
use crate::clock;
use crate::payment::{Action, Cancel, CardStep, Done, No, Payment, Status};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::Notify;

/// Requests that share one transaction, at most.
const BATCH_MAX: usize = 512;
/// How often deadlines are looked at when nobody asks for anything.
const TICK: Duration = Duration::from_millis(200);
/// Payments that expire in one transaction, at most.
const EXPIRE_MAX: i64 = 256;
/// How long an event that is to come after the next one waits for it.
const AFTER_NEXT_MAX: Duration = Duration::from_secs(3);

/// A reply that waits for the transaction.
enum Pending {
    Effect(Reply<Answer>, Answer),
    Card(Reply<Option<Result<Payment, No>>>, Box<Option<Result<Payment, No>>>),
    Settle(Reply<()>),
}

pub(super) struct Writer {
    db: Connection,
    secret: [u8; 32],
    options: LedgerOptions,
    events: Arc<Notify>,
    next_payment: i64,
    /// Never goes back, whatever the system's clock does.
    now: i64,
    told_new: bool,
}

impl Writer {
    pub(super) fn new(
        db: Connection,
        secret: [u8; 32],
        options: LedgerOptions,
        events: Arc<Notify>,
    ) -> rusqlite::Result<Self> {
        let next_payment =
            db.query_row("SELECT coalesce(max(no), 0) + 1 FROM payment", [], |row| row.get(0))?;
        let now = db.query_row("SELECT coalesce(max(at), 0) FROM movement", [], |row| row.get(0))?;
        Ok(Self { db, secret, options, events, next_payment, now, told_new: false })
    }

    /// Takes requests until nobody can send any more.
    pub(super) fn run(&mut self, waiting: &Receiver<Job>) {
        let mut batch = VecDeque::with_capacity(BATCH_MAX);
        loop {
            match waiting.recv_timeout(TICK) {
                Ok(job) => batch.push_back(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            batch.extend(waiting.try_iter().take(BATCH_MAX - batch.len()));
            self.now = self.now.max(clock::now_millis());
            if !batch.is_empty() || self.has_due() {
                self.carry_out(&mut batch);
            }
        }
    }

    fn has_due(&self) -> bool {
        let due = self.db.prepare_cached("SELECT 1 FROM payment WHERE deadline <= ?1 LIMIT 1");
        due.and_then(|mut due| due.exists([self.now])).unwrap_or(false)
    }

    /// One transaction: all of `batch`, or nothing of it.
    fn carry_out(&mut self, batch: &mut VecDeque<Job>) {
        let before = self.next_payment;
        let mut pending = Vec::with_capacity(batch.len());
        self.told_new = false;
        let mut work = || -> rusqlite::Result<()> {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
            self.expire_due()?;
            while let Some(job) = batch.pop_front() {
                match job {
                    Job::Effect(asked, reply) => pending.push(Pending::Effect(reply, self.effect(&asked)?)),
                    Job::Card(id, step, telling, reply) => {
                        pending.push(Pending::Card(reply, Box::new(self.card(&id, step, telling)?)));
                    }
                    Job::Settle(settled, reply) => {
                        for one in settled {
                            match one {
                                Settled::Told(event) => self.told(event)?,
                                Settled::Postponed(event, due_at) => self.postpone(event, due_at)?,
                            }
                        }
                        pending.push(Pending::Settle(reply));
                    }
                }
            }
            self.db.execute_batch("COMMIT")
        };
        match work() {
            Ok(()) => {
                for reply in pending {
                    reply.release();
                }
                if self.told_new {
                    self.events.notify_one();
                }
            }
            Err(error) => {
                self.next_payment = before;
                if !self.db.is_autocommit() {
                    // If even this fails, the next transaction cannot begin, and says so to its callers.
                    let _ = self.db.execute_batch("ROLLBACK");
                }
                tracing::error!(%error, "the sandbox's ledger could not be written; nothing of this batch was done");
                let error = LedgerError::store("writing the ledger", error);
                for reply in pending {
                    reply.fail(&error);
                }
                // The caller of the one that failed hears it from its dropped reply.
                for job in batch.drain(..) {
                    match job {
                        Job::Effect(_, reply) => drop(reply.send(Err(error.clone()))),
                        Job::Card(_, _, _, reply) => drop(reply.send(Err(error.clone()))),
                        Job::Settle(_, reply) => drop(reply.send(Err(error.clone()))),
                    }
                }
            }
        }
    }

    fn effect(&mut self, asked: &Asked) -> rusqlite::Result<Answer> {
        if let Some(answer) = self.remembered(asked)? {
            return Ok(answer);
        }
        let (payment, answer) = match &asked.effect {
            Effect::Create(new) => {
                let payment = self.create(asked, new)?;
                let answer = if payment.status == Status::Declined {
                    answers::refused(
                        asked.shape,
                        &Refused::Declined,
                        Some(&payment),
                        &self.options.public_url,
                    )
                } else {
                    answers::done(asked.shape, &payment, &self.options.public_url)
                };
                (Some(payment), answer)
            }
            Effect::Act { payment, .. }
            | Effect::Confirm { payment, .. }
            | Effect::Cancel { payment, .. } => {
                let found = rows::find(&self.db, payment)?;
                let outcome = match &found {
                    None => Err(Refused::NotFound),
                    Some(_) if asked.decline => Err(Refused::Declined),
                    Some(payment) => self.change(asked, payment.clone())?,
                };
                match outcome {
                    Ok(payment) => {
                        let answer = answers::done(asked.shape, &payment, &self.options.public_url);
                        (Some(payment), answer)
                    }
                    Err(refused) => {
                        let url = &self.options.public_url;
                        let answer = answers::refused(asked.shape, &refused, found.as_ref(), url);
                        (found, answer)
                    }
                }
            }
        };
        self.remember(asked, payment.as_ref(), &answer)?;
        Ok(answer)
    }

    /// The first answer to this key, or a refusal if it was another question.
    fn remembered(&self, asked: &Asked) -> rusqlite::Result<Option<Answer>> {
        let mut statement =
            self.db.prepare_cached("SELECT fingerprint, status, body FROM answer WHERE key = ?1")?;
        let first = statement
            .query_row([&asked.key], |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        Ok(first.map(|(fingerprint, status, body)| {
            if fingerprint == asked.fingerprint {
                return Answer { status, body, replayed: true };
            }
            answers::refused(asked.shape, &Refused::KeyReused, None, &self.options.public_url)
        }))
    }

    fn remember(&self, asked: &Asked, payment: Option<&Payment>, answer: &Answer) -> rusqlite::Result<()> {
        let action = match &asked.effect {
            Effect::Create(_) => "authorize",
            Effect::Act { action: Action::Capture { .. }, .. } => "capture",
            Effect::Act { action: Action::Void, .. } => "void",
            Effect::Act { action: Action::Refund { .. }, .. } => "refund",
            Effect::Confirm { .. } => "confirm",
            Effect::Cancel { .. } => "cancel",
        };
        let mut statement = self.db.prepare_cached(
            "INSERT INTO answer (key, fingerprint, action, payment, status, body, at) VALUES (?1,?2,?3,?4,?5,?6,?7)",
        )?;
        let payment = payment.map(|payment| payment.no);
        statement.execute(params![
            asked.key,
            asked.fingerprint,
            action,
            payment,
            answer.status,
            answer.body,
            self.now
        ])?;
        Ok(())
    }

    fn create(&mut self, asked: &Asked, new: &NewPayment) -> rusqlite::Result<Payment> {
        let no = self.next_payment;
        self.next_payment += 1;
        let mut payment = Payment {
            no,
            id: rows::public_id(&self.secret, no),
            shape: new.shape,
            order: new.order.clone(),
            amount: new.amount,
            currency: new.currency.clone(),
            status: Status::RequiresCard,
            captured: 0,
            refunded: 0,
            open: false,
            card: None,
            failures: 0,
            challenged: false,
            title: new.title.clone(),
            return_url: new.return_url.clone(),
            fail_url: new.fail_url.clone(),
            created_at: self.now,
            deadline: Some(self.after(self.options.card_time)),
            cancels: Vec::new(),
        };
        let mut done = Done { event: Some("payment.created"), moved: 0 };
        let step = match (new.card.clone(), asked.decline) {
            (Some(CardStep::Accepted(card)), true) => Some(CardStep::Declined(card)),
            (step, _) => step,
        };
        if let Some(step) = step {
            let until = self.after(self.options.authorization_time);
            let declined = matches!(step, CardStep::Declined(_));
            // A new payment waits for a card: taking one cannot be refused.
            if let Ok(taken) = payment.card(step, until) {
                done.event = taken.event.or(done.event);
            }
            // There is nobody at a page who could try another card.
            if declined && let Ok(left) = payment.card(CardStep::Leave, until) {
                done.event = left.event;
            }
        }
        rows::insert(&self.db, &payment)?;
        self.after_change(&payment, done, &asked.key, asked.telling)?;
        Ok(payment)
    }

    fn change(&mut self, asked: &Asked, mut payment: Payment) -> rusqlite::Result<Result<Payment, Refused>> {
        let captured_before = payment.captured;
        let done = match &asked.effect {
            Effect::Act { action, .. } => payment.act(*action),
            Effect::Confirm { order, amount, .. } => {
                if payment.order != *order || payment.amount != *amount {
                    return Ok(Err(Refused::OtherPayment));
                }
                if captured_before > 0 {
                    return Ok(Err(Refused::AlreadyProcessed));
                }
                payment.act(Action::Capture { amount: None, last: true })
            }
            // Toss cancels what was confirmed, and nothing else.
            Effect::Cancel { .. } if captured_before == 0 => Err(No::NotRefundable),
            Effect::Cancel { amount, reason, .. } => {
                let done = payment.act(Action::Refund { amount: *amount });
                if let Ok(done) = &done {
                    let (reason, amount, at) = (reason.clone(), -done.moved, self.now);
                    payment.cancels.push(Cancel { reason, amount, at });
                }
                done
            }
            Effect::Create(_) => unreachable!("creating is not a change"),
        };
        match done {
            Ok(done) => {
                rows::update(&self.db, &payment)?;
                self.after_change(&payment, done, &asked.key, asked.telling)?;
                Ok(Ok(payment))
            }
            Err(no) => Ok(Err(Refused::Rule(no))),
        }
    }

    fn card(
        &mut self,
        id: &str,
        step: CardStep,
        telling: Telling,
    ) -> rusqlite::Result<Option<Result<Payment, No>>> {
        let Some(mut payment) = rows::find(&self.db, id)? else { return Ok(None) };
        let until = self.after(self.options.authorization_time);
        match payment.card(step, until) {
            Ok(done) => {
                rows::update(&self.db, &payment)?;
                self.after_change(&payment, done, "", telling)?;
                Ok(Some(Ok(payment)))
            }
            Err(no) => Ok(Some(Err(no))),
        }
    }

    fn expire_due(&mut self) -> rusqlite::Result<()> {
        let due: Vec<i64> = {
            let mut due = self.db.prepare_cached("SELECT no FROM payment WHERE deadline <= ?1 LIMIT ?2")?;
            due.query_map([self.now, EXPIRE_MAX], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        for no in due {
            if let Some(mut payment) = rows::load(&self.db, no)? {
                let done = payment.expire();
                rows::update(&self.db, &payment)?;
                self.after_change(&payment, done, "", Telling::default())?;
            }
        }
        Ok(())
    }

    /// Writes down the money that moved, and what the shop is to be told.
    fn after_change(
        &mut self,
        payment: &Payment,
        done: Done,
        key: &str,
        telling: Telling,
    ) -> rusqlite::Result<()> {
        if done.moved != 0 {
            let mut statement = self
                .db
                .prepare_cached("INSERT INTO movement (payment, amount, at, key) VALUES (?1, ?2, ?3, ?4)")?;
            statement.execute(params![payment.no, done.moved, self.now, key])?;
        }
        let Some(event) = done.event.filter(|_| self.options.has_webhook) else { return Ok(()) };
        let body = answers::event(event, payment, self.now, &self.options.public_url);
        let mut statement = self.db.prepare_cached(
            "INSERT INTO event (payment, body, due_at, attempts, copies, after_next) VALUES (?1, ?2, ?3, 0, ?4, ?5)",
        )?;
        let copies = if telling.twice { 2 } else { 1 };
        let patience = if telling.after_next { AFTER_NEXT_MAX } else { Duration::ZERO };
        let due_at = self.after(telling.late.max(patience));
        statement.execute(params![payment.no, body, due_at, copies, telling.after_next])?;
        self.told_new = true;
        Ok(())
    }

    /// An event was taken: one copy less, and those that waited for it may go.
    fn told(&mut self, event: i64) -> rusqlite::Result<()> {
        self.db.prepare_cached("UPDATE event SET copies = copies - 1 WHERE no = ?1")?.execute([event])?;
        let mut release = self.db.prepare_cached(
            "UPDATE event SET after_next = 0, due_at = ?2 WHERE after_next = 1 AND no < ?1 \
             AND payment = (SELECT payment FROM event WHERE no = ?1)",
        )?;
        self.told_new |= release.execute([event, self.now])? > 0;
        self.db.prepare_cached("DELETE FROM event WHERE no = ?1 AND copies <= 0")?.execute([event])?;
        Ok(())
    }

    fn postpone(&mut self, event: i64, due_at: i64) -> rusqlite::Result<()> {
        let mut statement =
            self.db.prepare_cached("UPDATE event SET attempts = attempts + 1, due_at = ?2 WHERE no = ?1")?;
        statement.execute([event, due_at])?;
        Ok(())
    }

    fn after(&self, time: Duration) -> i64 {
        self.now.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Pending {
    fn release(self) {
        // A caller that went away has lost its answer, not its effect.
        match self {
            Self::Effect(reply, answer) => drop(reply.send(Ok(answer))),
            Self::Card(reply, outcome) => drop(reply.send(Ok(*outcome))),
            Self::Settle(reply) => drop(reply.send(Ok(()))),
        }
    }

    fn fail(self, error: &LedgerError) {
        match self {
            Self::Effect(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Card(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Settle(reply) => drop(reply.send(Err(error.clone()))),
        }
    }
}
