//! What call routing needs of one domain, in one read.

use crate::error::Result;
use crate::session::Reader;
use crate::table::Record;
use model::{
    Connection, DialPlan, DialPolicy, DialRule, Domain, Permission, Route, RouteConnection,
};

/// All records of one domain at one moment, each list in order of creation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DomainRecords {
    /// The domain itself; absent for `*` and for a domain that is gone.
    pub domain: Option<Domain>,
    /// Its connections.
    pub connections: Vec<Connection>,
    /// Its dial plans.
    pub dial_plans: Vec<DialPlan>,
    /// The rules of all its dial plans.
    pub dial_rules: Vec<DialRule>,
    /// Its dial policies.
    pub dial_policies: Vec<DialPolicy>,
    /// The permissions of all its dial policies.
    pub permissions: Vec<Permission>,
    /// Its routes; only the system has any.
    pub routes: Vec<Route>,
    /// The connections of all its routes.
    pub route_connections: Vec<RouteConnection>,
}

impl Reader<'_> {
    /// The records of one domain; `*` for those of the system. A domain that is gone has none.
    pub fn domain_part(&self, domain: &str) -> Result<DomainRecords> {
        Ok(DomainRecords {
            domain: self.read(&domain.to_owned())?,
            connections: self.of_domain(domain)?,
            dial_plans: self.of_domain(domain)?,
            dial_rules: self.of_domain(domain)?,
            dial_policies: self.of_domain(domain)?,
            permissions: self.of_domain(domain)?,
            routes: self.of_domain(domain)?,
            route_connections: self.of_domain(domain)?,
        })
    }

    /// The records of one noun of a domain. Their key begins with the domain, and the index of the key is named: left
    /// to itself SQLite walks through the whole table, which is in the wanted order already, and reads the records of
    /// everybody for those of one.
    fn of_domain<R: Record>(&self, domain: &str) -> Result<Vec<R>> {
        let table = R::TABLE;
        let sql = format!(
            "SELECT id, record FROM {table} INDEXED BY sqlite_autoindex_{table}_1 WHERE domain = ? ORDER BY id"
        );
        self.rows(&sql, vec![domain.to_owned().into()])
    }
}
