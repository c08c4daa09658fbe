#![doc = include_str!("../README.md")]

mod settings;
mod verdict;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};

/// The command-line tool of the family.
#[derive(Parser)]
#[command(name = "m365", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judges tokens and activities: JSON lines on stdin, a verdict a line on stdout.
    Verdict,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command: Command::Verdict } = Arguments::parse();
    let judge = match settings::read() {
        Ok(settings) => verdict::Judge::new(settings).await,
        Err(problem) => Err(problem),
    };
    let judge = match judge {
        Ok(judge) => judge,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    match judge.run(io::stdin().lock(), &mut io::stdout().lock()).await {
        // Whoever reads the verdicts may stop reading; that is no failure of ours.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("the verdicts could not be written: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
