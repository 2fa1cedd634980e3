//! `banyan ledger statement`: every movement of one account, from the log.

use crate::exit::{CHECK, Failure};
use crate::offline::{self, StoreArgs, event_progress};
use banyan_api::rfc3339;
use banyan_domain::pay::{self, Leg, OpenedAccount};
use banyan_domain::{AccountNo, Event, Timestamp, TransferNo};
use banyan_log::{Block, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct StatementArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
    /// First log position to list; what came before is the opening balance
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// Last log position to list
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// Print as CSV, one line a movement
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// An account's movements between two log positions. Amounts are minor units.
#[derive(Serialize)]
struct Statement {
    account: String,
    currency: String,
    rule: &'static str,
    /// First and last position that it covers.
    from: u64,
    to: u64,
    opening_balance: i64,
    closing_balance: i64,
    /// What is set aside at the end, to be taken and to be given.
    debits_pending: i64,
    credits_pending: i64,
    movements: Vec<Movement>,
}

/// One movement of the account, or of what is set aside on it.
#[derive(Serialize)]
struct Movement {
    seq: u64,
    time: String,
    transfer: String,
    /// `posted`, `held`, `captured`, `voided`, `expired`, `refunded` or `reversed`.
    kind: &'static str,
    /// The transfer that it captures, voids or gives back.
    of: Option<String>,
    /// The account on the other side.
    other: String,
    reference: String,
    by: String,
    /// Taken from the account, for good.
    debit: i64,
    /// Given to it, for good.
    credit: i64,
    /// Credits less debits after it.
    balance: i64,
    /// What is set aside after it: to be given less to be taken.
    pending: i64,
}

/// Prints an account's statement.
pub(crate) fn run(args: &StatementArgs) -> Result<ExitCode, Failure> {
    let (from, to) = (args.from.unwrap_or(1), args.to.unwrap_or(u64::MAX));
    if from > to {
        return Err(Failure::usage("--from must not be after --to"));
    }
    let statement = read(args, from, to)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = if args.json {
        serde_json::to_string_pretty(&statement)
            .map_err(std::io::Error::other)
            .and_then(|text| writeln!(out, "{text}"))
    } else if args.csv {
        write_csv(&mut out, &statement)
    } else {
        write_table(&mut out, &statement)
    };
    written.and_then(|()| out.flush()).map_err(|error| Failure::environment(format!("printing: {error}")))?;
    let sums = statement.movements.iter().map(|one| one.credit - one.debit).sum::<i64>();
    let adds_up = statement.opening_balance + sums == statement.closing_balance;
    Ok(if adds_up { ExitCode::SUCCESS } else { ExitCode::from(CHECK) })
}

fn read(args: &StatementArgs, from: u64, to: u64) -> Result<Statement, Failure> {
    let mut log = args.store.open()?;
    args.store.expect_whole(log.summary().first_seq.as_u64())?;
    let progress = event_progress("reading the books");
    let mut reading = Reading { wanted: &args.account, from, to, ..Reading::default() };
    let (mut block, mut head) = (Block::default(), 0);
    while head < to && log.next(&mut block).map_err(Failure::environment)? {
        progress.inc(u64::from(block.count));
        offline::each_event(&block, &mut |seq, time, entry| {
            if seq <= to {
                head = seq;
                if let Event::Pay(event) = &entry.event {
                    reading.event(seq, time, event);
                }
            }
            Ok(())
        })?;
    }
    progress.finish_and_clear();
    if let Some(Verdict::Corrupt(damage)) = log.verdict() {
        return Err(Failure::check(format!("the log is damaged: {damage}\n{}", offline::ABOUT_DAMAGE)));
    }
    let beyond = [("--from", args.from), ("--to", args.to)]
        .into_iter()
        .find(|(_, seq)| seq.is_some_and(|seq| seq > head));
    if let Some((name, Some(seq))) = beyond {
        return Err(Failure::usage(format!(
            "{name} {seq}: the log has events 1 to {head}; name one of them"
        )));
    }
    let Some(opened) = reading.opened else {
        return Err(Failure::usage(format!(
            "the ledger has no account {:?} up to event {head}; `banyan ledger trial-balance` lists them all",
            args.account
        )));
    };
    Ok(Statement {
        account: opened.id.to_string(),
        currency: opened.currency.as_str().to_owned(),
        rule: opened.rule.as_str(),
        from,
        to: head,
        opening_balance: reading.opening,
        closing_balance: reading.balance,
        debits_pending: reading.pending.0,
        credits_pending: reading.pending.1,
        movements: reading.movements,
    })
}

/// The fold over the ledger's events.
#[derive(Default)]
struct Reading<'a> {
    wanted: &'a str,
    from: u64,
    to: u64,
    opened: Option<OpenedAccount>,
    names: BTreeMap<AccountNo, String>,
    /// Holds on the account: what is left, and whether it is to be taken.
    holds: BTreeMap<TransferNo, (i64, bool, AccountNo)>,
    opening: i64,
    balance: i64,
    /// To be taken, to be given.
    pending: (i64, i64),
    movements: Vec<Movement>,
}

impl Reading<'_> {
    fn event(&mut self, seq: u64, time: Timestamp, event: &pay::Event) {
        match event {
            pay::Event::AccountOpened { account, .. } => self.open(account),
            pay::Event::Transferred { first, legs, reference, by, opened } => {
                opened.iter().for_each(|account| self.open(account));
                for (no, leg) in (first.get()..).zip(legs) {
                    let made = (TransferNo::new(no), reference.as_str(), by.as_str());
                    self.leg(seq, time, made, leg);
                }
            }
            pay::Event::HoldExpired { pending } => {
                if let Some((_, _, other)) = self.holds.get(pending).copied() {
                    self.give_up(*pending);
                    self.note(seq, time, (*pending, "", ""), "expired", Some(*pending), other, (0, 0));
                }
            }
        }
    }

    fn open(&mut self, account: &OpenedAccount) {
        if account.id.as_str() == self.wanted {
            self.opened = Some(account.clone());
        }
        self.names.insert(account.no, account.id.to_string());
    }

    fn leg(&mut self, seq: u64, time: Timestamp, made: (TransferNo, &str, &str), leg: &Leg) {
        let Some(own) = self.opened.as_ref().map(|opened| opened.no) else { return };
        let (kind, of, debit, credit, amount) = match *leg {
            Leg::Posted { debit, credit, amount, .. } => ("posted", None, debit, credit, amount),
            Leg::Captured { pending, debit, credit, amount, last } => {
                self.take(pending, amount, last);
                ("captured", Some(pending), debit, credit, amount)
            }
            Leg::Refunded { of, debit, credit, amount } => ("refunded", Some(of), debit, credit, amount),
            Leg::Reversed { of, debit, credit, amount } => ("reversed", Some(of), debit, credit, amount),
            Leg::Held { debit, credit, amount, .. } => {
                if debit == own || credit == own {
                    let (taken, other) = (debit == own, if debit == own { credit } else { debit });
                    self.holds.insert(made.0, (amount, taken, other));
                    self.set_aside(amount, taken);
                    self.note(seq, time, made, "held", None, other, (0, 0));
                }
                return;
            }
            Leg::Voided { pending } => {
                if let Some((_, _, other)) = self.holds.get(&pending).copied() {
                    self.give_up(pending);
                    self.note(seq, time, made, "voided", Some(pending), other, (0, 0));
                }
                return;
            }
        };
        // From an account to itself nothing moves; the ledger refuses it.
        if debit == own {
            self.note(seq, time, made, kind, of, credit, (amount, 0));
        } else if credit == own {
            self.note(seq, time, made, kind, of, debit, (0, amount));
        }
    }

    /// Takes `amount` out of a hold, and gives the rest up if this was the `last` of it.
    fn take(&mut self, pending: TransferNo, amount: i64, last: bool) {
        let Some((left, taken, _)) = self.holds.get_mut(&pending) else { return };
        *left -= amount;
        let (over, taken) = (last || *left <= 0, *taken);
        self.set_aside(-amount, taken);
        if over {
            self.give_up(pending);
        }
    }

    fn give_up(&mut self, pending: TransferNo) {
        if let Some((left, taken, _)) = self.holds.remove(&pending) {
            self.set_aside(-left, taken);
        }
    }

    fn set_aside(&mut self, amount: i64, taken: bool) {
        let side = if taken { &mut self.pending.0 } else { &mut self.pending.1 };
        *side += amount;
    }

    #[allow(clippy::too_many_arguments, reason = "the columns of one line")]
    fn note(
        &mut self,
        seq: u64,
        time: Timestamp,
        (transfer, reference, by): (TransferNo, &str, &str),
        kind: &'static str,
        of: Option<TransferNo>,
        other: AccountNo,
        (debit, credit): (i64, i64),
    ) {
        self.balance += credit - debit;
        if seq < self.from {
            self.opening = self.balance;
            return;
        }
        if seq > self.to {
            return;
        }
        self.movements.push(Movement {
            seq,
            time: rfc3339(time),
            transfer: transfer.to_string(),
            kind,
            of: of.map(|of| of.to_string()),
            other: self.names.get(&other).cloned().unwrap_or_default(),
            reference: reference.to_owned(),
            by: by.to_owned(),
            debit,
            credit,
            balance: self.balance,
            pending: self.pending.1 - self.pending.0,
        });
    }
}

/// Every field is visible ASCII without commas or quotation marks, or is quoted.
fn write_csv(out: &mut impl Write, statement: &Statement) -> std::io::Result<()> {
    writeln!(out, "seq,time,transfer,kind,of,other,reference,by,debit,credit,balance,pending,currency")?;
    for one in &statement.movements {
        let fields = [
            one.seq.to_string(),
            one.time.clone(),
            one.transfer.clone(),
            one.kind.to_owned(),
            one.of.clone().unwrap_or_default(),
            one.other.clone(),
            one.reference.clone(),
            one.by.clone(),
            one.debit.to_string(),
            one.credit.to_string(),
            one.balance.to_string(),
            one.pending.to_string(),
            statement.currency.clone(),
        ];
        let line: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
        writeln!(out, "{}", line.join(","))?;
    }
    Ok(())
}

/// One field of CSV (RFC 4180). What a spreadsheet would take for a formula is kept a text.
fn quoted(field: &str) -> String {
    let number = field.strip_prefix('-').unwrap_or(field).bytes().all(|byte| byte.is_ascii_digit());
    let text = if !number && field.starts_with(['=', '+', '-', '@']) {
        format!("'{field}")
    } else {
        field.to_owned()
    };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn write_table(out: &mut impl Write, statement: &Statement) -> std::io::Result<()> {
    writeln!(
        out,
        "{} ({}, {}), events {} to {}",
        statement.account, statement.currency, statement.rule, statement.from, statement.to
    )?;
    writeln!(
        out,
        "{:>10} {:<24} {:<10} {:<9} {:<10} {:<32} {:<24} {:>15} {:>15} {:>15}",
        "event", "time", "transfer", "kind", "of", "other", "reference", "debit", "credit", "balance"
    )?;
    writeln!(out, "{:>160}", statement.opening_balance)?;
    for one in &statement.movements {
        writeln!(
            out,
            "{:>10} {:<24} {:<10} {:<9} {:<10} {:<32} {:<24} {:>15} {:>15} {:>15}",
            one.seq,
            one.time,
            one.transfer,
            one.kind,
            one.of.as_deref().unwrap_or_default(),
            one.other,
            one.reference,
            one.debit,
            one.credit,
            one.balance
        )?;
    }
    writeln!(
        out,
        "closing balance {}; set aside: {} to be taken, {} to be given",
        statement.closing_balance, statement.debits_pending, statement.credits_pending
    )
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_field_stays_one_field_and_no_formula() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("=1+1"), "'=1+1");
        assert_eq!(quoted("-500"), "-500");
        assert_eq!(quoted("t-5"), "t-5");
    }
}
