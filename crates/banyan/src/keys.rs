//! The file of API keys: hashes only. The server takes changes within seconds, without a restart.

use crate::data_dir::DataDir;
use crate::exit::Failure;
use banyan_api::auth::{KeyRecord, Keyring, Role};
use banyan_api::{now, rfc3339};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the server looks whether the file changed.
const LOOK: Duration = Duration::from_secs(2);
/// The name of the storefront's key.
const SHOP: &str = "shop";
/// The name of the gateway's key.
const GATEWAY: &str = "gateway";

/// Reads the records; none if there is no file yet.
pub(crate) fn read(dir: &DataDir) -> Result<Vec<KeyRecord>, Failure> {
    parse(dir, text(dir)?.as_deref())
}

/// The file as it is, if there is one yet.
fn text(dir: &DataDir) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(dir.keys()) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(dir, &error)),
    }
}

fn parse(dir: &DataDir, text: Option<&[u8]>) -> Result<Vec<KeyRecord>, Failure> {
    text.map_or(Ok(Vec::new()), |text| serde_json::from_slice(text).map_err(|error| unreadable(dir, &error)))
}

fn unreadable(dir: &DataDir, error: &dyn std::fmt::Display) -> Failure {
    Failure::environment(format!("reading {}: {error}", dir.keys().display()))
}

/// Changes the records: `change` gets them as they are and leaves them as they shall be. Whoever else changes them waits
/// meanwhile, in any process, so that no change is lost. If `change` fails, nothing is stored.
pub(crate) fn update<T>(
    dir: &DataDir,
    change: impl FnOnce(&mut Vec<KeyRecord>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let path = dir.keys_lock();
    let locking = |error: io::Error| Failure::environment(format!("locking {}: {error}", path.display()));
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    // Given up when it is closed, also by the end of the process.
    let lock = lock.map_err(locking)?;
    lock.lock().map_err(locking)?;
    let mut records = read(dir)?;
    let done = change(&mut records)?;
    write(dir, &records)?;
    Ok(done)
}

/// Stores the records in place of those before: whole, or not at all.
fn write(dir: &DataDir, records: &[KeyRecord]) -> Result<(), Failure> {
    let path = dir.keys();
    let text = serde_json::to_string_pretty(records).map_err(Failure::environment)?;
    write_private(&path, text.as_bytes())
        .map_err(|error| Failure::environment(format!("writing {}: {error}", path.display())))
}

/// Makes a key, named after its role and the next free number if there is no `name`, and stores its record. Returns the
/// name and the key, which is not kept anywhere else.
pub(crate) fn create(dir: &DataDir, name: Option<&str>, role: Role) -> Result<(String, String), Failure> {
    update(dir, |records| add(records, name, role))
}

fn add(records: &mut Vec<KeyRecord>, name: Option<&str>, role: Role) -> Result<(String, String), Failure> {
    let is_taken = |name: &str| records.iter().any(|record| record.name == name);
    let name = match name {
        Some(name) if is_taken(name) => {
            return Err(Failure::usage(format!(
                "there is a key named {name:?} already; choose another name"
            )));
        }
        Some(name) => name.to_owned(),
        None => {
            let mut numbered = (1..=records.len() + 1).map(|n| format!("{role}-{n}"));
            numbered.find(|name| !is_taken(name)).expect("one more number than there are keys")
        }
    };
    let (record, key) = KeyRecord::create(&name, role, rfc3339(now())).map_err(Failure::usage)?;
    records.push(record);
    Ok((name, key))
}

/// Makes the operator's key of a new store, readable by its owner only.
pub(crate) fn ensure_operator(dir: &DataDir) -> Result<(), Failure> {
    if !read(dir)?.is_empty() {
        return Ok(());
    }
    update(dir, |records| {
        if !records.is_empty() {
            return Ok(());
        }
        let (_, key) = add(records, Some("operator"), Role::Operator)?;
        let path = dir.operator_key();
        // The key before its hash: after a crash between the two, the next start makes another. The other way round
        // there would be an operator whose key nobody ever saw.
        write_private(&path, format!("{key}\n").as_bytes())
            .map_err(|error| Failure::environment(format!("writing {}: {error}", path.display())))
    })
}

/// The storefront's own service key, made if there is none that counts, readable by its owner only.
pub(crate) fn ensure_shop(dir: &DataDir) -> Result<String, Failure> {
    ensure(dir, &dir.shop_key(), SHOP, Role::Service)
}

/// The file with the gateway's own key, made in the same way. It may only read: routes ask with it for whoever comes.
pub(crate) fn ensure_gateway(dir: &DataDir) -> Result<PathBuf, Failure> {
    let path = dir.gateway_key();
    ensure(dir, &path, GATEWAY, Role::Auditor)?;
    Ok(path)
}

fn ensure(dir: &DataDir, path: &Path, name: &str, role: Role) -> Result<String, Failure> {
    let kept = match fs::read_to_string(path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::environment(format!("reading {}: {error}", path.display()))),
    };
    let hash = blake3::hash(kept.as_bytes()).to_hex();
    let counts = |records: &[KeyRecord]| records.iter().any(|record| record.hash == hash.as_str());
    if !kept.is_empty() && counts(&read(dir)?) {
        return Ok(kept);
    }
    update(dir, |records| {
        // The file may be lost while its key still counts: that one is worth nothing any more.
        records.retain(|record| record.name != name || record.role != role);
        let taken = records.iter().any(|record| record.name == name);
        let (_, key) = add(records, (!taken).then_some(name), role)?;
        // As with the operator's: the key before its hash.
        write_private(path, format!("{key}\n").as_bytes())
            .map_err(|error| Failure::environment(format!("writing {}: {error}", path.display())))?;
        Ok(key)
    })
}

/// Replaces the keyring's keys whenever the file changes. Ends with the process.
pub(crate) async fn watch(dir: DataDir, keyring: Arc<Keyring>) {
    // The text and not the time of its last change: two changes can have the same time.
    let mut seen = None;
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let text = match text(&dir) {
            Ok(text) if seen.as_ref() == Some(&text) => continue,
            Ok(text) => text,
            Err(failure) => {
                tracing::error!("API keys stay as they were: {failure}");
                continue;
            }
        };
        match parse(&dir, text.as_deref())
            .and_then(|records| keyring.replace(&records).map_err(Failure::environment))
        {
            Ok(()) if seen.is_some() => tracing::info!("API keys read again"),
            Ok(()) => {}
            Err(failure) => tracing::error!("API keys stay as they were: {failure}"),
        }
        seen = Some(text);
    }
}

/// Writes a file that only its owner can read: under another name, synced, renamed, and the directory synced.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_made_at_the_same_instant_are_all_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = DataDir::at(folder.path());
        let all_at_once = std::sync::Barrier::new(16);
        let made: BTreeSet<String> = std::thread::scope(|scope| {
            let make = |n: usize| {
                let (dir, all_at_once) = (&dir, &all_at_once);
                scope.spawn(move || {
                    all_at_once.wait();
                    let named = format!("checkout-{n}");
                    let name = n.is_multiple_of(2).then_some(named.as_str());
                    (0..if name.is_some() { 1 } else { 4 })
                        .map(|_| create(dir, name, Role::Service).expect("made").0)
                        .collect::<Vec<_>>()
                })
            };
            let threads: Vec<_> = (0..16).map(make).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(made.len(), 8 + 8 * 4, "every key has a name of its own");
        let kept: BTreeSet<String> =
            read(&dir).expect("readable").into_iter().map(|record| record.name).collect();
        assert_eq!(kept, made);
    }

    #[test]
    fn a_change_that_fails_stores_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = DataDir::at(folder.path());
        create(&dir, Some("checkout"), Role::Service).expect("made");
        let before = fs::read(dir.keys()).expect("there");
        create(&dir, Some("checkout"), Role::Auditor).expect_err("the name is taken");
        assert_eq!(fs::read(dir.keys()).expect("there"), before);
    }

    #[test]
    fn the_shops_key_is_made_once_and_again_when_it_is_lost() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = DataDir::at(folder.path());
        let key = ensure_shop(&dir).expect("made");
        assert_eq!(ensure_shop(&dir).expect("kept"), key);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(dir.shop_key()).expect("there").permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(dir.shop_key()).expect("removed");
        assert_ne!(ensure_shop(&dir).expect("made anew"), key);
        assert_eq!(read(&dir).expect("readable").len(), 1, "the lost one no longer counts");
    }

    #[test]
    fn an_emptied_file_is_not_a_file_without_keys() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = DataDir::at(folder.path());
        assert_eq!(read(&dir).expect("no file yet").len(), 0);
        fs::write(dir.keys(), b"").expect("written");
        read(&dir).expect_err("somebody emptied it");
        create(&dir, None, Role::Operator).expect_err("and it is not written over");
    }
}
