//! A window of Chromium, used as a person does: looked at, clicked, typed into, or only its keys pressed.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Error;
use crate::devtools::DevTools;

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(20);
/// Below this width a window is a phone's.
const PHONE_WIDTH_MAX: u32 = 600;
/// Where an element is, once it can be seen; or why it cannot be clicked.
const PLACE: &str = r#"((found) => {
  if (!found) return "there is none";
  found.scrollIntoView({block: "center", behavior: "instant"});
  const box = found.getBoundingClientRect();
  if (!box.width || !box.height) return "it is not shown";
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const top = document.elementFromPoint(x, y);
  if (top !== found && !found.contains(top) && !top?.contains(found)) return `${top?.outerHTML.slice(0, 120)} lies over it`;
  return [x, y];
})"#;

/// How a window shows pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Pixels; below 600 it is a phone's.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// What pages hear when they ask for the preferred colour scheme.
    pub dark: bool,
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// On to the next that can have the focus.
    Tab,
    /// Back to the one before.
    ShiftTab,
    /// Follows a link, presses a button, sends a form.
    Enter,
    /// Presses a button, ticks a box.
    Space,
    /// On in a group or a list.
    Down,
}

/// A window on one page, in a browser of its own with an empty profile. Ended on drop.
#[derive(Debug)]
pub struct Window {
    browser: DevTools,
    session: String,
    limit: Duration,
    complaints: Vec<String>,
}

impl Window {
    pub(crate) fn open(limit: Duration, look: Look) -> Result<Self, Error> {
        let mut browser = DevTools::start(limit)?;
        let target = browser.call(None, "Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call(None, "Target.attachToTarget", &attach)?["sessionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let mut window = Self { browser, session, limit, complaints: Vec::new() };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            window.call(domain, &json!({}))?;
        }
        window.look(look)?;
        Ok(window)
    }

    /// Shows pages another way from now on.
    pub fn look(&mut self, look: Look) -> Result<(), Error> {
        let Look { width, height, dark } = look;
        let phone = width < PHONE_WIDTH_MAX;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = if dark { "dark" } else { "light" };
        // Without motion, so that a picture is of a page that has come to rest.
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features})).map(|_| ())
    }

    /// Opens `url` and waits until it is there.
    pub fn go(&mut self, url: &str) -> Result<(), Error> {
        let opened = self.call("Page.navigate", &json!({"url": url}))?;
        if let Some(why) = opened["errorText"].as_str() {
            return Err(failed(&format!("opening {url}"), why));
        }
        self.wait_for(&format!("{url} to be there"), "document.readyState === 'complete'").map(|_| ())
    }

    /// What `script` comes to on the page, as JSON. A promise is waited for.
    pub fn evaluate(&mut self, script: &str) -> Result<Value, Error> {
        let ask = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &ask)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let why = thrown["exception"]["description"].as_str().or(thrown["text"].as_str());
            return Err(failed(script, why.unwrap_or_default()));
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until `script` comes to something true, also on the page after this one, and returns it.
    pub fn wait_for(&mut self, what: &str, script: &str) -> Result<Value, Error> {
        let deadline = Instant::now() + self.limit;
        loop {
            let seen = self.evaluate(script);
            if let Ok(value) = &seen
                && !matches!(value, Value::Null | Value::Bool(false))
                && value != ""
            {
                return Ok(value.clone());
            }
            if Instant::now() >= deadline {
                let page =
                    self.evaluate("location.href + '\\n' + document.body.innerText").unwrap_or_default();
                let page = page.as_str().unwrap_or_default();
                return Err(failed(
                    &format!("waiting for {what}"),
                    &format!("{script} came to {seen:?} on {page}"),
                ));
            }
            // A page that is just being left has no answer; there is nothing to be told by.
            std::thread::sleep(POLL);
        }
    }

    /// Waits until the page says `text`.
    pub fn sees(&mut self, text: &str) -> Result<(), Error> {
        let script = format!(
            "document.readyState === 'complete' && document.body.innerText.includes({})",
            json!(text)
        );
        self.wait_for(&format!("the page to say {text:?}"), &script).map(|_| ())
    }

    /// Clicks the first element that `selector` finds, once it is there. It must be seen: nothing may lie over it.
    pub fn click(&mut self, selector: &str) -> Result<(), Error> {
        let place = format!("{PLACE}(document.querySelector({}))", json!(selector));
        let script = format!("((place) => typeof place === 'string' ? null : place)({place})");
        let place = match self.wait_for(&format!("{selector} to be clickable"), &script) {
            Ok(place) => place,
            Err(error) => {
                let why = self.evaluate(&place);
                return Err(failed(&format!("clicking {selector}"), &format!("{why:?}; {error}")));
            }
        };
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event)?;
        }
        Ok(())
    }

    /// Empties the field that `selector` finds and types `text` into it.
    pub fn fill(&mut self, selector: &str, text: &str) -> Result<(), Error> {
        let script = format!(
            "((f) => f && (f.focus(), f.select?.(), document.activeElement === f))(document.querySelector({}))",
            json!(selector)
        );
        self.wait_for(&format!("{selector} to take what is typed"), &script)?;
        self.write(text)
    }

    /// Types `text` into whatever has the focus.
    pub fn write(&mut self, text: &str) -> Result<(), Error> {
        self.call("Input.insertText", &json!({"text": text})).map(|_| ())
    }

    /// Presses a key and lets it go.
    pub fn press(&mut self, key: Key) -> Result<(), Error> {
        let (name, code, number, text, modifiers) = match key {
            Key::Tab => ("Tab", "Tab", 9, "", 0),
            Key::ShiftTab => ("Tab", "Tab", 9, "", 8),
            Key::Enter => ("Enter", "Enter", 13, "\r", 0),
            Key::Space => (" ", "Space", 32, " ", 0),
            Key::Down => ("ArrowDown", "ArrowDown", 40, "", 0),
        };
        for kind in [if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "keyUp"] {
            let mut event = json!({"type": kind, "key": name, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers});
            if kind == "keyDown" {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &event)?;
        }
        Ok(())
    }

    /// The whole page as a PNG, however far it reaches below the window, written to `file`.
    pub fn picture(&mut self, file: &Path) -> Result<(), Error> {
        let size = self.call("Page.getLayoutMetrics", &json!({}))?["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let ask = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.call("Page.captureScreenshot", &ask)?;
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap_or_default());
        let bytes = bytes.map_err(|e| failed("taking a picture", &e.to_string()))?;
        let doing = || format!("writing the picture {}", file.display());
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(doing(), e))?;
        }
        std::fs::write(file, bytes).map_err(|e| Error::io(doing(), e))
    }

    /// What the browser has complained about since it was opened: scripts that failed, and what a page's policy forbids.
    pub fn complaints(&mut self) -> &[String] {
        for event in self.browser.events() {
            let about = &event["params"];
            let said = match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => about["exceptionDetails"].to_string(),
                // An answer that is no success is the page's affair.
                Some("Log.entryAdded")
                    if about["entry"]["level"] == "error" && about["entry"]["source"] != "network" =>
                {
                    about["entry"].to_string()
                }
                _ => continue,
            };
            self.complaints.push(said);
        }
        &self.complaints
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value, Error> {
        self.browser.call(Some(&self.session), method, params)
    }
}

fn failed(doing: &str, why: &str) -> Error {
    Error::Failed {
        command: format!("chromium: {doing}"),
        status: "failed".to_owned(),
        output: why.to_owned(),
    }
}
