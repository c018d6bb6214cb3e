//! The crate graph is the architecture, so the architecture is a test.
//!
//! Two things are proved here. The arrows between our own crates are the ones ARCHITECTURE.md draws, and no other.
//! And the crates that hold the logic stay pure: nothing below them can reach a socket, a runtime or a clock, neither
//! by a dependency, however far down, nor by the standard library.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each crate may use. A new word in here is a design change: say why in the commit.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &["bus", "model", "store"]),
    ("bus", &["model"]),
    (
        "driver",
        &["bus", "media", "model", "sip", "sockets", "store", "switch"],
    ),
    ("keep", &[]),
    ("media", &["keep"]),
    ("model", &[]),
    ("simulator", &["media", "model", "sip", "switch"]),
    ("sip", &["keep"]),
    ("sockets", &[]),
    ("store", &["model"]),
    (
        "strowger",
        &[
            "api",
            "bus",
            "driver",
            "media",
            "model",
            "simulator",
            "sip",
            "sockets",
            "store",
            "switch",
        ],
    ),
    ("switch", &["keep", "media", "model", "sip"]),
];

/// The crates that decide. They are told the time and handed bytes; they never fetch either.
const PURE: &[&str] = &["keep", "media", "model", "sip", "switch"];

/// Crates that reach the operating system, and so must not lie anywhere beneath a pure one.
const IMPURE_CRATES: &[&str] = &[
    "async-std",
    "axum",
    "hickory-resolver",
    "hyper",
    "mio",
    "nix",
    "reqwest",
    "rusqlite",
    "rustix",
    "smol",
    "socket2",
    "sockets",
    "tokio",
    "ureq",
];

/// What a pure crate must not say, and what it does instead.
const IMPURE_WORDS: &[(&str, &str)] = &[
    ("Instant::now", "take `now` as an argument"),
    (
        "SystemTime",
        "take wall time in milliseconds as an argument",
    ),
    ("UdpSocket", "return an `Output::Transmit`"),
    ("TcpStream", "return an `Output::Transmit`"),
    ("TcpListener", "leave listening to `driver`"),
    ("ToSocketAddrs", "return an `Output::Lookup`"),
    ("std::fs", "be handed what the file says"),
    ("std::env", "be handed the setting"),
    ("std::thread", "be called by a thread"),
    ("Mutex", "own the value: one shard, one thread"),
    ("RwLock", "own the value: one shard, one thread"),
    (".await", "return an intention and be told the outcome"),
];

#[test]
fn the_arrows_between_our_crates_run_one_way() {
    let metadata = metadata();
    let ours = members(&metadata);
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for (name, package) in &ours {
        let Some(allowed) = allowed.get(name.as_str()) else {
            panic!("crate {name} is in no row of ARROWS; add it, and to ARCHITECTURE.md");
        };
        for dependency in array(&package["dependencies"]) {
            // A crate may test itself with whatever it likes.
            let used = text(&dependency["name"]);
            if ours.contains_key(used) && dependency["kind"] != "dev" {
                assert!(
                    allowed.contains(&used),
                    "{name} depends on {used}, which the architecture does not allow"
                );
            }
        }
    }
}

#[test]
fn nothing_beneath_the_pure_crates_reaches_the_operating_system() {
    let metadata = metadata();
    let nodes: BTreeMap<&str, &Value> = array(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (text(&node["id"]), node))
        .collect();
    let names: BTreeMap<&str, &str> = array(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    for (name, package) in members(&metadata)
        .iter()
        .filter(|(name, _)| PURE.contains(&name.as_str()))
    {
        let mut seen = BTreeSet::new();
        let mut todo = vec![text(&package["id"])];
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            let beneath = names[id];
            assert!(
                !IMPURE_CRATES.contains(&beneath),
                "{name} depends, perhaps through others, on {beneath}"
            );
            for dependency in array(&nodes[id]["deps"]) {
                if array(&dependency["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"].is_null())
                {
                    todo.push(text(&dependency["pkg"]));
                }
            }
        }
    }
}

#[test]
fn the_pure_crates_never_ask_for_the_time_a_socket_or_a_lock() {
    for name in PURE {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(name)
            .join("src");
        let files = rust_files(&folder);
        assert!(!files.is_empty(), "no sources in {}", folder.display());
        for path in files {
            let source = std::fs::read_to_string(&path).expect("a readable source file");
            for (number, line) in production_lines(&source) {
                for (word, instead) in IMPURE_WORDS {
                    assert!(
                        !says(line, word),
                        "{}:{number} says {word}; {instead}",
                        path.display()
                    );
                }
            }
        }
    }
}

/// Whether the line has the word, and not merely a longer one that begins with it.
fn says(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[at + word.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
    })
}

/// Lines that are code and not test: a test may have a clock, and a comment may speak of one.
fn production_lines(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = source
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    code.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
}

/// All sources of a crate but the files that hold only tests.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder)
            .expect("a readable folder")
            .flatten()
        {
            let path = entry.path();
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            if stem == "tests" || stem.ends_with("_tests") || stem == "testing" {
                continue;
            }
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// What Cargo knows about the workspace, as built for this machine.
fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let version = Command::new(&cargo)
        .arg("-vV")
        .output()
        .expect("cargo runs")
        .stdout;
    let version = String::from_utf8_lossy(&version);
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("cargo names its host");
    let output = Command::new(&cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            host,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Our own crates by name.
fn members(metadata: &Value) -> BTreeMap<String, &Value> {
    let ids: BTreeSet<&str> = array(&metadata["workspace_members"])
        .iter()
        .map(text)
        .collect();
    let packages = array(&metadata["packages"])
        .iter()
        .filter(|package| ids.contains(text(&package["id"])));
    packages
        .map(|package| (text(&package["name"]).to_owned(), package))
        .collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
