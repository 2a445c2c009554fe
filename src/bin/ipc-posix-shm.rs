//! `ipc-posix-shm`: the mechanism `posix-shm` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("posix-shm")
}
