//! `ipc-unix-seqpacket`: the mechanism `unix-seqpacket` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("unix-seqpacket")
}
