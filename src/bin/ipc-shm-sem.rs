//! `ipc-shm-sem`: the mechanism `shm-sem` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("shm-sem")
}
