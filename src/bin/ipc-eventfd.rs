//! `ipc-eventfd`: the mechanism `eventfd` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("eventfd")
}
