//! What several commands share: loading, locating, concluding, showing; and the only printing.

pub mod adaptive;
pub mod children;
pub mod conclude;
pub mod decode;
pub mod extras;
pub mod heartbeat;
pub mod held_out_text;
pub mod hub;
pub mod job;
pub mod load;
pub mod load_run;
pub mod locate;
pub mod precision;
pub mod progress;
pub mod prompts;
pub mod ratios;
pub mod resolve;
pub mod shipped;
pub mod show;
pub mod step_budget;
pub mod stop_rule;
pub mod terminal;
pub mod typed_numbers;
pub mod usage;
pub mod version;
