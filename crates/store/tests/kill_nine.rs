//! What was acknowledged survives `kill -9`.
//!
//! The test starts itself again as a child that writes from several threads and prints each
//! acknowledgement, kills it in the middle, and looks for every acknowledged record.

use model::{Actor, Connection, ConnectionKey, Domain};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use store::{AuditFilter, ConnectionFilter, Page, Store};

const DATABASE: &str = "STORE_TEST_DATABASE";
const ROUND: &str = "STORE_TEST_ROUND";
const WRITERS: usize = 4;
const ACKNOWLEDGED_BEFORE_KILL: usize = 150;
const ROUNDS: usize = 3;

/// Not a test of its own: the body of the child.
#[test]
#[ignore = "started by `acknowledged_writes_survive`"]
fn child_that_writes_until_killed() {
    let Ok(database) = std::env::var(DATABASE) else {
        return;
    };
    let round = std::env::var(ROUND).unwrap();
    let store = Store::open(Path::new(&database)).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, round) = (store.clone(), round.clone());
            std::thread::spawn(move || {
                for number in 0.. {
                    let pattern = format!("sip*@{round}-{writer}-{number}");
                    let connection = Connection {
                        domain: "d1".to_owned(),
                        connection_orig_match_pattern: pattern.clone(),
                        ..Connection::default()
                    };
                    let actor = Actor::system("child", 0);
                    store
                        .write_blocking(move |w| w.insert(&actor, connection))
                        .unwrap();
                    // One write to the pipe, so that a line is whole or missing.
                    let line = format!("ack {pattern}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
}

#[test]
fn acknowledged_writes_survive() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("switch.db");
    let store = Store::open(&database).unwrap();
    store
        .write_blocking(|w| {
            let domain = Domain {
                domain: "d1".to_owned(),
                ..Domain::default()
            };
            w.insert(&Actor::system("test", 0), domain)
        })
        .unwrap();
    store.close();

    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.extend(write_and_kill(&database, round));
        let store = Store::open(&database).unwrap();
        let expected = acknowledged.clone();
        let (missing, records, audited) = store
            .read_blocking(move |r| {
                let mut missing = Vec::new();
                for pattern in expected {
                    let key = ConnectionKey {
                        domain: "d1".to_owned(),
                        connection_orig_match_pattern: pattern,
                    };
                    if !r.exists::<Connection>(&key)? {
                        missing.push(key);
                    }
                }
                let records = r
                    .list::<Connection>(&ConnectionFilter::default(), Page::all())?
                    .len();
                let filter = AuditFilter {
                    object: Some("connection".into()),
                    ..Default::default()
                };
                Ok((missing, records, r.audit(&filter, Page::all())?.len()))
            })
            .unwrap();
        assert!(
            missing.is_empty(),
            "lost after acknowledgement: {missing:?}"
        );
        assert_eq!(
            records, audited,
            "a record without its audit line, or the other way round"
        );
        store.close();
    }
}

/// Starts a child, kills it after some acknowledgements, and returns all that it gave.
fn write_and_kill(database: &Path, round: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "child_that_writes_until_killed",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(DATABASE, database)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines {
        let line = line.unwrap();
        // The test harness writes lines of its own, and one of them has no end.
        if let Some((_, pattern)) = line.split_once("ack ") {
            acknowledged.push(pattern.to_owned());
        }
        if acknowledged.len() == ACKNOWLEDGED_BEFORE_KILL {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(
        acknowledged.len() >= ACKNOWLEDGED_BEFORE_KILL,
        "the child ended by itself"
    );
    acknowledged
}
