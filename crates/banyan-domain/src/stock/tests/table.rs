//! What the rules say, situation by situation.

use super::script::{check, run};
use super::{Shop, lines, reserve, set};
use crate::stock::{Command, InvalidLines, Line, Lines, Refusal};
use crate::{ReservationNo, Timestamp, limits};

#[test]
fn a_reservation_is_held_and_sold_or_given_up() {
    check(
        "set a x 10           | a@x 10/0
         set a x 10           | as it is: a@x 10/0
         reserve a*3 by=m1    | r-1 held at 1000: a@x 3
         reservation 1        | held at 1000 m1 o-m1 returned 0
         show a               | a@x 10/3
         reserve a*8          | no: out-of-stock [0]
         reserve a*7          | r-2 held at 1000: a@x 7
         at 5
         commit 1             | r-1 committed at 5: a@x 3
         commit 1             | as it is: r-1 committed at 5: a@x 3
         release 1            | no: reservation-committed
         show a               | a@x 7/7
         release 2            | r-2 released at 5: a@x 7
         release 2            | as it is: r-2 released at 5: a@x 7
         commit 2             | no: reservation-released
         show a               | a@x 7/0
         commit 3             | no: reservation-not-found
         release 0            | no: reservation-not-found
         reserve b*1          | no: sku-not-found
         reserve a@y*1        | no: location-not-found",
    );
}

#[test]
fn a_reservation_expires_at_its_instant_and_not_before() {
    check(
        "set a x 2
         reserve a*2 for=10   | r-1 held at 10: a@x 2
         at 9
         reserve a*1          | no: out-of-stock [0]
         at 10                | r-1 expired
         commit 1             | no: reservation-expired
         release 1            | as it is: r-1 expired at 10: a@x 2
         reserve a*2 for=10   | r-2 held at 20: a@x 2
         at 19
         commit 2             | r-2 committed at 19: a@x 2
         at 1000
         show a               | a@x 0/0",
    );
}

/// Timers have a limit a block: whoever asks about a reservation whose turn has not come is told the truth all the same.
#[test]
fn a_deadline_that_has_passed_and_is_no_event_yet_counts() {
    let mut shop = Shop::new();
    shop.ask(set("a", "x", 5)).expect("done");
    shop.ask(reserve(&["a*5"], None, 10)).expect("done");
    shop.now = Timestamp::from_millis(10);
    let ask = |shop: &mut Shop, command| shop.ask(command).map(|answer| answer.is_new);
    let reservation = ReservationNo::new(1);
    assert_eq!(ask(&mut shop, Command::CommitReservation { reservation }), Err(Refusal::ReservationExpired));
    assert_eq!(run(&mut shop, "return 1 a*1"), "no: reservation-expired");
    assert_eq!(run(&mut shop, "release 1"), "r-1 expired at 10: a@x 5");
    assert_eq!(run(&mut shop, "show a"), "a@x 5/0");
    assert!(shop.stock.due(shop.now, 9).is_empty());
    shop.check_replay();
}

#[test]
fn all_lines_or_none_and_the_short_ones_are_named() {
    check(
        "set a x 5
         set b x 5
         reserve a*5 b*6 a*1  | no: out-of-stock [1, 2]
         show a               | a@x 5/0
         reserve a*2 b*1 a*3  | r-1 held at 1000: a@x 5, b@x 1
         reserve a*1          | no: out-of-stock [0]
         reserve a*1 b*4      | no: out-of-stock [0]
         reserve b*6 b*4      | no: out-of-stock [0]
         commit 1             | r-1 committed at 0: a@x 5, b@x 1
         show b               | b@x 4/0",
    );
    let mut shop = Shop::new();
    run(&mut shop, "set a x 5");
    run(&mut shop, "set a y 2");
    run(&mut shop, "configure a y backorder=1");
    let asked = lines(&["a*9", "a@x*5", "a@x*6"]);
    assert_eq!(shop.stock.shortage(shop.now, &asked), [(0, 8), (2, 5)]);
    assert_eq!(shop.stock.shortage(shop.now, &lines(&["a*8"])), []);
}

#[test]
fn lines_without_a_location_take_from_locations_in_order_of_their_creation() {
    check(
        "set z y 1
         set a x 5
         set a y 5
         set a w 5
         reserve a*7          | r-1 held at 1000: a@x 2, a@y 5
         show a               | a@y 5/5, a@x 5/2, a@w 5/0
         reserve a@w*5        | r-2 held at 1000: a@w 5
         reserve a*4          | no: out-of-stock [0]
         reserve a*3          | r-3 held at 1000: a@x 3
         restart
         show a               | a@y 5/5, a@x 5/5, a@w 5/5",
    );
}

/// A line that may take from anywhere leaves to the others what only they can take.
#[test]
fn a_reservation_that_can_be_served_is_served_whatever_the_order_of_its_lines() {
    check(
        "set a x 5
         set a y 5
         reserve a*5 a@x*5    | r-1 held at 1000: a@x 5, a@y 5
         release 1            | r-1 released at 0: a@x 5, a@y 5
         configure a x backorder=2 | a@x 5/0
         reserve a*6 a@x*6    | r-2 held at 1000: a@x 5+2, a@y 5",
    );
}

#[test]
fn safety_stock_is_not_sold_and_may_be_larger_than_what_is_there() {
    check(
        "set a x 10
         configure a x safety=4 | a@x 10/0
         configure a x safety=4 | as it is: a@x 10/0
         reserve a*7          | no: out-of-stock [0]
         reserve a*6          | r-1 held at 1000: a@x 6
         configure a x safety=4294967295 | a@x 10/6
         reserve a*1          | no: out-of-stock [0]
         release 1            | r-1 released at 0: a@x 6
         reserve a*1          | no: out-of-stock [0]
         configure a x safety=0 | a@x 10/0
         reserve a*10         | r-2 held at 1000: a@x 10",
    );
}

#[test]
fn backorders_are_promised_then_owed_and_goods_that_arrive_go_to_those_who_wait() {
    check(
        "set a x 2
         configure a x backorder=10
         reserve a*5          | r-1 held at 1000: a@x 2+3
         reserve a*4          | r-2 held at 1000: a@x 0+4
         reserve a*4          | no: out-of-stock [0]
         reserve a*3          | r-3 held at 1000: a@x 0+3
         show a               | a@x 2/2+10
         commit 2             | r-2 committed at 0: a@x 0+4
         show a               | a@x 2/2+6-4
         reserve a*1          | no: out-of-stock [0]
         receive a x 3        | a@x 2/2+6-1
         receive a x 5        | a@x 6/6+2
         release 1            | r-1 released at 0: a@x 5
         show a               | a@x 6/3
         commit 3             | r-3 committed at 0: a@x 3
         show a               | a@x 3/0",
    );
}

/// Bug to guard against: freed or found units became available, and whoever came next got them before those who waited.
#[test]
fn nobody_who_comes_later_is_served_before_those_who_wait() {
    check(
        "set a x 4
         configure a x safety=1 backorder=9
         reserve a*3 for=5    | r-1 held at 5: a@x 3
         reserve a*2          | r-2 held at 1000: a@x 0+2
         reserve a*2          | r-3 held at 1000: a@x 0+2
         commit 3             | r-3 committed at 0: a@x 0+2
         at 5                 | r-1 expired
         show a               | a@x 2/1+1
         set a x 3            | a@x 3/2
         reserve a*1          | r-4 held at 1005: a@x 0+1
         adjust a x 1         | a@x 4/3
         reserve a*2          | r-5 held at 1005: a@x 0+2
         configure a x safety=0 | a@x 4/4+1
         reserve a*1          | r-6 held at 1005: a@x 0+1
         return 3 a*2         | 2 of r-3
         show a               | a@x 6/6",
    );
}

#[test]
fn goods_that_arrive_fill_promises_even_below_the_safety_stock() {
    check(
        "set a x 0
         configure a x safety=5 backorder=3
         reserve a*2          | r-1 held at 1000: a@x 0+2
         receive a x 3        | a@x 3/2
         commit 1             | r-1 committed at 0: a@x 2",
    );
}

#[test]
fn before_its_release_an_item_is_promised_up_to_its_preorder_threshold() {
    check(
        "set a x 0
         configure a x preorder=3 backorder=1 release=100
         reserve a*4          | no: out-of-stock [0]
         at 99
         reserve a*3 for=500  | r-1 held at 599: a@x 0+3
         at 100
         reserve a*1          | no: out-of-stock [0]
         receive a x 3        | a@x 3/3
         reserve a*1          | r-2 held at 1100: a@x 0+1
         reserve a*1          | no: out-of-stock [0]
         configure a x release=out | a@x 3/3+1
         configure a x release=out | as it is: a@x 3/3+1",
    );
}

#[test]
fn a_threshold_lowered_under_live_promises_only_stops_new_ones() {
    check(
        "set a x 0
         configure a x backorder=5
         reserve a*5          | r-1 held at 1000: a@x 0+5
         configure a x backorder=2 | a@x 0/0+5
         reserve a*1          | no: out-of-stock [0]
         commit 1             | r-1 committed at 0: a@x 0+5
         receive a x 4        | a@x 0/0-1
         reserve a*1          | r-2 held at 1000: a@x 0+1
         reserve a*1          | no: out-of-stock [0]",
    );
}

#[test]
fn counts_and_corrections_stop_at_what_is_held_and_at_the_limit() {
    check(
        "set a x 10
         reserve a*4          | r-1 held at 1000: a@x 4
         set a x 3            | no: stock-below-held
         set a x 4            | a@x 4/4
         adjust a x -1        | no: stock-below-held
         adjust a x 0         | as it is: a@x 4/4
         adjust a x -9223372036854775808 | no: stock-below-held
         adjust a x 9223372036854775807 | no: stock-above-limit
         adjust a x 3999999996 | a@x 4000000000/4
         adjust a x 1         | no: stock-above-limit
         receive a x 1        | no: stock-above-limit
         receive a x 4294967295 | no: stock-above-limit
         receive a x 0        | as it is: a@x 4000000000/4
         set a x 4294967295   | no: stock-above-limit
         set b x 4000000001   | no: stock-above-limit
         configure a x backorder=1000001 | no: stock-above-limit
         configure a x preorder=1000001 | no: stock-above-limit
         configure a x backorder=1000000 | a@x 4000000000/4
         reserve a*4000999997 | no: out-of-stock [0]
         reserve a*4000999996 | r-2 held at 1000: a@x 3999999996+1000000
         commit 2             | r-2 committed at 0: a@x 3999999996+1000000
         show a               | a@x 4/4-1000000
         return 2 a*4000999997 | no: return-too-much
         return 2 a*4000999996 | 4000999996 of r-2
         show a               | a@x 4000000000/4
         reserve a*4294967295 a*4294967295 | no: out-of-stock [0, 1]
         receive b x 1        | no: sku-not-found
         receive a y 1        | no: location-not-found
         adjust a y 1         | no: location-not-found
         configure b y        | no: sku-not-found
         configure a x        | as it is: a@x 4000000000/4",
    );
}

#[test]
fn purchase_limits_count_what_a_member_has_reserved_and_bought() {
    check(
        "set a x 50
         set a y 50
         configure a x per=5  | a@x 50/0
         reserve a*3 by=m1    | r-1 held at 1000: a@x 3
         reserve a@x*2 a@y*1 by=m1 | no: purchase-limit
         reserve a@x*1 a@y*1 by=m1 for=5 | r-2 held at 5: a@x 1, a@y 1
         reserve a*1 by=m1    | no: purchase-limit
         reserve a*5 by=m2    | r-3 held at 1000: a@x 5
         bought a m1          | 5 of Some(5)
         at 5                 | r-2 expired
         bought a m1          | 3 of Some(5)
         commit 1             | r-1 committed at 5: a@x 3
         reserve a*3 by=m1    | no: purchase-limit
         return 1 a*2         | 2 of r-1
         bought a m1          | 1 of Some(5)
         reserve a*4 by=m1    | r-4 held at 1005: a@x 4
         release 3            | r-3 released at 5: a@x 5
         bought a m2          | 0 of Some(5)
         restart
         bought a m1          | 5 of Some(5)
         bought a m3          | 0 of Some(5)
         reserve a*3 a*3 by=m3 | no: purchase-limit
         reserve a*6          | no: purchase-limit
         reserve a*5          | r-5 held at 1005: a@x 5",
    );
}

/// Bug to guard against: what was reserved before the limit was set was given back from a count it was not in.
#[test]
fn a_limit_set_anew_counts_from_nothing() {
    check(
        "set a x 50
         reserve a*9 by=m1    | r-1 held at 1000: a@x 9
         configure a x per=4
         bought a m1          | 0 of Some(4)
         reserve a*4 by=m1    | r-2 held at 1000: a@x 4
         release 1            | r-1 released at 0: a@x 9
         bought a m1          | 4 of Some(4)
         configure a x per=4  | as it is: a@x 50/4
         bought a m1          | 4 of Some(4)
         configure a x per=6  | a@x 50/4
         bought a m1          | 0 of Some(6)
         commit 2             | r-2 committed at 0: a@x 4
         return 2 a*4         | 4 of r-2
         reserve a*6 by=m1    | r-3 held at 1000: a@x 6
         reserve a*1 by=m1    | no: purchase-limit
         configure a x per=none
         reserve a*9 by=m1    | r-4 held at 1000: a@x 9
         bought a m1          | 0 of None
         release 3            | r-3 released at 0: a@x 6
         configure a x per=0
         reserve a*1 by=m1    | no: purchase-limit
         release 4            | r-4 released at 0: a@x 9
         bought a m1          | 0 of Some(0)",
    );
}

#[test]
fn returns_go_back_where_they_came_from_and_never_above_what_was_committed() {
    check(
        "set a x 3
         set a y 3
         set b x 1
         reserve a*5 b*1      | r-1 held at 1000: a@x 3, a@y 2, b@x 1
         return 1 a*1         | no: return-too-much
         commit 1             | r-1 committed at 0: a@x 3, a@y 2, b@x 1
         return 1 c*1         | no: sku-not-found
         return 1 a@z*1       | no: location-not-found
         return 1 b@y*1       | no: location-not-found
         return 9 a*1         | no: reservation-not-found
         return 1 a*2 a@x*3   | 5 of r-1
         show a               | a@x 3/0, a@y 3/0
         return 1 a*1         | no: return-too-much
         return 1 b*1 b*1     | no: return-too-much
         return 1 b*1         | 1 of r-1
         reservation 1        | committed at 0 - - returned 6
         reserve a*1          | r-2 held at 1000: a@x 1
         release 2            | r-2 released at 0: a@x 1
         return 2 a*1         | no: reservation-released
         at 1
         reserve a*1 for=1    | r-3 held at 2: a@x 1
         at 2                 | r-3 expired
         return 3 a*1         | no: reservation-expired",
    );
}

/// Bug to guard against: giving back units that are owed, and never left, put goods on hand that are not there.
#[test]
fn giving_back_what_is_owed_makes_no_goods() {
    check(
        "set a x 1
         configure a x backorder=5
         reserve a*4          | r-1 held at 1000: a@x 1+3
         commit 1             | r-1 committed at 0: a@x 1+3
         show a               | a@x 0/0-3
         return 1 a*2         | 2 of r-1
         show a               | a@x 0/0-1
         receive a x 1        | a@x 0/0
         return 1 a*2         | 2 of r-1
         show a               | a@x 2/0",
    );
}

#[test]
fn imports_set_each_row_or_refuse_it() {
    check(
        "set a x 5
         set b x 5
         reserve b*2          | r-1 held at 1000: b@x 2
         import a@x*5         | as it is: changed 0 same 1 refused []
         import c@y*7 a@x*6 b@x*1 a@x*9 c@y*8 d@x*4000000001 b@y*1 | changed 3 same 0 refused [2, 3, 4, 5]
         show a               | a@x 6/0
         show b               | b@x 5/2, b@y 1/0
         show c               | c@y 7/0
         show d               |
         import b@x*1         | changed 0 same 0 refused [0]
         configure a x backorder=4
         reserve a*8          | r-2 held at 1000: a@x 6+2
         import a@x*7 b@x*5   | changed 1 same 1 refused []
         show a               | a@x 7/7+1
         at 100800000         | r-1 expired, r-2 expired
         restart",
    );
}

#[test]
fn ended_reservations_are_forgotten_after_a_day_and_a_bit() {
    check(
        "set a x 9
         reserve a*1          | r-1 held at 1000: a@x 1
         reserve a*2 for=604800000 | r-2 held at 604800000: a@x 2
         reserve a*1          | r-3 held at 1000: a@x 1
         commit 3             | r-3 committed at 0: a@x 1
         release 1            | r-1 released at 0: a@x 1
         at 100799999
         commit 3             | as it is: r-3 committed at 0: a@x 1
         at 100800000
         commit 3             | no: reservation-not-found
         return 3 a*1         | no: reservation-not-found
         reservation 3        | committed at 0 - - returned 0
         reserve a*1          | r-4 held at 100801000: a@x 1
         reservation 3        | gone
         reservation 1        | gone
         commit 1             | no: reservation-not-found
         commit 2             | r-2 committed at 100800000: a@x 2
         restart
         at 100801000         | r-4 expired
         reserve a*1          | r-5 held at 100802000: a@x 1",
    );
}

#[test]
fn many_forgotten_reservations_leave_no_pages() {
    let mut shop = Shop::new();
    run(&mut shop, "set a x 1000000");
    for round in 0..4 {
        for _ in 0..300 {
            run(&mut shop, "reserve a*1");
        }
        let now = Timestamp::from_millis((round + 1) * (limits::RESERVATION_KEPT_MILLIS + 2_000));
        shop.at(now);
    }
    assert_eq!(shop.stock.reservations_ever(), 1_200);
    assert_eq!(shop.stock.reservations_kept(), 300, "forgetting keeps pace");
    shop.check_replay();
}

#[test]
fn at_the_end_of_time_everything_expires_at_once() {
    let end = limits::TIMESTAMP_MILLIS_MAX;
    check(&format!(
        "set a x 5
         at {}
         reserve a*2          | r-1 held at {end}: a@x 2
         at {end}             | r-1 expired
         reserve a*1          | r-2 held at {end}: a@x 1
         commit 2             | no: reservation-expired
         reserve a*1          | r-3 held at {end}: a@x 1
         release 3            | r-3 expired at {end}: a@x 1
         release 3            | as it is: r-3 expired at {end}: a@x 1
         at {end}             | r-2 expired
         show a               | a@x 5/0",
        end - 3
    ));
}

#[test]
fn a_reservation_lasts_a_week_at_most_and_a_moment_at_least() {
    check(
        "set a x 5
         reserve a*1 for=18446744073709551615 | r-1 held at 604800000: a@x 1
         reserve a*1 for=0    | r-2 held at 1: a@x 1",
    );
}

#[test]
fn there_are_as_many_locations_and_parts_as_can_be_numbered_and_no_more() {
    let mut shop = Shop::new();
    for i in 0..limits::LOCATIONS_MAX {
        shop.ask(set("a", &format!("l{i}"), 1)).expect("there is room");
    }
    assert_eq!(run(&mut shop, "set a more 1"), "no: too-many-skus");
    assert_eq!(run(&mut shop, "import a@more*1 b@l0*1"), "changed 1 same 0 refused [0]");
    assert_eq!(run(&mut shop, "reserve a*257"), "no: out-of-stock [0]");
    assert!(run(&mut shop, "reserve a*256").starts_with("r-1 held"));
    assert_eq!(run(&mut shop, "reserve a*1"), "r-2 held at 1000: a@l256 1");
    shop.check_replay();
}

#[test]
fn lines_are_checked_at_the_door() {
    let line = |quantity| Line { sku: super::sku("a"), location: None, quantity };
    assert_eq!(Lines::new(vec![]), Err(InvalidLines::Count));
    assert_eq!(Lines::new(vec![line(1); 101]), Err(InvalidLines::Count));
    assert_eq!(Lines::new(vec![line(1), line(0)]), Err(InvalidLines::NoUnits(1)));
    assert!(Lines::new(vec![line(1); 100]).is_ok());
}

#[test]
fn the_refusals_stand_in_their_order_and_have_names() {
    for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(refusal.index(), index);
        assert!(Refusal::ALL[..index].iter().all(|other| other < &refusal && other.slug() != refusal.slug()));
        assert!(refusal.sentence().ends_with('.'));
    }
    let names = ["r-1", "r-18446744073709551615"];
    assert!(names.iter().all(|name| ReservationNo::parse(name).expect("valid").to_string() == *name));
    let wrong = ["r-", "r-0", "r-01", "r-+1", "17", "t-17", "r-18446744073709551616", "r-1 "];
    assert!(wrong.iter().all(|name| ReservationNo::parse(name).is_err()));
}
