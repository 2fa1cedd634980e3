//! Stories told by the rules: the auditor follows them to the end, finds nothing, and counts the same.

use super::{audit, by, checkout, reason};
use crate::audit::orders::OrderSummary;
use banyan_domain::coupon::{self, Audience, Benefit, CampaignDefinition, ReleaseCause, Stacking};
use banyan_domain::order::{self, Cart, CartLine, Part, Product, Terms};
use banyan_domain::pay::{self, NewTransfer, Rule, Side, Transfers};
use banyan_domain::saga::{self, Ask, Definition, Fields, OpenAsk, Resume, Settlement};
use banyan_domain::stock::{self, Configuration, Line, Lines};
use banyan_domain::{
    AccountId, CampaignId, Command, CouponId, Currency, Decision, Entry, Event, LocationId, MemberId, Millis,
    Money, OrderNo, ProductId, Reference, ReservationNo, SagaKey, SagaName, SagaNo, SkuId, State,
    StoreSecret, Timestamp, TransferNo,
};

struct Story {
    state: State,
    now: u64,
    blocks: Vec<(u64, Vec<Event>)>,
    asked: Vec<OpenAsk>,
    chance: u64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let (now, secret) = (1_000_000, StoreSecret::new([5; 32]));
        let mut state = State::new(secret.clone());
        state.begin_block(Timestamp::from_millis(now));
        let blocks = vec![(now, vec![Event::StoreCreated { secret }])];
        let mut story = Self { state, now, blocks, asked: Vec::new(), chance: seed };
        story.define(checkout());
        story
    }

    fn define(&mut self, definition: Definition) {
        let before = self.state.sagas().definitions().count();
        self.ask(saga::Command::Define { definition: Box::new(definition), by: by() });
        assert_eq!(self.state.sagas().definitions().count(), before + 1, "it is a sound definition");
    }

    /// A number below `end`, by chance.
    fn pick(&mut self, end: u64) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % end
    }

    fn ask(&mut self, command: impl Into<Command>) {
        let events = match self.state.decide(command.into(), None) {
            Ok(Decision::One(event)) => vec![event],
            Ok(Decision::Many(events)) => events,
            _ => Vec::new(),
        };
        events.into_iter().for_each(|event| self.apply(event));
        self.advance();
    }

    fn apply(&mut self, event: Event) {
        let entry = Entry { event, stamp: None };
        self.state.apply(&entry).unwrap_or_else(|violation| panic!("{entry:?}: {violation}"));
        if let Event::Saga(saga::Event::Scheduled { saga, step, ask, attempt }) = entry.event {
            self.asked.push(OpenAsk { saga, step, ask, attempt });
        }
        self.blocks.last_mut().expect("there is a block").1.push(entry.event);
    }

    fn advance(&mut self) {
        while let Some(mut advance) = self.state.advance() {
            let events = std::mem::take(&mut advance.events);
            let last = events.last().cloned();
            events.into_iter().for_each(|event| self.apply(event));
            let outcome = last.and_then(|last| self.state.outcome(&last));
            if let Some(settled) = advance.settled(outcome) {
                self.apply(settled);
            }
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis;
        self.state.begin_block(Timestamp::from_millis(self.now));
        self.blocks.push((self.now, Vec::new()));
        loop {
            let due = self.state.due();
            if due.is_empty() {
                break;
            }
            due.into_iter().for_each(|event| self.apply(event));
            self.advance();
        }
    }

    fn goods(&mut self) {
        let (s, l, n) = (self.pick(2), self.pick(2), self.pick(12) as u32);
        let (sku, location) = (SkuId::new(format!("s{s}")), LocationId::new(format!("l{l}")));
        let (sku, location) = (sku.expect("valid"), location.expect("valid"));
        let line = |sku: &SkuId, quantity| Line { sku: sku.clone(), location: None, quantity };
        let reservation = ReservationNo::new(self.pick(self.state.stock().reservations_ever() + 1));
        let change = Configuration {
            safety: Some(n / 4),
            backorder_max: Some(n),
            per_member: (n > 8).then_some(Some(n)),
            ..Configuration::default()
        };
        let (by, reason) = (by(), reason());
        let command = match self.pick(12) {
            0 | 1 => stock::Command::SetStock { sku, location, on_hand: n * 3, by, reason },
            2 | 3 => stock::Command::Receive { sku, location, quantity: n, by, reason },
            4 => stock::Command::Configure { sku, location, change, by },
            5..=7 => stock::Command::Reserve {
                lines: Lines::new(vec![line(&sku, n % 5 + 1)]).expect("valid"),
                member: (n > 4).then(|| MemberId::new(format!("m{}", n % 3)).expect("valid")),
                order: None,
                holder: banyan_domain::Holder::Shop,
                hold_for: Millis::from_seconds(u64::from(n) * 20),
            },
            8 => stock::Command::CommitReservation { reservation },
            9 => stock::Command::ReleaseReservation { reservation },
            10 => stock::Command::Adjust { sku, location, by_quantity: i64::from(n) - 3, by, reason },
            _ => {
                let lines = Lines::new(vec![line(&sku, 1)]).expect("valid");
                stock::Command::Return { reservation, lines, by, reason }
            }
        };
        self.ask(command);
    }

    fn money(&mut self) {
        let ids = ["bank", "shop:sales", "points:m", "till"];
        let rules = [Rule::Free, Rule::Free, Rule::DebitsWithinCredits, Rule::CreditsWithinDebits];
        let side = |a: u64| Side {
            account: AccountId::new(ids[a as usize]).expect("valid"),
            open_if_missing: Some((Currency::new("KRW").expect("valid"), rules[a as usize])),
        };
        let (debit, credit, amount) = (side(self.pick(4)), side(self.pick(4)), self.pick(90) as i64 + 1);
        let no = TransferNo::new(self.pick(self.state.ledger().transfers_ever() + 1));
        let one = match self.pick(7) {
            0 | 1 => NewTransfer::Post { debit, credit, amount, refundable: amount % 2 == 0 },
            2 => NewTransfer::Hold { debit, credit, amount, hold_for: Millis::from_seconds(60) },
            3 => NewTransfer::Capture { pending: no, amount, last: amount % 3 == 0 },
            4 => NewTransfer::Void { pending: no },
            5 => NewTransfer::Refund { of: no, amount },
            _ => NewTransfer::Reverse { of: no },
        };
        let reference = Reference::new("r").expect("valid");
        self.ask(pay::Command::Transfer { transfers: Transfers::one(one), reference, by: by() });
    }

    fn sagas(&mut self) {
        let (kind, n) = (self.pick(10), self.pick(30));
        if kind < 3 {
            let mut input = Fields::new();
            input.insert("lines", format!("s{}*1", n % 3));
            if n % 2 == 0 {
                input.insert("delivery", "yes");
            }
            let (name, key) = (SagaName::new("checkout"), SagaKey::new(format!("o-{n}")));
            let (name, key) = (name.expect("valid"), key.expect("valid"));
            return self.ask(saga::Command::Start { name, key, input });
        }
        let saga = SagaNo::new(n);
        if kind < 5 {
            let how = [Resume::Retry, Resume::Skip(Fields::new()), Resume::Undo];
            let how = how[self.pick(3) as usize].clone();
            let mark = self.state.sagas().saga(saga).map_or(0, saga::Saga::mark);
            self.ask(saga::Command::Resume { saga, mark, how, by: by(), reason: reason() });
            return self.ask(saga::Command::Cancel { saga: SagaNo::new(n / 2), by: by(), reason: reason() });
        }
        let Some(last) = self.asked.len().checked_sub(1) else { return };
        let place = last - self.pick(6.min(last as u64 + 1)) as usize;
        let OpenAsk { saga, step, ask, attempt } = self.asked[place];
        let result = match (ask, self.pick(8)) {
            (Ask::Query, 0 | 6) => Settlement::Absent,
            (_, 0..=3) => Settlement::Done([("payment", "p")].into_iter().collect()),
            (_, 4) => Settlement::Refused("declined".into()),
            (_, 5) => Settlement::Unknown("time-out".into()),
            (_, 6) => Settlement::NotSent("down".into()),
            _ => Settlement::Awaiting(Fields::new(), Timestamp::from_millis(self.now + 90_000)),
        };
        self.ask(saga::Command::Settle { saga, step, ask, attempt, result });
    }
}

#[test]
fn nothing_is_found_in_what_the_rules_did() {
    let (mut completed, mut compensated, mut parked, mut returned, mut refunded) = (0, 0, 0, 0, 0);
    for seed in 0..60 {
        let mut story = Story::new(seed);
        for _ in 0..400 {
            match story.pick(12) {
                0..=3 => story.goods(),
                4 | 5 => story.money(),
                6..=9 => story.sagas(),
                10 => {
                    let millis = story.pick(3_000) + 1;
                    story.pass(millis);
                }
                _ => {
                    let millis = if story.pick(20) == 0 { 9_000_000 } else { story.pick(60_000) };
                    story.pass(millis);
                }
            }
        }
        story.pass(1);
        let book = audit(&story.blocks);
        assert_eq!(book.findings.first(), [], "seed {seed}");
        for view in story.state.stock().items() {
            let (level, own) = (view.level, book.stock.level(view.item.get()).expect("it is there"));
            let rules = [level.on_hand, level.held, level.promised, level.owed].map(i64::from);
            assert_eq!([own.on_hand, own.held, own.promised, own.owed], rules, "seed {seed}");
        }
        for row in story.state.ledger().statements() {
            let own = book.ledger.account(row.no.get()).expect("it is open");
            let rules = [row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending];
            let own = [own.debits_posted, own.credits_posted, own.debits_pending, own.credits_pending];
            assert_eq!(own, rules.map(i128::from), "seed {seed}");
        }
        let sums = book.sagas.summary();
        let live = story.state.stock().reservations_live();
        assert_eq!(
            (book.stock.summary().live, sums.begun),
            (live, sums.completed + sums.compensated + sums.parked + sums.under_way)
        );
        (completed, compensated, parked) =
            (completed + sums.completed, compensated + sums.compensated, parked + sums.parked);
        let events = story.blocks.iter().flat_map(|(_, events)| events);
        for event in events {
            returned += u32::from(matches!(event, Event::Stock(stock::Event::GoodsReturned { .. })));
            let Event::Pay(pay::Event::Transferred { legs, .. }) = event else { continue };
            refunded += u32::from(matches!(legs[0], pay::Leg::Refunded { .. } | pay::Leg::Reversed { .. }));
        }
    }
    let seen = [completed, compensated, parked, u64::from(returned), u64::from(refunded)];
    assert!(seen.iter().all(|count| *count > 5), "the stories have everything in them: {seen:?}");
}

impl Story {
    /// A shop that sells with the example sagas.
    fn of_orders(seed: u64) -> Self {
        let mut story = Self::new(seed);
        story.define(Definition {
            version: 2,
            ..example(include_str!("../../../../../examples/sagas/checkout.toml"))
        });
        story.define(example(include_str!("../../../../../examples/sagas/order-refund.toml")));
        let won = Currency::new("KRW").expect("valid");
        let terms = Terms {
            currency: won,
            shipping_fee: 250,
            free_shipping_from: Some(5_000),
            vat_basis_points: 1_000,
        };
        story.ask(order::Command::SetTerms { terms, by: by() });
        story.price(1_000);
        let points = Currency::new("PTS").expect("valid");
        for (debit, credit) in [("shop:points", "points:m0"), ("shop:points", "points:m1")] {
            let side = |id: &str, rule| Side {
                account: AccountId::new(id).expect("valid"),
                open_if_missing: Some((points, rule)),
            };
            let (debit, credit) = (side(debit, Rule::Free), side(credit, Rule::DebitsWithinCredits));
            let post = NewTransfer::Post { debit, credit, amount: 5_000, refundable: false };
            let reference = Reference::new("welcome").expect("valid");
            story.ask(pay::Command::Transfer { transfers: Transfers::one(post), reference, by: by() });
        }
        for id in ["company:receivable", "shop:sales"] {
            let id = AccountId::new(id).expect("valid");
            story.ask(pay::Command::OpenAccount { id, currency: won, rule: Rule::Free, by: by() });
        }
        let campaign = CampaignDefinition {
            id: CampaignId::new("noon").expect("valid"),
            name: "noon".into(),
            quantity: None,
            per_member: 1_000,
            benefit: Benefit::Percent { basis_points: 1_000, cap: None },
            minimum_order: None,
            starts_at: None,
            ends_at: None,
            audience: Audience::Everyone,
            valid_for: None,
            stacking: Stacking::Exclusive,
        };
        story.ask(coupon::Command::CreateCampaign { definition: Box::new(campaign), by: by() });
        story
    }

    fn price(&mut self, minor: i64) {
        let part = |sku: &str, quantity| Part { sku: SkuId::new(sku).expect("valid"), quantity };
        let product = |id: &str, minor, parts| Product {
            id: ProductId::new(id).expect("valid"),
            price: Money { minor, currency: Currency::new("KRW").expect("valid") },
            vat_basis_points: 1_000,
            parts,
            on_sale: true,
        };
        let set = product("set", 3 * minor, vec![part("s0", 2), part("s1", 1)]);
        let products = vec![product("mug", minor, vec![part("s0", 1)]), set];
        self.ask(order::Command::SetProducts { products, by: by() });
    }

    fn shopping(&mut self) {
        let product = ProductId::new(["mug", "set"][self.pick(2) as usize]).expect("valid");
        let placed = self.state.orders().placed();
        let order = OrderNo::new(placed.saturating_sub(self.pick(5)));
        let quantity = self.pick(3) as u32 + 1;
        let line = CartLine { product, quantity };
        match self.pick(8) {
            0 => {
                let minor = self.pick(3_000) as i64;
                self.price(minor);
            }
            1..=4 => {
                let member = MemberId::new(format!("m{}", self.pick(2))).expect("valid");
                let points = self.pick(3) as i64 * 400;
                let coupon = (self.pick(2) == 0).then(|| self.issue(&member)).flatten();
                let cart = Box::new(Cart { member, lines: vec![line], coupon, points });
                let (method, return_url) = ("tok_ok".into(), "".into());
                self.ask(order::Command::Place { cart, method, return_url, expect_total: None });
            }
            5 => self.ask(order::Command::Cancel { order, owner: None, by: by(), reason: reason() }),
            _ => {
                let lines = vec![CartLine { quantity: 1, ..line }];
                self.ask(order::Command::Return { order, lines, by: by(), reason: reason() });
            }
        }
    }

    /// A coupon, mostly of `member`.
    fn issue(&mut self, member: &MemberId) -> Option<CouponId> {
        // One of the member's that came back, if there is one.
        let events = || self.blocks.iter().rev().flat_map(|(_, events)| events.iter().rev());
        let is_own = |wanted: CouponId| {
            events().any(|event| {
                matches!(event, Event::Coupon(coupon::Event::CouponIssued { coupon, member: own }) if *coupon == wanted && own == member)
            })
        };
        let freed = events().find_map(|event| match event {
            Event::Coupon(coupon::Event::CouponReleased {
                coupon, cause: ReleaseCause::Restored, ..
            }) => Some(*coupon).filter(|coupon| is_own(*coupon)),
            _ => None,
        });
        if freed.is_some() && self.pick(2) == 0 {
            return freed;
        }
        let campaign = CampaignId::new("noon").expect("valid");
        let member = member.clone();
        self.ask(coupon::Command::IssueCoupon { campaign, member, segments: [].into() });
        self.blocks.iter().rev().flat_map(|(_, events)| events.iter().rev()).find_map(|event| match event {
            Event::Coupon(coupon::Event::CouponIssued { coupon, .. }) => Some(*coupon),
            _ => None,
        })
    }
}

fn example(text: &str) -> Definition {
    banyan_saga::read_definition(text).expect("it can be read")
}

#[test]
fn nothing_is_found_in_orders_that_the_rules_carried_out() {
    let mut seen = OrderSummary::default();
    for seed in 0..60 {
        let mut story = Story::of_orders(seed);
        for _ in 0..300 {
            match story.pick(12) {
                0 | 1 => story.goods(),
                2..=5 => story.shopping(),
                6..=10 => story.sagas(),
                _ => {
                    let millis = if story.pick(9) == 0 { 9_000_000 } else { story.pick(9_000) };
                    story.pass(millis);
                }
            }
        }
        story.pass(1);
        let book = audit(&story.blocks);
        assert_eq!(book.findings.first(), [], "seed {seed}");
        let sums = book.orders.summary();
        for order in story.state.orders().orders() {
            let own = book.orders.get(order.no.get()).expect("it was placed");
            let (own, rules) = ((own.state, own.refunded), (order.state, order.refunded()));
            assert_eq!(own, rules, "seed {seed}, {}", order.no);
        }
        seen.paid += sums.paid;
        seen.cancelled += sums.cancelled;
        seen.failed += sums.failed;
        seen.refunds += sums.refunds;
    }
    let OrderSummary { paid, cancelled, failed, refunds, .. } = seen;
    assert!([paid, cancelled, failed, refunds].iter().all(|count| *count > 20), "{seen:?}");
}
