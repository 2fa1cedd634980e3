//! A large snapshot: read back as the state it was made of, however the work is shared out, and refused with any change.

mod common;

use banyan_domain::{Both, InTurn, KeyStamp, SnapshotError, State};
use common::{Numbers, Shop, create, definition, issue};
use std::sync::OnceLock;

/// More than share one run of ids, so that every pass is cut in pieces.
const MEMBERS: u64 = 150_000;

/// Does the second piece first: whoever lends two threads promises no order.
struct LaterFirst;

impl Both for LaterFirst {
    fn both<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        let b = b();
        (a(), b)
    }
}

/// A shop with one large campaign, some of whose members have two coupons, a small one, and keys; and its snapshot.
fn large() -> &'static (State, Vec<u8>) {
    static LARGE: OnceLock<(State, Vec<u8>)> = OnceLock::new();
    LARGE.get_or_init(|| {
        let mut shop = Shop::new();
        shop.at_millis(1_000);
        let mut large = definition("large");
        large.per_member = 2;
        shop.ask(create(large), None).expect("created");
        shop.ask(create(definition("small")), None).expect("created");
        for i in 0..MEMBERS {
            let key = (i % 100 == 0)
                .then(|| KeyStamp::new(shop.state.keys(), "test", &format!("key {i}"), b"request"));
            shop.ask(issue("large", &format!("m{i:06}")), key).expect("issued");
            if i % 10 == 0 {
                shop.at_millis(1_000 + i);
                shop.ask(issue("large", &format!("m{:06}", i / 2)), None).expect("issued");
                shop.ask(issue("small", &format!("m{i:06}")), None).expect("issued");
            }
        }
        let bytes = shop.state.to_snapshot();
        (shop.state, bytes)
    })
}

#[test]
fn it_is_the_same_state_however_the_work_is_shared_out() {
    let (state, bytes) = large();
    let in_turn = State::from_snapshot(bytes).expect("it was written");
    let later_first = State::from_snapshot_by(bytes, &LaterFirst).expect("it was written");
    for restored in [in_turn, later_first] {
        assert_eq!(restored.digest(), state.digest());
        assert!(restored.to_snapshot() == *bytes, "it gives other bytes");
        restored.check_invariants().expect("it is whole");
        assert_eq!(restored.next_deadline(), state.next_deadline());
        // What comes next is answered and changes the state as it would have without the snapshot.
        let mut shops = [state.clone(), restored].map(|state| {
            let mut shop = Shop::new();
            shop.state = state;
            shop
        });
        let mut numbers = Numbers(1);
        for _ in 0..2_000 {
            let member = format!("m{:06}", numbers.below(MEMBERS + MEMBERS / 2));
            let key = format!("key {}", numbers.below(MEMBERS));
            let campaign = if numbers.below(5) == 0 { "small" } else { "large" };
            let [live, again] = shops.each_mut().map(|shop| {
                let key = KeyStamp::new(shop.state.keys(), "test", &key, b"request");
                shop.ask(issue(campaign, &member), Some(key)).map(|answer| format!("{answer:?}"))
            });
            assert_eq!(live, again);
        }
        let [live, again] = shops;
        assert_eq!(live.state.digest(), again.state.digest());
        again.state.check_invariants().expect("it stayed whole");
    }
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let (_, bytes) = large();
    let mut numbers = Numbers(2);
    for _ in 0..20 {
        let at = numbers.below(bytes.len() as u64) as usize;
        let mut changed = bytes.clone();
        changed[at] ^= 1 << numbers.below(8);
        let refused = State::from_snapshot_by(&changed, &InTurn).err();
        assert!(refused.is_some(), "byte {at}");
        assert_eq!(refused, State::from_snapshot_by(&changed, &LaterFirst).err(), "byte {at}");
    }
}

#[test]
fn a_member_that_stands_twice_is_refused() {
    let (_, bytes) = large();
    let (member, other) = (*b"\x07m000007", *b"\x07m149999");
    let at = bytes.windows(8).position(|bytes| bytes == other).expect("the member is there");
    let mut changed = bytes.clone();
    changed[at..at + 8].copy_from_slice(&member);
    for refused in [State::from_snapshot(&changed), State::from_snapshot_by(&changed, &LaterFirst)] {
        assert_eq!(refused.err(), Some(SnapshotError::Malformed("a member stands twice")));
    }
}

/// Two coupons that change places keep every count and every index as it was: only the digest sees it.
#[test]
fn coupons_that_changed_places_are_refused() {
    let (state, bytes) = large();
    let id = banyan_domain::CampaignId::new("large").expect("a valid id");
    let campaign = state.coupons().campaign(&id).expect("it is there");
    let wanted: Vec<u8> = campaign.rows().take(1).flat_map(|(_, row)| row.seq.to_le_bytes()).collect();
    let rows = bytes.windows(8).position(|bytes| bytes == wanted).expect("the first coupon is there") - 8;
    let mut changed = bytes.clone();
    let (first, second) = changed[rows..rows + 54].split_at_mut(27);
    first.swap_with_slice(second);
    assert_eq!(State::from_snapshot(&changed).err(), Some(SnapshotError::Digest));
}
