// RMSNorm of every query head and every key head of qkv[rows, qkv_width], in place:
// x[i] = x[i] weight[i] / sqrt(mean over i of x[i]^2 + epsilon), with weights of queries and of keys.
//
// A lane for each row and head. Bytes: 8 a number of queries and keys.

struct Sizes {
    rows: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    stride: u32,
    epsilon: f32,
}

var<immediate> sizes: Sizes;
@group(0) @binding(0) var<storage, read> weight: array<f32>; // [2, head_dim]
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let normed = sizes.heads + sizes.kv_heads;
    if id.x >= sizes.rows * normed {
        return;
    }
    let head = id.x % normed;
    let at = id.x / normed * sizes.stride + head * sizes.head_dim;
    let part = select(0u, sizes.head_dim, head >= sizes.heads);
    var sum = 0.0;
    for (var i = 0u; i < sizes.head_dim; i++) {
        sum = fma(qkv[at + i], qkv[at + i], sum);
    }
    let scale = 1.0 / sqrt(sum / f32(sizes.head_dim) + sizes.epsilon);
    for (var i = 0u; i < sizes.head_dim; i++) {
        qkv[at + i] = qkv[at + i] * scale * weight[part + i];
    }
}
