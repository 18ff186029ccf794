// y[r, i] = g / (1 + exp(-g)) u for gates g = x[r, i] and ups u = x[r, width + i].
//
// A lane for each output. Bytes: 12 an output.

struct Sizes {
    width: u32,
    x_stride: u32,
    y_stride: u32,
}

var<immediate> sizes: Sizes;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= sizes.width {
        return;
    }
    let at = id.y * sizes.x_stride + id.x;
    let gate = x[at];
    y[id.y * sizes.y_stride + id.x] = gate / (1.0 + exp(-gate)) * x[at + sizes.width];
}
