//! Why this exists: names, reasons and values come from outside, and end up in reports, pull requests and pages. Nothing
//! in them may break a line, a table, a code span or a page, or read as another text than it is. How that is done for
//! Markdown is written down once, here, for all that is written in it.

/// Text on one line: control characters, and those that turn the direction of writing, become spaces.
pub fn one_line(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// Text in a line or in a cell of a table, to be read as it is: what Markdown or HTML would act on is escaped. It is
/// meant to stand behind something else: at the start of a line, `#` or `1.` would still mean something.
///
/// ```
/// use registry_core::markdown::text;
/// assert_eq!(text("a | <b>\n`c`"), r"a \| \<b\> \`c\`");
/// ```
pub fn text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        if matches!(c, '|' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '\\' | '&' | '~' | '^' | '$') {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

/// A code span, also in a cell of a table. The marks around it are longer than any run of backticks inside. A `|` behind
/// an odd number of `\` gets one more of them, which is seen: there is no other way to keep it from ending the cell.
///
/// ```
/// use registry_core::markdown::code;
/// assert_eq!(code("a|b"), r"`a\|b`");
/// assert_eq!(code("a`b"), "`` a`b ``");
/// ```
pub fn code(text: &str) -> String {
    let text = with_pipes_escaped(&one_line(text));
    let runs = text.split(|c| c != '`').map(str::len);
    let fence = "`".repeat(runs.max().unwrap_or(0).saturating_add(1));
    let space = if fence.len() > 1 { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// Tables are cut at each `|` before which there is an even number of `\`, in code spans too.
fn with_pipes_escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut is_escaped = false;
    for c in text.chars() {
        if c == '|' {
            safe.push_str(if is_escaped { "\\\\" } else { "\\" });
        }
        is_escaped = c == '\\' && !is_escaped;
        safe.push(c);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pipe_ends_a_cell_whatever_is_before_it() {
        for (words, span) in [
            ("a|b", r"`a\|b`"),
            (r"a\|b", r"`a\\\|b`"),
            (r"a\\|b", r"`a\\\|b`"),
            ("a||b", r"`a\|\|b`"),
            ("`|`", r"`` `\|` ``"),
        ] {
            assert_eq!(code(words), span, "{words}");
        }
    }

    #[test]
    fn text_stays_on_its_line_and_reads_in_its_direction() {
        assert_eq!(one_line("a\u{1b}[31m\r\nb\u{202e}c\u{2066}"), "a [31m  b c ");
        assert_eq!(text("\n<!-- x -->"), r" \<!-- x --\>");
    }
}
