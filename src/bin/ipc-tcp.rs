//! `ipc-tcp`: the mechanism `tcp` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("tcp")
}
