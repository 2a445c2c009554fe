//! `ipc-shm-slot`: the mechanism `shm-slot` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("shm-slot")
}
