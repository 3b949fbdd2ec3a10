//! Filters (RFC 7644 section 3.4.2.2): reading them, and asking them of a resource.

use serde_json::{Map, Value};

use super::{Fault, ScimType};
use crate::base::time::Timestamp;

/// The longest filter, in bytes.
const MAX_LENGTH: usize = 4_096;
/// The deepest nesting.
const MAX_DEPTH: usize = 24;

/// A filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Both.
    And(Box<Self>, Box<Self>),
    /// Either.
    Or(Box<Self>, Box<Self>),
    /// Not.
    Not(Box<Self>),
    /// An attribute has a value.
    Present(Name),
    /// An attribute compares with a value.
    Compare(Name, Op, Value),
    /// One value of an attribute fits all of a filter.
    Any(Name, Box<Self>),
}

/// How values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
}

impl Op {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "co" => Self::Co,
            "sw" => Self::Sw,
            "ew" => Self::Ew,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "lt" => Self::Lt,
            "le" => Self::Le,
            _ => return None,
        })
    }
}

/// The name of an attribute: perhaps the URN of its schema, the attribute, perhaps one inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The URN before it.
    pub urn: Option<String>,
    /// The attribute.
    pub attr: String,
    /// The attribute inside.
    pub sub: Option<String>,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        // The last colon ends the URN: names of attributes have none.
        let (urn, rest) = text.rsplit_once(':').map_or((None, text), |(urn, rest)| (Some(urn.to_owned()), rest));
        let (attr, sub) = rest.split_once('.').map_or((rest, None), |(a, s)| (a, Some(s.to_owned())));
        let plain = |t: &str| {
            t.starts_with(|c: char| c.is_ascii_alphabetic() || c == '$')
                && t.chars().all(|c| c.is_ascii_alphanumeric() || "_-$".contains(c))
        };
        (plain(attr) && sub.as_deref().is_none_or(plain)).then(|| Self { urn, attr: attr.to_owned(), sub })
    }

    /// Whether it names this attribute of the core schema, with this one inside.
    pub fn is(&self, attr: &str, sub: Option<&str>) -> bool {
        self.attr.eq_ignore_ascii_case(attr)
            && match (&self.sub, sub) {
                (None, None) => true,
                (Some(own), Some(wanted)) => own.eq_ignore_ascii_case(wanted),
                _ => false,
            }
    }

    /// Its values in a resource; of a complex attribute with several values, the value inside.
    fn values<'v>(&self, of: &'v Map<String, Value>) -> Vec<&'v Value> {
        let inside = self.urn.as_deref().and_then(|urn| get(of, urn)).and_then(Value::as_object);
        let Some(value) = get(inside.unwrap_or(of), &self.attr) else { return Vec::new() };
        let all: Vec<&Value> = match value {
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        };
        let several = value.is_array();
        all.into_iter()
            .filter_map(|v| match (v, self.sub.as_deref()) {
                (Value::Object(fields), Some(sub)) => get(fields, sub),
                (Value::Object(fields), None) if several => get(fields, "value"),
                (other, None) => Some(other),
                (_, Some(_)) => None,
            })
            .collect()
    }

    /// Whether its values are compared letter by letter.
    fn is_exact(&self) -> bool {
        let last = self.sub.as_deref().unwrap_or(&self.attr);
        ["id", "externalId", "$ref", "location"].iter().any(|n| n.eq_ignore_ascii_case(last))
    }
}

/// The value of a key, whatever its case.
pub fn get<'v>(of: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    of.get(name).or_else(|| of.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

impl Filter {
    /// Reads a filter.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > MAX_LENGTH {
            return Err(fault(format!("the filter is longer than {MAX_LENGTH} bytes")));
        }
        let mut reader = Reader { rest: text, whole: text, depth: 0 };
        let filter = reader.or()?;
        reader.skip();
        if !reader.rest.is_empty() {
            return Err(reader.fault("expected and, or, or the end"));
        }
        Ok(filter)
    }

    /// Whether a resource, or one value of an attribute, fits.
    pub fn fits(&self, of: &Map<String, Value>) -> bool {
        match self {
            Self::And(a, b) => a.fits(of) && b.fits(of),
            Self::Or(a, b) => a.fits(of) || b.fits(of),
            Self::Not(inner) => !inner.fits(of),
            Self::Present(name) => name.values(of).into_iter().any(is_something),
            Self::Compare(name, op, wanted) => compare(&name.values(of), *op, wanted, name.is_exact()),
            Self::Any(name, inner) => {
                let holder = name.urn.as_deref().and_then(|urn| get(of, urn)).and_then(Value::as_object).unwrap_or(of);
                match get(holder, &name.attr) {
                    Some(Value::Array(items)) => items.iter().any(|v| fits_value(inner, v)),
                    Some(one) => fits_value(inner, one),
                    None => false,
                }
            }
        }
    }

    /// The value that the filter asks one attribute to equal, when nothing fits that has another one.
    pub fn must_equal(&self, attr: &str, sub: Option<&str>) -> Option<&str> {
        match self {
            Self::And(a, b) => a.must_equal(attr, sub).or_else(|| b.must_equal(attr, sub)),
            Self::Compare(name, Op::Eq, Value::String(text)) if name.is(attr, sub) => Some(text),
            Self::Any(name, inner) if sub.is_some() && name.is(attr, None) => inner.must_equal(sub.unwrap_or(attr), None),
            _ => None,
        }
    }

    /// What a new value must have to fit: attributes and values of a filter that only says what is equal.
    pub fn as_template(&self) -> Option<Map<String, Value>> {
        match self {
            Self::Compare(name, Op::Eq, value) if name.sub.is_none() => {
                Some([(name.attr.clone(), value.clone())].into_iter().collect())
            }
            Self::And(a, b) => {
                let mut both = a.as_template()?;
                both.extend(b.as_template()?);
                Some(both)
            }
            _ => None,
        }
    }
}

/// Whether one value of an attribute fits a filter about what is inside it.
pub fn fits_value(filter: &Filter, value: &Value) -> bool {
    match value {
        Value::Object(fields) => filter.fits(fields),
        // A value without attributes inside is compared by the name `value`.
        other => filter.fits(&[("value".to_owned(), other.clone())].into_iter().collect()),
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn compare(found: &[&Value], op: Op, wanted: &Value, exact: bool) -> bool {
    if wanted.is_null() {
        let none = !found.iter().any(|v| is_something(v));
        return if op == Op::Ne { !none } else { op == Op::Eq && none };
    }
    if op == Op::Ne {
        return !found.iter().any(|v| holds(v, Op::Eq, wanted, exact));
    }
    found.iter().any(|v| holds(v, op, wanted, exact))
}

fn holds(found: &Value, op: Op, wanted: &Value, exact: bool) -> bool {
    match (found, wanted) {
        (Value::String(a), Value::String(b)) => {
            if let (Op::Gt | Op::Ge | Op::Lt | Op::Le, Ok(a), Ok(b)) = (op, a.parse::<Timestamp>(), b.parse::<Timestamp>()) {
                return ordered(op, a.cmp(&b));
            }
            let fold = |t: &str| if exact { t.to_owned() } else { t.to_lowercase() };
            let (a, b) = (fold(a), fold(b));
            match op {
                Op::Co => a.contains(&b),
                Op::Sw => a.starts_with(&b),
                Op::Ew => a.ends_with(&b),
                _ => ordered(op, a.cmp(&b)),
            }
        }
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.partial_cmp(&b).is_some_and(|o| ordered(op, o)),
            _ => false,
        },
        (Value::Bool(a), Value::Bool(b)) => op == Op::Eq && a == b,
        // Some clients write true and false as texts.
        (Value::Bool(a), Value::String(b)) => op == Op::Eq && b.eq_ignore_ascii_case(if *a { "true" } else { "false" }),
        _ => false,
    }
}

fn ordered(op: Op, o: std::cmp::Ordering) -> bool {
    match op {
        Op::Eq => o.is_eq(),
        Op::Gt => o.is_gt(),
        Op::Ge => o.is_ge(),
        Op::Lt => o.is_lt(),
        Op::Le => o.is_le(),
        Op::Ne | Op::Co | Op::Sw | Op::Ew => false,
    }
}

fn fault(detail: String) -> Fault {
    Fault::new(ScimType::InvalidFilter, detail)
}

struct Reader<'t> {
    rest: &'t str,
    whole: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn fault(&self, expected: &str) -> Fault {
        fault(format!("at character {} of the filter: {expected}", self.whole.len() - self.rest.len() + 1))
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    /// Takes this sign, if it is next.
    fn sign(&mut self, sign: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The word that is next, without taking it.
    fn word(&mut self) -> &'t str {
        self.skip();
        let end = self.rest.find([' ', '\t', '\r', '\n', '(', ')', '[', ']', '"']).unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    /// Takes this word, if it is next.
    fn keyword(&mut self, wanted: &str) -> bool {
        let word = self.word();
        if word.eq_ignore_ascii_case(wanted) {
            self.rest = &self.rest[word.len()..];
            return true;
        }
        false
    }

    fn or(&mut self) -> Result<Filter, Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(&format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let mut left = self.and()?;
        while self.keyword("or") {
            left = Filter::Or(Box::new(left), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Filter, Fault> {
        let mut left = self.term()?;
        while self.keyword("and") {
            left = Filter::And(Box::new(left), Box::new(self.term()?));
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Filter, Fault> {
        if self.keyword("not") {
            if !self.sign('(') {
                return Err(self.fault("expected ( behind not"));
            }
            return Ok(Filter::Not(Box::new(self.until(')')?)));
        }
        if self.sign('(') {
            return self.until(')');
        }
        let word = self.word();
        let name = Name::parse(word).ok_or_else(|| self.fault("expected the name of an attribute"))?;
        self.rest = &self.rest[word.len()..];
        if self.rest.starts_with('[') {
            self.rest = &self.rest[1..];
            return Ok(Filter::Any(name, Box::new(self.until(']')?)));
        }
        if self.keyword("pr") {
            return Ok(Filter::Present(name));
        }
        let word = self.word();
        let op = Op::parse(word)
            .ok_or_else(|| self.fault("expected pr, eq, ne, co, sw, ew, gt, ge, lt or le"))?;
        self.rest = &self.rest[word.len()..];
        let value = self.value()?;
        Ok(Filter::Compare(name, op, value))
    }

    fn until(&mut self, end: char) -> Result<Filter, Fault> {
        let inner = self.or()?;
        if self.sign(end) { Ok(inner) } else { Err(self.fault(&format!("expected {end}"))) }
    }

    fn value(&mut self) -> Result<Value, Fault> {
        self.skip();
        let end = if self.rest.starts_with('"') { self.end_of_text() } else { Some(self.word().len()) };
        let Some(end) = end.filter(|e| *e > 0) else { return Err(self.fault("expected a value")) };
        let text = &self.rest[..end];
        let value = serde_json::from_str(text)
            .or_else(|_| serde_json::from_str(&text.to_ascii_lowercase()))
            .map_err(|_| self.fault("expected a text in quotation marks, a number, true, false or null"))?;
        self.rest = &self.rest[end..];
        Ok(value)
    }

    /// Where a text in quotation marks ends.
    fn end_of_text(&self) -> Option<usize> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return Some(at + 1),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ada() -> Map<String, Value> {
        let ada = json!({
            "id": "per_1", "userName": "Ada@Example.org", "externalId": "Ax1", "active": true,
            "name": { "familyName": "Lovelace" }, "title": "",
            "emails": [{ "type": "work", "value": "ada@example.org" }, { "type": "home", "value": "ada@home.net" }],
            "meta": { "lastModified": "2031-03-01T12:00:00.000Z" },
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Research" },
        });
        ada.as_object().unwrap().clone()
    }

    #[test]
    fn filters_mean_what_the_rfc_says() {
        let yes = [
            r#"userName eq "ada@example.org""#,
            r#"USERNAME Eq "ADA@example.org""#,
            r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "ada""#,
            r#"externalId eq "Ax1""#,
            r#"name.familyName co "LOVE""#,
            r#"emails eq "ada@home.net""#,
            r#"emails.type eq "work""#,
            r#"emails[type eq "work" and value ew "example.org"]"#,
            r#"not (emails[type eq "work" and value co "home"])"#,
            r#"active eq true and (title pr or userName pr)"#,
            r#"active eq "True""#,
            r#"title pr or userName pr and active eq false or id eq "per_1""#,
            r#"meta.lastModified gt "2031-03-01T13:00:00+02:00""#,
            r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "research""#,
            r#"userName ne "bob""#,
            r#"nickName eq null"#,
            r#"displayName ne "x \" y""#,
        ];
        for text in yes {
            assert!(Filter::parse(text).unwrap().fits(&ada()), "{text}");
        }
        let no = [
            r#"userName eq "bob""#,
            r#"externalId eq "ax1""#,
            r#"title pr"#,
            r#"nobody pr"#,
            r#"emails[type eq "work" and value co "home"]"#,
            r#"active gt 3"#,
            r#"meta.lastModified lt "2031-03-01T12:00:00Z""#,
            r#"userName pr and not (active eq true)"#,
            r#"name eq "Lovelace""#,
        ];
        for text in no {
            assert!(!Filter::parse(text).unwrap().fits(&ada()), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_told_with_its_place() {
        let long = format!("{}a pr{}", "(".repeat(200), ")".repeat(200));
        for bad in ["", "userName", "userName eq", "userName eq bob", "eq \"a\"", "userName eq \"a", "(userName pr", "userName pr)",
            "a pr and", "not userName pr", "emails[type eq \"a\"", "a..b pr", "userName zz \"a\"", "a eq \"\\u12\"", "é pr", &long] {
            let fault = Filter::parse(bad).expect_err(bad);
            assert_eq!(fault.body()["scimType"], "invalidFilter", "{bad}");
        }
        let told = Filter::parse("a pr and b xx 1").unwrap_err().body()["detail"].as_str().unwrap().to_owned();
        assert!(told.contains("character 12"), "{told}");
    }

    #[test]
    fn what_must_be_equal_narrows_what_is_read() {
        let filter = Filter::parse(r#"active eq true and userName eq "a""#).unwrap();
        assert_eq!(filter.must_equal("userName", None), Some("a"));
        assert_eq!(filter.must_equal("id", None), None);
        let or = Filter::parse(r#"active eq true or userName eq "a""#).unwrap();
        assert_eq!(or.must_equal("userName", None), None);
        let inside = Filter::parse(r#"emails[type eq "work" and value eq "a@b"]"#).unwrap();
        assert_eq!(inside.must_equal("emails", Some("value")), Some("a@b"));
    }

    proptest::proptest! {
        /// Whatever comes is read or refused, and never a panic.
        #[test]
        fn nothing_that_comes_is_a_panic(text in "[a-z().\\[\\] \"\\\\eqprandotné0-9:$]{0,60}") {
            if let Ok(filter) = Filter::parse(&text) {
                filter.fits(&ada());
            }
        }
    }
}
