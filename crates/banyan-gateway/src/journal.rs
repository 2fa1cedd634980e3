//! The journal of the route table: one JSON line for each version, synced before the version counts.
//!
//! A last line that was torn by a crash is cut off with a warning: nobody was told that its change was made. It is torn if its
//! end is missing, or bytes of it were never written (they read as zeros). Everything else that cannot be read is an error,
//! also a whole last line: a newer version may have written it, and the table must not silently become another one.

use crate::change::{Change, Entry, Touch};
use crate::config::RouteSpec;
use crate::limits::HISTORY_MAX;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file's name in the state folder.
pub(crate) const FILE: &str = "routes.jsonl";

/// One line.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// All routes as they were after `version`, and the digest of the file's routes they rest on. Begins a journal.
    Base { version: u64, routes: Vec<RouteSpec>, file: String },
    /// A version. `file` if it came from the configuration file.
    Entry {
        #[serde(flatten)]
        entry: Entry,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
}

/// The open journal and what it says.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes that are known to be good.
    length: u64,
    /// A failed write could not be taken back: nothing is written any more.
    broken: bool,
    /// The current table.
    pub routes: Vec<RouteSpec>,
    /// The current version; 0 for an empty journal.
    pub version: u64,
    /// Versions that are still known, oldest first.
    pub history: Vec<Entry>,
    /// Digest of the routes of the configuration file that was read last.
    pub file_digest: String,
}

impl Journal {
    /// Opens the journal in `folder`, or begins one.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        let path = folder.join(FILE);
        let failed =
            |doing: &str, error: &dyn std::fmt::Display| format!("{doing} {}: {error}", path.display());
        fs::create_dir_all(folder).map_err(|error| failed("creating the folder of", &error))?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed("opening", &error))?;
        // Given up when it is closed, also by the end of the process.
        if let Err(error) = file.try_lock() {
            return Err(format!(
                "{}: {error}: another gateway uses this `state` folder. Give each its own",
                path.display()
            ));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| failed("reading", &error))?;
        let mut journal = Self {
            file,
            length: 0,
            broken: false,
            routes: Vec::new(),
            version: 0,
            history: Vec::new(),
            file_digest: String::new(),
            path: path.clone(),
        };
        let good = journal.replay(&bytes).map_err(|why| failed("reading", &why))?;
        if good < bytes.len() {
            tracing::warn!(
                journal = %path.display(),
                bytes = bytes.len() - good,
                "the journal's last line was torn by a crash: it is cut off; nobody was told that its change was made"
            );
            journal.file.set_len(good as u64).map_err(|error| failed("cutting the torn end of", &error))?;
            journal.file.sync_all().map_err(|error| failed("syncing", &error))?;
        }
        journal.length = good as u64;
        sync_folder(folder).map_err(|error| failed("syncing the folder of", &error))?;
        if journal.history.len() > 2 * HISTORY_MAX {
            journal.shorten().map_err(|error| failed("shortening", &error))?;
        }
        Ok(journal)
    }

    /// Reads the lines; returns how many bytes are whole lines.
    fn replay(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        let mut number = 0;
        while at < bytes.len() {
            number += 1;
            let end = bytes[at..].iter().position(|b| *b == b'\n').map(|n| at + n);
            let is_last = end.is_none_or(|end| end + 1 == bytes.len());
            let is_torn = is_last && (end.is_none() || bytes[at..].contains(&0));
            let parsed = end.ok_or_else(|| "no end of line".to_owned()).and_then(|end| {
                serde_json::from_slice::<Line>(&bytes[at..end]).map_err(|error| error.to_string())
            });
            match parsed {
                Ok(line) => self.take(line).map_err(|why| format!("line {number}: {why}"))?,
                Err(_) if is_torn => return Ok(at),
                Err(why) => {
                    return Err(format!(
                        "line {number} is damaged, or a newer version wrote it: {why}. Start that version, put the file back from a backup, or move it away to begin again with the routes of the configuration file"
                    ));
                }
            }
            at = end.map_or(bytes.len(), |end| end + 1);
        }
        Ok(at)
    }

    fn take(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Base { version, routes, file } => {
                (self.version, self.routes, self.file_digest) = (version, routes, file);
            }
            Line::Entry { entry, file } => {
                if entry.version != self.version + 1 {
                    return Err(format!("version {} follows version {}", entry.version, self.version));
                }
                self.version = entry.version;
                match &entry.change {
                    Change::Replace { routes } => self.routes.clone_from(routes),
                    _ => redo(&mut self.routes, &entry.touched),
                }
                if let Some(file) = file {
                    self.file_digest = file;
                }
                self.history.push(entry);
            }
        }
        Ok(())
    }

    /// Writes one version and syncs it; the table is `routes` from then on.
    pub(crate) fn append(
        &mut self,
        entry: Entry,
        routes: Vec<RouteSpec>,
        file: Option<String>,
    ) -> Result<(), String> {
        let path = self.path.display().to_string();
        if self.broken {
            return Err(format!("writing {path} failed before; mend the disk and start the gateway again"));
        }
        let line = Line::Entry { entry, file };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| format!("writing {path}: {error}"))?;
        bytes.push(b'\n');
        if let Err(error) = self.file.write_all(&bytes).and_then(|()| self.file.sync_all()) {
            // After a failed sync nothing is known about the bytes. They are cut off, and if even that fails nothing
            // more is written: the next start reads what is there.
            let cut = self.file.set_len(self.length).and_then(|()| self.file.sync_all());
            self.broken = cut.is_err();
            return Err(format!("writing {path}: {error}"));
        }
        self.length += bytes.len() as u64;
        let Line::Entry { entry, file } = line else { return Ok(()) };
        self.version = entry.version;
        self.routes = routes;
        if let Some(file) = file {
            self.file_digest = file;
        }
        self.history.push(entry);
        Ok(())
    }

    /// Writes a new file with the last versions only, and puts it in the old one's place.
    fn shorten(&mut self) -> io::Result<()> {
        let keep = self.history.split_off(self.history.len() - HISTORY_MAX);
        let mut routes = self.routes.clone();
        for entry in keep.iter().rev() {
            undo(&mut routes, &entry.touched);
        }
        let base =
            Line::Base { version: self.version - HISTORY_MAX as u64, routes, file: self.file_digest.clone() };
        let temporary = self.path.with_extension("tmp");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        let mut text = serde_json::to_vec(&base)?;
        text.push(b'\n');
        for entry in &keep {
            serde_json::to_writer(&mut text, &Line::Entry { entry: entry.clone(), file: None })?;
            text.push(b'\n');
        }
        file.write_all(&text)?;
        file.sync_all()?;
        file.try_lock().map_err(io::Error::other)?;
        fs::rename(&temporary, &self.path)?;
        sync_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        file.seek(SeekFrom::End(0))?;
        (self.file, self.length, self.history) = (file, text.len() as u64, keep);
        Ok(())
    }
}

fn redo(routes: &mut Vec<RouteSpec>, touched: &[Touch]) {
    for touch in touched {
        let at = routes.iter().position(|route| route.name == touch.route);
        put(routes, at, touch.after.as_ref(), touch.place);
    }
}

fn undo(routes: &mut Vec<RouteSpec>, touched: &[Touch]) {
    for touch in touched.iter().rev() {
        let at = routes.iter().position(|route| route.name == touch.route);
        put(routes, at, touch.before.as_ref(), touch.place);
    }
}

fn put(routes: &mut Vec<RouteSpec>, at: Option<usize>, spec: Option<&RouteSpec>, place: usize) {
    match (at, spec) {
        (Some(at), Some(spec)) => routes[at] = spec.clone(),
        (Some(at), None) => {
            routes.remove(at);
        }
        (None, Some(spec)) => routes.insert(place.min(routes.len()), spec.clone()),
        (None, None) => {}
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}
