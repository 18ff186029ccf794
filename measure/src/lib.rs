//! Turns a model and a request into a run directory of raw observations.
