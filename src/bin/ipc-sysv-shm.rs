//! `ipc-sysv-shm`: the mechanism `sysv-shm` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("sysv-shm")
}
