//! Idempotency keys: the first answer again, for the horizon and not for ever.

mod common;

use banyan_domain::{Entry, KeyStamp, State, Timestamp, limits};
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
