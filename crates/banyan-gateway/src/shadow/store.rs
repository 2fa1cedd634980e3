//! What was learned about each route, kept in the state folder: groups, judgements, noise. One file for each route.

use super::lane::{Known, Lane};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The folder in the state folder.
const FOLDER: &str = "verdicts";
/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The lanes of a gateway by route, and where they are stored.
#[derive(Clone)]
pub(crate) struct Store {
    folder: PathBuf,
    lanes: Arc<Mutex<BTreeMap<String, Arc<Lane>>>>,
}

impl Store {
    /// Lanes that are stored under the state folder.
    pub(crate) fn new(state: &Path) -> Self {
        Self { folder: state.join(FOLDER), lanes: Arc::default() }
    }

    /// The lane of a route: the one that is there, the one that was stored, or a new one.
    pub(crate) fn lane(&self, route: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(route) {
            return lane.clone();
        }
        let lane = Arc::new(Lane::with(self.read(route)));
        lanes.insert(route.to_owned(), lane.clone());
        lane
    }

    fn read(&self, route: &str) -> Known {
        let path = self.path(route);
        let new = || Known { route: route.to_owned(), ..Known::default() };
        let read = fs::metadata(&path).and_then(|data| {
            if data.len() > FILE_BYTES_MAX {
                return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
            }
            serde_json::from_slice::<Known>(&fs::read(&path)?).map_err(io::Error::other)
        });
        match read {
            Ok(known) if known.route == route => known,
            Ok(_) => new(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => new(),
            Err(error) => {
                // Judgements are people's work: the file is kept for them, and the gateway starts all the same.
                let aside = path.with_extension("damaged");
                let moved = fs::rename(&path, &aside);
                tracing::error!(
                    file = %path.display(), %error, kept_as = %aside.display(), kept = moved.is_ok(),
                    "what was learned about a route cannot be read; it begins anew, and its groups must be judged again"
                );
                new()
            }
        }
    }

    /// Stores every lane that changed. What cannot be stored stays in memory and is tried again.
    pub(crate) fn save(&self) {
        let lanes: Vec<(String, Arc<Lane>)> = {
            let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.iter().map(|(route, lane)| (route.clone(), lane.clone())).collect()
        };
        for (route, lane) in lanes {
            if let Err(error) = self.save_lane(&route, &lane) {
                tracing::warn!(route, %error, "what was learned about a route could not be stored; it is tried again");
            }
        }
    }

    /// Stores one lane, if it changed, and returns when it is on disk.
    ///
    /// # Errors
    /// The file cannot be written; the lane stays to be stored.
    pub(crate) fn save_lane(&self, route: &str, lane: &Lane) -> io::Result<()> {
        // Two writers of one file would leave the older bytes last.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = lane.unsaved() else { return Ok(()) };
        write(&self.folder, &self.path(route), &bytes).inspect_err(|_| lane.still_unsaved())
    }

    fn path(&self, route: &str) -> PathBuf {
        // A route's name may have characters that no file has.
        self.folder.join(format!("{}.json", &blake3::hash(route.as_bytes()).to_hex()[..16]))
    }
}

/// Replaces a file whole: whoever reads it after a crash finds the old bytes or the new ones.
pub(crate) fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    // What customers saw is in the samples: nobody else's to read.
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{Difference, Kind};
    use crate::groups::{Judged, Judgement, Sample, Shown};
    use std::os::unix::fs::PermissionsExt as _;

    fn take(lane: &Lane) -> bool {
        let shown = Shown { status: 200, headers: Vec::new(), body: String::new() };
        let difference = Difference {
            kind: Kind::Value,
            place: "$.a".into(),
            general: "$.a".into(),
            legacy: "1".into(),
            banyan: "2".into(),
        };
        let sample = || Sample {
            at: 1,
            method: "GET".into(),
            path: "/".into(),
            legacy: shown.clone(),
            banyan: shown.clone(),
            differences: Vec::new(),
        };
        lane.learn(|known| known.groups.take("shop", 1, std::slice::from_ref(&difference), sample))
    }

    #[test]
    fn judgements_survive_a_restart() {
        let state = tempfile::tempdir().expect("a folder");
        let store = Store::new(state.path());
        let lane = store.lane("shop");
        assert!(take(&lane));
        let id = lane.groups()[0].id.clone();
        let judged = Judged { judgement: Judgement::Ignore, by: "mina".into(), why: "known".into(), at: 1 };
        assert!(lane.judge(&id, judged).is_some());
        store.save();
        let mode = fs::metadata(store.path("shop")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Store::new(state.path()).lane("shop");
        assert_eq!(again.groups(), lane.groups());
        assert!(!take(&again), "what is ignored stays ignored");
        assert!(again.unsaved().is_some() && again.unsaved().is_none());
    }

    #[test]
    fn a_damaged_file_is_kept_and_stops_nobody() {
        let state = tempfile::tempdir().expect("a folder");
        let store = Store::new(state.path());
        take(&store.lane("shop"));
        store.save();
        let path = store.path("shop");
        fs::write(&path, b"{\"route\":").expect("writes");
        assert!(Store::new(state.path()).lane("shop").groups().is_empty());
        assert!(path.with_extension("damaged").exists());
    }
}
