//! Every saga that is shipped, on the real state, with everything that can go wrong: each step and each undo refused in turn,
//! each request and answer twice, each outcome unknown, and a crash after every block of each of these runs, on the way back
//! too. What a saga does is stored block by block, all or nothing, so these are all the places at which it can stop; what the
//! store does itself is carried out again after a crash that lost its block, and every request twice is the rest of "every step
//! run twice". It ends completed or compensated, an operator helping where it parks: with the books balanced, nothing held for
//! nobody, and every effect outside there once, or not at all.

mod partner;
mod plan;
mod shop;

use banyan_domain::order::{self, OrderState};
use banyan_domain::saga::{self, Ask, End, Fields, Phase, Settlement, StepKind, StepState, Target};
use banyan_domain::{OrderNo, SagaKey, SagaName};
use plan::{Plan, Wrong};
use shop::{SHIPPED, Shop, actor, reason};
use std::collections::BTreeMap;

/// A saga to be run, with an input.
struct Case {
    name: &'static str,
    /// What was before.
    before: fn(&mut Shop),
    /// Begins it.
    begin: fn(&mut Shop),
    /// Where its order stands when it is completed, and when it is compensated, if it has one.
    order: Option<(OrderState, OrderState)>,
}

const CASES: [Case; 13] = [
    Case {
        name: "checkout",
        before: |_| {},
        begin: Shop::place,
        order: Some((OrderState::Paid, OrderState::Failed)),
    },
    Case {
        name: "checkout",
        before: |_| {},
        begin: |shop| {
            let code = banyan_domain::coupon::CodeKey::new(shop.state.keys()).code(shop.coupon).to_string();
            shop.start("checkout", &[&CHECKOUT[..], &[("coupon", &code), ("points", "300")]].concat());
        },
        order: None,
    },
    Case { name: "checkout", before: |_| {}, begin: |shop| shop.start("checkout", &CHECKOUT), order: None },
    Case {
        name: "order-refund",
        before: |shop| {
            shop.watch(Plan::default());
            shop.place();
            shop.carry_to_its_end();
        },
        begin: |shop| {
            shop.ask(order::Command::Cancel {
                order: OrderNo::new(1),
                owner: None,
                by: actor(),
                reason: reason(),
            });
        },
        order: Some((OrderState::Cancelled, OrderState::Paid)),
    },
    Case {
        name: "top-up",
        before: |_| {},
        begin: |shop| shop.start("top-up", &[&MONEY[..], &[("method", "tok_ok"), ("points", "50")]].concat()),
        order: None,
    },
    Case {
        name: "top-up",
        before: |_| {},
        begin: |shop| shop.start("top-up", &[&MONEY[..], &[("method", "tok_ok")]].concat()),
        order: None,
    },
    Case {
        name: "settlement",
        before: |_| {},
        begin: |shop| {
            shop.start("settlement", &[&SETTLEMENT[..], &[("fees", "shop:fees"), ("fee", "300")]].concat());
        },
        order: None,
    },
    Case {
        name: "settlement",
        before: |_| {},
        begin: |shop| shop.start("settlement", &SETTLEMENT),
        order: None,
    },
    Case {
        name: "merchant-settlement",
        before: |_| {},
        begin: |shop| {
            let input = [("merchant", "kim"), ("gross", "1000"), ("net", "900"), ("commission", "100")];
            shop.start(
                "merchant-settlement",
                &[&input[..], &[("currency", "KRW"), ("bank", "bank")]].concat(),
            );
        },
        order: None,
    },
    Case {
        name: "repair-book",
        before: |_| {},
        begin: |shop| {
            let input = [("debit", "company:receivable"), ("credit", "shop:sales"), ("amount", "9700")];
            shop.start("repair-book", &[&input[..], &[("order", "order-1")]].concat());
        },
        order: None,
    },
    Case {
        name: "repair-refund",
        before: |_| {},
        begin: |shop| {
            let input =
                [("account", "company:receivable"), ("suspense", "shop:suspense"), ("order", "order-1")];
            shop.start("repair-refund", &[&MONEY[..], &input, &[("payment", "p-9")]].concat());
        },
        order: None,
    },
    Case {
        name: "repair-reverse",
        before: |shop| assert_eq!(shop.post("company:receivable", "shop:sales", 9_700), 2),
        begin: |shop| {
            let input = [("transfer", "t-2"), ("amount", "9700"), ("order", "order-1")];
            shop.start("repair-reverse", &input);
        },
        order: None,
    },
    Case {
        name: "delivery",
        before: |_| {},
        begin: |shop| {
            let input = [("day", "2026-12-01"), ("address", "1 Elm Street"), ("member", "m")];
            shop.start("delivery", &input);
        },
        order: None,
    },
];

const MONEY: [(&str, &str); 3] = [("member", "m"), ("amount", "9700"), ("currency", "KRW")];
const CHECKOUT: [(&str, &str); 5] =
    [("member", "m"), ("lines", "A*2"), ("amount", "9700"), ("currency", "KRW"), ("method", "tok_ok")];
const SETTLEMENT: [(&str, &str); 3] = [("account", "company:receivable"), ("bank", "bank"), ("net", "9000")];

/// How things are before a saga, and after one that nothing disturbed.
struct Known {
    case: &'static Case,
    before: BTreeMap<String, String>,
    completed: BTreeMap<String, String>,
    effects: usize,
    /// What is asked outside.
    asked: usize,
    /// The steps that are not passed over.
    steps: Vec<usize>,
}

impl Shop {
    fn start(&mut self, name: &str, input: &[(&str, &str)]) {
        let input: Fields = input.iter().copied().collect();
        let (name, key) = (SagaName::new(name).expect("valid"), SagaKey::new("order-1").expect("valid"));
        self.ask(saga::Command::Start { name, key, input });
    }
}

fn begun(case: &Case, plan: Plan) -> Shop {
    let mut shop = Shop::open();
    (case.before)(&mut shop);
    shop.watch(plan);
    (case.begin)(&mut shop);
    assert_eq!(shop.definition().name.as_str(), case.name);
    shop
}

impl Known {
    #[track_caller]
    fn of(case: &'static Case) -> Self {
        let mut shop = Shop::open();
        (case.before)(&mut shop);
        let before = shop.holdings();
        let mut shop = begun(case, Plan::default());
        shop.carry_to_its_end();
        let wanted = |(place, state): (usize, &StepState)| (*state != StepState::Skipped).then_some(place);
        let steps = shop.saga().steps.iter().enumerate().filter_map(wanted).collect();
        let (completed, effects) = (shop.holdings(), shop.partner.effects());
        let known = Self { case, before, completed, effects, asked: shop.plan.asked, steps };
        known.check(&shop, End::Completed, "nothing");
        assert_eq!(shop.plan.parked, 0);
        let outside = |place: &usize| !shop.definition().steps[*place].is_local();
        let services = known.steps.iter().filter(|place| outside(place)).count();
        assert_eq!(known.effects, services, "each step outside has its effect");
        known
    }

    /// What must be true at the end.
    #[track_caller]
    fn check(&self, shop: &Shop, wanted: End, wrong: &str) {
        let name = self.case.name;
        let saga = shop.saga();
        assert_eq!(saga.phase, Phase::Ended(wanted), "{name}, {wrong}: {saga:#?}");
        assert!(shop.state.ledger().trial_balance().is_balanced(), "{name}, {wrong}");
        let completed = wanted == End::Completed;
        let holdings = if completed { &self.completed } else { &self.before };
        assert_eq!(&shop.holdings(), holdings, "{name}, {wrong}: {saga:#?}");
        assert_eq!(shop.partner.effects(), if completed { self.effects } else { 0 }, "{name}, {wrong}");
        if let Some((after, back)) = self.case.order {
            let order = shop.state.orders().order(OrderNo::new(1)).expect("it was placed");
            assert_eq!(order.state, if completed { after } else { back }, "{name}, {wrong}");
            assert!(order.refund_under_way().is_none(), "{name}, {wrong}: {order:?}");
        }
    }

    /// How it ends under `plan`, of which `wrong` tells.
    #[track_caller]
    fn run(&self, plan: Plan, wanted: End, wrong: &str) -> Shop {
        let mut shop = begun(self.case, plan);
        shop.carry_to_its_end();
        self.check(&shop, wanted, wrong);
        shop
    }

    /// Every refusal that can be planted, how the saga ends then, and whether an operator has to help.
    fn refusals(&self) -> Vec<(Plan, End, bool)> {
        let shop = begun(self.case, Plan::default());
        let steps = &shop.definition().steps;
        let mut plans = Vec::new();
        // What tells an order that its saga has begun is not refused to a saga that the order itself began.
        let told = |place: &&usize| match &steps[**place].action.target {
            Target::Local(action) => action.starts_with("order.begin"),
            Target::Service { .. } => false,
        };
        for &place in self.steps.iter().filter(|place| self.case.order.is_none() || !told(place)) {
            let parks = steps[place].kind == StepKind::Retriable;
            let end = if parks { End::Completed } else { End::Compensated };
            plans.push((refused(&[(place, Ask::Do)]), end, parks));
        }
        // What turns a saga back last, so that there is most to undo; and each undo refused in turn.
        let turns = |place: &&usize| steps[**place].kind != StepKind::Retriable;
        let last = self.steps.iter().rfind(turns).copied();
        for &place in &self.steps {
            if steps[place].undo.is_some()
                && let Some(last) = last.filter(|last| *last > place)
            {
                plans.push((refused(&[(last, Ask::Do), (place, Ask::Undo)]), End::Compensated, true));
            }
        }
        plans
    }

    /// A crash after every block of the run `whole`.
    #[track_caller]
    fn crashes(&self, whole: &Shop, wanted: End, wrong: &str) {
        for (n, block) in whole.blocks.iter().enumerate() {
            // What was asked before the crash was heard, or not; nobody heard its answer.
            for heard in [false, true] {
                let mut shop = whole.crashed_after(block);
                for open in shop.state.sagas().open_asks() {
                    let request = shop.state.sagas().request(shop.state.keys(), open).expect("it is open");
                    if heard && !shop.plan.refuses(usize::from(open.step), open.ask) {
                        let _lost = shop.partner.does(&request);
                    }
                    shop.settle(open, Settlement::Unknown("the process was started again".into()));
                }
                shop.carry_to_its_end();
                self.check(&shop, wanted, &format!("{wrong}, and a crash after block {n}, heard: {heard}"));
            }
        }
    }
}

fn refused(refused: &[(usize, Ask)]) -> Plan {
    Plan { refused: refused.to_vec(), ..Plan::default() }
}

#[test]
fn each_step_and_each_undo_refused_in_turn() {
    for known in CASES.iter().map(Known::of) {
        for (plan, wanted, parks) in known.refusals() {
            let wrong = format!("refused {:?}", plan.refused);
            let shop = known.run(plan, wanted, &wrong);
            assert_eq!(shop.plan.parked > 0, parks, "{}, {wrong}", known.case.name);
        }
    }
}

#[test]
fn each_request_and_each_answer_twice() {
    for known in CASES.iter().map(Known::of) {
        let twice = Plan { twice: true, ..Plan::default() };
        known.run(twice.clone(), End::Completed, "twice");
        for (plan, wanted, _) in known.refusals() {
            let wrong = format!("refused {:?}, and twice", plan.refused);
            known.run(Plan { refused: plan.refused, ..twice.clone() }, wanted, &wrong);
        }
    }
}

#[test]
fn each_outcome_unknown_in_every_way() {
    for known in CASES.iter().map(Known::of) {
        let nothing = (Plan::default(), End::Completed, false);
        for (plan, wanted, _) in std::iter::once(nothing).chain(known.refusals()) {
            let asked = known.run(plan.clone(), wanted, "only what is refused").plan.asked;
            for nth in 0..asked {
                for how in Wrong::ALL {
                    let wrong = format!("refused {:?}, and ask {nth} goes wrong: {how:?}", plan.refused);
                    known.run(Plan { wrong: Some((nth, how)), ..plan.clone() }, wanted, &wrong);
                }
            }
        }
    }
}

#[test]
fn a_crash_after_every_block_on_every_way() {
    for known in CASES.iter().map(Known::of) {
        let whole = known.run(Plan::default(), End::Completed, "nothing");
        known.crashes(&whole, End::Completed, "nothing");
        for (plan, wanted, _) in known.refusals() {
            let wrong = format!("refused {:?}", plan.refused);
            let whole = known.run(plan, wanted, &wrong);
            known.crashes(&whole, wanted, &wrong);
        }
    }
}

/// A definition that is shipped and not run here would be one that nobody has tried.
#[test]
fn every_definition_that_is_shipped_is_run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/sagas");
    let files = std::fs::read_dir(folder).expect("it is there").count();
    assert_eq!(files, SHIPPED.len());
    for text in SHIPPED {
        let name = banyan_saga::read_definition(text).expect("it can be read").name;
        assert!(CASES.iter().any(|case| case.name == name.as_str()), "{name}");
    }
    assert!(CASES.iter().map(Known::of).all(|known| known.asked >= known.effects));
}
