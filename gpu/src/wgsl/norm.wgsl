// y[r, i] = x[r, i] weight[i] / sqrt(mean over i of x[r, i]^2 + epsilon)
//
// A group for each row: every lane adds squares of every 64th number, then all 64 sums in their order.
// Bytes: 8 a number, and the weights.

struct Sizes {
    width: u32,
    x_stride: u32,
    y_stride: u32,
    first: u32,   // row of x that is row 0 of y
    epsilon: f32,
}

const LANES: u32 = 64u;

var<immediate> sizes: Sizes;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> parts: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let x_row = (sizes.first + group.x) * sizes.x_stride;
    var squares = 0.0;
    for (var i = lane; i < sizes.width; i += LANES) {
        squares = fma(x[x_row + i], x[x_row + i], squares);
    }
    parts[lane] = squares;
    workgroupBarrier();
    var sum = 0.0;
    for (var l = 0u; l < LANES; l++) {
        sum += parts[l];
    }
    let scale = 1.0 / sqrt(sum / f32(sizes.width) + sizes.epsilon);
    let y_row = group.x * sizes.y_stride;
    for (var i = lane; i < sizes.width; i += LANES) {
        y[y_row + i] = x[x_row + i] * scale * weight[i];
    }
}
