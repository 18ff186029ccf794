// y[r] = row token[r] of a matrix.
//
// A lane for each row and unit of 16 columns; rows of other pieces of the matrix are left alone.
// Bytes: a row of weights and 4 a column, each row.

struct Sizes {
    units: u32,
    width: u32,
    stride: u32, // numbers from row to row of y
    first: u32,  // the matrix rows of this piece: from here
    end: u32,    // to here
}

var<immediate> sizes: Sizes;
@group(0) @binding(Y) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let token = token_of(id.y);
    if id.x >= sizes.units || token < sizes.first || token >= sizes.end {
        return;
    }
    let found = unit(token - sizes.first, id.x, sizes.units);
    for (var i = 0u; i < 16u; i++) {
        let column = 16u * id.x + i;
        if column < sizes.width {
            y[id.y * sizes.stride + column] = found[i / 4u][i % 4u];
        }
    }
}
