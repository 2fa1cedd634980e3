//! The comparison, one situation a line: what the log says, what the statement says, and the words that must come out.

use banyan_domain::pay::{self, Leg, OpenedAccount, Rule};
use banyan_domain::saga::{Ask, Cause, End, Event as SagaEvent, Fields, Settlement};
use banyan_domain::{
    AccountId, AccountNo, Actor, Currency, Event, Millis, Reference, SagaKey, SagaNo, StoreSecret, Timestamp,
    TransferNo,
};
use banyan_match::{Books, Format, Period, Report, compare, page, parse_day, parse_instant, read_statement};

const CHARGE: &str = r#"
name = "charge"
version = 1
[[step]]
name = "capture"
kind = "pivot"
promises = ["idempotent"]
do = { service = "company", operation = "capture", payment = "${input.payment}", amount = "${input.amount}", currency = "KRW" }
[[step]]
name = "book"
kind = "retriable"
do = { local = "pay.post", debit = "company:receivable", credit = "shop:sales", amount = "${input.amount}" }
"#;
const TWO_STEPS: &str = r#"
name = "two-steps"
version = 1
[[step]]
name = "authorize"
kind = "compensatable"
promises = ["idempotent"]
do = { service = "company", operation = "authorize", amount = "${input.amount}", currency = "KRW" }
undo = { service = "company", operation = "void", payment = "${authorize.payment}" }
[[step]]
name = "capture"
kind = "pivot"
promises = ["idempotent"]
do = { service = "company", operation = "capture", payment = "${authorize.payment}", amount = "${input.amount}", currency = "KRW" }
[[step]]
name = "book"
kind = "retriable"
do = { local = "pay.post", debit = "company:receivable", credit = "shop:sales", amount = "${input.amount}" }
"#;
const REFUND: &str = r#"
name = "refund"
version = 1
[[step]]
name = "refund"
kind = "pivot"
promises = ["idempotent"]
do = { service = "company", operation = "refund", payment = "${input.payment}", amount = "${input.amount}", currency = "KRW" }
[[step]]
name = "book"
kind = "retriable"
do = { local = "pay.refund", transfer = "${input.transfer}", amount = "${input.amount}" }
"#;
const REVERSE: &str = include_str!("../../../examples/sagas/repair-reverse.toml");
const NOON: &str = "2026-11-22T12:00:00Z";
const RECEIVABLE: AccountNo = AccountNo::new(1);
const SALES: AccountNo = AccountNo::new(2);
const BANK: AccountNo = AccountNo::new(3);

/// A log in the making.
struct Script {
    books: Books,
    seq: u64,
    at: Timestamp,
    sagas: u64,
    transfers: u64,
    secret: StoreSecret,
}

impl Script {
    fn new() -> Self {
        let secret = StoreSecret::new([7; 32]);
        let books = Books::new("company", &["company:receivable".to_owned()]);
        let mut script = Self { books, seq: 0, at: at(NOON), sagas: 0, transfers: 0, secret: secret.clone() };
        script.push(Event::StoreCreated { secret });
        for (no, id) in [(RECEIVABLE, "company:receivable"), (SALES, "shop:sales"), (BANK, "bank")] {
            let currency = Currency::new("KRW").expect("a currency");
            let account =
                OpenedAccount { no, id: AccountId::new(id).expect("an id"), currency, rule: Rule::Free };
            script.push(pay::Event::AccountOpened { account, by: actor() });
        }
        for toml in [CHARGE, REFUND, REVERSE, TWO_STEPS] {
            let definition = Box::new(banyan_saga::read_definition(toml).expect("a definition"));
            script.push(SagaEvent::Defined { definition, by: actor() });
        }
        script
    }

    fn push(&mut self, event: impl Into<Event>) {
        self.seq += 1;
        self.books.event(self.seq, self.at, &event.into());
    }

    fn time(&mut self, text: &str) -> &mut Self {
        self.at = at(text);
        self
    }

    fn start(&mut self, definition: u32, key: &str, input: &[(&str, &str)]) -> SagaNo {
        self.sagas += 1;
        let saga = SagaNo::new(self.sagas);
        let (key, input) = (SagaKey::new(key).expect("a key"), input.iter().copied().collect());
        self.push(SagaEvent::Started { saga, definition, key, input });
        saga
    }

    fn ask(&mut self, saga: SagaNo) {
        self.push(SagaEvent::Scheduled { saga, step: 0, ask: Ask::Do, attempt: 1 });
    }

    fn ask_for(&mut self, saga: SagaNo, step: u8, ask: Ask) {
        self.push(SagaEvent::Scheduled { saga, step, ask, attempt: 1 });
    }

    fn settle(&mut self, saga: SagaNo, step: u8, result: Settlement) {
        self.push(SagaEvent::Settled { saga, step, ask: Ask::Do, attempt: 1, result });
    }

    fn post(&mut self, reference: &str, leg: Leg) -> u64 {
        self.transfers += 1;
        let (first, reference) =
            (TransferNo::new(self.transfers), Reference::new(reference).expect("a reference"));
        self.push(pay::Event::Transferred {
            first,
            legs: vec![leg],
            reference,
            by: actor(),
            opened: Vec::new(),
        });
        self.transfers
    }

    /// A posting by a step of a saga.
    fn book(&mut self, saga: SagaNo, step: u8, leg: Leg) -> u64 {
        let transfer = self.post("order", leg);
        let output: Fields = [("transfer", format!("t-{transfer}"))].into_iter().collect();
        self.settle(saga, step, Settlement::Done(output));
        transfer
    }

    fn end(&mut self, saga: SagaNo, end: End) {
        self.push(SagaEvent::Ended { saga, end });
    }

    fn park(&mut self, saga: SagaNo, step: u8) {
        self.push(SagaEvent::Parked { saga, step, why: "who knows".into() });
    }

    /// A whole charge; the transfer that booked it.
    fn charge(&mut self, order: &str, payment: &str, amount: i64) -> u64 {
        let saga = self.start(1, order, &[("payment", payment), ("amount", &amount.to_string())]);
        self.ask(saga);
        self.settle(saga, 0, Settlement::Done(Fields::new()));
        let transfer = self.book(saga, 1, charged(amount));
        self.end(saga, End::Completed);
        transfer
    }

    /// A whole refund.
    fn refund(&mut self, order: &str, payment: &str, amount: i64, of: u64) {
        let input = [("payment", payment), ("amount", &amount.to_string()), ("transfer", &format!("t-{of}"))];
        let saga = self.start(2, order, &input);
        self.ask(saga);
        self.settle(saga, 0, Settlement::Done(Fields::new()));
        self.book(saga, 1, given_back(of, amount));
        self.end(saga, End::Completed);
    }

    /// The repair that takes a booking back.
    fn reverse(&mut self, payment: &str, of: u64, amount: i64, moved_at: &str) {
        let input = [
            ("payment", payment),
            ("transfer", &format!("t-{of}")),
            ("amount", &amount.to_string()),
            ("moved_at", moved_at),
        ];
        let saga = self.start(3, &format!("t-{of}"), &input);
        self.book(saga, 0, given_back(of, amount));
        self.end(saga, End::Completed);
    }

    fn match_day(self, day: &str, lines: &[&str]) -> Report {
        let (from, to) = parse_day(day).expect("a day");
        self.match_with(lines, Period { from: Some(from), to: Some(to), skew: Millis::from_seconds(5) })
    }

    fn match_with(mut self, lines: &[&str], period: Period) -> Report {
        let mut text = "time,movement,payment,order,kind,amount_minor,currency,key\n".to_owned();
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        let movements = read_statement(&text, Format::Csv).expect("a statement");
        self.books.close();
        compare(&self.books, "day.csv", &movements, period)
    }

    #[track_caller]
    fn check(self, lines: &[&str], words: &[&str]) -> Report {
        let report = self.match_day("2026-11-22", lines);
        expect(&report, words);
        report
    }
}

#[track_caller]
fn expect(report: &Report, words: &[&str]) {
    let found: Vec<&str> = report.findings.iter().map(|finding| finding.kind.word()).collect();
    assert_eq!(found, words, "{:#?}", report.findings);
    assert!(page(report).contains("Three-way match"));
}

fn at(text: &str) -> Timestamp {
    parse_instant(text).expect("an instant")
}

fn actor() -> Actor {
    Actor::new("test").expect("an actor")
}

const fn charged(amount: i64) -> Leg {
    Leg::Posted { debit: RECEIVABLE, credit: SALES, amount, refundable: true }
}

const fn given_back(of: u64, amount: i64) -> Leg {
    Leg::Refunded { of: TransferNo::new(of), debit: SALES, credit: RECEIVABLE, amount }
}

const CAPTURED: &str = "2026-11-22T12:00:00Z,mv_1,pay_1,o-1,capture,500,KRW,";

#[test]
fn what_agrees_is_clean() {
    let mut script = Script::new();
    let charge = script.charge("o-1", "pay_1", 500);
    script.refund("o-1.1", "pay_1", 200, charge);
    let report = script.check(&[CAPTURED, "2026-11-22T12:00:01Z,mv_2,pay_1,o-1,refund,-200,KRW,"], &[]);
    assert_eq!((report.clean, report.matched, report.seq), (true, 2, 20));
    assert_eq!((report.sums[0].captured_here, report.sums[0].refunded_here), (500, 200));
}

#[test]
fn each_side_alone_has_its_word() {
    Script::new().check(&[CAPTURED], &["missing-here"]);
    let mut script = Script::new();
    script.charge("o-1", "pay_1", 500);
    let report = script.check(&[], &["missing-there"]);
    assert_eq!(report.findings[0].repair.saga.as_deref(), Some("repair-reverse"));
    let mut script = Script::new();
    script.charge("o-1", "pay_1", 500);
    script
        .check(&[CAPTURED, "2026-11-22T12:00:01Z,mv_2,pay_1,o-1,refund,-200,KRW,"], &["refunded-there-only"]);
    let mut script = Script::new();
    let charge = script.charge("o-1", "pay_1", 500);
    script.refund("o-1.1", "pay_1", 200, charge);
    let report = script.check(&[CAPTURED], &["missing-there"]);
    assert_eq!(report.findings[0].what.word(), "refund");
    // A debit of the company's account of which nobody says for which payment it is.
    let mut script = Script::new();
    script.post("by-hand", charged(500));
    script.check(&[], &["missing-there"]);
    // A saga says that it is done, and its booking was counted as done by hand.
    let mut script = Script::new();
    let saga = script.start(1, "o-1", &[("payment", "pay_1"), ("amount", "500")]);
    script.ask(saga);
    script.settle(saga, 0, Settlement::Done(Fields::new()));
    script.settle(saga, 1, Settlement::Done(Fields::new()));
    script.end(saga, End::Completed);
    script.check(&[], &["missing-there"]);
}

#[test]
fn what_is_done_twice_is_told_from_what_is_listed_twice() {
    let charged_once = || {
        let mut script = Script::new();
        script.charge("o-1", "pay_1", 500);
        script
    };
    charged_once().check(&[CAPTURED, CAPTURED], &["listed-twice"]);
    charged_once()
        .check(&[CAPTURED, "2026-11-22T12:00:09Z,mv_2,pay_1,o-1,capture,500,KRW,"], &["duplicate-there"]);
    charged_once()
        .check(&[CAPTURED, "2026-11-22T12:00:09Z,mv_2,pay_2,o-1,capture,500,KRW,"], &["duplicate-there"]);
    charged_once()
        .check(&[CAPTURED, "2026-11-22T12:00:09Z,mv_2,pay_2,o-2,capture,500,KRW,"], &["missing-here"]);
    let mut script = charged_once();
    script.post("o-1", charged(500));
    let report = script.check(&[CAPTURED], &["booked-twice"]);
    assert_eq!(report.findings[0].transfer.as_deref(), Some("t-2"));
    let mut script = charged_once();
    let second = script.post("o-1", charged(500));
    script.reverse("pay_1", second, 500, NOON);
    script.check(&[CAPTURED], &[]);
}

#[test]
fn amounts_that_differ_say_by_how_much() {
    for (there, repair) in [("700", "repair-refund"), ("300", "repair-reverse")] {
        let mut script = Script::new();
        script.charge("o-1", "pay_1", 500);
        let report = script.check(&[&CAPTURED.replace("500", there)], &["amount-differs"]);
        assert_eq!(
            (report.findings[0].amount, report.findings[0].repair.saga.as_deref()),
            (200, Some(repair))
        );
    }
    let mut script = Script::new();
    let charge = script.charge("o-1", "pay_1", 500);
    script.reverse("pay_1", charge, 200, NOON);
    script.check(&[&CAPTURED.replace("500", "300")], &[]);
    let mut script = Script::new();
    script.charge("o-1", "pay_1", 500);
    let report = script.check(&[&CAPTURED.replace("KRW", "JPY")], &["amount-differs"]);
    assert!(report.findings[0].repair.command.is_none());
    // One booking of what the company took in two parts.
    let mut script = Script::new();
    script.charge("o-1", "pay_1", 500);
    script.check(
        &[&CAPTURED.replace("500", "200"), "2026-11-22T12:00:01Z,mv_2,pay_1,o-1,capture,300,KRW,"],
        &[],
    );
}

#[test]
fn a_saga_that_does_not_know_waits_or_is_stuck_or_was_given_up() {
    let asked = || {
        let mut script = Script::new();
        let saga = script.start(1, "o-1", &[("payment", "pay_1"), ("amount", "500")]);
        script.ask(saga);
        script.settle(saga, 0, Settlement::Unknown("no answer".into()));
        (script, saga)
    };
    for lines in [&[CAPTURED] as &[&str], &[]] {
        let report = asked().0.check(lines, &["late"]);
        assert!(report.clean);
        let (mut script, saga) = asked();
        script.park(saga, 0);
        let report = script.check(lines, &["stuck"]);
        assert!(
            report.findings[0]
                .repair
                .command
                .as_deref()
                .is_some_and(|line| line.starts_with("banyan saga retry 1 "))
        );
    }
    let given_up = || {
        let (mut script, saga) = asked();
        script.push(SagaEvent::TurnedBack { saga, cause: Cause::TimedOut });
        script.end(saga, End::Compensated);
        script
    };
    given_up().check(&[], &[]);
    let report = given_up().check(&[CAPTURED], &["given-up-here"]);
    assert_eq!(report.findings[0].repair.saga.as_deref(), Some("repair-refund"));
    let (mut script, saga) = asked();
    script.settle(saga, 0, Settlement::Done(Fields::new()));
    script.check(&[CAPTURED], &["late"]);
    let (mut script, saga) = asked();
    script.settle(saga, 0, Settlement::Done(Fields::new()));
    script.park(saga, 1);
    script.check(&[CAPTURED], &["not-booked"]);
}

#[test]
fn midnight_makes_late_and_not_missing() {
    let over_midnight = || {
        let mut script = Script::new();
        let saga =
            script.time("2026-11-22T23:59:58Z").start(1, "o-1", &[("payment", "pay_1"), ("amount", "500")]);
        script.ask(saga);
        script.time("2026-11-23T00:00:20Z").settle(saga, 0, Settlement::Done(Fields::new()));
        script.book(saga, 1, charged(500));
        script.end(saga, End::Completed);
        script
    };
    let report = over_midnight().check(&[], &["late"]);
    assert!(report.clean, "late is nothing to repair");
    over_midnight().check(&["2026-11-22T23:59:59Z,mv_1,pay_1,o-1,capture,500,KRW,"], &[]);
    expect(
        &over_midnight().match_day("2026-11-23", &["2026-11-23T00:00:01Z,mv_1,pay_1,o-1,capture,500,KRW,"]),
        &[],
    );
    expect(&over_midnight().match_day("2026-11-24", &[]), &[]);
    expect(&over_midnight().match_day("2026-11-21", &[]), &[]);
    // Within the seconds that the clocks may be apart.
    let mut script = Script::new();
    script.time("2026-11-22T00:00:03Z").charge("o-1", "pay_1", 500);
    script.check(&[], &["late"]);
    let mut script = Script::new();
    script.time("2026-11-22T23:59:57Z").charge("o-1", "pay_1", 500);
    script.check(&[], &["late"]);
    // A file made at noon cannot have what was taken a minute later.
    let mut script = Script::new();
    script.time("2026-11-22T12:01:00Z").charge("o-1", "pay_1", 500);
    let period = Period { from: None, to: Some(at(NOON)), skew: Millis::from_seconds(5) };
    expect(&script.match_with(&[], period), &[]);
}

#[test]
fn a_repair_made_on_another_day_disturbs_neither() {
    let repaired = || {
        let mut script = Script::new();
        let charge = script.charge("o-1", "pay_1", 500);
        script.time("2026-11-24T09:00:00Z").reverse("pay_1", charge, 500, NOON);
        script
    };
    repaired().check(&[], &[]);
    expect(&repaired().match_day("2026-11-24", &[]), &[]);
    // A refund the next day is of a charge that no statement of that day has.
    let mut script = Script::new();
    let charge = script.charge("o-1", "pay_1", 500);
    script.time("2026-11-23T09:00:00Z").refund("o-1.1", "pay_1", 500, charge);
    expect(&script.match_day("2026-11-23", &["2026-11-23T09:00:00Z,mv_2,pay_1,o-1,refund,-500,KRW,"]), &[]);
    // An earlier part of the same amount does not stand in for one that is not booked.
    let mut script = Script::new();
    script.charge("o-1", "pay_1", 500);
    script.time("2026-11-23T09:00:00Z");
    let report = script.match_day("2026-11-23", &["2026-11-23T09:00:00Z,mv_2,pay_1,o-1,capture,500,KRW,"]);
    assert_eq!(report.repairs(), 1, "{:#?}", report.findings);
}

#[test]
fn what_the_company_pays_out_is_no_refund() {
    let mut script = Script::new();
    script.charge("o-1", "pay_1", 500);
    let out = script
        .post("payout-1", Leg::Posted { debit: BANK, credit: RECEIVABLE, amount: 480, refundable: true });
    script.post(
        "payout-1",
        Leg::Reversed { of: TransferNo::new(out), debit: RECEIVABLE, credit: BANK, amount: 480 },
    );
    script.check(&[CAPTURED], &[]);
}

#[test]
fn our_own_key_tells_two_equal_charges_apart() {
    let mut script = Script::new();
    let first = script.start(1, "o-1", &[("payment", "pay_1"), ("amount", "500")]);
    script.ask(first);
    let second = script.start(1, "o-2", &[("payment", "pay_1"), ("amount", "500")]);
    let started_at = script.at;
    script.ask(second);
    let key = banyan_domain::saga::step_key(&script.secret.keys(), second, started_at, 0, Ask::Do);
    let line = format!("{CAPTURED}{key}");
    let report = script.check(&[&line], &["late", "late"]);
    let seen = report.findings.iter().find(|finding| finding.movement.is_some()).expect("the movement");
    assert_eq!(seen.saga.as_ref().map(|saga| saga.saga), Some(2));
}

#[test]
fn a_company_that_takes_the_money_when_it_is_authorized_is_understood() {
    let authorized = || {
        let mut script = Script::new();
        let saga = script.start(4, "o-1", &[("amount", "500")]);
        script.ask(saga);
        let output: Fields = [("payment", "pay_1")].into_iter().collect();
        script.settle(saga, 0, Settlement::Done(output));
        (script, saga)
    };
    // Set aside and no more is nothing to look for; taken already, it is on its way.
    authorized().0.check(&[], &[]);
    authorized().0.check(&[CAPTURED], &["late"]);
    let (mut script, saga) = authorized();
    script.time("2026-11-23T00:10:00Z").ask_for(saga, 1, Ask::Do);
    script.settle(saga, 1, Settlement::Done(Fields::new()));
    script.book(saga, 2, charged(500));
    script.end(saga, End::Completed);
    script.check(&[CAPTURED], &[]);
    let given_up = || {
        let (mut script, saga) = authorized();
        script.push(SagaEvent::TurnedBack { saga, cause: Cause::TimedOut });
        script.ask_for(saga, 0, Ask::Undo);
        let result = Settlement::Done(Fields::new());
        script.push(SagaEvent::Settled { saga, step: 0, ask: Ask::Undo, attempt: 1, result });
        script.end(saga, End::Compensated);
        script
    };
    given_up().check(&[], &[]);
    given_up().check(&[CAPTURED], &["given-up-here"]);
    given_up().check(&[CAPTURED, "2026-11-22T12:00:09Z,mv_2,pay_1,o-1,refund,-500,KRW,"], &[]);
}

/// What happens to one payment of a random day.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Fine,
    FineAndRefunded,
    Dropped,
    Behind,
    Twice,
    RefundedThere,
    Amount,
    Listed,
    InFlight,
    GivenUp,
    Parked,
}

impl Fate {
    const ALL: [Self; 11] = [
        Self::Fine,
        Self::FineAndRefunded,
        Self::Dropped,
        Self::Behind,
        Self::Twice,
        Self::RefundedThere,
        Self::Amount,
        Self::Listed,
        Self::InFlight,
        Self::GivenUp,
        Self::Parked,
    ];

    fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::Fine | Self::FineAndRefunded => return None,
            Self::Dropped => "missing-there",
            Self::Behind => "missing-here",
            Self::Twice => "duplicate-there",
            Self::RefundedThere => "refunded-there-only",
            Self::Amount => "amount-differs",
            Self::Listed => "listed-twice",
            Self::InFlight => "late",
            Self::GivenUp => "given-up-here",
            Self::Parked => "not-booked",
        })
    }

    /// Lets it happen to payment `no`: our side into the log, the company's into lines.
    fn happen(self, script: &mut Script, no: usize, amount: i64, lines: &mut Vec<String>) {
        let (order, payment) = (format!("o-{no}"), format!("pay_{no}"));
        let mut say = |word: &str, amount: i64, part: u8| {
            lines.push(format!("{NOON},mv_{no}_{part},{payment},{order},{word},{amount},KRW,"));
        };
        let asked = |script: &mut Script, done: bool| {
            let saga = script.start(1, &order, &[("payment", &payment), ("amount", &amount.to_string())]);
            script.ask(saga);
            if done {
                script.settle(saga, 0, Settlement::Done(Fields::new()));
            }
            saga
        };
        match self {
            Self::Behind => {}
            Self::InFlight => drop(asked(script, false)),
            Self::GivenUp => {
                let saga = asked(script, false);
                script.push(SagaEvent::TurnedBack { saga, cause: Cause::TimedOut });
                script.end(saga, End::Compensated);
            }
            Self::Parked => {
                let saga = asked(script, true);
                script.park(saga, 1);
            }
            _ => {
                let charge = script.charge(&order, &payment, amount);
                if matches!(self, Self::FineAndRefunded) {
                    script.refund(&format!("{order}.1"), &payment, amount / 2, charge);
                }
            }
        }
        match self {
            Self::Dropped => return,
            Self::Amount => say("capture", amount + 1, 0),
            _ => say("capture", amount, 0),
        }
        match self {
            Self::FineAndRefunded | Self::RefundedThere => say("refund", -(amount / 2), 1),
            Self::Twice => say("capture", amount, 1),
            Self::Listed => say("capture", amount, 0),
            _ => {}
        }
    }
}

proptest::proptest! {
    /// Whatever happens to the payments of a day, and in whichever order the company lists it: each is found in its word, for
    /// its payment, and nothing else is.
    #[test]
    fn every_fate_of_a_random_day_is_found_and_nothing_else(
        fates in proptest::collection::vec((0..Fate::ALL.len(), 2_i64..5), 0..40), turn in 0_usize..100,
    ) {
        let (mut script, mut lines) = (Script::new(), Vec::new());
        let mut expected: Vec<(&str, String)> = Vec::new();
        for (no, (fate, amount)) in fates.iter().enumerate() {
            let fate = Fate::ALL[*fate];
            fate.happen(&mut script, no, *amount, &mut lines);
            expected.extend(fate.word().map(|word| (word, format!("pay_{no}"))));
        }
        if !lines.is_empty() {
            let turn = turn % lines.len();
            lines.rotate_left(turn);
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let report = script.match_day("2026-11-22", &lines);
        let found = report.findings.iter().map(|one| (one.kind.word(), one.payment.clone().unwrap_or_default()));
        let mut found: Vec<(&str, String)> = found.collect();
        found.sort();
        expected.sort();
        proptest::prop_assert_eq!(found, expected);
    }
}
