//! The simulated payment company as its own process, and a server that knows it.

use super::{Http, Server};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The shop's own key at the company.
const KEY: &str = "the-shops-own-key";

/// The simulated company; ended with the test. What it says is kept open: a program whose words nobody takes may end.
pub(crate) struct Company {
    pub(crate) address: SocketAddr,
    child: Child,
    _said: BufReader<ChildStdout>,
}

impl Drop for Company {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// An address that nobody listens on now.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Where a company and its shop are to run: either may be started first, and again.
pub(crate) struct Place {
    pub(crate) company: SocketAddr,
    pub(crate) server: SocketAddr,
    binary: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Place {
    /// Makes keys and the services file for `binary` in `folder`.
    pub(crate) fn make(binary: &Path, folder: &Path) -> Self {
        let (binary, folder) = (binary.to_owned(), folder.to_owned());
        let place = Self { company: free(), server: free(), binary, folder: folder.clone() };
        let data = folder.join("company");
        std::fs::create_dir(&data).expect("a folder");
        // The keys are made here, so that either side can be started first.
        for (name, key) in [("company.key", KEY), ("webhook.key", "what-signs-webhooks")] {
            std::fs::write(data.join(name), key).expect("a key");
        }
        std::fs::write(folder.join("shopper.secret"), "what signs the tokens of shoppers").expect("a secret");
        let text = format!(
            "[service.company]\nkind = \"sandbox\"\nurl = \"http://{}\"\nkey_file = \"company/company.key\"\n\
             webhook_secret_file = \"company/webhook.key\"\n",
            place.company
        );
        std::fs::write(folder.join("services.toml"), text).expect("a file");
        place
    }

    /// The store's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// The file of the secret that shoppers' tokens are made with.
    pub(crate) fn shopper_secret(&self) -> PathBuf {
        self.folder.join("shopper.secret")
    }

    /// Starts the server.
    pub(crate) fn start_server(&self) -> Server {
        let services = self.folder.join("services.toml");
        let listen = self.server.to_string();
        let secret = self.shopper_secret();
        let more = ["--services", services.to_str().expect("text"), "--listen", &listen];
        let more = [&more[..], &["--jwt-hs256-secret", secret.to_str().expect("text")]].concat();
        Server::start_at(&self.binary, &self.data(), &more)
    }

    /// Starts the company.
    pub(crate) fn start_company(&self) -> Company {
        let webhook = format!("http://{}/v1/webhooks/company", self.server);
        let mut child = Command::new(&self.binary)
            .args(["sandbox", "--listen", &self.company.to_string(), "--webhook", &webhook, "--data"])
            .arg(self.folder.join("company"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let (mut said, mut out) = (String::new(), BufReader::new(child.stdout.take().expect("piped")));
        out.read_line(&mut said).expect("it says where it is");
        assert!(said.contains("(simulated)"), "{said}");
        Company { address: self.company, child, _said: out }
    }
}

impl Company {
    /// Starts both in `folder`.
    pub(crate) fn beside_a_server(binary: &Path, folder: &Path) -> (Self, Server) {
        let place = Place::make(binary, folder);
        let server = place.start_server();
        (place.start_company(), server)
    }

    /// Every payment that the company has, as it tells the shop.
    pub(crate) fn payments(&self) -> Vec<Value> {
        let mut http = Http::with_key(self.address, KEY);
        let (mut all, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let path = format!("/api/payments?limit=100&cursor={cursor}");
            let list = http.get(&path).expect("an answer").expect(200);
            all.extend(list["payments"].as_array().cloned().expect("a list"));
            match list["next"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return all,
            }
        }
    }
}
