// Adds the lanes' sums through the registers: the group is one subgroup.

fn finish(sums: ptr<function, array<f32, SUMS>>, row: u32, output: u32, lane: u32) {
    for (var s = 0u; s < SUMS; s++) {
        var sum = (*sums)[s];
        for (var apart = LANES / 2u; apart > 0u; apart /= 2u) {
            sum += subgroupShuffleXor(sum, apart);
        }
        if lane == 0u {
            store(row + s / OUTPUTS, output + s % OUTPUTS, sum);
        }
    }
}
