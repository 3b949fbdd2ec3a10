//! One's own messages over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::templates::{self, KINDS, Kind, Wording};
use super::digest::{self, DIGEST_AFTER, DIGEST_MINUTES};
use super::{MailChoice, Notification, ops, store};
use crate::base::access::may;
use crate::base::id::{JobId, NotificationId, PersonId};
use crate::base::page::PageRequest;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::PersonRef;
use crate::features::settings;
use crate::features::settings::api::NumberInForce;
use crate::platform::http::{Allowed, Body, Caller, Failure, IdPath, NamePath, Params, Routes, nullable};
use crate::platform::store::{Store, Tx};

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
        .routes(routes!(read_all))
        .routes(routes!(get_choice, put_choice))
        .routes(routes!(list_failed))
        .routes(routes!(list_templates))
        .routes(routes!(get_settings, put_settings))
        .routes(routes!(get_template, put_template, restore_template))
        .routes(routes!(preview_template))
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

/// How many messages became read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ReadAll {
    /// How many.
    read: usize,
}

/// Marks all of the caller's messages as read.
#[utoipa::path(post, path = "/api/notifications/read-all", tag = "notifications",
    responses((status = 200, body = ReadAll)))]
async fn read_all(caller: Caller, State(api): State<NotificationsApi>) -> Result<Json<ReadAll>, Failure> {
    let person = person_of(&caller)?;
    let read = api.store.write(move |tx| ops::mark_all_read(tx, &person)).await?;
    Ok(Json(ReadAll { read }))
}

/// How the caller wants their mails.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Choice {
    /// `usual` (alone until there are many), `each` (always alone) or `together` (always many in one).
    mail: MailChoice,
}

/// How the caller wants their mails, and what the installation does.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChoiceView {
    /// What they chose.
    mail: MailChoice,
    /// After how many mails the usual choice puts messages together.
    digest_after: u32,
    /// The minutes that this looks back on, and from one mail with many messages to the next.
    digest_minutes: u32,
}

fn choice(tx: &Tx<'_>, person: &PersonId) -> Result<ChoiceView, Problem> {
    let (after, minutes) = digest::in_force(tx)?;
    Ok(ChoiceView { mail: store::mail_choice(tx, person)?, digest_after: after.value, digest_minutes: minutes.value })
}

/// How the caller wants their mails.
#[utoipa::path(get, path = "/api/notifications/choice", tag = "notifications",
    responses((status = 200, body = ChoiceView)))]
async fn get_choice(caller: Caller, State(api): State<NotificationsApi>) -> Result<Json<ChoiceView>, Failure> {
    let person = person_of(&caller)?;
    Ok(Json(api.store.read(move |tx| choice(tx, &person)).await?))
}

/// Changes how the caller gets their mails.
#[utoipa::path(put, path = "/api/notifications/choice", tag = "notifications", request_body = Choice,
    responses((status = 200, body = ChoiceView), (status = 422)))]
async fn put_choice(
    caller: Caller,
    State(api): State<NotificationsApi>,
    Body(body): Body<Choice>,
) -> Result<Json<ChoiceView>, Failure> {
    let person = person_of(&caller)?;
    let changed = api.store.write(move |tx| {
        ops::choose_mail(tx, &caller.principal, &person, body.mail)?;
        choice(tx, &person)
    });
    Ok(Json(changed.await?))
}

/// A mail that could not be sent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct FailedMailView {
    /// The job that gave up.
    job_id: JobId,
    /// To whom.
    person: Option<PersonRef>,
    /// What it said; null for many messages together.
    subject: Option<String>,
    /// Why the last attempt failed.
    reason: Option<String>,
    /// Attempts that were made.
    attempts: u32,
    /// When it gave up.
    failed_at: Option<Timestamp>,
}

/// Mails that could not be sent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FailedMails {
    /// The newest of them.
    items: Vec<FailedMailView>,
    /// Whether there are more.
    more: bool,
}

/// The most of them that are listed.
const LISTED: u32 = 50;

/// Mails that could not be sent and are not tried any more, the newest first.
#[utoipa::path(get, path = "/api/notifications/failed", tag = "notifications",
    responses((status = 200, body = FailedMails)))]
async fn list_failed(
    _: Allowed<may::SettingsRead>,
    State(api): State<NotificationsApi>,
) -> Result<Json<FailedMails>, Failure> {
    let (found, more) = api.store.read(|tx| ops::failed_mails(tx, LISTED)).await?;
    let items = found.into_iter().map(|f| FailedMailView {
        person: f.person,
        subject: f.subject,
        reason: f.job.failed_reason,
        attempts: f.job.attempts_made,
        failed_at: f.job.finished_on,
        job_id: f.job.id,
    });
    Ok(Json(FailedMails { items: items.collect(), more }))
}

fn person_of(caller: &Caller) -> Result<PersonId, Problem> {
    let person = caller.principal.person.clone();
    person.ok_or_else(|| Problem::Forbidden("Messages belong to people; sign in as one.".to_owned()))
}

/// The wording of a kind of mail.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateView {
    /// Its key.
    key: &'static str,
    /// When such a mail is sent.
    about: &'static str,
    /// Names of the values that it can use as `{{ name }}`.
    values: &'static [&'static str],
    /// One line.
    subject: String,
    /// Plain text.
    body: String,
    /// Whether it is the built-in wording.
    is_default: bool,
    /// Who changed it.
    changed_by: Option<String>,
    /// When.
    changed_at: Option<Timestamp>,
}

impl TemplateView {
    fn of(tx: &Tx<'_>, kind: &'static Kind) -> Result<Self, Problem> {
        let changed = store::find_template(tx, kind.key)?;
        let wording = changed.as_ref().map_or_else(|| kind.wording(), |c| c.wording.clone());
        Ok(Self {
            key: kind.key,
            about: kind.about,
            values: kind.values,
            subject: wording.subject,
            body: wording.body,
            is_default: changed.is_none(),
            changed_at: changed.as_ref().map(|c| c.at),
            changed_by: changed.map(|c| c.by),
        })
    }

    fn with_key(tx: &Tx<'_>, key: &str) -> Result<Self, Problem> {
        Self::of(tx, templates::find_kind(key).ok_or_else(|| Problem::missing("template", key))?)
    }
}

/// The wordings of all kinds of mail.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TemplateList {
    /// One for each kind.
    items: Vec<TemplateView>,
}

/// The wordings of all kinds of mail.
#[utoipa::path(get, path = "/api/notifications/templates", tag = "notifications",
    responses((status = 200, body = TemplateList)))]
async fn list_templates(
    _: Allowed<may::SettingsRead>,
    State(api): State<NotificationsApi>,
) -> Result<Json<TemplateList>, Failure> {
    let items = api.store.read(|tx| KINDS.iter().map(|kind| TemplateView::of(tx, kind)).collect()).await?;
    Ok(Json(TemplateList { items }))
}

/// The wording of a kind of mail.
#[utoipa::path(get, path = "/api/notifications/templates/{key}", tag = "notifications",
    params(("key" = String, Path)), responses((status = 200, body = TemplateView), (status = 404)))]
async fn get_template(
    _: Allowed<may::SettingsRead>,
    State(api): State<NotificationsApi>,
    NamePath(key): NamePath,
) -> Result<Json<TemplateView>, Failure> {
    Ok(Json(api.store.read(move |tx| TemplateView::with_key(tx, &key)).await?))
}

/// Another wording; both texts may use `{{ name }}`.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TemplateBody {
    /// One line.
    subject: String,
    /// Plain text.
    body: String,
}

/// Words a kind of mail anew; a wording that cannot be filled in is refused with its line.
#[utoipa::path(put, path = "/api/notifications/templates/{key}", tag = "notifications",
    params(("key" = String, Path)), request_body = TemplateBody,
    responses((status = 200, body = TemplateView), (status = 404), (status = 422)))]
async fn put_template(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<NotificationsApi>,
    NamePath(key): NamePath,
    Body(body): Body<TemplateBody>,
) -> Result<Json<TemplateView>, Failure> {
    let wording = Wording { subject: body.subject, body: body.body };
    let changed = api.store.write(move |tx| {
        templates::change(tx, &caller.principal, &key, &wording)?;
        TemplateView::with_key(tx, &key)
    });
    Ok(Json(changed.await?))
}

/// A mail as it would look.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PreviewView {
    /// One line.
    subject: String,
    /// Plain text.
    body: String,
}

/// A wording filled in with example values; nothing is stored.
#[utoipa::path(post, path = "/api/notifications/templates/{key}/preview", tag = "notifications",
    params(("key" = String, Path)), request_body = TemplateBody,
    responses((status = 200, body = PreviewView), (status = 404), (status = 422)))]
async fn preview_template(
    _: Allowed<may::SettingsRead>,
    NamePath(key): NamePath,
    Body(body): Body<TemplateBody>,
) -> Result<Json<PreviewView>, Failure> {
    let Wording { subject, body } = templates::preview(&key, &Wording { subject: body.subject, body: body.body })?;
    Ok(Json(PreviewView { subject, body }))
}

/// Goes back to the built-in wording.
#[utoipa::path(delete, path = "/api/notifications/templates/{key}", tag = "notifications",
    params(("key" = String, Path)), responses((status = 200, body = TemplateView), (status = 404)))]
async fn restore_template(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<NotificationsApi>,
    NamePath(key): NamePath,
) -> Result<Json<TemplateView>, Failure> {
    let restored = api.store.write(move |tx| {
        templates::restore(tx, &caller.principal, &key)?;
        TemplateView::with_key(tx, &key)
    });
    Ok(Json(restored.await?))
}

/// When mails are put together.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct NotificationSettings {
    /// Mails to one person within so many minutes, after which the next messages come in one mail.
    digest_after: NumberInForce,
    /// The minutes that are looked back on, and from one such mail to the next.
    digest_minutes: NumberInForce,
}

impl NotificationSettings {
    fn of(tx: &Tx<'_>) -> Result<Self, Problem> {
        let (after, minutes) = digest::in_force(tx)?;
        Ok(Self {
            digest_after: NumberInForce::of(after, DIGEST_AFTER),
            digest_minutes: NumberInForce::of(minutes, DIGEST_MINUTES),
        })
    }
}

/// Any subset; null goes back to the default.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettingsChange {
    /// 1 to 1000.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    digest_after: Option<Option<u32>>,
    /// 1 to 1440.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    digest_minutes: Option<Option<u32>>,
}

/// When mails are put together.
#[utoipa::path(get, path = "/api/settings/notifications", tag = "settings",
    responses((status = 200, body = NotificationSettings)))]
async fn get_settings(
    _: Allowed<may::SettingsRead>,
    State(api): State<NotificationsApi>,
) -> Result<Json<NotificationSettings>, Failure> {
    Ok(Json(api.store.read(NotificationSettings::of).await?))
}

/// Changes when mails are put together.
#[utoipa::path(put, path = "/api/settings/notifications", tag = "settings", request_body = SettingsChange,
    responses((status = 200, body = NotificationSettings), (status = 422)))]
async fn put_settings(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<NotificationsApi>,
    Body(change): Body<SettingsChange>,
) -> Result<Json<NotificationSettings>, Failure> {
    let changed = api.store.write(move |tx| {
        for (setting, value) in [(DIGEST_AFTER, change.digest_after), (DIGEST_MINUTES, change.digest_minutes)] {
            if let Some(value) = value {
                settings::ops::set_number(tx, &caller.principal, setting, value)?;
            }
        }
        NotificationSettings::of(tx)
    });
    Ok(Json(changed.await?))
}
