//! The binary as its user meets it. Scenarios with real peers are under `tests/` at the root of the repository.

use std::process::{Command, Output};

fn strowger(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strowger"));
    // The settings of whoever runs the tests are not the subject.
    let ours = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_string_lossy().starts_with("STROWGER_"));
    ours.for_each(|name| _ = command.env_remove(name));
    command.args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_demo_carries_a_call_with_audio_both_ways() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let heard = folder.path().join("heard.wav");
    let output = strowger(&["demo", "--play", heard.to_str().expect("UTF-8")]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    for part in [
        "POST /connections",
        "INVITE 0100@demo · SDP",
        "INVITE 13105550100@ben.test · SDP",
        "180 Ringing",
        "BYE",
        "✓ Ann heard 660 Hz",
        "✓ Ben heard 440 Hz",
        "ended by the caller",
    ] {
        assert!(said.contains(part), "\"{part}\" is missing in\n{said}");
    }
    assert!(!said.contains('\x1b'), "colours, though nobody looks");
    assert!(
        said.lines().all(|line| line.chars().count() <= 100),
        "wider than a hundred columns:\n{said}"
    );
    assert!(std::fs::metadata(heard).expect("the WAV file").len() > 40_000);
}

#[test]
fn what_stops_a_start_is_one_sentence() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("strowger.toml");
    std::fs::write(&file, "drain_second = 3\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    for (arguments, parts) in [
        (
            vec!["serve", "--config", file],
            ["drain_second", "drain_seconds"],
        ),
        (vec!["serve", "--data", file], ["data folder", "--data"]),
        (vec!["serve", "--rtp-ports", "9-8"], ["--rtp-ports", "9-8"]),
        (
            vec!["cdr", "tail", "--data", "/nonexistent"],
            ["/nonexistent", "serve"],
        ),
    ] {
        let arguments = [
            &arguments[..],
            if arguments[0] == "serve" {
                &["--http", "127.0.0.1:0"]
            } else {
                &[]
            },
        ]
        .concat();
        let output = strowger(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        for part in parts {
            assert!(
                said.contains(part),
                "{arguments:?}: \"{part}\" is missing in {said}"
            );
        }
    }
}
