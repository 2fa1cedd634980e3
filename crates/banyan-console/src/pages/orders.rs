//! Orders, the newest first: what they come to, and what those that are not paid wait for.

use crate::format;
use crate::forms;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section};
use crate::link;
use crate::pages::members::as_of;
use crate::pages::{look, read_record};
use crate::parts;
use crate::steps;
use crate::text::{self, Lang, Text};
use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::order::{Order, OrderLine, OrderState, Payment, Refund, RefundLine};
use banyan_domain::saga::StepState;
use banyan_domain::{Actor, Currency, MemberId, OrderNo, ProductId, Reason, SagaNo, State, Timestamp};
use banyan_log::Seq;
use banyan_views::record::{OrderLineRecord, OrderPage, OrderRecord, OrderRefundRecord};
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};

/// Orders on one page.
const PAGE_ORDERS: usize = 50;

const TABS: [(&str, OrderState, Text); 4] = [
    ("placed", OrderState::Placed, text::TAB_PLACED),
    ("paid", OrderState::Paid, text::TAB_PAID),
    ("cancelled", OrderState::Cancelled, text::TAB_CANCELLED),
    ("failed", OrderState::Failed, text::TAB_FAILED),
];

/// One order of the list.
struct OrderRow {
    no: OrderNo,
    member: String,
    state: OrderState,
    currency: Currency,
    total: i64,
    refunded: i64,
    /// Units of each product, the first few.
    products: Vec<(String, u32)>,
    more_products: usize,
    placed_at: Timestamp,
    waits: Option<Waits>,
}

/// What an order waits for: the saga that is under way for it, and where that stands.
#[derive(Clone, Debug)]
pub(crate) struct Waits {
    pub(crate) saga: SagaNo,
    pub(crate) is_refund: bool,
    pub(crate) is_parked: bool,
    /// The step, and where it stands.
    pub(crate) at: Option<(String, StepState)>,
}

/// What the address asks for.
struct Asked {
    state: String,
    q: String,
    /// The order before which to go on.
    before: Option<u64>,
}

/// What was found.
struct Found {
    rows: Vec<OrderRow>,
    /// The order before which to look on, if there is more.
    next: Option<u64>,
    placed: u64,
    checkpoint: Seq,
}

impl Waits {
    /// What `order` waits for, if for anything.
    pub(crate) fn of(state: &State, order: &Order) -> Option<Self> {
        let refund = order.refund_under_way();
        let saga = match order.state {
            OrderState::Placed => order.saga,
            _ => refund?.saga,
        };
        let known = state.sagas().saga(saga);
        let definition = known.and_then(|known| state.sagas().definition(known.definition));
        let at = known.zip(definition).and_then(|(known, definition)| {
            let place = steps::stands_at(known)?;
            Some((definition.steps.get(place)?.name.to_string(), known.steps.get(place)?.clone()))
        });
        let is_parked = known.is_some_and(|known| known.parked.is_some());
        Some(Self { saga, is_refund: refund.is_some(), is_parked, at })
    }

    /// The same in words, with a link to the saga.
    pub(crate) fn words(&self, lang: Lang) -> Markup {
        html! {
            @if self.is_parked { (parts::state(lang, "parked", text::PHASE_PARKED)) " " }
            @if self.is_refund { (lang.t(text::REFUND_BEGUN)) ", " }
            a href=(parts::saga_href(self.saga.get())) {
                @match &self.at {
                    Some((step, state)) => { (step) @if !self.is_parked { ": " (lang.t(steps::step_words(state).1)) } },
                    None => { (lang.f(text::SAGA_N, &[&self.saga.get().to_string()])) },
                }
            }
        }
    }
}

/// The mark that says where an order stands.
pub(crate) fn state(lang: Lang, of: OrderState) -> Markup {
    match of {
        OrderState::Placed => parts::state(lang, "scheduled", text::ORDER_PLACED),
        OrderState::Paid => parts::state(lang, "completed", text::ORDER_PAID),
        OrderState::Cancelled => parts::state(lang, "ended", text::ORDER_CANCELLED),
        OrderState::Failed => parts::state(lang, "failed", text::ORDER_FAILED),
    }
}

/// Lists orders.
pub(crate) async fn show(viewer: Viewer, headers: HeaderMap, Query(query): Query<Fields>) -> Response {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(&query, name).to_owned();
    let asked = Asked { state: field("state"), q: field("q"), before: field("before").parse().ok() };
    // A number is an order's own address; while somebody types, it stands in the list.
    if let Ok(no) = OrderNo::parse(&asked.q)
        && !headers.contains_key("hx-request")
    {
        return Redirect::to(&parts::order_href(no)).into_response();
    }
    let found = match find(&viewer, &asked).await {
        Ok(found) => found,
        Err(problem) => return problem,
    };
    let body = html! {
        (layout::title(lang.t(text::ORDERS), &html! {}))
        @if found.placed == 0 {
            (parts::empty(lang.t(text::NO_ORDERS), lang.t(text::NO_ORDERS_HINT), Some((lang, &place_command(&viewer)))))
        } @else {
            (filters(&viewer, &asked))
            div #list {
                @if found.rows.is_empty() { p.nothing { (lang.t(text::NO_ORDER_FITS)) " " a href="/console/orders" { (lang.t(text::SHOW_ALL)) } } }
                @else { (table(lang, &found.rows)) }
                (pager(lang, &asked, &found))
                (as_of(&viewer, found.checkpoint))
            }
        }
        (parts::curl(&viewer, &link::with("/v1/orders", &[("state", &asked.state)])))
    };
    Page::new(lang.t(text::ORDERS), Section::Orders, body).show(&viewer).into_response()
}

fn place_command(viewer: &Viewer) -> String {
    let body = r#"{"member":"m-1","lines":[{"product":"mug","quantity":1}],"method":"tok_ok"}"#;
    let origin = &viewer.visit.origin;
    format!(
        "curl -X POST -H \"Authorization: Bearer $BANYAN_KEY\" -H 'Idempotency-Key: 1' -d '{body}' '{origin}/v1/orders'"
    )
}

/// What the address asks for: from the record store, which has every order there ever was, with those that are in memory
/// as they are now.
async fn find(viewer: &Viewer, asked: &Asked) -> Result<Found, Response> {
    let lang = viewer.lang();
    let wanted = TABS.iter().find(|(name, ..)| *name == asked.state).map(|(_, state, _)| *state);
    let (before, q) = (asked.before.map(OrderNo::new), asked.q.clone());
    let read = read_record(viewer, move |record| {
        let checkpoint = record.checkpoint()?;
        let nothing = OrderPage { orders: Vec::new(), next: None, checkpoint };
        if let Ok(no) = OrderNo::parse(&q) {
            return Ok(OrderPage { orders: record.order(no)?.into_iter().collect(), ..nothing });
        }
        if q.is_empty() {
            return record.orders(wanted, before, PAGE_ORDERS);
        }
        let Ok(member) = MemberId::new(q) else { return Ok(nothing) };
        let mut page = record.member_orders(&member, before, PAGE_ORDERS)?;
        page.orders.retain(|order| wanted.is_none_or(|wanted| wanted == order.state));
        Ok(page)
    });
    let page = read.await.map_err(|why| {
        let hint = lang.f(text::RECORD_UNREADABLE_HINT, &[&why]);
        viewer.problem(StatusCode::SERVICE_UNAVAILABLE, lang.t(text::RECORD_UNREADABLE), &hint)
    })?;
    let (next, checkpoint) = (page.next.map(OrderNo::get), page.checkpoint);
    look(viewer, move |state| {
        let row = |record: OrderRecord| match state.orders().order(record.order) {
            Some(order) => Some(OrderRow::new(state, order)),
            None => recorded(record).map(|order| OrderRow::new(state, &order)),
        };
        let rows = page.orders.into_iter().filter_map(row).collect();
        Found { rows, next, placed: state.orders().placed(), checkpoint }
    })
    .await
}

/// An order that left memory, as it was; none if the record store holds what cannot be.
pub(crate) fn recorded(of: OrderRecord) -> Option<Order> {
    let line = |line: &OrderLineRecord| {
        Some(OrderLine {
            product: ProductId::new(line.product.clone()).ok()?,
            quantity: line.quantity,
            unit_price: line.unit_price,
            parts: Vec::new(),
            discount: line.discount,
            points: line.points,
            vat: line.vat,
        })
    };
    let lines: Vec<OrderLine> = of.lines.iter().filter_map(line).collect();
    let (points, vat): (Vec<i64>, Vec<i64>) = lines.iter().map(|line| (line.points, line.vat)).unzip();
    let refund = |refund: OrderRefundRecord| {
        Some(Refund {
            no: refund.refund,
            cancel: refund.cancel,
            lines: refund.lines.iter().map(|&(line, quantity)| RefundLine { line, quantity }).collect(),
            amount: refund.amount,
            points: refund.points,
            by: Actor::new(refund.actor).ok()?,
            reason: Reason::new(refund.reason).ok()?,
            saga: refund.saga,
            state: refund.state,
            begun_at: refund.begun_at,
            ended_at: refund.ended_at,
            why: refund.why,
        })
    };
    let payment = of.paid_at.zip(of.reservation).map(|(at, reservation)| Payment {
        at,
        id: of.payment.clone().unwrap_or_default(),
        transfer: None,
        points: None,
        reservation,
    });
    Some(Order {
        no: of.order,
        member: MemberId::new(of.member).ok()?,
        currency: of.currency,
        shipping: of.shipping,
        shipping_points: of.points - points.iter().sum::<i64>(),
        shipping_vat: of.vat - vat.iter().sum::<i64>(),
        lines,
        coupon: of.coupon,
        saga: of.saga,
        placed_at: of.placed_at,
        state: of.state,
        cancel_requested: of.cancel_requested,
        payment,
        ended_at: of.ended_at,
        why: of.why,
        refunds: of.refunds.into_iter().filter_map(refund).collect(),
    })
}

impl OrderRow {
    fn new(state: &State, order: &Order) -> Self {
        /// Products named in a row.
        const NAMED: usize = 3;
        let named = order.lines.iter().take(NAMED);
        Self {
            no: order.no,
            member: order.member.to_string(),
            state: order.state,
            currency: order.currency,
            total: order.total(),
            refunded: order.refunded(),
            products: named.map(|line| (line.product.to_string(), line.quantity)).collect(),
            more_products: order.lines.len().saturating_sub(NAMED),
            placed_at: order.placed_at,
            waits: Waits::of(state, order),
        }
    }
}

fn filters(viewer: &Viewer, asked: &Asked) -> Markup {
    let lang = viewer.lang();
    let tab = |state: &str, word: Text| {
        let href = link::with("/console/orders", &[("state", state), ("q", &asked.q)]);
        html! { a href=(href) aria-current=[(asked.state == state).then_some("true")] { (lang.t(word)) } }
    };
    let tabs = html! { (tab("", text::ALL)) @for (name, _, word) in TABS { (tab(name, word)) } };
    parts::filters(viewer, "/console/orders", &tabs, &asked.state, text::FIND_ORDER, &asked.q)
}

fn table(lang: Lang, rows: &[OrderRow]) -> Markup {
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::ORDER_TITLE)) }
                th scope="col" { (lang.t(text::STATE)) }
                th scope="col" { (lang.t(text::LINES)) }
                th.num scope="col" { (lang.t(text::TOTAL)) }
                th.num scope="col" { (lang.t(text::REFUNDED)) }
                th scope="col" { (lang.t(text::WAITS_FOR)) }
                th scope="col" { (lang.t(text::PLACED_AT)) }
            } }
            tbody { @for row in rows {
                tr {
                    th scope="row" {
                        a href=(parts::order_href(row.no)) { (row.no) }
                        span.id title=(row.member) { (parts::short(&row.member)) }
                    }
                    td { (state(lang, row.state)) }
                    td.what {
                        @for (index, (product, quantity)) in row.products.iter().enumerate() { @if index > 0 { ", " } (format::number((*quantity).into())) " × " (parts::short(product)) }
                        @if row.more_products > 0 { " " span.hint { (lang.f(text::AND_MORE, &[&row.more_products.to_string()])) } }
                    }
                    td.num data-label=(lang.t(text::TOTAL)) { (format::amount(row.total.into(), row.currency)) }
                    td.num data-label=(lang.t(text::REFUNDED)) { @if row.refunded == 0 { span.hint.none { "–" } } @else { (format::plain_amount(row.refunded.into(), row.currency)) } }
                    td data-label=(lang.t(text::WAITS_FOR)) { @match &row.waits { Some(waits) => { span { (waits.words(lang)) } }, None => { span.hint.none { "–" } } } }
                    td.when data-label=(lang.t(text::PLACED_AT)) { (parts::time(lang, row.placed_at)) }
                }
            } }
        }
    }
}

fn pager(lang: Lang, asked: &Asked, found: &Found) -> Markup {
    let href = |before: &str| {
        link::with("/console/orders", &[("state", &asked.state), ("q", &asked.q), ("before", before)])
    };
    let full = found.rows.len() == PAGE_ORDERS;
    html! {
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if asked.before.is_some() { a.button href=(href("")) { (lang.t(text::NEWEST)) } }
            @if let Some(next) = found.next { a.button rel="next" href=(href(&next.to_string())) { (lang.t(if full { text::OLDER } else { text::LOOK_FURTHER })) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::ReservationNo;
    use banyan_domain::order::RefundState;

    #[test]
    fn an_order_from_the_record_store_comes_to_what_it_came_to() {
        let at = Timestamp::from_millis;
        let line = OrderLineRecord {
            product: "mug".into(),
            quantity: 2,
            unit_price: 12_900,
            discount: 5_000,
            points: 800,
            vat: 1_890,
            returned: 1,
        };
        let refund = OrderRefundRecord {
            refund: 1,
            cancel: false,
            state: RefundState::Done,
            why: None,
            lines: vec![(0, 1)],
            amount: 10_000,
            points: 400,
            actor: "mina".into(),
            reason: "too small".into(),
            saga: SagaNo::new(9),
            begun_at: at(70),
            ended_at: Some(at(80)),
        };
        let record = OrderRecord {
            order: OrderNo::new(17),
            member: "m-1".into(),
            state: OrderState::Paid,
            why: None,
            currency: Currency::new("KRW").expect("a currency"),
            goods: 25_800,
            discount: 5_000,
            shipping: 3_000,
            points: 1_000,
            total: 22_800,
            vat: 2_163,
            coupon: None,
            saga: SagaNo::new(3),
            payment: Some("pay_1".into()),
            reservation: Some(ReservationNo::new(5)),
            refunded: 10_000,
            refunded_points: 400,
            placed_at: at(50),
            paid_at: Some(at(60)),
            ended_at: None,
            cancel_requested: false,
            lines: vec![line],
            refunds: vec![refund],
            seq: Seq(100),
        };
        let order = recorded(record.clone()).expect("it can be");
        let sums =
            [order.goods(), order.discount(), order.shipping, order.points(), order.total(), order.vat()];
        assert_eq!(sums, [25_800, 5_000, 3_000, 1_000, 22_800, 2_163]);
        assert_eq!((order.refunded(), order.refunded_points(), order.returned(0)), (10_000, 400, 1));
        assert_eq!(order.payment.map(|payment| payment.reservation), Some(ReservationNo::new(5)));
        assert_eq!(recorded(OrderRecord { member: "two words".into(), ..record }), None);
    }
}
