//! A private RabbitMQ broker (Debian's `rabbitmq-server`), with a name server of its own.
//!
//! Erlang nodes find each other through a name server (epmd) that the first node would leave behind on port 4369 for
//! the whole machine. Here each broker gets one on a free port, ended with the broker.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::folder::Folder;
use crate::{Error, Launch, Package, Process, User, with_free_ports};

/// Debian's start script, which ends by becoming the Erlang machine.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How a broker is made.
#[derive(Clone, Debug, Default)]
pub struct RabbitMqOptions {
    /// Lines of `rabbitmq.conf`.
    pub settings: Vec<String>,
    /// More arguments of the Erlang machine, such as `+sbwt none`.
    pub erlang_args: Vec<String>,
    /// The folder to make the broker's own folder in; the default is the system's temporary folder.
    pub parent: Option<PathBuf>,
}

/// A running broker: user `guest`, password `guest`, loopback only, no plugins. Ended on drop.
#[derive(Debug)]
pub struct RabbitMq {
    process: Process, // before the name server and the folder: it must be gone first
    name_server: Process,
    _folder: Folder,
    port: u16,
    node: String,
}

impl RabbitMq {
    /// Makes and starts an empty broker. Takes about 10 s.
    pub fn start(options: &RabbitMqOptions) -> Result<Self, Error> {
        if !Package::RabbitMq.is_installed() {
            return Err(Package::RabbitMq.missing());
        }
        with_free_ports(|ports| Self::start_on(options, ports))
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f`.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// The AMQP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The Erlang machine's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The broker's standard output; its own log is beside it in `log/`.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Kills the broker at once, as a crash does. [`RabbitMq::restart`] brings it back.
    pub fn crash(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// Stops the broker if it runs and starts it again: same data, same ports.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.stop()?;
        // The name server must have forgotten the node, or the broker refuses to start as its own double.
        self.name_server.start_again()?;
        self.process.start_again()?;
        wait_ready(&mut self.process, self.port, &self.node)
    }

    /// The process id of the broker's own name server.
    pub fn name_server_pid(&self) -> u32 {
        self.name_server.pid()
    }

    fn start_on(options: &RabbitMqOptions, [port, peer_port, name_port]: [u16; 3]) -> Result<Self, Error> {
        let user = User::when_root("rabbitmq")?;
        let folder = Folder::new("rabbitmq", options.parent.as_deref())?;
        let home = folder.owned("home", user.as_ref())?;
        let data = folder.owned("data", user.as_ref())?;
        let logs = folder.owned("log", user.as_ref())?;
        let mut conf = format!("listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 200MB\n");
        options.settings.iter().for_each(|line| conf.push_str(&format!("{line}\n")));
        let conf = folder.write("rabbitmq.conf", &conf)?;
        let plugins = folder.write("enabled_plugins", "[].\n")?;
        // A file is named so that the machine's own /etc/rabbitmq/rabbitmq-env.conf is not read.
        let env_conf = folder.write("rabbitmq-env.conf", "RABBITMQ_USE_LONGNAME=false\n")?;

        let name_server = Launch::new("epmd", "epmd", folder.join("epmd.log"))
            .args(["-port", &name_port.to_string(), "-address", "127.0.0.1"])
            .env("HOME", home.display())
            .user(user.clone())
            .start()?;
        let node = format!("banyan{port}@");
        let erlang_args =
            format!("-kernel inet_dist_use_interface {{127,0,0,1}} {}", options.erlang_args.join(" "));
        // With input allowed the script becomes the Erlang machine instead of watching it from a shell, so the
        // process we hold is the broker; -noinput then keeps it from reading a shell's commands.
        let mut process = Launch::new("rabbitmq", PROGRAM, folder.join("rabbitmq.log"))
            .args(["-noinput"])
            .env("RABBITMQ_ALLOW_INPUT", 1)
            .env("HOME", home.display())
            .env("ERL_EPMD_PORT", name_port)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("{node}localhost"))
            .env("RABBITMQ_DIST_PORT", peer_port)
            .env("RABBITMQ_MNESIA_BASE", data.display())
            .env("RABBITMQ_LOG_BASE", logs.display())
            .env("RABBITMQ_PID_FILE", data.join("pid").display())
            .env("RABBITMQ_CONF_ENV_FILE", env_conf.display())
            .env("RABBITMQ_CONFIG_FILE", conf.display())
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", plugins.display())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang_args)
            .user(user)
            .start()?;
        wait_ready(&mut process, port, &node)?;
        Ok(Self { process, name_server, _folder: folder, port, node })
    }
}

/// Ready when the port greets as AMQP does and names our node: listeners open last of all. The greeting has the node's
/// name with the machine's full name after the `@`, so `node` ends there.
fn wait_ready(process: &mut Process, port: u16, node: &str) -> Result<(), Error> {
    process.wait_ready(Duration::from_secs(120), |_| {
        let greeting = greeting(port).unwrap_or_default();
        Ok(greeting.windows(node.len()).any(|window| window == node.as_bytes()))
    })
}

/// The broker's first frame, `connection.start`, whose properties hold the cluster's name.
fn greeting(port: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    let mut header = [0; 7];
    stream.read_exact(&mut header)?;
    let length = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let mut body = vec![0; usize::try_from(length.min(1 << 16)).expect("64 KiB fit")];
    stream.read_exact(&mut body)?;
    Ok(body)
}
