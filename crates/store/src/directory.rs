//! What call routing needs of one domain, in one read.

use crate::error::Result;
use crate::session::Reader;
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
        let owner = || vec![domain.to_owned().into()];
        Ok(DomainRecords {
            domain: self.read(&domain.to_owned())?,
            connections: self.rows(
                "SELECT id, record FROM connections WHERE domain = ? ORDER BY id",
                owner(),
            )?,
            dial_plans: self.rows(
                "SELECT id, record FROM dial_plans WHERE domain = ? ORDER BY id",
                owner(),
            )?,
            dial_rules: self.rows(
                "SELECT id, record FROM dial_rules WHERE domain = ? ORDER BY id",
                owner(),
            )?,
            dial_policies: self.rows(
                "SELECT id, record FROM dial_policies WHERE domain = ? ORDER BY id",
                owner(),
            )?,
            permissions: self.rows(
                "SELECT id, record FROM permissions WHERE domain = ? ORDER BY id",
                owner(),
            )?,
            routes: self.rows(
                "SELECT id, record FROM routes WHERE domain = ? ORDER BY id",
                owner(),
            )?,
            route_connections: self.rows(
                "SELECT id, record FROM route_connections WHERE domain = ? ORDER BY id",
                owner(),
            )?,
        })
    }
}
