//! Why this exists: the report where documents are kept beside code. Escaping is that of the core, in one place.

use registry_core::markdown::text;

use super::Document;
use crate::row::Table;

pub(super) fn markdown(document: &Document) -> String {
    let mut out = format!("# {}\n\n", text(&document.title));
    for (name, fact) in &document.facts {
        out.push_str(&format!("- {name}: {}\n", text(fact)));
    }
    for chapter in &document.chapters {
        out.push_str(&format!("\n## {}\n", text(&chapter.title)));
        if let Some(lead) = &chapter.lead {
            // Behind a mark, since what begins a line may be more than text.
            out.push_str(&format!("\n> {}\n", text(&format!("“{lead}”"))));
        }
        for table in &chapter.tables {
            write_table(table, &mut out);
        }
    }
    out
}

fn write_table(table: &Table, out: &mut String) {
    out.push_str(&format!("\n### {}\n\n{}\n\n", table.title, table.about));
    if table.rows.is_empty() {
        out.push_str("None.\n");
        return;
    }
    let header: Vec<String> = table.columns.iter().map(|column| column.replace('_', " ")).collect();
    out.push_str(&format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len())));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| text(cell)).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}
