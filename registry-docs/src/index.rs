//! Why this exists: "which model is in production?" is asked of all models at once, and answered on one page that leads
//! to the others.

use registry_core::{Invalid, VersionState};

use crate::document::{Document, Mark};
use crate::place;
use crate::record::ModelRecord;
use crate::words::{table, title};

/// The index of all models.
pub(crate) fn index(records: &[ModelRecord]) -> Result<Document, Invalid> {
    let mut rows = Vec::with_capacity(records.len());
    for record in records {
        let state = &record.state;
        let dash = || "–".to_owned();
        let number = |version: &VersionState| version.version.to_string();
        let path = place::path("pages", &place::stem(&record.model), ".md")?;
        let kept = state.versions().filter(|version| version.deleted.is_none()).count();
        rows.push([
            format!("[{}]({})", title(&record.model), place::link(path.as_str())),
            state.production.as_ref().map_or_else(dash, ToString::to_string),
            state.latest(false).map_or_else(dash, |version| number(version)),
            kept.to_string(),
            match state.requests.len() {
                0 => String::new(),
                waiting => waiting.to_string(),
            },
            state.head.map(|head| head.time.date()).unwrap_or_default(),
        ]);
    }
    let body = if rows.is_empty() {
        "There are no models yet.\n".to_owned()
    } else {
        table(["Model", "Production", "Latest", "Versions", "Awaiting approval", "Updated"], rows)
    };
    Ok(Document::new().text("# Models\n\n").part(Mark::Html, "models", body))
}
