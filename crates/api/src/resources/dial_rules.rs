//! Dial rules: which calls they take, how they rewrite them, who delivers them.

use model::{
    DialPlan, DialPlanKey, DialRule, DialRuleApplication, DialRuleKey, RuleMatching, Scope,
};
use store::{DialRuleFilter, Page};

use crate::call::{Call, Reply, Secrets};
use crate::checks;
use crate::errors::ApiError;
use crate::table::{
    ACCEPTED, Access, Base, Body, Field, Kind, Operation, Star, TOTAL, Verb, many, one,
};

use super::common::{DOMAIN_OWNER, MAX_NAME_CHARS, SYNCHRONOUS};

const SCHEMES: &[&str] = &["[*]", "sip:", "<Null>"];
const SCHEME_SPELLINGS: &[(&str, &str)] = &[("", "[*]"), ("sip", "sip:")];

const PLACE: &[Field] = &[
    DOMAIN_OWNER,
    Field::text("dial-rule-dial-plan", "The plan the rule stands in.")
        .length(0, MAX_NAME_CHARS)
        .aliases(&["dialplan"]),
];
const ID: &[Field] = &[Field::text(
    "dialrule",
    "Id of the rule for paths; made from its seven matching fields.",
)
.length(0, 4_096)];

/// A matching field other than the first.
const fn matching(
    name: &'static str,
    aliases: &'static [&'static str],
    description: &'static str,
) -> Field {
    Field::text(name, description)
        .default("*")
        .aliases(aliases)
        .value_aliases(&[("", "*")])
}

const MATCHING: &[Field] = &[
    Field::text(
        "dial-rule-matching-to-uri",
        "Destinations the rule takes, as a pattern.",
    )
    .aliases(&["matchrule"])
    .example("sip:1??????????@*")
    .check(checks::match_pattern),
    matching(
        "dial-rule-matching-from-uri",
        &["match_from"],
        "Callers the rule takes, as a pattern.",
    )
    .example("sip:????@*")
    .check(checks::match_pattern),
    matching(
        "dial-rule-matching-day-of-week",
        &["dow"],
        "Days the rule holds on: a digit from 0 (Sunday) to 6, or a set.",
    )
    .example("[1-5]")
    .check(checks::day_of_week),
    matching(
        "dial-rule-matching-start-date",
        &["valid_from"],
        "First day the rule holds on.",
    )
    .check(checks::date),
    matching(
        "dial-rule-matching-end-date",
        &["valid_to"],
        "Last day the rule holds on.",
    )
    .check(checks::date),
    matching(
        "dial-rule-matching-start-time",
        &["tod_from"],
        "First minute of the day the rule holds in.",
    )
    .check(checks::time_of_day),
    matching(
        "dial-rule-matching-end-time",
        &["tod_to"],
        "Last minute of the day the rule holds in, itself included.",
    )
    .check(checks::time_of_day),
];

const ACTION: &[Field] = &[
    Field::yes_no("enabled", "Whether the rule takes part at all.").default("yes").aliases(&["enable"]),
    Field::new(
        "dial-rule-application",
        Kind::OpenWords(DialRuleApplication::WORDS),
        "Who delivers the call. A plan's name in angle brackets goes on in that plan; names of version 1 are understood.",
    )
    .aliases(&["responder"])
    .value_aliases(&[("", "to-user")])
    .example("to-connection"),
    Field::text("dial-rule-parameter", "What the application needs beside user and host, such as a header line or a status.")
        .aliases(&["parameter"])
        .default(""),
    Field::words("dial-rule-translation-destination-scheme", SCHEMES, "Scheme the destination gets.")
        .default("[*]")
        .value_aliases(SCHEME_SPELLINGS)
        .aliases(&["to_scheme"]),
    Field::text("dial-rule-translation-destination-user", "User the destination gets; [*] stands for the one it had.")
        .aliases(&["to_user"])
        .example("1[*]"),
    Field::text("dial-rule-translation-destination-host", "Host the destination gets: a tenant, or a connection.")
        .default("[*]")
        .aliases(&["to_host"]),
    Field::text("dial-rule-translation-source-name", "Display name the caller gets.").default("[*]").aliases(&["from_name"]),
    Field::words("dial-rule-translation-source-scheme", SCHEMES, "Scheme the caller's address gets.")
        .default("[*]")
        .value_aliases(SCHEME_SPELLINGS)
        .aliases(&["from_scheme"]),
    Field::text("dial-rule-translation-source-user", "Number the caller gets.").default("[*]").aliases(&["from_user"]),
    Field::text("dial-rule-translation-source-host", "Host the caller's address gets.").default("[*]").aliases(&["from_host"]),
    Field::text("dial-rule-description", "A label for people.").aliases(&["plan_description"]),
];

const RECORD: Body = Body {
    schema: "DialRule",
    fields: &[PLACE, ID, MATCHING, ACTION],
    required: &[
        "domain",
        "dialrule",
        "dial-rule-matching-to-uri",
        "dial-rule-dial-plan",
        "dial-rule-translation-destination-user",
    ],
};
/// Body of a create.
pub const CREATE: Body = Body {
    schema: "DialRuleCreate",
    fields: &[SYNCHRONOUS, MATCHING, ACTION, PLACE],
    required: &[
        "dial-rule-matching-to-uri",
        "dial-rule-translation-destination-user",
    ],
};
const UPDATE: Body = Body {
    schema: "DialRuleUpdate",
    fields: &[ID, ACTION, MATCHING, PLACE],
    required: &[],
};

/// What names a rule, and therefore stays.
const KEYS: &[&str] = &[
    "domain",
    "dial-rule-dial-plan",
    "dial-rule-matching-to-uri",
    "dial-rule-matching-from-uri",
    "dial-rule-matching-day-of-week",
    "dial-rule-matching-start-date",
    "dial-rule-matching-end-date",
    "dial-rule-matching-start-time",
    "dial-rule-matching-end-time",
];

const LIST_PATH: &str = "/domains/{domain}/dialplans/{dialplan}/dialrules";
const ONE_PATH: &str = "/domains/{domain}/dialplans/{dialplan}/dialrules/{dialrule}";

const LIST: Operation = Operation {
    id: "listDialRules",
    method: Verb::Get,
    base: Base::NsApi,
    path: LIST_PATH,
    group: "Dialrule",
    summary: "Rules of a dial plan",
    description: "",
    model: "dialrule",
    access: Access::AtLeast(Scope::OfficeManager),
    star: Star::Global,
    query: &[],
    body: None,
    answers: &[many(RECORD)],
    failures: &[404],
    handler: |call| Box::pin(list(call)),
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    LIST,
    Operation {
        id: "createDialRule",
        method: Verb::Post,
        summary: "Add a rule to a dial plan",
        body: Some(CREATE),
        answers: &[one(RECORD), ACCEPTED],
        failures: &[404, 409],
        handler: |call| Box::pin(create(call)),
        ..LIST
    },
    Operation {
        id: "countDialRules",
        path: "/domains/{domain}/dialplans/{dialplan}/dialrules/count",
        summary: "Number of rules of a dial plan",
        answers: &[TOTAL],
        handler: |call| Box::pin(count(call)),
        ..LIST
    },
    Operation {
        id: "readDialRule",
        path: ONE_PATH,
        summary: "One rule",
        answers: &[one(RECORD)],
        handler: |call| Box::pin(read(call)),
        ..LIST
    },
    Operation {
        id: "updateDialRule",
        method: Verb::Put,
        path: ONE_PATH,
        summary: "Change what a rule does",
        description: "The seven matching fields name the rule and stay as they are.",
        body: Some(UPDATE),
        answers: &[ACCEPTED],
        handler: |call| Box::pin(update(call)),
        ..LIST
    },
    Operation {
        id: "deleteDialRule",
        method: Verb::Delete,
        path: ONE_PATH,
        summary: "Delete a rule",
        answers: &[ACCEPTED],
        handler: |call| Box::pin(delete(call)),
        ..LIST
    },
];

fn plan_of(call: &Call) -> DialPlanKey {
    DialPlanKey::new(&*call.domain, call.place("dialplan"))
}

fn filter_of(plan: &DialPlanKey) -> DialRuleFilter {
    DialRuleFilter {
        domain: Some(plan.domain.clone()),
        plan: Some(plan.plan.clone()),
        ..DialRuleFilter::default()
    }
}

/// The rule a path names. An id that cannot be read names nothing.
fn key_of(call: &Call) -> Result<DialRuleKey, ApiError> {
    let matching = RuleMatching::from_id(call.place("dialrule"))
        .ok_or_else(|| ApiError::not_found("There is no rule with this id."))?;
    let plan = plan_of(call);
    Ok(DialRuleKey {
        domain: plan.domain,
        plan: plan.plan,
        matching,
    })
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    let plan = plan_of(&call);
    let found: Vec<DialRule> = call
        .state
        .read(move |reader| {
            reader.require::<DialPlan>(&plan)?;
            reader.list(&filter_of(&plan), Page::all())
        })
        .await?;
    Reply::list(&RECORD, &found, Secrets::Hidden)
}

async fn count(call: Call) -> Result<Reply, ApiError> {
    let plan = plan_of(&call);
    let total = call
        .state
        .read(move |reader| {
            reader.require::<DialPlan>(&plan)?;
            reader.count::<DialRule>(&filter_of(&plan))
        })
        .await?;
    Ok(Reply::total(total))
}

async fn read(call: Call) -> Result<Reply, ApiError> {
    let key = key_of(&call)?;
    let rule: DialRule = call.state.read(move |reader| reader.require(&key)).await?;
    Reply::one(&RECORD, &rule, Secrets::Hidden)
}

async fn create(mut call: Call) -> Result<Reply, ApiError> {
    let plan = plan_of(&call);
    for (field, own) in [
        ("domain", &plan.domain),
        ("dial-rule-dial-plan", &plan.plan),
    ] {
        let written = call.body.text(field);
        if !written.is_empty() && written != "~" && written != own {
            return Err(ApiError::bad_request(format!(
                "{field}: {written:?} is not the one of the path, {own:?}."
            )));
        }
        call.body.values.shift_remove(field);
    }
    let synchronous = call.body.yes("synchronous");
    let mut rule: DialRule = call.fresh(&CREATE)?;
    rule.domain.clone_from(&plan.domain);
    rule.dial_rule_dial_plan.clone_from(&plan.plan);
    check(&rule)?;
    let actor = call.actor();
    let rule = call
        .state
        .commit(move |writer| Ok(writer.insert(&actor, rule)?))
        .await?;
    Reply::created(&RECORD, &rule, synchronous)
}

async fn update(mut call: Call) -> Result<Reply, ApiError> {
    let key = key_of(&call)?;
    if let Some(sent) = call.body.some("dialrule")
        && RuleMatching::from_id(sent).as_ref() != Some(&key.matching)
    {
        return Err(ApiError::bad_request(
            "dialrule: is not the id of the path, and a rule's id cannot change.",
        ));
    }
    call.body.values.shift_remove("dialrule");
    if call.body.text("domain") == "~" {
        call.body.values.shift_remove("domain");
    }
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let before: DialRule = writer.require(&key)?;
            let after: DialRule = call.overlay(&UPDATE, &before, KEYS)?;
            check(&after)?;
            writer.update(&call.actor(), after)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn delete(call: Call) -> Result<Reply, ApiError> {
    let key = key_of(&call)?;
    let actor = call.actor();
    call.state
        .commit(move |writer| {
            writer.delete::<DialRule>(&actor, &key)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

/// What no single field can say.
fn check(rule: &DialRule) -> Result<(), ApiError> {
    let mut problems = Vec::new();
    let matching = &rule.matching;
    let dates = (matching.start_date.as_str(), matching.end_date.as_str());
    // Dates of one width compare as text.
    if dates.0 != "*" && dates.1 != "*" && dates.0 > dates.1 {
        problems.push(format!(
            "dial-rule-matching-end-date: {:?} is before the first day, {:?}",
            dates.1, dates.0
        ));
    }
    let parts = [
        &matching.to_uri,
        &matching.from_uri,
        &matching.day_of_week,
        &matching.start_date,
        &matching.end_date,
        &matching.start_time,
        &matching.end_time,
    ];
    if parts.iter().any(|part| part.contains("||")) {
        problems.push("dial-rule-matching-to-uri, -from-uri: must not hold ||, which separates the parts of the id".into());
    }
    if rule.dial_rule_application.adds_header()
        && let Err(why) = checks::header_line(&rule.dial_rule_parameter)
    {
        problems.push(format!(
            "dial-rule-parameter: {:?} {why}",
            rule.dial_rule_parameter
        ));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ApiError::bad_request(problems.join("; ") + "."))
    }
}
