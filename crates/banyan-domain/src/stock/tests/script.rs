//! Scripts: each line is a question and, after a bar, the answer it must get. A line without a bar only sets the scene.
//!
//! `at MILLIS`, `set SKU LOCATION N`, `receive SKU LOCATION N`, `adjust SKU LOCATION N`,
//! `configure SKU LOCATION [safety=N] [backorder=N] [preorder=N] [release=MILLIS|out] [per=N|none]`,
//! `import SKU@LOCATION*N ..`, `reserve SKU[@LOCATION]*N .. [by=MEMBER] [for=MILLIS]`, `commit N`, `release N`,
//! `return N SKU[@LOCATION]*N ..`, `show SKU`, `bought SKU MEMBER`, `reservation N`, `restart` (through a snapshot).
//!
//! Items are written `SKU@LOCATION on_hand/held`, with `+promised` and `-owed` where there are such units.

use super::{Shop, by, lines, location, no, reason, reserve, set, sku};
use crate::stock::{
    Command, Configuration, Event, ImportRow, Level, Outcome, Refusal, ReservationAnswer, ReservedPart,
};
use crate::{ItemNo, MemberId, Timestamp};

/// Runs `script`. Every answer must be as written, every invariant must hold after every line, and at the end the log and
/// a snapshot must both give the same state again.
#[track_caller]
pub(super) fn check(script: &str) {
    let mut shop = Shop::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (question, wanted) = line.split_once('|').map_or((line, None), |(q, a)| (q, Some(a.trim())));
        let got = run(&mut shop, question.trim());
        match wanted {
            Some(wanted) => assert_eq!(got, wanted, "the answer to {question:?}"),
            // Only sets the scene: it must be done, and time alone must bring nothing about.
            None if question.starts_with("at ") => assert_eq!(got, "", "what happened {question:?}"),
            None => assert!(!got.starts_with("no") && !got.starts_with("as"), "{question:?}: {got}"),
        }
        shop.check();
    }
    shop.check_replay();
}

/// Asks one line and writes down the answer.
pub(super) fn run(shop: &mut Shop, question: &str) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    match words[..] {
        ["at", millis] => {
            let fired = shop.at(Timestamp::from_millis(number(millis)));
            let fired = fired.iter().map(|event| match event {
                Event::ReservationExpired { reservation } => format!("{reservation} expired"),
                other => panic!("{other:?} is nothing that time brings about"),
            });
            fired.collect::<Vec<_>>().join(", ")
        }
        ["restart"] => {
            shop.stock = shop.restored();
            String::new()
        }
        ["show", name] => {
            let items: Vec<_> =
                shop.stock.items_of(&sku(name)).map(|item| written(shop, item.item)).collect();
            items.join(", ")
        }
        ["bought", name, member] => {
            let member = MemberId::new(member).expect("a valid member");
            let limit = shop.stock.per_member(&sku(name));
            format!("{} of {limit:?}", shop.stock.bought(&sku(name), &member))
        }
        ["reservation", name] => match shop.stock.reservation(no(number(name))) {
            None => "gone".into(),
            Some(view) => {
                let (member, order) = (view.member.unwrap_or("-"), view.order.unwrap_or("-"));
                let back: u32 = view.parts.iter().map(|part| part.returned).sum();
                format!("{} at {} {member} {order} returned {back}", view.state.as_str(), view.at.as_millis())
            }
        },
        _ => match shop.ask(command(&words)) {
            Err(refusal @ Refusal::OutOfStock { .. }) => {
                format!("no: {refusal} {:?}", refusal.short_lines().collect::<Vec<_>>())
            }
            Err(refusal) => format!("no: {refusal}"),
            Ok(answer) => {
                let how = if answer.is_new { "" } else { "as it is: " };
                format!("{how}{}", outcome(shop, &answer.outcome))
            }
        },
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|error| panic!("{word:?} is no number: {error}"))
}

fn command(words: &[&str]) -> Command {
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let units = |name: &str| value(name).map(|units| number(units) as u32);
    let (by, reason) = (by(), reason());
    let named: Vec<&str> = words[1..].iter().copied().filter(|word| word.contains('*')).collect();
    match words[0] {
        "set" => set(words[1], words[2], number(words[3]) as u32),
        "receive" => Command::Receive {
            sku: sku(words[1]),
            location: location(words[2]),
            quantity: number(words[3]) as u32,
            by,
            reason,
        },
        "adjust" => Command::Adjust {
            sku: sku(words[1]),
            location: location(words[2]),
            by_quantity: words[3].parse().expect("a number"),
            by,
            reason,
        },
        "configure" => Command::Configure {
            sku: sku(words[1]),
            location: location(words[2]),
            change: Configuration {
                safety: units("safety"),
                backorder_max: units("backorder"),
                preorder_max: units("preorder"),
                released_at: value("release")
                    .map(|at| (at != "out").then(|| Timestamp::from_millis(number(at)))),
                per_member: value("per").map(|per| (per != "none").then(|| number(per) as u32)),
            },
            by,
        },
        "import" => {
            let row = |line: &crate::stock::Line| ImportRow {
                sku: line.sku.clone(),
                location: line.location.clone().expect("a row names its location"),
                on_hand: line.quantity,
            };
            Command::ImportStock { rows: lines(&named).as_slice().iter().map(row).collect(), by }
        }
        "reserve" => reserve(&named, value("by"), value("for").map_or(1_000, number)),
        "commit" => Command::CommitReservation { reservation: no(number(words[1])) },
        "release" => Command::ReleaseReservation { reservation: no(number(words[1])) },
        "return" => Command::Return { reservation: no(number(words[1])), lines: lines(&named), by, reason },
        other => panic!("{other:?} is no command"),
    }
}

fn outcome(shop: &Shop, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Item(answer) => {
            let level = shop.stock.item(answer.item).expect("an item").level;
            let levels = (answer.on_hand, answer.held, answer.promised, answer.owed);
            assert_eq!(levels, (level.on_hand, level.held, level.promised, level.owed));
            written(shop, answer.item)
        }
        Outcome::Import(answer) => {
            assert_eq!(answer.refused as usize, answer.refused_rows.len());
            format!("changed {} same {} refused {:?}", answer.changed, answer.unchanged, answer.refused_rows)
        }
        Outcome::Returned { reservation, units } => format!("{units} of {reservation}"),
        Outcome::Reservation(ReservationAnswer { reservation, state, at, parts }) => {
            let parts = parts.iter().map(|ReservedPart { item, held, promised }| {
                let plus = if *promised > 0 { format!("+{promised}") } else { String::new() };
                format!("{} {held}{plus}", name(shop, *item))
            });
            let parts = parts.collect::<Vec<_>>().join(", ");
            format!("{reservation} {} at {}: {parts}", state.as_str(), at.as_millis())
        }
    }
}

fn name(shop: &Shop, item: ItemNo) -> String {
    let item = shop.stock.item(item).expect("an item");
    format!("{}@{}", item.sku, item.location)
}

/// An item's name and levels.
fn written(shop: &Shop, item: ItemNo) -> String {
    let Level { on_hand, held, promised, owed, .. } = shop.stock.item(item).expect("an item").level;
    let plus = if *promised > 0 { format!("+{promised}") } else { String::new() };
    let minus = if *owed > 0 { format!("-{owed}") } else { String::new() };
    format!("{} {on_hand}/{held}{plus}{minus}", name(shop, item))
}
