//! Reads variables by kind and gathers every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Secret;

/// The most bytes a file of secrets or certificates has.
const MAX_FILE: u64 = 1_048_576;
/// The most characters of a value that a fault shows.
const MAX_SHOWN: usize = 200;

/// A variable that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The variable.
    pub name: String,
    /// What it holds; absent for secrets and for what is not set.
    pub got: Option<String>,
    /// What would fit.
    pub expected: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.got {
            // Debug escapes control characters, so a value cannot forge a second line.
            Some(got) => write!(f, "{}: got {got:?}; expected {}", self.name, self.expected),
            None => write!(f, "{}: expected {}", self.name, self.expected),
        }
    }
}

/// Something about a variable that does not keep Tenure from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The variable.
    pub name: String,
    /// What is odd about it.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

/// A configuration that starts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Everything that does not fit.
    pub faults: Vec<Fault>,
    /// What may be the reason of a fault, such as a misspelt name.
    pub warnings: Vec<Warning>,
}

/// The environment and what was found in it so far.
#[derive(Debug, Default)]
pub struct Reader {
    vars: BTreeMap<String, String>,
    /// Names whose values are no text.
    garbled: BTreeSet<String>,
    known: BTreeSet<String>,
    faults: Vec<Fault>,
    warnings: Vec<Warning>,
    closed_files_only: bool,
}

impl Reader {
    /// Reads from these variables.
    pub fn new(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { vars: vars.into_iter().collect(), ..Self::default() }
    }

    /// Reads from the process's environment; the one place that does.
    #[allow(clippy::disallowed_methods, reason = "config is where the environment is read")]
    pub fn from_process() -> Self {
        Self::from_raw(std::env::vars_os())
    }

    fn from_raw(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut reader = Self::default();
        for (name, value) in vars {
            // Our names are ASCII, so a name that is no text is not ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(text) => drop(reader.vars.insert(name, text)),
                Err(_) => drop(reader.garbled.insert(name)),
            }
        }
        reader
    }

    /// Overrides a variable, for a command-line flag that stands for it.
    pub fn set(&mut self, name: &str, value: &str) {
        self.garbled.remove(name);
        self.vars.insert(name.to_owned(), value.to_owned());
    }

    /// From here on a file of a secret must be closed to other users.
    pub(super) fn demand_closed_files(&mut self) {
        self.closed_files_only = true;
    }

    /// Notes a fault; one that stands there already is not noted again.
    pub fn fault(&mut self, name: &str, got: Option<&str>, expected: impl Into<String>) {
        let fault = Fault { name: name.to_owned(), got: got.map(presentable), expected: expected.into() };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Notes a warning.
    pub fn warn(&mut self, name: &str, text: impl Into<String>) {
        self.warnings.push(Warning { name: name.to_owned(), text: text.into() });
    }

    /// Warns about a variable that is checked and that nothing reads yet.
    pub fn warn_if_set(&mut self, name: &str, text: &str) {
        if self.is_set(name) {
            self.warn(name, text);
        }
    }

    /// Whether a fault of this variable was noted.
    pub fn is_faulty(&self, name: &str) -> bool {
        self.faults.iter().any(|f| f.name == name)
    }

    /// The text of a variable; set to nothing counts as not set.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.known.insert(name.to_owned());
        if self.garbled.contains(name) {
            self.fault(name, None, "text in UTF-8; its bytes are not");
        }
        self.vars.get(name).filter(|v| !v.is_empty()).cloned()
    }

    /// A text that is more than blanks.
    pub fn word(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        if text.trim() != text || text.chars().any(char::is_control) {
            self.fault(name, Some(&text), "a text without blanks around it and without control characters");
            return None;
        }
        Some(text)
    }

    /// Whether the variable is set.
    pub fn is_set(&mut self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A path.
    pub fn path(&mut self, name: &str) -> Option<PathBuf> {
        let text = self.text(name)?;
        if text.contains('\0') || text.trim().is_empty() {
            self.fault(name, Some(&text), "a path");
            return None;
        }
        Some(PathBuf::from(text))
    }

    /// A folder, or a place where one can be made.
    pub fn folder(&mut self, name: &str) -> Option<PathBuf> {
        let path = self.path(name)?;
        if let Some(there) = path.ancestors().find(|p| p.exists())
            && !there.is_dir()
        {
            let expected = format!("a folder, or where one can be made; {} is a file", there.display());
            self.fault(name, Some(&path.to_string_lossy()), expected);
        }
        Some(path)
    }

    /// A file and the bytes in it.
    pub fn file(&mut self, name: &str) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.path(name)?;
        match read_file(&path) {
            Ok(bytes) => Some((path, bytes)),
            Err(why) => {
                self.fault(name, Some(&path.to_string_lossy()), format!("a file that can be read ({why})"));
                None
            }
        }
    }

    /// A file that is as good as a password, and the bytes in it.
    pub fn secret_file(&mut self, name: &str) -> Option<(PathBuf, Vec<u8>)> {
        let (path, bytes) = self.file(name)?;
        if self.closed_files_only && mode(&path) & 0o007 != 0 {
            let expected = format!("a file that other users cannot read: chmod o-rwx {}", path.display());
            self.fault(name, Some(&path.to_string_lossy()), expected);
        }
        Some((path, bytes))
    }

    /// A secret, from NAME or from the file that NAME_FILE names.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        let direct = self.text(name);
        let file_name = format!("{name}_FILE");
        if direct.is_some() && self.is_set(&file_name) {
            self.fault(name, None, format!("either {name} or {file_name}, not both"));
            return None;
        }
        if let Some(text) = direct {
            return Some(Secret::new(text));
        }
        let (path, bytes) = self.secret_file(&file_name)?;
        match String::from_utf8(bytes) {
            Ok(text) if !text.trim().is_empty() => Some(Secret::new(text.trim_end_matches(['\n', '\r']))),
            Ok(_) => {
                self.fault(&file_name, Some(&path.to_string_lossy()), "a file that is not empty");
                None
            }
            Err(_) => {
                self.fault(&file_name, Some(&path.to_string_lossy()), "a file with text in UTF-8");
                None
            }
        }
    }

    /// A whole number within a range.
    pub fn number<T>(&mut self, name: &str, default: T, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let Some(text) = self.text(name) else { return default };
        match text.parse::<T>() {
            Ok(n) if n >= min && n <= max && text.bytes().all(|b| b.is_ascii_digit()) => n,
            _ => {
                self.fault(name, Some(&text), format!("a whole number from {min} to {max}"));
                default
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.choice(name, default, &[("true", true), ("false", false)])
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, name: &str, default: T, words: &[(&str, T)]) -> T {
        let Some(text) = self.text(name) else { return default };
        if let Some((_, value)) = words.iter().find(|(w, _)| *w == text) {
            return *value;
        }
        let list: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
        self.fault(name, Some(&text), list.join(" or "));
        default
    }

    /// What was read and what is odd about it, or everything that does not fit.
    pub fn finish<T>(mut self, value: T) -> Result<(T, Vec<Warning>), Refusal> {
        let misspelt = self.misspelt();
        self.warnings.extend(misspelt);
        if self.faults.is_empty() {
            Ok((value, self.warnings))
        } else {
            Err(Refusal { faults: self.faults, warnings: self.warnings })
        }
    }

    /// Names that are set, unknown, and close to a known one; or that carry our own prefix.
    fn misspelt(&self) -> Vec<Warning> {
        let unknown = self.vars.keys().filter(|name| !self.known.contains(*name) && !is_foreign(name));
        unknown
            .filter_map(|name| {
                let stripped = name.strip_prefix("TENURE_").unwrap_or(name);
                let (distance, nearest) =
                    self.known.iter().map(|k| (strsim::damerau_levenshtein(stripped, k), k)).min()?;
                let ours = name.starts_with("TENURE_");
                (ours || distance <= 2.min(stripped.len() / 4)).then(|| Warning {
                    name: name.clone(),
                    text: format!("is not a variable of Tenure; did you mean {nearest}?"),
                })
            })
            .collect()
    }
}

/// A value as a fault shows it: not endless, and without what an URL holds of user and password.
fn presentable(value: &str) -> String {
    let mut shown = value.to_owned();
    if let (Some(scheme), Some(at)) = (value.find("://"), value.rfind('@'))
        && at > scheme
    {
        shown.replace_range(scheme + 3..at, "…");
    }
    match shown.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

/// Reads a regular file: a pipe or a device could keep a start waiting for ever.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let about = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !about.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("it has more than 1 MiB".to_owned());
    }
    Ok(bytes)
}

/// The permission bits of a file.
pub(super) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map_or(0, |m| m.mode())
}

/// Variables that are everywhere and are not ours. The two of OpenSSL say where the machine's CAs are;
/// the library that loads those reads them.
fn is_foreign(name: &str) -> bool {
    matches!(
        name,
        "PATH" | "HOME" | "USER" | "SHELL" | "TERM" | "LANG" | "PWD" | "TZ" | "HOSTNAME" | "POST" | "SSL_CERT_FILE" | "SSL_CERT_DIR"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_fault_shows_no_password_of_an_url_and_no_second_line() {
        let mut r = Reader::default();
        r.fault("PUBLIC_URL", Some("ftp://ada:hunter2@host\nPORT: fine"), "an URL");
        assert_eq!(
            r.finish(()).expect_err("a fault").faults[0].to_string(),
            r#"PUBLIC_URL: got "ftp://…@host\nPORT: fine"; expected an URL"#
        );
        assert_eq!(presentable(&"ü".repeat(201)).chars().count(), 201);
    }

    #[test]
    fn the_documentation_names_every_variable() {
        let page = include_str!("../../docs/configuration.md");
        let mut r = Reader::default();
        crate::config::Config::read(&mut r);
        let names = r.known.iter().map(|n| match n.strip_suffix("_FILE") {
            Some(secret) if r.known.contains(secret) => secret,
            _ => n.as_str(),
        });
        let missing: BTreeSet<_> = names.filter(|n| !page.contains(&format!("`{n}`"))).collect();
        assert!(missing.is_empty(), "docs/configuration.md says nothing about {missing:?}");
    }

    #[test]
    fn a_value_that_is_no_text_is_a_fault_and_a_foreign_one_is_not() {
        let bytes = || OsString::from_vec(vec![0xff]);
        let mut r = Reader::from_raw([("PORT".into(), bytes()), ("LS_COLORS".into(), bytes())]);
        assert_eq!(r.number("PORT", 7070_u16, 1, u16::MAX), 7070);
        let faults = r.finish(()).expect_err("a fault").faults;
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].name, "PORT");
    }

    /// The misspelt name may be why something is missing, so it is told beside the faults.
    #[test]
    fn misspelt_names_are_told_with_the_nearest_also_beside_faults() {
        let mut r = Reader::new([("PROT".into(), "80".into()), ("TENURE_PORT".into(), "80".into())]);
        r.text("PORT");
        r.fault("HOST", None, "a host");
        let warnings = r.finish(()).expect_err("a fault").warnings;
        let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "PROT: is not a variable of Tenure; did you mean PORT?",
                "TENURE_PORT: is not a variable of Tenure; did you mean PORT?"
            ]
        );
    }

    /// Where OpenSSL, curl and others find the machine's CAs is no misspelling of ours.
    #[test]
    fn well_known_variables_of_others_are_not_taken_for_misspelt() {
        let foreign = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
        let mut r = Reader::new(foreign.map(|name| (name.to_owned(), "/etc/ssl/certs".to_owned())));
        crate::config::Config::read(&mut r);
        assert_eq!(r.misspelt(), []);
    }
}
