//! `docs/connections.md` has every field of a connection: a row in its table, an entry, and a test that exists.
//!
//! What is checked here is that nobody forgets a field. That a named test fails when its field does nothing is for
//! people to see to; CONTRIBUTING says how.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = "docs/connections.md";

/// Least length of an entry in characters: what shorter text says, the table says too.
const ENTRY_CHARS: usize = 60;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

/// The fields of a connection as the API's table has them, in alphabetical order.
fn fields() -> Vec<String> {
    let document = api::openapi::document();
    let properties = &document["components"]["schemas"]["Connection"]["properties"];
    let mut names: Vec<String> = properties.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

/// A row of the table: field, effect, tests.
struct Row {
    field: String,
    effect: String,
    tests: Vec<String>,
}

fn rows(text: &str) -> Vec<Row> {
    let (_, rest) = text.split_once("<!-- fields:begin -->").unwrap();
    let (table, _) = rest.split_once("<!-- fields:end -->").unwrap();
    let lines = table.lines().filter(|line| line.starts_with("| ["));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [field, effect, tests] = cells[..] else {
                panic!("not three cells: {line}")
            };
            let (name, link) = field[1..].split_once("](#").unwrap();
            assert_eq!(
                link,
                format!("{name})"),
                "the link of a row leads to its entry"
            );
            Row {
                field: name.to_owned(),
                effect: effect.to_owned(),
                tests: tests
                    .split('`')
                    .skip(1)
                    .step_by(2)
                    .map(str::to_owned)
                    .collect(),
            }
        })
        .collect()
}

/// The entries by their heading.
fn entries(text: &str) -> BTreeMap<String, String> {
    let parts = text.split("\n### ").skip(1);
    parts
        .filter_map(|part| part.split_once('\n'))
        .map(|(heading, entry)| (heading.trim().to_owned(), entry.trim().to_owned()))
        .collect()
}

/// What is wrong with a named test, or nothing.
fn verdict(field: &str, test: &str) -> Option<String> {
    let Some((path, name)) = test.split_once("::") else {
        return Some("is not written as file::test".into());
    };
    let Some(source) = read(path) else {
        return Some("names a file that does not exist".into());
    };
    let begin = match path.ends_with(".py") {
        true => format!("\ndef {name}("),
        false => format!("fn {name}("),
    };
    let Some(at) = source.find(&begin) else {
        return Some("names a test that does not exist".into());
    };
    // The attributes, or decorators, right above it.
    let above = source[..at].rsplit("\n\n").next().unwrap_or_default();
    let runs = match path.ends_with(".py") {
        true => name.starts_with("test_") && !above.contains("skip"),
        false => {
            ["test]", "test("].iter().any(|end| above.contains(end)) && !above.contains("ignore")
        }
    };
    if !runs {
        return Some("names something that does not run as a test".into());
    }
    let spoken_of = source.contains(field) || source.contains(&field.replace('-', "_"));
    (!spoken_of).then(|| "names a file that does not speak of the field".into())
}

#[test]
fn every_field_has_a_row_an_entry_and_a_test() {
    let text = read(DOCUMENT).unwrap();
    let rows = rows(&text);
    let named: Vec<String> = rows.iter().map(|row| row.field.clone()).collect();
    assert_eq!(named, fields(), "rows of {DOCUMENT} and fields of the API");

    let entries = entries(&text);
    let headings: Vec<String> = entries.keys().cloned().collect();
    assert_eq!(
        headings,
        fields(),
        "entries of {DOCUMENT} and fields of the API"
    );
    let mut faults = Vec::new();
    for Row {
        field,
        effect,
        tests,
    } in &rows
    {
        let mut fault = |what: String| faults.push(format!("{field}: {what}"));
        if effect.is_empty() {
            fault("says nothing of its effect".into());
        }
        if entries[field].chars().count() < ENTRY_CHARS {
            fault("has no entry to speak of".into());
        }
        if tests.is_empty() {
            fault("has no test".into());
        }
        for test in tests {
            if let Some(why) = verdict(field, test) {
                fault(format!("{test} {why}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
