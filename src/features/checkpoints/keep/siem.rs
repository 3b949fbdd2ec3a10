//! A receiver of security events: it is told of each checkpoint, and cannot be asked.

use serde_json::json;
use url::Url;

use super::{Keep, KeepFuture, Record};
use crate::base::problem::Problem;
use crate::config::Secret;
use crate::features::audit::encode_hash;
use crate::platform::outbound::Outbound;
use crate::platform::outbound::syslog::{Message, Receiver};

/// Checkpoints at a receiver of security events.
#[derive(Debug)]
pub struct Siem(Receiver);

impl Siem {
    /// The receiver that `AUDIT_CHECKPOINT_SIEM_URL` names; nothing is called yet.
    pub fn new(url: &Secret, outbound: &Outbound) -> Result<Self, Problem> {
        let url = Url::parse(url.expose()).map_err(|_| Problem::field("AUDIT_CHECKPOINT_SIEM_URL", "expected a URL"))?;
        Ok(Self(Receiver::new(&url, outbound.clone())?))
    }
}

/// The same text whenever it is sent: what is sent twice can be told by its `id`, which is the log's name and the name
/// that the checkpoint has as a file.
fn message(record: &Record) -> Message {
    let checkpoint = &record.checkpoint;
    let id = format!("{}/{}", checkpoint.origin, record.file_name());
    let host = checkpoint.origin.split('/').next().unwrap_or_default().to_owned();
    let body = json!({
        "type": "tenure.audit.checkpoint",
        "id": id,
        "at": record.made_at,
        "reason": record.reason,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": encode_hash(&checkpoint.root),
        "note": record.note,
    });
    Message { id, kind: "checkpoint", at: record.made_at, host, body }
}

impl Keep for Siem {
    fn name(&self) -> &'static str {
        "siem"
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn put<'a>(&'a self, record: &'a Record) -> KeepFuture<'a, ()> {
        Box::pin(async move { self.0.send(&message(record)).await })
    }

    fn newest(&self) -> KeepFuture<'_, Option<String>> {
        Box::pin(async { Ok(None) })
    }
}
