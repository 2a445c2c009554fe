//! `ipc-zeromq-tcp`: the mechanism `zeromq-tcp` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("zeromq-tcp")
}
