//! One short function per command.

mod decode_child;
mod derive;
mod docs;
mod doctor;
mod draft_vocabulary;
mod export;
mod fit;
mod generate;
mod import;
mod inspect;
mod measure;
mod memory_child;
mod merge;
mod optimize;
mod paper;
mod report;
mod run;
mod simulate;
mod train;
mod validate;

use crate::args::Command;

/// Runs a command.
///
/// # Errors
/// Whatever the command refuses; [`crate::shared::usage::Usage`] for wrong flags.
pub fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Simulate(args) => simulate::simulate(&args),
        Command::Export(args) => export::export(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Train(args) => train::train(&args),
        Command::DraftVocabulary(args) => draft_vocabulary::draft_vocabulary(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions(args) => docs::completions(&args),
        Command::Man(args) => docs::man(&args),
        Command::Paper(args) => paper::paper(&args),
        Command::DecodeChild(args) => decode_child::decode_child(&args),
        Command::MemoryChild(args) => memory_child::memory_child(&args),
        Command::Run(args) => run::run(&args),
        Command::Measure(args) => measure::measure(&args),
        Command::Fit(args) => fit::fit(&args),
        Command::Optimize(args) => optimize::optimize(&args),
        Command::Validate(args) => validate::validate(&args),
        Command::Import(args) => import::import_files(&args),
        Command::Merge(args) => merge::merge_shards(&args),
        Command::Derive(args) => derive::derive(&args),
        Command::Report(args) => report::report(&args),
    }
}
