//! One's own messages over HTTP.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Notification, ops, store};
use crate::base::id::{NotificationId, PersonId};
use crate::base::page::PageRequest;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::http::{Caller, Failure, IdPath, Params, Routes};
use crate::platform::store::Store;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct NotificationsApi {
    /// The business database.
    pub store: Store,
}

/// The routes of notifications.
pub fn routes(state: NotificationsApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_notifications))
        .routes(routes!(read_notification))
        .with_state(state)
}

/// A message to the caller.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct NotificationView {
    /// The id.
    id: NotificationId,
    /// What it is about, such as `approval.opened`.
    kind: String,
    /// One line.
    subject: String,
    /// Plain text.
    body: String,
    /// A path of the UI to go to.
    link: Option<String>,
    /// When it was written.
    created_at: Timestamp,
    /// When the caller read it.
    read_at: Option<Timestamp>,
}

impl From<Notification> for NotificationView {
    fn from(n: Notification) -> Self {
        Self {
            id: n.id,
            kind: n.kind,
            subject: n.subject,
            body: n.body,
            link: n.link,
            created_at: n.created_at,
            read_at: n.read_at,
        }
    }
}

/// A page of messages with the number of unread ones.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct Notifications {
    /// The messages, the newest first.
    items: Vec<NotificationView>,
    /// Pass it as `cursor` for the next page; null at the end.
    next_cursor: Option<String>,
    /// How many of all the caller's messages are unread.
    unread: u32,
}

/// The caller's messages, the newest first.
#[utoipa::path(get, path = "/api/notifications", tag = "notifications", params(PageRequest),
    responses((status = 200, body = Notifications)))]
async fn list_notifications(
    caller: Caller,
    State(api): State<NotificationsApi>,
    Params(page): Params<PageRequest>,
) -> Result<Json<Notifications>, Failure> {
    let person = person_of(&caller)?;
    let answer = api.store.read(move |tx| {
        let found = store::list_notifications(tx, &person, &page)?.map(NotificationView::from);
        let unread = store::count_unread(tx, &person)?;
        Ok(Notifications { items: found.items, next_cursor: found.next_cursor, unread })
    });
    Ok(Json(answer.await?))
}

/// Marks one of the caller's messages as read.
#[utoipa::path(post, path = "/api/notifications/{id}/read", tag = "notifications",
    params(("id" = NotificationId, Path,)),
    responses((status = 200, body = NotificationView), (status = 404)))]
async fn read_notification(
    caller: Caller,
    State(api): State<NotificationsApi>,
    IdPath(id): IdPath<NotificationId>,
) -> Result<Json<NotificationView>, Failure> {
    let read = api.store.write(move |tx| ops::mark_read(tx, &caller.principal, &id));
    Ok(Json(read.await?.into()))
}

fn person_of(caller: &Caller) -> Result<PersonId, Problem> {
    let person = caller.principal.person.clone();
    person.ok_or_else(|| Problem::Forbidden("Messages belong to people; sign in as one.".to_owned()))
}
