// x[r, i] = x[r, i] + bias[i], in place; or bias[i] alone.
//
// A lane for each number. Bytes: 8 a number, and the bias.

struct Sizes {
    width: u32,
    stride: u32,
    alone: u32,
}

var<immediate> sizes: Sizes;
@group(0) @binding(0) var<storage, read> bias: array<f32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < sizes.width {
        let at = id.y * sizes.stride + id.x;
        x[at] = select(x[at], 0.0, sizes.alone == 1u) + bias[id.x];
    }
}
