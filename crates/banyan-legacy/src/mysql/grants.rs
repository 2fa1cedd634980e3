//! Rights on our own tables. Whoever may write a mapped table may be the old shop: it must be able to read who leads, to hold the
//! door, and to tell us things. A user that has its rights on the whole database has these as well.

use super::book::{DOOR, OUTBOX, SYNC, ours};
use super::server::{STATEMENT_MAX, Session, within};
use crate::database::{Finding, LegacyError};
use crate::mapping::Mapping;
use mysql_async::prelude::Queryable;
use std::collections::{BTreeMap, BTreeSet};

/// Who is to be written where the old shop's user is not known.
const UNKNOWN: &str = "'SHOP'@'HOST'";

/// A right as the server lists it: to whom, what, the database, the table, and whether in all of it.
type Listed = (String, String, Option<String>, Option<String>, u8);

/// A right of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    /// `'user'@'host'`, as the server writes it.
    grantee: String,
    /// Where it holds.
    reach: Reach,
    /// Such as `SELECT`.
    power: String,
}

/// Where a right holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    Everywhere,
    /// In the databases of this pattern.
    Database(String),
    /// In a table, or in some of its columns.
    Table {
        schema: String,
        table: String,
        whole: bool,
    },
}

/// Somebody else with rights on a mapped table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Holder {
    /// Whether it may write a mapped table, and not only read it.
    writes: bool,
    may_read: bool,
    may_hold: bool,
    may_tell: bool,
}

/// What is known of the rights of others.
pub(super) struct Known {
    /// By their names in SQL.
    holders: BTreeMap<String, Holder>,
    /// Whether the server shows us anybody's but our own.
    sees_others: bool,
}

/// Looks at the rights of everybody but ourselves.
pub(super) async fn known(
    session: &mut Session,
    database: &str,
    mapping: &Mapping,
) -> Result<Known, LegacyError> {
    let doing = "looking at the rights on our own tables";
    let me: Option<String> =
        within(doing, STATEMENT_MAX, session.conn.query_first("select current_user()")).await?;
    let me = me.unwrap_or_default();
    let me = me.rsplit_once('@').map_or_else(String::new, |(user, host)| format!("'{user}'@'{host}'"));
    let sql = "select grantee, privilege_type, null, null, 1 from information_schema.user_privileges \
         union all select grantee, privilege_type, table_schema, null, 1 from information_schema.schema_privileges \
         union all select grantee, privilege_type, table_schema, table_name, 1 from information_schema.table_privileges \
         union all select grantee, privilege_type, table_schema, table_name, 0 from information_schema.column_privileges";
    let rows: Vec<Listed> = within(doing, STATEMENT_MAX, session.conn.query(sql)).await?;
    let sees_others = rows.iter().any(|row| row.0 != me);
    let right = |(grantee, power, schema, table, whole): Listed| {
        let reach = match (schema, table) {
            (None, _) => Reach::Everywhere,
            (Some(schema), None) => Reach::Database(schema),
            (Some(schema), Some(table)) => Reach::Table { schema, table, whole: whole == 1 },
        };
        Right { grantee, reach, power }
    };
    let rights: Vec<Right> = rows.into_iter().filter(|row| row.0 != me).map(right).collect();
    let mapped = mapping.tables.iter().map(|table| &table.name);
    let mapped: Vec<(&str, &str)> =
        mapped.map(|name| (name.schema.as_deref().unwrap_or(database), name.table.as_str())).collect();
    Ok(Known { holders: holders(&rights, database, &mapped), sees_others })
}

/// Everybody with a right on one of the mapped tables.
fn holders(rights: &[Right], database: &str, mapped: &[(&str, &str)]) -> BTreeMap<String, Holder> {
    let grantees: BTreeSet<&str> = rights.iter().map(|right| right.grantee.as_str()).collect();
    let mut holders = BTreeMap::new();
    for grantee in grantees {
        let Some(name) = in_sql(grantee) else { continue };
        let of = || rights.iter().filter(move |right| right.grantee == grantee);
        let may = |power: &str, table: &str| {
            of().any(|right| {
                right.power.eq_ignore_ascii_case(power) && right.reach.has(database, table, true)
            })
        };
        let powers: BTreeSet<String> = of()
            .filter(|right| mapped.iter().any(|(schema, table)| right.reach.has(schema, table, false)))
            .map(|right| right.power.to_uppercase())
            .filter(|power| ["SELECT", "INSERT", "UPDATE"].contains(&power.as_str()))
            .collect();
        if powers.is_empty() {
            continue;
        }
        let holder = Holder {
            writes: powers.iter().any(|power| power != "SELECT"),
            may_read: may("SELECT", SYNC),
            may_hold: may("SELECT", DOOR),
            may_tell: may("INSERT", OUTBOX),
        };
        holders.insert(name, holder);
    }
    holders
}

impl Reach {
    /// Whether it holds in a table; `whole` if in all of it.
    fn has(&self, of: &str, name: &str, is_whole: bool) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Database(pattern) => is_like(pattern, of),
            Self::Table { schema, table, whole } => {
                schema.eq_ignore_ascii_case(of) && table.eq_ignore_ascii_case(name) && (*whole || !is_whole)
            }
        }
    }
}

/// Whether a database's name is of a pattern of a grant: `%` is any text, `_` any character, and `\` takes that from what follows.
fn is_like(pattern: &str, name: &str) -> bool {
    let mut pattern_rest = pattern.chars();
    let mut name_rest = name.chars();
    match pattern_rest.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = pattern_rest.as_str();
            is_like(rest, name) || name_rest.next().is_some_and(|_| is_like(pattern, name_rest.as_str()))
        }
        Some('_') => name_rest.next().is_some() && is_like(pattern_rest.as_str(), name_rest.as_str()),
        Some(wanted) => {
            let wanted = if wanted == '\\' { pattern_rest.next().unwrap_or(wanted) } else { wanted };
            let found = name_rest.next();
            found.is_some_and(|found| found.eq_ignore_ascii_case(&wanted))
                && is_like(pattern_rest.as_str(), name_rest.as_str())
        }
    }
}

/// `'user'@'host'` as the server lists it, as SQL; nothing for a name that is none. A role has no host.
fn in_sql(grantee: &str) -> Option<String> {
    let inside = grantee.strip_prefix('\'')?.strip_suffix('\'')?;
    let (user, host) = inside.rsplit_once("'@'")?;
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    match (user, host) {
        ("", _) => None,
        (user, "") => Some(quoted(user)),
        (user, host) => Some(format!("{}@{}", quoted(user), quoted(host))),
    }
}

impl Holder {
    /// What is to be granted to it, as SQL.
    fn grants(&self, name: &str, database: &str) -> Vec<String> {
        let mut grants = Vec::new();
        for (may, rights, table) in [
            (self.may_read, "select", SYNC),
            (self.may_hold, "select", DOOR),
            (self.may_tell || !self.writes, "select, insert", OUTBOX),
        ] {
            if !may {
                grants.push(format!("grant {rights} on {} to {name}", ours(database, table)));
            }
        }
        grants
    }
}

impl Known {
    /// What is to be granted to others, as SQL.
    fn missing(&self, database: &str) -> Vec<String> {
        self.holders.iter().flat_map(|(name, holder)| holder.grants(name, database)).collect()
    }

    /// Whether those of the old shop have what they need on our tables, which are there.
    pub(super) fn finding(&self, database: &str) -> Finding {
        let subject = "rights of the old shop on our tables";
        if !self.sees_others {
            let found = "not known: this user is shown no rights but its own";
            let fix = format!(
                "a user with rights on all of {database} has them; for any other: {}",
                for_unknown(database).join("; ")
            );
            return Finding::warn(subject, found, fix);
        }
        let lacking = |writes: bool| -> Vec<(&String, &Holder)> {
            let lacks = |(name, holder): &(&String, &Holder)| {
                holder.writes == writes && !holder.grants(name, database).is_empty()
            };
            self.holders.iter().filter(lacks).collect()
        };
        let names = |of: &[(&String, &Holder)]| {
            of.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let fix = format!(
            "`banyan legacy check --create`, or as an administrator: {};",
            self.missing(database).join("; ")
        );
        match (lacking(true).as_slice(), lacking(false).as_slice()) {
            ([], []) => Finding::ok(
                subject,
                "whoever has rights on the mapped tables may read who leads, and tell us",
            ),
            ([], readers) => {
                let found = format!(
                    "{} may read a mapped table, and not who leads: its pages would fail",
                    names(readers)
                );
                Finding::warn(subject, found, fix)
            }
            (writers, _) => {
                let found = format!(
                    "{} may write a mapped table, and cannot read who leads or tell us: its pages and orders would fail",
                    names(writers)
                );
                Finding::stop(subject, found, fix)
            }
        }
    }
}

/// What the old shop's user needs, if it has its rights table by table.
fn for_unknown(database: &str) -> Vec<String> {
    Holder { writes: true, ..Holder::default() }.grants(UNKNOWN, database)
}

/// Grants what is missing, where this user may grant. Gives what was done, and as comments what somebody else has to do.
pub(super) async fn grant(
    session: &mut Session,
    database: &str,
    mapping: &Mapping,
    is_new: bool,
    done: &mut Vec<String>,
) -> Result<(), LegacyError> {
    let known = known(session, database, mapping).await?;
    if !known.sees_others && is_new {
        let grants = for_unknown(database).join("; ");
        done.push(format!(
            "-- rights of others are not shown to this user. If the old shop's has none on all of {database}: {grants};"
        ));
    }
    let mut refused = Vec::new();
    for grant in known.missing(database) {
        match within(&grant, STATEMENT_MAX, session.conn.query_drop(&grant)).await {
            Ok(()) => done.push(grant),
            Err(LegacyError::Refused(why)) => refused.push((grant, why)),
            Err(error) => return Err(error),
        }
    }
    if let Some((_, why)) = refused.first() {
        let grants: Vec<&str> = refused.iter().map(|(grant, _)| grant.as_str()).collect();
        done.push(format!(
            "-- this user may not grant, so as an administrator: {}; ({why})",
            grants.join("; ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grants_pattern_is_matched_as_the_server_does() {
        let table = [
            ("shop", "shop", true),
            ("shop", "shop2", false),
            ("shop%", "shop_2", true),
            ("%", "anything", true),
            ("s%p", "shop", true),
            ("s%p", "shops", false),
            ("my_shop", "my-shop", true),
            ("my\\_shop", "my-shop", false),
            ("my\\_shop", "my_shop", true),
            ("my\\%", "my%", true),
            ("", "shop", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(is_like(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn names_of_the_server_become_sql() {
        assert_eq!(in_sql("'shop'@'%'").as_deref(), Some("'shop'@'%'"));
        assert_eq!(in_sql("'o'neil'@'10.%'").as_deref(), Some("'o''neil'@'10.%'"));
        assert_eq!(in_sql("'role'@''").as_deref(), Some("'role'"));
        assert_eq!(in_sql("''@'localhost'"), None);
        assert_eq!(in_sql("shop"), None);
    }

    #[test]
    fn whoever_has_the_database_has_our_tables_and_whoever_has_a_table_has_not() {
        let right = |grantee: &str, power: &str, reach: Reach| Right {
            grantee: grantee.into(),
            power: power.into(),
            reach,
        };
        let table = |table: &str, whole| Reach::Table { schema: "shop".into(), table: table.into(), whole };
        let rights = [
            right("'all'@'%'", "SELECT", Reach::Database("shop".into())),
            right("'all'@'%'", "INSERT", Reach::Database("shop".into())),
            right("'root'@'%'", "SELECT", Reach::Everywhere),
            right("'app'@'%'", "SELECT", table("stock", true)),
            right("'app'@'%'", "UPDATE", table("stock", false)),
            right("'report'@'%'", "SELECT", table("stock", true)),
            right("'blog'@'%'", "SELECT", table("post", true)),
            right("'dropper'@'%'", "DROP", table("stock", true)),
            right("'half'@'%'", "SELECT", table("stock", true)),
            right("'half'@'%'", "SELECT", table(SYNC, false)),
        ];
        let known = Known { holders: holders(&rights, "shop", &[("shop", "stock")]), sees_others: true };
        let grants: Vec<String> = known.missing("shop");
        let expected = [
            "grant select on `shop`.banyan_sync to 'app'@'%'",
            "grant select on `shop`.banyan_door to 'app'@'%'",
            "grant select, insert on `shop`.banyan_outbox to 'app'@'%'",
            "grant select on `shop`.banyan_sync to 'half'@'%'",
            "grant select on `shop`.banyan_door to 'half'@'%'",
            "grant select on `shop`.banyan_sync to 'report'@'%'",
            "grant select on `shop`.banyan_door to 'report'@'%'",
        ];
        assert_eq!(grants, expected);
        let finding = known.finding("shop");
        assert!(finding.found.starts_with("'app'@'%' may write"), "{finding:?}");
    }
}
