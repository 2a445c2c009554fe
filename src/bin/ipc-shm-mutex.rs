//! `ipc-shm-mutex`: the mechanism `shm-mutex` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("shm-mutex")
}
