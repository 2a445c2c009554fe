//! `ipc-unix-dgram`: the mechanism `unix-dgram` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("unix-dgram")
}
