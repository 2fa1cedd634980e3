//! Orders, the newest first: what they come to, and what those that are not paid wait for.

use crate::format;
use crate::forms;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section};
use crate::link;
use crate::pages::{ROWS_PER_LOOK, ROWS_PER_PAGE, look};
use crate::parts;
use crate::steps;
use crate::text::{self, Lang, Text};
use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_domain::order::{Order, OrderState};
use banyan_domain::saga::StepState;
use banyan_domain::{Currency, OrderNo, SagaNo, State, Timestamp};
use http::HeaderMap;
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
    seq: u64,
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
                p.hint { (lang.f(text::AS_OF_NOW, &[&format::number(found.seq)])) }
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

async fn find(viewer: &Viewer, asked: &Asked) -> Result<Found, Response> {
    if let Ok(no) = OrderNo::parse(&asked.q) {
        let found = look(viewer, move |state| {
            let rows =
                state.orders().order(no).map(|order| OrderRow::new(state, order)).into_iter().collect();
            Found { rows, next: None, placed: state.orders().placed(), seq: state.seq() }
        });
        return found.await;
    }
    let wanted = TABS.iter().find(|(name, ..)| *name == asked.state).map(|(_, state, _)| *state);
    let mut found =
        Found { rows: Vec::new(), next: Some(asked.before.unwrap_or(u64::MAX)), placed: 0, seq: 0 };
    let mut looked = 0;
    while let Some(before) = found.next.filter(|_| looked < ROWS_PER_PAGE && found.rows.len() < PAGE_ORDERS) {
        let (room, member) = (PAGE_ORDERS - found.rows.len(), asked.q.clone());
        let part = look(viewer, move |state| {
            let (mut rows, mut visited, mut last) = (Vec::new(), 0, before);
            for order in state.orders().orders_before(OrderNo::new(before)).take(ROWS_PER_LOOK) {
                (visited, last) = (visited + 1, order.no.get());
                let fits = wanted.is_none_or(|wanted| wanted == order.state)
                    && (member.is_empty() || order.member.as_str().contains(&member));
                if fits {
                    rows.push(OrderRow::new(state, order));
                }
                if rows.len() == room {
                    break;
                }
            }
            let more = last < before && state.orders().orders_before(OrderNo::new(last)).next().is_some();
            (rows, (more && visited > 0).then_some(last), state.orders().placed(), state.seq())
        });
        let (rows, next, placed, seq) = part.await?;
        found.rows.extend(rows);
        found = Found { next, placed, seq, ..found };
        looked += ROWS_PER_LOOK;
    }
    Ok(found)
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
