//! The retry rule: four attempts in all, 5, 10 and 20 s after the failure before.

use std::time::Duration;

/// Attempts in all.
pub const MAX_ATTEMPTS: u32 = 4;

/// So many attempts of a job may end with the process and not count, because other jobs ran as well;
/// after that it runs alone.
pub const CUTS_IN_COMPANY: u32 = 3;

/// The wait after the first failure; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_secs(5);

/// How long to wait after failure number `failures` (counted from 1); `None` when it was the last.
pub fn delay_after(failures: u32) -> Option<Duration> {
    if failures >= MAX_ATTEMPTS {
        return None;
    }
    Some(FIRST_DELAY * 2_u32.pow(failures.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_retries_after_5_10_and_20_seconds() {
        let delays: Vec<_> = (1..=5).map(|n| delay_after(n).map(|d| d.as_secs())).collect();
        assert_eq!(delays, [Some(5), Some(10), Some(20), None, None]);
    }
}
