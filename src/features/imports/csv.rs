//! Files with comma-separated values (RFC 4180), as spreadsheets write them: with commas, semicolons or tabs,
//! with or without a byte order mark.

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows below, with the lines on which they begin.
    pub rows: Vec<(u32, Vec<String>)>,
}

/// Why a file cannot be read, with line and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, counted from 1.
    pub line: u32,
    /// The character in it, counted from 1.
    pub column: u32,
    /// What was expected.
    pub message: String,
}

/// Reads a file. Empty lines are passed over.
pub fn read(text: &str, max_rows: usize, max_columns: usize) -> Result<Table, Unreadable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let separator = separator(text);
    let mut reader = Reader { chars: text.chars().peekable(), line: 1, column: 1, separator };
    let mut columns: Option<Vec<String>> = None;
    let mut rows = Vec::new();
    while reader.chars.peek().is_some() {
        let line = reader.line;
        let record = reader.record()?;
        if record.iter().all(|c| c.trim().is_empty()) {
            continue;
        }
        let fault = |column: usize, message: String| {
            Err(Unreadable { line, column: u32::try_from(column).unwrap_or(u32::MAX), message })
        };
        match &columns {
            None if record.len() > max_columns => {
                return fault(1, format!("{} columns; at most {max_columns}", record.len()));
            }
            None => columns = Some(record.into_iter().map(|c| c.trim().to_owned()).collect()),
            Some(names) if record.len() > names.len() => {
                return fault(1, format!("{} values for {} columns", record.len(), names.len()));
            }
            Some(_) if rows.len() >= max_rows => {
                return fault(1, format!("more than {max_rows} rows; cut the file into parts"));
            }
            Some(_) => rows.push((line, record)),
        }
    }
    let nothing = || Unreadable { line: 1, column: 1, message: "expected a line with the names of the columns".to_owned() };
    Ok(Table { columns: columns.ok_or_else(nothing)?, rows })
}

/// The sign that stands most often in the first line, outside of quotation marks.
fn separator(text: &str) -> char {
    let first: String = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default().to_owned();
    let mut quoted = false;
    let mut counts = [(',', 0), (';', 0), ('\t', 0)];
    for c in first.chars() {
        quoted ^= c == '"';
        for (sign, count) in &mut counts {
            *count += i32::from(!quoted && c == *sign);
        }
    }
    // Of equals the comma, which comes first.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(',', |(sign, _)| *sign)
}

struct Reader<'t> {
    chars: std::iter::Peekable<std::str::Chars<'t>>,
    line: u32,
    column: u32,
    separator: char,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn fault(&self, message: &str) -> Unreadable {
        Unreadable { line: self.line, column: self.column, message: message.to_owned() }
    }

    /// The values up to the end of the line, or of the file.
    fn record(&mut self) -> Result<Vec<String>, Unreadable> {
        let mut record = Vec::new();
        loop {
            let value = if self.chars.peek() == Some(&'"') { self.quoted()? } else { self.plain()? };
            record.push(value);
            match self.next() {
                Some(c) if c == self.separator => {}
                Some('\r') => {
                    if self.chars.peek() == Some(&'\n') {
                        self.next();
                    }
                    return Ok(record);
                }
                Some('\n') | None => return Ok(record),
                Some(_) => return Err(self.fault("expected a separator or the end of the line behind a quotation mark")),
            }
        }
    }

    fn plain(&mut self) -> Result<String, Unreadable> {
        let mut value = String::new();
        while let Some(&c) = self.chars.peek() {
            if c == self.separator || c == '\r' || c == '\n' {
                break;
            }
            if c == '\0' {
                return Err(self.fault("expected text; this is no text file"));
            }
            value.push(c);
            self.next();
        }
        Ok(value)
    }

    fn quoted(&mut self) -> Result<String, Unreadable> {
        let began = self.fault("this quotation mark is not closed");
        self.next();
        let mut value = String::new();
        loop {
            match self.next() {
                Some('"') if self.chars.peek() == Some(&'"') => {
                    self.next();
                    value.push('"');
                }
                Some('"') => return Ok(value),
                Some('\0') => return Err(self.fault("expected text; this is no text file")),
                Some(c) => value.push(c),
                None => return Err(began),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u32, Vec<String>)> {
        read(text, 10, 10).unwrap().rows
    }

    fn row(line: u32, values: &[&str]) -> (u32, Vec<String>) {
        (line, values.iter().map(|v| (*v).to_owned()).collect())
    }

    #[test]
    fn what_spreadsheets_write_is_read() {
        assert_eq!(rows("a,b\n1,2\n"), [row(2, &["1", "2"])]);
        assert_eq!(rows("\u{feff}a;b\r\n1;2,5\r\n\r\n3;4"), [row(2, &["1", "2,5"]), row(4, &["3", "4"])]);
        assert_eq!(rows("a\tb\n1\t"), [row(2, &["1", ""])]);
        assert_eq!(rows("a,b\n\"x \"\"y\"\", z\n2\",\n1,2"), [row(2, &["x \"y\", z\n2", ""]), row(4, &["1", "2"])]);
        assert_eq!(rows("a,b\n1"), [row(2, &["1"])], "what is left out at the end is empty");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_line_and_column() {
        let told = |text: &str| {
            let fault = read(text, 2, 3).unwrap_err();
            (fault.line, fault.column, fault.message)
        };
        assert_eq!(told("a,b\n1,\"2").0, 2);
        assert_eq!((told("a,b\n1,\"2").1, told("a,b\n\"1\"x,2").1), (3, 5));
        assert!(told("a,b\n1,2,3").2.contains("3 values for 2 columns"));
        assert!(told("a\n1\n2\n3").2.contains("more than 2 rows"));
        assert!(told("a,b,c,d").2.contains("at most 3"));
        assert!(told("a,b\n\0").2.contains("no text file"));
        assert_eq!(told("  \n").0, 1);
    }

    proptest::proptest! {
        /// Whatever is written in quotation marks comes back.
        #[test]
        fn values_come_back(values in proptest::collection::vec("[a-z\",;\\n\\r é]{0,12}", 1..4)) {
            let head: Vec<String> = (0..values.len()).map(|i| format!("c{i}")).collect();
            let line: Vec<String> = values.iter().map(|v| format!("\"{}\"", v.replace('"', "\"\""))).collect();
            let read = read(&format!("{}\n{}\n", head.join(","), line.join(",")), 10, 10).unwrap();
            if values.iter().any(|v| !v.trim().is_empty()) {
                proptest::prop_assert_eq!(&read.rows[0].1, &values);
            }
        }
    }
}
