//! A shop to fill views from: commands decided and applied by the domain, encoded as blocks.

use crate::record::{RecordOptions, RecordView};
use crate::{Batch, View};
use banyan_domain::coupon::{
    Audience, Benefit, CampaignChange, CampaignDefinition, Command, Event, Stacking,
};
use banyan_domain::saga::{self, OpenAsk};
use banyan_domain::{
    Actor, CampaignId, CouponId, Currency, Decision, Entry, KeyStamp, MemberId, Millis, Money, OrderId,
    Reason, State, StoreSecret, Timestamp, codec,
};
use banyan_log::{Block, Seq};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::path::Path;

pub(super) const SECRET: [u8; 32] = [9; 32];
const CAMPAIGNS: [&str; 3] = ["noon", "gold", "forever"];

/// One thing done to the shop. Numbers choose among what there is.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Issue(usize, u32),
    Hold(usize, u8, u32),
    Redeem(usize, u8),
    Release(usize, u8),
    Revoke(usize),
    Pause(usize, bool),
    Quantity(usize, u64),
    Extend(usize, u32),
    Allow(u32, u32),
    End(usize),
    Pass(u32),
    NextBlock,
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        20 => (0..3_usize, 0..40_u32).prop_map(|(c, m)| Op::Issue(c, m)),
        4 => (0..1_000_usize, 0..5_u8, 1..4_000_u32).prop_map(|(k, o, s)| Op::Hold(k, o, s)),
        4 => (0..1_000_usize, 0..5_u8).prop_map(|(k, o)| Op::Redeem(k, o)),
        2 => (0..1_000_usize, 0..5_u8).prop_map(|(k, o)| Op::Release(k, o)),
        1 => (0..1_000_usize).prop_map(Op::Revoke),
        1 => (0..3_usize, any::<bool>()).prop_map(|(c, p)| Op::Pause(c, p)),
        1 => (0..3_usize, 1..200_u64).prop_map(|(c, q)| Op::Quantity(c, q)),
        1 => (0..3_usize, 1..100_000_u32).prop_map(|(c, s)| Op::Extend(c, s)),
        2 => (0..40_u32, 1..9_u32).prop_map(|(m, n)| Op::Allow(m, n)),
        1 => Just(Op::End(1)),
        3 => (1..3_000_u32).prop_map(Op::Pass),
        1 => (100_000..300_000_u32).prop_map(Op::Pass),
        6 => Just(Op::NextBlock),
    ];
    prop::collection::vec(op, 1..160)
}

pub(super) struct Shop {
    pub state: State,
    pub blocks: Vec<Block>,
    pub issued: Vec<(CouponId, MemberId, Seq)>,
    /// What sagas have asked of services, answered or not.
    pub asked: Vec<OpenAsk>,
    pub now: u64,
    entries: Vec<Entry>,
}

impl Shop {
    /// A shop with three campaigns: coupons that expire, an allow-list, and no limits.
    pub(super) fn new() -> Self {
        let secret = StoreSecret::new(SECRET);
        let mut shop = Self {
            state: State::new(secret.clone()),
            blocks: Vec::new(),
            issued: Vec::new(),
            asked: Vec::new(),
            now: 1_800_000_000_000,
            entries: vec![Entry { event: banyan_domain::Event::StoreCreated { secret }, stamp: None }],
        };
        shop.state.begin_block(Timestamp::from_millis(shop.now));
        let won = |minor| Money { minor, currency: Currency::new("KRW").expect("valid") };
        let plain = definition(CAMPAIGNS[0]);
        shop.create(CampaignDefinition {
            quantity: Some(60),
            valid_for: Some(Millis::from_seconds(60)),
            per_member: 2,
            benefit: Benefit::Percent { basis_points: 1_500, cap: Some(won(9_000)) },
            ..plain
        });
        shop.create(CampaignDefinition {
            audience: Audience::AllowList,
            minimum_order: Some(won(10_000)),
            benefit: Benefit::Amount(won(5_000)),
            ..definition(CAMPAIGNS[1])
        });
        shop.create(CampaignDefinition { per_member: 100, ..definition(CAMPAIGNS[2]) });
        shop.end_block();
        shop
    }

    pub(super) fn create(&mut self, definition: CampaignDefinition) {
        self.command(Command::CreateCampaign { definition: Box::new(definition), by: operator() });
    }

    pub(super) fn play(ops: &[Op]) -> Self {
        let mut shop = Self::new();
        for op in ops {
            shop.op(op);
        }
        shop.end_block();
        // What fell due when the last block began.
        while shop.end_block() {}
        shop
    }

    pub(super) fn issue(&mut self, campaign: usize, member: u32) {
        let campaign = campaign_id(CAMPAIGNS[campaign]);
        self.command(Command::IssueCoupon { campaign, member: self::member(member), segments: [].into() });
    }

    pub(super) fn op(&mut self, op: &Op) {
        let change = CampaignChange {
            paused: None,
            end: false,
            ends_at: None,
            quantity: None,
            by: operator(),
            reason: Reason::new("because").expect("valid"),
        };
        let order = |o: u8| OrderId::new(format!("order-{o}")).expect("valid");
        let coupon = |k: usize| self.issued.get(k % self.issued.len().max(1)).map(|issued| issued.0);
        let campaign = |c: usize| campaign_id(CAMPAIGNS[c]);
        let changed =
            |c: usize, change| Command::ChangeCampaign { campaign: campaign(c), change: Box::new(change) };
        let command = match *op {
            Op::Issue(c, m) => return self.issue(c, m),
            Op::Pass(ms) => {
                self.end_block();
                self.now += u64::from(ms);
                return;
            }
            Op::NextBlock => {
                self.end_block();
                return;
            }
            Op::Hold(k, o, s) => coupon(k).map(|coupon| Command::HoldCoupon {
                coupon,
                owner: None,
                order: order(o),
                hold_for: Millis::new(u64::from(s)),
            }),
            Op::Redeem(k, o) => {
                coupon(k).map(|coupon| Command::RedeemCoupon { coupon, owner: None, order: order(o) })
            }
            Op::Release(k, o) => {
                coupon(k).map(|coupon| Command::ReleaseCoupon { coupon, owner: None, order: order(o) })
            }
            Op::Revoke(k) => coupon(k).map(|coupon| Command::RevokeCoupon {
                coupon,
                by: operator(),
                reason: Reason::new("fraud").expect("valid"),
            }),
            Op::Pause(c, paused) => Some(changed(c, CampaignChange { paused: Some(paused), ..change })),
            Op::Quantity(c, quantity) => {
                Some(changed(c, CampaignChange { quantity: Some(quantity), ..change }))
            }
            Op::Extend(c, ms) => {
                let ends_at = Some(Timestamp::from_millis(self.now + u64::from(ms)));
                Some(changed(c, CampaignChange { ends_at, ..change }))
            }
            Op::End(c) => Some(changed(c, CampaignChange { end: true, ..change })),
            Op::Allow(first, count) => Some(Command::ExtendAllowList {
                campaign: campaign(1),
                members: (first..first + count).map(member).collect(),
            }),
        };
        if let Some(command) = command {
            self.command(command);
        }
    }

    pub(super) fn command(&mut self, command: impl Into<banyan_domain::Command>) {
        // Each under a key of its own, so that those that change nothing are logged as well.
        let stamp = KeyStamp::new(self.state.keys(), "shop", &self.state.seq().to_string(), b"request");
        let events = match self.state.decide(command.into(), Some(&stamp)) {
            Ok(Decision::One(event)) => vec![event],
            Ok(Decision::Many(events)) => events,
            Ok(Decision::Keep(_, event)) => vec![event],
            Ok(Decision::Replay(..)) | Err(_) => Vec::new(),
        };
        self.record(events, Some(stamp));
        self.advance();
    }

    /// Lets every saga go as far as it can by itself.
    fn advance(&mut self) {
        while let Some(mut advance) = self.state.advance() {
            let events = std::mem::take(&mut advance.events);
            let last = events.last().cloned();
            self.record(events, None);
            let outcome = last.and_then(|last| self.state.outcome(&last));
            self.record(advance.settled(outcome).into_iter().collect(), None);
        }
    }

    fn record(&mut self, events: Vec<banyan_domain::Event>, stamp: Option<KeyStamp>) {
        let last = events.len().saturating_sub(1);
        for (i, event) in events.into_iter().enumerate() {
            let entry = Entry { event, stamp: stamp.filter(|_| i == last) };
            let applied = self.state.apply(&entry).expect("decided events apply");
            if let banyan_domain::Event::Coupon(Event::CouponIssued { coupon, member }) = &entry.event {
                self.issued.push((*coupon, member.clone(), Seq(applied.seq)));
            }
            if let banyan_domain::Event::Saga(saga::Event::Scheduled { saga, step, ask, attempt }) =
                entry.event
            {
                self.asked.push(OpenAsk { saga, step, ask, attempt });
            }
            self.entries.push(entry);
        }
    }

    /// Ends the block at hand and begins the next, with what is due at its time.
    /// Whether the block had anything in it.
    pub(super) fn end_block(&mut self) -> bool {
        let any = !self.entries.is_empty();
        if any {
            let entries = std::mem::take(&mut self.entries);
            let first = self.blocks.last().map_or(Seq(1), Block::next_seq);
            self.blocks.push(block(first, self.state.time().as_millis(), &entries));
        }
        self.now = self.now.max(self.state.time().as_millis());
        self.state.begin_block(Timestamp::from_millis(self.now));
        loop {
            let due = self.state.due();
            if due.is_empty() {
                break;
            }
            self.record(due, None);
            self.advance();
        }
        any
    }
}

pub(super) fn block(first_seq: Seq, time_ms: u64, entries: &[Entry]) -> Block {
    let mut body = Vec::new();
    entries.iter().for_each(|entry| codec::encode(entry, &mut body));
    Block { first_seq, count: entries.len() as u32, time_ms, body, ..Block::default() }
}

pub(super) fn definition(id: &str) -> CampaignDefinition {
    CampaignDefinition {
        id: campaign_id(id),
        name: "반얀 'sale'".into(),
        quantity: None,
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

pub(super) fn campaign_id(id: &str) -> CampaignId {
    CampaignId::new(id).expect("valid")
}

pub(super) fn member(m: u32) -> MemberId {
    // With the characters that JSON escapes.
    MemberId::new(format!("m\"{m}\\")).expect("valid")
}

pub(super) fn operator() -> Actor {
    Actor::new("olga").expect("valid")
}

pub(super) fn open(folder: &Path) -> RecordView {
    let keys = Some(StoreSecret::new(SECRET).keys());
    RecordView::open(folder, &RecordOptions { keys }).expect("the store opens")
}

pub(super) fn batch(blocks: &[Block]) -> Batch {
    let mut batch = Batch::default();
    blocks.iter().for_each(|block| batch.push(block).expect("the block decodes"));
    batch
}

/// Applies `blocks`, `at_once` of them in each transaction.
pub(super) fn fill(view: &mut RecordView, blocks: &[Block], at_once: usize) {
    for blocks in blocks.chunks(at_once) {
        view.apply(&batch(blocks)).expect("the batch applies");
    }
}

/// Everything in the file that a person can see, as text.
pub(super) fn dump(path: &Path) -> String {
    let db = Connection::open(path).expect("the file opens");
    let mut text = String::new();
    for table in TABLES {
        text += &format!("[{table}]\n");
        let mut read =
            db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).expect("the table is there");
        let columns = read.column_count();
        let mut rows = read.query([]).expect("it can be read");
        while let Some(row) = rows.next().expect("it can be read") {
            for column in 0..columns {
                text += &match row.get_ref(column).expect("the column is there") {
                    ValueRef::Null => "-".to_owned(),
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    other => format!("{other:?}"),
                };
                text.push(' ');
            }
            text.push('\n');
        }
    }
    text
}

/// The tables for people, and the view of those that are split.
const TABLES: [&str; 26] = [
    "checkpoint",
    "campaign",
    "coupon",
    "hold",
    "redemption",
    "operator_action",
    "allow_list",
    "parked",
    "stock_item",
    "purchase_limit",
    "reservation",
    "reservation_line",
    "promise",
    "stock_movement",
    "account",
    "transfer",
    "saga_definition",
    "saga_definition_step",
    "saga",
    "saga_step",
    "product",
    "terms",
    "customer_order",
    "order_line",
    "order_refund",
    "order_refund_line",
];
