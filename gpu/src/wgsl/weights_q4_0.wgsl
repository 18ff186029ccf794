// Blocks of q4_0: weight = scale x (code - 8), 32 codes of 4 bits to a scale (f16). Codes and scales of a row stand
// apart; a word holds 8 inputs, the first four in the lower halves of its bytes. 18 bytes for 32 weights.

@group(0) @binding(0) var<storage, read> codes: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

fn four(nibbles: u32, scale: f32) -> vec4<f32> {
    return scale * (vec4<f32>(unpack4xU8(nibbles & 0x0f0f0f0fu)) - 8.0);
}

// Inputs 16 u .. 16 u + 15 of row `row`, a row being `units` units.
fn unit(row: u32, u: u32, units: u32) -> mat4x4<f32> {
    let c = codes[row * units + u];
    let pair = unpack2x16float(scales[row * ((units + 3u) / 4u) + u / 4u]);
    let d = select(pair.x, pair.y, (u & 2u) != 0u);
    return mat4x4<f32>(four(c.x, d), four(c.x >> 4u, d), four(c.y, d), four(c.y >> 4u, d));
}
