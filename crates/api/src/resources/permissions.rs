//! Permissions: the lines of a dial policy. The most specific one that covers a destination decides.

use model::{DialPolicy, DialPolicyKey, Permission, PermissionKey, PermissionMode, Scope, Words};
use store::{Page, PermissionFilter};

use crate::call::{Call, Reply, Secrets};
use crate::checks;
use crate::errors::ApiError;
use crate::table::{ACCEPTED, Access, Base, Body, Field, Operation, Star, Verb, many, one};

use super::common::{DOMAIN_OWNER, MAX_NAME_CHARS, SYNCHRONOUS};
use super::dial_policies::{GROUP, MODEL, OWN_PATH, policy_of};

const PLACE: &[Field] = &[
    Field::text("dialpolicy", "The policy the permission stands in.").length(0, MAX_NAME_CHARS),
    DOMAIN_OWNER,
];
const MATCH: &[Field] = &[Field::text(
    "permission-match",
    "Destinations the permission is about, as a pattern. It cannot change.",
)
.example("sip:1900*@*")
.check(checks::match_pattern)];
const SAYS: &[Field] = &[
    Field::words(
        "permission-mode",
        PermissionMode::WORDS,
        "Whether these destinations may be called.",
    ),
    Field::text("permission-reason", "Why, for people."),
];
const KEPT: &[Field] = &[
    Field::text("created-datetime", "When the permission was made, UTC.").read_only(),
    Field::text(
        "permission-id",
        "Id of the permission for paths: its pattern in base64.",
    )
    .length(0, 1_024)
    .read_only(),
];

const RECORD: Body = Body {
    schema: "Permission",
    fields: &[PLACE, MATCH, SAYS, KEPT],
    required: &[
        "dialpolicy",
        "permission-match",
        "permission-mode",
        "permission-reason",
        "permission-id",
    ],
};
const CREATE: Body = Body {
    schema: "PermissionCreate",
    fields: &[SYNCHRONOUS, MATCH, SAYS],
    required: &["permission-match", "permission-mode", "permission-reason"],
};
const UPDATE: Body = Body {
    schema: "PermissionUpdate",
    fields: &[SAYS, MATCH],
    required: &[],
};

const LIST_PATH: &str = "/domains/{domain}/dialpolicy/{policy}/permission";
const ONE_PATH: &str = "/domains/{domain}/dialpolicy/{policy}/permission/{id}";

const LIST: Operation = Operation {
    id: "listDomainPermissions",
    method: Verb::Get,
    base: Base::NsApi,
    path: LIST_PATH,
    group: GROUP,
    summary: "Permissions of a tenant's policy",
    description: "",
    model: MODEL,
    access: Access::AtLeast(Scope::OfficeManager),
    star: Star::Global,
    query: &[],
    body: None,
    answers: &[many(RECORD)],
    failures: &[404],
    handler: |call| Box::pin(list(call)),
};
const CREATE_ONE: Operation = Operation {
    id: "createDomainPermission",
    method: Verb::Post,
    summary: "Add a permission to a tenant's policy",
    access: Access::AtLeast(Scope::Reseller),
    body: Some(CREATE),
    answers: &[one(RECORD), ACCEPTED],
    failures: &[404, 409],
    handler: |call| Box::pin(create(call)),
    ..LIST
};
const READ_ONE: Operation = Operation {
    id: "readDomainPermission",
    path: ONE_PATH,
    summary: "One permission of a tenant's policy",
    answers: &[one(RECORD)],
    handler: |call| Box::pin(read(call)),
    ..LIST
};
const UPDATE_ONE: Operation = Operation {
    id: "updateDomainPermission",
    method: Verb::Put,
    summary: "Change what a permission of a tenant's policy says",
    access: Access::AtLeast(Scope::Reseller),
    body: Some(UPDATE),
    answers: &[ACCEPTED],
    handler: |call| Box::pin(update(call)),
    ..READ_ONE
};
const DELETE_ONE: Operation = Operation {
    id: "deleteDomainPermission",
    method: Verb::Delete,
    summary: "Delete a permission of a tenant's policy",
    body: None,
    handler: |call| Box::pin(delete(call)),
    ..UPDATE_ONE
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    LIST,
    CREATE_ONE,
    READ_ONE,
    UPDATE_ONE,
    DELETE_ONE,
    Operation {
        id: "listPermissions",
        path: "/dialpolicy/{policy}/permission",
        summary: "Permissions of a policy",
        description: OWN_PATH,
        ..LIST
    },
    Operation {
        id: "createPermission",
        path: "/dialpolicy/{policy}/permission",
        summary: "Add a permission to a policy",
        description: OWN_PATH,
        ..CREATE_ONE
    },
    Operation {
        id: "readPermission",
        path: "/dialpolicy/{policy}/permission/{id}",
        summary: "One permission",
        description: OWN_PATH,
        ..READ_ONE
    },
    Operation {
        id: "updatePermission",
        path: "/dialpolicy/{policy}/permission/{id}",
        summary: "Change what a permission says",
        description: OWN_PATH,
        ..UPDATE_ONE
    },
    Operation {
        id: "deletePermission",
        path: "/dialpolicy/{policy}/permission/{id}",
        summary: "Delete a permission",
        description: OWN_PATH,
        ..DELETE_ONE
    },
];

/// The permission a path names. An id that cannot be read names nothing.
fn key_of(call: &Call, writes: bool) -> Result<PermissionKey, ApiError> {
    let DialPolicyKey { domain, dialpolicy } = policy_of(call, writes)?;
    let permission_match = Permission::match_of(call.place("id"))
        .ok_or_else(|| ApiError::not_found("There is no permission with this id."))?;
    Ok(PermissionKey {
        domain,
        dialpolicy,
        permission_match,
    })
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    let policy = policy_of(&call, false)?;
    let found: Vec<Permission> = call
        .state
        .read(move |reader| {
            reader.require::<DialPolicy>(&policy)?;
            let filter = PermissionFilter {
                domain: Some(policy.domain),
                dialpolicy: Some(policy.dialpolicy),
            };
            reader.list(&filter, Page::all())
        })
        .await?;
    Reply::list(&RECORD, &found, Secrets::Hidden)
}

async fn read(call: Call) -> Result<Reply, ApiError> {
    let key = key_of(&call, false)?;
    let permission: Permission = call.state.read(move |reader| reader.require(&key)).await?;
    Reply::one(&RECORD, &permission, Secrets::Hidden)
}

async fn create(call: Call) -> Result<Reply, ApiError> {
    let policy = policy_of(&call, true)?;
    let synchronous = call.body.yes("synchronous");
    let mut permission: Permission = call.fresh(&CREATE)?;
    permission.domain = policy.domain;
    permission.dialpolicy = policy.dialpolicy;
    let actor = call.actor();
    let permission = call
        .state
        .commit(move |writer| Ok(writer.insert(&actor, permission)?))
        .await?;
    Reply::created(&RECORD, &permission, synchronous)
}

async fn update(call: Call) -> Result<Reply, ApiError> {
    let key = key_of(&call, true)?;
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let before: Permission = writer.require(&key)?;
            let after: Permission = call.overlay(&UPDATE, &before, &["permission-match"])?;
            writer.update(&call.actor(), after)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn delete(call: Call) -> Result<Reply, ApiError> {
    let key = key_of(&call, true)?;
    let actor = call.actor();
    call.state
        .commit(move |writer| {
            writer.delete::<Permission>(&actor, &key)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}
