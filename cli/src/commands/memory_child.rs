//! The hidden child of the memory measurement: loads a model, decodes as wide as asked, says its peak.

use crate::args::MemoryChildArgs;
use crate::{load, locate, terminal};
use s3d_model::{Model, Tokenizer};

/// Prints the peak resident set of this process as JSON on one line.
pub fn memory_child(args: &MemoryChildArgs) -> anyhow::Result<()> {
    let (folder, shipped) = locate::model(&args.model.model, false)?;
    let options = load::options(&args.model, shipped)?;
    let own = || folder.join("tokenizer.json");
    let tokenizer = args.model.tokenizer.clone().unwrap_or_else(own);
    let peak = s3d_measure::memory::peak_of_this_process(
        || tokenizer.is_file().then(|| Tokenizer::load(&tokenizer)).transpose(),
        || Model::load(&folder, &options),
        args.context,
        args.width,
    )?;
    terminal::result(&serde_json::to_string(&peak)?)
}
