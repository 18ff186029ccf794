// A product is added to z.

@group(0) @binding(Z) var<storage, read> z: array<f32>;

fn before(at: u32) -> f32 {
    return z[at];
}
