//! `tenure user` and `tenure token`: accounts and API tokens, on a data directory that no server uses.

use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use crate::app::App;
use crate::base::access::{Principal, SystemRole};
use crate::base::id::{Ids as _, TokenId};
use crate::base::problem::Problem;
use crate::config::Config;
use crate::config::data_dir::DataDir;
use crate::features::identity::accounts::ops::{NewToken, TOKEN_PREFIX};
use crate::features::identity::accounts::{self, password};
use crate::features::identity::people::{self, NewPerson};
use crate::features::identity::sessions::ops::new_secret;
use crate::platform::clock::{SystemClock, SystemIds};

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
    with_app(config, |app, by| async move {
        match command {
            UserCommand::Create { email, name, roles, password_stdin, json } => {
                create(&app, by, email, name, roles, password_stdin, json).await
            }
            UserCommand::List { json } => list(&app, json).await,
            UserCommand::Disable { email } => {
                app.store.write(move |tx| accounts::ops::disable_account(tx, &by, &email)).await?;
                println!("disabled");
                Ok(())
            }
            UserCommand::ResetPassword { email } => {
                let hash = hashed(&app, read_line()?, &email).await?;
                app.store.write(move |tx| accounts::ops::reset_password(tx, &by, &email, &hash)).await?;
                println!("the password is changed; sessions ended");
                Ok(())
            }
        }
    })
    .await
}

pub(super) async fn run_token(config: Config, command: TokenCommand) -> ExitCode {
    with_app(config, |app, by| async move {
        match command {
            TokenCommand::Create { user, name, scope, json } => {
                let secret = format!("{TOKEN_PREFIX}{}", new_secret(&SystemIds));
                let shown = secret.clone();
                let scope = (!scope.is_empty()).then_some(scope);
                let token = app
                    .store
                    .write(move |tx| {
                        let account = accounts::store::find_by_email(tx, &user)?
                            .ok_or_else(|| Problem::missing("account", &user))?;
                        let new = NewToken { name: name.clone(), scope: scope.clone(), expires_at: None };
                        accounts::ops::create_token(tx, &by, &account, new, &secret)
                    })
                    .await?;
                if json {
                    println!("{}", json!({ "token": shown, "id": token.id, "expiresAt": token.expires_at }));
                } else {
                    println!("{shown}");
                }
                Ok(())
            }
            TokenCommand::Revoke { id } => {
                app.store.write(move |tx| accounts::ops::revoke_token(tx, &by, &id)).await?;
                println!("revoked");
                Ok(())
            }
        }
    })
    .await
}

async fn with_app<F, Fut>(mut config: Config, work: F) -> ExitCode
where
    F: FnOnce(App, Principal) -> Fut,
    Fut: Future<Output = Result<(), Problem>>,
{
    let result = async {
        let claim = DataDir::claim(&config.data_dir)?;
        claim.make_keys(&mut config.keys, &SystemIds)?;
        let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemIds)).await?;
        let result = work(app.clone(), Principal::cli(uid())).await;
        app.close().await;
        result
    }
    .await;
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem::Internal(cause)) => {
            eprintln!("tenure: {cause:?}");
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("tenure: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The user that runs the command: who owns its process directory.
fn uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or(0, |m| m.uid())
}

fn read_line() -> Result<String, Problem> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Problem::internal)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

async fn hashed(app: &App, password: String, email: &str) -> Result<String, Problem> {
    Problem::from_fields(password::faults("password", &password, email))?;
    app.identity.passwords.hash(password).await
}

async fn create(
    app: &App,
    by: Principal,
    email: String,
    name: String,
    roles: Vec<SystemRole>,
    from_stdin: bool,
    json: bool,
) -> Result<(), Problem> {
    let password = if from_stdin { read_line()? } else { format!("{:024x}", SystemIds.next_random() >> 32) };
    let hash = hashed(app, password.clone(), &email).await?;
    let given = email.clone();
    let account = app
        .store
        .write(move |tx| {
            let new = NewPerson {
                display_name: name.clone(),
                email: email.clone(),
                manager_id: None,
                attributes: json!({}),
            };
            let person = people::ops::create_person(tx, &by, new)?;
            accounts::ops::create_account(tx, &by, &person.id, &email, Some(hash.clone()), &roles)
        })
        .await?;
    let made = (!from_stdin).then_some(password);
    if json {
        println!("{}", json!({ "accountId": account, "email": given, "password": made }));
    } else {
        println!("{given} is added");
        if let Some(password) = made {
            println!("password: {password}");
        }
    }
    Ok(())
}

async fn list(app: &App, json: bool) -> Result<(), Problem> {
    let accounts = app.store.read(accounts::store::list_accounts).await?;
    for account in &accounts {
        if !json {
            let roles: Vec<_> = account.roles.iter().map(|r| r.as_str()).collect();
            let state = if account.active { "active" } else { "disabled" };
            println!("{:30} {:9} {}", account.email, state, roles.join(", "));
        }
    }
    if json {
        let rows: Vec<_> = accounts
            .iter()
            .map(|a| json!({ "id": a.id, "email": a.email, "active": a.active, "roles": a.roles }))
            .collect();
        println!("{}", json!({ "items": rows }));
    }
    Ok(())
}
