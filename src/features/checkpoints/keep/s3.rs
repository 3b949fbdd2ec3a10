//! A bucket: each checkpoint an object of its own, under the name that it has as a file.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Keep, KeepFuture, Record};
use crate::base::problem::Problem;
use crate::config::audit::S3Config;
use crate::platform::outbound::Outbound;
use crate::platform::outbound::s3::Bucket;

/// How long a checkpoint is locked in a bucket that locks objects and has no rule of its own: until the audit of the
/// year after can be over.
const LOCKED_FOR: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Checkpoints in a bucket.
#[derive(Debug)]
pub struct S3 {
    bucket: Bucket,
    prefix: String,
    /// The newest that was seen there: what comes after it is asked for first.
    seen: Mutex<Option<String>>,
}

impl S3 {
    /// This bucket; nothing is called yet.
    pub fn new(settings: &S3Config, outbound: &Outbound) -> Result<Self, Problem> {
        let bucket = Bucket::new(settings, outbound.clone())?;
        Ok(Self { bucket, prefix: settings.prefix.clone(), seen: Mutex::default() })
    }

    fn seen(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn see(&self, key: Option<String>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// The greatest name of a checkpoint after `after`: names sort by size and time.
    async fn last_after(&self, after: Option<String>) -> Result<Option<String>, Problem> {
        let (mut after, mut last) = (after, None);
        loop {
            let page = self.bucket.list(&self.prefix, after.as_deref()).await?;
            after = page.keys.last().cloned();
            last = page.keys.into_iter().rfind(|key| self.is_checkpoint(key)).or(last);
            if !page.more || after.is_none() {
                return Ok(last);
            }
        }
    }

    fn is_checkpoint(&self, key: &str) -> bool {
        key.strip_prefix(&self.prefix).is_some_and(|name| {
            let size = name.split('-').next().unwrap_or_default();
            size.len() == 20 && size.bytes().all(|b| b.is_ascii_digit()) && name.ends_with(".note") && !name.contains('/')
        })
    }

    async fn newest_now(&self) -> Result<Option<String>, Problem> {
        let seen = self.seen();
        let mut key = match self.last_after(seen.clone()).await? {
            None => seen.clone(),
            later => later,
        };
        loop {
            let Some(name) = key else {
                self.see(None);
                return Ok(None);
            };
            if let Some(note) = self.bucket.get(&name).await? {
                self.see(Some(name));
                return Ok(Some(String::from_utf8_lossy(&note).into_owned()));
            }
            // It is gone, whoever did that: what is left is looked through from the beginning.
            key = self.last_after(None).await?.filter(|left| *left != name);
        }
    }
}

impl Keep for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn place(&self) -> String {
        format!("{}/{}", self.bucket.place(), self.prefix)
    }

    fn put<'a>(&'a self, record: &'a Record) -> KeepFuture<'a, ()> {
        Box::pin(async move {
            let key = format!("{}{}", self.prefix, record.file_name());
            let until = record.made_at.plus(LOCKED_FOR);
            self.bucket.put(&key, record.note.clone().into_bytes(), Some(until)).await
        })
    }

    fn newest(&self) -> KeepFuture<'_, Option<String>> {
        Box::pin(self.newest_now())
    }
}
