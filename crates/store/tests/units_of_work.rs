//! Units of work: alone when they fail, together when they commit, and never half done.

use model::{Actor, Connection, Domain};
use std::sync::{Arc, Barrier, mpsc};
use store::{ConnectionFilter, MAX_WRITES_QUEUED, Store, StoreError};

fn on_disk() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("switch.db")).unwrap();
    store
        .write_blocking(|w| {
            let domain = Domain {
                domain: "d1".to_owned(),
                ..Domain::default()
            };
            w.insert(&Actor::system("test", 0), domain)
        })
        .unwrap();
    (directory, store)
}

fn connection(pattern: &str) -> Connection {
    Connection {
        domain: "d1".to_owned(),
        connection_orig_match_pattern: pattern.to_owned(),
        ..Connection::default()
    }
}

fn insert(store: &Store, pattern: &str) -> Result<(), StoreError> {
    let record = connection(pattern);
    store
        .write_blocking(move |w| w.insert(&Actor::system("test", 0), record))
        .map(drop)
}

fn count(store: &Store) -> u64 {
    store
        .read_blocking(|r| r.count::<Connection>(&ConnectionFilter::default()))
        .unwrap()
}

/// Lets every task of the runtime come as far as it can without the writer.
async fn let_all_queue(tasks: usize) {
    for _ in 0..=tasks {
        tokio::task::yield_now().await;
    }
}

/// Keeps the writer thread busy until told to go on, so that what follows shares one commit.
fn hold(store: &Store) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel::<()>();
    let begun = Arc::new(Barrier::new(2));
    let (there, store) = (Arc::clone(&begun), store.clone());
    std::thread::spawn(move || {
        store.write_blocking(move |_| {
            there.wait();
            let _ = wait.recv();
            Ok(())
        })
    });
    begun.wait();
    go
}

#[test]
fn one_of_many_in_a_commit_fails_alone() {
    let (_directory, store) = on_disk();
    let go = hold(&store);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let results = runtime.block_on(async {
        let tasks: Vec<_> = (0..30)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    store
                        .write(move |w| {
                            w.insert(
                                &Actor::system("test", 0),
                                connection(&format!("sip*@{number}")),
                            )?;
                            match number % 3 {
                                0 => Err(StoreError::NotFound {
                                    what: "a reason".to_owned(),
                                }),
                                1 => panic!("a bug"),
                                _ => Ok(number),
                            }
                        })
                        .await
                })
            })
            .collect();
        let_all_queue(tasks.len()).await;
        go.send(()).unwrap();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    });
    for (number, result) in results.into_iter().enumerate() {
        match number % 3 {
            0 => assert!(matches!(result, Err(StoreError::NotFound { .. }))),
            1 => assert_eq!(result, Err(StoreError::Panicked)),
            _ => assert_eq!(result, Ok(number)),
        }
    }
    assert_eq!(count(&store), 10);
}

#[test]
fn a_full_queue_says_so_at_once() {
    let (_directory, store) = on_disk();
    let go = hold(&store);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..MAX_WRITES_QUEUED + 1 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move { store.write(|_| Ok(())).await }));
        }
        let_all_queue(tasks.len()).await;
        go.send(()).unwrap();
        let mut busy = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, StoreError::Busy);
                    busy += 1;
                }
            }
        }
        assert_eq!(busy, 1);
    });
}

#[test]
fn a_read_sees_one_moment() {
    let (_directory, store) = on_disk();
    insert(&store, "sip*@0").unwrap();
    let (writer, other) = (store.clone(), store.clone());
    let (before, after) = store
        .read_blocking(move |r| {
            let filter = ConnectionFilter::default();
            let before = r.count::<Connection>(&filter)?;
            insert(&writer, "sip*@1")?;
            Ok((before, r.count::<Connection>(&filter)?))
        })
        .unwrap();
    assert_eq!((before, after), (1, 1));
    assert_eq!(count(&other), 2);
}

#[test]
fn a_write_is_seen_by_the_next_read() {
    let (_directory, store) = on_disk();
    for number in 0..50 {
        insert(&store, &format!("sip*@{number}")).unwrap();
        assert_eq!(count(&store), number + 1);
    }
}

#[test]
fn a_unit_that_nobody_waits_for_is_done_all_the_same() {
    let (_directory, store) = on_disk();
    let go = hold(&store);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let writing = tokio::spawn({
            let store = store.clone();
            async move {
                store
                    .write(|w| w.insert(&Actor::system("test", 0), connection("sip*@a")))
                    .await
            }
        });
        let_all_queue(1).await;
        writing.abort();
        let _ = writing.await;
        go.send(()).unwrap();
        assert!(store.ready().await);
    });
    assert_eq!(count(&store), 1);
}

#[test]
fn closing_finishes_what_is_queued() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("switch.db");
    let store = Store::open(&path).unwrap();
    let go = hold(&store);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let writing = runtime.spawn({
        let store = store.clone();
        async move {
            let domain = Domain {
                domain: "d1".to_owned(),
                ..Domain::default()
            };
            store
                .write(move |w| w.insert(&Actor::system("test", 0), domain))
                .await
        }
    });
    runtime.block_on(let_all_queue(1));
    let closing = std::thread::spawn(move || store.close());
    go.send(()).unwrap();
    closing.join().unwrap();
    assert!(runtime.block_on(writing).unwrap().is_ok());
    let store = Store::open(&path).unwrap();
    assert_eq!(store.read_blocking(|r| r.all_domains()).unwrap(), ["d1"]);
}
