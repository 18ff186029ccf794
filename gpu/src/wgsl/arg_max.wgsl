// found[r] = the column of the largest of x[r]; the first of equals.
//
// A group for each row: every lane keeps the best of every 256th column, lane 0 the best of those.
// Bytes: 4 a number.

struct Sizes {
    width: u32,
    stride: u32,
}

const LANES: u32 = 256u;

var<immediate> sizes: Sizes;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> found: array<u32>;

var<workgroup> best: array<f32, LANES>;
var<workgroup> places: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.x * sizes.stride;
    var place = min(lane, sizes.width - 1u);
    var most = x[at + place];
    for (var i = lane + LANES; i < sizes.width; i += LANES) {
        let number = x[at + i];
        if number > most {
            most = number;
            place = i;
        }
    }
    best[lane] = most;
    places[lane] = place;
    workgroupBarrier();
    if lane != 0u {
        return;
    }
    for (var l = 1u; l < LANES; l++) {
        if best[l] > most || (best[l] == most && places[l] < place) {
            most = best[l];
            place = places[l];
        }
    }
    found[group.x] = place;
}
