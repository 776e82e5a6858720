//! Whatever people write around generated parts stays as it is, byte for byte, and a second run changes nothing.

use proptest::prelude::*;
use registry_docs::{Document, FenceProblem, Mark};

const NAMES: [&str; 3] = ["versions", "rollback", "trials"];

fn document(bodies: &[String]) -> Document {
    let mut document = Document::new().text("# New\n\n");
    for (name, body) in NAMES.into_iter().zip(bodies) {
        document = document.part(Mark::Html, name, body.clone()).text("\n");
    }
    document
}

/// Lines that people write: anything but a mark.
fn written() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("<!-- a remark -->".to_owned()),
        Just("  <!-- registry:begin versions -->".to_owned()),
        Just("text <!-- registry:end versions -->".to_owned()),
        Just("# registry:begin versions".to_owned()),
        Just("---".to_owned()),
        Just("```".to_owned()),
        "[ -~äöü模\t]{0,30}",
    ];
    let line = line.prop_filter("no mark", |line| !line.starts_with("<!-- registry:"));
    let ending = prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n")];
    let lines = proptest::collection::vec((line, ending), 0..6);
    lines.prop_map(|lines| lines.into_iter().map(|(line, ending)| line + ending).collect())
}

fn bodies() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(prop_oneof![Just(String::new()), "[a-z|# \n]{1,60}"], 3)
}

proptest! {
    #[test]
    fn what_people_write_survives(
        texts in proptest::collection::vec(written(), 4),
        kept in proptest::collection::vec(any::<bool>(), 3),
        reversed in any::<bool>(),
        crlf in any::<bool>(),
        last in "[a-z ]{0,10}",
        old in bodies(),
        new in bodies(),
    ) {
        let ending = if crlf { "\r\n" } else { "\n" };
        let mut names: Vec<&str> = NAMES.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(name, _)| name).collect();
        if reversed {
            names.reverse();
        }
        // The hand-written pieces, and the marks between them.
        let mut file = String::new();
        let mut pieces = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let mut piece = text.clone();
            if let Some(name) = names.get(index) {
                piece.push_str(&format!("<!-- registry:begin {name} -->{ending}"));
                pieces.push(piece.clone());
                file.push_str(&piece);
                file.push_str(&format!("what was{ending}generated{ending}"));
                let end = format!("<!-- registry:end {name} -->{ending}");
                pieces.push(end.clone());
                file.push_str(&end);
            } else {
                pieces.push(piece.clone());
                file.push_str(&piece);
            }
        }
        pieces.push(last.clone());
        file.push_str(&last);

        let before = document(&old).merged_into(&file).unwrap();
        let once = document(&new).merged_into(&before.text).unwrap();
        let direct = document(&new).merged_into(&file).unwrap();
        prop_assert_eq!(&once.text, &direct.text, "what was generated before leaves no trace");
        let mut rest = once.text.as_str();
        for piece in &pieces {
            let at = rest.find(piece.as_str());
            prop_assert!(at.is_some(), "{:?} is not in {:?}", piece, rest);
            rest = &rest[at.unwrap() + piece.len()..];
        }
        prop_assert!(once.text.starts_with(texts[0].as_str()) && once.text.ends_with(last.as_str()));
        let twice = document(&new).merged_into(&once.text).unwrap();
        prop_assert_eq!(&twice, &once);
        prop_assert_eq!(once.left_out.len(), 3 - names.len());
        // Outside of the parts nothing was added and nothing taken away.
        let emptied = document(&[String::new(), String::new(), String::new()]).merged_into(&once.text).unwrap();
        prop_assert_eq!(emptied.text, pieces.concat());
    }

    #[test]
    fn a_new_file_is_right_already(bodies in bodies()) {
        let document = document(&bodies);
        let file = document.to_new_file();
        let merged = document.merged_into(&file).unwrap();
        prop_assert_eq!(merged.text, file);
        prop_assert!(merged.left_out.is_empty());
    }

    #[test]
    fn no_file_makes_it_panic(file in "(<!-- registry:(begin|end) (versions|trials|x)? ?-->|# registry:begin x|a|\n|\r\n|\u{FEFF}){0,12}") {
        let _ = document(&[String::new(), "b".to_owned(), String::new()]).merged_into(&file);
    }
}

#[test]
fn marks_that_do_not_fit_are_refused_with_their_line() {
    let begin = |name: &str| format!("<!-- registry:begin {name} -->\n");
    let end = |name: &str| format!("<!-- registry:end {name} -->\n");
    let name = || "versions".to_owned();
    let known = || NAMES.to_vec();
    for (file, line, problem) in [
        (format!("a\n{}b\n", begin("versions")), 2, FenceProblem::NotClosed(name())),
        (format!("a\nb\n{}", end("versions")), 3, FenceProblem::NotOpened(name())),
        (
            begin("trials") + &begin("versions"),
            2,
            FenceProblem::Nested { open: "trials".to_owned(), name: name() },
        ),
        (begin("trials") + &end("versions"), 2, FenceProblem::NotOpened(name())),
        ((begin("versions") + &end("versions")).repeat(2), 3, FenceProblem::Twice(name())),
        (begin("version"), 1, FenceProblem::Unknown { name: "version".to_owned(), known: known() }),
        ("<!-- registry:begin -->\n".to_owned(), 1, FenceProblem::Unreadable),
        ("<!-- registry:begin versions\n".to_owned(), 1, FenceProblem::Unreadable),
    ] {
        let broken = document(&[String::new(), String::new(), String::new()]).merged_into(&file).unwrap_err();
        assert_eq!((broken.line, broken.problem), (line, problem), "{file:?}");
    }
}

#[test]
fn a_part_in_yaml_is_a_comment_there_and_none_elsewhere() {
    let card = Document::new().text("---\n").part(Mark::Yaml, "front-matter", "tags: [a]\n").text("---\n");
    let file = card.to_new_file();
    assert_eq!(file, "---\n# registry:begin front-matter\ntags: [a]\n# registry:end front-matter\n---\n");
    let by_hand = file.replace("---\n# ", "---\nlicense: mit\n# ");
    let new = Document::new().part(Mark::Yaml, "front-matter", "tags: [b]\n");
    assert_eq!(new.merged_into(&by_hand).unwrap().text, by_hand.replace("[a]", "[b]"));
}
