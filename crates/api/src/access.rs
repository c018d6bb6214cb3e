//! Who asks, and what that one may see.
//!
//! Three questions in this order: is the credential good (401), may it do this kind of thing (403), is the
//! object within its reach (403 for a foreign tenant whether it exists or not, 404 only inside one's own).

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use model::{Actor, AllowedModels, ApiKey, Scope};

use crate::checks;
use crate::errors::ApiError;
use crate::keys;
use crate::state::ApiState;
use crate::table::{Access, Operation, Star};

/// The credential of a request, checked.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Public part of the key.
    pub key_id: String,
    /// What it may do.
    pub scope: Scope,
    /// Its tenant; empty or `*` when it has none.
    pub domain: String,
    /// Its reseller; empty or `*` when it has none.
    pub reseller: String,
    /// Whether it may only read.
    pub readonly: bool,
    /// Whether it may make keys.
    pub can_create_keys: bool,
    /// The nouns it may touch.
    pub models: AllowedModels,
    /// Where the request comes from.
    pub address: IpAddr,
}

/// The part of all tenants that a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    All,
    /// Tenants of this reseller, and system-wide objects for reading.
    Reseller(String),
    /// One tenant.
    Domain(String),
}

impl Caller {
    /// What the caller may see.
    pub fn reach(&self) -> Reach {
        match self.scope {
            Scope::SuperUser => Reach::All,
            Scope::Reseller => Reach::Reseller(self.reseller.clone()),
            _ => Reach::Domain(self.domain.clone()),
        }
    }

    /// The caller's own tenant, for `~`.
    pub fn own_domain(&self) -> Result<String, ApiError> {
        match self.domain.as_str() {
            "" | "*" => Err(ApiError::bad_request(
                "This key has no domain of its own, so ~ has no meaning for it.",
            )),
            domain => Ok(domain.to_owned()),
        }
    }

    /// The caller's own reseller, for `~`.
    pub fn own_reseller(&self) -> Result<String, ApiError> {
        match self.reseller.as_str() {
            "" | "*" => Err(ApiError::bad_request(
                "This key has no reseller of its own, so ~ has no meaning for it.",
            )),
            reseller => Ok(reseller.to_owned()),
        }
    }

    /// For the audit log.
    pub fn actor(&self, unix_ms: i64) -> Actor {
        Actor {
            who: self.key_id.clone(),
            address: Some(self.address),
            unix_ms,
        }
    }

    /// Whether this scope, or a higher one, asks.
    pub fn at_least(&self, scope: Scope) -> bool {
        self.scope.rank() >= scope.rank()
    }
}

/// Finds out who asks.
pub async fn authenticate(
    state: &ApiState,
    headers: &HeaderMap,
    address: IpAddr,
    now_ms: i64,
) -> Result<Caller, ApiError> {
    let address = address.to_canonical();
    let token = bearer(headers)?;
    let wrong = || match state.failures().count(address, now_ms) {
        Ok(()) => ApiError::invalid_token("The key is not valid."),
        Err(too_many) => too_many,
    };
    let key_id = keys::key_id(token).ok_or_else(wrong)?.to_owned();
    let hash = keys::hash(token);
    let key = state
        .find_key(hash)
        .await?
        .filter(|key| key.key_id == key_id)
        .ok_or_else(wrong)?;
    if !address_allowed(&key, address) {
        return Err(ApiError::forbidden(
            "This key may not be used from this address.",
        ));
    }
    state.key_rate().check(&key.key_id)?;
    state.note_use(&key, now_ms);
    Ok(Caller {
        key_id: key.key_id,
        scope: key.user_scope,
        domain: key.domain,
        reseller: key.reseller,
        readonly: key.readonly,
        can_create_keys: key.can_create_keys,
        models: key.allowed_models,
        address,
    })
}

/// The token of `Authorization: Bearer …` (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let missing = || ApiError::unauthorized("A key is needed: Authorization: Bearer KEY.");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(ApiError::unauthorized(
            "There is more than one Authorization header.",
        ));
    }
    let value = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = value.trim().split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(missing())
    }
}

/// Whether the key may be used from there. A list that cannot be read allows nothing.
fn address_allowed(key: &ApiKey, address: IpAddr) -> bool {
    let list = key.ip_address.trim();
    if list.is_empty() || list == "*" {
        return true;
    }
    checks::networks(list)
        .iter()
        .flatten()
        .any(|network| network.contains(&address))
}

/// Whether the caller may use this operation at all.
pub fn may_call(caller: &Caller, operation: &Operation) -> Result<(), ApiError> {
    if let Access::AtLeast(scope) = operation.access
        && !caller.at_least(scope)
    {
        return Err(ApiError::forbidden(format!(
            "This needs the scope {scope} or a higher one."
        )));
    }
    if operation.method.writes() && caller.readonly {
        return Err(ApiError::forbidden("This key may only read."));
    }
    if !operation.model.is_empty() && !caller.models.allows(operation.model) {
        return Err(ApiError::forbidden(format!(
            "This key may not touch objects of the kind {}.",
            operation.model
        )));
    }
    Ok(())
}

/// The tenant a path names, after `~` and the check that it is the caller's to touch.
pub async fn path_domain(
    state: &ApiState,
    caller: &Caller,
    operation: &Operation,
    written: &str,
) -> Result<String, ApiError> {
    match written {
        "~" => caller.own_domain(),
        "*" => match operation.star {
            Star::Refused => Err(ApiError::bad_request("* does not name one domain.")),
            Star::AllDomains if caller.at_least(Scope::Reseller) => Ok("*".into()),
            Star::Global if caller.scope == Scope::SuperUser => Ok("*".into()),
            Star::Global if caller.scope == Scope::Reseller && !operation.method.writes() => {
                Ok("*".into())
            }
            _ => Err(foreign_domain()),
        },
        domain => {
            domain_within_reach(state, caller, domain).await?;
            Ok(domain.to_owned())
        }
    }
}

/// Refuses a foreign tenant, with one and the same answer whether it exists or not.
pub async fn domain_within_reach(
    state: &ApiState,
    caller: &Caller,
    domain: &str,
) -> Result<(), ApiError> {
    let within = match caller.reach() {
        Reach::All => true,
        Reach::Domain(own) => own == domain,
        Reach::Reseller(own) => state
            .find_domain(domain)
            .await?
            .is_some_and(|found| found.reseller == own),
    };
    if within {
        Ok(())
    } else {
        Err(foreign_domain())
    }
}

/// The owner a body names: one tenant within reach, or the system for a Super User.
pub async fn body_domain(
    state: &ApiState,
    caller: &Caller,
    written: &str,
) -> Result<String, ApiError> {
    match written {
        "~" => caller.own_domain(),
        "*" if caller.scope == Scope::SuperUser => Ok("*".into()),
        "*" => Err(ApiError::forbidden(
            "Only a Super User writes objects of the whole system.",
        )),
        domain => {
            domain_within_reach(state, caller, domain).await?;
            Ok(domain.to_owned())
        }
    }
}

/// 403 that tells nothing about the domain.
pub fn foreign_domain() -> ApiError {
    ApiError::forbidden("This domain is not within the reach of the key.")
}

/// Narrows a reach by the `domain` and `reseller` filters of a list.
pub async fn narrowed(
    state: &ApiState,
    caller: &Caller,
    domain: Option<&str>,
    reseller: Option<&str>,
) -> Result<Reach, ApiError> {
    let reseller = match reseller {
        None | Some("*") => None,
        Some("~") => Some(caller.own_reseller()?),
        Some(name) => Some(name.to_owned()),
    };
    if let Some(name) = &reseller
        && caller.scope != Scope::SuperUser
        && caller.reseller != *name
    {
        return Err(ApiError::forbidden(
            "This reseller is not within the reach of the key.",
        ));
    }
    let domain = match domain {
        None | Some("*") => None,
        Some("~") => Some(caller.own_domain()?),
        Some(name) => {
            domain_within_reach(state, caller, name).await?;
            Some(name.to_owned())
        }
    };
    match (domain, reseller) {
        (None, None) => Ok(caller.reach()),
        // An Office Manager that names the own reseller still sees the own domain alone.
        (None, Some(name)) if caller.at_least(Scope::Reseller) => Ok(Reach::Reseller(name)),
        (None, Some(_)) => Ok(caller.reach()),
        (Some(domain), None) => Ok(Reach::Domain(domain)),
        (Some(domain), Some(name)) => {
            let owned = state
                .find_domain(&domain)
                .await?
                .is_some_and(|found| found.reseller == name);
            // Both must hold; an empty name fits no domain.
            Ok(Reach::Domain(if owned { domain } else { String::new() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_lists() {
        let key = |list: &str| ApiKey {
            ip_address: list.into(),
            ..ApiKey::default()
        };
        let allowed = |list: &str, from: &str| address_allowed(&key(list), from.parse().unwrap());
        assert!(allowed("", "192.0.2.1"));
        assert!(allowed("10.211.55.0/24, 127.0.0.1", "10.211.55.9"));
        assert!(!allowed("10.211.55.0/24,127.0.0.1", "10.211.56.9"));
        assert!(allowed("2001:db8::/32", "2001:db8:1::1"));
        assert!(!allowed("2001:db8::/32", "192.0.2.1"));
        assert!(!allowed("nonsense", "192.0.2.1"));
    }

    #[test]
    fn bearer_tokens() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned).ok()
        };
        assert_eq!(with("Bearer abc"), Some("abc".into()));
        assert_eq!(with("bearer  abc "), Some("abc".into()));
        assert_eq!(with("Basic abc"), None);
        assert_eq!(with("Bearer"), None);
    }
}
