//! `tenure user` and `tenure token`: accounts and API tokens.

use std::io::BufRead as _;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{query, with_door};
use crate::app::door::Door;
use crate::base::access::SystemRole;
use crate::base::id::TokenId;
use crate::base::problem::Problem;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a person with an account; the password is read from standard input, or made.
    #[command(after_help = "Example:\n  echo \"$PASSWORD\" | tenure user create --email ada@example.org --name 'Ada M' --role requestor --password-stdin")]
    Create {
        /// Address to sign in with.
        #[arg(long)]
        email: String,
        /// How they are called.
        #[arg(long)]
        name: String,
        /// A system role; may be given more than once.
        #[arg(long = "role", value_parser = parse_role)]
        roles: Vec<SystemRole>,
        /// Read the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List accounts.
    #[command(after_help = "Example:\n  tenure user list --json")]
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Switch an account off; its sessions and tokens end at once.
    #[command(after_help = "Example:\n  tenure user disable --email ada@example.org")]
    Disable {
        /// The account's address.
        #[arg(long)]
        email: String,
    },
    /// Give an account another password, read from standard input.
    #[command(after_help = "Example:\n  echo \"$PASSWORD\" | tenure user reset-password --email ada@example.org")]
    ResetPassword {
        /// The account's address.
        #[arg(long)]
        email: String,
    },
    /// Take the second factor of somebody away who lost it; their sessions end.
    #[command(after_help = "Example:\n  tenure user reset-second-factor --email ada@example.org")]
    ResetSecondFactor {
        /// The account's address.
        #[arg(long)]
        email: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make an API token for an account; such a token never decides approvals.
    #[command(after_help = "Example:\n  tenure token create --user ada@example.org --json")]
    Create {
        /// The account's address.
        #[arg(long)]
        user: String,
        /// What the token is for.
        #[arg(long, default_value = "made on the command line")]
        name: String,
        /// A permission such as run:read; may be given more than once.
        #[arg(long = "scope")]
        scope: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a token.
    #[command(after_help = "Example:\n  tenure token revoke tok_01j…")]
    Revoke {
        /// The token's id.
        id: TokenId,
    },
}

fn parse_role(text: &str) -> Result<SystemRole, String> {
    SystemRole::parse(text).ok_or_else(|| {
        let names: Vec<_> = SystemRole::ALL.iter().map(|r| r.as_str()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

pub(super) async fn run_user(config: Config, command: UserCommand) -> ExitCode {
    with_door(config, async |door| match command {
        UserCommand::Create { email, name, roles, password_stdin, json } => {
            let password = if password_stdin { Some(read_line()?) } else { None };
            let body = json!({ "email": email, "displayName": name, "password": password, "roles": roles });
            print_created(&door.post("/api/accounts", &body).await?, json);
            Ok(())
        }
        UserCommand::List { json } => list(door, json).await,
        UserCommand::Disable { email } => {
            let id = account_id(door, &email).await?;
            door.post(&format!("/api/accounts/{id}/disable"), &Value::Null).await?;
            println!("disabled");
            Ok(())
        }
        UserCommand::ResetPassword { email } => {
            let id = account_id(door, &email).await?;
            let body = json!({ "password": read_line()? });
            door.post(&format!("/api/accounts/{id}/reset-password"), &body).await?;
            println!("the password is changed; sessions ended");
            Ok(())
        }
        UserCommand::ResetSecondFactor { email } => {
            let id = account_id(door, &email).await?;
            door.post(&format!("/api/accounts/{id}/reset-second-factor"), &Value::Null).await?;
            println!("the second factor is gone; sessions ended");
            Ok(())
        }
    })
    .await
}

pub(super) async fn run_token(config: Config, command: TokenCommand) -> ExitCode {
    with_door(config, async |door| match command {
        TokenCommand::Create { user, name, scope, json } => {
            let id = account_id(door, &user).await?;
            let scope = (!scope.is_empty()).then_some(scope);
            let body = json!({ "name": name, "scope": scope });
            let made = door.post(&format!("/api/accounts/{id}/tokens"), &body).await?;
            if json {
                println!("{made}");
            } else {
                println!("{}", made["token"].as_str().unwrap_or_default());
            }
            Ok(())
        }
        TokenCommand::Revoke { id } => {
            door.delete(&format!("/api/auth/tokens/{id}")).await?;
            println!("revoked");
            Ok(())
        }
    })
    .await
}

fn read_line() -> Result<String, Problem> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Problem::internal)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The id of the account that signs in with this address.
async fn account_id(door: &mut Door, email: &str) -> Result<String, Problem> {
    let found = door.get(&query("/api/accounts", &[("email", Some(email))])).await?;
    match found["items"][0]["id"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => Err(Problem::missing("account", email)),
    }
}

fn print_created(account: &Value, json: bool) {
    let password = &account["password"];
    if json {
        println!("{}", json!({ "accountId": account["id"], "email": account["email"], "password": password }));
        return;
    }
    println!("{} is added", account["email"].as_str().unwrap_or_default());
    if let Some(password) = password.as_str() {
        println!("password: {password}");
    }
}

async fn list(door: &mut Door, json: bool) -> Result<(), Problem> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = door.get(&query("/api/accounts", &[("limit", Some("200")), ("cursor", cursor.as_deref())])).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        cursor = page["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if json {
        println!("{}", json!({ "items": items }));
        return Ok(());
    }
    for account in &items {
        let roles: Vec<_> = account["roles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let state = if account["active"] == true { "active" } else { "disabled" };
        println!("{:30} {:9} {}", account["email"].as_str().unwrap_or_default(), state, roles.join(", "));
    }
    Ok(())
}
