//! Loads the model that the flags name: a checkpoint, or a geometry with random weights.

use crate::args::{Batches, BudgetArgs, ModelArgs};
use crate::shared::usage::{or_usage, usage};
use crate::shared::{locate, resolve, terminal};
use anyhow::Context;
use s3d_data::memory::{Engine, Held, Load, Memory, Method};
use s3d_data::{Bytes, Dtype};
use s3d_model::checkpoint::{describe, own_dtype, read_config};
use s3d_model::device::{self, Device, DeviceName};
use s3d_model::weights::{AddedConfig, DraftOver};
use s3d_model::widen::Widening;
use s3d_model::{LoadOptions, Model, ModelConfig, Tokenizer, TokenizerFrom, presets};
use std::path::{Path, PathBuf};

/// Seed of the weights of a geometry; no time depends on them.
const WEIGHTS_SEED: u64 = 1;

/// Where a model comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A checkpoint folder or a GGUF file, and whether it was shipped with this program.
    Checkpoint(PathBuf, bool),
    /// Sizes under a name, for random weights.
    Geometry(String, Box<ModelConfig>),
}

/// A loaded model, and what else the commands want to know of it.
pub struct Loaded {
    /// The model as it runs.
    pub model: Model,
    /// How it was loaded.
    pub options: LoadOptions,
    /// Where from.
    pub source: Source,
    /// The longest text that was announced to it, in tokens.
    context: usize,
}

impl Loaded {
    /// A loaded model, to be run up to `context` tokens; what was not followed in its files is
    /// said.
    fn new(
        model: Model,
        options: LoadOptions,
        source: Source,
        context: usize,
    ) -> anyhow::Result<Self> {
        let mut loaded = Self { model, options, source, context };
        loaded.expect(context)?;
        for note in loaded.model.notes() {
            terminal::note(&format!("read, and not followed: {note}"));
        }
        Ok(loaded)
    }

    /// Announces texts of up to `context` tokens, prompt and output together (see
    /// [`Model::expect`]).
    ///
    /// # Errors
    /// As there.
    pub fn expect(&mut self, context: usize) -> anyhow::Result<()> {
        self.context = self.context.max(context);
        Ok(self.model.expect(self.context)?)
    }

    /// Refuses a `--context` that this model cannot decode.
    ///
    /// # Errors
    /// With its limit.
    pub fn check_context(&self, context: usize) -> anyhow::Result<()> {
        let positions = self.model.config().positions();
        match context <= positions {
            true => Ok(()),
            false => Err(usage(format!(
                "--context: {} decodes texts of up to {positions} tokens, found {context}",
                self.source.name()
            ))),
        }
    }
}

impl Source {
    /// What the flags name; a model of the Hub is fetched if `download` says so.
    ///
    /// # Errors
    /// Flags that do not go together, or a model that is not there.
    pub fn of(
        name: &str,
        config: Option<&Path>,
        layers: Option<usize>,
        download: bool,
    ) -> anyhow::Result<Self> {
        let geometry = match (name, config) {
            ("custom", Some(file)) => Some(ModelConfig::load_file(file)?),
            ("custom", None) => {
                return Err(usage("--model custom: expected --config FILE with the sizes"));
            }
            (_, Some(_)) => return Err(usage("--config: only with --model custom")),
            (name, None) => presets::preset(name),
        };
        let Some(geometry) = geometry else {
            if layers.is_some() {
                return Err(usage("--layers: only a geometry can be cut, and --model custom"));
            }
            let (path, shipped) = locate::model(name, download)?;
            return Ok(Self::Checkpoint(path, shipped));
        };
        let geometry = match layers {
            Some(layers) => or_usage("--layers", presets::cut(geometry, layers))?,
            None => geometry,
        };
        let cut = layers.map(|layers| format!(", {layers} layers")).unwrap_or_default();
        Ok(Self::Geometry(format!("{name}{cut} (random weights)"), Box::new(geometry)))
    }

    /// Its folder or file; a geometry has none.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Checkpoint(path, _) => Some(path),
            Self::Geometry(..) => None,
        }
    }

    /// Its name for people: the folder or file, or the geometry's.
    pub fn name(&self) -> String {
        match self {
            Self::Checkpoint(path, _) => path.display().to_string(),
            Self::Geometry(name, _) => name.clone(),
        }
    }

    /// Its sizes.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn config(&self) -> anyhow::Result<ModelConfig> {
        match self {
            Self::Checkpoint(path, _) => Ok(read_config(path)?),
            Self::Geometry(_, config) => Ok(config.as_ref().clone()),
        }
    }

    /// Its sizes, and what was read in its files and is not followed.
    ///
    /// # Errors
    /// Files that do not fit each other.
    pub fn describe(&self) -> anyhow::Result<(ModelConfig, Vec<String>)> {
        match self {
            Self::Checkpoint(path, _) => {
                let found = describe(path)?;
                Ok((found.config, found.notes))
            }
            Self::Geometry(_, config) => Ok((config.as_ref().clone(), Vec::new())),
        }
    }

    /// Loads it, or draws its weights.
    ///
    /// # Errors
    /// Files that do not fit, or a geometry that cannot be run.
    pub fn load(&self, options: &LoadOptions) -> s3d_model::Result<Model> {
        let model = match self {
            Self::Checkpoint(path, _) => Model::load(path, options),
            Self::Geometry(name, config) => Model::geometry(name, config, WEIGHTS_SEED, options),
        };
        s3d_measure::memory::give_back_free_memory();
        model
    }

    fn is_shipped(&self) -> bool {
        matches!(self, Self::Checkpoint(_, true))
    }
}

/// Where the model of `args` comes from.
///
/// # Errors
/// As [`Source::of`], or a tokenizer for a geometry.
pub fn source(args: &ModelArgs) -> anyhow::Result<Source> {
    let mut source = Source::of(args.name(), args.config.as_deref(), args.layers, args.download)?;
    if let (Source::Geometry(_, config), Some(DraftOver::First(count))) =
        (&mut source, args.draft_vocabulary)
    {
        // Of random weights any tokens will do, whose number alone costs time.
        config.s3d.get_or_insert_default().draft_vocabulary = Some(count);
        or_usage("--draft-vocabulary", config.validate())?;
    }
    if source.path().is_none() && args.tokenizer.is_some() {
        return Err(usage("--tokenizer: a geometry has no texts; its prompts are random tokens"));
    }
    if source.path().is_none() && args.adapters.is_some() {
        return Err(usage(
            "--adapters: a geometry has random weights, which nothing was trained for",
        ));
    }
    Ok(source)
}

/// The sizes of the model of `args` as it runs, but for widening: with its adapters, and with what
/// it uses of its draft vocabulary.
///
/// # Errors
/// Files that cannot be read, more tokens than are listed.
fn sizes(args: &ModelArgs, source: &Source) -> anyhow::Result<ModelConfig> {
    let mut config = source.config()?;
    if let Some(folder) = &args.adapters {
        config.s3d = Some(AddedConfig::read(folder)?.s3d);
    }
    or_usage("--draft-vocabulary", config.drafting_over(args.draft_vocabulary.unwrap_or_default()))
}

/// Loads the model of `args`, to be run up to `context` tokens.
///
/// # Errors
/// Wrong flags, a device that this program was not built for, or files that do not fit.
pub fn model(args: &ModelArgs, context: usize) -> anyhow::Result<Loaded> {
    let source = source(args)?;
    let options = options(args, &source)?;
    sizes(args, &source)?;
    say_dtype(args, &source)?;
    check_room(args, &source, &options, context)?;
    let model = source.load(&options)?;
    if let Some(note) = model.base_distance().and_then(base_note) {
        terminal::note(&note);
    }
    Loaded::new(model, options, source, context)
}

/// As [`model`], for what needs no text: a tokenizer that cannot be read is noted and left out.
///
/// # Errors
/// As there.
pub fn model_for_times(args: &ModelArgs, context: usize) -> anyhow::Result<Loaded> {
    let source = source(args)?;
    let mut options = options(args, &source)?;
    sizes(args, &source)?;
    say_dtype(args, &source)?;
    check_room(args, &source, &options, context)?;
    let model = match source.load(&options) {
        Ok(model) => model,
        Err(failure) => {
            options.tokenizer = TokenizerFrom::Nowhere;
            let model = source.load(&options)?;
            terminal::note(&format!(
                "times need no tokenizer, and this one is left out: {failure}"
            ));
            model
        }
    };
    Loaded::new(model, options, source, context)
}

/// What to say of a base that holds other values than the one that its adapters were trained for.
pub fn base_note(distance: f64) -> Option<String> {
    (distance > 0.0).then(|| {
        format!(
            "note: the values of this model differ by {:.2} % from those that the adapters were \
             trained for, as \
             those of another number type do; text stays the model's own, drafts may be accepted \
             less often",
            distance * 100.0
        )
    })
}

/// The same model as `loaded`, before widening; `None` where nothing was widened.
///
/// # Errors
/// When the files have changed meanwhile.
pub fn before_widening(loaded: &Loaded) -> anyhow::Result<Option<Model>> {
    if loaded.options.widen == 1 {
        return Ok(None);
    }
    let options = LoadOptions { widen: 1, ..loaded.options.clone() };
    let mut model = loaded.source.load(&options)?;
    model.expect(loaded.context)?;
    Ok(Some(model))
}

/// Loads a model as it is: f32, on the CPU, not widened, without its tokenizer.
///
/// # Errors
/// As [`model`].
pub fn plain(name: &str) -> anyhow::Result<Model> {
    let (path, _) = locate::model(name, false)?;
    let options = LoadOptions { tokenizer: TokenizerFrom::Nowhere, ..LoadOptions::default() };
    Ok(Model::load(&path, &options)?)
}

/// The tokenizer of a model, without its weights.
///
/// # Errors
/// When there is none, or one that cannot be read.
pub fn tokenizer(name: &str) -> anyhow::Result<Tokenizer> {
    let (path, _) = locate::model(name, false)?;
    s3d_model::checkpoint::read_tokenizer(&path)?
        .with_context(|| format!("{}: no tokenizer, which text needs", path.display()))
}

/// Opens the device of a `--device` flag.
///
/// # Errors
/// A name that is none, or a device that is not there.
pub fn device(flag: &str) -> anyhow::Result<(DeviceName, Device)> {
    let name: DeviceName = or_usage("--device", flag.parse())?;
    let device = device::open(name).map_err(|e| anyhow::anyhow!("--device {e}"))?;
    Ok((name, device))
}

/// Refuses a model that has no room on its device up to `context` tokens.
///
/// # Errors
/// What was asked for, what is free, and what would fit.
fn check_room(
    args: &ModelArgs,
    source: &Source,
    options: &LoadOptions,
    context: usize,
) -> anyhow::Result<()> {
    let Some(pool) = device::pool_of(&options.device) else { return Ok(()) };
    let name = args.device.parse()?;
    let shape = Widening::new(options.widen)?.config(&sizes(args, source)?).shape();
    device::check_room(name, pool.room()?, &shape, options.dtype, context)
        .map_err(|e| anyhow::anyhow!("--device {e}"))
}

/// Refuses a memory budget that plain decoding up to `context` tokens already exceeds.
///
/// # Errors
/// What the model needs, by cause.
pub fn check_budget(args: &ModelArgs, context: usize, budget: Bytes) -> anyhow::Result<()> {
    let source = source(args)?;
    let dtype = dtype(args, &source)?;
    let widen = resolve::widen(args, source.is_shipped())?;
    let shape = Widening::new(widen)?.config(&sizes(args, &source)?).shape();
    let held = Held::computed(&shape, dtype, Engine::of_device(&args.device));
    let load = Load { context, width: 1, batch: 1 };
    let needed = Memory::of(&shape, &held, load, &Method::Plain);
    if needed.peak_bytes <= budget {
        return Ok(());
    }
    Err(usage(format!(
        "--memory-budget {budget}: plain decoding alone needs {} at {dtype} and a context of \
         {context} \
         (weights {}, key-value cache {}, activations {}), and the program comes on top; give \
         more memory, \
         a smaller --dtype or a shorter --context",
        needed.peak_bytes, needed.weights_bytes, needed.kv_cache_bytes, needed.activations_bytes
    )))
}

/// Refuses more texts at once than the memory of this machine, or a budget, can hold.
///
/// # Errors
/// What so many texts need, by cause.
pub fn check_batch(
    args: &ModelArgs,
    budget: &BudgetArgs,
    batches: Option<&Batches>,
    memory_budget: Option<Bytes>,
) -> anyhow::Result<()> {
    let Some(batch) = batches.and_then(|batches| batches.0.last().copied()) else { return Ok(()) };
    let engine = Engine::of_device(&args.device);
    if batch > 1 && engine == Engine::Card {
        return Err(usage(
            "--batch: texts are decoded in lockstep on the CPU and on Vulkan devices, where a row \
             has the same bits whatever shares its pass; take another --device, or give --batch 1",
        ));
    }
    let source = source(args)?;
    let dtype = dtype(args, &source)?;
    let widen = resolve::widen(args, source.is_shipped())?;
    let shape = Widening::new(widen)?.config(&sizes(args, &source)?).shape();
    let held = Held::computed(&shape, dtype, engine);
    let load = Load { context: budget.context.own(), width: budget.gamma_max + 1, batch };
    let needed = Memory::of(&shape, &held, load, &Method::Plain);
    // What a device holds is its driver's to say, and comes with the first buffer that does not
    // fit.
    let on_host = engine == Engine::Cpu;
    let machine = on_host.then(s3d_measure::machine::available_memory).flatten();
    let (room, whose) = match (memory_budget, machine) {
        (Some(budget), machine) if machine.is_none_or(|machine| budget < machine) => {
            (Some(budget), format!("--memory-budget allows {budget}"))
        }
        (_, machine) => (machine, format!("{} are free", machine.unwrap_or_default())),
    };
    match room {
        Some(room) if batch > 1 && needed.peak_bytes > room => Err(usage(format!(
            "--batch {batch}: needs {} at {dtype} and a context of {} (weights {}, key-value \
             caches {}, activations {}), and {whose}; decode fewer texts at once, or give a \
             shorter --context",
            needed.peak_bytes,
            budget.context.own(),
            needed.weights_bytes,
            needed.kv_cache_bytes,
            needed.activations_bytes
        ))),
        _ => Ok(()),
    }
}

/// The number type of `--dtype`; without the flag that of a GGUF file, or the next that the engine
/// runs.
///
/// # Errors
/// A type that the engine does not run, a file that cannot be read.
fn dtype(args: &ModelArgs, source: &Source) -> anyhow::Result<Dtype> {
    match (&args.dtype, source.path()) {
        (Some(name), _) => Ok(or_usage("--dtype", Dtype::of_engine(name))?),
        (None, Some(path)) => Ok(own_dtype(path)?.map_or(Dtype::F32, |own| own.runs)),
        (None, None) => Ok(Dtype::F32),
    }
}

/// Says in which precision a file runs where no flag says it, and what it holds.
fn say_dtype(args: &ModelArgs, source: &Source) -> anyhow::Result<()> {
    let own = source.path().filter(|_| args.dtype.is_none()).map(own_dtype).transpose()?.flatten();
    if let Some(own) = own {
        let how = if own.held == own.runs.name() { "as" } else { "the nearest that runs:" };
        terminal::note(&format!(
            "precision: {how} {}, most weights of the file being {}; another with --dtype",
            own.runs, own.held
        ));
    }
    Ok(())
}

/// How the model of `args` is to run.
///
/// # Errors
/// A flag whose value is unknown.
pub fn options(args: &ModelArgs, source: &Source) -> anyhow::Result<LoadOptions> {
    let dtype = dtype(args, source)?;
    let widen = resolve::widen(args, source.is_shipped())?;
    let threads = resolve::threads(args.threads, args.oversubscribe)?;
    let (name, device) = device(&args.device)?;
    Ok(LoadOptions {
        device,
        dtype,
        widen,
        threads,
        tokenizer: args.tokenizer.clone().map_or(TokenizerFrom::Checkpoint, TokenizerFrom::File),
        adapters: args.adapters.clone(),
        draft_over: args.draft_vocabulary.unwrap_or_default(),
        composed: false,
        repeated: name.repeats(),
    })
}
