//! Telling a Chromium what to do: its DevTools protocol over two named pipes, JSON between zero bytes. No port, no socket
//! library; whoever has the pipes has the browser, and they are in its own folder.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::chromium::FLAGS;
use crate::folder::Folder;
use crate::{Error, Launch, Process};

/// Opens the browser's ends of the pipes as its files 3 and 4 and becomes the browser. A child of ours can be given no other
/// files than the first three.
const SCRIPT: &str = "exec \"$@\" 3<\"$TOLD\" 4>\"$SAID\"";
/// How often it is looked whether the browser still lives while its answer is waited for.
const LOOK: Duration = Duration::from_millis(200);
/// Events that are kept until somebody asks for them; the oldest go first.
const EVENTS_MAX: usize = 1_000;

/// A running browser that does what it is told. Ended on drop.
#[derive(Debug)]
pub(crate) struct DevTools {
    process: Process,
    told: File,
    said: Receiver<Value>,
    events: VecDeque<Value>,
    next: u64,
    limit: Duration,
    /// Last: it goes when the browser is gone.
    _folder: Folder,
}

impl DevTools {
    /// Starts a browser with an empty profile. Each answer may take `limit`.
    pub(crate) fn start(limit: Duration) -> Result<Self, Error> {
        let folder = Folder::new("chromium", None)?;
        let (told_path, said_path) = (pipe(&folder.join("told"))?, pipe(&folder.join("said"))?);
        // For reading and writing: opening a pipe for one of them waits for the other end.
        let told = open(&told_path)?;
        let both = open(&said_path)?;
        let out =
            File::open(&said_path).map_err(|e| Error::io(format!("opening {}", said_path.display()), e))?;
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut messages = BufReader::new(out).split(0).map_while(Result::ok);
            // Ends with the browser, or when nobody listens any more.
            while let Some(message) = messages.next().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let process = Launch::new("chromium", "sh", folder.join("chromium.log"))
            .args(["-c", SCRIPT, "sh", "chromium"])
            .args(FLAGS)
            .args([
                "--remote-debugging-pipe".to_owned(),
                format!("--user-data-dir={}", folder.join("profile").display()),
            ])
            .env("HOME", folder.path().display())
            .env("TOLD", told_path.display())
            .env("SAID", said_path.display())
            .start()?;
        let mut browser =
            Self { process, told, said, events: VecDeque::new(), next: 0, limit, _folder: folder };
        browser.call(None, "Browser.getVersion", &json!({}))?;
        // From here on the browser has the only writing end, and the reader ends with it.
        drop(both);
        Ok(browser)
    }

    /// Tells it to do `method` and returns what came of it. `session` is the page that is meant.
    pub(crate) fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: &Value,
    ) -> Result<Value, Error> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let doing = || format!("telling Chromium {method}");
        self.told.write_all(&bytes).map_err(|e| Error::io(doing(), e))?;
        let deadline = Instant::now() + self.limit;
        loop {
            let Some(answer) = self.hear(method, deadline)? else { continue };
            if answer["id"] != id {
                self.keep(answer);
                continue;
            }
            return match answer.get("error") {
                None => Ok(answer["result"].clone()),
                Some(error) => Err(Error::Failed {
                    command: format!("chromium: {method} {params}"),
                    status: "refused".to_owned(),
                    output: error["message"].as_str().unwrap_or_default().to_owned(),
                }),
            };
        }
    }

    /// What it said by itself since it was last asked, oldest first.
    pub(crate) fn events(&mut self) -> Vec<Value> {
        while let Ok(event) = self.said.try_recv() {
            self.keep(event);
        }
        self.events.drain(..).collect()
    }

    fn keep(&mut self, event: Value) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn hear(&mut self, method: &str, deadline: Instant) -> Result<Option<Value>, Error> {
        match self.said.recv_timeout(LOOK) {
            Ok(message) => return Ok(Some(message)),
            Err(RecvTimeoutError::Timeout)
                if Instant::now() < deadline && self.process.exited()?.is_none() =>
            {
                return Ok(None);
            }
            Err(_) => {}
        }
        let log = self.process.log().to_owned();
        let (name, tail) = ("chromium".to_owned(), self.process.log_tail());
        Err(match self.process.exited()? {
            Some(status) => Error::Died { name, status: status.to_string(), log, tail },
            None => Error::TooSlow {
                name,
                waiting_for: format!("the answer to {method}"),
                waited: self.limit,
                log,
                tail,
            },
        })
    }
}

/// Makes a named pipe.
fn pipe(path: &Path) -> Result<std::path::PathBuf, Error> {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .map_err(|e| Error::io(format!("making the pipe {}", path.display()), e.into()))?;
    Ok(path.to_owned())
}

fn open(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|e| Error::io(format!("opening the pipe {}", path.display()), e))
}
