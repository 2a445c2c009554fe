//! `ipc-zeromq`: the mechanism `zeromq` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("zeromq")
}
