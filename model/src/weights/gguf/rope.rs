//! Scaling of the rotary frequencies in a GGUF file, in the words of `config.json`.

use super::header::Value;
use super::keys::{Keys, Outcome};
use serde_json::{Map, json};

/// How llama.cpp scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    /// Also where the file says nothing.
    Linear,
    Yarn,
    LongRope,
}

/// Divisors of the frequencies, one for each.
pub(super) struct Divisors {
    /// `rope_freqs.weight`: of every text (Llama 3.1).
    pub all: Option<Vec<f32>>,
    /// `rope_factors_short.weight`: of texts as long as those of the training (longrope).
    pub short: Option<Vec<f32>>,
    /// `rope_factors_long.weight`: of longer ones.
    pub long: Option<Vec<f32>>,
}

/// The key `rope_scaling`.
///
/// # Errors
/// A scaling that cannot be followed.
pub(super) fn scaling(keys: &Keys<'_>, divisors: Divisors) -> Outcome<serde_json::Value> {
    let (kind, factor) = (kind(keys)?, factor(keys)?);
    if let Some(alpha) = keys.number("rope.scaling.alpha")?.filter(|alpha| *alpha != 0.0) {
        return Err(format!("metadata 'rope.scaling.alpha' = {alpha} is not supported"));
    }
    let positions = keys.whole("context_length")?.unwrap_or(0);
    let original = keys.whole("rope.scaling.original_context_length")?;
    // What cosines and sines are multiplied with.
    let strength = keys.number("rope.scaling.attn_factor")?.unwrap_or(1.0)
        * keys.number("rope.scaling.yarn_attn_factor")?.unwrap_or(1.0);
    let yarn = kind == Kind::Yarn && factor != 1.0;
    if let Some(short) = divisors.short {
        if factor != 1.0 || divisors.all.is_some() {
            return Err("rope_factors_short.weight beside another scaling is not supported".into());
        }
        let original = original.unwrap_or(positions);
        return Ok(divided(&short, divisors.long.as_deref(), original, strength));
    }
    if divisors.long.is_some() || kind == Kind::LongRope {
        return Err(
            "longrope needs the tensors rope_factors_short.weight and rope_factors_long.weight"
                .into(),
        );
    }
    match divisors.all {
        Some(_) if yarn => Err("rope_freqs.weight beside yarn is not supported".into()),
        Some(all) => {
            let all: Vec<f32> = all.iter().map(|divisor| divisor * factor as f32).collect();
            Ok(divided(&all, None, positions, strength))
        }
        None if yarn => self::yarn(keys, factor, original, strength),
        None if strength != 1.0 => {
            let channels = keys.turned()?;
            Ok(divided(&vec![factor as f32; channels / 2], None, positions, strength))
        }
        None if factor == 1.0 => Ok(serde_json::Value::Null),
        None => Ok(json!({ "rope_type": "linear", "factor": factor })),
    }
}

fn kind(keys: &Keys<'_>) -> Outcome<Kind> {
    match keys.get("rope.scaling.type") {
        None => Ok(Kind::Linear),
        Some(Value::Text(kind)) => match kind.as_str() {
            "none" => Ok(Kind::None),
            "linear" => Ok(Kind::Linear),
            "yarn" => Ok(Kind::Yarn),
            "longrope" => Ok(Kind::LongRope),
            _ => Err(keys.wrong("rope.scaling.type", "none, linear, yarn or longrope")),
        },
        Some(_) => Err(keys.wrong("rope.scaling.type", "a text")),
    }
}

/// What positions are divided by; 1 where nothing is scaled.
fn factor(keys: &Keys<'_>) -> Outcome<f64> {
    let (key, factor) = match keys.number("rope.scaling.factor")? {
        // The key of older files.
        None => ("rope.scale_linear", keys.number("rope.scale_linear")?),
        factor => ("rope.scaling.factor", factor),
    };
    match factor {
        None | Some(0.0) => Ok(1.0),
        Some(_) if kind(keys)? == Kind::None => Ok(1.0),
        Some(factor) if factor > 0.0 => Ok(factor),
        Some(_) => Err(keys.wrong(key, "a positive number")),
    }
}

fn yarn(
    keys: &Keys<'_>,
    factor: f64,
    original: Option<u64>,
    strength: f64,
) -> Outcome<serde_json::Value> {
    if let Some(share) = keys.number("rope.scaling.yarn_ext_factor")?.filter(|x| *x != 1.0) {
        return Err(format!(
            "metadata 'rope.scaling.yarn_ext_factor' = {share} is not supported; expected 1"
        ));
    }
    let mut scaling = Map::new();
    let mut put = |key: &str, value: Option<serde_json::Value>| {
        value.map(|value| scaling.insert(key.into(), value));
    };
    put("rope_type", Some("yarn".into()));
    put("factor", Some(factor.into()));
    put("original_max_position_embeddings", original.map(Into::into));
    put("beta_fast", keys.number("rope.scaling.yarn_beta_fast")?.map(Into::into));
    put("beta_slow", keys.number("rope.scaling.yarn_beta_slow")?.map(Into::into));
    // Beside the factor that yarn computes itself.
    let own = if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 };
    put("attention_factor", (strength != 1.0).then(|| (own * strength).into()));
    Ok(scaling.into())
}

/// Frequencies divided one by one, in the form of longrope.
fn divided(short: &[f32], long: Option<&[f32]>, original: u64, strength: f64) -> serde_json::Value {
    let mut scaling = json!({
        "rope_type": "longrope", "short_factor": short,
        "original_max_position_embeddings": original, "attention_factor": strength,
    });
    if let (Some(long), Some(scaling)) = (long, scaling.as_object_mut()) {
        scaling.insert("long_factor".into(), json!(long));
    }
    scaling
}
