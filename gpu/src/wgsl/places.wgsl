// What a pass brings from the host, in one buffer of words: five for each row, then cosines [rows, table] and sines.

@group(0) @binding(PLACES) var<storage, read> places: array<u32>;

// Keys of row `row` that are read from the cache; the others are those of the pass's own rows.
fn cached_of(row: u32) -> u32 {
    return places[5u * row];
}

// Keys that it sees at all.
fn seen_of(row: u32) -> u32 {
    return places[5u * row + 1u];
}

// The row of the pass that holds the first key that is not cached.
fn own_of(row: u32) -> u32 {
    return places[5u * row + 2u];
}

fn position_of(row: u32) -> u32 {
    return places[5u * row + 3u];
}

fn token_of(row: u32) -> u32 {
    return places[5u * row + 4u];
}
