//! `banyan backup` and `banyan restore`.

use crate::backup::{
    self, BACKUP_FILE, BackupFile, BackupManifest, VERSION, copy, copy_log, create_dir, expect_empty, failed,
    measure, names, sync_dir,
};
use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::offline::{self, StoreArgs, byte_progress, event_progress};
use banyan_log::Verdict;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a consistent copy of a store, while its server runs or not.
///
/// The copy holds every answer given before the command started. It takes the log (up to a whole block), the snapshots, the
/// archive if it is named, and the hashes of the API keys; not the record store, which is built again from the log, and not
/// operator.key. The copy is read back and verified before the command says that it is done.
///
/// A backup holds the secret that coupon codes follow from: keep it as safe as the store.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 done and verified; 2 what was named is wrong; 3 the copy could not be verified; 4 the system \
                        stood in the way.\nExample: banyan backup --to /backups/$(date +%F)\n\
                        A backup can be looked at like a store: banyan verify --data /backups/2026-11-27"
)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Where to put it: a directory that is not there yet, or empty
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Make a store from a backup. Every file is compared with the backup's list, and the log verified, before the directory gets its
/// name.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 done and verified; 2 what was named is wrong; 3 the backup is damaged; 4 the system stood in the way."
)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The data directory to make: not there yet, or empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Copies, verifies, and says what there is.
pub(crate) fn back_up(args: &BackupArgs) -> Result<ExitCode, Failure> {
    let dir = args.store.dir()?;
    expect_empty(&args.to, "--to")?;
    create_dir(&args.to)?;
    let to = DataDir::at(&args.to);
    let snapshots = dir.snapshots();
    // Snapshots first: each must lie before the end of the copied log. One may be replaced while we copy.
    create_dir(&to.snapshots())?;
    for name in names(&snapshots)?.iter().filter(|name| name.ends_with(".snap")) {
        match copy(&snapshots.join(name), &to.snapshots().join(name), &indicatif::ProgressBar::hidden()) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let _nothing_was_copied = fs::remove_file(to.snapshots().join(name));
            }
            Err(error) => return Err(failed("copying", &snapshots.join(name), &error)),
        }
    }
    sync_dir(&to.snapshots())?;
    if dir.keys().exists() {
        copy(&dir.keys(), &to.keys(), &indicatif::ProgressBar::hidden())
            .map_err(|error| failed("copying", &dir.keys(), &error))?;
    }
    let archive_to = args.to.join("archive");
    let archive = args.store.archive.as_deref().map(|from| (from, archive_to.as_path()));
    let progress =
        byte_progress("copying", bytes_in(&dir.log())? + archive.map_or(Ok(0), |(from, _)| bytes_in(from))?);
    let summary = copy_log(&dir.log(), archive, &to.log(), &progress)?;
    progress.finish_and_clear();
    if summary.first_seq.as_u64() > 1 && names(&to.snapshots())?.is_empty() {
        return Err(Failure::usage(
            "the live log does not begin with the first event and there is no snapshot: name the archive with --archive DIR",
        ));
    }
    let mut files = Vec::new();
    list_files(&args.to, &args.to, &mut files)?;
    let manifest = BackupManifest {
        version: VERSION,
        made_at: banyan_api::rfc3339(banyan_api::now()),
        first_seq: summary.first_seq.as_u64(),
        head: summary.head.as_u64(),
        head_hash: summary.head_hash.to_string(),
        files,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(Failure::environment)?;
    let path = args.to.join(BACKUP_FILE);
    crate::keys::write_private(&path, &text).map_err(|error| failed("writing", &path, &error))?;
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    println!(
        "Backed up events {} to {} ({} MiB in {} files) to {}; verified.",
        manifest.first_seq,
        manifest.head,
        bytes >> 20,
        manifest.files.len(),
        args.to.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Checks the backup, copies it, checks the copy, and gives it its name.
pub(crate) fn restore(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let path = args.from.join(BACKUP_FILE);
    let text = fs::read(&path).map_err(|error| {
        let why = format!("{} is no complete backup: reading {BACKUP_FILE}: {error}", args.from.display());
        Failure::usage(why)
    })?;
    let manifest: BackupManifest = serde_json::from_slice(&text)
        .map_err(|error| Failure::check(format!("{} cannot be read: {error}", path.display())))?;
    if manifest.version != VERSION {
        return Err(Failure::usage(format!(
            "the backup has version {}; this banyan reads version {VERSION}",
            manifest.version
        )));
    }
    expect_empty(&args.data, "--data")?;
    let making = beside(&args.data);
    backup::fresh(&making)?;
    copy_listed(args, &manifest, &making)?;
    let dir = DataDir::existing(&making)?;
    let archive = Some(making.join("archive")).filter(|path| path.is_dir());
    let mut log = offline::open(&dir.log(), archive.as_deref())?;
    let verdict = offline::walk(&mut log, &event_progress("verifying"), &mut |_| Ok(()))?;
    let (head, hash) = (log.summary().head.as_u64(), log.summary().head_hash.to_string());
    if verdict != Verdict::Clean || head != manifest.head || hash != manifest.head_hash {
        return Err(Failure::check(format!(
            "the restored log ends at event {head} with {verdict:?}, the backup says {}: {} is kept to look at, {} was not made",
            manifest.head,
            making.display(),
            args.data.display()
        )));
    }
    fs::rename(&making, &args.data).map_err(|error| failed("naming", &args.data, &error))?;
    let parent = args.data.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_dir(parent.unwrap_or(Path::new(".")))?;
    let data = args.data.display();
    println!("Restored events {} to {head} to {data}; verified.", manifest.first_seq);
    println!("Next: banyan up --data {data}");
    if archive.is_some() {
        println!(
            "The archive is in {data}/archive: start with --archive {data}/archive, and build the record store first:"
        );
        println!("  banyan view rebuild record --data {data} --archive {data}/archive");
    }
    println!(
        "Your operator key works as before; if it is lost: banyan key create --role operator --data {data}"
    );
    Ok(ExitCode::SUCCESS)
}

fn copy_listed(args: &RestoreArgs, manifest: &BackupManifest, making: &Path) -> Result<(), Failure> {
    let progress = byte_progress("restoring", manifest.files.iter().map(|file| file.bytes).sum());
    for file in &manifest.files {
        let relative = Path::new(&file.path);
        // The list is input like any other: it must not lead out of the directory.
        let inside = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !inside {
            return Err(Failure::check(format!(
                "the backup lists {:?}, which is no file of a backup",
                file.path
            )));
        }
        let (from, to) = (args.from.join(relative), making.join(relative));
        if let Some(parent) = to.parent() {
            create_dir(parent)?;
        }
        copy(&from, &to, &progress).map_err(|error| failed("copying", &from, &error))?;
        let (bytes, blake3) = measure(&to).map_err(|error| failed("reading", &to, &error))?;
        if bytes != file.bytes || blake3 != file.blake3 {
            return Err(Failure::check(format!(
                "{} is not what was backed up: its content has changed since. Nothing was made at {}; use another backup",
                from.display(),
                args.data.display()
            )));
        }
        if let Some(parent) = to.parent() {
            sync_dir(parent)?;
        }
    }
    progress.finish_and_clear();
    sync_dir(making)
}

/// Where a store is put together before it gets its name, on the same file system.
fn beside(data: &Path) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    data.with_file_name(name)
}

fn list_files(root: &Path, dir: &Path, files: &mut Vec<BackupFile>) -> Result<(), Failure> {
    for name in names(dir)? {
        let path = dir.join(&name);
        if path.is_dir() {
            list_files(root, &path, files)?;
            continue;
        }
        let (bytes, blake3) = measure(&path).map_err(|error| failed("reading", &path, &error))?;
        let relative = path.strip_prefix(root).unwrap_or(&path);
        files.push(BackupFile { path: relative.display().to_string(), bytes, blake3 });
    }
    Ok(())
}

fn bytes_in(dir: &Path) -> Result<u64, Failure> {
    let sizes = names(dir)?.into_iter().map(|name| fs::metadata(dir.join(name)).map_or(0, |meta| meta.len()));
    Ok(sizes.sum())
}
