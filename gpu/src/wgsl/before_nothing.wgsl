// A product is what a sum begins with.

fn before(at: u32) -> f32 {
    return 0.0;
}
