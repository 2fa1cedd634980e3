//! Stories told by the rules: the auditor follows them to the end, finds nothing, and counts the same.

use super::{audit, by, checkout, reason};
use banyan_domain::pay::{self, NewTransfer, Rule, Side, Transfers};
use banyan_domain::saga::{self, Ask, Fields, OpenAsk, Resume, Settlement};
use banyan_domain::stock::{self, Configuration, Line, Lines};
use banyan_domain::{
    AccountId, Command, Currency, Decision, Entry, Event, LocationId, MemberId, Millis, Reference,
    ReservationNo, SagaKey, SagaName, SagaNo, SkuId, State, StoreSecret, Timestamp, TransferNo,
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
        story.ask(saga::Command::Define { definition: Box::new(checkout()), by: by() });
        assert_eq!(story.state.sagas().definitions().count(), 1, "it is a sound definition");
        story
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
            self.ask(saga::Command::Resume { saga, how, by: by(), reason: reason() });
            return self.ask(saga::Command::Cancel { saga: SagaNo::new(n / 2), by: by(), reason: reason() });
        }
        let Some(last) = self.asked.len().checked_sub(1) else { return };
        let place = last - self.pick(6.min(last as u64 + 1)) as usize;
        let OpenAsk { saga, step, ask, attempt } = self.asked[place];
        let result = match (ask, self.pick(8)) {
            (Ask::Query, 0 | 6) => Settlement::Absent,
            (_, 0..=3) => Settlement::Done(Fields::new()),
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
