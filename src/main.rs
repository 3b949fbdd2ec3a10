//! The `tenure` binary.

/// Runs, entries and answers are made of many small texts, for which the system's allocator took a fifth of the
/// writer's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tenure::cli::main()
}
