//! Dial policies: named tables of the destinations that may be called outside.

use model::{DialPolicy, DialPolicyKey, SYSTEM_DOMAIN, Scope};
use store::Reader;

use crate::access;
use crate::call::{Call, Reply, Secrets};
use crate::errors::ApiError;
use crate::table::{ACCEPTED, Access, Base, Body, Field, Operation, Star, Verb, many, one};

use super::common::{DOMAIN_OWNER, MAX_NAME_CHARS, SYNCHRONOUS, policy_name, visible};

/// The group's name in the contract, spelled as there.
pub(super) const GROUP: &str = "Dial Permisions";
/// The noun that `allowed-models` of a key names.
pub(super) const MODEL: &str = "dialpolicy";

const FIELDS: &[Field] = &[
    Field::text(
        "dialpolicy",
        "Name of the policy, unique within its owner. It cannot change.",
    )
    .length(1, MAX_NAME_CHARS)
    .example("US and Canada")
    .check(policy_name),
    DOMAIN_OWNER,
    Field::text("description", "A label for people."),
];

const RECORD: Body = Body {
    schema: "DialPolicy",
    fields: &[FIELDS],
    required: &["dialpolicy", "domain", "description"],
};
const CREATE: Body = Body {
    schema: "DialPolicyCreate",
    fields: &[SYNCHRONOUS, FIELDS],
    required: &["dialpolicy", "domain", "description"],
};
const UPDATE: Body = Body {
    schema: "DialPolicyUpdate",
    fields: &[FIELDS],
    required: &[],
};

const LIST: Operation = Operation {
    id: "listDialPolicies",
    method: Verb::Get,
    base: Base::NsApi,
    path: "/dialpolicy",
    group: GROUP,
    summary: "Dial policies within reach",
    description: "",
    model: MODEL,
    access: Access::AtLeast(Scope::OfficeManager),
    star: Star::Global,
    query: &[],
    body: None,
    answers: &[many(RECORD)],
    failures: &[],
    handler: |call| Box::pin(list(call)),
};
const READ: Operation = Operation {
    id: "readDialPolicy",
    path: "/dialpolicy/{policy}",
    summary: "One policy of the key's own tenant, or of the system",
    description: OWN_PATH,
    answers: &[one(RECORD)],
    failures: &[404],
    handler: |call| Box::pin(read(call)),
    ..LIST
};
const UPDATE_OWN: Operation = Operation {
    id: "updateDialPolicy",
    method: Verb::Put,
    summary: "Change the label of a policy",
    access: Access::AtLeast(Scope::Reseller),
    body: Some(UPDATE),
    answers: &[ACCEPTED],
    handler: |call| Box::pin(update(call)),
    ..READ
};
const DELETE_OWN: Operation = Operation {
    id: "deleteDialPolicy",
    method: Verb::Delete,
    summary: "Delete a policy and its permissions",
    description: "A connection that still names it may call nobody outside.",
    body: None,
    handler: |call| Box::pin(delete(call)),
    ..UPDATE_OWN
};

/// Who is meant where the path names no tenant.
pub(super) const OWN_PATH: &str =
    "Without a tenant in the path, that of the key is meant; for a key without one, the system.";
const DOMAIN_PATH: &str = "/domains/{domain}/dialpolicy/{policy}";

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    LIST,
    Operation {
        id: "createDialPolicy",
        method: Verb::Post,
        summary: "Create a dial policy",
        description: "A policy without permissions denies every destination. The owner is in the body; only a Super User \
                      gives it to the whole system.",
        access: Access::AtLeast(Scope::Reseller),
        body: Some(CREATE),
        answers: &[one(RECORD), ACCEPTED],
        failures: &[409],
        handler: |call| Box::pin(create(call)),
        ..LIST
    },
    READ,
    UPDATE_OWN,
    DELETE_OWN,
    Operation {
        id: "readDomainDialPolicy",
        path: DOMAIN_PATH,
        summary: "One policy of a tenant",
        description: "",
        ..READ
    },
    Operation {
        id: "updateDomainDialPolicy",
        path: DOMAIN_PATH,
        summary: "Change the label of a tenant's policy",
        description: "",
        ..UPDATE_OWN
    },
    Operation {
        id: "deleteDomainDialPolicy",
        path: DOMAIN_PATH,
        summary: "Delete a tenant's policy and its permissions",
        ..DELETE_OWN
    },
];

/// The policy a path names; see [`OWN_PATH`].
pub(super) fn policy_of(call: &Call, writes: bool) -> Result<DialPolicyKey, ApiError> {
    let domain = if call.domain.is_empty() {
        let own = call.caller.own_domain().ok();
        let domain = own.unwrap_or_else(|| SYSTEM_DOMAIN.to_owned());
        if domain == SYSTEM_DOMAIN && writes && call.caller.scope != Scope::SuperUser {
            return Err(ApiError::forbidden(
                "Only a Super User writes objects of the whole system.",
            ));
        }
        domain
    } else {
        call.domain.clone()
    };
    Ok(DialPolicyKey::new(domain, call.place("policy")))
}

/// Whether a record of this owner may name this policy: it is its own or the system's, or permits all.
pub(super) fn may_name(reader: &Reader<'_>, domain: &str, policy: &str) -> store::Result<bool> {
    if policy.is_empty() || policy == model::PERMIT_ALL {
        return Ok(true);
    }
    Ok(
        reader.exists::<DialPolicy>(&DialPolicyKey::new(domain, policy))?
            || reader.exists::<DialPolicy>(&DialPolicyKey::new(SYSTEM_DOMAIN, policy))?,
    )
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    let found: Vec<DialPolicy> = visible(&call).await?;
    Reply::list(&RECORD, &found, Secrets::Hidden)
}

async fn read(call: Call) -> Result<Reply, ApiError> {
    let key = policy_of(&call, false)?;
    let policy: DialPolicy = call.state.read(move |reader| reader.require(&key)).await?;
    Reply::one(&RECORD, &policy, Secrets::Hidden)
}

async fn create(call: Call) -> Result<Reply, ApiError> {
    let domain = access::body_domain(&call.state, &call.caller, call.body.text("domain")).await?;
    let synchronous = call.body.yes("synchronous");
    let mut policy: DialPolicy = call.fresh(&CREATE)?;
    policy.domain = domain;
    let actor = call.actor();
    let policy = call
        .state
        .commit(move |writer| {
            if !writer.owner_exists(&policy.domain)? {
                return Err(ApiError::bad_request(format!(
                    "domain: {:?} does not exist.",
                    policy.domain
                )));
            }
            Ok(writer.insert(&actor, policy)?)
        })
        .await?;
    Reply::created(&RECORD, &policy, synchronous)
}

async fn update(mut call: Call) -> Result<Reply, ApiError> {
    let key = policy_of(&call, true)?;
    if call.body.text("domain") == "~" {
        call.body.values.shift_remove("domain");
    }
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let before: DialPolicy = writer.require(&key)?;
            let after: DialPolicy = call.overlay(&UPDATE, &before, &["domain", "dialpolicy"])?;
            writer.update(&call.actor(), after)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn delete(call: Call) -> Result<Reply, ApiError> {
    let key = policy_of(&call, true)?;
    let actor = call.actor();
    call.state
        .commit(move |writer| {
            writer.delete::<DialPolicy>(&actor, &key)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}
