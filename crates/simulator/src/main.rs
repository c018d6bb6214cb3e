//! Runs seeds of the simulator: `--seed N` one with its messages, `--seeds N [--from M]` many.

use simulator::scenario;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    if let Some(seed) = value("--seed") {
        let outcome = scenario::run(seed, true);
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
        eprintln!("usage: simulator --seed N | --seeds COUNT [--from FIRST]");
        return ExitCode::FAILURE;
    };
    let from = value("--from").unwrap_or(1);
    let (mut calls, mut answered, mut failed) = (0, 0, 0);
    for seed in from..from + seeds {
        let outcome = scenario::run(seed, false);
        calls += outcome.calls;
        answered += outcome.answered;
        if !outcome.faults.is_empty() {
            failed += 1;
            println!("seed {seed} failed; again with: cargo run -p simulator -- --seed {seed}");
            outcome
                .faults
                .iter()
                .for_each(|fault| println!("    {fault}"));
        }
    }
    println!("{seeds} seeds, {calls} calls, {answered} answered, {failed} seeds failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
