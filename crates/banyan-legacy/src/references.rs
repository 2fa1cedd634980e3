//! The reference ledger: who still touches what is to go, and when they last did.
//!
//! Databases count statements since some moment of their own, so one look says nothing of when. What grew between two looks
//! was used in between. What was counted before the first look counts as used then: silence has to be watched, not assumed.
//! The gateway knows of its callers when they came; but who called a route before it was marked, nobody knows.

use crate::database::SqlReference;
use crate::keeper::{RouteCaller, RouteLedger};
use banyan_domain::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most references kept of each kind; of those that are not told any more, the ones used longest ago go first.
pub(crate) const REFERENCES_MAX: usize = 2_000;

/// Longest time without a look that is no gap: statistics are cumulative, but have room for so many statements only.
pub(crate) const UNSEEN_MAX: Duration = Duration::from_secs(600);

/// How a reference reaches what is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReferenceKind {
    /// An SQL statement on the mapped tables.
    Sql,
    /// A request through the gateway on a route that touches the capability and is still the old shop's.
    Route,
}

/// Somebody who touches what is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// How.
    pub kind: ReferenceKind,
    /// Who: a database user, or a caller of the gateway.
    pub caller: String,
    /// What: the statement without its constants, or the route.
    pub what: String,
    /// How often since it is counted.
    pub count: u64,
    /// When it was last known to be used.
    pub last_seen: Timestamp,
}

/// Every reference at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencesView {
    /// Since when it is watched without a gap; the moment of this view if it is not watched at all.
    pub since: Timestamp,
    /// All, the last used first.
    pub all: Vec<Reference>,
}

/// The ledger.
#[derive(Debug, Default)]
pub struct References {
    since: Option<Timestamp>,
    /// When the statistics were looked at last, and which they were.
    looked: Option<Timestamp>,
    statistics: Option<String>,
    /// Routes that touch the capability, with when that was first seen: their callers are known from then on.
    marked: BTreeMap<String, Timestamp>,
    known: BTreeMap<Key, (u64, Timestamp)>,
}

/// How, who, what.
type Key = (ReferenceKind, String, String);

impl ReferenceKind {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Route => "route",
        }
    }
}

impl References {
    /// Takes a look at the database's statistics. More statements than are kept are no look at all: of those left out nobody would
    /// know when they come.
    pub fn statements(&mut self, now: Timestamp, statements: Vec<SqlReference>) {
        self.missed(now);
        self.looked = Some(now);
        let mut told: BTreeMap<Key, u64> = BTreeMap::new();
        for SqlReference { caller, statement, calls, .. } in statements {
            // The same words may be counted in several places: within functions and outside of them, or in several schemas.
            let sum = told.entry((ReferenceKind::Sql, caller, statement)).or_default();
            *sum = sum.saturating_add(calls);
        }
        if told.len() > REFERENCES_MAX {
            return self.gap();
        }
        for (key, calls) in &told {
            self.look(now, key.clone(), *calls);
        }
        self.since.get_or_insert(now);
        self.forget(ReferenceKind::Sql, |key| told.contains_key(key));
    }

    /// Takes a look at the routes, and at their callers, of whom the gateway knows itself when they were last seen. Callers of
    /// a route that is not marked any more stay as they were last seen: they touched it until then.
    pub fn routes(&mut self, now: Timestamp, ledger: RouteLedger) {
        let RouteLedger { routes, callers } = ledger;
        self.marked.retain(|route, _| routes.contains(route));
        for route in routes {
            self.marked.entry(route).or_insert(now);
        }
        let mut told = BTreeSet::new();
        for RouteCaller { route, caller, count, last_seen } in callers {
            let key = (ReferenceKind::Route, caller, route);
            self.known.insert(key.clone(), (count, last_seen));
            told.insert(key);
        }
        self.forget(ReferenceKind::Route, |key| told.contains(key));
    }

    /// Which statistics the next look is at. Others than before: what was used meanwhile may not be in them, so watching begins anew.
    pub fn counted_by(&mut self, statistics: Option<String>) {
        if self.statistics.is_some() && self.statistics != statistics {
            self.gap();
        }
        self.statistics = statistics;
    }

    /// A look failed, or is late. Statistics go on counting meanwhile, so that is a gap only if it lasts.
    pub fn missed(&mut self, now: Timestamp) {
        let unseen = self.looked.map(|looked| now.as_millis().saturating_sub(looked.as_millis()));
        if unseen.is_some_and(|millis| u128::from(millis) > UNSEEN_MAX.as_millis()) {
            self.gap();
        }
    }

    /// What was used meanwhile is not known, so watching begins anew.
    pub fn gap(&mut self) {
        self.since = None;
    }

    /// Everything at this moment.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> ReferencesView {
        let mut all: Vec<Reference> = self
            .known
            .iter()
            .map(|((kind, caller, what), (count, last_seen))| Reference {
                kind: *kind,
                caller: caller.clone(),
                what: what.clone(),
                count: *count,
                last_seen: *last_seen,
            })
            .collect();
        all.sort_by_key(|reference| std::cmp::Reverse(reference.last_seen));
        // Watched is what all of it is watched for: the statements, and the route that was marked last.
        let since = self.since.map_or(now, |since| self.marked.values().copied().fold(since, Timestamp::max));
        ReferencesView { since, all }
    }

    fn look(&mut self, now: Timestamp, key: Key, calls: u64) {
        match self.known.get_mut(&key) {
            // Fewer: the statistics were reset, and the statement was used since.
            Some((count, last_seen)) if *count != calls => (*count, *last_seen) = (calls, now),
            Some(_) => {}
            None => {
                self.known.insert(key, (calls, now));
            }
        }
    }

    /// Keeps no more of `kind` than there is room for. Who is still told stays: forgotten, it would come again as new with the next
    /// look, and count as used then.
    fn forget(&mut self, kind: ReferenceKind, is_told: impl Fn(&Key) -> bool) {
        let of_kind = self.known.iter().filter(|((of, ..), _)| *of == kind);
        let mut silent: Vec<(Timestamp, Key)> = of_kind
            .clone()
            .filter(|(key, _)| !is_told(key))
            .map(|(key, (_, last_seen))| (*last_seen, key.clone()))
            .collect();
        let over = of_kind.count().saturating_sub(REFERENCES_MAX);
        silent.sort();
        for (_, key) in silent.into_iter().take(over) {
            self.known.remove(&key);
        }
    }
}

impl ReferencesView {
    /// How many were used within `quiet` before `now`.
    #[must_use]
    pub fn left(&self, now: Timestamp, quiet: Duration) -> usize {
        let from = now.as_millis().saturating_sub(quiet.as_millis() as u64);
        self.all.iter().filter(|reference| reference.last_seen.as_millis() > from).count()
    }

    /// For how long it has been watched without a gap.
    #[must_use]
    pub fn watched_for(&self, now: Timestamp) -> Duration {
        Duration::from_millis(now.as_millis().saturating_sub(self.since.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn used(statement: &str, calls: u64) -> SqlReference {
        SqlReference { caller: "oscar".into(), statement: statement.into(), calls, rows: 0 }
    }

    #[test]
    fn what_grew_between_two_looks_was_used_in_between() {
        let mut references = References::default();
        references.statements(at(100), vec![used("a", 5), used("b", 9)]);
        references.statements(at(110), vec![used("a", 6), used("b", 9)]);
        let view = references.view(at(130));
        assert_eq!(view.left(at(130), Duration::from_secs(25)), 1, "a, used since the first look");
        assert_eq!(view.left(at(130), Duration::from_secs(31)), 2, "b may have been used just before it");
        assert_eq!(view.watched_for(at(130)), Duration::from_secs(30));
    }

    #[test]
    fn statistics_that_were_reset_hide_nobody() {
        let mut references = References::default();
        references.statements(at(100), vec![used("a", 5)]);
        references.statements(at(200), vec![used("a", 1)]);
        assert_eq!(references.view(at(200)).left(at(200), Duration::from_secs(10)), 1);
    }

    fn called(route: &str, seconds: u64) -> RouteLedger {
        let caller =
            RouteCaller { route: route.into(), caller: "erp".into(), count: 3, last_seen: at(seconds) };
        RouteLedger { routes: vec![route.into()], callers: vec![caller] }
    }

    #[test]
    fn callers_of_marked_routes_count_beside_statements() {
        let mut references = References::default();
        references.routes(at(100), called("feed", 95));
        references.statements(at(100), vec![used("a", 5)]);
        references.statements(at(200), vec![used("a", 5)]);
        references.routes(at(200), called("feed", 190));
        let view = references.view(at(200));
        assert_eq!(view.left(at(200), Duration::from_secs(150)), 2, "a statement and a caller");
        assert_eq!(view.left(at(200), Duration::from_secs(50)), 1, "only the caller came again");
        assert_eq!(view.left(at(200), Duration::from_secs(10)), 0);
        assert_eq!((view.all[0].kind, view.all[0].count), (ReferenceKind::Route, 3));
        references.routes(at(201), RouteLedger::default());
        let left = references.view(at(201)).left(at(201), Duration::from_secs(50));
        assert_eq!(left, 1, "taking the mark away does not undo the call");
    }

    #[test]
    fn a_route_is_watched_from_when_it_is_marked() {
        let mut references = References::default();
        references.statements(at(100), vec![]);
        references.routes(at(100), called("feed", 0));
        assert_eq!(references.view(at(160)).watched_for(at(160)), Duration::from_secs(60));
        let both = RouteLedger { routes: vec!["feed".into(), "basket".into()], callers: vec![] };
        references.routes(at(160), both.clone());
        references.routes(at(165), both);
        assert_eq!(references.view(at(170)).watched_for(at(170)), Duration::from_secs(10), "the basket's");
        references.routes(at(170), called("feed", 0));
        assert_eq!(references.view(at(170)).watched_for(at(170)), Duration::from_secs(70));
    }

    #[test]
    fn a_gap_begins_the_watch_anew() {
        let mut references = References::default();
        references.statements(at(100), vec![]);
        references.gap();
        references.statements(at(500), vec![]);
        assert_eq!(references.view(at(510)).watched_for(at(510)), Duration::from_secs(10));
    }

    /// Found by reading: one look that failed began the watch of a week anew, and the next one found everything that ran meanwhile.
    #[test]
    fn a_look_that_failed_is_no_gap_where_the_statistics_went_on() {
        let mut references = References::default();
        references.counted_by(Some("server 1, reset never".into()));
        references.statements(at(100), vec![used("a", 5)]);
        references.missed(at(105));
        references.missed(at(110));
        references.counted_by(Some("server 1, reset never".into()));
        references.statements(at(400), vec![used("a", 6)]);
        let view = references.view(at(410));
        assert_eq!(view.watched_for(at(410)), Duration::from_secs(310));
        assert_eq!(view.left(at(410), Duration::from_secs(15)), 1, "used while nobody could look");
    }

    #[test]
    fn statistics_that_began_anew_and_too_long_without_a_look_are_gaps() {
        let mut references = References::default();
        let look = |references: &mut References, seconds: u64, of: &str| {
            references.counted_by(Some(of.into()));
            references.statements(at(seconds), vec![]);
            references.view(at(seconds)).watched_for(at(seconds))
        };
        look(&mut references, 100, "reset in May");
        assert_eq!(look(&mut references, 200, "reset in May"), Duration::from_secs(100));
        assert_eq!(look(&mut references, 300, "reset in June"), Duration::ZERO);
        assert_eq!(look(&mut references, 890, "reset in June"), Duration::from_secs(590));
        references.missed(at(1_500));
        assert_eq!(references.view(at(1_500)).watched_for(at(1_500)), Duration::ZERO, "ten minutes and more");
        assert_eq!(look(&mut references, 1_510, "reset in June"), Duration::ZERO);
    }
}
