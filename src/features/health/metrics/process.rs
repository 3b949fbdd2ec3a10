//! What the operating system says about this process.

use crate::platform::metrics::Figure;

/// Memory and open files, as far as this system tells.
pub fn figures() -> Vec<Figure> {
    let memory = std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident);
    let files = std::fs::read_dir("/proc/self/fd").ok().map(|all| all.count() as f64);
    let memory = memory
        .map(|bytes| Figure::gauge("process_resident_memory_bytes", "Memory that the process holds.", bytes));
    let files = files.map(|n| Figure::gauge("process_open_fds", "Files and sockets that the process has open.", n));
    memory.into_iter().chain(files).collect()
}

/// The bytes of the line `VmRSS: 12345 kB`.
fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        assert_eq!(resident("Name:\ttenure\nVmRSS:\t    2048 kB\nThreads:\t4\n"), Some(2_097_152.0));
        assert_eq!(resident("Name:\ttenure\n"), None);
    }
}
