//! `ipc-iceoryx2`: the mechanism `iceoryx2` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("iceoryx2")
}
