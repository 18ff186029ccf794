//! The hidden child of end-to-end blocks: loads a model, decodes what it is told, line by line.

use crate::args::DecodeChildArgs;
use crate::shared::usage::or_usage;
use crate::shared::{load, terminal};
use s3d_measure::SystemClock;
use s3d_measure::starts::wire;
use s3d_model::Imposed;

/// Answers every line of standard input with a line, until it ends.
pub fn decode_child(args: &DecodeChildArgs) -> anyhow::Result<()> {
    let source = load::source(&args.model)?;
    let options = load::options(&args.model, &source)?;
    let mut model = source.load(&options)?;
    model.expect(args.context)?;
    let imposed = match args.impose.is_empty() {
        true => None,
        false => Some(or_usage("--impose", Imposed::new(args.impose.clone(), args.seed))?),
    };
    let clock = SystemClock::new(&options.device);
    let mut orders = std::io::stdin().lock();
    while let Some(order) = wire::next_line(&mut orders)? {
        terminal::result(&wire::answer(&model, imposed.as_ref(), &clock, &order)?)?;
    }
    Ok(())
}
