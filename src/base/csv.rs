//! Comma-separated values (RFC 4180) that a spreadsheet opens as text.
//!
//! # Invariants
//! - No cell is taken for a formula, whatever people are called and whatever they write.

/// What stands between several things in one cell.
pub const BETWEEN: &str = "; ";

/// How a file begins: the mark by which spreadsheets know UTF-8, and the names of the columns.
pub fn head<const N: usize>(columns: [&str; N]) -> String {
    format!("\u{feff}{}", line(columns.map(str::to_owned)))
}

/// A line of cells.
pub fn line<const N: usize>(cells: [String; N]) -> String {
    let mut line = cells.map(|text| cell(&text)).join(",");
    line.push_str("\r\n");
    line
}

/// A cell as text. A spreadsheet takes what begins with one of these signs for a formula, also behind blanks: an
/// apostrophe before it makes it text.
fn cell(text: &str) -> String {
    let risky = text.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
        || text.starts_with(['\t', '\r', '\n']);
    let text = if risky { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', ';', '"', '\r', '\n', '\t']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, expected) in [
            ("Ada", "Ada"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("  =HYPERLINK(\"x\")", "\"'  =HYPERLINK(\"\"x\"\")\""),
            ("+41 44", "'+41 44"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\"'\t=1\""),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("a, \"b\"\nc", "\"a, \"\"b\"\"\nc\""),
            ("2031-03-01T12:00:00.000Z", "2031-03-01T12:00:00.000Z"),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }
}
