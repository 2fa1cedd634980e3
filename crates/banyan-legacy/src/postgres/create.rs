//! Makes what is ours in the old database, with the operator's consent. Every step may run again.

use super::address::fault;
use super::bookkeeping::{OUTBOX, SYNC, ours, quoted, statements};
use super::catalog::{self, table_sql};
use super::check_tables::{Identity, identity};
use super::grants;
use super::sessions::Sessions;
use super::write::needs_tables;
use crate::database::LegacyError;
use crate::mapping::{Mapping, TableName};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Makes bookkeeping tables, replica identities and publication. Gives what was done.
pub(super) async fn create(sessions: &Sessions, mapping: &Mapping) -> Result<Vec<String>, LegacyError> {
    sessions
        .with(|lease| async {
            let client = &lease.session.client;
            if needs_tables(client, mapping).await? {
                catalog::read(client, mapping).await?;
            }
            // Otherwise some of them may be gone, and those that are there are kept ready for the way back.
            let mut there = BTreeSet::new();
            for table in mapping.tables.iter().filter(|_| !mapping.outbox_only) {
                let live = catalog::columns(client, table).await?;
                if catalog::missing(table, &live).is_none() {
                    there.insert(&table.name);
                }
            }
            let mut done = Vec::new();
            if mapping.database.bookkeeping {
                bookkeeping(client, mapping, &mut done).await?;
            }
            // Before the publication: a published table without identity would refuse the old shop's own updates.
            for (index, table) in mapping.tables.iter().enumerate() {
                if there.contains(&table.name) && identity(client, mapping, index).await? != Identity::Enough
                {
                    run(
                        client,
                        &format!("alter table {} replica identity full", table_sql(table)),
                        &mut done,
                    )
                    .await?;
                }
            }
            publication(client, mapping, &there, &mut done).await?;
            Ok((lease, done))
        })
        .await
}

/// Our tables, and who may use them, in one transaction: as soon as the old shop can see them, it reads them.
async fn bookkeeping(client: &Client, mapping: &Mapping, done: &mut Vec<String>) -> Result<(), LegacyError> {
    let is_new = !is_whole(client, mapping).await?;
    let within = |error: tokio_postgres::Error| fault("making our own tables", &error);
    client.batch_execute("begin").await.map_err(within)?;
    for statement in statements(mapping).iter().filter(|_| is_new) {
        run(client, statement, done).await?;
    }
    for grant in grants::missing(client, mapping).await? {
        run(client, &grant, done).await?;
    }
    client.batch_execute("commit").await.map_err(within)?;
    let first = &mapping.tables[0];
    if is_new && catalog::columns(client, first).await?.is_empty() {
        let table = &first.name;
        done.push(format!("-- {table} is gone: grant its former owner select on {SYNC}, and select, insert, delete on {OUTBOX}"));
    }
    Ok(())
}

async fn is_whole(client: &Client, mapping: &Mapping) -> Result<bool, LegacyError> {
    let there = "select to_regclass($1) is not null and to_regclass($2) is not null \
         and exists (select 1 from pg_class where oid = to_regclass($1) and relreplident = 'f')";
    let names = [ours(mapping, SYNC), ours(mapping, OUTBOX)];
    let row = client.query_one(there, &[&names[0], &names[1]]).await;
    if !row.map_err(|error| fault("looking for our own tables", &error))?.get::<_, bool>(0) {
        return Ok(false);
    }
    let sql = format!("select 1 from {} where capability = $1", names[0]);
    let row = client.query_opt(&sql, &[&mapping.capability]).await;
    Ok(row.map_err(|error| fault("looking for our own row", &error))?.is_some())
}

async fn publication(
    client: &Client,
    mapping: &Mapping,
    there: &BTreeSet<&TableName>,
    done: &mut Vec<String>,
) -> Result<(), LegacyError> {
    let name = &mapping.database.slot;
    let looking = |error: tokio_postgres::Error| fault("looking at the publication", &error);
    let tables = catalog::wanted(mapping, |table| there.contains(&table.name));
    let sql_name = |table: &(&str, &str)| format!("{}.{}", quoted(table.0), quoted(table.1));
    let known = client.query_opt("select puballtables from pg_publication where pubname = $1", &[name]).await;
    let operations = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
    let Some(known) = known.map_err(looking)? else {
        let list: Vec<String> = tables.iter().map(sql_name).collect();
        let sql =
            format!("create publication {} for table {} with ({operations})", quoted(name), list.join(", "));
        return run(client, &sql, done).await;
    };
    if !catalog::publication_faults(client, mapping, false).await?.is_empty() {
        run(client, &format!("alter publication {} set ({operations})", quoted(name)), done).await?;
    }
    if known.get::<_, bool>(0) {
        return Ok(());
    }
    let rows = client
        .query(
            "select schemaname::text, tablename::text from pg_publication_tables where pubname = $1",
            &[name],
        )
        .await
        .map_err(looking)?;
    let has: BTreeSet<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let lacks =
        tables.iter().filter(|(schema, table)| !has.contains(&((*schema).to_owned(), (*table).to_owned())));
    let lacks: Vec<String> = lacks.map(sql_name).collect();
    if !lacks.is_empty() {
        run(client, &format!("alter publication {} add table {}", quoted(name), lacks.join(", ")), done)
            .await?;
    }
    // What is not followed any more need not be sent.
    let all = catalog::wanted(mapping, |_| mapping.outbox_only);
    let idle = all.iter().filter(|table| !tables.contains(table));
    let idle: Vec<String> = idle
        .filter(|(schema, table)| has.contains(&((*schema).to_owned(), (*table).to_owned())))
        .map(sql_name)
        .collect();
    if idle.is_empty() {
        return Ok(());
    }
    run(client, &format!("alter publication {} drop table {}", quoted(name), idle.join(", ")), done).await
}

async fn run(client: &Client, sql: &str, done: &mut Vec<String>) -> Result<(), LegacyError> {
    let ran = client.batch_execute(sql).await;
    ran.map_err(|error| fault(&format!("`{sql}`"), &error))?;
    done.push(sql.to_owned());
    Ok(())
}
