use super::*;
use std::sync::Mutex;
use std::sync::mpsc;

fn cdr(id: usize) -> Box<Cdr> {
    Box::new(Cdr {
        id: id.to_string(),
        domain: "d1".into(),
        started_ms: 0,
        ringing_ms: None,
        answered_ms: None,
        ended_ms: 0,
        orig: model::CdrLeg::default(),
        term: None,
        dial_rule: None,
        release_side: model::ReleaseSide::Switch,
        release_status: 403,
        release_cause: None,
        release_text: String::new(),
        minimum_call_duration_seconds: 0,
        media: None,
        recording: None,
        decisions: Vec::new(),
    })
}

#[test]
fn stopping_writes_everything_in_order_and_in_batches() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&seen);
    let counts = Arc::new(CdrCounts::default());
    let write = move |batch: &[Arc<Cdr>]| {
        assert!(batch.len() <= BATCH_RECORDS);
        store
            .lock()
            .expect("lock")
            .extend(batch.iter().map(|cdr| cdr.id.clone()));
        Ok::<(), String>(())
    };
    let (queue, writer) = CdrWriter::start(write, Arc::clone(&counts)).expect("start");
    let total = BATCH_RECORDS * 2 + 7;
    let other = queue.of_another_shard();
    assert!((0..total).all(|id| queue.push(cdr(id))));
    writer.stop();
    let seen = seen.lock().expect("lock");
    assert!(
        seen.iter()
            .map(String::as_str)
            .eq((0..total).map(|id| id.to_string()))
    );
    assert_eq!(counts.written.load(Ordering::Relaxed), total as u64);
    assert_eq!(counts.waiting.load(Ordering::Relaxed), 0);
    let stored = queue.stored().load(Ordering::Relaxed);
    assert_eq!(
        (stored, other.stored().load(Ordering::Relaxed)),
        (total as u64, 0)
    );
}

#[test]
fn a_failing_store_is_asked_again_and_loses_nothing() {
    let (report, reports) = mpsc::channel();
    let counts = Arc::new(CdrCounts::default());
    let mut failures = 1;
    let write = move |batch: &[Arc<Cdr>]| {
        if failures > 0 {
            failures -= 1;
            return Err("disk full");
        }
        report.send(batch.len()).expect("the test listens");
        Ok(())
    };
    let (queue, writer) = CdrWriter::start(write, Arc::clone(&counts)).expect("start");
    queue.push(cdr(1));
    writer.stop();
    assert_eq!(reports.iter().sum::<usize>(), 1);
    assert_eq!(counts.failures.load(Ordering::Relaxed), 1);
}

#[test]
fn a_store_that_stays_broken_does_not_keep_the_switch_from_stopping() {
    let (tried, tries) = mpsc::channel();
    let counts = Arc::new(CdrCounts::default());
    let write = move |batch: &[Arc<Cdr>]| {
        let _ = tried.send(batch.len());
        Err("locked")
    };
    let (queue, writer) = CdrWriter::start(write, Arc::clone(&counts)).expect("start");
    queue.push(cdr(1));
    // It is at its wits' end already, and more is behind it.
    tries.iter().take(2).for_each(drop);
    for id in 0..3 * BATCH_RECORDS {
        assert!(queue.push(cdr(id)));
    }
    writer.stop();
    assert_eq!(
        counts.logged.load(Ordering::Relaxed),
        1 + 3 * BATCH_RECORDS as u64
    );
    // However often it tried meanwhile: once it gave up, what was behind was not tried as well.
    assert!(tries.iter().all(|records| records == 1));
}

#[test]
fn a_full_queue_goes_to_the_log_and_never_waits() {
    let (release, released) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel::<()>();
    let counts = Arc::new(CdrCounts::default());
    let mut blocked = true;
    let write = move |_: &[Arc<Cdr>]| {
        if std::mem::take(&mut blocked) {
            entered.send(()).expect("the test listens");
            // Ends when the test drops its end.
            let _ = released.recv();
        }
        Ok::<(), String>(())
    };
    let (queue, writer) = CdrWriter::start(write, Arc::clone(&counts)).expect("start");
    assert!((0..BATCH_RECORDS).all(|id| queue.push(cdr(id))));
    inside.recv().expect("the writer is in the store");
    let passed_on = (0..QUEUE_RECORDS + 5).filter(|id| queue.push(cdr(*id)));
    assert_eq!(passed_on.count(), QUEUE_RECORDS);
    assert_eq!(counts.logged.load(Ordering::Relaxed), 5);
    drop(release);
    writer.stop();
    assert_eq!(
        counts.written.load(Ordering::Relaxed),
        (BATCH_RECORDS + QUEUE_RECORDS) as u64
    );
}
