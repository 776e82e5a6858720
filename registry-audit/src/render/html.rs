//! Why this exists: a report is printed, signed and put into a binder, and it is opened years later on a machine that
//! reaches nothing. So the page is one file, with its styles in it, without a script, and it forbids itself to load
//! anything. Whatever comes from outside stands in it as text.

use registry_core::markdown::one_line;

use super::{Chapter, Document};
use crate::row::Table;

const STYLE: &str = "\
:root{color-scheme:light}
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:110rem;padding:0 1rem;color:#1a1a1a;background:#fff}
h1,h2,h3{line-height:1.2}h2{border-bottom:2px solid #444;margin-top:3rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{font-weight:600}dd{margin:0}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:12px}
th,td{border:1px solid #bbb;padding:.25rem .4rem;text-align:left;vertical-align:top;overflow-wrap:anywhere;min-width:4em}
th{background:#eee}
p.about{color:#444;margin:.2rem 0 .5rem}
@media print{body{margin:0;max-width:none;font-size:9pt}nav{display:none}.wide{overflow:visible}
table{font-size:7pt;table-layout:fixed;width:100%}th,td{min-width:0}thead{display:table-header-group}
tr{break-inside:avoid}h2{break-before:page}h3{break-after:avoid}@page{size:A4 landscape;margin:12mm}}
";

/// Text that a page shows as it is.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

pub(super) fn html(document: &Document) -> String {
    let title = safe(&document.title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<dl>\n"
    );
    for (name, fact) in &document.facts {
        out.push_str(&format!("<dt>{}</dt><dd>{}</dd>\n", safe(name), safe(fact)));
    }
    out.push_str("</dl>\n<nav>\n<ul>\n");
    for (number, chapter) in (1..).zip(&document.chapters) {
        out.push_str(&format!("<li><a href=\"#chapter-{number}\">{}</a></li>\n", safe(&chapter.title)));
    }
    out.push_str("</ul>\n</nav>\n");
    for (number, chapter) in (1..).zip(&document.chapters) {
        write_chapter(number, chapter, &mut out);
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn write_chapter(number: u64, chapter: &Chapter, out: &mut String) {
    out.push_str(&format!("<section id=\"chapter-{number}\">\n<h2>{}</h2>\n", safe(&chapter.title)));
    if let Some(lead) = &chapter.lead {
        out.push_str(&format!("<p>{}</p>\n", safe(lead)));
    }
    for table in &chapter.tables {
        write_table(table, out);
    }
    out.push_str("</section>\n");
}

fn write_table(table: &Table, out: &mut String) {
    out.push_str(&format!("<h3>{}</h3>\n<p class=\"about\">{}</p>\n", safe(table.title), safe(table.about)));
    if table.rows.is_empty() {
        out.push_str("<p>None.</p>\n");
        return;
    }
    out.push_str("<div class=\"wide\">\n<table>\n<thead><tr>");
    for column in table.columns {
        out.push_str(&format!("<th scope=\"col\">{}</th>", safe(&column.replace('_', " "))));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for cell in row {
            out.push_str(&format!("<td>{}</td>", safe(cell)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}
