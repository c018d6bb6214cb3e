//! Call records: in batches, by time, by position.

use model::{Cdr, CdrLeg, CdrRecording, ReleaseSide};
use store::{CdrFilter, CdrTotals, Page, Store};

fn cdr(id: &str, domain: &str, started_ms: i64, talk_ms: Option<i64>) -> Cdr {
    let leg = |name: &str| CdrLeg {
        call_id: format!("{id}-{name}@switch"),
        from_uri: "sip:12125550111@a".to_owned(),
        to_uri: "sip:13105550100@b".to_owned(),
        connection_domain: Some("*".to_owned()),
        connection_orig_match_pattern: Some("sip*@carrier".to_owned()),
        ..CdrLeg::default()
    };
    Cdr {
        id: id.to_owned(),
        domain: domain.to_owned(),
        started_ms,
        ringing_ms: Some(started_ms + 100),
        answered_ms: talk_ms.map(|_| started_ms + 1000),
        ended_ms: started_ms + 1000 + talk_ms.unwrap_or(0),
        orig: leg("orig"),
        term: talk_ms.map(|_| leg("term")),
        dial_rule: Some("DID Table/Knx8".to_owned()),
        release_side: ReleaseSide::Orig,
        release_status: if talk_ms.is_some() { 200 } else { 487 },
        release_cause: Some(16),
        release_text: "Orig: Bye".to_owned(),
        minimum_call_duration_seconds: 6,
        media: None,
        recording: None,
        decisions: vec!["source: connection */sip*@carrier".to_owned()],
    }
}

fn ids(cdrs: &[Cdr]) -> Vec<&str> {
    cdrs.iter().map(|cdr| &*cdr.id).collect()
}

#[test]
fn a_batch_is_stored_once() {
    let store = Store::open_in_memory().unwrap();
    let batch = vec![cdr("a", "d1", 1000, Some(5000)), cdr("b", "d1", 2000, None)];
    assert_eq!(store.append_cdrs_blocking(batch.clone()), Ok(2));
    // Sent again after a lost answer.
    assert_eq!(store.append_cdrs_blocking(batch.clone()), Ok(0));
    let stored = store.read_blocking(|r| r.tail_cdrs(0, 10)).unwrap();
    let stored: Vec<Cdr> = stored.into_iter().map(|(_, cdr)| cdr).collect();
    assert_eq!(stored, batch);
}

#[test]
fn recordings_have_columns_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let store = Store::open(&path).unwrap();
    let recorded = Cdr {
        recording: Some(CdrRecording {
            path: Some("recordings/d1/2026-01-02/a.wav".to_owned()),
            owner: "domain@d1".to_owned(),
            duration_ms: 4_980,
            failure: Some("the disk is full".to_owned()),
        }),
        ..cdr("a", "d1", 1000, Some(5000))
    };
    let batch = vec![recorded, cdr("b", "d1", 2000, None)];
    store.append_cdrs_blocking(batch.clone()).unwrap();
    let stored = store.read_blocking(|r| r.tail_cdrs(0, 10)).unwrap();
    assert!(stored.into_iter().map(|(_, cdr)| cdr).eq(batch));
    store.close();

    let raw = rusqlite::Connection::open(&path).unwrap();
    let mut statement = raw
        .prepare("SELECT recording_path, recording_ms, recording_failure FROM cdrs ORDER BY call")
        .unwrap();
    let rows: Vec<(Option<String>, Option<i64>, Option<String>)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let expected = (
        Some("recordings/d1/2026-01-02/a.wav".to_owned()),
        Some(4_980),
        Some("the disk is full".to_owned()),
    );
    assert_eq!(rows, [expected, (None, None, None)]);
}

#[test]
fn a_reader_follows_by_position() {
    let store = Store::open_in_memory().unwrap();
    let append = |id: &str| {
        store
            .append_cdrs_blocking(vec![cdr(id, "d1", 0, None)])
            .unwrap()
    };
    assert_eq!(store.read_blocking(|r| r.last_cdr_position()), Ok(0));
    append("a");
    append("b");
    let first = store.read_blocking(|r| r.tail_cdrs(0, 1)).unwrap();
    assert_eq!(first[0].1.id, "a");
    let position = first[0].0;
    append("c");
    let rest = store
        .read_blocking(move |r| r.tail_cdrs(position, 10))
        .unwrap();
    assert_eq!(
        rest.iter().map(|(_, cdr)| &*cdr.id).collect::<Vec<_>>(),
        ["b", "c"]
    );

    // Positions are not used again, so a follower misses nothing after rows expired.
    let last = rest[1].0;
    assert_eq!(store.write_blocking(|w| w.expire_cdrs(i64::MAX)), Ok(3));
    append("d");
    let after = store.read_blocking(move |r| r.tail_cdrs(last, 10)).unwrap();
    assert_eq!(after[0].1.id, "d");
}

#[test]
fn lists_are_newest_first_and_narrowed() {
    let store = Store::open_in_memory().unwrap();
    let batch = vec![
        cdr("a", "d1", 1000, Some(5000)),
        cdr("b", "d2", 2000, None),
        cdr("c", "d1", 3000, Some(7000)),
    ];
    store.append_cdrs_blocking(batch).unwrap();
    let list = |filter: CdrFilter| {
        store
            .read_blocking(move |r| r.cdrs(&filter, Page::default()))
            .unwrap()
    };
    assert_eq!(ids(&list(CdrFilter::default())), ["c", "b", "a"]);
    let d1 = CdrFilter {
        domain: Some("d1".into()),
        ..CdrFilter::default()
    };
    assert_eq!(ids(&list(d1.clone())), ["c", "a"]);
    let between = CdrFilter {
        from_ms: Some(1000),
        until_ms: Some(3000),
        ..CdrFilter::default()
    };
    assert_eq!(ids(&list(between)), ["b", "a"]);
    let leg = CdrFilter {
        call_id: Some("c-term@switch".into()),
        ..CdrFilter::default()
    };
    assert_eq!(ids(&list(leg)), ["c"]);
    let totals = store.read_blocking(move |r| r.count_cdrs(&d1)).unwrap();
    assert_eq!(
        totals,
        CdrTotals {
            records: 2,
            talk_ms: 12_000
        }
    );
}
