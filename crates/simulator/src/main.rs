//! Runs seeds of the simulator: `--seed N` one with its messages, `--seeds N [--from M]` many; with `--crashes` the
//! process of the switch dies now and then.

use simulator::scenario;
use std::collections::BTreeMap;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let crashes = arguments.iter().any(|argument| argument == "--crashes");
    let run = match crashes {
        true => scenario::run_with_crashes,
        false => scenario::run,
    };
    if let Some(seed) = value("--seed") {
        let outcome = run(seed, true);
        outcome.ladder.iter().for_each(|line| println!("{line}"));
        outcome
            .faults
            .iter()
            .for_each(|fault| println!("seed {seed}: {fault}"));
        println!(
            "seed {seed}: {} calls, {} answered, {} faults",
            outcome.calls,
            outcome.answered,
            outcome.faults.len()
        );
        return if outcome.faults.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let Some(seeds) = value("--seeds") else {
        eprintln!("usage: simulator [--crashes] --seed N | --seeds COUNT [--from FIRST]");
        return ExitCode::FAILURE;
    };
    let from = value("--from").unwrap_or(1);
    let (mut calls, mut answered, mut resumed, mut failed) = (0, 0, 0, 0);
    let mut releases: BTreeMap<String, usize> = BTreeMap::new();
    for seed in from..from + seeds {
        let outcome = run(seed, false);
        calls += outcome.calls;
        resumed += outcome.resumed;
        for release in outcome.releases {
            *releases.entry(release).or_insert(0) += 1;
        }
        answered += outcome.answered;
        if !outcome.faults.is_empty() {
            failed += 1;
            println!(
                "seed {seed} failed; again with: cargo run -p simulator -- {}--seed {seed}",
                if crashes { "--crashes " } else { "" }
            );
            outcome
                .faults
                .iter()
                .for_each(|fault| println!("    {fault}"));
        }
    }
    for (release, count) in releases {
        println!("{count:>8}  {release}");
    }
    println!(
        "{seeds} seeds, {calls} calls, {answered} answered, {resumed} resumed, {failed} seeds failed"
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
