//! The file of a document: handing it in, and who may.

use bytes::Bytes;
use futures::Stream;

use super::ops::{record, state_of, wrong_state};
use super::{Document, DocumentFile, DocumentState, MAX_FILE, store};
use crate::base::access::Principal;
use crate::base::id::DocumentId;
use crate::base::problem::Problem;
use crate::platform::blobs::BlobStore;
use crate::platform::store::{Store, Tx};

/// What is said of a file that is handed in.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Its name.
    pub name: String,
    /// What kind of file.
    pub media_type: String,
}

/// Stores what comes and makes it the document's file, in the place of the one before.
///
/// Not given up with the request: once the content is whole, its row follows.
pub async fn upload<S, E>(
    (store, blobs): (&Store, &BlobStore),
    by: Principal,
    id: DocumentId,
    new: NewFile,
    pieces: S,
) -> Result<Document, Problem>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let received = blobs.receive(pieces, MAX_FILE).await?;
    if received.size() == 0 {
        return Err(Problem::refused("The file is empty. Choose another one."));
    }
    let (store, blobs) = (store.clone(), blobs.clone());
    // If the client went away now, the content could be removed before its row is there.
    let rest = tokio::spawn(async move {
        let placed = blobs.place(received).await?;
        blobs.pass("blobs:before_row")?;
        let file = DocumentFile {
            name: new.name,
            size: placed.size,
            sha256: placed.hash.as_str().to_owned(),
            media_type: new.media_type,
        };
        let stored = store.write(move |tx| attach(tx, &by, &id, file.clone())).await;
        drop(placed);
        stored
    });
    rest.await.map_err(Problem::internal)?
}

/// The document, if this principal may hand its file in now.
pub fn open_for(tx: &Tx<'_>, by: &Principal, id: &DocumentId) -> Result<Document, Problem> {
    let document = store::get_document(tx, id)?;
    let handed_in = document.submitted_by.as_ref().is_some_and(|p| by.is_person(p));
    if !handed_in && !by.is_person(&document.person.id) {
        return Err(Problem::Forbidden(
            "The file of a document comes from whoever it is about or whoever handed it in. Ask one of them.".to_owned(),
        ));
    }
    if document.state != DocumentState::Submitted {
        return Err(wrong_state(&document, "given a file"));
    }
    if document.is_expired(tx.now()) {
        return Err(Problem::Conflict(format!("The document {id} expired at {}.", document.expires_at)));
    }
    Ok(document)
}

/// Makes content the document's file, in the place of the one before.
pub fn attach(tx: &Tx<'_>, by: &Principal, id: &DocumentId, file: DocumentFile) -> Result<Document, Problem> {
    let mut document = open_for(tx, by, id)?;
    let before = state_of(&document);
    store::keep_blob(tx, &file.sha256, file.size)?;
    if let Some(old) = &document.file {
        store::touch_blob(tx, &old.sha256)?;
    }
    store::update_file(tx, id, &file)?;
    super::ops::note_token_maker(tx, by, id)?;
    document.file = Some(file);
    record(tx, by, "document.file_attached", Some(before), &document, None)?;
    Ok(document)
}

/// Refuses a review of another file than the one that was looked at.
pub fn check_looked_at(tx: &Tx<'_>, id: &DocumentId, sha256: Option<&str>) -> Result<(), Problem> {
    let Some(sha256) = sha256 else { return Ok(()) };
    let document = store::get_document(tx, id)?;
    if document.file.as_ref().is_some_and(|f| f.sha256 == sha256) {
        return Ok(());
    }
    Err(Problem::Conflict(format!(
        "The file of {id} is not the one that you looked at. Look at the new one, then decide."
    )))
}
