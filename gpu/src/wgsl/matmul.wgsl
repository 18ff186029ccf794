// y[r, o] = sum over k of x[r, k] w[o, k], or z[r, o] and that sum.
//
// A group of LANES lanes computes OUTPUTS outputs of a band of rows, ROWS at a time. Lane l takes the units
// l, l + LANES, .. of 16 inputs and keeps one chain of fused multiply-adds for each output and row; the lanes'
// sums are then added as a binary tree. That order is the same for every row, whatever ROWS is.
//
// Bytes: the weights once (a band comes back to those of its group in the cache), 4 (inputs + outputs) a row, and
// 4 outputs where z is read.

struct Sizes {
    rows: u32,
    outputs: u32,  // of this piece of the matrix
    units: u32,    // of 16 inputs
    x_stride: u32, // vectors from row to row
    y_stride: u32,
    first: u32,    // where this piece's outputs begin in a row of y
}

var<immediate> sizes: Sizes;
@group(0) @binding(X) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(Y) var<storage, read_write> y: array<f32>;

const SUMS: u32 = ROWS * OUTPUTS;

fn chain(sum: f32, w: vec4<f32>, x: vec4<f32>) -> f32 {
    return fma(w.w, x.w, fma(w.z, x.z, fma(w.y, x.y, fma(w.x, x.x, sum))));
}

fn store(row: u32, output: u32, sum: f32) {
    if row < sizes.rows && output < sizes.outputs {
        let at = row * sizes.y_stride + sizes.first + output;
        y[at] = before(at) + sum;
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let output = group.x * OUTPUTS;
    let end = min(sizes.rows, (group.y + 1u) * BAND);
    for (var row = group.y * BAND; row < end; row += ROWS) {
        var sums: array<f32, SUMS>;
        for (var u = lane; u < sizes.units; u += LANES) {
            var w: array<mat4x4<f32>, OUTPUTS>;
            for (var o = 0u; o < OUTPUTS; o++) {
                w[o] = unit(min(output + o, sizes.outputs - 1u), u, sizes.units);
            }
            for (var r = 0u; r < ROWS; r++) {
                let at = min(row + r, sizes.rows - 1u) * sizes.x_stride + 4u * u;
                let a = x[at];
                let b = x[at + 1u];
                let c = x[at + 2u];
                let d = x[at + 3u];
                for (var o = 0u; o < OUTPUTS; o++) {
                    let first = chain(chain(sums[r * OUTPUTS + o], w[o][0], a), w[o][1], b);
                    sums[r * OUTPUTS + o] = chain(chain(first, w[o][2], c), w[o][3], d);
                }
            }
        }
        finish(&sums, row, output, lane);
    }
}
