//! Shares, buckets, keys, overrides and ramps.

use super::*;
use proptest::prelude::*;

const SECRET: [u8; 16] = *b"a gateway's key.";

fn share(percent: f64) -> Share {
    Share::from_percent(percent).expect("a share")
}

fn canary(percent: f64, by: &str, missing: KeyMissing) -> Canary {
    Canary {
        route: "shop".into(),
        salt: "shop".into(),
        by: KeyBy::parse(by).expect("a key"),
        missing,
        ramp: Ramp::new(share(percent), Vec::new()).expect("a ramp"),
        sticky: Sticky::default(),
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().expect("a value"));
    }
    map
}

#[track_caller]
fn choose(canary: &Canary, sent: &HeaderMap) -> Decision {
    canary
        .choose(&SECRET, sent, Some("192.0.2.1".parse().expect("an address")), 1_000, false, || Some([7; 16]))
}

#[test]
fn shares_are_steps_of_a_hundredth_of_a_percent() {
    for percent in [0.0, 0.01, 1.0, 33.33, 99.99, 100.0] {
        assert!((share(percent).percent() - percent).abs() < 1e-9);
    }
    for percent in [-0.01, 0.005, 100.01, f64::NAN, f64::INFINITY] {
        assert!(Share::from_percent(percent).is_err(), "{percent}");
    }
}

/// Fixed for ever: another gateway, or the next version, must put the same people on the same side.
#[test]
fn buckets_never_change() {
    let buckets = ["m-1", "m-2", "m-3", ""].map(|key| bucket(&SECRET, "shop", key.as_bytes()));
    assert_eq!(buckets, BUCKETS_GOLDEN);
    assert_ne!(bucket(&SECRET, "a", b"bc"), bucket(&SECRET, "ab", b"c"));
}
const BUCKETS_GOLDEN: [u16; 4] = [390, 9756, 3678, 9036];

/// Chi-square over 100 groups of 100 buckets with 100,000 members: 99 degrees of freedom, so more than 160 has a
/// probability below 1 in 10,000. The keys are fixed: this passes always or never.
#[test]
fn members_spread_evenly_and_differently_per_route() {
    let mut groups = [0_u32; 100];
    let mut both = 0;
    for member in 0..100_000_u32 {
        let key = format!("m-{member}");
        let here = bucket(&SECRET, "shop", key.as_bytes());
        groups[usize::from(here / 100)] += 1;
        both += u32::from(here < 1_000 && bucket(&SECRET, "cart", key.as_bytes()) < 1_000);
    }
    let chi: f64 = groups.iter().map(|count| (f64::from(*count) - 1_000.0).powi(2) / 1_000.0).sum();
    assert!(chi < 160.0, "{chi}");
    // Two routes at 10 %: 1 % is in both if the salts work, 10 % if they do not.
    assert!((850..1_150).contains(&both), "{both}");
}

#[test]
fn keys_are_found() {
    let token = format!("Bearer x.{}.y", URL_SAFE_NO_PAD.encode(r#"{"exp":1,"sub":"m-1"}"#));
    let sent = headers(&[("authorization", &token), ("cookie", "a=1; cart=c-9"), ("x-shop", "h")]);
    let key = |by: &str| KeyBy::parse(by).expect("a key").of(&sent);
    assert_eq!(key("member").as_deref(), Some(&b"m-1"[..]));
    assert_eq!(key("cookie:cart").as_deref(), Some(&b"c-9"[..]));
    assert_eq!(key("header:x-shop").as_deref(), Some(&b"h"[..]));
    assert_eq!(key("cookie:other"), None);
    for by in ["", "cookie:", "cookie", "header:a b", "dice"] {
        assert!(KeyBy::parse(by).is_err(), "{by}");
    }
}

#[test]
fn a_visitor_without_a_key_is_named_and_stays() {
    let canary = canary(50.0, "cookie:cart", KeyMissing::Cookie);
    let first = choose(&canary, &HeaderMap::new());
    let cookie = first.set_cookie.expect("a cookie");
    let sent = headers(&[("cookie", cookie.split(';').next().expect("a pair"))]);
    let again = choose(&canary, &sent);
    assert_eq!((again.side, again.set_cookie), (first.side, None));
    // Somebody's invention is no name, or a page of ours could be asked to hash megabytes.
    assert!(choose(&canary, &headers(&[("cookie", "banyan_visitor=x")])).set_cookie.is_some());
    let nobody = self::canary(0.0, "cookie:cart", KeyMissing::Cookie);
    assert_eq!(choose(&nobody, &HeaderMap::new()).set_cookie, None);
    let plain = self::canary(100.0, "cookie:cart", KeyMissing::Legacy);
    assert_eq!(choose(&plain, &HeaderMap::new()).side, Side::Legacy);
    assert_eq!(choose(&plain, &headers(&[("cookie", "cart=1")])).side, Side::Banyan);
}

#[test]
fn a_cookie_that_is_no_plain_text_hides_none_beside_it() {
    let canary = canary(50.0, "cookie:cart", KeyMissing::Cookie);
    for lines in [
        vec![&b"city=M\xc3\xbcnchen; cart=c-9; a=1"[..]],
        vec![b"cart=c-9; city=M\xfcnchen"],
        vec![b"city=M\xc3\xbcnchen", b"cart=c-9"],
    ] {
        let mut sent = HeaderMap::new();
        for line in lines {
            sent.append(COOKIE, http::HeaderValue::from_bytes(line).expect("a value"));
        }
        assert_eq!(KeyBy::Cookie("cart".into()).of(&sent).as_deref(), Some(&b"c-9"[..]));
        let mut random = 0;
        for _ in 0..20 {
            let fresh = || {
                random += 1;
                Some([random; 16])
            };
            let decision = canary.choose(&SECRET, &sent, None, 1_000, false, fresh);
            assert_eq!((decision.why, decision.set_cookie), (Why::Share, None));
        }
    }
    // A visitor who was named by us, with such a cookie of the page: one side, and no new name each time.
    let given = choose(&canary, &HeaderMap::new()).set_cookie.expect("a name");
    let own = format!("{}; city=M", given.split(';').next().expect("a pair"));
    let own = [own.as_bytes(), b"\xfcnchen"].concat();
    let mut sent = HeaderMap::new();
    sent.append(COOKIE, http::HeaderValue::from_bytes(&own).expect("a value"));
    assert_eq!(choose(&canary, &sent).set_cookie, None);
}

#[test]
fn an_override_needs_a_signature_or_a_listed_peer() {
    let mut canary = canary(0.0, "cookie:cart", KeyMissing::Legacy);
    let sent = headers(&[("banyan-side", "banyan")]);
    canary.sticky.header = Some(HeaderName::from_static("banyan-side"));
    assert_eq!(choose(&canary, &sent).side, Side::Legacy);
    canary.sticky.from = vec![Network::parse("192.0.2.0/24").expect("a network")];
    assert_eq!(choose(&canary, &sent).why, Why::Override);
    canary.sticky.from.clear();

    let key = [9; 32];
    canary.sticky.key = Some(key);
    let good = signed_override(&key, "shop", Side::Banyan, 2_000);
    let ask = |text: &str| choose(&canary, &headers(&[("banyan-side", text)])).side;
    assert_eq!(ask(&good), Side::Banyan);
    for bad in [
        signed_override(&key, "other", Side::Banyan, 2_000),
        signed_override(&key, "shop", Side::Banyan, 1_000),
        signed_override(&[8; 32], "shop", Side::Banyan, 2_000),
        good.replace("2000", "9000"),
        good.replace("banyan", "legacy").replace("legacy.2000", "banyan.2001"),
        "banyan".into(),
        "banyan.2000.".into(),
    ] {
        assert_eq!(ask(&bad), Side::Legacy, "{bad}");
    }
    canary.sticky.header = None;
    canary.sticky.cookie = Some("side".into());
    assert_eq!(choose(&canary, &headers(&[("cookie", &format!("side={good}"))])).side, Side::Banyan);
}

#[test]
fn a_ramp_is_a_function_of_time() {
    let step = |at, percent| RampStep { at, share: share(percent) };
    let ramp = Ramp::new(share(1.0), vec![step(100, 5.0), step(200, 50.0)]).expect("a ramp");
    let shares = [0, 99, 100, 199, 200, 9_999].map(|now| ramp.share(now).percent());
    assert_eq!(shares, [1.0, 1.0, 5.0, 5.0, 50.0, 50.0]);
    assert_eq!(ramp.next(100), Some(step(200, 50.0)));
    let paused = ramp.clone().paused(Some(150));
    assert_eq!([100, 150, 9_999].map(|now| paused.share(now).percent()), [5.0, 5.0, 5.0]);
    assert_eq!(paused.next(0), None);
    assert_eq!(paused.paused(None).share(9_999).percent(), 50.0);
    assert!(Ramp::new(share(1.0), vec![step(200, 5.0), step(100, 5.0)]).is_err());
}

proptest! {
    /// Raising the share moves people over, and nobody back.
    #[test]
    fn raising_the_share_moves_nobody_back(member in "[a-z0-9]{1,20}", one in 0_u16..=10_000, other in 0_u16..=10_000) {
        let (low, high) = (Share(one.min(other)), Share(one.max(other)));
        let sent = headers(&[("x-member", &member)]);
        let side = |share| {
            let mut canary = canary(0.0, "header:x-member", KeyMissing::Legacy);
            canary.ramp = Ramp::new(share, Vec::new()).expect("a ramp");
            choose(&canary, &sent).side
        };
        prop_assert!(side(low) == Side::Legacy || side(high) == Side::Banyan);
        prop_assert_eq!(side(low), side(low));
        prop_assert_eq!(side(Share::ALL), Side::Banyan);
        prop_assert_eq!(side(Share::NONE), Side::Legacy);
    }
}

#[test]
fn a_visitor_cannot_make_up_a_name_to_choose_a_side() {
    let canary = canary(50.0, "cookie:cart", KeyMissing::Cookie);
    let given = choose(&canary, &HeaderMap::new()).set_cookie.expect("a name");
    let given = given.split(';').next().expect("a pair");
    let (name, mark) = given.split_once('.').expect("a mark");
    assert_eq!(choose(&canary, &headers(&[("cookie", given)])).set_cookie, None, "its own is known again");
    let other = format!("{OWN_COOKIE}={}", "ab".repeat(16));
    for made_up in
        [other.clone(), format!("{other}.{mark}"), format!("{name}.{}", "0".repeat(32)), name.to_owned()]
    {
        let decision = choose(&canary, &headers(&[("cookie", &made_up)]));
        let set = decision.set_cookie.expect("another name is given");
        assert!(set.starts_with(given), "and that one counts: {made_up} {set}");
    }
}

#[test]
fn the_scheme_of_a_token_is_written_as_one_likes() {
    let payload = URL_SAFE_NO_PAD.encode(br#"{"sub":"m-7"}"#);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let sent = headers(&[("authorization", &format!("{scheme} h.{payload}.s"))]);
        assert_eq!(KeyBy::Member.of(&sent).as_deref(), Some(&b"m-7"[..]), "{scheme}");
    }
}
