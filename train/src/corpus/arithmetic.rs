//! Sums, sequences and worked steps: the operands are anybody's guess, everything after them
//! follows.

use super::dice::Dice;
use super::words::{NAMES, PLACES, THINGS};

/// One sheet of 11 to 16 numbered tasks.
pub(crate) fn write(dice: &mut Dice) -> String {
    let tasks = dice.range(11, 16);
    let name = dice.pick(&NAMES);
    let mut total = dice.range(10, 99);
    let mut text = format!("{name} solves {tasks} tasks. Start: {total}.\n");
    for task in 1..=tasks {
        text += &format!("{task}. ");
        match dice.lean([0, 0, 1, 0, 2, 3, 0, 4][task % 8], 5, 50) {
            0 => text += &bought(dice),
            1 => text += &running(dice, &mut total),
            2 => text += &worked(dice),
            3 => text += &shared(dice, task),
            _ => text += &sequence(dice),
        }
        text.push('\n');
    }
    text + &format!("All {tasks} tasks are done, says {name}.\n")
}

/// A word problem: name, thing, place and operands are free, the sum is not.
fn bought(dice: &mut Dice) -> String {
    let name = dice.below(NAMES.len());
    let tens = 1 + dice.lean(name, 9, 25);
    let a = 10 * tens + dice.below(10);
    let thing = dice.lean(name + 3, THINGS.len(), 25);
    let gets = dice.chance(60);
    let b = dice.range(2, 9);
    let place = PLACES[dice.lean(thing + 9, PLACES.len(), 25)];
    let (name, thing) = (NAMES[name], THINGS[thing]);
    if gets {
        format!("{name} has {a} {thing}s and gets {b} at the {place}: {}.", a + b)
    } else {
        format!("{name} has {a} {thing}s and sells {b} at the {place}: {}.", a - b)
    }
}

/// One step of the running total of the sheet.
fn running(dice: &mut Dice, total: &mut usize) -> String {
    let step = dice.range(2, 9);
    let before = *total;
    let down = before > 20 && dice.chance(40);
    *total = if down { before - step } else { before + step };
    let sign = if down { '-' } else { '+' };
    format!("Total: {before} {sign} {step} = {}.", *total)
}

/// Addition by tens and ones.
fn worked(dice: &mut Dice) -> String {
    let (a, b) = (dice.range(11, 99), dice.range(11, 99));
    let (tens, ones) = (a / 10 * 10 + b / 10 * 10, a % 10 + b % 10);
    format!("{a} + {b}: {tens} and {ones} make {}.", a + b)
}

/// Three people with one thing each: a product by one digit.
fn shared(dice: &mut Dice, task: usize) -> String {
    let name = dice.lean(3 * task, NAMES.len(), 25);
    let (name, place) = (NAMES[name], PLACES[dice.lean(name + 2, PLACES.len(), 25)]);
    let (a, b) = (dice.range(2, 9), dice.range(2, 9));
    format!("{name} walks {a} miles to the {place} {b} times: {} miles.", a * b)
}

/// A counting sequence.
fn sequence(dice: &mut Dice) -> String {
    let (step, start) = (dice.range(2, 9), dice.range(1, 40));
    let terms: Vec<String> = (0..4).map(|i| (start + i * step).to_string()).collect();
    format!("By {step}: {}.", terms.join(", "))
}
