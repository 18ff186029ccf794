// out[r, h] = sum over keys j of softmax over j of (q[r, h] . k[j]) v[j], over the keys that row r sees.
//
// A group for each row and query head. It takes the keys in blocks of 64 from the first on, a lane for each; with
// m the largest score so far, weights are exp(score - m), and what was summed under a smaller m is scaled to the new
// one. Lanes then hold channels, and add the block's values in the order of keys. Blocks begin at multiples of 64
// whatever row asks, so a row's sums depend on the keys it sees and on nothing else.
//
// Bytes: keys and values in sight, 8 head_dim each; heads that share them and rows of one pass meet in the cache.

struct Sizes {
    heads: u32,
    kv_heads: u32,
    capacity: u32,
    stride: u32,     // vectors from row to row of qkv
    out_stride: u32, // numbers from row to row of out
}

const KEYS: u32 = 64u;
const VECTORS: u32 = HEAD_DIM / 4u;
const CHANNELS: u32 = (HEAD_DIM + KEYS - 1u) / KEYS;
const LEAST: f32 = -1e30;

var<immediate> sizes: Sizes;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

var<workgroup> query: array<vec4<f32>, VECTORS>;
var<workgroup> scores: array<f32, KEYS>;
var<workgroup> weights: array<f32, KEYS>;

@compute @workgroup_size(KEYS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let row = group.y;
    let kv = head / (sizes.heads / sizes.kv_heads);
    let cached = cached_of(row);
    let seen = seen_of(row);
    let cache = kv * sizes.capacity * VECTORS;
    // Where key j of the rows of this pass stands in qkv, less j rows; values stand kv_heads heads behind.
    let own = (own_of(row) - cached) * sizes.stride + (sizes.heads + kv) * VECTORS;
    let apart = sizes.kv_heads * VECTORS;
    for (var i = lane; i < VECTORS; i += KEYS) {
        query[i] = qkv[row * sizes.stride + head * VECTORS + i];
    }
    workgroupBarrier();
    var most = LEAST;
    var sum = 0.0;
    var mixed: array<f32, CHANNELS>;
    for (var base = 0u; base < seen; base += KEYS) {
        let key = base + lane;
        var score = LEAST;
        if key < seen {
            score = 0.0;
            for (var i = 0u; i < VECTORS; i++) {
                var k: vec4<f32>;
                if key < cached {
                    k = keys[cache + key * VECTORS + i];
                } else {
                    k = qkv[own + key * sizes.stride + i];
                }
                let q = query[i];
                score = fma(q.w, k.w, fma(q.z, k.z, fma(q.y, k.y, fma(q.x, k.x, score))));
            }
        }
        scores[lane] = score;
        workgroupBarrier();
        var largest = most;
        for (var j = 0u; j < KEYS; j++) {
            largest = max(largest, scores[j]);
        }
        weights[lane] = select(0.0, exp(score - largest), key < seen);
        let smaller = exp(most - largest);
        most = largest;
        workgroupBarrier();
        sum *= smaller;
        for (var c = 0u; c < CHANNELS; c++) {
            mixed[c] *= smaller;
        }
        let count = min(KEYS, seen - base);
        for (var j = 0u; j < count; j++) {
            let weight = weights[j];
            sum += weight;
            for (var c = 0u; c < CHANNELS; c++) {
                let channel = min(c * KEYS + lane, HEAD_DIM - 1u);
                var v: f32;
                if base + j < cached {
                    v = values[cache + (base + j) * VECTORS + channel / 4u][channel % 4u];
                } else {
                    v = qkv[own + apart + (base + j) * sizes.stride + channel / 4u][channel % 4u];
                }
                mixed[c] = fma(weight, v, mixed[c]);
            }
        }
    }
    for (var c = 0u; c < CHANNELS; c++) {
        let channel = c * KEYS + lane;
        if channel < HEAD_DIM {
            out[row * sizes.out_stride + head * HEAD_DIM + channel] = mixed[c] / sum;
        }
    }
}
