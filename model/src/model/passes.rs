//! The forward pass: rows in, logits out, over any chosen set of sub-layers.
//!
//! Prompt, decode, draft, verify and trace passes all run this code; they differ in the rows they
//! bring, the layers they leave out, and whether they write to the cache.

use crate::backend::convert::{Rows, Vector};
use crate::backend::embedding::Row;
use crate::backend::kv_cache::KvCache;
use crate::backend::logits::Logits;
use crate::backend::placed::{LayerCache, Rotated, Standing};
use crate::config::adapter::adapts;
use crate::decode::observer::{Mark, Observer, Silent};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::draft_head::Columns;
use crate::model::layer::Layer;
use crate::model::positions::Places;
use s3d_data::{Drafting, Skip};
use s3d_kernels::panels::LANES;
use std::ops::Range;

impl Model {
    /// One full-depth pass over `tokens`, which continue the text in `cache`. Returns the logits
    /// `[tokens, vocab]`; the cache then holds the tokens too.
    ///
    /// # Errors
    /// When a token does not exist, or the cache or the model's positions are exhausted.
    pub fn full_pass(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Logits> {
        let rows: Vec<Row> = tokens.iter().map(|&token| Row::Token(token)).collect();
        self.logits(&rows, None, cache, observer)
    }

    /// [`Self::full_pass`] that computes the logits of the last token alone, `[1, vocab]`.
    ///
    /// # Errors
    /// As there.
    pub fn prompt_pass(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Logits> {
        self.check_length(cache.len() + tokens.len())?;
        // All but the last piece are there for the cache alone.
        let last = tokens.chunks(self.most_rows()).next_back().unwrap_or_default();
        self.fill_cache(&tokens[..tokens.len() - last.len()], cache)?;
        let rows: Vec<Row> = last.iter().map(|&token| Row::Token(token)).collect();
        let x = self.pass(&rows, None, cache, observer)?;
        self.head_pass(&self.backend.last_row(&x)?, observer)
    }

    /// One pass without the sub-layers of `skip` over `token` and the first `masks` masks. Returns
    /// logits `[1 + masks, vocab]`, or, of a model with a draft vocabulary, those of its tokens
    /// alone, `[1 + masks, draft vocabulary]` (see [`Self::draft_tokens`]). The cache grows by the
    /// rows of this pass: cut it back before the next full pass. Adapters act on all of its rows in
    /// simultaneous drafting, and on none in sequential drafting (see [`crate::config::Part`]).
    ///
    /// # Errors
    /// As [`Self::full_pass`], or when the model has fewer masks.
    pub fn draft_pass(
        &self,
        drafting: Drafting,
        token: u32,
        masks: usize,
        skip: &Skip,
        cache: &mut KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Logits> {
        let rows: Vec<Row> =
            std::iter::once(Row::Token(token)).chain((0..masks).map(Row::Mask)).collect();
        self.logits(&rows, Some((drafting, skip)), cache, observer)
    }

    /// Full-depth passes over `tokens` for the sake of the cache alone: one, where a pass may have
    /// so many rows.
    pub(crate) fn fill_cache(&self, tokens: &[u32], cache: &mut KvCache) -> Result<()> {
        tokens.chunks(self.most_rows()).try_for_each(|tokens| {
            let rows: Vec<Row> = tokens.iter().map(|&token| Row::Token(token)).collect();
            self.pass(&rows, None, cache, &mut Silent).map(drop)
        })
    }

    /// Rows of one pass, at most: some devices see so many at once.
    pub(crate) fn most_rows(&self) -> usize {
        let (config, heads) = (&self.config, self.heads());
        let gates = 2 * config.intermediate_size.next_multiple_of(LANES);
        self.backend.most_rows(config.vocab_size.max(gates).max(heads.qkv_width()))
    }

    /// A pass and its logits, `[rows, vocab]` or those of a draft: of fixed shape where the model
    /// makes such passes.
    fn logits(
        &self,
        rows: &[Row],
        draft: Option<(Drafting, &Skip)>,
        cache: &mut KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Logits> {
        if let Some(logits) = self.repeated_pass(rows, draft, cache)? {
            return Ok(logits.into());
        }
        let x = self.pass(rows, draft, cache, observer)?;
        self.head_of(draft.is_some(), &x, observer)
    }

    /// Embedding and layers; the residual stream `[rows, hidden]` afterwards.
    fn pass(
        &self,
        rows: &[Row],
        draft: Option<(Drafting, &Skip)>,
        cache: &mut KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Rows> {
        let places = self.places(rows, draft, cache)?;
        let skip = draft.map(|(_, skip)| skip);
        observer.mark(Mark::PassStart);
        let x = self.embedding.look_up(rows, &self.head, &self.backend)?;
        observer.mark(Mark::Embed);
        let x = self.run_layers(x, 0..self.layers.len(), skip, &places, cache, observer)?;
        cache.advance(rows.len());
        Ok(x)
    }

    /// Where rows stand that continue the text in `cache`.
    pub(crate) fn places(
        &self,
        rows: &[Row],
        draft: Option<(Drafting, &Skip)>,
        cache: &KvCache,
    ) -> Result<Places> {
        if rows.is_empty() {
            return Err(Error::invalid("a pass needs at least one token"));
        }
        cache.reserve(rows.len())?;
        let adapted = draft.is_some_and(|(drafting, _)| adapts(drafting));
        Ok(Places { adapted, ..Places::next(cache.len(), rows.len()) })
    }

    /// Takes the residual stream `x[rows, hidden]` through the layers `layers`, less what `skip`
    /// leaves out.
    pub(crate) fn run_layers(
        &self,
        x: Rows,
        layers: Range<usize>,
        skip: Option<&Skip>,
        places: &Places,
        cache: &KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Rows> {
        self.check_positions(places)?;
        let standing = self.stands(places)?;
        self.through(x, layers, skip, (places, &standing), cache, observer)
    }

    /// Where the rows of a pass stand, as the backend wants to know it.
    pub(crate) fn stands<'p>(&self, places: &'p Places) -> Result<Standing<'p>> {
        let at = (&*places.positions, &*places.blocks, places.append);
        self.backend.place(self.heads(), &self.rotary, at)
    }

    /// [`Self::run_layers`] for rows whose angles and masks are at hand.
    pub(crate) fn through(
        &self,
        mut x: Rows,
        layers: Range<usize>,
        skip: Option<&Skip>,
        (places, standing): (&Places, &Standing<'_>),
        cache: &KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Rows> {
        for (number, layer) in self.layers.iter().enumerate().take(layers.end).skip(layers.start) {
            if skip.is_none_or(|skip| !skip.skips_attention(number)) {
                x = self.attention(number, layer, &x, (places, standing), cache)?;
                observer.mark(Mark::Attention(number));
            }
            if skip.is_none_or(|skip| !skip.skips_mlp(number)) {
                x = self.mlp(layer, &x, places)?;
                observer.mark(Mark::Mlp(number));
            }
        }
        Ok(x)
    }

    /// `x + attention(norm(x))` for `x[rows, hidden]`.
    fn attention(
        &self,
        number: usize,
        layer: &Layer,
        x: &Rows,
        (places, standing): (&Places, &Standing<'_>),
        cache: &KvCache,
    ) -> Result<Rows> {
        let rotated = self.rotated(layer, x, (places, standing))?;
        let attended = self.attend(&rotated, (places, standing), cache.layer(number))?;
        self.attended(layer, x, &attended, places)
    }

    /// Queries, keys and values of the rows `x[rows, hidden]`, turned to their positions.
    pub(crate) fn rotated(
        &self,
        layer: &Layer,
        x: &Rows,
        (places, standing): (&Places, &Standing<'_>),
    ) -> Result<Rotated> {
        let (backend, shape) = (&*self.backend, self.heads());
        let normed = self.normed(x, &layer.attention_norm)?;
        let mut qkv = match layer.adapters.as_ref().filter(|_| places.adapted) {
            None => layer.qkv.forward(backend, &normed)?,
            Some(adapters) => {
                layer.qkv.forward_add(backend, &normed, &adapters.qkv.forward(backend, &normed)?)?
            }
        };
        if let Some(bias) = &layer.qkv_bias {
            qkv = backend.add_bias(qkv, bias)?;
        }
        if let Some(norms) = &layer.head_norms {
            qkv = backend.norm_heads(shape, qkv, norms, self.config.rms_norm_eps)?;
        }
        backend.rotate(shape, layer.turns.then_some(&*self.rotary), standing, qkv)
    }

    /// Attention of rotated rows to a text, to whose cache they are written first where they belong
    /// to it.
    pub(crate) fn attend(
        &self,
        rotated: &Rotated,
        (places, standing): (&Places, &Standing<'_>),
        cache: LayerCache<'_>,
    ) -> Result<Rows> {
        let (backend, shape) = (&*self.backend, self.heads());
        if let (true, Some(&position)) = (places.append, places.positions.first()) {
            backend.append(shape, rotated, cache, standing, position)?;
        }
        backend.attend(shape, rotated, cache, standing)
    }

    /// `x` and what the layer makes of what its rows attended to.
    pub(crate) fn attended(
        &self,
        layer: &Layer,
        x: &Rows,
        attended: &Rows,
        places: &Places,
    ) -> Result<Rows> {
        let backend = &*self.backend;
        let x = match layer.adapters.as_ref().filter(|_| places.adapted) {
            None => layer.attention_out.forward_add(backend, attended, x)?,
            Some(adapters) => {
                let x = adapters.attention_out.forward_add(backend, attended, x)?;
                layer.attention_out.forward_add(backend, attended, &x)?
            }
        };
        match &layer.out_bias {
            Some(bias) => backend.add_bias(x, bias),
            None => Ok(x),
        }
    }

    /// `x + mlp(norm(x))` for `x[rows, hidden]`.
    pub(crate) fn mlp(&self, layer: &Layer, x: &Rows, places: &Places) -> Result<Rows> {
        let (backend, normed) = (&*self.backend, self.normed(x, &layer.mlp_norm)?);
        let adapters = layer.adapters.as_ref().filter(|_| places.adapted);
        let added =
            adapters.map(|adapters| adapters.gate_up.forward(backend, &normed)).transpose()?;
        let added = match (added, &layer.gate_up_bias) {
            (Some(added), Some(bias)) => Some(backend.add_bias(added, bias)?),
            (None, Some(bias)) => Some(backend.spread(bias, x)?),
            (added, None) => added,
        };
        let neurons = match added {
            None => layer.gate_up.forward(backend, &normed)?,
            Some(added) => layer.gate_up.forward_add(backend, &normed, &added)?,
        };
        let x = match adapters {
            None => layer.down.forward_add(backend, &neurons, x)?,
            Some(adapters) => {
                let x = adapters.down.forward_add(backend, &neurons, x)?;
                layer.down.forward_add(backend, &neurons, &x)?
            }
        };
        match &layer.down_bias {
            Some(bias) => backend.add_bias(x, bias),
            None => Ok(x),
        }
    }

    /// Logits `[rows, vocab]` of the residual stream `x[rows, hidden]`.
    pub(crate) fn head_pass(&self, x: &Rows, observer: &mut dyn Observer) -> Result<Logits> {
        self.head_of(false, x, observer)
    }

    /// The tokens that drafts are chosen from, ascending: those of the columns of
    /// [`Self::draft_pass`]. None: all of the vocabulary.
    pub fn draft_tokens(&self) -> Option<&[u32]> {
        self.draft_head.as_ref().map(|head| &*head.tokens)
    }

    /// Which tokens the columns of draft logits stand for.
    pub(crate) fn columns(&self) -> Columns<'_> {
        Columns::new(self.draft_tokens(), self.config.vocab_size)
    }

    /// Logits of a pass, `[rows, vocab]`, or, for `draft` rows, `[rows, draft vocabulary]`, of the
    /// residual stream `x[rows, hidden]`.
    pub(crate) fn head_of(
        &self,
        draft: bool,
        x: &Rows,
        observer: &mut dyn Observer,
    ) -> Result<Logits> {
        let head = match &self.draft_head {
            Some(head) if draft => &head.rows,
            _ => &self.head,
        };
        let products = head.forward(&self.backend, &self.normed(x, &self.norm)?)?;
        let logits = self.backend.logits(&products)?;
        observer.mark(Mark::Head);
        Ok(logits)
    }

    /// Logits that a row has in such a pass.
    pub(crate) fn logits_of_row(&self, draft: bool) -> usize {
        let listed = self.draft_tokens().filter(|_| draft);
        listed.map_or(self.config.vocab_size, <[u32]>::len)
    }

    fn normed(&self, x: &Rows, weight: &Vector) -> Result<Rows> {
        self.backend.rms_norm(x, weight, self.config.rms_norm_eps)
    }

    pub(crate) fn check_positions(&self, places: &Places) -> Result<()> {
        match places.positions.iter().max() {
            Some(&last) if last >= self.rotary.positions() => self.check_length(last + 1),
            _ => Ok(()),
        }
    }
}
