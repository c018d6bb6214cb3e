//! The records that calls meet: domains with two connections and a rule, as `bench/` makes them over the API.

use crate::carriers::{BOB, PASSWORD};
use model::{
    AudioRelay, Connection, DialPlan, DialRule, DialRuleApplication, Domain, RuleMatching,
};
use std::sync::Arc;
use switch::{DirectoryChange, DomainPart};

/// What a tenant's calls need.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    pub(crate) digest: bool,
    pub(crate) relay: bool,
    /// They are to outlive the process.
    pub(crate) journal: bool,
}

/// Domain number `number`.
pub(crate) fn tenant(number: usize, needs: Needs) -> DirectoryChange {
    let name = format!("d{number}.example");
    let connection = |side: &str, address: &str| Connection {
        domain: name.clone(),
        connection_orig_match_pattern: format!("sip*@{side}{number}.example.net"),
        connection_address: address.to_owned(),
        dial_plan: "calls".to_owned(),
        connection_is_carrier_trunk: true,
        connection_audio_relay_enabled: if needs.relay {
            AudioRelay::Automatic
        } else {
            AudioRelay::Never
        },
        ..Connection::default()
    };
    let a = Connection {
        connection_require_sip_authentication_enabled: needs.digest,
        connection_sip_registration_username: "alice".to_owned(),
        connection_sip_registration_password: PASSWORD.into(),
        ..connection("a", "127.0.0.2")
    };
    let rule = DialRule {
        domain: name.clone(),
        dial_rule_dial_plan: "calls".to_owned(),
        matching: RuleMatching::to("*".to_owned()),
        dial_rule_application: DialRuleApplication::ToConnection,
        dial_rule_translation_destination_user: "[*]".to_owned(),
        dial_rule_translation_destination_host: format!("b{number}.example.net"),
        ..DialRule::default()
    };
    let plan = DialPlan::new(name.clone(), "calls".to_owned(), String::new());
    let domain = Domain {
        domain: name.clone(),
        ..Domain::default()
    };
    let (part, problems) = DomainPart::build(
        &name,
        Some(domain),
        vec![a, connection("b", BOB)],
        vec![plan],
        vec![rule],
        |_| Arc::default(),
    );
    assert!(problems.is_empty(), "{problems:?}");
    DirectoryChange::Swap(Arc::new(part))
}
