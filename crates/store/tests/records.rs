//! Records go in, come out, and leave a trace.

use model::{
    Actor, ApiKey, AuditVerb, Change, Connection, ConnectionKey, DialPlan, DialPlanKey, DialRule,
    DialRuleApplication, Domain, SYSTEM_DOMAIN, Scope,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use store::{
    ApiKeyFilter, AuditFilter, ConnectionFilter, DialRuleFilter, DomainFilter, Page, Store,
    StoreError, Written,
};

fn actor() -> Actor {
    Actor {
        who: "nss_test1234".to_owned(),
        address: Some([192, 0, 2, 1].into()),
        unix_ms: 1_691_728_173_000,
    }
}

fn domain(name: &str, reseller: &str) -> Domain {
    Domain {
        domain: name.to_owned(),
        reseller: reseller.to_owned(),
        ..Domain::default()
    }
}

fn connection(domain: &str, pattern: &str) -> Connection {
    Connection {
        domain: domain.to_owned(),
        connection_orig_match_pattern: pattern.to_owned(),
        ..Connection::default()
    }
}

/// A store with the domains d1 and d2 of reseller r1 and d3 of r2.
fn store() -> Store {
    let store = Store::open_in_memory().unwrap();
    store
        .write_blocking(|w| {
            for (name, reseller) in [("d1", "r1"), ("d2", "r1"), ("d3", "r2")] {
                w.insert(&actor(), domain(name, reseller))?;
            }
            Ok(())
        })
        .unwrap();
    store
}

#[test]
fn a_new_domain_comes_with_its_plan() {
    let store = Store::open_in_memory().unwrap();
    let Written { value, changes } = store
        .transact_blocking::<_, StoreError>(|w| w.insert(&actor(), domain("d1", "r1")))
        .unwrap();
    assert_eq!(value.dial_plan, "d1");
    // The change of the domain says it all.
    assert_eq!(changes, [Change::Domain("d1".to_owned())]);

    let part = store.read_blocking(|r| r.domain_part("d1")).unwrap();
    assert_eq!(part.domain, Some(value));
    assert_eq!(part.dial_plans.len(), 1);
    assert_eq!(part.dial_plans[0].key(), DialPlanKey::new("d1", "d1"));
    assert!(part.dial_plans[0].dialplan_id > 0);
    let [rule] = &*part.dial_rules else {
        panic!("{:?}", part.dial_rules)
    };
    assert_eq!(rule.matching.to_uri, "*");
    assert_eq!(rule.dialrule, "Knx8Knx8Knx8Knx8Knx8Knx8Kg");
    assert_eq!(
        rule.dial_rule_application,
        DialRuleApplication::chain(store::FEATURES)
    );
}

#[test]
fn a_removed_domain_takes_all_along() {
    let store = store();
    store
        .write_blocking(|w| {
            w.insert(&actor(), connection("d1", "sip*@a"))?;
            w.insert(&actor(), connection("d2", "sip*@a"))?;
            let key = ApiKey {
                key_id: "nsd_1".into(),
                domain: "d1".into(),
                ..ApiKey::default()
            };
            w.insert_api_key(&actor(), key, "hash")?;
            w.delete::<Domain>(&actor(), &"d1".to_owned())
        })
        .unwrap();
    store
        .read_blocking(|r| {
            assert_eq!(r.domain_part("d1")?, store::DomainRecords::default());
            assert_eq!(r.domain_part("d2")?.connections.len(), 1);
            assert_eq!(r.all_domains()?, ["d2", "d3"]);
            assert_eq!(r.api_key_by_hash("hash")?, None);
            let line = &r.audit(&AuditFilter::default(), Page::new(0, 1))?[0];
            assert_eq!(line.verb, AuditVerb::Delete);
            assert_eq!(line.diff["connections"], serde_json::json!([1, 0]));
            Ok(())
        })
        .unwrap();
}

#[test]
fn errors_name_the_record() {
    let store = store();
    let insert = |record: Connection| store.write_blocking(move |w| w.insert(&actor(), record));
    insert(connection("d1", "sip*@a")).unwrap();
    let conflict = insert(connection("d1", "sip*@a")).unwrap_err();
    assert_eq!(conflict.to_string(), "connection d1/sip*@a exists already");
    // The same pattern in another domain is another connection.
    insert(connection("d2", "sip*@a")).unwrap();
    insert(connection(SYSTEM_DOMAIN, "sip*@a")).unwrap();
    let homeless = insert(connection("d9", "sip*@a")).unwrap_err();
    assert_eq!(
        homeless.to_string(),
        "connection d9/sip*@a needs domain d9, which does not exist"
    );

    let rule = DialRule::new("d1", "nowhere", "*", DialRuleApplication::Hangup);
    let homeless = store
        .write_blocking(move |w| w.insert(&actor(), rule))
        .unwrap_err();
    assert!(matches!(homeless, StoreError::NoOwner { .. }), "{homeless}");
    let gone = store
        .write_blocking(|w| w.update(&actor(), connection("d1", "sip*@b")))
        .unwrap_err();
    assert_eq!(
        gone,
        StoreError::NotFound {
            what: "connection d1/sip*@b".to_owned()
        }
    );
}

#[test]
fn an_update_is_audited_without_secrets() {
    let store = store();
    store
        .write_blocking(|w| {
            let mut record = connection("d1", "sip*@a");
            record.connection_sip_registration_password = "hunter2".into();
            let mut record = w.insert(&actor(), record)?;
            record.limits_max_active_calls_orig = 5;
            record.connection_sip_registration_password = "hunter3".into();
            w.update(&actor(), record)
        })
        .unwrap();
    let lines = store
        .read_blocking(|r| {
            let filter = AuditFilter {
                domain: Some("d1".into()),
                ..AuditFilter::default()
            };
            r.audit(&filter, Page::new(0, 2))
        })
        .unwrap();
    assert!(!format!("{lines:?}").contains("hunter"));
    let [update, create] = &*lines else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (update.verb, create.verb),
        (AuditVerb::Update, AuditVerb::Create)
    );
    assert_eq!((&*update.object, &*update.key), ("connection", "sip*@a"));
    assert_eq!(
        (&*update.who, update.address),
        ("nss_test1234", actor().address)
    );
    assert_eq!(
        serde_json::to_value(&update.diff).unwrap(),
        serde_json::json!({
            "limits-max-active-calls-orig": [0, 5],
            "connection-sip-registration-password": ["…", "…"],
        })
    );
}

#[test]
fn old_audit_lines_can_be_removed() {
    let store = store();
    let count = |store: &Store| {
        store
            .read_blocking(|r| r.audit(&AuditFilter::default(), Page::all()))
            .unwrap()
            .len()
    };
    let all = count(&store);
    let gone = store
        .write_blocking(|w| w.expire_audit(actor().unix_ms))
        .unwrap();
    // The shipped plans were written just now, the domains long ago by the clock of the test.
    assert_eq!(gone, 0);
    let gone = store
        .write_blocking(|w| w.expire_audit(actor().unix_ms + 1))
        .unwrap();
    assert_eq!(gone, 9);
    assert_eq!(count(&store), all - 9);
}

#[test]
fn the_record_and_its_password_come_back() {
    let store = store();
    let mut record = connection("d1", "sip*@a");
    record.connection_sip_registration_password = "hunter2".into();
    record.connection_custom_p_asserted_id_format = "sip:+[*]@\"'; DROP TABLE connections".into();
    let stored = store
        .write_blocking({
            let record = record.clone();
            move |w| w.insert(&actor(), record)
        })
        .unwrap();
    assert_eq!(stored.last_modified_datetime, "2023-08-11 04:29:33");
    record
        .last_modified_datetime
        .clone_from(&stored.last_modified_datetime);
    assert_eq!(stored, record);
    let key = record.key();
    assert_eq!(
        store
            .read_blocking(move |r| r.require::<Connection>(&key))
            .unwrap(),
        record
    );
}

#[test]
fn lists_are_narrowed_and_paged() {
    let store = store();
    store
        .write_blocking(|w| {
            for number in 0..250 {
                w.insert(&actor(), connection("d1", &format!("sip*@pbx-{number:03}")))?;
            }
            w.insert(&actor(), connection("d3", "sip:1??????????@*"))?;
            let mut outbound = connection(SYSTEM_DOMAIN, "sip*@carrier");
            outbound.connection_term_match_pattern = "sip:*@a.carrier.example".into();
            w.insert(&actor(), outbound)
        })
        .unwrap();
    let patterns = |filter: ConnectionFilter, page: Page| -> Vec<String> {
        store
            .read_blocking(move |r| r.list::<Connection>(&filter, page))
            .unwrap()
            .into_iter()
            .map(|connection| connection.connection_orig_match_pattern)
            .collect()
    };
    let all = ConnectionFilter::default;
    assert_eq!(patterns(all(), Page::default()).len(), 100);
    assert_eq!(patterns(all(), Page::all()).len(), 252);
    assert_eq!(
        patterns(all(), Page::new(249, 2)),
        ["sip*@pbx-249", "sip:1??????????@*"]
    );
    assert_eq!(patterns(all(), Page::new(u64::MAX, u32::MAX)), [""; 0]);
    assert_eq!(Page::new(0, 0), Page::new(0, 1));

    let reseller = |name: &str| ConnectionFilter {
        reseller: Some(name.into()),
        ..all()
    };
    assert_eq!(patterns(reseller("r1"), Page::all()).len(), 250);
    assert_eq!(patterns(reseller("r2"), Page::all()), ["sip:1??????????@*"]);
    let orig = |text: &str| ConnectionFilter {
        orig_match: Some(text.into()),
        ..all()
    };
    assert_eq!(
        patterns(orig("sip*@pbx-007"), Page::all()),
        ["sip*@pbx-007"]
    );
    assert_eq!(
        patterns(orig("sip:1000@pbx-007"), Page::all()),
        ["sip*@pbx-007"]
    );
    assert_eq!(
        patterns(orig("sip:13105550100@x"), Page::all()),
        ["sip:1??????????@*"]
    );
    let term = |text: &str| ConnectionFilter {
        term_match: Some(text.into()),
        ..all()
    };
    assert_eq!(
        patterns(term("sip:1@a.carrier.example"), Page::all()),
        ["sip*@carrier"]
    );
    // An empty term pattern is the orig pattern.
    assert_eq!(
        patterns(term("sip*@pbx-007"), Page::all()),
        ["sip*@pbx-007"]
    );

    let domains = DomainFilter {
        reseller: Some("r1".into()),
        ..DomainFilter::default()
    };
    assert_eq!(
        store
            .read_blocking(move |r| r.count::<Domain>(&domains))
            .unwrap(),
        2
    );
}

#[test]
fn keys_are_found_by_their_hash_and_remember_the_hour() {
    let store = store();
    let key = ApiKey {
        key_id: "nss_abcdefgh".into(),
        user_scope: Scope::SuperUser,
        domain: "*".into(),
        ..ApiKey::default()
    };
    store
        .write_blocking(move |w| w.insert_api_key(&actor(), key, "abc"))
        .unwrap();
    let hour_ms = actor().unix_ms;
    let touched = |at_ms| {
        store
            .write_blocking(move |w| w.touch_api_key("nss_abcdefgh", at_ms))
            .unwrap()
    };
    assert!(touched(hour_ms));
    assert!(!touched(hour_ms + 60_000));
    assert!(touched(hour_ms + store::LAST_USED_GRAIN_MS));
    assert!(!touched(hour_ms));
    store
        .read_blocking(|r| {
            assert_eq!(r.api_key_by_hash("xyz")?, None);
            let key = r.api_key_by_hash("abc")?.unwrap();
            assert_eq!(key.created_datetime, "2023-08-11T04:29:33+00:00");
            assert_eq!(
                key.lastused_datetime.as_deref(),
                Some("2023-08-11T05:00:00+00:00")
            );
            assert_eq!(r.count::<ApiKey>(&ApiKeyFilter::default())?, 1);
            assert!(r.count_api_keys()? == 1);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_plan_takes_its_rules_along_and_lists_hold_the_order_of_creation() {
    let store = store();
    store
        .write_blocking(|w| {
            w.insert(&actor(), DialPlan::new("d1", "p", "test"))?;
            for pattern in ["sip:9@*", "sip:1@*", "sip:5@*"] {
                w.insert(
                    &actor(),
                    DialRule::new("d1", "p", pattern, DialRuleApplication::Hangup),
                )?;
            }
            Ok(())
        })
        .unwrap();
    let filter = DialRuleFilter {
        domain: Some("d1".into()),
        plan: Some("p".into()),
        ..DialRuleFilter::default()
    };
    let rules = {
        let filter = filter.clone();
        store
            .read_blocking(move |r| r.list::<DialRule>(&filter, Page::all()))
            .unwrap()
    };
    let patterns: Vec<_> = rules.iter().map(|rule| &*rule.matching.to_uri).collect();
    assert_eq!(patterns, ["sip:9@*", "sip:1@*", "sip:5@*"]);

    let Written { changes, .. } = store
        .transact_blocking::<_, StoreError>(|w| {
            w.delete::<DialPlan>(&actor(), &DialPlanKey::new("d1", "p"))
        })
        .unwrap();
    assert_eq!(
        changes,
        [Change::DialPlan {
            domain: "d1".into(),
            name: "p".into()
        }]
    );
    assert_eq!(
        store
            .read_blocking(move |r| r.count::<DialRule>(&filter))
            .unwrap(),
        0
    );
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8),
    Update(u8, u32),
    Delete(u8),
    /// Writes and then refuses: nothing may stay.
    Regret(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6u8).prop_map(Step::Insert),
        (0..6u8, any::<u32>()).prop_map(|(name, limit)| Step::Update(name, limit)),
        (0..6u8).prop_map(Step::Delete),
        (0..6u8).prop_map(Step::Regret),
    ];
    proptest::collection::vec(step, 1..40)
}

fn take(store: &Store, step: Step) -> Result<(), StoreError> {
    let named = |name: u8| connection("d1", &format!("sip*@{name}"));
    store.write_blocking(move |w| match step {
        Step::Insert(name) => w.insert(&actor(), named(name)).map(drop),
        Step::Update(name, limit) => {
            let record = Connection {
                limits_max_active_calls_orig: limit,
                ..named(name)
            };
            w.update(&actor(), record).map(drop)
        }
        Step::Delete(name) => w
            .delete::<Connection>(&actor(), &named(name).key())
            .map(drop),
        Step::Regret(name) => {
            w.insert(&actor(), named(name))?;
            Err(StoreError::Busy)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The table behaves like a map, and the audit log has one line per change that happened.
    #[test]
    fn a_table_is_a_map_with_a_memory(steps in steps()) {
        let store = store();
        let mut map: BTreeMap<String, u32> = BTreeMap::new();
        let mut changes = 0;
        for step in steps {
            let outcome = take(&store, step.clone());
            let pattern = |name: u8| format!("sip*@{name}");
            let expected = match step {
                Step::Insert(name) => map.insert_new(pattern(name), 0),
                Step::Update(name, limit) => map.get_mut(&pattern(name)).map(|old| *old = limit).is_some(),
                Step::Delete(name) => map.remove(&pattern(name)).is_some(),
                Step::Regret(_) => false,
            };
            prop_assert_eq!(outcome.is_ok(), expected);
            changes += usize::from(expected);
        }
        let (listed, lines) = store.read_blocking(|r| {
            let filter = AuditFilter { object: Some("connection".into()), ..Default::default() };
            let listed = r.list::<Connection>(&ConnectionFilter::default(), Page::all())?;
            Ok((listed, r.audit(&filter, Page::all())?.len()))
        }).unwrap();
        let listed: BTreeMap<_, _> = listed
            .into_iter()
            .map(|c| (c.connection_orig_match_pattern, c.limits_max_active_calls_orig))
            .collect();
        prop_assert_eq!(listed, map);
        prop_assert_eq!(lines, changes);
    }
}

trait InsertNew {
    fn insert_new(&mut self, key: String, value: u32) -> bool;
}

impl InsertNew for BTreeMap<String, u32> {
    fn insert_new(&mut self, key: String, value: u32) -> bool {
        let new = !self.contains_key(&key);
        self.entry(key).or_insert(value);
        new
    }
}

#[test]
fn a_key_without_its_hash_is_no_conflict() {
    let key = ApiKey {
        key_id: "nss_abcdefgh".into(),
        ..ApiKey::default()
    };
    let error = store()
        .write_blocking(move |w| w.insert(&actor(), key))
        .unwrap_err();
    assert!(matches!(error, StoreError::Database { .. }), "{error}");
}

#[test]
fn key_types_are_plain() {
    // A key can be made without a record, as a path of a request does.
    let key = ConnectionKey {
        domain: "d1".to_owned(),
        connection_orig_match_pattern: "sip*@a".to_owned(),
    };
    assert_eq!(
        store()
            .read_blocking(move |r| r.read::<Connection>(&key))
            .unwrap(),
        None
    );
}
