//! The document that describes every route: what each route says of itself, and here what holds for all of them.
//!
//! # Invariants
//! - Every answer that a route can give stands in the document, also what the outer layers answer: who may, how much
//!   is taken, what cannot be read, what is not there at the moment.
//! - Every problem is `application/problem+json` (RFC 9457) of one schema.
//!
//! Format: OpenAPI 3.1.0.

mod page;

use serde_json::{Map, Value, json};

use super::writes::describe;

pub(super) use page::{STYLE, page};

/// Methods that change something: with a session they need its token, too.
const UNSAFE: [&str; 4] = ["post", "put", "patch", "delete"];

/// What a status says, for whoever reads the document.
fn meaning(status: &str) -> &'static str {
    match status {
        "200" => "Done.",
        "201" => "Made.",
        "202" => "Taken; it happens later, or when somebody else has agreed.",
        "204" => "Done; there is nothing to tell.",
        "400" => "The request cannot be read.",
        "401" => "Nobody is signed in.",
        "403" => "Whoever is signed in may not do this.",
        "404" => "There is no such thing, or it is not for whoever asks.",
        "408" => "The body did not come in time.",
        "409" => "The present state does not allow it.",
        "413" => "The body is larger than this route takes.",
        "415" => "The body has another type than this route takes.",
        "422" => "A rule refuses it; `errors` has the fields.",
        "429" => "Too many requests; `Retry-After` has the seconds.",
        "503" => "Something that is needed is not there; `Retry-After` has the seconds.",
        _ => "An answer.",
    }
}

/// Adds to the document what holds for every route, and gives its text.
pub(super) fn text(mut document: utoipa::openapi::OpenApi) -> String {
    describe(&mut document);
    let Ok(mut document) = serde_json::to_value(document) else { return "{}".to_owned() };
    complete(&mut document);
    document.to_string()
}

fn complete(document: &mut Value) {
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["servers"] = json!([{ "url": "/" }]);
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "A token that an account made: `tnr_…`." },
        "session": { "type": "apiKey", "in": "cookie", "name": "tenure_sid",
                     "description": "The cookie of a sign-in; over HTTPS its name is `__Host-tenure_sid`." },
        "csrf": { "type": "apiKey", "in": "header", "name": "X-CSRF-Token",
                  "description": "Beside the cookie whenever something is changed: `csrfToken` of `GET /api/auth/me`." },
    });
    mend(document);
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, methods) in paths {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            if let Some(operation) = operation.as_object_mut() {
                complete_operation(path, method, operation);
            }
        }
    }
}

/// Two things that utoipa 6 says otherwise than it means: beside a type that stands inline it puts an object that only
/// describes it, and a value that fits several types need not fit only one of them.
fn mend(value: &mut Value) {
    match value {
        Value::Array(items) => return items.iter_mut().for_each(mend),
        Value::Object(fields) => fields.values_mut().for_each(mend),
        _ => return,
    }
    if let Some([inline, about]) = value.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
        let words = about.as_object().cloned().unwrap_or_default();
        if words.keys().all(|word| matches!(word.as_str(), "description" | "type" | "default")) {
            let mut whole = inline.clone();
            for (word, said) in words.into_iter().filter(|(word, _)| word != "type") {
                whole[word] = said;
            }
            *value = whole;
        }
    }
    let untagged = |ways: &Value| ways.as_array().is_some_and(|ways| ways.iter().all(|way| way["$ref"].is_string()));
    if value.get("oneOf").is_some_and(untagged)
        && let Some(ways) = value.as_object_mut().and_then(|fields| fields.remove("oneOf"))
    {
        value["anyOf"] = ways;
    }
}

fn complete_operation(path: &str, method: &str, operation: &mut Map<String, Value>) {
    operation.insert("operationId".to_owned(), json!(id_of(path, method)));
    let is_public = operation.contains_key("security");
    if !is_public {
        let session = if UNSAFE.contains(&method) { json!({ "session": [], "csrf": [] }) } else { json!({ "session": [] }) };
        operation.insert("security".to_owned(), json!([{ "token": [] }, session]));
    }
    let mut parameters = operation.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
    parameters.iter_mut().for_each(never_null);
    let has_query = parameters.iter().any(|parameter| parameter["in"] == "query");
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), Value::Array(parameters));
    }
    let has_body = operation.contains_key("requestBody");
    let mut statuses: Vec<&str> = Vec::new();
    if !path.starts_with("/api/health") {
        // The path itself may be what cannot be read.
        statuses.extend(["400", "429", "503"]);
    }
    if !is_public {
        statuses.extend(["401", "403"]);
    }
    if path.contains('{') {
        statuses.push("404");
    }
    if has_query || has_body {
        statuses.push("422");
    }
    if has_body {
        statuses.extend(["408", "413", "415"]);
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for status in statuses {
        responses.entry(status).or_insert_with(|| json!({}));
    }
    for (status, response) in responses {
        complete_response(status, response);
    }
}

/// A name that only this operation has and that generated clients can use: `getPeopleById`.
fn id_of(path: &str, method: &str) -> String {
    let mut id = method.to_owned();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != "api") {
        if part.starts_with('{') {
            id.push_str("By");
        }
        for word in part.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
            id.push_str(&word[..1].to_uppercase());
            id.push_str(&word[1..]);
        }
    }
    id
}

/// In a query there is no null: what is not wanted is left out, or empty.
fn never_null(parameter: &mut Value) {
    if parameter["in"] == "query" && parameter["required"] != true {
        parameter["allowEmptyValue"] = json!(true);
    }
    let schema = &mut parameter["schema"];
    if let Some(kinds) = schema.get("type").and_then(Value::as_array) {
        let rest: Vec<Value> = kinds.iter().filter(|kind| *kind != "null").cloned().collect();
        if let [one] = rest.as_slice() {
            schema["type"] = one.clone();
        }
    }
    if let Some(ways) = schema.get("oneOf").and_then(Value::as_array) {
        let rest: Vec<Value> = ways.iter().filter(|way| way["type"] != "null").cloned().collect();
        if let [one] = rest.as_slice() {
            *schema = one.clone();
        }
    }
}

fn complete_response(status: &str, response: &mut Value) {
    let Some(response) = response.as_object_mut() else { return };
    let text = response.entry("description").or_insert_with(|| json!(""));
    if text.as_str().is_none_or(str::is_empty) {
        *text = json!(meaning(status));
    }
    if status.starts_with(['4', '5']) {
        response.entry("content").or_insert_with(|| {
            json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/ProblemBody" } } })
        });
    }
    if matches!(status, "429" | "503") {
        response.entry("headers").or_insert_with(|| {
            json!({ "Retry-After": { "description": "Seconds.", "schema": { "type": "integer", "minimum": 1 } } })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(path: &str, method: &str, operation: Value) -> Value {
        let mut document = json!({ "info": {}, "components": {}, "paths": { path: { method: operation } } });
        complete(&mut document);
        document["paths"][path][method].take()
    }

    #[test]
    fn what_the_outer_layers_answer_stands_beside_what_a_route_says_of_itself() {
        let put = completed("/api/things/{id}", "put", json!({ "requestBody": {}, "responses": { "200": {}, "409": {} } }));
        let statuses: Vec<&String> = put["responses"].as_object().unwrap().keys().collect();
        assert_eq!(statuses, ["200", "400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "503"]);
        let conflict = &put["responses"]["409"]["content"]["application/problem+json"]["schema"]["$ref"];
        assert_eq!(conflict, "#/components/schemas/ProblemBody");
        assert_eq!(put["operationId"], "putThingsById");
        assert_eq!(put["security"], json!([{ "token": [] }, { "session": [], "csrf": [] }]));
    }

    #[test]
    fn whoever_need_not_sign_in_is_not_told_to() {
        let get = completed("/api/health", "get", json!({ "security": [{}], "responses": { "200": {}, "503": {} } }));
        assert_eq!(get["security"], json!([{}]));
        let statuses: Vec<&String> = get["responses"].as_object().unwrap().keys().collect();
        assert_eq!(statuses, ["200", "503"]);
    }

    #[test]
    fn a_type_that_stands_inline_is_described_and_not_contradicted() {
        let mut schema = json!({ "allOf": [{ "type": "string", "enum": ["a"] }, { "type": "object", "description": "Why." }] });
        mend(&mut schema);
        assert_eq!(schema, json!({ "type": "string", "enum": ["a"], "description": "Why." }));
        let mut untagged = json!({ "oneOf": [{ "$ref": "#/a" }, { "$ref": "#/b" }] });
        mend(&mut untagged);
        assert_eq!(untagged, json!({ "anyOf": [{ "$ref": "#/a" }, { "$ref": "#/b" }] }));
    }

    #[test]
    fn a_query_holds_no_null() {
        let parameters = json!([
            { "name": "q", "in": "query", "schema": { "type": ["string", "null"] } },
            { "name": "from", "in": "query", "schema": { "oneOf": [{ "$ref": "#/x" }, { "type": "null" }] } },
        ]);
        let get = completed("/api/things", "get", json!({ "parameters": parameters, "responses": { "200": {} } }));
        assert_eq!(get["parameters"][0]["schema"], json!({ "type": "string" }));
        assert_eq!(get["parameters"][1]["schema"], json!({ "$ref": "#/x" }));
    }
}
