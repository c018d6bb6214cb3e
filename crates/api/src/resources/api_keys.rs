//! API keys: credentials of machines, handed down from higher scopes to lower ones.

use model::{AllowedModels, ApiKey, Domain, Scope};
use store::{ApiKeyFilter, Page, Reader};

use crate::access::{self, Caller};
use crate::call::{Call, Reply, Secrets, present};
use crate::checks;
use crate::errors::ApiError;
use crate::keys;
use crate::table::{ACCEPTED, Access, Base, Body, Field, Kind, Operation, Star, Verb, many, one};

use super::models::MODELS;

const GROUP: &str = "Authentication/API Key (Machine 2 Machine)";
/// Scopes a key can have, in the contract's order.
const SCOPES: &[&str] = &[
    "Basic User",
    "Simple User",
    "Advanced User",
    "Call Center Agent",
    "Call Center Supervisor",
    "Office Manager",
    "Reseller",
    "Super User",
    "NDP",
];

const DESCRIPTION: &[Field] = &[Field::text(
    "description",
    "What the key is for, so that it can be judged later.",
)
.length(12, 512)
.example("Used by the billing system")];
const ID: &[Field] = &[Field::text(
    "key-id",
    "First twelve characters of the key: its public name.",
)
.length(12, 12)
.read_only()];
const KEY: &[Field] = &[Field::text(
    "key",
    "The key itself. This answer is the only place where it is ever shown.",
)
.read_only()];
const REACH: &[Field] = &[
    Field::text(
        "reseller",
        "Reseller the key is limited to; * for all, ~ for that of the key in use.",
    )
    .default("*")
    .length(1, 64),
    Field::text("user", "User the key acts for.")
        .length(0, 64)
        .example("1000"),
    Field::text(
        "domain",
        "Tenant the key is limited to; * for all, ~ for that of the key in use.",
    )
    .pattern("^[A-Za-z0-9._-]+|\\*")
    .length(1, 64)
    .value_aliases(&[("~", "~")])
    .check(checks::domain_or_star),
    Field::words(
        "user-scope",
        SCOPES,
        "What the key may do; always less than the key that makes it. Left out: what fits its reach.",
    ),
];
const ADDRESSES: &[Field] = &[Field::text(
    "ip-address",
    "Addresses and networks the key may be used from, comma separated. Empty: from anywhere.",
)
.example("192.0.2.1,2001:db8::/32")
.length(0, 2_048)
.check(checks::address_list)];
const RIGHTS: &[Field] = &[
    Field::yes_no("readonly", "Whether the key may only read.").default("no"),
    Field::yes_no(
        "can-create-keys",
        "Whether the key may make, change and revoke keys of lower scope.",
    )
    .default("no"),
];
const ALLOWED: &[Field] = &[Field::new(
    "allowed-models",
    Kind::WordList(MODELS),
    "Nouns the key may touch: *, one of them, or a list.",
)
.default("*")];
const TIMES: &[Field] = &[
    Field::text("created-datetime", "When the key was made.").read_only(),
    Field::text(
        "lastused-datetime",
        "The hour the key was last used in; null before its first use.",
    )
    .read_only()
    .nullable(),
];

const RECORD: Body = Body {
    schema: "ApiKey",
    fields: &[DESCRIPTION, ID, REACH, ADDRESSES, RIGHTS, ALLOWED, TIMES],
    required: &["description", "key-id", "reseller", "domain"],
};
const WITH_KEY: Body = Body {
    schema: "ApiKeyWithKey",
    fields: &[
        DESCRIPTION,
        ID,
        KEY,
        REACH,
        ADDRESSES,
        RIGHTS,
        ALLOWED,
        TIMES,
    ],
    required: &["description", "key-id", "reseller", "domain"],
};
const CREATE: Body = Body {
    schema: "ApiKeyCreate",
    fields: &[DESCRIPTION, REACH, ADDRESSES, RIGHTS, ALLOWED, TIMES],
    required: &["description", "reseller", "domain"],
};
const UPDATE: Body = Body {
    schema: "ApiKeyUpdate",
    fields: &[DESCRIPTION, ADDRESSES, ALLOWED, REACH, RIGHTS, TIMES],
    required: &[],
};
/// What a key keeps for life.
const KEYS: &[&str] = &[
    "reseller",
    "user",
    "domain",
    "user-scope",
    "readonly",
    "can-create-keys",
];

const LIST: Operation = Operation {
    id: "listApiKeys",
    method: Verb::Get,
    base: Base::NsApi,
    path: "/apikeys",
    group: GROUP,
    summary: "Keys within reach",
    description: "The key in use, and keys of lower scope within the same tenants.",
    model: "apikey",
    access: Access::AnyKey,
    star: Star::Refused,
    query: &[],
    body: None,
    answers: &[many(RECORD)],
    failures: &[],
    handler: |call| Box::pin(list(call)),
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        id: "readOwnApiKey",
        path: "/apikeys/~",
        summary: "The key in use",
        description: "",
        // A key may always ask about itself, whatever it is limited to.
        model: "",
        answers: &[one(WITH_KEY)],
        handler: |call| Box::pin(read_own(call)),
        ..LIST
    },
    LIST,
    Operation {
        id: "readApiKey",
        path: "/apikeys/{key_id}",
        summary: "One key by its id",
        description: "The answer is a list with this key alone. A key out of reach is the same as none: 404.",
        failures: &[404],
        handler: |call| Box::pin(read(call)),
        ..LIST
    },
    Operation {
        id: "updateApiKey",
        method: Verb::Put,
        path: "/apikeys/{key_id}",
        summary: "Change description, addresses or nouns of a key",
        description: "Everything else stays for the life of the key.",
        body: Some(UPDATE),
        answers: &[ACCEPTED],
        failures: &[404],
        handler: |call| Box::pin(update(call)),
        ..LIST
    },
    Operation {
        id: "revokeApiKey",
        method: Verb::Delete,
        path: "/apikeys/{key_id}",
        summary: "Revoke a key",
        description: "The next request with it is refused.",
        answers: &[ACCEPTED],
        failures: &[404],
        handler: |call| Box::pin(revoke(call)),
        ..LIST
    },
    Operation {
        id: "createApiKey",
        method: Verb::Post,
        summary: "Make a key",
        description: "The answer holds the key. It cannot be had again.",
        body: Some(CREATE),
        answers: &[one(WITH_KEY)],
        handler: |call| Box::pin(create(call)),
        ..LIST
    },
];

/// Who may see or change which keys: oneself, and lower scopes in the same tenants.
fn visible(reader: &Reader<'_>, caller: &Caller, key: &ApiKey) -> store::Result<bool> {
    if key.key_id == caller.key_id {
        return Ok(true);
    }
    if !caller.at_least(Scope::OfficeManager) || !caller.scope.outranks(key.user_scope) {
        return Ok(false);
    }
    match caller.scope {
        Scope::SuperUser => Ok(true),
        // A tenant may have changed hands since the key was made; the tenant's record decides.
        Scope::Reseller if key.domain != "*" => Ok(reader
            .read::<Domain>(&key.domain)?
            .is_some_and(|domain| domain.reseller == caller.reseller)),
        Scope::Reseller => Ok(key.reseller == caller.reseller),
        _ => Ok(key.domain == caller.domain),
    }
}

/// The key of the path, when the caller may know of it.
fn require(reader: &Reader<'_>, call: &Call) -> Result<ApiKey, ApiError> {
    let id = match call.place("key_id") {
        "~" => call.caller.key_id.as_str(),
        id => id,
    };
    match reader.read::<ApiKey>(&id.to_owned())? {
        Some(key) if visible(reader, &call.caller, &key)? => Ok(key),
        _ => Err(ApiError::not_found("There is no such key.")),
    }
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller.clone();
    let found: Vec<ApiKey> = call
        .state
        .read(move |reader| {
            let filter = match caller.scope {
                Scope::SuperUser | Scope::Reseller => ApiKeyFilter::default(),
                _ => ApiKeyFilter {
                    domain: Some(caller.domain.clone()),
                    ..ApiKeyFilter::default()
                },
            };
            let mut found = Vec::new();
            for key in reader.list::<ApiKey>(&filter, Page::all())? {
                if visible(reader, &caller, &key)? {
                    found.push(key);
                }
            }
            Ok(found)
        })
        .await?;
    Reply::list(&RECORD, &found, Secrets::Hidden)
}

async fn read_own(call: Call) -> Result<Reply, ApiError> {
    let id = call.caller.key_id.clone();
    let key: ApiKey = call.state.read(move |reader| reader.require(&id)).await?;
    Reply::one(&RECORD, &key, Secrets::Hidden)
}

async fn read(call: Call) -> Result<Reply, ApiError> {
    let state = call.state.clone();
    let found = state
        .read(move |reader| Ok(require(reader, &call)))
        .await??;
    Reply::list(&RECORD, &[found], Secrets::Hidden)
}

fn may_manage(caller: &Caller) -> Result<(), ApiError> {
    if caller.can_create_keys {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "Keys are managed with a key that has can-create-keys.",
    ))
}

/// A key hands down no noun it may not touch itself.
fn models_within(caller: &Caller, wanted: &AllowedModels) -> Result<(), ApiError> {
    let names = match wanted {
        AllowedModels::One(name) => std::slice::from_ref(name),
        AllowedModels::Many(names) => names.as_slice(),
    };
    match names.iter().find(|name| !caller.models.allows(name)) {
        None => Ok(()),
        Some(name) => Err(ApiError::forbidden(format!(
            "allowed-models: this key may not hand down {name:?}."
        ))),
    }
}

async fn update(call: Call) -> Result<Reply, ApiError> {
    may_manage(&call.caller)?;
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let before = require(writer, &call)?;
            let after: ApiKey = call.overlay(&UPDATE, &before, KEYS)?;
            if after.allowed_models != before.allowed_models {
                models_within(&call.caller, &after.allowed_models)?;
            }
            writer.update(&call.actor(), after)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn revoke(call: Call) -> Result<Reply, ApiError> {
    may_manage(&call.caller)?;
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let key = require(writer, &call)?;
            writer.delete::<ApiKey>(&call.actor(), &key.key_id)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn create(mut call: Call) -> Result<Reply, ApiError> {
    may_manage(&call.caller)?;
    if call.body.text("domain") == "~" {
        call.body
            .values
            .insert("domain".into(), call.caller.own_domain()?.into());
    }
    if call.body.text("reseller") == "~" {
        call.body
            .values
            .insert("reseller".into(), call.caller.own_reseller()?.into());
    }
    let scope_given = call.body.values.contains_key("user-scope");
    let mut key: ApiKey = call.fresh(&CREATE)?;
    if !scope_given {
        key.user_scope = fitting_scope(&key);
    }
    check_reach(&call, &mut key).await?;
    if !call.caller.scope.outranks(key.user_scope) {
        return Err(ApiError::forbidden(format!(
            "user-scope: a key of the scope {} makes keys of lower scope only.",
            call.caller.scope
        )));
    }
    models_within(&call.caller, &key.allowed_models)?;
    let new = keys::generate(key.user_scope);
    key.key_id.clone_from(&new.key_id);
    let actor = call.actor();
    let hash = new.hash;
    let stored = call
        .state
        .commit(move |writer| Ok(writer.insert_api_key(&actor, key, &hash)?))
        .await?;
    let mut shown = present(&WITH_KEY, &stored, Secrets::Hidden)?;
    shown["key"] = new.key.into();
    Ok(Reply::ok(shown))
}

/// The scope of a key that does not say: as wide as its reach, no wider.
fn fitting_scope(key: &ApiKey) -> Scope {
    if !key.user.is_empty() {
        Scope::BasicUser
    } else if key.domain != "*" {
        Scope::OfficeManager
    } else {
        Scope::Reseller
    }
}

/// The new key stays within the reach of the one that makes it, and names what exists.
async fn check_reach(call: &Call, key: &mut ApiKey) -> Result<(), ApiError> {
    let caller = &call.caller;
    if key.domain == "*" {
        match key.user_scope {
            Scope::Reseller if key.reseller == "*" => {
                return Err(ApiError::bad_request(
                    "reseller: a key of the scope Reseller needs one reseller.",
                ));
            }
            Scope::Reseller
                if caller.scope != Scope::SuperUser && caller.reseller != key.reseller =>
            {
                return Err(ApiError::forbidden(
                    "This reseller is not within the reach of the key.",
                ));
            }
            Scope::Reseller | Scope::SuperUser | Scope::Ndp if caller.scope == Scope::SuperUser => {
                return Ok(());
            }
            Scope::Reseller | Scope::SuperUser | Scope::Ndp => return Err(access::foreign_domain()),
            scope => {
                return Err(ApiError::bad_request(format!(
                    "domain: a key of the scope {scope} needs one domain."
                )));
            }
        }
    }
    access::domain_within_reach(&call.state, caller, &key.domain).await?;
    let Some(domain) = call.state.find_domain(&key.domain).await? else {
        return Err(ApiError::bad_request(format!(
            "domain: {:?} does not exist.",
            key.domain
        )));
    };
    if key.reseller == "*" {
        key.reseller.clone_from(&domain.reseller);
    }
    if key.reseller != domain.reseller {
        return Err(ApiError::bad_request(format!(
            "reseller: {:?} does not own the domain.",
            key.reseller
        )));
    }
    let of_a_user = Scope::AdvancedUser.rank() >= key.user_scope.rank()
        && key.user_scope.rank() > Scope::Ndp.rank();
    if of_a_user && key.user.is_empty() {
        return Err(ApiError::bad_request(format!(
            "user: is required for the scope {}.",
            key.user_scope
        )));
    }
    Ok(())
}
