//! `ipc-shm-ring`: the mechanism `shm-ring` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("shm-ring")
}
