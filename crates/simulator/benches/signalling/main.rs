//! What a call costs call control alone: no socket, no kernel, no carriers.
//!
//! ```text
//! cargo bench -p simulator --bench signalling                  # all of it
//! cargo bench -p simulator --bench signalling -- calls held    # some of it:
//!     # calls, digest, relay, journal, restore, held, growth, directory
//! valgrind --tool=callgrind --toggle-collect='*Player*play*' target/release/deps/signalling-… calls
//! valgrind --tool=dhat --num-callers=40 target/release/deps/signalling-… held --leave
//! ```
//!
//! CPU time is this thread's, from the kernel's accounting, best of several rounds. Allocations are counted, so they
//! are exact and the same on every machine. With `--leave` the program ends while the calls are up, so that a profiler
//! of the heap shows at its end what they hold.

mod carriers;
mod directory;
mod records;
mod tape;

use records::Needs;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::time::Duration;
use tape::{Load, Player, Tape};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Calls before those that are measured: tables have grown, and transactions linger as they always will.
const WARM_UP: Duration = Duration::from_secs(40);
const PER_SECOND: u32 = 100;
const MEASURED: Duration = Duration::from_secs(20);
const ROUNDS: usize = 5;

/// After this long without calls every SIP transaction is over.
const QUIET: Duration = Duration::from_secs(40);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test` runs benches too, to see that they work; once is enough for that.
    let measure = words.iter().any(|word| word == "--bench");
    let wanted: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let all = wanted.is_empty();
    let rounds = if measure { ROUNDS } else { 1 };
    let scale = if measure { 1 } else { 20 };
    println!(
        "{:44}{:>10}{:>14}{:>12}",
        "", "µs a call", "allocations", "KiB of them"
    );
    let digest = Needs {
        digest: true,
        ..Needs::default()
    };
    let relay = Needs {
        relay: true,
        ..Needs::default()
    };
    let journal = Needs {
        journal: true,
        ..relay
    };
    for (word, title, needs) in [
        ("calls", "a call, two connections", Needs::default()),
        ("digest", "a call, digest on the inbound side", digest),
        ("relay", "a call, media ports set up", relay),
        ("journal", "the same, kept in a journal", journal),
    ] {
        if all || wanted.contains(&word) {
            per_call(title, load(100, 1, needs), rounds);
        }
    }
    if all || wanted.contains(&"growth") {
        for held in [500, 2_000, 8_000] {
            per_call(
                &format!("with {held} calls held"),
                load(held / scale, 1, Needs::default()),
                rounds,
            );
        }
        for domains in [1, 100, 10_000] {
            per_call(
                &format!("with {domains} domains"),
                load(100, domains / scale, Needs::default()),
                rounds,
            );
        }
    }
    if all || wanted.contains(&"restore") {
        restore(10_000 / scale, journal);
    }
    if all || wanted.contains(&"directory") {
        println!();
        directory::measure(10_000 / scale);
    }
    if all || wanted.contains(&"held") {
        println!(
            "\n{:44}{:>10}{:>14}{:>12}",
            "", "calls", "KiB each", "after 40 s"
        );
        let leave = words.iter().any(|word| word == "--leave");
        for (title, needs) in [
            ("memory per held call, signalling only", Needs::default()),
            ("memory per held call, media ports set up", relay),
        ] {
            held(title, 10_000 / scale, needs, leave);
        }
    }
}

/// So many calls at a time in as many domains.
fn load(held: usize, domains: usize, needs: Needs) -> Load {
    let held = Duration::from_secs(1) * held as u32 / PER_SECOND;
    Load {
        calls: ((WARM_UP + held + MEASURED).as_secs() as usize + 1) * PER_SECOND as usize,
        per_second: PER_SECOND,
        held,
        domains: domains.max(1),
        needs,
    }
}

fn per_call(title: &str, load: Load, rounds: usize) {
    let tape = Tape::record(load);
    let warm = WARM_UP + load.held;
    let mut best = f64::MAX;
    let mut counted = None;
    for _ in 0..rounds {
        let mut player = tape.player();
        player.play(warm);
        let before = cpu_ns();
        let (records, region) = (player.records, Region::new(ALLOCATOR));
        player.play(warm + MEASURED);
        let calls = (player.records - records) as f64;
        let heap = region.change();
        best = best.min((cpu_ns() - before) as f64 / 1000.0 / calls);
        counted = Some((
            (heap.allocations + heap.reallocations) as f64 / calls,
            heap.bytes_allocated as f64 / 1024.0 / calls,
        ));
    }
    let (allocations, kib) = counted.unwrap_or_default();
    println!("{title:44}{best:>10.1}{allocations:>14.1}{kib:>12.1}");
}

/// What a journal takes, and how soon another process goes on with it.
fn restore(calls: usize, needs: Needs) {
    let per_second = 500;
    let ramp = Duration::from_secs(1) * calls as u32 / per_second;
    let load = Load {
        calls,
        per_second,
        held: ramp + QUIET + QUIET,
        domains: 1,
        needs,
    };
    let tape = Tape::record(load);
    let mut player = tape.player();
    player.journal = Some(Default::default());
    let up = ramp + QUIET;
    player.play(up);
    assert_eq!(player.calls(), calls);
    let (kept, journal) = (player.kept, player.journal.take().unwrap_or_default());
    let bytes: usize = journal.values().map(Vec::len).sum();
    let each = |sum: usize, of: usize| sum as f64 / of as f64;
    println!(
        "\n{calls} calls up: {:.1} entries each so far, of {:.0} bytes; {:.0} bytes each now",
        each(kept.entries, calls),
        each(kept.bytes, kept.entries),
        each(bytes, journal.len()),
    );
    let mut successor = tape.successor();
    let before = cpu_ns();
    tape.restore(&mut successor, up, &journal);
    println!("restored in {} ms", (cpu_ns() - before) / 1_000_000);
}

fn held(title: &str, calls: usize, needs: Needs, leave: bool) {
    let per_second = 500;
    let ramp = Duration::from_secs(1) * calls as u32 / per_second;
    let load = Load {
        calls,
        per_second,
        held: ramp + QUIET + QUIET,
        domains: 1,
        needs,
    };
    let tape = Tape::record(load);
    let mut player = tape.player();
    let region = Region::new(ALLOCATOR);
    let each = |player: &mut Player<'_>, at: Duration| {
        player.play(at);
        assert_eq!(player.calls(), calls);
        let heap = region.change();
        (heap.bytes_allocated as f64 - heap.bytes_deallocated as f64) / calls as f64 / 1024.0
    };
    let at_once = each(&mut player, ramp + Duration::from_secs(4));
    let later = each(&mut player, ramp + QUIET);
    if leave {
        std::process::exit(0);
    }
    println!("{title:44}{calls:>10}{at_once:>14.2}{later:>12.2}");
}

/// What this thread has used of a CPU.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number")
}
