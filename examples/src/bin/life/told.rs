//! What only this story puts on its page. Nothing here knows more of the registry than its values.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use registry_core::compat::Finding;
use registry_core::event::{Numbering, RollbackSafety};
use registry_core::{Version, VersionState};
use registry_examples::page::{count, say};

pub(crate) fn title(folder: &Path) {
    println!("THE LIFE OF A MODEL");
    println!();
    say(
        "Cells from a tumour were measured under a microscope. Is it malignant? Models learn to tell, from the \
         569 real cases of the Breast Cancer Wisconsin data set. (A demonstration, not for medical use.)",
    );
    say("Four people share a registry: Ana trains models, Bo and Chen review them, Dana releases them.");
    say(&format!("It is the folder {}", folder.display()));
}

/// What the registry holds of a version.
pub(crate) fn on_record(version: &VersionState) {
    let content = &version.content;
    let inputs = content.signature.as_ref().and_then(|signature| signature.inputs());
    let text =
        |text: &Option<registry_core::Text>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    row("version", format!("{}, digest {}…", version.version, shortened(&version.digest)));
    row("made by", format!("{} ({})", text(&content.metadata.algorithm), text(&content.metadata.framework)));
    row("takes", count(inputs.map_or(0, |inputs| inputs.fields().len()), "column"));
    for (name, metric) in &content.metrics {
        let samples = metric.samples.map(|samples| format!(" on {samples} samples")).unwrap_or_default();
        row(name.as_str(), format!("{:.3}{samples}", metric.value.get()));
    }
    if let (Some(p50), Some(p95)) = (content.deployment.latency_p50_ms, content.deployment.latency_p95_ms) {
        row("latency", format!("{:.4} ms at the median, {:.4} ms at p95", p50.get(), p95.get()));
    }
    for file in &content.artifacts {
        row("file", format!("{}, {} bytes", file.path, file.size));
    }
}

fn row(name: &str, value: String) {
    println!("      {name:<10} {value}");
}

fn shortened(digest: &registry_core::Digest) -> String {
    digest.hex().chars().take(12).collect()
}

/// The comparison that a version number follows from, in full.
pub(crate) fn explain(numbering: &Numbering) {
    if let Some(comparison) = numbering.comparison() {
        for line in comparison.to_text().lines() {
            println!("{}", format!("      {line}").trim_end());
        }
    }
}

/// The same with like findings counted, for comparisons that find a lot.
pub(crate) fn explain_in_short(numbering: &Numbering) {
    let mut groups: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for finding in &numbering.findings {
        groups.entry((Reverse(finding.required), finding.id)).or_default().push(finding);
    }
    for ((Reverse(bump), id), findings) in groups {
        let Some(first) = findings.first() else { continue };
        let where_else =
            if findings.len() == 1 { String::new() } else { format!(" and {} more", findings.len() - 1) };
        println!("      {bump:<5}  {}{where_else}: {id}", first.path);
        println!("             {}", first.explanation());
    }
}

/// Which version made room, and whether one could go back to it.
pub(crate) fn succession(superseded: Option<&Version>, safety: Option<&RollbackSafety>) {
    let (Some(superseded), Some(safety)) = (superseded, safety) else { return };
    let verdict = match safety.safe {
        Some(true) => "safe for callers",
        Some(false) => "would break callers",
        None => "of unknown effect, since a signature is missing",
    };
    say(&format!(
        "{superseded} is archived. Going back to it later would be {verdict} ({} found).",
        count(safety.findings.len(), "difference")
    ));
    if let Some(finding) = safety.findings.first() {
        println!("      for example {}: {}", finding.path, finding.explanation());
    }
}

pub(crate) fn prediction(said: u32, truth: u32) -> String {
    let word = if said == 1 { "malignant" } else { "benign" };
    if said == truth { word.to_owned() } else { format!("{word} (wrong)") }
}
