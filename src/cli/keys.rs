//! `tenure init`.

use std::process::ExitCode;

use crate::config::data_dir::DataDir;
use crate::config::{Config, Reader};
use crate::platform::clock::SystemIds;

/// Makes the data directory and every key that is missing.
pub(super) fn init(json: bool) -> ExitCode {
    let mut reader = Reader::from_process();
    // What init is about to make cannot be demanded of it.
    reader.set("APP_ENV", "development");
    let (mut config, _) = match Config::from_reader(reader) {
        Ok(read) => read,
        Err(refusal) => return super::refuse(&refusal),
    };
    let made = DataDir::claim(&config.data_dir).and_then(|dir| dir.make_keys(&mut config.keys, &SystemIds));
    match made {
        Ok(made) if json => {
            println!("{}", serde_json::json!({ "dataDir": config.data_dir, "made": made }));
            ExitCode::SUCCESS
        }
        Ok(made) if made.is_empty() => {
            println!("{}: every key is there already.", config.data_dir.display());
            ExitCode::SUCCESS
        }
        Ok(made) => {
            println!("{}: made {}. Keep a copy of keys/ elsewhere.", config.data_dir.display(), made.join(", "));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("tenure: {problem}");
            ExitCode::from(super::EX_CONFIG)
        }
    }
}
