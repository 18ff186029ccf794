// Turns queries and keys of qkv[rows, qkv_width] by their position's angles, in place (arXiv 2104.09864, eq. 34):
// (a, b) = (a cos - b sin, b cos + a sin) for the channels a = i and b = i + pairs of a head; the channels behind
// 2 pairs stay. Queries are divided by sqrt(head_dim). Where rows are appended, keys and values also go into the
// cache [kv_heads, capacity, head_dim], at the row's position.
//
// A lane for each row and two channels of a head. Bytes: 8 a number, and 4 for each number that is cached.

struct Sizes {
    rows: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    stride: u32,
    pairs: u32,    // pairs that turn
    table: u32,    // pairs there are angles for
    capacity: u32,
    append: u32,
    scale: f32,
}

var<immediate> sizes: Sizes;
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read_write> keys: array<f32>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let half = sizes.head_dim / 2u;
    let count = (sizes.heads + 2u * sizes.kv_heads) * half;
    let row = id.y;
    if id.x >= count {
        return;
    }
    let head = id.x / half;
    let i = id.x % half;
    let turns = i < sizes.pairs && head < sizes.heads + sizes.kv_heads;
    var first = i;
    var second = i + sizes.pairs;
    if i >= sizes.pairs {
        first = 2u * i;
        second = first + 1u;
    }
    let at = row * sizes.stride + head * sizes.head_dim;
    var a = qkv[at + first];
    var b = qkv[at + second];
    if turns {
        let angles = 5u * sizes.rows + row * sizes.table + i;
        let cosine = bitcast<f32>(places[angles]);
        let sine = bitcast<f32>(places[angles + sizes.rows * sizes.table]);
        let turned = a * cosine - b * sine;
        b = b * cosine + a * sine;
        a = turned;
    }
    if head < sizes.heads {
        a *= sizes.scale;
        b *= sizes.scale;
    }
    qkv[at + first] = a;
    qkv[at + second] = b;
    if sizes.append == 0u || head < sizes.heads {
        return;
    }
    let kv = (head - sizes.heads) % sizes.kv_heads;
    let into = (kv * sizes.capacity + position_of(row)) * sizes.head_dim;
    if head < sizes.heads + sizes.kv_heads {
        keys[into + first] = a;
        keys[into + second] = b;
    } else {
        values[into + first] = a;
        values[into + second] = b;
    }
}
