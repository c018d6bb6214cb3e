//! The documents speak of files; the files must be there.

use std::path::{Path, PathBuf};

/// The documents of the repository.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/api.md",
    "docs/connections.md",
    "docs/getting-started.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/routing.md",
];

#[test]
fn every_source_file_that_a_document_names_exists() {
    let mut files = Vec::new();
    let mut todo = vec![root().join("crates")];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder)
            .expect("a readable folder")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path)
            } else {
                files.push(path)
            }
        }
    }
    for document in DOCUMENTS {
        let text = read(document);
        for word in text.split('`').skip(1).step_by(2) {
            let named = word.ends_with(".rs") && !word.contains(['*', '<', ' ']);
            // A path may be shortened from the left, as long as whole folders are left out.
            assert!(
                !named || files.iter().any(|path| path.ends_with(word)),
                "{document} names `{word}`, which does not exist"
            );
        }
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let here = root().join(document);
        let folder = here.parent().expect("a document lies in a folder");
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target)
        {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() {
                let heading = target.trim_start_matches('#');
                assert!(
                    headings(&text).any(|found| found == heading),
                    "{document} has no heading for #{heading}"
                );
            } else if !file.contains("://") {
                assert!(
                    folder.join(file).exists(),
                    "{document} links to {target}, which does not exist"
                );
            }
        }
    }
}

/// Headings as links spell them: lower case, blanks as dashes, punctuation left out.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let kept = line
                .trim_start_matches('#')
                .trim()
                .chars()
                .filter(|symbol| symbol.is_alphanumeric() || " -_".contains(*symbol));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(document: &str) -> String {
    std::fs::read_to_string(root().join(document))
        .unwrap_or_else(|error| panic!("{document}: {error}"))
}
