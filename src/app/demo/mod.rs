//! `tenure demo`: a sample organisation with everything in it, and a check that goes to the end.
//!
//! Time moves only here and in tests.

pub mod check;
pub mod client;
pub mod lab;
pub mod organisation;
pub mod slapd;
pub mod story;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use self::client::Client;
use self::lab::Lab;
use self::organisation::Systems;
use self::slapd::Slapd;
use self::story::{ADA, ADMIN, Cast, MONA, PASSWORD, ROSA};
use super::serve::{Running, refuse, start};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::config::Config;
use crate::platform::clock::ShiftedClock;

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct DemoOptions {
    /// Go through the story to its end, print a report, exit.
    pub check: bool,
    /// Check without an LDAP server.
    pub without_ldap: bool,
    /// Use this laboratory instead of starting one.
    pub lab_url: Option<String>,
    /// Use this LDAP server too; it takes the sample directory's administrator and password.
    pub ldap_url: Option<String>,
    /// Show this time at the start.
    pub now: Option<Timestamp>,
}

/// Waits by the machine's clock, between two questions.
#[allow(clippy::disallowed_methods, reason = "the demo watches real systems, in real time")]
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Runs the demo.
pub async fn run(mut config: Config, options: DemoOptions) -> ExitCode {
    // Everything is on this machine: the sample laboratory, the sample directory.
    config.server.outbound_allow_loopback = true;
    let folder = config.data_dir.clone();
    if options.check && folder.join("tenure.db").exists() {
        eprintln!("tenure demo: --check needs an empty data directory; {} has data in it.", folder.display());
        return ExitCode::from(2);
    }
    let clock = Arc::new(ShiftedClock::of_a_story());
    if let Some(now) = options.now {
        clock.set(now);
    }
    let running = match start(config, clock.clone()).await {
        Ok(running) => running,
        Err(problem) => return refuse(&problem),
    };
    let stage = match Stage::build(&running, &options, &folder).await {
        Ok(stage) => stage,
        Err(problem) => return failed(running, &problem).await,
    };
    if options.check {
        return check_to_the_end(running, &stage, &clock).await;
    }
    if options.lab_url.is_none()
        && let Err(problem) = stage.ask(&running).await
    {
        return failed(running, &problem).await;
    }
    print_sign_ins(&running);
    running.until_stopped().await
}

async fn failed(running: Running, problem: &Problem) -> ExitCode {
    match problem {
        Problem::Internal(cause) => eprintln!("tenure demo: {cause:?}"),
        other => eprintln!("tenure demo: {other}"),
    }
    running.stop().await;
    ExitCode::FAILURE
}

/// The outside systems of the demo, and a client for Tenure.
struct Stage {
    http: reqwest::Client,
    lab: Lab,
    slapd: Option<Slapd>,
}

impl Stage {
    async fn build(running: &Running, options: &DemoOptions, folder: &std::path::Path) -> Result<Self, Problem> {
        // It speaks to this machine only, over plain HTTP; in an empty root there are no roots of trust.
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(Vec::<reqwest::Certificate>::new())
            .build()
            .map_err(Problem::internal)?;
        let slapd = if options.check && !options.without_ldap {
            Some(Slapd::start(&folder.join("sample-directory")).await?)
        } else {
            None
        };
        let (lab, lab_url) = match &options.lab_url {
            Some(url) => (Lab::default(), url.clone()),
            None => {
                let (lab, address) = Lab::start().await?;
                (lab, format!("http://{address}"))
            }
        };
        organisation::create_people(&running.app.store, &running.app.identity.passwords).await?;
        // There are accounts now; the token of the first start opens nothing and is removed.
        running.app.setup.token().await?;
        let admin = Client::sign_in(&http, &running.base, ADMIN, PASSWORD).await?;
        let own = slapd.as_ref().map(|s| s.url.clone());
        let ldap = own.or_else(|| options.ldap_url.clone()).map(|url| (url, slapd::PASSWORD.to_owned()));
        organisation::connect(&admin, &Systems { lab_url, ldap }).await?;
        Ok(Self { http, lab, slapd })
    }

    /// Ada asks; her request then waits for Rosa.
    async fn ask(&self, running: &Running) -> Result<(), Problem> {
        let cast = Cast::sign_in(&self.http, &running.base).await?;
        story::request_access(&cast).await?;
        story::hand_in_documents(&cast, running.app.clock.now()).await?;
        story::wait_for_approval(&cast).await.map(drop)
    }
}

async fn check_to_the_end(running: Running, stage: &Stage, clock: &ShiftedClock) -> ExitCode {
    println!("Tenure {} at {}", env!("CARGO_PKG_VERSION"), running.base);
    let scene = check::Scene {
        http: &stage.http,
        base: &running.base,
        clock,
        store: &running.app.store,
        lab: &stage.lab,
        slapd: stage.slapd.as_ref(),
    };
    let result = check::run(&scene, running.app.clock.now()).await;
    match result {
        Ok(()) => {
            println!("The sample story ran to its end; access ended on time.");
            running.stop().await
        }
        Err(problem) => failed(running, &problem).await,
    }
}

fn print_sign_ins(running: &Running) {
    println!("Tenure is running at {}\n", running.base);
    println!("Sign in with the password {PASSWORD} as");
    for (email, what) in [
        (ADMIN, "administers Tenure"),
        (MONA, "runs roles, workflows and connectors"),
        (ROSA, "reviews: Ada's request waits in her inbox"),
        (ADA, "is a researcher and asked for access"),
    ] {
        println!("  {email:20} {what}");
    }
    println!("\nCtrl-C ends it; the data stays in {}.", running.app.config.data_dir.display());
}
