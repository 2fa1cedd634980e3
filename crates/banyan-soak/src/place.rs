//! Everything that a run needs, started privately: the old database, the network between, Banyan, and what is sold.

use crate::banyan::Program;
use crate::http::Http;
use crate::old::{self, Server, Session};
use crate::tally::Tally;
use crate::{Database, Soak};
use banyan_testkit::{Process, TcpProxy, free_port};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// What can be asked of a SKU, so that its numbers follow from what is in the books, in whatever order things arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Ordered, shipped, cancelled, sold by Banyan itself. Never counted: a count says all units at once.
    Plain,
    /// Ordered, shipped, counted.
    Counted,
    /// Few units, never counted or given back: what is sold beyond them was oversold.
    Scarce,
}

/// Something that is sold.
#[derive(Clone, Debug)]
pub(crate) struct Goods {
    pub(crate) sku: String,
    pub(crate) class: Class,
    /// Units at first.
    pub(crate) first: u32,
}

/// What Banyan sold by itself: reservation, SKU, units.
pub(crate) type OwnSale = (String, String, u32);

/// SKUs of each lasting class.
const LASTING: usize = 12;
/// The SKU by which it is seen whether changes get through.
pub(crate) const PROBE: &str = "PROBE";

/// Shared by everybody who takes part.
pub(crate) struct Place {
    pub(crate) soak: Soak,
    pub(crate) tally: Tally,
    pub(crate) program: Program,
    /// Between Banyan and the old database.
    pub(crate) to_old: TcpProxy,
    /// Between the old shop and Banyan.
    pub(crate) to_banyan: TcpProxy,
    pub(crate) goods: RwLock<Vec<Goods>>,
    /// Held during a move, and by whoever must not disturb one.
    pub(crate) moving: tokio::sync::Mutex<()>,
    own: Mutex<Vec<OwnSale>>,
    banyan: Mutex<Process>,
    server: Mutex<Server>,
    address: SocketAddr,
    old_address: String,
    key: Arc<str>,
}

impl Place {
    /// Starts everything; the old shop leads, and Banyan has nothing yet.
    pub(crate) fn start(soak: &Soak) -> Result<Self, String> {
        let (folder, database) = (soak.folder.as_path(), soak.database);
        std::fs::create_dir_all(folder).map_err(|error| format!("making {}: {error}", folder.display()))?;
        if folder.join("data").exists() {
            return Err(format!("{} has the data of another run: name an empty folder", folder.display()));
        }
        let tally = Tally::new();
        tally.say("starting the old database");
        let server = Server::start(database)?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let to_old = TcpProxy::start(local(server.port())).map_err(|error| error.to_string())?;
        write(&folder.join("legacy.url"), &old::address(database, "banyan", to_old.port()))?;
        write(&folder.join("stock.toml"), &old::mapping(database))?;
        let address = local(free_port().map_err(|error| error.to_string())?);
        let to_banyan = TcpProxy::start(address).map_err(|error| error.to_string())?;
        let program = Program::new(&soak.binary, folder, address);
        program.create()?;
        tally.say("starting Banyan");
        let banyan = program.start(soak.compare_every.as_secs().max(1))?;
        let key = program.key()?.into();
        let old_address = old::address(database, old::shop_user(database), server.port());
        Ok(Self {
            soak: soak.clone(),
            tally,
            program,
            to_old,
            to_banyan,
            goods: RwLock::default(),
            moving: tokio::sync::Mutex::new(()),
            own: Mutex::default(),
            banyan: Mutex::new(banyan),
            server: Mutex::new(server),
            address,
            old_address,
            key,
        })
    }

    /// A session of the old shop. Nothing is between it and its database.
    pub(crate) async fn session(&self) -> Result<Session, old::Fault> {
        Session::open(self.soak.database, &self.old_address).await
    }

    /// The old shop's client of Banyan.
    pub(crate) fn shop_http(&self) -> Http {
        Http::new(self.to_banyan.address(), self.key.clone())
    }

    /// The run's own.
    pub(crate) fn http(&self) -> Http {
        Http::new(self.address, self.key.clone())
    }

    pub(crate) fn banyan(&self) -> MutexGuard<'_, Process> {
        self.banyan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn own(&self) -> MutexGuard<'_, Vec<OwnSale>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.soak.database == Database::Postgres
    }

    /// The SKUs of these classes.
    pub(crate) fn skus(&self, classes: &[Class]) -> Vec<String> {
        let goods = self.goods.read().unwrap_or_else(PoisonError::into_inner);
        goods.iter().filter(|goods| classes.contains(&goods.class)).map(|goods| goods.sku.clone()).collect()
    }

    /// Puts the goods on the old shop's shelves that are there all the time.
    pub(crate) async fn stock_up(&self) -> Result<(), String> {
        let mut session = self.session().await.map_err(|fault| fault.why)?;
        for n in 1..=LASTING {
            for (name, class, first) in [("P", Class::Plain, 20_000), ("C", Class::Counted, 5_000)] {
                let goods = Goods { sku: format!("{name}{n}"), class, first };
                self.put_up(&mut session, goods).await.map_err(|fault| fault.why)?;
            }
        }
        let probe = Goods { sku: PROBE.into(), class: Class::Counted, first: 1 };
        insert(&mut session, &probe).await.map_err(|fault| fault.why)
    }

    /// Puts something new on the shelves: from then on it is sold.
    pub(crate) async fn put_up(&self, session: &mut Session, goods: Goods) -> Result<(), old::Fault> {
        insert(session, &goods).await?;
        self.goods.write().unwrap_or_else(PoisonError::into_inner).push(goods);
        Ok(())
    }
}

async fn insert(session: &mut Session, goods: &Goods) -> Result<(), old::Fault> {
    let Goods { sku, first, .. } = goods;
    // Behind the door as every write to stock is.
    let phase = session.enter().await?;
    session
        .run(&format!("insert into product (sku, title, price) values ('{sku}', 'Goods {sku}', 9.90)"))
        .await?;
    session
        .run(&format!("insert into stock (sku, place, num_in_stock) values ('{sku}', 'main', {first})"))
        .await?;
    session.run(&format!("insert into display (sku, units) values ('{sku}', 3)")).await?;
    session
        .run(&format!("insert into soak_move (sku, kind, value) values ('{sku}', 'count', {first})"))
        .await?;
    if phase == old::Phase::Lead {
        // Two rows of an item that Banyan does not know: it takes each in as a message.
        session.run("insert into soak_told (kind) values ('new'), ('new')").await?;
    }
    session.run("commit").await.map(drop)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("writing {}: {error}", path.display()))
}
