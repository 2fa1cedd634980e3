//! The goods: search, categories, order, pages.

use crate::catalog::CATEGORIES;
use crate::format;
use crate::gate::{Fields, Visit};
use crate::layout::{Page, Place};
use crate::link;
use crate::parts;
use crate::shelf::{Item, Shelf};
use crate::text::{self, Text};
use crate::wire::Campaign;
use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use std::cmp::Reverse;

/// Products on a page.
const PAGE: usize = 24;
/// Pictures that are loaded at once; those further down when they come near.
const EAGER: usize = 8;
/// Longest text that is searched for, in characters.
const WANTED_MAX: usize = 60;

/// What to show.
struct Wish {
    wanted: String,
    category: String,
    sort: String,
    page: usize,
}

impl Wish {
    fn of(query: &Fields) -> Self {
        let field = |name: &str| query.get(name).map(|value| value.trim()).unwrap_or_default();
        let category = CATEGORIES.iter().find(|known| **known == field("category"));
        Self {
            wanted: field("q").chars().take(WANTED_MAX).collect(),
            category: category.copied().unwrap_or_default().to_owned(),
            sort: field("sort").to_owned(),
            page: field("page").parse().unwrap_or(1).max(1),
        }
    }

    fn address(&self, category: &str, page: usize) -> String {
        let page = if page > 1 { page.to_string() } else { String::new() };
        link::with(
            "/shop",
            &[("q", &self.wanted), ("category", category), ("sort", &self.sort), ("page", &page)],
        )
    }

    fn is_plain(&self) -> bool {
        self.wanted.is_empty() && self.category.is_empty() && self.page == 1
    }
}

/// The shop's first page.
pub(crate) async fn show(visit: Visit, Query(query): Query<Fields>) -> Response {
    let shelf = match visit.shop.shared.shelf(&visit.shop.api).await {
        Ok(shelf) => shelf,
        Err(error) => return visit.trouble(&error),
    };
    let wish = Wish::of(&query);
    // The sale is an ornament of this page: without it the goods are shown all the same.
    let campaigns =
        if wish.is_plain() { visit.shop.shared.campaigns(&visit.shop.api).await.ok() } else { None };
    let sale = campaigns.as_ref().and_then(|all| all.value.iter().find(|campaign| campaign.state == "open"));
    let items = select(&visit, &shelf.value, &wish);
    let pages = items.len().div_ceil(PAGE).max(1);
    let page = wish.page.min(pages);
    let shown = &items[(page - 1) * PAGE..(page * PAGE).min(items.len())];
    let body = html! {
        @if let Some(campaign) = sale { (teaser(&visit, campaign)) }
        (finder(&visit, &wish, items.len()))
        @if shelf.value.items.is_empty() {
            (parts::empty(visit.t(text::NO_GOODS), visit.t(text::NO_GOODS_HINT), &html! { p { code { "banyan shop load-sample" } } }))
        } @else if shown.is_empty() {
            (parts::empty(visit.t(text::NOTHING_FOUND), visit.t(text::NOTHING_FOUND_HINT), &html! {
                p { a.button href="/shop" { (visit.t(text::BACK_TO_GOODS)) } }
            }))
        } @else {
            ul.goods { @for (n, item) in shown.iter().enumerate() { (parts::card(&visit, item, n < EAGER)) } }
            @if pages > 1 { (pager(&visit, &wish, page, pages)) }
        }
        (parts::fresh(&visit, &shelf, text::FRESH))
    };
    visit.page(Page::new(visit.t(text::GOODS_TITLE), Place::Goods, body))
}

/// What is wished for, in the order wished for.
fn select<'a>(visit: &Visit, shelf: &'a Shelf, wish: &Wish) -> Vec<&'a Item> {
    let catalog = visit.shop.catalog;
    let wanted = wish.wanted.to_lowercase();
    let matches = |item: &&Item| {
        let good = catalog.find(&item.id);
        let in_category = wish.category.is_empty() || good.is_some_and(|good| good.category == wish.category);
        let named =
            || good.map_or_else(|| item.id.to_lowercase().contains(&wanted), |good| good.matches(&wanted));
        item.on_sale && in_category && (wanted.is_empty() || named())
    };
    let mut items: Vec<&Item> = shelf.items.iter().filter(matches).collect();
    match wish.sort.as_str() {
        "cheap" => items.sort_by_key(|item| item.price),
        "dear" => items.sort_by_key(|item| Reverse(item.price)),
        "name" => items.sort_by_key(|item| catalog.name(&item.id, visit.lang).to_lowercase()),
        // As in the catalogue, which has its goods by category.
        _ => items.sort_by_key(|item| catalog.place(&item.id)),
    }
    items
}

fn teaser(visit: &Visit, campaign: &Campaign) -> Markup {
    let lang = visit.lang;
    let line = lang.f(text::SALE_TEASER, &[&format::benefit(lang, &campaign.benefit)]);
    html! {
        a.teaser href="/shop/sale" {
            strong { (campaign.name) }
            span { (line) }
            @if let Some(left) = campaign.left { span.left { (lang.f(text::LEFT, &[&format::number(left)])) } }
        }
    }
}

fn finder(visit: &Visit, wish: &Wish, found: usize) -> Markup {
    let sorts: [(&str, Text); 4] = [
        ("", text::SORT_SHOP),
        ("cheap", text::SORT_CHEAP),
        ("dear", text::SORT_DEAR),
        ("name", text::SORT_NAME),
    ];
    html! {
        div.title {
            h1 { (visit.t(text::GOODS_TITLE)) }
            span.hint { (visit.lang.f(text::FOUND, &[&format::number(found as u64)])) }
        }
        form.finder method="get" action="/shop" role="search" {
            @if !wish.category.is_empty() { input type="hidden" name="category" value=(wish.category); }
            label { span.sr { (visit.t(text::SEARCH)) }
                input type="search" name="q" value=(wish.wanted) placeholder=(visit.t(text::SEARCH_HINT)) maxlength=(WANTED_MAX) enterkeyhint="search"; }
            label { span.sr { (visit.t(text::SORT)) }
                select name="sort" data-send { @for (value, word) in sorts {
                    option value=(value) selected[value == wish.sort] { (visit.t(word)) }
                } } }
            button type="submit" { (visit.t(text::SHOW)) }
        }
        nav.categories aria-label=(visit.t(text::CATEGORIES)) {
            a href=(wish.address("", 1)) aria-current=[wish.category.is_empty().then_some("true")] { (visit.t(text::ALL)) }
            @for category in CATEGORIES {
                a href=(wish.address(category, 1)) aria-current=[(wish.category == category).then_some("true")] {
                    (visit.t(category_word(category)))
                }
            }
        }
    }
}

fn pager(visit: &Visit, wish: &Wish, page: usize, pages: usize) -> Markup {
    html! {
        nav.pager aria-label=(visit.t(text::PAGES)) {
            @if page > 1 { a.button rel="prev" href=(wish.address(&wish.category, page - 1)) { (visit.t(text::PREVIOUS)) } }
            span { (visit.lang.f(text::PAGE_OF, &[&page.to_string(), &pages.to_string()])) }
            @if page < pages { a.button rel="next" href=(wish.address(&wish.category, page + 1)) { (visit.t(text::NEXT)) } }
        }
    }
}

/// A category in words.
pub(crate) fn category_word(category: &str) -> Text {
    match category {
        "table" => text::CAT_TABLE,
        "kitchen" => text::CAT_KITCHEN,
        "cloth" => text::CAT_CLOTH,
        "desk" => text::CAT_DESK,
        "home" => text::CAT_HOME,
        "pantry" => text::CAT_PANTRY,
        "carry" => text::CAT_CARRY,
        _ => text::CAT_SET,
    }
}
