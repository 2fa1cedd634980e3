//! What the figures were measured on.

use std::fs;
use std::path::Path;

use crate::{Failure, failed};

/// One line about the machine and the disk of `dir`, to be printed beside every figure.
pub(crate) fn describe(dir: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_matches([':', ' ', '\t']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let filesystem = filesystem(dir).unwrap_or_else(|| "unknown".to_owned());
    format!("{cores} cores ({}), Linux {}, {filesystem}", model.unwrap_or("unknown CPU"), kernel.trim())
}

/// Fails when `dir` is on a file system in memory, where "durable" means nothing.
pub(crate) fn refuse_memory(dir: &Path) -> Result<(), Failure> {
    match filesystem(dir).as_deref() {
        Some(kind @ ("tmpfs" | "ramfs")) => {
            let doing = format!("benchmarking in {}", dir.display());
            Err(failed(
                doing,
                format!("it is {kind}, in memory: durable figures would be lies; give --dir on a disk"),
            ))
        }
        _ => Ok(()),
    }
}

/// The kind of file system `dir` is on.
fn filesystem(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    kind_of(&fs::read_to_string("/proc/self/mountinfo").ok()?, &dir)
}

/// The kind of the last, longest mount point above `dir`. A line is `id parent device root MOUNT options .. - KIND ..`.
fn kind_of(mounts: &str, dir: &Path) -> Option<String> {
    let entries = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        dir.starts_with(&point).then(|| (point.len(), right.split(' ').next().unwrap_or_default().to_owned()))
    });
    entries.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            30 22 0:26 / /tmp rw,nosuid - tmpfs tmpfs rw\n31 30 0:27 / /tmp/a\\040b rw - xfs /dev/vdb rw\n";
        let kind = |dir: &str| kind_of(mounts, Path::new(dir)).expect("a mount");
        assert_eq!(kind("/home/x"), "ext4");
        assert_eq!(kind("/tmp/x"), "tmpfs");
        assert_eq!(kind("/tmpfoo"), "ext4");
        assert_eq!(kind("/tmp/a b/c"), "xfs");
    }

    #[test]
    fn memory_is_refused() {
        // /dev/shm is tmpfs wherever it exists; a machine without it has nothing to refuse here.
        let text =
            refuse_memory(Path::new("/dev/shm")).map_or_else(|e| e.to_string(), |()| "allowed".to_owned());
        let is_memory = filesystem(Path::new("/dev/shm")).as_deref() == Some("tmpfs");
        assert_eq!(text.contains("give --dir"), is_memory, "{text}");
        assert!(refuse_memory(Path::new("/proc")).is_ok());
    }
}
