//! One visit to the shop: what a person asks for next, decided from the answer before. Pure: no clock, no connection.
//!
//! Everything that looks like chance is drawn from the seed and the visit's number, so that the order in which answers
//! come cannot change who does what.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use super::answer::{Accepted, OrderSaid, Outcome, Said};
use crate::random::Random;
use crate::scenario::ShopPlan;

/// Wait before an order is looked at for the first time; it doubles up to [`LOOK_LONGEST`].
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_LONGEST: Duration = Duration::from_secs(2);
/// Of ten products, one is a bundle.
pub(crate) const BUNDLE_EVERY: u32 = 10;
/// Different products in a cart at most.
const LINES_MAX: u64 = 3;

/// A visit, at one of its steps.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) step: Step,
    /// Products by number, and how many of each.
    pub(crate) lines: Vec<(u32, u32)>,
    pub(crate) will: Will,
    pub(crate) coupon: Option<Box<str>>,
    /// Points to pay with.
    pub(crate) points: u32,
    /// What the quote said is to pay in money.
    pub(crate) total: i64,
    pub(crate) order: Option<Box<str>>,
    /// How many different requests to place an order this is, from 1: it is part of the idempotency key.
    pub(crate) nth: u8,
    /// Whether this is the second click of a double click: it is checked, and leads to nothing.
    pub(crate) is_echo: bool,
    /// What the first answer to this order's key named.
    named: Rc<RefCell<Option<Box<str>>>>,
    /// What the visitor waits to see.
    awaits: Awaited,
    looked: Duration,
    look_next: Duration,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Browse,
    Claim,
    Quote,
    Place,
    Look,
    Cancel,
    Return,
}

/// What a look is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Paid,
    Cancelled,
    Refunded,
}

/// What the visitor will do, drawn once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) claims: bool,
    pub(crate) gives_up: bool,
    pub(crate) declined: bool,
    pub(crate) leaves_at_page: bool,
    pub(crate) double_clicks: bool,
    pub(crate) orders_again: bool,
    pub(crate) cancels: bool,
    pub(crate) returns: bool,
}

/// What is counted of visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    Visited,
    Claimed,
    Quoted,
    TurnedAway,
    GaveUp,
    Placed,
    Repeated,
    /// Two answers under one key named two orders. Never.
    TwoOrders,
    Paid,
    Failed,
    Cancelled,
    Refunded,
    LostPatience,
}

/// What follows from an answer.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    pub(crate) marks: Vec<Mark>,
    /// The next steps, each after a wait.
    pub(crate) next: Vec<(Duration, Visit)>,
}

impl Visit {
    /// The visit numbered `number`.
    pub(crate) fn new(plan: &ShopPlan, seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed ^ number.rotate_left(17), 0x5649_5349);
        let is_hot = random.unit() < plan.hot;
        let count = 1 + random.below(LINES_MAX);
        let mut lines: Vec<(u32, u32)> = Vec::new();
        for n in 0..count {
            let product = if n == 0 && is_hot { 0 } else { random.below(u64::from(plan.products)) as u32 };
            // The same product again is a second line of it: shops are attacked that way.
            lines.push((product, 1 + random.below(2) as u32));
        }
        let mut will = |share: f64| random.unit() < share;
        let uses_points = will(plan.uses_points);
        let will = Will {
            claims: will(plan.claims),
            gives_up: will(plan.gives_up),
            declined: will(plan.declined),
            leaves_at_page: will(plan.leaves_at_page),
            double_clicks: will(plan.double_clicks),
            orders_again: will(plan.orders_again),
            cancels: will(plan.cancels),
            returns: will(plan.returns),
        };
        Self {
            step: Step::Browse,
            lines,
            will,
            coupon: None,
            points: if uses_points { plan.points_each.min(500) } else { 0 },
            total: 0,
            order: None,
            nth: 1,
            is_echo: false,
            named: Rc::default(),
            awaits: Awaited::Paid,
            looked: Duration::ZERO,
            look_next: LOOK_FIRST,
        }
    }

    /// The token of the payment method.
    pub(crate) fn method(&self) -> &'static str {
        match self.will {
            Will { declined: true, .. } => "tok_declined",
            Will { leaves_at_page: true, .. } => "page",
            _ => "tok_ok",
        }
    }

    /// The cart, as the body of a quote; of a placed order, with how it is paid and what it must cost.
    pub(crate) fn body(&self, member: &str) -> String {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|(product, quantity)| serde_json::json!({"product": product_id(*product), "quantity": quantity}))
            .collect();
        let mut body = serde_json::json!({"member": member, "lines": lines});
        if let Some(code) = &self.coupon {
            body["coupon"] = code.as_ref().into();
        }
        if self.points > 0 {
            body["points"] = self.points.into();
        }
        if self.step == Step::Place {
            body["expect_total"] = self.total.into();
            if self.total > 0 {
                body["method"] = self.method().into();
            }
        }
        body.to_string()
    }

    /// What follows from how this step ended.
    pub(crate) fn follow(&self, outcome: &Outcome, plan: &ShopPlan) -> Follow {
        let mut follow = Follow::default();
        if self.is_echo {
            if let Outcome::Accepted(accepted) = outcome {
                follow.marks.push(self.name(accepted, Mark::Repeated));
            }
            return follow;
        }
        match (self.step, outcome) {
            (Step::Browse, Outcome::Accepted(_)) => {
                let step = if self.will.claims { Step::Claim } else { Step::Quote };
                follow.next.push((plan.think, Self { step, ..self.clone() }));
            }
            (Step::Claim, Outcome::Accepted(accepted)) => {
                follow.marks.push(Mark::Claimed);
                let coupon = match &accepted.said {
                    Said::Coupon { code, .. } => Some(code.clone()),
                    _ => None,
                };
                follow.next.push((plan.think, Self { step: Step::Quote, coupon, ..self.clone() }));
            }
            // Too late for a coupon: people buy all the same.
            (Step::Claim, Outcome::Refused { fault: false, .. }) => {
                follow.next.push((plan.think, Self { step: Step::Quote, ..self.clone() }));
            }
            (Step::Quote, Outcome::Accepted(accepted)) => self.after_quote(accepted, plan, &mut follow),
            // With what the shop does not take they try without, once.
            (Step::Quote | Step::Place, Outcome::Refused { fault: false, .. })
                if self.coupon.is_some() || self.points > 0 =>
            {
                let plain = Self { step: Step::Quote, coupon: None, points: 0, ..self.clone() };
                follow.next.push((plan.think, plain.renamed()));
            }
            (Step::Quote | Step::Place, Outcome::Refused { .. }) => follow.marks.push(Mark::TurnedAway),
            (Step::Place, Outcome::Accepted(accepted)) => {
                follow.marks.push(self.name(accepted, Mark::Placed));
                let Said::Order(said) = &accepted.said else { return follow };
                let placed = Self { order: Some(said.order.clone()), ..self.clone() };
                placed.see(said, plan, &mut follow);
            }
            (Step::Look | Step::Cancel | Step::Return, Outcome::Accepted(accepted)) => {
                let Said::Order(said) = &accepted.said else { return follow };
                self.see(said, plan, &mut follow);
            }
            // It is being settled, or paid for at this moment: the visitor tries again.
            (Step::Cancel | Step::Return, Outcome::Refused { fault: false, .. })
                if self.looked < plan.patience =>
            {
                let wait = self.look_next.max(Duration::from_secs(1));
                follow.next.push((wait, Self { looked: self.looked + wait, ..self.clone() }));
            }
            _ => {}
        }
        follow
    }

    fn after_quote(&self, accepted: &Accepted, plan: &ShopPlan, follow: &mut Follow) {
        follow.marks.push(Mark::Quoted);
        if self.will.gives_up {
            follow.marks.push(Mark::GaveUp);
            return;
        }
        let Said::Quote { total } = accepted.said else { return };
        let place = Self { step: Step::Place, total, ..self.clone() };
        if self.will.double_clicks {
            follow.next.push((plan.think, Self { is_echo: true, ..place.clone() }));
        }
        follow.next.push((plan.think, place));
    }

    /// The visitor sees the order as it is now.
    fn see(&self, said: &OrderSaid, plan: &ShopPlan, follow: &mut Follow) {
        let found = match (self.awaits, &*said.state) {
            (Awaited::Paid, "failed") => Some(Mark::Failed),
            (Awaited::Paid, "paid") => Some(Mark::Paid),
            (_, "cancelled") => Some(Mark::Cancelled),
            (Awaited::Refunded, _) if said.refunds_done > 0 => Some(Mark::Refunded),
            _ => None,
        };
        if found.is_none() && said.waits_at_page && self.awaits == Awaited::Paid {
            let cancel = Self { step: Step::Cancel, awaits: Awaited::Cancelled, ..self.clone() };
            follow.next.push((plan.think, cancel.patient()));
            return;
        }
        let Some(mark) = found else {
            let looked = self.looked + self.look_next;
            if looked > plan.patience {
                follow.marks.push(Mark::LostPatience);
                return;
            }
            let look_next = (self.look_next * 2).min(LOOK_LONGEST);
            follow.next.push((self.look_next, Self { step: Step::Look, looked, look_next, ..self.clone() }));
            return;
        };
        follow.marks.push(mark);
        if mark != Mark::Paid {
            return;
        }
        if self.will.orders_again {
            // Coupon and points went with the first order.
            let will = Will { orders_again: false, ..self.will };
            let again =
                Self { step: Step::Quote, will, coupon: None, points: 0, order: None, ..self.clone() };
            follow.next.push((plan.think, again.renamed().patient()));
        }
        if self.will.cancels {
            let cancel = Self { step: Step::Cancel, awaits: Awaited::Cancelled, ..self.clone() };
            follow.next.push((plan.think, cancel.patient()));
        } else if self.will.returns {
            let back = Self { step: Step::Return, awaits: Awaited::Refunded, ..self.clone() };
            follow.next.push((plan.think, back.patient()));
        }
    }

    /// The first answer under a key names its order; every later one must name the same.
    fn name(&self, accepted: &Accepted, mark: Mark) -> Mark {
        let Said::Order(said) = &accepted.said else { return mark };
        let mut named = self.named.borrow_mut();
        match &*named {
            Some(order) if *order != said.order => Mark::TwoOrders,
            Some(_) => mark,
            None => {
                *named = Some(said.order.clone());
                mark
            }
        }
    }

    /// Another request of the same visit that is no repeat of the last one: another key.
    fn renamed(self) -> Self {
        Self { named: Rc::default(), nth: self.nth + 1, ..self }
    }

    fn patient(self) -> Self {
        Self { looked: Duration::ZERO, look_next: LOOK_FIRST, ..self }
    }
}

/// The id of a product that a rehearsal makes.
pub(crate) fn product_id(number: u32) -> String {
    let mut id = String::with_capacity(16);
    write!(id, "rehearsal-{number}").expect("writing to a string cannot fail");
    id
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::{Load, Scenario};

    fn plan(shares: &str) -> ShopPlan {
        let text = format!(
            "phases = [{{ name = \"a\", for = \"1s\", rate = 1 }}]\nmembers = {{ count = 1 }}\naim = [{{ campaign = \"noon\" }}]\n\
             [shop]\nproducts = 20\nstock = 5\nthink = \"1s\"\npatience = \"3s\"\n{shares}"
        );
        let scenario = Scenario::parse(&text, Path::new("."), "test").expect("valid");
        let Load::Schedule(load) = scenario.load else { panic!("a schedule") };
        load.shop.expect("it has one")
    }

    fn accepted(said: Said) -> Outcome {
        Outcome::Accepted(Accepted { status: 200, seq: 1, said })
    }

    fn order(state: &str) -> OrderSaid {
        let (waits_at_page, refunds_done, refund) = (false, 0, None);
        OrderSaid { order: "o-1".into(), state: state.into(), total: 9, waits_at_page, refunds_done, refund }
    }

    /// Follows a visit by what it is answered; the steps it takes, and what is counted.
    fn follow(plan: &ShopPlan, answers: Vec<Outcome>) -> (Vec<Step>, Vec<Mark>) {
        let mut visit = Visit::new(plan, 7, 3);
        let (mut steps, mut marks) = (vec![visit.step], Vec::new());
        for answer in answers {
            let follow = visit.follow(&answer, plan);
            marks.extend(follow.marks);
            let Some((_, next)) = follow.next.into_iter().rfind(|(_, next)| !next.is_echo) else { break };
            steps.push(next.step);
            visit = next;
        }
        (steps, marks)
    }

    #[test]
    fn a_visitor_buys_and_sends_back() {
        let plan = plan("claims = 1.0\nreturns = 1.0\n");
        let coupon = Said::Coupon { coupon: "noon-1".into(), code: "AB".into() };
        let back = OrderSaid { refunds_done: 1, ..order("paid") };
        let answers = vec![Said::Nothing, coupon, Said::Quote { total: 9 }, Said::Order(order("placed"))];
        let rest = vec![Said::Order(order("paid")), Said::Order(order("paid")), Said::Order(back)];
        let (steps, marks) = follow(&plan, answers.into_iter().chain(rest).map(accepted).collect());
        let expected =
            [Step::Browse, Step::Claim, Step::Quote, Step::Place, Step::Look, Step::Return, Step::Look];
        assert_eq!(steps, expected);
        assert_eq!(marks, [Mark::Claimed, Mark::Quoted, Mark::Placed, Mark::Paid, Mark::Refunded]);
    }

    #[test]
    fn who_is_sent_to_the_page_and_stays_away_cancels() {
        let plan = plan("leaves_at_page = 1.0\n");
        let page = OrderSaid { waits_at_page: true, ..order("placed") };
        let answers =
            [Said::Nothing, Said::Quote { total: 9 }, Said::Order(order("placed")), Said::Order(page)];
        let mut answers: Vec<_> = answers.into_iter().map(accepted).collect();
        // It is settling: the visitor tries again.
        answers.push(Outcome::Refused { kind: "order-settling".into(), fault: false });
        answers.push(accepted(Said::Order(order("cancelled"))));
        let (steps, marks) = follow(&plan, answers);
        let expected = [Step::Browse, Step::Quote, Step::Place, Step::Look, Step::Cancel, Step::Cancel];
        assert_eq!(steps, expected);
        assert_eq!(marks, [Mark::Quoted, Mark::Placed, Mark::Cancelled]);
    }

    #[test]
    fn a_double_click_is_two_requests_under_one_key_and_one_order() {
        let plan = plan("double_clicks = 1.0\n");
        let visit = Visit { step: Step::Quote, ..Visit::new(&plan, 7, 3) };
        let follow = visit.follow(&accepted(Said::Quote { total: 9 }), &plan);
        let clicks: Vec<_> = follow.next.into_iter().map(|(_, click)| click).collect();
        assert_eq!(
            clicks.iter().map(|click| (click.is_echo, click.nth)).collect::<Vec<_>>(),
            [(true, 1), (false, 1)]
        );
        assert_eq!(clicks[0].body("m"), clicks[1].body("m"));
        let marks = |click: &Visit, said: OrderSaid| click.follow(&accepted(Said::Order(said)), &plan).marks;
        assert_eq!(marks(&clicks[1], order("placed")), [Mark::Placed]);
        assert_eq!(marks(&clicks[0], order("placed")), [Mark::Repeated]);
        assert_eq!(
            marks(&clicks[0], OrderSaid { order: "o-2".into(), ..order("placed") }),
            [Mark::TwoOrders]
        );
    }

    #[test]
    fn a_visitor_whose_order_never_ends_loses_patience() {
        let plan = plan("");
        let mut answers = vec![Said::Nothing, Said::Quote { total: 9 }];
        answers.extend((0..20).map(|_| Said::Order(order("placed"))));
        let (steps, marks) = follow(&plan, answers.into_iter().map(accepted).collect());
        assert!(steps.len() < 12, "looks are further and further apart: {steps:?}");
        assert_eq!(marks, [Mark::Quoted, Mark::Placed, Mark::LostPatience]);
    }
}
