#!/usr/bin/env bash
# cuda-env.sh DIR: the build tools of CUDA 13.0 into DIR, on a machine with neither card nor CUDA; then: . DIR/env
#
# nvcc and its parts come from Python wheels (105 MB), pinned one by one: candle ships PTX that the driver compiles,
# so nvcc must not be newer than the driver's CUDA. No wheel has a libcuda, and the program must start where there is
# none: so static stand-ins are made for the CUDA libraries, which look for the real ones when the program starts
# (dlopen) and answer every call with an error where there are none.
set -euo pipefail
[ $# = 1 ] || { echo "usage: scripts/cuda-env.sh DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
home=$dir/nvidia/cu13
lazy=$home/lib/lazy

python3 -m pip install -q --no-deps --only-binary=:all: --upgrade --target "$dir" \
    nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
    nvidia-cuda-cccl==13.0.85 nvidia-cuda-runtime==13.0.96
mkdir -p "$lazy"
ln -sfn lib "$home/lib64"
ln -sf libcudart.so.13 "$home/lib/libcudart.so"
ln -sf ../libcudart_static.a "$lazy/libcudart.a"

# The functions that the bindings declare, from their source.
bindings=$(cargo metadata --locked --features s3d-cli/cuda --format-version 1 | python3 -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(os.path.dirname(next(p["manifest_path"] for p in packages if p["name"] == "cudarc")))')/src

# stand_in NAME VERSION MODULE ERROR: NAME.a whose functions jump to libNAME.so.VERSION, or return ERROR.
stand_in() {
    local functions
    functions=$(grep -ohE 'fn (cu|nvrtc)[A-Za-z0-9_]+\(' "$bindings/$3/sys/mod.rs" | grep -v culib | sort -u |
        sed -E 's/fn (.*)\(/\1/')
    {
        echo '#include <dlfcn.h>'
        echo "static int gone(void) { return $4; }"
        for f in $functions; do
            echo "static __attribute__((used)) void *p_$f = (void *)gone;"
            echo "__asm__(\".text\\n.globl $f\\n.type $f,@function\\n$f: jmp *p_$f(%rip)\\n\");"
        done
        echo 'static const struct { const char *name; void **place; } all[] = {'
        for f in $functions; do echo "{\"$f\", &p_$f},"; done
        echo '};'
        echo '__attribute__((constructor)) static void find(void) {'
        echo "    void *library = dlopen(\"lib$1.so.$2\", RTLD_NOW | RTLD_GLOBAL);"
        echo '    if (!library) return;'
        echo '    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {'
        echo '        void *found = dlsym(library, all[i].name);'
        echo '        if (found) *all[i].place = found;'
        echo '    }'
        echo '}'
    } | cc -c -O1 -fPIC -w -xc - -o "$lazy/$1.o"
    rm -f "$lazy/lib$1.a"
    ar rcs "$lazy/lib$1.a" "$lazy/$1.o"
}
stand_in cuda 1 driver 100       # CUDA_ERROR_NO_DEVICE
stand_in cublas 13 cublas 1      # CUBLAS_STATUS_NOT_INITIALIZED
stand_in cublasLt 13 cublaslt 1
stand_in curand 10 curand 100    # CURAND_STATUS_VERSION_MISMATCH
stand_in nvrtc 13 nvrtc 1

cat >"$dir/env" <<EOF
export CUDA_HOME=$home PATH=$home/bin:\$PATH S3D_CUDA_LAZY=$lazy
EOF
echo "done; now: . $dir/env && scripts/build-cuda.sh"
