// Upper halves of 4-byte floats: a unit of 16 inputs is 2 vectors of words. 2 bytes a weight.

@group(0) @binding(0) var<storage, read> weights: array<vec4<u32>>;

fn four(low: u32, high: u32) -> vec4<f32> {
    let words = vec4<u32>(low << 16u, low & 0xffff0000u, high << 16u, high & 0xffff0000u);
    return bitcast<vec4<f32>>(words);
}

// Inputs 16 u .. 16 u + 15 of row `row`, a row being `units` units.
fn unit(row: u32, u: u32, units: u32) -> mat4x4<f32> {
    let at = 2u * (row * units + u);
    let a = weights[at];
    let b = weights[at + 1u];
    return mat4x4<f32>(four(a.x, a.y), four(a.z, a.w), four(b.x, b.y), four(b.z, b.w));
}
