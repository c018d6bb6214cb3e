//! The dial plans a fresh database begins with, all owned by the system (`*`).
//!
//! They are ordinary records: an operator may change or remove them, and they do not come back.

use crate::error::Result;
use crate::session::Writer;
use model::{
    Actor, DialPlan, DialPolicy, DialPolicyKey, DialRule, DialRuleApplication, Permission,
    PermissionMode, SYSTEM_DOMAIN,
};

/// Phone numbers: each is one rule here.
pub const NUMBERS: &str = model::NUMBER_PLAN;
/// What carriers' calls go through first: brings ten digits to the form of [`NUMBERS`].
pub const INBOUND: &str = "Inbound DID";
/// What the plan of every new domain hands its calls to.
pub const FEATURES: &str = "Cloud PBX Features";
/// Numbers of North America and abroad; also the name of the policy that permits North America alone.
pub const US_AND_CANADA: &str = "US and Canada";

/// Rules that leave for the public network: pattern, application, destination user, description.
/// Numbers leave as digits with country code.
const OUTBOUND: &[(&str, DialRuleApplication, &str, &str)] = &[
    (
        "sip:[2-9]?????????@*",
        DialRuleApplication::ToConnection,
        "1[*]",
        "Ten digits",
    ),
    (
        "sip:1[2-9]?????????@*",
        DialRuleApplication::ToConnection,
        "[*]",
        "Eleven digits",
    ),
    (
        "sip:011*@*",
        DialRuleApplication::ToConnection,
        "[*]",
        "Abroad",
    ),
    // Without this row the eleven digits would win, and leave with the plus.
    (
        "sip:+1[2-9]?????????@*",
        DialRuleApplication::ToConnection,
        "[!*]",
        "Eleven digits with plus",
    ),
    (
        "sip:+*@*",
        DialRuleApplication::ToConnection,
        "[!*]",
        "Any country with plus",
    ),
    (
        "sip:[*]67[2-9]?????????@*",
        DialRuleApplication::ToConnectionBlockCallerId,
        "1[!!!*]",
        "Ten digits, caller hidden",
    ),
    (
        "sip:[*]671[2-9]?????????@*",
        DialRuleApplication::ToConnectionBlockCallerId,
        "[!!!*]",
        "Eleven digits, caller hidden",
    ),
    (
        "sip:[*]67011*@*",
        DialRuleApplication::ToConnectionBlockCallerId,
        "[!!!*]",
        "Abroad, caller hidden",
    ),
];

/// The policy: pattern, mode, reason.
const NORTH_AMERICA: &[(&str, PermissionMode, &str)] = &[
    (
        "sip:1??????????@*",
        PermissionMode::Permit,
        "Numbers of North America",
    ),
    ("sip:1900*@*", PermissionMode::Deny, "Premium numbers"),
    ("sip:1809*@*", PermissionMode::Deny, "Dominican Republic"),
    ("sip:011*@*", PermissionMode::Deny, "Abroad"),
];

/// Writes the plans and the policy into an empty database.
pub(crate) fn write(writer: &mut Writer<'_>, actor: &Actor) -> Result<()> {
    let plans = [
        (NUMBERS, "Phone numbers of all domains"),
        (INBOUND, "Calls from carriers, by number"),
        (FEATURES, "What every domain can dial"),
        (US_AND_CANADA, "Numbers of the public network"),
    ];
    for (name, description) in plans {
        writer.insert(actor, DialPlan::new(SYSTEM_DOMAIN, name, description))?;
    }

    let to_numbers = |pattern: &str, user: &str, description: &str| DialRule {
        dial_rule_translation_destination_user: user.to_owned(),
        dial_rule_description: description.to_owned(),
        ..DialRule::new(
            SYSTEM_DOMAIN,
            INBOUND,
            pattern,
            DialRuleApplication::chain(NUMBERS),
        )
    };
    writer.insert(actor, to_numbers("sip:??????????@*", "1[*]", "Ten digits"))?;
    writer.insert(actor, to_numbers("*", "[*]", "All others"))?;

    for plan in [FEATURES, US_AND_CANADA] {
        for (pattern, application, user, description) in OUTBOUND {
            let rule = DialRule {
                dial_rule_translation_destination_user: (*user).to_owned(),
                dial_rule_description: (*description).to_owned(),
                ..DialRule::new(SYSTEM_DOMAIN, plan, *pattern, application.clone())
            };
            writer.insert(actor, rule)?;
        }
    }

    let policy = DialPolicyKey::new(SYSTEM_DOMAIN, US_AND_CANADA);
    let record = DialPolicy::new(SYSTEM_DOMAIN, US_AND_CANADA, "North America alone");
    writer.insert(actor, record)?;
    for (pattern, mode, reason) in NORTH_AMERICA {
        writer.insert(actor, Permission::new(&policy, *pattern, *mode, *reason))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::pattern::{Pattern, Subject};

    #[test]
    fn each_number_finds_its_row() {
        let check = |number: &str, expected: Option<&str>| {
            let subject = Subject::new("sip", Some(number), "d1", None);
            let best = OUTBOUND
                .iter()
                .map(|(pattern, _, _, description)| {
                    (Pattern::parse(pattern).unwrap(), *description)
                })
                .filter(|(pattern, _)| pattern.matches(&subject))
                .max_by_key(|(pattern, _)| pattern.rank_user_first());
            assert_eq!(
                best.map(|(_, description)| description),
                expected,
                "{number}"
            );
        };
        check("3105550100", Some("Ten digits"));
        check("13105550100", Some("Eleven digits"));
        check("+13105550100", Some("Eleven digits with plus"));
        check("+4930123456", Some("Any country with plus"));
        check("01149301234567", Some("Abroad"));
        check("*673105550100", Some("Ten digits, caller hidden"));
        check("*6713105550100", Some("Eleven digits, caller hidden"));
        check("*6701149301234567", Some("Abroad, caller hidden"));
        check("1105550100", None);
        check("1000", None);
        check("911", None);
    }
}
