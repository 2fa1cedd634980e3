//! Every planted bug is found, soon, and for the right reason.

use banyan_sim::{Plant, RunOptions, run};

/// The first finding with `plant` in the first `seeds_max` seeds.
fn first_finding(plant: Plant, seeds_max: u64) -> Option<(u64, String)> {
    (0..seeds_max).find_map(|seed| {
        let options = RunOptions { plant: Some(plant), ..RunOptions::of(seed) };
        run(options).finding.map(|finding| (seed, finding))
    })
}

/// Words of which one must be in the finding.
fn reasons(plant: Plant) -> &'static [&'static str] {
    match plant {
        Plant::NoSync => &["confirmed are left after the restart", "is damaged"],
        Plant::NoDirectorySync => &["confirmed are left after the restart", "is damaged"],
        Plant::AnswersFirst => &["the log is durable up to"],
        Plant::SummaryFirst => &["readers see event"],
        Plant::FailedSyncIsFine => &["confirmed are left after the restart", "is damaged"],
        Plant::KeysNotStored => &["was stored with the key", "keeps an idempotency key and has none"],
        Plant::KeysNotRead => &["an idempotency key was used twice", "was answered again with"],
        Plant::OneTooMany => &["more coupons were issued than the quantity"],
        Plant::OneMoreEach => &["a member was issued more coupons than the limit"],
        Plant::SoldOutEarly => &["was refused (sold-out)"],
        Plant::ReleasesForOthers => &["released what"],
        Plant::WrongSeqAgain => &["was answered again with"],
        Plant::EffectFirst => &["no durable event intends it"],
        Plant::KeyOfEachTry => &["holds are left at the company", "it was charged", "couriers", "slots"],
        Plant::CompanyForgetsKeys => &["holds are left at the company", "it was charged"],
        Plant::UnknownIsFailure => &["holds are left at the company", "slots", "was taken"],
        Plant::UndoSkipped => &["holds are left at the company", "slots"],
        Plant::UndoMissing => &["its stock is Some(Held)"],
        Plant::AbsentIsDone => &["was taken", "holds are left", "couriers", "slots"],
        Plant::AnswerTwice => &["an answer was taken that says nothing here"],
        Plant::NoTombstone => &["1 slots, 0 couriers"],
        Plant::ReservationsStay => &["should have expired"],
        Plant::RefundUnbounded => &["more was refunded than was left"],
        Plant::LegAcrossCurrencies => &["between two currencies"],
        Plant::OversoldByOne => &["ReservationMade", "more units were held than there are"],
        Plant::BelowPrice => &["the price is another"],
        Plant::ReturnsUnbounded => &["came to Order(RefundBegun", "the state would break"],
        Plant::CheckpointApart => &["the view parked", "the view has", "the view holds"],
    }
}

#[test]
fn every_planted_bug_is_found() {
    for plant in Plant::all() {
        let (seed, finding) =
            first_finding(*plant, 40).unwrap_or_else(|| panic!("{} was not found", plant.name()));
        let fits = reasons(*plant).iter().any(|words| finding.contains(words));
        assert!(fits, "{}, seed {seed}: {finding}", plant.name());
        println!("{}: seed {seed}", plant.name());
    }
}
