//! The evidence of every route: in memory, and in the state folder what must outlive the process.

use crate::config::RouteSpec;
use crate::evidence::{Act, Course, Kept, Position, Standing};
use crate::promote::{followed, totals};
use crate::table::Route;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const FILE: &str = "evidence.json";

/// The courses of a gateway by route.
pub(crate) struct Courses {
    file: PathBuf,
    folder: PathBuf,
    courses: Mutex<BTreeMap<String, Course>>,
    /// What is in the file.
    stored: Mutex<BTreeMap<String, Kept>>,
}

impl Courses {
    /// Opens what is kept in the state folder, or begins anew.
    ///
    /// # Errors
    /// The file is there and cannot be read: a route that was taken back must not be free to go on because of that.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let file = state.join(FILE);
        let stored: BTreeMap<String, Kept> = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let courses = stored.iter().map(|(route, kept)| (route.clone(), Course::resumed(kept.clone())));
        let courses = Mutex::new(courses.collect());
        Ok(Self { file, folder: state.to_owned(), courses, stored: Mutex::new(stored) })
    }

    fn courses(&self) -> MutexGuard<'_, BTreeMap<String, Course>> {
        self.courses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the evidence of a route stands; nothing if it has no rules.
    pub(crate) fn standing(&self, route: &Route, now: u64) -> Option<Standing> {
        let rules = followed(route, now)?;
        let at = route.rules().position(route.mode(), now);
        let (subject, totals) = (subject(route.spec()), totals(route));
        let courses = self.courses();
        let known = courses.get(route.name());
        if let Some(course) = known.filter(|course| course.is_about(&subject)) {
            return Some(course.standing(&rules, now, at, &totals));
        }
        // What the next look will find: the route was changed since the last one.
        let mut course = known.cloned().unwrap_or_default();
        course.about(subject);
        Some(course.standing(&rules, now, at, &totals))
    }

    /// Forgets what was seen on a route.
    pub(crate) fn restart(&self, route: &Route) {
        self.courses().entry(route.name().to_owned()).or_default().restart(&totals(route));
    }

    /// One look at a route.
    pub(crate) fn step(&self, route: &Route, now: u64) -> Option<(Position, Act)> {
        let mut courses = self.courses();
        let Some(rules) = followed(route, now) else {
            if let Some(course) = courses.get_mut(route.name()) {
                course.leave();
            }
            return None;
        };
        let at = route.rules().position(route.mode(), now);
        let course = courses.entry(route.name().to_owned()).or_default();
        course.about(subject(route.spec()));
        course.step(&rules, now, at, &totals(route)).map(|act| (at, act))
    }

    pub(crate) fn forget_unused(&self, names: impl Fn(&str) -> bool) {
        self.courses().retain(|route, _| names(route));
    }

    /// Stores what must be kept, if it changed, and returns when it is on disk.
    ///
    /// # Errors
    /// The file cannot be written; it is tried again the next time.
    pub(crate) fn save(&self) -> io::Result<()> {
        // Held throughout: two writers of one file would leave the older bytes last.
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: BTreeMap<String, Kept> =
            self.courses().iter().map(|(route, course)| (route.clone(), course.kept())).collect();
        if *stored == kept {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&kept).map_err(io::Error::other)?;
        crate::shadow::write(&self.folder, &self.file, &bytes)?;
        *stored = kept;
        Ok(())
    }
}

/// What evidence is about: all of a route but who answers users, which evidence changes itself, and what is only counted.
fn subject(spec: &RouteSpec) -> String {
    let about =
        RouteSpec { mode: crate::config::Mode::default(), canary: None, touches: Vec::new(), ..spec.clone() };
    // It was read from JSON or can be written as JSON: the admin API does so all the time.
    let text = serde_json::to_vec(&about).unwrap_or_default();
    blake3::hash(&text).to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_frees_no_route_that_is_held() {
        let state = tempfile::tempdir().expect("a folder");
        assert!(Courses::open(state.path()).is_ok());
        fs::write(state.path().join(FILE), b"{").expect("writes");
        assert!(Courses::open(state.path()).is_err());
    }
}
