use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::open::JournalError;
use super::*;

const NODE: &str = "node one";

fn open(folder: &Path, shards: usize) -> Journals {
    Journals::open(folder, NODE, shards, false).expect("the journal opens")
}

/// The journal of the only shard, and what it had to say.
fn one(folder: &Path) -> (Journal, Replayed) {
    let mut journals = open(folder, 1);
    journals.shards.remove(0)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).expect("folder");
    let mut files: Vec<_> = all
        .map(|file| file.expect("file").path())
        .filter(|path| path.extension().is_some_and(|it| it == "journal"))
        .collect();
    files.sort();
    files
}

fn bytes(folder: &Path) -> u64 {
    let sizes = files(folder).into_iter().map(|file| file.metadata());
    sizes.map(|it| it.expect("metadata").len()).sum()
}

/// What a change does to a plain map: the truth that the journal is held against.
#[derive(Clone, Debug)]
enum Change {
    Keep(u64, Vec<u8>),
    Forget(u64),
}

fn apply(to: &mut BTreeMap<u64, Vec<u8>>, change: &Change) {
    match change {
        Change::Keep(key, state) => {
            to.insert(*key, state.clone());
        }
        Change::Forget(key) => {
            to.remove(key);
        }
    }
}

fn tell(journal: &mut Journal, change: &Change) {
    match change {
        Change::Keep(key, state) => journal.keep(*key, state),
        Change::Forget(key) => journal.forget(*key),
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0..12u64, prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(key, state)| Change::Keep(key, state)),
        1 => (0..12u64).prop_map(Change::Forget),
    ]
}

fn damage() -> impl Strategy<Value = (u8, prop::sample::Index, Vec<u8>)> {
    let bytes = prop::collection::vec(any::<u8>(), 1..64);
    (0..4u8, any::<prop::sample::Index>(), bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Cut anywhere, overwritten anywhere, with rubbish or zeroes behind it: what comes back was true at some moment, and
    /// what stands before the damage is all there.
    #[test]
    fn whatever_happens_to_a_file_a_prefix_comes_back(
        turns in prop::collection::vec(prop::collection::vec(change(), 1..4), 1..20),
        (kind, place, rubbish) in damage(),
    ) {
        let folder = tempfile::tempdir().expect("folder");
        let (mut journal, _) = one(folder.path());
        // The truth after each frame, and where in the file that frame ends.
        let (mut truth, mut moments) = (BTreeMap::new(), Vec::new());
        let now = Instant::now();
        for turn in &turns {
            for change in turn {
                tell(&mut journal, change);
            }
            journal.write(now);
            let mut end = journal.current.as_ref().expect("a file").length;
            let mut ends = Vec::new();
            for change in turn.iter().rev() {
                ends.push(end);
                let payload = match change {
                    Change::Keep(_, state) => state.len(),
                    Change::Forget(_) => 0,
                };
                end -= (frame::FRAME_HEAD_BYTES + payload) as u64;
            }
            if moments.is_empty() {
                moments.push((end, truth.clone()));
            }
            for (change, end) in turn.iter().zip(ends.into_iter().rev()) {
                apply(&mut truth, change);
                moments.push((end, truth.clone()));
            }
        }
        drop(journal);

        let path = files(folder.path()).remove(0);
        let mut file = fs::read(&path).expect("file");
        let head = moments[0].0 as usize;
        let at = head + place.index(file.len() - head + 1);
        match kind {
            0 => file.truncate(at),
            1 => {
                let end = (at + rubbish.len()).min(file.len());
                file[at..end].copy_from_slice(&rubbish[..end - at]);
            }
            2 => {
                file.truncate(at);
                file.extend(&rubbish);
            }
            _ => {
                file.truncate(at);
                file.resize(at + rubbish.len() * 20, 0);
            }
        }
        fs::write(&path, &file).expect("written");

        let (_, replayed) = one(folder.path());
        let found: BTreeMap<_, _> = replayed.into_iter().collect();
        let least = moments.iter().rposition(|(end, _)| *end <= at as u64).expect("the head is whole");
        prop_assert!(
            moments[least..].iter().any(|(_, truth)| *truth == found),
            "found {found:?}"
        );
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Through new files and restarts, nothing is lost and nothing comes back.
    #[test]
    fn what_was_written_comes_back_whatever_files_it_went_through(
        runs in prop::collection::vec(prop::collection::vec(change(), 0..40), 1..6),
    ) {
        let folder = tempfile::tempdir().expect("folder");
        let mut truth = BTreeMap::new();
        for run in &runs {
            let (mut journal, replayed) = one(folder.path());
            let found: BTreeMap<_, _> = replayed.into_iter().collect();
            prop_assert_eq!(&found, &truth);
            for change in run {
                // Long enough for a new file now and then.
                let change = match change {
                    Change::Keep(key, state) => Change::Keep(*key, state.repeat(800)),
                    Change::Forget(key) => Change::Forget(*key),
                };
                tell(&mut journal, &change);
                apply(&mut truth, &change);
                journal.write(Instant::now());
            }
        }
        let (_, replayed) = one(folder.path());
        prop_assert_eq!(replayed.into_iter().collect::<BTreeMap<_, _>>(), truth);
    }
}

#[test]
fn the_files_stay_within_their_bound() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut journal, _) = one(folder.path());
    let now = Instant::now();
    let calls = 500;
    let state = vec![7; 4000];
    let live = calls * (state.len() as u64 + 17);
    let mut most_files = 0;
    // A turn writes before anybody looks at the length again.
    let bound = SIZE_FACTOR * live + 2 * (SLACK_BYTES + CARRY_BYTES);
    for n in 0..20_000 {
        journal.keep(n * 7 % calls, &state);
        journal.write(now);
        if n % 13 == 0 {
            let size = bytes(folder.path());
            assert!(size <= bound, "{size} bytes, {bound} allowed");
            assert_eq!(size, journal.counts().bytes.load(Ordering::Relaxed));
            most_files = most_files.max(files(folder.path()).len());
        }
    }
    assert_eq!(most_files, 2, "a new file was begun, and never a third");
    for key in 0..calls {
        journal.forget(key);
    }
    journal.write(now);
    while journal.due_in(now).is_some() {
        journal.write(now);
    }
    assert_eq!(journal.counts().entries.load(Ordering::Relaxed), 0);
}

#[test]
fn an_old_file_is_emptied_by_a_shard_that_has_nothing_to_say() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut journal, _) = one(folder.path());
    let state = vec![1; 10_000];
    (0..50).for_each(|key| journal.keep(key, &state));
    journal.write(Instant::now());
    drop(journal);
    let (mut journal, replayed) = one(folder.path());
    assert_eq!(replayed.len(), 50);
    while journal.due_in(Instant::now()).is_some() {
        journal.write(Instant::now());
    }
    let names: Vec<_> = files(folder.path())
        .iter()
        .map(|path| path.file_name().expect("name").to_owned())
        .collect();
    assert_eq!(names, ["shard-0-000001.journal", "shard-0-000002.journal"]);
    let spare = journal.spare.as_ref().expect("the old file");
    assert_eq!(spare.live, 0);
    assert!(spare.length < 1_000 && spare.size > 500_000);
    drop(journal);
    let (journal, replayed) = one(folder.path());
    assert_eq!(replayed.len(), 50);
    assert!(journal.spare.is_some() && journal.old.len() == 1);
}

#[test]
fn what_a_file_said_in_an_earlier_life_is_not_read() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut journal, _) = one(folder.path());
    let state = vec![7; 4000];
    // Three times through both files, with nothing to carry over but one call.
    journal.keep(0, &state);
    while journal.next_serial < 6 {
        journal.keep(1, &state);
        journal.write(Instant::now());
    }
    journal.forget(1);
    journal.write(Instant::now());
    let current = journal.current.as_ref().expect("a file");
    assert!(
        current.length + state.len() as u64 * 2 < current.size,
        "frames of an earlier life are there"
    );
    let (path, length) = (current.path.clone(), current.length);
    drop(journal);
    let (journal, replayed) = one(folder.path());
    assert_eq!(replayed, [(0, state.clone())]);
    drop(journal);
    // Not even where the end is missing.
    let mut file = fs::read(&path).expect("file");
    let frame = frame::FRAME_HEAD_BYTES + state.len();
    let stale = (length as usize..file.len() - frame)
        .find(|at| file[*at..].starts_with(&(state.len() as u32).to_le_bytes()))
        .expect("a frame of an earlier life");
    file.drain(length as usize..stale);
    fs::write(&path, &file).expect("written");
    assert_eq!(one(folder.path()).1, [(0, state)]);
}

#[test]
fn a_crash_while_a_file_is_begun_again_leaves_nothing_of_it() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut journal, _) = one(folder.path());
    journal.keep(1, b"state");
    journal.write(Instant::now());
    let head = journal.head(9);
    let mut file = Segment::create(folder.path(), &journal.head(2)).expect("a file");
    file.begin(&head, false)
        .expect("a new head under the old name");
    drop(journal);
    let (_, replayed) = one(folder.path());
    assert_eq!(replayed, [(1, b"state".to_vec())]);
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn ten_thousand_calls_are_read_back_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut journal, _) = one(folder.path());
    for key in 0..10_000_u64 {
        journal.keep(key, &key.to_le_bytes().repeat(500));
        if key % 50 == 0 {
            journal.write(Instant::now());
        }
    }
    journal.write(Instant::now());
    drop(journal);
    let began = Instant::now();
    let (_, replayed) = one(folder.path());
    println!("read back in {:?}", began.elapsed());
    assert_eq!(replayed.len(), 10_000);
    for (key, state) in &replayed {
        assert_eq!(state[..8], key.to_le_bytes());
        assert_eq!(state.len(), 4000);
    }
}

#[test]
fn calls_go_to_their_shard_even_when_fewer_are_configured() {
    let folder = tempfile::tempdir().expect("folder");
    let mut journals = open(folder.path(), 4);
    for (number, (journal, _)) in journals.shards.iter_mut().enumerate() {
        journal.keep(number as u64, b"state");
        journal.write(Instant::now());
    }
    journals.shards[3].0.forget(3);
    journals.shards[3].0.write(Instant::now());
    drop(journals);
    let journals = open(folder.path(), 1);
    let calls: Vec<_> = journals
        .shards
        .iter()
        .map(|(_, replayed)| replayed.clone())
        .collect();
    let state = b"state".to_vec();
    assert_eq!(
        calls,
        [0, 1, 2].map(|key| vec![(key, state.clone())]),
        "the fourth holds nothing, so it is not needed"
    );
    drop(journals);
    assert_eq!(open(folder.path(), 5).shards.len(), 5);
}

#[test]
fn two_processes_never_write_one_journal() {
    let folder = tempfile::tempdir().expect("folder");
    let held = open(folder.path(), 1);
    let second = Journals::open(folder.path(), NODE, 1, false);
    assert!(matches!(second, Err(JournalError::InUse(_))));
    drop(held);
    open(folder.path(), 1);
}

#[test]
fn the_calls_of_another_node_are_not_ours() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut journal, _) = one(folder.path());
    journal.keep(1, b"state");
    journal.write(Instant::now());
    drop(journal);
    let mut others = Journals::open(folder.path(), "node two", 1, false).expect("opens");
    let (mut journal, replayed) = others.shards.remove(0);
    assert!(replayed.is_empty());
    journal.keep(2, b"state of another");
    journal.write(Instant::now());
    drop((journal, others));
    let strange = folder.path().join("shard-0-000001.journal.strange");
    assert!(strange.exists(), "whoever wants to look finds it");
}

#[test]
fn what_is_no_journal_is_set_aside() {
    let folder = tempfile::tempdir().expect("folder");
    fs::create_dir_all(folder.path()).expect("folder");
    fs::write(folder.path().join("shard-0-000009.journal"), b"strowJNL").expect("written");
    fs::write(folder.path().join("notes.txt"), b"mine").expect("written");
    let (mut journal, replayed) = one(folder.path());
    assert!(replayed.is_empty());
    journal.keep(1, b"state");
    journal.write(Instant::now());
    assert!(folder.path().join("shard-0-000010.journal").exists());
    assert!(folder.path().join("notes.txt").exists());
}

#[test]
fn a_state_too_long_to_keep_is_not_replaced_by_an_older_one() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut journal, _) = one(folder.path());
    journal.keep(1, b"short");
    journal.keep(1, &vec![0; PAYLOAD_BYTES_MAX + 1]);
    journal.keep(2, &vec![9; PAYLOAD_BYTES_MAX]);
    journal.write(Instant::now());
    let failures = journal.counts().failures.load(Ordering::Relaxed);
    drop(journal);
    let (_, replayed) = one(folder.path());
    let found: Vec<_> = replayed.iter().map(|(key, it)| (*key, it.len())).collect();
    assert_eq!((found, failures), (vec![(2, PAYLOAD_BYTES_MAX)], 1));
}

/// Lets writing fail, and what a write left behind not be taken back: the current file is open for reading only.
fn break_writing(journal: &mut Journal) {
    let current = journal.current.as_mut().expect("a file");
    current.file = fs::File::open(&current.path).expect("opens");
}

#[test]
fn what_could_not_be_written_is_written_when_there_is_room_again() {
    let parent = tempfile::tempdir().expect("folder");
    let folder = parent.path().join("journal");
    let (mut journal, _) = one(&folder);
    let mut now = Instant::now();
    journal.keep(1, b"one");
    journal.keep(2, b"two");
    journal.write(now);

    break_writing(&mut journal);
    let kept = parent.path().join("kept");
    fs::rename(&folder, &kept).expect("moved");
    journal.keep(1, b"one, later");
    journal.forget(2);
    journal.keep(3, b"three");
    journal.keep(4, b"four");
    journal.write(now);
    journal.forget(4);
    let counts = journal.counts();
    assert_eq!(counts.failures.load(Ordering::Relaxed), 1);
    // Not again before its time.
    journal.write(now);
    assert_eq!(counts.failures.load(Ordering::Relaxed), 1);
    now += journal.due_in(now).expect("tries again");
    journal.write(now);
    assert_eq!(counts.failures.load(Ordering::Relaxed), 2);
    assert_eq!(
        counts.unkept.load(Ordering::Relaxed),
        3,
        "the latest of each, and no word of what was never in a file"
    );

    fs::rename(&kept, &folder).expect("moved back");
    now += journal.due_in(now).expect("tries again");
    journal.write(now);
    assert_eq!(counts.unkept.load(Ordering::Relaxed), 0);
    journal.keep(5, b"five");
    journal.write(now);
    drop(journal);
    let (_, replayed) = one(&folder);
    let found: Vec<_> = replayed.iter().map(|(key, it)| (*key, &it[..])).collect();
    assert_eq!(
        found,
        [(1, &b"one, later"[..]), (3, b"three"), (5, b"five")]
    );
}

#[test]
fn many_changes_that_wait_are_written_a_part_at_a_time() {
    let parent = tempfile::tempdir().expect("folder");
    let folder = parent.path().join("journal");
    let (mut journal, _) = one(&folder);
    let mut now = Instant::now();
    fs::rename(&folder, parent.path().join("away")).expect("moved");
    let state = vec![3; 200_000];
    for key in 0..20 {
        journal.keep(key, &state);
        journal.write(now);
    }
    fs::rename(parent.path().join("away"), &folder).expect("moved back");
    let mut parts = 0;
    while let Some(wait) = journal.due_in(now) {
        now += wait;
        let before = bytes(&folder);
        journal.write(now);
        assert!(bytes(&folder) - before < 2 * CATCH_UP_BYTES as u64);
        parts += 1;
    }
    assert!(parts >= 3, "{parts} parts");
    drop(journal);
    assert_eq!(one(&folder).1.len(), 20);
}

#[test]
fn a_call_that_is_over_is_kept_until_its_record_is_stored() {
    let folder = tempfile::tempdir().expect("folder");
    let (journal, _) = one(folder.path());
    let stored = Arc::new(AtomicU64::new(0));
    let mut desk = JournalDesk::new(Some(journal), Arc::clone(&stored));
    let now = Instant::now();
    desk.keep(1, b"never had a record");
    desk.forget(1);
    desk.keep(2, b"over");
    desk.record_handed_out();
    desk.forget(2);
    desk.write(now);
    let kept = |desk: &JournalDesk| {
        let counts = desk.journal.as_ref().expect("a journal").counts();
        counts.entries.load(Ordering::Relaxed)
    };
    assert_eq!(kept(&desk), 1);
    assert!(desk.due_in(now).is_some(), "looks again by itself");
    stored.store(1, Ordering::Release);
    desk.write(now);
    assert_eq!((kept(&desk), desk.due_in(now)), (0, None));

    let mut none = JournalDesk::new(None, stored);
    none.keep(3, b"state");
    none.forget(3);
    none.write(now);
    assert_eq!(none.due_in(now), None);
}
