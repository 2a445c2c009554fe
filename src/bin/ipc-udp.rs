//! `ipc-udp`: the mechanism `udp` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("udp")
}
