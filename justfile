# What is done often. `just` lists it; each line is a plain command that also runs without just.

# Formatting, lints and types, nothing run.
check:
    cargo fmt --all -- --check
    cargo clippy --release --workspace --all-targets --locked -- -D warnings
    scripts/check-fuzz

# The whole test suite, as continuous integration runs it.
test:
    scripts/test

# Times of passes, number types and traces on this machine.
bench:
    cargo bench --locked -p s3d-model
    cargo bench --locked -p s3d-simulator

# Every fuzz target for a minute, or for SECONDS.
fuzz seconds="60":
    scripts/fuzz {{seconds}}

# Kills, full disks and races in every command that writes: some ten minutes each.
faults:
    scripts/faults
    scripts/kill-resume

# The documentation of all crates, without warnings.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --locked
