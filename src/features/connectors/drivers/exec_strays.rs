//! Processes that a program began and that left its group, as daemons do.
//!
//! All that a program begins has its environment, and in that a mark of the call, unless it takes the mark out:
//! then nobody knows whose it is, and it ends with Tenure's service.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable that has the mark.
pub(super) const VARIABLE: &str = "TENURE_CALL";

/// How often all processes are looked at: one that is ended may have begun another just before.
const ROUNDS: usize = 8;

/// Ends them, without keeping anybody waiting where that is possible.
pub(super) fn end(mark: String) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || end_now(&mark))),
        Err(_) => end_now(&mark),
    }
}

fn end_now(mark: &str) {
    let wanted = format!("{VARIABLE}={mark}");
    for _ in 0..ROUNDS {
        if numbers().filter(|pid| end_one(*pid, wanted.as_bytes())).count() == 0 {
            return;
        }
    }
}

/// The numbers of all processes that can be seen.
fn numbers() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
}

/// Whether a process has the mark and was ended.
fn end_one(pid: Pid, wanted: &[u8]) -> bool {
    // It is held first, and then looked at: its number may be another's before it is ended.
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let Ok(environment) = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
        && pidfd_send_signal(&held, Signal::KILL).is_ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_what_has_the_mark_is_ended() {
        let begin = |mark: &str| {
            let mut command = Command::new("/bin/sleep");
            command.arg("60").env(VARIABLE, mark).stdin(Stdio::null()).spawn().unwrap()
        };
        let (mut one, mut other) = (begin("mark-1"), begin("mark-11"));
        end_now("mark-1");
        assert!(!one.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "it goes on");
        end_now("mark-11");
        assert!(!other.wait().unwrap().success());
    }
}
