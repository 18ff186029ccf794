// Weights of 4 bytes: a unit of 16 inputs is 4 vectors. 4 bytes a weight.

@group(0) @binding(0) var<storage, read> weights: array<vec4<f32>>;

// Inputs 16 u .. 16 u + 15 of row `row`, a row being `units` units.
fn unit(row: u32, u: u32, units: u32) -> mat4x4<f32> {
    let at = 4u * (row * units + u);
    return mat4x4<f32>(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]);
}
