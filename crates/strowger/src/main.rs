//! `strowger`, the switch: one binary and its command line.
//!
//! This crate joins the others together and decides nothing about calls. Each sub-command is a file under `commands/`.

mod banner;
mod commands;
mod config;
mod control;
mod data_folder;
mod first_key;
mod health;
mod http;
mod ladder;
mod logging;
mod nearest;
mod node;
mod notify;
mod records;
mod settings;
mod succession;
mod terminal;
mod wav;

use std::process::ExitCode;

use clap::Parser;

use mimalloc::MiMalloc;

use crate::commands::Command;

/// The C library's allocator took a fifth of a call's time: a call is hundreds of small pieces that live from
/// milliseconds to hours, and each thread's heap grew and shrank by system calls. See docs/performance.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Parser)]
#[command(
    name = "strowger",
    version,
    about = "A telephone switch: SIP trunks, dial plans and calls behind an HTTP API",
    disable_help_subcommand = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // A kernel without large pages needs no telling.
    let _ = sockets::use_small_pages();
    let command = CommandLine::parse().command;
    match command.run() {
        Ok(code) => code,
        Err(failure) => {
            let paint = terminal::Paint::for_stderr();
            eprintln!("{} {failure}", paint.bold_red("strowger:"));
            ExitCode::FAILURE
        }
    }
}
