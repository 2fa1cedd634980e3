//! A shop on the real state: goods, coupons, points, accounts, prices, and every saga that is shipped.

use crate::partner::Partner;
use crate::plan::Plan;
use banyan_domain::coupon::{Audience, Benefit, CampaignDefinition, Stacking};
use banyan_domain::order::{self, Cart, CartLine, Part, Product, Terms};
use banyan_domain::pay::{NewTransfer, Rule, Transfers};
use banyan_domain::saga::{Ask, Definition, Next, OpenAsk, Saga, Settlement};
use banyan_domain::{
    AccountId, Actor, CampaignId, Command, CouponId, Currency, Decision, Entry, Event, LocationId, MemberId,
    Millis, Money, Outcome, ProductId, Reason, Reference, SagaNo, SkuId, State, StoreSecret, Timestamp,
    codec, coupon, pay, saga, stock,
};
use banyan_saga::read_definition;
use std::collections::BTreeMap;

/// Every definition that is shipped.
pub(crate) const SHIPPED: [&str; 9] = [
    include_str!("../../../../examples/sagas/checkout.toml"),
    include_str!("../../../../examples/sagas/delivery.toml"),
    include_str!("../../../../examples/sagas/merchant-settlement.toml"),
    include_str!("../../../../examples/sagas/order-refund.toml"),
    include_str!("../../../../examples/sagas/repair-book.toml"),
    include_str!("../../../../examples/sagas/repair-refund.toml"),
    include_str!("../../../../examples/sagas/repair-reverse.toml"),
    include_str!("../../../../examples/sagas/settlement.toml"),
    include_str!("../../../../examples/sagas/top-up.toml"),
];

/// The shop, its log, and everybody outside.
pub(crate) struct Shop {
    pub(crate) state: State,
    log: Vec<(Timestamp, Vec<u8>)>,
    /// The blocks since the saga began: what one command or one instant brings is stored as a whole, or not at all.
    pub(crate) blocks: Vec<Block>,
    pub(crate) partner: Partner,
    pub(crate) plan: Plan,
    /// The saga that is looked at.
    pub(crate) no: SagaNo,
    /// The coupon of member m.
    pub(crate) coupon: CouponId,
}

/// The end of a block.
#[derive(Clone)]
pub(crate) struct Block {
    /// How many events there were.
    events: usize,
    /// What everybody outside had.
    partner: Partner,
    plan: Plan,
}

pub(crate) fn actor() -> Actor {
    Actor::new("ops").expect("valid")
}

pub(crate) fn reason() -> Reason {
    Reason::new("test").expect("valid")
}

fn account(id: &str) -> AccountId {
    AccountId::new(id).expect("valid")
}

fn krw() -> Currency {
    Currency::new("KRW").expect("valid")
}

impl Shop {
    pub(crate) fn open() -> Self {
        let mut shop = Self {
            state: State::new(StoreSecret::new([3; 32])),
            log: Vec::new(),
            blocks: Vec::new(),
            partner: Partner::default(),
            plan: Plan::default(),
            no: SagaNo::new(0),
            coupon: CouponId::new(banyan_domain::CampaignNo::new(0), 0),
        };
        shop.state.begin_block(Timestamp::from_millis(1_000));
        for text in SHIPPED {
            let definition = Box::new(read_definition(text).expect("it can be read"));
            shop.ask(saga::Command::Define { definition, by: actor() });
        }
        shop.stock_up();
        shop.open_accounts();
        shop
    }

    fn stock_up(&mut self) {
        let terms =
            Terms { currency: krw(), shipping_fee: 250, free_shipping_from: None, vat_basis_points: 1_000 };
        self.ask(order::Command::SetTerms { terms, by: actor() });
        let (sku, location) = (SkuId::new("A").expect("valid"), LocationId::new("main").expect("valid"));
        let product = Product {
            id: ProductId::new("a").expect("valid"),
            price: Money { minor: 5_000, currency: krw() },
            vat_basis_points: 1_000,
            parts: [Part { sku: sku.clone(), quantity: 1 }].into(),
            on_sale: true,
        };
        self.ask(order::Command::SetProducts { products: vec![product], by: actor() });
        self.ask(stock::Command::SetStock { sku, location, on_hand: 5, by: actor(), reason: reason() });
        self.ask(coupon::Command::CreateCampaign { definition: Box::new(campaign()), by: actor() });
        let (campaign, member) =
            (CampaignId::new("noon").expect("valid"), MemberId::new("m").expect("valid"));
        let issued = self.ask(coupon::Command::IssueCoupon { campaign, member, segments: Box::new([]) });
        let Some(Outcome::Coupon(coupon::Outcome::Coupon(answer))) = issued else {
            panic!("a coupon was issued")
        };
        self.coupon = answer.coupon;
    }

    fn open_accounts(&mut self) {
        for (id, code, rule) in [
            ("points:m", "PTS", Rule::DebitsWithinCredits),
            ("shop:points", "PTS", Rule::Free),
            ("company:receivable", "KRW", Rule::Free),
            ("shop:sales", "KRW", Rule::Free),
            ("shop:fees", "KRW", Rule::Free),
            ("bank", "KRW", Rule::Free),
        ] {
            let (id, currency) = (account(id), Currency::new(code).expect("valid"));
            self.ask(pay::Command::OpenAccount { id, currency, rule, by: actor() });
        }
        self.post("shop:points", "points:m", 1_000);
    }

    /// Posts a transfer that can be given back; returns its number.
    pub(crate) fn post(&mut self, debit: &str, credit: &str, amount: i64) -> u64 {
        let (debit, credit) = (account(debit).into(), account(credit).into());
        let transfers = Transfers::one(NewTransfer::Post { debit, credit, amount, refundable: true });
        let reference = Reference::new("before").expect("valid");
        let made = self.ask(pay::Command::Transfer { transfers, reference, by: actor() });
        let Some(Outcome::Pay(pay::Outcome::Transferred { first, .. })) = made else {
            panic!("it is posted: {made:?}")
        };
        first.get()
    }

    /// Places an order of two of A with the coupon and 300 points.
    pub(crate) fn place(&mut self) {
        let line = CartLine { product: ProductId::new("a").expect("valid"), quantity: 2 };
        let member = MemberId::new("m").expect("valid");
        let cart = Box::new(Cart { member, lines: vec![line], coupon: Some(self.coupon), points: 300 });
        let (method, return_url) = ("tok_ok".into(), "".into());
        self.ask(order::Command::Place { cart, method, return_url, expect_total: None });
    }

    /// From here on blocks are kept, and the saga that begins next is looked at.
    pub(crate) fn watch(&mut self, plan: Plan) {
        self.no = SagaNo::new(self.state.sagas().started() + 1);
        self.plan = plan;
        self.blocks.clear();
        self.partner = Partner::default();
    }

    pub(crate) fn saga(&self) -> &Saga {
        self.state.sagas().saga(self.no).expect("it has begun")
    }

    pub(crate) fn definition(&self) -> &Definition {
        self.state.sagas().definition(self.saga().definition).expect("it is kept for ever")
    }

    pub(crate) fn ask(&mut self, command: impl Into<Command>) -> Option<Outcome> {
        let events = match self.state.decide(command.into(), None) {
            Ok(Decision::One(event)) => vec![event],
            Ok(Decision::Many(events)) => events,
            Ok(Decision::Replay(..) | Decision::Keep(..)) => return None,
            Err(refusal) => panic!("it is refused: {refusal:?}"),
        };
        let mut outcome = None;
        for event in events {
            outcome = self.apply(event);
        }
        self.advance();
        self.end_block();
        outcome
    }

    fn end_block(&mut self) {
        let (partner, plan) = (self.partner.clone(), self.plan.clone());
        self.blocks.push(Block { events: self.log.len(), partner, plan });
    }

    fn apply(&mut self, event: Event) -> Option<Outcome> {
        let entry = Entry { event, stamp: None };
        self.state.apply(&entry).unwrap_or_else(|violation| panic!("{entry:?}: {violation}"));
        self.state.check_invariants().unwrap_or_else(|violation| panic!("after {entry:?}: {violation}"));
        let mut bytes = Vec::new();
        codec::encode(&entry, &mut bytes);
        self.log.push((self.state.time(), bytes));
        self.state.outcome(&entry.event)
    }

    fn advance(&mut self) {
        loop {
            if let Some(refused) = self.planned_refusal() {
                self.apply(refused);
                continue;
            }
            let Some(mut advance) = self.state.advance() else { return };
            let mut outcome = None;
            for event in std::mem::take(&mut advance.events) {
                outcome = self.apply(event);
            }
            if let Some(settled) = advance.settled(outcome) {
                self.apply(settled);
            }
        }
    }

    /// What the store would write if it refused what the saga does next, if that is planned.
    fn planned_refusal(&self) -> Option<Event> {
        let saga = self.state.sagas().saga(self.no)?;
        let definition = self.state.sagas().definition(saga.definition)?;
        let Next::Local { step, ask } = saga.next(definition) else { return None };
        if !self.plan.refuses(step, ask) {
            return None;
        }
        let (saga, place, why) = (self.no, step as u8, "planted");
        Some(Event::Saga(match ask {
            Ask::Undo => saga::Event::Parked { saga, step: place, why: why.into() },
            _ => {
                let result = Settlement::Refused(why.into());
                saga::Event::Settled { saga, step: place, ask, attempt: 1, result }
            }
        }))
    }

    pub(crate) fn pass(&mut self, span: Millis) {
        self.state.begin_block(self.state.time().plus(span));
        loop {
            let due = self.state.due();
            if due.is_empty() {
                return;
            }
            for event in due {
                self.apply(event);
            }
            self.advance();
            self.end_block();
        }
    }

    pub(crate) fn settle(&mut self, open: OpenAsk, result: Settlement) {
        let OpenAsk { saga, step, ask, attempt } = open;
        self.ask(saga::Command::Settle { saga, step, ask, attempt, result });
    }

    /// The shop started again from its log as it was at the end of `block`. What was asked then has no answer.
    pub(crate) fn crashed_after(&self, block: &Block) -> Self {
        let mut state = State::new(StoreSecret::new([3; 32]));
        let log = self.log[..block.events].to_vec();
        for (time, bytes) in &log {
            state.begin_block(*time);
            for entry in codec::decode(bytes, 1) {
                state.apply(&entry.expect("it can be read")).expect("it applies again");
            }
        }
        let (partner, plan) = (block.partner.clone(), block.plan.clone());
        let mut shop =
            Self { state, log, blocks: Vec::new(), partner, plan, no: self.no, coupon: self.coupon };
        shop.advance();
        shop
    }

    /// Where money, goods and coupons are, and what is held: what has nothing on it is left out.
    pub(crate) fn holdings(&self) -> BTreeMap<String, String> {
        let accounts = self.state.ledger().statements().filter_map(|one| {
            let held = (one.debits_pending, one.credits_pending);
            let empty = one.balance == 0 && held == (0, 0);
            (!empty).then(|| (one.id.to_owned(), format!("{} {held:?}", one.balance)))
        });
        let items = self.state.stock().items().map(|item| {
            (
                format!("{} at {}", item.sku, item.location),
                format!("{} {}", item.level.on_hand, item.level.held),
            )
        });
        let campaigns = self.state.coupons().campaigns();
        let coupons = campaigns.flat_map(|campaign| {
            campaign
                .rows()
                .map(|(n, row)| (format!("coupon {n}"), format!("{:?}", row.state)))
                .collect::<Vec<_>>()
        });
        accounts.chain(items).chain(coupons).collect()
    }
}

fn campaign() -> CampaignDefinition {
    CampaignDefinition {
        id: CampaignId::new("noon").expect("valid"),
        name: "Noon".into(),
        quantity: Some(1),
        per_member: 1,
        benefit: Benefit::FreeShipping,
        minimum_order: None,
        starts_at: None,
        ends_at: None,
        audience: Audience::Everyone,
        valid_for: None,
        stacking: Stacking::Exclusive,
    }
}
