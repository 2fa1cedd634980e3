//! Debian's Chromium without a screen: a picture or the document of a page as it stands after its scripts ran, or a window.

use std::fs;
use std::time::Duration;

use crate::folder::Folder;
use crate::{Error, Launch, Look, Package, Window};

/// Nothing leaves the machine, nothing is asked, and nothing is kept: each page gets an empty profile.
pub(crate) const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--mute-audio",
];

/// A browser that is started for each page and gone afterwards. Takes about a second a page. [`Chromium::open`] starts one
/// that stays.
#[derive(Clone, Debug)]
pub struct Chromium {
    /// How long a page may take altogether before the browser is ended.
    pub limit: Duration,
    /// How much of the page's own time passes before it is looked at; timers and requests count, waiting does not.
    pub page_time: Duration,
}

impl Chromium {
    /// Finds the browser.
    pub fn new() -> Result<Self, Error> {
        if !Package::Chromium.is_installed() {
            return Err(Package::Chromium.missing());
        }
        Ok(Self { limit: Duration::from_secs(60), page_time: Duration::from_secs(2) })
    }

    /// The page as a PNG of `width` by `height` pixels. `dark` is what the page hears when it asks for the preferred
    /// colour scheme.
    pub fn screenshot(&self, url: &str, width: u32, height: u32, dark: bool) -> Result<Vec<u8>, Error> {
        let folder = Folder::new("chromium", None)?;
        let image = folder.join("page.png");
        let args = [format!("--screenshot={}", image.display()), format!("--window-size={width},{height}")];
        self.visit(&folder, url, dark, &args)?;
        fs::read(&image).map_err(|e| Error::io(format!("reading Chromium's screenshot of {url}"), e))
    }

    /// The page's document as HTML, after its scripts ran.
    pub fn dump_dom(&self, url: &str) -> Result<String, Error> {
        let folder = Folder::new("chromium", None)?;
        self.visit(&folder, url, false, &["--dump-dom".to_owned()])?;
        let log = fs::read(folder.join("chromium.log"));
        let log = log.map_err(|e| Error::io(format!("reading Chromium's document of {url}"), e))?;
        // The browser's own complaints come on the same stream, before and after the document.
        let text = String::from_utf8_lossy(&log).into_owned();
        let start = text.find("<!DOCTYPE").or_else(|| text.find("<html"));
        let end = text.rfind("</html>").map(|end| end + "</html>".len());
        match (start, end) {
            (Some(start), Some(end)) if start < end => Ok(text[start..end].to_owned()),
            _ => Err(Error::Failed {
                command: format!("chromium --dump-dom {url}"),
                status: "no document".to_owned(),
                output: text,
            }),
        }
    }

    /// Opens a window that stays, and is used as a person does. What it waits for may take `limit` each time.
    pub fn open(&self, look: Look) -> Result<Window, Error> {
        Window::open(self.limit, look)
    }

    fn visit(&self, folder: &Folder, url: &str, dark: bool, args: &[String]) -> Result<(), Error> {
        // Blink's names for the page's preferred colour scheme: 0 is dark, 1 is light.
        let scheme = format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 });
        Launch::new("chromium", "chromium", folder.join("chromium.log"))
            .args(FLAGS)
            .args([format!("--user-data-dir={}", folder.join("profile").display()), scheme])
            .args([format!("--virtual-time-budget={}", self.page_time.as_millis())])
            .args(args.iter().cloned())
            .args([url])
            .env("HOME", folder.path().display())
            .run(self.limit)
    }
}
