//! `ipcost completions` and `ipcost man`: what shells and readers want to know, made from the command line's definition.
//!
//! Key decision: a manual page for each command of `ipcost`, and *one* for the program of each mechanism, in which its
//! commands are sections. The generator's own way, a page for each command of each program, would be four hundred files.

use super::mechanism;
use super::options::writable_dir;
use super::print;
use crate::error::{Context, Error, Phase, Result};
use crate::transport::ALL;
use crate::transport::list::suggestion;
use clap::{Args, Command};
use clap_mangen::Man;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// What `completions` is asked for.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// bash, zsh, fish, elvish or powershell
    shell: clap_complete::Shell,
    /// ipcost, or the program of a mechanism, such as ipc-pipe; all prints those of all programs (bash and fish)
    #[arg(default_value = "ipcost")]
    program: String,
}

/// The programs of all mechanisms.
fn programs() -> impl Iterator<Item = Command> {
    ALL.iter().map(|runner| mechanism::command(runner.spec()))
}

/// Prints completions.
///
/// # Errors
/// A usage error for a program that does not exist.
pub fn completions(args: &CompletionArgs, comparer: Command) -> Result<ExitCode> {
    let all: Vec<Command> = std::iter::once(comparer).chain(programs()).collect();
    let chosen: Vec<&Command> =
        all.iter().filter(|program| args.program == "all" || program.get_name() == args.program).collect();
    if chosen.is_empty() {
        let names = all.iter().map(Command::get_name);
        return Err(Error::usage(format!("there is no program {:?}", args.program)).hint(suggestion(
            &args.program,
            names,
            "programs are called ipc-MECHANISM, and `ipcost list` shows all",
        )));
    }
    let mut bytes = Vec::new();
    for program in chosen {
        let name = program.get_name().to_string();
        clap_complete::generate(args.shell, &mut program.clone(), name, &mut bytes);
    }
    print(&String::from_utf8_lossy(&bytes)).map(|()| ExitCode::SUCCESS)
}

/// Writes manual pages.
///
/// # Errors
/// A usage error for a folder that cannot be written to.
pub fn man(dir: &Path, comparer: Command) -> Result<ExitCode> {
    writable_dir(dir)?;
    let cannot = || format!("cannot write into {}", dir.display());
    clap_mangen::generate_to(comparer, dir).context(Phase::Report, cannot())?;
    for program in programs() {
        let name = format!("{}.1", program.get_name());
        let page = page(program).context(Phase::Report, cannot())?;
        std::fs::write(dir.join(name), page).context(Phase::Report, cannot())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of a mechanism's program: itself, then each of its commands.
fn page(mut program: Command) -> io::Result<Vec<u8>> {
    program.build();
    let commands: Vec<Command> =
        program.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help").cloned().collect();
    let man = Man::new(program);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in commands {
        let title = command.get_name().to_uppercase();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        page.extend(format!(".SH \"{}\"\n{about}\n", title.replace('-', "\\-")).bytes());
        let mut options = Vec::new();
        let man = Man::new(command);
        man.render_synopsis_section(&mut options)?;
        man.render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options).replace(".SH SYNOPSIS", ".SS Synopsis");
        page.extend(options.replace(".SH OPTIONS", ".SS Options").bytes());
    }
    man.render_extra_section(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_one_page_in_which_its_commands_are_sections() {
        let spec = crate::transport::find("pipe").unwrap().spec();
        let page = String::from_utf8(page(mechanism::command(spec)).unwrap()).unwrap();
        for part in
            [".TH ipc-pipe 1", ".SH \"PING\\-PONG\"", ".SH \"OFFERED\\-LOAD\"", "\\-\\-outstanding", "EPIPE", "pipe(7)"]
        {
            assert!(page.contains(part), "{part:?} is missing in\n{page}");
        }
        assert!(!page.contains("BROADCAST"), "a pipe has none");
    }
}
