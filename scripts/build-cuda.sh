#!/usr/bin/env bash
# build-cuda.sh [all|80|86|90]: one stripped program with CUDA, into target/cuda-bin. `all` (the default) has native
# code for A100 (80), A10G and newer consumer cards (86) and H100, H200 (90); a number has it for that one alone.
# Needs what scripts/cuda-env.sh sets up. From nothing: 15 CPU minutes for one architecture, about 25 for all (estimate).
set -euo pipefail
cd "$(dirname "$0")/.."
cards=${1:-all}
: "${CUDA_HOME:?run scripts/cuda-env.sh DIR, then . DIR/env}" "${S3D_CUDA_LAZY:?run scripts/cuda-env.sh DIR, then . DIR/env}"
# A target folder of its own: what the stand-in compiler wrote must never be linked.
export CARGO_TARGET_DIR=target/cuda-build-$cards CARGO_INCREMENTAL=0 CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-2}
case $cards in
    all) export CUDA_COMPUTE_CAP=80 NVCC=$PWD/scripts/nvcc-many;;
    80 | 86 | 90) export CUDA_COMPUTE_CAP=$cards;;
    *) echo "expected all, 80, 86 or 90; found '$cards'" >&2; exit 2;;
esac
S3D_COMMIT=$(git rev-parse --short HEAD 2>/dev/null || true)
export S3D_COMMIT
cargo rustc --release --locked -p s3d-cli --features cuda --bin s3d -- \
    -L "native=$S3D_CUDA_LAZY" -C strip=symbols

mkdir -p target/cuda-bin
case $cards in all) program=target/cuda-bin/s3d-cuda;; *) program=target/cuda-bin/s3d-cuda-sm$cards;; esac
cp "$CARGO_TARGET_DIR/release/s3d" "$program"
xz -9 -k -f -T0 "$program"
# It must start here, where no CUDA is.
if ldd "$program" | grep -E 'libcu|libnvrtc'; then
    echo "$program is linked to CUDA and will not start without it" >&2
    exit 1
fi
"$program" --help >/dev/null
size=$(stat -c %s "$program.xz")
echo "$program: $(stat -c %s "$program") bytes, $size as xz"
if [ "$size" -gt $((25 << 20)) ]; then
    echo "more than 25 MiB as xz: build one for each card instead (80, 86, 90)" >&2
    exit 1
fi
