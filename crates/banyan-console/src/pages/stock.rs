//! Every SKU: what is there and what can be sold, the lowest first, so that what needs an order stands on top.

use crate::format;
use crate::forms::{self, Attempt, typed};
use crate::gate::{Fields, Viewer};
use crate::layout::{self, Page, Section, count};
use crate::link;
use crate::pages::{ROWS_PER_LOOK, ROWS_PER_PAGE, look};
use crate::parts;
use crate::text::{self, Lang, Text};
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use banyan_domain::stock::{Level, Stock};
use banyan_domain::{ItemNo, SkuId, Timestamp};
use http::StatusCode;
use maud::{Markup, html};

/// SKUs on one page.
const PAGE_SKUS: usize = 50;
/// Available units up to which a SKU counts as low.
pub(crate) const LOW_UNITS: u64 = 10;

/// A SKU over all its locations. All units.
#[derive(Clone, Debug)]
pub(crate) struct SkuSums {
    pub(crate) sku: String,
    /// The item with which it came.
    pub(crate) first: u32,
    pub(crate) locations: usize,
    pub(crate) on_hand: u64,
    pub(crate) held: u64,
    pub(crate) available: u64,
    pub(crate) safety: u64,
    pub(crate) promised: u64,
    pub(crate) owed: u64,
    /// Units that may still be promised beyond the stock.
    pub(crate) promisable: u64,
}

/// Whether there is enough of a SKU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enough {
    InStock,
    Low,
    Ahead,
    Out,
}

/// The tabs above the list.
const TABS: [(&str, Text); 3] =
    [("out", text::TAB_OUT), ("low", text::TAB_LOW), ("waiting", text::TAB_WAITING)];

/// What the address asks for.
struct Asked {
    state: String,
    q: String,
    /// The item to begin the look with.
    from: u32,
    /// The last row of the page before: available units and item.
    after: Option<(u64, u32)>,
}

/// What was found.
#[derive(Default)]
struct Found {
    rows: Vec<SkuSums>,
    /// The item to go on with, if not all were looked at.
    next: Option<u32>,
    looked: usize,
    live: usize,
    /// Whether nothing was ever counted.
    is_empty: bool,
    seq: u64,
}

impl SkuSums {
    /// What `levels` of one SKU come to at `now`.
    pub(crate) fn new<'a>(
        sku: &str,
        first: u32,
        now: Timestamp,
        levels: impl Iterator<Item = &'a Level>,
    ) -> Self {
        let mut sums = Self {
            sku: sku.into(),
            first,
            locations: 0,
            on_hand: 0,
            held: 0,
            available: 0,
            safety: 0,
            promised: 0,
            owed: 0,
            promisable: 0,
        };
        for level in levels {
            sums.locations += 1;
            sums.on_hand += u64::from(level.on_hand);
            sums.held += u64::from(level.held);
            sums.available += u64::from(level.available());
            sums.safety += u64::from(level.safety);
            sums.promised += u64::from(level.promised);
            sums.owed += u64::from(level.owed);
            sums.promisable += u64::from(level.promisable(now));
        }
        sums
    }

    pub(crate) const fn enough(&self) -> Enough {
        match self.available {
            0 if self.promisable > 0 => Enough::Ahead,
            0 => Enough::Out,
            1..=LOW_UNITS => Enough::Low,
            _ => Enough::InStock,
        }
    }

    fn is_in(&self, tab: &str) -> bool {
        match tab {
            "out" => self.available == 0,
            "low" => self.enough() == Enough::Low,
            "waiting" => self.promised + self.owed > 0,
            _ => true,
        }
    }
}

/// Lists SKUs, the lowest first.
pub(crate) async fn show(viewer: Viewer, Query(query): Query<Fields>) -> Response {
    page(&viewer, &query, StatusCode::OK, None).await
}

/// The page, with an attempt to count a new SKU that failed if there was one.
pub(crate) async fn page(
    viewer: &Viewer,
    query: &Fields,
    status: StatusCode,
    attempt: Option<&Attempt>,
) -> Response {
    let lang = viewer.lang();
    let field = |name: &str| forms::field(query, name).to_owned();
    let after = field("after");
    let asked = Asked {
        state: field("state"),
        q: field("q"),
        from: field("from").parse().unwrap_or(1).max(1),
        after: after.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?))),
    };
    let found = match find(viewer, &asked).await {
        Ok(found) => found,
        Err(problem) => return problem,
    };
    let body = html! {
        (layout::title(lang.t(text::STOCK), &html! {}))
        @if found.is_empty {
            (parts::empty(lang.t(text::NO_STOCK), lang.t(text::NO_STOCK_HINT), Some((lang, "banyan stock import stock.csv"))))
            (new_sku(viewer, attempt))
        } @else {
            (list(viewer, &asked, &found, attempt))
        }
        (parts::curl(viewer, "/v1/stock"))
    };
    (status, Page::new(lang.t(text::STOCK), Section::Stock, body).show(viewer)).into_response()
}

/// Looks through the SKUs in several short looks.
async fn find(viewer: &Viewer, asked: &Asked) -> Result<Found, Response> {
    let mut found = Found { next: Some(asked.from), ..Found::default() };
    let wanted = asked.q.to_ascii_lowercase();
    // What was typed whole is found wherever it stands.
    if let Ok(sku) = SkuId::new(asked.q.as_str()) {
        let exact = look(viewer, move |state| {
            let stock = state.stock();
            let first = stock.items_of(&sku).map(|item| item.item.get()).min()?;
            Some(SkuSums::new(sku.as_str(), first, state.time(), stock.items_of(&sku).map(|item| item.level)))
        });
        found.rows.extend(exact.await?);
    }
    while let Some(from) = found.next.filter(|_| found.looked < ROWS_PER_PAGE) {
        let wanted = wanted.clone();
        let seen = look(viewer, move |state| {
            let stock = state.stock();
            let is_empty = stock.item(ItemNo::new(1)).is_none();
            (look_on(stock, state.time(), from, &wanted), stock.reservations_live(), is_empty, state.seq())
        });
        let ((rows, next), live, is_empty, seq) = seen.await?;
        found.rows.extend(rows);
        found.looked += ROWS_PER_LOOK;
        found = Found { next, live, is_empty, seq, ..found };
    }
    found.rows.sort_by_key(|row| row.first);
    found.rows.dedup_by_key(|row| row.first);
    found.rows.sort_by_key(|row| (row.available, row.first));
    Ok(found)
}

/// The SKUs that came with the next [`ROWS_PER_LOOK`] items from `from` on and contain `wanted`, and the item to go on with.
fn look_on(stock: &Stock, now: Timestamp, from: u32, wanted: &str) -> (Vec<SkuSums>, Option<u32>) {
    let (mut rows, mut visited) = (Vec::new(), 0);
    for no in from.. {
        let Some(item) = stock.item(ItemNo::new(no)) else { return (rows, None) };
        if visited >= ROWS_PER_LOOK {
            return (rows, Some(no));
        }
        visited += 1;
        if !wanted.is_empty() && !item.sku.to_ascii_lowercase().contains(wanted) {
            continue;
        }
        let Ok(sku) = SkuId::new(item.sku) else { continue };
        let of_sku = || stock.items_of(&sku);
        visited += of_sku().count() - 1;
        // Once for each SKU: with the item with which it came.
        if of_sku().map(|item| item.item.get()).min() == Some(no) {
            rows.push(SkuSums::new(item.sku, no, now, of_sku().map(|item| item.level)));
        }
    }
    (rows, None)
}

fn list(viewer: &Viewer, asked: &Asked, found: &Found, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let past = |row: &&SkuSums| asked.after.is_none_or(|after| (row.available, row.first) > after);
    let mut rows: Vec<_> =
        found.rows.iter().filter(|row| row.is_in(&asked.state)).filter(past).take(PAGE_SKUS + 1).collect();
    let more = rows.len() > PAGE_SKUS;
    rows.truncate(PAGE_SKUS);
    let sum = |of: fn(&SkuSums) -> u64| found.rows.iter().map(of).sum::<u64>();
    html! {
        dl.totals {
            (count(lang.t(text::SKUS), found.rows.len() as u64))
            (count(lang.t(text::AVAILABLE), sum(|row| row.available)))
            (count(lang.t(text::HELD_UNITS), sum(|row| row.held)))
            (count(lang.t(text::PROMISED), sum(|row| row.promised)))
            (count(lang.t(text::OWED), sum(|row| row.owed)))
            (count(lang.t(text::RESERVATIONS_LIVE), found.live as u64))
        }
        (filters(viewer, asked, found))
        div #list {
            @if rows.is_empty() { p.nothing { (lang.t(text::NO_SKU_FITS)) " " a href="/console/stock" { (lang.t(text::SHOW_ALL)) } } }
            @else { (table(lang, &rows)) }
            (pager(viewer, asked, found, rows.last().filter(|_| more)))
            p.hint { (lang.f(text::LOW_FIRST, &[&format::number(LOW_UNITS)])) " " (lang.f(text::AS_OF_NOW, &[&format::number(found.seq)])) }
        }
        (new_sku(viewer, attempt))
    }
}

fn filters(viewer: &Viewer, asked: &Asked, found: &Found) -> Markup {
    let lang = viewer.lang();
    let tab = |state: &str, word: Text| {
        let href = link::with("/console/stock", &[("state", state), ("q", &asked.q)]);
        let count = found.rows.iter().filter(|row| row.is_in(state)).count() as u64;
        html! {
            a href=(href) aria-current=[(asked.state == state).then_some("true")] { (lang.t(word)) " " span.num { (format::number(count)) } }
        }
    };
    let tabs = html! { (tab("", text::ALL)) @for (state, word) in TABS { (tab(state, word)) } };
    parts::filters(viewer, "/console/stock", &tabs, &asked.state, text::FIND_SKU, &asked.q)
}

/// The mark that says whether there is enough.
pub(crate) fn enough(lang: Lang, enough: Enough) -> Markup {
    match enough {
        Enough::InStock => parts::state(lang, "open", text::IN_STOCK),
        Enough::Low => parts::state(lang, "held", text::LOW),
        Enough::Ahead => parts::state(lang, "scheduled", text::ON_BACKORDER),
        Enough::Out => parts::state(lang, "revoked", text::SOLD_OUT_STATE),
    }
}

fn table(lang: Lang, rows: &[&SkuSums]) -> Markup {
    let cell = |word: Text, n: u64| html! { td.num data-label=(lang.t(word)) { @if n == 0 { span.hint.none { "0" } } @else { (format::number(n)) } } };
    html! {
        table.stack {
            thead { tr {
                th scope="col" { (lang.t(text::SKU)) }
                th scope="col" { (lang.t(text::STATE)) }
                @for word in [text::AVAILABLE, text::ON_HAND, text::HELD_UNITS, text::PROMISED, text::OWED, text::LOCATIONS] {
                    th.num scope="col" { (lang.t(word)) }
                }
            } }
            tbody { @for row in rows {
                tr {
                    th scope="row" { a href=(parts::sku_href(&row.sku)) { (row.sku) } }
                    td { (enough(lang, row.enough())) }
                    td.num data-label=(lang.t(text::AVAILABLE)) { b { (format::number(row.available)) } }
                    (cell(text::ON_HAND, row.on_hand))
                    (cell(text::HELD_UNITS, row.held))
                    (cell(text::PROMISED, row.promised))
                    (cell(text::OWED, row.owed))
                    (cell(text::LOCATIONS, row.locations as u64))
                }
            } }
        }
    }
}

fn pager(viewer: &Viewer, asked: &Asked, found: &Found, last: Option<&&SkuSums>) -> Markup {
    let lang = viewer.lang();
    let from = asked.from.to_string();
    let href = |from: &str, after: &str| {
        let from = if from == "1" { "" } else { from };
        link::with(
            "/console/stock",
            &[("state", &asked.state), ("q", &asked.q), ("from", from), ("after", after)],
        )
    };
    html! {
        @if found.next.is_some() { p.hint { (lang.f(text::LOOKED_ROWS, &[&format::number(found.looked as u64)])) } }
        nav.pager aria-label=(lang.t(text::PAGES)) {
            @if asked.from > 1 || asked.after.is_some() { a.button href=(href("", "")) { (lang.t(text::FROM_START)) } }
            @if let Some(last) = last {
                a.button rel="next" href=(href(&from, &format!("{}.{}", last.available, last.first))) { (lang.t(text::NEXT_PAGE)) }
            }
            @if let Some(next) = found.next { a.button href=(href(&next.to_string(), "")) { (lang.t(text::LOOK_FURTHER)) } }
        }
    }
}

/// The form that counts a SKU for the first time.
fn new_sku(viewer: &Viewer, attempt: Option<&Attempt>) -> Markup {
    let lang = viewer.lang();
    let value = |field: &str| typed(attempt, "new", field);
    let location = if value("location").is_empty() { "main" } else { value("location") };
    let more = html! {
        (forms::once(attempt, "new"))
        div.pair {
            div { label for="new-sku" { (lang.t(text::SKU)) }
                input #new-sku name="sku" required maxlength="64" value=(value("sku")) autocomplete="off" spellcheck="false"; }
            div { label for="new-location" { (lang.t(text::LOCATION)) }
                input #new-location name="location" required maxlength="48" value=(location) autocomplete="off" spellcheck="false"; }
        }
        label for="new-units" { (lang.t(text::UNITS_THERE)) }
        input #new-units name="units" inputmode="numeric" required value=(value("units")) autocomplete="off";
    };
    let what = lang.t(text::NEW_SKU_WHAT);
    let form =
        forms::Action { name: "new", post: "/console/stock", word: text::NEW_SKU, what, danger: false };
    html! { @if viewer.who.may_change() { section.aside-form { (form.show(viewer, attempt, &more)) } } }
}
