//! Which Debian packages the servers come from, whether they are here, and getting them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;
use crate::user::is_root;

/// Debian asks this program before a package starts a service; 101 means "do not".
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_NEVER_START: &str = "#!/bin/sh\nexit 101\n";

/// One Debian package that tests or benchmarks can need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// PostgreSQL 15.
    Postgres,
    /// Redis.
    Redis,
    /// RabbitMQ, with Erlang.
    RabbitMq,
    /// The browser.
    Chromium,
    /// MariaDB 10.11.
    MariaDb,
    /// nginx.
    Nginx,
    /// HAProxy.
    HaProxy,
    /// The connection pooler in front of Postgres.
    PgBouncer,
}

impl Package {
    /// Every package this crate knows.
    pub const ALL: [Self; 8] = [
        Self::Postgres,
        Self::Redis,
        Self::RabbitMq,
        Self::Chromium,
        Self::MariaDb,
        Self::Nginx,
        Self::HaProxy,
        Self::PgBouncer,
    ];

    /// Its name in Debian.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql-15",
            Self::Redis => "redis-server",
            Self::RabbitMq => "rabbitmq-server",
            Self::Chromium => "chromium",
            Self::MariaDb => "mariadb-server",
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
            Self::PgBouncer => "pgbouncer",
        }
    }

    /// Whether its program is on this machine, from Debian or elsewhere.
    pub fn is_installed(self) -> bool {
        self.programs().iter().any(|program| is_program(program))
    }

    /// The programs of which one proves that the package is here.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &[
                "/usr/lib/postgresql/15/bin/postgres",
                "/usr/lib/postgresql/16/bin/postgres",
                "/usr/lib/postgresql/17/bin/postgres",
                "/usr/lib/postgresql/18/bin/postgres",
            ],
            Self::Redis => &["redis-server"],
            Self::RabbitMq => &["/usr/lib/rabbitmq/bin/rabbitmq-server"],
            Self::Chromium => &["chromium"],
            Self::MariaDb => &["mariadbd"],
            Self::Nginx => &["nginx"],
            Self::HaProxy => &["haproxy"],
            Self::PgBouncer => &["pgbouncer"],
        }
    }

    pub(crate) fn missing(self) -> Error {
        Error::Missing { program: self.name().to_owned(), hint: hint(&[self.name()]) }
    }
}

/// Debian's names of the packages that are not here.
pub fn missing_packages() -> Vec<&'static str> {
    missing_of(&Package::ALL)
}

/// The command that installs what is missing; `None` when nothing is.
pub fn install_hint() -> Option<String> {
    let missing = missing_packages();
    (!missing.is_empty()).then(|| hint(&missing))
}

/// Installs those of `wanted` that are missing, without starting any service, when this process is root. Otherwise
/// fails with the command to run. Does nothing when nothing is missing.
pub fn ensure_packages(wanted: &[Package]) -> Result<(), Error> {
    let missing = missing_of(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(text) = refusal(&missing, is_root(), is_program("apt-get")) {
        return Err(Error::Packages { text });
    }
    install(&missing)?;
    let missing = missing_of(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!("apt-get installed {} but its programs are not where expected", missing.join(", "));
    Err(Error::Packages { text })
}

fn missing_of(wanted: &[Package]) -> Vec<&'static str> {
    wanted.iter().filter(|package| !package.is_installed()).map(|package| package.name()).collect()
}

fn hint(names: &[&str]) -> String {
    format!("install it with: apt-get install -y --no-install-recommends {}", names.join(" "))
}

fn refusal(missing: &[&str], is_root: bool, has_apt: bool) -> Option<String> {
    let names = missing.join(", ");
    if !has_apt {
        return Some(format!(
            "missing on this machine: {names} (Debian's names); there is no apt-get to install them"
        ));
    }
    (!is_root).then(|| format!("missing on this machine: {names}; as root, {}", hint(missing)))
}

fn install(names: &[&str]) -> Result<(), Error> {
    let _guard = NoServices::begin(Path::new(POLICY))?;
    let args: Vec<&str> = ["install", "-y", "--no-install-recommends"].iter().chain(names).copied().collect();
    // The lists may be older than the archive: on failure they are fetched anew, once.
    if apt_get(&args).is_ok() {
        return Ok(());
    }
    apt_get(&["update"])?;
    apt_get(&args)
}

fn apt_get(args: &[&str]) -> Result<(), Error> {
    let command = format!("apt-get {}", args.join(" "));
    let output = Command::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::io(format!("running {command}"), e))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    let lines: Vec<&str> = printed.lines().collect();
    let output_end = lines[lines.len().saturating_sub(20)..].join("\n");
    Err(Error::Failed { command, status: output.status.to_string(), output: output_end })
}

/// While this lives, installing a package starts no service. The machine's own policy, if it has one, is kept.
#[derive(Debug)]
struct NoServices {
    made: Option<PathBuf>,
}

impl NoServices {
    fn begin(policy: &Path) -> Result<Self, Error> {
        let doing = || format!("keeping packages from starting services, in {}", policy.display());
        if policy.exists() {
            let answer = Command::new(policy).args(["banyan-testkit", "start"]).stdin(Stdio::null()).output();
            let answer = answer.map_err(|e| Error::io(doing(), e))?;
            if answer.status.code() == Some(101) {
                return Ok(Self { made: None });
            }
            let text = format!(
                "{} allows services to start, and is not ours to change; install the packages yourself",
                policy.display()
            );
            return Err(Error::Packages { text });
        }
        fs::write(policy, POLICY_NEVER_START).map_err(|e| Error::io(doing(), e))?;
        let guard = Self { made: Some(policy.to_owned()) };
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755)).map_err(|e| Error::io(doing(), e))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = &self.made {
            // Left behind it would only keep later packages from starting their services.
            let _ = fs::remove_file(policy);
        }
    }
}

fn is_program(program: &str) -> bool {
    if program.contains('/') {
        return is_executable(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_executable(&folder.join(program)))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        assert!(is_program("sh") && is_program("/bin/sh"));
        assert!(!is_program("no-such-program") && !is_program("/etc/passwd") && !is_program("/bin"));
    }

    #[test]
    fn who_is_not_root_is_told_what_to_install() {
        let text = refusal(&["redis-server", "chromium"], false, true).expect("a refusal");
        assert!(text.contains("apt-get install -y --no-install-recommends redis-server chromium"), "{text}");
        assert!(refusal(&["redis-server"], true, false).expect("a refusal").contains("no apt-get"));
        assert_eq!(refusal(&["redis-server"], true, true), None);
    }

    #[test]
    fn services_are_kept_from_starting_only_while_packages_are_installed() {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = folder.path().join("policy-rc.d");
        let guard = NoServices::begin(&policy).expect("a policy");
        // Read by a shell, not started: see the next test.
        let answer = Command::new("sh").arg(&policy).args(["postgresql", "start"]).status();
        let answer = answer.expect("the policy's answer");
        assert_eq!(answer.code(), Some(101));
        drop(guard);
        assert!(!policy.exists());
    }

    #[test]
    fn the_machines_own_policy_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = folder.path().join("policy-rc.d");
        // Written by another process: a test beside this one that starts a program would take a file that this process has
        // open for writing along for a moment, and a program that somebody may still write to is not started.
        let write = |code: u8| {
            let script = format!("printf '#!/bin/sh\\nexit {code}\\n' >\"$1\" && chmod 755 \"$1\"");
            let written = Command::new("sh").args(["-c", &script, "sh"]).arg(&policy).status();
            assert!(written.expect("a shell").success());
        };
        write(101);
        drop(NoServices::begin(&policy).expect("it already refuses"));
        assert!(policy.exists());
        write(0);
        let error = NoServices::begin(&policy).expect_err("it would start services").to_string();
        assert!(error.contains("install the packages yourself"), "{error}");
        assert!(policy.exists());
    }
}
