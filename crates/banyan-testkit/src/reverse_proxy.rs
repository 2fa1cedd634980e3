//! Private nginx and HAProxy servers (Debian's packages) as plain reverse proxies, to measure our own against.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::folder::Folder;
use crate::port::listens;
use crate::{Error, Launch, Package, Process, User, with_free_ports};

/// How a reverse proxy is made.
#[derive(Clone, Debug)]
pub struct ReverseProxyOptions {
    /// Where every request goes, over HTTP/1.1 connections that are kept and used again.
    pub upstream: SocketAddr,
    /// Worker processes of nginx, threads of HAProxy; at least 1.
    pub workers: u16,
    /// The folder to make the server's own folder in; the default is the system's temporary folder.
    pub parent: Option<PathBuf>,
}

impl ReverseProxyOptions {
    /// A proxy to `upstream` with one worker.
    pub fn new(upstream: SocketAddr) -> Self {
        Self { upstream, workers: 1, parent: None }
    }

    /// With another number of workers.
    #[must_use]
    pub fn workers(mut self, workers: u16) -> Self {
        self.workers = workers.max(1);
        self
    }
}

/// A running reverse proxy: no access log, connections kept on both sides, the caller's `Host` passed on. Ended on drop.
#[derive(Debug)]
pub struct ReverseProxy {
    process: Process, // before the folder: it must be gone first
    _folder: Folder,
    port: u16,
}

impl ReverseProxy {
    /// Starts nginx. Takes about 0.1 s.
    pub fn nginx(options: &ReverseProxyOptions) -> Result<Self, Error> {
        let launch = |folder: &Folder, config: &Path| {
            let prefix = format!("{}/", folder.path().display());
            let args =
                ["-e", "stderr", "-p", &prefix, "-c", &config.display().to_string()].map(str::to_owned);
            Launch::new("nginx", "nginx", folder.join("nginx.log")).args(args)
        };
        Self::start(Package::Nginx, options, nginx_config, launch)
    }

    /// Starts HAProxy. Takes about 0.1 s.
    pub fn haproxy(options: &ReverseProxyOptions) -> Result<Self, Error> {
        let launch = |folder: &Folder, config: &Path| {
            let args = ["-db".to_owned(), "-f".to_owned(), config.display().to_string()];
            Launch::new("haproxy", "haproxy", folder.join("haproxy.log")).args(args)
        };
        Self::start(Package::HaProxy, options, haproxy_config, launch)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the first process; nginx's workers are its children.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The server's log of errors.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Kills the server at once, as a crash does. [`ReverseProxy::restart`] brings it back.
    pub fn crash(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// Stops the server if it runs and starts it again on the same port.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.start_again()?;
        self.wait_ready()
    }

    fn start(
        package: Package,
        options: &ReverseProxyOptions,
        config: impl Fn(&ReverseProxyOptions, u16, &Path) -> String,
        launch: impl Fn(&Folder, &Path) -> Launch,
    ) -> Result<Self, Error> {
        if !package.is_installed() {
            return Err(package.missing());
        }
        // Debian's own user for web servers, on every machine.
        let user = User::when_root("www-data")?;
        with_free_ports(|[port]| {
            let folder = Folder::new(package.name(), options.parent.as_deref())?;
            if let Some(user) = &user {
                user.own(folder.path())?;
            }
            let config = folder.write("proxy.conf", &config(options, port, folder.path()))?;
            let process = launch(&folder, &config).user(user.clone()).start()?;
            let mut server = Self { process, _folder: folder, port };
            server.wait_ready()?;
            Ok(server)
        })
    }

    fn wait_ready(&mut self) -> Result<(), Error> {
        let port = self.port;
        self.process.wait_ready(Duration::from_secs(30), |process| Ok(listens(process.pid(), port)))
    }
}

/// Keep-alive without the usual limits on requests per connection: a benchmark would measure the reconnecting. And room for whole
/// answers of up to 128 KiB: with its default of 32 KiB nginx writes what a client does not take at once to a file.
fn nginx_config(options: &ReverseProxyOptions, port: u16, folder: &Path) -> String {
    let ReverseProxyOptions { upstream, workers, .. } = options;
    let folder = folder.display();
    format!(
        "daemon off;
pid {folder}/nginx.pid;
worker_processes {workers};
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  upstream behind {{
    server {upstream};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $http_host;
      proxy_buffer_size 16k;
      proxy_buffers 4 32k;
      proxy_busy_buffers_size 64k;
    }}
  }}
}}
"
    )
}

fn haproxy_config(options: &ReverseProxyOptions, port: u16, _folder: &Path) -> String {
    let ReverseProxyOptions { upstream, workers, .. } = options;
    format!(
        "global
  nbthread {workers}
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend before
  bind 127.0.0.1:{port}
  default_backend behind
backend behind
  server behind {upstream} pool-max-conn -1
"
    )
}
