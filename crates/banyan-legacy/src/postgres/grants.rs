//! Rights on our own tables. Whoever may write a mapped table may be the old shop: it must be able to read who leads, and to tell
//! us things, from the moment in which our tables can be seen. And our own role must be able to keep them, whoever made them.

use super::address::fault;
use super::bookkeeping::{OUTBOX, SYNC, ours, schema};
use super::check::ask;
use crate::database::{Finding, LegacyError};
use crate::mapping::Mapping;
use crate::scope::Course;
use tokio_postgres::Client;

/// Somebody else with rights on a mapped table.
struct Holder {
    /// As SQL has it; `public` for everybody.
    name: String,
    /// Whether it may write a mapped table, and not only read it.
    writes: bool,
    /// Whether it owns one.
    owns: bool,
    /// Whether it may read who leads.
    may_read: bool,
    /// Whether it may write into the outbox.
    may_tell: bool,
}

impl Holder {
    /// What is to be granted to it, as SQL.
    fn grants(&self, mapping: &Mapping, sequence: Option<&str>) -> Vec<String> {
        let Self { name, .. } = self;
        let mut grants = Vec::new();
        if !self.may_read {
            grants.push(format!("grant select on {} to {name}", ours(mapping, SYNC)));
        }
        if self.writes && !self.may_tell {
            let rights = if self.owns { "select, insert, delete" } else { "select, insert" };
            grants.push(format!("grant {rights} on {} to {name}", ours(mapping, OUTBOX)));
            grants.extend(sequence.map(|sequence| format!("grant usage on sequence {sequence} to {name}")));
        }
        grants
    }
}

/// What is to be granted to others, as SQL; nothing if our tables are not ours to grant.
pub(super) async fn missing(client: &Client, mapping: &Mapping) -> Result<Vec<String>, LegacyError> {
    let asking = |error: tokio_postgres::Error| fault("looking at the rights on our own tables", &error);
    let sql = "select bool_and(pg_has_role(current_user, relowner, 'usage')) from pg_class \
         where oid in (to_regclass($1), to_regclass($2))";
    let names = [ours(mapping, SYNC), ours(mapping, OUTBOX)];
    let mine = client.query_one(sql, &[&names[0], &names[1]]).await.map_err(asking)?;
    if mine.get::<_, Option<bool>>(0) != Some(true) {
        return Ok(Vec::new());
    }
    let (holders, sequence) = holders(client, mapping).await.map_err(asking)?;
    Ok(holders.iter().flat_map(|holder| holder.grants(mapping, sequence.as_deref())).collect())
}

/// Whether our own role, and those of the old shop, have what they need on our tables, which are there.
pub(super) async fn check(client: &Client, mapping: &Mapping, user: &str, course: Course) -> Vec<Finding> {
    let own = own(client, mapping, user).await.unwrap_or_else(|unseen| unseen);
    let subject = "rights of the old shop on our tables";
    let holders = holders(client, mapping).await;
    let others = match holders {
        Ok((holders, sequence)) => others(subject, mapping, &holders, sequence.as_deref()),
        Err(error) => super::check::unseen(subject, &fault("looking", &error)),
    };
    vec![own, course.weigh(others)]
}

async fn own(client: &Client, mapping: &Mapping, user: &str) -> Result<Finding, Finding> {
    let subject = "rights on our tables";
    let (sync, outbox) = (ours(mapping, SYNC), ours(mapping, OUTBOX));
    let sql = "select has_table_privilege($1::text, 'select') and has_table_privilege($1::text, 'update'), \
         has_table_privilege($2::text, 'select') and has_table_privilege($2::text, 'delete')";
    let row = ask(client, subject, sql, &[&sync, &outbox]).await?;
    let fix = [
        (row.get::<_, bool>(0), format!("grant select, update on {sync} to {user};")),
        (row.get(1), format!("grant select, delete on {outbox} to {user};")),
    ];
    let fix: Vec<String> = fix.into_iter().filter(|(has, _)| !has).map(|(_, grant)| grant).collect();
    Ok(if fix.is_empty() {
        Finding::ok(subject, format!("{user} may read and write them"))
    } else {
        let found = format!("{user} may not read and write them: somebody else made them");
        Finding::stop(subject, found, format!("as their owner: {}", fix.join(" ")))
    })
}

fn others(subject: &str, mapping: &Mapping, holders: &[Holder], sequence: Option<&str>) -> Finding {
    let lacking = |writes: bool| {
        let of = holders.iter().filter(move |holder| holder.writes == writes);
        of.filter(|holder| !holder.grants(mapping, sequence).is_empty()).collect::<Vec<_>>()
    };
    let names = |holders: &[&Holder]| {
        holders.iter().map(|holder| holder.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let fix = |holders: &[&Holder]| {
        let grants: Vec<String> =
            holders.iter().flat_map(|holder| holder.grants(mapping, sequence)).collect();
        format!("`banyan legacy check --create`, or as their owner: {};", grants.join("; "))
    };
    match (lacking(true).as_slice(), lacking(false).as_slice()) {
        ([], []) => {
            Finding::ok(subject, "whoever has rights on the mapped tables may read who leads, and tell us")
        }
        ([], readers) => {
            let found = format!(
                "{} may read a mapped table, and not who leads: its pages would fail",
                names(readers)
            );
            Finding::warn(subject, found, fix(readers))
        }
        (writers, readers) => {
            let found = format!(
                "{} may write a mapped table, and cannot read who leads or tell us: its pages and orders would fail",
                names(writers)
            );
            Finding::stop(subject, found, fix(&[writers, readers].concat()))
        }
    }
}

/// Everybody but ourselves with rights on a mapped table, and the sequence behind the outbox's numbers.
async fn holders(
    client: &Client,
    mapping: &Mapping,
) -> Result<(Vec<Holder>, Option<String>), tokio_postgres::Error> {
    let (sync, outbox) = (ours(mapping, SYNC), ours(mapping, OUTBOX));
    let sequence = client.query_one("select pg_get_serial_sequence($1, 'id')", &[&outbox]).await?;
    let sequence: Option<String> = sequence.get(0);
    let names = mapping.tables.iter().map(|table| table.name.table.as_str()).collect::<Vec<_>>();
    let schemas = mapping.tables.iter().map(|table| table.name.schema.as_deref());
    let schemas = schemas.map(|name| name.unwrap_or_else(|| schema(mapping))).collect::<Vec<_>>();
    let sql = "with mapped as (select c.oid, c.relowner, c.relacl from pg_class c join pg_namespace n on n.oid = c.relnamespace \
           join unnest($1::text[], $2::text[]) as m(schema, name) on m.schema = n.nspname and m.name = c.relname), \
         rights as (select relowner as role, 'OWNER' as power from mapped \
           union all select a.grantee, a.privilege_type from mapped, aclexplode(relacl) a \
           union all select a.grantee, a.privilege_type from mapped join pg_attribute t on t.attrelid = mapped.oid, \
             aclexplode(t.attacl) a), \
         holders as (select h.role, coalesce(r.rolname, 'public') as name, bool_or(h.power <> 'SELECT') as writes, \
           bool_or(h.power = 'OWNER') as owns from rights h left join pg_roles r on r.oid = h.role \
           where h.power in ('OWNER', 'SELECT', 'INSERT', 'UPDATE') and (h.role = 0 or r.rolname <> current_user) \
           group by 1, 2) \
         select case role when 0 then 'public' else quote_ident(name) end, writes, owns, \
           has_table_privilege(name, $3::text, 'select'), has_table_privilege(name, $4::text, 'insert') \
           and coalesce(has_sequence_privilege(name, $5::text, 'usage'), true) from holders order by 1";
    let rows = client.query(sql, &[&schemas, &names, &sync, &outbox, &sequence]).await?;
    let holder = |row: &tokio_postgres::Row| Holder {
        name: row.get(0),
        writes: row.get(1),
        owns: row.get(2),
        may_read: row.get(3),
        may_tell: row.get(4),
    };
    Ok((rows.iter().map(holder).collect(), sequence))
}
