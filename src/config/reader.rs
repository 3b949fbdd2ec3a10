//! Reads variables by kind and gathers every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::Secret;

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

/// A name that looks like one of ours and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The name that is set.
    pub name: String,
    /// The nearest name that is known.
    pub nearest: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: is not a variable of Tenure; did you mean {}?", self.name, self.nearest)
    }
}

/// The environment and what was found in it so far.
#[derive(Debug, Default)]
pub struct Reader {
    vars: BTreeMap<String, String>,
    known: BTreeSet<String>,
    faults: Vec<Fault>,
}

impl Reader {
    /// Reads from these variables.
    pub fn new(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { vars: vars.into_iter().collect(), ..Self::default() }
    }

    /// Reads from the process's environment; the one place that does.
    #[allow(clippy::disallowed_methods, reason = "config is where the environment is read")]
    pub fn from_process() -> Self {
        let vars = std::env::vars_os()
            .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()));
        Self::new(vars)
    }

    /// Overrides a variable, for a command-line flag that stands for it.
    pub fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), value.to_owned());
    }

    /// Notes a fault.
    pub fn fault(&mut self, name: &str, got: Option<&str>, expected: impl Into<String>) {
        self.faults.push(Fault { name: name.to_owned(), got: got.map(str::to_owned), expected: expected.into() });
    }

    /// How many faults there are so far.
    pub fn fault_count(&self) -> usize {
        self.faults.len()
    }

    /// The text of a variable; set to nothing counts as not set.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.known.insert(name.to_owned());
        self.vars.get(name).filter(|v| !v.is_empty()).cloned()
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

    /// A secret, from NAME or from the file that NAME_FILE names.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        let direct = self.text(name);
        let file_name = format!("{name}_FILE");
        let file = self.path(&file_name);
        match (direct, file) {
            (Some(_), Some(_)) => {
                self.fault(name, None, format!("either {name} or {file_name}, not both"));
                None
            }
            (Some(text), None) => Some(Secret::new(text)),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) if !text.trim().is_empty() => Some(Secret::new(text.trim_end_matches(['\n', '\r']))),
                Ok(_) => {
                    self.fault(&file_name, Some(&path.to_string_lossy()), "a file that is not empty");
                    None
                }
                Err(e) => {
                    self.fault(&file_name, Some(&path.to_string_lossy()), format!("a file that can be read ({e})"));
                    None
                }
            },
            (None, None) => None,
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

    /// What was read, or every fault.
    pub fn finish<T>(self, value: T) -> Result<(T, Vec<Warning>), Vec<Fault>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let warnings = self.misspelt();
        Ok((value, warnings))
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
                (ours || distance <= 2.min(stripped.len() / 4))
                    .then(|| Warning { name: name.clone(), nearest: nearest.clone() })
            })
            .collect()
    }
}

/// Variables that are everywhere and are not ours.
fn is_foreign(name: &str) -> bool {
    matches!(name, "PATH" | "HOME" | "USER" | "SHELL" | "TERM" | "LANG" | "PWD" | "TZ" | "HOSTNAME" | "POST")
}
