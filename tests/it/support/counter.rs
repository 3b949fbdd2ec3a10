//! An access list over HTTP that counts the calls for each idempotency key.
//!
//! It is stricter than the demo's laboratory: a change with a key that it has not seen is carried out and
//! counted, whether or not it changes anything. Only the same key again is the same call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::any;

#[derive(Debug, Default)]
struct Book {
    present: BTreeSet<String>,
    /// How often a key came, by method and member.
    calls: BTreeMap<(String, String), BTreeMap<String, u32>>,
}

/// A running list; ends with its runtime.
pub struct Counter {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    book: Arc<Mutex<Book>>,
}

impl Counter {
    /// Serves an empty list on a free loopback port.
    pub async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/members/{uid}", any(answer)).with_state(Arc::clone(&book));
        tokio::spawn(async move { axum::serve(listener, router).await.expect("the list is served") });
        Self { url, book }
    }

    /// Whether the member is on the list.
    pub fn present(&self, uid: &str) -> bool {
        self.lock().present.contains(uid)
    }

    /// How many different keys came with `method` for the member: as often was it meant to be done.
    pub fn keys(&self, method: &str, uid: &str) -> usize {
        self.lock().calls.get(&(method.to_owned(), uid.to_owned())).map_or(0, BTreeMap::len)
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panicked with it")
    }
}

async fn answer(
    State(book): State<Arc<Mutex<Book>>>,
    method: Method,
    Path(uid): Path<String>,
    headers: HeaderMap,
) -> StatusCode {
    let mut book = book.lock().expect("nobody panicked with it");
    if method == Method::GET {
        return if book.present.contains(&uid) { StatusCode::OK } else { StatusCode::NOT_FOUND };
    }
    let Some(key) = headers.get("idempotency-key").and_then(|k| k.to_str().ok()) else {
        return StatusCode::BAD_REQUEST;
    };
    let times = book.calls.entry((method.to_string(), uid.clone())).or_default().entry(key.to_owned()).or_default();
    *times += 1;
    if *times == 1 {
        match method {
            Method::PUT => book.present.insert(uid),
            _ => book.present.remove(&uid),
        };
    }
    if method == Method::PUT { StatusCode::OK } else { StatusCode::NO_CONTENT }
}
