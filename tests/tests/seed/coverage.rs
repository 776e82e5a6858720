//! What `docs/seed-coverage.md` says is there, is there.

use std::collections::BTreeSet;
use std::path::Path;

/// The rows of its tables, cell by cell.
fn rows() -> Vec<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/seed-coverage.md");
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    lines
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .filter(|row: &Vec<String>| row[0] != "heading")
        .collect()
}

/// What stands between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_chapter_is_in_the_table_and_every_test_there_is_a_chapter() {
    let rows = rows();
    assert!(20 < rows.len(), "the table has only {} rows", rows.len());
    let mut named = BTreeSet::new();
    for row in &rows {
        assert_eq!(row.len(), 4, "{row:?}");
        let tests: Vec<&str> = names(&row[3]).collect();
        assert!(!tests.is_empty(), "{row:?} names no test");
        for test in tests {
            match test.split_once("::") {
                None => assert!(super::CHAPTERS.contains(&test), "{test} is no chapter"),
                Some((file, function)) => {
                    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
                    let text =
                        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{test}: {error}"));
                    assert!(text.contains(&format!("fn {function}(")), "there is no {test}");
                }
            }
            named.insert(test.to_owned());
        }
    }
    for chapter in super::CHAPTERS {
        assert!(named.contains(*chapter), "{chapter} is in no row");
    }
}

/// The commands that the table names are ones that the command line has.
#[test]
fn every_command_there_is_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../registry-cli/src/cli.rs");
    let text = std::fs::read_to_string(file).unwrap();
    for row in rows() {
        for command in names(&row[2]) {
            let mut words = command.split_whitespace();
            assert_eq!(words.next(), Some("registry"), "{command}");
            let verb = words.next().unwrap();
            assert!(text.contains(&format!("    \"{verb}\", ")), "there is no command {command}");
        }
    }
}
