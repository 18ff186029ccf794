//! Text from nothing but a seed: three workloads that differ in how well they can be foreseen.
//!
//! Every document mixes free choices (names, operands, values) with stretches that follow from what
//! was said (copies, totals, fixed phrases). Drafting does well in the second and stumbles at the
//! first, so the workloads have different acceptance. All choices use integer arithmetic: the same
//! seed gives the same bytes on every machine. Training and held-out documents come from separate
//! random streams.

mod arithmetic;
mod dice;
mod records;
mod story;
mod words;

use dice::Dice;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A workload of the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Tales in numbered parts.
    Story,
    /// Sums, sequences and worked steps.
    Arithmetic,
    /// Key=value records.
    Records,
}

impl Task {
    /// All workloads, in the order in which documents take turns.
    pub const ALL: [Task; 3] = [Task::Story, Task::Arithmetic, Task::Records];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Task::Story => "story",
            Task::Arithmetic => "arithmetic",
            Task::Records => "records",
        })
    }
}

/// Which part of the corpus a document belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Seen in training.
    Training,
    /// Never seen in training: evaluation and prompts.
    HeldOut,
}

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its workload.
    pub task: Task,
    /// Its text, ending in a line feed; end-of-text is not part of it.
    pub text: String,
    /// Information content of the choices behind the text, in nats: no model can expect a lower
    /// total loss on it.
    pub nats: f64,
}

/// Document number `index` of `split`; workloads take turns.
pub fn document(seed: u64, split: Split, index: u64) -> Document {
    let stream = match split {
        Split::Training => 1,
        Split::HeldOut => 2,
    };
    let mut dice = Dice::new(seed, stream, index);
    let task = Task::ALL[(index % 3) as usize];
    let text = match task {
        Task::Story => story::write(&mut dice),
        Task::Arithmetic => arithmetic::write(&mut dice),
        Task::Records => records::write(&mut dice),
    };
    Document { task, text, nats: dice.nats() }
}

/// The beginning of a held-out document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Name of the prompt: workload and document number.
    pub id: String,
    /// Name of the workload.
    pub task: String,
    /// The text.
    pub text: String,
}

/// Characters of a prompt, at least and at most: about 48 to 128 tokens.
const PROMPT_CHARS: (usize, usize) = (160, 310);
/// Characters that a document must have left after its prompt, so that there is something to foresee.
const CONTINUATION_CHARS: usize = 420;

/// `count` prompts from the held-out part, workloads taking turns; cut before a space.
pub fn prompts(seed: u64, count: usize) -> Vec<Prompt> {
    // Held-out evaluation reads documents from 0 on; prompts come from further up.
    let mut found: Vec<Vec<Prompt>> = vec![Vec::new(); Task::ALL.len()];
    let mut index = 3_000_000;
    let mut dice = Dice::new(seed, 3, 0);
    while found.iter().map(Vec::len).sum::<usize>() < count {
        let wanted = (count + 2 - (index % 3) as usize) / 3;
        let slot = &mut found[(index % 3) as usize];
        if slot.len() < wanted {
            slot.extend(prompt(seed, index, &mut dice));
        }
        index += 1;
    }
    let mut queues: Vec<_> = found.into_iter().map(Vec::into_iter).collect();
    (0..count).filter_map(|i| queues[i % 3].next()).collect()
}

/// The prompt of one held-out document, if the document is long enough.
fn prompt(seed: u64, index: u64, dice: &mut Dice) -> Option<Prompt> {
    let Document { task, text, .. } = document(seed, Split::HeldOut, index);
    let length = dice.range(PROMPT_CHARS.0, PROMPT_CHARS.1);
    if text.len() < length + CONTINUATION_CHARS {
        return None;
    }
    let end = text[..length].rfind(' ')?;
    Some(Prompt {
        id: format!("{task}-{index}"),
        task: task.to_string(),
        text: text[..end].to_owned(),
    })
}
