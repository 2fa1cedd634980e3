//! The auditor finds nothing in honest stories, and each planted wrong in the others.

mod honest;
mod legacy;
mod orders;
mod plants;

use super::Kind;
use super::book::Book;
use banyan_domain::pay::{self, Leg, OpenedAccount, Rule};
use banyan_domain::saga::{self, Action, Definition, Patience, Promises, Step, StepKind, Target, Template};
use banyan_domain::stock;
use banyan_domain::{
    AccountId, AccountNo, Actor, Currency, Entry, Event, ItemNo, LocationId, MemberId, Millis, OrderId,
    Reason, Reference, ReservationNo, SagaName, SkuId, StepName, Timestamp, TransferNo,
};

/// Follows blocks of events, each with its time, to their end.
fn audit(blocks: &[(u64, Vec<Event>)]) -> Book {
    let mut book = Book::default();
    let mut seq = 0;
    for (time, events) in blocks {
        book.begin_block(seq + 1, *time);
        for event in events {
            seq += 1;
            book.event(seq, &Entry { event: event.clone(), stamp: None });
        }
    }
    book.close();
    book
}

/// What was found, by kind.
fn kinds(book: &Book) -> Vec<Kind> {
    book.findings.first().iter().map(|finding| finding.kind).collect()
}

fn by() -> Actor {
    Actor::new("olga").expect("valid")
}

fn reason() -> Reason {
    Reason::new("why").expect("valid")
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn item(no: u32, sku: &str) -> Event {
    let (sku, location) = (SkuId::new(sku).expect("valid"), LocationId::new("main").expect("valid"));
    Event::Stock(stock::Event::ItemCreated { item: ItemNo::new(no), sku, location, by: by() })
}

fn count(no: u32, on_hand: u32) -> Event {
    Event::Stock(stock::Event::StockSet { item: ItemNo::new(no), on_hand, by: by(), reason: reason() })
}

fn made(no: u64, parts: &[(u32, u32, u32)], until: u64, member: Option<&str>) -> Event {
    let part = |&(item, held, promised): &(u32, u32, u32)| stock::ReservedPart {
        item: ItemNo::new(item),
        held,
        promised,
    };
    Event::Stock(stock::Event::ReservationMade {
        reservation: ReservationNo::new(no),
        parts: parts.iter().map(part).collect(),
        until: at(until),
        member: member.map(|member| MemberId::new(member).expect("valid")),
        order: Some(OrderId::new("o-1").expect("valid")),
        holder: banyan_domain::Holder::Shop,
    })
}

fn committed(no: u64) -> Event {
    Event::Stock(stock::Event::ReservationCommitted { reservation: ReservationNo::new(no) })
}

fn opened(no: u32, id: &str, rule: Rule) -> Event {
    let account = OpenedAccount {
        no: AccountNo::new(no),
        id: AccountId::new(id).expect("valid"),
        currency: Currency::new("KRW").expect("valid"),
        rule,
    };
    Event::Pay(pay::Event::AccountOpened { account, by: by() })
}

fn transferred(first: u64, legs: Vec<Leg>) -> Event {
    Event::Pay(pay::Event::Transferred {
        first: TransferNo::new(first),
        legs,
        reference: Reference::new("o-1").expect("valid"),
        by: by(),
        opened: Vec::new(),
    })
}

fn post(debit: u32, credit: u32, amount: i64) -> Leg {
    let (debit, credit) = (AccountNo::new(debit), AccountNo::new(credit));
    Leg::Posted { debit, credit, amount, refundable: true }
}

fn local(name: &str, params: &[(&str, &str)]) -> Action {
    let text = |text: &str| Template::parse(text).expect("a valid template");
    let params = params.iter().map(|(name, value)| ((*name).into(), text(value))).collect();
    Action { target: Target::Local(name.into()), params }
}

fn service(operation: &str) -> Action {
    let target = Target::Service { service: "company".into(), operation: operation.into() };
    Action { target, params: [].into_iter().collect() }
}

fn step(name: &str, kind: StepKind, action: Action, undo: Option<Action>) -> Step {
    let is_local = matches!(action.target, Target::Local(_));
    Step {
        name: StepName::new(name).expect("valid"),
        kind,
        when: None,
        action,
        undo,
        query: (!is_local).then(|| service("query")),
        promises: Promises { idempotent: !is_local, ..Promises::default() },
        patience: Patience { tries: 3, settles_after: Millis::new(300), ..Patience::default() },
    }
}

/// Reserve here, authorize and capture there, commit here, deliver there if wanted.
fn checkout() -> Definition {
    let number = [("reservation", "${reserve.reservation}")];
    let lines = [("lines", "${input.lines}"), ("order", "${key}"), ("hold", "900")];
    let hold = [
        ("debit", "bank"),
        ("credit", "shop:sales"),
        ("amount", "5"),
        ("currency", "KRW"),
        ("reference", "${key}"),
        ("hold", "900"),
    ];
    let mut steps = vec![
        step(
            "reserve",
            StepKind::Compensatable,
            local("stock.reserve", &lines),
            Some(local("stock.release", &number)),
        ),
        step(
            "points",
            StepKind::Compensatable,
            local("pay.hold", &hold),
            Some(local("pay.void", &[("transfer", "${points.transfer}")])),
        ),
        step("authorize", StepKind::Compensatable, service("authorize"), Some(service("void"))),
        step("capture", StepKind::Pivot, service("capture"), None),
        step("spend", StepKind::Retriable, local("pay.capture", &[("transfer", "${points.transfer}")]), None),
        step("commit", StepKind::Retriable, local("stock.commit", &number), None),
        step("deliver", StepKind::Retriable, service("deliver"), None),
    ];
    steps[6].when = Some("delivery".into());
    Definition {
        name: SagaName::new("checkout").expect("valid"),
        version: 1,
        steps,
        deadline: Some(Millis::from_seconds(300)),
        at_risk: None,
    }
}

fn defined() -> Event {
    Event::Saga(saga::Event::Defined { definition: Box::new(checkout()), by: by() })
}
