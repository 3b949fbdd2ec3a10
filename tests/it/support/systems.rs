//! A connected system over HTTP that takes what it is given and remembers it, until it is told to refuse.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Such as `PUT /members/ada`.
    pub line: String,
    /// What stood in `Idempotency-Key`.
    pub key: String,
    /// What stood in `Authorization`, if anything.
    pub authorization: Option<String>,
    /// The body, if it is JSON.
    pub body: Value,
}

#[derive(Debug, Default)]
struct Book {
    present: BTreeSet<String>,
    calls: Vec<Call>,
    refusing: Option<(String, StatusCode)>,
}

/// A running system; ends with its runtime.
pub struct System {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    book: Arc<Mutex<Book>>,
}

impl System {
    /// Serves on a free loopback port. `PUT` puts its path there, `DELETE` takes it away, `GET` looks, and with
    /// `?list=` answers what is there below the path.
    pub async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&book));
        tokio::spawn(async move { axum::serve(listener, router).await.expect("the system is served") });
        Self { url, book }
    }

    /// Whether the path is there.
    pub fn present(&self, path: &str) -> bool {
        self.lock().present.contains(path)
    }

    /// What came, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// What came that was more than a look, in order, such as `PUT /members/ada`.
    pub fn changes(&self) -> Vec<String> {
        self.calls().into_iter().map(|c| c.line).filter(|line| !line.starts_with("GET ")).collect()
    }

    /// Answers everything that begins so with `status` from now on.
    pub fn refuse(&self, line: &str, status: u16) {
        self.lock().refusing = Some((line.to_owned(), StatusCode::from_u16(status).expect("a status")));
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panicked with it")
    }
}

async fn answer(
    State(book): State<Arc<Mutex<Book>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, axum::Json<Value>) {
    let mut book = book.lock().expect("nobody panicked with it");
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (path, line) = (uri.path().to_owned(), format!("{method} {}", uri.path()));
    book.calls.push(Call {
        line: line.clone(),
        key: header("idempotency-key").unwrap_or_default(),
        authorization: header("authorization"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    if let Some((refused, status)) = &book.refusing
        && line.starts_with(refused)
    {
        return (*status, axum::Json(json!({ "detail": "Not today." })));
    }
    if method == Method::GET && uri.query().is_some_and(|q| q.starts_with("list=")) {
        let below = format!("{path}/");
        let items: Vec<Value> =
            book.present.iter().filter_map(|p| p.strip_prefix(&below)).map(|name| json!({ "id": name })).collect();
        return (StatusCode::OK, axum::Json(json!({ "total": items.len(), "items": items })));
    }
    let status = match method {
        Method::GET if !book.present.contains(&path) => StatusCode::NOT_FOUND,
        Method::PUT => {
            book.present.insert(path);
            StatusCode::OK
        }
        Method::DELETE => {
            book.present.remove(&path);
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::OK,
    };
    (status, axum::Json(json!({ "ok": true })))
}
