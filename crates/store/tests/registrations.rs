//! Registrations are kept beside the connections they belong to, and go with them.

use model::{
    Actor, Binding, Change, Connection, ConnectionKey, Domain, Registration, RegistrationDirection,
    RegistrationEnd, RegistrationEvent,
};
use store::{AuditFilter, Page, Store};

fn key() -> ConnectionKey {
    ConnectionKey {
        domain: "d1".into(),
        connection_orig_match_pattern: "sip*@pbx".into(),
    }
}

fn store() -> Store {
    let store = Store::open_in_memory().unwrap();
    let actor = Actor::system("test", 1_000);
    store
        .write_blocking(move |writer| {
            let domain = Domain {
                domain: "d1".into(),
                ..Domain::default()
            };
            writer.insert(&actor, domain)?;
            let connection = Connection {
                domain: "d1".into(),
                connection_orig_match_pattern: "sip*@pbx".into(),
                ..Connection::default()
            };
            writer.insert(&actor, connection)
        })
        .unwrap();
    store
}

fn registered(at_ms: i64, expires_ms: i64) -> Registration {
    Registration {
        connection: key(),
        direction: RegistrationDirection::Inbound,
        at_ms,
        event: RegistrationEvent::Registered {
            expires_ms,
            binding: Some(Binding {
                contact: "sip:pbx@10.0.0.5:5070".into(),
                via: "10.0.0.5:5070".into(),
                transport: "TCP".into(),
                received: "192.0.2.9:40000".parse().unwrap(),
                interface: 1,
                stream: Some(7),
                call_id: "abc".into(),
                cseq: 3,
                registered_ms: at_ms,
                expires_ms,
            }),
            new: true,
        },
    }
}

fn keep(store: &Store, report: Registration) {
    store
        .write_blocking(move |writer| writer.keep_registrations(&[report]))
        .unwrap();
}

#[test]
fn a_binding_comes_back_after_a_restart_but_no_stream_does() {
    let store = store();
    keep(&store, registered(2_000, 5_000));
    keep(&store, registered(3_000, 6_000));
    let kept = store
        .read_blocking(|reader| reader.peers_registered(5_999))
        .unwrap();
    let [one] = kept.as_slice() else {
        panic!("one registration, not {kept:?}")
    };
    assert_eq!((one.registered_ms, one.expires_ms), (3_000, Some(6_000)));
    let binding = one.binding.as_ref().unwrap();
    assert_eq!((binding.cseq, binding.stream), (3, None));
    let late = store.read_blocking(|reader| reader.peers_registered(6_000));
    assert!(late.unwrap().is_empty());
}

#[test]
fn an_end_leaves_the_time_of_the_last_success() {
    let store = store();
    keep(&store, registered(2_000, 5_000));
    let mut over = registered(4_000, 0);
    over.event = RegistrationEvent::Ended(RegistrationEnd::Withdrawn);
    keep(&store, over);
    let kept = store
        .read_blocking(|reader| reader.registrations_of(&key()))
        .unwrap();
    assert_eq!((kept[0].registered_ms, kept[0].expires_ms), (2_000, None));
    assert_eq!(kept[0].binding, None);
}

#[test]
fn an_end_that_somebody_wrote_travels_and_leaves_no_audit_line_of_its_own() {
    let store = store();
    keep(&store, registered(2_000, 5_000));
    let lines = |store: &Store| {
        let read = store.read_blocking(|reader| reader.audit(&AuditFilter::default(), Page::all()));
        read.unwrap().len()
    };
    let before = lines(&store);
    let written = store
        .transact_blocking(|writer| {
            writer.end_registration(&Actor::system("test", 3_000), &key(), 2_500)
        })
        .unwrap();
    let unix_ms = 2_500;
    let connection = key();
    assert_eq!(
        written.changes,
        [Change::RegistrationEnds {
            connection,
            unix_ms
        }]
    );
    let kept = store
        .read_blocking(|reader| reader.peers_registered(0))
        .unwrap();
    assert!(kept.is_empty());
    assert_eq!(lines(&store), before);
}

#[test]
fn registrations_go_with_their_connection_and_never_come_without_one() {
    let store = store();
    keep(&store, registered(2_000, 5_000));
    let actor = Actor::system("test", 4_000);
    store
        .write_blocking(move |writer| writer.delete::<Connection>(&actor, &key()))
        .unwrap();
    keep(&store, registered(4_500, 5_000));
    let kept = store
        .read_blocking(|reader| reader.registrations_of(&key()))
        .unwrap();
    assert!(kept.is_empty());
}
