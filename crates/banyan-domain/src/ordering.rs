//! Placing, cancelling and returning orders: what one command decides over several capabilities at once, and what sagas
//! tell an order afterwards.
//!
//! An order begins with its saga, in the same block: either both are in the log, or neither. Before that, everything the
//! checkout will hold is asked for once without being taken, so that a cart that cannot be had is refused at once and leaves
//! nothing in the log: on sale day most carts cannot.

use crate::coupon::{Benefit, CodeKey};
use crate::order::{
    Cart, CartLine, Command, Event, Order, OrderState, Outcome, Product, Quote, Reduction, Refusal, Terms,
};
use crate::saga::{Cause, Fields, Saga};
use crate::stock::{Line, Lines};
use crate::{
    AccountId, Actor, CouponId, Currency, Decided, Event as AnyEvent, MemberId, Millis, OrderId, OrderNo,
    Outcome as AnyOutcome, Reason, Reference, Refusal as AnyRefusal, Remembered, ReservationNo, SagaKey,
    SagaName, State, TransferNo, coupon, limits, pay, saga, stock,
};

/// The saga that an order's checkout is.
const CHECKOUT: &str = "checkout";
/// The saga that gives an order, or part of it, back.
const REFUND: &str = "order-refund";
/// What counts points.
const POINTS: &str = "PTS";

type AnyDecision = Decided<AnyEvent, AnyOutcome, Remembered>;

fn as_it_is(outcome: Outcome) -> AnyDecision {
    Decided::AsItIs(AnyOutcome::Order(outcome), Remembered::Order(outcome))
}

/// The account of a member's points.
#[must_use]
pub fn points_account(member: &MemberId) -> AccountId {
    // A member's id is shorter than an account's by more than the word before it.
    AccountId::new(format!("points:{member}")).expect("a member's id makes a valid account")
}

impl State {
    /// What a cart comes to now. Nothing is held.
    ///
    /// # Errors
    /// A refusal: of a product, the coupon or the points. Whether the goods are there is not looked into.
    pub fn quote(&self, cart: &Cart) -> Result<Quote, AnyRefusal> {
        let terms = self.orders.terms().ok_or(Refusal::TermsNotSet)?;
        let priced = self.priced(&cart.lines, terms)?;
        let mut reduction = Reduction::None;
        if let Some(coupon) = cart.coupon {
            // Any order's name will do: the question is whether one that has not begun could have it.
            let order = OrderId::new(OrderNo::new(self.orders.placed() + 1).to_string());
            let order = order.expect("a number is a valid order");
            let (owner, hold_for) = (Some(cart.member.clone()), Millis::new(1));
            let ask = coupon::Command::HoldCoupon { coupon, owner, order, hold_for };
            self.coupons.decide(self.time, ask)?;
            reduction = self.reduction(coupon, &priced, terms)?;
        }
        let quote = Quote::of(&priced, terms, reduction, cart.points)?;
        if quote.points() > 0 {
            let ask = self.points_hold(&cart.member, quote.points());
            self.ledger.decide(self.time, ask)?;
        }
        Ok(quote)
    }

    /// The goods that a cart is made of: each SKU once, in the order in which it first comes up.
    ///
    /// # Errors
    /// A refusal if a product is not there, or there are more SKUs or units than can be reserved at once.
    pub fn goods(&self, lines: &[CartLine]) -> Result<Lines, AnyRefusal> {
        let mut goods: Vec<Line> = Vec::new();
        for line in lines {
            let product = self.orders.product(&line.product).ok_or(Refusal::ProductNotFound)?;
            add_goods(&mut goods, &product.parts, line.quantity)?;
        }
        Ok(Lines::new(goods).map_err(|_| Refusal::OrderTooLarge)?)
    }

    /// Decides a command about orders.
    pub(crate) fn decide_order(&self, command: Command) -> Result<AnyDecision, AnyRefusal> {
        match command {
            Command::SetProducts { products, by } => self.set_products(products, by),
            Command::SetTerms { terms, by } => self.set_terms(terms, by),
            Command::Place { cart, method, return_url, expect_total } => {
                self.place(&cart, &method, &return_url, expect_total)
            }
            Command::Cancel { order, owner, by, reason } => self.cancel(order, owner.as_ref(), by, reason),
            Command::Return { order, lines, by, reason } => self.give_back(order, &lines, by, reason),
        }
    }

    fn set_products(&self, products: Vec<Product>, by: Actor) -> Result<AnyDecision, AnyRefusal> {
        let terms = self.orders.terms().ok_or(Refusal::TermsNotSet)?;
        if products.iter().any(|product| product.price.currency != terms.currency) {
            return Err(Refusal::OtherCurrency.into());
        }
        let known = |product: &&Product| self.orders.product(&product.id).is_some();
        let new = products.iter().filter(|product| !known(product)).count();
        if self.orders.products.len() + new > limits::PRODUCTS_MAX {
            return Err(Refusal::TooManyProducts.into());
        }
        let changed = |product: &Product| self.orders.product(&product.id) != Some(product);
        let products: Vec<Product> = products.into_iter().filter(changed).collect();
        if products.is_empty() {
            return Ok(as_it_is(Outcome::Products { changed: 0 }));
        }
        Ok(Decided::One(AnyEvent::Order(Event::ProductsSet { products, by })))
    }

    /// Sets the terms, and opens the accounts that every checkout books on.
    fn set_terms(&self, terms: Terms, by: Actor) -> Result<AnyDecision, AnyRefusal> {
        match self.orders.terms() {
            Some(known) if *known == terms => return Ok(as_it_is(Outcome::Terms)),
            Some(known) if known.currency != terms.currency => return Err(Refusal::OtherCurrency.into()),
            _ => {}
        }
        let points = Currency::new(POINTS).expect("three upper-case letters");
        let wanted =
            [("company:receivable", terms.currency), ("shop:sales", terms.currency), ("shop:points", points)];
        let mut events = Vec::new();
        let mut no = self.ledger.accounts_count();
        for (id, currency) in wanted {
            let id = AccountId::new(id).expect("a valid account");
            if self.ledger.account(&id).is_none() {
                let (rule, by) = (pay::Rule::Free, by.clone());
                self.ledger.decide(
                    self.time,
                    pay::Command::OpenAccount { id: id.clone(), currency, rule, by: by.clone() },
                )?;
                no += 1;
                let account = pay::OpenedAccount { no: crate::AccountNo::new(no), id, currency, rule };
                events.push(AnyEvent::Pay(pay::Event::AccountOpened { account, by }));
            }
        }
        events.push(AnyEvent::Order(Event::TermsSet { terms, by }));
        Ok(Decided::Many(events))
    }

    fn place(
        &self,
        cart: &Cart,
        method: &str,
        return_url: &str,
        expect_total: Option<i64>,
    ) -> Result<AnyDecision, AnyRefusal> {
        let quote = self.quote(cart)?;
        let (total, points) = (quote.total(), quote.points());
        if expect_total.is_some_and(|expected| expected != total) {
            return Err(Refusal::PriceChanged.into());
        }
        if total > 0 && method.is_empty() {
            return Err(Refusal::MethodMissing.into());
        }
        let order = OrderNo::new(self.orders.placed() + 1);
        let goods = self.goods(&cart.lines)?;
        let mut input = Fields::new();
        input.insert("order", order.to_string());
        input.insert("member", cart.member.as_str());
        input.insert("lines", goods_text(goods.as_slice()));
        let terms = self.orders.terms().expect("a quote needs terms");
        if total > 0 {
            input.insert("amount", total.to_string());
            input.insert("currency", terms.currency.as_str());
            input.insert("method", method);
            if !return_url.is_empty() {
                input.insert("return_url", return_url);
            }
        }
        if points > 0 {
            input.insert("points", points.to_string());
        }
        if let Some(coupon) = cart.coupon {
            input.insert("coupon", CodeKey::new(&self.keys).code(coupon).to_string());
        }
        // Asked for and not taken: the saga takes it in this very block.
        let ask = stock::Command::Reserve {
            lines: goods,
            member: Some(cart.member.clone()),
            order: None,
            holder: crate::Holder::Shop,
            hold_for: Millis::new(1),
        };
        self.decide_stock(ask)?;
        let started = self.start(CHECKOUT, &order.to_string(), input)?;
        let currency = terms.currency;
        let Quote { lines, shipping, shipping_points, shipping_vat } = quote;
        let (member, coupon) = (cart.member.clone(), cart.coupon);
        let placed = Event::Placed {
            order,
            member,
            lines,
            currency,
            shipping,
            shipping_points,
            shipping_vat,
            coupon,
            saga: self.next_saga(),
        };
        Ok(Decided::Many(vec![started, AnyEvent::Order(placed)]))
    }

    fn cancel(
        &self,
        no: OrderNo,
        owner: Option<&MemberId>,
        by: Actor,
        reason: Reason,
    ) -> Result<AnyDecision, AnyRefusal> {
        let found = self.orders.order(no);
        let own = |order: &&Order| owner.is_none_or(|owner| order.member == *owner);
        let order = found.filter(own).ok_or(Refusal::OrderNotFound)?;
        let so = Ok(as_it_is(Outcome::Order { order: no }));
        match order.state {
            OrderState::Cancelled => so,
            OrderState::Failed => Err(Refusal::OrderEnded.into()),
            OrderState::Placed if order.cancel_requested => so,
            OrderState::Placed => {
                let (saga, why) = (order.saga, reason.clone());
                let ask = saga::Command::Cancel { saga, by: by.clone(), reason: why };
                // The saga is past its point of no return, or on its way back by itself: soon it is one or the other.
                let Ok(Decided::One(turned)) = self.sagas.decide(ask) else {
                    return Err(Refusal::OrderSettling.into());
                };
                let requested = Event::CancelRequested { order: no, by, reason };
                Ok(Decided::Many(vec![AnyEvent::Saga(turned), AnyEvent::Order(requested)]))
            }
            // Looked at here and not by the caller beforehand: it may have been paid since.
            OrderState::Paid if owner.is_some() => Err(Refusal::OrderPaid.into()),
            OrderState::Paid if order.refund_under_way().is_some_and(|refund| refund.cancel) => so,
            OrderState::Paid => self.refund(order, order.everything_left(), true, by, reason),
        }
    }

    fn give_back(
        &self,
        no: OrderNo,
        lines: &[CartLine],
        by: Actor,
        reason: Reason,
    ) -> Result<AnyDecision, AnyRefusal> {
        let order = self.orders.order(no).ok_or(Refusal::OrderNotFound)?;
        match order.state {
            OrderState::Cancelled | OrderState::Failed => Err(Refusal::OrderEnded.into()),
            OrderState::Placed => Err(Refusal::OrderNotPaid.into()),
            OrderState::Paid => self.refund(order, order.plan_return(lines)?, false, by, reason),
        }
    }

    /// Begins to give back goods, money and points.
    fn refund(
        &self,
        order: &Order,
        (lines, amount, points): (Vec<crate::order::RefundLine>, i64, i64),
        cancel: bool,
        by: Actor,
        reason: Reason,
    ) -> Result<AnyDecision, AnyRefusal> {
        if order.refund_under_way().is_some() {
            return Err(Refusal::RefundUnderWay.into());
        }
        // It may be in memory a while longer: it is let go of at the next event of an order.
        if order.over().is_some_and(|(at, _)| at <= self.time) {
            return Err(Refusal::OrderEnded.into());
        }
        if order.refunds.len() >= limits::ORDER_REFUNDS_MAX {
            return Err(Refusal::TooManyRefunds.into());
        }
        let paid = order.payment.as_ref().ok_or(Refusal::OrderNotPaid)?;
        let refund = order.refunds.len() as u32 + 1;
        let mut goods = Vec::new();
        for part in &lines {
            let line = &order.lines[usize::from(part.line)];
            add_goods(&mut goods, &line.parts, part.quantity)?;
        }
        let mut input = Fields::new();
        input.insert("order", order.no.to_string());
        input.insert("refund", refund.to_string());
        input.insert("member", order.member.as_str());
        if amount > 0 {
            input.insert("amount", amount.to_string());
            input.insert("currency", order.currency.as_str());
            input.insert("payment", &*paid.id);
            input.insert("transfer", paid.transfer.map(|no| no.to_string()).unwrap_or_default());
        }
        if points > 0 {
            input.insert("points", points.to_string());
        }
        if let Some(coupon) = order.coupon.filter(|_| cancel) {
            input.insert("coupon", CodeKey::new(&self.keys).code(coupon).to_string());
        }
        if !goods.is_empty() {
            input.insert("lines", goods_text(&goods));
            input.insert("reservation", paid.reservation.to_string());
        }
        let started = self.start(REFUND, &format!("{}.{refund}", order.no), input)?;
        let (order, saga) = (order.no, self.next_saga());
        let begun = Event::RefundBegun { order, refund, cancel, lines, amount, points, by, reason, saga };
        Ok(Decided::Many(vec![started, AnyEvent::Order(begun)]))
    }

    /// The event that begins the saga `name` for `key`.
    fn start(&self, name: &str, key: &str, input: Fields) -> Result<AnyEvent, AnyRefusal> {
        let name = SagaName::new(name).expect("a valid name");
        let key = SagaKey::new(key).expect("a number is a valid key");
        match self.sagas.decide(saga::Command::Start { name, key, input }) {
            Ok(Decided::One(started)) => Ok(AnyEvent::Saga(started)),
            // Somebody began a saga by hand for an order that was not placed.
            Ok(_) | Err(saga::Refusal::SagaKeyReused) => Err(Refusal::OrderSettling.into()),
            Err(saga::Refusal::SagaNotDefined) => Err(Refusal::CheckoutNotDefined.into()),
            Err(other) => Err(other.into()),
        }
    }

    fn next_saga(&self) -> crate::SagaNo {
        crate::SagaNo::new(self.sagas.started() + 1)
    }

    fn priced<'a>(
        &'a self,
        lines: &'a [CartLine],
        terms: &Terms,
    ) -> Result<Vec<(&'a CartLine, &'a Product)>, AnyRefusal> {
        let priced = lines.iter().map(|line| {
            let product = self.orders.product(&line.product).ok_or(Refusal::ProductNotFound)?;
            if !product.on_sale {
                return Err(Refusal::ProductNotOnSale);
            }
            if product.price.currency != terms.currency {
                return Err(Refusal::OtherCurrency);
            }
            Ok((line, product))
        });
        Ok(priced.collect::<Result<_, Refusal>>()?)
    }

    /// What a coupon takes off these goods.
    fn reduction(
        &self,
        coupon: CouponId,
        priced: &[(&CartLine, &Product)],
        terms: &Terms,
    ) -> Result<Reduction, AnyRefusal> {
        let campaign = self.coupons.campaign_no(coupon.campaign()).ok_or(coupon::Refusal::CouponNotFound)?;
        let definition = campaign.definition();
        let goods = Quote::of(priced, terms, Reduction::None, 0)?.goods();
        if let Some(minimum) = definition.minimum_order {
            if minimum.currency != terms.currency {
                return Err(Refusal::OtherCurrency.into());
            }
            if goods < minimum.minor {
                return Err(Refusal::BelowMinimumOrder.into());
            }
        }
        let here = |money: crate::Money| {
            if money.currency == terms.currency { Ok(money.minor) } else { Err(Refusal::OtherCurrency) }
        };
        Ok(match definition.benefit {
            Benefit::Amount(amount) => Reduction::Amount(here(amount)?),
            Benefit::Percent { basis_points, cap } => {
                Reduction::Percent(basis_points, cap.map(here).transpose()?)
            }
            Benefit::FreeShipping => Reduction::Shipping,
        })
    }

    fn points_hold(&self, member: &MemberId, points: i64) -> pay::Command {
        let shop = AccountId::new("shop:points").expect("a valid account");
        let hold = pay::NewTransfer::Hold {
            debit: points_account(member).into(),
            credit: shop.into(),
            amount: points,
            hold_for: Millis::new(1),
        };
        pay::Command::Transfer {
            transfers: pay::Transfers::one(hold),
            reference: Reference::new("quote").expect("a valid reference"),
            by: Actor::new("quote").expect("a valid actor"),
        }
    }

    /// What a saga's step tells an order, by the step's action. `text` gives a parameter of the step.
    ///
    /// # Errors
    /// Why not, in a word: the step is refused.
    pub(crate) fn tell_order(
        &self,
        action: &str,
        saga: &Saga,
        text: impl Fn(&str) -> String,
    ) -> Result<AnyDecision, String> {
        let no = OrderNo::parse(&text("order")).map_err(|error| error.to_string())?;
        let order = self.orders.order(no).ok_or_else(|| Refusal::OrderNotFound.slug().to_owned())?;
        let refund = || {
            let wanted = text("refund").parse().unwrap_or(0);
            let found = order.refunds.iter().find(|refund| refund.no == wanted);
            found.ok_or_else(|| String::from("refund-not-found"))
        };
        let so = as_it_is(Outcome::Order { order: no });
        let begun = |state| state == crate::order::RefundState::Begun;
        Ok(match (action, order.state) {
            // A saga that somebody began by hand for another's order must not pay it.
            ("order.begin" | "order.fail" | "order.paid", _) if order.saga != saga.no => {
                return Err("not-this-saga".into());
            }
            ("order.begin", OrderState::Placed) => so,
            ("order.fail", OrderState::Placed) => {
                one(Event::Failed { order: no, why: cause_word(saga.cause.as_ref()).into() })
            }
            ("order.fail", OrderState::Failed | OrderState::Cancelled) => so,
            ("order.paid", OrderState::Paid) => so,
            ("order.paid", OrderState::Placed) => {
                let transfer = |name: &str| match text(name) {
                    text if text.is_empty() => Ok(None),
                    text => TransferNo::parse(&text).map(Some).map_err(|error| error.to_string()),
                };
                let (booked, points) = (transfer("transfer")?, transfer("points")?);
                // What `apply` would stop the process for: a step that was skipped by hand, or a definition that leaves it out.
                if booked.is_some() != (order.total() > 0) || points.is_some() != (order.points() > 0) {
                    return Err("order-not-booked".into());
                }
                one(Event::Paid {
                    order: no,
                    payment: text("payment").into(),
                    transfer: booked,
                    points,
                    reservation: ReservationNo::parse(&text("reservation"))
                        .map_err(|error| error.to_string())?,
                })
            }
            ("order.begin-refund" | "order.refunded" | "order.refund-refused", _)
                if refund()?.saga != saga.no =>
            {
                return Err("not-this-saga".into());
            }
            ("order.begin-refund", _) if begun(refund()?.state) => so,
            ("order.refunded", _) if begun(refund()?.state) => {
                one(Event::RefundDone { order: no, refund: refund()?.no })
            }
            ("order.refund-refused", _) if begun(refund()?.state) => {
                let why = cause_word(saga.cause.as_ref()).into();
                one(Event::RefundRefused { order: no, refund: refund()?.no, why })
            }
            ("order.refunded" | "order.refund-refused", _) => so,
            _ => return Err(Refusal::OrderEnded.slug().into()),
        })
    }

    /// A coupon is free again, if `order` had redeemed it; otherwise nothing.
    pub(crate) fn restore_coupon(&self, coupon: CouponId, order: &OrderId) -> Vec<AnyEvent> {
        self.coupons.take_back(self.time, coupon, order).map(AnyEvent::Coupon).into_iter().collect()
    }

    /// Goods come back: to the reservation they were committed from, or, if that is no longer remembered, on hand.
    ///
    /// # Errors
    /// Why not, in a word.
    pub(crate) fn take_back(
        &self,
        reservation: ReservationNo,
        lines: &Lines,
        by: &Actor,
        reason: &Reason,
    ) -> Result<Vec<AnyEvent>, String> {
        let word = |refusal: AnyRefusal| refusal.slug().to_owned();
        let (wanted, who, why) = (lines.clone(), by.clone(), reason.clone());
        let ask = stock::Command::Return { reservation, lines: wanted, by: who, reason: why };
        match self.decide_stock(ask) {
            // Not by whether it is in memory: it may be there a while longer than it is remembered.
            Err(AnyRefusal::Stock(stock::Refusal::ReservationNotFound)) => {}
            decided => return Ok(stock_events(decided.map_err(word)?)),
        }
        let mut events = Vec::new();
        for Line { sku, quantity, .. } in lines.as_slice() {
            let place =
                self.stock.items_of(sku).next().ok_or_else(|| word(stock::Refusal::SkuNotFound.into()))?;
            let (sku, location) = (sku.clone(), place.location.clone());
            let (quantity, by, reason) = (*quantity, by.clone(), reason.clone());
            let ask = stock::Command::Receive { sku, location, quantity, by, reason };
            events.extend(stock_events(self.decide_stock(ask).map_err(word)?));
        }
        Ok(events)
    }
}

/// The events of a decision about stock; none if there is nothing to do.
fn stock_events(decided: Decided<stock::Event, stock::Outcome, stock::Remembered>) -> Vec<AnyEvent> {
    match decided {
        Decided::One(event) => vec![AnyEvent::Stock(event)],
        Decided::Many(many) => many.into_iter().map(AnyEvent::Stock).collect(),
        Decided::Before(..) | Decided::AsItIs(..) => Vec::new(),
    }
}

fn one(event: Event) -> AnyDecision {
    Decided::One(AnyEvent::Order(event))
}

/// Why a saga turned back, in a word for those who read an order.
fn cause_word(cause: Option<&Cause>) -> &str {
    match cause {
        Some(Cause::Step(_, why)) => why,
        Some(Cause::Cancelled(..)) => "cancelled",
        Some(Cause::TimedOut) => "timed-out",
        Some(Cause::Forced) | None => "undone-by-operator",
    }
}

/// Adds what `quantity` of a product is made of.
fn add_goods(goods: &mut Vec<Line>, parts: &[crate::order::Part], quantity: u32) -> Result<(), Refusal> {
    for part in parts {
        let units = part.quantity.checked_mul(quantity).ok_or(Refusal::OrderTooLarge)?;
        match goods.iter_mut().find(|line| line.sku == part.sku) {
            Some(line) => {
                line.quantity = line.quantity.checked_add(units).ok_or(Refusal::OrderTooLarge)?;
            }
            None => goods.push(Line { sku: part.sku.clone(), location: None, quantity: units }),
        }
    }
    Ok(())
}

/// Goods as a saga's field: `SKU*QUANTITY`, a space between two.
fn goods_text(goods: &[Line]) -> String {
    let lines: Vec<String> = goods.iter().map(|line| format!("{}*{}", line.sku, line.quantity)).collect();
    lines.join(" ")
}
