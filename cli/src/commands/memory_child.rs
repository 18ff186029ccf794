//! The hidden child of the memory measurement: loads a model, decodes as wide as asked, says its
//! peak.

use crate::args::MemoryChildArgs;
use crate::shared::load::Source;
use crate::shared::{load, terminal};
use s3d_model::{Tokenizer, checkpoint};
use std::path::Path;

/// Prints the peak resident set of this process as JSON on one line.
pub fn memory_child(args: &MemoryChildArgs) -> anyhow::Result<()> {
    let source = load::source(&args.model)?;
    let options = load::options(&args.model, &source)?;
    let peak = s3d_measure::memory::peak_of_this_process(
        || tokenizer(args.model.tokenizer.as_deref(), &source),
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

/// The tokenizer that loading makes again: the given one, or that of the folder or GGUF file. One
/// that cannot be read takes no memory, and is not needed here.
fn tokenizer(given: Option<&Path>, source: &Source) -> s3d_model::Result<Option<Tokenizer>> {
    match (given, source.path()) {
        (Some(file), _) => Tokenizer::load(file).map(Some),
        (None, Some(checkpoint)) => Ok(checkpoint::read_tokenizer(checkpoint).unwrap_or(None)),
        (None, None) => Ok(None),
    }
}
