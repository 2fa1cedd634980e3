//! Somebody who looks at pages of the console in a real Chromium, on a phone and at a desk, light and dark. The pictures are in
//! the target folder, under `tmp/screens/console`. For tests on several threads: the browser is waited for in place.

use crate::common::{Browser, Store};
use axum::Router;
use banyan_testkit::{Chromium, Look, Window};
use std::path::PathBuf;
use tokio::task::block_in_place;

/// A window, signed in.
pub(crate) struct Eyes {
    window: Window,
    address: String,
    faults: Vec<String>,
}

impl Eyes {
    /// Opens a window on `console`, signed in as an operator.
    pub(crate) async fn open(store: &Store, console: Router) -> Self {
        let session = Browser::signed_in(console.clone(), &store.operator).await.session();
        let address = store.serve(console, session).await;
        block_in_place(|| {
            let look = Look { width: 1_440, height: 900, dark: false };
            let window = Chromium::new()
                .and_then(|chromium| chromium.open(look))
                .expect("Chromium is installed where the tests run");
            let mut eyes = Self { window, address, faults: Vec::new() };
            eyes.go("/enter?to=/console");
            eyes
        })
    }

    fn go(&mut self, path: &str) {
        self.window.go(&format!("{}{path}", self.address)).expect("the page opens");
    }

    /// Looks at `path`: the page has its own part, and nothing of it reaches beyond its sides.
    pub(crate) fn look(&mut self, name: &str, path: &str) {
        block_in_place(|| {
            self.go(path);
            for (width, height) in [(1_440, 900), (390, 844)] {
                for dark in [false, true] {
                    self.window.look(Look { width, height, dark }).expect("it is shown so");
                    let seen = self.window.evaluate(
                        "({wide: document.documentElement.scrollWidth, own: document.querySelector('main')?.innerText.length ?? 0})",
                    );
                    let seen = seen.expect("it is measured");
                    let shade = if dark { "dark" } else { "light" };
                    let file = folder().join(format!("screens/console/{name}-{width}-{shade}.png"));
                    self.window.picture(&file).expect("a picture");
                    if seen["wide"].as_u64() > Some(width.into()) {
                        self.faults.push(format!("{path} is {} wide in {width} pixels", seen["wide"]));
                    }
                    if seen["own"].as_u64() < Some(10) {
                        self.faults.push(format!("{path} has nothing of its own"));
                    }
                }
            }
        });
    }

    /// Nothing was wrong with what was seen.
    pub(crate) fn are_content(mut self) {
        let complaints = self.window.complaints();
        assert!(self.faults.is_empty() && complaints.is_empty(), "{:#?} {complaints:#?}", self.faults);
    }

    /// Reads pages in another language from now on.
    pub(crate) fn speak(&mut self, lang: &str) {
        block_in_place(|| self.go(&format!("/console/language/{lang}?back=/console")));
    }
}

/// Where pictures go; the example that shares this folder has no target folder of its own.
fn folder() -> PathBuf {
    option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from)
}
