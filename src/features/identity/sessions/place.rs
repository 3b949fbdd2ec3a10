//! Where sessions are kept: a port, and `queue.db` behind it.
//!
//! # Invariants
//! - A place keeps sessions and judges nothing: whether one is over is said by
//!   [`Session::is_over`](super::Session::is_over).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{ABSOLUTE, IDLE, Session, store};
use crate::base::id::{AccountId, SessionId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::store::Store;

/// An answer of a place.
pub type PlaceFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// What a session is kept under: a keyed hash of its secret.
pub type SecretHash = [u8; 32];

/// Keeps sessions under the hashes of their secrets.
pub trait SessionPlace: Send + Sync + std::fmt::Debug + 'static {
    /// Keeps a new session.
    fn insert(&self, session: Session, hash: SecretHash) -> PlaceFuture<'_, ()>;

    /// The session with this hash; may be over already.
    fn find(&self, hash: SecretHash) -> PlaceFuture<'_, Option<Session>>;

    /// The sessions of an account, oldest first.
    fn list(&self, account: AccountId) -> PlaceFuture<'_, Vec<Session>>;

    /// Remembers that a session was seen at `now`.
    fn touch(&self, session: Session, hash: SecretHash, now: Timestamp) -> PlaceFuture<'_, ()>;

    /// Ends a session of this account; false when there is none.
    fn remove(&self, id: SessionId, account: AccountId) -> PlaceFuture<'_, bool>;
}

/// A place that many share.
pub type SharedSessions = Arc<dyn SessionPlace>;

/// Sessions in `queue.db`.
#[derive(Debug, Clone)]
pub struct EmbeddedSessions {
    store: Store,
}

impl EmbeddedSessions {
    /// Sessions in this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl SessionPlace for EmbeddedSessions {
    fn insert(&self, session: Session, hash: SecretHash) -> PlaceFuture<'_, ()> {
        Box::pin(self.store.write(move |tx| {
            let now = tx.now();
            store::delete_over(tx, now.minus(IDLE), now.minus(ABSOLUTE))?;
            store::insert_session(tx, &session, &hash)
        }))
    }

    fn find(&self, hash: SecretHash) -> PlaceFuture<'_, Option<Session>> {
        Box::pin(self.store.read_first(move |tx| store::find_session(tx, &hash)))
    }

    fn list(&self, account: AccountId) -> PlaceFuture<'_, Vec<Session>> {
        Box::pin(self.store.read(move |tx| store::list_sessions(tx, &account)))
    }

    fn touch(&self, session: Session, _: SecretHash, _: Timestamp) -> PlaceFuture<'_, ()> {
        Box::pin(self.store.write(move |tx| store::touch_session(tx, &session.id)))
    }

    fn remove(&self, id: SessionId, account: AccountId) -> PlaceFuture<'_, bool> {
        Box::pin(self.store.write(move |tx| store::delete_session(tx, &id, &account)))
    }
}
