//! A body that is a file: it comes in pieces and is never held whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::BodyDataStream;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method, header};
use bytes::Bytes;
use futures::Stream;

use super::extract::check_guarded;
use super::reply::Failure;

/// A body that is a file. How much of it is taken is up to whoever reads it.
#[derive(Debug)]
pub struct Upload {
    /// What kind of file the client says it is, without parameters, in lower case.
    pub media_type: String,
    /// How many bytes the client says will come, if it waits to be asked for them: it can be refused
    /// before it sends any.
    pub announced: Option<u64>,
    /// The bytes.
    pub pieces: Pieces,
}

/// The bytes of an [`Upload`].
#[derive(Debug)]
pub struct Pieces(BodyDataStream);

impl Stream for Pieces {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        check_guarded(request.extensions())?;
        let headers = request.headers();
        let announced = if headers.contains_key(header::EXPECT) {
            text(headers, header::CONTENT_LENGTH).parse().ok()
        } else {
            None
        };
        let media_type = text(headers, header::CONTENT_TYPE).split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        Ok(Self { media_type, announced, pieces: Pieces(request.into_body().into_data_stream()) })
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
}

/// Whether a request brings a file, which may take longer than other bodies.
pub(super) fn is_upload(method: &Method, path: &str) -> bool {
    method == Method::PUT && path.starts_with("/api/documents/") && path.ends_with("/content")
}

/// The value of `Content-Disposition` that makes a browser save a file under its name, whatever is in
/// it, and never show it (RFC 6266).
pub fn as_attachment(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' }).collect();
    let mut whole = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            whole.push(char::from(byte));
        } else {
            whole.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_header() {
        assert_eq!(as_attachment("a b.pdf"), "attachment; filename=\"a b.pdf\"; filename*=UTF-8''a%20b.pdf");
        assert_eq!(
            as_attachment("\"; x=\u{e9}\r\n"),
            "attachment; filename=\"_; x=___\"; filename*=UTF-8''%22%3B%20x%3D%C3%A9%0D%0A"
        );
    }

    #[test]
    fn only_the_content_of_a_document_is_an_upload() {
        assert!(is_upload(&Method::PUT, "/api/documents/doc_1/content"));
        assert!(!is_upload(&Method::GET, "/api/documents/doc_1/content"));
        assert!(!is_upload(&Method::PUT, "/api/roles/content"));
    }
}
