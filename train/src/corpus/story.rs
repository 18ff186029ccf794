//! Stories in numbered parts: names recur, things are carried about, gifts are counted.

use super::dice::Dice;
use super::words::{JOBS, KINDS, MOODS, NAMES, OPENERS, PLACES, THINGS, VERBS};

/// What the story has to remember from part to part.
struct Tale {
    hero: &'static str,
    friend: &'static str,
    goods: &'static str,
    owned: usize,
    place: usize,
}

/// One story of 6 to 10 parts.
pub(crate) fn write(dice: &mut Dice) -> String {
    let parts = dice.range(6, 10);
    let mut tale = Tale {
        hero: dice.pick(&NAMES),
        friend: dice.pick(&NAMES),
        goods: dice.pick(&THINGS),
        owned: dice.range(2, 9),
        place: dice.below(PLACES.len()),
    };
    let Tale { hero, friend, goods, owned, place } = tale;
    let place = PLACES[place];
    let mut text = format!(
        "A story in {parts} parts. {hero} and {friend} lived at the {place} and had {owned} \
         {goods}s.\n"
    );
    for part in 1..=parts {
        text += &format!("Part {part}. {}", journey(dice, &mut tale, part));
        match dice.lean(part, 3, 30) {
            0 => text += &meeting(dice, &mut tale),
            1 => text += &talk(dice, &tale),
            _ => text += &rest(dice, &tale),
        }
        text.push('\n');
    }
    text + &format!("So {hero} and {friend} had {} {goods}s. The end.\n", tale.owned)
}

/// Somebody does something with a thing somewhere: nearly every content word is a choice, each with
/// a favourite that depends on the word before.
fn journey(dice: &mut Dice, tale: &mut Tale, part: usize) -> String {
    let opener = dice.lean(part - 1, OPENERS.len(), 30);
    let actor = [tale.hero, tale.friend][dice.lean(part, 2, 40)];
    let verb = dice.lean(2 * opener + 1, VERBS.len(), 25);
    let kind = dice.lean(verb + 3, KINDS.len(), 20);
    let thing = dice.lean(kind + 2, THINGS.len(), 20);
    tale.place = dice.lean(tale.place + 1, PLACES.len(), 30);
    format!(
        "{} {actor} {} the {} {} at the {}.",
        OPENERS[opener], VERBS[verb], KINDS[kind], THINGS[thing], PLACES[tale.place]
    )
}

/// A stranger adds to what the two own: the new total follows from the old one.
fn meeting(dice: &mut Dice, tale: &mut Tale) -> String {
    let name = dice.lean(tale.place, NAMES.len(), 25);
    let job = JOBS[dice.lean(name, JOBS.len(), 50)];
    let gift = dice.range(1, 9);
    tale.owned += gift;
    format!(
        " {} the {job} gave them {gift} {}s, so they had {} {}s.",
        NAMES[name], tale.goods, tale.owned, tale.goods
    )
}

/// A line of talk.
fn talk(dice: &mut Dice, tale: &Tale) -> String {
    let mood = MOODS[dice.lean(tale.place, MOODS.len(), 25)];
    let kind = dice.lean(tale.place, KINDS.len(), 25);
    let (kind, thing) = (KINDS[kind], THINGS[dice.lean(kind + 7, THINGS.len(), 25)]);
    format!(
        " {} was {mood} and said: \"I want a {kind} {thing}.\" {} had no {thing}.",
        tale.hero, tale.friend
    )
}

/// A pause: where they are is known, what they see is not.
fn rest(dice: &mut Dice, tale: &Tale) -> String {
    let place = PLACES[tale.place];
    let kind = dice.lean(tale.place + 5, KINDS.len(), 25);
    let (kind, thing) = (KINDS[kind], THINGS[dice.lean(kind + 11, THINGS.len(), 25)]);
    let mood = MOODS[dice.lean(tale.place, MOODS.len(), 25)];
    format!(" The {place} had a {kind} {thing}, and {} was {mood}.", tale.friend)
}
