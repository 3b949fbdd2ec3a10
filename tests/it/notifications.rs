//! Messages to people.

use std::sync::Arc;

use serde_json::json;
use tenure::base::access::Principal;
use tenure::base::id::PersonId;
use tenure::base::page::PageRequest;
use tenure::base::problem::Problem;
use tenure::features::identity::people::{NewPerson, ops::create_person};
use tenure::features::notifications::{Message, jobs::SendMail, ops, store};
use tenure::params;
use tenure::platform::mail::Mailer;
use tenure::platform::queue::{InlineQueue, JobHandler, Registry};
use tenure::platform::store::Tx;

use crate::support::connectors::Bench;

fn person(tx: &Tx<'_>, name: &str) -> Result<PersonId, Problem> {
    let new = NewPerson {
        display_name: name.to_owned(),
        email: format!("{name}@example.org"),
        manager_id: None,
        attributes: json!({}),
    };
    Ok(create_person(tx, &Principal::system("test"), new)?.id)
}

/// The job that mails a message is there exactly when the message is.
#[tokio::test]
async fn a_message_and_its_mail_job_commit_once_per_person() {
    let bench = Bench::start(None).await;
    let message =
        Message { subject: "Decide".into(), body: "Please.".into(), link: Some("/inbox".into()), kind: "approval.opened" };
    let (ada, eve) = bench
        .store
        .write(move |tx| {
            let (ada, eve) = (person(tx, "ada")?, person(tx, "eve")?);
            ops::notify(tx, &[ada.clone(), eve.clone(), ada.clone()], message.clone())?;
            Ok((ada, eve))
        })
        .await
        .expect("written");
    let jobs: i64 = bench
        .store
        .read(|tx| tx.scalar("SELECT count(*) FROM job WHERE name = 'send-mail'", params![]))
        .await
        .expect("read");
    assert_eq!(jobs, 2);

    let of_ada = ada.clone();
    let page = bench.store.read(move |tx| store::list_notifications(tx, &of_ada, &PageRequest::default()));
    let items = page.await.expect("read").items;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].link.as_deref(), Some("/inbox"));

    let read_as = |who: PersonId| {
        let id = items[0].id.clone();
        let by = Principal { person: Some(who), ..Principal::system("test") };
        bench.store.write(move |tx| ops::mark_read(tx, &by, &id))
    };
    assert!(matches!(read_as(eve).await, Err(Problem::Missing { .. })));
    let first = read_as(ada.clone()).await.expect("read").read_at;
    assert!(first.is_some());
    assert_eq!(read_as(ada.clone()).await.expect("read again").read_at, first);
    assert_eq!(bench.store.read(move |tx| store::count_unread(tx, &ada)).await.expect("read"), 0);
}

#[tokio::test]
async fn a_message_is_mailed_with_its_link_and_marked() {
    let bench = Bench::start(None).await;
    let folder = tempfile::tempdir().expect("a folder");
    let outbox = folder.path().join("outbox");
    let mailer = Mailer::new(None, "tenure@example.org", outbox.clone(), bench.outbound.clone()).expect("a mailer");
    let handler: Arc<dyn JobHandler> = Arc::new(SendMail::new(mailer, "https://tenure.example.org/"));
    let queue = InlineQueue::start(bench.store.clone(), Registry::new([handler])).await.expect("a queue");
    let link = Some("/inbox".to_owned());
    let message = Message { subject: "Decide".into(), body: "Please.".into(), link, kind: "approval.opened" };
    let written = bench.store.write(move |tx| {
        let ada = person(tx, "ada")?;
        ops::notify(tx, std::slice::from_ref(&ada), message.clone())?;
        Ok(ada)
    });
    let ada = written.await.expect("written");
    queue.run_due().await.expect("ran");

    let page = bench.store.read(move |tx| store::list_notifications(tx, &ada, &PageRequest::default()));
    let message = page.await.expect("read").items.remove(0);
    assert!(message.mailed_at.is_some());
    let text = std::fs::read_to_string(outbox.join(format!("{}.eml", message.id))).expect("a mail");
    assert!(text.contains("To: ada <ada@example.org>") && text.contains("https://tenure.example.org/inbox"), "{text}");
}
