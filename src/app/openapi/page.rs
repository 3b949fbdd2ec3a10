//! The document as a page to read at `/api/docs`: no script and nothing from elsewhere, so that it works without a
//! network, in any browser, and on paper.

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::base::problem::Problem;

/// How the page looks.
pub const STYLE: &str = include_str!("page.css");
const TEMPLATE: &str = include_str!("page.html");
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// Deeper than this a type is told by its first word.
const MAX_DEPTH: usize = 4;

#[derive(Debug, Serialize)]
struct Page {
    version: String,
    areas: Vec<Area>,
    schemas: Vec<Schema>,
}

#[derive(Debug, Serialize)]
struct Area {
    name: String,
    id: String,
    operations: Vec<Operation>,
}

#[derive(Debug, Serialize)]
struct Operation {
    id: String,
    method: String,
    path: String,
    summary: Vec<Word>,
    description: Vec<Word>,
    is_public: bool,
    parameters: Vec<Field>,
    bodies: Vec<Content>,
    answers: Vec<Answer>,
}

#[derive(Debug, Serialize)]
struct Answer {
    status: String,
    description: Vec<Word>,
    contents: Vec<Content>,
}

#[derive(Debug, Serialize)]
struct Content {
    media: String,
    kind: Vec<Piece>,
}

#[derive(Debug, Serialize)]
struct Schema {
    name: String,
    description: Vec<Word>,
    kind: Vec<Piece>,
    fields: Vec<Field>,
}

#[derive(Debug, Serialize)]
struct Field {
    name: String,
    place: String,
    is_required: bool,
    kind: Vec<Piece>,
    description: Vec<Word>,
}

/// A part of a type: plain, or the name of a schema.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Piece {
    text: String,
    is_schema: bool,
}

fn plain(text: impl Into<String>) -> Piece {
    Piece { text: text.into(), is_schema: false }
}

/// Words of a description; what stood between backticks is code.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Word {
    text: String,
    is_code: bool,
}

fn words(value: &Value, key: &str) -> Vec<Word> {
    let parts = value[key].as_str().unwrap_or_default().split('`').enumerate();
    let words = parts.map(|(number, text)| Word { text: text.to_owned(), is_code: number % 2 == 1 });
    words.filter(|word| !word.text.is_empty()).collect()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// The page for a document, as [`super::text`] gives it.
///
/// # Errors
/// None that a document can cause; the template is part of the binary.
pub fn page(document: &str) -> Result<String, Problem> {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    let page = Page { version: text(&document["info"], "version"), areas: areas(&document), schemas: schemas(&document) };
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let page = serde_json::to_value(page).map_err(Problem::internal)?;
    let page = minijinja::Value::deserialize(page).map_err(Problem::internal)?;
    environment.render_str(TEMPLATE, page).map_err(Problem::internal)
}

fn areas(document: &Value) -> Vec<Area> {
    let mut areas: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(found) = methods.get(method) {
                let area = found["tags"][0].as_str().unwrap_or("other").to_owned();
                areas.entry(area).or_default().push(operation(path, method, found));
            }
        }
    }
    areas.into_iter().map(|(name, operations)| Area { id: anchor(&name), name, operations }).collect()
}

/// What a link leads to: the letters and digits of a text, hyphens between them.
fn anchor(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

fn operation(path: &str, method: &str, operation: &Value) -> Operation {
    let answers = operation["responses"].as_object().into_iter().flatten();
    Operation {
        id: anchor(&format!("{method} {path}")),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: words(operation, "summary"),
        description: words(operation, "description"),
        is_public: operation["security"][0].as_object().is_some_and(serde_json::Map::is_empty),
        parameters: operation["parameters"].as_array().into_iter().flatten().map(parameter).collect(),
        bodies: contents(&operation["requestBody"]),
        answers: answers
            .map(|(status, answer)| Answer {
                status: status.clone(),
                description: words(answer, "description"),
                contents: contents(answer),
            })
            .collect(),
    }
}

fn parameter(parameter: &Value) -> Field {
    Field {
        name: text(parameter, "name"),
        place: text(parameter, "in"),
        is_required: parameter["required"].as_bool().unwrap_or(false),
        kind: kind(&parameter["schema"]),
        description: words(parameter, "description"),
    }
}

fn contents(of: &Value) -> Vec<Content> {
    let contents = of["content"].as_object().into_iter().flatten();
    contents.map(|(media, content)| Content { media: media.clone(), kind: kind(&content["schema"]) }).collect()
}

fn schemas(document: &Value) -> Vec<Schema> {
    let schemas = document["components"]["schemas"].as_object().into_iter().flatten();
    let one = |(name, schema): (&String, &Value)| {
        let fields = fields(schema);
        let kind = if fields.is_empty() { kind(schema) } else { Vec::new() };
        Schema { name: name.clone(), description: words(schema, "description"), kind, fields }
    };
    schemas.map(one).collect()
}

fn fields(schema: &Value) -> Vec<Field> {
    let needed: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fields: Vec<Field> = Vec::new();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fields.extend(self::fields(part));
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    fields.extend(properties.map(|(name, property)| Field {
        name: name.clone(),
        place: String::new(),
        is_required: needed.contains(&name.as_str()),
        kind: kind(property),
        description: words(property, "description"),
    }));
    fields
}

fn kind(schema: &Value) -> Vec<Piece> {
    kind_at(schema, 0)
}

fn kind_at(schema: &Value, depth: usize) -> Vec<Piece> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return vec![Piece { text: name.to_owned(), is_schema: true }];
    }
    if let Some(values) = schema["enum"].as_array() {
        return between(values.iter().map(|value| vec![plain(value.to_string())]), " | ");
    }
    if let Some(value) = schema.get("const") {
        return vec![plain(value.to_string())];
    }
    for ways in ["oneOf", "anyOf"] {
        if let Some(ways) = schema[ways].as_array() {
            return between(ways.iter().map(|way| kind_at(way, depth + 1)), " | ");
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return between(parts.iter().map(|part| kind_at(part, depth + 1)), " & ");
    }
    match &schema["type"] {
        Value::String(one) => of_type(one, schema, depth),
        Value::Array(several) => {
            between(several.iter().filter_map(Value::as_str).map(|one| of_type(one, schema, depth)), " | ")
        }
        _ => vec![plain("any JSON")],
    }
}

fn of_type(name: &str, schema: &Value, depth: usize) -> Vec<Piece> {
    match name {
        "array" if depth < MAX_DEPTH => {
            let mut pieces = vec![plain("list of ")];
            pieces.extend(kind_at(&schema["items"], depth + 1));
            pieces
        }
        "object" if depth < MAX_DEPTH && schema["properties"].is_object() => {
            let fields = fields(schema).into_iter().map(|field| {
                let mut pieces = vec![plain(format!("{}{}: ", field.name, if field.is_required { "" } else { "?" }))];
                pieces.extend(field.kind);
                pieces
            });
            let mut pieces = vec![plain("{ ")];
            pieces.extend(between(fields, ", "));
            pieces.push(plain(" }"));
            pieces
        }
        _ => match schema["format"].as_str() {
            Some(format) if name != "null" => vec![plain(format!("{name} ({format})"))],
            _ => vec![plain(name)],
        },
    }
}

fn between(parts: impl Iterator<Item = Vec<Piece>>, sign: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for part in parts {
        if !pieces.is_empty() {
            pieces.push(plain(sign));
        }
        pieces.extend(part);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value) -> String {
        kind(schema).into_iter().map(|piece| if piece.is_schema { format!("<{}>", piece.text) } else { piece.text }).collect()
    }

    #[test]
    fn a_type_is_told_in_one_line() {
        let id = json!({ "$ref": "#/components/schemas/PersonId" });
        assert_eq!(told(&json!({ "oneOf": [id, { "type": "null" }] })), "<PersonId> | null");
        assert_eq!(told(&json!({ "type": "array", "items": id })), "list of <PersonId>");
        assert_eq!(told(&json!({ "type": ["string", "null"], "format": "date" })), "string (date) | null");
        assert_eq!(told(&json!({ "enum": ["keep", "revoke"] })), "\"keep\" | \"revoke\"");
        let object = json!({ "type": "object", "required": ["a"], "properties": { "a": id, "b": { "type": "integer" } } });
        assert_eq!(told(&object), "{ a: <PersonId>, b?: integer }");
    }

    #[test]
    fn every_operation_stands_on_the_page_and_no_text_becomes_markup() {
        let document = json!({
            "info": { "version": "1" },
            "paths": { "/api/things/{id}": { "get": { "tags": ["things"], "summary": "One <b>thing</b> of `GET`.",
                "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }],
                "responses": { "200": { "description": "Done.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } } } } } } },
            "components": { "schemas": { "Thing": { "type": "object", "properties": { "name": { "type": "string" } } } } },
        });
        let html = page(&document.to_string()).unwrap();
        assert!(html.contains("id=\"get-api-things-id\"") && html.contains("href=\"#schema-Thing\""), "{html}");
        assert!(html.contains("One &lt;b&gt;thing&lt;&#x2f;b&gt; of <code>GET</code>.") && !html.contains("<b>"), "{html}");
        assert!(html.contains("id=\"schema-Thing\""));
    }
}
