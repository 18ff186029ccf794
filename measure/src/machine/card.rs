//! A graphics card beside the clock: looks at its state, and what they say about a run.
//!
//! The looks come from NVML, which is opened when the program runs: where it is missing, a run goes
//! on without.

use crate::warning::Warning;
use s3d_data::CardState;
use std::collections::BTreeSet;

/// Looks at a card.
pub trait CardWatch {
    /// Its state now, where it tells.
    fn look(&self) -> Option<CardState>;
}

/// Whoever can look at a card of this number (as the driver counts them); none without NVML.
pub fn watch(name: s3d_model::device::DeviceName) -> Option<Box<dyn CardWatch>> {
    #[cfg(feature = "cuda")]
    if let s3d_model::device::DeviceName::Cuda { number, .. } = name {
        return nvml::Card::open(number).map(|card| Box::new(card) as Box<dyn CardWatch>);
    }
    let _ = name;
    None
}

/// What looks at a card over a run say: whether something held its clock down, how often, and how
/// far.
pub(crate) fn held_down(looks: &[CardState]) -> Option<Warning> {
    let held: Vec<&CardState> = looks.iter().filter(|look| !look.held_down_by.is_empty()).collect();
    let reasons: BTreeSet<&str> =
        held.iter().flat_map(|look| &look.held_down_by).map(String::as_str).collect();
    let share_of_clock = |look: &&CardState| Some(look.hertz? / look.most_hertz?);
    let lowest = held.iter().filter_map(share_of_clock).fold(1.0, f64::min);
    let share = held.len() as f64 / looks.len().max(1) as f64;
    let reasons = reasons.into_iter().collect::<Vec<_>>().join(", ");
    (share > 0.05).then_some(Warning::CardHeldDown { share, lowest, reasons })
}

/// NVML. Type-checked; not run on a card yet.
#[cfg(feature = "cuda")]
mod nvml {
    use super::CardWatch;
    use nvml_wrapper::Nvml;
    use nvml_wrapper::bitmasks::device::ThrottleReasons;
    use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
    use s3d_data::{Bytes, CardState, Hertz};

    pub(super) struct Card {
        nvml: Nvml,
        number: u32,
    }

    impl Card {
        /// Opens NVML for the card that CUDA counts as `number`, which NVML counts otherwise where
        /// CUDA_VISIBLE_DEVICES chooses among several.
        pub(super) fn open(number: usize) -> Option<Self> {
            let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
            let chosen = visible.as_deref().and_then(|list| list.split(',').nth(number));
            let number = match chosen {
                Some(text) => text.trim().parse().ok()?,
                None => u32::try_from(number).ok()?,
            };
            Some(Self { nvml: Nvml::init().ok()?, number })
        }
    }

    impl CardWatch for Card {
        fn look(&self) -> Option<CardState> {
            let card = self.nvml.device_by_index(self.number).ok()?;
            let megahertz = |value: u32| Hertz::MEGAHERTZ * f64::from(value);
            let milliwatts = |value: u32| f64::from(value) * 1e-3;
            let reasons = card.current_throttle_reasons().map(words).unwrap_or_default();
            Some(CardState {
                hertz: card.clock_info(Clock::SM).ok().map(megahertz),
                most_hertz: card.max_clock_info(Clock::SM).ok().map(megahertz),
                memory_hertz: card.clock_info(Clock::Memory).ok().map(megahertz),
                watts: card.power_usage().ok().map(milliwatts),
                most_watts: card.power_management_limit().ok().map(milliwatts),
                celsius: card.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
                used_bytes: card.memory_info().ok().map(|memory| Bytes(memory.used)),
                held_down_by: reasons,
            })
        }
    }

    /// Idling and a display's wishes hold nothing down that matters here.
    fn words(reasons: ThrottleReasons) -> Vec<String> {
        [
            (ThrottleReasons::SW_POWER_CAP, "power limit"),
            (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "power brake"),
            (ThrottleReasons::HW_THERMAL_SLOWDOWN, "heat (hardware)"),
            (ThrottleReasons::SW_THERMAL_SLOWDOWN, "heat (software)"),
            (ThrottleReasons::HW_SLOWDOWN, "hardware slowdown"),
            (ThrottleReasons::SYNC_BOOST, "another card's clock"),
            (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, "application clocks"),
        ]
        .into_iter()
        .filter(|(reason, _)| reasons.contains(*reason))
        .map(|(_, word)| word.to_string())
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::Hertz;

    fn look(share: f64, reasons: &[&str]) -> CardState {
        CardState {
            hertz: Some(Hertz(share * 1980e6)),
            most_hertz: Some(Hertz(1980e6)),
            held_down_by: reasons.iter().map(ToString::to_string).collect(),
            ..CardState::default()
        }
    }

    #[test]
    fn a_card_that_is_held_down_is_told_of() {
        assert_eq!(held_down(&[]), None);
        // Idling is slow too, and says nothing.
        assert_eq!(held_down(&[look(0.2, &[]), look(1.0, &[])]), None);
        let looks =
            [look(0.1, &[]), look(0.8, &["power limit"]), look(0.5, &["heat", "power limit"])];
        let Some(Warning::CardHeldDown { share, lowest, reasons }) = held_down(&looks) else {
            panic!("a warning was due");
        };
        assert_eq!((lowest, reasons.as_str()), (0.5, "heat, power limit"));
        assert!((share - 2.0 / 3.0).abs() < 1e-12);
        let once: Vec<CardState> =
            (0..40).map(|i| look(0.9, if i == 7 { &["power limit"] } else { &[] })).collect();
        assert_eq!(held_down(&once), None, "one look in forty is a moment");
    }

    #[test]
    fn the_cpu_is_no_card() {
        assert!(watch(s3d_model::device::DeviceName::Cpu).is_none());
    }
}
