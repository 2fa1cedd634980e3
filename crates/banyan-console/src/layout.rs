//! What every page has: the head, the way around, and the top line that says whether the sale is healthy.

use crate::assets;
use crate::format;
use crate::gate::{Viewer, Visit};
use crate::link;
use crate::parts;
use crate::sampler::Sample;
use crate::text::{self, Lang, Text};
use crate::verdict::{Level, Vitals};
use maud::{DOCTYPE, Markup, html};

/// Samples that the moving lines of the top line show.
pub(crate) const SPARK_SAMPLES: usize = 60;

/// The parts of the console.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Sale,
    Orders,
    Products,
    Stock,
    Ledger,
    Sagas,
    Campaigns,
    Members,
    Events,
    Gateway,
    Over,
    Store,
    None,
}

/// A page.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    pub(crate) section: Section,
    /// Samples the live stream begins with.
    pub(crate) history: usize,
    /// Campaigns whose numbers move on the page.
    pub(crate) campaigns: Vec<&'a str>,
    /// What else moves on the page: see `live::Of`.
    pub(crate) of: String,
    pub(crate) body: Markup,
}

impl<'a> Page<'a> {
    pub(crate) const fn new(title: &'a str, section: Section, body: Markup) -> Self {
        Self { title, section, history: SPARK_SAMPLES, campaigns: Vec::new(), of: String::new(), body }
    }

    /// The whole document for `viewer`.
    pub(crate) fn show(self, viewer: &Viewer) -> Markup {
        let lang = viewer.lang();
        let history = self.history.to_string();
        let campaigns = self.campaigns.join(",");
        let live = [("history", history.as_str()), ("campaigns", &campaigns), ("of", &self.of)];
        let live = link::with("/console/live", &live);
        let plots = self.section == Section::Sale || self.section == Section::Over;
        html! {
            (DOCTYPE)
            html lang=(lang.code()) {
                (head(lang, self.title, plots))
                body data-live=(live) data-broken=(lang.t(text::STREAM_BROKEN)) data-over=(lang.t(text::STREAM_OVER))
                    data-unknown=(lang.t(text::NO_NEWS)) data-times=(times(lang)) {
                    a.skip href="#main" { (lang.t(text::SKIP)) }
                    (banner(viewer, self.section))
                    (top_line(viewer))
                    p.stream #stream role="status" hidden {}
                    main #main tabindex="-1" { (self.body) }
                    noscript { p.notice { (lang.t(text::NO_SCRIPT)) } }
                }
            }
        }
    }
}

/// The words for relative times, for the script.
fn times(lang: Lang) -> String {
    let words = [
        ("seconds", text::SECONDS),
        ("minutes", text::MINUTES),
        ("hours", text::HOURS),
        ("days", text::DAYS),
        ("past", text::AGO),
        ("future", text::IN_TIME),
    ];
    let words: serde_json::Map<_, _> =
        words.into_iter().map(|(name, word)| (name.to_owned(), lang.t(word).into())).collect();
    serde_json::Value::Object(words).to_string()
}

/// A page that says what is wrong and where to go on.
pub(crate) fn problem(viewer: &Viewer, title: &str, detail: &str) -> Markup {
    let body = html! {
        div.empty {
            (parts::mark())
            h1 { (title) }
            p { (detail) }
            p { a.button href="/console" { (viewer.lang().t(text::TO_SALE)) } }
        }
    };
    Page::new(title, Section::None, body).show(viewer)
}

/// The head of a document.
pub(crate) fn head(lang: Lang, title: &str, plots: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            meta name="htmx-config" content="{\"includeIndicatorStyles\":false,\"allowEval\":false,\"selfRequestsOnly\":true,\"historyCacheSize\":0}";
            title { (title) " · Banyan" }
            link rel="icon" href=(assets::ICON);
            @if plots { link rel="stylesheet" href=(assets::href("uPlot.min.css")); }
            link rel="stylesheet" href=(assets::href("look.css"));
            script src=(assets::href("htmx.min.js")) defer {}
            @if plots {
                script src=(assets::href("uPlot.min.js")) defer {}
                script src=(assets::href("plots.js")) defer {}
            }
            script src=(assets::href("console.js")) defer data-lang=(lang.code()) {}
        }
    }
}

fn banner(viewer: &Viewer, section: Section) -> Markup {
    let lang = viewer.lang();
    let mut places = vec![
        (Section::Sale, "/console", text::SALE),
        (Section::Orders, "/console/orders", text::ORDERS),
        (Section::Products, "/console/products", text::PRODUCTS),
        (Section::Stock, "/console/stock", text::STOCK),
        (Section::Ledger, "/console/ledger", text::LEDGER),
        (Section::Sagas, "/console/sagas", text::SAGAS),
        (Section::Campaigns, "/console/campaigns", text::CAMPAIGNS),
        (Section::Members, "/console/members", text::MEMBERS),
        (Section::Events, "/console/events", text::EVENTS),
        (Section::Gateway, "/console/gateway", text::GATEWAY),
        (Section::Over, "/console/over", text::OVER),
        (Section::Store, "/console/store", text::STORE),
    ];
    places.retain(|(place, ..)| cfg!(feature = "gateway") || *place != Section::Gateway);
    html! {
        header.banner {
            a.home href="/console" aria-label="Banyan" { (parts::mark()) span { "Banyan" } }
            nav aria-label=(lang.t(text::NAVIGATION)) {
                @for (place, href, word) in places {
                    a href=(href) aria-current=[(place == section).then_some("page")] { (lang.t(word)) }
                }
            }
            div.who {
                (languages(&viewer.visit))
                span.person title=(lang.t(if viewer.who.may_change() { text::ROLE_OPERATOR } else { text::ROLE_AUDITOR })) {
                    (viewer.who.principal.name) " · " (viewer.who.principal.role)
                }
                form method="post" action="/console/logout" {
                    (parts::csrf(viewer))
                    button.plain type="submit" { (lang.t(text::SIGN_OUT)) }
                }
            }
        }
    }
}

/// The switch between languages.
pub(crate) fn languages(visit: &Visit) -> Markup {
    let other = visit.lang.other();
    let href = link::with(&format!("/console/language/{}", other.code()), &[("back", &visit.here)]);
    html! { a.language href=(href) hreflang=(other.code()) lang=(other.code()) { (other.name()) } }
}

fn top_line(viewer: &Viewer) -> Markup {
    let (lang, console) = (viewer.lang(), &viewer.console);
    let samples = console.sampler.newest(SPARK_SAMPLES);
    let (level, v) = console.sampler.vitals(lang, console.options.p99_limit);
    let line = |of: fn(&Sample) -> Option<f64>| samples.iter().map(of).collect::<Vec<_>>();
    let vital = |name: &str,
                 label: Text,
                 unit: Option<Text>,
                 value: &str,
                 spark: &str,
                 of: fn(&Sample) -> Option<f64>| {
        html! {
            div.vital {
                span.label { (lang.t(label)) }
                span.value { b data-v=(name) { (value) } @if let Some(unit) = unit { " " span.unit { (lang.t(unit)) } } }
                (parts::spark(spark, &line(of)))
            }
        }
    };
    html! {
        section.vitals aria-label=(lang.t(text::HEALTH)) {
            (verdict(level, &v))
            (vital("issued", text::ISSUED, Some(text::PER_SECOND), &v.issued, "issued", |s| Some(s.issued)))
            (vital("p99", text::P99, None, &v.p99, "p99", |s| s.p99))
            (vital("queue", text::QUEUE, Some(text::WAITING), &v.queue, "queue", |s| Some(s.queue as f64)))
            (vital("lag", text::VIEW_LAG, None, &v.lag, "lag", |s| Some(s.lag)))
            div.vital {
                span.label { (lang.t(text::DURABILITY)) }
                span.value { b data-v="durability" { (v.durability) } " " span.unit data-v="sync" { (v.sync) } }
                (parts::spark("sync50", &line(|s| s.sync50)))
            }
        }
    }
}

fn verdict(level: Level, v: &Vitals) -> Markup {
    html! {
        a.verdict href="/console/store" data-level=(level.as_str()) {
            svg.well viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" { circle cx="12" cy="12" r="10" {} path d="M7 12.500l3.500 3.500L17 9" {} }
            svg.watch viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" { path.body d="M12 2.500L22.500 21h-21Z" {} path d="M12 9v6M12 18v.5" {} }
            svg.harm viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" { path.body d="M8 2h8l6 6v8l-6 6H8l-6-6V8Z" {} path d="M8.500 8.500l7 7M15.500 8.500l-7 7" {} }
            span { strong data-v="word" { (v.word) } span.why data-v="why" { (v.why) } }
        }
    }
}

/// A heading with what stands beside it.
pub(crate) fn title(title: &str, beside: &Markup) -> Markup {
    html! { div.title { h1 { (title) } (beside) } }
}

/// One fact of a list: its name and its value.
pub(crate) fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// A count as a fact.
pub(crate) fn count(name: &str, n: u64) -> Markup {
    fact(name, &html! { span.num { (format::number(n)) } })
}
