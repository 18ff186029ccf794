//! `s3d draft-vocabulary`: the tokens that drafts are chosen from, counted in texts and added to
//! adapters that are there, or laid over a model that has none.

use crate::args::DraftVocabularyArgs;
use crate::shared::usage::or_usage;
use crate::shared::{locate, terminal};
use anyhow::Context;
use s3d_data::output::{Holds, Output};
use s3d_data::units::Share;
use s3d_train::{Counted, DraftListing, read_texts, read_written};
use serde_json::json;

/// Counts, lists, writes the folder.
pub fn draft_vocabulary(args: &DraftVocabularyArgs) -> anyhow::Result<()> {
    let (model, _) = locate::model(&args.model, false)?;
    let output = Output::open(&args.out, Holds::Model).context("--out")?;
    let inputs = args.texts.iter().chain(&args.corpus).chain(&args.adapters);
    let output = output.sparing(inputs.chain([&model]));
    output.check().context("--out")?;
    let (mut written, own) = (Vec::new(), read_texts(&args.corpus)?);
    for file in &args.texts {
        written.extend(read_written(file)?);
    }
    let texts = match args.texts.is_empty() {
        true => Counted::Texts(&own),
        false => Counted::Written(&written),
    };
    let listing = DraftListing::new(&model, args.adapters.as_deref(), texts)?;
    let list = or_usage("--size", listing.most_frequent(args.size))?;
    let draft = output.draft()?;
    listing.save(&list.tokens, draft.path())?;
    draft.add()?;
    let (listed, vocab, coverage) = (args.size, listing.vocab(), list.coverage);
    if args.json {
        return terminal::json(&json!({
            "tokens": listed, "vocabulary": vocab, "share_of_held_out_texts": coverage,
        }));
    }
    let held_out = coverage.map_or("no held-out texts to judge by".into(), |share| {
        format!("{} of the tokens of held-out texts", Share(share))
    });
    let out = args.out.display();
    terminal::result(&format!("{out}: {listed} of {vocab} tokens, {held_out}"))
}
