//! `ipc-sysv-mq`: the mechanism `sysv-mq` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("sysv-mq")
}
