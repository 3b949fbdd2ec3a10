//! The job that seals secrets anew once two people agreed to it.

use serde::Deserialize;
use serde_json::Value;

use super::rotation::{self, ROTATE_KEYS, Rotation};
use crate::base::access::{ExceptionMark, Principal};
use crate::base::problem::Problem;
use crate::platform::queue::{JobCx, JobFuture, JobHandler};
use crate::platform::secrets::SecretBox;

#[derive(Debug, Deserialize)]
struct Payload {
    /// Who stands behind it.
    mark: Option<ExceptionMark>,
}

/// `rotate-connector-keys`. An attempt that was cut begins again, and skips what is done.
pub struct RotateKeys {
    /// The box whose present key they are sealed with.
    pub secrets: SecretBox,
}

impl JobHandler for RotateKeys {
    fn name(&self) -> &'static str {
        ROTATE_KEYS
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let Payload { mark } = serde_json::from_value(payload)
                .map_err(|e| Problem::refused(format!("{ROTATE_KEYS}: payload {e}; expected {{\"mark\": …}}")))?;
            self.rotate(cx, Principal { exception: mark, ..Principal::system(ROTATE_KEYS) }).await
        })
    }
}

impl RotateKeys {
    async fn rotate(&self, cx: &JobCx, by: Principal) -> Result<(), Problem> {
        let (mut all, mut after) = (Rotation::default(), rotation::Place::default());
        loop {
            let (secrets, actor, from) = (self.secrets.clone(), by.clone(), after.clone());
            let (page, next) = cx.page(move |tx| rotation::rotate_page(tx, &actor, &secrets, &from)).await?;
            all.add(page);
            match next {
                Some(next) => after = next,
                None => break,
            }
            if cx.stopping() {
                return cx.snooze(cx.store().clock().now()).await;
            }
        }
        let key = self.secrets.key_id();
        cx.complete(move |tx| rotation::end(tx, &by, &all, &key)).await
    }
}
