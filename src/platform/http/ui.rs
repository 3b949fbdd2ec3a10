//! The web UI that stands in the binary.
//!
//! Assets have a hash in their name and never change; the page itself is asked for each time. Text
//! is sent as it was compressed at build time. What is missing below `/assets/` is 404, never the page.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

#[derive(Embed)]
#[folder = "web/dist/"]
struct Files;

/// Shown when the binary was built without the UI.
const STUB: &str = "<!doctype html><html lang=\"en\"><title>Tenure</title><p>Tenure runs, without its \
web interface: this binary was built before <code>make web</code>. The API is at <a href=\"/api/openapi.json\">\
/api/openapi.json</a>.";

/// Whether the UI was built into this binary.
pub fn is_built() -> bool {
    Files::get("index.html").is_some()
}

/// Answers everything that no route answers.
pub async fn serve(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if let Some(file) = Files::get(path).filter(|_| !path.ends_with(".br") && !path.ends_with(".gz")) {
        return file_response(path, file, request.headers());
    }
    let last = path.rsplit('/').next().unwrap_or("");
    if path.starts_with("assets/") || last.contains('.') {
        return (StatusCode::NOT_FOUND, "There is no such file.").into_response();
    }
    match Files::get("index.html") {
        Some(page) => file_response("index.html", page, request.headers()),
        None => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], STUB).into_response(),
    }
}

fn file_response(path: &str, file: EmbeddedFile, asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let caching = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = asked.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let (encoding, body) = best_encoding(path, file, asked);
    let mut response = if known.is_some_and(|k| k.split(',').any(|t| t.trim() == tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        body.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn best_encoding(path: &str, file: EmbeddedFile, asked: &HeaderMap) -> (Option<&'static str>, Vec<u8>) {
    let accepted = asked.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("");
    for (name, ending) in [("br", "br"), ("gzip", "gz")] {
        let wanted = accepted.split(',').any(|part| part.split(';').next().unwrap_or("").trim() == name);
        if wanted && let Some(packed) = Files::get(&format!("{path}.{ending}")) {
            return (Some(name), packed.data.into_owned());
        }
    }
    (None, file.data.into_owned())
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "woff2" => "font/woff2",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
