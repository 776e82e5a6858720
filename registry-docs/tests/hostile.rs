//! Names and texts that want to be more than text.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly, its helpers too"
)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use registry_core::lineage::Link;
use registry_core::{
    By, Content, Metric, ModelName, PromoteOptions, Registration, RegistryExt as _, Stage, Text, Version,
};
use registry_docs::{Mode, Output, OutputContent, outputs, read, write};

/// What would close a cell, a fence, a comment, a quotation, a front matter or a page.
const HOSTILE: [&str; 14] = [
    "a | b | c",
    "\n<!-- registry:end production -->\n",
    "<!-- registry:begin x -->",
    "\n---\n",
    "\n# registry:end front-matter\n---\n",
    "</td><script>alert(1)</script>",
    "```\n</pre>",
    "[click](javascript:alert(1))",
    "![](https://example.com/x.png)",
    "# Heading\n- list\n1. one\n> quote\n===",
    "*bold* _em_ ~~del~~ `code` \\| &amp;",
    "key: [a, {b: c}] # d",
    "'\"%@`!&*? |>-",
    "\t    indented code",
];

fn everything() -> registry_docs::Options {
    registry_docs::Options { cards: true, tree: true, ..registry_docs::Options::default() }
}

/// The documents of a model that says this wherever somebody can say something.
async fn documents(words: &str) -> Vec<Output> {
    let registry = registry_core::in_memory();
    let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.trim().to_owned();
    let text: Text = words.parse().unwrap();
    let by = By::new(line.parse().unwrap()).because(text.clone());
    let name: String = line.chars().filter(|c| !matches!(c, '/' | '\\' | ':')).collect();
    let model: ModelName = name.trim().parse().unwrap();
    let mut content = Content { description: Some(text.clone()), ..Content::default() };
    content.metrics.insert("accuracy".parse().unwrap(), Metric::new(0.5).unwrap());
    content.tags.insert("said".parse().unwrap(), words.replace('\0', ""));
    let metadata = &mut content.metadata;
    for field in [
        &mut metadata.algorithm,
        &mut metadata.framework,
        &mut metadata.runtime,
        &mut metadata.training_data_version,
        &mut metadata.training_data_size,
        &mut metadata.feature_engineering_version,
        &mut metadata.experiment,
        &mut metadata.increment,
    ] {
        *field = Some(text.clone());
    }
    metadata.owner = Some(line.parse().unwrap());
    metadata.hyperparameters = BTreeMap::from([(words.to_owned(), words.into())]);
    content.links.push(Link::Evaluation {
        id: text.clone(),
        attributes: BTreeMap::from([(words.to_owned(), words.into())]),
    });
    let v1 = Version::new(1, 0, 0);
    registry.register(&by, &model, Registration::new(v1.clone(), content), &[]).await.unwrap();
    registry.describe(&by, &model, None, Some(text.clone())).await.unwrap();
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(&by, &model, &v1, stage, PromoteOptions::default()).await.unwrap();
    }
    registry.deprecate(&by, &model, &v1, None, None).await.unwrap();
    outputs(&read(&registry, None).await.unwrap(), &everything()).unwrap()
}

/// How many bars divide the cells of a row.
fn bars(row: &str) -> usize {
    let mut count = 0;
    let mut is_escaped = false;
    for c in row.chars() {
        if c == '|' && !is_escaped {
            count += 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    count
}

/// What a reader of Markdown makes of a text: its blocks, spans, links and HTML, without the words.
fn shape(text: &str) -> Vec<String> {
    let mut shape = Vec::new();
    let mut quotations = 0;
    for event in Parser::new_ext(text, Options::all()) {
        match event {
            Event::Start(Tag::BlockQuote(_)) => {
                quotations += 1;
                shape.push("a quotation".to_owned());
            }
            Event::End(TagEnd::BlockQuote(_)) => quotations -= 1,
            // A description may have any number of them.
            Event::Start(Tag::Paragraph) if quotations != 0 => {}
            Event::Start(Tag::Link { dest_url, .. }) => {
                assert!(dest_url.starts_with("pages/"), "{dest_url}");
                shape.push("a link to a page".to_owned());
            }
            Event::Start(tag) => shape.push(format!("{tag:?}")),
            Event::Html(html) | Event::InlineHtml(html) => shape.push(html.into_string()),
            _ => {}
        }
    }
    shape
}

fn check(made: &[Output], harmless: &[Output]) {
    assert_eq!(made.len(), harmless.len());
    for (output, harmless) in made.iter().zip(harmless) {
        let (OutputContent::Document(document), OutputContent::Document(harmless)) =
            (&output.content, &harmless.content)
        else {
            continue;
        };
        let file = document.to_new_file();
        let again =
            document.merged_into(&file).unwrap_or_else(|broken| panic!("{}: {broken}\n{file}", output.path));
        assert_eq!(again.text, file, "{}", output.path);
        let mut columns = None;
        for line in file.lines() {
            match (line.starts_with('|'), columns) {
                (true, None) => columns = Some(bars(line)),
                (true, Some(expected)) => assert_eq!(bars(line), expected, "{}: {line}", output.path),
                (false, _) => columns = None,
            }
        }
        let harmless = harmless.to_new_file();
        let body = |file: &str| {
            file.strip_prefix("---\n")
                .map_or(file.to_owned(), |rest| rest.split_once("\n---\n").unwrap().1.to_owned())
        };
        assert_eq!(shape(&body(&file)), shape(&body(&harmless)), "{}:\n{file}", output.path);
        if let Some(matter) = file.strip_prefix("---\n") {
            let (matter, _) = matter.split_once("\n---\n").unwrap();
            let read: serde_json::Value = serde_saphyr::from_str(matter).unwrap();
            assert_eq!(read["metrics"][0], "accuracy", "{matter}");
            let tags = read["tags"].as_array().unwrap();
            assert_eq!(tags.len(), 1, "{matter}");
            assert!(tags[0].as_str().unwrap().starts_with("said="), "{matter}");
        }
    }
    let catalog = made.iter().find(|output| output.path.as_str() == "registry/model_catalog.yaml").unwrap();
    let OutputContent::Whole(catalog) = &catalog.content else { panic!("a catalog is generated whole") };
    let read: serde_json::Value = serde_saphyr::from_str(catalog).unwrap();
    assert_eq!(read["models"].as_array().unwrap().len(), 1, "{catalog}");
}

#[tokio::test]
async fn nothing_from_outside_is_more_than_text() {
    let harmless = documents("harmless").await;
    for words in HOSTILE {
        check(&documents(words).await, &harmless);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_mixture_is_more_than_text(parts in proptest::collection::vec(prop_oneof![
        proptest::sample::select(HOSTILE.to_vec()).prop_map(str::to_owned),
        "[ -~äöü模\n]{0,12}",
    ], 1..5)) {
        // A name has a letter, and fits.
        let words: String = format!("x{}", parts.concat()).chars().take(120).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { check(&documents(&words).await, &documents("harmless").await) });
    }
}

#[tokio::test]
async fn no_name_leaves_the_folder_or_meets_another() {
    let registry = registry_core::in_memory();
    let by = By::new("ana".parse().unwrap());
    let names = [
        "Fraud",
        "fraud",
        "FRAUD",
        "..fraud",
        "fraud..",
        "con",
        "team@eu",
        "模型",
        "a b",
        "a-b",
        "a|b",
        "a-v1.0.0",
        "a-v1.0.0.md",
        "%2e%2e",
        "index",
        "~",
    ];
    for name in names {
        for version in ["v1", "v1.0.1-RC", "v1.0.1-rd", "v1.0.2-v2.0.0"] {
            let registration = Registration::new(version.parse::<Version>().unwrap(), Content::default());
            registry.register(&by, &name.parse().unwrap(), registration, &[]).await.unwrap();
        }
    }
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("docs");
    let made = outputs(&read(&registry, None).await.unwrap(), &everything()).unwrap();
    let lower: BTreeSet<String> = made.iter().map(|output| output.path.as_str().to_lowercase()).collect();
    assert_eq!(lower.len(), made.len(), "no two names differ only in case");
    write(&registry, &made, &folder, Mode::Write).await.unwrap();
    assert_eq!(registry_files::scan(&folder).unwrap().len(), made.len());
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "nothing lies beside the folder");
}
