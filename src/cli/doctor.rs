//! `tenure doctor`.

use std::process::ExitCode;

use serde_json::json;

use crate::app::doctor::{Finding, examine};
use crate::config::Config;
use crate::features::health::CheckStatus;

pub(super) async fn run(config: Config, json: bool) -> ExitCode {
    let findings = examine(&config, super::uid()).await;
    let faults = findings.iter().filter(|f| f.status == CheckStatus::Down).count();
    if json {
        println!("{}", json!({ "sound": faults == 0, "findings": findings }));
    } else {
        findings.iter().for_each(print);
        println!("{}", if faults == 0 { "nothing is broken".to_owned() } else { format!("{faults} to mend") });
    }
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(finding: &Finding) {
    let mark = match finding.status {
        CheckStatus::Ok => "ok     ",
        CheckStatus::Warning => "warning",
        CheckStatus::Down => "BROKEN ",
    };
    println!("{mark}  {:18}  {}", finding.check, finding.detail);
    if let (Some(why), Some(mend)) = (finding.why, &finding.mend) {
        println!("{:29}why: {why}\n{:29}mend: {mend}", "", "");
    }
}
