//! `ipc-flume`: the mechanism `flume` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("flume")
}
