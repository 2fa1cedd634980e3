//! What may be answered to a command about orders.

use crate::model::Model;
use crate::model::orders::{Order, Way};
use banyan_domain::order::{Cart, Command, Event as OrderEvent, Outcome, Refusal as No};
use banyan_domain::saga::{Cause, Event as SagaEvent};
use banyan_domain::stock::{Line, Lines, Refusal as StockNo};
use banyan_domain::{
    Command as AnyCommand, Event, MemberId, Millis, OrderId, OrderNo, Refusal, coupon, limits, pay, stock,
};

/// The answer to a command that has nothing left to do.
pub(super) fn natural(model: &Model, command: &Command) -> Option<Outcome> {
    let orders = &model.orders;
    match command {
        Command::SetProducts { products, .. } => {
            let same = products.iter().all(|product| orders.product(&product.id) == Some(product));
            same.then_some(Outcome::Products { changed: 0 })
        }
        Command::SetTerms { terms, .. } => (orders.terms.as_ref() == Some(terms)).then_some(Outcome::Terms),
        Command::Cancel { order: no, owner, .. } => {
            let order = orders.order(*no).filter(|order| is_of(order, owner.as_ref()))?;
            let so = match order.way {
                Way::Cancelled => true,
                Way::Placed => order.cancel_requested,
                Way::Paid if owner.is_some() => false,
                Way::Paid => order.under_way().is_some_and(|refund| refund.cancel),
                Way::Failed => false,
            };
            so.then_some(Outcome::Order { order: *no })
        }
        Command::Place { .. } | Command::Return { .. } => None,
    }
}

/// Whether an order is its `owner`'s, if the caller acts for one member only.
fn is_of(order: &Order, owner: Option<&MemberId>) -> bool {
    owner.is_none_or(|owner| order.member == *owner)
}

/// Whether `no` is true of `command` at `now`.
pub(super) fn justified(model: &Model, now: u64, command: &Command, no: Refusal) -> bool {
    match command {
        Command::SetProducts { .. } => no == No::TermsNotSet.into() && model.orders.terms.is_none(),
        Command::SetTerms { .. } => false,
        Command::Place { cart, expect_total, .. } => cannot_be_had(model, now, cart, *expect_total, no),
        Command::Cancel { order, .. } | Command::Return { order, .. } => {
            let Refusal::Order(no) = no else { return false };
            let owner = match command {
                Command::Cancel { owner, .. } => owner.as_ref(),
                _ => None,
            };
            let found = model.orders.order(*order).filter(|order| is_of(order, owner));
            let Some(found) = found else { return no == No::OrderNotFound };
            let returns = matches!(command, Command::Return { .. });
            match no {
                No::OrderNotFound => found.ended_at.is_some_and(|at| at + limits::ORDER_ENDED_MILLIS <= now),
                No::OrderEnded => found.way == Way::Failed || (returns && found.way == Way::Cancelled),
                No::OrderPaid => owner.is_some() && found.way == Way::Paid,
                No::OrderSettling => !returns && found.way == Way::Placed && is_settling(model, found),
                No::OrderNotPaid => returns && found.way == Way::Placed,
                No::RefundUnderWay => found.under_way().is_some(),
                No::ReturnExceedsOrder => {
                    let Command::Return { lines, .. } = command else { return false };
                    lines.iter().any(|asked| {
                        let places = found.lines.iter().enumerate();
                        let same = places.filter(|(_, line)| line.product == asked.product);
                        same.map(|(at, line)| line.quantity - found.came_back(at)).sum::<u32>()
                            < asked.quantity
                    })
                }
                _ => false,
            }
        }
    }
}

fn is_settling(model: &Model, order: &Order) -> bool {
    let sagas = &model.sagas;
    sagas.saga(order.saga).is_some_and(|saga| {
        saga.turned.is_some() || saga.ended.is_some() || saga.is_past_pivot(sagas.definition(saga))
    })
}

fn cannot_be_had(model: &Model, now: u64, cart: &Cart, expect: Option<i64>, no: Refusal) -> bool {
    let orders = &model.orders;
    let missing = cart.lines.iter().any(|line| orders.product(&line.product).is_none());
    let order = OrderId::new(OrderNo::new(orders.orders.len() as u64 + 1).to_string()).expect("visible");
    match no {
        Refusal::Order(No::TermsNotSet) => orders.terms.is_none(),
        Refusal::Order(No::ProductNotFound) => missing,
        Refusal::Order(No::ProductNotOnSale) => {
            let off = |line: &banyan_domain::order::CartLine| {
                orders.product(&line.product).is_some_and(|product| !product.on_sale)
            };
            cart.lines.iter().any(off)
        }
        // The simulated shopper who expects a price expects one that is never so.
        Refusal::Order(No::PriceChanged) => expect == Some(1),
        Refusal::Order(No::CheckoutNotDefined) => {
            model.sagas.definitions.iter().all(|known| known.name.as_str() != "checkout")
        }
        Refusal::Coupon(no) => cart.coupon.is_some_and(|coupon| {
            let (owner, hold_for) = (Some(cart.member.clone()), Millis::new(1));
            let ask = coupon::Command::HoldCoupon { coupon, owner, order, hold_for };
            model.justified(now, &AnyCommand::Coupon(ask), Refusal::Coupon(no))
        }),
        Refusal::Pay(no) => {
            let account = model.ledger.accounts.iter();
            let mut own = account
                .filter(|account| account.id.as_str().strip_prefix("points:") == Some(cart.member.as_str()));
            let available = own.next().map(|account| account.available().unwrap_or(i64::MAX));
            match no {
                pay::Refusal::AccountNotFound => available.is_none() && cart.points > 0,
                pay::Refusal::InsufficientFunds => available.is_some_and(|left| left < cart.points),
                _ => false,
            }
        }
        Refusal::Stock(StockNo::OutOfStock { .. } | StockNo::SkuNotFound) => {
            let Some(lines) = goods(model, cart) else { return false };
            let ask = stock::Command::Reserve {
                lines,
                member: None,
                order: None,
                holder: banyan_domain::Holder::Shop,
                hold_for: Millis::new(1),
            };
            model.justified(now, &AnyCommand::Stock(ask), no)
        }
        _ => false,
    }
}

/// Each SKU once, in the order in which it first comes up.
fn goods(model: &Model, cart: &Cart) -> Option<Lines> {
    let mut goods: Vec<Line> = Vec::new();
    for line in &cart.lines {
        for part in &model.orders.product(&line.product)?.parts {
            let units = part.quantity * line.quantity;
            match goods.iter_mut().find(|known| known.sku == part.sku) {
                Some(known) => known.quantity += units,
                None => goods.push(Line { sku: part.sku.clone(), location: None, quantity: units }),
            }
        }
    }
    Lines::new(goods).ok()
}

/// Whether `event` is something that `command` may come to: its own events, before what the saga does by itself.
pub(super) fn fits(model: &Model, command: &Command, event: &Event) -> bool {
    let next = OrderNo::new(model.orders.orders.len() as u64 + 1).to_string();
    match (command, event) {
        (
            Command::SetProducts { products, .. },
            Event::Order(OrderEvent::ProductsSet { products: set, .. }),
        ) => set.iter().all(|product| products.contains(product)),
        (Command::SetTerms { .. }, Event::Pay(pay::Event::AccountOpened { account, .. })) => {
            let known = ["company:receivable", "shop:sales", "shop:points"];
            known.contains(&account.id.as_str())
        }
        (Command::SetTerms { terms, .. }, Event::Order(OrderEvent::TermsSet { terms: set, .. })) => {
            terms == set
        }
        (Command::Place { .. }, Event::Saga(SagaEvent::Started { key, .. })) => key.as_str() == next,
        (
            Command::Place { cart, .. },
            Event::Order(OrderEvent::Placed { order, member, lines, coupon, .. }),
        ) => {
            let same = lines.len() == cart.lines.len()
                && lines
                    .iter()
                    .zip(&cart.lines)
                    .all(|(line, asked)| (&line.product, line.quantity) == (&asked.product, asked.quantity));
            same && order.to_string() == next && *member == cart.member && *coupon == cart.coupon
        }
        (Command::Cancel { order, .. }, Event::Saga(SagaEvent::TurnedBack { saga, cause })) => {
            let own = model.orders.order(*order).is_some_and(|order| order.saga == *saga);
            own && matches!(cause, Cause::Cancelled(..))
        }
        (Command::Cancel { order, .. }, Event::Order(OrderEvent::CancelRequested { order: of, .. })) => {
            order == of
        }
        (
            Command::Cancel { order, .. } | Command::Return { order, .. },
            Event::Saga(SagaEvent::Started { key, .. }),
        ) => key.as_str().rsplit_once('.').is_some_and(|(of, _)| of == order.to_string()),
        (
            Command::Cancel { order, owner, .. },
            Event::Order(OrderEvent::RefundBegun { order: of, cancel, .. }),
        ) => order == of && *cancel && owner.is_none(),
        (
            Command::Return { order, lines, .. },
            Event::Order(OrderEvent::RefundBegun { order: of, cancel, lines: back, .. }),
        ) => {
            let asked: u32 = lines.iter().map(|line| line.quantity).sum();
            order == of && !cancel && back.iter().map(|part| part.quantity).sum::<u32>() == asked
        }
        _ => false,
    }
}
