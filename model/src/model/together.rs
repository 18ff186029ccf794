//! A pass over the rows of many texts: they share each reading of the weights, and each text
//! attends to itself.
//!
//! No row's bits depend on the pass it sits in, so every row is what it would be alone.

use crate::backend::convert::Rows;
use crate::backend::embedding::Row;
use crate::backend::kv_cache::KvCache;
use crate::backend::logits::Logits;
use crate::backend::placed::{LayerCache, Rotated, Standing};
use crate::decode::observer::{Mark, Observer};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::positions::Places;
use s3d_data::{Drafting, Skip};

/// What one text brings to a pass.
pub(crate) struct Share<'c> {
    /// Its rows, which continue the text in `cache`.
    pub rows: Vec<Row>,
    /// How many of its last rows are followed by the head.
    pub logits: usize,
    /// Its keys and values.
    pub cache: &'c mut KvCache,
}

impl<'c> Share<'c> {
    /// Tokens, with logits after each of the last `logits`.
    pub(crate) fn tokens(tokens: &[u32], logits: usize, cache: &'c mut KvCache) -> Self {
        Self { rows: tokens.iter().map(|&token| Row::Token(token)).collect(), logits, cache }
    }
}

impl Model {
    /// [`Model::full_pass`] of several texts at once: each feeds its own tokens to its own cache.
    /// Returns the logits of all rows, text after text.
    ///
    /// # Errors
    /// As there; a model whose rows depend on the width of their pass (see [`Model::tie_width`]).
    pub fn full_pass_together<'c>(
        &self,
        texts: impl IntoIterator<Item = (&'c [u32], &'c mut KvCache)>,
        observer: &mut dyn Observer,
    ) -> Result<Logits> {
        let share = |(tokens, cache): (&[u32], _)| Share::tokens(tokens, tokens.len(), cache);
        self.logits_together(texts.into_iter().map(share).collect(), None, observer)
    }

    /// [`Model::draft_pass`] of several texts at once: each feeds its own token and the same number
    /// of masks. Returns the logits of all rows, text after text.
    ///
    /// # Errors
    /// As there; a model whose rows depend on the width of their pass (see [`Model::tie_width`]).
    pub fn draft_pass_together<'c>(
        &self,
        (drafting, masks, skip): (Drafting, usize, &Skip),
        texts: impl IntoIterator<Item = (u32, &'c mut KvCache)>,
        observer: &mut dyn Observer,
    ) -> Result<Logits> {
        let share = |(token, cache)| {
            let rows = std::iter::once(Row::Token(token)).chain((0..masks).map(Row::Mask));
            Share { rows: rows.collect(), logits: masks + 1, cache }
        };
        let texts = texts.into_iter().map(share).collect();
        self.logits_together(texts, Some((drafting, skip)), observer)
    }

    /// One pass over the rows of all `texts`, and the logits that they ask for, text after text.
    pub(crate) fn logits_together(
        &self,
        mut texts: Vec<Share<'_>>,
        draft: Option<(Drafting, &Skip)>,
        observer: &mut dyn Observer,
    ) -> Result<Logits> {
        self.can_decode_together()?;
        let x = self.pass_together(&mut texts, draft, observer)?;
        let x = match texts.iter().all(|text| text.logits == text.rows.len()) {
            true => x,
            false => self.with_logits(&texts, &x)?,
        };
        self.head_of(draft.is_some(), &x, observer)
    }

    /// Whether rows of many texts can share a pass of this model.
    ///
    /// # Errors
    /// Where the bits of a row would depend on the others.
    pub(crate) fn can_decode_together(&self) -> Result<()> {
        if self.decodes_together() {
            return Ok(());
        }
        Err(Error::invalid(
            "texts are decoded together on the CPU and on Vulkan devices, where a row has the same \
             bits whatever shares its pass; use --device cpu, or decode one text after the other",
        ))
    }

    /// Embedding and layers; the residual stream `[all rows, hidden]` afterwards.
    fn pass_together(
        &self,
        texts: &mut [Share<'_>],
        draft: Option<(Drafting, &Skip)>,
        observer: &mut dyn Observer,
    ) -> Result<Rows> {
        let rows: Vec<Row> = texts.iter().flat_map(|text| text.rows.iter().copied()).collect();
        let place = |text: &Share<'_>| self.places(&text.rows, draft, text.cache);
        let own = texts.iter().map(place).collect::<Result<Vec<_>>>()?;
        let together = together(&own);
        self.check_positions(&together)?;
        let standing = self.stands(&together)?;
        let stands = own.iter().map(|own| self.stands(own)).collect::<Result<Vec<_>>>()?;
        observer.mark(Mark::PassStart);
        let mut x = self.embedding.look_up(&rows, &self.head, &self.backend)?;
        observer.mark(Mark::Embed);
        let skip = draft.map(|(_, skip)| skip);
        for (number, layer) in self.layers.iter().enumerate() {
            if skip.is_none_or(|skip| !skip.skips_attention(number)) {
                let rotated = self.rotated(layer, &x, (&together, &standing))?;
                let caches = texts.iter().map(|text| text.cache.layer(number));
                let attended = self.attend_apart(&rotated, own.iter().zip(&stands).zip(caches))?;
                x = self.attended(layer, &x, &attended, &together)?;
                observer.mark(Mark::Attention(number));
            }
            if skip.is_none_or(|skip| !skip.skips_mlp(number)) {
                x = self.mlp(layer, &x, &together)?;
                observer.mark(Mark::Mlp(number));
            }
        }
        for text in texts {
            text.cache.advance(text.rows.len());
        }
        Ok(x)
    }

    /// Attention of rows whose texts stand at their own places and see their own caches, to which
    /// they are written.
    fn attend_apart<'p>(
        &self,
        rotated: &Rotated,
        texts: impl Iterator<Item = ((&'p Places, &'p Standing<'p>), LayerCache<'p>)>,
    ) -> Result<Rows> {
        let (mut attended, mut row) = (Vec::new(), 0);
        for ((places, standing), cache) in texts {
            let rows = places.positions.len();
            let own = self.backend.part(rotated, row..row + rows)?;
            attended.push(self.attend(&own, (places, standing), cache)?);
            row += rows;
        }
        self.backend.joined(&attended)
    }

    /// The rows of `x[all rows, hidden]` that the head follows.
    fn with_logits(&self, texts: &[Share<'_>], x: &Rows) -> Result<Rows> {
        let (mut end, mut wanted) = (0, Vec::with_capacity(texts.len()));
        for text in texts {
            end += text.rows.len();
            wanted.push(self.backend.rows(x, end - text.logits..end)?);
        }
        self.backend.joined(&wanted)
    }
}

/// The places of all rows of a pass; who attends to what is each text's own.
fn together(own: &[Places]) -> Places {
    Places {
        positions: own.iter().flat_map(|places| places.positions.iter().copied()).collect(),
        blocks: Vec::new(),
        append: true,
        adapted: own.iter().any(|places| places.adapted),
    }
}
