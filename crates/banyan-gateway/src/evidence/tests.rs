//! The rules of evidence, and simulations of what they promise.

use super::*;
use proptest::prelude::*;

/// Chance from a seed: SplitMix64.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn share(percent: f64) -> Share {
    Share::from_percent(percent).expect("a share")
}

fn rules() -> EvidenceRules {
    EvidenceRules {
        requests: 200,
        mismatch_max: 0.02,
        error_max: 0.02,
        p99_ratio_max: None,
        confidence: 0.95,
        steps: vec![share(1.0), share(10.0), share(100.0)],
        hold_millis: 60_000,
        window_millis: 10_000,
    }
}

const SHADOW: Position = Position { mode: Mode::Shadow, share: Share::NONE };

fn canary(percent: f64) -> Position {
    Position { mode: Mode::Canary, share: share(percent) }
}

fn add(totals: &mut Totals, all: u64, mismatched: u64, errors: u64) {
    totals.compared += all;
    totals.asked += all;
    totals.mismatched += mismatched;
    totals.errors += errors;
}

/// What users got from Banyan.
fn users(totals: &mut Totals, all: u64, errors: u64) {
    totals.asked += all;
    totals.errors += errors;
    totals.users += all;
    totals.user_errors += errors;
}

#[test]
fn a_clean_batch_promotes_step_by_step() {
    let (rules, mut course, mut totals, mut now) = (rules(), Course::default(), Totals::default(), 0);
    for (at, to) in [(SHADOW, 1.0), (canary(1.0), 10.0), (canary(10.0), 100.0)] {
        assert_eq!(course.step(&rules, now, at, &totals), None, "a new place begins at nothing");
        users(&mut totals, if at.share > Share::NONE { users_needed(&rules, 1) } else { 0 }, 0);
        add(&mut totals, needed(&rules, 1) - 1, 0, 0);
        assert_eq!(course.step(&rules, now + 1, at, &totals), None, "one is missing");
        add(&mut totals, 1, 0, 0);
        let act = course.step(&rules, now + 2, at, &totals);
        assert!(matches!(&act, Some(Act::Promote { to: found, .. }) if *found == share(to)), "{act:?}");
        now += 1_000_000;
    }
    assert_eq!(course.step(&rules, now, canary(100.0), &totals), None);
    assert_eq!(course.standing(&rules, now, canary(100.0), &totals).state, "last-step");
}

#[test]
fn a_batch_that_fails_costs_a_look() {
    let (rules, mut course, mut totals) = (rules(), Course::default(), Totals::default());
    course.step(&rules, 0, SHADOW, &totals);
    add(&mut totals, 300, 6, 0);
    assert_eq!(course.step(&rules, 1, SHADOW, &totals), None, "2 % seen does not prove at most 2 %");
    let standing = course.standing(&rules, 1, SHADOW, &totals);
    assert_eq!((standing.look, standing.have), (2, 0));
    assert!(standing.confidence > 0.99 && standing.need > needed(&rules, 1));
    add(&mut totals, standing.need, 0, 0);
    assert!(matches!(course.step(&rules, 2, SHADOW, &totals), Some(Act::Promote { .. })));
}

/// A limit of 0: not one of the batch, whatever its size.
#[test]
fn a_limit_of_nothing_allows_nothing() {
    let rules = EvidenceRules { mismatch_max: 0.0, error_max: 0.0, ..rules() };
    let judge = |mismatched: u64, errors: u64| {
        let (mut course, mut totals) = (Course::default(), Totals::default());
        course.step(&rules, 0, SHADOW, &totals);
        add(&mut totals, 200, mismatched, errors);
        course.step(&rules, 1, SHADOW, &totals).is_some()
    };
    assert!(judge(0, 0));
    assert!(!judge(1, 0));
    assert!(!judge(0, 1));
}

#[test]
fn only_errors_are_enough_to_stay() {
    let (rules, mut course, mut totals) = (rules(), Course::default(), Totals::default());
    course.step(&rules, 0, SHADOW, &totals);
    add(&mut totals, 1_000, 0, 100);
    assert_eq!(course.step(&rules, 1, SHADOW, &totals), None);
}

#[test]
fn errors_take_a_route_back_at_once_and_hold_it() {
    let (rules, mut course, mut totals) = (rules(), Course::default(), Totals::default());
    course.step(&rules, 0, canary(10.0), &totals);
    add(&mut totals, 4, 0, 4);
    assert!(matches!(course.step(&rules, 1_000, canary(10.0), &totals), Some(Act::Back { .. })));
    // Held: a clean batch does not count.
    add(&mut totals, 10_000, 0, 0);
    assert_eq!(course.step(&rules, 2_000, SHADOW, &totals), None);
    assert_eq!(course.standing(&rules, 2_000, SHADOW, &totals).state, "held");
    add(&mut totals, 10_000, 0, 0);
    assert_eq!(course.step(&rules, 60_999, SHADOW, &totals), None);
    assert_eq!(course.step(&rules, 61_000, SHADOW, &totals), None, "what was seen while held does not count");
    add(&mut totals, 10_000, 0, 0);
    assert!(matches!(course.step(&rules, 61_001, SHADOW, &totals), Some(Act::Promote { .. })));
    // The next time it is held for twice as long.
    course.step(&rules, 62_000, canary(1.0), &totals);
    add(&mut totals, 5, 5, 0);
    assert!(matches!(course.step(&rules, 63_000, canary(1.0), &totals), Some(Act::Back { .. })));
    assert_eq!(course.standing(&rules, 63_000, SHADOW, &totals).held_until, Some(63_000 + 120_000));
}

#[test]
fn a_step_back_that_has_to_be_asked_for_again_holds_the_route_no_longer() {
    let (rules, mut course, mut totals) = (rules(), Course::default(), Totals::default());
    course.step(&rules, 0, canary(10.0), &totals);
    add(&mut totals, 4, 0, 4);
    for now in [1_000, 2_000, 3_000] {
        assert!(matches!(course.step(&rules, now, canary(10.0), &totals), Some(Act::Back { .. })));
    }
    let standing = course.standing(&rules, 3_000, SHADOW, &totals);
    assert_eq!((standing.backs, standing.held_until), (1, Some(61_000)));
}

#[test]
fn old_errors_fall_out_of_the_window() {
    let (rules, mut course, mut totals) = (rules(), Course::default(), Totals::default());
    course.step(&rules, 0, canary(10.0), &totals);
    for second in 1..60 {
        // Two errors every eleven seconds: never three within the window.
        add(&mut totals, 10, 0, if second % 11 == 0 { 2 } else { 0 });
        assert!(!matches!(
            course.step(&rules, second * 1_000, canary(10.0), &totals),
            Some(Act::Back { .. })
        ));
    }
}

#[test]
fn nothing_goes_back_where_no_user_is_served() {
    let (rules, mut course, mut totals) = (rules(), Course::default(), Totals::default());
    course.step(&rules, 0, SHADOW, &totals);
    add(&mut totals, 100, 100, 100);
    assert_eq!(course.step(&rules, 1_000, SHADOW, &totals), None);
}

#[test]
fn latency_is_judged_by_its_bounds() {
    let rules = EvidenceRules { p99_ratio_max: Some(1.5), ..rules() };
    let spread = |factor: u64| (1..=100).map(|n| (n * factor * 100, 20)).collect::<Vec<_>>();
    let judge = |banyan: u64, legacy: u64| {
        let (mut course, mut totals) = (Course::default(), Totals::default());
        course.step(&rules, 0, SHADOW, &totals);
        add(&mut totals, 2_000, 0, 0);
        (totals.banyan, totals.legacy) = (spread(banyan), spread(legacy));
        course.step(&rules, 1, SHADOW, &totals).is_some()
    };
    assert!(judge(10, 10));
    assert!(!judge(15, 10), "seen at the limit is not proven to be within it");
    assert!(!judge(30, 10));
    let (mut course, mut totals) = (Course::default(), Totals::default());
    course.step(&rules, 0, canary(1.0), &totals);
    add(&mut totals, 2_000, 0, 0);
    (totals.banyan, totals.legacy) = (spread(40), spread(10));
    assert!(matches!(course.step(&rules, 1, canary(1.0), &totals), Some(Act::Back { .. })));
}

#[test]
fn users_who_fail_are_seen_beside_any_number_of_good_copies() {
    let rules = EvidenceRules { error_max: 0.05, ..rules() };
    let at = canary(1.0);
    let begun = || {
        let (mut course, totals) = (Course::default(), Totals::default());
        course.step(&rules, 0, at, &totals);
        (course, totals)
    };
    // A tenth of the users fail, and a fiftieth of a percent of all: not enough to go back, and nothing to go on with.
    let (mut course, mut totals) = begun();
    add(&mut totals, 100_000, 0, 0);
    users(&mut totals, 200, 20);
    assert_eq!(course.step(&rules, 1_000, at, &totals), None);
    let standing = course.standing(&rules, 1_000, at, &totals);
    assert_eq!(standing.look, 2, "the batch was judged");
    let (mut course, mut totals) = begun();
    add(&mut totals, 5_000, 0, 0);
    users(&mut totals, 50, 20);
    let act = course.step(&rules, 1_000, at, &totals);
    assert!(matches!(&act, Some(Act::Back { why }) if why.contains("20 of 50")), "{act:?}");
}

#[test]
fn users_who_wait_are_seen_beside_any_number_of_fast_copies() {
    let rules = EvidenceRules { p99_ratio_max: Some(1.5), ..rules() };
    let (mut course, mut totals) = (Course::default(), Totals::default());
    course.step(&rules, 0, canary(1.0), &totals);
    add(&mut totals, 5_000, 0, 0);
    users(&mut totals, 50, 0);
    (totals.banyan, totals.legacy) = (vec![(1_000, 5_000)], vec![(1_000, 5_000)]);
    (totals.user_banyan, totals.user_legacy) = (vec![(40_000, 50)], vec![(1_000, 5_000)]);
    let act = course.step(&rules, 1_000, canary(1.0), &totals);
    assert!(matches!(&act, Some(Act::Back { why }) if why.starts_with("p99 of users: ")), "{act:?}");
}

#[test]
fn a_route_that_answers_everybody_is_still_held_against_the_old_shops_times() {
    let rules = EvidenceRules { p99_ratio_max: Some(1.5), steps: vec![share(100.0)], ..rules() };
    let everybody = canary(100.0);
    let slow_after = |copies: bool| {
        let (mut course, mut totals) = (Course::default(), Totals::default());
        course.step(&rules, 0, SHADOW, &totals);
        add(&mut totals, 5_000, 0, 0);
        (totals.banyan, totals.legacy) = (vec![(1_000, 5_000)], vec![(1_000, 5_000)]);
        totals.user_legacy = vec![(1_000, 5_000)];
        let act = course.step(&rules, 1_000, SHADOW, &totals);
        assert!(matches!(act, Some(Act::Promote { .. })), "{act:?}");
        assert_eq!(course.step(&rules, 2_000, everybody, &totals), None);
        users(&mut totals, 2_000, 0);
        totals.user_banyan = vec![(1_000, 2_000)];
        assert_eq!(course.step(&rules, 3_000, everybody, &totals), None, "as fast as before");
        users(&mut totals, 2_000, 0);
        totals.user_banyan.push((40_000, 2_000));
        if copies {
            totals.compared += 2_000;
            (totals.banyan, totals.legacy) = (vec![(1_000, 5_000), (40_000, 2_000)], vec![(1_000, 7_000)]);
        }
        course.step(&rules, 4_000, everybody, &totals)
    };
    for copies in [true, false] {
        let act = slow_after(copies);
        assert!(matches!(&act, Some(Act::Back { why }) if why.contains("35.00 times")), "{copies}: {act:?}");
    }
}

#[test]
fn a_few_times_of_the_old_shops_are_as_good_as_none() {
    let rules = EvidenceRules { p99_ratio_max: Some(1.5), steps: vec![share(100.0)], ..rules() };
    let everybody = canary(100.0);
    let slow_beside = |stragglers: fn(&mut Totals, u64)| {
        let (mut course, mut totals) = (Course::default(), Totals::default());
        course.step(&rules, 0, SHADOW, &totals);
        add(&mut totals, 5_000, 0, 0);
        (totals.banyan, totals.legacy) = (vec![(1_000, 5_000)], vec![(1_000, 5_000)]);
        totals.user_legacy = vec![(1_000, 5_000)];
        let act = course.step(&rules, 1_000, SHADOW, &totals);
        assert!(matches!(act, Some(Act::Promote { .. })), "{act:?}");
        course.step(&rules, 2_000, everybody, &totals);
        users(&mut totals, 2_000, 0);
        totals.user_banyan = vec![(40_000, 2_000)];
        stragglers(&mut totals, 1_145);
        course.step(&rules, 3_000, everybody, &totals)
    };
    // A colleague who looks at the old shop by an override, or a copy of one request in a thousand.
    let few: [fn(&mut Totals, u64); 2] =
        [|totals, few| totals.user_legacy[0].1 += few, |totals, few| totals.legacy[0].1 += few];
    for stragglers in few {
        let act = slow_beside(stragglers);
        assert!(matches!(&act, Some(Act::Back { why }) if why.contains("35.00 times")), "{act:?}");
    }
}

/// The promise of the whole: a route whose true mismatch rate is at the limit is promoted in at most 5 of 100 runs, although
/// each run looks again and again. Fixed seed: it passes always or never.
#[test]
fn wrong_promotions_are_as_rare_as_stated() {
    let rules = rules();
    let mut random = Random(42);
    let (runs, mut wrong) = (1_000, 0);
    for _ in 0..runs {
        let (mut course, mut totals) = (Course::default(), Totals::default());
        course.step(&rules, 0, SHADOW, &totals);
        for look in 1..=12 {
            let all = needed(&rules, look);
            let mismatched = (0..all).filter(|_| random.unit() < rules.mismatch_max).count() as u64;
            add(&mut totals, all, mismatched, 0);
            if course.step(&rules, u64::from(look), SHADOW, &totals).is_some() {
                wrong += 1;
                break;
            }
        }
    }
    // 50 are allowed; without the price of looks it would be several times that.
    assert!(wrong <= 50, "{wrong} of {runs}");
}

/// And it is no rule that never promotes: a good route passes at its first or second look nearly always.
#[test]
fn good_routes_are_promoted() {
    let rules = EvidenceRules { requests: 1_000, ..rules() };
    let mut random = Random(43);
    let mut promoted = 0;
    for _ in 0..300 {
        let (mut course, mut totals) = (Course::default(), Totals::default());
        course.step(&rules, 0, SHADOW, &totals);
        for look in 1..=2 {
            let all = needed(&rules, look);
            add(&mut totals, all, (0..all).filter(|_| random.unit() < 0.005).count() as u64, 0);
            if course.step(&rules, u64::from(look), SHADOW, &totals).is_some() {
                promoted += 1;
                break;
            }
        }
    }
    assert!(promoted > 290, "{promoted} of 300");
}

/// A healthy route on its way is not taken back by chance: 300 runs of a day's worth of windows at half the limit.
#[test]
fn healthy_routes_are_not_taken_back() {
    let rules = rules();
    let mut random = Random(44);
    for _ in 0..300 {
        let (mut course, mut totals) = (Course::default(), Totals::default());
        for second in 0..100 {
            let errors = (0..50).filter(|_| random.unit() < rules.error_max / 2.0).count() as u64;
            add(&mut totals, 50, 0, errors);
            let act = course.step(&rules, second * 1_000, canary(10.0), &totals);
            assert!(!matches!(act, Some(Act::Back { .. })), "{act:?}");
        }
    }
}

proptest! {
    /// Whatever is seen: a promotion goes to the next step, has enough requests behind it, and no seen rate above its limit.
    #[test]
    fn promotions_rest_on_what_was_seen(
        steps in proptest::collection::vec((0_u64..400, 0_u64..6, 0_u64..6, 0_u64..30_000), 1..40),
    ) {
        let (rules, mut course, mut totals, mut now) = (rules(), Course::default(), Totals::default(), 0);
        let (mut at, mut batch, mut back_at) = (SHADOW, Totals::default(), None);
        for (all, mismatched, errors, time) in steps {
            now += time;
            add(&mut totals, all, mismatched.min(all), errors.min(all));
            match course.step(&rules, now, at, &totals) {
                Some(Act::Promote { to, .. }) => {
                    let seen = totals.since(&batch);
                    prop_assert!(seen.compared >= rules.requests);
                    prop_assert!(back_at.is_none_or(|back| now >= back + rules.hold_millis));
                    prop_assert_eq!(Some(to), next_share(&rules, at));
                    at = Position { mode: Mode::Canary, share: to };
                    batch = totals.clone();
                }
                Some(Act::Back { .. }) => {
                    prop_assert!(at.share > Share::NONE);
                    at = SHADOW;
                    back_at = Some(now);
                    batch = totals.clone();
                }
                None => {}
            }
        }
    }
}
