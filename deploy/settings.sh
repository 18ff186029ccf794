# What a cluster measures, and with what: read by deploy/work on every node. A copy of this file with other values is
# given to deploy/slurm/submit as its argument, or to Kubernetes as the config map `s3d-settings`.

S3D=s3d                    # the program, on every node
OUT=${OUT:-$PWD/s3d-runs}  # a folder that every node sees under this path

# Every combination of these is one run, measured in SHARDS parts that run at the same time.
MODELS=(story)             # as for --model: folders, GGUF files, names
DTYPES=(f32)
CONTEXTS=(256)
SHARDS=4

KINDS=(acceptance latency memory)
# More flags for s3d measure. Parts are cut from a list of prompts, so their number is fixed here; the time budget is
# that of each part's timings. Add --prompts FILE for texts of your own.
FLAGS=(--prompt-count 48 --time-budget 10m)

# What Slurm reserves for one part. Parts that share a node disturb each other's timings: --exclusive gives each a node.
SBATCH=(--cpus-per-task=2 --mem=4G --time=02:00:00)
