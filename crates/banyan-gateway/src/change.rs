//! Changes of the route table: what can be asked, why it can be refused, and what each leaves behind.

use crate::config::{Mode, RouteSpec, UpstreamSpec, check_route};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What can be asked of the table.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Adds a route, or replaces the one of its name.
    SetRoute(Box<RouteSpec>),
    /// Removes a route.
    RemoveRoute {
        /// Its name.
        route: String,
    },
    /// Changes a route's mode.
    SetMode {
        /// Its name.
        route: String,
        /// Who answers from now on.
        mode: Mode,
    },
    /// Changes a canary's share, and ends its ramp.
    SetPercent {
        /// The route's name.
        route: String,
        /// 0 to 100 in steps of 0.01.
        percent: f64,
    },
    /// Replaces all routes.
    Replace {
        /// In the order that decides between equals.
        routes: Vec<RouteSpec>,
    },
    /// Takes back what one version changed. Asked for with `Gateway::undo`.
    Undo {
        /// That version.
        version: u64,
    },
}

/// Why a change was not made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Somebody else changed the table meanwhile: look at it again.
    Stale {
        /// The version that the caller had seen.
        expected: u64,
        /// The version that is there.
        current: u64,
    },
    /// What is asked for is wrong, and what to do about it.
    Invalid(String),
    /// There is no such route or version.
    NotFound(String),
    /// It cannot be taken back, because something later rests on it.
    Conflict(String),
    /// The journal could not be written; the table is as it was.
    Storage(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { expected, current } => write!(
                f,
                "the table is at version {current}, not {expected}: somebody changed it meanwhile. Look at it again, then ask again"
            ),
            Self::Invalid(why) | Self::NotFound(why) | Self::Conflict(why) => f.write_str(why),
            Self::Storage(why) => write!(f, "the table is as it was: {why}"),
        }
    }
}

impl std::error::Error for Refused {}

/// One route before and after a change.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Touch {
    /// Its name.
    pub route: String,
    /// Its place in the table: before the change, or after it if it was not there before.
    pub place: usize,
    /// As it was; absent if it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RouteSpec>,
    /// As it is; absent if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RouteSpec>,
}

/// One version of the table: who made it, why and when, and what it changed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// Its number; the first is 1.
    pub version: u64,
    /// When, RFC 3339.
    pub at: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What was asked for.
    pub change: Change,
    /// What it changed.
    pub touched: Vec<Touch>,
    /// How it put the routes that were there before and after into another order, which decides between equals; absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reordered: Option<Reordered>,
}

/// Names of routes, in the order before and after a change.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reordered {
    /// As it was.
    pub before: Vec<String>,
    /// As it is.
    pub after: Vec<String>,
}

/// The routes after `change`, checked.
pub(crate) fn apply(
    routes: &[RouteSpec],
    change: &Change,
    history: &[Entry],
    upstreams: &[UpstreamSpec],
) -> Result<Vec<RouteSpec>, Refused> {
    let mut after = routes.to_vec();
    let place = |name: &str| {
        routes
            .iter()
            .position(|route| route.name == name)
            .ok_or_else(|| Refused::NotFound(format!("there is no route {name:?}")))
    };
    match change {
        Change::SetRoute(spec) => {
            let mut spec = (**spec).clone();
            if spec.name.is_empty() {
                spec.name = format!("{}{}", spec.host.as_deref().unwrap_or(""), spec.path);
            }
            match place(&spec.name) {
                Ok(at) => after[at] = spec,
                Err(_) => after.push(spec),
            }
        }
        Change::RemoveRoute { route } => {
            after.remove(place(route)?);
        }
        Change::SetMode { route, mode } => after[place(route)?].mode = *mode,
        Change::SetPercent { route, percent } => {
            let Some(canary) = &mut after[place(route)?].canary else {
                return Err(Refused::Invalid(format!(
                    "route {route:?} has no `canary`: set one with set_route first"
                )));
            };
            canary.percent = *percent;
            canary.ramp.clear();
            // Or the next ramp would stand where this one was paused.
            canary.paused_at = None;
        }
        Change::Replace { routes } => after.clone_from(routes),
        Change::Undo { version } => take_back(&mut after, *version, history)?,
    }
    check_all(after, upstreams)
}

/// Checks routes one after another.
pub(crate) fn check_all(
    routes: Vec<RouteSpec>,
    upstreams: &[UpstreamSpec],
) -> Result<Vec<RouteSpec>, Refused> {
    let mut checked = Vec::with_capacity(routes.len());
    for route in routes {
        let route = check_route(route, upstreams, &checked).map_err(|error| Refused::Invalid(error.0))?;
        checked.push(route);
    }
    if checked.is_empty() {
        return Err(Refused::Invalid(
            "the last route stays: a gateway without routes answers nobody".to_owned(),
        ));
    }
    Ok(checked)
}

/// Puts every route that `version` touched back as it was, if none was touched since.
fn take_back(routes: &mut Vec<RouteSpec>, version: u64, history: &[Entry]) -> Result<(), Refused> {
    let Some(entry) = history.iter().find(|entry| entry.version == version) else {
        return Err(Refused::NotFound(format!("version {version} is not in the history")));
    };
    for touch in &entry.touched {
        let at = routes.iter().position(|route| route.name == touch.route);
        if at.map(|at| &routes[at]) != touch.after.as_ref() {
            let later = history.iter().rev().find(|later| {
                later.version > version && later.touched.iter().any(|other| other.route == touch.route)
            });
            let by = later.map_or_else(String::new, |later| {
                format!(" by version {}: take that back first", later.version)
            });
            return Err(Refused::Conflict(format!("route {:?} was changed again{by}", touch.route)));
        }
        match (at, &touch.before) {
            (Some(at), Some(before)) => routes[at] = before.clone(),
            (Some(at), None) => {
                routes.remove(at);
            }
            (None, Some(before)) => routes.insert(touch.place.min(routes.len()), before.clone()),
            (None, None) => {}
        }
    }
    match &entry.reordered {
        Some(reordered) => put_back(routes, reordered, version, history),
        None => Ok(()),
    }
}

/// Puts routes back into the order from before. Those that came later stay where they are.
fn put_back(
    routes: &mut [RouteSpec],
    reordered: &Reordered,
    version: u64,
    history: &[Entry],
) -> Result<(), Refused> {
    let place = |names: &[String], route: &RouteSpec| names.iter().position(|name| *name == route.name);
    let known: Vec<usize> =
        (0..routes.len()).filter(|at| place(&reordered.before, &routes[*at]).is_some()).collect();
    let places: Vec<_> = known.iter().map(|at| place(&reordered.after, &routes[*at])).collect();
    if !places.is_sorted() {
        let later = history.iter().rev().find(|later| later.version > version && later.reordered.is_some());
        let by = later
            .map_or_else(String::new, |later| format!(" by version {}: take that back first", later.version));
        return Err(Refused::Conflict(format!("the order of the routes was changed again{by}")));
    }
    let mut as_before: Vec<RouteSpec> = known.iter().map(|at| routes[*at].clone()).collect();
    as_before.sort_by_key(|route| place(&reordered.before, route));
    for (at, route) in known.into_iter().zip(as_before) {
        routes[at] = route;
    }
    Ok(())
}

/// How the routes that are in both tables changed places, if they did.
pub(crate) fn reordered(before: &[RouteSpec], after: &[RouteSpec]) -> Option<Reordered> {
    let shared = |routes: &[RouteSpec], others: &[RouteSpec]| -> Vec<String> {
        let known = routes.iter().filter(|route| others.iter().any(|other| other.name == route.name));
        known.map(|route| route.name.clone()).collect()
    };
    let reordered = Reordered { before: shared(before, after), after: shared(after, before) };
    (reordered.before != reordered.after).then_some(reordered)
}

/// What differs between two tables.
pub(crate) fn touched(before: &[RouteSpec], after: &[RouteSpec]) -> Vec<Touch> {
    let mut touched = Vec::new();
    for (place, old) in before.iter().enumerate() {
        let new = after.iter().find(|route| route.name == old.name);
        if new != Some(old) {
            touched.push(Touch {
                route: old.name.clone(),
                place,
                before: Some(old.clone()),
                after: new.cloned(),
            });
        }
    }
    for (place, new) in after.iter().enumerate() {
        if !before.iter().any(|route| route.name == new.name) {
            touched.push(Touch { route: new.name.clone(), place, before: None, after: Some(new.clone()) });
        }
    }
    touched
}
