//! The forms of a report: what a program may rely on, what people read, and that nothing from outside is more than text.

use bytes::Bytes;
use pulldown_cmark::{Event, Options, Parser};
use registry_audit::{AuditOptions, AuditReport, audit};
use registry_core::{
    By, Content, Metadata, PromoteOptions, Registration, Registry as _, RegistryExt as _, Stage, Upload,
    Version,
};
use serde_json::{Value, json};

use super::script::day;
use super::{block_on, registry};

fn whole_year() -> AuditReport {
    block_on(audit(registry().as_ref(), &AuditOptions::new(day("12-31")))).unwrap()
}

#[test]
fn the_year_reads_well() {
    let report = whole_year();
    insta::assert_snapshot!("year.md", report.to_markdown());
    insta::assert_snapshot!("year.html", report.to_html());
    let files = report.to_csv();
    let csv: Vec<String> = files.iter().map(|file| format!("== {}\n{}", file.name, file.text)).collect();
    insta::assert_snapshot!("year.csv", csv.join("\n").replace('\r', ""));
}

#[test]
fn the_published_schema_is_that_of_the_library() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schemas/audit-report.schema.json");
    let schema = serde_json::to_string_pretty(&AuditReport::schema()).unwrap() + "\n";
    if std::env::var_os("REGENERATE_SCHEMA").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap() == schema, "write it anew with REGENERATE_SCHEMA=1");
}

#[test]
fn a_report_fits_its_schema_and_a_broken_one_does_not() {
    let schema = AuditReport::schema();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good: Value = serde_json::from_str(&whole_year().to_json()).unwrap();
    let problems: Vec<String> = validator.iter_errors(&good).map(|error| error.to_string()).collect();
    assert_eq!(problems, [""; 0]);
    let breaks: [(&str, &str, Value); 9] = [
        ("/format", "another form", json!(2)),
        ("/as_of", "a day only", json!("2024-12-31")),
        ("/models/1/versions/0/digest", "no digest", json!("sha256:abc")),
        ("/models/1/versions/0/stage", "no stage", json!("live")),
        ("/models/1/deployments/0/revision", "no revision", json!(0)),
        ("/models/1/exceptions/0/kind", "no kind", json!("odd")),
        ("/models/1/metrics/0/value", "no number", json!("0.85")),
        ("/models/1/decisions/0/by", "nobody", Value::Null),
        ("/population/0/gap_free", "neither", json!("yes")),
    ];
    for (pointer, what, value) in breaks {
        let mut broken = good.clone();
        *broken.pointer_mut(pointer).unwrap() = value;
        assert!(!validator.is_valid(&broken), "{pointer}: {what}");
    }
    let mut more = good.clone();
    more["models"][1].as_object_mut().unwrap().insert("verdict".to_owned(), json!("fine"));
    assert!(!validator.is_valid(&more), "a field that nobody knows");
    let mut less = good;
    less["models"][1].as_object_mut().unwrap().remove("exceptions");
    assert!(!validator.is_valid(&less), "exceptions cannot be left out");
}

/// A registry whose every word is meant to do harm.
fn hostile() -> AuditReport {
    block_on(async {
        let registry = registry_core::in_memory();
        let words = "=1+1|<script>alert(1)</script>\"'`*_[x](http://x)&amp;\n# h\n| a |";
        let mallory = By::new("=cmd|' <img src=x onerror=alert(1)>".parse().unwrap());
        let mallory = mallory.because(words.parse().unwrap());
        let model = "@SUM(1) <b>|x".parse().unwrap();
        let content = Content {
            description: Some(words.parse().unwrap()),
            metadata: Metadata { algorithm: Some(words.parse().unwrap()), ..Metadata::default() },
            tags: [("-1 1".parse().unwrap(), words.to_owned())].into(),
            ..Content::default()
        };
        let bytes = Bytes::from_static(b"x");
        let upload = Upload { path: "<i>.sig".parse().unwrap(), source: &bytes };
        let v1 = Version::new(1, 0, 0);
        registry.register(&mallory, &model, Registration::new(v1.clone(), content), &[upload]).await.unwrap();
        for stage in [Stage::Staging, Stage::Production] {
            registry.promote(&mallory, &model, &v1, stage, PromoteOptions::default()).await.unwrap();
        }
        registry.describe(&mallory, &model, None, Some(words.parse().unwrap())).await.unwrap();
        audit(&registry, &AuditOptions::new(registry.clock().now())).await.unwrap()
    })
}

#[test]
fn nothing_from_outside_is_more_than_text_on_a_page() {
    for page in [hostile().to_html(), whole_year().to_html()] {
        let (_, body) = page.split_once("</style>").unwrap();
        let mut rest = body;
        while let Some((_, after)) = rest.split_once('<') {
            let name: String =
                after.trim_start_matches('/').chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
            const KNOWN: [&str; 20] = [
                "head", "body", "html", "h1", "h2", "h3", "dl", "dt", "dd", "nav", "ul", "li", "a",
                "section", "p", "div", "table", "thead", "tbody", "tr",
            ];
            assert!(KNOWN.contains(&name.as_str()) || ["th", "td"].contains(&name.as_str()), "<{after:.60}");
            rest = after;
        }
        for harmful in ["<script", "<img", "<b>", "<i>", "src=\"", "url(", "@import", "href=\"http"] {
            assert!(!page.contains(harmful), "{harmful}");
        }
        assert!(page.contains("default-src 'none'"));
    }
    assert!(hostile().to_html().contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "it is shown as it is");
}

#[test]
fn nothing_from_outside_is_more_than_text_in_markdown() {
    let markdown = hostile().to_markdown();
    let (mut headings, mut cells, mut rows, mut widths) = (0, 0_usize, 0_usize, Vec::new());
    for event in Parser::new_ext(&markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => panic!("{html}"),
            Event::Start(pulldown_cmark::Tag::Link { dest_url, .. }) => panic!("{dest_url}"),
            Event::Start(pulldown_cmark::Tag::Heading { .. }) => headings += 1,
            Event::Start(pulldown_cmark::Tag::Table(columns)) => widths.push(columns.len()),
            Event::Start(pulldown_cmark::Tag::TableCell) => cells += 1,
            Event::Start(pulldown_cmark::Tag::TableHead | pulldown_cmark::Tag::TableRow) => rows += 1,
            Event::Code(code) => panic!("{code}"),
            _ => {}
        }
    }
    let report = hostile();
    let tables = report.tables().len() + report.models[0].tables().len();
    assert_eq!(headings, 1 + 2 + tables, "no heading but ours");
    assert!(rows < cells && !widths.is_empty());
}

#[test]
fn nothing_from_outside_is_a_formula_in_a_spreadsheet() {
    for report in [hostile(), whole_year()] {
        for file in report.to_csv() {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(file.text.as_bytes());
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{}", file.name);
            for cell in rows.iter().flat_map(csv::StringRecord::iter) {
                let starts = cell.trim_start().starts_with(['=', '+', '-', '@']);
                assert!(!starts || cell.parse::<f64>().is_ok(), "{}: {cell}", file.name);
            }
        }
    }
    let deployments = hostile().to_csv().into_iter().find(|file| file.name == "deployments.csv").unwrap();
    assert!(deployments.text.contains("'@SUM(1) <b>|x"), "{}", deployments.text);
}

#[test]
fn each_table_is_a_file_with_a_header() {
    let report = whole_year();
    let files = report.to_csv();
    assert_eq!(files.len(), report.tables().len() + report.models[0].tables().len());
    let names: std::collections::BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names.len(), files.len(), "no two tables in one file");
    let deployments = files.iter().find(|file| file.name == "deployments.csv").unwrap();
    assert!(deployments.text.starts_with("model,revision,version,digest,since,until,"));
    let rows: usize = report.models.iter().map(|model| model.deployments.len()).sum();
    let mut reader = csv::Reader::from_reader(deployments.text.as_bytes());
    assert_eq!(reader.records().count(), rows);
}
