//! What is compared: the upstream alone, our gateway in three modes, nginx and HAProxy, each in its own process.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_gateway::{Config, Gateway};
use banyan_testkit::{Launch, Process, ReverseProxy, ReverseProxyOptions, tree};
use clap::{Args, ValueEnum};
use rustix::thread::{CpuSet, Pid, sched_setaffinity};
use tokio::sync::watch;

use crate::{Failure, failed};

/// How long a process may take to listen.
const READY: Duration = Duration::from_secs(30);

/// One way to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum System {
    /// The upstream itself, without a proxy.
    Direct,
    /// Our gateway, which only passes on.
    Banyan,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Our gateway with every request copied to a second server and the answers compared.
    Shadow,
    /// Our gateway with half of the visitors sent to a second server.
    Canary,
}

impl System {
    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Banyan => "banyan",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Shadow => "banyan, shadow",
            Self::Canary => "banyan, canary",
        }
    }

    /// What it does with a request, in one line.
    pub(crate) const fn promise(self) -> &'static str {
        match self {
            Self::Direct => "the upstream alone: what nobody in front of it can beat",
            Self::Banyan => {
                "mode legacy, 1 worker, access log off; judges the whole head, removes what is of one connection, adds \
                 X-Forwarded-*, Forwarded, Via, X-Request-Id and traceparent, counts by route and side"
            }
            Self::Nginx => {
                "1 worker, access log off, 256 upstream connections kept, buffers for a whole answer; passes Host on"
            }
            Self::Haproxy => "1 thread, no log, upstream connections kept and shared; passes everything on",
            Self::Shadow => {
                "as banyan, in mode shadow: every request is copied to a second server, answers are compared as JSON trees, 1 % \
                 ask the upstream again to learn its noise; what does not fit is skipped and counted"
            }
            Self::Canary => {
                "as banyan, in mode canary: half of the visitors (by a cookie) go to the second server; no copies"
            }
        }
    }

    /// Whether it does what nginx and HAProxy do, and nothing more.
    pub(crate) const fn is_plain(self) -> bool {
        matches!(self, Self::Banyan | Self::Nginx | Self::Haproxy)
    }

    const fn mode(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            _ => "legacy",
        }
    }
}

/// Which cores processes may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cores {
    /// The kernel decides.
    Shared,
    /// The proxy has the first core, the client and the upstreams the second: what one core of a proxy can do.
    Split,
}

/// A process that serves, and where.
pub(crate) struct Server {
    process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where its operators are served, if it has such a place.
    pub(crate) admin: Option<SocketAddr>,
}

impl Server {
    /// The upstream; `name` tells it from others.
    pub(crate) fn origin(folder: &Path, name: &str) -> Result<Self, Failure> {
        let args = ["serve-origin", "--listen", "127.0.0.1:0"].map(str::to_owned);
        Self::start(folder, name, args.to_vec())
    }

    /// The gateway before `upstream`, and in some modes `second`.
    fn gateway(
        folder: &Path,
        system: System,
        upstream: SocketAddr,
        second: SocketAddr,
    ) -> Result<Self, Failure> {
        let name = format!("gateway-{}", system.mode());
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, config(system, &name, upstream, second))
            .map_err(|e| failed(format!("writing {}", file.display()), e))?;
        let args = vec!["serve-gateway".to_owned(), "--config".to_owned(), file.display().to_string()];
        Self::start(folder, &name, args)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn start(folder: &Path, name: &str, args: Vec<String>) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|e| failed("finding this program", e))?;
        let mut process =
            Launch::new(name, program, folder.join(format!("{name}.log"))).args(args).start()?;
        let (mut address, mut admin) = (None, None);
        process.wait_ready(READY, |process| {
            let log = process.log_tail();
            let after = |words: &str| log.lines().find_map(|line| line.strip_prefix(words)?.parse().ok());
            // The address that it is waited for comes last.
            (admin, address) = (after("operators on "), after("listening on "));
            Ok(address.is_some())
        })?;
        Ok(Self { process, address: address.ok_or("a ready server has an address")?, admin })
    }
}

/// A system that runs.
pub(crate) struct Running {
    /// Which.
    pub(crate) system: System,
    /// Where it is asked.
    pub(crate) address: SocketAddr,
    proxy: Proxy,
}

enum Proxy {
    None,
    Gateway(Server),
    Other(ReverseProxy),
}

impl Running {
    /// Starts `system` before `upstream`.
    pub(crate) fn start(
        system: System,
        folder: &Path,
        upstream: SocketAddr,
        second: SocketAddr,
    ) -> Result<Self, Failure> {
        let options =
            ReverseProxyOptions { parent: Some(folder.to_owned()), ..ReverseProxyOptions::new(upstream) };
        let proxy = match system {
            System::Direct => Proxy::None,
            System::Nginx => Proxy::Other(ReverseProxy::nginx(&options)?),
            System::Haproxy => Proxy::Other(ReverseProxy::haproxy(&options)?),
            System::Banyan | System::Shadow | System::Canary => {
                Proxy::Gateway(Server::gateway(folder, system, upstream, second)?)
            }
        };
        let address = match &proxy {
            Proxy::None => upstream,
            Proxy::Gateway(server) => server.address,
            Proxy::Other(proxy) => SocketAddr::from(([127, 0, 0, 1], proxy.port())),
        };
        Ok(Self { system, address, proxy })
    }

    /// The proxy's first process, if there is a proxy.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.proxy {
            Proxy::None => None,
            Proxy::Gateway(server) => Some(server.pid()),
            Proxy::Other(proxy) => Some(proxy.pid()),
        }
    }

    /// Where the gateway's counters are, if it is one that makes copies.
    pub(crate) fn counters(&self) -> Option<SocketAddr> {
        match &self.proxy {
            Proxy::Gateway(server) if self.system == System::Shadow => server.admin,
            _ => None,
        }
    }
}

/// Lets a process and all it started use one core only.
pub(crate) fn pin(pid: u32, core: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(core);
    for process in tree::members(pid) {
        let doing = || format!("choosing a core for process {}", process.pid);
        let threads =
            std::fs::read_dir(format!("/proc/{}/task", process.pid)).map_err(|e| failed(doing(), e))?;
        for thread in threads {
            let name = thread.map_err(|e| failed(doing(), e))?.file_name();
            // Nothing would mean the calling thread.
            let Some(thread) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
            else {
                continue;
            };
            sched_setaffinity(Some(thread), &set).map_err(|e| failed(doing(), e))?;
        }
    }
    Ok(())
}

/// Defaults wherever there are some: what is measured is what people get.
fn config(system: System, name: &str, upstream: SocketAddr, second: SocketAddr) -> String {
    let rules = match system {
        System::Shadow => format!("banyan = \"http://{second}\"\n[route.shadow]\npercent = 100\n"),
        System::Canary => {
            format!("banyan = \"http://{second}\"\n[route.canary]\npercent = 50\nby = \"cookie:visitor\"\n")
        }
        _ => String::new(),
    };
    format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nstate = \"{name}\"\nworkers = 1\n\
         [access_log]\nenabled = false\n\
         [[route]]\nname = \"all\"\npath = \"/\"\nmode = \"{}\"\nupstream = \"http://{upstream}\"\n{rules}",
        system.mode()
    )
}

/// Which gateway to be.
#[derive(Args)]
pub(crate) struct Options {
    /// Its configuration
    #[arg(long)]
    config: PathBuf,
}

/// Is the gateway and nothing else, until the process is ended.
pub(crate) fn serve(options: &Options) -> Result<(), Failure> {
    let config = Config::read(&options.config)?;
    let gateway = Gateway::new(config, None)?;
    let (_never, stopping) = watch::channel(false);
    let serving = gateway.serve(stopping)?;
    let mut out = std::io::stdout();
    let admin = serving.admin.map_or_else(String::new, |admin| format!("operators on {admin}\n"));
    let address = serving.listening.first().ok_or("a gateway listens somewhere")?;
    let said = writeln!(out, "{admin}listening on {address}").and_then(|()| out.flush());
    said.map_err(|e| failed("printing", e))?;
    serving.join();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_is_one() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8000));
        for system in [System::Banyan, System::Shadow, System::Canary] {
            let text = config(system, "gateway", address, address);
            let config = Config::parse(&text, Path::new(".")).expect("a configuration");
            assert_eq!(config.workers, 1);
            assert!(!config.access_log.enabled);
            assert_eq!(config.routes[0].shadow.is_some(), system == System::Shadow);
            assert_eq!(config.routes[0].canary.is_some(), system == System::Canary);
        }
    }
}
