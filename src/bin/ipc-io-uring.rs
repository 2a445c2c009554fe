//! `ipc-io-uring`: the mechanism `io-uring` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("io-uring")
}
