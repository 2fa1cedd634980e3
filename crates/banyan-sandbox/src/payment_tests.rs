//! A payment's life as a table: what is asked, and what it is at afterwards.

use super::*;

fn created() -> Payment {
    Payment {
        no: 1,
        id: "pay_1_x".into(),
        shape: Shape::Own,
        order: "o-1".into(),
        amount: 100,
        currency: "KRW".into(),
        status: Status::RequiresCard,
        captured: 0,
        refunded: 0,
        open: false,
        card: None,
        failures: 0,
        challenged: false,
        title: String::new(),
        return_url: String::new(),
        fail_url: String::new(),
        created_at: 0,
        deadline: Some(10),
        cancels: Vec::new(),
    }
}

fn card() -> Card {
    Card { brand: "visa".into(), last4: "4242".into() }
}

/// Each word is a step; the answer is a refusal's slug, or the status with capturable and refundable.
fn story(steps: &str) -> String {
    let mut payment = created();
    let mut last = String::new();
    for step in steps.split_whitespace() {
        let (name, number) = step.split_once(':').unwrap_or((step, ""));
        let amount = number.trim_end_matches('!').parse().ok();
        let done = match name {
            "ok" => payment.card(CardStep::Accepted(card()), 99),
            "no" => payment.card(CardStep::Declined(card()), 99),
            "ask" => payment.card(CardStep::Challenged(card()), 99),
            "right" => payment.card(CardStep::Code { right: true }, 99),
            "wrong" => payment.card(CardStep::Code { right: false }, 99),
            "leave" => payment.card(CardStep::Leave, 99),
            "capture" => payment.act(Action::Capture { amount, last: number.ends_with('!') }),
            "void" => payment.act(Action::Void),
            "refund" => payment.act(Action::Refund { amount }),
            "expire" => Ok(payment.expire()),
            _ => panic!("no such step: {step}"),
        };
        last = done.map_or_else(|no| no.slug().to_owned(), |_| String::new());
        assert!(0 <= payment.refunded && payment.refunded <= payment.captured && payment.captured <= 100);
        assert_eq!(payment.deadline.is_some(), payment.open || payment.status == Status::RequiresCard);
    }
    if last.is_empty() {
        last = format!("{} {} {}", payment.status.name(), payment.capturable(), payment.refundable());
    }
    last
}

#[test]
fn a_payment_goes_only_where_it_may() {
    let table = "
        ok                                   | authorized 100 0
        no ok                                | authorized 100 0
        no no no                             | declined 0 0
        no no no ok                          | not-waiting-for-card
        ask                                  | requires_card 0 0
        ask right                            | authorized 100 0
        ask wrong right                      | authorized 100 0
        ask wrong wrong wrong                | declined 0 0
        right                                | not-waiting-for-card
        leave                                | voided 0 0
        no leave                             | declined 0 0
        capture                              | not-capturable
        ok ok                                | not-waiting-for-card
        ok capture                           | captured 0 100
        ok capture:30                        | partly_captured 70 30
        ok capture:30!                       | captured 0 30
        ok capture:30 capture:70             | captured 0 100
        ok capture:30 capture:71             | capture-exceeds
        ok capture:0                         | amount-not-positive
        ok capture:-5                        | amount-not-positive
        ok capture capture                   | not-capturable
        ok void                              | voided 0 0
        ok void void                         | not-voidable
        ok void capture                      | not-capturable
        ok capture:30 void                   | captured 0 30
        ok capture void                      | not-voidable
        ok refund                            | not-refundable
        ok capture refund:40                 | partly_refunded 0 60
        ok capture refund:40 refund          | refunded 0 0
        ok capture refund:101                | refund-exceeds
        ok capture refund refund             | refund-exceeds
        ok capture refund:0                  | amount-not-positive
        ok capture:30 refund:30              | partly_refunded 70 0
        ok capture:30 refund:30 capture:70   | partly_refunded 0 70
        expire                               | expired 0 0
        ok expire                            | expired 0 0
        ok expire capture                    | not-capturable
        ok capture:30 expire                 | captured 0 30
        void                                 | voided 0 0";
    for line in table.lines().filter(|line| !line.trim().is_empty()) {
        let (steps, expected) = line.split_once('|').expect("a line has two sides");
        assert_eq!(story(steps), expected.trim(), "{steps}");
    }
}

#[test]
fn names_and_numbers_of_a_status_lead_back_to_it() {
    for (number, status) in (0..).zip(Status::ALL) {
        assert_eq!(Status::from_number(number), Some(status));
        assert_eq!(Status::from_name(status.name()), Some(status));
        assert_eq!(status as i64, number);
    }
    assert_eq!((Status::from_number(9), Status::from_number(-1)), (None, None));
}
