//! YAML: texts that people keep, read within bounds and written in one form.
//!
//! # Invariants
//! - Reading takes bounded time and memory: bytes, nodes, depth and what aliases repeat have limits.
//! - A fault names its line and column.
//! - What is written reads back as the same value.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::Serialize;
use serde_json::Value;
use serde_saphyr::{Error, Location, Options, Spanned};

/// The longest text that is read.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// The most values in a text.
const MAX_NODES: usize = 50_000;
/// The most uses of anchors.
const MAX_ALIASES: usize = 200;

/// A text that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct YamlError {
    /// The line, counted from 1; 0 when it is the whole text.
    pub line: u32,
    /// The column, counted from 1; 0 when it is the whole text.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// Reads a text of one document.
pub fn read(text: &str) -> Result<Value, YamlError> {
    check_size(text)?;
    serde_saphyr::from_str_with_options(text, options()).map_err(|e| explain(&e))
}

/// Writes a value as a document.
pub fn write(value: &impl Serialize) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { yaml_12: true };
    let text = serde_saphyr::to_string_with_options(value, options).map_err(|e| e.to_string())?;
    // Which version it is need not be said in each file.
    Ok(text.strip_prefix("%YAML 1.2\n---\n").map_or_else(|| text.clone(), str::to_owned))
}

fn check_size(text: &str) -> Result<(), YamlError> {
    if text.len() <= MAX_BYTES {
        return Ok(());
    }
    Err(YamlError { line: 0, column: 0, message: format!("got {} bytes; expected at most {MAX_BYTES}", text.len()) })
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_documents: 1,
            max_total_scalar_bytes: MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 16,
            max_alias_expansions_per_anchor: MAX_ALIASES,
        },
        emit_comments: false,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn explain(error: &Error) -> YamlError {
    let (line, column) = error.location().map_or((0, 0), place);
    let whole = error.to_string();
    let first = whole.lines().next().unwrap_or_default();
    // The place stands in the error's own fields.
    let message = first.split(" at line ").next().unwrap_or(first).trim().to_owned();
    YamlError { line, column, message }
}

fn place(at: Location) -> (u32, u32) {
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    (narrow(at.line()), narrow(at.column()))
}

/// Where the values of a text stand, by their paths, such as `steps[2].config`.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<String, (u32, u32)>);

impl Places {
    /// Of a text that can be read; of any other none are known. JSON is read as YAML.
    pub fn of(text: &str) -> Self {
        let mut places = Self::default();
        if check_size(text).is_ok()
            && let Ok(root) = serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options())
        {
            places.add(String::new(), &root);
        }
        places
    }

    /// Line and column of the value at a path, or of the nearest one around it.
    pub fn find(&self, path: &str) -> Option<(u32, u32)> {
        let mut path = path;
        loop {
            if let Some(found) = self.0.get(path) {
                return Some(*found);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).map_or("", |i| &path[..i]);
        }
    }

    fn add(&mut self, path: String, node: &Spanned<Node>) {
        match &node.value {
            Node::Leaf => {}
            Node::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.add(format!("{path}[{i}]"), item);
                }
            }
            Node::Fields(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.add(path, value);
                }
            }
        }
        self.0.insert(path, place(node.referenced));
    }
}

/// A value of which only the place is of interest.
enum Node {
    Leaf,
    List(Vec<Spanned<Node>>),
    Fields(Vec<(String, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
        Node::deserialize(d)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_read_with_its_types() {
        let text = "name: Test\ncount: 3\nday: 2031-03-01\nyes: no\nflag: true\nnothing: ~\nlist: [1, 'two']\n";
        let expected = json!({ "name": "Test", "count": 3, "day": "2031-03-01", "yes": "no", "flag": true,
            "nothing": null, "list": [1, "two"] });
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn what_is_written_is_plain() {
        let text = write(&json!({ "on": "yes", "no": ["a b", { "c": "1" }], "long": "x\ny" })).expect("writes");
        assert_eq!(text, "long: |-\n  x\n  y\nno:\n- a b\n- c: \"1\"\non: yes\n");
    }

    #[test]
    fn a_fault_names_line_and_column() {
        let error = read("name: Test\nsteps:\n  - id: a\n   name: b\n").expect_err("a bad indentation");
        assert!(error.line >= 3 && error.column >= 1, "{error}");
        let twice = read("name: a\nname: b\n").expect_err("a key that is there twice");
        assert_eq!(twice.line, 2, "{twice}");
    }

    /// Nine levels of ten aliases each would be a thousand million values.
    #[test]
    fn a_text_that_repeats_itself_is_stopped_early() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let below = level - 1;
            let uses = vec![format!("*a{below}"); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
        }
        assert!(read(&bomb).is_err());
        assert!(Places::of(&bomb).find("a0").is_none());
        assert!(read(&format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000))).is_err());
        assert!(read(&"a: 1\n".repeat(300_000)).is_err());
        assert!(read("a: 1\n---\nb: 2\n").is_err(), "one document");
    }

    #[test]
    fn an_anchor_may_be_used_again() {
        let read = read("base: &base { a: 1 }\nother: *base\n").expect("reads");
        assert_eq!(read["other"], json!({ "a": 1 }));
    }

    #[test]
    fn places_are_found_by_path_in_yaml_and_json() {
        let places = Places::of("name: T\nsteps:\n  - id: a\n    config:\n      title: x\n");
        assert_eq!(places.find("name"), Some((1, 7)));
        assert_eq!(places.find("steps[0].config.title"), Some((5, 14)));
        assert_eq!(places.find("steps[0].config.missing"), places.find("steps[0].config"));
        assert_eq!(Places::of("{\n\t\"a\": [\n\t\t{ \"b\": 1 }\n\t]\n}").find("a[0].b"), Some((3, 10)));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[ -~]{0,12}", "\\PC{0,8}", "[a-z ]{70,200}", "[a-z]{1,3}(\n[ a-z]{0,9}){1,3}\n?",
            prop_oneof![Just("true"), Just("no"), Just("null"), Just("~"), Just("1.0"), Just("0x1f"), Just("2031-03-01"),
                Just("{{ vars.a }}"), Just("- a"), Just("a: b"), Just("#x"), Just(" lead"), Just("trail "), Just("<<"),
                Just("1e3"), Just(".inf"), Just("---"), Just("&a"), Just("*a"), Just("!t"), Just("%"), Just("@"), Just("")]
            .prop_map(str::to_owned),
        ];
        let leaf = prop_oneof![
            Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from),
            (-1_000_000..1_000_000_i64).prop_map(|n| json!(n as f64 / 8.0)), text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-zA-Z@ .:-]{1,6}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_reads_back_as_the_same_value(value in any_value()) {
            let text = write(&json!({ "v": value })).expect("writes");
            let read = read(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(&read["v"], &value, "{}", text);
        }
    }
}
