//! What a server cannot do with what it is started with is told before anything of it is there.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use support::text;

fn refused(option: &str, content: &str) -> String {
    refused_with(option, content, &[])
}

/// A `banyan up` with `option` and a file of this content, and `more`, says why not, starts nothing and leaves nothing. What it says.
fn refused_with(option: &str, content: &str, more: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, data) = (folder.path().join("file.toml"), folder.path().join("data"));
    std::fs::write(&file, content).expect("written");
    let mut child = Command::new(Path::new(env!("CARGO_BIN_EXE_banyan")))
        .args(["up", "--listen", "127.0.0.1:0", "--data", text(&data), option, text(&file)])
        .args(more)
        .env_remove("BANYAN_LOG")
        .env("LEGACY_URL", "postgres://nobody@127.0.0.1:1/nothing")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
    if !line.is_empty() {
        // It would go on for ever.
        child.kill().expect("it can be killed");
    }
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(line, "", "nothing is up: {said}");
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(!data.exists(), "no store was made: {said}");
    said
}

const ROUTES: &str =
    "listen = \"127.0.0.1:0\"\n[[route]]\npath = \"/\"\nmode = \"banyan\"\nbanyan = \"in-process\"\n";
const MAPPING: &str = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"LEGACY_URL\"\nslot = \"banyan_stock\"\n\
    [[table]]\nname = \"t\"\nkey = [\"id\"]\nsku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\n";

#[test]
fn a_gateway_that_this_build_has_not_or_whose_file_is_wrong_is_refused_before_anything_is_started() {
    if cfg!(feature = "gateway") {
        let said = refused("--gateway", &ROUTES.replace("path = \"/\"", "path = \"shop\""));
        assert!(said.contains("line 2: route \"shop\": path"), "{said}");
    } else {
        let said = refused("--gateway", ROUTES);
        assert!(said.contains("cargo build --profile dist --features gateway"), "{said}");
    }
}

#[test]
fn an_old_shop_that_this_build_cannot_speak_to_or_whose_file_is_wrong_is_refused_before_anything_is_started()
{
    let said = refused("--legacy", &MAPPING.replace("capability", "capabilities"));
    assert!(said.contains("file.toml:1:"), "{said}");
    if !cfg!(feature = "legacy") {
        let said = refused("--legacy", MAPPING);
        assert!(said.contains("cargo build --profile dist --features legacy"), "{said}");
    }
}

/// A name that nobody can move would be watched by nobody.
#[cfg(feature = "legacy")]
#[test]
fn a_route_that_touches_what_cannot_be_moved_is_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mapping = folder.path().join("mapping.toml");
    std::fs::write(&mapping, MAPPING).expect("written");
    let routes = format!("{ROUTES}touches = [\"stocks\"]\n");
    let said = refused_with("--gateway", &routes, &["--legacy", text(&mapping)]);
    assert!(said.contains("there is no capability \"stocks\""), "{said}");
}
