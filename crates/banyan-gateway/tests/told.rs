//! What one side of a route is told and the other is not: keys, and fields that are left out or set.

mod common;

use banyan_gateway::{Change, Config, Gateway};
use common::{RawServer, Reply, field, message_end, raw, start_in, status, until};
use std::path::Path;

const SECRET: &str = "bk_do-not-tell";

fn routes(mode: &str, legacy: &RawServer, banyan: &RawServer) -> String {
    format!(
        "[keys]\nstock = \"stock.key\"\n[[route]]\nname = \"stock\"\npath = \"/\"\nmode = \"{mode}\"\nupstream = \"http://{}\"\nbanyan = \"http://{}\"\n\
         [route.to_banyan]\nkey = \"stock\"\nset = {{ x-from = \"gateway\" }}\n\
         [route.to_legacy]\nstrip = [\"Authorization\", \"X-Internal\"]\n[route.shadow]\ndry_run = true\n",
        legacy.address, banyan.address
    )
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("stock.key"), format!("{SECRET}\n")).expect("written");
    folder
}

/// A server whose connections have one request each, so that the last one is the last.
async fn closing() -> RawServer {
    RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => {
            Reply::Close(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx".to_vec())
        }
    })
    .await
}

fn ask(method: &str) -> String {
    let fields = "Authorization: Bearer of-the-caller\r\nX-Internal: yes\r\nX-From: a stranger\r\nContent-Length: 0\r\n";
    format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_is_asked_with_its_own_key_and_never_with_the_callers() {
    let (legacy, banyan) = (closing().await, closing().await);
    let gateway = start_in(folder(), &routes("banyan", &legacy, &banyan), None);
    assert_eq!(status(&raw(gateway.address, ask("GET")).await), 200);
    let seen = banyan.all();
    assert_eq!(field(&seen, "authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert_eq!((field(&seen, "x-from"), field(&seen, "x-internal")), (Some("gateway"), Some("yes")));
    assert!(!seen.contains("of-the-caller"), "{seen}");
    // What would change something is for the caller to answer for.
    assert_eq!(status(&raw(gateway.address, ask("DELETE")).await), 200);
    assert_eq!(field(banyan.seen().last().expect("one"), "authorization"), Some("Bearer of-the-caller"));
    assert_eq!(legacy.all(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_and_the_copy_are_told_what_is_for_their_side_and_nobody_else_learns_a_key() {
    let (legacy, banyan) = (closing().await, closing().await);
    let gateway = start_in(folder(), &routes("shadow", &legacy, &banyan), None);
    assert_eq!(status(&raw(gateway.address, ask("GET")).await), 200);
    until("the copy is judged", || {
        gateway.gateway.shadow()[0].equal + gateway.gateway.shadow()[0].mismatched == 1
    })
    .await;
    let (user, copy) = (legacy.all(), banyan.all());
    assert_eq!((field(&user, "authorization"), field(&user, "x-internal")), (None, None), "{user}");
    assert_eq!(field(&user, "x-from"), Some("a stranger"));
    assert_eq!(field(&copy, "authorization"), Some(format!("Bearer {SECRET}").as_str()), "{copy}");
    assert!(!copy.contains("of-the-caller") && !user.contains(SECRET), "{copy}");
    let mut spec = gateway.gateway.table().routes()[0].spec().clone();
    spec.touches = vec!["stock".to_owned()];
    gateway.gateway.change(1, Change::SetRoute(Box::new(spec)), "mina", "a test").expect("changed");
    let shown = format!("{:?}{:?}", gateway.gateway.history(10), gateway.gateway.config());
    assert!(!shown.contains(SECRET), "{shown}");
    let folder = gateway.end();
    let mut files = vec![folder.path().join("state")];
    while let Some(path) = files.pop() {
        match path.is_dir() {
            true => files
                .extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("one").path())),
            false => {
                let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
                assert!(!text.contains(SECRET), "{}", path.display());
            }
        }
    }
}

#[test]
fn what_makes_no_sense_or_would_show_a_secret_is_refused() {
    let refused = |told: &str, files: bool| {
        let folder = tempfile::tempdir().expect("a folder");
        if files {
            std::fs::write(folder.path().join("k"), "two words").expect("written");
        }
        let keys = if files { "[keys]\nk = \"k\"\n" } else { "" };
        let text = format!(
            "listen = \"127.0.0.1:0\"\n{keys}[[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\nto_legacy = {told}\n"
        );
        let config = Config::parse(&text, Path::new(folder.path())).map_err(|error| error.0)?;
        Gateway::new(config, None).map(|_| ()).map_err(|error| error.0)
    };
    for (told, files, why) in [
        ("{ key = \"nobody\" }", false, "there is no key \"nobody\": add nobody ="),
        ("{ key = \"in-process\" }", false, "is there beside a server only"),
        ("{ key = \"k\" }", true, "it must hold one key and nothing else"),
        ("{ set = { authorization = \"x\" } }", false, "use `key`"),
        ("{ set = { Cookie = \"x\" } }", false, "use `key`"),
        ("{ strip = [\"host\"] }", false, "cannot be left out"),
        ("{ set = { content-length = \"1\" } }", false, "cannot be left out or set"),
        ("{ set = { \"a b\" = \"1\" } }", false, "no name of a header"),
        ("{ key_methods = [\"GET\"] }", false, "no `key`"),
    ] {
        let refused = refused(told, files).expect_err(told);
        assert!(refused.contains(why), "{told}: {refused}");
    }
}
