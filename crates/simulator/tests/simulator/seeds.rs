//! Hundreds of small worlds: a few calls each over a network that loses, repeats, reorders and delays.

use simulator::scenario;
use std::time::Duration;

/// Seeds of every run. `SEEDS` in the environment sets another number, `SEED` runs exactly one.
const SEEDS: u64 = 400;

/// The same with a switch whose process dies up to three times.
const SEEDS_WITH_CRASHES: u64 = 200;

#[test]
fn every_seed_ends_with_nothing_left_and_one_record_a_call() {
    let (calls, answered, _) = run_all(scenario::run, SEEDS, "");
    // A world in which nothing works would pass the checks above.
    assert!(
        answered * 3 > calls,
        "only {answered} of {calls} calls were answered"
    );
}

#[test]
fn calls_outlive_the_process_with_nothing_left_and_one_record_each() {
    let run = scenario::run_with_crashes;
    let (calls, answered, resumed) = run_all(run, SEEDS_WITH_CRASHES, "--crashes ");
    assert!(
        answered * 3 > calls,
        "only {answered} of {calls} calls were answered"
    );
    assert!(
        resumed * 3 > calls,
        "only {resumed} of {calls} calls met a crash"
    );
}

#[test]
fn a_call_at_rest_does_what_a_call_awake_does() {
    let never = Duration::from_secs(86_400);
    let mut rested = 0;
    for seed in 1..=100 {
        let awake = scenario::run_resting(seed, never);
        let resting = scenario::run_resting(seed, Duration::ZERO);
        assert_eq!(resting.ladder, awake.ladder, "seed {seed}");
        assert_eq!(resting.releases, awake.releases, "seed {seed}");
        rested += resting.rests;
        assert_eq!(awake.rests, 0);
    }
    assert!(rested > 100, "calls were laid to rest {rested} times only");
}

/// Runs seeds; how many calls there were, were answered, and were resumed.
fn run_all(
    run: fn(u64, bool) -> scenario::Outcome,
    seeds: u64,
    argument: &str,
) -> (usize, usize, usize) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("SEEDS").unwrap_or(seeds),
    };
    let (mut calls, mut answered, mut resumed, mut failed) = (0, 0, 0, Vec::new());
    for seed in seeds {
        let outcome = run(seed, false);
        calls += outcome.calls;
        answered += outcome.answered;
        resumed += outcome.resumed;
        for fault in outcome.faults {
            failed.push(format!(
                "seed {seed}: {fault} (cargo run -p simulator -- {argument}--seed {seed})"
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    (calls, answered, resumed)
}
