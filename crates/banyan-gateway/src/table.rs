//! The route table: immutable, compiled once for each version, read by every request without a lock.
//!
//! Which route answers, most specific first:
//! 1. the host: written out, then `*.` (the longest that fits), then routes without a host;
//! 2. within those, the longest path;
//! 3. then the most conditions on headers;
//! 4. then a route with methods before one without;
//! 5. then the earlier one in the file.
//!
//! A route of a host that does not fit (path, method, headers) gives way to the next, also to one of a less specific host.

use crate::config::{Mode, RouteSpec};
use crate::fields::SideFields;
use crate::path::{Matchable, end_of_prefix, is_below};
use crate::rules::Rules;
use crate::shadow::Lane;
use crate::side::Side;
use crate::traffic::RouteTraffic;
use crate::upstream::{Server, Upstream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, request};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

/// One version of all routes.
pub struct Table {
    version: u64,
    routes: Vec<Arc<Route>>,
    hosts: BTreeMap<Box<str>, Vec<Arc<Route>>>,
    /// Suffixes with their dot, longest first.
    wild: Vec<(Box<str>, Vec<Arc<Route>>)>,
    any: Vec<Arc<Route>>,
}

/// A route, ready to be matched and followed.
pub struct Route {
    spec: RouteSpec,
    /// In its plainest form.
    path: Box<[u8]>,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
    legacy: Option<Target>,
    banyan: Option<Target>,
    traffic: Arc<RouteTraffic>,
    rules: Rules,
    lane: Arc<Lane>,
    told: [Option<Box<SideFields>>; 2],
    /// Until the answer's head.
    pub(crate) first_byte: Duration,
    /// Between two pieces of a body.
    pub(crate) idle: Duration,
    /// For all of it.
    pub(crate) whole: Option<Duration>,
    /// Longest request body.
    pub(crate) body_bytes_max: Option<u64>,
    pub(crate) upgrades: Vec<Box<str>>,
}

/// Who answers for a side.
#[derive(Clone)]
pub enum Target {
    /// The service that the gateway was given.
    InProcess,
    /// Servers.
    Upstream(Arc<Upstream>),
}

/// What a route is made of besides what is written.
pub(crate) struct RouteParts {
    pub legacy: Option<Target>,
    pub banyan: Option<Target>,
    pub traffic: Arc<RouteTraffic>,
    pub rules: Rules,
    pub lane: Arc<Lane>,
    /// What the old shop is told, and what Banyan is.
    pub told: [Option<Box<SideFields>>; 2],
    pub first_byte: Duration,
    pub idle: Duration,
    pub whole: Option<Duration>,
    pub body_bytes_max: Option<u64>,
}

impl Route {
    /// Compiles a checked spec.
    pub(crate) fn new(spec: RouteSpec, parts: RouteParts) -> Self {
        let methods = spec.methods.iter().filter_map(|m| Method::from_bytes(m.as_bytes()).ok()).collect();
        let header = |(name, value): (&String, &String)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let value = if value == "*" { None } else { Some(HeaderValue::from_str(value).ok()?) };
            Some((name, value))
        };
        let upgrades = spec.upgrades.clone().unwrap_or_else(|| vec!["websocket".to_owned()]);
        Self {
            // As requests are: written in another way, it would never match.
            path: Matchable::new(&spec.path).as_prefix().into(),
            methods,
            headers: spec.headers.iter().filter_map(header).collect(),
            legacy: parts.legacy,
            banyan: parts.banyan,
            traffic: parts.traffic,
            rules: parts.rules,
            lane: parts.lane,
            told: parts.told,
            first_byte: parts.first_byte,
            idle: parts.idle,
            whole: parts.whole,
            body_bytes_max: parts.body_bytes_max,
            upgrades: upgrades.into_iter().map(|token| token.to_ascii_lowercase().into()).collect(),
            spec,
        }
    }

    /// The route as it is written.
    pub fn spec(&self) -> &RouteSpec {
        &self.spec
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its mode.
    pub fn mode(&self) -> Mode {
        self.spec.mode
    }

    /// Banyan's share of the members at a time (milliseconds since 1970), in percent: of a canary what its ramp says by then.
    pub fn percent(&self, now: u64) -> f64 {
        match (self.spec.mode, &self.rules.canary) {
            (Mode::Banyan, _) => 100.0,
            (Mode::Canary, Some(canary)) => canary.ramp.share(now).percent(),
            _ => 0.0,
        }
    }

    /// Who answers for `side`, if the route says so.
    pub fn target(&self, side: Side) -> Option<&Target> {
        match side {
            Side::Legacy => self.legacy.as_ref(),
            Side::Banyan => self.banyan.as_ref(),
        }
    }

    /// Tells a side what only it is told: the last change to a head before it is sent there.
    pub(crate) fn tell(&self, side: Side, head: &mut request::Parts) {
        if let Some(fields) = &self.told[side as usize] {
            fields.apply(head);
        }
    }

    /// What went over it.
    pub fn traffic(&self) -> &Arc<RouteTraffic> {
        &self.traffic
    }

    /// Its rules, ready to be followed.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What became of its copies.
    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    fn fits(&self, path: &[u8], method: &Method, headers: &HeaderMap) -> bool {
        is_below(path, &self.path)
            && (self.methods.is_empty() || self.methods.contains(method))
            && self.headers.iter().all(|(name, wanted)| match wanted {
                None => headers.contains_key(name),
                Some(value) => headers.get_all(name).iter().any(|found| found == value),
            })
    }

    /// Whether a request may fit both, as far as host, path and method say.
    fn meets(&self, other: &Self) -> bool {
        let hosts = match (&self.spec.host, &other.spec.host) {
            (None, _) | (_, None) => true,
            (Some(one), Some(two)) => {
                let (one, two) = (plain_host(one), plain_host(two));
                let within =
                    |one: &str, two: &str| two.strip_prefix('*').is_some_and(|two| one.ends_with(two));
                one == two || within(&one, &two) || within(&two, &one)
            }
        };
        hosts
            && (is_below(&self.path, &other.path) || is_below(&other.path, &self.path))
            && (self.methods.is_empty()
                || other.methods.is_empty()
                || self.methods.iter().any(|method| other.methods.contains(method)))
    }

    /// The path and query on the way to `side`, if they differ from what the client asked for.
    pub fn rewritten(&self, path_and_query: &str, side: Side) -> Option<String> {
        let rewrite = self.spec.rewrite.as_ref()?;
        if rewrite.side.is_some_and(|only| only != side) {
            return None;
        }
        let from = Matchable::new(&rewrite.from);
        // However it is written, as routes are found: what they lead to is what is rewritten.
        let path = path_and_query.split('?').next().unwrap_or_default();
        let rest = path_and_query.get(end_of_prefix(path, from.as_prefix())?..)?;
        let to = rewrite.to.trim_end_matches('/');
        // "/" and nothing behind it is still a path.
        let slash = if to.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        Some(format!("{to}{slash}{rest}"))
    }
}

impl Table {
    /// Sorts routes for matching.
    pub(crate) fn new(version: u64, routes: Vec<Arc<Route>>) -> Self {
        let mut hosts: BTreeMap<Box<str>, Vec<Arc<Route>>> = BTreeMap::new();
        let mut wild: BTreeMap<Box<str>, Vec<Arc<Route>>> = BTreeMap::new();
        let mut any = Vec::new();
        for route in &routes {
            let host = route.spec.host.as_deref().map(|host| plain_host(host).into_owned());
            match host.as_deref().map(|host| (host.strip_prefix('*'), host)) {
                None => any.push(route.clone()),
                Some((Some(suffix), _)) => wild.entry(suffix.into()).or_default().push(route.clone()),
                Some((None, host)) => hosts.entry(host.into()).or_default().push(route.clone()),
            }
        }
        let order = |group: &mut Vec<Arc<Route>>| {
            // Stable: the earlier one in the file stays the earlier one.
            group.sort_by_key(|route| {
                std::cmp::Reverse((route.path.len(), route.headers.len(), !route.methods.is_empty()))
            });
        };
        hosts.values_mut().for_each(order);
        wild.values_mut().for_each(order);
        order(&mut any);
        let mut wild: Vec<_> = wild.into_iter().collect();
        wild.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        Self { version, routes, hosts, wild, any }
    }

    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    /// Which version this is; the first is 1.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All routes, in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Every server that a route leads to; some more than once.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        let targets = self.routes.iter().flat_map(|route| [&route.legacy, &route.banyan]).flatten();
        targets.flat_map(|target| match target {
            Target::InProcess => &[],
            Target::Upstream(upstream) => upstream.servers(),
        })
    }

    /// The route of this name.
    pub fn route(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.name() == name)
    }

    /// What the others match that are asked before `route` and may take requests from it, in a form that only says whether it is
    /// the same.
    pub(crate) fn ahead_of(&self, route: &Route) -> BTreeSet<String> {
        let wild = self.wild.iter().flat_map(|(_, group)| group);
        let asked = self.hosts.values().flatten().chain(wild).chain(&self.any);
        let ahead = asked.take_while(|other| other.name() != route.name());
        ahead.filter(|other| other.meets(route)).map(|other| other.spec.matches()).collect()
    }

    /// The route that answers. `host` is without its port.
    pub(crate) fn find(
        &self,
        host: &str,
        path: &Matchable<'_>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<&Arc<Route>> {
        let path = path.as_bytes();
        let first =
            |group: &'_ Vec<Arc<Route>>| group.iter().position(|route| route.fits(path, method, headers));
        if !self.hosts.is_empty() || !self.wild.is_empty() {
            let host = &*plain_host(host);
            if let Some(group) = self.hosts.get(host)
                && let Some(at) = first(group)
            {
                return Some(&group[at]);
            }
            for (suffix, group) in &self.wild {
                if host.len() > suffix.len()
                    && host.ends_with(&**suffix)
                    && let Some(at) = first(group)
                {
                    return Some(&group[at]);
                }
            }
        }
        first(&self.any).map(|at| &self.any[at])
    }
}

/// A host as it is compared: in small letters, without the dot of the root, an address of IPv6 in its shortest form.
pub(crate) fn plain_host(host: &str) -> Cow<'_, str> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]").into(),
            Err(_) => host.into(),
        };
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rewrite;

    fn route(
        name: &str,
        host: Option<&str>,
        path: &str,
        methods: &[&str],
        headers: &[(&str, &str)],
    ) -> Arc<Route> {
        let spec = RouteSpec {
            name: name.to_owned(),
            host: host.map(str::to_owned),
            path: path.to_owned(),
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
            headers: headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ..RouteSpec::default()
        };
        Arc::new(compiled(spec))
    }

    fn compiled(spec: RouteSpec) -> Route {
        let second = Duration::from_secs(1);
        Route::new(
            spec,
            RouteParts {
                legacy: None,
                banyan: None,
                traffic: Arc::new(RouteTraffic::new(1)),
                first_byte: second,
                idle: second,
                whole: None,
                body_bytes_max: None,
                rules: Rules::default(),
                lane: Arc::default(),
                told: [None, None],
            },
        )
    }

    #[test]
    fn the_most_specific_route_answers() {
        let table = Table::new(
            1,
            vec![
                route("all", None, "/", &[], &[]),
                route("shop", None, "/shop", &[], &[]),
                route("shop-slash", None, "/shop/deals/", &[], &[]),
                route("post", None, "/shop", &["POST"], &[]),
                route("beta", None, "/shop", &[], &[("x-beta", "*")]),
                route("beta-1", None, "/shop", &[], &[("x-beta", "1"), ("x-more", "*")]),
                route("host", Some("Shop.example"), "/api", &["GET"], &[]),
                route("wild", Some("*.example"), "/", &[], &[]),
                route("wilder", Some("*.shop.example"), "/", &[], &[]),
                route("six", Some("[::1]"), "/", &[], &[]),
                route("dotted", Some("dotted.test."), "/", &[], &[]),
                route("long-six", Some("[2001:DB8:0:0::1]"), "/", &[], &[]),
                route("escaped", None, "/%63af%C3%A9//menu;x", &[], &[]),
                route("goods", None, "/상품", &[], &[]),
                route("batch", None, "/v1/items:batch", &[], &[]),
                route("deals", None, "/deals%20%26%20more", &[], &[]),
            ],
        );
        for (host, method, path, headers, wanted) in [
            ("x", "GET", "/", &[][..], Some("all")),
            ("x", "GET", "/shopping", &[], Some("all")),
            ("x", "GET", "/shop", &[], Some("shop")),
            ("x", "GET", "/shop/", &[], Some("shop")),
            ("x", "GET", "/shop/1", &[], Some("shop")),
            ("x", "GET", "/%73hop/1", &[], Some("shop")),
            // Many servers read it as `/shop/1`: what moved must not be reached at the old shop by writing it so.
            ("x", "GET", "/shop%2F1", &[], Some("shop")),
            ("x", "GET", "//shop/1;a=b", &[], Some("shop")),
            ("x", "GET", "/shop%20", &[], Some("all")),
            ("x", "GET", "/caf%C3%A9/menu/1", &[], Some("escaped")),
            ("x", "GET", "/caf\u{e9}/menu/1", &[], Some("escaped")),
            ("x", "GET", "/%EC%83%81%ED%92%88/1", &[], Some("goods")),
            ("x", "GET", "/%ec%83%81%ed%92%88", &[], Some("goods")),
            ("x", "GET", "/v1/items%3Abatch", &[], Some("batch")),
            ("x", "GET", "/%731/items", &[], Some("all")),
            ("x", "GET", "/%76%31/items%3abatch/%FF", &[], Some("batch")),
            ("x", "GET", "/deals%20&%20more", &[], Some("deals")),
            ("x", "GET", "/shop/deals", &[], Some("shop-slash")),
            ("x", "POST", "/shop/1", &[], Some("post")),
            ("x", "POST", "/shop/1", &[("x-beta", "2")], Some("beta")),
            ("x", "GET", "/shop", &[("x-beta", "1"), ("x-more", "")], Some("beta-1")),
            ("shop.example", "GET", "/api", &[], Some("host")),
            ("SHOP.example.", "GET", "/api/x", &[], Some("host")),
            ("shop.example", "POST", "/api", &[], Some("wild")),
            ("shop.example", "GET", "/other", &[], Some("wild")),
            ("a.shop.example", "GET", "/shop", &[], Some("wilder")),
            ("example", "GET", "/", &[], Some("all")),
            ("[::1]", "GET", "/", &[], Some("six")),
            ("[0:0:0:0:0:0:0:1]", "GET", "/", &[], Some("six")),
            ("[2001:db8::1]", "GET", "/", &[], Some("long-six")),
            ("dotted.test", "GET", "/", &[], Some("dotted")),
            ("Dotted.test.", "GET", "/", &[], Some("dotted")),
            ("x", "GET", "*", &[], None),
        ] {
            let mut fields = HeaderMap::new();
            for &(name, value) in headers {
                fields.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let method = method.parse().expect("a method");
            let found = table.find(host, &Matchable::new(path), &method, &fields);
            assert_eq!(found.map(|route| route.name()), wanted, "{method} {host} {path} {headers:?}");
        }
    }

    #[test]
    fn paths_are_rewritten_at_segment_borders() {
        for (from, to, path, wanted) in [
            ("/api", "/v1", "/api/cart?x=1", Some("/v1/cart?x=1")),
            ("/api", "/v1", "/api", Some("/v1")),
            ("/api", "/v1", "/api?x", Some("/v1?x")),
            ("/api", "/v1", "/apis", None),
            ("/api", "/", "/api", Some("/")),
            ("/api", "/", "/api?x", Some("/?x")),
            ("/api", "/", "/api/x", Some("/x")),
            ("/", "/shop", "/x", Some("/shop/x")),
            ("/", "/shop", "/", Some("/shop/")),
            ("/api/", "/v1/", "/api/x", Some("/v1/x")),
            // What the route matches it also rewrites: nobody reaches `/api` of the server itself.
            ("/api", "/v1", "/%61pi/x?y=%61", Some("/v1/x?y=%61")),
            ("/api", "/v1", "//api/x", Some("/v1/x")),
            ("/api", "/v1", "/api;a=b/x", Some("/v1;a=b/x")),
            ("/api", "/v1", "/api%2Fx", Some("/v1%2Fx")),
            ("/api", "/", "/api%2Fx", Some("/%2Fx")),
            ("/%61pi//x", "/v1", "/api/x/y", Some("/v1/y")),
        ] {
            let rewrite = Some(Rewrite { from: from.to_owned(), to: to.to_owned(), side: None });
            let route = compiled(RouteSpec { path: "/".to_owned(), rewrite, ..RouteSpec::default() });
            assert_eq!(route.rewritten(path, Side::Legacy).as_deref(), wanted, "{from} -> {to}: {path}");
        }
        let rewrite = Some(Rewrite { from: "/a".to_owned(), to: "/b".to_owned(), side: Some(Side::Banyan) });
        let route = compiled(RouteSpec { path: "/".to_owned(), rewrite, ..RouteSpec::default() });
        assert_eq!(
            (route.rewritten("/a", Side::Legacy), route.rewritten("/a", Side::Banyan)),
            (None, Some("/b".to_owned()))
        );
    }

    #[test]
    fn dot_segments_are_seen_however_they_are_written() {
        for (path, wanted) in [
            ("/a/../b", true),
            ("/a/./b", true),
            ("/a/..", true),
            ("/%2e%2E/b", true),
            ("/a/.%2e/b", true),
            ("/a/..;x=1/b", true),
            ("/a\\..\\b", true),
            ("/a..b/c.d/.well-known/...", false),
            ("/a.html", false),
            ("/", false),
        ] {
            assert_eq!(Matchable::new(path).has_dot_segments(), wanted, "{path}");
        }
    }
}
