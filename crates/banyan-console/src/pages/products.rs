//! The price list: what is sold at which price, what it is made of, and how many could be had now.

use crate::format;
use crate::forms;
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, fact};
use crate::link;
use crate::pages::{ROWS_PER_LOOK, ROWS_PER_PAGE, look};
use crate::parts;
use crate::text::{self, Lang, Text};
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use banyan_domain::order::{Product, Terms};
use banyan_domain::{ProductId, State};
use maud::{Markup, html};

/// Products on one page.
const PAGE_PRODUCTS: usize = 50;

/// What the address asks for.
struct Asked {
    state: String,
    q: String,
    after: Option<ProductId>,
}

/// What was found: each product with how many of it could be had.
#[derive(Default)]
struct Found {
    rows: Vec<(Product, u64)>,
    terms: Option<Terms>,
    /// The product to go on after, if there is more.
    next: Option<ProductId>,
    is_empty: bool,
    seq: u64,
}

/// Lists products in order of their ids.
pub(crate) async fn show(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(&query, name).to_owned();
    let asked = Asked { state: field("state"), q: field("q"), after: ProductId::new(field("after")).ok() };
    let found = match find(&viewer, &asked).await {
        Ok(found) => found,
        Err(problem) => return problem,
    };
    let body = html! {
        (layout::title(lang.t(text::PRODUCTS), &html! {}))
        (terms(&viewer, found.terms.as_ref()))
        @if found.is_empty {
            (parts::empty(lang.t(text::NO_PRODUCTS), lang.t(text::NO_PRODUCTS_HINT), Some((lang, &set_command(&viewer, "products/mug", r#"{"price":{"minor":12900,"currency":"KRW"}}"#)))))
        } @else {
            (filters(&viewer, &asked))
            div #list {
                @if found.rows.is_empty() { p.nothing { (lang.t(text::NO_PRODUCT_FITS)) " " a href="/console/products" { (lang.t(text::SHOW_ALL)) } } }
                @else { (table(lang, &found.rows)) }
                (pager(lang, &asked, &found))
                p.hint { (lang.f(text::AS_OF_NOW, &[&format::number(found.seq)])) }
            }
        }
        (parts::curl(&viewer, "/v1/products"))
    };
    Page::new(lang.t(text::PRODUCTS), Section::Products, body).show(&viewer).into_response()
}

fn set_command(viewer: &Viewer, path: &str, body: &str) -> String {
    let origin = &viewer.visit.origin;
    format!("curl -X PUT -H \"Authorization: Bearer $BANYAN_KEY\" -d '{body}' '{origin}/v1/{path}'")
}

async fn find(viewer: &Viewer, asked: &Asked) -> Result<Found, Response> {
    let mut found = Found::default();
    let (mut after, mut looked) = (asked.after.clone(), 0);
    loop {
        let (room, wanted, from) =
            (PAGE_PRODUCTS - found.rows.len(), asked.q.to_ascii_lowercase(), after.clone());
        let on_sale = match asked.state.as_str() {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        };
        let part = look(viewer, move |state| {
            let orders = state.orders();
            let mut part = Found { terms: orders.terms().cloned(), seq: state.seq(), ..Found::default() };
            part.is_empty = orders.products_after(None).next().is_none();
            let mut rest = orders.products_after(from.as_ref()).peekable();
            let mut last = None;
            for _ in 0..ROWS_PER_LOOK {
                let Some(product) = rest.next().filter(|_| part.rows.len() < room) else { break };
                last = Some(product.id.clone());
                let fits = on_sale.is_none_or(|on_sale| on_sale == product.on_sale)
                    && (wanted.is_empty() || product.id.as_str().to_ascii_lowercase().contains(&wanted));
                if fits {
                    part.rows.push((product.clone(), available(state, product)));
                }
                if part.rows.len() == room {
                    break;
                }
            }
            part.next = last.filter(|_| rest.peek().is_some());
            part
        });
        let part = part.await?;
        found = Found { rows: [found.rows, part.rows].concat(), ..part };
        looked += ROWS_PER_LOOK;
        if found.next.is_none() || found.rows.len() == PAGE_PRODUCTS || looked >= ROWS_PER_PAGE {
            return Ok(found);
        }
        after = found.next.clone();
    }
}

/// How many of a product could be had from the stock: as many as its scarcest part allows.
fn available(state: &State, product: &Product) -> u64 {
    let of_part = |part: &banyan_domain::order::Part| {
        let units: u64 =
            state.stock().items_of(&part.sku).map(|item| u64::from(item.level.available())).sum();
        units / u64::from(part.quantity.max(1))
    };
    product.parts.iter().map(of_part).min().unwrap_or_default()
}

fn terms(viewer: &Viewer, terms: Option<&Terms>) -> Markup {
    let lang = viewer.lang();
    let Some(terms) = terms else {
        let body = r#"{"currency":"KRW","shipping_fee":3000,"free_shipping_from":50000}"#;
        return html! {
            div.notice.wait { (lang.t(text::TERMS_MISSING)) (parts::command_line(lang, &set_command(viewer, "terms", body))) }
        };
    };
    let amount = |minor: i64| format::amount(minor.into(), terms.currency);
    html! {
        dl.totals aria-label=(lang.t(text::TERMS)) {
            (fact(lang.t(text::CURRENCY), &html! { (terms.currency) }))
            (fact(lang.t(text::SHIPPING_FEE), &html! { (amount(terms.shipping_fee)) }))
            (fact(lang.t(text::FREE_FROM), &html! { (terms.free_shipping_from.map_or_else(|| lang.t(text::NEVER_FREE).to_owned(), amount)) }))
            (fact(lang.t(text::VAT), &html! { (percent(terms.vat_basis_points)) }))
        }
    }
}

/// A tax rate: `10 %`, `7.25 %`.
fn percent(basis_points: u16) -> String {
    let (whole, rest) = (basis_points / 100, basis_points % 100);
    if rest == 0 { format!("{whole} %") } else { format!("{whole}.{rest:02} %") }
}

fn filters(viewer: &Viewer, asked: &Asked) -> Markup {
    let lang = viewer.lang();
    let tab = |state: &str, word: Text| {
        let href = link::with("/console/products", &[("state", state), ("q", &asked.q)]);
        html! { a href=(href) aria-current=[(asked.state == state).then_some("true")] { (lang.t(word)) } }
    };
    let tabs = html! { (tab("", text::ALL)) (tab("on", text::TAB_ON_SALE)) (tab("off", text::TAB_OFF_SALE)) };
    parts::filters(viewer, "/console/products", &tabs, &asked.state, text::FIND_PRODUCT, &asked.q)
}

fn table(lang: Lang, rows: &[(Product, u64)]) -> Markup {
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::PRODUCT)) }
                th scope="col" { (lang.t(text::STATE)) }
                th.num scope="col" { (lang.t(text::PRICE)) }
                th.num scope="col" { (lang.t(text::VAT)) }
                th.num scope="col" { (lang.t(text::CAN_BE_HAD)) }
                th scope="col" { (lang.t(text::MADE_OF)) }
            } }
            tbody { @for (product, available) in rows {
                tr {
                    th scope="row" { b { (product.id) } }
                    td { @if product.on_sale { (parts::state(lang, "open", text::ON_SALE)) } @else { (parts::state(lang, "paused", text::OFF_SALE)) } }
                    td.num data-label=(lang.t(text::PRICE)) { (format::money(&product.price)) }
                    td.num data-label=(lang.t(text::VAT)) { (percent(product.vat_basis_points)) }
                    td.num data-label=(lang.t(text::CAN_BE_HAD)) { @if *available == 0 { (parts::state(lang, "revoked", text::SOLD_OUT_STATE)) } @else { (format::number(*available)) } }
                    td.what data-label=(lang.t(text::MADE_OF)) { span {
                        @for (index, part) in product.parts.iter().enumerate() {
                            @if index > 0 { " + " }
                            @if part.quantity > 1 { (format::number(part.quantity.into())) " × " }
                            a href=(parts::sku_href(part.sku.as_str())) { (part.sku) }
                        }
                    } }
                }
            } }
        }
    }
}

fn pager(lang: Lang, asked: &Asked, found: &Found) -> Markup {
    let href = |after: &str| {
        link::with("/console/products", &[("state", &asked.state), ("q", &asked.q), ("after", after)])
    };
    let full = found.rows.len() == PAGE_PRODUCTS;
    html! {
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if asked.after.is_some() { a.button href=(href("")) { (lang.t(text::FROM_START)) } }
            @if let Some(next) = &found.next { a.button rel="next" href=(href(next.as_str())) { (lang.t(if full { text::NEXT_PAGE } else { text::LOOK_FURTHER })) } }
        }
    }
}
