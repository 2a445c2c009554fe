//! `ipc-io-uring-sqpoll`: the mechanism `io-uring-sqpoll` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("io-uring-sqpoll")
}
