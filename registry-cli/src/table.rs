//! Why this exists: people compare rows. A table here is columns with two spaces between them, no
//! lines and no boxes, so that it can be read, cut and pasted. It is small enough to own.

use unicode_width::UnicodeWidthStr as _;

use crate::output::{Paint, one_line};

/// Rows under a header.
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. A column whose name begins with `#` holds numbers, which stand to
    /// the right; the `#` is not shown.
    pub(crate) fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Table { header: header.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| one_line(cell)).collect());
    }

    /// The table as lines, each behind `indent`. Columns without any text are left out.
    pub(crate) fn render(&self, paint: Paint, indent: &str) -> String {
        let columns: Vec<Column> = self
            .header
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let title = name.trim_start_matches('#');
                let widest = self.cells(index).map(|cell| cell.width()).max().unwrap_or(0);
                Column {
                    title,
                    is_number: name.starts_with('#'),
                    is_shown: self.rows.is_empty() || widest > 0,
                    width: widest.max(title.width()),
                }
            })
            .collect();
        let mut lines = vec![paint.bold(&line(columns.iter().map(|column| (column, column.title)), indent))];
        for row in &self.rows {
            lines.push(line(columns.iter().zip(row.iter().map(String::as_str)), indent));
        }
        lines.join("\n")
    }

    fn cells(&self, index: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |row| row.get(index)).map(String::as_str)
    }
}

struct Column {
    title: &'static str,
    is_number: bool,
    is_shown: bool,
    width: usize,
}

fn line<'a>(cells: impl Iterator<Item = (&'a Column, &'a str)>, indent: &str) -> String {
    let mut text = String::new();
    for (column, cell) in cells.filter(|(column, _)| column.is_shown) {
        let space = " ".repeat(column.width.saturating_sub(cell.width()));
        let padded = if column.is_number { format!("{space}{cell}") } else { format!("{cell}{space}") };
        text.push_str(if text.is_empty() { indent } else { "  " });
        text.push_str(&padded);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_what_is_seen() {
        let mut table = Table::new(["NAME", "EMPTY", "#SIZE"]);
        table.row(["模型".into(), String::new(), "5".into()]);
        table.row(["a-longer-name".into(), String::new(), "1000".into()]);
        assert_eq!(
            table.render(Paint::default(), "  "),
            "  NAME           SIZE\n  模型              5\n  a-longer-name  1000"
        );
    }
}
