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
pub(crate) fn document(seed: u64, split: Split, index: u64) -> Document {
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
/// Characters that a document must have left after its prompt, so that there is something to
/// foresee.
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

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::collections::HashSet;

    /// The same seed gives the same bytes everywhere. source: sha256sum of the documents as first
    /// written; a change here means another corpus, so the shipped model has to be trained again.
    #[test]
    fn corpus_is_the_same_to_the_byte() {
        let mut hash = Sha256::new();
        for index in 0..300 {
            hash.update(document(1, Split::Training, index).text);
            hash.update(document(1, Split::HeldOut, index).text);
        }
        for prompt in prompts(1, 30) {
            hash.update(prompt.text);
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "6b9be2c375941c74a19fe02cabd243af8cca2f6cd77198ecba8ec9b233b742d9");
    }

    #[test]
    fn no_document_occurs_twice() {
        let texts: HashSet<String> = [Split::Training, Split::HeldOut]
            .into_iter()
            .flat_map(|split| (0..2000).map(move |index| document(1, split, index).text))
            .chain((0..2000).map(|index| document(2, Split::Training, index).text))
            .collect();
        assert_eq!(texts.len(), 6000);
    }

    /// Documents take turns, end in a line feed, hold real choices, and repeat no line: greedy text
    /// that follows them moves on.
    #[test]
    fn documents_are_well_formed() {
        for index in 0..600 {
            let Document { task, text, nats } = document(7, Split::Training, index);
            assert_eq!(task, Task::ALL[(index % 3) as usize]);
            assert!(text.is_ascii() && text.ends_with('\n') && !text.contains("  "));
            let per_character = nats / text.len() as f64;
            assert!((0.15..0.4).contains(&per_character), "{task}: {per_character}");
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{text}");
        }
    }

    /// Sums in worked tasks are right, totals in stories follow.
    #[test]
    fn what_follows_does_follow() {
        let number = |word: &str| word.trim_end_matches(['.', ':']).parse::<usize>().unwrap();
        let mut checked = 0;
        for index in (1..300).step_by(3) {
            let text = document(5, Split::Training, index).text;
            for line in text.lines().filter(|line| line.contains("Total:")) {
                let words: Vec<&str> = line.split(' ').collect();
                let (a, b, sum) = (number(words[2]), number(words[4]), number(words[6]));
                assert_eq!(if words[3] == "+" { a + b } else { a - b }, sum, "{line}");
                checked += 1;
            }
        }
        assert!(checked > 100);
    }

    #[test]
    fn prompts_are_beginnings_of_distinct_documents() {
        let found = prompts(1, 100);
        assert_eq!(found.len(), 100);
        let names: HashSet<&str> = found.iter().map(|prompt| prompt.id.as_str()).collect();
        assert_eq!(names.len(), 100);
        for (i, prompt) in found.iter().enumerate() {
            assert_eq!(prompt.task, Task::ALL[i % 3].to_string());
            let index = prompt.id.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap();
            let text = document(1, Split::HeldOut, index).text;
            assert!(text[prompt.text.len()..].starts_with(' ') && text.starts_with(&prompt.text));
        }
    }
}
