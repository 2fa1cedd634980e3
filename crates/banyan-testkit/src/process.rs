//! One server process: started through `setpriv`, watched while it comes up, ended with everything it started.
//!
//! Three things are easy to get wrong, and are settled here:
//! - **The test process is killed.** The child asks the kernel to be killed with its parent. The kernel means the
//!   parent's *thread*, and test threads end early, so all children are started by one thread that never ends.
//! - **The server starts helpers of its own**, some in other process groups. The tree is read from `/proc` before the
//!   stop signal, and whatever of it is left afterwards is killed; start times protect from reused numbers.
//! - **A signal meant for the test** (Ctrl-C) must not reach the server first: each child leads its own process group.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::tree::{self, Identity};
use crate::{Error, User};

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(10);
/// How much of a log an error shows, in bytes.
const TAIL_BYTES: usize = 2_000;

/// How to start one process.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What errors call it.
    pub name: String,
    /// The program, as a path or a name on `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment, besides `PATH` and `LANG`: settings of the caller are not inherited.
    pub env: Vec<(String, String)>,
    /// The folder it runs in; `None` is the caller's.
    pub folder: Option<PathBuf>,
    /// Who it runs as; `None` is the caller.
    pub user: Option<User>,
    /// Standard output and error go here, added to the end.
    pub log: PathBuf,
    /// The polite stop signal.
    pub stop: Signal,
    /// How long the polite stop may take before everything is killed.
    pub grace: Duration,
}

impl Launch {
    /// A launch that stops by SIGTERM within 10 s.
    pub fn new(name: &str, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: None,
            user: None,
            log: log.into(),
            stop: Signal::TERM,
            grace: Duration::from_secs(10),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Runs in `folder`.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Runs as `user`.
    #[must_use]
    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// Stops by another signal.
    #[must_use]
    pub fn stop_by(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Starts the process.
    pub fn start(self) -> Result<Process, Error> {
        let child = spawn(self.command()?, &self.name)?;
        Ok(Process { launch: self, child })
    }

    /// Runs the process to its end, at most `limit`; its output is in the log.
    pub fn run(self, limit: Duration) -> Result<(), Error> {
        let command = format!("{} {}", self.program.display(), self.args.join(" "));
        let mut process = self.start()?;
        let mut status = None;
        process.wait_for("end of its work", limit, |process| {
            status = process.exited()?;
            Ok(status.is_some())
        })?;
        match status {
            Some(status) if status.success() => Ok(()),
            status => Err(Error::Failed {
                command,
                status: status.map_or_else(String::new, |status| status.to_string()),
                output: process.log_tail(),
            }),
        }
    }

    fn command(&self) -> Result<Command, Error> {
        let log = || {
            let file = File::options().create(true).append(true).open(&self.log);
            file.map_err(|e| Error::io(format!("opening the log {} of {}", self.log.display(), self.name), e))
        };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = &self.user {
            command.args([
                "--reuid",
                &user.uid.to_string(),
                "--regid",
                &user.gid.to_string(),
                "--init-groups",
            ]);
        }
        command.arg("--").arg(&self.program).args(&self.args);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.env_clear().env("LANG", "C.UTF-8");
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin:/usr/sbin:/sbin".into()));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log()?).stderr(log()?).process_group(0);
        Ok(command)
    }
}

/// A running process; ended on drop, with everything it started.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    child: Child,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    /// The end of its log, for an error's text.
    pub fn log_tail(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(&self.launch.log).unwrap_or_default()).into_owned();
        let mut start = text.len().saturating_sub(TAIL_BYTES);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text[start..].to_owned()
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(|e| Error::io(format!("waiting for {}", self.launch.name), e))
    }

    /// Waits until `ready` says so. Fails when the process ends first, or after `limit`; both show the log's end.
    pub fn wait_ready(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut(&mut Self) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.wait_for("readiness", limit, |process| {
            if let Some(status) = process.exited()? {
                return Err(Error::Died {
                    name: process.launch.name.clone(),
                    status: status.to_string(),
                    log: process.launch.log.clone(),
                    tail: process.log_tail(),
                });
            }
            ready(process)
        })
    }

    /// Stops it politely, and by force when it takes longer than its grace. Nothing of it is left afterwards.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.end(self.launch.stop)
    }

    /// Kills it and everything it started, at once: a crash.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.end(Signal::KILL)
    }

    /// Starts it again the same way, after [`Process::stop`] or [`Process::kill`].
    pub fn start_again(&mut self) -> Result<(), Error> {
        self.end(self.launch.stop)?;
        self.child = spawn(self.launch.command()?, &self.launch.name)?;
        Ok(())
    }

    fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&mut Self) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let start = Instant::now();
        while !done(self)? {
            if start.elapsed() >= limit {
                return Err(Error::TooSlow {
                    name: self.launch.name.clone(),
                    waiting_for: what.to_owned(),
                    waited: start.elapsed(),
                    log: self.launch.log.clone(),
                    tail: self.log_tail(),
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> Result<(), Error> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        let mut members = tree::members(self.pid());
        if signal == Signal::KILL {
            kill_all(self.pid(), &members);
        } else {
            // The process was not waited for, so its number is still its own; it may just have ended.
            let _ = kill_process(pid(self.pid()), signal);
            let deadline = Instant::now() + self.launch.grace;
            while self.exited()?.is_none() && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
            if self.exited()?.is_none() {
                members = tree::members(self.pid());
                kill_all(self.pid(), &members);
            }
        }
        self.child.wait().map_err(|e| Error::io(format!("waiting for {} to end", self.launch.name), e))?;
        kill_rest(&members);
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to tell; what cannot be ended here ends with this process.
        let _ = self.end(self.launch.stop);
    }
}

/// Looks at `done` until it is true; `false` when it did not become true within `limit`.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

fn pid(number: u32) -> Pid {
    let raw = i32::try_from(number).expect("Linux process numbers fit 22 bits");
    Pid::from_raw(raw).expect("a child's process number is not zero")
}

/// The leader is a child that was not waited for, so its group's number cannot have been given to others.
fn kill_all(leader: u32, members: &[Identity]) {
    let _ = kill_process_group(pid(leader), Signal::KILL);
    kill_rest(members);
}

/// Kills those that are still the processes they were, and waits until they are gone.
fn kill_rest(members: &[Identity]) {
    for member in members.iter().filter(|member| tree::is_alive(**member)) {
        let _ = kill_process(pid(member.pid), Signal::KILL);
    }
    wait_until(Duration::from_secs(5), || !members.iter().any(|member| tree::is_alive(*member)));
}

type Spawned = std::io::Result<Child>;
type Request = (Command, mpsc::Sender<Spawned>);

/// Starts a child from the thread that lives as long as this process (see the top of this file).
fn spawn(command: Command, name: &str) -> Result<Child, Error> {
    static STARTER: OnceLock<Mutex<mpsc::Sender<Request>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                // The asker waits for the answer; it cannot have gone.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, spawned) = mpsc::channel();
    let sender = starter.lock().expect("no code panics while it holds the starter").clone();
    sender.send((command, answer)).expect("the starter thread never ends");
    let spawned = spawned.recv().expect("the starter answers every request");
    spawned.map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Missing {
            program: "setpriv".to_owned(),
            hint: "install Debian's package util-linux".to_owned(),
        },
        _ => Error::io(format!("starting {name}"), source),
    })
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
