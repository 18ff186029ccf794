//! The lexicon: short common words, so that most become one token.

pub(crate) const NAMES: [&str; 40] = [
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jon", "Karl",
    "Lena", "Max", "Nora", "Otto", "Paul", "Rosa", "Sam", "Tina", "Udo", "Vera", "Will", "Yara",
    "Zoe", "Alma", "Bert", "Cora", "Dora", "Eric", "Fred", "Gina", "Hans", "Ines", "Jack", "Kate",
    "Lars", "Mia", "Nils", "Olga", "Rita",
];
pub(crate) const PLACES: [&str; 32] = [
    "river", "mill", "forest", "market", "bridge", "garden", "tower", "harbor", "meadow", "castle",
    "cave", "school", "lake", "barn", "farm", "hill", "well", "gate", "inn", "road", "church",
    "beach", "field", "tree", "house", "wall", "pond", "hut", "shop", "camp", "square", "port",
];
pub(crate) const THINGS: [&str; 40] = [
    "kite", "lamp", "rope", "key", "book", "coin", "map", "drum", "bell", "cup", "ring", "hat",
    "boat", "stone", "shell", "basket", "ladder", "candle", "letter", "pot", "chair", "clock",
    "spoon", "flag", "bag", "ball", "bowl", "cart", "coat", "comb", "doll", "fan", "horn", "jar",
    "nail", "net", "pen", "saw", "shoe", "wheel",
];
pub(crate) const KINDS: [&str; 32] = [
    "red", "blue", "green", "good", "new", "small", "big", "golden", "silver", "wooden", "broken",
    "heavy", "tiny", "black", "white", "warm", "clean", "round", "long", "soft", "dark", "dry",
    "flat", "fine", "hot", "cheap", "strong", "thin", "wet", "wide", "light", "plain",
];
pub(crate) const VERBS: [&str; 24] = [
    "carried", "took", "brought", "sent", "rolled", "pushed", "moved", "pulled", "showed", "sold",
    "lost", "found", "hid", "washed", "painted", "wanted", "saw", "left", "fixed", "dropped",
    "bought", "kept", "cut", "tied",
];
pub(crate) const JOBS: [&str; 20] = [
    "baker", "miller", "farmer", "teacher", "sailor", "smith", "singer", "guard", "painter",
    "hunter", "doctor", "king", "cook", "judge", "nurse", "pilot", "queen", "clerk", "driver",
    "monk",
];
pub(crate) const OPENERS: [&str; 10] = [
    "Today",
    "At noon",
    "Later",
    "At night",
    "Then",
    "Soon",
    "At dawn",
    "Once",
    "After lunch",
    "Next",
];
pub(crate) const MOODS: [&str; 20] = [
    "happy", "tired", "hungry", "proud", "sad", "calm", "glad", "cold", "angry", "brave", "late",
    "ready", "busy", "quiet", "sick", "sleepy", "safe", "shy", "sure", "afraid",
];
