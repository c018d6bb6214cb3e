//! Hundreds of small worlds: a few calls each over a network that loses, repeats, reorders and delays.

use simulator::scenario;

/// Seeds of every run. `SEEDS` in the environment sets another number, `SEED` runs exactly one.
const SEEDS: u64 = 400;

#[test]
fn every_seed_ends_with_nothing_left_and_one_record_a_call() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("SEEDS").unwrap_or(SEEDS),
    };
    let (mut calls, mut answered, mut failed) = (0, 0, Vec::new());
    for seed in seeds {
        let outcome = scenario::run(seed, false);
        calls += outcome.calls;
        answered += outcome.answered;
        for fault in outcome.faults {
            failed.push(format!(
                "seed {seed}: {fault} (cargo run -p simulator -- --seed {seed})"
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // A world in which nothing works would pass the checks above.
    assert!(
        answered * 3 > calls,
        "only {answered} of {calls} calls were answered"
    );
}
