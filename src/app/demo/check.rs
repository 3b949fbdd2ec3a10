//! `tenure demo --check`: the whole story to its end, with proof from the outside systems.

use std::process::Command;

use serde_json::Value;

use super::client::text;
use super::lab::Lab;
use super::slapd::{ADMIN_DN, BASE_DN, Slapd};
use super::story::{self, ADA_UID, Cast};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::verify::verify_chain;
use crate::platform::clock::ShiftedClock;
use crate::platform::store::Store;

/// What the check needs of the running demo.
pub struct Scene<'a> {
    /// For requests to Tenure.
    pub http: &'a reqwest::Client,
    /// Where Tenure listens.
    pub base: &'a str,
    /// The clock that may be moved.
    pub clock: &'a ShiftedClock,
    /// The business database, for the verification of the log.
    pub store: &'a Store,
    /// The outside system over HTTP.
    pub lab: &'a Lab,
    /// The outside directory, unless the check runs without one.
    pub slapd: Option<&'a Slapd>,
}

/// Goes from the request to the end of access; each line printed is a fact that was looked up.
pub async fn run(scene: &Scene<'_>, now: Timestamp) -> Result<(), Problem> {
    let cast = Cast::sign_in(scene.http, scene.base).await?;
    let run = story::request_access(&cast).await?;
    story::hand_in_documents(&cast, now).await?;
    let approval = story::wait_for_approval(&cast).await?;
    say(&format!("asked      {} waits for {}", text(&approval, "/workflowName")?, names(&approval["approvers"])));
    absent(scene, "before the approval")?;
    story::approve(&cast).await?;
    let ended = story::wait_for_end(&cast.ada, &run).await?;
    expect_text(&ended["status"], "completed", "the run's status")?;
    let assignment = story::wait_for_assignment(&cast.ada, &["active"]).await?;
    say(&format!("granted    {} until {}", text(&assignment, "/role/name")?, text(&assignment, "/expiresAt")?));
    present(scene)?;

    let until = document_end(&cast).await?;
    scene.clock.set(until);
    say(&format!("time       moved to {until}, when the data-use agreement ends"));
    let cast = Cast::sign_in(scene.http, scene.base).await?;
    let assignment = story::wait_for_assignment(&cast.ada, &["expired", "revoked"]).await?;
    say(&format!("ended      {}: {}", text(&assignment, "/state")?, text(&assignment, "/endReason")?));
    absent(scene, "after the document's end")?;
    once(scene)?;

    let verdict = verify_chain(scene.store).await?;
    if let Some(fault) = verdict.fault {
        return Err(Problem::internal(format!("audit row {}: {}", fault.seq, fault.detail)));
    }
    say(&format!("audit      {} entries, every link holds", verdict.rows));
    Ok(())
}

fn say(line: &str) {
    println!("  {line}");
}

fn names(people: &Value) -> String {
    let people = people.as_array().map(Vec::as_slice).unwrap_or_default();
    people.iter().filter_map(|p| p["displayName"].as_str()).collect::<Vec<_>>().join(", ")
}

async fn document_end(cast: &Cast) -> Result<Timestamp, Problem> {
    let documents = cast.ada.list("/api/documents").await?;
    documents
        .iter()
        .filter_map(|d| d["expiresAt"].as_str()?.parse::<Timestamp>().ok())
        .min()
        .ok_or_else(|| Problem::internal("Ada has no document"))
}

fn expect_text(value: &Value, wanted: &str, what: &str) -> Result<(), Problem> {
    if value == wanted {
        return Ok(());
    }
    Err(Problem::internal(format!("{what} is {value}, expected {wanted}")))
}

fn present(scene: &Scene<'_>) -> Result<(), Problem> {
    expect(scene.lab.member(ADA_UID).present, "the laboratory's list holds Ada")?;
    say("laboratory PUT arrived: Ada is on the list");
    if let Some(slapd) = scene.slapd {
        expect(in_directory(slapd)?, "ldapsearch finds Ada's account")?;
        say("directory  ldapsearch finds uid=ada");
    }
    Ok(())
}

fn absent(scene: &Scene<'_>, when: &str) -> Result<(), Problem> {
    expect(!scene.lab.member(ADA_UID).present, &format!("the laboratory's list is without Ada {when}"))?;
    if let Some(slapd) = scene.slapd {
        expect(!in_directory(slapd)?, &format!("ldapsearch finds no account {when}"))?;
    }
    say(&format!("outside    no access in any system {when}"));
    Ok(())
}

fn once(scene: &Scene<'_>) -> Result<(), Problem> {
    let member = scene.lab.member(ADA_UID);
    expect(
        (member.added, member.removed) == (1, 1),
        &format!("added once and removed once, found {} and {}", member.added, member.removed),
    )?;
    say("laboratory provisioned once, removed once");
    Ok(())
}

fn expect(holds: bool, what: &str) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem::internal(format!("expected: {what}"))) }
}

/// Asks the directory with OpenLDAP's own client, not with Tenure's.
fn in_directory(slapd: &Slapd) -> Result<bool, Problem> {
    let output = Command::new("ldapsearch")
        .args(["-x", "-LLL", "-o", "nettimeout=5", "-H", &slapd.url, "-D", ADMIN_DN, "-w", &slapd.password])
        .args(["-b", BASE_DN, &format!("(uid={ADA_UID})"), "dn"])
        .output()
        .map_err(|e| Problem::unavailable(format!("ldapsearch did not start ({e}); install ldap-utils"), 60))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Problem::internal(format!("ldapsearch failed: {text}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).contains("dn: "))
}

