//! Objects in a bucket of any S3-compatible service.
//!
//! # Invariants
//! - An object that is there is not written again, also when an answer was lost or two write at once.
//! - What is kept under a lock is sent with its SHA-256, so that it is locked as it was meant.
//! - No error or log of this module holds the secret, a signature or a whole URL.
//!
//! # Not here
//! How a request is signed: AWS Signature Version 4 in the query, by `rusty-s3`.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rusty_s3::actions::{ListObjectsV2, S3Action};
use rusty_s3::{Credentials, UrlStyle};
use sha2::{Digest as _, Sha256};

use super::{Answer, Loopback, Origin, Outbound, OutboundError, Request};
use crate::base::clock::Clock as _;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::config::audit::S3Config;
use crate::platform::clock::SystemClock;

/// How long a signature holds: as much as S3 lets a client's clock differ.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);
/// How many names a page of a list has at most; more are not given by S3 either.
const PAGE: usize = 1_000;
/// A page of names of the greatest length, each with what is said about it.
const LIST_LIMIT: usize = 4 * 1024 * 1024;
/// After how many seconds another try makes sense.
const RETRY_AFTER: u32 = 60;

/// A bucket. Clones share its connections.
#[derive(Clone)]
pub struct Bucket {
    bucket: rusty_s3::Bucket,
    credentials: Credentials,
    origin: Origin,
    outbound: Outbound,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// Some names of a bucket, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The names.
    pub keys: Vec<String>,
    /// Whether there are more behind the last of these.
    pub more: bool,
}

/// How a bucket locks what is put into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// It does not, as far as may be known.
    None,
    /// By a rule of its own.
    ByRule,
    /// As each object says.
    ByObject,
}

impl Bucket {
    /// A bucket as the settings name it; nothing is called yet.
    pub fn new(settings: &S3Config, outbound: Outbound) -> Result<Self, Problem> {
        let endpoint = || Problem::field("AUDIT_CHECKPOINT_S3_ENDPOINT", "expected an http or https URL with a host");
        let origin = Origin::of(&settings.endpoint).ok_or_else(endpoint)?;
        // The bucket's name in the path: every service takes it, under any certificate and with dots in it.
        let (name, region) = (settings.bucket.clone(), settings.region.clone());
        let bucket = rusty_s3::Bucket::new(settings.endpoint.clone(), UrlStyle::Path, name, region);
        let credentials = Credentials::new(settings.access_key_id.as_str(), settings.secret_access_key.expose());
        Ok(Self { bucket: bucket.map_err(|_| endpoint())?, credentials, origin, outbound })
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        format!("{}{}", self.origin, self.bucket.base_url().path().trim_end_matches('/'))
    }

    /// Puts an object there, unless it is there already; another one under the same name is a conflict.
    ///
    /// In a bucket that locks objects and has no rule of its own, nobody can change or remove it until `lock_until`.
    pub async fn put(&self, key: &str, body: Vec<u8>, lock_until: Option<Timestamp>) -> Result<(), Problem> {
        let before = self.read(key).await?;
        // Whoever may not look, or is told that there is nothing, writes.
        if before.status == 200 {
            return self.compare(key, &before.body, &body);
        }
        let until = match lock_until {
            Some(until) if self.lock().await? == Lock::ByObject => Some(until),
            _ => None,
        };
        let body = Bytes::from(body);
        let mut answer = self.write(key, &body, until, true).await?;
        if answer.status == 501 {
            // A service that knows no conditions.
            answer = self.write(key, &body, until, false).await?;
        }
        match answer.status {
            200..=299 => Ok(()),
            // It came there meanwhile, perhaps by an attempt of ours whose answer was lost.
            412 => {
                let there = self.read(key).await?;
                if there.status == 200 { self.compare(key, &there.body, &body) } else { Err(self.fault(&there)) }
            }
            _ => Err(self.fault(&answer)),
        }
    }

    /// An object; `None` when there is none of this name.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        let answer = self.read(key).await?;
        match (answer.status, code(&answer).as_deref()) {
            (200, _) => Ok(Some(answer.body.into())),
            (404, None | Some("NoSuchKey")) => Ok(None),
            _ => Err(self.fault(&answer)),
        }
    }

    /// The names that begin with `prefix` and come after `after`, at most a thousand.
    pub async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing, Problem> {
        let mut list = self.bucket.list_objects_v2(Some(&self.credentials));
        list.with_prefix(prefix);
        list.with_max_keys(PAGE);
        if let Some(after) = after {
            list.with_start_after(after);
        }
        let answer = self.exchange(list, None, &[]).await?;
        if answer.status != 200 {
            return Err(self.fault(&answer));
        }
        let text = String::from_utf8_lossy(&answer.body);
        let page = ListObjectsV2::parse_response(&text).map_err(|_| {
            Problem::refused(format!("{} does not answer as S3 does: its list of names cannot be read.", self.place()))
        })?;
        let more = page.next_continuation_token.is_some();
        Ok(Listing { keys: page.contents.into_iter().map(|object| object.key).collect(), more })
    }

    async fn read(&self, key: &str) -> Result<Answer, Problem> {
        self.exchange(self.bucket.get_object(Some(&self.credentials), key), None, &[]).await
    }

    async fn write(&self, key: &str, body: &Bytes, until: Option<Timestamp>, alone: bool) -> Result<Answer, Problem> {
        let mut headers = vec![
            ("x-amz-checksum-sha256", STANDARD.encode(Sha256::digest(body))),
            ("x-amz-sdk-checksum-algorithm", "SHA256".to_owned()),
        ];
        if let Some(until) = until {
            headers.push(("x-amz-object-lock-mode", "COMPLIANCE".to_owned()));
            headers.push(("x-amz-object-lock-retain-until-date", until.to_string()));
        }
        if alone {
            headers.push(("if-none-match", "*".to_owned()));
        }
        let put = self.bucket.put_object(Some(&self.credentials), key);
        self.exchange(put, Some(body.clone()), &headers).await
    }

    fn compare(&self, key: &str, there: &[u8], body: &[u8]) -> Result<(), Problem> {
        if there == body {
            return Ok(());
        }
        Err(Problem::Conflict(format!(
            "{} holds something else under the name {key}; it was not written over. Find out who put it there.",
            self.place()
        )))
    }

    /// Asked each time: it is rarely needed, and may be switched on later.
    async fn lock(&self) -> Result<Lock, Problem> {
        // The bucket itself is the object without a name.
        let mut ask = self.bucket.get_object(Some(&self.credentials), "");
        ask.query_mut().insert("object-lock", "");
        let answer = self.exchange(ask, None, &[]).await?;
        let body = String::from_utf8_lossy(&answer.body);
        match answer.status {
            200 if !body.contains("<ObjectLockEnabled>Enabled<") => Ok(Lock::None),
            200 if body.contains("<DefaultRetention>") => Ok(Lock::ByRule),
            200 => Ok(Lock::ByObject),
            400 | 404 | 405 | 501 => Ok(Lock::None),
            403 => {
                tracing::warn!(
                    place = self.place(),
                    "whether the bucket locks objects may not be known: allow s3:GetBucketObjectLockConfiguration"
                );
                Ok(Lock::None)
            }
            _ => Err(self.fault(&answer)),
        }
    }

    async fn exchange<'a>(
        &self,
        mut action: impl S3Action<'a>,
        body: Option<Bytes>,
        headers: &[(&'static str, String)],
    ) -> Result<Answer, Problem> {
        let request = self.request(&mut action, body, headers, SystemClock.now())?;
        let sent = self.outbound.send_to(std::slice::from_ref(&self.origin), Loopback::Allowed, request).await;
        sent.map_err(|e| self.out(&e))
    }

    /// S3 compares the instant with its own clock, so it is real time, also when the clock is moved.
    fn request<'a, A: S3Action<'a>>(
        &self,
        action: &mut A,
        body: Option<Bytes>,
        headers: &[(&'static str, String)],
        now: Timestamp,
    ) -> Result<Request, Problem> {
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            sent.insert(HeaderName::from_static(name), HeaderValue::from_str(value).map_err(Problem::internal)?);
            action.headers_mut().insert(*name, value.clone());
        }
        let url = action.sign_with_time(SIGNED_FOR, &now.to_jiff());
        let method = Method::from_bytes(A::METHOD.to_str().as_bytes()).map_err(Problem::internal)?;
        let answer_limit = Some(LIST_LIMIT);
        Ok(Request { method, url, headers: sent, body, time_limit: None, answer_limit })
    }

    fn out(&self, error: &OutboundError) -> Problem {
        Problem::unavailable(format!("{} cannot be used: {error}.", self.place()), RETRY_AFTER)
    }

    /// What another answer than the hoped-for one means.
    fn fault(&self, answer: &Answer) -> Problem {
        let (status, code) = (answer.status, code(answer));
        let code = code.as_deref().unwrap_or_default();
        let advice = match code {
            "InvalidAccessKeyId" => "It does not know AUDIT_CHECKPOINT_S3_ACCESS_KEY_ID.",
            "SignatureDoesNotMatch" => "AUDIT_CHECKPOINT_S3_SECRET_ACCESS_KEY does not belong to the access key.",
            "NoSuchBucket" => "There is no such bucket; make it, or correct AUDIT_CHECKPOINT_S3_BUCKET.",
            "RequestTimeTooSkewed" | "RequestExpired" => "Its clock and this machine's differ; set the wrong one.",
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError" => {
                "Check AUDIT_CHECKPOINT_S3_REGION and AUDIT_CHECKPOINT_S3_ENDPOINT."
            }
            _ => match status {
                403 => {
                    "Allow the access key s3:ListBucket, s3:GetObject and s3:PutObject, and where objects are locked \
                     s3:GetBucketObjectLockConfiguration and s3:PutObjectRetention."
                }
                300..=399 => "Check AUDIT_CHECKPOINT_S3_REGION and AUDIT_CHECKPOINT_S3_ENDPOINT.",
                408 | 409 | 429 | 500.. => "That may pass.",
                _ => "Check that AUDIT_CHECKPOINT_S3_ENDPOINT is an S3-compatible service.",
            },
        };
        let answered = format!("{status} {code}");
        let detail = format!("{} answered {}. {advice}", self.place(), answered.trim_end());
        match status {
            408 | 409 | 429 | 500.. => Problem::unavailable(detail, RETRY_AFTER),
            _ => Problem::refused(detail),
        }
    }
}

/// The code of an error, such as `NoSuchKey`; nothing else of what a stranger answers is shown.
fn code(answer: &Answer) -> Option<String> {
    let text = String::from_utf8_lossy(&answer.body);
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::platform::outbound::OutboundSettings;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn bucket(endpoint: &str, name: &str) -> Bucket {
        let settings = S3Config {
            endpoint: endpoint.parse().unwrap(),
            region: "us-east-1".to_owned(),
            bucket: name.to_owned(),
            prefix: String::new(),
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: Secret::new(SECRET),
        };
        Bucket::new(&settings, Outbound::new(OutboundSettings::default()).unwrap()).unwrap()
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: body.to_owned().into() }
    }

    /// The service's own verdict on signatures is in `tests/it/audit_stores.rs`; this is what is signed.
    #[test]
    fn what_protects_an_object_is_signed_with_it() {
        let bucket = bucket("https://s3.example/base", "audit.example");
        let mut put = bucket.bucket.put_object(Some(&bucket.credentials), "a/b c");
        let headers = [("x-amz-checksum-sha256", "abc=".to_owned()), ("if-none-match", "*".to_owned())];
        let now = Timestamp::from_millis(1_369_353_600_000);
        let request = bucket.request(&mut put, Some(Bytes::from_static(b"x")), &headers, now).unwrap();
        assert_eq!(request.method, Method::PUT);
        assert_eq!(request.url.path(), "/base/audit.example/a/b%20c");
        let query: Vec<_> = request.url.query_pairs().collect();
        let of = |name: &str| query.iter().find(|(k, _)| k == name).map(|(_, v)| v.to_string());
        assert_eq!(of("X-Amz-Date").as_deref(), Some("20130524T000000Z"));
        assert_eq!(of("X-Amz-SignedHeaders").as_deref(), Some("host;if-none-match;x-amz-checksum-sha256"));
        assert_eq!(request.headers["if-none-match"], "*");
    }

    /// The example of the S3 manual, "Authenticating Requests: Using Query Parameters", with the name in the host.
    #[test]
    fn a_request_is_signed_as_the_manual_of_s3_shows() {
        let sign = |url: &str| {
            let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", SECRET);
            let at = jiff::Timestamp::from_second(1_369_353_600).unwrap();
            let host = rusty_s3::Bucket::new(url.parse().unwrap(), UrlStyle::VirtualHost, "examplebucket", "us-east-1");
            host.unwrap().get_object(Some(&credentials), "test.txt").sign_with_time(Duration::from_secs(86_400), &at)
        };
        let url = sign("https://s3.amazonaws.com");
        let expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(url.as_str().ends_with(&format!("X-Amz-Signature={expected}")), "{url}");
    }

    #[test]
    fn an_answer_that_was_not_hoped_for_says_what_to_mend_and_no_secret() {
        let bucket = bucket("https://tenure:hunter2@s3.example:9000", "audit");
        let error = |status, code: &str| {
            let body = format!("<Error><Code>{code}</Code><AWSAccessKeyId>AKIAIOSFODNN7EXAMPLE</AWSAccessKeyId></Error>");
            bucket.fault(&answer(status, &body))
        };
        let wrong = error(403, "SignatureDoesNotMatch").to_string();
        assert!(wrong.starts_with("https://s3.example:9000/audit answered 403 SignatureDoesNotMatch. AUDIT_"), "{wrong}");
        assert!(error(403, "AccessDenied").to_string().contains("s3:PutObjectRetention"));
        assert!(matches!(error(503, "SlowDown"), Problem::Unavailable { .. }));
        assert!(matches!(error(404, "NoSuchBucket"), Problem::Invalid { .. }));
        assert!(error(502, "<b>hello</b>").to_string().ends_with("answered 502. That may pass."));
        for shown in [format!("{bucket:?}"), wrong, error(403, "x y").to_string()] {
            assert!(!["hunter2", "tenure", SECRET, "AKIA"].iter().any(|secret| shown.contains(secret)), "{shown}");
        }
    }
}
