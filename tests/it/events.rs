//! The stream of hints: what changed is told, what was missed is made up for, a shutdown is not held up.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, command, http};

/// An API token for a new account with this role.
fn token(data: &Path, email: &str, role: &str) -> String {
    let run = |args: &[&str]| {
        let output = command(args).env("DATA_DIR", data).output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    run(&["user", "create", "--email", email, "--name", email, "--role", role, "--json"]);
    run(&["token", "create", "--user", email])
}

struct Stream {
    answer: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(server: &Server, token: &str, last: Option<u64>) -> Self {
        let mut request = http().get(format!("{}/api/events", server.base)).bearer_auth(token);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new() }
    }

    /// The next hint; the id of the event is that of the hint.
    async fn hint(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.text.clone().split_once("\n\n") {
                self.text = rest.to_owned();
                let field = |name: &str| event.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
                // Comments keep the line open.
                let Some(data) = field("data:") else { continue };
                let hint: Value = serde_json::from_str(data).expect("JSON");
                assert_eq!(field("event:"), Some("hint"));
                assert_eq!(field("id:"), Some(hint["seq"].to_string().as_str()));
                return hint;
            }
            let chunk = self.answer.chunk().await.expect("the stream goes on").expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next hint about this kind of thing.
    async fn about(&mut self, topic: &str) -> Value {
        loop {
            let hint = self.hint().await;
            if hint["topic"] == topic {
                return hint;
            }
        }
    }
}

async fn create_person(server: &Server, token: &str, name: &str) -> String {
    let body = json!({ "displayName": name, "email": format!("{name}@example.org") });
    let made = http().post(format!("{}/api/people", server.base)).bearer_auth(token).json(&body).send().await;
    let person: Value = made.expect("an answer").json().await.expect("JSON");
    person["id"].as_str().unwrap_or_else(|| panic!("{person}")).to_owned()
}

/// Whoever may not read the audit log learns that something changed, not what.
#[tokio::test]
async fn a_change_is_told_and_what_was_missed_is_made_up_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let admin = token(&data, "a@example.org", "admin");
    let requestor = token(&data, "r@example.org", "requestor");

    let mut seen = Stream::open(&server, &admin, None).await;
    let mut dim = Stream::open(&server, &requestor, None).await;
    let one = create_person(&server, &admin, "one").await;
    let hint = seen.about("person").await;
    assert_eq!(hint["ids"], json!([one]));
    assert_eq!(dim.about("person").await["ids"], json!([]));

    let last = hint["seq"].as_u64().expect("a number");
    drop(seen);
    let two = create_person(&server, &admin, "two").await;
    let mut again = Stream::open(&server, &admin, Some(last)).await;
    let hint = again.about("person").await;
    assert_eq!(hint["ids"], json!([two]), "exactly what was missed");

    let mut ahead = Stream::open(&server, &admin, Some(999_999)).await;
    assert_eq!(ahead.hint().await["topic"], "resync", "a log that is shorter than what one knew");
    let garbage = http()
        .get(format!("{}/api/events", server.base))
        .bearer_auth(&admin)
        .header("last-event-id", "soon")
        .send()
        .await;
    assert_eq!(garbage.expect("an answer").status(), 400);
}

#[tokio::test]
async fn open_streams_do_not_hold_a_shutdown_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let admin = token(&data, "a@example.org", "admin");
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(Stream::open(&server, &admin, None).await);
    }
    let began = Instant::now();
    let ended = tokio::task::spawn_blocking(move || server.terminate()).await.expect("ends");
    assert_eq!(ended, 0);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    for mut stream in streams {
        let end = stream.answer.chunk().await;
        assert!(matches!(end, Ok(None)), "a stream ends whole: {end:?}");
    }
}
