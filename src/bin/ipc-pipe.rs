//! `ipc-pipe`: the mechanism `pipe` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("pipe")
}
