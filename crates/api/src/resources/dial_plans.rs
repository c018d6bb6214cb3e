//! Dial plans: named lists of rules, of a tenant or of the whole system.

use model::{DialPlan, DialPlanKey, Scope};

use crate::access;
use crate::call::{Call, Reply, Secrets};
use crate::errors::ApiError;
use crate::table::{ACCEPTED, Access, Base, Body, Field, Operation, Star, Verb, many};

use super::common::{DOMAIN_OWNER, MAX_NAME_CHARS, plan_name, visible};

const GROUP: &str = "Dialrule";

const NUMBER: &[Field] = &[Field::integer(
    "dialplan_id",
    0,
    "A number for clients that want one; paths use the name.",
)
.read_only()];
const OWNER: &[Field] = &[DOMAIN_OWNER];
const NAME: &[Field] = &[Field::text(
    "dial-rule-dial-plan",
    "Name of the plan, unique within its owner. It cannot change.",
)
.length(1, MAX_NAME_CHARS)
.check(plan_name)];
const LABEL: &[Field] =
    &[Field::text("dial-rule-description", "A label for people.").aliases(&["plan_description"])];

const RECORD: Body = Body {
    schema: "DialPlan",
    fields: &[NUMBER, OWNER, NAME, LABEL],
    required: &["domain", "dial-rule-dial-plan", "dial-rule-description"],
};
const CREATE_ANYWHERE: Body = Body {
    schema: "DialPlanCreate",
    fields: &[OWNER, NAME, LABEL],
    required: &["domain", "dial-rule-dial-plan", "dial-rule-description"],
};
const CREATE: Body = Body {
    schema: "DomainDialPlanCreate",
    fields: &[NAME, LABEL, OWNER],
    required: &["dial-rule-dial-plan", "dial-rule-description"],
};
const UPDATE: Body = Body {
    schema: "DialPlanUpdate",
    fields: &[LABEL, OWNER, NAME],
    required: &["dial-rule-description"],
};

const LIST: Operation = Operation {
    id: "listDialPlans",
    method: Verb::Get,
    base: Base::NsApi,
    path: "/dialplans",
    group: GROUP,
    summary: "Dial plans within reach",
    description: "",
    model: "dialplan",
    access: Access::AtLeast(Scope::OfficeManager),
    star: Star::Global,
    query: &[],
    body: None,
    answers: &[many(RECORD)],
    failures: &[],
    handler: |call| Box::pin(list(call)),
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    LIST,
    Operation {
        id: "createDialPlan",
        method: Verb::Post,
        summary: "Create a dial plan for any owner",
        description: "The owner is in the body; only a Super User gives it to the whole system.",
        body: Some(CREATE_ANYWHERE),
        answers: &[ACCEPTED],
        failures: &[409],
        handler: |call| Box::pin(create(call)),
        ..LIST
    },
    Operation {
        id: "createDomainDialPlan",
        method: Verb::Post,
        path: "/domains/{domain}/dialplans",
        summary: "Create a dial plan of a tenant",
        body: Some(CREATE),
        answers: &[ACCEPTED],
        failures: &[404, 409],
        handler: |call| Box::pin(create(call)),
        ..LIST
    },
    Operation {
        id: "updateDialPlan",
        method: Verb::Put,
        path: "/domains/{domain}/dialplans/{dialplan}",
        summary: "Change the label of a dial plan",
        body: Some(UPDATE),
        answers: &[ACCEPTED],
        failures: &[404],
        handler: |call| Box::pin(update(call)),
        ..LIST
    },
    Operation {
        id: "deleteDialPlan",
        method: Verb::Delete,
        path: "/domains/{domain}/dialplans/{dialplan}",
        summary: "Delete a dial plan and its rules",
        answers: &[ACCEPTED],
        failures: &[404],
        handler: |call| Box::pin(delete(call)),
        ..LIST
    },
];

async fn list(call: Call) -> Result<Reply, ApiError> {
    let found: Vec<DialPlan> = visible(&call).await?;
    Reply::list(&RECORD, &found, Secrets::Hidden)
}

/// Both creates: the owner is in the path or in the body.
async fn create(call: Call) -> Result<Reply, ApiError> {
    let written = call.body.text("domain");
    let domain = if call.domain.is_empty() {
        access::body_domain(&call.state, &call.caller, written).await?
    } else if written.is_empty() || written == "~" || written == call.domain {
        call.domain.clone()
    } else {
        return Err(ApiError::bad_request(format!(
            "domain: {written:?} is not the domain of the path."
        )));
    };
    let mut plan: DialPlan = call.fresh(&CREATE)?;
    plan.domain = domain;
    let in_path = !call.domain.is_empty();
    let actor = call.actor();
    call.state
        .commit(move |writer| {
            if !writer.owner_exists(&plan.domain)? {
                let message = format!("domain: {:?} does not exist.", plan.domain);
                return Err(if in_path {
                    ApiError::not_found(message)
                } else {
                    ApiError::bad_request(message)
                });
            }
            writer.insert(&actor, plan)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

fn key_of(call: &Call) -> DialPlanKey {
    DialPlanKey::new(&*call.domain, call.place("dialplan"))
}

async fn update(call: Call) -> Result<Reply, ApiError> {
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let before: DialPlan = writer.require(&key_of(&call))?;
            let after: DialPlan =
                call.overlay(&UPDATE, &before, &["domain", "dial-rule-dial-plan"])?;
            writer.update(&call.actor(), after)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn delete(call: Call) -> Result<Reply, ApiError> {
    let state = call.state.clone();
    state
        .commit(move |writer| {
            writer.delete::<DialPlan>(&call.actor(), &key_of(&call))?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}
