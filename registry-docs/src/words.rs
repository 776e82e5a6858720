//! Why this exists: how numbers, stages and texts from outside read in a document, once for all documents.

use registry_core::markdown::{one_line, text};
use registry_core::{Finite, Key, Metric, ModelName, Stage, Text, VersionState};

/// The longest text in a cell of a table, in characters.
const CELL_CHARS_MAX: usize = 200;

/// The name of a model as a title: `fraud-detection-model` is "Fraud Detection Model".
pub(crate) fn title(model: &ModelName) -> String {
    let name = model.as_str();
    if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')) {
        return text(name);
    }
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    let title = words.map(capital).collect::<Vec<_>>().join(" ");
    if title.is_empty() { text(name) } else { title }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

/// The name of a metric with a capital, if it is a word.
pub(crate) fn metric_title(name: &Key) -> String {
    let is_word = name.as_str().chars().all(|c| c.is_alphanumeric() || c == ' ');
    if is_word { capital(name.as_str()) } else { text(name.as_str()) }
}

/// A stage as it stands in a table.
pub(crate) fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Development => "Dev",
        Stage::Staging => "Staging",
        Stage::Production => "Prod",
        Stage::Archived => "Archived",
    }
}

/// A text from outside, cut if it is long, to stand in a line or a cell.
pub(crate) fn short(words: &str) -> String {
    let line = one_line(words.trim());
    if line.chars().count() <= CELL_CHARS_MAX {
        return text(&line);
    }
    let cut: String = line.chars().take(CELL_CHARS_MAX).collect();
    format!("{}…", text(cut.trim_end()))
}

/// The same, and nothing where there is none.
pub(crate) fn short_or_nothing(words: Option<&Text>) -> String {
    words.map(|words| short(words.as_str())).unwrap_or_default()
}

/// A text of several lines as a quotation, in which nothing is more than text.
pub(crate) fn quotation(words: &str) -> String {
    let mut quotation = String::new();
    for line in words.trim().split('\n') {
        let line = text(line.trim());
        // At the start of a line these would begin a heading, a list, a definition or a rule.
        let begins = line.starts_with(['#', '+', '-', '=', ':']);
        let digits = line.chars().take_while(char::is_ascii_digit).count();
        let (number, rest) = line.split_at(digits);
        if digits != 0 && rest.starts_with(['.', ')']) {
            quotation.push_str(&format!("> {number}\\{rest}\n"));
        } else if line.is_empty() {
            quotation.push_str(">\n");
        } else {
            quotation.push_str(&format!("> {}{line}\n", if begins { "\\" } else { "" }));
        }
    }
    quotation
}

/// A number as short as it can be without loss.
pub(crate) fn number(value: Finite) -> String {
    value.get().to_string()
}

/// A number with four decimals at most, if that leaves enough of it. Cards have all of them.
fn rounded(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 {
        return value.to_string();
    }
    format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A metric in a table: `0.87`, `35 ms`.
pub(crate) fn value(metric: &Metric) -> String {
    let unit = metric.unit.as_ref().map(|unit| format!(" {}", text(unit.as_str())));
    format!("{}{}", rounded(metric.value.get()), unit.unwrap_or_default())
}

/// A metric in a sentence: a share is a percentage there.
pub(crate) fn share_or_value(name: &Key, metric: &Metric) -> String {
    const SHARES: [&str; 5] = ["accuracy", "precision", "recall", "sensitivity", "specificity"];
    let number = metric.value.get();
    let is_share = SHARES.contains(&name.as_str().to_lowercase().as_str()) && metric.unit.is_none();
    if is_share && (0.0..=1.0).contains(&number) {
        return format!("{}%", rounded(number * 100.0));
    }
    value(metric)
}

/// `35ms (p50), 80ms (p95)`.
pub(crate) fn latency(version: &VersionState) -> Option<String> {
    let deployment = &version.content.deployment;
    let figures = [(deployment.latency_p50_ms, "p50"), (deployment.latency_p95_ms, "p95")];
    let figures =
        figures.into_iter().filter_map(|(value, name)| Some(format!("{}ms ({name})", rounded(value?.get()))));
    let figures: Vec<String> = figures.collect();
    (!figures.is_empty()).then(|| figures.join(", "))
}

/// A table: a header and rows, whose cells are escaped already.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(N));
    for row in rows {
        table.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    table
}

/// `a, b and c`.
pub(crate) fn listed(items: impl IntoIterator<Item = String>) -> String {
    let mut items: Vec<String> = items.into_iter().collect();
    match items.pop() {
        None => String::new(),
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} and {last}", items.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_titles_and_others_stay() {
        let title = |name: &str| title(&name.parse().unwrap());
        assert_eq!(title("fraud-detection-model"), "Fraud Detection Model");
        assert_eq!(title("iris_v2"), "Iris V2");
        assert_eq!(title("a <b> c"), r"a \<b\> c");
        assert_eq!(title("--"), "--");
    }

    #[test]
    fn only_shares_are_percentages() {
        let shown =
            |name: &str, value: f64| share_or_value(&name.parse().unwrap(), &Metric::new(value).unwrap());
        assert_eq!(shown("accuracy", 0.87), "87%");
        assert_eq!(shown("Recall", 0.6215), "62.15%");
        assert_eq!(shown("accuracy", 87.0), "87");
        assert_eq!(shown("rmse", 0.87), "0.87");
        assert_eq!(shown("f1", 0.945_054_945_054_945), "0.9451");
        assert_eq!(shown("loss", 0.000_012_345), "0.000012345");
        assert_eq!(shown("count", 1200.0), "1200");
    }

    #[test]
    fn a_quotation_holds_no_heading_no_list_and_no_end() {
        assert_eq!(
            quotation("# a\n1. b\n\n- c\n<!-- registry:end versions -->\n    code"),
            "> \\# a\n> 1\\. b\n>\n> \\- c\n> \\<!-- registry:end versions --\\>\n> code\n"
        );
    }
}
