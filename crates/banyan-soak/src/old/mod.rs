//! The old shop's database: a real server, its schema, and sessions of the old shop on it.

mod session;

pub(crate) use session::{Fault, Phase, Rows, Session};

use crate::Database;
use banyan_testkit::{MariaDb, MariaDbOptions, Postgres, PostgresOptions};
use std::path::Path;

const POSTGRES_SCHEMA: &str = include_str!("postgres.sql");
const MARIADB_SCHEMA: &str = include_str!("../../../../examples/mariadb-shop/schema.sql");
const MARIADB_MORE: &str = include_str!("mariadb.sql");

/// A private server with the old shop in it.
pub(crate) enum Server {
    Postgres(Postgres),
    Mariadb(MariaDb),
}

impl Server {
    /// Starts one with an empty shop.
    pub(crate) fn start(database: Database) -> Result<Self, String> {
        match database {
            Database::Postgres => {
                let server =
                    Postgres::start(&PostgresOptions::default()).map_err(|error| error.to_string())?;
                server.query("postgres", POSTGRES_SCHEMA).map_err(|error| error.to_string())?;
                Ok(Self::Postgres(server))
            }
            Database::Mariadb => {
                let options = MariaDbOptions::default().set("binlog_row_metadata", "FULL");
                let server = MariaDb::start(&options).map_err(|error| error.to_string())?;
                // The command-line client knows `delimiter`.
                server
                    .sql(&format!("{MARIADB_SCHEMA}\n{MARIADB_MORE}"))
                    .map_err(|error| error.to_string())?;
                Ok(Self::Mariadb(server))
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Postgres(server) => server.port(),
            Self::Mariadb(server) => server.port(),
        }
    }

    /// The server's log.
    pub(crate) fn log(&self) -> &Path {
        match self {
            Self::Postgres(server) => server.log(),
            Self::Mariadb(server) => server.log(),
        }
    }

    /// SIGKILL to all of it, and a start of the same again.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        match self {
            Self::Postgres(server) => server.crash(),
            Self::Mariadb(server) => server.crash(),
        }
        .map_err(|error| error.to_string())
    }

    /// Brings it back after [`Self::kill`].
    pub(crate) fn start_again(&mut self) -> Result<(), String> {
        match self {
            Self::Postgres(server) => server.restart(),
            Self::Mariadb(server) => server.restart(),
        }
        .map_err(|error| error.to_string())
    }
}

/// The address of the shop's database at `port`, for `user`.
pub(crate) fn address(database: Database, user: &str, port: u16) -> String {
    match database {
        Database::Postgres => format!("postgres://{user}@127.0.0.1:{port}/postgres"),
        Database::Mariadb => format!("mysql://{user}@127.0.0.1:{port}/shop"),
    }
}

/// The shop's own user.
pub(crate) const fn shop_user(database: Database) -> &'static str {
    match database {
        Database::Postgres => "postgres",
        Database::Mariadb => "root",
    }
}

/// The mapping file, with the address in `legacy.url` beside it.
pub(crate) fn mapping(database: Database) -> String {
    let (kind, schema, more) = match database {
        Database::Postgres => ("postgres", "public.", "slot = \"banyan_stock\"\n"),
        Database::Mariadb => ("mysql", "", "server_id = 4711\n"),
    };
    format!(
        "capability = \"stock\"\n[database]\nkind = \"{kind}\"\nurl_file = \"legacy.url\"\n{more}\
         [[table]]\nname = \"{schema}stock\"\nkey = [\"id\"]\nsku = \"sku\"\nlocation = {{ column = \"place\" }}\n\
         in_stock = \"num_in_stock\"\nallocated = \"num_allocated\"\n\
         [[table]]\nname = \"{schema}display\"\nkey = [\"sku\"]\nsku = \"sku\"\nlocation = \"display\"\nin_stock = \"units\"\n\
         [watch]\nlag_millis_max = 2000\n"
    )
}
