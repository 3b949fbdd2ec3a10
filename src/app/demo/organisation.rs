//! The sample organisation: four people, their accounts, the connected systems, a role, a workflow.

use serde_json::{Value, json};

use super::client::{Client, text};
use super::slapd::{ADMIN_DN, BASE_DN};
use super::story::{ADA, ADMIN, MONA, PASSWORD, ROSA, WORKFLOW};
use crate::base::access::{Principal, SystemRole};
use crate::base::problem::Problem;
use crate::features::identity::accounts::password::Passwords;
use crate::features::identity::{accounts, people};
use crate::platform::store::Store;

/// The group whose members decide.
const REVIEWERS: &str = "genome-reviewers";
/// The sample definition, also in `examples/`.
const DEFINITION: &str = include_str!("../../../examples/workflows/genome-access.json");

/// Where the outside systems are.
#[derive(Debug, Clone)]
pub struct Systems {
    /// Base URL of the laboratory's access list.
    pub lab_url: String,
    /// URL and password of an LDAP server, when there is one.
    pub ldap: Option<(String, String)>,
}

/// Puts people and accounts into an empty store.
pub async fn create_people(store: &Store, passwords: &Passwords) -> Result<(), Problem> {
    let hash = passwords.hash(PASSWORD.to_owned()).await?;
    store
        .write(move |tx| {
            let by = Principal::system("demo");
            if people::store::find_by_email(tx, ADMIN)?.is_some() {
                return Ok(());
            }
            let mut cast = Vec::new();
            for (name, email, role) in [
                ("Ines Adler", ADMIN, SystemRole::Admin),
                ("Mona Okafor", MONA, SystemRole::ResourceManager),
                ("Rosa Lindqvist", ROSA, SystemRole::Approver),
                ("Ada Marchetti", ADA, SystemRole::Requestor),
            ] {
                let uid = email.split('@').next().unwrap_or(email);
                let person = people::ops::create_person(
                    tx,
                    &by,
                    people::NewPerson {
                        display_name: name.to_owned(),
                        email: email.to_owned(),
                        manager_id: None,
                        attributes: json!({ "uid": uid }),
                    },
                )?;
                accounts::ops::create_account(tx, &by, &person.id, email, Some(hash.clone()), &[role])?;
                cast.push(person.id);
            }
            people::ops::create_group(tx, &by, REVIEWERS, &cast[2..3])
        })
        .await
}

/// The object with this name, made unless it is there: a demo that was cut short goes on.
async fn ensure(admin: &Client, path: &str, name: &str, body: Value) -> Result<Value, Problem> {
    let known = admin.list(&format!("{path}?limit=200")).await?;
    match known.into_iter().find(|o| o["name"] == name) {
        Some(object) => Ok(object),
        None => admin.post(path, body).await,
    }
}

/// Connects the systems and publishes role and workflow, through the public API.
pub async fn connect(admin: &Client, systems: &Systems) -> Result<(), Problem> {
    let mut entitlements = vec![building(admin).await?, laboratory(admin, &systems.lab_url).await?];
    if let Some((url, password)) = &systems.ldap {
        entitlements.push(directory(admin, url, password).await?);
    }
    let role = json!({
        "name": WORKFLOW,
        "description": "Works with pseudonymised genome data in the secure laboratory.",
        "ownerId": admin.person,
        "defaultDurationDays": 365,
        "requiredDocumentTypes": ["data-use-agreement", "training-certificate"],
        "entitlementIds": entitlements,
    });
    ensure(admin, "/api/roles", WORKFLOW, role).await?;
    let definition: Value = serde_json::from_str(DEFINITION).map_err(Problem::internal)?;
    let workflow = ensure(admin, "/api/workflows", WORKFLOW, json!({ "definition": definition })).await?;
    if workflow["status"] == "draft" {
        admin.post(&format!("/api/workflows/{}/publish", text(&workflow, "/id")?), json!({})).await?;
    }
    Ok(())
}

async fn entitlement(admin: &Client, name: &str, connector: &Value, commands: Value) -> Result<String, Problem> {
    let mut body = commands;
    body["name"] = json!(name);
    body["connectorId"] = connector["id"].clone();
    text(&ensure(admin, "/api/entitlements", name, body).await?, "/id")
}

/// The built-in directory holds the project's group.
async fn building(admin: &Client) -> Result<String, Problem> {
    let name = "Built-in directory";
    let body = json!({ "name": name, "kind": "directory", "config": { "createMissing": true } });
    let connector = ensure(admin, "/api/connectors", name, body).await?;
    let member = json!({ "account": "{{ person.attributes.uid }}", "group": "genome-project" });
    let commands = json!({
        "provision": { "command": "add_member", "params": member },
        "deprovision": { "command": "remove_member", "params": member },
        "check": { "command": "has_member", "params": member },
    });
    entitlement(admin, "Project group", &connector, commands).await
}

/// The laboratory's access list, over HTTP.
async fn laboratory(admin: &Client, url: &str) -> Result<String, Problem> {
    let config = json!({ "baseUrl": url, "auth": "none" });
    let name = "Genome laboratory";
    let connector =
        ensure(admin, "/api/connectors", name, json!({ "name": name, "kind": "http", "config": config })).await?;
    if connector["config"]["baseUrl"] != config["baseUrl"] {
        // A demo that is started again has its laboratory on another port.
        admin.patch(&format!("/api/connectors/{}", text(&connector, "/id")?), json!({ "config": config })).await?;
    }
    let path = "/members/{{ person.attributes.uid }}";
    let commands = json!({
        "provision": { "command": "request", "params": { "method": "PUT", "path": path, "expectStatus": [200, 201] } },
        "deprovision": { "command": "request", "params": { "method": "DELETE", "path": path, "expectStatus": [204, 404] } },
        "check": { "command": "request", "params": {
            "method": "GET", "path": path, "expectStatus": [200, 404], "presentStatus": [200], "absentStatus": [404],
        } },
    });
    entitlement(admin, "Laboratory access", &connector, commands).await
}

/// An account in the LDAP directory.
async fn directory(admin: &Client, url: &str, password: &str) -> Result<String, Problem> {
    let body = json!({
        "name": "Research directory",
        "kind": "ldap",
        "config": { "url": url, "bindDn": ADMIN_DN },
        "secrets": { "password": password },
    });
    let connector = ensure(admin, "/api/connectors", "Research directory", body).await?;
    let dn = format!("uid={{{{ person.attributes.uid }}}},ou=people,{BASE_DN}");
    let commands = json!({
        "provision": { "command": "add_entry", "params": { "dn": dn, "attributes": {
            "objectClass": ["inetOrgPerson"],
            "uid": "{{ person.attributes.uid }}",
            "cn": "{{ person.displayName }}",
            "sn": "{{ person.displayName }}",
            "mail": "{{ person.email }}",
        } } },
        "deprovision": { "command": "delete_entry", "params": { "dn": dn } },
        "check": { "command": "has_entry", "params": { "dn": dn } },
    });
    entitlement(admin, "Directory account", &connector, commands).await
}
