// Adds the lanes' sums through the memory of the group, in the order of the tree over registers.

var<workgroup> parts: array<f32, SUMS * LANES>;

fn finish(sums: ptr<function, array<f32, SUMS>>, row: u32, output: u32, lane: u32) {
    for (var s = 0u; s < SUMS; s++) {
        parts[s * LANES + lane] = (*sums)[s];
    }
    workgroupBarrier();
    for (var s = lane; s < SUMS; s += LANES) {
        for (var apart = LANES / 2u; apart > 0u; apart /= 2u) {
            for (var l = 0u; l < apart; l++) {
                parts[s * LANES + l] += parts[s * LANES + l + apart];
            }
        }
        store(row + s / OUTPUTS, output + s % OUTPUTS, parts[s * LANES]);
    }
    workgroupBarrier();
}
