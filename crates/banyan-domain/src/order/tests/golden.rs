//! The stored bytes: what each event looks like for ever, and that a damaged snapshot is refused.

use super::{by, krw, line, no, orders, paid, part, placed, product, reason, refund, snapshot};
use crate::golden::check;
use crate::order::{Event, Orders, Outcome, Product, Terms};
use crate::{CampaignNo, CouponId, Money};
use expect_test::expect;

fn set() -> Event {
    let price = Money { minor: 12_900, currency: krw() };
    let parts = vec![part("a", 1), part("b", 2)];
    let product = Product { id: product("set"), price, vat_basis_points: 1_000, parts, on_sale: true };
    Event::ProductsSet { products: vec![product], by: by() }
}

fn terms() -> Event {
    let (shipping_fee, free_shipping_from) = (3_000, Some(50_000));
    let terms = Terms { currency: krw(), shipping_fee, free_shipping_from, vat_basis_points: 1_000 };
    Event::TermsSet { terms, by: by() }
}

#[test]
fn events() {
    check(set(), expect!["82008281856373657482193264434b52571903e8828261610182616202f5636f7073"]);
    check(terms(), expect!["82018284434b5257190bb819c3501903e8636f7073"]);
    let with_coupon = match placed(1, vec![line("a", 2, 100, 10, 5)], 30, 3) {
        Event::Placed {
            order,
            member,
            lines,
            currency,
            shipping,
            shipping_points,
            shipping_vat,
            saga,
            ..
        } => {
            let coupon = Some(CouponId::new(CampaignNo::new(1), 2));
            Event::Placed {
                order,
                member,
                lines,
                currency,
                shipping,
                shipping_points,
                shipping_vat,
                coupon,
                saga,
            }
        }
        other => other,
    };
    check(
        with_coupon,
        expect!["82028901626d31818761610218640a05008182616101434b5257181e03001b000001000000000201"],
    );
    check(paid(1, true, true), expect!["820385016170010201"]);
    check(Event::Failed { order: no(1), why: "declined".into() }, expect!["82048201686465636c696e6564"]);
    check(
        Event::CancelRequested { order: no(1), by: by(), reason: reason() },
        expect!["82058301636f707363776879"],
    );
    check(refund(1, 1, &[(0, 1)], 90, 5), expect!["8206890101f481820001185a05636f70736377687909"]);
    check(Event::RefundDone { order: no(1), refund: 1 }, expect!["8207820101"]);
    check(Event::RefundRefused { order: no(1), refund: 1, why: "no".into() }, expect!["8208830101626e6f"]);
    check(Outcome::Order { order: no(1) }, expect!["82028101"]);
}

#[test]
fn a_snapshot_is_read_back_and_a_damaged_one_is_not() {
    let written = orders(&[
        terms(),
        set(),
        placed(1, vec![line("a", 2, 100, 10, 5)], 30, 3),
        paid(1, true, true),
        refund(1, 1, &[(0, 1)], 90, 5),
        placed(2, vec![line("a", 1, 100, 0, 0)], 0, 0),
        Event::Failed { order: no(2), why: "declined".into() },
    ]);
    let bytes = snapshot(&written);
    let mut input = bytes.as_slice();
    let read = Orders::read_snapshot(&mut input).expect("it was written");
    assert!(input.is_empty());
    read.check_invariants().expect("it is as it was");
    assert_eq!((read.digest(), snapshot(&read)), (written.digest(), bytes.clone()));
    for cut in 0..bytes.len() {
        assert!(Orders::read_snapshot(&mut &bytes[..cut]).is_err(), "cut to {cut} bytes");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        // Refused, or another digest: the whole snapshot is refused then.
        if let Ok(read) = Orders::read_snapshot(&mut damaged.as_slice()) {
            assert_ne!(read.digest(), written.digest(), "byte {at}");
        }
    }
}
