//! Operating-system users: servers that refuse to run as root run as their package's own user.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use crate::Error;

/// A user of this machine.
#[derive(Clone, Debug)]
pub struct User {
    /// Its login name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its first group's number.
    pub gid: u32,
}

impl User {
    /// The user to run a server as: `name` when this process is root, and nobody else (`None`) when it is not.
    pub fn when_root(name: &str) -> Result<Option<Self>, Error> {
        if !is_root() {
            return Ok(None);
        }
        let text = fs::read_to_string("/etc/passwd").map_err(|e| Error::io("reading /etc/passwd", e))?;
        let user = text.lines().find_map(|line| parse(line, name));
        user.map(Some).ok_or_else(|| Error::Missing {
            program: format!("the user `{name}`"),
            hint: "it comes with the server's Debian package".to_owned(),
        })
    }

    /// Makes the user own `path`.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(|e| Error::io(format!("giving {} to {}", path.display(), self.name), e))
    }
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn parse(line: &str, wanted: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| *name == wanted)?;
    let _password = fields.next()?;
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(User { name: name.to_owned(), uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_user_file_is_found_by_name_only() {
        let user = parse("postgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash", "postgres")
            .expect("a user");
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(parse("postgres2:x:101:104::/:/bin/sh", "postgres").is_none());
        assert!(parse("postgres:x:none:104::/:/bin/sh", "postgres").is_none());
    }
}
