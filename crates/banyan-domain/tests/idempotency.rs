//! Idempotency keys: the first answer again, for the horizon and not for ever.

mod common;

use banyan_domain::coupon::CouponState;
use banyan_domain::{Entry, Event, KeyStamp, Remembered, State, Timestamp, limits};
use common::script::{check, run, span};
use common::{Shop, issue};

#[test]
fn the_same_key_gets_the_first_answer_and_another_request_is_refused() {
    check(
        "create noon per=2 key=c                   | new noon
         create noon per=2 key=c                   | again noon
         create noon per=3 key=c                   | no: idempotency-key-reused
         issue noon m1 key=a                       | new noon#1 issued
         issue noon m1 key=b                       | new noon#2 issued
         issue noon m1 key=a                       | again noon#1 issued
         issue noon m1 key=b                       | again noon#2 issued
         issue noon m2 key=a                       | no: idempotency-key-reused
         change noon pause key=a                   | no: idempotency-key-reused
         issue noon m1                             | no: limit-reached
         issue noon m1 key=d                       | no: limit-reached
         issue noon m3 key=d                       | new noon#3 issued",
    );
}

#[test]
fn an_answer_is_the_first_one_again_even_when_the_coupon_moved_on() {
    check(
        "create noon valid=20h                     | new noon
         issue noon m1 key=i                       | new noon#1 issued expires 20h
         issue noon m2                             | new noon#2 issued expires 20h
         hold noon#1 o1 60s key=h                  | new noon#1 held for o1 until 1m expires 20h
         release noon#1 o1 key=l                   | new noon#1 issued expires 20h
         hold noon#1 o1 60s key=h                  | again noon#1 held for o1 until 1m expires 20h
         redeem noon#1 o2 key=r                    | new noon#1 redeemed for o2 expires 20h
         hold noon#1 o1 60s key=h                  | again noon#1 held for o1 until 1m expires 20h
         release noon#1 o1 key=l                   | again noon#1 issued expires 20h
         issue noon m1 key=i                       | again noon#1 issued expires 20h
         hold noon#2 o9 21h key=x                  | new noon#2 held for o9 until 21h expires 20h
         at 20h                                    | noon#1..2 expired
         release noon#2 o9 key=y                   | new noon#2 expired expires 20h
         change noon end key=e                     | new noon
         restart
         hold noon#2 o9 21h key=x                  | again noon#2 held for o9 until 21h expires 20h
         release noon#2 o9 key=y                   | again noon#2 expired expires 20h
         redeem noon#1 o2 key=r                    | again noon#1 redeemed for o2 expires 20h
         change noon end key=e                     | again noon
         issue noon m1 key=i                       | again noon#1 issued expires 20h",
    );
}

/// Bug: a command that found nothing to do was answered and its key forgotten, because nothing was logged. Retried later,
/// it acted: here it freed a coupon that the order had held since, and redeemed.
#[test]
fn a_key_keeps_an_answer_that_changed_nothing() {
    check(
        "create noon quantity=9 per=2 ends=100h    | new noon
         create noon quantity=9 per=2 ends=100h key=c | again noon
         create noon quantity=8 per=2 ends=100h key=c | no: idempotency-key-reused
         issue noon m1                             | new noon#1 issued
         release noon#1 o1 key=l                   | again noon#1 issued
         hold noon#1 o1 60s                        | new noon#1 held for o1 until 1m
         release noon#1 o1 key=l                   | again noon#1 issued
         show noon                                 | Open left 8 issued 1 held 1 redeemed 0 revoked 0 expired 0
         hold noon#1 o1 90s key=h                  | again noon#1 held for o1 until 1m
         redeem noon#1 o1                          | new noon#1 redeemed for o1
         hold noon#1 o1 90s key=h                  | again noon#1 held for o1 until 1m
         hold noon#1 o2 90s key=h                  | no: idempotency-key-reused
         redeem noon#1 o1 key=r                    | again noon#1 redeemed for o1
         hold noon#1 o1 60s key=s                  | again noon#1 redeemed for o1
         issue noon m2                             | new noon#2 issued
         revoke noon#2                             | new noon#2 revoked
         revoke noon#2 key=v                       | again noon#2 revoked
         release noon#2 o1 key=w                   | again noon#2 revoked
         change noon quantity=9 key=q              | again noon
         change noon quantity=5                    | new noon
         digest
         restart
         change noon quantity=9 key=q              | again noon
         show noon                                 | Open left 3 issued 2 held 0 redeemed 1 revoked 1 expired 0
         redeem noon#1 o1 key=r                    | again noon#1 redeemed for o1
         hold noon#1 o1 60s key=s                  | again noon#1 redeemed for o1
         revoke noon#2 key=v                       | again noon#2 revoked
         release noon#2 o1 key=w                   | again noon#2 revoked
         release noon#2 o2 key=w                   | no: idempotency-key-reused
         create list to=list                       | new list
         allow list m1                             | new +1 =1
         allow list m1 key=a                       | again +0 =1
         allow list m2 m3                          | new +2 =3
         allow list m1 key=a                       | again +0 =1
         at 26h
         release noon#2 o2 key=w                   | again noon#2 revoked
         change noon quantity=9 key=q              | new noon",
    );
}

/// Whoever has its only coupon is told so at any time, under any key: that needs no memory and must not fill the log.
#[test]
fn a_repeated_issue_of_the_only_coupon_keeps_no_key() {
    let mut shop = Shop::new();
    run(&mut shop, "create noon");
    run(&mut shop, "issue noon m1 key=a");
    let (seq, keys) = (shop.state.seq(), shop.state.idempotency().len());
    for key in ["b", "c", "b"] {
        assert_eq!(run(&mut shop, &format!("issue noon m1 key={key}")), "again noon#1 issued");
    }
    assert_eq!((shop.state.seq(), shop.state.idempotency().len()), (seq, keys));
}

/// A key that was kept shortly before its campaign retires outlives it: the answer is gone then, and must not be made up.
#[test]
fn a_kept_key_outlives_its_campaign() {
    check(
        "create noon                               | new noon
         issue noon m1                             | new noon#1 issued
         revoke noon#1                             | new noon#1 revoked
         change noon end                           | new noon
         at 27h
         release noon#1 o1 key=l                   | again noon#1 revoked
         change noon end key=e                     | again noon
         release noon#1 o1 key=l                   | again noon#1 revoked
         at 28h                                    | noon retired
         release noon#1 o1 key=l                   | no: coupon-not-found
         change noon end key=e                     | again noon
         restart
         release noon#1 o2 key=l                   | no: idempotency-key-reused",
    );
}

#[test]
fn a_kept_answer_that_is_not_so_is_a_violation_and_changes_nothing() {
    let mut shop = Shop::new();
    for line in
        ["create noon", "issue noon m1", "create list to=list", "allow list m1 m2", "hold noon#1 o1 60s"]
    {
        run(&mut shop, line);
    }
    let (noon, list) = (banyan_domain::CampaignNo::new(1), banyan_domain::CampaignNo::new(2));
    let coupon = banyan_domain::CouponId::new(noon, 1);
    let held = |millis| {
        let held_until = Timestamp::from_millis(millis);
        Remembered::Changed { coupon, state: CouponState::Held, held_until }
    };
    let wrong = [
        Remembered::Issued(coupon),
        Remembered::Changed { coupon, state: CouponState::Issued, held_until: Timestamp::default() },
        held(59_999),
        Remembered::Changed {
            coupon: banyan_domain::CouponId::new(noon, 2),
            state: CouponState::Issued,
            held_until: Timestamp::default(),
        },
        Remembered::Campaign(banyan_domain::CampaignNo::new(3)),
        Remembered::AllowList { no: noon, added: 0, total: 0 },
        Remembered::AllowList { no: list, added: 1, total: 2 },
        Remembered::AllowList { no: list, added: 0, total: 1 },
    ];
    let before = shop.state.digest();
    let stamp = |key: &str| Some(KeyStamp::new(shop.state.keys(), "shop", key, b"r"));
    let (first, second) = (stamp("a"), stamp("b"));
    for answer in wrong {
        let entry = Entry { event: Event::KeyKept { answer }, stamp: first };
        let violation = shop.state.apply(&entry).expect_err("not so").to_string();
        assert_eq!(violation, "an idempotency key was kept for an answer that is not so", "{answer:?}");
        assert_eq!(shop.state.digest(), before);
    }
    let keyless = Entry { event: Event::KeyKept { answer: held(60_000) }, stamp: None };
    assert!(shop.state.apply(&keyless).is_err());
    assert_eq!(shop.state.digest(), before);
    for (answer, stamp) in
        [(held(60_000), first), (Remembered::AllowList { no: list, added: 0, total: 2 }, second)]
    {
        shop.state.apply(&Entry { event: Event::KeyKept { answer }, stamp }).expect("so it is");
    }
}

/// Bug: the total was the one of now, not the one of the first answer.
#[test]
fn an_allow_list_answer_has_the_total_it_had_then() {
    check(
        "create list to=list                       | new list
         allow list m1 m2 key=a                    | new +2 =2
         allow list m3 key=b                       | new +1 =3
         allow list m1 m2 key=a                    | again +2 =2
         restart
         allow list m1 m2 key=a                    | again +2 =2
         change list end                           | new list
         allow list m3 key=b                       | again +1 =3",
    );
}

#[test]
fn after_the_horizon_the_key_is_free_again() {
    check(
        "create noon per=9                         | new noon
         issue noon m1 key=a                       | new noon#1 issued
         at 93599999ms
         issue noon m1 key=a                       | again noon#1 issued
         issue noon m2 key=a                       | no: idempotency-key-reused
         at 26h
         issue noon m2 key=a                       | new noon#2 issued
         issue noon m2 key=a                       | again noon#2 issued
         issue noon m1 key=a                       | no: idempotency-key-reused
         at 52h
         restart
         issue noon m1 key=a                       | new noon#3 issued",
    );
    assert_eq!(limits::IDEMPOTENCY_HORIZON_MILLIS, span("26h").get());
}

#[test]
fn every_remembered_answer_can_be_given_until_its_campaign_retires() {
    check(
        "create noon per=2                         | new noon
         issue noon m1 key=a                       | new noon#1 issued
         at 10h
         change noon end                           | new noon
         revoke noon#1 key=v                       | new noon#1 revoked
         at 93599999ms
         issue noon m1 key=a                       | again noon#1 issued
         at 26h
         issue noon m1 key=a                       | no: ended
         at 35h
         revoke noon#1 key=v                       | again noon#1 revoked
         at 38h                                    | noon retired
         revoke noon#1 key=v                       | no: coupon-not-found",
    );
    check(
        "create noon per=2                         | new noon
         issue noon m1                             | new noon#1 issued
         change noon end                           | new noon
         revoke noon#1 key=v                       | new noon#1 revoked
         at 93599999ms
         revoke noon#1 key=v                       | again noon#1 revoked
         at 26h
         revoke noon#1 key=v                       | again noon#1 revoked
         at 28h                                    | noon retired
         revoke noon#1 key=v                       | no: coupon-not-found",
    );
}

#[test]
fn forgetting_keeps_pace_with_remembering() {
    let mut shop = Shop::new();
    run(&mut shop, "create noon per=10000");
    let keyed = |shop: &mut Shop, i: u64| {
        let stamp = KeyStamp::new(shop.state.keys(), "shop", &format!("k{i}"), b"request");
        shop.ask(issue("noon", "m1"), Some(stamp)).expect("issued");
    };
    for i in 0..1_000 {
        keyed(&mut shop, i);
    }
    assert_eq!(shop.state.idempotency().len(), 1_000);
    shop.at_millis(limits::IDEMPOTENCY_HORIZON_MILLIS);
    for i in 1_000..1_500 {
        keyed(&mut shop, i);
        // Each event forgets two and remembers one.
        assert_eq!(shop.state.idempotency().len() as u64, 1_000 - (i - 999));
    }
    for i in 1_500..2_000 {
        keyed(&mut shop, i);
    }
    assert_eq!(shop.state.idempotency().len(), 1_000);
    shop.check_replay();
}

#[test]
fn keys_belong_to_their_caller() {
    let shop = Shop::new();
    let keys = shop.state.keys();
    let stamp = |caller: &str, key: &str| {
        let stamp = KeyStamp::new(keys, caller, key, b"r");
        (stamp.high, stamp.low)
    };
    assert_ne!(stamp("alice", "k"), stamp("bob", "k"));
    assert_ne!(stamp("ab", "c"), stamp("a", "bc"));
    let whole = KeyStamp::new(keys, "alice", "k", b"r");
    assert_ne!(KeyStamp::part(keys, whole, 0, b"r"), KeyStamp::part(keys, whole, 1, b"r"));
    assert_ne!(KeyStamp::part(keys, whole, 0, b"r"), whole);
    assert_ne!(KeyStamp::part(keys, whole, 0, b"r").request, KeyStamp::part(keys, whole, 0, b"s").request);
}

/// Bug: two events under one key were both remembered, and which of them was found depended on the layout of a table.
#[test]
fn a_key_used_twice_in_the_log_is_a_violation_and_changes_nothing() {
    let mut shop = Shop::new();
    run(&mut shop, "create noon per=9");
    run(&mut shop, "issue noon m1 key=a");
    let stamp = KeyStamp::new(shop.state.keys(), "shop", "a", b"issue noon m1");
    let before = shop.state.digest();
    let coupon = banyan_domain::CouponId::new(banyan_domain::CampaignNo::new(1), 2);
    let member = banyan_domain::MemberId::new("m1").expect("valid");
    let event = banyan_domain::coupon::Event::CouponIssued { coupon, member };
    let entry = Entry { event: event.into(), stamp: Some(stamp) };
    assert_eq!(
        shop.state.apply(&entry).expect_err("used twice").to_string(),
        "an idempotency key was used twice"
    );
    assert_eq!(shop.state.digest(), before);
    shop.state.begin_block(Timestamp::from_millis(limits::IDEMPOTENCY_HORIZON_MILLIS));
    shop.state.apply(&entry).expect("the key is free again");
    let restored = State::from_snapshot(&shop.state.to_snapshot()).expect("a snapshot can be read");
    assert_eq!(restored.idempotency().len(), shop.state.idempotency().len());
}
