//! Domains: the tenants.

use model::{Domain, Scope};
use store::{DomainFilter, Page, Reader};

use crate::access::Reach;
use crate::call::{Call, Reply, Secrets};
use crate::errors::ApiError;
use crate::table::{ACCEPTED, Access, Base, Field, Kind, Operation, Star, TOTAL, Verb, many, one};

use super::common::{DEFAULT_LIMIT, MAX_LIMIT, START};
use super::dial_policies;
use super::domains_fields::{CREATE, RECORD, UPDATE};

const GROUP: &str = "Domains";

const PAGE: &[Field] = &[
    START,
    Field::new(
        "limit",
        Kind::Integer {
            min: 1,
            max: MAX_LIMIT as i64,
        },
        "How many rows at most.",
    )
    .default("100"),
];

const READ: Operation = Operation {
    id: "readDomain",
    method: Verb::Get,
    base: Base::NsApi,
    path: "/domains/{domain}",
    group: GROUP,
    summary: "One tenant",
    description: "",
    model: "domain",
    access: Access::AtLeast(Scope::BasicUser),
    star: Star::Refused,
    query: &[],
    body: None,
    answers: &[one(RECORD)],
    failures: &[404],
    handler: |call| Box::pin(read(call)),
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        id: "listDomains",
        path: "/domains",
        summary: "Tenants within reach",
        query: PAGE,
        answers: &[many(RECORD)],
        failures: &[],
        handler: |call| Box::pin(list(call)),
        ..READ
    },
    Operation {
        id: "createDomain",
        method: Verb::Post,
        path: "/domains",
        summary: "Create a tenant",
        description: "A dial plan of the same name comes with it; it hands every call to the system's plan of features.",
        access: Access::AtLeast(Scope::Reseller),
        body: Some(CREATE),
        answers: &[one(RECORD), ACCEPTED],
        failures: &[409],
        handler: |call| Box::pin(create(call)),
        ..READ
    },
    Operation {
        id: "countDomains",
        path: "/domains/count",
        summary: "Number of tenants within reach",
        answers: &[TOTAL],
        failures: &[],
        handler: |call| Box::pin(count(call)),
        ..READ
    },
    READ,
    Operation {
        id: "updateDomain",
        method: Verb::Put,
        summary: "Change a tenant",
        description: "Fields that are left out keep their values.",
        access: Access::AtLeast(Scope::OfficeManager),
        body: Some(UPDATE),
        answers: &[ACCEPTED],
        handler: |call| Box::pin(update(call)),
        ..READ
    },
    Operation {
        id: "deleteDomain",
        method: Verb::Delete,
        summary: "Delete a tenant and all it owns",
        access: Access::AtLeast(Scope::Reseller),
        answers: &[ACCEPTED],
        handler: |call| Box::pin(delete(call)),
        ..READ
    },
    Operation {
        id: "readDomainBilling",
        path: "/domains/{domain}/billing",
        summary: "One tenant with what is counted for its bill",
        access: Access::AtLeast(Scope::OfficeManager),
        ..READ
    },
    Operation {
        id: "readOwnDomain",
        path: "/domains/~",
        summary: "The tenant of the key",
        failures: &[400, 404],
        handler: |call| Box::pin(read_own(call)),
        ..READ
    },
    Operation {
        id: "domainExists",
        path: "/domains/{domain}/count",
        summary: "Whether a tenant exists",
        description: "1, or 404.",
        answers: &[TOTAL],
        handler: |call| Box::pin(exists(call)),
        ..READ
    },
];

fn filter_of(reach: Reach) -> DomainFilter {
    match reach {
        Reach::All => DomainFilter::default(),
        Reach::Reseller(name) => DomainFilter {
            reseller: Some(name),
            ..DomainFilter::default()
        },
        Reach::Domain(name) => DomainFilter {
            domain: Some(name),
            ..DomainFilter::default()
        },
    }
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    let start = call.query.number("start").unwrap_or(0);
    let rows = call
        .query
        .number("limit")
        .and_then(|limit| u32::try_from(limit).ok())
        .unwrap_or(DEFAULT_LIMIT as u32);
    let filter = filter_of(call.caller.reach());
    let mut found: Vec<Domain> = call
        .state
        .read(move |reader| reader.list(&filter, Page::new(start, rows)))
        .await?;
    fill_in(&call, &mut found).await;
    Reply::list(&RECORD, &found, Secrets::Hidden)
}

/// Puts in what is not stored in the record: the calls that are up.
async fn fill_in(call: &Call, domains: &mut [Domain]) {
    let names = domains.iter().map(|domain| domain.domain.clone());
    let calls = call.state.domain_calls(names.collect()).await;
    for (domain, now) in domains.iter_mut().zip(calls) {
        domain.active_calls_total_current = now.total;
        // No leg of a call is on another node, so a licence would count each call.
        domain.active_calls_against_license_count = now.total;
        domain.active_calls_offnet_current = now.offnet;
    }
}

async fn count(call: Call) -> Result<Reply, ApiError> {
    let filter = filter_of(call.caller.reach());
    let total = call
        .state
        .read(move |reader| reader.count::<Domain>(&filter))
        .await?;
    Ok(Reply::total(total))
}

async fn read(call: Call) -> Result<Reply, ApiError> {
    let name = call.domain.clone();
    show(call, name).await
}

async fn read_own(call: Call) -> Result<Reply, ApiError> {
    let name = call.caller.own_domain()?;
    show(call, name).await
}

async fn show(call: Call, name: String) -> Result<Reply, ApiError> {
    let mut domain: Domain = call.state.read(move |reader| reader.require(&name)).await?;
    fill_in(&call, std::slice::from_mut(&mut domain)).await;
    let may_write = call.caller.at_least(Scope::OfficeManager) && !call.caller.readonly;
    let secrets = if may_write {
        Secrets::Shown
    } else {
        Secrets::Hidden
    };
    Reply::one(&RECORD, &domain, secrets)
}

async fn exists(call: Call) -> Result<Reply, ApiError> {
    let name = call.domain.clone();
    if call
        .state
        .read(move |reader| reader.exists::<Domain>(&name))
        .await?
    {
        return Ok(Reply::total(1));
    }
    Err(ApiError::not_found(format!("domain {} does not exist.", call.domain)).with_error_key())
}

/// The reseller a body names: within reach, after `~`.
fn reseller_of(call: &Call) -> Result<String, ApiError> {
    let written = match call.body.text("reseller") {
        "~" => call.caller.own_reseller()?,
        "*" => {
            return Err(ApiError::bad_request(
                "reseller: \"*\" is not one reseller; give its name.",
            ));
        }
        name => name.to_owned(),
    };
    if call.caller.scope != Scope::SuperUser && written != call.caller.reseller {
        return Err(ApiError::forbidden(
            "This reseller is not within the reach of the key.",
        ));
    }
    Ok(written)
}

async fn create(mut call: Call) -> Result<Reply, ApiError> {
    let reseller = reseller_of(&call)?;
    call.body.values.insert("reseller".into(), reseller.into());
    let synchronous = call.body.yes("synchronous");
    let domain: Domain = call.fresh(&CREATE)?;
    let actor = call.actor();
    let domain = call
        .state
        .commit(move |writer| {
            // Hosts compare without case, so two tenants must differ in more.
            if let Some(twin) = writer
                .all_domains()?
                .iter()
                .find(|name| name.eq_ignore_ascii_case(&domain.domain))
            {
                return Err(ApiError::conflict(format!("domain {twin} exists already.")));
            }
            check_policy(writer, &domain, "")?;
            Ok(writer.insert(&actor, domain)?)
        })
        .await?;
    Reply::created(&RECORD, &domain, synchronous)
}

async fn update(mut call: Call) -> Result<Reply, ApiError> {
    if call.caller.at_least(Scope::Reseller) && call.body.values.contains_key("reseller") {
        let reseller = reseller_of(&call)?;
        call.body.values.insert("reseller".into(), reseller.into());
    }
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let before: Domain = writer.require(&call.domain)?;
            let after: Domain = call.overlay(&UPDATE, &before, &["domain"])?;
            check_policy(writer, &after, &before.dial_policy)?;
            writer.update(&call.actor(), after)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

/// A policy that is newly named must exist. One that was named before may be gone meanwhile.
fn check_policy(reader: &Reader<'_>, domain: &Domain, before: &str) -> Result<(), ApiError> {
    let named = &domain.dial_policy;
    if named != before && !dial_policies::may_name(reader, &domain.domain, named)? {
        return Err(ApiError::bad_request(format!(
            "dial-policy: {named:?} is no policy of this domain or of the system; {} and nothing permit everything.",
            model::PERMIT_ALL
        )));
    }
    Ok(())
}

async fn delete(call: Call) -> Result<Reply, ApiError> {
    let actor = call.actor();
    let name = call.domain.clone();
    call.state
        .commit(move |writer| {
            writer.delete::<Domain>(&actor, &name)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}
