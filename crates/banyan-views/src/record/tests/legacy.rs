//! The way over from an old shop in the rows: moves with their steps, what was noticed, what the old books say.

use super::shop::{self, Shop};
use crate::record::{NoticeKind, RECORD_FILE};
use crate::{View, record::MoveRecord};
use banyan_domain::legacy::{
    Breach, Capability, Command, MirrorRow, MoveStep, OutboxItem, OutboxKind, Phase, SourceBatch, SourceId,
};
use banyan_domain::{Actor, LocationId, Reason, ReservationNo, SkuId};

const STOCK: Capability = Capability::Stock;

fn reason(text: &str) -> Reason {
    Reason::new(text).expect("a reason")
}

fn begin(to: Phase) -> Command {
    let by = Actor::new("mina").expect("a name");
    Command::BeginMove { capability: STOCK, from: None, to, by, reason: reason("sale day"), without: vec![] }
}

fn note(number: u64, step: MoveStep, note: &str) -> Command {
    Command::NoteMove { capability: STOCK, number, step, note: reason(note) }
}

fn batch(position: u64, in_stock: i64, allocated: i64, outbox: Vec<OutboxItem>) -> Command {
    let (sku, location) = (SkuId::new("A").expect("a SKU"), LocationId::new("main").expect("a place"));
    Command::ApplySource(Box::new(SourceBatch {
        capability: STOCK,
        source: SourceId { system: "s".into(), stream: "banyan".into() },
        position,
        part: 1,
        rows: vec![MirrorRow { sku, location, in_stock, allocated }],
        outbox,
        switched: None,
    }))
}

fn breach(name: &str, position: u64, index: u32) -> Breach {
    let (sku, location) = (SkuId::new(name).expect("a SKU"), LocationId::new("main").expect("a place"));
    Breach { position, index, sku, location, what: reason("5/0 became 6/0") }
}

#[test]
fn moves_notices_and_old_books_are_in_the_rows() {
    let mut shop = Shop::new();
    let sku = SkuId::new("A").expect("a SKU");
    let location = LocationId::new("main").expect("a place");
    let unknown = OutboxKind::Allocate { reservation: ReservationNo::new(99) };
    let commands = [
        begin(Phase::Mirror),
        note(1, MoveStep::Checked, "12 checks"),
        note(1, MoveStep::Prepared, "made two tables"),
        Command::SetSource {
            capability: STOCK,
            source: SourceId { system: "s".into(), stream: "banyan".into() },
            position: 10,
        },
        batch(10, 5, 1, vec![]),
        Command::EndCopy { capability: STOCK },
        Command::FinishMove { capability: STOCK, number: 1 },
        begin(Phase::Lead),
        Command::AbortMove { capability: STOCK, number: 2, why: reason("not today"), fenced: false },
        batch(20, 3, 4, vec![OutboxItem { id: 7, kind: unknown }]),
        Command::NoteReconciled {
            capability: STOCK,
            phase: Phase::Mirror,
            epoch: 1,
            position: 20,
            rows: 1,
            differing: 1,
            repaired: 1,
        },
        Command::NoteBreach {
            capability: STOCK,
            sku,
            location,
            what: reason("num_in_stock is 9, should be 3"),
            position: 21,
            index: 0,
        },
        Command::NoteBreaches {
            capability: STOCK,
            breaches: (0..150).map(|n| breach(&format!("S{}", n % 120), 22, n)).collect(),
        },
        begin(Phase::Legacy),
    ];
    for command in commands {
        shop.command(command);
        shop.end_block();
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 3);
    assert_eq!(view.parked(), 0);

    let moves = view.reader().moves(STOCK, 10).expect("readable");
    let told = |one: &MoveRecord| {
        let steps: Vec<String> =
            one.steps.iter().map(|step| format!("{} {}", step.step, step.note)).collect();
        format!(
            "{} {} {} {} {:?} [{}]",
            one.number,
            one.to,
            one.state,
            one.begun_by,
            one.why,
            steps.join(", ")
        )
    };
    let told: Vec<String> = moves.iter().map(told).collect();
    assert_eq!(
        told,
        [
            "3 legacy begun mina None []",
            "2 lead aborted mina Some(\"not today\") []",
            "1 mirror done mina None [checked 12 checks, prepared made two tables]",
        ]
    );
    let notices = |kind| {
        let found = view.reader().notices(kind, 10).expect("readable");
        found.into_iter().map(|notice| (notice.position, notice.what.to_string())).collect::<Vec<_>>()
    };
    let breaches = notices(NoticeKind::Breach);
    let [(Some(22), many), one] = breaches.as_slice() else { panic!("{breaches:?}") };
    assert_eq!(*one, (Some(21), "num_in_stock is 9, should be 3".to_owned()));
    assert!(many.starts_with("150 writes: S0 at main: 5/0 became 6/0; S1 at main: "), "{many}");
    assert!(many.ends_with("; S99 at main: 5/0 became 6/0; and 50 more"), "{many}");
    assert_eq!(notices(NoticeKind::Reconciled), [(Some(20), "1 rows, 1 differed, 1 put right".to_owned())]);
    let refused = "message 7: allocate r-99: there is no such reservation any more".to_owned();
    assert_eq!(notices(NoticeKind::Refused), [(None, refused)]);

    let db = rusqlite::Connection::open(folder.path().join(RECORD_FILE)).expect("opens");
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let books: (u32, u32) =
        db.query_row("SELECT allocated, short FROM mirrored_item", [], row).expect("a row");
    assert_eq!(books, (4, 1));
}

#[test]
fn a_lead_that_was_taken_back_ends_the_move_under_way_and_is_noticed() {
    let mut shop = Shop::new();
    let switch = Command::ApplySource(Box::new(SourceBatch {
        capability: STOCK,
        source: SourceId { system: "s".into(), stream: "banyan".into() },
        position: 20,
        part: 1,
        rows: vec![],
        outbox: vec![],
        switched: Some((2, Phase::Lead)),
    }));
    let source = SourceId { system: "s".into(), stream: "banyan".into() };
    let commands = [
        begin(Phase::Mirror),
        Command::SetSource { capability: STOCK, source, position: 10 },
        Command::EndCopy { capability: STOCK },
        Command::FinishMove { capability: STOCK, number: 1 },
        begin(Phase::Lead),
        switch,
        begin(Phase::Retired),
        Command::NoteTakeover { capability: STOCK, number: 2, phase: Phase::Legacy, epoch: 2 },
        begin(Phase::Lead),
    ];
    for command in commands {
        shop.command(command);
        shop.end_block();
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 3);
    assert_eq!(view.parked(), 0);
    let moves = view.reader().moves(STOCK, 10).expect("readable");
    let states: Vec<(u64, &str)> = moves.iter().map(|one| (one.number, &*one.state)).collect();
    assert_eq!(states, [(4, "begun"), (3, "aborted"), (2, "done"), (1, "done")]);
    let notices = view.reader().notices(NoticeKind::TakenOver, 10).expect("readable");
    let notices: Vec<&str> = notices.iter().map(|notice| &*notice.what).collect();
    assert_eq!(notices, ["the bookkeeping row says legacy under move 2"]);
}
