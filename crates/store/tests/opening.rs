//! Who may open which file, and what the operator is told otherwise.

use model::{DialPlan, DialPlanKey, SYSTEM_DOMAIN};
use std::path::Path;
use store::{DialRuleFilter, OpenError, OwnerFilter, Page, Store, StoreError};

fn names(store: &Store) -> Vec<String> {
    store
        .read_blocking(|r| r.list::<DialPlan>(&OwnerFilter::default(), Page::all()))
        .unwrap()
        .into_iter()
        .map(|plan| plan.dial_rule_dial_plan)
        .collect()
}

#[test]
fn a_fresh_database_has_the_shipped_plans_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("switch.db");
    let store = Store::open(&path).unwrap();
    assert_eq!(
        names(&store),
        [
            store::NUMBERS,
            store::INBOUND,
            store::FEATURES,
            store::US_AND_CANADA
        ]
    );
    let rules = |store: &Store, plan: &'static str| {
        let filter = DialRuleFilter {
            plan: Some(plan.to_owned()),
            ..Default::default()
        };
        store
            .read_blocking(move |r| r.count::<model::DialRule>(&filter))
            .unwrap()
    };
    assert_eq!(rules(&store, store::NUMBERS), 0);
    assert_eq!(rules(&store, store::INBOUND), 2);
    assert!(rules(&store, store::FEATURES) > 0);

    // What an operator removed does not come back.
    store
        .write_blocking(|w| {
            let key = DialPlanKey::new(SYSTEM_DOMAIN, store::US_AND_CANADA);
            w.delete::<DialPlan>(&model::Actor::system("test", 0), &key)
        })
        .unwrap();
    assert_eq!(rules(&store, store::US_AND_CANADA), 0);
    store.close();
    let store = Store::open(&path).unwrap();
    assert_eq!(names(&store).len(), 3);
}

#[test]
fn a_second_process_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("switch.db");
    let store = Store::open(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    store.close();
    Store::open(&path).unwrap();
}

#[test]
fn a_newer_schema_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("switch.db");
    Store::open(&path).unwrap().close();
    let sqlite = rusqlite::Connection::open(&path).unwrap();
    sqlite
        .execute("INSERT INTO schema_version VALUES (999, 0)", [])
        .unwrap();
    drop(sqlite);
    let error = Store::open(&path).unwrap_err();
    assert!(
        matches!(error, OpenError::NewerSchema { found: 999, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("start the newer program"));
}

#[test]
fn other_files_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let foreign = directory.path().join("other.db");
    let sqlite = rusqlite::Connection::open(&foreign).unwrap();
    sqlite.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(sqlite);
    assert!(matches!(
        Store::open(&foreign),
        Err(OpenError::Foreign { .. })
    ));

    let text = directory.path().join("notes.txt");
    std::fs::write(
        &text,
        "these are not the records you are looking for\n".repeat(100),
    )
    .unwrap();
    assert!(matches!(Store::open(&text), Err(OpenError::Foreign { .. })));
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("these"));

    let nowhere = directory.path().join("no/such/place.db");
    assert!(matches!(
        Store::open(&nowhere),
        Err(OpenError::Unreadable { .. })
    ));
    let server = Store::open(Path::new("postgres://db.example/switch")).unwrap_err();
    assert!(matches!(server, OpenError::ServerNotSupported), "{server}");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("switch.db");
    let store = Store::open(&path).unwrap();
    let domain = model::Domain {
        domain: "d1".to_owned(),
        ..Default::default()
    };
    store
        .write_blocking(|w| w.insert(&model::Actor::system("test", 0), domain))
        .unwrap();
    for name in ["switch.db", "switch.db-wal", "switch.db.lock"] {
        let mode = std::fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[test]
fn closing_leaves_one_file_and_refuses_later_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("switch.db");
    let store = Store::open(&path).unwrap();
    let clone = store.clone();
    store.close();
    assert_eq!(
        clone.read_blocking(|r| r.all_domains()),
        Err(StoreError::Closed)
    );
    assert_eq!(clone.write_blocking(|_| Ok(())), Err(StoreError::Closed));
    assert!(!directory.path().join("switch.db-wal").exists());
}

#[test]
fn a_second_process_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("switch.db");
    assert!(matches!(
        Store::open_to_read(&path),
        Err(OpenError::Unreadable { .. })
    ));
    assert!(!path.exists());

    let store = Store::open(&path).unwrap();
    let reader = Store::open_to_read(&path).unwrap();
    let actor = model::Actor::system("test", 0);
    let insert = |store: &Store, name: &str| {
        let (actor, domain) = (actor.clone(), name.to_owned());
        let domain = model::Domain {
            domain,
            ..Default::default()
        };
        store.write_blocking(move |w| w.insert(&actor, domain))
    };
    insert(&store, "d1").unwrap();
    let domains = |store: &Store| store.read_blocking(|r| r.all_domains()).unwrap();
    assert_eq!(domains(&reader), ["d1"]);
    assert_eq!(insert(&reader, "d2"), Err(StoreError::ReadOnly));
    store.close();

    // A reader may also come when nobody else is there, and is not in the way of who comes next.
    assert_eq!(domains(&reader), ["d1"]);
    let alone = Store::open_to_read(&path).unwrap();
    assert_eq!(domains(&alone), ["d1"]);
    let store = Store::open(&path).unwrap();
    insert(&store, "d2").unwrap();
    assert_eq!(domains(&alone), ["d1", "d2"]);
    reader.close();
    alone.close();
    insert(&store, "d3").unwrap();

    let sqlite = rusqlite::Connection::open(&path).unwrap();
    sqlite
        .execute("DELETE FROM schema_version WHERE version > 1", [])
        .unwrap();
    let error = Store::open_to_read(&path).unwrap_err();
    assert!(
        matches!(error, OpenError::OlderSchema { found: 1, .. }),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn a_database_that_was_removed_takes_no_writes_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("switch.db");
    let aside = directory.path().join("aside");
    let store = Store::open(&path).unwrap();
    let write = || store.write_blocking(|_| Ok(()));
    let is_gone = || matches!(write(), Err(StoreError::Gone { .. }));
    assert!(write().is_ok());
    std::fs::rename(&path, &aside).unwrap();
    assert!(is_gone(), "a write would be acknowledged and then lost");
    assert!(!names(&store).is_empty(), "reads are answered");
    std::fs::copy(&aside, &path).unwrap();
    assert!(is_gone(), "another file is not ours");
    std::fs::rename(&aside, &path).unwrap();
    assert!(write().is_ok());
}
