//! Python environments for what comes from the Python Package Index, made once on a machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Launch};

/// Longest time for fetching what an environment holds.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(600);

/// This user's folder for what is made once on a machine.
pub(crate) fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    cache.or_else(home).unwrap_or_else(std::env::temp_dir).join("banyan-testkit")
}

/// Makes `name` in the cache by calling `make` with a folder to fill, unless it is there; returns its path.
///
/// It is made beside its place and moved there whole: another test may be making it too, and the first one wins.
pub(crate) fn made_once(
    name: &str,
    make: impl FnOnce(&Path, &Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let cache = cache();
    let ready = cache.join(name);
    if ready.exists() {
        return Ok(ready);
    }
    fs::create_dir_all(&cache).map_err(|e| Error::io(format!("making {}", cache.display()), e))?;
    let making = tempfile::Builder::new().prefix("making-").tempdir_in(&cache);
    let making = making.map_err(|e| Error::io(format!("making a folder in {}", cache.display()), e))?;
    let (new, log) = (making.path().join("made"), making.path().join("making.log"));
    make(&new, &log)?;
    match fs::rename(&new, &ready) {
        Err(_) if ready.exists() => {}
        moved => moved.map_err(|e| Error::io(format!("moving {name} to {}", ready.display()), e))?,
    }
    Ok(ready)
}

/// The Python of the environment `name`, in which `pip install` was given `wanted`.
pub(crate) fn environment(name: &str, wanted: &[&str]) -> Result<PathBuf, Error> {
    let made = made_once(name, |new, log| {
        let run = |program: &Path, args: &[&str]| {
            let launch = Launch::new("python", program, log).args(args.iter().copied());
            let keep = ["HOME", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "https_proxy", "HTTPS_PROXY"];
            let settings = keep.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
            let launch = settings.fold(launch, |launch, (name, value)| launch.env(name, value));
            launch.run(INSTALL_TIME_MAX).map_err(|error| Error::Missing {
                program: name.to_owned(),
                hint: format!(
                    "it needs Python 3.11 or later with venv and pip (Debian's python3-venv) and a package index: {error}"
                ),
            })
        };
        run(Path::new("python3"), &["-m", "venv", &new.display().to_string()])?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(&new.join("bin/python"), &[&pip, wanted].concat())
    })?;
    Ok(made.join("bin/python"))
}
