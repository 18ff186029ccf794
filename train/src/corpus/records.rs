//! Numbered key=value records: the layout is fixed per document, the values are free, some are
//! copies.

use super::dice::Dice;
use super::words::{JOBS, KINDS, NAMES, PLACES, THINGS};

/// A field: its key and the values it takes.
const FIELDS: [(&str, &[&str]); 5] =
    [("name", &NAMES), ("place", &PLACES), ("item", &THINGS), ("kind", &KINDS), ("job", &JOBS)];

/// One list of 10 to 15 records.
pub(crate) fn write(dice: &mut Dice) -> String {
    let first = dice.range(1, 60);
    let last = first + dice.range(9, 14);
    let start = dice.below(FIELDS.len());
    let fields: Vec<_> = (0..4).map(|i| FIELDS[(start + i * 2) % FIELDS.len()]).collect();
    let mut text = format!("Records {first} to {last}:\n");
    for number in first..=last {
        let values = values(dice, &fields);
        text += &format!("{number}");
        for ((key, _), value) in fields.iter().zip(&values) {
            text += &format!(" {key}={value}");
        }
        text += &format!(" tag={}\n", values[0]);
    }
    text + &format!("End of records {first} to {last}.\n")
}

/// One free value per field; all but the first have a favourite that depends on the value before.
fn values<'a>(dice: &mut Dice, fields: &[(&str, &[&'a str])]) -> Vec<&'a str> {
    let mut index = 0;
    fields
        .iter()
        .enumerate()
        .map(|(i, (_, values))| {
            index = dice.lean(index + 4, values.len(), if i == 0 { 0 } else { 20 });
            values[index]
        })
        .collect()
}
