//! `ipc-posix-mq`: the mechanism `posix-mq` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("posix-mq")
}
