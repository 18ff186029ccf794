//! The hidden child of the memory measurement: loads a model, decodes as wide as asked, says its
//! peak.

use crate::args::MemoryChildArgs;
use crate::shared::{load, terminal};
use s3d_model::Tokenizer;

/// Prints the peak resident set of this process as JSON on one line.
pub fn memory_child(args: &MemoryChildArgs) -> anyhow::Result<()> {
    let source = load::source(&args.model)?;
    let options = load::options(&args.model, &source)?;
    let own = || source.path().map(|path| path.join("tokenizer.json"));
    let tokenizer = args.model.tokenizer.clone().or_else(own).filter(|file| file.is_file());
    let peak = s3d_measure::memory::peak_of_this_process(
        || tokenizer.map(|file| Tokenizer::load(&file)).transpose(),
        || {
            let mut model = source.load(&options)?;
            model.expect(args.context)?;
            Ok(model)
        },
        args.context,
        args.width,
    )?;
    terminal::result(&serde_json::to_string(&peak)?)
}
